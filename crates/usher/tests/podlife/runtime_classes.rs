//! Pods whose containers another OCI runtime makes: what usher promises of its own holds for them too.

use std::path::Path;

use serde_json::Value;

use super::support::{Machine, Running};
use super::{has_line, is_event, is_turn, pod, status_of};

/// Where Debian's packages have them.
const RUNC: &str = "/usr/sbin/runc";
const CRUN: &str = "/usr/bin/crun";

/// A machine, if it has runc.
fn machine(test: &str) -> Option<Machine> {
    machine_with(test, RUNC)
}

/// A machine, if it has this runtime, and if that works on it.
fn machine_with(test: &str, program: &str) -> Option<Machine> {
    let has_both_versions = Path::new("/sys/fs/cgroup/unified/cgroup.procs").exists();
    let reason = if !Path::new(program).exists() {
        Some(format!("there is no {program}; apt-get install {}", program.rsplit('/').next().unwrap_or(program)))
    } else if program == CRUN && has_both_versions {
        Some("crun refuses machines with both versions of control groups".to_owned())
    } else {
        None
    };
    if let Some(reason) = reason {
        #[expect(clippy::print_stderr, reason = "tests say why they skip")]
        {
            eprintln!("SKIP {test}: {reason}");
        }
        return None;
    }
    Machine::new(test)
}

fn with_runc(machine: &Machine, manifest: &str) -> Running {
    machine.run(manifest, &["--runtime-handler", &format!("runc={RUNC}")])
}

/// Whether a container of the machine is one of runc's: it keeps a state of each.
fn is_known_to_runc(machine: &Machine, id: &str) -> bool {
    let pods = std::fs::read_dir(machine.root().join("pods")).expect("pods");
    pods.flatten().any(|pod| pod.path().join("containers").join(id).join("oci/state").join(id).join("state.json").exists())
}

#[test]
fn hooks_probes_logs_and_exit_codes_of_a_container_that_runc_makes_are_as_ever() {
    let Some(machine) = machine("hooks_probes_logs_and_exit_codes_of_a_container_that_runc_makes_are_as_ever") else { return };
    let manifest = pod(
        "by-runc",
        r#"runtimeClassName: runc
restartPolicy: Never
terminationGracePeriodSeconds: 20
hostname: box
containers:
- name: app
  image: tapp:1
  imagePullPolicy: Never
  env: [{name: COLOUR, value: green}]
  command: [sh, -c, "trap 'echo got TERM; exit 7' TERM; echo $COLOUR $(hostname) $(cat /data/pid 2>/dev/null || echo new); echo oops >&2; while true; do sleep 0.1; done"]
  readinessProbe: {exec: {command: [sh, -c, "test -e /tmp/ready"]}, periodSeconds: 1}
  lifecycle:
    postStart: {exec: {command: [sh, -c, "echo after the start; touch /tmp/ready"]}}
    preStop: {exec: {command: [sh, -c, "echo before the stop"]}}
  volumeMounts: [{name: data, mountPath: /data}]
  resources: {limits: {memory: 64Mi, cpu: 500m}}
volumes: [{name: data, emptyDir: {}}]"#,
    );
    let mut running = with_runc(&machine, &manifest);
    let turned = running.wait_for("readiness", |entry| is_turn(entry, "app", "Readiness", true));
    let seen = running.seen.iter().rev().find(|entry| entry["status"].is_object()).cloned();
    let status = seen.unwrap_or(turned);
    let id = status["status"]["containerStatuses"][0]["containerId"].as_str().expect("an id").to_owned();
    assert!(is_known_to_runc(&machine, &id), "runc has no state of {id}");
    running.interrupt();
    let ended = running.end();
    assert_eq!(ended.code, Some(1), "it ended by itself, with a code that is not 0: {}", ended.story());
    for line in ["green box new", "oops", "got TERM"] {
        assert!(ended.output().iter().any(|told| told == line), "{line}: {}", ended.story());
    }
    assert_eq!(ended.hook_output(), ["after the start", "before the stop"], "{}", ended.story());
    assert_eq!(ended.status()["containerStatuses"][0]["state"]["exit"]["code"], 7, "{}", ended.story());
}

