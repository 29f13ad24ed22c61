//! How the engine and a pod's shim speak.
//!
//! Frames ([`encode_frame`], [`FrameReader`]) over the unix socket in the shim's state directory. A client says
//! [`Call::Hello`] first. Each [`Request`] has an id and gets exactly one [`ServerFrame::Answer`] with it, in the order of the
//! requests; events that a call leads to may come before its answer. A client that called [`Call::Subscribe`] also gets every [`Event`] that happens after the snapshot in the answer:
//! nothing is missed and nothing is told twice.
//!
//! Names and shapes only: what a call does is the monitor's matter, but what it promises is said here.
//!
//! Versions: a shim may be older than the engine that speaks to it. Fields are only ever added, with defaults; an unknown
//! call is refused with [`RefusalCode::UnknownCall`] and the connection goes on.

mod bytes;
mod call;
mod event;
mod frame;
mod identity;
mod passing;
mod state;

pub use bytes::RawBytes;
pub use call::{
    Call, CreateContainer, Exec, ExecOutput, Keep, LogTarget, MalformedRequest, Request, Rootfs, ShutdownMode, Stdin, Stdio, TerminalSize,
};
pub use event::{Event, MemoryFacts, Recorded, Target};
pub use frame::{FRAME_BYTES_MAX, FrameReader, ReadFrameError, WriteFrameError, decode_body, encode_frame};
pub use identity::{ContainerId, ExecId, ID_BYTES_MAX, InvalidId, InvalidSignal, SignalNumber};
pub use passing::{PASSED_FDS_MAX, receive_with_fds, send_with_fds};
pub use state::{
    Answer, ContainerState, ContainerStatus, ExecState, ExecStatus, Greeting, Refusal, RefusalCode, ServerFrame, Snapshot, Stats,
    StopAccepted, StopDeadline,
};

/// The version of the protocol that this build speaks.
pub const PROTOCOL_VERSION: u32 = 1;

#[cfg(test)]
mod tests;
