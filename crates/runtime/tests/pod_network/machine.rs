//! Machines that are not fit, and what is said of them.

use std::net::Ipv4Addr;
use std::process::Command;

use rtnetlink::LinkBridge;
use runtime::network::{Check, Ipv6Missing, Ipv6Pods, NetworkConfig, Notice, PodNetwork, Problem, Severity, check};
use rustix::thread::CapabilitySet;

use crate::support::{Netns, Node, add_address, ourselves};

fn refused(node: &Node, config: NetworkConfig) -> (Problem, String) {
    let network = PodNetwork::new(config).expect("valid");
    let error = node.run(network.attach(Netns::new().fd(), "pod", ourselves())).expect_err("refused");
    let runtime::network::AttachPodError::Problem { problem, .. } = &error else { panic!("{error:?}") };
    (Problem::clone(problem), error.to_string())
}

fn found(node: &Node, config: &NetworkConfig) -> Vec<(Check, Option<Problem>)> {
    node.run(check(config)).into_iter().map(|finding| (finding.check, finding.problem)).collect()
}

#[test]
fn a_fit_machine_passes_every_check_and_is_left_as_it_was() {
    let Some(node) = Node::new("a_fit_machine_passes_every_check_and_is_left_as_it_was") else {
        return;
    };
    let off = Problem::ForwardingOff { setting: "net.ipv4.ip_forward".to_owned() };
    assert_eq!(off.severity(), Severity::Note);
    let expected = |forwarding| {
        vec![
            (Check::Privileges, None),
            (Check::NetworkNamespaces, None),
            (Check::Rules, None),
            (Check::Bridges, None),
            (Check::Veths, None),
            (Check::Forwarding, forwarding),
            (Check::Subnet, None),
            (Check::Firewall, None),
            (Check::StateDir, None),
        ]
    };
    assert_eq!(found(&node, &node.config()), expected(Some(off)));
    assert_eq!(std::fs::read_dir(node.state_dir()).expect("readable").count(), 0);

    let network = PodNetwork::new(node.config()).expect("valid");
    let _pod = node.pod(&network, "pod");
    assert_eq!(found(&node, &node.config()), expected(None));
}

#[test]
fn a_machine_that_forbids_ipv6_by_default_gives_it_to_pods_that_are_to_have_it() {
    let Some(node) = Node::new("a_machine_that_forbids_ipv6_by_default_gives_it_to_pods_that_are_to_have_it") else { return };
    let setting = "/proc/sys/net/ipv6/conf/default/disable_ipv6";
    if std::fs::write(setting, "1").is_err() {
        return;
    }
    let ipv4 = node.config().ipv4_subnet;
    assert_eq!(Ipv6Pods::Auto.subnet(ipv4, "usher0"), Err(Ipv6Missing::Forbidden));
    let told = NetworkConfig { ipv6_subnet: Some("fd12:3456::/64".parse().expect("a subnet")), ..node.config() };
    let forwarding = Problem::ForwardingOff { setting: "net.ipv6.conf.all.forwarding".to_owned() };
    let findings = found(&node, &told);
    assert!(findings.contains(&(Check::Ipv6, None)) && findings.contains(&(Check::Forwarding, Some(forwarding))), "{findings:?}");
    let pod = node.pod(&PodNetwork::new(told.clone()).expect("valid"), "pod");
    assert!(pod.attachment.pod_ips.ipv6.is_some());
    assert!(found(&node, &told).iter().all(|(_, problem)| problem.is_none()), "{:?}", found(&node, &told));
}

#[test]
fn a_subnet_that_is_somebody_elses_is_refused_with_the_route_and_the_setting() {
    let Some(node) = Node::new("a_subnet_that_is_somebody_elses_is_refused_with_the_route_and_the_setting") else {
        return;
    };
    let routes = node.routes();
    let _vpn = node.add_interface("vpn0");
    node.run(add_address(&routes, "vpn0", Ipv4Addr::new(10, 189, 7, 1), 24));
    let (problem, message) = refused(&node, node.config());
    let expected = "no network for pod pod: the pods' subnet 10.189.0.0/16 collides with route 10.189.7.0/24 dev vpn0 of this \
                    machine (packets for that network would go to pods, or the other way round); to cure it, set \
                    --subnet to a range that is free here";
    assert_eq!(message, expected);
    assert!(found(&node, &node.config()).contains(&(Check::Subnet, Some(problem))));

    let elsewhere = NetworkConfig { ipv4_subnet: "10.188.0.0/16".parse().expect("a subnet"), ..node.config() };
    node.pod(&PodNetwork::new(elsewhere).expect("valid"), "pod");
}

