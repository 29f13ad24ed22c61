//! Probes of real containers: when they begin, what they say, and what follows from it.

use super::support::Machine;
use super::{has_line, is_action, is_action_of, is_event, is_turn, line_of, pod, status_of, wait_event};

// k8s: 7.d.3, 7.b.2, 4.a.4, 7.g.2, 3.a.1
#[test]
fn a_failed_liveness_command_runs_pre_stop_within_the_probes_grace_and_restarts_the_container() {
    let name = "a_failed_liveness_command_runs_pre_stop_within_the_probes_grace_and_restarts_the_container";
    let Some(machine) = Machine::new(name) else { return };
    let manifest = pod(
        "sick",
        r#"terminationGracePeriodSeconds: 60
containers:
- name: app
  image: tapp:1
  imagePullPolicy: Never
  command: ["tapp", "run", "--ignore-term"]
  livenessProbe:
    exec: {command: ["sh", "-c", "echo it is $(WORD); exit 7"]}
    periodSeconds: 1
    failureThreshold: 2
    terminationGracePeriodSeconds: 3
  env: [{name: WORD, value: broken}]
  lifecycle:
    preStop:
      exec: {command: ["tapp", "sleep", "1000"]}"#,
    );
    let mut running = machine.run(&manifest, &["--grace-period", "1"]);
    running.wait_for("a second start", |entry| status_of(entry, "app").is_some_and(|status| status["restartCount"] == 1));
    running.interrupt();
    let ended = running.end();
    let events = ended.events();
    let unhealthy = events.iter().filter(|event| *event == "Unhealthy: Liveness probe failed: it is broken\n").count();
    assert!(unhealthy >= 2, "each failed attempt is told: {events:?}");
    assert!(events.contains(&"Killing: Container app failed liveness probe, will be restarted".to_owned()), "{events:?}");
    assert!(has_line(&ended, "hook: sleep ends"), "preStop runs: {}", ended.story());
    let began = ended.find(|entry| entry["action"]["action"]["note"] == "StopBegan").expect("a stop");
    assert_eq!(began["action"]["action"]["graceSecs"], 3, "{}", ended.story());
    let killed = ended.find(|entry| is_action(entry, "KillContainer")).expect("it ignored the stop signal");
    let took = ended.seconds_between(began, killed);
    assert!((3.0..4.5).contains(&took), "the probe's own grace, not the pod's: {took} s");
}

// k8s: 7.a.11, 7.a.12, 7.c.1, 7.c.4
#[test]
fn readiness_waits_for_the_startup_probe_and_flips_with_what_it_finds() {
    let Some(machine) = Machine::new("readiness_waits_for_the_startup_probe_and_flips_with_what_it_finds") else { return };
    let manifest = pod(
        "flips",
        r#"terminationGracePeriodSeconds: 2
containers:
- name: app
  image: tapp:1
  imagePullPolicy: Never
  command: ["sh", "-c", "(sleep 2.5; touch /tmp/started /tmp/ready; sleep 3; rm /tmp/ready) & exec tapp run"]
  startupProbe:
    exec: {command: ["test", "-e", "/tmp/started"]}
    periodSeconds: 1
    failureThreshold: 30
  readinessProbe:
    exec: {command: ["test", "-e", "/tmp/ready"]}
    periodSeconds: 1
    failureThreshold: 1
  livenessProbe:
    exec: {command: ["test", "-e", "/tmp/started"]}
    periodSeconds: 1
    failureThreshold: 1"#,
    );
    let mut running = machine.run(&manifest, &[]);
    running.wait_for("ready", |entry| status_of(entry, "app").is_some_and(|status| status["ready"] == true));
    running.wait_for("not ready", |entry| status_of(entry, "app").is_some_and(|status| status["ready"] == false));
    running.interrupt();
    let ended = running.end();
    let is_probe = |entry: &serde_json::Value, probe: &str| is_action(entry, "RunProbe") && entry["action"]["action"]["probe"] == probe;
    let started = ended.find(|entry| is_turn(entry, "app", "Startup", true)).expect("the startup probe succeeded");
    for probe in ["Readiness", "Liveness"] {
        let first = ended.find(|entry| is_probe(entry, probe)).expect("it was asked");
        assert!(ended.seconds_between(started, first) >= 0.0, "{probe} before startup was over: {}", ended.story());
    }
    let begun = ended.find(|entry| status_of(entry, "app").is_some_and(|status| status["state"]["state"] == "Running"));
    let waiting = status_of(begun.expect("it ran"), "app").expect("its status");
    assert_eq!((&waiting["started"], &waiting["ready"]), (&false.into(), &false.into()), "{}", ended.story());
    assert_eq!(ended.status()["containerStatuses"][0]["restartCount"], 0, "liveness did not kill it: {}", ended.story());
    let events = ended.events();
    assert!(events.iter().any(|event| event.starts_with("Unhealthy: Startup probe failed: ")), "{events:?}");
    assert!(events.iter().any(|event| event.starts_with("Unhealthy: Readiness probe failed: ")), "{events:?}");
}

