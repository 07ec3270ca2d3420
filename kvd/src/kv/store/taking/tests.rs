//! Contents and ends of pieces, and the entries kept for them.

use super::super::super::level::Level;
use super::super::super::pieces::ENTRIES_PER_PIECE_MAX;
use super::super::super::sessions::{SESSION_IDLE_MS_MAX, SessionLimits};
use super::super::super::strategies;
use super::super::super::txn::{Op, Txn};
use super::super::super::write::{Condition, Put};
use super::super::tests::{delete, set, store_after};
use super::super::{Command, HistoryLimits, Operation, Outcome, Restoring, StoreLimits};
use super::*;
use proptest::prelude::*;

/// Returns the remaining pieces, of at most `bytes_max` bytes.
fn rest(store: &Store, bytes_max: usize) -> Vec<Bytes> {
    const PIECES_MAX: usize = 10_000;
    let pieces: Vec<_> = std::iter::from_fn(|| store.snapshot_piece(bytes_max).unwrap()).take(PIECES_MAX).collect();
    assert!(pieces.len() < PIECES_MAX, "it comes to no end");
    pieces
}

/// Takes a whole snapshot of the store.
fn snapshot(store: &mut Store) -> (Summary, Vec<u8>) {
    let summary = store.begin_snapshot().unwrap();
    let pieces = rest(store, usize::MAX).concat();
    assert!(store.end_snapshot().is_empty());
    (summary, pieces)
}

fn key(number: usize) -> String {
    format!("{number:06}")
}

fn keys(numbers: std::ops::Range<usize>) -> impl Iterator<Item = Command> {
    numbers.map(|number| set(&key(number), "x"))
}

/// Nodes of different versions read each other's snapshots.
#[test]
fn the_bytes_of_pieces_are_pinned() {
    let mut store = Store::default();
    store.apply(1_000, &set("color", "blue").request("client", 7));
    store.apply(1_001, &set("b", ""));
    let (summary, pieces) = snapshot(&mut store);
    let hex: String = pieces.iter().map(|byte| format!("{byte:02x}")).collect();
    let (b, color) = ("0105000000_0162_030301", "010d000000_05636f6c6f72_020201_626c7565");
    let client = "0216000000_06636c69656e74_07_e807_3ca56b2c4989c4d1_01020100";
    assert_eq!(hex, [b, color, client].concat().replace('_', ""));
    assert_eq!(summary.data_bytes, pieces.len() as u64);
    assert_eq!((summary.revision, summary.time_ms, summary.keys, summary.sessions), (3, 1_001, 2, 1));
    assert_eq!(summary.state_hash, store.state_hash().0);
}

#[test]
fn there_is_one_snapshot_at_a_time() {
    let mut store = store_after([set("k", "x")]);
    assert_eq!(store.snapshot_piece(1), Err(NoSnapshot));
    assert!(store.end_snapshot().is_empty());
    let summary = store.begin_snapshot();
    assert_eq!(store.begin_snapshot(), Err(SnapshotBusy));
    assert!(!rest(&store, 1).is_empty());
    assert_eq!(store.snapshot_piece(1), Ok(None), "complete, and so it stays");
    assert_eq!(store.begin_snapshot(), Err(SnapshotBusy), "until it is ended");
    let _ = store.end_snapshot();
    assert_eq!(store.snapshot_piece(1), Err(NoSnapshot));
    assert_eq!(store.begin_snapshot(), summary);
}

#[test]
fn of_an_empty_store_there_is_no_piece() {
    let mut store = Store::default();
    assert_eq!(store.begin_snapshot().map(|summary| summary.data_bytes), Ok(0));
    store.apply(0, &set("k", "x").request("client", 1));
    assert_eq!(store.snapshot_piece(100), Ok(None), "the key came later");
}

