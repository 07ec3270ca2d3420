//! Nodes in the process of a test: they start instantly, but cannot be killed.

use kvd::config::{Config, OPEN_FILES_MAX, Options as NodeOptions, StorageKind};
use kvd::server::{Server, listen};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// Nodes on free ports, with their data in memory and their own runtime. Dropping it stops them.
#[derive(Debug)]
pub struct InProcess {
    /// `Some` until it is dropped.
    running: Option<(Runtime, Vec<Server>)>,
    /// Other nodes of its cluster continue when it is dropped.
    is_joiner: bool,
    endpoints: Vec<String>,
}

/// Prefix of a node's URL.
const HTTP: &str = "http://";

impl InProcess {
    /// Starts a cluster, which forms and elects a leader shortly after.
    #[track_caller]
    pub fn start(nodes: u16) -> Self {
        let runtime = runtime();
        let (servers, endpoints) = runtime.block_on(async {
            let listeners: Vec<_> = (1..=nodes).map(|number| (format!("node{number}"), free_listener())).collect();
            let peers: Vec<String> = listeners.iter().map(|(name, (_, url))| format!("{name}={url}")).collect();
            let open_files = OPEN_FILES_MAX / u64::from(nodes.max(1));
            let mut servers = Vec::new();
            let mut endpoints = Vec::new();
            for (name, (listener, url)) in listeners {
                let address = url.trim_start_matches(HTTP).to_owned();
                let defaults = NodeOptions::new(name, address, peers.clone(), PathBuf::new());
                let options = NodeOptions { storage: StorageKind::Memory, open_files, ..defaults };
                servers.push(start(options, listener).await);
                endpoints.push(url);
            }
            (servers, endpoints)
        });
        Self { running: Some((runtime, servers)), is_joiner: false, endpoints }
    }

    /// Starts a single node that joins the cluster of the node at `url`: it becomes a member shortly after, or waits
    /// until that cluster is there.
    #[track_caller]
    pub fn join(name: &str, url: &str) -> Self {
        let runtime = runtime();
        let (server, endpoint) = runtime.block_on(async {
            let (listener, endpoint) = free_listener();
            let address = endpoint.trim_start_matches(HTTP).to_owned();
            let defaults = NodeOptions::new(name, address, Vec::new(), PathBuf::new());
            let options = NodeOptions { storage: StorageKind::Memory, join: vec![url.to_owned()], ..defaults };
            (start(options, listener).await, endpoint)
        });
        Self { running: Some((runtime, vec![server])), is_joiner: true, endpoints: vec![endpoint] }
    }

    /// Returns the nodes' URLs, in the order of their names: `node1`, `node2`, ...
    pub fn endpoints(&self) -> &[String] {
        &self.endpoints
    }
}

/// Returns a free port, and the URL of the node that will serve there.
fn free_listener() -> (TcpListener, String) {
    let listener = listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).expect("a free port");
    let address = listener.local_addr().expect("an address");
    (listener, format!("{HTTP}{address}"))
}

async fn start(options: NodeOptions, listener: TcpListener) -> Server {
    let config = Config::check(options).expect("settings of a node");
    Server::start(config, listener).await.expect("a node starts")
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

impl Drop for InProcess {
    fn drop(&mut self) {
        if let Some((runtime, servers)) = self.running.take() {
            // A node that failed has reported it, and no one is left to tell.
            let is_joiner = self.is_joiner;
            let stop = |server: Server| async move {
                if is_joiner { server.stop().await } else { server.stop_with_cluster().await }
            };
            runtime.block_on(async {
                let stopping: Vec<_> = servers.into_iter().map(|server| tokio::spawn(stop(server))).collect();
                for stopping in stopping {
                    let _ = stopping.await;
                }
            });
            runtime.shutdown_background();
        }
    }
}
