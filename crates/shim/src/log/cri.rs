//! The CRI log of one process: `TIMESTAMP STREAM TAG TEXT`, one line each, streams in the order in which they were read.
//!
//! Two uses: the log of a container, which rotates and goes on for ever, and the kept output of an exec, which is cut at a
//! cap and says so. Invariant: only whole CRI lines reach the file, so a reader never sees half a line of one stream inside
//! the other.
//!
//! Not here: who reads the pipes, and when.

use serde::{Deserialize, Serialize};

use super::{LINE_BYTES_MAX, LineSplitter, LogFile, push_rfc3339_nanos};
use crate::moment::Moment;

/// Lines are gathered up to this many bytes before they are written with one call: one line of full length and its head.
const BLOCK_BYTES: usize = LINE_BYTES_MAX + 4 * 1024;

/// Which output of a process a line came from. A terminal has one output only, [`Stream::Stdout`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    /// Standard output, or all output of a terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// Whether a CRI log line ends with a newline in the stream (`F`) or goes on in the next line of its stream (`P`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tag {
    /// The line ended.
    Full,
    /// The line was split because it is too long, or the stream ended without a newline.
    Partial,
}

impl Tag {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "F",
            Self::Partial => "P",
        }
    }
}

/// Writes the streams of one process into one log file.
#[derive(Debug)]
pub struct CriLog {
    file: LogFile,
    stdout: StreamState,
    stderr: StreamState,
    /// Formatted lines that are not written yet; empty between calls.
    block: Vec<u8>,
    block_lines: u64,
    /// No stream was inside a split line when the block was begun, so the file may be rotated before it.
    block_at_line_start: bool,
}

#[derive(Debug, Default)]
struct StreamState {
    splitter: LineSplitter,
    inside_split_line: bool,
}

impl CriLog {
    /// Begins a log in `file`.
    pub fn new(file: LogFile) -> Self {
        Self {
            file,
            stdout: StreamState::default(),
            stderr: StreamState::default(),
            block: Vec::new(),
            block_lines: 0,
            block_at_line_start: true,
        }
    }

    /// Takes the next bytes of a stream, read at `now`, and writes the lines that are finished with them.
    pub fn append(&mut self, stream: Stream, bytes: &[u8], now: Moment) {
        let mut splitter = std::mem::take(&mut self.state_mut(stream).splitter);
        splitter.feed(bytes, |tag, held, new| self.push(stream, tag, held, new, now));
        self.state_mut(stream).splitter = splitter;
        self.flush(now);
    }

    /// A stream has ended: writes what it left without a newline.
    pub fn finish(&mut self, stream: Stream, now: Moment) {
        let mut splitter = std::mem::take(&mut self.state_mut(stream).splitter);
        splitter.finish(|tag, held, new| self.push(stream, tag, held, new, now));
        self.state_mut(stream).inside_split_line = false;
        self.flush(now);
    }

    /// Writes one full line of the shim's own, such as the mark that output was cut.
    pub fn note(&mut self, text: &str, now: Moment) {
        self.push(Stream::Stderr, Tag::Full, text.as_bytes(), &[], now);
        self.flush(now);
    }

    /// The file behind the log, to reopen it or to change its limits.
    pub fn file_mut(&mut self) -> &mut LogFile {
        &mut self.file
    }

    /// The file behind the log.
    pub fn file(&self) -> &LogFile {
        &self.file
    }

    fn state_mut(&mut self, stream: Stream) -> &mut StreamState {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }

    fn push(&mut self, stream: Stream, tag: Tag, held: &[u8], new: &[u8], now: Moment) {
        let line_bytes_max = held.len() + new.len() + HEAD_BYTES_MAX;
        if self.block.len() + line_bytes_max > BLOCK_BYTES || self.file.would_pass_limit(self.block.len() + line_bytes_max) {
            self.flush(now);
        }
        if self.block.is_empty() {
            self.block_at_line_start = !self.stdout.inside_split_line && !self.stderr.inside_split_line;
        }
        push_line(&mut self.block, stream, tag, &[held, new], now);
        self.block_lines += 1;
        self.state_mut(stream).inside_split_line = tag == Tag::Partial;
    }

    fn flush(&mut self, now: Moment) {
        if !self.block.is_empty() {
            self.file.write_lines(&self.block, self.block_lines, self.block_at_line_start, now);
            self.block.clear();
            self.block_lines = 0;
        }
        // Memory is given back between reads; a busy stream gets the same block again from the allocator.
        self.block = Vec::new();
    }
}

/// Longest head of a line: timestamp, stream, tag, three blanks, newline.
const HEAD_BYTES_MAX: usize = 64;

/// Appends one CRI log line to `out`.
pub(super) fn push_line(out: &mut Vec<u8>, stream: Stream, tag: Tag, text: &[&[u8]], now: Moment) {
    push_rfc3339_nanos(now.wall_ns, out);
    for word in [stream.as_str(), tag.as_str()] {
        out.push(b' ');
        out.extend_from_slice(word.as_bytes());
    }
    out.push(b' ');
    for piece in text {
        out.extend_from_slice(piece);
    }
    out.push(b'\n');
}

#[cfg(test)]
mod tests;
