//! The log of one instance of a container: the part of it that is wanted, over all its files, from the oldest that is left to the one
//! that is being written, and on into those that come.
//!
//! ```text
//! 3.log.20260102-030405   3.log.20260102-030500   3.log
//!      oldest                                       being written; renamed when it is full, while we read it
//! ```
//!
//! Invariant: each line of a file is given out once, in order. Lines of a file that is removed before it was read are not.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use k8s_openapi::jiff::Timestamp;

use super::LogLine;

/// Which part of a log is wanted, and how it is shown. The default is all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogPart {
    /// Nothing written before this.
    pub since: Option<Timestamp>,
    /// Only this stream: `stdout` or `stderr`.
    pub stream: Option<String>,
    /// Each line begins with its time.
    pub timestamps: bool,
    /// The last lines only.
    pub tail_lines: Option<u64>,
    /// No more than this.
    pub limit_bytes: Option<u64>,
}

/// What comes next of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// This.
    Text(Vec<u8>),
    /// Nothing as yet.
    NotYet,
    /// Nothing: there was as much as is wanted.
    Enough,
}

/// The newest instance of the container with this log folder that has a log.
pub fn newest_instance(folder: &Path) -> Option<u32> {
    names(folder).ok()?.iter().filter_map(|name| Some(parse_name(name)?.0)).max()
}

/// Whether an instance has printed anything.
pub fn has_printed(folder: &Path, instance: u32) -> bool {
    let own = |name: &&String| parse_name(name).is_some_and(|(number, _)| number == instance);
    let is_filled = |name: &String| std::fs::metadata(folder.join(name)).is_ok_and(|metadata| metadata.len() > 0);
    names(folder).is_ok_and(|names| names.iter().filter(own).any(is_filled))
}

/// The log of one instance, while it is read.
#[derive(Debug)]
pub struct InstanceLog {
    folder: PathBuf,
    instance: u32,
    part: LogPart,
    open: Option<Open>,
    /// Files up to this one come before the wanted part.
    passed: Option<String>,
    /// Whole lines that come before those that are wanted.
    lines_skipped: u64,
    bytes_left: u64,
    begins_line: bool,
}

/// The file that is being read.
#[derive(Debug)]
struct Open {
    file: File,
    inode: u64,
    /// Those that were rotated before it, up to this one.
    after: Option<String>,
    offset: u64,
    /// Another was begun: nothing more comes into this one.
    is_complete: bool,
}

/// A file of the instance: the stamp of its rotation, or none if it is being written.
#[derive(Debug, PartialEq, Eq)]
struct Listed {
    stamp: Option<String>,
    path: PathBuf,
    inode: u64,
}

impl InstanceLog {
    /// Begins to read where the wanted part begins. It is no error if nothing is written yet.
    ///
    /// # Errors
    /// The files cannot be read.
    pub fn open(folder: &Path, instance: u32, part: LogPart) -> io::Result<Self> {
        let bytes_left = part.limit_bytes.unwrap_or(u64::MAX);
        let mut log =
            Self { folder: folder.to_owned(), instance, part, open: None, passed: None, lines_skipped: 0, bytes_left, begins_line: true };
        if let Some(lines) = log.part.tail_lines {
            log.skip_to_last(lines)?;
        }
        Ok(log)
    }

    /// Where its files are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What comes next. Reads files: not for a thread that others wait for.
    ///
    /// # Errors
    /// The files cannot be read.
    pub fn read_next(&mut self) -> io::Result<Piece> {
        loop {
            if self.bytes_left == 0 {
                return Ok(Piece::Enough);
            }
            if let Some(open) = &mut self.open {
                if let Some(lines) = open.read_lines()? {
                    let text = self.show(&lines);
                    if !text.is_empty() {
                        return Ok(Piece::Text(text));
                    }
                    continue;
                }
                if !open.is_complete {
                    if self.successor()?.is_none() {
                        return Ok(Piece::NotYet);
                    }
                    // What was written between the look at its end and the look for another is read first.
                    if let Some(open) = &mut self.open {
                        open.is_complete = true;
                    }
                    continue;
                }
            }
            let Some(next) = self.successor()? else { return Ok(Piece::NotYet) };
            self.open = Some(next);
        }
    }

