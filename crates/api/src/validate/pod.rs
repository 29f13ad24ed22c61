//! Rules of Pods as a whole, in the order of the reference.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Pod, PodDNSConfig, PodSpec, Volume};

use super::affinity::validate_affinity;
use super::error::{BadValue, FieldError};
use super::meta::{validate_labels, validate_meta};
use super::resources::{Owner, validate_pod_resources, validate_resources};
use super::restart::validate_restart_policy;
use super::{Errors, complain, container, names, ports, scheduling, security, text, volume};
use crate::path::FieldPath;

/// Limits of name resolution: servers, search paths, characters of all search paths.
const NAMESERVERS_MAX: usize = 3;
const SEARCHES_MAX: usize = 32;
const SEARCH_CHARS_MAX: usize = 2048;
/// The longest name of a host, in bytes.
const HOSTNAME_BYTES_MAX: usize = 64;

/// What the rules of containers need to know of their Pod.
pub(super) struct PodContext<'a> {
    pub(super) volumes: BTreeMap<&'a str, &'a Volume>,
    pub(super) claims: BTreeSet<&'a str>,
    pub(super) grace_seconds: Option<i64>,
    pub(super) restart_policy: &'a str,
    pub(super) host_users: bool,
    pub(super) os: Option<&'a str>,
}

/// Checks a Pod that is to be created. It must have been defaulted.
pub fn validate_pod_create(pod: &Pod) -> Vec<FieldError> {
    let mut errors = Vec::new();
    validate_meta(&pod.metadata, &mut errors);
    validate_deletion_cost(pod, &mut errors);
    validate_new_spec(pod, &FieldPath::new("spec"), &mut errors);
    errors
}

/// Checks what a Pod that is to be created says beside its metadata, which is at `path`.
pub(super) fn validate_new_spec(pod: &Pod, path: &FieldPath, errors: &mut Errors) {
    let empty = PodSpec::default();
    let spec = pod.spec.as_ref().unwrap_or(&empty);
    validate_spec(spec, text(&pod.metadata.name), path, errors);
    validate_tokens_have_account(spec, path, errors);
    for (field, containers) in
        [("containers", &spec.containers[..]), ("initContainers", spec.init_containers.as_deref().unwrap_or_default())]
    {
        for (index, own) in containers.iter().enumerate() {
            container::validate_image_blanks(own, &path.child(field).index(index), errors);
        }
    }
    // k8s: 1.d.12
    if spec.ephemeral_containers.as_ref().is_some_and(|containers| !containers.is_empty()) {
        errors.push(FieldError::forbidden(&path.child("ephemeralContainers"), "cannot be set on create"));
    }
    let gated = spec.scheduling_gates.as_ref().is_some_and(|gates| !gates.is_empty());
    if gated && !text(&spec.node_name).is_empty() {
        let detail = "cannot be set until all schedulingGates have been cleared";
        errors.push(FieldError::forbidden(&path.child("nodeName"), detail));
    }
}

/// Checks what a Pod, or a template of Pods, says at `path`. It must have been defaulted.
pub fn validate_pod_spec(spec: &PodSpec, path: &FieldPath) -> Vec<FieldError> {
    let mut errors = Vec::new();
    validate_spec(spec, "", path, &mut errors);
    errors
}

