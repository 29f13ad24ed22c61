//! What the whole machine uses, read from the kernel.

use std::fs;

use crate::eviction::reading;

/// In what the kernel counts processor time (`USER_HZ`), which is the same on every machine for which usher is built.
const NANOS_PER_TICK: u64 = 10_000_000;

/// Processor and memory of the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MachineUse {
    /// Processor time of all processors since the machine began, in nanoseconds.
    pub cpu_nanos: u64,
    /// Memory less what is free and the file pages that were not used lately, in bytes.
    pub memory_working_set_bytes: u64,
}

/// Reads it; `None` where `/proc` does not tell.
pub fn machine_use() -> Option<MachineUse> {
    let cpu_nanos = cpu_nanos(&fs::read_to_string("/proc/stat").ok()?)?;
    let memory = reading::memory(&fs::read_to_string("/proc/meminfo").ok()?)?;
    Some(MachineUse { cpu_nanos, memory_working_set_bytes: memory.capacity.saturating_sub(memory.available) })
}

/// All but idling and waiting; guests are counted among users already (proc(5)).
fn cpu_nanos(stat: &str) -> Option<u64> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let ticks: Vec<u64> = line.split_whitespace().map_while(|tick| tick.parse().ok()).collect();
    let [user, nice, system, _idle, _iowait, irq, softirq, steal, ..] = *ticks.as_slice() else { return None };
    Some([user, nice, system, irq, softirq, steal].into_iter().fold(0_u64, u64::saturating_add).saturating_mul(NANOS_PER_TICK))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idling_and_waiting_is_no_use() {
        let stat = "cpu  10 20 30 1000 500 1 2 3 10 0\ncpu0 5 5 5 5 5 5 5 5 5 5\nintr 1\n";
        assert_eq!(cpu_nanos(stat), Some(66 * NANOS_PER_TICK));
        assert_eq!(cpu_nanos("cpu  1 2 3\n"), None);
    }

    #[test]
    fn this_machine_tells_what_it_uses() {
        let used = machine_use().expect("/proc is there");
        assert!(used.cpu_nanos > 0 && used.memory_working_set_bytes > 0, "{used:?}");
    }
}
