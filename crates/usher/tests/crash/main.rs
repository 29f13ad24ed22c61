//! The daemon, or the shims, are killed at any instant while pods come and go, hooks and probes run and sessions are open.
//!
//! A short run is a test like any other. `cargo xtask crash` makes long ones: `USHER_CRASH_KILLS` and `USHER_CRASH_SEED` say how
//! long and which; a seed decides what is asked of the API, and for how long each daemon lives.

mod api;
mod daemon;
mod ledger;
mod load;
#[path = "../support/mod.rs"]
mod support;
mod workload;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use sim::chance::Chance;

use self::api::{Api, CONFIG_MAPS, EVENTS, Outcome, PODS};
use self::daemon::Daemon;
use self::ledger::Ledger;
use self::load::Load;
use self::support::{Machine, PATIENCE};

/// Kills where nobody says how many.
const KILLS: u64 = 10;
/// How long a daemon lives at most once it serves.
const LIFE_MAX_MS: u64 = 2500;
/// How long one lives at most that is killed before it serves.
const BIRTH_MAX_MS: u64 = 1200;
/// How long everything may take to settle at the end: back-offs of ten seconds are among it.
const SETTLE: Duration = Duration::from_secs(120);

#[test]
fn a_daemon_killed_at_any_instant_loses_nothing_and_restarts_nothing() {
    let Some(mut run) = Run::new("a_daemon_killed_at_any_instant_loses_nothing_and_restarts_nothing") else { return };
    let mut births = Vec::new();
    for kill in 1..=run.kills {
        let daemon = Daemon::start(&run.machine);
        if run.chance.percent(25) {
            daemon.live_for(run.chance.millis(0, BIRTH_MAX_MS));
            daemon.kill();
            continue;
        }
        births.push(daemon.wait_ready());
        run.look(&format!("before kill {kill}"));
        run.wait_sessions_over();
        run.load.go_on();
        daemon.live_for(run.chance.millis(0, LIFE_MAX_MS));
        daemon.kill();
        run.load.wait_quiet();
    }
    let daemon = Daemon::start(&run.machine);
    births.push(daemon.wait_ready());
    run.look("after the last kill");
    run.wait_sessions_over();
    run.settle(&daemon);
    run.check_events();
    run.end(daemon);
    run.report("kills of the daemon", &births);
}

#[test]
fn a_pod_whose_shim_is_killed_is_told_as_lost_and_goes_on_by_its_policy() {
    let Some(mut run) = Run::new("a_pod_whose_shim_is_killed_is_told_as_lost_and_goes_on_by_its_policy") else { return };
    let daemon = Daemon::start(&run.machine);
    daemon.wait_ready();
    let mut victims = BTreeSet::new();
    let mut killed = 0;
    while killed < run.kills {
        run.load.go_on();
        daemon.live_for(run.chance.millis(0, LIFE_MAX_MS));
        if let Some(uid) = run.kill_a_shim(&victims) {
            killed += 1;
            victims.insert(uid);
        }
        run.load.wait_quiet();
        run.mark_lost(&victims);
        run.look(&format!("after kill {killed}"));
    }
    run.wait_told(&victims);
    run.settle(&daemon);
    run.check_told(&victims);
    run.end(daemon);
    run.report("kills of shims", &[]);
}

/// A machine under load, and what is to be killed on it.
struct Run {
    machine: Machine,
    api: Api,
    load: Load,
    session: String,
    chance: Chance,
    seed: u64,
    kills: u64,
    begun: Instant,
}

