use super::*;

fn refused(change: impl FnOnce(&mut NetworkConfig)) -> String {
    let mut config = NetworkConfig::default();
    change(&mut config);
    config.validate().expect_err("refused").to_string()
}

#[test]
fn the_default_is_valid() {
    NetworkConfig::default().validate().expect("valid");
}

#[test]
fn a_bridge_name_fits_the_kernel_and_a_path() {
    for name in ["", "..", "a/b", "sixteen-letters1", "-x", "br 0", "brücke"] {
        let message = refused(|config| config.bridge = name.to_owned());
        assert!(message.starts_with(&format!("--bridge {name:?} is not an interface name")), "{message}");
    }
    let config = NetworkConfig { bridge: "fifteen-letters".to_owned(), ..NetworkConfig::default() };
    config.validate().expect("valid");
}

#[test]
fn an_mtu_is_large_enough_for_the_families_in_use() {
    assert_eq!(refused(|config| config.mtu = Some(575)), "network.mtu 575 is outside 576 to 65535");
    assert_eq!(refused(|config| config.mtu = Some(65_536)), "network.mtu 65536 is outside 576 to 65535");
    let message = refused(|config| {
        config.ipv6_subnet = Some("fd12::/64".parse().expect("a subnet"));
        config.mtu = Some(1279);
    });
    assert_eq!(message, "network.mtu 1279 is outside 1280 to 65535");
}

#[test]
fn the_ipv6_range_holds_as_many_pods_as_the_ipv4_one() {
    let message = refused(|config| config.ipv6_subnet = Some("fd12::/120".parse().expect("a subnet")));
    let expected = "--ipv6-subnet fd12::/120 holds 254 pods, fewer than the 65533 of --subnet 10.189.0.0/16";
    assert_eq!(message, expected);
}

#[test]
fn a_state_folder_is_the_same_for_every_process() {
    let message = refused(|config| config.state_dir = PathBuf::from("run/usher"));
    assert_eq!(message, r#"network.stateDir "run/usher" is not an absolute path"#);
}
