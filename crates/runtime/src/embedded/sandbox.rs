//! Sandboxes: a shim with the pod's namespaces, a cgroup with the pod's limits, an address, and shared memory.
//!
//! Made in an order in which whatever it is cut off at is found and removed by the next try: first what will be made is written
//! down, then it is made, then it is written down that it is whole. The removal goes the other way and does every step, even
//! if one fails.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::mount::{MountFlags, mount};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use shim::cgroup::{Cgroup, CgroupPath};
use shim::client::{ShimRecord, spawn_shim_program};
use shim::monitor::{Namespace, ShimArgs};
use shim::protocol::{Call, ShutdownMode};
use shim::records::{ContainerExit, ShimIdentity};

use super::errors::{ReachError, StepError, chain};
use super::link::is_shim_alive;
use super::pod_folder::{PodFolder, SandboxRecord, unmount_below};
use super::pods::Pod;
use super::spec::linux_resources;
use super::{Inner, blocking};
use crate::network::{HostPort, Owner, Protocol};
use crate::{Cause, PodSandbox, PodSandboxConfig, PortMapping, RunPodSandboxError, StopPodSandboxError};

/// How long a shim may take to be ready. It takes a few milliseconds; a machine that starts many pods at once is slow.
const SPAWN_WITHIN: Duration = Duration::from_secs(30);
/// How long a shim may take to kill all its containers and end. It gives up itself after ten seconds.
const SHUTDOWN_WITHIN: Duration = Duration::from_secs(20);
/// How long processes may take to die of SIGKILL. What is left then hangs in the kernel.
const KILL_WITHIN: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Options of `/dev/shm`, the size of which is that of the usual runtimes.
const SHM_OPTIONS: &std::ffi::CStr = c"mode=1777,size=65536k";

/// Makes the pod's sandbox, or finds the one that is there.
pub(crate) async fn run(runtime: &Arc<Inner>, pod: &Arc<Pod>, config: PodSandboxConfig) -> Result<PodSandbox, RunPodSandboxError> {
    runtime.config.handler(&config.runtime_handler).map_err(|error| RunPodSandboxError::Handler(error.into()))?;
    let _work = pod.work.lock().await;
    let fail = |source: StepError| RunPodSandboxError::Shim { pod: config.uid.clone(), source: source.into() };
    match pod.link(runtime).await {
        Ok(_) => {
            let record = pod.sandbox().await.map_err(|error| fail(error.into()))?;
            return Ok(PodSandbox { ips: record.ips, warnings: Vec::new() });
        }
        Err(ReachError::NoSandbox | ReachError::Gone) => {}
        Err(error) => return Err(fail(error.into())),
    }
    let before = match pod.sandbox().await {
        Ok(record) => Some(record),
        Err(ReachError::NoSandbox) => None,
        Err(error) => return Err(fail(error.into())),
    };
    if let Some(before) = &before {
        release(runtime, &pod.folder, before, ShimEnd::Unasked).await.map_err(fail)?;
    }
    let mut record = SandboxRecord {
        shim: before.map_or(0, |before| before.shim + 1),
        cgroup: runtime.config.pod_cgroup(&config.uid),
        is_ready: false,
        ips: Vec::new(),
        config,
    };
    match make(runtime, pod, &mut record).await {
        Ok(warnings) => Ok(PodSandbox { ips: record.ips, warnings }),
        Err(error) => {
            pod.drop_link().await;
            if let Err(undo) = release(runtime, &pod.folder, &record, ShimEnd::Unasked).await {
                tracing::warn!(pod = pod.uid(), error = chain(&undo), "what was made of a sandbox that failed is not all gone");
            }
            Err(error)
        }
    }
}