fn validate_spec(spec: &PodSpec, pod_name: &str, path: &FieldPath, errors: &mut Errors) {
    // k8s: 1.b.3
    if spec.termination_grace_period_seconds.is_none() {
        errors.push(FieldError::required(&path.child("terminationGracePeriodSeconds"), ""));
    }
    let volumes = spec.volumes.as_deref().unwrap_or_default();
    let context = PodContext {
        volumes: volume::validate_volumes(volumes, pod_name, &path.child("volumes"), errors),
        claims: spec.resource_claims.iter().flatten().map(|claim| claim.name.as_str()).filter(|n| !n.is_empty()).collect(),
        grace_seconds: spec.termination_grace_period_seconds,
        restart_policy: text(&spec.restart_policy),
        host_users: spec.host_users.unwrap_or(true),
        os: spec.os.as_ref().map(|os| os.name.as_str()).filter(|name| !name.is_empty()),
    };
    validate_resource_claims(spec, &path.child("resourceClaims"), errors);
    container::validate_containers(&spec.containers, &context, &path.child("containers"), errors);
    container::validate_init_containers(spec, &context, &path.child("initContainers"), errors);
    container::validate_ephemeral_containers(spec, &context, &path.child("ephemeralContainers"), errors);
    validate_pod_resources(spec, &context.claims, &path.child("resources"), errors);
    if spec.host_network == Some(true) {
        ports::validate_host_network_ports(&spec.containers, &path.child("containers"), errors);
    }
    validate_restart_policy(context.restart_policy, &path.child("restartPolicy"), errors);
    validate_dns_policy(text(&spec.dns_policy), &path.child("dnsPolicy"), errors);
    validate_labels(spec.node_selector.as_ref(), &path.child("nodeSelector"), errors);
    security::validate_pod(spec, &path.child("securityContext"), errors);
    validate_affinity(spec.affinity.as_ref(), &path.child("affinity"), errors);
    validate_dns_config(spec, &path.child("dnsConfig"), errors);
    scheduling::validate_readiness_gates(spec, &path.child("readinessGates"), errors);
    scheduling::validate_scheduling_gates(spec, &path.child("schedulingGates"), errors);
    let constraints = spec.topology_spread_constraints.as_deref().unwrap_or_default();
    scheduling::validate_spreading(constraints, &path.child("topologySpreadConstraints"), errors);
    validate_host_users(spec, path, errors);
    validate_names(spec, path, errors);
    validate_rest(spec, &context, path, errors);
}

/// Names of other things, and of the Pod as a host.
fn validate_names(spec: &PodSpec, path: &FieldPath, errors: &mut Errors) {
    type Rule = fn(&str) -> Vec<String>;
    let mut check = |field: &'static str, value: &Option<String>, rule: Rule| {
        let value = text(value);
        if !value.is_empty() {
            complain(errors, &path.child(field), value, rule(value));
        }
    };
    check("serviceAccountName", &spec.service_account_name, names::dns_subdomain);
    check("nodeName", &spec.node_name, names::dns_subdomain);
    // k8s: 1.f.1
    if let Some(seconds) = spec.active_deadline_seconds {
        let max = i64::from(i32::MAX);
        if !(1..=max).contains(&seconds) {
            let path = path.child("activeDeadlineSeconds");
            errors.push(FieldError::invalid(&path, seconds, names::out_of_range(1, max)));
        }
    }
    let mut check = |field: &'static str, value: &Option<String>, rule: Rule| {
        let value = text(value);
        if !value.is_empty() {
            complain(errors, &path.child(field), value, rule(value));
        }
    };
    check("hostname", &spec.hostname, names::dns_label);
    check("subdomain", &spec.subdomain, names::dns_label);
    check("hostnameOverride", &spec.hostname_override, names::dns_subdomain);
    if text(&spec.hostname_override).len() > HOSTNAME_BYTES_MAX {
        errors.push(FieldError::too_long(&path.child("hostnameOverride"), HOSTNAME_BYTES_MAX));
    }
}

fn validate_rest(spec: &PodSpec, context: &PodContext<'_>, path: &FieldPath, errors: &mut Errors) {
    let tolerations = spec.tolerations.as_deref().unwrap_or_default();
    scheduling::validate_tolerations(tolerations, &path.child("tolerations"), errors);
    for (index, alias) in spec.host_aliases.iter().flatten().enumerate() {
        let path = path.child("hostAliases").index(index);
        complain(errors, &path.child("ip"), &alias.ip, names::ip_address(&alias.ip));
        for (index, name) in alias.hostnames.iter().flatten().enumerate() {
            complain(errors, &path.child("hostnames").index(index), name, names::dns_subdomain(name));
        }
    }
    for (field, name) in [("priorityClassName", &spec.priority_class_name), ("runtimeClassName", &spec.runtime_class_name)] {
        // An empty name of a runtime class is wrong, of a priority class absent.
        if let Some(name) = name.as_deref().filter(|name| !name.is_empty() || field == "runtimeClassName") {
            complain(errors, &path.child(field), name, names::dns_subdomain(name));
        }
    }
    let preemption = path.child("preemptionPolicy");
    match spec.preemption_policy.as_deref() {
        None | Some("PreemptLowerPriority" | "Never") => {}
        Some("") => errors.push(FieldError::required(&preemption, "")),
        Some(other) => errors.push(FieldError::not_supported(&preemption, other, &["PreemptLowerPriority", "Never"])),
    }
    if spec.overhead.is_some() {
        let limits = k8s_openapi::api::core::v1::ResourceRequirements { limits: spec.overhead.clone(), ..Default::default() };
        let start = errors.len();
        validate_resources(&limits, Owner::Container, &context.claims, &path.child("overhead"), errors);
        for error in &mut errors[start..] {
            if let Some(key) = error.path.segments().last() {
                error.exact = Some(path.child("overhead").with(key.clone()));
            }
        }
    }
    validate_os(spec, path, errors);
}

