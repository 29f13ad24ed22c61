//! What is done to a served machine besides kubectl: backups, and the commands for machines without kubectl.

#[path = "observe/served.rs"]
#[expect(dead_code, reason = "others use all of it")]
mod served;
mod support;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Output, Stdio};
use std::time::Instant;

use serde_json::Value;
use served::Served;
use support::{Machine, PATIENCE};

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
const SERVER: &str = "containers:
- name: app
  image: tapp:1
  imagePullPolicy: Never
  command: [tapp, run]
";
const JOB: &str = "restartPolicy: Never
containers:
- name: app
  image: tapp:1
  imagePullPolicy: Never
  command: [sh, -c, 'echo done; exit 3']
";

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[track_caller]
fn ok(machine: &Machine, arguments: &[&str]) -> String {
    let output = machine.output(arguments.iter().copied());
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// Runs a command that has to fail; what it complains about.
#[track_caller]
fn refused(machine: &Machine, arguments: &[&str]) -> String {
    let Output { status, stdout, stderr } = machine.output(arguments.iter().copied());
    assert_eq!(status.code(), Some(125), "{arguments:?}: {}{}", text(&stdout), text(&stderr));
    text(&stderr)
}

fn create_config_map(served: &Served<'_>, name: &str) {
    let map = serde_json::json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name }, "data": { "a": "b" } });
    let answer = served.ask("POST", CONFIG_MAPS, &["Content-Type: application/json"], &map.to_string());
    assert_eq!(answer.code, 201, "{answer:?}");
}

fn config_maps(served: &Served<'_>) -> Vec<String> {
    let list: Value = serde_json::from_str(&served.get(CONFIG_MAPS)).expect("JSON");
    let items = list["items"].as_array().cloned().unwrap_or_default();
    items
        .iter()
        .filter_map(|item| item["metadata"]["name"].as_str().map(ToOwned::to_owned))
        .filter(|name| name != "kube-root-ca.crt")
        .collect()
}

fn container_of(served: &Served<'_>, pod: &str) -> Value {
    let pod: Value = serde_json::from_str(&served.get(&format!("/api/v1/namespaces/default/pods/{pod}"))).expect("JSON");
    pod["status"]["containerStatuses"][0].clone()
}

#[test]
fn a_backup_is_made_while_the_daemon_runs_and_restored_when_it_does_not() {
    let Some(machine) = Machine::new("a_backup_is_made_while_the_daemon_runs_and_restored_when_it_does_not") else { return };
    let file = machine.path().join("backup");
    let path = file.to_str().expect("text");
    assert!(refused(&machine, &["backup", path]).contains("was `usher serve` ever run with this --root?"));
    let served = Served::start(&machine, &[]);
    create_config_map(&served, "kept");
    served.create_pod("web", SERVER);
    served.wait_ready("web");
    let before = container_of(&served, "web");
    assert!(ok(&machine, &["backup", path]).contains(" objects at revision "));
    assert_eq!(fs::metadata(&file).expect("it is there").permissions().mode() & 0o777, 0o600, "it holds secrets");
    create_config_map(&served, "lost");
    assert!(refused(&machine, &["restore", path]).contains("`usher serve` is running"));
    drop(served);

    // Without the daemon it is the file that is read.
    let other = machine.path().join("other");
    ok(&machine, &["backup", other.to_str().expect("text")]);
    let lines = |path| fs::read_to_string(path).expect("readable").lines().count();
    assert!(lines(&other) > lines(&file), "what came later is in it");
    assert!(refused(&machine, &["restore", path]).contains("there is a store in"));
    let restored = ok(&machine, &["restore", path, "--replace"]);
    assert!(restored.contains("store.redb.before-restore") && restored.contains("restored at revision"), "{restored}");
    let served = Served::start(&machine, &[]);
    assert_eq!(config_maps(&served), ["kept"]);
    served.wait_ready("web");
    let after = container_of(&served, "web");
    for field in ["containerID", "restartCount", "state"] {
        assert_eq!(after[field], before[field], "{field}: the pod lived on meanwhile");
    }
    served.delete_pod("web");
    served.wait_gone("web");
}

