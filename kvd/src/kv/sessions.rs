//! Sessions: what makes a repeated write apply once (thesis §6.3).
//!
//! A client whose reply was lost sends its write again, to this leader or the next, and must not have it
//! applied twice. So each client names itself and numbers its requests, and the state machine remembers,
//! for each name, the newest number with the outcome it had. The memory is part of the replicated state: a
//! repeat that arrives in a later term, at another node, finds it there.
//!
//! A client has one request under way at a time, so one outcome for each name is enough. It belongs to one
//! operation, whose [`Fingerprint`] is kept with it: a number used again for something else is refused.
//! What a session takes is bounded, whatever the values are:
//!
//! - Of a failed condition no item is kept. It is enough that a repeat fails as well; the item that it is shown
//!   is the present one.
//! - The item before a write, which a client may ask for, belongs to the reply and is kept with it. Where such
//!   replies together grow too large, those of the sessions unused for the longest time are dropped. The
//!   number stays, so a repeat is still not applied; but it is told that its reply is gone.
//!
//! A name that has
//! not been used for [`SESSION_IDLE_MS_MAX`] of cluster time is forgotten. Idle sessions are removed a few
//! with each command, the longest unused first: the table shrinks as fast as it can grow, and no single
//! command ever pays for a million of them.
//!
//! The constants below are rules of the state machine, not settings: replicas that disagree on them part.

use super::codec::{put_bytes, put_varint};
use super::command::{Outcome, RequestId};
use super::fingerprint::Fingerprint;
use super::hash::{HashSum, Kind};
use crate::mutants::{self, Mutant};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Cluster time after whose passing an unused session is forgotten. Milliseconds.
pub const SESSION_IDLE_MS_MAX: u64 = 60 * 60 * 1000;

/// Sessions kept at once; a further client is told [`Outcome::SessionsFull`].
///
/// Enough for a shell loop that starts a new client, under a new name, 250 times a second for the whole
/// time that names are kept. A session takes about 270 bytes (`benches/store.rs`), so a full table takes about 270 MB.
pub const SESSIONS_MAX: usize = 1_000_000;

/// Bytes that long replies may take together. Where a new one does not fit, others are dropped.
pub const SESSION_REPLY_BYTES_MAX: usize = 64 << 20;

/// Longest reply that is never dropped, in bytes. One without an item has at most 12.
const SHORT_REPLY_BYTES_MAX: usize = 64;

/// Idle sessions removed with one command. More than one, since a command adds at most one session.
const FORGOTTEN_PER_COMMAND_MAX: usize = 16;

/// Bounds on what is remembered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) sessions_max: usize,
    pub(super) reply_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { sessions_max: SESSIONS_MAX, reply_bytes_max: SESSION_REPLY_BYTES_MAX }
    }
}

/// How a request stands to those that its client has made before.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// It has not been applied.
    New,
    /// It has been applied, with this outcome; of a failed condition without the item.
    Repeat(Outcome),
    /// It or a newer one has been applied; what became of this one is no longer known.
    Stale { newest: u64 },
    /// Its number was that of another operation.
    Reused,
}

/// There is no room for another session.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full;

/// What is remembered of one client.
struct Session {
    newest_seq: u64,
    last_used_ms: u64,
    /// Of the operation that the newest request asked for.
    fingerprint: Fingerprint,
    /// The outcome of the newest request, encoded: it is hashed with every change and read only for a repeat.
    /// Empty once dropped.
    reply: Box<[u8]>,
}

impl Session {
    fn has_long_reply(&self) -> bool {
        self.reply.len() > SHORT_REPLY_BYTES_MAX
    }

    /// Everything that tells this session from another, in the one form that it has.
    fn canonical_bytes(&self, client: &str) -> Vec<u8> {
        let mut to = Vec::with_capacity(client.len() + self.reply.len() + 40);
        put_bytes(&mut to, client.as_bytes());
        put_varint(&mut to, self.newest_seq);
        put_varint(&mut to, self.last_used_ms);
        to.extend_from_slice(&self.fingerprint.0.to_le_bytes());
        to.extend_from_slice(&self.reply);
        to
    }
}

/// The sessions of all clients.
#[derive(Default)]
pub(super) struct Sessions {
    by_client: BTreeMap<Arc<str>, Session>,
    /// The same sessions by when they were last used, the longest unused first.
    by_last_use: BTreeSet<(u64, Arc<str>)>,
    /// Those among them whose reply is long, in the same order.
    long_by_last_use: BTreeSet<(u64, Arc<str>)>,
    /// Bytes of all long replies together.
    long_reply_bytes: usize,
    /// Cluster time of the newest command.
    now_ms: u64,
    hash: HashSum,
    limits: Limits,
}

