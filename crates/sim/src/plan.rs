//! From a seed to everything that a run depends on: a pod, the character of its world, and what comes from outside.
//!
//! A plan is data. What happens in the world is drawn from streams that belong to names ([`crate::chance`]), so that a part
//! can be taken out of a plan and the rest stays as it was.

use std::collections::BTreeMap;
use std::time::Duration;

use lifecycle::{
    ContainerSpec, ExitCodeOperator, Grace, Handler, HttpGet, HttpPort, ImagePullPolicy, KillPod, KillTrigger, PodSpec, ProbeHandler,
    ProbeSpec, ResizePolicy, ResizeRestart, Resources, RestartAction, RestartPolicy, RestartRule, Scheme, VolumeImage,
};

use crate::chance::Chance;
use crate::drive::Ask;
use crate::nature::Ending;

/// Everything that a run depends on.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The seed that it was made from; the world goes on drawing from it.
    pub seed: u64,
    /// The pod.
    pub pod: PodSpec,
    /// How long things take in this world.
    pub pace: Pace,
    /// The node's longest pause between crashes, if not the reference's.
    pub back_off_max: Option<Duration>,
    /// How much goes wrong in the runtime, in percent of the steps.
    pub trouble_percent: u64,
    /// How often the runtime answers a second time, in percent.
    pub repeat_percent: u64,
    /// What the containers are like, by name.
    pub tempers: BTreeMap<String, Temper>,
    /// What comes from outside, by time since the start.
    pub asks: Vec<(Duration, Ask)>,
}

/// How long things take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Everything is over in a minute.
    Seconds,
    /// Everything is over in some ten minutes.
    Minutes,
    /// Long enough for the longest pauses between restarts.
    Hours,
}

/// What a container is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Temper {
    /// Instances that end by themselves, in percent.
    pub ends_percent: u64,
    /// Of these, how many end well, in percent.
    pub ends_well_percent: u64,
    /// Instances that do not heed the stop signal, in percent.
    pub ignores_signal_percent: u64,
    /// Hooks that hang, in percent.
    pub hook_hangs_percent: u64,
    /// Hooks that fail, in percent.
    pub hook_fails_percent: u64,
    /// Probe attempts that fail, in percent.
    pub probe_fails_percent: u64,
}

impl Pace {
    /// When everything is told to go at the latest.
    pub const fn horizon(self) -> Duration {
        match self {
            Self::Seconds => Duration::from_secs(60),
            Self::Minutes => Duration::from_secs(600),
            Self::Hours => Duration::from_secs(3 * 3600),
        }
    }

    /// A duration as it is usual at this pace, mostly of whole milliseconds and sometimes of whole seconds.
    pub fn draw(self, chance: &mut Chance) -> Duration {
        let longest = match self {
            Self::Seconds => 8,
            Self::Minutes => 90,
            Self::Hours => 900,
        };
        if chance.percent(30) { Duration::from_secs(chance.between(0, longest)) } else { chance.millis(0, longest * 1000) }
    }
}

