//! Manifests through all steps: good ones give what the API server would store, and nothing makes the steps panic.

use api::workload::WorkloadKind;
use api::{Colour, Object, Source, fuzz_read, load, load_into, render};
use proptest::prelude::*;
use serde_json::{Value, json};

fn objects(text: &str) -> Vec<Object> {
    let source = Source::new("m.yaml", text.as_bytes()).expect("text");
    let manifest = load(&source);
    assert!(!manifest.has_errors(), "{}", render(&source, &manifest.diagnostics, Colour::Plain));
    manifest.objects
}

const GOOD: &str = r#"
apiVersion: v1
kind: Pod
metadata:
  name: web
  labels: {app: web}
spec:
  terminationGracePeriodSeconds: 0o17
  containers:
  - name: app
    image: nginx:1.27
    args: ["-g", "daemon off;"]
    env:
    - &tz {name: TZ, value: UTC}
    ports: [{containerPort: 0x50, name: http}]
    resources: {limits: {cpu: 0.5, memory: 64Mi}}
    volumeMounts: [{name: data, mountPath: /data}]
    lifecycle:
      preStop: {exec: {command: [nginx, -s, quit]}}
  - name: side
    image: busybox
    env: [*tz]
  volumes:
  - {name: data, emptyDir: }
---
apiVersion: v1
kind: Secret
metadata: {name: keys}
stringData: {token: abc}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: app, image: nginx}]}
"#;

#[test]
fn good_manifests_give_defaulted_objects() {
    let objects = objects(GOOD);
    let [Object::Pod(pod), Object::Secret(secret), Object::Replica(replica)] = objects.as_slice() else {
        panic!("a pod, a secret and a deployment: {objects:?}");
    };
    let pod = serde_json::to_value(pod).expect("serializes");
    let expected = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "web", "namespace": "default", "labels": {"app": "web"}},
        "spec": {
            "containers": [
                {
                    "name": "app", "image": "nginx:1.27", "imagePullPolicy": "IfNotPresent", "args": ["-g", "daemon off;"],
                    "env": [{"name": "TZ", "value": "UTC"}],
                    "ports": [{"containerPort": 80, "name": "http", "protocol": "TCP"}],
                    "resources": {"limits": {"cpu": "500m", "memory": "64Mi"}, "requests": {"cpu": "500m", "memory": "64Mi"}},
                    "volumeMounts": [{"name": "data", "mountPath": "/data"}],
                    "lifecycle": {"preStop": {"exec": {"command": ["nginx", "-s", "quit"]}}},
                    "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
                },
                {
                    "name": "side", "image": "busybox", "imagePullPolicy": "Always", "env": [{"name": "TZ", "value": "UTC"}],
                    "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
                },
            ],
            "volumes": [{"name": "data", "emptyDir": {}}],
            "terminationGracePeriodSeconds": 15, "restartPolicy": "Always", "dnsPolicy": "ClusterFirst",
            "schedulerName": "default-scheduler", "securityContext": {}, "enableServiceLinks": true,
        },
    });
    assert_eq!(pod, expected);
    assert_eq!(secret.data.as_ref().and_then(|data| data.get("token")).map(|token| token.0.as_slice()), Some(&b"abc"[..]));
    assert_eq!((replica.kind, replica.wanted), (WorkloadKind::Deployment, Some(1)));
    assert_eq!(replica.pod.spec.as_ref().map(|spec| spec.containers.len()), Some(1));
}

#[test]
fn objects_without_a_namespace_get_the_one_given() {
    let pod = |metadata: &str| format!("apiVersion: v1\nkind: Pod\nmetadata: {metadata}\nspec: {{containers: [{{name: a, image: x}}]}}\n");
    for (metadata, namespace) in [("{name: a}", "team"), ("{name: a, namespace: \"\"}", "team"), ("{name: a, namespace: own}", "own")] {
        let source = Source::new("m.yaml", pod(metadata).as_bytes()).expect("text");
        let [Object::Pod(pod)] = &load_into(&source, "team").objects[..] else { panic!("a pod") };
        assert_eq!(pod.metadata.namespace.as_deref(), Some(namespace));
    }
}

#[test]
fn what_was_loaded_loads_again_unchanged() {
    let Some(Object::Pod(pod)) = objects(GOOD).into_iter().next() else { panic!("a pod") };
    let text = serde_json::to_string_pretty(&pod).expect("serializes");
    assert_eq!(objects(&text), [Object::Pod(pod)]);
}

#[test]
fn an_object_with_errors_is_not_given_out_but_the_others_are() {
    let text = format!("{GOOD}---\napiVersion: v1\nkind: Pod\nmetadata: {{name: bad}}\nspec: {{containers: []}}\n");
    let source = Source::new("m.yaml", text.as_bytes()).expect("text");
    let manifest = load(&source);
    assert_eq!((manifest.objects.len(), manifest.has_errors()), (3, true));
}

