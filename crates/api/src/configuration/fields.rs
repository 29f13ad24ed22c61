//! What becomes of each field of a configuration file. `docs/configuration.md` is made of it.

/// What becomes of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is acted on; what it does here, in Markdown.
    ActedOn(&'static str),
    /// Only what happens anyway may be said.
    Only {
        /// That, as JSON.
        value: &'static str,
        /// Why there is nothing else.
        why: &'static str,
    },
    /// It is refused; what there is instead, if anything.
    Refused(&'static str),
}

use Fate::{ActedOn, Only, Refused};

const OWN_SERVER: &str = "the API of `usher serve` has its own address, certificates and users: see `--listen` and `--name`";
const OWN_RUNTIME: &str = "containers are made by usher itself; `--runtime-handler` names other OCI runtimes";
const OWN_CONTROL_GROUPS: &str = "usher makes control groups itself, below `usher`";
const NO_DEVICES: &str = "CPUs, memory nodes and devices are not given to single containers";
const PODS_DNS: &str = "pods ask the servers that the machine asks; `dnsConfig` of a pod says otherwise";
const ONE_MACHINE: &str = "the API is in the same process";

/// Fields that are acted on, or of which something else is to be said than that they are not supported.
pub const FATES: &[(&str, Fate)] = &[
    ("staticPodPath", ActedOn("Folder of [static pods](static-pods.md), or a single file. Flag: `--pod-manifest-path`")),
    ("fileCheckFrequency", ActedOn("Time between two looks at it, beside being told of changes by the kernel; `20s` by default")),
    ("maxPods", ActedOn("Most pods at a time; 110 by default. Flag: `--max-pods`")),
    ("podsPerCore", ActedOn("Most pods for each CPU, within `maxPods`; 0, the default, for no such limit")),
    (
        "podPidsLimit",
        ActedOn("Most processes and threads of one pod, -1 for no limit; 4096 by default, unlike the kubelet. Flag: `--pod-max-pids`"),
    ),
    ("nodeStatusMaxImages", ActedOn("Most images in the status of the node, the largest first; 50 by default, -1 for no limit")),
    ("serializeImagePulls", ActedOn("Whether images are pulled one after the other; `false` by default, unlike the kubelet")),
    ("maxParallelImagePulls", ActedOn("Most pulls at a time; no limit by default")),
    ("evictionHard", ActedOn("Below this, pods are evicted at once, by signal ([signals and defaults](node.md)). Flag: `--eviction-hard`")),
    ("evictionSoft", ActedOn("Below this for the grace period, pods are evicted. Flag: `--eviction-soft`")),
    ("evictionSoftGracePeriod", ActedOn("For how long, by signal. Flag: `--eviction-soft-grace-period`")),
    (
        "evictionMinimumReclaim",
        ActedOn("How much more than the threshold has to be there again, by signal. Flag: `--eviction-minimum-reclaim`"),
    ),
    (
        "evictionPressureTransitionPeriod",
        ActedOn(
            "How long the node shows a condition after it was last true; `5m` by default. Flag: `--eviction-pressure-transition-period`",
        ),
    ),
    (
        "evictionMaxPodGracePeriod",
        ActedOn("Longest grace in seconds of pods that a soft threshold evicts. Flag: `--eviction-max-pod-grace-period`"),
    ),
    ("mergeDefaultEvictionSettings", ActedOn("Whether signals that `evictionHard` does not name keep their defaults; `false` by default")),
    ("containerLogMaxSize", ActedOn("Largest log file of a container; `10Mi` by default")),
    ("containerLogMaxFiles", ActedOn("Log files of a container that are kept, at least 2; 5 by default")),
    (
        "imageGCHighThresholdPercent",
        ActedOn(
            "Part of their file system, in percent, from which on [images that no container uses](garbage-collection.md) go; 85 by default, 100 for never",
        ),
    ),
    ("imageGCLowThresholdPercent", ActedOn("Part down to which they go; 80 by default")),
    ("imageMinimumGCAge", ActedOn("Younger images stay; `2m` by default")),
    ("imageMaximumGCAge", ActedOn("Images that were not used for so long go in any case; `0s`, the default, for never")),
    (
        "allowedUnsafeSysctls",
        ActedOn(
            "Kernel parameters that pods may set besides those that are safe for other pods: names, or beginnings that end with `*`, of namespaces of the pod's own. Flag: `--allowed-unsafe-sysctls`",
        ),
    ),
    (
        "crashLoopBackOff",
        ActedOn(
            "`maxContainerRestartPeriod`: longest pause before a container that crashed is started again, from `1s` to `300s`; `300s` by default. Pauses begin with 10 s, or with this if it is less",
        ),
    ),
    ("systemReserved", ActedOn("`cpu`, `memory` and `ephemeral-storage` that pods cannot have, beside the hard thresholds")),
    ("kubeReserved", ActedOn("The same; both are added up")),
    ("shutdownGracePeriod", ActedOn("How long all pods may take when the machine goes down. Flag: `--shutdown-grace-period`")),
    ("shutdownGracePeriodCriticalPods", ActedOn("The last part of it, for critical pods. Flag: `--shutdown-grace-period-critical-pods`")),
    ("shutdownGracePeriodByPodPriority", ActedOn("Times of groups of pods instead. Flag: `--shutdown-grace-period-by-pod-priority`")),
    ("apiVersion", ActedOn("`kubelet.config.k8s.io/v1beta1`")),
    ("kind", ActedOn("`KubeletConfiguration`")),
    ("cgroupDriver", Only { value: "\"cgroupfs\"", why: OWN_CONTROL_GROUPS }),
    ("failSwapOn", Only { value: "false", why: "usher does not ask whether the machine has swap" }),
    ("failCgroupV1", Only { value: "false", why: "usher works with both versions of control groups" }),
    ("localStorageCapacityIsolation", Only { value: "true", why: "limits of the disk always hold" }),
    ("registerNode", Only { value: "true", why: ONE_MACHINE }),
    ("readOnlyPort", Only { value: "0", why: OWN_SERVER }),
    ("runOnce", Only { value: "false", why: "`usher run` runs pods once" }),
    ("cpuCFSQuota", Only { value: "true", why: "limits of CPU always hold" }),
    ("seccompDefault", Only { value: "true", why: "containers have the runtime's default profile unless their pod says otherwise" }),
    ("configMapAndSecretChangeDetectionStrategy", Only { value: "\"Watch\"", why: ONE_MACHINE }),
    (
        "imagePullCredentialsVerificationPolicy",
        Only { value: "\"NeverVerify\"", why: "who may use an image that is here is not asked again" },
    ),
    (
        "enforceNodeAllocatable",
        Only { value: "[\"none\"]", why: "what is reserved is kept from pods when they are taken, not by a control group" },
    ),
    ("cpuManagerPolicy", Only { value: "\"none\"", why: NO_DEVICES }),
    ("memoryManagerPolicy", Only { value: "\"None\"", why: NO_DEVICES }),
    ("topologyManagerPolicy", Only { value: "\"none\"", why: NO_DEVICES }),
    ("memoryReservationPolicy", Only { value: "\"None\"", why: OWN_CONTROL_GROUPS }),
    ("address", Refused(OWN_SERVER)),
    ("port", Refused(OWN_SERVER)),
    ("enableServer", Refused(OWN_SERVER)),
    ("tlsCertFile", Refused(OWN_SERVER)),
    ("tlsPrivateKeyFile", Refused(OWN_SERVER)),
    ("authentication", Refused(OWN_SERVER)),
    ("authorization", Refused(OWN_SERVER)),
    ("healthzPort", Refused(OWN_SERVER)),
    ("healthzBindAddress", Refused(OWN_SERVER)),
    ("clusterDNS", Refused(PODS_DNS)),
    ("clusterDomain", Refused(PODS_DNS)),
    ("resolvConf", Refused(PODS_DNS)),
    ("containerRuntimeEndpoint", Refused(OWN_RUNTIME)),
    ("imageServiceEndpoint", Refused(OWN_RUNTIME)),
    ("runtimeRequestTimeout", Refused(OWN_RUNTIME)),
    ("cgroupRoot", Refused(OWN_CONTROL_GROUPS)),
    ("cgroupsPerQOS", Refused(OWN_CONTROL_GROUPS)),
    ("kubeletCgroups", Refused(OWN_CONTROL_GROUPS)),
    ("systemCgroups", Refused(OWN_CONTROL_GROUPS)),
    ("systemReservedCgroup", Refused(OWN_CONTROL_GROUPS)),
    ("kubeReservedCgroup", Refused(OWN_CONTROL_GROUPS)),
    ("podCIDR", Refused("use `--subnet`")),
    ("podLogsDir", Refused("use `--log-root`")),
    ("staticPodURL", Refused("pods come through the API")),
    ("staticPodURLHeader", Refused("pods come through the API")),
    ("featureGates", Refused("there are no feature gates")),
    ("logging", Refused("`USHER_LOG` says what is logged")),
    ("tracing", Refused("use `--otlp-endpoint`")),
    ("memorySwap", Refused("containers have no swap of their own")),
];

/// What becomes of a field; `None` if there is none of this name.
pub fn fate(field: &str) -> Option<Fate> {
    if let Some((_, fate)) = FATES.iter().find(|(name, _)| *name == field) {
        return Some(*fate);
    }
    let object = crate::schema::schemas().object(super::TYPE)?;
    object.fields.contains_key(field).then_some(Refused(""))
}
