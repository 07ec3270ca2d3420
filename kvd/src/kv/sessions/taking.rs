//! The sessions in a snapshot: each as it was when the snapshot began, in the order of the clients' names.
//!
//! The time of last use is part of a session, so the order in which sessions are forgotten follows from the snapshot.

use super::super::pieces::PieceWriter;
use super::super::walk::Walk;
use super::Sessions;
use super::session::{KeptSession, Session};
use std::ops::Bound;
use std::sync::Arc;

impl Sessions {
    /// Number of sessions.
    pub(in crate::kv) fn len(&self) -> usize {
        self.by_client.len()
    }

    /// Begins a snapshot of the current sessions.
    pub(in crate::kv) fn begin_snapshot(&mut self) {
        self.walk = Some(Walk::new(self.snapshots_begun));
        self.snapshots_begun += 1;
    }

    /// Continues writing; returns true once everything is written.
    pub(in crate::kv) fn write_snapshot(&self, piece: &mut PieceWriter) -> bool {
        let present = |from: Bound<&str>| {
            let sessions = self.by_client.range::<str, _>((from, Bound::Unbounded));
            sessions.map(|(client, session)| session.view(client))
        };
        self.walk.as_ref().is_none_or(|walk| walk.write(present, piece))
    }

    /// Ends the snapshot. Returns its remains, which may take a while to drop.
    pub(in crate::kv) fn end_snapshot(&mut self) -> Option<Walk<KeptSession>> {
        self.walk.take()
    }

    /// Keeps a session for the snapshot in progress if needed. Call this for each session that is about to change or be
    /// removed.
    pub(super) fn keep_for_snapshot(&mut self, client: &Arc<str>, session: &Session) {
        if let Some(walk) = &mut self.walk
            && walk.wants(client, session.last_change)
        {
            walk.keep(KeptSession::new(client, session));
        }
    }
}
