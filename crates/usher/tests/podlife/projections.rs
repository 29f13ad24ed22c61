//! Volumes whose files come from objects and fields: what is in them, and how they change under a running container.

use super::support::Machine;
use super::{has_line, is_action, run_to_end, shell_pod, wait_event};

const OBJECTS: &str = "apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {a.txt: alpha, b.txt: beta}
binaryData: {raw: AAH/}
---
apiVersion: v1
kind: Secret
metadata: {name: keys}
stringData: {password: open}
---
";

#[test]
fn config_maps_and_secrets_are_files_with_the_modes_asked_for() {
    let Some(machine) = Machine::new("config_maps_and_secrets_are_files_with_the_modes_asked_for") else { return };
    let rest = "volumes:
- {name: all, configMap: {name: settings}}
- {name: some, configMap: {name: settings, defaultMode: 0o400, items: [{key: a.txt, path: sub/renamed}, {key: b.txt, path: b, mode: 0o440}]}}
- {name: keys, secret: {secretName: keys, defaultMode: 0o600}}
- {name: maybe, configMap: {name: none, optional: true}}
- {name: part, configMap: {name: settings, optional: true, items: [{key: none, path: none}]}}
- {name: hidden, secret: {secretName: none, optional: true}}
- {name: one, secret: {secretName: keys, items: [{key: password, path: p, mode: 0o400}]}}";
    let mounts = "volumeMounts:
- {name: all, mountPath: /all}
- {name: some, mountPath: /some}
- {name: keys, mountPath: /keys}
- {name: maybe, mountPath: /maybe}
- {name: part, mountPath: /part}
- {name: hidden, mountPath: /hidden}
- {name: one, mountPath: /one}";
    let command = "ls /all | tr '\\n' ' '; echo
cat /all/a.txt /all/b.txt; echo
od -An -tx1 /all/raw
readlink /all/a.txt
stat -Lc '%a' /all/a.txt /some/sub/renamed /some/b /keys/password
cat /keys/password; echo
grep ' /keys ' /proc/mounts | cut -d' ' -f3
ls /maybe /part /hidden | grep -c none
ls /one; stat -Lc '%a' /one/p
touch /all/x 2>/dev/null || echo read-only";
    let ended = run_to_end(&machine, &format!("{OBJECTS}{}", shell_pod("files", command, mounts, rest)));
    let wanted = [
        "a.txt b.txt raw ",
        "alphabeta",
        " 00 01 ff",
        "..data/a.txt",
        "644",
        "400",
        "440",
        "600",
        "open",
        "tmpfs",
        "0",
        "p",
        "400",
        "read-only",
    ];
    assert_eq!(ended.output(), wanted, "{}", ended.story());
}

