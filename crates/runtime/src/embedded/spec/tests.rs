use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use oci_spec::image;
use oci_spec::runtime::{Capability, LinuxNamespaceType, Spec};
use serde_json::Value;

use super::{ImageUser, Machine, PidMode, ResolvedUser, SandboxInfo, SpecError, SpecInput, check_non_root, oci_spec, user_to_resolve};
use crate::{ContainerConfig, LinuxResources, Mount, MountPropagation, SeccompProfile, SecurityContext};

#[test]
fn a_container_without_wishes_is_what_the_kubelet_and_containerd_make_of_it() {
    let spec = Case { container: ContainerConfig { command: words("sleep 1"), ..ContainerConfig::default() }, ..Case::default() }.spec();
    insta::assert_snapshot!(printed(&spec));
}

#[test]
fn a_privileged_container_is_the_node_with_another_root() {
    let mut case = Case::default();
    case.container.command = words("sh");
    case.container.security.privileged = true;
    case.machine.capabilities = HashSet::from([Capability::SysAdmin, Capability::Chown]);
    let spec = printed(&case.spec());
    let spec: Value = serde_json::from_str(&spec).expect("it was printed as JSON");
    assert_eq!(spec["process"]["capabilities"]["effective"], serde_json::json!(["CAP_CHOWN", "CAP_SYS_ADMIN"]));
    assert_eq!(spec["linux"]["maskedPaths"], serde_json::json!([]));
    assert_eq!(spec["linux"]["readonlyPaths"], serde_json::json!([]));
    assert_eq!(spec["linux"]["seccomp"], Value::Null);
    assert_eq!(spec["linux"]["resources"]["devices"], serde_json::json!([{"allow": true, "access": "rwm"}]));
    for destination in ["/sys", "/sys/fs/cgroup"] {
        assert!(mount(&spec, destination)["options"].as_array().expect("options").contains(&"rw".into()), "{destination}");
    }
}

#[test]
fn command_and_arguments_of_the_manifest_replace_those_of_the_image() {
    let image = |entry_point: &str, command: &str| {
        image::ConfigBuilder::default().entrypoint(words(entry_point)).cmd(words(command)).build().expect("a configuration")
    };
    for (entry_point, image_command, command, args, expected) in [
        ("/entry -e", "cmd", "", "", "/entry -e cmd"),
        ("/entry -e", "cmd", "", "a b", "/entry -e a b"),
        ("/entry -e", "cmd", "run", "", "run"),
        ("/entry -e", "cmd", "run", "a", "run a"),
        ("", "cmd", "", "", "cmd"),
        ("", "cmd", "", "a", "a"),
        ("/entry", "", "", "", "/entry"),
    ] {
        let mut case = Case { image: image(entry_point, image_command), ..Case::default() };
        case.container.command = words(command);
        case.container.args = words(args);
        let spec = case.spec();
        assert_eq!(process(&spec).args().clone().expect("arguments"), words(expected), "{entry_point}|{image_command}|{command}|{args}");
    }
    assert_eq!(Case::default().try_spec(), Err(SpecError::NoCommand));
}

#[test]
fn the_environment_is_overridden_from_outside_in_and_keeps_its_order() {
    for (image, container, tty, expected) in [
        (
            &[] as &[&str],
            &[] as &[(&str, &str)],
            false,
            &["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOSTNAME=p"] as &[&str],
        ),
        (&["PATH=/i", "A=1"], &[("A", "2"), ("B", "3")], false, &["PATH=/i", "HOSTNAME=p", "A=2", "B=3"]),
        (&["PATH=/i"], &[("HOSTNAME", "mine"), ("PATH", "/c")], true, &["PATH=/c", "TERM=xterm", "HOSTNAME=mine"]),
        (&["PATH=/i", "HOSTNAME", "NONE"], &[("A", "x=y"), ("A", "z")], false, &["PATH=/i", "A=z"]),
    ] {
        let mut case = Case::runnable();
        case.image.set_env(Some(image.iter().map(|entry| (*entry).to_owned()).collect()));
        case.container.envs = container.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        case.container.tty = tty;
        assert_eq!(process(&case.spec()).env().clone().expect("an environment"), expected);
    }
}

