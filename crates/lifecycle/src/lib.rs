//! The lifecycle of a pod and its containers, as pure state machines.
//!
//! Everything that the kubelet decides about one pod is decided here and only here: the order of starts, hooks, the grace
//! period, signals, probes, restarts and back-off, and what status and Events say of it. There is no IO, no clock, no
//! randomness and no Kubernetes type: [`PodWorker`] is told what happened and what time it is, and answers with actions.
//! The doing is `node`'s; the same machine runs in virtual time in the simulation.
//!
//! Rows of the behaviour specification are cited as `k8s: 3.b.4`.
//!
//! ```text
//!    handle_kill, handle_event, handle_timeout          poll_action, poll_timeout, status
//!   ───────────────────────────────────────▶ PodWorker ───────────────────────────────────▶
//! ```
#![no_std]

extern crate alloc;

mod account;
mod action;
mod back_off;
mod container;
mod event;
mod overdue;
mod probe;
mod resize;
mod resources;
mod restart;
mod restart_all;
mod spec;
mod start;
mod status;
mod stop;
mod text;
mod time;
mod update;
mod worker;

pub use account::{Budget, Entry, GraceAccount, Measured, PreStopEnd, PreStopUse, Share, ShareUser, Verdict};
pub use action::{Action, ActionId, ContainerId, EventKind, EventRecord, FieldPath, Hook, Note, ProbeKind, Step, StopCause};
pub use back_off::{BACK_OFF_INITIAL, BACK_OFF_MAX, BACK_OFF_RESET_AFTER};
pub use container::Role;
pub use event::{Event, Eviction, EvictionCause, Exit, Grace, HookOutcome, ImageInspection, KillPod, KillTrigger, ProbeOutcome, Rejection};
pub use overdue::patience;
pub use probe::ROUTINE_PROBE_GRID;
pub use resize::RESIZE_RETRY_AFTER;
pub use resources::{ResizePolicy, ResizeRestart, Resources, Room, cpu_text, memory_text};
pub use spec::{
    ContainerSpec, ExitCodeOperator, Handler, HttpGet, HttpPort, ImagePullPolicy, PodSpec, ProbeHandler, ProbeSpec, RestartAction,
    RestartPolicy, RestartRule, Scheme, VolumeImage,
};
pub use status::{Condition, ConditionKind, ContainerState, ContainerStatus, Phase, PodStatus, Terminated};
pub use stop::MINIMUM_STOP_WINDOW_SECS;
pub use text::go_duration;
pub use time::Timestamp;
pub use worker::{PodWorker, RETRY_AFTER, Timer, UNSAVED_ACTIONS_MAX};
