//! Colour for terminals, and none elsewhere.

use std::fmt::Display;

/// A role that text can play; each has one look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// Background: times, frames.
    Dim,
    /// Something went well.
    Good,
    /// Something to look at.
    Warn,
    /// Something went wrong.
    Bad,
    /// Names and headings.
    Strong,
    /// Hooks.
    Hook,
    /// Signals.
    Signal,
    /// As it is.
    Plain,
}

/// Puts looks on text, or leaves them off.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paint {
    on: bool,
}

impl Paint {
    pub(crate) const fn new(on: bool) -> Self {
        Self { on }
    }

    pub(crate) fn put(self, look: Look, text: impl Display) -> String {
        let code = match look {
            Look::Plain => return text.to_string(),
            Look::Dim => "2",
            Look::Good => "32",
            Look::Warn => "33",
            Look::Bad => "31;1",
            Look::Strong => "1",
            Look::Hook => "36",
            Look::Signal => "35",
        };
        if self.on { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_string() }
    }
}

/// Text from a container or a server, made safe for a terminal: control characters are shown, not obeyed.
pub(crate) fn harmless(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\t' => safe.push('\t'),
            control if control.is_control() => safe.extend(control.escape_default()),
            other => safe.push(other),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_cannot_steer_the_terminal() {
        assert_eq!(harmless("a\u{1b}[2Jb\rc\td"), "a\\u{1b}[2Jb\\rc\td");
    }
}
