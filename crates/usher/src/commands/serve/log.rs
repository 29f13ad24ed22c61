//! The log of one container instance as the API gives it out: from a time or the last lines on, and followed.

use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use node::logs::LogLine;
use server::backend::{BackendError, LogOptions, PodRef, Reader};
use server::client::NodeClient;
use tokio::io::AsyncWriteExt as _;

/// Time between two looks for more in a log that is followed.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What is on its way to a client.
const BUFFER_BYTES: usize = 64 * 1024;

/// The most that is read of a growing file at once.
const READ_BYTES_MAX: u64 = 1024 * 1024;

/// Begins to read.
pub(super) fn read(root: &Path, pod: PodRef, options: LogOptions, client: NodeClient) -> Result<Reader, BackendError> {
    let folder = root.join(format!("{}_{}_{}", pod.namespace, pod.name, pod.uid)).join(&options.container);
    let newest = files(&folder).into_iter().map(|(instance, _)| instance).max();
    let instance = match (newest, options.previous) {
        (Some(newest), false) => newest,
        (Some(newest), true) if newest > 0 => newest - 1,
        (_, true) => {
            let message = format!("previous terminated container \"{}\" in pod \"{}\" not found", options.container, pod.name);
            return Err(BackendError::Invalid(message));
        }
        (None, false) => {
            let message = format!("container \"{}\" in pod \"{}\" is waiting to start: ContainerCreating", options.container, pod.name);
            return Err(BackendError::Invalid(message));
        }
    };
    let (reader, writer) = tokio::io::duplex(BUFFER_BYTES);
    let follower = Follower {
        folder,
        instance,
        filter: Filter::new(&options),
        follow: options.follow && !options.previous,
        pod,
        client,
        options,
        writer,
    };
    tokio::spawn(follower.run());
    Ok(Box::new(reader))
}

/// The files of a container with the instance that each is of, oldest first.
fn files(folder: &Path) -> Vec<(u32, PathBuf)> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut files: Vec<_> =
        entries.filter_map(|path| Some((path.file_name()?.to_str()?.split_once(".log")?.0.parse().ok()?, path))).collect();
    // Rotated files carry their time in the name and come before the current one.
    files.sort_by_key(|(instance, path)| (*instance, path.extension().is_some_and(|extension| extension == "log"), path.clone()));
    files
}

/// Which lines are wanted, and how they are shown.
struct Filter {
    since: Option<Timestamp>,
    stream: Option<String>,
    timestamps: bool,
    begins_line: bool,
}

impl Filter {
    fn new(options: &LogOptions) -> Self {
        Self { since: options.since, stream: options.stream.clone(), timestamps: options.timestamps, begins_line: true }
    }

    /// A line of the file as the client sees it; `None` if it does not want it.
    fn show(&mut self, line: &str) -> Option<String> {
        let line = LogLine::parse(line)?;
        if self.stream.as_deref().is_some_and(|wanted| wanted != line.stream) {
            return None;
        }
        if let Some(since) = self.since
            && line.time.parse::<Timestamp>().is_ok_and(|time| time < since)
        {
            return None;
        }
        let time = if self.timestamps && self.begins_line { format!("{} ", line.time) } else { String::new() };
        self.begins_line = !line.is_partial;
        Some(format!("{time}{}{}", line.text, if line.is_partial { "" } else { "\n" }))
    }
}

struct Follower {
    folder: PathBuf,
    instance: u32,
    filter: Filter,
    follow: bool,
    pod: PodRef,
    client: NodeClient,
    options: LogOptions,
    writer: tokio::io::DuplexStream,
}

impl Follower {
    async fn run(mut self) {
        let mut left = self.options.limit_bytes.unwrap_or(u64::MAX);
        let mut skip = self.lines_to_skip();
        let mut position = Position::default();
        loop {
            // Before reading: what is written while it ends is read after it has ended.
            let goes_on = self.follow && self.is_running();
            let text = match self.more(&mut position, &mut skip) {
                Ok(text) => text,
                Err(error) => {
                    tracing::debug!(%error, folder = %self.folder.display(), "a log cannot be read");
                    return;
                }
            };
            let Some(text) = text else {
                if !goes_on {
                    return;
                }
                tokio::time::sleep(LOOK_EVERY).await;
                continue;
            };
            let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(text.len());
            if self.writer.write_all(&text.as_bytes()[..wanted]).await.is_err() {
                return;
            }
            left -= wanted as u64;
            if left == 0 {
                return;
            }
        }
    }

    fn own_files(&self) -> Vec<PathBuf> {
        files(&self.folder).into_iter().filter(|(instance, _)| *instance == self.instance).map(|(_, path)| path).collect()
    }

    /// How many whole lines come before the last ones that are wanted.
    fn lines_to_skip(&self) -> usize {
        let Some(tail) = self.options.tail_lines else { return 0 };
        let mut filter = Filter::new(&self.options);
        let mut lines = 0_usize;
        for path in self.own_files() {
            let Ok(file) = std::fs::File::open(path) else { continue };
            for line in BufReader::new(file).lines().map_while(Result::ok) {
                lines += usize::from(filter.show(&line).is_some_and(|shown| shown.ends_with('\n')));
            }
        }
        lines.saturating_sub(usize::try_from(tail).unwrap_or(usize::MAX))
    }

    /// Whether more may come of this instance.
    fn is_running(&self) -> bool {
        let Ok(pod) = self.client.pod(&self.pod.namespace, &self.pod.name) else { return false };
        if pod.metadata.uid.as_deref() != Some(&self.pod.uid) {
            return false;
        }
        let status = pod.status.unwrap_or_default();
        let all = [status.container_statuses, status.init_container_statuses, status.ephemeral_container_statuses];
        let own = all.into_iter().flatten().flatten().find(|status| status.name == self.options.container);
        own.is_some_and(|own| {
            let same = u32::try_from(own.restart_count).is_ok_and(|count| count == self.instance);
            same && own.state.is_some_and(|state| state.running.is_some())
        })
    }

    /// What was written since the last time, up to a bound; `None` if nothing was.
    fn more(&mut self, position: &mut Position, skip: &mut usize) -> std::io::Result<Option<String>> {
        use std::os::unix::fs::MetadataExt as _;
        for path in self.own_files() {
            let mut file = std::fs::File::open(&path)?;
            let inode = file.metadata()?.ino();
            if position.done.contains(&inode) {
                continue;
            }
            if position.inode != inode {
                if position.inode != 0 {
                    position.done.push(position.inode);
                }
                (position.inode, position.offset) = (inode, 0);
            }
            file.seek(SeekFrom::Start(position.offset))?;
            let mut bytes = Vec::new();
            file.take(READ_BYTES_MAX).read_to_end(&mut bytes)?;
            // A line that is still being written is left for the next time.
            let Some(end) = bytes.iter().rposition(|byte| *byte == b'\n') else { continue };
            position.offset += end as u64 + 1;
            let mut shown = String::new();
            for line in String::from_utf8_lossy(&bytes[..end]).split('\n') {
                let Some(line) = self.filter.show(line) else { continue };
                if *skip == 0 {
                    shown += &line;
                } else if line.ends_with('\n') {
                    *skip -= 1;
                }
            }
            return Ok(Some(shown));
        }
        Ok(None)
    }
}

/// How far a log was read.
#[derive(Debug, Default)]
struct Position {
    inode: u64,
    offset: u64,
    /// Files that were read to their end and rotated away.
    done: Vec<u64>,
}
