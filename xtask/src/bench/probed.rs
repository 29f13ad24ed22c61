//! Probes: what a daemon costs that probes [`PODS`] pods three times a second each, and how late its probes are.
//!
//! Beside it stands what the same connections take of a core when a loop makes them that does nothing else: the kernel's share, which
//! no engine can do without as long as each attempt is a connection of its own, as Kubernetes has it.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::served::{Daemon, is_running, names, processor_time, time_in_stat};
use super::{Bench, Report};

/// Pods, each with three probes at a period of one second.
const PODS: usize = 100;

/// How long they are watched.
const WATCHED: Duration = Duration::from_secs(30);

/// Of the probes of each pod, those that ask for a page; the third one only connects.
const PAGES: usize = 2;
const NAME: &str = "probed";
const PORT: u16 = 8080;

/// What the goals say: the part of a core, how much more than the bare connections, and the bucket of the daemon's own histogram
/// (`usher_probe_lateness_seconds`) in which every attempt has to be.
const CORE_MAX: f64 = 0.03;
const BARE_MAX: f64 = 2.0;
const LATENESS_MAX: &str = "0.1";

pub(super) fn measure(bench: &Bench, report: &mut Report) -> Result<()> {
    let daemon = Daemon::start(bench)?;
    let watch = daemon.watch_pods()?;
    let pods = names(NAME, PODS);
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
    let bare = bare(&addresses(&daemon)?)?;
    let (share, times) = (bare * 100.0, core / bare);
    let text = format!("the same connections made by a bare loop: {share:.2}% of a core; the daemon takes {times:.2} times that");
    report.goal(text, times < BARE_MAX, "under 2 times");
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

/// Where the probed pods answer; there are others.
fn addresses(daemon: &Daemon<'_>) -> Result<Vec<SocketAddr>> {
    let mut text = String::new();
    daemon.request("GET", "/api/v1/namespaces/default/pods", None)?.read_to_string(&mut text)?;
    let list: Value = serde_json::from_str(&text)?;
    let ip = |pod: &Value| -> Result<SocketAddr> {
        let ip = pod["status"]["podIP"].as_str().context("a pod that runs has an address")?;
        Ok(SocketAddr::new(ip.parse()?, PORT))
    };
    let is_probed = |pod: &&Value| pod["metadata"]["name"].as_str().is_some_and(|name| name.starts_with(NAME));
    list["items"].as_array().context("a list has items")?.iter().filter(is_probed).map(ip).collect()
}

/// The part of a core that the connections of all probes take, made one after the other and spread over each second.
fn bare(addresses: &[SocketAddr]) -> Result<f64> {
    let rounds = (WATCHED / 3).as_secs();
    let of_this_thread = || time_in_stat(&fs::read_to_string("/proc/thread-self/stat")?);
    let before = of_this_thread()?;
    for _ in 0..rounds {
        let begun = Instant::now();
        for (number, address) in addresses.iter().enumerate() {
            let due = begun + Duration::from_secs(1) / PODS as u32 * number as u32;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            for page in 0..=PAGES {
                let mut stream = TcpStream::connect(address)?;
                if page < PAGES {
                    stream.write_all(b"GET / HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")?;
                    let mut answer = Vec::new();
                    stream.read_to_end(&mut answer)?;
                    ensure!(answer.starts_with(b"HTTP/1.1 200"), "a pod answers otherwise than its probes have it");
                }
            }
        }
        std::thread::sleep((begun + Duration::from_secs(1)).saturating_duration_since(Instant::now()));
    }
    Ok((of_this_thread()? - before).as_secs_f64() / rounds as f64)
}

fn pod(name: &str) -> Value {
    let http = json!({"httpGet": {"port": PORT}, "periodSeconds": 1});
    let app = json!({
        "name": "app", "image": "tapp:1", "imagePullPolicy": "Never", "command": ["tapp", "run", "--http", PORT.to_string()],
        "livenessProbe": http, "readinessProbe": http,
    });
    let beside = json!({
        "name": "beside", "image": "tapp:1", "imagePullPolicy": "Never", "command": ["tapp", "run"],
        "readinessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 1},
    });
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"containers": [app, beside]}})
}
