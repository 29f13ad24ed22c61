//! Containers: their output, their ends, and what is left of them.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;
use shim::client::{CallError, ShimClient};
use shim::log::LogLimits;
use shim::protocol::{Answer, Call, ContainerState, Event, Recorded, RefusalCode, ServerFrame, SignalNumber, Stdin, Stdio, TerminalSize};
use shim::records::{End, Sender};

use crate::fixture::{Calls as _, Disk, Pod, WITHIN, assert_no_cgroup, container_id, wait_until};

#[test]
fn a_container_ends_with_the_code_of_its_command() {
    let Some(pod) = Pod::start("a_container_ends_with_the_code_of_its_command") else { return };
    let mut client = pod.subscriber();
    for code in [0_u8, 1, 7, 255] {
        let id = format!("exit-{code}");
        client.run(pod.shell(&id, &format!("exit {code}")));
        let exit = client.container_exit(&id);
        assert_eq!((&exit.end, exit.oom_kills, &exit.last_signal), (&End::Exited { code }, 0, &None));
        assert!(exit.started_at.is_some_and(|started| started <= exit.exited_at), "{exit:?}");
    }
}

// k8s: 8.d.2
#[test]
fn a_signal_of_a_client_is_known_as_the_cause_of_the_end() {
    let Some(pod) = Pod::start("a_signal_of_a_client_is_known_as_the_cause_of_the_end") else { return };
    let mut client = pod.subscriber();
    client.run(pod.shell("a", "exec sleep 1000"));
    let signal = SignalNumber::KILL;
    client.call(Call::SignalContainer { container: container_id("a"), signal, why: "because".into() }).expect("the container runs");
    let exit = client.container_exit("a");
    assert_eq!((&exit.end, exit.exit_code()), (&End::Signaled { signal }, 137));
    let sent = exit.killed_by_shim().expect("the signal went through the shim");
    assert_eq!((sent.by, sent.why.as_str()), (Sender::Client, "because"));
}

#[test]
fn both_streams_are_in_the_log_when_the_exit_is_told() {
    let Some(pod) = Pod::start("both_streams_are_in_the_log_when_the_exit_is_told") else { return };
    let mut client = pod.subscriber();
    client.run(pod.shell("a", "echo out; echo err >&2; printf unfinished"));
    client.container_exit("a");
    let mut log = pod.log("a");
    log.sort_unstable();
    assert_eq!(log, ["stderr F err", "stdout F out", "stdout P unfinished"]);
}

#[test]
fn much_output_is_kept_whole_over_rotations() {
    let Some(pod) = Pod::start("much_output_is_kept_whole_over_rotations") else { return };
    let mut client = pod.subscriber();
    let mut request = pod.shell("a", "seq 1 100000");
    request.log.limits = LogLimits { file_bytes_max: 1 << 20, files_max: 10 };
    client.run(request);
    let exit = client.container_exit("a");
    assert_eq!((&exit.end, exit.log_lines_lost), (&End::Exited { code: 0 }, 0));
    let folder = pod.log_path("a").parent().expect("a folder").to_owned();
    let mut files: Vec<_> = fs::read_dir(folder).expect("readable").map(|entry| entry.expect("readable").path()).collect();
    files.sort_unstable();
    files.rotate_left(1);
    assert!(files.len() > 3, "{files:?}");
    let mut next = 1;
    for file in files {
        for line in fs::read_to_string(file).expect("readable").lines() {
            assert_eq!(line.rsplit(' ').next(), Some(next.to_string().as_str()));
            next += 1;
        }
    }
    assert_eq!(next, 100_001);
}

#[test]
fn a_container_starts_with_clean_signals_and_only_its_own_files() {
    let Some(pod) = Pod::start("a_container_starts_with_clean_signals_and_only_its_own_files") else { return };
    let mut client = pod.subscriber();
    client.run(pod.shell("a", "grep -E 'Sig(Blk|Ign)' /proc/self/status; exec busybox ls /proc/self/fd"));
    client.container_exit("a");
    let log = pod.log("a").join("\n");
    assert!(log.contains("SigBlk:\t0000000000000000"), "{log}");
    assert!(log.contains("SigIgn:\t0000000000000000"), "{log}");
    // The fourth is the folder that is being listed.
    assert!(log.ends_with("stdout F 0\nstdout F 1\nstdout F 2\nstdout F 3"), "{log}");
}

