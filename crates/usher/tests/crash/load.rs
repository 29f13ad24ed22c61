//! The load: threads that create, change and delete objects and open sessions, for as long as the daemon answers.

use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;

use serde_json::{Value, json};
use sim::chance::Chance;

use crate::api::{Api, CONFIG_MAPS, Outcome, PODS, SESSION_BEGUN};
use crate::ledger::{Fact, Ledger, Pod};
use crate::workload::Kind;

/// Threads.
const THREADS: u64 = 3;
/// Requests of one thread while one daemon lives. More would only keep the processors busy that the daemon needs.
const REQUESTS_PER_LIFE: u64 = 16;
/// Pods of one thread that are there at a time.
const PODS_MAX: usize = 5;
/// Config maps of one thread.
const CONFIG_MAPS_MAX: u64 = 4;

/// The load and all that is known of it.
pub(crate) struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    api: Api,
    evidence: PathBuf,
    /// What a session of this load runs, so that it is known among all processes.
    session: String,
    ledger: Mutex<Ledger>,
    phase: Mutex<Phase>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Phase {
    /// The life of a daemon in which requests are made; 0 before the first.
    life: u64,
    busy: u64,
    is_over: bool,
    /// A thread has failed.
    has_failed: bool,
}

impl Load {
    pub(crate) fn start(api: Api, evidence: PathBuf, session: &str, seed: u64) -> Self {
        let shared = Arc::new(Shared {
            api,
            evidence,
            session: session.to_owned(),
            ledger: Mutex::default(),
            phase: Mutex::default(),
            changed: Condvar::new(),
        });
        let threads = (0..THREADS).map(|number| {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || {
                Worker { shared, number, chance: Chance::of(seed, "load", number), made: 0, sessions: Vec::new() }.run()
            })
        });
        let threads = threads.collect();
        Self { shared, threads }
    }

    /// Lets requests be made.
    pub(crate) fn go_on(&self) {
        let mut phase = self.shared.phase.lock().expect("no thread panics while it holds this");
        phase.life += 1;
        phase.busy = THREADS;
        self.shared.changed.notify_all();
    }

    /// Waits until no request is under way.
    pub(crate) fn wait_quiet(&self) {
        let phase = self.shared.phase.lock().expect("no thread panics while it holds this");
        let phase = self.shared.changed.wait_while(phase, |phase| phase.busy > 0 && !phase.has_failed).expect("as above");
        assert!(!phase.has_failed, "a thread of the load has failed, see above");
    }

    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.shared.ledger()
    }

    /// Ends the load.
    pub(crate) fn end(&mut self) {
        self.shared.phase.lock().expect("no thread panics while it holds this").is_over = true;
        self.shared.changed.notify_all();
        for thread in self.threads.drain(..) {
            thread.join().expect("the load does not fail");
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        if let Ok(mut phase) = self.shared.phase.lock() {
            phase.is_over = true;
        }
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().expect("no thread panics while it holds this")
    }
}

/// Says that a thread is quiet, also when it fails.
struct Busy<'a>(&'a Shared);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        if let Ok(mut phase) = self.0.phase.lock() {
            phase.busy -= 1;
            phase.has_failed |= std::thread::panicking();
        }
        self.0.changed.notify_all();
    }
}

struct Worker {
    shared: Arc<Shared>,
    number: u64,
    chance: Chance,
    made: u64,
    sessions: Vec<UnixStream>,
}

/// Whether the daemon still answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Daemon {
    Answers,
    IsGone,
}

impl Worker {
    fn run(mut self) {
        let mut life = 0;
        let shared = Arc::clone(&self.shared);
        loop {
            let phase = shared.phase.lock().expect("no thread panics while it holds this");
            let phase = shared.changed.wait_while(phase, |phase| phase.life == life && !phase.is_over).expect("no thread panics");
            if phase.is_over {
                return;
            }
            life = phase.life;
            drop(phase);
            let _busy = Busy(&shared);
            // Those of the life before; their clients are the first to go where it is not the daemon.
            self.sessions.clear();
            for _ in 0..REQUESTS_PER_LIFE {
                if self.request() == Daemon::IsGone {
                    break;
                }
            }
        }
    }

    fn request(&mut self) -> Daemon {
        let living = self.living();
        match self.chance.below(100) {
            0..30 if living.len() < PODS_MAX => self.create(),
            30..42 if !living.is_empty() => self.delete(&living),
            42..60 if !living.is_empty() => self.mark(&living),
            60..80 => self.open_session(),
            _ => self.write_config_map(),
        }
    }

