//! Reasons why there is no cluster, or no longer one.

use crate::server::listen_hint;
use std::net::SocketAddr;
use std::path::PathBuf;
use thiserror::Error;

/// Reason why a cluster did not start, or has ended by itself.
#[derive(Debug, Error)]
pub(crate) enum DevError {
    /// The ports do not exist.
    #[error("--base-port {base_port}: {nodes} nodes need {nodes} ports, and the last port is 65535")]
    Ports {
        /// The first port.
        base_port: u16,
        /// Number of nodes.
        nodes: u16,
    },
    /// One of the ports cannot be listened on.
    #[error("--base-port {base_port}: cannot listen on {address}: {cause}{}", listen_hint(.cause))]
    Listen {
        /// The first port.
        base_port: u16,
        /// The address of the node.
        address: SocketAddr,
        /// Error of the operating system.
        cause: std::io::Error,
    },
    /// The data belongs to a cluster of another size.
    #[error(
        "--nodes {nodes}: {} holds data of a cluster of {known}; start it with --nodes {known}, or choose another \
         --data-dir", .dir.display()
    )]
    OtherNodes {
        /// Number of nodes asked for.
        nodes: u16,
        /// Parent of the nodes' data directories.
        dir: PathBuf,
        /// Number of nodes that the cluster was formed of.
        known: usize,
    },
    /// A process could not be started.
    #[error("cannot start {name}: {cause}")]
    Spawn {
        /// The node.
        name: String,
        /// Error of the operating system.
        cause: std::io::Error,
    },
    /// A node ended. It has printed the reason itself.
    #[error("{name} {how}")]
    Ended {
        /// The node.
        name: String,
        /// The end of its process, as the rest of a sentence.
        how: String,
        /// The exit code of that process.
        code: u8,
    },
}
