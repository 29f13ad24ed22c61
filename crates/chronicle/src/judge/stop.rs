//! The way out: who heard the stop signal, in which order containers ended, whether anything was killed, and what grace would do.

use std::time::Duration;

use lifecycle::{Budget, GraceAccount, PreStopEnd, Role, StopCause, Timestamp, Verdict as StopVerdict};

use super::{Check, Outcome, Verdict};
use crate::blame::{Blame, blame};
use crate::life::{ContainerLife, Instance, Life, Signal};
use crate::record::{ChildHandling, Disposition, SignalHandling};
use crate::text::{signal_name, span_text};
use crate::why::{cause, killed, list};

/// Added to an exit code for a signal.
const SIGNAL_CODE_BASE: i32 = 128;

/// A grace that would do is so much longer than what was used, a quarter, and by [`GRACE_SPARE_LEAST`] at least: other machines are
/// slower, and this one at other times.
const GRACE_SPARE: f64 = 1.25;

/// See [`GRACE_SPARE`].
const GRACE_SPARE_LEAST: Duration = Duration::from_secs(1);

/// Programs that start others and neither act on a stop signal nor pass it on.
const SHELLS: [&str; 8] = ["sh", "bash", "dash", "ash", "zsh", "ksh", "mksh", "busybox"];

/// The containers that were stopped with the pod, with the instance that was.
fn stopped(life: &Life) -> impl Iterator<Item = (&ContainerLife, &Instance)> {
    life.containers.iter().filter_map(|container| {
        let instance = container.newest()?;
        matches!(instance.stop, Some((_, StopCause::Pod(_)))).then_some((container, instance))
    })
}

/// Whether the stop signal came to anything.
pub(super) fn signal(life: &Life) -> Vec<Verdict> {
    let verdicts: Vec<_> = stopped(life).map(|(container, instance)| signalled(life, container, instance)).collect();
    if verdicts.is_empty() {
        return vec![Verdict::new(Check::Signal, "pod", Outcome::Skipped, "nothing had to be stopped")];
    }
    verdicts
}

fn signalled(life: &Life, container: &ContainerLife, instance: &Instance) -> Verdict {
    let name = &container.name;
    let verdict = |outcome, text: String| Verdict::new(Check::Signal, name, outcome, text);
    let Some(sent) = instance.stop_signal() else {
        let text = match life.account_of(instance).map(GraceAccount::verdict) {
            Some(StopVerdict::EndedInPreStop) => format!("{name} ended while its preStop hook ran, before its stop signal"),
            Some(StopVerdict::Killed) => format!("{name} was killed without a stop signal"),
            _ => format!("{name} had ended before its stop signal"),
        };
        return verdict(Outcome::Skipped, text);
    };
    let signal = sent.number.map_or_else(|| "the stop signal".to_owned(), signal_name);
    if let Some(swallowed) = sent.handling.as_ref().and_then(|handling| swallowed(name, handling, &signal)) {
        let text = format!("{signal} came to nothing: {}", swallowed.text);
        return verdict(Outcome::Failed, text).with(sent.at, format!("{signal} went out to {name}")).cured(swallowed.cure);
    }
    let was_killed = life.account_of(instance).is_some_and(|account| account.verdict() == StopVerdict::Killed);
    if was_killed {
        let whom = sent.handling.as_ref().map_or_else(|| name.clone(), |handling| format!("a handler of `{}`", handling.process));
        return verdict(Outcome::Passed, format!("{signal} reached {whom}")).with(sent.at, format!("{signal} went out to {name}"));
    }
    ended_by(name, instance, sent, &signal)
}

fn ended_by(name: &str, instance: &Instance, sent: &Signal, signal: &str) -> Verdict {
    let Some(exit) = &instance.exit else {
        let text = format!("{name} was sent {signal} and is not gone");
        return Verdict::new(Check::Signal, name, Outcome::Skipped, text).with(sent.at, format!("{signal} went out to {name}"));
    };
    let took = span_text(exit.finished_at.since(sent.at));
    let text = format!("{name} ended {took} after {signal} with exit code {}", exit.code);
    let is_expected = exit.code == 0 || sent.number.is_some_and(|number| exit.code == SIGNAL_CODE_BASE + number);
    if is_expected {
        return Verdict::new(Check::Signal, name, Outcome::Passed, text);
    }
    let verdict = Verdict::new(Check::Signal, name, Outcome::Warned, text).with(sent.at, format!("{signal} went out to {name}"));
    verdict
        .with(exit.finished_at, format!("{name} ended with exit code {}", exit.code))
        .cured(format!("a process that stops as asked ends with 0, or with {SIGNAL_CODE_BASE} and the signal's number"))
}

struct Swallowed {
    text: String,
    cure: String,
}

