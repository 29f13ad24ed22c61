//! How much of the disk a folder takes, as `du` counts it: blocks and inodes, hard links once, other file systems not at all.
//!
//! A container writes into the folder meanwhile, and may make it as large as it likes. So a count is done in bounded pieces that follow
//! each other, no link is followed, and every folder is reached through the open folder above it. What was counted before a piece
//! is over is a lower bound, good enough to see that a limit is exceeded.
//!
//! Not counted: what lies more than [`DEPTH_MAX`] folders deep, and files that are open but have no name any more.

use std::collections::{BTreeMap, HashSet};
use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, ResolveFlags, Stat};

/// Folders open at once in one count.
pub const DEPTH_MAX: usize = 64;
/// Entries of one folder tree that are counted in one piece.
const ENTRIES_PER_TREE: u32 = 100_000;
/// Entries that are counted in one go of all trees.
const ENTRIES_PER_ROUND: u32 = 500_000;
/// Files with several names that are remembered, so that each counts once; beyond, each name counts.
const HARD_LINKS_MAX: usize = 100_000;
/// Room for the entries of a folder that are read at once, in bytes.
const ENTRIES_BYTES: usize = 16 * 1024;
/// Unit of `st_blocks`, in bytes.
const BLOCK_BYTES: u64 = 512;
/// Every folder below the first is opened with these.
const INSIDE: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_XDEV).union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);

/// What a tree takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskUse {
    /// Bytes of blocks.
    pub bytes: u64,
    /// Inodes.
    pub inodes: u64,
}

/// A count in progress.
#[derive(Debug)]
struct Walk {
    open: Vec<Open>,
    device: u64,
    counted: DiskUse,
    hard_links: HashSet<u64>,
}

/// A folder that is being read.
#[derive(Debug)]
struct Open {
    folder: OwnedFd,
    /// Folders in it that were found and not yet looked into.
    inside: Vec<CString>,
    is_read: bool,
}

/// Counts trees again and again, a piece of each at a time.
#[derive(Debug, Default)]
pub struct DiskMeter {
    trees: BTreeMap<PathBuf, Tree>,
    /// Where the next round begins.
    next: Option<PathBuf>,
}

#[derive(Debug, Default)]
struct Tree {
    /// The last whole count.
    whole: Option<DiskUse>,
    walk: Option<Walk>,
}

impl DiskUse {
    fn add(&mut self, stat: &Stat) {
        self.bytes = self.bytes.saturating_add(u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(BLOCK_BYTES));
        self.inodes = self.inodes.saturating_add(1);
    }
}

impl std::iter::Sum for DiskUse {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, one| Self {
            bytes: sum.bytes.saturating_add(one.bytes),
            inodes: sum.inodes.saturating_add(one.inodes),
        })
    }
}

impl DiskMeter {
    /// Counts a piece of each of these trees, and forgets all others. A folder that is not there takes nothing.
    pub fn measure(&mut self, paths: impl IntoIterator<Item = PathBuf>) {
        let mut before = std::mem::take(&mut self.trees);
        self.trees = paths.into_iter().map(|path| (path.clone(), before.remove(&path).unwrap_or_default())).collect();
        let first = self.next.take();
        let after = first.clone().map_or_else(Vec::new, |first| self.trees.range(first..).map(|(path, _)| path.clone()).collect());
        let others = self.trees.keys().filter(|path| first.as_ref().is_none_or(|first| *path < first)).cloned();
        let mut left = ENTRIES_PER_ROUND;
        for path in after.into_iter().chain(others.collect::<Vec<_>>()) {
            if left == 0 {
                self.next = Some(path);
                return;
            }
            if let Some(tree) = self.trees.get_mut(&path) {
                left = left.saturating_sub(tree.go_on(&path, ENTRIES_PER_TREE.min(left)));
            }
        }
    }

    /// What is known of a tree: the last whole count, or the present one if that has found more already.
    pub fn usage(&self, path: &Path) -> DiskUse {
        self.trees.get(path).map_or_else(DiskUse::default, Tree::known)
    }
}

impl Tree {
    fn known(&self) -> DiskUse {
        let whole = self.whole.unwrap_or_default();
        let counted = self.walk.as_ref().map_or_else(DiskUse::default, |walk| walk.counted);
        DiskUse { bytes: whole.bytes.max(counted.bytes), inodes: whole.inodes.max(counted.inodes) }
    }

    /// Counts at most about so many entries more; returns how many it were.
    fn go_on(&mut self, path: &Path, entries_max: u32) -> u32 {
        let walk = match self.walk.take() {
            Some(walk) => Ok(walk),
            None => Walk::begin(path),
        };
        let Ok(mut walk) = walk else {
            self.whole = Some(DiskUse::default());
            return 1;
        };
        let mut entries = 0;
        while !walk.open.is_empty() {
            if entries >= entries_max {
                self.walk = Some(walk);
                return entries;
            }
            entries += walk.step();
        }
        self.whole = Some(walk.counted);
        entries
    }
}

impl Walk {
    fn begin(path: &Path) -> Result<Self, rustix::io::Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder = rustix::fs::open(path, flags, Mode::empty())?;
        let stat = rustix::fs::fstat(&folder)?;
        let mut counted = DiskUse::default();
        counted.add(&stat);
        let open = vec![Open { folder, inside: Vec::new(), is_read: false }];
        Ok(Self { open, device: stat.st_dev, counted, hard_links: HashSet::new() })
    }

    /// Looks into one more folder, or reads a part of the one that is open; returns how many entries it looked at.
    fn step(&mut self) -> u32 {
        let depth = self.open.len();
        let Some(top) = self.open.last_mut() else { return 0 };
        if let Some(name) = top.inside.pop() {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            if depth < DEPTH_MAX
                && let Ok(folder) = rustix::fs::openat2(&top.folder, &name, flags, Mode::empty(), INSIDE)
            {
                self.open.push(Open { folder, inside: Vec::new(), is_read: false });
            }
            return 1;
        }
        if top.is_read {
            self.open.pop();
            return 1;
        }
        let mut buffer = Vec::with_capacity(ENTRIES_BYTES);
        let mut names = Vec::new();
        let mut entries = RawDir::new(&top.folder, buffer.spare_capacity_mut());
        loop {
            match entries.next() {
                Some(Ok(entry)) => names.push(entry.file_name().to_owned()),
                // A folder that cannot be read any further counts as it is.
                Some(Err(_)) | None => {
                    top.is_read = true;
                    break;
                }
            }
            // The kernel goes on behind what it has handed out.
            if entries.is_buffer_empty() {
                break;
            }
        }
        let looked_at = u32::try_from(names.len()).unwrap_or(u32::MAX).max(1);
        for name in names {
            self.count(name);
        }
        looked_at
    }

    fn count(&mut self, name: CString) {
        let Some(top) = self.open.last_mut() else { return };
        if matches!(name.to_bytes(), b"." | b"..") {
            return;
        }
        // What was removed meanwhile takes nothing.
        let Ok(stat) = rustix::fs::statat(&top.folder, &name, AtFlags::SYMLINK_NOFOLLOW) else { return };
        if stat.st_dev != self.device {
            return;
        }
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            top.inside.push(name);
        } else if stat.st_nlink > 1 && self.hard_links.len() < HARD_LINKS_MAX && !self.hard_links.insert(stat.st_ino) {
            return;
        }
        self.counted.add(&stat);
    }
}

#[cfg(test)]
mod tests;
