//! Probes: what a daemon costs that probes [`PODS`] pods three times a second each, and how late its probes are.

use std::io::Read as _;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::served::{Daemon, is_running, names, processor_time};
use super::{Bench, Report};

/// Pods, each with three probes at a period of one second.
const PODS: usize = 100;

/// How long they are watched.
const WATCHED: Duration = Duration::from_secs(30);

/// What the goals say: the part of a core, and the bucket of the daemon's own histogram (`usher_probe_lateness_seconds`) in which
/// every attempt has to be.
const CORE_MAX: f64 = 0.03;
const LATENESS_MAX: &str = "0.1";

pub(super) fn measure(bench: &Bench, report: &mut Report) -> Result<()> {
    let daemon = Daemon::start(bench)?;
    let watch = daemon.watch_pods()?;
    let pods = names("probed", PODS);
    for name in &pods {
        daemon.create(&pod(name))?;
    }
    watch.until(pods, is_running)?;
    // What the start left to do is not what is measured.
    std::thread::sleep(WATCHED / 3);
    let pid = daemon.pid();
    let (begun, before) = (processor_time(pid)?, Attempts::so_far(&daemon)?);
    std::thread::sleep(WATCHED);
    let (used, after) = (processor_time(pid)?.saturating_sub(begun), Attempts::so_far(&daemon)?);
    let core = used.as_secs_f64() / WATCHED.as_secs_f64();
    let (made, late) = (after.all - before.all, (after.all - after.in_time) - (before.all - before.in_time));
    ensure!(made as usize >= PODS, "{made} attempts of probes in {} s", WATCHED.as_secs());
    let rate = made as f64 / WATCHED.as_secs_f64();
    let text = format!("{PODS} pods with three probes a second, {rate:.0} attempts a second: {:.2}% of a core", core * 100.0);
    report.goal(text, core < CORE_MAX, "under 3%");
    report.goal(format!("probes late by more than 100 ms: {late} of {made}"), late == 0, "none");
    Ok(())
}

/// Attempts of probes that the daemon has counted.
struct Attempts {
    all: u64,
    in_time: u64,
}

impl Attempts {
    fn so_far(daemon: &Daemon<'_>) -> Result<Self> {
        let mut text = String::new();
        daemon.request("GET", "/metrics", None)?.read_to_string(&mut text)?;
        let sum = |name: &str, label: &str| -> Result<u64> {
            let lines = text.lines().filter(|line| line.starts_with(name) && line.contains(label));
            let counts = lines.filter_map(|line| line.split_whitespace().last()?.parse::<u64>().ok());
            counts.reduce(|a, b| a + b).with_context(|| format!("the daemon tells no {name}"))
        };
        let all = sum("usher_probe_lateness_seconds_count", "")?;
        Ok(Self { all, in_time: sum("usher_probe_lateness_seconds_bucket", &format!("le=\"{LATENESS_MAX}\""))? })
    }
}

fn pod(name: &str) -> Value {
    let http = json!({"httpGet": {"port": 8080}, "periodSeconds": 1});
    let app = json!({
        "name": "app", "image": "tapp:1", "imagePullPolicy": "Never", "command": ["tapp", "run", "--http", "8080"],
        "livenessProbe": http, "readinessProbe": http,
    });
    let beside = json!({
        "name": "beside", "image": "tapp:1", "imagePullPolicy": "Never", "command": ["tapp", "run"],
        "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1},
    });
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"containers": [app, beside]}})
}
