//! What is shown: container states follow what was told, phase and conditions follow the container states (section 8).

use std::collections::BTreeMap;

use lifecycle::{
    Action, Condition, ConditionKind, ContainerState, ContainerStatus, Event, EvictionCause, Exit, KillTrigger, Note, Phase, PodStatus,
    ProbeKind, RestartAction, Role, Terminated,
};

use super::{Promise, Verdict};
use crate::drive::{eviction_message, rejection};
use crate::known::{Known, KnownContainer, KnownTermination, Window, is_restarted};
use crate::story::{Story, What};

const STATE: &str = "each container is shown as what is known of it";
const FROZEN: &str = "a container that starts is shown as before until its postStart is over";
const COUNT: &str = "restart counts never fall";
const LEAVES: &str = "a container leaves Terminated only if it is restarted";
const PHASE: &str = "the phase follows from the container states";
const STICKY: &str = "a pod that has ended stays so";
const CONDITIONS: &str = "the conditions follow from phase and container states";
const REASON: &str = "a pod that had to go says why, once it is over";
const POD: &str = "start time and addresses stay what they are";
const ORDER: &str = "statuses stand in their order";

/// Foretells what is shown.
#[derive(Debug)]
pub(super) struct Shown {
    last: Option<PodStatus>,
    /// Published results of probes, for the present instance.
    probes: BTreeMap<(String, ProbeKind), bool>,
}

impl Shown {
    pub(super) const fn new(_story: &Story) -> Self {
        Self { last: None, probes: BTreeMap::new() }
    }

    fn note_probes(&mut self, known: &Known<'_>, window: &Window<'_>) {
        for step in &window.did {
            if let Action::Note(Note::ProbeTurned { container, probe, success }) = &step.action {
                self.probes.insert((container.clone(), *probe), *success);
            }
        }
        for container in known.containers.iter().filter(|container| !container.is_alive()) {
            self.probes.retain(|(name, _), _| name != &container.spec.name);
        }
    }

    fn result(&self, container: &KnownContainer<'_>, probe: ProbeKind, exists: bool) -> bool {
        !exists || self.probes.get(&(container.spec.name.clone(), probe)) == Some(&true)
    }

    fn judge_container(
        &self,
        known: &Known<'_>,
        container: &KnownContainer<'_>,
        may_be_allocated_anew: bool,
        status: &ContainerStatus,
    ) -> Verdict {
        let name = &container.spec.name;
        let before = self.last.as_ref().and_then(|last| find(last, name));
        if let Some(before) = before {
            if status.restart_count < before.restart_count {
                return Err((COUNT, format!("{name}: {} after {}", status.restart_count, before.restart_count)));
            }
            if container.is_busy() && known.termination.is_none() {
                // A start that begins, or begins anew, shows what has changed till then.
                let is_another = status.image != before.image;
                let is_allocated_anew =
                    may_be_allocated_anew && *status == ContainerStatus { allocated: status.allocated, ..before.clone() };
                let is_right = status == before || is_another || is_allocated_anew;
                return if is_right { Ok(()) } else { Err((FROZEN, format!("{status:?} after {before:?}"))) };
            }
            let leaves = !matches!(status.state, ContainerState::Terminated(_));
            if let (ContainerState::Terminated(ended), true) = (&before.state, leaves) {
                let begins_anew = container.role == Role::Init && known.epoch > 0;
                let may_leave = (is_restarted(known.pod, container, &ended.exit) || begins_anew) && known.termination.is_none();
                let has_left = container.instance.as_ref().map(|instance| &instance.id) != ended.container_id.as_ref();
                if !may_leave && !has_left {
                    return Err((LEAVES, format!("{name}: {:?} after {ended:?}", status.state)));
                }
            }
        }
        let is_right = self.is_right(known, container, status);
        if is_right { Ok(()) } else { Err((STATE, format!("{name}: {status:?}, known is {:?}", container.instance))) }
    }

