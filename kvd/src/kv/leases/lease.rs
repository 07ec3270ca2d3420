//! One lease, and the same lease as a snapshot keeps it.

use super::super::codec::Reader;
use super::super::hash::Kind;
use super::super::item::LeaseId;
use super::super::pieces::Content;
use super::super::walk::{Keep, View};
use kvclient::snapshot::put_varint;
use std::cmp::Ordering;
use std::collections::BTreeSet;

/// The origin of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseKind {
    /// A client has asked for it.
    Granted,
    /// It was granted for the time to live of one key, and ends with the key.
    OfKey,
    /// It was granted for a place in the queue of a lock, and ends with the place.
    OfLock,
}

/// A lease.
pub(in crate::kv) struct Lease {
    pub(in crate::kv) ttl_ms: u64,
    /// Cluster time at which its time is over; 0 if it is ending.
    pub(in crate::kv) ends_ms: u64,
    pub(in crate::kv) kind: LeaseKind,
    /// True if its end has begun, and some of its keys are left.
    pub(in crate::kv) is_ending: bool,
    /// The keys attached to it.
    pub(in crate::kv) keys: BTreeSet<Box<[u8]>>,
    /// Number of snapshots begun by the time of the last change. Not part of the state.
    pub(super) last_change: u64,
}

const KIND_GRANTED: u8 = 1;
const KIND_OF_KEY: u8 = 2;
const KIND_OF_LOCK: u8 = 3;

/// Added to the kind of a lease that is ending.
const ENDING: u8 = 1 << 7;

impl Lease {
    /// Returns everything that distinguishes this lease from another, in the only form that it has:
    ///
    /// | size   | field |
    /// |--------|-------|
    /// | 8      | id, highest byte first, so that the bytes are ordered as the ids are |
    /// | 1      | kind: 1 granted, 2 of a key, 3 of a lock; 128 more if it is ending |
    /// | varies | time to live, end: varints |
    pub(super) fn canonical_bytes(&self, id: LeaseId) -> Vec<u8> {
        let mut to = Vec::with_capacity(24);
        to.extend_from_slice(id.as_bytes());
        let kind = match self.kind {
            LeaseKind::Granted => KIND_GRANTED,
            LeaseKind::OfKey => KIND_OF_KEY,
            LeaseKind::OfLock => KIND_OF_LOCK,
        };
        to.push(if self.is_ending { kind | ENDING } else { kind });
        put_varint(&mut to, self.ttl_ms);
        put_varint(&mut to, self.ends_ms);
        to
    }

    /// Reads canonical bytes; `None` if they are not canonical.
    pub(super) fn read(canonical: &[u8]) -> Option<(LeaseId, Self)> {
        let from = &mut Reader::new(canonical);
        let id = LeaseId::new(u64::from_be_bytes(from.array()?))?;
        let kind = from.u8()?;
        let is_ending = kind & ENDING != 0;
        let kind = match kind & !ENDING {
            KIND_GRANTED => LeaseKind::Granted,
            KIND_OF_KEY => LeaseKind::OfKey,
            KIND_OF_LOCK => LeaseKind::OfLock,
            _ => return None,
        };
        let (ttl_ms, ends_ms) = (from.varint()?, from.varint()?);
        let keys = BTreeSet::new();
        let is_right = from.rest().is_empty() && is_ending == (ends_ms == 0);
        is_right.then_some((id, Self { ttl_ms, ends_ms, kind, is_ending, keys, last_change: 0 }))
    }
}

/// A lease as it was, ordered by its id.
pub(in crate::kv) struct KeptLease {
    canonical: Vec<u8>,
    last_change: u64,
}

impl KeptLease {
    pub(super) fn new(id: LeaseId, lease: &Lease) -> Self {
        Self { canonical: lease.canonical_bytes(id), last_change: lease.last_change }
    }
}

impl Keep for KeptLease {
    type Key = [u8];
    const KIND: Kind = Kind::Lease;

    fn key(&self) -> &[u8] {
        &self.canonical[..8]
    }

    fn view(&self) -> View<'_, [u8]> {
        let content = Content { head: (&self.canonical[..]).into(), tail: &[] };
        View { key: self.key(), last_change: self.last_change, content }
    }
}

impl PartialEq for KeptLease {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for KeptLease {}

impl PartialOrd for KeptLease {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for KeptLease {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(other.key())
    }
}
