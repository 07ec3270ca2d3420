//! The leader's side of replication: sending, committing entries, and stepping down.
//!
//! The leader sends entries to every follower while it writes them to its own disk (thesis §10.2.1). It counts itself
//! only for entries that are on its own disk.
//!
//! There are two lanes to each follower, so that bulk never delays the messages that keep the leader in office. A
//! message on one lane may overtake messages on the other:
//!
//! - The *prompt* lane carries heartbeats, which are small empty AppendEntries. A heartbeat names the last entry that
//!   the follower is known to have, and commits no more than that, so that it fits whatever is still in flight to the
//!   follower.
//! - The *bulk* lane carries entries, in order. If a follower owes an answer, the leader also checks it there with each
//!   heartbeat, by an empty AppendEntries that names the last entry sent. It travels behind all the entries, so it
//!   finds out what was lost.
//!
//! Neither lane may hide that the other is dead. Without heartbeats the followers elect another leader, and CheckQuorum
//! ends this one. A leader whose heartbeats are answered, but whose entries do not get through to a quorum, steps down
//! too; see [`Raft::bulk_stalled`].

use super::core::Raft;
use super::effects::{Effects, Fetch, SendSnapshot};
use super::entry::{Entry, Payload};
use super::log::Log;
use super::message::{Body, Message};
use super::progress::{Flow, Progress};
use super::role::Role;
use super::settings::Settings;
use super::types::{ClusterTime, Instant, LogIndex, NodeId, Term};
use crate::mutants::{self, Mutant};

impl Raft {
    /// Appends an entry of the leader's own term and returns its index.
    pub(super) fn append_as_leader(&mut self, payload: Payload) -> LogIndex {
        let Role::Leader(leader) = &self.role else { panic!("only a leader appends, not {:?}", self.role()) };
        let index = self.log.last_index().next();
        let entry = Entry { index, term: self.term(), time: leader.time, payload };
        self.append(entry);
        index
    }

    /// Sends heartbeats when due, and runs CheckQuorum (thesis §6.2).
    pub(super) fn tick_leader(&mut self) {
        let Role::Leader(leader) = &mut self.role else { return };
        let heartbeat = self.clock >= leader.next_heartbeat;
        if heartbeat {
            leader.next_heartbeat = self.clock.plus_ms(self.settings.heartbeat_ms);
            for progress in leader.progress.values_mut() {
                progress.heartbeat_due = true;
                // A follower that does not answer is not checked again: the checks would pile up in front of it.
                progress.check_due |= progress.owes_answer() && progress.heard.is_some_and(|at| at >= progress.checked);
            }
        }
        self.tick_transfer(heartbeat);
        self.leave_stuck_disk();
        // A leader that reaches no quorum can commit nothing. Stepping down tells its clients to look elsewhere and
        // ends its waiting reads.
        if !self.configuration().is_quorum(|id| !self.is_silent(id)) && !mutants::is_on(Mutant::NoCheckQuorum) {
            return self.become_follower(None);
        }
        if self.is_bulk_lane_dead() {
            return self.make_way();
        }
        self.tick_membership();
    }

    /// Returns true if entries can reach too few followers for a quorum. Only followers that answer heartbeats count: a
    /// dead follower takes no entries either, and must not make up for one that is reached by heartbeats alone.
    fn is_bulk_lane_dead(&self) -> bool {
        let Role::Leader(leader) = &self.role else { return false };
        let is_stalled = |id: NodeId| leader.progress.get(&id).is_some_and(|progress| progress.is_bulk_stalled);
        let some_are = leader.progress.values().any(|progress| progress.is_bulk_stalled);
        some_are && !self.configuration().is_quorum(|id| !is_stalled(id) && !self.is_silent(id))
    }

    /// Steps down in favour of the other voters: they have one election timeout to elect a leader among themselves.
    fn make_way(&mut self) {
        self.become_follower(None);
        if let Role::Follower(follower) = &mut self.role {
            follower.election_deadline = follower.election_deadline.plus_ms(self.settings.election_timeout_max_ms);
        }
    }

