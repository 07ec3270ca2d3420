//! Random commands and outcomes for the property tests.
//!
//! Keys, values, clients and numbers come from small sets, so that commands meet: the same key is
//! written again, a condition sometimes holds, a request is sometimes repeated.

use super::command::{Command, Condition, Item, Operation, Outcome, RequestId};
use super::level::Level;
use bytes::Bytes;
use proptest::prelude::*;

fn key() -> impl Strategy<Value = Bytes> {
    prop::sample::select(vec!["a", "ab", "b", "c"]).prop_map(Bytes::from)
}

fn value() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        3 => prop::sample::select(vec!["", "x", "y"]).prop_map(Bytes::from),
        1 => prop::collection::vec(any::<u8>(), 0..200).prop_map(Bytes::from),
    ]
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![8 => 0..10u64, 1 => any::<u64>()]
}

fn condition() -> impl Strategy<Value = Condition> {
    prop_oneof![
        Just(Condition::Absent),
        Just(Condition::Present),
        number().prop_map(Condition::ModRevision),
        value().prop_map(Condition::Value),
    ]
}

fn request() -> impl Strategy<Value = RequestId> {
    let client = prop::sample::select(vec!["c1", "c2", "c3", "c4", "clïent"]);
    (client, 0..6u64).prop_map(|(client, seq)| RequestId { client: client.into(), seq })
}

/// Any command that [`Command::validate`] accepts.
pub(super) fn command() -> impl Strategy<Value = Command> {
    let parts = (key(), prop::option::of(condition()), any::<bool>());
    let operation = (parts, prop::option::weighted(0.7, value())).prop_map(|((key, condition, prev), set)| match set {
        Some(value) => Operation::Set { key, value, condition, prev },
        None => Operation::Delete { key, condition, prev },
    });
    let write = (operation, prop::option::weighted(0.6, request()))
        .prop_map(|(operation, request)| Command { operation, request });
    let raise = Just(Command { operation: Operation::RaiseLevel { to: Level::NEWEST }, request: None });
    prop_oneof![30 => write, 1 => raise]
}

fn item() -> impl Strategy<Value = Item> {
    (value(), number(), number(), number()).prop_map(|(value, create_revision, mod_revision, version)| Item {
        value,
        create_revision,
        mod_revision,
        version,
    })
}

/// Any outcome, limited to the parts that sessions remember.
pub(super) fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        (number(), any::<bool>(), prop::option::of(item())).prop_map(|(revision, created, prev)| Outcome::Set {
            revision,
            created,
            prev
        }),
        (number(), any::<bool>(), prop::option::of(item())).prop_map(|(revision, deleted, prev)| Outcome::Deleted {
            revision,
            deleted,
            prev
        }),
        Just(Outcome::ConditionFailed { current: None }),
        number().prop_map(|newest| Outcome::StaleRequest { newest }),
        Just(Outcome::SessionsFull),
        Just(Outcome::SeqReused),
        any::<u32>().prop_map(|level| Outcome::LevelRaised { level: Level(level) }),
    ]
}
