//! `securityContext`, of the pod and of a container: each field by what it does to a real process.

use super::support::Machine;
use super::{printed, run_to_end, shell, shell_pod};

/// User and groups of a process.
const WHO: &str = "echo $(id -u) $(id -g) $(id -G | tr ' ' '\\n' | sort -n | tr '\\n' ' ')";
/// The rights of a process, as the kernel shows them.
const RIGHTS: &str = "grep -E '^(CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/self/status | tr -s '\\t' ' '";

#[test]
fn users_and_groups_are_those_of_the_container_before_the_pods() {
    let Some(machine) = Machine::new("users_and_groups_are_those_of_the_container_before_the_pods") else { return };
    let check = |container: &str, of_pod: &str, wanted: &str| {
        assert_eq!(printed(&machine, WHO, container, of_pod), [wanted], "{container} {of_pod}");
    };
    check("", "", "0 0 0 10");
    check("securityContext: {runAsUser: 1234}", "", "1234 0 0");
    check("", "securityContext: {runAsUser: 1234, runAsGroup: 77, supplementalGroups: [5, 6]}", "1234 77 5 6 77");
    check("securityContext: {runAsUser: 4321, runAsGroup: 78}", "securityContext: {runAsUser: 1234, runAsGroup: 77}", "4321 78 78");
    check("", "securityContext: {supplementalGroups: [5], fsGroup: 9}", "0 0 0 5 9 10");
    check("", "securityContext: {supplementalGroups: [5], supplementalGroupsPolicy: Strict}", "0 0 0 5");
    check("securityContext: {runAsUser: 65534, runAsNonRoot: true}", "", "65534 65534 65534");
}

// k8s: 2.c.6
#[test]
fn a_container_that_must_not_be_root_and_is_does_not_start_and_says_why() {
    let Some(machine) = Machine::new("a_container_that_must_not_be_root_and_is_does_not_start_and_says_why") else { return };
    let refused = |container: &str, of_pod: &str, why: &str| {
        let mut running = machine.run(&shell_pod("root", "echo ran", container, of_pod), &[]);
        let told = format!("Error: {why} (pod: \"root_default(");
        running.wait_for(&told, |entry| entry["action"]["action"]["message"].as_str().is_some_and(|message| message.starts_with(&told)));
        running.wait_for("the status", |entry| entry["status"]["containerStatuses"][0]["state"]["reason"] == "CreateContainerConfigError");
        running.interrupt();
        let ended = running.end();
        assert_eq!(ended.output(), Vec::<String>::new(), "{}", ended.story());
    };
    refused("", "securityContext: {runAsNonRoot: true}", "container has runAsNonRoot and image will run as root");
    refused("securityContext: {runAsNonRoot: true, runAsUser: 0}", "", "container's runAsUser breaks non-root policy");
    let allowed = printed(&machine, "id -u", "securityContext: {runAsNonRoot: false}", "securityContext: {runAsNonRoot: true}");
    assert_eq!(allowed, ["0"], "the container's own word goes before the pod's");
}

#[test]
fn capabilities_are_the_usual_ones_with_what_is_added_and_without_what_is_dropped() {
    let Some(machine) = Machine::new("capabilities_are_the_usual_ones_with_what_is_added_and_without_what_is_dropped") else { return };
    let check = |container: &str, effective: u64, bounding: u64| {
        let lines = printed(&machine, RIGHTS, container, "");
        let wanted = [format!("CapEff: {effective:016x}"), format!("CapBnd: {bounding:016x}")];
        assert_eq!(lines[..2], wanted, "{container}");
    };
    const USUAL: u64 = 0xa804_25fb;
    const CHOWN: u64 = 1;
    const NET_BIND: u64 = 1 << 10;
    const NET_ADMIN: u64 = 1 << 12;
    check("", USUAL, USUAL);
    check("securityContext: {capabilities: {add: [NET_ADMIN], drop: [CHOWN]}}", USUAL & !CHOWN | NET_ADMIN, USUAL & !CHOWN | NET_ADMIN);
    check("securityContext: {capabilities: {drop: [ALL], add: [NET_BIND_SERVICE]}}", NET_BIND, NET_BIND);
    check("securityContext: {capabilities: {drop: [all]}}", 0, 0);
    check("securityContext: {runAsUser: 1000}", 0, USUAL);
    let own = std::fs::read_to_string("/proc/self/status").expect("status");
    let own = own.lines().find_map(|line| line.strip_prefix("CapBnd:\t")).expect("its bounding set");
    let all = u64::from_str_radix(own, 16).expect("a number");
    check("securityContext: {capabilities: {add: [ALL]}}", all, all);
    check("securityContext: {capabilities: {add: [ALL], drop: [NET_ADMIN]}}", all & !NET_ADMIN, all & !NET_ADMIN);
    check("securityContext: {privileged: true}", all, all);
}

