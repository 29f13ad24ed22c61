//! The shim's command line: the contract between the engine that spawns it and the process that it becomes.
//!
//! Written by [`ShimArgs::to_args`] and read by [`ShimArgs::parse`], both here, so that they cannot drift apart. It is not a
//! user interface: every option is given as a word and its value, unknown ones are refused.

use std::ffi::OsString;
use std::path::PathBuf;

/// The word that selects this mode, `argv[1]` of the binary.
pub const MODE: &str = "shim";

/// Whether the pod gets a namespace of its own or uses the machine's (`hostNetwork`, `hostIPC`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Namespace {
    /// Unshared by the shim, kept alive by it.
    New,
    /// The one that the engine runs in.
    Host,
}

/// What a shim is started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShimArgs {
    /// The pod's state directory, absolute; made by the caller, used by one shim only, ever.
    pub state_dir: PathBuf,
    /// The pod.
    pub pod_uid: String,
    /// The network namespace. A new one has `lo` up and nothing else.
    pub netns: Namespace,
    /// The namespace of System V IPC and POSIX message queues.
    pub ipc: Namespace,
    /// The namespace of the host name.
    pub uts: Namespace,
    /// The namespace of processes that the containers can share: a new one is found by way of [`crate::records::PID_NAMESPACE`].
    /// Without it a container has one of its own or uses the machine's.
    pub pid: Namespace,
    /// The host name to set, only with a new UTS namespace.
    pub hostname: Option<String>,
    /// The pod's cgroup, relative to the root of every hierarchy; made by the caller.
    pub cgroup: String,
    /// The cgroup that the shim itself moves to, out of the pod's limits and of the caller's service.
    pub shim_cgroup: String,
}

/// Where shims live when nothing else is said.
pub const SHIM_CGROUP_DEFAULT: &str = "usher/shims";

/// A command line that is not the shim's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseArgsError {
    /// A word that is no option, or an option given twice.
    #[error("unexpected argument {0:?}")]
    Unexpected(OsString),
    /// An option without its value.
    #[error("option {0} needs a value")]
    NoValue(&'static str),
    /// An option that must be there.
    #[error("option {0} is missing")]
    Missing(&'static str),
    /// A value that does not fit.
    #[error("option {option} cannot be {value:?}: {expected}")]
    Invalid {
        /// The option.
        option: &'static str,
        /// The value.
        value: OsString,
        /// What would fit.
        expected: &'static str,
    },
}

const STATE_DIR: &str = "--state-dir";
const POD_UID: &str = "--pod-uid";
const NETNS: &str = "--netns";
const IPC: &str = "--ipc";
const UTS: &str = "--uts";
const PID: &str = "--pid";
const HOSTNAME: &str = "--hostname";
const CGROUP: &str = "--cgroup";
const SHIM_CGROUP: &str = "--shim-cgroup";
const OPTIONS: [&str; 9] = [STATE_DIR, POD_UID, NETNS, IPC, UTS, PID, HOSTNAME, CGROUP, SHIM_CGROUP];

/// Longest host name that the kernel takes, in bytes.
const HOSTNAME_BYTES_MAX: usize = 64;

impl ShimArgs {
    /// The words behind the program's name, [`MODE`] first.
    pub fn to_args(&self) -> Vec<OsString> {
        let mut args = vec![MODE.into()];
        let mut push = |option: &str, value: OsString| args.extend([option.into(), value]);
        push(STATE_DIR, self.state_dir.clone().into());
        push(POD_UID, self.pod_uid.clone().into());
        for (option, namespace) in [(NETNS, self.netns), (IPC, self.ipc), (UTS, self.uts), (PID, self.pid)] {
            push(option, namespace.as_str().into());
        }
        if let Some(hostname) = &self.hostname {
            push(HOSTNAME, hostname.into());
        }
        push(CGROUP, self.cgroup.clone().into());
        push(SHIM_CGROUP, self.shim_cgroup.clone().into());
        args
    }

    /// Reads the words behind [`MODE`].
    ///
    /// # Errors
    /// When they are not what [`Self::to_args`] writes.
    pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Self, ParseArgsError> {
        let mut values = Values::read(args)?;
        let state_dir = PathBuf::from(values.required(STATE_DIR)?);
        if !state_dir.is_absolute() {
            return Err(invalid(STATE_DIR, state_dir.into(), "it must be an absolute path"));
        }
        let parsed = Self {
            state_dir,
            pod_uid: values.required_text(POD_UID)?,
            netns: values.namespace(NETNS)?,
            ipc: values.namespace(IPC)?,
            uts: values.namespace(UTS)?,
            pid: values.namespace(PID)?,
            hostname: values.text(HOSTNAME)?,
            cgroup: values.required_text(CGROUP)?,
            shim_cgroup: values.text(SHIM_CGROUP)?.unwrap_or_else(|| SHIM_CGROUP_DEFAULT.to_owned()),
        };
        match &parsed.hostname {
            Some(name) if parsed.uts == Namespace::Host => {
                Err(invalid(HOSTNAME, name.into(), "the machine's own host name is not changed"))
            }
            Some(name) if name.is_empty() || name.len() > HOSTNAME_BYTES_MAX => {
                Err(invalid(HOSTNAME, name.into(), "it must have 1 to 64 bytes"))
            }
            Some(_) | None => Ok(parsed),
        }
    }
}

impl Namespace {
    const fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Host => "host",
        }
    }
}

