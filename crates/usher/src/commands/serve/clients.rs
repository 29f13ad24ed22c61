//! The threads on which clients are answered: not those of the pods, so that no request, however large, holds up a probe or a stop.

use tokio::runtime::{Builder, Runtime};

/// More would only wait for the store.
const THREADS_MAX: usize = 4;

/// The threads. Dropping them does not wait for what runs on them.
#[derive(Debug)]
pub(super) struct ClientThreads(Option<Runtime>);

impl ClientThreads {
    pub(super) fn start() -> std::io::Result<Self> {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = (processors / 2).clamp(1, THREADS_MAX);
        let runtime = Builder::new_multi_thread().worker_threads(threads).thread_name("clients").enable_all().build()?;
        Ok(Self(Some(runtime)))
    }

    /// Does this there, and all that it spawns.
    pub(super) async fn run<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> anyhow::Result<T> {
        let runtime = self.0.as_ref().ok_or_else(|| anyhow::anyhow!("the threads for clients are gone"))?;
        Ok(runtime.spawn(work).await?)
    }
}

impl Drop for ClientThreads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            // Where a future is polled, nobody may wait for threads.
            runtime.shutdown_background();
        }
    }
}
