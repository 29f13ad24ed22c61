//! What the world is like: how long things take and how they go. Only answers to questions; `world.rs` has the mechanics.

use std::collections::BTreeMap;
use std::time::Duration;

use lifecycle::{Handler, Hook, HookOutcome, ImageInspection, ProbeKind, ProbeOutcome, Resources, Room};

/// Something that takes time and then is so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timed<T> {
    /// How long it takes.
    pub after: Duration,
    /// What it comes to.
    pub value: T,
}

impl<T> Timed<T> {
    /// So at once.
    pub const fn now(value: T) -> Self {
        Self { after: Duration::ZERO, value }
    }

    /// So after a while.
    pub const fn after(after: Duration, value: T) -> Self {
        Self { after, value }
    }
}

/// A failure with the reason that status or Event shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// CamelCase reason.
    pub reason: String,
    /// The text.
    pub message: String,
}

/// How a main process ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// Exit code, 128 + signal if a signal ended it.
    pub code: i32,
    /// The signal, if one ended it.
    pub signal: Option<i32>,
    /// `Completed`, `Error`, `OOMKilled`.
    pub reason: String,
}

impl Ending {
    /// The end of a process that exits with `code`.
    pub fn exit(code: i32) -> Self {
        let reason = if code == 0 { "Completed" } else { "Error" };
        Self { code, signal: None, reason: reason.to_owned() }
    }

    /// The end of a process by a signal.
    pub fn by_signal(signal: i32) -> Self {
        Self { code: 128 + signal, signal: Some(signal), reason: "Error".to_owned() }
    }

    /// The end of a process that ran out of memory.
    pub fn out_of_memory() -> Self {
        Self { code: 137, signal: Some(9), reason: "OOMKilled".to_owned() }
    }
}

/// What a main process does on its stop signal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OnStopSignal {
    /// Nothing.
    Ignores,
    /// Ends after a while.
    Ends(Timed<Ending>),
}

/// One instance of a container, from its start to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Life {
    /// When it ends by itself, counted from its start; `None` if never.
    pub ends: Option<Timed<Ending>>,
    /// What the stop signal does to it.
    pub on_stop_signal: OnStopSignal,
    /// From SIGKILL to its end.
    pub dies_after: Duration,
    /// From its end to the news of it.
    pub told_after: Duration,
}

/// One run of a hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookRun {
    /// How long it takes; `None` if it hangs until it is cancelled or its container ends.
    pub takes: Option<Duration>,
    /// What it comes to if it is left alone.
    pub outcome: HookOutcome,
    /// What its own work does to the main process, counted from its begin.
    pub ends_container: Option<Timed<Ending>>,
    /// From the end of its container, or from being cancelled, to the news that it ended.
    pub told_after: Duration,
}

/// Everything that the world decides and the machine does not.
pub trait Nature {
    /// The sandbox is being made.
    fn create_sandbox(&mut self, attempt: u32) -> Timed<Result<Vec<String>, Trouble>>;
    /// Names of the pod's pull secrets that are not there; usually all are.
    fn missing_pull_secrets(&self) -> Vec<String> {
        Vec::new()
    }
    /// The sandbox is being stopped.
    fn stop_sandbox(&mut self) -> Duration;
    /// What is left of the pod is being given back.
    fn clean_up(&mut self) -> Duration;
    /// An image is looked for.
    fn inspect_image(&mut self, container: &str, image: &str) -> Timed<ImageInspection>;
    /// An image is pulled; the size in bytes if it goes well.
    fn pull_image(&mut self, container: &str, image: &str) -> Timed<Result<u64, Trouble>>;
    /// A container is created.
    fn create_container(&mut self, container: &str, restart_count: u32) -> Timed<Result<(), Trouble>>;
    /// A container is started; the time is until its process runs.
    fn start_container(&mut self, container: &str, restart_count: u32) -> Timed<Result<(), String>>;
    /// From the start of the process to the news of it.
    fn start_told_after(&mut self, container: &str) -> Duration;
    /// How this instance lives.
    fn life(&mut self, container: &str, restart_count: u32) -> Life;
    /// How this hook goes.
    fn hook(&mut self, container: &str, restart_count: u32, hook: Hook, handler: &Handler) -> HookRun;
    /// How this probe attempt goes; `age` is the time since the process started.
    fn probe(&mut self, container: &str, restart_count: u32, probe: ProbeKind, age: Duration) -> Timed<ProbeOutcome>;
    /// The stop signal is sent.
    fn stop_signal(&mut self, container: &str) -> Timed<Result<(), String>>;
    /// SIGKILL is sent.
    fn kill_signal(&mut self, container: &str) -> Timed<Result<(), String>>;
    /// The node's room is measured; usually there is more than any pod asks for.
    fn room(&mut self) -> Timed<Room> {
        Timed::now(Room { cpu_millis: u64::MAX, memory_bytes: u64::MAX, used_cpu_millis: 0, used_memory_bytes: 0 })
    }
    /// Other resources are written for a container, or for the pod.
    fn resize(&mut self, _container: Option<&str>) -> Timed<Result<(), String>> {
        Timed::now(Ok(()))
    }
    /// Whether no more memory is in use than these containers are to have.
    fn memory_check(&mut self, _containers: &BTreeMap<String, Resources>) -> Timed<Result<(), String>> {
        Timed::now(Ok(()))
    }
    /// From a request to give up a pull to the news that it is given up.
    fn pull_cancelled_after(&mut self) -> Duration;
    /// Whether an answer comes twice, and how much later.
    fn repeats_answer(&mut self) -> Option<Duration> {
        None
    }
    /// Of two things due at the same instant, the world's before the machine's timer?
    fn world_goes_first(&mut self) -> bool {
        true
    }
}
