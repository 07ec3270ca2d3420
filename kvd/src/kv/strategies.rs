//! Random commands and outcomes for the property tests.
//!
//! Keys, values, clients and numbers come from small sets, so that commands meet: the same key is
//! written again, a condition sometimes holds, a request is sometimes repeated.

use super::command::{Command, Operation, RequestId};
use super::item::{Item, LeaseId};
use super::key_range::KeyRange;
use super::level::Level;
use super::outcome::{
    DeleteDone, DeleteRangeDone, Excess, Holder, KeyedItem, Listed, OpDone, Outcome, PutDone, TxnDone,
};
use super::txn::{Compare, List, Op, Relation, Test, Txn};
use super::write::{Condition, DeleteRange, Held, Put, PutLease};
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
        Some(value) => Operation::Set { put: Put { prev, ..Put::new(key, value) }, condition },
        None => Operation::Delete { key, condition, prev },
    });
    let write = (operation, prop::option::weighted(0.6, request()))
        .prop_map(|(operation, request)| Command { operation, request });
    let raise = Just(Command { operation: Operation::RaiseLevel { to: Level::RAISED }, request: None });
    prop_oneof![30 => write, 1 => raise]
}

/// Any command of any level that [`Command::validate`] accepts.
pub(super) fn command_of_any_level() -> impl Strategy<Value = Command> {
    let operation = (operation_of_data_model(), prop::option::weighted(0.4, request()));
    let later = operation.prop_map(|(operation, request)| Command { operation, request });
    let raise = Just(Command { operation: Operation::RaiseLevel { to: Level::DATA_MODEL }, request: None });
    let later = later.prop_filter("a key is written twice", |command| command.validate().is_ok());
    prop_oneof![10 => command(), 30 => later, 1 => raise]
}

/// One of a few leases, so that operations meet on them. The state machine chooses other ids.
fn lease() -> impl Strategy<Value = LeaseId> {
    (1..4u64).prop_map(|number| LeaseId::new(number).expect("not zero"))
}

fn range() -> impl Strategy<Value = KeyRange> {
    prop_oneof![
        key().prop_map(|key| KeyRange::of_key(&key)),
        key().prop_map(|prefix| KeyRange::of_prefix(&prefix)),
        (key(), prop::option::of(key())).prop_map(|(from, to)| KeyRange { from, to }),
        Just(KeyRange::ALL),
    ]
}

fn held() -> impl Strategy<Value = Held> {
    (key(), number()).prop_map(|(name, token)| Held { name, token })
}

fn put() -> impl Strategy<Value = Put> {
    let attached = prop_oneof![
        2 => Just(PutLease::None),
        1 => Just(PutLease::Keep),
        2 => lease().prop_map(PutLease::Of),
        2 => (500..2000u64).prop_map(|ttl_ms| PutLease::Own { ttl_ms }),
    ];
    // Some keys are places in the queue of the lock `a`.
    let place = lease().prop_map(|lease| Bytes::from(format!("a/{lease}")));
    (prop_oneof![4 => key(), 1 => place], value(), attached, any::<bool>()).prop_map(|(key, value, lease, prev)| Put {
        key,
        value,
        lease,
        prev,
    })
}

fn delete_range() -> impl Strategy<Value = DeleteRange> {
    (range(), prop::option::of(0..3u64), any::<bool>()).prop_map(|(range, limit, prev)| DeleteRange {
        range,
        limit,
        prev,
    })
}

fn compare() -> impl Strategy<Value = Compare> {
    let relation = prop::sample::select(vec![Relation::Equal, Relation::NotEqual, Relation::Less, Relation::Greater]);
    let test = prop_oneof![
        Just(Test::Absent),
        Just(Test::Present),
        (relation.clone(), number()).prop_map(|(relation, than)| Test::CreateRevision(relation, than)),
        (relation.clone(), number()).prop_map(|(relation, than)| Test::ModRevision(relation, than)),
        (relation.clone(), number()).prop_map(|(relation, than)| Test::Version(relation, than)),
        (relation.clone(), number()).prop_map(|(relation, than)| Test::Lease(relation, than)),
        (relation, value()).prop_map(|(relation, than)| Test::Value(relation, than)),
    ];
    prop_oneof![
        8 => (range(), test).prop_map(|(range, test)| Compare::Keys { range, test }),
        1 => held().prop_map(Compare::Held),
    ]
}

