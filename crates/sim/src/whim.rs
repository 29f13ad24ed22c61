//! A world by chance: every duration and every outcome is drawn, each from a stream of its own name.

use std::collections::BTreeMap;
use std::time::Duration;

use lifecycle::{Handler, Hook, HookOutcome, ImageInspection, ProbeKind, ProbeOutcome, Resources, Room};

use crate::chance::Chance;
use crate::nature::{Ending, HookRun, Life, Nature, OnStopSignal, Timed, Trouble};
use crate::plan::{Pace, Plan, Temper};
use crate::world::image_ref;

/// SIGTERM's number.
const SIGTERM: i32 = 15;

/// The nature of a planned world.
#[derive(Debug)]
pub struct Whim {
    plan: Plan,
    /// How often each stream was asked for.
    counts: BTreeMap<String, u64>,
}

impl Whim {
    /// The world of a plan.
    pub const fn new(plan: Plan) -> Self {
        Self { plan, counts: BTreeMap::new() }
    }

    /// The next stream of a name.
    fn chance(&mut self, name: String) -> Chance {
        let count = self.counts.entry(name.clone()).or_default();
        *count += 1;
        Chance::of(self.plan.seed, &name, *count)
    }

    fn temper(&self, container: &str) -> Temper {
        self.plan.tempers.get(container).copied().unwrap_or(Temper {
            ends_percent: 0,
            ends_well_percent: 0,
            ignores_signal_percent: 0,
            hook_hangs_percent: 0,
            hook_fails_percent: 0,
            probe_fails_percent: 0,
        })
    }

    fn is_trouble(&self, chance: &mut Chance) -> bool {
        chance.percent(self.plan.trouble_percent)
    }
}

/// What a step of the runtime takes: mostly little, sometimes nothing, rarely long.
fn step(chance: &mut Chance) -> Duration {
    match chance.below(20) {
        0..=5 => Duration::ZERO,
        6..=17 => chance.millis(1, 400),
        18 => chance.millis(400, 5_000),
        _ => chance.millis(5_000, 40_000),
    }
}

/// What news take.
const fn news(chance: &mut Chance) -> Duration {
    if chance.percent(40) { Duration::ZERO } else { chance.millis(0, 60) }
}

fn ending(chance: &mut Chance, temper: Temper) -> Ending {
    if chance.percent(temper.ends_well_percent) {
        return Ending::exit(0);
    }
    chance.one_of(&[Ending::exit(1), Ending::exit(42), Ending::by_signal(11), Ending::out_of_memory()])
}

fn trouble(reason: &str, message: &str) -> Trouble {
    Trouble { reason: reason.to_owned(), message: message.to_owned() }
}

impl Nature for Whim {
    fn create_sandbox(&mut self, _attempt: u32) -> Timed<Result<Vec<String>, Trouble>> {
        let mut chance = self.chance("sandbox".to_owned());
        let after = step(&mut chance);
        if self.is_trouble(&mut chance) {
            return Timed::after(after, Err(trouble("FailedCreatePodSandBox", "Failed to create pod sandbox: no network")));
        }
        Timed::after(after, Ok(vec!["10.0.0.1".to_owned()]))
    }

    fn stop_sandbox(&mut self) -> Duration {
        step(&mut self.chance("stop sandbox".to_owned()))
    }

    fn clean_up(&mut self) -> Duration {
        step(&mut self.chance("clean up".to_owned()))
    }

    fn inspect_image(&mut self, container: &str, image: &str) -> Timed<ImageInspection> {
        let mut chance = self.chance(format!("inspect {container}"));
        let after = if chance.percent(70) { Duration::ZERO } else { step(&mut chance) };
        let outcome = if self.is_trouble(&mut chance) {
            chance.one_of(&[
                ImageInspection::Absent,
                ImageInspection::Absent,
                ImageInspection::InvalidName { message: "bad name".to_owned() },
                ImageInspection::Failed { message: "disk error".to_owned() },
            ])
        } else {
            ImageInspection::Present { image_ref: image_ref(image) }
        };
        Timed::after(after, outcome)
    }

