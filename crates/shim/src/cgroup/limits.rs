//! From OCI `linux.resources` to the files and values of the controllers. Pure: nothing is read or written here.
//!
//! Invariant: whatever `linux.resources` asks for becomes a setting or an error that names it, never nothing.

use std::path::Path;

use oci_spec::runtime::{LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxResources, LinuxThrottleDevice};

use super::{
    CgroupError, Version,
    hierarchy::{Controller, Hierarchies, Place},
};

/// One value for one file of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) place: SettingPlace,
    pub(super) file: String,
    pub(super) value: String,
    /// If the kernel lacks the file, this is what the log says, and all goes on. `None`: it is an error.
    pub(super) without: Option<&'static str>,
}

/// In which hierarchy a setting is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SettingPlace {
    Controller(Controller),
    Unified,
}

/// The settings in the order in which to write them.
pub(super) fn settings(limits: &LinuxResources, hierarchies: &Hierarchies) -> Result<Vec<Setting>, CgroupError> {
    let mut list = SettingList { hierarchies, settings: Vec::new() };
    if let Some(memory) = limits.memory() {
        list.memory(memory)?;
    }
    if let Some(cpu) = limits.cpu() {
        list.cpu(cpu)?;
        list.cpuset(cpu)?;
    }
    if let Some(pids) = limits.pids() {
        list.pids(pids.limit())?;
    }
    for huge in limits.hugepage_limits().iter().flatten() {
        let bytes = huge.limit();
        list.both("hugepageLimits", Controller::Hugetlb, huge.page_size(), ["limit_in_bytes", "max"], &bytes.to_string())?;
    }
    if let Some(block) = limits.block_io() {
        list.block_io(block)?;
    }
    list.unified(limits)?;
    refuse_the_rest(limits)?;
    Ok(list.settings)
}

fn refuse_the_rest(limits: &LinuxResources) -> Result<(), CgroupError> {
    let network = limits.network().as_ref();
    if network.is_some_and(|network| network.class_id().is_some() || network.priorities().as_ref().is_some_and(|list| !list.is_empty())) {
        return Err(CgroupError::unsupported("network", "this runtime sets no network class or priority; leave it out"));
    }
    if limits.rdma().as_ref().is_some_and(|rdma| !rdma.is_empty()) {
        return Err(CgroupError::unsupported("rdma", "this runtime sets no RDMA limits; leave it out"));
    }
    Ok(())
}

struct SettingList<'a> {
    hierarchies: &'a Hierarchies,
    settings: Vec<Setting>,
}

