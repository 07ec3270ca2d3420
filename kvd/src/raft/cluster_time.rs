//! Cluster time: the time that leaders stamp on entries, and by which leases and sessions end.
//!
//! A leader counts cluster time with its own clock from where it found it when elected. Heartbeats and read indexes
//! carry it, so that the next leader does not give back the time for which a leader was idle. The rules keep three
//! promises. An *end* is the end of a lease or session: a time in an entry, later than that entry's stamp.
//!
//! 1. **Time never goes backward in the log.** An elected leader has every committed entry (Leader Completeness, paper
//!    §5.4.3). It starts from the time of its last entry at least, and only adds to it.
//! 2. **Nothing ends early.** When a leader's time has passed an end, at least the difference between the end and the
//!    stamp of its entry was counted, after that entry was stamped, by the clocks of the leaders that had the entry in
//!    their logs, one after the other. Proof by induction over the terms. For entries that the leader itself stamped it
//!    is obvious, since it only adds what its clock counts. For the others it suffices that it holds for the time from
//!    which the leader starts:
//!    - The time of its last entry was stamped by a leader whose log was the same up to there (Log Matching, paper
//!      §5.3), and for which the promise held.
//!    - A heard time counts only if it is of *the leader that appended the last entry of the log*. That leader's log
//!      includes the whole log of this one, and its clock had counted that time before this one was elected. So the
//!      same holds.
//!
//!    Without that condition the promise would be broken. The time of a leader that is deposed, or that was elected
//!    without the entry, is counted beside the time of another:
//!
//!    ```text
//!    n1 leads term 1, and is cut off with n3    n3 hears its time up to 900
//!    n2 leads term 2, from the time 500         it grants a lease at 520 until 800, and n3 gets the entry
//!    n3 leads term 3                            from 900 the lease would end at once: n3 starts from what n2 told it
//!    ```
//!
//!    For the same reason the time of an entry that was cut off is forgotten.
//! 3. **Little is given back.** A leader that has committed its no-op is succeeded only by nodes that have an entry of
//!    its term, and therefore keep the time in its heartbeats. So a change of leader gives back at most the time since
//!    the last heartbeat that the next leader received, besides the election itself, for which nobody counts. A restart
//!    of all nodes gives back the time since the last entry; see [`Raft::mark_time`].
//!
//! A time that is delayed, duplicated or reordered is older than the newest one of its term and changes nothing. One of
//! an earlier term is not heard. A leader that lies about its time could end everything early, but it could as well
//! stamp its entries with any time: a member that lies is beyond what consensus survives (a [`super::Refusal`] and the
//! checks on frames keep out strangers and nonsense).
//!
//! A clock counts only while its node is scheduled: see [`Raft::count_time`].

use super::core::Raft;
use super::entry::Payload;
use super::role::{Leader, Role};
use super::types::{ClusterTime, NodeId, Term};
use crate::mutants::{self, Mutant};

/// Time without a stamped entry after which a leader logs an empty one, while anything can end. Milliseconds of cluster
/// time.
const MARK_TIME_MS: u64 = 1_000;

impl Raft {
    /// Returns the present cluster time if this node leads.
    pub fn cluster_time(&self) -> Option<ClusterTime> {
        match &self.role {
            Role::Leader(leader) => Some(leader.time),
            Role::Follower(_) | Role::PreCandidate(_) | Role::Candidate(_) => None,
        }
    }

    /// Counts the time between two calls of [`Raft::set_time`], if this node leads: at most the shortest election
    /// timeout.
    ///
    /// A leader that was not scheduled (SIGSTOP, a paused virtual machine) has not handled the renewals that reached it
    /// meanwhile, and others may have elected another leader, with which the holders of leases have renewed them. The
    /// bound is the shortest election timeout, not the longest. Within the shortest one no other leader is elected,
    /// since voters that have heard this leader help nobody (paper §6), so nobody else counts that time; beyond it
    /// another may, and both would count the same time. And no end is closer than that to a renewal that waits: whoever
    /// grants a lease must give it more than an election timeout. A leader that runs is never scheduled so rarely, or
    /// its followers would leave it.
    pub(super) fn count_time(&mut self, elapsed_ms: u64) {
        let counted_ms = match mutants::is_on(Mutant::PauseCounts) {
            true => elapsed_ms,
            false => elapsed_ms.min(self.settings.election_timeout_min_ms),
        };
        if let Role::Leader(leader) = &mut self.role {
            leader.time = ClusterTime(leader.time.0.saturating_add(counted_ms));
        }
    }