// k8s: 4.a.5, 7.a.15
#[test]
fn a_failed_startup_probe_restarts_the_container_with_the_references_words() {
    let Some(machine) = Machine::new("a_failed_startup_probe_restarts_the_container_with_the_references_words") else { return };
    let manifest = pod(
        "never-up",
        r#"terminationGracePeriodSeconds: 5
containers:
- name: app
  image: tapp:1
  imagePullPolicy: Never
  command: ["tapp", "run"]
  startupProbe: {exec: {command: ["false"]}, periodSeconds: 1, failureThreshold: 2}
  lifecycle:
    preStop: {exec: {command: ["tapp", "say", "preStop"]}}"#,
    );
    let mut running = machine.run(&manifest, &[]);
    wait_event(&mut running, "Killing: Container app failed startup probe, will be restarted");
    running.wait_for("a second start", |entry| status_of(entry, "app").is_some_and(|status| status["restartCount"] == 1));
    running.interrupt();
    let ended = running.end();
    assert!(line_of(&ended, "hook: preStop") > line_of(&ended, "main: start"), "{}", ended.story());
    let begun = ended.find(|entry| is_action(entry, "RunProbe")).expect("a probe");
    let killed = ended.find(|entry| is_event(entry, "Killing: Container app failed startup probe, will be restarted")).expect("the kill");
    let took = ended.seconds_between(begun, killed);
    assert!((0.9..2.0).contains(&took), "two attempts, one period: {took} s");
}

// k8s: 7.e.1, 7.e.3, 7.e.6, 3.d.10
#[test]
fn http_probes_ask_with_the_references_headers_and_a_bad_status_is_a_failure() {
    let Some(machine) = Machine::new("http_probes_ask_with_the_references_headers_and_a_bad_status_is_a_failure") else { return };
    let manifest = pod(
        "web",
        r#"terminationGracePeriodSeconds: 2
containers:
- name: app
  image: tapp:1
  imagePullPolicy: Never
  command: ["tapp", "run", "--http", "8080", "--fail-after", "2500"]
  ports: [{name: web, containerPort: 8080}]
  readinessProbe:
    httpGet: {path: "/healthz?from=probe", port: web, httpHeaders: [{name: X-Asked, value: "by usher"}]}
    periodSeconds: 1
    failureThreshold: 1"#,
    );
    let mut running = machine.run(&manifest, &[]);
    running.wait_for("ready", |entry| is_turn(entry, "app", "Readiness", true));
    running.wait_for("not ready", |entry| is_turn(entry, "app", "Readiness", false));
    running.interrupt();
    let ended = running.end();
    assert!(ended.events().contains(&"Unhealthy: Readiness probe failed: HTTP probe failed with statuscode: 500".to_owned()));
    let asked = ended.output().into_iter().find(|line| line.contains("http: GET")).expect("it was asked");
    for wanted in ["GET /healthz?from=probe HTTP/1.1", "kube-probe/1.36", "by usher", "Accept: */*", "Connection: close"] {
        assert!(asked.to_lowercase().contains(&wanted.to_lowercase()), "{wanted:?} is missing in {asked}");
    }
}

