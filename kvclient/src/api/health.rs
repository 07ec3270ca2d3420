//! `/health`: what a node says of itself.

use super::leader::NodeUrl;
use super::members::Member;
use super::optional::{first_level, is_first_level, is_zero};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a node is doing: `"state"` in [`Health`].
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
    /// Replicates what the leader orders.
    Follower,
    /// Asks for votes, or whether it would get them.
    Candidate,
    /// Receives everything, votes in nothing.
    Learner,
    /// Not yet part of a cluster: waits until it has heard from every configured peer, or is added to one that there
    /// is.
    Forming,
    /// Was part of a cluster and is no more: it serves nothing but stale reads.
    Removed,
    /// Holds other data than the others do, and serves nothing any more.
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

/// Reply of `GET /health`: what one node knows, whether it is part of a quorum or not.
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
    /// Id of its cluster, as sixteen hexadecimal digits; null while it is part of none.
    #[serde(default)]
    pub cluster: Option<String>,
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
    /// Revision of its store.
    pub revision: u64,
    /// Number of keys in its store.
    pub keys: u64,
    /// Version of the daemon.
    pub version: String,
    /// Level of its store: what the cluster can do, whatever its nodes could. It rises by itself once every member knows
    /// the next one.
    #[serde(default = "first_level", skip_serializing_if = "is_first_level")]
    pub level: u32,
    /// The newest level that the node knows, or is to know.
    #[serde(default = "first_level", skip_serializing_if = "is_first_level")]
    pub level_max: u32,
    /// Time since the daemon started, in milliseconds.
    pub uptime_ms: u64,
    /// Members of the cluster, in the order of their names.
    pub members: Vec<Member>,
    /// While it waits for something to be part of a cluster: for what, as a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_for: Option<String>,
    /// Where its data is found to be other than that of the others: from then on it serves nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diverged: Option<Divergence>,
    /// While its disk does not complete a write: for how long, in milliseconds. Such a node does not lead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_stuck_ms: Option<u64>,
    /// Snapshots on its disk that were found to be damaged since it started, or when it did. It has replaced them, or
    /// does so, and has lost nothing; but its disk loses what is stored on it, and should be checked.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub snapshots_damaged: u64,
    /// Parts of its log that were found to be damaged since it started, all of them applied before. It has replaced them by
    /// a snapshot, or does so; the same holds of its disk.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub log_damaged: u64,
    /// Members under whose id two processes have run within the last 15 s, as far as this node has seen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cloned: Vec<ClonedNode>,
    /// Id of this life of the node, as sixteen hexadecimal digits.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub node: String,
    /// URL for clients, as the node says.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub client_url: String,
    /// URL for the other nodes, as the node says.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub peer_url: String,
}

/// Two processes under the id of one node, as after a machine was cloned or a data directory was copied. Together they can
/// break what each of them has promised, so acknowledged writes may be lost: stop the copy and clear its data directory.
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
    /// How each of the two was seen.
    pub processes: [String; 2],
}

/// How the data of a node differs from that of the others.
///
/// ```
/// let json = r#"{"index":7,"hash":"0000000000000000000000000000000a","majority":null}"#;
/// let divergence: kvclient::api::Divergence = serde_json::from_str(json)?;
/// assert_eq!(divergence.index, 7);
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Divergence {
    /// The entry of the log after which it was found to differ. It may have begun earlier.
    pub index: u64,
    /// Hash of the node's state there, in hexadecimal digits.
    pub hash: String,
    /// Hash of the state that a majority of the voters has there; none if no state has a majority, so that nobody knows
    /// which is right.
    pub majority: Option<String>,
}