#[test]
fn a_backup_that_is_not_whole_or_of_a_newer_version_changes_nothing() {
    let Some(machine) = Machine::without_images("a_backup_that_is_not_whole_or_of_a_newer_version_changes_nothing") else { return };
    let served = Served::start(&machine, &[]);
    create_config_map(&served, "here");
    let file = machine.path().join("backup");
    ok(&machine, &["backup", file.to_str().expect("text")]);
    drop(served);
    let whole = fs::read_to_string(&file).expect("readable");
    let half = machine.file("half", &whole[..whole.len() / 2]);
    let newer = machine.file("newer", &whole.replacen("\"format\":1", "\"format\":99", 1));
    let foreign = machine.file("foreign", "apiVersion: v1\n");
    for (file, expected) in
        [(&half, "the backup is damaged at line"), (&newer, "it has format 99"), (&foreign, "no backup that can be restored")]
    {
        let complaint = refused(&machine, &["restore", file.to_str().expect("text"), "--replace"]);
        assert!(complaint.contains(expected), "{complaint}");
    }
    let names: Vec<_> = fs::read_dir(machine.root().join("server")).expect("a folder").flatten().map(|entry| entry.file_name()).collect();
    assert!(!names.iter().any(|name| name.to_string_lossy().contains("restore")), "{names:?}");
    let served = Served::start(&machine, &[]);
    assert_eq!(config_maps(&served), ["here"]);
}

#[test]
fn the_file_for_kubectl_is_printed_for_either_role() {
    let Some(machine) = Machine::without_images("the_file_for_kubectl_is_printed_for_either_role") else { return };
    assert!(refused(&machine, &["kubeconfig"]).contains("`usher serve` writes it at its first start"));
    let served = Served::start(&machine, &[]);
    let written = fs::read_to_string(machine.root().join("server/kubeconfig")).expect("written");
    assert_eq!(ok(&machine, &["kubeconfig"]), written);
    let view = ok(&machine, &["kubeconfig", "--role", "view", "--server", "https://node.example:6443"]);
    assert!(view.contains("user: usher-read-only") && view.contains("    server: https://node.example:6443\n"), "{view}");
    drop(served);
}

/// Reasons in the order in which they are told.
fn reasons(lines: &str) -> Vec<String> {
    let events = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    events.filter_map(|event| event["reason"].as_str().map(ToOwned::to_owned)).collect()
}

#[test]
fn events_are_told_by_the_daemon_and_without_it_by_the_journal() {
    let Some(machine) = Machine::new("events_are_told_by_the_daemon_and_without_it_by_the_journal") else { return };
    let served = Served::start(&machine, &[]);
    let mut watch = machine.usher(["events", "-w"]).stdout(Stdio::piped()).spawn().expect("usher starts");
    let mut told = BufReader::new(watch.stdout.take().expect("piped")).lines().map_while(Result::ok);
    served.create_pod("job", JOB);
    served.wait("job", "its end", |pod| pod.is_some_and(|pod| pod["status"]["phase"] == "Failed"));
    let seen = told.by_ref().take_while(|line| !line.contains("Started")).collect::<Vec<_>>();
    assert!(seen[0].starts_with("LAST SEEN") && seen.iter().any(|line| line.contains("pod/job") && line.contains("Created")), "{seen:?}");
    let by_daemon = reasons(&ok(&machine, &["events", "job", "-o", "json"]));
    assert!(by_daemon.ends_with(&["Created".to_owned(), "Started".to_owned()]), "{by_daemon:?}");
    let table = ok(&machine, &["events", "default/job"]);
    assert!(table.contains("Normal") && table.contains("Container created"), "{table}");
    drop(served);
    assert!(!watch.wait().expect("it ends").success(), "it ends with the daemon");
    let by_journal = reasons(&ok(&machine, &["events", "job", "-o", "json"]));
    // That a pod was assigned to the node is told by the API, not by the engine.
    assert_eq!(by_journal, by_daemon.iter().filter(|reason| *reason != "Scheduled").cloned().collect::<Vec<_>>());
    assert_eq!(reasons(&ok(&machine, &["events", "-o", "json"])), by_journal);
    assert!(refused(&machine, &["events", "nobody"]).contains("no journal of a pod called"));
}

