//! One attempt of a probe: run, ask or connect, and say in the reference's words what came of it.
//!
//! Not the schedule and not the thresholds: those are the machine's. Failure counts towards a threshold; an error does not, it means
//! that the attempt itself could not be made (k8s: 7.b.1).

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod grpc;

use std::net::IpAddr;
use std::time::Duration;

use lifecycle::{HttpPort, ProbeHandler, ProbeOutcome, go_duration};
use runtime::{ExecError, ExecResult};

use crate::error_chain;
use crate::go_text::quote;
use crate::http::{self, HttpAnswer, HttpError, Purpose};

/// Output of a command that is kept, in bytes (k8s: 7.d.4).
const OUTPUT_BYTES_MAX: usize = 10 * 1024;

/// Makes one attempt over the network. `pod_ip` is asked where the probe names no host. A command is none of these: it is for whoever can
/// run one in the container, and [`exec_outcome`] says what its end means.
pub async fn ask(handler: &ProbeHandler, pod_ip: Option<IpAddr>, timeout: Duration) -> ProbeOutcome {
    match handler {
        ProbeHandler::Exec { .. } => ProbeOutcome::Error { error: "a command is not asked for over the network".to_owned() },
        ProbeHandler::HttpGet(get) => http_outcome(http::get(get, pod_ip, Purpose::Probe { timeout }).await),
        ProbeHandler::TcpSocket { host, port } => connect(host.as_deref(), port, pod_ip, timeout).await,
        // Boxed is what would make the others larger.
        ProbeHandler::Grpc { port, service } => match pod_ip {
            Some(ip) => Box::pin(grpc::check(ip, *port, service, timeout)).await,
            None => no_address(),
        },
    }
}

/// What the end of a probe's command means (k8s: 7.d.3).
pub fn exec_outcome(command: &[String], timeout: Duration, ended: Result<ExecResult, ExecError>) -> ProbeOutcome {
    match ended {
        Ok(result) if result.timed_out => {
            let output = format!("command timed out: {} timed out after {}", quote(&command.join(" ")), go_duration(timeout));
            ProbeOutcome::Failure { output }
        }
        Ok(result) if result.exit_code == 0 => ProbeOutcome::Success,
        // k8s: 7.b.1: it had no time to find anything out, so it says nothing about the container's health.
        Ok(result) if result.container_ended => ProbeOutcome::Error { error: "the container ended while the command ran".to_owned() },
        Ok(result) => ProbeOutcome::Failure { output: capped(result.stdout + &result.stderr) },
        Err(error) => ProbeOutcome::Error { error: error_chain(&error) },
    }
}

/// k8s: 7.e.3, 7.e.5, 7.e.8
fn http_outcome(answered: Result<HttpAnswer, HttpError>) -> ProbeOutcome {
    match answered {
        Ok(HttpAnswer { status: 200..=299, .. }) => ProbeOutcome::Success,
        Ok(HttpAnswer { status: 300..=399, body, .. }) => {
            let body = String::from_utf8_lossy(&body);
            ProbeOutcome::Warning { output: format!("Probe terminated redirects, Response body: {body}") }
        }
        Ok(HttpAnswer { status, .. }) => ProbeOutcome::Failure { output: format!("HTTP probe failed with statuscode: {status}") },
        Err(HttpError::Transport(output)) => ProbeOutcome::Failure { output },
        Err(HttpError::Request(error) | HttpError::Body(error)) => ProbeOutcome::Error { error },
    }
}

/// k8s: 7.f.1
async fn connect(host: Option<&str>, port: &HttpPort, pod_ip: Option<IpAddr>, timeout: Duration) -> ProbeOutcome {
    let port = match port {
        HttpPort::Number(port) => *port,
        HttpPort::Unresolved(error) => return ProbeOutcome::Error { error: error.clone() },
    };
    let Some(host) = host.map(str::to_owned).or_else(|| pod_ip.map(|ip| ip.to_string())) else { return no_address() };
    match tokio::time::timeout(timeout, http::dial(&host, port)).await {
        Ok(Ok(_)) => ProbeOutcome::Success,
        Ok(Err(output)) => ProbeOutcome::Failure { output },
        Err(_) => ProbeOutcome::Failure { output: format!("dial tcp {}: i/o timeout", join_host_port(&host, port)) },
    }
}

fn join_host_port(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

fn no_address() -> ProbeOutcome {
    ProbeOutcome::Error { error: "the pod has no address".to_owned() }
}

fn capped(mut output: String) -> String {
    let mut end = output.len().min(OUTPUT_BYTES_MAX);
    while !output.is_char_boundary(end) {
        end -= 1;
    }
    output.truncate(end);
    output
}

#[cfg(test)]
mod tests;
