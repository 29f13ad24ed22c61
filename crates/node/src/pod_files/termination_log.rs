//! Termination logs: the file in which a container leaves its last words, and what status makes of it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::Pod;

use super::{PodFiles, blocking};
use crate::convert::container_of;

/// k8s: 2.e.4
const TERMINATION_LOG_MODE: u32 = 0o666;
/// k8s: 8.e.1
const MESSAGE_BYTES_MAX: u64 = 4096;
/// k8s: 8.e.2
const FALLBACK_LINES_MAX: usize = 80;
/// k8s: 8.e.2
const FALLBACK_BYTES_MAX: usize = 2048;
/// So much of the end of a log is looked at for its last lines, in bytes: more than they can need with lines of 16 KiB,
/// which is where runtimes split them.
const LOG_TAIL_BYTES_MAX: u64 = 2 * 1024 * 1024;

impl PodFiles {
    /// The termination log of an instance: 8 hexadecimal digits that tell its number, so that it is found again without a record.
    pub fn termination_log(&self, container: &str, attempt: u32) -> PathBuf {
        self.dir().join("containers").join(container).join(format!("{attempt:08x}"))
    }

    /// Makes an instance's termination log, empty (k8s: 2.e.4).
    pub(crate) fn make_termination_log(&self, container: &str, attempt: u32) -> io::Result<PathBuf> {
        let path = self.termination_log(container, attempt);
        super::make_private_dirs(path.parent().unwrap_or(self.dir()))?;
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let file = OpenOptions::new().write(true).create_new(true).mode(TERMINATION_LOG_MODE).open(&path)?;
        file.set_permissions(std::fs::Permissions::from_mode(TERMINATION_LOG_MODE))?;
        Ok(path)
    }

    /// Removes an instance's termination log; none there is no error.
    pub fn remove_termination_log(&self, container: &str, attempt: u32) -> io::Result<()> {
        match std::fs::remove_file(self.termination_log(container, attempt)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// The termination message of an instance that ended with this code (k8s: 8.e.1, 8.e.2, 8.e.4). What is not UTF-8 is replaced.
    ///
    /// `log_path` is its log, in CRI's form, which speaks for it if the container's policy says so.
    pub async fn termination_message(&self, pod: &Pod, container: &str, restart_count: u32, exit_code: i32, log_path: &Path) -> String {
        let path = self.termination_log(container, restart_count);
        let log_path = if falls_back(pod, container) && exit_code != 0 { Some(log_path.to_owned()) } else { None };
        blocking(move || termination_message(&path, log_path.as_deref())).await
    }
}

fn falls_back(pod: &Pod, container: &str) -> bool {
    let spec = container_of(pod, container);
    spec.is_some_and(|spec| spec.termination_message_policy.as_deref() == Some("FallbackToLogsOnError"))
}

fn termination_message(path: &Path, log_path: Option<&Path>) -> String {
    let message = match last_bytes(path, MESSAGE_BYTES_MAX) {
        Ok(bytes) => bytes,
        // k8s: 8.e.6
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return format!("Error on reading termination log {}: {error}", path.display()),
    };
    match log_path {
        Some(log_path) if message.is_empty() => match last_bytes(log_path, LOG_TAIL_BYTES_MAX) {
            Ok(log) => String::from_utf8_lossy(&last_lines(&log)).into_owned(),
            Err(error) => format!("Error on reading termination message from logs: {error}"),
        },
        Some(_) | None => String::from_utf8_lossy(&message).into_owned(),
    }
}

fn last_bytes(path: &Path, count: u64) -> io::Result<Vec<u8>> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::CLOEXEC;
    let mut file: File = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
    let len = file.metadata()?.len();
    file.seek(SeekFrom::Start(len.saturating_sub(count)))?;
    let mut bytes = Vec::new();
    file.take(count).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// What the last lines of a log say, without CRI's `TIME STREAM TAGS ` before each.
fn last_lines(log: &[u8]) -> Vec<u8> {
    let lines: Vec<&[u8]> = log.split_inclusive(|byte| *byte == b'\n').collect();
    let mut said = Vec::new();
    for line in &lines[lines.len().saturating_sub(FALLBACK_LINES_MAX)..] {
        let mut fields = line.splitn(4, |byte| *byte == b' ');
        let (Some(_time), Some(_stream), Some(tags), Some(text)) = (fields.next(), fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        let is_partial = tags.split(|byte| *byte == b':').next() == Some(b"P");
        said.extend_from_slice(if is_partial { text.strip_suffix(b"\n").unwrap_or(text) } else { text });
    }
    said.split_off(said.len().saturating_sub(FALLBACK_BYTES_MAX))
}

#[cfg(test)]
mod tests;
