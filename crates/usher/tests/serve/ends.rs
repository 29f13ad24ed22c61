//! Ends that no daemon sees, stops in which it dies, and deletions that are in a hurry.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use k8s_openapi::jiff::Timestamp;
use rustix::process::Signal;
use serde_json::Value;

use crate::support::{Machine, PATIENCE, kubectl};
use crate::{Served, await_pod, machine};

/// Asks until it is so; nothing is awaited but the answer.
#[track_caller]
fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} does not come");
        std::thread::yield_now();
    }
}

/// The wall clock.
fn wall_secs() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
    i64::try_from(since.as_secs()).expect("not that long after")
}

/// A folder of the machine that containers have as `/signs`.
fn signs(machine: &Machine) -> PathBuf {
    let folder = machine.path().join("signs");
    fs::create_dir_all(&folder).expect("made");
    folder
}

/// A pod whose one container runs this script, with more fields of the pod and of the container.
fn pod(machine: &Machine, script: &str, of_pod: &str, of_container: &str) -> String {
    format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: web}}
spec:
  volumes: [{{name: signs, hostPath: {{path: {}}}}}]
{of_pod}
  containers:
  - name: app
    image: tapp:1
    imagePullPolicy: Never
    volumeMounts: [{{name: signs, mountPath: /signs}}]
    command: [sh, -c, '{script}']
{of_container}
",
        signs(machine).display()
    )
}

fn start(served: &Served<'_>, manifest: &str) -> Value {
    let file = served.machine.file("pod.yaml", manifest);
    served.ok(&["apply", "-f", file.to_str().expect("text")]);
    await_pod(served, "a running container", |pod| !status(pod)["state"]["running"].is_null())
}

fn status(pod: &Value) -> &Value {
    &pod["status"]["containerStatuses"][0]
}

/// Records of the ends of a pod's containers.
fn exits(machine: &Machine, pod: &Value) -> Vec<PathBuf> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            match (path.file_name().and_then(|name| name.to_str()), entry.file_type().is_ok_and(|kind| kind.is_dir())) {
                // What is mounted in it is not the shim's; and hooks end, too.
                (Some("execs" | "volumes"), _) => {}
                (Some("exit.json"), _) => found.push(path),
                (_, true) => walk(&path, found),
                (..) => {}
            }
        }
    }
    let mut found = Vec::new();
    let uid = pod["metadata"]["uid"].as_str().expect("a uid");
    let shims = fs::read_dir(machine.root().join("pods").join(uid)).into_iter().flatten().flatten();
    for shim in shims.filter(|entry| entry.file_name().to_string_lossy().starts_with("shim")) {
        walk(&shim.path(), &mut found);
    }
    found
}

// k8s: 8.d.1
#[test]
fn exits_while_no_daemon_lives_have_their_true_codes_and_times() {
    let Some(machine) = machine("exits_while_no_daemon_lives_have_their_true_codes_and_times") else { return };
    let mut served = Served::start(&machine);
    for (policy, code) in [("Never", 7), ("OnFailure", 9), ("Never", 0)] {
        let go = signs(&machine).join("go");
        let script = format!("until [ -e /signs/go ]; do sleep 0.05; done; exit {code}");
        let pod = start(&served, &pod(&machine, &script, &format!("  restartPolicy: {policy}\n  terminationGracePeriodSeconds: 1"), ""));
        let id = status(&pod)["containerID"].clone();
        served.signal(Signal::KILL);

        let begun = wall_secs();
        fs::write(&go, "").expect("written");
        until("the end", || exits(&machine, &pod).pop());
        let ended = wall_secs();
        // Whoever took the time of the adoption would be seen: times are shown in seconds.
        until("another second", || (wall_secs() > ended + 1).then_some(()));
        fs::remove_file(&go).expect("removed");

        served = Served::start(&machine);
        let terminated = |pod: &Value| [&status(pod)["state"], &status(pod)["lastState"]].map(|state| state["terminated"].clone());
        let found = await_pod(&served, "the exit", |pod| terminated(pod).iter().any(|state| state["containerID"] == id));
        let exit = terminated(&found).into_iter().find(|state| state["containerID"] == id).expect("found");
        assert_eq!(exit["exitCode"], code, "{exit}");
        assert_eq!(exit["reason"], if code == 0 { "Completed" } else { "Error" }, "{exit}");
        let finished: Timestamp = exit["finishedAt"].as_str().and_then(|text| text.parse().ok()).expect("a time");
        assert!((begun..=ended).contains(&finished.as_second()), "{exit}, and it ended from {begun} to {ended}");
        served.ok(&["delete", "pod", "web", "--timeout=60s"]);
    }
}