    fn pull_image(&mut self, container: &str, _image: &str) -> Timed<Result<u64, Trouble>> {
        let mut chance = self.chance(format!("pull {container}"));
        let after = if chance.percent(50) { step(&mut chance) } else { self.plan.pace.draw(&mut chance) };
        if self.is_trouble(&mut chance) {
            return Timed::after(after, Err(trouble("ErrImagePull", "not found")));
        }
        Timed::after(after, Ok(1000))
    }

    fn create_container(&mut self, container: &str, _restart_count: u32) -> Timed<Result<(), Trouble>> {
        let mut chance = self.chance(format!("create {container}"));
        let after = step(&mut chance);
        if self.is_trouble(&mut chance) {
            return Timed::after(after, Err(trouble("CreateContainerConfigError", "secret not found")));
        }
        Timed::after(after, Ok(()))
    }

    fn start_container(&mut self, container: &str, _restart_count: u32) -> Timed<Result<(), String>> {
        let mut chance = self.chance(format!("start {container}"));
        let after = step(&mut chance);
        if self.is_trouble(&mut chance) {
            return Timed::after(after, Err("no such file".to_owned()));
        }
        Timed::after(after, Ok(()))
    }

    fn start_told_after(&mut self, container: &str) -> Duration {
        news(&mut self.chance(format!("started {container}")))
    }

    fn life(&mut self, container: &str, _restart_count: u32) -> Life {
        let mut chance = self.chance(format!("life {container}"));
        let temper = self.temper(container);
        let ends = chance.percent(temper.ends_percent).then(|| {
            let after = self.plan.pace.draw(&mut chance);
            Timed::after(after, ending(&mut chance, temper))
        });
        let on_stop_signal = if chance.percent(temper.ignores_signal_percent) {
            OnStopSignal::Ignores
        } else if chance.percent(30) {
            OnStopSignal::Ends(Timed::now(Ending::by_signal(SIGTERM)))
        } else {
            let after = if chance.percent(50) { news(&mut chance) } else { chance.millis(0, 15_000) };
            OnStopSignal::Ends(Timed::after(after, ending(&mut chance, temper)))
        };
        let dies_after = if chance.percent(95) { news(&mut chance) } else { chance.millis(0, 25_000) };
        Life { ends, on_stop_signal, dies_after, told_after: news(&mut chance) }
    }

    fn hook(&mut self, container: &str, _restart_count: u32, hook: Hook, handler: &Handler) -> HookRun {
        let mut chance = self.chance(format!("{hook} {container}"));
        let temper = self.temper(container);
        let told_after = news(&mut chance);
        let hangs = chance.percent(temper.hook_hangs_percent);
        let fails = chance.percent(temper.hook_fails_percent);
        let takes = if chance.percent(50) { news(&mut chance) } else { self.plan.pace.draw(&mut chance).min(Duration::from_secs(90)) };
        let failed = |error: &str| HookOutcome::FailedToRun { error: error.to_owned() };
        let (takes, outcome) = match handler {
            Handler::Sleep { secs } => (Some(Duration::from_secs(*secs)), HookOutcome::Succeeded),
            Handler::TcpSocket => (Some(Duration::ZERO), failed("invalid handler: tcpSocket")),
            Handler::Exec { .. } | Handler::HttpGet(_) if hangs => (None, HookOutcome::Succeeded),
            Handler::Exec { .. } | Handler::HttpGet(_) if !fails => (Some(takes), HookOutcome::Succeeded),
            Handler::Exec { .. } => {
                let exited = HookOutcome::ExitedNonZero { code: 3, stdout: "out".to_owned(), stderr: "err".to_owned() };
                (Some(takes), chance.one_of(&[exited, failed("no such command"), HookOutcome::TimedOut { limit: takes }]))
            }
            Handler::HttpGet(_) => (Some(takes), HookOutcome::HttpFailed { error: "connection refused".to_owned() }),
        };
        let ends = hook == Hook::PreStop && matches!(handler, Handler::Exec { .. }) && chance.percent(15);
        let ends_container = ends.then(|| Timed::after(chance.millis(0, 5_000), Ending::exit(0)));
        HookRun { takes, outcome, ends_container, told_after }
    }

