//! What attaching gives, and what detaching leaves.

use std::net::Ipv4Addr;
use std::path::Path;

use runtime::network::{AttachPodError, NetworkConfig, PodNetwork};

use crate::support::{Netns, Node, Pod, Server, Shim, ask, link_index, ourselves};

fn files(dir: &Path) -> Vec<String> {
    let mut files = Vec::new();
    for dir in ["addresses", "host-ports", "pods"].map(|name| dir.join("usher0").join(name)) {
        let entries = std::fs::read_dir(dir).expect("the folder is there");
        files.extend(entries.map(|entry| entry.expect("readable").file_name().into_string().expect("text")));
    }
    files
}

fn with_subnet(node: &Node, subnet: &str) -> PodNetwork {
    let config = NetworkConfig { ipv4_subnet: subnet.parse().expect("a subnet"), ..node.config() };
    PodNetwork::new(config).expect("valid")
}

fn message(error: &AttachPodError) -> String {
    use std::error::Error as _;
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}

#[test]
fn detaching_leaves_nothing_of_a_pod_and_can_be_done_again() {
    let Some(node) = Node::new("detaching_leaves_nothing_of_a_pod_and_can_be_done_again") else {
        return;
    };
    let network = PodNetwork::new(node.config()).expect("valid");
    let pod = node.pod(&network, "pod");
    let routes = node.routes();
    let node_end = format!("usher-{:08x}", u32::from(pod.ip()));
    assert!(node.run(link_index(&routes, &node_end)).is_some());
    assert_eq!(files(node.state_dir()), [pod.ip().to_string(), "pod".to_owned()]);

    node.run(network.detach("pod")).expect("detached");
    assert_eq!(node.run(link_index(&routes, &node_end)), None);
    assert_eq!(files(node.state_dir()), Vec::<String>::new());
    node.run(network.detach("pod")).expect("nothing to do");
    node.run(network.detach("never-attached")).expect("nothing to do");
}

#[test]
fn a_second_process_uses_the_bridge_that_is_there() {
    let Some(node) = Node::new("a_second_process_uses_the_bridge_that_is_there") else {
        return;
    };
    let first = PodNetwork::new(node.config()).expect("valid");
    let a = node.pod(&first, "a");
    let routes = node.routes();
    let bridge = node.run(link_index(&routes, "usher0"));
    drop(first);

    let second = PodNetwork::new(node.config()).expect("valid");
    let b = node.pod(&second, "b");
    assert_eq!(node.run(link_index(&routes, "usher0")), bridge);
    let server = a.netns.inside(|| Server::start((Ipv4Addr::UNSPECIFIED, 8000)));
    assert_eq!(b.netns.inside(|| ask((a.ip(), 8000))).expect("reached"), b.ip());
    a.netns.inside(|| server.stop());
}

#[test]
fn attaching_again_gives_the_same_address_and_keeps_the_interface() {
    let Some(node) = Node::new("attaching_again_gives_the_same_address_and_keeps_the_interface") else {
        return;
    };
    let network = PodNetwork::new(node.config()).expect("valid");
    let pod = node.pod(&network, "pod");
    let eth0 = |pod: &Pod| node.run(async { link_index(&pod.netns.routes(), "eth0").await });
    let before = eth0(&pod);
    let again = node.run(network.attach(pod.netns.fd(), "pod", ourselves())).expect("attached");
    assert_eq!(again.pod_ips, pod.attachment.pod_ips);
    assert_eq!(eth0(&pod), before);

    // The sandbox was made anew: the same shim, another namespace.
    let fresh = Netns::new();
    let moved = node.run(network.attach(fresh.fd(), "pod", ourselves())).expect("attached");
    assert_eq!(moved.pod_ips, pod.attachment.pod_ips);
    assert_eq!(eth0(&pod), None);
    let server = fresh.inside(|| Server::start((Ipv4Addr::UNSPECIFIED, 8000)));
    ask((pod.ip(), 8000)).expect("reached");
    fresh.inside(|| server.stop());
}

