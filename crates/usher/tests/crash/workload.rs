//! The pods of the load: what each does, and what its specification demands of whoever runs it.
//!
//! Every container writes down in a folder of the machine what happens in it (`start`, `post-begin`, …), with the moment at which
//! its first process began: the one witness that no engine can have touched.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sim::chance::Chance;

/// What a pod is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Runs until it is deleted, with hooks and probes.
    Server,
    /// The same with hooks that take their time.
    Slow,
    /// Lets its grace run out.
    Stubborn,
    /// Init container, sidecar and server.
    Chain,
    /// Ends once, with this code.
    Job(u8),
    /// Fails once, then succeeds.
    Retry,
    /// Fails its liveness probe once.
    Sick,
}

/// What is told of a container whose end nobody saw.
const UNKNOWN_CODE: u8 = 137;
const UNKNOWN_REASON: &str = "ContainerStatusUnknown";
/// Seconds of grace of those that end by themselves when asked to.
const GRACE_SECS: u64 = 30;
/// Of [`Kind::Stubborn`].
const SHORT_GRACE_SECS: u64 = 2;

/// `note WORD` writes down that something happens in the container.
const NOTE: &str = "note() { echo \"$1 $(cut -d' ' -f22 /proc/1/stat)\" >>/evidence/NAME; }\n";
const SERVE: &str = "trap 'note term; exit 0' TERM\ntouch /tmp/ready\nnote start\nsleep 86400 & wait\n";
/// What makes the first instance of [`Kind::Sick`] sick.
const FALL_SICK: &str = "[ -e /evidence/was-sick ] || { touch /evidence/was-sick /tmp/sick; }\n";
const FAIL_ONCE: &str = "[ -e /evidence/failed ] && { note start; exit 0; }\ntouch /evidence/failed\nnote start\nsleep 0.3\nexit 7\n";

impl Kind {
    pub(crate) fn any(chance: &mut Chance) -> Self {
        let code = u8::try_from(chance.below(200)).unwrap_or(0);
        chance.one_of(&[
            Self::Server,
            Self::Server,
            Self::Slow,
            Self::Stubborn,
            Self::Chain,
            Self::Job(0),
            Self::Job(code),
            Self::Retry,
            Self::Sick,
        ])
    }

    /// Restarts that its specification demands, in the end.
    pub(crate) fn restarts(self) -> u64 {
        match self {
            Self::Retry | Self::Sick => 1,
            Self::Server | Self::Slow | Self::Stubborn | Self::Chain | Self::Job(_) => 0,
        }
    }

    pub(crate) fn is_served(self) -> bool {
        match self {
            Self::Server | Self::Slow | Self::Stubborn | Self::Chain | Self::Sick => true,
            Self::Job(_) | Self::Retry => false,
        }
    }

    /// Whether a stop in its own grace runs its preStop hook, and has it end by the stop signal.
    fn has_hooks(self) -> bool {
        match self {
            Self::Server | Self::Slow | Self::Sick => true,
            Self::Stubborn | Self::Chain | Self::Job(_) | Self::Retry => false,
        }
    }

