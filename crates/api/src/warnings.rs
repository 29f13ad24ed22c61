//! What is legal in a Pod but hardly meant: the warnings that the API server sends with its answer, and a few of ours.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as ApiQuantity;

use crate::diagnostic::Diagnostic;
use crate::path::FieldPath;
use crate::quantity::Quantity;
use crate::read::Document;
use crate::validate::quote;

/// The most warnings about one Pod; more would not be read.
pub const WARNINGS_MAX: usize = 100;

/// The most declarations of one port that later ones are compared with.
const PORTS_COMPARED_MAX: usize = 1_000;

/// Something legal that is hardly meant. Its `Display` is `path: message`, as the API server writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The field.
    pub path: FieldPath,
    /// What about it.
    pub message: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

impl Warning {
    /// The same for a person, with its place in the manifest.
    pub fn diagnostic(&self, document: &Document) -> Diagnostic {
        let (_, place) = document.place(&self.path);
        let span = if place.value.is_empty() { place.key.unwrap_or(place.value) } else { place.value };
        Diagnostic::warning(self.to_string()).about(self.path.clone()).at(span, "")
    }
}

/// The warnings about a Pod, which must have been defaulted but not yet repaired.
pub fn warnings(pod: &Pod) -> Vec<Warning> {
    warnings_at(pod, &FieldPath::root())
}

/// The same for a Pod that is the template at `path` of another object.
pub fn warnings_at(pod: &Pod, path: &FieldPath) -> Vec<Warning> {
    let mut found = Vec::new();
    let Some(spec) = &pod.spec else { return found };
    deprecated_annotations(pod, &path.child("metadata"), &mut found);
    let path = path.child("spec");
    about_pod(spec, &path, &mut found);
    for (path, container) in containers(spec, &path) {
        about_amounts(container, &path.child("resources"), &mut found);
        about_env(container, &path.child("env"), &mut found);
        about_hooks(container, &path.child("lifecycle"), &mut found);
    }
    about_ports(spec, &path, &mut found);
    about_grace(spec, &path, &mut found);
    found
}

fn warn(path: FieldPath, message: impl Into<String>, found: &mut Vec<Warning>) {
    if found.len() < WARNINGS_MAX {
        found.push(Warning { path, message: message.into() });
    }
}

/// Init containers and then regular ones, as the reference goes over them.
fn containers<'a>(spec: &'a PodSpec, path: &FieldPath) -> Vec<(FieldPath, &'a Container)> {
    let lists = [("initContainers", spec.init_containers.as_deref().unwrap_or_default()), ("containers", &spec.containers)];
    let numbered = |(list, containers): (&'static str, &'a [Container])| {
        let list = path.child(list);
        containers.iter().enumerate().map(move |(index, container)| (list.index(index), container)).collect::<Vec<_>>()
    };
    lists.into_iter().flat_map(numbered).collect()
}

fn deprecated_annotations(pod: &Pod, metadata: &FieldPath, found: &mut Vec<Warning>) {
    const DEPRECATED: [(&str, &str); 4] = [
        ("scheduler.alpha.kubernetes.io/critical-pod", "non-functional in v1.16+; use the \"priorityClassName\" field instead"),
        ("security.alpha.kubernetes.io/sysctls", "non-functional in v1.11+; use the \"sysctls\" field instead"),
        ("security.alpha.kubernetes.io/unsafe-sysctls", "non-functional in v1.11+; use the \"sysctls\" field instead"),
        ("seccomp.security.alpha.kubernetes.io/pod", "non-functional in v1.27+; use the \"seccompProfile\" field instead"),
    ];
    let annotations = pod.metadata.annotations.as_ref();
    for (key, message) in DEPRECATED {
        if annotations.is_some_and(|annotations| annotations.contains_key(key)) {
            warn(metadata.child("annotations").key(key), message, found);
        }
    }
}

