//! A container with the defaults, and root inside, tries to break out; every attempt has to fail as it does with containerd's defaults.
//!
//! Each test shows that the attempts ran: what they print is the kernel's answer, or the same attempt succeeds where it may.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::support::{Machine, PATIENCE};
use super::{pod, printed, run_to_end, shell};

/// Containers that mount what is swapped meanwhile.
const VICTIMS: usize = 24;

/// Calls of the kernel that a container must not get through with the default filter, as `tapp call` takes them, with the answers with
/// and without the filter. No answer means that it depends on the machine's settings.
///
/// Numbers: `mount` has 4096 for a bind mount, 32 for a remount, 1048576 for sharing; namespaces are user 268435456, mount 131072,
/// network 1073741824, pid 536870912, ipc 134217728; -100 is the working folder; 8576 and 24960 are nodes of character and block devices.
#[rustfmt::skip]
const CALLS: &[(&str, &str, Option<&str>)] = &[
    ("mount proc /mnt proc 0 0", "EPERM", Some("EPERM")),
    ("mount tmpfs /mnt tmpfs 0 0", "EPERM", Some("EPERM")),
    ("mount overlay /mnt overlay 0 lowerdir=/bin:/etc", "EPERM", Some("EPERM")),
    ("mount cgroup /mnt cgroup 0 memory", "EPERM", Some("EPERM")),
    ("mount / /mnt 0 4096 0", "EPERM", Some("EPERM")),
    ("mount none /sys 0 4128 0", "EPERM", Some("EPERM")),
    ("mount none /proc/sys 0 4128 0", "EPERM", Some("EPERM")),
    ("mount none / 0 1048576 0", "EPERM", Some("EPERM")),
    ("umount2 /proc/sys 2", "EPERM", Some("EPERM")),
    ("umount2 /sys/fs/cgroup 2", "EPERM", Some("EPERM")),
    ("fsopen tmpfs 0", "EPERM", Some("EPERM")),
    ("open_tree -100 / 1", "EPERM", Some("EPERM")),
    ("pivot_root / /mnt", "EPERM", Some("EPERM")),
    ("unshare 268435456", "EPERM", Some("0")),
    ("unshare 131072", "EPERM", Some("EPERM")),
    ("unshare 1073741824", "EPERM", Some("EPERM")),
    ("unshare 536870912", "EPERM", Some("EPERM")),
    ("unshare 134217728", "EPERM", Some("EPERM")),
    ("clone 268435473 0 0 0 0", "EPERM", None),
    ("clone 131089 0 0 0 0", "EPERM", Some("EPERM")),
    ("clone3 @ 64", "ENOSYS", None),
    ("init_module @ 0 x", "EPERM", Some("EPERM")),
    ("finit_module 0 x 0", "EPERM", Some("EPERM")),
    ("delete_module x 0", "EPERM", Some("EPERM")),
    ("kexec_load 0 0 @ 0", "EPERM", None),
    ("reboot 4276215469 672274793 0", "EPERM", Some("EPERM")),
    ("settimeofday 0 @", "EPERM", Some("EPERM")),
    ("swapon /bin/busybox 0", "EPERM", Some("EPERM")),
    ("sethostname other 5", "EPERM", Some("EPERM")),
    ("setdomainname other 5", "EPERM", Some("EPERM")),
    ("syslog 3 @ 4096", "EPERM", None),
    ("bpf 0 @ 64", "EPERM", None),
    ("perf_event_open @ 0 -1 -1 0", "EPERM", None),
    ("io_uring_setup 1 @", "EPERM", None),
    ("userfaultfd 0", "EPERM", None),
    ("keyctl 0 -3 0", "EPERM", None),
    ("add_key user name @ 1 -3", "EPERM", None),
    ("quotactl 0 /dev/null 0 @", "EPERM", None),
    ("socket 40 1 0", "EPERM", None),
];

