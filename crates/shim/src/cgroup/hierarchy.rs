//! Which control group hierarchies this machine has mounted, and where each controller is to be found.
//!
//! Three layouts are in use: only version 1 hierarchies, one for each controller; version 2 alone; and the hybrid, with a version 2
//! hierarchy beside those of version 1 that may have some controllers or none. Nothing here asks which layout it is: every
//! controller is looked up by itself.

use std::{
    fs, io,
    os::unix::ffi::OsStringExt,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use super::CgroupError;

/// The controllers that limits are written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Controller {
    Blkio,
    Cpu,
    Cpuacct,
    Cpuset,
    Devices,
    Freezer,
    Hugetlb,
    Memory,
    Pids,
}

impl Controller {
    /// The controllers that a version 2 hierarchy may have; devices and freezer are built into it, cpuacct into `cpu.stat`.
    pub(crate) const VERSION_2: [Self; 6] = [Self::Blkio, Self::Cpu, Self::Cpuset, Self::Hugetlb, Self::Memory, Self::Pids];

    const ALL: [Self; 9] =
        [Self::Blkio, Self::Cpu, Self::Cpuacct, Self::Cpuset, Self::Devices, Self::Freezer, Self::Hugetlb, Self::Memory, Self::Pids];

    /// Its name in version 1, where it is also a mount option.
    pub(crate) fn name_v1(self) -> &'static str {
        match self {
            Self::Blkio => "blkio",
            Self::Cpu => "cpu",
            Self::Cpuacct => "cpuacct",
            Self::Cpuset => "cpuset",
            Self::Devices => "devices",
            Self::Freezer => "freezer",
            Self::Hugetlb => "hugetlb",
            Self::Memory => "memory",
            Self::Pids => "pids",
        }
    }

    /// Its name in `cgroup.controllers`.
    pub(crate) fn name_v2(self) -> &'static str {
        if self == Self::Blkio { "io" } else { self.name_v1() }
    }
}

/// A version 1 hierarchy: one mount, with one or more controllers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HierarchyV1 {
    pub(crate) mount: PathBuf,
    pub(crate) controllers: Vec<Controller>,
}

/// The version 2 hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HierarchyV2 {
    pub(crate) mount: PathBuf,
    /// Those that are not bound to a version 1 hierarchy.
    pub(crate) controllers: Vec<Controller>,
}

/// All hierarchies that matter here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Hierarchies {
    pub(crate) v1: Vec<HierarchyV1>,
    pub(crate) v2: Option<HierarchyV2>,
}

/// Where a controller is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place<'a> {
    V1(&'a Path),
    V2(&'a Path),
}

impl Hierarchies {
    /// Those of this machine. Looked up once in the life of the process: hierarchies are mounted at boot.
    pub(crate) fn of_this_machine() -> Result<&'static Self, CgroupError> {
        static FOUND: OnceLock<Hierarchies> = OnceLock::new();
        if let Some(found) = FOUND.get() {
            return Ok(found);
        }
        let path = Path::new("/proc/thread-self/mountinfo");
        let table = fs::read(path).map_err(|source| CgroupError::io("read", path, source))?;
        let mut found = Self::from_mountinfo(&table);
        if let Some(unified) = &mut found.v2 {
            let path = unified.mount.join("cgroup.controllers");
            let names = fs::read_to_string(&path).map_err(|source| CgroupError::io("read", &path, source))?;
            unified.controllers = controllers_named(&names);
        }
        if found.v1.is_empty() && found.v2.is_none() {
            return Err(CgroupError::io("find a cgroup mount in", path, io::ErrorKind::NotFound.into()));
        }
        Ok(FOUND.get_or_init(|| found))
    }

    /// Reads the mounts of the types `cgroup` and `cgroup2`. Of several mounts of one hierarchy, the first counts.
    pub(crate) fn from_mountinfo(table: &[u8]) -> Self {
        let mut found = Self::default();
        for line in table.split(|&byte| byte == b'\n') {
            let Some(mount) = parse_mount(line) else { continue };
            if mount.filesystem == b"cgroup2" && found.v2.is_none() {
                found.v2 = Some(HierarchyV2 { mount: mount.target, controllers: Vec::new() });
            } else if mount.filesystem == b"cgroup" {
                let controllers: Vec<_> =
                    Controller::ALL.into_iter().filter(|controller| has_option(mount.options, controller.name_v1())).collect();
                let known = found.v1.iter().any(|hierarchy| hierarchy.controllers == controllers);
                if !controllers.is_empty() && !known {
                    found.v1.push(HierarchyV1 { mount: mount.target, controllers });
                }
            }
        }
        found
    }

    /// Where `controller` is, if it is anywhere.
    pub(crate) fn place(&self, controller: Controller) -> Option<Place<'_>> {
        let v1 = self.v1.iter().find(|hierarchy| hierarchy.controllers.contains(&controller));
        if let Some(hierarchy) = v1 {
            return Some(Place::V1(&hierarchy.mount));
        }
        let v2 = self.v2.as_ref().filter(|unified| unified.controllers.contains(&controller));
        v2.map(|unified| Place::V2(&unified.mount))
    }

    /// Every mount, version 2 first.
    pub(crate) fn mounts(&self) -> impl Iterator<Item = &Path> {
        let v2 = self.v2.iter().map(|unified| unified.mount.as_path());
        v2.chain(self.v1.iter().map(|hierarchy| hierarchy.mount.as_path()))
    }
}

