//! Sandboxes: many at once, none by half.

use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::time::Instant;

use runtime::{PortMapping, RunPodSandboxError, Runtime as _};

use crate::support::{Machine, Pod, chain, pod_config};

#[test]
fn twenty_pods_at_once_have_twenty_addresses_and_leave_nothing() {
    let Some(machine) = Machine::new("twenty_pods_at_once_have_twenty_addresses_and_leave_nothing") else { return };
    let engine = machine.engine();
    let begun = Instant::now();
    let ips = machine.run(async {
        let mut starts = tokio::task::JoinSet::new();
        for number in 0..20 {
            let engine = engine.clone();
            starts.spawn(async move { engine.run_pod_sandbox(&pod_config(&format!("pod-{number}"))).await });
        }
        let mut ips = std::collections::BTreeSet::new();
        while let Some(started) = starts.join_next().await {
            ips.extend(started.expect("no panic").unwrap_or_else(|error| panic!("{}", chain(&error))).ips);
        }
        ips
    });
    let of_each_family = [IpAddr::is_ipv4, IpAddr::is_ipv6].map(|is| ips.iter().filter(|ip| is(ip)).count());
    assert!(of_each_family == [20, 20] || of_each_family == [20, 0], "no address twice: {ips:?}");
    let mut pods: Vec<_> = (0..20).map(|number| Pod::take_up(&machine, &engine, &format!("pod-{number}"), Vec::new())).collect();
    let containers: Vec<_> = pods.iter().enumerate().map(|(number, pod)| pod.run("app", &format!("exit {number}"))).collect();
    for (number, (pod, id)) in pods.iter_mut().zip(&containers).enumerate() {
        assert_eq!(pod.exit_of(id).code, i32::try_from(number).expect("small"));
    }
    machine.run(async {
        let mut stops = tokio::task::JoinSet::new();
        for number in 0..20 {
            let engine = engine.clone();
            stops.spawn(async move { engine.stop_pod_sandbox(&format!("pod-{number}")).await });
        }
        while let Some(stopped) = stops.join_next().await {
            stopped.expect("no panic").unwrap_or_else(|error| panic!("{}", chain(&error)));
        }
    });
    pods.into_iter().for_each(Pod::remove);
    assert_eq!(machine.interfaces().into_iter().collect::<Vec<_>>(), ["lo", "usher0"]);
    assert!(machine.run(engine.pods()).expect("a list").is_empty());
    assert!(begun.elapsed() < crate::support::PATIENCE, "twenty pods took {:?}", begun.elapsed());
}

#[test]
fn a_host_port_leads_into_the_pod_and_one_that_is_taken_fails_the_whole_pod() {
    let Some(machine) = Machine::new("a_host_port_leads_into_the_pod_and_one_that_is_taken_fails_the_whole_pod") else { return };
    let engine = machine.engine();
    let mapping = PortMapping { protocol: "TCP".to_owned(), host_ip: None, host_port: 9090, container_port: 8080 };
    let mut config = pod_config("first");
    config.port_mappings = vec![mapping.clone()];
    let pod = Pod::start_with(&machine, &engine, &config);
    pod.run("server", "httpd -f -p 8080 -h /www");
    crate::support::eventually("the server answers at the node's port", || {
        std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, 9090)).is_ok()
    });

    let mut config = pod_config("second");
    config.port_mappings = vec![mapping];
    let error = machine.run(engine.run_pod_sandbox(&config)).expect_err("the port is taken");
    assert!(matches!(error, RunPodSandboxError::Network { .. }), "{}", chain(&error));
    assert!(chain(&error).contains("9090"), "{}", chain(&error));
    let left = machine.left_overs(&engine, "second");
    assert!(left.iter().all(|left| left.starts_with("folder")), "{left:?}");
    assert_eq!(machine.interfaces().len(), 3, "{:?}", machine.interfaces());
    machine.run(engine.remove_pod_sandbox("second")).expect("removed");
    assert_eq!(machine.left_overs(&engine, "second"), [""; 0]);
    pod.remove();
}

#[test]
fn a_pod_on_the_nodes_network_shares_its_addresses_and_its_name() {
    let Some(machine) = Machine::new("a_pod_on_the_nodes_network_shares_its_addresses_and_its_name") else { return };
    let engine = machine.engine();
    let mut config = pod_config("host");
    config.host_network = true;
    let pod = Pod::start_with(&machine, &engine, &config);
    assert_eq!(pod.ips, [IpAddr::V4(Ipv4Addr::LOCALHOST); 0]);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let id = pod.run("app", "sleep 1000");
    let asked = std::thread::spawn(move || {
        use std::io::{BufRead as _, BufReader, Write as _};
        let (mut stream, _) = listener.accept().expect("somebody asks");
        // The whole request: closing on unread bytes would reset the connection under the answer.
        let lines = BufReader::new(stream.try_clone().expect("a second handle")).lines();
        let _ = lines.map_while(Result::ok).find(String::is_empty);
        stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nfrom the node\n").expect("answered");
    });
    assert_eq!(pod.ask(&id, &format!("wget -qO- http://127.0.0.1:{port}/")), "from the node\n");
    asked.join().expect("no panic");
    let node = rustix::system::uname().nodename().to_string_lossy().into_owned();
    assert_eq!(pod.ask(&id, "hostname"), format!("{node}\n"));
    pod.remove();
}

#[test]
fn foreign_files_stay_and_mounts_are_never_emptied() {
    let Some(machine) = Machine::new("foreign_files_stay_and_mounts_are_never_emptied") else { return };
    let engine = machine.engine();
    let outside = machine.path("outside");
    std::fs::create_dir_all(outside.join("deep")).expect("a folder");
    std::fs::write(outside.join("deep/precious"), "x").expect("a file");
    let pod = Pod::start(&machine, &engine, "foreign");
    let dir = machine.pod_dir("foreign");
    std::fs::write(dir.join("state.json"), "{}").expect("a file");
    std::fs::create_dir_all(dir.join("volumes/v")).expect("a folder");
    rustix::mount::mount_bind(&outside, dir.join("volumes/v")).expect("mounted");
    machine.run(engine.stop_pod_sandbox("foreign")).expect("stopped");
    assert!(dir.join("state.json").exists() && dir.join("volumes/v/deep/precious").exists());
    machine.run(engine.remove_pod_sandbox("foreign")).expect("removed");
    let mut left: Vec<_> = std::fs::read_dir(&dir).expect("a folder").flatten().map(|entry| entry.file_name()).collect();
    left.sort();
    assert_eq!(left, ["state.json", "volumes"]);
    assert!(outside.join("deep/precious").exists() && !dir.join("volumes/v/deep").exists(), "it is mounted no more");
    std::fs::remove_dir_all(dir).expect("ours");
    pod.remove();
}

#[test]
fn a_fit_machine_passes_the_check() {
    let Some(machine) = Machine::new("a_fit_machine_passes_the_check") else { return };
    let engine = machine.engine();
    let findings = machine.run(runtime::check(engine.config()));
    let blocking: Vec<_> = findings.iter().filter(|finding| !finding.is_passed()).map(ToString::to_string).collect();
    assert_eq!(blocking, [""; 0]);
    assert!(findings.len() > 12, "{findings:#?}");
    let left = std::fs::read_dir(machine.path("root")).expect("a folder").flatten().map(|entry| entry.file_name()).collect::<Vec<_>>();
    assert_eq!(left, ["images"], "the check must leave nothing");
}
