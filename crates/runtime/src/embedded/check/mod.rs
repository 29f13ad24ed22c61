//! Can this machine run pods? Finds out by doing, where nothing is left behind, and by looking, where something would be.
//!
//! Every finding says what is wrong, why that matters and what to do, in the same words wherever it is shown.

mod kernel;
mod places;

use super::config::EmbeddedConfig;
use crate::network;

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Nothing is wrong.
    Fine,
    /// It will be put right by itself, and be reported then.
    Note,
    /// Pods run, with something missing.
    Limits,
    /// No pod can run.
    Blocks,
}

/// The answer to one question about the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at, in a few words.
    pub subject: String,
    /// How much it matters.
    pub severity: Severity,
    /// What is wrong: a phrase without a full stop. Of what is fine: what was found, may be empty.
    pub what: String,
    /// Why it matters; empty if nothing is wrong.
    pub why: String,
    /// What to do; empty if nothing is wrong.
    pub what_to_do: String,
}

/// Whether the machine has this cgroup controller, in whatever version: `pids`.
pub fn has_controller(name: &str) -> bool {
    kernel::found_controllers().contains(name)
}

impl Finding {
    fn fine(subject: &str, found: impl Into<String>) -> Self {
        let (why, what_to_do) = (String::new(), String::new());
        Self { subject: subject.to_owned(), severity: Severity::Fine, what: found.into(), why, what_to_do }
    }

    fn wrong(subject: &str, severity: Severity, what: impl Into<String>, why: &str, what_to_do: impl Into<String>) -> Self {
        Self { subject: subject.to_owned(), severity, what: what.into(), why: why.to_owned(), what_to_do: what_to_do.into() }
    }

    /// Whether pods can run in spite of it.
    pub fn is_passed(&self) -> bool {
        self.severity < Severity::Blocks
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.severity == Severity::Fine {
            return write!(f, "{}: {}", self.subject, self.what);
        }
        write!(f, "{} ({}); to cure it, {}", self.what, self.why, self.what_to_do)
    }
}

/// Looks at everything that pods need. What cannot be looked at, because something before it is missing, is left out.
pub async fn check(config: &EmbeddedConfig) -> Vec<Finding> {
    let mut findings = kernel::privileges();
    let is_privileged = findings.iter().all(Finding::is_passed);
    let of_machine = config.clone();
    findings.extend(
        super::blocking(move || {
            let mut findings = vec![places::root(&of_machine.root)];
            if is_privileged {
                findings.extend(kernel::namespaces());
                findings.push(places::overlay(&of_machine.root));
                findings.push(kernel::cgroup(&of_machine.cgroup_parent));
            }
            findings.push(kernel::controllers());
            findings.push(kernel::seccomp());
            findings.push(kernel::app_armor());
            findings
        })
        .await,
    );
    findings.extend(network::check(&config.network).await.into_iter().map(|finding| of_network(finding, &config.network)));
    if let Some(missing) = &config.ipv6_missing {
        findings.push(Finding::fine("network: IPv6", format!("pods have IPv4 only, because {missing}")));
    }
    findings
}

fn of_network(finding: network::Finding, config: &network::NetworkConfig) -> Finding {
    let subject = format!("network: {}", finding.check.title());
    match finding.problem {
        None => Finding::fine(&subject, found_of(finding.check, config)),
        Some(problem) => {
            let severity = match problem.severity() {
                network::Severity::Note => Severity::Note,
                network::Severity::Limits => Severity::Limits,
                network::Severity::Blocks => Severity::Blocks,
            };
            Finding::wrong(&subject, severity, problem.what(), problem.why(), problem.cure())
        }
    }
}

/// What there is to say of something that is fine.
fn found_of(check: network::Check, config: &network::NetworkConfig) -> String {
    if check != network::Check::Subnet {
        return String::new();
    }
    match config.ipv6_subnet {
        Some(ipv6) => format!("{} and {ipv6}", config.ipv4_subnet),
        None => config.ipv4_subnet.to_string(),
    }
}
