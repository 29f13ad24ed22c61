//! Static pods: the files of the manifest folder on one side, the agent and the mirrors in the API on the other.
//!
//! ```text
//!   ManifestFolder ── pods that are wanted ──▶ StaticPods ──▶ Agent
//!                                                  │
//!                             mirrors, which the API shows, and which stop nothing
//! ```
//!
//! Invariants: of pods with one name only one is driven at a time (k8s: 11.c.2); a mirror goes after its pod (k8s: 11.c.7).

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use k8s_openapi::api::core::v1::PodStatus;
use node::agent::{Agent, PodApi as _};
use node::events::node_event;
use node::static_pods::{FILE_ANNOTATION, Learnt, annotation, is_mirror, is_over, is_static, mirror, uid_on_node};
use node::{NodeConfig, Pod};
use runtime::EmbeddedRuntime;
use server::client::NodeClient;

use super::api::ServerApi;
use super::manifests::ManifestFolder;

/// The file below the root that tells of manifests that cannot be used, a line each.
pub(crate) const BAD_MANIFESTS_FILE: &str = "bad-manifests";

/// Namespace and name.
type FullName = (String, String);

/// The pods of the manifest folder.
#[derive(Debug)]
pub(super) struct StaticPods {
    folder: Option<ManifestFolder>,
    /// Where the files that cannot be used are told of, for `usher ps`.
    complaints: PathBuf,
    node_name: String,
    client: NodeClient,
    api: ServerApi,
    /// Whether the folder could be read: before that nothing is known of what is wanted.
    is_known: bool,
    wanted: BTreeMap<FullName, Pod>,
    bad_files: BTreeSet<String>,
    mirrors: BTreeMap<FullName, Pod>,
    /// Uids of pods that were asked to go because their file is another one, or gone.
    leaving: BTreeSet<String>,
    /// Uids of pods that this engine has run.
    begun: BTreeSet<String>,
    /// What could not be done with a mirror, as it was told.
    told: BTreeMap<FullName, String>,
}

fn full_name(pod: &Pod) -> FullName {
    (pod.metadata.namespace.clone().unwrap_or_default(), pod.metadata.name.clone().unwrap_or_default())
}

fn uid(pod: &Pod) -> &str {
    pod.metadata.uid.as_deref().unwrap_or_default()
}

fn is_going(mirror: &Pod) -> bool {
    mirror.metadata.deletion_timestamp.is_some()
}

impl StaticPods {
    /// Without a folder there are none, and those that were there before go.
    pub(super) fn new(folder: Option<ManifestFolder>, node: &NodeConfig, client: NodeClient, api: ServerApi) -> Self {
        Self {
            is_known: folder.is_none(),
            folder,
            complaints: node.root.join(BAD_MANIFESTS_FILE),
            node_name: node.node_name.clone(),
            client,
            api,
            wanted: BTreeMap::new(),
            bad_files: BTreeSet::new(),
            mirrors: BTreeMap::new(),
            leaving: BTreeSet::new(),
            begun: BTreeSet::new(),
            told: BTreeMap::new(),
        }
    }

    /// Waits until a file may have changed. May be dropped and called again.
    pub(super) async fn changed(&mut self) {
        match &mut self.folder {
            Some(folder) => folder.changed().await,
            None => std::future::pending().await,
        }
    }

    /// Looks at the files, and tells what is wrong with them.
    pub(super) async fn look(&mut self) {
        let Some(folder) = &mut self.folder else {
            write_complaints(&self.complaints, &[]);
            return;
        };
        let (look, news) = folder.look();
        if let Some(look) = look {
            write_complaints(&self.complaints, &look.complaints);
            self.is_known = true;
            self.wanted = look.pods.into_iter().map(|pod| (full_name(&pod), pod)).collect();
            self.bad_files = look.bad_files.into_iter().collect();
        }
        for text in news {
            tracing::error!(why = text, "a manifest is left out");
            let event = node_event(&self.node_name, "FailedStaticPod", text, node::clock::moment().wall_nanos);
            self.api.record_event(event, true).await;
        }
    }

