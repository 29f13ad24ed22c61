//! Static pods: real containers of files in a folder, and what kubectl sees of them.

#[path = "support/served.rs"]
mod served;
mod support;

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use serde_json::Value;
use served::{Served, container};
use support::{Machine, has_kubectl};

/// A pod that says when its preStop hook runs, with this in its environment.
fn manifest(name: &str, colour: &str, more: &str) -> String {
    format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  terminationGracePeriodSeconds: 20
{more}
  containers:
  - name: app
    image: tapp:1
    imagePullPolicy: Never
    command: [sh, -c, 'echo colour is $COLOUR; exec tapp run']
    env: [{{name: COLOUR, value: {colour}}}]
    lifecycle: {{preStop: {{exec: {{command: [tapp, say, preStop]}}}}}}
"
    )
}

/// A machine with a manifest folder.
struct Node {
    machine: Machine,
    /// As kubectl and the names of the pods have it.
    name: String,
}

impl Node {
    /// `None`, with a word on stderr, where the test cannot run.
    fn new(test: &str) -> Option<Self> {
        if !has_kubectl(test) {
            return None;
        }
        let machine = Machine::new(test)?;
        fs::create_dir(machine.path().join("manifests")).expect("a folder");
        let name = rustix::system::uname().nodename().to_string_lossy().to_lowercase();
        Some(Self { machine, name })
    }

    fn folder(&self) -> PathBuf {
        self.machine.path().join("manifests")
    }

    /// Writes a manifest as editors do: under another name first.
    fn write(&self, file: &str, text: &str) {
        let hidden = self.folder().join(format!(".{file}.new"));
        fs::write(&hidden, text).expect("a file is written");
        fs::rename(hidden, self.folder().join(file)).expect("a file is renamed");
    }

    fn remove(&self, file: &str) {
        fs::remove_file(self.folder().join(file)).expect("a file is removed");
    }

    /// The name of a pod of a file.
    fn pod(&self, name: &str) -> String {
        format!("{name}-{}", self.name)
    }

    fn serve(&self, more: &[&str]) -> Served<'_> {
        self.serve_folder(&self.folder(), more)
    }

    fn serve_folder(&self, folder: &Path, more: &[&str]) -> Served<'_> {
        let folder = folder.display().to_string();
        Served::calm(&self.machine, &[&["--pod-manifest-path", folder.as_str()], more].concat())
    }

    /// The journals of the pods of this name, as values.
    fn journal(&self, name: &str) -> Vec<Value> {
        let folder = fs::read_dir(self.machine.root().join("journals")).expect("journals");
        let of_pod = folder.flatten().filter(|entry| entry.file_name().to_string_lossy().split('_').nth(1) == Some(&self.pod(name)));
        let texts = of_pod.map(|entry| fs::read_to_string(entry.path()).expect("readable"));
        texts.flat_map(|text| text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect::<Vec<_>>()).collect()
    }

    /// How often a hook has succeeded in pods of this name.
    fn hooks(&self, name: &str) -> usize {
        let is_success = |entry: &&Value| entry["event"]["event"] == "HookFinished" && entry["event"]["outcome"]["outcome"] == "Succeeded";
        self.journal(name).iter().filter(is_success).count()
    }

    /// Who asked pods of this name to go.
    fn asked_by(&self, name: &str) -> Vec<String> {
        self.journal(name).iter().filter_map(|entry| entry["kill"]["by"].as_str().map(ToOwned::to_owned)).collect()
    }
}

