//! `/health`: a node's report on itself.

use super::leader::NodeUrl;
use super::members::Member;
use super::optional::{first_level, is_first_level, is_zero};
use serde::{Deserialize, Serialize};
use std::fmt;

/// State of a node: `"state"` in [`Health`].
///
/// ```
/// use kvclient::api::NodeState;
///
/// assert_eq!(serde_json::to_string(&NodeState::Forming)?, r#""forming""#);
/// assert_eq!(NodeState::Forming.to_string(), "forming");
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeState {
    /// Orders the writes of this term.
    Leader,
    /// Replicates the leader's log.
    Follower,
    /// Asks for votes, or in a pre-vote whether it would get them.
    Candidate,
    /// Receives everything but does not vote.
    Learner,
    /// Not yet part of a cluster: waits until it has heard from every configured peer, or until an existing cluster
    /// adds it.
    Forming,
    /// Was removed from its cluster: it serves nothing but stale reads.
    Removed,
    /// Its data differs from that of the other nodes, and it no longer serves.
    Diverged,
}

impl fmt::Display for NodeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Leader => "leader",
            Self::Follower => "follower",
            Self::Candidate => "candidate",
            Self::Learner => "learner",
            Self::Forming => "forming",
            Self::Removed => "removed",
            Self::Diverged => "diverged",
        })
    }
}

/// Reply of `GET /health`: the view of one node, whether or not it is part of a quorum.
///
/// ```
/// use kvclient::api::{Health, NodeState};
///
/// let json = r#"{"id":"node1","cluster":"51f0c2d3a4b5e697","state":"leader","term":5,
///     "leader":{"id":"node1","url":"http://127.0.0.1:8081"},"last_log_index":12,"commit_index":12,
///     "applied_index":12,"revision":9,"keys":3,"version":"0.1.0",
///     "uptime_ms":60000,"members":[]}"#;
/// let health: Health = serde_json::from_str(json)?;
/// assert_eq!((health.state, health.keys), (NodeState::Leader, 3));
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Name of this node.
    pub id: String,
    /// Id of its cluster, as sixteen hexadecimal digits; null while it belongs to no cluster.
    #[serde(default)]
    pub cluster: Option<String>,
    /// Its state.
    pub state: NodeState,
    /// Its current term.
    pub term: u64,
    /// The leader that it knows.
    pub leader: Option<NodeUrl>,
    /// Index of the last entry in its log.
    pub last_log_index: u64,
    /// Index up to which it knows entries to be committed.
    pub commit_index: u64,
    /// Index up to which its store has applied entries.
    pub applied_index: u64,
    /// Revision of its store.
    pub revision: u64,
    /// Number of keys in its store.
    pub keys: u64,
    /// Version of the daemon.
    pub version: String,
    /// Level of its store: the features that the cluster may use, even if its nodes support more. It rises
    /// automatically once every member knows the next level.
    #[serde(default = "first_level", skip_serializing_if = "is_first_level")]
    pub level: u32,
    /// The newest level that the node knows, or is allowed to use.
    #[serde(default = "first_level", skip_serializing_if = "is_first_level")]
    pub level_max: u32,
    /// Time since the daemon started, in milliseconds.
    pub uptime_ms: u64,
    /// Members of the cluster, sorted by name.
    pub members: Vec<Member>,
    /// While it waits to become part of a cluster: what it waits for, as a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_for: Option<String>,
    /// Set once its data is found to differ from that of the other nodes. From then on it serves nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diverged: Option<Divergence>,
    /// Set while its disk does not complete a write: for how long, in milliseconds. Such a node does not lead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_stuck_ms: Option<u64>,
    /// Number of snapshots on its disk that were found to be damaged, at its start or since. The node has replaced
    /// them, or is doing so, and has lost nothing; but its disk loses data, and should be checked.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub snapshots_damaged: u64,
    /// Number of parts of its log that were found to be damaged since it started, all of them already applied. The node
    /// has replaced them with a snapshot, or is doing so; its disk should be checked as well.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub log_damaged: u64,
    /// Members under whose id two processes have run within the last 15 s, as far as this node has seen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cloned: Vec<ClonedNode>,
    /// Id of this incarnation of the node, as sixteen hexadecimal digits.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub node: String,
    /// URL for clients, as the node announces it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub client_url: String,
    /// URL for the other nodes, as the node announces it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub peer_url: String,
}

/// Two processes under the id of one node, for example after a machine was cloned or a data directory was copied.
/// Together they can break the promises that each has made, so acknowledged writes may be lost: stop the copy and clear
/// its data directory.
///
/// ```
/// let json = r#"{"id":"node2","node":"00000000000000a2","processes":["answers at http://10.0.0.2:8081",
///     "connects from 10.0.0.9 and gives its URL as http://10.0.0.9:8081"]}"#;
/// let cloned: kvclient::api::ClonedNode = serde_json::from_str(json)?;
/// assert_eq!((cloned.id.as_str(), cloned.processes.len()), ("node2", 2));
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClonedNode {
    /// Name of the node.
    pub id: String,
    /// Its id, as sixteen hexadecimal digits.
    pub node: String,
    /// A description of each of the two processes: the address from which it connects, and the URL that it gives.
    pub processes: [String; 2],
}

/// Difference between a node's data and that of the other nodes.
///
/// ```
/// let json = r#"{"index":7,"hash":"0000000000000000000000000000000a","majority":null}"#;
/// let divergence: kvclient::api::Divergence = serde_json::from_str(json)?;
/// assert_eq!(divergence.index, 7);
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Divergence {
    /// The log entry after which the difference was found. It may have begun earlier.
    pub index: u64,
    /// Hash of the node's state after that entry, in hexadecimal digits.
    pub hash: String,
    /// Hash of the state that a majority of the voters has there. None if no state has a majority, so that the right
    /// one is unknown.
    pub majority: Option<String>,
}
