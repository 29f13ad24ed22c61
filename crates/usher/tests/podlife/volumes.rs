//! Volumes that hold files of the pod or of the node: emptyDir, hostPath, claims; and how they are mounted.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};

use super::support::Machine;
use super::{has_line, is_action, pod, run_to_end, shell_pod, wait_event};

#[test]
fn an_empty_dir_is_shared_by_the_containers_and_goes_with_the_pod() {
    let Some(machine) = Machine::new("an_empty_dir_is_shared_by_the_containers_and_goes_with_the_pod") else { return };
    let rest = r#"initContainers:
- name: writer
  image: tapp:1
  imagePullPolicy: Never
  command: [sh, -c, "echo from init > /data/file"]
  volumeMounts: [{name: data, mountPath: /data}]
volumes: [{name: data, emptyDir: {}}]"#;
    let command = "cat /data/file
stat -c '%a %u' /data
(echo more >> /data/file) 2>/dev/null || echo read-only";
    let mounts = "volumeMounts: [{name: data, mountPath: /data, readOnly: true}]";
    let ended = run_to_end(&machine, &shell_pod("shared", command, mounts, rest));
    assert_eq!(ended.output(), ["from init", "777 0", "read-only"], "{}", ended.story());
    assert!(fs::read_dir(machine.root().join("pods")).is_ok_and(|mut pods| pods.next().is_none()), "nothing of the pod is left");
}

#[test]
fn an_empty_dir_in_memory_is_a_tmpfs_of_its_size_limit() {
    let Some(machine) = Machine::new("an_empty_dir_in_memory_is_a_tmpfs_of_its_size_limit") else { return };
    let command = "grep ' /data ' /proc/mounts | cut -d' ' -f1,3
dd if=/dev/zero of=/data/a bs=1k count=900 2>/dev/null && echo fits
dd if=/dev/zero of=/data/b bs=1k count=900 2>/dev/null || echo full";
    let mounts = "volumeMounts: [{name: data, mountPath: /data}]";
    let ended =
        run_to_end(&machine, &shell_pod("memory", command, mounts, "volumes: [{name: data, emptyDir: {medium: Memory, sizeLimit: 1Mi}}]"));
    assert_eq!(ended.output(), ["tmpfs tmpfs", "fits", "full"], "{}", ended.story());
}

/// A hostPath volume of a type, and what is mounted from it.
fn host_path_pod(path: &Path, type_: &str, command: &str) -> String {
    let rest = format!("volumes: [{{name: data, hostPath: {{path: {}, type: '{type_}'}}}}]", path.display());
    shell_pod("host-path", command, "volumeMounts: [{name: data, mountPath: /data}]", &rest)
}

#[test]
fn host_paths_of_every_type_are_checked_made_and_mounted() {
    let Some(machine) = Machine::new("host_paths_of_every_type_are_checked_made_and_mounted") else { return };
    let place = |name: &str| machine.path().join(name);
    fs::create_dir(place("folder")).expect("a folder");
    fs::write(place("file"), "content\n").expect("a file");
    let _socket = UnixListener::bind(place("socket")).expect("a socket");
    let check = |name: PathBuf, type_: &str, command: &str, wanted: &str| {
        let ended = run_to_end(&machine, &host_path_pod(&name, type_, command));
        assert_eq!(ended.output(), [wanted], "{type_}: {}", ended.story());
    };
    check(place("folder"), "Directory", "touch /data/made; stat -c %F /data", "directory");
    assert!(place("folder/made").exists(), "what the container writes is on the node");
    check(place("file"), "File", "cat /data", "content");
    check(place("socket"), "Socket", "stat -c %F /data", "socket");
    check(PathBuf::from("/dev/null"), "CharDevice", "stat -c %F /data", "character special file");
    check(place("folder"), "", "stat -c %F /data", "directory");
    check(place("fresh/deep"), "DirectoryOrCreate", "stat -c %F /data", "directory");
    check(place("fresh-file"), "FileOrCreate", "echo x > /data; cat /data", "x");
    check(place("untyped"), "", "stat -c %F /data", "directory");
    assert_eq!(fs::metadata(place("fresh/deep")).expect("it was made").permissions().mode() & 0o7777, 0o755);
    assert_eq!(fs::metadata(place("fresh-file")).expect("it was made").permissions().mode() & 0o7777, 0o644);
}

