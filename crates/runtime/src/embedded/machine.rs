//! What this machine, and this process on it, has to give to containers.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use oci_spec::runtime::{Capability, LinuxDevice, LinuxDeviceBuilder, LinuxDeviceType};

use super::spec::Machine;

/// Most device nodes that a privileged container gets, and how deep they are looked for: more than any machine has.
const DEVICES_MAX: usize = 4096;
const DEVICE_DEPTH_MAX: usize = 8;
/// Most processors that are counted, as many as the largest kernels are built for.
const CPUS_MAX: u32 = 8192;

/// Reads what containers can get, devices aside.
pub(crate) fn read_machine() -> io::Result<Machine> {
    let status = fs::read_to_string("/proc/self/status")?;
    let possible_cpus = fs::read_to_string("/sys/devices/system/cpu/possible").map_or_else(|_| Vec::new(), |text| cpu_list(&text));
    Ok(Machine { capabilities: capabilities(&status), devices: Vec::new(), possible_cpus })
}

/// Capabilities that a process may pass on: those that it has, and that its bounding set lets through.
fn capabilities(status: &str) -> HashSet<Capability> {
    let mask = |name: &str| {
        let value = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        value.and_then(|value| u64::from_str_radix(value.trim(), 16).ok()).unwrap_or(0)
    };
    let mask = mask("CapPrm") & mask("CapBnd");
    let known = (0_u32..).zip(CAPABILITIES);
    known.filter(|(number, _)| mask & (1 << number) != 0).map(|(_, capability)| capability).collect()
}

fn cpu_list(text: &str) -> Vec<u32> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        Some(first..=std::cmp::min(last, CPUS_MAX))
    };
    text.split(',').filter_map(range).flatten().collect()
}

/// The device nodes of this machine, for a privileged container.
pub(crate) fn device_nodes() -> io::Result<Vec<LinuxDevice>> {
    let mut devices = Vec::new();
    add_devices(Path::new("/dev"), 0, &mut devices)?;
    Ok(devices)
}

fn add_devices(folder: &Path, depth: usize, devices: &mut Vec<LinuxDevice>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        // Nodes come and go while they are listed.
        let Ok(metadata) = entry.metadata() else { continue };
        let kind = metadata.file_type();
        let typ = if kind.is_char_device() {
            LinuxDeviceType::C
        } else if kind.is_block_device() {
            LinuxDeviceType::B
        } else if kind.is_dir() && depth < DEVICE_DEPTH_MAX && !is_of_the_container(&entry.file_name()) {
            add_devices(&entry.path(), depth + 1, devices)?;
            continue;
        } else {
            continue;
        };
        if entry.file_name() == "console" || devices.len() >= DEVICES_MAX {
            continue;
        }
        let device = LinuxDeviceBuilder::default()
            .path(entry.path())
            .typ(typ)
            .major(i64::from(rustix::fs::major(metadata.rdev())))
            .minor(i64::from(rustix::fs::minor(metadata.rdev())))
            .file_mode(metadata.mode() & 0o7777)
            .uid(metadata.uid())
            .gid(metadata.gid())
            .build()
            .expect("every field has a default");
        devices.push(device);
    }
    Ok(())
}

/// Folders in `/dev` that every container has its own of.
fn is_of_the_container(name: &std::ffi::OsStr) -> bool {
    ["pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev"].iter().any(|known| name == *known)
}

/// By number.
const CAPABILITIES: [Capability; 41] = [
    Capability::Chown,
    Capability::DacOverride,
    Capability::DacReadSearch,
    Capability::Fowner,
    Capability::Fsetid,
    Capability::Kill,
    Capability::Setgid,
    Capability::Setuid,
    Capability::Setpcap,
    Capability::LinuxImmutable,
    Capability::NetBindService,
    Capability::NetBroadcast,
    Capability::NetAdmin,
    Capability::NetRaw,
    Capability::IpcLock,
    Capability::IpcOwner,
    Capability::SysModule,
    Capability::SysRawio,
    Capability::SysChroot,
    Capability::SysPtrace,
    Capability::SysPacct,
    Capability::SysAdmin,
    Capability::SysBoot,
    Capability::SysNice,
    Capability::SysResource,
    Capability::SysTime,
    Capability::SysTtyConfig,
    Capability::Mknod,
    Capability::Lease,
    Capability::AuditWrite,
    Capability::AuditControl,
    Capability::Setfcap,
    Capability::MacOverride,
    Capability::MacAdmin,
    Capability::Syslog,
    Capability::WakeAlarm,
    Capability::BlockSuspend,
    Capability::AuditRead,
    Capability::Perfmon,
    Capability::Bpf,
    Capability::CheckpointRestore,
];

#[cfg(test)]
mod tests {
    use oci_spec::runtime::Capability;

    use super::{capabilities, cpu_list};

    #[test]
    fn capabilities_are_those_that_may_be_passed_on() {
        let found = capabilities("Name:\tx\nCapPrm:\t0000000000000003\nCapEff:\t0\nCapBnd:\t0000010000000001\n");
        assert_eq!(found.into_iter().collect::<Vec<_>>(), [Capability::Chown]);
        let all = capabilities("CapPrm:\t000001ffffffffff\nCapBnd:\t000001ffffffffff\n");
        assert_eq!(all.len(), 41);
    }

    #[test]
    fn processors_are_counted_in_ranges() {
        assert_eq!(cpu_list("0-2,5\n"), [0, 1, 2, 5]);
        assert_eq!(cpu_list("nonsense"), [0_u32; 0]);
        assert_eq!(cpu_list("8190-99999999999"), [0_u32; 0]);
        assert_eq!(cpu_list("8191-9000").len(), 2);
    }
}