/// Why a stop signal came to nothing, as the kernel knew it when it was sent.
fn swallowed(name: &str, handling: &SignalHandling, signal: &str) -> Option<Swallowed> {
    let process = &handling.process;
    match handling.disposition {
        Disposition::Handled | Disposition::Ends => None,
        Disposition::Ignored => Some(Swallowed {
            text: format!("`{process}`, the main process of {name}, ignores it"),
            cure: format!("have `{process}` handle {signal}, or name the signal that it handles with lifecycle.stopSignal"),
        }),
        Disposition::Dropped => Some(dropped(name, process, program(&handling.children), signal)),
    }
}

/// Of what runs below the main process, that which is no shell; else the last shell.
fn program(children: &[ChildHandling]) -> Option<&ChildHandling> {
    children.iter().find(|child| !is_shell(&child.process)).or_else(|| children.last())
}

fn is_shell(process: &str) -> bool {
    SHELLS.contains(&process)
}

fn dropped(name: &str, process: &str, below: Option<&ChildHandling>, signal: &str) -> Swallowed {
    let kind = if is_shell(process) { "the shell " } else { "" };
    let spared = format!("PID 1 of {name} is {kind}`{process}`, which has no handler for it");
    let Some(child) = below else {
        return Swallowed {
            text: format!("{spared}, and the kernel spares a PID 1 what it does not handle"),
            cure: format!("have `{process}` handle {signal}, or start it under an init that passes signals on, such as tini"),
        };
    };
    let program = &child.process;
    let text = format!("{spared} and does not pass it on to `{program}`");
    let cure = match child.disposition {
        Disposition::Handled => format!("start `{program}` with `exec`: it has a handler for {signal}, and is PID 1 then"),
        Disposition::Ends | Disposition::Dropped | Disposition::Ignored => format!(
            "start `{program}` with `exec` and have it handle {signal}, or start all under an init that passes signals on, such as tini: \
             `{program}` has no handler yet, and would be spared as PID 1, too"
        ),
    };
    Swallowed { text, cure }
}

/// Sidecars that ended while a container that they serve was still being stopped.
pub(super) fn order(life: &Life) -> Vec<Verdict> {
    let has_sidecars = life.containers.iter().any(|container| container.role == Role::Sidecar);
    if !has_sidecars {
        return Vec::new();
    }
    let served = stopped(life).filter(|(container, _)| container.role == Role::Regular);
    let Some((last_at, last)) =
        served.filter_map(|(container, instance)| Some((instance.ended_at()?, container))).max_by_key(|(at, _)| *at)
    else {
        return vec![Verdict::new(Check::Order, "pod", Outcome::Skipped, "no container was stopped that a sidecar serves")];
    };
    let early = stopped(life).filter(|(container, _)| container.role == Role::Sidecar);
    let verdicts: Vec<_> = early.filter_map(|(container, instance)| ended_early(life, container, instance, last, last_at)).collect();
    if verdicts.is_empty() {
        let text = format!("every sidecar outlived {}", list(served_names(life)));
        return vec![Verdict::new(Check::Order, "pod", Outcome::Passed, text)];
    }
    verdicts
}

fn served_names(life: &Life) -> impl Iterator<Item = &str> {
    stopped(life).filter(|(container, _)| container.role == Role::Regular).map(|(container, _)| container.name.as_str())
}

fn ended_early(life: &Life, sidecar: &ContainerLife, instance: &Instance, last: &ContainerLife, last_at: Timestamp) -> Option<Verdict> {
    let ended_at = instance.ended_at().filter(|at| *at < last_at)?;
    let (name, served) = (&sidecar.name, &last.name);
    let sooner = span_text(last_at.since(ended_at));
    let in_pre_stop = life.account_of(instance).is_some_and(|account| account.verdict() == StopVerdict::EndedInPreStop);
    let how = if in_pre_stop { "was ended by its preStop hook" } else { "ended" };
    let text = format!("sidecar {name} {how} {sooner} before {served}, which was still being stopped and may need it");
    let verdict = Verdict::new(Check::Order, name, Outcome::Failed, text)
        .with(ended_at, format!("{name} ended"))
        .with(last_at, format!("{served} ended"));
    Some(verdict.cured(if in_pre_stop {
        "preStop hooks of all containers begin together: do without this one, since a sidecar gets its stop signal only when the other \
         containers have ended"
    } else {
        "a sidecar is to end by its stop signal, which it gets only when the other containers have ended"
    }))
}

/// What was killed, and by whose fault.
pub(super) fn kill(life: &Life) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    for container in &life.containers {
        let newest_first = container.instances.iter().rev();
        verdicts.extend(newest_first.filter_map(|instance| was_killed(life, container, instance)).next());
    }
    if verdicts.is_empty() {
        let text = if life.accounts.is_empty() { "nothing had to be stopped" } else { "no container was killed" };
        let outcome = if life.accounts.is_empty() { Outcome::Skipped } else { Outcome::Passed };
        verdicts.push(Verdict::new(Check::Kill, "pod", outcome, text));
    }
    verdicts
}

