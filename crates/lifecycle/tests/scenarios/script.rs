//! A small language for scenarios: a pod in few words, what its world is like, what happens when, and what is to be shown.
//!
//! ```text
//! pod grace 30 restart Never deadline 60 maxPause 5s
//! init i1                                  sidecar s1 startup every 1 fails 3
//! app a1 preStop exec postStart sleep 2 image img pull Never restart OnFailure rule In 1,2 rule all In 3
//!
//! life a1 5s exit 1      life a1#0 5s oom      how an instance ends by itself (the first only)
//! term a1 3s exit 0      term a1 ignored       term a1 dies
//! hook a1 preStop 5s     hook a1 preStop hangs      hook a1 postStart 1s exit 3      hook a1 preStop 1s ends 0
//! probe a1 liveness fails from 4s              probe a1 startup fails until 3s
//! image img absent       image img missing 2   image img passes 1    image img pulls 3s
//! create a1 fails 1      create a1 passes 1 fails 2
//! start a1 takes 2s      start a1 fails 1      kill a1 takes 5s      stop a1 fails
//! sandbox fails 2        sandbox fails 1 FailedMount        sandbox takes 1s      sandbox misses secret1,secret2
//!
//! at 3s delete grace 5   at 3s exit a1 1       at 3s lose sandbox    at 3s engine away 5s
//! at 3s image a1 img2    at 3s deadline 60     at 3s debug d1 image img2
//! at 3s resize a1 cpu 100/200 memory 64/-    at 3s room
//! room cpu 4000 usedCpu 3000    (again for the next time that it is measured)    resize a1 fails 2 busy    resize pod fails 1 busy    resize memory fails 1 in_use
//! until 60s              show tells notes      hide shows            from 3s             only a1
//! ```
//!
//! What is not said takes no time and goes well; an app lives for ever and exits 0 at once on its stop signal.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use lifecycle::{
    ContainerSpec, ExitCodeOperator, Grace, Handler, Hook, HookOutcome, HttpGet, HttpPort, ImageInspection, ImagePullPolicy, KillPod,
    KillTrigger, PodSpec, ProbeHandler, ProbeKind, ProbeOutcome, ProbeSpec, ResizePolicy, ResizeRestart, Resources, RestartAction,
    RestartPolicy, RestartRule, Room, Scheme, Timestamp, VolumeImage, go_duration,
};
use sim::drive::{Ask, Drive};
use sim::nature::{Ending, HookRun, Life, Nature, OnStopSignal, Timed, Trouble};
use sim::timeline::{self, Kind};
use sim::world::image_ref;

/// Runs a script; its trace, a line for each thing that is to be shown.
pub(crate) fn play(script: &str) -> String {
    let script = Script::read(script);
    let mut drive = Drive::new(script.pod, script.nature, Timestamp::ZERO, script.asks);
    if let Some(max) = script.back_off_max {
        drive.limit_back_off(max);
    }
    let story = drive.run(Timestamp::ZERO + script.until);
    let mut trace = String::new();
    for line in timeline::lines(&story) {
        let is_wanted = script.only.is_empty() || script.only.iter().any(|word| line.text.contains(word.as_str()));
        if line.at >= Timestamp::ZERO + script.from && script.shown.contains(&line.kind) && is_wanted {
            trace.push_str(&format!("{} {}\n", timeline::seconds(&story, line.at), line.text));
        }
    }
    trace.push_str(&format!("{} {:?}", timeline::seconds(&story, story.end_at()), story.end));
    trace
}

/// The pod of a script.
pub(crate) fn pod(script: &str) -> PodSpec {
    Script::read(script).pod
}

/// Runs a script; its grace accounts, two lines for each stop: who used the time, and the sentence.
pub(crate) fn settle_accounts(script: &str) -> String {
    let script = Script::read(script);
    let drive = Drive::new(script.pod, script.nature, Timestamp::ZERO, script.asks);
    let story = drive.run(Timestamp::ZERO + script.until);
    let mut text = String::new();
    for account in timeline::accounts(&story) {
        let shares: Vec<String> = account
            .shares()
            .iter()
            .map(|share| format!("{:?} {} to {}", share.user, go_duration(share.from), go_duration(share.to)))
            .collect();
        text.push_str(&format!("{} of {} s: {}\n  {}\n", account.container, account.grace_secs, shares.join(", "), account.sentence()));
    }
    text.trim_end().to_owned()
}