#[test]
fn a_machine_without_kubectl_is_served_by_our_own_commands() {
    let Some(machine) = Machine::new("a_machine_without_kubectl_is_served_by_our_own_commands") else { return };
    let served = Served::start(&machine, &[]);
    served.create_pod("web", SERVER);
    served.create_pod("job", JOB);
    served.wait_ready("web");
    served.wait("job", "its end", |pod| pod.is_some_and(|pod| pod["status"]["phase"] == "Failed"));
    let deadline = Instant::now() + PATIENCE;
    let list = loop {
        let list: Value = serde_json::from_str(&ok(&machine, &["ps", "-o", "json"])).expect("JSON");
        // The end is told before the folder goes.
        if list.as_array().is_some_and(|rows| rows.iter().all(|row| row["name"] != "job" || row["driven"] == false)) {
            break list;
        }
        assert!(Instant::now() < deadline, "{list:#}");
    };
    let row = |name: &str| list.as_array().and_then(|rows| rows.iter().find(|row| row["name"] == name)).cloned().unwrap_or_default();
    assert_eq!((&row("web")["status"], &row("web")["driven"]), (&"Running".into(), &true.into()), "{list:#}");
    assert_eq!((&row("job")["status"], &row("job")["driven"]), (&"Failed".into(), &false.into()), "{list:#}");
    // What the machine adds to a command line comes after the command here, which takes no notice of it.
    let mut inside = machine.usher(["exec", "web", "--", "sh", "-c", "echo inside"]);
    let inside = inside.env("USHER_ROOT", machine.root()).output().expect("usher runs");
    assert_eq!((text(&inside.stdout).as_str(), inside.status.code()), ("inside\n", Some(0)), "{}", text(&inside.stderr));
    assert_eq!(ok(&machine, &["logs", "job"]), "done\n");
    for pod in ["web", "job"] {
        assert_eq!(ok(&machine, &["rm", pod]), format!("pod default/{pod} removed\n"));
        let answer = served.ask("GET", &format!("/api/v1/namespaces/default/pods/{pod}"), &[], "");
        assert_eq!(answer.code, 404, "the API has it no more: {answer:?}");
    }
    assert!(refused(&machine, &["rm", "web"]).contains("no pod is called \"web\""));
    served.create_pod("again", SERVER);
    served.wait_ready("again");
    ok(&machine, &["rm", "--all", "--force"]);
    assert_eq!(ok(&machine, &["ps"]), "no pods\n");
    assert_eq!(machine.shims(), Vec::<i32>::new());
}

/// Says that it begins, ends when it is told to, and would fail if it began again.
const ONCE: &str = "restartPolicy: OnFailure
containers:
- name: app
  image: tapp:1
  imagePullPolicy: Never
  command: [sh, -c, 'echo begun >>/told/NAME; until [ -e /told/go ]; do sleep 0.01; done']
  volumeMounts: [{name: told, mountPath: /told}]
volumes: [{name: told, hostPath: {path: TOLD}}]
";

/// Makes a config map, if the daemon lives.
fn is_made(socket: &std::path::Path, name: &str, data: &str) -> bool {
    use std::io::{Read as _, Write as _};
    let map =
        serde_json::json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name }, "data": { "a": data } }).to_string();
    let head = format!(
        "POST {CONFIG_MAPS} HTTP/1.1\r\nHost: usher\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        map.len()
    );
    let answer = std::os::unix::net::UnixStream::connect(socket).and_then(|mut stream| {
        stream.write_all((head + &map).as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).map(|_| answer)
    });
    answer.is_ok_and(|answer| answer.starts_with("HTTP/1.1 201"))
}

/// The store has more to write than it can when the pods end, so that the daemon dies before their ends are told.
#[test]
fn pods_whose_ends_a_daemon_could_not_tell_before_it_died_are_not_begun_again() {
    let Some(machine) = Machine::new("pods_whose_ends_a_daemon_could_not_tell_before_it_died_are_not_begun_again") else { return };
    let told = machine.path().join("told");
    fs::create_dir(&told).expect("a folder");
    let served = Served::start(&machine, &[]);
    let names: Vec<String> = (0..6).map(|number| format!("once-{number}")).collect();
    for name in &names {
        served.create_pod(name, &ONCE.replace("NAME", name).replace("TOLD", &told.display().to_string()));
        served.wait_ready(name);
    }
    let is_cleaned_up = |path: &std::path::Path| fs::read_to_string(path).is_ok_and(|journal| journal.contains("\"CleanUpPod\""));
    let data = "x".repeat(900_000);
    std::thread::scope(|scope| {
        for writer in 0..8 {
            let (socket, data) = (machine.root().join("api.sock"), &data);
            scope.spawn(move || (0..).take_while(|number| is_made(&socket, &format!("map-{writer}-{number}"), data)).count());
        }
        fs::write(told.join("go"), "").expect("a file");
        let deadline = Instant::now() + PATIENCE;
        let journals = || fs::read_dir(machine.root().join("journals")).expect("journals").flatten().map(|entry| entry.path());
        while journals().filter(|path| is_cleaned_up(path)).count() < names.len() {
            assert!(Instant::now() < deadline, "the pods do not end");
            std::thread::yield_now();
        }
        drop(served);
    });
    let served = Served::start(&machine, &[]);
    for name in &names {
        served.wait(name, "its end", |pod| pod.is_some_and(|pod| pod["status"]["phase"] == "Succeeded"));
        assert_eq!(fs::read_to_string(told.join(name)).expect("it said so"), "begun\n", "{name} was begun again");
    }
    // The end is told before the rest of what the pod had goes.
    let deadline = Instant::now() + PATIENCE;
    while fs::read_dir(machine.root().join("pods")).expect("a folder").next().is_some() {
        assert!(Instant::now() < deadline, "something is left of the pods");
        std::thread::yield_now();
    }
}

