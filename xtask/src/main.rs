//! The project's own tools: `cargo xtask ci` is everything that CI runs.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "these are commands for people")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::{Parser, Subcommand};

mod bench;
mod crash;
mod fuzz;
mod tidy;
mod vm;
mod walls;

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "Tools of this project")]
struct Cli {
    #[command(subcommand)]
    command: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Everything CI runs: format, clippy, walls, tidy, documentation, tests
    Ci,
    /// Measure starts, hooks, stops and memory beside crun and runc
    Bench {
        /// Rounds of each measurement; through the API at least 30
        #[arg(long, default_value_t = 20)]
        rounds: usize,
        /// Measure what the developers' profile builds: for a first look only
        #[arg(long)]
        dev: bool,
        /// Measure only what the journal costs
        #[arg(long, conflicts_with = "api")]
        journal: bool,
        /// Measure only what goes through the API
        #[arg(long)]
        api: bool,
    },
    /// Play random pods in a random world, in virtual time
    Sim {
        /// Play this one and print its timeline
        #[arg(long, conflicts_with = "seeds")]
        seed: Option<u64>,
        /// How many to play
        #[arg(long, default_value_t = 10_000)]
        seeds: u64,
    },
    /// Try inputs that nobody thought of, guided by coverage; findings are for fuzz/regressions
    Fuzz {
        /// Only targets whose names contain this
        target: Option<String>,
        /// How long to try each
        #[arg(long, default_value_t = 60)]
        seconds: u32,
        /// Commit what was found: the smallest set of inputs with the same coverage
        #[arg(long)]
        minimise: bool,
    },
    /// Write, read and watch the API with many clients while the server is stopped and started, and check that one order explains it all
    History {
        /// How long
        #[arg(long, default_value_t = 60)]
        seconds: u64,
        /// Choose as in the run that named this
        #[arg(long)]
        seed: Option<u64>,
    },
    /// Kill the daemon at random instants under load, and check that nothing is lost, restarted or run twice
    Crash {
        /// How often
        #[arg(long, default_value_t = 200)]
        kills: u32,
        /// Do this one again
        #[arg(long)]
        seed: Option<u64>,
        /// Kill the shims of pods instead
        #[arg(long)]
        shims: bool,
    },
    /// Run the tests that make containers on a machine in QEMU that has only version 2 of control groups
    Vm {
        /// Only tests whose `package::binary test` contains one of these
        only: Vec<String>,
        /// Memory of the machine, in MiB
        #[arg(long, default_value_t = 3072)]
        memory: u32,
        /// Seconds after which the machine is given up
        #[arg(long, default_value_t = 1500)]
        within: u64,
    },
    /// Check which crates may use what
    Walls,
    /// Check what a compiler does not: documents of files, their size, rows without a test
    Tidy,
}

fn main() -> Result<()> {
    match Cli::parse().command {
        Task::Ci => ci(),
        Task::Bench { rounds, dev, journal, api } => {
            let profile = if dev { bench::Profile::Dev } else { bench::Profile::Release };
            let scope = match (journal, api) {
                (true, _) => bench::Scope::Journal,
                (false, true) => bench::Scope::Api,
                (false, false) => bench::Scope::Everything,
            };
            bench::run(&root()?, rounds, profile, scope)
        }
        Task::Sim { seed: Some(seed), .. } => {
            println!("{}", sim::timeline(seed));
            Ok(())
        }
        Task::Sim { seed: None, seeds } => simulate(seeds),
        Task::Fuzz { target, minimise: true, .. } => fuzz::minimise(&root()?, target.as_deref().unwrap_or_default()),
        Task::Fuzz { target, seconds, minimise: false } => fuzz::run(&root()?, target.as_deref(), seconds),
        Task::History { seconds, seed } => history(seconds, seed),
        Task::Crash { kills, seed, shims } => {
            crash::run(&root()?, kills, seed, if shims { crash::Victims::Shims } else { crash::Victims::Daemon })
        }
        Task::Vm { only, memory, within } => {
            vm::run(&root()?, &vm::Options { only, memory_mib: memory, within: Duration::from_secs(within) })
        }
        Task::Walls => walls::check(&root()?),
        Task::Tidy => tidy::check(&root()?),
    }
}