// k8s: 7.e.2, 7.g.3: a server that never answers costs the timeout, no more.
#[test]
fn an_http_probe_without_an_answer_fails_after_its_timeout() {
    let Some(machine) = Machine::new("an_http_probe_without_an_answer_fails_after_its_timeout") else { return };
    let manifest = pod(
        "mute",
        r#"terminationGracePeriodSeconds: 2
containers:
- name: app
  image: tapp:1
  imagePullPolicy: Never
  command: ["tapp", "run", "--http", "8080"]
  livenessProbe: {httpGet: {path: /sleep/60000, port: 8080}, initialDelaySeconds: 2, periodSeconds: 1, timeoutSeconds: 1, failureThreshold: 2}"#,
    );
    let mut running = machine.run(&manifest, &[]);
    wait_event(&mut running, "Killing: Container app failed liveness probe, will be restarted");
    running.interrupt();
    let ended = running.end();
    let unhealthy = ended.events().into_iter().find(|event| event.starts_with("Unhealthy")).expect("it is told");
    assert!(unhealthy.ends_with("context deadline exceeded (Client.Timeout exceeded while awaiting headers)"), "{unhealthy}");
    let first = ended.find(|entry| is_action(entry, "RunProbe")).expect("a probe");
    let killed = ended.find(|entry| is_turn(entry, "app", "Liveness", false)).expect("the turn");
    let took = ended.seconds_between(first, killed);
    assert!((2.0..3.0).contains(&took), "two timeouts of 1 s: {took} s");
}

// k8s: 7.f.1
#[test]
fn a_tcp_probe_is_a_connection_and_its_failure_tells_the_dial_error() {
    let Some(machine) = Machine::new("a_tcp_probe_is_a_connection_and_its_failure_tells_the_dial_error") else { return };
    let manifest = pod(
        "dial",
        r#"terminationGracePeriodSeconds: 2
containers:
- name: open
  image: tapp:1
  imagePullPolicy: Never
  command: ["tapp", "run", "--http", "8080"]
  readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}
- name: closed
  image: tapp:1
  imagePullPolicy: Never
  command: ["tapp", "run"]
  readinessProbe: {tcpSocket: {port: 9090}, periodSeconds: 1}"#,
    );
    let mut running = machine.run(&manifest, &[]);
    running.wait_for("ready", |entry| is_turn(entry, "open", "Readiness", true));
    // The open port may be asked for, and refused, before its server listens.
    const REFUSED: &str = ":9090: connect: connection refused";
    running.wait_for("refused", |entry| entry["action"]["action"]["message"].as_str().is_some_and(|text| text.contains(REFUSED)));
    running.interrupt();
    let ended = running.end();
    let refused = ended.events().into_iter().find(|event| event.contains(REFUSED)).expect("it is told");
    let ip = ended.find(|entry| entry["event"]["event"] == "SandboxReady").expect("a sandbox")["event"]["ips"][0]
        .as_str()
        .expect("an ip")
        .to_owned();
    assert_eq!(refused, format!("Unhealthy: Readiness probe failed: dial tcp {ip}:9090: connect: connection refused"));
    assert!(ended.find(|entry| status_of(entry, "closed").is_some_and(|status| status["ready"] == true)).is_none(), "never ready");
}

// k8s: 7.f.2
#[test]
fn a_grpc_probe_speaks_the_health_protocol() {
    let Some(machine) = Machine::new("a_grpc_probe_speaks_the_health_protocol") else { return };
    let manifest = pod(
        "grpc",
        r#"terminationGracePeriodSeconds: 2
containers:
- name: app
  image: tapp:1
  imagePullPolicy: Never
  command: ["tapp", "run", "--grpc", "9000", "--fail-after", "2500"]
  readinessProbe: {grpc: {port: 9000, service: my.service}, periodSeconds: 1, failureThreshold: 1}
- name: garbage
  image: tapp:1
  imagePullPolicy: Never
  command: ["tapp", "run", "--http", "8080"]
  livenessProbe: {grpc: {port: 8080}, periodSeconds: 1, timeoutSeconds: 1, failureThreshold: 100}"#,
    );
    let mut running = machine.run(&manifest, &[]);
    running.wait_for("serving", |entry| is_turn(entry, "app", "Readiness", true));
    running.wait_for("not serving", |entry| is_turn(entry, "app", "Readiness", false));
    running.interrupt();
    let ended = running.end();
    let events = ended.events();
    let text = r#"Unhealthy: Readiness probe failed: service unhealthy (responded with "NOT_SERVING")"#;
    assert!(events.contains(&text.to_owned()), "{events:?}");
    assert!(events.iter().any(|event| event.starts_with("Unhealthy: Liveness probe failed: ")), "no gRPC server is a failure: {events:?}");
}

