//! Locks exclude: in the order of the log, the fencing tokens of those who are told that they hold a lock, and of those
//! whose writes pass the condition that it is held, never go back, and no two holders have the same. So as soon as one
//! holder has passed, no earlier one does.

use super::super::model::Model;
use super::{Checked, ensure};
use bytes::Bytes;
use kvd::kv::{Command, Compare, Condition, Held, LeaseId, Operation, Outcome, Revision};
use kvd::raft::LogIndex;
use std::collections::BTreeMap;

const NAME: &str = "Locks";

/// Acknowledgements about each lock.
#[derive(Debug, Default)]
pub(crate) struct Locks {
    by_name: BTreeMap<Bytes, Acknowledged>,
}

#[derive(Debug, Default)]
struct Acknowledged {
    /// The tokens of holders and of writes that passed, by the entry.
    held: BTreeMap<LogIndex, Revision>,
    /// The lease of each token.
    leases: BTreeMap<Revision, LeaseId>,
}

impl Locks {
    /// Checks a command that is acknowledged. `index` is its entry, if it has become one of its own.
    pub(crate) fn acknowledged(
        &mut self,
        command: &Command,
        outcome: &Outcome,
        index: Option<LogIndex>,
        model: &Model,
    ) -> Checked {
        // A repeat is answered from memory: what counts is when it was applied.
        let index = match &command.request {
            Some(request) => match model.outcomes_of(request) {
                [(index, _)] => Some(*index),
                _ => None,
            },
            None => index,
        };
        let Some(index) = index else { return Ok(()) };
        match (&command.operation, outcome) {
            (
                Operation::TakePlace { name, .. } | Operation::SettlePlace { name, .. },
                Outcome::LockTaken { lease, token } | Outcome::PlaceTaken { lease, token },
            ) => {
                let lock = self.by_name.entry(name.clone()).or_default();
                let known = *lock.leases.entry(*token).or_insert(*lease);
                ensure!(NAME, known == *lease, "leases {known} and {lease} both have token {token} of {name:?}");
                if matches!(outcome, Outcome::LockTaken { .. }) { self.holds(name, *token, index) } else { Ok(()) }
            }
            (operation, outcome) => {
                for Held { name, token } in passed(operation, outcome) {
                    self.holds(name, *token, index)?;
                }
                Ok(())
            }
        }
    }

    fn holds(&mut self, name: &Bytes, token: Revision, index: LogIndex) -> Checked {
        let held = &mut self.by_name.entry(name.clone()).or_default().held;
        let before = held.range(..index).next_back();
        let after = held.range(index.next()..).next();
        let is_in_order =
            before.is_none_or(|(_, before)| *before <= token) && after.is_none_or(|(_, after)| token <= *after);
        ensure!(
            NAME,
            is_in_order,
            "token {token} of {name:?} holds at entry {index}, {before:?} before, {after:?} after"
        );
        held.insert(index, token);
        Ok(())
    }
}

/// Returns the locks that were held when a command was carried out.
fn passed<'c>(operation: &'c Operation, outcome: &Outcome) -> Vec<&'c Held> {
    match (operation, outcome) {
        (
            Operation::Set { condition: Some(Condition::Held(held)), .. }
            | Operation::Delete { condition: Some(Condition::Held(held)), .. },
            Outcome::Set { .. } | Outcome::Deleted { .. },
        )
        | (Operation::DeleteRange { held: Some(held), .. }, Outcome::DeletedRange { .. }) => vec![held],
        (Operation::Unlock { held }, Outcome::Unlocked { .. }) => vec![held],
        (Operation::Txn(txn), Outcome::Txn { done, .. }) if done.succeeded => {
            let held = txn.compares.iter().filter_map(|compare| match compare {
                Compare::Held(held) => Some(held),
                Compare::Keys { .. } => None,
            });
            held.collect()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kvd::kv::{DeleteRange, KeyRange, SessionLimits};

    fn taken(locks: &mut Locks, lease: u64, token: Revision, index: u64) -> bool {
        let (name, lease) = (Bytes::from("l"), LeaseId::new(lease).expect("not zero"));
        let operation = Operation::TakePlace { name, lease: Some(lease), ttl_ms: 500, value: "".into(), waits: true };
        let outcome = Outcome::LockTaken { lease, token };
        acknowledged(locks, operation, &outcome, index)
    }

    fn passes(locks: &mut Locks, token: Revision, index: u64) -> bool {
        let delete = DeleteRange { range: KeyRange::ALL, limit: None, prev: false };
        let operation = Operation::DeleteRange { delete, held: Some(Held { name: "l".into(), token }) };
        let done = kvd::kv::DeleteRangeDone { deleted: 0, more: false, items: None };
        acknowledged(locks, operation, &Outcome::DeletedRange { revision: 1, done }, index)
    }

    fn acknowledged(locks: &mut Locks, operation: Operation, outcome: &Outcome, index: u64) -> bool {
        let command = Command { operation, request: None };
        let model = Model::new(SessionLimits::default());
        locks.acknowledged(&command, outcome, Some(LogIndex(index)), &model).is_ok()
    }

    #[test]
    fn no_holder_passes_once_a_later_one_has() {
        let mut locks = Locks::default();
        assert!(taken(&mut locks, 1, 5, 10) && taken(&mut locks, 2, 9, 20));
        assert!(passes(&mut locks, 9, 30));
        assert!(passes(&mut locks, 5, 15), "an answer may come late");
        assert!(!passes(&mut locks, 5, 25));
        assert!(!passes(&mut locks, 9, 12));
    }

    #[test]
    fn no_two_holders_have_one_token() {
        let mut locks = Locks::default();
        assert!(taken(&mut locks, 1, 5, 10) && taken(&mut locks, 1, 5, 11));
        assert!(!taken(&mut locks, 2, 5, 20));
    }
}
