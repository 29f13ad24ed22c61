//! Finding and making places inside a container's root, whose content may be hostile.
//!
//! Invariant: whatever symbolic links an image or a shared volume has, also if they are swapped while we look, no path leads out of the root:
//! either the kernel resolves it with the root as `/`, or every single component is opened from the descriptor of the one before
//! without following links, and `..` goes back to a descriptor that was passed on the way.

use std::{
    collections::VecDeque,
    ffi::{OsStr, OsString},
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStringExt as _,
    },
    path::{Component, Path},
};

use rustix::{
    fs::{FileType, Mode, OFlags, ResolveFlags, fstat, mkdirat, openat, openat2, readlinkat},
    io::Errno,
};

/// The root directory of a container.
#[derive(Debug)]
pub(crate) struct Root {
    directory: OwnedFd,
}

/// What is made where nothing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    Directory,
    /// An empty file, to mount a file on.
    File,
}

impl Root {
    /// `directory` is the root, opened as a path at least.
    pub(crate) fn new(directory: OwnedFd) -> Self {
        Self { directory }
    }

    /// Opens what is at `path`, following links inside the root, without any access to its content.
    pub(crate) fn open(&self, path: &Path) -> io::Result<OwnedFd> {
        self.open_with(path, OFlags::PATH, ResolveFlags::empty())
    }

    /// Opens what is at `path`, if no component of it is a link.
    pub(crate) fn open_without_links(&self, path: &Path) -> io::Result<OwnedFd> {
        self.open_with(path, OFlags::PATH, ResolveFlags::NO_SYMLINKS)
    }

    /// Opens the file at `path` for reading.
    pub(crate) fn open_to_read(&self, path: &Path) -> io::Result<OwnedFd> {
        self.open_with(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY, ResolveFlags::empty())
    }

    /// Opens what is at `path`; if there is nothing, makes it and the directories on the way.
    pub(crate) fn open_or_make(&self, path: &Path, missing: Missing) -> io::Result<OwnedFd> {
        match self.open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.walk(path, missing),
            other => other,
        }
    }

    fn open_with(&self, path: &Path, flags: OFlags, resolve: ResolveFlags) -> io::Result<OwnedFd> {
        // Retried when a rename anywhere on the machine keeps the kernel from proving that `..` stays inside.
        for _ in 0..AGAIN_MAX {
            let resolve = resolve | ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
            match openat2(&self.directory, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
                Err(Errno::AGAIN) => {}
                other => return Ok(other?),
            }
        }
        Err(Errno::AGAIN.into())
    }

    /// Goes to `path` component by component.
    fn walk(&self, path: &Path, missing: Missing) -> io::Result<OwnedFd> {
        let mut passed = vec![rustix::io::fcntl_dupfd_cloexec(&self.directory, 0)?];
        let mut ahead: VecDeque<OsString> = VecDeque::new();
        push_front(&mut ahead, path);
        let mut steps = 0;
        while let Some(name) = ahead.pop_front() {
            steps += 1;
            if steps > STEPS_MAX {
                return Err(Errno::LOOP.into());
            }
            if name == ".." {
                if passed.len() > 1 {
                    passed.pop();
                }
                continue;
            }
            let Some(directory) = passed.last() else { return Err(Errno::NOENT.into()) };
            let found = match openat(directory, &name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()) {
                Err(Errno::NOENT) => {
                    make(directory.as_fd(), &name, if ahead.is_empty() { missing } else { Missing::Directory })?;
                    ahead.push_front(name);
                    continue;
                }
                other => other?,
            };
            let kind = FileType::from_raw_mode(fstat(&found)?.st_mode);
            if kind == FileType::Symlink {
                let target = OsString::from_vec(readlinkat(&found, c"", Vec::new())?.into_bytes());
                if Path::new(&target).is_absolute() {
                    passed.truncate(1);
                }
                push_front(&mut ahead, Path::new(&target));
            } else if kind == FileType::Directory {
                passed.push(found);
            } else if ahead.is_empty() {
                return Ok(found);
            } else {
                return Err(Errno::NOTDIR.into());
            }
        }
        passed.pop().ok_or_else(|| Errno::NOENT.into())
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }
}

