//! The command line: what can be asked of usher, and how its answers end.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use api::overrides::{EnvOverride, ImageOverride};
use clap::{Args, Parser, Subcommand, ValueEnum};

use k8s_openapi::jiff::Timestamp;
use node::journal::JournalLimits;
use runtime::network::Ipv6Pods;

use crate::node_options::NodeOptions;
use crate::{commands, duration, environment};

/// Run Kubernetes pods on this machine, and see every container in and out
#[derive(Debug, Parser)]
#[command(name = "usher", version, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Options of every command.
#[derive(Clone, Debug, Args)]
pub(crate) struct Global {
    /// Folder of pods, images and journals [default: /var/lib/usher, or $USHER_ROOT]
    #[arg(long, global = true, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Folder of container logs [default: /var/log/pods, or $USHER_LOG_ROOT]
    #[arg(long, global = true, value_name = "DIR")]
    log_root: Option<PathBuf>,
    /// Bridge that connects the pods
    #[arg(long, global = true, value_name = "NAME", default_value = "usher0")]
    pub(crate) bridge: String,
    /// IPv4 network of the pods, as address/length
    #[arg(long, global = true, value_name = "CIDR", default_value = "10.189.0.0/16")]
    pub(crate) subnet: String,
    /// IPv6 network of the pods, or `off`; `auto` takes one of unique local addresses if this machine has IPv6
    #[arg(long, global = true, value_name = "CIDR", default_value = "auto")]
    pub(crate) ipv6_subnet: Ipv6Pods,
    /// An OCI runtime that pods choose by `runtimeClassName`, such as runc=/usr/sbin/runc; may be given several times
    #[arg(long, global = true, value_name = "NAME=PROGRAM", value_parser = runtime_handler, hide_short_help = true)]
    pub(crate) runtime_handler: Vec<(String, PathBuf)>,
    /// When to use colour
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    color: Color,
    #[command(flatten)]
    journals: Journals,
}

/// How much of the journals is kept. Those of pods that are there are never removed.
#[derive(Clone, Debug, Args)]
struct Journals {
    /// Keep journals of pods that are gone for so long [default: 720h]
    #[arg(long, global = true, value_name = "DURATION", value_parser = duration::parse, hide_short_help = true)]
    journal_max_age: Option<Duration>,
    /// Keep so many journals [default: 1000]
    #[arg(long, global = true, value_name = "COUNT", hide_short_help = true)]
    journal_max_count: Option<usize>,
    /// Keep so many bytes of one pod's journal, the newest; 0 keeps none [default: 8388608]
    #[arg(long, global = true, value_name = "BYTES", value_parser = journal_bytes, hide_short_help = true)]
    journal_max_bytes: Option<u64>,
    /// Keep so many bytes of all journals together [default: 536870912]
    #[arg(long, global = true, value_name = "BYTES", hide_short_help = true)]
    journal_max_total_bytes: Option<u64>,
}

fn runtime_handler(text: &str) -> Result<(String, PathBuf), String> {
    let (name, program) = text.split_once('=').ok_or("must be of the form NAME=PROGRAM, such as runc=/usr/sbin/runc")?;
    let is_label =
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'.');
    if is_label {
        Ok((name.to_owned(), PathBuf::from(program)))
    } else {
        Err(format!("{name:?} is no name of a runtime handler: small letters, digits, '-' and '.'"))
    }
}

/// Less would not hold the heading of a journal and a few entries.
const JOURNAL_BYTES_LEAST: u64 = 64 << 10;

