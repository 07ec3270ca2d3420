//! Actions that a replica asks of its caller.

use super::request::{ReadError, WriteError};
use crate::kv::Outcome;
use crate::raft::{ClusterTime, Fetch, LogWrite, Message, NodeId, SendSnapshot};

/// Actions to take after some calls to a [`super::Replica`], in any order. `W` and `R` are the caller's handles on its
/// requests.
#[derive(Debug)]
#[must_use]
pub struct Effects<W, R> {
    /// Messages to other nodes for the prompt lane; any of them may be lost. See [`crate::raft::Effects`].
    pub send: Vec<(NodeId, Message)>,
    /// Messages for the bulk lane; any of them may be lost.
    pub bulk: Vec<(NodeId, Message)>,
    /// The next write to the log: report [`super::Replica::written`] once durable, stop if it fails.
    pub write: Option<LogWrite>,
    /// Entries to read back from disk: answer with [`super::Replica::fetched`].
    pub fetch: Vec<Fetch>,
    /// Followers to send the newest snapshot to: answer with [`super::Replica::snapshot_sent`].
    pub snapshots: Vec<SendSnapshot>,
    /// Writes that have ended.
    pub writes: Vec<(W, Result<Outcome, WriteError>)>,
    /// Reads that have ended; after `Ok` the store is fresh enough for them. It holds the leader's cluster time when it
    /// took the read index: time left until an end is counted from there. `None` if the leader is of a version that
    /// does not tell it.
    pub reads: Vec<(R, Result<Option<ClusterTime>, ReadError>)>,
}
