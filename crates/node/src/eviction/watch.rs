//! Looks at the node now and then, and has pods go that have to.
//!
//! Acts only: what was read is handed to the [`Manager`], whose verdict is carried out. Invariant: while a pod that was evicted is still
//! there, within its time, no other is chosen.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, Pod};
use lifecycle::{Eviction, EvictionCause, Grace, Timestamp};
use runtime::{PodStats, Runtime};

use super::disk_usage::DiskMeter;
use super::local_storage::{self, Exceeded};
use super::manager::{IMMEDIATE_GRACE_SECS, Manager, Observations, Shortage};
use super::message::{ContainerUse, eviction_message, shortage_text};
use super::rank::{Candidate, is_critical, rank};
use super::reading::observations;
use super::signal::{NodeCondition, Signal};
use super::storage::PodFolders;
use super::threshold::EvictionConfig;
use crate::container_config::resources::{amount, pod_request, requests};
use crate::driver::PodHandle;
use crate::{NodeConfig, clock, error_chain};

/// A pod that may have to go.
#[derive(Clone, Debug)]
pub struct WatchedPod {
    /// Its object.
    pub pod: Arc<Pod>,
    /// Its driver.
    pub handle: PodHandle,
}

/// What one look at the node led to.
#[derive(Debug, Default)]
pub struct Look {
    /// The conditions that the node has.
    pub conditions: BTreeSet<NodeCondition>,
    /// What is short, if it is the first look at which it is.
    pub began: Option<Shortage>,
}

/// Looks at one node.
#[derive(Debug)]
pub struct Watch<R: Runtime> {
    runtime: Arc<R>,
    node: NodeConfig,
    manager: Manager,
    meter: DiskMeter,
    /// Pods that were evicted, and until when each is waited for.
    evicted: BTreeMap<String, Timestamp>,
    /// What was short at the last look.
    short: Option<Signal>,
}

/// A pod that may go, and what it uses as far as that can be told.
struct Subject<'a> {
    uid: &'a str,
    watched: &'a WatchedPod,
    stats: Option<PodStats>,
    folders: PodFolders,
}

impl<R: Runtime> Watch<R> {
    /// Watches the node with these settings.
    pub fn new(runtime: Arc<R>, config: EvictionConfig, node: NodeConfig) -> Self {
        let (manager, meter) = (Manager::new(config), DiskMeter::default());
        Self { runtime, node, manager, meter, evicted: BTreeMap::new(), short: None }
    }

    /// Time between two looks.
    pub const fn every(&self) -> Duration {
        self.manager.config().every
    }

    /// Looks for as long as it is let, at pods that do not change. The first look is after the time between two: before, there is
    /// nothing of them that could be too much.
    pub async fn keep_looking(&mut self, pods: &[WatchedPod]) {
        let is_limited = pods.iter().any(|watched| local_storage::is_limited(&watched.pod));
        if self.manager.config().thresholds.is_empty() && !is_limited {
            return;
        }
        loop {
            tokio::time::sleep(self.every()).await;
            self.look(pods, |_| std::future::ready(())).await;
        }
    }

    /// Looks once. `relieve` removes what no pod needs when the node is short of disk; only if that is not enough a pod has to go.
    pub async fn look<F>(&mut self, pods: &[WatchedPod], relieve: impl Fn(Signal) -> F + Send) -> Look
    where
        F: Future<Output = ()> + Send,
    {
        let now = clock::now();
        let observed = self.read().await;
        let verdict = self.manager.observe(&observed, now);
        let signal = verdict.reclaim.as_ref().map(|shortage| shortage.threshold.signal);
        let began = verdict.reclaim.clone().filter(|_| signal != self.short);
        self.short = signal;
        let there: Vec<&WatchedPod> = pods.iter().filter(|watched| !watched.handle.is_over()).collect();
        self.evicted.retain(|known, _| there.iter().any(|watched| uid(&watched.pod) == known));
        let is_waited_for = self.evicted.values().any(|until| now < *until);
        let mut subjects = self.subjects(&there, signal).await;
        self.measure(&subjects, signal).await;
        let has_evicted = self.evict_for_limits(&mut subjects, now);
        let mut shortage = verdict.reclaim.filter(|_| !is_waited_for && !has_evicted);
        if let Some(signal) = shortage.as_ref().map(|shortage| shortage.threshold.signal).filter(|signal| signal.is_of_disk()) {
            relieve(signal).await;
            let left = self.read().await;
            shortage = self.manager.observe(&left, clock::now()).reclaim;
        }
        if let Some(shortage) = shortage {
            self.reclaim(&shortage, &subjects, now);
        }
        Look { conditions: verdict.conditions, began }
    }

    async fn read(&self) -> Observations {
        let (root, images) = (self.node.root.clone(), self.node.images_dir());
        tokio::task::spawn_blocking(move || observations(&root, &images)).await.unwrap_or_default()
    }

