//! Sessions, which ensure that a repeated write is applied once (thesis §6.3).
//!
//! A client whose reply was lost sends its write again, to the same leader or the next one, and the write must not be
//! applied twice. So each client has a name and numbers its requests, and the state machine remembers the newest number
//! of each name with its outcome. These records are part of the replicated state: a repeat that arrives in a later
//! term, at another node, finds them there.
//!
//! A client has one request in flight at a time, so one outcome per name is enough. It belongs to one operation, whose
//! [`Fingerprint`] is kept with it: a number used again for a different operation is refused. The size of a session is
//! bounded, however large the values are:
//!
//! - For a failed condition no item is kept. It is enough that a repeat fails as well; the repeat is shown the current
//!   item.
//! - The item before a write, which a client may ask for, belongs to the reply and is kept with it. If such replies
//!   together grow too large, those of the sessions unused for the longest time are dropped. The number and the
//!   revision stay, so a repeat is still not applied; but the client is told that its reply is gone.
//! - A reply with many items, of a transaction or the deletion of a range, is kept up to [`REPLY_BYTES_MAX`].
//!
//! A name that has not been used for [`SESSION_IDLE_MS_MAX`] of cluster time is forgotten. Idle sessions are removed a
//! few with each command, the longest unused first: the table shrinks as fast as it can grow, and no single command
//! ever has to remove a million of them.
//!
//! The constants below are rules of the state machine, not settings: replicas with different values would diverge.

mod restoring;
mod session;
mod taking;

pub(super) use restoring::RestoringSessions;
pub(super) use session::KeptSession;

use super::command::RequestId;
use super::fingerprint::Fingerprint;
use super::hash::{HashSum, Kind};
use super::level::Level;
use super::outcome::Outcome;
use super::walk::Walk;
use crate::mutants::{self, Mutant};
use session::Session;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Cluster time after which an unused session is forgotten. Milliseconds.
pub const SESSION_IDLE_MS_MAX: u64 = 60 * 60 * 1000;

/// Most sessions kept at once; a further client gets [`Outcome::SessionsFull`].
///
/// Enough for a shell loop that starts a new client, under a new name, 250 times a second for the whole
/// time that names are kept. A session takes about 300 bytes (`benches/store.rs`), so a full table takes about 300 MB.
pub const SESSIONS_MAX: usize = 1_000_000;

/// Most bytes of all long replies together. If a new one does not fit, others are dropped.
pub const SESSION_REPLY_BYTES_MAX: usize = 64 << 20;

/// Longest reply to a transaction or to the deletion of a range that is kept. Of a longer one only the revision is
/// kept.
const REPLY_BYTES_MAX: usize = 64 << 10;

/// Most idle sessions removed with one command. More than one, since a command adds at most one session.
const FORGOTTEN_PER_COMMAND_MAX: usize = 16;

/// Limits of the sessions. They are rules of the state machine, not settings: replicas with different values would
/// diverge. Tests use other values than the default in order to reach the limits.
#[derive(Clone, Copy, Debug)]
pub struct SessionLimits {
    /// See [`SESSION_IDLE_MS_MAX`].
    pub idle_ms_max: u64,
    /// See [`SESSIONS_MAX`].
    pub sessions_max: usize,
    /// See [`SESSION_REPLY_BYTES_MAX`].
    pub reply_bytes_max: usize,
}

impl Default for SessionLimits {
    fn default() -> Self {
        Self { idle_ms_max: SESSION_IDLE_MS_MAX, sessions_max: SESSIONS_MAX, reply_bytes_max: SESSION_REPLY_BYTES_MAX }
    }
}

/// Relation of a request to the earlier requests of its client.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// It has not been applied.
    New,
    /// It has been applied, with this outcome; a failed condition comes without the item.
    Repeat(Outcome),
    /// It or a newer one has been applied; the outcome of this one is no longer known.
    Stale { newest: u64 },
    /// Its number was used for another operation.
    Reused,
}

/// There is no room for another session.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full;

