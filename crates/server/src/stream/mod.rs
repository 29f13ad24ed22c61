//! Connections that become something else than HTTP: terminals and tunnels.
//!
//! ```text
//! websocket ─┬─ channels ──┬──► remote (exec, attach)
//!            │             └──► ports (port-forward of clients that do not speak SPDY)
//!            └─ tunnel ─► spdy ─┬─► remote
//! upgrade ──────────────► spdy ─┴─► forward (port-forward)
//! ```

pub mod forward;
pub mod ports;
pub mod remote;
pub mod spdy;
pub mod websocket;

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

/// How often a client is asked for a sign of life. One that is gone is noticed that way even while nothing is carried.
/// Tests do not wait as long.
const PING_EVERY: Duration = if cfg!(test) { Duration::from_millis(50) } else { Duration::from_secs(10) };

fn pings() -> Interval {
    let mut pings = interval_at(Instant::now() + PING_EVERY, PING_EVERY);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pings
}

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