fn list() -> impl Strategy<Value = List> {
    let flags = any::<(bool, bool, bool, bool)>();
    let delimiter = prop::option::of((prop::sample::select(vec!["/", "b"]), 0..2u64));
    (range(), 1..4u64, range(), flags, delimiter).prop_map(|(range, limit, counted, flags, delimiter)| {
        let (descending, keys_only, counts, count_only) = flags;
        let counted = (counts || count_only).then_some(counted);
        let delimiter = delimiter.map(|(delimiter, prefix)| (Bytes::from(delimiter), prefix));
        List { range, limit, descending, keys_only, counted, count_only, delimiter }
    })
}

fn txn() -> impl Strategy<Value = Txn> {
    let op = prop_oneof![
        4 => put().prop_map(Op::Put),
        2 => (key(), any::<bool>()).prop_map(|(key, prev)| Op::Delete { key, prev }),
        1 => delete_range().prop_map(Op::DeleteRange),
        1 => key().prop_map(|key| Op::Get { key }),
        2 => list().prop_map(Op::List),
    ];
    let of = |op: BoxedStrategy<Op>| {
        let ops = prop::collection::vec(op, 0..3);
        (prop::collection::vec(compare(), 0..2), ops.clone(), ops).prop_map(|(compares, then, or_else)| Txn {
            compares,
            then,
            or_else,
        })
    };
    let inner = of(op.clone().boxed());
    of(prop_oneof![6 => op, 1 => inner.prop_map(Op::Txn)].boxed())
}

fn operation_of_data_model() -> impl Strategy<Value = Operation> {
    let ttl_ms = || 500..2000u64;
    prop_oneof![
        4 => (put(), prop::option::of(condition())).prop_map(|(put, condition)| Operation::Set { put, condition }),
        2 => (delete_range(), prop::option::weighted(0.2, held()))
            .prop_map(|(delete, held)| Operation::DeleteRange { delete, held }),
        4 => txn().prop_map(Operation::Txn),
        3 => (prop::option::of(lease()), ttl_ms()).prop_map(|(lease, ttl_ms)| Operation::GrantLease { lease, ttl_ms }),
        2 => prop::collection::vec(lease(), 0..3).prop_map(|leases| Operation::KeepAlive { leases }),
        1 => lease().prop_map(|lease| Operation::RevokeLease { lease }),
        2 => prop::collection::vec((lease(), 0..3000u64), 0..3).prop_map(|ends| Operation::EndLeases { ends }),
        3 => (key(), prop::option::of(lease()), ttl_ms(), value(), any::<bool>()).prop_map(
            |(name, lease, ttl_ms, value, waits)| Operation::TakePlace { name, lease, ttl_ms, value, waits }
        ),
        1 => (key(), lease()).prop_map(|(name, lease)| Operation::SettlePlace { name, lease }),
        1 => (key(), lease(), any::<bool>())
            .prop_map(|(name, lease, even_held)| Operation::LeavePlace { name, lease, even_held }),
        1 => held().prop_map(|held| Operation::Unlock { held }),
        1 => number().prop_map(|revision| Operation::Compact { revision }),
    ]
}

fn item() -> impl Strategy<Value = Item> {
    (value(), number(), number(), number(), prop::option::of(lease())).prop_map(
        |(value, create_revision, mod_revision, version, lease)| Item {
            value,
            create_revision,
            mod_revision,
            version,
            lease,
        },
    )
}

