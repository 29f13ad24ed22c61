//! Finding pods by the names that people give.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use node::pod_files::is_set_aside;
use node::{NodeConfig, Pod};

/// A pod that has a folder on this machine.
#[derive(Debug)]
pub(crate) struct FoundPod {
    pub(crate) uid: String,
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) folder: PathBuf,
    /// The manifest, if it can be read.
    pub(crate) pod: Option<Pod>,
}

impl FoundPod {
    pub(crate) fn is_called(&self, wanted: &str) -> bool {
        self.uid == wanted || self.name == wanted || wanted.split_once('/') == Some((self.namespace.as_str(), self.name.as_str()))
    }

    /// A pod that the daemon knows.
    pub(crate) fn of_daemon(node: &NodeConfig, pod: Pod) -> Self {
        let metadata = pod.metadata.clone();
        let uid = metadata.uid.unwrap_or_default();
        Self {
            name: metadata.name.unwrap_or_default(),
            namespace: metadata.namespace.unwrap_or_default(),
            folder: node.pod_dir(&uid),
            uid,
            pod: Some(pod),
        }
    }

    pub(crate) fn full_name(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

/// All pods with a folder, by namespace and name.
pub(crate) fn all(node: &NodeConfig) -> anyhow::Result<Vec<FoundPod>> {
    let folder = node.root.join("pods");
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("cannot list {}", folder.display())),
    };
    let mut pods = Vec::new();
    for entry in entries {
        let entry = entry.with_context(|| format!("cannot list {}", folder.display()))?;
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) && !is_set_aside(&entry.path()) {
            pods.extend(found(node, &entry.path()));
        }
    }
    pods.sort_by(|a, b| (&a.namespace, &a.name, &a.uid).cmp(&(&b.namespace, &b.name, &b.uid)));
    Ok(pods)
}

/// `None` if nothing of it is there but the folder: it begins, or has just gone.
fn found(node: &NodeConfig, folder: &Path) -> Option<FoundPod> {
    let uid = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let pod = node::read_manifest(&node.manifest_path(&uid)).ok();
    if pod.is_none() && !node.manifest_path(&uid).exists() && !node.state_path(&uid).exists() {
        return None;
    }
    let metadata = pod.as_ref().map(|pod| pod.metadata.clone()).unwrap_or_default();
    Some(FoundPod {
        name: metadata.name.unwrap_or_else(|| "?".to_owned()),
        namespace: metadata.namespace.unwrap_or_else(|| "?".to_owned()),
        uid,
        folder: folder.to_owned(),
        pod,
    })
}

/// The pods that are meant by a name; an error if there is none.
pub(crate) fn called(node: &NodeConfig, wanted: &str) -> anyhow::Result<Vec<FoundPod>> {
    let found: Vec<_> = all(node)?.into_iter().filter(|pod| pod.is_called(wanted)).collect();
    anyhow::ensure!(!found.is_empty(), "no pod is called {wanted:?}; `usher ps` lists those that are there");
    Ok(found)
}

/// The one pod that is meant by a name; an error if there is none, or there are several.
pub(crate) fn the_one(node: &NodeConfig, wanted: &str) -> anyhow::Result<FoundPod> {
    let mut found = called(node, wanted)?;
    anyhow::ensure!(
        found.len() == 1,
        "{} pods are called {wanted:?}: name one as namespace/name or by its uid: {}",
        found.len(),
        found.iter().map(|pod| format!("{} ({})", pod.full_name(), pod.uid)).collect::<Vec<_>>().join(", ")
    );
    Ok(found.remove(0))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::Cli;
    use crate::commands::node_config;

    #[test]
    fn a_pod_that_begins_or_goes_is_not_shown_by_half() {
        let root = tempfile::tempdir().expect("a folder");
        let root_option = format!("--root={}", root.path().display());
        let cli = Cli::try_parse_from(["usher", "ps", &root_option]).expect("a command line");
        let node = node_config(&cli.global);
        let file = |folder: &str, name: &str, content: &str| {
            let folder = root.path().join("pods").join(folder);
            std::fs::create_dir_all(&folder).expect("a folder");
            std::fs::write(folder.join(name), content).expect("a file");
        };
        let manifest = |name: &str| format!(r#"{{"metadata":{{"name":"{name}","namespace":"default","uid":"u"}}}}"#);
        file("whole", "pod.json", &manifest("whole"));
        file("begins", "engine.lock", "");
        file(".gone-u-1-0", "pod.json", &manifest("gone"));
        file("broken", "pod.json", "{");
        let found: Vec<_> = all(&node).expect("listed").into_iter().map(|pod| (pod.uid, pod.name)).collect();
        assert_eq!(found, [("broken".to_owned(), "?".to_owned()), ("whole".to_owned(), "whole".to_owned())]);
    }
}
