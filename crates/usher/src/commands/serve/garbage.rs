//! What `usher serve` is told about garbage: by flags, or by the file.

use std::time::Duration;

use anyhow::Context as _;
use api::configuration::KubeletConfiguration;
use clap::Args;
use node::gc::images::{HIGH_PERCENT_DEFAULT, LOW_PERCENT_DEFAULT, MIN_AGE_DEFAULT};
use node::gc::{DeadPolicy, EVERY_DEFAULT, GcConfig, ImagePolicy, LogPolicy};
use server::client::NodeClient;

use crate::duration;

/// `terminated-pod-gc-threshold` of the reference.
const FINISHED_PODS_MAX_DEFAULT: usize = 12_500;
/// More often, looking would cost more than it tells.
const EVERY_LEAST: Duration = Duration::from_millis(100);

/// What goes when nobody needs it.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Garbage collection")]
pub(super) struct GarbageOptions {
    /// Keep so many pods that have ended in the API, the newest; 0 keeps all [default: 12500]
    #[arg(long, value_name = "COUNT", hide_short_help = true)]
    terminated_pod_gc_threshold: Option<usize>,
    /// Keep the logs of so many dead instances of each container, besides the newest instance; a negative number keeps all [default: 1]
    #[arg(long, value_name = "COUNT", allow_negative_numbers = true, hide_short_help = true)]
    maximum_dead_containers_per_container: Option<i32>,
    /// Keep the logs of so many dead instances of all containers together; a negative number sets no limit [default: -1]
    #[arg(long, value_name = "COUNT", allow_negative_numbers = true, hide_short_help = true)]
    maximum_dead_containers: Option<i32>,
    /// Keep the logs of a dead instance at least for so long [default: 0s]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse, hide_short_help = true)]
    minimum_container_ttl_duration: Option<Duration>,
    /// Keep so many bytes of logs of pods that are gone, the newest; 0 keeps none [default: 536870912]
    #[arg(long, value_name = "BYTES", hide_short_help = true)]
    gone_pod_logs_max_bytes: Option<u64>,
    /// Keep logs of pods that are gone for so long [default: 720h]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse, hide_short_help = true)]
    gone_pod_logs_max_age: Option<Duration>,
    /// Time between two collections [default: 1m]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse, hide_short_help = true)]
    garbage_collection_period: Option<Duration>,
}

impl GarbageOptions {
    /// What the node collects.
    pub(super) fn of_node(&self, file: &KubeletConfiguration) -> anyhow::Result<GcConfig> {
        let high = file.image_gc_high_threshold_percent.unwrap_or(HIGH_PERCENT_DEFAULT);
        let low = file.image_gc_low_threshold_percent.unwrap_or(LOW_PERCENT_DEFAULT);
        // Zero is the default, as in the reference.
        let min_age = file.image_minimum_gc_age.filter(|age| !age.is_zero()).unwrap_or(MIN_AGE_DEFAULT);
        let max_age = file.image_maximum_gc_age.filter(|age| !age.is_zero());
        let images = ImagePolicy::new(high, low, min_age, max_age).context("cannot use the settings of image garbage collection")?;
        let default = LogPolicy::default();
        let logs = LogPolicy {
            bytes_max: self.gone_pod_logs_max_bytes.unwrap_or(default.bytes_max),
            age_max: self.gone_pod_logs_max_age.unwrap_or(default.age_max),
        };
        Ok(GcConfig { images, dead: self.dead(), logs, every: self.every() })
    }

    /// As the reference reads its flags: no limit where a number is negative.
    fn dead(&self) -> DeadPolicy {
        let default = DeadPolicy::default();
        let limit = |flag: Option<i32>, default| flag.map_or(default, |count| usize::try_from(count).ok());
        DeadPolicy {
            per_container_max: limit(self.maximum_dead_containers_per_container, default.per_container_max),
            all_max: limit(self.maximum_dead_containers, default.all_max),
            age_min: self.minimum_container_ttl_duration.unwrap_or(default.age_min),
        }
    }

    /// Time between two collections.
    pub(super) fn every(&self) -> Duration {
        self.garbage_collection_period.unwrap_or(EVERY_DEFAULT).max(EVERY_LEAST)
    }

    /// Removes pods that have ended, when there are too many of them, for as long as it is let.
    pub(super) async fn keep_removing_finished(self, client: NodeClient) {
        let count_max = match self.terminated_pod_gc_threshold {
            Some(0) => return,
            Some(count) => count,
            None => FINISHED_PODS_MAX_DEFAULT,
        };
        let mut times = tokio::time::interval(self.every());
        times.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            times.tick().await;
            match client.remove_surplus_finished(count_max).await {
                Ok(0) => {}
                Ok(count) => tracing::info!(count, "pods that have ended are removed from the API, the oldest first"),
                Err(error) => tracing::warn!(%error, "pods that have ended cannot be removed from the API"),
            }
        }
    }
}
