//! How many heaps the C library's allocator may make.

/// The engine's threads: that of the pods, that of the clients, and all others together.
const HEAPS_MAX: i32 = 3;

/// Each thread that allocates gets a heap of its own, up to eight for each processor, and what is freed in one is of no use to the others.
/// An engine's many short-lived threads would leave a tenth of its memory in heaps that nobody uses.
pub(crate) fn limit() {
    #[cfg(target_env = "gnu")]
    #[expect(unsafe_code, reason = "the C library's allocator has no safe wrapper")]
    // SAFETY: It sets a number in the allocator, under its own lock.
    unsafe {
        // A refusal leaves it as it was.
        libc::mallopt(libc::M_ARENA_MAX, HEAPS_MAX);
    }
}