/// The test of the same name, for longer.
fn history(seconds: u64, seed: Option<u64>) -> Result<()> {
    let seed = seed.unwrap_or_else(|| u64::from(std::process::id())).to_string();
    let environment = [("USHER_HISTORY_SECONDS", seconds.to_string()), ("USHER_HISTORY_SEED", seed)];
    let environment = environment.each_ref().map(|(name, value)| (*name, value.as_str()));
    // Not by nextest, which ends what takes minutes.
    cargo(&root()?, &["test", "--workspace", "--test", "history", "one_order_of_all_writes", "--", "--nocapture"], &environment)
}

/// Runs every step, also after one has failed, and then says which failed.
fn ci() -> Result<()> {
    let root = root()?;
    let mut failed = Vec::new();
    let mut step = |name: &str, run: &mut dyn FnMut() -> Result<()>| {
        println!("── {name}");
        let begun = Instant::now();
        if let Err(error) = run() {
            eprintln!("{name} failed: {error:#}");
            failed.push(name.to_owned());
        }
        println!("── {name} took {} s", begun.elapsed().as_secs());
    };
    step("format", &mut || cargo(&root, &["fmt", "--all", "--", "--check"], &[]));
    step("walls", &mut || walls::check(&root));
    step("tidy", &mut || tidy::check(&root));
    step("clippy", &mut || cargo(&root, &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"], &[]));
    // It is read by maintainers, private items and all.
    step("documentation", &mut || {
        cargo(
            &root,
            &["doc", "--workspace", "--no-deps", "--document-private-items", "--quiet"],
            &[("RUSTDOCFLAGS", "-D warnings -A rustdoc::private-intra-doc-links")],
        )
    });
    step("tests", &mut || cargo(&root, &["nextest", "run", "--workspace", "--no-fail-fast"], &[]));
    if failed.is_empty() {
        return Ok(());
    }
    bail!("failed: {}", failed.join(", "))
}

fn cargo(root: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Result<()> {
    let mut command = cargo_command(root);
    command.args(arguments).envs(environment.iter().copied());
    let status = command.status().with_context(|| format!("cannot run cargo {}", arguments.join(" ")))?;
    if status.success() { Ok(()) } else { bail!("cargo {} ended with {status}", arguments.join(" ")) }
}

/// Cargo, as if called from a shell. What `cargo run` tells this program of its package would make build scripts run again, and much
/// be built again, each time somebody changes between the two.
fn cargo_command(root: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let is_of_package =
        |name: &str| ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_CRATE_", "CARGO_BIN_"].iter().any(|prefix| name.starts_with(prefix));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(is_of_package)) {
        command.env_remove(name);
    }
    command.current_dir(root);
    command
}

/// Plays many seeds; says how fast, and which broke a promise.
fn simulate(seeds: u64) -> Result<()> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let begun = Instant::now();
    let failed = sim::run_many(0..seeds, threads);
    let took = begun.elapsed().as_secs_f64();
    println!("{seeds} seeds in {took:.1} s on {threads} threads, {} broke a promise", failed.len());
    for outcome in failed.iter().take(3) {
        println!("{}", sim::timeline(outcome.seed));
    }
    if failed.is_empty() {
        Ok(())
    } else {
        bail!("seeds that broke a promise: {:?}", failed.iter().map(|outcome| outcome.seed).collect::<Vec<_>>())
    }
}

/// Where cargo puts what it builds for this machine.
fn target_dir(root: &Path) -> Result<PathBuf> {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .current_dir(root)
        .args(["metadata", "--format-version", "1", "--no-deps"])
        .output()?;
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).context("cannot read cargo's metadata")?;
    let target = metadata["target_directory"].as_str().context("cargo names no target folder")?;
    Ok(Path::new(target).join(host()?))
}

/// The triple of this machine.
fn host() -> Result<String> {
    let host = Command::new("rustc").arg("-vV").output()?;
    let host = String::from_utf8_lossy(&host.stdout);
    Ok(host.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc names no host")?.to_owned())
}

fn root() -> Result<PathBuf> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    Ok(manifest.parent().context("xtask has no parent folder")?.to_owned())
}
