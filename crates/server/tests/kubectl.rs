//! A real kubectl, unchanged, against the server.

mod support;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};

use support::{has_kubectl, scene};

const POD: &str = "\
apiVersion: v1
kind: Pod
metadata:
  name: web
  labels: {app: web}
spec:
  terminationGracePeriodSeconds: 5
  containers:
  - name: main
    image: nginx:1
    lifecycle:
      preStop: {exec: {command: [sh, -c, sleep 1]}}
    ports:
    - {containerPort: 80}
";

fn config_map(value: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: settings}}\ndata: {{colour: {value}, size: large}}\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn apply_creates_changes_and_leaves_alone() {
    if !has_kubectl("apply_creates_changes_and_leaves_alone") {
        return;
    }
    let scene = scene().await;
    let file = scene.file("pod.yaml", POD);
    assert_eq!(scene.run(&["apply", "-f", &file]).await.ok(), "pod/web created\n");
    assert_eq!(scene.run(&["apply", "-f", &file]).await.ok(), "pod/web unchanged\n");
    let changed = scene.file("pod.yaml", &POD.replace("nginx:1", "nginx:2").replace("labels: {app: web}", "labels: {tier: front}"));
    assert_eq!(scene.run(&["apply", "-f", &changed]).await.ok(), "pod/web configured\n");
    let shown = scene.run(&["get", "pod", "web", "-o", "jsonpath={.spec.containers[0].image} {.metadata.labels}"]).await.ok();
    assert_eq!(shown, "nginx:2 {\"tier\":\"front\"}");
    let refused = scene.file("pod.yaml", &POD.replace("[sh, -c, sleep 1]", "[sh, -c, sleep 2]"));
    let error = scene.run(&["apply", "-f", &refused]).await.failed();
    assert!(error.contains("The Pod \"web\" is invalid: spec: Forbidden: pod updates may not change fields other than"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_fields_and_wrong_types_are_refused() {
    if !has_kubectl("unknown_fields_and_wrong_types_are_refused") {
        return;
    }
    let scene = scene().await;
    let file = scene.file("pod.yaml", &POD.replace("image: nginx:1", "imag: nginx:1"));
    let error = scene.run(&["apply", "-f", &file]).await.failed();
    assert!(error.contains("strict decoding error: unknown field \"spec.containers[0].imag\""), "{error}");
    let file = scene.file("pod.yaml", &POD.replace("containerPort: 80", "containerPort: \"80\""));
    let error = scene.run(&["create", "-f", &file]).await.failed();
    assert!(
        error.contains("cannot unmarshal string into Go struct field ContainerPort.spec.containers.ports.containerPort of type int32"),
        "{error}"
    );
    let file = scene.file("pod.yaml", &POD.replace("image: nginx:1", "image: nginx:1\n    nonsense: 1"));
    let ran = scene.run(&["create", "--validate=warn", "-f", &file]).await;
    assert!(ran.stderr.contains("Warning: unknown field \"spec.containers[0].nonsense\""), "{ran:?}");
    assert_eq!(ran.ok(), "pod/web created\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn server_side_apply_tells_of_conflicts_and_takes_by_force() {
    if !has_kubectl("server_side_apply_tells_of_conflicts_and_takes_by_force") {
        return;
    }
    let scene = scene().await;
    let file = scene.file("settings.yaml", &config_map("red"));
    assert_eq!(scene.run(&["apply", "--server-side", "-f", &file]).await.ok(), "configmap/settings serverside-applied\n");
    assert_eq!(scene.run(&["apply", "--server-side", "-f", &file]).await.ok(), "configmap/settings serverside-applied\n");
    scene.run(&["patch", "configmap", "settings", "--type=merge", "-p", r#"{"data":{"colour":"blue"}}"#]).await.ok();
    let error = scene.run(&["apply", "--server-side", "-f", &file]).await.failed();
    assert!(error.contains("Apply failed with 1 conflict: conflict with \"kubectl-patch\" using v1: .data.colour"), "{error}");
    scene.run(&["apply", "--server-side", "--force-conflicts", "-f", &file]).await.ok();
    assert_eq!(scene.run(&["get", "cm", "settings", "-o", "jsonpath={.data.colour}"]).await.ok(), "red");
    // A pod too, whose lists merge by key.
    let pod = scene.file("pod.yaml", POD);
    scene.run(&["apply", "--server-side", "-f", &pod]).await.ok();
    let managers =
        scene.run(&["get", "pod", "web", "--show-managed-fields", "-o", "jsonpath={.metadata.managedFields[*].manager}"]).await.ok();
    assert_eq!(managers, "kubectl");
}

#[tokio::test(flavor = "multi_thread")]
async fn client_side_apply_can_become_server_side_apply() {
    if !has_kubectl("client_side_apply_can_become_server_side_apply") {
        return;
    }
    let scene = scene().await;
    let file = scene.file("settings.yaml", &config_map("red"));
    scene.run(&["apply", "-f", &file]).await.ok();
    let file = scene.file("settings.yaml", &config_map("green"));
    scene.run(&["apply", "--server-side", "-f", &file]).await.ok();
    assert_eq!(scene.run(&["get", "cm", "settings", "-o", "jsonpath={.data.colour}"]).await.ok(), "green");
}

#[tokio::test(flavor = "multi_thread")]
async fn get_shows_the_columns_of_the_reference() {
    if !has_kubectl("get_shows_the_columns_of_the_reference") {
        return;
    }
    let scene = scene().await;
    let file = scene.file("pod.yaml", POD);
    scene.run(&["create", "-f", &file]).await.ok();
    let head = |table: &str| {
        table.lines().next().unwrap_or_default().split("  ").map(str::trim).filter(|word| !word.is_empty()).collect::<Vec<_>>().join("|")
    };
    let check = async |arguments: &[&str], expected: &str| {
        assert_eq!(head(&scene.run(arguments).await.ok()), expected, "{arguments:?}");
    };
    check(&["get", "pods"], "NAME|READY|STATUS|RESTARTS|AGE").await;
    check(&["get", "po", "-o", "wide"], "NAME|READY|STATUS|RESTARTS|AGE|IP|NODE|NOMINATED NODE|READINESS GATES").await;
    check(&["get", "events"], "LAST SEEN|TYPE|REASON|OBJECT|MESSAGE").await;
    check(&["get", "namespaces"], "NAME|STATUS|AGE").await;
    check(&["get", "sa"], "NAME|SECRETS|AGE").await;
    check(&["get", "pc"], "NAME|VALUE|GLOBAL-DEFAULT|AGE|PREEMPTIONPOLICY").await;
    let table = scene.run(&["get", "pods", "-A", "--show-labels"]).await.ok();
    let row: Vec<_> = table.lines().nth(1).unwrap_or_default().split_whitespace().collect();
    assert_eq!((row[0], row[1], row[2], row[3], row[6]), ("default", "web", "0/1", "Pending", "app=web"), "{table}");
    let yaml = scene.run(&["get", "pod", "web", "-o", "yaml"]).await.ok();
    assert!(yaml.contains("terminationGracePeriodSeconds: 5") && yaml.starts_with("apiVersion: v1\nkind: Pod\n"), "{yaml}");
    let error = scene.run(&["get", "pod", "nothing"]).await.failed();
    assert_eq!(error, "Error from server (NotFound): pods \"nothing\" not found\n");
    let error = scene.run(&["get", "services"]).await.failed();
    assert!(error.contains("the server doesn't have a resource type \"services\""), "{error}");
    assert_eq!(scene.run(&["get", "pods", "-l", "app=other"]).await.stderr, "No resources found in default namespace.\n");
    assert_eq!(
        scene.run(&["get", "pods", "--field-selector=status.phase=Pending,spec.nodeName=here", "-o", "name"]).await.ok(),
        "pod/web\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_in_pieces_come_whole() {
    if !has_kubectl("lists_in_pieces_come_whole") {
        return;
    }
    let scene = scene().await;
    let documents: Vec<_> =
        (0..25).map(|number| format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: map-{number:02}}}\n")).collect();
    let file = scene.file("maps.yaml", &documents.join("---\n"));
    scene.run(&["create", "-f", &file]).await.ok();
    let names = scene.run(&["get", "configmaps", "--chunk-size=4", "-o", "name"]).await.ok();
    assert_eq!(names.lines().count(), 25, "{names}");
}

#[tokio::test(flavor = "multi_thread")]
async fn describe_tells_of_the_pod_and_its_events() {
    if !has_kubectl("describe_tells_of_the_pod_and_its_events") {
        return;
    }
    let scene = scene().await;
    let file = scene.file("pod.yaml", POD);
    scene.run(&["apply", "-f", &file]).await.ok();
    let text = scene.run(&["describe", "pod", "web"]).await.ok();
    assert!(text.contains("Image:        nginx:1"), "{text}");
    assert!(text.contains("Successfully assigned default/web to here"), "{text}");
    let events = scene.run(&["events", "--for", "pod/web"]).await.ok();
    assert!(events.contains("Scheduled"), "{events}");
    scene.run(&["describe", "namespace", "default"]).await.ok();
    scene.run(&["describe", "configmaps"]).await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn watching_sees_changes_as_they_come() {
    if !has_kubectl("watching_sees_changes_as_they_come") {
        return;
    }
    let scene = scene().await;
    let file = scene.file("pod.yaml", POD);
    scene.run(&["apply", "-f", &file]).await.ok();
    let mut child = scene.command(&["get", "pods", "-w", "--output-watch-events", "--no-headers"]).spawn().expect("kubectl starts");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut next = async |what: &str| {
        let line = tokio::time::timeout(std::time::Duration::from_secs(20), lines.next_line()).await;
        line.unwrap_or_else(|_| panic!("no {what} comes")).expect("readable").unwrap_or_default()
    };
    assert!(next("first state").await.starts_with("ADDED"));
    scene.run(&["label", "pod", "web", "x=y"]).await.ok();
    assert!(next("change").await.starts_with("MODIFIED"));
    scene.run(&["delete", "pod", "web", "--wait=false"]).await.ok();
    let line = next("deletion").await;
    assert!(line.starts_with("MODIFIED") && line.contains("Terminating"), "{line}");
    scene.run(&["delete", "pod", "web", "--force", "--grace-period=0"]).await.ok();
    assert!(next("mark").await.starts_with("MODIFIED"));
    assert!(next("end").await.starts_with("DELETED"));
    child.kill().await.expect("killed");
}

#[tokio::test(flavor = "multi_thread")]
async fn delete_waits_for_the_grace_and_for_the_end() {
    if !has_kubectl("delete_waits_for_the_grace_and_for_the_end") {
        return;
    }
    let scene = scene().await;
    let file = scene.file("pod.yaml", POD);
    scene.run(&["apply", "-f", &file]).await.ok();
    // The node's side: remove what is to end.
    let client = scene.server.client();
    let node = tokio::spawn(async move {
        let mut pods = client.pods();
        loop {
            if let server::client::PodChange::Present(pod) = pods.next().await.expect("pods")
                && let Some(grace) = pod.metadata.deletion_grace_period_seconds
            {
                let (namespace, name, uid) = (pod.metadata.namespace, pod.metadata.name, pod.metadata.uid);
                client
                    .remove_pod(&namespace.unwrap_or_default(), &name.unwrap_or_default(), &uid.unwrap_or_default())
                    .await
                    .expect("removed");
                return grace;
            }
        }
    });
    assert_eq!(scene.run(&["delete", "pod", "web", "--grace-period=3"]).await.ok(), "pod \"web\" deleted\n");
    assert_eq!(node.await.expect("the node ends"), 3);
    let error = scene.run(&["delete", "pod", "web"]).await.failed();
    assert_eq!(error, "Error from server (NotFound): pods \"web\" not found\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_changed_in_all_ways() {
    if !has_kubectl("objects_are_changed_in_all_ways") {
        return;
    }
    let scene = scene().await;
    let file = scene.file("settings.yaml", &config_map("red"));
    scene.run(&["create", "-f", &file]).await.ok();
    let data =
        async || scene.run(&["get", "cm", "settings", "-o", "jsonpath={.data} {.metadata.labels} {.metadata.annotations}"]).await.ok();
    scene.run(&["label", "cm", "settings", "a=b"]).await.ok();
    scene.run(&["annotate", "cm", "settings", "c=d"]).await.ok();
    assert_eq!(data().await, r#"{"colour":"red","size":"large"} {"a":"b"} {"c":"d"}"#);
    scene.run(&["label", "cm", "settings", "a-"]).await.ok();
    scene.run(&["patch", "cm", "settings", "-p", r#"{"data":{"size":"small"}}"#]).await.ok();
    scene.run(&["patch", "cm", "settings", "--type=json", "-p", r#"[{"op":"remove","path":"/data/colour"}]"#]).await.ok();
    assert_eq!(data().await, r#"{"size":"small"}  {"c":"d"}"#);
    scene.run(&["replace", "-f", &file]).await.ok();
    assert_eq!(data().await, r#"{"colour":"red","size":"large"}  "#);
    let mut edit = scene.command(&["edit", "cm", "settings"]);
    edit.env("EDITOR", "sed -i s/red/green/");
    let edited = edit.output().await.expect("kubectl runs");
    assert!(edited.status.success(), "{edited:?}");
    assert_eq!(data().await, r#"{"colour":"green","size":"large"}  "#);
    let diff = scene.run(&["diff", "-f", &file]).await;
    assert_eq!(diff.code, Some(1), "{diff:?}");
    assert!(diff.stdout.contains("-  colour: green\n+  colour: red"), "{diff:?}");
    assert_eq!(scene.run(&["apply", "--dry-run=server", "-f", &file]).await.code, Some(0));
    assert_eq!(data().await, r#"{"colour":"green","size":"large"}  "#, "a dry run changes nothing");
    scene.run(&["create", "secret", "generic", "s", "--from-literal=k=v"]).await.ok();
    assert_eq!(scene.run(&["get", "secret", "s", "-o", "jsonpath={.data.k} {.type}"]).await.ok(), "dg== Opaque");
    scene.run(&["delete", "cm", "--all"]).await.ok();
    assert_eq!(scene.run(&["get", "cm", "-o", "name"]).await.ok(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn wait_ends_with_the_condition() {
    if !has_kubectl("wait_ends_with_the_condition") {
        return;
    }
    let scene = scene().await;
    let file = scene.file("pod.yaml", POD);
    scene.run(&["apply", "-f", &file]).await.ok();
    let client = scene.server.client();
    let waiting = scene.command(&["wait", "--for=condition=Ready", "pod/web", "--timeout=20s"]).output();
    let setting = async {
        let pod = client.pod("default", "web").expect("there");
        let mut status = pod.status.clone().unwrap_or_default();
        status.phase = Some("Running".to_owned());
        let ready = serde_json::json!([{ "type": "Ready", "status": "True" }]);
        status.conditions = Some(serde_json::from_value(ready).expect("conditions"));
        client.set_status("default", "web", &pod.metadata.uid.unwrap_or_default(), &status).await.expect("set");
    };
    let (waited, ()) = tokio::join!(waiting, setting);
    let waited = waited.expect("kubectl runs");
    assert!(waited.status.success(), "{waited:?}");
    let table = scene.run(&["get", "pods", "--no-headers"]).await.ok();
    assert!(table.contains("Running"), "{table}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_describes_itself() {
    if !has_kubectl("the_api_describes_itself") {
        return;
    }
    let scene = scene().await;
    let text = scene.run(&["explain", "pod.spec.containers.lifecycle.preStop"]).await.ok();
    assert!(
        text.contains("KIND:       Pod") && text.contains("FIELD: preStop <LifecycleHandler>") && text.contains("exec\t<ExecAction>"),
        "{text}"
    );
    let text = scene.run(&["explain", "leases", "--recursive"]).await.ok();
    assert!(text.contains("GROUP:      coordination.k8s.io") && text.contains("holderIdentity"), "{text}");
    let text = scene.run(&["api-resources", "-o", "name"]).await.ok();
    for name in ["pods", "configmaps", "events", "events.events.k8s.io", "leases.coordination.k8s.io", "runtimeclasses.node.k8s.io"] {
        assert!(text.lines().any(|line| line == name), "{name} is not in {text}");
    }
    let text = scene.run(&["api-versions"]).await.ok();
    assert!(text.lines().any(|line| line == "v1") && text.lines().any(|line| line == "scheduling.k8s.io/v1"), "{text}");
    let version: Value = serde_json::from_str(&scene.run(&["version", "-o", "json"]).await.ok()).expect("JSON");
    assert_eq!(version["serverVersion"]["minor"], "36");
}

#[tokio::test(flavor = "multi_thread")]
async fn users_learn_who_they_are_and_what_they_may_do() {
    if !has_kubectl("users_learn_who_they_are_and_what_they_may_do") {
        return;
    }
    let scene = scene().await;
    assert_eq!(scene.run(&["auth", "can-i", "delete", "pods"]).await.ok(), "yes\n");
    let ran = scene.run_read_only(&["auth", "can-i", "get", "secrets"]).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), "no\n"));
    let list = scene.run_read_only(&["auth", "can-i", "--list"]).await.ok();
    assert!(list.contains("pods") && !list.contains("secrets"), "{list}");
    let who = scene.run_read_only(&["auth", "whoami"]).await.ok();
    assert!(who.contains("usher-read-only") && who.contains("usher:read-only"), "{who}");
    let error = scene.run_read_only(&["get", "secrets"]).await.failed();
    let expected =
        "secrets is forbidden: User \"usher-read-only\" cannot list resource \"secrets\" in API group \"\" in the namespace \"default\"";
    assert!(error.contains(expected), "{error}");
    assert_eq!(scene.run_read_only(&["get", "pods", "-o", "name"]).await.ok(), "");
    let token = scene.run(&["create", "token", "default"]).await.ok();
    assert_eq!(token.trim().split('.').count(), 3, "{token}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_ends_with_its_objects() {
    if !has_kubectl("a_namespace_ends_with_its_objects") {
        return;
    }
    let scene = scene().await;
    scene.run(&["create", "namespace", "n"]).await.ok();
    let file = scene.file("settings.yaml", &config_map("red"));
    scene.run(&["apply", "-n", "n", "-f", &file]).await.ok();
    assert_eq!(scene.run(&["delete", "namespace", "n"]).await.ok(), "namespace \"n\" deleted\n");
    let error = scene.run(&["get", "cm", "-n", "n", "settings"]).await.failed();
    assert!(error.contains("NotFound"), "{error}");
    let error = scene.run(&["create", "-n", "n", "-f", &file]).await.failed();
    assert!(error.contains("namespaces \"n\" not found"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_shows_what_it_asks_for_as_bound() {
    if !has_kubectl("a_claim_shows_what_it_asks_for_as_bound") {
        return;
    }
    let scene = scene().await;
    let claim = "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: data}\nspec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 2Gi}}}\n";
    let file = scene.file("claim.yaml", claim);
    scene.run(&["apply", "-f", &file]).await.ok();
    assert_eq!(scene.run(&["apply", "-f", &file]).await.ok(), "persistentvolumeclaim/data unchanged\n");
    let row = scene.run(&["get", "pvc", "data", "--no-headers"]).await.ok();
    let cells: Vec<_> = row.split_whitespace().collect();
    assert!(cells[1] == "Bound" && cells[2].starts_with("pvc-") && cells[3..5] == ["2Gi", "RWO"], "{row}");
}

#[tokio::test(flavor = "multi_thread")]
async fn run_makes_a_pod() {
    if !has_kubectl("run_makes_a_pod") {
        return;
    }
    let scene = scene().await;
    assert_eq!(scene.run(&["run", "p", "--image=busybox", "--restart=Never", "--", "sleep", "1"]).await.ok(), "pod/p created\n");
    let shown = scene.run(&["get", "pod", "p", "-o", "jsonpath={.spec.containers[0].args} {.spec.restartPolicy}"]).await.ok();
    assert_eq!(shown, r#"["sleep","1"] Never"#);
}

/// kubectl 1.20 checks manifests itself, with the OpenAPI document of version 2, and knows neither aggregated discovery
/// nor field validation by the server.
#[tokio::test(flavor = "multi_thread")]
async fn a_kubectl_of_five_years_ago_works_too() {
    let Some(old) = std::env::var_os("KUBECTL_OLD") else {
        #[expect(clippy::print_stderr, reason = "tests say why they skip")]
        {
            eprintln!("SKIP a_kubectl_of_five_years_ago_works_too: set KUBECTL_OLD to the path of one, such as that of Debian 12");
        }
        return;
    };
    let mut scene = scene().await;
    scene.kubectl = old.into();
    let file = scene.file("pod.yaml", POD);
    assert_eq!(scene.run(&["apply", "-f", &file]).await.ok(), "pod/web created\n");
    assert_eq!(scene.run(&["apply", "-f", &file]).await.ok(), "pod/web unchanged\n");
    let wrong = scene.file("wrong.yaml", &POD.replace("image: nginx:1", "imag: nginx:1"));
    let error = scene.run(&["apply", "-f", &wrong]).await.failed();
    assert!(error.contains("ValidationError(Pod.spec.containers[0]): unknown field \"imag\" in io.k8s.api.core.v1.Container"), "{error}");
    let text = scene.run(&["explain", "pod.spec.containers.lifecycle"]).await.ok();
    assert!(text.contains("RESOURCE: lifecycle <Object>") && text.contains("preStop"), "{text}");
    scene.run(&["create", "configmap", "a", "--from-literal=x=y"]).await.ok();
    scene.run(&["label", "pod", "web", "a=b"]).await.ok();
    let table = scene.run(&["get", "pods", "-o", "wide"]).await.ok();
    assert!(table.starts_with("NAME   READY   STATUS    RESTARTS   AGE   IP"), "{table}");
    let text = scene.run(&["describe", "pod", "web"]).await.ok();
    assert!(text.contains("Successfully assigned default/web to here"), "{text}");
    assert_eq!(scene.run(&["auth", "can-i", "get", "pods"]).await.ok(), "yes\n");
    scene.run(&["delete", "pod", "web", "--force", "--grace-period=0"]).await.ok();
}
