//! Writes the entries of a layer as files, and its whiteouts as overlayfs understands them.
//!
//! Whiteouts speak of lower layers only: `.wh.x` becomes a character device 0:0 at `x`, `.wh..wh..opq` an attribute of its
//! directory, and neither touches what this layer itself has there, in whichever order they come. An entry that
//! replaces an earlier one of the same layer moves it aside, see [`super::recipe`].

use std::fs::File;
use std::io::{self, BufRead, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags, makedev};
use rustix::io::Errno;
use tracing::debug;

use super::path::{EntryPathError, clean_path, escape_path, split_path};
use super::recipe::RecipeWriter;
use super::root::{LayerRoot, is_whiteout, set_opaque};
use super::tar::{TarEntry, TarKind, TarReader, TarTime};
use super::{DISPLACED_DIR, Digest, FILES_DIR, UnpackLayerError, UnpackedLayer};

const WHITEOUT_PREFIX: &[u8] = b".wh.";
/// Names of AUFS's own files, which some old images have. Only the opaque mark among them means something.
const WHITEOUT_META_PREFIX: &[u8] = b".wh..wh.";
const OPAQUE_MARK: &[u8] = b".wh..wh..opq";

/// Puts entries into a layer's directory.
#[derive(Debug)]
pub(super) struct EntryWriter {
    root: LayerRoot,
    displaced: OwnedFd,
    displaced_count: u32,
    recipe: RecipeWriter,
    entry: u64,
    /// Times of directories are set last, since every file put into one changes them.
    directory_times: Vec<(Vec<u8>, TarTime)>,
    root_is_implied: bool,
    root_is_opaque: bool,
}

/// What stood where an entry goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cleared {
    Nothing,
    Whiteout,
    Replaced,
}

impl EntryWriter {
    /// Makes the directories beneath `into`.
    pub(super) fn begin(into: &Path, recipe: RecipeWriter) -> Result<Self, UnpackLayerError> {
        let create = || {
            for name in [FILES_DIR, DISPLACED_DIR] {
                rustix::fs::mkdir(into.join(name), Mode::from_raw_mode(0o755))?;
            }
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let displaced = rustix::fs::openat(CWD, into.join(DISPLACED_DIR), flags, Mode::empty())?;
            let mut root = LayerRoot::open(&into.join(FILES_DIR))?;
            let writable = open_readable(root.directory(b"")?)?;
            rustix::fs::fchmod(&writable, Mode::from_raw_mode(0o755))?;
            Ok((root, displaced))
        };
        let (root, displaced) = create().map_err(|source: io::Error| UnpackLayerError::write("make the directory", b"", source))?;
        Ok(Self {
            root,
            displaced,
            displaced_count: 0,
            recipe,
            entry: 0,
            directory_times: Vec::new(),
            root_is_implied: true,
            root_is_opaque: false,
        })
    }

    /// Records bytes of the stream that are not the content of a file.
    pub(super) fn write_raw(&mut self, bytes: &[u8]) -> Result<(), UnpackLayerError> {
        self.recipe.literal(bytes).map_err(|source| UnpackLayerError::write("write the recipe for", b"", source))
    }

    /// Puts one entry in its place, with its content from `reader`.
    pub(super) fn write_entry<R: BufRead>(&mut self, entry: &TarEntry, reader: &mut TarReader<R>) -> Result<(), UnpackLayerError> {
        let refuse = |reason| UnpackLayerError::EntryPath { path: escape_path(&entry.path), reason };
        let path = clean_path(&entry.path).map_err(refuse)?;
        self.write_at(&path, entry, reader)?;
        self.entry += 1;
        Ok(())
    }

