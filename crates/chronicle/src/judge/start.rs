//! The way up: hooks, what ended before it was asked to, Ready, and the command that was run meanwhile.

use std::time::Duration;

use lifecycle::{Handler, Hook, HookOutcome, Phase, RestartPolicy, Role, StopCause};

use super::{Check, CommandRun, Outcome, Verdict, asked_at, first_ready};
use crate::life::{ContainerLife, HookRun, Instance, Life};
use crate::text::{shortened, span_text};
use crate::why::{Present, Question, cause, clause, count_text, handler_text, hook_end_text, why};

/// Characters of a command line that a verdict shows.
const COMMAND_SHOWN_MAX: usize = 80;

/// A verdict for each hook of each container, over its worst run.
pub(super) fn hooks(life: &Life) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    for container in &life.containers {
        for hook in [Hook::PostStart, Hook::PreStop] {
            let runs = container.instances.iter().flat_map(|instance| instance.hooks.iter().map(move |run| (instance, run)));
            let worst = runs.filter(|(_, run)| run.hook == hook).max_by_key(|(_, run)| !has_done_its_work(run));
            match worst {
                Some((instance, run)) => verdicts.push(hook_run(life, container, instance, run)),
                None => verdicts.extend(never_run(life, container, hook)),
            }
        }
    }
    if verdicts.is_empty() {
        verdicts.push(Verdict::new(Check::Hooks, "pod", Outcome::Skipped, "the pod has no hooks"));
    }
    verdicts
}

/// A preStop that ends with its container has done what it is for, also if it was itself what ended the container.
fn has_done_its_work(run: &HookRun) -> bool {
    let with_container = run.end.as_ref().is_some_and(|end| matches!(end.outcome, HookOutcome::ContainerEnded { .. }));
    run.has_succeeded() || (run.hook == Hook::PreStop && with_container)
}

fn hook_name(hook: Hook) -> &'static str {
    match hook {
        Hook::PostStart => "postStart",
        Hook::PreStop => "preStop",
    }
}

fn hook_run(life: &Life, container: &ContainerLife, instance: &Instance, run: &HookRun) -> Verdict {
    let (name, hook) = (&container.name, hook_name(run.hook));
    let took = span_text(run.took(life.read_to.timestamp()));
    let what = handler_text(&run.handler);
    if has_done_its_work(run) {
        let how = if run.has_succeeded() { "succeeded in" } else { "ended with its container, after" };
        let over_http = run.end.as_ref().is_some_and(|end| end.fell_back_to_http);
        let over_http = if over_http { ", over HTTP because the server does not speak HTTPS" } else { "" };
        return Verdict::new(Check::Hooks, name, Outcome::Passed, format!("{hook} of {name} ({what}) {how} {took}{over_http}"));
    }
    let limit = life.account_of(instance).map(|account| account.grace_secs);
    let is_cut_off = run.end.as_ref().is_some_and(|end| end.out_of_grace);
    let how = match limit {
        Some(secs) if is_cut_off => format!("did not end within the grace of {secs} s and was cut off"),
        Some(_) | None => hook_end_text(run),
    };
    let text = format!("{hook} of {name} ({what}) {how}, after {took}");
    let verdict = Verdict::new(Check::Hooks, name, Outcome::Failed, text).with(run.asked_at, format!("the {hook} hook began"));
    let verdict = verdict.with_some(run.end.as_ref().map(|end| end.at), format!("the {hook} hook {}", hook_end_text(run)));
    let printed = run.output.iter().rev().find(|line| !line.line.trim().is_empty());
    let verdict = match printed {
        Some(line) => verdict.with_some(line.at, format!("the last it printed: {}", clause(&line.line))),
        None => verdict,
    };
    match hook_cure(run, is_cut_off) {
        Some(cure) => verdict.cured(cure),
        None => verdict,
    }
}