    /// This thread's pods that shall be there.
    fn living(&self) -> Vec<String> {
        let (ledger, prefix) = (self.shared.ledger(), format!("t{}-", self.number));
        let living = ledger.pods.iter().filter(|(name, pod)| name.starts_with(&prefix) && pod.shall_live());
        living.map(|(name, _)| name.clone()).collect()
    }

    /// Writes down what came of a request.
    fn settle(&self, outcome: Outcome, expected: u16, settle: impl FnOnce(&mut Ledger, Option<&Value>)) -> Daemon {
        if let Outcome::Answered(code, body) = &outcome {
            assert!(*code == expected || *code == 200, "the API says {code}: {body}");
        }
        let mut ledger = self.shared.ledger();
        match outcome {
            Outcome::Answered(_, body) => {
                ledger.acknowledged += 1;
                settle(&mut ledger, Some(&body));
                Daemon::Answers
            }
            Outcome::Unknown => {
                settle(&mut ledger, None);
                Daemon::IsGone
            }
            Outcome::NotSent => Daemon::IsGone,
        }
    }

    fn create(&mut self) -> Daemon {
        self.made += 1;
        let name = format!("t{}-{}", self.number, self.made);
        let kind = Kind::any(&mut self.chance);
        let evidence = self.shared.evidence.join(&name);
        let manifest = kind.manifest(&name, &evidence, &mut self.chance);
        let outcome = self.shared.api.create(PODS, &manifest);
        self.settle(outcome, 201, |ledger, body| {
            let mut pod = Pod::new(kind, evidence);
            pod.created = if body.is_some() { Fact::Yes } else { Fact::Unknown };
            pod.uid = body.and_then(|body| body["metadata"]["uid"].as_str()).map(ToOwned::to_owned);
            ledger.pods.insert(name, pod);
        })
    }

    fn delete(&mut self, living: &[String]) -> Daemon {
        let name = self.chance.one_of(living);
        let grace = self.chance.one_of(&[None, None, None, None, Some(1), Some(0)]);
        let outcome = self.shared.api.delete(&format!("{PODS}/{name}"), grace);
        self.settle(outcome, 200, |ledger, body| {
            let pod = ledger.pods.get_mut(&name).expect("it is among the living");
            pod.deleted = if body.is_some() { Fact::Yes } else { Fact::Unknown };
            pod.is_hurried = grace.is_some();
            pod.deleted_at = Some(std::time::Instant::now());
        })
    }

    fn mark(&mut self, living: &[String]) -> Daemon {
        let name = self.chance.one_of(living);
        let value = self.chance.next().to_string();
        let patch = json!({ "metadata": { "annotations": { "mark": value } } });
        let outcome = self.shared.api.merge(&format!("{PODS}/{name}"), &patch);
        self.settle(outcome, 200, |ledger, body| {
            let mark = &mut ledger.pods.get_mut(&name).expect("it is among the living").mark;
            if body.is_some() { mark.set(Some(value)) } else { mark.may_be(Some(value)) }
        })
    }

    /// A session stays open until requests are made again: mostly its daemon is killed before.
    fn open_session(&mut self) -> Daemon {
        let mut running = self.living();
        let ledger = self.shared.ledger();
        running.retain(|name| ledger.pods.get(name).is_some_and(|pod| pod.kind.is_served()));
        drop(ledger);
        if running.is_empty() {
            return Daemon::Answers;
        }
        let name = self.chance.one_of(&running);
        let script = format!("echo {SESSION_BEGUN}; exec {}", self.shared.session);
        if let Some(session) = self.shared.api.exec(&name, "main", &["sh", "-c", &script]) {
            self.sessions.push(session);
            self.shared.ledger().sessions += 1;
        }
        Daemon::Answers
    }

    fn write_config_map(&mut self) -> Daemon {
        let name = format!("t{}-{}", self.number, self.chance.below(CONFIG_MAPS_MAX));
        let path = format!("{CONFIG_MAPS}/{name}");
        let known = self.shared.ledger().config_maps.entry(name.clone()).or_default().known().cloned();
        // In doubt the next look at the API settles it.
        let Some(known) = known else { return Daemon::Answers };
        let value = self.chance.next().to_string();
        let (outcome, after) = match known {
            None => {
                let map = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name }, "data": { "value": value } });
                (self.shared.api.create(CONFIG_MAPS, &map), Some(value))
            }
            Some(_) if self.chance.percent(30) => (self.shared.api.delete(&path, None), None),
            Some(_) => (self.shared.api.merge(&path, &json!({ "data": { "value": value } })), Some(value)),
        };
        self.settle(outcome, 201, |ledger, body| {
            let register = ledger.config_maps.get_mut(&name).expect("it was made above");
            if body.is_some() { register.set(after) } else { register.may_be(after) }
        })
    }
}
