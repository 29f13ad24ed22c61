//! The shim's own program file, where no container can write to it.
//!
//! A container can execute, as the interpreter of a script, what `/proc/self/exe` is at that moment: the program of the shim, which is
//! about to become the container's. Through that process's `/proc/<pid>/exe` it could then open the file of the host, and write to it
//! once nobody executes it any more. A shim that is executed from a read-only mount of its file has nothing to fear: the link leads to that mount.

use std::os::fd::{AsFd as _, OwnedFd};

use super::{
    error::{During as _, Failure, StepError},
    mounts::{Attributes, Detached},
};

/// Opens the program of this process on a read-only mount that is nowhere attached. Execute it as `/proc/self/fd/<number>`.
pub fn read_only_executable() -> Result<OwnedFd, StepError> {
    open().map_err(|failure| match failure {
        Failure::Step(error) => error,
        Failure::Command(_) | Failure::Bundle(_) | Failure::NotRunning => {
            StepError { action: "open".into(), object: PROGRAM.into(), source: std::io::ErrorKind::Other.into() }
        }
    })
}

fn open() -> Result<OwnedFd, Failure> {
    let file = std::fs::File::open(PROGRAM).during("open", PROGRAM)?;
    let mount = Detached::bind_fd(file.as_fd()).during("clone mount of", PROGRAM)?;
    mount.set(&Attributes::read_only()).during("write-protect mount of", PROGRAM)?;
    Ok(mount.into())
}

const PROGRAM: &str = "/proc/self/exe";
