//! Flow collections that stand further left than YAML allows, as people write them and Kubernetes' own reader takes them:
//!
//! ```yaml
//! args: [
//!   "--verbose",
//! ]
//! ```
//!
//! Inside `[…]` and `{…}` that reader does not look at indentation, and the parser used here does. A line that it refuses for
//! that is read as if it stood further right. Not for block collections: there indentation is meaning.

use std::borrow::Cow;

/// What the parser says of such a line. In block collections it says other things.
const REFUSED: [&str; 2] = ["invalid indentation", "invalid indentation in flow construct"];
/// Blanks put before a line: more than any manifest is deep.
const BLANKS: usize = 256;
/// How much may be read anew in all, in bytes: a text that needs more is told as the parser tells it.
const READ_AGAIN_BYTES_MAX: usize = 64 << 20;

/// A text in which some lines stand further right.
pub(super) struct Shifted<'s> {
    text: Cow<'s, str>,
    /// Where the shifted lines begin, by characters of the shifted text, ascending.
    lines: Vec<usize>,
    read_again: usize,
}

impl<'s> Shifted<'s> {
    pub(super) fn new(text: &'s str) -> Self {
        Self { text: Cow::Borrowed(text), lines: Vec::new(), read_again: 0 }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The character of the original text that is this one of the shifted text.
    pub(super) fn original(&self, character: usize) -> usize {
        let before = self.lines.partition_point(|line| *line < character);
        // In the blanks before the last of these lines, or behind them.
        let inside = self.lines.get(before.wrapping_sub(1)).map_or(0, |line| BLANKS.saturating_sub(character - line));
        character + inside - before * BLANKS
    }

    /// Shifts the line in which the parser stopped, if it stopped for its place; false if that is not it.
    pub(super) fn shift(&mut self, said: &str, character: usize) -> bool {
        self.read_again += self.text.len();
        if !REFUSED.contains(&said) || self.read_again > READ_AGAIN_BYTES_MAX {
            return false;
        }
        let Some((stopped_at, _)) = self.text.char_indices().nth(character) else { return false };
        let begin = self.text[..stopped_at].rfind('\n').map_or(0, |newline| newline + 1);
        if !self.text[begin..stopped_at].bytes().all(|byte| byte == b' ') || stopped_at - begin >= BLANKS {
            return false;
        }
        let line = character - (stopped_at - begin);
        let position = self.lines.partition_point(|other| *other < line);
        for later in &mut self.lines[position..] {
            *later += BLANKS;
        }
        self.lines.insert(position, line);
        self.text.to_mut().insert_str(begin, &" ".repeat(BLANKS));
        true
    }
}