async fn make(runtime: &Arc<Inner>, pod: &Arc<Pod>, record: &mut SandboxRecord) -> Result<Vec<String>, RunPodSandboxError> {
    let uid = || record.config.uid.clone();
    let (folder, planned) = (pod.folder.clone(), record.clone());
    blocking(move || prepare_files(&folder, &planned)).await.map_err(|(path, source)| RunPodSandboxError::Files { path, source })?;
    let planned = record.clone();
    blocking(move || make_cgroup(&planned)).await.map_err(|source| RunPodSandboxError::Cgroup { pod: uid(), source })?;

    let args = shim_args(runtime, &pod.folder, record);
    let program = runtime.config.shim_executable.clone();
    let spawned = blocking(move || spawn_shim_program(&program, &args, SPAWN_WITHIN)).await;
    let shim = spawned.map_err(|source| RunPodSandboxError::Shim { pod: uid(), source: source.into() })?;
    let mut warnings = Vec::new();
    if !record.config.host_network {
        let network_error = |source: Cause| RunPodSandboxError::Network { pod: uid(), source };
        record.ips = attach(runtime, record, &shim, &mut warnings).await.map_err(network_error)?;
    }
    record.is_ready = true;
    let (folder, ready) = (pod.folder.clone(), record.clone());
    let written = blocking(move || folder.write_sandbox(&ready)).await;
    written.map_err(|error| RunPodSandboxError::Files { path: error.path, source: error.source })?;
    match pod.link(runtime).await {
        Ok(_) => Ok(warnings),
        Err(source) => Err(RunPodSandboxError::Shim { pod: uid(), source: source.into() }),
    }
}

fn prepare_files(folder: &PodFolder, record: &SandboxRecord) -> Result<(), (std::path::PathBuf, io::Error)> {
    let shm = folder.shm();
    for (dir, mode) in [(folder.path(), 0o750), (&folder.shim_dir(record.shim), 0o700), (&shm, 0o755)] {
        DirBuilder::new().recursive(true).mode(mode).create(dir).map_err(|error| (dir.to_owned(), error))?;
    }
    folder.write_sandbox(record).map_err(|error| (error.path, error.source))?;
    if !record.config.host_ipc {
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        mount("shm", &shm, "tmpfs", flags, SHM_OPTIONS).map_err(|error| (shm, error.into()))?;
    }
    Ok(())
}

fn make_cgroup(record: &SandboxRecord) -> Result<(), Cause> {
    let path = CgroupPath::new(&record.cgroup)?;
    Cgroup::create_pod(&path, &linux_resources(&record.config.resources))?;
    Ok(())
}

fn shim_args(runtime: &Inner, folder: &PodFolder, record: &SandboxRecord) -> ShimArgs {
    let config = &record.config;
    let namespace = |is_host: bool| if is_host { Namespace::Host } else { Namespace::New };
    // The host name is the network's business: with the node's network a pod has the node's name.
    let uts = namespace(config.host_network);
    ShimArgs {
        state_dir: folder.shim_dir(record.shim),
        pod_uid: config.uid.clone(),
        netns: namespace(config.host_network),
        ipc: namespace(config.host_ipc),
        uts,
        pid: namespace(config.host_pid || !config.share_process_namespace),
        hostname: Some(config.hostname.clone()).filter(|name| !name.is_empty() && uts == Namespace::New),
        cgroup: record.cgroup.clone(),
        shim_cgroup: runtime.config.shim_cgroup(),
    }
}

async fn attach(
    runtime: &Inner,
    record: &SandboxRecord,
    shim: &ShimIdentity,
    warnings: &mut Vec<String>,
) -> Result<Vec<std::net::IpAddr>, Cause> {
    let uid = &record.config.uid;
    let netns: OwnedFd = File::open(format!("/proc/{}/ns/net", shim.process.pid))?.into();
    let owner = Owner { pid: u32::try_from(shim.process.pid)?, start_time: shim.process.start_ticks };
    let ports = record.config.port_mappings.iter().map(host_port).collect::<Result<Vec<_>, _>>()?;
    let attachment = runtime.network.attach(netns, uid, owner).await?;
    let mut notices = attachment.notices;
    if !ports.is_empty() {
        notices.extend(runtime.network.add_host_ports(uid, &ports).await?);
    }
    warnings.extend(notices.iter().map(ToString::to_string));
    Ok(attachment.pod_ips.iter().collect())
}

