//! Decides the outcome of each operation from the current state, and drafts its changes.

use super::super::command::Operation;
use super::super::edits::{Decision, Grant, Step};
use super::super::item::LeaseId;
use super::super::leases::LeaseKind;
use super::super::outcome::Outcome;
use super::super::record::ItemRef;
use super::super::txn::Txn;
use super::super::write::Condition;
use super::Store;
use super::draft::Draft;

impl Store {
    pub(super) fn decide(&self, operation: &Operation) -> Decision {
        match operation {
            Operation::Set { put, condition } => self.when(condition.as_ref(), &put.key, |draft| {
                let done = draft.put(put)?;
                Ok(Outcome::Set { revision: draft.revision_after(), done })
            }),
            Operation::Delete { key, condition, prev } => self.when(condition.as_ref(), key, |draft| {
                let done = draft.delete(key, *prev)?;
                Ok(Outcome::Deleted { revision: draft.revision_after(), done })
            }),
            Operation::DeleteRange { delete, held } => {
                if held.as_ref().is_some_and(|held| !self.is_held(held)) {
                    return Outcome::ConditionFailed { current: None }.into();
                }
                self.draft(|draft| {
                    let done = draft.delete_range_alone(delete)?;
                    Ok(Outcome::DeletedRange { revision: draft.revision_after(), done })
                })
            }
            Operation::Txn(txn) => self.draft(|draft| {
                let done = draft.txn(txn)?;
                Ok(Outcome::Txn { revision: draft.revision_after(), done })
            }),
            Operation::GrantLease { lease, ttl_ms } => self.draft(|draft| {
                if lease.is_some_and(|lease| self.leases.get(lease).is_some()) {
                    return Err(Outcome::LeaseExists);
                }
                let (id, ttl_ms) = (lease.unwrap_or_else(|| draft.choose_lease()), *ttl_ms);
                let grant = Grant { lease: id, kind: LeaseKind::Granted, ttl_ms, is_chosen: lease.is_none() };
                draft.edits().grants.push(grant);
                Ok(Outcome::LeaseGranted { lease: id, ttl_ms })
            }),
            Operation::KeepAlive { leases } => self.draft(|draft| {
                let ttl_of = |lease: &LeaseId| self.leases.live(*lease).map(|lease| lease.ttl_ms);
                let ttls_ms = leases.iter().map(ttl_of).collect();
                draft.edits().renewals.clone_from(leases);
                Ok(Outcome::KeptAlive { ttls_ms })
            }),
            Operation::RevokeLease { lease } => self.draft(|draft| {
                let found = self.leases.live(*lease).ok_or(Outcome::LeaseNotFound { lease: *lease })?;
                let deleted = found.keys.len() as u64;
                let _whole = draft.end_lease(*lease, found);
                Ok(Outcome::LeaseRevoked { revision: draft.revision_after(), deleted })
            }),
            // Applied without a decision: no client sends it, and each end is a step of its own.
            Operation::EndLeases { .. } => Outcome::LeasesEnded.into(),
            Operation::TakePlace { name, lease, ttl_ms, value, waits } => {
                self.draft(|draft| self.take_place(draft, name, *lease, *ttl_ms, value, *waits))
            }
            Operation::SettlePlace { name, lease } => self.draft(|draft| self.settle_place(draft, name, *lease)),
            Operation::LeavePlace { name, lease, even_held } => {
                self.draft(|draft| Ok(self.leave_place(draft, name, *lease, *even_held)))
            }
            Operation::Unlock { held } => self.draft(|draft| self.unlock(draft, held)),
            Operation::Compact { revision } if *revision > self.revision => {
                Outcome::FutureRevision { revision: self.revision }.into()
            }
            Operation::Compact { revision } => {
                Decision { outcome: Outcome::Compacted { revision: self.revision }, step: Step::Compact(*revision) }
            }
            Operation::RaiseLevel { to } => {
                let level = self.level.max(*to);
                Decision { outcome: Outcome::LevelRaised { level }, step: Step::RaiseLevel(level) }
            }
        }
    }

    /// Executes a transaction that only reads, on the store as it is. The outcome is that of its command.
    ///
    /// # Panics
    /// If the transaction writes.
    pub fn read_txn(&self, txn: &Txn) -> Outcome {
        assert!(txn.only_reads(), "a transaction that writes is a command");
        let done = Draft::new(self).txn(txn);
        done.map_or_else(|objection| objection, |done| Outcome::Txn { revision: self.revision, done })
    }

    /// Drafts edits, and takes them unless there is an objection.
    fn draft<'a>(&'a self, make: impl FnOnce(&mut Draft<'a>) -> Result<Outcome, Outcome>) -> Decision {
        let mut draft = Draft::new(self);
        match make(&mut draft) {
            Ok(outcome) => Decision { outcome, step: Step::Edits(draft.finish().0) },
            Err(objection) => objection.into(),
        }
    }

    /// Drafts edits if a condition on `key` holds.
    fn when<'a>(
        &'a self,
        condition: Option<&Condition>,
        key: &[u8],
        make: impl FnOnce(&mut Draft<'a>) -> Result<Outcome, Outcome>,
    ) -> Decision {
        let current = self.get_ref(key);
        if condition.is_some_and(|condition| !self.holds(condition, current)) {
            return Outcome::ConditionFailed { current: current.map(ItemRef::to_item) }.into();
        }
        self.draft(make)
    }

    fn holds(&self, condition: &Condition, current: Option<ItemRef<'_>>) -> bool {
        match condition {
            Condition::Absent => current.is_none(),
            Condition::Present => current.is_some(),
            Condition::ModRevision(revision) => current.is_some_and(|item| item.mod_revision == *revision),
            Condition::Value(value) => current.is_some_and(|item| item.value == value),
            Condition::Held(held) => self.is_held(held),
        }
    }
}
