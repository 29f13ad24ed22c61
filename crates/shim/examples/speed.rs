//! Measures how long a container takes from nothing to reaped and cleaned up, and a command in a running one.
//!
//! `cargo run --release --example speed [count] [directory]` as root, with `/bin/busybox` static. Prints milliseconds.
#![expect(clippy::print_stdout, reason = "this is a program for the terminal")]

use std::{
    fs,
    os::fd::{AsFd as _, OwnedFd},
    path::PathBuf,
    time::{Duration, Instant},
};

use rustix::process::{WaitId, WaitIdOptions, waitid};
use serde_json::json;
use shim::{
    cgroup::{Cgroup, CgroupPath},
    container::{CreateContainer, Rootfs, Stdio, create, exec},
    seccomp::runtime_default,
};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let count: usize = arguments.next().map_or(Ok(200), |text| text.parse())?;
    let directory = PathBuf::from(arguments.next().unwrap_or_else(|| "/tmp/usher-speed".into()));
    for sub in ["lower/bin", "lower/proc", "upper", "work", "bundle"] {
        fs::create_dir_all(directory.join(sub))?;
    }
    fs::copy("/bin/busybox", directory.join("lower/bin/true"))?;
    fs::copy("/bin/busybox", directory.join("lower/bin/sleep"))?;
    let pod = CgroupPath::new("usher-speed")?;
    Cgroup::create_pod(&pod, &serde_json::from_value(json!({"cpu": {"shares": 512}}))?)?;
    for (name, seccomp) in [("without filter", false), ("with the default filter", true)] {
        measure(&directory, &pod, count, name, seccomp)?;
    }
    Cgroup::open(&pod)?.remove()?;
    fs::remove_dir_all(&directory)?;
    Ok(())
}

fn measure(directory: &std::path::Path, pod: &CgroupPath, count: usize, name: &str, seccomp: bool) -> Result<(), Failure> {
    let rootfs = Rootfs::Overlay { lower: vec![directory.join("lower")], upper: directory.join("upper"), work: directory.join("work") };
    let bundle = directory.join("bundle");
    let mut phases: [Vec<Duration>; 5] = Default::default();
    fs::write(bundle.join("config.json"), config(&["/bin/true"], seccomp).to_string())?;
    for index in 0..count {
        let cgroup = pod.join(&index.to_string())?;
        let start = Instant::now();
        let created = create(&CreateContainer { id: "speed", bundle: &bundle, rootfs: &rootfs, cgroup: &cgroup }, null()?)?;
        let after_create = Instant::now();
        let running = created.start()?;
        let after_start = Instant::now();
        let status = waitid(WaitId::PidFd(running.pidfd()), WaitIdOptions::EXITED)?;
        let after_exit = Instant::now();
        running.cgroup().remove()?;
        let end = Instant::now();
        if status.and_then(|status| status.exit_status()) != Some(0) {
            return Err("the container failed".into());
        }
        let durations = [after_create - start, after_start - after_create, after_exit - after_start, end - after_exit, after_exit - start];
        phases.iter_mut().zip(durations).for_each(|(phase, duration)| phase.push(duration));
    }
    println!("{name}, {count} containers");
    for (phase, durations) in ["create", "start", "exit", "remove cgroup", "create + start + exit"].iter().zip(&mut phases) {
        print(phase, durations);
    }
    measure_exec(directory, pod, count, seccomp)
}

fn measure_exec(directory: &std::path::Path, pod: &CgroupPath, count: usize, seccomp: bool) -> Result<(), Failure> {
    let rootfs = Rootfs::Overlay { lower: vec![directory.join("lower")], upper: directory.join("upper"), work: directory.join("work") };
    let bundle = directory.join("bundle");
    fs::write(bundle.join("config.json"), config(&["/bin/sleep", "1000"], seccomp).to_string())?;
    let process = directory.join("process.json");
    fs::write(&process, json!({"args": ["/bin/true"], "cwd": "/"}).to_string())?;
    let cgroup = pod.join("exec")?;
    let running = create(&CreateContainer { id: "speed", bundle: &bundle, rootfs: &rootfs, cgroup: &cgroup }, null()?)?.start()?;
    let mut durations = Vec::new();
    for index in 0..count {
        let start = Instant::now();
        let command = exec(&running.exec_target(), &process, &index.to_string(), null()?)?;
        waitid(WaitId::PidFd(command.pidfd()), WaitIdOptions::EXITED)?;
        durations.push(start.elapsed());
        command.remove_cgroup()?;
    }
    print("exec + exit", &mut durations);
    running.cgroup().kill_all(Duration::from_secs(5))?;
    waitid(WaitId::PidFd(running.pidfd().as_fd()), WaitIdOptions::EXITED)?;
    running.cgroup().remove()?;
    Ok(())
}

fn print(phase: &str, durations: &mut [Duration]) {
    durations.sort_unstable();
    let millis = |duration: Duration| duration.as_secs_f64() * 1000.0;
    let (first, middle, late) = (durations[0], durations[durations.len() / 2], durations[durations.len() * 9 / 10]);
    println!("  {phase:22} min {:6.2}  median {:6.2}  p90 {:6.2}", millis(first), millis(middle), millis(late));
}

fn null() -> Result<Stdio, Failure> {
    let open = || -> Result<OwnedFd, Failure> { Ok(fs::File::options().read(true).write(true).open("/dev/null")?.into()) };
    Ok(Stdio::Files { stdin: open()?, stdout: open()?, stderr: open()? })
}

fn config(arguments: &[&str], seccomp: bool) -> serde_json::Value {
    let mut config = json!({
        "ociVersion": "1.1.0",
        "root": {"path": "rootfs"},
        "process": {"args": arguments, "cwd": "/", "user": {"uid": 0, "gid": 0}, "noNewPrivileges": true, "env": ["PATH=/bin"]},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
             "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
            {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": ["nosuid", "noexec", "nodev"]},
            {"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
            {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]},
            {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["nosuid", "noexec", "nodev", "relatime", "ro"]},
        ],
        "linux": {
            "namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "cgroup"}],
            "resources": {"devices": [{"allow": false, "access": "rwm"}], "cpu": {"shares": 128}, "memory": {"limit": 268_435_456}},
            "maskedPaths": ["/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/sched_debug", "/proc/scsi", "/sys/firmware"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    });
    if seccomp {
        config["linux"]["seccomp"] = json!(runtime_default(&Default::default()));
    }
    config
}