#[test]
fn what_a_capability_is_for_works_with_it_and_fails_without_it() {
    let Some(machine) = Machine::new("what_a_capability_is_for_works_with_it_and_fails_without_it") else { return };
    let script = "chown 1:1 /etc/passwd 2>/dev/null && echo chown
ip link add dummy-x type bridge 2>/dev/null && echo link
tapp call unshare 131072 | grep -q '= 0' && echo unshare";
    assert_eq!(printed(&machine, script, "", ""), ["chown"]);
    assert_eq!(printed(&machine, script, "securityContext: {capabilities: {drop: [CHOWN]}}", ""), Vec::<String>::new());
    assert_eq!(printed(&machine, script, "securityContext: {capabilities: {add: [NET_ADMIN]}}", ""), ["chown", "link"]);
    // The filter opens with the capability.
    assert_eq!(printed(&machine, script, "securityContext: {capabilities: {add: [SYS_ADMIN]}}", ""), ["chown", "unshare"]);
}

#[test]
fn a_privileged_container_can_do_what_root_can() {
    let Some(machine) = Machine::new("a_privileged_container_can_do_what_root_can") else { return };
    let script = "mkdir /mnt
tapp call mount tmpfs /mnt tmpfs 0 0
tapp call openat -100 /sys/fs/cgroup/memory/memory.limit_in_bytes 1 then openat -100 /proc/sys/kernel/core_pattern 1 | grep -c ') = [0-9]'
tapp call openat -100 /dev/kmsg 0 | grep -c ') = [0-9]'
grep Seccomp: /proc/self/status | tr -s '\\t' ' '";
    let mut lines = printed(&machine, script, "securityContext: {privileged: true}", "");
    if !std::path::Path::new("/sys/fs/cgroup/memory").exists() {
        lines[1] = "2".to_owned();
    }
    assert_eq!(lines, ["mount(tmpfs, /mnt, tmpfs, 0, 0) = 0", "2", "1", "Seccomp: 0"]);
}

#[test]
fn a_program_with_the_set_user_id_bit_gains_nothing_without_privilege_escalation() {
    let Some(machine) = Machine::new("a_program_with_the_set_user_id_bit_gains_nothing_without_privilege_escalation") else { return };
    let setup = format!(
        "initContainers:\n{}volumes: [{{name: data, emptyDir: {{}}}}]",
        shell("setup", "cp /bin/tapp /data/tapp; chmod 4755 /data/tapp", "volumeMounts: [{name: data, mountPath: /data}]")
    );
    let script = format!("/data/tapp call geteuid\n{RIGHTS} | grep NoNew");
    let run = |escalation: &str| {
        let container = format!("securityContext: {{runAsUser: 1000{escalation}}}\nvolumeMounts: [{{name: data, mountPath: /data}}]");
        printed(&machine, &script, &container, &setup)
    };
    assert_eq!(run(""), ["geteuid() = 0", "NoNewPrivs: 0"]);
    assert_eq!(run(", allowPrivilegeEscalation: true"), ["geteuid() = 0", "NoNewPrivs: 0"]);
    assert_eq!(run(", allowPrivilegeEscalation: false"), ["geteuid() = 1000", "NoNewPrivs: 1"]);
}

