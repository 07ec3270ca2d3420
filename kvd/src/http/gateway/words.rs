//! Requests to the replica, and its answers.

use crate::kv::{Outcome, Revision};
use crate::node::{ChangeError, MemberChange, ReadError, WriteError};
use bytes::Bytes;
use kvclient::api::{LeaderReply, MembersReply};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

/// A request to the replica, with the channel for its answer.
#[derive(Debug)]
pub enum Request {
    /// Replicate and apply a command.
    Write {
        /// A valid [`crate::kv::Command`], encoded before it gets here: encoding a large value takes time that the
        /// replica must not spend.
        command: Bytes,
        /// Time after which nobody waits for the answer.
        deadline: Instant,
        /// Channel for the answer.
        reply: oneshot::Sender<Result<Outcome, WriteError>>,
    },
    /// Say when the local store is fresh enough for a read that begins now (ReadIndex, thesis §6.4).
    Read {
        /// Time after which nobody waits for the answer.
        deadline: Instant,
        /// Channel for the answer; after `Ok` the store may be read. `Ok` has the cluster time of the answer, in
        /// milliseconds, unless the leader runs a version that sends none.
        reply: oneshot::Sender<Result<Option<u64>, ReadError>>,
    },
    /// Change the members, and answer once the change is committed.
    ChangeMembers {
        /// The requested change.
        change: MemberChange,
        /// Time after which nobody waits for the answer.
        deadline: Instant,
        /// Channel for the answer: the members after the change.
        reply: oneshot::Sender<Result<MembersReply, ChangeError>>,
    },
    /// Transfer leadership (thesis §3.10).
    LeadershipTransfer {
        /// Name of the target; if absent, the most up-to-date voter.
        to: Option<String>,
        /// Channel for the answer: the new leader.
        reply: oneshot::Sender<Result<LeaderReply, NotTransferred>>,
    },
    /// Return the whole store, with everything that this node has applied so far.
    Backup {
        /// Channel for the answer.
        reply: oneshot::Sender<Result<Backup, BackupError>>,
    },
}

/// Reason why leadership was not transferred. Nodes are given by their names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotTransferred {
    /// Another node leads, and takes this request.
    NotLeader,
    /// No leader is known.
    NoLeader,
    /// There is no member of this name.
    UnknownMember,
    /// The target does not vote.
    NotVoter,
    /// There is no node to transfer leadership to.
    NoTarget,
    /// A transfer to another node is already under way.
    UnderWay {
        /// The target of that transfer.
        to: String,
    },
    /// The target did not take over in time.
    GivenUp {
        /// The target.
        to: String,
        /// The leader, unchanged.
        leader: String,
    },
    /// A node other than the target was elected.
    OtherElected {
        /// The elected node.
        leader: String,
    },
    /// The node no longer leads, and does not know the new leader.
    LeaderUnknown,
}

/// A snapshot of the store on its way to a client.
#[derive(Debug)]
pub struct Backup {
    /// Revision of the store in the snapshot.
    pub revision: Revision,
    /// Length of the whole snapshot, in bytes.
    pub bytes: u64,
    /// The bytes; fewer than `bytes` if reading fails. Dropping the receiver ends the reading.
    pub chunks: mpsc::Receiver<Bytes>,
}

/// Reason why no snapshot is available.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackupError {
    /// The node is not part of a cluster yet (503).
    Forming,
    /// The node is already sending as many snapshots as it allows at a time (429).
    TooMany,
    /// The node's disk has no space for a snapshot (429).
    NoSpace,
}