fn about_pod(spec: &PodSpec, path: &FieldPath, found: &mut Vec<Warning>) {
    for (index, constraint) in spec.topology_spread_constraints.iter().flatten().enumerate() {
        if constraint.label_selector.is_none() {
            let path = path.child("topologySpreadConstraints").index(index).child("labelSelector");
            warn(path, "a null labelSelector results in matching no pod", found);
        }
    }
    let mut seen = BTreeSet::new();
    for (index, alias) in spec.host_aliases.iter().flatten().enumerate() {
        if !seen.insert(&alias.ip) {
            let path = path.child("hostAliases").index(index).child("ip");
            warn(path, format!("duplicate ip {}", quote(&alias.ip)), found);
        }
    }
    let mut seen = BTreeSet::new();
    for (index, secret) in spec.image_pull_secrets.iter().flatten().enumerate() {
        let path = path.child("imagePullSecrets").index(index).child("name");
        if !seen.insert(&secret.name) {
            warn(path.clone(), format!("duplicate name {}", quote(&secret.name)), found);
        }
        if secret.name.is_empty() {
            warn(path, "invalid empty name \"\"", found);
        }
    }
    broken_bytes(&spec.overhead, &path.child("overhead"), found);
}

fn about_amounts(container: &Container, path: &FieldPath, found: &mut Vec<Warning>) {
    let Some(resources) = &container.resources else {
        return;
    };
    broken_bytes(&resources.limits, &path.child("limits"), found);
    broken_bytes(&resources.requests, &path.child("requests"), found);
}

fn broken_bytes(amounts: &Option<BTreeMap<String, ApiQuantity>>, path: &FieldPath, found: &mut Vec<Warning>) {
    for name in ["memory", "ephemeral-storage"] {
        let amount = amounts.as_ref().and_then(|amounts| amounts.get(name));
        let Some(amount) = amount.and_then(|amount| Quantity::parse(&amount.0).ok()) else {
            continue;
        };
        if !amount.is_whole() {
            let message = format!("fractional byte value {} is invalid, must be an integer", quote(&amount.to_string()));
            warn(path.key(name), message, found);
        }
    }
}

fn about_env(container: &Container, path: &FieldPath, found: &mut Vec<Warning>) {
    let mut seen = BTreeSet::new();
    for (index, variable) in container.env.iter().flatten().enumerate() {
        if seen.insert(&variable.name) {
            continue;
        }
        // `X: $(X)more` builds on the earlier value; everything else hides it.
        let value = variable.value.as_deref().unwrap_or_default();
        let reference = format!("$({})", variable.name);
        if variable.value_from.is_some() || value == reference || !value.contains(&reference) {
            let name = quote(&variable.name);
            let message = format!("hides previous definition of {name}, which may be dropped when using apply");
            warn(path.index(index), message, found);
        }
    }
}

/// k8s: 1.d.2
fn about_hooks(container: &Container, path: &FieldPath, found: &mut Vec<Warning>) {
    let Some(lifecycle) = &container.lifecycle else {
        return;
    };
    for (field, hook) in [("postStart", &lifecycle.post_start), ("preStop", &lifecycle.pre_stop)] {
        if hook.as_ref().is_some_and(|hook| hook.tcp_socket.is_some()) {
            warn(path.child(field).child("tcpSocket"), crate::support::NO_TCP_HOOK, found);
        }
    }
}

