use std::os::unix::fs::MetadataExt;

use crate::images::testing::layers::LayerBuilder;
use crate::images::testing::overlay::Overlay;
use crate::images::testing::{TestStore, is_root_or_skip};

#[tokio::test]
async fn a_writable_layer_has_the_rights_of_the_images_root_and_is_kept() {
    if !is_root_or_skip("a_writable_layer_has_the_rights_of_the_images_root_and_is_kept") {
        return;
    }
    let test = TestStore::open().await;
    let image = test.import("a", LayerBuilder::new().owned_entry(b'5', "./", "", 0o750, (7, 8), b"").file("etc/motd", "hi")).await;
    let directory = tempfile::tempdir().expect("a temporary directory");
    let dirs = image.prepare_upper(directory.path()).expect("directories");
    {
        let overlay = Overlay::mount(image.lower_dirs(), Some((&dirs.upper, &dirs.work)));
        let root = std::fs::metadata(overlay.root()).expect("a root");
        assert_eq!((root.mode() & 0o7777, root.uid(), root.gid()), (0o750, 7, 8));
        std::fs::write(overlay.root().join("etc/motd"), "changed").expect("a write");
    }
    assert_eq!(image.prepare_upper(directory.path()).expect("directories"), dirs);
    let overlay = Overlay::mount(image.lower_dirs(), Some((&dirs.upper, &dirs.work)));
    assert_eq!(std::fs::read_to_string(overlay.root().join("etc/motd")).expect("a file"), "changed");
    let below = std::fs::read_to_string(image.lower_dirs()[0].join("etc/motd")).expect("the layer's file");
    assert_eq!(below, "hi");
}

#[tokio::test]
async fn a_directory_that_is_missing_is_an_error() {
    let test = TestStore::open().await;
    let image = test.import("a", LayerBuilder::new().dir("./")).await;
    let error = image.prepare_upper(std::path::Path::new("/nonexistent/pod")).expect_err("no directory");
    assert_eq!(error.to_string(), "prepare the writable layer in \"/nonexistent/pod\"");
}
