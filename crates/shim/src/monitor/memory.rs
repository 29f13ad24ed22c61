//! Gives memory back to the system. A shim is busy for moments and idle for months, once for each pod.

/// Returns what the busy time has touched and the idle one does not need: free heap, and stack below the caller's frame.
pub(super) fn release() {
    release_free_heap();
    release_unused_stack();
}

/// Returns all free pages of the heap, also those between used ones.
fn release_free_heap() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[expect(unsafe_code, reason = "the C library's allocator has no safe wrapper")]
    // SAFETY: takes no pointers, and may be called at any time.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// How far down the stack is given back: deeper than any call of ours reaches, and less than the gap that the kernel keeps free
/// below a stack, so that nothing else can be there.
const STACK_BYTES: usize = 128 * 1024;
/// What stays: the frames of this function and of the system call.
const KEPT_BYTES: usize = 4 * 1024;

#[inline(never)]
#[expect(unsafe_code, reason = "advice on raw addresses has no safe wrapper")]
fn release_unused_stack() {
    // SAFETY: takes no pointers.
    let Ok(page) = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }) else { return };
    let here = 0_u8;
    let top = ((&raw const here).addr() - KEPT_BYTES) & !(page - 1);
    // SAFETY: the range lies below the frame of this function, so no living value is in it: what is called later finds zeros and
    // writes before it reads. The stack grows down, and the kernel keeps other mappings further away than this range is long.
    // Where the stack does not reach that far down there is nothing to give back, and the call says so.
    unsafe {
        libc::madvise(std::ptr::without_provenance_mut(top - STACK_BYTES), STACK_BYTES, libc::MADV_DONTNEED);
    }
}