#[test]
fn a_block_device_of_the_machine_is_mounted_as_one() {
    let Some(machine) = Machine::new("a_block_device_of_the_machine_is_mounted_as_one") else { return };
    let device = machine.path().join("device");
    // The number of a loop device, whether there is one or not: nobody opens it.
    let made = mknodat(CWD, &device, FileType::BlockDevice, Mode::RUSR, makedev(7, 0));
    if let Err(error) = made {
        #[expect(clippy::print_stderr, reason = "tests say why they skip")]
        {
            eprintln!("SKIP a_block_device_of_the_machine_is_mounted_as_one: cannot make a device: {error}");
        }
        return;
    }
    let ended = run_to_end(&machine, &host_path_pod(&device, "BlockDevice", "stat -c %F /data"));
    assert_eq!(ended.output(), ["block special file"], "{}", ended.story());
}

// k8s: 2.a.9
#[test]
fn a_host_path_of_the_wrong_type_is_told_and_nothing_starts() {
    let Some(machine) = Machine::new("a_host_path_of_the_wrong_type_is_told_and_nothing_starts") else { return };
    let file = machine.file("file", "");
    for (path, type_, expected) in [
        (file.clone(), "Directory", "directory"),
        (file.clone(), "Socket", "socket file"),
        (file.clone(), "CharDevice", "character device"),
        (file, "BlockDevice", "block device"),
        (machine.path().to_owned(), "File", "file"),
        (machine.path().join("nothing"), "Directory", "directory"),
    ] {
        let mut running = machine.run(&host_path_pod(&path, type_, "true"), &[]);
        let text = format!(
            "FailedMount: Unable to attach or mount volumes: MountVolume.SetUp failed for volume \"data\" : hostPath type check failed: {} is not a {expected}",
            path.display()
        );
        wait_event(&mut running, &text);
        running.interrupt();
        let ended = running.end();
        assert!(ended.find(|entry| is_action(entry, "CreateContainer")).is_none(), "{}", ended.story());
    }
}

#[test]
fn a_claim_is_a_folder_that_is_made_once_and_kept() {
    let Some(machine) = Machine::new("a_claim_is_a_folder_that_is_made_once_and_kept") else { return };
    let rest = "volumes: [{name: data, persistentVolumeClaim: {claimName: disk}}]";
    let mounts = "volumeMounts: [{name: data, mountPath: /data}]";
    let manifest = shell_pod("first", "cat /data/count 2>/dev/null; echo one >> /data/count", mounts, rest);
    let first = run_to_end(&machine, &manifest);
    assert_eq!(first.output(), Vec::<String>::new(), "{}", first.story());
    let second = run_to_end(&machine, &shell_pod("second", "cat /data/count; stat -c %a /data", mounts, rest));
    assert_eq!(second.output(), ["one", "777"], "{}", second.story());
    assert_eq!(fs::read_to_string(machine.root().join("volumes/default/disk/count")).expect("it is kept"), "one\n");
    let read_only = rest.replace("claimName: disk", "claimName: disk, readOnly: true");
    let third = run_to_end(&machine, &shell_pod("third", "touch /data/x 2>/dev/null || echo read-only", mounts, &read_only));
    assert_eq!(third.output(), ["read-only"], "{}", third.story());
    let other = run_to_end(&machine, &shell_pod("other", "ls /data; echo empty", mounts, &rest.replace("disk", "another")));
    assert_eq!(other.output(), ["empty"], "{}", other.story());
}

#[test]
fn every_template_of_claims_of_a_stateful_set_is_a_claim() {
    let Some(machine) = Machine::new("every_template_of_claims_of_a_stateful_set_is_a_claim") else { return };
    let manifest = "apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      terminationGracePeriodSeconds: 2
      containers:
      - {name: app, image: 'tapp:1', imagePullPolicy: Never, command: [sh, -c, 'echo x > /data/x; exec tapp run'], volumeMounts: [{name: data, mountPath: /data}]}
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
";
    let mut running = machine.run(manifest, &[]);
    running.wait_for("the main process", |entry| entry["output"]["line"].as_str().is_some_and(|line| line.contains("main: start")));
    running.interrupt();
    let ended = running.end();
    assert!(machine.root().join("volumes/default/data-db-0/x").exists(), "{}", ended.story());
}

