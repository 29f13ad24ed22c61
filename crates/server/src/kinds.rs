//! The kinds of objects that the API has, and how each is called.
//!
//! A table and look-ups in it. What is special about a kind is in [`strategy`](crate::strategy).

/// A kind of stored objects, as one version of one API group has it.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    /// The API group; empty for the core.
    pub group: &'static str,
    /// The version within the group.
    pub version: &'static str,
    /// `Pod`.
    pub kind: &'static str,
    /// `pods`.
    pub resource: &'static str,
    /// `pod`.
    pub singular: &'static str,
    /// `po`.
    pub short_names: &'static [&'static str],
    /// Groups of kinds for `kubectl get`, such as `all`.
    pub categories: &'static [&'static str],
    /// Whether objects are in namespaces.
    pub namespaced: bool,
    /// The resource under which objects are stored: two kinds may show the same objects.
    pub stored_as: &'static str,
    /// The name of the type in the schema.
    pub definition: &'static str,
    /// Other endpoints of an object: `status`, `log`.
    pub parts: &'static [PartInfo],
}

/// An endpoint below an object.
#[derive(Debug, PartialEq, Eq)]
pub struct PartInfo {
    /// `status`.
    pub name: &'static str,
    /// The kind of its body.
    pub kind: &'static str,
    /// The group and version of that kind, where it is not that of the object.
    pub of: Option<(&'static str, &'static str)>,
    /// What can be done.
    pub verbs: &'static [&'static str],
}

/// The verbs of stored objects.
pub const VERBS: &[&str] = &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

const UPDATED: &[&str] = &["get", "patch", "update"];

const fn status(kind: &'static str) -> PartInfo {
    PartInfo { name: "status", kind, of: None, verbs: UPDATED }
}

const BASE: Kind = Kind {
    group: "",
    version: "v1",
    kind: "",
    resource: "",
    singular: "",
    short_names: &[],
    categories: &[],
    namespaced: true,
    stored_as: "",
    definition: "",
    parts: &[],
};

/// All kinds, by group and resource.
pub const KINDS: &[Kind] = &[
    Kind {
        kind: "ConfigMap",
        resource: "configmaps",
        singular: "configmap",
        short_names: &["cm"],
        stored_as: "configmaps",
        definition: "io.k8s.api.core.v1.ConfigMap",
        ..BASE
    },
    Kind {
        kind: "Event",
        resource: "events",
        singular: "event",
        short_names: &["ev"],
        stored_as: "events",
        definition: "io.k8s.api.core.v1.Event",
        ..BASE
    },
    Kind {
        kind: "Namespace",
        resource: "namespaces",
        singular: "namespace",
        short_names: &["ns"],
        namespaced: false,
        stored_as: "namespaces",
        definition: "io.k8s.api.core.v1.Namespace",
        parts: &[PartInfo { name: "finalize", kind: "Namespace", of: None, verbs: &["update"] }, status("Namespace")],
        ..BASE
    },
    Kind {
        kind: "Node",
        resource: "nodes",
        singular: "node",
        short_names: &["no"],
        namespaced: false,
        stored_as: "nodes",
        definition: "io.k8s.api.core.v1.Node",
        parts: &[status("Node")],
        ..BASE
    },
    Kind {
        kind: "PersistentVolumeClaim",
        resource: "persistentvolumeclaims",
        singular: "persistentvolumeclaim",
        short_names: &["pvc"],
        stored_as: "persistentvolumeclaims",
        definition: "io.k8s.api.core.v1.PersistentVolumeClaim",
        parts: &[status("PersistentVolumeClaim")],
        ..BASE
    },
    Kind {
        kind: "Pod",
        resource: "pods",
        singular: "pod",
        short_names: &["po"],
        categories: &["all"],
        stored_as: "pods",
        definition: "io.k8s.api.core.v1.Pod",
        parts: &[
            PartInfo { name: "attach", kind: "PodAttachOptions", of: None, verbs: &["create", "get"] },
            PartInfo { name: "binding", kind: "Binding", of: None, verbs: &["create"] },
            PartInfo { name: "ephemeralcontainers", kind: "Pod", of: None, verbs: UPDATED },
            PartInfo { name: "eviction", kind: "Eviction", of: Some(("policy", "v1")), verbs: &["create"] },
            PartInfo { name: "exec", kind: "PodExecOptions", of: None, verbs: &["create", "get"] },
            PartInfo { name: "log", kind: "Pod", of: None, verbs: &["get"] },
            PartInfo { name: "portforward", kind: "PodPortForwardOptions", of: None, verbs: &["create", "get"] },
            PartInfo { name: "resize", kind: "Pod", of: None, verbs: UPDATED },
            status("Pod"),
        ],
        ..BASE
    },
    Kind { kind: "Secret", resource: "secrets", singular: "secret", stored_as: "secrets", definition: "io.k8s.api.core.v1.Secret", ..BASE },
    Kind {
        kind: "ServiceAccount",
        resource: "serviceaccounts",
        singular: "serviceaccount",
        short_names: &["sa"],
        stored_as: "serviceaccounts",
        definition: "io.k8s.api.core.v1.ServiceAccount",
        parts: &[PartInfo { name: "token", kind: "TokenRequest", of: Some(("authentication.k8s.io", "v1")), verbs: &["create"] }],
        ..BASE
    },
    Kind {
        group: "coordination.k8s.io",
        kind: "Lease",
        resource: "leases",
        singular: "lease",
        stored_as: "leases",
        definition: "io.k8s.api.coordination.v1.Lease",
        ..BASE
    },
    Kind {
        group: "events.k8s.io",
        kind: "Event",
        resource: "events",
        singular: "event",
        short_names: &["ev"],
        stored_as: "events",
        definition: "io.k8s.api.events.v1.Event",
        ..BASE
    },
    Kind {
        group: "node.k8s.io",
        kind: "RuntimeClass",
        resource: "runtimeclasses",
        singular: "runtimeclass",
        namespaced: false,
        stored_as: "runtimeclasses",
        definition: "io.k8s.api.node.v1.RuntimeClass",
        ..BASE
    },
    Kind {
        group: "scheduling.k8s.io",
        kind: "PriorityClass",
        resource: "priorityclasses",
        singular: "priorityclass",
        short_names: &["pc"],
        namespaced: false,
        stored_as: "priorityclasses",
        definition: "io.k8s.api.scheduling.v1.PriorityClass",
        ..BASE
    },
];

