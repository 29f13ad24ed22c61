//! What nodes and pods use (`metrics.k8s.io`, for `kubectl top`): measured when somebody asks, so that it costs nothing otherwise.
//!
//! Processors are measured over a window that is as old as the last question, or over a second. Not over HTTP: what the engine counts for
//! Prometheus, see `metrics`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::answer::{self, Answer};
use super::objects::list_options;
use super::request::ObjectPath;
use super::route::{Call, Shared, authorize};
use crate::backend::{BackendError, ContainerUsage, Usage, Used};
use crate::kinds::stored;
use crate::object::{self, time_text};
use crate::registry::{ListOptions, now};
use crate::status::{ApiError, ApiResult};

/// The shortest time over which processors are measured.
const WINDOW_MIN: Duration = Duration::from_secs(1);
/// The longest: what was before says nothing of now.
const WINDOW_MAX: Duration = Duration::from_secs(60);
/// How long an answer is good for whoever asks next.
const FRESH: Duration = Duration::from_secs(2);

/// Answers a request for what is used.
pub(super) async fn serve(shared: &Arc<Shared>, path: &ObjectPath, call: &Call) -> ApiResult<Answer> {
    let verb = match (&call.method, &path.name) {
        (&Method::GET, Some(_)) => "get",
        (&Method::GET, None) => "list",
        _ => return Err(ApiError::method_not_allowed()),
    };
    authorize(&call.user, path, verb)?;
    let _place = shared.place()?;
    let (of, namespace) = (stored(path.kind.resource), path.namespace.as_deref());
    let objects: Vec<Value> = if let Some(name) = &path.name {
        vec![shared.registry.get(of, path.namespace(), name)?]
    } else {
        let options = ListOptions { limit: 0, ..list_options(&ObjectPath { kind: of, ..path.clone() }, &call.query)? };
        shared.registry.list(of, namespace, &options)?.items.iter().map(|item| item.value().clone()).collect()
    };
    let measured = shared.meter.measure(|| shared.backend.usage(running(shared))).await?;
    let (kind, version) = (path.kind.kind, path.kind.api_version());
    let mut shown = objects.iter().filter_map(|object| {
        let mut shown = measured.show(kind, object)?;
        shown["kind"] = json!(kind);
        shown["apiVersion"] = json!(version);
        Some(shown)
    });
    let value = match &path.name {
        Some(name) => shown.next().ok_or_else(|| ApiError::not_found(path.kind, name))?,
        None => json!({ "kind": format!("{kind}List"), "apiVersion": version, "metadata": {}, "items": shown.collect::<Vec<_>>() }),
    };
    Ok(answer::json(StatusCode::OK, &value))
}

/// The pods of which there may be something to measure.
fn running(shared: &Shared) -> Vec<String> {
    let list = shared.registry.store().list(stored("pods").stored_as);
    let pods = list.iter(None).map(|(_, stored)| stored.value());
    pods.filter(|pod| pod["status"]["phase"] == "Running").map(|pod| object::uid_on_node(&pod).to_owned()).collect()
}

/// Remembers what was used until the last question.
#[derive(Debug, Default)]
pub(super) struct Meter(Mutex<Remembered>);

#[derive(Debug, Default)]
struct Remembered {
    sample: Option<Sample>,
    measured: Option<Arc<Measured>>,
}

#[derive(Debug)]
struct Sample {
    at: Instant,
    usage: Usage,
}

impl Sample {
    async fn take<F: Future<Output = Result<Usage, BackendError>>>(usage: impl Fn() -> F) -> ApiResult<Self> {
        let usage = usage().await.map_err(ApiError::internal)?;
        Ok(Self { at: Instant::now(), usage })
    }
}

impl Meter {
    /// What is used now. Whoever asks meanwhile waits for the same answer.
    async fn measure<F: Future<Output = Result<Usage, BackendError>>>(&self, usage: impl Fn() -> F) -> ApiResult<Arc<Measured>> {
        let mut remembered = self.0.lock().await;
        if let Some(measured) = remembered.measured.as_ref().filter(|measured| measured.at.elapsed() < FRESH) {
            return Ok(Arc::clone(measured));
        }
        let before = match remembered.sample.take() {
            Some(sample) if (WINDOW_MIN..=WINDOW_MAX).contains(&sample.at.elapsed()) => sample,
            Some(_) | None => {
                let sample = Sample::take(&usage).await?;
                tokio::time::sleep(WINDOW_MIN).await;
                sample
            }
        };
        let sample = Sample::take(&usage).await?;
        let measured = Arc::new(Measured::between(&before, &sample, now()));
        *remembered = Remembered { sample: Some(sample), measured: Some(Arc::clone(&measured)) };
        Ok(measured)
    }
}

/// What was used over a window.
#[derive(Debug)]
struct Measured {
    at: Instant,
    time: Timestamp,
    window: Duration,
    node: Rate,
    pods: BTreeMap<String, Vec<(String, Rate)>>,
}

/// Processors in billionths of one, and memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rate {
    nano_cores: u64,
    memory_bytes: u64,
}

