//! What a container does or waits for, and why it is not Ready.

use lifecycle::{ContainerState, Hook, ProbeKind, ProbeSpec, Role};

use super::words::{clause, count_text, handler_text, probe_text};
use super::{Answer, Present, Question, times};
use crate::life::{ContainerLife, HookRun, Instance, Life, ProbeChange};
use crate::text::span_text;

/// The present of one container; what needs no explanation is told only when it is asked for.
pub(super) fn answers(life: &Life, container: &ContainerLife, present: Present, is_asked_for: bool) -> Vec<Answer> {
    let name = &container.name;
    let alive = container.newest().filter(|instance| instance.is_alive());
    match (alive, &container.state) {
        _ if life.is_over() => Vec::new(),
        (Some(instance), _) if instance.stop.is_some() => vec![stopping(life, container, instance, present)],
        (Some(instance), _) if instance.running_at.is_none() => vec![post_start(name, instance, present)],
        (Some(_), _) if life.terminations.last().is_some() => Vec::new(),
        (Some(instance), _) if !container.is_ready && !matches!(container.role, Role::Init | Role::Ephemeral) => {
            vec![not_ready(container, instance, present)]
        }
        (Some(instance), _) if is_asked_for || container.role == Role::Init => vec![running(container, instance, present)],
        (Some(_), _) => Vec::new(),
        (None, Some(ContainerState::Terminated(_))) => Vec::new(),
        (None, _) if !life.terminations.is_empty() => Vec::new(),
        (None, _) => vec![waiting(life, container, present)],
    }
}

fn running(container: &ContainerLife, instance: &Instance, present: Present) -> Answer {
    let since = instance.running_at.or(instance.started_at).unwrap_or(present.now);
    let age = span_text(present.now.since(since));
    let text = match (container.role, container.is_ready) {
        (Role::Init, _) => {
            format!("{} is an init container and has been running for {age}; the containers after it wait for its end.", container.name)
        }
        (Role::Sidecar | Role::Regular | Role::Ephemeral, true) => format!("{} has been running for {age} and is Ready.", container.name),
        (Role::Sidecar | Role::Regular | Role::Ephemeral, false) => format!("{} has been running for {age}.", container.name),
    };
    Answer::new(Question::State, &container.name, text).with(since, "it was Running")
}

fn post_start(name: &str, instance: &Instance, present: Present) -> Answer {
    let started = instance.started_at.unwrap_or(present.now);
    match instance.hook(Hook::PostStart) {
        Some(run) if run.end.is_none() => {
            let took = span_text(run.took(present.now));
            let what = handler_text(&run.handler);
            let text =
                format!("{name} is not Running yet: its process lives, but its postStart hook ({what}) has been running for {took}.");
            Answer::new(Question::State, name, text).with(started, "its process began").with(run.asked_at, "the postStart hook began")
        }
        Some(_) | None => Answer::new(Question::State, name, format!("{name} is just being started.")).with(started, "its process began"),
    }
}

fn not_ready(container: &ContainerLife, instance: &Instance, present: Present) -> Answer {
    let name = &container.name;
    let spec = container.spec.as_ref();
    let startup = spec.and_then(|spec| spec.startup_probe.as_ref());
    if let (Some(probe), true) = (startup, !has_passed(instance, ProbeKind::Startup)) {
        return gate(container, instance, ProbeKind::Startup, probe, present);
    }
    if let Some(probe) = spec.and_then(|spec| spec.readiness_probe.as_ref()) {
        return gate(container, instance, ProbeKind::Readiness, probe, present);
    }
    // A journal without the manifest: only what turned is known.
    match instance.probe_changes.iter().rfind(|change| change.probe == ProbeKind::Readiness) {
        Some(change) if !change.success => {
            let text = format!("{name} is Running and not Ready because its readiness probe fails{}.", said(&change.output));
            Answer::new(Question::NotReady, name, text).with(change.at, "the readiness probe began to fail")
        }
        Some(_) | None => Answer::new(Question::NotReady, name, format!("{name} is Running and not Ready.")),
    }
}

fn has_passed(instance: &Instance, probe: ProbeKind) -> bool {
    instance.probe_changes.iter().any(|change| change.probe == probe && change.success)
}

