//! The row of a pod: above all its status in one word.

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::ages::since;
use super::plain;
use crate::object::{is_terminating, parse_time};

/// What the containers of a pod come to.
#[derive(Default)]
struct Tally {
    reason: String,
    ready: usize,
    total: usize,
    restarts: i64,
    /// When the last instance that was followed by another ended.
    last_end: Option<Timestamp>,
}

impl Tally {
    fn count(&mut self, status: &Value) {
        self.restarts += status["restartCount"].as_i64().unwrap_or(0);
        let end = status["lastState"]["terminated"]["finishedAt"].as_str().and_then(parse_time);
        self.last_end = self.last_end.max(end);
    }
}

pub(super) fn cells(pod: &Value, name: Value, age: Value, now: Timestamp) -> Vec<Value> {
    let tally = tally(pod);
    let restarts = match tally.last_end {
        Some(end) if tally.restarts != 0 => {
            format!("{} ({} ago)", tally.restarts, since(&json!(crate::object::time_text(end)), now))
        }
        Some(_) | None => tally.restarts.to_string(),
    };
    let or_none = |value: &Value| match plain(value) {
        "" => json!("<none>"),
        text => json!(text),
    };
    let ip = pod["status"]["podIPs"][0].get("ip").unwrap_or(&pod["status"]["podIP"]);
    vec![
        name,
        json!(format!("{}/{}", tally.ready, tally.total)),
        json!(tally.reason),
        json!(restarts),
        age,
        or_none(ip),
        or_none(&pod["spec"]["nodeName"]),
        or_none(&pod["status"]["nominatedNodeName"]),
        json!(readiness_gates(pod)),
    ]
}

fn tally(pod: &Value) -> Tally {
    let status = &pod["status"];
    let mut tally = Tally { reason: plain(&status["phase"]).to_owned(), total: list(&pod["spec"]["containers"]).len(), ..Tally::default() };
    if !plain(&status["reason"]).is_empty() {
        tally.reason = plain(&status["reason"]).to_owned();
    }
    if condition(pod, "PodScheduled").is_some_and(|condition| condition["reason"] == "SchedulingGated") {
        tally.reason = "SchedulingGated".to_owned();
    }
    let sidecars: Vec<_> = list(&pod["spec"]["initContainers"])
        .iter()
        .filter(|container| container["restartPolicy"] == "Always")
        .map(|container| plain(&container["name"]))
        .collect();
    tally.total += sidecars.len();
    let initializing = initialization(pod, &sidecars, &mut tally);
    if !initializing || condition(pod, "Initialized").is_some_and(|condition| condition["status"] == "True") {
        containers(pod, &sidecars, &mut tally);
    }
    let finished = matches!(plain(&status["phase"]), "Succeeded" | "Failed");
    if is_terminating(pod) && status["reason"] == "NodeLost" {
        tally.reason = "Unknown".to_owned();
    } else if is_terminating(pod) && !finished {
        tally.reason = "Terminating".to_owned();
    }
    tally
}

/// Looks at the init containers up to the first that is not done. Gives whether there is one.
fn initialization(pod: &Value, sidecars: &[&str], tally: &mut Tally) -> bool {
    let all = list(&pod["spec"]["initContainers"]).len();
    for (index, status) in list(&pod["status"]["initContainerStatuses"]).iter().enumerate() {
        tally.count(status);
        let (terminated, waiting) = (&status["state"]["terminated"], &status["state"]["waiting"]);
        if terminated.is_object() && terminated["exitCode"].as_i64().unwrap_or(0) == 0 {
            continue;
        }
        if sidecars.contains(&plain(&status["name"])) && status["started"] == json!(true) {
            tally.ready += usize::from(status["ready"] == json!(true));
            continue;
        }
        tally.reason = match (terminated.is_object(), plain(&waiting["reason"])) {
            (true, _) => format!("Init:{}", ended(terminated)),
            (false, reason) if !reason.is_empty() && reason != "PodInitializing" => format!("Init:{reason}"),
            (false, _) => format!("Init:{index}/{all}"),
        };
        return true;
    }
    false
}

fn containers(pod: &Value, sidecars: &[&str], tally: &mut Tally) {
    // Only what restarts beside the containers counts from here on.
    let init = list(&pod["status"]["initContainerStatuses"]).iter().filter(|status| sidecars.contains(&plain(&status["name"])));
    tally.restarts = init.map(|status| status["restartCount"].as_i64().unwrap_or(0)).sum();
    let mut any_runs = false;
    for status in list(&pod["status"]["containerStatuses"]).iter().rev() {
        tally.count(status);
        let state = &status["state"];
        if !plain(&state["waiting"]["reason"]).is_empty() {
            tally.reason = plain(&state["waiting"]["reason"]).to_owned();
        } else if state["terminated"].is_object() {
            tally.reason = ended(&state["terminated"]);
        } else if status["ready"] == json!(true) && state["running"].is_object() {
            any_runs = true;
            tally.ready += 1;
        }
    }
    if tally.reason == "Completed" && any_runs {
        let ready = condition(pod, "Ready").is_some_and(|condition| condition["status"] == "True");
        tally.reason = if ready { "Running" } else { "NotReady" }.to_owned();
    }
}

