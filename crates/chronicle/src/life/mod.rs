//! A pod's life as its journal tells it: containers, instances, hooks, probes, signals, stops, each with its times.
//!
//! Data only, in the words of the API, so that charts, sentences and metrics are all read from one place. Nothing is judged
//! here; who is to blame for a kill is in [`crate::blame`], why something is as it is in [`crate::why`].

mod reader;

use std::time::Duration;

use lifecycle::{
    ContainerSpec, ContainerState, EventRecord, Exit, GraceAccount, Handler, Hook, HookOutcome, KillPod, KillTrigger, Phase, PodSpec,
    PodStatus, ProbeKind, Role, StopCause, Timestamp,
};
use serde::Serialize;

use crate::notices;
use crate::record::{MemoryFacts, Moment, ProbeCounts, PullFacts, SessionVerb, SignalHandling, VolumeFacts};

/// The life of one pod so far.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Life {
    /// `metadata.name`.
    pub name: String,
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.uid`.
    pub uid: String,
    /// The first entry that is there.
    pub began: Moment,
    /// The last entry that is there.
    pub read_to: Moment,
    /// The journal was full once, and its beginning is gone.
    pub is_cut: bool,
    /// Entries that the disk refused.
    pub lost_entries: u64,
    /// Lines of the journal that are no entries.
    pub unreadable_lines: usize,
    /// What the machine knew of the manifest; not in journals of format 1.
    pub spec: Option<PodSpec>,
    /// The engines that drove it.
    pub engines: Vec<EngineRun>,
    /// Who asked that it go.
    pub asked: Vec<Asked>,
    /// When it began to go, and when its grace was made shorter.
    pub terminations: Vec<TerminationStep>,
    /// Its sandboxes.
    pub sandboxes: Vec<SandboxRun>,
    /// `status.phase` as published.
    pub phases: Vec<PhaseSpan>,
    /// The Ready condition as published: since when it is so.
    pub ready: Vec<(Timestamp, bool)>,
    /// Its containers: init containers first, then the others, as the manifest has them.
    pub containers: Vec<ContainerLife>,
    /// The grace accounts of all stops.
    pub accounts: Vec<GraceAccount>,
    /// Kubernetes Events.
    pub events: Vec<(Timestamp, EventRecord)>,
    /// What the machine could not do.
    pub warnings: Vec<(Timestamp, String)>,
    /// When nothing was left of it.
    pub gone_at: Option<Timestamp>,
    /// The last status.
    pub status: Option<PodStatus>,
}

/// An engine takes the pod up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EngineRun {
    /// From here on.
    pub at: Timestamp,
    /// What the engine before wrote last; `None` for the first.
    pub away_since: Option<Timestamp>,
    /// Its version.
    pub version: Option<String>,
}

/// Someone asked that the pod go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Asked {
    /// When.
    pub at: Timestamp,
    /// Why, and with which grace.
    pub kill: KillPod,
    /// Who.
    pub by: Option<String>,
}

/// The termination began, or became shorter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TerminationStep {
    /// When.
    pub at: Timestamp,
    /// Why.
    pub trigger: KillTrigger,
    /// The pod's grace; `None` if each container has the spec's.
    pub grace_secs: Option<u64>,
    /// It was under way already.
    pub shortened: bool,
}

/// A sandbox of the pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SandboxRun {
    /// When it was asked for.
    pub asked_at: Timestamp,
    /// How it went with the volumes.
    pub volumes: Option<VolumeFacts>,
    /// When it was there.
    pub ready_at: Option<Timestamp>,
    /// Its addresses.
    pub ips: Vec<String>,
    /// When and why it could not be made.
    pub failed: Option<StartFailure>,
    /// When and how it got lost.
    pub lost: Option<(Timestamp, String)>,
    /// When its end was asked for.
    pub stop_asked_at: Option<Timestamp>,
    /// When it was stopped.
    pub stopped_at: Option<Timestamp>,
}

/// The pod shows this phase from here on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PhaseSpan {
    /// Since when.
    pub at: Timestamp,
    /// The phase.
    pub phase: Phase,
    /// `status.reason`.
    pub reason: String,
    /// `status.message`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// A container, through all its instances.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerLife {
    /// Its name.
    pub name: String,
    /// What it does in the pod.
    pub role: Role,
    /// Its part of the manifest.
    #[serde(skip)]
    pub spec: Option<ContainerSpec>,
    /// What it waited for, as published: since when, reason, message.
    pub waits: Vec<(Timestamp, String, String)>,
    /// Its instances, the last one perhaps still being made.
    pub instances: Vec<Instance>,
    /// The state that is published.
    #[serde(skip)]
    pub state: Option<ContainerState>,
    /// `ready` as published.
    pub is_ready: bool,
}

/// One instance of a container, from the first step of its start to its end.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Instance {
    /// Instances before it.
    pub restart_count: u32,
    /// Given when it was created.
    pub container_id: Option<String>,
    /// The first step of its start.
    pub asked_at: Timestamp,
    /// Pulls of its image.
    pub pulls: Vec<PullRun>,
    /// Steps of its start that failed.
    pub failures: Vec<StartFailure>,
    /// When its creation was asked for.
    pub create_asked_at: Option<Timestamp>,
    /// When it was created.
    pub created_at: Option<Timestamp>,
    /// When its process began.
    pub started_at: Option<Timestamp>,
    /// When it was published as running: its postStart hook is over.
    pub running_at: Option<Timestamp>,
    /// Hooks in the order in which they began.
    pub hooks: Vec<HookRun>,
    /// When `started` became true.
    pub startup_at: Option<Timestamp>,
    /// Changes of `ready`.
    pub ready: Vec<(Timestamp, bool)>,
    /// Results of probes that turned what is published.
    pub probe_changes: Vec<ProbeChange>,
    /// Counts of the other attempts, the newest of each row.
    pub probe_counts: Vec<ProbeCounts>,
    /// When its stop began, and why.
    pub stop: Option<(Timestamp, StopCause)>,
    /// Signals that were sent to it.
    pub signals: Vec<Signal>,
    /// What people did in it, in the order in which they began.
    pub sessions: Vec<SessionRun>,
    /// Kills by the kernel for lack of memory: when, the count, the cgroup's numbers.
    pub out_of_memory: Vec<(Timestamp, u64, Option<MemoryFacts>)>,
    /// How it ended.
    pub exit: Option<Exit>,
    /// When the engine knew.
    pub exit_told_at: Option<Timestamp>,
    /// The pause before the next instance.
    pub back_off: Option<BackingOff>,
}

/// A pull of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PullRun {
    /// When it was asked for.
    pub asked_at: Timestamp,
    /// The image.
    pub image: String,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Reason and message, if it failed.
    pub error: Option<(String, String)>,
    /// What it brought.
    pub facts: Option<PullFacts>,
}

/// A step that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StartFailure {
    /// When.
    pub at: Timestamp,
    /// CamelCase.
    pub reason: String,
    /// The words of whoever failed.
    pub message: String,
}

/// A run of a hook.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HookRun {
    /// Which.
    pub hook: Hook,
    /// What it does.
    pub handler: Handler,
    /// Why it runs.
    pub trigger: Trigger,
    /// When it was asked for.
    pub asked_at: Timestamp,
    /// When its command or request began, as measured where it ran.
    pub began_at: Option<Timestamp>,
    /// How it ended; `None` while it runs.
    pub end: Option<HookEnd>,
    /// What it printed, as far as it is kept.
    pub output: Vec<OutputLine>,
    /// It printed more.
    pub output_cut: bool,
}

impl HookRun {
    /// How long it took, or has taken by `now`.
    pub fn took(&self, now: Timestamp) -> Duration {
        let began = self.began_at.unwrap_or(self.asked_at);
        self.end.as_ref().map_or(now, |end| end.at).since(began)
    }

    /// Whether it has ended as it should.
    pub fn has_succeeded(&self) -> bool {
        self.end.as_ref().is_some_and(|end| matches!(end.outcome, HookOutcome::Succeeded))
    }
}

/// Why a hook runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Trigger {
    /// The container was started.
    Started,
    /// The container is stopped.
    Stop(StopCause),
}

/// How a hook ended.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HookEnd {
    /// When.
    pub at: Timestamp,
    /// How.
    pub outcome: HookOutcome,
    /// Exit code of its command.
    pub exit_code: Option<i32>,
    /// Status of the answer to its request.
    pub http_status: Option<u16>,
    /// It was answered over HTTP although HTTPS was asked for.
    pub fell_back_to_http: bool,
    /// It was out of grace and was cut off.
    pub out_of_grace: bool,
}

/// A line that a hook printed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OutputLine {
    /// When it was read; `None` if nobody was there to read it.
    pub at: Option<Timestamp>,
    /// `stdout` or `stderr`.
    pub stream: String,
    /// The line.
    pub line: String,
}

/// A probe turned what is published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProbeChange {
    /// When.
    pub at: Timestamp,
    /// Which probe.
    pub probe: ProbeKind,
    /// It succeeds from here on.
    pub success: bool,
    /// What the attempt said.
    pub output: String,
    /// Attempts of the same result in a row that it took.
    pub in_row: u64,
}

/// Somebody ran a command in the container, or joined its streams.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionRun {
    /// Which.
    pub id: String,
    /// What was done.
    pub verb: SessionVerb,
    /// The command; none when the streams of the main process were joined.
    pub command: Vec<String>,
    /// It had a terminal.
    pub tty: bool,
    /// Whose it was.
    pub by: Option<String>,
    /// When it began.
    pub began_at: Timestamp,
    /// When it was over; `None` if that was never told.
    pub ended_at: Option<Timestamp>,
    /// Exit code of its command.
    pub exit_code: Option<i32>,
    /// Sessions before it that are not kept.
    pub left_out: u64,
}

/// A signal that was sent to a container's main process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Signal {
    /// When it went out.
    pub at: Timestamp,
    /// Its number; `None` where only the request is known.
    pub number: Option<i32>,
    /// Why it was sent.
    pub why: Why,
    /// What the process does with it.
    pub handling: Option<SignalHandling>,
}

/// Why a signal was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Why {
    /// The stop signal.
    Stop,
    /// The stop's time was over, and the engine was not there to say so.
    Deadline,
    /// The engine killed it.
    Kill,
}

/// The pause before the next instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BackingOff {
    /// Since when it is known.
    pub at: Timestamp,
    /// Its length.
    pub pause: Duration,
    /// Its end.
    pub until: Timestamp,
}

impl Life {
    /// Reads the life from a journal; `None` if it has no heading.
    pub fn of(journal: &crate::Journal) -> Option<Self> {
        reader::read(journal)
    }

    /// What is to be known of the journal that it is read from: gaps, and what is gone.
    pub fn notices(&self) -> Vec<String> {
        let beginning = if self.is_cut { Some("the beginning of this life is gone: the journal was full".to_owned()) } else { None };
        beginning.into_iter().chain(notices::gaps(self.lost_entries, self.unreadable_lines)).collect()
    }

    /// The same life for those who may not see what hooks printed and what people ran.
    #[must_use]
    pub fn without_output(mut self) -> Self {
        // A manifest may be looked at; what somebody typed may not.
        let instances = self.containers.iter_mut().flat_map(|container| &mut container.instances);
        instances.flat_map(|instance| &mut instance.sessions).for_each(|session| session.command.clear());
        let instances = self.containers.iter_mut().flat_map(|container| &mut container.instances);
        for run in instances.flat_map(|instance| &mut instance.hooks) {
            run.output.clear();
            run.output_cut = false;
            match run.end.as_mut().map(|end| &mut end.outcome) {
                Some(HookOutcome::ExitedNonZero { stdout, stderr, .. } | HookOutcome::ContainerEnded { stdout, stderr }) => {
                    stdout.clear();
                    stderr.clear();
                }
                Some(
                    HookOutcome::Succeeded
                    | HookOutcome::FailedToRun { .. }
                    | HookOutcome::HttpFailed { .. }
                    | HookOutcome::TimedOut { .. }
                    | HookOutcome::Cancelled,
                )
                | None => {}
            }
        }
        self
    }

    /// The container of that name.
    pub fn container(&self, name: &str) -> Option<&ContainerLife> {
        self.containers.iter().find(|container| container.name == name)
    }

    /// Time since the life began.
    pub fn age(&self, at: Timestamp) -> Duration {
        at.since(self.began.timestamp())
    }

    /// Wall-clock time in nanoseconds since 1970.
    pub const fn wall_nanos(&self, at: Timestamp) -> u64 {
        self.began.wall_nanos_of(at)
    }

    /// Whether nothing of the pod is left.
    pub const fn is_over(&self) -> bool {
        self.gone_at.is_some()
    }

    /// The account of an instance's last stop.
    pub fn account_of(&self, instance: &Instance) -> Option<&GraceAccount> {
        let id = instance.container_id.as_ref()?;
        self.accounts.iter().rev().find(|account| account.container_id.0 == *id)
    }

    /// The phase that is published.
    pub fn phase(&self) -> Option<&PhaseSpan> {
        self.phases.last()
    }
}

impl ContainerLife {
    /// The newest instance.
    pub fn newest(&self) -> Option<&Instance> {
        self.instances.last()
    }

    /// The newest instance that ended.
    pub fn last_ended(&self) -> Option<&Instance> {
        self.instances.iter().rev().find(|instance| instance.exit.is_some())
    }
}

impl Instance {
    /// When it ended: when its process did, or when the failure was known.
    pub fn ended_at(&self) -> Option<Timestamp> {
        self.exit.as_ref().map(|exit| exit.finished_at)
    }

    /// Whether its process lives, as far as is known.
    pub const fn is_alive(&self) -> bool {
        self.started_at.is_some() && self.exit.is_none()
    }

    /// The first stop signal.
    pub fn stop_signal(&self) -> Option<&Signal> {
        self.signals.iter().find(|signal| signal.why == Why::Stop)
    }

    /// The first SIGKILL.
    pub fn kill_signal(&self) -> Option<&Signal> {
        self.signals.iter().find(|signal| matches!(signal.why, Why::Kill | Why::Deadline))
    }

    /// The run of a hook.
    pub fn hook(&self, hook: Hook) -> Option<&HookRun> {
        self.hooks.iter().rev().find(|run| run.hook == hook)
    }
}