/// The sessions of all clients.
#[derive(Default)]
pub(super) struct Sessions {
    by_client: BTreeMap<Arc<str>, Session>,
    /// The same sessions by time of last use, the longest unused first.
    by_last_use: BTreeSet<(u64, Arc<str>)>,
    /// The sessions with a long reply, in the same order.
    long_by_last_use: BTreeSet<(u64, Arc<str>)>,
    /// Bytes of all long replies together.
    long_reply_bytes: usize,
    /// Cluster time of the newest command.
    now_ms: u64,
    hash: HashSum,
    limits: SessionLimits,
    /// True if the state has the level from which on a dropped reply leaves its revision.
    leaves_revisions: bool,
    snapshots_begun: u64,
    /// Walk of the snapshot in progress.
    walk: Option<Walk<KeptSession>>,
}

impl Sessions {
    pub(super) fn with_limits(limits: SessionLimits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Cluster time of the newest command, in milliseconds.
    pub(super) fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// Records that the state has this level.
    pub(super) fn reach(&mut self, level: Level) {
        self.leaves_revisions = level >= Level::DATA_MODEL;
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

    /// Advances the cluster time to that of a command, and forgets some of the sessions that this makes idle.
    ///
    /// Cluster time never goes backward; if it did, the newest time seen would stay in force.
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

    /// Determines whether a request is new. The call counts as use of the session, unless the request is new: that use
    /// is counted by [`Sessions::remember`].
    pub(super) fn admit(&mut self, request: &RequestId, fingerprint: Fingerprint) -> Admission {
        let Some(session) = self.by_client.get(request.client.as_str()) else { return Admission::New };
        if self.is_idle(session.last_used_ms) {
            // `advance` has not removed it yet, but no client may notice that.
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

    /// Returns true if a request has been applied, or a newer one of the same client.
    pub(super) fn has_seen(&self, request: &RequestId) -> bool {
        let session = self.by_client.get(request.client.as_str()).filter(|session| !self.is_idle(session.last_used_ms));
        session.is_some_and(|session| request.seq <= session.newest_seq)
    }

    /// Remembers the outcome of a new request, replacing the previous one.
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
        let reply = kept_reply(outcome).into_boxed_slice();
        let (newest_seq, last_used_ms, last_change) = (request.seq, self.now_ms, self.snapshots_begun);
        self.insert(client, Session { newest_seq, last_used_ms, fingerprint, reply, last_change });
        self.drop_long_replies();
        Ok(())
    }

    /// Drops replies until the long ones fit, the longest unused first.
    fn drop_long_replies(&mut self) {
        while self.long_reply_bytes > self.limits.reply_bytes_max
            && let Some((_, client)) = self.long_by_last_use.first().cloned()
            && let Some((client, session)) = self.remove(&client)
        {
            let last_change = self.snapshots_begun;
            let revision = Outcome::decode(&session.reply).and_then(|outcome| outcome.revision());
            let left = revision.filter(|_| self.leaves_revisions).map(|revision| Outcome::NotKept { revision });
            let reply = left.map(|left| left.encode().into_boxed_slice()).unwrap_or_default();
            self.insert(client, Session { reply, last_change, ..session });
        }
    }

    fn is_idle(&self, last_used_ms: u64) -> bool {
        let part = if mutants::is_on(Mutant::SessionForgottenEarly) { 1_000 } else { 1 };
        self.now_ms.saturating_sub(last_used_ms) >= self.limits.idle_ms_max / part
    }

    fn touch(&mut self, client: &str) {
        if let Some((client, session)) = self.remove(client) {
            let (last_used_ms, last_change) = (self.now_ms, self.snapshots_begun);
            self.insert(client, Session { last_used_ms, last_change, ..session });
        }
    }

    // The maps, the byte count and the hash change together, only in these two functions. A session that changes is
    // first removed, and kept for the snapshot in progress.

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
        self.keep_for_snapshot(&client, &session);
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

/// Returns the reply to keep, encoded. Of a reply with many items, only the revision is kept.
fn kept_reply(outcome: &Outcome) -> Vec<u8> {
    let reply = outcome.encode();
    match outcome {
        Outcome::DeletedRange { revision, .. } | Outcome::Txn { revision, .. } if reply.len() > REPLY_BYTES_MAX => {
            Outcome::NotKept { revision: *revision }.encode()
        }
        _ => reply,
    }
}

#[cfg(test)]
mod tests;
