//! Parts of volumes as mounts of their own, and what containers try with them.

use super::support::Machine;
use super::{is_action, pod, run_to_end, shell_pod, wait_event};

/// Containers that mount what is swapped; each is started at least once.
const VICTIMS: usize = 12;

#[test]
fn a_sub_path_is_a_folder_or_file_of_the_volume_and_is_made_where_it_is_missing() {
    let Some(machine) = Machine::new("a_sub_path_is_a_folder_or_file_of_the_volume_and_is_made_where_it_is_missing") else { return };
    let rest = r#"initContainers:
- name: setup
  image: tapp:1
  imagePullPolicy: Never
  command: [sh, -c, "mkdir /all/sub; echo inside > /all/sub/file; ln -s sub /all/link; chmod 750 /all"]
  volumeMounts: [{name: data, mountPath: /all}]
volumes:
- {name: data, emptyDir: {}}
- {name: settings, configMap: {name: settings}}"#;
    let container = "env: [{name: WHO, value: me}]
volumeMounts:
- {name: data, mountPath: /folder, subPath: sub}
- {name: data, mountPath: /etc/one-file, subPath: sub/file}
- {name: data, mountPath: /through-link, subPath: link}
- {name: data, mountPath: /fresh, subPath: new/deep}
- {name: data, mountPath: /mine, subPathExpr: of-$(WHO)}
- {name: data, mountPath: /whole, readOnly: true}
- {name: settings, mountPath: /etc/key, subPath: key}";
    let command = "cat /folder/file /etc/one-file /through-link/file
echo x > /fresh/x; echo y > /mine/y
cat /whole/new/deep/x /whole/of-me/y
stat -c %a /whole/new
cat /etc/key; echo
touch /whole/z 2>/dev/null || echo read-only";
    let objects = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {key: value}\n---\n";
    let ended = run_to_end(&machine, &format!("{objects}{}", shell_pod("parts", command, container, rest)));
    assert_eq!(ended.output(), ["inside", "inside", "inside", "x", "y", "750", "value", "read-only"], "{}", ended.story());
}

/// What an init container does to the volume, and what the mount of a part of it is to say of that.
fn check_refused(machine: &Machine, trick: &str, sub_path: &str, told: &str) {
    let rest = format!(
        "initContainers:\n- name: evil\n  image: tapp:1\n  imagePullPolicy: Never\n  command: [sh, -c, \"{trick}\"]\n  \
         volumeMounts: [{{name: data, mountPath: /all}}]\nvolumes: [{{name: data, emptyDir: {{}}}}]"
    );
    let mounts = format!("volumeMounts: [{{name: data, mountPath: /part, {sub_path}}}]");
    let mut running = machine.run(&shell_pod("tricked", "ls /part", &mounts, &rest), &[]);
    wait_event(&mut running, &format!("Failed: Error: {told}"));
    running.interrupt();
    let ended = running.end();
    assert!(
        !ended.entries.iter().any(|entry| is_action(entry, "StartContainer") && entry["action"]["action"]["container"] == "app"),
        "{}",
        ended.story()
    );
}

#[test]
fn links_that_lead_out_of_the_volume_are_not_followed() {
    let Some(machine) = Machine::new("links_that_lead_out_of_the_volume_are_not_followed") else { return };
    let unprepared = "failed to prepare subPath for volumeMount \"data\" of container \"app\"";
    check_refused(&machine, "ln -s / /all/evil", "subPath: evil", unprepared);
    check_refused(&machine, "ln -s /etc /all/evil", "subPath: evil/shadow", unprepared);
    check_refused(&machine, "ln -s ../../../../../.. /all/evil", "subPath: evil", unprepared);
    check_refused(&machine, "ln -s /proc/1/root /all/evil", "subPath: evil", unprepared);
    check_refused(&machine, "ln -s loop /all/loop", "subPath: loop", unprepared);
    check_refused(&machine, "ln -s /nowhere /all/evil", "subPath: evil/new", unprepared);
    check_refused(&machine, "touch /all/file", "subPath: file/below", unprepared);
}

#[test]
fn a_variable_without_a_value_in_an_expression_is_told() {
    let Some(machine) = Machine::new("a_variable_without_a_value_in_an_expression_is_told") else { return };
    check_refused(&machine, "true", "subPathExpr: of-$(NOBODY)", "missing value for NOBODY");
}

#[test]
fn a_fifo_as_a_sub_path_holds_up_nothing() {
    let Some(machine) = Machine::new("a_fifo_as_a_sub_path_holds_up_nothing") else { return };
    let rest = r#"initContainers:
- name: setup
  image: tapp:1
  imagePullPolicy: Never
  command: [sh, -c, "mkfifo /all/pipe"]
  volumeMounts: [{name: data, mountPath: /all}]
volumes: [{name: data, emptyDir: {}}]"#;
    let mounts = "volumeMounts: [{name: data, mountPath: /pipe, subPath: pipe}]";
    let ended = run_to_end(&machine, &shell_pod("fifo", "stat -c %F /pipe", mounts, rest));
    assert_eq!(ended.output(), ["fifo"], "{}", ended.story());
    let created =
        ended.find(|entry| is_action(entry, "CreateContainer") && entry["action"]["action"]["container"] == "app").expect("created");
    let started =
        ended.find(|entry| is_action(entry, "StartContainer") && entry["action"]["action"]["container"] == "app").expect("started");
    assert!(ended.seconds_between(created, started) < 5.0, "{}", ended.story());
}

/// A container swaps a folder of the volume for a link to the node's root and back, as fast as it can, while parts of the volume are
/// mounted into one instance after the other: none may ever see the node.
#[test]
fn a_folder_that_is_swapped_for_a_link_meanwhile_never_shows_the_node() {
    let Some(machine) = Machine::new("a_folder_that_is_swapped_for_a_link_meanwhile_never_shows_the_node") else { return };
    let mark = machine.path().join("only-on-the-node");
    std::fs::create_dir(&mark).expect("a mark");
    let swap = format!("cd /all; while true; do mkdir -p part/x; rm -rf part; ln -s {} part; rm -f part; done", machine.path().display());
    let victims: String = (0..VICTIMS)
        .map(|number| {
            format!(
                "- {{name: victim-{number}, image: 'tapp:1', imagePullPolicy: Never, command: [sh, -c, 'ls /part; exit 0'], volumeMounts: [{{name: data, mountPath: /part, subPath: part}}]}}\n"
            )
        })
        .collect();
    let spec = format!(
        "terminationGracePeriodSeconds: 2
initContainers:
- {{name: swapper, image: 'tapp:1', imagePullPolicy: Never, restartPolicy: Always, command: [sh, -c, '{swap}'], volumeMounts: [{{name: data, mountPath: /all}}]}}
containers:
{victims}volumes: [{{name: data, emptyDir: {{}}}}]"
    );
    let manifest = pod("race", &spec);
    let mut running = machine.run(&manifest, &["--stop-after", "6s"]);
    running.wait_for("the victim", |entry| is_action(entry, "CreateContainer") && entry["action"]["action"]["container"] == "victim-0");
    let ended = running.end();
    assert!(!ended.output().iter().any(|line| line.contains("only-on-the-node")), "{}", ended.story());
}
