//! How much clients may ask of the server.

use std::time::Duration;

/// How long the server waits for a client, and lets one wait. Whoever is slower is let go, so that slow clients cannot take all places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// For the greeting of a TLS connection.
    pub handshake: Duration,
    /// For the head of a request, and for the next request on a connection.
    pub head: Duration,
    /// For the body of a request.
    pub body: Duration,
    /// Between two bookmarks of a watch in which nothing happens.
    pub bookmark: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { handshake: Duration::from_secs(10), head: Duration::from_secs(30), body: Duration::from_secs(30), bookmark: BOOKMARK_EVERY }
    }
}

/// The largest body of a request, as in the reference.
pub(super) const BODY_BYTES_MAX: usize = 3 * 1024 * 1024;
/// The most bytes of bodies that are held at the same time, until their requests are answered.
pub(super) const BODIES_BYTES_MAX: usize = 64 * 1024 * 1024;
/// The largest body of a request of the page: a token or a code.
pub(super) const PAGE_BODY_BYTES_MAX: usize = 16 * 1024;
/// The most sessions of the page that are being begun. Nobody is known yet who begins one, so these have places of their own.
pub(super) const STRANGERS_MAX: usize = 64;
/// The largest head of a request.
pub(super) const HEAD_BYTES_MAX: usize = 64 * 1024;
/// The most connections. Each costs a file and some tens of kilobytes.
pub(super) const CONNECTIONS_MAX: usize = 12_000;
/// This part of the files that the process may open is kept from clients.
pub(super) const FILES_KEPT_PART: usize = 4;
/// The most requests at work at the same time on one HTTP/2 connection.
pub(super) const STREAMS_MAX: u32 = 1_000;
/// The most requests at work at the same time, without watches and streams: as in the reference.
pub(super) const REQUESTS_MAX: usize = 400;
/// The most watches.
pub(super) const WATCHES_MAX: usize = 11_000;
/// The most terminals, tunnels and logs that are followed.
pub(super) const STREAMS_OPEN_MAX: usize = 500;
/// How long connections have to end when the server stops.
pub(super) const STOP_TIME: Duration = Duration::from_secs(5);
/// How long a watch lasts if the client does not say; the client begins anew then.
pub(super) const WATCH_TIME: Duration = Duration::from_secs(30 * 60);
/// The longest watch that a client may ask for.
pub(super) const WATCH_TIME_MAX: Duration = Duration::from_secs(24 * 3600);
/// Time between bookmarks.
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);
/// Changes that are ready are sent together up to about this size.
pub(super) const WATCH_PIECE_BYTES: usize = 64 * 1024;
/// How long a client has between the answer that the protocol changes and the change.
pub(super) const UPGRADE_TIME: Duration = Duration::from_secs(30);
