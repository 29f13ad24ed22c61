//! Why a container was restarted, why it was killed, why it ended.

use std::time::Duration;

use lifecycle::{Exit, GraceAccount, Hook, HookOutcome, ProbeKind, ShareUser, StopCause, Verdict};

use super::words::{clause, handler_text, hook_end_text, pod_trigger_text, probe_text, session_command, session_text};
use super::{Answer, Question, times};
use crate::blame::{Blame, blame};
use crate::life::{ContainerLife, Instance, Life, SessionRun};
use crate::record::{Disposition, SignalHandling};
use crate::text::{bytes_text, signal_name, span_text};

const SIGKILL: i32 = 9;

/// So long after its end a session's command may still be why the process ends: it had something to finish.
const SESSION_ENDED_BEFORE: Duration = Duration::from_secs(2);

/// Programs that end other processes.
const SIGNAL_SENDERS: [&str; 6] = ["kill", "pkill", "killall", "halt", "poweroff", "reboot"];

/// The past of one container: the newest end of an instance that was followed by another, the newest kill, the last end.
pub(super) fn answers(life: &Life, container: &ContainerLife) -> Vec<Answer> {
    let mut answers = Vec::new();
    let ended = container.instances.iter().rposition(|instance| instance.exit.is_some());
    let Some(ended) = ended else { return answers };
    let instance = &container.instances[ended];
    let is_followed = ended + 1 < container.instances.len() || instance.back_off.is_some();
    if is_followed {
        answers.push(restarted(container, instance));
    }
    let killed = container.instances.iter().rev().find_map(|instance| killed(life, container, instance));
    let is_same = killed.as_ref().is_some_and(|answer| answer.evidence.iter().any(|evidence| Some(evidence.at) == instance.ended_at()));
    answers.extend(killed);
    if !is_followed && !is_same {
        answers.push(ended_by(life, container, instance));
    }
    answers
}

/// Why an instance ended, as the rest of a sentence that begins with `because`.
pub(crate) struct Cause {
    pub(crate) text: String,
    pub(crate) evidence: Vec<(lifecycle::Timestamp, String)>,
}

impl Cause {
    fn put_on(self, answer: Answer) -> Answer {
        self.evidence.into_iter().fold(answer, |answer, (at, text)| answer.with(at, text))
    }
}

fn restarted(container: &ContainerLife, instance: &Instance) -> Answer {
    let name = &container.name;
    let cause = cause(container, instance);
    let next = container.instances.iter().find(|next| next.restart_count > instance.restart_count && next.started_at.is_some());
    let again = match next.and_then(|next| next.started_at) {
        Some(_) if next.is_some_and(|next| next.restart_count > 1) => {
            format!(" That was restart {}.", next.map_or(0, |next| next.restart_count))
        }
        Some(_) | None => String::new(),
    };
    let verb = if next.is_some() { "was restarted" } else { "is to be restarted" };
    let text = format!("{name} {verb} because {}.{again}", cause.text);
    let answer = Answer::new(Question::Restarted, name, text);
    let answer = cause.put_on(answer);
    let answer = answer.with_some(instance.ended_at(), instance.exit.as_ref().map_or_else(String::new, end_evidence));
    answer.with_some(next.and_then(|next| next.started_at), "its next instance was started")
}

fn ended_by(life: &Life, container: &ContainerLife, instance: &Instance) -> Answer {
    let name = &container.name;
    let exit_text = instance.exit.as_ref().map_or_else(String::new, end_evidence);
    let cause = match (instance.stop, life.account_of(instance)) {
        (Some((_, StopCause::Pod(trigger))), Some(account))
            if blame(account) == Blame::Nobody && account.verdict() != Verdict::InProgress =>
        {
            graceful(account, trigger)
        }
        _ => cause(container, instance),
    };
    let text = match (cause.text.strip_prefix("it ended "), cause.text.strip_prefix("it was stopped ")) {
        (Some(rest), _) => format!("{name} ended {rest}."),
        (None, Some(rest)) => format!("{name} was stopped {rest}."),
        (None, None) => format!("{name} ended because {}.", cause.text),
    };
    let answer = Answer::new(Question::Ended, name, text);
    cause.put_on(answer).with_some(instance.ended_at(), exit_text)
}

