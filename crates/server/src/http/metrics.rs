//! What the API counts of itself, and the page that tells all metrics of this process.

use prometheus::{IntCounter, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder};

use super::limits::WATCHES_MAX;
use super::route::Shared;
use crate::kinds::KINDS;

/// The API's metrics, in the registry of the whole process.
#[derive(Debug)]
pub(crate) struct Metrics {
    all: Registry,
    answered: IntCounter,
    failed: IntCounter,
    revision: IntGauge,
    watches: IntGauge,
    objects: IntGaugeVec,
}

impl Metrics {
    /// # Errors
    /// When `all` has a metric of one of these names already.
    pub(crate) fn register(all: Registry) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            answered: IntCounter::new("usher_requests_total", "Requests to the API that were answered.")?,
            failed: IntCounter::new("usher_requests_failed_total", "Requests to the API that failed through no fault of the client.")?,
            revision: IntGauge::new("usher_store_revision", "Changes of objects so far, over all lives of the daemon.")?,
            watches: IntGauge::new("usher_watches", "Watches that are open.")?,
            objects: IntGaugeVec::new(Opts::new("usher_objects", "Objects in the store."), &["resource"])?,
            all,
        };
        for counter in [&metrics.answered, &metrics.failed] {
            metrics.all.register(Box::new(counter.clone()))?;
        }
        for gauge in [&metrics.revision, &metrics.watches] {
            metrics.all.register(Box::new(gauge.clone()))?;
        }
        metrics.all.register(Box::new(metrics.objects.clone()))?;
        Ok(metrics)
    }

    /// A request was answered.
    pub(super) fn count(&self, has_failed: bool) {
        self.answered.inc();
        self.failed.inc_by(u64::from(has_failed));
    }

    /// The metrics of the process in Prometheus' text format.
    ///
    /// # Errors
    /// Two parts of the process give one metric different shapes.
    pub(super) fn text(&self, shared: &Shared) -> Result<String, prometheus::Error> {
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let store = shared.registry.store();
        self.revision.set(i64::try_from(store.revision().0).unwrap_or(i64::MAX));
        self.watches.set(number(WATCHES_MAX - shared.watches.available_permits()));
        for kind in KINDS.iter().filter(|kind| kind.group != "events.k8s.io") {
            self.objects.with_label_values(&[kind.resource]).set(number(store.list(kind.stored_as).len()));
        }
        TextEncoder::new().encode_to_string(&self.all.gather())
    }
}
