//! The verbs, on a registry with a store of its own.

mod admission;
mod asked;
mod evictions;
mod tainted;
mod waiting;

use serde_json::{Value, json};

use super::*;
use crate::kinds::{by_resource, stored};
use crate::managed::Force;
use crate::object::{self, meta, name};
use crate::selector::Selector;
use crate::strategy::Part;

struct Scene {
    registry: Registry,
    _folder: tempfile::TempDir,
}

async fn scene() -> Scene {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = Store::open(&folder.path().join("store.redb")).expect("the store opens");
    let registry = Registry::new(store, "here");
    registry.bootstrap().await.expect("bootstrapped");
    Scene { registry, _folder: folder }
}

fn options() -> WriteOptions {
    WriteOptions::of("test")
}

fn config_map(name: &str, data: Value) -> Value {
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name }, "data": data })
}

fn pod(name: &str) -> Value {
    json!({ "metadata": { "name": name }, "spec": { "containers": [{ "name": "main", "image": "x" }] } })
}

impl Scene {
    async fn create(&self, resource: &str, object: Value) -> ApiResult<Value> {
        let kind = stored(resource);
        let namespace = if kind.namespaced { "default" } else { "" };
        let (object, _) = fit(kind, object, Vec::new(), Validation::Strict)?;
        self.registry.create(kind, namespace, object, &options()).await.map(|(object, _)| object)
    }

    async fn patch(&self, resource: &str, name: &str, format: PatchFormat, value: Value) -> ApiResult<Value> {
        let patch = Patch { format, value, duplicates: Vec::new() };
        self.registry.patch(stored(resource), Part::Whole, "default", name, &patch, &options()).await.map(|patched| patched.object)
    }

    fn get(&self, resource: &str, name: &str) -> ApiResult<Value> {
        let namespace = if stored(resource).namespaced { "default" } else { "" };
        self.registry.get(stored(resource), namespace, name)
    }
}

#[tokio::test]
async fn pods_are_defaulted_bound_and_pending() {
    let scene = scene().await;
    let pod = scene.create("pods", pod("p")).await.expect("created");
    assert_eq!(pod["spec"]["nodeName"], "here");
    assert_eq!(pod["spec"]["containers"][0]["imagePullPolicy"], "Always");
    // k8s: 1.a.13
    assert_eq!((&pod["status"]["phase"], &pod["metadata"]["generation"]), (&json!("Pending"), &json!(1)));
    assert_eq!(pod["status"]["qosClass"], "BestEffort");
    let events = scene.registry.list(stored("events"), Some("default"), &ListOptions::default()).expect("listed");
    assert_eq!(events.items[0].value()["reason"], "Scheduled");
    assert_eq!(scene.create("pods", self::pod("p")).await.expect_err("taken").message, "pods \"p\" already exists");
}

#[tokio::test]
async fn what_is_not_valid_is_told_in_the_words_of_the_reference() {
    let scene = scene().await;
    let wrong = json!({ "metadata": { "name": "p" }, "spec": { "containers": [{ "name": "main" }] } });
    let error = scene.create("pods", wrong).await.expect_err("no image");
    assert_eq!(error.message, "Pod \"p\" is invalid: spec.containers[0].image: Required value");
    assert_eq!((error.code, error.reason), (422, "Invalid"));
    let unknown = json!({ "metadata": { "name": "p" }, "spec": { "container": [] } });
    let error = scene.create("pods", unknown).await.expect_err("unknown field");
    assert_eq!(error.message, "Pod in version \"v1\" cannot be handled as a Pod: strict decoding error: unknown field \"spec.container\"");
    let error =
        scene.registry.create(stored("configmaps"), "nowhere", config_map("a", json!({})), &options()).await.expect_err("no namespace");
    assert_eq!(error.message, "namespaces \"nowhere\" not found");
    assert_eq!(scene.get("pods", "p").expect_err("not there").message, "pods \"p\" not found");
}

#[tokio::test]
async fn a_change_of_what_was_changed_meanwhile_is_a_conflict() {
    let scene = scene().await;
    let first = scene.create("configmaps", config_map("a", json!({ "x": "1" }))).await.expect("created");
    scene.patch("configmaps", "a", PatchFormat::Merge, json!({ "data": { "x": "2" } })).await.expect("patched");
    let mut late = first.clone();
    late["data"]["x"] = json!("3");
    let error = scene.registry.update(stored("configmaps"), Part::Whole, "default", "a", late, &options()).await.expect_err("late");
    assert_eq!(
        error.message,
        "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your changes to the latest version and try again"
    );
    assert_eq!(scene.get("configmaps", "a").expect("there")["data"]["x"], "2");
}

