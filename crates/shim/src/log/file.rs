//! A log file with limits, on a disk that may fail.
//!
//! Whole lines go in. Before the file would grow past its size it is renamed to `NAME.YYYYMMDD-HHMMSS` and a new one is
//! begun; the oldest renamed files are removed. When the disk refuses a block of lines the file is cut back to its last whole
//! line, the lines are counted as lost, and the first block that fits again is preceded by a line that tells the gap.
//!
//! Nothing here returns an error after the file was opened once: a log must not be able to stop what it logs.

use std::ffi::OsStr;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::cri::push_line;
use super::{Stream, Tag, push_rfc3339_nanos, rotation_stamp};
use crate::moment::Moment;

/// How large a log may grow. Sizes in bytes of the file, heads of the lines included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLimits {
    /// A file is rotated before it grows past this (a line that is being written in parts may overshoot, at most twofold).
    pub file_bytes_max: u64,
    /// Files that are kept, the current one included; at least 2.
    pub files_max: u32,
}

impl Default for LogLimits {
    /// The defaults of `KubeletConfiguration`: `containerLogMaxSize: 10Mi`, `containerLogMaxFiles: 5`.
    fn default() -> Self {
        Self { file_bytes_max: 10 * 1024 * 1024, files_max: 5 }
    }
}

impl LogLimits {
    /// Limits for a file that never rotates, because its writer caps what goes in.
    pub(crate) const UNLIMITED: Self = Self { file_bytes_max: u64::MAX, files_max: 2 };

    /// Whether a log can be kept inside these limits.
    pub fn is_valid(&self) -> bool {
        self.file_bytes_max > 0 && (2..=FILES_MAX).contains(&self.files_max)
    }
}

/// Most files of one log; rotation looks at each of them.
const FILES_MAX: u32 = 1_000;

/// A log file could not be opened or created.
#[derive(Debug, thiserror::Error)]
pub enum OpenLogError {
    /// The folder of the log could not be made.
    #[error("cannot create the folder {folder} for a log")]
    CreateFolder {
        /// The folder.
        folder: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file could not be opened for appending.
    #[error("cannot open the log {path}")]
    Open {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// Lines that could not be written since the last line that could.
#[derive(Clone, Copy, Debug)]
struct Gap {
    lines: u64,
    bytes: u64,
    since: Moment,
    errno: Option<i32>,
}

/// An append-only file of log lines. See the module for what happens at its limits.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    limits: LogLimits,
    /// `None` while the file cannot be opened; tried again with the next block.
    file: Option<File>,
    bytes: u64,
    gap: Option<Gap>,
    lines_lost: u64,
    /// Wall clock second of the last rotation, so that names never go back, even when the clock does.
    last_rotation_second: u64,
    last_rotation_error: Option<io::Error>,
}

impl LogFile {
    /// Opens the log for appending; its folders are made when missing. The file gets mode 0640, folders 0755.
    ///
    /// # Errors
    /// When a folder or the file cannot be made.
    pub fn open(path: &Path, limits: LogLimits) -> Result<Self, OpenLogError> {
        if let Some(folder) = path.parent() {
            DirBuilder::new()
                .recursive(true)
                .mode(0o755)
                .create(folder)
                .map_err(|source| OpenLogError::CreateFolder { folder: folder.to_owned(), source })?;
        }
        let mut log = Self::deferred(path, limits);
        log.reopen()?;
        Ok(log)
    }

    /// A log whose file is opened with the first line, in a folder that is there. Failing to open it loses lines, as any
    /// other failure of the disk.
    pub(crate) fn deferred(path: &Path, limits: LogLimits) -> Self {
        Self {
            path: path.to_owned(),
            limits,
            file: None,
            bytes: 0,
            gap: None,
            lines_lost: 0,
            last_rotation_second: 0,
            last_rotation_error: None,
        }
    }

    /// Opens the path again, for a file that was renamed or removed by someone else. The old file stays in use on failure.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn reopen(&mut self) -> Result<(), OpenLogError> {
        let opened = open_for_append(&self.path).and_then(|file| Ok((file.metadata()?.len(), file)));
        let (bytes, file) = opened.map_err(|source| OpenLogError::Open { path: self.path.clone(), source })?;
        self.bytes = bytes;
        self.file = Some(file);
        Ok(())
    }

    /// Changes the limits; the next lines keep them.
    pub fn set_limits(&mut self, limits: LogLimits) {
        self.limits = limits;
    }

    /// How many lines the disk refused so far.
    pub fn lines_lost(&self) -> u64 {
        self.lines_lost
    }

    /// Why the last rotation failed, if it did; asking clears it.
    pub fn take_rotation_error(&mut self) -> Option<io::Error> {
        self.last_rotation_error.take()
    }

    /// Whether `more` bytes would take the current file past its limit.
    pub(super) fn would_pass_limit(&self, more: usize) -> bool {
        self.bytes.saturating_add(more as u64) > self.limits.file_bytes_max
    }

    /// Appends `lines`, `count` whole lines. `at_line_start` says that no split line is open, so that the file may end here.
    pub(super) fn write_lines(&mut self, lines: &[u8], count: u64, at_line_start: bool, now: Moment) {
        let is_far_over = self.bytes / 2 > self.limits.file_bytes_max;
        if self.bytes > 0 && self.would_pass_limit(lines.len()) && (at_line_start || is_far_over) {
            self.rotate(now);
        }
        let written = if self.bytes / 2 > self.limits.file_bytes_max {
            Err(io::ErrorKind::FileTooLarge.into())
        } else if let Some(mark) = self.gap_mark(now) {
            // The mark goes with the first block that fits, or not at all: marks alone must not fill what room is left.
            self.write_block(&[mark.as_slice(), lines].concat())
        } else {
            self.write_block(lines)
        };
        if let Err(error) = written {
            self.lines_lost += count;
            let gap = self.gap.get_or_insert(Gap { lines: 0, bytes: 0, since: now, errno: None });
            gap.lines += count;
            gap.bytes += lines.len() as u64;
            gap.errno = error.raw_os_error();
        } else {
            self.gap = None;
        }
    }

    fn gap_mark(&self, now: Moment) -> Option<Vec<u8>> {
        let gap = self.gap?;
        let mut text = Vec::new();
        // Writing into a Vec cannot fail.
        let _ = write!(text, "usher: {} log lines ({} bytes) were lost here since ", gap.lines, gap.bytes);
        push_rfc3339_nanos(gap.since.wall_ns, &mut text);
        if let Some(errno) = gap.errno {
            let _ = write!(text, ": {}", io::Error::from_raw_os_error(errno));
        }
        let mut line = Vec::new();
        push_line(&mut line, Stream::Stderr, Tag::Full, &[&text], now);
        Some(line)
    }

    /// Writes all of the block or none of it.
    fn write_block(&mut self, block: &[u8]) -> io::Result<()> {
        if self.file.is_none() {
            self.reopen().map_err(|error| match error {
                OpenLogError::CreateFolder { source, .. } | OpenLogError::Open { source, .. } => source,
            })?;
        }
        let Some(file) = &mut self.file else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let mut rest = block;
        while !rest.is_empty() {
            match file.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => rest = &rest[n..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let half_written = (block.len() - rest.len()) as u64;
                    if half_written > 0 {
                        // Someone else may have cut the file, so its own length counts, not ours.
                        let length = file.metadata().map_or(self.bytes + half_written, |meta| meta.len());
                        let _ = file.set_len(length.saturating_sub(half_written));
                    }
                    return Err(error);
                }
            }
        }
        self.bytes += block.len() as u64;
        Ok(())
    }

