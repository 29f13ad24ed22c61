//! What is done to a pod from outside while it is recorded: `until COND [TIMEOUT]`, `sleep S`, `delete [grace=N]`.

use std::time::Duration;

use lifecycle::{ConditionKind, ContainerState, PodStatus};

/// How long a step waits if it does not say it.
const PATIENCE: Duration = Duration::from_secs(90);

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Wait until this is so, but no longer than that.
    Until(Condition, Duration),
    /// Let time pass.
    Sleep(Duration),
    /// Ask that the pod go, with this grace in seconds, or its own.
    Delete(Option<u64>),
}

/// What a step waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// The pod is ready.
    Ready,
    /// Nothing is left of the pod.
    Gone,
    /// The pod's phase is called so.
    Phase(String),
    /// A container waits for this reason.
    Reason(String),
    /// An Event with this reason was told.
    Event(String),
    /// A container, this one if one is named, was restarted so often.
    Restarts {
        /// Its name; empty for any.
        container: String,
        /// How often at least.
        count: u32,
    },
    /// A container is `waiting`, `running` or `terminated`.
    State {
        /// Its name.
        container: String,
        /// The state.
        state: String,
    },
}

/// Reads `steps` of a recorded case.
///
/// # Panics
/// If a step is not known.
pub fn read(text: &str) -> Vec<Step> {
    text.split(';').map(|step| read_step(step.trim())).collect()
}

fn read_step(text: &str) -> Step {
    let words: Vec<&str> = text.split_whitespace().collect();
    match words.as_slice() {
        ["until", condition, timeout @ ..] => {
            let secs = timeout.first().map(|secs| secs.parse().expect("a timeout is in seconds"));
            Step::Until(read_condition(condition), secs.map_or(PATIENCE, Duration::from_secs))
        }
        ["sleep", secs] => Step::Sleep(Duration::from_secs_f64(secs.parse().expect("a sleep is in seconds"))),
        ["delete"] => Step::Delete(None),
        ["delete", grace] => Step::Delete(grace.strip_prefix("grace=").and_then(|secs| secs.parse().ok())),
        other => panic!("the step {other:?} is not known"),
    }
}

fn read_condition(text: &str) -> Condition {
    if let Some((whom, count)) = text.split_once("restarts>=") {
        let container = whom.strip_suffix('.').unwrap_or(whom).to_owned();
        return Condition::Restarts { container, count: count.parse().expect("a count") };
    }
    match text.split_once('=') {
        None if text == "ready" => Condition::Ready,
        None if text == "gone" => Condition::Gone,
        Some(("phase", phase)) => Condition::Phase(phase.to_owned()),
        Some(("reason", reason)) => Condition::Reason(reason.to_owned()),
        Some(("event", reason)) => Condition::Event(reason.to_owned()),
        Some((container, state)) => Condition::State { container: container.to_owned(), state: state.to_owned() },
        None => panic!("the condition {text} is not known"),
    }
}

impl Condition {
    /// Whether it is so, with this status and these reasons of Events told. A pod that shows a status is not gone.
    pub fn is_met<'a>(&self, status: Option<&PodStatus>, mut told: impl Iterator<Item = &'a str>) -> bool {
        let containers = || status.into_iter().flat_map(|status| status.init_container_statuses.iter().chain(&status.container_statuses));
        match self {
            Self::Gone => false,
            Self::Event(reason) => told.any(|told| told == reason),
            Self::Ready => status.is_some_and(|status| {
                status.conditions.iter().any(|condition| condition.kind == ConditionKind::Ready && condition.is_true)
            }),
            Self::Phase(phase) => status.is_some_and(|status| format!("{:?}", status.phase) == *phase),
            Self::Restarts { container: whom, count } => {
                containers().any(|container| (whom.is_empty() || *whom == container.name) && container.restart_count >= *count)
            }
            Self::Reason(wanted) => {
                containers().any(|container| matches!(&container.state, ContainerState::Waiting { reason, .. } if reason == wanted))
            }
            Self::State { container: whom, state } => {
                containers().filter(|container| container.name == *whom).any(|container| match &container.state {
                    ContainerState::Waiting { .. } => state == "waiting",
                    ContainerState::Running { .. } => state == "running",
                    ContainerState::Terminated(_) => state == "terminated",
                })
            }
        }
    }
}
