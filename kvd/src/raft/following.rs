//! The follower's side of replication: AppendEntries received (paper §5.3, Figure 2).

use super::core::Raft;
use super::entry::Entry;
use super::message::Body;
use super::role::Role;
use super::types::{LogIndex, NodeId, Term};
use crate::mutants::{self, Mutant};

impl Raft {
    /// Follows `leader`, which leads the current term, and restarts the election timeout.
    pub(super) fn follow(&mut self, leader: NodeId) {
        match &self.role {
            Role::Leader(_) => panic!("{leader} and {} both lead term {}", self.id, self.term()),
            Role::Follower(follower) if follower.leader == Some(leader) => {}
            Role::Follower(_) | Role::PreCandidate(_) | Role::Candidate(_) => self.become_follower(Some(leader)),
        }
        let election_deadline = self.now.plus_ms(self.draw_election_timeout());
        if let Role::Follower(follower) = &mut self.role {
            follower.heard = self.now;
            follower.election_deadline = election_deadline;
        }
    }

    /// Tells a leader of an earlier term the current one, so that it steps down (paper §5.1).
    pub(super) fn refuse_stale_leader(&mut self, from: NodeId, prev_log_index: LogIndex) {
        let (hint_index, hint_term) = (LogIndex(0), Term(0));
        self.send(from, Body::AppendRejected { prev_log_index, hint_index, hint_term, round: 0 });
    }

    /// Appends the entries that follow `prev` in the leader's log, if our log has `prev` too.
    pub(super) fn append_from_leader(
        &mut self,
        from: NodeId,
        (prev_log_index, prev_log_term): (LogIndex, Term),
        mut entries: Vec<Entry>,
        leader_commit: LogIndex,
        round: u64,
    ) {
        let Role::Follower(follower) = &mut self.role else { return };
        let new_round = round > follower.round;
        follower.round = follower.round.max(round);
        follower.leader_commit = follower.leader_commit.max(leader_commit);

        // Everything that a leader has before our base is in our snapshot as well: both are committed.
        let base = self.log.base();
        let is_before_base = prev_log_index < base.index;
        let (prev_log_index, prev_log_term) =
            if is_before_base { (base.index, base.term) } else { (prev_log_index, prev_log_term) };
        if is_before_base {
            entries.retain(|entry| entry.index > base.index);
        }

        if !self.log.matches(prev_log_index, prev_log_term) {
            let round = follower.round;
            // The leader looks at or below the hint for a term that it has as well.
            let (hint_index, hint_term) = self.log.last_at_or_below(prev_log_index, prev_log_term);
            return self.send(from, Body::AppendRejected { prev_log_index, hint_index, hint_term, round });
        }

        let heartbeat = entries.is_empty();
        let mut matched = prev_log_index;
        for entry in entries {
            matched = entry.index;
            if self.log.matches(entry.index, entry.term) && !mutants::is_on(Mutant::TruncateCommitted) {
                // Already here. The entries after it stay, for this message may be older than they are (paper Figure 2,
                // AppendEntries 3: only a conflict deletes).
                continue;
            }
            if entry.index <= self.log.last_index() {
                self.truncate(entry.index);
            }
            self.append(entry);
        }

        let Role::Follower(follower) = &mut self.role else { return };
        follower.matched = follower.matched.max(matched);
        // Beyond `matched` our log may differ from the leader's (paper Figure 2, AppendEntries 5).
        let known = match heartbeat && mutants::is_on(Mutant::HeartbeatCommitsMore) {
            true => self.log.last_index(),
            false => follower.matched,
        };
        self.log.commit(leader_commit.min(known));
        let is_early = mutants::is_on(Mutant::AckBeforeSync);
        let at_once = (heartbeat || new_round) && !mutants::is_on(Mutant::HeartbeatWaitsForDisk);
        if at_once || matched <= self.log.durable_index() || is_early {
            self.acknowledge(heartbeat && mutants::is_on(Mutant::EmptyAckUnsynced) || is_early);
        }
        // Otherwise the answer follows when the entries are on disk.
    }

    /// Tells the leader up to which index our log matches the leader's and is on our disk. Never `with_unsynced`
    /// entries.
    fn acknowledge(&mut self, with_unsynced: bool) {
        let durable_index = if with_unsynced { self.log.last_index() } else { self.log.durable_index() };
        let Role::Follower(follower) = &mut self.role else { return };
        let Some(leader) = follower.leader else { return };
        let match_index = follower.matched.min(durable_index);
        follower.acked = follower.acked.max(match_index);
        let round = follower.round;
        self.send(leader, Body::AppendAccepted { match_index, round });
    }

    /// Acknowledges the entries that a finished write made durable, if that is news to the leader.
    pub(super) fn acknowledge_progress(&mut self) {
        if let Role::Follower(follower) = &self.role
            && follower.matched.min(self.log.durable_index()) > follower.acked
        {
            self.acknowledge(false);
        }
    }
}