#[test]
fn a_kind_of_volume_that_is_not_there_is_refused_by_name() {
    let Some(machine) = Machine::without_images("a_kind_of_volume_that_is_not_there_is_refused_by_name") else { return };
    let spec = "containers: [{name: app, image: x}]\nvolumes:\n- {name: a, nfs: {server: s, path: /}}\n- {name: b, csi: {driver: d}}\n- {name: c, ephemeral: {volumeClaimTemplate: {spec: {}}}}";
    let path = machine.file("volumes.yaml", &pod("volumes", spec)).display().to_string();
    let output = machine.output(["run", &path]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(125), "{text}");
    for wanted in ["spec.volumes[0].nfs: ", "spec.volumes[1].csi: not supported", "spec.volumes[2].ephemeral: ", "volumes.yaml:8:15"] {
        assert!(text.contains(wanted), "{wanted:?} is missing in:\n{text}");
    }
}

#[test]
fn files_of_writable_volumes_belong_to_the_fs_group() {
    let Some(machine) = Machine::new("files_of_writable_volumes_belong_to_the_fs_group") else { return };
    let claim = machine.root().join("volumes/default/disk");
    fs::create_dir_all(claim.join("deep")).expect("a claim of an earlier pod");
    fs::write(claim.join("deep/file"), "").expect("a file");
    let outside = machine.file("outside", "");
    symlink(&outside, claim.join("link")).expect("a link that leads out");
    let rest = "securityContext: {fsGroup: 4321, runAsUser: 1000}
volumes:
- {name: empty, emptyDir: {}}
- {name: disk, persistentVolumeClaim: {claimName: disk}}
- {name: settings, configMap: {name: settings}}";
    let mounts = "volumeMounts: [{name: empty, mountPath: /empty}, {name: disk, mountPath: /disk}, {name: settings, mountPath: /settings}]";
    let command = "id -G
stat -c '%g %a' /empty
touch /empty/new; stat -c '%g' /empty/new
stat -c '%g' /disk/deep/file
echo x > /disk/deep/file && echo writable
cat /settings/key";
    let objects = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {key: value}\n---\n";
    let ended = run_to_end(&machine, &format!("{objects}{}", shell_pod("grouped", command, mounts, rest)));
    assert_eq!(ended.output(), ["0 4321", "4321 2777", "4321", "4321", "writable", "value"], "{}", ended.story());
    assert_eq!(fs::metadata(&outside).expect("it is there").gid(), 0, "a link does not lead the change out");
    // With the policy, a claim whose top is right is left alone.
    fs::write(claim.join("alien"), "").expect("a file");
    std::os::unix::fs::lchown(claim.join("alien"), None, Some(0)).expect("a file of another group");
    let policy = rest.replace("fsGroup: 4321", "fsGroup: 4321, fsGroupChangePolicy: OnRootMismatch");
    let again = run_to_end(&machine, &format!("{objects}{}", shell_pod("lazy", "stat -c %g /disk/alien", mounts, &policy)));
    assert_eq!(again.output(), ["0"], "{}", again.story());
    let always = run_to_end(&machine, &format!("{objects}{}", shell_pod("eager", "stat -c %g /disk/alien", mounts, rest)));
    assert_eq!(always.output(), ["4321"], "{}", always.story());
}

/// A folder of the node that is a mount of its own, with another one inside, and unmounted when the test is over.
struct NodeMount {
    path: PathBuf,
}

impl NodeMount {
    fn new(path: PathBuf) -> Self {
        fs::create_dir_all(&path).expect("a folder");
        let tmpfs = |path: &Path| rustix::mount::mount("tmpfs", path, "tmpfs", rustix::mount::MountFlags::empty(), None).expect("a tmpfs");
        tmpfs(&path);
        let shared = rustix::mount::MountPropagationFlags::SHARED;
        rustix::mount::mount_change(&path, shared).expect("it is shared");
        fs::create_dir(path.join("inner")).expect("a folder");
        tmpfs(&path.join("inner"));
        Self { path }
    }
}