impl Plan {
    /// The plan of a seed.
    pub fn of(seed: u64) -> Self {
        let mut chance = Chance::of(seed, "plan", 0);
        let pace = match chance.below(10) {
            0..=5 => Pace::Seconds,
            6..=8 => Pace::Minutes,
            _ => Pace::Hours,
        };
        let mut pod = pod(&mut chance, pace);
        let containers = pod.init_containers.iter().chain(&pod.containers);
        let mut tempers: BTreeMap<_, _> = containers.map(|container| (container.name.clone(), temper(&mut chance, pace))).collect();
        // A stream of their own: the plans of seeds without them are what they were before there were any.
        let mut debug = Chance::of(seed, "ephemeral", 0);
        for name in EPHEMERAL_NAMES.iter().take(debug.one_of(&[0, 0, 0, 0, 0, 0, 0, 1, 1, 2])) {
            pod.ephemeral_containers.push(ephemeral_container(&mut debug, (*name).to_owned(), pace));
            tempers.insert((*name).to_owned(), temper(&mut debug, pace));
        }
        let asks = asks(&mut chance, pace, &pod);
        // From a stream of its own, so that the other parts of older seeds stay as they were.
        let mut chance = Chance::of(seed, "resources", 0);
        let (pod, asks) = with_resources(&mut chance, pace, pod, asks);
        let mut chance = Chance::of(seed, "more", 0);
        let (pod, asks) = with_more(&mut chance, pace, pod, asks);
        let mut limits = Chance::of(seed, "limits", 0);
        let (pod, asks) = with_limits(&mut limits, pace, pod, asks);
        let back_off_max = limits.percent(10).then(|| Duration::from_secs(limits.one_of(&[1, 3, 10, 25, 60])));
        Self {
            seed,
            pod,
            pace,
            back_off_max,
            trouble_percent: chance.one_of(&[0, 0, 0, 5, 20]),
            repeat_percent: chance.one_of(&[0, 0, 10]),
            tempers,
            asks,
        }
    }
}

/// No other container is called so.
const EPHEMERAL_NAMES: [&str; 2] = ["y", "x"];

/// Half of all pods ask for something; of these most are resized now and then.
fn with_resources(chance: &mut Chance, pace: Pace, mut pod: PodSpec, mut asks: Vec<(Duration, Ask)>) -> (PodSpec, Vec<(Duration, Ask)>) {
    if chance.percent(50) {
        return (pod, asks);
    }
    for container in pod.init_containers.iter_mut().chain(&mut pod.containers) {
        container.resources = resources(chance);
        let restart = |chance: &mut Chance| if chance.percent(25) { ResizeRestart::RestartContainer } else { ResizeRestart::NotRequired };
        container.resize_policy = ResizePolicy { cpu: restart(chance), memory: restart(chance) };
    }
    let sidecars = pod.init_containers.iter().filter(|container| container.restart_policy == Some(RestartPolicy::Always));
    let resizable: Vec<String> = sidecars.chain(&pod.containers).map(|container| container.name.clone()).collect();
    let limit = u64::try_from(pace.horizon().as_millis()).unwrap_or(u64::MAX);
    for _ in 0..chance.one_of(&[0, 1, 2, 4]) {
        let latest = chance.one_of(&[limit, limit / 4, limit / 20]);
        let at = chance.millis(0, latest);
        let container = chance.one_of(&resizable);
        asks.push((at, Ask::Resize { container, resources: resources(chance) }));
    }
    for _ in 0..chance.one_of(&[0, 0, 1, 3]) {
        asks.push((chance.millis(0, limit), Ask::RoomChanged));
    }
    asks.sort_by_key(|(at, _)| *at);
    (pod, asks)
}

/// Some pods have rules that have all containers begin again, images that are mounted, and manifests that change.
fn with_more(chance: &mut Chance, pace: Pace, mut pod: PodSpec, mut asks: Vec<(Duration, Ask)>) -> (PodSpec, Vec<(Duration, Ask)>) {
    if !chance.percent(15) {
        return (pod, asks);
    }
    for container in pod.init_containers.iter_mut().chain(&mut pod.containers) {
        if chance.percent(40) {
            let exit_codes = chance.one_of(&[vec![1], vec![42], vec![0], vec![137, 143]]);
            let rule = RestartRule { action: RestartAction::RestartAllContainers, operator: ExitCodeOperator::In, exit_codes };
            container.restart_policy.get_or_insert(RestartPolicy::Never);
            container.restart_policy_rules.push(rule);
        }
        if chance.percent(30) {
            let policies = [ImagePullPolicy::IfNotPresent, ImagePullPolicy::Always, ImagePullPolicy::Never];
            container.volume_images.push(VolumeImage { image: format!("vol{}", chance.below(2)), pull_policy: chance.one_of(&policies) });
        }
    }
    let names: Vec<String> = pod.init_containers.iter().chain(&pod.containers).map(|container| container.name.clone()).collect();
    let limit = u64::try_from(pace.horizon().as_millis()).unwrap_or(u64::MAX);
    for _ in 0..chance.one_of(&[0, 1, 3]) {
        let image = format!("img{}", chance.below(4));
        asks.push((chance.millis(0, limit), Ask::Image { container: chance.one_of(&names), image }));
    }
    if chance.percent(20) {
        asks.push((chance.millis(0, limit), Ask::Deadline { secs: chance.between(1, limit / 1000) }));
    }
    asks.sort_by_key(|(at, _)| *at);
    (pod, asks)
}

