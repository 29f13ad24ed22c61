//! A machine of its own for every test: the test's thread leaves the real network before anything else.
//!
//! Threads that are started later (a runtime's workers, child processes too) begin in the namespace of the thread that starts
//! them, so all that a test does stays in there and ends with it.

use std::fs::File;
use std::future::Future;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rtnetlink::packet_route::link::{InfoData, InfoKind, InfoVeth};
use rtnetlink::{Handle, LinkMessageBuilder, LinkUnspec, LinkVeth};
use runtime::network::{Attachment, NetworkConfig, Owner, PodNetwork};
use rustix::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

/// A connection that is not there after this long will not be. Only tests that fail wait for it.
const PATIENCE: Duration = Duration::from_secs(5);

/// A machine without a network: loopback only.
pub(crate) struct Node {
    runtime: tokio::runtime::Runtime,
    dir: tempfile::TempDir,
}

impl Node {
    /// Leaves the real network; `None`, and a word to the reader, if that is not allowed.
    #[expect(clippy::print_stderr, reason = "a skipped test says why")]
    pub(crate) fn new(test: &str) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIP {test}: needs root");
            return None;
        }
        if let Err(error) = leave_network() {
            eprintln!("SKIP {test}: cannot make a network namespace: {error}");
            return None;
        }
        let node = Self { runtime: multi_thread_runtime(), dir: tempfile::tempdir().expect("a folder") };
        node.run(set_up(&node.routes(), "lo"));
        // A new namespace begins with the real machine's setting.
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "0").expect("the setting of this thread's namespace");
        Some(node)
    }

    /// Settings for this machine.
    pub(crate) fn config(&self) -> NetworkConfig {
        NetworkConfig { state_dir: self.dir.path().to_owned(), ..NetworkConfig::default() }
    }

    /// The folder that leases are kept in.
    pub(crate) fn state_dir(&self) -> &Path {
        self.dir.path()
    }

    /// Waits for async work, which runs on this machine.
    pub(crate) fn run<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// A connection to the machine's interfaces.
    pub(crate) fn routes(&self) -> Handle {
        let _context = self.runtime.enter();
        let (connection, handle, _) = rtnetlink::new_connection().expect("a socket");
        self.runtime.spawn(connection);
        handle
    }

    /// Attaches a new pod that belongs to this process.
    pub(crate) fn pod(&self, network: &PodNetwork, uid: &str) -> Pod {
        let netns = Netns::new();
        let attachment = self.run(network.attach(netns.fd(), uid, ourselves())).expect("attached");
        Pod { netns, attachment }
    }

    /// A network next to the machine's, with one host that knows nothing of pods.
    pub(crate) fn outside(&self, mtu: u32) -> Netns {
        let outside = self.add_pair("wan0", mtu);
        let routes = self.routes();
        self.run(async {
            add_address(&routes, "wan0", NODE_OUTSIDE, 24).await;
            add_address(&outside.routes(), "wan0", OUTSIDE, 24).await;
        });
        outside
    }

    /// An interface of the machine that leads to nothing of interest, started.
    pub(crate) fn add_interface(&self, name: &str) -> Netns {
        self.add_pair(name, 1500)
    }

    /// An interface of the machine and its other end of the same name, in a namespace of its own, both started.
    fn add_pair(&self, name: &str, mtu: u32) -> Netns {
        let there = Netns::new();
        let routes = self.routes();
        self.run(async {
            let peer = LinkMessageBuilder::<LinkUnspec>::new().name(name).mtu(mtu).setns_by_fd(there.fd.as_raw_fd()).build();
            let pair = LinkMessageBuilder::<LinkVeth>::new_with_info_kind(InfoKind::Veth)
                .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)))
                .name(name)
                .mtu(mtu)
                .up()
                .build();
            routes.link().add(pair).execute().await.expect("a veth pair");
            let routes_there = there.routes();
            set_up(&routes_there, name).await;
            set_up(&routes_there, "lo").await;
        });
        there
    }
}

/// The machine's address in the network outside.
pub(crate) const NODE_OUTSIDE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
/// The address of the host outside.
pub(crate) const OUTSIDE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);

/// A network namespace; it ends with this and with what runs in it.
pub(crate) struct Netns {
    fd: OwnedFd,
}

