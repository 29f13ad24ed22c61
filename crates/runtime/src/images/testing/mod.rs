//! What the tests of this module tree share: hand-made layers, stores, registries, and trees told as text.

pub(crate) mod archives;
pub(crate) mod layers;
pub(crate) mod overlay;
pub(crate) mod process;
pub(crate) mod registry;
pub(crate) mod server;
pub(crate) mod trees;

use crate::images::{ArchiveInput, Image, ImageQuery, ImageReference, ImageStore, ImageStoreConfig, ImportOptions};

/// Whether this process may make devices and set owners. If not, says that the test `name` is skipped.
pub(crate) fn is_root_or_skip(name: &str) -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        #[expect(clippy::print_stderr, reason = "how a test says that it was skipped")]
        {
            eprintln!("SKIP {name}: needs root to make devices and set owners");
        }
    }
    is_root
}

/// A small tmpfs, unmounted when dropped.
pub(crate) struct TinyDisk {
    directory: tempfile::TempDir,
}

impl TinyDisk {
    pub(crate) fn mount(size: &str) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let options = std::ffi::CString::new(format!("size={size}")).expect("no NUL");
        rustix::mount::mount("tmpfs", directory.path(), "tmpfs", rustix::mount::MountFlags::empty(), options.as_c_str())
            .expect("root can mount");
        Self { directory }
    }

    pub(crate) fn path(&self) -> &std::path::Path {
        self.directory.path()
    }
}

impl Drop for TinyDisk {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(self.directory.path(), rustix::mount::UnmountFlags::DETACH);
    }
}

/// A store of its own for one test.
pub(crate) struct TestStore {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) store: ImageStore,
}

impl TestStore {
    pub(crate) async fn open() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let store = open_store(directory.path()).await;
        Self { directory, store }
    }

    /// Opens the same store once more, as another process would.
    pub(crate) async fn open_again(&self) -> ImageStore {
        open_store(self.directory.path()).await
    }

    /// Imports an image of one layer.
    pub(crate) async fn import(&self, name: &str, layer: layers::LayerBuilder) -> Image {
        let input = ArchiveInput::Reader(Box::new(std::io::Cursor::new(layer.build())));
        self.store.import_rootfs(input, &reference(name), &ImportOptions::default()).await.expect("a good root file system")
    }

    /// Names of what is in a directory of the store.
    pub(crate) fn names_in(&self, directory: &str) -> Vec<String> {
        names_in(&self.directory.path().join(directory))
    }
}

pub(crate) async fn open_store(root: &std::path::Path) -> ImageStore {
    ImageStore::open(config(root)).await.expect("a store")
}

/// Settings with waits that a test can afford.
pub(crate) fn config(root: &std::path::Path) -> ImageStoreConfig {
    let mut config = ImageStoreConfig::new(root);
    config.registries.retry_pause = std::time::Duration::from_millis(1);
    config.registries.read_timeout = std::time::Duration::from_secs(10);
    config
}

pub(crate) fn reference(name: &str) -> ImageReference {
    ImageReference::parse(name).expect("a good name")
}

pub(crate) fn query(name: &str) -> ImageQuery {
    ImageQuery::parse(name).expect("a good name or id")
}

pub(crate) fn names_in(directory: &std::path::Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).expect("a directory");
    let mut names: Vec<_> = entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Waits until `is_so`, which another thread or process makes true. Fails after a time that no healthy machine needs.
pub(crate) async fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !is_so() {
        assert!(std::time::Instant::now() < deadline, "{what} did not happen");
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
}
