//! Layers made by hand, also such as no honest tool would write.

use std::io::Write;

/// Builds a tar stream entry by entry.
#[derive(Debug, Default, Clone)]
pub(crate) struct LayerBuilder {
    stream: Vec<u8>,
}

impl LayerBuilder {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn file(self, path: &str, content: impl AsRef<[u8]>) -> Self {
        self.entry(b'0', path, "", 0o644, content.as_ref())
    }

    pub(crate) fn dir(self, path: &str) -> Self {
        self.entry(b'5', path, "", 0o755, b"")
    }

    pub(crate) fn symlink(self, path: &str, target: &str) -> Self {
        self.entry(b'2', path, target, 0o777, b"")
    }

    pub(crate) fn hard_link(self, path: &str, target: &str) -> Self {
        self.entry(b'1', path, target, 0o644, b"")
    }

    pub(crate) fn entry(self, kind: u8, path: &str, link: &str, mode: u32, content: &[u8]) -> Self {
        self.owned_entry(kind, path, link, mode, (0, 0), content)
    }

    pub(crate) fn owned_entry(mut self, kind: u8, path: &str, link: &str, mode: u32, (uid, gid): (u32, u32), content: &[u8]) -> Self {
        if path.len() > 100 {
            self.header(b'L', "././@LongLink", "", 0o644, (0, 0), path.len());
            self.content(path.as_bytes());
        }
        self.header(kind, &path[..path.len().min(100)], link, mode, (uid, gid), content.len());
        self.content(content);
        self
    }

    /// PAX records for the entry that follows.
    pub(crate) fn pax(mut self, records: &[(&str, &[u8])]) -> Self {
        let mut content = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let mut len = rest + 1;
            while len != rest + len.to_string().len() {
                len = rest + len.to_string().len();
            }
            write!(content, "{len} {key}=").expect("writing to memory");
            content.extend_from_slice(value);
            content.push(b'\n');
        }
        self.header(b'x', "pax", "", 0o644, (0, 0), content.len());
        self.content(&content);
        self
    }

    /// A device: type `3` (character) or `4` (block).
    pub(crate) fn device(mut self, kind: u8, path: &str, (major, minor): (u32, u32)) -> Self {
        let start = self.stream.len();
        self.header(kind, path, "", 0o600, (0, 0), 0);
        let header = &mut self.stream[start..];
        header[329..337].copy_from_slice(format!("{major:07o}\0").as_bytes());
        header[337..345].copy_from_slice(format!("{minor:07o}\0").as_bytes());
        set_checksum(header);
        self
    }

    /// The stream with the two blocks that end it.
    pub(crate) fn build(mut self) -> Vec<u8> {
        self.stream.resize(self.stream.len() + 1024, 0);
        self.stream
    }

    pub(crate) fn build_gzip(self) -> Vec<u8> {
        gzip(&self.build())
    }

    fn header(&mut self, kind: u8, path: &str, link: &str, mode: u32, (uid, gid): (u32, u32), size: usize) {
        let mut header = [0; 512];
        header[..path.len()].copy_from_slice(path.as_bytes());
        header[100..108].copy_from_slice(format!("{mode:07o}\0").as_bytes());
        header[108..116].copy_from_slice(format!("{uid:07o}\0").as_bytes());
        header[116..124].copy_from_slice(format!("{gid:07o}\0").as_bytes());
        header[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
        header[136..148].copy_from_slice(format!("{:011o}\0", 1_700_000_000).as_bytes());
        header[156] = kind;
        header[157..157 + link.len()].copy_from_slice(link.as_bytes());
        header[257..265].copy_from_slice(b"ustar\x0000");
        set_checksum(&mut header);
        self.stream.extend_from_slice(&header);
    }

    fn content(&mut self, content: &[u8]) {
        self.stream.extend_from_slice(content);
        self.stream.resize(self.stream.len().next_multiple_of(512), 0);
    }
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("writing to memory");
    encoder.finish().expect("writing to memory")
}

fn set_checksum(header: &mut [u8]) {
    header[148..156].copy_from_slice(b"        ");
    let sum: u32 = header[..512].iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}
