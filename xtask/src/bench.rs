//! `cargo xtask bench`: how fast and how small, beside `crun` and `runc` where they are installed.
//!
//! All candidates take turns in one run on the same machine, so that the ratios mean something where absolute times do not.
//! Moments are taken by the workload itself (`tapp`, wall clock in nanoseconds), not by whoever started it.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

mod journal;
mod probed;
mod served;

/// Pods that are started at once.
const CROWD: usize = 50;

/// Pods that live while memory is measured.
const RESIDENTS: usize = 100;

/// What the goals say: private memory of a shim, of an engine with [`RESIDENTS`] pods, and how much slower than `crun run` a start may be.
const SHIM_KIB_MAX: u64 = 307;
const ENGINE_KIB_MAX: u64 = 40 << 10;
const START_RATIO_MAX: f64 = 1.5;

/// What is measured: goals are goals for release builds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    Release,
    Dev,
}

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    Everything,
    Journal,
    Api,
}

pub(crate) fn run(root: &Path, rounds: usize, profile: Profile, scope: Scope) -> Result<()> {
    ensure!(rounds > 0, "at least one round");
    let built = match profile {
        Profile::Release => "--release",
        Profile::Dev => "--profile=dev",
    };
    crate::cargo(root, &["build", "--quiet", built, "--package", "usher", "--package", "tapp"], &[])?;
    let bench = Bench::new(root, profile)?;
    let mut report = Report::default();
    if scope == Scope::Everything {
        bench.starts(rounds, &mut report)?;
        bench.crowd(&mut report)?;
        bench.hooks_and_stops(rounds, &mut report)?;
        bench.memory(&mut report)?;
    }
    if scope != Scope::Api {
        journal::measure(&bench, rounds, &mut report)?;
    }
    if scope != Scope::Journal {
        served::measure(&bench, rounds, &mut report)?;
        probed::measure(&bench, &mut report)?;
    }
    if profile == Profile::Dev {
        println!("built with the developers' profile: only what is compared within this run means something");
    }
    report.print();
    Ok(())
}

struct Bench {
    folder: tempfile::TempDir,
    usher: PathBuf,
    /// Other runtimes that are installed, with what must stand before their command line.
    others: Vec<Other>,
}

struct Other {
    name: &'static str,
    /// This one refuses the hybrid cgroup hierarchy: it is shown a machine without the version 2 part.
    hides_unified: bool,
}

impl Bench {
    fn new(root: &Path, profile: Profile) -> Result<Self> {
        let target = crate::target_dir(root)?;
        let built = target.join(match profile {
            Profile::Release => "release",
            Profile::Dev => "debug",
        });
        let (usher, tapp) = (built.join("usher"), built.join("tapp"));
        let folder = tempfile::Builder::new().prefix("usher-bench-").tempdir()?;
        let bench = Self { folder, usher, others: installed() };
        bench.make_image(&tapp)?;
        Ok(bench)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn make_image(&self, tapp: &Path) -> Result<()> {
        let rootfs = self.path("rootfs");
        for folder in ["bin", "proc", "sys", "dev", "tmp", "etc"] {
            fs::create_dir_all(rootfs.join(folder))?;
        }
        fs::copy(tapp, rootfs.join("bin/tapp"))?;
        let tar = self.path("image.tar");
        succeed(Command::new("tar").arg("-C").arg(&rootfs).arg("-cf").arg(&tar).arg("."))?;
        succeed(self.usher(["image", "import", "tapp:1"]).arg(&tar).args(["--cmd", "tapp", "--env", "PATH=/bin"]))?;
        for other in &self.others {
            let bundle = self.path(other.name);
            fs::create_dir_all(&bundle)?;
            succeed(Command::new(other.name).arg("spec").current_dir(&bundle))?;
            let config = bundle.join("config.json");
            let mut spec: Value = serde_json::from_slice(&fs::read(&config)?)?;
            spec["process"]["terminal"] = json!(false);
            spec["process"]["args"] = json!(["/bin/tapp", "run", "--exit-after", "0"]);
            spec["root"]["path"] = json!(rootfs);
            fs::write(&config, serde_json::to_vec(&spec)?)?;
        }
        Ok(())
    }

    fn usher<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = Command::new(&self.usher);
        command.args(arguments).arg("--root").arg(self.path("root")).arg("--log-root").arg(self.path("logs"));
        command.args(["--bridge", "usherbench", "--subnet", "10.198.0.0/16"]).stdin(Stdio::null());
        command
    }

