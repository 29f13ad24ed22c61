//! What single requests come to, asked for as root of the machine does: on the socket, with nothing between.

mod support;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use server::{Patience, Server};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;

use support::{MadeUp, Scene, scene, start_unready};

/// How long any answer may take.
const ANSWER_TIME: Duration = Duration::from_secs(30);

const PODS: &str = "/api/v1/namespaces/default/pods";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// An answer: its code, its head, and its body.
struct Told {
    code: u16,
    head: String,
    body: Value,
}

impl Told {
    /// The texts of its warnings.
    fn warnings(&self) -> Vec<&str> {
        let lines = self.head.lines().filter(|line| line.to_lowercase().starts_with("warning: "));
        lines.filter_map(|line| line.split_once(" - ")).map(|(_, text)| text).collect()
    }
}

async fn send(socket: &Path, method: &str, path: &str, body: &str) -> UnixStream {
    let mut stream = UnixStream::connect(socket).await.expect("the server listens");
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.0\r\nHost: here\r\nUser-Agent: test/1 (made up)\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.expect("sent");
    stream
}

async fn ask_at(socket: &Path, method: &str, path: &str, body: &Value) -> Told {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let mut stream = send(socket, method, path, &body).await;
    let mut text = String::new();
    tokio::time::timeout(ANSWER_TIME, stream.read_to_string(&mut text)).await.expect("an answer in time").expect("text");
    let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
    let code = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a code");
    let body = serde_json::from_str(body).unwrap_or_else(|_| json!(body));
    Told { code, head: head.to_owned(), body }
}

async fn ask(scene: &Scene, method: &str, path: &str, body: Value) -> Told {
    ask_at(&scene.path("api.sock"), method, path, &body).await
}