    /// Keeps the time that `from` has told in the current term, if it is the leader and this log ends with one of its
    /// entries. An old time changes nothing. Nodes of earlier versions tell none.
    pub(super) fn hear_time(&mut self, from: NodeId, time: Option<ClusterTime>) {
        let Some(time) = time else { return };
        let is_follower = matches!(&self.role, Role::Follower(follower) if follower.leader == Some(from));
        let has_its_entry = self.log.last_term() == self.term() || mutants::is_on(Mutant::TimeOfAnyLeader);
        if is_follower && has_its_entry {
            self.keep_time(self.term(), time);
        }
    }

    /// Keeps the time of a leader that leads no more: this node.
    pub(super) fn keep_own_time(&mut self, leader: &Leader) {
        // Its last entry is its own; its term may have ended by now.
        self.keep_time(self.log.last_term(), leader.time);
    }

    fn keep_time(&mut self, term: Term, time: ClusterTime) {
        let committed = self.log.term_at(self.log.commit_index()).unwrap_or_default();
        self.heard_times.keep(term, time, committed);
    }

    /// Returns the time from which this node counts when elected: that of its last entry, or a newer one that the
    /// leader which appended that entry has told it.
    pub(super) fn found_time(&self) -> ClusterTime {
        let heard = self.heard_times.of(self.log.last_term()).filter(|_| !mutants::is_on(Mutant::TimeRestarts));
        self.log.last_time().max(heard.unwrap_or_default())
    }

