//! Rules about containers that serve the others of their pod.

use super::shell::{Command, Step, base_name};
use super::view::{ContainerView, Hook, PodView, Role, Sink, shown};

/// Proxies that an application needs until it has drained: a part of the image's name without its tag.
const PROXIES: &[&str] = &[
    "istio/proxyv2",
    "envoyproxy/envoy",
    "linkerd/proxy",
    "linkerd2-proxy",
    "cloud-sql-proxy",
    "cloudsql-docker/gce-proxy",
    "alloydb-auth-proxy",
    "consul-dataplane",
    "pgbouncer",
    "dapr/daprd",
    "daprio/daprd",
];

/// Options and variables by which a proxy waits, or can be told to end.
const PATIENCE: &[&str] = &[
    "max-sigterm-delay",
    "min-sigterm-delay",
    "term_timeout",
    "quitquitquit",
    "EXIT_ON_ZERO_ACTIVE_CONNECTIONS",
    "TERMINATION_DRAIN_DURATION_SECONDS",
    "graceful-shutdown-seconds",
    "block-shutdown-duration",
];

/// Words of a command or path that end a server, or keep it from taking connections.
const ENDING_WORDS: &[&str] =
    &["quit", "quitquitquit", "stop", "shutdown", "drain", "drain_listeners", "terminate", "exit", "graceful-stop"];

/// `USH301`. k8s: 6.c.2, 12.e.2
pub(super) fn prestop_too_early(pod: &PodView<'_>, sink: &mut Sink<'_>) {
    let slowest = pod.with_role(Role::Regular).max_by(|a, b| stopping_seconds(a).total_cmp(&stopping_seconds(b)));
    let Some(application) = slowest else { return };
    let needed = stopping_seconds(application);
    for sidecar in pod.with_role(Role::Sidecar) {
        let Some(hook) = sidecar.hook("preStop") else { continue };
        let waits = sidecar.hook_time(&hook).map_or(0.0, |time| time.seconds);
        if !ends_server(sidecar, &hook) || waits > needed {
            continue;
        }
        let (name, other) = (&sidecar.container.name, &application.container.name);
        let message = format!("the preStop hook of the sidecar {name} ends it while {other} may still need it");
        let draft = sink.key(&hook.path, message).note(match waits {
            0.0 => "runs when the pod begins to stop, together with all other hooks".to_owned(),
            waits => format!("ends it {} after the pod has begun to stop", shown(waits)),
        });
        let draft = match application.pre_stop_time() {
            Some(time) => draft.see(&time.path, format!("{other} has not even got its stop signal before {}", shown(time.seconds))),
            None => draft.see_key(&application.path.child("name"), "drains at that time"),
        };
        draft.help(
            "leave the hook out: a sidecar gets its stop signal when the containers of `containers` have ended, the last sidecar first",
        );
    }
}

/// How long a container surely needs until it has stopped.
fn stopping_seconds(container: &ContainerView<'_>) -> f64 {
    let (hook, drain) = (container.pre_stop_time(), container.drain_time());
    hook.iter().chain(&drain).map(|time| time.seconds).sum()
}

/// Whether a hook ends the server of its container without waiting for anybody.
fn ends_server(container: &ContainerView<'_>, hook: &Hook<'_>) -> bool {
    let is_ending =
        |word: &str| word.split(['/', '?', '=', '-', '_']).any(|part| ENDING_WORDS.contains(&part)) || ENDING_WORDS.contains(&word);
    if let Some(http) = &hook.handler.http_get {
        return http.path.as_deref().is_some_and(|path| path.split(['/', '?']).any(|part| ENDING_WORDS.contains(&part)));
    }
    let Some(argv) = hook.handler.exec.as_ref().and_then(|exec| exec.command.as_deref()) else { return false };
    let ends = |step: &Step| {
        let kills = matches!(step.name(), "kill" | "pkill" | "killall") && !step.arguments().any(|word| word == "-0");
        kills || (!step.is_builtin() && step.name() != "sleep" && step.arguments().any(|word| is_ending(&word.to_lowercase())))
    };
    match Command::of(argv) {
        Some(Command::Shell { .. }) => {
            let script = container.script(argv).unwrap_or_default();
            !script.has_loop() && script.steps.iter().any(ends)
        }
        Some(Command::Program(program)) => {
            let kills = matches!(base_name(program), "kill" | "pkill" | "killall");
            kills || argv[1..].iter().any(|word| is_ending(&word.to_lowercase()))
        }
        None => false,
    }
}