// k8s: 4.a.3, 4.a.25, 11.c.1, 11.c.2, 11.c.5, 11.c.7, 11.c.8
#[test]
fn static_pods_come_change_and_go_with_their_files() {
    let Some(node) = Node::new("static_pods_come_change_and_go_with_their_files") else { return };
    node.write("first.yaml", &manifest("first", "red", ""));
    let served = node.serve(&[]);
    let first = served.running(&node.pod("first"));
    let annotations = &first["metadata"]["annotations"];
    let hash = annotations["kubernetes.io/config.hash"].as_str().expect("a hash").to_owned();
    assert_eq!(annotations["kubernetes.io/config.source"], "file");
    assert_eq!(annotations["kubernetes.io/config.mirror"], hash.as_str());
    assert_eq!(annotations["usher.dev/manifest-file"], "first.yaml");
    assert_ne!(first["metadata"]["uid"], hash.as_str(), "the mirror is an object of its own");
    assert_eq!(first["metadata"]["ownerReferences"][0]["kind"], "Node");
    let name = node.pod("first");
    assert!(served.ok(&["logs", &name]).starts_with("colour is red\n"));
    assert_eq!(served.ok(&["exec", &name, "--", "sh", "-c", "echo $COLOUR"]), "red\n");
    let described = served.ok(&["describe", "pod", &name]);
    assert!(described.contains("Started") && !described.contains("Normal  Scheduled"), "{described}");

    // Another one comes; the first is not touched.
    node.write("second.yaml", &manifest("second", "blue", ""));
    served.running(&node.pod("second"));
    assert_eq!(container(&served.running(&node.pod("first"))), container(&first));

    // Its file says something else: the old one goes with its hook, and only then the new one comes.
    node.write("first.yaml", &manifest("first", "green", ""));
    let changed = served.wait(&node.pod("first"), "another pod", |pod| {
        pod["metadata"]["annotations"]["kubernetes.io/config.hash"].as_str().is_some_and(|other| other != hash)
            && container(pod)["state"]["running"].is_object()
    });
    assert!(served.ok(&["logs", &name]).starts_with("colour is green\n"));
    assert_eq!(container(&changed)["restartCount"], 0);
    assert_eq!(node.hooks("first"), 1, "the hook of the old one ran");
    let kill = node.asked_by("first");
    assert_eq!(kill, ["its manifest first.yaml, which is gone or says something else"]);

    node.remove("first.yaml");
    served.gone(&node.pod("first"));
    assert_eq!(node.hooks("first"), 2);
    node.remove("second.yaml");
    served.gone(&node.pod("second"));
    assert_eq!(node.machine.shims(), [0; 0], "nothing runs");
}

#[test]
fn a_bad_file_is_told_of_and_leaves_the_others_alone() {
    let Some(node) = Node::new("a_bad_file_is_told_of_and_leaves_the_others_alone") else { return };
    node.write("good.yaml", &manifest("good", "red", ""));
    node.write("bad.yaml", &manifest("bad", "red", "").replace("image:", "imag:"));
    node.write("secret.yaml", &manifest("secret", "red", "  volumes: [{name: v, secret: {secretName: s}}]"));
    let served = node.serve(&[]);
    let good = served.running(&node.pod("good"));
    let events = ["get", "events", "--field-selector", "reason=FailedStaticPod", "-o", "jsonpath={range .items[*]}{.message}{'\\n'}{end}"];
    let told = served.ok(&events);
    assert_eq!(told.lines().count(), 2, "{told}");
    assert!(told.contains("bad.yaml cannot be used: 9:5: unknown field \"spec.containers[0].imag\" (did you mean `image`?)"), "{told}");
    assert!(told.contains("secret.yaml cannot be used: static pods may not reference secrets"), "{told}");
    let listed = |file: &str| {
        let output = node.machine.output(["ps"]);
        String::from_utf8_lossy(&output.stdout).lines().any(|line| line.contains(&format!("{file} cannot be used: ")))
    };
    assert!(listed("bad.yaml") && listed("secret.yaml") && !listed("good.yaml"));

    // A file that was good and is not any more says nothing: its pod goes on, also for the next daemon.
    node.write("good.yaml", "kind: Pod\nmetadata: [");
    node.write("mark.yaml", &manifest("mark", "red", ""));
    served.running(&node.pod("mark"));
    assert_eq!(served.ok(&events).lines().count(), 3);
    served.signal(Signal::KILL);
    let served = node.serve(&[]);
    node.remove("mark.yaml");
    served.gone(&node.pod("mark"));
    assert_eq!(container(&served.running(&node.pod("good"))), container(&good));

    node.write("bad.yaml", &manifest("bad", "red", ""));
    served.running(&node.pod("bad"));
    assert!(!listed("bad.yaml") && listed("good.yaml"));
    node.remove("good.yaml");
    served.gone(&node.pod("good"));
    node.remove("bad.yaml");
    served.gone(&node.pod("bad"));
}