fn host_port(mapping: &PortMapping) -> Result<HostPort, StepError> {
    let protocol = match mapping.protocol.as_str() {
        "TCP" => Protocol::Tcp,
        "UDP" => Protocol::Udp,
        "SCTP" => Protocol::Sctp,
        other => return Err(StepError::Told(format!("protocol {other:?} of host port {} is not TCP, UDP or SCTP", mapping.host_port))),
    };
    let (host_port, container_port) = (mapping.host_port, mapping.container_port);
    Ok(HostPort { host_ip: mapping.host_ip, host_port, protocol, container_port })
}

/// Ends the sandbox: kills what runs in it, and gives back what it held. Its records stay.
pub(crate) async fn stop(runtime: &Arc<Inner>, pod: &Arc<Pod>) -> Result<(), StopPodSandboxError> {
    let _work = pod.work.lock().await;
    stop_locked(runtime, pod).await.map_err(|source| failed("stop", pod, source))
}

/// Ends the sandbox and removes the pod's folder.
pub(crate) async fn remove(runtime: &Arc<Inner>, pod: &Arc<Pod>) -> Result<(), StopPodSandboxError> {
    let _work = pod.work.lock().await;
    let removed = async {
        stop_locked(runtime, pod).await?;
        let folder = pod.folder.clone();
        let containers =
            blocking(move || folder.containers()).await.map_err(StepError::file("list the containers of", pod.folder.path()))?;
        for container in containers {
            let store = runtime.image_store().await.map_err(StepError::part("open the image store"))?;
            let released = store.release(pod.folder.path(), container.id.as_str()).await;
            released.map_err(StepError::part("release the image of a container"))?;
        }
        let folder = pod.folder.clone();
        blocking(move || folder.remove()).await.map_err(StepError::file("remove", pod.folder.path()))
    };
    removed.await.map_err(|source| failed("remove", pod, source))?;
    runtime.pods.forget(pod.uid());
    Ok(())
}

fn failed(what: &'static str, pod: &Pod, source: StepError) -> StopPodSandboxError {
    StopPodSandboxError { what, pod: pod.uid().to_owned(), source: source.into() }
}

