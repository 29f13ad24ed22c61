//! Who may do what, and how the two sides know each other.

pub mod certificates;
pub mod identity;
pub mod kubeconfig;
pub mod tokens;
pub mod users;
mod x509;
