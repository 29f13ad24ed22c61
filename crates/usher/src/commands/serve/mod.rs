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
mod clients;
mod garbage;
mod lives;
mod log;
mod machine;
mod manifests;
mod statics;
mod supervisor;

use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ::api::configuration::{KubeletConfiguration, PriorityGroup};
use anyhow::Context as _;
use clap::Args;
use node::agent::Agent;
use node::eviction::NodeCondition;
use node::gc::GcMetrics;
use node::metrics::Metrics;
use node::observer::Observer;
use node::shutdown::{Group, ShutdownPlan};
use node::static_pods::is_mirror;
use runtime::EmbeddedRuntime;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use server::client::{NodeClient, PodChange};
use server::{Config, Server};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use self::api::ServerApi;
use self::backend::Engine;
use self::clients::ClientThreads;
use self::garbage::GarbageOptions;
use self::lives::Journals;
use self::machine::{NodeReporter, Offer};
use self::manifests::ManifestFolder;
pub(crate) use self::statics::BAD_MANIFESTS_FILE;
use self::statics::StaticPods;
use self::supervisor::Supervisor;
use crate::cli::Global;
use crate::commands::{EXIT_ERROR, check, node_config, own_addresses, runtime};
use crate::duration;
use crate::node_options::{EvictionDefault, NodeOptions, NodeSettings};
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
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    shutdown_grace_period: Option<Duration>,
    /// The last part of that time, which is for critical pods
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    shutdown_grace_period_critical_pods: Option<Duration>,
    /// Times of groups of pods instead, by the lowest priority in each: 0=60s,1000=20s
    #[arg(
        long,
        value_name = "PRIORITY=DURATION",
        value_delimiter = ',',
        value_parser = shutdown_group,
        conflicts_with_all = ["shutdown_grace_period", "shutdown_grace_period_critical_pods"]
    )]
    shutdown_grace_period_by_pod_priority: Vec<Group>,
    /// Most pods at a time [default: 110]
    #[arg(long, value_name = "COUNT")]
    max_pods: Option<u32>,
    /// Run the pods that the files of this folder describe: static pods
    #[arg(long, value_name = "DIR")]
    pod_manifest_path: Option<PathBuf>,
    #[command(flatten)]
    node: NodeOptions,
    #[command(flatten)]
    garbage: GarbageOptions,
}

pub(crate) async fn serve(global: &Global, serve: Serve) -> anyhow::Result<ExitCode> {
    raise_file_limit();
    let runtime = runtime(global)?;
    check::refuse_unusable(global).await?;
    // Before anything else, so that no signal is missed.
    let signals = StopSignals::listen().context("cannot listen for signals")?;
    let supervisor = Supervisor::from_environment()?;
    let settings = match serve.node.clone().with_file(global.use_color())? {
        Ok(settings) => settings,
        Err(refused) => {
            std::io::stderr().lock().write_all(refused.as_bytes())?;
            return Ok(ExitCode::from(EXIT_ERROR));
        }
    };
    let daemon = Daemon::begin(global, serve, &settings, (runtime, supervisor)).await?;
    daemon.run(signals).await
}

/// A node that serves.
struct Daemon {
    server: Server,
    node: NodeClient,
    agent: NodeAgent,
    reporter: NodeReporter,
    statics: StaticPods,
    supervisor: Supervisor,
    exporter: Option<Exporter>,
    plan: ShutdownPlan,
    stops_pods: bool,
    /// Removes pods that have ended from the API.
    removing: JoinHandle<()>,
    /// Last, so that the server goes before them.
    clients: ClientThreads,
}

/// The agent of this daemon.
type NodeAgent = Agent<EmbeddedRuntime, ServerApi>;

