//! Tests that a restored store is the one that was written, and that nothing else is accepted as it.

use super::super::super::level::Level;
use super::super::super::pieces::ENTRY_HEADER_BYTES;
use super::super::super::sessions::SessionLimits;
use super::super::super::strategies;
use super::super::tests::{set, store_after, time_step};
use super::super::{Command, Operation, Outcome};
use super::*;
use proptest::prelude::*;
use std::ops::Bound;

const PIECE_BYTES: usize = 64;

/// Takes a whole snapshot of the store.
fn snapshot(store: &mut Store) -> (Summary, Vec<Vec<u8>>) {
    let summary = store.begin_snapshot().unwrap();
    let pieces = std::iter::from_fn(|| store.snapshot_piece(PIECE_BYTES).unwrap()).map(Vec::from).collect();
    assert!(store.end_snapshot().is_empty());
    (summary, pieces)
}

fn restore<P: AsRef<[u8]>>(summary: Summary, pieces: &[P]) -> Result<Store, RestoreError> {
    let mut restoring = Restoring::new(summary)?;
    for piece in pieces {
        restoring.piece(piece.as_ref())?;
    }
    restoring.finish()
}

/// Asserts that both stores are equal, and that each is consistent with itself.
fn assert_same(restored: &Store, original: &Store) {
    let items = |store: &Store| -> Vec<_> {
        store.range_from(Bound::Unbounded).map(|(key, item)| (key.to_vec(), item.to_item())).collect()
    };
    assert_eq!(items(restored), items(original));
    assert_eq!(restored.revision(), original.revision());
    assert_eq!(restored.state_hash(), original.state_hash());
    assert_eq!(restored.recompute_state_hash(), restored.state_hash());
}

fn limits() -> impl Strategy<Value = SessionLimits> {
    (1..6usize, 0..400usize).prop_map(|(sessions_max, reply_bytes_max)| SessionLimits {
        sessions_max,
        reply_bytes_max,
        ..SessionLimits::default()
    })
}

fn steps(steps_max: usize) -> impl Strategy<Value = Vec<(i64, Command)>> {
    prop::collection::vec((time_step(), strategies::command_of_any_level()), 0..steps_max)
}

/// Applies commands at successive times, to a store of the newest level.
fn apply(store: &mut Store, time_ms: &mut u64, steps: &[(i64, Command)]) -> Vec<Outcome> {
    let raise = Operation::RaiseLevel { to: Level::DATA_MODEL };
    store.apply(*time_ms, &Command { operation: raise, request: None });
    let mut outcome = |(step, command): &(i64, Command)| {
        *time_ms = time_ms.saturating_add_signed(*step);
        store.apply(*time_ms, command)
    };
    steps.iter().map(&mut outcome).collect()
}