// k8s: 11.c.6
#[test]
fn deleting_a_mirror_stops_nothing_and_it_comes_back() {
    let Some(node) = Node::new("deleting_a_mirror_stops_nothing_and_it_comes_back") else { return };
    node.write("web.yaml", &manifest("web", "red", ""));
    let served = node.serve(&[]);
    let before = served.running(&node.pod("web"));
    let name = node.pod("web");
    for arguments in [["delete", "pod", &name, "--wait=false"], ["delete", "pod", &name, "--force"]] {
        let uid = served.running(&node.pod("web"))["metadata"]["uid"].clone();
        served.ok(&arguments);
        let again = served.wait(&node.pod("web"), "another mirror", |pod| {
            pod["metadata"]["uid"].is_string() && pod["metadata"]["uid"] != uid && container(pod)["state"]["running"].is_object()
        });
        assert_eq!(container(&again), container(&before), "the same container, with all that is known of it");
    }
    assert_eq!((node.hooks("web"), node.asked_by("web").len()), (0, 0), "nothing was stopped");

    // What stops it on the node does not keep it away either: the file still wants it.
    assert!(node.machine.output(["rm", &name]).status.success());
    let again = served.wait(&node.pod("web"), "another container", |pod| {
        container(pod)["state"]["running"].is_object() && container(pod)["containerID"] != container(&before)["containerID"]
    });
    assert_eq!(again["metadata"]["annotations"], before["metadata"]["annotations"]);

    // An object that says that it is a mirror and is none goes.
    let orphan = manifest("orphan", "red", "").replace("{name: orphan}", "{name: orphan, annotations: {kubernetes.io/config.mirror: x}}");
    let file = node.machine.file("orphan.yaml", &orphan);
    served.ok(&["create", "-f", file.to_str().expect("text")]);
    served.ok(&["wait", "--for=delete", "pod/orphan", "--timeout=60s"]);
    node.remove("web.yaml");
    served.gone(&node.pod("web"));
}

// k8s: 4.a.3
#[test]
fn static_pods_live_on_when_the_daemon_is_killed_and_files_change_meanwhile() {
    let Some(node) = Node::new("static_pods_live_on_when_the_daemon_is_killed_and_files_change_meanwhile") else { return };
    for name in ["stays", "goes", "changes"] {
        node.write(&format!("{name}.yaml"), &manifest(name, "red", ""));
    }
    // It has ended when the daemon is killed, and is not run again.
    let once = manifest("once", "red", "  restartPolicy: Never").replace("exec tapp run", "exit 0");
    node.write("once.yaml", &once);
    let served = node.serve(&[]);
    let before = served.running(&node.pod("stays"));
    served.running(&node.pod("goes"));
    served.running(&node.pod("changes"));
    served.wait(&node.pod("once"), "its end", |pod| pod["status"]["phase"] == "Succeeded");
    served.signal(Signal::KILL);
    node.remove("goes.yaml");
    node.write("changes.yaml", &manifest("changes", "blue", ""));

    let served = node.serve(&[]);
    served.gone(&node.pod("goes"));
    served.wait(&node.pod("changes"), "another pod", |pod| {
        container(pod)["state"]["running"].is_object() && pod["spec"]["containers"][0]["env"][0]["value"] == "blue"
    });
    let after = served.running(&node.pod("stays"));
    assert_eq!((&after["metadata"]["uid"], container(&after)), (&before["metadata"]["uid"], container(&before)));
    assert_eq!((node.hooks("stays"), node.hooks("goes"), node.hooks("changes")), (0, 1, 1), "who went, went with their hooks");
    assert_eq!(served.wait(&node.pod("once"), "its mirror", Value::is_object)["status"]["phase"], "Succeeded");
    let starts = node.journal("once").iter().filter(|entry| entry["action"]["action"]["action"] == "StartContainer").count();
    assert_eq!(starts, 1, "what has ended is not run again");

    // Without its folder nobody wants them.
    served.signal(Signal::KILL);
    let served = node.serve_folder(&node.machine.path().join("nowhere"), &[]);
    for name in ["stays", "changes", "once"] {
        served.gone(&node.pod(name));
    }
}

// k8s: 4.c.1, 11.c.9
#[test]
fn a_static_pod_is_critical_and_has_others_make_room() {
    let Some(node) = Node::new("a_static_pod_is_critical_and_has_others_make_room") else { return };
    let served = node.serve(&["--max-pods", "1"]);
    let file = node.machine.file("usual.yaml", &manifest("usual", "red", ""));
    served.ok(&["apply", "-f", file.to_str().expect("text")]);
    served.ok(&["wait", "--for=condition=Ready", "pod/usual", "--timeout=60s"]);
    node.write("web.yaml", &manifest("web", "red", "  priorityClassName: system-node-critical"));
    let web = served.running(&node.pod("web"));
    assert_eq!(web["spec"]["priority"], 2_000_001_000);
    assert_eq!(served.ok(&["get", "pod", "usual", "-o", "jsonpath={.status.phase} {.status.reason}"]), "Failed Preempting");
    let list = String::from_utf8_lossy(&node.machine.output(["ps"]).stdout).into_owned();
    assert!(list.contains(&node.pod("web")), "{list}");

    // The machine goes down and comes up again: it is run again, though it Failed.
    served.signal(Signal::POWER);
    assert_eq!(node.machine.shims(), [0; 0], "nothing runs");
    let served = node.serve(&["--max-pods", "1"]);
    let again = served.running(&node.pod("web"));
    assert_ne!(container(&again)["containerID"], container(&web)["containerID"]);
    node.remove("web.yaml");
    served.gone(&node.pod("web"));
}
