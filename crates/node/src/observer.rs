//! Who is told what passes in the pods of a node, besides the API: metrics, traces, pages that are open.

use crate::journal::Live;

/// Is told everything that passes in the pods, in order for each pod.
pub trait Observer: Send + Sync + 'static {
    /// Something passed in a pod. Must not wait for anything: what the API is told waits meanwhile.
    fn passed(&self, uid: &str, live: &Live);

    /// Nothing more will pass in this pod, or another engine drives it from here on.
    fn ended(&self, uid: &str);
}
