//! `usher run`: pods in the foreground. Ctrl-C is a graceful delete.
//!
//! ```text
//!  exit code   how the pods ended
//!      0       all Succeeded, or stopped on request and every container ended by itself
//!      1       a pod Failed: a container ended with an exit code that is not 0
//!      2       a container had to be killed: its grace was over (or, asked three times, nobody waited for it)
//!      3       a pod's activeDeadlineSeconds was over
//!      4       a pod was stopped before all its containers had started
//!    125       nothing was run: bad arguments, a bad manifest, an unusable machine
//! ```
//! Of several pods, the largest of these codes.

mod typing;

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use api::{LoadOptions, Overrides};
use lifecycle::{Action, ContainerState, Event, Grace, GraceAccount, KillPod, KillTrigger, Phase, PodStatus, Step, Verdict};
use node::control::{ControlSocket, EngineLock};
use node::eviction::{Watch, WatchedPod};
use node::journal::{Live, Record};
use node::observer::Observer;
use node::pod_files::remove_pod_folder;
use node::{PodDriver, PodHandle, PodWorld, error_chain};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use self::typing::Stage;
use crate::cli::{Global, Output, Run};
use crate::commands::{check, journals, node_config, runtime, timeline};
use crate::follow::Follower;
use crate::manifest;
use crate::node_options::EvictionDefault;
use crate::otlp::Exporter;
use crate::progress::{Bars, Progress};
use crate::story::Story;
use crate::story::paint::Paint;

/// How a pod ended, in the order of how much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    Succeeded = 0,
    Failed = 1,
    Killed = 2,
    DeadlineExceeded = 3,
    NeverStarted = 4,
}

pub(crate) async fn run(global: &Global, run: Run) -> anyhow::Result<ExitCode> {
    anyhow::ensure!(
        !run.timeline || run.output == Output::Text,
        "--timeline draws for people and -o json prints for programs: leave one of them out, and draw with `usher timeline` afterwards"
    );
    let overrides = Overrides { images: run.set_image.clone(), env: run.env.clone() };
    let settings = match run.node.clone().with_file(global.use_color())? {
        Ok(settings) => settings,
        Err(refused) => {
            write_stderr(&refused)?;
            return Ok(ExitCode::from(super::EXIT_ERROR));
        }
    };
    let support = settings.support()?;
    let options = LoadOptions { namespace: &run.namespace, overrides: &overrides, node: &support };
    let mut manifests = match manifest::read(&run.files, options, global.use_color())? {
        Ok(manifests) => manifests,
        Err(refused) => {
            write_stderr(&refused)?;
            return Ok(ExitCode::from(super::EXIT_ERROR));
        }
    };
    if !run.quiet {
        write_stderr(&manifests.warnings)?;
        write_stderr(&manifests.notes)?;
    }
    let typing = typing::prepare(&run, &mut manifests.pods)?;
    let (typing, mut stage) = typing.map_or((None, None), |(typing, stage)| (Some(typing), Some(stage)));
    // Before anything is made: a request that came earlier ends the engine, one that comes later stops the pods.
    let requests = StopRequests::listen().context("cannot listen for signals")?;
    let runtime = runtime(global)?;
    check::refuse_unusable(global).await?;
    let mut node = node_config(global);
    settings.apply(&mut node);
    anyhow::ensure!(!run.timeline || node.journal.bytes_max > 0, "the timeline is drawn from the journal: leave --journal-max-bytes 0 out");
    let mut watch = Watch::new(runtime.clone(), settings.eviction(EvictionDefault::Nothing)?, node.clone());
    let exporter = Exporter::wanted(run.otlp_endpoint.clone(), &node)?;
    let several = manifests.pods.len() > 1;
    let mut pods = JoinSet::new();
    let bars = if run.quiet || run.output == Output::Json { Bars::hidden() } else { Bars::on_terminal() };
    let (mut handles, mut named, mut journal_paths, mut watched_pods) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for pod in manifests.pods {
        let world = PodWorld::new(runtime.clone(), node.clone(), pod, manifests.objects.clone())?;
        let names = world.spec().init_containers.iter().chain(&world.spec().containers);
        let names: Vec<String> = names.map(|container| container.name.clone()).collect();
        let title = several.then(|| world.spec().name.clone());
        let story = Story::new(Paint::new(global.use_color()), title, names.iter().map(String::as_str));
        let (watcher, watched) = mpsc::unbounded_channel();
        let (folder, world_name, world_uid) = (world.pod_dir(), world.spec().name.clone(), world.spec().uid.clone());
        journal_paths.push(node.journal_path(&world.spec().namespace, &world_name, &world.spec().uid));
        let lock = EngineLock::try_take(&folder)?.context("another engine drives a pod of this uid")?;
        let object = Arc::new(world.pod().clone());
        let driver = PodDriver::new(world, watcher)?;
        watched_pods.push(WatchedPod { pod: object, handle: driver.handle() });
        let control = ControlSocket::listen(&folder, driver.handle()).context("cannot listen for requests")?;
        handles.push(driver.handle());
        let observer = exporter.as_ref().map(|exporter| (world_uid, exporter.observer()));
        let progress = Progress::new(bars.clone());
        let teller = Teller { story, output: run.output, quiet: run.quiet, progress, observer, stage: stage.take() };
        named.push((world_name, driver.handle()));
        let running = driver.run();
        pods.spawn(async move {
            let teller = tokio::spawn(teller.tell_all(watched));
            let status = running.await;
            drop(control);
            let removed = remove_pod_folder(&folder);
            drop(lock);
            (status, teller.await, removed)
        });
    }
    let first = run.grace_period.map_or(Grace::FromSpec, Grace::Seconds);
    let stopper = tokio::spawn(requests.stop(handles, first, run.stop_after));
    let (files, namespace) = (run.files, run.namespace);
    let follower = Follower { files, namespace, support, objects: manifests.objects, pods: named, quiet: run.quiet };
    let follower = tokio::spawn(follower.follow());
    let typing = typing.map(|typing| tokio::spawn(typing.carry(runtime.clone())));
    let watch = tokio::spawn(async move { watch.keep_looking(&watched_pods).await });
    let mut end = End::Succeeded;
    let mut accounts = Vec::new();
    while let Some(pod) = pods.join_next().await {
        let (status, told, removed) = pod.context("a pod's driver died")?;
        if let Err(error) = removed {
            tracing::warn!(error = error_chain(&error), "cannot remove the folder of a pod");
        }
        let of_pod = told.context("the story of a pod broke off")?;
        end = end.max(how_it_ended(&status, &of_pod));
        accounts.extend(of_pod);
    }
    if let Some(typing) = typing {
        // It has given the terminal back by then, or the pod never came to run.
        let _ = tokio::time::timeout(TYPING_ENDS_WITHIN, typing).await;
    }
    stopper.abort();
    follower.abort();
    watch.abort();
    match (run.output, run.quiet, run.timeline) {
        (Output::Text, false, true) => print_timelines(&node, &journal_paths, Paint::new(global.use_color()))?,
        (Output::Text, false, false) => print_accounts(&accounts, Paint::new(global.use_color()))?,
        (Output::Text, true, _) | (Output::Json, ..) => {}
    }
    if let Some(exporter) = exporter {
        exporter.finish().await;
    }
    Ok(ExitCode::from(end as u8))
}

