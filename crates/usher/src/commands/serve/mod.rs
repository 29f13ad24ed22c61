//! `usher serve`: a node that kubectl talks to.
//!
//! ```text
//! kubectl ──► server ── pods, what they refer to ──► Agent ── a driver a pod ──► runtime
//!               ▲                                      │
//!               └────────── status, events ◄───────────┘
//! ```
//!
//! Wiring only. Pods outlive it: on SIGTERM they are left as they are, and the next one adopts them. When the machine goes down, which
//! SIGPWR says, or with `--stop-pods` also SIGTERM, they are stopped first (decision 6).

mod api;
mod backend;
mod lives;
mod log;
mod machine;
mod supervisor;

use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use node::agent::Agent;
use node::eviction::NodeCondition;
use node::metrics::Metrics;
use node::observer::Observer;
use node::shutdown::{Group, ShutdownPlan};
use runtime::EmbeddedRuntime;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use server::client::{NodeClient, PodChange};
use server::{Config, Server};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use self::api::ServerApi;
use self::backend::Engine;
use self::lives::Journals;
use self::machine::NodeReporter;
use self::supervisor::Supervisor;
use crate::cli::Global;
use crate::commands::{check, node_config, runtime};
use crate::duration;
use crate::node_options::{EvictionDefault, NodeOptions};
use crate::otlp::Exporter;

/// The folder of the API's files, below the root.
pub(crate) const SERVER_FOLDER: &str = "server";
/// The socket for root, below the root.
pub(crate) const SOCKET_FILE: &str = "api.sock";

/// By this signal a machine says that it goes down, whatever the daemon was told to do when it is stopped.
const SIGPWR: i32 = rustix::process::Signal::POWER.as_raw();

/// Time between two signs of life of the node, as the reference has it.
const LEASE_EVERY: Duration = Duration::from_secs(10);
/// Time between two reports of the node's state when nothing changes, as the reference has it.
const STATUS_EVERY: Duration = Duration::from_secs(5 * 60);

/// What `usher serve` takes.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Address to listen on; may be given several times
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:6443")]
    listen: Vec<SocketAddr>,
    /// Another name or address by which this machine is reached, for its certificate
    #[arg(long, value_name = "NAME")]
    name: Vec<String>,
    /// Stop all pods properly when told to stop, instead of leaving them for the next `usher serve`
    #[arg(long)]
    stop_pods: bool,
    /// Send each pod's life as a trace to this OpenTelemetry collector, by OTLP over HTTP
    #[arg(long, value_name = "http://HOST:PORT")]
    otlp_endpoint: Option<crate::otlp::Endpoint>,
    /// How long all pods may take when the machine goes down; without it each has its own grace
    #[arg(long, value_name = "DURATION", value_parser = duration::parse, default_value = "0s")]
    shutdown_grace_period: Duration,
    /// The last part of that time, which is for critical pods
    #[arg(long, value_name = "DURATION", value_parser = duration::parse, default_value = "0s")]
    shutdown_grace_period_critical_pods: Duration,
    /// Times of groups of pods instead, by the lowest priority in each: 0=60s,1000=20s
    #[arg(
        long,
        value_name = "PRIORITY=DURATION",
        value_delimiter = ',',
        value_parser = shutdown_group,
        conflicts_with_all = ["shutdown_grace_period", "shutdown_grace_period_critical_pods"]
    )]
    shutdown_grace_period_by_pod_priority: Vec<Group>,
    /// Most pods at a time
    #[arg(long, value_name = "COUNT", default_value_t = machine::PODS_MAX)]
    max_pods: u32,
    #[command(flatten)]
    node: NodeOptions,
}

pub(crate) async fn serve(global: &Global, serve: Serve) -> anyhow::Result<ExitCode> {
    raise_file_limit();
    let runtime = runtime(global)?;
    check::refuse_unusable(global).await?;
    // Before anything else, so that no signal is missed.
    let mut signals = StopSignals::listen().context("cannot listen for signals")?;
    let mut supervisor = Supervisor::from_environment()?;
    let plan = shutdown_plan(&serve)?;
    let mut config = node_config(global);
    serve.node.apply(&mut config);
    let eviction = serve.node.eviction(EvictionDefault::Reference)?;
    config.node_name = config.node_name.to_lowercase();
    config.host_ips = machine::own_address().into_iter().collect();
    let root = global.root();
    let metrics = prometheus::Registry::new();
    let journals = Arc::new(Journals::new(config.clone()));
    let counting = Metrics::register(&metrics).context("cannot count metrics")?;
    let exporter = Exporter::wanted(serve.otlp_endpoint, &config)?;
    let mut observers: Vec<Arc<dyn Observer>> = vec![Arc::new(counting), Arc::clone(&journals) as Arc<dyn Observer>];
    observers.extend(exporter.as_ref().map(Exporter::observer));
    let client = Arc::new(OnceLock::new());
    let backend = Engine { runtime: Arc::clone(&runtime), log_root: config.log_root.clone(), client: Arc::clone(&client) };
    let server = Server::start(Config {
        folder: root.join(SERVER_FOLDER),
        listen: serve.listen,
        socket: Some(root.join(SOCKET_FILE)),
        node: config.node_name.clone(),
        names: serve.name,
        backend: Arc::new(backend),
        lives: journals,
        patience: server::Patience::default(),
        metrics,
    })
    .await?;
    let node = server.client();
    let _ = client.set(node.clone());
    let mut reporter = NodeReporter::new(&config, &eviction, serve.max_pods);
    node.set_node(&reporter.node(&BTreeSet::new())).await.context("cannot report the node")?;
    let mut agent = Agent::new(runtime, config, reporter.allocatable(), ServerApi::new(node.clone()));
    agent.observe(observers);
    agent.watch(eviction);
    let adopted = agent.adopt().context("cannot list the pods on this machine")?;
    for (folder, why) in &adopted.failed {
        tracing::error!(folder = %folder.display(), why, "a pod cannot be taken up; its containers go on");
    }
    announce(&server, &supervisor, adopted.pods.len())?;
    let mut stopped = tokio::select! {
        driven = drive(&mut agent, &node, &mut reporter, &supervisor) => driven.map(|()| Ends::Daemon),
        ends = signals.next() => Ok(ends),
    };
    if matches!(stopped, Ok(Ends::Machine)) || (stopped.is_ok() && serve.stop_pods) {
        let gone = agent.shut_down(plan);
        supervisor.stopping_pods();
        reporter.shut_down();
        report(&node, &mut reporter, &agent.pressure()).await;
        // Pods that come meanwhile are refused. Who asks again does not want to wait: what was begun is gone on with by the shims,
        // and by the next `usher serve`.
        stopped = tokio::select! {
            driven = drive(&mut agent, &node, &mut reporter, &supervisor) => driven.map(|()| Ends::Machine),
            () = gone => Ok(Ends::Machine),
            ends = signals.next() => Ok(ends),
        };
    } else {
        supervisor.stopping();
    }
    server.stop().await;
    if let Some(exporter) = exporter {
        exporter.finish().await;
    }
    stopped.map(|_| ExitCode::SUCCESS)
}

