//! The journals of this machine as the page reads them, and who is told that something passed.

use std::path::Path;
use std::time::UNIX_EPOCH;

use chronicle::Life;
use chronicle::chart::view;
use futures_util::future::BoxFuture;
use node::journal::{self, Live};
use node::observer::Observer;
use node::{NodeConfig, error_chain};
use serde_json::Value;
use server::backend::BackendError;
use server::lives::{Lives, Remembered, Sight};
use tokio::sync::broadcast;

use crate::commands::journals::{of_uid, present};

/// Changes that a page may be behind before it looks anew: it does so anyway after each.
const CHANGES_BEHIND_MAX: usize = 256;

/// The journals, and the pages that are open.
#[derive(Debug)]
pub(super) struct Journals {
    node: NodeConfig,
    changes: broadcast::Sender<String>,
}

impl Journals {
    pub(super) fn new(node: NodeConfig) -> Self {
        Self { node, changes: broadcast::Sender::new(CHANGES_BEHIND_MAX) }
    }
}

impl Observer for Journals {
    fn passed(&self, uid: &str, live: &Live) {
        let is_shown = match live {
            Live::Entry(_) => true,
            // What is not kept is not in what is read either.
            Live::Passing { .. } | Live::Output { .. } | Live::Pull { .. } => false,
        };
        if is_shown && self.changes.receiver_count() > 0 {
            let _ = self.changes.send(uid.to_owned());
        }
    }

    fn ended(&self, uid: &str) {
        let _ = self.changes.send(uid.to_owned());
    }
}

impl Lives for Journals {
    fn remembered(&self) -> BoxFuture<'_, Vec<Remembered>> {
        let folder = self.node.journal_dir();
        Box::pin(async move { tokio::task::spawn_blocking(move || list(&folder)).await.unwrap_or_default() })
    }

    fn life(&self, uid: String, sight: Sight) -> BoxFuture<'_, Result<Value, BackendError>> {
        let node = self.node.clone();
        Box::pin(async move {
            let read = tokio::task::spawn_blocking(move || read(&node, &uid, sight)).await;
            read.unwrap_or_else(|_| Err(BackendError::Failed("the journal cannot be read".to_owned())))
        })
    }

    fn changes(&self) -> broadcast::Receiver<String> {
        self.changes.subscribe()
    }
}

fn list(folder: &Path) -> Vec<Remembered> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| remembered(&entry.path())).collect()
}

fn remembered(path: &Path) -> Option<Remembered> {
    let mut parts = path.file_name()?.to_str()?.strip_suffix(".jsonl")?.splitn(3, '_').map(ToOwned::to_owned);
    let modified = std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok()?;
    let last_millis = modified.duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
    Some(Remembered { namespace: parts.next()?, name: parts.next()?, uid: parts.next()?, last_millis })
}

fn not_remembered(node: &NodeConfig) -> BackendError {
    if node.journal.bytes_max == 0 {
        let why = "No journals are kept on this machine (--journal-max-bytes 0), and a life is shown from its journal.";
        BackendError::Invalid(why.to_owned())
    } else {
        BackendError::NotFound("No such pod is remembered.".to_owned())
    }
}

fn read(node: &NodeConfig, uid: &str, sight: Sight) -> Result<Value, BackendError> {
    let path = of_uid(node, uid).ok_or_else(|| not_remembered(node))?;
    let journal = journal::read(&path).map_err(|error| BackendError::Failed(error_chain(&error)))?;
    let life = Life::of(&journal).ok_or_else(|| BackendError::Failed("the journal has no heading".to_owned()))?;
    let life = match sight {
        Sight::Everything => life,
        Sight::WithoutOutput => life.without_output(),
    };
    let shown = view(&life, present(node, &life));
    serde_json::to_value(shown).map_err(|error| BackendError::Failed(error.to_string()))
}
