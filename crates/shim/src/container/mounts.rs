//! The mounts of a bundle: what their options mean, making each as a detached mount, and attaching it in the container's root.
//!
//! Detached first, attached later: sources are looked up in the host's tree before the container's root becomes `/`, with the
//! propagation that the host gave them; targets are looked up only by [`Root`]. Read-only and the like are set before a mount can be seen.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use oci_spec::runtime::Mount;
use rustix::{
    fs::{CWD, FileType, fstat},
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string,
        fsmount, fsopen, move_mount, open_tree,
    },
};

use super::{
    error::{During as _, Failure},
    resolve::{Missing, Root},
};
use crate::sys::{self, Recursive};

/// One mount, with its options understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MountPlan {
    pub(crate) target: PathBuf,
    pub(crate) kind: MountKind,
    pub(crate) attributes: Attributes,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MountKind {
    /// Another place of the host's tree.
    Bind { source: PathBuf, recursive: Recursive },
    /// Directories laid over each other, top first, that nobody can write.
    Layers(Vec<PathBuf>),
    /// A view of the container's own cgroups.
    Cgroup,
    /// A file system of the kernel's making.
    New { filesystem: String, source: Option<String>, parameters: Vec<(String, Option<String>)> },
}

/// Attributes to change on the mount itself, and on it with all below.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Attributes {
    own: Change,
    all: Change,
    propagation: Option<(u64, Recursive)>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Change {
    set: u64,
    clear: u64,
}

impl Change {
    fn apply(&mut self, set: u64, clear: u64) {
        self.set = self.set & !clear | set;
        self.clear = self.clear & !set | clear;
    }

    fn is_empty(self) -> bool {
        self.set == 0 && self.clear == 0
    }
}

impl Attributes {
    /// Whether the mount itself is to be read-only.
    pub(crate) fn is_read_only(&self) -> bool {
        (self.own.set | self.all.set) & libc::MOUNT_ATTR_RDONLY != 0
    }

    /// Read-only, with everything mounted below.
    pub(crate) fn read_only_below() -> Self {
        Self { all: Change { set: libc::MOUNT_ATTR_RDONLY, clear: 0 }, ..Self::default() }
    }

    /// Read-only for the mount itself.
    pub(crate) fn read_only() -> Self {
        Self { own: Change { set: libc::MOUNT_ATTR_RDONLY, clear: 0 }, ..Self::default() }
    }

    /// The opposite of [`Self::read_only`].
    pub(crate) fn writable() -> Self {
        Self { own: Change { set: 0, clear: libc::MOUNT_ATTR_RDONLY }, ..Self::default() }
    }

    /// Propagation alone.
    pub(crate) fn propagation(flags: u64, recursive: Recursive) -> Self {
        Self { propagation: Some((flags, recursive)), ..Self::default() }
    }

    /// Read-only, without programs, set-user-id and devices: for what only the runtime mounts.
    pub(crate) fn inert(read_only: bool) -> Self {
        let mut attributes = Self::default();
        attributes.own.set = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC;
        if read_only {
            attributes.own.set |= libc::MOUNT_ATTR_RDONLY;
        }
        attributes
    }
}