/// A probe that keeps a container from being Ready: it never succeeded, or it fails since a moment.
fn gate(container: &ContainerLife, instance: &Instance, kind: ProbeKind, probe: &ProbeSpec, present: Present) -> Answer {
    let name = &container.name;
    let word = kind.to_string().to_lowercase();
    let running_at = instance.running_at.unwrap_or(present.now);
    let last: Option<&ProbeChange> = instance.probe_changes.iter().rfind(|change| change.probe == kind);
    let what = probe_text(probe);
    let counts = instance.probe_counts.iter().rfind(|counts| counts.probe == kind);
    if let Some(change) = last.filter(|change| !change.success) {
        let since = span_text(present.now.since(change.at));
        let text = format!(
            "{name} is Running and not Ready because its {word} probe ({what}) failed {} and has not succeeded since, for {since}{}.",
            times(change.in_row),
            said(&change.output),
        );
        let needed = if probe.success_threshold > 1 {
            format!(" It has to succeed {}.", times(u64::from(probe.success_threshold)))
        } else {
            String::new()
        };
        return Answer::new(Question::NotReady, name, text + &needed)
            .with(change.at, format!("the {word} probe turned: failed {}", times(change.in_row)));
    }
    let age = span_text(present.now.since(running_at));
    let failure = counts.and_then(|counts| counts.last_failure.as_ref());
    let tried = match counts {
        Some(counts) if counts.failures + counts.errors > 0 => {
            let last = failure.map_or_else(String::new, |failure| said(&failure.output));
            format!(
                "it failed {} of {} times so far{last}",
                counts.failures + counts.errors,
                counts.successes + counts.failures + counts.errors
            )
        }
        Some(_) | None if probe.initial_delay_secs > 0 => format!("its first attempt comes {} s after the start", probe.initial_delay_secs),
        Some(_) | None => "it was not answered yet".to_owned(),
    };
    let limit = match kind {
        ProbeKind::Startup => format!(" After {} in a row it would be killed.", failures(probe.failure_threshold)),
        ProbeKind::Liveness | ProbeKind::Readiness => String::new(),
    };
    let text = format!(
        "{name} has been Running for {age} and is not Ready because its {word} probe ({what}) has not succeeded yet: {tried}.{limit}"
    );
    let answer = Answer::new(Question::NotReady, name, text).with(running_at, "it was Running");
    answer.with_some(failure.map(|failure| failure.at.timestamp()), format!("the {word} probe failed"))
}

fn failures(count: u32) -> String {
    if count == 1 { "1 failure".to_owned() } else { format!("{count} failures") }
}

/// `: connection refused`
fn said(output: &str) -> String {
    if output.trim().is_empty() { String::new() } else { format!(" ({})", clause(output)) }
}

fn waiting(life: &Life, container: &ContainerLife, present: Present) -> Answer {
    let name = &container.name;
    let newest = container.newest().filter(|instance| instance.exit.is_none());
    if let Some(instance) = newest {
        if let Some(pull) = instance.pulls.last().filter(|pull| pull.ended_at.is_none()) {
            let took = span_text(present.now.since(pull.asked_at));
            let text = format!("{name} waits for its image {}: the pull has been going on for {took}.", pull.image);
            return Answer::new(Question::State, name, text).with(pull.asked_at, "the pull began");
        }
        if instance.create_asked_at.is_some() && instance.failures.is_empty() {
            let at = instance.create_asked_at.unwrap_or(instance.asked_at);
            return Answer::new(Question::State, name, format!("{name} is just being created.")).with(at, "its creation was asked for");
        }
    }
    if let Some(answer) = backing_off(container, present) {
        return answer;
    }
    let (since, reason, message) = match container.waits.last() {
        Some((at, reason, message)) => (*at, reason.as_str(), message.as_str()),
        None => (present.now, "", ""),
    };
    match (reason, newest) {
        ("ErrImagePull" | "ImagePullBackOff" | "RegistryUnavailable", Some(instance)) => image(container, instance, reason),
        ("ContainerCreating" | "PodInitializing" | "", _) => its_turn(life, container, present),
        (reason, _) => {
            let failure = newest.and_then(|instance| instance.failures.last());
            let at = failure.map_or(since, |failure| failure.at);
            let text = format!("{name} waits with reason {reason}: {}.", clause(message));
            Answer::new(Question::State, name, text).with(at, format!("{reason}: {}", clause(message)))
        }
    }
}

/// A pause after a crash.
fn backing_off(container: &ContainerLife, present: Present) -> Option<Answer> {
    let ended = container.last_ended()?;
    let back_off =
        ended.back_off.filter(|back_off| back_off.until > present.now || container.newest().is_some_and(|one| one.exit.is_some()))?;
    let name = &container.name;
    let exit = ended.exit.as_ref()?;
    let count = container.instances.iter().filter(|instance| instance.exit.is_some()).count();
    let ended_times = count_text(count as u64);
    let lived = exit.started_at.map_or_else(String::new, |at| format!(", {} after its start", span_text(exit.finished_at.since(at))));
    let left = span_text(back_off.until.since(present.now));
    let text = format!(
        "{name} waits to be restarted (CrashLoopBackOff): it has ended {ended_times}, the last time with exit code {} ({}){lived}. \
         The pause after that is {} long, of which {left} are left.",
        exit.code,
        exit.reason,
        span_text(back_off.pause),
    );
    let answer = Answer::new(Question::State, name, text).with(exit.finished_at, format!("it ended with exit code {}", exit.code));
    Some(answer.with(back_off.until, "the pause is over"))
}

fn image(container: &ContainerLife, instance: &Instance, reason: &str) -> Answer {
    let name = &container.name;
    let failed: Vec<_> = instance.pulls.iter().filter(|pull| pull.error.is_some()).collect();
    let image = instance.pulls.last().map_or("", |pull| pull.image.as_str());
    let error = failed.last().and_then(|pull| pull.error.as_ref());
    let because = error.map_or_else(String::new, |(_, message)| format!(": {}", clause(message)));
    let count = count_text(failed.len() as u64);
    let text = format!("{name} waits for its image {image} ({reason}): the pull failed {count}{because}. It is tried again after a pause.");
    let mut answer = Answer::new(Question::State, name, text);
    for pull in failed {
        answer = answer.with_some(pull.ended_at, "a pull failed");
    }
    answer
}