    /// Appends an empty entry if this node leads, has stamped no entry for a second, and `is_needed`: if anything can
    /// end. So a restart of all nodes, which forget what they have heard, gives back little more than a second. Call
    /// this with every tick.
    ///
    /// Nothing is appended while an entry waits to be committed: it would wait as well, and such entries would pile up
    /// in the log of a leader that cannot commit.
    pub fn mark_time(&mut self, is_needed: impl FnOnce() -> bool) {
        let Role::Leader(Leader { time, transfer: None, .. }) = &self.role else { return };
        let unmarked_ms = time.0.saturating_sub(self.log.last_time().0);
        let is_committed = self.log.commit_index() == self.log.last_index() || mutants::is_on(Mutant::MarksPileUp);
        if unmarked_ms >= MARK_TIME_MS && is_committed && !mutants::is_on(Mutant::TimeNotMarked) && is_needed() {
            self.append_as_leader(Payload::Noop);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::{
        Body, Configuration, Entry, HardState, Instant, Log, LogIndex, MemberInfo, Message, ReadId, Restored, Settings,
    };
    use std::collections::BTreeMap;

    fn entry(index: u64, term: u64, time: u64) -> Entry {
        Entry { index: LogIndex(index), term: Term(term), time: ClusterTime(time), payload: Payload::Noop }
    }

    /// Node 1 of three in term 1, with its first two entries, the first of them committed.
    fn node() -> Raft {
        let info = MemberInfo { name: "n".into(), client_url: "http://a".into(), peer_url: "http://a".into() };
        let configuration = Configuration::of_voters([1, 2, 3].map(|id| (NodeId(id), info.clone())));
        let mut log = Log::default();
        let first = Entry { payload: Payload::Configuration(configuration.clone()), ..entry(1, 1, 0) };
        [first, entry(2, 1, 100)].into_iter().for_each(|entry| log.append(entry));
        log.set_durable(LogIndex(2));
        log.commit(LogIndex(1));
        log.take_committed(usize::MAX);
        let hard_state = HardState { term: Term(1), vote: None };
        let configurations = BTreeMap::from([(LogIndex(1), configuration)]);
        Raft::new(NodeId(1), Settings::default(), 7, Restored { hard_state, log, configurations }, Instant(0))
    }

    /// Delivers an append of the leader of a term, whose time is `time`.
    fn append(raft: &mut Raft, (from, term): (u64, u64), prev: (u64, u64), entries: Vec<Entry>, time: Option<u64>) {
        let (prev_log_index, prev_log_term) = (LogIndex(prev.0), Term(prev.1));
        let (leader_commit, round, time) = (LogIndex(1), 0, time.map(ClusterTime));
        let body = Body::AppendEntries { prev_log_index, prev_log_term, entries, leader_commit, round, time };
        raft.step(NodeId(from), Message { term: Term(term), body });
    }

    fn heartbeat(raft: &mut Raft, leader: (u64, u64), time: u64) {
        append(raft, leader, (1, 1), Vec::new(), Some(time));
    }

    #[test]
    fn the_newest_time_counts_in_whatever_order_messages_arrive() {
        let mut raft = node();
        assert_eq!(raft.found_time(), ClusterTime(100), "of the last entry");
        for (time, newest) in [(50, 100), (900, 900), (800, 900), (900, 900), (901, 901)] {
            heartbeat(&mut raft, (2, 1), time);
            assert_eq!(raft.found_time(), ClusterTime(newest));
        }
        append(&mut raft, (2, 1), (1, 1), Vec::new(), None);
        assert_eq!(raft.found_time(), ClusterTime(901), "a message without a time takes nothing back");
        let answer = |time| Body::ReadIndexResponse { read: ReadId(1), read_index: LogIndex(1), time: Some(time) };
        raft.step(NodeId(2), Message { term: Term(1), body: answer(ClusterTime(950)) });
        assert_eq!(raft.found_time(), ClusterTime(950));
        raft.step(NodeId(3), Message { term: Term(1), body: answer(ClusterTime(9_999)) });
        assert_eq!(raft.found_time(), ClusterTime(950), "only the leader knows the time");
    }

    #[test]
    fn a_deposed_leader_is_not_heard() {
        let mut raft = node();
        heartbeat(&mut raft, (2, 1), 200);
        append(&mut raft, (3, 2), (2, 1), vec![entry(3, 2, 150)], Some(150));
        heartbeat(&mut raft, (2, 1), 900);
        assert_eq!(raft.found_time(), ClusterTime(150), "neither what it says now nor what it said before");
        heartbeat(&mut raft, (3, 2), 160);
        assert_eq!(raft.found_time(), ClusterTime(160));
    }

    #[test]
    fn a_leader_is_heard_once_its_first_entry_is_here() {
        let mut raft = node();
        heartbeat(&mut raft, (2, 1), 200);
        heartbeat(&mut raft, (3, 2), 900);
        assert_eq!(raft.found_time(), ClusterTime(200), "entry 2 may not be in the log of the new leader");
        append(&mut raft, (3, 2), (1, 1), vec![entry(2, 2, 130)], Some(140));
        assert_eq!(raft.found_time(), ClusterTime(140), "and it is not: its time says nothing any more");
        append(&mut raft, (2, 3), (1, 1), vec![entry(2, 1, 100)], Some(210));
        assert_eq!(raft.found_time(), ClusterTime(200), "until the log ends with that entry again");
    }

    #[test]
    fn the_time_of_an_entry_that_is_cut_off_is_forgotten() {
        let mut raft = node();
        append(&mut raft, (2, 1), (2, 1), vec![entry(3, 1, 900)], None);
        assert_eq!(raft.found_time(), ClusterTime(900));
        append(&mut raft, (3, 2), (1, 1), vec![entry(2, 2, 50)], None);
        assert_eq!(raft.found_time(), ClusterTime(50));
    }
}
