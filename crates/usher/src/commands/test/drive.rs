//! Drives one run of a pod: waits until it is Ready, has the command and the requests sent at it, deletes it, waits until it is gone.

use std::net::IpAddr;
use std::os::fd::AsFd as _;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use chronicle::Journal;
use chronicle::judge::{CommandRun, Request, Traffic};
use lifecycle::{ConditionKind, Grace, KillPod, KillTrigger, PodStatus};
use node::container_config::Objects;
use node::control::{ControlSocket, EngineLock};
use node::eviction::{EvictionConfig, Watch, WatchedPod};
use node::journal::{Live, Record};
use node::pod_files::remove_pod_folder;
use node::{NodeConfig, Pod, PodDriver, PodHandle, PodWorld, clock, error_chain};
use runtime::EmbeddedRuntime;
use tokio::process::{Child, Command};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::target::Target;
use super::{Test, traffic};

/// Who asks for the delete, in the journal.
const ASKER: &str = "usher test";

/// A second start has so long after Ready to show that it stays up: without a probe a container is Ready as soon as it runs.
const SETTLE: Duration = Duration::from_secs(1);

/// What all runs share.
pub(super) struct Engine {
    pub(super) runtime: Arc<EmbeddedRuntime>,
    pub(super) node: NodeConfig,
    pub(super) eviction: EvictionConfig,
    pub(super) objects: Objects,
    pub(super) requests: StopRequests,
}

/// How much of a run is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Depth {
    /// With command and requests.
    Whole,
    /// Only until it is Ready, and [`SETTLE`] longer.
    Start,
}

/// A run that is over.
#[derive(Debug)]
pub(super) struct Played {
    pub(super) journal: Journal,
    pub(super) command: Option<CommandRun>,
    pub(super) traffic: Option<Traffic>,
}

/// Ctrl-C and SIGTERM.
pub(super) struct StopRequests {
    interrupts: Signal,
    terminates: Signal,
}

impl StopRequests {
    pub(super) fn listen() -> std::io::Result<Self> {
        Ok(Self { interrupts: signal(SignalKind::interrupt())?, terminates: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupts.recv() => {}
            _ = self.terminates.recv() => {}
        }
    }
}

/// What is known of the pod from its status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Shown {
    is_ready: bool,
    is_over: bool,
    ip: Option<IpAddr>,
}

/// A wait that somebody broke off.
struct Interrupted;

impl Engine {
    /// Runs the pod once; `None` if somebody interrupted it, which ends the pod all the same.
    pub(super) async fn play(&mut self, pod: Pod, test: &Test, depth: Depth) -> anyhow::Result<Option<Played>> {
        let target = test.http.as_ref().filter(|_| depth == Depth::Whole).map(|url| url.resolve(&pod)).transpose()?;
        let world = PodWorld::new(self.runtime.clone(), self.node.clone(), pod, self.objects.clone())?;
        let (folder, spec) = (world.pod_dir(), world.spec().clone());
        let journal_path = self.node.journal_path(&spec.namespace, &spec.name, &spec.uid);
        let lock = EngineLock::try_take(&folder)?.context("another engine drives a pod of this uid")?;
        let (watcher, watched) = mpsc::unbounded_channel();
        let object = Arc::new(world.pod().clone());
        let driver = PodDriver::new(world, watcher)?.without_output();
        let handle = driver.handle();
        // As `usher run` does: a pod that takes more of the disk than it may has to go.
        let mut evicting = Watch::new(self.runtime.clone(), self.eviction.clone(), self.node.clone());
        let watched_pod = WatchedPod { pod: object, handle: handle.clone() };
        let evicting = tokio::spawn(async move { evicting.keep_looking(&[watched_pod]).await });
        let control = ControlSocket::listen(&folder, handle.clone()).context("cannot listen for requests")?;
        let (sender, shown) = watch::channel(Shown::default());
        tokio::spawn(follow(watched, sender));
        let driven = tokio::spawn(driver.run());
        let mut run = Run { handle, shown, requests: &mut self.requests, driven };
        let begun = Instant::now();
        let seen = match run.wait_ready(begun + test.ready_within).await {
            Ok(true) => run.look(test, target, &spec, depth).await,
            Ok(false) => Ok(Looked::nothing(test, target, depth)),
            Err(interrupted) => Err(interrupted),
        };
        let ended = run.end(test, seen).await;
        evicting.abort();
        drop(control);
        let removed = remove_pod_folder(&folder);
        drop(lock);
        if let Err(error) = removed {
            tracing::warn!(error = error_chain(&error), "cannot remove the folder of a pod");
        }
        let Some((command, traffic)) = ended? else { return Ok(None) };
        let journal = node::journal::read(&journal_path)?;
        Ok(Some(Played { journal, command, traffic }))
    }
}

