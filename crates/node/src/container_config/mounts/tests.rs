use serde_json::{Value, json};

use super::*;
use crate::pod_files::test_folder::{TestFolder, may_mount, pod};

fn mounts_of(folder: &TestFolder, container: Value, volumes: Value) -> Result<Vec<Mount>, MountsError> {
    let pod = pod(json!({"containers": [container], "volumes": volumes}));
    let container = &pod.spec.as_ref().expect("a spec").containers[0];
    let images = BTreeMap::from([("models:1".to_owned(), image("sha256:models"))]);
    mounts(
        &pod,
        container,
        4,
        Sources { files: &folder.files, images: &images },
        &[("A".to_owned(), "a".to_owned()), ("E".to_owned(), String::new())],
    )
}

fn image(id: &str) -> ImageStatus {
    let (reference, image_ref, user) = (String::new(), String::new(), String::new());
    ImageStatus { id: id.to_owned(), reference, image_ref, size_bytes: 0, user, stop_signal: None }
}

fn mount(host_path: PathBuf, container_path: &str) -> Mount {
    Mount { host_path, container_path: PathBuf::from(container_path), ..Mount::default() }
}

#[test]
fn every_container_gets_its_files_in_the_order_of_depth() {
    let folder = TestFolder::new();
    let (files, outside) = (&folder.files, folder.outside("data"));
    let container = json!({"name": "c", "terminationMessagePath": "/last", "volumeMounts": [
        {"name": "h", "mountPath": "/a/b/c", "mountPropagation": "HostToContainer"},
        {"name": "h", "mountPath": "etc", "readOnly": true, "recursiveReadOnly": "IfPossible"},
        {"name": "e", "mountPath": "/e/./x/../y/"},
    ]});
    let volumes = json!([{"name": "h", "hostPath": {"path": outside}}, {"name": "e", "emptyDir": {}}]);
    let expected = [
        Mount { readonly: true, recursive_readonly: true, ..mount(outside.clone(), "/etc") },
        mount(files.dir().join("containers/c/00000004"), "/last"),
        mount(files.dir().join("volumes/kubernetes.io~empty-dir/e"), "/e/y"),
        mount(files.etc_hosts(), "/etc/hosts"),
        mount(files.etc_hostname(), "/etc/hostname"),
        mount(files.resolv_conf(), "/etc/resolv.conf"),
        Mount { propagation: MountPropagation::HostToContainer, ..mount(outside.clone(), "/a/b/c") },
    ];
    assert_eq!(mounts_of(&folder, container, volumes).expect("mounts"), expected);
    assert!(outside.is_dir(), "a hostPath without a type is made");
    assert!(files.termination_log("c", 4).is_file());
}

#[test]
fn what_the_user_mounts_is_not_covered() {
    let folder = TestFolder::new();
    let paths = ["/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/dev/termination-log"];
    let own: Vec<_> = paths.iter().map(|path| json!({"name": "h", "mountPath": path})).collect();
    let volumes = json!([{"name": "h", "hostPath": {"path": "/dev/null"}}]);
    let mounts = mounts_of(&folder, json!({"name": "c", "volumeMounts": own}), volumes).expect("mounts");
    assert_eq!(mounts, paths.map(|path| mount(PathBuf::from("/dev/null"), path)));
}

#[test]
fn with_a_read_only_root_only_the_hosts_file_may_be_written() {
    let folder = TestFolder::new();
    let container = json!({"name": "c", "securityContext": {"readOnlyRootFilesystem": true}});
    let mounts = mounts_of(&folder, container, json!([])).expect("mounts");
    let written: Vec<_> = mounts.iter().map(|mount| (mount.container_path.to_string_lossy(), mount.readonly)).collect();
    let expected = [("/etc/hosts", false), ("/etc/hostname", true), ("/etc/resolv.conf", true), ("/dev/termination-log", false)];
    assert_eq!(written, expected.map(|(path, readonly)| (path.into(), readonly)));
}

#[test]
fn a_part_of_a_volume_may_be_named_by_variables() {
    if !may_mount("a_part_of_a_volume_may_be_named_by_variables") {
        return;
    }
    let folder = TestFolder::new();
    let outside = folder.outside("data");
    std::fs::create_dir_all(outside.join("x-a")).expect("a folder");
    std::fs::write(outside.join("x-a/file"), "").expect("a file");
    let container = json!({"name": "c", "volumeMounts": [{"name": "h", "mountPath": "/m", "subPathExpr": "x-$(A)"}]});
    let mounts = mounts_of(&folder, container, json!([{"name": "h", "hostPath": {"path": outside}}])).expect("mounts");
    assert_eq!(mounts[0].host_path, folder.files.dir().join("volume-subpaths/h/c/0"));
    assert!(mounts[0].host_path.join("file").is_file());
}

#[test]
fn what_cannot_be_mounted_is_told_in_the_words_of_the_reference() {
    let check = |mount: Value, expected: &str| {
        let folder = TestFolder::new();
        let volumes = json!([{"name": "h", "hostPath": {"path": folder.outside("data")}}]);
        let error = mounts_of(&folder, json!({"name": "c", "volumeMounts": [mount]}), volumes).expect_err("an error");
        assert_eq!(error.to_string(), expected);
    };
    check(json!({"name": "x", "mountPath": "/x"}), "cannot find volume \"x\" to mount into container \"c\"");
    check(json!({"name": "h", "mountPath": "/x", "subPathExpr": "$(Z)$(A)$(E)"}), "missing value for E, Z");
    check(json!({"name": "h", "mountPath": "/x", "subPath": "/x"}), "error SubPath `/x` must not be an absolute path");
    check(json!({"name": "h", "mountPath": "/x", "mountPropagation": "Sideways"}), "invalid MountPropagation mode: \"Sideways\"");
}

#[test]
fn an_image_is_mounted_by_its_id_and_cannot_be_written() {
    let folder = TestFolder::new();
    let container = json!({"name": "c", "volumeMounts": [{"name": "m", "mountPath": "/models"}]});
    let volumes = json!([{"name": "m", "image": {"reference": "models:1", "pullPolicy": "Never"}}]);
    let mounts = mounts_of(&folder, container, volumes).expect("mounts");
    let of_image = mounts.into_iter().find(|mount| mount.container_path == Path::new("/models")).expect("the mount");
    assert_eq!((of_image.image_id.as_deref(), of_image.readonly), (Some("sha256:models"), true));
}
