//! Containers from their creation to their end.

use std::io::Read as _;
use std::net::{SocketAddr, TcpStream};

use runtime::{CreateContainerError, Runtime as _, RuntimeEvent, SecurityContext};

use crate::support::{Machine, Pod, chain, eventually};

#[test]
fn a_pod_of_two_containers_runs_to_its_end() {
    let Some(machine) = Machine::new("a_pod_of_two_containers_runs_to_its_end") else { return };
    let engine = machine.engine();
    let mut pod = Pod::start(&machine, &engine, "two");
    let server = pod.run("server", "httpd -f -p 8080 -h /www");
    let client = pod.run("client", "until wget -qO- http://127.0.0.1:8080/index.html; do sleep 0.01; done; echo bad >&2; exit 3");
    let exit = pod.exit_of(&client);
    assert_eq!((exit.code, exit.signal, exit.oom_killed, exit.killed_by_runtime), (3, None, false, false));
    assert!(exit.started_at.is_some_and(|started| started.boot_nanos <= exit.finished_at.boot_nanos));
    let log = pod.log("client");
    assert!(log.contains(&"stdout F hello from the pod".to_owned()), "{log:?}");
    assert!(log.contains(&"stderr F bad".to_owned()), "{log:?}");

    // The node reaches the pod by its address.
    let mut stream = TcpStream::connect(SocketAddr::new(pod.ips[0], 8080)).expect("the pod's address is reachable");
    std::io::Write::write_all(&mut stream, b"GET /index.html HTTP/1.0\r\n\r\n").expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.ends_with("hello from the pod\n"), "{answer}");

    let listed = machine.run(engine.list_containers("two")).expect("a list");
    let shown: Vec<_> = listed.iter().map(|it| (it.name.as_str(), it.exit.as_ref().map(|exit| exit.code))).collect();
    assert_eq!(shown, [("server", None), ("client", Some(3))]);
    machine.run(engine.remove_container("two", &client)).expect("removed");
    machine.run(engine.remove_container("two", &client)).expect("removed again");
    assert_eq!(machine.run(engine.list_containers("two")).expect("a list").len(), 1);
    machine.run(engine.kill_container("two", &server)).expect("killed");
    let exit = pod.exit_of(&server);
    assert_eq!((exit.code, exit.signal, exit.killed_by_runtime), (137, Some(9), true));
    pod.remove();
    assert_eq!(machine.interfaces().into_iter().collect::<Vec<_>>(), ["lo", "usher0"]);
}

#[test]
fn a_container_is_what_its_configuration_says() {
    let Some(machine) = Machine::new("a_container_is_what_its_configuration_says") else { return };
    let engine = machine.engine();
    let pod = Pod::start(&machine, &engine, "context");
    let mut config = pod.container("app", "sleep 1000");
    let volume = machine.path("volume");
    std::fs::create_dir(&volume).expect("a folder");
    config.working_dir = Some("/tmp".to_owned());
    config.envs = vec![("FOO".to_owned(), "bar".to_owned())];
    config.mounts = vec![runtime::Mount { host_path: volume.clone(), container_path: "/data".into(), ..runtime::Mount::default() }];
    config.security = SecurityContext {
        run_as_user: Some(0),
        supplemental_groups: vec![1234, 4321],
        add_capabilities: vec!["NET_BIND_SERVICE".to_owned()],
        drop_capabilities: vec!["ALL".to_owned()],
        no_new_privs: true,
        ..SecurityContext::default()
    };
    let id = pod.run_with(&config);
    // As in trace `u-hook-context`.
    assert_eq!(pod.ask(&id, "id -u; id -g; id -G"), "0\n0\n0 10 1234 4321\n");
    assert_eq!(pod.ask(&id, "pwd; echo $FOO $HOSTNAME; hostname"), "/tmp\nbar host-context\nhost-context\n");
    let status = pod.ask(&id, "cat /proc/self/status");
    for line in ["CapEff:\t0000000000000400", "CapBnd:\t0000000000000400", "NoNewPrivs:\t1", "Seccomp:\t2"] {
        assert!(status.lines().any(|found| found == line), "{line} is not in {status}");
    }
    pod.ask(&id, "echo written > /data/file");
    assert_eq!(std::fs::read_to_string(volume.join("file")).expect("written through the mount"), "written\n");
    assert_eq!(pod.ask(&id, "echo $PPID; readlink /proc/self/fd/0"), "0\n/dev/null\n");
    // Shared memory is the pod's.
    let other = pod.run("other", "sleep 1000");
    pod.ask(&id, "echo shared > /dev/shm/x");
    assert_eq!(pod.ask(&other, "cat /dev/shm/x"), "shared\n");
    pod.remove();
    assert!(volume.join("file").exists(), "the pod's removal must not touch what was mounted");
}

