//! The log of a container as the API gives it out.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use node::logs::choice::{Choice, Wanted, choose, has_ended};
use node::logs::instance::{InstanceLog, LogPart, has_printed, newest_instance};
use node::logs::{Ended, PIECES_MAX, give_out};
use node::static_pods::uid_on_node;
use server::backend::{BackendError, LogOptions, PodRef, Reader};
use server::client::NodeClient;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::mpsc;

/// Begins to read.
pub(super) fn read(root: &Path, pod: PodRef, options: LogOptions, client: NodeClient) -> Result<Reader, BackendError> {
    let folder = root.join(format!("{}_{}_{}", pod.namespace, pod.name, pod.uid)).join(&options.container);
    let cannot_read = |error: io::Error| BackendError::Failed(format!("cannot read the logs in {}: {error}", folder.display()));
    let (instance, follow) = (instance(&folder, &pod, &options, &client)?, options.follow);
    let (container, part) = (options.container.clone(), part(options));
    let log = InstanceLog::open(&folder, instance, part).map_err(cannot_read)?;
    let ended: Option<Ended> = follow.then(|| -> Ended { Box::pin(ended(client, pod, container, instance)) });
    let (pieces, taken) = mpsc::channel(PIECES_MAX);
    tokio::spawn(async move {
        if let Err(error) = give_out(log, ended, &pieces).await {
            tracing::warn!(%error, "a log cannot be read");
        }
    });
    Ok(Box::new(Pieces { taken, rest: Vec::new(), read: 0 }))
}

fn part(options: LogOptions) -> LogPart {
    let LogOptions { since, stream, timestamps, tail_lines, limit_bytes, .. } = options;
    LogPart { since, stream, timestamps, tail_lines, limit_bytes }
}

/// The instance that is meant. Of a pod that is gone, it is the last one that left a log.
fn instance(folder: &Path, pod: &PodRef, options: &LogOptions, client: &NodeClient) -> Result<u32, BackendError> {
    let container = &options.container;
    let present = client.pod(&pod.namespace, &pod.name).ok().filter(|present| uid_on_node(present) == pod.uid);
    let Some(present) = present else {
        let newest = newest_instance(folder).and_then(|newest| newest.checked_sub(u32::from(options.previous)));
        return newest.ok_or_else(|| BackendError::Invalid(format!("container \"{container}\" of pod \"{}\" left no log", pod.name)));
    };
    let wanted = if options.previous { Wanted::Previous } else { Wanted::Present };
    let mut choice = choose(&present.status.unwrap_or_default(), &pod.name, container, wanted);
    loop {
        match choice {
            Choice::Instance(instance) => return Ok(instance),
            Choice::IfThere(instance, _) if has_printed(folder, instance) => return Ok(instance),
            Choice::IfThere(_, otherwise) => choice = *otherwise,
            Choice::Nothing(why) => return Err(BackendError::Invalid(why)),
        }
    }
}

/// Waits for the end of the instance.
async fn ended(client: NodeClient, pod: PodRef, container: String, instance: u32) {
    let mut changes = client.pod_changes(&pod.namespace, &pod.name);
    loop {
        let present = client.pod(&pod.namespace, &pod.name).ok().filter(|present| uid_on_node(present) == pod.uid);
        if has_ended(&present.and_then(|present| present.status).unwrap_or_default(), &container, instance) {
            return;
        }
        changes.changed().await;
    }
}

/// Pieces one after the other. Dropping it tells their sender that nobody wants more.
struct Pieces {
    taken: mpsc::Receiver<Vec<u8>>,
    rest: Vec<u8>,
    read: usize,
}

impl AsyncRead for Pieces {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        while self.read == self.rest.len() {
            match ready!(self.taken.poll_recv(context)) {
                Some(piece) => (self.rest, self.read) = (piece, 0),
                None => return Poll::Ready(Ok(())),
            }
        }
        let length = buffer.remaining().min(self.rest.len() - self.read);
        buffer.put_slice(&self.rest[self.read..self.read + length]);
        self.read += length;
        Poll::Ready(Ok(()))
    }
}
