//! Measures of all pods of a node, as Prometheus counts them. What each means stands in `docs/metrics.md`.
//!
//! What is measured is decided by [`chronicle::measure`]; this adds it up. Names are the reference's where it has one for the same
//! thing. Invariant: labels are words of closed sets, all of which are there from the beginning, so that the number of series does
//! not grow with pods, and a rate is right from the first event on.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chronicle::blame::Blame;
use chronicle::measure::{Census, Measure, Meter, Stage, blame_word, stop_word, trigger_word};
use lifecycle::{Hook, KillTrigger, ProbeKind, Role, StopCause};
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use crate::eviction::Signal;
use crate::eviction::local_storage::LIMIT_SIGNALS;
use crate::journal::Live;
use crate::observer::Observer;

/// Counts what the pods of a node go through.
#[derive(Debug)]
pub struct Metrics {
    families: Families,
    pods: Arc<Pods>,
}

/// The meters of the pods that are driven.
type Pods = Mutex<BTreeMap<String, Meter>>;

#[derive(Debug)]
struct Families {
    pods_started: IntCounter,
    pods_started_errors: IntCounterVec,
    pod_start: HistogramVec,
    pod_ready: HistogramVec,
    terminations: IntCounterVec,
    evictions: IntCounterVec,
    preemptions: IntCounterVec,
    sandboxes: HistogramVec,
    sandbox_errors: IntCounter,
    pulls: HistogramVec,
    http_fallbacks: IntCounter,
    sleeps_cut: IntCounter,
    stages: HistogramVec,
    containers_started: IntCounterVec,
    container_errors: IntCounterVec,
    restarts: IntCounterVec,
    exits: IntCounterVec,
    hooks: HistogramVec,
    hook_runs: IntCounterVec,
    probes: IntCounterVec,
    probe_duration: HistogramVec,
    probe_lateness: HistogramVec,
    grace_used: HistogramVec,
    signal_to_exit: HistogramVec,
    kills: IntCounterVec,
}

impl Metrics {
    /// Nothing has happened yet; everything that can be counted is registered.
    ///
    /// # Errors
    /// When `registry` has a metric of one of these names already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let families = Families::register(registry)?;
        families.begin();
        let pods = Arc::<Pods>::default();
        registry.register(Box::new(CensusCollector::new(Arc::clone(&pods))?))?;
        Ok(Self { families, pods })
    }
}

impl Observer for Metrics {
    fn passed(&self, uid: &str, live: &Live) {
        let (at, record) = match live {
            Live::Entry(entry) => (entry.at, &entry.record),
            Live::Passing { at, record } => (*at, &**record),
            Live::Output { .. } | Live::Pull { .. } => return,
        };
        let measured = {
            let mut pods = self.pods.lock().unwrap_or_else(PoisonError::into_inner);
            match pods.get_mut(uid) {
                Some(meter) => meter.take(at, record),
                None => pods.entry(uid.to_owned()).or_default().take(at, record),
            }
        };
        measured.iter().for_each(|measure| self.families.count(measure));
    }

    fn ended(&self, uid: &str) {
        self.pods.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }
}

