//! The bounds of every command, of the history and of readers.

use super::super::super::command::RequestId;
use super::super::super::item::LeaseId;
use super::super::super::key_range::KeyRange;
use super::super::super::outcome::Excess;
use super::super::super::readers::{Forgotten, Pin};
use super::super::super::rules::{COMMAND_ANSWER_BYTES_MAX, COMMAND_REMOVED_BYTES_MAX, COMMAND_VISITS_MAX};
use super::super::super::scan::{Scan, Visit};
use super::super::super::txn::{Compare, List, Op, Test, Txn};
use super::super::super::write::{DeleteRange, PutLease};
use super::super::*;
use super::set;
use bytes::Bytes;

const KIB: usize = 1 << 10;

fn apply(store: &mut Store, operation: Operation) -> Outcome {
    store.apply(store.time_ms(), &Command { operation, request: None })
}

/// Returns a store of the level of the data model.
fn store() -> Store {
    let mut store = Store::default();
    apply(&mut store, Operation::RaiseLevel { to: Level::DATA_MODEL });
    store
}

/// Returns a store with this many keys, whose values have this many bytes.
fn store_of(keys: u64, value_bytes: usize) -> Store {
    let mut store = store();
    let value = Bytes::from(vec![b'v'; value_bytes]);
    for number in 0..keys {
        let put = Put::new(format!("{number:06}"), value.clone());
        apply(&mut store, Operation::Set { put, condition: None });
    }
    store
}

fn all(limit: Option<u64>, prev: bool) -> DeleteRange {
    DeleteRange { range: KeyRange::ALL, limit, prev }
}

fn delete_all(limit: Option<u64>, prev: bool) -> Operation {
    Operation::DeleteRange { delete: all(limit, prev), held: None }
}

/// Deletes the keys of a store of this many, each by itself.
fn one_by_one(keys: u64) -> Vec<Op> {
    (0..keys).map(|number| Op::Delete { key: format!("{number:06}").into(), prev: false }).collect()
}

fn list_all(limit: u64) -> Op {
    let (range, delimiter) = (KeyRange::ALL, None);
    Op::List(List { range, limit, descending: false, keys_only: false, counted: None, count_only: false, delimiter })
}

fn txn(compares: Vec<Compare>, then: Vec<Op>) -> Operation {
    Operation::Txn(Txn { compares, then, or_else: Vec::new() })
}

#[test]
fn a_command_beyond_a_bound_changes_nothing_and_its_repeat_is_told_the_same() {
    let present = || Compare::Keys { range: KeyRange::ALL, test: Test::Present };
    let many = COMMAND_VISITS_MAX;
    let large = COMMAND_REMOVED_BYTES_MAX / 16 / KIB as u64;
    for (case, mut store, operation, excess) in [
        ("as many keys as may be", store_of(many, 0), delete_all(None, false), None),
        ("a key more", store_of(many + 1, 0), delete_all(None, false), Some(Excess::Visits)),
        ("a key more, and a limit", store_of(many + 1, 0), delete_all(Some(many), false), None),
        (
            "compares and deletes",
            store_of(many, 0),
            txn(vec![present()], vec![Op::Get { key: "a".into() }]),
            Some(Excess::Visits),
        ),
        ("many bytes", store_of(large + 1, 16 * KIB), delete_all(None, false), Some(Excess::RemovedBytes)),
        ("many bytes, and a limit", store_of(large + 1, 16 * KIB), delete_all(Some(large - 10), false), None),
        ("a long answer", store_of(80, 16 * KIB), delete_all(None, true), Some(Excess::AnswerBytes)),
        ("two pages", store_of(80, 16 * KIB), txn(vec![], vec![list_all(40), list_all(40)]), Some(Excess::AnswerBytes)),
        ("a page that ends where it is full", store_of(80, 16 * KIB), txn(vec![], vec![list_all(10_000)]), None),
        (
            "keys that it has deleted itself, again and again",
            store_of(10_000, 0),
            txn(vec![], [vec![Op::DeleteRange(all(None, false))], vec![list_all(1); 10]].concat()),
            Some(Excess::Visits),
        ),
        (
            "keys that it has deleted one by one, again and again",
            store_of(1_000, 0),
            txn(vec![], [one_by_one(1_000), vec![list_all(1); 100]].concat()),
            Some(Excess::Visits),
        ),
        (
            "a few times",
            store_of(10_000, 0),
            txn(vec![], [vec![Op::DeleteRange(all(None, false))], vec![list_all(1); 9]].concat()),
            None,
        ),
        ("one item, however long", store_of(1, 20 << 20), delete_all(None, true), None),
    ] {
        let before = (store.state_hash(), store.revision());
        let outcome = apply(&mut store, operation.clone());
        match excess {
            Some(excess) => {
                assert_eq!(outcome, Outcome::TooLarge(excess), "{case}");
                assert_eq!((store.state_hash(), store.revision()), before, "{case}");
                let request = RequestId { client: "c".into(), seq: 1 };
                let command = Command { operation, request: Some(request) };
                assert_eq!(store.apply(1, &command), outcome, "{case}");
                apply(&mut store, delete_all(Some(50), false));
                assert_eq!(store.apply(2, &command), outcome, "{case}, repeated when it would do");
            }
            None => assert!(!matches!(outcome, Outcome::TooLarge(_)), "{case}: {outcome:?}"),
        }
        assert_eq!(store.recompute_state_hash(), store.state_hash(), "{case}");
    }
    assert!(COMMAND_ANSWER_BYTES_MAX < 80 * 16 * KIB as u64);
}

