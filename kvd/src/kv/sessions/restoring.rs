//! Restores the sessions from a snapshot.

use super::super::codec::Reader;
use super::super::fingerprint::Fingerprint;
use super::super::hash::{HashSum, Kind};
use super::super::item::{Item, Revision};
use super::super::outcome::{DeleteDone, Outcome, PutDone};
use super::super::record::ItemRef;
use super::super::rules::CLIENT_NAME_CHARS_MAX;
use super::super::snapshot::{RestoreError, malformed};
use super::session::Session;
use super::{SessionLimits, Sessions};
use kvclient::snapshot::Summary;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Sessions that are being restored; not all of them have arrived.
#[derive(Default)]
pub(in crate::kv) struct RestoringSessions {
    /// Ordered by client.
    sessions: Vec<(Arc<str>, Session)>,
    long_reply_bytes: usize,
    hash: HashSum,
    limits: SessionLimits,
}

impl RestoringSessions {
    pub(in crate::kv) fn with_limits(limits: SessionLimits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Number of sessions received.
    pub(in crate::kv) fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Takes the canonical bytes of the next session.
    pub(in crate::kv) fn add(&mut self, canonical: &[u8], summary: &Summary) -> Result<(), RestoreError> {
        let (client, session) = read(canonical)?;
        if session.last_used_ms > summary.time_ms {
            return Err(malformed("a session's last use"));
        }
        if !session.reply.is_empty() && !is_remembered(&session.reply, summary.revision) {
            return Err(malformed("a session's reply"));
        }
        if self.sessions.last().is_some_and(|(last, _)| **last >= *client) {
            return Err(RestoreError::OutOfOrder { entry: "a session" });
        }
        if session.has_long_reply() {
            self.long_reply_bytes += session.reply.len();
        }
        if self.sessions.len() >= self.limits.sessions_max || self.long_reply_bytes > self.limits.reply_bytes_max {
            return Err(malformed("more sessions or longer replies than are remembered"));
        }
        self.hash.add(Kind::Session, canonical);
        self.sessions.push((client, session));
        Ok(())
    }

    /// Returns the sessions at cluster time `now_ms`.
    pub(in crate::kv) fn finish(self, now_ms: u64) -> Sessions {
        let Self { sessions, long_reply_bytes, hash, limits } = self;
        let use_of = |(client, session): &(Arc<str>, Session)| (session.last_used_ms, Arc::clone(client));
        let by_last_use: BTreeSet<_> = sessions.iter().map(use_of).collect();
        let long_by_last_use = sessions.iter().filter(|(_, session)| session.has_long_reply()).map(use_of).collect();
        // From sorted data the tree is built at once, not by one insertion after the other.
        let by_client: BTreeMap<_, _> = sessions.into_iter().collect();
        Sessions {
            by_client,
            by_last_use,
            long_by_last_use,
            long_reply_bytes,
            now_ms,
            hash,
            limits,
            ..Sessions::default()
        }
    }
}

fn read(canonical: &[u8]) -> Result<(Arc<str>, Session), RestoreError> {
    let from = &mut Reader::new(canonical);
    let client = from.bytes().and_then(|client| std::str::from_utf8(client).ok());
    let client = client.filter(|client| (1..=CLIENT_NAME_CHARS_MAX).contains(&client.chars().count()));
    let client = client.ok_or(malformed("a session's client"))?;
    let mut numbers = || Some((from.varint()?, from.varint()?, from.array()?));
    let (newest_seq, last_used_ms, fingerprint) = numbers().ok_or(malformed("a session's numbers"))?;
    let fingerprint = Fingerprint(u64::from_le_bytes(fingerprint));
    Ok((client.into(), Session { newest_seq, last_used_ms, fingerprint, reply: from.rest().into(), last_change: 0 }))
}

/// Returns true if sessions remember such a reply, in a store at `newest` revision.
fn is_remembered(reply: &[u8], newest: Revision) -> bool {
    let could_be = |prev: &Option<Item>| prev.as_ref().is_none_or(|item| ItemRef::from(item).is_possible_at(newest));
    match Outcome::decode(reply) {
        // A key that becomes the place of a lock is created anew, whatever was there before.
        Some(Outcome::Set { revision, done: PutDone { created: _, prev, lease: _ } }) => {
            revision <= newest && could_be(&prev)
        }
        Some(Outcome::Deleted { revision, done: DeleteDone { deleted, prev } }) => {
            revision <= newest && could_be(&prev) && (deleted || prev.is_none())
        }
        Some(
            Outcome::StaleRequest { .. } | Outcome::SessionsFull | Outcome::SeqReused | Outcome::LevelRaised { .. },
        )
        | None => false,
        Some(outcome) => outcome.revision().is_none_or(|revision| revision <= newest),
    }
}
