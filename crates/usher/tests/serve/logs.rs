//! Logs of real containers, with kubectl and with `usher logs`.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStdout, Stdio};

use crate::streams::eventually;
use crate::{Served, machine};

/// A container for each kind of output.
const PRINTS: &str = "apiVersion: v1
kind: Pod
metadata: {name: prints}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 1
  initContainers:
  - {name: first, image: 'tapp:1', imagePullPolicy: Never, command: [sh, -c, 'echo from first']}
  containers:
  - name: app
    image: tapp:1
    imagePullPolicy: Never
    command: [sh, -c, 'echo one; echo two >&2; sleep 2; echo three; printf four']
  - {name: other, image: 'tapp:1', imagePullPolicy: Never, command: [sh, -c, 'echo from other']}
";

/// Ends when it is told to, and then runs on.
const AGAIN: &str = "apiVersion: v1
kind: Pod
metadata: {name: again}
spec:
  terminationGracePeriodSeconds: 1
  volumes: [{name: data, emptyDir: {}}]
  containers:
  - name: app
    image: tapp:1
    imagePullPolicy: Never
    volumeMounts: [{name: data, mountPath: /data}]
    command:
    - sh
    - -c
    - n=$(ls /data | wc -l); echo begun $n; while [ ! -e /data/$n.end ]; do sleep 0.05; done; echo over; touch /data/x; exit 3
";

/// Prints more than one file of a log takes, in lines of a thousand characters.
const MUCH: &str = "apiVersion: v1
kind: Pod
metadata: {name: much}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 1
  containers:
  - name: app
    image: tapp:1
    imagePullPolicy: Never
    command:
    - sh
    - -c
    - >-
      while [ ! -e /tmp/begin ]; do sleep 0.05; done;
      awk 'BEGIN { for (line = 1; line <= 30000; line++) printf \"%0999d\\n\", line }'
";
const MUCH_LINES: usize = 30_000;

impl Served<'_> {
    fn apply(&self, manifest: &str) {
        let file = self.machine.file("logs.yaml", manifest);
        self.ok(&["apply", "-f", file.to_str().expect("text")]);
    }

    /// A kubectl or usher whose output is read while it runs.
    fn follow(&self, arguments: &[&str]) -> (Child, BufReader<ChildStdout>) {
        let mut child = self.command(crate::kubectl(), arguments).stdout(Stdio::piped()).spawn().expect("kubectl starts");
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        (child, stdout)
    }

    #[track_caller]
    fn refused(&self, arguments: &[&str], text: &str) {
        let (success, out, err) = self.kubectl(arguments);
        assert!(!success && err.contains(text), "kubectl {arguments:?}: {out}{err}");
    }
}

#[track_caller]
fn next_line(stdout: &mut BufReader<ChildStdout>) -> String {
    let mut line = String::new();
    stdout.read_line(&mut line).expect("readable");
    line
}

