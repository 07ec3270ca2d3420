//! A whole cluster in one process: `kvd dev`.

use crate::config::{Config, Options as NodeOptions, StorageKind};
use crate::server::{FatalError, Server, StartError, listen, listen_hint};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use thiserror::Error;
use tokio::net::TcpListener;

/// How a cluster in one process is made.
#[derive(Clone, Debug)]
pub struct Options {
    /// Number of nodes: `node1`, `node2`, ...
    pub nodes: u16,
    /// The first node's port on 127.0.0.1; the others follow. Zero for any that are free.
    pub base_port: u16,
    /// Where the nodes keep their data, each in a directory of its own; `None` for memory.
    pub data_dir: Option<PathBuf>,
    /// Files and connections that the process may have open, which the nodes share.
    pub open_files: u64,
}

impl Options {
    /// Says it in terms of these options, not of the flags of a single node.
    fn start_failed(&self, error: StartError) -> DevError {
        match (error, &self.data_dir) {
            (StartError::OtherCluster { known, .. }, Some(dir)) => {
                DevError::OtherNodes { nodes: self.nodes, dir: dir.clone(), known: known.len() }
            }
            (error, _) => DevError::Start(error),
        }
    }
}

/// Why a cluster did not start.
#[derive(Debug, Error)]
pub enum DevError {
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
        /// What the operating system said.
        cause: std::io::Error,
    },
    /// The data is that of a cluster of another size.
    #[error(
        "--nodes {nodes}: {} holds data of a cluster of {known}; start it with --nodes {known}, or choose another \
         --data-dir", .dir.display()
    )]
    OtherNodes {
        /// Number of nodes asked for.
        nodes: u16,
        /// Where they keep their data.
        dir: PathBuf,
        /// Number of nodes that the cluster was formed of.
        known: usize,
    },
    /// A setting will not do.
    #[error(transparent)]
    Config(#[from] crate::config::ConfigError),
    /// A node did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A runtime for the nodes could not be had.
    #[error("cannot start: {0}")]
    Resources(#[from] std::io::Error),
}

/// The running nodes of a cluster.
#[derive(Debug)]
pub struct Nodes {
    servers: Vec<Server>,
    urls: Vec<String>,
}

impl Nodes {
    /// Starts all nodes. They form a cluster and elect a leader shortly after.
    ///
    /// # Errors
    /// [`DevError`], which names the flag at fault.
    pub async fn start(options: &Options) -> Result<Self, DevError> {
        let Options { nodes, base_port, data_dir, open_files } = options;
        let open_files = open_files / u64::from((*nodes).max(1));
        let listeners: Vec<TcpListener> =
            (0..*nodes).map(|node| listen_for(node, *base_port, *nodes)).collect::<Result<_, _>>()?;
        let addresses: Vec<SocketAddr> =
            listeners.iter().map(TcpListener::local_addr).collect::<std::io::Result<_>>()?;
        let urls: Vec<String> = addresses.iter().map(|address| format!("http://{address}")).collect();
        let peers: Vec<String> = urls.iter().zip(1..).map(|(url, number)| format!("node{number}={url}")).collect();
        let mut servers = Vec::new();
        for ((listener, address), number) in listeners.into_iter().zip(addresses).zip(1..) {
            let name = format!("node{number}");
            let storage = if data_dir.is_some() { StorageKind::Disk } else { StorageKind::Memory };
            let node_dir = data_dir.as_ref().map_or_else(PathBuf::new, |dir| dir.join(&name));
            let defaults = NodeOptions::new(name, address.to_string(), peers.clone(), node_dir);
            let config = Config::check(NodeOptions { storage, open_files, ..defaults })?;
            let started = Server::start(config, listener).await;
            servers.push(started.map_err(|error| options.start_failed(error))?);
        }
        Ok(Self { servers, urls })
    }

    /// The nodes' URLs, in the order of their names.
    pub fn urls(&self) -> &[String] {
        &self.urls
    }

    /// Waits until all nodes follow one leader, and have little to log any more.
    pub async fn settled(&self) {
        futures_util::future::join_all(self.servers.iter().map(Server::settled)).await;
    }

    /// Waits until one of the nodes cannot go on.
    pub async fn failed(&mut self) -> &FatalError {
        let failures = self.servers.iter_mut().map(|server| Box::pin(server.failed()));
        futures_util::future::select_all(failures).await.0
    }

    /// Stops all nodes at once, each after the requests under way at it.
    ///
    /// # Errors
    /// [`FatalError`] if one of them failed.
    pub async fn stop(self) -> Result<(), FatalError> {
        futures_util::future::join_all(self.servers.into_iter().map(Server::stop_with_cluster))
            .await
            .into_iter()
            .collect()
    }
}

fn listen_for(node: u16, base_port: u16, nodes: u16) -> Result<TcpListener, DevError> {
    let port = match base_port {
        0 => Some(0),
        _ => base_port.checked_add(node),
    };
    let port = port.ok_or(DevError::Ports { base_port, nodes })?;
    listen(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).map_err(|error| match error {
        StartError::Listen { address, cause } => DevError::Listen { base_port, address, cause },
        other => other.into(),
    })
}