impl Families {
    fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let plain = |name, help| registered(registry, IntCounter::new(name, help)?);
        let counter = |name, help, labels: &[&str]| registered(registry, IntCounterVec::new(Opts::new(name, help), labels)?);
        let histogram = |name, help, buckets: &[f64], labels: &[&str]| {
            registered(registry, HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets.to_vec()), labels)?)
        };
        Ok(Self {
            pods_started: plain("kubelet_started_pods_total", "Sandboxes of pods that were to be made.")?,
            pods_started_errors: counter("kubelet_started_pods_errors_total", "Sandboxes of pods that could not be made.", &["message"])?,
            pod_start: histogram(
                "kubelet_pod_start_duration_seconds",
                "From the first sight of a pod until all its containers run.",
                POD_BUCKETS,
                &[],
            )?,
            pod_ready: histogram("usher_pod_ready_duration_seconds", "From the first sight of a pod until it is Ready.", POD_BUCKETS, &[])?,
            terminations: counter("usher_pod_terminations_total", "Pods that began to go, by why.", &["trigger"])?,
            evictions: counter("kubelet_evictions", "Pods that the node began to evict, by what for.", &["eviction_signal"])?,
            preemptions: counter(
                "kubelet_preemptions",
                "Pods that began to go for a critical one, by what it needs.",
                &["preemption_signal"],
            )?,
            sandboxes: histogram(
                "kubelet_run_podsandbox_duration_seconds",
                "Sandboxes that were made, without volumes.",
                RUN_BUCKETS,
                &[],
            )?,
            sandbox_errors: plain("kubelet_run_podsandbox_errors_total", "Sandboxes that could not be made.")?,
            pulls: histogram(
                "kubelet_image_pull_duration_seconds",
                "Pulls that brought an image, with the wait for their turn, by its size.",
                PULL_BUCKETS,
                &["image_size_in_bytes"],
            )?,
            http_fallbacks: plain(
                "kubelet_lifecycle_handler_http_fallbacks_total",
                "Hooks whose request for HTTPS was answered over HTTP.",
            )?,
            sleeps_cut: plain("kubelet_sleep_action_terminated_early_total", "Hooks that sleep and were ended before their time.")?,
            stages: histogram("usher_start_stage_duration_seconds", "Stages of starts that were passed.", TIME_BUCKETS, &["stage"])?,
            containers_started: counter("kubelet_started_containers_total", "Containers that were started.", &["container_type"])?,
            container_errors: counter(
                "kubelet_started_containers_errors_total",
                "Starts of containers that failed, by the reason that the API shows.",
                &["container_type", "code"],
            )?,
            restarts: counter("usher_container_restarts_total", "Containers that were started again.", &["container_type"])?,
            exits: counter("usher_container_exits_total", "Containers that ended, by the reason that the API shows.", &["reason"])?,
            hooks: histogram("usher_hook_duration_seconds", "Hooks, from their request to their end.", TIME_BUCKETS, &["hook", "handler"])?,
            hook_runs: counter("usher_hook_runs_total", "Hooks that ended, by how.", &["hook", "handler", "end"])?,
            probes: counter("prober_probe_total", "Attempts of probes, by result.", &["probe_type", "result"])?,
            probe_duration: histogram("prober_probe_duration_seconds", "Attempts of probes.", TIME_BUCKETS, &["probe_type"])?,
            probe_lateness: histogram(
                "usher_probe_lateness_seconds",
                "From the time at which an attempt of a probe was due until it began.",
                LATENESS_BUCKETS,
                &["probe_type"],
            )?,
            grace_used: histogram(
                "usher_grace_used_ratio",
                "Part of the grace that the stop of a container used; above 1 beyond it.",
                RATIO_BUCKETS,
                &["cause"],
            )?,
            signal_to_exit: histogram("usher_stop_signal_to_exit_seconds", "From the stop signal to the end.", TIME_BUCKETS, &[])?,
            kills: counter("usher_container_kills_total", "Containers that were killed, by who is to blame.", &["cause"])?,
        })
    }

    /// Makes every series.
    fn begin(&self) {
        for histogram in [&self.pod_start, &self.pod_ready, &self.signal_to_exit, &self.sandboxes] {
            histogram.with_label_values::<&str>(&[]);
        }
        for reason in POD_REASONS.iter().chain(&[OTHER]) {
            self.pods_started_errors.with_label_values(&[reason]);
        }
        for trigger in TRIGGERS {
            self.terminations.with_label_values(&[trigger_word(trigger)]);
            self.grace_used.with_label_values(&[trigger_word(trigger)]);
        }
        for signal in Signal::ALL.map(Signal::name).iter().chain(&LIMIT_SIGNALS).chain(&[OTHER]) {
            self.evictions.with_label_values(&[signal]);
        }
        for resource in PREEMPTION_SIGNALS.iter().chain(&[OTHER]) {
            self.preemptions.with_label_values(&[resource]);
        }
        for (_, size) in IMAGE_SIZES {
            self.pulls.with_label_values(&[size]);
        }
        self.pulls.with_label_values(&[SIZE_UNKNOWN]);
        for cause in STOPS {
            self.grace_used.with_label_values(&[stop_word(cause)]);
        }
        for stage in [Stage::Sandbox, Stage::Volumes, Stage::Pull, Stage::Create, Stage::Start, Stage::Ready] {
            self.stages.with_label_values(&[stage_word(stage)]);
        }
        for role in ["container", "init_container", "ephemeral_container"] {
            self.containers_started.with_label_values(&[role]);
            self.restarts.with_label_values(&[role]);
            for reason in CONTAINER_REASONS.iter().chain(&[OTHER]) {
                self.container_errors.with_label_values(&[role, reason]);
            }
        }
        for reason in EXIT_REASONS.iter().chain(&[OTHER]) {
            self.exits.with_label_values(&[reason]);
        }
        for (hook, handler) in HOOKS.into_iter().flat_map(|hook| HANDLERS.map(|handler| (hook_word(hook), handler))) {
            self.hooks.with_label_values(&[hook, handler]);
            for end in HOOK_ENDS {
                self.hook_runs.with_label_values(&[hook, handler, end]);
            }
        }
        for probe in [ProbeKind::Startup, ProbeKind::Liveness, ProbeKind::Readiness] {
            self.probe_duration.with_label_values(&[&probe.to_string()]);
            self.probe_lateness.with_label_values(&[&probe.to_string()]);
            for result in ["successful", "failed", "unknown"] {
                self.probes.with_label_values(&[probe.to_string().as_str(), result]);
            }
        }
        for blame in BLAMES {
            self.kills.with_label_values(&[blame_word(blame)]);
        }
    }

    fn count(&self, measure: &Measure) {
        let observe = |family: &HistogramVec, labels: &[&str], value: f64| family.with_label_values(labels).observe(value);
        let observe_time = |family, labels, took: &Duration| observe(family, labels, took.as_secs_f64());
        match measure {
            Measure::PodSeen => {}
            Measure::PodRunning(took) => observe_time(&self.pod_start, &[], took),
            Measure::PodReady(took) => observe_time(&self.pod_ready, &[], took),
            Measure::Terminating(trigger) => self.terminations.with_label_values(&[trigger_word(*trigger)]).inc(),
            Measure::Evicted(signal) => {
                let signal = Signal::named(signal).map_or_else(|| known(signal, &LIMIT_SIGNALS), Signal::name);
                self.evictions.with_label_values(&[signal]).inc();
            }
            Measure::Preempted(resource) => {
                self.preemptions.with_label_values(&[known(resource, PREEMPTION_SIGNALS)]).inc();
            }
            Measure::SandboxMade(took) => observe_time(&self.sandboxes, &[], took),
            Measure::Pulled { size_bytes, took } => observe_time(&self.pulls, &[size_word(*size_bytes)], took),
            Measure::FellBackToHttp => self.http_fallbacks.inc(),
            Measure::Stage(stage, took) => {
                observe_time(&self.stages, &[stage_word(*stage)], took);
                if *stage == Stage::Sandbox {
                    self.pods_started.inc();
                }
            }
            Measure::StageFailed { stage: Stage::Sandbox, reason, .. } => {
                self.pods_started.inc();
                self.pods_started_errors.with_label_values(&[known(reason, POD_REASONS)]).inc();
                // Without its volumes it never came to a sandbox.
                self.sandbox_errors.inc_by(u64::from(reason == "FailedCreatePodSandBox"));
            }
            Measure::StageFailed { role, reason, .. } => {
                let role = role_word(role.unwrap_or(Role::Regular));
                self.container_errors.with_label_values(&[role, known(reason, CONTAINER_REASONS)]).inc();
            }
            Measure::Started { role, is_restart } => {
                self.containers_started.with_label_values(&[role_word(*role)]).inc();
                self.restarts.with_label_values(&[role_word(*role)]).inc_by(u64::from(*is_restart));
            }
            Measure::Hook { hook, handler, end, took } => {
                observe_time(&self.hooks, &[hook_word(*hook), handler], took);
                self.hook_runs.with_label_values(&[hook_word(*hook), handler, end]).inc();
                self.sleeps_cut.inc_by(u64::from(*handler == "sleep" && matches!(*end, "cancelled" | "container_ended")));
            }
            Measure::Probe { probe, result, took } => {
                self.probes.with_label_values(&[probe.to_string().as_str(), result]).inc();
                observe_time(&self.probe_duration, &[&probe.to_string()], took);
            }
            Measure::ProbeLate(probe, late) => observe_time(&self.probe_lateness, &[&probe.to_string()], late),
            Measure::SignalToExit(took) => observe_time(&self.signal_to_exit, &[], took),
            Measure::Stopped { cause, used_share } => {
                if let Some(share) = used_share {
                    observe(&self.grace_used, &[stop_word(*cause)], *share);
                }
            }
            Measure::Killed(blame) => self.kills.with_label_values(&[blame_word(*blame)]).inc(),
            Measure::Exited(reason) => self.exits.with_label_values(&[known(reason, EXIT_REASONS)]).inc(),
        }
    }
}