/// Understands one entry of `mounts`.
pub(crate) fn plan(index: usize, mount: &Mount) -> Result<MountPlan, Failure> {
    let target = mount.destination();
    let refused = |problem: String| Failure::bundle(format!("mounts[{index}] ({})", target.display()), problem);
    if !target.is_absolute() || target.components().count() < 2 {
        return Err(refused("destination must be an absolute path other than /".into()));
    }
    if mount.uid_mappings().as_ref().is_some_and(|list| !list.is_empty())
        || mount.gid_mappings().as_ref().is_some_and(|list| !list.is_empty())
    {
        return Err(refused("this runtime does not map the ids of mounts; leave uidMappings and gidMappings out".into()));
    }
    refuse_mounts_over_proc(target).map_err(&refused)?;
    let filesystem = mount.typ().as_deref().unwrap_or_default();
    let mut options = Options { bind: (filesystem == "bind").then_some(Recursive::No), ..Options::default() };
    for option in mount.options().iter().flatten() {
        options.read(option).map_err(&refused)?;
    }
    let source = mount.source().as_ref();
    let kind = match (options.bind, filesystem) {
        (Some(_), _) if !options.parameters.is_empty() => {
            let (key, _) = &options.parameters[0];
            return Err(refused(format!("option {key:?} is not one of a bind mount")));
        }
        (Some(recursive), _) => {
            let source = source.ok_or_else(|| refused("a bind mount needs a source".into()))?;
            MountKind::Bind { source: source.clone(), recursive }
        }
        (None, "") => return Err(refused("a mount needs a type, or the option bind".into())),
        (None, "cgroup" | "cgroup2") => MountKind::Cgroup,
        (None, "overlay") if options.parameters.iter().any(|(key, _)| key == LAYER) => layers(&options).map_err(&refused)?,
        (None, filesystem) => MountKind::New {
            filesystem: filesystem.to_owned(),
            source: source.map(|source| source.display().to_string()),
            parameters: options.parameters,
        },
    };
    if options.attributes.propagation.is_none() && matches!(kind, MountKind::Bind { .. }) {
        options.attributes.propagation = Some((libc::MS_PRIVATE, Recursive::Yes));
    }
    Ok(MountPlan { target: target.clone(), kind, attributes: options.attributes })
}

/// An overlay told of by its layers alone; one that can be written is told of by `lowerdir` and the like, as the kernel has it.
fn layers(options: &Options) -> Result<MountKind, String> {
    let layer = |(key, value): &(String, Option<String>)| match value {
        Some(path) if key == LAYER => Ok(PathBuf::from(path)),
        Some(_) | None => Err(format!("option {key:?} does not go with {LAYER:?}")),
    };
    if !options.attributes.is_read_only() {
        return Err(format!("{LAYER:?} needs the option \"ro\""));
    }
    options.parameters.iter().map(layer).collect::<Result<_, _>>().map(MountKind::Layers)
}

/// Below /proc only files that are known to be overlaid for good reasons: anything else could hide what the kernel says from the runtime.
fn refuse_mounts_over_proc(target: &Path) -> Result<(), String> {
    let mut plain = PathBuf::from("/");
    for component in target.components() {
        match component {
            std::path::Component::Normal(name) => plain.push(name),
            std::path::Component::ParentDir => {
                plain.pop();
            }
            std::path::Component::Prefix(_) | std::path::Component::RootDir | std::path::Component::CurDir => {}
        }
    }
    match plain.strip_prefix("/proc") {
        Ok(below) if below.as_os_str().is_empty() => Ok(()),
        Ok(below) if OVERLAID_IN_PROC.iter().any(|known| below == Path::new(known)) => Ok(()),
        Ok(_) => Err("must not be inside /proc".into()),
        Err(_) => Ok(()),
    }
}

#[derive(Default)]
struct Options {
    bind: Option<Recursive>,
    attributes: Attributes,
    parameters: Vec<(String, Option<String>)>,
}

impl Options {
    fn read(&mut self, option: &str) -> Result<(), String> {
        if let Some((set, clear)) = attribute(option) {
            self.attributes.own.apply(set, clear);
        } else if let Some((set, clear)) = option.strip_prefix('r').and_then(attribute) {
            self.attributes.all.apply(set, clear);
        } else if let Some(propagation) = propagation(option) {
            self.attributes.propagation = Some((propagation, Recursive::No));
        } else if let Some(propagation) = option.strip_prefix('r').and_then(propagation) {
            self.attributes.propagation = Some((propagation, Recursive::Yes));
        } else {
            match option {
                "bind" => self.bind = Some(self.bind.unwrap_or(Recursive::No)),
                "rbind" => self.bind = Some(Recursive::Yes),
                "defaults" | "async" | "nomand" | "silent" | "loud" | "nolazytime" | "noiversion" => {}
                "idmap" | "ridmap" | "tmpcopyup" | "remount" => return Err(format!("option {option:?} is not supported")),
                _ => {
                    let (key, value) = option.split_once('=').map_or((option, None), |(key, value)| (key, Some(value.to_owned())));
                    self.parameters.push((key.to_owned(), value));
                }
            }
        }
        Ok(())
    }
}

