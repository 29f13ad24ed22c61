use super::*;

fn conf(text: &str) -> ResolvConf {
    ResolvConf::parse(text).expect("a valid file")
}

const NODE: &str = "# made by hand\nnameserver 192.0.2.53\nnameserver 192.0.2.54\nsearch corp.example.\noptions timeout:2\n";

struct Pod {
    policy: DnsPolicy,
    config: Option<PodDnsConfig>,
    host_network: bool,
    node: ResolvConf,
    cluster: Option<ClusterDns>,
}

fn pod(policy: DnsPolicy) -> Pod {
    Pod { policy, config: None, host_network: false, node: conf(NODE), cluster: None }
}

fn cluster() -> ClusterDns {
    ClusterDns { nameservers: vec![IpAddr::from([10, 96, 0, 10])], domain: "cluster.local".to_owned() }
}

fn made(pod: &Pod) -> (String, Vec<String>) {
    let (conf, warnings) = pod_resolv_conf(&PodDns {
        namespace: "shop",
        policy: pod.policy,
        config: pod.config.as_ref(),
        host_network: pod.host_network,
        node: &pod.node,
        cluster: pod.cluster.as_ref(),
    });
    (conf.to_string(), warnings.iter().map(|warning| format!("{}: {warning}", warning.reason())).collect())
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

const NODE_WRITTEN: &str = "search corp.example\nnameserver 192.0.2.53\nnameserver 192.0.2.54\noptions timeout:2\n";

#[test]
fn default_is_the_nodes_file() {
    assert_eq!(made(&pod(DnsPolicy::Default)), (NODE_WRITTEN.to_owned(), vec![]));
}

#[test]
fn none_is_nothing_but_the_pods_own() {
    assert_eq!(made(&pod(DnsPolicy::None)), (String::new(), vec![]));
    let own = PodDnsConfig { nameservers: texts(&["192.0.2.1"]), ..PodDnsConfig::default() };
    let expected = ("nameserver 192.0.2.1\n".to_owned(), vec![]);
    assert_eq!(made(&Pod { config: Some(own), ..pod(DnsPolicy::None) }), expected);
}

#[test]
fn cluster_first_asks_the_cluster_only_and_searches_the_node_last() {
    let expected = "search shop.svc.cluster.local svc.cluster.local cluster.local corp.example\nnameserver 10.96.0.10\noptions ndots:5\n";
    let cluster_first = Pod { cluster: Some(cluster()), ..pod(DnsPolicy::ClusterFirst) };
    assert_eq!(made(&cluster_first), (expected.to_owned(), vec![]));
    let with_host_net = Pod { host_network: true, policy: DnsPolicy::ClusterFirstWithHostNet, ..cluster_first };
    assert_eq!(made(&with_host_net), (expected.to_owned(), vec![]));
    let on_host_net = Pod { policy: DnsPolicy::ClusterFirst, ..with_host_net };
    assert_eq!(made(&on_host_net), (NODE_WRITTEN.to_owned(), vec![]));
}

#[test]
fn cluster_first_without_a_cluster_is_default_and_says_so() {
    let warning = "MissingClusterDNS: kubelet does not have ClusterDNS IP configured and cannot create Pod using \
                   \"ClusterFirst\" policy. Falling back to \"Default\" policy.";
    for policy in [DnsPolicy::ClusterFirst, DnsPolicy::ClusterFirstWithHostNet] {
        assert_eq!(made(&pod(policy)), (NODE_WRITTEN.to_owned(), texts(&[warning])));
    }
}

#[test]
fn a_cluster_without_a_domain_adds_no_search_domains() {
    let nameless = ClusterDns { domain: String::new(), ..cluster() };
    let (written, _) = made(&Pod { cluster: Some(nameless), ..pod(DnsPolicy::ClusterFirst) });
    assert_eq!(written, "search corp.example\nnameserver 10.96.0.10\noptions ndots:5\n");
}

#[test]
fn the_pods_own_config_is_appended_without_duplicates_and_its_options_win() {
    let option = |name: &str, value: Option<&str>| DnsOption { name: name.to_owned(), value: value.map(str::to_owned) };
    let own = PodDnsConfig {
        nameservers: texts(&["192.0.2.1", "192.0.2.53"]),
        searches: texts(&["corp.example", "own.example"]),
        options: vec![option("edns0", None), option("timeout", Some("5")), option("ndots", Some("1")), option("edns0", Some(""))],
    };
    let (written, warnings) = made(&Pod { config: Some(own), ..pod(DnsPolicy::Default) });
    let expected = "search corp.example own.example\nnameserver 192.0.2.53\nnameserver 192.0.2.54\nnameserver 192.0.2.1\n\
                    options timeout:5 edns0 ndots:1\n";
    assert_eq!((written.as_str(), warnings), (expected, vec![]));
}

#[test]
fn no_more_than_three_name_servers_are_kept() {
    let own = PodDnsConfig { nameservers: texts(&["192.0.2.1", "192.0.2.2"]), ..PodDnsConfig::default() };
    let (written, warnings) = made(&Pod { config: Some(own), ..pod(DnsPolicy::Default) });
    assert!(!written.contains("192.0.2.2\n"), "{written}");
    let expected = "DNSConfigForming: Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver \
                    line is: 192.0.2.53 192.0.2.54 192.0.2.1";
    assert_eq!(warnings, [expected]);
}

#[test]
fn no_more_than_32_search_domains_are_kept() {
    let domains: Vec<String> = (0..32).map(|n| format!("d{n}.example")).collect();
    let own = PodDnsConfig { searches: domains.clone(), ..PodDnsConfig::default() };
    let (written, warnings) = made(&Pod { config: Some(own.clone()), ..pod(DnsPolicy::None) });
    assert_eq!((written, warnings.len()), (format!("search {}\n", domains.join(" ")), 0));

    let (written, warnings) = made(&Pod { config: Some(own), ..pod(DnsPolicy::Default) });
    let line = format!("corp.example {}", domains[..31].join(" "));
    assert!(written.starts_with(&format!("search {line}\n")), "{written}");
    let expected = format!(
        "DNSConfigForming: Search Line limits were exceeded, some search paths have been omitted, the applied search line is: {line}"
    );
    assert_eq!(warnings, [expected]);
}

#[test]
fn a_search_line_of_2048_bytes_is_kept_and_a_longer_one_loses_its_end() {
    // Eight domains of 250 bytes, seven blanks, a last blank, and what is left for the last domain.
    let mut searches: Vec<String> = (0..8).map(|n| format!("{n}{}", "x".repeat(249))).collect();
    searches.push("y".repeat(2048 - 8 * 250 - 8));
    let fits = |searches: &[String]| {
        let own = PodDnsConfig { searches: searches.to_vec(), ..PodDnsConfig::default() };
        let (written, warnings) = made(&Pod { config: Some(own), ..pod(DnsPolicy::None) });
        (written == format!("search {}\n", searches.join(" ")), warnings.len())
    };
    assert_eq!(fits(&searches), (true, 0));
    searches[8].push('y');
    assert_eq!(fits(&searches), (false, 1));
}

#[test]
fn a_search_domain_longer_than_253_bytes_is_left_out() {
    let own = PodDnsConfig { searches: vec!["x".repeat(254), "x".repeat(253)], ..PodDnsConfig::default() };
    let (written, warnings) = made(&Pod { config: Some(own), ..pod(DnsPolicy::None) });
    assert_eq!((written, warnings.len()), (format!("search {}\n", "x".repeat(253)), 1));
}

#[test]
fn a_name_server_on_the_nodes_loopback_is_warned_of_unless_the_pod_is_there_too() {
    let stub = Pod { node: conf("nameserver 127.0.0.53\n"), ..pod(DnsPolicy::Default) };
    let (written, warnings) = made(&stub);
    assert_eq!(written, "nameserver 127.0.0.53\n");
    assert!(warnings[0].starts_with("DNSConfigForming: Nameserver 127.0.0.53 listens on the loopback"), "{warnings:?}");
    assert_eq!(made(&Pod { host_network: true, ..stub }).1, Vec::<String>::new());
}

#[test]
fn a_file_is_read_as_resolvers_read_it() {
    let read = conf(
        "; comment\n# nameserver 192.0.2.9\n  nameserver 192.0.2.1 trailing\nsearch a.example\n\n\
         search b.example. . c.example\noptions ndots:2 edns0\noptions ndots:3\nsortlist 192.0.2.0\n",
    );
    let expected = ResolvConf {
        nameservers: texts(&["192.0.2.1"]),
        searches: texts(&["b.example", "c.example"]),
        options: texts(&["ndots:3", "edns0"]),
    };
    assert_eq!(read, expected);
    let error = ResolvConf::parse("search a.example\nnameserver \n").expect_err("no address");
    assert_eq!(error.to_string(), "nameserver without an address in line 2");
}

#[test]
fn a_file_of_loopback_name_servers_only_is_recognised() {
    assert!(conf("nameserver 127.0.0.53\nnameserver ::1\n").is_loopback_only());
    assert!(!conf("nameserver 127.0.0.53\nnameserver 192.0.2.1\n").is_loopback_only());
    assert!(!conf("").is_loopback_only());
}

#[test]
fn the_real_name_servers_are_taken_where_a_stub_stands_before_them() {
    let (stub, real, none) = (conf("nameserver 127.0.0.53\n"), conf("nameserver 192.0.2.1\n"), conf(""));
    assert_eq!(ResolvConf::for_pods(stub.clone(), Some(real.clone())), real);
    assert_eq!(ResolvConf::for_pods(stub.clone(), None), stub);
    assert_eq!(ResolvConf::for_pods(stub.clone(), Some(none.clone())), stub);
    assert_eq!(ResolvConf::for_pods(real.clone(), Some(none.clone())), real);
    assert_eq!(ResolvConf::for_pods(none.clone(), Some(real)), none);
    assert_eq!(ResolvConf::for_pods(stub.clone(), Some(stub.clone())), stub);
}