fn journal_bytes(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(bytes) if bytes == 0 || bytes >= JOURNAL_BYTES_LEAST => Ok(bytes),
        Ok(_) | Err(_) => Err(format!("write a number of bytes, at least {JOURNAL_BYTES_LEAST}, or 0 for no journals")),
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Color {
    /// On a terminal, unless $NO_COLOR is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

impl Global {
    pub(crate) fn root(&self) -> PathBuf {
        self.root.clone().or_else(|| environment::path(environment::ROOT)).unwrap_or_else(|| PathBuf::from("/var/lib/usher"))
    }

    pub(crate) fn log_root(&self) -> PathBuf {
        self.log_root.clone().or_else(|| environment::path(environment::LOG_ROOT)).unwrap_or_else(|| PathBuf::from("/var/log/pods"))
    }

    pub(crate) fn journal_limits(&self) -> JournalLimits {
        let (given, default) = (&self.journals, JournalLimits::default());
        JournalLimits {
            bytes_max: given.journal_max_bytes.unwrap_or(default.bytes_max),
            count_max: given.journal_max_count.unwrap_or(default.count_max),
            total_bytes_max: given.journal_max_total_bytes.unwrap_or(default.total_bytes_max),
            age_max: given.journal_max_age.unwrap_or(default.age_max),
        }
    }

    pub(crate) fn use_color(&self) -> bool {
        match self.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => std::io::stdout().is_terminal() && environment::text(environment::NO_COLOR).is_none(),
        }
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run pods in the foreground and tell their lives line by line
    Run(Run),
    /// Run a pod, stop it, and judge both: hooks, Ready, dropped requests, stop signal, grace
    Test(commands::test::Test),
    /// Be a node that kubectl talks to
    Serve(commands::serve::Serve),
    /// Print a link to the page of `usher serve`, good once
    Ui(commands::ui::Ui),
    /// Print the file with which kubectl finds `usher serve`
    Kubeconfig(commands::kubeconfig::Kubeconfig),
    /// Write all objects of `usher serve` into a file, while it runs or not
    Backup(commands::backup::Backup),
    /// Take all objects of `usher serve`, which must not run, from a backup
    Restore(commands::backup::Restore),
    /// List the pods that are on this machine
    Ps(Ps),
    /// Stop pods properly, hooks and grace included, and remove all they had
    Rm(Rm),
    /// Show what a pod's containers printed
    Logs(Logs),
    /// Run a command in a container
    Exec(Exec),
    /// Show what a container prints from now on, and type into it
    Attach(Attach),
    /// Show what happened to pods, as Kubernetes Events
    Events(commands::events::Events),
    /// Print the journal of a pod, also of one that is gone, or list all journals
    Journal(JournalOf),
    /// Draw a pod's life to scale, also of one that is gone
    Timeline(Timeline),
    /// Say why a pod or container waits, is not Ready, was restarted or killed
    Why(Why),
    /// Find in manifests what will go wrong, without running them
    Lint(commands::lint::Lint),
    /// Say whether this machine can run pods, and what to do if not
    Check,
    /// Work with the images on this machine
    #[command(subcommand)]
    Image(commands::image::Image),
}

/// What `usher run` takes.
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// Manifests in YAML or JSON, several documents each; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Pass the input on to the first container, or to the one that the pod's annotation names, as if its manifest said `stdin: true`
    #[arg(short = 'i', long)]
    pub(crate) stdin: bool,
    /// Make this terminal that container's
    #[arg(short, long, requires = "stdin", conflicts_with = "output")]
    pub(crate) tty: bool,
    /// Stop the pods this long after they were created
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub(crate) stop_after: Option<Duration>,
    /// Grace in seconds when stopping, instead of terminationGracePeriodSeconds
    #[arg(long, value_name = "SECONDS")]
    pub(crate) grace_period: Option<u64>,
    /// What to print: the story as text, or the journal as JSON lines
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: Output,
    /// Print only what the containers print
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Draw each pod's life at the end
    #[arg(long, conflicts_with = "quiet")]
    pub(crate) timeline: bool,
    /// Namespace of pods that name none
    #[arg(short, long, value_name = "NAME", default_value = "default")]
    pub(crate) namespace: String,
    /// Use another image, of the only container or of the one named
    #[arg(long, value_name = "[CONTAINER=]IMAGE", value_parser = ImageOverride::parse)]
    pub(crate) set_image: Vec<ImageOverride>,
    /// Set an environment variable, of all containers or of the one named
    #[arg(long, value_name = "[CONTAINER:]NAME=VALUE", value_parser = EnvOverride::parse)]
    pub(crate) env: Vec<EnvOverride>,
    /// Send each pod's life as a trace to this OpenTelemetry collector, by OTLP over HTTP
    #[arg(long, value_name = "http://HOST:PORT")]
    pub(crate) otlp_endpoint: Option<crate::otlp::Endpoint>,
    #[command(flatten)]
    pub(crate) node: NodeOptions,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people
    Text,
    /// For programs
    Json,
}

/// What `usher ps` takes.
#[derive(Debug, Args)]
pub(crate) struct Ps {
    /// How to print
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: Output,
}

/// What `usher rm` takes.
#[derive(Debug, Args)]
pub(crate) struct Rm {
    /// Pods by name, namespace/name or uid
    #[arg(required_unless_present = "all", value_name = "POD")]
    pub(crate) pods: Vec<String>,
    /// All pods
    #[arg(long, conflicts_with = "pods")]
    pub(crate) all: bool,
    /// Grace in seconds, instead of terminationGracePeriodSeconds
    #[arg(long, value_name = "SECONDS")]
    pub(crate) grace_period: Option<u64>,
    /// Kill at once: no hooks, no signals, no grace
    #[arg(long, conflicts_with = "grace_period")]
    pub(crate) force: bool,
    /// Print nothing but errors
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// What `usher logs` takes.
#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// Pod by name, namespace/name or uid
    #[arg(value_name = "POD")]
    pub(crate) pod: String,
    /// Container; all of them if not given
    #[arg(short, long, value_name = "NAME")]
    pub(crate) container: Option<String>,
    /// The instance before the newest one
    #[arg(short, long)]
    pub(crate) previous: bool,
    /// Go on with what is printed until the container ends
    #[arg(short, long, conflicts_with = "previous")]
    pub(crate) follow: bool,
    /// Only what was printed in this time before now
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub(crate) since: Option<Duration>,
    /// Only what was printed from then on, such as 2026-01-02T03:04:05Z
    #[arg(long, value_name = "TIME", conflicts_with = "since", value_parser = time)]
    pub(crate) since_time: Option<Timestamp>,
    /// Only so many last lines of each container
    #[arg(long, value_name = "LINES")]
    pub(crate) tail: Option<u64>,
    /// At most so many bytes of each container
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) limit_bytes: Option<u64>,
    /// Only what was printed to this stream
    #[arg(long, value_name = "stdout|stderr", value_parser = ["stdout", "stderr"])]
    pub(crate) stream: Option<String>,
    /// Show when each line was printed
    #[arg(long)]
    pub(crate) timestamps: bool,
}

