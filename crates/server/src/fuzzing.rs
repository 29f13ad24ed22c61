//! The fuzz targets of this crate; see `cargo xtask fuzz`. Neither in the product nor in its interface.

use crate::protobuf;

pub use crate::stream::spdy::fuzzing::spdy_frames;
pub use crate::stream::websocket::fuzzing::websocket_frames;

thread_local! {
    /// Made once: making it takes longer than most inputs.
    static TOKIO: tokio::runtime::Runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a thread may have a runtime");
}

pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> T {
    TOKIO.with(|tokio| tokio.block_on(work))
}

/// Definitions that bodies are read as, of every shape that there is.
const DEFINITIONS: [&str; 4] = [
    "io.k8s.api.core.v1.Pod",
    "io.k8s.api.core.v1.ConfigMap",
    "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions",
    "io.k8s.api.policy.v1.Eviction",
];

/// The body of a request in protobuf. The first byte chooses what it is read as.
///
/// It becomes an object or an error with words, and an object is no larger than its body allows.
pub fn protobuf_body(data: &[u8]) {
    let Some((first, body)) = data.split_first() else { return };
    let definition = DEFINITIONS[usize::from(*first) % DEFINITIONS.len()];
    match protobuf::read(body, definition) {
        Ok(object) => {
            let text = object.to_string();
            // The longest name of a field stands for two bytes of a body; texts are escaped sixfold at most, bytes are written in base64.
            assert!(text.len() <= 1024 + 64 * body.len(), "{} bytes became {}", body.len(), text.len());
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

#[cfg(test)]
#[path = "../../../fuzz/replay.rs"]
pub(crate) mod replay;