    fn other(&self, other: &Other, id: &str) -> Command {
        let bundle = self.path(other.name);
        let hide = if other.hides_unified { "umount /sys/fs/cgroup/unified 2>/dev/null; " } else { "" };
        let mut command = Command::new("unshare");
        let line = format!("{hide}exec {} run --bundle {} {id}", other.name, bundle.display());
        command.args(["--mount", "sh", "-c", &line]).stdin(Stdio::null());
        command
    }

    /// From the start of the command to the first instruction of the container.
    fn starts(&self, rounds: usize, report: &mut Report) -> Result<()> {
        let manifest = self.manifest("start", 1, &["run", "--exit-after", "0"], "")?;
        let (mut usher, mut inner, mut sandboxes, mut containers) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut others: Vec<Vec<Duration>> = self.others.iter().map(|_| Vec::new()).collect();
        for round in 0..rounds {
            let begun = SystemTime::now();
            let entries = journal(self.usher(["run", "-o", "json"]).arg(&manifest))?;
            usher.push(since(begun, *starts_in(&entries).first().context("the pod did not start")?));
            let (whole, sandbox) = (created_to_started(&entries)?, sandbox(&entries)?);
            inner.push(whole);
            sandboxes.push(sandbox);
            containers.push(whole.saturating_sub(sandbox));
            for (other, times) in self.others.iter().zip(&mut others) {
                let begun = SystemTime::now();
                let output = self.other(other, &format!("bench-{round}")).output()?;
                let text = String::from_utf8_lossy(&output.stdout);
                let start = text.lines().find_map(moment_of_start);
                times.push(since(
                    begun,
                    start.with_context(|| format!("{} did not start: {}", other.name, String::from_utf8_lossy(&output.stderr)))?,
                ));
            }
        }
        report.figure("pod created to container running (inside the engine)", "usher", &mut inner);
        report.figure("… of it the sandbox: namespaces, cgroup, network, shim", "usher", &mut sandboxes);
        report.figure("… of it the container: image, file system, process", "usher", &mut containers);
        report.figure("command started to container's first instruction", "usher run", &mut usher);
        for (other, times) in self.others.iter().zip(&mut others) {
            report.figure("command started to container's first instruction", other.name, times);
        }
        if let Some(position) = self.others.iter().position(|other| other.name == "crun") {
            // `crun run` makes no sandbox: it is told apart, and the rest is compared.
            let crun = median(&mut others[position]).as_secs_f64();
            let (ratio, whole) = (median(&mut containers).as_secs_f64() / crun, median(&mut inner).as_secs_f64() / crun);
            report.goal(
                format!("container running, against crun run: {ratio:.2}x, with the sandbox {whole:.2}x"),
                ratio <= START_RATIO_MAX,
                "1.5x plus the sandbox",
            );
        }
        Ok(())
    }

    /// Many at once: until the last one runs.
    fn crowd(&self, report: &mut Report) -> Result<()> {
        let manifest = self.manifest("crowd", CROWD, &["run", "--exit-after", "0"], "")?;
        let begun = SystemTime::now();
        let entries = journal(self.usher(["run", "-o", "json"]).arg(&manifest))?;
        let starts = starts_in(&entries);
        ensure!(starts.len() == CROWD, "{} of {CROWD} pods started", starts.len());
        let last = starts.iter().max().copied().unwrap_or_default();
        report.figure(&format!("{CROWD} at once, until the last one runs"), "usher run", &mut [since(begun, last)]);
        for other in &self.others {
            let begun = SystemTime::now();
            let children: Vec<Child> = (0..CROWD)
                .map(|number| self.other(other, &format!("crowd-{number}")).stdout(Stdio::piped()).stderr(Stdio::null()).spawn())
                .collect::<std::io::Result<_>>()?;
            let mut starts = Vec::new();
            for child in children {
                let output = child.wait_with_output()?;
                starts.extend(String::from_utf8_lossy(&output.stdout).lines().find_map(moment_of_start));
            }
            ensure!(starts.len() == CROWD, "{} of {CROWD} containers of {} started", starts.len(), other.name);
            let last = starts.iter().max().copied().unwrap_or_default();
            report.figure(&format!("{CROWD} at once, until the last one runs"), other.name, &mut [since(begun, last)]);
        }
        Ok(())
    }