#[tokio::test]
async fn a_change_that_changes_nothing_writes_nothing() {
    let scene = scene().await;
    let first = scene.create("configmaps", config_map("a", json!({ "x": "1" }))).await.expect("created");
    let again = scene.patch("configmaps", "a", PatchFormat::Merge, json!({ "data": { "x": "1" } })).await.expect("patched");
    assert_eq!(again, first);
    let config = config_map("b", json!({ "x": "1" }));
    let applied = scene.patch("configmaps", "b", PatchFormat::Apply(Force::No), config.clone()).await.expect("applied");
    let again = scene.patch("configmaps", "b", PatchFormat::Apply(Force::No), config).await.expect("applied");
    assert_eq!(again, applied);
}

#[tokio::test]
async fn a_dry_run_changes_nothing() {
    let scene = scene().await;
    let dry = WriteOptions { dry_run: DryRun::All, ..options() };
    let kind = stored("configmaps");
    let (object, _) = scene.registry.create(kind, "default", config_map("a", json!({})), &dry).await.expect("would be created");
    assert!(!meta(&object, "uid").is_empty());
    assert!(scene.get("configmaps", "a").is_err());
    scene.create("configmaps", config_map("a", json!({}))).await.expect("created");
    let before = scene.registry.store().revision();
    scene
        .registry
        .delete(kind, "default", "a", &DeleteOptions { dry_run: DryRun::All, ..DeleteOptions::default() })
        .await
        .expect("would go");
    assert_eq!(scene.registry.store().revision(), before);
}