fn validate_os(spec: &PodSpec, path: &FieldPath, errors: &mut Errors) {
    let Some(os) = &spec.os else { return };
    let field = path.child("os");
    match os.name.as_str() {
        "" => errors.push(FieldError::required(&field.child("name"), "cannot be empty")),
        "linux" => {
            let security = spec.security_context.as_ref();
            const DETAIL: &str = "windows options cannot be set for a linux pod";
            if security.is_some_and(|security| security.windows_options.is_some()) {
                errors.push(FieldError::forbidden(&path.child("securityContext").child("windowsOptions"), DETAIL));
            }
            let lists = [("initContainers", spec.init_containers.as_deref().unwrap_or_default()), ("containers", &spec.containers)];
            for (list, containers) in lists {
                for (index, own) in containers.iter().enumerate() {
                    if own.security_context.as_ref().is_some_and(|security| security.windows_options.is_some()) {
                        let path = path.child(list).index(index).child("securityContext").child("windowsOptions");
                        errors.push(FieldError::forbidden(&path, DETAIL));
                    }
                }
            }
        }
        // What a Windows pod may not have is not gone into: it is refused as a whole.
        "windows" => {}
        other => {
            let exact = field.child("name");
            errors.push(FieldError::not_supported(&field, other, &["linux", "windows"]).exactly(exact));
        }
    }
}

fn validate_deletion_cost(pod: &Pod, errors: &mut Errors) {
    const KEY: &str = "controller.kubernetes.io/pod-deletion-cost";
    let cost = pod.metadata.annotations.as_ref().and_then(|annotations| annotations.get(KEY));
    let canonical = |cost: &str| cost.parse::<i32>().is_ok_and(|number| number.to_string() == cost || cost.starts_with('-'));
    if let Some(cost) = cost.filter(|cost| !canonical(cost)) {
        let path = FieldPath::new("metadata").child("annotations").key(KEY);
        errors.push(FieldError::invalid(&path, cost, "must be a 32bit integer"));
    }
}

fn validate_tokens_have_account(spec: &PodSpec, path: &FieldPath, errors: &mut Errors) {
    if !text(&spec.service_account_name).is_empty() {
        return;
    }
    for (index, volume) in spec.volumes.iter().flatten().enumerate() {
        let sources = volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
        for (source_index, _) in sources.enumerate().filter(|(_, source)| source.service_account_token.is_some()) {
            let path = path.child("volumes").index(index).child("projected").child("sources").index(source_index);
            let detail = "must not be specified when serviceAccountName is not set";
            errors.push(FieldError::forbidden(&path.child("serviceAccountToken"), detail));
        }
    }
}

