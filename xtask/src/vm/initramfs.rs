//! An archive for the kernel to boot from: `cpio` in its `newc` form, written without a tool.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};

const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
const LINK: u32 = 0o120_000;
/// Names and contents begin at multiples of this.
const ALIGNMENT: usize = 4;

/// An archive that is being written. Folders come by themselves, and each path once: the first counts.
pub(crate) struct Initramfs {
    out: BufWriter<File>,
    written: BTreeSet<String>,
    inode: u32,
}

impl Initramfs {
    pub(crate) fn create(path: &Path) -> Result<Self> {
        let file = File::create(path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self { out: BufWriter::new(file), written: BTreeSet::new(), inode: 0 })
    }

    /// Adds a file of this machine at `to`, an absolute path.
    pub(crate) fn copy(&mut self, from: &Path, to: &str) -> Result<()> {
        let read = || Ok::<_, std::io::Error>((fs::read(from)?, fs::metadata(from)?.permissions().mode()));
        let (bytes, mode) = read().with_context(|| format!("cannot read {}", from.display()))?;
        self.file(to, mode & 0o7777, &bytes)
    }

    /// Adds a folder of this machine with everything in it.
    pub(crate) fn copy_tree(&mut self, from: &Path, to: &str) -> Result<()> {
        self.directory(to)?;
        for entry in fs::read_dir(from).with_context(|| format!("cannot list {}", from.display()))? {
            let entry = entry?;
            let to = format!("{to}/{}", entry.file_name().to_string_lossy());
            let kind = entry.file_type()?;
            if kind.is_dir() {
                self.copy_tree(&entry.path(), &to)?;
            } else if kind.is_symlink() {
                self.link(&to, &fs::read_link(entry.path())?.to_string_lossy())?;
            } else {
                self.copy(&entry.path(), &to)?;
            }
        }
        Ok(())
    }

    pub(crate) fn file(&mut self, path: &str, mode: u32, content: &[u8]) -> Result<()> {
        self.parents(path)?;
        self.entry(path, REGULAR | mode, content)
    }

    pub(crate) fn link(&mut self, path: &str, target: &str) -> Result<()> {
        self.parents(path)?;
        self.entry(path, LINK | 0o777, target.as_bytes())
    }

    pub(crate) fn directory(&mut self, path: &str) -> Result<()> {
        self.parents(path)?;
        self.entry(path, DIRECTORY | 0o755, b"")
    }

    /// Ends the archive.
    pub(crate) fn finish(mut self) -> Result<()> {
        self.header("TRAILER!!!", 0, 0)?;
        Ok(self.out.flush()?)
    }

    fn parents(&mut self, path: &str) -> Result<()> {
        let mut slashes: Vec<usize> = path.match_indices('/').map(|(at, _)| at).filter(|at| *at > 0).collect();
        slashes.sort_unstable();
        slashes.into_iter().try_for_each(|at| self.entry(&path[..at], DIRECTORY | 0o755, b""))
    }

    fn entry(&mut self, path: &str, mode: u32, content: &[u8]) -> Result<()> {
        let name = path.trim_start_matches('/');
        if !self.written.insert(name.to_owned()) {
            return Ok(());
        }
        self.header(name, mode, content.len())?;
        self.out.write_all(content)?;
        self.pad(content.len())
    }

    fn header(&mut self, name: &str, mode: u32, length: usize) -> Result<()> {
        self.inode += 1;
        let length = u32::try_from(length).with_context(|| format!("{name} is too large for an initramfs"))?;
        let name_length = u32::try_from(name.len() + 1)?;
        // Magic, inode, mode, owner, group, links, time, size, device and node numbers, name's length, checksum.
        let fields = [self.inode, mode, 0, 0, 1, 0, length, 0, 0, 0, 0, name_length, 0];
        write!(self.out, "070701")?;
        for field in fields {
            write!(self.out, "{field:08x}")?;
        }
        self.out.write_all(name.as_bytes())?;
        self.out.write_all(&[0])?;
        self.pad("070701".len() + fields.len() * 8 + name.len() + 1)
    }

    fn pad(&mut self, written: usize) -> Result<()> {
        Ok(self.out.write_all(&[0; ALIGNMENT][..written.next_multiple_of(ALIGNMENT) - written])?)
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn what_is_packed_another_cpio_unpacks() {
        if !Path::new("/bin/busybox").exists() {
            eprintln!("SKIP what_is_packed_another_cpio_unpacks: needs /bin/busybox");
            return;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let archive = folder.path().join("archive");
        let mut initramfs = Initramfs::create(&archive).expect("made");
        initramfs.file("/a/b/odd", 0o755, b"12345").expect("written");
        initramfs.file("/a/b/odd", 0o644, b"the first counts").expect("written");
        initramfs.link("/a/link", "b/odd").expect("written");
        initramfs.directory("/empty").expect("written");
        initramfs.finish().expect("written");
        let unpacked = folder.path().join("unpacked");
        fs::create_dir(&unpacked).expect("made");
        let mut cpio = Command::new("/bin/busybox");
        cpio.args(["cpio", "-idm"]).current_dir(&unpacked).stdin(File::open(&archive).expect("there")).stderr(Stdio::null());
        assert!(cpio.status().expect("busybox runs").success());
        assert_eq!(fs::read(unpacked.join("a/link")).expect("through the link"), b"12345");
        assert_eq!(fs::metadata(unpacked.join("a/b/odd")).expect("there").permissions().mode() & 0o777, 0o755);
        assert!(unpacked.join("empty").is_dir());
    }
}