#[test]
fn an_interface_that_is_not_our_bridge_is_refused_and_not_changed() {
    let Some(node) = Node::new("an_interface_that_is_not_our_bridge_is_refused_and_not_changed") else {
        return;
    };
    let routes = node.routes();
    let _other = node.add_interface("usher0");
    node.run(async {
        routes.link().add(LinkBridge::new("lan0").build()).execute().await.expect("a bridge");
        add_address(&routes, "lan0", Ipv4Addr::new(192, 168, 1, 1), 24).await;
    });
    let (problem, _) = refused(&node, node.config());
    assert_eq!(problem, Problem::NotABridge { bridge: "usher0".to_owned() });
    assert!(found(&node, &node.config()).contains(&(Check::Subnet, Some(problem))));

    let foreign = NetworkConfig { bridge: "lan0".to_owned(), ..node.config() };
    let (problem, _) = refused(&node, foreign.clone());
    assert_eq!(problem.what(), "bridge lan0 has address 192.168.1.1/24 instead of 10.189.0.1/16");
    assert!(found(&node, &foreign).contains(&(Check::Subnet, Some(problem))));
}

#[test]
fn a_state_folder_that_cannot_be_used_is_found() {
    let Some(node) = Node::new("a_state_folder_that_cannot_be_used_is_found") else {
        return;
    };
    let file = node.state_dir().join("file");
    std::fs::write(&file, "").expect("writable");
    let config = NetworkConfig { state_dir: file.clone(), ..node.config() };
    let problem = Problem::StateDirUnusable { path: file, reason: "not a folder".to_owned() };
    assert_eq!(problem.severity(), Severity::Blocks);
    assert!(found(&node, &config).contains(&(Check::StateDir, Some(problem))));
}

#[test]
#[expect(clippy::print_stderr, reason = "a skipped test says why")]
fn a_firewall_that_drops_what_pods_send_is_told_with_the_first_pod_until_it_knows_the_bridge() {
    let name = "a_firewall_that_drops_what_pods_send_is_told_with_the_first_pod_until_it_knows_the_bridge";
    let Some(node) = Node::new(name) else { return };
    let nft = |rule: &str| Command::new("nft").args(rule.split(' ')).status();
    if let Err(error) = nft("add table ip filter") {
        return eprintln!("SKIP {name}: cannot run nft: {error}");
    }
    nft("add chain ip filter FORWARD { type filter hook forward priority 0 ; policy drop ; }").expect("it ran before");
    let network = PodNetwork::new(node.config()).expect("valid");
    let told = |notices: &[Notice]| -> Vec<String> {
        let limits = notices.iter().filter(|notice| matches!(notice, Notice::Limited(_)));
        limits.map(Notice::to_string).collect()
    };
    let expected = "chain FORWARD of table ip filter drops forwarded packets by default (pods reach nothing outside, and are not \
                    reached through host ports, unless a rule there lets them); to cure it, allow the bridge there: iptables -I \
                    FORWARD -i usher0 -j ACCEPT, and the same with -o";
    assert_eq!(told(&node.pod(&network, "a").attachment.notices), [expected]);
    assert_eq!(told(&node.pod(&network, "b").attachment.notices), Vec::<String>::new());
    let problems: Vec<_> = node.run(check(&node.config())).into_iter().filter_map(|finding| finding.problem).collect();
    assert_eq!(problems.iter().map(Problem::to_string).collect::<Vec<_>>(), [expected]);

    nft("insert rule ip filter FORWARD iifname usher0 accept").expect("it ran before");
    let another = PodNetwork::new(node.config()).expect("valid");
    assert_eq!(told(&node.pod(&another, "c").attachment.notices), Vec::<String>::new());
}

#[test]
fn a_process_without_the_right_is_told_which_one_and_leaves_nothing() {
    let Some(node) = Node::new("a_process_without_the_right_is_told_which_one_and_leaves_nothing") else { return };
    let network = PodNetwork::new(node.config()).expect("valid");
    let netns = Netns::new();
    // Rights belong to threads; this runtime has only the one.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut sets = rustix::thread::capabilities(None).expect("readable");
    sets.effective -= CapabilitySet::NET_ADMIN;
    rustix::thread::set_capabilities(None, sets).expect("giving up is allowed");
    let refused = runtime.block_on(network.attach(netns.fd(), "pod", ourselves())).expect_err("refused");
    let expected = "no network for pod pod: CAP_NET_ADMIN is missing (each pod gets a network of its own, which only a \
                    privileged process can make); to cure it, run as root, or give the pod hostNetwork: true";
    assert_eq!(refused.to_string(), expected);
    let findings = runtime.block_on(check(&node.config()));
    let missing = Problem::CapabilityMissing { capability: "CAP_NET_ADMIN" };
    assert_eq!((findings[0].check, findings[0].problem.clone()), (Check::Privileges, Some(missing)));
    assert!(!findings[0].is_passed());
    assert_eq!(std::fs::read_dir(node.state_dir()).expect("readable").count(), 0);
}
