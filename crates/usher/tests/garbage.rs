//! Garbage collection with real images, logs and pods: what nobody needs goes, and what somebody needs stays.

#[path = "support/registry.rs"]
mod registry;
#[path = "support/served.rs"]
mod served;
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use registry::Registry;
use rustix::process::Signal;
use served::Served;
use support::{Machine, PATIENCE, has_kubectl};

/// So often garbage is collected here.
const OFTEN: [&str; 2] = ["--garbage-collection-period", "300ms"];

fn pod(name: &str, script: &str, more: &str) -> String {
    format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  terminationGracePeriodSeconds: 5
{more}
  containers:
  - name: app
    image: tapp:1
    imagePullPolicy: Never
    command: [sh, -c, '{script}']
"
    )
}

/// Pulls an image that nothing else has a part of, with a file of so many MiB, from a registry; returns its name.
fn pull_spare(machine: &Machine, word: &str, mib: usize) -> String {
    let folder = machine.path().join(word);
    fs::create_dir_all(&folder).expect("a folder");
    let content: Vec<u8> = word.bytes().cycle().take(mib << 20).collect();
    fs::write(folder.join("file"), content).expect("written");
    let packed = Command::new("tar").arg("-C").arg(&folder).args(["-cf", "-", "."]).output().expect("tar runs");
    assert!(packed.status.success(), "tar packs the image");
    let name = Registry::open(packed.stdout).image();
    let output = machine.output(["image", "pull", &name]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(images(machine).contains(&name), "{}", images(machine));
    name
}

fn images(machine: &Machine) -> String {
    String::from_utf8_lossy(&machine.output(["image", "list"]).stdout).into_owned()
}

/// Looks until it is so.
#[track_caller]
fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what} does not come");
        std::thread::yield_now();
    }
}

fn configuration(machine: &Machine, fields: &str) -> String {
    let head = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n";
    machine.file("node.yaml", &format!("{head}{fields}")).display().to_string()
}

fn metric(served: &Served<'_>, series: &str) -> u64 {
    let text = served.ok(&["get", "--raw", "/metrics"]);
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ').map(ToOwned::to_owned));
    line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("{series} is not in {text}"))
}

#[test]
fn images_that_no_container_uses_go_when_the_disk_is_full_or_they_are_old() {
    let test = "images_that_no_container_uses_go_when_the_disk_is_full_or_they_are_old";
    if !has_kubectl(test) {
        return;
    }
    let Some(machine) = Machine::in_memory(test, 200) else { return };
    let never = configuration(&machine, "imageGCHighThresholdPercent: 100\n");
    let served = Served::calm(&machine, &["--config", &never, OFTEN[0], OFTEN[1]]);
    served.apply(&pod("user", "exec tapp run", ""));
    served.running("user");
    served.signal(Signal::KILL);
    let spare = pull_spare(&machine, "spare", 20);
    machine.import_image("mine:1", &["--env", "A=b"]);

    // More than any disk: all that may go goes, and it is said that this is not enough.
    let always = configuration(&machine, "imageGCHighThresholdPercent: 1\nimageGCLowThresholdPercent: 0\n");
    let served = Served::calm(&machine, &["--config", &always, OFTEN[0], OFTEN[1]]);
    until("the removal of the spare image", || !images(&machine).contains(&spare));
    assert!(images(&machine).contains("tapp"), "what a container uses stays: {}", images(&machine));
    assert!(images(&machine).contains("mine"), "what nobody can pull again stays: {}", images(&machine));
    assert_eq!(metric(&served, "kubelet_image_garbage_collected_total{reason=\"space\"}"), 1);
    let events = ["get", "events", "--field-selector", "reason=FreeDiskSpaceFailed", "-o", "jsonpath={.items[*].message}"];
    until("the event", || served.ok(&events).starts_with("Failed to garbage collect required amount of images. Attempted to free "));
    served.ok(&["exec", "user", "--", "sh", "-c", "exit 0"]);
    served.signal(Signal::KILL);

    // Enough room, but it was not used for too long.
    let old = pull_spare(&machine, "old", 1);
    let aged = configuration(&machine, "imageGCHighThresholdPercent: 100\nimageMinimumGCAge: 100ms\nimageMaximumGCAge: 1s\n");
    let served = Served::calm(&machine, &["--config", &aged, OFTEN[0], OFTEN[1]]);
    until("the removal of the old image", || !images(&machine).contains(&old));
    assert!(images(&machine).contains("tapp"), "{}", images(&machine));
    assert_eq!(metric(&served, "kubelet_image_garbage_collected_total{reason=\"age\"}"), 1);
    served.ok(&["delete", "pod", "user", "--timeout=60s"]);
}

