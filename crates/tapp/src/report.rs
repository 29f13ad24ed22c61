//! Where lines go.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

/// Reports one line, from the main process or from a hook in the same container.
pub(crate) fn report(what: &str) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let name = std::env::var("TAPP").unwrap_or_else(|_| "tapp".to_owned());
    let line = format!("{}.{:09} {name} pid={} {what}\n", now.as_secs(), now.subsec_nanos(), std::process::id());
    // PID 1's output is the container's log; a process that is no container's writes to its own.
    let log = if std::process::id() == 1 { "/proc/self/fd/1" } else { "/proc/1/fd/1" };
    write(log, &line);
    if let Ok(file) = std::env::var("TRACE_FILE") {
        write(&file, &line);
    }
}

fn write(path: &str, line: &str) {
    if let Ok(mut file) = OpenOptions::new().append(true).create(true).open(path) {
        // A report that cannot be written is lost; the workload goes on.
        let _ = file.write_all(line.as_bytes());
    }
}
