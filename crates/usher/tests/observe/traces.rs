//! Spans that a collector gets, compared with the journal of the same pod.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::registry::{Registry, shell_layer};
use crate::served::Served;
use crate::support::{Machine, PATIENCE};

const POD: &str = "apiVersion: v1
kind: Pod
metadata: {name: traced}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: app
    image: tapp:1
    imagePullPolicy: Never
    command: [tapp, run, --ignore-term]
    lifecycle:
      postStart: {exec: {command: [tapp, out, secret, then, sleep, '200']}}
      preStop: {exec: {command: [tapp, code, '3']}}";

/// A collector of the test's own.
struct Collector {
    address: String,
    bodies: Receiver<(String, Value)>,
}

/// A span, strictly read.
#[derive(Clone, Debug)]
struct Span {
    trace: String,
    id: String,
    parent: String,
    name: String,
    start: u64,
    end: u64,
    attributes: BTreeMap<String, String>,
    error: Option<String>,
}

impl Collector {
    /// Listens in the network of this thread.
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        let (sender, bodies) = mpsc::channel();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let sender = sender.clone();
                std::thread::spawn(move || serve(stream, &sender));
            }
        });
        Self { address, bodies }
    }

    /// The spans that come until one is there that is wanted.
    fn until(&self, spans: &mut Vec<Span>, wanted: impl Fn(&Span) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !spans.iter().any(&wanted) {
            let (head, body) = self.bodies.recv_timeout(deadline.saturating_duration_since(Instant::now())).unwrap_or_else(|_| {
                panic!("the span did not come; there are {:#?}", spans);
            });
            assert!(head.starts_with("POST /v1/traces ") && head.contains("content-type: application/json"), "{head}");
            spans.extend(read(&body));
        }
    }
}

fn serve(stream: std::net::TcpStream, sender: &mpsc::Sender<(String, Value)>) {
    let mut answers = stream.try_clone().expect("cloned");
    let mut reader = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).is_ok_and(|read| read == 0) {
                return;
            }
        }
        let lower = head.to_lowercase();
        let length = lower.lines().find_map(|line| line.strip_prefix("content-length: ")).and_then(|text| text.trim().parse().ok());
        let mut body = vec![0; length.expect("a length")];
        reader.read_exact(&mut body).expect("a body");
        let _ = answers.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}");
        let head =
            head.lines().map(|line| if line.starts_with("POST") { line.to_owned() } else { line.to_lowercase() }).collect::<Vec<_>>();
        if sender.send((head.join("\n"), serde_json::from_slice(&body).expect("JSON"))).is_err() {
            return;
        }
    }
}

fn read(body: &Value) -> Vec<Span> {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let number = |value: &Value| value.as_str().and_then(|text| text.parse::<u64>().ok()).expect("64-bit numbers are texts");
    let attributes = |list: &Value| {
        let pairs = list.as_array().expect("a list").iter().map(|pair| {
            let value = &pair["value"];
            let shown = value["stringValue"].as_str().or_else(|| value["intValue"].as_str()).expect("a value");
            (text(&pair["key"]), shown.to_owned())
        });
        pairs.collect::<BTreeMap<_, _>>()
    };
    let mut spans = Vec::new();
    for of_pod in body["resourceSpans"].as_array().expect("resources") {
        let resource = attributes(&of_pod["resource"]["attributes"]);
        assert_eq!(resource["service.name"], "usher");
        assert_eq!(resource["k8s.pod.name"], "traced");
        assert_eq!(resource["k8s.namespace.name"], "default");
        for span in of_pod["scopeSpans"].as_array().expect("scopes").iter().flat_map(|scope| scope["spans"].as_array().expect("spans")) {
            let id = |field: &str, length: usize| {
                let id = text(&span[field]);
                assert!(id.len() == length && id.chars().all(|c| c.is_ascii_hexdigit() && !c.is_ascii_uppercase()), "{span}");
                assert!(id.chars().any(|c| c != '0'), "{span}");
                id
            };
            assert_eq!(span["kind"], 1);
            let parent = text(&span["parentSpanId"]);
            let is_error = span["status"]["code"] == 2;
            spans.push(Span {
                trace: id("traceId", 32),
                id: id("spanId", 16),
                parent: if parent.is_empty() { parent } else { id("parentSpanId", 16) },
                name: text(&span["name"]),
                start: number(&span["startTimeUnixNano"]),
                end: number(&span["endTimeUnixNano"]),
                attributes: attributes(&span["attributes"]),
                error: is_error.then(|| text(&span["status"]["message"])),
            });
        }
    }
    spans
}

/// Both clocks of an entry were read one after the other.
#[track_caller]
fn assert_near(span: u64, journal: &Value, what: &str) {
    let journal = journal["wallNanos"].as_u64().unwrap_or_else(|| panic!("{what}: {journal}"));
    assert!(span.abs_diff(journal) < 1_000_000, "{what}: the span says {span}, the journal {journal}");
}

