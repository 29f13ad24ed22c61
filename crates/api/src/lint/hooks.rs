//! Rules about what a hook does.

use k8s_openapi::api::core::v1::Probe;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::shell::{Command, Step, base_name};
use super::view::{ContainerView, Hook, PodView, Role, Sink, is_localhost, shown};

/// `USH201`. k8s: 1.d.2, 3.d.28, 12.a.7
pub(super) fn tcp(pod: &PodView<'_>, sink: &mut Sink<'_>) {
    for container in pod.running() {
        for hook in container.hooks().filter(|hook| hook.handler.tcp_socket.is_some()) {
            let (name, path) = (&container.container.name, hook.path.child("tcpSocket"));
            let draft = sink.key(&path, format!("the {} hook of {name} cannot work: a hook cannot open a TCP connection", hook.name));
            let draft = draft.note("this is accepted, and fails every time");
            match hook.name {
                "postStart" => draft.help("the container is killed each time it has started; to wait for a port, use a startupProbe"),
                _ => draft.help("the container is stopped without the hook; use `exec`, `httpGet` or `sleep`"),
            };
        }
    }
}

/// `USH202`. k8s: 12.a.3, 2.d.1
pub(super) fn races_listener(pod: &PodView<'_>, sink: &mut Sink<'_>) {
    for container in pod.running() {
        let Some(hook) = container.hook("postStart") else { continue };
        let name = &container.container.name;
        if let Some(http) = &hook.handler.http_get {
            let host = http.host.as_deref().unwrap_or_default();
            if (host.is_empty() || is_localhost(host)) && !is_of_another(pod, container, &http.port) {
                let draft = sink.key(&hook.path.child("httpGet"), format!("the postStart request may reach {name} before it listens"));
                let draft = draft.note("sent at the moment the process starts, once");
                draft
                    .help(format!("if it is refused, {name} is killed and started again, and again"))
                    .help("wait with a startupProbe, or send the request from a script that tries again");
            }
            continue;
        }
        let Some(argv) = hook.handler.exec.as_ref().and_then(|exec| exec.command.as_deref()) else { continue };
        let path = hook.path.child("exec").child("command");
        if let Some((index, program)) = impatient_request(container, argv) {
            let message = format!("the postStart hook asks {name} with {program} before it may listen");
            let draft = sink.value(&path.index(index), message).note("runs at the moment the process starts, and does not try again");
            draft.help(format!("if the request is refused, {name} is killed and started again, and again")).help(
                "try until it answers: `until curl -sf http://localhost:8080/; do sleep 1; done`, or `curl --retry 30 --retry-connrefused`",
            );
        }
    }
}

/// Whether a port is that of another container, which may have been started before.
fn is_of_another(pod: &PodView<'_>, own: &ContainerView<'_>, port: &IntOrString) -> bool {
    let IntOrString::Int(port) = port else { return false };
    let declares =
        |container: &ContainerView<'_>| container.container.ports.iter().flatten().any(|declared| declared.container_port == *port);
    !declares(own) && pod.running().any(declares)
}

/// The index of the word with a request to the container itself that is sent once and at once, and the program.
fn impatient_request(container: &ContainerView<'_>, argv: &[String]) -> Option<(usize, String)> {
    let is_request = |program: &str| matches!(base_name(program), "curl" | "wget");
    let is_local = |word: &str| {
        let rest = word.strip_prefix("http://").or_else(|| word.strip_prefix("https://")).unwrap_or(word);
        let host = rest.split(['/', '?']).next().unwrap_or_default();
        is_localhost(host.rsplit_once(':').map_or(host, |(host, _)| host))
    };
    let is_patient = |word: &str| word.starts_with("--retry") || word.starts_with("--tries") || word == "--waitretry";
    match Command::of(argv)? {
        Command::Program(program) => {
            let fits = is_request(program) && argv.iter().any(|word| is_local(word)) && !argv.iter().any(|word| is_patient(word));
            fits.then(|| (0, base_name(program).to_owned()))
        }
        Command::Shell { index, .. } => {
            let script = container.script(argv)?;
            let first = script.steps.iter().find(|step| !matches!(step.name(), "echo" | "set" | "cd" | "export"))?;
            let sent = is_request(first.name()) && first.arguments().any(is_local) && !first.arguments().any(is_patient);
            // A request that may fail does no harm.
            let alone = !script.has_loop() && first.joint != super::shell::Joint::Or && first.joint != super::shell::Joint::Background;
            (sent && alone && !first.nest.conditional).then(|| (index, first.name().to_owned()))
        }
    }
}

