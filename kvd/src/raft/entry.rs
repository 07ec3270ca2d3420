//! The contents of the log, and the hard state kept with it.

use super::configuration::Configuration;
use super::types::{ClusterTime, LogIndex, NodeId, Term};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// One position of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its position.
    pub index: LogIndex,
    /// Term of the leader that appended it.
    pub term: Term,
    /// Cluster time given by the leader; never less than that of the entry before.
    pub time: ClusterTime,
    /// The content of the entry.
    pub payload: Payload,
}

/// The content of an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Payload {
    /// Nothing: appended by every new leader, so that it commits an entry of its own term (paper §8).
    Noop,
    /// A command for the state machine, opaque to consensus.
    Command(Bytes),
    /// The members from this entry on: in force as soon as appended, committed or not (paper §6).
    Configuration(Configuration),
}

/// Bytes added for each entry, besides its command, by every limit on windows and messages.
const ENTRY_OVERHEAD_BYTES: usize = 32;

impl Entry {
    /// Approximate size of the entry in bytes, in memory, on disk and between nodes.
    pub fn size_bytes(&self) -> usize {
        let payload = match &self.payload {
            Payload::Noop => 0,
            Payload::Command(command) => command.len(),
            Payload::Configuration(configuration) => configuration.size_bytes(),
        };
        ENTRY_OVERHEAD_BYTES + payload
    }
}

/// State besides the log that a node must keep across a crash (paper Figure 2, persistent state).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HardState {
    /// The latest term the node has seen.
    pub term: Term,
    /// The node for which it voted in that term.
    pub vote: Option<NodeId>,
}

/// One record written to the log, in the order of writing.
///
/// The records of one write become durable together or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// Term and vote from here on.
    HardState(HardState),
    /// All entries from this index on are void: they conflicted with the leader's (paper §5.3).
    Truncate {
        /// The first entry that is void.
        from: LogIndex,
    },
    /// An entry; its index follows that of the last entry before it that is not void.
    Entry(Entry),
    /// All entries up to this one are committed. A hint that speeds up recovery, written only along with other records.
    Commit(LogIndex),
}