proptest! {
    #[test]
    fn a_restored_store_is_the_one_at_the_beginning_of_the_snapshot_and_goes_on_like_it(
        (before, between, after) in (steps(60), steps(60), steps(60)),
        bytes_max in 1..100usize,
        limits in limits(),
    ) {
        let (mut store, mut copy) = (Store::with_session_limits(limits), Store::with_session_limits(limits));
        let mut begin_ms = 0;
        apply(&mut copy, &mut begin_ms, &before);
        let mut time_ms = 0;
        apply(&mut store, &mut time_ms, &before);
        let summary = store.begin_snapshot().unwrap();
        prop_assert_eq!(summary, Summary::decode(&summary.encode()).unwrap());
        let mut restoring = Restoring::new(summary).unwrap().with_session_limits(limits);
        let mut between = between.chunks(2);
        while let Some(piece) = store.snapshot_piece(bytes_max).unwrap() {
            restoring.piece(&piece).unwrap();
            apply(&mut store, &mut time_ms, between.next().unwrap_or_default());
        }
        let mut restored = restoring.finish().unwrap();
        assert_same(&restored, &copy);

        for step in after.chunks(1) {
            let mut restored_ms = begin_ms;
            let outcomes = apply(&mut restored, &mut restored_ms, step);
            prop_assert_eq!(outcomes, apply(&mut copy, &mut begin_ms, step));
            prop_assert_eq!(restored.state_hash(), copy.state_hash());
        }
        assert_same(&restored, &copy);
        prop_assert_eq!(snapshot(&mut restored), snapshot(&mut copy));
    }

    #[test]
    fn pieces_may_be_cut_anew(before in steps(40), cuts in prop::collection::vec(1..50usize, 1..20)) {
        let mut store = Store::default();
        apply(&mut store, &mut 0, &before);
        let (summary, pieces) = snapshot(&mut store);
        let pieces = pieces.concat();
        let mut rest = pieces.as_slice();
        let cut_anew: Vec<_> = cuts.iter().cycle().map_while(|length| {
            let piece = rest.split_off(..rest.len().min(*length));
            piece.filter(|piece| !piece.is_empty())
        }).collect();
        assert_same(&restore(summary, &cut_anew).unwrap(), &store);
    }

    #[test]
    fn what_was_written_is_refused_once_anything_about_it_is_changed(
        before in prop::collection::vec(strategies::command(), 20..60),
        (damage, at, to, bit) in (0..6, any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0..8u8),
    ) {
        let mut store = store_after(before);
        let (summary, mut pieces) = snapshot(&mut store);
        prop_assume!(!pieces.is_empty());
        let original = pieces.concat();
        let (at, to) = (at.index(pieces.len()), to.index(pieces.len()));
        let piece = &mut pieces[at];
        match damage {
            0 => drop(pieces.remove(at)),
            1 => pieces.insert(to, pieces[at].clone()),
            2 => pieces.swap(at, to),
            3 => piece.truncate(piece.len() / 2),
            4 => pieces.truncate(at),
            _ => {
                let at = to % piece.len();
                piece[at] ^= 1u8 << bit;
            }
        }
        prop_assume!(pieces.concat() != original);
        prop_assert!(restore(summary, &pieces).is_err());
    }

    #[test]
    fn a_summary_of_another_state_is_refused(before in steps(40), other in strategies::command()) {
        let mut store = Store::default();
        let mut time_ms = 0;
        apply(&mut store, &mut time_ms, &before);
        let (summary, pieces) = snapshot(&mut store);
        store.apply(time_ms + 1, &other);
        let (other, other_pieces) = snapshot(&mut store);
        // Only the summary has revision and time.
        prop_assert_eq!(restore(other, &pieces).is_err(), pieces != other_pieces);
        prop_assert_eq!(restore(summary, &other_pieces).is_err(), pieces != other_pieces);
        for (field, wrong) in [
            ("revision", Summary { revision: summary.revision + 1, ..summary }),
            ("time", Summary { time_ms: summary.time_ms + 1, ..summary }),
            ("keys", Summary { keys: summary.keys + 1, ..summary }),
            ("sessions", Summary { sessions: summary.sessions + 1, ..summary }),
            ("bytes", Summary { data_bytes: summary.data_bytes + 1, ..summary }),
        ] {
            prop_assert!(restore(wrong, &pieces).is_err(), "{}", field);
        }
    }

    /// A forged snapshot can have a matching hash. What is restored is then another state, but a consistent one.
    #[test]
    fn a_forged_snapshot_is_refused_or_is_that_of_a_store(
        before in prop::collection::vec(strategies::command(), 1..60),
        forgeries in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        after in steps(20),
    ) {
        let (summary, pieces) = snapshot(&mut store_after(before));
        let mut pieces = pieces.concat();
        prop_assume!(!pieces.is_empty());
        for (at, byte) in forgeries {
            let at = at.index(pieces.len());
            pieces[at] = byte;
        }
        let mut forged = restore(summary, &[&pieces]);
        if let Err(RestoreError::StateHash { found, .. }) = forged {
            forged = restore(Summary { state_hash: found.0, ..summary }, &[&pieces]);
        }
        if let Ok(mut store) = forged {
            prop_assert_eq!(store.recompute_state_hash(), store.state_hash());
            prop_assert!(snapshot(&mut store).1.concat() == pieces);
            apply(&mut store, &mut 0, &after);
            prop_assert_eq!(store.recompute_state_hash(), store.state_hash());
        }
    }

    #[test]
    fn no_bytes_make_it_panic(
        numbers in prop::array::uniform5(prop_oneof![0..9u64, any::<u64>()]),
        pieces in prop::collection::vec(prop::collection::vec(0..6u8, 0..40), 0..6),
    ) {
        let [revision, time_ms, keys, sessions, data_bytes] = numbers;
        let state_hash = Store::default().state_hash().0;
        let summary = Summary { level: Level::FIRST.0, revision, time_ms, keys, sessions, leases: 0, leases_chosen: 0, data_bytes, state_hash };
        let _ = restore(summary, &pieces);
        let _ = Summary::decode(&pieces.concat());
    }
}

