//! Where we differ from the recordings, case by case, and why. Nothing else may differ.

/// One known disagreement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The recording.
    pub case: &'static str,
    /// How the disagreement begins, as [`super::compare`] words it.
    pub disagreement: &'static str,
    /// Why it is meant so.
    pub why: &'static str,
    /// When it shows.
    pub shows: Shows,
}

/// Who plays a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Player {
    /// The machine alone, in virtual time.
    VirtualTime,
    /// `usher run`, with real containers.
    RealRuntime,
}

/// When a difference shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shows {
    /// Whoever plays.
    Always,
    /// Always in virtual time, and never with real containers.
    InVirtualTime,
    /// Always with real containers, and never in virtual time.
    WithRealRuntime,
    /// With real containers if it happens so.
    SometimesWithRealRuntime,
    /// Always in virtual time; with real containers if it happens so.
    SometimesWithRealRuntimeToo,
}

impl Difference {
    /// Whether this player may differ so.
    pub fn is_of(&self, player: Player) -> bool {
        match (self.shows, player) {
            (Shows::Always | Shows::SometimesWithRealRuntimeToo, _)
            | (Shows::InVirtualTime, Player::VirtualTime)
            | (Shows::WithRealRuntime | Shows::SometimesWithRealRuntime, Player::RealRuntime) => true,
            (Shows::InVirtualTime, Player::RealRuntime)
            | (Shows::WithRealRuntime | Shows::SometimesWithRealRuntime, Player::VirtualTime) => false,
        }
    }

    /// Whether it must show when this player plays; what does not show although it must is a stale line here.
    pub fn is_sure(&self, player: Player) -> bool {
        match (self.shows, player) {
            (Shows::SometimesWithRealRuntime | Shows::SometimesWithRealRuntimeToo, Player::RealRuntime) => false,
            (Shows::Always | Shows::InVirtualTime | Shows::WithRealRuntime, _)
            | (Shows::SometimesWithRealRuntime | Shows::SometimesWithRealRuntimeToo, Player::VirtualTime) => self.is_of(player),
        }
    }
}

const fn difference(shows: Shows, case: &'static str, disagreement: &'static str, why: &'static str) -> Difference {
    Difference { case, disagreement, why, shows }
}

const fn always(case: &'static str, disagreement: &'static str, why: &'static str) -> Difference {
    Difference { case, disagreement, why, shows: Shows::Always }
}

/// Deliberate: a running postStart does not hold up a deletion.
const POST_START_IS_CANCELLED: &str = "difference 1: the delete cancels the postStart hook";
/// Deliberate: a preStop hook that runs out of the grace is told, when it does.
const OUT_OF_GRACE_IS_TOLD: &str = "difference 3: a preStop hook out of grace is told at once and by its own text";
/// Deliberate: a preStop hook whose own work ended the container has not failed.
const HOOK_ENDED_ITS_CONTAINER: &str = "difference 3: a preStop hook whose own work ended the container has not failed";
/// Deliberate: a container that ended by itself under its postStart hook is not killed.
const NOTHING_TO_KILL: &str = "nothing is killed where nothing lives, and so no preStop hook fails";
/// Deliberate: a deletion does not wait for an image pull.
const PULL_IS_CANCELLED: &str = "the delete does not wait for a second pull";
/// The reference looks again a moment after the first failure; we are told and wait for the next try.
const LOOKED_TWICE: &str = "the reference's next sync finds the same failure again, before the pause";
/// The reference works through one sync after the other and sees the exit only after the delete.
const EXIT_SEEN_EARLIER: &str = "we see the exit before the delete, the reference after it";
/// A probe that meets the end of its container errs, and says so; which one does is a matter of milliseconds.
const PROBED_AFTER_EXIT: &str = "a probe was under way when the container ended, or began before its end was known";
/// The reference makes `started` and `ready` true in two syncs.
const READY_AT_ONCE: &str = "without a readiness probe ready follows started at once, in the reference a sync later";

/// Where the comparison is cut off, the reference has not had its next sync.
const PAUSE_SHOWN_AT_ONCE: &str = "the pause before the next start is shown as soon as it begins, in the reference a sync later";
/// What a probe finds is told, also if the delete came while it was under way; later none is made.
const PROBED_AT_THE_DELETE: &str = "a probe was under way when the delete came, and tells what it found";
/// The recorded workload hears a greeting in TLS with its time limit for reading, of 3 s; ours knows at once what it is.
const GREETED_AT_ONCE: &str = "the workload of the recording takes 3 s to see that it is greeted in TLS, ours none";