#[test]
fn the_default_filter_and_the_default_capabilities_each_refuse_what_reaches_the_machine() {
    let test = "the_default_filter_and_the_default_capabilities_each_refuse_what_reaches_the_machine";
    let Some(machine) = Machine::new(test) else { return };
    let script: String = CALLS.iter().map(|(call, ..)| format!("tapp call {call}\n")).collect();
    let script = format!("mkdir /mnt\n{script}");
    let filtered = printed(&machine, &script, "", "");
    let wanted: Vec<_> = CALLS.iter().map(|(call, filtered, _)| answer(call, filtered)).collect();
    assert_eq!(filtered, wanted, "with the filter");
    let has_modules = Path::new("/proc/modules").exists();
    let answered = |call: &str, plain| if call.contains("_module ") && !has_modules { "ENOSYS" } else { plain };
    let of_machine: Vec<_> = CALLS.iter().filter_map(|(call, _, plain)| plain.map(|plain| (call, answered(call, plain)))).collect();
    let script: String = of_machine.iter().map(|(call, _)| format!("tapp call {call}\n")).collect();
    let plain = printed(
        &machine,
        &format!("mkdir /mnt\n{script}"),
        "securityContext: {seccompProfile: {type: Unconfined}, appArmorProfile: {type: Unconfined}}",
        "",
    );
    let wanted: Vec<_> = of_machine.iter().map(|(call, plain)| answer(call, plain)).collect();
    assert_eq!(plain, wanted, "without the filter");
}

/// `mount a b` and `EPERM` as `tapp call` prints them.
fn answer(call: &str, result: &str) -> String {
    let (name, arguments) = call.split_once(' ').unwrap_or((call, ""));
    format!("{name}({}) = {result}", arguments.replace(' ', ", "))
}

#[test]
fn the_calls_that_a_capability_is_about_open_with_it() {
    let Some(machine) = Machine::new("the_calls_that_a_capability_is_about_open_with_it") else { return };
    let calls =
        "tapp call open_by_handle_at 0 @8 0; tapp call settimeofday 0 @; tapp call syslog 3 @ 4096; tapp call mount tmpfs /tmp tmpfs 0 0";
    let with = |capability: &str| {
        let container = format!("securityContext: {{capabilities: {{add: [{capability}]}}}}");
        let lines = printed(&machine, calls, if capability.is_empty() { "" } else { &container }, "");
        lines.iter().map(|line| !line.ends_with("EPERM")).collect::<Vec<_>>()
    };
    assert_eq!(with(""), [false; 4]);
    assert_eq!(with("DAC_READ_SEARCH"), [true, false, false, false], "the filter, too");
    assert_eq!(with("SYSLOG"), [false, false, true, false]);
    let calls = with("SYS_ADMIN");
    assert_eq!([calls[0], calls[1], calls[3]], [false, false, true], "older kernels let it read their log, too");
}

#[test]
fn no_setting_of_the_kernel_and_no_limit_of_a_cgroup_can_be_written() {
    let Some(machine) = Machine::new("no_setting_of_the_kernel_and_no_limit_of_a_cgroup_can_be_written") else { return };
    // The redirection alone opens the file for writing; nothing is written. What is masked is the device that keeps nothing (1:3).
    let script = "exec 2>/dev/null
cd /
for part in sys/fs/cgroup proc/sys proc/irq proc/bus proc/fs sys; do
  tried=0
  for file in $(find $part -type f); do
    true >> $file && echo opened $file
    tried=$((tried+1))
  done
  echo $part $tried
done
for file in proc/sysrq-trigger proc/kcore proc/mem dev/mem dev/kmsg dev/port; do true >> $file && [ -s $file -o -c $file ] && [ $(stat -c %t:%T $file) != 1:3 ] && echo opened $file; done
mkdir /sys/fs/cgroup/new /sys/fs/cgroup/memory/new && echo made a group
true >> /tmp/file && echo the attempt works";
    let lines = printed(&machine, script, "resources: {limits: {memory: 64Mi, cpu: 100m}}", "");
    let counts: Vec<(&str, usize)> =
        lines.iter().filter_map(|line| line.split_once(' ')).filter_map(|(part, count)| Some((part, count.parse().ok()?))).collect();
    let tried = |part: &str| counts.iter().find(|(name, _)| *name == part).map_or(0, |(_, count)| *count);
    assert!(tried("sys/fs/cgroup") > 20 && tried("proc/sys") > 200 && tried("sys") > 500, "{lines:#?}");
    assert!(!lines.iter().any(|line| line.starts_with("opened") || line.starts_with("made")), "{lines:#?}");
    assert_eq!(lines.last().map(String::as_str), Some("the attempt works"));
}