/// A kind of requests that are answered and not stored.
#[derive(Debug, PartialEq, Eq)]
pub struct Review {
    /// The API group.
    pub group: &'static str,
    /// `SelfSubjectReview`.
    pub kind: &'static str,
    /// `selfsubjectreviews`.
    pub resource: &'static str,
    /// `selfsubjectreview`.
    pub singular: &'static str,
    /// The name of the type in the schema.
    pub definition: &'static str,
}

/// All reviews; their version is `v1`.
pub const REVIEWS: &[Review] = &[
    Review {
        group: "authentication.k8s.io",
        kind: "SelfSubjectReview",
        resource: "selfsubjectreviews",
        singular: "selfsubjectreview",
        definition: "io.k8s.api.authentication.v1.SelfSubjectReview",
    },
    Review {
        group: "authentication.k8s.io",
        kind: "TokenReview",
        resource: "tokenreviews",
        singular: "tokenreview",
        definition: "io.k8s.api.authentication.v1.TokenReview",
    },
    Review {
        group: "authorization.k8s.io",
        kind: "SelfSubjectAccessReview",
        resource: "selfsubjectaccessreviews",
        singular: "selfsubjectaccessreview",
        definition: "io.k8s.api.authorization.v1.SelfSubjectAccessReview",
    },
    Review {
        group: "authorization.k8s.io",
        kind: "SelfSubjectRulesReview",
        resource: "selfsubjectrulesreviews",
        singular: "selfsubjectrulesreview",
        definition: "io.k8s.api.authorization.v1.SelfSubjectRulesReview",
    },
];

/// The groups besides the core, in order.
pub fn groups() -> Vec<&'static str> {
    let mut groups: Vec<_> = KINDS.iter().map(|kind| kind.group).chain(REVIEWS.iter().map(|review| review.group)).collect();
    groups.retain(|group| !group.is_empty());
    groups.sort_unstable();
    groups.dedup();
    groups
}

/// The group of what pods and nodes use.
pub const METRICS_GROUP: &str = "metrics.k8s.io";
const METRICS_VERSION: &str = "v1beta1";

/// What is measured when somebody asks, and not stored.
pub const MEASURED: &[Kind] = &[
    Kind {
        group: METRICS_GROUP,
        version: METRICS_VERSION,
        kind: "NodeMetrics",
        resource: "nodes",
        singular: "node",
        namespaced: false,
        ..BASE
    },
    Kind { group: METRICS_GROUP, version: METRICS_VERSION, kind: "PodMetrics", resource: "pods", singular: "pod", ..BASE },
];

/// What can be done with those.
pub const MEASURED_VERBS: &[&str] = &["get", "list"];

/// The measured kind that a path names.
pub fn measured(group: &str, version: &str, resource: &str) -> Option<&'static Kind> {
    MEASURED.iter().find(|kind| kind.group == group && kind.version == version && kind.resource == resource)
}

/// The version of a group; each has one.
pub fn version_of(group: &str) -> &'static str {
    if group == METRICS_GROUP { METRICS_VERSION } else { "v1" }
}

/// The kind that a path names.
pub fn by_resource(group: &str, version: &str, resource: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.group == group && kind.version == version && kind.resource == resource)
}

/// The kind of stored objects of this resource; of two that show the same objects, the one they are stored as.
///
/// # Panics
/// There is no such resource, which is a mistake of the caller.
pub fn stored(resource: &str) -> &'static Kind {
    KINDS.iter().find(|kind| kind.resource == resource).expect("the resource is in the table")
}

impl Kind {
    /// `v1` or `coordination.k8s.io/v1`.
    pub fn api_version(&self) -> String {
        api_version(self.group, self.version)
    }

    /// `pods` or `leases.coordination.k8s.io`.
    pub fn group_resource(&self) -> String {
        match self.group {
            "" => self.resource.to_owned(),
            group => format!("{}.{group}", self.resource),
        }
    }

    /// Whether objects have a status of its own, which only its endpoint changes.
    pub fn has_status(&self) -> bool {
        self.part("status").is_some()
    }

    /// The endpoint `name`.
    pub fn part(&self, name: &str) -> Option<&'static PartInfo> {
        self.parts.iter().find(|part| part.name == name)
    }
}

/// `v1` or `coordination.k8s.io/v1`.
pub fn api_version(group: &str, version: &str) -> String {
    match group {
        "" => version.to_owned(),
        group => format!("{group}/{version}"),
    }
}