impl SettingList<'_> {
    fn memory(&mut self, memory: &LinuxMemory) -> Result<(), CgroupError> {
        let field = "memory";
        refuse_deprecated_memory(memory)?;
        if let Some(limit) = memory.limit() {
            match self.version(field, Controller::Memory)? {
                Version::V1 => self.push(Controller::Memory, "memory.limit_in_bytes", limit),
                Version::V2 => self.push(Controller::Memory, "memory.max", or_max(limit)),
            }
        }
        if let Some(swap) = memory.swap().filter(|&swap| swap != 0) {
            self.swap(swap, memory.limit())?;
        }
        if let Some(reservation) = memory.reservation() {
            match self.version(field, Controller::Memory)? {
                Version::V1 => self.push(Controller::Memory, "memory.soft_limit_in_bytes", reservation),
                Version::V2 => self.push(Controller::Memory, "memory.low", or_max(reservation)),
            }
        }
        if let Some(swappiness) = memory.swappiness() {
            self.only_v1("memory.swappiness", Controller::Memory, "memory.swappiness", swappiness)?;
        }
        if memory.disable_oom_killer() == Some(true) {
            self.only_v1("memory.disableOOMKiller", Controller::Memory, "memory.oom_control", 1)?;
        }
        Ok(())
    }

    /// OCI counts memory and swap together, as version 1 does; version 2 limits swap by itself.
    fn swap(&mut self, swap: i64, limit: Option<i64>) -> Result<(), CgroupError> {
        let without = Some("memory.swap is not limited: the kernel does not account swap");
        let (file, value) = match self.version("memory.swap", Controller::Memory)? {
            Version::V1 => ("memory.memsw.limit_in_bytes", swap.to_string()),
            Version::V2 => match (swap, limit) {
                (-1, _) => ("memory.swap.max", "max".to_owned()),
                (swap, Some(limit)) if limit >= 0 && swap >= limit => ("memory.swap.max", (swap - limit).to_string()),
                _ => return Err(CgroupError::unsupported("memory.swap", "must not be smaller than memory.limit, which must be given")),
            },
        };
        self.settings.push(Setting { place: SettingPlace::Controller(Controller::Memory), file: file.into(), value, without });
        Ok(())
    }

    fn cpu(&mut self, cpu: &LinuxCpu) -> Result<(), CgroupError> {
        let realtime = cpu.realtime_runtime().is_some_and(|value| value != 0) || cpu.realtime_period().is_some_and(|value| value != 0);
        if realtime {
            return Err(CgroupError::unsupported("cpu.realtimeRuntime", "this runtime sets no real-time limits; leave it out"));
        }
        if let Some(idle) = cpu.idle() {
            self.version("cpu.idle", Controller::Cpu)?;
            self.push(Controller::Cpu, "cpu.idle", idle);
        }
        if let Some(shares) = cpu.shares().filter(|&shares| shares != 0) {
            match self.version("cpu.shares", Controller::Cpu)? {
                Version::V1 => self.push(Controller::Cpu, "cpu.shares", shares),
                Version::V2 => self.push(Controller::Cpu, "cpu.weight", weight_from_shares(shares)),
            }
        }
        self.cpu_quota(cpu)
    }

    fn cpu_quota(&mut self, cpu: &LinuxCpu) -> Result<(), CgroupError> {
        let (quota, period) = (cpu.quota().filter(|&quota| quota != 0), cpu.period().filter(|&period| period != 0));
        if quota.is_some() || period.is_some() {
            match self.version("cpu.quota", Controller::Cpu)? {
                Version::V1 => {
                    period.into_iter().for_each(|period| self.push(Controller::Cpu, "cpu.cfs_period_us", period));
                    quota.into_iter().for_each(|quota| self.push(Controller::Cpu, "cpu.cfs_quota_us", quota));
                }
                Version::V2 => {
                    let quota = quota.map_or_else(|| "max".to_owned(), or_max);
                    self.push(Controller::Cpu, "cpu.max", format!("{quota} {}", period.unwrap_or(CPU_PERIOD_MICROS)));
                }
            }
        }
        if let Some(burst) = cpu.burst() {
            match self.version("cpu.burst", Controller::Cpu)? {
                Version::V1 => self.push(Controller::Cpu, "cpu.cfs_burst_us", burst),
                Version::V2 => self.push(Controller::Cpu, "cpu.max.burst", burst),
            }
        }
        Ok(())
    }

    fn cpuset(&mut self, cpu: &LinuxCpu) -> Result<(), CgroupError> {
        for (file, value) in [("cpuset.cpus", cpu.cpus()), ("cpuset.mems", cpu.mems())] {
            if let Some(value) = value.as_deref().filter(|value| !value.is_empty()) {
                self.version(file, Controller::Cpuset)?;
                self.push(Controller::Cpuset, file, value);
            }
        }
        Ok(())
    }

    /// Zero means "not given", a negative number "unlimited".
    fn pids(&mut self, limit: i64) -> Result<(), CgroupError> {
        if limit != 0 {
            self.version("pids", Controller::Pids)?;
            self.push(Controller::Pids, "pids.max", or_max(limit));
        }
        Ok(())
    }

    fn block_io(&mut self, block: &LinuxBlockIo) -> Result<(), CgroupError> {
        let by_device = block.weight_device().as_ref().is_some_and(|list| !list.is_empty());
        if by_device || block.leaf_weight().is_some_and(|weight| weight != 0) {
            return Err(CgroupError::unsupported("blockIO", "this runtime sets no weights by device or for leaves; leave them out"));
        }
        if let Some(weight) = block.weight().filter(|&weight| weight != 0) {
            match self.version("blockIO.weight", Controller::Blkio)? {
                Version::V1 => self.push(Controller::Blkio, "blkio.weight", weight),
                Version::V2 => self.push(Controller::Blkio, "io.weight", io_weight(weight)),
            }
        }
        let throttles = [
            (block.throttle_read_bps_device(), "blkio.throttle.read_bps_device", "rbps"),
            (block.throttle_write_bps_device(), "blkio.throttle.write_bps_device", "wbps"),
            (block.throttle_read_iops_device(), "blkio.throttle.read_iops_device", "riops"),
            (block.throttle_write_iops_device(), "blkio.throttle.write_iops_device", "wiops"),
        ];
        for (devices, file, key) in throttles {
            for device in devices.iter().flatten() {
                self.throttle(device, file, key)?;
            }
        }
        Ok(())
    }

    fn throttle(&mut self, device: &LinuxThrottleDevice, file: &str, key: &str) -> Result<(), CgroupError> {
        let (major, minor, rate) = (device.major(), device.minor(), device.rate());
        match self.version("blockIO.throttle", Controller::Blkio)? {
            Version::V1 => self.push(Controller::Blkio, file, format!("{major}:{minor} {rate}")),
            Version::V2 => self.push(Controller::Blkio, "io.max", format!("{major}:{minor} {key}={rate}")),
        }
        Ok(())
    }

    /// Files of version 2 by name, written last and in the order of their names, so that they have the last word.
    fn unified(&mut self, limits: &LinuxResources) -> Result<(), CgroupError> {
        let Some(unified) = limits.unified().as_ref().filter(|map| !map.is_empty()) else { return Ok(()) };
        if self.hierarchies.v2.is_none() {
            return Err(CgroupError::unsupported("unified", "there is no version 2 hierarchy on this machine"));
        }
        let mut entries: Vec<_> = unified.iter().collect();
        entries.sort();
        for (file, value) in entries {
            let controller = file.split('.').next().unwrap_or_default();
            let core_file = controller == "cgroup" || !file.contains('.');
            if core_file || file.contains('/') || Path::new(file).file_name().is_none() {
                return Err(CgroupError::unsupported(format!("unified.{file}"), "not the file of a controller"));
            }
            self.settings.push(Setting { place: SettingPlace::Unified, file: file.clone(), value: value.clone(), without: None });
        }
        Ok(())
    }

    fn only_v1(&mut self, field: &str, controller: Controller, file: &str, value: impl ToString) -> Result<(), CgroupError> {
        match self.version(field, controller)? {
            Version::V1 => {
                self.push(controller, file, value);
                Ok(())
            }
            Version::V2 => Err(CgroupError::unsupported(field, "cgroup version 2 has no such setting; leave it out")),
        }
    }

    fn both(&mut self, field: &str, controller: Controller, infix: &str, suffix: [&str; 2], value: &str) -> Result<(), CgroupError> {
        if infix.is_empty() || infix.contains('/') {
            return Err(CgroupError::unsupported(field, "malformed page size"));
        }
        let [v1, v2] = suffix;
        let suffix = if self.version(field, controller)? == Version::V1 { v1 } else { v2 };
        self.push(controller, &format!("{}.{infix}.{suffix}", controller.name_v1()), value);
        Ok(())
    }

    fn push(&mut self, controller: Controller, file: &str, value: impl ToString) {
        let place = SettingPlace::Controller(controller);
        self.settings.push(Setting { place, file: file.into(), value: value.to_string(), without: None });
    }

    fn version(&self, field: &str, controller: Controller) -> Result<Version, CgroupError> {
        match self.hierarchies.place(controller) {
            Some(Place::V1(_)) => Ok(Version::V1),
            Some(Place::V2(_)) => Ok(Version::V2),
            None => Err(CgroupError::unsupported(field, "its cgroup controller is not available on this machine")),
        }
    }
}

