//! What the journal costs: time at a start, memory of a pod that rests, and memory and disk of a hook that prints without end.
//!
//! With and without a journal take turns in one run, so that what else the machine does meets both alike.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};

use super::{Bench, RESIDENTS, Report, created_to_started, journal, median, shims_below, since, starts_in, stop};

/// What the goals say: how much longer a start may take, the memory of a resting pod, and what a hook that prints [`LOUD_BYTES`] may
/// cost more than one that prints nothing.
const START_SHARE_MAX: f64 = 0.05;
const RESTING_KIB_MAX: f64 = 20.0;
const LOUD_DISK_KIB_MAX: u64 = 192;
const LOUD_ENGINE_KIB_MAX: u64 = 4 << 10;
const LOUD_SHIM_KIB_MAX: u64 = 1 << 10;

/// What a loud hook prints.
const LOUD_BYTES: u64 = 1 << 30;

/// Rounds of the measurement of memory: each starts [`RESIDENTS`] pods twice.
const MEMORY_ROUNDS: usize = 5;

/// Pairs of starts for each round: the share of the journal is smaller than what a busy machine adds to a single start.
const PAIRS_PER_ROUND: usize = 3;

/// One heap, given back at once: what an engine frees is not counted, and how its threads met at the start makes no difference.
const ONE_HEAP: [(&str, &str); 2] = [("MALLOC_ARENA_MAX", "1"), ("MALLOC_TRIM_THRESHOLD_", "65536")];

/// With it nothing is kept.
const WITHOUT: [&str; 2] = ["--journal-max-bytes", "0"];

pub(super) fn measure(bench: &Bench, rounds: usize, report: &mut Report) -> Result<()> {
    starts(bench, rounds * PAIRS_PER_ROUND, report)?;
    resting(bench, report)?;
    loud(bench, report)
}

fn starts(bench: &Bench, pairs: usize, report: &mut Report) -> Result<()> {
    let manifest = bench.manifest("journal", 1, &["run", "--exit-after", "0"], "")?;
    let (mut with, mut without, mut inner_with, mut inner_without) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut shares = Vec::new();
    for round in 0..pairs {
        let once = |more: &[&str]| -> Result<_> {
            let begun = std::time::SystemTime::now();
            let entries = journal(bench.usher(["run", "-o", "json"]).args(more).arg(&manifest))?;
            let start = since(begun, *starts_in(&entries).first().context("the pod did not start")?);
            Ok((start, created_to_started(&entries)?))
        };
        // Whoever is first finds a colder machine.
        let (kept, unkept) = if round % 2 == 0 {
            let kept = once(&[])?;
            (kept, once(&WITHOUT)?)
        } else {
            let unkept = once(&WITHOUT)?;
            (once(&[])?, unkept)
        };
        shares.push(kept.0.as_secs_f64() / unkept.0.as_secs_f64() - 1.0);
        with.push(kept.0);
        without.push(unkept.0);
        inner_with.push(kept.1);
        inner_without.push(unkept.1);
    }
    report.figure("command started to first instruction, with a journal", "usher", &mut with);
    report.figure("command started to first instruction, without", "usher", &mut without);
    report.figure("pod created to first instruction, with a journal", "usher", &mut inner_with);
    report.figure("pod created to first instruction, without", "usher", &mut inner_without);
    shares.sort_unstable_by(f64::total_cmp);
    let paired = shares[shares.len() / 2];
    let (low, high) = interval_of_median(&shares);
    let of_medians = median(&mut with).as_secs_f64() / median(&mut without).as_secs_f64() - 1.0;
    let text = format!(
        "the journal's share of a start, median of {pairs} pairs: {:+.1}% (with 95% confidence {:+.1}% to {:+.1}%; ratio of the medians {:+.1}%)",
        paired * 100.0,
        low * 100.0,
        high * 100.0,
        of_medians * 100.0
    );
    report.goal(text, paired < START_SHARE_MAX, "under 5%");
    Ok(())
}

/// Where the median of what these were drawn from lies with 95% confidence, whatever their distribution (the sign test).
fn interval_of_median(sorted: &[f64]) -> (f64, f64) {
    let count = sorted.len() as f64;
    let reach = (1.96 * count.sqrt() / 2.0).ceil() as usize;
    let middle = sorted.len() / 2;
    let last = sorted.len().saturating_sub(1);
    (sorted[middle.saturating_sub(reach)], sorted[(middle + reach).min(last)])
}