impl Run {
    fn new(test: &str) -> Option<Self> {
        let machine = Machine::new(test)?;
        let number =
            |name: &str| std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")));
        let kills = number("USHER_CRASH_KILLS").unwrap_or(KILLS);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |time| time.as_secs());
        let seed = number("USHER_CRASH_SEED").unwrap_or(now);
        say(&format!(
            "seed {seed}: again by USHER_CRASH_SEED={seed} USHER_CRASH_KILLS={kills}, or cargo xtask crash --seed {seed} --kills {kills}"
        ));
        let api = Api::new(&machine.root().join("api.sock"));
        // Nobody else on the machine sleeps for so long.
        let session = format!("sleep {}", 1_000_000_000 + u64::from(std::process::id()));
        let load = Load::start(api.clone(), machine.path().join("evidence"), &session, seed);
        Some(Self { machine, api, load, session, chance: Chance::of(seed, "kills", 0), seed, kills, begun: Instant::now() })
    }

    fn get(&self, path: &str) -> Value {
        match self.api.get(path) {
            Outcome::Answered(200, body) => body,
            other @ (Outcome::Answered(..) | Outcome::NotSent | Outcome::Unknown) => panic!("{path} cannot be read: {other:?}"),
        }
    }

    /// Compares what is acknowledged with what is there.
    #[track_caller]
    fn look(&self, when: &str) {
        let (pods, config_maps) = (self.get(PODS), self.get(CONFIG_MAPS));
        let mut ledger = self.load.ledger();
        let wrong: Vec<String> = ledger.look(&pods, &config_maps).into_iter().chain(ledger.examine_so_far()).collect();
        drop(ledger);
        assert!(wrong.is_empty(), "{when}, seed {}: {wrong:#?}\n{}", self.seed, self.journals_of(&wrong));
    }

    /// The journals of the pods that are named in these texts.
    fn journals_of(&self, wrong: &[String]) -> String {
        let ledger = self.load.ledger();
        let is_named = |name: &str| wrong.iter().any(|text| text.starts_with(&format!("pod {name} ")));
        let named = ledger.pods.iter().filter(|(name, _)| is_named(name));
        named.filter_map(|(_, pod)| pod.uid.as_deref()).map(|uid| self.journals(uid)).collect()
    }

    /// The journals of the pod with this UID.
    fn journals(&self, uid: &str) -> String {
        let entries = fs::read_dir(self.machine.root().join("journals")).into_iter().flatten().flatten();
        let of_pod = entries.filter(|entry| entry.file_name().to_string_lossy().contains(uid));
        of_pod.filter_map(|entry| fs::read_to_string(entry.path()).ok()).collect()
    }

    /// The commands of sessions end with the daemon through which they were begun.
    fn wait_sessions_over(&self) {
        let deadline = Instant::now() + PATIENCE;
        let wanted = self.session.replace(' ', "\0");
        loop {
            let entries = fs::read_dir("/proc").expect("proc").flatten();
            let runs = entries.filter(|entry| fs::read_to_string(entry.path().join("cmdline")).is_ok_and(|line| line.contains(&wanted)));
            let count = runs.count();
            if count == 0 {
                return;
            }
            assert!(Instant::now() < deadline, "{count} commands of sessions go on without a daemon, seed {}", self.seed);
            std::thread::yield_now();
        }
    }

    /// Waits until every pod is what its specification demands, and those that were deleted are gone.
    #[track_caller]
    fn settle(&self, daemon: &Daemon) {
        let deadline = Instant::now() + SETTLE;
        loop {
            let pods = self.get(PODS);
            let items = pods["items"].as_array().cloned().unwrap_or_default();
            let unsettled: Vec<String> = items.iter().filter_map(|pod| self.unsettled(pod)).collect();
            if unsettled.is_empty() {
                break;
            }
            assert!(Instant::now() < deadline, "seed {}: {unsettled:#?}\n{}", self.seed, daemon.complaints());
            // Each look costs the daemon something, and there is time.
            daemon.live_for(Duration::from_millis(100));
        }
        self.look("when everything has settled");
        self.examine();
    }

    /// What a pod still has to become.
    fn unsettled(&self, pod: &Value) -> Option<String> {
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        if !pod["metadata"]["deletionTimestamp"].is_null() {
            return Some(format!("{name} is not gone yet: {}", pod["status"]));
        }
        let ledger = self.load.ledger();
        let known = ledger.pods.get(name)?;
        let reached = if known.is_lost { known.kind.is_reached_after_loss(pod) } else { known.kind.is_reached(pod) };
        reached.err().map(|why| format!("{name} ({:?}, lost: {}): {why}: {}", known.kind, known.is_lost, pod["status"]))
    }

    #[track_caller]
    fn examine(&self) {
        let wrong = self.load.ledger().examine_settled();
        assert!(wrong.is_empty(), "seed {}: {wrong:#?}\n{}", self.seed, self.journals_of(&wrong));
    }

    /// What happened while no daemon lived is told like everything else.
    #[track_caller]
    fn check_events(&self) {
        let events = self.get(EVENTS);
        let events = events["items"].as_array().cloned().unwrap_or_default();
        let ledger = self.load.ledger();
        for (name, pod) in ledger.pods.iter().filter(|(_, pod)| pod.shall_live()) {
            for reason in ["Created", "Started"] {
                let is_told = |event: &Value| event["involvedObject"]["uid"].as_str() == pod.uid.as_deref() && event["reason"] == reason;
                assert!(events.iter().any(is_told), "no event tells that {name} ({:?}) was {reason}, seed {}", pod.kind, self.seed);
            }
        }
    }

    /// Deletes all that is left, has the daemon end, and looks for what stays behind.
    fn end(&mut self, daemon: Daemon) {
        self.load.end();
        for (name, pod) in self.load.ledger().pods.iter_mut().filter(|(_, pod)| pod.shall_live()) {
            let outcome = self.api.delete(&format!("{PODS}/{name}"), None);
            assert!(matches!(outcome, Outcome::Answered(200, _)), "{name} cannot be deleted: {outcome:?}");
            pod.deleted = ledger::Fact::Yes;
        }
        self.settle(&daemon);
        let complaints = daemon.complaints();
        // The folder of a pod that ends goes while others still ask things of the pod.
        assert!(!complaints.contains("cannot save the state"), "seed {}: {complaints}", self.seed);
        daemon.end();
        let uids: Vec<String> = self.load.ledger().pods.values().filter_map(|pod| pod.uid.clone()).collect();
        let mut left = self.machine.left_behind();
        left.extend(groups_of(&uids));
        left.extend(interfaces());
        assert!(left.is_empty(), "seed {}: left behind: {left:#?}", self.seed);
    }

    /// Kills the shim of some pod that has not lost one yet, so that back-offs stay short; the pod's uid.
    fn kill_a_shim(&mut self, lost: &BTreeSet<String>) -> Option<String> {
        let shims: Vec<_> = self.machine.shims().into_iter().filter_map(|pid| Some((pid, uid_of(pid)?))).collect();
        let candidates: Vec<_> = shims.into_iter().filter(|(_, uid)| !lost.contains(uid)).collect();
        let (pid, uid) = candidates.get(usize::try_from(self.chance.below(candidates.len() as u64)).unwrap_or(0))?;
        kill_process(Pid::from_raw(*pid)?, Signal::KILL).ok()?;
        Some(uid.clone())
    }

    fn mark_lost(&self, victims: &BTreeSet<String>) {
        for pod in self.load.ledger().pods.values_mut() {
            pod.is_lost |= pod.uid.as_ref().is_some_and(|uid| victims.contains(uid));
        }
    }

    /// Waits until the engine has noticed the last loss: what the API tells until then looks settled.
    fn wait_told(&self, victims: &BTreeSet<String>) {
        let deadline = Instant::now() + PATIENCE;
        let lives = |uid: &String| self.load.ledger().pods.values().any(|pod| pod.shall_live() && pod.uid.as_ref() == Some(uid));
        let is_lost = |uid: &str| tells_loss(&self.journals(uid));
        while victims.iter().any(|uid| lives(uid) && !is_lost(uid)) && Instant::now() < deadline {
            std::thread::yield_now();
        }
    }

    /// The journal of each pod whose shim was killed says so, and the API.
    #[track_caller]
    fn check_told(&self, victims: &BTreeSet<String>) {
        let [pods, events] = [PODS, EVENTS].map(|path| self.get(path)["items"].as_array().cloned().unwrap_or_default());
        let ledger = self.load.ledger();
        for (name, known) in ledger.pods.iter().filter(|(_, pod)| pod.shall_live()) {
            let Some(uid) = known.uid.as_ref().filter(|uid| victims.contains(*uid)) else { continue };
            let text = self.journals(uid);
            assert!(tells_loss(&text), "{name}, seed {}: {text}", self.seed);
            let pod = pods.iter().find(|pod| pod["metadata"]["uid"] == **uid).expect("it shall live");
            let of_pod = events.iter().filter(|event| event["involvedObject"]["uid"] == **uid);
            let reasons: Vec<_> = of_pod.filter_map(|event| event["reason"].as_str()).collect();
            if let Err(wrong) = known.kind.is_told_as_lost(pod, &reasons) {
                panic!("{name} ({:?}), seed {}: {wrong}\n{text}", known.kind, self.seed);
            }
        }
    }

    fn report(&self, what: &str, births: &[Duration]) {
        let ledger: &Ledger = &self.load.ledger();
        let mut births: Vec<_> = births.iter().map(Duration::as_millis).collect();
        births.sort_unstable();
        let began = ledger.pods.values().map(|pod| workload::Evidence::read(&pod.evidence).begun("main")).sum::<usize>();
        say(&format!(
            "{} {what}, seed {}: {} requests acknowledged, {} pods, {began} containers begun, {} sessions, in {:.0} s",
            self.kills,
            self.seed,
            ledger.acknowledged,
            ledger.pods.len(),
            ledger.sessions,
            self.begun.elapsed().as_secs_f64(),
        ));
        if let (Some(median), Some(last)) = (births.get(births.len() / 2), births.last()) {
            say(&format!("start of a daemon until it serves: median {median} ms, longest {last} ms"));
        }
    }
}

