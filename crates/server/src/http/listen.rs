//! Listening: TLS on addresses, and a socket for root of this machine.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rustix::process::{Resource, getrlimit};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::begin::Begin;
use super::limits::{CONNECTIONS_MAX, FILES_KEPT_PART, HEAD_BYTES_MAX, STOP_TIME, STREAMS_MAX};
use super::route::{Shared, handle, stopped};
use crate::security::certificates::user_of;
use crate::security::users::User;
use crate::stream::Io;

/// Why the server cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// At this address.
    #[error("cannot listen on {address}")]
    Address {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// At this path.
    #[error("cannot listen on the socket {}", path.display())]
    Socket {
        /// The path.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// What listens.
#[derive(Debug)]
pub(crate) struct Listeners {
    tcp: Vec<TcpListener>,
    unix: Option<UnixListener>,
}

impl Listeners {
    /// Begins to listen; nobody is answered yet.
    ///
    /// # Errors
    /// An address or the path cannot be had.
    pub(crate) async fn bind(addresses: &[SocketAddr], socket: Option<&Path>) -> Result<Self, ListenError> {
        let mut tcp = Vec::new();
        for address in addresses {
            let listener = TcpListener::bind(address).await.map_err(|source| ListenError::Address { address: *address, source })?;
            tcp.push(listener);
        }
        let unix = socket.map(bind_socket).transpose()?;
        Ok(Self { tcp, unix })
    }

    /// Where it listens, with the ports that were chosen.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.tcp.iter().filter_map(|listener| listener.local_addr().ok()).collect()
    }

    /// Answers until told to stop, and then until the connections have ended.
    pub(crate) async fn serve(self, shared: Arc<Shared>, tls: TlsAcceptor, mut stop: watch::Receiver<bool>) {
        let connections_max = connections_max();
        let connections = Arc::new(Semaphore::new(connections_max));
        let mut tasks = JoinSet::new();
        for listener in self.tcp {
            tasks.spawn(accept_tcp(listener, Arc::clone(&shared), tls.clone(), Arc::clone(&connections)));
        }
        if let Some(listener) = self.unix {
            tasks.spawn(accept_unix(listener, Arc::clone(&shared), Arc::clone(&connections)));
        }
        let _ = stop.wait_for(|stop| *stop).await;
        tasks.shutdown().await;
        let all = u32::try_from(connections_max).unwrap_or(u32::MAX);
        let _ = tokio::time::timeout(STOP_TIME, connections.acquire_many(all)).await;
    }
}

/// As many connections as are allowed, but never so many that no files are left for the store and for the engine behind it.
fn connections_max() -> usize {
    let files = getrlimit(Resource::Nofile).current.and_then(|files| usize::try_from(files).ok()).unwrap_or(usize::MAX);
    CONNECTIONS_MAX.min(files - files / FILES_KEPT_PART)
}

fn bind_socket(path: &Path) -> Result<UnixListener, ListenError> {
    let failed = |source| ListenError::Socket { path: path.to_owned(), source };
    // What another process left; the lock of the store has made sure that it is gone.
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
    Ok(listener)
}

async fn accept_tcp(listener: TcpListener, shared: Arc<Shared>, tls: TlsAcceptor, connections: Arc<Semaphore>) {
    loop {
        let Ok(permit) = Arc::clone(&connections).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                continue;
            }
        };
        let (shared, tls) = (Arc::clone(&shared), tls.clone());
        tokio::spawn(async move {
            let _permit = permit;
            let _ = stream.set_nodelay(true);
            match tokio::time::timeout(shared.patience.handshake, tls.accept(stream)).await {
                Ok(Ok(stream)) => {
                    let certificates = stream.get_ref().1.peer_certificates();
                    let user = certificates.and_then(|certificates| certificates.first()).and_then(|certificate| user_of(certificate));
                    converse(stream, shared, user).await;
                }
                Ok(Err(error)) => tracing::debug!(%error, "a TLS connection was not made"),
                Err(_) => tracing::debug!("a TLS connection took too long to be made"),
            }
        });
    }
}

async fn accept_unix(listener: UnixListener, shared: Arc<Shared>, connections: Arc<Semaphore>) {
    loop {
        let Ok(permit) = Arc::clone(&connections).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            continue;
        };
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let _permit = permit;
            let user = is_own(&stream).then(User::root);
            converse(stream, shared, user).await;
        });
    }
}

/// Whether root, or who runs the server, is on the other side.
fn is_own(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| peer.uid() == 0 || peer.uid() == own)
}

async fn converse(io: impl Io, shared: Arc<Shared>, user: Option<User>) {
    let head_time = shared.patience.head;
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(head_time).max_buf_size(HEAD_BYTES_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(u32::try_from(HEAD_BYTES_MAX).unwrap_or(u32::MAX))
        .keep_alive_interval(Some(head_time))
        .keep_alive_timeout(head_time);
    let mut stop = shared.stop.clone();
    let service = service_fn(move |request| handle(Arc::clone(&shared), user.clone(), request));
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(Begin::new(io, head_time)), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopped(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection broke");
    }
}
