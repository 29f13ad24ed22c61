//! hostPath volumes: the check of what is there, and the two types that make what is not.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt};
use std::path::{Component, Path};

use k8s_openapi::api::core::v1::HostPathVolumeSource;

use super::volume::VolumeProblem;

/// Mode of folders that `DirectoryOrCreate` makes, cut by the umask as in the reference.
const DIR_MODE: u32 = 0o755;
/// Mode of files that `FileOrCreate` makes, cut by the umask as in the reference.
const FILE_MODE: u32 = 0o644;

/// Checks the path against the type, and makes it where the type says so. No type, no check.
pub(super) fn check_host_path(source: &HostPathVolumeSource) -> Result<(), VolumeProblem> {
    let path = Path::new(&source.path);
    if path.components().any(|component| component == Component::ParentDir) {
        return Err(VolumeProblem::Backsteps { path: source.path.clone() });
    }
    let wrong = |expected| Err(VolumeProblem::WrongType { path: source.path.clone(), expected });
    let found = fs::metadata(path).map(|metadata| metadata.file_type());
    let is_missing = matches!(&found, Err(error) if error.kind() == io::ErrorKind::NotFound);
    let is = |matches: fn(&fs::FileType) -> bool| found.as_ref().is_ok_and(matches);
    match source.type_.as_deref().unwrap_or_default() {
        "" => Ok(()),
        "DirectoryOrCreate" if is_missing => make_dir(path),
        "DirectoryOrCreate" | "Directory" if !is(fs::FileType::is_dir) => wrong("directory"),
        "FileOrCreate" if is_missing => make_file(path),
        "FileOrCreate" | "File" if !is(fs::FileType::is_file) => wrong("file"),
        "Socket" if !is(FileTypeExt::is_socket) => wrong("socket file"),
        "CharDevice" if !is(FileTypeExt::is_char_device) => wrong("character device"),
        "BlockDevice" if !is(FileTypeExt::is_block_device) => wrong("block device"),
        "DirectoryOrCreate" | "Directory" | "FileOrCreate" | "File" | "Socket" | "CharDevice" | "BlockDevice" => Ok(()),
        other => Err(VolumeProblem::InvalidType { type_: other.to_owned() }),
    }
}

fn make_dir(path: &Path) -> Result<(), VolumeProblem> {
    let made = fs::DirBuilder::new().recursive(true).mode(DIR_MODE).create(path);
    made.map_err(|source| VolumeProblem::io("mkdir", path, source))
}

/// The folder of the file has to be there, as in the reference.
fn make_file(path: &Path) -> Result<(), VolumeProblem> {
    let made = OpenOptions::new().write(true).create(true).truncate(false).mode(FILE_MODE).open(path);
    made.map(|_| ()).map_err(|source| VolumeProblem::io("open", path, source))
}

#[cfg(test)]
mod tests;
