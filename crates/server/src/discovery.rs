//! What clients ask first: which groups, versions and kinds there are.

use serde_json::{Value, json};

use crate::kinds::{KINDS, Kind, MEASURED, MEASURED_VERBS, METRICS_GROUP, REVIEWS, VERBS, api_version, groups, version_of};

/// The Kubernetes version whose API this is.
pub const KUBERNETES_VERSION: &str = "v1.36.2";

/// `/version`.
pub fn version() -> Value {
    json!({
        "major": "1",
        "minor": "36",
        "emulationMajor": "1",
        "emulationMinor": "36",
        "minCompatibilityMajor": "1",
        "minCompatibilityMinor": "35",
        "gitVersion": format!("{KUBERNETES_VERSION}+usher.{}", env!("CARGO_PKG_VERSION")),
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "rustc",
        "platform": format!("linux/{}", architecture()),
    })
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// `/api`.
pub fn core_versions() -> Value {
    json!({ "kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": [] })
}

/// `/apis`.
pub fn group_list() -> Value {
    let groups: Vec<_> = all_groups().map(group_entry).collect();
    json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups })
}

/// `/apis/GROUP`.
pub fn group(name: &str) -> Option<Value> {
    let known = all_groups().find(|group| *group == name)?;
    let mut entry = group_entry(known);
    entry["kind"] = json!("APIGroup");
    entry["apiVersion"] = json!("v1");
    Some(entry)
}

fn all_groups() -> impl Iterator<Item = &'static str> {
    groups().into_iter().chain([METRICS_GROUP])
}

fn group_entry(name: &str) -> Value {
    let version = json!({ "groupVersion": api_version(name, version_of(name)), "version": version_of(name) });
    json!({ "name": name, "versions": [version], "preferredVersion": version })
}

/// `/api/v1` and `/apis/GROUP/v1`.
pub fn resource_list(group: &str, version: &str) -> Option<Value> {
    if version != version_of(group) {
        return None;
    }
    let mut resources = Vec::new();
    resources.extend(MEASURED.iter().filter(|kind| kind.group == group).map(|kind| resource(kind, MEASURED_VERBS)));
    for kind in KINDS.iter().filter(|kind| kind.group == group) {
        resources.push(resource(kind, VERBS));
        for part in kind.parts {
            let mut entry = json!({
                "name": format!("{}/{}", kind.resource, part.name),
                "singularName": "",
                "namespaced": kind.namespaced,
                "kind": part.kind,
                "verbs": part.verbs,
            });
            if let Some((group, version)) = part.of {
                entry["group"] = json!(group);
                entry["version"] = json!(version);
            }
            resources.push(entry);
        }
    }
    for review in REVIEWS.iter().filter(|review| review.group == group) {
        resources.push(json!({
            "name": review.resource,
            "singularName": review.singular,
            "namespaced": false,
            "kind": review.kind,
            "verbs": ["create"],
        }));
    }
    if resources.is_empty() {
        return None;
    }
    let group_version = api_version(group, version);
    Some(json!({ "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": resources }))
}

fn resource(kind: &Kind, verbs: &[&str]) -> Value {
    let mut entry = json!({
        "name": kind.resource,
        "singularName": kind.singular,
        "namespaced": kind.namespaced,
        "kind": kind.kind,
        "verbs": verbs,
    });
    if !kind.short_names.is_empty() {
        entry["shortNames"] = json!(kind.short_names);
    }
    if !kind.categories.is_empty() {
        entry["categories"] = json!(kind.categories);
    }
    entry
}

/// `/api` or `/apis` with all resources at once. `version` is that of the discovery itself.
pub fn aggregated(of: Which, version: &str) -> Value {
    let names = match of {
        Which::Core => vec![""],
        Which::Groups => all_groups().collect(),
    };
    let items: Vec<_> = names
        .into_iter()
        .map(|name| {
            let versions = json!([{ "version": version_of(name), "freshness": "Current", "resources": aggregated_resources(name) }]);
            let metadata =
                if name.is_empty() { json!({ "creationTimestamp": null }) } else { json!({ "name": name, "creationTimestamp": null }) };
            json!({ "metadata": metadata, "versions": versions })
        })
        .collect();
    json!({ "kind": "APIGroupDiscoveryList", "apiVersion": format!("apidiscovery.k8s.io/{version}"), "metadata": {}, "items": items })
}

/// Which half of the discovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The core group.
    Core,
    /// All others.
    Groups,
}

fn aggregated_resources(group: &str) -> Vec<Value> {
    let known = KINDS.iter().map(|kind| (kind, VERBS)).chain(MEASURED.iter().map(|kind| (kind, MEASURED_VERBS)));
    let kinds = known.filter(|(kind, _)| kind.group == group).map(|(kind, verbs)| {
        let response_kind = json!({ "group": kind.group, "version": kind.version, "kind": kind.kind });
        let parts: Vec<_> = kind
            .parts
            .iter()
            .map(|part| {
                let (group, version) = part.of.unwrap_or((kind.group, kind.version));
                let response_kind = json!({ "group": group, "version": version, "kind": part.kind });
                json!({ "subresource": part.name, "responseKind": response_kind, "verbs": part.verbs })
            })
            .collect();
        let scope = if kind.namespaced { "Namespaced" } else { "Cluster" };
        let mut entry = json!({
            "resource": kind.resource,
            "responseKind": response_kind,
            "scope": scope,
            "singularResource": kind.singular,
            "verbs": verbs,
        });
        for (field, values) in [("shortNames", kind.short_names), ("categories", kind.categories)] {
            if !values.is_empty() {
                entry[field] = json!(values);
            }
        }
        if !parts.is_empty() {
            entry["subresources"] = json!(parts);
        }
        entry
    });
    let reviews = REVIEWS.iter().filter(|review| review.group == group).map(|review| {
        let response_kind = json!({ "group": review.group, "version": "v1", "kind": review.kind });
        json!({
            "resource": review.resource,
            "responseKind": response_kind,
            "scope": "Cluster",
            "singularResource": review.singular,
            "verbs": ["create"],
        })
    });
    kinds.chain(reviews).collect()
}