async fn stop_locked(runtime: &Arc<Inner>, pod: &Arc<Pod>) -> Result<(), StepError> {
    let record = match pod.sandbox().await {
        Ok(record) => record,
        Err(ReachError::NoSandbox) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let end = match pod.link(runtime).await {
        Ok(link) => {
            link.expect_end();
            // If it does not end by itself, it is made to.
            if let Err(error) = link.call(Call::Shutdown { mode: ShutdownMode::KillAll }, SHUTDOWN_WITHIN).await {
                tracing::warn!(pod = pod.uid(), error = chain(&error), "a shim did not shut down and is killed");
            }
            ShimEnd::Asked
        }
        Err(ReachError::NoSandbox | ReachError::Gone) => ShimEnd::Unasked,
        Err(error) => {
            tracing::warn!(pod = pod.uid(), error = chain(&error), "a shim cannot be reached and is killed");
            ShimEnd::Unasked
        }
    };
    pod.drop_link().await;
    release(runtime, &pod.folder, &record, end).await
}

/// Takes everything from a sandbox that may have been made of it, whatever is left of it. All steps are done; the first error
/// is told.
async fn release(runtime: &Inner, folder: &PodFolder, record: &SandboxRecord, end: ShimEnd) -> Result<(), StepError> {
    let (of_shim, planned) = (folder.clone(), record.clone());
    let killed = blocking(move || kill(&of_shim, &planned, end)).await;
    let detached = if record.config.host_network {
        Ok(())
    } else {
        runtime.network.detach(folder.uid()).await.map_err(StepError::part("detach the pod from the network"))
    };
    let shm = folder.shm();
    let unmounted = blocking(move || unmount_below(&shm).map_err(StepError::file("unmount", &shm))).await;
    killed.and(detached).and(unmounted)
}

/// What is to be done when the shim has died by itself: nothing may run on unseen. Returns the ends that it had recorded.
pub(crate) async fn release_lost(runtime: &Inner, pod: &Pod, record: &SandboxRecord) -> Vec<ContainerExit> {
    let _work = pod.work.lock().await;
    let folder = &pod.folder;
    // Cgroup and address belong to the pod, and a new shim may have them by now.
    if pod.sandbox().await.is_ok_and(|present| present.shim == record.shim)
        && let Err(error) = release(runtime, folder, record, ShimEnd::Unasked).await
    {
        tracing::error!(pod = folder.uid(), error = chain(&error), "what a dead shim left is not all gone");
    }
    let dir = folder.shim_dir(record.shim);
    match blocking(move || ShimRecord::load(&dir)).await {
        Ok(found) => found.map_or_else(Vec::new, |found| found.containers.into_iter().filter_map(|container| container.exit).collect()),
        Err(error) => {
            tracing::error!(pod = folder.uid(), error = chain(&error), "the records of a dead shim cannot be read");
            Vec::new()
        }
    }
}

/// Kills the shim if it lives, and then everything in the pod's cgroup.
fn kill(folder: &PodFolder, record: &SandboxRecord, end: ShimEnd) -> Result<(), StepError> {
    kill_shim(&folder.shim_dir(record.shim), end)?;
    let path = CgroupPath::new(&record.cgroup).map_err(StepError::part("use the pod's cgroup"))?;
    let cgroup = Cgroup::open(&path).map_err(StepError::part("open the pod's cgroup"))?;
    cgroup.kill_all(KILL_WITHIN).map_err(StepError::part("kill what is in the pod's cgroup"))?;
    cgroup.remove().map_err(StepError::part("remove the pod's cgroup"))
}

fn kill_shim(dir: &Path, end: ShimEnd) -> Result<(), StepError> {
    let patience = match end {
        ShimEnd::Asked => SHIM_ENDS_WITHIN,
        ShimEnd::Unasked => Duration::ZERO,
    };
    let is_alive = || is_shim_alive(dir).map_err(StepError::file("look for the shim in", dir));
    let begun = Instant::now();
    let mut is_killed = false;
    while is_alive()? {
        if begun.elapsed() >= KILL_WITHIN {
            return Err(StepError::Told(format!("the shim in {} does not die", dir.display())));
        }
        // It ends by itself a moment after it said so; and while it starts there is no record of it yet.
        if !is_killed && begun.elapsed() >= patience {
            is_killed = ShimRecord::load(dir).ok().flatten().is_some_and(|record| kill_process(&record.shim));
        }
        std::thread::sleep(LOOK_AGAIN);
    }
    Ok(())
}

/// Whether a shim that still lives has been asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ShimEnd {
    /// It has, and does so by itself.
    Asked,
    /// It has not: an engine that died was making its sandbox. To wait for it would only give the next one time to die too.
    Unasked,
}

/// How long a shim that said it would end is given to do so.
const SHIM_ENDS_WITHIN: Duration = Duration::from_secs(1);

/// Kills just this process, even if its pid should be used again in this moment.
fn kill_process(shim: &ShimIdentity) -> bool {
    let pid = Pid::from_raw(shim.process.pid);
    let Some(Ok(pidfd)) = pid.map(|pid| pidfd_open(pid, PidfdFlags::empty())) else { return false };
    shim.process.is_alive() && pidfd_send_signal(&pidfd, Signal::KILL).is_ok()
}
