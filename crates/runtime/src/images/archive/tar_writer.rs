//! Writes the tar archives of exports: a few regular files, the same bytes whenever the same files are written.

use std::io::{self, Write};

use crate::images::unpack::padding_of;

const BLOCK_LEN: usize = 512;
/// Longest name that fits into a header.
const NAME_LEN_MAX: usize = 100;
/// Largest size that eleven octal digits hold.
const OCTAL_SIZE_MAX: u64 = 0o777_7777_7777;

/// A writer of one archive.
#[derive(Debug)]
pub(super) struct TarWriter<W> {
    out: W,
}

impl<W: Write> TarWriter<W> {
    pub(super) fn new(out: W) -> Self {
        Self { out }
    }

    /// Writes a small file.
    pub(super) fn file(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        self.begin(name, content.len() as u64)?;
        self.out.write_all(content)?;
        self.end(content.len() as u64)
    }

    /// Begins a file of `size` bytes, which are to be written to [`Self::content`], before [`Self::end`].
    pub(super) fn begin(&mut self, name: &str, size: u64) -> io::Result<()> {
        if name.len() > NAME_LEN_MAX {
            let record = pax_record("path", name);
            self.out.write_all(&header("pax", b'x', record.len() as u64))?;
            self.out.write_all(record.as_bytes())?;
            self.end(record.len() as u64)?;
        }
        self.out.write_all(&header(name, b'0', size))
    }

    pub(super) fn content(&mut self) -> &mut W {
        &mut self.out
    }

    /// Ends a file of `size` bytes.
    pub(super) fn end(&mut self, size: u64) -> io::Result<()> {
        self.out.write_all(&[0; BLOCK_LEN][..padding_of(size)])
    }

    /// Ends the archive.
    pub(super) fn finish(mut self) -> io::Result<W> {
        self.out.write_all(&[0; 2 * BLOCK_LEN])?;
        self.out.flush()?;
        Ok(self.out)
    }
}

fn header(name: &str, kind: u8, size: u64) -> [u8; BLOCK_LEN] {
    let mut header = [0; BLOCK_LEN];
    let name = &name.as_bytes()[..name.len().min(NAME_LEN_MAX)];
    header[..name.len()].copy_from_slice(name);
    for (field, value) in [(100..108, "0000644\0"), (108..116, "0000000\0"), (116..124, "0000000\0"), (136..148, "00000000000\0")] {
        header[field].copy_from_slice(value.as_bytes());
    }
    if size <= OCTAL_SIZE_MAX {
        header[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
    } else {
        header[124] = 0x80;
        header[128..136].copy_from_slice(&size.to_be_bytes());
    }
    header[156] = kind;
    header[257..265].copy_from_slice(b"ustar\x0000");
    header[148..156].copy_from_slice(b"        ");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}

/// `LENGTH KEY=VALUE\n`, where the length counts its own digits.
fn pax_record(key: &str, value: &str) -> String {
    let rest = format!(" {key}={value}\n");
    let mut len = rest.len() + 1;
    while len != rest.len() + len.to_string().len() {
        len = rest.len() + len.to_string().len();
    }
    format!("{len}{rest}")
}
