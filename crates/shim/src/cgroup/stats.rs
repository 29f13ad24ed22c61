//! What a group uses, in the words of the kubelet's summary.

use super::{Cgroup, CgroupError, Version, hierarchy::Controller, keyed_number, read_if_there};

/// What a group uses. `None` where the controller is not there, or the group is not in it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CgroupStats {
    /// Processor time used, in nanoseconds.
    pub cpu_usage_nanos: Option<u64>,
    /// Memory charged, in bytes.
    pub memory_usage_bytes: Option<u64>,
    /// Memory charged less the inactive file pages, in bytes.
    pub memory_working_set_bytes: Option<u64>,
    /// Anonymous memory, in bytes.
    pub memory_rss_bytes: Option<u64>,
    /// The memory limit in bytes; `None` also if there is none.
    pub memory_limit_bytes: Option<u64>,
    /// The most memory that was ever charged, in bytes.
    pub memory_peak_bytes: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
}

pub(super) fn read(cgroup: &Cgroup) -> Result<CgroupStats, CgroupError> {
    let mut stats = CgroupStats { cpu_usage_nanos: cpu_usage_nanos(cgroup)?, ..CgroupStats::default() };
    read_memory(cgroup, &mut stats)?;
    if let Some((directory, _)) = cgroup.directory(Controller::Pids) {
        stats.pids = number(read_if_there(&directory.join("pids.current"))?);
    }
    Ok(stats)
}

/// Every group of version 2 counts processor time, also where the cpu controller is bound to version 1.
fn cpu_usage_nanos(cgroup: &Cgroup) -> Result<Option<u64>, CgroupError> {
    if let Some(directory) = cgroup.directory_v2()
        && let Some(text) = read_if_there(&directory.join("cpu.stat"))?
    {
        return Ok(keyed_number(&text, "usage_usec").map(|micros| micros.saturating_mul(1000)));
    }
    let Some((directory, Version::V1)) = cgroup.directory(Controller::Cpuacct) else { return Ok(None) };
    Ok(number(read_if_there(&directory.join("cpuacct.usage"))?))
}

fn read_memory(cgroup: &Cgroup, stats: &mut CgroupStats) -> Result<(), CgroupError> {
    let Some((directory, version)) = cgroup.directory(Controller::Memory) else { return Ok(()) };
    let (usage, limit, peak, rss, inactive) = match version {
        Version::V1 => ("memory.usage_in_bytes", "memory.limit_in_bytes", "memory.max_usage_in_bytes", "total_rss", "total_inactive_file"),
        Version::V2 => ("memory.current", "memory.max", "memory.peak", "anon", "inactive_file"),
    };
    let Some(details) = read_if_there(&directory.join("memory.stat"))? else { return Ok(()) };
    stats.memory_usage_bytes = number(read_if_there(&directory.join(usage))?);
    stats.memory_limit_bytes = number(read_if_there(&directory.join(limit))?).filter(|&bytes| bytes < MEMORY_UNLIMITED_BYTES);
    stats.memory_peak_bytes = number(read_if_there(&directory.join(peak))?);
    stats.memory_rss_bytes = keyed_number(&details, rss);
    let inactive = keyed_number(&details, inactive).unwrap_or(0);
    stats.memory_working_set_bytes = stats.memory_usage_bytes.map(|bytes| bytes.saturating_sub(inactive));
    Ok(())
}

fn number(text: Option<String>) -> Option<u64> {
    text?.trim().parse().ok()
}

/// Version 1 shows "no limit" as the largest number of whole pages.
const MEMORY_UNLIMITED_BYTES: u64 = i64::MAX as u64 - 0xffff;
