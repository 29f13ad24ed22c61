//! How long a change takes to reach every watcher: `fanout [WATCHERS] [CHANGES]`.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use server::kinds::stored;
use server::registry::{ListOptions, Registry, WriteOptions};
use server::store::Store;
use tokio::sync::mpsc;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let watchers: usize = arguments.next().map_or(Ok(1000), |text| text.parse()).context("the first argument is a number of watchers")?;
    let rounds: usize = arguments.next().map_or(Ok(100), |text| text.parse()).context("the second argument is a number of changes")?;
    let folder = tempfile::tempdir()?;
    let registry = Registry::new(Store::open(&folder.path().join("store.redb"))?, "here");
    registry.bootstrap().await?;
    let kind = stored("configmaps");
    let (seen, mut all_seen) = mpsc::unbounded_channel();
    for _ in 0..watchers {
        let mut changes = registry.watch(kind, None, &ListOptions::default(), None)?;
        let seen = seen.clone();
        tokio::spawn(async move { while changes.next().await.is_ok() && seen.send(Instant::now()).is_ok() {} });
    }
    let mut delays: Vec<Duration> = Vec::new();
    let mut writes: Vec<Duration> = Vec::new();
    for round in 0..rounds {
        let object = serde_json::json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": format!("m{round}"), "namespace": "default" } });
        let begun = Instant::now();
        registry.create(kind, "default", object, &WriteOptions::of("fanout")).await?;
        writes.push(begun.elapsed());
        for _ in 0..watchers {
            let at = all_seen.recv().await.context("a watcher ended")?;
            delays.push(at.saturating_duration_since(begun));
        }
    }
    writes.sort_unstable();
    delays.sort_unstable();
    let of = |delays: &[Duration], part: usize| delays[(delays.len() * part / 100).min(delays.len() - 1)];
    #[expect(clippy::print_stdout, reason = "it is for people")]
    {
        println!("{watchers} watchers, {rounds} changes");
        println!("durable after  p50 {:?}  p99 {:?}", of(&writes, 50), of(&writes, 99));
        println!("told after     p50 {:?}  p99 {:?}  max {:?}", of(&delays, 50), of(&delays, 99), of(&delays, 100));
    }
    Ok(())
}