    /// The file that comes after the one that is being read, if there is one.
    fn successor(&self) -> io::Result<Option<Open>> {
        for _ in 0..LOOKS_MAX {
            let files = self.list()?;
            let here = self.open.as_ref().and_then(|open| files.iter().position(|file| file.inode == open.inode));
            let next = match here {
                Some(at) => at + 1,
                // The one that was being read is removed, and with it all before it.
                None => {
                    let passed = self.open.as_ref().map_or(&self.passed, |open| &open.after);
                    let is_newer = |file: &Listed| file.stamp.is_none() || passed.is_none() || file.stamp > *passed;
                    files.iter().position(is_newer).unwrap_or(files.len())
                }
            };
            let Some(listed) = files.get(next) else { return Ok(None) };
            let file = match File::open(&listed.path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            // Renamed meanwhile, and another begun: that is not the one that comes next.
            if file.metadata()?.ino() != listed.inode || self.list()? != files {
                continue;
            }
            let before = || next.checked_sub(1).and_then(|before| files[before].stamp.clone());
            let after = listed.stamp.clone().or_else(before).or_else(|| self.passed.clone());
            return Ok(Some(Open { file, inode: listed.inode, after, offset: 0, is_complete: false }));
        }
        Err(self.is_restless())
    }

    /// Goes to where the last lines begin. A last line that is not ended counts.
    fn skip_to_last(&mut self, wanted: u64) -> io::Result<()> {
        for _ in 0..LOOKS_MAX {
            let files = self.list()?;
            let (mut found, mut begin) = (0, files.len());
            for (at, file) in files.iter().enumerate().rev() {
                let Ok(bytes) = std::fs::read(&file.path) else { break };
                begin = at;
                let count = self.count(&bytes);
                found += count.whole + u64::from(count.has_rest && at + 1 == files.len());
                if found >= wanted {
                    break;
                }
            }
            if self.list()? == files {
                self.lines_skipped = found.saturating_sub(wanted);
                self.passed = begin.checked_sub(1).and_then(|before| files[before].stamp.clone());
                return Ok(());
            }
        }
        Err(self.is_restless())
    }

    fn is_restless(&self) -> io::Error {
        io::Error::other(format!("the files in {} do not stay for a moment", self.folder.display()))
    }

    fn count(&self, bytes: &[u8]) -> Count {
        let mut count = Count { whole: 0, has_rest: false };
        for line in bytes.split(|byte| *byte == b'\n').filter_map(LogLine::parse).filter(|line| self.is_of_stream(line)) {
            count.whole += u64::from(!line.is_partial);
            count.has_rest = line.is_partial;
        }
        count
    }

    fn is_of_stream(&self, line: &LogLine<'_>) -> bool {
        self.part.stream.as_deref().is_none_or(|wanted| wanted == line.stream)
    }

    /// Lines of a file as they are wanted.
    fn show(&mut self, lines: &[u8]) -> Vec<u8> {
        let mut shown = Vec::new();
        for line in lines.split(|byte| *byte == b'\n').filter_map(LogLine::parse) {
            if !self.is_of_stream(&line) {
                continue;
            }
            if self.lines_skipped > 0 {
                self.lines_skipped -= u64::from(!line.is_partial);
                continue;
            }
            if self.part.since.is_some_and(|since| line.time.parse::<Timestamp>().is_ok_and(|time| time < since)) {
                continue;
            }
            if self.part.timestamps && self.begins_line {
                shown.extend_from_slice(line.time.as_bytes());
                shown.push(b' ');
            }
            shown.extend_from_slice(line.text);
            if !line.is_partial {
                shown.push(b'\n');
            }
            self.begins_line = !line.is_partial;
        }
        shown.truncate(usize::try_from(self.bytes_left).unwrap_or(usize::MAX));
        self.bytes_left -= shown.len() as u64;
        shown
    }

    /// The files of the instance, oldest first.
    fn list(&self) -> io::Result<Vec<Listed>> {
        let mut files = Vec::new();
        for name in names(&self.folder)? {
            let Some((instance, stamp)) = parse_name(&name) else { continue };
            let path = self.folder.join(&name);
            if instance != self.instance {
                continue;
            }
            match std::fs::metadata(&path) {
                Ok(metadata) => files.push(Listed { stamp: stamp.map(ToOwned::to_owned), path, inode: metadata.ino() }),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        files.sort_by(|a, b| (a.stamp.is_none(), &a.stamp).cmp(&(b.stamp.is_none(), &b.stamp)));
        Ok(files)
    }
}

struct Count {
    whole: u64,
    has_rest: bool,
}

impl Open {
    /// The next whole lines, up to a bound. A line that is still being written is left for the next time: it may be taken back.
    fn read_lines(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut bytes = vec![0; READ_BYTES_MAX];
        let mut length = 0;
        while length < bytes.len() {
            match self.file.read_at(&mut bytes[length..], self.offset + length as u64) {
                Ok(0) => break,
                Ok(read) => length += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let is_full = length == bytes.len();
        bytes.truncate(length);
        let end = match bytes.iter().rposition(|byte| *byte == b'\n') {
            Some(end) => end + 1,
            // No line is as long: whoever wrote this, it is no log.
            None if is_full => length,
            None => return Ok(None),
        };
        bytes.truncate(end);
        self.offset += end as u64;
        Ok(Some(bytes))
    }
}

fn names(folder: &Path) -> io::Result<Vec<String>> {
    match std::fs::read_dir(folder) {
        Ok(entries) => Ok(entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// The instance and the stamp of `3.log` and `3.log.20260102-030405`.
fn parse_name(name: &str) -> Option<(u32, Option<&str>)> {
    let (instance, rest) = name.split_once(".log")?;
    let stamp = match rest {
        "" => None,
        rest => Some(rest.strip_prefix('.').filter(|stamp| is_stamp(stamp))?),
    };
    Some((instance.parse().ok()?, stamp))
}

fn is_stamp(text: &str) -> bool {
    text.len() == 15 && text.bytes().enumerate().all(|(at, byte)| if at == 8 { byte == b'-' } else { byte.is_ascii_digit() })
}

/// How much of a file is read at once.
const READ_BYTES_MAX: usize = 256 * 1024;

/// Looks at a folder until no file is renamed between two of them. Rotations are seconds apart.
const LOOKS_MAX: usize = 100;

#[cfg(test)]
mod tests;
