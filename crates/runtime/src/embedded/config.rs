//! What may be set about the embedded runtime.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::images::ImageStoreConfig;
use crate::network::{Ipv6Missing, Ipv6Pods, NetworkConfig, NetworkConfigError, OpenNetworkError, SubnetError};

/// The program that runs, as the kernel knows it: still the same file after it was replaced on the disk.
const OWN_EXECUTABLE: &str = "/proc/self/exe";
/// Where the pods' groups are, in every cgroup hierarchy.
const CGROUP_PARENT_DEFAULT: &str = "usher";

/// The settings of an [`EmbeddedRuntime`](super::EmbeddedRuntime).
///
/// Several processes may use the same folder at once, if they agree on all settings.
#[derive(Clone, Debug)]
pub struct EmbeddedConfig {
    /// Folder of pods (`pods/UID`), absolute.
    pub root: PathBuf,
    /// The image store.
    pub images: ImageStoreConfig,
    /// The pod network.
    pub network: NetworkConfig,
    /// Why pods have no IPv6, where nobody turned it off.
    pub ipv6_missing: Option<Ipv6Missing>,
    /// A program that becomes a shim when its first argument is [`shim::monitor::MODE`]; by default the one that runs.
    pub shim_executable: PathBuf,
    /// The cgroup of all pods, relative to the root of every hierarchy.
    pub cgroup_parent: String,
    /// OCI runtimes that pods may choose by these names, absolute: `runc`, `crun`, and others whose containers are processes of this kernel.
    pub handlers: BTreeMap<String, PathBuf>,
}

/// Settings that cannot work on any machine.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedConfigError {
    /// The subnet cannot be read.
    #[error("cannot use the pods' subnet {subnet:?}")]
    Subnet {
        /// What was given.
        subnet: String,
        /// What is wrong with it.
        source: SubnetError,
    },
    /// The network's settings do not fit.
    #[error(transparent)]
    Network(#[from] NetworkConfigError),
    /// The folder would be another one for each process.
    #[error("the folder of pods {0:?} is not an absolute path")]
    Root(PathBuf),
    /// There is no such program.
    #[error("the program of runtime handler {name:?} must be an absolute path to a file, and {} is not", program.display())]
    Handler {
        /// The handler.
        name: String,
        /// What was given.
        program: PathBuf,
    },
}

/// A pod asks for a runtime that is not configured; the text is containerd's.
#[derive(Debug, thiserror::Error)]
#[error("failed to get sandbox runtime: no runtime for {0:?} is configured")]
pub(super) struct UnknownHandler(String);

/// The runtime cannot be used on this machine.
#[derive(Debug, thiserror::Error)]
pub enum OpenRuntimeError {
    /// The settings are wrong.
    #[error(transparent)]
    Config(#[from] EmbeddedConfigError),
    /// The network's settings are wrong, or its state cannot be used.
    #[error("cannot use the pod network")]
    Network(#[from] OpenNetworkError),
    /// The machine does not tell what it has.
    #[error("cannot find out what this process may do")]
    Machine(#[from] std::io::Error),
}

impl EmbeddedConfig {
    /// Pods, images and all other state below `root`, pods on `bridge` with addresses of the IPv4 network `subnet` and, as far as
    /// `ipv6` says and the machine has it, of an IPv6 network.
    ///
    /// # Errors
    /// When one of them cannot be what it should be.
    pub fn new(root: impl Into<PathBuf>, bridge: &str, subnet: &str, ipv6: Ipv6Pods) -> Result<Self, EmbeddedConfigError> {
        let root = root.into();
        let ipv4_subnet = subnet.parse().map_err(|source| EmbeddedConfigError::Subnet { subnet: subnet.to_owned(), source })?;
        let (ipv6_subnet, ipv6_missing) = match ipv6.subnet(ipv4_subnet, bridge) {
            Ok(subnet) => (subnet, None),
            Err(missing) => (None, Some(missing)),
        };
        let network = NetworkConfig { bridge: bridge.to_owned(), ipv4_subnet, ipv6_subnet, ..NetworkConfig::default() };
        let config = Self {
            images: ImageStoreConfig::new(root.join("images")),
            root,
            network,
            ipv6_missing,
            shim_executable: PathBuf::from(OWN_EXECUTABLE),
            cgroup_parent: CGROUP_PARENT_DEFAULT.to_owned(),
            handlers: BTreeMap::new(),
        };
        config.validate()?;
        Ok(config)
    }

    pub(super) fn validate(&self) -> Result<(), EmbeddedConfigError> {
        if !self.root.is_absolute() {
            return Err(EmbeddedConfigError::Root(self.root.clone()));
        }
        if let Some((name, program)) = self.handlers.iter().find(|(_, program)| !program.is_absolute() || !program.is_file()) {
            return Err(EmbeddedConfigError::Handler { name: name.clone(), program: program.clone() });
        }
        Ok(self.network.validate()?)
    }

    /// The program of a pod's handler; none for the runtime that is built in.
    pub(super) fn handler(&self, name: &str) -> Result<Option<&PathBuf>, UnknownHandler> {
        if name.is_empty() {
            return Ok(None);
        }
        self.handlers.get(name).map(Some).ok_or_else(|| UnknownHandler(name.to_owned()))
    }

    /// The cgroup in which the shims themselves live.
    pub(super) fn shim_cgroup(&self) -> String {
        format!("{}/shims", self.cgroup_parent)
    }

    pub(super) fn pod_cgroup(&self, uid: &str) -> String {
        format!("{}/pod{uid}", self.cgroup_parent)
    }
}
