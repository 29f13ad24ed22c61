//! Recordings of a reference node: what it did with a manifest, to be compared with what we do.
//!
//! Not a player: the recordings are played in virtual time by this crate's tests and with real containers by those of `usher`.
//! Both write a [`recording::Recording`] of their own, and [`judge`] says whether it agrees.

pub mod compare;
pub mod differences;
pub mod recording;
pub mod steps;

use crate::trace::compare::Tolerance;
use crate::trace::differences::{DIFFERENCES, Difference, Player};
use crate::trace::recording::Recording;

/// One recorded case.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// Its name.
    pub name: &'static str,
    /// The pod and the steps, as JSON.
    pub pod: &'static str,
    /// What the reference node showed.
    pub recorded: &'static str,
}

/// Calls a macro with `test_name = "case-name"` for each recorded case: a test for each.
#[macro_export]
macro_rules! for_each_trace {
    ($then:ident) => {
        $then! {
            a_classic_nginx = "a-classic-nginx",
            a2_hooks_ok = "a2-hooks-ok",
            a4_no_hooks = "a4-no-hooks",
            b_poststart_badcommand = "b-poststart-badcommand",
            b2_poststart_exit3 = "b2-poststart-exit3",
            b3_poststart_fail_never = "b3-poststart-fail-never",
            c_prestop_badcommand = "c-prestop-badcommand",
            d_prestop5_grace6_app3 = "d-prestop5-grace6-app3",
            d3_ignore_term_grace3 = "d3-ignore-term-grace3",
            e_prestop_hang = "e-prestop-hang",
            f_poststart_hang10 = "f-poststart-hang10",
            f2_poststart_hang_delete = "f2-poststart-hang-delete",
            g1_poststart_http_number = "g1-poststart-http-number",
            g11_prestop_http_unknown_name = "g11-prestop-http-unknown-name",
            g13_poststart_http_host = "g13-poststart-http-host",
            g14_poststart_http_noport = "g14-poststart-http-noport",
            g2_poststart_http_name = "g2-poststart-http-name",
            g4_poststart_http_refused = "g4-poststart-http-refused",
            g5_prestop_http_number = "g5-prestop-http-number",
            g6_prestop_http_name = "g6-prestop-http-name",
            g7_prestop_http_500 = "g7-prestop-http-500",
            g9_prestop_https_to_http = "g9-prestop-https-to-http",
            h_sleep_action = "h-sleep-action",
            h2_sleep_over_grace = "h2-sleep-over-grace",
            h3_sleep_zero = "h3-sleep-zero",
            i_prestop_completed = "i-prestop-completed",
            i3_prestop_all_completed = "i3-prestop-all-completed",
            j_liveness_prestop_restart = "j-liveness-prestop-restart",
            j2_startup_fail_prestop = "j2-startup-fail-prestop",
            j5_startup_then_ready = "j5-startup-then-ready",
            k_crashloop_always = "k-crashloop-always",
            k2_crashloop_exit0 = "k2-crashloop-exit0",
            k4_never_exit3 = "k4-never-exit3",
            l_init_success = "l-init-success",
            l2_init_fail_never = "l2-init-fail-never",
            l4_sidecar_order = "l4-sidecar-order",
            l5_sidecar_job = "l5-sidecar-job",
            l7_sidecar_crash = "l7-sidecar-crash",
            l8_delete_during_init = "l8-delete-during-init",
            m_force_grace0 = "m-force-grace0",
            m2_grace3_override = "m2-grace3-override",
            m5_grace1 = "m5-grace1",
            m7_spec_grace0 = "m7-spec-grace0",
            n_active_deadline = "n-active-deadline",
            o_poststart_fail_with_prestop = "o-poststart-fail-with-prestop",
            p_exit_during_poststart = "p-exit-during-poststart",
            q_image_stopsignal = "q-image-stopsignal",
            r_never_missing = "r-never-missing",
            r2_pull_missing = "r2-pull-missing",
            r4_delete_before_start = "r4-delete-before-start",
            u_hook_context = "u-hook-context",
        }
    };
}

macro_rules! cases {
    ($($test:ident = $name:literal,)*) => {
        /// All recorded cases.
        pub const CASES: &[Case] = &[$(Case {
            name: $name,
            pod: include_str!(concat!("../../fixtures/traces/", $name, ".json")),
            recorded: include_str!(concat!("../../fixtures/traces/", $name, ".txt")),
        }),*];
    };
}

for_each_trace!(cases);

impl Case {
    /// The case of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        CASES.iter().find(|case| case.name == name)
    }
}

/// Compares what we showed with what the reference showed; known differences are left out.
///
/// # Errors
/// With a text for readers: what disagrees and is not known, which known differences did not show, and both side by side.
pub fn judge(case: &Case, player: Player, reference: &Recording, ours: &Recording, tolerance: Tolerance) -> Result<(), String> {
    let known: Vec<&Difference> = DIFFERENCES.iter().filter(|known| known.case == case.name && known.is_of(player)).collect();
    let mut unused: Vec<&Difference> = known.iter().copied().filter(|known| known.is_sure(player)).collect();
    let mut unexplained = Vec::new();
    for disagreement in compare::compare(reference, ours, tolerance) {
        let mut explains = known.iter().filter(|known| disagreement.starts_with(known.disagreement)).peekable();
        if explains.peek().is_none() {
            unexplained.push(disagreement);
            continue;
        }
        let explains: Vec<_> = explains.collect();
        unused.retain(|unused| !explains.contains(&unused));
    }
    if unexplained.is_empty() && unused.is_empty() {
        return Ok(());
    }
    let unused: String =
        unused.iter().map(|unused| format!("\nlisted, but it did not show: {} ({})", unused.disagreement, unused.why)).collect();
    let name = case.name;
    let both = compare::side_by_side(reference, ours);
    Err(format!("{name} does not agree with the reference:\n{}{unused}\n\n{both}", unexplained.join("\n")))
}