struct Script {
    pod: PodSpec,
    nature: Scripted,
    asks: Vec<(Timestamp, Ask)>,
    /// The node's own longest pause between crashes.
    back_off_max: Option<Duration>,
    until: Duration,
    from: Duration,
    shown: Vec<Kind>,
    only: Vec<String>,
}

#[derive(Default)]
struct Scripted {
    containers: BTreeMap<String, Behaviour>,
    images: BTreeMap<String, Image>,
    sandbox_takes: Duration,
    sandbox_failures: u32,
    sandbox_trouble: Option<String>,
    missing_pull_secrets: Vec<String>,
    /// One for each time that it is measured; the last one stays.
    rooms: VecDeque<Room>,
    /// How often writing to a container, or to `pod`, goes wrong, and the error.
    resize_failures: BTreeMap<String, (u32, String)>,
}

#[derive(Default)]
struct Behaviour {
    ends: Option<Timed<Ending>>,
    ends_by_instance: BTreeMap<u32, Timed<Ending>>,
    on_stop_signal: Option<OnStopSignal>,
    hooks: BTreeMap<Hook, HookRun>,
    probes: BTreeMap<ProbeKind, Vec<ProbePart>>,
    /// How many go well before the failures begin.
    create_passes: u32,
    create_failures: u32,
    create_takes: Duration,
    start_failures: u32,
    start_takes: Duration,
    kill_takes: Duration,
    stop_fails: bool,
}

/// What a probe says while the process is of this age.
struct ProbePart {
    from: Duration,
    until: Duration,
    takes: Duration,
    outcome: ProbeOutcome,
}

#[derive(Default)]
struct Image {
    inspection: Option<ImageInspection>,
    pulls_to_pass: u32,
    pulls_to_fail: u32,
    pull_takes: Duration,
}

/// The words of one line, read one after the other.
struct Words<'a> {
    line: &'a str,
    words: std::iter::Peekable<std::str::SplitWhitespace<'a>>,
}

impl<'a> Words<'a> {
    fn next(&mut self) -> &'a str {
        self.words.next().unwrap_or_else(|| panic!("a word is missing at the end of `{}`", self.line))
    }

    fn take(&mut self, word: &str) -> bool {
        self.words.next_if(|next| *next == word).is_some()
    }

    fn number<T: std::str::FromStr>(&mut self) -> T {
        let word = self.next();
        word.parse().unwrap_or_else(|_| panic!("`{word}` in `{}` is not a number", self.line))
    }

    fn duration(&mut self) -> Duration {
        let word = self.next();
        self.as_duration(word).unwrap_or_else(|| panic!("`{word}` in `{}` is not a duration", self.line))
    }

    fn as_duration(&self, word: &str) -> Option<Duration> {
        if let Some(millis) = word.strip_suffix("ms") {
            return Some(Duration::from_millis(millis.parse().ok()?));
        }
        word.strip_suffix('s').and_then(|secs| secs.parse().ok()).map(Duration::from_secs_f64)
    }

    fn ending(&mut self) -> Ending {
        match self.next() {
            "exit" => Ending::exit(self.number()),
            "signal" => Ending::by_signal(self.number()),
            "oom" => Ending::out_of_memory(),
            word => panic!("`{word}` in `{}` is no way to end", self.line),
        }
    }

    fn unknown(&self, word: &str) -> ! {
        panic!("`{word}` in `{}` is not understood", self.line)
    }
}

