//! `usher logs`: what containers printed, from the files that the shim wrote; also of pods that are gone, as long as the files are.

use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use node::logs::instance::{InstanceLog, LogPart, newest_instance};
use node::logs::{Ended, PIECES_MAX, give_out};
use runtime::{EmbeddedRuntime, Runtime as _, RuntimeEvent};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::cli::{Global, Logs};
use crate::commands::{node_config, runtime};

pub(crate) async fn logs(global: &Global, logs: &Logs) -> anyhow::Result<ExitCode> {
    let folder = newest_log_folder(&node_config(global).log_root, &logs.pod)?;
    let mut containers: Vec<PathBuf> = list(&folder)?;
    if let Some(wanted) = &logs.container {
        containers.retain(|path| path.file_name().is_some_and(|name| name == wanted.as_str()));
        anyhow::ensure!(!containers.is_empty(), "pod {} has no container {wanted:?} with logs", logs.pod);
    }
    let runtime = if logs.follow { Some(runtime(global)?) } else { None };
    let uid = folder.file_name().and_then(|name| name.to_str()).and_then(|name| name.splitn(3, '_').nth(2)).unwrap_or_default();
    let part = part(logs)?;
    let several = containers.len() > 1;
    let mut followed = JoinSet::new();
    for container in containers {
        let name = container.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Some(instance) = instance(&container, logs.previous)? else { continue };
        let cannot_read = format!("cannot read the logs in {}", container.display());
        let log = InstanceLog::open(&container, instance, part.clone()).context(cannot_read.clone())?;
        let printer = Printer { prefix: if several { format!("{name} │ ") } else { String::new() }, begins_line: true };
        match &runtime {
            None => print(log, None, printer).await.context(cannot_read)?,
            Some(runtime) => {
                let ended: Ended = Box::pin(ended(runtime.as_ref().clone(), uid.to_owned(), name, instance));
                followed.spawn(async move { print(log, Some(ended), printer).await.context(cannot_read) });
            }
        }
    }
    while let Some(done) = followed.join_next().await {
        done.context("a log is not followed any longer")??;
    }
    Ok(ExitCode::SUCCESS)
}

fn part(logs: &Logs) -> anyhow::Result<LogPart> {
    let ago = |since| server::registry::now().checked_sub(since).ok().with_context(|| format!("{since:?} ago there was no time"));
    let since = logs.since.map(ago).transpose()?.or(logs.since_time);
    let (timestamps, tail_lines, limit_bytes, stream) = (logs.timestamps, logs.tail, logs.limit_bytes, logs.stream.clone());
    Ok(LogPart { since, stream, timestamps, tail_lines, limit_bytes })
}

fn instance(container: &Path, is_previous: bool) -> anyhow::Result<Option<u32>> {
    let Some(newest) = newest_instance(container) else { return Ok(None) };
    if is_previous { newest.checked_sub(1).context("the container has no instance before the newest").map(Some) } else { Ok(Some(newest)) }
}

/// Waits until the instance has ended, or is not there.
async fn ended(runtime: EmbeddedRuntime, uid: String, container: String, instance: u32) {
    // Before the look, so that no end comes between.
    let Ok(mut events) = runtime.events(&uid).await else { return };
    let Ok(records) = runtime.list_containers(&uid).await else { return };
    let is_meant = |record: &&runtime::ContainerRecord| record.name == container && record.attempt == instance;
    let Some(record) = records.iter().find(is_meant).filter(|record| record.exit.is_none()) else { return };
    while let Some(event) = events.recv().await {
        let is_over = match event {
            RuntimeEvent::ContainerExited { container_id, .. } => container_id == record.id,
            RuntimeEvent::SandboxLost { .. } => true,
            RuntimeEvent::SignalSent { .. }
            | RuntimeEvent::ExecStarted { .. }
            | RuntimeEvent::ExecOutput { .. }
            | RuntimeEvent::OomKilled { .. } => false,
        };
        if is_over {
            return;
        }
    }
}

async fn print(log: InstanceLog, ended: Option<Ended>, mut printer: Printer) -> std::io::Result<()> {
    let (pieces, mut given) = mpsc::channel(PIECES_MAX);
    let giving = tokio::spawn(async move { give_out(log, ended, &pieces).await });
    while let Some(piece) = given.recv().await {
        match tokio::task::block_in_place(|| printer.print(&piece)) {
            // Whoever read this has had enough.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
            printed => printed?,
        }
    }
    printer.end()?;
    giving.await.map_err(std::io::Error::other)?
}

/// Prints the lines of one container.
struct Printer {
    prefix: String,
    begins_line: bool,
}

impl Printer {
    fn print(&mut self, piece: &[u8]) -> std::io::Result<()> {
        let mut out = std::io::stdout().lock();
        for line in piece.split_inclusive(|byte| *byte == b'\n') {
            if self.begins_line {
                out.write_all(self.prefix.as_bytes())?;
            }
            out.write_all(line)?;
            self.begins_line = line.ends_with(b"\n");
        }
        out.flush()
    }

    /// What another container printed does not go on in the last line of this one.
    fn end(&self) -> std::io::Result<()> {
        if self.prefix.is_empty() || self.begins_line { Ok(()) } else { std::io::stdout().write_all(b"\n") }
    }
}

fn list(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

fn newest_log_folder(log_root: &Path, wanted: &str) -> anyhow::Result<PathBuf> {
    let is_called = |name: &str| {
        let mut parts = name.splitn(3, '_');
        let (Some(namespace), Some(pod), Some(uid)) = (parts.next(), parts.next(), parts.next()) else { return false };
        uid == wanted || pod == wanted || wanted.split_once('/') == Some((namespace, pod))
    };
    let found = list(log_root)?.into_iter().filter(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(is_called));
    let newest = found.max_by_key(|path| std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok());
    newest.with_context(|| format!("no pod called {wanted:?} has logs in {}", log_root.display()))
}
