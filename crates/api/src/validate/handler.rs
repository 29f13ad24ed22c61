//! Rules of probes and lifecycle hooks.

use k8s_openapi::api::core::v1::{ExecAction, GRPCAction, HTTPGetAction, Lifecycle, LifecycleHandler, Probe, SleepAction, TCPSocketAction};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::error::FieldError;
use super::pod::PodContext;
use super::{Errors, complain, names, text};
use crate::path::FieldPath;

const NEGATIVE: &str = "must be greater than or equal to 0";

/// What a probe or hook does, one field for each way.
#[derive(Default)]
struct Handler<'a> {
    exec: Option<&'a ExecAction>,
    http_get: Option<&'a HTTPGetAction>,
    tcp_socket: Option<&'a TCPSocketAction>,
    grpc: Option<&'a GRPCAction>,
    sleep: Option<&'a SleepAction>,
}

/// Checks the hooks and the stop signal of a container.
pub(super) fn validate_lifecycle(lifecycle: &Lifecycle, context: &PodContext<'_>, path: &FieldPath, errors: &mut Errors) {
    for (field, hook) in [("postStart", &lifecycle.post_start), ("preStop", &lifecycle.pre_stop)] {
        if let Some(hook) = hook {
            validate_handler(&Handler::from(hook), context, &path.child(field), errors);
        }
    }
    if let Some(signal) = &lifecycle.stop_signal {
        validate_stop_signal(signal, context, &path.child("stopSignal"), errors);
    }
}

/// Checks the three probes of a container.
pub(super) fn validate_probes(
    [liveness, readiness, startup]: [Option<&Probe>; 3],
    context: &PodContext<'_>,
    path: &FieldPath,
    errors: &mut Errors,
) {
    validate_probe(liveness, context, &path.child("livenessProbe"), errors);
    must_succeed_once(liveness, &path.child("livenessProbe"), errors);
    validate_probe(readiness, context, &path.child("readinessProbe"), errors);
    // k8s: 1.b.6
    if let Some(grace) = readiness.and_then(|probe| probe.termination_grace_period_seconds) {
        let path = path.child("readinessProbe").child("terminationGracePeriodSeconds");
        errors.push(FieldError::invalid(&path, grace, "must not be set for readinessProbes"));
    }
    validate_probe(startup, context, &path.child("startupProbe"), errors);
    must_succeed_once(startup, &path.child("startupProbe"), errors);
}

/// k8s: 1.c.2
fn must_succeed_once(probe: Option<&Probe>, path: &FieldPath, errors: &mut Errors) {
    if let Some(threshold) = probe.and_then(|probe| probe.success_threshold).filter(|threshold| *threshold != 1) {
        errors.push(FieldError::invalid(&path.child("successThreshold"), threshold, "must be 1"));
    }
}

fn validate_probe(probe: Option<&Probe>, context: &PodContext<'_>, path: &FieldPath, errors: &mut Errors) {
    let Some(probe) = probe else { return };
    validate_handler(&Handler::from(probe), context, path, errors);
    // k8s: 1.c.1
    let numbers = [
        ("initialDelaySeconds", probe.initial_delay_seconds),
        ("timeoutSeconds", probe.timeout_seconds),
        ("periodSeconds", probe.period_seconds),
        ("successThreshold", probe.success_threshold),
        ("failureThreshold", probe.failure_threshold),
    ];
    for (field, number) in numbers {
        if let Some(number) = number.filter(|number| *number < 0) {
            errors.push(FieldError::invalid(&path.child(field), number, NEGATIVE));
        }
    }
    // k8s: 1.b.5
    if let Some(grace) = probe.termination_grace_period_seconds.filter(|grace| *grace <= 0) {
        errors.push(FieldError::invalid(&path.child("terminationGracePeriodSeconds"), grace, "must be greater than 0"));
    }
}

/// Exactly one way, in the order of the reference: the first is checked, every later one forbidden. k8s: 1.c.3, 1.d.1
fn validate_handler(handler: &Handler<'_>, context: &PodContext<'_>, path: &FieldPath, errors: &mut Errors) {
    let mut seen = false;
    let mut first = |field: &'static str, present: bool, errors: &mut Errors| {
        if present && seen {
            errors.push(FieldError::forbidden(&path.child(field), "may not specify more than 1 handler type"));
        }
        let first = present && !seen;
        seen |= present;
        first
    };
    if first("exec", handler.exec.is_some(), errors) {
        validate_exec(handler.exec, &path.child("exec"), errors);
    }
    if first("httpGet", handler.http_get.is_some(), errors) {
        validate_http_get(handler.http_get, &path.child("httpGet"), errors);
    }
    if first("tcpSocket", handler.tcp_socket.is_some(), errors)
        && let Some(tcp) = handler.tcp_socket
    {
        validate_port(&tcp.port, &path.child("tcpSocket").child("port"), errors);
    }
    if first("grpc", handler.grpc.is_some(), errors)
        && let Some(grpc) = handler.grpc
    {
        // k8s: 1.c.10
        validate_port(&IntOrString::Int(grpc.port), &path.child("grpc").child("port"), errors);
    }
    if first("sleep", handler.sleep.is_some(), errors)
        && let Some(sleep) = handler.sleep
    {
        validate_sleep(sleep, context, &path.child("sleep"), errors);
    }
    if !seen {
        // k8s: 1.c.4, 1.d.5
        errors.push(FieldError::required(path, "must specify a handler type"));
    }
}

