//! `usher rm`: stops pods properly, also those whose engine is gone, and leaves nothing of them behind.

use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use lifecycle::{Grace, KillPod, KillTrigger};
use node::control::{self, EngineLock};
use node::pod_files::remove_pod_folder;
use node::static_pods::is_mirror;
use node::{NodeConfig, PodDriver, PodState, PodWorld};
use runtime::{EmbeddedRuntime, Runtime as _};
use tokio::sync::mpsc;

use crate::cli::{Global, Rm};
use crate::commands::daemon::Daemon;
use crate::commands::pods::{self, FoundPod};
use crate::commands::{node_config, runtime};
use crate::story::Story;
use crate::story::paint::Paint;

/// How often it is looked whether another engine is done with a pod.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

pub(crate) async fn rm(global: &Global, rm: Rm) -> anyhow::Result<ExitCode> {
    let node = node_config(global);
    let daemon = Daemon::running(global)?;
    let found = meant(&node, daemon.as_ref(), &rm)?;
    let grace = match (rm.force, rm.grace_period) {
        (true, _) => Grace::AtOnce,
        (false, Some(secs)) => Grace::Seconds(secs),
        (false, None) => Grace::FromSpec,
    };
    let kill = KillPod { trigger: KillTrigger::Deleted, grace };
    let remover = Remover { runtime: runtime(global)?, node, daemon, kill, quiet: rm.quiet };
    let mut tasks = tokio::task::JoinSet::new();
    let remover = Arc::new(remover);
    let color = Paint::new(global.use_color());
    for pod in found {
        let remover = remover.clone();
        tasks.spawn(async move {
            match pod {
                Meant::OfDaemon(pod) => remover.delete(pod).await,
                Meant::OfMachine(pod) => remover.remove(pod, color).await,
            }
        });
    }
    let mut first_error = None;
    while let Some(done) = tasks.join_next().await {
        if let Err(error) = done.context("the removal of a pod broke off")? {
            first_error.get_or_insert(error);
        }
    }
    first_error.map_or(Ok(ExitCode::SUCCESS), Err)
}

/// A pod that is to go.
enum Meant {
    /// The daemon's API has it: it goes from there, and then from the machine.
    OfDaemon(FoundPod),
    /// Only the machine has it.
    OfMachine(FoundPod),
}

fn meant(node: &NodeConfig, daemon: Option<&Daemon>, rm: &Rm) -> anyhow::Result<Vec<Meant>> {
    let known = daemon.map(Daemon::pods).transpose()?.unwrap_or_default();
    // Deleting a mirror stops nothing: a static pod is the machine's.
    let known: Vec<_> = known.into_iter().filter(|pod| !is_mirror(pod)).map(|pod| FoundPod::of_daemon(node, pod)).collect();
    let of_machine: Vec<_> = pods::all(node)?.into_iter().filter(|pod| !known.iter().any(|known| known.uid == pod.uid)).collect();
    for wanted in &rm.pods {
        anyhow::ensure!(
            known.iter().chain(&of_machine).any(|pod| pod.is_called(wanted)),
            "no pod is called {wanted:?}; `usher ps` lists those that are there"
        );
    }
    let is_meant = |pod: &FoundPod| rm.all || rm.pods.iter().any(|wanted| pod.is_called(wanted));
    let known = known.into_iter().filter(is_meant).map(Meant::OfDaemon);
    Ok(known.chain(of_machine.into_iter().filter(is_meant).map(Meant::OfMachine)).collect())
}

struct Remover {
    runtime: Arc<EmbeddedRuntime>,
    node: NodeConfig,
    daemon: Option<Daemon>,
    kill: KillPod,
    quiet: bool,
}

