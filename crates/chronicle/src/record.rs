//! The format: one [`Entry`] a line, as JSON. Documented for others in `docs/journal.md`.
//!
//! Invariant: what version 1 wrote is read; what a newer version wrote is refused by [`crate::read()`]. A field that is added
//! has a default.

use std::time::Duration;

use lifecycle::{ActionId, Event, Eviction, Hook, KillPod, PodSpec, PodStatus, ProbeKind, Rejection, Step, Timestamp};
use serde::{Deserialize, Serialize};

/// Version of the format; a reader refuses a newer one.
pub const JOURNAL_VERSION: u32 = 2;

/// Both clocks at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Moment {
    /// `CLOCK_BOOTTIME` in nanoseconds: decides.
    pub boot_nanos: u64,
    /// `CLOCK_REALTIME` in nanoseconds since 1970: shown.
    pub wall_nanos: u64,
}

impl Moment {
    /// The side that decides.
    pub const fn timestamp(self) -> Timestamp {
        Timestamp::from_nanos(self.boot_nanos)
    }

    /// Wall-clock time of another moment, in nanoseconds since 1970, if neither clock was set meanwhile.
    pub const fn wall_nanos_of(self, at: Timestamp) -> u64 {
        if at.as_nanos() >= self.boot_nanos {
            self.wall_nanos.saturating_add(at.as_nanos() - self.boot_nanos)
        } else {
            self.wall_nanos.saturating_sub(self.boot_nanos - at.as_nanos())
        }
    }
}

/// One line of the journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Counts from 0, over restarts of the engine. A gap is an entry that could not be written.
    pub seq: u64,
    /// When it passed.
    pub at: Moment,
    /// What.
    #[serde(flatten)]
    pub record: Record,
}

/// What an [`Entry`] tells.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Record {
    /// The journal begins, or goes on after the engine was away, or in another file because the last one was full.
    Opened {
        /// [`JOURNAL_VERSION`].
        version: u32,
        /// `metadata.name`.
        name: String,
        /// `metadata.namespace`.
        namespace: String,
        /// `metadata.uid`.
        uid: String,
        /// The pod was there before: the engine took it over.
        resumed: bool,
        /// The file before was full; what it held may be gone.
        #[serde(default, skip_serializing_if = "is_false")]
        continued: bool,
        /// Version of the engine.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        engine: Option<String>,
    },
    /// What the machine knows of the manifest.
    Spec(Box<PodSpec>),
    /// Someone wants the pod gone.
    Kill(Kill),
    /// The world told something to the machine.
    Event(Event),
    /// The machine asked for something.
    Action(Step),
    /// The runtime told something that the machine need not know.
    Runtime(Happening),
    /// The published status changed.
    Status(PodStatus),
    /// The machine could not do all it was asked; the words of `usher check`.
    Warning {
        /// What.
        message: String,
    },
    /// What a pull brought.
    Pull(PullFacts),
    /// The pod's volumes are there, or are not.
    Volumes(VolumeFacts),
    /// How a run of a hook went, as it was measured where it ran.
    Hook(HookFacts),
    /// Attempts of a probe that changed nothing, counted.
    Probes(ProbeCounts),
    /// The rest of what a command prints is not kept.
    OutputCut(OutputCut),
    /// Somebody ran a command in a container or joined its streams, or is done with it.
    Session(SessionFacts),
    /// The file is full. Version 1 stopped here.
    Full,
}

/// A request that the pod go, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kill {
    /// Why, and with which grace.
    #[serde(flatten)]
    pub kill: KillPod,
    /// Who asked, in words for people; `None` if it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// What the node evicts it for; only where it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eviction: Option<Eviction>,
    /// The resource of which a critical pod needs what this one has; only where the node preempts it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preempted_for: Option<String>,
    /// Why the node takes it no more; only where an engine that is new does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejection: Option<Rejection>,
}

/// Something that happened in the sandbox and that the machine need not know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "runtimeEvent", rename_all_fields = "camelCase")]
pub enum Happening {
    /// A signal was sent to a container's main process.
    SignalSent {
        /// To which.
        container_id: String,
        /// Its number.
        signal: i32,
        /// `stop`, `deadline` or `kill`.
        why: String,
        /// When.
        at: Moment,
        /// What the process does with it, as the kernel knew it just before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        handling: Option<SignalHandling>,
    },
    /// A command began.
    ExecStarted {
        /// Which.
        exec_id: String,
        /// When.
        at: Moment,
    },
    /// A command printed a line.
    ExecOutput {
        /// Which.
        exec_id: String,
        /// `stdout` or `stderr`.
        stream: String,
        /// Without its newline.
        line: String,
        /// When it was read.
        at: Moment,
    },
    /// The kernel killed something in the container for lack of memory.
    OomKilled {
        /// In which.
        container_id: String,
        /// How often so far.
        count: u64,
        /// When it was noticed.
        at: Moment,
        /// The cgroup's numbers, if it could tell them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        memory: Option<MemoryFacts>,
    },
}

/// What a process does with a signal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SignalHandling {
    /// Name of the process, as the kernel has it.
    pub process: String,
    /// What happens to the signal.
    pub disposition: Disposition,
    /// The processes that it started with its main thread, and theirs, as far as they are told.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<ChildHandling>,
}

/// What a process that another one started would do with a signal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChildHandling {
    /// Name of the process, as the kernel has it.
    pub process: String,
    /// What would happen to the signal.
    pub disposition: Disposition,
}

