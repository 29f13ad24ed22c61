//! `cargo xtask crash`: kills the daemon, or shims, at random instants under load, many times.
//!
//! The work is done by the test `crash` of the crate `usher`, of which CI runs a short form; here it is told how long and which.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};

/// What is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Victims {
    Daemon,
    Shims,
}

pub(crate) fn run(root: &Path, kills: u32, seed: Option<u64>, victims: Victims) -> Result<()> {
    let test = match victims {
        Victims::Daemon => "a_daemon_killed_at_any_instant_loses_nothing_and_restarts_nothing",
        Victims::Shims => "a_pod_whose_shim_is_killed_is_told_as_lost_and_goes_on_by_its_policy",
    };
    let seed = seed.unwrap_or_else(any_seed);
    let more = if victims == Victims::Shims { " --shims" } else { "" };
    println!("seed {seed}: again by cargo xtask crash --kills {kills} --seed {seed}{more}");
    // The workload too, which the test takes from beside the binary.
    crate::cargo(root, &["build", "--quiet", "--workspace", "--bins"], &[])?;
    let mut command = crate::cargo_command(root);
    command.args(["test", "--quiet", "--workspace", "--test", "crash", "--", "--exact", test, "--nocapture"]);
    command.env("USHER_CRASH_KILLS", kills.to_string()).env("USHER_CRASH_SEED", seed.to_string());
    let status = command.status().context("cannot run cargo test")?;
    ensure!(status.success(), "something is wrong; again by cargo xtask crash --kills {kills} --seed {seed}{more}");
    Ok(())
}

fn any_seed() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |time| time.as_secs())
}