/// Ctrl-C and SIGTERM: the first is a graceful delete, the second shortens the grace to 1 s, the third to nothing.
struct StopRequests {
    interrupts: Signal,
    terminates: Signal,
}

impl StopRequests {
    fn listen() -> std::io::Result<Self> {
        Ok(Self { interrupts: signal(SignalKind::interrupt())?, terminates: signal(SignalKind::terminate())? })
    }

    async fn stop(mut self, handles: Vec<PodHandle>, first: Grace, stop_after: Option<Duration>) {
        let mut graces = [first, Grace::Seconds(1), Grace::AtOnce].into_iter();
        let deadline = tokio::time::sleep(stop_after.unwrap_or(Duration::MAX.min(FAR_AWAY)));
        tokio::pin!(deadline);
        let mut is_deadline_set = stop_after.is_some();
        loop {
            let by = tokio::select! {
                _ = self.interrupts.recv() => "Ctrl-C (SIGINT) to usher run",
                _ = self.terminates.recv() => "SIGTERM to usher run",
                () = &mut deadline, if is_deadline_set => {
                    is_deadline_set = false;
                    "usher run --stop-after"
                }
            };
            let Some(grace) = graces.next() else { return };
            for handle in &handles {
                handle.kill_by(KillPod { trigger: KillTrigger::Deleted, grace }, by);
            }
        }
    }
}

/// A session ends with its container, and what the container left to print.
const TYPING_ENDS_WITHIN: Duration = Duration::from_secs(3);

/// A sleep that never ends in practice.
const FAR_AWAY: Duration = Duration::from_secs(365 * 24 * 3600);

