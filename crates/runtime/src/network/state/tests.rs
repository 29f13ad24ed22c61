use super::*;
use crate::network::host_port::Protocol;
use crate::network::owner::Owner;
use std::net::Ipv4Addr;
use std::process::{Child, Command, Stdio};

/// A process that lives until it is dropped.
struct Shim(Child);

impl Shim {
    fn start() -> Self {
        Self(Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("cat starts"))
    }

    fn owner(&self) -> Owner {
        Owner::of(self.0.id()).expect("it runs")
    }

    fn end(mut self) {
        drop(self.0.stdin.take());
        self.0.wait().expect("it is ours");
    }
}

impl Drop for Shim {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

struct Folder {
    dir: tempfile::TempDir,
    state: State,
}

fn folder(subnet: &str) -> Folder {
    let dir = tempfile::tempdir().expect("a folder");
    let config =
        NetworkConfig { ipv4_subnet: subnet.parse().expect("a subnet"), state_dir: dir.path().to_owned(), ..NetworkConfig::default() };
    Folder { state: State::new(&config).expect("proc is readable"), dir }
}

impl Folder {
    fn claim(&self, pod_uid: &str, owner: Owner) -> Result<Ipv4Addr, String> {
        let claimed = self.lock().claim_address(pod_uid, owner);
        claimed.map(|claimed| claimed.ipv4).map_err(|error| error.to_string())
    }

    fn lock(&self) -> LockedState<'_> {
        self.state.lock().expect("the lock is free")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("usher0").join(name)
    }

    /// Files that stand for something given out.
    fn taken(&self) -> Vec<String> {
        let mut files = Vec::new();
        for dir in ["addresses", "host-ports", "pods"] {
            files.extend(list(&self.path(dir)).expect("the folder is there").into_iter().map(|name| format!("{dir}/{name}")));
        }
        files
    }
}

fn ourselves() -> Owner {
    Owner::of(std::process::id()).expect("we run")
}

/// A port for which the node's own sockets are not looked at, so that tests do not meet each other there.
fn sctp(host_port: u16) -> HostPort {
    let host_ip = Some("127.0.0.1".parse().expect("an address"));
    HostPort { host_ip, host_port, protocol: Protocol::Sctp, container_port: 80 }
}

#[test]
fn addresses_are_given_in_turn_and_not_at_once_again() {
    let folder = folder("10.7.0.0/29");
    assert_eq!(folder.claim("a", ourselves()), Ok(Ipv4Addr::new(10, 7, 0, 2)));
    assert_eq!(folder.claim("b", ourselves()), Ok(Ipv4Addr::new(10, 7, 0, 3)));
    folder.lock().release("a").expect("released");
    for (pod, last) in [("c", 4), ("d", 5), ("e", 6), ("f", 2)] {
        assert_eq!(folder.claim(pod, ourselves()), Ok(Ipv4Addr::new(10, 7, 0, last)), "{pod}");
    }
}

#[test]
fn a_full_range_is_refused_with_numbers_and_the_setting() {
    let folder = folder("10.7.0.0/29");
    for pod in ["a", "b", "c", "d", "e"] {
        folder.claim(pod, ourselves()).expect("there is room");
    }
    let expected = "no free address in 10.7.0.0/29: 5 of 5 are leased; delete pods, or set --subnet to a larger range";
    assert_eq!(folder.claim("f", ourselves()), Err(expected.to_owned()));
    assert_eq!(folder.taken().len(), 10, "{:?}", folder.taken());
}

#[test]
fn a_lease_whose_owner_is_gone_is_taken_when_it_is_needed() {
    let folder = folder("10.7.0.0/30");
    let shim = Shim::start();
    let address = folder.claim("old", shim.owner()).expect("there is room");
    assert!(folder.claim("new", ourselves()).expect_err("it is taken").starts_with("no free address"));
    shim.end();
    assert_eq!(folder.claim("new", ourselves()), Ok(address));
    assert_eq!(folder.taken(), [format!("addresses/{address}"), "pods/new".to_owned()]);
}

#[test]
fn the_same_owner_keeps_its_address_and_another_one_has_to_wait() {
    let folder = folder("10.7.0.0/29");
    let shim = Shim::start();
    let address = folder.claim("pod", shim.owner()).expect("there is room");
    assert_eq!(folder.claim("pod", shim.owner()), Ok(address));
    let pid = shim.0.id();
    let expected = format!("pod pod is already attached to the network for process {pid}, which is still running");
    assert_eq!(folder.claim("pod", ourselves()), Err(expected));
    shim.end();
    assert_ne!(folder.claim("pod", ourselves()), Ok(address));
    assert_eq!(folder.taken().len(), 2, "{:?}", folder.taken());
}

