//! Making groups and writing their limits.
//!
//! Invariant: when a step fails, the directories that were made for the group are gone again. Its parents stay, because those of other
//! pods may be in them, or about to be: whoever comes first makes them, and nobody removes them but with [`Cgroup::remove`].

use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use oci_spec::runtime::LinuxResources;

use super::{
    Cgroup, CgroupError, CgroupPath, Version, device_filter, devices,
    hierarchy::{Controller, Hierarchies, Place, controllers_named},
    is_gone,
    limits::{Setting, SettingPlace, settings},
    read_file, write_file,
};

/// What a group is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    /// Holds groups of containers. May exist already; has no device rules.
    Pod,
    /// Holds the processes of one container. Must not be in use.
    Container,
    /// Holds the processes of one command in the container whose group is the parent. Has no limits of its own.
    Exec,
}

/// A group that is ready for its first process.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) cgroup: Cgroup,
    /// Settings that this machine granted only in part.
    pub(crate) clamped: Vec<String>,
    /// The directory in version 2 for `clone3`.
    pub(crate) birthplace: Option<OwnedFd>,
    /// The `cgroup.procs` files of version 1 into which the process must be written before it runs anything.
    pub(crate) joins: Vec<(PathBuf, File)>,
    made: Vec<PathBuf>,
}

impl Prepared {
    /// Writes the process into the version 1 groups.
    pub(crate) fn join(&mut self, pid: i32) -> Result<(), CgroupError> {
        for (path, file) in &mut self.joins {
            file.write_all(pid.to_string().as_bytes()).map_err(|source| CgroupError::io(format!("write {pid} to"), path, source))?;
        }
        Ok(())
    }

    /// Writes a process that was not born there into the version 2 group.
    pub(crate) fn join_unified(&self, pid: i32) -> Result<(), CgroupError> {
        match self.cgroup.directory_v2() {
            Some(directory) => write_file(&directory.join("cgroup.procs"), &pid.to_string()),
            None => Ok(()),
        }
    }

    /// Removes what was made, when no process came to live in it.
    pub(crate) fn abandon(self) {
        remove_made(&self.made);
    }
}

/// Makes the group with its limits.
pub(crate) fn prepare(path: &CgroupPath, limits: &LinuxResources, level: Level) -> Result<Prepared, CgroupError> {
    let cgroup = Cgroup::open(path)?;
    let settings = settings(limits, cgroup.hierarchies)?;
    let mut prepared = Prepared { cgroup, clamped: Vec::new(), birthplace: None, joins: Vec::new(), made: Vec::new() };
    match fill(&mut prepared, &settings, limits, level) {
        Ok(()) => Ok(prepared),
        Err(error) => {
            prepared.abandon();
            Err(error)
        }
    }
}

/// Makes the group in every hierarchy and moves the calling process into it.
pub(super) fn enter(cgroup: &Cgroup) -> Result<(), CgroupError> {
    for mount in cgroup.hierarchies.mounts() {
        let directory = mount.join(cgroup.path.as_path());
        make_directory(&directory, mount, Level::Pod, has_cpuset(cgroup.hierarchies, mount), &mut Vec::new())?;
        // Zero is whoever writes it.
        write_file(&directory.join("cgroup.procs"), "0")?;
    }
    Ok(())
}

/// Writes other limits to a group that exists.
pub(super) fn update(cgroup: &Cgroup, limits: &LinuxResources) -> Result<Vec<String>, CgroupError> {
    let settings = settings(limits, cgroup.hierarchies)?;
    refuse_limit_below_usage(cgroup, limits)?;
    let mut clamped = Vec::new();
    write_settings(cgroup, &settings, &mut clamped)?;
    Ok(clamped)
}

fn fill(prepared: &mut Prepared, settings: &[Setting], limits: &LinuxResources, level: Level) -> Result<(), CgroupError> {
    let cgroup = prepared.cgroup.clone();
    let plan = plan(&cgroup, settings, level);
    if let Some(unified) = &cgroup.hierarchies.v2 {
        let wanted = controllers_v2(cgroup.hierarchies, settings, level);
        delegate(&unified.mount, cgroup.path.as_path(), &wanted, level, &mut prepared.made)?;
    }
    for (mount, version) in &plan.make {
        let directory = mount.join(cgroup.path.as_path());
        let cpuset = *version == Version::V1 && has_cpuset(cgroup.hierarchies, mount);
        make_directory(&directory, mount, level, cpuset, &mut prepared.made)?;
    }
    write_settings(&cgroup, settings, &mut prepared.clamped)?;
    if level == Level::Container {
        apply_device_rules(&cgroup, limits)?;
    }
    if level != Level::Pod {
        open_entrances(prepared, &plan)?;
    }
    Ok(())
}

/// In which mounts the group is made, and which groups its processes join besides.
struct Plan {
    make: Vec<(PathBuf, Version)>,
    join_only: Vec<PathBuf>,
}

