//! The OCI bundle configuration of a container: what the kubelet and containerd together would ask of their OCI runtime.
//!
//! Pure: files of the image and of the machine are read before ([`ResolvedUser`], [`Machine`], [`SpecInput::localhost_profile`]),
//! and nothing is made here. What this is not: a check of the manifest, which was validated long before.
//!
//! Invariant: the same input gives the same effect in the container as with the reference. Where that one's order of settings
//! decides (capabilities, environment, mounts), the order is kept and named in the function that does it.

mod capabilities;
mod mounts;
mod process;
mod resources;
mod user;

pub(crate) use resources::linux_resources;
pub(crate) use user::{ImageUser, ResolvedUser, check_non_root, user_to_resolve};

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;

use oci_spec::image;
use oci_spec::runtime::{
    Capability, Linux, LinuxDevice, LinuxNamespace, LinuxNamespaceBuilder, LinuxNamespaceType, LinuxSeccomp, Root, Spec,
};

use crate::{ContainerConfig, SeccompProfile};

/// Of the OCI runtime specification. Nothing that is written needs a later one, and some runtimes take none (crun before 1.9).
const OCI_VERSION: &str = "1.0.2";

/// All that an OCI configuration is made from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SpecInput<'a> {
    pub(crate) container: &'a ContainerConfig,
    /// The image's `config`.
    pub(crate) image: &'a image::Config,
    pub(crate) user: &'a ResolvedUser,
    pub(crate) sandbox: &'a SandboxInfo,
    pub(crate) machine: &'a Machine,
    /// The layers of each image that is mounted, top first, by its id.
    pub(crate) mounted_images: &'a BTreeMap<String, Vec<PathBuf>>,
    /// The content of [`SeccompProfile::Localhost`].
    pub(crate) localhost_profile: Option<&'a LinuxSeccomp>,
    /// Name of the AppArmor profile that the kernel is to apply.
    pub(crate) app_armor: Option<&'a str>,
}

/// What a container needs to know of its sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SandboxInfo {
    /// Host name inside.
    pub(crate) hostname: String,
    /// Whose processes the containers see.
    pub(crate) pid: PidMode,
    /// The folder that is `/dev/shm` in all containers of the pod.
    pub(crate) shm: PathBuf,
    /// The namespaces that its containers inherit and that are the pod's own, not the node's.
    pub(crate) owned: Vec<LinuxNamespaceType>,
    /// Kernel parameters of the pod's namespaces.
    pub(crate) sysctls: BTreeMap<String, String>,
}

/// The pid namespace of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PidMode {
    /// One of its own.
    Container,
    /// The node's, in which the shim starts its children.
    Node,
    /// The pod's or another container's, which is at this path.
    Joined(PathBuf),
}

/// What this machine has to give.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Machine {
    /// Capabilities that this process may pass on.
    pub(crate) capabilities: HashSet<Capability>,
    /// Device nodes for privileged containers.
    pub(crate) devices: Vec<LinuxDevice>,
    /// Numbers of the processors that may ever be there.
    pub(crate) possible_cpus: Vec<u32>,
}

/// The configuration cannot be made; the texts are those of the usual runtimes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SpecError {
    /// Neither the manifest nor the image names a command.
    #[error("no command specified")]
    NoCommand,
    /// `recursiveReadOnly` on a mount that is writable.
    #[error("recursive read-only mount conflicts with RW mount (hostPath={0:?})")]
    RecursiveReadonlyOfWritable(PathBuf),
    /// `recursiveReadOnly` on a mount that is propagated.
    #[error("recursive read-only mount needs private propagation (hostPath={0:?})")]
    RecursiveReadonlyPropagated(PathBuf),
    /// An image that is to be mounted was not looked for.
    #[error("no layers are known of image {0:?}")]
    NoMountedImage(String),
    /// The profile of `Localhost` was not given.
    #[error("no seccomp profile was loaded from {0:?}")]
    NoLocalhostProfile(PathBuf),
}