#[test]
fn colours_are_only_in_the_coloured_rendering() {
    let source = Source::new("m.yaml", b"apiVersion: v1\nkind: Pod\nspec: {containers: [{nam: \x1b[31m}]}\n").expect("text");
    let manifest = load(&source);
    let plain = render(&source, &manifest.diagnostics, Colour::Plain);
    let coloured = render(&source, &manifest.diagnostics, Colour::Ansi);
    assert!(!plain.contains('\x1b') && coloured.contains('\x1b'));
}

#[test]
fn a_manifest_on_one_long_line_is_not_printed_whole() {
    let long = "x".repeat(100_000);
    let text = format!("{{\"apiVersion\": \"v1\", \"kind\": \"Pod\", \"a\": \"{long}\", \"{long}\": 1}}");
    let source = Source::new("m.json", text.as_bytes()).expect("text");
    let shown = render(&source, &load(&source).diagnostics, Colour::Plain);
    assert!(shown.lines().all(|line| line.len() < 110_000), "messages name the field once");
}

#[test]
fn findings_about_one_object_are_bounded_and_the_rest_counted() {
    const WRONG: usize = 1_000;
    let labels: String = (0..WRONG).map(|number| format!("    k{number}!: v\n")).collect();
    let text = format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n  labels:\n{labels}");
    let source = Source::new("m.yaml", text.as_bytes()).expect("text");
    let found = load(&source).diagnostics;
    assert_eq!(found.len(), api::manifest::FIELD_ERRORS_MAX + 1);
    let last = found.last().map(|diagnostic| diagnostic.message.as_str());
    assert_eq!(last, Some("900 more fields of this ConfigMap are not valid"));
    let shown = render(&source, &found, Colour::Plain);
    assert!(shown.ends_with("and 51 more\n"), "{shown}");
}

/// Text that is likely to get past the parser: pieces of manifests in any order.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "apiVersion: v1\n",
        "kind: Pod\n",
        "metadata:\n",
        "  name: a\n",
        "spec:\n",
        "  containers:\n",
        "  - name: a\n",
        "    image: x\n",
        "    lifecycle:\n",
        "      preStop:\n",
        "        exec: {command: [a]}\n",
        "        sleep: {seconds: -1}\n",
        "    ports: [{containerPort: \"1\"}]\n",
        "  terminationGracePeriodSeconds: 1.5\n",
        "---\n",
        "...\n",
        "# c\n",
        "\t",
        " ",
        "- ",
        ": ",
        "? ",
        "&a ",
        "*a ",
        "<<: ",
        "{",
        "}",
        "[",
        "]",
        ",",
        "\"",
        "'",
        "|\n",
        ">-\n",
        "!!int ",
        "\r\n",
        "é",
        "😀",
        "\u{feff}",
        "%YAML 1.1\n",
        "0x",
        "1e999",
        "~",
        "\\",
        "kind: List\nitems:\n",
        "null",
    ]);
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

/// Values of any shape where a Pod has its fields.
fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    let key = prop::sample::select(vec![
        "name",
        "image",
        "containers",
        "initContainers",
        "volumes",
        "volumeMounts",
        "lifecycle",
        "preStop",
        "exec",
        "command",
        "httpGet",
        "port",
        "sleep",
        "seconds",
        "env",
        "valueFrom",
        "fieldRef",
        "fieldPath",
        "resources",
        "limits",
        "requests",
        "cpu",
        "memory",
        "securityContext",
        "livenessProbe",
        "emptyDir",
        "projected",
        "sources",
        "affinity",
        "metadata",
        "labels",
        "spec",
        "template",
        "os",
        "overhead",
        "x",
    ]);
    leaf.prop_recursive(6, 80, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(key.clone().prop_map(str::to_owned), inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        fuzz_read(&bytes);
    }

    #[test]
    fn any_text_is_read_without_panic(text in "(?s).{0,300}") {
        fuzz_read(text.as_bytes());
    }

    #[test]
    fn pieces_of_manifests_are_read_without_panic(text in pieces()) {
        fuzz_read(text.as_bytes());
    }

    #[test]
    fn pods_of_any_shape_are_checked_without_panic(spec in any_value(), metadata in any_value()) {
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec});
        fuzz_read(pod.to_string().as_bytes());
    }

    #[test]
    fn containers_of_any_shape_are_checked_without_panic(container in any_value(), volumes in any_value()) {
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": {"containers": [container], "volumes": [volumes]}});
        fuzz_read(pod.to_string().as_bytes());
    }
}
