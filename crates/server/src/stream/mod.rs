//! Connections that become something else than HTTP: terminals and tunnels.
//!
//! ```text
//! websocket ─┬─ channels ──► remote (exec, attach)
//!            └─ tunnel ─► spdy ─┬─► remote
//! upgrade ──────────────► spdy ─┴─► forward (port-forward)
//! ```

pub mod forward;
pub mod remote;
pub mod spdy;
pub mod websocket;

use tokio::io::{AsyncRead, AsyncWrite};

/// A connection that was HTTP before.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Io for T {}

/// Why a connection ended that should not have.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The connection broke.
    #[error("the connection broke")]
    Io(#[from] std::io::Error),
    /// The client broke the protocol.
    #[error("the client broke the protocol: {0}")]
    Protocol(&'static str),
    /// The client said nothing for too long.
    #[error("the client said nothing for too long")]
    Idle,
}