/// Makes the OCI configuration of a container.
pub(crate) fn oci_spec(input: &SpecInput<'_>) -> Result<Spec, SpecError> {
    let security = &input.container.security;
    let capabilities = capabilities::of(security, &input.machine.capabilities);
    let seccomp = seccomp(input, &capabilities)?;
    let process = process::process(input, &capabilities)?;
    let (mounts, propagation) = mounts::mounts(input.container, &input.sandbox.shm, input.mounted_images)?;

    let mut root = Root::default();
    // The root file system is told to the shim apart; this path is only there because the format asks for one.
    root.set_path(PathBuf::from("rootfs")).set_readonly(Some(security.readonly_rootfs));

    let is_masked = !security.privileged && !security.unmasked_proc;
    let mut linux = Linux::default();
    linux
        .set_sysctl(Some(input.sandbox.sysctls.iter().map(|(name, value)| (name.clone(), value.clone())).collect::<HashMap<_, _>>()))
        .set_resources(Some(resources::container_resources(&input.container.resources, security.privileged)))
        .set_namespaces(Some(namespaces(input)))
        .set_devices(security.privileged.then(|| input.machine.devices.clone()))
        .set_seccomp(seccomp)
        .set_rootfs_propagation(propagation.map(str::to_owned))
        .set_masked_paths(Some(if is_masked { masked_paths(&input.machine.possible_cpus) } else { Vec::new() }))
        .set_readonly_paths(Some(if is_masked { READONLY_PATHS.map(str::to_owned).to_vec() } else { Vec::new() }));

    let mut spec = Spec::default();
    spec.set_version(OCI_VERSION.to_owned())
        .set_root(Some(root))
        .set_mounts(Some(mounts))
        .set_process(Some(process))
        .set_hostname(None)
        .set_annotations(None)
        .set_linux(Some(linux));
    Ok(spec)
}

/// The shim has the pod's network, ipc and uts namespaces already, so those are inherited. Those of the pod's own are named all the same
/// where kernel parameters are to be set, since nobody may set those of a namespace that is not his.
fn namespaces(input: &SpecInput<'_>) -> Vec<LinuxNamespace> {
    let mut types = vec![LinuxNamespaceType::Mount];
    let mut joined = None;
    match &input.sandbox.pid {
        PidMode::Container => types.push(LinuxNamespaceType::Pid),
        PidMode::Joined(path) => joined = Some(LinuxNamespaceBuilder::default().typ(LinuxNamespaceType::Pid).path(path.clone())),
        PidMode::Node => {}
    }
    if !input.container.security.privileged {
        types.push(LinuxNamespaceType::Cgroup);
    }
    let namespace = |typ| LinuxNamespaceBuilder::default().typ(typ);
    let new = types.into_iter().map(namespace);
    let owned = if input.sandbox.sysctls.is_empty() { &[] } else { input.sandbox.owned.as_slice() };
    let inherited = owned.iter().filter_map(|typ| Some(namespace(*typ).path(own_namespace(*typ)?)));
    new.chain(joined).chain(inherited).map(|namespace| namespace.build().expect("every field has a default")).collect()
}

/// The namespace in which the process is that makes the container; joining it changes nothing.
fn own_namespace(typ: LinuxNamespaceType) -> Option<&'static str> {
    match typ {
        LinuxNamespaceType::Network => Some("/proc/self/ns/net"),
        LinuxNamespaceType::Ipc => Some("/proc/self/ns/ipc"),
        LinuxNamespaceType::Uts => Some("/proc/self/ns/uts"),
        LinuxNamespaceType::Mount
        | LinuxNamespaceType::Pid
        | LinuxNamespaceType::Cgroup
        | LinuxNamespaceType::User
        | LinuxNamespaceType::Time => None,
    }
}

fn seccomp(input: &SpecInput<'_>, capabilities: &HashSet<Capability>) -> Result<Option<LinuxSeccomp>, SpecError> {
    let security = &input.container.security;
    if security.privileged {
        return Ok(None);
    }
    Ok(match &security.seccomp {
        SeccompProfile::Unconfined => None,
        SeccompProfile::RuntimeDefault => Some(shim::seccomp::runtime_default(capabilities)),
        SeccompProfile::Localhost(path) => {
            Some(input.localhost_profile.cloned().ok_or_else(|| SpecError::NoLocalhostProfile(path.clone()))?)
        }
    })
}

/// The paths that `procMount: Default` hides; what is not there on a machine is left out by the shim.
fn masked_paths(possible_cpus: &[u32]) -> Vec<String> {
    let thermal = possible_cpus.iter().map(|cpu| format!("/sys/devices/system/cpu/cpu{cpu}/thermal_throttle"));
    MASKED_PATHS.iter().map(|path| (*path).to_owned()).chain(thermal).collect()
}

const MASKED_PATHS: [&str; 12] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];

/// The paths that `procMount: Default` protects.
const READONLY_PATHS: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

#[cfg(test)]
mod tests;