/// What `usher exec` takes.
#[derive(Debug, Args)]
pub(crate) struct Exec {
    /// Pod by name, namespace/name or uid
    #[arg(value_name = "POD")]
    pub(crate) pod: String,
    /// Container; the pod's default or first one if not given
    #[arg(short, long, value_name = "NAME")]
    pub(crate) container: Option<String>,
    /// Pass the input on
    #[arg(short = 'i', long)]
    pub(crate) stdin: bool,
    /// Give the command a terminal
    #[arg(short, long)]
    pub(crate) tty: bool,
    /// The command and its arguments
    #[arg(required = true, last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
}

/// What `usher attach` takes.
#[derive(Debug, Args)]
pub(crate) struct Attach {
    /// Pod by name, namespace/name or uid
    #[arg(value_name = "POD")]
    pub(crate) pod: String,
    /// Container; the pod's default or first one if not given
    #[arg(short, long, value_name = "NAME")]
    pub(crate) container: Option<String>,
    /// Pass the input on
    #[arg(short = 'i', long)]
    pub(crate) stdin: bool,
}

/// What `usher journal` takes.
#[derive(Debug, Args)]
pub(crate) struct JournalOf {
    /// Pod by name, namespace/name, uid or the first characters of its uid; the newest of that name. Without it, all journals are listed
    #[arg(value_name = "POD")]
    pub(crate) pod: Option<String>,
    /// The story as text, or the journal as JSON lines
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: Output,
}

