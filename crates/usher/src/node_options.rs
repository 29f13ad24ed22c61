//! What a node may be told about its limits, in the words of the kubelet's flags, or by the file that the kubelet takes.
//!
//! A flag wins over its field in the file.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use api::NodeSupport;
use api::configuration::KubeletConfiguration;
use api::sysctls::{AllowedSysctls, parse_pattern};
use clap::Args;
use node::NodeConfig;
use node::eviction::EvictionConfig;
use node::eviction::threshold::{EVERY_DEFAULT, TRANSITION_PERIOD_DEFAULT};
use tokio::sync::Semaphore;

use crate::configuration::{self, Thresholds};
use crate::duration;

/// Settings of the node, the same for `usher run` and `usher serve`.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Limits of the node")]
pub(crate) struct NodeOptions {
    /// Take settings from this file, a KubeletConfiguration in YAML or JSON; flags win over it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Most processes and threads of one pod; -1 for as many as the machine can have [default: 4096, or half of the machine's]
    #[arg(long, value_name = "COUNT", allow_negative_numbers = true, value_parser = pids)]
    pod_max_pids: Option<Pids>,
    /// Kernel parameters that pods may set besides the safe ones: names, or beginnings that end with *
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', value_parser = sysctl, hide_short_help = true)]
    allowed_unsafe_sysctls: Option<Vec<String>>,
    /// Evict a pod as soon as less is there: memory.available<100Mi,nodefs.available<10%
    /// [default: serve: the kubelet's; run: none]
    #[arg(long, value_name = "SIGNAL<VALUE,…", hide_short_help = true)]
    eviction_hard: Option<String>,
    /// Evict a pod when less was there for the grace period: memory.available<300Mi
    #[arg(long, value_name = "SIGNAL<VALUE,…", hide_short_help = true)]
    eviction_soft: Option<String>,
    /// For how long: memory.available=1m30s
    #[arg(long, value_name = "SIGNAL=DURATION,…", hide_short_help = true)]
    eviction_soft_grace_period: Option<String>,
    /// Longest grace in seconds of pods that a soft threshold evicts
    #[arg(long, value_name = "SECONDS", hide_short_help = true)]
    eviction_max_pod_grace_period: Option<u64>,
    /// How much more than the threshold must be there before it is enough again: nodefs.available=500Mi
    #[arg(long, value_name = "SIGNAL=VALUE,…", hide_short_help = true)]
    eviction_minimum_reclaim: Option<String>,
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

/// The flags, and what the file says.
#[derive(Debug)]
pub(crate) struct NodeSettings {
    flags: NodeOptions,
    file: KubeletConfiguration,
}

impl NodeOptions {
    /// Reads the file, if there is one. The inner error is everything that is wrong with it, rendered.
    pub(crate) fn with_file(self, color: bool) -> anyhow::Result<Result<NodeSettings, String>> {
        let file = match &self.config {
            Some(path) => configuration::read(path, color)?,
            None => Ok(KubeletConfiguration::default()),
        };
        Ok(file.map(|file| NodeSettings { flags: self, file }))
    }
}

impl NodeSettings {
    /// What the file says.
    pub(crate) const fn file(&self) -> &KubeletConfiguration {
        &self.file
    }

    /// Sets what was asked for.
    pub(crate) fn apply(&self, config: &mut NodeConfig) {
        let of_file = self.file.pod_pids_limit.map(|limit| match limit {
            -1 => Pids::Unlimited,
            count => Pids::AtMost(u32::try_from(count).unwrap_or(u32::MAX)),
        });
        match self.flags.pod_max_pids.or(of_file) {
            Some(Pids::AtMost(count)) => config.pod_pids_max = Some(count),
            Some(Pids::Unlimited) => config.pod_pids_max = None,
            None => {}
        }
        if let Some(bytes) = self.file.container_log_max_size.as_deref().and_then(configuration::bytes) {
            config.log_max_bytes = bytes;
        }
        if let Some(files) = self.file.container_log_max_files {
            config.log_max_files = files;
        }
        if let Some(period) = self.file.crash_loop_back_off.as_ref().and_then(|back_off| back_off.max_container_restart_period) {
            config.back_off_max = period;
        }
        let pulls = if self.file.serialize_image_pulls == Some(true) { Some(1) } else { self.file.max_parallel_image_pulls };
        config.pulls = pulls.map(|pulls| Arc::new(Semaphore::new(usize::try_from(pulls).unwrap_or(Semaphore::MAX_PERMITS))));
    }

    /// What the node does for its pods and another may not.
    pub(crate) fn support(&self) -> anyhow::Result<NodeSupport> {
        let patterns = self.flags.allowed_unsafe_sysctls.as_ref().or(self.file.allowed_unsafe_sysctls.as_ref());
        let sysctls =
            AllowedSysctls::parse(patterns.into_iter().flatten()).context("cannot use the kernel parameters that are to be allowed")?;
        Ok(NodeSupport {
            sysctls,
            has_app_armor: runtime::has_app_armor(),
            has_default_app_armor_profile: runtime::has_default_app_armor_profile(),
            ..NodeSupport::default()
        })
    }

    /// When pods are evicted.
    pub(crate) fn eviction(&self, default: EvictionDefault) -> anyhow::Result<EvictionConfig> {
        let mut thresholds = Thresholds::of(&self.file);
        let NodeOptions { eviction_hard, eviction_soft, eviction_soft_grace_period, eviction_minimum_reclaim, .. } = self.flags.clone();
        let nothing = (default == EvictionDefault::Nothing).then(String::new);
        thresholds.hard = eviction_hard.or(thresholds.hard).or(nothing);
        thresholds.soft = eviction_soft.unwrap_or(thresholds.soft);
        thresholds.soft_grace_period = eviction_soft_grace_period.unwrap_or(thresholds.soft_grace_period);
        thresholds.minimum_reclaim = eviction_minimum_reclaim.unwrap_or(thresholds.minimum_reclaim);
        let mut config = thresholds.parse().context("cannot use the eviction thresholds")?;
        let (flags, file) = (&self.flags, &self.file);
        config.pod_grace_secs_max = flags.eviction_max_pod_grace_period.or(file.eviction_max_pod_grace_period).unwrap_or(0);
        // Zero in the file is the default, as in the reference.
        let transition = file.eviction_pressure_transition_period.filter(|period| !period.is_zero());
        config.transition_period = flags.eviction_pressure_transition_period.or(transition).unwrap_or(TRANSITION_PERIOD_DEFAULT);
        config.every = flags.eviction_monitoring_period.unwrap_or(EVERY_DEFAULT).max(EVERY_LEAST);
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

fn sysctl(text: &str) -> Result<String, String> {
    parse_pattern(text).map_err(|error| error.to_string())
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