/// Whether a journal tells that a sandbox was lost.
fn tells_loss(journal: &str) -> bool {
    journal.contains("SandboxLost") || journal.contains("SandboxFailed")
}

/// The pod whose shim this process is.
fn uid_of(shim: i32) -> Option<String> {
    let command = fs::read(format!("/proc/{shim}/cmdline")).ok()?;
    let command = String::from_utf8_lossy(&command).into_owned();
    command.split(['/', '\0']).skip_while(|part| *part != "pods").nth(1).map(ToOwned::to_owned)
}

/// Control groups of these pods.
fn groups_of(uids: &[String]) -> Vec<String> {
    let roots = fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten().map(|entry| entry.path().join("usher"));
    let roots: Vec<PathBuf> = roots.chain([PathBuf::from("/sys/fs/cgroup/usher")]).collect();
    let groups = uids.iter().flat_map(|uid| roots.iter().map(move |root| root.join(format!("pod{uid}"))));
    groups.filter(|group| group.exists()).map(|group| format!("control group {}", group.display())).collect()
}

/// Ends of pods' networks in this test's own one.
fn interfaces() -> Vec<String> {
    let output = std::process::Command::new("ip").args(["-o", "link", "show", "type", "veth"]).output().expect("ip runs");
    String::from_utf8_lossy(&output.stdout).lines().map(|line| format!("interface {line}")).collect()
}

#[expect(clippy::print_stdout, reason = "whoever runs this wants to know the seed")]
fn say(text: &str) {
    println!("{text}");
}