impl Drop for NodeMount {
    fn drop(&mut self) {
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let points: Vec<_> = table.lines().filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from).collect();
        for point in points.iter().rev().filter(|point| point.starts_with(&self.path)) {
            let _ = rustix::mount::unmount(point, rustix::mount::UnmountFlags::DETACH);
        }
    }
}

#[test]
fn read_only_is_of_the_mount_and_recursive_of_all_below() {
    let Some(machine) = Machine::new("read_only_is_of_the_mount_and_recursive_of_all_below") else { return };
    let node = NodeMount::new(machine.path().join("node"));
    let rest = format!("volumes: [{{name: data, hostPath: {{path: {}}}}}]", node.path.display());
    let mounts = "volumeMounts:
- {name: data, mountPath: /plain, readOnly: true}
- {name: data, mountPath: /below, readOnly: true, recursiveReadOnly: Enabled}
- {name: data, mountPath: /if-possible, readOnly: true, recursiveReadOnly: IfPossible}";
    let command = "for place in plain below if-possible; do
  touch /$place/x 2>/dev/null && echo $place writable
  touch /$place/inner/x 2>/dev/null && echo $place/inner writable
done
true";
    let ended = run_to_end(&machine, &shell_pod("read-only", command, mounts, &rest));
    assert_eq!(ended.output(), ["plain/inner writable"], "{}", ended.story());
}

#[test]
fn mounts_are_propagated_as_far_as_the_manifest_says() {
    let Some(machine) = Machine::new("mounts_are_propagated_as_far_as_the_manifest_says") else { return };
    let node = NodeMount::new(machine.path().join("node"));
    let spec = format!(
        "terminationGracePeriodSeconds: 2
containers:
- name: none
  image: tapp:1
  imagePullPolicy: Never
  command: [sh, -c, 'while ! test -e /node/asked; do sleep 0.1; done; test -e /node/late/mark && echo none sees it || echo none sees nothing; exec tapp run']
  volumeMounts: [{{name: node, mountPath: /node}}]
- name: into
  image: tapp:1
  imagePullPolicy: Never
  command: [sh, -c, 'while ! test -e /node/late/mark; do sleep 0.1; done; echo into sees it; exec tapp run']
  volumeMounts: [{{name: node, mountPath: /node, mountPropagation: HostToContainer}}]
- name: both
  image: tapp:1
  imagePullPolicy: Never
  securityContext: {{privileged: true}}
  command: [sh, -c, 'mkdir /node/made; mount -t tmpfs made /node/made; touch /node/made/mark; echo both mounted; exec tapp run']
  volumeMounts: [{{name: node, mountPath: /node, mountPropagation: Bidirectional}}]
volumes: [{{name: node, hostPath: {{path: {}}}}}]",
        node.path.display()
    );
    let mut running = machine.run(&pod("propagated", &spec), &[]);
    running.wait_for("the mount of the container", |entry| entry["output"]["line"] == "both mounted");
    assert!(node.path.join("made/mark").exists(), "a mount of the container is seen on the node");
    fs::create_dir(node.path.join("late")).expect("a folder");
    rustix::mount::mount("tmpfs", node.path.join("late"), "tmpfs", rustix::mount::MountFlags::empty(), None).expect("a tmpfs");
    fs::write(node.path.join("late/mark"), "").expect("a mark");
    running.wait_for("the mount of the node", |entry| entry["output"]["line"] == "into sees it");
    fs::write(node.path.join("asked"), "").expect("a question");
    running.wait_for("the answer", |entry| entry["output"]["line"].as_str().is_some_and(|line| line.starts_with("none sees")));
    running.interrupt();
    let ended = running.end();
    assert!(has_line(&ended, "none sees nothing"), "{}", ended.story());
}