#[test]
fn a_read_only_root_file_system_takes_nothing_but_volumes_do() {
    let Some(machine) = Machine::new("a_read_only_root_file_system_takes_nothing_but_volumes_do") else { return };
    let script = "for file in /new /etc/new /bin/new /etc/hosts /etc/hostname /etc/resolv.conf /data/new /dev/shm/new /dev/new; do true >> $file && echo wrote $file; done 2>&1 | sed 's/.*create //'
echo told > /dev/termination-log";
    let container = "securityContext: {readOnlyRootFilesystem: true}\nvolumeMounts: [{name: data, mountPath: /data}]";
    let lines = printed(&machine, script, container, "volumes: [{name: data, emptyDir: {}}]");
    let told = ["/new: Read-only file system", "/etc/new: Read-only file system", "/bin/new: Read-only file system"];
    let told = [
        &told[..],
        &[
            "wrote /etc/hosts",
            "/etc/hostname: Read-only file system",
            "/etc/resolv.conf: Read-only file system",
            "wrote /data/new",
            "wrote /dev/shm/new",
            "wrote /dev/new",
        ],
    ]
    .concat();
    assert_eq!(lines, told);
    let lines = printed(&machine, "true >> /new && echo wrote", "", "");
    assert_eq!(lines, ["wrote"]);
}

#[test]
fn a_seccomp_profile_is_the_default_none_or_a_file_of_the_machine() {
    let Some(machine) = Machine::new("a_seccomp_profile_is_the_default_none_or_a_file_of_the_machine") else { return };
    let profiles = machine.root().join("seccomp");
    std::fs::create_dir_all(profiles.join("own")).expect("a folder");
    let profile = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 18}]}"#;
    std::fs::write(profiles.join("own/no-folders.json"), profile).expect("a profile");
    let script = "mkdir /x 2>&1 | sed 's/.*: //'; grep ^Seccomp: /proc/self/status | tr -s '\\t' ' '; tapp call unshare 268435456";
    let run = |container: &str, of_pod: &str| printed(&machine, script, container, of_pod);
    assert_eq!(run("", ""), ["Seccomp: 2", "unshare(268435456) = EPERM"]);
    assert_eq!(run("", "securityContext: {seccompProfile: {type: RuntimeDefault}}"), ["Seccomp: 2", "unshare(268435456) = EPERM"]);
    assert_eq!(run("", "securityContext: {seccompProfile: {type: Unconfined}}"), ["Seccomp: 0", "unshare(268435456) = 0"]);
    let own = "securityContext: {seccompProfile: {type: Localhost, localhostProfile: own/no-folders.json}}";
    let unconfined = "securityContext: {seccompProfile: {type: Unconfined}}";
    assert_eq!(run(own, unconfined), ["Invalid cross-device link", "Seccomp: 2", "unshare(268435456) = 0"]);
}

#[test]
fn a_seccomp_profile_that_is_not_there_starts_nothing_and_is_named() {
    let Some(machine) = Machine::new("a_seccomp_profile_that_is_not_there_starts_nothing_and_is_named") else { return };
    let missing = "securityContext: {seccompProfile: {type: Localhost, localhostProfile: nowhere.json}}";
    let mut running = machine.run(&shell_pod("filtered", "echo ran", missing, ""), &[]);
    running.wait_for("the refusal", |entry| {
        entry["action"]["action"]["message"]
            .as_str()
            .is_some_and(|message| message.starts_with("Error: ") && message.contains("nowhere.json"))
    });
    running.interrupt();
    let ended = running.end();
    assert_eq!(ended.output(), Vec::<String>::new(), "{}", ended.story());
}

#[test]
fn safe_kernel_parameters_act_in_the_pod_alone_and_others_are_refused() {
    let Some(machine) = Machine::new("safe_kernel_parameters_act_in_the_pod_alone_and_others_are_refused") else { return };
    let files = "cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/net/ipv4/tcp_syncookies /proc/sys/kernel/shm_rmid_forced";
    let sysctls = "securityContext: {sysctls: [{name: net.ipv4.ip_unprivileged_port_start, value: '81'}, {name: net/ipv4/tcp_syncookies, value: '0'}, {name: kernel.shm_rmid_forced, value: '1'}]}";
    let here = || {
        ["net/ipv4/ip_unprivileged_port_start", "net/ipv4/tcp_syncookies", "kernel/shm_rmid_forced"]
            .map(|file| std::fs::read_to_string(format!("/proc/sys/{file}")).expect("a parameter"))
    };
    let before = here();
    assert_eq!(printed(&machine, files, "", sysctls), ["81", "0", "1"]);
    assert_eq!(here(), before, "the machine's own are as they were");
    for name in ["kernel.msgmax", "net.ipv4.ip_forward", "vm.swappiness"] {
        let manifest = shell_pod("unsafe", "true", "", &format!("securityContext: {{sysctls: [{{name: {name}, value: '1'}}]}}"));
        let ended = run_to_end(&machine, &manifest);
        assert!(ended.code != Some(0), "{}", ended.story());
        assert!(
            ended.stderr.contains("spec.securityContext.sysctls[0].name: is neither one of the kernel parameters that are safe"),
            "{}",
            ended.stderr
        );
    }
}