    /// The API shows this mirror, or shows it differently.
    pub(super) async fn handle_mirror(&mut self, mirror: Pod) {
        if let Some(status) = &mirror.status {
            self.api.book().learn(uid_on_node(&mirror), status).await;
        }
        self.mirrors.insert(full_name(&mirror), mirror);
    }

    /// The API does not show this mirror any more.
    pub(super) fn handle_mirror_gone(&mut self, mirror: &Pod) {
        let name = full_name(mirror);
        if self.mirrors.get(&name).is_some_and(|known| uid(known) == uid(mirror)) {
            self.mirrors.remove(&name);
        }
    }

    /// Uids of all that is wanted: the API need not know them.
    pub(super) fn uids(&self, agent: &Agent<EmbeddedRuntime, ServerApi>) -> BTreeSet<String> {
        // What is driven and not wanted is asked to go by `apply`, in other words.
        let driven = agent.driven().into_iter().filter(|pod| is_static(pod)).map(|pod| uid(&pod).to_owned());
        driven.chain(self.wanted.values().map(|pod| uid(pod).to_owned())).collect()
    }

    /// Has the agent run what is wanted and stop what is not, and the API show it.
    pub(super) async fn apply(&mut self, agent: &mut Agent<EmbeddedRuntime, ServerApi>) {
        if !self.is_known {
            return;
        }
        let driven: Vec<Arc<Pod>> = agent.driven().into_iter().filter(|pod| is_static(pod)).collect();
        for pod in &driven {
            self.dismiss(pod, agent);
        }
        self.forget_what_is_over(&driven, agent).await;
        let by_name: BTreeMap<FullName, &Arc<Pod>> = driven.iter().map(|pod| (full_name(pod), pod)).collect();
        for (name, pod) in self.wanted.clone() {
            match by_name.get(&name) {
                // k8s: 4.a.25, 11.c.2
                Some(other) if uid(other) != uid(&pod) => {}
                Some(_) => {
                    self.begun.insert(uid(&pod).to_owned());
                    agent.handle_pod(pod);
                }
                None if self.has_ended(&pod).await => {}
                None => self.begin(&name, pod, agent).await,
            }
        }
        self.show(&by_name).await;
    }

    /// Asks a pod to go whose file says something else, or is gone. A file that cannot be used says nothing.
    fn dismiss(&mut self, pod: &Arc<Pod>, agent: &mut Agent<EmbeddedRuntime, ServerApi>) {
        let is_wanted = self.wanted.get(&full_name(pod)).is_some_and(|wanted| uid(wanted) == uid(pod));
        let file = annotation(pod, FILE_ANNOTATION).unwrap_or_default();
        if is_wanted || self.bad_files.contains(file) {
            return;
        }
        if self.leaving.insert(uid(pod).to_owned()) {
            // k8s: 4.a.3
            agent.handle_removed(uid(pod), &format!("its manifest {file}, which is gone or says something else"));
        }
    }

    /// Of pods that are neither wanted nor driven nothing is remembered. One that waits for others to go waits in vain.
    async fn forget_what_is_over(&mut self, driven: &[Arc<Pod>], agent: &mut Agent<EmbeddedRuntime, ServerApi>) {
        let present: BTreeSet<String> =
            self.wanted.values().map(|pod| uid(pod).to_owned()).chain(driven.iter().map(|pod| uid(pod).to_owned())).collect();
        for gone in self.begun.difference(&present) {
            agent.handle_removed(gone, "its manifest, which is gone");
        }
        self.begun.retain(|uid| present.contains(uid));
        self.leaving.retain(|uid| present.contains(uid));
        self.api.book().open().await.retain(|uid, _| present.contains(uid));
    }

    /// Whether a pod that is not driven has ended for good.
    async fn has_ended(&self, pod: &Pod) -> bool {
        if self.leaving.contains(uid(pod)) {
            return false;
        }
        let learnt = if self.begun.contains(uid(pod)) { Learnt::ByThisEngine } else { Learnt::Before };
        let known = self.api.book().status(uid(pod)).await;
        known.is_some_and(|status| is_over(pod, &status, learnt))
    }