#[test]
fn the_memory_limit_is_seen_and_not_raised() {
    let Some(machine) = Machine::new("the_memory_limit_is_seen_and_not_raised") else { return };
    let script = "for file in /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max; do
  [ -e $file ] || continue
  cat $file
  sh -c \"echo 999997440 > $file\" 2>&1 | grep -o 'Read-only file system'
  cat $file
done
grep -c container /proc/self/cgroup";
    let lines = printed(&machine, script, "resources: {limits: {memory: 64Mi}}", "");
    assert_eq!(lines, ["67108864", "Read-only file system", "67108864", "0"], "nor is it told where it is on the machine");
}

#[test]
fn masked_files_are_empty_and_masked_folders_too() {
    let Some(machine) = Machine::new("masked_files_are_empty_and_masked_folders_too") else { return };
    let masked = [
        "/proc/asound",
        "/proc/acpi",
        "/proc/interrupts",
        "/proc/kcore",
        "/proc/keys",
        "/proc/latency_stats",
        "/proc/timer_list",
        "/proc/sched_debug",
        "/proc/scsi",
        "/sys/firmware",
        "/sys/devices/virtual/powercap",
    ];
    let here: Vec<&str> = masked.into_iter().filter(|path| fs::metadata(path).is_ok()).collect();
    assert!(here.len() > 1 && here.contains(&"/proc/interrupts"), "the machine has what is to be masked: {here:?}");
    let script: String = here
        .iter()
        .map(|path| {
            format!("if [ -d {path} ]; then echo {path} $(ls -A {path} | wc -l); else echo {path} $(head -c 100 {path} | wc -c); fi\n")
        })
        .collect();
    let wanted: Vec<_> = here.iter().map(|path| format!("{path} 0")).collect();
    // A profile may refuse some of them besides.
    assert_eq!(printed(&machine, &script, "securityContext: {appArmorProfile: {type: Unconfined}}", ""), wanted);
    // What a privileged container sees is the machine's.
    assert_ne!(printed(&machine, &script, "securityContext: {privileged: true}", ""), wanted);
}

#[test]
fn devices_of_the_machine_are_not_there_and_do_not_open_when_made() {
    let Some(machine) = Machine::new("devices_of_the_machine_are_not_there_and_do_not_open_when_made") else { return };
    let script = "ls /dev | grep -v ^core$ | tr '\\n' ' '; echo
mkdir /nodes; cd /nodes
tapp call mknodat -100 mem 8576 257 then openat -100 mem 0
tapp call mknodat -100 kmsg 8576 267 then openat -100 kmsg 0
tapp call mknodat -100 loop 24960 1792 then openat -100 loop 0
tapp call mknodat -100 fuse 8576 2789 then openat -100 fuse 2
tapp call mknodat -100 null 8576 259 then openat -100 null 2";
    let lines = printed(&machine, script, "", "");
    let wanted = [
        "fd full mqueue null ptmx pts random shm stderr stdin stdout termination-log tty urandom zero ",
        "mknodat(-100, mem, 8576, 257) = 0",
        "openat(-100, mem, 0) = EPERM",
        "mknodat(-100, kmsg, 8576, 267) = 0",
        "openat(-100, kmsg, 0) = EPERM",
        "mknodat(-100, loop, 24960, 1792) = 0",
        "openat(-100, loop, 0) = EPERM",
        "mknodat(-100, fuse, 8576, 2789) = 0",
        "openat(-100, fuse, 2) = EPERM",
        "mknodat(-100, null, 8576, 259) = 0",
        "openat(-100, null, 2) = 3",
    ];
    assert_eq!(lines, wanted);
}

