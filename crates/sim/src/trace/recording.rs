//! Recordings: what a reference node showed, and what we show, in the same words.
//!
//! A line is `SECONDS KIND TEXT`: `step` (what was done from outside), `event`, `phase`, `condition`, `container`, `work`
//! (a line that the workload wrote), `gone`. Only changes are written down.

use std::collections::BTreeMap;

use lifecycle::{ContainerState, ContainerStatus, EventKind, EventRecord, PodStatus};

/// What the kubelet's probes call themselves.
const PROBER: &str = "User-Agent: kube-probe";

/// What is shown, told and written of the same happening comes within this time, in any order.
pub const SETTLED_SECS: f64 = 5.0;

/// One line.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// Seconds; zero is arbitrary, only differences are looked at.
    pub at: f64,
    /// What.
    pub text: String,
}

/// A recording, by kind; containers, conditions and workload lines by whom they are about.
#[derive(Clone, Debug, Default)]
pub struct Recording {
    /// What was done from outside.
    pub steps: Vec<Line>,
    /// Events by their field path.
    pub events: BTreeMap<String, Vec<Line>>,
    /// Phases with reason and message.
    pub phases: Vec<Line>,
    /// Conditions by type.
    pub conditions: BTreeMap<String, Vec<Line>>,
    /// Container states by name.
    pub containers: BTreeMap<String, Vec<Line>>,
    /// What a container's workload wrote, by the container's name; the requests that it got apart, by `NAME-asked`.
    pub work: BTreeMap<String, Vec<Line>>,
}

impl Recording {
    /// Reads what a reference node showed.
    ///
    /// # Panics
    /// If it is not written as this module says.
    pub fn read(text: &str) -> Self {
        let mut recording = Self::default();
        for line in text.lines() {
            let mut parts = line.splitn(3, ' ');
            let at = parts.next().and_then(|at| at.parse().ok()).expect("a line begins with seconds");
            recording.add(at, parts.next().expect("a line has a kind"), parts.next().unwrap_or(""));
        }
        recording
    }

    /// Something was done from outside.
    pub fn step(&mut self, at: f64, text: &str) {
        self.add(at, "step", text);
    }

    /// An Event was recorded.
    pub fn event(&mut self, at: f64, record: &EventRecord) {
        let about = record.about.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string);
        let kind = match record.kind {
            EventKind::Normal => "Normal",
            EventKind::Warning => "Warning",
        };
        self.add(at, "event", &format!("{about} {kind} {} {}", record.reason, escaped(&record.message)));
    }

    /// A status was shown.
    pub fn status(&mut self, at: f64, status: &PodStatus) {
        let phase = [format!("{:?}", status.phase), status.reason.clone(), status.message.clone()];
        let phase: Vec<_> = phase.into_iter().filter(|part| !part.is_empty()).collect();
        self.add(at, "phase", &phase.join(" "));
        for condition in &status.conditions {
            let truth = if condition.is_true { "True" } else { "False" };
            let reason = if condition.reason.is_empty() { "-" } else { &condition.reason };
            let text = format!("{:?} {truth} {reason} {}", condition.kind, condition.message);
            self.add(at, "condition", text.trim_end());
        }
        for container in status.init_container_statuses.iter().chain(&status.container_statuses) {
            self.add(at, "container", &shown(container));
        }
    }

    /// A workload wrote a line.
    pub fn work(&mut self, at: f64, container: &str, text: &str) {
        self.add(at, "work", &format!("{container} {text}"));
    }

    /// Workload lines carry the workload's own time, which need not be the order in which they came.
    pub fn sort_work(&mut self) {
        for lines in self.work.values_mut() {
            lines.sort_by(|one, other| one.at.total_cmp(&other.at));
        }
    }

    /// Forgets all that came after a container showed this, and what goes with it had [`SETTLED_SECS`] to come. Says whether it
    /// ever showed it.
    pub fn cut_after(&mut self, container: &str, shown: &str) -> bool {
        let lines = self.containers.get(container);
        let Some(end) = lines.and_then(|lines| lines.iter().find(|line| line.text.contains(shown))).map(|line| line.at + SETTLED_SECS)
        else {
            return false;
        };
        let kept = |lines: &mut Vec<Line>| lines.retain(|line| line.at <= end);
        kept(&mut self.steps);
        kept(&mut self.phases);
        for map in [&mut self.events, &mut self.conditions, &mut self.containers, &mut self.work] {
            map.values_mut().for_each(kept);
        }
        true
    }

    fn add(&mut self, at: f64, kind: &str, text: &str) {
        let split = || text.split_once(' ').unwrap_or((text, ""));
        let is_probed = kind == "work" && text.contains(PROBER);
        let is_asked = kind == "work" && split().1.starts_with("http: ");
        let (list, text) = match kind {
            "step" => (&mut self.steps, text),
            "phase" => (&mut self.phases, text),
            "event" => (self.events.entry(split().0.to_owned()).or_default(), split().1),
            "condition" => (self.conditions.entry(split().0.to_owned()).or_default(), split().1),
            "container" => (self.containers.entry(split().0.to_owned()).or_default(), split().1),
            // Hooks of other containers ask while this one lives its own life.
            "work" if is_asked => (self.work.entry(format!("{}-asked", split().0)).or_default(), split().1),
            "work" => (self.work.entry(split().0.to_owned()).or_default(), split().1),
            "gone" => return,
            other => panic!("{other} is no kind of line"),
        };
        // What is the same as the last line is no change; what was done and what the workload wrote all counts. But how often a
        // probe asked depends on when its period began.
        let all_count = kind == "step" || (kind == "work" && !is_probed);
        if all_count || list.last().is_none_or(|last| last.text != text) {
            list.push(Line { at, text: text.to_owned() });
        }
    }
}

fn shown(status: &ContainerStatus) -> String {
    let (state, detail, message) = match &status.state {
        ContainerState::Waiting { reason, message } => {
            ("waiting", if reason.is_empty() { "-".to_owned() } else { reason.clone() }, message.as_str())
        }
        ContainerState::Running { .. } => ("running", "-".to_owned(), ""),
        ContainerState::Terminated(ended) => {
            ("terminated", format!("{} {}", ended.exit.code, ended.exit.reason), ended.exit.message.as_str())
        }
    };
    let ready = if status.ready { "ready" } else { "-" };
    let started = if status.started { "started" } else { "-" };
    let last = status.last_state.as_ref().map_or_else(|| "-".to_owned(), |last| format!("last={},{}", last.exit.code, last.exit.reason));
    let text = format!("{} {state} {detail} restarts={} {ready} {started} {last} {}", status.name, status.restart_count, escaped(message));
    text.trim_end().to_owned()
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\n', "\\n")
}
