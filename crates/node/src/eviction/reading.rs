//! What the machine has left, read from the kernel.

use std::fs;
use std::path::Path;

use super::manager::{Observation, Observations};
use super::signal::Signal;

/// Reads every signal that can be read: `root` is where pods and volumes are, `images` where images and writable layers are.
pub fn observations(root: &Path, images: &Path) -> Observations {
    let mut found = Observations::new();
    let mut add = |signal, observation: Option<Observation>| {
        if let Some(observation) = observation {
            found.insert(signal, observation);
        }
    };
    add(Signal::MemoryAvailable, fs::read_to_string("/proc/meminfo").ok().and_then(|text| memory(&text)));
    add(Signal::PidAvailable, processes());
    for (path, space, inodes) in
        [(root, Signal::NodeFsAvailable, Signal::NodeFsInodesFree), (images, Signal::ImageFsAvailable, Signal::ImageFsInodesFree)]
    {
        // A folder that is not there yet will be on the file system of its parent.
        let there = path.ancestors().find(|path| path.exists()).unwrap_or(path);
        let Ok(found) = rustix::fs::statvfs(there) else { continue };
        let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
        add(space, Some(Observation { available: bytes(found.f_bavail), capacity: bytes(found.f_blocks) }));
        // Some file systems make inodes as they need them, and count none.
        add(inodes, Some(Observation { available: found.f_ffree, capacity: found.f_files }).filter(|inodes| inodes.capacity > 0));
    }
    found
}

/// Memory is there if it is free, or holds file pages that were not used lately: all but the working set.
pub(crate) fn memory(meminfo: &str) -> Option<Observation> {
    let bytes = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
    };
    let capacity = bytes("MemTotal")?;
    let available = bytes("MemFree")?.saturating_add(bytes("Inactive(file)")?).min(capacity);
    Some(Observation { available, capacity })
}

fn processes() -> Option<Observation> {
    let limit = |path: &str| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let (pids, threads) = (limit("/proc/sys/kernel/pid_max")?, limit("/proc/sys/kernel/threads-max")?);
    let running = running(&fs::read_to_string("/proc/loadavg").ok()?)?;
    let capacity = pids.min(threads);
    Some(Observation { available: capacity.saturating_sub(running), capacity })
}

/// `0.20 0.18 0.12 1/80 11206`: the number after the stroke counts processes and threads.
fn running(loadavg: &str) -> Option<u64> {
    loadavg.split(' ').nth(3)?.split_once('/')?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_is_there_is_what_is_free_and_what_was_not_used_lately() {
        let text =
            "MemTotal:       1000 kB\nMemFree:         100 kB\nMemAvailable:    700 kB\nInactive:        400 kB\nInactive(file):  200 kB\n";
        assert_eq!(memory(text), Some(Observation { available: 300 << 10, capacity: 1000 << 10 }));
        assert_eq!(memory("MemTotal: 1000 kB\n"), None);
    }

    #[test]
    fn processes_and_threads_are_counted() {
        assert_eq!(running("0.20 0.18 0.12 1/80 11206\n"), Some(80));
        assert_eq!(running("nonsense"), None);
    }

    #[test]
    fn all_signals_of_this_machine_are_read_and_are_within_what_there_is() {
        let found = observations(Path::new("/nothing/here"), Path::new("/"));
        for signal in [Signal::MemoryAvailable, Signal::NodeFsAvailable, Signal::ImageFsAvailable, Signal::PidAvailable] {
            let observation = found.get(&signal).unwrap_or_else(|| panic!("{signal} is not read"));
            assert!(observation.available > 0 && observation.available <= observation.capacity, "{signal}: {observation:?}");
        }
    }
}
