//! State of a cluster, to compare with its state after a test has put it under stress.

use crate::processes::{Cluster, Node};
use crate::wait::until;
use kvclient::Client;

/// Descriptors that a node may have in addition to before: a log segment and its spare, and connections of clients that
/// check the state.
const OPEN_FILES_MARGIN: usize = 12;

/// Leader, term, memory and descriptors of a cluster.
#[derive(Debug)]
pub struct Vitals {
    leader: String,
    term: u64,
    nodes: Vec<NodeVitals>,
}

#[derive(Debug)]
struct NodeVitals {
    memory_bytes: u64,
    open_files: usize,
}

impl NodeVitals {
    fn of(node: &Node) -> Self {
        Self { memory_bytes: node.memory_bytes(), open_files: node.open_files() }
    }
}

impl Vitals {
    /// Takes the state of a cluster that serves.
    #[track_caller]
    pub fn of(cluster: &Cluster) -> Self {
        write_and_read_on_all(cluster);
        let (leader, term) = leadership(cluster);
        Self { leader, term, nodes: cluster.nodes.iter().map(NodeVitals::of).collect() }
    }

    /// Returns by how many bytes a node's peak memory has grown since these were taken.
    pub fn growth_at_peak(&self, cluster: &Cluster, node: usize) -> u64 {
        cluster[node].peak_memory_bytes().saturating_sub(self.nodes[node].memory_bytes)
    }

    /// Checks that everything is as before: the same leader in the same term, connections closed, memory freed except
    /// for `memory_bytes_kept`, and every node serves.
    #[track_caller]
    pub fn check(&self, cluster: &Cluster, memory_bytes_kept: u64) {
        assert_eq!(leadership(cluster), (self.leader.clone(), self.term), "leader and term");
        self.check_resources(cluster, memory_bytes_kept);
    }

    /// Does the same where the leader had to change.
    #[track_caller]
    pub fn check_resources(&self, cluster: &Cluster, memory_bytes_kept: u64) {
        write_and_read_on_all(cluster);
        for (node, before) in cluster.nodes.iter().zip(&self.nodes) {
            let most = before.open_files + OPEN_FILES_MARGIN;
            until(&format!("{} has {most} files open", node.name), || (node.open_files() <= most).then_some(()));
            let most = before.memory_bytes + memory_bytes_kept;
            until(&format!("{} takes {most} bytes", node.name), || (node.memory_bytes() <= most).then_some(()));
        }
    }
}

#[track_caller]
fn leadership(cluster: &Cluster) -> (String, u64) {
    let leader = &cluster[cluster.leader()];
    (leader.name.clone(), leader.health().expect("it answers").term)
}

/// Writes through each node, and reads each write on each node.
#[track_caller]
fn write_and_read_on_all(cluster: &Cluster) {
    let clients: Vec<Client> =
        cluster.nodes.iter().map(|node| Client::connect([node.url()]).expect("the URL of a node")).collect();
    for (writer, node) in clients.iter().zip(&cluster.nodes) {
        writer.set("vitals", &node.name).unwrap_or_else(|error| panic!("{} takes writes: {error}", node.name));
        for reader in &clients {
            let item = reader.get("vitals").expect("every node reads").expect("the key is there");
            assert_eq!(item.value, node.name.as_bytes());
        }
    }
}
