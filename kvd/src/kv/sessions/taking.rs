//! What a snapshot takes of the sessions: each as it was when the snapshot began, in the order of the clients' names.
//!
//! When a session was last used is part of it, so the order in which they are forgotten follows from what is written.

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

    /// Begins to take what is there now.
    pub(in crate::kv) fn begin_snapshot(&mut self) {
        self.walk = Some(Walk::new(self.snapshots_begun));
        self.snapshots_begun += 1;
    }

    /// Writes on; returns whether everything is written.
    pub(in crate::kv) fn write_snapshot(&self, piece: &mut PieceWriter) -> bool {
        let present = |from: Bound<&str>| {
            let sessions = self.by_client.range::<str, _>((from, Bound::Unbounded));
            sessions.map(|(client, session)| session.view(client))
        };
        self.walk.as_ref().is_none_or(|walk| walk.write(present, piece))
    }

    /// Ends the snapshot. Returns what is left of it, which may take a while to drop.
    pub(in crate::kv) fn end_snapshot(&mut self) -> Option<Walk<KeptSession>> {
        self.walk.take()
    }

    /// To be told of each session that is about to change or go.
    pub(super) fn keep_for_snapshot(&mut self, client: &Arc<str>, session: &Session) {
        if let Some(walk) = &mut self.walk
            && walk.wants(client, session.last_change)
        {
            walk.keep(KeptSession::new(client, session));
        }
    }
}