fn resting(bench: &Bench, report: &mut Report) -> Result<()> {
    let mut differences = Vec::new();
    for round in 0..MEMORY_ROUNDS {
        let (with, without) = if round % 2 == 0 {
            let with = bench.residents(&[], &ONE_HEAP)?;
            (with, bench.residents(&WITHOUT, &ONE_HEAP)?)
        } else {
            let without = bench.residents(&WITHOUT, &ONE_HEAP)?;
            (bench.residents(&[], &ONE_HEAP)?, without)
        };
        differences.push((with.engine as f64 - without.engine as f64) / RESIDENTS as f64);
    }
    differences.sort_unstable_by(f64::total_cmp);
    let middle = differences[differences.len() / 2];
    let (least, most) = (differences.first().copied().unwrap_or_default(), differences.last().copied().unwrap_or_default());
    let text = format!(
        "the journal's memory for a resting pod, median of {MEMORY_ROUNDS} rounds with {RESIDENTS} pods: {middle:.1} KiB ({least:.1} to {most:.1})"
    );
    report.goal(text, middle < RESTING_KIB_MAX, "under 20 KiB");
    Ok(())
}

/// What a pod with a hook cost at most.
struct Peak {
    engine_kib: u64,
    shim_kib: u64,
    disk_kib: u64,
}

fn loud(bench: &Bench, report: &mut Report) -> Result<()> {
    let quiet = peak(bench, 0)?;
    let begun = std::time::Instant::now();
    let loud = peak(bench, LOUD_BYTES)?;
    let took = begun.elapsed();
    let more = |loud: u64, quiet: u64| loud.saturating_sub(quiet);
    let (engine, shim, disk) =
        (more(loud.engine_kib, quiet.engine_kib), more(loud.shim_kib, quiet.shim_kib), more(loud.disk_kib, quiet.disk_kib));
    let what = format!("a hook that prints 1 GiB, in {:.1} s,", took.as_secs_f64());
    report.goal(
        format!("{what} costs {disk} KiB of disk"),
        disk <= LOUD_DISK_KIB_MAX,
        "192 KiB: 16 KiB of text in the journal, 64 KiB in the shim's log, and what stands with each line",
    );
    report.goal(format!("{what} costs {engine} KiB of the engine's memory at its peak"), engine <= LOUD_ENGINE_KIB_MAX, "4 MiB");
    report.goal(format!("{what} costs {shim} KiB of the shim's memory at its peak"), shim <= LOUD_SHIM_KIB_MAX, "1 MiB");
    Ok(())
}

/// Runs a pod whose postStart hook prints so many bytes, and looks at the kernel's own peaks while it still runs.
fn peak(bench: &Bench, bytes: u64) -> Result<Peak> {
    let lifecycle = format!("    lifecycle: {{postStart: {{exec: {{command: [tapp, flood, \"{bytes}\"]}}}}}}\n");
    let manifest = bench.manifest("loud", 1, &["run"], &lifecycle)?;
    let (root, logs) = (bench.path("root"), bench.path("logs"));
    let before = disk_kib(&root)? + disk_kib(&logs)?;
    let mut child = bench.usher(["run", "-o", "json"]).arg(&manifest).stdout(Stdio::piped()).spawn()?;
    let mut lines = BufReader::new(child.stdout.take().context("stdout is piped")?).lines();
    loop {
        let line = lines.next().context("the hook did not end")??;
        if line.contains("\"HookFinished\"") {
            ensure!(line.contains("\"Succeeded\""), "the hook failed: {line}");
            break;
        }
    }
    let [shim] = shims_below(&root)?[..] else { anyhow::bail!("one pod has one shim") };
    let peak = Peak {
        engine_kib: peak_kib(child.id())?,
        shim_kib: peak_kib(shim)?,
        disk_kib: (disk_kib(&root)? + disk_kib(&logs)?).saturating_sub(before),
    };
    stop(&child)?;
    for line in lines {
        line?;
    }
    child.wait()?;
    Ok(peak)
}

/// The largest resident memory that a process ever had.
fn peak_kib(pid: u32) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let peak = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("the kernel tells no peak")?;
    Ok(peak.split_whitespace().next().context("the kernel tells no peak")?.parse()?)
}

/// Bytes of the files of a folder, those of mounts in it apart.
fn disk_kib(folder: &Path) -> Result<u64> {
    use std::os::unix::fs::MetadataExt as _;
    let Ok(metadata) = fs::symlink_metadata(folder) else { return Ok(0) };
    let device = metadata.dev();
    let mut bytes = 0;
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        // What goes away meanwhile takes no space.
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.dev() != device {
                continue;
            }
            if metadata.is_file() {
                bytes += metadata.len();
            } else if metadata.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    Ok(bytes >> 10)
}
