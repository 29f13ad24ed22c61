//! How long a process drains after its stop signal, where its own options say so.
//!
//! Only options whose documented meaning is just that: the longest time between the stop signal and the end.

use super::shell::base_name;
use super::view::{ContainerView, Origin, Time};

/// Options by program: the program's name, the option.
const OPTIONS: &[(&str, &str)] = &[
    ("gunicorn", "--graceful-timeout"),
    ("hypercorn", "--graceful-timeout"),
    ("uvicorn", "--timeout-graceful-shutdown"),
    ("sidekiq", "--timeout"),
    ("sidekiq", "-t"),
    ("traefik", "--entrypoints.web.transport.lifecycle.gracetimeout"),
    ("traefik", "--entrypoints.websecure.transport.lifecycle.gracetimeout"),
];

/// Environment variables that have the meaning whatever the program is called.
const VARIABLES: &[&str] = &[
    "SPRING_LIFECYCLE_TIMEOUT_PER_SHUTDOWN_PHASE",
    "QUARKUS_SHUTDOWN_TIMEOUT",
    "ASPNETCORE_SHUTDOWNTIMEOUTSECONDS",
    "DOTNET_SHUTDOWNTIMEOUTSECONDS",
    "TERMINATION_DRAIN_DURATION_SECONDS",
];

/// The drain time that a container's own options say.
pub(super) fn written(container: &ContainerView<'_>) -> Option<Time> {
    by_option(container).or_else(|| by_variable(container))
}

fn by_option(container: &ContainerView<'_>) -> Option<Time> {
    let argv = container.argv();
    let image = container.container.image.as_deref().unwrap_or_default();
    let image = base_name(image.split(['@', ':']).next().unwrap_or_default());
    for (index, word) in argv.iter().enumerate() {
        let (option, value) = word.split_once('=').map_or((word.as_str(), None), |(option, value)| (option, Some(value)));
        let is_known = |(program, known): &&(&str, &str)| {
            known.eq_ignore_ascii_case(option) && (image.contains(program) || argv.iter().any(|word| base_name(word) == *program))
        };
        if OPTIONS.iter().find(is_known).is_none() {
            continue;
        }
        let (value, at) = match value {
            Some(value) => (Some(value), index),
            None => (argv.get(index + 1).map(String::as_str), index + 1),
        };
        let seconds = value.and_then(duration)?;
        return Some(Time { seconds, origin: Origin::Written, path: container.argv_path(at) });
    }
    None
}

fn by_variable(container: &ContainerView<'_>) -> Option<Time> {
    let variables = container.container.env.iter().flatten().enumerate();
    variables.into_iter().find_map(|(index, variable)| {
        let known = VARIABLES.contains(&variable.name.as_str());
        let seconds = variable.value.as_deref().filter(|_| known).and_then(duration)?;
        Some(Time { seconds, origin: Origin::Written, path: container.path.child("env").index(index).child("value") })
    })
}

/// `30`, `30s`, `1m30s`, `500ms`, `PT30S`, in seconds.
fn duration(text: &str) -> Option<f64> {
    let text = text.trim().to_ascii_lowercase();
    let text = text.strip_prefix("pt").unwrap_or(&text);
    if text.is_empty() {
        return None;
    }
    if let Ok(seconds) = text.parse::<f64>() {
        return Some(seconds).filter(|seconds| seconds.is_finite() && *seconds >= 0.0);
    }
    let (mut total, mut rest) = (0.0, text);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').filter(|digits| *digits > 0)?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let units = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        total += number
            * match &rest[..units] {
                "ms" => 0.001,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                _ => return None,
            };
        rest = &rest[units..];
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_programs_write_them() {
        for (text, seconds) in [("30", Some(30.0)), ("45s", Some(45.0)), ("1m30s", Some(90.0)), ("500ms", Some(0.5)), ("PT20S", Some(20.0))]
        {
            assert_eq!(duration(text), seconds, "{text}");
        }
        for text in ["", "soon", "s", "10x", "-3", "$(TIME)"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }
}