/// Some pods have commands with a time limit, and rules for all exits but some; some are turned away by their node, or use too much of it.
fn with_limits(chance: &mut Chance, pace: Pace, mut pod: PodSpec, mut asks: Vec<(Duration, Ask)>) -> (PodSpec, Vec<(Duration, Ask)>) {
    let (has_limits, has_rules) = (chance.percent(25), chance.percent(8));
    for container in pod.init_containers.iter_mut().chain(&mut pod.containers) {
        for hook in [&mut container.post_start, &mut container.pre_stop] {
            if let Some(Handler::Exec { time_limit, .. }) = hook
                && has_limits
                && chance.percent(60)
            {
                *time_limit = Some(if chance.percent(50) { Duration::from_secs(chance.between(1, 10)) } else { chance.millis(1, 20_000) });
            }
        }
        if has_rules && chance.percent(40) {
            let exit_codes = chance.one_of(&[vec![0], vec![1], vec![0, 143], vec![42, 0]]);
            let rule = RestartRule { action: RestartAction::RestartAllContainers, operator: ExitCodeOperator::NotIn, exit_codes };
            container.restart_policy.get_or_insert(RestartPolicy::Never);
            container.restart_policy_rules.push(rule);
        }
    }
    let limit = u64::try_from(pace.horizon().as_millis()).unwrap_or(u64::MAX);
    let moment = |chance: &mut Chance| {
        let latest = chance.one_of(&[limit, limit / 4, limit / 20]);
        chance.millis(0, latest)
    };
    if chance.percent(6) {
        asks.push((moment(chance), Ask::Reject));
    }
    if chance.percent(6) {
        asks.push((moment(chance), Ask::EvictForStorage { grace: kill(chance).grace }));
    }
    asks.sort_by_key(|(at, _)| *at);
    (pod, asks)
}

fn resources(chance: &mut Chance) -> Resources {
    let mut amount = |unit: u64| chance.percent(70).then(|| unit * chance.between(1, 8));
    Resources {
        cpu_request_millis: amount(100),
        cpu_limit_millis: amount(200),
        memory_request_bytes: amount(1 << 20),
        memory_limit_bytes: amount(2 << 20),
    }
}

const NAMES: [&str; 8] = ["d", "a", "h", "c", "g", "b", "f", "e"];

fn pod(chance: &mut Chance, pace: Pace) -> PodSpec {
    let policies = [RestartPolicy::Always, RestartPolicy::OnFailure, RestartPolicy::Never];
    let grace = chance.one_of(&[0, 1, 2, 3, 5, 10, 30, 60]);
    let inits = chance.one_of(&[0, 0, 0, 1, 1, 2, 3]);
    let regulars = chance.one_of(&[1, 1, 1, 2, 2, 3, 4]);
    let mut names = NAMES.iter();
    let mut name = || names.next().copied().unwrap_or("z").to_owned();
    let init_containers = (0..inits)
        .map(|_| {
            let is_sidecar = chance.percent(50);
            let mut spec = container(chance, name(), grace, pace, is_sidecar);
            if is_sidecar {
                spec.restart_policy = Some(RestartPolicy::Always);
                spec.restart_policy_rules.clear();
            }
            spec
        })
        .collect();
    let containers = (0..regulars).map(|_| container(chance, name(), grace, pace, true)).collect();
    PodSpec {
        name: "p".to_owned(),
        namespace: "ns".to_owned(),
        uid: "u".to_owned(),
        generation: 1,
        restart_policy: chance.one_of(&policies),
        termination_grace_period_secs: grace,
        active_deadline_secs: chance.percent(12).then(|| 1 + pace.draw(chance).as_secs() * 4),
        init_containers,
        containers,
        ephemeral_containers: Vec::new(),
    }
}