/// What a signal says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ends {
    /// The daemon shall end.
    Daemon,
    /// The machine goes down.
    Machine,
}

/// The signals by which the end is asked for.
struct StopSignals {
    terminates: Signal,
    interrupts: Signal,
    power_fails: Signal,
}

impl StopSignals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminates: signal(SignalKind::terminate())?,
            interrupts: signal(SignalKind::interrupt())?,
            power_fails: signal(SignalKind::from_raw(SIGPWR))?,
        })
    }

    async fn next(&mut self) -> Ends {
        tokio::select! {
            _ = self.terminates.recv() => Ends::Daemon,
            _ = self.interrupts.recv() => Ends::Daemon,
            _ = self.power_fails.recv() => Ends::Machine,
        }
    }
}

fn shutdown_plan(serve: &Serve) -> anyhow::Result<ShutdownPlan> {
    let groups = &serve.shutdown_grace_period_by_pod_priority;
    let plan = if groups.is_empty() {
        ShutdownPlan::from_periods(serve.shutdown_grace_period, serve.shutdown_grace_period_critical_pods)
    } else {
        ShutdownPlan::from_groups(groups.clone())
    };
    plan.context("cannot use the shutdown grace periods")
}

/// `1000=20s`
fn shutdown_group(text: &str) -> Result<Group, String> {
    let wrong = || format!("{text:?} is not a priority and a duration; write for example 1000=20s");
    let (priority, period) = text.split_once('=').ok_or_else(wrong)?;
    Ok(Group { priority: priority.trim().parse().map_err(|_| wrong())?, period: duration::parse(period.trim())? })
}

fn announce(server: &Server, supervisor: &Supervisor, adopted: usize) -> anyhow::Result<()> {
    let addresses: Vec<_> = server.addresses().iter().map(|address| format!("https://{address}")).collect();
    supervisor.ready(&format!("serving on {}, {adopted} pods adopted", addresses.join(", ")));
    let mut out = std::io::stdout().lock();
    for address in server.addresses() {
        writeln!(out, "serving on https://{address}")?;
    }
    if adopted > 0 {
        writeln!(out, "adopted {adopted} {}", if adopted == 1 { "pod" } else { "pods" })?;
    }
    writeln!(out, "export KUBECONFIG={}", server.kubeconfig().display())?;
    out.flush().context("cannot say where it serves")
}

/// Hands what the API says to the agent, until that is impossible.
async fn drive(
    agent: &mut Agent<EmbeddedRuntime, ServerApi>,
    node: &NodeClient,
    reporter: &mut NodeReporter,
    supervisor: &Supervisor,
) -> anyhow::Result<()> {
    let mut pods = node.pods();
    let (mut pressure, ended) = (agent.pressure(), agent.ended());
    let mut objects = node.object_changes();
    let mut lease = tokio::time::interval(LEASE_EVERY);
    let mut status = tokio::time::interval(STATUS_EVERY);
    let mut signs = supervisor.signs();
    loop {
        tokio::select! {
            change = pods.next() => match change.context("cannot watch pods")? {
                PodChange::Present(pod) => agent.handle_pod(*pod),
                PodChange::Gone(pod) => agent.handle_gone(&pod.metadata.uid.unwrap_or_default()),
                PodChange::Synced(uids) => agent.handle_synced(&uids),
            },
            () = objects.next() => agent.handle_objects_changed(),
            _ = lease.tick() => {
                agent.reap();
                if let Err(error) = node.renew_lease().await {
                    tracing::warn!(%error, "cannot say that the node lives");
                }
            }
            _ = signs.tick() => supervisor.sign(),
            _ = status.tick() => report(node, reporter, &pressure).await,
            () = ended.notified() => agent.take_waiting(),
            Ok(()) = pressure.changed() => report(node, reporter, &pressure).await,
        }
    }
}

/// Each client and each pod costs files: takes as many as the machine allows. Containers have the same limit then, as under the usual
/// engines.
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return;
    }
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
}

async fn report(node: &NodeClient, reporter: &mut NodeReporter, pressure: &watch::Receiver<BTreeSet<NodeCondition>>) {
    let object = reporter.node(&pressure.borrow().clone());
    if let Err(error) = node.set_node(&object).await {
        tracing::warn!(%error, "cannot report the node");
    }
}
