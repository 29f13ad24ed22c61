//! The fuzz targets of this crate; see `cargo xtask fuzz`. Neither in the product nor in its interface.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;

use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::thread::UnshareFlags;

pub use crate::embedded::fuzzing::shim_answers;
pub use crate::images::fuzzing::{layer, registry_documents, registry_replies};

#[cfg(test)]
#[path = "../../../fuzz/replay.rs"]
pub(crate) mod replay;

/// Where [`Cell`]s have their own file system.
pub(crate) const CELL: &str = "/tmp";

/// A thread that can harm nobody, in which a target does its work: without a network beyond loopback, with a file system of its own
/// at [`CELL`], and the rest of the machine's out of sight if the target leaves that by `chroot`.
#[derive(Debug)]
pub(crate) struct Cell {
    inputs: mpsc::SyncSender<Vec<u8>>,
    done: mpsc::Receiver<Result<(), String>>,
}

/// The name of the threads of [`Cell`]s: a panic in one is told again by whoever has it work, where a fuzzer can write down on what.
pub const CELL_THREAD: &str = "cell";

impl Cell {
    /// Starts the thread, which makes what it needs once and then takes input after input. `None` without the rights.
    pub(crate) fn start<W: FnMut(&[u8])>(set_up: impl FnOnce() -> W + Send + 'static) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        let (inputs, received) = mpsc::sync_channel::<Vec<u8>>(0);
        let (told, done) = mpsc::sync_channel(0);
        let thread = std::thread::Builder::new().name(CELL_THREAD.to_owned());
        let started = thread.spawn(move || {
            seclude().expect("root may have namespaces");
            let mut work = set_up();
            while let Ok(input) = received.recv() {
                let worked = catch_unwind(AssertUnwindSafe(|| work(&input)));
                let is_over = worked.is_err();
                if told.send(worked.map_err(|panic| words_of(panic.as_ref()))).is_err() || is_over {
                    return;
                }
            }
        });
        started.expect("a thread can be started");
        Some(Self { inputs, done })
    }

    /// Has one input worked on.
    pub(crate) fn work(&self, input: &[u8]) {
        self.inputs.send(input.to_vec()).expect("the thread did not fail before");
        let done = self.done.recv().expect("the thread answers");
        assert_eq!(done, Ok(()));
    }
}

fn words_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    text.unwrap_or_else(|| "a panic without words".to_owned())
}

fn seclude() -> rustix::io::Result<()> {
    #[expect(unsafe_code, reason = "unsharing is unsafe where it changes file descriptors")]
    // SAFETY: the file descriptor table stays shared, and this thread ends with what it does here.
    unsafe {
        rustix::thread::unshare_unsafe(UnshareFlags::NEWNS | UnshareFlags::NEWNET | UnshareFlags::FS)?;
    }
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    mount("fuzz", CELL, "tmpfs", MountFlags::empty(), c"size=256m,mode=755")
}

/// Takes this thread, and those that it starts, to a network of its own with nothing but loopback in it.
///
/// # Errors
/// When the kernel does not allow it.
pub fn leave_network() -> std::io::Result<()> {
    #[expect(unsafe_code, reason = "unsharing is unsafe where it changes file descriptors")]
    // SAFETY: only the network namespace is unshared.
    unsafe {
        rustix::thread::unshare_unsafe(UnshareFlags::NEWNET)?;
    }
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(set_loopback_up());
    Ok(())
}

pub(crate) async fn set_loopback_up() {
    let (connection, handle, _) = rtnetlink::new_connection().expect("a socket");
    let connection = tokio::spawn(connection);
    let up = rtnetlink::LinkMessageBuilder::<rtnetlink::LinkUnspec>::new().name("lo").up().build();
    handle.link().set(up).execute().await.expect("root of a network may do that");
    connection.abort();
}