/// Neither hooks nor probes nor a policy (k8s: 1.d.11).
fn ephemeral_container(chance: &mut Chance, name: String, pace: Pace) -> ContainerSpec {
    ContainerSpec { restart_policy: None, restart_policy_rules: Vec::new(), ..container(chance, name, 0, pace, false) }
}

/// Plain init containers have neither hooks nor probes (k8s: 1.d.9).
fn container(chance: &mut Chance, name: String, grace: u64, pace: Pace, may_have_hooks: bool) -> ContainerSpec {
    let has_own_policy = chance.percent(20);
    let policies = [RestartPolicy::Always, RestartPolicy::OnFailure, RestartPolicy::Never];
    let own_policy = if may_have_hooks { policies.as_slice() } else { &policies[1..] };
    let rules = if has_own_policy && chance.percent(50) { vec![rule(chance)] } else { Vec::new() };
    let mut hook = |percent: u64| (may_have_hooks && chance.percent(percent)).then(|| handler(chance, grace));
    let (post_start, pre_stop) = (hook(35), hook(55));
    let mut probe = |percent: u64, may_kill: bool| (may_have_hooks && chance.percent(percent)).then(|| probe(chance, pace, may_kill));
    let (startup_probe, liveness_probe, readiness_probe) = (probe(20, true), probe(25, true), probe(25, false));
    ContainerSpec {
        name,
        image: format!("img{}", chance.below(3)),
        image_pull_policy: chance.one_of(&[
            ImagePullPolicy::IfNotPresent,
            ImagePullPolicy::IfNotPresent,
            ImagePullPolicy::Always,
            ImagePullPolicy::Never,
        ]),
        resources: Resources::default(),
        resize_policy: ResizePolicy::default(),
        volume_images: Vec::new(),
        restart_policy: has_own_policy.then(|| chance.one_of(own_policy)),
        restart_policy_rules: rules,
        post_start,
        pre_stop,
        startup_probe,
        liveness_probe,
        readiness_probe,
    }
}

fn rule(chance: &mut Chance) -> RestartRule {
    let operator = chance.one_of(&[ExitCodeOperator::In, ExitCodeOperator::NotIn]);
    let exit_codes = chance.one_of(&[vec![], vec![0], vec![1], vec![42], vec![137, 143], vec![0, 1, 42]]);
    RestartRule { action: RestartAction::Restart, operator, exit_codes }
}

fn handler(chance: &mut Chance, grace: u64) -> Handler {
    match chance.below(10) {
        0..=5 => Handler::Exec { command: vec!["do".to_owned(), "it".to_owned()], time_limit: None },
        6..=7 => Handler::HttpGet(http_get("/hook")),
        8 => Handler::Sleep { secs: chance.between(0, grace.min(20)) },
        _ => Handler::TcpSocket,
    }
}

fn http_get(path: &str) -> HttpGet {
    HttpGet { host: None, port: HttpPort::Number(80), path: path.to_owned(), scheme: Scheme::Http, headers: Vec::new() }
}

fn probe(chance: &mut Chance, pace: Pace, may_kill: bool) -> ProbeSpec {
    let longest = match pace {
        Pace::Seconds => 3,
        Pace::Minutes => 30,
        Pace::Hours => 300,
    };
    ProbeSpec {
        handler: match chance.below(4) {
            0 => ProbeHandler::HttpGet(http_get("/")),
            1 => ProbeHandler::TcpSocket { host: None, port: HttpPort::Number(80) },
            2 => ProbeHandler::Grpc { port: 80, service: String::new() },
            _ => ProbeHandler::Exec { command: vec!["look".to_owned()] },
        },
        initial_delay_secs: if chance.percent(50) { 0 } else { chance.between(0, longest) },
        timeout_secs: 1,
        period_secs: chance.between(longest.div_ceil(3), longest),
        success_threshold: if may_kill { 1 } else { u32::try_from(chance.between(1, 3)).unwrap_or(1) },
        failure_threshold: u32::try_from(chance.between(1, 4)).unwrap_or(1),
        termination_grace_period_secs: (may_kill && chance.percent(30)).then(|| chance.between(1, 20)),
    }
}

