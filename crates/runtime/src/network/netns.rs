//! Work inside another network namespace.
//!
//! A thread is *in* a namespace, and a socket stays in the one in which it was opened. So work there is done by a thread that
//! enters it, opens what is needed and ends; threads that live on (a runtime's workers) never leave their own.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::thread;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

/// Why a namespace could not be entered.
#[derive(Debug, thiserror::Error)]
pub enum NetnsError {
    /// It is the namespace of the node: the pod would get the node's interfaces.
    #[error("the network namespace given for the pod is that of the node")]
    IsNode,
    /// It ended while it was being set up.
    #[error("the pod's network namespace is gone")]
    Gone,
    /// The system refused.
    #[error("cannot {action} a network namespace")]
    Io {
        /// What was tried.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// Does `work` in a thread of its own inside the namespace, and waits for it.
///
/// A process's first thread is not special here: the new thread begins in the namespace of the one that calls this.
pub(super) fn inside<T: Send>(netns: BorrowedFd<'_>, work: impl FnOnce() -> T + Send) -> Result<T, NetnsError> {
    in_thread(|| {
        move_into_link_name_space(netns, Some(LinkNameSpaceType::Network))
            .map_err(|errno| NetnsError::Io { action: "enter", source: errno.into() })?;
        Ok(work())
    })
}

/// Does `work` in a thread of its own inside a new namespace, which ends when nothing holds on to it any more.
pub(super) fn inside_new<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, NetnsError> {
    in_thread(|| {
        unshare_network().map_err(|source| NetnsError::Io { action: "make", source })?;
        Ok(work())
    })
}

/// A TCP socket for connections to addresses of this kind from inside the namespace, which does not block.
pub(crate) fn tcp_socket_inside(netns: &OwnedFd, to: &SocketAddr) -> io::Result<OwnedFd> {
    let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let made = inside(netns.as_fd(), || socket_with(family, SocketType::STREAM, flags, None)).map_err(io::Error::other)?;
    Ok(made?)
}

/// Refuses a namespace that is the caller's own.
pub(super) fn check_is_not_node(netns: &OwnedFd) -> Result<(), NetnsError> {
    let io = |source| NetnsError::Io { action: "look at", source };
    let node = std::fs::metadata("/proc/thread-self/ns/net").map_err(io)?;
    let pod = rustix::fs::fstat(netns.as_fd()).map_err(|errno| io(errno.into()))?;
    if (pod.st_dev, pod.st_ino) == (node.dev(), node.ino()) { Err(NetnsError::IsNode) } else { Ok(()) }
}

fn in_thread<T: Send>(work: impl FnOnce() -> Result<T, NetnsError> + Send) -> Result<T, NetnsError> {
    thread::scope(|scope| {
        let handle = thread::Builder::new()
            .name("netns".to_owned())
            .spawn_scoped(scope, work)
            .map_err(|source| NetnsError::Io { action: "start a thread for", source })?;
        handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

#[expect(unsafe_code, reason = "rustix marks unshare as unsafe because of its flag CLONE_FILES")]
fn unshare_network() -> io::Result<()> {
    // SAFETY: only the network namespace is changed, and only that of this thread; file descriptors stay shared.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }.map_err(io::Error::from)
}
