//! Reading a bundle: from `config.json` to a plan that can be carried out, or an error that names the field.
//!
//! Invariant: a field that this runtime cannot honour is refused, or noted as granted in part, never dropped.

use std::{
    collections::BTreeMap,
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
};

use oci_spec::runtime::{Linux, LinuxNamespaceType, LinuxResources, Process, Spec};
use serde_json::Value;

use super::{
    devices::{self, DeviceNode},
    error::{During as _, Failure},
    mounts::{self, MountKind, MountPlan},
    namespaces::NamespacePlan,
    process::ProcessPlan,
};
use crate::sys::Recursive;

/// A container to be.
#[derive(Debug)]
pub(crate) struct ContainerPlan {
    pub(crate) process: ProcessPlan,
    pub(crate) namespaces: NamespacePlan,
    pub(crate) resources: LinuxResources,
    pub(crate) environment: EnvironmentPlan,
    pub(crate) clamped: Vec<String>,
}

/// What surrounds the process.
#[derive(Debug)]
pub(crate) struct EnvironmentPlan {
    pub(crate) hostname: Option<String>,
    pub(crate) domainname: Option<String>,
    pub(crate) loopback: bool,
    pub(crate) sysctls: Vec<(PathBuf, String)>,
    pub(crate) mounts: Vec<MountPlan>,
    pub(crate) devices: Option<Vec<DeviceNode>>,
    pub(crate) masked: Vec<PathBuf>,
    pub(crate) read_only: Vec<PathBuf>,
    pub(crate) root_read_only: bool,
    pub(crate) root_propagation: Option<(u64, Recursive)>,
}

/// Reads and understands `config.json`.
pub(crate) fn read_container(bundle: &Path) -> Result<ContainerPlan, Failure> {
    let spec: Spec = serde_json::from_slice(&read_config(bundle)?).map_err(|error| Failure::bundle(CONFIG, error))?;
    refuse_unsupported(&spec)?;
    let linux = spec.linux().as_ref().ok_or_else(|| Failure::bundle("linux", "is missing"))?;
    let process = spec.process().as_ref().ok_or_else(|| Failure::bundle("process", "is missing"))?;
    let namespaces = NamespacePlan::new(linux.namespaces().as_deref().unwrap_or_default())?;
    let mut clamped = Vec::new();
    let environment = environment(&spec, linux, &namespaces, &mut clamped)?;
    Ok(ContainerPlan {
        process: ProcessPlan::new(process, linux.seccomp().as_ref())?,
        resources: linux.resources().clone().unwrap_or_default(),
        namespaces,
        environment,
        clamped,
    })
}

/// Reads the process JSON of a command. Fields that decide on privileges and that it leaves out are those of the container's process.
pub(crate) fn read_command(bundle: &Path, process: &Path) -> Result<ProcessPlan, Failure> {
    let mut config: Value = serde_json::from_slice(&read_config(bundle)?).map_err(|error| Failure::bundle(CONFIG, error))?;
    let file = process.display().to_string();
    let mut command: Value = serde_json::from_slice(&read_bounded(process)?).map_err(|error| Failure::bundle(&file, error))?;
    let Some(fields) = command.as_object_mut() else { return Err(Failure::bundle(&file, "must be an object")) };
    for name in INHERITED_BY_COMMANDS {
        if let (false, Some(value)) = (fields.contains_key(name), config.pointer(&format!("/process/{name}"))) {
            fields.insert(name.to_owned(), value.clone());
        }
    }
    let command: Process = serde_json::from_value(command).map_err(|error| Failure::bundle(&file, error))?;
    let seccomp = config.pointer_mut("/linux/seccomp").map(Value::take).filter(|value| !value.is_null());
    let seccomp = seccomp.map(serde_json::from_value).transpose().map_err(|error| Failure::bundle("linux.seccomp", error))?;
    ProcessPlan::new(&command, seccomp.as_ref())
}

pub(super) fn read_config(bundle: &Path) -> Result<Vec<u8>, Failure> {
    read_bounded(&bundle.join(CONFIG))
}

fn read_bounded(path: &Path) -> Result<Vec<u8>, Failure> {
    let file = File::open(path).during_path("open", path)?;
    let mut bytes = Vec::new();
    file.take(JSON_BYTES_MAX + 1).read_to_end(&mut bytes).during_path("read", path)?;
    if bytes.len() as u64 > JSON_BYTES_MAX {
        return Err(Failure::bundle(path.display().to_string(), format!("is larger than {JSON_BYTES_MAX} bytes")));
    }
    Ok(bytes)
}

