//! Places of locks, where they meet keys, other locks, snapshots and new clusters.

use super::super::super::item::LeaseId;
use super::super::super::level::Level;
use super::super::super::outcome::PutDone;
use super::super::super::places::key_of;
use super::super::super::write::PutLease;
use super::super::*;
use super::{restored, set};
use bytes::Bytes;

fn store() -> Store {
    let mut store = Store::default();
    run(&mut store, Operation::RaiseLevel { to: Level::DATA_MODEL });
    store
}

fn run(store: &mut Store, operation: Operation) -> Outcome {
    store.apply(5, &Command { operation, request: None })
}

fn lease(number: u64) -> LeaseId {
    LeaseId::new(number).unwrap()
}

fn take(store: &mut Store, name: &'static str, number: u64, waits: bool) -> Outcome {
    let (lease, value) = (Some(lease(number)), Bytes::new());
    run(store, Operation::TakePlace { name: name.into(), lease, ttl_ms: 10_000, value, waits })
}

fn holds(store: &Store, name: &str) -> Option<u64> {
    store.holder(name.as_bytes()).map(|holder| holder.lease.get())
}

#[test]
fn a_key_that_becomes_a_place_is_created_anew_and_the_reply_is_restored() {
    let mut store = store();
    run(&mut store, Operation::GrantLease { lease: Some(lease(1)), ttl_ms: 10_000 });
    let key = String::from_utf8(key_of(b"n", lease(1)).to_vec()).unwrap();
    store.apply(5, &set(&key, "before"));
    let put = Put { lease: PutLease::Of(lease(1)), prev: true, ..Put::new(key, "after") };
    let command = Command { operation: Operation::Set { put, condition: None }, request: None }.request("client", 1);
    let outcome = store.apply(5, &command);
    assert!(matches!(&outcome, Outcome::Set { done: PutDone { created: true, prev: Some(_), .. }, .. }), "{outcome:?}");
    let mut restored = restored(&mut store, 100);
    assert_eq!(restored.state_hash(), store.state_hash());
    assert_eq!(restored.apply(6, &command), outcome, "a repeat");
}

#[test]
fn giving_up_one_lock_leaves_another_that_has_the_same_lease() {
    let mut store = store();
    assert!(matches!(take(&mut store, "other", 1, false), Outcome::LockTaken { .. }));
    assert!(matches!(take(&mut store, "n", 2, false), Outcome::LockTaken { .. }));
    assert!(matches!(take(&mut store, "n", 1, true), Outcome::PlaceTaken { .. }));
    let settled = run(&mut store, Operation::SettlePlace { name: "n".into(), lease: lease(1) });
    assert!(matches!(settled, Outcome::LockHeld { .. }), "{settled:?}");
    assert_eq!((holds(&store, "other"), store.places(b"n").count()), (Some(1), 1));
    // It ends with the last of them.
    run(&mut store, Operation::LeavePlace { name: "other".into(), lease: lease(1), even_held: true });
    assert_eq!((holds(&store, "other"), store.lease(lease(1), None).is_some()), (None, false));
}

#[test]
fn two_keys_of_one_lease_are_two_places() {
    let mut store = store();
    run(&mut store, Operation::GrantLease { lease: Some(lease(0x4d2)), ttl_ms: 10_000 });
    // As etcd's clients write it, without zeros.
    let put = Put { lease: PutLease::Of(lease(0x4d2)), ..Put::new("n/4d2", "") };
    run(&mut store, Operation::Set { put, condition: None });
    let (of_etcd, between) = (store.revision(), take(&mut store, "n", 7, true));
    assert!(matches!(between, Outcome::PlaceTaken { .. }), "{between:?}");
    let second = take(&mut store, "n", 0x4d2, true);
    assert!(matches!(second, Outcome::PlaceTaken { .. }), "the lock is held by another place: {second:?}");
    assert_eq!(store.holder(b"n").map(|holder| holder.token), Some(of_etcd));
}

#[test]
fn leases_have_their_whole_time_in_a_new_cluster_however_long_ago_the_last_command_was() {
    let mut store = store();
    run(&mut store, Operation::GrantLease { lease: Some(lease(1)), ttl_ms: 10_000 });
    store.refound(60_000);
    assert_eq!(store.lease(lease(1), None).map(|(lease, _)| lease.ends_ms), Some(70_000));
}