impl Script {
    fn read(text: &str) -> Self {
        let pod = PodSpec {
            name: "p".to_owned(),
            namespace: "ns".to_owned(),
            uid: "u".to_owned(),
            generation: 1,
            restart_policy: RestartPolicy::Always,
            termination_grace_period_secs: 30,
            active_deadline_secs: None,
            init_containers: Vec::new(),
            containers: Vec::new(),
            ephemeral_containers: Vec::new(),
        };
        let mut script = Self {
            pod,
            nature: Scripted::default(),
            asks: Vec::new(),
            back_off_max: None,
            until: Duration::from_secs(1000),
            from: Duration::ZERO,
            shown: vec![Kind::Ask, Kind::Do, Kind::Event, Kind::Show, Kind::Engine],
            only: Vec::new(),
        };
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            script.read_line(line);
        }
        script
    }

    fn read_line(&mut self, line: &str) {
        let mut words = Words { line, words: line.split_whitespace().peekable() };
        match words.next() {
            "pod" => self.read_pod(&mut words),
            "init" => {
                let container = container(&mut words, None);
                self.pod.init_containers.push(container);
            }
            "sidecar" => {
                let container = container(&mut words, Some(RestartPolicy::Always));
                self.pod.init_containers.push(container);
            }
            "app" => {
                let container = container(&mut words, None);
                self.pod.containers.push(container);
            }
            "at" => {
                let at = Timestamp::ZERO + words.duration();
                self.asks.push((at, ask(&mut words)));
            }
            "until" => self.until = words.duration(),
            "from" => self.from = words.duration(),
            "only" => self.only.extend(words.words.by_ref().map(str::to_owned)),
            "show" => {
                while words.words.peek().is_some() {
                    let kind = kind(&mut words);
                    self.shown.push(kind);
                }
            }
            "hide" => {
                while words.words.peek().is_some() {
                    let kind = kind(&mut words);
                    self.shown.retain(|shown| *shown != kind);
                }
            }
            verb => self.nature.read(verb, &mut words),
        }
        assert!(words.words.peek().is_none(), "words are left over in `{line}`");
    }

    fn read_pod(&mut self, words: &mut Words<'_>) {
        while let Some(word) = words.words.next() {
            match word {
                "grace" => self.pod.termination_grace_period_secs = words.number(),
                "restart" => self.pod.restart_policy = restart_policy(words),
                "deadline" => self.pod.active_deadline_secs = Some(words.number()),
                "maxPause" => self.back_off_max = Some(words.duration()),
                word => words.unknown(word),
            }
        }
    }
}

fn container(words: &mut Words<'_>, restart: Option<RestartPolicy>) -> ContainerSpec {
    let mut spec = ContainerSpec {
        name: words.next().to_owned(),
        image: "img".to_owned(),
        image_pull_policy: ImagePullPolicy::IfNotPresent,
        restart_policy: restart,
        resources: Resources::default(),
        resize_policy: ResizePolicy::default(),
        volume_images: Vec::new(),
        restart_policy_rules: Vec::new(),
        post_start: None,
        pre_stop: None,
        startup_probe: None,
        liveness_probe: None,
        readiness_probe: None,
    };
    while let Some(word) = words.words.next() {
        match word {
            "image" => spec.image = words.next().to_owned(),
            "pull" => {
                spec.image_pull_policy = match words.next() {
                    "Always" => ImagePullPolicy::Always,
                    "IfNotPresent" => ImagePullPolicy::IfNotPresent,
                    "Never" => ImagePullPolicy::Never,
                    word => words.unknown(word),
                }
            }
            "restart" => spec.restart_policy = Some(restart_policy(words)),
            "rule" => spec.restart_policy_rules.push(rule(words)),
            "cpu" => (spec.resources.cpu_request_millis, spec.resources.cpu_limit_millis) = pair(words),
            "memory" => (spec.resources.memory_request_bytes, spec.resources.memory_limit_bytes) = pair(words),
            "restartOnCpu" => spec.resize_policy.cpu = ResizeRestart::RestartContainer,
            "restartOnMemory" => spec.resize_policy.memory = ResizeRestart::RestartContainer,
            "mounts" => spec.volume_images.push(VolumeImage { image: words.next().to_owned(), pull_policy: ImagePullPolicy::IfNotPresent }),
            "postStart" => spec.post_start = Some(handler(words)),
            "preStop" => spec.pre_stop = Some(handler(words)),
            "startup" => spec.startup_probe = Some(probe(words)),
            "liveness" => spec.liveness_probe = Some(probe(words)),
            "readiness" => spec.readiness_probe = Some(probe(words)),
            word => words.unknown(word),
        }
    }
    spec
}

/// `100/200`: request and limit; `-` is none.
fn pair(words: &mut Words<'_>) -> (Option<u64>, Option<u64>) {
    let word = words.next();
    let (request, limit) = word.split_once('/').unwrap_or_else(|| words.unknown(word));
    (request.parse().ok(), limit.parse().ok())
}