#[test]
fn a_volume_of_an_image_shows_its_files_and_cannot_be_written() {
    let Some(machine) = Machine::new("a_volume_of_an_image_shows_its_files_and_cannot_be_written") else { return };
    let folder = machine.path().join("models");
    fs::create_dir_all(folder.join("deep")).expect("a folder");
    fs::write(folder.join("deep/model"), "weights\n").expect("a file");
    let tar = machine.path().join("models.tar");
    let packed = Command::new("tar").arg("-C").arg(&folder).arg("-cf").arg(&tar).arg(".").status().expect("tar runs");
    assert!(packed.success());
    let imported = machine.output(["image", "import", "models:1", &tar.display().to_string()]);
    assert!(imported.status.success(), "{imported:?}");
    let rest = "volumes: [{name: models, image: {reference: 'models:1', pullPolicy: Never}}]";
    let mounts = "volumeMounts: [{name: models, mountPath: /models}]";
    let command = "cat /models/deep/model; touch /models/x 2>/dev/null || echo read-only";
    let ended = run_to_end(&machine, &shell_pod("models", command, mounts, rest));
    assert_eq!(ended.output(), ["weights", "read-only"], "{}", ended.story());
    let mut running = machine.run(&shell_pod("none", "true", mounts, &rest.replace("models:1", "none:1")), &[]);
    running.wait_for("told", |entry| entry["status"]["containerStatuses"][0]["state"]["reason"] == "ErrImageNeverPull");
    running.interrupt();
    let none = running.end();
    assert!(none.events().contains(&"ErrImageNeverPull: Container image \"none:1\" is not present with pull policy of Never".to_owned()));
}

/// An archive of two layers, as `docker save` makes it: the upper one changes a file and removes another.
fn image_of_two_layers(machine: &Machine) -> PathBuf {
    let place = machine.path().join("layered");
    let layer = |name: &str, files: &[(&str, &str)]| {
        let root = place.join(name);
        for (path, content) in files {
            let path = root.join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(path, content).expect("a file");
        }
        let tar = place.join(format!("{name}.tar"));
        let packed = Command::new("tar").arg("-C").arg(&root).arg("-cf").arg(&tar).arg(".").status().expect("tar runs");
        assert!(packed.success());
        let sum = Command::new("sha256sum").arg(&tar).output().expect("sha256sum runs");
        format!("sha256:{}", String::from_utf8_lossy(&sum.stdout).split(' ').next().unwrap_or_default())
    };
    let lower = layer("lower", &[("deep/same", "lower\n"), ("deep/changed", "lower\n"), ("deep/gone", "lower\n")]);
    let upper = layer("upper", &[("deep/changed", "upper\n"), ("deep/.wh.gone", "")]);
    let rootfs = serde_json::json!({"type": "layers", "diff_ids": [lower, upper]});
    let config = serde_json::json!({"architecture": "amd64", "os": "linux", "config": {}, "rootfs": rootfs});
    fs::write(place.join("config.json"), config.to_string()).expect("a configuration");
    let manifest = serde_json::json!([{"Config": "config.json", "RepoTags": ["layered:1"], "Layers": ["lower.tar", "upper.tar"]}]);
    fs::write(place.join("manifest.json"), manifest.to_string()).expect("a manifest");
    let archive = machine.path().join("layered.tar");
    let files = ["manifest.json", "config.json", "lower.tar", "upper.tar"];
    let packed = Command::new("tar").arg("-C").arg(&place).arg("-cf").arg(&archive).args(files).status().expect("tar runs");
    assert!(packed.success());
    archive
}

#[test]
fn a_volume_of_an_image_of_several_layers_shows_them_laid_over_each_other() {
    let Some(machine) = Machine::new("a_volume_of_an_image_of_several_layers_shows_them_laid_over_each_other") else { return };
    let archive = image_of_two_layers(&machine);
    let loaded = machine.output(["image", "load", &archive.display().to_string()]);
    assert!(loaded.status.success(), "{loaded:?}");
    let rest = "volumes:\n- {name: one, image: {reference: 'layered:1', pullPolicy: IfNotPresent}}\n- {name: two, image: {reference: 'layered:1', pullPolicy: IfNotPresent}}";
    let mounts = "volumeMounts: [{name: one, mountPath: /one}, {name: two, mountPath: /two}]";
    let command = "cat /one/deep/same /one/deep/changed; ls /two/deep | tr '\\n' ' '; echo; (touch /one/x || rm /two/deep/same) 2>/dev/null || echo read-only";
    let ended = run_to_end(&machine, &shell_pod("layered", command, mounts, rest));
    assert_eq!(ended.output(), ["lower", "upper", "changed same ", "read-only"], "{}", ended.story());
    let pruned = machine.output(["image", "remove", "layered:1"]);
    assert!(pruned.status.success(), "nothing holds the image any more: {pruned:?}");
}
