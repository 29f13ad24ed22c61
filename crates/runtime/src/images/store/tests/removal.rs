//! Removal: what goes, and what stays.

use super::*;

async fn ids(store: &ImageStore) -> Vec<Digest> {
    store.list().await.expect("a list").into_iter().map(|image| image.id).collect()
}

#[tokio::test]
async fn an_image_goes_with_its_last_tag() {
    let test = TestStore::open().await;
    let image = test.import("app:1", layer("a")).await;
    test.import("app:2", layer("a")).await;
    let first = test.store.remove(&query("app:1")).await.expect("a removal");
    assert_eq!((first.untagged.as_slice(), &first.pruned), (&["docker.io/library/app:1".to_owned()][..], &PruneReport::default()));
    let last = test.store.remove(&query("app:2")).await.expect("a removal");
    assert_eq!(last.untagged, ["docker.io/library/app:2"]);
    assert_eq!((last.pruned.images, last.pruned.layers), (vec![image.id.clone()], image.diff_ids.clone()));
    assert_eq!((test.names_in("layers/sha256"), test.names_in("blobs/sha256"), test.names_in("tmp")), (vec![], vec![], vec![]));
    let again = test.store.remove(&query("app:2")).await.expect_err("it is gone");
    assert_eq!(again.to_string(), "image docker.io/library/app:2 is not in the store");
}

#[tokio::test]
async fn removal_by_id_takes_all_names() {
    let test = TestStore::open().await;
    let image = test.import("app:1", layer("a")).await;
    test.import("other:1", layer("a")).await;
    let removed = test.store.remove(&image.id.into()).await.expect("a removal");
    assert_eq!(removed.untagged, ["docker.io/library/app:1", "docker.io/library/other:1"]);
    assert_eq!(ids(&test.store).await, Vec::<Digest>::new());
}

#[tokio::test]
async fn a_layer_that_another_image_has_too_stays() {
    let test = TestStore::open().await;
    test.import("app", layer("a")).await;
    let input = crate::images::ArchiveInput::Reader(Box::new(io::Cursor::new(layer("a").build())));
    let options = crate::images::ImportOptions { cmd: vec!["x".to_owned()], ..Default::default() };
    test.store.import_rootfs(input, &crate::images::testing::reference("other"), &options).await.expect("an image");
    let removed = test.store.remove(&query("app")).await.expect("a removal");
    assert_eq!((removed.pruned.images.len(), removed.pruned.layers.len()), (1, 0));
    assert!(test.store.image_status(&query("other")).await.expect("a status").is_some());
}

#[tokio::test]
async fn what_a_container_uses_stays_until_it_lets_go_or_its_pod_is_gone() {
    let test = TestStore::open().await;
    let image = test.import("app", layer("a")).await;
    let pods = tempfile::tempdir().expect("a temporary directory");
    let pod = pods.path().join("pod-1");
    fs::create_dir(&pod).expect("a directory");
    test.store.lease(&image, &pod, "main").await.expect("a lease");
    test.store.lease(&image, &pod, "side").await.expect("a lease");

    let refused = test.store.remove(&query("app")).await.expect_err("an image in use");
    assert!(refused.to_string().contains("is in use by container \"main\""), "{refused}");
    let other = test.open_again().await;
    assert_eq!(other.prune(PruneScope::Unused).await.expect("a prune"), PruneReport::default());

    // The name may move on, and the layers stay for the container.
    test.import("app", layer("b")).await;
    other.prune(PruneScope::Unreferenced).await.expect("a prune");
    assert!(image.lower_dirs()[0].join("content").exists());

    test.store.release(&pod, "main").await.expect("a release");
    assert_eq!(other.leases().await.expect("leases").iter().map(|lease| lease.container.as_str()).collect::<Vec<_>>(), ["side"]);
    fs::remove_dir(&pod).expect("the pod goes");
    let pruned = other.prune(PruneScope::Unreferenced).await.expect("a prune");
    assert_eq!(pruned.layers, image.diff_ids);
    assert_eq!(test.names_in("leases"), Vec::<String>::new());
}

#[tokio::test]
async fn a_container_cannot_lease_what_is_gone() {
    let test = TestStore::open().await;
    let image = test.import("app", layer("a")).await;
    test.store.remove(&query("app")).await.expect("a removal");
    let pod = tempfile::tempdir().expect("a temporary directory");
    assert!(test.store.lease(&image, pod.path(), "main").await.is_err());
    assert_eq!(test.names_in("leases"), Vec::<String>::new());
}

#[tokio::test]
async fn a_prune_goes_as_far_as_its_scope() {
    let test = TestStore::open().await;
    let tagged = test.import("tagged", layer("a")).await;
    let untagged = stack_without_name(&test, "b").await;
    let used = stack_without_name(&test, "c").await;
    let pod = tempfile::tempdir().expect("a temporary directory");
    test.store.lease(&used, pod.path(), "main").await.expect("a lease");

    assert_eq!(test.store.prune(PruneScope::Unreferenced).await.expect("a prune"), PruneReport::default());
    assert_eq!(test.store.prune(PruneScope::Untagged).await.expect("a prune").images, [untagged.id]);
    assert_eq!(test.store.prune(PruneScope::Unused).await.expect("a prune").images, [tagged.id]);
    assert_eq!(ids(&test.store).await, [used.id]);
}

async fn stack_without_name(test: &TestStore, content: &str) -> Image {
    let archive = crate::images::testing::archives::docker_archive("", &[layer(content)]);
    let input = crate::images::ArchiveInput::Reader(Box::new(io::Cursor::new(archive)));
    let images = test.store.load(input, &crate::images::LoadOptions::default()).await.expect("a good archive");
    images.into_iter().next().expect("an image")
}

#[tokio::test]
async fn layers_that_a_process_is_about_to_name_stay_until_it_ends() {
    let test = TestStore::open().await;
    let image = test.import("app", layer("a")).await;
    let lease = test.store.work_lease(&image.diff_ids).expect("a lease");
    test.store.remove(&query("app")).await.expect("a removal");
    assert!(image.lower_dirs()[0].exists());
    drop(lease);
    assert_eq!(test.store.prune(PruneScope::Unreferenced).await.expect("a prune").layers, image.diff_ids);

    // What a killed process leaves claims nothing.
    fs::write(test.directory.path().join("leases/work-dead"), serde_json::to_vec(&image.diff_ids).expect("JSON")).expect("a file");
    test.store.prune(PruneScope::Unreferenced).await.expect("a prune");
    assert_eq!(test.names_in("leases"), Vec::<String>::new());
}
