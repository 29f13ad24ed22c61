//! The verbs of stored objects over HTTP.

use std::sync::Arc;

use bytes::{BufMut as _, BytesMut};
use http::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};

use super::answer::{self, Answer, Shape};
use super::held::read_body;
use super::request::{ObjectPath, Query};
use super::route::{Call, Shared, authorize, encoding, parse};
use super::{log, remote, watching};
use crate::kinds::Kind;
use crate::managed::Force;
use crate::object;
use crate::registry::{
    DeleteOptions, Deletion, Disruption, DryRun, Encoding, List, ListOptions, Patch, PatchFormat, Validation, WriteOptions, now,
    random_uid, read_object, shown_as, stored_form,
};
use crate::selector::Selector;
use crate::status::{ApiError, ApiResult, success};
use crate::strategy::Part;
use crate::table::{self, Include};

/// The most objects in one list without pieces are all; a client that asks for pieces gets at most this many.
const LIMIT_MAX: usize = 10_000;

/// Answers a request for objects.
pub(super) async fn serve(shared: &Arc<Shared>, path: ObjectPath, call: Call) -> ApiResult<Answer> {
    let watches = call.query.flag("watch")?;
    let verb = match (&call.method, path.name.is_some()) {
        (&Method::GET, _) if watches && path.part.is_empty() => "watch",
        (&Method::GET, true) => "get",
        (&Method::GET, false) => "list",
        (&Method::POST, _) => "create",
        (&Method::PUT, true) => "update",
        (&Method::PATCH, true) => "patch",
        (&Method::DELETE, true) => "delete",
        (&Method::DELETE, false) => "deletecollection",
        _ => return Err(ApiError::method_not_allowed()),
    };
    authorize(&call.user, &path, verb)?;
    if let Some(part) = path.kind.part(&path.part)
        && !part.verbs.contains(&verb)
    {
        return Err(ApiError::method_not_allowed());
    }
    match path.part.as_str() {
        "log" => return log::serve(shared, &path, &call.query).await,
        "exec" | "attach" | "portforward" => return remote::serve(shared, &path, call),
        _ => {}
    }
    if verb == "watch" {
        return watching::serve(shared, &path, &call);
    }
    let _place = shared.place()?;
    match (verb, path.part.as_str()) {
        ("list", _) => list(shared, &path, &call),
        ("get", _) => get(shared, &path, &call),
        ("create", "") if path.name.is_none() => create(shared, &path, call).await,
        ("create", "eviction") => evict(shared, &path, call).await,
        ("create", "binding") => bind(shared, &path, call).await,
        ("create", "token") => token(shared, &path, call).await,
        ("update", _) => update(shared, &path, call).await,
        ("patch", _) => patch(shared, &path, call).await,
        ("delete", "") => delete(shared, &path, call).await,
        ("deletecollection", _) => delete_collection(shared, &path, call).await,
        _ => Err(ApiError::method_not_allowed()),
    }
}

/// What a list or watch asks for.
pub(super) fn list_options(path: &ObjectPath, query: &Query) -> ApiResult<ListOptions> {
    let mut fields = query.get("fieldSelector").to_owned();
    if let Some(name) = &path.name {
        let own = format!("metadata.name={name}");
        fields = if fields.is_empty() { own } else { format!("{fields},{own}") };
    }
    Ok(ListOptions {
        selector: Selector::parse(path.kind, query.get("labelSelector"), &fields)?,
        limit: query.number::<usize>("limit")?.unwrap_or(0).min(LIMIT_MAX),
        continue_token: query.get("continue").to_owned(),
        resource_version: query.get("resourceVersion").to_owned(),
        resource_version_match: query.get("resourceVersionMatch").to_owned(),
    })
}

/// What rows of a table carry.
pub(super) fn include(query: &Query) -> ApiResult<Include> {
    match query.get("includeObject") {
        "" | "Metadata" => Ok(Include::Metadata),
        "None" => Ok(Include::None),
        "Object" => Ok(Include::Object),
        other => Err(ApiError::bad_request(format!("unrecognized includeObject value: \"{other}\""))),
    }
}

fn get(shared: &Shared, path: &ObjectPath, call: &Call) -> ApiResult<Answer> {
    let name = path.name.as_deref().unwrap_or_default();
    let stored = shared.registry.stored(path.kind, path.namespace(), name)?;
    if answer::shape(&call.headers)? == Shape::Object && path.kind.group != "events.k8s.io" {
        return Ok(answer::raw(StatusCode::OK, "application/json", stored.json.clone()));
    }
    show(path.kind, StatusCode::OK, shown_as(path.kind, stored.value()), call)
}

/// An object in the form that the client wants.
fn show(kind: &Kind, code: StatusCode, object: Value, call: &Call) -> ApiResult<Answer> {
    shown(kind, code, object, &call.headers, &call.query)
}

