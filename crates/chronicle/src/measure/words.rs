//! The words of labels and attributes: few, fixed, and the same in metrics and traces.

use lifecycle::{Handler, HookOutcome, KillTrigger, ProbeOutcome, StopCause};

use crate::blame::Blame;

/// What a hook does.
pub const fn handler_word(handler: &Handler) -> &'static str {
    match handler {
        Handler::Exec { .. } => "exec",
        Handler::HttpGet(_) => "httpGet",
        Handler::Sleep { .. } => "sleep",
        Handler::TcpSocket => "tcpSocket",
    }
}

/// How a hook ended.
pub const fn hook_end(outcome: &HookOutcome) -> &'static str {
    match outcome {
        HookOutcome::Succeeded => "succeeded",
        HookOutcome::ExitedNonZero { .. } => "exited_non_zero",
        HookOutcome::FailedToRun { .. } => "failed_to_run",
        HookOutcome::HttpFailed { .. } => "http_failed",
        HookOutcome::TimedOut { .. } => "timed_out",
        HookOutcome::ContainerEnded { .. } => "container_ended",
        HookOutcome::Cancelled => "cancelled",
    }
}

/// How a probe ended, in the reference's words.
pub const fn probe_word(outcome: &ProbeOutcome) -> &'static str {
    match outcome {
        ProbeOutcome::Success | ProbeOutcome::Warning { .. } => "successful",
        ProbeOutcome::Failure { .. } => "failed",
        ProbeOutcome::Error { .. } => "unknown",
    }
}

/// Why a container was stopped.
pub const fn stop_word(cause: StopCause) -> &'static str {
    match cause {
        StopCause::Pod(trigger) => trigger_word(trigger),
        StopCause::PostStartFailed => "post_start_failed",
        StopCause::LivenessFailed => "liveness_failed",
        StopCause::StartupFailed => "startup_failed",
        StopCause::DefinitionChanged => "definition_changed",
        StopCause::ResizeNeedsRestart => "resize_needs_restart",
        StopCause::RestartAllContainers => "restart_all_containers",
    }
}

/// Why a pod goes.
pub const fn trigger_word(trigger: KillTrigger) -> &'static str {
    match trigger {
        KillTrigger::Deleted => "deleted",
        KillTrigger::DeadlineExceeded => "deadline_exceeded",
        KillTrigger::Evicted => "evicted",
        KillTrigger::Preempted => "preempted",
        KillTrigger::NodeShutdown => "node_shutdown",
        KillTrigger::Rejected => "rejected",
        KillTrigger::Completed => "completed",
        KillTrigger::InitFailed => "init_failed",
        KillTrigger::ProbeFailed => "probe_failed",
    }
}

/// Who is to blame for a kill.
pub const fn blame_word(blame: Blame) -> &'static str {
    match blame {
        Blame::Nobody => "nobody",
        Blame::OutOfMemory => "out_of_memory",
        Blame::Stranger => "stranger",
        Blame::Asker => "asked_for",
        Blame::PreStopEndless => "pre_stop_endless",
        Blame::PreStop => "pre_stop",
        Blame::Order => "stop_order",
        Blame::Starting => "still_starting",
        Blame::Process => "process",
    }
}
