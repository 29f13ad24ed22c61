//! The world of the recordings: images, the workload `tapp`, its hooks and probes, and how long a real machine takes.
//!
//! `tapp run [--term-delay MS] [--ignore-term] [--exit-after MS] [--exit-code N] [--term-code N] [--http PORT] [--fail-after MS]`
//! is a main process; `tapp say TEXT`, `sleep MS`, `out TEXT`, `code N`, chained with `then`, are for hooks.

use std::collections::BTreeMap;
use std::time::Duration;

use lifecycle::{Handler, Hook, HookOutcome, HttpGet, HttpPort, ImageInspection, PodSpec, ProbeHandler, ProbeKind, ProbeOutcome, Scheme};
use sim::nature::{Ending, HookRun, Life, Nature, OnStopSignal, Timed, Trouble};
use sim::world::image_ref;

/// What a real machine takes for one step of the runtime; the recordings show some 30 to 300 ms.
const STEP: Duration = Duration::from_millis(60);
/// From a process's start to the news of it.
const NEWS: Duration = Duration::from_millis(20);
/// What starting a command in a container takes.
const EXEC: Duration = Duration::from_millis(20);
/// So long the plain server keeps a TLS greeting before it answers, and the request is made again without TLS.
const TLS_TO_PLAIN: Duration = Duration::from_millis(3100);
/// The one port that a workload listens on.
const SERVED_PORT: u16 = 8080;

/// The world of one recorded case.
pub(crate) struct Tapp {
    pod: PodSpec,
    commands: BTreeMap<String, Vec<String>>,
}

impl Tapp {
    pub(crate) fn new(pod: &PodSpec, commands: BTreeMap<String, Vec<String>>) -> Self {
        Self { pod: pod.clone(), commands }
    }

    fn command(&self, container: &str) -> &[String] {
        self.commands.get(container).map_or(&[], Vec::as_slice)
    }

    fn option(&self, container: &str, name: &str) -> Option<u64> {
        let command = self.command(container);
        let position = command.iter().position(|word| word == name)?;
        command.get(position + 1)?.parse().ok()
    }
}

/// What a hook's command writes, with the time since its begin; the last time is its end.
pub(crate) struct Output {
    pub(crate) lines: Vec<(Duration, String)>,
    pub(crate) takes: Duration,
    pub(crate) outcome: HookOutcome,
}

/// Runs a hook's command.
pub(crate) fn run_command(command: &[String]) -> Output {
    let mut output = Output { lines: Vec::new(), takes: EXEC, outcome: HookOutcome::Succeeded };
    let words: Vec<&str> = command.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["/no/such/command"] => {
            output.outcome = HookOutcome::FailedToRun { error: NO_SUCH_COMMAND.to_owned() };
        }
        ["sleep", secs] => output.takes += Duration::from_secs_f64(secs.parse().expect("seconds")),
        ["sh", "-c", _, name] => output.lines.push((EXEC, format!("hook: hook-context {name}"))),
        ["/bin/sh", "-c", ..] => {}
        ["tapp", words @ ..] => run_tapp(words, &mut output),
        other => panic!("the command {other:?} is not in the recordings"),
    }
    output
}

fn run_tapp(words: &[&str], output: &mut Output) {
    let (mut stdout, mut stderr) = (String::new(), String::new());
    for part in words.split(|word| *word == "then") {
        match part {
            ["say", text] => output.lines.push((output.takes, format!("hook: {text}"))),
            ["sleep", millis] => {
                output.lines.push((output.takes, "hook: sleep begins".to_owned()));
                output.takes += Duration::from_millis(millis.parse().expect("milliseconds"));
                output.lines.push((output.takes, "hook: sleep ends".to_owned()));
            }
            ["out", text] => {
                stdout = format!("{text} ");
                stderr = format!("err-{text} ");
            }
            ["code", code] => {
                output.lines.push((output.takes, format!("hook: exit {code}")));
                let code = code.parse().expect("an exit code");
                output.outcome = HookOutcome::ExitedNonZero { code, stdout: stdout.clone(), stderr: stderr.clone() };
            }
            other => panic!("{other:?} is not in the recordings"),
        }
    }
}

/// The runtime's words for a command that is not there.
const NO_SUCH_COMMAND: &str = concat!(
    "rpc error: code = Unknown desc = failed to exec in container: failed to start exec \"id\": OCI runtime exec failed: ",
    "exec failed: unable to start container process: exec: \"/no/such/command\": ",
    "stat /no/such/command: no such file or directory"
);

impl Nature for Tapp {
    fn create_sandbox(&mut self, _attempt: u32) -> Timed<Result<Vec<String>, Trouble>> {
        Timed::after(Duration::from_millis(500), Ok(vec!["10.0.0.1".to_owned()]))
    }

    fn stop_sandbox(&mut self) -> Duration {
        Duration::from_millis(200)
    }

    fn clean_up(&mut self) -> Duration {
        Duration::from_millis(200)
    }

    fn inspect_image(&mut self, _container: &str, image: &str) -> Timed<ImageInspection> {
        Timed::now(match image {
            "no-such-image:1" => ImageInspection::Absent,
            image => ImageInspection::Present { image_ref: image_ref(image) },
        })
    }