/// A stop that went as it should.
fn graceful(account: &GraceAccount, trigger: lifecycle::KillTrigger) -> Cause {
    let sentence = account.sentence();
    let mut characters = sentence.chars();
    let sentence: String = characters.next().map(|first| first.to_uppercase().chain(characters).collect()).unwrap_or_default();
    let text = format!("it was stopped because {}. {sentence}", pod_trigger_text(trigger));
    Cause { text, evidence: vec![(account.began_at, "its grace began to run".to_owned())] }
}

/// Why an instance ended.
pub(crate) fn cause(container: &ContainerLife, instance: &Instance) -> Cause {
    let Some(exit) = &instance.exit else { return Cause { text: "of something that is not known".to_owned(), evidence: Vec::new() } };
    if exit.reason == "OOMKilled" {
        return out_of_memory(instance, exit);
    }
    if is_by_stranger(instance, exit) {
        return ended_by_itself(instance, exit);
    }
    match instance.stop {
        Some((at, StopCause::LivenessFailed)) => probe_failed(container, instance, ProbeKind::Liveness, at),
        Some((at, StopCause::StartupFailed)) => probe_failed(container, instance, ProbeKind::Startup, at),
        Some((at, StopCause::PostStartFailed)) => post_start_failed(instance, at),
        Some((at, StopCause::DefinitionChanged)) => {
            Cause { text: "its image in the manifest was changed".to_owned(), evidence: vec![(at, "its stop began".to_owned())] }
        }
        Some((at, StopCause::ResizeNeedsRestart)) => {
            let text = "its resources were changed, and its resizePolicy asks for a restart then".to_owned();
            Cause { text, evidence: vec![(at, "its stop began".to_owned())] }
        }
        Some((at, StopCause::RestartAllContainers)) => {
            let text = "a restart rule asked that all containers of the pod be started anew".to_owned();
            Cause { text, evidence: vec![(at, "its stop began".to_owned())] }
        }
        Some((at, StopCause::Pod(trigger))) => {
            Cause { text: pod_trigger_text(trigger).to_owned(), evidence: vec![(at, "its stop began".to_owned())] }
        }
        None => ended_by_itself(instance, exit),
    }
}

/// Whether a SIGKILL ended it that the engine did not send.
fn is_by_stranger(instance: &Instance, exit: &Exit) -> bool {
    exit.signal == Some(SIGKILL) && instance.kill_signal().is_none_or(|signal| signal.at > exit.finished_at)
}

fn out_of_memory(instance: &Instance, exit: &Exit) -> Cause {
    let last = instance.out_of_memory.last();
    let numbers = match last.and_then(|(.., memory)| *memory) {
        Some(memory) => {
            let limit = memory.limit_bytes.map_or_else(String::new, |bytes| format!(" of {}", bytes_text(bytes)));
            let peak = memory.peak_bytes.map_or_else(String::new, |bytes| format!(" (peak {})", bytes_text(bytes)));
            format!("its memory limit{limit} was reached{peak}")
        }
        None => "its memory limit was reached".to_owned(),
    };
    let count = last.map_or(1, |(_, count, _)| *count);
    let kills = if count == 1 { "1 process of it".to_owned() } else { format!("{count} processes of it") };
    let text = format!("{numbers}, and the kernel killed {kills} (OOMKilled, exit code {})", exit.code);
    let evidence = instance.out_of_memory.iter().map(|(at, count, _)| (*at, format!("the cgroup counted out-of-memory kill {count}")));
    Cause { text, evidence: evidence.collect() }
}

fn probe_failed(container: &ContainerLife, instance: &Instance, kind: ProbeKind, stop_at: lifecycle::Timestamp) -> Cause {
    let word = kind.to_string().to_lowercase();
    let spec = container.spec.as_ref().and_then(|spec| match kind {
        ProbeKind::Startup => spec.startup_probe.as_ref(),
        ProbeKind::Liveness => spec.liveness_probe.as_ref(),
        ProbeKind::Readiness => spec.readiness_probe.as_ref(),
    });
    let what = spec.map_or_else(String::new, |probe| format!(" ({})", probe_text(probe)));
    let change = instance.probe_changes.iter().rfind(|change| change.probe == kind && !change.success);
    let often = change.map_or_else(String::new, |change| format!(" {}", times(change.in_row)));
    let said =
        change.map(|change| clause(&change.output)).filter(|said| !said.is_empty()).map_or_else(String::new, |said| format!(": {said}"));
    let mut evidence = vec![(stop_at, "its stop began".to_owned())];
    evidence.extend(change.map(|change| (change.at, format!("the {word} probe failed{often}"))));
    Cause { text: format!("its {word} probe{what} failed{often}{said}"), evidence }
}

