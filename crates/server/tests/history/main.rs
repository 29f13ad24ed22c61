//! A check in the manner of Jepsen: many clients write and read and watch at the same time, over HTTP, and what they were told is
//! explained by one order of all writes, the order of resource versions, or it is wrong.
//!
//! A short run with each run of the tests; `cargo xtask history` lasts as long as it is told to, and stops and starts the server
//! meanwhile.

mod checker;
mod client;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use server::backend::NoBackend;
use server::{Config, Patience, Server};
use tokio::sync::watch;

use checker::{Answer, Ask, History, Op, Seen};
use client::{Client, Observer, Random, Watching};

/// Objects that all writers fight for.
const KEYS: usize = 4;
const WRITERS: u64 = 6;
const READERS: u64 = 2;
const WATCHERS: u64 = 6;

/// What a run is like.
#[derive(Clone, Copy, Debug)]
struct Run {
    /// It can be repeated with the same choices, though not with the same order of events.
    seed: u64,
    time: Duration,
    /// How often the server is stopped and started again.
    restarts: u32,
}

/// The figures of `cargo xtask history` come by the environment.
fn run() -> Run {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let time = number("USHER_HISTORY_SECONDS").map_or(Duration::from_millis(1500), Duration::from_secs);
    let seed = number("USHER_HISTORY_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    Run { seed, time, restarts: u32::try_from(time.as_secs() / 3).unwrap_or(u32::MAX).max(1) }
}

async fn start(folder: &Path) -> Server {
    let config = Config {
        folder: folder.join("root"),
        listen: Vec::new(),
        socket: Some(folder.join("api.sock")),
        node: "here".to_owned(),
        names: Vec::new(),
        backend: Arc::new(NoBackend),
        lives: Arc::new(server::lives::NoLives::default()),
        patience: Patience::default(),
        metrics: prometheus::Registry::new(),
        support: api::NodeSupport::default(),
    };
    Server::start(config).await.expect("the server starts")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_clients_are_told_is_explained_by_one_order_of_all_writes() {
    let run = run();
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("api.sock");
    let mut server = start(folder.path()).await;
    let mut observer = Observer::begin(&server);
    let mut seen = Vec::new();
    let begun = Instant::now();
    let (done, ending) = watch::channel(None);
    let mut workers = Vec::new();
    for number in 0..WRITERS + READERS {
        let random = Random::new(run.seed ^ number << 32);
        let client = Client::new(&socket, begun);
        workers.push(tokio::spawn(work(client, random, number >= WRITERS, begun + run.time)));
    }
    let mut watchers = Vec::new();
    for number in 0..WATCHERS {
        let random = Random::new(run.seed ^ 0xff ^ number << 40);
        watchers.push(tokio::spawn(Watching::new(&socket, begun, random, ending.clone()).run()));
    }
    for restart in 1..=run.restarts {
        tokio::time::sleep_until((begun + run.time * restart / (run.restarts + 1)).into()).await;
        server.stop().await;
        seen.push(observer.end().await);
        server = start(folder.path()).await;
        observer = Observer::begin(&server);
    }
    let mut ops = Vec::new();
    for worker in workers {
        ops.extend(worker.await.expect("a client ends"));
    }
    // A last write, after everything: whoever has seen it has seen all.
    let last = Client::new(&socket, begun).ask(Ask::Create { key: "last".to_owned(), number: 0 }).await;
    let Answer::Written(end, _) = last.answer else { panic!("{last:?}") };
    ops.push(last);
    done.send_replace(Some(end));
    for watcher in watchers {
        let (watches, lists) = watcher.await.expect("a watcher ends");
        seen.extend(watches);
        ops.extend(lists);
    }
    server.stop().await;
    seen.push(observer.end().await);
    let history = History { ops, seen };
    let figures = history.figures();
    #[expect(clippy::print_stdout, reason = "cargo xtask history shows it")]
    {
        println!("seed {}: {figures}", run.seed);
    }
    if let Err(wrong) = history.clone().check() {
        let kept = std::env::temp_dir().join(format!("usher-history-{}.txt", run.seed));
        let _ = std::fs::write(&kept, format!("{history:#?}"));
        panic!("seed {}: {wrong}\nthe whole history is in {}", run.seed, kept.display());
    }
    assert!(history.is_telling(), "too little happened: {figures}");
}

/// Writes, or only reads, until the time is over.
async fn work(mut client: Client, mut random: Random, only_reads: bool, until: Instant) -> Vec<Op> {
    let mut ops: Vec<Op> = Vec::new();
    let mut known = [None; KEYS];
    let mut number = random.next() >> 32 << 20;
    while Instant::now() < until {
        number += 1;
        let at = usize::try_from(random.below(KEYS as u64)).expect("few");
        let key = format!("key-{at}");
        let ask = match (only_reads, random.below(10)) {
            (true, 0..=2) | (false, 9) => Ask::List,
            (true, _) | (false, 7 | 8) => Ask::Get { key },
            (false, 0..=1) => Ask::Create { key, number },
            (false, 2..=3) => match known[at] {
                Some(version) => Ask::Update { key, number, version },
                None => Ask::Get { key },
            },
            (false, 4..=5) => Ask::Patch { key, number },
            (false, _) => match known[at] {
                Some(version) => Ask::Delete { key, version },
                None => Ask::Patch { key, number },
            },
        };
        let op = client.ask(ask).await;
        match &op.answer {
            Answer::Written(version, _) | Answer::Found(version, _) => known[at] = Some(*version).filter(|_| !matches!(op.ask, Ask::List)),
            Answer::Deleted(_) | Answer::Absent => known[at] = None,
            Answer::Conflict | Answer::Exists | Answer::Listed(..) | Answer::Unknown(_) => {}
        }
        ops.push(op);
    }
    ops
}

/// The checker finds what is wrong: each of these histories differs in one point from one that is right.
#[test]
fn a_history_that_no_order_explains_is_found_out() {
    let op = |begun, ended, ask, answer| Op { begun, ended, ask, answer };
    let key = || "k".to_owned();
    let create = |number| Ask::Create { key: key(), number };
    let right = || History {
        ops: vec![
            op(0, 1, create(1), Answer::Written(10, 1)),
            op(2, 3, Ask::Patch { key: key(), number: 2 }, Answer::Written(11, 2)),
            op(4, 5, Ask::Update { key: key(), number: 3, version: 10 }, Answer::Conflict),
            op(4, 6, Ask::Get { key: key() }, Answer::Found(11, 2)),
            op(6, 7, Ask::List, Answer::Listed(11, vec![("k".to_owned(), 11, 2)])),
            op(8, 9, Ask::Delete { key: key(), version: 11 }, Answer::Deleted(None)),
            op(10, 11, Ask::Get { key: key() }, Answer::Absent),
            op(12, 13, create(4), Answer::Written(13, 4)),
            op(14, 15, create(5), Answer::Exists),
        ],
        seen: vec![Seen {
            after: 10,
            events: [("MODIFIED", 11, 2), ("DELETED", 12, 2), ("ADDED", 13, 4)]
                .map(|(kind, version, number)| (kind.to_owned(), key(), version, number))
                .to_vec(),
            up_to: 13,
        }],
    };
    assert_eq!(right().check(), Ok(()));
    type Spoil = fn(&mut History);
    let spoils: [(&str, Spoil, &str); 15] = [
        ("a version given twice", |h| h.ops[1].answer = Answer::Written(10, 2), "given twice"),
        ("an order that time contradicts", |h| h.ops[0].answer = Answer::Written(14, 1), "though it was over before"),
        ("a change that nobody made", |h| h.seen[0].events.push(("MODIFIED".to_owned(), "k".to_owned(), 14, 9)), "nobody"),
        ("an event missed", |h| drop(h.seen[0].events.remove(0)), "missed"),
        ("a deletion that nobody was told of", |h| drop(h.seen[0].events.remove(1)), "all watches missed"),
        (
            "an event twice",
            |h| {
                let first = h.seen[0].events[0].clone();
                h.seen[0].events.insert(1, first);
            },
            "out of order or twice",
        ),
        ("events out of order", |h| h.seen[0].events.swap(0, 1), "out of order or twice"),
        ("the last event missed", |h| drop(h.seen[0].events.pop()), "missed"),
        ("a wrong kind of event", |h| h.seen[0].events[2].0 = "MODIFIED".to_owned(), "is told as"),
        ("another content", |h| h.seen[0].events[0].3 = 7, "is told with"),
        ("a stale read", |h| h.ops[6].answer = Answer::Found(11, 2), "stale"),
        ("a read of the future", |h| h.ops[3].answer = Answer::Found(13, 4), "future"),
        ("absent while it was there", |h| h.ops[3].answer = Answer::Absent, "absent"),
        ("a list that lacks an object", |h| h.ops[4].answer = Answer::Listed(11, Vec::new()), "list"),
        ("a conflict without a reason", |h| h.ops[2].ask = Ask::Update { key: "k".to_owned(), number: 3, version: 11 }, "conflict"),
    ];
    for (what, spoil, expected) in spoils {
        let mut history = right();
        spoil(&mut history);
        let wrong = history.check().expect_err(what);
        assert!(wrong.contains(expected), "{what}: {wrong}");
    }
}