impl Daemon {
    /// Starts the API, takes up the pods that are there, and says where it serves.
    async fn begin(
        global: &Global,
        serve: Serve,
        settings: &NodeSettings,
        (runtime, supervisor): (Arc<EmbeddedRuntime>, Supervisor),
    ) -> anyhow::Result<Self> {
        let plan = shutdown_plan(&serve, settings.file())?;
        let mut config = node_config(global);
        settings.apply(&mut config);
        let eviction = settings.eviction(EvictionDefault::Reference)?;
        let garbage = serve.garbage.of_node(settings.file())?;
        config.node_name = config.node_name.to_lowercase();
        config.host_ips = own_addresses();
        let support = settings.support()?;
        let folder = manifest_folder(serve.pod_manifest_path, settings.file(), &config.node_name)?;
        let folder = folder.map(|folder| folder.with_support(support.clone()));
        let root = global.root();
        let metrics = prometheus::Registry::new();
        let journals = Arc::new(Journals::new(config.clone()));
        let counting = Metrics::register(&metrics).context("cannot count metrics")?;
        let counting_garbage = GcMetrics::register(&metrics).context("cannot count metrics")?;
        let exporter = Exporter::wanted(serve.otlp_endpoint, &config)?;
        let mut observers: Vec<Arc<dyn Observer>> = vec![Arc::new(counting), Arc::clone(&journals) as Arc<dyn Observer>];
        observers.extend(exporter.as_ref().map(Exporter::observer));
        let client = Arc::new(OnceLock::new());
        let backend = Engine { runtime: Arc::clone(&runtime), node: config.clone(), client: Arc::clone(&client) };
        let clients = ClientThreads::start().context("cannot start the threads for clients")?;
        let server = Server::start(Config {
            folder: root.join(SERVER_FOLDER),
            listen: serve.listen,
            socket: Some(root.join(SOCKET_FILE)),
            node: config.node_name.clone(),
            support: support.clone(),
            names: serve.name,
            backend: Arc::new(backend),
            lives: journals,
            patience: server::Patience::default(),
            metrics,
        });
        let server = clients.run(server).await??;
        let node = server.client();
        let _ = client.set(node.clone());
        let mut reporter = NodeReporter::new(&config, &eviction, Offer::of(serve.max_pods, settings.file()), Arc::clone(&runtime));
        reporter.look_at_images().await;
        node.set_node(&reporter.node(&BTreeSet::new())).await.context("cannot report the node")?;
        let api = ServerApi::new(node.clone());
        let mut statics = StaticPods::new(folder, &config, node.clone(), api.clone());
        let mut agent = Agent::new(runtime, config, reporter.allocatable(), api);
        agent.observe(observers);
        agent.watch(eviction);
        let adopted = agent.adopt().context("cannot list the pods on this machine")?;
        for (folder, why) in &adopted.failed {
            tracing::error!(folder = %folder.display(), why, "a pod cannot be taken up; its containers go on");
        }
        agent.collect_garbage(garbage, Some(counting_garbage));
        // Before the first pod is handed to the agent: what files want is no orphan.
        statics.look().await;
        server.ready();
        let removing = tokio::spawn(serve.garbage.keep_removing_finished(node.clone()));
        announce(&server, &supervisor, adopted.pods.len())?;
        Ok(Self { server, node, agent, reporter, statics, supervisor, exporter, plan, stops_pods: serve.stop_pods, removing, clients })
    }