/// `USH302`. k8s: 6.c.3
pub(super) fn proxy_stops_first(pod: &PodView<'_>, sink: &mut Sink<'_>) {
    for proxy in pod.with_role(Role::Regular).filter(|container| is_proxy(container) && !is_patient(container)) {
        // What a request or an unknown command does cannot be told.
        let hook = proxy.hook("preStop");
        let own = hook.as_ref().map(|hook| proxy.hook_time(hook));
        let Some(own) = own.map_or(Some(0.0), |time| time.map(|time| time.seconds)) else { continue };
        if hook.is_some_and(|hook| waits_for_others(proxy, &hook)) {
            continue;
        }
        let others = pod.with_role(Role::Regular).filter(|container| !is_proxy(container));
        let later = others.filter_map(|container| Some((container, container.pre_stop_time()?)));
        let Some((application, time)) = later.filter(|(_, time)| time.seconds > own).max_by(|a, b| a.1.seconds.total_cmp(&b.1.seconds))
        else {
            continue;
        };
        let (name, other) = (&proxy.container.name, &application.container.name);
        let message = format!("the proxy {name} gets its stop signal {} before {other} does", shown(time.seconds - own));
        let draft = sink.value(&proxy.path.child("image"), message).note(format!("stops while {other} still serves"));
        let draft = draft.see(&time.path, format!("{other} serves on for {}", shown(time.seconds)));
        draft.help("make it a sidecar, which is stopped after the containers: move it to `initContainers` with `restartPolicy: Always`");
    }
}

fn waits_for_others(container: &ContainerView<'_>, hook: &Hook<'_>) -> bool {
    let argv = hook.handler.exec.as_ref().and_then(|exec| exec.command.as_deref()).unwrap_or_default();
    container.script(argv).is_some_and(|script| script.has_loop())
}

fn is_proxy(container: &ContainerView<'_>) -> bool {
    let image = container.container.image.as_deref().unwrap_or_default();
    let name = image.split('@').next().unwrap_or_default();
    PROXIES.iter().any(|known| name.contains(known))
}

fn is_patient(container: &ContainerView<'_>) -> bool {
    mentions(container, PATIENCE)
}

fn mentions(container: &ContainerView<'_>, words: &[&str]) -> bool {
    let of = container.container;
    let variables = of.env.iter().flatten().flat_map(|variable| [Some(&variable.name), variable.value.as_ref()]).flatten();
    let hooks = container.hooks().filter_map(|hook| hook.handler.exec.as_ref()?.command.as_ref()).flatten();
    let text = of.command.iter().chain(&of.args).flatten().chain(variables).chain(hooks);
    text.into_iter().any(|text| words.iter().any(|word| text.contains(word)))
}

/// `USH303`. k8s: 4.a.15, 5.a.10
pub(super) fn job_never_completes(pod: &PodView<'_>, sink: &mut Sink<'_>) {
    // Whoever sees the other's processes, or asks its proxy to end, ends it.
    const ENDS_PROXY: &[&str] = &["quitquitquit", "/shutdown", "pkill", "killall", "scuttle"];
    if !pod.completes() || pod.spec.share_process_namespace == Some(true) {
        return;
    }
    let regular: Vec<_> = pod.with_role(Role::Regular).collect();
    let Some(application) = regular.iter().find(|container| !is_proxy(container)) else { return };
    if regular.iter().any(|container| mentions(container, ENDS_PROXY)) {
        return;
    }
    for proxy in regular.iter().filter(|container| is_proxy(container)) {
        let (name, other) = (&proxy.container.name, &application.container.name);
        let message = format!("the pod does not complete when {other} does: the proxy {name} goes on");
        let draft = sink.value(&proxy.path.child("image"), message).note("runs until somebody stops it");
        let draft = draft.see(&pod.path.child("restartPolicy"), "the pod is meant to complete");
        draft.help("make it a sidecar, which is stopped when the containers have completed: move it to `initContainers` with `restartPolicy: Always`");
    }
}