/// What an option sets and clears in the attributes of a mount.
fn attribute(option: &str) -> Option<(u64, u64)> {
    const ATIME: u64 = libc::MOUNT_ATTR__ATIME;
    Some(match option {
        "ro" => (libc::MOUNT_ATTR_RDONLY, 0),
        "rw" => (0, libc::MOUNT_ATTR_RDONLY),
        "nosuid" => (libc::MOUNT_ATTR_NOSUID, 0),
        "suid" => (0, libc::MOUNT_ATTR_NOSUID),
        "nodev" => (libc::MOUNT_ATTR_NODEV, 0),
        "dev" => (0, libc::MOUNT_ATTR_NODEV),
        "noexec" => (libc::MOUNT_ATTR_NOEXEC, 0),
        "exec" => (0, libc::MOUNT_ATTR_NOEXEC),
        "nodiratime" => (libc::MOUNT_ATTR_NODIRATIME, 0),
        "diratime" => (0, libc::MOUNT_ATTR_NODIRATIME),
        "nosymfollow" => (libc::MOUNT_ATTR_NOSYMFOLLOW, 0),
        "symfollow" => (0, libc::MOUNT_ATTR_NOSYMFOLLOW),
        // The three kinds of access times exclude each other: all bits are cleared, then those of the kind are set.
        "noatime" => (libc::MOUNT_ATTR_NOATIME, ATIME),
        "strictatime" => (libc::MOUNT_ATTR_STRICTATIME, ATIME),
        "relatime" | "atime" | "norelatime" | "nostrictatime" => (0, ATIME),
        _ => return None,
    })
}

fn propagation(option: &str) -> Option<u64> {
    match option {
        "private" => Some(libc::MS_PRIVATE),
        "shared" => Some(libc::MS_SHARED),
        "slave" => Some(libc::MS_SLAVE),
        "unbindable" => Some(libc::MS_UNBINDABLE),
        _ => None,
    }
}

/// `linux.rootfsPropagation`.
pub(crate) fn root_propagation(text: &str) -> Result<(u64, Recursive), Failure> {
    let single = propagation(text).map(|flags| (flags, Recursive::No));
    let all = text.strip_prefix('r').and_then(propagation).map(|flags| (flags, Recursive::Yes));
    single.or(all).ok_or_else(|| Failure::bundle("linux.rootfsPropagation", format!("unknown value {text:?}")))
}

/// A mount that nobody can see yet.
#[derive(Debug)]
pub(crate) struct Detached {
    fd: OwnedFd,
    missing: Missing,
}

impl Detached {
    /// Clones a place of the tree that is `/` to us at this moment.
    pub(crate) fn bind(source: &Path, recursive: Recursive) -> Result<Self, Failure> {
        let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        if recursive == Recursive::Yes {
            flags |= OpenTreeFlags::AT_RECURSIVE;
        }
        let fd = open_tree(CWD, source, flags).during_path("open mount source", source)?;
        Self::from_mount(fd).during_path("look at mount source", source)
    }

    /// Clones what a descriptor stands for.
    pub(crate) fn bind_fd(source: BorrowedFd<'_>) -> io::Result<Self> {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
        Self::from_mount(open_tree(source, c"", flags)?)
    }

    /// As [`Self::bind_fd`], with all mounts below.
    pub(crate) fn bind_fd_recursive(source: BorrowedFd<'_>) -> io::Result<Self> {
        let flags =
            OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH | OpenTreeFlags::AT_RECURSIVE;
        Self::from_mount(open_tree(source, c"", flags)?)
    }

    /// Takes a mount that is not attached anywhere.
    pub(crate) fn from_mount(fd: OwnedFd) -> io::Result<Self> {
        let is_directory = FileType::from_raw_mode(fstat(&fd)?.st_mode) == FileType::Directory;
        Ok(Self { fd, missing: if is_directory { Missing::Directory } else { Missing::File } })
    }