    /// Serves until a signal says that it shall end.
    async fn run(self, mut signals: StopSignals) -> anyhow::Result<ExitCode> {
        let Self { server, node, mut agent, mut reporter, mut statics, mut supervisor, exporter, plan, stops_pods, removing, clients } =
            self;
        let mut stopped = tokio::select! {
            driven = drive(&mut agent, &node, &mut reporter, &mut statics, &supervisor) => driven.map(|()| Ends::Daemon),
            ends = signals.next() => Ok(ends),
        };
        if matches!(stopped, Ok(Ends::Machine)) || (stopped.is_ok() && stops_pods) {
            let gone = agent.shut_down(plan);
            supervisor.stopping_pods();
            reporter.shut_down();
            report(&node, &mut reporter, &agent.pressure()).await;
            // Pods that come meanwhile are refused. Who asks again does not want to wait: what was begun is gone on with by the shims,
            // and by the next `usher serve`.
            stopped = tokio::select! {
                driven = drive(&mut agent, &node, &mut reporter, &mut statics, &supervisor) => driven.map(|()| Ends::Machine),
                () = gone => Ok(Ends::Machine),
                ends = signals.next() => Ok(ends),
            };
        } else {
            supervisor.stopping();
        }
        removing.abort();
        server.stop().await;
        drop(clients);
        if let Some(exporter) = exporter {
            exporter.finish().await;
        }
        stopped.map(|_| ExitCode::SUCCESS)
    }
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

/// By the flags, if there is one of them, or else by the file.
fn shutdown_plan(serve: &Serve, file: &KubeletConfiguration) -> anyhow::Result<ShutdownPlan> {
    let mut groups = serve.shutdown_grace_period_by_pod_priority.clone();
    let mut periods = [serve.shutdown_grace_period, serve.shutdown_grace_period_critical_pods];
    if groups.is_empty() && periods == [None, None] {
        let group =
            |group: &PriorityGroup| Group { priority: group.priority, period: Duration::from_secs(group.shutdown_grace_period_seconds) };
        groups = file.shutdown_grace_period_by_pod_priority.iter().flatten().map(group).collect();
        periods = [file.shutdown_grace_period, file.shutdown_grace_period_critical_pods];
    }
    let [total, critical] = periods.map(Option::unwrap_or_default);
    let plan = if groups.is_empty() { ShutdownPlan::from_periods(total, critical) } else { ShutdownPlan::from_groups(groups) };
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

/// Hands what the API and the manifest folder say to the agent, until that is impossible.
async fn drive(
    agent: &mut NodeAgent,
    node: &NodeClient,
    reporter: &mut NodeReporter,
    statics: &mut StaticPods,
    supervisor: &Supervisor,
) -> anyhow::Result<()> {
    let mut pods = node.pods();
    let (mut pressure, ended) = (agent.pressure(), agent.ended());
    let mut objects = node.object_changes();
    let mut lease = tokio::time::interval(LEASE_EVERY);
    let mut status = tokio::time::interval(STATUS_EVERY);
    let mut signs = supervisor.signs();
    // Until all mirrors are known, it cannot be told which static pods have ended.
    let mut is_synced = false;
    loop {
        tokio::select! {
            change = pods.next() => {
                let handed = hand_over(change.context("cannot watch pods")?, agent, statics).await;
                is_synced |= handed == Handed::Everything;
                if is_synced && handed != Handed::Pod {
                    statics.apply(agent).await;
                }
            }
            () = statics.changed() => {
                statics.look().await;
                if is_synced {
                    statics.apply(agent).await;
                }
            }
            () = objects.next() => agent.handle_objects_changed(),
            _ = lease.tick() => {
                agent.reap();
                if let Err(error) = node.renew_lease().await {
                    tracing::warn!(%error, "cannot say that the node lives");
                }
                if reporter.look_at_images().await {
                    report(node, reporter, &pressure).await;
                }
            }
            _ = signs.tick() => supervisor.sign(),
            _ = status.tick() => report(node, reporter, &pressure).await,
            () = ended.notified() => {
                agent.take_waiting();
                if is_synced {
                    statics.apply(agent).await;
                }
            }
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

/// What was handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Handed {
    /// A pod of the API.
    Pod,
    /// The mirror of a static pod.
    Mirror,
    /// That all pods of the API have been told.
    Everything,
}

async fn hand_over(change: PodChange, agent: &mut NodeAgent, statics: &mut StaticPods) -> Handed {
    match change {
        PodChange::Present(pod) if is_mirror(&pod) => {
            statics.handle_mirror(*pod).await;
            Handed::Mirror
        }
        PodChange::Present(pod) => {
            agent.handle_pod(*pod);
            Handed::Pod
        }
        PodChange::Gone(pod) => {
            let handed = if is_mirror(&pod) { Handed::Mirror } else { Handed::Pod };
            statics.handle_mirror_gone(&pod);
            // Of a mirror nothing is driven, unless it was made one of a pod that was none.
            agent.handle_gone(&pod.metadata.uid.unwrap_or_default());
            handed
        }
        PodChange::Synced(uids) => {
            let known = uids.into_iter().chain(statics.uids(agent)).collect();
            agent.handle_synced(&known);
            Handed::Everything
        }
    }
}

/// By the flag, or else by the file.
fn manifest_folder(flag: Option<PathBuf>, file: &KubeletConfiguration, node_name: &str) -> anyhow::Result<Option<ManifestFolder>> {
    let of_file = file.static_pod_path.as_deref().filter(|path| !path.is_empty()).map(PathBuf::from);
    let Some(path) = flag.or(of_file) else { return Ok(None) };
    // It becomes a part of what pods are known by.
    let path = std::path::absolute(&path).with_context(|| format!("cannot use the manifest folder {}", path.display()))?;
    // Zero is the default, as in the reference.
    let every = file.file_check_frequency.filter(|every| !every.is_zero()).unwrap_or(manifests::EVERY_DEFAULT);
    Ok(Some(ManifestFolder::new(path, node_name, every)))
}

async fn report(node: &NodeClient, reporter: &mut NodeReporter, pressure: &watch::Receiver<BTreeSet<NodeCondition>>) {
    let object = reporter.node(&pressure.borrow().clone());
    if let Err(error) = node.set_node(&object).await {
        tracing::warn!(%error, "cannot report the node");
    }
}
