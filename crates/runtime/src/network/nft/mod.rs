//! nf_tables: the rules that let pods out and host ports in.
//!
//! Written to the kernel directly, since starting the `nft` program costs thirty times as much as the change itself. Here is no
//! policy of what may talk to what; a machine's firewall stays the machine's.

mod conntrack;
mod expression;
mod forward;
mod ruleset;
mod socket;
mod wire;

pub(super) use conntrack::forget_udp;
pub use forward::ForwardDrop;
pub(super) use forward::forward_drops;
pub(super) use ruleset::{HostPortTarget, Ruleset};
pub(super) use socket::Nft;
pub use socket::NftError;
