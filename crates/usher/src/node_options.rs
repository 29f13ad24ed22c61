//! What a node may be told about its limits, in the words of the kubelet's flags.

use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use node::NodeConfig;
use node::eviction::EvictionConfig;
use node::eviction::threshold::{EVERY_DEFAULT, EvictionTexts, TRANSITION_PERIOD_DEFAULT};

use crate::duration;

/// Settings of the node, the same for `usher run` and `usher serve`.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Limits of the node")]
pub(crate) struct NodeOptions {
    /// Most processes and threads of one pod; -1 for as many as the machine can have [default: 4096, or half of the machine's]
    #[arg(long, value_name = "COUNT", allow_negative_numbers = true, value_parser = pids)]
    pod_max_pids: Option<Pids>,
    /// Evict a pod as soon as less is there: memory.available<100Mi,nodefs.available<10%
    /// [default: serve: the kubelet's; run: none]
    #[arg(long, value_name = "SIGNAL<VALUE,…", hide_short_help = true)]
    eviction_hard: Option<String>,
    /// Evict a pod when less was there for the grace period: memory.available<300Mi
    #[arg(long, value_name = "SIGNAL<VALUE,…", default_value = "", hide_short_help = true)]
    eviction_soft: String,
    /// For how long: memory.available=1m30s
    #[arg(long, value_name = "SIGNAL=DURATION,…", default_value = "", hide_short_help = true)]
    eviction_soft_grace_period: String,
    /// Longest grace in seconds of pods that a soft threshold evicts
    #[arg(long, value_name = "SECONDS", default_value = "0", hide_short_help = true)]
    eviction_max_pod_grace_period: u64,
    /// How much more than the threshold must be there before it is enough again: nodefs.available=500Mi
    #[arg(long, value_name = "SIGNAL=VALUE,…", default_value = "", hide_short_help = true)]
    eviction_minimum_reclaim: String,
    /// How long the node shows a pressure after it was last there [default: 5m]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse, hide_short_help = true)]
    eviction_pressure_transition_period: Option<Duration>,
    /// Time between two looks at memory, disk and processes [default: 10s]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse, hide_short_help = true)]
    eviction_monitoring_period: Option<Duration>,
}

/// What evicts pods where nobody says anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EvictionDefault {
    /// The reference's thresholds.
    Reference,
    /// Nothing: the machine may be somebody's desk, whose disk is as full as he likes.
    Nothing,
}

/// `podPidsLimit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pids {
    Unlimited,
    AtMost(u32),
}

/// Far more than services have, and so few that one pod cannot take all that a small machine has.
const POD_PIDS_DEFAULT: u32 = 4096;

impl NodeOptions {
    /// Sets what was asked for.
    pub(crate) fn apply(&self, config: &mut NodeConfig) {
        match self.pod_max_pids {
            Some(Pids::AtMost(count)) => config.pod_pids_max = Some(count),
            Some(Pids::Unlimited) => config.pod_pids_max = None,
            None => {}
        }
    }

    /// When pods are evicted.
    pub(crate) fn eviction(&self, default: EvictionDefault) -> anyhow::Result<EvictionConfig> {
        let texts = EvictionTexts {
            hard: match (&self.eviction_hard, default) {
                (Some(hard), _) => Some(hard),
                (None, EvictionDefault::Reference) => None,
                (None, EvictionDefault::Nothing) => Some(""),
            },
            soft: &self.eviction_soft,
            soft_grace_period: &self.eviction_soft_grace_period,
            minimum_reclaim: &self.eviction_minimum_reclaim,
        };
        let mut config = EvictionConfig::parse(&texts, |text| duration::parse(text).ok()).context("cannot use the eviction thresholds")?;
        config.pod_grace_secs_max = self.eviction_max_pod_grace_period;
        config.transition_period = self.eviction_pressure_transition_period.unwrap_or(TRANSITION_PERIOD_DEFAULT);
        config.every = self.eviction_monitoring_period.unwrap_or(EVERY_DEFAULT).max(EVERY_LEAST);
        Ok(config)
    }
}

/// More often, looking would cost more than it tells.
const EVERY_LEAST: Duration = Duration::from_millis(100);

/// What one pod may have where nobody says anything; none where the kernel cannot limit it, of which `usher check` tells.
pub(crate) fn default_pod_pids() -> Option<u32> {
    let of_machine = std::fs::read_to_string("/proc/sys/kernel/pid_max").ok().and_then(|text| text.trim().parse::<u32>().ok());
    let default = of_machine.map_or(POD_PIDS_DEFAULT, |max| POD_PIDS_DEFAULT.min(max / 2));
    runtime::has_controller("pids").then_some(default)
}

fn pids(text: &str) -> Result<Pids, String> {
    match text.parse::<i64>() {
        Ok(-1) => Ok(Pids::Unlimited),
        Ok(count) if count > 0 => u32::try_from(count).map(Pids::AtMost).map_err(|_| format!("no machine has {count} processes")),
        Ok(_) | Err(_) => Err(format!("{text:?} is not a number of processes; write for example 1024, or -1 for no limit")),
    }
}

#[cfg(test)]
mod tests {
    use super::{Pids, pids};

    #[test]
    fn a_limit_of_processes_is_a_positive_number_or_minus_one() {
        assert_eq!(pids("64"), Ok(Pids::AtMost(64)));
        assert_eq!(pids("-1"), Ok(Pids::Unlimited));
        for wrong in ["0", "-2", "many", "99999999999"] {
            assert!(pids(wrong).is_err(), "{wrong}");
        }
    }
}