/// Seconds of grace of a pod whose hook takes two of them, and which does not end by itself.
const GRACE_SECS: f64 = 6.0;
const HOOK_SECS: f64 = 2.0;
/// How much later than it should the kill may be seen, on a machine that has other work; a grace that began anew would be later by
/// the hook's time.
const LATE_SECS: f64 = 1.8;

#[test]
fn a_stop_ends_with_its_grace_whether_or_not_a_daemon_comes_back() {
    let Some(machine) = machine("a_stop_ends_with_its_grace_whether_or_not_a_daemon_comes_back") else { return };
    let mut served = Served::start(&machine);
    for comes_back in [true, false] {
        let told = signs(&machine).join("told");
        let script = "trap \"touch /signs/told\" TERM; while true; do sleep 0.1; done";
        let hook = format!("    lifecycle: {{preStop: {{exec: {{command: [sleep, \"{HOOK_SECS}\"]}}}}}}");
        let pod = start(&served, &pod(&machine, script, &format!("  terminationGracePeriodSeconds: {GRACE_SECS}"), &hook));
        served.ok(&["delete", "pod", "web", "--wait=false"]);
        until("the stop signal, after the hook", || told.exists().then_some(()));
        let signalled = Instant::now();
        served.signal(Signal::KILL);
        if comes_back {
            served = Served::start(&machine);
        }
        // With an engine, the record is gone soon after it was written, with the pod.
        let folder = machine.root().join("pods").join(pod["metadata"]["uid"].as_str().expect("a uid"));
        until("the end", || (!exits(&machine, &pod).is_empty() || !folder.exists()).then_some(()));
        let took = signalled.elapsed().as_secs_f64();
        let left = GRACE_SECS - HOOK_SECS;
        assert!((left - 0.5..left + LATE_SECS).contains(&took), "the kill came {took:.1} s after the signal; back: {comes_back}");
        if !comes_back {
            served = Served::start(&machine);
        }
        until("the end of the pod", || served.ok(&["get", "pods", "-o", "name"]).is_empty().then_some(()));
        fs::remove_file(&told).expect("removed");
    }
    let events = served.ok(&["get", "events", "-o", "jsonpath={range .items[*]}{.reason} {end}"]);
    assert!(!events.contains("FailedPreStopHook"), "{events}");
}

/// Control groups of a pod.
fn groups(pod: &Value) -> Vec<PathBuf> {
    let uid = pod["metadata"]["uid"].as_str().expect("a uid");
    let roots = fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten().map(|entry| entry.path());
    let groups = roots.chain([PathBuf::from("/sys/fs/cgroup")]).map(|root| root.join("usher").join(format!("pod{uid}")));
    groups.filter(|group| group.exists()).collect()
}

/// A grace that no deletion of these tests waits for.
const LONG_GRACE: &str = "  terminationGracePeriodSeconds: 600";

// k8s: 3.a.5, 3.a.6
#[test]
fn a_container_that_ignores_its_stop_is_gone_soon_when_kubectl_is_in_a_hurry() {
    let Some(machine) = machine("a_container_that_ignores_its_stop_is_gone_soon_when_kubectl_is_in_a_hurry") else { return };
    let served = Served::start(&machine);
    let old = std::env::var("KUBECTL_OLD").ok();
    for kubectl in [Some(kubectl().to_owned()), old].into_iter().flatten() {
        for hurry in [&["--grace-period=1"][..], &["--now"], &["--force", "--grace-period=0"]] {
            let script = "trap \"\" TERM; while true; do sleep 0.1; done";
            let pod = start(&served, &pod(&machine, script, LONG_GRACE, ""));
            assert!(!groups(&pod).is_empty(), "it has a control group");
            let deleted = served.command(&kubectl, &[&["delete", "pod", "web", "--timeout=60s"][..], hurry].concat()).output();
            let deleted = deleted.expect("kubectl runs");
            assert!(deleted.status.success(), "{kubectl} {hurry:?}: {deleted:?}");
            assert_eq!(served.ok(&["get", "pods", "-o", "name"]), "", "{kubectl} {hurry:?}");
            // With force, the API forgets the pod before the node has ended it.
            until("the end of the shim", || machine.shims().is_empty().then_some(()));
            until("the end of the control group", || groups(&pod).is_empty().then_some(()));
        }
    }
    // It is the same when the deletion that waits is overtaken by one that does not.
    let pod = start(&served, &pod(&machine, "trap \"touch /signs/told\" TERM; while true; do sleep 0.1; done", LONG_GRACE, ""));
    served.ok(&["delete", "pod", "web", "--wait=false"]);
    until("the stop signal", || signs(&machine).join("told").exists().then_some(()));
    served.ok(&["delete", "pod", "web", "--now", "--timeout=60s"]);
    until("the end of the shim", || machine.shims().is_empty().then_some(()));
    until("the end of the control group", || groups(&pod).is_empty().then_some(()));
}