/// Any outcome, limited to the parts that sessions remember.
pub(super) fn outcome() -> impl Strategy<Value = Outcome> {
    let keyed = || (key(), item()).prop_map(|(key, item)| KeyedItem { key, item });
    let put_done = || {
        (any::<bool>(), prop::option::of(item()), prop::option::of(lease()))
            .prop_map(|(created, prev, lease)| PutDone { created, prev, lease })
    };
    let delete_done =
        || (any::<bool>(), prop::option::of(item())).prop_map(|(deleted, prev)| DeleteDone { deleted, prev });
    let range_done = || {
        (number(), any::<bool>(), prop::option::of(prop::collection::vec(keyed(), 0..3)))
            .prop_map(|(deleted, more, items)| DeleteRangeDone { deleted, more, items })
    };
    let listed = (prop::collection::vec(keyed(), 0..3), prop::collection::vec(key(), 0..3), any::<bool>());
    let listed = (listed, prop::option::of(number())).prop_map(|((items, folders, more), count)| Listed {
        items,
        folders,
        more,
        count,
    });
    let done = prop_oneof![
        put_done().prop_map(OpDone::Put),
        delete_done().prop_map(OpDone::Delete),
        range_done().prop_map(OpDone::DeleteRange),
        prop::option::of(item()).prop_map(OpDone::Get),
        listed.prop_map(OpDone::List),
    ];
    let txn_done = (any::<bool>(), prop::collection::vec(done, 0..3))
        .prop_map(|(succeeded, results)| TxnDone { succeeded, results });
    let txn_done = txn_done.boxed();
    let nested = (txn_done.clone(), any::<bool>())
        .prop_map(|(inner, succeeded)| TxnDone { succeeded, results: vec![OpDone::Txn(inner)] });
    let holder = (number(), lease(), value()).prop_map(|(token, lease, value)| Holder { token, lease, value });
    prop_oneof![
        (number(), put_done()).prop_map(|(revision, done)| Outcome::Set { revision, done }),
        (number(), delete_done()).prop_map(|(revision, done)| Outcome::Deleted { revision, done }),
        (number(), range_done()).prop_map(|(revision, done)| Outcome::DeletedRange { revision, done }),
        (number(), prop_oneof![txn_done, nested]).prop_map(|(revision, done)| Outcome::Txn { revision, done }),
        Just(Outcome::ConditionFailed { current: None }),
        prop::sample::select(vec![Excess::Visits, Excess::RemovedBytes, Excess::AnswerBytes])
            .prop_map(Outcome::TooLarge),
        (lease(), number()).prop_map(|(lease, ttl_ms)| Outcome::LeaseGranted { lease, ttl_ms }),
        Just(Outcome::LeaseExists),
        lease().prop_map(|lease| Outcome::LeaseNotFound { lease }),
        prop::collection::vec(prop::option::of(number()), 0..3).prop_map(|ttls_ms| Outcome::KeptAlive { ttls_ms }),
        (number(), number()).prop_map(|(revision, deleted)| Outcome::LeaseRevoked { revision, deleted }),
        Just(Outcome::LeasesEnded),
        (lease(), number()).prop_map(|(lease, token)| Outcome::LockTaken { lease, token }),
        (lease(), number()).prop_map(|(lease, token)| Outcome::PlaceTaken { lease, token }),
        holder.prop_map(|holder| Outcome::LockHeld { holder }),
        number().prop_map(|revision| Outcome::PlaceLeft { revision }),
        Just(Outcome::PlaceLost),
        number().prop_map(|revision| Outcome::Unlocked { revision }),
        Just(Outcome::LockLost),
        number().prop_map(|revision| Outcome::Compacted { revision }),
        number().prop_map(|revision| Outcome::FutureRevision { revision }),
        number().prop_map(|revision| Outcome::NotKept { revision }),
        number().prop_map(|newest| Outcome::StaleRequest { newest }),
        Just(Outcome::SessionsFull),
        Just(Outcome::SeqReused),
        any::<u32>().prop_map(|level| Outcome::LevelRaised { level: Level(level) }),
    ]
}