    /// The manifest of such a pod, which writes into this folder.
    pub(crate) fn manifest(self, name: &str, evidence: &Path, chance: &mut Chance) -> Value {
        let (policy, grace) = match self {
            Self::Job(_) => ("Never", GRACE_SECS),
            Self::Retry => ("OnFailure", GRACE_SECS),
            Self::Stubborn => ("Always", SHORT_GRACE_SECS),
            Self::Server | Self::Slow | Self::Chain | Self::Sick => ("Always", GRACE_SECS),
        };
        let mut spec = json!({
            "restartPolicy": policy,
            "terminationGracePeriodSeconds": grace,
            "containers": [self.main_container(chance)],
            "volumes": [{ "name": "evidence", "hostPath": { "path": evidence, "type": "DirectoryOrCreate" } }],
        });
        if self == Self::Chain {
            let mut sidecar = container("sidecar", SERVE);
            sidecar["restartPolicy"] = json!("Always");
            spec["initContainers"] = json!([container("setup", "note start\nsleep 0.2\n"), sidecar]);
        }
        json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name }, "spec": spec })
    }

    fn main_container(self, chance: &mut Chance) -> Value {
        let nap = chance.between(1, 25);
        let script = match self {
            Self::Server | Self::Slow | Self::Chain => SERVE.to_owned(),
            Self::Sick => format!("{FALL_SICK}{SERVE}"),
            Self::Stubborn => "trap '' TERM\ntouch /tmp/ready\nnote start\nwhile true; do sleep 5; done\n".to_owned(),
            Self::Job(code) => format!("note start\nsleep {}.{}\nexit {code}\n", nap / 10, nap % 10),
            Self::Retry => FAIL_ONCE.to_owned(),
        };
        let mut main = container("main", &script);
        if self.is_served() {
            main["readinessProbe"] = json!({ "exec": { "command": ["test", "-e", "/tmp/ready"] }, "periodSeconds": 1 });
        }
        if self == Self::Sick {
            main["livenessProbe"] =
                json!({ "exec": { "command": ["test", "!", "-e", "/tmp/sick"] }, "periodSeconds": 1, "failureThreshold": 1 });
        }
        if self.has_hooks() {
            let (post, pre) = if self == Self::Slow { ("1.5", "1.2") } else { ("0.2", "0.2") };
            let hook = |word: &str, secs: &str| {
                let script = format!("{}note {word}-begin\nsleep {secs}\nnote {word}-end\n", NOTE.replace("NAME", "main"));
                json!({ "exec": { "command": ["sh", "-c", script] } })
            };
            main["lifecycle"] = json!({ "postStart": hook("post", post), "preStop": hook("pre", pre) });
        }
        main
    }

    /// Whether the pod is what its specification demands once everything has settled; what is missing otherwise.
    pub(crate) fn is_reached(self, pod: &Value) -> Result<(), String> {
        let (phase, main) = (&pod["status"]["phase"], &pod["status"]["containerStatuses"][0]);
        let wanted = match self {
            Self::Job(0) | Self::Retry => "Succeeded",
            Self::Job(_) => "Failed",
            Self::Server | Self::Slow | Self::Stubborn | Self::Chain | Self::Sick => "Running",
        };
        if phase != wanted {
            return Err(format!("its phase is {phase}, not {wanted}"));
        }
        if self.is_served() && main["ready"] != true {
            return Err("it is not ready".to_owned());
        }
        if main["restartCount"] != self.restarts() {
            return Err(format!("it was restarted {} times, not {}", main["restartCount"], self.restarts()));
        }
        let code = match self {
            Self::Job(code) => Some((&main["state"], code)),
            Self::Retry => Some((&main["lastState"], 7)),
            Self::Server | Self::Slow | Self::Stubborn | Self::Chain | Self::Sick => None,
        };
        match code {
            Some((state, code)) if state["terminated"]["exitCode"] != code => Err(format!("{state} does not tell the exit code {code}")),
            Some(_) | None => Ok(()),
        }
    }
}

impl Kind {
    /// The same for a pod whose shim was killed: told as lost, and gone on with by its policy.
    pub(crate) fn is_reached_after_loss(self, pod: &Value) -> Result<(), String> {
        let (phase, main) = (&pod["status"]["phase"], &pod["status"]["containerStatuses"][0]);
        let end = &main["state"]["terminated"];
        let ended = &end["exitCode"];
        let is_unknown = *ended == UNKNOWN_CODE && end["reason"] == UNKNOWN_REASON;
        match self {
            Self::Server | Self::Slow | Self::Stubborn | Self::Chain | Self::Sick if phase == "Running" && main["ready"] == true => Ok(()),
            Self::Retry | Self::Job(0) if phase == "Succeeded" && *ended == 0 => Ok(()),
            // Either it had ended by itself before, or nobody can know how it ended.
            Self::Job(code) if phase == "Failed" && (is_unknown || code != 0 && *ended == code) => Ok(()),
            Self::Server | Self::Slow | Self::Stubborn | Self::Chain | Self::Sick | Self::Job(_) | Self::Retry => {
                Err(format!("its phase is {phase}, and its end {end}"))
            }
        }
    }

    /// Whether the API tells that the pod lost what ran it. Of a pod that ends by itself, its own end may have come first.
    pub(crate) fn is_told_as_lost(self, pod: &Value, event_reasons: &[&str]) -> Result<(), String> {
        if !self.is_served() {
            return Ok(());
        }
        if !event_reasons.iter().any(|reason| matches!(*reason, "SandboxChanged" | "FailedCreatePodSandBox")) {
            return Err(format!("no Event tells that its sandbox was lost: {event_reasons:?}"));
        }
        let main = &pod["status"]["containerStatuses"][0];
        let last = &main["lastState"]["terminated"];
        let was_lost = last["exitCode"] == UNKNOWN_CODE && last["reason"] == UNKNOWN_REASON;
        // It restarts for nothing else, but for its probe. A container that had not begun is not lost.
        if main["restartCount"] == 0 || was_lost || self == Self::Sick {
            return Ok(());
        }
        Err(format!("its container was restarted, and its last state does not say that nobody knows how it ended: {last}"))
    }
}