fn shown(kind: &Kind, code: StatusCode, object: Value, headers: &HeaderMap, query: &Query) -> ApiResult<Answer> {
    let value = match answer::shape(headers)? {
        Shape::Object => object,
        Shape::Table(version) => {
            let row = table::row(kind, &stored_form(kind, object.clone()), include(query)?, now());
            json!({
                "kind": "Table",
                "apiVersion": version,
                "metadata": { "resourceVersion": object::meta(&object, "resourceVersion") },
                "columnDefinitions": table::column_definitions(kind),
                "rows": [row],
            })
        }
        Shape::Partial(version) => {
            let mut partial = table::partial(&object);
            partial["apiVersion"] = json!(version);
            partial
        }
    };
    Ok(answer::json(code, &value))
}

fn list(shared: &Shared, path: &ObjectPath, call: &Call) -> ApiResult<Answer> {
    let shape = answer::shape(&call.headers)?;
    let options = list_options(path, &call.query)?;
    let list = shared.registry.list(path.kind, path.namespace.as_deref(), &options)?;
    let mut metadata = json!({ "resourceVersion": list.revision.to_string() });
    if !list.continue_token.is_empty() {
        metadata["continue"] = json!(list.continue_token);
    }
    if let Some(remaining) = list.remaining {
        metadata["remainingItemCount"] = json!(remaining);
    }
    let kind = path.kind;
    match shape {
        Shape::Object => Ok(answer::raw(StatusCode::OK, "application/json", list_text(kind, &metadata, &list).freeze())),
        Shape::Table(version) => {
            let (include, now) = (include(&call.query)?, now());
            let rows: Vec<_> = list.items.iter().map(|item| table::row(kind, &item.value(), include, now)).collect();
            let table = json!({
                "kind": "Table",
                "apiVersion": version,
                "metadata": metadata,
                "columnDefinitions": table::column_definitions(kind),
                "rows": rows,
            });
            Ok(answer::json(StatusCode::OK, &table))
        }
        Shape::Partial(version) => {
            let items: Vec<_> = list.items.iter().map(|item| table::partial(&item.value())).collect();
            let list = json!({ "kind": "PartialObjectMetadataList", "apiVersion": version, "metadata": metadata, "items": items });
            Ok(answer::json(StatusCode::OK, &list))
        }
    }
}

/// The JSON of a list, put together from that of its items.
fn list_text(kind: &Kind, metadata: &Value, list: &List) -> BytesMut {
    let size: usize = list.items.iter().map(|item| item.json.len() + 1).sum();
    let mut text = BytesMut::with_capacity(size + 256);
    let head = format!("{{\"kind\":\"{}List\",\"apiVersion\":\"{}\",\"metadata\":{metadata},\"items\":[", kind.kind, kind.api_version());
    text.put_slice(head.as_bytes());
    for (index, item) in list.items.iter().enumerate() {
        if index > 0 {
            text.put_u8(b',');
        }
        match kind.group {
            "events.k8s.io" => text.put_slice(shown_as(kind, item.value()).to_string().as_bytes()),
            _ => text.put_slice(&item.json),
        }
    }
    text.put_slice(b"]}");
    text
}