    fn is_right(&self, known: &Known<'_>, container: &KnownContainer<'_>, status: &ContainerStatus) -> bool {
        let Some(instance) = &container.instance else {
            let is_waiting = matches!(&status.state, ContainerState::Waiting { .. });
            let is_missed = matches!(&status.state, ContainerState::Terminated(ended) if ended.exit.reason == "ContainerStatusUnknown");
            let is_bare = status.last_state.is_none() && !status.ready && !status.started && status.restart_count == 0;
            return is_bare && (is_waiting || (is_missed && known.is_over));
        };
        let previous = container.previous.as_ref().and_then(|previous| previous.exit.as_ref());
        let is_last = |exit: Option<&Exit>| status.last_state.as_ref().map(|last| &last.exit) == exit;
        if let Some(exit) = &instance.exit {
            let is_ready = container.role == Role::Init && exit.code == 0;
            let is_shown = match &status.state {
                ContainerState::Terminated(ended) => &ended.exit == exit && is_last(previous),
                ContainerState::Waiting { reason, .. } => {
                    let restarts = known.termination.is_none() && is_restarted(known.pod, container, exit);
                    restarts && !reason.is_empty() && is_last(Some(exit))
                }
                ContainerState::Running { .. } => false,
            };
            return is_shown && status.ready == is_ready && !status.started && status.restart_count == instance.restart_count;
        }
        let Some(started_at) = instance.started_at else {
            return matches!(status.state, ContainerState::Waiting { .. }) && !status.ready && !status.started;
        };
        let spec = container.spec;
        let started = self.result(container, ProbeKind::Startup, spec.startup_probe.is_some());
        let ready = !matches!(container.role, Role::Init | Role::Ephemeral)
            && started
            && self.result(container, ProbeKind::Readiness, spec.readiness_probe.is_some());
        status.state == ContainerState::Running { started_at }
            && status.started == started
            && status.ready == ready
            && is_last(previous)
            && status.restart_count == instance.restart_count
            && status.container_id.as_ref() == Some(&instance.id)
    }

    fn judge_phase(&self, known: &Known<'_>, status: &PodStatus) -> Verdict {
        let computed = phase(known, status);
        let last = self.last.as_ref().map_or(Phase::Pending, |last| last.phase);
        if last.is_terminal() && status.phase != last {
            return Err((STICKY, format!("{:?} after {last:?}", status.phase)));
        }
        // k8s: 8.a.17
        let expected = if computed.is_terminal() && !known.is_over { last } else { computed };
        if status.phase == expected { Ok(()) } else { Err((PHASE, format!("{:?} instead of {expected:?}", status.phase))) }
    }
}

impl<'a> Promise<'a> for Shown {
    fn after(&mut self, known: &Known<'a>, window: &Window<'a>) -> Verdict {
        self.note_probes(known, window);
        let Some(status) = window.shown else { return self.judge_still(known) };
        self.judge_order(known, status)?;
        self.judge_pod(known, status)?;
        for container in &known.containers {
            let Some(shown) = find(status, &container.spec.name) else {
                return Err((STATE, format!("{} is not shown", container.spec.name)));
            };
            self.judge_container(known, container, is_allocated_anew(window, container), shown)?;
        }
        self.judge_phase(known, status)?;
        judge_reason(known, status)?;
        let expected = conditions(known, status);
        // What is said of resizes is judged with them.
        let others = status.conditions.iter().filter(|condition| !is_of_resize(condition.kind));
        if !others.eq(&expected) {
            return Err((CONDITIONS, format!("{:?} instead of {expected:?}", status.conditions)));
        }
        self.last = Some(status.clone());
        Ok(())
    }
}

impl Shown {
    /// Nothing new was shown: then what was shown last is still right.
    fn judge_still(&self, known: &Known<'_>) -> Verdict {
        let Some(last) = &self.last else { return Ok(()) };
        known.containers.iter().try_for_each(|container| match find(last, &container.spec.name) {
            Some(shown) => self.judge_container(known, container, false, shown),
            None => Ok(()),
        })
    }

    /// k8s: 8.f.1, 3.f.5
    fn judge_pod(&self, known: &Known<'_>, status: &PodStatus) -> Verdict {
        let has_addresses = known.has_sandbox || (known.is_over && self.last.as_ref().is_some_and(|last| !last.pod_ips.is_empty()));
        if status.start_time == known.start && status.pod_ips.is_empty() != has_addresses {
            return Ok(());
        }
        Err((POD, format!("{:?} since {}", status.pod_ips, status.start_time)))
    }

    /// k8s: 8.c.18
    fn judge_order(&self, known: &Known<'_>, status: &PodStatus) -> Verdict {
        let names = |statuses: &[ContainerStatus]| statuses.iter().map(|status| status.name.clone()).collect::<Vec<_>>();
        let init: Vec<String> = known.pod.init_containers.iter().map(|spec| spec.name.clone()).collect();
        let mut regular: Vec<String> = known.pod.containers.iter().map(|spec| spec.name.clone()).collect();
        regular.sort();
        let mut ephemeral: Vec<String> = known.pod.ephemeral_containers.iter().map(|spec| spec.name.clone()).collect();
        ephemeral.sort();
        let are_right = names(&status.init_container_statuses) == init && names(&status.container_statuses) == regular;
        if are_right && names(&status.ephemeral_container_statuses) == ephemeral {
            return Ok(());
        }
        Err((ORDER, format!("{:?}", names(&status.container_statuses))))
    }
}