fn free_mib(path: &Path) -> u64 {
    let found = rustix::fs::statvfs(path).expect("a file system");
    (found.f_bavail * found.f_frsize) >> 20
}

// k8s: 10.e.1
#[test]
fn when_the_disk_is_short_images_go_before_pods() {
    let test = "when_the_disk_is_short_images_go_before_pods";
    if !has_kubectl(test) {
        return;
    }
    let Some(machine) = Machine::in_memory(test, 200) else { return };
    let served = Served::calm(&machine, &[]);
    served.apply(&pod("bystander", "exec tapp run", ""));
    let before = served.running("bystander");
    served.signal(Signal::KILL);
    let spare = pull_spare(&machine, "spare", 40);

    // It is short by twenty MiB, and the image has forty.
    let hard = format!("nodefs.available<{}Mi", free_mib(&machine.root()) + 20);
    let more = ["--eviction-hard", &hard, "--eviction-monitoring-period", "300ms", "--eviction-pressure-transition-period", "1s"];
    let served = Served::start(&machine, &more);
    until("the removal of the image", || !images(&machine).contains(&spare));
    let events = ["get", "events", "--field-selector", "reason=EvictionThresholdMet", "-o", "jsonpath={.items[*].message}"];
    until("the event", || served.ok(&events) == "Attempting to reclaim ephemeral-storage");
    let pressure = ["get", "nodes", "-o", "jsonpath={.items[0].status.conditions[?(@.type=='DiskPressure')].status}"];
    until("the end of the pressure", || served.ok(&pressure) == "False");
    let after = served.running("bystander");
    assert_eq!(served::container(&after), served::container(&before), "no pod had to go");
    served.ok(&["delete", "pod", "bystander", "--timeout=60s"]);
}

/// Names of what is in a folder.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

// k8s: 5.c.6
#[test]
fn logs_of_pods_that_are_gone_and_of_old_instances_go_and_those_of_others_stay() {
    let test = "logs_of_pods_that_are_gone_and_of_old_instances_go_and_those_of_others_stay";
    if !has_kubectl(test) {
        return;
    }
    let Some(machine) = Machine::new(test) else { return };
    let strange = machine.log_root().join("ns_strange_0000/app");
    fs::create_dir_all(&strange).expect("a folder");
    fs::write(strange.join("0.log"), "of another engine").expect("written");
    let served = Served::calm(&machine, &[&OFTEN[..], &["--gone-pod-logs-max-bytes", "0"]].concat());
    let logs_of = |name: &str| -> PathBuf {
        let wanted = format!("default_{name}_");
        let found = names(&machine.log_root()).into_iter().find(|folder| folder.starts_with(&wanted));
        machine.log_root().join(found.unwrap_or_else(|| "none".to_owned()))
    };

    // It has ended, and the API still has it: its log can be read. When it is gone from there, its log goes.
    served.apply(&pod("done", "echo it is done", "  restartPolicy: Never"));
    served.wait("done", "its end", |pod| pod["status"]["phase"] == "Succeeded");
    served.apply(&pod("again", "echo instance; sleep 0.2; exit 1", ""));
    let restarts = |count: u64| move |pod: &serde_json::Value| served::container(pod)["restartCount"].as_u64() >= Some(count);
    served.wait("again", "a second instance", restarts(1));
    assert_eq!(served.ok(&["logs", "done"]), "it is done\n");
    served.ok(&["delete", "pod", "done", "--timeout=60s"]);
    until("the removal of its logs", || !logs_of("done").exists());
    assert!(metric(&served, "usher_pod_logs_garbage_collected_total") >= 1);

    served.wait("again", "a third instance", restarts(2));
    let files = || names(&logs_of("again").join("app"));
    until("the removal of the first log", || files() == ["1.log", "2.log"]);
    assert_eq!(served.ok(&["logs", "again", "--previous"]), "instance\n");
    served.ok(&["delete", "pod", "again", "--timeout=60s"]);
    until("the removal of its logs", || !logs_of("again").exists());
    assert_eq!(names(&strange), ["0.log"], "what another engine has there is not touched");
}

