use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use serde_json::{Value, json};

use super::super::test_folder::{TestFolder, may_mount, pod};
use super::*;

fn objects(data: Value) -> Objects {
    let mut objects = Objects::default();
    let config_map: ConfigMap =
        serde_json::from_value(json!({"metadata": {"name": "cm", "namespace": "ns"}, "data": data, "binaryData": {"bin": "/w=="}}))
            .expect("a config map");
    objects.insert_config_map(config_map);
    let secret: Secret =
        serde_json::from_value(json!({"metadata": {"name": "se", "namespace": "ns"}, "data": {"p": "cw=="}})).expect("a secret");
    objects.insert_secret(secret);
    objects
}

fn payload_of(volume: Value) -> Result<Vec<(String, String, u32)>, String> {
    let pod = pod(json!({"containers": [{"name": "c", "resources": {"limits": {"cpu": "2"}}}], "volumes": [volume]}));
    let volume = &pod.spec.as_ref().and_then(|spec| spec.volumes.as_ref()).expect("volumes")[0];
    let machine = Machine { memory_bytes: 1, cpu_millis: 1, hostname: String::new(), has_unified_cgroups: false };
    let payload = payload(&pod, volume, &objects(json!({"k": "v", "l": "w"})), &machine).map_err(|error| error.to_string())?;
    let files = payload.expect("a payload").files.into_iter();
    Ok(files.map(|(path, file)| (path, String::from_utf8_lossy(&file.content).into_owned(), file.mode)).collect())
}

fn check(volume: Value, expected: &[(&str, &str, u32)]) {
    let expected: Vec<_> = expected.iter().map(|(path, content, mode)| ((*path).to_owned(), (*content).to_owned(), *mode)).collect();
    assert_eq!(payload_of(volume.clone()), Ok(expected), "{volume}");
}

#[test]
fn files_are_made_from_keys_and_fields() {
    check(json!({"name": "v", "configMap": {"name": "cm"}}), &[("bin", "\u{fffd}", 0o644), ("k", "v", 0o644), ("l", "w", 0o644)]);
    let items = json!([{"key": "k", "path": "a/b", "mode": 0o400}, {"key": "l", "path": "c"}]);
    check(
        json!({"name": "v", "configMap": {"name": "cm", "items": items, "defaultMode": 0o440}}),
        &[("a/b", "v", 0o400), ("c", "w", 0o440)],
    );
    check(json!({"name": "v", "secret": {"secretName": "se"}}), &[("p", "s", 0o644)]);
    check(json!({"name": "v", "secret": {"secretName": "none", "optional": true}}), &[]);
    let fields = json!([
        {"path": "name", "fieldRef": {"fieldPath": "metadata.name"}},
        {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}},
        {"path": "cpu", "resourceFieldRef": {"containerName": "c", "resource": "limits.cpu"}, "mode": 0o600},
    ]);
    let told = [("cpu", "2", 0o600), ("labels", "app=\"web\"", 0o644), ("name", "p", 0o644)];
    check(json!({"name": "v", "downwardAPI": {"items": fields}}), &told);
    let sources = json!([
        {"downwardAPI": {"items": [fields[0]]}},
        {"secret": {"name": "se"}},
        {"configMap": {"name": "cm", "items": [{"key": "k", "path": "k"}, {"key": "none", "path": "x"}], "optional": true}},
    ]);
    check(json!({"name": "v", "projected": {"sources": sources}}), &[("k", "v", 0o644), ("name", "p", 0o644), ("p", "s", 0o644)]);
}