fn pod(name: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name }, "spec": { "containers": [{ "name": "main", "image": "x" }] } })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_is_ready_when_its_engine_has_taken_up_the_pods() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server: Server = start_unready(folder.path(), Arc::new(MadeUp), Patience::default()).await;
    let socket = folder.path().join("api.sock");
    let code = async |path: &str| ask_at(&socket, "GET", path, &Value::Null).await.code;
    assert_eq!((code("/healthz").await, code("/livez").await, code("/readyz").await), (200, 200, 503));
    let told = ask_at(&socket, "GET", "/readyz", &Value::Null).await.body;
    assert!(told.as_str().is_some_and(|text| text.starts_with("[-]pods-adopted failed")), "{told}");
    server.ready();
    assert_eq!(code("/readyz").await, 200);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_that_would_have_dependents_go_or_stay_is_told_that_nothing_does_so() {
    let scene = scene().await;
    let delete = async |query: &str, options: Value| {
        let map = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "a" } });
        assert_eq!(ask(&scene, "POST", MAPS, map).await.code, 201);
        let told = ask(&scene, "DELETE", &format!("{MAPS}/a{query}"), options).await;
        assert_eq!(told.code, 200, "{}", told.body);
        told.warnings().iter().map(|text| text.replace('\\', "")).collect::<Vec<_>>()
    };
    let options = |policy: &str| json!({ "apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": policy });
    assert_eq!(delete("", Value::Null).await, [""; 0]);
    assert_eq!(delete("", options("Background")).await, [""; 0]);
    for policy in ["Foreground", "Orphan"] {
        for (query, options) in [(String::new(), options(policy)), (format!("?propagationPolicy={policy}"), Value::Null)] {
            let warnings = delete(&query, options).await;
            assert!(warnings[0].contains(&format!("propagationPolicy \"{policy}\" has no effect")), "{warnings:?}");
        }
    }
    let wrong = ask(&scene, "DELETE", &format!("{MAPS}/a?propagationPolicy=Never"), Value::Null).await;
    assert_eq!((wrong.code, &wrong.body["reason"]), (422, &json!("Invalid")), "{}", wrong.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_told_whose_it_is_and_another_is_not_known() {
    let scene = scene().await;
    let path = "/api/v1/namespaces/default/serviceaccounts/default/token";
    let made = ask(&scene, "POST", path, json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {} })).await;
    let token = made.body["status"]["token"].clone();
    let review = async |token: Value| {
        let review = json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": { "token": token } });
        let told = ask(&scene, "POST", "/apis/authentication.k8s.io/v1/tokenreviews", review).await;
        assert_eq!((told.code, told.body["spec"].get("token")), (201, None), "the token is not repeated: {}", told.body);
        told.body["status"].clone()
    };
    let known = review(token).await;
    assert_eq!((&known["authenticated"], &known["user"]["username"]), (&json!(true), &json!("system:serviceaccount:default:default")));
    let unknown = review(json!("nonsense")).await;
    assert_eq!((&unknown["authenticated"], &unknown["user"]), (&json!(false), &json!({})));
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_generated_and_unknown_fields_are_dropped_in_silence_if_that_is_asked_for() {
    let scene = scene().await;
    let mut generated = pod("");
    generated["metadata"] = json!({ "generateName": "job-" });
    let made = [ask(&scene, "POST", PODS, generated.clone()).await, ask(&scene, "POST", PODS, generated).await];
    let [first, second] = made.map(|told| told.body["metadata"]["name"].as_str().expect("a name").to_owned());
    assert!(first != second && [&first, &second].iter().all(|name| name.starts_with("job-") && name.len() == 9), "{first} {second}");

    let mut unknown = pod("unknown");
    unknown["spec"]["color"] = json!("red");
    let create =
        async |validation: &str| ask(&scene, "POST", &format!("{PODS}?dryRun=All&fieldValidation={validation}"), unknown.clone()).await;
    let strict = create("Strict").await;
    assert!(strict.code == 400 && strict.body["message"].as_str().is_some_and(|text| text.contains("unknown field \"spec.color\"")));
    let warned = create("Warn").await;
    assert!(warned.code == 201 && warned.warnings()[0].contains("spec.color"), "{:?}", warned.warnings());
    let ignored = create("Ignore").await;
    assert_eq!((ignored.code, ignored.body["spec"].get("color")), (201, None));
    assert!(!ignored.warnings().iter().any(|text| text.contains("color")), "{:?}", ignored.warnings());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_in_which_nothing_happens_has_bookmarks_from_time_to_time() {
    let patience = Patience { bookmark: Duration::from_millis(50), ..Patience::default() };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = support::start_with(folder.path(), Arc::new(MadeUp), patience).await;
    let socket = folder.path().join("api.sock");
    let since = ask_at(&socket, "GET", MAPS, &Value::Null).await.body["metadata"]["resourceVersion"].clone();
    let since = since.as_str().expect("a revision");
    let path = format!("{MAPS}?watch=true&allowWatchBookmarks=true&resourceVersion={since}");
    let mut lines = BufReader::new(send(&socket, "GET", &path, "").await).lines();
    let mut bookmarks = 0;
    while bookmarks < 3 {
        let line =
            tokio::time::timeout(ANSWER_TIME, lines.next_line()).await.expect("bookmarks in time").expect("text").expect("it goes on");
        let Ok(event) = serde_json::from_str::<Value>(&line) else { continue };
        let Some(kind) = event["type"].as_str() else { continue };
        assert_eq!((kind, &event["object"]["kind"]), ("BOOKMARK", &json!("ConfigMap")), "{event}");
        let revision: u64 = event["object"]["metadata"]["resourceVersion"].as_str().and_then(|text| text.parse().ok()).expect("a revision");
        assert!(revision >= since.parse().expect("a number"), "{event}");
        bookmarks += 1;
    }
    drop(lines);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_waits_is_bound_by_a_client_once() {
    let scene = scene().await;
    let node = json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": "here" }, "spec": { "unschedulable": true } });
    assert_eq!(ask(&scene, "POST", "/api/v1/nodes", node).await.code, 201);
    let mut gated = pod("gated");
    gated["spec"]["schedulingGates"] = json!([{ "name": "example.com/hold" }]);
    for pod in [pod("web"), gated] {
        let made = ask(&scene, "POST", PODS, pod).await;
        assert_eq!((made.code, made.body["spec"].get("nodeName")), (201, None), "{}", made.body);
    }
    let bind = async |name: &str, node: &str| {
        let binding =
            json!({ "apiVersion": "v1", "kind": "Binding", "metadata": { "name": name }, "target": { "kind": "Node", "name": node } });
        let told = ask(&scene, "POST", &format!("{PODS}/{name}/binding"), binding).await;
        (told.code, told.body["message"].as_str().unwrap_or_default().to_owned())
    };
    let start = |name: &str| format!("Operation cannot be fulfilled on pods/binding \"{name}\": pod {name} ");
    assert_eq!(bind("web", "there").await, (404, "nodes \"there\" not found".to_owned()));
    assert_eq!(bind("gated", "here").await, (409, start("gated") + "has non-empty .spec.schedulingGates"));
    assert_eq!(bind("web", "here").await.0, 201);
    assert_eq!(bind("web", "here").await, (409, start("web") + "is already assigned to node \"here\""));
    assert_eq!(ask(&scene, "GET", &format!("{PODS}/web"), Value::Null).await.body["spec"]["nodeName"], "here");
}