/// Enough for the images and what the engine writes.
const DISK_MIB: u64 = 160;
const PROBED: &str = "terminationGracePeriodSeconds: 30
containers:
- name: app
  image: tapp:1
  imagePullPolicy: Never
  command: [tapp, run]
  livenessProbe: {exec: {command: ['true']}, periodSeconds: 1, failureThreshold: 1}
  readinessProbe: {exec: {command: ['true']}, periodSeconds: 1, failureThreshold: 1}
  lifecycle: {preStop: {exec: {command: [tapp, say, preStop]}}}
";

/// Fills the disk of the machine until nothing more goes onto it.
fn fill(machine: &Machine) -> std::path::PathBuf {
    use std::io::Write as _;
    let path = machine.root().join("filler");
    let mut file = fs::File::create(&path).expect("an empty file fits");
    for block in [1 << 20, 4096] {
        while file.write_all(&vec![0; block]).is_ok() {}
    }
    path
}

/// How often the container was probed with this result.
fn probes(served: &Served<'_>, result: &str) -> f64 {
    let metrics = served.get("/metrics");
    let wanted = |line: &&str| {
        line.starts_with("prober_probe_total{") && line.contains("Liveness") && line.contains(&format!("result=\"{result}\""))
    };
    metrics.lines().filter(wanted).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

#[test]
fn a_full_disk_refuses_changes_with_the_reason_and_harms_no_pod() {
    let Some(machine) = Machine::in_memory("a_full_disk_refuses_changes_with_the_reason_and_harms_no_pod", DISK_MIB) else { return };
    let served = Served::start(&machine, &[]);
    served.create_pod("web", PROBED);
    served.wait_ready("web");
    let before = container_of(&served, "web");
    let filler = fill(&machine);

    // What the store has in reserve is used up first.
    let data = "x".repeat(100_000);
    let mut made = Vec::new();
    let refused = loop {
        let name = format!("map-{:03}", made.len());
        let map = serde_json::json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name }, "data": { "a": data } });
        let answer = served.ask("POST", CONFIG_MAPS, &["Content-Type: application/json"], &map.to_string());
        if answer.code != 201 {
            break answer;
        }
        made.push(name);
        assert!(made.len() < 1000, "the disk is not full");
    };
    assert_eq!(refused.code, 507, "{refused:?}");
    let status: Value = serde_json::from_str(&refused.body).expect("JSON");
    assert_eq!(status["reason"], "InsufficientStorage");
    assert!(status["message"].as_str().is_some_and(|text| text.contains("the disk of the store is full; free some space")), "{status}");
    assert_eq!(config_maps(&served), made, "reads go on, and tell what was acknowledged");

    // The pod is probed as before, and neither restarted nor unready.
    let probed = probes(&served, "successful");
    let deadline = Instant::now() + PATIENCE;
    while probes(&served, "successful") < probed + 3.0 {
        assert!(Instant::now() < deadline, "no probe succeeds: {}", served.get("/metrics"));
    }
    let after = container_of(&served, "web");
    for field in ["containerID", "restartCount", "ready", "state"] {
        assert_eq!(after[field], before[field], "{field}");
    }

    // Writes go on by themselves.
    fs::remove_file(filler).expect("it is ours");
    create_config_map(&served, "later");
    served.delete_pod("web");
    served.wait_gone("web");
    let log = text(&machine.output(["logs", "web"]).stdout);
    assert!(log.contains("hook: preStop"), "{log}");
}
