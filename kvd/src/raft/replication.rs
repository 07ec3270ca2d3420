//! The leader's side of replication: what it sends, when an entry is committed, and when it gives up.
//!
//! Entries go to every follower at once and to the leader's own disk beside them (thesis §10.2.1); the
//! leader counts itself only for what its own disk has.
//!
//! There are two lanes to each follower, so that bulk never delays what keeps the leader. What travels on one may overtake
//! what travels on the other:
//!
//! - On the *prompt* lane go heartbeats, which are small empty AppendEntries. They name the last entry that the follower
//!   is known to have, and commit no more than that, so that they fit whatever is still on its way to it.
//! - On the *bulk* lane go entries, in order. With a heartbeat, a follower that owes an answer is asked there as well, by
//!   an empty AppendEntries that names the last entry sent: behind all of them, it finds out what was lost.
//!
//! Neither lane may hide that the other is dead. Without heartbeats the followers elect another leader, and CheckQuorum ends
//! this one. A leader whose heartbeats are answered, but that gets no entries through to a quorum, steps down too; see
//! [`Raft::bulk_stalled`].

use super::core::Raft;
use super::effects::{Effects, Fetch, SendSnapshot};
use super::entry::{Entry, Payload};
use super::log::Log;
use super::message::{Body, Message};
use super::progress::{Flow, Progress};
use super::role::Role;
use super::settings::Settings;
use super::types::{Instant, LogIndex, NodeId, Term};
use crate::mutants::{self, Mutant};

impl Raft {
    /// Appends an entry of the leader's own term and returns its index.
    pub(super) fn append_as_leader(&mut self, payload: Payload) -> LogIndex {
        let Role::Leader(leader) = &self.role else { panic!("only a leader appends, not {:?}", self.role()) };
        let index = self.log.last_index().next();
        let entry = Entry { index, term: self.term(), time: leader.cluster_time(self.now), payload };
        self.append(entry);
        index
    }

    /// Heartbeats, and CheckQuorum (thesis §6.2).
    pub(super) fn tick_leader(&mut self) {
        let Role::Leader(leader) = &mut self.role else { return };
        let heartbeat = self.clock >= leader.next_heartbeat;
        if heartbeat {
            leader.next_heartbeat = self.clock.plus_ms(self.settings.heartbeat_ms);
            for progress in leader.progress.values_mut() {
                progress.heartbeat_due = true;
                // One that answers nothing is not asked again and again: that would pile up before it.
                progress.check_due |= progress.owes_answer() && progress.heard.is_some_and(|at| at >= progress.checked);
            }
        }
        self.tick_transfer(heartbeat);
        self.leave_stuck_disk();
        // A leader that reaches no quorum can commit nothing; stepping down tells its clients to look
        // elsewhere and frees the reads that wait.
        if !self.configuration().is_quorum(|id| !self.is_silent(id)) && !mutants::is_on(Mutant::NoCheckQuorum) {
            return self.become_follower(None);
        }
        if self.is_bulk_lane_dead() {
            return self.make_way();
        }
        self.tick_membership();
    }

    /// Whether too few followers can be sent entries for a quorum, of those that answer heartbeats: a dead one takes no
    /// entries either, and must not make up for one that is reached by heartbeats alone.
    fn is_bulk_lane_dead(&self) -> bool {
        let Role::Leader(leader) = &self.role else { return false };
        let is_stalled = |id: NodeId| leader.progress.get(&id).is_some_and(|progress| progress.is_bulk_stalled);
        let some_are = leader.progress.values().any(|progress| progress.is_bulk_stalled);
        some_are && !self.configuration().is_quorum(|id| !is_stalled(id) && !self.is_silent(id))
    }

    /// Steps down in favour of others: they have an election timeout to find a leader among themselves.
    fn make_way(&mut self) {
        self.become_follower(None);
        if let Role::Follower(follower) = &mut self.role {
            follower.election_deadline = follower.election_deadline.plus_ms(self.settings.election_timeout_max_ms);
        }
    }

