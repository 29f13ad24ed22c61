//! The environment of real containers.

use super::support::Machine;
use super::{has_line, is_action, run_to_end, shell_pod, wait_event};

const OBJECTS: &str = "apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {GREETING: hello, not-a-name: kept}
---
apiVersion: v1
kind: Secret
metadata: {name: keys}
stringData: {PASSWORD: open}
---
";

#[test]
fn variables_come_from_objects_fields_and_resources_in_the_references_order() {
    let Some(machine) = Machine::new("variables_come_from_objects_fields_and_resources_in_the_references_order") else { return };
    let container = r#"envFrom:
- {configMapRef: {name: settings}}
- {prefix: P_, secretRef: {name: keys}}
- {configMapRef: {name: none, optional: true}}
- {secretRef: {name: none, optional: true}}
resources: {requests: {cpu: 250m, memory: 8Mi}, limits: {memory: 64Mi}}
env:
- {name: GREETING, value: good day}
- {name: TWICE, value: "$(GREETING) $(LATER) $$(GREETING)"}
- {name: LATER, value: x}
- {name: PASSWORD, valueFrom: {secretKeyRef: {name: keys, key: PASSWORD}}}
- {name: ABSENT, valueFrom: {configMapKeyRef: {name: settings, key: none, optional: true}}}
- {name: ABSENT, valueFrom: {secretKeyRef: {name: none, key: none, optional: true}}}
- {name: NAME, valueFrom: {fieldRef: {apiVersion: v1, fieldPath: metadata.name}}}
- {name: NAMESPACE, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}}
- {name: POD_UID, valueFrom: {fieldRef: {fieldPath: metadata.uid}}}
- {name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
- {name: ACCOUNT, valueFrom: {fieldRef: {fieldPath: spec.serviceAccountName}}}
- {name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
- {name: HOST_IP, valueFrom: {fieldRef: {fieldPath: status.hostIP}}}
- {name: MEMORY, valueFrom: {resourceFieldRef: {resource: limits.memory, divisor: 1Mi}}}
- {name: CPU, valueFrom: {resourceFieldRef: {resource: requests.cpu, divisor: 1m}}}"#;
    let command = "echo \"1 $TWICE\"
echo \"2 $P_PASSWORD $PASSWORD ${ABSENT-unset}\"
echo \"3 $NAME $NAMESPACE $MEMORY $CPU\"
echo \"4 $(printf %s \"$POD_UID\" | wc -c)\"
test \"$IP\" = \"$(hostname -i)\" && echo 5 address
test -n \"$NODE\" && test -n \"$HOST_IP\" && echo 6 node
env | grep -c _SERVICE_HOST= | sed 's/^/7 /'
tr '\\0' '\\n' < /proc/1/environ | grep ^not-a-name= | sed 's/^/8 /'
echo \"9 $HOSTNAME\"";
    let ended = run_to_end(&machine, &format!("{OBJECTS}{}", shell_pod("vars", command, container, "")));
    let wanted = [
        "1 good day $(LATER) $(GREETING)",
        "2 open open unset",
        "3 vars default 64 250",
        "4 36",
        "5 address",
        "6 node",
        "7 0",
        "8 not-a-name=kept",
        "9 vars",
    ];
    assert_eq!(ended.output(), wanted, "{}", ended.story());
}

// k8s: 2.c.6
#[test]
fn what_a_variable_needs_and_is_not_there_holds_up_the_container_and_is_told() {
    let Some(machine) = Machine::new("what_a_variable_needs_and_is_not_there_holds_up_the_container_and_is_told") else { return };
    for (source, told) in [
        ("env: [{name: X, valueFrom: {configMapKeyRef: {name: none, key: k}}}]", "configmap \"none\" not found"),
        ("env: [{name: X, valueFrom: {secretKeyRef: {name: keys, key: none}}}]", "couldn't find key none in Secret default/keys"),
        ("envFrom: [{secretRef: {name: none}}]", "secret \"none\" not found"),
    ] {
        let mut running = machine.run(&format!("{OBJECTS}{}", shell_pod("needy", "true", source, "")), &[]);
        wait_event(&mut running, &format!("Failed: Error: {told}"));
        running.wait_for("waiting", |entry| entry["status"]["containerStatuses"][0]["state"]["reason"] == "CreateContainerConfigError");
        running.interrupt();
        let ended = running.end();
        assert!(ended.find(|entry| is_action(entry, "StartContainer")).is_none(), "{}", ended.story());
        assert_eq!(ended.code, Some(4), "never started: {}", ended.story());
    }
}

#[test]
fn commands_and_arguments_are_expanded() {
    let Some(machine) = Machine::new("commands_and_arguments_are_expanded") else { return };
    let manifest = "apiVersion: v1
kind: Pod
metadata: {name: words}
spec:
  restartPolicy: Never
  containers:
  - name: app
    image: tapp:1
    imagePullPolicy: Never
    command: [sh, -c, 'echo \"$0 $1 $2\"', '$(A)']
    args: ['$(B)-$(NONE)', '$$(A)']
    env: [{name: A, value: a}, {name: B, value: '$(A)b'}]
";
    let ended = run_to_end(&machine, manifest);
    assert!(has_line(&ended, "a ab-$(NONE) $(A)"), "{}", ended.story());
}
