//! Container logs as the shim writes them (CRI log format): reading lines, and following a file that grows and rotates.

pub mod choice;
pub mod instance;

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;

use rustix::fs::inotify;
use tokio::io::AsyncReadExt as _;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use self::instance::{InstanceLog, Piece};
use crate::journal::Live;

/// One line of a CRI log: `2026-01-02T03:04:05.000000006Z stdout F text`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine<'a> {
    /// RFC 3339 with nanoseconds.
    pub time: &'a str,
    /// `stdout` or `stderr`.
    pub stream: &'a str,
    /// The line goes on in the next entry of the same stream.
    pub is_partial: bool,
    /// The text without its newline, as it was printed.
    pub text: &'a [u8],
}

impl<'a> LogLine<'a> {
    /// Takes a line of the file apart; `None` if it is not of the format.
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        fn word(line: &[u8]) -> Option<(&str, &[u8])> {
            let end = line.iter().position(|byte| *byte == b' ')?;
            Some((std::str::from_utf8(&line[..end]).ok()?, &line[end + 1..]))
        }
        let (time, rest) = word(line)?;
        let (stream, rest) = word(rest)?;
        let (tag, text) = match word(rest) {
            Some(split) => split,
            None => (std::str::from_utf8(rest).ok()?, [].as_slice()),
        };
        let is_partial = match tag.split(':').next() {
            Some("P") => true,
            Some("F") => false,
            Some(_) | None => return None,
        };
        Some(Self { time, stream, is_partial, text })
    }
}

/// Pieces of a log that wait for whoever wants them.
pub const PIECES_MAX: usize = 4;

/// How long nobody looks at a log of which nothing is heard. Where the kernel tells of changes, they are heard at once.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The same where it does not, because too much is being watched already.
const LOOK_UNTOLD_EVERY: Duration = Duration::from_millis(100);

/// Waits until nothing more is written to a log.
pub type Ended = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Gives a log out, and with `ended` also what is written until that is over, and for as long as anybody wants it.
///
/// # Errors
/// The files cannot be read.
pub async fn give_out(mut log: InstanceLog, ended: Option<Ended>, to: &mpsc::Sender<Vec<u8>>) -> std::io::Result<()> {
    let mut is_over = ended.is_none();
    let mut ended = ended.unwrap_or_else(|| Box::pin(std::future::pending()));
    // Before anything is read, so that nothing is written unheard.
    let notify = if is_over { None } else { watch_folder(log.folder()).ok() };
    let pause = if notify.is_some() { LOOK_EVERY } else { LOOK_UNTOLD_EVERY };
    loop {
        let read = tokio::task::spawn_blocking(move || (log.read_next(), log)).await;
        let piece;
        (piece, log) = read.map_err(std::io::Error::other)?;
        match piece? {
            Piece::Text(text) => {
                if to.send(text).await.is_err() {
                    return Ok(());
                }
            }
            Piece::Enough => return Ok(()),
            // Everything was written when it ended.
            Piece::NotYet if is_over => return Ok(()),
            Piece::NotYet => tokio::select! {
                () = &mut ended => is_over = true,
                () = to.closed() => return Ok(()),
                () = changed(notify.as_ref()) => {}
                () = tokio::time::sleep(pause) => {}
            },
        }
    }
}

async fn changed(notify: Option<&AsyncFd<OwnedFd>>) {
    let Some(notify) = notify else { return std::future::pending().await };
    match notify.readable().await {
        Ok(mut ready) => {
            drain(notify.get_ref());
            ready.clear_ready();
        }
        Err(_) => std::future::pending().await,
    }
}

fn watch_folder(folder: &Path) -> std::io::Result<AsyncFd<OwnedFd>> {
    let notify = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
    let wanted = inotify::WatchFlags::CREATE | inotify::WatchFlags::MODIFY | inotify::WatchFlags::MOVED_TO;
    inotify::add_watch(&notify, folder, wanted)?;
    watched(notify)
}