fn resources(words: &mut Words<'_>) -> Resources {
    let mut resources = Resources::default();
    while let Some(word) = words.words.next() {
        match word {
            "cpu" => (resources.cpu_request_millis, resources.cpu_limit_millis) = pair(words),
            "memory" => (resources.memory_request_bytes, resources.memory_limit_bytes) = pair(words),
            word => words.unknown(word),
        }
    }
    resources
}

fn restart_policy(words: &mut Words<'_>) -> RestartPolicy {
    match words.next() {
        "Always" => RestartPolicy::Always,
        "OnFailure" => RestartPolicy::OnFailure,
        "Never" => RestartPolicy::Never,
        word => words.unknown(word),
    }
}

fn rule(words: &mut Words<'_>) -> RestartRule {
    let action = if words.take("all") { RestartAction::RestartAllContainers } else { RestartAction::Restart };
    let operator = match words.next() {
        "In" => ExitCodeOperator::In,
        "NotIn" => ExitCodeOperator::NotIn,
        word => words.unknown(word),
    };
    let exit_codes = words.next().split(',').filter_map(|code| code.parse().ok()).collect();
    RestartRule { action, operator, exit_codes }
}

fn handler(words: &mut Words<'_>) -> Handler {
    match words.next() {
        "exec" => {
            let time_limit = words.take("limit").then(|| words.duration());
            Handler::Exec { command: vec!["do".to_owned(), "it".to_owned()], time_limit }
        }
        "http" => Handler::HttpGet(http_get()),
        "sleep" => Handler::Sleep { secs: words.number() },
        "tcp" => Handler::TcpSocket,
        word => words.unknown(word),
    }
}

fn http_get() -> HttpGet {
    HttpGet { host: None, port: HttpPort::Number(80), path: "/hook".to_owned(), scheme: Scheme::Http, headers: Vec::new() }
}

fn probe(words: &mut Words<'_>) -> ProbeSpec {
    let mut spec = ProbeSpec {
        handler: ProbeHandler::Exec { command: vec!["look".to_owned()] },
        initial_delay_secs: 0,
        timeout_secs: 1,
        period_secs: 10,
        success_threshold: 1,
        failure_threshold: 3,
        termination_grace_period_secs: None,
    };
    loop {
        if words.take("every") {
            spec.period_secs = words.number();
        } else if words.take("after") {
            spec.initial_delay_secs = words.number();
        } else if words.take("fails") {
            spec.failure_threshold = words.number();
        } else if words.take("passes") {
            spec.success_threshold = words.number();
        } else if words.take("grace") {
            spec.termination_grace_period_secs = Some(words.number());
        } else if words.take("http") {
            spec.handler = ProbeHandler::HttpGet(http_get());
        } else {
            return spec;
        }
    }
}

fn ask(words: &mut Words<'_>) -> Ask {
    let trigger = match words.next() {
        "delete" => KillTrigger::Deleted,
        "evict" => KillTrigger::Evicted,
        "preempt" => KillTrigger::Preempted,
        "shutdown" => KillTrigger::NodeShutdown,
        "kill" => return Ask::Kill(KillPod { trigger: KillTrigger::Deleted, grace: Grace::AtOnce }),
        "exit" => {
            let container = words.next().to_owned();
            return Ask::EndProcess { container, ending: Ending::exit(words.number()) };
        }
        "oom" => return Ask::EndProcess { container: words.next().to_owned(), ending: Ending::out_of_memory() },
        "image" => return Ask::Image { container: words.next().to_owned(), image: words.next().to_owned() },
        "debug" => return Ask::Debug { container: Box::new(container(words, None)) },
        "resize" => return Ask::Resize { container: words.next().to_owned(), resources: resources(words) },
        "room" => return Ask::RoomChanged,
        "deadline" => return Ask::Deadline { secs: words.number() },
        "lose" => {
            let _sandbox = words.next();
            return Ask::LoseSandbox { told_after: Duration::ZERO, exits_are_told: false };
        }
        "engine" => {
            let _away = words.next();
            return Ask::RestartEngine { away: words.duration() };
        }
        word => words.unknown(word),
    };
    let grace = if words.take("grace") { Grace::Seconds(words.number()) } else { Grace::FromSpec };
    Ask::Kill(KillPod { trigger, grace })
}