    /// Sends every follower what it lacks and may be sent now.
    pub(super) fn replicate(&mut self, effects: &mut Effects) {
        let term = self.term();
        let Role::Leader(leader) = &mut self.role else { return };
        let round = leader.reads.round;
        effects.bulk.append(&mut leader.fetched);
        for (to, progress) in &mut leader.progress {
            let (log, settings, now) = (&self.log, &self.settings, self.now);
            Feed { to: *to, term, round, log, settings, now, progress }.send_due(effects);
        }
    }

    /// Entries asked for by a [`Fetch`] have been read from disk. Ignored if they are no longer needed. None means that
    /// there were none to be had; they are asked for again once the follower has answered the next heartbeat.
    pub fn fetched(&mut self, fetch: &Fetch, entries: Vec<Entry>) {
        let term = self.term();
        let Role::Leader(leader) = &mut self.role else { return };
        let round = leader.reads.round;
        let Some(progress) = leader.progress.get_mut(&fetch.to) else { return };
        if fetch.term != term || !progress.fetching || progress.next_index != fetch.from {
            return;
        }
        if fetch.from <= self.log.base().index {
            // Compacted meanwhile, the entry before the first is no longer known.
            return progress.needs_snapshot();
        }
        if entries.is_empty() {
            return progress.wait_for_answer();
        }
        let mut effects = Effects::default();
        let (log, settings, now) = (&self.log, &self.settings, self.now);
        Feed { to: fetch.to, term, round, log, settings, now, progress }.send_entries(entries, &mut effects);
        leader.fetched.append(&mut effects.bulk);
    }

    /// A follower has everything up to `match_index` on its disk.
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

    /// A follower's log does not have what was to precede the entries sent.
    pub(super) fn append_rejected(&mut self, from: NodeId, prev: LogIndex, hint: (LogIndex, Term), round: u64) {
        let (agreed, _) = self.log.last_at_or_below(hint.0, hint.1);
        let Some(progress) = self.heard_follower(from, round) else { return };
        if matches!(progress.flow, Flow::Snapshot(_)) {
            // Of an earlier message: the heartbeats that go beside a snapshot name no entry.
            return;
        }
        // An old rejection, overtaken by what the follower has acknowledged or by another probe.
        let stale = prev < progress.match_index
            || matches!(progress.flow, Flow::Probe { .. }) && prev.next() != progress.next_index;
        if !stale {
            // Of what it has acknowledged a follower may lose the very last write: damage there looks like a write
            // that was never finished (see `storage::wal`). It gets it again; what was committed stays committed.
            //
            // So a rejection at the match index itself counts, although it may be an old one, given before the follower
            // had that entry. Taken for a new one it costs a few messages, and nothing else:
            //
            // - A match index that is too low is as true as the right one. The commit index never goes back with it, and
            //   what the follower is sent again it has, and keeps (paper §5.3).
            // - The next answer of the follower, be it to a heartbeat, says again how far it matches, and sets both indexes
            //   right. If `agreed` is before the base, that ends the snapshot which is being sent for want of the entries.
            progress.match_index = progress.match_index.min(agreed);
            progress.probe_from(agreed.next());
        }
    }

    /// Notes an answer in the present term: the follower lives, and had heard of `round`.
    fn heard_follower(&mut self, from: NodeId, round: u64) -> Option<&mut Progress> {
        let Role::Leader(leader) = &mut self.role else { return None };
        let progress = leader.progress.get_mut(&from)?;
        let patience_ms = 2 * self.settings.heartbeat_ms;
        if progress.is_gone || progress.heard.is_none_or(|heard| self.now.ms_since(heard) > patience_ms) {
            // It is back: whatever it has missed shows by its answer.
            progress.check_due |= progress.owes_answer();
        }
        progress.heard = Some(self.now);
        progress.is_gone = false;
        progress.acked_round = progress.acked_round.max(round);
        self.confirm_reads();
        let Role::Leader(leader) = &mut self.role else { return None };
        leader.progress.get_mut(&from)
    }