#[test]
fn a_container_has_the_pods_host_name_and_loopback() {
    let Some(pod) = Pod::start("a_container_has_the_pods_host_name_and_loopback") else { return };
    let mut client = pod.subscriber();
    client.run(pod.shell("a", "busybox hostname; busybox ip -o link show up"));
    client.container_exit("a");
    let log = pod.log("a");
    assert_eq!(log[0], "stdout F web-0");
    assert!(log.len() == 2 && log[1].contains("lo: <LOOPBACK,UP"), "{log:?}");
}

#[test]
fn a_command_that_is_not_there_is_told_as_such_and_leaves_nothing() {
    let Some(pod) = Pod::start("a_command_that_is_not_there_is_told_as_such_and_leaves_nothing") else { return };
    let mut client = pod.subscriber();
    let request = pod.container("a", json!({ "args": ["tapp"] }));
    let refused = client.refused(Call::CreateContainer(Box::new(request)));
    assert_eq!(refused, RefusalCode::Command);
    assert_eq!(client.state().containers, []);
    assert_eq!(fs::read_dir(pod.state_dir().join("containers")).expect("readable").count(), 0);
}

#[test]
fn a_command_that_the_kernel_refuses_is_an_end_without_a_start() {
    let Some(pod) = Pod::start("a_command_that_the_kernel_refuses_is_an_end_without_a_start") else { return };
    let mut client = pod.subscriber();
    let program = pod.path("rootfs/bin/garbage");
    fs::write(&program, "\u{7f}ELF garbage").expect("writable");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("ours");
    client.create(pod.container("a", json!({ "args": ["/bin/garbage"] })));
    let status = client.start("a");
    let exit = client.container_exit("a");
    assert_eq!(status.state, ContainerState::Exited(Box::new(exit.clone())));
    assert_eq!((exit.started_at, exit.exit_code()), (None, 128));
    assert!(matches!(&exit.end, End::NotStarted { errno: Some(8), message } if message.contains("garbage")), "{exit:?}");
    assert!(pod.state_dir().join("containers/a/exit.json").exists());
}

#[test]
fn a_bundle_that_cannot_be_read_is_refused_and_leaves_nothing() {
    let Some(pod) = Pod::start("a_bundle_that_cannot_be_read_is_refused_and_leaves_nothing") else { return };
    let mut client = pod.subscriber();
    let request = pod.shell("a", "exit 0");
    let (cgroup, log) = (request.cgroup.clone(), request.log.path.clone());
    fs::write(request.bundle.join("config.json"), "{").expect("writable");
    assert_eq!(client.refused(Call::CreateContainer(Box::new(request))), RefusalCode::InvalidArgument);
    assert_eq!(fs::read_dir(pod.state_dir().join("containers")).expect("readable").count(), 0);
    assert!(!log.exists());
    assert_no_cgroup(&cgroup);
    client.run(pod.shell("a", "exit 0"));
}

#[test]
fn a_log_that_was_rotated_by_someone_else_goes_on_in_a_new_file() {
    let Some(pod) = Pod::start("a_log_that_was_rotated_by_someone_else_goes_on_in_a_new_file") else { return };
    let mut client = pod.subscriber();
    let mut request = pod.shell("a", "echo before; read line; echo after");
    request.stdio = Stdio::Pipes { stdin: Stdin::Open };
    client.run(request);
    client.wait_for_log(&pod, "a", "before");
    let old = pod.log_path("a").with_extension("old");
    fs::rename(pod.log_path("a"), &old).expect("the log is there");
    client.call(Call::ReopenLog { container: container_id("a") }).expect("the folder is there");
    fs::File::from(open_stdin(&mut client, "a")).write_all(b"\n").expect("the container reads");
    client.container_exit("a");
    assert!(fs::read_to_string(old).expect("readable").ends_with("stdout F before\n"));
    assert_eq!(pod.log("a"), ["stdout F after"]);
}