#[test]
fn the_working_folder_is_the_manifests_else_the_images_else_the_root() {
    for (container, image, expected) in [
        (None, None, "/"),
        (None, Some("/image"), "/image"),
        (None, Some("image"), "/image"),
        (Some(""), Some("/image"), "/image"),
        (Some("/container"), Some("/image"), "/container"),
    ] {
        let mut case = Case::runnable();
        case.container.working_dir = container.map(str::to_owned);
        case.image.set_working_dir(image.map(str::to_owned));
        assert_eq!(process(&case.spec()).cwd(), Path::new(expected), "{container:?} {image:?}");
    }
}

#[test]
fn capabilities_are_added_and_dropped_as_in_containerd() {
    let all = all_capabilities();
    let default = 14;
    for (add, drop, count, has, has_not) in [
        ("", "", default, "NET_RAW", "SYS_ADMIN"),
        ("SYS_ADMIN", "", default + 1, "SYS_ADMIN", "SYS_TIME"),
        ("", "net_raw", default - 1, "CHOWN", "NET_RAW"),
        ("NET_BIND_SERVICE", "ALL", 1, "NET_BIND_SERVICE", "CHOWN"),
        ("", "all", 0, "", "CHOWN"),
        ("ALL", "CHOWN", all.len() - 1, "SYS_ADMIN", "CHOWN"),
        ("CAP_SYS_TIME NO_SUCH", "", default + 1, "SYS_TIME", "SYS_ADMIN"),
        ("CHOWN", "CHOWN", default - 1, "KILL", "CHOWN"),
    ] {
        let mut case = Case::runnable();
        case.container.security.add_capabilities = words(add);
        case.container.security.drop_capabilities = words(drop);
        let spec = case.spec();
        let sets = process(&spec).capabilities().clone().expect("capabilities");
        let bounding = sets.bounding().clone().expect("a bounding set");
        let names: Vec<String> = bounding.iter().map(ToString::to_string).collect();
        assert_eq!(names.len(), count, "+{add} -{drop}: {names:?}");
        assert!(has.is_empty() || names.iter().any(|name| name == has), "+{add} -{drop} lacks {has}");
        assert!(!names.iter().any(|name| name == has_not), "+{add} -{drop} has {has_not}");
        assert_eq!(sets.effective(), sets.bounding());
    }
}

#[test]
fn a_capability_that_the_machine_lacks_is_left_out() {
    let mut case = Case::runnable();
    case.container.security.add_capabilities = words("SYS_RESOURCE");
    case.machine.capabilities.remove(&Capability::SysResource);
    let spec = case.spec();
    let bounding = process(&spec).capabilities().as_ref().and_then(|sets| sets.bounding().clone()).expect("a bounding set");
    assert!(!bounding.contains(&Capability::SysResource));
    assert_eq!(bounding.len(), 14);
}

#[test]
fn a_user_other_than_root_has_a_bounding_set_only() {
    let case = Case { user: ResolvedUser { uid: 1000, gid: 1000, groups: vec![1000, 5] }, ..Case::runnable() };
    let spec = case.spec();
    let sets = process(&spec).capabilities().clone().expect("capabilities");
    for set in [sets.effective(), sets.permitted(), sets.inheritable(), sets.ambient()] {
        assert_eq!(set.as_ref().map(HashSet::len), Some(0));
    }
    assert_eq!(sets.bounding().as_ref().map(HashSet::len), Some(14));
    let user = process(&spec).user();
    assert_eq!((user.uid(), user.gid(), user.additional_gids().clone()), (1000, 1000, Some(vec![1000, 5])));
}

#[test]
fn shallow_mounts_come_first_and_replace_the_usual_ones() {
    let mut case = Case::runnable();
    case.container.mounts = ["/data/deep/", "/data", "/sys/fs/cgroup", "/dev/shm"].map(|path| bound(path, |_| {})).to_vec();
    let spec = printed(&case.spec());
    let spec: Value = serde_json::from_str(&spec).expect("JSON");
    let destinations: Vec<&str> = spec["mounts"].as_array().expect("mounts").iter().filter_map(|m| m["destination"].as_str()).collect();
    assert_eq!(destinations, ["/proc", "/dev", "/dev/pts", "/dev/mqueue", "/sys", "/data", "/data/deep/", "/dev/shm", "/sys/fs/cgroup"]);
    assert_eq!(mount(&spec, "/sys/fs/cgroup")["type"], "bind");

    case.container.mounts = vec![bound("/dev", |_| {})];
    let spec: Value = serde_json::from_str(&printed(&case.spec())).expect("JSON");
    let destinations: Vec<&str> = spec["mounts"].as_array().expect("mounts").iter().filter_map(|m| m["destination"].as_str()).collect();
    assert_eq!(destinations, ["/proc", "/sys", "/sys/fs/cgroup", "/dev", "/dev/shm"]);
}

