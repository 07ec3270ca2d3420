//! Nodes within the process of a test: started in a moment, though never killed.

use kvd::config::{Config, OPEN_FILES_MAX, Options as NodeOptions, StorageKind};
use kvd::dev::{Nodes, Options};
use kvd::server::{Server, listen};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use tokio::runtime::Runtime;

/// Nodes on free ports, with their data in memory and a runtime of their own. Dropping it stops them.
#[derive(Debug)]
pub struct InProcess {
    /// Until it is dropped.
    running: Option<(Runtime, Running)>,
    endpoints: Vec<String>,
}

#[derive(Debug)]
enum Running {
    Cluster(Nodes),
    Joiner(Server),
}

impl InProcess {
    /// Starts a cluster. It forms, and elects a leader, shortly after.
    #[track_caller]
    pub fn start(nodes: u16) -> Self {
        let runtime = runtime();
        let options = Options { nodes, base_port: 0, data_dir: None, open_files: OPEN_FILES_MAX };
        let nodes = runtime.block_on(Nodes::start(&options)).expect("a cluster starts");
        let endpoints = nodes.urls().to_vec();
        Self { running: Some((runtime, Running::Cluster(nodes))), endpoints }
    }

    /// Starts a single node that joins the cluster of the node at `url`: it is a member shortly after, or waits for that
    /// cluster to be there.
    #[track_caller]
    pub fn join(name: &str, url: &str) -> Self {
        let runtime = runtime();
        let (server, address) = runtime.block_on(async {
            let listener = listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).expect("a free port");
            let address = listener.local_addr().expect("an address");
            let defaults = NodeOptions::new(name, address.to_string(), Vec::new(), PathBuf::new());
            let options = NodeOptions { storage: StorageKind::Memory, join: vec![url.to_owned()], ..defaults };
            let config = Config::check(options).expect("settings of a node");
            (Server::start(config, listener).await.expect("a node starts"), address)
        });
        let endpoints = vec![format!("http://{address}")];
        Self { running: Some((runtime, Running::Joiner(server))), endpoints }
    }

    /// The nodes' URLs, in the order of their names: `node1`, `node2`, ...
    pub fn endpoints(&self) -> &[String] {
        &self.endpoints
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

impl Drop for InProcess {
    fn drop(&mut self) {
        if let Some((runtime, running)) = self.running.take() {
            // A node that failed has said so, and there is nobody left to tell.
            let _ = runtime.block_on(async {
                match running {
                    Running::Cluster(nodes) => nodes.stop().await,
                    Running::Joiner(server) => server.stop().await,
                }
            });
            runtime.shutdown_background();
        }
    }
}