#[test]
fn fields_and_resources_of_the_pod_are_files() {
    let Some(machine) = Machine::new("fields_and_resources_of_the_pod_are_files") else { return };
    let rest = "volumes:
- name: info
  downwardAPI:
    defaultMode: 0o440
    items:
    - {path: name, fieldRef: {fieldPath: metadata.name}}
    - {path: labels, fieldRef: {fieldPath: metadata.labels}, mode: 0o600}
    - {path: one, fieldRef: {fieldPath: \"metadata.annotations['note']\"}}
    - {path: memory, resourceFieldRef: {containerName: app, resource: limits.memory, divisor: 1Mi}}";
    let container = "resources: {limits: {memory: 64Mi}}\nvolumeMounts: [{name: info, mountPath: /info}]";
    let command =
        "cat /info/name; echo; cat /info/labels; echo; cat /info/one; echo; cat /info/memory; echo; stat -Lc %a /info/labels /info/name";
    let manifest = shell_pod("fields", command, container, rest)
        .replace("  name: fields\n", "  name: fields\n  labels: {app: web, tier: \"front\"}\n  annotations: {note: kept}\n");
    let ended = run_to_end(&machine, &manifest);
    assert_eq!(ended.output(), ["fields", "app=\"web\"", "tier=\"front\"", "kept", "64", "600", "440"], "{}", ended.story());
}

#[test]
fn several_sources_are_projected_into_one_folder() {
    let Some(machine) = Machine::new("several_sources_are_projected_into_one_folder") else { return };
    let rest = "volumes:
- name: both
  projected:
    defaultMode: 0o440
    sources:
    - {configMap: {name: settings, items: [{key: a.txt, path: a}]}}
    - {secret: {name: keys, items: [{key: password, path: deep/password, mode: 0o400}]}}
    - {downwardAPI: {items: [{path: name, fieldRef: {fieldPath: metadata.name}}]}}
    - {secret: {name: none, optional: true}}
    - {configMap: {name: none, optional: true}}";
    let command = "cat /both/a; echo; cat /both/deep/password; echo; cat /both/name; echo; stat -Lc %a /both/a /both/deep/password";
    let manifest = shell_pod("projected", command, "volumeMounts: [{name: both, mountPath: /both}]", rest);
    let ended = run_to_end(&machine, &format!("{OBJECTS}{manifest}"));
    assert_eq!(ended.output(), ["alpha", "open", "projected", "440", "400"], "{}", ended.story());
}

// k8s: 2.a.9
#[test]
fn objects_and_keys_that_are_not_there_hold_up_the_pod_and_are_told() {
    let Some(machine) = Machine::new("objects_and_keys_that_are_not_there_hold_up_the_pod_and_are_told") else { return };
    let mounts = "volumeMounts: [{name: data, mountPath: /data}]";
    for (source, told) in [
        ("configMap: {name: none}", "configmap \"none\" not found"),
        ("secret: {secretName: none}", "secret \"none\" not found"),
        ("configMap: {name: settings, items: [{key: none, path: x}]}", "configmap references non-existent config key: none"),
        ("secret: {secretName: keys, items: [{key: none, path: x}]}", "references non-existent secret key: none"),
    ] {
        let manifest = shell_pod("missing", "true", mounts, &format!("volumes: [{{name: data, {source}}}]"));
        let mut running = machine.run(&format!("{OBJECTS}{manifest}"), &[]);
        let text = format!("FailedMount: Unable to attach or mount volumes: MountVolume.SetUp failed for volume \"data\" : {told}");
        wait_event(&mut running, &text);
        running.interrupt();
        let ended = running.end();
        assert!(ended.find(|entry| is_action(entry, "CreateContainer")).is_none(), "{}", ended.story());
    }
}

#[test]
fn a_change_of_an_object_in_the_file_reaches_the_running_container_in_one_step() {
    let name = "a_change_of_an_object_in_the_file_reaches_the_running_container_in_one_step";
    let Some(machine) = Machine::new(name) else { return };
    let manifest = |value: &str| {
        let rest = "volumes:
- {name: data, configMap: {name: pair}}
- {name: fixed, configMap: {name: fixed}}";
        let mounts = "volumeMounts:
- {name: data, mountPath: /data}
- {name: data, mountPath: /part, subPath: left}
- {name: fixed, mountPath: /fixed}";
        let command = "trap 'exit 0' TERM
echo begin
while true; do
  d=$(readlink /data/..data)
  l=$(cat /data/$d/left 2>/dev/null); r=$(cat /data/$d/right 2>/dev/null)
  test -z \"$l\" || test -z \"$r\" || test \"$l\" = \"$r\" || echo torn $l $r
  test \"$(cat /data/left)\" = two && echo changed and part is $(cat /part) and fixed is $(cat /fixed/key) and $(ls /data | tr '\\n' ' ') && break
  sleep 0.05
done
sleep 1000 & wait";
        let pod = shell_pod("watching", command, mounts, rest);
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: pair}}\ndata: {{left: {value}, right: {value}, only-{value}: x}}\n---\n\
             apiVersion: v1\nkind: ConfigMap\nimmutable: true\nmetadata: {{name: fixed}}\ndata: {{key: {value}}}\n---\n{pod}"
        )
    };
    let path = machine.file("watched.yaml", &manifest("one"));
    let mut running = machine.run_file(&path, &[]);
    running.wait_for("the loop", |entry| entry["output"]["line"] == "begin");
    // An editor that saves a mistake first: told, and nothing changes.
    std::fs::write(&path, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: pair}\ndata: {left: [two]}\n").expect("written");
    std::fs::write(machine.path().join("next.yaml"), manifest("two")).expect("written");
    std::fs::rename(machine.path().join("next.yaml"), &path).expect("renamed");
    running.wait_for("the change", |entry| entry["output"]["line"].as_str().is_some_and(|line| line.starts_with("changed")));
    running.interrupt();
    let ended = running.end();
    assert!(has_line(&ended, "changed and part is one and fixed is one and left only-two right"), "{}", ended.story());
    assert!(!has_line(&ended, "torn"), "both files change at once: {}", ended.story());
    assert!(ended.stderr.contains("note: pod watching: volume data has its new content"), "{}", ended.stderr);
    assert!(ended.stderr.contains("ConfigMap fixed is immutable and stays as it was"), "{}", ended.stderr);
}
