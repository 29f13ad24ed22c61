//! The registry over HTTP: from requests to verbs, and from objects to answers.

mod answer;
mod begin;
mod held;
mod limits;
mod listen;
mod log;
mod metrics;
mod objects;
mod page;
mod remote;
mod request;
mod route;
mod usage;
mod watching;

pub use self::limits::Patience;
pub use self::listen::ListenError;
pub(crate) use self::listen::Listeners;
pub(crate) use self::metrics::Metrics;
pub(crate) use self::route::Shared;
