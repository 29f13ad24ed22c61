//! Makes a plan that breaks a promise smaller, as long as it still breaks the same one.

use lifecycle::{ContainerSpec, Resources};

use crate::plan::{Plan, Temper};
use crate::promises::{self, Broken};

/// So many plans are tried at most.
const TRIES_MAX: u32 = 400;

/// The smallest plan that was found, and how it breaks the promise.
pub(crate) fn shrink(plan: Plan, broken: Broken) -> (Plan, Broken) {
    let mut best = (plan, broken);
    let mut tries = 0;
    loop {
        let smaller = candidates(&best.0).into_iter().find_map(|candidate| {
            tries += 1;
            let found = promises::judge(&crate::play(&candidate))?;
            (tries <= TRIES_MAX && found.promise == best.1.promise).then_some((candidate, found))
        });
        match smaller {
            Some(smaller) if tries <= TRIES_MAX => best = smaller,
            Some(_) | None => return best,
        }
    }
}

/// Plans with one thing less, the biggest things first.
fn candidates(plan: &Plan) -> Vec<Plan> {
    let mut candidates = Vec::new();
    let mut with = |change: &dyn Fn(&mut Plan) -> bool| {
        let mut candidate = plan.clone();
        if change(&mut candidate) {
            candidates.push(candidate);
        }
    };
    for index in 0..plan.pod.containers.len() {
        with(&|plan| plan.pod.containers.len() > 1 && !plan.pod.containers.remove(index).name.is_empty());
    }
    for index in 0..plan.pod.init_containers.len() {
        with(&|plan| !plan.pod.init_containers.remove(index).name.is_empty());
    }
    for index in 0..plan.pod.ephemeral_containers.len() {
        with(&|plan| !plan.pod.ephemeral_containers.remove(index).name.is_empty());
    }
    // The last delete stays, so that the story ends.
    for index in 0..plan.asks.len().saturating_sub(1) {
        with(&|plan| {
            plan.asks.remove(index);
            true
        });
    }
    with(&|plan| std::mem::take(&mut plan.trouble_percent) > 0);
    with(&|plan| std::mem::take(&mut plan.repeat_percent) > 0);
    with(&|plan| plan.pod.active_deadline_secs.take().is_some());
    with(&|plan| plan.back_off_max.take().is_some());
    for index in 0..plan.pod.init_containers.len() + plan.pod.containers.len() {
        for part in PARTS {
            with(&|plan| container(plan, index).is_some_and(part));
        }
    }
    for name in plan.tempers.keys() {
        for calm in CALMS {
            with(&|plan| plan.tempers.get_mut(name).is_some_and(|temper| std::mem::take(calm(temper)) > 0));
        }
    }
    candidates
}

fn container(plan: &mut Plan, index: usize) -> Option<&mut ContainerSpec> {
    plan.pod.init_containers.iter_mut().chain(&mut plan.pod.containers).nth(index)
}

/// Parts of a container that can be taken out.
const PARTS: [fn(&mut ContainerSpec) -> bool; 7] = [
    |spec| std::mem::take(&mut spec.resources) != Resources::default(),
    |spec| spec.startup_probe.take().is_some(),
    |spec| spec.liveness_probe.take().is_some(),
    |spec| spec.readiness_probe.take().is_some(),
    |spec| spec.post_start.take().is_some(),
    |spec| spec.pre_stop.take().is_some(),
    |spec| !std::mem::take(&mut spec.restart_policy_rules).is_empty(),
];

/// What can be calmed in a container.
const CALMS: [fn(&mut Temper) -> &mut u64; 5] = [
    |temper| &mut temper.ends_percent,
    |temper| &mut temper.ignores_signal_percent,
    |temper| &mut temper.hook_hangs_percent,
    |temper| &mut temper.hook_fails_percent,
    |temper| &mut temper.probe_fails_percent,
];