/// The controllers in a list such as that of `cgroup.controllers`.
pub(crate) fn controllers_named(names: &str) -> Vec<Controller> {
    let known = |name: &str| Controller::VERSION_2.into_iter().find(|controller| controller.name_v2() == name);
    names.split_whitespace().filter_map(known).collect()
}

struct MountLine<'a> {
    target: PathBuf,
    filesystem: &'a [u8],
    options: &'a [u8],
}

/// `36 35 98:0 /root /target options optional… - type source super-options`.
fn parse_mount(line: &[u8]) -> Option<MountLine<'_>> {
    let mut fields = line.split(|&byte| byte == b' ');
    let target = fields.nth(4)?;
    let mut tail = fields.skip_while(|&field| field != b"-").skip(1);
    let filesystem = tail.next()?;
    let options = tail.nth(1)?;
    Some(MountLine { target: unescape(target), filesystem, options })
}

fn has_option(options: &[u8], name: &str) -> bool {
    options.split(|&byte| byte == b',').any(|option| option == name.as_bytes())
}

/// The kernel writes blanks, tabs, newlines and backslashes of a path as `\` and three octal digits.
fn unescape(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, tail)) = rest.split_first() {
        let code = tail.first_chunk::<3>().filter(|digits| byte == b'\\' && digits.iter().all(|digit| (b'0'..=b'7').contains(digit)));
        match code {
            Some(digits) => {
                bytes.push(digits.iter().fold(0u8, |code, digit| code.wrapping_mul(8).wrapping_add(digit - b'0')));
                rest = &tail[3..];
            }
            None => {
                bytes.push(byte);
                rest = tail;
            }
        }
    }
    PathBuf::from(std::ffi::OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hybrid_layout_is_read() {
        let table = b"31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n\
            32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
            35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
            37 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd\n\
            41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";
        let found = Hierarchies::from_mountinfo(table);
        assert_eq!(found.place(Controller::Cpuacct), Some(Place::V1(Path::new("/sys/fs/cgroup/cpu,cpuacct"))));
        assert_eq!(found.place(Controller::Memory), Some(Place::V1(Path::new("/sys/fs/cgroup/memory"))));
        assert_eq!(found.place(Controller::Pids), None);
        assert_eq!(found.v1.len(), 2);
        assert_eq!(found.v2.expect("unified is there").mount, Path::new("/sys/fs/cgroup/unified"));
    }

    #[test]
    fn version_2_controllers_are_placed_in_the_unified_hierarchy() {
        let mut found = Hierarchies::from_mountinfo(b"30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n");
        found.v2.as_mut().expect("unified is there").controllers = controllers_named("cpuset cpu io memory pids rdma\n");
        assert_eq!(found.place(Controller::Blkio), Some(Place::V2(Path::new("/sys/fs/cgroup"))));
        assert_eq!(found.place(Controller::Hugetlb), None);
        assert!(found.v1.is_empty());
    }

    #[test]
    fn escaped_blanks_in_a_mount_point_are_read() {
        let found = Hierarchies::from_mountinfo(b"41 31 0:38 / /a\\040b\\134 rw - cgroup2 cgroup2 rw\n");
        assert_eq!(found.v2.expect("unified is there").mount, Path::new("/a b\\"));
    }
}