    fn pull_image(&mut self, _container: &str, image: &str) -> Timed<Result<u64, Trouble>> {
        let message = format!(
            "rpc error: code = NotFound desc = failed to pull and unpack image \"docker.io/library/{image}\": \
             failed to resolve image: docker.io/library/{image}: not found"
        );
        Timed::after(NEWS, Err(Trouble { reason: "ErrImagePull".to_owned(), message }))
    }

    fn create_container(&mut self, _container: &str, _restart_count: u32) -> Timed<Result<(), Trouble>> {
        Timed::after(STEP, Ok(()))
    }

    fn start_container(&mut self, _container: &str, _restart_count: u32) -> Timed<Result<(), String>> {
        Timed::after(STEP, Ok(()))
    }

    fn start_told_after(&mut self, _container: &str) -> Duration {
        NEWS
    }

    fn life(&mut self, container: &str, _restart_count: u32) -> Life {
        let code = |name| self.option(container, name).and_then(|code| i32::try_from(code).ok()).unwrap_or(0);
        let after = |name| self.option(container, name).map(Duration::from_millis);
        let ends = after("--exit-after").map(|after| Timed::after(after, Ending::exit(code("--exit-code"))));
        let on_stop_signal = if self.command(container).iter().any(|word| word == "--ignore-term") {
            OnStopSignal::Ignores
        } else {
            let delay = after("--term-delay").unwrap_or_default();
            OnStopSignal::Ends(Timed::after(delay, Ending::exit(code("--term-code"))))
        };
        Life { ends, on_stop_signal, dies_after: Duration::from_millis(5), told_after: NEWS }
    }

    fn hook(&mut self, container: &str, _restart_count: u32, hook: Hook, handler: &Handler) -> HookRun {
        let mut run = HookRun { takes: Some(EXEC), outcome: HookOutcome::Succeeded, ends_container: None, told_after: EXEC };
        match handler {
            Handler::Exec { command, .. } => {
                let output = run_command(command);
                run.takes = Some(output.takes);
                run.outcome = output.outcome;
                let is_nginx = self.pod.containers.iter().any(|spec| spec.name == container && spec.image == "nginx");
                if is_nginx && hook == Hook::PreStop {
                    // `nginx -s quit; while killall -0 nginx; do sleep 1; done`: the loop dies with the container.
                    run.takes = None;
                    run.ends_container = Some(Timed::after(EXEC * 2, Ending::exit(0)));
                }
            }
            Handler::HttpGet(get) => {
                run.outcome = request(get);
                if get.scheme == Scheme::Https {
                    run.takes = Some(TLS_TO_PLAIN);
                }
            }
            Handler::Sleep { secs } => run.takes = Some(Duration::from_secs(*secs)),
            Handler::TcpSocket => panic!("no recording has a tcpSocket hook"),
        }
        run
    }

    fn probe(&mut self, container: &str, _restart_count: u32, probe: ProbeKind, age: Duration) -> Timed<ProbeOutcome> {
        let spec = self.pod.init_containers.iter().chain(&self.pod.containers).find(|spec| spec.name == container);
        let spec = spec.and_then(|spec| match probe {
            ProbeKind::Startup => spec.startup_probe.as_ref(),
            ProbeKind::Liveness => spec.liveness_probe.as_ref(),
            ProbeKind::Readiness => spec.readiness_probe.as_ref(),
        });
        let failure = |output: &str| ProbeOutcome::Failure { output: output.to_owned() };
        let outcome = match spec.map(|spec| &spec.handler) {
            Some(ProbeHandler::Exec { command }) => match command[0].as_str() {
                "true" => ProbeOutcome::Success,
                "false" => failure(""),
                // `sh -c "sleep 3; touch /tmp/up; exec tapp run"`
                "cat" if age >= Duration::from_secs(3) => ProbeOutcome::Success,
                "cat" => failure("cat: can't open '/tmp/up': No such file or directory\n"),
                other => panic!("the probe {other} is not in the recordings"),
            },
            Some(ProbeHandler::HttpGet(_)) => match self.option(container, "--fail-after").map(Duration::from_millis) {
                Some(fails_after) if age >= fails_after => failure("HTTP probe failed with statuscode: 500"),
                Some(_) | None => ProbeOutcome::Success,
            },
            Some(ProbeHandler::TcpSocket { .. } | ProbeHandler::Grpc { .. }) | None => panic!("no recording has such a probe"),
        };
        Timed::after(EXEC, outcome)
    }

    fn stop_signal(&mut self, _container: &str) -> Timed<Result<(), String>> {
        Timed::after(Duration::from_millis(5), Ok(()))
    }

    fn kill_signal(&mut self, _container: &str) -> Timed<Result<(), String>> {
        Timed::after(Duration::from_millis(5), Ok(()))
    }

    fn pull_cancelled_after(&mut self) -> Duration {
        NEWS
    }

    fn world_goes_first(&mut self) -> bool {
        false
    }
}

/// A request from the node: only the served port of the pod answers, any status is a success.
fn request(get: &HttpGet) -> HookOutcome {
    let port = match &get.port {
        HttpPort::Number(port) => *port,
        HttpPort::Unresolved(error) => return HookOutcome::HttpFailed { error: error.clone() },
    };
    match &get.host {
        None if port == SERVED_PORT => HookOutcome::Succeeded,
        host => {
            let address = format!("{}:{port}", host.as_deref().unwrap_or("10.0.0.1"));
            HookOutcome::HttpFailed {
                error: format!("Get \"http://{address}{}\": dial tcp {address}: connect: connection refused", get.path),
            }
        }
    }
}