#[test]
fn what_is_missing_or_leads_outside_is_named() {
    let check = |volume: Value, expected: &str| assert_eq!(payload_of(volume), Err(expected.to_owned()));
    check(json!({"name": "v", "configMap": {"name": "none"}}), "configmap \"none\" not found");
    check(json!({"name": "v", "secret": {"secretName": "none"}}), "secret \"none\" not found");
    let item = |path: &str, key: &str| json!([{"key": key, "path": path}]);
    check(json!({"name": "v", "configMap": {"name": "cm", "items": item("x", "z")}}), "configmap references non-existent config key: z");
    check(json!({"name": "v", "secret": {"secretName": "se", "items": item("x", "z")}}), "references non-existent secret key: z");
    for path in ["../x", "/x", "a/../../x", "..x", ""] {
        let expected = format!("invalid path {path:?}: must be relative, without '..'");
        check(json!({"name": "v", "configMap": {"name": "cm", "items": item(path, "k")}}), &expected);
    }
    check(
        json!({"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}),
        "projected.sources[0].serviceAccountToken is not supported",
    );
    let spec_field = json!([{"path": "x", "fieldRef": {"fieldPath": "spec.nodeName"}}]);
    check(json!({"name": "v", "downwardAPI": {"items": spec_field}}), "unsupported fieldPath: spec.nodeName");
}

fn written(paths: &[(&str, &str)]) -> Payload {
    let files = paths.iter().map(|(path, content)| ((*path).to_owned(), File { content: (*content).into(), mode: 0o640 }));
    Payload { files: files.collect(), medium: Some(Medium::Disk) }
}

#[test]
fn a_volume_changes_in_one_step_through_one_link() {
    let folder = TestFolder::new();
    let dir = folder.outside("volume");
    write_volume(&dir, &written(&[("k", "1"), ("a/b", "2")]), None).expect("a volume");
    let first = fs::read_link(dir.join(DATA)).expect("a link");
    assert_eq!(fs::read_link(dir.join("k")).expect("a link"), Path::new("..data/k"));
    assert_eq!(fs::read_link(dir.join("a")).expect("a link"), Path::new("..data/a"));
    assert_eq!(fs::read_to_string(dir.join("a/b")).expect("a file"), "2");
    assert_eq!(fs::metadata(dir.join("k")).expect("a file").permissions().mode() & 0o7777, 0o640);
    write_volume(&dir, &written(&[("k", "3"), ("n", "4")]), None).expect("a volume");
    assert!(!dir.join(first).exists());
    let mut names: Vec<_> = fs::read_dir(&dir).expect("a folder").map(|entry| entry.expect("an entry").file_name()).collect();
    names.sort();
    let data = fs::read_link(dir.join(DATA)).expect("a link").into_os_string();
    assert_eq!(names, [data, DATA.into(), "k".into(), "n".into()]);
    assert_eq!(fs::read_to_string(dir.join("k")).expect("a file"), "3");
}

#[test]
fn a_link_that_was_bent_leads_nowhere() {
    let folder = TestFolder::new();
    let (dir, precious) = (folder.outside("volume"), folder.outside("precious"));
    write_volume(&dir, &written(&[("k", "1")]), None).expect("a volume");
    fs::create_dir(&precious).expect("a folder");
    fs::remove_file(dir.join(DATA)).expect("no link");
    symlink(&precious, dir.join(DATA)).expect("a link");
    symlink(&precious, dir.join("..older")).expect("a link");
    write_volume(&dir, &written(&[("k", "2")]), None).expect("a volume");
    assert!(precious.is_dir());
    assert_eq!(fs::read_to_string(dir.join("k")).expect("a file"), "2");
}

#[tokio::test]
async fn secrets_are_kept_in_memory_for_the_pods_group() {
    if !may_mount("secrets_are_kept_in_memory_for_the_pods_group") {
        return;
    }
    let folder = TestFolder::new();
    let volumes = json!([{"name": "v", "secret": {"secretName": "se", "defaultMode": 0o400}}]);
    let pod = pod(json!({"containers": [], "securityContext": {"fsGroup": 77}, "volumes": volumes}));
    folder.files.prepare_volumes(&pod, &objects(json!({}))).await.expect("volumes");
    let volume = folder.files.volume_path(&pod, "v").expect("a volume");
    assert!(volume.is_read_only);
    let tmpfs_magic = 0x0102_1994;
    assert_eq!(rustix::fs::statfs(&volume.path).expect("a file system").f_type, tmpfs_magic);
    let file = fs::metadata(volume.path.join("p")).expect("a file");
    let gid = std::os::unix::fs::MetadataExt::gid(&file);
    assert_eq!((file.permissions().mode() & 0o7777, gid), (0o440, 77));
}

#[tokio::test]
async fn a_change_of_an_object_is_written_and_no_change_is_not() {
    if !may_mount("a_change_of_an_object_is_written_and_no_change_is_not") {
        return;
    }
    let folder = TestFolder::new();
    let pod = pod(json!({"containers": [], "volumes": [{"name": "c", "configMap": {"name": "m"}}, {"name": "e", "emptyDir": {}}]}));
    let of = |value: &str| {
        let mut objects = Objects::default();
        let map = json!({"metadata": {"name": "m", "namespace": "ns"}, "data": {"key": value, "only": "x"}});
        objects.insert_config_map(serde_json::from_value(map).expect("a ConfigMap"));
        objects
    };
    folder.files.prepare_volumes(&pod, &of("one")).await.expect("volumes");
    let dir = folder.files.volume_path(&pod, "c").expect("a volume").path;
    let data = || fs::read_link(dir.join("..data")).expect("a link");
    let before = data();
    assert_eq!(folder.files.update_volumes(&pod, &of("one")).await.expect("the same"), Vec::<String>::new());
    assert_eq!(data(), before, "nothing is written where nothing changed");
    assert_eq!(folder.files.update_volumes(&pod, &of("two")).await.expect("another"), ["c"]);
    assert_ne!(data(), before);
    assert_eq!(fs::read_to_string(dir.join("key")).expect("the file"), "two");
    let error = folder.files.update_volumes(&pod, &Objects::default()).await.expect_err("it is gone");
    assert_eq!(crate::error_chain(&error), "cannot bring volume \"c\" up to date: configmap \"m\" not found");
    assert_eq!(fs::read_to_string(dir.join("key")).expect("it stays"), "two");
}
