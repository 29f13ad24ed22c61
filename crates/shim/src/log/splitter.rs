//! Cuts one stream of bytes into lines.
//!
//! A line ends at `\n` and is then *full*. A line longer than [`LINE_BYTES_MAX`] is handed on in parts: all but the last are
//! *partial*, and the last is full when its newline comes. What has no newline yet is held back (up to one line's length), so
//! that two streams that share a file never mix within a line.
//!
//! Not here: timestamps, files, tags as text.

use super::Tag;

/// Longest text of one log line, in bytes; a longer one is split. The value that Kubernetes log readers are used to.
pub const LINE_BYTES_MAX: usize = 16 * 1024;

/// The line buffer of one stream. Holds at most [`LINE_BYTES_MAX`] bytes, and no memory between lines.
#[derive(Debug, Default)]
pub struct LineSplitter {
    held: Vec<u8>,
}

impl LineSplitter {
    /// Takes the next bytes of the stream and emits each finished line, without its newline, in two pieces that belong
    /// together: what was held back, and what came now.
    pub fn feed(&mut self, mut input: &[u8], mut emit: impl FnMut(Tag, &[u8], &[u8])) {
        while !input.is_empty() {
            let room = LINE_BYTES_MAX - self.held.len();
            // A newline right behind a line of full length still makes it a full line.
            let window = &input[..input.len().min(room + 1)];
            if let Some(end) = window.iter().position(|&byte| byte == b'\n') {
                emit(Tag::Full, &self.held, &input[..end]);
                self.release();
                input = &input[end + 1..];
            } else if window.len() > room {
                emit(Tag::Partial, &self.held, &input[..room]);
                self.release();
                input = &input[room..];
            } else {
                self.held.extend_from_slice(input);
                return;
            }
        }
    }

    /// The stream has ended: what is still held is emitted as a partial line, because no newline ever came.
    pub fn finish(&mut self, mut emit: impl FnMut(Tag, &[u8], &[u8])) {
        if !self.held.is_empty() {
            emit(Tag::Partial, &self.held, &[]);
            self.release();
        }
    }

    /// Gives the memory back: most streams write whole lines, and a shim sits idle most of its life.
    fn release(&mut self) {
        self.held = Vec::new();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{LINE_BYTES_MAX, LineSplitter};
    use crate::log::Tag;

    fn split(chunks: &[&[u8]]) -> Vec<(Tag, Vec<u8>)> {
        let mut splitter = LineSplitter::default();
        let mut lines = Vec::new();
        let mut keep = |tag, held: &[u8], new: &[u8]| lines.push((tag, [held, new].concat()));
        for chunk in chunks {
            splitter.feed(chunk, &mut keep);
        }
        splitter.finish(&mut keep);
        lines
    }

    fn full(text: &[u8]) -> (Tag, Vec<u8>) {
        (Tag::Full, text.to_vec())
    }

    fn partial(text: &[u8]) -> (Tag, Vec<u8>) {
        (Tag::Partial, text.to_vec())
    }

    #[test]
    fn lines_end_at_newlines_wherever_the_reads_fall() {
        assert_eq!(split(&[b"one\ntw", b"o\n", b"\n"]), [full(b"one"), full(b"two"), full(b"")]);
    }

    #[test]
    fn text_without_a_newline_at_the_end_is_partial() {
        assert_eq!(split(&[b"one\nrest"]), [full(b"one"), partial(b"rest")]);
        assert_eq!(split(&[]), []);
    }

    #[test]
    fn a_line_of_exactly_the_limit_is_whole() {
        let line = vec![b'x'; LINE_BYTES_MAX];
        assert_eq!(split(&[&line, b"\n"]), [full(&line)]);
        assert_eq!(split(&[&[line.as_slice(), b"\n"].concat()]), [full(&line)]);
    }

    #[test]
    fn a_longer_line_is_split_and_only_its_last_part_is_full() {
        let line = vec![b'x'; 2 * LINE_BYTES_MAX + 3];
        let expected = [partial(&line[..LINE_BYTES_MAX]), partial(&line[..LINE_BYTES_MAX]), full(b"xxx")];
        assert_eq!(split(&[&line, b"\n"]), expected);
    }

    proptest! {
        #[test]
        fn no_byte_is_lost_or_moved_and_the_cut_does_not_depend_on_the_reads(
            text in proptest::collection::vec(prop_oneof![20 => Just(b'a'), 1 => Just(b'\n')], 0..60_000),
            cuts in proptest::collection::vec(1_usize..20_000, 1..20),
        ) {
            let mut chunks = Vec::new();
            let mut rest = text.as_slice();
            for cut in cuts.iter().cycle() {
                if rest.is_empty() { break; }
                let (head, tail) = rest.split_at((*cut).min(rest.len()));
                chunks.push(head);
                rest = tail;
            }
            let lines = split(&chunks);
            prop_assert_eq!(&lines, &split(&[&text]));
            let mut joined = Vec::new();
            for (tag, line) in &lines {
                prop_assert!(line.len() <= LINE_BYTES_MAX);
                joined.extend_from_slice(line);
                if *tag == Tag::Full { joined.push(b'\n'); }
            }
            prop_assert_eq!(joined, text);
        }
    }
}