/// A run under way.
struct Run<'a> {
    handle: PodHandle,
    shown: watch::Receiver<Shown>,
    requests: &'a mut StopRequests,
    driven: JoinHandle<PodStatus>,
}

/// What was seen before the delete, and the requests, which go on after it.
#[derive(Default)]
struct Looked {
    command: Option<CommandRun>,
    traffic: Option<Stream>,
}

impl Looked {
    /// Of a pod that was not Ready.
    fn nothing(test: &Test, target: Option<Target>, depth: Depth) -> Self {
        let command = test.command.clone().filter(|_| depth == Depth::Whole);
        Self {
            command: command.map(|command| CommandRun { command, ran: None, exit_code: None, error: None }),
            traffic: target.map(|target| Stream { target, sent: None }),
        }
    }
}

/// The requests to a pod.
struct Stream {
    target: Target,
    /// `None` if nothing is sent.
    sent: Option<Sending>,
}

/// Requests under way.
struct Sending {
    /// Tells when to stop.
    until: watch::Sender<Option<Instant>>,
    /// Brings what was sent.
    requests: JoinHandle<Vec<Request>>,
}

impl Run<'_> {
    /// False if it is not Ready by the deadline, or over before it was.
    async fn wait_ready(&mut self, deadline: Instant) -> Result<bool, Interrupted> {
        tokio::select! {
            shown = self.shown.wait_for(|shown| shown.is_ready || shown.is_over) => Ok(shown.is_ok_and(|shown| shown.is_ready)),
            () = sleep_until(deadline) => Ok(false),
            () = self.requests.next() => Err(Interrupted),
        }
    }

    /// Has requests sent and the command run, or lets the time pass; shorter if the pod ends meanwhile.
    async fn look(&mut self, test: &Test, target: Option<Target>, spec: &lifecycle::PodSpec, depth: Depth) -> Result<Looked, Interrupted> {
        let ip = self.shown.borrow().ip;
        let traffic = target.map(|target| {
            let (until, told) = watch::channel(None);
            let send = |ip| tokio::spawn(traffic::send(target.clone(), ip, test.rate, told));
            let sent = ip.map(|ip| Sending { until, requests: send(ip) });
            Stream { target, sent }
        });
        let line = test.command.as_ref().filter(|_| depth == Depth::Whole);
        let Some(line) = line else {
            let keep_for = if depth == Depth::Start { SETTLE.min(test.keep_for) } else { test.keep_for };
            tokio::select! {
                () = tokio::time::sleep(keep_for) => {}
                _ = self.shown.wait_for(|shown| shown.is_over) => {}
                () = self.requests.next() => return Err(Interrupted),
            }
            return Ok(Looked { command: None, traffic });
        };
        let began = clock::now();
        let mut run = CommandRun { command: line.clone(), ran: None, exit_code: None, error: None };
        let ended = match command(line, ip, spec) {
            Ok(mut child) => tokio::select! {
                ended = child.wait() => ended,
                () = self.requests.next() => {
                    end_group(&child);
                    return Err(Interrupted);
                }
            },
            Err(error) => Err(error),
        };
        run.ran = Some((began, clock::now()));
        (run.exit_code, run.error) = how_it_ended(ended);
        Ok(Looked { command: Some(run), traffic })
    }

    /// Deletes the pod and waits until it is gone; the requests stop when the endpoint is withdrawn.
    async fn end(
        mut self,
        test: &Test,
        looked: Result<Looked, Interrupted>,
    ) -> anyhow::Result<Option<(Option<CommandRun>, Option<Traffic>)>> {
        let mut is_interrupted = looked.is_err();
        let by = if is_interrupted { "Ctrl-C or SIGTERM to usher test" } else { ASKER };
        let grace = test.grace_period.map_or(Grace::FromSpec, Grace::Seconds);
        self.handle.kill_by(KillPod { trigger: KillTrigger::Deleted, grace }, by);
        // A pod that is over has no endpoint.
        let delay = if self.shown.borrow().is_over { Duration::ZERO } else { test.endpoint_delay };
        let withdrawn = Instant::now() + delay;
        let Looked { command, traffic } = looked.unwrap_or_default();
        if let Some(sending) = traffic.as_ref().and_then(|stream| stream.sent.as_ref()) {
            sending.until.send_replace(Some(withdrawn));
        }
        // The first request ends the test, each further one shortens the grace, as with `usher run`.
        let mut graces = [Grace::FromSpec, Grace::Seconds(1), Grace::AtOnce].into_iter().skip(usize::from(is_interrupted));
        loop {
            tokio::select! {
                ended = &mut self.driven => {
                    ended.context("the pod's driver died")?;
                    break;
                }
                () = self.requests.next() => {
                    is_interrupted = true;
                    if let Some(grace) = graces.next() {
                        self.handle.kill_by(KillPod { trigger: KillTrigger::Deleted, grace }, "Ctrl-C or SIGTERM to usher test");
                    }
                }
            }
        }
        if is_interrupted {
            return Ok(None);
        }
        let Some(Stream { target, sent }) = traffic else { return Ok(Some((command, None))) };
        let requests = match sent {
            Some(sending) => sending.requests.await.context("the requests broke off")?,
            None => Vec::new(),
        };
        let traffic = Traffic { url: target.url, container: target.container, endpoint_delay: test.endpoint_delay, requests };
        Ok(Some((command, Some(traffic))))
    }
}

