//! What the shim writes down, so that the truth about a pod survives the engine and the shim itself.
//!
//! ```text
//! STATE_DIR/shim.json                     who the shim is              ShimIdentity
//!           shim.lock                     held while it lives
//!           containers/ID/created.json    the init process is there    ContainerCreated
//!                         started.json    its command runs             ContainerStarted
//!                         exit.json       how it ended                 ContainerExit
//!           execs/ID/started.json                                      ExecStarted
//!                    exit.json                                         ExecExit
//!                    output.log           CRI log, capped
//! ```
//!
//! Invariant: a record is either absent or whole (written aside and renamed), and an exit record is on the disk, synced,
//! before anyone is told of the exit.

mod exit;
mod handling;
mod process;
mod store;

pub use exit::{ContainerCreated, ContainerExit, ContainerStarted, End, ExecExit, ExecStarted, Sender, SentSignal};
pub use handling::{ChildHandling, Disposition, SignalHandling};
pub use process::{ProcessIdentity, ReadProcessError, ShimIdentity, boot_id};
pub use store::{Durability, ReadRecordError, WriteRecordError, read_record, write_record};

/// Name of the record of a shim, in its state directory.
pub const SHIM_RECORD: &str = "shim.json";
/// Name of the file that a living shim holds locked.
pub const SHIM_LOCK: &str = "shim.lock";
/// Name of the shim's socket.
pub const SHIM_SOCKET: &str = "shim.sock";
/// A link to the pid namespace that the pod's containers share, if they do.
pub const PID_NAMESPACE: &str = "pid-namespace";
/// Name of the shim's own log.
pub const SHIM_LOG: &str = "shim.log";
/// Folder with one folder for each container.
pub const CONTAINERS: &str = "containers";
/// Folder with one folder for each exec.
pub const EXECS: &str = "execs";
/// Name of a container's record that its process was created.
pub const CREATED_RECORD: &str = "created.json";
/// Name of the record that the command runs.
pub const STARTED_RECORD: &str = "started.json";
/// Name of the record of the end.
pub const EXIT_RECORD: &str = "exit.json";
/// Name of an exec's kept output.
pub const OUTPUT_LOG: &str = "output.log";
