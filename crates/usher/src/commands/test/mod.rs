//! `usher test`: runs a pod as `usher run` does, has it stopped, and judges both.
//!
//! ```text
//!   create ── Ready ── command, requests ── delete ── endpoint withdrawn ── gone ── once more
//! ```
//!
//! The verdicts are those of [`chronicle::judge`]; this drives, looks from outside and prints. The exit code is that of the first check
//! that failed ([`Check::exit_code`]); 125 where nothing was judged.

mod drive;
mod target;
mod text;
mod traffic;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use api::overrides::{EnvOverride, ImageOverride};
use api::{LoadOptions, NodeSupport, Overrides};
use chronicle::judge::{Check, PodReport, RunReport, RunTimes, Seen, Verdict, json, judge, junit, second_start};
use chronicle::{Journal, Life};
use clap::{Args, ValueEnum};
use node::Pod;

use self::drive::{Engine, Played, StopRequests};
use self::target::Url;
use crate::cli::Global;
use crate::commands::{EXIT_ERROR, check, node_config, runtime};
use crate::node_options::{EvictionDefault, NodeOptions};
use crate::story::paint::Paint;
use crate::{duration, manifest};

/// Requests a second at most: with [`traffic::TIMEOUT`] it bounds how many are under way.
const RATE_MAX: i64 = 200;

/// Runs at most.
const RUNS_MAX: i64 = 1000;

/// What `usher test` takes.
#[derive(Debug, Args)]
pub(crate) struct Test {
    /// Manifests in YAML or JSON, of any kind with a pod template; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// How long a pod may take from its creation to Ready
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = duration::parse)]
    ready_within: Duration,
    /// How long to leave a pod alone between Ready and the delete
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = duration::parse, conflicts_with = "command")]
    keep_for: Duration,
    /// Run this in a shell once the pod is Ready, with $POD_IP, $POD_NAME, $POD_NAMESPACE, $POD_UID; the delete follows its end
    #[arg(long = "while", value_name = "CMD")]
    command: Option<String>,
    /// Send a steady stream of requests to a port of the pod, by number or name: `http://:8080/`, `:http/path`
    #[arg(long, value_name = "URL", value_parser = Url::parse)]
    http: Option<Url>,
    /// Requests a second
    #[arg(long, value_name = "COUNT", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=RATE_MAX))]
    rate: u32,
    /// How long requests go on after the delete: as long as a cluster takes to hear that the endpoint is withdrawn
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = duration::parse)]
    endpoint_delay: Duration,
    /// Grace in seconds for the delete, instead of terminationGracePeriodSeconds
    #[arg(long, value_name = "SECONDS")]
    grace_period: Option<u64>,
    /// Run each pod so often, and tell how much the times vary
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=RUNS_MAX))]
    runs: u32,
    /// Do not start the pod once more with the volumes that its run left
    #[arg(long)]
    no_second_start: bool,
    /// Warnings are failures, too
    #[arg(long)]
    strict: bool,
    /// How to print
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    output: Format,
    /// Namespace of pods that name none
    #[arg(short, long, value_name = "NAME", default_value = "default")]
    namespace: String,
    /// Use another image, of the only container or of the one named
    #[arg(long, value_name = "[CONTAINER=]IMAGE", value_parser = ImageOverride::parse)]
    set_image: Vec<ImageOverride>,
    /// Set an environment variable, of all containers or of the one named
    #[arg(long, value_name = "[CONTAINER:]NAME=VALUE", value_parser = EnvOverride::parse)]
    env: Vec<EnvOverride>,
    #[command(flatten)]
    node: NodeOptions,
}

/// How verdicts are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// For programs
    Json,
    /// For servers of continuous integration
    Junit,
}