#[test]
fn a_command_that_is_missing_is_told_when_the_container_is_started() {
    let Some(machine) = Machine::new("a_command_that_is_missing_is_told_when_the_container_is_started") else { return };
    let engine = machine.engine();
    let pod = Pod::start(&machine, &engine, "missing");
    for (name, command, text) in [
        ("path", "no-such-command", r#"exec: "no-such-command": executable file not found in $PATH"#),
        ("absolute", "/no/such", r#"exec: "/no/such": stat /no/such: no such file or directory"#),
    ] {
        let mut config = pod.container(name, "");
        config.command = vec![command.to_owned()];
        let id = pod.create(&config);
        let error = machine.run(engine.start_container("missing", &id)).expect_err("it cannot run");
        let expected = format!("failed to start container {id}: OCI runtime create failed: unable to start container process: {text}");
        assert_eq!(error.to_string(), expected);
        let listed = machine.run(engine.list_containers("missing")).expect("a list");
        let exit = listed.into_iter().find(|it| it.id == id).expect("it is listed").exit.expect("it has ended");
        assert_eq!(exit.code, 128);
        machine.run(engine.stop_container("missing", &id, std::time::Duration::ZERO)).expect("stopped already");
        machine.run(engine.remove_container("missing", &id)).expect("removed");
    }
    assert_eq!(machine.run(engine.list_containers("missing")).expect("a list"), []);
    pod.remove();
}

#[test]
fn a_configuration_that_cannot_be_met_is_refused_and_leaves_nothing() {
    let Some(machine) = Machine::new("a_configuration_that_cannot_be_met_is_refused_and_leaves_nothing") else { return };
    let engine = machine.engine();
    let pod = Pod::start(&machine, &engine, "refused");
    let refused = |config: &runtime::ContainerConfig| machine.run(engine.create_container(config)).expect_err("refused");

    let mut config = pod.container("app", "true");
    config.security.run_as_non_root = true;
    let error = refused(&config);
    assert!(matches!(error, CreateContainerError::Config { .. }), "{error:?}");
    assert_eq!(
        error.to_string(),
        r#"container has runAsNonRoot and image will run as root (pod: "name-refused_space(refused)", container: app)"#
    );
    let mut config = pod.container("app", "true");
    config.stop_signal = Some("SIGNONSENSE".to_owned());
    assert_eq!(refused(&config).to_string(), r#"failed to create container: stop signal "SIGNONSENSE" of container app is unknown"#);
    let mut config = pod.container("app", "true");
    config.image_id = format!("sha256:{}", "0".repeat(64));
    assert_eq!(refused(&config).to_string(), format!("failed to create container: image {} is not on the machine", config.image_id));
    let mut config = pod.container("app", "true");
    config.mounts = vec![runtime::Mount { host_path: "/dev/null/x".into(), container_path: "/x".into(), ..runtime::Mount::default() }];
    let error = refused(&config);
    assert!(error.to_string().contains("/dev/null/x"), "{}", chain(&error));

    let containers = machine.pod_dir("refused").join("containers");
    assert_eq!(std::fs::read_dir(&containers).map(Iterator::count).unwrap_or(0), 0, "{}", containers.display());
    pod.remove();
}

#[test]
fn a_container_that_uses_too_much_memory_is_told_as_killed_for_it() {
    let Some(machine) = Machine::new("a_container_that_uses_too_much_memory_is_told_as_killed_for_it") else { return };
    let engine = machine.engine();
    let mut pod = Pod::start(&machine, &engine, "oom");
    let mut config = pod.container("hungry", "exec tail /dev/zero");
    config.resources.memory_limit_bytes = Some(32 << 20);
    let id = pod.run_with(&config);
    let mut told = None;
    let exit = loop {
        match pod.event() {
            RuntimeEvent::OomKilled { container_id, count, .. } => {
                assert_eq!(container_id, id);
                told = Some(count);
            }
            RuntimeEvent::ContainerExited { exit, .. } => break exit,
            _ => {}
        }
    };
    assert_eq!((exit.code, exit.signal, exit.oom_killed, exit.killed_by_runtime), (137, Some(9), true, false));
    assert_eq!(told, Some(1));
    pod.remove();
}

#[test]
fn the_same_container_asked_for_again_is_the_same() {
    let Some(machine) = Machine::new("the_same_container_asked_for_again_is_the_same") else { return };
    let engine = machine.engine();
    let mut pod = Pod::start(&machine, &engine, "again");
    let config = pod.container("app", "exit 0");
    let first = pod.create(&config);
    assert_eq!(pod.create(&config), first);
    machine.run(engine.start_container("again", &first)).expect("started");
    pod.exit_of(&first);
    assert_ne!(pod.create(&config), first, "one that has ended does not come back");
    let again = machine.run(engine.run_pod_sandbox(&crate::support::pod_config("again"))).expect("the same sandbox");
    assert_eq!(again.ips, pod.ips);
    eventually("both are listed", || machine.run(engine.list_containers("again")).is_ok_and(|listed| listed.len() == 2));
    pod.remove();
}
