//! `/metrics` of a served machine after real pods have lived and died, the page about it, and the dashboard.

use std::collections::BTreeSet;

use crate::prometheus_text::Scrape;
use crate::served::Served;
use crate::support::Machine;

const PAGE: &str = include_str!("../../../../docs/metrics.md");
const DASHBOARD: &str = include_str!("../../../../packaging/grafana/usher.json");

const PREFIXES: [&str; 3] = ["usher_", "kubelet_", "prober_"];

/// A preStop that fails, and a restart by a liveness probe before.
const UNHEALTHY: &str = "terminationGracePeriodSeconds: 10
containers:
- name: app
  image: tapp:1
  imagePullPolicy: Never
  command: [tapp, run, --http, '8080', --fail-after, '0']
  livenessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1, failureThreshold: 1}
  lifecycle:
    postStart: {sleep: {seconds: 0}}
    preStop: {exec: {command: [tapp, code, '3']}}";

/// Has to be killed.
const STUBBORN: &str = "terminationGracePeriodSeconds: 1
containers:
- name: app
  image: tapp:1
  imagePullPolicy: Never
  command: [tapp, run, --ignore-term, --http, '8080']
  volumeMounts: [{name: scratch, mountPath: /scratch}]
  lifecycle: {preStop: {httpGet: {scheme: HTTPS, path: /, port: 8080}}}
volumes: [{name: scratch, emptyDir: {}}]";

#[test]
fn metrics_tell_what_real_pods_went_through() {
    let Some(machine) = Machine::new("metrics_tell_what_real_pods_went_through") else { return };
    let served = Served::start(&machine, &[]);
    let before = Scrape::read(&served.get("/metrics")).expect("the format");
    assert_eq!(before.total("kubelet_started_containers_total"), 0.0);
    served.create_pod("unhealthy", UNHEALTHY);
    served.create_pod("stubborn", STUBBORN);
    served.wait("unhealthy", "a restart", |pod| {
        pod.is_some_and(|pod| pod["status"]["containerStatuses"][0]["restartCount"].as_u64().is_some_and(|count| count > 0))
    });
    served.wait_ready("stubborn");
    let during = Scrape::read(&served.get("/metrics")).expect("the format");
    assert_eq!(during.value("kubelet_running_pods"), 2.0);
    for pod in ["unhealthy", "stubborn"] {
        served.delete_pod(pod);
        served.wait_gone(pod);
    }
    let after = Scrape::read(&served.get("/metrics")).expect("the format");
    let names = |scrape: &Scrape| scrape.families.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&before), names(&after), "everything is there from the beginning");
    assert_eq!(after.value("kubelet_running_pods"), 0.0);
    assert_eq!(after.value("kubelet_started_pods_total"), 2.0);
    let starts = after.value("kubelet_started_containers_total{container_type=\"container\"}");
    let restarts = after.value("usher_container_restarts_total{container_type=\"container\"}");
    assert!(restarts >= 1.0 && starts == restarts + 2.0, "{starts} starts, {restarts} restarts");
    assert_eq!(after.total("usher_container_exits_total"), starts, "whoever was started has ended");
    for stage in ["create", "start"] {
        assert_eq!(after.value(&format!("usher_start_stage_duration_seconds_count{{stage=\"{stage}\"}}")), starts);
    }
    assert_eq!(after.value("usher_start_stage_duration_seconds_count{stage=\"sandbox\"}"), 2.0);
    assert_eq!(after.value("kubelet_run_podsandbox_duration_seconds_count"), 2.0);
    assert_eq!(after.value("kubelet_run_podsandbox_errors_total"), 0.0);
    assert_eq!(after.value("kubelet_lifecycle_handler_http_fallbacks_total"), 1.0, "of the stubborn one's preStop");
    assert_eq!(after.value("usher_start_stage_duration_seconds_count{stage=\"volumes\"}"), 1.0, "only one has volumes");
    assert_eq!(after.value("kubelet_pod_start_duration_seconds_count"), 2.0);
    assert_eq!(after.value("usher_pod_terminations_total{trigger=\"deleted\"}"), 2.0);
    assert_eq!(after.value("usher_hook_runs_total{end=\"succeeded\",handler=\"sleep\",hook=\"postStart\"}"), starts - 1.0);
    assert!(after.value("usher_hook_runs_total{end=\"exited_non_zero\",handler=\"exec\",hook=\"preStop\"}") >= 1.0);
    assert_eq!(after.value("usher_container_kills_total{cause=\"process\"}"), 1.0);
    assert!(after.value("usher_grace_used_ratio_sum{cause=\"deleted\"}") >= 1.0, "the stubborn one used all its grace, and more");
    assert!(after.value("usher_grace_used_ratio_count{cause=\"liveness_failed\"}") >= 1.0);
    assert!(after.value("usher_stop_signal_to_exit_seconds_sum") >= 1.0);
    assert!(after.value("prober_probe_total{probe_type=\"Liveness\",result=\"failed\"}") >= 1.0);
    assert!(after.value("usher_requests_total") > before.value("usher_requests_total"));
    assert_eq!(described(), names(&after).into_iter().collect(), "docs/metrics.md describes what there is");
}

#[test]
fn metrics_are_for_those_who_may_look() {
    let Some(machine) = Machine::without_images("metrics_are_for_those_who_may_look") else { return };
    let served = Served::start(&machine, &[]);
    assert_eq!(served.ask("GET", "/metrics", &[&served.read_only()], "").code, 200);
    assert_eq!(served.ask("GET", "/metrics", &["Authorization: Bearer nobody"], "").code, 401);
    let answer = served.ask("GET", "/metrics", &[], "");
    assert!(answer.head.contains("content-type: text/plain; version=0.0.4"), "{}", answer.head);
}

/// The metrics that the page describes: the first words of its tables.
fn described() -> BTreeSet<String> {
    let rows = PAGE.lines().filter_map(|line| line.strip_prefix("| `"));
    let names = rows.filter_map(|row| row.split(['`', '{']).next()).map(ToOwned::to_owned);
    names.filter(|name| PREFIXES.iter().any(|prefix| name.starts_with(prefix))).collect()
}

#[test]
fn the_dashboard_asks_only_for_metrics_that_there_are() {
    let dashboard: serde_json::Value = serde_json::from_str(DASHBOARD).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let queries: Vec<&str> =
        panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten().filter_map(|target| target["expr"].as_str()).collect();
    assert!(queries.len() >= 10, "a dashboard of {} queries shows too little", queries.len());
    let known = described();
    let mut shown = BTreeSet::new();
    for query in queries {
        let words = query.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        let names: Vec<&str> = words.filter(|word| PREFIXES.iter().any(|prefix| word.starts_with(prefix))).collect();
        assert!(!names.is_empty(), "{query} asks for no metric");
        for name in names {
            let base = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name);
            assert!(known.contains(base) || known.contains(name), "{query}: there is no {name}");
            shown.insert(base.to_owned());
        }
    }
    let ids: BTreeSet<i64> = panels.iter().filter_map(|panel| panel["id"].as_i64()).collect();
    assert_eq!(ids.len(), panels.len(), "each panel has an id of its own");
    for wanted in ["usher_hook_duration_seconds", "usher_grace_used_ratio", "usher_container_kills_total", "usher_probe_lateness_seconds"] {
        assert!(shown.contains(wanted), "{wanted} is not shown");
    }
}