// k8s: 5.c.6
#[test]
fn of_dead_instances_as_many_logs_are_kept_as_the_flags_say() {
    let test = "of_dead_instances_as_many_logs_are_kept_as_the_flags_say";
    if !has_kubectl(test) {
        return;
    }
    let Some(machine) = Machine::new(test) else { return };
    let started = |flags: &[&str]| Served::calm(&machine, &[&OFTEN[..], &["--gone-pod-logs-max-bytes", "0"], flags].concat());
    let folder_of = |name: &str| -> Option<PathBuf> {
        let wanted = format!("default_{name}_");
        Some(machine.log_root().join(names(&machine.log_root()).into_iter().find(|folder| folder.starts_with(&wanted))?))
    };
    let files = || names(&folder_of("again").expect("its logs").join("app"));
    let restarts = |count: u64| move |pod: &serde_json::Value| served::container(pod)["restartCount"].as_u64() >= Some(count);

    let served = started(&["--maximum-dead-containers-per-container", "0"]);
    served.apply(&pod("again", "echo instance; sleep 0.2; exit 1", ""));
    served.wait("again", "a second instance", restarts(1));
    until("the removal of the first log", || files() == ["1.log"]);
    served.signal(Signal::KILL);

    // None goes that is young: another pod's log shows that there was a collection.
    let served = started(&["--maximum-dead-containers", "0", "--minimum-container-ttl-duration", "1h"]);
    let present = served.wait("again", "a pod", |pod| !pod.is_null());
    let last = served::container(&present)["restartCount"].as_u64().expect("a number");
    served.wait("again", "another instance", restarts(last + 1));
    served.apply(&pod("done", "echo it is done", "  restartPolicy: Never"));
    served.wait("done", "its end", |pod| pod["status"]["phase"] == "Succeeded");
    served.ok(&["delete", "pod", "done", "--timeout=60s"]);
    until("a collection", || folder_of("done").is_none());
    let oldest = format!("{last}.log");
    assert_eq!(files(), [oldest.clone(), format!("{}.log", last + 1)]);
    served.signal(Signal::KILL);

    let served = started(&["--maximum-dead-containers", "0"]);
    until("the removal of that log", || files().first().is_some_and(|first| *first != oldest));
    served.ok(&["delete", "pod", "again", "--timeout=60s"]);
}

#[test]
fn pods_that_have_ended_are_kept_up_to_a_number_and_folders_that_are_left_over_go() {
    let test = "pods_that_have_ended_are_kept_up_to_a_number_and_folders_that_are_left_over_go";
    if !has_kubectl(test) {
        return;
    }
    let Some(machine) = Machine::new(test) else { return };
    let served = Served::calm(&machine, &[&OFTEN[..], &["--terminated-pod-gc-threshold", "2"]].concat());
    served.apply(&pod("alive", "exec tapp run", ""));
    served.running("alive");
    for name in ["a", "b", "c", "d"] {
        served.apply(&pod(name, "exit 0", "  restartPolicy: Never"));
        served.wait(name, "its end", |pod| pod["status"]["phase"] == "Succeeded");
    }
    let list = || served.ok(&["get", "pods", "-o", "jsonpath={.items[*].metadata.name}"]);
    until("the removal of the oldest", || list() == "alive c d");

    // Of a pod that never began, an hour ago; and one that is about to begin.
    let folder = |uid: &str| machine.root().join("pods").join(uid);
    for uid in ["old", "young"] {
        fs::create_dir_all(folder(uid).join("volumes")).expect("a folder");
    }
    assert!(Command::new("touch").args(["-d", "-1 hour"]).arg(folder("old")).status().expect("touch runs").success());
    until("the removal of the old folder", || !folder("old").exists());
    assert!(folder("young").exists(), "it may be about to begin");
    assert_eq!(metric(&served, "usher_pod_folders_garbage_collected_total"), 1);
    fs::remove_dir_all(folder("young")).expect("removed");
    served.ok(&["delete", "pods", "--all", "--timeout=60s"]);
}
