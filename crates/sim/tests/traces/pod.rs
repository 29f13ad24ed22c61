//! The pods of the recordings: from the API's words to the machine's, with the API's defaults.
//!
//! Only what the recordings use. A field that is not known here fails the test, so that nothing is left out in silence.

use std::collections::BTreeMap;

use lifecycle::{ContainerSpec, Handler, HttpGet, HttpPort, ImagePullPolicy, PodSpec, ProbeHandler, ProbeSpec, RestartPolicy, Scheme};
use serde_json::Value;

/// A recorded case.
pub(crate) struct Case {
    pub(crate) pod: PodSpec,
    pub(crate) steps: String,
    /// What each container runs.
    pub(crate) commands: BTreeMap<String, Vec<String>>,
}

pub(crate) fn read(text: &str) -> Case {
    let case: Value = serde_json::from_str(text).expect("a recorded pod is JSON");
    let spec = field(&case, "spec");
    let mut commands = BTreeMap::new();
    let mut containers = |name: &str| -> Vec<ContainerSpec> {
        let list = spec.get(name).and_then(Value::as_array);
        list.into_iter().flatten().map(|value| container(value, &mut commands)).collect()
    };
    let (init_containers, regular) = (containers("initContainers"), containers("containers"));
    let pod = PodSpec {
        name: "p".to_owned(),
        namespace: "ns".to_owned(),
        uid: "uid".to_owned(),
        generation: 1,
        restart_policy: restart_policy(spec).unwrap_or(RestartPolicy::Always),
        termination_grace_period_secs: number(spec, "terminationGracePeriodSeconds").unwrap_or(30),
        active_deadline_secs: number(spec, "activeDeadlineSeconds"),
        init_containers,
        containers: regular,
        ephemeral_containers: Vec::new(),
    };
    let steps = field(&case, "steps").as_str().expect("steps are a text").to_owned();
    let known = ["containers", "initContainers", "restartPolicy", "terminationGracePeriodSeconds", "activeDeadlineSeconds"];
    // What only a real container has.
    expect_known(spec, &[&known[..], &["securityContext"]].concat());
    Case { pod, steps, commands }
}

fn container(value: &Value, commands: &mut BTreeMap<String, Vec<String>>) -> ContainerSpec {
    let known = [
        "name",
        "image",
        "imagePullPolicy",
        "command",
        "lifecycle",
        "livenessProbe",
        "readinessProbe",
        "startupProbe",
        "restartPolicy",
        "ports",
        // What only a real container has.
        "env",
        "securityContext",
        "workingDir",
    ];
    expect_known(value, &known);
    let name = text(value, "name").expect("a container has a name");
    commands.insert(name.clone(), strings(value, "command"));
    let ports: BTreeMap<String, u16> = value
        .get("ports")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|port| Some((text(port, "name")?, number(port, "containerPort")?)))
        .collect();
    let lifecycle = value.get("lifecycle");
    let hook = |name: &str| lifecycle?.get(name).map(|hook| handler(hook, &ports));
    let probe = |name: &str| value.get(name).map(|value| probe(value, &ports));
    ContainerSpec {
        name,
        image: text(value, "image").expect("a container has an image"),
        image_pull_policy: match text(value, "imagePullPolicy").as_deref() {
            Some("Never") => ImagePullPolicy::Never,
            Some("IfNotPresent") => ImagePullPolicy::IfNotPresent,
            other => panic!("pull policy {other:?} is not in the recordings"),
        },
        resources: lifecycle::Resources::default(),
        resize_policy: lifecycle::ResizePolicy::default(),
        volume_images: Vec::new(),
        restart_policy: restart_policy(value),
        restart_policy_rules: Vec::new(),
        post_start: hook("postStart"),
        pre_stop: hook("preStop"),
        startup_probe: probe("startupProbe"),
        liveness_probe: probe("livenessProbe"),
        readiness_probe: probe("readinessProbe"),
    }
}

fn handler(value: &Value, ports: &BTreeMap<String, u16>) -> Handler {
    expect_known(value, &["exec", "httpGet", "sleep"]);
    if let Some(exec) = value.get("exec") {
        return Handler::Exec { command: strings(exec, "command"), time_limit: None };
    }
    if let Some(sleep) = value.get("sleep") {
        return Handler::Sleep { secs: number(sleep, "seconds").expect("a sleep has seconds") };
    }
    Handler::HttpGet(http_get(field(value, "httpGet"), ports))
}

fn probe(value: &Value, ports: &BTreeMap<String, u16>) -> ProbeSpec {
    expect_known(value, &["exec", "httpGet", "periodSeconds", "failureThreshold"]);
    let handler = match value.get("exec") {
        Some(exec) => ProbeHandler::Exec { command: strings(exec, "command") },
        None => ProbeHandler::HttpGet(http_get(field(value, "httpGet"), ports)),
    };
    ProbeSpec {
        handler,
        initial_delay_secs: 0,
        timeout_secs: 1,
        period_secs: number(value, "periodSeconds").unwrap_or(10),
        success_threshold: 1,
        failure_threshold: number(value, "failureThreshold").unwrap_or(3),
        termination_grace_period_secs: None,
    }
}

fn http_get(value: &Value, ports: &BTreeMap<String, u16>) -> HttpGet {
    expect_known(value, &["path", "port", "host", "scheme", "httpHeaders"]);
    let port = match (number(value, "port"), text(value, "port")) {
        (Some(port), _) => HttpPort::Number(port),
        (None, Some(name)) => match ports.get(&name) {
            Some(port) => HttpPort::Number(*port),
            None => HttpPort::Unresolved(format!("strconv.Atoi: parsing \"{name}\": invalid syntax")),
        },
        (None, None) => panic!("a request has a port"),
    };
    HttpGet {
        host: text(value, "host"),
        port,
        path: text(value, "path").unwrap_or_else(|| "/".to_owned()),
        scheme: if text(value, "scheme").as_deref() == Some("HTTPS") { Scheme::Https } else { Scheme::Http },
        headers: Vec::new(),
    }
}

fn restart_policy(value: &Value) -> Option<RestartPolicy> {
    Some(match text(value, "restartPolicy")?.as_str() {
        "Always" => RestartPolicy::Always,
        "OnFailure" => RestartPolicy::OnFailure,
        "Never" => RestartPolicy::Never,
        other => panic!("{other} is no restart policy"),
    })
}

fn expect_known(value: &Value, known: &[&str]) {
    let object = value.as_object().expect("an object");
    for key in object.keys() {
        assert!(known.contains(&key.as_str()), "the field {key} is not read");
    }
}

fn field<'a>(value: &'a Value, name: &str) -> &'a Value {
    value.get(name).unwrap_or_else(|| panic!("the field {name} is missing"))
}

fn text(value: &Value, name: &str) -> Option<String> {
    value.get(name)?.as_str().map(str::to_owned)
}

fn number<T: TryFrom<i64>>(value: &Value, name: &str) -> Option<T> {
    T::try_from(value.get(name)?.as_i64()?).ok()
}

fn strings(value: &Value, name: &str) -> Vec<String> {
    let list = value.get(name).and_then(Value::as_array);
    list.into_iter().flatten().map(|word| word.as_str().expect("words are texts").to_owned()).collect()
}
