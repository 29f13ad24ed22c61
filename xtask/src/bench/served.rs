//! The API: from a request to what a watcher sees, many pods at once, and what a daemon costs that only watches over its pods.
//!
//! Not the kubectl, whose own start takes longer than a pod's: requests go to the daemon's socket, as HTTP 1.0, whose answers end with
//! their connection and are read line by line.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use super::{Bench, Report, median, private_kib};

/// What the goals say.
const RUNNING_MAX: Duration = Duration::from_millis(60);
const GONE_MAX: Duration = Duration::from_millis(60);
/// Pods one after the other, at least: a median of fewer says little.
const ROUNDS_LEAST: usize = 30;
const CROWDS: [(usize, Duration); 2] = [(50, Duration::from_secs(2)), (200, Duration::from_secs(8))];
const RESTING_PODS: usize = 200;
const RESTING_KIB_MAX: u64 = 60 << 10;
const RESTING_CORE_MAX: f64 = 0.01;

/// Pods at which rest is measured; the last ones are adopted by a new daemon.
const POPULATIONS: [usize; 4] = [0, 100, RESTING_PODS, 500];

/// How long rest is watched.
const REST: Duration = Duration::from_secs(20);

/// In what the kernel counts a process's time (`USER_HZ`), which is the same on every machine for which usher is built.
const TICKS_PER_SEC: u64 = 100;

/// Who watches when the spread of one change is measured.
const WATCHERS: usize = 1_000;

/// When something does not come, the run ends with an error.
const PATIENCE: Duration = Duration::from_secs(300);

const PODS: &str = "/api/v1/namespaces/default/pods";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";

pub(super) fn measure(bench: &Bench, rounds: usize, report: &mut Report) -> Result<()> {
    let daemon = Daemon::start(bench)?;
    one_by_one(&daemon, rounds.max(ROUNDS_LEAST), report)?;
    for (count, within) in CROWDS {
        crowd(&daemon, count, within, report)?;
    }
    fan_out(&daemon, report)?;
    drop(daemon);
    rest(bench, report)
}

/// A served machine, killed when this is dropped; its pods stay until [`Bench`] removes them.
pub(super) struct Daemon<'b> {
    bench: &'b Bench,
    child: Child,
    /// From the command to the word that it serves.
    ready_after: Duration,
}

impl<'b> Daemon<'b> {
    pub(super) fn start(bench: &'b Bench) -> Result<Self> {
        let begun = Instant::now();
        let mut command = bench.usher(["serve", "--listen", "127.0.0.1:0", "--max-pods", "1000"]);
        command.args(["--eviction-hard", "memory.available<1Mi"]).stderr(Stdio::null());
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let mut lines = BufReader::new(child.stdout.take().context("stdout is piped")?).lines();
        let is_ready = lines.by_ref().map_while(Result::ok).any(|line| line.starts_with("export KUBECONFIG="));
        let daemon = Self { bench, child, ready_after: begun.elapsed() };
        ensure!(is_ready, "the daemon did not begin to serve");
        Ok(daemon)
    }