fn plan(cgroup: &Cgroup, settings: &[Setting], level: Level) -> Plan {
    let hierarchies = cgroup.hierarchies;
    let mut plan = Plan { make: Vec::new(), join_only: Vec::new() };
    if let Some(unified) = &hierarchies.v2 {
        plan.make.push((unified.mount.clone(), Version::V2));
    }
    match level {
        Level::Pod | Level::Container => {
            for hierarchy in &hierarchies.v1 {
                let has = |controller| hierarchy.controllers.contains(&controller);
                let set = settings.iter().any(|setting| matches!(setting.place, SettingPlace::Controller(controller) if has(controller)));
                // Without version 2 there is no other way to stop a group, or to count its processor time.
                let instead = hierarchies.v2.is_none() && (has(Controller::Freezer) || has(Controller::Cpuacct));
                if set || instead || has(Controller::Memory) || (has(Controller::Devices) && level == Level::Container) {
                    plan.make.push((hierarchy.mount.clone(), Version::V1));
                }
            }
        }
        Level::Exec => plan_exec(cgroup, &mut plan),
    }
    plan
}

/// A command has a group of its own in one hierarchy only, to be killed by; in the others it joins the container's.
fn plan_exec(cgroup: &Cgroup, plan: &mut Plan) {
    let Some(container) = cgroup.path.as_path().parent() else { return };
    for hierarchy in &cgroup.hierarchies.v1 {
        let directory = hierarchy.mount.join(container);
        if !directory.is_dir() {
            continue;
        }
        let freezer = hierarchy.controllers.contains(&Controller::Freezer);
        if freezer && cgroup.hierarchies.v2.is_none() {
            plan.make.push((hierarchy.mount.clone(), Version::V1));
        } else {
            plan.join_only.push(directory);
        }
    }
}

/// The controllers that the group's parents must let through.
fn controllers_v2(hierarchies: &Hierarchies, settings: &[Setting], level: Level) -> Vec<Controller> {
    let always: &[Controller] = match level {
        Level::Pod => &[Controller::Cpu, Controller::Memory, Controller::Pids],
        Level::Container => &[Controller::Memory],
        Level::Exec => return Vec::new(),
    };
    let of_setting = |setting: &Setting| match setting.place {
        SettingPlace::Controller(controller) => Some(controller),
        SettingPlace::Unified => setting.file.split('.').next().map(controllers_named).unwrap_or_default().first().copied(),
    };
    let mut wanted: Vec<_> = always.iter().copied().chain(settings.iter().filter_map(of_setting)).collect();
    wanted.sort_unstable();
    wanted.dedup();
    wanted.retain(|&controller| matches!(hierarchies.place(controller), Some(Place::V2(_))));
    wanted
}

/// Lets the controllers through on the way from the mount to the group; for a pod, to the groups in it as well.
fn delegate(mount: &Path, path: &Path, wanted: &[Controller], level: Level, made: &mut Vec<PathBuf>) -> Result<(), CgroupError> {
    if wanted.is_empty() {
        return Ok(());
    }
    let mut directory = mount.to_owned();
    let mut components = path.components().peekable();
    loop {
        if level == Level::Pod || components.peek().is_some() {
            let file = directory.join("cgroup.subtree_control");
            let enabled = controllers_named(&read_file(&file)?);
            for controller in wanted.iter().filter(|controller| !enabled.contains(controller)) {
                write_file(&file, &format!("+{}", controller.name_v2()))?;
            }
        }
        let Some(component) = components.next() else { return Ok(()) };
        directory.push(component);
        if components.peek().is_none() && level != Level::Pod {
            return Ok(());
        }
        if make_if_missing(&directory)? && components.peek().is_none() {
            made.push(directory.clone());
        }
    }
}

/// Makes the directory, its parents where missing, and sets what version 1 does not inherit.
fn make_directory(directory: &Path, mount: &Path, level: Level, cpuset: bool, made: &mut Vec<PathBuf>) -> Result<(), CgroupError> {
    match fs::create_dir(directory) {
        Ok(()) => made.push(directory.to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound && level != Level::Exec && directory != mount => {
            let parent = directory.parent().unwrap_or(mount);
            make_directory(parent, mount, Level::Pod, cpuset, &mut Vec::new())?;
            // Another pod's shim may have been faster; what both have in common is made by whoever comes first.
            if make_if_missing(directory)? {
                made.push(directory.to_owned());
            }
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && level == Level::Pod => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            // Left behind by a crash, if it is empty; its counts are not ours.
            fs::remove_dir(directory).map_err(|source| CgroupError::io("replace old cgroup", directory, source))?;
            fs::create_dir(directory).map_err(|source| CgroupError::io("make cgroup", directory, source))?;
            made.push(directory.to_owned());
        }
        Err(source) => return Err(CgroupError::io("make cgroup", directory, source)),
    }
    if !cpuset {
        return Ok(());
    }
    // From the top: whoever made a parent may not have come to its processors yet.
    let mut above: Vec<_> = directory.ancestors().take_while(|ancestor| *ancestor != mount).collect();
    above.reverse();
    above.into_iter().try_for_each(inherit_cpuset)
}

fn make_if_missing(directory: &Path) -> Result<bool, CgroupError> {
    match fs::create_dir(directory) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(source) => Err(CgroupError::io("make cgroup", directory, source)),
    }
}