fn environment(spec: &Spec, linux: &Linux, namespaces: &NamespacePlan, clamped: &mut Vec<String>) -> Result<EnvironmentPlan, Failure> {
    let mounts = spec.mounts().as_deref().unwrap_or_default();
    let mounts = mounts.iter().enumerate().map(|(index, mount)| mounts::plan(index, mount)).collect::<Result<Vec<_>, _>>()?;
    // A /dev of the host's has its devices already, and is not to be written to.
    let host_dev = mounts.iter().any(|mount| mount.target == Path::new("/dev") && matches!(mount.kind, MountKind::Bind { .. }));
    let devices = devices::plan(linux.devices().as_deref().unwrap_or_default())?;
    let sysctl: BTreeMap<_, _> = linux.sysctl().clone().unwrap_or_default().into_iter().collect();
    let own_names = namespaces.is_new(LinuxNamespaceType::Uts);
    let mut name_if_own = |field: &str, name: &Option<String>| {
        let name = name.clone().filter(|name| !name.is_empty());
        if name.is_some() && !own_names {
            clamped.push(format!("{field} is not set: the container has no uts namespace of its own"));
        }
        name.filter(|_| own_names)
    };
    let paths = |list: &Option<Vec<String>>| list.iter().flatten().map(PathBuf::from).collect();
    Ok(EnvironmentPlan {
        hostname: name_if_own("hostname", spec.hostname()),
        domainname: name_if_own("domainname", spec.domainname()),
        loopback: namespaces.is_new(LinuxNamespaceType::Network),
        sysctls: namespaces.sysctls(&sysctl)?,
        mounts,
        devices: (!host_dev).then_some(devices),
        masked: paths(linux.masked_paths()),
        read_only: paths(linux.readonly_paths()),
        root_read_only: spec.root().as_ref().and_then(|root| root.readonly()).unwrap_or(false),
        root_propagation: linux
            .rootfs_propagation()
            .as_deref()
            .filter(|text| !text.is_empty())
            .map(mounts::root_propagation)
            .transpose()?,
    })
}

fn refuse_unsupported(spec: &Spec) -> Result<(), Failure> {
    let some = |list: bool, field: &'static str| (list, field);
    let linux = spec.linux().as_ref();
    let linux_has = |has: fn(&Linux) -> bool| linux.is_some_and(has);
    let refused = [
        some(spec.hooks().as_ref().is_some_and(has_hooks), "hooks"),
        some(linux_has(|linux| linux.uid_mappings().as_ref().is_some_and(|list| !list.is_empty())), "linux.uidMappings"),
        some(linux_has(|linux| linux.gid_mappings().as_ref().is_some_and(|list| !list.is_empty())), "linux.gidMappings"),
        some(linux_has(|linux| linux.mount_label().as_ref().is_some_and(|label| !label.is_empty())), "linux.mountLabel"),
        some(linux_has(|linux| linux.intel_rdt().is_some()), "linux.intelRdt"),
        some(linux_has(|linux| linux.memory_policy().is_some()), "linux.memoryPolicy"),
        some(linux_has(|linux| linux.personality().is_some()), "linux.personality"),
        some(linux_has(|linux| linux.time_offsets().as_ref().is_some_and(|map| !map.is_empty())), "linux.timeOffsets"),
        some(linux_has(|linux| linux.net_devices().as_ref().is_some_and(|map| !map.is_empty())), "linux.netDevices"),
    ];
    match refused.iter().find(|(given, _)| *given) {
        Some((_, field)) => Err(Failure::bundle(*field, "is not supported by this runtime; leave it out")),
        None => Ok(()),
    }
}

fn has_hooks(hooks: &oci_spec::runtime::Hooks) -> bool {
    let lists =
        [hooks.prestart(), hooks.create_runtime(), hooks.create_container(), hooks.start_container(), hooks.poststart(), hooks.poststop()];
    lists.iter().any(|list| list.as_ref().is_some_and(|list| !list.is_empty()))
}

pub(super) const CONFIG: &str = "config.json";
/// A bundle with a full system call filter has some 20 kB.
const JSON_BYTES_MAX: u64 = 4 << 20;
const INHERITED_BY_COMMANDS: [&str; 10] =
    ["user", "cwd", "env", "capabilities", "rlimits", "noNewPrivileges", "apparmorProfile", "selinuxLabel", "oomScoreAdj", "consoleSize"];
