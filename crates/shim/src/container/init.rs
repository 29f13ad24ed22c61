//! The first process of a container, from its birth to `execve`.
//!
//! It is a child of the shim, born in its new namespaces while the host's file tree is still `/`. First everything is opened that
//! has a host's path, then the root becomes the container's, then the rest is put in place by descriptors.
//!
//! Invariant: after [`rootfs::enter`] no path is looked up but through [`Root`].

use std::{
    ffi::CString,
    mem::ManuallyDrop,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{CWD, Mode, OFlags, openat, symlinkat},
    process::{setsid, umask},
    system::{setdomainname, sethostname},
    thread::set_name,
};

use super::{
    Rootfs,
    bundle::{ContainerPlan, EnvironmentPlan},
    channel,
    error::{During as _, Failure},
    launch::wait_until_joined,
    mask::{self, Masks},
    mounts::{Attributes, Detached, MountKind, MountPlan},
    namespaces,
    process::ReadyProcess,
    resolve::{Missing, Root},
    rootfs,
    stdio::Stdio,
};
use crate::sys::{self, Recursive};

/// Everything that the init needs from its creator.
#[derive(Debug)]
pub(crate) struct Init<'a> {
    pub(crate) id: &'a str,
    pub(crate) plan: ContainerPlan,
    pub(crate) rootfs: &'a Rootfs,
    /// Where the container's cgroups are to be seen: a name below the mount of the bundle (empty for the mount itself), and the host's directory.
    pub(crate) cgroups: Vec<(String, PathBuf)>,
    /// Ends, or gives a byte, when the creator has put this process into its cgroups. `None`: it was born in them.
    pub(crate) joined: Option<OwnedFd>,
    pub(crate) stdio: Stdio,
}

impl Init<'_> {
    /// Becomes the container's command. Returns only what prevented it.
    pub(crate) fn run(self, channel: BorrowedFd<'_>) -> Failure {
        match self.prepare(channel) {
            Ok(ready) if channel::wait_for_release(channel) => ready.run(),
            // The shim is gone, or will have no more of it.
            Ok(_) => sys::exit(EXIT_ABANDONED),
            Err(failure) => failure,
        }
    }

    fn prepare(self, channel: BorrowedFd<'_>) -> Result<ReadyProcess, Failure> {
        let Self { id, plan, rootfs, cgroups, joined, stdio } = self;
        name_process(id);
        let ContainerPlan { mut process, namespaces, environment, clamped, .. } = plan;
        setsid().during("start", "session")?;
        let proc = openat(CWD, "/proc", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).during("open", "/proc")?;
        process.open_labels(proc.as_fd())?;
        drop(proc);
        set_kernel_settings(&environment)?;
        let (root, masks) = change_root(rootfs, &environment, &cgroups)?;
        umask(Mode::empty());
        if let Some(devices) = &environment.devices {
            super::devices::make(&root, devices)?;
        }
        let console = stdio.open_console(&root, process.terminal)?;
        if let Some(console) = &console {
            console.show_as_dev_console(&root)?;
        }
        umask(Mode::from_raw_mode(UMASK_FOR_MAKING));
        root.open_or_make(&process.cwd, Missing::Directory).during_path("open or make process.cwd", &process.cwd)?;
        protect(&root, &environment, masks)?;
        wait_until_joined(joined)?;
        if namespaces.new_cgroup {
            sys::unshare_cgroup_namespace().during("make", "cgroup namespace")?;
        }
        // Closing it would hang up this process before it can say why it failed; its end or its command closes it.
        let master = ManuallyDrop::new(stdio.take(console)?);
        let kept: Vec<_> = master.iter().map(OwnedFd::as_fd).chain([channel]).collect();
        let (ready, clamped) = process.prepare(root, &kept, clamped)?;
        ready.announce(channel, &clamped, master.as_ref())?;
        Ok(ready)
    }
}

/// So that lists of processes tell whose init it is until it is started.
fn name_process(id: &str) {
    if let Ok(name) = CString::new(format!("init:{id}")) {
        // The kernel cuts it; without a name it works as well.
        let _ = set_name(&name);
    }
}

/// What belongs to the container's namespaces but is set with the host's `/proc`.
pub(super) fn set_kernel_settings(environment: &EnvironmentPlan) -> Result<(), Failure> {
    if environment.loopback {
        namespaces::set_loopback_up()?;
    }
    if let Some(name) = &environment.hostname {
        sethostname(name.as_bytes()).during("set hostname", name)?;
    }
    if let Some(name) = &environment.domainname {
        setdomainname(name.as_bytes()).during("set domainname", name)?;
    }
    for (path, value) in &environment.sysctls {
        std::fs::write(path, value).during_path("write sysctl", path)?;
    }
    Ok(())
}