fn registered<C: Collector + Clone + 'static>(registry: &Registry, family: C) -> Result<C, prometheus::Error> {
    registry.register(Box::new(family.clone()))?;
    Ok(family)
}

/// What the pods are made of when someone asks.
struct CensusCollector {
    pods: Arc<Pods>,
    running_pods: IntGauge,
    containers: IntGaugeVec,
}

impl CensusCollector {
    fn new(pods: Arc<Pods>) -> Result<Self, prometheus::Error> {
        let running_pods = IntGauge::new("kubelet_running_pods", "Pods that have a sandbox.")?;
        let help = Opts::new("kubelet_running_containers", "Containers, by state.");
        let containers = IntGaugeVec::new(help, &["container_state"])?;
        Ok(Self { pods, running_pods, containers })
    }
}

impl Collector for CensusCollector {
    fn desc(&self) -> Vec<&Desc> {
        [self.running_pods.desc(), self.containers.desc()].concat()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let censuses: Vec<Census> = self.pods.lock().unwrap_or_else(PoisonError::into_inner).values().map(Meter::census).collect();
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.running_pods.set(number(censuses.iter().filter(|census| census.has_sandbox).count()));
        let running = censuses.iter().map(|census| census.running).sum();
        let exited = censuses.iter().map(|census| census.exited).sum();
        self.containers.with_label_values(&["running"]).set(number(running));
        self.containers.with_label_values(&["exited"]).set(number(exited));
        [self.running_pods.collect(), self.containers.collect()].concat()
    }
}