/// What happens to a signal that a process gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Disposition {
    /// It has a handler, or it waits for the signal.
    Handled,
    /// It asked that the signal be ignored.
    Ignored,
    /// It did nothing about it, so the signal ends it.
    Ends,
    /// It did nothing about it, and as PID 1 of its namespace it is spared: the kernel drops the signal.
    Dropped,
}

/// What a cgroup says of its memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MemoryFacts {
    /// The limit in bytes.
    pub limit_bytes: Option<u64>,
    /// What was charged when it was looked.
    pub usage_bytes: Option<u64>,
    /// The most that was ever charged.
    pub peak_bytes: Option<u64>,
}

/// What a pull brought.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PullFacts {
    /// The step that asked for it.
    pub id: ActionId,
    /// The image as the manifest has it.
    pub image: String,
    /// Bytes that came over the network.
    pub bytes: u64,
    /// Bytes of all layers, those included that were here already.
    pub total_bytes: u64,
    /// Layers.
    pub layers: u32,
    /// How long it took.
    pub took: Duration,
}

impl Kill {
    /// A request of which nothing more is known.
    pub const fn plain(kill: KillPod, by: Option<String>) -> Self {
        Self { kill, by, eviction: None, preempted_for: None, rejection: None }
    }
}

impl HookFacts {
    /// The id under which the runtime knows the hook's command: the same however often it is asked for.
    pub fn exec_id(&self) -> String {
        exec_id(self.hook, &self.container_id)
    }
}

/// The id under which the runtime knows the command of a hook.
pub fn exec_id(hook: Hook, container_id: &str) -> String {
    let hook = match hook {
        Hook::PostStart => "poststart",
        Hook::PreStop => "prestop",
    };
    format!("{hook}-{}", container_id.get(..12).unwrap_or(container_id))
}

impl PullFacts {
    /// Bytes a second; `None` if nothing was to be brought.
    pub fn bytes_per_second(&self) -> Option<u64> {
        let nanos = self.took.as_nanos();
        if self.bytes == 0 || nanos == 0 {
            return None;
        }
        u64::try_from(u128::from(self.bytes) * 1_000_000_000 / nanos).ok()
    }
}

/// How it went with the pod's volumes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VolumeFacts {
    /// The step that asked for them.
    pub id: ActionId,
    /// Their names.
    pub names: Vec<String>,
    /// How long it took.
    pub took: Duration,
    /// Why they are not there, if they are not.
    pub error: Option<String>,
}

/// How a run of a hook went, as it was measured where it ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HookFacts {
    /// The step that asked for it.
    pub id: ActionId,
    /// Name of the container.
    pub container: String,
    /// The instance.
    pub container_id: String,
    /// Which hook.
    pub hook: Hook,
    /// When its command or request began; `None` if it did not come to that.
    pub started_at: Option<Moment>,
    /// When it was over.
    pub finished_at: Moment,
    /// Exit code of its command.
    pub exit_code: Option<i32>,
    /// Status of the answer to its request.
    pub http_status: Option<u16>,
    /// HTTPS was asked for, the server speaks HTTP only, and the request was made over that.
    #[serde(default, skip_serializing_if = "is_false")]
    pub fell_back_to_http: bool,
    /// Why it could not be done, if it could not.
    pub error: Option<String>,
    /// What was printed and not told line by line, because another engine had begun the run.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub missed_stdout: String,
    /// The same of error output.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub missed_stderr: String,
    /// It printed more than is kept.
    #[serde(default, skip_serializing_if = "is_false")]
    pub output_cut: bool,
}

/// Attempts of a probe that changed nothing, since the last entry about that probe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProbeCounts {
    /// Name of the container.
    pub container: String,
    /// The instance.
    pub container_id: String,
    /// Which probe.
    pub probe: ProbeKind,
    /// Attempts that succeeded, warnings included.
    pub successes: u64,
    /// Attempts that failed.
    pub failures: u64,
    /// Attempts that could not be made.
    pub errors: u64,
    /// When the first of them began.
    pub first_at: Moment,
    /// When the last of them ended.
    pub last_at: Moment,
    /// The longest.
    pub longest: Duration,
    /// All of them together.
    pub total: Duration,
    /// The last that failed or could not be made.
    pub last_failure: Option<ProbeFailure>,
    /// Failures in a row at the end.
    pub failures_in_row: u64,
}

/// A probe attempt that failed or could not be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProbeFailure {
    /// When it ended.
    pub at: Moment,
    /// What it said, cut.
    pub output: String,
}

/// Somebody runs a command in a container, or has joined its streams.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionFacts {
    /// Which: told at its begin and again at its end.
    pub id: String,
    /// Name of the container.
    pub container: String,
    /// The instance.
    pub container_id: String,
    /// What is done.
    pub verb: SessionVerb,
    /// The command, cut; none when the streams of the main process are joined.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// It has a terminal.
    #[serde(default, skip_serializing_if = "is_false")]
    pub tty: bool,
    /// Whose it is, in words for people; `None` if it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// When it began.
    pub started_at: Moment,
    /// When it was over; `None` while it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Moment>,
    /// Exit code of its command, if that was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Sessions before this one that are not kept, because there were too many.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub left_out: u64,
}

/// What a session does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SessionVerb {
    /// Runs a command.
    Exec,
    /// Joins the streams of the main process.
    Attach,
}

/// The rest of what a command prints is not kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OutputCut {
    /// Which command.
    pub exec_id: String,
    /// Lines that were kept.
    pub lines: u64,
    /// Bytes that were kept.
    pub bytes: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
const fn is_false(value: &bool) -> bool {
    !*value
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
const fn is_zero(value: &u64) -> bool {
    *value == 0
}