    /// Sends every follower the messages that are due, within its window.
    pub(super) fn replicate(&mut self, effects: &mut Effects) {
        let term = self.term();
        let Role::Leader(leader) = &mut self.role else { return };
        let (round, time) = (leader.reads.round, leader.time);
        effects.bulk.append(&mut leader.fetched);
        for (to, progress) in &mut leader.progress {
            let (log, settings, now) = (&self.log, &self.settings, self.now);
            Feed { to: *to, term, round, time, log, settings, now, progress }.send_due(effects);
        }
    }

    /// Takes the entries that a [`Fetch`] has read from disk. Ignores them if they are no longer needed. An empty list
    /// means that there were none to read; they are fetched again once the follower has answered the next heartbeat.
    pub fn fetched(&mut self, fetch: &Fetch, entries: Vec<Entry>) {
        let term = self.term();
        let Role::Leader(leader) = &mut self.role else { return };
        let (round, time) = (leader.reads.round, leader.time);
        let Some(progress) = leader.progress.get_mut(&fetch.to) else { return };
        if fetch.term != term || !progress.fetching || progress.next_index != fetch.from {
            return;
        }
        if fetch.from <= self.log.base().index {
            // The log was compacted meanwhile, so the term of the entry before the first one is no longer known.
            return progress.needs_snapshot();
        }
        if entries.is_empty() {
            return progress.wait_for_answer();
        }
        let mut effects = Effects::default();
        let (log, settings, now) = (&self.log, &self.settings, self.now);
        Feed { to: fetch.to, term, round, time, log, settings, now, progress }.send_entries(entries, &mut effects);
        leader.fetched.append(&mut effects.bulk);
    }

    /// Handles AppendAccepted: the follower has everything up to `match_index` on its disk.
    pub(super) fn append_accepted(&mut self, from: NodeId, match_index: LogIndex, round: u64) {
        if match_index > self.log.last_index() {
            return;
        }
        let (base, now) = (self.log.base().index, self.now);
        if let Some(progress) = self.heard_follower(from, round) {
            if match_index >= base {
                progress.needs_no_snapshot();
            }
            if match_index > progress.match_index {
                progress.advanced = Some(now);
            }
            progress.accept(match_index);
            self.advance_commit();
        }
    }

    /// Handles AppendRejected: the follower's log lacks the entry that precedes the entries sent.
    pub(super) fn append_rejected(&mut self, from: NodeId, prev: LogIndex, hint: (LogIndex, Term), round: u64) {
        let (agreed, _) = self.log.last_at_or_below(hint.0, hint.1);
        let Some(progress) = self.heard_follower(from, round) else { return };
        if matches!(progress.flow, Flow::Snapshot(_)) {
            // This rejects an earlier message: heartbeats sent during a snapshot name no entry.
            return;
        }
        // The rejection is stale if the follower has acknowledged more since, or another probe was sent since.
        let stale = prev < progress.match_index
            || matches!(progress.flow, Flow::Probe { .. }) && prev.next() != progress.next_index;
        if !stale {
            // A follower may lose the very last write that it has acknowledged: damage there looks like a write that
            // was never finished (see `storage::wal`). The leader sends the entries again; committed entries stay
            // committed.
            //
            // So a rejection at the match index itself counts, although it may be an old one, given before the follower
            // had that entry. Treating an old rejection as new costs a few messages, and nothing else:
            //
            // - A match index that is too low is still true. The commit index never goes back with it, and the follower
            //   keeps the entries that it has and is sent again (paper §5.3).
            // - The follower's next answer, even to a heartbeat, reports its match again and sets both indexes right.
            //   If `agreed` is before the base, that answer also ends the snapshot that is sent because the entries are
            //   gone.
            progress.match_index = progress.match_index.min(agreed);
            progress.probe_from(agreed.next());
        }
    }