#[test]
fn a_lease_with_too_many_keys_ends_in_several_steps_and_is_gone_from_the_first_on() {
    let mut store = store();
    let lease = LeaseId::new(1).unwrap();
    apply(&mut store, Operation::GrantLease { lease: Some(lease), ttl_ms: 1_000 });
    for number in 0..COMMAND_VISITS_MAX + 10 {
        let put = Put { lease: PutLease::Of(lease), ..Put::new(format!("{number:06}"), "") };
        apply(&mut store, Operation::Set { put, condition: None });
    }
    let revision = store.revision();
    let end = |store: &mut Store| {
        let ends = store.leases_over(1_000, 10);
        apply(store, Operation::EndLeases { ends })
    };
    end(&mut store);
    assert_eq!((store.len(), store.revision()), (10, revision + 1));
    let kept = apply(&mut store, Operation::KeepAlive { leases: vec![lease] });
    assert_eq!(kept, Outcome::KeptAlive { ttls_ms: vec![None] });
    let put = Put { lease: PutLease::Of(lease), ..Put::new("late", "") };
    assert_eq!(apply(&mut store, Operation::Set { put, condition: None }), Outcome::LeaseNotFound { lease });
    end(&mut store);
    assert_eq!((store.len(), store.revision()), (0, revision + 2));
    assert!(store.leases_over(u64::MAX, 10).is_empty());
    assert_eq!(store.recompute_state_hash(), store.state_hash());
}

#[test]
fn the_history_stays_within_its_bytes_and_its_age() {
    let mut store = store();
    let limits = |bytes_max, age_ms_max| StoreLimits {
        history: HistoryLimits { bytes_max, age_ms_max, ..HistoryLimits::default() },
        ..StoreLimits::default()
    };
    store.set_limits(&limits(20_000, u64::MAX));
    for number in 0..1_000 {
        store.apply(number, &set(&format!("{}", number % 7), "some value"));
        assert!(store.history_bytes() <= 20_000, "{}", store.history_bytes());
    }
    assert!(store.oldest_change() > 800 && store.oldest_change() < store.revision());
    store.set_limits(&limits(u64::MAX, 10_000));
    store.apply(20_000, &set("k", "x"));
    assert_eq!(store.oldest_change(), store.revision(), "all others are older than ten seconds");
    store.apply(29_000, &set("k", "y"));
    assert_eq!(store.oldest_change(), store.revision() - 1);
}

#[test]
fn what_many_changes_have_left_is_freed_a_little_at_a_time() {
    let mut store = store_of(10_000, 0);
    apply(&mut store, delete_all(None, false));
    store.set_limits(&StoreLimits {
        history: HistoryLimits { bytes_max: 0, age_ms_max: 0, ..HistoryLimits::default() },
        ..StoreLimits::default()
    });
    let mut steps = 0;
    while store.free_history(100) {
        steps += 1;
    }
    assert!(steps >= 190, "{steps} steps for 20,000 changes");
    assert_eq!((store.history_bytes(), store.oldest_change()), (0, store.revision() + 1));
}

#[test]
fn beyond_their_memory_the_reader_furthest_behind_ends() {
    let mut store = store_of(100, KIB);
    store.set_limits(&StoreLimits {
        history: HistoryLimits { bytes_max: 0, age_ms_max: 0, ..HistoryLimits::default() },
        reader_bytes_max: 100 * KIB as u64,
        ..StoreLimits::default()
    });
    let old = store.pin(None).unwrap();
    apply(&mut store, Operation::Set { put: Put::new("000000", vec![b'w'; KIB]), condition: None });
    let new = store.pin(None).unwrap();
    let read = |store: &Store, pin: &Pin| {
        let mut scan = Scan::new(KeyRange::ALL, false);
        let mut keys = 0;
        while !scan.is_done() {
            store.read_piece(pin, &mut scan, |_, _| {
                keys += 1;
                Visit::Next
            })?;
        }
        Ok(keys)
    };
    for number in 0..60 {
        let put = Put::new(format!("{number:06}"), "short");
        apply(&mut store, Operation::Set { put, condition: None });
    }
    let forgotten = Forgotten { oldest: store.oldest_revision() };
    assert_eq!(read(&store, &old), Err(forgotten));
    assert_eq!(read(&store, &new), Ok(100));
}