#[test]
fn a_user_other_than_root_serves_low_ports_and_sends_pings_as_with_containerd() {
    let Some(machine) = Machine::new("a_user_other_than_root_serves_low_ports_and_sends_pings_as_with_containerd") else { return };
    let script = "cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/net/ipv4/ping_group_range | tr -s '\\t' ' '
tapp call socket 2 2 1 | grep -c ') = [0-9]'
nc -l -p 80 < /dev/null > /dev/null & sleep 0.2; nc 127.0.0.1 80 < /dev/null && echo connected";
    let restricted = "securityContext: {runAsUser: 1000, runAsGroup: 1000, capabilities: {drop: [ALL]}, allowPrivilegeEscalation: false}";
    assert_eq!(printed(&machine, script, restricted, ""), ["0", "0 2147483647", "1", "connected"]);
}

#[test]
fn kernel_parameters_that_the_node_allows_are_set_for_the_pod_alone_and_no_others() {
    let Some(machine) = Machine::new("kernel_parameters_that_the_node_allows_are_set_for_the_pod_alone_and_no_others") else { return };
    let run = |name: &str, value: &str, file: &str| {
        let rest = format!("securityContext: {{sysctls: [{{name: {name}, value: '{value}'}}]}}");
        machine
            .run(
                &shell_pod("allowed", &format!("cat /proc/sys/{file}"), "", &rest),
                &["--allowed-unsafe-sysctls", "net.core.somaxconn,kernel.msg*"],
            )
            .end()
    };
    let of_machine = || std::fs::read_to_string("/proc/sys/kernel/msgmax").expect("it is there");
    let before = of_machine();
    assert_eq!(run("net.core.somaxconn", "77", "net/core/somaxconn").output(), ["77"]);
    assert_eq!(run("kernel/msgmax", "9000", "kernel/msgmax").output(), ["9000"]);
    assert_eq!(of_machine(), before);
    let refused = run("kernel.shmmax", "1", "kernel/shmmax");
    let told = "spec.securityContext.sysctls[0].name: is neither one of the kernel parameters that are safe for other pods nor allowed by the node";
    assert!(refused.code != Some(0) && refused.stderr.contains(told), "{}", refused.story());
    let wrong = machine.output(["run", "pod.yaml", "--allowed-unsafe-sysctls", "vm.swappiness"]);
    let text = String::from_utf8_lossy(&wrong.stderr);
    assert!(!wrong.status.success() && text.contains("\"vm.swappiness\" is not known to be of a namespace of the pod's own"), "{text}");
}

#[test]
fn the_whole_of_proc_is_shown_to_nobody_who_shares_the_machines_users() {
    let Some(machine) = Machine::new("the_whole_of_proc_is_shown_to_nobody_who_shares_the_machines_users") else { return };
    let run = |mount: &str| {
        run_to_end(
            &machine,
            &shell_pod("proc", "head -c 1 /proc/interrupts | wc -c", &format!("securityContext: {{procMount: {mount}}}"), ""),
        )
    };
    assert_eq!(run("Default").output(), ["0"]);
    let refused = run("Unmasked");
    let told = "spec.containers[0].securityContext.procMount: Invalid value: \"Unmasked\": `hostUsers` must be false to use `Unmasked`";
    assert!(refused.code != Some(0) && refused.stderr.contains(told), "{}", refused.story());
}

