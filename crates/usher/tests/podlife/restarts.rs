//! Who is started again: policies and rules of containers, rules for the whole pod, and the pod's deadline.

use super::support::Machine;
use super::{has_line, is_action, is_event, pod, status_of};

// k8s: 5.a.2, 5.a.4, 5.b.2, 6.d.9
#[test]
fn rules_of_a_container_restart_it_by_exit_code_in_a_pod_that_never_restarts() {
    let Some(machine) = Machine::new("rules_of_a_container_restart_it_by_exit_code_in_a_pod_that_never_restarts") else { return };
    let manifest = pod(
        "ruled",
        r#"restartPolicy: Never
containers:
- name: app
  image: tapp:1
  imagePullPolicy: Never
  restartPolicy: Never
  restartPolicyRules: [{action: Restart, exitCodes: {operator: In, values: [42]}}]
  command: [sh, -c, "test -e /data/tried && exit 7; touch /data/tried; exit 42"]
  volumeMounts: [{name: data, mountPath: /data}]
volumes: [{name: data, emptyDir: {}}]"#,
    );
    let ended = machine.run(&manifest, &[]).end();
    let status = &ended.status()["containerStatuses"][0];
    assert_eq!(ended.code, Some(1), "{}", ended.story());
    assert_eq!((&status["restartCount"], &status["state"]["exit"]["code"]), (&1.into(), &7.into()), "{}", ended.story());
    assert_eq!(status["lastState"]["exit"]["code"], 42, "{}", ended.story());
    let conditions = ended.status()["conditions"].as_array().expect("conditions");
    assert!(conditions.iter().all(|condition| condition["kind"] != "AllContainersRestarting"), "no rule asks for it: {conditions:?}");
}

// k8s: 5.a.2, 5.a.3
#[test]
fn a_containers_own_policy_goes_before_that_of_its_pod() {
    let Some(machine) = Machine::new("a_containers_own_policy_goes_before_that_of_its_pod") else { return };
    let manifest = pod(
        "own-policy",
        r#"restartPolicy: Always
containers:
- {name: once, image: "tapp:1", imagePullPolicy: Never, restartPolicy: Never, command: [sh, -c, "exit 3"]}
- {name: works, image: "tapp:1", imagePullPolicy: Never, restartPolicy: OnFailure, command: [sh, -c, "sleep 0.5; exit 0"]}"#,
    );
    let ended = machine.run(&manifest, &[]).end();
    assert_eq!(ended.code, Some(1), "{}", ended.story());
    let counts = ended.status()["containerStatuses"].as_array().expect("statuses").iter().map(|status| status["restartCount"].clone());
    assert_eq!(counts.collect::<Vec<_>>(), [0, 0], "{}", ended.story());
}

// k8s: 6.d.1, 6.d.2, 6.d.3, 6.d.5, 6.d.6, 6.d.7, 6.d.8, 6.d.10, 4.b.1
#[test]
fn a_rule_restarts_all_containers_in_place_from_the_first_init_container() {
    let Some(machine) = Machine::new("a_rule_restarts_all_containers_in_place_from_the_first_init_container") else { return };
    let manifest = pod(
        "all-again",
        r#"restartPolicy: Never
terminationGracePeriodSeconds: 5
initContainers:
- {name: setup, image: "tapp:1", imagePullPolicy: Never, command: [sh, -c, "echo setup runs"]}
containers:
- name: trigger
  image: tapp:1
  imagePullPolicy: Never
  restartPolicy: Never
  restartPolicyRules: [{action: RestartAllContainers, exitCodes: {operator: In, values: [88]}}]
  command: [sh, -c, "test -e /data/tried && exit 0; sleep 1; touch /data/tried; exit 88"]
  volumeMounts: [{name: data, mountPath: /data}]
- name: other
  image: tapp:1
  imagePullPolicy: Never
  command: [sh, -c, "test -e /data/tried && exit 0; exec tapp run"]
  lifecycle: {preStop: {exec: {command: [tapp, say, preStop]}}}
  volumeMounts: [{name: data, mountPath: /data}]
volumes: [{name: data, emptyDir: {}}]"#,
    );
    let ended = machine.run(&manifest, &[]).end();
    assert_eq!(ended.code, Some(0), "{}", ended.story());
    let setups = ended.output().iter().filter(|line| line.contains("setup runs")).count();
    assert_eq!(setups, 2, "init containers run again: {}", ended.story());
    assert!(!has_line(&ended, "hook: preStop"), "no preStop: {}", ended.story());
    assert!(ended.find(|entry| is_event(entry, "Killing: killing")).is_some(), "{}", ended.story());
    assert_eq!(ended.entries.iter().filter(|entry| is_action(entry, "CreateSandbox")).count(), 1, "the sandbox stays: {}", ended.story());
    let removed = ended
        .find(|entry| status_of(entry, "other").is_some_and(|status| status["state"]["reason"] == "RestartingAllContainers"))
        .expect("the restart shows");
    let conditions = removed["status"]["conditions"].as_array().expect("conditions");
    let condition = conditions.iter().find(|condition| condition["kind"] == "AllContainersRestarting").expect("the condition");
    assert_eq!((&condition["is_true"], &condition["reason"]), (&true.into(), &"RestartAllContainersStarted".into()));
    let initialized = conditions.iter().find(|condition| condition["kind"] == "Initialized").expect("the condition");
    assert_eq!((&initialized["is_true"], &removed["status"]["phase"]), (&true.into(), &"Running".into()), "{removed}");
    for status in ended.status()["containerStatuses"].as_array().expect("statuses") {
        assert_eq!(status["restartCount"], 1, "{}", ended.story());
    }
}

// k8s: 1.f.1, 8.a.14, 4.a.17, 10.d.11
#[test]
fn a_pod_over_its_deadline_is_stopped_with_hooks_and_says_so() {
    let Some(machine) = Machine::new("a_pod_over_its_deadline_is_stopped_with_hooks_and_says_so") else { return };
    let manifest = pod(
        "late",
        r#"activeDeadlineSeconds: 2
terminationGracePeriodSeconds: 5
containers:
- name: app
  image: tapp:1
  imagePullPolicy: Never
  command: [tapp, run]
  lifecycle: {preStop: {exec: {command: [tapp, say, preStop]}}}"#,
    );
    let ended = machine.run(&manifest, &[]).end();
    assert_eq!(ended.code, Some(3), "{}", ended.story());
    assert!(has_line(&ended, "hook: preStop"), "{}", ended.story());
    let status = ended.status();
    let message = "Pod was active on the node longer than the specified deadline";
    assert_eq!((&status["phase"], &status["reason"], &status["message"]), (&"Failed".into(), &"DeadlineExceeded".into(), &message.into()));
    assert!(ended.events().contains(&format!("DeadlineExceeded: {message}")), "{}", ended.story());
}