/// Shows a container's output while it is written.
#[derive(Debug)]
pub struct LogFollower {
    finish: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl LogFollower {
    /// Follows the file from its beginning; it may not exist yet.
    pub fn start(path: PathBuf, container: String, watcher: mpsc::UnboundedSender<Live>) -> Self {
        let (finish, finished) = oneshot::channel();
        let task = tokio::spawn(async move {
            if let Err(error) = follow(&path, &container, &watcher, finished).await {
                tracing::warn!(%error, path = %path.display(), "cannot follow the log");
            }
        });
        Self { finish, task }
    }

    /// The container has ended: reads what is left, at most for `limit`.
    pub async fn finish(self, limit: Duration) {
        let _ = self.finish.send(());
        let mut task = self.task;
        if tokio::time::timeout(limit, &mut task).await.is_err() {
            task.abort();
        }
    }
}

#[expect(unsafe_code, reason = "tokio takes a descriptor only on the promise that it stays the same")]
pub(crate) fn watched(notify: OwnedFd) -> std::io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` is open, and is and stays the same descriptor until it is dropped, which the `AsyncFd` does last.
    unsafe { AsyncFd::register(notify) }.map_err(Into::into)
}

async fn follow(
    path: &Path,
    container: &str,
    watcher: &mpsc::UnboundedSender<Live>,
    mut finished: oneshot::Receiver<()>,
) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(path);
    tokio::fs::create_dir_all(folder).await?;
    let notify = watch_folder(folder)?;
    let mut lines = Lines { container, watcher, held: [Vec::new(), Vec::new()], rest: Vec::new() };
    let mut current: Option<tokio::fs::File> = None;
    loop {
        let is_last = finished.try_recv().is_ok();
        loop {
            let had_file = current.is_some();
            if let Some(file) = &mut current {
                lines.read_all(file).await?;
            }
            // A rotated file is read to its end before the new one is begun.
            let fresh = open_if_other(path, current.as_ref()).await?;
            match fresh {
                Some(file) => {
                    if let Some(old) = &mut current {
                        lines.read_all(old).await?;
                    }
                    current = Some(file);
                }
                None if had_file => break,
                None => break,
            }
        }
        if is_last {
            lines.end();
            return Ok(());
        }
        tokio::select! {
            ready = notify.readable() => {
                let mut ready = ready?;
                drain(notify.get_ref());
                ready.clear_ready();
            }
            _ = &mut finished => {
                // One more round: everything is written by now.
                if let Some(file) = &mut current {
                    lines.read_all(file).await?;
                }
                if let Some(mut file) = open_if_other(path, current.as_ref()).await? {
                    lines.read_all(&mut file).await?;
                }
                lines.end();
                return Ok(());
            }
        }
    }
}

/// Takes all that was told.
pub(crate) fn drain(notify: &OwnedFd) {
    let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
    let mut reader = inotify::Reader::new(notify, &mut buffer);
    while reader.next().is_ok() {}
}

async fn open_if_other(path: &Path, current: Option<&tokio::fs::File>) -> std::io::Result<Option<tokio::fs::File>> {
    use std::os::unix::fs::MetadataExt as _;
    let file = match tokio::fs::File::open(path).await {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let Some(current) = current else { return Ok(Some(file)) };
    let (new, old) = (file.metadata().await?, current.metadata().await?);
    Ok((new.ino() != old.ino() || new.dev() != old.dev()).then_some(file))
}

struct Lines<'a> {
    container: &'a str,
    watcher: &'a mpsc::UnboundedSender<Live>,
    /// Beginnings of lines whose end has not come yet: stdout, stderr.
    held: [Vec<u8>; 2],
    /// Bytes after the last newline of the file.
    rest: Vec<u8>,
}

/// A line without end is shown in parts of this size.
const LINE_SHOWN_MAX: usize = 64 << 10;

impl Lines<'_> {
    async fn read_all(&mut self, file: &mut tokio::fs::File) -> std::io::Result<()> {
        let mut buffer = vec![0; 16 << 10];
        loop {
            let read = file.read(&mut buffer).await?;
            if read == 0 {
                return Ok(());
            }
            self.rest.extend_from_slice(&buffer[..read]);
            while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                self.take(&line[..end]);
            }
        }
    }

    fn take(&mut self, line: &[u8]) {
        let Some(line) = LogLine::parse(line) else { return };
        let held = &mut self.held[usize::from(line.stream == "stderr")];
        held.extend_from_slice(line.text);
        if line.is_partial && held.len() < LINE_SHOWN_MAX {
            return;
        }
        let whole = std::mem::take(held);
        self.show(line.stream, &String::from_utf8_lossy(&whole));
    }

    /// The container has ended: what it printed without a newline is a line as well.
    fn end(&mut self) {
        for (index, stream) in ["stdout", "stderr"].into_iter().enumerate() {
            let line = std::mem::take(&mut self.held[index]);
            if !line.is_empty() {
                self.show(stream, &String::from_utf8_lossy(&line));
            }
        }
    }

    fn show(&self, stream: &str, line: &str) {
        let (container, stream, line) = (self.container.to_owned(), stream.to_owned(), line.to_owned());
        let _ = self.watcher.send(Live::Output { container, stream, line });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_last_line_without_a_newline_is_shown_at_the_end() {
        let (watcher, mut watched) = mpsc::unbounded_channel();
        let mut lines = Lines { container: "c", watcher: &watcher, held: [Vec::new(), Vec::new()], rest: Vec::new() };
        lines.take(b"2026-01-02T03:04:05Z stdout F whole");
        lines.take(b"2026-01-02T03:04:05Z stderr P bro");
        lines.take(b"2026-01-02T03:04:05Z stderr P ken");
        lines.end();
        lines.end();
        let output =
            |stream: &str, line: &str| Live::Output { container: "c".to_owned(), stream: stream.to_owned(), line: line.to_owned() };
        let mut shown = Vec::new();
        while let Ok(live) = watched.try_recv() {
            shown.push(live);
        }
        assert_eq!(shown, [output("stdout", "whole"), output("stderr", "broken")]);
    }

    #[test]
    fn a_log_line_is_taken_apart() {
        let line = LogLine::parse(b"2026-01-02T03:04:05.000000006Z stderr P half \xff line").expect("of the format");
        let expected = LogLine { time: "2026-01-02T03:04:05.000000006Z", stream: "stderr", is_partial: true, text: b"half \xff line" };
        assert_eq!(line, expected);
        assert_eq!(LogLine::parse(b"2026-01-02T03:04:05Z stdout F").expect("an empty line").text, b"");
        assert_eq!(LogLine::parse(b"no log line"), None);
    }
}
