//! The configuration file on real nodes: what it says happens, a flag wins over it, and a wrong file is refused before anything is made.

#[path = "support/served.rs"]
mod served;
mod support;

use std::fs;

use serde_json::Value;
use served::Served;
use support::{Machine, has_kubectl};

const HEAD: &str = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n";

fn configuration(machine: &Machine, fields: &str) -> String {
    machine.file("node.yaml", &format!("{HEAD}{fields}")).display().to_string()
}

/// The node's status as kubectl shows it.
fn status(served: &Served<'_>) -> Value {
    let list: Value = serde_json::from_str(&served.ok(&["get", "nodes", "-o", "json"])).expect("JSON");
    list["items"][0]["status"].clone()
}

fn bytes(amount: &Value) -> i64 {
    api::Quantity::parse(amount.as_str().expect("an amount")).expect("an amount").value()
}

#[test]
fn a_node_offers_what_its_configuration_leaves_and_a_flag_wins_over_it() {
    let test = "a_node_offers_what_its_configuration_leaves_and_a_flag_wins_over_it";
    if !has_kubectl(test) {
        return;
    }
    let Some(machine) = Machine::without_images(test) else { return };
    let fields = "maxPods: 7
systemReserved: {cpu: 100m, memory: 20Mi}
kubeReserved: {memory: 10Mi}
evictionHard: {memory.available: 30Mi, nodefs.available: 0%}
";
    let file = configuration(&machine, fields);
    {
        let status = status(&Served::start(&machine, &["--config", &file]));
        let (capacity, left) = (&status["capacity"], &status["allocatable"]);
        assert_eq!((&capacity["pods"], &left["pods"]), (&"7".into(), &"7".into()), "{status}");
        assert_eq!(bytes(&capacity["memory"]) - bytes(&left["memory"]), 60 << 20, "{status}");
        let cpus = capacity["cpu"].as_str().and_then(|cpus| cpus.parse::<i64>().ok()).expect("whole CPUs");
        assert_eq!(left["cpu"], format!("{}m", cpus * 1000 - 100), "{status}");
        assert_eq!(capacity["ephemeral-storage"], left["ephemeral-storage"], "{status}");
    }
    let status = status(&Served::start(&machine, &["--config", &file, "--max-pods", "3", "--eviction-hard", ""]));
    assert_eq!(status["allocatable"]["pods"], "3");
    assert_eq!(bytes(&status["capacity"]["memory"]) - bytes(&status["allocatable"]["memory"]), 30 << 20, "{status}");
}

#[test]
fn logs_rotate_and_processes_are_limited_as_the_configuration_says() {
    let Some(machine) = Machine::new("logs_rotate_and_processes_are_limited_as_the_configuration_says") else { return };
    let file = configuration(&machine, "containerLogMaxSize: 20Ki\ncontainerLogMaxFiles: 3\npodPidsLimit: 40\n");
    // Ninety thousand bytes of output, and sixty processes if it could have them.
    let script = "for n in $(seq 1500); do echo \"line $n of the output of this container, which is long\"; done; \
                  for n in $(seq 60); do sleep 30 2>/dev/null & done 2>/dev/null; echo made $(jobs | wc -l)";
    let manifest = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: writer}}\nspec:\n  restartPolicy: Never\n  terminationGracePeriodSeconds: 2\n  \
         containers:\n  - name: app\n    image: tapp:1\n    imagePullPolicy: Never\n    command: [sh, -c, '{script}']\n"
    );
    let ended = machine.run(&manifest, &["--config", &file]).end();
    assert!(ended.output().iter().all(|line| line != "made 60"), "{:?}", ended.output().last());
    let sizes = log_sizes(&machine);
    assert_eq!(sizes.len(), 3, "{sizes:?}");
    assert!(sizes.iter().all(|size| *size <= 20 << 10), "{sizes:?}");
    assert!(sizes.iter().sum::<u64>() > 20 << 10, "{sizes:?}");
}

#[test]
fn a_test_runs_its_pod_on_a_node_as_the_configuration_says() {
    let Some(machine) = Machine::new("a_test_runs_its_pod_on_a_node_as_the_configuration_says") else { return };
    let file = configuration(&machine, "containerLogMaxSize: 20Ki\ncontainerLogMaxFiles: 3\n");
    let script = "for n in $(seq 1500); do echo \"line $n of the output of this container, which is long\"; done; exec tapp run";
    let manifest = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: writer}}\nspec:\n  terminationGracePeriodSeconds: 5\n  containers:\n  - name: app\n    \
         image: tapp:1\n    imagePullPolicy: Never\n    command: [sh, -c, '{script}']\n"
    );
    let pod = machine.file("writer.yaml", &manifest).display().to_string();
    let output = machine.output(["test", &pod, "--no-second-start", "--config", &file]);
    assert!(output.status.code().is_some_and(|code| code != 125), "{output:?}");
    let sizes = log_sizes(&machine);
    assert_eq!(sizes.len(), 3, "{sizes:?}");
    assert!(sizes.iter().all(|size| *size <= 20 << 10), "{sizes:?}");
}

/// Of the files of the logs of the container `app`.
fn log_sizes(machine: &Machine) -> Vec<u64> {
    let pods = fs::read_dir(machine.log_root()).expect("logs").flatten();
    let files = pods.flat_map(|pod| fs::read_dir(pod.path().join("app")).expect("logs of the container").flatten());
    files.map(|file| file.metadata().expect("a file").len()).collect()
}

#[test]
fn a_wrong_configuration_is_refused_with_places_and_nothing_is_made() {
    let Some(machine) = Machine::without_images("a_wrong_configuration_is_refused_with_places_and_nothing_is_made") else { return };
    let file = configuration(&machine, "maxPod: 7\nevictionHard: {memory.free: 1Gi}\nclusterDNS: [10.0.0.10]\npodPidsLimit: many\n");
    let pod = machine.file("pod.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: c, image: i}]}\n");
    let pod = pod.display().to_string();
    for command in [vec!["serve", "--listen", "127.0.0.1:6443"], vec!["run", &pod], vec!["test", &pod]] {
        let output = machine.output([command.clone(), vec!["--config", &file]].concat());
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(125), "{command:?}: {text}");
        for wanted in [
            "unknown field \"maxPod\"",
            "node.yaml:3:1",
            "did you mean `maxPods`?",
            "\"clusterDNS\" is a field of KubeletConfiguration that is not supported here",
            "node.yaml:6:15",
            "expected an integer, found the string \"many\"",
        ] {
            assert!(text.contains(wanted), "{command:?}: {wanted:?} is missing in:\n{text}");
        }
    }
    let file = configuration(&machine, "evictionHard:\n  memory.free: 1Gi\n");
    let output = machine.output(["serve", "--listen", "127.0.0.1:6443", "--config", &file]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("node.yaml:4:16") && text.contains("\"memory.free\" is no eviction signal"), "{text}");
    let output = machine.output(["serve", "--config", "/no/such/node.yaml"]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(125));
    assert_eq!(text, "error: cannot read the configuration /no/such/node.yaml: No such file or directory (os error 2)\n");
    assert!(!machine.root().join("pods").exists() && !machine.root().join("server").exists(), "nothing was made");
}