fn post_start_failed(instance: &Instance, stop_at: lifecycle::Timestamp) -> Cause {
    let Some(run) = instance.hook(Hook::PostStart) else {
        return Cause { text: "its postStart hook failed".to_owned(), evidence: vec![(stop_at, "its stop began".to_owned())] };
    };
    let printed = run.output.iter().rev().find(|line| !line.line.trim().is_empty());
    let printed = printed.map_or_else(String::new, |line| format!("; the last it printed was {:?}", clause(&line.line)));
    let text = format!("its postStart hook ({}) {}{printed}", handler_text(&run.handler), hook_end_text(run));
    let mut evidence = vec![(run.asked_at, "the postStart hook began".to_owned())];
    evidence.extend(run.end.as_ref().map(|end| (end.at, format!("the hook {}", hook_end_text(run)))));
    Cause { text, evidence }
}

fn ended_by_itself(instance: &Instance, exit: &Exit) -> Cause {
    let lived = exit.started_at.map_or_else(String::new, |at| format!(", {} after its start", span_text(exit.finished_at.since(at))));
    let message = if exit.message.trim().is_empty() { String::new() } else { format!(": {}", clause(&exit.message)) };
    let mut evidence = Vec::new();
    let cut_hook = instance.hook(Hook::PostStart).filter(|run| {
        run.end.as_ref().is_some_and(|end| matches!(end.outcome, HookOutcome::ContainerEnded { .. } | HookOutcome::Cancelled))
    });
    let with_hook = match cut_hook {
        Some(run) => {
            evidence.push((run.asked_at, "its postStart hook began".to_owned()));
            " while its postStart hook ran"
        }
        None => "",
    };
    let whose = session_before(instance, exit);
    let by_session = whose.as_ref().map_or_else(String::new, |(_, text)| format!("; {text}"));
    evidence.extend(whose.map(|(session, _)| (session.began_at, format!("a session: {}", session_text(session)))));
    let text = match (exit.reason.as_str(), exit.signal) {
        ("StartError", _) => format!("it could not be started{message}"),
        ("ContainerStatusUnknown", _) => "it was lost with the pod's sandbox, and nothing is known of its end".to_owned(),
        (_, Some(SIGKILL)) => {
            format!("it got SIGKILL from somebody else{lived}: neither usher nor the kernel's out-of-memory killer sent it{by_session}")
        }
        (_, Some(signal)) => format!("{} ended it{lived}{message}{by_session}", signal_name(signal)),
        (_, None) => format!("it ended by itself{with_hook} with exit code {}{lived}{message}{by_session}", exit.code),
    };
    Cause { text, evidence }
}

/// The session that may have ended an instance, and what is to be said of it: one that sends signals, or in which anything may have
/// been typed.
fn session_before<'a>(instance: &'a Instance, exit: &Exit) -> Option<(&'a SessionRun, String)> {
    let was_there = |session: &&SessionRun| {
        session.began_at <= exit.finished_at && session.ended_at.is_none_or(|ended| ended + SESSION_ENDED_BEFORE >= exit.finished_at)
    };
    let by = |session: &SessionRun| session.by.as_ref().map_or_else(String::new, |by| format!(" of {}", clause(by)));
    let there = || instance.sessions.iter().filter(was_there);
    if let Some(session) = there().rfind(|session| sends_signals(session)) {
        let before = span_text(exit.finished_at.since(session.began_at));
        let text = format!("a session{} ran `{}` {before} before", by(session), command_text(session));
        return Some((session, text));
    }
    let session = there().rfind(|session| session.tty)?;
    let text = format!("a session{} with a terminal ({}) was there", by(session), session_command(session));
    Some((session, text))
}

fn command_text(session: &SessionRun) -> String {
    let text = session_command(session);
    text.strip_prefix("exec ").map_or_else(|| text.clone(), ToOwned::to_owned)
}

