//! What a node knows of itself and its cluster.

use kvclient::api::{ClonedNode, ClusterInfo, Divergence, Member, NodeState, NodeUrl};
use std::sync::Arc;

/// What this node knows of itself and its cluster; replaced whenever something changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// Name of this node.
    pub name: Arc<str>,
    /// Id of this life of it, as sixteen hexadecimal digits.
    pub node: Arc<str>,
    /// Where clients reach it.
    pub client_url: Arc<str>,
    /// Where the other nodes reach it.
    pub peer_url: Arc<str>,
    /// The newest level that it knows, or is to know.
    pub level_max: u32,
    /// What it is doing.
    pub state: NodeState,
    /// Its current term.
    pub term: u64,
    /// The leader it knows of.
    pub leader: Option<NodeUrl>,
    /// Index of the last entry in its log.
    pub last_log_index: u64,
    /// Index up to which it knows entries to be committed.
    pub commit_index: u64,
    /// Index up to which its store has applied entries.
    pub applied_index: u64,
    /// Whether it knows a leader and has applied all that was committed when it started.
    pub ready: bool,
    /// Members of the cluster, in the order of their names.
    pub members: Arc<[Member]>,
    /// The cluster, once this node is part of one.
    pub cluster: Option<Arc<ClusterInfo>>,
    /// What the node waits for before it is part of a cluster, as a sentence.
    pub waiting_for: Option<String>,
    /// How its data differs from that of the others, once that is found: it serves nothing then.
    pub diverged: Option<Divergence>,
    /// Since when its disk has not completed a write, if that is so long that it counts as stuck.
    pub disk_stuck: Option<std::time::Instant>,
    /// Snapshots on its disk that were found to be damaged since it started, or when it did.
    pub snapshots_damaged: u64,
    /// Segments of its log that were found to be damaged since it started.
    pub log_damaged: u64,
    /// Nodes under whose id two processes run, as far as this node has seen.
    pub cloned: Vec<ClonedNode>,
}

impl View {
    /// A node that is part of no cluster yet, and has nothing.
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