/// How a client writes.
fn write_options(call: &Call) -> ApiResult<WriteOptions> {
    let manager = match call.query.get("fieldManager") {
        "" => {
            let agent = call.headers.get(http::header::USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
            agent.split('/').next().unwrap_or_default().chars().take(MANAGER_CHARS_MAX).collect()
        }
        manager if manager.chars().count() > MANAGER_CHARS_MAX => {
            return Err(ApiError::new(422, "Invalid", format!("fieldManager: Too long: may not be more than {MANAGER_CHARS_MAX} bytes")));
        }
        manager => manager.to_owned(),
    };
    Ok(WriteOptions {
        dry_run: DryRun::parse(call.query.all("dryRun"))?,
        manager: if manager.is_empty() { "unknown".to_owned() } else { manager },
        validation: Validation::parse(call.query.get("fieldValidation"))?,
    })
}

const BINDING: &str = "io.k8s.api.core.v1.Binding";
const DELETE_OPTIONS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions";
const TOKEN_REQUEST: &str = "io.k8s.api.authentication.v1.TokenRequest";

/// The longest name of a field manager, as in the reference.
const MANAGER_CHARS_MAX: usize = 128;

async fn create(shared: &Shared, path: &ObjectPath, call: Call) -> ApiResult<Answer> {
    if path.kind.namespaced && path.namespace.is_none() {
        return Err(ApiError::method_not_allowed());
    }
    let options = write_options(&call)?;
    let encoding = encoding(&call.headers)?;
    let (headers, query) = (call.headers, call.query);
    let body = read_body(shared, call.request).await?;
    let (object, mut warnings) = read_object(path.kind, &body, encoding, options.validation)?;
    let (object, more) = shared.registry.create(path.kind, path.namespace(), object, &options).await?;
    warnings.extend(more);
    Ok(answer::warn(shown(path.kind, StatusCode::CREATED, object, &headers, &query)?, &warnings))
}

fn part(path: &ObjectPath) -> ApiResult<Part> {
    match path.part.as_str() {
        "" => Ok(Part::Whole),
        "status" => Ok(Part::Status),
        "ephemeralcontainers" => Ok(Part::EphemeralContainers),
        "resize" => Ok(Part::Resize),
        "finalize" => Ok(Part::Finalize),
        _ => Err(ApiError::method_not_allowed()),
    }
}

async fn update(shared: &Shared, path: &ObjectPath, call: Call) -> ApiResult<Answer> {
    let options = write_options(&call)?;
    let encoding = encoding(&call.headers)?;
    let (headers, query) = (call.headers, call.query);
    let body = read_body(shared, call.request).await?;
    let (object, mut warnings) = read_object(path.kind, &body, encoding, options.validation)?;
    let name = path.name.as_deref().unwrap_or_default();
    let (object, more) = shared.registry.update(path.kind, part(path)?, path.namespace(), name, object, &options).await?;
    warnings.extend(more);
    Ok(answer::warn(shown(path.kind, StatusCode::OK, object, &headers, &query)?, &warnings))
}

async fn patch(shared: &Shared, path: &ObjectPath, call: Call) -> ApiResult<Answer> {
    const FORMATS: [&str; 4] = [
        "application/json-patch+json",
        "application/merge-patch+json",
        "application/strategic-merge-patch+json",
        "application/apply-patch+yaml",
    ];
    let media = call.headers.get(http::header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let force = if call.query.flag("force")? { Force::Yes } else { Force::No };
    let format = match media.split(';').next().unwrap_or_default().trim() {
        "application/json-patch+json" => PatchFormat::Json,
        "application/merge-patch+json" => PatchFormat::Merge,
        "application/strategic-merge-patch+json" => PatchFormat::Strategic,
        "application/apply-patch+yaml" => PatchFormat::Apply(force),
        _ => return Err(ApiError::unsupported_media_type(&FORMATS)),
    };
    let is_apply = matches!(format, PatchFormat::Apply(_));
    if force == Force::Yes && !is_apply {
        let message = "PatchOptions.meta.k8s.io \"\" is invalid: force: Forbidden: may not be specified for non-apply patch";
        return Err(ApiError::new(422, "Invalid", message));
    }
    let mut options = write_options(&call)?;
    if is_apply {
        // For apply, the client has to say who it is.
        options.manager = call.query.get("fieldManager").to_owned();
    }
    let (headers, query) = (call.headers, call.query);
    let body = read_body(shared, call.request).await?;
    let encoding = if is_apply { Encoding::Yaml } else { Encoding::Json };
    let (value, duplicates) = parse(&body, encoding, path.kind.definition)?;
    let patch = Patch { format, value, duplicates };
    let name = path.name.as_deref().unwrap_or_default();
    let patched = shared.registry.patch(path.kind, part(path)?, path.namespace(), name, &patch, &options).await?;
    let code = if patched.created { StatusCode::CREATED } else { StatusCode::OK };
    Ok(answer::warn(shown(path.kind, code, patched.object, &headers, &query)?, &patched.warnings))
}

/// The longest name of a program that is kept.
const AGENT_CHARS_MAX: usize = 100;

/// Who asks, with the program that they use: `usher-admin (kubectl/v1.36.0)`.
fn asker(call: &Call) -> String {
    let agent = call.headers.get(http::header::USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
    let program: String = agent.split_whitespace().next().unwrap_or_default().chars().take(AGENT_CHARS_MAX).collect();
    match program.as_str() {
        "" => format!("{}, through the API", call.user.name),
        program => format!("{} ({program}), through the API", call.user.name),
    }
}

/// What a deletion does not do here, though a client may expect it.
fn unheeded(options: &DeleteOptions) -> Vec<String> {
    let policy = options.propagation_policy.as_deref().filter(|policy| matches!(*policy, "Foreground" | "Orphan"));
    let warning = |policy| {
        format!(
            "propagationPolicy \"{policy}\" has no effect: nothing here deletes the dependents of an object, and they keep their owner references"
        )
    };
    policy.map(warning).into_iter().collect()
}

/// The options of a deletion: from the body, or else from the query.
async fn delete_options(shared: &Shared, call: Call) -> ApiResult<(DeleteOptions, Query)> {
    let encoding = encoding(&call.headers)?;
    let asker = asker(&call);
    let query = call.query;
    let body = read_body(shared, call.request).await?;
    let mut options =
        if body.is_empty() { DeleteOptions::default() } else { DeleteOptions::read(&parse(&body, encoding, DELETE_OPTIONS)?.0)? };
    options.by = Some(asker);
    options.set_propagation(query.get("propagationPolicy"), query.flag("orphanDependents")?)?;
    if let Some(seconds) = query.number::<i64>("gracePeriodSeconds")? {
        options.grace_period_seconds = Some(seconds);
    }
    if DryRun::parse(query.all("dryRun"))? == DryRun::All {
        options.dry_run = DryRun::All;
    }
    Ok((options, query))
}

async fn delete(shared: &Shared, path: &ObjectPath, call: Call) -> ApiResult<Answer> {
    let (options, _) = delete_options(shared, call).await?;
    let name = path.name.as_deref().unwrap_or_default();
    let deletion = shared.registry.delete(path.kind, path.namespace(), name, &options).await?;
    let warnings = unheeded(&options);
    let returns_object = matches!(path.kind.kind, "Namespace" | "PersistentVolumeClaim" | "Pod" | "ServiceAccount");
    let value = match deletion {
        Deletion::Gone(object) if !returns_object => success(path.kind, name, Some(object::uid(&object))),
        Deletion::Gone(object) | Deletion::Pending(object) => object,
    };
    Ok(answer::warn(answer::json(StatusCode::OK, &value), &warnings))
}

async fn delete_collection(shared: &Shared, path: &ObjectPath, call: Call) -> ApiResult<Answer> {
    if path.kind.kind == "Namespace" || path.kind.namespaced && path.namespace.is_none() {
        return Err(ApiError::method_not_allowed());
    }
    let (options, query) = delete_options(shared, call).await?;
    let list = list_options(path, &query)?;
    let items = shared.registry.delete_collection(path.kind, path.namespace.as_deref(), &list, &options).await?;
    let revision = shared.registry.store().revision().to_string();
    let list = json!({
        "kind": format!("{}List", path.kind.kind),
        "apiVersion": path.kind.api_version(),
        "metadata": { "resourceVersion": revision },
        "items": items,
    });
    Ok(answer::warn(answer::json(StatusCode::OK, &list), &unheeded(&options)))
}

/// There are no disruption budgets, so an eviction is a deletion.
async fn evict(shared: &Shared, path: &ObjectPath, call: Call) -> ApiResult<Answer> {
    let encoding = encoding(&call.headers)?;
    let asker = asker(&call);
    let dry_run = DryRun::parse(call.query.all("dryRun"))?;
    let body = read_body(shared, call.request).await?;
    let (eviction, _) = parse(&body, encoding, "io.k8s.api.policy.v1.Eviction")?;
    let mut options = match eviction.get("deleteOptions") {
        Some(options) => DeleteOptions::read(options)?,
        None => DeleteOptions::default(),
    };
    if dry_run == DryRun::All {
        options.dry_run = dry_run;
    }
    let name = path.name.as_deref().unwrap_or_default();
    options.by = Some(format!("an eviction by {asker}"));
    shared.registry.disrupt(path.namespace(), name, Disruption::Eviction, &options).await?;
    Ok(created())
}

/// Pods are bound when they are created, but those that wait for a node that takes none.
async fn bind(shared: &Shared, path: &ObjectPath, call: Call) -> ApiResult<Answer> {
    let encoding = encoding(&call.headers)?;
    let body = read_body(shared, call.request).await?;
    let (binding, _) = parse(&body, encoding, BINDING)?;
    let name = path.name.as_deref().unwrap_or_default();
    shared.registry.bind(path.namespace(), name, binding["target"]["name"].as_str().unwrap_or_default()).await?;
    Ok(created())
}

/// What is said of a request that made something which is no object.
fn created() -> Answer {
    let status = json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201 });
    answer::json(StatusCode::CREATED, &status)
}

async fn token(shared: &Shared, path: &ObjectPath, call: Call) -> ApiResult<Answer> {
    let encoding = encoding(&call.headers)?;
    let body = read_body(shared, call.request).await?;
    let (mut request, _) = parse(&body, encoding, TOKEN_REQUEST)?;
    crate::schema::check(&mut request, TOKEN_REQUEST, &mut Vec::new()).map_err(|error| ApiError::bad_request(error.to_string()))?;
    let name = path.name.as_deref().unwrap_or_default();
    let account = shared.registry.get(path.kind, path.namespace(), name)?;
    shared.tokens.issue(&mut request, path.namespace(), name, object::uid(&account), now().as_second(), &random_uid()?)?;
    request["apiVersion"] = json!("authentication.k8s.io/v1");
    request["kind"] = json!("TokenRequest");
    request["metadata"] = json!({ "name": name, "namespace": path.namespace(), "creationTimestamp": object::time_text(now()) });
    Ok(answer::json(StatusCode::CREATED, &request))
}