pub(crate) async fn test(global: &Global, test: Test) -> anyhow::Result<ExitCode> {
    let overrides = Overrides { images: test.set_image.clone(), env: test.env.clone() };
    let support = NodeSupport {
        has_app_armor: runtime::has_app_armor(),
        has_default_app_armor_profile: runtime::has_default_app_armor_profile(),
        ..NodeSupport::default()
    };
    let options = LoadOptions { namespace: &test.namespace, overrides: &overrides, node: &support };
    let manifests = match manifest::read(&test.files, options, global.use_color())? {
        Ok(manifests) => manifests,
        Err(refused) => {
            complain(&refused)?;
            return Ok(ExitCode::from(EXIT_ERROR));
        }
    };
    let settings = match test.node.clone().with_file(global.use_color())? {
        Ok(settings) => settings,
        Err(refused) => {
            complain(&refused)?;
            return Ok(ExitCode::from(EXIT_ERROR));
        }
    };
    let eviction = settings.eviction(EvictionDefault::Nothing)?;
    complain(&manifests.warnings)?;
    complain(&manifests.notes)?;
    for pod in &manifests.pods {
        // Wrong ports are told before anything is made.
        test.http.as_ref().map(|url| url.resolve(pod)).transpose()?;
    }
    let mut node = node_config(global);
    settings.apply(&mut node);
    anyhow::ensure!(node.journal.bytes_max > 0, "a test is judged from the journal: leave --journal-max-bytes 0 out");
    let requests = StopRequests::listen().context("cannot listen for signals")?;
    let runtime = runtime(global)?;
    check::refuse_unusable(global).await?;
    let mut engine = Engine { runtime, node, eviction, objects: manifests.objects, requests };
    let mut reports = Vec::new();
    for pod in &manifests.pods {
        let Some(report) = test_pod(&mut engine, &test, pod).await? else {
            complain("error: the test was interrupted; nothing is judged\n")?;
            return Ok(ExitCode::from(EXIT_ERROR));
        };
        if test.output == Format::Text {
            print(&text::report(&report, Paint::new(global.use_color())))?;
        }
        reports.push(report);
    }
    match test.output {
        Format::Text => {}
        Format::Json => print(&(serde_json::to_string_pretty(&json(&reports))? + "\n"))?,
        Format::Junit => print(&junit(&reports))?,
    }
    let first = reports.iter().filter_map(PodReport::first_failed).min();
    Ok(ExitCode::from(first.map_or(0, Check::exit_code)))
}

/// All runs of one pod; `None` if somebody interrupted them.
async fn test_pod(engine: &mut Engine, test: &Test, pod: &Pod) -> anyhow::Result<Option<PodReport>> {
    let metadata = &pod.metadata;
    let (namespace, name) = (metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default());
    let mut report = PodReport { namespace, name, runs: Vec::new() };
    let mut first = None;
    for number in 0..test.runs {
        let Some(played) = engine.play(manifest::once_more(pod), test, drive::Depth::Whole).await? else { return Ok(None) };
        let mut run = judged(&played, test)?;
        match &first {
            // A later run is a second start, too.
            Some(first) if number == 1 && !test.no_second_start => run.verdicts.extend(again(first, &played.journal, test)),
            Some(_) => {}
            None => first = Some(played.journal),
        }
        report.runs.push(run);
    }
    if let ([run], Some(first), false) = (report.runs.as_mut_slice(), &first, test.no_second_start) {
        let Some(second) = engine.play(manifest::once_more(pod), test, drive::Depth::Start).await? else { return Ok(None) };
        run.verdicts.extend(again(first, &second.journal, test));
    }
    Ok(Some(report))
}

fn again(first: &Journal, second: &Journal, test: &Test) -> Option<Verdict> {
    Some(test.strictly(second_start(first, second, test.ready_within)?))
}

fn judged(played: &Played, test: &Test) -> anyhow::Result<RunReport> {
    let life = Life::of(&played.journal).context("the journal of the pod has no heading")?;
    let seen = Seen { ready_within: test.ready_within, command: played.command.clone(), traffic: played.traffic.clone() };
    let verdicts = judge(&played.journal, &seen).context("the journal of the pod has no heading")?;
    Ok(RunReport {
        uid: life.uid.clone(),
        began: life.began,
        lived: life.age(life.read_to.timestamp()),
        times: RunTimes::of(&life),
        verdicts: verdicts.into_iter().map(|verdict| test.strictly(verdict)).collect(),
        traffic: played.traffic.as_ref().map(chronicle::judge::Traffic::tally),
    })
}

impl Test {
    fn strictly(&self, verdict: Verdict) -> Verdict {
        if self.strict { verdict.strictly() } else { verdict }
    }
}

fn print(text: &str) -> anyhow::Result<()> {
    std::io::stdout().lock().write_all(text.as_bytes()).context("cannot write to standard output")
}

fn complain(text: &str) -> anyhow::Result<()> {
    std::io::stderr().lock().write_all(text.as_bytes()).context("cannot write to standard error")
}
