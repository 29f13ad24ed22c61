//! Reads tar streams: V7, ustar, GNU long names and PAX, as Go's `archive/tar` understands them.
//!
//! Only the format: no file is touched here, no path judged. The reader hands out the raw bytes of everything that is not
//! file content ([`TarReader::raw`]), so that the stream can later be put together again to the byte.
//! Invariant: memory is bounded by [`HEADER_LEN_MAX`], whatever the stream says about itself.

use std::io::{self, BufRead, Seek};

/// Most bytes of long names and PAX records before one entry (Go's reader has the same bound).
const HEADER_LEN_MAX: usize = 1024 * 1024;
const BLOCK_LEN: usize = 512;
const XATTR_KEY_PREFIX: &[u8] = b"SCHILY.xattr.";

/// What kind of object an entry makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TarKind {
    Regular,
    HardLink,
    Symlink,
    CharDevice,
    BlockDevice,
    Directory,
    Fifo,
    /// A record for all that follows (`git archive` writes one): carries no object.
    GlobalHeader,
}

/// One entry: its header with long names and PAX records applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TarEntry {
    pub(crate) kind: TarKind,
    pub(crate) path: Vec<u8>,
    /// Target of a hard or symbolic link, else empty.
    pub(crate) link: Vec<u8>,
    /// Permission bits with set-user-id, set-group-id and sticky.
    pub(crate) mode: u32,
    pub(crate) uid: u64,
    pub(crate) gid: u64,
    /// Length of the content that follows, in bytes; 0 for all but regular files.
    pub(crate) size: u64,
    pub(crate) mtime: TarTime,
    pub(crate) device: (u32, u32),
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// A point in time: seconds since 1970, and nanoseconds that count forward from there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct TarTime {
    pub(crate) secs: i64,
    pub(crate) nanos: u32,
}

