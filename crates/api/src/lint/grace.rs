//! Rules about the grace period: who spends how much of it.
//!
//! All of a pod's preStop hooks begin when its end begins, and each container's hook and drain come out of the same
//! grace. A container whose grace is over gets its stop signal and 2 seconds. k8s: 3.b.5, 3.b.9, 6.c.2

use super::view::{ContainerView, Origin, PodView, Role, Sink, Time, shown};
use crate::template::Workload;
use crate::workload::WorkloadKind;

/// A drain of less than this is worth a word where the hook takes most of the grace: a process needs a moment to close
/// its connections.
const DRAIN_SECONDS_MIN: f64 = 5.0;

/// A SIGKILL is as exact as this: a drain that it cut off was measured to be that much shorter or longer.
const KILL_SECONDS: f64 = 0.1;

/// What is said of a time.
fn says(time: &Time, what: &str) -> String {
    match time.origin {
        _ if time.seconds.is_infinite() => format!("{what} never ends by itself"),
        Origin::Written => format!("{what} takes {}", shown(time.seconds)),
        Origin::Measured => format!("{what} took {} in a measured run", shown(time.seconds)),
    }
}

/// Where the grace is written, or that it is not.
fn grace_words(pod: &PodView<'_>) -> (String, Option<String>) {
    let grace = shown(pod.grace_seconds());
    let written = pod.has(&pod.grace_path());
    (
        format!("the whole grace is {grace}"),
        (!written).then(|| format!("the grace period is {grace} where `{}` is not given", pod.grace_path())),
    )
}

/// `USH101`. k8s: 3.b.5, 3.b.9, 12.a.13
pub(super) fn prestop_takes_all(pod: &PodView<'_>, sink: &mut Sink<'_>) {
    let grace = pod.grace_seconds();
    if grace == 0.0 {
        return;
    }
    for container in pod.running() {
        let Some(time) = container.pre_stop_time().filter(|time| time.seconds >= grace) else { continue };
        let name = &container.container.name;
        let (grace_note, default) = grace_words(pod);
        let message = format!("the preStop hook of {name} uses up the grace period of {}", shown(grace));
        let draft = sink.value(&time.path, message).note(says(&time, "it")).see(&pod.grace_path(), grace_note);
        let draft = draft.help("when the grace is over, the process gets its stop signal and is killed 2 s later, whatever it is doing");
        let draft = match time.seconds.is_finite() {
            true => {
                let wanted = time.seconds + container.drain_time().map_or(DRAIN_SECONDS_MIN, |drain| drain.seconds.max(DRAIN_SECONDS_MIN));
                draft.help(format!("set `{}` to {} or more, or shorten the hook", pod.grace_path(), wanted.ceil()))
            }
            false => draft.help("let the hook end when what it waits for has come"),
        };
        if let Some(default) = default {
            draft.help(default);
        }
    }
}

/// `USH102`. k8s: 3.b.9
pub(super) fn no_time_to_drain(pod: &PodView<'_>, sink: &mut Sink<'_>) {
    let grace = pod.grace_seconds();
    if grace == 0.0 {
        return;
    }
    for container in pod.running() {
        let hook = container.pre_stop_time();
        let spent = hook.as_ref().map_or(0.0, |time| time.seconds);
        if spent >= grace {
            continue;
        }
        match (container.drain_time(), &hook) {
            (Some(drain), hook) if is_too_short(container, spent + drain.seconds, grace) => {
                cut_drain(pod, container, hook.as_ref(), &drain, sink)
            }
            (None, Some(hook)) if grace - spent < DRAIN_SECONDS_MIN && spent * 2.0 >= grace => little_left(pod, container, hook, sink),
            _ => {}
        }
    }
}

/// Whether hook and drain need more than the grace. A drain that was cut off needs longer than it was given.
fn is_too_short(container: &ContainerView<'_>, needed: f64, grace: f64) -> bool {
    needed > grace || (container.was_cut_off() && needed + KILL_SECONDS >= grace)
}

