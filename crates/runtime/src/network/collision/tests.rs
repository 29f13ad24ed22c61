use super::*;

const POD_SUBNET: &str = "10.189.0.0/16";
const BRIDGE: u32 = 7;

fn prefix(text: &str) -> (IpAddr, u8) {
    let (address, len) = text.split_once('/').expect("a prefix");
    (address.parse().expect("an address"), len.parse().expect("a length"))
}

fn route(destination: &str, link: u32) -> Route {
    let destination = prefix(destination);
    Route { destination, gateway: None, link: Some(link), metric: 0, is_unicast: true, is_main_table: true }
}

fn collides(route: Route) -> bool {
    find_collision(&[route], prefix(POD_SUBNET), Some(BRIDGE)).is_some()
}

#[test]
fn a_route_into_around_or_equal_to_the_range_collides() {
    assert!(collides(route("10.189.0.0/16", 2)));
    assert!(collides(route("10.189.7.0/24", 2)));
    assert!(collides(route("10.189.7.1/32", 2)));
    assert!(collides(route("10.0.0.0/8", 2)));
    assert!(!collides(route("10.190.0.0/16", 2)));
}

#[test]
fn ways_out_refusals_and_the_bridge_itself_do_not_collide() {
    assert!(!collides(route("0.0.0.0/0", 2)));
    assert!(!collides(route("0.0.0.0/1", 2)));
    assert!(!collides(Route { is_unicast: false, ..route("10.0.0.0/8", 2) }));
    assert!(!collides(route("10.189.0.0/16", BRIDGE)));
    let over_several = Route { link: None, ..route("10.189.0.0/16", 2) };
    assert!(find_collision(&[over_several], prefix(POD_SUBNET), None).is_some());
}

#[test]
fn a_route_is_described_as_ip_route_writes_it() {
    let plain = route("10.189.0.0/16", 2);
    assert_eq!(describe(&plain, Some("eth0")), "10.189.0.0/16 dev eth0");
    let via = Route { gateway: Some(IpAddr::from([192, 0, 2, 1])), ..plain };
    assert_eq!(describe(&via, None), "10.189.0.0/16 via 192.0.2.1");
}

#[test]
fn the_best_default_route_is_the_one_of_the_least_metric_in_the_main_table() {
    let other_table = Route { is_main_table: false, ..route("0.0.0.0/0", 5) };
    let routes = [
        Route { metric: 600, ..route("0.0.0.0/0", 3) },
        route("10.0.0.0/8", 4),
        other_table,
        Route { metric: 100, ..route("0.0.0.0/0", 2) },
    ];
    assert_eq!(default_link(&routes), Some(2));
    assert_eq!(default_link(&[]), None);
}
