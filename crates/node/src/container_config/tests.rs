use serde_json::{Value, json};

use super::*;
use crate::pod_files::test_folder::{TestFolder, pod};

fn config_of(folder: &TestFolder, spec: Value, container: &str) -> Result<ContainerConfig, String> {
    let node = NodeConfig {
        allocations: crate::Allocations::default(),
        root: "/root".into(),
        log_root: "/logs".into(),
        node_name: "n".to_owned(),
        host_ips: vec![],
        log_max_bytes: 7,
        log_max_files: 5,
        journal: crate::journal::JournalLimits::default(),
        pod_pids_max: Some(99),
        back_off_max: lifecycle::BACK_OFF_MAX,
        pulls: None,
    };
    let image = ImageStatus {
        id: "sha256:abc".to_owned(),
        reference: String::new(),
        image_ref: String::new(),
        size_bytes: 0,
        user: String::new(),
        stop_signal: None,
    };
    let objects = Objects::default();
    let ips = ["10.0.0.5".parse().expect("an address")];
    let log_path = PathBuf::from("/logs/ns_p_u/c/2.log");
    let volume_images = BTreeMap::new();
    let context = ConfigContext {
        node: &node,
        files: &folder.files,
        objects: &objects,
        image: &image,
        volume_images: &volume_images,
        ips: &ips,
        log_path,
    };
    container_config(&pod(spec), container, 2, &context).map_err(|error| crate::error_chain(&error))
}

#[test]
fn a_container_is_told_to_the_runtime_whole() {
    let folder = TestFolder::new();
    let spec = json!({"initContainers": [{
        "name": "c", "command": ["run", "$(IP)", "$$(IP)"], "args": ["$(NONE)"], "workingDir": "/w", "stdin": true, "tty": true,
        "env": [{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
        "lifecycle": {"stopSignal": "SIGUSR1"},
        "securityContext": {"runAsUser": 5},
    }]});
    let config = config_of(&folder, spec, "c").expect("a configuration");
    assert_eq!((config.pod_uid.as_str(), config.name.as_str(), config.attempt), ("u", "c", 2));
    assert_eq!((config.image_id.as_str(), config.log_max_bytes, config.log_max_files), ("sha256:abc", 7, 5));
    assert_eq!(config.command, ["run", "10.0.0.5", "$(IP)"]);
    assert_eq!(config.args, ["$(NONE)"]);
    assert_eq!(config.envs, [("IP".to_owned(), "10.0.0.5".to_owned())]);
    assert_eq!(config.working_dir.as_deref(), Some("/w"));
    assert_eq!(config.log_path, PathBuf::from("/logs/ns_p_u/c/2.log"));
    assert_eq!((config.stdin, config.tty, config.stop_signal.as_deref()), (true, true, Some("SIGUSR1")));
    assert_eq!(config.security.run_as_user, Some(5));
    assert_eq!(config.resources.oom_score_adj, Some(1000));
    assert_eq!(config.mounts.len(), 4);
}

#[test]
fn what_cannot_be_configured_is_told_before_anything_is_made() {
    let check = |container: Value, name: &str, expected: &str| {
        let folder = TestFolder::new();
        assert_eq!(config_of(&folder, json!({"containers": [container]}), name), Err(expected.to_owned()));
        assert!(!folder.files.dir().join("containers").exists());
    };
    check(json!({"name": "c"}), "d", "the pod has no container \"d\"");
    let device = json!({"name": "c", "volumeDevices": [{"name": "v", "devicePath": "/d"}]});
    check(device, "c", "volumeDevices of container \"c\" is not supported");
    let env = json!({"name": "c", "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "none", "key": "k"}}}]});
    check(env, "c", "secret \"none\" not found");
}