fn cut_drain(pod: &PodView<'_>, container: &ContainerView<'_>, hook: Option<&Time>, drain: &Time, sink: &mut Sink<'_>) {
    let (grace, name) = (pod.grace_seconds(), &container.container.name);
    let (grace_note, default) = grace_words(pod);
    let more = if container.was_cut_off() { "more than " } else { "" };
    let (message, sum) = match hook {
        Some(hook) => {
            let sum = hook.seconds + drain.seconds;
            let (hook, drain, sum_shown) = (shown(hook.seconds), shown(drain.seconds), shown(sum));
            (
                format!(
                    "{name} needs {more}{sum_shown} to stop ({hook} of preStop, then {drain} of drain), but its grace is {}",
                    shown(grace)
                ),
                sum,
            )
        }
        None => {
            let needed = shown(drain.seconds);
            (format!("{name} needs {more}{needed} to drain, but its grace is {}", shown(grace)), drain.seconds)
        }
    };
    let draft = sink.value(&drain.path, message).note(says(drain, "the drain"));
    let draft = match hook {
        Some(hook) => draft.see(&hook.path, says(hook, "the hook")),
        None => draft,
    };
    let draft = draft.see(&pod.grace_path(), grace_note);
    let draft = if container.was_cut_off() {
        draft.help(format!(
            "{name} was killed in a measured run, so it needs longer than was measured: try a `{}` of twice as much",
            pod.grace_path()
        ))
    } else {
        draft.help(format!("set `{}` to {} or more", pod.grace_path(), sum.ceil()))
    };
    if let Some(default) = default {
        draft.help(default);
    }
}

fn little_left(pod: &PodView<'_>, container: &ContainerView<'_>, hook: &Time, sink: &mut Sink<'_>) {
    let (grace, name) = (pod.grace_seconds(), &container.container.name);
    let left = shown(grace - hook.seconds);
    let (grace_note, default) = grace_words(pod);
    let message = format!("the preStop hook of {name} leaves {left} of the grace period to drain");
    let draft = sink.value(&hook.path, message).note(says(hook, "it")).see(&pod.grace_path(), grace_note);
    let draft = draft.help("the hook's time is taken from the grace period, not added to it");
    let wanted = (hook.seconds + DRAIN_SECONDS_MIN).ceil();
    let draft = draft.help(format!("set `{}` to {wanted} at least, more if {name} needs longer to drain", pod.grace_path()));
    if let Some(default) = default {
        draft.help(default);
    }
}

/// `USH103`: regular containers stop side by side, then sidecars one by one, the last one first, all in one grace.
/// k8s: 6.c.3, 6.c.4, 6.c.7
pub(super) fn sidecar_without_grace(pod: &PodView<'_>, sink: &mut Sink<'_>) {
    let grace = pod.grace_seconds();
    let needs = |container: &ContainerView<'_>| {
        let (hook, drain) = (container.pre_stop_time(), container.drain_time());
        hook.iter().chain(&drain).map(|time| time.seconds).sum::<f64>()
    };
    let Some(slowest) = pod.with_role(Role::Regular).max_by(|a, b| needs(a).total_cmp(&needs(b))) else { return };
    let mut now = needs(slowest);
    if now >= grace || grace == 0.0 {
        // The container itself has no time left, which another rule says.
        return;
    }
    let mut before = slowest;
    for sidecar in pod.with_role(Role::Sidecar).rev() {
        let hook = sidecar.pre_stop_time().map_or(0.0, |time| time.seconds);
        if hook >= grace {
            return;
        }
        let begins = now.max(hook);
        let drain = sidecar.drain_time();
        let ends = begins + drain.as_ref().map_or(0.0, |drain| drain.seconds);
        if ends > grace && needs(sidecar) <= grace {
            let (name, other) = (&sidecar.container.name, &before.container.name);
            let left = shown((grace - begins).max(0.0));
            let message = format!("the sidecar {name} has {left} left to stop, but needs {}", shown(ends - begins));
            let path = drain.as_ref().map_or_else(|| sidecar.path.child("name"), |drain| drain.path.clone());
            let draft = sink.value(&path, message).note(format!("it is stopped after {other}, {} into the grace", shown(begins)));
            let draft = match before.pre_stop_time().or_else(|| before.drain_time()) {
                Some(time) => draft.see(&time.path, format!("{other} spends its time here")),
                None => draft,
            };
            let draft = draft.see(&pod.grace_path(), format!("the pod has {} for all of them", shown(grace)));
            draft.help(format!("all containers of a pod share one grace period: set `{}` to {} or more", pod.grace_path(), ends.ceil()));
            return;
        }
        if ends > now {
            before = sidecar;
        }
        now = ends;
    }
}