    /// Records an answer in the current term: the follower runs, and had received `round`.
    fn heard_follower(&mut self, from: NodeId, round: u64) -> Option<&mut Progress> {
        let Role::Leader(leader) = &mut self.role else { return None };
        let progress = leader.progress.get_mut(&from)?;
        let patience_ms = 2 * self.settings.heartbeat_ms;
        if progress.is_gone || progress.heard.is_none_or(|heard| self.now.ms_since(heard) > patience_ms) {
            // The follower is back: its answer to a check shows which entries it missed.
            progress.check_due |= progress.owes_answer();
        }
        progress.heard = Some(self.now);
        progress.is_gone = false;
        progress.acked_round = progress.acked_round.max(round);
        self.confirm_reads();
        let Role::Leader(leader) = &mut self.role else { return None };
        leader.progress.get_mut(&from)
    }

    /// Commits the entries that a quorum has on disk.
    ///
    /// An entry commits by counting copies only if it is of our own term (paper §5.4.2):
    ///
    /// ```text
    /// log index   1 2 3
    /// n1 leader   1 2 4    Index 2 is on a quorum (n1 n2 n3), yet n5 can win term 5 and overwrite it.
    /// n2, n3      1 2 .    Once index 3 is on that quorum as well, n5 cannot win, and 2 commits with it.
    /// n4          1 . .
    /// n5          1 3 .
    /// ```
    pub(super) fn advance_commit(&mut self) {
        let Role::Leader(leader) = &self.role else { return };
        let reached = |id: NodeId| match leader.progress.get(&id) {
            Some(progress) => progress.match_index,
            None if id == self.id && mutants::is_on(Mutant::LeaderCountsUnsynced) => self.log.last_index(),
            None if id == self.id => self.log.durable_index(),
            None => LogIndex(0),
        };
        let quorum_index = self.configuration().quorum_reached(reached);
        let of_own_term = self.log.matches(quorum_index, self.term()) || mutants::is_on(Mutant::PriorTermByCount);
        if quorum_index > self.log.commit_index() && of_own_term {
            self.log.commit(quorum_index);
            self.finish_change();
        }
    }

    /// Returns true if an entry of the leader's own term is committed, so that its commit index is no longer behind
    /// that of an earlier leader (thesis §6.4).
    pub(super) fn has_committed_in_term(&self) -> bool {
        let Role::Leader(leader) = &self.role else { return false };
        self.log.commit_index() >= leader.first_index || mutants::is_on(Mutant::NoNoop)
    }
}

/// The sending side of one follower.
struct Feed<'a> {
    to: NodeId,
    term: Term,
    round: u64,
    time: ClusterTime,
    log: &'a Log,
    settings: &'a Settings,
    now: Instant,
    progress: &'a mut Progress,
}