fn kind(words: &mut Words<'_>) -> Kind {
    match words.next() {
        "asks" => Kind::Ask,
        "tells" => Kind::Tell,
        "dues" => Kind::Due,
        "does" => Kind::Do,
        "events" => Kind::Event,
        "notes" => Kind::Note,
        "shows" => Kind::Show,
        "conditions" => Kind::Condition,
        "addresses" => Kind::Addresses,
        "facts" => Kind::Fact,
        word => words.unknown(word),
    }
}

impl Scripted {
    fn read(&mut self, verb: &str, words: &mut Words<'_>) {
        if verb == "sandbox" {
            match words.next() {
                "takes" => self.sandbox_takes = words.duration(),
                "fails" => {
                    self.sandbox_failures = words.number();
                    self.sandbox_trouble = words.words.next().map(str::to_owned);
                }
                "misses" => self.missing_pull_secrets = words.next().split(',').map(str::to_owned).collect(),
                word => words.unknown(word),
            }
            return;
        }
        if verb == "room" {
            self.rooms.push_back(room(words));
            return;
        }
        if verb == "resize" {
            let whom = words.next().to_owned();
            words.take("fails");
            self.resize_failures.insert(whom, (words.number(), words.next().replace('_', " ")));
            return;
        }
        if verb == "image" {
            let image = self.images.entry(words.next().to_owned()).or_default();
            image.read(words);
            return;
        }
        let name = words.next();
        let (name, instance) = name.split_once('#').map_or((name, None), |(name, number)| (name, number.parse().ok()));
        let container = self.containers.entry(name.to_owned()).or_default();
        match verb {
            "life" => {
                let ends = Timed::after(words.duration(), words.ending());
                match instance {
                    Some(number) => {
                        container.ends_by_instance.insert(number, ends);
                    }
                    None => container.ends = Some(ends),
                }
            }
            "term" => container.on_stop_signal = Some(on_stop_signal(words)),
            "hook" => {
                let hook = if words.take("postStart") { Hook::PostStart } else { Hook::PreStop };
                words.take("preStop");
                container.hooks.insert(hook, hook_run(words));
            }
            "probe" => container.read_probe(words),
            "create" => match words.next() {
                "fails" => container.create_failures = words.number(),
                "passes" => {
                    container.create_passes = words.number();
                    words.take("fails");
                    container.create_failures = words.number();
                }
                "takes" => container.create_takes = words.duration(),
                word => words.unknown(word),
            },
            "start" => match words.next() {
                "fails" => container.start_failures = words.number(),
                "takes" => container.start_takes = words.duration(),
                word => words.unknown(word),
            },
            "kill" => {
                words.take("takes");
                container.kill_takes = words.duration();
            }
            "stop" => container.stop_fails = words.take("fails"),
            verb => words.unknown(verb),
        }
    }
}

impl Image {
    fn read(&mut self, words: &mut Words<'_>) {
        let absent = ImageInspection::Absent;
        match words.next() {
            "absent" => self.inspection = Some(absent),
            "passes" => {
                self.pulls_to_pass = words.number();
                self.pulls_to_fail = u32::MAX;
            }
            "missing" => {
                self.inspection = Some(absent);
                self.pulls_to_fail = if words.words.peek().is_some() { words.number() } else { u32::MAX };
            }
            "invalid" => self.inspection = Some(ImageInspection::InvalidName { message: "bad name".to_owned() }),
            "unreadable" => self.inspection = Some(ImageInspection::Failed { message: "disk error".to_owned() }),
            "pulls" => {
                self.inspection = Some(absent);
                self.pull_takes = words.duration();
            }
            word => words.unknown(word),
        }
    }
}

fn on_stop_signal(words: &mut Words<'_>) -> OnStopSignal {
    if words.take("ignored") {
        return OnStopSignal::Ignores;
    }
    if words.take("dies") {
        return OnStopSignal::Ends(Timed::now(Ending::by_signal(15)));
    }
    let after = words.duration();
    let ending = if words.words.peek().is_some() { words.ending() } else { Ending::exit(0) };
    OnStopSignal::Ends(Timed::after(after, ending))
}

fn room(words: &mut Words<'_>) -> Room {
    let mut room = Room { cpu_millis: 4000, memory_bytes: 4 << 30, used_cpu_millis: 0, used_memory_bytes: 0 };
    while let Some(word) = words.words.next() {
        let number = words.number();
        match word {
            "cpu" => room.cpu_millis = number,
            "memory" => room.memory_bytes = number,
            "usedCpu" => room.used_cpu_millis = number,
            "usedMemory" => room.used_memory_bytes = number,
            word => words.unknown(word),
        }
    }
    room
}

