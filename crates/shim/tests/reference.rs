//! The same bundles run by runc, where it is installed: what these tests expect of a container, the reference does too.

mod support;

use std::{
    collections::HashSet,
    fs,
    process::{Command, Stdio},
};

use serde_json::json;
use shim::seccomp::runtime_default;
use support::{Place, place};

/// Mounts the overlay for the reference, and takes it away again.
struct Mounted<'a>(&'a Place);

impl<'a> Mounted<'a> {
    fn new(place: &'a Place) -> Self {
        let options = format!(
            "lowerdir={},upperdir={},workdir={}",
            place.path("lower").display(),
            place.path("reference-upper").display(),
            place.path("reference-work").display()
        );
        for directory in ["bundle/rootfs", "reference-upper", "reference-work", "state"] {
            fs::create_dir_all(place.path(directory)).expect("made");
        }
        let target = place.path("bundle/rootfs");
        rustix::mount::mount(
            "overlay",
            &target,
            "overlay",
            rustix::mount::MountFlags::empty(),
            std::ffi::CString::new(options).expect("no NUL").as_c_str(),
        )
        .expect("mounted");
        Self(place)
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(self.0.path("bundle/rootfs"), rustix::mount::UnmountFlags::DETACH);
    }
}

fn reference(place: &mut Place) -> Option<(Option<i32>, String)> {
    let name = place.cgroup.as_path().parent().expect("has a parent").to_string_lossy().into_owned();
    place.set("/linux/cgroupsPath", json!(format!("/{name}/reference")));
    let bundle = place.bundle();
    let _mounted = Mounted::new(place);
    let output = Command::new("runc")
        .arg("--root")
        .arg(place.path("state"))
        .args(["run", "--bundle"])
        .arg(bundle)
        .arg(&name)
        .stdin(Stdio::null())
        .output()
        .ok()?;
    assert!(
        output.status.code() != Some(1) || !output.stdout.is_empty() || output.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Some((output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned()))
}

#[test]
fn the_same_bundles_give_the_same_in_the_reference_runtime() {
    let test = "the_same_bundles_give_the_same_in_the_reference_runtime";
    if Command::new("runc").arg("--version").output().is_err() {
        support::skip(test, "needs runc");
        return;
    }
    let scripts = [
        "exit 42",
        "grep -E '^(Cap|NoNewPrivs|Seccomp:|Groups)' /proc/self/status; id; pwd; env | sort; umask",
        "cut -d' ' -f4-7 /proc/self/stat; ls /dev; ls -ld /dev/null /dev/tty /dev/fd /dev/ptmx | awk '{print $1, $3, $4, $5, $6, $NF}'",
        "for f in /proc/sys/kernel/panic /proc/sysrq-trigger; do sh -c \"echo 0 > $f\" 2>&1 | grep -o 'Read-only.*'; done; ls /sys/firmware; wc -c < /proc/timer_list",
        "mknod /mem c 1 1; head -c 1 /mem 2>&1 | grep -o 'Operation.*'; mount -t tmpfs x /tmp 2>&1 | grep -o 'permission denied'; unshare -n true 2>&1",
        "awk '{print $5, $6}' /proc/self/mountinfo | grep -vE '/sys/fs/cgroup|^/ |/proc/|/sys/firmware' | sort; cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null",
        "ulimit -Sn; ulimit -Hn; cat /proc/self/oom_score_adj; chroot / true; echo $?",
    ];
    for (script, user) in scripts.iter().flat_map(|script| [(script, 0), (script, 1000)]) {
        let Some(mut place) = place(test) else { return };
        place.script(script);
        place.set("/linux/seccomp", json!(runtime_default(&HashSet::from([oci_spec::runtime::Capability::SysChroot]))));
        place.set("/process/user", json!({"uid": user, "gid": user, "additionalGids": [7]}));
        place.set("/process/rlimits", json!([{"type": "RLIMIT_NOFILE", "hard": 77, "soft": 66}])).set("/process/oomScoreAdj", json!(99));
        let outcome = place.run();
        let Some(reference) = reference(&mut place) else { return };
        assert_eq!((outcome.code, outcome.output), reference, "{script} as {user}");
        // The reference leaves the parents of its groups, also in hierarchies that have no controller.
        for directory in support::cgroup_directories(place.cgroup.as_path().parent().expect("has a parent")) {
            fs::remove_dir(directory).expect("empty");
        }
        place.assert_nothing_left();
    }
}
