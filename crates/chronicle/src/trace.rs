//! A life as a trace: one span for each stage that has ended, in the tree in which they stand, with the times of the journal.
//!
//! Ids follow from the pod's UID and the place in the tree, so that whoever reads the same life again, or after the engine was
//! started anew, finds the same spans. What hooks and containers print is not in it.

use lifecycle::{Exit, Hook, HookOutcome, Timestamp, Verdict};

use crate::blame::{Blame, blame};
use crate::life::{ContainerLife, HookRun, Instance, Life, StartFailure};
use crate::measure::{blame_word, handler_word, hook_end, stop_word, trigger_word};

/// A pod's life so far.
#[derive(Clone, Debug, PartialEq)]
pub struct Trace {
    /// The same for all spans.
    pub id: [u8; 16],
    /// In the order of the tree: after its parent, whoever has one that has ended.
    pub spans: Vec<TraceSpan>,
}

/// A stage that has ended.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceSpan {
    /// Its id.
    pub id: [u8; 8],
    /// The stage that it is a part of; `None` for the pod.
    pub parent: Option<[u8; 8]>,
    /// What it is, of a few words: `pod`, `sandbox`, `volumes`, `container`, `pull`, `create`, `start`, `postStart`, `ready`, `stop`, `preStop`,
    /// `signal wait`, `kill`, `clean-up`.
    pub name: &'static str,
    /// When it began, in nanoseconds since 1970.
    pub start_nanos: u64,
    /// When it ended, in nanoseconds since 1970.
    pub end_nanos: u64,
    /// What is known of it.
    pub attributes: Vec<(&'static str, Value)>,
    /// Why it failed, if it did.
    pub error: Option<String>,
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A text.
    Text(String),
    /// A number.
    Number(i64),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

/// The trace of a life: the stages that have ended.
pub fn trace(life: &Life) -> Trace {
    let mut teller = Teller { life, spans: Vec::new() };
    teller.pod();
    Trace { id: trace_id(&life.uid), spans: teller.spans }
}

/// A UID is as long as the id of a trace, and as unique.
fn trace_id(uid: &str) -> [u8; 16] {
    let digits: Vec<u8> = uid.chars().filter_map(|c| c.to_digit(16)).filter_map(|digit| u8::try_from(digit).ok()).collect();
    let is_uuid = digits.len() == 32 && uid.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
    let mut id = [0; 16];
    if is_uuid && digits.iter().any(|digit| *digit != 0) {
        for (byte, pair) in id.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = pair[0] << 4 | pair[1];
        }
    } else {
        id[..8].copy_from_slice(&hash(&[uid]));
        id[8..].copy_from_slice(&hash(&[uid, "trace"]));
    }
    id
}

/// FNV-1a of the parts; never zero, which stands for no id.
fn hash(parts: &[&str]) -> [u8; 8] {
    let bytes = parts.iter().flat_map(|part| part.bytes().chain([0]));
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    hash.max(1).to_be_bytes()
}

struct Teller<'a> {
    life: &'a Life,
    spans: Vec<TraceSpan>,
}

/// A place in the tree.
#[derive(Clone, Copy)]
struct Place<'p> {
    id: [u8; 8],
    path: &'p str,
}

