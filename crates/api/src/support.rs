//! Which fields of a Pod the engine acts on.
//!
//! One table, [`RULES`], read by no one else: what is not in it is refused, so that nothing is dropped in silence.
//! Flip an entry when the engine learns a field.

use std::fmt;

use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;

use crate::diagnostic::{Diagnostic, Severity};
use crate::path::FieldPath;
use crate::read::Document;
use crate::sysctls::AllowedSysctls;

/// What becomes of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The engine acts on it, and on all that is under it.
    Supported,
    /// It means nothing here and nobody would expect it to; nothing is said.
    Meaningless,
    /// The API has it, and what it asks for always fails, as with the reference: so that is done. The warnings speak of it.
    Fails(&'static str),
    /// It is passed over with a warning, since its author may expect something.
    Ignored(&'static str),
    /// The Pod is refused.
    Refused(&'static str),
    /// The engine acts on it where clients can change the Pod through an API; elsewhere the Pod is refused.
    ServedOnly(&'static str),
}

/// Where a Pod is to run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Setting {
    /// From a file: nobody changes it afterwards.
    #[default]
    Standalone,
    /// With an API through which clients change it.
    Served,
}

/// What becomes of one field: its path without indexes, and values that are the same as its absence, as JSON.
pub type Rule = (&'static str, Verdict, &'static [&'static str]);

use Verdict::{Fails, Ignored, Meaningless, Refused, ServedOnly, Supported};

const COMING: &str = "not supported yet";
/// k8s: 1.d.11: in the words in which the validation says it.
const NOT_EPHEMERAL: &str = "cannot be set for an Ephemeral Container";
const NO_TOKENS: &str =
    "tokens of service accounts are not put into pods; where there is an API, `kubectl create token` makes one, and a Secret can bring it";
/// k8s: 3.d.28
pub(crate) const NO_TCP_HOOK: &str = "a hook cannot open a TCP connection: this hook always fails";
const NO_UNMASKED: &str = "needs users of the pod's own, which are not supported";
const NO_APP_ARMOR: &str = "AppArmor profiles are only applied where the kernel has AppArmor, and this one has not";
const UNSAFE_SYSCTL: &str =
    "is neither one of the kernel parameters that are safe for other pods nor allowed by the node (`allowedUnsafeSysctls`)";
const NO_DEFAULT_PROFILE: &str = "no default AppArmor profile is applied here: apparmor_parser, which would load it, is not installed";
const NO_SCHEDULER: &str = "has no effect: there is no scheduler, the pod runs here";

/// Lists whose items have the rules of containers, apart from rules of their own.
const OTHER_CONTAINERS: [&str; 2] = ["spec.initContainers", "spec.ephemeralContainers"];

/// What becomes of each field. Values `null`, `false`, `""`, `[]` and `{}` count as absence where a rule refuses or
/// ignores a field, unless the rule lists values of its own.
pub const RULES: &[Rule] = &[
    // The pod.
    ("spec.activeDeadlineSeconds", Supported, &[]),
    ("spec.affinity", Ignored(NO_SCHEDULER), &[]),
    ("spec.automountServiceAccountToken", Meaningless, &[]),
    ("spec.dnsConfig", Supported, &[]),
    ("spec.dnsPolicy", Supported, &[]),
    ("spec.enableServiceLinks", Meaningless, &[]),
    ("spec.hostAliases", Supported, &[]),
    ("spec.hostIPC", Supported, &[]),
    ("spec.hostNetwork", Supported, &[]),
    ("spec.hostPID", Supported, &[]),
    ("spec.hostUsers", Refused("users of the pod's own are not supported"), &["true"]),
    ("spec.hostname", Supported, &[]),
    ("spec.hostnameOverride", Supported, &[]),
    ("spec.imagePullSecrets", Supported, &[]),
    ("spec.nodeName", Ignored("has no effect: the pod runs on this machine"), &[]),
    ("spec.nodeSelector", Ignored(NO_SCHEDULER), &["{\"kubernetes.io/os\":\"linux\"}"]),
    ("spec.os.name", Refused("only pods for `linux` run here"), &["\"linux\""]),
    ("spec.overhead", Supported, &[]),
    ("spec.preemptionPolicy", Meaningless, &[]),
    ("spec.priority", Supported, &[]),
    ("spec.priorityClassName", Supported, &[]),
    ("spec.readinessGates", ServedOnly("nothing would ever set these conditions, so the pod could not become ready"), &[]),
    ("spec.resourceClaims", Refused("dynamic resource allocation is not supported"), &[]),
    ("spec.resources.claims", Refused("dynamic resource allocation is not supported"), &[]),
    ("spec.resources.limits", Supported, &[]),
    ("spec.resources.requests", Supported, &[]),
    ("spec.restartPolicy", Supported, &[]),
    ("spec.runtimeClassName", Supported, &[]),
    ("spec.schedulerName", Ignored(NO_SCHEDULER), &["\"default-scheduler\""]),
    ("spec.schedulingGates", ServedOnly("nothing would ever open these gates, so the pod could not start"), &[]),
    ("spec.schedulingGroup", Ignored(NO_SCHEDULER), &[]),
    ("spec.serviceAccount", Meaningless, &[]),
    ("spec.serviceAccountName", Ignored("no token of this account is mounted"), &["\"default\""]),
    ("spec.setHostnameAsFQDN", Supported, &[]),
    ("spec.shareProcessNamespace", Supported, &[]),
    ("spec.subdomain", Supported, &[]),
    ("spec.terminationGracePeriodSeconds", Supported, &[]),
    ("spec.tolerations.effect", Supported, &[]),
    ("spec.tolerations.key", Supported, &[]),
    ("spec.tolerations.operator", Supported, &[]),
    ("spec.tolerations.tolerationSeconds", Meaningless, &[]),
    ("spec.tolerations.value", Supported, &[]),
    ("spec.topologySpreadConstraints", Meaningless, &[]),
    // Its security.
    ("spec.securityContext.appArmorProfile.localhostProfile", Refused(NO_APP_ARMOR), &[]),
    ("spec.securityContext.appArmorProfile.type", Ignored(NO_APP_ARMOR), &["\"Unconfined\""]),
    ("spec.securityContext.fsGroup", Supported, &[]),
    ("spec.securityContext.fsGroupChangePolicy", Supported, &[]),
    ("spec.securityContext.runAsGroup", Supported, &[]),
    ("spec.securityContext.runAsNonRoot", Supported, &[]),
    ("spec.securityContext.runAsUser", Supported, &[]),
    ("spec.securityContext.seLinuxChangePolicy", Refused(COMING), &[]),
    ("spec.securityContext.seLinuxOptions", Refused(COMING), &[]),
    ("spec.securityContext.seccompProfile", Supported, &[]),
    ("spec.securityContext.supplementalGroups", Supported, &[]),
    ("spec.securityContext.supplementalGroupsPolicy", Supported, &[]),
    ("spec.securityContext.sysctls", Supported, &[]),
    // Its volumes.
    ("spec.volumes.name", Supported, &[]),
    ("spec.volumes.configMap", Supported, &[]),
    ("spec.volumes.downwardAPI", Supported, &[]),
    ("spec.volumes.emptyDir", Supported, &[]),
    ("spec.volumes.hostPath", Supported, &[]),
    ("spec.volumes.ephemeral", Refused("volumes are not made on demand here; use `emptyDir` or `persistentVolumeClaim`"), &[]),
    ("spec.volumes.image", Supported, &[]),
    ("spec.volumes.nfs", Refused("file systems of other machines are not mounted; mount it on this one and use `hostPath`"), &[]),
    ("spec.volumes.persistentVolumeClaim", Supported, &[]),
    ("spec.volumes.projected.defaultMode", Supported, &[]),
    ("spec.volumes.projected.sources.clusterTrustBundle", Refused("there is no cluster here that could issue it"), &[]),
    ("spec.volumes.projected.sources.podCertificate", Refused("there is no cluster here that could issue it"), &[]),
    ("spec.volumes.projected.sources.serviceAccountToken", Refused(NO_TOKENS), &[]),
    ("spec.volumes.projected.sources.configMap", Supported, &[]),
    ("spec.volumes.projected.sources.downwardAPI", Supported, &[]),
    ("spec.volumes.projected.sources.secret", Supported, &[]),
    ("spec.volumes.secret", Supported, &[]),
    // Containers.
    ("spec.containers.args", Supported, &[]),
    ("spec.containers.command", Supported, &[]),
    ("spec.containers.env.name", Supported, &[]),
    ("spec.containers.env.value", Supported, &[]),
    ("spec.containers.env.valueFrom.configMapKeyRef", Supported, &[]),
    ("spec.containers.env.valueFrom.fieldRef", Supported, &[]),
    ("spec.containers.env.valueFrom.fileKeyRef", Refused(COMING), &[]),
    ("spec.containers.env.valueFrom.resourceFieldRef", Supported, &[]),
    ("spec.containers.env.valueFrom.secretKeyRef", Supported, &[]),
    ("spec.containers.envFrom", Supported, &[]),
    ("spec.containers.image", Supported, &[]),
    ("spec.containers.imagePullPolicy", Supported, &[]),
    ("spec.containers.lifecycle.postStart.exec", Supported, &[]),
    ("spec.containers.lifecycle.postStart.httpGet", Supported, &[]),
    ("spec.containers.lifecycle.postStart.sleep", Supported, &[]),
    ("spec.containers.lifecycle.postStart.tcpSocket", Fails(NO_TCP_HOOK), &[]),
    ("spec.containers.lifecycle.preStop.exec", Supported, &[]),
    ("spec.containers.lifecycle.preStop.httpGet", Supported, &[]),
    ("spec.containers.lifecycle.preStop.sleep", Supported, &[]),
    ("spec.containers.lifecycle.preStop.tcpSocket", Fails(NO_TCP_HOOK), &[]),
    ("spec.containers.lifecycle.stopSignal", Supported, &[]),
    ("spec.containers.livenessProbe", Supported, &[]),
    ("spec.containers.name", Supported, &[]),
    ("spec.containers.ports", Supported, &[]),
    ("spec.containers.readinessProbe", Supported, &[]),
    ("spec.containers.resizePolicy", Supported, &[]),
    ("spec.containers.resources.claims", Refused("dynamic resource allocation is not supported"), &[]),
    ("spec.containers.resources.limits", Supported, &[]),
    ("spec.containers.resources.requests", Supported, &[]),
    ("spec.containers.restartPolicy", Supported, &[]),
    ("spec.containers.restartPolicyRules", Supported, &[]),
    ("spec.containers.securityContext.allowPrivilegeEscalation", Supported, &[]),
    ("spec.containers.securityContext.appArmorProfile.localhostProfile", Refused(NO_APP_ARMOR), &[]),
    ("spec.containers.securityContext.appArmorProfile.type", Ignored(NO_APP_ARMOR), &["\"Unconfined\""]),
    ("spec.containers.securityContext.capabilities", Supported, &[]),
    ("spec.containers.securityContext.privileged", Supported, &[]),
    ("spec.containers.securityContext.procMount", Refused(NO_UNMASKED), &["\"Default\""]),
    ("spec.containers.securityContext.readOnlyRootFilesystem", Supported, &[]),
    ("spec.containers.securityContext.runAsGroup", Supported, &[]),
    ("spec.containers.securityContext.runAsNonRoot", Supported, &[]),
    ("spec.containers.securityContext.runAsUser", Supported, &[]),
    ("spec.containers.securityContext.seLinuxOptions", Refused(COMING), &[]),
    ("spec.containers.securityContext.seccompProfile", Supported, &[]),
    ("spec.containers.startupProbe", Supported, &[]),
    ("spec.containers.stdin", Supported, &[]),
    ("spec.containers.stdinOnce", Supported, &[]),
    ("spec.containers.terminationMessagePath", Supported, &[]),
    ("spec.containers.terminationMessagePolicy", Supported, &[]),
    ("spec.containers.tty", Supported, &[]),
    ("spec.containers.volumeDevices", Refused("block devices are not supported"), &[]),
    ("spec.containers.volumeMounts.mountPath", Supported, &[]),
    ("spec.containers.volumeMounts.mountPropagation", Supported, &[]),
    ("spec.containers.volumeMounts.name", Supported, &[]),
    ("spec.containers.volumeMounts.readOnly", Supported, &[]),
    ("spec.containers.volumeMounts.recursiveReadOnly", Supported, &[]),
    ("spec.containers.volumeMounts.subPath", Supported, &[]),
    ("spec.containers.volumeMounts.subPathExpr", Supported, &[]),
    ("spec.containers.workingDir", Supported, &[]),
    // Ephemeral containers, where they differ.
    ("spec.ephemeralContainers.lifecycle", Refused(NOT_EPHEMERAL), &[]),
    ("spec.ephemeralContainers.livenessProbe", Refused(NOT_EPHEMERAL), &[]),
    ("spec.ephemeralContainers.ports", Refused(NOT_EPHEMERAL), &[]),
    ("spec.ephemeralContainers.readinessProbe", Refused(NOT_EPHEMERAL), &[]),
    ("spec.ephemeralContainers.resizePolicy", Refused(NOT_EPHEMERAL), &[]),
    ("spec.ephemeralContainers.resources", Refused(NOT_EPHEMERAL), &[]),
    ("spec.ephemeralContainers.restartPolicy", Refused(NOT_EPHEMERAL), &[]),
    ("spec.ephemeralContainers.restartPolicyRules", Refused(NOT_EPHEMERAL), &[]),
    ("spec.ephemeralContainers.startupProbe", Refused(NOT_EPHEMERAL), &[]),
    ("spec.ephemeralContainers.targetContainerName", Supported, &[]),
    ("spec.ephemeralContainers.volumeMounts.subPath", Refused(NOT_EPHEMERAL), &[]),
    ("spec.ephemeralContainers.volumeMounts.subPathExpr", Refused(NOT_EPHEMERAL), &[]),
];

/// What one node does for its pods and another may not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeSupport {
    /// Whether its pods can be changed.
    pub setting: Setting,
    /// Kernel parameters that its pods may set besides the safe ones.
    pub sysctls: AllowedSysctls,
    /// Its kernel has AppArmor: what [`RULES`] say of profiles holds where it has not.
    pub has_app_armor: bool,
    /// Its runtime has an AppArmor profile of its own.
    pub has_default_app_armor_profile: bool,
}

/// What is said of a field without a rule.
const UNKNOWN: &str = "not supported";

/// A field that the engine does not act on. Its `Display` is `path: message`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsupported {
    /// The field.
    pub path: FieldPath,
    /// Whether the Pod is refused, or the field passed over.
    pub severity: Severity,
    /// What is said of it.
    pub message: &'static str,
}

impl std::error::Error for Unsupported {}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

impl Unsupported {
    /// The same for a person, with its place in the manifest.
    pub fn diagnostic(&self, document: &Document) -> Diagnostic {
        let (_, place) = document.place(&self.path);
        let diagnostic = match self.severity {
            Severity::Error => Diagnostic::error(self.to_string()),
            Severity::Warning => Diagnostic::warning(self.to_string()),
            Severity::Note => Diagnostic::note(self.to_string()),
        };
        diagnostic.about(self.path.clone()).at(place.key.unwrap_or(place.value), "")
    }
}

/// The fields of a Pod that the engine of a node does not act on, defaulted or not. With any error among them, the Pod is to be
/// refused.
pub fn unsupported(pod: &Pod, node: &NodeSupport) -> Vec<Unsupported> {
    unsupported_at(pod, &FieldPath::new("spec"), node)
}

/// The same for a Pod whose spec is at `path` of the object that it was taken from.
pub fn unsupported_at(pod: &Pod, path: &FieldPath, node: &NodeSupport) -> Vec<Unsupported> {
    let mut found = Vec::new();
    let spec = pod.spec.as_ref().and_then(|spec| serde_json::to_value(spec).ok());
    if let Some(spec) = spec {
        walk((RULES, node.setting), &spec, path, "spec", &mut found);
    }
    if node.has_app_armor {
        found.retain(|found| found.message != NO_APP_ARMOR);
        if !node.has_default_app_armor_profile {
            found.extend(default_profiles(pod, path));
        }
    }
    found.extend(unsafe_sysctls(pod, path, &node.sysctls));
    found
}

/// Places that ask for the AppArmor profile of the runtime.
fn default_profiles(pod: &Pod, path: &FieldPath) -> Vec<Unsupported> {
    let Some(spec) = &pod.spec else { return Vec::new() };
    let of_pod = spec.security_context.as_ref().and_then(|security| security.app_armor_profile.as_ref());
    let mut profiles: Vec<_> = of_pod.map(|profile| (path.clone(), profile)).into_iter().collect();
    let lists = [("initContainers", spec.init_containers.as_deref().unwrap_or_default()), ("containers", &spec.containers)];
    for (list, containers) in lists {
        for (index, container) in containers.iter().enumerate() {
            let profile = container.security_context.as_ref().and_then(|security| security.app_armor_profile.as_ref());
            profiles.extend(profile.map(|profile| (path.child(list).index(index), profile)));
        }
    }
    let asked = profiles.into_iter().filter(|(_, profile)| profile.type_ == "RuntimeDefault");
    let place = |path: &FieldPath| path.child("securityContext").child("appArmorProfile").child("type");
    asked.map(|(path, _)| Unsupported { path: place(&path), severity: Severity::Warning, message: NO_DEFAULT_PROFILE }).collect()
}

fn unsafe_sysctls(pod: &Pod, path: &FieldPath, allowed: &AllowedSysctls) -> Vec<Unsupported> {
    let security = pod.spec.as_ref().and_then(|spec| spec.security_context.as_ref());
    let sysctls = security.and_then(|security| security.sysctls.as_deref()).unwrap_or_default();
    let refused = sysctls.iter().enumerate().filter(|(_, sysctl)| !allowed.allows(&sysctl.name));
    let path = |index| path.child("securityContext").child("sysctls").index(index).child("name");
    refused.map(|(index, _)| Unsupported { path: path(index), severity: Severity::Error, message: UNSAFE_SYSCTL }).collect()
}

/// The rules, and for where.
type Rules<'a> = (&'a [Rule], Setting);

fn walk(rules: Rules<'_>, value: &Value, path: &FieldPath, pattern: &str, found: &mut Vec<Unsupported>) {
    match value {
        Value::Object(fields) => {
            for (field, value) in fields {
                let pattern = format!("{pattern}.{field}");
                judge(rules, value, &path.child(field.clone()), &pattern, found);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                walk(rules, item, &path.index(index), pattern, found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn judge(rules: Rules<'_>, value: &Value, path: &FieldPath, pattern: &str, found: &mut Vec<Unsupported>) {
    let place = &rule_path(pattern);
    let mut push = |severity, message| found.push(Unsupported { path: path.clone(), severity, message });
    let (table, setting) = rules;
    match table.iter().find(|(rule, ..)| *rule == place) {
        Some((_, Supported | Meaningless | Fails(_), _)) => {}
        Some((_, ServedOnly(_), _)) if setting == Setting::Served => {}
        Some((_, Ignored(message), same)) if !is_absence(value, same) => push(Severity::Warning, *message),
        Some((_, Refused(message) | ServedOnly(message), same)) if !is_absence(value, same) => push(Severity::Error, *message),
        Some((_, Ignored(_) | Refused(_) | ServedOnly(_), _)) => {}
        None if table.iter().any(|(rule, ..)| rule.strip_prefix(place.as_str()).is_some_and(|rest| rest.starts_with('.'))) => {
            walk(rules, value, path, pattern, found);
        }
        None if is_absence(value, &[]) => {}
        None => push(Severity::Error, UNKNOWN),
    }
}

/// The place whose rules a field has: its own if there are any, else those of `spec.containers` for any list of containers.
pub fn rule_path(pattern: &str) -> String {
    let has_own = RULES.iter().any(|(rule, ..)| pattern.strip_prefix(rule).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')));
    let is_in = |list: &&str| pattern.strip_prefix(*list).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    let list = OTHER_CONTAINERS.iter().find(|list| is_in(list));
    match list.filter(|_| !has_own) {
        Some(list) => pattern.replacen(list, "spec.containers", 1),
        None => pattern.to_owned(),
    }
}

/// Whether a value means the same as if it were not there.
fn is_absence(value: &Value, same: &[&str]) -> bool {
    if !same.is_empty() {
        return value.is_null() || value == "" || same.contains(&value.to_string().as_str());
    }
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(true) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(spec: Value) -> Vec<String> {
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec});
        let mut pod: Pod = serde_json::from_value(pod).expect("a pod");
        let node = NodeSupport::default();
        let written = unsupported(&pod, &node);
        crate::defaults::default_pod(&mut pod);
        assert_eq!(written, unsupported(&pod, &node), "defaults make no difference");
        written.iter().map(|found| format!("{:?} {found}", found.severity)).collect()
    }

    #[test]
    fn a_plain_pod_is_supported() {
        let spec = json!({
            "containers": [{"name": "a", "image": "x", "lifecycle": {"preStop": {"sleep": {"seconds": 1}}},
                "volumeMounts": [{"name": "v", "mountPath": "/v", "mountPropagation": "None"}]}],
            "volumes": [{"name": "v", "hostPath": {"path": "/v"}}],
            "nodeSelector": {"kubernetes.io/os": "linux"},
            "hostNetwork": false, "hostUsers": true, "tolerations": [{"operator": "Exists"}], "os": {"name": "linux"},
        });
        assert_eq!(found(spec), Vec::<String>::new());
    }

    #[test]
    fn what_is_not_acted_on_is_refused_or_warned_about() {
        let spec = json!({
            "containers": [{"name": "a", "image": "x", "volumeDevices": [{"name": "v", "devicePath": "/dev/x"}]}],
            "initContainers": [{"name": "i", "image": "x", "env": [{"name": "E", "valueFrom": {"fileKeyRef": {"key": "k", "path": "p", "volumeName": "v"}}}]}],
            "volumes": [{"name": "v", "cephfs": {"monitors": ["a"]}}],
            "nodeSelector": {"disk": "ssd"}, "hostUsers": false, "serviceAccountName": "robot",
            "securityContext": {
                "appArmorProfile": {"type": "Localhost", "localhostProfile": "p"},
                "sysctls": [{"name": "net/ipv4/tcp_rmem", "value": "1"}, {"name": "kernel.msgmax", "value": "1"}],
            },
        });
        assert_eq!(
            found(spec),
            [
                "Error spec.containers[0].volumeDevices: block devices are not supported",
                "Error spec.hostUsers: users of the pod's own are not supported",
                "Error spec.initContainers[0].env[0].valueFrom.fileKeyRef: not supported yet",
                "Warning spec.nodeSelector: has no effect: there is no scheduler, the pod runs here",
                "Error spec.securityContext.appArmorProfile.localhostProfile: AppArmor profiles are only applied where the kernel has AppArmor, and this one has not",
                "Warning spec.securityContext.appArmorProfile.type: AppArmor profiles are only applied where the kernel has AppArmor, and this one has not",
                "Warning spec.serviceAccountName: no token of this account is mounted",
                "Error spec.volumes[0].cephfs: not supported",
                "Error spec.securityContext.sysctls[1].name: is neither one of the kernel parameters that are safe for other pods nor allowed by the node (`allowedUnsafeSysctls`)",
            ]
        );
    }

    #[test]
    fn what_a_node_allows_or_its_kernel_has_is_not_refused() {
        let spec = json!({
            "containers": [{"name": "a", "image": "x", "securityContext": {"appArmorProfile": {"type": "Localhost", "localhostProfile": "p"}}}],
            "initContainers": [{"name": "i", "image": "x", "securityContext": {"appArmorProfile": {"type": "RuntimeDefault"}}}],
            "securityContext": {
                "appArmorProfile": {"type": "Unconfined"},
                "sysctls": [{"name": "kernel.msgmax", "value": "1"}, {"name": "net.core.somaxconn", "value": "1"}],
            },
        });
        let pod: Pod = serde_json::from_value(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {}, "spec": spec})).expect("a pod");
        let node = NodeSupport {
            sysctls: AllowedSysctls::parse(["kernel.msg*"]).expect("a pattern"),
            has_app_armor: true,
            ..NodeSupport::default()
        };
        let found = |node: &NodeSupport| -> Vec<_> {
            unsupported(&pod, node).iter().map(|found| format!("{:?} {found}", found.severity)).collect()
        };
        assert_eq!(
            found(&node),
            [
                "Warning spec.initContainers[0].securityContext.appArmorProfile.type: no default AppArmor profile is applied here: apparmor_parser, which would load it, is not installed",
                "Error spec.securityContext.sysctls[1].name: is neither one of the kernel parameters that are safe for other pods nor allowed by the node (`allowedUnsafeSysctls`)",
            ]
        );
        let with_default = NodeSupport { has_default_app_armor_profile: true, ..node };
        assert_eq!(found(&with_default).len(), 1, "only the parameter is left");
    }

    #[test]
    fn gates_are_refused_where_nobody_could_open_them() {
        let gates = json!({"containers": [], "readinessGates": [{"conditionType": "a/b"}], "schedulingGates": [{"name": "a/c"}]});
        assert_eq!(
            found(gates.clone()),
            [
                "Error spec.readinessGates: nothing would ever set these conditions, so the pod could not become ready",
                "Error spec.schedulingGates: nothing would ever open these gates, so the pod could not start",
            ]
        );
        let pod: Pod = serde_json::from_value(json!({"metadata": {}, "spec": gates})).expect("a pod");
        assert_eq!(unsupported(&pod, &NodeSupport { setting: Setting::Served, ..NodeSupport::default() }), []);
    }

    // k8s: 1.d.11
    #[test]
    fn ephemeral_containers_have_the_fields_of_others_but_for_some() {
        let container = json!({
            "name": "d", "image": "x", "targetContainerName": "a", "stdin": true, "tty": true, "ports": [{"containerPort": 1}],
            "lifecycle": {"preStop": {"sleep": {"seconds": 1}}}, "resources": {},
            "volumeMounts": [{"name": "v", "mountPath": "/v", "subPath": "s"}], "volumeDevices": [{"name": "v", "devicePath": "/dev/x"}],
        });
        assert_eq!(
            found(json!({"containers": [], "ephemeralContainers": [container]})),
            [
                "Error spec.ephemeralContainers[0].lifecycle: cannot be set for an Ephemeral Container",
                "Error spec.ephemeralContainers[0].ports: cannot be set for an Ephemeral Container",
                "Error spec.ephemeralContainers[0].volumeDevices: block devices are not supported",
                "Error spec.ephemeralContainers[0].volumeMounts[0].subPath: cannot be set for an Ephemeral Container",
            ]
        );
    }

    #[test]
    fn a_field_without_a_rule_is_refused() {
        let spec = json!({"containers": [], "subdomain": "x"});
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {}, "spec": spec});
        let pod: Pod = serde_json::from_value(pod).expect("a pod");
        let spec = serde_json::to_value(&pod.spec).expect("serializes");
        let mut found = Vec::new();
        walk((&[("spec.containers.name", Supported, &[])], Setting::Standalone), &spec, &FieldPath::new("spec"), "spec", &mut found);
        assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), ["spec.subdomain: not supported"]);
    }

    #[test]
    fn every_rule_names_a_field_of_the_api() {
        for (rule, ..) in RULES {
            let mut of = crate::schema::Type::Named("io.k8s.api.core.v1.Pod");
            for field in rule.split('.') {
                while let crate::schema::Type::List(items) = of {
                    of = *items;
                }
                let crate::schema::Type::Named(name) = &of else { panic!("{rule}: {field} is below no object") };
                let object = crate::schema::schemas().object(name).expect("known");
                of = object.fields.get(field).unwrap_or_else(|| panic!("{rule}: no field {field}")).clone();
            }
        }
    }

    #[test]
    fn every_field_of_the_pod_has_a_rule() {
        let covered = |pattern: &str| {
            let pattern = &rule_path(pattern);
            RULES.iter().any(|(rule, ..)| *rule == pattern || rule.strip_prefix(pattern).is_some_and(|rest| rest.starts_with('.')))
        };
        for (name, pattern) in [("PodSpec", "spec"), ("Container", "spec.containers"), ("EphemeralContainer", "spec.ephemeralContainers")] {
            let object = crate::schema::schemas().object(&format!("io.k8s.api.core.v1.{name}")).expect("known");
            let without: Vec<_> = object.fields.keys().filter(|field| !covered(&format!("{pattern}.{field}"))).collect();
            assert!(without.is_empty(), "fields of {name} without a rule: {without:?}");
        }
    }
}