    fn hooks_and_stops(&self, rounds: usize, report: &mut Report) -> Result<()> {
        let lifecycle = "    lifecycle: {postStart: {exec: {command: [tapp, say, hook]}}}\n";
        let manifest = self.manifest("hooks", 1, &["run"], lifecycle)?;
        let (mut hooks, mut stops, mut pods) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rounds {
            let entries = self.stopped_after_its_hook(&manifest)?;
            let begun = wall(find(&entries, |entry| entry["action"]["action"]["action"] == "RunHook")?)?;
            let said = entries.iter().filter_map(|entry| entry["output"]["line"].as_str()).find(|line| line.contains("hook: hook"));
            hooks.push(said.and_then(moment_of).context("the hook said nothing")?.saturating_sub(begun));
            let asked = wall(find(&entries, |entry| entry["kill"].is_object())?)?;
            let exited = wall(find(&entries, |entry| entry["event"]["event"] == "ContainerExited")?)?;
            let gone = wall(find(&entries, |entry| entry["event"]["event"] == "PodCleanedUp")?)?;
            stops.push(exited.saturating_sub(asked));
            pods.push(gone.saturating_sub(asked));
        }
        report.figure("hook: trigger to the hook's first instruction", "usher", &mut hooks);
        report.figure("stop: asked to container ended (handles TERM at once)", "usher", &mut stops);
        report.figure("stop: asked to nothing left of the pod", "usher", &mut pods);
        Ok(())
    }

    /// The journal of a pod that is stopped as soon as its hook has ended.
    fn stopped_after_its_hook(&self, manifest: &Path) -> Result<Vec<Value>> {
        let mut child = self.usher(["run", "-o", "json"]).arg(manifest).stdout(Stdio::piped()).spawn()?;
        let mut entries = Vec::new();
        for line in BufReader::new(child.stdout.take().context("stdout is piped")?).lines() {
            let entry: Value = serde_json::from_str(&line?)?;
            if entry["event"]["event"] == "HookFinished" {
                stop(&child)?;
            }
            entries.push(entry);
        }
        child.wait()?;
        Ok(entries)
    }

    fn memory(&self, report: &mut Report) -> Result<()> {
        let Resident { shim, engine } = self.residents(&[], &[])?;
        report.goal(format!("private memory of a shim, median of {RESIDENTS}: {shim} KiB"), shim <= SHIM_KIB_MAX, "0.3 MiB");
        report.goal(format!("private memory of the engine with {RESIDENTS} pods: {engine} KiB"), engine <= ENGINE_KIB_MAX, "40 MiB");
        Ok(())
    }

    /// Starts [`RESIDENTS`] pods, measures when all of them run, and stops them.
    fn residents(&self, more: &[&str], environment: &[(&str, &str)]) -> Result<Resident> {
        let manifest = self.manifest("resident", RESIDENTS, &["run"], "")?;
        let mut command = self.usher(["run", "-o", "json"]);
        let mut child = command.args(more).envs(environment.iter().copied()).arg(&manifest).stdout(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take().context("stdout is piped")?;
        let mut lines = BufReader::new(stdout).lines();
        let mut running = 0;
        while running < RESIDENTS {
            let line = lines.next().context("the pods did not all start")??;
            running += usize::from(line.contains("main: start"));
        }
        let shims = shims_below(&self.path("root"))?;
        ensure!(shims.len() == RESIDENTS, "{} shims for {RESIDENTS} pods", shims.len());
        let mut private: Vec<u64> = shims.iter().map(|pid| private_kib(*pid)).collect::<Result<_>>()?;
        private.sort_unstable();
        let resident = Resident { shim: private[private.len() / 2], engine: private_kib(child.id())? };
        stop(&child)?;
        for line in lines {
            line?;
        }
        child.wait()?;
        Ok(resident)
    }

    fn manifest(&self, name: &str, pods: usize, arguments: &[&str], more: &str) -> Result<PathBuf> {
        let mut text = String::new();
        for number in 0..pods {
            text.push_str(&format!(
                "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}-{number}}}\nspec:\n  restartPolicy: Never\n  containers:\n  \
                 - name: app\n    image: tapp:1\n    imagePullPolicy: Never\n    command: {}\n{more}",
                json!(["tapp"].iter().chain(arguments).collect::<Vec<_>>())
            ));
        }
        let path = self.path(&format!("{name}.yaml"));
        fs::write(&path, text)?;
        Ok(path)
    }
}

/// Private memory in KiB with [`RESIDENTS`] pods.
struct Resident {
    /// Of a shim, the median.
    shim: u64,
    /// Of the engine.
    engine: u64,
}

/// Asks an engine to stop its pods, as Ctrl-C does.
fn stop(engine: &Child) -> Result<()> {
    let signalled = Command::new("kill").args(["-INT", &engine.id().to_string()]).status()?;
    ensure!(signalled.success(), "cannot stop the pods");
    Ok(())
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = self.usher(["rm", "--all", "--force", "--quiet"]).status();
        let _ = Command::new("ip").args(["link", "delete", "usherbench"]).stderr(Stdio::null()).status();
    }
}