    /// The mount that is attached where `place` is, to change its attributes.
    pub(crate) fn attached(place: BorrowedFd<'_>) -> io::Result<Self> {
        Self::from_mount(open_tree(place, c"", OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH)?)
    }

    /// Makes a new file system.
    pub(crate) fn new(filesystem: &str, source: Option<&str>, parameters: &[(String, Option<String>)]) -> Result<Self, Failure> {
        let context = fsopen(filesystem, FsOpenFlags::FSOPEN_CLOEXEC).during("open file system", filesystem)?;
        if let Some(source) = source {
            fsconfig_set_string(&context, "source", source).during("set source of", filesystem)?;
        }
        for (key, value) in parameters {
            let set = match value {
                Some(value) => fsconfig_set_string(&context, key.as_str(), value.as_str()),
                None => fsconfig_set_flag(&context, key.as_str()),
            };
            set.during("set mount option of", format_args!("{filesystem}: {key}"))?;
        }
        fsconfig_create(&context).during("make file system", filesystem)?;
        let fd = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty()).during("mount", filesystem)?;
        Ok(Self { fd, missing: Missing::Directory })
    }

    /// Sets attributes and propagation.
    pub(crate) fn set(&self, attributes: &Attributes) -> io::Result<()> {
        let Attributes { own, all, propagation } = attributes;
        if !all.is_empty() {
            sys::mount_setattr(self.fd.as_fd(), Recursive::Yes, all.set, all.clear, 0)?;
        }
        let (flags, recursive) = propagation.unwrap_or((0, Recursive::No));
        // One call is enough where both concern the same mounts.
        if recursive == Recursive::No {
            if !own.is_empty() || flags != 0 {
                sys::mount_setattr(self.fd.as_fd(), Recursive::No, own.set, own.clear, flags)?;
            }
            return Ok(());
        }
        sys::mount_setattr(self.fd.as_fd(), Recursive::Yes, 0, 0, flags)?;
        if own.is_empty() { Ok(()) } else { sys::mount_setattr(self.fd.as_fd(), Recursive::No, own.set, own.clear, 0) }
    }

    /// Mounts it on the place that is open as `target`.
    pub(crate) fn attach(&self, target: BorrowedFd<'_>) -> io::Result<()> {
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        Ok(move_mount(&self.fd, c"", target, c"", flags)?)
    }

    /// Mounts it at a path in the container's root, which is made if it is not there.
    pub(crate) fn attach_at(&self, root: &Root, target: &Path) -> Result<(), Failure> {
        let place = root.open_or_make(target, self.missing).during_path("open mount target", target)?;
        self.attach(place.as_fd()).during_path("mount at", target)
    }

    /// As [`Self::attach_at`], for file systems of which other programs believe that they are at this path and nowhere else.
    pub(crate) fn attach_at_ordinary_directory(&self, root: &Root, target: &Path) -> Result<(), Failure> {
        let place = match root.open_without_links(target) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                root.open_or_make(target, Missing::Directory).during_path("make mount target", target)?;
                root.open_without_links(target)
            }
            other => other,
        };
        let place = place.during_path("open ordinary directory (not a symbolic link)", target)?;
        self.attach(place.as_fd()).during_path("mount at", target)
    }
}

impl From<Detached> for OwnedFd {
    fn from(mount: Detached) -> Self {
        mount.fd
    }
}

impl AsFd for Detached {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The option that names one layer, as newer kernels have it.
const LAYER: &str = "lowerdir+";

/// What system containers and tools for resource views put there.
const OVERLAID_IN_PROC: [&str; 10] = [
    "cpuinfo",
    "diskstats",
    "meminfo",
    "stat",
    "swaps",
    "uptime",
    "loadavg",
    "slabinfo",
    "sys/kernel/ns_last_pid",
    "sys/crypto/fips_enabled",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str) -> Result<MountPlan, String> {
        plan(0, &serde_json::from_str(json).expect("test JSON is valid")).map_err(|failure| match failure {
            Failure::Bundle(error) => error.to_string(),
            Failure::Command(_) | Failure::Step(_) | Failure::NotRunning => format!("{failure:?}"),
        })
    }

