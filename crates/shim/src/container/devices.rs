//! What every container finds in `/dev`, and the devices that its bundle adds.

use std::{
    io,
    os::fd::{AsFd as _, BorrowedFd},
    path::Path,
};

use oci_spec::runtime::{LinuxDevice, LinuxDeviceType};
use rustix::{
    fs::{AtFlags, FileType, Gid, Mode, Uid, chownat, makedev, mknodat, symlinkat, unlinkat},
    io::Errno,
};

use super::{
    error::{During as _, Failure},
    resolve::{Missing, Root},
};

/// A node to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeviceNode {
    path: std::path::PathBuf,
    kind: FileType,
    device: u64,
    mode: Mode,
    owner: (u32, u32),
}

/// Understands `linux.devices`.
pub(crate) fn plan(devices: &[LinuxDevice]) -> Result<Vec<DeviceNode>, Failure> {
    let mut nodes = Vec::new();
    for (index, device) in devices.iter().enumerate() {
        let refused = |problem| Failure::bundle(format!("linux.devices[{index}] ({})", device.path().display()), problem);
        let kind = match device.typ() {
            LinuxDeviceType::B => FileType::BlockDevice,
            LinuxDeviceType::C | LinuxDeviceType::U => FileType::CharacterDevice,
            LinuxDeviceType::P => FileType::Fifo,
            LinuxDeviceType::A => return Err(refused("type must be b, c, u or p")),
        };
        let number = |number: i64| u32::try_from(number).map_err(|_| refused("device number out of range"));
        let (major, minor) = if kind == FileType::Fifo { (0, 0) } else { (number(device.major())?, number(device.minor())?) };
        if !device.path().is_absolute() {
            return Err(refused("path must be absolute"));
        }
        nodes.push(DeviceNode {
            path: device.path().clone(),
            kind,
            device: makedev(major, minor),
            mode: Mode::from_raw_mode(device.file_mode().unwrap_or(0o666) & 0o7777),
            owner: (device.uid().unwrap_or(0), device.gid().unwrap_or(0)),
        });
    }
    Ok(nodes)
}

/// Makes the nodes and links. The umask must be zero.
pub(crate) fn make(root: &Root, extra: &[DeviceNode]) -> Result<(), Failure> {
    let dev = root.open_or_make(Path::new("/dev"), Missing::Directory).during("open", "/dev")?;
    for (name, major, minor) in EVERY_CONTAINER {
        let node = mknodat(dev.as_fd(), name, FileType::CharacterDevice, Mode::from_raw_mode(0o666), makedev(major, minor));
        if let Err(errno) = node
            && errno != Errno::EXIST
        {
            return Err(Failure::step("make device", format_args!("/dev/{name}"), errno));
        }
    }
    for (name, target) in LINKS {
        link(dev.as_fd(), name, target).during("make symbolic link", format_args!("/dev/{name}"))?;
    }
    for node in extra {
        make_node(root, node)?;
    }
    Ok(())
}

/// A node that the root file system already has at this place is replaced: its numbers are not to be trusted.
fn make_node(root: &Root, node: &DeviceNode) -> Result<(), Failure> {
    let (Some(parent), Some(name)) = (node.path.parent(), node.path.file_name()) else {
        return Err(Failure::bundle("linux.devices", "path must name a file"));
    };
    let parent = root.open_or_make(parent, Missing::Directory).during_path("open directory of device", &node.path)?;
    let made = || mknodat(&parent, name, node.kind, node.mode, node.device);
    match made() {
        Err(Errno::EXIST) => {
            unlinkat(&parent, name, AtFlags::empty()).during_path("replace device", &node.path)?;
            made()
        }
        other => other,
    }
    .during_path("make device", &node.path)?;
    let (uid, gid) = node.owner;
    chownat(&parent, name, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)), AtFlags::SYMLINK_NOFOLLOW)
        .during_path("set owner of device", &node.path)
}

fn link(dev: BorrowedFd<'_>, name: &str, target: &str) -> io::Result<()> {
    match symlinkat(target, dev, name) {
        Err(Errno::EXIST) if name == "ptmx" => {
            // The file system's own may be a node of the host's instance.
            unlinkat(dev, name, AtFlags::empty())?;
            Ok(symlinkat(target, dev, name)?)
        }
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

// OCI runtime-spec, "Default Devices" and "Dev symbolic links".
const EVERY_CONTAINER: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];
const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];
