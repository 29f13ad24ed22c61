use serde_json::{Value, json};

use super::super::test_folder::{TestFolder, pod};
use super::*;

#[tokio::test]
async fn the_pods_addresses_and_aliases_stand_in_its_hosts_file() {
    let folder = TestFolder::new();
    let aliases = json!([{"ip": "192.0.2.9", "hostnames": ["a.example", "b.example"]}]);
    let pod = pod(json!({"containers": [], "hostname": "h", "subdomain": "s", "hostAliases": aliases}));
    let ips = ["10.0.0.5", "fd00::5"].map(|ip| ip.parse().expect("an address"));
    folder.files.write_etc_files(&pod, &ips).await.expect("files");
    let hosts = fs::read_to_string(folder.files.etc_hosts()).expect("a file");
    let expected = "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n\
                    fe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n\
                    10.0.0.5\th.s.ns.svc.cluster.local\th\nfd00::5\th.s.ns.svc.cluster.local\th\n\
                    \n# Entries added by HostAliases.\n192.0.2.9\ta.example\tb.example\n";
    assert_eq!(hosts, expected);
    assert_eq!(fs::read_to_string(folder.files.etc_hostname()).expect("a file"), "h\n");
    assert!(folder.files.resolv_conf().is_file());
}

#[tokio::test]
async fn on_the_nodes_network_the_nodes_hosts_file_is_the_pods() {
    let folder = TestFolder::new();
    let pod = pod(json!({"containers": [], "hostNetwork": true}));
    folder.files.write_etc_files(&pod, &[]).await.expect("files");
    let hosts = fs::read_to_string(folder.files.etc_hosts()).expect("a file");
    let of_node = fs::read_to_string(NODE_HOSTS).unwrap_or_default();
    assert_eq!(hosts, format!("# Kubernetes-managed hosts file (host network).\n{of_node}"));
    let name = fs::read_to_string(folder.files.etc_hostname()).expect("a file");
    assert_eq!(name, format!("{}\n", Machine::this().hostname));
}

#[test]
fn host_names_are_cut_to_what_the_kernel_takes() {
    let check = |spec: Value, expected: &str| assert_eq!(hostname(&pod(spec)), expected);
    check(json!({"containers": []}), "p");
    check(json!({"containers": [], "hostname": "h"}), "h");
    check(json!({"containers": [], "hostname": "h", "hostnameOverride": "o.example"}), "o.example");
    check(json!({"containers": [], "hostname": "h", "subdomain": "s"}), "h");
    check(json!({"containers": [], "hostname": "h", "subdomain": "s", "setHostnameAsFQDN": true}), "h.s.ns.svc.cluster.local");
    check(json!({"containers": [], "hostname": "h", "setHostnameAsFQDN": true}), "h");
    let name = "n".repeat(41);
    check(
        json!({"containers": [], "hostname": &name, "subdomain": "s", "setHostnameAsFQDN": true}),
        &format!("{name}.s.ns.svc.cluster.local"),
    );
    let too_long = pod(json!({"containers": [], "hostname": "n".repeat(42), "subdomain": "s", "setHostnameAsFQDN": true}));
    let told = kernel_hostname(&too_long).expect_err("one byte too many").to_string();
    assert!(told.ends_with("is too long (64 characters is the max, 65 characters requested)"), "{told}");
    let long = format!("{}-.{}", "a".repeat(61), "b".repeat(9));
    check(json!({"containers": [], "hostnameOverride": long}), &"a".repeat(61));
}

#[test]
fn the_resolver_is_the_nodes_with_what_the_pod_adds() {
    let of_node = ResolvConf::parse("search a b\nnameserver 192.0.2.1\noptions ndots:2\n").expect("a resolver");
    let config =
        json!({"nameservers": ["192.0.2.2"], "searches": ["b", "c"], "options": [{"name": "ndots", "value": "5"}, {"name": "edns0"}]});
    let (made, warnings) = resolver(&pod(json!({"containers": [], "dnsPolicy": "Default", "dnsConfig": config})), &of_node);
    assert_eq!(made.to_string(), "search a b c\nnameserver 192.0.2.1\nnameserver 192.0.2.2\noptions ndots:5 edns0\n");
    assert_eq!(warnings, []);
    let (made, warnings) = resolver(&pod(json!({"containers": []})), &of_node);
    assert_eq!((made, warnings), (of_node.clone(), vec![DnsWarning::MissingClusterDns]));
    let (made, _) = resolver(&pod(json!({"containers": [], "dnsPolicy": "None", "dnsConfig": {"nameservers": ["192.0.2.9"]}})), &of_node);
    assert_eq!(made.to_string(), "nameserver 192.0.2.9\n");
}
