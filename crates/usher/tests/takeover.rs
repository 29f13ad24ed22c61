//! An engine dies while a hook runs; the one that takes over goes on with it.

mod support;

use rustix::process::Signal;
use support::Machine;

/// The grace is long enough for the request of the second engine too; the server answers after 1.5 s.
const POD: &str = "apiVersion: v1
kind: Pod
metadata:
  name: orphan
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 20
  containers:
  - name: app
    image: tapp:1
    imagePullPolicy: Never
    command: [tapp, run, --http, '8080']
    readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}
    lifecycle:
      preStop:
        httpGet: {path: /sleep/1500, port: 8080}
";

// Deliberate difference 4. k8s: 2.e.5
#[test]
fn an_http_hook_in_flight_is_sent_again_and_its_answer_is_waited_for() {
    let Some(machine) = Machine::new("an_http_hook_in_flight_is_sent_again_and_its_answer_is_waited_for") else { return };
    let mut running = machine.run(POD, &[]);
    // The server listens.
    running.wait_for("app ready", |entry| entry["status"]["containerStatuses"][0]["ready"] == true);
    let uid = running.seen[0]["opened"]["uid"].as_str().expect("the journal begins with the pod").to_owned();
    running.interrupt();
    running.wait_for("the request", |entry| entry["output"]["line"].as_str().is_some_and(|line| line.contains("http: GET /sleep/1500")));
    running.signal(Signal::KILL);
    let _ = running.child.wait();
    let removed = machine.output(["rm", "orphan"]);
    assert!(removed.status.success(), "{removed:?}");
    let log = machine.log_root().join(format!("default_orphan_{uid}/app/0.log"));
    let log = std::fs::read_to_string(&log).unwrap_or_else(|error| panic!("{}: {error}", log.display()));
    let moments = |what: &str| -> Vec<f64> {
        let lines = log.lines().filter(|line| line.contains(what));
        lines.map(|line| line.split(' ').nth(3).and_then(|at| at.parse().ok()).expect("the workload's time")).collect()
    };
    let (asked, signalled) = (moments("http: GET /sleep/1500"), moments("main: signal 15"));
    assert_eq!((asked.len(), signalled.len(), moments("main: exit 0").len()), (2, 1, 1), "at least once, and each engine once:\n{log}");
    assert!(signalled[0] - asked[1] >= 1.5, "the stop signal came after the answer to the second request:\n{log}");
    let journal = machine.root().join("journals").join(format!("default_orphan_{uid}.jsonl"));
    let journal = std::fs::read_to_string(&journal).unwrap_or_else(|error| panic!("{}: {error}", journal.display()));
    assert!(!journal.contains("FailedPreStopHook"), "{journal}");
}