impl Teller<'_> {
    /// Adds a stage below another one, and gives its place. One that has not ended has a place too.
    fn stage(&mut self, parent: Place<'_>, name: &'static str, path: &str, from: Option<Timestamp>, to: Option<Timestamp>) -> [u8; 8] {
        let id = hash(&[&self.life.uid, parent.path, path]);
        if let (Some(from), Some(to)) = (from, to) {
            let (start_nanos, end_nanos) = (self.life.wall_nanos(from), self.life.wall_nanos(to.max(from)));
            let attributes = Vec::new();
            self.spans.push(TraceSpan { id, parent: Some(parent.id), name, start_nanos, end_nanos, attributes, error: None });
        }
        id
    }

    /// Says more of the span with this id, if it has ended.
    fn say(&mut self, id: [u8; 8], name: &'static str, value: impl Into<Value>) {
        if let Some(span) = self.spans.iter_mut().rfind(|span| span.id == id) {
            span.attributes.push((name, value.into()));
        }
    }

    fn fail(&mut self, id: [u8; 8], error: Option<String>) {
        if let Some(span) = self.spans.iter_mut().rfind(|span| span.id == id) {
            span.error = error;
        }
    }

    fn pod(&mut self) {
        let life = self.life;
        let root = Place { id: hash(&[&life.uid]), path: "" };
        if let Some(gone_at) = life.gone_at {
            let phase = life.phase().map_or_else(String::new, |phase| format!("{:?}", phase.phase));
            let error = (phase == "Failed").then(|| life.phase().map_or_else(String::new, |phase| phase.reason.clone()));
            let mut attributes = vec![("k8s.pod.status.phase", Value::Text(phase))];
            if let Some(step) = life.terminations.first() {
                attributes.push(("usher.termination.trigger", trigger_word(step.trigger).into()));
            }
            let (start_nanos, end_nanos) = (life.began.wall_nanos, life.wall_nanos(gone_at));
            self.spans.push(TraceSpan { id: root.id, parent: None, name: "pod", start_nanos, end_nanos, attributes, error });
        }
        for (number, sandbox) in life.sandboxes.iter().enumerate() {
            let failed_at = sandbox.failed.as_ref().map(|failure| failure.at);
            let to = sandbox.ready_at.or(failed_at);
            let id = self.stage(root, "sandbox", &format!("sandbox {number}"), Some(sandbox.asked_at), to);
            self.fail(id, sandbox.failed.as_ref().map(failure_text));
            if let Some(volumes) = &sandbox.volumes {
                // They are the first thing that a sandbox is made of.
                let (from, path) = (sandbox.asked_at, format!("sandbox {number}"));
                let id = self.stage(Place { id, path: &path }, "volumes", "volumes", Some(from), Some(from + volumes.took));
                self.say(id, "usher.volumes", volumes.names.join(", ").as_str());
                self.fail(id, volumes.error.clone());
            }
        }
        for container in &life.containers {
            for instance in &container.instances {
                self.instance(root, container, instance);
            }
        }
        let stop_at = life.sandboxes.last().and_then(|sandbox| sandbox.stop_asked_at);
        self.stage(root, "clean-up", "clean-up", stop_at, life.gone_at);
    }

    fn instance(&mut self, root: Place<'_>, container: &ContainerLife, instance: &Instance) {
        let path = format!("container {} {}", container.name, instance.restart_count);
        let id = self.stage(root, "container", &path, Some(instance.asked_at), instance.ended_at());
        self.say(id, "k8s.container.name", container.name.as_str());
        self.say(id, "k8s.container.restart_count", Value::Number(i64::from(instance.restart_count)));
        if let Some(exit) = &instance.exit {
            self.say(id, "usher.exit.code", Value::Number(i64::from(exit.code)));
            self.say(id, "usher.exit.reason", exit.reason.as_str());
            self.fail(id, exit_error(exit));
        }
        let place = Place { id, path: &path };
        for (number, pull) in instance.pulls.iter().enumerate() {
            let id = self.stage(place, "pull", &format!("pull {number}"), Some(pull.asked_at), pull.ended_at);
            self.say(id, "container.image.name", pull.image.as_str());
            if let Some(facts) = &pull.facts {
                self.say(id, "usher.pull.bytes", Value::Number(i64::try_from(facts.bytes).unwrap_or(i64::MAX)));
            }
            self.fail(id, pull.error.as_ref().map(|(reason, message)| format!("{reason}: {message}")));
        }
        self.stage(place, "create", "create", instance.create_asked_at, instance.created_at);
        self.stage(place, "start", "start", instance.created_at, instance.started_at);
        for run in instance.hooks.iter().filter(|run| run.hook == Hook::PostStart) {
            self.hook(place, run);
        }
        let ready_at = instance.ready.iter().find(|(_, is_ready)| *is_ready).map(|(at, _)| *at);
        self.stage(place, "ready", "ready", instance.started_at, ready_at);
        self.stop(place, instance);
    }

    fn stop(&mut self, container: Place<'_>, instance: &Instance) {
        let Some((began_at, cause)) = instance.stop else { return };
        let account = self.life.account_of(instance);
        let ended_at = instance.ended_at();
        let id = self.stage(container, "stop", "stop", Some(account.map_or(began_at, |account| account.began_at)), ended_at);
        self.say(id, "usher.stop.cause", stop_word(cause));
        if let Some(account) = account {
            self.say(id, "usher.grace.seconds", Value::Number(i64::try_from(account.grace_secs).unwrap_or(i64::MAX)));
            if account.verdict() == Verdict::Killed {
                self.say(id, "usher.kill.cause", blame_word(blame(account)));
                self.fail(id, Some("killed".to_owned()));
            }
        }
        let path = format!("{} stop", container.path);
        let place = Place { id, path: &path };
        for run in instance.hooks.iter().filter(|run| run.hook == Hook::PreStop) {
            self.hook(place, run);
        }
        let signalled_at = instance.stop_signal().map(|signal| signal.at);
        let killed_at = instance.kill_signal().map(|signal| signal.at).filter(|at| ended_at.is_none_or(|ended| *at <= ended));
        let wait = self.stage(place, "signal wait", "signal wait", signalled_at, killed_at.or(ended_at));
        if let Some(number) = instance.stop_signal().and_then(|signal| signal.number) {
            self.say(wait, "usher.signal", Value::Number(i64::from(number)));
        }
        let kill = self.stage(place, "kill", "kill", killed_at, ended_at);
        if let Some(blame) = account.map(blame).filter(|blame| *blame != Blame::Nobody) {
            self.say(kill, "usher.kill.cause", blame_word(blame));
        }
    }

    fn hook(&mut self, place: Place<'_>, run: &HookRun) {
        let name = match run.hook {
            Hook::PostStart => "postStart",
            Hook::PreStop => "preStop",
        };
        let from = run.began_at.unwrap_or(run.asked_at);
        let id = self.stage(place, name, name, Some(from), run.end.as_ref().map(|end| end.at));
        self.say(id, "usher.hook.handler", handler_word(&run.handler));
        let Some(end) = &run.end else { return };
        self.say(id, "usher.hook.end", if end.out_of_grace { "out_of_grace" } else { hook_end(&end.outcome) });
        if let Some(code) = end.exit_code {
            self.say(id, "usher.exit.code", Value::Number(i64::from(code)));
        }
        let has_failed = end.out_of_grace || !matches!(end.outcome, HookOutcome::Succeeded | HookOutcome::ContainerEnded { .. });
        self.fail(id, has_failed.then(|| if end.out_of_grace { "out of grace" } else { hook_end(&end.outcome) }.to_owned()));
    }
}

fn failure_text(failure: &StartFailure) -> String {
    format!("{}: {}", failure.reason, failure.message)
}

fn exit_error(exit: &Exit) -> Option<String> {
    (exit.code != 0).then(|| format!("exit code {} ({})", exit.code, exit.reason))
}