    fn probe(&mut self, container: &str, _restart_count: u32, probe: ProbeKind, _age: Duration) -> Timed<ProbeOutcome> {
        let mut chance = self.chance(format!("{probe} {container}"));
        let temper = self.temper(container);
        let after = if chance.percent(90) { news(&mut chance) } else { chance.millis(0, 4_000) };
        let outcome = if chance.percent(temper.probe_fails_percent) {
            chance.one_of(&[
                ProbeOutcome::Failure { output: "bad".to_owned() },
                ProbeOutcome::Failure { output: "bad".to_owned() },
                ProbeOutcome::Failure { output: "bad".to_owned() },
                ProbeOutcome::Error { error: "no exec".to_owned() },
            ])
        } else {
            chance.one_of(&[ProbeOutcome::Success, ProbeOutcome::Success, ProbeOutcome::Warning { output: "elsewhere".to_owned() }])
        };
        Timed::after(after, outcome)
    }

    fn stop_signal(&mut self, container: &str) -> Timed<Result<(), String>> {
        let mut chance = self.chance(format!("signal {container}"));
        let fails = self.is_trouble(&mut chance);
        Timed::after(news(&mut chance), if fails { Err("runtime is away".to_owned()) } else { Ok(()) })
    }

    fn kill_signal(&mut self, container: &str) -> Timed<Result<(), String>> {
        let mut chance = self.chance(format!("kill {container}"));
        let fails = self.is_trouble(&mut chance);
        Timed::after(news(&mut chance), if fails { Err("runtime is away".to_owned()) } else { Ok(()) })
    }

    fn room(&mut self) -> Timed<Room> {
        let mut chance = self.chance("room".to_owned());
        let after = step(&mut chance);
        let (cpu_millis, memory_bytes) = (chance.one_of(&[500, 1000, 4000]), chance.one_of(&[8 << 20, 64 << 20]));
        let used = |chance: &mut Chance, all: u64| if chance.percent(60) { 0 } else { chance.below(all) };
        let (used_cpu_millis, used_memory_bytes) = (used(&mut chance, cpu_millis), used(&mut chance, memory_bytes));
        Timed::after(after, Room { cpu_millis, memory_bytes, used_cpu_millis, used_memory_bytes })
    }

    fn resize(&mut self, container: Option<&str>) -> Timed<Result<(), String>> {
        let mut chance = self.chance(format!("resize {}", container.unwrap_or("pod")));
        let fails = chance.percent(10) || self.is_trouble(&mut chance);
        Timed::after(news(&mut chance), if fails { Err("device or resource busy".to_owned()) } else { Ok(()) })
    }

    fn memory_check(&mut self, containers: &BTreeMap<String, Resources>) -> Timed<Result<(), String>> {
        let mut chance = self.chance(format!("memory {}", containers.keys().cloned().collect::<Vec<_>>().join(" ")));
        let fails = chance.percent(20) || self.is_trouble(&mut chance);
        Timed::after(news(&mut chance), if fails { Err("cannot decrease memory limits".to_owned()) } else { Ok(()) })
    }

    fn pull_cancelled_after(&mut self) -> Duration {
        news(&mut self.chance("cancel".to_owned()))
    }

    fn repeats_answer(&mut self) -> Option<Duration> {
        let percent = self.plan.repeat_percent;
        if percent == 0 {
            return None;
        }
        let mut chance = self.chance("repeat".to_owned());
        chance.percent(percent).then(|| if self.plan.pace == Pace::Seconds { chance.millis(0, 9_000) } else { chance.millis(0, 90_000) })
    }

    fn world_goes_first(&mut self) -> bool {
        self.chance("tie".to_owned()).percent(50)
    }
}