/// Whether a word of its command, or of a script in it, is a program that ends others.
fn sends_signals(session: &SessionRun) -> bool {
    let words = session.command.iter().flat_map(|word| word.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_')));
    words.into_iter().any(|word| SIGNAL_SENDERS.contains(&word))
}

/// Why an instance was killed by the engine, if it was.
pub(crate) fn killed(life: &Life, container: &ContainerLife, instance: &Instance) -> Option<Answer> {
    let account = life.account_of(instance)?;
    let whose = blame(account);
    if matches!(whose, Blame::Nobody | Blame::OutOfMemory | Blame::Stranger) {
        return None;
    }
    let name = &container.name;
    let signal = instance.stop_signal();
    let stop_signal = signal.and_then(|signal| signal.number).map_or_else(|| "its stop signal".to_owned(), signal_name);
    let grace = account.grace_secs;
    let after_signal = span_text(account.share_of(ShareUser::StopSignal));
    let hook = instance.hook(Hook::PreStop).map_or_else(String::new, |run| format!(" ({})", handler_text(&run.handler)));
    let pre_stop = span_text(account.share_of(ShareUser::PreStop));
    let handling = signal.and_then(|signal| signal.handling.as_ref());
    let swallowed = handling.and_then(|handling| swallowed(handling, &stop_signal));
    let rest = swallowed
        .clone()
        .unwrap_or_else(|| format!("the process needed more than the {after_signal} that were left for it after {stop_signal}"));
    let text = match whose {
        Blame::Nobody | Blame::OutOfMemory | Blame::Stranger => return None,
        Blame::Asker => format!("{name} was killed at once, without hook and stop signal, because that was asked for."),
        Blame::PreStopEndless => {
            format!("{name} was killed because its preStop hook{hook} did not end within the grace of {grace} s and was cut off; {rest}.")
        }
        Blame::PreStop => format!("{name} was killed because its preStop hook{hook} used {pre_stop} of the grace of {grace} s; {rest}."),
        Blame::Order => {
            let waited = span_text(account.share_of(ShareUser::Order));
            format!(
                "{name} was killed because it waited {waited} of the grace of {grace} s for the containers that stop before it; {rest}."
            )
        }
        Blame::Starting => {
            let waited = span_text(account.share_of(ShareUser::Waiting));
            format!("{name} was killed because it was still being started for {waited} of the grace of {grace} s; {rest}.")
        }
        Blame::Process => match swallowed {
            Some(swallowed) => format!("{name} was killed because {swallowed}. It was given {after_signal}."),
            None => format!("{name} was killed because it did not end within {after_signal} of {stop_signal} (grace of {grace} s)."),
        },
    };
    let mut answer = Answer::new(Question::Killed, name, text).with(account.began_at, format!("its grace of {grace} s began to run"));
    if let Some(run) = instance.hook(Hook::PreStop) {
        answer = answer.with(run.asked_at, "the preStop hook began");
        answer = answer.with_some(run.end.as_ref().map(|end| end.at), format!("the preStop hook {}", hook_end_text(run)));
    }
    answer = answer.with_some(signal.map(|signal| signal.at), format!("{stop_signal} went out"));
    answer = answer.with_some(instance.kill_signal().map(|signal| signal.at), "SIGKILL went out");
    Some(answer.with_some(instance.ended_at(), instance.exit.as_ref().map_or_else(String::new, end_evidence)))
}

/// Why a stop signal came to nothing, as the kernel knew it when it was sent.
fn swallowed(handling: &SignalHandling, signal: &str) -> Option<String> {
    let process = &handling.process;
    match handling.disposition {
        Disposition::Handled | Disposition::Ends => None,
        Disposition::Ignored => Some(format!("its main process `{process}` ignores {signal}")),
        Disposition::Dropped => Some(format!(
            "{signal} came to nothing: its main process `{process}` is PID 1 and has no handler for it, so the kernel drops it \
             (start the program with `exec`, or have it handle {signal})"
        )),
    }
}

fn end_evidence(exit: &Exit) -> String {
    match exit.signal {
        Some(signal) => format!("it was ended by {} ({}, exit code {})", signal_name(signal), exit.reason, exit.code),
        None => format!("it ended with exit code {} ({})", exit.code, exit.reason),
    }
}