impl Feed<'_> {
    /// Sends the messages that are due.
    ///
    /// - Bulk lane: a probe if one is due, or entries while the window has room, or a check of the entries in flight.
    /// - Prompt lane: a heartbeat if one is due or the round is new.
    /// - A new commit index that no entries are about to carry: on the prompt lane as far as the follower is known to
    ///   have the entries, otherwise on the bulk lane behind them.
    fn send_due(&mut self, effects: &mut Effects) {
        // The term of the base itself is known, so the entry after it can still be sent.
        if self.progress.next_index <= self.log.base().index {
            self.progress.needs_snapshot();
        }
        if self.progress.take_due_snapshot() {
            effects.snapshots.push(SendSnapshot { to: self.to, term: self.term });
        }
        while self.progress.has_room(self.settings) && self.progress.next_index <= self.log.last_index() {
            let from = self.progress.next_index;
            let Some(entries) = self.log.entries_from(from, self.settings.message_bytes_max) else {
                self.fetch(effects);
                break;
            };
            self.send_entries(entries, effects);
        }
        if matches!(self.progress.flow, Flow::Probe { sent: false, .. }) {
            // The probed index is right in most cases, so the probe carries entries that are in memory. Entries on disk
            // are fetched once the index is known to be right.
            let entries = self.log.entries_from(self.progress.next_index, self.settings.message_bytes_max);
            self.send_entries(entries.unwrap_or_default(), effects);
        }
        let commit_is_news = self.progress.sent_commit < self.promptly_committed();
        // Behind its entries the commit index means the same, as long as such messages do not pile up.
        let is_news_behind =
            self.progress.sent_commit < self.log.commit_index() && self.progress.has_room(self.settings);
        if std::mem::take(&mut self.progress.check_due) && self.progress.is_fed() || is_news_behind && !commit_is_news {
            self.send_entries(Vec::new(), effects);
        }
        // If a follower does not answer, heartbeats repeat the news. Extra messages would pile up in front of it with
        // every read of the other followers.
        let round_is_news =
            self.progress.sent_round < self.round && self.progress.acked_round >= self.progress.sent_round;
        if commit_is_news || round_is_news || self.progress.heartbeat_due {
            self.send_heartbeat(effects);
        }
    }

    /// Returns the commit index for the prompt lane: no more than the follower is known to have. Committed entries
    /// beyond it are in flight on the bulk lane, with their commit index.
    fn promptly_committed(&self) -> LogIndex {
        if mutants::is_on(Mutant::HeartbeatCommitsMore) {
            return self.log.commit_index();
        }
        self.log.commit_index().min(self.progress.match_index)
    }

    fn fetch(&mut self, effects: &mut Effects) {
        self.progress.fetching = true;
        effects.fetch.push(Fetch {
            to: self.to,
            term: self.term,
            from: self.progress.next_index,
            through: self.log.durable_index(),
            bytes_max: self.settings.message_bytes_max,
        });
    }

    /// Sends the next entries on the bulk lane to a follower that is fed from the log. Without entries, asks whether
    /// the follower has everything sent before.
    fn send_entries(&mut self, entries: Vec<Entry>, effects: &mut Effects) {
        let prev_log_index = self.progress.next_index.previous();
        // `next_index` is behind the base and at most one past the end.
        let prev_log_term = self.log.term_at(prev_log_index).expect("the entry before the next is in the log");
        let bytes = entries.iter().map(Entry::size_bytes).sum();
        self.progress.sent(entries.last().map(|last| (last.index, bytes)));
        self.progress.checked = self.now;
        let leader_commit = self.log.commit_index();
        self.progress.sent_commit = leader_commit;
        // The message carries the round, but the round does not count as sent: rounds must not wait for bulk.
        let (round, time) = (self.round, Some(self.time));
        let body = Body::AppendEntries { prev_log_index, prev_log_term, entries, leader_commit, round, time };
        effects.bulk.push((self.to, Message { term: self.term, body }));
    }

    fn send_heartbeat(&mut self, effects: &mut Effects) {
        let known = self.progress.match_index;
        // If no match is known, or it lies before the base, name index zero, where every log matches.
        let known_term = self.log.term_at(known).filter(|_| known >= self.log.base().index);
        let (prev_log_index, prev_log_term) = known_term.map_or((LogIndex(0), Term(0)), |term| (known, term));
        let leader_commit = self.promptly_committed();
        self.progress.sent_commit = self.progress.sent_commit.max(leader_commit);
        self.progress.sent_round = self.round;
        self.progress.heartbeat_due = false;
        let entries = Vec::new();
        let (round, time) = (self.round, Some(self.time));
        let body = Body::AppendEntries { prev_log_index, prev_log_term, entries, leader_commit, round, time };
        let lane = if mutants::is_on(Mutant::HeartbeatBehindBulk) { &mut effects.bulk } else { &mut effects.send };
        lane.push((self.to, Message { term: self.term, body }));
    }
}
