//! Ending and reading leases.

use super::super::item::LeaseId;
use super::super::leases::{Lease, LeaseKind};
use super::super::spent::Spent;
use super::Store;
use super::draft::Draft;
use crate::mutants::{self, Mutant};
use std::ops::Bound;

/// A lease as it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseRef {
    /// Its id.
    pub id: LeaseId,
    /// Its origin.
    pub kind: LeaseKind,
    /// Its time to live, in milliseconds.
    pub ttl_ms: u64,
    /// Cluster time at which its time is over, in milliseconds.
    pub ends_ms: u64,
    /// Number of keys attached to it.
    pub keys: usize,
}

fn lease_ref(id: LeaseId, lease: &Lease) -> LeaseRef {
    let Lease { ttl_ms, ends_ms, kind, .. } = *lease;
    LeaseRef { id, kind, ttl_ms, ends_ms, keys: lease.keys.len() }
}

impl Store {
    /// Ends each of these leases whose end is the one that the leader saw, each in a revision of its own, as far as one
    /// command may.
    pub(super) fn end_leases(&mut self, ends: &[(LeaseId, u64)]) {
        let mut spent = Spent::default();
        for (id, ends_ms) in ends {
            // A keepalive that stands before this command in the log has moved the end: the lease lives.
            let is_same_end =
                |lease: &&Lease| lease.ends_ms == *ends_ms || mutants::is_on(Mutant::ExpiryIgnoresRenewal);
            let Some(lease) = self.leases.get(*id).filter(is_same_end) else { continue };
            let mut draft = Draft::going_on(self, spent);
            let is_whole = draft.end_lease(*id, lease);
            let edits;
            (edits, spent) = draft.finish();
            self.make(edits);
            if !is_whole {
                break;
            }
        }
    }

    /// Returns leases whose time is over at `now_ms` of cluster time or whose end has begun, each with its end: no more
    /// than `leases_max`, the earliest first. [`EndLeases`](crate::kv::Operation::EndLeases) ends them.
    pub fn leases_over(&self, now_ms: u64, leases_max: usize) -> Vec<(LeaseId, u64)> {
        self.leases.over(now_ms).take(leases_max).collect()
    }

    /// Returns a lease that is not ending, and those of its keys that come after `after`, in order.
    pub fn lease<'a>(
        &'a self,
        id: LeaseId,
        after: Option<&'a [u8]>,
    ) -> Option<(LeaseRef, impl Iterator<Item = &'a [u8]>)> {
        let lease = self.leases.live(id)?;
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        Some((lease_ref(id, lease), lease.keys.range::<[u8], _>((from, Bound::Unbounded)).map(|key| &**key)))
    }

    /// Returns the leases after `after` in the order of their ids. Leases of single keys, and leases that are ending,
    /// come with their id alone: no list shows them.
    pub fn leases(&self, after: Option<LeaseId>) -> impl Iterator<Item = (LeaseId, Option<LeaseRef>)> {
        self.leases.after(after).map(|(id, lease)| {
            let is_listed = lease.kind != LeaseKind::OfKey && !lease.is_ending;
            (id, is_listed.then(|| lease_ref(id, lease)))
        })
    }
}