impl Rate {
    fn over(window: Duration, before: Option<Used>, used: Used) -> Self {
        // An instance that was not there before has begun since.
        let nanos = used.cpu_nanos.saturating_sub(before.unwrap_or_default().cpu_nanos);
        let per_sec = u128::from(nanos) * 1_000_000_000 / window.as_nanos().max(1);
        Self { nano_cores: u64::try_from(per_sec).unwrap_or(u64::MAX), memory_bytes: used.memory_bytes }
    }

    fn to_json(self) -> Value {
        json!({ "cpu": format!("{}n", self.nano_cores), "memory": format!("{}Ki", self.memory_bytes / 1024) })
    }
}

impl Measured {
    fn between(before: &Sample, after: &Sample, time: Timestamp) -> Self {
        let window = after.at.saturating_duration_since(before.at);
        let rate = |uid: &str, container: &ContainerUsage| {
            let known = before.usage.pods.get(uid).into_iter().flatten();
            let known = known.into_iter().find(|known| known.id == container.id).map(|known| known.used);
            (container.name.clone(), Rate::over(window, known, container.used))
        };
        let pods = after.usage.pods.iter().map(|(uid, containers)| {
            let rates = containers.iter().map(|container| rate(uid, container)).collect();
            (uid.clone(), rates)
        });
        let node = Rate::over(window, Some(before.usage.node), after.usage.node);
        Self { at: after.at, time, window, node, pods: pods.collect() }
    }

    /// What is said of an object; `None` of a pod that uses nothing.
    fn show(&self, kind: &str, object: &Value) -> Option<Value> {
        let mut metadata = json!({ "name": object::name(object), "creationTimestamp": time_text(self.time) });
        for field in ["namespace", "labels"] {
            if let Some(value) = object["metadata"].get(field) {
                metadata[field] = value.clone();
            }
        }
        let mut shown = json!({
            "metadata": metadata,
            "timestamp": time_text(self.time),
            "window": format!("{:.3}s", self.window.as_secs_f64()),
        });
        if kind == "NodeMetrics" {
            shown["usage"] = self.node.to_json();
            return Some(shown);
        }
        let containers = self.pods.get(object::uid_on_node(object)).filter(|containers| !containers.is_empty())?;
        let containers = containers.iter().map(|(name, rate)| json!({ "name": name, "usage": rate.to_json() }));
        shown["containers"] = containers.collect();
        Some(shown)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    fn usage(id: &str, cpu_nanos: u64) -> Usage {
        let used = Used { cpu_nanos, memory_bytes: 3 << 20 };
        let container = ContainerUsage { name: "app".to_owned(), id: id.to_owned(), used };
        Usage { node: used, pods: BTreeMap::from([("u".to_owned(), vec![container])]) }
    }

    fn sample(at: Instant, id: &str, cpu_nanos: u64) -> Sample {
        Sample { at, usage: usage(id, cpu_nanos) }
    }

    #[test]
    fn processors_are_counted_over_the_window_and_anew_for_each_instance() {
        let begun = Instant::now();
        let after = |id: &str, cpu_nanos| {
            let (before, after) = (sample(begun, "a", 5_000_000_000), sample(begun + Duration::from_secs(2), id, cpu_nanos));
            Measured::between(&before, &after, Timestamp::UNIX_EPOCH)
        };
        let pod = json!({ "metadata": { "name": "p", "namespace": "ns", "uid": "u", "labels": { "a": "b" } } });
        let shown = after("a", 5_500_000_000).show("PodMetrics", &pod).expect("it is measured");
        assert_eq!(shown["containers"], json!([{ "name": "app", "usage": { "cpu": "250000000n", "memory": "3072Ki" } }]));
        assert_eq!((&shown["window"], &shown["metadata"]["labels"]), (&json!("2.000s"), &json!({ "a": "b" })));
        let restarted = after("b", 100_000_000).show("PodMetrics", &pod).expect("it is measured");
        assert_eq!(restarted["containers"][0]["usage"]["cpu"], "50000000n");
        let node = json!({ "metadata": { "name": "n" } });
        assert_eq!(after("a", 6_000_000_000).show("NodeMetrics", &node).expect("always")["usage"]["cpu"], "500000000n");
        let other = json!({ "metadata": { "name": "q", "uid": "v" } });
        assert_eq!(after("a", 6_000_000_000).show("PodMetrics", &other), None);
    }

    #[tokio::test]
    async fn who_asks_again_at_once_is_told_the_same_and_nothing_is_measured() {
        let before = Instant::now().checked_sub(2 * WINDOW_MIN).expect("the machine is older");
        let meter = Meter(Mutex::new(Remembered { sample: Some(sample(before, "a", 0)), measured: None }));
        let asked = AtomicU64::new(0);
        let take = || {
            asked.fetch_add(1, Ordering::Relaxed);
            std::future::ready(Ok(usage("a", 1_000_000_000)))
        };
        let first = meter.measure(take).await.expect("it is told");
        assert!(first.window >= 2 * WINDOW_MIN && first.node.nano_cores <= 500_000_000, "{first:?}");
        let again = meter.measure(take).await.expect("it is told");
        assert!(Arc::ptr_eq(&first, &again));
        assert_eq!(asked.load(Ordering::Relaxed), 1);
    }
}
