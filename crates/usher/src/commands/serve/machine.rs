//! This machine as a Node object.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use api::Quantity;
use api::configuration::KubeletConfiguration;
use k8s_openapi::api::core::v1::Node;
use node::NodeConfig;
use node::admission::Allocatable;
use node::error_chain;
use node::eviction::reading::observations;
use node::eviction::{EvictionConfig, NodeCondition, Signal};
use runtime::{EmbeddedRuntime, Runtime as _, StoredImage};
use serde_json::{Value, json};

use crate::commands::own_addresses;

/// The most pods, as the reference's default.
const PODS_MAX: u32 = 110;
/// The most images that the node's status names, as the reference's default.
const IMAGES_MAX: usize = 50;
/// The most names of one image there, as in the reference.
const IMAGE_NAMES_MAX: usize = 5;

/// What of the machine pods can have, as far as somebody decides it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Offer {
    pods_max: u32,
    /// How many images are told of.
    images_max: usize,
    /// What is reserved, for the system and for the engine together.
    cpu_millis: u64,
    memory_bytes: u64,
    disk_bytes: u64,
}

impl Offer {
    /// By the flag `--max-pods`, and by the file.
    pub(super) fn of(pods_max: Option<u32>, file: &KubeletConfiguration) -> Self {
        // Zero is the default, as in the reference.
        let wanted = pods_max.or(file.max_pods.filter(|max| *max > 0)).unwrap_or(PODS_MAX);
        let for_cores = file.pods_per_core.filter(|pods| *pods > 0).map(|pods| u64::from(pods).saturating_mul(cpus()));
        let pods_max = for_cores.and_then(|pods| u32::try_from(pods).ok()).map_or(wanted, |pods| pods.min(wanted));
        let amounts = |resource: &str| -> Vec<Quantity> {
            let lists = file.system_reserved.iter().chain(&file.kube_reserved);
            lists.filter_map(|list| Quantity::parse(list.get(resource)?).ok()).collect()
        };
        let units = |resource| amounts(resource).iter().filter_map(|amount| u64::try_from(amount.value()).ok()).sum();
        let cpu_millis = amounts("cpu").iter().filter_map(|amount| u64::try_from(amount.milli_value()).ok()).sum();
        // Below zero there is no limit.
        let images_max = file.node_status_max_images.map_or(IMAGES_MAX, |max| usize::try_from(max).unwrap_or(usize::MAX));
        Self { pods_max, images_max, cpu_millis, memory_bytes: units("memory"), disk_bytes: units("ephemeral-storage") }
    }
}

fn cpus() -> u64 {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as u64
}

/// Tells what the node is, and since when.
#[derive(Debug)]
pub(super) struct NodeReporter {
    name: String,
    /// What is kept from pods.
    eviction: EvictionConfig,
    root: PathBuf,
    offer: Offer,
    is_shutting_down: bool,
    /// Who has the images.
    runtime: Arc<EmbeddedRuntime>,
    /// Those that are told of, as they are told.
    images: Vec<Value>,
    /// What was told of each condition last, and since when it is so.
    told: BTreeMap<String, (bool, String)>,
}

/// A condition of the node: its type, whether it holds, its reason and its message.
type ConditionFacts<'a> = (&'a str, bool, &'a str, &'a str);

impl NodeReporter {
    pub(super) fn new(config: &NodeConfig, eviction: &EvictionConfig, offer: Offer, runtime: Arc<EmbeddedRuntime>) -> Self {
        let (name, eviction, root) = (config.node_name.clone(), eviction.clone(), config.root.clone());
        Self { name, eviction, root, offer, is_shutting_down: false, runtime, images: Vec::new(), told: BTreeMap::new() }
    }

    /// Looks which images there are; whether there is something new to tell.
    pub(super) async fn look_at_images(&mut self) -> bool {
        match self.runtime.list_images().await {
            Ok(images) => {
                let images = told_images(images, self.offer.images_max);
                let is_changed = images != self.images;
                self.images = images;
                is_changed
            }
            Err(error) => {
                tracing::warn!(error = error_chain(&error), "the images of the node cannot be listed");
                false
            }
        }
    }

    /// From now on the node says that it goes down.
    pub(super) fn shut_down(&mut self) {
        self.is_shutting_down = true;
    }