#[test]
fn an_attach_that_died_between_index_and_lease_is_taken_up() {
    let folder = folder("10.7.0.0/29");
    let address = folder.claim("pod", ourselves()).expect("there is room");
    fs::remove_file(folder.path("addresses").join(address.to_string())).expect("it was there");
    assert_eq!(folder.claim("pod", ourselves()), Ok(address));
    assert_eq!(folder.taken(), [format!("addresses/{address}"), "pods/pod".to_owned()]);
}

#[test]
fn a_record_that_was_half_written_is_no_record_and_is_collected() {
    let folder = folder("10.7.0.0/30");
    drop(folder.lock());
    for file in ["addresses/10.7.0.2", "pods/torn", "host-ports/tcp-any-80", "last-address"] {
        fs::write(folder.path(file), "{\"pod_").expect("the folder is there");
    }
    assert_eq!(folder.claim("pod", ourselves()), Ok(Ipv4Addr::new(10, 7, 0, 2)));
    assert_eq!(folder.taken(), ["addresses/10.7.0.2", "pods/pod"]);
}

#[test]
fn releasing_leaves_nothing_and_can_be_done_again() {
    let folder = folder("10.7.0.0/29");
    folder.claim("pod", ourselves()).expect("there is room");
    let mut state = folder.lock();
    state.claim_host_ports("pod", &[sctp(7)]).expect("they are free");
    assert!(state.release("pod").expect("released").is_some());
    assert_eq!(state.release("pod").expect("released"), None);
    drop(state);
    assert_eq!(folder.taken(), Vec::<String>::new());
}

#[test]
fn a_host_port_belongs_to_one_pod() {
    let folder = folder("10.7.0.0/29");
    let shim = Shim::start();
    folder.claim("one", shim.owner()).expect("there is room");
    folder.claim("two", ourselves()).expect("there is room");
    let port = sctp(8080);
    let mut state = folder.lock();
    state.claim_host_ports("one", &[port]).expect("it is free");
    state.claim_host_ports("one", &[port]).expect("it has it");
    let everywhere = HostPort { host_ip: None, ..port };
    let refused = state.claim_host_ports("two", &[sctp(7), everywhere]).expect_err("it is taken").to_string();
    assert_eq!(refused, format!("host port {everywhere} of pod two conflicts with {port} of pod one"));
    assert_eq!(state.live_host_port_claims().expect("readable").len(), 1);

    shim.end();
    state.claim_host_ports("two", &[everywhere]).expect("its holder is gone");
    let claims = state.live_host_port_claims().expect("readable");
    assert_eq!(claims.iter().map(|claim| (claim.pod_uid.as_str(), claim.port)).collect::<Vec<_>>(), [("two", everywhere)]);
}

#[test]
fn host_ports_are_refused_with_the_reason() {
    let folder = folder("10.7.0.0/29");
    folder.claim("pod", ourselves()).expect("there is room");
    let mut state = folder.lock();
    let mut refused = |pod: &str, ports: &[HostPort]| state.claim_host_ports(pod, ports).expect_err("refused").to_string();
    assert_eq!(refused("nobody", &[sctp(80)]), "pod nobody is not attached to the network");
    let other = HostPort { container_port: 81, ..sctp(1) };
    assert_eq!(refused("pod", &[sctp(1), other]), "host port 127.0.0.1:1/SCTP of pod pod is asked for twice");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback is there");
    let taken = HostPort { protocol: Protocol::Tcp, ..sctp(listener.local_addr().expect("bound").port()) };
    assert_eq!(refused("pod", &[taken]), format!("host port {taken} of pod pod is in use by another process of this machine"));
    let many: Vec<_> = (1..=1025).map(sctp).collect();
    let expected = "pod pod asks for 1025 host ports where 0 of at most 1024 are taken";
    assert_eq!(refused("pod", &many), expected);
    assert_eq!(list(&folder.path("host-ports")).expect("readable"), Vec::<String>::new());
}

#[test]
fn a_pod_uid_that_would_be_a_path_is_refused() {
    let folder = folder("10.7.0.0/29");
    for uid in ["", "../x", ".new", "a/b", &"x".repeat(201)] {
        let refused = folder.claim(uid, ourselves()).expect_err("refused");
        assert!(refused.starts_with(&format!("{uid:?} is not a pod uid")), "{refused}");
    }
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("file");
    fs::write(&file, "").expect("the folder is there");
    let state = State::new(&NetworkConfig { state_dir: file.clone(), ..NetworkConfig::default() }).expect("proc is readable");
    let error = state.lock().expect_err("a file is no folder");
    assert_eq!(error.to_string(), format!("cannot create {}/usher0/addresses", file.display()));
}
