//! `usher rm`: stops pods properly, also those whose engine is gone, and leaves nothing of them behind.

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use lifecycle::{Grace, KillPod, KillTrigger};
use node::control::{self, EngineLock};
use node::{NodeConfig, PodDriver, PodState, PodWorld};
use runtime::{EmbeddedRuntime, Runtime as _};
use tokio::sync::mpsc;

use crate::cli::{Global, Rm};
use crate::commands::pods::{self, FoundPod};
use crate::commands::{node_config, runtime};
use crate::story::Story;
use crate::story::paint::Paint;

/// How often it is looked whether another engine is done with a pod.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

pub(crate) async fn rm(global: &Global, rm: Rm) -> anyhow::Result<ExitCode> {
    let node = node_config(global);
    let found = if rm.all {
        pods::all(&node)?
    } else {
        let mut found = Vec::new();
        for wanted in &rm.pods {
            found.extend(pods::called(&node, wanted)?);
        }
        found
    };
    let grace = match (rm.force, rm.grace_period) {
        (true, _) => Grace::AtOnce,
        (false, Some(secs)) => Grace::Seconds(secs),
        (false, None) => Grace::FromSpec,
    };
    let remover = Remover { runtime: runtime(global)?, node, kill: KillPod { trigger: KillTrigger::Deleted, grace }, quiet: rm.quiet };
    let mut tasks = tokio::task::JoinSet::new();
    let remover = Arc::new(remover);
    let color = Paint::new(global.use_color());
    for pod in found {
        let remover = remover.clone();
        tasks.spawn(async move { remover.remove(pod, color).await });
    }
    let mut first_error = None;
    while let Some(done) = tasks.join_next().await {
        if let Err(error) = done.context("the removal of a pod broke off")? {
            first_error.get_or_insert(error);
        }
    }
    first_error.map_or(Ok(ExitCode::SUCCESS), Err)
}

struct Remover {
    runtime: Arc<EmbeddedRuntime>,
    node: NodeConfig,
    kill: KillPod,
    quiet: bool,
}

impl Remover {
    async fn remove(&self, pod: FoundPod, paint: Paint) -> anyhow::Result<()> {
        let what = || format!("cannot remove pod {}", pod.full_name());
        let mut asked = false;
        // Either another engine drives it and is asked, or nobody does and we take over.
        let lock = loop {
            match EngineLock::try_take(&pod.folder) {
                Ok(Some(lock)) => break lock,
                Ok(None) if !asked => asked = control::ask_to_kill(&pod.folder, self.kill).await.is_ok(),
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
        drop(lock);
        if let Err(error) = std::fs::remove_dir_all(&pod.folder)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            return Err(error).with_context(what);
        }
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
