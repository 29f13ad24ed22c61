//! `usher logs`: what containers printed, from the files that the shim wrote; also of pods that are gone, as long as the files are.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use node::logs::LogLine;

use crate::cli::{Global, Logs};
use crate::commands::node_config;

pub(crate) fn logs(global: &Global, logs: &Logs) -> anyhow::Result<ExitCode> {
    let folder = newest_log_folder(&node_config(global).log_root, &logs.pod)?;
    let mut containers: Vec<PathBuf> = list(&folder)?;
    if let Some(wanted) = &logs.container {
        containers.retain(|path| path.file_name().is_some_and(|name| name == wanted.as_str()));
        anyhow::ensure!(!containers.is_empty(), "pod {} has no container {wanted:?} with logs", logs.pod);
    }
    let several = containers.len() > 1;
    for container in &containers {
        let name = container.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let prefix = if several { format!("{name} │ ") } else { String::new() };
        print(container, logs, &prefix)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn print(container: &Path, logs: &Logs, prefix: &str) -> anyhow::Result<()> {
    let newest = list(container)?.iter().filter_map(|path| instance_of(path)).max();
    let Some(newest) = newest else { return Ok(()) };
    let instance = if logs.previous { newest.checked_sub(1).context("the container has no instance before the newest")? } else { newest };
    let mut files: Vec<PathBuf> = list(container)?.into_iter().filter(|path| instance_of(path) == Some(instance)).collect();
    // Rotated files carry their time in the name and sort before the current one.
    files.sort_by_key(|path| (path.extension().is_some_and(|extension| extension == "log"), path.clone()));
    let mut out = std::io::stdout().lock();
    for file in files {
        let text = std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let mut begins_line = true;
        for line in String::from_utf8_lossy(&text).lines().filter_map(LogLine::parse) {
            if begins_line {
                let time = if logs.timestamps { format!("{} ", line.time) } else { String::new() };
                write!(out, "{prefix}{time}")?;
            }
            write!(out, "{}{}", line.text, if line.is_partial { "" } else { "\n" })?;
            begins_line = !line.is_partial;
        }
    }
    Ok(())
}

/// `3` of `3.log` and `3.log.20260102-030405`.
fn instance_of(path: &Path) -> Option<u32> {
    path.file_name()?.to_str()?.split_once(".log")?.0.parse().ok()
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
