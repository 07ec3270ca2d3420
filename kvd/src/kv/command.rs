//! What the log carries for the state machine, and what applying it answers.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Counts the applied requests that changed something: 1 in an empty store, apart from the log index.
pub type Revision = u64;

/// One write, as it stands in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// What to do.
    pub operation: Operation,
    /// Makes a repeat of this command apply at most once.
    pub request: Option<RequestId>,
}

/// What a command does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operation {
    /// Writes one key.
    Set {
        /// The key.
        key: Bytes,
        /// Its new value.
        value: Bytes,
        /// Write only where this holds.
        condition: Option<Condition>,
        /// Answer with the item as it was before.
        prev: bool,
    },
    /// Deletes one key.
    Delete {
        /// The key.
        key: Bytes,
        /// Delete only where this holds.
        condition: Option<Condition>,
        /// Answer with the item as it was before.
        prev: bool,
    },
}

/// What must hold of a key for an operation to be applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Condition {
    /// There is no such key.
    Absent,
    /// The key exists.
    Present,
    /// The key exists and was last changed at this revision.
    ModRevision(Revision),
    /// The key exists with exactly this value.
    Value(Bytes),
}

/// Names one request of one client, so that it is applied at most once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestId {
    /// Name of the client, which has one request under way at a time.
    pub client: String,
    /// Number of the request, higher for each new one.
    pub seq: u64,
}

/// A value and its history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The value.
    pub value: Bytes,
    /// Revision of the write that created the key.
    pub create_revision: Revision,
    /// Revision of the last write to the key.
    pub mod_revision: Revision,
    /// Writes since the key was created: 1 at creation.
    pub version: u64,
}

/// What applying a command came to: the same on every replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The key was written.
    Set {
        /// Revision of the store after the write.
        revision: Revision,
        /// Whether the write created the key.
        created: bool,
        /// The item before, where the command asked for it and there was one.
        prev: Option<Item>,
    },
    /// The key is gone, or was not there.
    Deleted {
        /// Revision of the store; unchanged when nothing was deleted.
        revision: Revision,
        /// Whether there was such a key.
        deleted: bool,
        /// The item before, where the command asked for it and there was one.
        prev: Option<Item>,
    },
    /// The condition did not hold; nothing changed.
    ConditionFailed {
        /// The item as it is.
        current: Option<Item>,
    },
    /// A newer request of the same client has been applied; nothing changed.
    StaleRequest {
        /// The newest `seq` applied for this client.
        newest: u64,
    },
    /// The table of sessions is full; nothing changed. A later attempt may succeed.
    SessionsFull,
}
