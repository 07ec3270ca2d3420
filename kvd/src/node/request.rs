//! Results of requests to a replica.

use crate::kv::Level;
use crate::raft::NodeId;
use thiserror::Error;

/// Reason why a write was not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum WriteError {
    /// Another node leads and accepts this write (307). Not applied.
    #[error("another node leads")]
    NotLeader {
        /// The leader.
        leader: NodeId,
    },
    /// No leader is known (503). Not applied.
    #[error("no leader is known")]
    NoLeader,
    /// This node leads and is transferring leadership (503). Not applied.
    #[error("leadership is being transferred")]
    TransferringLeadership,
    /// Another leader's entry was committed in this one's place (503). Not applied, and never will be.
    #[error("leadership was lost before the write was replicated")]
    Superseded,
    /// Too many writes wait for a quorum already (429). Not applied.
    #[error("too many writes wait for a quorum")]
    Overloaded,
    /// The store has as much as it may (507). Not applied.
    #[error("the store is full")]
    StoreFull,
    /// The state is below the level that the command needs (503). Not applied.
    #[error("the cluster is not at level {needed} yet")]
    BelowLevel {
        /// The level that the command needs.
        needed: Level,
        /// Members that have not reported to support it. If there are none, the level is about to be raised.
        lacking: Vec<NodeId>,
    },
    /// No quorum answered in time (504). May still be applied: repeat it under the same client and seq.
    #[error("no quorum answered in time")]
    OutcomeUnknown,
}

/// Reason why a linearizable read was not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ReadError {
    /// No leader is known, or leadership changed under the read (503).
    #[error("no leader is known")]
    NoLeader,
    /// Too many reads wait for a quorum already (429).
    #[error("too many reads wait for a quorum")]
    Overloaded,
    /// No quorum confirmed the leader in time (504).
    #[error("no quorum answered in time")]
    TimedOut,
}
