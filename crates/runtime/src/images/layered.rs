//! Looks into an image through its layers, as overlayfs would show it, without a mount.
//!
//! For the few small files that have to be read before a container exists (`/etc/passwd`, `/etc/group`), and to find which
//! layer a directory has its attributes from. Read only. Symbolic links end at the image's root, as in a container;
//! nothing outside the layers is ever opened.

use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::unpack::{OPAQUE_XATTR, is_whiteout};

/// Most symbolic links followed on the way to one path, as in the kernel.
const SYMLINKS_MAX: usize = 40;
/// Most components of one path, with those that links bring in.
const COMPONENTS_MAX: usize = 4096;

/// The layers of an image, seen as one tree.
#[derive(Debug)]
pub(crate) struct LayeredRoot {
    layers: Vec<OwnedFd>,
}

/// The directories that overlayfs would merge into one, top first, each with the number of its layer.
pub(crate) type MergedDirectory = Vec<(usize, OwnedFd)>;

/// What is at a path. Only the topmost object counts, unless all are directories.
#[derive(Debug)]
enum Found {
    Nothing,
    Directory(MergedDirectory),
    Symlink(Vec<u8>),
    File(OwnedFd),
    Special,
}

impl LayeredRoot {
    /// Opens the layers, top first.
    pub(crate) fn open<P: AsRef<Path>>(layers: &[P]) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = |path: &P| rustix::fs::openat(CWD, path.as_ref(), flags, Mode::empty());
        Ok(Self { layers: layers.iter().map(open).collect::<Result<_, _>>()? })
    }

    /// The directories that make up the one at the clean path `path`, if it is one. No symbolic link is followed.
    pub(crate) fn directory(&self, path: &[u8]) -> io::Result<Option<MergedDirectory>> {
        let mut here = self.root()?;
        for component in path.split(|byte| *byte == b'/').filter(|component| !component.is_empty()) {
            match child(&here, component)? {
                Found::Directory(directory) => here = directory,
                Found::Nothing | Found::Symlink(_) | Found::File(_) | Found::Special => return Ok(None),
            }
        }
        Ok(Some(here))
    }

    /// Reads the regular file at `path`, following symbolic links; `None` if there is nothing. Longer than `len_max` bytes
    /// is an error.
    pub(crate) fn read_file(&self, path: &str, len_max: u64) -> io::Result<Option<Vec<u8>>> {
        match self.find_file(path)? {
            Some((_, file)) => read_bounded(file, len_max).map(Some),
            None => Ok(None),
        }
    }

    /// Opens the regular file at `path`, following symbolic links, and gives its path without them; `None` if there is
    /// nothing.
    pub(crate) fn find_file(&self, path: &str) -> io::Result<Option<(Vec<u8>, OwnedFd)>> {
        let mut stack: Vec<(Vec<u8>, MergedDirectory)> = Vec::new();
        let mut todo: Vec<Vec<u8>> = components(path.as_bytes());
        let (mut symlinks_left, mut components_left) = (SYMLINKS_MAX, COMPONENTS_MAX);
        let root = self.root()?;
        while let Some(component) = todo.pop() {
            components_left = components_left.checked_sub(1).ok_or(Errno::NAMETOOLONG)?;
            if component == b".." {
                stack.pop();
                continue;
            }
            match child(stack.last().map_or(&root, |(_, directory)| directory), &component)? {
                Found::Nothing => return Ok(None),
                Found::Directory(directory) => stack.push((component, directory)),
                Found::Symlink(target) => {
                    symlinks_left = symlinks_left.checked_sub(1).ok_or(Errno::LOOP)?;
                    if target.starts_with(b"/") {
                        stack.clear();
                    }
                    todo.extend(components(&target));
                }
                Found::File(file) if todo.is_empty() => {
                    let names = stack.iter().map(|(name, _)| name).chain([&component]);
                    let real = names.flat_map(|name| [b"/".as_slice(), name.as_slice()].concat()).collect();
                    return Ok(Some((real, file)));
                }
                Found::File(_) | Found::Special => return Err(Errno::NOTDIR.into()),
            }
        }
        Err(Errno::ISDIR.into())
    }

    fn root(&self) -> io::Result<MergedDirectory> {
        let clone = |(number, layer): (usize, &OwnedFd)| Ok((number, layer.as_fd().try_clone_to_owned()?));
        self.layers.iter().enumerate().map(clone).collect()
    }
}

/// Components of a path, last one first.
fn components(path: &[u8]) -> Vec<Vec<u8>> {
    path.split(|byte| *byte == b'/').filter(|component| !matches!(*component, b"" | b".")).rev().map(<[u8]>::to_vec).collect()
}

/// What overlayfs shows as `name` in a merged directory.
fn child(directories: &MergedDirectory, name: &[u8]) -> io::Result<Found> {
    let mut merged = MergedDirectory::new();
    for (number, directory) in directories {
        let stat = match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT | Errno::NAMETOOLONG) => continue,
            stat => stat?,
        };
        let kind = FileType::from_raw_mode(stat.st_mode);
        if is_whiteout(&stat) || (kind != FileType::Directory && !merged.is_empty()) {
            break;
        }
        match kind {
            FileType::Directory => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let opened = rustix::fs::openat(directory, name, flags, Mode::empty())?;
                let is_opaque = is_opaque(&opened)?;
                merged.push((*number, opened));
                if is_opaque {
                    break;
                }
            }
            FileType::Symlink => return Ok(Found::Symlink(rustix::fs::readlinkat(directory, name, Vec::new())?.into_bytes())),
            FileType::RegularFile => {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
                return Ok(Found::File(rustix::fs::openat(directory, name, flags, Mode::empty())?));
            }
            FileType::Fifo | FileType::Socket | FileType::CharacterDevice | FileType::BlockDevice | FileType::Unknown => {
                return Ok(Found::Special);
            }
        }
    }
    Ok(if merged.is_empty() { Found::Nothing } else { Found::Directory(merged) })
}

fn is_opaque(directory: &OwnedFd) -> io::Result<bool> {
    let mut value = [0; 1];
    match rustix::fs::fgetxattr(directory, OPAQUE_XATTR, &mut value) {
        Ok(len) => Ok(len == 1 && value == *b"y"),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(false),
        Err(Errno::RANGE) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn read_bounded(file: OwnedFd, len_max: u64) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    std::fs::File::from(file).take(len_max + 1).read_to_end(&mut content)?;
    if content.len() as u64 > len_max {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("the file is longer than {len_max} bytes")));
    }
    Ok(content)
}

#[cfg(test)]
mod tests;