/// Opens all that is to be mounted, makes the root file system `/`, and mounts.
///
/// The order matters where the host's mounts are shared, as systemd makes them: what comes from the host is opened with the propagation
/// that it has there; only then are ties cut, and only after that is the root file system made, which must be nobody's peer.
fn change_root(rootfs: &Rootfs, environment: &EnvironmentPlan, cgroups: &[(String, PathBuf)]) -> Result<(Root, Option<Masks>), Failure> {
    let masks = if environment.masked.is_empty() { None } else { Some(Masks::new()?) };
    let mut mounts = Vec::with_capacity(environment.mounts.len());
    for mount in &environment.mounts {
        let opened = open_mount(mount, cgroups)?;
        opened.main.set(&mount.attributes).during_path("set mount attributes for", &mount.target)?;
        mounts.push((mount, opened));
    }
    rootfs::make_private()?;
    let root = rootfs::enter(&rootfs::detached(rootfs)?)?;
    umask(Mode::from_raw_mode(UMASK_FOR_MAKING));
    for (mount, opened) in mounts {
        attach(&root, mount, &opened)?;
    }
    Ok((root, masks))
}

/// A mount with what is mounted inside of it.
struct Opened {
    main: Detached,
    inside: Vec<(String, Detached)>,
    /// Set when everything inside is in place.
    seal: bool,
}

fn open_mount(mount: &MountPlan, cgroups: &[(String, PathBuf)]) -> Result<Opened, Failure> {
    let plain = |main| Opened { main, inside: Vec::new(), seal: false };
    match &mount.kind {
        MountKind::Bind { source, recursive } => Detached::bind(source, *recursive).map(plain),
        MountKind::New { filesystem, source, parameters } => Detached::new(filesystem, source.as_deref(), parameters).map(plain),
        MountKind::Layers(lower) => rootfs::read_only_overlay(lower).map(plain),
        MountKind::Cgroup => open_cgroups(mount, cgroups),
    }
}

/// Version 2 alone is one mount; otherwise there is a directory for each hierarchy, in a file system of its own.
fn open_cgroups(mount: &MountPlan, cgroups: &[(String, PathBuf)]) -> Result<Opened, Failure> {
    if let [(name, directory)] = cgroups
        && name.is_empty()
    {
        return Ok(Opened { main: Detached::bind(directory, Recursive::No)?, inside: Vec::new(), seal: false });
    }
    let main = Detached::new("tmpfs", Some("cgroup"), &[("mode".to_owned(), Some("755".to_owned()))])?;
    let mut inside = Vec::with_capacity(cgroups.len());
    for (name, directory) in cgroups {
        let view = Detached::bind(directory, Recursive::No)?;
        let attributes = Attributes::inert(mount.attributes.is_read_only());
        view.set(&attributes).during_path("set mount attributes for", directory)?;
        inside.push((name.clone(), view));
    }
    Ok(Opened { main, inside, seal: mount.attributes.is_read_only() })
}

fn attach(root: &Root, mount: &MountPlan, opened: &Opened) -> Result<(), Failure> {
    let Opened { main, inside, seal } = opened;
    let ordinary = matches!(&mount.kind, MountKind::New { filesystem, .. } if filesystem == "proc" || filesystem == "sysfs");
    if ordinary {
        main.attach_at_ordinary_directory(root, &mount.target)?;
    } else {
        main.attach_at(root, &mount.target)?;
    }
    if inside.is_empty() {
        return Ok(());
    }
    let directory = Root::new(main.as_fd().try_clone_to_owned().during_path("open", &mount.target)?);
    if *seal {
        main.set(&Attributes::writable()).during_path("open for mounting", &mount.target)?;
    }
    for (name, view) in inside {
        view.attach_at(&directory, Path::new(name))?;
        // Controllers that share a hierarchy are found by their own names as well, as on the host.
        for part in name.split(',').filter(|part| *part != name) {
            symlinkat(name.as_str(), &directory, part).during("make symbolic link", part)?;
        }
    }
    if *seal { main.set(&Attributes::read_only()).during_path("write-protect", &mount.target) } else { Ok(()) }
}

/// The last touches, after which the root may not be writable any more.
fn protect(root: &Root, environment: &EnvironmentPlan, masks: Option<Masks>) -> Result<(), Failure> {
    for path in &environment.read_only {
        mask::write_protect(root, path)?;
    }
    if let Some(mut masks) = masks {
        for path in &environment.masked {
            masks.hide(root, path)?;
        }
    }
    let mount = Detached::attached(root.as_fd()).during("open", "root mount")?;
    if environment.root_read_only {
        mount.set(&Attributes::read_only()).during("write-protect", "root file system")?;
    }
    if let Some((flags, recursive)) = environment.root_propagation {
        mount.set(&Attributes::propagation(flags, recursive)).during("set propagation of", "root file system")?;
    }
    Ok(())
}

/// For directories and files that are made as mount targets.
const UMASK_FOR_MAKING: u32 = 0o022;
const EXIT_ABANDONED: i32 = 125;
