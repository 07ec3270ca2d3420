//! Contents of sessions, how long they last, and the sessions that are dropped to make room.

use super::super::item::Item;
use super::super::level::Level;
use super::super::outcome::{DeleteDone, PutDone};
use super::super::pieces::{Entry, PieceWriter, split_entry};
use super::*;
use kvclient::snapshot::Summary;

const OPERATION: Fingerprint = Fingerprint(1);

fn request(client: &str, seq: u64) -> RequestId {
    RequestId { client: client.into(), seq }
}

fn outcome(revision: u64) -> Outcome {
    Outcome::Set { revision, done: PutDone { created: false, prev: None, lease: None } }
}

/// An outcome whose reply is long.
fn long_outcome() -> Outcome {
    let item = Item { value: vec![b'x'; 100].into(), create_revision: 2, mod_revision: 2, version: 1, lease: None };
    Outcome::Deleted { revision: 3, done: DeleteDone { deleted: true, prev: Some(item) } }
}

/// Asserts that the maps name the same sessions, and that the sums match them.
fn assert_consistent(sessions: &Sessions) {
    let by_client: BTreeSet<_> =
        sessions.by_client.iter().map(|(client, session)| (session.last_used_ms, Arc::clone(client))).collect();
    assert_eq!(by_client, sessions.by_last_use);
    let long = || sessions.by_client.iter().filter(|(_, session)| session.has_long_reply());
    let long_by_client: BTreeSet<_> =
        long().map(|(client, session)| (session.last_used_ms, Arc::clone(client))).collect();
    assert_eq!(long_by_client, sessions.long_by_last_use);
    assert_eq!(long().map(|(_, session)| session.reply.len()).sum::<usize>(), sessions.long_reply_bytes);
    assert_eq!(sessions.recompute_hash(), sessions.hash());
}

#[test]
fn the_newest_request_is_remembered_and_older_ones_are_stale() {
    let mut sessions = Sessions::default();
    assert_eq!(sessions.remember(&request("a", 5), OPERATION, &outcome(2)), Ok(()));
    for (case, asked, expected) in [
        ("the same again", request("a", 5), Admission::Repeat(outcome(2))),
        ("an older one, seen or not", request("a", 4), Admission::Stale { newest: 5 }),
        ("a newer one", request("a", 6), Admission::New),
        ("a newer one that skips some", request("a", u64::MAX), Admission::New),
        ("the same number of another client", request("b", 5), Admission::New),
    ] {
        assert_eq!(sessions.admit(&asked, OPERATION), expected, "{case}");
        assert_consistent(&sessions);
    }
}

#[test]
fn a_session_is_forgotten_when_unused_for_the_idle_time() {
    let start = 1_000;
    for (case, used_at, asked_at, expected) in [
        ("just before", None, start + SESSION_IDLE_MS_MAX - 1, Admission::Repeat(outcome(2))),
        ("just then", None, start + SESSION_IDLE_MS_MAX, Admission::New),
        ("a repeat is a use", Some(start + 1), start + SESSION_IDLE_MS_MAX, Admission::Repeat(outcome(2))),
        ("at the end of time", None, u64::MAX, Admission::New),
    ] {
        let mut sessions = Sessions::default();
        sessions.advance(start);
        sessions.remember(&request("a", 1), OPERATION, &outcome(2)).unwrap();
        if let Some(used_at) = used_at {
            sessions.advance(used_at);
            sessions.admit(&request("a", 1), OPERATION);
        }
        sessions.advance(asked_at);
        assert_eq!(sessions.admit(&request("a", 1), OPERATION), expected, "{case}");
        assert_consistent(&sessions);
    }
}

#[test]
fn time_that_goes_backward_changes_nothing() {
    let mut sessions = Sessions::default();
    sessions.advance(5 * SESSION_IDLE_MS_MAX);
    sessions.advance(0);
    sessions.remember(&request("a", 1), OPERATION, &outcome(2)).unwrap();
    sessions.advance(5 * SESSION_IDLE_MS_MAX + 1);
    assert_eq!(sessions.admit(&request("a", 1), OPERATION), Admission::Repeat(outcome(2)));
    assert_consistent(&sessions);
}

#[test]
fn idle_sessions_go_a_few_at_a_time_but_none_is_found_any_more() {
    let mut sessions = Sessions::default();
    let clients = 3 * FORGOTTEN_PER_COMMAND_MAX + 1;
    for number in 0..clients {
        sessions.advance(number as u64);
        sessions.remember(&request(&format!("client {number}"), 1), OPERATION, &outcome(2)).unwrap();
    }
    let mut left = clients;
    while left > 0 {
        // A session counts as unknown long before `advance` removes it; asking removes it as well.
        sessions.advance(2 * SESSION_IDLE_MS_MAX);
        let (_, last) = sessions.by_last_use.last().cloned().unwrap_or_default();
        assert_eq!(sessions.admit(&request(&last, 1), OPERATION), Admission::New);
        let forgotten = left - sessions.by_client.len();
        assert!((1..=FORGOTTEN_PER_COMMAND_MAX + 1).contains(&forgotten), "{forgotten} forgotten at once");
        left = sessions.by_client.len();
        assert_consistent(&sessions);
    }
}