#[test]
fn kubectl_logs_shows_the_part_of_a_log_that_is_asked_for() {
    let Some(machine) = machine("kubectl_logs_shows_the_part_of_a_log_that_is_asked_for") else { return };
    let served = Served::start(&machine);
    served.apply(PRINTS);
    eventually("it has begun", || served.kubectl(&["logs", "prints", "-c", "app"]).0);
    // Until it ends, and the line without an end with it.
    assert_eq!(served.ok(&["logs", "prints", "-c", "app", "-f"]), "one\ntwo\nthree\nfour");
    served.ok(&["wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/prints", "--timeout=60s"]);
    let logs = |arguments: &[&str]| served.ok(&[&["logs", "prints", "-c", "app"], arguments].concat());
    let usher = |arguments: &[&str]| {
        let output = machine.output([&["logs", "prints", "-c", "app"], arguments].concat());
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("text")
    };
    let stamped = logs(&["--timestamps"]);
    let lines: Vec<(&str, &str)> = stamped.lines().map(|line| line.split_once(' ').expect("a time")).collect();
    assert_eq!(lines.iter().map(|(_, text)| *text).collect::<Vec<_>>(), ["one", "two", "three", "four"]);
    assert!(lines.iter().all(|(time, _)| time.len() == "2026-01-02T03:04:05.000000006Z".len()), "{stamped}");
    let since_time = format!("--since-time={}", lines[2].0);
    for (arguments, expected) in [
        (vec![], "one\ntwo\nthree\nfour"),
        (vec!["--tail=2"], "three\nfour"),
        (vec!["--tail=0"], ""),
        (vec!["--limit-bytes=6"], "one\ntw"),
        (vec!["--tail=3", "--limit-bytes=5"], "two\nt"),
        (vec![since_time.as_str()], "three\nfour"),
        (vec!["--since=1h", "--tail=1"], "four"),
    ] {
        assert_eq!(logs(&arguments), expected, "kubectl {arguments:?}");
        assert_eq!(usher(&arguments), expected, "usher {arguments:?}");
        let followed = [arguments.as_slice(), &["-f"]].concat();
        assert_eq!(logs(&followed), expected, "of one that has ended: {followed:?}");
        assert_eq!(usher(&followed), expected, "of one that has ended: {followed:?}");
    }
    assert_eq!(usher(&["--timestamps"]), stamped);
    assert_eq!(usher(&["--stream=stderr"]), "two\n");
    assert_eq!(served.ok(&["logs", "prints", "-c", "first"]), "from first\n");
    // In no order: kubectl asks for all of them at once.
    let all = served.ok(&["logs", "prints", "--all-containers"]);
    let parts = ["from first\n", "one\ntwo\nthree\nfour", "from other\n"];
    assert!(parts.iter().all(|part| all.contains(part)) && all.len() == parts.concat().len(), "{all}");
    let output = machine.output(["logs", "prints", "--tail", "1"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "app │ four\nfirst │ from first\nother │ from other\n");
    served.refused(&["logs", "prints", "-c", "app", "-p"], "previous terminated container \"app\" in pod \"prints\" not found");
    served.refused(&["logs", "prints", "-c", "nobody"], "container nobody is not valid for pod prints");
    served.ok(&["delete", "pod", "prints"]);
}

#[test]
fn a_log_is_followed_to_the_end_of_its_instance_and_the_one_before_is_kept() {
    let Some(machine) = machine("a_log_is_followed_to_the_end_of_its_instance_and_the_one_before_is_kept") else { return };
    let served = Served::start(&machine);
    served.apply(AGAIN);
    served.ok(&["wait", "--for=condition=Ready", "pod/again", "--timeout=60s"]);
    let (mut child, mut stdout) = served.follow(&["logs", "-f", "again"]);
    let mut command = machine.usher([""; 0]);
    let mut usher = command.args(["logs", "-f", "again"]).stdout(Stdio::piped()).spawn().expect("usher starts");
    let mut usher_stdout = BufReader::new(usher.stdout.take().expect("piped"));
    for stdout in [&mut stdout, &mut usher_stdout] {
        assert_eq!(next_line(stdout), "begun 0\n");
    }
    served.refused(&["logs", "again", "-p"], "previous terminated container \"app\" in pod \"again\" not found");
    // The next instance finds two files and waits for another.
    served.ok(&["exec", "again", "--", "touch", "/data/0.end"]);
    for (what, mut stdout, child) in [("kubectl", stdout, &mut child), ("usher", usher_stdout, &mut usher)] {
        let mut rest = String::new();
        stdout.read_to_string(&mut rest).expect("readable");
        assert_eq!(rest, "over\n", "{what}");
        assert!(child.wait().expect("it ends").success(), "{what}");
    }
    served.ok(&["wait", "--for=jsonpath={.status.containerStatuses[0].restartCount}=1", "pod/again", "--timeout=60s"]);
    eventually("the second instance prints", || served.kubectl(&["logs", "again"]).1 == "begun 2\n");
    assert_eq!(served.ok(&["logs", "again", "-p"]), "begun 0\nover\n");
    assert_eq!(served.ok(&["logs", "again", "-p", "-f", "--tail=1"]), "over\n");
    let previous = machine.output(["logs", "again", "--previous"]);
    assert_eq!(String::from_utf8_lossy(&previous.stdout), "begun 0\nover\n");
    served.ok(&["delete", "pod", "again"]);
}

#[test]
fn a_log_is_read_and_followed_over_rotations() {
    let Some(machine) = machine("a_log_is_read_and_followed_over_rotations") else { return };
    let served = Served::start(&machine);
    served.apply(MUCH);
    served.ok(&["wait", "--for=condition=Ready", "pod/much", "--timeout=60s"]);
    let (mut child, mut stdout) = served.follow(&["logs", "-f", "much"]);
    served.ok(&["exec", "much", "--", "touch", "/tmp/begin"]);
    let mut text = String::new();
    stdout.read_to_string(&mut text).expect("readable");
    assert!(child.wait().expect("it ends").success());
    check_much(&text);
    let folder = machine.log_root().join(format!("default_much_{}", served.uid("much"))).join("app");
    let files = std::fs::read_dir(&folder).expect("a folder").count();
    assert!(files > 2, "the log was rotated: {files} files");
    check_much(&served.ok(&["logs", "much"]));
    let usher = machine.output(["logs", "much"]);
    check_much(&String::from_utf8_lossy(&usher.stdout));
    // More lines than the newest file has.
    let tail = served.ok(&["logs", "much", "--tail=25000"]);
    assert!(tail.lines().count() == 25_000 && tail.lines().next().is_some_and(|line| line.ends_with("005001")), "{:.1100}", tail);
    served.ok(&["delete", "pod", "much"]);
}

#[track_caller]
fn check_much(text: &str) {
    assert_eq!(text.lines().count(), MUCH_LINES);
    for (number, line) in text.lines().enumerate() {
        assert_eq!(line.trim_start_matches('0').parse(), Ok(number + 1), "line {number}");
    }
}

#[test]
fn a_container_that_has_not_started_has_no_log_and_it_is_told_why() {
    let Some(machine) = machine("a_container_that_has_not_started_has_no_log_and_it_is_told_why") else { return };
    let served = Served::start(&machine);
    served.apply(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: waits}\nspec:\n  terminationGracePeriodSeconds: 1\n  initContainers:\n  \
         - {name: first, image: 'tapp:1', imagePullPolicy: Never, command: [tapp, run]}\n  containers:\n  \
         - {name: app, image: 'tapp:1', imagePullPolicy: Never, command: [tapp, run]}\n\
         ---\napiVersion: v1\nkind: Pod\nmetadata: {name: pulls}\nspec:\n  containers:\n  - {name: app, image: 'localhost:1/none:1'}\n\
         ---\napiVersion: v1\nkind: Pod\nmetadata: {name: hooked}\nspec:\n  terminationGracePeriodSeconds: 1\n  containers:\n  \
         - name: app\n    image: tapp:1\n    imagePullPolicy: Never\n    command: [sh, -c, 'echo already; exec tapp run']\n    \
         lifecycle: {postStart: {exec: {command: [sh, -c, 'while [ ! -e /tmp/end ]; do sleep 0.05; done']}}}\n",
    );
    served.ok(&["wait", "--for=jsonpath={.status.initContainerStatuses[0].state.running}", "pod/waits", "--timeout=60s"]);
    served.refused(&["logs", "waits"], "(BadRequest): container \"app\" in pod \"waits\" is waiting to start: PodInitializing");
    let waiting = "{.status.containerStatuses[0].state.waiting.reason}";
    served.ok(&["wait", &format!("--for=jsonpath={waiting}=ImagePullBackOff"), "pod/pulls", "--timeout=60s"]);
    // It goes to and fro between the two.
    let (success, _, err) = served.kubectl(&["logs", "-f", "pulls"]);
    let begin = "(BadRequest): container \"app\" in pod \"pulls\" is waiting to start: ";
    let is_either = ["trying and failing to pull image", "image can't be pulled"].iter().any(|end| err.contains(&format!("{begin}{end}")));
    assert!(!success && is_either, "{err}");
    // A hook holds up the start, but not the container.
    eventually("it has printed", || served.kubectl(&["logs", "hooked"]).1.starts_with("already\n"));
    assert_ne!(served.ok(&["get", "pod", "hooked", "-o", "jsonpath={.status.containerStatuses[0].started}"]), "true");
    served.ok(&["delete", "pod", "waits", "pulls", "hooked", "--timeout=60s"]);
}

#[test]
fn a_follower_that_goes_away_is_let_go() {
    let Some(machine) = machine("a_follower_that_goes_away_is_let_go") else { return };
    let served = Served::start(&machine);
    served.start_pod();
    let watches = || {
        let files = std::fs::read_dir(format!("/proc/{}/fd", served.child.id())).expect("the daemon is there").flatten();
        files.filter(|file| std::fs::read_link(file.path()).is_ok_and(|target| target.ends_with("anon_inode:inotify"))).count()
    };
    let before = watches();
    let (mut child, mut stdout) = served.follow(&["logs", "-f", "web"]);
    assert_eq!(next_line(&mut stdout), "colour is green\n");
    eventually("the log is watched", || watches() > before);
    child.kill().expect("it is there");
    child.wait().expect("it ends");
    // The container prints nothing meanwhile.
    eventually("nothing is watched any longer", || watches() == before);
    served.ok(&["delete", "pod", "web"]);
}
