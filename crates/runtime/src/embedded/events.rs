//! What happens in a sandbox, for a listener that may come late.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::errors::{ReachError, StepError};
use super::link::CallError;
use super::pods::Pod;
use super::{Inner, convert, sandbox};
use crate::RuntimeEvent;

const GONE: &str = "the shim process is gone";

/// All events of the pod from now on, after those of recorded exits. Of a sandbox whose shim is gone, or does not speak any more, only the
/// latter and its loss; whatever it left running is killed first.
pub(crate) async fn of(runtime: &Arc<Inner>, pod: &Arc<Pod>) -> Result<mpsc::UnboundedReceiver<RuntimeEvent>, StepError> {
    let message = match pod.link(runtime).await {
        Ok(link) => match link.listen().await {
            Ok(events) => return Ok(events),
            Err(CallError::Lost) => GONE.to_owned(),
            Err(error) => return Err(error.into()),
        },
        Err(ReachError::Gone) => GONE.to_owned(),
        Err(ReachError::Connect(error)) if error.is_hung() => error.loss(),
        Err(error) => return Err(error.into()),
    };
    let record = pod.sandbox().await?;
    let mut exits = sandbox::release_lost(runtime, pod, &record).await;
    exits.sort_by_key(|exit| exit.exited_at);
    let (listener, events) = mpsc::unbounded_channel();
    for exit in exits {
        let container_id = exit.container.clone().into();
        let _ = listener.send(RuntimeEvent::ContainerExited { container_id, exit: convert::container_exit(&exit) });
    }
    let _ = listener.send(RuntimeEvent::SandboxLost { message });
    Ok(events)
}
