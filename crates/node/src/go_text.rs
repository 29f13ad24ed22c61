//! Go's ways of printing, which the reference's texts are made with.

use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;

/// A string as `%q` prints it.
pub(crate) fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{c}' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{b}' => quoted.push_str("\\v"),
            control if (control as u32) < 0x20 || control as u32 == 0x7f => {
                let _ = write!(quoted, "\\x{:02x}", control as u32);
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

/// The text of an errno: that of the C library with a small first letter, which is what Go's own table has.
pub(crate) fn io_error(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error ").next().unwrap_or_default();
    let mut letters = text.chars();
    match letters.next() {
        Some(first) if !letters.clone().next().is_some_and(char::is_uppercase) => first.to_lowercase().chain(letters).collect(),
        // An abbreviation.
        Some(_) | None => text.to_owned(),
    }
}

/// A connection that did not come about: `dial tcp 10.0.0.5:80: connect: connection refused`.
pub(crate) fn dial_error(address: SocketAddr, error: &io::Error) -> String {
    format!("dial tcp {address}: connect: {}", io_error(error))
}

/// A connection that broke: `read tcp 10.0.0.1:1234->10.0.0.5:80: read: connection reset by peer`.
pub(crate) fn stream_error(operation: &str, local: SocketAddr, remote: SocketAddr, error: &io::Error) -> String {
    format!("{operation} tcp {local}->{remote}: {operation}: {}", io_error(error))
}

#[cfg(test)]
mod tests;