#[test]
fn a_full_table_takes_no_new_client_until_one_is_forgotten() {
    let mut sessions = Sessions::with_limits(SessionLimits { sessions_max: 2, ..SessionLimits::default() });
    sessions.remember(&request("a", 1), OPERATION, &outcome(2)).unwrap();
    sessions.advance(1);
    sessions.remember(&request("b", 1), OPERATION, &outcome(3)).unwrap();
    let before = sessions.hash();
    assert_eq!(sessions.remember(&request("c", 1), OPERATION, &outcome(4)), Err(Full));
    assert_eq!(sessions.hash(), before);
    assert_eq!(sessions.remember(&request("b", 2), OPERATION, &outcome(4)), Ok(()), "those in the table go on");

    sessions.advance(SESSION_IDLE_MS_MAX);
    assert_eq!(sessions.remember(&request("c", 1), OPERATION, &outcome(5)), Ok(()), "a is forgotten");
    assert_eq!(sessions.admit(&request("b", 2), OPERATION), Admission::Repeat(outcome(4)), "b is not");
    assert_consistent(&sessions);
}

#[test]
fn a_number_stands_for_one_operation() {
    let mut sessions = Sessions::default();
    sessions.remember(&request("a", 5), OPERATION, &outcome(2)).unwrap();
    for (seq, expected) in [(4, Admission::Stale { newest: 5 }), (5, Admission::Reused), (6, Admission::New)] {
        assert_eq!(sessions.admit(&request("a", seq), Fingerprint(2)), expected, "{seq}");
    }
    assert_eq!(sessions.admit(&request("a", 5), OPERATION), Admission::Repeat(outcome(2)), "as before");
    assert_consistent(&sessions);
}

#[test]
fn long_replies_are_bounded_and_the_longest_unused_goes_first() {
    let reply_bytes_max = 2 * long_outcome().encode().len();
    let mut sessions = Sessions::with_limits(SessionLimits { reply_bytes_max, ..SessionLimits::default() });
    sessions.remember(&request("short", 1), OPERATION, &outcome(2)).unwrap();
    for (time_ms, client) in [(1, "a"), (2, "b")] {
        sessions.advance(time_ms);
        sessions.remember(&request(client, 1), OPERATION, &long_outcome()).unwrap();
    }
    sessions.advance(3);
    let repeat = Admission::Repeat(long_outcome());
    assert_eq!(sessions.admit(&request("a", 1), OPERATION), repeat, "and is used by that");
    sessions.remember(&request("c", 1), OPERATION, &long_outcome()).unwrap();
    for (client, expected) in [
        ("a", Admission::Repeat(long_outcome())),
        ("b", Admission::Stale { newest: 1 }),
        ("c", Admission::Repeat(long_outcome())),
        ("short", Admission::Repeat(outcome(2))),
    ] {
        assert_eq!(sessions.admit(&request(client, 1), OPERATION), expected, "{client}");
    }
    sessions.remember(&request("a", 2), OPERATION, &long_outcome()).unwrap();
    assert_eq!(sessions.admit(&request("c", 1), OPERATION), repeat, "a's own predecessor made room");
    assert_consistent(&sessions);
}

#[test]
fn a_reply_that_never_fits_is_not_kept_but_its_number_is() {
    let mut sessions = Sessions::with_limits(SessionLimits { reply_bytes_max: 100, ..SessionLimits::default() });
    sessions.remember(&request("a", 1), OPERATION, &long_outcome()).unwrap();
    assert_eq!(sessions.admit(&request("a", 1), OPERATION), Admission::Stale { newest: 1 });
    assert_consistent(&sessions);
}

#[test]
fn restored_sessions_are_forgotten_and_make_room_in_the_order_they_would_have() {
    let mut sessions = Sessions::default();
    for (time_ms, client, outcome) in
        [(1, "d", outcome(2)), (1, "c", long_outcome()), (2, "b", outcome(3)), (3, "a", long_outcome())]
    {
        sessions.advance(time_ms);
        sessions.remember(&request(client, 1), OPERATION, &outcome).unwrap();
    }
    sessions.begin_snapshot();
    let mut piece = PieceWriter::new(usize::MAX);
    assert!(sessions.write_snapshot(&mut piece));
    let state_hash = 0;
    let summary = Summary {
        level: Level::FIRST.0,
        revision: 3,
        time_ms: 3,
        keys: 0,
        sessions: 4,
        leases: 0,
        leases_chosen: 0,
        data_bytes: 0,
        state_hash,
    };
    let mut restoring = RestoringSessions::default();
    let piece = piece.finish();
    let mut rest = &piece[..];
    while let Some((Entry::Session(canonical), next)) = split_entry(rest).unwrap() {
        restoring.add(canonical, &summary).unwrap();
        rest = next;
    }
    let restored = restoring.finish(3);
    assert_consistent(&restored);
    assert_eq!(restored.by_last_use, sessions.by_last_use);
    assert_eq!(restored.long_by_last_use, sessions.long_by_last_use);
    assert_eq!((restored.len(), restored.now_ms(), restored.hash()), (4, 3, sessions.hash()));
}
