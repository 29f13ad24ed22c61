use super::*;

#[test]
fn a_node_end_is_named_by_its_pods_address_and_fits_the_kernel() {
    let address = Ipv4Addr::new(10, 189, 0, 7);
    assert_eq!(node_end(address), "usher-0abd0007");
    assert!(node_end(address).len() < 16);
    assert_eq!(node_end_address("usher-0abd0007"), Some(address));
    for other in ["usher0", "usher-", "usher-0abd000", "usher-0abd0007x", "usher-0abd000g", "veth0abd0007"] {
        assert_eq!(node_end_address(other), None, "{other}");
    }
}
