//! Init containers and sidecars: what starts when, what stops when.

use serde_json::Value;

use super::support::{Ended, Machine};
use super::{has_line, is_action, is_action_of, is_event, line_of, pod, status_of};

fn position(ended: &Ended, wanted: impl Fn(&Value) -> bool) -> usize {
    ended.entries.iter().position(wanted).unwrap_or_else(|| panic!("an entry is missing: {}", ended.story()))
}

fn exited(entry: &Value, ended: &Ended, container: &str) -> bool {
    let is_exit = entry["event"]["event"] == "ContainerExited";
    is_exit
        && ended.entries.iter().any(|start| {
            is_action_of(start, "StartContainer", container) && start["action"]["action"]["containerId"] == entry["event"]["containerId"]
        })
}

// k8s: 6.a.1, 6.a.12, 6.a.15
#[test]
fn init_containers_run_one_after_the_other_before_the_others() {
    let Some(machine) = Machine::new("init_containers_run_one_after_the_other_before_the_others") else { return };
    let manifest = pod(
        "ordered",
        r#"restartPolicy: Never
initContainers:
- {name: first, image: "tapp:1", imagePullPolicy: Never, command: [sh, -c, "sleep 0.5; echo first ends"]}
- {name: second, image: "tapp:1", imagePullPolicy: Never, command: [sh, -c, "echo second begins"]}
containers:
- {name: app, image: "tapp:1", imagePullPolicy: Never, command: [sh, -c, "echo app begins"]}"#,
    );
    let ended = machine.run(&manifest, &[]).end();
    assert_eq!(ended.code, Some(0), "{}", ended.story());
    assert!(line_of(&ended, "first ends") < line_of(&ended, "second begins"), "{}", ended.story());
    assert!(line_of(&ended, "second begins") < line_of(&ended, "app begins"), "{}", ended.story());
    let waiting = ended.find(|entry| status_of(entry, "app").is_some()).expect("a status");
    assert_eq!(status_of(waiting, "app").expect("a status")["state"]["reason"], "PodInitializing");
}

// k8s: 6.a.9, 6.a.10, 5.a.8, 8.a.2
#[test]
fn a_failed_init_container_is_tried_again_or_ends_the_pod() {
    let Some(machine) = Machine::new("a_failed_init_container_is_tried_again_or_ends_the_pod") else { return };
    let containers = |policy: &str| {
        format!(
            r#"restartPolicy: {policy}
initContainers:
- {{name: setup, image: "tapp:1", imagePullPolicy: Never, command: [sh, -c, "test -e /data/tried && exit 0; touch /data/tried; exit 4"], volumeMounts: [{{name: data, mountPath: /data}}]}}
containers:
- {{name: app, image: "tapp:1", imagePullPolicy: Never, command: [sh, -c, "echo app begins"]}}
volumes: [{{name: data, emptyDir: {{}}}}]"#
        )
    };
    let again = machine.run(&pod("again", &containers("OnFailure")), &[]).end();
    assert_eq!(again.code, Some(0), "{}", again.story());
    assert_eq!(again.status()["initContainerStatuses"][0]["restartCount"], 1, "{}", again.story());
    assert!(has_line(&again, "app begins"), "{}", again.story());
    let never = machine.run(&pod("never", &containers("Never")), &[]).end();
    assert_eq!(never.code, Some(1), "{}", never.story());
    assert_eq!(
        (&never.status()["phase"], &never.status()["initContainerStatuses"][0]["state"]["exit"]["code"]),
        (&"Failed".into(), &4.into())
    );
    assert!(!has_line(&never, "app begins"), "{}", never.story());
}