fn hook_run(words: &mut Words<'_>) -> HookRun {
    let mut run =
        HookRun { takes: Some(Duration::ZERO), outcome: HookOutcome::Succeeded, ends_container: None, told_after: Duration::ZERO };
    if words.take("hangs") {
        run.takes = None;
        return run;
    }
    run.takes = Some(words.duration());
    if words.take("exit") {
        let code = words.number();
        run.outcome = HookOutcome::ExitedNonZero { code, stdout: "out\n".to_owned(), stderr: "err\n".to_owned() };
    } else if words.take("broken") {
        run.outcome = HookOutcome::FailedToRun { error: "no such command".to_owned() };
    } else if words.take("refused") {
        run.outcome = HookOutcome::HttpFailed { error: "connection refused".to_owned() };
    } else if words.take("limit") {
        run.outcome = HookOutcome::TimedOut { limit: words.duration() };
    } else if words.take("ends") {
        run.ends_container = Some(Timed::after(run.takes.unwrap_or_default(), Ending::exit(words.number())));
        run.takes = None;
    }
    run
}

impl Behaviour {
    fn read_probe(&mut self, words: &mut Words<'_>) {
        let probe = match words.next() {
            "startup" => ProbeKind::Startup,
            "liveness" => ProbeKind::Liveness,
            "readiness" => ProbeKind::Readiness,
            word => words.unknown(word),
        };
        let outcome = match words.next() {
            "ok" => ProbeOutcome::Success,
            "fails" => ProbeOutcome::Failure { output: "bad".to_owned() },
            "errors" => ProbeOutcome::Error { error: "no exec".to_owned() },
            "warns" => ProbeOutcome::Warning { output: "elsewhere".to_owned() },
            word => words.unknown(word),
        };
        let mut part = ProbePart { from: Duration::ZERO, until: Duration::MAX, takes: Duration::ZERO, outcome };
        loop {
            if words.take("from") {
                part.from = words.duration();
            } else if words.take("until") {
                part.until = words.duration();
            } else if words.take("takes") {
                part.takes = words.duration();
            } else {
                break;
            }
        }
        self.probes.entry(probe).or_default().push(part);
    }
}

impl Scripted {
    fn resize_step(&mut self, whom: &str) -> Timed<Result<(), String>> {
        match self.resize_failures.get_mut(whom) {
            Some((left, error)) if *left > 0 => {
                *left -= 1;
                Timed::now(Err(error.clone()))
            }
            Some(_) | None => Timed::now(Ok(())),
        }
    }

    fn container(&mut self, name: &str) -> &mut Behaviour {
        self.containers.entry(name.to_owned()).or_default()
    }
}

impl Nature for Scripted {
    fn create_sandbox(&mut self, _attempt: u32) -> Timed<Result<Vec<String>, Trouble>> {
        if let Some(left) = self.sandbox_failures.checked_sub(1) {
            self.sandbox_failures = left;
            let message = "Failed to create pod sandbox: no network".to_owned();
            let reason = self.sandbox_trouble.clone().unwrap_or_else(|| "FailedCreatePodSandBox".to_owned());
            return Timed::after(self.sandbox_takes, Err(Trouble { reason, message }));
        }
        Timed::after(self.sandbox_takes, Ok(vec!["10.0.0.1".to_owned()]))
    }

    fn missing_pull_secrets(&self) -> Vec<String> {
        self.missing_pull_secrets.clone()
    }

    fn stop_sandbox(&mut self) -> Duration {
        Duration::ZERO
    }

    fn clean_up(&mut self) -> Duration {
        Duration::ZERO
    }

    fn inspect_image(&mut self, _container: &str, image: &str) -> Timed<ImageInspection> {
        let present = ImageInspection::Present { image_ref: image_ref(image) };
        Timed::now(self.images.get(image).and_then(|image| image.inspection.clone()).unwrap_or(present))
    }

    fn pull_image(&mut self, _container: &str, image: &str) -> Timed<Result<u64, Trouble>> {
        let image = self.images.entry(image.to_owned()).or_default();
        if let Some(left) = image.pulls_to_pass.checked_sub(1) {
            image.pulls_to_pass = left;
        } else if let Some(left) = image.pulls_to_fail.checked_sub(1) {
            image.pulls_to_fail = left;
            let trouble = Trouble { reason: "ErrImagePull".to_owned(), message: "not found".to_owned() };
            return Timed::after(image.pull_takes, Err(trouble));
        }
        Timed::after(image.pull_takes, Ok(1000))
    }