/// Shows the pod's status to whoever waits for it, until the pod is gone.
async fn follow(mut watched: mpsc::UnboundedReceiver<Live>, shown: watch::Sender<Shown>) {
    while let Some(live) = watched.recv().await {
        if let Live::Entry(entry) = live
            && let Record::Status(status) = &entry.record
        {
            let is_ready = status.conditions.iter().any(|condition| condition.kind == ConditionKind::Ready && condition.is_true);
            let ip = status.pod_ips.first().and_then(|ip| ip.parse().ok());
            shown.send_replace(Shown { is_ready, is_over: status.phase.is_terminal(), ip });
        }
    }
}

/// Starts the command in a process group of its own. What it prints goes to standard error, since standard output is the report's.
fn command(line: &str, ip: Option<IpAddr>, spec: &lifecycle::PodSpec) -> std::io::Result<Child> {
    let output = || std::io::stderr().as_fd().try_clone_to_owned().map(Stdio::from);
    let mut command = Command::new("sh");
    command.args(["-c", line]).stdin(Stdio::null()).stdout(output()?).stderr(output()?).process_group(0).kill_on_drop(true);
    command.env("POD_NAME", &spec.name).env("POD_NAMESPACE", &spec.namespace).env("POD_UID", &spec.uid);
    command.env("POD_IP", ip.map_or_else(String::new, |ip| ip.to_string()));
    command.spawn()
}

/// Ends the command and what it started.
fn end_group(child: &Child) {
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid {
        // It may have ended in this moment.
        let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::TERM);
    }
}

fn how_it_ended(ended: std::io::Result<ExitStatus>) -> (Option<i32>, Option<String>) {
    match ended {
        Ok(status) => match status.code() {
            Some(code) => (Some(code), None),
            None => (None, Some(format!("it ended with {status}"))),
        },
        Err(error) => (None, Some(error.to_string())),
    }
}
