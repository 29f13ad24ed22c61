//! `usher run -i` and `-t`: what is typed reaches a container.

mod support;
#[path = "support/terminal.rs"]
mod terminal;

use std::io::Write as _;
use std::process::Stdio;

use support::Machine;
use terminal::InTerminal;

fn pod(command: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: typed}}\nspec:\n  restartPolicy: Never\n  terminationGracePeriodSeconds: 1\n  containers:\n  \
         - {{name: app, image: 'tapp:1', imagePullPolicy: Never, command: [sh, -c, '{command}']}}\n  \
         - {{name: other, image: 'tapp:1', imagePullPolicy: Never, command: [sh, -c, 'echo other; read word; echo other reads $word']}}\n"
    )
}

#[test]
fn the_input_of_usher_run_reaches_the_first_container_and_ends_with_it() {
    let Some(machine) = Machine::new("the_input_of_usher_run_reaches_the_first_container_and_ends_with_it") else { return };
    let manifest = machine.file("typed.yaml", &pod("while read word; do echo heard $word; done; echo over; exit 3"));
    let mut command = machine.usher(["run", "-i", manifest.to_str().expect("text")]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("usher starts");
    // Before the container runs: it waits.
    child.stdin.take().expect("piped").write_all(b"one\ntwo\n").expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    for line in ["heard one", "heard two", "over", "other reads"] {
        assert!(text.lines().any(|told| told.trim_end().ends_with(line)), "{line}: {text}");
    }
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let two = format!("{}---\n{}", pod("true"), pod("true").replace("typed", "second"));
    let manifest = machine.file("two.yaml", &two);
    let refused = machine.output(["run", "-i", manifest.to_str().expect("text")]);
    assert_eq!(refused.status.code(), Some(125));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("what is typed goes to one pod, and 2 were given"), "{refused:?}");
}

#[test]
fn the_terminal_of_usher_run_is_that_of_the_container_until_it_ends() {
    let Some(machine) = Machine::new("the_terminal_of_usher_run_is_that_of_the_container_until_it_ends") else { return };
    let manifest = machine.file("typed.yaml", &pod("exec sh"));
    let mut terminal = InTerminal::start(&machine.usher(["run", "-it", manifest.to_str().expect("text")]));
    // The story goes before it.
    terminal.wait_for("app");
    terminal.write("echo in the $(echo container)\r");
    terminal.wait_for("in the container\r\n");
    terminal.write("while [ \"$(stty size)\" != '40 100' ]; do sleep 0.05; done; tty\r");
    terminal.resize(40, 100);
    terminal.wait_for("/dev/pts/");
    terminal.write("sh -c 'echo begun | tr a-z A-Z; exec sleep 1000'\r");
    terminal.wait_for("BEGUN\r\n");
    // Goes to the container, and is no request to stop the pod.
    terminal.write("\x03");
    terminal.write("echo still $(echo here)\r");
    terminal.wait_for("still here\r\n");
    terminal.write("exit 4\r");
    let (status, shown) = terminal.end();
    assert_eq!(status.code(), Some(1), "{shown}");
    assert!(!shown.contains("│ in the container"), "it is shown once: {shown}");
}
