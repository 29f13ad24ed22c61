//! Why containers and commands could not be created or started, and how that crosses from a child process to the shim.
//!
//! Invariant: what a child failed with arrives unchanged: the step, its object and the kernel's error number.

use std::{fmt::Display, io, path::Path};

/// The command cannot be executed. The text is what users of Kubernetes know from other runtimes, such as
/// `exec: "tapp": executable file not found in $PATH`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct CommandError {
    /// The text for the user.
    pub text: String,
    /// `ENOENT`, `EACCES`, `ENOEXEC`, …
    pub errno: i32,
}

/// A step failed that the kernel was asked for.
#[derive(Debug, thiserror::Error)]
#[error("{action} {object}")]
pub struct StepError {
    /// What was tried, such as `mount`.
    pub action: String,
    /// With what, such as a path.
    pub object: String,
    /// The kernel's answer.
    pub source: io::Error,
}

/// The bundle asks for something that is malformed, or that this runtime does not do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct BundleError {
    /// The field of the JSON, such as `linux.seccomp`, or the file.
    pub field: String,
    /// What is wrong with it.
    pub problem: String,
}

/// Why [`create`](super::create()) failed. Nothing is left behind.
#[derive(Debug, thiserror::Error)]
pub enum CreateContainerError {
    /// The command is missing or not executable. Found out before the container is started;
    /// a caller that follows containerd reports it when the container is to be started, with exit code 128.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// The bundle cannot be run.
    #[error("read bundle: {0}")]
    Bundle(#[from] BundleError),
    /// A step failed.
    #[error(transparent)]
    Step(#[from] StepError),
}

/// Why [`CreatedContainer::start`](super::CreatedContainer::start) failed. The container is gone.
#[derive(Debug, thiserror::Error)]
pub enum StartContainerError {
    /// `execve` was refused.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// A last step before `execve` failed.
    #[error(transparent)]
    Step(#[from] StepError),
}

/// Why [`exec`](super::exec()) failed. Nothing is left behind.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// The command is missing or not executable.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// The container's init has ended.
    #[error("container is not running")]
    NotRunning,
    /// The bundle or the process JSON cannot be used.
    #[error("read bundle or process: {0}")]
    Bundle(#[from] BundleError),
    /// A step failed.
    #[error(transparent)]
    Step(#[from] StepError),
}

/// Any failure of a child process, before it is known to whom it matters.
#[derive(Debug)]
pub(crate) enum Failure {
    Command(CommandError),
    Bundle(BundleError),
    Step(StepError),
    NotRunning,
}

impl Failure {
    pub(crate) fn step(action: impl Into<String>, object: impl Display, source: impl Into<io::Error>) -> Self {
        Self::Step(StepError { action: action.into(), object: object.to_string(), source: source.into() })
    }

    pub(crate) fn bundle(field: impl Into<String>, problem: impl Display) -> Self {
        Self::Bundle(BundleError { field: field.into(), problem: problem.to_string() })
    }

    /// `kind, errno, length of the first text, first text, second text`, each text cut at a bound.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let (kind, errno, first, second) = match self {
            Self::Command(error) => (KIND_COMMAND, error.errno, error.text.as_str(), ""),
            Self::Bundle(error) => (KIND_BUNDLE, 0, error.field.as_str(), error.problem.as_str()),
            Self::Step(error) => {
                (KIND_STEP, error.source.raw_os_error().unwrap_or(libc::EIO), error.action.as_str(), error.object.as_str())
            }
            Self::NotRunning => (KIND_NOT_RUNNING, 0, "", ""),
        };
        let (first, second) = (cut(first), cut(second));
        let mut bytes = vec![kind];
        bytes.extend_from_slice(&errno.to_le_bytes());
        bytes.extend_from_slice(&(first.len() as u16).to_le_bytes());
        bytes.extend_from_slice(first.as_bytes());
        bytes.extend_from_slice(second.as_bytes());
        bytes
    }

    /// `None` if the bytes are not what [`Self::encode`] makes.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (&kind, rest) = bytes.split_first()?;
        let (errno, rest) = rest.split_first_chunk::<4>()?;
        let (length, rest) = rest.split_first_chunk::<2>()?;
        let (first, second) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
        let errno = i32::from_le_bytes(*errno);
        let first = String::from_utf8_lossy(first).into_owned();
        let second = String::from_utf8_lossy(second).into_owned();
        match kind {
            KIND_COMMAND => Some(Self::Command(CommandError { text: first, errno })),
            KIND_BUNDLE => Some(Self::Bundle(BundleError { field: first, problem: second })),
            KIND_STEP => Some(Self::Step(StepError { action: first, object: second, source: io::Error::from_raw_os_error(errno) })),
            KIND_NOT_RUNNING => Some(Self::NotRunning),
            _ => None,
        }
    }
}

fn cut(text: &str) -> &str {
    let mut end = text.len().min(TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

impl From<Failure> for CreateContainerError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Command(error) => Self::Command(error),
            Failure::Bundle(error) => Self::Bundle(error),
            Failure::Step(error) => Self::Step(error),
            Failure::NotRunning => Self::Step(ended("create container", "init")),
        }
    }
}