#[test]
fn a_container_that_runc_makes_is_restarted_and_its_memory_is_watched() {
    let Some(machine) = machine("a_container_that_runc_makes_is_restarted_and_its_memory_is_watched") else { return };
    let manifest = pod(
        "hungry",
        r#"runtimeClassName: runc
restartPolicy: OnFailure
containers:
- name: again
  image: tapp:1
  imagePullPolicy: Never
  command: [sh, -c, "test -e /data/tried && exit 0; touch /data/tried; exit 42"]
  volumeMounts: [{name: data, mountPath: /data}]
- name: hungry
  image: tapp:1
  imagePullPolicy: Never
  restartPolicy: Never
  command: [tail, -c, "200000000", /dev/zero]
  resources: {limits: {memory: 32Mi}}
volumes: [{name: data, emptyDir: {}}]"#,
    );
    let ended = with_runc(&machine, &manifest).end();
    let statuses = &ended.status()["containerStatuses"];
    assert_eq!((&statuses[0]["restartCount"], &statuses[0]["lastState"]["exit"]["code"]), (&1.into(), &42.into()), "{}", ended.story());
    let exit = &statuses[1]["state"]["exit"];
    assert_eq!((&exit["reason"], &exit["code"]), (&"OOMKilled".into(), &137.into()), "{}", ended.story());
}

// k8s: 2.c.12, 8.d.2
#[test]
fn a_command_that_is_not_there_is_told_in_the_same_words() {
    let Some(machine) = machine("a_command_that_is_not_there_is_told_in_the_same_words") else { return };
    let spec = "restartPolicy: Never\ncontainers:\n- {name: app, image: \"tapp:1\", imagePullPolicy: Never, command: [/no/such]}";
    let message = |class: &str| {
        let ended = with_runc(&machine, &pod("missing", &format!("{class}{spec}"))).end();
        let exit = ended.status()["containerStatuses"][0]["state"]["exit"].clone();
        assert_eq!((&exit["reason"], &exit["code"]), (&"StartError".into(), &128.into()), "{}", ended.story());
        let text = exit["message"].as_str().unwrap_or_default().to_owned();
        text.split_once(": OCI runtime").map(|(_, rest)| rest.to_owned()).unwrap_or(text)
    };
    assert_eq!(message("runtimeClassName: runc\n"), message(""));
}

// k8s: 2.b.9
#[test]
fn a_handler_that_is_not_configured_keeps_the_pod_waiting_and_is_named() {
    let Some(machine) = machine("a_handler_that_is_not_configured_keeps_the_pod_waiting_and_is_named") else { return };
    let spec = "runtimeClassName: other\ncontainers:\n- {name: app, image: \"tapp:1\", imagePullPolicy: Never}";
    let mut running = with_runc(&machine, &pod("lost", spec));
    let text =
        "FailedCreatePodSandBox: Failed to create pod sandbox: failed to get sandbox runtime: no runtime for \"other\" is configured";
    running.wait_for("the event", |entry| is_event(entry, text));
    running.interrupt();
    assert_eq!(running.end().code, Some(4), "it never started");
}

#[test]
fn a_class_of_the_same_file_names_its_handler_and_what_its_pods_cost() {
    let Some(machine) = machine("a_class_of_the_same_file_names_its_handler_and_what_its_pods_cost") else { return };
    let class = "apiVersion: node.k8s.io/v1\nkind: RuntimeClass\nmetadata: {name: special}\nhandler: runc\noverhead: {podFixed: {cpu: 250m, memory: 16Mi}}\n";
    let spec = "runtimeClassName: special\nrestartPolicy: Never\ncontainers:\n- name: app\n  image: tapp:1\n  imagePullPolicy: Never\n  \
                command: [sh, -c, \"echo here\"]\n  resources: {limits: {cpu: 500m, memory: 16Mi}}";
    let ended = with_runc(&machine, &format!("{class}---\n{}", pod("special", spec))).end();
    assert_eq!(ended.code, Some(0), "{}", ended.story());
    assert!(has_line(&ended, "here"), "{}", ended.story());
}

