//! The table of all rules.
//!
//! An id is never given to another rule: people silence rules by it.

use std::fmt;

use super::view::{PodView, Sink};
use super::{grace, hooks, ports, probes, process, programs, services, sidecars};

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Worth knowing.
    Note,
    /// It will go wrong some day.
    Warning,
    /// It goes wrong every time, or Kubernetes refuses it.
    Error,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

/// One rule.
pub struct Rule {
    /// `USH` and three digits.
    pub id: &'static str,
    /// A few words in kebab case.
    pub name: &'static str,
    /// How much its findings matter.
    pub level: Level,
    /// What it finds, in one sentence.
    pub title: &'static str,
    /// Its page: what, why, how to cure it. Markdown.
    pub page: &'static str,
    /// Looks at one pod; `None` where the rule speaks of the text or of the whole object.
    pub(super) check: Option<Check>,
}

/// Looks at one pod.
pub(super) type Check = fn(&PodView<'_>, &mut Sink<'_>);

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.id, self.name)
    }
}

impl PartialEq for Rule {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Rule {
    /// The rule of this id or name; case does not count.
    pub fn find(id_or_name: &str) -> Option<&'static Self> {
        RULES.iter().find(|rule| rule.id.eq_ignore_ascii_case(id_or_name) || rule.name.eq_ignore_ascii_case(id_or_name))
    }
}

macro_rules! rules {
    ($($id:literal $name:literal $level:ident $check:expr, $title:literal;)*) => {
        /// All rules, by id.
        pub static RULES: &[Rule] = &[$(Rule {
            id: $id,
            name: $name,
            level: Level::$level,
            title: $title,
            page: include_str!(concat!("../../../../docs/lint/", $id, ".md")),
            check: $check,
        }),*];
    };
}

rules! {
    "USH001" "unknown-field" Error None, "A field that does not exist, or stands in the wrong place";
    "USH002" "wrong-type" Error None, "A value of the wrong type";
    "USH003" "invalid-object" Error None, "An object that the API server refuses";
    "USH004" "api-warning" Warning None, "Something that the API server warns about";
    "USH005" "bad-ignore" Warning None, "An ignore that names no rule";
    "USH101" "prestop-takes-all-grace" Error Some(grace::prestop_takes_all), "A preStop hook that takes the whole grace period";
    "USH102" "no-time-to-drain" Warning Some(grace::no_time_to_drain), "A grace period too short for the hook and the drain after it";
    "USH103" "sidecar-without-grace" Warning Some(grace::sidecar_without_grace), "A sidecar for which the others leave no grace";
    "USH104" "grace-zero" Warning Some(grace::zero), "A grace period of zero for a pod that needs time to stop";
    "USH105" "probe-grace-longer" Warning Some(grace::probe_longer), "A failed probe gives more grace than a deletion";
    "USH106" "probe-grace-cuts-prestop" Warning Some(grace::probe_cuts_prestop), "A failed probe gives less grace than the preStop hook takes";
    "USH201" "tcp-hook" Error Some(hooks::tcp), "A tcpSocket hook, which always fails";
    "USH202" "poststart-races-listener" Warning Some(hooks::races_listener), "A postStart request to a server that may not listen yet";
    "USH203" "poststart-outlasts-probes" Warning Some(hooks::outlasts_probes), "A postStart hook longer than the probes allow for the start";
    "USH204" "poststart-never-ends" Error Some(hooks::never_ends), "A postStart hook that never ends";
    "USH205" "prestop-not-at-completion" Warning Some(hooks::not_at_completion), "A preStop hook in a container that is meant to complete";
    "USH206" "hook-signals-main-process" Warning Some(hooks::signals_main_process), "A hook that signals process 1 of its container";
    "USH207" "program-not-in-image" Error Some(programs::not_in_image), "A hook or probe whose program is not in the image";
    "USH208" "shell-syntax-without-shell" Error Some(programs::syntax_without_shell), "Shell syntax in a command that no shell reads";
    "USH209" "shell-script-split" Error Some(programs::script_split), "A script behind `-c` that is split into several words";
    "USH210" "unknown-port-name" Error Some(ports::unknown_name), "A hook or probe with a port name that its container does not have";
    "USH211" "undeclared-hook-port" Note Some(ports::undeclared), "A hook with a port that no container declares";
    "USH212" "http-hook-on-host-network" Error Some(ports::host_network), "An httpGet hook without a host in a pod on the host's network";
    "USH213" "localhost-is-the-node" Warning Some(ports::localhost), "A request to localhost, which is the node and not the pod";
    "USH214" "no-pause-behind-service" Note Some(services::no_delay), "A server behind a Service without a pause before its stop signal";
    "USH301" "sidecar-prestop-too-early" Warning Some(sidecars::prestop_too_early), "A sidecar's preStop hook that ends it before the application has drained";
    "USH302" "proxy-stops-first" Warning Some(sidecars::proxy_stops_first), "A proxy that gets its stop signal before the application beside it";
    "USH303" "job-never-completes" Warning Some(sidecars::job_never_completes), "A job with a proxy beside it that keeps it from completing";
    "USH401" "liveness-is-readiness" Warning Some(probes::liveness_is_readiness), "A liveness probe that asks the same as the readiness probe and is no more patient";
    "USH402" "killed-while-starting" Warning Some(probes::killed_while_starting), "A liveness probe that gives up before the container can be ready";
    "USH403" "probe-timeout-over-period" Warning Some(probes::timeout_over_period), "A probe whose timeout is longer than its period";
    "USH501" "shell-swallows-signal" Warning Some(process::shell_swallows_signal), "A shell as process 1 that does not pass the stop signal on";
    "USH502" "stop-signal-kills" Warning Some(process::stop_signal_kills), "A stop signal that no process can handle";
}
