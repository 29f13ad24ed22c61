//! fsGroup: a volume's files belong to a group that all containers of the pod are in.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, lchown};
use std::path::Path;

/// Group rights that every file of a writable volume gets.
pub(super) const READ_WRITE: u32 = 0o660;
/// Group rights that every file of a read-only volume gets.
const READ_ONLY: u32 = 0o440;
/// What folders get beside: entering, and new files go to the group as well.
pub(super) const FOLDER: u32 = 0o2110;

/// What containers do with the volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// They write.
    ReadWrite,
    /// They only read.
    ReadOnly,
}

/// Gives a folder that only the engine has written into, and all in it, to the group; nothing without a group.
///
/// For fresh volumes only: it trusts that no container has put links there.
pub(super) fn give_to_group(path: &Path, fs_group: Option<i64>, access: Access) -> io::Result<()> {
    let Some(group) = fs_group.and_then(|group| u32::try_from(group).ok()) else { return Ok(()) };
    let metadata = fs::symlink_metadata(path)?;
    lchown(path, None, Some(group))?;
    if metadata.is_symlink() {
        return Ok(());
    }
    let rights = match access {
        Access::ReadWrite => READ_WRITE,
        Access::ReadOnly => READ_ONLY,
    };
    let folder = if metadata.is_dir() { FOLDER } else { 0 };
    // After the change of owner, which clears the setgid bit.
    fs::set_permissions(path, fs::Permissions::from_mode(metadata.permissions().mode() | rights | folder))?;
    if metadata.is_dir() {
        for entry in fs::read_dir(path)? {
            give_to_group(&entry?.path(), fs_group, access)?;
        }
    }
    Ok(())
}
