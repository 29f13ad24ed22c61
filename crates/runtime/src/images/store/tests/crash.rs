//! Processes that die, and processes side by side.

use std::io::{BufRead, BufReader, Write};

use super::*;
use crate::images::testing::process::{child_task, spawn_child};
use crate::images::testing::reference;
use crate::images::testing::registry::{PushedImage, TestRegistry};
use crate::images::{ArchiveInput, ImportOptions, ProgressListener, PullOptions, PullPhase};

const IMPORTER: &str = "images::store::tests::crash::child_that_imports";
const PULLER: &str = "images::store::tests::crash::child_that_pulls";

/// Imports its standard input, when asked to.
#[tokio::test]
async fn child_that_imports() {
    if let Some((root, name)) = child_task() {
        let store = open_store(Path::new(&root)).await;
        let input = ArchiveInput::Reader(Box::new(io::stdin()));
        store.import_rootfs(input, &reference(&name), &ImportOptions::default()).await.expect("an image");
    }
}

/// Pulls an image and tells its progress, when asked to.
#[tokio::test]
#[expect(clippy::print_stdout, reason = "the parent reads it")]
async fn child_that_pulls() {
    if let Some((root, name)) = child_task() {
        let store = open_store(Path::new(&root)).await;
        let tell = |phase: PullPhase| println!("\nPROGRESS {phase:?}");
        let progress = ProgressListener::new(move |progress| tell(progress.phase));
        let options = PullOptions { progress, ..PullOptions::default() };
        store.pull(&reference(&name), &options).await.expect("an image");
        println!("\nPROGRESS Pulled");
    }
}

#[tokio::test]
async fn an_importer_killed_in_the_middle_of_a_layer_leaves_a_store_that_works() {
    let test = TestStore::open().await;
    let stream = LayerBuilder::new().file("first", "1").file("second", vec![2; 1024 * 1024]).file("third", "3").build();
    let mut child = spawn_child(IMPORTER, test.directory.path(), "app");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(&stream[..600 * 1024]).expect("a write");
    let tmp = test.directory.path().join("tmp");
    let is_begun = || names_in(&tmp).iter().any(|name| tmp.join(name).join("layer/fs/second").exists());
    eventually("the second file", is_begun).await;
    child.kill().expect("a kill");
    child.wait().expect("an end");
    assert_eq!(names_in(&tmp).len(), 1, "the killed process leaves its directory");

    let next = test.open_again().await;
    assert_eq!(names_in(&tmp), Vec::<String>::new(), "the next user of the store removes it");
    assert_eq!(next.list().await.expect("a list"), vec![]);
    let image = TestStore { store: next, directory: test.directory };
    image.import("app", LayerBuilder::new().file("first", "1")).await;
}

fn image_layers() -> Vec<Vec<u8>> {
    let layer = |number: u8| {
        let mut noise = u64::from(number) + 1;
        let content: Vec<u8> = (0..700_000)
            .map(|_| {
                noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (noise >> 56) as u8
            })
            .collect();
        LayerBuilder::new().dir("./").file(&format!("file-{number}"), content).build()
    };
    (0..4).map(layer).collect()
}

async fn assert_whole(test: &TestStore, name: &str, pushed: &PushedImage) {
    let store = test.open_again().await;
    assert_eq!(test.names_in("tmp"), Vec::<String>::new());
    let image = store.pull(&reference(name), &PullOptions::default()).await.expect("an image");
    assert_eq!((&image.id, &image.diff_ids), (&pushed.config, &pushed.diff_ids));
    for diff_id in &pushed.diff_ids {
        crate::images::unpack::reassemble_layer(&store.layer_dir(diff_id), diff_id, &mut io::sink()).expect("a whole layer");
    }
    assert_eq!((test.names_in("tmp"), test.names_in("locks"), test.names_in("leases")), (vec![], vec![], vec![]));
}

#[tokio::test]
async fn a_puller_killed_at_any_step_leaves_a_store_that_works() {
    let Some(registry) = TestRegistry::start_or_skip("a_puller_killed_at_any_step_leaves_a_store_that_works", false) else { return };
    let pushed = registry.push_image("app", "1", &image_layers()).await;
    let name = format!("{}/app:1", registry.address);
    let mut steps_max = 1;
    let mut step = 0;
    while step < steps_max {
        let test = TestStore::open().await;
        let mut child = spawn_child(PULLER, test.directory.path(), &name);
        let mut steps = 0;
        for line in BufReader::new(child.stdout.take().expect("a pipe")).lines() {
            if line.expect("a line").starts_with("PROGRESS") {
                if steps == step {
                    child.kill().expect("a kill");
                }
                steps += 1;
            }
        }
        child.wait().expect("an end");
        // Every run goes one step further than the one before, until one is through.
        steps_max = if steps > step { step + 2 } else { 0 };
        step += 1;
        assert_whole(&test, &name, &pushed).await;
    }
    assert!(step > 8, "only {step} steps");
}

#[tokio::test]
async fn processes_that_pull_the_same_image_at_once_unpack_each_layer_once() {
    let test_name = "processes_that_pull_the_same_image_at_once_unpack_each_layer_once";
    let Some(registry) = TestRegistry::start_or_skip(test_name, false) else { return };
    let layers = image_layers();
    let pushed = registry.push_image("app", "1", &layers).await;
    let name = format!("{}/app:1", registry.address);
    let test = TestStore::open().await;
    let children: Vec<_> = (0..5).map(|_| spawn_child(PULLER, test.directory.path(), &name)).collect();
    let mut unpacked = 0;
    for child in children {
        let output = child.wait_with_output().expect("an end");
        let text = String::from_utf8(output.stdout).expect("text");
        assert!(text.contains("PROGRESS Pulled"), "{text}");
        unpacked += text.matches("PROGRESS Done").count();
    }
    assert_eq!(unpacked, layers.len());
    assert_whole(&test, &name, &pushed).await;
}