    /// Sends a request; the answer's body begins where the reader stands.
    pub(super) fn request(&self, method: &str, path: &str, body: Option<&Value>) -> Result<BufReader<UnixStream>> {
        let mut stream = UnixStream::connect(self.bench.path("root").join("api.sock"))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let body = body.map(ToString::to_string).unwrap_or_default();
        let kind = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let head = format!("{method} {path} HTTP/1.0\r\nHost: usher\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all((head + &body).as_bytes())?;
        let mut reader = BufReader::new(stream);
        let mut status = String::new();
        reader.read_line(&mut status)?;
        let mut line = String::from("-");
        while !line.trim().is_empty() {
            line.clear();
            ensure!(reader.read_line(&mut line)? > 0, "{method} {path} was not answered");
        }
        if !status.contains(" 20") {
            let mut text = String::new();
            reader.read_to_string(&mut text)?;
            bail!("{method} {path}: {status}{text}");
        }
        Ok(reader)
    }

    fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Result<()> {
        let mut answer = Vec::new();
        self.request(method, path, body)?.read_to_end(&mut answer)?;
        Ok(())
    }

    /// What happens to pods from now on, with the time at which this process had read it.
    pub(super) fn watch_pods(&self) -> Result<Watch> {
        let reader = self.request("GET", &format!("{PODS}?watch=true"), None)?;
        let (send, seen) = mpsc::channel();
        std::thread::spawn(move || {
            for line in reader.lines().map_while(Result::ok) {
                let at = Instant::now();
                let Ok(event) = serde_json::from_str(&line) else { continue };
                if send.send((at, event)).is_err() {
                    return;
                }
            }
        });
        Ok(Watch { seen })
    }

    pub(super) fn create(&self, pod: &Value) -> Result<()> {
        self.call("POST", PODS, Some(pod))
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(super) struct Watch {
    seen: mpsc::Receiver<(Instant, Value)>,
}

impl Watch {
    /// Waits until each of the pods was seen as wanted, and says when the last one was.
    pub(super) fn until(&self, mut names: BTreeSet<String>, wanted: fn(&Value) -> bool) -> Result<Instant> {
        let mut last = Instant::now();
        while !names.is_empty() {
            let (at, event) = self.seen.recv_timeout(PATIENCE).with_context(|| format!("{} pods do not come along", names.len()))?;
            let name = event["object"]["metadata"]["name"].as_str().unwrap_or_default();
            if wanted(&event) && names.remove(name) {
                last = at;
            }
        }
        Ok(last)
    }
}

pub(super) fn is_running(event: &Value) -> bool {
    event["object"]["status"]["containerStatuses"][0]["state"]["running"].is_object()
}

fn is_gone(event: &Value) -> bool {
    event["type"] == "DELETED"
}

fn pod(name: &str) -> Value {
    let container = json!({"name": "app", "image": "tapp:1", "imagePullPolicy": "Never", "command": ["tapp", "run"]});
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"containers": [container]}})
}

pub(super) fn names(prefix: &str, count: usize) -> BTreeSet<String> {
    (0..count).map(|number| format!("{prefix}-{number}")).collect()
}

fn one_by_one(daemon: &Daemon<'_>, rounds: usize, report: &mut Report) -> Result<()> {
    let watch = daemon.watch_pods()?;
    let (mut running, mut gone) = (Vec::new(), Vec::new());
    for name in names("one", rounds) {
        let begun = Instant::now();
        daemon.create(&pod(&name))?;
        running.push(watch.until(BTreeSet::from([name.clone()]), is_running)?.duration_since(begun));
        let begun = Instant::now();
        daemon.call("DELETE", &format!("{PODS}/{name}"), None)?;
        gone.push(watch.until(BTreeSet::from([name]), is_gone)?.duration_since(begun));
    }
    report.figure("API: create to Running, one after the other", "usher serve", &mut running);
    report.figure("API: delete to gone (its process ends on TERM)", "usher serve", &mut gone);
    for (what, times, max, goal) in
        [("create to Running", &mut running, RUNNING_MAX, "60 ms"), ("delete to gone", &mut gone, GONE_MAX, "60 ms")]
    {
        let median = median(times);
        report.goal(format!("API: {what}, median of {rounds}: {:.1} ms", median.as_secs_f64() * 1e3), median <= max, goal);
    }
    Ok(())
}

fn crowd(daemon: &Daemon<'_>, count: usize, within: Duration, report: &mut Report) -> Result<()> {
    let watch = daemon.watch_pods()?;
    let names = names("crowd", count);
    let begun = Instant::now();
    for name in &names {
        daemon.create(&pod(name))?;
    }
    let took = watch.until(names.clone(), is_running)?.duration_since(begun);
    report.figure(&format!("API: {count} created at once, until all run"), "usher serve", &mut [took]);
    let goal = if count == CROWDS[0].0 { "2 s" } else { "8 s" };
    report.goal(format!("API: {count} created at once, until all run: {:.2} s", took.as_secs_f64()), took <= within, goal);
    let begun = Instant::now();
    daemon.call("DELETE", PODS, None)?;
    let took = watch.until(names, is_gone)?.duration_since(begun);
    report.figure(&format!("API: {count} deleted at once, until all are gone"), "usher serve", &mut [took]);
    Ok(())
}

