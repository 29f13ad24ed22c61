//! Whether the pods' range is already somebody else's.
//!
//! Two networks with the same addresses on one machine fail in ways that are hard to understand, so it is found out before the
//! bridge is made. Pure: routes in, verdict out.

use std::net::IpAddr;

use super::links::Route;
use super::subnet::prefixes_overlap;

/// A prefix shorter than this is not a network but a way out: `0.0.0.0/0`, and the halves and eighths of everything with which
/// tunnels outrank it.
pub(super) const WAY_OUT_PREFIX_LEN_MAX: u8 = 7;

/// The first route that shares addresses with the range, apart from the bridge's own and from ways out.
pub(super) fn find_collision(routes: &[Route], subnet: (IpAddr, u8), bridge: Option<u32>) -> Option<&Route> {
    routes.iter().find(|route| {
        route.is_unicast
            && route.destination.1 > WAY_OUT_PREFIX_LEN_MAX
            && (route.link.is_none() || route.link != bridge)
            && prefixes_overlap(route.destination, subnet)
    })
}

/// The route as `ip route` would write it.
pub(super) fn describe(route: &Route, link_name: Option<&str>) -> String {
    let mut text = format!("{}/{}", route.destination.0, route.destination.1);
    if let Some(gateway) = route.gateway {
        text.push_str(&format!(" via {gateway}"));
    }
    if let Some(name) = link_name {
        text.push_str(&format!(" dev {name}"));
    }
    text
}

/// The interface that most packets leave by: that of the best default route.
pub(super) fn default_link(routes: &[Route]) -> Option<u32> {
    let is_default = |route: &&Route| route.is_unicast && route.is_main_table && route.destination.1 == 0;
    routes.iter().filter(is_default).min_by_key(|route| route.metric)?.link
}

#[cfg(test)]
mod tests;
