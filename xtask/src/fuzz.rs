//! `cargo xtask fuzz`: coverage-guided fuzzing with the stable compiler.
//!
//! libFuzzer drives the targets of the crate in `fuzz/`. LLVM's own pass puts the counters in, through options that stable compilers
//! take; nothing but a C++ compiler is needed beside them, for libFuzzer itself.
//!
//! Seeds are in `fuzz/corpus/TARGET`, and what once broke something in `fuzz/regressions/TARGET`: ordinary tests replay both. What a
//! run finds stays in cargo's target folder, and is there for the next run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use crate::vm::kernel::output;

/// A target and the longest input worth trying.
struct Target {
    name: &'static str,
    bytes_max: u32,
}

const TARGETS: &[Target] = &[
    Target { name: "manifest", bytes_max: 4096 },
    Target { name: "layer", bytes_max: 16384 },
    Target { name: "registry_documents", bytes_max: 4096 },
    Target { name: "registry_replies", bytes_max: 8192 },
    Target { name: "shim_frames", bytes_max: 4096 },
    Target { name: "shim_client", bytes_max: 4096 },
    Target { name: "shim_answers", bytes_max: 4096 },
    Target { name: "http_answer", bytes_max: 4096 },
    Target { name: "grpc_answer", bytes_max: 4096 },
    Target { name: "websocket_frames", bytes_max: 4096 },
    Target { name: "spdy_frames", bytes_max: 4096 },
    Target { name: "protobuf_body", bytes_max: 2048 },
];

/// One input that takes longer, in seconds, is a finding.
const INPUT_SECONDS_MAX: u32 = 20;
/// More memory, in MiB, is one too.
const MEMORY_MIB_MAX: u32 = 2048;

/// Counters for edges, and comparisons told to the fuzzer. These are options of LLVM that cargo-fuzz passes as well.
const RUSTFLAGS: &[&str] = &[
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

/// Fuzzes the targets whose names contain `pattern`, each for so long.
pub(crate) fn run(root: &Path, pattern: Option<&str>, seconds: u32) -> Result<()> {
    let chosen: Vec<_> = TARGETS.iter().filter(|target| pattern.is_none_or(|pattern| target.name.contains(pattern))).collect();
    if chosen.is_empty() {
        let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
        bail!("no target is called {}; there are {}", pattern.unwrap_or_default(), names.join(", "));
    }
    let fuzzer = build(root)?;
    let mut broken = Vec::new();
    for target in chosen {
        println!("── {}", target.name);
        if let Err(error) = fuzz(root, &fuzzer, target, seconds) {
            println!("{}: {error:#}", target.name);
            broken.push(target.name);
        }
    }
    ensure!(broken.is_empty(), "broken: {}", broken.join(", "));
    Ok(())
}

fn folder(root: &Path) -> Result<PathBuf> {
    let target = crate::target_dir(root)?;
    Ok(target.parent().context("the target folder of a machine lies in that of cargo")?.join("fuzz"))
}

fn build(root: &Path) -> Result<PathBuf> {
    let target = folder(root)?;
    // The same versions of everything as in the product.
    fs::copy(root.join("Cargo.lock"), root.join("fuzz/Cargo.lock")).context("cannot copy Cargo.lock")?;
    let host = crate::host()?;
    let mut command = crate::cargo_command(&root.join("fuzz"));
    command.args(["build", "--release", "--target", &host, "--target-dir"]).arg(&target);
    command.env("CARGO_ENCODED_RUSTFLAGS", RUSTFLAGS.join("\u{1f}"));
    let status = command.status().context("cannot run cargo")?;
    ensure!(status.success(), "the targets cannot be built (libFuzzer needs a C++ compiler: `apt-get install g++`)");
    Ok(target.join(host).join("release/usher-fuzz"))
}

fn fuzz(root: &Path, fuzzer: &Path, target: &Target, seconds: u32) -> Result<()> {
    let folder = folder(root)?;
    let (found, artifacts) = (folder.join("corpus").join(target.name), folder.join("artifacts").join(target.name));
    for folder in [&found, &artifacts] {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let committed = ["corpus", "regressions"].map(|kind| root.join("fuzz").join(kind).join(target.name));
    let mut command = Command::new(fuzzer);
    command.env("USHER_FUZZ_TARGET", target.name).current_dir(root);
    command.arg(&found).args(committed.iter().filter(|folder| folder.is_dir()));
    if target.name == "manifest" {
        command.arg(root.join("examples"));
    }
    command.arg(format!("-artifact_prefix={}/", artifacts.display()));
    command.args([format!("-max_total_time={seconds}"), format!("-max_len={}", target.bytes_max)]);
    command.args([format!("-timeout={INPUT_SECONDS_MAX}"), format!("-rss_limit_mb={MEMORY_MIB_MAX}")]);
    let words = root.join("fuzz/dictionaries").join(target.name);
    if words.is_file() {
        command.arg(format!("-dict={}", words.display()));
    }
    // Few lines: how it began, what it found, how it ended.
    command.args(["-print_final_stats=1", "-verbosity=1", "-reload=0", "-use_value_profile=1"]);
    let log = folder.join(format!("{}.log", target.name));
    let file = fs::File::create(&log).with_context(|| format!("cannot make {}", log.display()))?;
    let status = command.stderr(file).status().context("cannot run the fuzzer")?;
    let text = fs::read_to_string(&log).unwrap_or_default();
    println!("{}", summary(&text));
    if status.success() {
        return Ok(());
    }
    let last: Vec<_> = text.lines().rev().take(30).collect();
    last.iter().rev().for_each(|line| println!("  {line}"));
    bail!(
        "ended with {status}; the whole story is in {}. Put the input into fuzz/regressions/{}, where a test replays it, and mend what it breaks",
        log.display(),
        target.name
    )
}

/// Coverage at the beginning and at the end, and how fast it was.
fn summary(log: &str) -> String {
    let inited = log.lines().find(|line| line.contains("INITED"));
    let last = log.lines().rev().find(|line| line.contains(" cov: "));
    let stats = log.lines().filter(|line| line.starts_with("stat::"));
    let lines = inited.into_iter().chain(last).chain(stats);
    lines.map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

/// Writes the smallest set of inputs with the same coverage into the committed corpus.
pub(crate) fn minimise(root: &Path, pattern: &str) -> Result<()> {
    let fuzzer = build(root)?;
    for target in TARGETS.iter().filter(|target| target.name.contains(pattern)) {
        let found = folder(root)?.join("corpus").join(target.name);
        let committed = root.join("fuzz/corpus").join(target.name);
        let mut command = Command::new(&fuzzer);
        command.env("USHER_FUZZ_TARGET", target.name).current_dir(root);
        command.args(["-merge=1", &format!("-max_len={}", target.bytes_max)]).arg(&committed).arg(&found);
        output(&mut command).with_context(|| format!("cannot minimise the corpus of {}", target.name))?;
        println!("{}: {} inputs", target.name, fs::read_dir(&committed)?.count());
    }
    Ok(())
}