impl Remover {
    /// Has the daemon do it, as a client of its API would.
    async fn delete(&self, pod: FoundPod) -> anyhow::Result<()> {
        let daemon = self.daemon.clone().context("the daemon is gone")?;
        let path = format!("/api/v1/namespaces/{}/pods/{}", pod.namespace, pod.name);
        let mut options = serde_json::json!({ "kind": "DeleteOptions", "apiVersion": "v1", "preconditions": { "uid": pod.uid } });
        match self.kill.grace {
            Grace::AtOnce => options["gracePeriodSeconds"] = 0.into(),
            Grace::Seconds(secs) => options["gracePeriodSeconds"] = secs.into(),
            Grace::FromSpec => {}
        }
        let answer = tokio::task::block_in_place(|| daemon.ask("DELETE", &path, Some(&options)))?;
        anyhow::ensure!(matches!(answer.code, 200 | 202 | 404), "cannot remove pod {}: {}", pod.full_name(), answer.message());
        loop {
            let still = tokio::task::block_in_place(|| daemon.ask("GET", &path, None))?;
            let object: serde_json::Value = serde_json::from_slice(&still.body).unwrap_or_default();
            let is_known = still.code == 200 && object["metadata"]["uid"] == pod.uid.as_str();
            if !is_known && !pod.folder.exists() {
                break;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        self.say(&format!("pod {} removed", pod.full_name()))
    }

    async fn remove(&self, pod: FoundPod, paint: Paint) -> anyhow::Result<()> {
        let what = || format!("cannot remove pod {}", pod.full_name());
        // A static pod is run again at once, in a folder of the same name.
        let folder = || std::fs::metadata(&pod.folder).map(|metadata| (metadata.ino(), metadata.created().ok())).ok();
        let (mut asked, meant) = (false, folder());
        // Either another engine drives it and is asked, or nobody does and we take over.
        let lock = loop {
            match EngineLock::try_take(&pod.folder) {
                Ok(Some(lock)) => break lock,
                Ok(None) if !asked => asked = control::ask_to_kill(&pod.folder, self.kill).await.is_ok(),
                Ok(None) if folder() != meant => return self.say(&format!("pod {} removed", pod.full_name())),
                Ok(None) => {}
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
                Err(error) => return Err(error).with_context(what),
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        };
        match self.take_over(&pod, paint) {
            Ok((driver, teller)) => {
                driver.handle().kill_by(self.kill, "usher rm");
                driver.run().await;
                let _ = teller.await;
            }
            Err(error) => {
                self.say(&format!("pod {}: {error:#}; it is killed without hooks", pod.full_name()))?;
                self.runtime.stop_pod_sandbox(&pod.uid).await.with_context(what)?;
                self.runtime.remove_pod_sandbox(&pod.uid).await.with_context(what)?;
            }
        }
        // Before the lock goes: nobody else finds it without an engine.
        remove_pod_folder(&pod.folder).with_context(what)?;
        drop(lock);
        self.say(&format!("pod {} removed", pod.full_name()))
    }

    fn take_over(&self, pod: &FoundPod, paint: Paint) -> anyhow::Result<(PodDriver<EmbeddedRuntime>, tokio::task::JoinHandle<()>)> {
        let manifest = pod.pod.clone().context("its manifest cannot be read")?;
        let state = PodState::load(&self.node.state_path(&pod.uid))?;
        let world = PodWorld::new(self.runtime.clone(), self.node.clone(), manifest, node::container_config::Objects::default())?;
        let names: Vec<String> = world.spec().containers.iter().map(|container| container.name.clone()).collect();
        let mut story = Story::new(paint, Some(pod.name.clone()), names.iter().map(String::as_str));
        let (watcher, mut watched) = mpsc::unbounded_channel();
        let driver = PodDriver::resume(world, state, watcher)?;
        let quiet = self.quiet;
        let teller = tokio::spawn(async move {
            while let Some(live) = watched.recv().await {
                let lines = story.tell(&live);
                let mut out = std::io::stdout().lock();
                for line in lines.iter().filter(|_| !quiet) {
                    let _ = writeln!(out, "{line}");
                }
            }
        });
        Ok((driver, teller))
    }

    fn say(&self, text: &str) -> anyhow::Result<()> {
        if !self.quiet {
            writeln!(std::io::stdout().lock(), "{text}")?;
        }
        Ok(())
    }
}
