//! A pod that the node has not taken up: what is said of it, and what is counted.

use std::time::Instant;

use crate::prometheus_text::Scrape;
use crate::served::Served;
use crate::support::{Machine, PATIENCE};

/// Takes its time to go.
const LASTING: &str = "terminationGracePeriodSeconds: 600
containers:
- name: app
  image: tapp:1
  imagePullPolicy: Never
  command: [tapp, run]
  lifecycle: {preStop: {exec: {command: [tapp, sleep, '600000']}}}";

const CRITICAL: &str = "terminationGracePeriodSeconds: 1
priorityClassName: system-node-critical
containers: [{name: app, image: 'tapp:1', imagePullPolicy: Never, command: [tapp, run]}]";

// k8s: 4.a.20
#[test]
fn a_critical_pod_that_waits_for_others_says_for_whom_and_they_are_counted() {
    let Some(machine) = Machine::new("a_critical_pod_that_waits_for_others_says_for_whom_and_they_are_counted") else { return };
    let served = Served::start(&machine, &["--max-pods", "1"]);
    served.create_pod("first", LASTING);
    served.wait_ready("first");
    let why = |more: &[&str]| {
        let output = machine.output([&["why", "critical"], more].concat());
        (output.status.code(), format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)))
    };
    let (code, said) = why(&[]);
    assert_eq!(code, Some(125), "there is no such pod: {said}");
    assert!(said.contains("no journal of a pod called \"critical\"") && said.contains("`usher journal` lists"), "{said}");
    served.create_pod("critical", CRITICAL);
    let deadline = Instant::now() + PATIENCE;
    let told = loop {
        let (code, said) = why(&[]);
        assert_eq!(code, Some(0), "{said}");
        if said.contains("default/first") {
            break said;
        }
        assert!(Instant::now() < deadline, "{said}");
    };
    let wanted = "Pod default/critical is not taken up by the node yet: there is no room for it, and it waits for others to go: default/first, which was asked to go ";
    assert!(told.starts_with(wanted), "{told}");
    let (code, said) = why(&["-o", "json"]);
    assert_eq!((code, said.contains("\"question\": \"state\"")), (Some(0), true), "{said}");
    let scrape = Scrape::read(&served.get("/metrics")).expect("the format");
    assert_eq!(scrape.value("kubelet_preemptions{preemption_signal=\"pods\"}"), 1.0);
    assert_eq!(scrape.total("kubelet_preemptions"), 1.0);
    let gone = served.ask("DELETE", "/api/v1/namespaces/default/pods/first?gracePeriodSeconds=0", &[], "");
    assert!(gone.code < 300, "{gone:?}");
    served.wait_ready("critical");
    let (code, said) = why(&[]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.starts_with("The pod is Running and has been Ready"), "{said}");
    served.delete_pod("critical");
    served.wait_gone("critical");
}
