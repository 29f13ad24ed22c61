//! Which capabilities a container has.

use std::collections::HashSet;
use std::str::FromStr as _;

use oci_spec::runtime::{Capability, LinuxCapabilities, LinuxCapabilitiesBuilder};

use crate::SecurityContext;

/// The set that containers have without any wish of the manifest: containerd's, which is also Docker's.
const DEFAULT: [Capability; 14] = [
    Capability::Chown,
    Capability::DacOverride,
    Capability::Fsetid,
    Capability::Fowner,
    Capability::Mknod,
    Capability::NetRaw,
    Capability::Setgid,
    Capability::Setuid,
    Capability::Setfcap,
    Capability::Setpcap,
    Capability::NetBindService,
    Capability::SysChroot,
    Capability::Kill,
    Capability::AuditWrite,
];

/// The bounding set of a container on a machine that can give `available`.
///
/// Order as in containerd: `ALL` added, then `ALL` dropped, then single ones added, then single ones dropped; so drop `ALL`
/// with add X is X, and add `ALL` with drop X is all but X.
pub(super) fn of(security: &SecurityContext, available: &HashSet<Capability>) -> HashSet<Capability> {
    if security.privileged {
        return available.clone();
    }
    let mut set = HashSet::from(DEFAULT);
    if security.add_capabilities.iter().any(|name| is_all(name)) {
        set.clone_from(available);
    }
    if security.drop_capabilities.iter().any(|name| is_all(name)) {
        set.clear();
    }
    set.extend(security.add_capabilities.iter().filter_map(|name| parse(name)));
    for dropped in security.drop_capabilities.iter().filter_map(|name| parse(name)) {
        set.remove(&dropped);
    }
    // What the machine cannot give would make the whole container fail; the usual runtimes leave it out, too.
    set.retain(|capability| available.contains(capability));
    set
}

/// The sets of a process of user `uid`.
///
/// After an `execve` a user other than root has only what is inheritable or ambient, which is nothing; so the other sets are
/// not even given. The bounding set stays, for programs with the set-user-id bit.
pub(super) fn process_sets(bounding: &HashSet<Capability>, uid: u32) -> LinuxCapabilities {
    let effective = if uid == 0 { bounding.clone() } else { HashSet::new() };
    LinuxCapabilitiesBuilder::default()
        .bounding(bounding.clone())
        .effective(effective.clone())
        .permitted(effective)
        .inheritable(HashSet::new())
        .ambient(HashSet::new())
        .build()
        .expect("every field is given")
}

fn is_all(name: &str) -> bool {
    name.eq_ignore_ascii_case("ALL")
}

/// A name with or without `CAP_`, in any case. An unknown one is left out, as the usual runtimes do.
fn parse(name: &str) -> Option<Capability> {
    let upper = name.to_ascii_uppercase();
    Capability::from_str(upper.strip_prefix("CAP_").unwrap_or(&upper)).ok()
}
