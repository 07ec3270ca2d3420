//! What a replica is asked, and what it answers.

use crate::kv::{Outcome, Revision};
use crate::node::{ChangeError, MemberChange, ReadError, WriteError};
use bytes::Bytes;
use kvclient::api::{LeaderReply, MembersReply};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

/// A request to the replica, with the place for its answer.
#[derive(Debug)]
pub enum Request {
    /// Replicate and apply a command.
    Write {
        /// A valid [`crate::kv::Command`], encoded: that takes time for large values, and is not the replica's work.
        command: Bytes,
        /// When nobody waits for the answer any more.
        deadline: Instant,
        /// Where the answer goes.
        reply: oneshot::Sender<Result<Outcome, WriteError>>,
    },
    /// Say when the local store is fresh enough for a read that begins now (ReadIndex, thesis §6.4).
    Read {
        /// When nobody waits for the answer any more.
        deadline: Instant,
        /// Where the answer goes; after `Ok` the store may be read.
        reply: oneshot::Sender<Result<(), ReadError>>,
    },
    /// Change the members, and say when that is committed.
    ChangeMembers {
        /// What is to be.
        change: MemberChange,
        /// When nobody waits for the answer any more.
        deadline: Instant,
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