/// Whether a start of the container begins in a window that changes what it is allocated: because its start was given up for another
/// image, or because it was granted other resources, which ends its pause (k8s: 5.b.7).
fn is_allocated_anew(window: &Window<'_>, container: &KnownContainer<'_>) -> bool {
    let did = |wanted: &dyn Fn(&Action) -> bool| window.did.iter().any(|step| wanted(&step.action));
    match window.input {
        Some(What::Updated(_)) => did(&|action| matches!(action, Action::CancelPull { .. })),
        Some(What::Told(Event::RoomMeasured { .. })) => did(&|action| match action {
            Action::InspectImage { container: name, .. } | Action::PullImage { container: name, .. } => *name == container.spec.name,
            _ => false,
        }),
        Some(_) | None => false,
    }
}

fn find<'b>(status: &'b PodStatus, name: &str) -> Option<&'b ContainerStatus> {
    status.all_container_statuses().find(|status| status.name == name)
}

/// k8s: 8.a.14, 8.a.17, 8.a.18 to 8.a.22
fn judge_reason(known: &Known<'_>, status: &PodStatus) -> Verdict {
    let told = known.termination.filter(|_| known.is_over).and_then(|termination| reason(known, termination.trigger));
    let (reason, message) = told.unwrap_or_default();
    if (status.reason.as_str(), &status.message) == (reason, &message) {
        return Ok(());
    }
    Err((REASON, format!("{:?} {:?} instead of {reason:?} {message:?}", status.reason, status.message)))
}

/// Why a pod had to go, in the words of its status; none if it ended by itself or was deleted.
fn reason(known: &Known<'_>, trigger: KillTrigger) -> Option<(&'static str, String)> {
    let (reason, message) = match trigger {
        KillTrigger::DeadlineExceeded => ("DeadlineExceeded", "Pod was active on the node longer than the specified deadline".to_owned()),
        KillTrigger::Evicted => ("Evicted", eviction_message(known.termination?.cause?).to_owned()),
        KillTrigger::Preempted => ("Preempting", "Preempted in order to admit critical pod".to_owned()),
        KillTrigger::NodeShutdown => ("Terminated", "Pod was terminated in response to imminent node shutdown.".to_owned()),
        KillTrigger::Rejected => ("OutOfcpu", format!("Pod was rejected: {}", rejection().message)),
        KillTrigger::Deleted | KillTrigger::Completed | KillTrigger::InitFailed | KillTrigger::ProbeFailed => return None,
    };
    Some((reason, message))
}