fn temper(chance: &mut Chance, pace: Pace) -> Temper {
    let hangs: &[u64] = if pace == Pace::Hours { &[0, 0, 0, 2] } else { &[0, 0, 10, 50] };
    Temper {
        ends_percent: chance.one_of(&[0, 20, 60, 100, 100]),
        ends_well_percent: chance.one_of(&[0, 30, 70, 100]),
        ignores_signal_percent: chance.one_of(&[0, 0, 30, 100]),
        hook_hangs_percent: chance.one_of(hangs),
        hook_fails_percent: chance.one_of(&[0, 0, 20, 60]),
        probe_fails_percent: chance.one_of(&[0, 0, 10, 50]),
    }
}

fn asks(chance: &mut Chance, pace: Pace, pod: &PodSpec) -> Vec<(Duration, Ask)> {
    let horizon = pace.horizon();
    let mut asks = Vec::new();
    let moment = |chance: &mut Chance| {
        let limit = u64::try_from(horizon.as_millis()).unwrap_or(u64::MAX);
        // Early moments are where most happens.
        let limit = chance.one_of(&[limit, limit / 4, limit / 20]);
        if chance.percent(30) { Duration::from_secs(chance.below(limit / 1000 + 1)) } else { chance.millis(0, limit) }
    };
    let mut at = moment(chance);
    for _ in 0..chance.one_of(&[1, 1, 1, 2, 2, 3, 4]) {
        asks.push((at, Ask::Kill(kill(chance))));
        at += if chance.percent(70) { chance.millis(0, 12_000) } else { Duration::from_secs(chance.between(0, 40)) };
    }
    let names: Vec<String> = pod.init_containers.iter().chain(&pod.containers).map(|container| container.name.clone()).collect();
    for _ in 0..chance.one_of(&[0, 0, 1, 3]) {
        let ending = chance.one_of(&[Ending::exit(0), Ending::exit(1), Ending::by_signal(9), Ending::out_of_memory()]);
        asks.push((moment(chance), Ask::EndProcess { container: chance.one_of(&names), ending }));
    }
    for _ in 0..chance.one_of(&[0, 0, 0, 0, 1, 2]) {
        let ask = Ask::LoseSandbox { told_after: chance.millis(0, 1500), exits_are_told: chance.percent(50) };
        asks.push((moment(chance), ask));
    }
    for _ in 0..chance.one_of(&[0, 1, 2, 4]) {
        let away = if chance.percent(60) { Duration::ZERO } else { chance.millis(0, 15_000) };
        asks.push((moment(chance), Ask::RestartEngine { away }));
    }
    // Whatever else happens, in the end it is deleted.
    asks.push((horizon, Ask::Kill(KillPod { trigger: KillTrigger::Deleted, grace: Grace::FromSpec })));
    asks.sort_by_key(|(at, _)| *at);
    asks
}

fn kill(chance: &mut Chance) -> KillPod {
    let trigger = chance.one_of(&[
        KillTrigger::Deleted,
        KillTrigger::Deleted,
        KillTrigger::Deleted,
        KillTrigger::Deleted,
        KillTrigger::Evicted,
        KillTrigger::Preempted,
        KillTrigger::NodeShutdown,
    ]);
    let grace = match chance.below(10) {
        0..=3 => Grace::FromSpec,
        4..=8 => Grace::Seconds(chance.one_of(&[0, 1, 2, 3, 5, 8, 13, 30, 100])),
        _ => Grace::AtOnce,
    };
    KillPod { trigger, grace }
}
