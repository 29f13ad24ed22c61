//! Kernel parameters that a pod may set: those that are safe for other pods, and those that its node allows besides.

/// The kernel parameters that a kubelet sets without being told to: each is of a namespace of the pod's own and harms no other pod.
// kubelet: SafeSysctlAllowlist
const SAFE: [&str; 12] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
];

/// What a node allows besides (`allowedUnsafeSysctls`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowedSysctls {
    patterns: Vec<String>,
}

impl AllowedSysctls {
    /// Reads names, and beginnings of names that end with `*`.
    ///
    /// # Errors
    /// For the first one that is no name, or is of no namespace of a pod's own.
    pub fn parse<S: AsRef<str>>(patterns: impl IntoIterator<Item = S>) -> Result<Self, AllowedSysctlError> {
        let patterns = patterns.into_iter().map(|pattern| parse_pattern(pattern.as_ref())).collect::<Result<_, _>>()?;
        Ok(Self { patterns })
    }

    /// Whether a pod may set this parameter, named with dots or slashes.
    pub fn allows(&self, name: &str) -> bool {
        let name = name.replace('/', ".");
        let matches = |pattern: &String| match pattern.strip_suffix('*') {
            Some(beginning) => name.starts_with(beginning),
            None => *pattern == name,
        };
        SAFE.contains(&name.as_str()) || self.patterns.iter().any(matches)
    }
}

/// A pattern that allows nothing that can be allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AllowedSysctlError {
    /// It is no name.
    #[error("{0:?} is no name of a kernel parameter, and no beginning of one with a `*` at its end")]
    NoName(String),
    /// It would be set for the whole machine.
    #[error(
        "{0:?} is not known to be of a namespace of the pod's own: those are `net.*`, `kernel.shm*`, `kernel.msg*`, `kernel.sem` and `fs.mqueue.*`"
    )]
    OfTheMachine(String),
}

/// Reads one pattern; the result has dots.
///
/// # Errors
/// See [`AllowedSysctlError`].
pub fn parse_pattern(pattern: &str) -> Result<String, AllowedSysctlError> {
    let dotted = pattern.replace('/', ".");
    let beginning = dotted.strip_suffix('*').unwrap_or(&dotted);
    // What comes before a star may end anywhere in a name.
    let name = if beginning.len() < dotted.len() { format!("{beginning}x") } else { dotted.clone() };
    if beginning.is_empty() || !crate::validate::is_sysctl_name(&name) {
        return Err(AllowedSysctlError::NoName(pattern.to_owned()));
    }
    if namespace(beginning).is_none() {
        return Err(AllowedSysctlError::OfTheMachine(pattern.to_owned()));
    }
    Ok(dotted)
}

/// The kind of kernel namespace that a parameter belongs to.
pub(crate) fn namespace(sysctl: &str) -> Option<&'static str> {
    let name = sysctl.replace('/', ".");
    if name.starts_with("net.") {
        return Some("net");
    }
    let ipc = ["kernel.shm", "kernel.msg", "fs.mqueue."].iter().any(|prefix| name.starts_with(prefix));
    (ipc || name == "kernel.sem").then_some("ipc")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_safe_or_allowed_by_name_or_beginning_may_be_set_and_nothing_else() {
        let check = |patterns: &[&str], name: &str, expected: bool| {
            let allowed = AllowedSysctls::parse(patterns).expect("good patterns");
            assert_eq!(allowed.allows(name), expected, "{name} with {patterns:?}");
        };
        check(&[], "net.ipv4.tcp_rmem", true);
        check(&[], "net/ipv4/tcp_rmem", true);
        check(&[], "net.core.somaxconn", false);
        check(&["net.core.somaxconn"], "net.core.somaxconn", true);
        check(&["net/core/somaxconn"], "net.core.somaxconn", true);
        check(&["net.core.somaxconn"], "net.core.somaxconn2", false);
        check(&["kernel.msg*"], "kernel.msgmax", true);
        check(&["net.*"], "net.ipv4.conf.all.forwarding", true);
        check(&["net.*"], "kernel.msgmax", false);
        check(&["kernel.sem", "fs.mqueue.*"], "kernel.sem", true);
    }

    #[test]
    fn what_belongs_to_the_machine_or_is_no_name_cannot_be_allowed() {
        let error = |pattern: &str| AllowedSysctls::parse([pattern]).expect_err("it cannot be allowed");
        for pattern in ["vm.swappiness", "kernel.*", "kernel.semantics", "kernel.panic", "k*"] {
            let error = error(pattern);
            assert_eq!(error, AllowedSysctlError::OfTheMachine(pattern.to_owned()));
        }
        for pattern in ["", "*", "net..x", "net.*.x", "Net.core"] {
            assert_eq!(error(pattern), AllowedSysctlError::NoName(pattern.to_owned()));
        }
        assert_eq!(
            error("vm.swappiness").to_string(),
            "\"vm.swappiness\" is not known to be of a namespace of the pod's own: those are `net.*`, `kernel.shm*`, `kernel.msg*`, \
             `kernel.sem` and `fs.mqueue.*`"
        );
    }
}