#[test]
fn a_full_subnet_says_how_many_it_holds_and_what_to_change() {
    let Some(node) = Node::new("a_full_subnet_says_how_many_it_holds_and_what_to_change") else {
        return;
    };
    let network = with_subnet(&node, "10.189.0.0/30");
    let _pod = node.pod(&network, "a");
    let refused = node.run(network.attach(Netns::new().fd(), "b", ourselves())).expect_err("it is full");
    let expected = "no free address in 10.189.0.0/30: 1 of 1 are leased; delete pods, or set --subnet to a larger range";
    assert_eq!(message(&refused), expected);
    assert_eq!(files(node.state_dir()).len(), 2);
}

#[test]
fn the_address_of_a_dead_shim_goes_to_the_next_pod_even_if_its_containers_live_on() {
    let Some(node) = Node::new("the_address_of_a_dead_shim_goes_to_the_next_pod_even_if_its_containers_live_on") else {
        return;
    };
    let network = with_subnet(&node, "10.189.0.0/30");
    let shim = Shim::start();
    let orphan = Netns::new();
    let old = node.run(network.attach(orphan.fd(), "old", shim.owner())).expect("attached");
    shim.end();

    let new = node.pod(&network, "new");
    assert_eq!(new.attachment.pod_ips, old.pod_ips);
    let server = new.netns.inside(|| Server::start((Ipv4Addr::UNSPECIFIED, 8000)));
    ask((new.ip(), 8000)).expect("reached");
    new.netns.inside(|| server.stop());
    assert_eq!(node.run(async { link_index(&orphan.routes(), "eth0").await }), None);
}

#[test]
fn collecting_removes_what_dead_shims_left_and_nothing_else() {
    let Some(node) = Node::new("collecting_removes_what_dead_shims_left_and_nothing_else") else {
        return;
    };
    let network = PodNetwork::new(node.config()).expect("valid");
    let alive = node.pod(&network, "alive");
    let shim = Shim::start();
    let orphan = Netns::new();
    let dead = node.run(network.attach(orphan.fd(), "dead", shim.owner())).expect("attached");
    assert_eq!(node.run(network.gc()).expect("collected"), runtime::network::Collected::default());
    shim.end();

    let collected = node.run(network.gc()).expect("collected");
    assert_eq!(collected.pods, ["dead"]);
    assert_eq!(collected.interfaces, [format!("usher-{:08x}", u32::from(dead.pod_ips.ipv4))]);
    assert_eq!(files(node.state_dir()), [alive.ip().to_string(), "alive".to_owned()]);
    let server = alive.netns.inside(|| Server::start((Ipv4Addr::UNSPECIFIED, 8000)));
    ask((alive.ip(), 8000)).expect("reached");
    alive.netns.inside(|| server.stop());
}

#[test]
fn a_namespace_that_is_not_a_fresh_pods_is_refused_and_no_address_is_lost() {
    let Some(node) = Node::new("a_namespace_that_is_not_a_fresh_pods_is_refused_and_no_address_is_lost") else {
        return;
    };
    let network = PodNetwork::new(node.config()).expect("valid");
    let refused = |netns, uid: &str| message(&node.run(network.attach(netns, uid, ourselves())).expect_err("refused"));

    let own = std::fs::File::open("/proc/thread-self/ns/net").expect("proc is there").into();
    let expected = "cannot connect pod pod to bridge usher0: the network namespace given for the pod is that of the node";
    assert_eq!(refused(own, "pod"), expected);
    let file = std::fs::File::open("/proc/self/stat").expect("proc is there").into();
    assert_eq!(refused(file, "pod"), "cannot connect pod pod to bridge usher0: cannot enter a network namespace");

    let taken = node.pod(&network, "a");
    let expected = "cannot connect pod b to bridge usher0: the pod's network namespace has an interface eth0 already";
    assert_eq!(refused(taken.netns.fd(), "b"), expected);
    assert_eq!(files(node.state_dir()), [taken.ip().to_string(), "a".to_owned()]);
}
