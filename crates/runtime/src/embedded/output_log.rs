//! Reads what a shim has kept of a command's output: a CRI log, put together again.

use std::fs;
use std::io;
use std::path::Path;

/// What a command wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Output {
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
}

/// The mark that the shim leaves where it cut the output.
const CUT_MARK: &[u8] = b"usher: output cut after ";

/// Reads the log; one that is missing is empty. `is_cut`: its last line is the shim's own.
pub(crate) fn read(path: &Path, is_cut: bool) -> io::Result<Output> {
    match fs::read(path) {
        Ok(text) => Ok(parse(&text, is_cut)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Output::default()),
        Err(error) => Err(error),
    }
}

fn parse(text: &[u8], is_cut: bool) -> Output {
    let mut output = Output::default();
    for line in text.split(|&byte| byte == b'\n') {
        let mut words = line.splitn(4, |&byte| byte == b' ');
        let (Some(_), Some(stream), Some(tag), Some(text)) = (words.next(), words.next(), words.next(), words.next()) else { continue };
        if is_cut && text.starts_with(CUT_MARK) {
            continue;
        }
        let of_stream = if stream == b"stderr" { &mut output.stderr } else { &mut output.stdout };
        of_stream.extend_from_slice(text);
        if tag == b"F" {
            of_stream.push(b'\n');
        }
    }
    output
}

#[cfg(test)]
mod tests {
    use super::{Output, parse};

    #[test]
    fn lines_and_their_parts_are_put_together() {
        let log = b"2026-01-01T00:00:00Z stdout F one two\n2026-01-01T00:00:00Z stderr P half\n\
                    2026-01-01T00:00:00Z stdout P x\n2026-01-01T00:00:00Z stdout F \n2026-01-01T00:00:00Z stderr F usher: output cut after 9 bytes\n";
        let expected = |stderr: &[u8]| Output { stdout: b"one two\nx\n".to_vec(), stderr: stderr.to_vec() };
        assert_eq!(parse(log, true), expected(b"half"));
        assert_eq!(parse(log, false), expected(b"halfusher: output cut after 9 bytes\n"));
        assert_eq!(parse(b"", true), Output::default());
    }
}