fn how_it_ended(status: &PodStatus, accounts: &[GraceAccount]) -> End {
    if status.reason == "DeadlineExceeded" {
        return End::DeadlineExceeded;
    }
    if accounts.iter().any(|account| account.verdict() == Verdict::Killed) {
        return End::Killed;
    }
    let never_started = status.container_statuses.iter().any(|container| match &container.state {
        ContainerState::Terminated(ended) => ended.container_id.is_none(),
        ContainerState::Waiting { .. } | ContainerState::Running { .. } => true,
    });
    match status.phase {
        _ if never_started && status.init_container_statuses.is_empty() => End::NeverStarted,
        Phase::Succeeded => End::Succeeded,
        Phase::Failed | Phase::Pending | Phase::Running => End::Failed,
    }
}

/// Prints what happens in one pod.
struct Teller {
    story: Story,
    output: Output,
    quiet: bool,
    progress: Progress,
    /// Who else is told, and the pod's uid.
    observer: Option<(String, Arc<dyn Observer>)>,
    /// The container that somebody types into.
    stage: Option<Stage>,
}

impl Teller {
    /// Tells everything, and returns the grace accounts of the whole life.
    async fn tell_all(mut self, mut watched: mpsc::UnboundedReceiver<Live>) -> Vec<GraceAccount> {
        while let Some(live) = watched.recv().await {
            if let Some((uid, observer)) = &self.observer {
                observer.passed(uid, &live);
            }
            let lines = self.story.tell(&live);
            if ends_pull(&live) {
                self.progress.end();
            }
            // A reader that has gone away (`usher run | head`) must not stop the pods.
            if self.stage.as_mut().is_none_or(|stage| stage.look(&live)) {
                let _ = self.show(&live, &lines);
            }
        }
        if let Some((uid, observer)) = &self.observer {
            observer.ended(uid);
        }
        self.story.accounts()
    }

    fn show(&mut self, live: &Live, lines: &[String]) -> std::io::Result<()> {
        match (self.quiet, self.output, live) {
            (true, _, Live::Output { stream, line, .. }) if stream == "stderr" => writeln!(std::io::stderr().lock(), "{line}"),
            (true, _, Live::Output { line, .. }) => writeln!(std::io::stdout().lock(), "{line}"),
            (true, _, Live::Entry(_) | Live::Passing { .. } | Live::Pull { .. }) => Ok(()),
            (false, Output::Json, Live::Entry(entry)) => {
                let text = serde_json::to_string(entry).map_err(std::io::Error::other)?;
                writeln!(std::io::stdout().lock(), "{text}")
            }
            (false, Output::Json, Live::Passing { at, record }) => {
                let mut passing = serde_json::to_value(record).map_err(std::io::Error::other)?;
                passing["at"] = serde_json::to_value(at).map_err(std::io::Error::other)?;
                writeln!(std::io::stdout().lock(), "{passing}")
            }
            (false, Output::Json, Live::Output { container, stream, line }) => {
                let output = serde_json::json!({ "output": { "container": container, "stream": stream, "line": line } });
                writeln!(std::io::stdout().lock(), "{output}")
            }
            (false, Output::Json, Live::Pull { .. }) => Ok(()),
            (false, Output::Text, Live::Pull { container, image, progress }) => {
                self.progress.show(|| self.story.blank(container), image, progress);
                Ok(())
            }
            (false, Output::Text, Live::Entry(_) | Live::Passing { .. } | Live::Output { .. }) => self.progress.above(|| {
                let mut out = std::io::stdout().lock();
                lines.iter().try_for_each(|line| writeln!(out, "{line}"))
            }),
        }
    }
}

/// Whether a pull is over, or is given up.
fn ends_pull(live: &Live) -> bool {
    let Live::Entry(entry) = live else { return false };
    matches!(
        &entry.record,
        Record::Event(Event::ImagePulled { .. } | Event::ImagePullFailed { .. })
            | Record::Action(Step { action: Action::CancelPull { .. }, .. })
    )
}

/// Draws the lives of the pods, from their journals.
fn print_timelines(node: &node::NodeConfig, paths: &[std::path::PathBuf], paint: Paint) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    for path in paths {
        let journal = node::journal::read(path)?;
        if let Some(life) = chronicle::Life::of(&journal) {
            writeln!(out)?;
            timeline::print(&life, journals::present(node, &life), timeline::terminal_width(), paint, &mut out)?;
        }
    }
    Ok(())
}

fn print_accounts(accounts: &[GraceAccount], paint: Paint) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    for account in accounts {
        writeln!(out)?;
        for line in crate::story::account::render(account, paint) {
            writeln!(out, "{line}")?;
        }
    }
    Ok(())
}

fn write_stderr(text: &str) -> std::io::Result<()> {
    std::io::stderr().lock().write_all(text.as_bytes())
}