impl Netns {
    pub(crate) fn new() -> Self {
        let made = thread::spawn(|| {
            leave_network().expect("allowed before");
            File::open("/proc/thread-self/ns/net").expect("proc is there").into()
        });
        Self { fd: made.join().expect("no panic") }
    }

    /// Another handle to the namespace.
    pub(crate) fn fd(&self) -> OwnedFd {
        self.fd.try_clone().expect("a descriptor is free")
    }

    /// Works inside.
    pub(crate) fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let thread = scope.spawn(|| {
                move_into_link_name_space(self.fd.as_fd(), Some(LinkNameSpaceType::Network)).expect("allowed");
                work()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// A connection to its interfaces, for use within [`Node::run`].
    pub(crate) fn routes(&self) -> Handle {
        let runtime = tokio::runtime::Handle::current();
        self.inside(|| {
            let _context = runtime.enter();
            let (connection, handle, _) = rtnetlink::new_connection().expect("a socket");
            runtime.spawn(connection);
            handle
        })
    }
}

/// An attached pod.
pub(crate) struct Pod {
    pub(crate) netns: Netns,
    pub(crate) attachment: Attachment,
}

impl Pod {
    pub(crate) fn ip(&self) -> Ipv4Addr {
        self.attachment.pod_ips.ipv4
    }
}

/// A TCP server that tells everybody who they are; it ends when it is dropped.
pub(crate) struct Server {
    stop: Arc<AtomicBool>,
    address: SocketAddr,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts in the namespace of the caller; see [`Netns::inside`].
    pub(crate) fn start(address: impl Into<SocketAddr>) -> Self {
        let listener = TcpListener::bind(address.into()).expect("the port is free");
        let address = listener.local_addr().expect("bound");
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            while let Ok((mut stream, peer)) = listener.accept() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let _ = write!(stream, "{}", peer.ip().to_canonical());
            }
        });
        Self { stop, address, thread: Some(thread) }
    }

    /// Stops it, from inside its namespace.
    pub(crate) fn stop(mut self) {
        self.stop.store(true, Ordering::SeqCst);
        drop(TcpStream::connect_timeout(&self.address, PATIENCE));
        self.thread.take().expect("stopped once").join().expect("no panic");
    }
}

/// Whom a server at this address takes the caller for.
pub(crate) fn ask(address: impl Into<SocketAddr>) -> Result<IpAddr, std::io::Error> {
    let mut stream = TcpStream::connect_timeout(&address.into(), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    answer.parse().map_err(std::io::Error::other)
}

/// A UDP socket that does not wait for ever.
pub(crate) fn udp(address: impl Into<SocketAddr>) -> UdpSocket {
    let socket = UdpSocket::bind(address.into()).expect("the port is free");
    socket.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    socket
}

/// A process that lives until it is told to end.
pub(crate) struct Shim(Child);

impl Shim {
    pub(crate) fn start() -> Self {
        Self(Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("cat starts"))
    }

    pub(crate) fn owner(&self) -> Owner {
        Owner::of(self.0.id()).expect("it runs")
    }

    pub(crate) fn end(self) {
        drop(self);
    }
}

impl Drop for Shim {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// This process as an owner.
pub(crate) fn ourselves() -> Owner {
    Owner::of(std::process::id()).expect("we run")
}

pub(crate) fn multi_thread_runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

pub(crate) async fn link_index(routes: &Handle, name: &str) -> Option<u32> {
    use futures_util::TryStreamExt as _;
    let found = routes.link().get().match_name(name.to_owned()).execute().try_next().await;
    found.ok().flatten().map(|link| link.header.index)
}

pub(crate) async fn add_address(routes: &Handle, link: &str, address: impl Into<IpAddr>, prefix_len: u8) {
    let index = link_index(routes, link).await.expect("the interface is there");
    routes.address().add(index, address.into(), prefix_len).execute().await.expect("an address");
}

pub(crate) async fn set_up(routes: &Handle, link: &str) {
    let index = link_index(routes, link).await.expect("the interface is there");
    let up = LinkUnspec::new_with_index(index).up().build();
    routes.link().change(up).execute().await.expect("up");
}

#[expect(unsafe_code, reason = "rustix marks unshare as unsafe because of its flag CLONE_FILES")]
fn leave_network() -> std::io::Result<()> {
    // SAFETY: only the network namespace of this thread is changed; file descriptors stay shared.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }.map_err(std::io::Error::from)
}