    /// The pods that are to be looked at closely: those with limits of their own, and all if the node is short.
    async fn subjects<'a>(&self, there: &[&'a WatchedPod], short: Option<Signal>) -> Vec<Subject<'a>> {
        let mut subjects = Vec::new();
        for watched in there {
            let uid = uid(&watched.pod);
            let is_wanted = short.is_some() || local_storage::is_limited(&watched.pod);
            // k8s: 4.c.1
            if !is_wanted || is_critical(&watched.pod) || self.evicted.contains_key(uid) {
                continue;
            }
            let stats = self.stats(uid).await;
            let folders = PodFolders::of(&self.node, &watched.pod, &stats.clone().unwrap_or_default());
            subjects.push(Subject { uid, watched, stats, folders });
        }
        subjects
    }

    async fn measure(&mut self, subjects: &[Subject<'_>], short: Option<Signal>) {
        let of_all = short.is_some_and(Signal::is_of_disk);
        let wanted = subjects.iter().filter(|subject| of_all || local_storage::is_limited(&subject.watched.pod));
        let paths: Vec<_> = wanted.flat_map(|subject| subject.folders.paths()).collect();
        let mut meter = std::mem::take(&mut self.meter);
        let measured = tokio::task::spawn_blocking(move || {
            meter.measure(paths);
            meter
        });
        self.meter = measured.await.unwrap_or_default();
    }

    /// Evicts all pods that use more than they may; true if there are any.
    fn evict_for_limits(&mut self, subjects: &mut Vec<Subject<'_>>, now: Timestamp) -> bool {
        let mut kept = Vec::new();
        let mut has_evicted = false;
        for subject in subjects.drain(..) {
            let used = subject.folders.storage_use(&self.meter);
            match local_storage::exceeded(&subject.watched.pod, &used) {
                None => kept.push(subject),
                Some(Exceeded { signal, message }) => {
                    let by = format!("the node: {}", message.trim_end_matches(['.', ' ']));
                    let eviction = Eviction { cause: EvictionCause::LocalStorage, signal: signal.to_owned(), message };
                    self.evict(&subject, IMMEDIATE_GRACE_SECS, eviction, by, now);
                    has_evicted = true;
                }
            }
        }
        *subjects = kept;
        has_evicted
    }

    /// Evicts the first of the pods that may go.
    fn reclaim(&mut self, shortage: &Shortage, subjects: &[Subject<'_>], now: Timestamp) {
        let signal = shortage.threshold.signal;
        let mut candidates: Vec<_> = subjects.iter().map(|subject| self.candidate(subject, signal)).collect();
        rank(signal, &mut candidates);
        let first = candidates.first().and_then(|first| subjects.iter().find(|subject| subject.uid == first.uid));
        let Some(first) = first else {
            tracing::warn!(%signal, "the node is short, and there is no pod that may be evicted for it");
            return;
        };
        let containers = self.container_uses(first, signal);
        let message = eviction_message(shortage, &containers);
        let eviction = Eviction { cause: EvictionCause::NodePressure, signal: signal.name().to_owned(), message };
        let own = first.watched.pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds);
        let secs = shortage.grace_secs(self.manager.config(), own);
        self.evict(first, secs, eviction, format!("the node: {}", shortage_text(shortage)), now);
    }

    fn evict(&mut self, subject: &Subject<'_>, secs: u64, eviction: Eviction, by: String, now: Timestamp) {
        tracing::info!(pod = subject.watched.pod.metadata.name, why = eviction.message, "a pod is evicted");
        subject.watched.handle.evict(Grace::Seconds(secs), eviction, by);
        self.evicted.insert(subject.uid.to_owned(), now + lifecycle::patience(secs));
    }

    async fn stats(&self, uid: &str) -> Option<PodStats> {
        match self.runtime.pod_stats(uid).await {
            Ok(stats) => Some(stats),
            Err(error) => {
                tracing::debug!(error = error_chain(&error), uid, "what a pod uses cannot be told");
                None
            }
        }
    }

    fn candidate(&self, subject: &Subject<'_>, signal: Signal) -> Candidate {
        let spec = subject.watched.pod.spec.as_ref();
        let stats = subject.stats.as_ref();
        let usage = match signal {
            Signal::MemoryAvailable => stats.and_then(|stats| stats.memory_working_set_bytes),
            Signal::PidAvailable => stats.and_then(|stats| stats.processes),
            Signal::NodeFsAvailable | Signal::ImageFsAvailable => Some(subject.folders.disk_use(&self.meter).bytes),
            Signal::NodeFsInodesFree | Signal::ImageFsInodesFree => Some(subject.folders.disk_use(&self.meter).inodes),
        };
        // Of inodes and processes nobody can ask for any.
        let asked = pod_request(&subject.watched.pod, signal.resource()).unwrap_or_default();
        let request = u64::try_from(asked.units()).unwrap_or(0);
        Candidate { uid: subject.uid.to_owned(), priority: spec.and_then(|spec| spec.priority).unwrap_or(0), usage, request }
    }

    /// k8s: 8.a.18
    fn container_uses(&self, subject: &Subject<'_>, signal: Signal) -> Vec<ContainerUse> {
        let used = subject.folders.storage_use(&self.meter);
        let stats = subject.stats.clone().unwrap_or_default();
        let one = |container: &Container| {
            let usage = match signal {
                Signal::MemoryAvailable => {
                    stats.containers.iter().rev().find(|stats| stats.name == container.name)?.memory_working_set_bytes?
                }
                Signal::NodeFsAvailable | Signal::ImageFsAvailable => *used.containers.get(&container.name)?,
                Signal::NodeFsInodesFree | Signal::ImageFsInodesFree | Signal::PidAvailable => return None,
            };
            let list = requests(container);
            let request = amount(list, signal.resource()).ok().flatten().unwrap_or_default();
            let request_text = list.and_then(|list| list.get(signal.resource())).map_or_else(|| "0".to_owned(), |text| text.0.clone());
            let request = u64::try_from(request.units()).unwrap_or(0);
            Some(ContainerUse { name: container.name.clone(), usage, request, request_text })
        };
        let spec = subject.watched.pod.spec.iter();
        spec.flat_map(|spec| spec.containers.iter().chain(spec.init_containers.iter().flatten())).filter_map(one).collect()
    }
}

fn uid(pod: &Pod) -> &str {
    pod.metadata.uid.as_deref().unwrap_or_default()
}
