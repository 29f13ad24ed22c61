//! What of a pod must survive the engine: the machine's own state, word for word.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use lifecycle::PodWorker;
use serde::{Deserialize, Serialize};

use crate::driver::DriverState;

/// Version of the format; a reader refuses another one.
const STATE_VERSION: u32 = 1;

/// The state of a pod at one instant.
#[derive(Clone, Debug, PartialEq)]
pub struct PodState {
    /// The machine.
    pub worker: PodWorker,
    /// What its driver must know beside it.
    pub driver: DriverState,
}

#[derive(Serialize)]
struct Written<'a> {
    version: u32,
    worker: &'a PodWorker,
    driver: &'a DriverState,
}

#[derive(Deserialize)]
struct Header {
    version: u32,
}

#[derive(Deserialize)]
struct Read {
    worker: PodWorker,
    driver: DriverState,
}

impl PodState {
    /// Replaces the file by this state; a reader sees the old one or the new one, never a part.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), SaveStateError> {
        let fail = |source| SaveStateError { path: path.to_owned(), source };
        let text = serde_json::to_vec(&Written { version: STATE_VERSION, worker: &self.worker, driver: &self.driver });
        let text = text.map_err(|error| fail(io::Error::other(error)))?;
        let fresh = path.with_extension("new");
        let mut file = fs::OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&fresh).map_err(fail)?;
        file.write_all(&text).map_err(fail)?;
        fs::rename(&fresh, path).map_err(fail)
    }

    /// Reads a state back.
    ///
    /// # Errors
    /// When the file cannot be read, is damaged, or is of another version.
    pub fn load(path: &Path) -> Result<Self, LoadStateError> {
        let shown = path.to_owned();
        let text = fs::read(path).map_err(|source| LoadStateError::Read { path: shown.clone(), source })?;
        let damaged = |source| LoadStateError::Damaged { path: shown.clone(), source };
        let header: Header = serde_json::from_slice(&text).map_err(damaged)?;
        if header.version != STATE_VERSION {
            return Err(LoadStateError::Version { path: shown, version: header.version });
        }
        let Read { worker, driver } = serde_json::from_slice(&text).map_err(damaged)?;
        Ok(Self { worker, driver })
    }
}

/// The state of a pod cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}", path.display())]
pub struct SaveStateError {
    path: PathBuf,
    source: io::Error,
}

/// The state of a pod cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LoadStateError {
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not what we wrote.
    #[error("{} is damaged", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// Another usher wrote it.
    #[error("{} has format {version}, this usher reads {STATE_VERSION}", path.display())]
    Version {
        /// Which.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
}