/// k8s: 1.c.5
fn validate_exec(exec: Option<&ExecAction>, path: &FieldPath, errors: &mut Errors) {
    if exec.is_some_and(|exec| exec.command.as_deref().unwrap_or_default().is_empty()) {
        errors.push(FieldError::required(&path.child("command"), ""));
    }
}

/// k8s: 1.c.6, 1.c.7, 1.c.8
fn validate_http_get(http: Option<&HTTPGetAction>, path: &FieldPath, errors: &mut Errors) {
    let Some(http) = http else { return };
    if text(&http.path).is_empty() {
        errors.push(FieldError::required(&path.child("path"), ""));
    }
    validate_port(&http.port, &path.child("port"), errors);
    let scheme = text(&http.scheme);
    if !matches!(scheme, "HTTP" | "HTTPS") {
        errors.push(FieldError::not_supported(&path.child("scheme"), scheme, &["HTTP", "HTTPS"]));
    }
    for (index, header) in http.http_headers.iter().flatten().enumerate() {
        let headers = path.child("httpHeaders");
        let exact = headers.index(index).child("name");
        let wrong = names::http_header_name(&header.name).into_iter();
        errors.extend(wrong.map(|text| FieldError::invalid(&headers, &header.name, text).exactly(exact.clone())));
    }
}

/// k8s: 1.c.9
fn validate_port(port: &IntOrString, path: &FieldPath, errors: &mut Errors) {
    match port {
        IntOrString::Int(number) => {
            let wrong = names::port_number(*number).into_iter();
            errors.extend(wrong.map(|text| FieldError::invalid(path, *number, text)));
        }
        IntOrString::String(name) => complain(errors, path, name, names::port_name(name)),
    }
}

/// k8s: 1.d.3
fn validate_sleep(sleep: &SleepAction, context: &PodContext<'_>, path: &FieldPath, errors: &mut Errors) {
    let Some(grace) = context.grace_seconds else {
        return;
    };
    if sleep.seconds < 0 || sleep.seconds > grace {
        let detail = format!("must be non-negative and less than terminationGracePeriodSeconds ({grace})");
        errors.push(FieldError::invalid(path, sleep.seconds, detail).exactly(path.child("seconds")));
    }
}

/// k8s: 1.d.6, 1.d.7
fn validate_stop_signal(signal: &str, context: &PodContext<'_>, path: &FieldPath, errors: &mut Errors) {
    let supported = match context.os {
        None => {
            let detail = "may not be set for containers with empty `spec.os.name`";
            return errors.push(FieldError::forbidden(path, detail));
        }
        Some("windows") => vec!["SIGKILL".to_owned(), "SIGTERM".to_owned()],
        Some(_) => linux_signals(),
    };
    if !supported.iter().any(|known| known == signal) {
        let supported: Vec<_> = supported.iter().map(String::as_str).collect();
        errors.push(FieldError::not_supported(path, signal, &supported));
    }
}

/// The names of signals that a container on Linux can be stopped by, sorted.
pub(super) fn linux_signals() -> Vec<String> {
    const NAMED: [&str; 34] = [
        "ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT", "KILL", "PIPE", "POLL", "PROF", "PWR",
        "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP", "TTIN", "TTOU", "URG", "USR1", "USR2", "VTALRM", "WINCH", "XCPU",
        "XFSZ",
    ];
    let mut signals: Vec<String> = NAMED.iter().map(|name| format!("SIG{name}")).collect();
    signals.extend(["SIGRTMIN".to_owned(), "SIGRTMAX".to_owned()]);
    signals.extend((1..=15).map(|number| format!("SIGRTMIN+{number}")));
    signals.extend((1..=14).map(|number| format!("SIGRTMAX-{number}")));
    signals.sort();
    signals
}

impl<'a> From<&'a Probe> for Handler<'a> {
    fn from(probe: &'a Probe) -> Self {
        Self {
            exec: probe.exec.as_ref(),
            http_get: probe.http_get.as_ref(),
            tcp_socket: probe.tcp_socket.as_ref(),
            grpc: probe.grpc.as_ref(),
            sleep: None,
        }
    }
}

impl<'a> From<&'a LifecycleHandler> for Handler<'a> {
    fn from(handler: &'a LifecycleHandler) -> Self {
        Self {
            exec: handler.exec.as_ref(),
            http_get: handler.http_get.as_ref(),
            tcp_socket: handler.tcp_socket.as_ref(),
            grpc: None,
            sleep: handler.sleep.as_ref(),
        }
    }
}