/// Nothing of it has begun: somebody else is before it.
fn its_turn(life: &Life, container: &ContainerLife, present: Present) -> Answer {
    let name = &container.name;
    let position = life.containers.iter().position(|one| one.name == *name).unwrap_or(0);
    let is_unpassed = |one: &&ContainerLife| match one.role {
        Role::Init => one.newest().and_then(|instance| instance.exit.as_ref()).is_none_or(|exit| exit.code != 0),
        Role::Sidecar => one.newest().is_none_or(|instance| instance.startup_at.is_none()),
        Role::Regular | Role::Ephemeral => false,
    };
    if let Some(first) = life.containers[..position].iter().find(is_unpassed) {
        let text = match first.role {
            Role::Sidecar => {
                format!("{name} waits for the sidecar {}, which has to be started first{}.", first.name, doing(first, present))
            }
            Role::Init | Role::Regular | Role::Ephemeral => {
                format!("{name} waits for the init container {}, which has to succeed first{}.", first.name, doing(first, present))
            }
        };
        let since = first.newest().and_then(|instance| instance.started_at);
        return Answer::new(Question::State, name, text).with_some(since, format!("{} was started", first.name));
    }
    let hook = life.containers.iter().filter(|one| one.name != *name).find_map(|one| {
        let run = one.newest()?.hook(Hook::PostStart).filter(|run| run.end.is_none())?;
        Some((one, run))
    });
    match hook {
        Some((other, run)) => waits_for_hook(name, &other.name, run, present),
        None => {
            let since = container.newest().map(|instance| instance.asked_at);
            Answer::new(Question::State, name, format!("{name} is being prepared to start."))
                .with_some(since, "the first step of its start")
        }
    }
}

fn waits_for_hook(name: &str, other: &str, run: &HookRun, present: Present) -> Answer {
    let took = span_text(run.took(present.now));
    let what = handler_text(&run.handler);
    let text = format!(
        "{name} waits for its turn: containers start one after the other, and the postStart hook of {other} ({what}) has been running for {took}."
    );
    Answer::new(Question::State, name, text).with(run.asked_at, format!("the postStart hook of {other} began"))
}

fn doing(container: &ContainerLife, present: Present) -> String {
    let Some(instance) = container.newest() else { return String::new() };
    match (&instance.exit, instance.started_at) {
        (Some(exit), _) => {
            format!("; it has ended {}, the last time with exit code {}", count_text(u64::from(instance.restart_count) + 1), exit.code)
        }
        (None, Some(at)) => format!("; it has been running for {}", span_text(present.now.since(at))),
        (None, None) => String::new(),
    }
}

fn stopping(life: &Life, container: &ContainerLife, instance: &Instance, present: Present) -> Answer {
    let name = &container.name;
    let account = life.account_of(instance);
    let began = account.map_or(present.now, |account| account.began_at);
    let grace = account.map_or(0, |account| account.grace_secs);
    let used = span_text(present.now.since(began));
    let of_grace = format!("{used} of its grace of {grace} s are used");
    let hook = instance.hook(Hook::PreStop).filter(|run| run.end.is_none());
    let (text, at, what) = if let Some(run) = hook {
        let took = span_text(run.took(present.now));
        let handler = handler_text(&run.handler);
        let text =
            format!("{name} is being stopped and waits for its preStop hook ({handler}), which has been running for {took}; {of_grace}.");
        (text, run.asked_at, "the preStop hook began".to_owned())
    } else if let Some(kill) = instance.kill_signal() {
        (format!("{name} was sent SIGKILL and is not gone yet; {of_grace}."), kill.at, "SIGKILL went out".to_owned())
    } else if let Some(signal) = instance.stop_signal() {
        let signal_name = signal.number.map_or_else(|| "its stop signal".to_owned(), crate::text::signal_name);
        let since = span_text(present.now.since(signal.at));
        let due = account
            .and_then(|account| account.kill_due_at)
            .filter(|due| *due > present.now)
            .map_or_else(String::new, |due| format!(" SIGKILL follows in {}.", span_text(due.since(present.now))));
        (format!("{name} got {signal_name} {since} ago and has not ended; {of_grace}.{due}"), signal.at, format!("{signal_name} went out"))
    } else {
        let others = life.containers.iter().filter(|one| one.name != *name && one.newest().is_some_and(Instance::is_alive));
        let others = super::words::list(others.map(|one| one.name.as_str()));
        let since = account.and_then(|account| account.order_wait_at).unwrap_or(began);
        (
            format!("{name} is a sidecar and gets its stop signal only when {others} ended; {of_grace}."),
            since,
            "its wait for the others began".to_owned(),
        )
    };
    Answer::new(Question::State, name, text).with(began, "its grace began to run").with(at, what)
}