fn about_ports(spec: &PodSpec, path: &FieldPath, found: &mut Vec<Warning>) {
    /// Where a port is declared, with its address and port on the host.
    type Declared<'a> = (FieldPath, &'a str, i32);
    let mut known: BTreeMap<(i32, &str), Vec<Declared<'_>>> = BTreeMap::new();
    for (path, container) in containers(spec, path) {
        for (index, port) in container.ports.iter().flatten().enumerate() {
            let here = path.child("ports").index(index);
            let host_ip = port.host_ip.as_deref().unwrap_or_default();
            let host_port = port.host_port.unwrap_or(0);
            let same = known.entry((port.container_port, port.protocol.as_deref().unwrap_or_default())).or_default();
            for (other, other_ip, other_port) in same.iter() {
                if found.len() >= WARNINGS_MAX {
                    return;
                }
                if host_ip == *other_ip && host_port == *other_port {
                    warn(here.clone(), format!("duplicate port definition with {other}"), found);
                } else if host_port == 0 || *other_port == 0 {
                    warn(here.clone(), format!("overlapping port definition with {other}"), found);
                }
            }
            if same.len() < PORTS_COMPARED_MAX {
                same.push((here, host_ip, host_port));
            }
        }
    }
}

/// k8s: 1.b.2
fn about_grace(spec: &PodSpec, path: &FieldPath, found: &mut Vec<Warning>) {
    if spec.termination_grace_period_seconds.is_some_and(|grace| grace < 0) {
        let message = "must be >= 0; negative values are invalid and will be treated as 1";
        warn(path.child("terminationGracePeriodSeconds"), message, found);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::defaults::default_pod;

    // k8s: 1.b.2, 1.d.2
    #[test]
    fn what_is_legal_but_hardly_meant_is_warned_about() {
        let pod = json!({"metadata": {"name": "p", "annotations": {"seccomp.security.alpha.kubernetes.io/pod": "x"}}, "spec": {
            "terminationGracePeriodSeconds": -5,
            "imagePullSecrets": [{"name": "a"}, {"name": "a"}, {"name": ""}],
            "hostAliases": [{"ip": "::1"}, {"ip": "::1"}],
            "volumes": [{"name": "d", "emptyDir": {"sizeLimit": "1Gi"}}, {"name": "m", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}}],
            "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "a", "whenUnsatisfiable": "DoNotSchedule"}],
            "containers": [{
                "name": "a", "image": "x",
                "env": [{"name": "A", "value": "1"}, {"name": "A", "value": "$(A)2"}, {"name": "A", "value": "3"}],
                "ports": [{"containerPort": 80}, {"containerPort": 80}, {"containerPort": 80, "protocol": "UDP"}, {"containerPort": 80, "hostPort": 8080}],
                "resources": {"limits": {"memory": "100m"}},
                "lifecycle": {"postStart": {"tcpSocket": {"port": 80}}},
            }],
        }});
        let mut pod: Pod = serde_json::from_value(pod).expect("a pod");
        default_pod(&mut pod);
        let found: Vec<_> = warnings(&pod).iter().map(ToString::to_string).collect();
        assert_eq!(
            found,
            [
                "metadata.annotations[seccomp.security.alpha.kubernetes.io/pod]: non-functional in v1.27+; use the \"seccompProfile\" field instead",
                "spec.topologySpreadConstraints[0].labelSelector: a null labelSelector results in matching no pod",
                "spec.hostAliases[1].ip: duplicate ip \"::1\"",
                "spec.imagePullSecrets[1].name: duplicate name \"a\"",
                "spec.imagePullSecrets[2].name: invalid empty name \"\"",
                "spec.containers[0].resources.limits[memory]: fractional byte value \"100m\" is invalid, must be an integer",
                "spec.containers[0].resources.requests[memory]: fractional byte value \"100m\" is invalid, must be an integer",
                "spec.containers[0].env[2]: hides previous definition of \"A\", which may be dropped when using apply",
                "spec.containers[0].lifecycle.postStart.tcpSocket: a hook cannot open a TCP connection: this hook always fails",
                "spec.containers[0].ports[1]: duplicate port definition with spec.containers[0].ports[0]",
                "spec.containers[0].ports[3]: overlapping port definition with spec.containers[0].ports[0]",
                "spec.containers[0].ports[3]: overlapping port definition with spec.containers[0].ports[1]",
                "spec.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1",
            ]
        );
    }
}