    fn write_at<R: BufRead>(&mut self, path: &[u8], entry: &TarEntry, reader: &mut TarReader<R>) -> Result<(), UnpackLayerError> {
        let refuse = |reason| UnpackLayerError::Entry { path: escape_path(&entry.path), reason };
        let write_error = |action| move |source: io::Error| UnpackLayerError::write(action, &entry.path, source);
        if path.is_empty() {
            if entry.kind != TarKind::Directory {
                return Err(refuse("the root file system has to be a directory"));
            }
            self.root_is_implied = false;
            return self.finish_directory(path, entry).map_err(write_error("set the attributes of"));
        }
        let (parent, name) = split_path(path);
        if parent.split(|byte| *byte == b'/').any(|component| component.starts_with(WHITEOUT_META_PREFIX)) {
            return self.keep_content_in_recipe(reader);
        }
        if parent.split(|byte| *byte == b'/').any(|component| component.starts_with(WHITEOUT_PREFIX)) {
            return Err(refuse("a whiteout cannot be a directory"));
        }
        if name == OPAQUE_MARK {
            self.keep_content_in_recipe(reader)?;
            self.root_is_opaque |= parent.is_empty();
            let make_opaque = |root: &mut LayerRoot| set_opaque(open_readable(root.directory(parent)?)?.as_fd());
            return make_opaque(&mut self.root).map_err(write_error("hide lower layers by"));
        }
        if name.starts_with(WHITEOUT_META_PREFIX) {
            return self.keep_content_in_recipe(reader);
        }
        if let Some(hidden) = name.strip_prefix(WHITEOUT_PREFIX) {
            if matches!(hidden, b"" | b"." | b"..") {
                return Err(refuse("a whiteout has to name a file of its own directory"));
            }
            self.keep_content_in_recipe(reader)?;
            return self.write_whiteout(parent, hidden).map_err(write_error("hide a file of lower layers by"));
        }
        match entry.kind {
            TarKind::Regular => self.write_regular(path, entry, reader),
            TarKind::Directory => self.write_directory(path, entry).map_err(write_error("make directory")),
            TarKind::Symlink => self.write_symlink(path, entry).map_err(write_error("make symbolic link")),
            TarKind::HardLink => self.write_hard_link(path, entry),
            TarKind::CharDevice | TarKind::BlockDevice => self.write_node(path, entry).map_err(write_error("make device")),
            TarKind::Fifo => self.write_node(path, entry).map_err(write_error("make fifo")),
            TarKind::GlobalHeader => Ok(()),
        }
    }