/// A word of a closed set.
fn known<'a>(word: &str, words: &'a [&'a str]) -> &'a str {
    words.iter().find(|known| **known == word).copied().unwrap_or(OTHER)
}

/// The reference counts sidecars among the init containers.
const fn role_word(role: Role) -> &'static str {
    match role {
        Role::Regular => "container",
        Role::Init | Role::Sidecar => "init_container",
        Role::Ephemeral => "ephemeral_container",
    }
}

const fn hook_word(hook: Hook) -> &'static str {
    match hook {
        Hook::PostStart => "postStart",
        Hook::PreStop => "preStop",
    }
}

const fn stage_word(stage: Stage) -> &'static str {
    match stage {
        Stage::Sandbox => "sandbox",
        Stage::Volumes => "volumes",
        Stage::Pull => "pull",
        Stage::Create => "create",
        Stage::Start => "start",
        Stage::Ready => "ready",
    }
}

/// The size of an image as the reference puts it.
fn size_word(bytes: u64) -> &'static str {
    let size = IMAGE_SIZES.iter().rfind(|(least, _)| *least <= bytes).filter(|_| bytes > 0);
    size.map_or(SIZE_UNKNOWN, |(_, word)| *word)
}

const OTHER: &str = "Other";
const PREEMPTION_SIGNALS: &[&str] = &["pods", "cpu", "memory", "ephemeral-storage"];
const SIZE_UNKNOWN: &str = "N/A";
/// From so many bytes on, an image is of this size: the reference's words.
const IMAGE_SIZES: [(u64, &str); 12] = [
    (0, "0-10MB"),
    (10 << 20, "10MB-100MB"),
    (100 << 20, "100MB-500MB"),
    (500 << 20, "500MB-1GB"),
    (1 << 30, "1GB-5GB"),
    (5 << 30, "5GB-10GB"),
    (10 << 30, "10GB-20GB"),
    (20 << 30, "20GB-30GB"),
    (30 << 30, "30GB-40GB"),
    (40 << 30, "40GB-60GB"),
    (60 << 30, "60GB-100GB"),
    (100 << 30, "GT100GB"),
];
const POD_REASONS: &[&str] = &["FailedCreatePodSandBox", "FailedMount"];
const CONTAINER_REASONS: &[&str] = &["CreateContainerConfigError", "CreateContainerError", "ErrImagePull", "RunContainerError"];
const EXIT_REASONS: &[&str] = &["Completed", "ContainerStatusUnknown", "Error", "OOMKilled", "StartError"];
const HOOKS: [Hook; 2] = [Hook::PostStart, Hook::PreStop];
const HANDLERS: [&str; 4] = ["exec", "httpGet", "sleep", "tcpSocket"];
const HOOK_ENDS: [&str; 7] = ["succeeded", "exited_non_zero", "failed_to_run", "http_failed", "timed_out", "container_ended", "cancelled"];
const TRIGGERS: [KillTrigger; 9] = [
    KillTrigger::Deleted,
    KillTrigger::DeadlineExceeded,
    KillTrigger::Evicted,
    KillTrigger::Preempted,
    KillTrigger::NodeShutdown,
    KillTrigger::Rejected,
    KillTrigger::Completed,
    KillTrigger::InitFailed,
    KillTrigger::ProbeFailed,
];
const STOPS: [StopCause; 6] = [
    StopCause::ResizeNeedsRestart,
    StopCause::PostStartFailed,
    StopCause::LivenessFailed,
    StopCause::StartupFailed,
    StopCause::DefinitionChanged,
    StopCause::RestartAllContainers,
];
const BLAMES: [Blame; 8] = [
    Blame::OutOfMemory,
    Blame::Stranger,
    Blame::Asker,
    Blame::PreStopEndless,
    Blame::PreStop,
    Blame::Order,
    Blame::Starting,
    Blame::Process,
];

/// Seconds of stages, hooks and probes: from what a local step takes to what people wait for.
const TIME_BUCKETS: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0];
/// Seconds until a pod runs: the reference's, and the shorter times that a pod takes here.
const POD_BUCKETS: &[f64] = &[
    0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 20.0, 30.0, 45.0, 60.0, 120.0, 180.0, 240.0, 300.0, 360.0, 480.0, 600.0,
    900.0, 1200.0, 1800.0, 2700.0, 3600.0,
];
/// Seconds until a sandbox is there: the reference's.
const RUN_BUCKETS: &[f64] = prometheus::DEFAULT_BUCKETS;
/// Seconds of pulls: the reference's.
const PULL_BUCKETS: &[f64] =
    &[1.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 180.0, 240.0, 300.0, 360.0, 480.0, 600.0, 900.0, 1200.0, 1800.0, 2700.0, 3600.0];
/// Seconds that a probe is late: anything above a second is trouble.
const LATENESS_BUCKETS: &[f64] = &[0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];
/// Parts of a grace period.
const RATIO_BUCKETS: &[f64] = &[0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0, 1.25];

#[cfg(test)]
mod tests;
