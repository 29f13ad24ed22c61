//! A client of another make: the Kubernetes project's own for Python.

use std::process::Command;

use crate::{Served, machine};

#[test]
fn the_python_client_works_unchanged() {
    let name = "the_python_client_works_unchanged";
    let Some(python) = std::env::var_os("KUBERNETES_PYTHON") else {
        #[expect(clippy::print_stderr, reason = "tests say why they skip")]
        {
            eprintln!("SKIP {name}: set KUBERNETES_PYTHON to a Python that has the package `kubernetes`, as scripts/test does");
        }
        return;
    };
    let Some(machine) = machine(name) else { return };
    let _served = Served::start(&machine);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/serve/client.py");
    let mut command = Command::new(python);
    command.args(["-B", script]).arg(machine.root().join("server/kubeconfig")).env("HOME", machine.path());
    let output = command.output().expect("Python runs");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}{err}");
    let passed = out.lines().filter(|line| line.starts_with("ok ")).count();
    assert!(passed > 10 && out.ends_with(&format!("all {passed}\n")), "{out}");
}