    fn rotate(&mut self, now: Moment) {
        let renamed = self.free_rotated_path(now).and_then(|target| std::fs::rename(&self.path, target));
        if let Err(error) = renamed {
            self.last_rotation_error = Some(error);
            return;
        }
        self.file = None;
        self.bytes = 0;
        if let Err(error) = self.remove_oldest() {
            self.last_rotation_error = Some(error);
        }
    }

    /// The rotated name of this second, or of the next free one: names stay unique and sort in the order of rotation.
    fn free_rotated_path(&mut self, now: Moment) -> io::Result<PathBuf> {
        let first = (now.wall_ns / 1_000_000_000).max(self.last_rotation_second + 1);
        for second in first..first + NAME_SECONDS_AHEAD_MAX {
            let mut name = self.path.clone().into_os_string();
            name.push(format!(".{}", rotation_stamp(second * 1_000_000_000)));
            let path = PathBuf::from(name);
            if path.symlink_metadata().is_err() {
                self.last_rotation_second = second;
                return Ok(path);
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    fn remove_oldest(&self) -> io::Result<()> {
        let rotated = self.rotated_files()?;
        let keep = self.limits.files_max as usize - 1;
        for path in &rotated[..rotated.len().saturating_sub(keep)] {
            std::fs::remove_file(path)?;
        }
        Ok(())
    }

    /// Our rotated files, oldest first. Other files beside the log are not touched.
    fn rotated_files(&self) -> io::Result<Vec<PathBuf>> {
        let (Some(folder), Some(name)) = (self.path.parent(), self.path.file_name()) else {
            return Ok(Vec::new());
        };
        let mut rotated = Vec::new();
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            let candidate = path.file_name().map(OsStr::as_bytes).unwrap_or_default();
            let stamp = candidate.strip_prefix(name.as_bytes()).and_then(|rest| rest.strip_prefix(b"."));
            if stamp.is_some_and(is_rotation_stamp) {
                rotated.push(path);
            }
        }
        rotated.sort_unstable();
        Ok(rotated)
    }
}

/// How many names are tried for a rotated file, one for each second from now on, before the rotation fails.
const NAME_SECONDS_AHEAD_MAX: u64 = 3_600;

fn is_rotation_stamp(text: &[u8]) -> bool {
    text.len() == 15 && text.iter().enumerate().all(|(at, byte)| if at == 8 { *byte == b'-' } else { byte.is_ascii_digit() })
}

fn open_for_append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

#[cfg(test)]
mod tests;