/// What is forgotten while the history is written may have been written in part.
#[test]
fn a_revision_that_is_forgotten_in_the_middle_does_not_count_as_whole() {
    let command = |operation| Command { operation, request: None };
    let mut store = store_after([command(Operation::RaiseLevel { to: Level::DATA_MODEL }), set("x", "1")]);
    let both = ["a", "b"].map(|key| Op::Put(Put::new(key, "2"))).to_vec();
    store.apply(0, &command(Operation::Txn(Txn { compares: Vec::new(), then: both, or_else: Vec::new() })));
    let written = store.revision();
    let mut restoring = Restoring::new(store.begin_snapshot().unwrap()).unwrap();
    rest(&store, usize::MAX).iter().for_each(|piece| restoring.piece(piece).unwrap());
    let mut next = |store: &Store, bytes_max| {
        let piece = store.history_piece(bytes_max).unwrap();
        piece.map(|piece| restoring.history_piece(&piece).unwrap())
    };
    assert!(next(&store, 1).is_some(), "one of two changes");
    store.apply(0, &set("z", "3"));
    store.apply(0, &command(Operation::Compact { revision: written + 1 }));
    while next(&store, 100).is_some() {}
    assert_eq!(restoring.finish().unwrap().oldest_change(), written + 1);
}

/// Limits of a history that remembers nothing, so that a snapshot has to keep what it needs.
const FORGETFUL: StoreLimits = StoreLimits {
    history: HistoryLimits { bytes_max: 0, age_ms_max: 0, run_versions_min: 1_024 },
    reader_bytes_max: 0,
    state_bytes_max: 0,
};

/// Begins a snapshot, writes a first piece of `written` bytes, applies the commands and returns how much is kept.
fn kept(mut store: Store, written: usize, time_ms: u64, commands: &[Command]) -> usize {
    store.set_limits(&FORGETFUL);
    store.begin_snapshot().unwrap();
    store.snapshot_piece(written).unwrap();
    for command in commands {
        store.apply(time_ms, command);
    }
    store.end_snapshot().len()
}

#[test]
fn an_item_that_changes_ahead_is_kept_once_and_no_other_is() {
    let entry_bytes = ENTRY_HEADER_BYTES + 11;
    let change = |number: usize| set(&key(number), "y");
    let new = "000017a";
    for (case, commands, expected) in [
        ("behind", vec![change(10), delete(&key(14))], 0),
        ("where the walk is, in the middle of the item", vec![change(15)], 1),
        ("ahead, changed and deleted", vec![change(16), delete(&key(19))], 2),
        ("ahead, over and over", vec![change(19), delete(&key(19)), change(19), delete(&key(19))], 1),
        ("ahead, but new", vec![set(new, "x"), set(new, "y"), delete(new)], 0),
        ("ahead, under a condition that does not hold", vec![change(19).only_if(Condition::Absent)], 0),
    ] {
        let store = store_after(keys(10..20));
        assert_eq!(kept(store, 5 * entry_bytes + 3, 0, &commands), expected, "{case}");
        assert_eq!(kept(store_after(keys(10..20)), 10 * entry_bytes + 1, 0, &commands), 0, "{case}, after the end");
    }
}

#[test]
fn a_session_that_changes_ahead_is_kept_once_and_no_other_is() {
    let (item_bytes, session_bytes) = (ENTRY_HEADER_BYTES + 6, ENTRY_HEADER_BYTES + 21);
    let request = |number: usize| set("k", "x").request(&key(number), 1);
    let newer = |number: usize| set("k", "y").request(&key(number), 2);
    let other = |number: usize| set("k", "y").request(&key(number), 1);
    for (case, time_ms, commands, expected) in [
        ("behind", 1, vec![request(10), newer(14)], 0),
        ("where the walk is, in the middle of the session", 1, vec![request(15)], 1),
        ("ahead: a repeat, a newer request, a number used again", 1, vec![request(16), newer(17), other(18)], 3),
        ("ahead, over and over", 1, vec![request(19), newer(19), request(19)], 1),
        ("ahead, but new", 1, vec![request(20), newer(20)], 0),
        ("forgotten", SESSION_IDLE_MS_MAX, vec![set("l", "x")], 5),
    ] {
        let store = || store_after((10..20).map(request));
        assert_eq!(kept(store(), item_bytes + 5 * session_bytes + 3, time_ms, &commands), expected, "{case}");
        assert_eq!(kept(store(), usize::MAX, time_ms, &commands), 0, "{case}, after the end");
    }
}

