//! Traces of pods' lives, sent to an OpenTelemetry collector by OTLP (HTTP with JSON).
//!
//! ```text
//!   what passes ──uid──▶ bounded queue ──▶ journal ──▶ spans that were not sent yet ──▶ POST /v1/traces
//! ```
//!
//! Nothing here holds up a pod: what passes leaves only a uid behind, and when the queue is full not even that; the pod's next
//! entry asks again. A collector that refuses or is away is tried a few times; then the spans are lost, and that is said once.

mod client;
mod json;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context as _;
use chronicle::trace::{TraceSpan, trace};
use chronicle::{Life, Record};
use node::NodeConfig;
use node::journal::Live;
use node::observer::Observer;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

pub(crate) use self::client::Endpoint;
use self::client::{Collector, Headers};
use crate::environment;

/// Pods that wait to be looked at: one entry each is enough, so more than there are pods is never needed.
const QUEUE_MAX: usize = 1024;
/// After something passed it is waited so long for more, so that spans go out together.
const GATHER: Duration = Duration::from_millis(500);
/// Spans of one request.
const SPANS_MAX: usize = 200;
/// Attempts at one request, and the pauses between them.
const PAUSES: [Duration; 3] = [Duration::from_millis(200), Duration::from_secs(1), Duration::from_secs(5)];
/// How long the last spans may take when the engine ends.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Sends what passes in pods as spans.
#[derive(Debug)]
pub(crate) struct Exporter {
    queue: Arc<Mutex<Option<mpsc::Sender<Passed>>>>,
    task: JoinHandle<()>,
}

/// Is told what passes; see [`Exporter::observer`].
#[derive(Debug)]
struct Ear(Arc<Mutex<Option<mpsc::Sender<Passed>>>>);

#[derive(Debug)]
enum Passed {
    Something(String),
    End(String),
}

impl Exporter {
    /// Begins, if it is said where to send spans: by flag, or else by the environment.
    ///
    /// # Errors
    /// The environment names no address of a collector or no headers, no journals are kept, or the certificates of this machine cannot be used.
    pub(crate) fn wanted(flag: Option<Endpoint>, node: &NodeConfig) -> anyhow::Result<Option<Self>> {
        let of_environment = || environment::text(environment::OTLP_ENDPOINT).map(|text| text.parse::<Endpoint>());
        let endpoint = match flag.map(Ok).or_else(of_environment).transpose() {
            Ok(endpoint) => endpoint,
            Err(error) => anyhow::bail!("{}: {error}", environment::OTLP_ENDPOINT),
        };
        anyhow::ensure!(
            endpoint.is_none() || node.journal.bytes_max > 0,
            "traces are made from journals: leave --journal-max-bytes 0 out, or --otlp-endpoint and {}",
            environment::OTLP_ENDPOINT
        );
        let headers = environment::text(environment::OTLP_HEADERS).map(|text| text.parse::<Headers>()).transpose();
        let headers = headers.map_err(|error| anyhow::anyhow!("{}: {error}", environment::OTLP_HEADERS));
        endpoint.map(|endpoint| Self::start(endpoint, headers?.unwrap_or_default(), node.clone())).transpose()
    }

    /// Begins. Journals are read from where `node` writes them.
    ///
    /// # Errors
    /// The certificates of this machine cannot be used.
    fn start(endpoint: Endpoint, headers: Headers, node: NodeConfig) -> anyhow::Result<Self> {
        let collector = Collector::new(endpoint, headers).context("cannot set up the sending of traces")?;
        let (queue, passed) = mpsc::channel(QUEUE_MAX);
        let sender = Sender { collector, node, pods: BTreeMap::new(), has_complained: false };
        Ok(Self { queue: Arc::new(Mutex::new(Some(queue))), task: tokio::spawn(sender.run(passed)) })
    }

    /// To be told what passes.
    pub(crate) fn observer(&self) -> Arc<dyn Observer> {
        Arc::new(Ear(Arc::clone(&self.queue)))
    }

    /// Ends when everything is sent that can be sent in a few seconds.
    pub(crate) async fn finish(mut self) {
        // Without a sender the queue ends behind what is in it.
        self.queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        if tokio::time::timeout(LAST_WORDS, &mut self.task).await.is_err() {
            self.task.abort();
            tracing::warn!("the last spans were not sent: the collector takes too long");
        }
    }
}

impl Ear {
    fn tell(&self, passed: Passed) {
        let queue = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(queue) = &*queue {
            // Full: the pods in it are looked at soon, and this one when its next stage ends.
            let _ = queue.try_send(passed);
        }
    }
}

