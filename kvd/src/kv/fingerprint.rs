//! Fingerprints, which tell whether two requests under one number are the same request.
//!
//! A session remembers the fingerprint of an operation beside its outcome, so that only repeats of that operation get
//! the outcome. The fingerprint finds mistakes of clients; it is no defence against forgery. It is part of the state,
//! and of the state's hash: a test pins it.

use super::command::Operation;
use super::write::{Condition, Put, PutLease};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Hash of all parts of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fingerprint(pub(super) u64);

impl Fingerprint {
    pub(super) fn of(operation: &Operation) -> Self {
        let level;
        let (kind, key, value, condition, prev): (_, &[u8], &[u8], _, _) = match operation {
            Operation::Set { put: Put { key, value, lease: PutLease::None, prev }, condition } => {
                (1, key, value, condition.as_ref(), *prev)
            }
            Operation::Delete { key, condition, prev } => (2, key, &[], condition.as_ref(), *prev),
            Operation::RaiseLevel { to } => {
                level = to.0.to_le_bytes();
                (3, &[], &level, None, false)
            }
            _ => return Self(xxh3_64_with_seed(&operation.encode(), 4)),
        };
        let revision;
        let (condition, operand) = match condition {
            None => (0, &[][..]),
            Some(Condition::Absent) => (1, &[][..]),
            Some(Condition::Present) => (2, &[][..]),
            Some(Condition::ModRevision(wanted)) => {
                revision = wanted.to_le_bytes();
                (3, &revision[..])
            }
            Some(Condition::Value(expected)) => (4, expected.as_ref()),
            Some(Condition::Held(_)) => return Self(xxh3_64_with_seed(&operation.encode(), 4)),
        };
        // The hash of each part seeds that of the next: nothing is copied together, and no byte can pass
        // from one part to its neighbour unnoticed.
        let parts = [&[kind, condition, u8::from(prev)], operand, key, value];
        Self(parts.into_iter().fold(0, |seed, part| xxh3_64_with_seed(part, seed)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::strategies;
    use super::*;
    use proptest::prelude::*;

    fn set(key: &'static str, value: &'static str, condition: Option<Condition>, prev: bool) -> Operation {
        Operation::Set { put: Put { prev, ..Put::new(key, value) }, condition }
    }

    #[test]
    fn fingerprints_are_pinned() {
        let delete = Operation::Delete { key: "color".into(), condition: Some(Condition::ModRevision(7)), prev: true };
        let pinned = [set("color", "blue", None, false), delete].map(|operation| Fingerprint::of(&operation).0);
        assert_eq!(pinned.map(|hash| format!("{hash:016x}")), ["d1c489492c6ba53c", "90748966edf57fb7"]);
    }

    #[test]
    fn every_part_of_an_operation_counts() {
        let is = |value: &'static str| Some(Condition::Value(value.into()));
        let operations = [
            set("k", "v", None, false),
            set("k", "v", None, true),
            set("kv", "", None, false),
            set("", "kv", None, false),
            set("k", "v", Some(Condition::Absent), false),
            set("k", "v", Some(Condition::Present), false),
            set("k", "v", Some(Condition::ModRevision(1)), false),
            set("k", "v", Some(Condition::ModRevision(2)), false),
            set("k", "v", is(""), false),
            set("k", "v", is("k"), false),
            set("", "v", is("k"), false),
            set("k", "", None, false),
            Operation::Delete { key: "k".into(), condition: None, prev: false },
        ];
        for (at, operation) in operations.iter().enumerate() {
            for other in &operations[..at] {
                assert_ne!(Fingerprint::of(operation), Fingerprint::of(other), "{operation:?} and {other:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn only_the_same_operation_has_the_same_fingerprint(a in strategies::command_of_any_level(), b in strategies::command_of_any_level()) {
            let same = Fingerprint::of(&a.operation) == Fingerprint::of(&b.operation);
            prop_assert_eq!(same, a.operation == b.operation);
        }
    }
}
