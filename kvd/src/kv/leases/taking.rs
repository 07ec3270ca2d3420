//! The leases in a snapshot: each as it was when the snapshot began, in the order of the ids.

use super::super::item::LeaseId;
use super::super::pieces::{Content, PieceWriter};
use super::super::walk::{View, Walk};
use super::Leases;
use super::lease::{KeptLease, Lease};
use std::ops::Bound;

impl Leases {
    /// Begins a snapshot of the current leases.
    pub(in crate::kv) fn begin_snapshot(&mut self) {
        self.walk = Some(Walk::new(self.snapshots_begun));
        self.snapshots_begun += 1;
    }

    /// Continues writing; returns true once everything is written.
    pub(in crate::kv) fn write_snapshot(&self, piece: &mut PieceWriter) -> bool {
        let present = |from: Bound<&[u8]>| {
            let from = match from {
                Bound::Included(id) => Bound::Included(LeaseId::of_bytes(id)),
                Bound::Excluded(id) => Bound::Excluded(LeaseId::of_bytes(id)),
                Bound::Unbounded => Bound::Unbounded,
            };
            self.by_id.range((from, Bound::Unbounded)).map(|(id, lease)| View {
                key: id.as_bytes(),
                last_change: lease.last_change,
                content: Content { head: lease.canonical_bytes(*id).into(), tail: &[] },
            })
        };
        self.walk.as_ref().is_none_or(|walk| walk.write(present, piece))
    }

    /// Ends the snapshot. Returns its remains, which may take a while to drop.
    pub(in crate::kv) fn end_snapshot(&mut self) -> Option<Walk<KeptLease>> {
        self.walk.take()
    }

    /// Keeps a lease for the snapshot in progress if needed. Call this for each lease that is about to change or be
    /// removed.
    pub(super) fn keep_for_snapshot(&mut self, id: LeaseId, lease: &Lease) {
        if let Some(walk) = &mut self.walk
            && walk.wants(id.as_bytes(), lease.last_change)
        {
            walk.keep(KeptLease::new(id, lease));
        }
    }
}