/// A new cpuset group of version 1 has no processors and takes no processes until it is given some.
fn inherit_cpuset(directory: &Path) -> Result<(), CgroupError> {
    let Some(parent) = directory.parent() else { return Ok(()) };
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let value = read_file(&parent.join(file))?;
        // Never empty what another shim has just set: its parent may have got its own between our look and our word.
        if !value.trim().is_empty() && read_file(&directory.join(file))?.trim().is_empty() {
            write_file(&directory.join(file), value.trim())?;
        }
    }
    Ok(())
}

fn has_cpuset(hierarchies: &Hierarchies, mount: &Path) -> bool {
    hierarchies.place(Controller::Cpuset) == Some(Place::V1(mount))
}

/// Some values are accepted only before or after their partner (limit and swap, quota and period), depending on what was there:
/// those that are refused are tried once more after the others.
fn write_settings(cgroup: &Cgroup, settings: &[Setting], clamped: &mut Vec<String>) -> Result<(), CgroupError> {
    let mut again = Vec::new();
    for setting in settings {
        match write_setting(cgroup, setting, clamped) {
            Err(CgroupError::Io { source, .. }) if matches!(source.raw_os_error(), Some(libc::EINVAL | libc::EBUSY)) => again.push(setting),
            other => other?,
        }
    }
    for setting in again {
        write_setting(cgroup, setting, clamped)?;
    }
    Ok(())
}

fn write_setting(cgroup: &Cgroup, setting: &Setting, clamped: &mut Vec<String>) -> Result<(), CgroupError> {
    let directory = match setting.place {
        SettingPlace::Controller(controller) => cgroup.directory(controller).map(|(directory, _)| directory),
        SettingPlace::Unified => cgroup.directory_v2(),
    };
    let Some(directory) = directory else { return Err(CgroupError::unsupported(&setting.file, "its controller is not available")) };
    match write_file(&directory.join(&setting.file), &setting.value) {
        Err(CgroupError::Io { source, .. }) if is_gone(&source) && setting.without.is_some() && directory.is_dir() => {
            clamped.extend(setting.without.map(str::to_owned));
            Ok(())
        }
        other => other,
    }
}

fn apply_device_rules(cgroup: &Cgroup, limits: &LinuxResources) -> Result<(), CgroupError> {
    let rules = devices::rules(limits.devices().as_deref().unwrap_or_default())?;
    match (cgroup.directory(Controller::Devices), cgroup.directory_v2()) {
        (Some((directory, _)), _) => {
            for rule in &rules {
                let file = if rule.allow { "devices.allow" } else { "devices.deny" };
                write_file(&directory.join(file), &rule.line_v1())?;
            }
            Ok(())
        }
        (None, Some(directory)) => device_filter::attach(&directory, &rules),
        (None, None) => Err(CgroupError::unsupported("devices", "there is neither a devices controller nor a version 2 hierarchy")),
    }
}

/// Opens what is needed to put a process in, while the paths mean the host's.
fn open_entrances(prepared: &mut Prepared, plan: &Plan) -> Result<(), CgroupError> {
    let relative = prepared.cgroup.path.as_path().to_owned();
    let made_v1 = plan.make.iter().filter(|(_, version)| *version == Version::V1).map(|(mount, _)| mount.join(&relative));
    for directory in made_v1.chain(plan.join_only.iter().cloned()) {
        let path = directory.join("cgroup.procs");
        let file = File::options().write(true).open(&path).map_err(|source| CgroupError::io("open", &path, source))?;
        prepared.joins.push((path, file));
    }
    if let Some(directory) = prepared.cgroup.directory_v2() {
        let file = File::open(&directory).map_err(|source| CgroupError::io("open", &directory, source))?;
        prepared.birthplace = Some(file.into());
    }
    Ok(())
}

fn refuse_limit_below_usage(cgroup: &Cgroup, limits: &LinuxResources) -> Result<(), CgroupError> {
    let Some(memory) = limits.memory().as_ref().filter(|memory| memory.check_before_update() == Some(true)) else { return Ok(()) };
    let Some(limit) = memory.limit().and_then(|limit| u64::try_from(limit).ok()) else { return Ok(()) };
    match cgroup.stats()?.memory_usage_bytes.filter(|usage| *usage > limit) {
        Some(usage_bytes) => Err(CgroupError::LimitBelowUsage { limit_bytes: limit, usage_bytes }),
        None => Ok(()),
    }
}

fn remove_made(made: &[PathBuf]) {
    for directory in made.iter().rev() {
        // Not empty means that another container of the pod has come to use it meanwhile.
        let _ = fs::remove_dir(directory);
    }
}
