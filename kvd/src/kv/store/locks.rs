//! Locks: their holders, and taking, settling and giving up places in their queues.

use super::super::edits::Grant;
use super::super::item::LeaseId;
use super::super::leases::{Lease, LeaseKind};
use super::super::outcome::{Holder, Outcome};
use super::super::places::key_of;
use super::super::write::Held;
use super::Store;
use super::draft::Draft;
use crate::mutants::{self, Mutant};
use bytes::Bytes;

impl Store {
    /// Returns the places in the queue of a lock, the holder first. A place whose lease is ending no longer counts.
    pub fn places(&self, name: &[u8]) -> impl Iterator<Item = Holder> {
        self.places.of(name).filter_map(move |(token, digits)| {
            let item = self.get_ref(&[name, b"/", digits].concat())?;
            let lease = item.lease.filter(|lease| self.leases.live(*lease).is_some())?;
            Some(Holder { token, lease, value: Bytes::copy_from_slice(item.value) })
        })
    }

    /// Returns true if the lease has a place in the queue of a lock.
    pub fn has_place(&self, name: &[u8], lease: LeaseId) -> bool {
        self.token_of(&key_of(name, lease), lease).is_some()
    }

    /// Returns the holder of a lock.
    pub fn holder(&self, name: &[u8]) -> Option<Holder> {
        self.places(name).next()
    }

    /// Returns the cluster time since which a lock has its holder, in milliseconds; none if this node has not seen
    /// that.
    pub fn held_since_ms(&self, name: &[u8]) -> Option<u64> {
        self.places.first_since_ms(name)
    }

    /// Returns true if the lock is held with that token.
    pub(super) fn is_held(&self, held: &Held) -> bool {
        if mutants::is_on(Mutant::AnyPlaceHolds) {
            return self.places(&held.name).any(|place| place.token == held.token);
        }
        self.holder(&held.name).is_some_and(|holder| holder.token == held.token)
    }

    /// Takes a place. If the lease has one already, keeps it and starts the time of the lease anew.
    pub(super) fn take_place(
        &self,
        draft: &mut Draft<'_>,
        name: &Bytes,
        lease: Option<LeaseId>,
        ttl_ms: u64,
        value: &Bytes,
        waits: bool,
    ) -> Result<Outcome, Outcome> {
        let first = self.holder(name);
        let id = lease.unwrap_or_else(|| draft.choose_lease());
        if let Some(lease) = self.leases.get(id)
            && (lease.is_ending || lease.kind == LeaseKind::OfKey)
        {
            return Err(Outcome::LeaseNotFound { lease: id });
        }
        let key = Bytes::from(key_of(name, id));
        if let Some(token) = self.token_of(&key, id) {
            return Ok(self.settled(draft, name, id, token, waits));
        }
        if let Some(holder) = first.clone().filter(|_| !waits) {
            return Err(Outcome::LockHeld { holder });
        }
        if self.leases.get(id).is_some() {
            draft.edits().renewals.push(id);
        } else {
            let grant = Grant { lease: id, kind: LeaseKind::OfLock, ttl_ms, is_chosen: lease.is_none() };
            draft.edits().grants.push(grant);
        }
        let token = draft.put_place(&key, value, id);
        Ok(if first.is_none() {
            Outcome::LockTaken { lease: id, token }
        } else {
            Outcome::PlaceTaken { lease: id, token }
        })
    }

    /// Decides whether a place holds the lock; if not, it is given up.
    pub(super) fn settle_place(&self, draft: &mut Draft<'_>, name: &Bytes, id: LeaseId) -> Result<Outcome, Outcome> {
        let token = self.token_of(&key_of(name, id), id).ok_or(Outcome::PlaceLost)?;
        Ok(self.settled(draft, name, id, token, false))
    }

    fn settled(&self, draft: &mut Draft<'_>, name: &Bytes, id: LeaseId, token: u64, waits: bool) -> Outcome {
        match self.holder(name) {
            Some(holder) if holder.token != token && !waits => {
                let _left = self.leave_place(draft, name, id, false);
                Outcome::LockHeld { holder }
            }
            Some(holder) if holder.token != token => {
                draft.edits().renewals.push(id);
                Outcome::PlaceTaken { lease: id, token }
            }
            _ => {
                draft.edits().renewals.push(id);
                Outcome::LockTaken { lease: id, token }
            }
        }
    }

    /// Gives up a place; if it holds the lock, only if `even_held` is true. A lease that was granted for it ends.
    pub(super) fn leave_place(&self, draft: &mut Draft<'_>, name: &Bytes, id: LeaseId, even_held: bool) -> Outcome {
        let key = Bytes::from(key_of(name, id));
        let token = self.token_of(&key, id);
        if even_held || self.holder(name).is_none_or(|holder| Some(holder.token) != token) {
            self.leave(draft, key, id);
        }
        Outcome::PlaceLeft { revision: draft.revision_after() }
    }

    /// Gives up a lock that is held.
    pub(super) fn unlock(&self, draft: &mut Draft<'_>, held: &Held) -> Result<Outcome, Outcome> {
        let Held { name, token } = held;
        let holder = self.holder(name).filter(|holder| holder.token == *token).ok_or(Outcome::LockLost)?;
        let places = self.places.of(name).filter(|(created, _)| created == token);
        for (_, digits) in places {
            let key = Bytes::from([name, &b"/"[..], digits].concat());
            if self.token_of(&key, holder.lease).is_some() {
                self.leave(draft, key, holder.lease);
            }
        }
        Ok(Outcome::Unlocked { revision: draft.revision_after() })
    }

    fn leave(&self, draft: &mut Draft<'_>, key: Bytes, id: LeaseId) {
        if self.token_of(&key, id).is_none() {
            return;
        }
        draft.remove_place(&key);
        // Other locks may have a place with the same lease.
        let of_lock = |lease: &&Lease| lease.kind == LeaseKind::OfLock && lease.keys.len() == 1;
        if let Some(lease) = self.leases.live(id).filter(of_lock) {
            let _whole = draft.end_lease(id, lease);
        }
    }

    /// Returns the token of a place, if the key is one of this lease, and the lease is not ending.
    fn token_of(&self, key: &[u8], id: LeaseId) -> Option<u64> {
        self.leases.live(id)?;
        self.get_ref(key).filter(|item| item.lease == Some(id)).map(|item| item.create_revision)
    }
}
