//! Finding the journal of a pod by the names that people give, also of one that is gone, and what is known besides it.

use std::io::Write as _;
use std::path::{Path, PathBuf};

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
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(anyhow::Error::new(NoJournal { wanted: wanted.to_owned(), folder }));
        }
        Err(error) => return Err(error).with_context(|| format!("cannot list {}", folder.display())),
    };
    let paths = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
    let names = |path: &PathBuf| Names::of(path);
    let called = paths.iter().filter(|path| names(path).is_some_and(|names| names.is_called(wanted)));
    let newest = called.max_by_key(|path| std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok());
    if let Some(path) = newest {
        return Ok(path.clone());
    }
    let by_prefix: Vec<_> = paths.iter().filter(|path| names(path).is_some_and(|names| names.has_uid_prefix(wanted))).collect();
    match by_prefix.as_slice() {
        [] => Err(anyhow::Error::new(NoJournal { wanted: wanted.to_owned(), folder })),
        [path] => Ok((*path).clone()),
        several => anyhow::bail!(
            "{} journals are of pods whose uid begins with {wanted:?}: give more of it; `usher journal` lists them all",
            several.len()
        ),
    }
}

/// Nothing is kept of a pod.
#[derive(Debug, thiserror::Error)]
#[error("no journal of a pod called {wanted:?} in {}; `usher journal` lists those that there are", folder.display())]
pub(crate) struct NoJournal {
    wanted: String,
    folder: PathBuf,
}

/// Whose a journal is, by the name of its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Names {
    pub(crate) namespace: String,
    pub(crate) pod: String,
    pub(crate) uid: String,
}

impl Names {
    /// `None` for what is no journal.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let mut parts = path.file_name()?.to_str()?.strip_suffix(".jsonl")?.splitn(3, '_').map(ToOwned::to_owned);
        Some(Self { namespace: parts.next()?, pod: parts.next()?, uid: parts.next()? })
    }

    /// By its name, its namespace and name, or its uid.
    pub(crate) fn is_called(&self, wanted: &str) -> bool {
        self.uid == wanted || self.pod == wanted || wanted.split_once('/') == Some((self.namespace.as_str(), self.pod.as_str()))
    }

    fn has_uid_prefix(&self, wanted: &str) -> bool {
        wanted.len() >= UID_PREFIX_LEAST && self.uid.starts_with(wanted)
    }
}

/// Fewer characters say too little of a uid.
const UID_PREFIX_LEAST: usize = 4;

/// Bytes of a journal, both files of it.
pub(crate) fn size(path: &Path) -> u64 {
    let mut older = path.as_os_str().to_owned();
    older.push(".1");
    let bytes = |path: &Path| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    bytes(path) + bytes(Path::new(&older))
}

/// Says on stderr what is to be known of a journal.
pub(crate) fn complain(notices: &[String]) -> std::io::Result<()> {
    let mut err = std::io::stderr().lock();
    notices.iter().try_for_each(|notice| writeln!(err, "note: {notice}"))
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
    let is_driven = EngineLock::is_held(&node.pod_dir(&life.uid));
    Present { now, is_driven }
}
