//! Follows the manifests while their pods run: a change of a ConfigMap or Secret reaches the volumes that show it.
//!
//! Only those two: a pod that is changed in its file is not changed itself, as nobody has said what should become of the one that
//! runs. A file with mistakes changes nothing. Looked at, not listened to: editors replace files, and one look a second costs nothing.

use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use api::{LoadOptions, NodeSupport, Overrides};
use node::PodHandle;
use node::container_config::Objects;

use crate::manifest;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What is followed, and for whom.
pub(crate) struct Follower {
    /// The files of the command line.
    pub(crate) files: Vec<PathBuf>,
    /// Of objects that name none.
    pub(crate) namespace: String,
    /// What the node does for its pods.
    pub(crate) support: NodeSupport,
    /// What the files said so far.
    pub(crate) objects: Objects,
    /// The pods, by name.
    pub(crate) pods: Vec<(String, PodHandle)>,
    /// Say nothing.
    pub(crate) quiet: bool,
}

/// By what a change of a file is seen.
type Look = Vec<Option<(u64, u64, i64, i64)>>;

impl Follower {
    /// Follows until it is dropped.
    pub(crate) async fn follow(mut self) {
        // Standard input and pipes are read once; none of the others is followed without them.
        if !self.files.iter().all(|file| std::fs::metadata(file).is_ok_and(|metadata| metadata.is_file())) {
            return;
        }
        let mut seen = look(&self.files);
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let now = look(&self.files);
            if now != seen {
                seen = now;
                self.read_again().await;
            }
        }
    }

    async fn read_again(&mut self) {
        let overrides = Overrides::default();
        let options = LoadOptions { namespace: &self.namespace, overrides: &overrides, node: &self.support };
        let fresh = match manifest::read(&self.files, options, false) {
            Ok(Ok(manifests)) => manifests.objects,
            Ok(Err(refused)) => return self.say(&format!("{refused}note: ConfigMaps and Secrets stay as they were\n")),
            // Between two names, perhaps; the next look will tell.
            Err(error) => return tracing::debug!(error = format!("{error:#}"), "a manifest cannot be read again"),
        };
        let (objects, kept) = self.objects.replaced_by(fresh);
        for object in kept {
            self.say(&format!("note: {object} is immutable and stays as it was\n"));
        }
        if objects == self.objects {
            return;
        }
        self.objects = objects;
        for (name, pod) in &self.pods {
            match pod.update_objects(self.objects.clone()).await {
                Ok(volumes) => {
                    volumes.iter().for_each(|volume| self.say(&format!("note: pod {name}: volume {volume} has its new content\n")))
                }
                Err(error) => self.say(&format!("warning: pod {name}: {}\n", node::error_chain(&error))),
            }
        }
    }

    fn say(&self, text: &str) {
        if !self.quiet {
            // Nobody may be listening any more; the pods run on.
            let _ = std::io::stderr().lock().write_all(text.as_bytes());
        }
    }
}

fn look(files: &[PathBuf]) -> Look {
    let one = |file: &Path| {
        let metadata = std::fs::metadata(file).ok()?;
        Some((metadata.ino(), metadata.len(), metadata.mtime(), metadata.mtime_nsec()))
    };
    files.iter().map(|file| one(file)).collect()
}
