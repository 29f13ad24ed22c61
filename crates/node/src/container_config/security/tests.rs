use serde_json::{Value, json};

use super::*;

fn context_of(pod_wide: Value, own: Value, image_user: &str) -> Result<SecurityContext, String> {
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": "p", "namespace": "ns", "uid": "u"},
        "spec": {"securityContext": pod_wide, "containers": [{"name": "c", "securityContext": own}]},
    }))
    .expect("a pod");
    let image = ImageStatus {
        id: String::new(),
        reference: String::new(),
        image_ref: String::new(),
        size_bytes: 0,
        user: image_user.to_owned(),
        stop_signal: None,
    };
    let container = &pod.spec.as_ref().expect("a spec").containers[0];
    security_context(&pod, container, &image, Path::new("/seccomp")).map_err(|error| error.to_string())
}

#[test]
fn a_container_without_wishes_has_the_defaults() {
    let expected = SecurityContext { seccomp: SeccompProfile::RuntimeDefault, ..SecurityContext::default() };
    assert_eq!(context_of(json!({}), json!({}), ""), Ok(expected));
}

#[test]
fn the_containers_own_wishes_win_over_the_pods() {
    let pod_wide = json!({
        "runAsUser": 1, "runAsGroup": 2, "runAsNonRoot": true, "fsGroup": 1234, "supplementalGroups": [4321],
        "supplementalGroupsPolicy": "Strict", "seccompProfile": {"type": "Unconfined"},
        "appArmorProfile": {"type": "Localhost", "localhostProfile": "of-the-pod"},
    });
    let own = json!({
        "runAsUser": 5, "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "procMount": "Unmasked",
        "capabilities": {"add": ["NET_ADMIN"], "drop": ["ALL"]}, "seccompProfile": {"type": "Localhost", "localhostProfile": "a/b.json"},
        "appArmorProfile": {"type": "Localhost", "localhostProfile": "mine"},
    });
    let expected = SecurityContext {
        run_as_user: Some(5),
        run_as_group: Some(2),
        run_as_non_root: true,
        supplemental_groups: vec![1234, 4321],
        strict_supplemental_groups: true,
        privileged: false,
        add_capabilities: vec!["NET_ADMIN".into()],
        drop_capabilities: vec!["ALL".into()],
        readonly_rootfs: true,
        no_new_privs: true,
        seccomp: SeccompProfile::Localhost("/seccomp/a/b.json".into()),
        unmasked_proc: true,
        app_armor: AppArmorProfile::Localhost("mine".into()),
    };
    assert_eq!(context_of(pod_wide, own, ""), Ok(expected));
}

#[test]
fn a_privileged_container_has_no_filter() {
    let context = context_of(json!({"seccompProfile": {"type": "RuntimeDefault"}}), json!({"privileged": true}), "").expect("a context");
    assert_eq!((context.privileged, context.seccomp, context.no_new_privs), (true, SeccompProfile::Unconfined, false));
}

#[test]
fn root_is_refused_where_it_is_not_wanted_in_the_words_of_the_reference() {
    let check = |own: Value, image_user: &str, expected: Option<&str>| {
        let own_with_rule = {
            let mut own = own;
            own["runAsNonRoot"] = json!(true);
            own
        };
        assert_eq!(context_of(json!({}), own_with_rule, image_user).err().as_deref(), expected, "{image_user}");
    };
    check(json!({"runAsUser": 0}), "1", Some("container's runAsUser breaks non-root policy (pod: \"p_ns(u)\", container: c)"));
    let image_is_root = "container has runAsNonRoot and image will run as root (pod: \"p_ns(u)\", container: c)";
    check(json!({}), "", Some(image_is_root));
    check(json!({}), "0:0", Some(image_is_root));
    check(
        json!({}),
        "web:web",
        Some(
            "container has runAsNonRoot and image has non-numeric user (web), cannot verify user is non-root \
             (pod: \"p_ns(u)\", container: c)",
        ),
    );
    check(json!({}), "1000", None);
    check(json!({"runAsUser": 7}), "", None);
}

#[test]
fn what_cannot_be_satisfied_is_named() {
    let error = |own: Value| context_of(json!({}), own, "").expect_err("an error");
    let outside = json!({"seccompProfile": {"type": "Localhost", "localhostProfile": "../x"}});
    assert_eq!(error(outside), "securityContext.seccompProfile: \"Localhost ../x\" of container c is not supported");
    let armor = json!({"appArmorProfile": {"type": "Localhost"}});
    assert_eq!(error(armor), "securityContext.appArmorProfile: \"Localhost\" of container c is not supported");
    assert_eq!(error(json!({"runAsUser": -1})), "runAsUser of container c is not a user or group id: -1");
}

#[test]
fn the_profile_of_the_container_comes_before_that_of_the_pod() {
    let profile = |pod_wide: Value, own: Value| context_of(pod_wide, own, "").map(|context| context.app_armor);
    let armor = |type_: &str| json!({"appArmorProfile": {"type": type_, "localhostProfile": "mine"}});
    assert_eq!(profile(json!({}), json!({})), Ok(AppArmorProfile::Unspecified));
    assert_eq!(profile(armor("Localhost"), json!({})), Ok(AppArmorProfile::Localhost("mine".to_owned())));
    assert_eq!(profile(armor("Localhost"), armor("Unconfined")), Ok(AppArmorProfile::Unconfined));
    assert_eq!(profile(armor("Localhost"), armor("RuntimeDefault")), Ok(AppArmorProfile::RuntimeDefault));
}
