//! How HTTP handlers reach the replica: requests go into its inbox, views of it come out.

use crate::kv::{Outcome, Revision, Store};
use crate::node::{ChangeError, MemberChange, ReadError, WriteError};
use bytes::Bytes;
use kvclient::api::{ClusterInfo, Divergence, LeaderEvent, LeaderReply, Member, MembersReply, NodeState, NodeUrl};
use std::sync::{Arc, RwLock};
use tokio::sync::{mpsc, oneshot, watch};

/// A request to the replica, with the place for its answer.
#[derive(Debug)]
pub enum Request {
    /// Replicate and apply a command.
    Write {
        /// A valid [`crate::kv::Command`], encoded: that takes time for large values, and is not the replica's work.
        command: Bytes,
        /// Where the answer goes.
        reply: oneshot::Sender<Result<Outcome, WriteError>>,
    },
    /// Say when the local store is fresh enough for a read that begins now (ReadIndex, thesis §6.4).
    Read {
        /// Where the answer goes; after `Ok` the store may be read.
        reply: oneshot::Sender<Result<(), ReadError>>,
    },
    /// Change the members, and say when that is committed.
    ChangeMembers {
        /// What is to be.
        change: MemberChange,
        /// Where the answer goes: the members as they are then.
        reply: oneshot::Sender<Result<MembersReply, ChangeError>>,
    },
    /// Hand leadership over (thesis §3.10).
    HandOver {
        /// Name of the node that is to lead; without one the most up-to-date voter is.
        to: Option<String>,
        /// Where the answer goes: the new leader.
        reply: oneshot::Sender<Result<LeaderReply, NotHandedOver>>,
    },
    /// Give out the whole store, with all that this node has applied by now.
    Backup {
        /// Where the answer goes.
        reply: oneshot::Sender<Result<Backup, BackupError>>,
    },
}

/// Why leadership was not handed over. Nodes go by their names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotHandedOver {
    /// Another node leads, and takes this request.
    NotLeader,
    /// No leader is known.
    NoLeader,
    /// There is no member of this name.
    UnknownMember,
    /// The target does not vote.
    NotVoter,
    /// There is nobody to hand over to.
    NoTarget,
    /// Leadership is on its way to another node.
    UnderWay {
        /// That node.
        to: String,
    },
    /// The target did not take over in time.
    GivenUp {
        /// The target.
        to: String,
        /// The leader, as before.
        leader: String,
    },
    /// Another node than the target was elected.
    OtherElected {
        /// That node.
        leader: String,
    },
    /// The node leads no more, and has not heard who does.
    LeaderUnknown,
}

/// A snapshot of the store on its way to a client.
#[derive(Debug)]
pub struct Backup {
    /// The store's revision in it.
    pub revision: Revision,
    /// Length of the whole, in bytes.
    pub bytes: u64,
    /// The bytes; fewer than that if they cannot be read on. Dropping it ends the reading.
    pub chunks: mpsc::Receiver<Bytes>,
}

/// Why there is no snapshot to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackupError {
    /// The node is not part of a cluster yet (503).
    Forming,
    /// As many as a node gives at a time are under way (429).
    TooMany,
    /// The node's disk has no space for one (429).
    NoSpace,
}

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
}

/// What every handler needs; cheap to clone.
#[derive(Clone)]
pub struct Gateway {
    /// The replica's inbox. Full means overloaded: a handler never waits for room.
    pub requests: mpsc::Sender<Request>,
    /// The latest view.
    pub view: watch::Receiver<View>,
    /// The leader and the term, apart from the view, which changes with every commit.
    pub leader: watch::Receiver<LeaderEvent>,
    /// The store of this node. Readers share the lock, which no disk or network ever holds.
    pub store: Arc<RwLock<Store>>,
    /// Largest value accepted, in bytes.
    pub value_bytes_max: usize,
    /// When the daemon started.
    pub started: std::time::Instant,
}
