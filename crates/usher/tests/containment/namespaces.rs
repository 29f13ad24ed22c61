//! Which namespaces the containers of a pod share, with each other and with the machine, and what they are called.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use super::support::Machine;
use super::{pod, printed, run_to_end, shell, shell_pod};

/// The namespaces of the process that asks.
const OWN: &str = "for kind in pid ipc net uts mnt user; do readlink /proc/self/ns/$kind; done";

/// A namespace of this test, which is the machine's to the pods of the test.
fn of_machine(kind: &str) -> String {
    // Of this thread, which has a network of its own.
    fs::read_link(format!("/proc/thread-self/ns/{kind}")).expect("a namespace").display().to_string()
}

fn shared_with_machine(lines: &[String]) -> Vec<&str> {
    let kinds = ["pid", "ipc", "net", "uts", "mnt", "user"];
    assert_eq!(lines.len(), kinds.len(), "{lines:?}");
    kinds.into_iter().zip(lines).filter(|(kind, line)| of_machine(kind) == **line).map(|(kind, _)| kind).collect()
}

#[test]
fn a_container_shares_with_the_machine_only_what_its_pod_says() {
    let Some(machine) = Machine::new("a_container_shares_with_the_machine_only_what_its_pod_says") else { return };
    let check = |rest: &str, wanted: &[&str]| {
        let lines = printed(&machine, OWN, "", rest);
        assert_eq!(shared_with_machine(&lines), wanted, "{rest}: {lines:?}");
    };
    check("", &["user"]);
    check("hostPID: true", &["pid", "user"]);
    check("hostIPC: true", &["ipc", "user"]);
    check("hostNetwork: true", &["net", "uts", "user"]);
    check("hostPID: true\nhostIPC: true\nhostNetwork: true", &["pid", "ipc", "net", "uts", "user"]);
}

#[test]
fn with_the_machines_processes_a_container_sees_them_and_without_them_only_its_own() {
    let Some(machine) = Machine::new("with_the_machines_processes_a_container_sees_them_and_without_them_only_its_own") else { return };
    let own = std::process::id();
    let script =
        format!("[ -e /proc/{own}/stat ] && echo seen || echo not seen; echo first $(cat /proc/1/comm); ls -d /proc/[0-9]* | wc -l");
    let without = printed(&machine, &script, "", "");
    assert_eq!(without[..2], ["not seen", "first sh"]);
    assert!(without[2].parse::<u32>().is_ok_and(|count| count < 6), "{without:?}");
    let with = printed(&machine, &script, "", "hostPID: true");
    let first = fs::read_to_string("/proc/1/comm").expect("its name");
    assert_eq!(with[..2], ["seen".to_owned(), format!("first {}", first.trim())]);
    // Seen is not reached: what belongs to the machine stays closed to a container without the right to trace.
    let script = format!(
        "cat /proc/{own}/root{} 2>&1 | sed 's/.*: //'; ls /proc/1/root/ 2>&1 | sed 's/.*: //'",
        machine.file("mark", "of the machine").display()
    );
    assert_eq!(printed(&machine, &script, "", "hostPID: true"), ["Permission denied", "Permission denied"]);
    let lines = printed(&machine, &script, "securityContext: {privileged: true}", "hostPID: true");
    assert!(lines[0].starts_with("of the machine"), "the attempt works where it may: {lines:?}");
}

