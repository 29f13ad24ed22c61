//! Logs as the shim writes them: CRI lines, bounded files, a disk that may fail.
//!
//! - [`LineSplitter`] cuts a byte stream into lines and into parts of lines that are too long.
//! - [`LogFile`] holds whole lines in a file that never grows past its limits, and counts what a failing disk swallowed.
//! - [`CriLog`] puts the two together for the streams of one process.
//!
//! Nothing here blocks on a reader and nothing here stops the process whose output is written: output that cannot be kept is
//! counted and the gap is told in the log itself.

mod cri;
mod file;
mod splitter;
mod timestamp;

pub use cri::{CriLog, Stream, Tag};
pub use file::{LogFile, LogLimits, OpenLogError};
pub use splitter::{LINE_BYTES_MAX, LineSplitter};
pub use timestamp::{push_rfc3339_nanos, rotation_stamp};
