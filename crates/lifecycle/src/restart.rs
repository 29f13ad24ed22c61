//! Whether a container that ended is started again. Pure questions over spec and exit.

use crate::container::Role;
use crate::event::Exit;
use crate::spec::{ContainerSpec, ExitCodeOperator, RestartAction, RestartPolicy, RestartRule};

/// The reason with which the runtime marks a container that ran out of memory.
pub(crate) const OOM_KILLED: &str = "OOMKilled";

/// The reason of a container whose record was removed so that all of them begin again (k8s: 6.d.7).
pub(crate) const RESTARTING_ALL: &str = "RestartingAllContainers";

/// Whether a container that exited so is started again while its pod lives (k8s: 5.a.1 to 5.a.4, 5.a.8 to 5.a.10).
pub(crate) fn restarts(role: Role, spec: &ContainerSpec, pod_policy: RestartPolicy, exit: &Exit) -> bool {
    // k8s: 6.d.10
    if exit.reason == RESTARTING_ALL {
        return true;
    }
    match role {
        // k8s: 5.a.10
        Role::Sidecar => true,
        // k8s: 5.a.8: success is final, whatever the policy says.
        Role::Init => init_failed(exit) && by_policy(spec, pod_policy, exit),
        Role::Regular => by_policy(spec, pod_policy, exit),
        // k8s: 5.a.11
        Role::Ephemeral => false,
    }
}

/// Whether all containers of the pod begin again after this exit: the first rule that matches decides (k8s: 5.a.4, 6.d.1).
pub(crate) fn restarts_all(spec: &ContainerSpec, exit: &Exit) -> bool {
    let first = spec.restart_policy_rules.iter().find(|rule| matches_rule(rule, exit.code));
    spec.restart_policy.is_some() && first.is_some_and(|rule| rule.action == RestartAction::RestartAllContainers)
}

/// Whether a plain init container that exited so has failed (k8s: 5.a.9).
pub(crate) fn init_failed(exit: &Exit) -> bool {
    exit.code != 0 || exit.reason == OOM_KILLED
}

/// Whether a live container would be started again after a failed probe: rules are not asked (k8s: 5.a.6).
pub(crate) fn restarts_after_probe(role: Role, spec: &ContainerSpec, pod_policy: RestartPolicy) -> bool {
    role == Role::Sidecar || spec.restart_policy.unwrap_or(pod_policy) != RestartPolicy::Never
}

fn by_policy(spec: &ContainerSpec, pod_policy: RestartPolicy, exit: &Exit) -> bool {
    let policy = match spec.restart_policy {
        // k8s: 5.a.2: rules count only beside a policy of the container's own.
        Some(policy) => {
            if spec.restart_policy_rules.iter().any(|rule| matches_rule(rule, exit.code)) {
                return true;
            }
            policy
        }
        None => pod_policy,
    };
    match policy {
        RestartPolicy::Always => true,
        // k8s: 5.a.3
        RestartPolicy::OnFailure => exit.code != 0,
        RestartPolicy::Never => false,
    }
}

// k8s: 5.a.4
fn matches_rule(rule: &RestartRule, code: i32) -> bool {
    match rule.operator {
        ExitCodeOperator::In => rule.exit_codes.contains(&code),
        ExitCodeOperator::NotIn => !rule.exit_codes.contains(&code),
    }
}