/// The phase, not held back.
fn phase(known: &Known<'_>, status: &PodStatus) -> Phase {
    let shown = |container: &KnownContainer<'_>| find(status, &container.spec.name);
    let of = |role: Role| known.containers.iter().filter(move |container| container.role == role);
    let running = |container: &&KnownContainer<'_>| matches!(shown(container), Some(status) if is_running(status));
    let any_running = of(Role::Regular).chain(of(Role::Sidecar)).any(|container| running(&container));
    // k8s: 8.a.14, 8.a.18, 8.a.20 to 8.a.22
    if matches!(known.termination, Some(KnownTermination { trigger, .. }) if reason(known, trigger).is_some()) {
        return Phase::Failed;
    }
    let regular_started = of(Role::Regular).any(|container| shown(container).is_some_and(|status| status.started));
    let mut is_initializing = false;
    for container in of(Role::Init) {
        let Some(status) = shown(container) else { continue };
        match ended(status) {
            // k8s: 8.a.2
            Some(exit) if exit.code != 0 || exit.reason == "OOMKilled" => {
                if !is_restarted(known.pod, container, exit) || known.is_over {
                    return Phase::Failed;
                }
                is_initializing = true;
            }
            Some(_) => is_initializing |= !matches!(status.state, ContainerState::Terminated(_)),
            // k8s: 8.a.1
            None => is_initializing = true,
        }
    }
    // k8s: 8.a.3
    for status in of(Role::Sidecar).filter_map(shown) {
        let is_new = matches!(status.state, ContainerState::Waiting { .. }) && status.last_state.is_none();
        is_initializing |= (is_new || (is_running(status) && !status.started)) && !regular_started;
    }
    let regular: Vec<(&KnownContainer<'_>, &ContainerStatus)> =
        of(Role::Regular).filter_map(|container| shown(container).map(|status| (container, status))).collect();
    // k8s: 8.a.4
    let any_new = regular.iter().any(|(_, status)| !is_running(status) && ended(status).is_none());
    let exits: Vec<(&KnownContainer<'_>, &Exit)> = regular
        .iter()
        .filter(|(_, status)| !is_running(status))
        .filter_map(|(container, status)| ended(status).map(|exit| (*container, exit)))
        .collect();
    let all_well = exits.iter().all(|(_, exit)| exit.code == 0);
    let any_restarts = exits.iter().any(|(container, exit)| is_restarted(known.pod, container, exit));
    if known.is_over {
        // k8s: 8.a.6, 3.f.9
        if all_well && !any_new { Phase::Succeeded } else { Phase::Failed }
    } else if is_initializing || any_new {
        Phase::Pending
    } else if any_running || any_restarts {
        // k8s: 8.a.5, 8.a.7
        Phase::Running
    } else if all_well {
        Phase::Succeeded
    } else {
        Phase::Failed
    }
}

const fn is_running(status: &ContainerStatus) -> bool {
    matches!(status.state, ContainerState::Running { .. })
}

/// How the container ended, if it does not run; a pause between restarts counts as ended (k8s: 8.a.8).
fn ended(status: &ContainerStatus) -> Option<&Exit> {
    match (&status.state, &status.last_state) {
        (ContainerState::Terminated(Terminated { exit, .. }), _) | (ContainerState::Waiting { .. }, Some(Terminated { exit, .. })) => {
            Some(exit)
        }
        (ContainerState::Waiting { .. }, None) | (ContainerState::Running { .. }, _) => None,
    }
}

const fn is_of_resize(kind: ConditionKind) -> bool {
    matches!(kind, ConditionKind::PodResizePending | ConditionKind::PodResizeInProgress)
}

/// k8s: 8.b.1 to 8.b.16
fn conditions(known: &Known<'_>, status: &PodStatus) -> Vec<Condition> {
    let phase = phase(known, status);
    let condition = |kind, is_true, reason: &str, message: String| Condition { kind, is_true, reason: reason.to_owned(), message };
    let plain = |kind, is_true| condition(kind, is_true, "", String::new());
    let mut conditions = Vec::new();
    let disruption = match known.termination.map(|termination| termination.trigger) {
        Some(KillTrigger::Preempted) => Some("Pod was preempted by Kubelet to accommodate a critical pod."),
        Some(KillTrigger::NodeShutdown) => Some("Pod was terminated in response to imminent node shutdown."),
        // k8s: 8.b.14: what a pod uses too much of disrupts nobody but itself.
        Some(KillTrigger::Evicted) if known.termination.and_then(|termination| termination.cause) == Some(EvictionCause::NodePressure) => {
            Some(eviction_message(EvictionCause::NodePressure))
        }
        Some(_) | None => None,
    };
    if let (Some(message), true) = (disruption, known.is_over) {
        conditions.push(condition(ConditionKind::DisruptionTarget, true, "TerminationByKubelet", message.to_owned()));
    }
    conditions.push(plain(ConditionKind::PodReadyToStartContainers, known.has_sandbox && !known.is_over));
    let unpassed: Vec<&str> = known
        .containers
        .iter()
        .filter(|container| matches!(container.role, Role::Init | Role::Sidecar))
        .filter(|container| {
            let shown = find(status, &container.spec.name);
            shown.is_some_and(|status| if container.role == Role::Sidecar { !status.started } else { !status.ready })
        })
        .map(|container| container.spec.name.as_str())
        .collect();
    let regular_started = status.container_statuses.iter().any(|status| status.started);
    conditions.push(if phase == Phase::Succeeded {
        condition(ConditionKind::Initialized, true, "PodCompleted", String::new())
    } else if unpassed.is_empty() || regular_started {
        plain(ConditionKind::Initialized, true)
    } else {
        let message = format!("containers with incomplete status: [{}]", unpassed.join(" "));
        condition(ConditionKind::Initialized, false, "ContainersNotInitialized", message)
    });
    let is_sidecar = |name: &str| known.index(name).is_some_and(|index| known.containers[index].role == Role::Sidecar);
    let sidecars = status.init_container_statuses.iter().filter(|status| is_sidecar(&status.name));
    // The message names regular containers in the order of the spec.
    let regular = known.pod.containers.iter().filter_map(|spec| find(status, &spec.name));
    let unready: Vec<&str> = sidecars.chain(regular).filter(|status| !status.ready).map(|status| status.name.as_str()).collect();
    let (is_ready, reason, message) = match phase {
        Phase::Succeeded => (false, "PodCompleted", String::new()),
        Phase::Failed => (false, "PodFailed", String::new()),
        Phase::Pending | Phase::Running if unready.is_empty() => (true, "", String::new()),
        Phase::Pending | Phase::Running => {
            (false, "ContainersNotReady", format!("containers with unready status: [{}]", unready.join(" ")))
        }
    };
    conditions.push(condition(ConditionKind::Ready, is_ready, reason, message.clone()));
    conditions.push(condition(ConditionKind::ContainersReady, is_ready, reason, message));
    conditions.push(plain(ConditionKind::PodScheduled, true));
    // k8s: 6.d.9: where it comes true, other promises judge the story.
    let mut rules = known.pod.all_containers().flat_map(|spec| &spec.restart_policy_rules);
    if rules.any(|rule| rule.action == RestartAction::RestartAllContainers) {
        conditions.push(plain(ConditionKind::AllContainersRestarting, false));
    }
    conditions
}