// k8s: 6.b.1, 6.b.2, 2.d.5
#[test]
fn what_comes_after_a_sidecar_waits_for_its_post_start_hook_and_its_startup_probe() {
    let name = "what_comes_after_a_sidecar_waits_for_its_post_start_hook_and_its_startup_probe";
    let Some(machine) = Machine::new(name) else { return };
    let manifest = pod(
        "gated",
        r#"restartPolicy: Never
terminationGracePeriodSeconds: 3
initContainers:
- name: hooked
  image: tapp:1
  imagePullPolicy: Never
  restartPolicy: Always
  command: [tapp, run]
  lifecycle: {postStart: {exec: {command: [sh, -c, "sleep 1; tapp say hook over"]}}}
- {name: between, image: "tapp:1", imagePullPolicy: Never, command: [sh, -c, "echo between"]}
- name: probed
  image: tapp:1
  imagePullPolicy: Never
  restartPolicy: Always
  command: [sh, -c, "(sleep 1.5; echo up; touch /tmp/up) & exec tapp run"]
  startupProbe: {exec: {command: [test, -e, /tmp/up]}, periodSeconds: 1, failureThreshold: 30}
containers:
- {name: app, image: "tapp:1", imagePullPolicy: Never, command: [sh, -c, "echo app begins"]}"#,
    );
    let ended = machine.run(&manifest, &[]).end();
    assert_eq!(ended.code, Some(0), "{}", ended.story());
    assert!(line_of(&ended, "hook over") < line_of(&ended, "between"), "{}", ended.story());
    assert!(line_of(&ended, "up") < line_of(&ended, "app begins"), "{}", ended.story());
    let started = position(&ended, |entry| status_of(entry, "probed").is_some_and(|status| status["started"] == true));
    assert!(started < position(&ended, |entry| is_action_of(entry, "CreateContainer", "app")), "{}", ended.story());
}

// k8s: 6.c.2, 6.c.4, 4.a.15, 6.c.11
#[test]
fn sidecars_stop_in_reverse_order_after_the_work_is_done_and_do_not_hold_up_its_success() {
    let name = "sidecars_stop_in_reverse_order_after_the_work_is_done_and_do_not_hold_up_its_success";
    let Some(machine) = Machine::new(name) else { return };
    let sidecar = |name: &str| {
        format!(
            r#"- name: {name}
  image: tapp:1
  imagePullPolicy: Never
  restartPolicy: Always
  env: [{{name: TAPP, value: {name}}}]
  command: [tapp, run, --term-delay, "300", --term-code, "5"]
  lifecycle: {{preStop: {{exec: {{command: [tapp, say, preStop]}}}}}}
"#
        )
    };
    let manifest = pod(
        "job-like",
        &format!(
            "restartPolicy: Never\nterminationGracePeriodSeconds: 10\ninitContainers:\n{}{}containers:\n- {{name: app, image: \"tapp:1\", imagePullPolicy: Never, command: [sh, -c, 'echo work; sleep 0.5']}}",
            sidecar("s1"),
            sidecar("s2"),
        ),
    );
    let ended = machine.run(&manifest, &[]).end();
    assert_eq!(ended.code, Some(0), "exit codes of sidecars do not count: {}", ended.story());
    assert_eq!(ended.status()["phase"], "Succeeded", "{}", ended.story());
    assert_eq!(ended.status()["initContainerStatuses"][0]["state"]["exit"]["code"], 5, "{}", ended.story());
    let stop = |container: &str| position(&ended, |entry| is_action_of(entry, "StopContainer", container));
    let exit = |container: &str| position(&ended, |entry| exited(entry, &ended, container));
    let hook = |container: &str| position(&ended, |entry| is_action_of(entry, "RunHook", container));
    assert!(exit("app") < stop("s2") && exit("s2") < stop("s1"), "{}", ended.story());
    assert!(hook("s1") < stop("s2"), "hooks run side by side: {}", ended.story());
    assert!(line_of(&ended, "s2 pid=1 main: signal") < line_of(&ended, "s1 pid=1 main: signal"), "{}", ended.story());
}

