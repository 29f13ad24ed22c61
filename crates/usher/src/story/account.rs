//! The grace account as a picture: a bar of the grace period, who used it, and a sentence.

use std::time::Duration;

use lifecycle::{GraceAccount, Share, ShareUser, Verdict};

use super::paint::{Look, Paint};

/// Columns of the bar.
const BAR_WIDTH: usize = 48;

/// Renders one account in a few lines.
pub(crate) fn render(account: &GraceAccount, paint: Paint) -> Vec<String> {
    let look = match account.verdict() {
        Verdict::Graceful | Verdict::EndedInPreStop | Verdict::EndedBefore => Look::Good,
        Verdict::GracefulInOvertime | Verdict::InProgress => Look::Warn,
        Verdict::Killed => Look::Bad,
    };
    let shares = account.shares();
    let name = paint.put(Look::Strong, &account.container);
    let mut lines = vec![format!("{name}: grace of {} s, {}", account.grace_secs, cause(account))];
    if !shares.is_empty() {
        lines.push(format!("  {}", bar(&shares, account.grace_secs, paint)));
        lines.push(format!("  {}", legend(&shares, paint)));
    }
    lines.push(format!("  {}", paint.put(look, account.sentence())));
    lines
}

fn cause(account: &GraceAccount) -> &'static str {
    use lifecycle::{KillTrigger, StopCause};
    match account.cause {
        StopCause::Pod(KillTrigger::Deleted) => "because the pod was deleted",
        StopCause::Pod(KillTrigger::DeadlineExceeded) => "because the pod's deadline was over",
        StopCause::Pod(KillTrigger::Evicted) => "because the pod was evicted",
        StopCause::Pod(KillTrigger::Preempted) => "because a critical pod needed the place",
        StopCause::Pod(KillTrigger::NodeShutdown) => "because the node shuts down",
        StopCause::Pod(KillTrigger::Rejected) => "because the node does not take the pod any more",
        StopCause::Pod(KillTrigger::Completed) => "because the pod's other containers were done",
        StopCause::Pod(KillTrigger::InitFailed) => "because an init container failed",
        StopCause::Pod(KillTrigger::ProbeFailed) => "because its probe failed and nothing restarts it",
        StopCause::PostStartFailed => "because its postStart hook failed",
        StopCause::LivenessFailed => "because its liveness probe failed",
        StopCause::StartupFailed => "because its startup probe failed",
        StopCause::DefinitionChanged => "because its image was changed",
        StopCause::ResizeNeedsRestart => "because its resources were changed",
        StopCause::RestartAllContainers => "because all containers begin again",
    }
}

fn bar(shares: &[Share], grace_secs: u64, paint: Paint) -> String {
    let end = shares.last().map_or(Duration::ZERO, |share| share.to);
    let column = |at: Duration| {
        let share = if end.is_zero() { 0.0 } else { at.as_secs_f64() / end.as_secs_f64() };
        // Positive and at most BAR_WIDTH, so nothing is lost.
        (share * BAR_WIDTH as f64).round() as usize
    };
    let mut cells = String::new();
    for share in shares {
        let width = column(share.to).saturating_sub(column(share.from)).max(usize::from(share.user != ShareUser::Unused));
        let (glyph, look) = glyph(share.user);
        cells.push_str(&paint.put(look, glyph.to_string().repeat(width)));
    }
    let over = end.saturating_sub(Duration::from_secs(grace_secs));
    let note = if over > Duration::from_millis(50) { format!(" (grace was over at {grace_secs} s)") } else { String::new() };
    format!("0 ▕{cells}▏ {}{note}", seconds(end))
}

fn legend(shares: &[Share], paint: Paint) -> String {
    let parts = shares.iter().map(|share| {
        let (glyph, look) = glyph(share.user);
        format!("{} {} {}", paint.put(look, glyph), user(share.user), seconds(share.length()))
    });
    parts.collect::<Vec<_>>().join("   ")
}

const fn glyph(user: ShareUser) -> (char, Look) {
    match user {
        ShareUser::Waiting => ('·', Look::Dim),
        ShareUser::PreStop => ('█', Look::Hook),
        ShareUser::Order => ('▒', Look::Warn),
        ShareUser::StopSignal => ('▓', Look::Signal),
        ShareUser::Kill => ('✖', Look::Bad),
        ShareUser::Unused => ('░', Look::Dim),
    }
}

const fn user(user: ShareUser) -> &'static str {
    match user {
        ShareUser::Waiting => "waiting",
        ShareUser::PreStop => "preStop",
        ShareUser::Order => "waiting for other containers",
        ShareUser::StopSignal => "after the stop signal",
        ShareUser::Kill => "SIGKILL",
        ShareUser::Unused => "unused",
    }
}

/// `1.2 s`, `45 ms`.
pub(crate) fn seconds(duration: Duration) -> String {
    if duration < Duration::from_millis(100) {
        return format!("{} ms", duration.as_millis());
    }
    let tenths = duration.as_millis().saturating_add(50) / 100;
    if tenths >= 600 {
        let secs = duration.as_secs();
        return format!("{}m{:02}s", secs / 60, secs % 60);
    }
    format!("{}.{} s", tenths / 10, tenths % 10)
}
