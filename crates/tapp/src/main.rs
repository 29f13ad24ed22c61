//! The workload of the tests: a main process that says what it receives, and words for hooks and probes.
//!
//! Every line carries nanosecond wall-clock time and goes to PID 1's standard output and to `$TRACE_FILE`:
//! `1795442077.826945066 app pid=1 main: start`, where `app` is `$TAPP`. It ships in test images only.
//!
//! ```text
//! tapp run [--term-delay MS] [--ignore-term] [--exit-after MS] [--exit-code N] [--term-code N] [--http PORT] [--grpc PORT] [--udp PORT] [--fail-after MS]
//!          [--reverse HOST:PORT …]
//! tapp say TEXT… | sleep MS | out TEXT | flood BYTES | code N   [then …]
//! tapp call NAME ARGUMENT…   [then …]
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::process::ExitCode;

mod call;
mod grpc;
mod hook;
mod http;
mod report;
mod reverse;
mod run;
mod udp;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.split_first() {
        Some((first, rest)) if first == "run" => match run::Options::parse(rest) {
            Ok(options) => run::run(&options),
            Err(error) => complain(&error),
        },
        Some((first, rest)) if first == "call" => match call::perform(rest) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => complain(&error),
        },
        Some(_) => match hook::perform(&arguments) {
            Ok(code) => ExitCode::from(code),
            Err(error) => complain(&error),
        },
        None => complain("say what to do: run, call, say, sleep, out, flood or code"),
    }
}

/// Where servers listen: at all addresses, of IPv6 too where the kernel has it.
fn everywhere() -> IpAddr {
    match UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)) {
        Ok(_) => Ipv6Addr::UNSPECIFIED.into(),
        Err(_) => Ipv4Addr::UNSPECIFIED.into(),
    }
}

#[expect(clippy::print_stderr, reason = "this is a command")]
fn complain(error: &str) -> ExitCode {
    eprintln!("tapp: {error}");
    ExitCode::from(64)
}