// k8s: 1.b.15, 1.b.16
#[tokio::test]
async fn a_pod_goes_with_grace_and_then_for_good() {
    let scene = scene().await;
    let created = scene.create("pods", pod("p")).await.expect("created");
    let kind = stored("pods");
    let mut changes = scene.registry.watch(kind, Some("default"), &at(&created), None).expect("a watch");
    let Deletion::Pending(going) = scene.registry.delete(kind, "default", "p", &DeleteOptions::default()).await.expect("begun") else {
        panic!("it has grace")
    };
    assert_eq!(going["metadata"]["deletionGracePeriodSeconds"], 30);
    let other = DeleteOptions { grace_period_seconds: Some(0), uid: Some("other".to_owned()), ..DeleteOptions::default() };
    let error = scene.registry.delete(kind, "default", "p", &other).await.expect_err("another pod is meant");
    assert_eq!(error.code, 409);
    let this = DeleteOptions { uid: Some(meta(&created, "uid").to_owned()), ..other };
    let deletion = scene.registry.delete(kind, "default", "p", &this).await.expect("gone");
    assert!(matches!(deletion, Deletion::Gone(_)));
    let mut seen = Vec::new();
    while let Some(notice) = changes.try_next().expect("not behind") {
        let grace = notice.value(kind)["metadata"]["deletionGracePeriodSeconds"].as_i64();
        seen.push((notice.kind, grace));
    }
    assert_eq!(seen, [(NoticeKind::Modified, Some(30)), (NoticeKind::Modified, Some(0)), (NoticeKind::Deleted, Some(0))]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_at_once_succeeds_though_the_node_takes_the_pod_away_as_soon_as_it_is_marked() {
    let scene = scene().await;
    let kind = stored("pods");
    for round in 0..100 {
        scene.create("pods", pod("p")).await.expect("created");
        let at_once = DeleteOptions { grace_period_seconds: Some(0), ..DeleteOptions::default() };
        let node = tokio::spawn({
            let (registry, at_once) = (scene.registry.clone(), at_once.clone());
            async move {
                while let Ok(pod) = registry.get(kind, "default", "p") {
                    if object::is_terminating(&pod) {
                        let _ = registry.delete(kind, "default", "p", &at_once).await;
                    }
                    tokio::task::yield_now().await;
                }
            }
        });
        let deletion = scene.registry.delete(kind, "default", "p", &at_once).await;
        assert!(matches!(deletion, Ok(Deletion::Gone(_))), "round {round}: {deletion:?}");
        node.await.expect("the node does not panic");
    }
}

fn at(object: &Value) -> ListOptions {
    ListOptions { resource_version: meta(object, "resourceVersion").to_owned(), ..ListOptions::default() }
}

#[tokio::test]
async fn finalizers_hold_an_object_until_the_last_is_gone() {
    let scene = scene().await;
    let mut object = config_map("a", json!({}));
    object["metadata"]["finalizers"] = json!(["example.com/hold"]);
    scene.create("configmaps", object).await.expect("created");
    let deletion = scene.registry.delete(stored("configmaps"), "default", "a", &DeleteOptions::default()).await.expect("begun");
    assert!(matches!(deletion, Deletion::Pending(_)));
    assert!(!meta(&scene.get("configmaps", "a").expect("held"), "deletionTimestamp").is_empty());
    scene.patch("configmaps", "a", PatchFormat::Merge, json!({ "metadata": { "finalizers": null } })).await.expect("let go");
    assert!(scene.get("configmaps", "a").is_err());
}

#[tokio::test]
async fn a_namespace_ends_with_all_that_is_in_it() {
    let scene = scene().await;
    scene.create("namespaces", json!({ "metadata": { "name": "n" } })).await.expect("created");
    let maps = stored("configmaps");
    scene.registry.create(maps, "n", config_map("a", json!({})), &options()).await.expect("created");
    let namespaces = stored("namespaces");
    let current = scene.get("namespaces", "n").expect("there");
    let mut changes = scene.registry.watch(namespaces, None, &at(&current), None).expect("a watch");
    scene.registry.delete(namespaces, "", "n", &DeleteOptions::default()).await.expect("begun");
    let error = scene.registry.create(maps, "n", config_map("b", json!({})), &options()).await.expect_err("it ends");
    assert!(error.message.contains("because it is being terminated") || error.code == 404, "{error}");
    loop {
        if changes.next().await.expect("not behind").kind == NoticeKind::Deleted {
            break;
        }
    }
    assert!(scene.registry.list(maps, Some("n"), &ListOptions::default()).expect("listed").items.is_empty());
    let error = scene.registry.delete(namespaces, "", "default", &DeleteOptions::default()).await.expect_err("protected");
    assert_eq!(error.message, "namespaces \"default\" is forbidden: this namespace may not be deleted");
}

#[tokio::test]
async fn lists_in_pieces_belong_together() {
    let scene = scene().await;
    for name in ["a", "b", "c", "d"] {
        scene.create("configmaps", config_map(name, json!({}))).await.expect("created");
    }
    let kind = stored("configmaps");
    let piece = |token: &str| ListOptions { limit: 2, continue_token: token.to_owned(), ..ListOptions::default() };
    let names = |list: &List| list.items.iter().map(|item| name(&item.value()).to_owned()).collect::<Vec<_>>();
    let first = scene.registry.list(kind, Some("default"), &piece("")).expect("listed");
    assert_eq!((names(&first), first.remaining), (vec!["a".to_owned(), "b".to_owned()], Some(2)));
    scene.registry.delete(kind, "default", "c", &DeleteOptions::default()).await.expect("deleted");
    scene.create("configmaps", config_map("cc", json!({}))).await.expect("created");
    let second = scene.registry.list(kind, Some("default"), &piece(&first.continue_token)).expect("listed");
    assert_eq!(names(&second), ["c", "d"], "as it was when the list began");
    assert_eq!((second.revision, second.continue_token.as_str()), (first.revision, ""));
    let error = scene.registry.list(kind, Some("default"), &piece("nonsense")).expect_err("no token");
    assert_eq!(error.code, 400);
}

#[tokio::test]
async fn lists_keep_the_rules_of_revisions() {
    let scene = scene().await;
    let a = scene.create("configmaps", config_map("a", json!({}))).await.expect("created");
    scene.create("configmaps", config_map("b", json!({}))).await.expect("created");
    let kind = stored("configmaps");
    let list = |revision: &str, how: &str| {
        let options =
            ListOptions { resource_version: revision.to_owned(), resource_version_match: how.to_owned(), ..ListOptions::default() };
        scene.registry.list(kind, None, &options).map(|list| list.items.len()).map_err(|error| (error.code, error.reason))
    };
    let old = meta(&a, "resourceVersion");
    let current = scene.registry.store().revision().to_string();
    assert_eq!(list("", ""), Ok(2));
    assert_eq!(list("0", ""), Ok(2));
    assert_eq!(list(old, "NotOlderThan"), Ok(2));
    assert_eq!(list(&current, "Exact"), Ok(2));
    assert_eq!(list(old, "Exact"), Err((410, "Expired")));
    assert_eq!(list("999999", ""), Err((504, "Timeout")));
    assert_eq!(list("x", ""), Err((400, "BadRequest")));
    assert_eq!(list("", "Exact"), Err((422, "Invalid")));
}

#[tokio::test]
async fn a_watch_with_a_selector_sees_objects_come_and_go() {
    let scene = scene().await;
    let kind = stored("configmaps");
    let selector = Selector::parse(kind, "app=x", "").expect("a selector");
    let options = ListOptions { selector, resource_version_match: "NotOlderThan".to_owned(), ..ListOptions::default() };
    let mut labelled = config_map("a", json!({}));
    labelled["metadata"]["labels"] = json!({ "app": "x" });
    scene.create("configmaps", labelled).await.expect("created");
    let mut changes = scene.registry.watch(kind, Some("default"), &options, Some(true)).expect("a watch");
    scene.create("configmaps", config_map("other", json!({}))).await.expect("created");
    let label = |value: Value| json!({ "metadata": { "labels": { "app": value } } });
    scene.patch("configmaps", "a", PatchFormat::Merge, label(json!("y"))).await.expect("patched");
    scene.patch("configmaps", "a", PatchFormat::Merge, label(json!("x"))).await.expect("patched");
    let mut seen = Vec::new();
    while let Some(notice) = changes.try_next().expect("not behind") {
        let value = notice.value(kind);
        seen.push((notice.kind.word(), value["metadata"]["labels"]["app"].as_str().unwrap_or_default().to_owned()));
    }
    let expected = [("ADDED", "x"), ("BOOKMARK", ""), ("DELETED", "x"), ("ADDED", "x")];
    assert_eq!(seen, expected.map(|(word, label)| (word, label.to_owned())));
    let bookmark = changes.bookmark().expect("nothing waits");
    assert_eq!(bookmark.object.revision, scene.registry.store().revision());
}

#[tokio::test]
async fn events_are_the_same_in_both_groups() {
    let scene = scene().await;
    let newer = by_resource("events.k8s.io", "v1", "events").expect("the kind");
    let event = json!({
        "metadata": { "name": "e" },
        "regarding": { "kind": "Pod", "namespace": "default", "name": "p" },
        "note": "hello", "reason": "R", "type": "Normal", "reportingController": "c", "reportingInstance": "i", "action": "a",
    });
    let (event, _) = fit(newer, event, Vec::new(), Validation::Strict).expect("it fits");
    scene.registry.create(newer, "default", event, &options()).await.expect("created");
    let core = scene.get("events", "e").expect("there");
    assert_eq!((&core["message"], &core["involvedObject"]["name"], &core["apiVersion"]), (&json!("hello"), &json!("p"), &json!("v1")));
    let shown = scene.registry.get(newer, "default", "e").expect("there");
    assert_eq!((&shown["note"], &shown["apiVersion"]), (&json!("hello"), &json!("events.k8s.io/v1")));
    assert_eq!(shown.get("message"), None);
}

#[tokio::test]
async fn events_go_an_hour_after_they_happened_last() {
    let scene = scene().await;
    let event = |name: &str, last: &str| {
        json!({
            "metadata": { "name": name },
            "involvedObject": { "kind": "Pod", "namespace": "default", "name": "p" },
            "reason": "R", "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": last,
        })
    };
    // What was created just now stays, whatever it says.
    let soon = now().checked_add(k8s_openapi::jiff::SignedDuration::from_mins(30)).expect("a time");
    scene.create("events", event("old", "2026-01-01T00:00:00Z")).await.expect("created");
    scene.create("events", event("new", &object::time_text(soon))).await.expect("created");
    assert_eq!(scene.registry.expire_events(now()).await.expect("done"), 0);
    let later = now().checked_add(k8s_openapi::jiff::SignedDuration::from_mins(61)).expect("a time");
    assert_eq!(scene.registry.expire_events(later).await.expect("done"), 1);
    assert!(scene.get("events", "old").is_err() && scene.get("events", "new").is_ok());
}

// k8s: 1.b.17
#[tokio::test]
async fn the_status_is_changed_only_through_its_endpoint() {
    let scene = scene().await;
    let created = scene.create("pods", pod("p")).await.expect("created");
    let mut changed = created.clone();
    changed["status"]["phase"] = json!("Running");
    changed["spec"]["activeDeadlineSeconds"] = json!(5);
    let kind = stored("pods");
    let (after, _) = scene.registry.update(kind, Part::Status, "default", "p", changed.clone(), &options()).await.expect("updated");
    assert_eq!((&after["status"]["phase"], after["spec"].get("activeDeadlineSeconds")), (&json!("Running"), None));
    changed["status"]["phase"] = json!("Failed");
    changed["metadata"]["resourceVersion"] = after["metadata"]["resourceVersion"].clone();
    let (after, _) = scene.registry.update(kind, Part::Whole, "default", "p", changed, &options()).await.expect("updated");
    assert_eq!((&after["status"]["phase"], &after["spec"]["activeDeadlineSeconds"]), (&json!("Running"), &json!(5)));
    assert_eq!(after["metadata"]["generation"], 2);
}
