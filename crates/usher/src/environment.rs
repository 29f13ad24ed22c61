//! All environment variables that usher reads, in one place.

use std::path::PathBuf;

/// Folder of pods, images, journals; `--root` wins.
pub(crate) const ROOT: &str = "USHER_ROOT";
/// Folder of container logs; `--log-root` wins.
pub(crate) const LOG_ROOT: &str = "USHER_LOG_ROOT";
/// What goes to the diagnostic log on stderr, in the syntax of `tracing`: `warn`, `node=debug`, …
pub(crate) const LOG: &str = "USHER_LOG";
/// Columns of the terminal, where it cannot be asked.
pub(crate) const COLUMNS: &str = "COLUMNS";
/// Set to anything but the empty string, it keeps colour off (<https://no-color.org>).
pub(crate) const NO_COLOR: &str = "NO_COLOR";

/// Address of an OpenTelemetry collector; `--otlp-endpoint` wins. The specification's name.
pub(crate) const OTLP_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
/// Headers of the requests to that collector: `NAME=VALUE`, separated by commas, values percent-encoded. The specification's name.
pub(crate) const OTLP_HEADERS: &str = "OTEL_EXPORTER_OTLP_HEADERS";

/// Where the service manager listens: a path, or `@` and a name. systemd's name.
pub(crate) const NOTIFY_SOCKET: &str = "NOTIFY_SOCKET";
/// Microseconds without a sign of life after which the service manager takes the daemon for dead. systemd's name.
pub(crate) const WATCHDOG_USEC: &str = "WATCHDOG_USEC";
/// The process of which that is said; without it, this one. systemd's name.
pub(crate) const WATCHDOG_PID: &str = "WATCHDOG_PID";

/// A variable that names a folder.
pub(crate) fn path(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// A variable that holds text.
pub(crate) fn text(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
