//! Finding the journal of a pod by the names that people give, also of one that is gone, and what is known besides it.

use std::path::PathBuf;

use anyhow::Context as _;
use chronicle::Life;
use chronicle::why::Present;
use node::control::EngineLock;
use node::{NodeConfig, clock, journal};

use crate::cli::Global;
use crate::commands::node_config;

/// The newest journal of a pod called so.
pub(crate) fn find(node: &NodeConfig, wanted: &str) -> anyhow::Result<PathBuf> {
    let folder = node.journal_dir();
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => anyhow::bail!("there are no journals in {}", folder.display()),
        Err(error) => return Err(error).with_context(|| format!("cannot list {}", folder.display())),
    };
    let is_called = |name: &str| {
        let Some(name) = name.strip_suffix(".jsonl") else { return false };
        let mut parts = name.splitn(3, '_');
        let (Some(namespace), Some(pod), Some(uid)) = (parts.next(), parts.next(), parts.next()) else { return false };
        uid == wanted || pod == wanted || wanted.split_once('/') == Some((namespace, pod))
    };
    let paths = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
    let found = paths.into_iter().filter(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(is_called));
    let newest = found.max_by_key(|path| std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok());
    newest.with_context(|| format!("no journal of a pod called {wanted:?} in {}", folder.display()))
}

/// All journals, of pods that are there and of those that are gone.
pub(crate) fn all(node: &NodeConfig) -> anyhow::Result<Vec<PathBuf>> {
    let folder = node.journal_dir();
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("cannot list {}", folder.display())),
    };
    let paths = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>();
    let paths = paths.with_context(|| format!("cannot list {}", folder.display()))?;
    Ok(paths.into_iter().filter(|path| path.extension().is_some_and(|ending| ending == "jsonl")).collect())
}

/// The journal of the pod with this uid.
pub(crate) fn of_uid(node: &NodeConfig, uid: &str) -> Option<PathBuf> {
    let ending = format!("_{uid}.jsonl");
    let entries = std::fs::read_dir(node.journal_dir()).ok()?.flatten();
    let mut paths = entries.map(|entry| entry.path());
    paths.find(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.ends_with(&ending)))
}

/// The life of a pod called so, and the present.
pub(crate) fn life(global: &Global, wanted: &str) -> anyhow::Result<(Life, Present)> {
    let node = node_config(global);
    let journal = journal::read(&find(&node, wanted)?)?;
    let life = Life::of(&journal).with_context(|| format!("the journal of {wanted:?} has no heading"))?;
    let present = present(&node, &life);
    Ok((life, present))
}

/// What time it is, and whether the pod is driven.
pub(crate) fn present(node: &NodeConfig, life: &Life) -> Present {
    // A clock that began anew with the machine says nothing about a life before.
    let now = if life.is_over() { life.read_to.timestamp() } else { clock::now().max(life.read_to.timestamp()) };
    let is_driven = matches!(EngineLock::try_take(&node.pod_dir(&life.uid)), Ok(None));
    Present { now, is_driven }
}