#[test]
fn the_spans_of_a_run_are_the_stages_of_its_journal() {
    let Some(machine) = Machine::new("the_spans_of_a_run_are_the_stages_of_its_journal") else { return };
    let collector = Collector::start();
    let mut running = machine.run(POD, &["--otlp-endpoint", &collector.address]);
    running.wait_running("app");
    running.interrupt();
    let ended = running.end();
    assert_eq!(ended.code, Some(2), "{}", ended.story());
    let mut spans = Vec::new();
    collector.until(&mut spans, |span| span.name == "pod");
    let names: Vec<&str> = spans.iter().map(|span| span.name.as_str()).collect();
    let expected: BTreeSet<&str> =
        ["pod", "sandbox", "container", "create", "start", "postStart", "ready", "stop", "preStop", "signal wait", "kill", "clean-up"]
            .into();
    assert_eq!((names.iter().copied().collect::<BTreeSet<_>>(), names.len()), (expected, 12), "each once");
    let of = |name: &str| spans.iter().find(|span| span.name == name).expect(name);
    for (child, parent) in
        [("sandbox", "pod"), ("container", "pod"), ("postStart", "container"), ("preStop", "stop"), ("kill", "stop"), ("stop", "container")]
    {
        assert_eq!(of(child).parent, of(parent).id, "{child} is a part of {parent}");
    }
    for span in &spans {
        assert_eq!(span.trace, of("pod").trace);
        assert!(span.start <= span.end && of("pod").start <= span.start && span.end <= of("pod").end, "{span:?} is outside of its pod");
    }
    assert_eq!(of("pod").parent, "");
    let event = |name: &str| ended.find(|entry| entry["event"]["event"] == name).unwrap_or_else(|| panic!("{name}: {}", ended.story()));
    let action =
        |name: &str| ended.find(|entry| entry["action"]["action"]["action"] == name).unwrap_or_else(|| panic!("{name}: {}", ended.story()));
    let hook =
        |name: &str| &ended.find(|entry| entry["hook"]["hook"] == name).unwrap_or_else(|| panic!("{name}: {}", ended.story()))["hook"];
    assert_near(of("sandbox").start, &action("CreateSandbox")["at"], "the sandbox is asked for");
    assert_near(of("sandbox").end, &event("SandboxReady")["at"], "the sandbox is ready");
    assert_near(of("create").start, &action("CreateContainer")["at"], "the container is to be created");
    assert_near(of("create").end, &event("ContainerCreated")["at"], "the container is created");
    for (span, name) in [("postStart", "PostStart"), ("preStop", "PreStop")] {
        assert_near(of(span).start, &hook(name)["startedAt"], span);
        assert_near(of(span).end, &hook(name)["finishedAt"], span);
    }
    assert!(of("postStart").end - of("postStart").start >= 200_000_000);
    assert_near(of("pod").end, &event("PodCleanedUp")["at"], "the pod is gone");
    let signal = ended.find(|entry| entry["runtime"]["why"] == "stop").expect("a stop signal");
    assert_near(of("signal wait").start, &signal["runtime"]["at"], "the stop signal");
    assert_eq!(of("signal wait").end, of("kill").start);
    assert_eq!(of("kill").end, of("container").end);
    assert_eq!(of("preStop").error.as_deref(), Some("exited_non_zero"));
    assert_eq!(of("preStop").attributes["usher.exit.code"], "3");
    assert_eq!(of("kill").attributes["usher.kill.cause"], "process");
    assert_eq!(of("container").attributes["usher.exit.code"], "137");
    assert_eq!(of("stop").attributes["usher.grace.seconds"], "1");
    assert!(!format!("{spans:?}").contains("secret"), "what a hook prints is in no trace");
}

#[test]
fn a_pull_and_the_volumes_are_stages_of_their_own() {
    let Some(machine) = Machine::without_images("a_pull_and_the_volumes_are_stages_of_their_own") else { return };
    let layer = shell_layer(machine.path());
    let bytes = layer.len();
    let registry = Registry::open(layer);
    let collector = Collector::start();
    let manifest = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: traced}}\nspec:\n  restartPolicy: Never\n  containers:\n  - name: app\n    image: {}\n    \
         command: [sh, -c, exit 0]\n    volumeMounts: [{{name: scratch, mountPath: /scratch}}]\n  volumes: [{{name: scratch, emptyDir: {{}}}}]\n",
        registry.image()
    );
    let ended = machine.run(&manifest, &["--otlp-endpoint", &collector.address]).end();
    assert_eq!(ended.code, Some(0), "{}", ended.story());
    let mut spans = Vec::new();
    collector.until(&mut spans, |span| span.name == "pod");
    let of = |name: &str| spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("{name}: {spans:#?}"));
    let (pull, volumes) = (of("pull"), of("volumes"));
    assert_eq!((&pull.parent, &volumes.parent), (&of("container").id, &of("sandbox").id));
    assert_eq!(pull.attributes["usher.pull.bytes"], bytes.to_string());
    assert_eq!(pull.attributes["container.image.name"], registry.image());
    let action = ended.find(|entry| entry["action"]["action"]["action"] == "PullImage").expect("the pull is asked for");
    let pulled = ended.find(|entry| entry["event"]["event"] == "ImagePulled").expect("the pull ends");
    assert_near(pull.start, &action["at"], "the pull is asked for");
    assert_near(pull.end, &pulled["at"], "the pull ends");
    let took = &ended.find(|entry| entry["volumes"].is_object()).expect("the volumes")["volumes"]["took"];
    let took = took["secs"].as_u64().expect("seconds") * 1_000_000_000 + took["nanos"].as_u64().expect("nanoseconds");
    assert_eq!((volumes.start, volumes.end - volumes.start), (of("sandbox").start, took));
    assert_eq!((volumes.attributes["usher.volumes"].as_str(), volumes.error.as_ref()), ("scratch", None));
}

