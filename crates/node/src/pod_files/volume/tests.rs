use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use serde_json::{Value, json};

use super::super::test_folder::{TestFolder, may_mount, pod, skip};
use super::*;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("metadata").permissions().mode() & 0o7777
}

async fn prepare(folder: &TestFolder, spec: Value) -> Result<Pod, String> {
    let pod = pod(spec);
    let prepared = folder.files.prepare_volumes(&pod, &Objects::default()).await;
    prepared.map(|()| pod).map_err(|error| error_chain(&error))
}

#[tokio::test]
async fn an_empty_dir_is_a_folder_in_which_everyone_may_write() {
    let folder = TestFolder::new();
    let pod =
        prepare(&folder, json!({"containers": [], "volumes": [{"name": "v", "emptyDir": {}}, {"name": "w"}]})).await.expect("volumes");
    let path = folder.files.volume_path(&pod, "v").expect("a volume").path;
    assert_eq!(path, folder.files.dir().join("volumes/kubernetes.io~empty-dir/v"));
    assert_eq!(mode(&path), 0o777);
    assert!(folder.files.volume_path(&pod, "w").expect("a volume").path.is_dir());
    assert_eq!(mode(folder.files.dir()), 0o750);
    assert_eq!(folder.files.volume_path(&pod, "none"), None);
}

#[tokio::test]
async fn a_volume_that_is_there_stays_as_it_is() {
    let folder = TestFolder::new();
    let spec = json!({"containers": [], "volumes": [{"name": "v", "emptyDir": {}}]});
    let pod = prepare(&folder, spec.clone()).await.expect("volumes");
    let file = folder.files.volume_path(&pod, "v").expect("a volume").path.join("file");
    fs::write(&file, "data").expect("a file");
    prepare(&folder, spec).await.expect("volumes");
    assert_eq!(fs::read_to_string(file).expect("the file"), "data");
}

// k8s: 2.a.8, 2.a.9
#[tokio::test]
async fn a_folder_that_cannot_be_made_and_a_volume_that_cannot_be_set_up_are_told_apart() {
    let folder = TestFolder::new();
    let volumes = folder.files.dir().join("volumes");
    fs::write(&volumes, "in the way").expect("a file");
    let event_of = async |spec: Value| {
        let prepared = folder.files.prepare_volumes(&pod(spec), &Objects::default()).await;
        prepared.expect_err("it cannot be made").event()
    };
    let (reason, message) = event_of(json!({"containers": [], "volumes": [{"name": "v", "emptyDir": {}}]})).await;
    assert_eq!(reason, "Failed");
    assert!(message.starts_with(&format!("error making pod data directories: mkdir {}", volumes.display())), "{message}");
    fs::remove_file(volumes).expect("the file is removed");
    let nowhere = folder.outside("nowhere").display().to_string();
    let wanted = json!({"name": "v", "hostPath": {"path": nowhere, "type": "Directory"}});
    let (reason, message) = event_of(json!({"containers": [], "volumes": [wanted]})).await;
    assert_eq!(reason, "FailedMount");
    let text = format!(
        "Unable to attach or mount volumes: MountVolume.SetUp failed for volume \"v\" : hostPath type check failed: {nowhere} is not a directory"
    );
    assert_eq!(message, text);
}

#[tokio::test]
async fn an_empty_dir_belongs_to_the_pods_group() {
    if !rustix::process::geteuid().is_root() {
        skip("an_empty_dir_belongs_to_the_pods_group", "not root");
        return;
    }
    let folder = TestFolder::new();
    let spec = json!({"containers": [], "securityContext": {"fsGroup": 1234}, "volumes": [{"name": "v", "emptyDir": {}}]});
    let pod = prepare(&folder, spec).await.expect("volumes");
    let path = folder.files.volume_path(&pod, "v").expect("a volume").path;
    assert_eq!((mode(&path), fs::metadata(&path).expect("metadata").gid()), (0o2777, 1234));
}

