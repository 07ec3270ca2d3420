//! The parts of writes: what is put, what is deleted, and under which condition.

use super::item::{LeaseId, Revision};
use super::key_range::KeyRange;
use bytes::Bytes;

/// The write of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Put {
    /// The key.
    pub key: Bytes,
    /// Its new value.
    pub value: Bytes,
    /// The lease that the key is attached to from now on.
    pub lease: PutLease,
    /// Return the item as it was before.
    pub prev: bool,
}

impl Put {
    /// Creates a write without a lease.
    pub fn new(key: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        Self { key: key.into(), value: value.into(), lease: PutLease::None, prev: false }
    }
}

/// The lease of a key that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutLease {
    /// No lease.
    None,
    /// The lease that the key has already, if it has one.
    Keep,
    /// This lease, which must exist.
    Of(LeaseId),
    /// A lease of the key's own, whose time begins now: the one that the key has already, or a new one.
    Own {
        /// Its time to live, in milliseconds.
        ttl_ms: u64,
    },
}

/// The deletion of a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteRange {
    /// The range.
    pub range: KeyRange,
    /// Delete at most this many keys, the first ones.
    pub limit: Option<u64>,
    /// Return the items as they were before.
    pub prev: bool,
}

/// Condition on a key under which an operation is applied.
///
/// It is evaluated when the operation is applied, in the order of the log: if two writers race with the same condition,
/// exactly one wins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// There is no such key.
    Absent,
    /// The key exists.
    Present,
    /// The key exists and was last changed at this revision.
    ModRevision(Revision),
    /// The key exists with exactly this value.
    Value(Bytes),
    /// A lock is held; says nothing about the key.
    Held(Held),
}

/// Condition that a lock is held by the holder with this token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The name of the lock.
    pub name: Bytes,
    /// The fencing token.
    pub token: Revision,
}