#[test]
fn processes_of_the_machine_and_of_other_pods_are_not_seen_and_not_reached() {
    let Some(machine) = Machine::new("processes_of_the_machine_and_of_other_pods_are_not_seen_and_not_reached") else { return };
    let other = machine.file("other.yaml", &pod("other", &format!("containers:\n{}", shell("app", "echo ready; exec sleep 86401", ""))));
    let mut other = machine.run_file(&other, &[]);
    other.wait_running("app");
    let in_other_pod = pid_of("sleep 86401");
    let on_machine = Sleeper::start("86402");
    let attempts = |pid: u32| {
        format!(
            "tapp call kill {pid} 0\ntapp call ptrace 16 {pid} 0 0\ntapp call ptrace 16902 {pid} 0 0\n[ -e /proc/{pid} ] && echo seen {pid}\n"
        )
    };
    let script = format!(
        "sleep 86403 &
{}{}cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -o 'sleep 864[0-9][0-9]' | sort -u
cat /proc/1/root{mark} 2>&1 | grep -o 'No such file.*'
ls -l /proc/1/root /proc/1/cwd | grep -o -- '-> .*'
kill %1",
        attempts(in_other_pod),
        attempts(on_machine.0.id()),
        mark = machine.file("mark", "of the machine").display(),
    );
    let lines = printed(&machine, &script, "", "");
    let refused = |pid: u32| {
        [format!("kill({pid}, 0) = ESRCH"), format!("ptrace(16, {pid}, 0, 0) = ESRCH"), format!("ptrace(16902, {pid}, 0, 0) = ESRCH")]
    };
    let own = ["sleep 86403", "No such file or directory", "-> /", "-> /"].map(str::to_owned);
    assert_eq!(lines, [&refused(in_other_pod)[..], &refused(on_machine.0.id()), &own].concat());
    other.interrupt();
    let ended = other.end();
    assert!(ended.code.is_some(), "{}", ended.story());
}

/// A process of the machine, outside of all pods.
struct Sleeper(Child);

