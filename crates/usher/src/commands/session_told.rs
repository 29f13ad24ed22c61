//! Tells the engine that drives a pod what people do in its containers, for the journal: a session's begin, and its end.
//!
//! A pod that no engine drives has nobody who writes its journal; then nothing is told. Nothing fails for that.

use std::path::PathBuf;

use chronicle::sieve::sessions::cut_command;
use chronicle::{Moment, SessionFacts, SessionVerb};
use node::{clock, control};

/// A session that has begun. Its end is told by [`Told::end`], or when this is dropped.
#[derive(Debug)]
pub(crate) struct Told {
    pod_dir: PathBuf,
    facts: Option<SessionFacts>,
}

/// What begins.
#[derive(Debug)]
pub(crate) struct Beginning {
    /// Name of the container.
    pub(crate) container: String,
    /// The running instance.
    pub(crate) container_id: String,
    pub(crate) verb: SessionVerb,
    pub(crate) command: Vec<String>,
    pub(crate) tty: bool,
    /// Who, where that is not whoever's process this is.
    pub(crate) by: Option<String>,
}

impl Told {
    /// Tells the begin, before anything is done, so that it stands before what comes of it.
    pub(crate) async fn begin(pod_dir: PathBuf, id: &str, beginning: Beginning) -> Self {
        let Beginning { container, container_id, verb, command, tty, by } = beginning;
        let (id, command, started_at) = (id.to_owned(), cut_command(command), moment());
        let facts = SessionFacts {
            id,
            container,
            container_id,
            verb,
            command,
            tty,
            by,
            started_at,
            finished_at: None,
            exit_code: None,
            left_out: 0,
        };
        let told = Self { pod_dir, facts: Some(facts.clone()) };
        tell(told.pod_dir.clone(), facts).await;
        told
    }

    /// Tells the end.
    pub(crate) async fn end(mut self, exit_code: Option<i32>) {
        if let Some(facts) = self.facts.take() {
            tell(self.pod_dir.clone(), SessionFacts { finished_at: Some(moment()), exit_code, ..facts }).await;
        }
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        // The client went away.
        let (Some(facts), Ok(engine)) = (self.facts.take(), tokio::runtime::Handle::try_current()) else { return };
        drop(engine.spawn(tell(self.pod_dir.clone(), SessionFacts { finished_at: Some(moment()), ..facts })));
    }
}

async fn tell(pod_dir: PathBuf, facts: SessionFacts) {
    if let Err(error) = control::tell_session(&pod_dir, facts).await {
        tracing::debug!(%error, pod_dir = %pod_dir.display(), "a session is not in the journal");
    }
}

fn moment() -> Moment {
    let now = clock::moment();
    Moment { boot_nanos: now.boot_nanos, wall_nanos: now.wall_nanos }
}