    #[test]
    fn options_are_understood() {
        let plan = check(r#"{"destination":"/d","type":"bind","source":"/s","options":["rbind","rro","nosuid","rslave","noatime"]}"#)
            .expect("valid");
        assert_eq!(plan.kind, MountKind::Bind { source: "/s".into(), recursive: Recursive::Yes });
        assert_eq!(plan.attributes.all, Change { set: libc::MOUNT_ATTR_RDONLY, clear: 0 });
        assert_eq!(plan.attributes.own.set, libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOATIME);
        assert_eq!(plan.attributes.own.clear, libc::MOUNT_ATTR__ATIME, "the kernel wants all bits cleared before one is set");
        assert_eq!(plan.attributes.propagation, Some((libc::MS_SLAVE, Recursive::Yes)));
        assert!(plan.attributes.is_read_only());
    }

    #[test]
    fn the_last_of_opposite_options_counts() {
        let plan = check(r#"{"destination":"/d","type":"tmpfs","options":["ro","rw","mode=755","size=64k"]}"#).expect("valid");
        assert!(!plan.attributes.is_read_only());
        let parameters = vec![("mode".to_owned(), Some("755".to_owned())), ("size".to_owned(), Some("64k".to_owned()))];
        assert_eq!(plan.kind, MountKind::New { filesystem: "tmpfs".into(), source: None, parameters });
    }

    #[test]
    fn layers_are_an_overlay_that_nobody_writes() {
        let plan = check(r#"{"destination":"/d","type":"overlay","source":"overlay","options":["ro","lowerdir+=/a","lowerdir+=/b"]}"#);
        assert_eq!(plan.expect("valid").kind, MountKind::Layers(vec!["/a".into(), "/b".into()]));
        let message = check(r#"{"destination":"/d","type":"overlay","options":["lowerdir+=/a"]}"#).expect_err("writable");
        assert_eq!(message, "mounts[0] (/d): \"lowerdir+\" needs the option \"ro\"");
        assert!(check(r#"{"destination":"/d","type":"overlay","options":["ro","lowerdir+=/a","upperdir=/u"]}"#).is_err());
    }

    #[test]
    fn binds_are_private_unless_asked_otherwise() {
        let plan = check(r#"{"destination":"/d","source":"/s","options":["bind"]}"#).expect("valid");
        assert_eq!(plan.attributes.propagation, Some((libc::MS_PRIVATE, Recursive::Yes)));
    }

    #[test]
    fn what_cannot_be_done_is_refused_with_its_place() {
        let message = check(r#"{"destination":"/d","source":"/s","options":["bind","size=5"]}"#).expect_err("not an option of binds");
        assert_eq!(message, "mounts[0] (/d): option \"size\" is not one of a bind mount");
        assert!(check(r#"{"destination":"/d","type":"tmpfs","options":["tmpcopyup"]}"#).is_err());
        assert!(check(r#"{"destination":"d","type":"tmpfs"}"#).is_err());
        assert!(check(r#"{"destination":"/","type":"tmpfs"}"#).is_err());
        assert!(check(r#"{"destination":"/d"}"#).is_err());
        assert!(check(r#"{"destination":"/d","type":"bind"}"#).is_err());
    }

    #[test]
    fn mounts_that_could_fake_the_kernels_word_are_refused() {
        for path in ["/proc/self", "/proc/sys", "/x/../proc/self/attr", "//proc/./1"] {
            let json = format!(r#"{{"destination":"{path}","source":"/s","options":["bind"]}}"#);
            assert!(check(&json).is_err(), "{path}");
        }
        assert!(check(r#"{"destination":"/proc/cpuinfo","source":"/s","options":["bind"]}"#).is_ok());
        assert!(check(r#"{"destination":"/proc","type":"proc"}"#).is_ok());
    }
}
