//! Being told that something in a folder has changed. What it is, has to be looked at.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::inotify;
use tokio::io::unix::AsyncFd;

use crate::logs::{drain, watched};

/// Watches one folder.
#[derive(Debug)]
pub struct FolderWatch {
    notify: AsyncFd<OwnedFd>,
}

impl FolderWatch {
    /// Watches what comes into the folder, goes from it, or has been written in it, from now on.
    ///
    /// # Errors
    /// When there is no such folder, or the kernel watches no more.
    pub fn new(folder: &Path) -> io::Result<Self> {
        use inotify::WatchFlags as Flags;
        let notify = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
        // Not each write: a file is looked at when its writer has closed it.
        let came_or_went = Flags::CREATE | Flags::MOVED_TO | Flags::MOVED_FROM | Flags::DELETE;
        inotify::add_watch(&notify, folder, came_or_went | Flags::CLOSE_WRITE | Flags::DELETE_SELF | Flags::MOVE_SELF | Flags::ONLYDIR)?;
        Ok(Self { notify: watched(notify)? })
    }

    /// Waits for a change; those that came at the same time are one. May be dropped and called again: nothing is lost.
    ///
    /// # Errors
    /// When the kernel tells no more.
    pub async fn changed(&self) -> io::Result<()> {
        let mut ready = self.notify.readable().await?;
        drain(self.notify.get_ref());
        ready.clear_ready();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn files_that_come_change_and_go_are_told() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let watch = FolderWatch::new(folder.path()).expect("a watch");
        let told = || tokio::time::timeout(PATIENCE, watch.changed());
        let path = folder.path().join("a");
        std::fs::write(&path, "1").expect("written");
        told().await.expect("in time").expect("told that it came");
        std::fs::write(&path, "2").expect("written");
        told().await.expect("in time").expect("told that it changed");
        std::fs::remove_file(&path).expect("removed");
        told().await.expect("in time").expect("told that it went");
        assert!(FolderWatch::new(&path).is_err(), "there is no such folder");
    }
}