#[test]
fn containers_that_share_processes_see_and_signal_each_other_and_others_do_not() {
    let Some(machine) = Machine::new("containers_that_share_processes_see_and_signal_each_other_and_others_do_not") else { return };
    let run = |rest: &str| {
        // The one waits for the other's try, however long it takes.
        let mounts = "volumeMounts: [{name: both, mountPath: /both}]";
        let script = "trap 'echo signalled; exit 0' USR1; touch /both/ready; while [ ! -e /both/tried ]; do sleep 0.1; done; echo alone";
        let other = shell("other", script, mounts);
        let script = "while [ ! -e /both/ready ]; do sleep 0.1; done
for p in /proc/[0-9]*; do { tr '\\0' ' ' < $p/cmdline; } 2>/dev/null | grep -q '^sh -c trap' && pid=${p#/proc/}; done
kill -USR1 ${pid:-none} 2>/dev/null && echo reached; touch /both/tried; echo i am $$$$
cat /proc/$pid/root/etc/passwd 2>/dev/null | grep -c root; true";
        let app = shell("app", script, mounts);
        run_to_end(
            &machine,
            &pod("sharing", &format!(
                "restartPolicy: Never\nterminationGracePeriodSeconds: 1\n{rest}containers:\n{other}{app}volumes: [{{name: both, emptyDir: {{}}}}]\n"
            )),
        )
        .output()
    };
    let apart = run("");
    assert!(
        apart.contains(&"i am 1".to_owned()) && apart.contains(&"alone".to_owned()) && !apart.contains(&"reached".to_owned()),
        "{apart:?}"
    );
    let shared = run("shareProcessNamespace: true\n");
    assert!(shared.contains(&"reached".to_owned()) && shared.contains(&"signalled".to_owned()), "{shared:?}");
    assert!(!shared.contains(&"i am 1".to_owned()), "the first process is not a container's: {shared:?}");
}

#[test]
fn containers_of_a_pod_share_network_and_memory_but_neither_files_nor_processes() {
    let Some(machine) = Machine::new("containers_of_a_pod_share_network_and_memory_but_neither_files_nor_processes") else { return };
    // Both at once: the kernel gives the numbers of what is gone again.
    let script = format!("{OWN}; echo x > /dev/shm/$HOSTNAME-$1; while [ ! -e /dev/shm/$HOSTNAME-$2 ]; do sleep 0.05; done; sleep 0.2");
    let script = |own: &str, other: &str| script.replace("$1", own).replace("$2", other);
    let containers = [shell("one", &script("one", "two"), ""), shell("two", &script("two", "one"), "")].concat();
    let ended = run_to_end(&machine, &pod("together", &format!("restartPolicy: Never\ncontainers:\n{containers}")));
    let of = |name: &str| -> Vec<String> {
        let lines = ended.entries.iter().filter(|entry| entry["output"]["container"] == name);
        lines.filter_map(|entry| entry["output"]["line"].as_str()).map(str::to_owned).collect()
    };
    let (one, two) = (of("one"), of("two"));
    assert_eq!((one.len(), two.len()), (6, 6), "{}", ended.story());
    let same: Vec<bool> = one.iter().zip(&two).map(|(one, two)| one == two).collect();
    assert_eq!(same, [false, true, true, true, false, true], "pid, ipc, net, uts, mnt, user: {one:?} {two:?}");
}

#[test]
fn shared_memory_is_the_pods_own_or_the_machines() {
    let Some(machine) = Machine::new("shared_memory_is_the_pods_own_or_the_machines") else { return };
    let here = tempfile::Builder::new().prefix("usher-test-").tempfile_in("/dev/shm").expect("a file in shared memory");
    let name = here.path().display().to_string();
    let script = format!(
        "[ -e {name} ] && echo the machine\\'s || echo own; stat -c %i /dev/shm > /dev/null; df -k /dev/shm | tail -1 | tr -s ' ' | cut -d' ' -f2"
    );
    let own = printed(&machine, &script, "", "");
    assert_eq!(own, ["own", "65536"]);
    assert_eq!(printed(&machine, &script, "", "hostIPC: true")[0], "the machine's");
    assert!(fs::metadata(here.path()).is_ok_and(|file| file.nlink() == 1));
}

#[test]
fn a_pod_is_called_by_its_name_its_hostname_or_its_full_name() {
    let Some(machine) = Machine::new("a_pod_is_called_by_its_name_its_hostname_or_its_full_name") else { return };
    let script = "hostname; cat /etc/hostname; echo $HOSTNAME; tail -1 /etc/hosts | cut -f2-";
    let check = |rest: &str, name: &str, hosts: &str| {
        assert_eq!(printed(&machine, script, "", rest), [name, name, name, hosts], "{rest}");
    };
    check("", "isolated", "isolated");
    check("hostname: other", "other", "other");
    check("hostname: other\nsubdomain: sub", "other", "other.sub.default.svc.cluster.local\tother");
    let full = "other.sub.default.svc.cluster.local";
    check("hostname: other\nsubdomain: sub\nsetHostnameAsFQDN: true", full, "other.sub.default.svc.cluster.local\tother");
    check("setHostnameAsFQDN: true", "isolated", "isolated");
    check("hostnameOverride: over.example", "over.example", "over.example");
    let of_machine = fs::read_to_string("/proc/sys/kernel/hostname").expect("its name");
    let of_machine = of_machine.trim();
    let lines = printed(&machine, "hostname; cat /etc/hostname; echo $HOSTNAME", "", "hostNetwork: true\nhostname: other");
    assert_eq!(lines, [of_machine; 3], "on the machine's network the machine's name");
}

#[test]
fn a_full_name_that_the_kernel_does_not_take_fails_the_sandbox_and_says_so() {
    let Some(machine) = Machine::new("a_full_name_that_the_kernel_does_not_take_fails_the_sandbox_and_says_so") else { return };
    let long = "n".repeat(50);
    let rest = format!("hostname: {long}\nsubdomain: sub\nsetHostnameAsFQDN: true");
    let mut running = machine.run(&shell_pod("long", "echo ran", "", &rest), &[]);
    let told = format!("FQDN {long}.sub.default.svc.cluster.local is too long (64 characters is the max, 80 characters requested)");
    running.wait_for(&told, |entry| entry.to_string().contains(&told));
    running.interrupt();
    let ended = running.end();
    assert_eq!(ended.output(), Vec::<String>::new(), "{}", ended.story());
}

#[test]
fn aliases_of_hosts_are_found_by_programs_of_the_container() {
    let Some(machine) = Machine::new("aliases_of_hosts_are_found_by_programs_of_the_container") else { return };
    let rest = "hostAliases: [{ip: 127.0.0.9, hostnames: [a.example, b.example]}]";
    let script = "ping -c 1 -W 1 b.example | head -1 | grep -o '(127.0.0.9)'; tail -1 /etc/hosts";
    assert_eq!(printed(&machine, script, "", rest), ["(127.0.0.9)", "127.0.0.9\ta.example\tb.example"]);
    let lines = printed(&machine, "tail -1 /etc/hosts", "", &format!("hostNetwork: true\n{rest}"));
    assert_eq!(lines, ["127.0.0.9\ta.example\tb.example"]);
}