fn hook_cure(run: &HookRun, is_cut_off: bool) -> Option<&'static str> {
    if is_cut_off {
        return Some("shorten the hook, or raise terminationGracePeriodSeconds above what hook and process need together");
    }
    match (&run.handler, run.end.as_ref().map(|end| &end.outcome)) {
        (Handler::TcpSocket, _) => Some("tcpSocket hooks always fail in Kubernetes: use exec, httpGet or sleep"),
        (_, Some(HookOutcome::Cancelled)) if run.hook == Hook::PostStart => {
            Some("a container is not Running before its postStart hook has ended: let the hook do less, or give it a limit of its own")
        }
        (Handler::Exec { .. }, Some(HookOutcome::FailedToRun { .. })) => Some("the program has to be in the image of the container"),
        (Handler::HttpGet(_), Some(HookOutcome::HttpFailed { .. })) if run.hook == Hook::PostStart => Some(
            "a postStart hook runs beside the start of the process: nobody may listen yet; have the hook wait for the port, or do without it",
        ),
        _ => None,
    }
}

fn never_run(life: &Life, container: &ContainerLife, hook: Hook) -> Option<Verdict> {
    let spec = container.spec.as_ref()?;
    let handler = match hook {
        Hook::PostStart => spec.post_start.as_ref(),
        Hook::PreStop => spec.pre_stop.as_ref(),
    }?;
    let why = match (hook, container.newest()) {
        (_, None) => "its container never started",
        (Hook::PreStop, Some(instance)) if instance.stop.is_none() && instance.exit.is_some() => {
            "its container had ended before it was stopped"
        }
        (Hook::PreStop, Some(_)) if life.asked.is_empty() => "its container was not stopped",
        (Hook::PostStart | Hook::PreStop, Some(_)) => "it did not come to that",
    };
    let (name, hook) = (&container.name, hook_name(hook));
    let text = format!("{hook} of {name} ({}) never ran: {why}", handler_text(handler));
    Some(Verdict::new(Check::Hooks, name, Outcome::Skipped, text))
}

/// Containers that ended, or had to be restarted, before anybody asked.
pub(super) fn up(life: &Life) -> Vec<Verdict> {
    let fallen: Vec<_> = life.containers.iter().filter_map(|container| fallen(life, container)).collect();
    if !fallen.is_empty() {
        return fallen;
    }
    let text = if asked_at(life).is_none() && has_ended(life) {
        "the pod ended by itself, and may"
    } else {
        "no container ended before it was asked to"
    };
    vec![Verdict::new(Check::Up, "pod", Outcome::Passed, text)]
}

fn fallen(life: &Life, container: &ContainerLife) -> Option<Verdict> {
    let ends: Vec<_> = container.instances.iter().filter(|instance| fell(life, container, instance)).collect();
    let last = ends.last()?;
    let name = &container.name;
    let cause = cause(container, last);
    let verb = match ends.len() {
        1 => "did not stay up".to_owned(),
        count => format!("ended {} before anybody asked", count_text(count as u64)),
    };
    let verdict = Verdict::new(Check::Up, name, Outcome::Failed, format!("{name} {verb}: {}", cause.text)).with_all(cause.evidence);
    let verdict = ends.iter().fold(verdict, |verdict, instance| {
        let code = instance.exit.as_ref().map_or(0, |exit| exit.code);
        verdict.with_some(instance.ended_at(), format!("it ended with exit code {code}"))
    });
    let is_done = last.stop.is_none() && last.exit.as_ref().is_some_and(|exit| exit.code == 0);
    if is_done && container.role != Role::Init {
        return Some(verdict.cured("a container with restartPolicy Always is to run until it is stopped: keep its main process in the foreground, or use restartPolicy Never or OnFailure (a Job) for work that ends"));
    }
    let is_crash = last.stop.is_none() && last.exit.as_ref().is_some_and(|exit| exit.signal.is_none());
    Some(if is_crash { verdict.cured(format!("`usher logs {}/{}` shows what it printed", life.namespace, life.name)) } else { verdict })
}

/// Whether an instance ended when it should have gone on.
fn fell(life: &Life, container: &ContainerLife, instance: &Instance) -> bool {
    let Some(exit) = &instance.exit else { return false };
    if container.role == Role::Ephemeral {
        return false;
    }
    let is_before = asked_at(life).is_none_or(|asked| exit.finished_at < asked);
    match instance.stop {
        Some((_, StopCause::LivenessFailed | StopCause::StartupFailed)) => true,
        // The hook is to blame, and told so.
        Some((_, StopCause::PostStartFailed)) => false,
        Some((_, StopCause::Pod(_) | StopCause::DefinitionChanged | StopCause::ResizeNeedsRestart | StopCause::RestartAllContainers)) => {
            false
        }
        None if !is_before => false,
        None if exit.code != 0 => true,
        None => must_stay(life, container),
    }
}

