//! Manifests as people have them: several kinds of objects in one file, images and variables changed on the command line.

use super::support::Machine;
use super::{has_line, shell_pod};

const TEMPLATE: &str = "metadata: {labels: {app: web}}
spec:
  terminationGracePeriodSeconds: 2
  restartPolicy: RESTART
  containers:
  - name: app
    image: tapp:1
    imagePullPolicy: Never
    command: [sh, -c, 'echo name=$(POD) host=$(hostname) labels=$LABEL index=$JOB_COMPLETION_INDEX; exec tapp run']
    env:
    - {name: POD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
    - {name: LABEL, valueFrom: {fieldRef: {fieldPath: \"metadata.labels['app']\"}}}
";

fn workload(head: &str, indent: usize, restart: &str) -> String {
    let pad = " ".repeat(indent);
    let template: String = TEMPLATE.replace("RESTART", restart).lines().map(|line| format!("{pad}{line}\n")).collect();
    format!("{head}\n{template}")
}

fn apps(kind: &str, more: &str) -> String {
    let head = format!(
        "apiVersion: apps/v1\nkind: {kind}\nmetadata: {{name: web}}\nspec:\n{more}  selector: {{matchLabels: {{app: web}}}}\n  template:"
    );
    workload(&head, 4, "Always")
}

fn check_runs_as(machine: &Machine, manifest: &str, note: &str, printed: &str) {
    let mut running = machine.run(manifest, &[]);
    running.wait_for("its line", |entry| entry["output"]["line"].as_str().is_some_and(|line| line.starts_with("name=")));
    running.interrupt();
    let ended = running.end();
    assert!(ended.stderr.contains(note), "{note:?} is missing in {}", ended.stderr);
    assert!(has_line(&ended, printed), "{printed:?} is missing: {}", ended.story());
}

#[test]
fn one_pod_of_each_kind_of_workload_is_run_and_named_as_its_controller_would() {
    let Some(machine) = Machine::new("one_pod_of_each_kind_of_workload_is_run_and_named_as_its_controller_would") else { return };
    check_runs_as(&machine, &apps("Deployment", "  replicas: 3\n"), "Deployment web is run as one pod, not 3: web-", "name=web-");
    check_runs_as(&machine, &apps("ReplicaSet", ""), "ReplicaSet web is run as one pod: web-", "labels=web");
    check_runs_as(&machine, &apps("DaemonSet", ""), "DaemonSet web is run as one pod: web-", "name=web-");
    check_runs_as(
        &machine,
        &apps("StatefulSet", "  serviceName: db\n"),
        "StatefulSet web is run as one pod: web-0",
        "name=web-0 host=web-0",
    );
    let controller = "apiVersion: v1\nkind: ReplicationController\nmetadata: {name: web}\nspec:\n  selector: {app: web}\n  template:";
    check_runs_as(&machine, &workload(controller, 4, "Always"), "ReplicationController web is run as one pod: web-", "labels=web");
    let job = "apiVersion: batch/v1\nkind: Job\nmetadata: {name: sum}\nspec:\n  completions: 4\n  completionMode: Indexed\n  template:";
    check_runs_as(&machine, &workload(job, 4, "Never"), "Job sum is run as one pod: sum-0-", "host=sum-0 labels=web index=0");
    let template = "apiVersion: v1\nkind: PodTemplate\nmetadata: {name: base}\ntemplate:";
    check_runs_as(&machine, &workload(template, 2, "Always"), "PodTemplate base is run as one pod: base-", "name=base-");
    let cron = "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: nightly}\nspec:\n  schedule: '0 3 * * *'\n  jobTemplate:\n    spec:\n      template:";
    check_runs_as(&machine, &workload(cron, 8, "OnFailure"), "CronJob nightly is run as one pod: nightly-", "name=nightly-");
}

#[test]
fn the_pod_of_a_job_ends_when_its_work_is_done() {
    let Some(machine) = Machine::new("the_pod_of_a_job_ends_when_its_work_is_done") else { return };
    let manifest = "apiVersion: batch/v1
kind: Job
metadata: {name: sum}
spec:
  template:
    spec:
      restartPolicy: Never
      containers: [{name: app, image: 'tapp:1', imagePullPolicy: Never, command: [sh, -c, 'echo $((19 + 23))']}]
";
    let ended = machine.run(manifest, &[]).end();
    assert_eq!(ended.code, Some(0), "{}", ended.story());
    assert!(has_line(&ended, "42"), "{}", ended.story());
}

#[test]
fn objects_of_the_same_file_are_used_and_other_kinds_are_named_as_skipped() {
    let Some(machine) = Machine::new("objects_of_the_same_file_are_used_and_other_kinds_are_named_as_skipped") else { return };
    let pod = shell_pod(
        "reader",
        "echo $GREETING $PASSWORD",
        "env:\n- {name: GREETING, valueFrom: {configMapKeyRef: {name: settings, key: greeting}}}\n- {name: PASSWORD, valueFrom: {secretKeyRef: {name: keys, key: password}}}",
        "",
    );
    let manifest = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: settings}}\ndata: {{greeting: hello}}\n---\n\
         apiVersion: v1\nkind: Secret\nmetadata: {{name: keys}}\nstringData: {{password: open}}\n---\n\
         apiVersion: v1\nkind: Service\nmetadata: {{name: front}}\nspec: {{ports: [{{port: 80}}]}}\n---\n\
         apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {{name: door}}\n---\n\
         apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: asleep}}\nspec:\n  replicas: 0\n  selector: {{matchLabels: {{a: b}}}}\n  \
         template: {{metadata: {{labels: {{a: b}}}}, spec: {{containers: [{{name: x, image: x}}]}}}}\n---\n{pod}"
    );
    let ended = machine.run(&manifest, &[]).end();
    assert_eq!(ended.code, Some(0), "{}", ended.story());
    assert!(has_line(&ended, "hello open"), "{}", ended.story());
    for note in ["Service front is skipped", "Ingress door is skipped", "Deployment asleep is skipped, it asks for no pods"] {
        assert!(ended.stderr.contains(note), "{note:?} is missing in {}", ended.stderr);
    }
}

