//! Networks between the nodes of a cluster that can be cut.

mod namespaces;
mod network;
mod proxies;

pub use namespaces::Namespaces;
pub use network::Network;
pub use proxies::Proxies;