#[test]
fn a_full_disk_neither_stops_nor_kills_a_container_that_writes() {
    let name = "a_full_disk_neither_stops_nor_kills_a_container_that_writes";
    let Some(disk) = Disk::mount(name, 64 * 1024) else { return };
    let Some(pod) = Pod::start(name) else { return };
    let mut client = pod.subscriber();
    let mut request = pod.shell("a", "seq 1 20000; exit 3");
    request.log.path = disk.path().join("0.log");
    client.run(request);
    let exit = client.container_exit("a");
    assert_eq!(exit.end, End::Exited { code: 3 });
    let text = fs::read_to_string(disk.path().join("0.log")).expect("readable");
    let kept = text.lines().filter(|line| line.contains(" stdout F ")).count() as u64;
    assert!(kept > 0 && exit.log_lines_lost > 0, "{kept} kept, {} lost", exit.log_lines_lost);
    assert_eq!(kept + exit.log_lines_lost, 20_000);
    client.call(Call::RemoveContainer { container: container_id("a") }).expect("it has exited");
}

#[test]
fn input_goes_to_a_container_over_several_clients_until_it_is_closed() {
    let Some(pod) = Pod::start("input_goes_to_a_container_over_several_clients_until_it_is_closed") else { return };
    let mut client = pod.subscriber();
    let mut request = pod.shell("a", "cat; echo end");
    request.stdio = Stdio::Pipes { stdin: Stdin::Open };
    client.run(request);
    for text in ["first\n", "second\n"] {
        let mut other = pod.client();
        let stdin = open_stdin(&mut other, "a");
        fs::File::from(stdin).write_all(text.as_bytes()).expect("the container reads");
    }
    client.wait_for_log(&pod, "a", "second");
    client.call(Call::CloseStdin { container: container_id("a") }).expect("it was open");
    assert_eq!(client.container_exit("a").end, End::Exited { code: 0 });
    assert_eq!(pod.log("a"), ["stdout F first", "stdout F second", "stdout F end"]);
}

#[test]
fn a_terminal_is_logged_raw_as_stdout_and_has_the_size_that_was_asked_for() {
    let Some(pod) = Pod::start("a_terminal_is_logged_raw_as_stdout_and_has_the_size_that_was_asked_for") else { return };
    let mut client = pod.subscriber();
    let args = json!({ "args": ["/bin/sh", "-c", "stty size; read line; stty size >&2"], "terminal": true, "consoleSize": { "height": 24, "width": 100 } });
    let mut request = pod.container("a", args);
    request.stdio = Stdio::Terminal;
    client.run(request);
    client.wait_for_log(&pod, "a", "24 100");
    let size = TerminalSize { rows: 50, columns: 132 };
    client.call(Call::ResizeTerminal { container: container_id("a"), size }).expect("it has a terminal");
    fs::File::from(open_stdin(&mut client, "a")).write_all(b"go\n").expect("the container reads");
    assert_eq!(client.container_exit("a").end, End::Exited { code: 0 });
    assert_eq!(pod.log("a"), ["stdout F 24 100", "stdout F go", "stdout F 50 132"]);
    let raw = fs::read_to_string(pod.log_path("a")).expect("readable");
    assert!(raw.contains("24 100\r\n"), "{raw:?}");
}

#[test]
fn a_follower_hears_what_is_written_without_waiting_for_the_line_to_end() {
    let Some(pod) = Pod::start("a_follower_hears_what_is_written_without_waiting_for_the_line_to_end") else { return };
    let mut client = pod.client();
    client.create(pod.shell("a", "printf 'name? '; exec sleep 1000"));
    client.call(Call::FollowOutput { container: container_id("a") }).expect("it is there");
    client.start("a");
    match client.next_frame(WITHIN).expect("output comes") {
        ServerFrame::Output { container, bytes, .. } => {
            assert_eq!((container.as_str(), bytes.0.as_slice()), ("a", b"name? ".as_slice()));
        }
        other => panic!("not output: {other:?}"),
    }
}