/// The value of each option, in the order of [`OPTIONS`].
struct Values([Option<OsString>; OPTIONS.len()]);

impl Values {
    fn read(args: impl IntoIterator<Item = OsString>) -> Result<Self, ParseArgsError> {
        let mut values = [const { None }; OPTIONS.len()];
        let mut args = args.into_iter();
        while let Some(word) = args.next() {
            let Some(at) = OPTIONS.iter().position(|option| word == *option) else {
                return Err(ParseArgsError::Unexpected(word));
            };
            let value = args.next().ok_or(ParseArgsError::NoValue(OPTIONS[at]))?;
            if values[at].replace(value).is_some() {
                return Err(ParseArgsError::Unexpected(word));
            }
        }
        Ok(Self(values))
    }

    fn take(&mut self, option: &'static str) -> Option<OsString> {
        OPTIONS.iter().position(|known| *known == option).and_then(|at| self.0[at].take())
    }

    fn required(&mut self, option: &'static str) -> Result<OsString, ParseArgsError> {
        self.take(option).ok_or(ParseArgsError::Missing(option))
    }

    fn text(&mut self, option: &'static str) -> Result<Option<String>, ParseArgsError> {
        self.take(option).map(|value| value.into_string().map_err(|value| invalid(option, value, "it must be UTF-8"))).transpose()
    }

    fn required_text(&mut self, option: &'static str) -> Result<String, ParseArgsError> {
        self.text(option)?.ok_or(ParseArgsError::Missing(option))
    }

    fn namespace(&mut self, option: &'static str) -> Result<Namespace, ParseArgsError> {
        let value = self.required(option)?;
        [Namespace::New, Namespace::Host]
            .into_iter()
            .find(|namespace| value == namespace.as_str())
            .ok_or_else(|| invalid(option, value, "it must be 'new' or 'host'"))
    }
}

fn invalid(option: &'static str, value: OsString, expected: &'static str) -> ParseArgsError {
    ParseArgsError::Invalid { option, value, expected }
}

#[cfg(test)]
mod tests {
    use super::{MODE, Namespace, ParseArgsError, ShimArgs};

    fn args() -> ShimArgs {
        ShimArgs {
            state_dir: "/run/usher/pods/1".into(),
            pod_uid: "1".into(),
            netns: Namespace::New,
            ipc: Namespace::Host,
            uts: Namespace::New,
            pid: Namespace::Host,
            hostname: Some("web-0".into()),
            cgroup: "usher/pod1".into(),
            shim_cgroup: "usher/shims".into(),
        }
    }

    #[test]
    fn what_the_engine_writes_the_shim_reads() {
        let without_name = ShimArgs { uts: Namespace::Host, hostname: None, ..args() };
        for args in [args(), without_name] {
            let mut words = args.to_args().into_iter();
            assert_eq!(words.next().as_deref(), Some(MODE.as_ref()));
            assert_eq!(ShimArgs::parse(words), Ok(args));
        }
    }

    #[test]
    fn a_wrong_command_line_is_refused_with_the_option_that_is_wrong() {
        check(&["--what", "x"], r#"unexpected argument "--what""#);
        check(&["--pod-uid", "2"], r#"unexpected argument "--pod-uid""#);
        check(&["--hostname"], "option --hostname needs a value");
        let refused = |args: ShimArgs| ShimArgs::parse(args.to_args().into_iter().skip(1)).map_err(|e| e.to_string());
        assert_eq!(
            refused(ShimArgs { state_dir: "relative".into(), ..args() }),
            Err(r#"option --state-dir cannot be "relative": it must be an absolute path"#.into())
        );
        assert!(refused(ShimArgs { uts: Namespace::Host, ..args() }).is_err());
        assert_eq!(ShimArgs::parse([]), Err(ParseArgsError::Missing("--state-dir")));
    }

    fn check(extra: &[&str], expected: &str) {
        let words = args().to_args().into_iter().skip(1).chain(extra.iter().map(Into::into));
        assert_eq!(ShimArgs::parse(words).map_err(|error| error.to_string()), Err(expected.to_owned()));
    }
}
