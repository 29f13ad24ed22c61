//! The files of an archive, by name, wherever the archive is.
//!
//! An image's parts refer to each other in any order, so the archive has to be read at random. A plain tar file is indexed
//! and read where it is; a stream, or a compressed file, is first stored without compression. Invariant: whatever names
//! an archive uses, only its own files are read.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{ArchiveInput, Cancelled};
use crate::images::store::{StoreError, StoreTempDir};
use crate::images::unpack::{TarError, TarKind, TarReader, clean_path, decompress, is_compressed, split_path};

/// Most files in an archive: some hundred images of a hundred layers.
const ENTRIES_MAX: usize = 100_000;
/// Most links followed from one name.
const LINKS_MAX: usize = 8;
const BUFFER_LEN: usize = 256 * 1024;

/// Why an archive cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenArchiveError {
    /// The file cannot be read.
    #[error("read the archive {path:?}")]
    Read {
        /// The file, or `-`.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// It is no tar archive.
    #[error("{path:?} is no archive: {reason}")]
    Malformed {
        /// The file, or `-`.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// It is too large to be stored.
    #[error("the archive is larger than {bytes_max} bytes")]
    TooLarge {
        /// The bound, in bytes.
        bytes_max: u64,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// An opened archive.
#[derive(Debug)]
pub(super) enum ArchiveSource {
    Directory(PathBuf),
    Tar { file: Arc<File>, members: BTreeMap<Vec<u8>, Member> },
}

#[derive(Debug, Clone)]
pub(super) enum Member {
    File { offset: u64, size: u64 },
    Link { target: Vec<u8> },
}

impl ArchiveSource {
    /// Opens an archive; what has to be stored of it goes to `temp`.
    pub(super) fn open(input: ArchiveInput, temp: &StoreTempDir, bytes_max: u64, cancelled: &Cancelled) -> Result<Self, OpenArchiveError> {
        let (path, mut stream): (PathBuf, Box<dyn Read + Send>) = match input {
            ArchiveInput::Path(path) if path.is_dir() => return Ok(Self::Directory(path)),
            ArchiveInput::Path(path) => {
                let read_error = |source| OpenArchiveError::Read { path: path.clone(), source };
                let mut file = File::open(&path).map_err(read_error)?;
                let mut start = Vec::new();
                (&file).take(8).read_to_end(&mut start).map_err(read_error)?;
                let is_seekable = file.seek(SeekFrom::Start(0)).is_ok();
                if is_seekable && !is_compressed(&start) {
                    return Self::index(file, &path);
                }
                if is_seekable { (path, Box::new(file)) } else { (path, Box::new(io::Cursor::new(start).chain(file))) }
            }
            ArchiveInput::Reader(reader) => (PathBuf::from("-"), reader),
        };
        let stored = store_stream(&mut stream, temp, bytes_max, cancelled, &path)?;
        Self::index(stored, &path)
    }

    fn index(file: File, path: &Path) -> Result<Self, OpenArchiveError> {
        let malformed = |reason: String| OpenArchiveError::Malformed { path: path.to_owned(), reason };
        let tar_error = |error: TarError| match error {
            TarError::Read(source) => OpenArchiveError::Read { path: path.to_owned(), source },
            error @ (TarError::Malformed { .. } | TarError::UnsupportedEntry { .. }) => malformed(error.to_string()),
        };
        let len = file.metadata().map_err(|source| OpenArchiveError::Read { path: path.to_owned(), source })?.len();
        let mut members = BTreeMap::new();
        let mut reader = TarReader::new(BufReader::with_capacity(BUFFER_LEN, file));
        while let Some(entry) = reader.next_entry().map_err(tar_error)? {
            let name = clean_path(&entry.path).map_err(|error| malformed(error.to_string()))?;
            let member = match entry.kind {
                TarKind::Regular => Some(Member::File { offset: reader.offset(), size: entry.size }),
                TarKind::HardLink => clean_path(&entry.link).ok().map(|target| Member::Link { target }),
                TarKind::Symlink => {
                    let target = [split_path(&name).0, b"/", entry.link.as_slice()].concat();
                    clean_path(&target).ok().map(|target| Member::Link { target })
                }
                TarKind::Directory | TarKind::CharDevice | TarKind::BlockDevice | TarKind::Fifo | TarKind::GlobalHeader => None,
            };
            members.extend(member.map(|member| (name, member)));
            if members.len() > ENTRIES_MAX {
                return Err(malformed(format!("it has more than {ENTRIES_MAX} files")));
            }
            reader.seek_past_payload().map_err(tar_error)?;
            if reader.offset() > len {
                return Err(malformed("it ends within the content of a file".to_owned()));
            }
        }
        Ok(Self::Tar { file: Arc::new(reader.into_inner().into_inner()), members })
    }

    /// Whether there is a file of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        match self {
            Self::Directory(directory) => clean_path(name.as_bytes()).is_ok() && directory.join(name).is_file(),
            Self::Tar { members, .. } => find(members, name).is_some(),
        }
    }

    /// The content of a file, and its length; `None` if there is no such file.
    pub(super) fn open_file(&self, name: &str) -> io::Result<Option<(Box<dyn Read + Send>, u64)>> {
        match self {
            Self::Directory(directory) => {
                let path = directory.join(name);
                if !self.has(name) {
                    return Ok(None);
                }
                let file = File::open(path)?;
                let len = file.metadata()?.len();
                Ok(Some((Box::new(file), len)))
            }
            Self::Tar { file, members } => Ok(find(members, name).map(|(offset, size)| {
                let content: Box<dyn Read + Send> = Box::new(FileRange { file: Arc::clone(file), offset, left: size });
                (content, size)
            })),
        }
    }

    /// The content of a small file.
    pub(super) fn read_small(&self, name: &str, bytes_max: u64) -> io::Result<Option<Vec<u8>>> {
        let Some((content, len)) = self.open_file(name)? else { return Ok(None) };
        if len > bytes_max {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it is larger than {bytes_max} bytes")));
        }
        let mut bytes = Vec::new();
        content.take(bytes_max).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }
}

fn find(members: &BTreeMap<Vec<u8>, Member>, name: &str) -> Option<(u64, u64)> {
    let mut name = clean_path(name.as_bytes()).ok()?;
    for _ in 0..=LINKS_MAX {
        match members.get(&name)? {
            Member::File { offset, size } => return Some((*offset, *size)),
            Member::Link { target } => name.clone_from(target),
        }
    }
    None
}

/// Stores a stream without its compression, in a file that has no name.
fn store_stream(
    stream: &mut (dyn Read + Send),
    temp: &StoreTempDir,
    bytes_max: u64,
    cancelled: &Cancelled,
    path: &Path,
) -> Result<File, OpenArchiveError> {
    let read_error = |source| OpenArchiveError::Read { path: path.to_owned(), source };
    let mut stream = decompress(cancelled.reader(stream)).map_err(read_error)?;
    let stored = temp.path().join("archive");
    let store_error = |source| OpenArchiveError::Store(StoreError::io("write", &stored, source));
    let mut file = File::options().read(true).write(true).create_new(true).open(&stored).map_err(store_error)?;
    std::fs::remove_file(&stored).map_err(store_error)?;
    let mut buffer = vec![0; BUFFER_LEN];
    let mut written: u64 = 0;
    loop {
        let len = stream.read(&mut buffer).map_err(read_error)?;
        if len == 0 {
            break;
        }
        written += len as u64;
        if written > bytes_max {
            return Err(OpenArchiveError::TooLarge { bytes_max });
        }
        file.write_all(&buffer[..len]).map_err(store_error)?;
    }
    file.seek(SeekFrom::Start(0)).map_err(store_error)?;
    Ok(file)
}

/// A part of a file, which others may read at the same time.
#[derive(Debug)]
struct FileRange {
    file: Arc<File>,
    offset: u64,
    left: u64,
}

impl Read for FileRange {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let len = self.file.read_at(&mut buffer[..len], self.offset)?;
        self.offset += len as u64;
        self.left -= len as u64;
        Ok(len)
    }
}
