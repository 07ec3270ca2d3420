//! Results of applying commands.

use super::item::{Item, LeaseId, Revision};
use super::level::Level;
use bytes::Bytes;

/// Result of applying a command: the same on every replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The key was written.
    Set {
        /// Revision of the store after the write.
        revision: Revision,
        /// The write.
        done: PutDone,
    },
    /// The key was deleted, or did not exist.
    Deleted {
        /// Revision of the store; unchanged when nothing was deleted.
        revision: Revision,
        /// The deletion.
        done: DeleteDone,
    },
    /// The keys of a range were deleted, if there were any.
    DeletedRange {
        /// Revision of the store; unchanged when nothing was deleted.
        revision: Revision,
        /// The deletion.
        done: DeleteRangeDone,
    },
    /// The transaction was applied.
    Txn {
        /// Revision of the store; unchanged when nothing was written.
        revision: Revision,
        /// Its results.
        done: TxnDone,
    },
    /// The condition did not hold; nothing changed.
    ConditionFailed {
        /// The item at the time of this answer, also in the answer to a repeat: see [`super::Store::apply`].
        current: Option<Item>,
    },
    /// The command would exceed a bound of every command; nothing changed.
    TooLarge(Excess),
    /// The lease exists.
    LeaseGranted {
        /// The lease.
        lease: LeaseId,
        /// Its time to live, in milliseconds.
        ttl_ms: u64,
    },
    /// There is a lease of that id already; nothing changed.
    LeaseExists,
    /// There is no such lease, or it is ending; nothing changed.
    LeaseNotFound {
        /// The lease.
        lease: LeaseId,
    },
    /// The time of the leases has begun anew.
    KeptAlive {
        /// Time to live of each lease in milliseconds, in the order of the command. `None` if the lease has ended.
        ttls_ms: Vec<Option<u64>>,
    },
    /// The lease has ended.
    LeaseRevoked {
        /// Revision of the store; unchanged when no key was attached.
        revision: Revision,
        /// Number of keys that are deleted with it.
        deleted: u64,
    },
    /// Leases whose time was over have ended, as far as one command may.
    LeasesEnded,
    /// The place is the first, and holds the lock.
    LockTaken {
        /// The lease of the place.
        lease: LeaseId,
        /// The fencing token.
        token: Revision,
    },
    /// The place is in the queue, after others.
    PlaceTaken {
        /// The lease of the place.
        lease: LeaseId,
        /// The fencing token that it will have.
        token: Revision,
    },
    /// Another lease holds the lock, and this one has no place in the queue.
    LockHeld {
        /// The holder.
        holder: Holder,
    },
    /// The place was given up, or there was none any more.
    PlaceLeft {
        /// Revision of the store.
        revision: Revision,
    },
    /// There is no such place: it has ended with its lease, or was deleted.
    PlaceLost,
    /// The lock was given up.
    Unlocked {
        /// Revision of the store.
        revision: Revision,
    },
    /// The lock was no longer held; nothing changed.
    LockLost,
    /// The history before a revision is forgotten.
    Compacted {
        /// Revision of the store, unchanged.
        revision: Revision,
    },
    /// The store has not reached the revision; nothing changed.
    FutureRevision {
        /// Revision of the store.
        revision: Revision,
    },
    /// This request, or a newer one of the same client, has been applied before, and the outcome of this one is no
    /// longer known. This copy of it changed nothing.
    StaleRequest {
        /// The newest `seq` applied for this client.
        newest: u64,
    },
    /// This request has been applied before, and its reply was too large to be kept. This copy of it changed nothing.
    NotKept {
        /// Revision of the store after it was applied.
        revision: Revision,
    },
    /// There is no room for another client; nothing changed. A later attempt may succeed.
    SessionsFull,
    /// The client has used this `seq` for another operation; nothing changed.
    SeqReused,
    /// The state has reached this level.
    LevelRaised {
        /// The level.
        level: Level,
    },
}

/// A key was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutDone {
    /// True if the write created the key.
    pub created: bool,
    /// The previous item, if the write asked for it and there was one.
    pub prev: Option<Item>,
    /// The key's own lease, if the write asked for one.
    pub lease: Option<LeaseId>,
}

/// A key was deleted, or did not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteDone {
    /// True if the key existed.
    pub deleted: bool,
    /// The previous item, if the deletion asked for it and there was one.
    pub prev: Option<Item>,
}

/// The keys of a range were deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteRangeDone {
    /// Number of keys deleted.
    pub deleted: u64,
    /// True if the limit left some.
    pub more: bool,
    /// The items as they were, if the deletion asked for them.
    pub items: Option<Vec<KeyedItem>>,
}

/// A key and its item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyedItem {
    /// The key.
    pub key: Bytes,
    /// The item.
    pub item: Item,
}

/// Results of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TxnDone {
    /// True if all compares held.
    pub succeeded: bool,
    /// The results of the operations that were executed, in their order.
    pub results: Vec<OpDone>,
}

/// Result of one operation of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpDone {
    /// A key was written.
    Put(PutDone),
    /// A key was deleted.
    Delete(DeleteDone),
    /// A range was deleted.
    DeleteRange(DeleteRangeDone),
    /// A key was read.
    Get(Option<Item>),
    /// A range was listed.
    List(Listed),
    /// A nested transaction.
    Txn(TxnDone),
}

/// Items of a range.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// The items, without values if only keys were asked for.
    pub items: Vec<KeyedItem>,
    /// The folders: the beginnings, up to the delimiter, that several keys may share.
    pub folders: Vec<Bytes>,
    /// True if the range has more.
    pub more: bool,
    /// Number of keys in the range, if asked for.
    pub count: Option<u64>,
}

/// The holder of a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The fencing token.
    pub token: Revision,
    /// The lease of its place.
    pub lease: LeaseId,
    /// The value of its place.
    pub value: Bytes,
}

/// The bound that a command exceeds, of those for every command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Excess {
    /// It would visit more than [`super::COMMAND_VISITS_MAX`] keys.
    Visits,
    /// It would remove more than [`super::COMMAND_REMOVED_BYTES_MAX`] bytes.
    RemovedBytes,
    /// It would answer with more than [`super::COMMAND_ANSWER_BYTES_MAX`] bytes.
    AnswerBytes,
}

impl Outcome {
    /// Returns the revision of the store after the command, if the outcome has one.
    pub fn revision(&self) -> Option<Revision> {
        match self {
            Self::Set { revision, .. }
            | Self::Deleted { revision, .. }
            | Self::DeletedRange { revision, .. }
            | Self::Txn { revision, .. }
            | Self::LeaseRevoked { revision, .. }
            | Self::PlaceLeft { revision }
            | Self::Unlocked { revision }
            | Self::Compacted { revision }
            | Self::FutureRevision { revision }
            | Self::NotKept { revision } => Some(*revision),
            _ => None,
        }
    }
}
