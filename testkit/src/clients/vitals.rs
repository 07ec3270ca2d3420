//! How a cluster is, to compare with how it is after something was done to it.

use crate::processes::{Cluster, Node};
use crate::wait::until;
use kvclient::Client;

/// Descriptors that a node may have more than before: a segment of the log and its spare, and connections of the
/// clients that look.
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
    /// Of a cluster that serves.
    #[track_caller]
    pub fn of(cluster: &Cluster) -> Self {
        write_and_read_on_all(cluster);
        let (leader, term) = leadership(cluster);
        Self { leader, term, nodes: cluster.nodes.iter().map(NodeVitals::of).collect() }
    }

    /// How much more memory a node has had at its peak than when these were taken, in bytes.
    pub fn growth_at_peak(&self, cluster: &Cluster, node: usize) -> u64 {
        cluster[node].peak_memory_bytes().saturating_sub(self.nodes[node].memory_bytes)
    }

    /// Checks that all is as it was: the same leader in the same term, connections closed, memory given back but for
    /// `memory_bytes_kept`, and every node serves.
    #[track_caller]
    pub fn check(&self, cluster: &Cluster, memory_bytes_kept: u64) {
        assert_eq!(leadership(cluster), (self.leader.clone(), self.term), "leader and term");
        self.check_resources(cluster, memory_bytes_kept);
    }

    /// The same where the leader had to change.
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

/// A write by way of each node, read on each node.
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