#[test]
fn whoever_is_attached_gets_what_is_written_from_then_on_and_the_end() {
    let Some(pod) = Pod::start("whoever_is_attached_gets_what_is_written_from_then_on_and_the_end") else { return };
    let mut client = pod.subscriber();
    let mut request = pod.shell("a", "echo before; read go; echo out; echo err >&2; exit 3");
    request.stdio = Stdio::Pipes { stdin: Stdin::Open };
    client.run(request);
    client.wait_for_log(&pod, "a", "before");
    let attach = Call::AttachOutput { container: container_id("a") };
    assert_eq!(client.refused(attach.clone()), RefusalCode::InvalidArgument);
    let mut all = Vec::new();
    for _ in 0..2 {
        let (mut from_stdout, stdout) = std::io::pipe().expect("a pipe");
        let (mut from_stderr, stderr) = std::io::pipe().expect("a pipe");
        client.call_with_fds(attach.clone(), &[stdout.as_fd(), stderr.as_fd()]).expect("it runs");
        drop((stdout, stderr));
        all.push(std::thread::spawn(move || {
            let (mut out, mut err) = (String::new(), String::new());
            from_stdout.read_to_string(&mut out).expect("readable");
            from_stderr.read_to_string(&mut err).expect("readable");
            (out, err)
        }));
    }
    fs::File::from(open_stdin(&mut client, "a")).write_all(b"go\n").expect("the container reads");
    for one in all {
        assert_eq!(one.join().expect("read"), ("out\n".to_owned(), "err\n".to_owned()));
    }
    assert_eq!(client.container_exit("a").end, End::Exited { code: 3 });
    assert_eq!(pod.log("a"), ["stdout F before", "stdout F out", "stderr F err"]);
    let (_, pipe) = std::io::pipe().expect("a pipe");
    match client.call_with_fds(attach, &[pipe.as_fd(), pipe.as_fd()]) {
        Err(CallError::Refused(refusal)) => assert_eq!(refusal.code, RefusalCode::WrongState),
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn an_attached_reader_that_does_not_read_holds_up_the_container_and_nobody_else() {
    let Some(pod) = Pod::start("an_attached_reader_that_does_not_read_holds_up_the_container_and_nobody_else") else { return };
    let mut client = pod.subscriber();
    let mut request =
        pod.shell("a", "read go; dd if=/dev/zero bs=1000 count=1000 2>/dev/null | tr '\\0' x; echo written >/tmp/done; exec sleep 1000");
    request.stdio = Stdio::Pipes { stdin: Stdin::Open };
    client.run(request);
    let (mut from_stdout, stdout) = std::io::pipe().expect("a pipe");
    let (_, stderr) = std::io::pipe().expect("a pipe");
    let attach = Call::AttachOutput { container: container_id("a") };
    client.call_with_fds(attach, &[stdout.as_fd(), stderr.as_fd()]).expect("it runs");
    drop((stdout, stderr));
    fs::File::from(open_stdin(&mut client, "a")).write_all(b"go\n").expect("the container reads");
    // A million bytes do not fit into three pipes.
    let mut first = vec![0; 300_000];
    from_stdout.read_exact(&mut first).expect("it writes");
    client.exec(pod.exec("a", "x", "while ! grep -q '(tr) S' /proc/[0-9]*/stat; do sleep 0.01; done; test ! -e /tmp/done"));
    assert_eq!(client.exec_exit("x").end, End::Exited { code: 0 }, "the shim serves others, and the container waits");
    let mut rest = vec![0; 700_000];
    from_stdout.read_exact(&mut rest).expect("it goes on");
    client.exec(pod.exec("a", "y", "while [ ! -e /tmp/done ]; do sleep 0.01; done"));
    assert_eq!(client.exec_exit("y").end, End::Exited { code: 0 });
}

// k8s: 8.d.3
#[test]
fn a_container_that_runs_out_of_memory_says_so() {
    let Some(pod) = Pod::start("a_container_that_runs_out_of_memory_says_so") else { return };
    let mut client = pod.subscriber();
    let request = pod.shell("a", "exec dd if=/dev/zero of=/dev/null bs=64M count=1");
    pod.edit_config(&request, |config| config["linux"]["resources"] = json!({ "memory": { "limit": 16 << 20 } }));
    client.run(request);
    let mut told = 0;
    let exit = loop {
        match client.event() {
            Event::OomKill { oom_kills, .. } => told = oom_kills,
            Event::ContainerExited { exit, .. } => break exit,
            Event::ContainerStarted(_)
            | Event::SignalSent { .. }
            | Event::ExecStarted(_)
            | Event::ExecOutput { .. }
            | Event::ExecExited { .. }
            | Event::RecordSaved { .. } => {}
        }
    };
    assert_eq!((&exit.end, exit.oom_kills, told), (&End::Signaled { signal: SignalNumber::KILL }, 1, 1));
    assert!(exit.is_oom_killed() && exit.killed_by_shim().is_none());
}

#[test]
fn what_a_container_leaves_behind_is_killed_with_it() {
    let Some(pod) = Pod::start("what_a_container_leaves_behind_is_killed_with_it") else { return };
    let mut client = pod.subscriber();
    // Without a pid namespace of its own the kernel does not kill the rest when the init ends.
    let request = pod.shell("a", "sleep 1000 & sleep 1000 & exit 3");
    pod.edit_config(&request, |config| config["linux"]["namespaces"] = json!([{ "type": "mount" }]));
    let cgroup = request.cgroup.clone();
    client.run(request);
    assert_eq!(client.container_exit("a").end, End::Exited { code: 3 });
    let path = shim::cgroup::CgroupPath::new(&cgroup).expect("a plain path");
    wait_until("the container's cgroup is empty", || {
        shim::cgroup::Cgroup::open(&path).and_then(|cgroup| cgroup.is_populated()).is_ok_and(|populated| !populated)
    });
    client.call(Call::RemoveContainer { container: container_id("a") }).expect("it has exited");
}

#[test]
fn a_removed_container_leaves_its_log_and_nothing_else() {
    let Some(pod) = Pod::start("a_removed_container_leaves_its_log_and_nothing_else") else { return };
    let mut client = pod.subscriber();
    let request = pod.shell("a", "echo hello; exec sleep 1000");
    let cgroup = request.cgroup.clone();
    client.run(request);
    let remove = Call::RemoveContainer { container: container_id("a") };
    assert_eq!(client.refused(remove.clone()), RefusalCode::WrongState);
    client.wait_for_log(&pod, "a", "hello");
    client.call(Call::KillContainer { container: container_id("a"), why: String::new() }).expect("it runs");
    client.container_exit("a");
    client.call(remove.clone()).expect("it has exited");
    client.call(remove).expect("removing twice is no error");
    assert_eq!(client.state().containers, []);
    assert_eq!(fs::read_dir(pod.state_dir().join("containers")).expect("readable").count(), 0);
    assert_eq!(pod.log("a"), ["stdout F hello"]);
    assert_no_cgroup(&cgroup);
}

#[test]
fn a_created_container_can_be_removed_without_having_run() {
    let Some(pod) = Pod::start("a_created_container_can_be_removed_without_having_run") else { return };
    let mut client = pod.subscriber();
    let status = client.create(pod.shell("a", "echo never"));
    assert_eq!(status.state, ContainerState::Created);
    client.call(Call::RemoveContainer { container: container_id("a") }).expect("it does not run");
    assert!(!status.process.is_alive());
    assert_eq!(pod.log("a"), [""; 0]);
}

#[test]
fn calls_that_do_not_fit_the_state_are_refused() {
    let Some(pod) = Pod::start("calls_that_do_not_fit_the_state_are_refused") else { return };
    let mut client = pod.subscriber();
    let start = Call::StartContainer { container: container_id("a") };
    assert_eq!(client.refused(start.clone()), RefusalCode::NotFound);
    client.create(pod.shell("a", "exit 0"));
    let again = pod.shell("a", "exit 0");
    assert_eq!(client.refused(Call::CreateContainer(Box::new(again))), RefusalCode::AlreadyExists);
    client.start("a");
    assert_eq!(client.refused(start), RefusalCode::WrongState);
    client.container_exit("a");
    let kill = Call::KillContainer { container: container_id("a"), why: String::new() };
    assert_eq!(client.refused(kill), RefusalCode::WrongState);

    let mut outside = pod.shell("b", "exit 0");
    outside.cgroup = "usher/elsewhere".into();
    assert_eq!(client.refused(Call::CreateContainer(Box::new(outside))), RefusalCode::InvalidArgument);
    let mut relative = pod.shell("b", "exit 0");
    relative.log.path = "0.log".into();
    assert_eq!(client.refused(Call::CreateContainer(Box::new(relative))), RefusalCode::InvalidArgument);
}

#[test]
fn the_use_of_a_container_is_told() {
    let Some(pod) = Pod::start("the_use_of_a_container_is_told") else { return };
    let mut client = pod.subscriber();
    client.run(pod.shell("a", "exec sleep 1000"));
    match client.call(Call::Stats).expect("stats") {
        Answer::Stats(stats) => {
            assert_eq!(stats.len(), 1);
            assert_eq!(stats[0].container, container_id("a"));
            assert!(stats[0].memory_usage_bytes.is_some_and(|bytes| bytes > 0), "{stats:?}");
        }
        other => panic!("not stats: {other:?}"),
    }
}

#[test]
fn a_terminal_that_a_client_still_holds_does_not_keep_the_shim_busy() {
    let Some(pod) = Pod::start("a_terminal_that_a_client_still_holds_does_not_keep_the_shim_busy") else { return };
    let mut client = pod.subscriber();
    let mut request = pod.container("a", json!({ "args": ["/bin/sh", "-c", "read line"], "terminal": true }));
    request.stdio = Stdio::Terminal;
    client.run(request);
    let held = open_stdin(&mut client, "a");
    client.stop("a", 0);
    client.container_exit("a");
    // A shim that waits goes to sleep between calls; one that is woken by the terminal again and again never does.
    let sleeps = || {
        let status = fs::read_to_string(format!("/proc/{}/status", pod.shim.process.pid)).expect("the shim lives");
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")).expect("a line of that name");
        line.trim().parse::<u64>().expect("a number")
    };
    let before = sleeps();
    for _ in 0..100 {
        client.state();
    }
    assert!(sleeps() > before, "the shim is busy with a terminal that it has closed");
    drop(held);
}

#[test]
fn who_subscribes_misses_nothing_after_the_snapshot() {
    let Some(pod) = Pod::start("who_subscribes_misses_nothing_after_the_snapshot") else { return };
    let mut first = pod.subscriber();
    first.run(pod.shell("a", "exit 1"));
    first.container_exit("a");
    let mut second = pod.client();
    let snapshot = match second.call(Call::Subscribe).expect("a snapshot") {
        Answer::State(snapshot) => snapshot,
        other => panic!("not a snapshot: {other:?}"),
    };
    assert_eq!((snapshot.sequence, snapshot.containers.len()), (2, 1));
    first.run(pod.shell("b", "exit 2"));
    for expected in 3..=4 {
        match second.next_frame(WITHIN).expect("an event") {
            ServerFrame::Event { sequence, .. } => assert_eq!(sequence, expected),
            other => panic!("not an event: {other:?}"),
        }
    }
}

#[test]
fn events_come_in_order_with_both_clocks() {
    let Some(pod) = Pod::start("events_come_in_order_with_both_clocks") else { return };
    let mut client = pod.subscriber();
    client.run(pod.shell("a", "exit 0"));
    let mut events = Vec::new();
    for _ in 0..2 {
        match client.next_frame(WITHIN).expect("an event") {
            ServerFrame::Event { sequence, event } => events.push((sequence, event)),
            other => panic!("not an event: {other:?}"),
        }
    }
    let [(1, Event::ContainerStarted(started)), (2, Event::ContainerExited { exit, recorded })] = &events[..] else {
        panic!("unexpected: {events:?}");
    };
    assert_eq!((exit.started_at, recorded), (Some(started.at), &Recorded::Saved));
    assert!(started.at.boot_ns <= exit.exited_at.boot_ns && started.at.wall_ns <= exit.exited_at.wall_ns);
}

fn open_stdin(client: &mut ShimClient, id: &str) -> OwnedFd {
    let call = Call::OpenStdin { container: container_id(id) };
    let (_, mut fds) = client.call_with_fds(call, &[]).expect("its stdin is open");
    fds.pop().expect("a descriptor came along")
}