#[test]
fn mounts_are_private_and_writable_unless_told_otherwise() {
    for (change, options, propagation) in [
        ((|_| {}) as fn(&mut Mount), ["rbind", "rprivate", "rw"], None),
        (|m| m.readonly = true, ["rbind", "rprivate", "ro"], None),
        (|m| (m.readonly, m.recursive_readonly) = (true, true), ["rbind", "rprivate", "rro"], None),
        (|m| m.propagation = MountPropagation::HostToContainer, ["rbind", "rslave", "rw"], Some("rslave")),
        (|m| m.propagation = MountPropagation::Bidirectional, ["rbind", "rshared", "rw"], Some("rshared")),
    ] {
        let mut case = Case::runnable();
        case.container.mounts = vec![bound("/data", change)];
        let spec = case.spec();
        let linux = spec.linux().clone().expect("linux");
        assert_eq!(linux.rootfs_propagation().as_deref(), propagation);
        let spec: Value = serde_json::from_str(&printed(&spec)).expect("JSON");
        assert_eq!(mount(&spec, "/data")["options"], serde_json::json!(options));
    }
    let mut case = Case::runnable();
    case.container.mounts = vec![bound("/data", |m| m.recursive_readonly = true)];
    assert_eq!(case.try_spec(), Err(SpecError::RecursiveReadonlyOfWritable(PathBuf::from("/node/data"))));
    case.container.mounts = vec![bound("/data", |m| {
        (m.readonly, m.recursive_readonly, m.propagation) = (true, true, MountPropagation::HostToContainer);
    })];
    assert_eq!(case.try_spec(), Err(SpecError::RecursiveReadonlyPropagated(PathBuf::from("/node/data"))));
}

#[test]
fn limits_are_told_in_the_words_of_oci_and_zero_means_none() {
    let mut case = Case::runnable();
    case.container.resources = LinuxResources {
        cpu_shares: Some(512),
        cpu_quota_micros: Some(50_000),
        cpu_period_micros: Some(100_000),
        memory_limit_bytes: Some(64 << 20),
        pids_limit: Some(100),
        oom_score_adj: Some(-997),
        cpuset_cpus: Some("0-1".to_owned()),
        hugepage_limits: BTreeMap::from([("2MB".to_owned(), 4 << 20)]),
        unified: BTreeMap::from([("memory.oom.group".to_owned(), "1".to_owned())]),
    };
    let spec: Value = serde_json::from_str(&printed(&case.spec())).expect("JSON");
    let resources = &spec["linux"]["resources"];
    assert_eq!(resources["cpu"], serde_json::json!({"shares": 512, "quota": 50_000, "period": 100_000, "cpus": "0-1"}));
    assert_eq!(resources["memory"], serde_json::json!({"limit": 64 << 20, "swap": 64 << 20}));
    assert_eq!(resources["pids"], serde_json::json!({"limit": 100}));
    assert_eq!(resources["hugepageLimits"], serde_json::json!([{"pageSize": "2MB", "limit": 4 << 20}]));
    assert_eq!(resources["unified"], serde_json::json!({"memory.oom.group": "1"}));
    assert_eq!(spec["process"]["oomScoreAdj"], -997);

    case.container.resources =
        LinuxResources { cpu_shares: Some(0), memory_limit_bytes: Some(0), pids_limit: Some(0), ..LinuxResources::default() };
    let spec: Value = serde_json::from_str(&printed(&case.spec())).expect("JSON");
    for limit in ["cpu", "memory", "pids", "hugepageLimits", "unified"] {
        assert_eq!(spec["linux"]["resources"][limit], Value::Null, "{limit}");
    }
}

#[test]
fn seccomp_is_the_runtimes_own_unless_told_otherwise() {
    let path = PathBuf::from("/node/profile.json");
    let profile = oci_spec::runtime::LinuxSeccomp::default();
    let mut case = Case::runnable();
    let filter = |case: &Case| case.spec().linux().as_ref().and_then(|linux| linux.seccomp().clone());
    assert!(filter(&case).is_some());
    case.container.security.seccomp = SeccompProfile::Unconfined;
    assert_eq!(filter(&case), None);
    case.container.security.seccomp = SeccompProfile::Localhost(path.clone());
    assert_eq!(case.try_spec(), Err(SpecError::NoLocalhostProfile(path)));
    case.localhost_profile = Some(profile.clone());
    assert_eq!(filter(&case), Some(profile));
}