    async fn begin(&mut self, name: &FullName, pod: Pod, agent: &mut Agent<EmbeddedRuntime, ServerApi>) {
        self.leaving.remove(uid(&pod));
        self.begun.insert(uid(&pod).to_owned());
        // What is known of it is of another life.
        if self.api.book().forget(uid(&pod)).await
            && let Some(old) = self.mirrors.get(name).cloned()
        {
            self.remove_mirror(name, &old).await;
        }
        agent.handle_pod(pod);
    }

    /// Has the API show a mirror of each pod that is wanted or not gone yet, and no other.
    async fn show(&mut self, driven: &BTreeMap<FullName, &Arc<Pod>>) {
        let mut shown: BTreeMap<FullName, Pod> = self.wanted.clone();
        // The pod that is there is shown until it is gone; k8s: 11.c.7
        shown.extend(driven.iter().map(|(name, pod)| (name.clone(), Pod::clone(pod))));
        for (name, old) in self.mirrors.clone() {
            let is_right = shown.get(&name).is_some_and(|pod| uid(pod) == uid_on_node(&old)) && !is_going(&old);
            if !is_right {
                self.remove_mirror(&name, &old).await;
            }
        }
        for (name, pod) in shown {
            if !self.mirrors.contains_key(&name) {
                self.make_mirror(&name, &pod).await;
            }
        }
        self.told.retain(|name, _| self.wanted.contains_key(name) || driven.contains_key(name));
    }

    /// k8s: 11.c.6
    async fn remove_mirror(&mut self, name: &FullName, old: &Pod) {
        match self.client.remove_pod(&name.0, &name.1, uid(old)).await {
            Ok(()) => drop(self.mirrors.remove(name)),
            Err(error) => self.tell(name, format!("cannot remove the mirror of a static pod: {error}")),
        }
    }

    async fn make_mirror(&mut self, name: &FullName, pod: &Pod) {
        // What was told of it may be on its way.
        if let Ok(there) = self.client.pod(&name.0, &name.1)
            && is_mirror(&there)
            && uid_on_node(&there) == uid(pod)
        {
            self.mirrors.insert(name.clone(), there);
            return;
        }
        let mirror = mirror(pod, &self.node_name, self.client.node_uid().as_deref());
        match self.api.create_mirror(&mirror).await {
            Ok(made) => {
                self.told.remove(name);
                self.mirrors.insert(name.clone(), made);
            }
            // It runs all the same.
            Err(error) => self.tell(name, format!("cannot show a static pod in the API: {error}")),
        }
    }

    fn tell(&mut self, name: &FullName, text: String) {
        if self.told.get(name) != Some(&text) {
            tracing::warn!(namespace = name.0, name = name.1, why = text, "a mirror is not as it should be");
            self.told.insert(name.clone(), text);
        }
    }
}

/// Only what has changed is written.
fn write_complaints(path: &Path, complaints: &[String]) {
    let fresh: String = complaints.iter().map(|complaint| complaint.replace('\n', " ") + "\n").collect();
    let known = std::fs::read_to_string(path).unwrap_or_default();
    if fresh == known {
        return;
    }
    let written = if fresh.is_empty() { std::fs::remove_file(path) } else { std::fs::write(path, fresh) };
    if let Err(error) = written {
        tracing::warn!(%error, path = %path.display(), "manifests that cannot be used cannot be told of");
    }
}

/// The newest status of each static pod: the API forgets it when someone deletes a mirror (k8s: 11.c.8).
#[derive(Clone, Debug, Default)]
pub(super) struct Book {
    statuses: Arc<tokio::sync::Mutex<BTreeMap<String, PodStatus>>>,
}

impl Book {
    /// The statuses, for as long as they are held.
    pub(super) async fn open(&self) -> tokio::sync::MutexGuard<'_, BTreeMap<String, PodStatus>> {
        self.statuses.lock().await
    }

    async fn status(&self, uid: &str) -> Option<PodStatus> {
        self.open().await.get(uid).cloned()
    }

    /// What the API says counts only where nothing newer is known.
    async fn learn(&self, uid: &str, status: &PodStatus) {
        self.open().await.entry(uid.to_owned()).or_insert_with(|| status.clone());
    }

    /// True if something was known.
    async fn forget(&self, uid: &str) -> bool {
        self.open().await.remove(uid).is_some()
    }
}
