//! The names by which clients and shim speak of containers, execs and signals.
//!
//! Ids become folder names in the state directory, so what is not a plain file name never gets past parsing.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Longest id, in bytes.
pub const ID_BYTES_MAX: usize = 128;

/// A text that cannot be an id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{id:?} cannot be an id: it must have 1 to {ID_BYTES_MAX} letters, digits, '-', '_' or '.', and begin with a letter or digit")]
pub struct InvalidId {
    /// The refused text, cut to a printable length.
    pub id: String,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(id: String) -> Result<Self, InvalidId> {
                if is_plain_file_name(&id) {
                    Ok(Self(id))
                } else {
                    Err(InvalidId { id: id.chars().take(ID_BYTES_MAX).collect() })
                }
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidId;

            fn from_str(id: &str) -> Result<Self, InvalidId> {
                Self::try_from(id.to_owned())
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id! {
    /// The id of one container: one process, from its creation to its removal. A restart is a new container with a new id.
    ContainerId
}

id! {
    /// The id of one exec in a container: a hook, a probe or a command of a user. Chosen by the client and never used twice,
    /// which is what makes running it exactly once possible.
    ExecId
}

fn is_plain_file_name(id: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=ID_BYTES_MAX).contains(&id.len()) && id.as_bytes()[0].is_ascii_alphanumeric() && id.bytes().all(is_plain)
}

/// A signal by its number on this machine, 1 to 64, real-time signals included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct SignalNumber(u8);

impl SignalNumber {
    /// `SIGTERM`, which asks a process to end.
    pub const TERM: Self = Self(15);
    /// `SIGKILL`, which ends it.
    pub const KILL: Self = Self(9);

    /// The number, as the system calls want it.
    pub const fn as_raw(self) -> i32 {
        self.0 as i32
    }

    /// From the number in a wait status.
    pub(crate) fn from_raw(raw: i32) -> Option<Self> {
        u8::try_from(raw).ok().and_then(|raw| Self::try_from(raw).ok())
    }
}

/// A number that is no signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not a signal number: it must be 1 to 64")]
pub struct InvalidSignal(pub u8);

impl TryFrom<u8> for SignalNumber {
    type Error = InvalidSignal;

    fn try_from(number: u8) -> Result<Self, InvalidSignal> {
        if (1..=64).contains(&number) { Ok(Self(number)) } else { Err(InvalidSignal(number)) }
    }
}

impl From<SignalNumber> for u8 {
    fn from(signal: SignalNumber) -> Self {
        signal.0
    }
}

impl fmt::Display for SignalNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "signal {}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::{ContainerId, ID_BYTES_MAX, SignalNumber};

    #[test]
    fn an_id_is_a_plain_file_name() {
        for good in ["a", "nginx-1.2_3", "0", &"x".repeat(ID_BYTES_MAX)] {
            assert!(good.parse::<ContainerId>().is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "-a", "_a", "a/b", "a b", "ü", "a\0", &"x".repeat(ID_BYTES_MAX + 1)] {
            assert!(bad.parse::<ContainerId>().is_err(), "{bad}");
            let json = serde_json::to_string(bad).expect("text is JSON");
            assert!(serde_json::from_str::<ContainerId>(&json).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_signal_is_1_to_64() {
        for (number, is_signal) in [(0, false), (1, true), (15, true), (64, true), (65, false), (255, false)] {
            assert_eq!(serde_json::from_str::<SignalNumber>(&format!("{number}")).is_ok(), is_signal, "{number}");
        }
        assert_eq!(SignalNumber::TERM.as_raw(), 15);
    }
}