/// What `usher timeline` takes.
#[derive(Debug, Args)]
pub(crate) struct Timeline {
    /// Pod by name, namespace/name, uid or the first characters of its uid; the newest of that name
    #[arg(value_name = "POD")]
    pub(crate) pod: String,
    /// What to write
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: Chart,
    /// Columns of the text chart, instead of the terminal's
    #[arg(long, value_name = "COLUMNS")]
    pub(crate) width: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Chart {
    /// For the terminal
    Text,
    /// A picture that needs nothing else
    Svg,
    /// A page with picture, answers, hook output and Events, that needs nothing else
    Html,
    /// A Mermaid diagram
    Mermaid,
    /// For programs
    Json,
}

/// What `usher why` takes.
#[derive(Debug, Args)]
pub(crate) struct Why {
    /// Pod by name, namespace/name, uid or the first characters of its uid; the newest of that name
    #[arg(value_name = "POD")]
    pub(crate) pod: String,
    /// Container; the pod and all of them if not given
    #[arg(value_name = "CONTAINER")]
    pub(crate) container: Option<String>,
    /// How to print
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: Output,
}

/// Runs the command line and says with its exit code how it went.
pub(crate) fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(answer) => return tell(&answer),
    };
    let filter = environment::text(environment::LOG).unwrap_or_else(|| "warn".to_owned());
    let filter = tracing_subscriber::EnvFilter::new(filter);
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(true).init();
    let threads = if matches!(cli.command, Command::Serve(_)) { DAEMON_ENGINE_THREADS } else { ENGINE_THREADS };
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&anyhow::Error::new(error).context("cannot start the engine's threads")),
    };
    let Cli { global, command } = cli;
    let done = runtime.block_on(async {
        match command {
            Command::Run(run) => commands::run::run(&global, run).await,
            Command::Test(test) => commands::test::test(&global, test).await,
            Command::Serve(serve) => commands::serve::serve(&global, serve).await,
            Command::Ui(ui) => commands::ui::ui(&global, &ui),
            Command::Kubeconfig(kubeconfig) => commands::kubeconfig::kubeconfig(&global, &kubeconfig),
            Command::Backup(backup) => commands::backup::backup(&global, &backup).await,
            Command::Restore(restore) => commands::backup::restore(&global, &restore).await,
            Command::Ps(ps) => commands::ps::ps(&global, &ps).await,
            Command::Rm(rm) => commands::rm::rm(&global, rm).await,
            Command::Logs(logs) => commands::logs::logs(&global, &logs).await,
            Command::Exec(exec) => commands::exec::exec(&global, exec).await,
            Command::Attach(attach) => commands::attach::attach(&global, attach).await,
            Command::Events(events) => commands::events::events(&global, events).await,
            Command::Journal(journal) => commands::journal::journal(&global, &journal),
            Command::Timeline(timeline) => commands::timeline::timeline(&global, &timeline),
            Command::Why(why) => commands::why::why(&global, &why),
            Command::Lint(lint) => commands::lint::lint(&global, &lint).await,
            Command::Check => commands::check::check(&global).await,
            Command::Image(image) => commands::image::image(&global, image).await,
        }
    });
    // Tasks that still wait for something must not hold up the end.
    runtime.shutdown_background();
    done.unwrap_or_else(|error| fail(&error))
}

fn time(text: &str) -> Result<Timestamp, String> {
    text.parse().map_err(|error| format!("{error}; write for example 2026-01-02T03:04:05Z"))
}

/// Help is an answer, a wrong command line an error: its usual exit code, 2, means something else here.
fn tell(answer: &clap::Error) -> ExitCode {
    let code = if answer.use_stderr() { commands::EXIT_ERROR } else { 0 };
    // Nobody may be listening.
    let _ = answer.print();
    ExitCode::from(code)
}

/// Pods wait more than they work: two threads drive hundreds.
const ENGINE_THREADS: usize = 2;

/// A daemon has threads of their own for its clients. The pods have one, on which what many of them do at a time costs least: none is
/// woken for another's work.
const DAEMON_ENGINE_THREADS: usize = 1;

#[expect(clippy::print_stderr, reason = "errors of a command line go to stderr")]
fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("error: {error:#}");
    ExitCode::from(commands::EXIT_ERROR)
}
