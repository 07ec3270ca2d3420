//! Networks between the nodes of a cluster, with links that can be cut.

mod namespaces;
mod network;
mod proxies;
mod scenario;

pub use namespaces::Namespaces;
pub use network::Network;
pub use proxies::Proxies;
pub use scenario::{at_the_clients, on_a_network};
