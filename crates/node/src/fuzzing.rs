//! The fuzz targets of this crate; see `cargo xtask fuzz`. Neither in the product nor in its interface.

pub use crate::http::fuzzing::http_answer;
pub use crate::probes::fuzzing::grpc_answer;

thread_local! {
    /// Made once: making it takes longer than most answers.
    static TOKIO: tokio::runtime::Runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a thread may have a runtime");
}

pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> T {
    TOKIO.with(|tokio| tokio.block_on(work))
}

#[cfg(test)]
#[path = "../../../fuzz/replay.rs"]
pub(crate) mod replay;