fn was_killed(life: &Life, container: &ContainerLife, instance: &Instance) -> Option<Verdict> {
    let account = life.account_of(instance)?;
    let name = &container.name;
    let verdict = |text: &str| Verdict::new(Check::Kill, name, Outcome::Failed, text.trim_end_matches('.'));
    let whose = blame(account);
    match whose {
        Blame::Nobody => None,
        Blame::OutOfMemory | Blame::Stranger => {
            let cause = cause(container, instance);
            let verdict = verdict(&format!("{name} was killed: {}", cause.text)).with_all(cause.evidence);
            Some(verdict.with_some(instance.ended_at(), format!("{name} was ended by SIGKILL")))
        }
        Blame::Asker | Blame::PreStopEndless | Blame::PreStop | Blame::Order | Blame::Starting | Blame::Process => {
            let answer = killed(life, container, instance)?;
            let verdict = verdict(&answer.text).with_answer(answer);
            Some(match kill_cure(account, instance, whose) {
                Some(cure) => verdict.cured(cure),
                None => verdict,
            })
        }
    }
}

fn kill_cure(account: &GraceAccount, instance: &Instance, whose: Blame) -> Option<String> {
    let handling = instance.stop_signal().and_then(|signal| signal.handling.as_ref());
    let raise = raise(account);
    match whose {
        Blame::Nobody | Blame::OutOfMemory | Blame::Stranger | Blame::Asker => None,
        Blame::PreStopEndless | Blame::PreStop => Some(format!("shorten the preStop hook, or {raise}")),
        Blame::Order => Some(format!("have the containers that stop before it end sooner, or {raise}")),
        Blame::Starting => Some(format!("have it start sooner, or {raise}")),
        Blame::Process => match handling {
            Some(handling) if matches!(handling.disposition, Disposition::Dropped | Disposition::Ignored) => None,
            Some(handling) if is_shell(&handling.process) && !handling.children.is_empty() => {
                let child = program(&handling.children).map_or("its child", |child| child.process.as_str());
                Some(format!(
                    "have it end sooner, or {raise}; a shell runs its trap only when the program that it waits for has ended: start \
                     `{child}` in the background and `wait` for it"
                ))
            }
            Some(_) | None => Some(format!("have it end sooner after the stop signal, or {raise}")),
        },
    }
}

/// How to give a stop more time than it had.
fn raise(account: &GraceAccount) -> String {
    let had = account.used().unwrap_or_default().as_secs().max(account.grace_secs);
    match account.budget {
        Budget::Manifest => format!("raise terminationGracePeriodSeconds above {had}"),
        Budget::Request => format!("ask for a grace of more than {had} s"),
    }
}

/// How much of the grace was used, and which would do.
pub(super) fn grace(life: &Life) -> Vec<Verdict> {
    let accounts = stopped(life).filter_map(|(container, instance)| Some((container, life.account_of(instance)?)));
    let verdicts: Vec<_> = accounts.filter_map(|(container, account)| used(&container.name, account)).collect();
    if verdicts.is_empty() {
        return vec![Verdict::new(Check::Grace, "pod", Outcome::Skipped, "nothing had to be stopped")];
    }
    verdicts
}

fn used(name: &str, account: &GraceAccount) -> Option<Verdict> {
    let used = account.used()?;
    let (shown, grace) = (span_text(used), account.grace_secs);
    let enough = enough_secs(used);
    let setting = match account.budget {
        Budget::Manifest => format!("terminationGracePeriodSeconds: {enough}"),
        Budget::Request => format!("a grace of {enough} s"),
    };
    match account.verdict() {
        StopVerdict::InProgress => None,
        StopVerdict::Killed => {
            let text = format!("{name} used up its grace of {grace} s and was killed after {shown}: what would do is not known");
            Some(
                Verdict::new(Check::Grace, name, Outcome::Failed, text).with(account.began_at, format!("the grace of {name} began to run")),
            )
        }
        StopVerdict::EndedInPreStop | StopVerdict::Graceful | StopVerdict::GracefulInOvertime | StopVerdict::EndedBefore => {
            let text = format!("{name} used {shown} of its grace of {grace} s");
            if account.pre_stop.as_ref().is_some_and(|hook| hook.end == PreStopEnd::OutOfGrace) {
                let text = format!("{text}: its preStop hook was cut off, and what would do is not known");
                let verdict = Verdict::new(Check::Grace, name, Outcome::Warned, text);
                return Some(verdict.with(account.began_at, format!("the grace of {name} began to run")));
            }
            if enough <= grace {
                let text = format!("{text}; {enough} s would do");
                return Some(Verdict::new(Check::Grace, name, Outcome::Passed, text));
            }
            let verdict = Verdict::new(Check::Grace, name, Outcome::Warned, format!("{text}: too little is to spare"));
            Some(verdict.with(account.began_at, format!("the grace of {name} began to run")).cured(setting))
        }
    }
}

/// The smallest grace in whole seconds that would do, with a margin.
pub(super) fn enough_secs(used: Duration) -> u64 {
    let needed = used.mul_f64(GRACE_SPARE).max(used + GRACE_SPARE_LEAST);
    needed.as_secs() + u64::from(needed.subsec_nanos() > 0)
}