fn refuse_deprecated_memory(memory: &LinuxMemory) -> Result<(), CgroupError> {
    let given = |value: Option<i64>| value.is_some_and(|value| value > 0);
    if given(memory.kernel()) || given(memory.kernel_tcp()) {
        return Err(CgroupError::unsupported("memory.kernel", "the kernel has no such limit any more; leave it out"));
    }
    Ok(())
}

fn or_max(value: i64) -> String {
    if value < 0 { "max".to_owned() } else { value.to_string() }
}

/// Shares go from 2 to 262144 with 1024 as the usual value, weights from 1 to 10000 with 100: a curve through the three points
/// that all runtimes agree on.
pub(super) fn weight_from_shares(shares: u64) -> u64 {
    match shares {
        0..=2 => 1,
        262_144.. => 10_000,
        _ => {
            let log = (shares as f64).log2();
            let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
            10f64.powf(exponent).ceil() as u64
        }
    }
}

/// Weights from 10 to 1000 become weights from 1 to 10000.
fn io_weight(weight: u16) -> u64 {
    1 + u64::from(weight.clamp(10, 1000) - 10) * 9999 / 990
}

/// The kernel's own default.
const CPU_PERIOD_MICROS: u64 = 100_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::hierarchy::controllers_named;

    fn machine(v2: bool) -> Hierarchies {
        let table: &[u8] = if v2 {
            b"30 23 0:26 / /cg rw - cgroup2 cgroup2 rw\n"
        } else {
            b"30 23 0:26 / /cg/m rw - cgroup cgroup rw,memory\n31 23 0:27 / /cg/c rw - cgroup cgroup rw,cpu\n\
              32 23 0:28 / /cg/p rw - cgroup cgroup rw,pids\n33 23 0:29 / /cg/s rw - cgroup cgroup rw,cpuset\n"
        };
        let mut hierarchies = Hierarchies::from_mountinfo(table);
        if let Some(unified) = &mut hierarchies.v2 {
            unified.controllers = controllers_named("cpu cpuset io memory pids hugetlb");
        }
        hierarchies
    }

    fn check(json: &str, v2: bool) -> Result<Vec<String>, String> {
        let limits: LinuxResources = serde_json::from_str(json).expect("test JSON is valid");
        let settings = settings(&limits, &machine(v2)).map_err(|error| error.to_string())?;
        Ok(settings.into_iter().map(|setting| format!("{}={}", setting.file, setting.value)).collect())
    }

    #[test]
    fn a_usual_container_of_kubernetes_is_translated_for_both_versions() {
        let json = r#"{"memory":{"limit":1048576,"swap":1048576},"cpu":{"shares":1024,"quota":50000,"period":100000,"cpus":"0-1"},
            "pids":{"limit":100}}"#;
        let v1 = [
            "memory.limit_in_bytes=1048576",
            "memory.memsw.limit_in_bytes=1048576",
            "cpu.shares=1024",
            "cpu.cfs_period_us=100000",
            "cpu.cfs_quota_us=50000",
            "cpuset.cpus=0-1",
            "pids.max=100",
        ];
        assert_eq!(check(json, false).expect("valid"), v1);
        let v2 = ["memory.max=1048576", "memory.swap.max=0", "cpu.weight=100", "cpu.max=50000 100000", "cpuset.cpus=0-1", "pids.max=100"];
        assert_eq!(check(json, true).expect("valid"), v2);
    }

    #[test]
    fn minus_one_is_unlimited() {
        let json = r#"{"memory":{"limit":-1,"swap":-1},"cpu":{"quota":-1},"pids":{"limit":-1}}"#;
        assert_eq!(check(json, true).expect("valid"), ["memory.max=max", "memory.swap.max=max", "cpu.max=max 100000", "pids.max=max"]);
        let v1 = ["memory.limit_in_bytes=-1", "memory.memsw.limit_in_bytes=-1", "cpu.cfs_quota_us=-1", "pids.max=max"];
        assert_eq!(check(json, false).expect("valid"), v1);
    }

    #[test]
    fn shares_keep_their_order_and_meet_the_three_known_points() {
        assert_eq!([2, 1024, 262_144].map(weight_from_shares), [1, 100, 10_000]);
        let weights: Vec<u64> = (1..=18).map(|power| weight_from_shares(1 << power)).collect();
        assert!(weights.is_sorted(), "{weights:?}");
    }

    #[test]
    fn what_cannot_be_kept_is_refused_with_its_name() {
        assert_eq!(
            check(r#"{"hugepageLimits":[{"pageSize":"2MB","limit":0}]}"#, false),
            Err("hugepageLimits: its cgroup controller is not available on this machine".into())
        );
        assert!(check(r#"{"unified":{"memory.high":"1"}}"#, false).is_err());
        assert!(check(r#"{"unified":{"../memory.high":"1"}}"#, true).is_err());
        assert!(check(r#"{"unified":{"cgroup.procs":"1"}}"#, true).is_err());
        assert!(check(r#"{"memory":{"swap":5,"limit":6}}"#, true).is_err());
        assert!(check(r#"{"memory":{"swappiness":5}}"#, true).is_err());
        assert!(check(r#"{"cpu":{"realtimeRuntime":5}}"#, false).is_err());
        assert!(check(r#"{"network":{"classID":5}}"#, false).is_err());
    }

    #[test]
    fn unified_settings_come_last() {
        let json = r#"{"unified":{"memory.oom.group":"1","memory.high":"5"},"pids":{"limit":3}}"#;
        assert_eq!(check(json, true).expect("valid"), ["pids.max=3", "memory.high=5", "memory.oom.group=1"]);
    }
}