#[test]
fn mistakes_in_a_template_are_told_with_their_place() {
    let Some(machine) = Machine::without_images("mistakes_in_a_template_are_told_with_their_place") else { return };
    let manifest = "apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: other}}
    spec:
      restartPolicy: Never
      containers:
      - name: app
        image: nginx
        livenessProbe: {httpGet: {port: 0}}
      volumes:
      - {name: disk, cephfs: {monitors: [a]}}
";
    let path = machine.file("web.yaml", manifest).display().to_string();
    let output = machine.output(["run", &path]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(125), "{text}");
    for wanted in [
        "web.yaml:7:24",
        "`selector` does not match template `labels`",
        "spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\"",
        "web.yaml:9:22",
        "spec.template.spec.containers[0].livenessProbe.httpGet.port: Invalid value: 0: must be between 1 and 65535, inclusive",
        "web.yaml:13:41",
        "spec.template.spec.volumes[0].cephfs: not supported",
        "web.yaml:15:22",
    ] {
        assert!(text.contains(wanted), "{wanted:?} is missing in:\n{text}");
    }
}

#[test]
fn images_and_variables_can_be_changed_on_the_command_line() {
    let Some(machine) = Machine::new("images_and_variables_can_be_changed_on_the_command_line") else { return };
    let manifest = shell_pod("changed", "echo $GREETING $MORE", "env: [{name: GREETING, value: hello}]", "")
        .replace("image: tapp:1\n", "image: nowhere.example/none:1\n");
    let more = ["--set-image", "tapp:1", "--env", "GREETING=good day", "--env", "app:MORE=$(GREETING)!"];
    let ended = machine.run(&manifest, &more).end();
    assert_eq!(ended.code, Some(0), "{}", ended.story());
    assert!(has_line(&ended, "good day good day!"), "{}", ended.story());
    assert_eq!(ended.status()["containerStatuses"][0]["image"], "tapp:1", "{}", ended.story());
}

#[test]
fn changes_that_fit_nothing_are_refused() {
    let Some(machine) = Machine::without_images("changes_that_fit_nothing_are_refused") else { return };
    let manifest = "apiVersion: v1\nkind: Pod\nmetadata: {name: two}\nspec: {containers: [{name: a, image: x}, {name: b, image: x}]}\n";
    let path = machine.file("two.yaml", manifest).display().to_string();
    let told = |arguments: &[&str]| {
        let output = machine.output(["run", path.as_str()].iter().chain(arguments));
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, text) = told(&["--set-image", "y"]);
    assert_eq!(code, Some(125), "{text}");
    assert!(text.contains("which container is to have the image y? There are a, b; write CONTAINER=y"), "{text}");
    let (code, text) = told(&["--env", "c:X=1"]);
    assert_eq!((code, text.as_str()), (Some(125), "error: there is no container \"c\", there are a, b\n"));
    let (code, text) = told(&["--env", "X"]);
    assert!(code != Some(0) && text.contains("write [CONTAINER:]NAME=VALUE"), "{text}");
}