fn container(name: &str, script: &str) -> Value {
    json!({
        "name": name,
        "image": "tapp:1",
        "imagePullPolicy": "Never",
        "command": ["sh", "-c", format!("{}{script}", NOTE.replace("NAME", name))],
        "volumeMounts": [{ "name": "evidence", "mountPath": "/evidence" }],
    })
}

/// How a pod came to its end, as far as its evidence must show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It is there.
    Lives,
    /// It was asked to go once, in its own grace.
    Graceful,
    /// It was asked to go faster.
    Hurried,
    /// Something that holds its containers was killed.
    Lost,
}

/// What one instance of a container wrote down, in order.
type Instance = Vec<String>;

/// What the containers of one pod wrote down.
#[derive(Debug)]
pub(crate) struct Evidence {
    /// By container, in the order of their beginnings.
    instances: BTreeMap<String, Vec<Instance>>,
}

impl Evidence {
    pub(crate) fn read(folder: &Path) -> Self {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        let instances = files.iter().filter_map(|file| {
            let text = std::fs::read_to_string(file).ok().filter(|text| !text.is_empty())?;
            let mut by_start: BTreeMap<u64, Instance> = BTreeMap::new();
            for line in text.lines() {
                let (word, start) = line.split_once(' ')?;
                by_start.entry(start.parse().ok()?).or_default().push(word.to_owned());
            }
            Some((file.file_name()?.to_string_lossy().into_owned(), by_start.into_values().collect()))
        });
        Self { instances: instances.collect() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.instances.is_empty()
    }

    /// How often a container was begun.
    pub(crate) fn begun(&self, container: &str) -> usize {
        self.instances.get(container).map_or(0, Vec::len)
    }

    /// Whether it fits such a pod's life, which may go on.
    pub(crate) fn check_so_far(&self, kind: Kind, end: End) -> Result<(), String> {
        let most = if end == End::Lost { usize::MAX } else { 1 };
        for (container, instances) in &self.instances {
            let restarts = if container == "main" { usize::try_from(kind.restarts()).unwrap_or(0) } else { 0 };
            if instances.len() > most.saturating_add(restarts) {
                return Err(format!("{container} was begun {} times: {instances:?}", instances.len()));
            }
            for instance in instances {
                check_instance(instance).map_err(|wrong| format!("{wrong} in one instance of {container}: {instance:?}"))?;
            }
        }
        Ok(())
    }

    /// Whether it fits such a pod's life, in which nothing is under way any more.
    pub(crate) fn check_settled(&self, kind: Kind, end: End) -> Result<(), String> {
        self.check_so_far(kind, end)?;
        let last = self.instances.get("main").and_then(|instances| instances.last());
        if let Some(last) = last.filter(|_| kind.has_hooks()) {
            check_hooks(last, end).map_err(|wrong| format!("{wrong}: {last:?}"))?;
        }
        Ok(())
    }
}

/// Nothing happens twice in an instance, and everything in its order.
fn check_instance(instance: &Instance) -> Result<(), String> {
    for word in instance {
        if instance.iter().filter(|other| *other == word).count() > 1 {
            return Err(format!("{word} happened more than once"));
        }
    }
    let at = |word: &str| instance.iter().position(|other| other == word);
    for (first, second) in [("post-begin", "post-end"), ("pre-begin", "pre-end"), ("pre-end", "term")] {
        if let (Some(first_at), Some(second_at)) = (at(first), at(second))
            && first_at > second_at
        {
            return Err(format!("{second} came before {first}"));
        }
    }
    if at("pre-end").is_some() && at("pre-begin").is_none() { Err("a hook ended that had not begun".to_owned()) } else { Ok(()) }
}

fn check_hooks(last: &Instance, end: End) -> Result<(), String> {
    let has = |word: &str| last.iter().any(|other| other == word);
    let wanted: &[&str] = match end {
        End::Lives => &["start", "post-begin", "post-end"],
        // The trap for the signal was set before this was written.
        End::Graceful if has("start") => &["pre-begin", "pre-end", "term"],
        End::Graceful | End::Hurried | End::Lost => &[],
    };
    match wanted.iter().find(|word| !has(word)) {
        Some(missing) => Err(format!("{missing} did not happen")),
        None => Ok(()),
    }
}