#[test]
fn rights_follow_the_security_context() {
    let mut case = Case::runnable();
    case.sandbox.pid = PidMode::Joined("/shim/pid".into());
    case.sandbox.sysctls = BTreeMap::from([("net.ipv4.tcp_syncookies".to_owned(), "0".to_owned())]);
    let unconfined: Value = serde_json::from_str(&printed(&case.spec())).expect("JSON");
    assert_eq!(unconfined["process"].get("apparmorProfile"), None);
    case.container.security =
        SecurityContext { readonly_rootfs: true, no_new_privs: true, unmasked_proc: true, ..SecurityContext::default() };
    case.app_armor = Some("mine");
    let spec: Value = serde_json::from_str(&printed(&case.spec())).expect("JSON");
    assert_eq!(spec["root"]["readonly"], true);
    assert_eq!(spec["process"]["noNewPrivileges"], true);
    assert_eq!(spec["process"]["apparmorProfile"], "mine");
    assert_eq!(spec["linux"]["maskedPaths"], serde_json::json!([]));
    assert_eq!(spec["linux"]["readonlyPaths"], serde_json::json!([]));
    assert_eq!(
        spec["linux"]["namespaces"],
        serde_json::json!([{"type": "mount"}, {"type": "cgroup"}, {"type": "pid", "path": "/shim/pid"},
        {"type": "network", "path": "/proc/self/ns/net"}, {"type": "ipc", "path": "/proc/self/ns/ipc"}])
    );
    assert_eq!(spec["linux"]["sysctl"], serde_json::json!({"net.ipv4.tcp_syncookies": "0"}));
}