fn validate_resource_claims(spec: &PodSpec, path: &FieldPath, errors: &mut Errors) {
    let mut seen = BTreeSet::new();
    for (index, claim) in spec.resource_claims.iter().flatten().enumerate() {
        let path = path.index(index);
        let name = path.child("name");
        if claim.name.is_empty() {
            errors.push(FieldError::required(&name, ""));
        } else if !seen.insert(&claim.name) {
            errors.push(FieldError::duplicate(&name, &claim.name));
        } else {
            complain(errors, &name, &claim.name, names::dns_label(&claim.name));
        }
        let shown = serde_json::to_string(claim).unwrap_or_default();
        match (&claim.resource_claim_name, &claim.resource_claim_template_name) {
            (Some(_), Some(_)) => {
                let detail = "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified";
                errors.push(FieldError::invalid(&path, BadValue::Raw(shown), detail));
            }
            (None, None) => {
                let detail = "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`";
                errors.push(FieldError::invalid(&path, BadValue::Raw(shown), detail));
            }
            (Some(name), None) => {
                complain(errors, &path.child("resourceClaimName"), name, names::dns_subdomain(name));
            }
            (None, Some(name)) => {
                complain(errors, &path.child("resourceClaimTemplateName"), name, names::dns_subdomain(name));
            }
        }
    }
}

fn validate_dns_policy(policy: &str, path: &FieldPath, errors: &mut Errors) {
    const POLICIES: [&str; 4] = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
    match policy {
        "" => errors.push(FieldError::required(path, "")),
        policy if POLICIES.contains(&policy) => {}
        other => errors.push(FieldError::not_supported(path, other, &POLICIES)),
    }
}

fn validate_dns_config(spec: &PodSpec, path: &FieldPath, errors: &mut Errors) {
    let config = spec.dns_config.as_ref();
    if text(&spec.dns_policy) == "None" {
        let Some(config) = config else {
            let detail = "must provide `dnsConfig` when `dnsPolicy` is None";
            return errors.push(FieldError::required(path, detail));
        };
        if config.nameservers.as_deref().unwrap_or_default().is_empty() {
            let detail = "must provide at least one DNS nameserver when `dnsPolicy` is None";
            return errors.push(FieldError::required(&path.child("nameservers"), detail));
        }
    }
    if let Some(config) = config {
        validate_dns(config, path, errors);
    }
}

fn validate_dns(config: &PodDNSConfig, path: &FieldPath, errors: &mut Errors) {
    let shown = |list: &[String]| BadValue::Raw(serde_json::to_string(list).unwrap_or_default());
    let servers = config.nameservers.as_deref().unwrap_or_default();
    let servers_path = path.child("nameservers");
    if servers.len() > NAMESERVERS_MAX {
        let detail = format!("must not have more than {NAMESERVERS_MAX} nameservers");
        errors.push(FieldError::invalid(&servers_path, shown(servers), detail));
    }
    for (index, server) in servers.iter().enumerate() {
        complain(errors, &servers_path.index(index), server, names::ip_address(server));
    }
    let searches = config.searches.as_deref().unwrap_or_default();
    let searches_path = path.child("searches");
    if searches.len() > SEARCHES_MAX {
        let detail = format!("must not have more than {SEARCHES_MAX} search paths");
        errors.push(FieldError::invalid(&searches_path, shown(searches), detail));
    }
    if searches.join(" ").len() > SEARCH_CHARS_MAX {
        let detail = format!("must not have more than {SEARCH_CHARS_MAX} characters (including spaces) in the search list");
        errors.push(FieldError::invalid(&searches_path, shown(searches), detail));
    }
    for (index, search) in searches.iter().enumerate().filter(|(_, search)| *search != ".") {
        let search = search.strip_suffix('.').unwrap_or(search);
        complain(errors, &searches_path.index(index), search, names::dns_subdomain_with_underscore(search));
    }
    for (index, option) in config.options.iter().flatten().enumerate() {
        if text(&option.name).is_empty() {
            errors.push(FieldError::required(&path.child("options").index(index), "must not be empty"));
        }
    }
}

/// Namespaces of the host and users of its own do not go together.
fn validate_host_users(spec: &PodSpec, path: &FieldPath, errors: &mut Errors) {
    if spec.host_users != Some(false) {
        return;
    }
    // Spelt like this in the reference.
    let shared =
        [("hostNetwork", "hostNetwork", spec.host_network), ("HostPID", "hostPID", spec.host_pid), ("HostIPC", "hostIPC", spec.host_ipc)];
    for (shown, field, _) in shared.into_iter().filter(|(.., shared)| *shared == Some(true)) {
        let error = FieldError::forbidden(&path.child(shown), "when `pod.Spec.HostUsers` is false");
        errors.push(error.exactly(path.child(field)));
    }
}