#[test]
fn a_snapshot_of_what_cannot_be_is_refused() {
    let mut store = store_after([set("b", "x"), set("c", "x")]);
    store.apply(5, &set("c", "y").with_prev().request("client", 1));
    let (summary, pieces) = snapshot(&mut store);
    let pieces = pieces.concat();
    // kind, length, key, create revision, mod revision, version, value
    let b = [1, 6, 0, 0, 0, 1, b'b', 2, 2, 1, b'x'];
    let c = [1, 6, 0, 0, 0, 1, b'c', 3, 4, 2, b'y'];
    assert_eq!(pieces[..22], [b, c].concat());
    let session = &pieces[22..];
    let client_at = ENTRY_HEADER_BYTES + 1;
    let (last_use_at, reply_at) = (client_at + 7, client_at + 16);
    assert_eq!(session[reply_at..], [1, 4, 0, 1, 3, 3, 1, 1, b'x'], "set at 4, not created; prev: 3, 3, 1, x");

    let item = |at: usize, byte: u8| {
        let mut changed = b;
        changed[at] = byte;
        [&changed[..], &c, session].concat()
    };
    let two_bytes = [&b[..9], &[0x81, 0x00], &c, session].concat();
    let client = |at: usize, byte: u8| {
        let mut changed = session.to_vec();
        changed[at] = byte;
        [&b[..], &c, &changed].concat()
    };
    let (revisions, reply) = ("an item's revisions or version", "a session's reply");
    for (case, forged, expected) in [
        ("an unknown kind", item(0, 3), malformed("kind of an entry")),
        ("an item that ends early", item(1, 4), malformed("an item")),
        ("a number in two bytes that takes one", two_bytes, malformed("an item")),
        ("an empty key", item(5, 0), malformed("a key")),
        ("created before the first change", item(7, 1), malformed(revisions)),
        ("changed after the snapshot", item(8, 5), malformed(revisions)),
        ("a version without its write", item(9, 2), malformed(revisions)),
        ("a key twice", item(6, b'c'), RestoreError::OutOfOrder { entry: "an item" }),
        ("keys in another order", item(6, b'd'), RestoreError::OutOfOrder { entry: "an item" }),
        ("an item behind a session", [session, &b, &c].concat(), RestoreError::OutOfOrder { entry: "an item" }),
        ("a session twice", [&b, &c, session, session].concat(), RestoreError::OutOfOrder { entry: "a session" }),
        ("a client that is not UTF-8", client(client_at, 0xff), malformed("a session's client")),
        ("a client without a name", client(client_at - 1, 0), malformed("a session's client")),
        ("a session used after the snapshot", client(last_use_at, 6), malformed("a session's last use")),
        ("a reply that is none", client(reply_at, 9), malformed(reply)),
        ("a reply that is not remembered", client(reply_at, 4), malformed(reply)),
        ("a reply of a later revision", client(reply_at + 1, 5), malformed(reply)),
        ("an item before that cannot be", client(reply_at + 5, 4), malformed(reply)),
    ] {
        let summary = Summary { data_bytes: forged.len() as u64, ..summary };
        assert_eq!(restore(summary, &[forged]).err(), Some(expected), "{case}");
    }
    assert_same(&restore(summary, &[&pieces]).unwrap(), &store);

    let longer = Summary { data_bytes: summary.data_bytes + 2, ..summary };
    assert_eq!(restore(longer, &[pieces, vec![1, 0]]).err(), Some(malformed("bytes after the end")));
}

#[test]
fn counts_and_limits_are_kept_as_soon_as_they_are_reached() {
    let mut store = store_after(["a", "b", "c"].map(|key| set(key, "x").request(key, 1)));
    let (summary, pieces) = snapshot(&mut store);
    for (wrong, what, expected, found) in [
        (Summary { keys: 2, ..summary }, "keys", 2, 3),
        (Summary { sessions: 2, ..summary }, "sessions", 2, 3),
        (Summary { data_bytes: 70, ..summary }, "bytes", 70, 96),
    ] {
        let mut restoring = Restoring::new(wrong).unwrap();
        let result = pieces.iter().try_for_each(|piece| restoring.piece(piece));
        assert_eq!(result, Err(RestoreError::Count { what, expected, found }));
    }
    for (impossible, field) in [
        (Summary { revision: 0, ..summary }, "revision"),
        (Summary { revision: u64::MAX, ..summary }, "revision"),
        (Summary { keys: 4, ..summary }, "number of keys"),
        (Summary { sessions: 1_000_001, ..summary }, "number of sessions"),
    ] {
        assert_eq!(Restoring::new(impossible).err(), Some(malformed(field)));
    }
}

#[test]
fn no_more_is_restored_than_is_remembered() {
    let mut store = store_after(["a", "b"].map(|client| set("k", &"x".repeat(100)).with_prev().request(client, 1)));
    let (summary, pieces) = snapshot(&mut store);
    let (within, beyond) = (
        SessionLimits { sessions_max: 2, reply_bytes_max: 120, ..SessionLimits::default() },
        malformed("more sessions or longer replies than are remembered"),
    );
    for (limits, expected) in [
        (within, Ok(())),
        (SessionLimits { sessions_max: 1, ..within }, Err(beyond)),
        (SessionLimits { reply_bytes_max: 100, ..within }, Err(beyond)),
    ] {
        let mut restoring = Restoring::new(summary).unwrap().with_session_limits(limits);
        let result = pieces.iter().try_for_each(|piece| restoring.piece(piece));
        assert_eq!(result, expected, "{limits:?}");
    }
}