impl Observer for Ear {
    fn passed(&self, uid: &str, live: &Live) {
        if let Live::Entry(entry) = live
            && ends_stage(&entry.record)
        {
            self.tell(Passed::Something(uid.to_owned()));
        }
    }

    fn ended(&self, uid: &str) {
        self.tell(Passed::End(uid.to_owned()));
    }
}

/// Whether a stage may have ended with this.
const fn ends_stage(record: &Record) -> bool {
    match record {
        Record::Event(_) | Record::Status(_) => true,
        Record::Opened { .. }
        | Record::Spec(_)
        | Record::Kill(_)
        | Record::Action(_)
        | Record::Runtime(_)
        | Record::Warning { .. }
        | Record::Pull(_)
        | Record::Volumes(_)
        | Record::Hook(_)
        | Record::Probes(_)
        | Record::OutputCut(_)
        | Record::Session(_)
        | Record::Full => false,
    }
}

/// What was sent of one pod.
#[derive(Debug, Default)]
struct Sent(BTreeSet<[u8; 8]>);

struct Sender {
    collector: Collector,
    node: NodeConfig,
    pods: BTreeMap<String, Sent>,
    has_complained: bool,
}

impl Sender {
    async fn run(mut self, mut passed: mpsc::Receiver<Passed>) {
        while let Some(first) = passed.recv().await {
            let mut all = vec![first];
            let is_over = self.gather(&mut passed, &mut all).await;
            let mut uids = BTreeSet::new();
            let mut ended = Vec::new();
            for one in all {
                match one {
                    Passed::Something(uid) => drop(uids.insert(uid)),
                    Passed::End(uid) => {
                        uids.insert(uid.clone());
                        ended.push(uid);
                    }
                }
            }
            for uid in &uids {
                self.send_spans_of(uid).await;
            }
            for uid in ended {
                self.pods.remove(&uid);
            }
            if is_over {
                return;
            }
        }
    }

    /// Takes what comes for a while; true if nothing more will come.
    async fn gather(&self, passed: &mut mpsc::Receiver<Passed>, all: &mut Vec<Passed>) -> bool {
        let end = tokio::time::Instant::now() + GATHER;
        while all.len() < QUEUE_MAX {
            match tokio::time::timeout_at(end, passed.recv()).await {
                Ok(Some(one)) => all.push(one),
                Ok(None) => return true,
                Err(_) => return false,
            }
        }
        false
    }

    async fn send_spans_of(&mut self, uid: &str) {
        let (node, wanted) = (self.node.clone(), uid.to_owned());
        let Ok(Some(life)) = tokio::task::spawn_blocking(move || read(&node, &wanted)).await else { return };
        let told = trace(&life);
        let is_new = !self.pods.contains_key(uid);
        let sent = self.pods.entry(uid.to_owned()).or_default();
        if is_new && let Some(since) = life.engines.last().and_then(|engine| engine.away_since) {
            // The engine before has sent what ended before it went away.
            let before = life.wall_nanos(since);
            sent.0.extend(told.spans.iter().filter(|span| span.end_nanos <= before).map(|span| span.id));
        }
        let fresh: Vec<TraceSpan> = told.spans.into_iter().filter(|span| !sent.0.contains(&span.id)).collect();
        sent.0.extend(fresh.iter().map(|span| span.id));
        for spans in fresh.chunks(SPANS_MAX) {
            let body = json::request(&life, &self.node.node_name, told.id, spans).to_string();
            self.send(body).await;
        }
    }

    async fn send(&mut self, body: String) {
        let mut pauses = PAUSES.into_iter();
        loop {
            let error = match self.collector.post(body.clone()).await {
                Ok(()) => {
                    self.has_complained = false;
                    return;
                }
                Err(error) => error,
            };
            match pauses.next().filter(|_| error.may_pass() && !self.has_complained) {
                Some(pause) => tokio::time::sleep(pause).await,
                None => {
                    if !std::mem::replace(&mut self.has_complained, true) {
                        tracing::warn!(error = node::error_chain(&error), endpoint = %self.collector.endpoint(), "spans are lost until the collector takes them again");
                    }
                    return;
                }
            }
        }
    }
}

fn read(node: &NodeConfig, uid: &str) -> Option<Life> {
    let path: PathBuf = crate::commands::journals::of_uid(node, uid)?;
    Life::of(&node::journal::read(&path).ok()?)
}
