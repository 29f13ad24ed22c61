//! Images of a registry that asks who wants them.

use super::registry::{Registry, shell_layer};
use super::support::Machine;
use super::{has_line, is_event, pod, run_to_end, shell_pod, status_of};

/// `user:secret` in base 64.
const CREDENTIALS: &str = "dXNlcjpzZWNyZXQ=";

// k8s: 9.b.11
#[test]
fn a_private_image_is_pulled_with_the_secrets_that_the_pod_names() {
    let Some(machine) = Machine::without_images("a_private_image_is_pulled_with_the_secrets_that_the_pod_names") else { return };
    let registry = Registry::private(shell_layer(machine.path()), &format!("Basic {CREDENTIALS}"));
    let spec = |secrets: &str| {
        let image = registry.image();
        pod(
            "private",
            &format!(
                "restartPolicy: Never\nimagePullSecrets: [{secrets}]\ncontainers:\n- {{name: app, image: '{image}', command: [sh, -c, echo pulled \
                 and run]}}"
            ),
        )
    };
    let mut refused = machine.run(&spec("{name: nobody}"), &[]);
    let missing = "FailedToRetrieveImagePullSecret: Unable to retrieve some image pull secrets (nobody); attempting to pull the image may not succeed.";
    refused.wait_for("the missing secret", |entry| is_event(entry, missing));
    refused.wait_for("the refusal", |entry| entry["event"]["event"] == "ImagePullFailed");
    refused.interrupt();
    let ended = refused.end();
    let failed = ended.find(|entry| entry["event"]["event"] == "ImagePullFailed").expect("it was refused");
    assert!(
        failed["event"]["message"].as_str().is_some_and(|text| text.ends_with("authorization failed: no basic auth credentials")),
        "{failed}"
    );
    assert_eq!(ended.code, Some(4), "{}", ended.story());

    let secret = format!(
        "---\napiVersion: v1\nkind: Secret\nmetadata: {{name: registry}}\ntype: kubernetes.io/dockerconfigjson\nstringData:\n  \
         .dockerconfigjson: '{{\"auths\": {{\"{}\": {{\"auth\": \"{CREDENTIALS}\"}}}}}}'\n",
        registry.host()
    );
    let ended = machine.run(&(spec("{name: registry}") + &secret), &[]).end();
    assert_eq!(ended.code, Some(0), "{}", ended.story());
    assert!(has_line(&ended, "pulled and run"), "{}", ended.story());
    assert!(!ended.story().contains("secret\"}"), "no credentials are told");
}

// k8s: 9.a.3, 9.a.5
#[test]
fn an_image_is_pulled_looked_for_or_neither_as_its_policy_says() {
    let Some(machine) = Machine::new("an_image_is_pulled_looked_for_or_neither_as_its_policy_says") else { return };
    // Nobody listens there, so what is asked for is not had.
    const PRESENT: &str = "127.0.0.1:9/present:1";
    machine.import_image(PRESENT, &[]);
    let manifest = |image: &str, policy: &str| {
        let manifest = shell_pod("pulled", "echo runs", "", "");
        manifest
            .replace("image: tapp:1", &format!("image: {image}"))
            .replace("imagePullPolicy: Never", &format!("imagePullPolicy: {policy}"))
    };
    for policy in ["IfNotPresent", "Never"] {
        let ended = run_to_end(&machine, &manifest(PRESENT, policy));
        assert_eq!(ended.output(), ["runs"], "{policy}: {}", ended.story());
    }
    for (image, policy, reason) in [
        (PRESENT, "Always", "ErrImagePull"),
        ("127.0.0.1:9/absent:1", "IfNotPresent", "ErrImagePull"),
        ("127.0.0.1:9/absent:1", "Never", "ErrImageNeverPull"),
    ] {
        let mut running = machine.run(&manifest(image, policy), &[]);
        running.wait_for(reason, |entry| status_of(entry, "app").is_some_and(|status| status["state"]["reason"] == reason));
        running.interrupt();
        let ended = running.end();
        assert!(ended.output().is_empty(), "{image} {policy}: {}", ended.story());
    }
}