    /// Commits what a quorum has on disk.
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

    /// Whether an entry of the leader's own term is committed, so that its commit index is no longer
    /// behind that of an earlier leader (thesis §6.4).
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
    log: &'a Log,
    settings: &'a Settings,
    now: Instant,
    progress: &'a mut Progress,
}

impl Feed<'_> {
    /// On the bulk lane a probe if one is due, or entries while the window has room, or a question what has come of them.
    /// On the prompt lane a heartbeat where one is due, and where a round is news. A commit index that is news and that no
    /// entries are about to carry goes on the prompt lane as far as the follower is known to have the entries, else behind
    /// them.
    fn send_due(&mut self, effects: &mut Effects) {
        // Of the base the term is known, so what follows it can be sent.
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
            // The place is most often right, so entries go along. From the disk they come once it is known.
            let entries = self.log.entries_from(self.progress.next_index, self.settings.message_bytes_max);
            self.send_entries(entries.unwrap_or_default(), effects);
        }
        let commit_is_news = self.progress.sent_commit < self.promptly_committed();
        // Behind the entries that it concerns it says the same, as long as these do not pile up.
        let is_news_behind =
            self.progress.sent_commit < self.log.commit_index() && self.progress.has_room(self.settings);
        if std::mem::take(&mut self.progress.check_due) && self.progress.is_fed() || is_news_behind && !commit_is_news {
            self.send_entries(Vec::new(), effects);
        }
        // To a follower that does not answer, heartbeats repeat the news; messages on their own account
        // would pile up before it with every read of the others.
        let round_is_news =
            self.progress.sent_round < self.round && self.progress.acked_round >= self.progress.sent_round;
        if commit_is_news || round_is_news || self.progress.heartbeat_due {
            self.send_heartbeat(effects);
        }
    }

    /// How much the prompt lane may commit: what the follower is known to have. What is committed beyond is on its way to
    /// it on the bulk lane, with word that it is.
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

    /// Sends the follower, which is fed, what comes next on the bulk lane; without entries, a question whether it has all
    /// that came before.
    fn send_entries(&mut self, entries: Vec<Entry>, effects: &mut Effects) {
        let prev_log_index = self.progress.next_index.previous();
        // `next_index` is behind the base and at most one past the end.
        let prev_log_term = self.log.term_at(prev_log_index).expect("the entry before the next is in the log");
        let bytes = entries.iter().map(Entry::size_bytes).sum();
        self.progress.sent(entries.last().map(|last| (last.index, bytes)));
        self.progress.checked = self.now;
        let leader_commit = self.log.commit_index();
        self.progress.sent_commit = leader_commit;
        // The round goes along, and is not counted as sent: rounds must not wait for bulk.
        let body = Body::AppendEntries { prev_log_index, prev_log_term, entries, leader_commit, round: self.round };
        effects.bulk.push((self.to, Message { term: self.term, body }));
    }

    fn send_heartbeat(&mut self, effects: &mut Effects) {
        let known = self.progress.match_index;
        // Where nothing is known, and before the base, every log matches at zero.
        let known_term = self.log.term_at(known).filter(|_| known >= self.log.base().index);
        let (prev_log_index, prev_log_term) = known_term.map_or((LogIndex(0), Term(0)), |term| (known, term));
        let leader_commit = self.promptly_committed();
        self.progress.sent_commit = self.progress.sent_commit.max(leader_commit);
        self.progress.sent_round = self.round;
        self.progress.heartbeat_due = false;
        let entries = Vec::new();
        let body = Body::AppendEntries { prev_log_index, prev_log_term, entries, leader_commit, round: self.round };
        let lane = if mutants::is_on(Mutant::HeartbeatBehindBulk) { &mut effects.bulk } else { &mut effects.send };
        lane.push((self.to, Message { term: self.term, body }));
    }
}