/// `USH203`: probes begin when the hook has ended, so what they are to find goes unseen until then. k8s: 2.a.11, 2.a.4
pub(super) fn outlasts_probes(pod: &PodView<'_>, sink: &mut Sink<'_>) {
    for container in pod.running() {
        let Some(hook) = container.hook("postStart") else { continue };
        let Some(time) = container.hook_time(&hook).filter(|time| time.seconds.is_finite()) else { continue };
        let probe = container.probes().find(|(name, ..)| matches!(*name, "startupProbe" | "livenessProbe"));
        let Some((probe_name, probe, probe_path)) = probe else { continue };
        let allowance = allowance_seconds(probe);
        if time.seconds < allowance {
            continue;
        }
        let name = &container.container.name;
        let message = format!(
            "the postStart hook of {name} takes {}, but its {probe_name} allows {} for the start",
            shown(time.seconds),
            shown(allowance)
        );
        let draft = sink.value(&time.path, message).note("no probe runs before the hook has ended");
        let draft = draft.see_key(&probe_path, format!("would give up after {}", shown(allowance)));
        draft.help(format!(
            "a start that hangs is found {} late, and {name} is not Ready before; do long work in an init container, or in the background",
            shown(time.seconds)
        ));
    }
}

/// How long after the start of a container its probe gives up at the earliest. k8s: 7.a.8, 7.a.13
pub(super) fn allowance_seconds(probe: &Probe) -> f64 {
    let number = |field: Option<i32>, default: i32| f64::from(field.filter(|value| *value > 0).unwrap_or(default));
    number(probe.initial_delay_seconds, 0) + number(probe.period_seconds, 10) * number(probe.failure_threshold, 3)
}

/// `USH204`. k8s: 2.a.12, 3.c.1, 12.a.1
pub(super) fn never_ends(pod: &PodView<'_>, sink: &mut Sink<'_>) {
    for container in pod.running() {
        let Some(hook) = container.hook("postStart") else { continue };
        let Some(time) = container.hook_time(&hook).filter(|time| time.seconds.is_infinite()) else { continue };
        let name = &container.container.name;
        let draft = sink.value(&time.path, format!("the postStart hook of {name} never ends, so {name} never counts as started"));
        let draft = draft.note("a hook has no time limit");
        draft.help("containers after it are not started either; run what lasts as a container of its own, or put `&` behind it");
    }
}

/// `USH205`. Sidecars are stopped when the others have completed, so theirs do run. k8s: 4.b.4, 12.a.8, 4.a.15
pub(super) fn not_at_completion(pod: &PodView<'_>, sink: &mut Sink<'_>) {
    if !pod.completes() {
        return;
    }
    for container in pod.with_role(Role::Regular) {
        let Some(hook) = container.hook("preStop") else { continue };
        let name = &container.container.name;
        let draft = sink.key(&hook.path, format!("the preStop hook of {name} does not run when {name} completes"));
        let draft = draft.note("runs only where the pod is deleted or killed before that");
        let draft = draft.see(&pod.path.child("restartPolicy"), "the pod is meant to complete");
        draft.help("do in the command itself what belongs to its end: `sh -c 'work; status=$?; clean-up; exit $status'`");
    }
}

