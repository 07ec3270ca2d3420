//! State of a node and its cluster, as far as the node knows.

use kvclient::api::{ClonedNode, ClusterInfo, Divergence, Member, NodeState, NodeUrl};
use std::sync::Arc;

/// State of this node and its cluster, as far as the node knows; replaced whenever something changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// Name of this node.
    pub name: Arc<str>,
    /// Id of this incarnation of the node, as sixteen hexadecimal digits.
    pub node: Arc<str>,
    /// URL at which clients reach the node.
    pub client_url: Arc<str>,
    /// URL at which the other nodes reach the node.
    pub peer_url: Arc<str>,
    /// The newest level that the node knows, or is set to know.
    pub level_max: u32,
    /// State of the node.
    pub state: NodeState,
    /// The node's current term.
    pub term: u64,
    /// The leader that the node knows.
    pub leader: Option<NodeUrl>,
    /// Index of the last entry in the node's log.
    pub last_log_index: u64,
    /// Index up to which the node knows entries to be committed.
    pub commit_index: u64,
    /// Index up to which the node's store has applied entries.
    pub applied_index: u64,
    /// True if the node knows a leader and has applied everything that was committed when it started.
    pub ready: bool,
    /// Members of the cluster, in the order of their names.
    pub members: Arc<[Member]>,
    /// The cluster, once this node is part of one.
    pub cluster: Option<Arc<ClusterInfo>>,
    /// Reason why the node is not part of a cluster yet, as a sentence.
    pub waiting_for: Option<String>,
    /// Difference between the node's data and that of the other nodes, once it is found. The node then serves nothing.
    pub diverged: Option<Divergence>,
    /// Time since which the node's disk has not completed a write, if that is long enough to count as stuck.
    pub disk_stuck: Option<std::time::Instant>,
    /// Number of damaged snapshots found on the node's disk since it started, or while it started.
    pub snapshots_damaged: u64,
    /// Number of damaged log segments found since the node started.
    pub log_damaged: u64,
    /// Nodes that this node has seen two processes of, under one id.
    pub cloned: Vec<ClonedNode>,
}

impl View {
    /// The view of a node that is part of no cluster yet, and has no data.
    pub fn forming(name: &str, node: &str, client_url: &str, peer_url: &str, level_max: u32) -> Self {
        Self {
            name: name.into(),
            node: node.into(),
            client_url: client_url.into(),
            peer_url: peer_url.into(),
            level_max,
            state: NodeState::Forming,
            term: 0,
            leader: None,
            last_log_index: 0,
            commit_index: 0,
            applied_index: 0,
            ready: false,
            members: Arc::new([]),
            cluster: None,
            waiting_for: None,
            diverged: None,
            disk_stuck: None,
            snapshots_damaged: 0,
            log_damaged: 0,
            cloned: Vec::new(),
        }
    }
}