/// From one change until each of [`WATCHERS`] has read it.
fn fan_out(daemon: &Daemon<'_>, report: &mut Report) -> Result<()> {
    daemon.call(
        "POST",
        MAPS,
        Some(&json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "news"}, "data": {"no": "0"}})),
    )?;
    let (send, seen) = mpsc::channel();
    for _ in 0..WATCHERS {
        let mut reader = daemon.request("GET", &format!("{MAPS}?watch=true&fieldSelector=metadata.name%3Dnews"), None)?;
        let send = send.clone();
        std::thread::Builder::new().stack_size(64 << 10).spawn(move || {
            let mut line = String::new();
            while reader.read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
                if line.contains("\"no\":\"1\"") {
                    let _ = send.send(Instant::now());
                    return;
                }
                line.clear();
            }
        })?;
    }
    let begun = Instant::now();
    daemon.call("PATCH", &format!("{MAPS}/news"), Some(&json!({"data": {"no": "1"}})))?;
    let mut times = Vec::new();
    for _ in 0..WATCHERS {
        times.push(seen.recv_timeout(PATIENCE).context("a watcher missed a change")?.saturating_duration_since(begun));
    }
    report.figure(&format!("API: one change seen by {WATCHERS} watchers"), "usher serve", &mut times);
    Ok(())
}

/// What a daemon costs whose pods do nothing, and how long a new one takes to take them up.
fn rest(bench: &Bench, report: &mut Report) -> Result<()> {
    let daemon = Daemon::start(bench)?;
    let watch = daemon.watch_pods()?;
    let all: Vec<String> = (0..POPULATIONS[POPULATIONS.len() - 1]).map(|number| format!("rest-{number}")).collect();
    let mut pods = 0;
    for population in POPULATIONS {
        let more = all[pods..population].iter().cloned().collect::<BTreeSet<_>>();
        for name in &more {
            daemon.create(&pod(name))?;
        }
        watch.until(more, is_running)?;
        pods = population;
        let pid = daemon.pid();
        // What the start left to do is no rest.
        let mut before = processor_time(pid)?;
        let core = loop {
            std::thread::sleep(REST);
            let now = processor_time(pid)?;
            let share = now.saturating_sub(before).as_secs_f64() / REST.as_secs_f64();
            if share < 0.1 {
                break share;
            }
            before = now;
        };
        let memory = private_kib(pid)?;
        let text = format!("a daemon at rest with {population} pods: {memory} KiB of private memory, {:.2}% of a core", core * 100.0);
        if population == RESTING_PODS {
            report.goal(text, memory <= RESTING_KIB_MAX && core <= RESTING_CORE_MAX, "60 MiB, 1%");
        } else {
            println!("{text}");
        }
    }
    drop(daemon);
    let daemon = Daemon::start(bench)?;
    report.figure(&format!("API: a new daemon with {pods} pods to adopt, until it serves"), "usher serve", &mut [daemon.ready_after]);
    Ok(())
}

/// Processor time that a process has used, in the kernel and outside; also that of its threads that have ended.
pub(super) fn processor_time(pid: u32) -> Result<Duration> {
    time_in_stat(&fs::read_to_string(format!("/proc/{pid}/stat"))?)
}

/// User and system time, as the `stat` file of a process or thread tells it.
pub(super) fn time_in_stat(text: &str) -> Result<Duration> {
    let fields: Vec<&str> = text.rsplit_once(')').context("a process has a name")?.1.split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    Ok(Duration::from_millis(ticks * 1_000 / TICKS_PER_SEC))
}