/// Why a stream cannot be read as tar.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TarError {
    #[error("read the stream")]
    Read(#[source] io::Error),
    #[error("not a valid tar archive at byte {offset}: {what}")]
    Malformed { offset: u64, what: &'static str },
    #[error("entry type {type_name} at byte {offset} is not supported{cure}")]
    UnsupportedEntry { offset: u64, type_name: String, cure: &'static str },
}

/// A reader of one tar stream.
#[derive(Debug)]
pub(crate) struct TarReader<R> {
    input: R,
    offset: u64,
    payload_left: u64,
    padding_left: usize,
    raw: Vec<u8>,
}

/// What extension headers say about the entry after them.
#[derive(Debug, Default)]
struct Extensions {
    long_path: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
    pax: Pax,
}

#[derive(Debug, Default)]
struct Pax {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u64>,
    gid: Option<u64>,
    mtime: Option<TarTime>,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl<R: BufRead + Seek> TarReader<R> {
    /// Skips content without reading it.
    pub(crate) fn seek_past_payload(&mut self) -> Result<(), TarError> {
        let len = std::mem::take(&mut self.payload_left);
        let offset = i64::try_from(len).map_err(|_| TarError::Malformed { offset: self.offset, what: "the size of an entry" })?;
        self.input.seek_relative(offset).map_err(TarError::Read)?;
        self.offset += len;
        Ok(())
    }
}

impl<R: BufRead> TarReader<R> {
    pub(crate) fn new(input: R) -> Self {
        Self { input, offset: 0, payload_left: 0, padding_left: 0, raw: Vec::new() }
    }

    /// The stream itself.
    pub(crate) fn into_inner(self) -> R {
        self.input
    }

    /// Position in the stream, in bytes.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// All bytes that the last [`Self::next_entry`] passed: padding, extension headers and the header itself.
    pub(crate) fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// Goes on to the next entry. Content that was not consumed is skipped, and then is not part of [`Self::raw`].
    pub(crate) fn next_entry(&mut self) -> Result<Option<TarEntry>, TarError> {
        while self.payload_left > 0 {
            let len = self.payload()?.len();
            self.consume(len);
        }
        self.raw.clear();
        let padding = std::mem::take(&mut self.padding_left);
        self.read_raw(padding)?;

        let mut extensions = Extensions::default();
        loop {
            let Some(header) = self.header()? else { return Ok(None) };
            let kind = header[156];
            match kind {
                b'L' => extensions.long_path = Some(without_nul(self.extension_content(&header)?)),
                b'K' => extensions.long_link = Some(without_nul(self.extension_content(&header)?)),
                b'x' => {
                    let at = self.offset;
                    let content = self.extension_content(&header)?;
                    extensions.pax = parse_pax(&content).map_err(|what| TarError::Malformed { offset: at, what })?;
                }
                b'g' => {
                    self.extension_content(&header)?;
                    return Ok(Some(global_header()));
                }
                _ => return self.entry(&header, extensions).map(Some),
            }
        }
    }

    /// The next bytes of the content, empty at its end. Call [`Self::consume`] with how many were used.
    pub(crate) fn payload(&mut self) -> Result<&[u8], TarError> {
        if self.payload_left == 0 {
            return Ok(&[]);
        }
        let offset = self.offset;
        let buffer = self.input.fill_buf().map_err(TarError::Read)?;
        if buffer.is_empty() {
            return Err(TarError::Malformed { offset, what: "the archive ends within the content of a file" });
        }
        let len = usize::try_from(self.payload_left).map_or(buffer.len(), |left| buffer.len().min(left));
        Ok(&buffer[..len])
    }

    /// Marks `len` bytes of the content as used.
    pub(crate) fn consume(&mut self, len: usize) {
        self.input.consume(len);
        self.offset += len as u64;
        self.payload_left -= len as u64;
    }

    /// Passes all that follows the end of the archive to `each`, until the stream ends.
    pub(crate) fn drain(&mut self, mut each: impl FnMut(&[u8]) -> io::Result<()>) -> Result<(), TarError> {
        loop {
            let buffer = self.input.fill_buf().map_err(TarError::Read)?;
            if buffer.is_empty() {
                return Ok(());
            }
            each(buffer).map_err(TarError::Read)?;
            let len = buffer.len();
            self.input.consume(len);
            self.offset += len as u64;
        }
    }

    /// Reads a header block; `None` at the end of the archive, whose blocks of zeros are then in `raw`.
    fn header(&mut self) -> Result<Option<[u8; BLOCK_LEN]>, TarError> {
        let offset = self.offset;
        if self.input.fill_buf().map_err(TarError::Read)?.is_empty() {
            return Ok(None);
        }
        let header = self.block()?;
        if header.iter().any(|byte| *byte != 0) {
            return if has_checksum(&header) {
                Ok(Some(header))
            } else {
                Err(TarError::Malformed { offset, what: "the checksum of a header is wrong" })
            };
        }
        if self.input.fill_buf().map_err(TarError::Read)?.is_empty() {
            return Ok(None);
        }
        if self.block()?.iter().any(|byte| *byte != 0) {
            return Err(TarError::Malformed { offset, what: "a lone block of zeros between entries" });
        }
        Ok(None)
    }

    fn block(&mut self) -> Result<[u8; BLOCK_LEN], TarError> {
        let start = self.raw.len();
        self.read_raw(BLOCK_LEN)?;
        let mut block = [0; BLOCK_LEN];
        block.copy_from_slice(&self.raw[start..]);
        Ok(block)
    }

    /// Reads exactly `len` bytes to the end of `raw`.
    fn read_raw(&mut self, len: usize) -> Result<(), TarError> {
        if self.raw.len() + len > HEADER_LEN_MAX {
            return Err(TarError::Malformed { offset: self.offset, what: "the headers of one entry are longer than 1 MiB" });
        }
        let start = self.raw.len();
        self.raw.resize(start + len, 0);
        let offset = self.offset;
        self.input.read_exact(&mut self.raw[start..]).map_err(|error| {
            // Only the end of the stream itself, not one that a decoder tells of.
            let is_end = error.kind() == io::ErrorKind::UnexpectedEof && error.get_ref().is_none();
            if is_end { TarError::Malformed { offset, what: "the archive ends within a header" } } else { TarError::Read(error) }
        })?;
        self.offset += len as u64;
        Ok(())
    }

    /// Reads the content of an extension header (a long name, or PAX records).
    fn extension_content(&mut self, header: &[u8; BLOCK_LEN]) -> Result<Vec<u8>, TarError> {
        let size = self.number(&header[124..136], "the size of an extension header")?;
        let size = usize::try_from(size).ok().filter(|size| *size <= HEADER_LEN_MAX).unwrap_or(HEADER_LEN_MAX);
        let start = self.raw.len();
        self.read_raw(size)?;
        self.read_raw(padding_of(size as u64))?;
        Ok(self.raw[start..start + size].to_vec())
    }

    fn number(&self, field: &[u8], what: &'static str) -> Result<u64, TarError> {
        match parse_number(field) {
            Some(number) => u64::try_from(number).map_err(|_| TarError::Malformed { offset: self.offset, what }),
            None => Err(TarError::Malformed { offset: self.offset, what }),
        }
    }

    fn entry(&mut self, header: &[u8; BLOCK_LEN], extensions: Extensions) -> Result<TarEntry, TarError> {
        let Extensions { long_path, long_link, pax } = extensions;
        let path = pax.path.or(long_path).unwrap_or_else(|| header_path(header));
        let link = pax.link.or(long_link).unwrap_or_else(|| without_nul(header[157..257].to_vec()));
        let kind = self.kind(header[156], &path)?;
        let size = match pax.size {
            Some(size) => size,
            None => self.number(&header[124..136], "the size of an entry")?,
        };
        let size = if kind == TarKind::Regular { size } else { 0 };
        let is_device = matches!(kind, TarKind::CharDevice | TarKind::BlockDevice);
        let mtime = parse_number(&header[136..148]).map(|secs| TarTime { secs, nanos: 0 }).unwrap_or_default();
        let entry = TarEntry {
            kind,
            path,
            link,
            mode: (self.number(&header[100..108], "the mode of an entry")? & 0o7777) as u32,
            uid: pax.uid.map_or_else(|| self.number(&header[108..116], "the user id of an entry"), Ok)?,
            gid: pax.gid.map_or_else(|| self.number(&header[116..124], "the group id of an entry"), Ok)?,
            size,
            mtime: pax.mtime.unwrap_or(mtime),
            device: if is_device { (self.device_number(&header[329..337])?, self.device_number(&header[337..345])?) } else { (0, 0) },
            xattrs: pax.xattrs,
        };
        self.payload_left = size;
        self.padding_left = padding_of(size);
        Ok(entry)
    }

    fn device_number(&self, field: &[u8]) -> Result<u32, TarError> {
        let what = "the device number of an entry";
        u32::try_from(self.number(field, what)?).map_err(|_| TarError::Malformed { offset: self.offset, what })
    }

    fn kind(&self, type_flag: u8, path: &[u8]) -> Result<TarKind, TarError> {
        let (name, cure) = match type_flag {
            // Before there was a type for directories, they were files whose name ended in a slash.
            0 | b'0' | b'7' if path.ends_with(b"/") => return Ok(TarKind::Directory),
            0 | b'0' | b'7' => return Ok(TarKind::Regular),
            b'1' => return Ok(TarKind::HardLink),
            b'2' => return Ok(TarKind::Symlink),
            b'3' => return Ok(TarKind::CharDevice),
            b'4' => return Ok(TarKind::BlockDevice),
            b'5' => return Ok(TarKind::Directory),
            b'6' => return Ok(TarKind::Fifo),
            b'S' => ("'S' (sparse file)".to_owned(), ": make the archive without --sparse"),
            other => (format!("{:?}", char::from(other)), ""),
        };
        Err(TarError::UnsupportedEntry { offset: self.offset, type_name: name, cure })
    }
}

fn global_header() -> TarEntry {
    TarEntry {
        kind: TarKind::GlobalHeader,
        path: Vec::new(),
        link: Vec::new(),
        mode: 0,
        uid: 0,
        gid: 0,
        size: 0,
        mtime: TarTime::default(),
        device: (0, 0),
        xattrs: Vec::new(),
    }
}

/// Bytes from the end of content of this length to the next block.
pub(crate) fn padding_of(len: u64) -> usize {
    let over = (len % BLOCK_LEN as u64) as usize;
    if over == 0 { 0 } else { BLOCK_LEN - over }
}

/// Old writers summed up signed bytes, so both sums are right.
fn has_checksum(header: &[u8; BLOCK_LEN]) -> bool {
    let Some(stored) = parse_number(&header[148..156]) else { return false };
    let in_sum = |index: usize| if (148..156).contains(&index) { b' ' } else { header[index] };
    let unsigned: i64 = (0..BLOCK_LEN).map(|index| i64::from(in_sum(index))).sum();
    let signed: i64 = (0..BLOCK_LEN).map(|index| i64::from(in_sum(index).cast_signed())).sum();
    stored == unsigned || stored == signed
}

fn header_path(header: &[u8; BLOCK_LEN]) -> Vec<u8> {
    let name = without_nul(header[..100].to_vec());
    if &header[257..263] != b"ustar\0" {
        return name;
    }
    // The variant of `star` keeps times behind a shorter prefix.
    let prefix_end = if &header[508..512] == b"tar\0" { 476 } else { 500 };
    let mut path = without_nul(header[345..prefix_end].to_vec());
    if path.is_empty() {
        return name;
    }
    path.push(b'/');
    path.extend_from_slice(&name);
    path
}

fn without_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(end) = bytes.iter().position(|byte| *byte == 0) {
        bytes.truncate(end);
    }
    bytes
}

/// A numeric header field: octal text between spaces and NULs, or base 256 if the first bit is set. Empty is 0.
fn parse_number(field: &[u8]) -> Option<i64> {
    if field[0] & 0x80 != 0 {
        let mut value = i128::from(field[0] & 0x7f);
        if field[0] & 0x40 != 0 {
            value -= 0x80;
        }
        for byte in &field[1..] {
            value = value.checked_mul(256)? + i128::from(*byte);
        }
        return i64::try_from(value).ok();
    }
    let is_blank = |byte: &u8| matches!(byte, b' ' | 0);
    let mut value: i64 = 0;
    for byte in field.iter().skip_while(|byte| is_blank(byte)).take_while(|byte| !is_blank(byte)) {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit < 8)?;
        value = value.checked_mul(8)?.checked_add(i64::from(digit))?;
    }
    Some(value)
}

/// Reads PAX records, each `LENGTH KEY=VALUE\n`. An empty value means "as in the header".
fn parse_pax(content: &[u8]) -> Result<Pax, &'static str> {
    let mut pax = Pax::default();
    let mut rest = content;
    while !rest.is_empty() {
        let (key, value, next) = split_pax_record(rest).ok_or("a PAX record is malformed")?;
        rest = next;
        if key.starts_with(b"GNU.sparse.") {
            return Err("a sparse file, which is not supported: make the archive without --sparse");
        }
        if value.is_empty() {
            continue;
        }
        if let Some(name) = key.strip_prefix(XATTR_KEY_PREFIX) {
            pax.xattrs.push((name.to_vec(), value.to_vec()));
            continue;
        }
        match key {
            b"path" => pax.path = Some(text_without_nul(value)?),
            b"linkpath" => pax.link = Some(text_without_nul(value)?),
            b"size" => pax.size = Some(decimal(value).ok_or("the PAX record \"size\" is no number")?),
            b"uid" => pax.uid = Some(decimal(value).ok_or("the PAX record \"uid\" is no number")?),
            b"gid" => pax.gid = Some(decimal(value).ok_or("the PAX record \"gid\" is no number")?),
            b"mtime" => pax.mtime = Some(pax_time(value).ok_or("the PAX record \"mtime\" is no time")?),
            _ => {}
        }
    }
    Ok(pax)
}

fn split_pax_record(content: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = content.iter().position(|byte| *byte == b' ')?;
    let len = usize::try_from(decimal(&content[..space])?).ok()?;
    let record = content.get(space + 1..len)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|byte| *byte == b'=')?;
    Some((&record[..equals], &record[equals + 1..], &content[len..]))
}

fn text_without_nul(value: &[u8]) -> Result<Vec<u8>, &'static str> {
    if value.contains(&0) { Err("a PAX record holds a name with a NUL byte") } else { Ok(value.to_vec()) }
}

fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text[0] == b'+' {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn pax_time(value: &[u8]) -> Option<TarTime> {
    let text = std::str::from_utf8(value).ok()?;
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let secs = i64::try_from(decimal(whole.as_bytes())?).ok()?;
    let nanos: u32 = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
    Some(match (negative, nanos) {
        (false, _) => TarTime { secs, nanos },
        (true, 0) => TarTime { secs: -secs, nanos: 0 },
        (true, _) => TarTime { secs: -secs - 1, nanos: 1_000_000_000 - nanos },
    })
}

#[cfg(test)]
mod tests;