    /// What pods can have.
    pub(super) fn allocatable(&self) -> Allocatable {
        let [_, Resources { cpu_millis, memory_bytes, disk_bytes, pods }] = self.resources();
        let number = |amount: u64| i64::try_from(amount).unwrap_or(i64::MAX);
        let named = Allocatable::from([
            ("cpu".to_owned(), number(cpu_millis)),
            ("memory".to_owned(), number(memory_bytes)),
            ("ephemeral-storage".to_owned(), number(disk_bytes)),
            ("pods".to_owned(), i64::from(pods)),
        ]);
        named.into_iter().chain(huge_pages()).collect()
    }

    /// The object, with what the node is short of.
    pub(super) fn node(&mut self, pressure: &BTreeSet<NodeCondition>) -> Node {
        let now = server::object::time_text(server::registry::now());
        let mut conditions = Vec::new();
        for condition in NodeCondition::ALL {
            let holds = pressure.contains(&condition);
            let [yes, no] = condition.reasons();
            let (reason, message) = if holds { yes } else { no };
            conditions.push(self.condition((&condition.to_string(), holds, reason, message), &now));
        }
        let ready = if self.is_shutting_down {
            ("Ready", false, "KubeletNotReady", "node is shutting down")
        } else {
            ("Ready", true, "KubeletReady", "usher is ready")
        };
        conditions.push(self.condition(ready, &now));
        node(&self.name, &self.resources().map(Resources::list), &conditions, &self.images)
    }

    fn condition(&mut self, (kind, holds, reason, message): ConditionFacts<'_>, now: &str) -> Value {
        let told = self.told.entry(kind.to_owned()).or_insert_with(|| (holds, now.to_owned()));
        if told.0 != holds {
            *told = (holds, now.to_owned());
        }
        let status = if holds { "True" } else { "False" };
        json!({ "type": kind, "status": status, "reason": reason, "message": message, "lastHeartbeatTime": now, "lastTransitionTime": told.1 })
    }

    /// What there is, and what of it pods can have: neither what the hard thresholds keep nor what is reserved.
    fn resources(&self) -> [Resources; 2] {
        let observed = observations(&self.root, &self.root);
        let capacity = |signal| observed.get(&signal).map_or(0, |observation| observation.capacity);
        let (memory, disk) = (capacity(Signal::MemoryAvailable), capacity(Signal::NodeFsAvailable));
        let kept = |signal, capacity| self.eviction.hard(signal).map_or(0, |level| level.units(capacity));
        let Offer { pods_max: pods, cpu_millis, memory_bytes, disk_bytes, .. } = self.offer;
        let of = |cpu_millis, memory_bytes, disk_bytes| Resources { cpu_millis, memory_bytes, disk_bytes, pods };
        let left = |signal, capacity: u64, reserved: u64| capacity.saturating_sub(kept(signal, capacity)).saturating_sub(reserved);
        let cpus = cpus() * 1000;
        let memory_left = left(Signal::MemoryAvailable, memory, memory_bytes);
        let disk_left = left(Signal::NodeFsAvailable, disk, disk_bytes);
        [of(cpus, memory, disk), of(cpus.saturating_sub(cpu_millis), memory_left, disk_left)]
    }
}

/// Resources of the node, all of them or those that pods can have.
#[derive(Clone, Copy, Debug)]
struct Resources {
    cpu_millis: u64,
    memory_bytes: u64,
    disk_bytes: u64,
    pods: u32,
}

impl Resources {
    fn list(self) -> Value {
        let mut list = json!({
            "cpu": Quantity::from_milli(i64::try_from(self.cpu_millis).unwrap_or(i64::MAX)).to_string(),
            "memory": format!("{}Ki", self.memory_bytes >> 10),
            "ephemeral-storage": format!("{}Ki", self.disk_bytes >> 10),
            "pods": self.pods.to_string(),
        });
        for (name, bytes) in huge_pages() {
            list[name] = json!(lifecycle::memory_text(u64::try_from(bytes).unwrap_or_default()));
        }
        list
    }
}