/// All known disagreements.
pub const DIFFERENCES: &[Difference] = &[
    always(
        "a-classic-nginx",
        "event spec.containers{lifecycle-demo-container} - Warning FailedPreStopHook PreStopHook failed",
        HOOK_ENDED_ITS_CONTAINER,
    ),
    always("e-prestop-hang", "event spec.containers{app} - Warning FailedPreStopHook PreStopHook failed", OUT_OF_GRACE_IS_TOLD),
    always(
        "e-prestop-hang",
        "event spec.containers{app} + Warning FailedPreStopHook PreStopHook did not finish within the grace period",
        OUT_OF_GRACE_IS_TOLD,
    ),
    always("f2-poststart-hang-delete", "work app - hook: sleep ends", POST_START_IS_CANCELLED),
    difference(
        Shows::WithRealRuntime,
        "g9-prestop-https-to-http",
        "work app ~ main: start to main: signal 15 (Terminated): ",
        GREETED_AT_ONCE,
    ),
    always(
        "h2-sleep-over-grace",
        "event spec.containers{app} + Warning FailedPreStopHook PreStopHook did not finish within the grace period",
        OUT_OF_GRACE_IS_TOLD,
    ),
    difference(
        Shows::SometimesWithRealRuntime,
        "j2-startup-fail-prestop",
        "event spec.containers{app} + Warning Unhealthy Startup probe failed: ",
        PROBED_AT_THE_DELETE,
    ),
    difference(
        Shows::SometimesWithRealRuntime,
        "j5-startup-then-ready",
        "event spec.containers{app} + Warning Unhealthy Readiness probe errored",
        PROBED_AFTER_EXIT,
    ),
    always("j5-startup-then-ready", "event spec.containers{app} - Warning Unhealthy Readiness probe errored", PROBED_AFTER_EXIT),
    // With real containers it is not played to its end.
    difference(
        Shows::InVirtualTime,
        "k-crashloop-always",
        "event spec.containers{app} + Warning BackOff Back-off restarting failed container",
        EXIT_SEEN_EARLIER,
    ),
    difference(
        Shows::WithRealRuntime,
        "k-crashloop-always",
        "container app + at the end: waiting CrashLoopBackOff restarts=3",
        PAUSE_SHOWN_AT_ONCE,
    ),
    always("k2-crashloop-exit0", "event spec.containers{app} + Warning BackOff Back-off restarting failed container", EXIT_SEEN_EARLIER),
    always("l4-sidecar-order", "container s1 - running - restarts=0 - started -", READY_AT_ONCE),
    always("m-force-grace0", "event spec.containers{app} - Warning FailedPreStopHook PreStopHook failed", OUT_OF_GRACE_IS_TOLD),
    always(
        "m-force-grace0",
        "event spec.containers{app} + Warning FailedPreStopHook PreStopHook did not finish within the grace period",
        OUT_OF_GRACE_IS_TOLD,
    ),
    always("m2-grace3-override", "event spec.containers{app} - Warning FailedPreStopHook PreStopHook failed", OUT_OF_GRACE_IS_TOLD),
    always(
        "m2-grace3-override",
        "event spec.containers{app} + Warning FailedPreStopHook PreStopHook did not finish within the grace period",
        OUT_OF_GRACE_IS_TOLD,
    ),
    always("p-exit-during-poststart", "event spec.containers{app} - Normal Killing FailedPostStartHook", NOTHING_TO_KILL),
    always("p-exit-during-poststart", "event spec.containers{app} - Warning FailedPreStopHook PreStopHook failed", NOTHING_TO_KILL),
    always("r-never-missing", "event spec.containers{app} - Warning ErrImageNeverPull Container image", LOOKED_TWICE),
    always("r-never-missing", "event spec.containers{app} - Warning Failed Error: ErrImageNeverPull", LOOKED_TWICE),
    always("r2-pull-missing", "event spec.containers{app} - Normal Pulling Pulling image", PULL_IS_CANCELLED),
    always("r2-pull-missing", "event spec.containers{app} - Warning Failed Failed to pull image", PULL_IS_CANCELLED),
    always("r2-pull-missing", "event spec.containers{app} - Warning Failed Error: ErrImagePull", PULL_IS_CANCELLED),
];
