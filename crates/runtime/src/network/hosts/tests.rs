use super::*;

const WEB: PodNames<'_> = PodNames {
    name: "web-0",
    namespace: "shop",
    hostname: None,
    subdomain: None,
    hostname_override: None,
    cluster_domain: "cluster.local",
};

fn alias(ip: &str, hostnames: &[&str]) -> HostAlias {
    HostAlias { ip: ip.to_owned(), hostnames: hostnames.iter().map(|name| (*name).to_owned()).collect() }
}

fn ips(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().expect("an address")).collect()
}

#[test]
fn a_pod_finds_itself_by_its_name_at_all_its_addresses() {
    let name = pod_hostname(&WEB).expect("a name");
    let expected = "# Kubernetes-managed hosts file.\n\
                    127.0.0.1\tlocalhost\n\
                    ::1\tlocalhost ip6-localhost ip6-loopback\n\
                    fe00::0\tip6-localnet\n\
                    fe00::0\tip6-mcastprefix\n\
                    fe00::1\tip6-allnodes\n\
                    fe00::2\tip6-allrouters\n\
                    10.189.0.2\tweb-0\n\
                    fd12::2\tweb-0\n";
    assert_eq!(managed_hosts(&ips(&["10.189.0.2", "fd12::2"]), &name, &[]), expected);
}

#[test]
fn a_subdomain_gives_a_full_name_before_the_short_one() {
    let pod = PodNames { hostname: Some("db"), subdomain: Some("stores"), ..WEB };
    let name = pod_hostname(&pod).expect("a name");
    assert_eq!(name, PodHostname { hostname: "db".to_owned(), domain: "stores.shop.svc.cluster.local".to_owned() });
    let hosts = managed_hosts(&ips(&["10.189.0.2"]), &name, &[]);
    assert!(hosts.ends_with("10.189.0.2\tdb.stores.shop.svc.cluster.local\tdb\n"), "{hosts}");
}

#[test]
fn host_aliases_follow_under_a_heading_of_their_own_one_line_each() {
    let aliases = [alias("192.0.2.1", &["a.example", "b.example"]), alias("192.0.2.2", &["c.example"])];
    let section = "\n# Entries added by HostAliases.\n192.0.2.1\ta.example\tb.example\n192.0.2.2\tc.example\n";
    let hosts = managed_hosts(&[], &pod_hostname(&WEB).expect("a name"), &aliases);
    assert!(hosts.ends_with(&format!("fe00::2\tip6-allrouters\n{section}")), "{hosts}");
    let hosts = host_network_hosts(b"127.0.0.1 localhost\n", &aliases);
    let expected = format!("# Kubernetes-managed hosts file (host network).\n127.0.0.1 localhost\n{section}");
    assert_eq!(String::from_utf8(hosts).expect("text"), expected);
}

#[test]
fn the_nodes_hosts_file_is_copied_byte_by_byte() {
    let hosts = host_network_hosts(&[0xff, b'\n'], &[]);
    assert_eq!(hosts, b"# Kubernetes-managed hosts file (host network).\n\xff\n");
}

#[test]
fn a_long_name_is_cut_to_what_linux_keeps_and_not_at_a_hyphen() {
    let long = format!("{}-{}", "a".repeat(62), "b".repeat(10));
    let name = pod_hostname(&PodNames { name: &long, ..WEB }).expect("a name");
    assert_eq!(name.hostname, "a".repeat(62));
    let hyphens = "-".repeat(64);
    let error = pod_hostname(&PodNames { name: &hyphens, ..WEB }).expect_err("nothing is left");
    assert_eq!(error.to_string(), format!("hostname for pod {hyphens:?} was invalid: {hyphens:?}"));
}

#[test]
fn an_override_replaces_host_name_and_domain() {
    let pod = PodNames { hostname: Some("db"), subdomain: Some("stores"), hostname_override: Some("x.example"), ..WEB };
    let name = pod_hostname(&pod).expect("a name");
    assert_eq!(name, PodHostname { hostname: "x.example".to_owned(), domain: String::new() });
}