/// The object.
fn node(name: &str, [capacity, allocatable]: &[Value; 2], conditions: &[Value], images: &[Value]) -> Node {
    let uname = rustix::system::uname();
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let own = own_addresses().into_iter().map(|ip| json!({ "type": "InternalIP", "address": ip.to_string() }));
    let addresses: Vec<_> = own.chain([json!({ "type": "Hostname", "address": name })]).collect();
    let version = env!("CARGO_PKG_VERSION");
    let object = json!({
        "metadata": {
            "name": name,
            "labels": { "kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": architecture },
        },
        "status": {
            "capacity": capacity,
            "allocatable": allocatable,
            "addresses": addresses,
            "conditions": conditions,
            "images": images,
            "nodeInfo": {
                "machineID": read("/etc/machine-id"),
                "systemUUID": read("/sys/class/dmi/id/product_uuid"),
                "bootID": read("/proc/sys/kernel/random/boot_id"),
                "kernelVersion": uname.release().to_string_lossy(),
                "osImage": os_image(),
                "containerRuntimeVersion": format!("usher://{version}"),
                "kubeletVersion": format!("{}+usher.{version}", server::discovery::KUBERNETES_VERSION),
                "kubeProxyVersion": "",
                "operatingSystem": "linux",
                "architecture": architecture,
            },
        },
    });
    serde_json::from_value(object).unwrap_or_default()
}

/// Images as the status of a node has them: the largest first.
fn told_images(mut images: Vec<StoredImage>, count_max: usize) -> Vec<Value> {
    images.sort_by(|one, other| other.size_bytes.cmp(&one.size_bytes).then_with(|| one.names.cmp(&other.names)));
    let told = images.into_iter().take(count_max).map(|image| {
        let names: Vec<_> = image.names.into_iter().take(IMAGE_NAMES_MAX).collect();
        json!({ "names": names, "sizeBytes": image.size_bytes })
    });
    told.collect()
}

fn read(path: &str) -> Value {
    json!(fs::read_to_string(path).unwrap_or_default().trim())
}

fn os_image() -> String {
    let text = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.map(|name| name.trim_matches('"').to_owned()).unwrap_or_default()
}

/// The large pages that are set aside, in bytes for each size that the kernel has.
fn huge_pages() -> Allocatable {
    let sizes = fs::read_dir("/sys/kernel/mm/hugepages").into_iter().flatten().flatten();
    let pages = sizes.filter_map(|entry| {
        let kib: i64 = entry.file_name().to_str()?.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
        let count: i64 = fs::read_to_string(entry.path().join("nr_hugepages")).ok()?.trim().parse().ok()?;
        let bytes = u64::try_from(kib).ok()? << 10;
        Some((format!("hugepages-{}", lifecycle::memory_text(bytes)), count.saturating_mul(kib << 10)))
    });
    pages.collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn what_is_reserved_is_added_up_and_the_flag_wins_over_the_file() {
        let list =
            |cpu: &str| Some(BTreeMap::from([("cpu", cpu), ("memory", "1Mi")].map(|(key, value)| (key.to_owned(), value.to_owned()))));
        let file = KubeletConfiguration {
            max_pods: Some(7),
            system_reserved: list("200m"),
            kube_reserved: list("0.1"),
            ..KubeletConfiguration::default()
        };
        let expected = Offer { pods_max: 7, images_max: 50, cpu_millis: 300, memory_bytes: 2 << 20, disk_bytes: 0 };
        assert_eq!(Offer::of(None, &file), expected);
        assert_eq!(Offer::of(Some(3), &file).pods_max, 3);
        assert_eq!(Offer::of(None, &KubeletConfiguration::default()).pods_max, PODS_MAX);
        let per_core = |pods| KubeletConfiguration { pods_per_core: Some(pods), ..KubeletConfiguration::default() };
        assert_eq!(u64::from(Offer::of(None, &per_core(1)).pods_max), cpus().min(u64::from(PODS_MAX)));
        assert_eq!(Offer::of(None, &per_core(0)).pods_max, PODS_MAX);
    }

    #[test]
    fn the_largest_images_are_told_of_and_no_more_than_are_wanted() {
        let image = |name: &str, size_bytes| StoredImage {
            id: name.to_owned(),
            names: (0..7).map(|tag| format!("{name}:{tag}")).collect(),
            size_bytes,
            is_used: false,
            is_pinned: false,
        };
        let told = |max: Option<i64>| {
            let file = KubeletConfiguration { node_status_max_images: max, ..KubeletConfiguration::default() };
            told_images(vec![image("small", 1), image("large", 9), image("middle", 5)], Offer::of(None, &file).images_max)
        };
        let first = json!({ "names": ["large:0", "large:1", "large:2", "large:3", "large:4"], "sizeBytes": 9 });
        assert_eq!(told(Some(1)), [first]);
        assert_eq!([Some(0), Some(2), None, Some(-1)].map(|max| told(max).len()), [0, 2, 3, 3]);
        let many = (0..60).map(|size| image("x", size)).collect();
        assert_eq!(told_images(many, Offer::of(None, &KubeletConfiguration::default()).images_max).len(), IMAGES_MAX);
    }
}
