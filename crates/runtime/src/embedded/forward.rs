//! Connections to ports of a pod, from inside: they come from its own loopback, so also to what listens nowhere else.
//!
//! Only the socket is made inside the pod's network namespace; a socket stays where it was made, whoever connects it.

use std::fs::File;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream as StdTcpStream};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use rustix::io::Errno;
use shim::client::ShimRecord;
use tokio::net::{TcpSocket, TcpStream};

use super::blocking;
use super::errors::{ReachError, StepError};
use super::pods::Pod;
use crate::PortForwardError;
use crate::network::tcp_socket_inside;

/// How long a connection may take to come about. On a loopback it is there at once, unless the listener has too many to take.
const DIAL_WITHIN: Duration = Duration::from_secs(30);

/// Connects to `localhost:port` of the pod: IPv4 first, as containerd does, and IPv6 if nothing answers there.
pub(crate) async fn connect(pod: &Pod, port: u16) -> Result<TcpStream, PortForwardError> {
    let lost = |source: StepError| PortForwardError::Sandbox { pod: pod.uid().to_owned(), source: source.into() };
    let netns = Netns::of(pod).await.map_err(lost)?;
    let v4 = match netns.dial(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)).await {
        Ok(stream) => return Ok(stream),
        Err(error) => error,
    };
    let v6 = match netns.dial(SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), port)).await {
        Ok(stream) => return Ok(stream),
        Err(error) => error,
    };
    Err(PortForwardError::Connect { pod: pod.uid().to_owned(), netns: netns.path, port, v4, v6 })
}

/// The network namespace of a pod: its shim's.
struct Netns {
    file: OwnedFd,
    path: String,
}

impl Netns {
    async fn of(pod: &Pod) -> Result<Self, StepError> {
        let dir = pod.folder.shim_dir(pod.sandbox().await?.shim);
        blocking(move || Self::open(dir)).await
    }

    fn open(dir: PathBuf) -> Result<Self, StepError> {
        let record = ShimRecord::load(&dir).map_err(StepError::part("read the record of the shim"))?;
        let process = record.ok_or(ReachError::Gone)?.shim.process;
        let path = format!("/proc/{}/ns/net", process.pid);
        let file = File::open(&path).map_err(|_| ReachError::Gone)?;
        // Alive after it was opened: the number is still that of the shim, and so is the namespace.
        if process.is_alive() { Ok(Self { file: file.into(), path }) } else { Err(ReachError::Gone.into()) }
    }

    async fn dial(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let file = self.file.try_clone()?;
        let socket = blocking(move || tcp_socket_inside(&file, &address)).await?;
        let socket = TcpSocket::from_std_stream(StdTcpStream::from(socket));
        let stream = tokio::time::timeout(DIAL_WITHIN, socket.connect(address)).await.map_err(|_| io::ErrorKind::TimedOut)??;
        // The kernel may have given the socket the very port that it was to connect to; then it speaks to itself.
        if stream.local_addr()? == address { Err(io::Error::from_raw_os_error(Errno::CONNREFUSED.raw_os_error())) } else { Ok(stream) }
    }
}