#[derive(Default)]
struct Report {
    figures: Vec<(String, String, Duration, Duration, Duration)>,
    goals: Vec<(String, bool, &'static str)>,
}

impl Report {
    fn figure(&mut self, what: &str, who: &str, times: &mut [Duration]) {
        let median = median(times);
        let (min, max) = (times.first().copied().unwrap_or_default(), times.last().copied().unwrap_or_default());
        self.figures.push((what.to_owned(), who.to_owned(), median, min, max));
    }

    fn goal(&mut self, what: String, reached: bool, goal: &'static str) {
        self.goals.push((what, reached, goal));
    }

    fn print(&self) {
        println!("\n| what | who | median | min | max |\n|---|---|---|---|---|");
        let millis = |time: &Duration| format!("{:.1} ms", time.as_secs_f64() * 1e3);
        for (what, who, median, min, max) in &self.figures {
            println!("| {what} | {who} | {} | {} | {} |", millis(median), millis(min), millis(max));
        }
        println!();
        for (what, reached, goal) in &self.goals {
            println!("{} {what} (goal: {goal})", if *reached { "reached:" } else { "MISSED: " });
        }
    }
}

fn installed() -> Vec<Other> {
    let known = [Other { name: "crun", hides_unified: true }, Other { name: "runc", hides_unified: false }];
    let is_there = |other: &Other| Command::new(other.name).arg("--version").output().is_ok_and(|output| output.status.success());
    known.into_iter().filter(is_there).collect()
}

fn succeed(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    ensure!(output.status.success(), "{command:?} failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

fn journal(command: &mut Command) -> Result<Vec<Value>> {
    let output = command.output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let entries: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    if entries.is_empty() {
        bail!("{command:?} said nothing: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(entries)
}

fn find(entries: &[Value], wanted: impl Fn(&Value) -> bool) -> Result<&Value> {
    entries.iter().find(|entry| wanted(entry)).context("an entry of the journal is missing")
}

/// Wall-clock time of an entry, since 1970.
fn wall(entry: &Value) -> Result<Duration> {
    Ok(Duration::from_nanos(entry["at"]["wallNanos"].as_u64().context("an entry has no time")?))
}

fn starts_in(entries: &[Value]) -> Vec<Duration> {
    entries.iter().filter_map(|entry| entry["output"]["line"].as_str()).filter_map(moment_of_start).collect()
}

fn created_to_started(entries: &[Value]) -> Result<Duration> {
    let created = wall(find(entries, |entry| entry["opened"].is_object())?)?;
    let start = starts_in(entries).first().copied().context("the pod did not start")?;
    Ok(start.saturating_sub(created))
}

/// From the sandbox's being asked for to its being ready.
fn sandbox(entries: &[Value]) -> Result<Duration> {
    let asked = wall(find(entries, |entry| entry["action"]["action"]["action"] == "CreateSandbox")?)?;
    let ready = wall(find(entries, |entry| entry["event"]["event"] == "SandboxReady")?)?;
    Ok(ready.saturating_sub(asked))
}

fn moment_of_start(line: &str) -> Option<Duration> {
    line.contains("main: start").then(|| moment_of(line)).flatten()
}

/// `1795442077.826945066 app pid=1 main: start`
fn moment_of(line: &str) -> Option<Duration> {
    let (secs, nanos) = line.split(' ').next()?.split_once('.')?;
    Some(Duration::new(secs.parse().ok()?, nanos.parse().ok()?))
}

fn since(begun: SystemTime, moment: Duration) -> Duration {
    moment.saturating_sub(begun.duration_since(UNIX_EPOCH).unwrap_or_default())
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn shims_below(root: &Path) -> Result<Vec<u32>> {
    let root = root.display().to_string();
    let mut pids = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let Ok(pid) = entry.file_name().to_string_lossy().parse() else { continue };
        let Ok(command) = fs::read(entry.path().join("cmdline")) else { continue };
        let words: Vec<_> = command.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
        if words.get(1).is_some_and(|word| word == "shim") && words.iter().any(|word| word.contains(&root)) {
            pids.push(pid);
        }
    }
    Ok(pids)
}

fn private_kib(pid: u32) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let private = text.lines().filter(|line| line.starts_with("Private_"));
    Ok(private.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).sum())
}