// k8s: 2.c.6
#[test]
fn run_as_non_root_is_refused_in_the_kubelets_words() {
    for (run_as_user, image, refusal) in [
        (Some(0), "", Some(r#"container's runAsUser breaks non-root policy (pod: "p_ns(1-2)", container: app)"#)),
        (Some(1), "", None),
        (None, "", Some(r#"container has runAsNonRoot and image will run as root (pod: "p_ns(1-2)", container: app)"#)),
        (None, "0:5", Some(r#"container has runAsNonRoot and image will run as root (pod: "p_ns(1-2)", container: app)"#)),
        (None, "1000:0", None),
        (
            None,
            "nginx:nginx",
            Some(
                "container has runAsNonRoot and image has non-numeric user (nginx), cannot verify user is non-root \
                 (pod: \"p_ns(1-2)\", container: app)",
            ),
        ),
    ] {
        let mut security = SecurityContext { run_as_non_root: true, run_as_user, ..SecurityContext::default() };
        let image = ImageUser::parse(image);
        let found = check_non_root(&security, &image, "p_ns(1-2)", "app");
        assert_eq!(found.err().as_deref(), refusal, "{run_as_user:?} {image:?}");
        security.run_as_non_root = false;
        assert_eq!(check_non_root(&security, &image, "p_ns(1-2)", "app"), Ok(()));
    }
}

#[test]
fn the_manifests_user_and_group_replace_those_of_the_image() {
    for (run_as_user, run_as_group, image, expected) in [
        (None, None, "", "0"),
        (None, None, "33:44", "33"),
        (None, None, "www:www", "www"),
        (Some(5), None, "www", "5"),
        (Some(5), Some(6), "www", "5:6"),
        (None, Some(6), "www:www", "www:6"),
    ] {
        let security = SecurityContext { run_as_user, run_as_group, ..SecurityContext::default() };
        assert_eq!(user_to_resolve(&security, &ImageUser::parse(image)), expected);
    }
}

// The groups are those of trace `u-hook-context`.
#[test]
fn a_user_has_the_groups_of_the_image_and_of_the_manifest() {
    let of_image = crate::images::ResolvedUser { uid: 0, gid: 0, additional_gids: vec![0, 10], home: None };
    let mut security = SecurityContext { supplemental_groups: vec![1234, 4321, 10], ..SecurityContext::default() };
    assert_eq!(ResolvedUser::new(&of_image, &security).groups, [0, 10, 1234, 4321]);
    security.strict_supplemental_groups = true;
    assert_eq!(ResolvedUser::new(&of_image, &security).groups, [0, 1234, 4321, 10]);
}

#[derive(Clone, Debug)]
struct Case {
    container: ContainerConfig,
    image: image::Config,
    user: ResolvedUser,
    sandbox: SandboxInfo,
    machine: Machine,
    mounted_images: BTreeMap<String, Vec<PathBuf>>,
    localhost_profile: Option<oci_spec::runtime::LinuxSeccomp>,
    app_armor: Option<&'static str>,
}

impl Default for Case {
    fn default() -> Self {
        Self {
            container: ContainerConfig::default(),
            image: image::Config::default(),
            user: ResolvedUser { uid: 0, gid: 0, groups: vec![0, 10] },
            sandbox: SandboxInfo {
                hostname: "p".to_owned(),
                pid: PidMode::Container,
                shm: PathBuf::from("/pod/shm"),
                owned: vec![LinuxNamespaceType::Network, LinuxNamespaceType::Ipc],
                sysctls: BTreeMap::new(),
            },
            machine: Machine { capabilities: all_capabilities(), devices: Vec::new(), possible_cpus: vec![0, 1] },
            mounted_images: BTreeMap::new(),
            localhost_profile: None,
            app_armor: None,
        }
    }
}

impl Case {
    fn runnable() -> Self {
        let mut case = Self::default();
        case.container.command = words("true");
        case
    }

    fn try_spec(&self) -> Result<Spec, SpecError> {
        oci_spec(&SpecInput {
            container: &self.container,
            image: &self.image,
            user: &self.user,
            sandbox: &self.sandbox,
            machine: &self.machine,
            mounted_images: &self.mounted_images,
            localhost_profile: self.localhost_profile.as_ref(),
            app_armor: self.app_armor,
        })
    }

    fn spec(&self) -> Spec {
        self.try_spec().expect("a specification")
    }
}

fn all_capabilities() -> HashSet<Capability> {
    use std::str::FromStr as _;
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE NET_ADMIN \
     NET_RAW IPC_LOCK SYS_CHROOT SYS_PTRACE SYS_ADMIN SYS_RESOURCE SYS_TIME MKNOD AUDIT_WRITE SETFCAP"
        .split_whitespace()
        .map(|name| Capability::from_str(name).expect("a capability"))
        .collect()
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn a_mounted_image_is_its_layers_laid_over_each_other_and_read_only() {
    let mut case = Case::runnable();
    case.container.mounts = ["one", "two"]
        .map(|id| Mount { image_id: Some(id.to_owned()), container_path: format!("/{id}").into(), ..Mount::default() })
        .into();
    assert_eq!(case.try_spec().expect_err("they were not looked for"), SpecError::NoMountedImage("one".to_owned()));
    case.mounted_images =
        BTreeMap::from([("one".to_owned(), vec!["/l/a".into()]), ("two".to_owned(), vec!["/l/top".into(), "/l/base".into()])]);
    let spec = serde_json::to_value(case.spec()).expect("JSON");
    let one = mount(&spec, "/one");
    assert_eq!((&one["type"], &one["source"]), (&"bind".into(), &"/l/a".into()));
    assert_eq!(one["options"], serde_json::json!(["rbind", "rprivate", "ro", "nosuid", "nodev"]));
    let two = mount(&spec, "/two");
    assert_eq!(two["type"], "overlay");
    assert_eq!(two["options"], serde_json::json!(["ro", "nosuid", "nodev", "lowerdir+=/l/top", "lowerdir+=/l/base"]));
}

fn bound(path: &str, change: impl Fn(&mut Mount)) -> Mount {
    let mut mount =
        Mount { host_path: PathBuf::from(format!("/node{}", path.trim_end_matches('/'))), container_path: path.into(), ..Mount::default() };
    change(&mut mount);
    mount
}

fn process(spec: &Spec) -> &oci_spec::runtime::Process {
    spec.process().as_ref().expect("a process")
}

fn mount<'a>(spec: &'a Value, destination: &str) -> &'a Value {
    let mounts = spec["mounts"].as_array().expect("mounts");
    mounts.iter().find(|mount| mount["destination"] == destination).expect("such a mount")
}

/// The configuration as text: sets in order, and of a system call filter only that it is there, because it has tests of its own.
fn printed(spec: &Spec) -> String {
    let mut value = serde_json::to_value(spec).expect("a specification is JSON");
    if let Some(sets) = value["process"]["capabilities"].as_object_mut() {
        for set in sets.values_mut() {
            let names = set.as_array_mut().expect("a set");
            names.sort_by_key(Value::to_string);
        }
    }
    if !value["linux"]["seccomp"].is_null() {
        value["linux"]["seccomp"] = "some filter".into();
    }
    serde_json::to_string_pretty(&value).expect("JSON is text")
}