#[test]
fn headers_of_the_environment_are_sent_and_never_logged() {
    let Some(machine) = Machine::new("headers_of_the_environment_are_sent_and_never_logged") else { return };
    let collector = Collector::start();
    let path =
        machine.file("pod.yaml", &POD.replace("--ignore-term", "--exit-after, '10'").replace("spec:\n", "spec:\n  restartPolicy: Never\n"));
    let run = |headers: &str| {
        let mut command = machine.usher(["run", path.to_str().expect("text"), "--otlp-endpoint", &collector.address]);
        command.env("OTEL_EXPORTER_OTLP_HEADERS", headers).env("USHER_LOG", "trace").output().expect("usher runs")
    };
    let output = run("authorization=Bearer%20s3cret,x-team=blue");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let (head, _) = collector.bodies.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("nothing was sent: {said}"));
    assert!(head.contains("authorization: bearer s3cret") && head.contains("x-team: blue"), "{head}");
    assert!(!said.contains("s3cret"), "{said}");
    let refused = run("authorization");
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(125), "{said}");
    assert!(said.contains("OTEL_EXPORTER_OTLP_HEADERS: entry 1 has no `=`"), "{said}");
}

#[test]
fn a_life_is_one_trace_though_the_daemon_is_killed() {
    let Some(machine) = Machine::new("a_life_is_one_trace_though_the_daemon_is_killed") else { return };
    let collector = Collector::start();
    let more = ["--otlp-endpoint", &collector.address];
    let spec: String = POD.lines().skip(4).map(|line| format!("{}\n", &line[2..])).collect();
    let mut spans = Vec::new();
    {
        let served = Served::start(&machine, &more);
        served.create_pod("traced", &spec);
        served.wait_ready("traced");
        collector.until(&mut spans, |span| span.name == "ready");
    }
    let served = Served::start(&machine, &more);
    served.delete_pod("traced");
    served.wait_gone("traced");
    collector.until(&mut spans, |span| span.name == "pod");
    let ids: BTreeSet<&str> = spans.iter().map(|span| span.id.as_str()).collect();
    assert_eq!(ids.len(), spans.len(), "no span is sent twice: {spans:#?}");
    assert_eq!(spans.iter().map(|span| span.trace.as_str()).collect::<BTreeSet<_>>().len(), 1);
    let orphans: Vec<&Span> = spans.iter().filter(|span| !span.parent.is_empty() && !ids.contains(span.parent.as_str())).collect();
    assert!(orphans.is_empty(), "{orphans:#?}");
    assert_eq!(spans.iter().filter(|span| span.name == "postStart").count(), 1);
}

#[test]
fn a_collector_that_is_away_holds_nothing_up() {
    let Some(machine) = Machine::new("a_collector_that_is_away_holds_nothing_up") else { return };
    // Takes connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let closed = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    for address in [silent.local_addr().expect("an address"), closed] {
        let endpoint = format!("http://{address}");
        let mut running = machine.run(&POD.replace("--ignore-term", "--term-delay, '0'"), &["--otlp-endpoint", &endpoint]);
        running.wait_running("app");
        let began = Instant::now();
        running.interrupt();
        let ended = running.end();
        assert_eq!(ended.code, Some(0), "{}", ended.story());
        assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
        assert!(ended.stderr.contains("spans"), "it is said that spans are lost: {}", ended.stderr);
    }
}

#[test]
fn an_address_that_is_none_is_refused_with_a_word_on_how_to_write_it() {
    let Some(machine) = Machine::without_images("an_address_that_is_none_is_refused_with_a_word_on_how_to_write_it") else { return };
    let path = machine.file("pod.yaml", POD);
    let output = machine.output(["run", path.to_str().expect("text"), "--otlp-endpoint", "127.0.0.1:4318"]);
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("write it as http://HOST:4318"), "{text}");
}

#[test]
fn traces_without_journals_are_refused_with_what_to_leave_out() {
    let Some(machine) = Machine::without_images("traces_without_journals_are_refused_with_what_to_leave_out") else { return };
    let path = machine.file("pod.yaml", POD);
    let more = ["--otlp-endpoint", "http://127.0.0.1:4318", "--journal-max-bytes", "0"];
    let output = machine.output([&["run", path.to_str().expect("text")], &more[..]].concat());
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("leave --journal-max-bytes 0 out"), "{text}");
}
