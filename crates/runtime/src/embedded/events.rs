//! What happens in a sandbox, for a listener that may come late.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::errors::{ReachError, StepError};
use super::link::CallError;
use super::pods::Pod;
use super::{Inner, convert, sandbox};
use crate::RuntimeEvent;

/// All events of the pod from now on, after those of recorded exits. Of a sandbox whose shim is gone, only the latter and its
/// loss; whatever it left running is killed first.
pub(crate) async fn of(runtime: &Arc<Inner>, pod: &Arc<Pod>) -> Result<mpsc::UnboundedReceiver<RuntimeEvent>, StepError> {
    match pod.link(runtime).await {
        Ok(link) => match link.listen().await {
            Ok(events) => return Ok(events),
            Err(CallError::Lost) => {}
            Err(error) => return Err(error.into()),
        },
        Err(ReachError::Gone) => {}
        Err(error) => return Err(error.into()),
    }
    let record = pod.sandbox().await?;
    let mut exits = sandbox::release_lost(runtime, pod, &record).await;
    exits.sort_by_key(|exit| exit.exited_at);
    let (listener, events) = mpsc::unbounded_channel();
    for exit in exits {
        let container_id = exit.container.clone().into();
        let _ = listener.send(RuntimeEvent::ContainerExited { container_id, exit: convert::container_exit(&exit) });
    }
    let _ = listener.send(RuntimeEvent::SandboxLost { message: "the shim process is gone".to_owned() });
    Ok(events)
}