/// Whether a container is meant to run until it is stopped.
fn must_stay(life: &Life, container: &ContainerLife) -> bool {
    let own = container.spec.as_ref().and_then(|spec| spec.restart_policy);
    let of_pod = life.spec.as_ref().map_or(RestartPolicy::Always, |spec| spec.restart_policy);
    match container.role {
        Role::Init | Role::Ephemeral => false,
        Role::Sidecar => true,
        Role::Regular => own.unwrap_or(of_pod) == RestartPolicy::Always,
    }
}

/// Ready within the limit; of what is not, the reasons that are known at the moment when the wait was over.
pub(super) fn ready(life: &Life, before: &Life, within: Duration) -> Vec<Verdict> {
    let limit = span_text(within);
    let ready_at = first_ready(before);
    let took = ready_at.map(|at| life.age(at));
    if let (Some(at), Some(took)) = (ready_at, took.filter(|took| *took <= within)) {
        let text = format!("Ready after {} (limit {limit})", span_text(took));
        let lost = before.ready.iter().find(|(when, is_ready)| !is_ready && *when > at);
        return match lost {
            Some((lost_at, _)) if !has_ended(before) => {
                let text = format!("{text}, but not all the time: it stopped being Ready {} later", span_text(lost_at.since(at)));
                let verdict = Verdict::new(Check::Ready, "pod", Outcome::Warned, text);
                vec![verdict.with(at, "the pod was Ready").with(*lost_at, "the pod was not Ready any more")]
            }
            Some(_) | None => vec![Verdict::new(Check::Ready, "pod", Outcome::Passed, text)],
        };
    }
    if before.phase().is_some_and(|phase| phase.phase == Phase::Succeeded) {
        let text = "the pod Succeeded, and need not have been Ready for that";
        return vec![Verdict::new(Check::Ready, "pod", Outcome::Passed, text)];
    }
    let now = asked_at(life).unwrap_or_else(|| before.read_to.timestamp());
    let answers = why(before, None, Present { now, is_driven: true });
    let is_reason = |question| matches!(question, Question::NotReady | Question::State);
    let reason = answers.into_iter().find(|answer| answer.whom != "pod" && is_reason(answer.question));
    let text = match took {
        Some(took) => format!("Ready only after {}, not within {limit}", span_text(took)),
        None if has_ended(before) => "the pod ended without having been Ready".to_owned(),
        None => format!("not Ready within {limit}"),
    };
    let verdict = |text| Verdict::new(Check::Ready, "pod", Outcome::Failed, text).with(life.began.timestamp(), "the pod was created");
    vec![match reason {
        Some(answer) if took.is_none() => {
            let verdict = verdict(format!("{text}: {}", answer.text.trim_end_matches('.')));
            let past = answer.evidence.into_iter().filter(|evidence| evidence.at <= now);
            verdict.with_all(past.map(|evidence| (evidence.at, evidence.text)))
        }
        Some(_) | None => verdict(text).with_some(ready_at, "the pod was Ready"),
    }]
}

/// Whether the pod had come to its own end.
fn has_ended(life: &Life) -> bool {
    life.phase().is_some_and(|phase| matches!(phase.phase, Phase::Succeeded | Phase::Failed))
}

/// The command that was run against the pod.
pub(super) fn command(run: &CommandRun) -> Verdict {
    let line = shortened(&crate::text::harmless(&run.command), COMMAND_SHOWN_MAX);
    let verdict = |outcome, text: String| Verdict::new(Check::While, "pod", outcome, text);
    let Some((began, ended)) = run.ran else {
        return verdict(Outcome::Skipped, format!("`{line}` was not run: the pod was not Ready"));
    };
    let took = span_text(ended.since(began));
    match (run.exit_code, &run.error) {
        (Some(0), _) => verdict(Outcome::Passed, format!("`{line}` succeeded in {took}")),
        (Some(code), _) => verdict(Outcome::Failed, format!("`{line}` ended with exit code {code} after {took}"))
            .with(began, "the command began")
            .with(ended, "the command ended"),
        (None, error) => {
            let error = error.as_deref().map_or_else(|| "did not end by itself".to_owned(), clause);
            verdict(Outcome::Failed, format!("`{line}` failed after {took}: {error}")).with(began, "the command began")
        }
    }
}