impl From<Failure> for StartContainerError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Command(error) => Self::Command(error),
            Failure::Step(error) => Self::Step(error),
            // Bundles are read, and containers joined, only before the start.
            Failure::Bundle(_) | Failure::NotRunning => Self::Step(ended("start container", "init")),
        }
    }
}

impl From<Failure> for ExecError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Command(error) => Self::Command(error),
            Failure::Bundle(error) => Self::Bundle(error),
            Failure::Step(error) => Self::Step(error),
            Failure::NotRunning => Self::NotRunning,
        }
    }
}

fn ended(action: &str, object: &str) -> StepError {
    StepError { action: action.into(), object: object.into(), source: io::Error::from_raw_os_error(libc::ESRCH) }
}

/// Says which step of ours a failed call belongs to.
pub(crate) trait During<T> {
    /// Names the step and its object.
    fn during(self, action: &'static str, object: impl Display) -> Result<T, Failure>;
    /// Names the step and the path it worked on.
    fn during_path(self, action: &'static str, path: &Path) -> Result<T, Failure>;
}

impl<T, E: Into<io::Error>> During<T> for Result<T, E> {
    fn during(self, action: &'static str, object: impl Display) -> Result<T, Failure> {
        self.map_err(|source| Failure::step(action, object, source))
    }

    fn during_path(self, action: &'static str, path: &Path) -> Result<T, Failure> {
        self.map_err(|source| Failure::step(action, path.display(), source))
    }
}

/// Two texts fit into one message of the channel.
const TEXT_BYTES_MAX: usize = 1500;
const KIND_COMMAND: u8 = 1;
const KIND_BUNDLE: u8 = 2;
const KIND_STEP: u8 = 3;
const KIND_NOT_RUNNING: u8 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_cross_the_channel_unchanged() {
        let failures = [
            Failure::Command(CommandError { text: "exec: \"a\": permission denied".into(), errno: libc::EACCES }),
            Failure::bundle("linux.seccomp", "no such action"),
            Failure::step("mount", "/proc", io::Error::from_raw_os_error(libc::EPERM)),
            Failure::NotRunning,
        ];
        for failure in failures {
            let copy = Failure::decode(&failure.encode()).expect("own encoding is readable");
            assert_eq!(format!("{failure:?}"), format!("{copy:?}"));
        }
    }

    #[test]
    fn overlong_texts_are_cut_at_a_character() {
        let failure = Failure::bundle("é".repeat(TEXT_BYTES_MAX), "x");
        let Some(Failure::Bundle(copy)) = Failure::decode(&failure.encode()) else { panic!("not a bundle error") };
        assert_eq!(copy.field, "é".repeat(TEXT_BYTES_MAX / 2));
        assert_eq!(copy.problem, "x");
    }

    #[test]
    fn foreign_bytes_are_refused() {
        assert!(Failure::decode(&[]).is_none());
        assert!(Failure::decode(&[KIND_STEP, 0, 0, 0, 0, 9, 0, 1]).is_none());
        assert!(Failure::decode(&[99, 0, 0, 0, 0, 0, 0]).is_none());
    }
}