/// Whether the kernel applies AppArmor profiles.
fn has_app_armor() -> bool {
    std::fs::read_to_string("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.trim() == "Y")
}

#[test]
fn app_armor_and_users_of_the_pods_own_are_refused_or_warned_about() {
    let Some(machine) = Machine::new("app_armor_and_users_of_the_pods_own_are_refused_or_warned_about") else { return };
    let run = |container: &str, rest: &str| run_to_end(&machine, &shell_pod("armor", "echo ran", container, rest));
    let warned = run("securityContext: {appArmorProfile: {type: RuntimeDefault}}", "");
    assert_eq!(warned.output(), ["ran"]);
    if !has_app_armor() {
        let told = "spec.containers[0].securityContext.appArmorProfile.type: AppArmor profiles are only applied where";
        assert!(warned.stderr.contains(told), "{}", warned.stderr);
    }
    let silent = run("securityContext: {appArmorProfile: {type: Unconfined}}", "");
    assert_eq!((silent.output(), silent.stderr.contains("AppArmor")), (vec!["ran".to_owned()], false));
    if !has_app_armor() {
        let refused = run("securityContext: {appArmorProfile: {type: Localhost, localhostProfile: mine}}", "");
        let told = "spec.containers[0].securityContext.appArmorProfile.localhostProfile: AppArmor profiles are only applied where";
        assert!(refused.code != Some(0) && refused.output().is_empty() && refused.stderr.contains(told), "{}", refused.story());
    }
    let refused = run("", "hostUsers: false");
    assert!(
        refused.code != Some(0) && refused.stderr.contains("spec.hostUsers: users of the pod's own are not supported"),
        "{}",
        refused.story()
    );
}

#[test]
fn containers_and_their_hooks_are_held_by_the_default_profile_unless_they_ask_otherwise() {
    let test = "containers_and_their_hooks_are_held_by_the_default_profile_unless_they_ask_otherwise";
    if !has_app_armor() {
        eprintln!("SKIP {test}: the kernel has no AppArmor; `cargo xtask vm` boots one that has");
        return;
    }
    let Some(machine) = Machine::new(test) else { return };
    // Rights and system calls are there, so that only the profile is in the way.
    let script = "cat /proc/self/attr/current; mount -t tmpfs none /tmp && echo mounted; sleep 5 & kill $! && echo signalled
until [ -e /dev/shm/hooked ]; do sleep 0.05; done";
    let rights = |more: &str| {
        let hook =
            "lifecycle: {postStart: {exec: {command: [sh, -c, 'echo hook: $(cat /proc/self/attr/current); touch /dev/shm/hooked']}}}";
        format!("securityContext: {{capabilities: {{add: [SYS_ADMIN]}}, seccompProfile: {{type: Unconfined}}{more}}}\n{hook}")
    };
    for (more, is_held) in
        [("", true), (", appArmorProfile: {type: RuntimeDefault}", true), (", appArmorProfile: {type: Unconfined}", false)]
    {
        let ended = run_to_end(&machine, &shell_pod("armor", script, &rights(more), ""));
        let (told, output) = (ended.story(), ended.output());
        let label = if is_held { "usher-default-" } else { "unconfined" };
        assert!(output[0].starts_with(label), "{told}");
        assert!(ended.hook_output().iter().any(|line| line.starts_with(&format!("hook: {label}"))), "as its container: {told}");
        assert_eq!(output.contains(&"mounted".to_owned()), !is_held, "{told}");
        assert!(output.contains(&"signalled".to_owned()), "{told}");
    }
    let ended = run_to_end(&machine, &shell_pod("armor", "cat /proc/self/attr/current", "securityContext: {privileged: true}", ""));
    assert!(ended.output()[0].starts_with("unconfined"), "{}", ended.story());
}

#[test]
fn a_profile_of_the_machine_is_asked_of_the_kernel_by_its_name() {
    let test = "a_profile_of_the_machine_is_asked_of_the_kernel_by_its_name";
    if !has_app_armor() {
        eprintln!("SKIP {test}: the kernel has no AppArmor; `cargo xtask vm` boots one that has");
        return;
    }
    let Some(machine) = Machine::new(test) else { return };
    let manifest = |profile: &str| {
        let profile = format!("securityContext: {{appArmorProfile: {{type: Localhost, localhostProfile: {profile}}}}}");
        shell_pod("armor", "cat /proc/self/attr/current", &profile, "")
    };
    // The one that every kernel with AppArmor knows.
    let ended = run_to_end(&machine, &manifest("unconfined"));
    assert!(ended.output()[0].starts_with("unconfined"), "{}", ended.story());
    // Nobody has loaded it: the container must not run without it.
    let refused = run_to_end(&machine, &manifest("usher-knows-no-such-profile"));
    assert!(refused.output().is_empty() && refused.code != Some(0), "{}", refused.story());
    let is_named = |event: &String| event.contains("usher-knows-no-such-profile");
    assert!(refused.events().iter().any(is_named), "{:?}", refused.events());
}