// k8s: 7.d.2, 7.d.3: and better: the whole process tree is gone.
#[test]
fn an_exec_probe_out_of_time_dies_with_its_whole_process_tree() {
    let Some(machine) = Machine::new("an_exec_probe_out_of_time_dies_with_its_whole_process_tree") else { return };
    let manifest = pod(
        "slow-probe",
        r#"terminationGracePeriodSeconds: 2
containers:
- name: app
  image: tapp:1
  imagePullPolicy: Never
  command: ["tapp", "run"]
  readinessProbe:
    exec: {command: ["sh", "-c", "(trap '' TERM HUP; exec setsid sleep 4242) & sleep 4242"]}
    periodSeconds: 5
    timeoutSeconds: 1
  lifecycle:
    preStop: {exec: {command: ["sh", "-c", "ps | grep -c '[s]leep 4242'; true"]}}"#,
    );
    let mut running = machine.run(&manifest, &[]);
    let told = running.wait_for("timeout", |entry| {
        entry["action"]["action"]["message"].as_str().is_some_and(|text| text.starts_with("Readiness probe failed: command timed out"))
    });
    running.interrupt();
    let ended = running.end();
    let text = told["action"]["action"]["message"].as_str().unwrap_or_default();
    assert!(text.ends_with(r#"timed out after 1s"#), "{text}");
    assert_eq!(ended.hook_output(), ["0"], "no process of the probe is left: {}", ended.story());
}

// k8s: 7.b.1, 7.e.8: a probe that cannot be made is no failure.
#[test]
fn a_probe_of_a_port_that_has_no_such_name_never_kills() {
    let Some(machine) = Machine::new("a_probe_of_a_port_that_has_no_such_name_never_kills") else { return };
    let manifest = pod(
        "nameless",
        r#"terminationGracePeriodSeconds: 2
containers:
- name: app
  image: tapp:1
  imagePullPolicy: Never
  command: ["tapp", "run"]
  livenessProbe: {httpGet: {port: web}, periodSeconds: 1, failureThreshold: 1}"#,
    );
    let mut running = machine.run(&manifest, &[]);
    let text = "Unhealthy: Liveness probe errored and resulted in unknown state: strconv.Atoi: parsing \"web\": invalid syntax";
    wait_event(&mut running, text);
    wait_event(&mut running, text);
    running.interrupt();
    let ended = running.end();
    assert_eq!(ended.status()["containerStatuses"][0]["restartCount"], 0, "{}", ended.story());
}

// k8s: 2.d.4
#[test]
fn no_probe_runs_before_the_post_start_hook_has_ended() {
    let Some(machine) = Machine::new("no_probe_runs_before_the_post_start_hook_has_ended") else { return };
    let manifest = pod(
        "patient",
        r#"terminationGracePeriodSeconds: 2
containers:
- name: app
  image: tapp:1
  imagePullPolicy: Never
  command: ["tapp", "run"]
  readinessProbe: {exec: {command: ["true"]}, periodSeconds: 1}
  livenessProbe: {exec: {command: ["true"]}, periodSeconds: 1}
  lifecycle:
    postStart: {exec: {command: ["tapp", "sleep", "2000"]}}"#,
    );
    let mut running = machine.run(&manifest, &[]);
    running.wait_for("a probe", |entry| is_action(entry, "RunProbe"));
    running.interrupt();
    let ended = running.end();
    let hook = ended.find(|entry| entry["event"]["event"] == "HookFinished").expect("the hook ended");
    let probe = ended.find(|entry| is_action_of(entry, "RunProbe", "app")).expect("a probe");
    assert!(ended.seconds_between(hook, probe) >= 0.0, "{}", ended.story());
}

// k8s: 3.f.2, 7.a.19, 7.g.4
#[test]
fn in_a_stop_readiness_goes_on_and_liveness_does_not() {
    let Some(machine) = Machine::new("in_a_stop_readiness_goes_on_and_liveness_does_not") else { return };
    let manifest = pod(
        "leaving",
        r#"terminationGracePeriodSeconds: 30
containers:
- name: app
  image: tapp:1
  imagePullPolicy: Never
  command: ["tapp", "run"]
  readinessProbe: {exec: {command: ["sh", "-c", "test ! -e /tmp/going"]}, periodSeconds: 1, failureThreshold: 1}
  livenessProbe: {exec: {command: ["sh", "-c", "test ! -e /tmp/going"]}, periodSeconds: 1, failureThreshold: 1}
  lifecycle:
    preStop: {exec: {command: ["sh", "-c", "touch /tmp/going; sleep 3"]}}"#,
    );
    let mut running = machine.run(&manifest, &[]);
    running.wait_for("ready", |entry| is_turn(entry, "app", "Readiness", true));
    running.interrupt();
    let ended = running.end();
    assert!(ended.find(|entry| is_turn(entry, "app", "Readiness", false)).is_some(), "{}", ended.story());
    let stop = ended.find(|entry| entry["action"]["action"]["note"] == "StopBegan").expect("the stop");
    let late = ended.entries.iter().filter(|entry| is_action(entry, "RunProbe") && ended.seconds_between(stop, entry) > 0.0);
    let kinds: std::collections::BTreeSet<_> = late.filter_map(|entry| entry["action"]["action"]["probe"].as_str()).collect();
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), ["Readiness"], "{}", ended.story());
}