/// `USH104`. k8s: 3.e.6, 4.b.6, 12.b.3
pub(super) fn zero(pod: &PodView<'_>, sink: &mut Sink<'_>) {
    if pod.spec.termination_grace_period_seconds != Some(0) {
        return;
    }
    let with_hook = pod.running().find_map(|container| Some((container, container.hook("preStop")?)));
    let drains = pod.running().find_map(|container| Some((container, container.drain_time()?)));
    let message = match (&with_hook, &drains) {
        (Some((container, _)), _) => {
            format!("with a grace period of 0 the preStop hook of {} is cut off or not run", container.container.name)
        }
        (None, Some((container, _))) => format!("with a grace period of 0 {} is killed before it has drained", container.container.name),
        (None, None) if pod.workload == Workload::Of(WorkloadKind::StatefulSet) => {
            "with a grace period of 0 a pod of this StatefulSet may run twice at the same time".to_owned()
        }
        (None, None) => return,
    };
    let draft = sink.value(&pod.grace_path(), message).note("the stop signal is followed by the kill 2 s later");
    let draft = match (with_hook, drains) {
        (Some((_, hook)), _) => draft.see_key(&hook.path, "it gets 1 s when the pod is deleted, and is not run when a probe fails"),
        (None, Some((_, drain))) => draft.see(&drain.path, says(&drain, "the drain")),
        (None, None) => draft,
    };
    draft.help("give the pod the time that it needs to stop; whoever is in a hurry deletes it with `--grace-period`");
}

/// `USH105`. k8s: 1.b.5, 3.a.1
pub(super) fn probe_longer(pod: &PodView<'_>, sink: &mut Sink<'_>) {
    let grace = pod.grace_seconds();
    for container in pod.running() {
        for (name, probe, path) in container.probes() {
            let Some(own) = probe.termination_grace_period_seconds.filter(|own| *own as f64 > grace) else { continue };
            let message = format!(
                "a failed {name} gives {} {} to stop, a deletion only {}",
                container.container.name,
                shown(own as f64),
                shown(grace)
            );
            let (grace_note, default) = grace_words(pod);
            let path = path.child("terminationGracePeriodSeconds");
            let draft = sink.value(&path, message).see(&pod.grace_path(), grace_note);
            let draft = draft.help(format!(
                "a container whose probe fails is broken; one that is deleted has work to finish: it is `{}` that wants to be long",
                pod.grace_path()
            ));
            if let Some(default) = default {
                draft.help(default);
            }
        }
    }
}

/// `USH106`. k8s: 3.a.1, 3.b.9, 4.a.4
pub(super) fn probe_cuts_prestop(pod: &PodView<'_>, sink: &mut Sink<'_>) {
    for container in pod.running() {
        let Some(hook) = container.pre_stop_time().filter(|hook| hook.seconds < pod.grace_seconds()) else { continue };
        for (name, probe, path) in container.probes() {
            let Some(own) = probe.termination_grace_period_seconds.filter(|own| *own as f64 <= hook.seconds) else { continue };
            let grace = shown(own as f64);
            let message = format!("when the {name} of {} fails, its preStop hook is cut off after {grace}", container.container.name);
            let draft = sink.value(&path.child("terminationGracePeriodSeconds"), message);
            let draft = draft.note("the grace after a failed probe, hook included").see(&hook.path, says(&hook, "the hook"));
            draft.help(format!("give the probe more than {}, or leave its grace out to have the pod's", shown(hook.seconds)));
        }
    }
}