/// Containers whose liveness or startup probe fails, by a command and by HTTP; each is asked to stop with its hook.
const SICK: &str = r#"runtimeClassName: other
terminationGracePeriodSeconds: 20
containers:
- name: alive-exec
  image: tapp:1
  imagePullPolicy: Never
  command: [sh, -c, "trap 'exit 0' TERM; touch /tmp/well; sleep 2; rm /tmp/well; while true; do sleep 0.1; done"]
  livenessProbe: {exec: {command: [sh, -c, "test -e /tmp/well || { echo not well; exit 7; }"]}, periodSeconds: 1, failureThreshold: 1}
  lifecycle: {preStop: {exec: {command: [sh, -c, "echo stop alive-exec $(cat /proc/1/comm)"]}}}
- name: alive-http
  image: tapp:1
  imagePullPolicy: Never
  command: [tapp, run, --http, "8081", --fail-after, "2500"]
  livenessProbe: {httpGet: {path: /healthz, port: 8081}, periodSeconds: 1, failureThreshold: 2}
  lifecycle: {preStop: {exec: {command: [sh, -c, "echo stop alive-http $(cat /proc/1/comm)"]}}}
- name: start-exec
  image: tapp:1
  imagePullPolicy: Never
  command: [tapp, run]
  startupProbe: {exec: {command: [sleep, "100"]}, timeoutSeconds: 1, periodSeconds: 1, failureThreshold: 2}
  lifecycle: {preStop: {exec: {command: [sh, -c, "echo stop start-exec $(cat /proc/1/comm)"]}}}
- name: start-http
  image: tapp:1
  imagePullPolicy: Never
  command: [tapp, run, --http, "8082"]
  startupProbe: {httpGet: {path: /status/503, port: 8082}, periodSeconds: 1, failureThreshold: 2}
  lifecycle: {preStop: {exec: {command: [sh, -c, "echo stop start-http $(cat /proc/1/comm)"]}}}"#;

fn probes_restart_containers_of(machine: &Machine, program: &str) {
    let mut running = machine.run(&pod("sick", SICK), &["--runtime-handler", &format!("other={program}")]);
    let containers = ["alive-exec", "alive-http", "start-exec", "start-http"];
    let restarted = |entry: &Value| {
        containers.iter().all(|name| status_of(entry, name).is_some_and(|status| status["restartCount"].as_u64() >= Some(1)))
    };
    running.wait_for("a second start of each", restarted);
    running.interrupt();
    let ended = running.end();
    let events = ended.events();
    for (name, probe, failure) in [
        ("alive-exec", "liveness", "Unhealthy: Liveness probe failed: not well\n"),
        ("alive-http", "liveness", "Unhealthy: Liveness probe failed: HTTP probe failed with statuscode: 500"),
        ("start-exec", "startup", "Unhealthy: Startup probe failed: command timed out: \"sleep 100\" timed out after 1s"),
        ("start-http", "startup", "Unhealthy: Startup probe failed: HTTP probe failed with statuscode: 503"),
    ] {
        assert!(events.iter().any(|event| event == failure), "{failure}: {events:#?}");
        let killing = format!("Killing: Container {name} failed {probe} probe, will be restarted");
        assert!(events.contains(&killing), "{killing}: {events:#?}");
        let hook = ended.hook_output().into_iter().find(|line| line.starts_with(&format!("stop {name} ")));
        let hook = hook.unwrap_or_else(|| panic!("{name} had no preStop: {}", ended.story()));
        // It ran in the container: the first process there is the container's.
        assert!(hook.ends_with(if name == "alive-exec" { " sh" } else { " tapp" }), "{hook}");
    }
}

// k8s: 4.a.4, 4.a.5, 7.d.3, 7.e.2
#[test]
fn failed_probes_run_pre_stop_and_restart_containers_that_runc_makes() {
    let Some(machine) = machine("failed_probes_run_pre_stop_and_restart_containers_that_runc_makes") else { return };
    probes_restart_containers_of(&machine, RUNC);
}

// k8s: 4.a.4, 4.a.5, 7.d.3, 7.e.2
#[test]
fn failed_probes_run_pre_stop_and_restart_containers_that_crun_makes() {
    let Some(machine) = machine_with("failed_probes_run_pre_stop_and_restart_containers_that_crun_makes", CRUN) else { return };
    probes_restart_containers_of(&machine, CRUN);
}