// k8s: 3.d.4, 7.a.13
#[test]
fn a_pod_on_the_nodes_network_is_probed_at_the_nodes_address_or_the_host_named() {
    let Some(machine) = Machine::new("a_pod_on_the_nodes_network_is_probed_at_the_nodes_address_or_the_host_named") else { return };
    let manifest = pod(
        "on-node",
        r#"hostNetwork: true
terminationGracePeriodSeconds: 2
containers:
- name: node
  image: tapp:1
  imagePullPolicy: Never
  command: ["tapp", "run", "--http", "18080"]
  readinessProbe: {httpGet: {port: 18080}, periodSeconds: 1}
- name: named
  image: tapp:1
  imagePullPolicy: Never
  command: ["tapp", "run"]
  readinessProbe: {httpGet: {host: localhost, port: 18080}, periodSeconds: 1}
- name: twice
  image: tapp:1
  imagePullPolicy: Never
  command: ["tapp", "run"]
  readinessProbe: {tcpSocket: {host: 127.0.0.1, port: 18080}, periodSeconds: 1, successThreshold: 2}"#,
    );
    let mut running = machine.run(&manifest, &[]);
    let is_ready = |condition: &serde_json::Value| condition["kind"] == "Ready" && condition["is_true"] == true;
    running.wait_for("ready", |entry| entry["status"]["conditions"].as_array().is_some_and(|conditions| conditions.iter().any(is_ready)));
    running.interrupt();
    let ended = running.end();
    for container in ["node", "named", "twice"] {
        assert!(ended.find(|entry| is_turn(entry, container, "Readiness", true)).is_some(), "{container}: {}", ended.story());
    }
    let turned = ended.entries.iter().position(|entry| is_turn(entry, "twice", "Readiness", true)).expect("it turned");
    let attempts = ended.entries[..turned].iter().filter(|entry| is_action_of(entry, "RunProbe", "twice"));
    // What turned is told again, with its own number.
    let attempts: std::collections::BTreeSet<_> = attempts.map(|entry| entry["action"]["id"].as_u64()).collect();
    assert!(attempts.len() >= 2, "two successes in a row: {}", ended.story());
}

// k8s: 7.d.2, 7.d.4
#[test]
fn a_probe_that_prints_without_end_costs_its_timeout_and_no_memory() {
    let Some(machine) = Machine::new("a_probe_that_prints_without_end_costs_its_timeout_and_no_memory") else { return };
    let manifest = pod(
        "chatty",
        r#"terminationGracePeriodSeconds: 2
containers:
- name: app
  image: tapp:1
  imagePullPolicy: Never
  command: ["tapp", "run"]
  livenessProbe: {exec: {command: ["yes"]}, initialDelaySeconds: 2, periodSeconds: 1, timeoutSeconds: 1, failureThreshold: 100}"#,
    );
    const TOLD: usize = 3;
    const GROWTH_MAX_KIB: u64 = 8 << 10;
    let mut running = machine.run(&manifest, &[]);
    running.wait_running("app");
    let pids = || [machine.shims(), vec![running.child.id().cast_signed()]].concat();
    let before: Vec<_> = pids().into_iter().map(|pid| (pid, memory_peak_kib(pid))).collect();
    assert_eq!(before.len(), 2, "a shim and the engine: {before:?}");
    const TEXT: &str = "Unhealthy: Liveness probe failed: command timed out: \"yes\" timed out after 1s";
    for _ in 0..TOLD {
        wait_event(&mut running, TEXT);
    }
    for (pid, before) in before {
        let growth = memory_peak_kib(pid) - before;
        assert!(growth < GROWTH_MAX_KIB, "process {pid} grew by {growth} KiB over {before} KiB");
    }
    running.interrupt();
    let ended = running.end();
    assert_eq!(ended.status()["containerStatuses"][0]["restartCount"], 0, "{}", ended.story());
}

/// The most memory that a process ever had.
fn memory_peak_kib(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it lives");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
    peak.and_then(|peak| peak.parse().ok()).expect("a peak")
}