fn ended(terminated: &Value) -> String {
    match (plain(&terminated["reason"]), terminated["signal"].as_i64().unwrap_or(0)) {
        ("", 0) => format!("ExitCode:{}", terminated["exitCode"].as_i64().unwrap_or(0)),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}

fn readiness_gates(pod: &Value) -> String {
    let gates = list(&pod["spec"]["readinessGates"]);
    if gates.is_empty() {
        return "<none>".to_owned();
    }
    let passed =
        gates.iter().filter(|gate| condition(pod, plain(&gate["conditionType"])).is_some_and(|condition| condition["status"] == "True"));
    format!("{}/{}", passed.count(), gates.len())
}

fn condition<'p>(pod: &'p Value, of: &str) -> Option<&'p Value> {
    list(&pod["status"]["conditions"]).iter().find(|condition| condition["type"] == of)
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(pod: Value) -> String {
        let tally = tally(&pod);
        format!("{}/{} {} {}", tally.ready, tally.total, tally.reason, tally.restarts)
    }

    fn two() -> Value {
        json!({ "containers": [{ "name": "a" }, { "name": "b" }] })
    }

    #[test]
    fn the_status_is_one_word() {
        let running = json!({ "name": "a", "ready": true, "restartCount": 1, "state": { "running": {} } });
        let waiting = json!({ "name": "b", "ready": false, "restartCount": 2, "state": { "waiting": { "reason": "CrashLoopBackOff" } } });
        let done =
            json!({ "name": "b", "ready": false, "restartCount": 0, "state": { "terminated": { "reason": "Completed", "exitCode": 0 } } });
        let killed = json!({ "name": "b", "restartCount": 0, "state": { "terminated": { "exitCode": 137, "signal": 9 } } });
        let cases = [
            (json!({ "spec": two(), "status": { "phase": "Pending" } }), "0/2 Pending 0"),
            (json!({ "spec": two(), "status": { "phase": "Running", "containerStatuses": [running, waiting] } }), "1/2 CrashLoopBackOff 3"),
            (json!({ "spec": two(), "status": { "phase": "Running", "containerStatuses": [running, done] } }), "1/2 NotReady 1"),
            (json!({ "spec": two(), "status": { "phase": "Running", "containerStatuses": [running, killed] } }), "1/2 Signal:9 1"),
            (json!({ "spec": two(), "status": { "phase": "Failed", "reason": "DeadlineExceeded" } }), "0/2 DeadlineExceeded 0"),
            (json!({ "metadata": { "deletionTimestamp": "x" }, "spec": two(), "status": { "phase": "Running" } }), "0/2 Terminating 0"),
            (json!({ "metadata": { "deletionTimestamp": "x" }, "spec": two(), "status": { "phase": "Succeeded" } }), "0/2 Succeeded 0"),
        ];
        for (pod, expected) in cases {
            assert_eq!(shown(pod.clone()), expected, "{pod}");
        }
    }

    #[test]
    fn init_containers_and_sidecars_count() {
        let spec = json!({
            "initContainers": [{ "name": "i" }, { "name": "s", "restartPolicy": "Always" }, { "name": "j" }],
            "containers": [{ "name": "a" }],
        });
        let pod = |init: Value| json!({ "spec": spec, "status": { "phase": "Pending", "initContainerStatuses": init } });
        let done = json!({ "name": "i", "state": { "terminated": { "exitCode": 0 } } });
        let sidecar = json!({ "name": "s", "started": true, "ready": true, "restartCount": 4, "state": { "running": {} } });
        let failed = json!({ "name": "j", "restartCount": 1, "state": { "terminated": { "exitCode": 3 } } });
        assert_eq!(shown(pod(json!([{ "name": "i", "state": { "waiting": { "reason": "PodInitializing" } } }]))), "0/2 Init:0/3 0");
        assert_eq!(shown(pod(json!([done, sidecar, { "name": "j", "state": { "running": {} } }]))), "1/2 Init:2/3 4");
        assert_eq!(shown(pod(json!([done, sidecar, failed]))), "1/2 Init:ExitCode:3 5");
    }
}
