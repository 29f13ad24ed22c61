//! Rules about probes.

use k8s_openapi::api::core::v1::Probe;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::hooks::allowance_seconds;
use super::view::{ContainerView, PodView, Sink, shown};

/// `USH401`
pub(super) fn liveness_is_readiness(pod: &PodView<'_>, sink: &mut Sink<'_>) {
    for container in pod.running() {
        let (Some(liveness), Some(readiness)) = (&container.container.liveness_probe, &container.container.readiness_probe) else {
            continue;
        };
        if !asks_the_same(container, liveness, readiness) || patience_seconds(liveness) > patience_seconds(readiness) {
            continue;
        }
        let name = &container.container.name;
        let (live, ready) = (shown(patience_seconds(liveness)), shown(patience_seconds(readiness)));
        let message = format!("{name} is killed by its liveness probe as soon as its readiness probe takes it out of service");
        let draft = sink.key(&container.path.child("livenessProbe"), message).note(format!("gives up after {live} of failures"));
        let draft = draft.see_key(&container.path.child("readinessProbe"), format!("asks the same, and gives up after {ready}"));
        draft
            .help("under load all replicas are restarted one after the other, when a pause would have done")
            .help("let liveness ask something cheaper, or be more patient: a higher `failureThreshold`");
    }
}

/// How long a probe must fail in a row.
fn patience_seconds(probe: &Probe) -> f64 {
    allowance_seconds(&Probe { initial_delay_seconds: None, ..probe.clone() })
}

fn asks_the_same(container: &ContainerView<'_>, a: &Probe, b: &Probe) -> bool {
    let number = |port: &IntOrString| match port {
        IntOrString::Int(number) => Some(*number),
        IntOrString::String(name) => {
            let named = container.container.ports.iter().flatten().find(|port| port.name.as_deref() == Some(name));
            named.map(|port| port.container_port).or_else(|| name.parse().ok())
        }
    };
    match (&a.http_get, &b.http_get) {
        (Some(a), Some(b)) => {
            let rest = a.path == b.path && a.scheme == b.scheme && a.host == b.host && a.http_headers == b.http_headers;
            return rest && number(&a.port) == number(&b.port);
        }
        (Some(_), None) | (None, Some(_)) => return false,
        (None, None) => {}
    }
    match (&a.tcp_socket, &b.tcp_socket) {
        (Some(a), Some(b)) => a.host == b.host && number(&a.port) == number(&b.port),
        (Some(_), None) | (None, Some(_)) => false,
        (None, None) => a.exec == b.exec && a.grpc == b.grpc && (a.exec.is_some() || a.grpc.is_some()),
    }
}

/// `USH402`. k8s: 7.a.8, 7.a.11, 7.a.13
pub(super) fn killed_while_starting(pod: &PodView<'_>, sink: &mut Sink<'_>) {
    for container in pod.running() {
        let (None, Some(liveness)) = (&container.container.startup_probe, &container.container.liveness_probe) else { continue };
        let allowance = allowance_seconds(liveness);
        let name = &container.container.name;
        let path = container.path.child("livenessProbe");
        let expected = container.container.readiness_probe.as_ref().and_then(|probe| probe.initial_delay_seconds).unwrap_or(0);
        let measured = container.measured.as_ref().and_then(|measured| measured.ready_seconds).filter(|ready| *ready >= allowance);
        let help =
            "give the start its own time: a startupProbe with a high `failureThreshold` holds the liveness probe back until it succeeds";
        if let Some(ready) = measured {
            let message =
                format!("{name} took {} to be ready in a measured run, but liveness gives up after {}", shown(ready), shown(allowance));
            sink.key(&path, message).note(format!("kills {name} when it has failed for so long")).help(help);
        } else if f64::from(expected) >= allowance {
            let message = format!("{name} may be killed while it starts: liveness gives up after {}", shown(allowance));
            let ready = container.path.child("readinessProbe").child("initialDelaySeconds");
            let draft = sink.key(&path, message).see(&ready, format!("not expected to be ready before {expected} s"));
            draft.help(help);
        }
    }
}

/// `USH403`. k8s: 7.a.9
pub(super) fn timeout_over_period(pod: &PodView<'_>, sink: &mut Sink<'_>) {
    for container in pod.running() {
        for (name, probe, path) in container.probes() {
            let (Some(timeout), Some(period)) = (probe.timeout_seconds, probe.period_seconds) else { continue };
            if timeout <= period {
                continue;
            }
            let message = format!("the {name} of {} may take {timeout} s, but is due every {period} s", container.container.name);
            let draft = sink.value(&path.child("timeoutSeconds"), message).note("a slow answer holds up the next probe");
            let draft = draft.see(&path.child("periodSeconds"), "the period");
            let slowest = timeout * probe.failure_threshold.unwrap_or(3);
            draft.help(format!(
                "probes do not overlap, so it gives up after up to {slowest} s and not after {}",
                shown(patience_seconds(probe))
            ));
        }
    }
}
