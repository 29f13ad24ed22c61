//! Attributes of directories that a layer has no entry for.
//!
//! A layer may put a file into a directory without saying anything about the directory. Then the directory exists in the
//! unpacked layer, with made-up attributes, and overlayfs would show those instead of the ones a lower layer gave it:
//! `/tmp` would lose its 1777. Layers are kept once for all images, so the cure is kept with the image: one more layer
//! on top, of empty directories with the attributes that count. Most images need none.
//! Invariant: such a layer never hides anything; it has no files, whiteouts or opaque marks.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use super::lock::FileLock;
use super::temp::TempDir;
use super::{ImageStore, StoreError};
use crate::images::digest::Digest;
use crate::images::layered::{LayeredRoot, MergedDirectory};
use crate::images::unpack::unescape_path;

/// Largest extended attribute that Linux allows, and largest list of their names.
const XATTR_LEN_MAX: usize = 64 * 1024;

/// Directories without an entry, by layer: numbers as in [`LayeredRoot`], top first.
struct Implied(Vec<BTreeSet<Vec<u8>>>);

impl ImageStore {
    /// The directory of an image's layer of attributes, whether or not it exists.
    pub(super) fn parents_dir(&self, id: &Digest) -> PathBuf {
        self.dir("parents").join(id.algorithm().as_str()).join(id.hex())
    }

    /// All images that have a layer of attributes.
    pub(super) fn all_parents(&self) -> Result<Vec<Digest>, StoreError> {
        super::list_digests(&self.dir("parents"))
    }

    /// Builds the layer of attributes for a stack of layers (bottom first) in `temp`, if it needs one. A stack without any
    /// layer gets an empty one, since overlayfs cannot stack nothing.
    pub(super) fn build_parents(&self, layers: &[Digest], temp: &TempDir) -> Result<Option<PathBuf>, StoreError> {
        let (mut directories, mut implied) = (Vec::new(), Vec::new());
        for diff_id in layers.iter().rev() {
            let Some(stored) = self.stored_layer(diff_id)? else {
                let missing = io::Error::from(io::ErrorKind::NotFound);
                return Err(StoreError::io("read layer", &self.layer_dir(diff_id), missing));
            };
            directories.push(self.lower_dir(diff_id));
            implied.push(stored.layer.implied.iter().map(|path| unescape_path(path)).collect::<BTreeSet<_>>());
            if stored.layer.root_is_opaque {
                break;
            }
        }
        let target = temp.path().join("parents");
        let io_error = |source| StoreError::io("set directory attributes beneath", &target, source);
        if directories.is_empty() {
            fs::create_dir(&target).map_err(io_error)?;
            return Ok(Some(target));
        }
        let needed = needed_directories(&LayeredRoot::open(&directories).map_err(io_error)?, &Implied(implied)).map_err(io_error)?;
        if needed.is_empty() {
            return Ok(None);
        }
        fs::create_dir(&target).map_err(io_error)?;
        copy_directories(&needed, &target).map_err(io_error)?;
        Ok(Some(target))
    }

    /// Puts the layer of attributes in its place.
    pub(super) fn publish_parents(&self, _lock: &FileLock, id: &Digest, built: &Path) -> Result<(), StoreError> {
        let target = self.parents_dir(id);
        let io_error = |source| StoreError::io("make", &target, source);
        // One that is there already is the same, and may be in use by a mount.
        if target.exists() {
            return Ok(());
        }
        fs::create_dir_all(target.parent().unwrap_or(&target)).map_err(io_error)?;
        fs::rename(built, &target).map_err(io_error)
    }
}

/// The directories that the layer of attributes has to have, and for each one that has the attributes.
fn needed_directories(root: &LayeredRoot, implied: &Implied) -> io::Result<BTreeMap<Vec<u8>, OwnedFd>> {
    let mut needed = BTreeMap::new();
    let paths: BTreeSet<&Vec<u8>> = implied.0.iter().flatten().collect();
    for path in paths {
        let Some(merged) = root.directory(path)? else { continue };
        let is_open = merged.first().is_some_and(|(layer, _)| implied.0[*layer].contains(path));
        if !is_open || !merged.iter().any(|(layer, _)| !implied.0[*layer].contains(path)) {
            continue;
        }
        // A directory in the topmost layer speaks for all of its ancestors too.
        let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(index, _)| &path[..index]);
        for ancestor in std::iter::once(&b""[..]).chain(slashes).chain(std::iter::once(path.as_slice())) {
            if !needed.contains_key(ancestor)
                && let Some(merged) = root.directory(ancestor)?
                && let Some(speaker) = speaker(merged, ancestor, implied)
            {
                needed.insert(ancestor.to_vec(), speaker);
            }
        }
    }
    Ok(needed)
}

/// The directory whose attributes count: the topmost with an entry of its own, else the topmost.
fn speaker(merged: MergedDirectory, path: &[u8], implied: &Implied) -> Option<OwnedFd> {
    let position = merged.iter().position(|(layer, _)| !implied.0[*layer].contains(path)).unwrap_or_default();
    merged.into_iter().nth(position).map(|(_, directory)| directory)
}

fn copy_directories(needed: &BTreeMap<Vec<u8>, OwnedFd>, target: &Path) -> io::Result<()> {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    // Parents come before children in the order of paths, and get their times after them.
    let at = |path: &[u8]| target.join(OsStr::from_bytes(path));
    for path in needed.keys().filter(|path| !path.is_empty()) {
        fs::create_dir(at(path))?;
    }
    for (path, source) in needed.iter().rev() {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let copy = rustix::fs::openat(rustix::fs::CWD, at(path), flags, Mode::empty())?;
        copy_attributes(source, &copy)?;
    }
    Ok(())
}

/// Gives directory `to` owner, attributes, mode and times of directory `from`, without those that speak to overlayfs.
pub(crate) fn copy_attributes(from: &OwnedFd, to: &OwnedFd) -> io::Result<()> {
    let stat = rustix::fs::fstat(from)?;
    rustix::fs::fchown(to, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?;
    for name in xattr_names(from)? {
        if name.starts_with(b"trusted.") || name.starts_with(b"user.overlay.") {
            continue;
        }
        let mut value = vec![0; XATTR_LEN_MAX];
        let len = rustix::fs::fgetxattr(from, name.as_slice(), &mut value)?;
        rustix::fs::fsetxattr(to, name.as_slice(), &value[..len], XattrFlags::empty())?;
    }
    rustix::fs::fchmod(to, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
    let mtime = Timespec { tv_sec: stat.st_mtime, tv_nsec: i64::try_from(stat.st_mtime_nsec).unwrap_or_default() };
    Ok(rustix::fs::futimens(to, &Timestamps { last_access: mtime, last_modification: mtime })?)
}

fn xattr_names(directory: &OwnedFd) -> io::Result<Vec<Vec<u8>>> {
    let mut names = vec![0; XATTR_LEN_MAX];
    let len = match rustix::fs::flistxattr(directory, &mut names) {
        Err(Errno::OPNOTSUPP) => 0,
        len => len?,
    };
    Ok(names[..len].split(|byte| *byte == 0).filter(|name| !name.is_empty()).map(<[u8]>::to_vec).collect())
}
