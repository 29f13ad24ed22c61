//! Measures how long it takes to attach and detach pods, one after the other and many at once, in a network namespace of its own.
//!
//! `cargo run --release -p usher-runtime --example attach_pods [PODS]`, as root.

use std::fs::File;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures_util::future::try_join_all;
use runtime::network::{HostPort, NetworkConfig, Owner, PodNetwork, Protocol};
use rustix::fd::OwnedFd;
use rustix::thread::UnshareFlags;

fn main() -> anyhow::Result<()> {
    let pods: usize = std::env::args().nth(1).map_or(Ok(200), |text| text.parse()).context("PODS is a number")?;
    leave_network()?;
    let state_dir = tempfile::tempdir()?;
    let config = NetworkConfig { state_dir: state_dir.path().to_owned(), ..NetworkConfig::default() };
    let network = PodNetwork::new(config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(measure(&network, pods))
}

async fn measure(network: &PodNetwork, pods: usize) -> anyhow::Result<()> {
    let owner = Owner::of(std::process::id())?;
    let namespaces: Vec<OwnedFd> = (0..pods).map(|_| new_namespace()).collect::<Result<_, _>>()?;

    let mut attach = Vec::new();
    for (number, namespace) in namespaces.iter().enumerate() {
        let namespace = namespace.try_clone()?;
        let started = Instant::now();
        network.attach(namespace, &format!("pod-{number}"), owner).await?;
        attach.push(started.elapsed());
    }
    report("attach, one after the other (the first makes the bridge)", attach);

    let mut add_port = Vec::new();
    for number in 0..pods.min(1000) {
        let host_port = u16::try_from(number + 10_000)?;
        let port = HostPort { host_ip: None, host_port, protocol: Protocol::Tcp, container_port: 80 };
        let started = Instant::now();
        network.add_host_ports(&format!("pod-{number}"), &[port]).await?;
        add_port.push(started.elapsed());
    }
    report("add a host port to as many", add_port);

    let mut detach = Vec::new();
    for number in 0..pods {
        let started = Instant::now();
        network.detach(&format!("pod-{number}")).await?;
        detach.push(started.elapsed());
    }
    report("detach, namespace still there", detach);

    drop(namespaces);
    let namespaces: Vec<OwnedFd> = (0..pods).map(|_| new_namespace()).collect::<Result<_, _>>()?;
    let started = Instant::now();
    try_join_all(namespaces.iter().enumerate().map(|(number, namespace)| async move {
        network.attach(namespace.try_clone()?, &format!("pod-{number}"), owner).await?;
        anyhow::Ok(())
    }))
    .await?;
    report_total("attach, all at once", started.elapsed(), pods);
    Ok(())
}

fn new_namespace() -> anyhow::Result<OwnedFd> {
    let made = thread::spawn(|| {
        leave_network()?;
        anyhow::Ok(File::open("/proc/thread-self/ns/net")?.into())
    });
    made.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

#[expect(clippy::print_stdout, reason = "this is what it is for")]
fn report(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |percent: usize| times.get(times.len() * percent / 100).or(times.last()).copied().unwrap_or_default();
    println!("{what}: min {:?}, p50 {:?}, p99 {:?}, max {:?}", at(0), at(50), at(99), at(100));
}

#[expect(clippy::print_stdout, reason = "this is what it is for")]
fn report_total(what: &str, total: Duration, pods: usize) {
    println!("{what}: {total:?}, {:?} a pod", total / u32::try_from(pods).unwrap_or(u32::MAX));
}

#[expect(unsafe_code, reason = "rustix marks unshare as unsafe because of its flag CLONE_FILES")]
fn leave_network() -> std::io::Result<()> {
    // SAFETY: only the network namespace of this thread is changed; file descriptors stay shared.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }.map_err(std::io::Error::from)
}