impl Sessions {
    #[cfg(test)]
    pub(super) fn with_limits(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Cluster time of the newest command, in milliseconds.
    pub(super) fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// Hash of all sessions.
    pub(super) fn hash(&self) -> HashSum {
        self.hash
    }

    /// The same hash, computed afresh.
    pub(super) fn recompute_hash(&self) -> HashSum {
        let mut hash = HashSum::default();
        for (client, session) in &self.by_client {
            hash.add(Kind::Session, &session.canonical_bytes(client));
        }
        hash
    }

    /// Lets the time of a command be the present, and forgets some of the sessions that it makes idle.
    ///
    /// Cluster time never goes backward; should it, the newest time seen stays the present.
    pub(super) fn advance(&mut self, time_ms: u64) {
        self.now_ms = self.now_ms.max(time_ms);
        for _ in 0..FORGOTTEN_PER_COMMAND_MAX {
            match self.by_last_use.first() {
                Some((last_used_ms, client)) if self.is_idle(*last_used_ms) => {
                    let client = Arc::clone(client);
                    self.remove(&client);
                }
                _ => break,
            }
        }
    }

    /// Tells whether a request is new. Asking counts as use of the session, unless the request is new:
    /// that one is counted by [`Sessions::remember`].
    pub(super) fn admit(&mut self, request: &RequestId, fingerprint: Fingerprint) -> Admission {
        let Some(session) = self.by_client.get(request.client.as_str()) else { return Admission::New };
        if self.is_idle(session.last_used_ms) {
            // Its turn in `advance` has not come yet, but no one may notice that.
            self.remove(&request.client);
            return Admission::New;
        }
        let newest = session.newest_seq;
        if request.seq > newest || mutants::is_on(Mutant::RetryApplied) {
            return Admission::New;
        }
        let admission = if request.seq < newest {
            Admission::Stale { newest }
        } else if session.fingerprint != fingerprint {
            Admission::Reused
        } else if session.reply.is_empty() {
            Admission::Stale { newest }
        } else {
            Admission::Repeat(Outcome::decode(&session.reply).expect("a remembered reply is an encoded outcome"))
        };
        self.touch(&request.client);
        admission
    }

    /// Remembers the outcome of a new request, in place of that of the one before.
    ///
    /// # Errors
    /// [`Full`] if there are too many sessions; then nothing has changed, and the request must not be applied.
    pub(super) fn remember(
        &mut self,
        request: &RequestId,
        fingerprint: Fingerprint,
        outcome: &Outcome,
    ) -> Result<(), Full> {
        let client = match self.remove(&request.client) {
            Some((client, _)) => client,
            None if self.by_client.len() >= self.limits.sessions_max => return Err(Full),
            None => Arc::from(request.client.as_str()),
        };
        let reply = outcome.encode().into_boxed_slice();
        self.insert(client, Session { newest_seq: request.seq, last_used_ms: self.now_ms, fingerprint, reply });
        self.drop_long_replies();
        Ok(())
    }

    /// Drops replies until the long ones fit, the longest unused first.
    fn drop_long_replies(&mut self) {
        while self.long_reply_bytes > self.limits.reply_bytes_max
            && let Some((_, client)) = self.long_by_last_use.first().cloned()
            && let Some((client, session)) = self.remove(&client)
        {
            self.insert(client, Session { reply: Box::default(), ..session });
        }
    }

    fn is_idle(&self, last_used_ms: u64) -> bool {
        self.now_ms.saturating_sub(last_used_ms) >= SESSION_IDLE_MS_MAX
    }

    fn touch(&mut self, client: &str) {
        if let Some((client, session)) = self.remove(client) {
            self.insert(client, Session { last_used_ms: self.now_ms, ..session });
        }
    }

    // The maps, the byte count and the hash change together, in these two places only.

    fn insert(&mut self, client: Arc<str>, session: Session) {
        self.hash.add(Kind::Session, &session.canonical_bytes(&client));
        if session.has_long_reply() {
            self.long_reply_bytes += session.reply.len();
            self.long_by_last_use.insert((session.last_used_ms, Arc::clone(&client)));
        }
        self.by_last_use.insert((session.last_used_ms, Arc::clone(&client)));
        self.by_client.insert(client, session);
    }

    fn remove(&mut self, client: &str) -> Option<(Arc<str>, Session)> {
        let (client, session) = self.by_client.remove_entry(client)?;
        self.hash.remove(Kind::Session, &session.canonical_bytes(&client));
        let by_last_use = (session.last_used_ms, client);
        if session.has_long_reply() {
            self.long_reply_bytes -= session.reply.len();
            self.long_by_last_use.remove(&by_last_use);
        }
        self.by_last_use.remove(&by_last_use);
        Some((by_last_use.1, session))
    }
}

#[cfg(test)]
mod tests {
    use super::super::command::Item;
    use super::*;

    const OPERATION: Fingerprint = Fingerprint(1);

    fn request(client: &str, seq: u64) -> RequestId {
        RequestId { client: client.into(), seq }
    }

    fn outcome(revision: u64) -> Outcome {
        Outcome::Set { revision, created: false, prev: None }
    }

    /// An outcome whose reply is long.
    fn long_outcome() -> Outcome {
        let item = Item { value: vec![b'x'; 100].into(), create_revision: 1, mod_revision: 1, version: 1 };
        Outcome::Deleted { revision: 2, deleted: true, prev: Some(item) }
    }

    /// The maps name the same sessions, and the sums agree with them.
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
            // The last to be forgotten is unknown long before its turn; asking removes it as well.
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
        let mut sessions = Sessions::with_limits(Limits { sessions_max: 2, ..Limits::default() });
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
        let mut sessions = Sessions::with_limits(Limits { reply_bytes_max, ..Limits::default() });
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
        let mut sessions = Sessions::with_limits(Limits { reply_bytes_max: 100, ..Limits::default() });
        sessions.remember(&request("a", 1), OPERATION, &long_outcome()).unwrap();
        assert_eq!(sessions.admit(&request("a", 1), OPERATION), Admission::Stale { newest: 1 });
        assert_consistent(&sessions);
    }
}
