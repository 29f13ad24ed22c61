//! Many processes at once, without a daemon between them.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};

use futures_util::future::join_all;
use runtime::network::{NetworkConfig, Owner, PodNetwork};

use crate::support::{Netns, Node, multi_thread_runtime};

const PROCESSES: usize = 5;
const PODS_PER_PROCESS: usize = 10;
/// Makes a process of this test a worker: the state folder and the pid of the owner.
const WORKER: &str = "USHER_TEST_NETWORK_WORKER";
const NAME: &str = "concurrency::processes_that_attach_at_once_get_different_addresses";

#[test]
fn processes_that_attach_at_once_get_different_addresses() {
    if let Ok(task) = std::env::var(WORKER) {
        return work(&task);
    }
    let Some(node) = Node::new(NAME) else { return };
    let workers: Vec<_> = (0..PROCESSES)
        .map(|number| {
            let task = format!("{} {} {number}", node.state_dir().display(), std::process::id());
            Command::new(std::env::current_exe().expect("we run"))
                .args(["--exact", NAME, "--nocapture", "--test-threads=1"])
                .env(WORKER, task)
                .stdout(Stdio::piped())
                .spawn()
                .expect("a process")
        })
        .collect();

    let mut addresses = Vec::new();
    for worker in workers {
        let output = worker.wait_with_output().expect("it ends");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        let output = String::from_utf8(output.stdout).expect("text");
        addresses.extend(output.split_whitespace().filter_map(|word| word.parse::<Ipv4Addr>().ok()));
    }
    let different: BTreeSet<_> = addresses.iter().collect();
    assert_eq!((addresses.len(), different.len()), (PROCESSES * PODS_PER_PROCESS, PROCESSES * PODS_PER_PROCESS));

    let network = PodNetwork::new(node.config()).expect("valid");
    node.run(async {
        join_all((0..PROCESSES * PODS_PER_PROCESS).map(|number| {
            let (network, uid) = (&network, format!("pod-{number}"));
            async move { network.detach(&uid).await.expect("detached") }
        }))
        .await;
    });
    let left = std::fs::read_dir(node.state_dir().join("usher0/addresses")).expect("readable").count();
    assert_eq!(left, 0);
}

/// One of the processes: attaches its pods all at once and tells their addresses.
#[expect(clippy::print_stdout, reason = "the parent test reads it")]
fn work(task: &str) {
    let mut words = task.split(' ');
    let mut word = || words.next().expect("three words");
    let config = NetworkConfig { state_dir: word().into(), ..NetworkConfig::default() };
    let owner = Owner::of(word().parse().expect("a pid")).expect("the parent runs");
    let number: usize = word().parse().expect("a number");
    let network = PodNetwork::new(config).expect("valid");
    let pods: Vec<_> = (0..PODS_PER_PROCESS).map(|_| Netns::new()).collect();
    let attached = multi_thread_runtime().block_on(join_all(pods.iter().enumerate().map(|(at, netns)| {
        let (network, uid) = (&network, format!("pod-{}", number * PODS_PER_PROCESS + at));
        async move { network.attach(netns.fd(), &uid, owner).await.expect("attached").pod_ips.ipv4 }
    })));
    for address in attached {
        println!(" {address} ");
    }
}