#[test]
fn a_session_whose_reply_makes_room_is_taken_as_it_was() {
    let write = |client| set("k", &"x".repeat(100)).with_prev().request(client, 1);
    let mut store = Store::with_session_limits(SessionLimits { reply_bytes_max: 120, ..SessionLimits::default() });
    for command in [write("creates k"), write("a")] {
        store.apply(0, &command);
    }
    let (_, expected) = snapshot(&mut store);
    store.begin_snapshot().unwrap();
    store.apply(1, &write("b"));
    assert_eq!(store.apply(1, &write("a")), Outcome::StaleRequest { newest: 1 }, "b's reply took its place");
    assert!(rest(&store, 50).concat() == expected);
}

#[test]
fn a_long_item_takes_many_pieces_and_may_change_meanwhile() {
    let long = "long ".repeat(1000);
    let commands = || [set("a", &long), set("b", "x"), delete("b").with_prev(), set("c", "x")];
    let mut store = store_after(commands());
    store.apply(0, &delete("c").with_prev().request("client", 1));
    store.apply(0, &set("a", "").with_prev().request("client", 2));
    store.apply(0, &set("a", &long));
    let (summary, expected) = snapshot(&mut store);
    assert!(summary.data_bytes > 2 * long.len() as u64, "an item and a reply are long");

    assert_eq!(store.begin_snapshot(), Ok(summary));
    let mut pieces = Vec::new();
    while let Some(piece) = store.snapshot_piece(100).unwrap() {
        assert!((1..=100).contains(&piece.len()), "{}", piece.len());
        pieces.push(piece);
        let number = pieces.len() as u64;
        assert!(100 * number <= summary.data_bytes + 100, "{number} pieces");
        store.apply(number, &if number.is_multiple_of(7) { delete("a") } else { set("a", "short") });
        store.apply(number, &set("k", "x").request("client", 3 + number));
    }
    assert!(pieces.concat() == expected);
}

#[test]
fn a_piece_ends_also_where_there_is_much_to_pass_over() {
    let mut store = store_after([set("0", "x"), set("z", "x")]);
    let (_, expected) = snapshot(&mut store);
    store.begin_snapshot().unwrap();
    for command in keys(0..10 * ENTRIES_PER_PIECE_MAX) {
        store.apply(0, &command);
    }
    let pieces = rest(&store, usize::MAX);
    assert_eq!(pieces.len(), 11, "ten are full of what is new");
    assert!(pieces.concat() == expected);
    assert!(store.end_snapshot().is_empty());

    let (summary, _) = snapshot(&mut store);
    store.begin_snapshot().unwrap();
    let piece = store.snapshot_piece(usize::MAX).unwrap().unwrap();
    assert!(piece.len() < summary.data_bytes as usize / 9, "{} bytes in one piece", piece.len());
}

proptest! {
    #[test]
    fn the_same_state_is_the_same_bytes_however_it_is_cut_and_whatever_comes_between(
        before in prop::collection::vec(strategies::command_of_any_level(), 0..40),
        between in prop::collection::vec((1..60usize, strategies::command_of_any_level()), 0..40),
        history_bytes_max in prop::sample::select(vec![0, 400, 1 << 20]),
        run_versions_min in prop::sample::select(vec![1, 2, 1_024]),
    ) {
        let (mut store, mut replica) = (store_after(before.clone()), store_after(before));
        let history =
            HistoryLimits { bytes_max: history_bytes_max, run_versions_min, ..HistoryLimits::default() };
        store.set_limits(&StoreLimits { history, ..StoreLimits::default() });
        let (summary, expected) = snapshot(&mut replica);
        prop_assert_eq!(summary.data_bytes, expected.len() as u64);

        prop_assert_eq!(store.begin_snapshot(), Ok(summary));
        let mut pieces = Vec::new();
        for (bytes_max, command) in &between {
            let piece = store.snapshot_piece(*bytes_max).unwrap();
            prop_assert!(piece.as_ref().is_none_or(|piece| piece.len() <= *bytes_max));
            pieces.extend(piece);
            store.apply(1, command);
        }
        pieces.extend(rest(&store, 30));
        prop_assert_eq!(pieces.concat(), expected);
        prop_assert!(store.end_snapshot().is_empty());
        prop_assert_eq!(store.recompute_state_hash(), store.state_hash());
    }
}