// k8s: 6.c.3, 6.c.7, 6.c.8, 3.b.11
#[test]
fn when_the_app_uses_up_the_grace_sidecars_get_two_seconds() {
    let Some(machine) = Machine::new("when_the_app_uses_up_the_grace_sidecars_get_two_seconds") else { return };
    let manifest = pod(
        "greedy",
        r#"terminationGracePeriodSeconds: 3
initContainers:
- {name: side, image: "tapp:1", imagePullPolicy: Never, restartPolicy: Always, command: [tapp, run, --ignore-term]}
containers:
- {name: app, image: "tapp:1", imagePullPolicy: Never, command: [tapp, run, --ignore-term]}"#,
    );
    let mut running = machine.run(&manifest, &[]);
    running.wait_running("app");
    running.interrupt();
    let ended = running.end();
    let asked = ended.find(|entry| entry["kill"].is_object()).expect("the delete");
    let app_killed = ended.find(|entry| is_action_of(entry, "KillContainer", "app")).expect("the app was killed");
    let side_signalled = ended.find(|entry| is_action_of(entry, "StopContainer", "side")).expect("the sidecar was asked");
    let side_killed = ended.find(|entry| is_action_of(entry, "KillContainer", "side")).expect("the sidecar was killed");
    let at = |entry: &Value| ended.seconds_between(asked, entry);
    assert!((3.0..3.9).contains(&at(app_killed)), "{}", ended.story());
    assert!((2.9..3.9).contains(&at(side_signalled)), "{}", ended.story());
    assert!((4.9..6.0).contains(&at(side_killed)), "never longer than grace and 2 s: {}", ended.story());
}

// k8s: 6.b.6, 5.a.10
#[test]
fn a_sidecar_that_ends_is_started_again_whatever_its_exit_code() {
    let Some(machine) = Machine::new("a_sidecar_that_ends_is_started_again_whatever_its_exit_code") else { return };
    let manifest = pod(
        "revived",
        r#"restartPolicy: Never
terminationGracePeriodSeconds: 2
initContainers:
- {name: side, image: "tapp:1", imagePullPolicy: Never, restartPolicy: Always, command: [tapp, run, --exit-after, "500"]}
containers:
- {name: app, image: "tapp:1", imagePullPolicy: Never, command: [tapp, run]}"#,
    );
    let mut running = machine.run(&manifest, &[]);
    running.wait_for("another instance", |entry| status_of(entry, "side").is_some_and(|status| status["restartCount"] == 1));
    running.interrupt();
    let ended = running.end();
    assert_eq!(ended.code, Some(0), "{}", ended.story());
    assert_eq!(ended.status()["containerStatuses"][0]["restartCount"], 0, "{}", ended.story());
}

// k8s: 4.a.7, 6.b.4
#[test]
fn a_sidecar_that_fails_its_liveness_probe_is_restarted_alone() {
    let Some(machine) = Machine::new("a_sidecar_that_fails_its_liveness_probe_is_restarted_alone") else { return };
    let manifest = pod(
        "sick-side",
        r#"terminationGracePeriodSeconds: 2
initContainers:
- {name: side, image: "tapp:1", imagePullPolicy: Never, restartPolicy: Always, command: [tapp, run], livenessProbe: {exec: {command: ["false"]}, periodSeconds: 1, failureThreshold: 1, initialDelaySeconds: 1}}
containers:
- {name: app, image: "tapp:1", imagePullPolicy: Never, command: [tapp, run]}"#,
    );
    let mut running = machine.run(&manifest, &[]);
    running.wait_for("the kill", |entry| is_event(entry, "Killing: Init container side failed liveness probe"));
    running.wait_for("another instance", |entry| status_of(entry, "side").is_some_and(|status| status["restartCount"] == 1));
    running.interrupt();
    let ended = running.end();
    assert_eq!(ended.status()["containerStatuses"][0]["restartCount"], 0, "{}", ended.story());
    assert!(ended.find(|entry| is_action(entry, "KillContainer")).is_none(), "{}", ended.story());
}