impl Sleeper {
    fn start(seconds: &str) -> Self {
        Self(Command::new("sleep").arg(seconds).stdin(Stdio::null()).spawn().expect("sleep starts"))
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The process with exactly this command line.
pub(super) fn pid_of(command: &str) -> u32 {
    let words = command.replace(' ', "\0") + "\0";
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut pids = fs::read_dir("/proc").expect("proc").flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        // A container shows Running a moment before its process has become the command.
        match pids.find(|pid| fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|found| found == words.as_bytes())) {
            Some(pid) => return pid,
            None => assert!(Instant::now() < deadline, "{command} does not run"),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_changed_root_leads_no_further_than_the_containers_own() {
    let Some(machine) = Machine::new("a_changed_root_leads_no_further_than_the_containers_own") else { return };
    let mark = machine.file("mark", "of the machine");
    // The old trick: a folder that stays open outside of the new root, and then upwards.
    let script = format!(
        "mkdir -p /jail/bin; cp /bin/busybox /jail/bin/sh
echo in the image > /own-mark
chroot / sh -c 'cd ../../../../../../../..; cat own-mark; cat .{mark} 2>&1 | grep -o \"No such file.*\"'",
        mark = mark.display()
    );
    assert_eq!(printed(&machine, &script, "", ""), ["in the image", "No such file or directory"]);
}

#[test]
fn neither_containers_nor_hooks_get_open_files_of_the_machine() {
    let Some(machine) = Machine::new("neither_containers_nor_hooks_get_open_files_of_the_machine") else { return };
    let list = "for file in /proc/self/fd/*; do echo $1 $(readlink $file) | sed 's/[0-9]//g'; done";
    let script = format!("list() {{ {list}; }}; list main; while [ ! -e /done ]; do sleep 0.05; done");
    let hook = "lifecycle: {postStart: {exec: {command: [sh, -c, 'for file in /proc/self/fd/*; do readlink $file; done | sed s/[0-9]//g | sort -u; : > /done']}}}";
    let ended = run_to_end(&machine, &super::shell_pod("files", &script, hook, ""));
    let is_own = |line: &String| ["main", "main pipe:[]", "main /dev/null", "pipe:[]", "/dev/null"].contains(&line.as_str());
    let main: Vec<_> = ended.output();
    assert!(main.contains(&"main pipe:[]".to_owned()) && main.iter().all(is_own), "{main:#?}");
    let hook: Vec<_> = ended.hook_output();
    assert!(hook.contains(&"pipe:[]".to_owned()) && hook.iter().all(is_own), "{hook:#?} {}", ended.story());
}

#[test]
fn a_working_folder_that_is_an_open_file_of_the_runtime_shows_nothing_of_the_machine() {
    let test = "a_working_folder_that_is_an_open_file_of_the_runtime_shows_nothing_of_the_machine";
    let Some(machine) = Machine::new(test) else { return };
    let mark = machine.file("mark", "of the machine");
    let containers: String = (3..15)
        .map(|number| {
            let script = format!("cat ../../../../../../../../..{}", mark.display());
            shell(&format!("app-{number}"), &script, &format!("workingDir: /proc/self/fd/{number}"))
        })
        .collect();
    let manifest = pod("folders", &format!("restartPolicy: Never\nterminationGracePeriodSeconds: 2\ncontainers:\n{containers}"));
    let mut running = machine.run(&manifest, &["--stop-after", "3s"]);
    running.wait_for("the last container is tried", |entry| entry["action"]["action"]["container"] == "app-14");
    let ended = running.end();
    assert!(!ended.output().iter().any(|line| line.contains("of the machine")), "{}", ended.story());
    let tried = ended.events().iter().filter(|event| event.contains("process.cwd") || event.contains("/proc/self/fd/")).count();
    let printed = ended.output().iter().filter(|line| line.contains("No such file")).count();
    assert!(tried + printed > 0, "it was tried: {}", ended.story());
}

/// A container swaps a folder of a volume for a link that leads out of it and back, as fast as it can, while a folder below it is made and
/// mounted for one container after the other: nothing may be made or written where the link leads.
fn check_swapped(machine: &Machine, volume: &str) {
    let outside = machine.path().join("outside");
    fs::create_dir(&outside).expect("a folder");
    let swap =
        format!("cd /all; while true; do mkdir -p part; mv part there; ln -s {} part; rm -f part; mv there part; done", outside.display());
    let victims: String = (0..VICTIMS)
        .map(|number| {
            let mounts = format!("volumeMounts: [{{name: data, mountPath: /part, subPath: part/deep-{number}}}]");
            shell(&format!("victim-{number}"), &format!("echo x > /part/written-{number}; echo mounted"), &mounts)
        })
        .collect();
    let swapper = shell("swapper", &swap, "restartPolicy: Always\nvolumeMounts: [{name: data, mountPath: /all}]");
    let spec = format!(
        "restartPolicy: Never\nterminationGracePeriodSeconds: 1\ninitContainers:\n{swapper}containers:\n{victims}volumes: [{{name: data, {volume}}}]"
    );
    let mut running = machine.run(&pod("race", &spec), &[]);
    let last = format!("victim-{}", VICTIMS - 1);
    running.wait_for("the last victim", |entry| {
        let action = &entry["action"]["action"];
        action["action"] == "CreateContainer" && action["container"] == last.as_str()
    });
    running.interrupt();
    let ended = running.end();
    let tried = ended.entries.iter().filter(|entry| entry["action"]["action"]["action"] == "CreateContainer").count();
    assert!(tried > VICTIMS, "all were tried: {}", ended.story());
    let made: Vec<_> = fs::read_dir(&outside).expect("listed").flatten().map(|entry| entry.file_name()).collect();
    assert!(made.is_empty(), "made outside of the volume: {made:?}");
    fs::remove_dir(&outside).expect("removed");
}

#[test]
fn nothing_is_made_outside_of_a_volume_whose_folders_are_swapped_for_links() {
    let Some(machine) = Machine::new("nothing_is_made_outside_of_a_volume_whose_folders_are_swapped_for_links") else { return };
    check_swapped(&machine, "emptyDir: {}");
    let folder = machine.path().join("of-the-machine");
    fs::create_dir(&folder).expect("a folder");
    check_swapped(&machine, &format!("hostPath: {{path: {}}}", folder.display()));
}