fn push_front(ahead: &mut VecDeque<OsString>, path: &Path) {
    for component in path.components().rev() {
        match component {
            Component::Normal(name) => ahead.push_front(name.to_owned()),
            Component::ParentDir => ahead.push_front("..".into()),
            Component::Prefix(_) | Component::RootDir | Component::CurDir => {}
        }
    }
}

/// Somebody else making the same thing at the same time is as good.
fn make(directory: BorrowedFd<'_>, name: &OsStr, missing: Missing) -> io::Result<()> {
    let made = match missing {
        Missing::Directory => mkdirat(directory, name, Mode::from_raw_mode(0o755)),
        Missing::File => {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::WRONLY | OFlags::CLOEXEC;
            openat(directory, name, flags, Mode::from_raw_mode(0o644)).map(drop)
        }
    };
    match made {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// As the kernel does it for links; every made component counts twice here.
const STEPS_MAX: usize = 256;
const AGAIN_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, File},
        os::unix::fs::symlink,
        path::PathBuf,
    };

    use super::*;

    struct Place {
        outer: tempfile::TempDir,
        root: Root,
    }

    fn place() -> Place {
        let outer = tempfile::tempdir().expect("temporary directory");
        fs::create_dir_all(outer.path().join("root/dir")).expect("made");
        fs::create_dir_all(outer.path().join("secret")).expect("made");
        let root = Root::new(File::open(outer.path().join("root")).expect("opened").into());
        Place { outer, root }
    }

    fn real_path(fd: &OwnedFd) -> PathBuf {
        use std::os::fd::AsRawFd as _;
        fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).expect("own descriptor")
    }

    #[test]
    fn links_and_parents_never_lead_out_of_the_root() {
        let place = place();
        let root = place.outer.path().join("root");
        let secret = place.outer.path().join("secret");
        symlink(&secret, root.join("absolute")).expect("linked");
        symlink("../secret", root.join("relative")).expect("linked");
        symlink("../../../../../../../../..", root.join("dir/up")).expect("linked");
        for path in ["absolute/new", "relative/new", "dir/up/secret/new", "../secret/new", "dir/../../../secret/new"] {
            for missing in [Missing::Directory, Missing::File] {
                let found = place.root.open_or_make(Path::new(path), missing).expect("made inside");
                assert!(real_path(&found).starts_with(&root), "{path} led to {:?}", real_path(&found));
            }
        }
        assert_eq!(fs::read_dir(&secret).expect("listed").count(), 0);
    }

    #[test]
    fn the_target_of_a_dangling_link_is_made_inside_the_root() {
        let place = place();
        let root = place.outer.path().join("root");
        fs::create_dir(root.join("var")).expect("made");
        symlink("/run", root.join("var/run")).expect("linked");
        let found = place.root.open_or_make(Path::new("/var/run/app/config"), Missing::File).expect("made");
        assert_eq!(real_path(&found), root.join("run/app/config"));
        assert!(root.join("run/app/config").is_file());
    }

    #[test]
    fn loops_and_files_on_the_way_are_errors() {
        let place = place();
        let root = place.outer.path().join("root");
        symlink("b", root.join("a")).expect("linked");
        symlink("a", root.join("b")).expect("linked");
        fs::write(root.join("file"), "").expect("written");
        let error = place.root.open_or_make(Path::new("a/x"), Missing::Directory).expect_err("loop");
        assert_eq!(error.raw_os_error(), Some(libc::ELOOP));
        let error = place.root.open_or_make(Path::new("file/x"), Missing::Directory).expect_err("not a directory");
        assert_eq!(error.raw_os_error(), Some(libc::ENOTDIR));
    }

    #[test]
    fn links_are_refused_where_an_ordinary_directory_is_wanted() {
        let place = place();
        let root = place.outer.path().join("root");
        symlink("dir", root.join("proc")).expect("linked");
        let error = place.root.open_without_links(Path::new("proc")).expect_err("a link");
        assert_eq!(error.raw_os_error(), Some(libc::ELOOP));
        assert!(place.root.open_without_links(Path::new("dir")).is_ok());
    }
}