    fn write_whiteout(&mut self, parent: &[u8], name: &[u8]) -> io::Result<()> {
        let directory = self.root.directory(parent)?;
        match rustix::fs::mknodat(directory, name, FileType::CharacterDevice, Mode::empty(), 0) {
            // This layer has something of that name itself. A file hides a lower one anyway; a directory has to be told.
            Err(Errno::EXIST) => {
                let stat = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
                if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                    set_opaque(open_child(directory, name)?.as_fd())?;
                }
                Ok(())
            }
            made => Ok(made?),
        }
    }

    fn write_regular<R: BufRead>(&mut self, path: &[u8], entry: &TarEntry, reader: &mut TarReader<R>) -> Result<(), UnpackLayerError> {
        let write_error = |source: io::Error| UnpackLayerError::write("write file", &entry.path, source);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let create = |directory: BorrowedFd<'_>, name: &[u8]| rustix::fs::openat(directory, name, flags, Mode::from_raw_mode(0o600));
        let (file, _) = self.create(path, create).map_err(write_error)?;
        let mut file = File::from(file);
        if entry.size > 0 {
            self.recipe.file(self.entry, entry.size, path).map_err(write_error)?;
        }
        loop {
            let bytes = reader.payload().map_err(UnpackLayerError::from_tar)?;
            if bytes.is_empty() {
                break;
            }
            file.write_all(bytes).map_err(write_error)?;
            let len = bytes.len();
            reader.consume(len);
        }
        let set_attributes = || {
            set_owner_and_mode(file.as_fd(), entry)?;
            Ok(rustix::fs::futimens(&file, &timestamps(entry.mtime))?)
        };
        set_attributes().map_err(write_error)
    }

    fn write_directory(&mut self, path: &[u8], entry: &TarEntry) -> io::Result<()> {
        let (parent, name) = split_path(path);
        let directory = self.root.directory(parent)?;
        match rustix::fs::mkdirat(directory, name, Mode::from_raw_mode(0o700)) {
            Err(Errno::EXIST) => {
                let stat = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
                if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
                    let make = |directory: BorrowedFd<'_>, name: &[u8]| rustix::fs::mkdirat(directory, name, Mode::from_raw_mode(0o700));
                    let ((), cleared) = self.create(path, make)?;
                    if cleared == Cleared::Whiteout {
                        let directory = self.root.directory(parent)?;
                        set_opaque(open_child(directory, name)?.as_fd())?;
                    }
                }
            }
            made => made?,
        }
        self.finish_directory(path, entry)
    }

    fn finish_directory(&mut self, path: &[u8], entry: &TarEntry) -> io::Result<()> {
        let directory = if path.is_empty() {
            open_readable(self.root.directory(b"")?)?
        } else {
            let (parent, name) = split_path(path);
            open_child(self.root.directory(parent)?, name)?
        };
        self.root.make_explicit(directory.as_fd())?;
        self.directory_times.push((path.to_vec(), entry.mtime));
        set_owner_and_mode(directory.as_fd(), entry)
    }

    fn write_symlink(&mut self, path: &[u8], entry: &TarEntry) -> io::Result<()> {
        self.create(path, |directory, name| rustix::fs::symlinkat(entry.link.as_slice(), directory, name))?;
        self.finish_unopened(path, entry)
    }

    fn write_node(&mut self, path: &[u8], entry: &TarEntry) -> io::Result<()> {
        let kind = match entry.kind {
            TarKind::CharDevice => FileType::CharacterDevice,
            TarKind::BlockDevice => FileType::BlockDevice,
            TarKind::Fifo | TarKind::Regular | TarKind::HardLink | TarKind::Symlink | TarKind::Directory | TarKind::GlobalHeader => {
                FileType::Fifo
            }
        };
        let device = makedev(entry.device.0, entry.device.1);
        self.create(path, |directory, name| rustix::fs::mknodat(directory, name, kind, Mode::from_raw_mode(0o600), device))?;
        let (parent, name) = split_path(path);
        self.finish_unopened(path, entry)?;
        Ok(rustix::fs::chmodat(self.root.directory(parent)?, name, Mode::from_raw_mode(entry.mode), AtFlags::empty())?)
    }

    fn write_hard_link(&mut self, path: &[u8], entry: &TarEntry) -> Result<(), UnpackLayerError> {
        let names = || (escape_path(&entry.path), escape_path(&entry.link));
        let refuse = |reason| {
            let (path, target) = names();
            UnpackLayerError::HardLinkPath { path, target, reason }
        };
        let target = clean_path(&entry.link).map_err(refuse)?;
        if target.is_empty() {
            return Err(refuse(EntryPathError::Escapes));
        }
        if target == path {
            return Ok(());
        }
        let (target_parent, target_name) = split_path(&target);
        self.root
            .find_directory(target_parent)
            .map_err(io::Error::from)
            .and_then(|target_directory| {
                self.create(path, |directory, name| rustix::fs::linkat(&target_directory, target_name, directory, name, AtFlags::empty()))
            })
            .map(|_| ())
            .map_err(|source| {
                let (path, target) = names();
                UnpackLayerError::HardLink { path, target, source }
            })
    }

    /// Owner and time of what cannot be opened without an effect.
    fn finish_unopened(&mut self, path: &[u8], entry: &TarEntry) -> io::Result<()> {
        let (parent, name) = split_path(path);
        let directory = self.root.directory(parent)?;
        let (uid, gid) = owner(entry)?;
        rustix::fs::chownat(directory, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(rustix::fs::utimensat(directory, name, &timestamps(entry.mtime), AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// Makes an object by `make`, which has to fail if there is one; then moves that one out of the way.
    fn create<T>(&mut self, path: &[u8], make: impl Fn(BorrowedFd<'_>, &[u8]) -> rustix::io::Result<T>) -> io::Result<(T, Cleared)> {
        let (parent, name) = split_path(path);
        match make(self.root.directory(parent)?, name) {
            Err(Errno::EXIST) => {}
            made => return Ok((made?, Cleared::Nothing)),
        }
        let cleared = self.clear(path)?;
        Ok((make(self.root.directory(parent)?, name)?, cleared))
    }

    fn clear(&mut self, path: &[u8]) -> io::Result<Cleared> {
        let (parent, name) = split_path(path);
        let directory = self.root.directory(parent)?;
        if is_whiteout(&rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?) {
            rustix::fs::unlinkat(directory, name, AtFlags::empty())?;
            return Ok(Cleared::Whiteout);
        }
        let number = self.displaced_count;
        rustix::fs::renameat(directory, name, &self.displaced, number.to_string())?;
        self.displaced_count = number.checked_add(1).ok_or(Errno::OVERFLOW)?;
        self.recipe.displaced(self.entry, path)?;
        self.root.forget();
        Ok(Cleared::Replaced)
    }

    /// Content of an entry that becomes no file: nobody asks for it, but the stream cannot be put together without it.
    fn keep_content_in_recipe<R: BufRead>(&mut self, reader: &mut TarReader<R>) -> Result<(), UnpackLayerError> {
        loop {
            let bytes = reader.payload().map_err(UnpackLayerError::from_tar)?;
            if bytes.is_empty() {
                return Ok(());
            }
            self.recipe.literal(bytes).map_err(|source| UnpackLayerError::write("write the recipe for", b"", source))?;
            let len = bytes.len();
            reader.consume(len);
        }
    }

    /// Sets the times of directories and closes the recipe.
    pub(super) fn finish(mut self, diff_id: Digest, tar_bytes: u64, entries: u64) -> Result<UnpackedLayer, UnpackLayerError> {
        for (path, mtime) in std::mem::take(&mut self.directory_times) {
            match self.root.find_directory_itself(&path) {
                // Replaced by something else later in the layer.
                Err(Errno::NOENT | Errno::NOTDIR) => {}
                Ok(directory) => set_directory_time(&directory, mtime)
                    .map_err(|source| UnpackLayerError::write("set the time of directory", &path, source))?,
                Err(error) => return Err(UnpackLayerError::write("open directory", &path, error.into())),
            }
        }
        let mut implied = self.root.implied_paths();
        for path in &implied {
            if let Ok(directory) = self.root.find_directory_itself(path) {
                set_directory_time(&directory, TarTime::default())
                    .map_err(|source| UnpackLayerError::write("set the time of directory", path, source))?;
            }
        }
        if self.root_is_implied {
            implied.insert(0, Vec::new());
        }
        self.recipe.finish().map_err(|source| UnpackLayerError::write("write the recipe for", b"", source))?;
        Ok(UnpackedLayer {
            diff_id,
            tar_bytes,
            entries,
            root_is_opaque: self.root_is_opaque,
            implied: implied.iter().map(|path| escape_path(path)).collect(),
            displaced: self.displaced_count,
        })
    }
}

fn open_readable(directory: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    Ok(rustix::fs::openat(directory, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

fn open_child(directory: BorrowedFd<'_>, name: &[u8]) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(directory, name, flags, Mode::empty())?)
}

/// Sets owner, extended attributes and mode, in this order: a change of owner clears the bits and capabilities that give
/// rights away.
fn set_owner_and_mode(file: BorrowedFd<'_>, entry: &TarEntry) -> io::Result<()> {
    let (uid, gid) = owner(entry)?;
    rustix::fs::fchown(file, Some(uid), Some(gid))?;
    for (name, value) in &entry.xattrs {
        if !is_kept_xattr(name) {
            debug!(path = %escape_path(&entry.path), name = %escape_path(name), "extended attribute left out");
            continue;
        }
        match rustix::fs::fsetxattr(file, name.as_slice(), value, XattrFlags::empty()) {
            Err(Errno::OPNOTSUPP) => debug!(path = %escape_path(&entry.path), "the file system has no such extended attributes"),
            set => set?,
        }
    }
    Ok(rustix::fs::fchmod(file, Mode::from_raw_mode(entry.mode))?)
}

/// Attributes that an image may set. `trusted.` and `user.overlay.` would speak to overlayfs, other `security.` ones to
/// the host's security modules.
fn is_kept_xattr(name: &[u8]) -> bool {
    let is_user = name.starts_with(b"user.") && !name.starts_with(b"user.overlay.");
    is_user || matches!(name, b"security.capability" | b"system.posix_acl_access" | b"system.posix_acl_default")
}

fn owner(entry: &TarEntry) -> io::Result<(Uid, Gid)> {
    let id = |id: u64| u32::try_from(id).ok().filter(|id| *id != u32::MAX);
    match (id(entry.uid), id(entry.gid)) {
        (Some(uid), Some(gid)) => Ok((Uid::from_raw(uid), Gid::from_raw(gid))),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, format!("no such user or group id: {}:{}", entry.uid, entry.gid))),
    }
}

fn timestamps(time: TarTime) -> Timestamps {
    let time = Timespec { tv_sec: time.secs, tv_nsec: time.nanos.into() };
    Timestamps { last_access: time, last_modification: time }
}

fn set_directory_time(directory: &OwnedFd, time: TarTime) -> io::Result<()> {
    Ok(rustix::fs::futimens(open_readable(directory.as_fd())?, &timestamps(time))?)
}