/// `USH206`. k8s: 12.a.10, 3.g.3
pub(super) fn signals_main_process(pod: &PodView<'_>, sink: &mut Sink<'_>) {
    if pod.spec.share_process_namespace == Some(true) || pod.spec.host_pid == Some(true) {
        return;
    }
    for container in pod.running() {
        for hook in container.hooks() {
            let Some(argv) = hook.handler.exec.as_ref().and_then(|exec| exec.command.as_deref()) else { continue };
            if let Some((index, signal)) = signal_to_main(container, argv) {
                tell_signal(container, &hook, index, &signal, sink);
            }
        }
    }
}

fn tell_signal(container: &ContainerView<'_>, hook: &Hook<'_>, index: usize, signal: &str, sink: &mut Sink<'_>) {
    let (name, path) = (&container.container.name, hook.path.child("exec").child("command").index(index));
    let message = format!("the {} hook of {name} sends SIG{signal} to process 1", hook.name);
    let draft = sink.value(&path, message);
    match (signal, hook.name) {
        ("KILL" | "STOP", _) => {
            draft.note("has no effect").help(format!("the kernel does not deliver SIG{signal} to process 1 from inside its container"))
        }
        ("TERM", "preStop") => draft
            .note("the stop signal does this anyway, when the hook has ended")
            .help("where the process ends at once, its hook is killed with it and reported as failed; leave the command out"),
        (_, "preStop") => draft
            .note("the hook ends at once, and the stop signal follows")
            .help("a second signal makes many servers stop at once: wait in the hook until the process has drained")
            .help(format!("or have SIG{signal} sent as the stop signal: `STOPSIGNAL SIG{signal}` in the image, or `lifecycle.stopSignal`")),
        (_, _) => draft.note("right after the start").help(format!("{name} is stopped by its own hook, or has no handler yet")),
    };
}

/// The index of the word with a signal to process 1, and the signal.
fn signal_to_main(container: &ContainerView<'_>, argv: &[String]) -> Option<(usize, String)> {
    match Command::of(argv)? {
        Command::Program(program) => {
            let arguments: Vec<&str> = argv[1..].iter().map(String::as_str).collect();
            Some((argv.len() - 1, killing(base_name(program), &arguments)?))
        }
        Command::Shell { index, .. } => {
            let script = container.script(argv)?;
            let at = script.steps.iter().position(|step| signal_of(step).is_some())?;
            let signal = signal_of(&script.steps[at])?;
            let waits = |step: &Step| matches!(step.name(), "sleep" | "wait" | "tail") || step.nest.looped;
            // A hook that waits for the process after its signal does what such a hook is for.
            let awaited = !matches!(signal.as_str(), "KILL" | "STOP") && script.steps[at + 1..].iter().any(waits);
            (!awaited).then_some((index, signal))
        }
    }
}

fn signal_of(step: &Step) -> Option<String> {
    killing(step.name(), &step.arguments().collect::<Vec<_>>())
}

/// The signal that `kill` with these arguments sends to process 1, where it ends or stops processes.
fn killing(name: &str, arguments: &[&str]) -> Option<String> {
    if name != "kill" {
        return None;
    }
    let mut signal = "TERM".to_owned();
    let mut words = arguments.iter().copied();
    let mut is_main = false;
    while let Some(word) = words.next() {
        match word {
            "-s" | "-n" => signal = words.next()?.to_owned(),
            "--" => {}
            "1" => is_main = true,
            word if word.starts_with('-') => signal = word.trim_start_matches('-').to_owned(),
            _ => {}
        }
    }
    let signal = signal.to_ascii_uppercase();
    let signal = match signal.trim_start_matches("SIG") {
        "15" => "TERM",
        "9" => "KILL",
        "3" => "QUIT",
        "2" => "INT",
        "19" => "STOP",
        other => other,
    };
    (is_main && matches!(signal, "TERM" | "KILL" | "QUIT" | "INT" | "STOP")).then(|| signal.to_owned())
}
