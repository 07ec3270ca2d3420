//! Leases, which delete their keys when they end.
//!
//! A lease has a time to live, which begins when it is granted and begins anew with each keepalive. When it is over,
//! the lease ends, and the keys attached to it are deleted. The time is cluster time, so all replicas agree on it. But
//! a lease does not end by the passing of time: it ends by a command, [`Operation::EndLeases`], that a leader proposes
//! once the time is over, and that names the end that the leader saw. A keepalive before it in the log moves the end,
//! and the command then does nothing. So the log alone decides whether a keepalive came in time.
//!
//! A lease with more keys than one command may remove ends in several steps. From the first on it is *ending*: nothing
//! renews it, nothing is attached to it, and no lock is held by it.
//!
//! Keys that were written with a time to live of their own have a lease each, which ends with the key.
//!
//! Which keys are attached is known from the items, so only the leases themselves are part of the hash and of
//! snapshots.
//!
//! [`Operation::EndLeases`]: super::Operation::EndLeases

mod lease;
mod restoring;
mod taking;

pub use lease::LeaseKind;
pub(super) use lease::{KeptLease, Lease};
pub(super) use restoring::RestoringLeases;

use super::hash::{HashSum, Kind};
use super::item::{LeaseId, Revision};
use super::walk::Walk;
use crate::mutants::{self, Mutant};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Ids that the state machine chooses have this bit, and not the highest: they are positive numbers of 64 bits with a
/// sign, and have 16 hexadecimal digits however they are written.
const CHOSEN_ID_BIT: u64 = 1 << 60;

/// All leases.
#[derive(Default)]
pub(super) struct Leases {
    by_id: BTreeMap<LeaseId, Lease>,
    /// The same leases by their end, those that are ending first.
    by_end: BTreeSet<(u64, LeaseId)>,
    /// Number of leases whose id the state machine has chosen.
    chosen: u64,
    hash: HashSum,
    snapshots_begun: u64,
    /// Walk of the snapshot in progress.
    walk: Option<Walk<KeptLease>>,
}

impl Leases {
    /// Number of leases.
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Hash of all leases.
    pub(super) fn hash(&self) -> HashSum {
        self.hash
    }

    /// Hash of all leases, computed afresh.
    pub(super) fn recompute_hash(&self) -> HashSum {
        let mut hash = HashSum::default();
        for (id, lease) in &self.by_id {
            hash.add(Kind::Lease, &lease.canonical_bytes(*id));
        }
        hash
    }

    /// Number of leases whose id the state machine has chosen.
    pub(super) fn chosen(&self) -> u64 {
        self.chosen
    }

    /// Returns a lease, ending or not.
    pub(super) fn get(&self, id: LeaseId) -> Option<&Lease> {
        self.by_id.get(&id)
    }

    /// Returns a lease that is not ending.
    pub(super) fn live(&self, id: LeaseId) -> Option<&Lease> {
        self.get(id).filter(|lease| !lease.is_ending)
    }

    /// Returns the leases after `after`, in the order of their ids.
    pub(super) fn after(&self, after: Option<LeaseId>) -> impl Iterator<Item = (LeaseId, &Lease)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.by_id.range((from, Bound::Unbounded)).map(|(id, lease)| (*id, lease))
    }

    /// Returns the leases whose time is over at `now_ms` of cluster time, and those that are ending: the earliest end
    /// first.
    pub(super) fn over(&self, now_ms: u64) -> impl Iterator<Item = (LeaseId, u64)> {
        self.by_end.iter().take_while(move |(ends_ms, _)| *ends_ms <= now_ms).map(|(ends_ms, id)| (*id, *ends_ms))
    }

    /// Returns the id that the state machine chooses next, after `others` that the same command has chosen. It depends
    /// on nothing but the state, and is an id that no lease has.
    pub(super) fn next_id(&self, revision: Revision, others: u64) -> LeaseId {
        (0..)
            .map(|attempt: u64| {
                let mut from = [0; 16];
                from[..8].copy_from_slice(&(self.chosen + others).to_le_bytes());
                from[8..].copy_from_slice(&revision.to_le_bytes());
                let number = xxh3_64_with_seed(&from, attempt) & (u64::MAX >> 1) | CHOSEN_ID_BIT;
                LeaseId::new(number).expect("a number with a bit set")
            })
            .find(|id| !self.by_id.contains_key(id))
            .expect("there are fewer leases than ids")
    }

    /// Grants a lease, or starts the time of an existing one anew with this time to live.
    pub(super) fn grant(&mut self, id: LeaseId, kind: LeaseKind, ttl_ms: u64, is_chosen: bool, now_ms: u64) {
        self.chosen += u64::from(is_chosen);
        let keys = self.remove(id).map(|lease| lease.keys).unwrap_or_default();
        let ends_ms = now_ms.saturating_add(ttl_ms);
        let last_change = self.snapshots_begun;
        self.insert(id, Lease { ttl_ms, ends_ms, kind, is_ending: false, keys, last_change });
    }

    /// Starts the time of a lease anew, unless it is ending.
    pub(super) fn renew(&mut self, id: LeaseId, now_ms: u64) {
        if let Some(Lease { kind, ttl_ms, .. }) = self.live(id) {
            let (kind, ttl_ms) = (*kind, *ttl_ms);
            self.grant(id, kind, ttl_ms, false, now_ms);
        }
    }

    /// Starts the time of all leases anew.
    pub(super) fn renew_all(&mut self, now_ms: u64) {
        let all: Vec<LeaseId> = self.by_id.keys().copied().collect();
        all.into_iter().for_each(|id| self.renew(id, now_ms));
    }

    /// Marks a lease as ending: from now on nothing renews it.
    pub(super) fn begin_end(&mut self, id: LeaseId) {
        if let Some(lease) = self.remove(id) {
            let last_change = self.snapshots_begun;
            self.insert(id, Lease { is_ending: true, ends_ms: 0, last_change, ..lease });
        }
    }

    /// Ends a lease that is ending and has no key left.
    pub(super) fn end_if_empty(&mut self, id: LeaseId) {
        if self.get(id).is_some_and(|lease| lease.is_ending && lease.keys.is_empty()) {
            let _ended = self.remove(id);
        }
    }

    /// Attaches a key to a lease.
    pub(super) fn attach(&mut self, id: LeaseId, key: &[u8]) {
        if let Some(lease) = self.by_id.get_mut(&id) {
            lease.keys.insert(key.into());
        }
    }

    /// Detaches a key from a lease; a lease of the key's own ends.
    pub(super) fn detach(&mut self, id: LeaseId, key: &[u8]) {
        let Some(lease) = self.by_id.get_mut(&id) else { return };
        lease.keys.remove(key);
        if lease.kind == LeaseKind::OfKey && !mutants::is_on(Mutant::OwnLeaseStays) {
            let _ended = self.remove(id);
        }
    }

    // The maps and the hash change together, only in these two functions. A lease that changes is first removed, and
    // kept for the snapshot in progress.

    fn insert(&mut self, id: LeaseId, lease: Lease) {
        self.hash.add(Kind::Lease, &lease.canonical_bytes(id));
        self.by_end.insert((lease.ends_ms, id));
        self.by_id.insert(id, lease);
    }

    fn remove(&mut self, id: LeaseId) -> Option<Lease> {
        let lease = self.by_id.remove(&id)?;
        self.keep_for_snapshot(id, &lease);
        self.hash.remove(Kind::Lease, &lease.canonical_bytes(id));
        self.by_end.remove(&(lease.ends_ms, id));
        Some(lease)
    }
}

#[cfg(test)]
mod tests;
