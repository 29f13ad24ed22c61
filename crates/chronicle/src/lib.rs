//! What a pod's journal holds, and what can be read from it: a life with its lanes, its grace accounts and its whys.
//!
//! Pure: text and data in, data and text out. No clock, no file, no terminal. Writing journals is `node`'s, showing them
//! `usher`'s; whoever else reads one (a page, a metric, a lint with measured runs) reads it through [`Life`].
//!
//! ```text
//!   file ──read──▶ entries ──Life::of──▶ Life ──┬── accounts, blame
//!                                               ├── lanes ──▶ terminal, SVG, HTML, Mermaid, JSON
//!                                               ├── why: sentences with their evidence
//!                                               └── judge: verdicts over test runs
//! ```

pub mod blame;
pub mod chart;
pub mod judge;
mod lanes;
mod life;
pub mod measure;
mod notices;
mod read;
mod record;
pub mod sieve;
mod text;
pub mod trace;
pub mod why;

/// Version of the JSON form of a life and its chart.
pub const LIFE_VERSION: u32 = 1;

pub use lanes::{Lane, Lanes, Look, Mark, MarkKind, Row, Span, lanes};
pub use life::{
    Asked, BackingOff, ContainerLife, EngineRun, HookEnd, HookRun, Instance, Life, OutputLine, PhaseSpan, ProbeChange, PullRun, SandboxRun,
    SessionRun, Signal, StartFailure, TerminationStep, Trigger, Why,
};
pub use read::{Journal, ReadError, read};
pub use record::{
    ChildHandling, Disposition, Entry, Happening, HookFacts, JOURNAL_VERSION, Kill, MemoryFacts, Moment, OutputCut, ProbeCounts,
    ProbeFailure, PullFacts, Record, SessionFacts, SessionVerb, SignalHandling, VolumeFacts, exec_id,
};
pub use text::{signal_name, span_text, time_of_day, wall_text};
