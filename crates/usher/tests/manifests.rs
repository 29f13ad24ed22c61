//! Bad input on the command line: everything that is wrong is told at once, with its place, and nothing is run or left behind.

mod support;

use support::Machine;

#[test]
fn a_bad_manifest_is_refused_with_places_and_nothing_is_made() {
    let Some(machine) = Machine::without_images("a_bad_manifest_is_refused_with_places_and_nothing_is_made") else { return };
    let manifest = "apiVersion: v1
kind: Pod
metadata:
  name: Bad_Name
spec:
  containers:
  - name: app
    imag: nginx
    terminationGracePeriodSeconds: 60
";
    let path = machine.file("bad.yaml", manifest).display().to_string();
    let output = machine.output(["run", &path]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(125), "{text}");
    for wanted in ["bad.yaml:8:5", "did you mean `image`?", "terminationGracePeriodSeconds", "metadata.name: Invalid value"] {
        assert!(text.contains(wanted), "{wanted:?} is missing in:\n{text}");
    }
    assert!(!machine.root().join("pods").exists(), "nothing was made");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let Some(machine) = Machine::without_images("a_file_that_is_not_there_is_named") else { return };
    let output = machine.output(["run", "/no/such/pod.yaml"]);
    assert_eq!(output.status.code(), Some(125));
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(text, "error: cannot read /no/such/pod.yaml: No such file or directory (os error 2)\n");
}

#[test]
fn the_machine_is_checked_and_the_findings_are_told() {
    let Some(machine) = Machine::without_images("the_machine_is_checked_and_the_findings_are_told") else { return };
    let output = machine.output(["check"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    assert!(text.ends_with("this machine can run pods\n"), "{text}");
}