#[tokio::test]
async fn an_empty_dir_in_memory_has_the_smallest_of_all_limits() {
    if !may_mount("an_empty_dir_in_memory_has_the_smallest_of_all_limits") {
        return;
    }
    let folder = TestFolder::new();
    let container = json!({"name": "c", "resources": {"limits": {"memory": "8Mi"}}});
    let volumes = json!([
        {"name": "small", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
        {"name": "open", "emptyDir": {"medium": "Memory"}},
    ]);
    let pod = prepare(&folder, json!({"containers": [container], "volumes": volumes})).await.expect("volumes");
    for (name, bytes) in [("small", 1 << 20), ("open", 8 << 20)] {
        let path = folder.files.volume_path(&pod, name).expect("a volume").path;
        let file_system = rustix::fs::statvfs(&path).expect("a file system");
        assert_eq!((file_system.f_blocks * file_system.f_frsize, mode(&path)), (bytes, 0o1777), "{name}");
    }
    folder.files.clean_up().await.expect("clean");
    assert!(!folder.files.dir().exists());
}

#[tokio::test]
async fn an_empty_dir_of_large_pages_is_of_the_size_that_the_containers_use() {
    let test = "an_empty_dir_of_large_pages_is_of_the_size_that_the_containers_use";
    if !may_mount(test) {
        return;
    }
    if !Path::new("/sys/kernel/mm/hugepages/hugepages-2048kB").exists() {
        return skip(test, "the kernel has no pages of 2 MiB");
    }
    let folder = TestFolder::new();
    let container = json!({"name": "c", "resources": {"limits": {"cpu": "1", "hugepages-2Mi": "4Mi"}}});
    let volumes = json!([{"name": "one", "emptyDir": {"medium": "HugePages"}}, {"name": "named", "emptyDir": {"medium": "HugePages-2Mi"}}]);
    let pod = prepare(&folder, json!({"containers": [container], "volumes": volumes})).await.expect("volumes");
    for name in ["one", "named"] {
        let path = folder.files.volume_path(&pod, name).expect("a volume").path;
        let file_system = rustix::fs::statfs(&path).expect("a file system");
        assert_eq!((file_system.f_bsize, mode(&path) & 0o777), (2 << 20, 0o777), "{name}");
    }
    folder.files.clean_up().await.expect("clean");
    assert!(!folder.files.dir().exists());
}

#[tokio::test]
async fn a_host_path_is_used_where_it_is() {
    let folder = TestFolder::new();
    let outside = folder.outside("data");
    let volumes =
        json!([{"name": "v", "hostPath": {"path": outside, "type": "DirectoryOrCreate"}}, {"name": "w", "hostPath": {"path": "/w"}}]);
    let pod = prepare(&folder, json!({"containers": [], "volumes": volumes})).await.expect("volumes");
    assert!(outside.is_dir());
    let expected = VolumePath { path: outside, is_read_only: false, is_made_when_missing: false };
    assert_eq!(folder.files.volume_path(&pod, "v"), Some(expected));
    assert!(folder.files.volume_path(&pod, "w").expect("a volume").is_made_when_missing);
}

#[tokio::test]
async fn what_cannot_be_set_up_is_told_in_the_words_of_the_reference() {
    let check = async |volume: Value, expected: &str| {
        let folder = TestFolder::new();
        let error = prepare(&folder, json!({"containers": [], "volumes": [volume]})).await.expect_err("an error");
        assert_eq!(error, expected);
    };
    check(
        json!({"name": "v", "hostPath": {"path": "/dev/null", "type": "Directory"}}),
        "MountVolume.SetUp failed for volume \"v\" : hostPath type check failed: /dev/null is not a directory",
    )
    .await;
    check(json!({"name": "v", "configMap": {"name": "none"}}), "MountVolume.SetUp failed for volume \"v\" : configmap \"none\" not found")
        .await;
    check(
        json!({"name": "v", "nfs": {"server": "s", "path": "/"}}),
        "MountVolume.SetUp failed for volume \"v\" : volume source nfs is not supported",
    )
    .await;
    check(
        json!({"name": "v", "emptyDir": {"medium": "HugePages"}}),
        "MountVolume.SetUp failed for volume \"v\" : emptyDir.medium HugePages: no container of the pod has a limit of hugepages-SIZE",
    )
    .await;
    check(
        json!({"name": "v", "emptyDir": {"medium": "HugePages-3Mi"}}),
        "MountVolume.SetUp failed for volume \"v\" : emptyDir.medium HugePages: this machine has no pages of 3145728 bytes (/sys/kernel/mm/hugepages/hugepages-3072kB does not exist)",
    )
    .await;
}
