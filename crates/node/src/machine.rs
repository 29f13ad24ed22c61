//! What the machine is, as far as pods are told of it: memory, processors, name.
//!
//! Read anew each time: all of it may change while the engine runs.

/// Facts of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Machine {
    /// All memory, in bytes.
    pub(crate) memory_bytes: i64,
    /// Processors, in thousandths.
    pub(crate) cpu_millis: i64,
    /// Its host name.
    pub(crate) hostname: String,
    /// Version 2 of control groups is mounted alone, where version 1 would have its hierarchies.
    pub(crate) has_unified_cgroups: bool,
}

/// Where control groups are mounted, whatever their version.
const CGROUPS: &str = "/sys/fs/cgroup";
/// What `statfs` calls version 2 of control groups.
const CGROUP2_MAGIC: i64 = 0x6367_7270;

impl Machine {
    /// The machine that this runs on.
    pub(crate) fn this() -> Self {
        let info = rustix::system::sysinfo();
        let bytes = u128::from(info.totalram) * u128::from(info.mem_unit);
        let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            memory_bytes: i64::try_from(bytes).unwrap_or(i64::MAX),
            cpu_millis: i64::try_from(cpus).unwrap_or(i64::MAX).saturating_mul(1000),
            hostname: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            has_unified_cgroups: rustix::fs::statfs(CGROUPS).is_ok_and(|found| found.f_type == CGROUP2_MAGIC),
        }
    }
}