    fn create_container(&mut self, container: &str, _restart_count: u32) -> Timed<Result<(), Trouble>> {
        let behaviour = self.container(container);
        if let Some(left) = behaviour.create_passes.checked_sub(1) {
            behaviour.create_passes = left;
        } else if let Some(left) = behaviour.create_failures.checked_sub(1) {
            behaviour.create_failures = left;
            let trouble = Trouble { reason: "CreateContainerConfigError".to_owned(), message: "secret \"s\" not found".to_owned() };
            return Timed::after(behaviour.create_takes, Err(trouble));
        }
        Timed::after(behaviour.create_takes, Ok(()))
    }

    fn start_container(&mut self, container: &str, _restart_count: u32) -> Timed<Result<(), String>> {
        let behaviour = self.container(container);
        if let Some(left) = behaviour.start_failures.checked_sub(1) {
            behaviour.start_failures = left;
            return Timed::after(behaviour.start_takes, Err("no such file".to_owned()));
        }
        Timed::after(behaviour.start_takes, Ok(()))
    }

    fn start_told_after(&mut self, _container: &str) -> Duration {
        Duration::ZERO
    }

    fn life(&mut self, container: &str, restart_count: u32) -> Life {
        let behaviour = self.container(container);
        let ends = behaviour.ends_by_instance.get(&restart_count).or(behaviour.ends.as_ref()).cloned();
        let at_once = OnStopSignal::Ends(Timed::now(Ending::exit(0)));
        let on_stop_signal = behaviour.on_stop_signal.clone().unwrap_or(at_once);
        Life { ends, on_stop_signal, dies_after: behaviour.kill_takes, told_after: Duration::ZERO }
    }

    fn hook(&mut self, container: &str, _restart_count: u32, hook: Hook, handler: &Handler) -> HookRun {
        let quick =
            HookRun { takes: Some(Duration::ZERO), outcome: HookOutcome::Succeeded, ends_container: None, told_after: Duration::ZERO };
        if let Some(run) = self.container(container).hooks.get(&hook) {
            return run.clone();
        }
        match handler {
            Handler::Sleep { secs } => HookRun { takes: Some(Duration::from_secs(*secs)), ..quick },
            Handler::TcpSocket => HookRun { outcome: HookOutcome::FailedToRun { error: "invalid handler: tcpSocket".to_owned() }, ..quick },
            Handler::Exec { .. } | Handler::HttpGet(_) => quick,
        }
    }

    fn probe(&mut self, container: &str, _restart_count: u32, probe: ProbeKind, age: Duration) -> Timed<ProbeOutcome> {
        let parts = self.container(container).probes.get(&probe);
        let part = parts.and_then(|parts| parts.iter().find(|part| part.from <= age && age < part.until));
        part.map_or(Timed::now(ProbeOutcome::Success), |part| Timed::after(part.takes, part.outcome.clone()))
    }

    fn stop_signal(&mut self, container: &str) -> Timed<Result<(), String>> {
        Timed::now(if self.container(container).stop_fails { Err("runtime is away".to_owned()) } else { Ok(()) })
    }

    fn kill_signal(&mut self, _container: &str) -> Timed<Result<(), String>> {
        Timed::now(Ok(()))
    }

    fn room(&mut self) -> Timed<Room> {
        let next = if self.rooms.len() > 1 { self.rooms.pop_front() } else { self.rooms.front().copied() };
        let plenty = Room { cpu_millis: 4000, memory_bytes: 4 << 30, used_cpu_millis: 0, used_memory_bytes: 0 };
        Timed::now(next.unwrap_or(plenty))
    }

    fn resize(&mut self, container: Option<&str>) -> Timed<Result<(), String>> {
        self.resize_step(container.unwrap_or("pod"))
    }

    fn memory_check(&mut self, _containers: &BTreeMap<String, Resources>) -> Timed<Result<(), String>> {
        self.resize_step("memory")
    }

    fn pull_cancelled_after(&mut self) -> Duration {
        Duration::ZERO
    }

    fn world_goes_first(&mut self) -> bool {
        false
    }
}
