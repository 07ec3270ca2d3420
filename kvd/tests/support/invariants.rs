//! What must hold after every step of every node (paper Figure 3, and what it rests on).
//!
//! Violations panic with the values. Everything is judged by what nodes send, what they have on disk
//! and what they say in public; nothing by what they believe inside.

use super::machine::Machine;
use kvd::raft::{Body, Entry, LogIndex, Message, NodeId, ReadOutcome, ReadToken, RoleName, Term};
use std::collections::BTreeMap;

/// What was seen so far, of all nodes in all their lives.
#[derive(Default)]
pub(crate) struct Invariants {
    leaders: BTreeMap<Term, NodeId>,
    /// Whom each node voted for in each term, as it told others.
    votes: BTreeMap<(NodeId, Term), NodeId>,
    /// Each entry by its place, and the term of the entry before it.
    entries: BTreeMap<(LogIndex, Term), Entry>,
    previous_terms: BTreeMap<(LogIndex, Term), Term>,
    /// Term of each committed entry, and the term in which it was seen to be committed.
    committed: Vec<(Term, Term)>,
    /// The committed entry at each index, once applied anywhere.
    applied: Vec<Entry>,
    /// How far the log of a node was compared: its last entry and its commit index then.
    compared: BTreeMap<NodeId, (LogIndex, Term, LogIndex)>,
    /// Reads that are not answered, with what was committed when they began.
    reads: BTreeMap<ReadToken, (NodeId, LogIndex)>,
}

impl Invariants {
    /// How much is known to be committed.
    pub(crate) fn committed_index(&self) -> LogIndex {
        LogIndex(self.committed.len() as u64)
    }

    /// Terms that had a leader.
    pub(crate) fn elections(&self) -> usize {
        self.leaders.len()
    }

    pub(crate) fn read_begins(&mut self, token: ReadToken, at: NodeId) {
        self.reads.insert(token, (at, self.committed_index()));
    }

    /// Linearizability: the read will see everything that was committed when it began. Each read is
    /// answered once. Returns whether it was served.
    pub(crate) fn read_ends(&mut self, outcome: &ReadOutcome, at: NodeId) -> bool {
        let begun = self.reads.remove(&outcome.token);
        let Some((asked_at, floor)) = begun else { panic!("{at} answers {:?} twice", outcome.token) };
        assert_eq!(asked_at, at, "a read answered elsewhere");
        if let Some(read_index) = outcome.read_index {
            assert!(read_index >= floor, "{at} reads at {read_index}, and {floor} was committed before");
        }
        outcome.read_index.is_some()
    }

    /// A crash takes the node's reads with it, and what was known of its memory.
    pub(crate) fn crashed(&mut self, id: NodeId) {
        self.reads.retain(|_, (at, _)| *at != id);
        self.compared.remove(&id);
    }

    pub(crate) fn unanswered_reads(&self) -> usize {
        self.reads.len()
    }

    /// A node hands out a message: it promises nothing that its disk would forget.
    pub(crate) fn message_leaves(&mut self, sender: &Machine, to: NodeId, message: &Message) {
        let id = sender.id();
        let durable = sender.disk.hard_state;
        let Message { term, body } = message;
        assert!(durable.term >= *term, "{id} speaks in term {term} with {durable:?} on disk");
        let voted = match body {
            Body::RequestVote { .. } => Some(id),
            Body::RequestVoteResponse { granted: true } => Some(to),
            _ => None,
        };
        if let Some(candidate) = voted {
            let on_disk = durable.term > *term || durable.vote == Some(candidate);
            assert!(on_disk, "{id} votes for {candidate} in term {term} with {durable:?} on disk");
            let first = *self.votes.entry((id, *term)).or_insert(candidate);
            assert_eq!(first, candidate, "{id} votes twice in term {term}");
        }
        if let Body::AppendEntries { prev_log_index, prev_log_term, entries, .. } = body {
            let mut before = (*prev_log_index, *prev_log_term);
            for entry in entries {
                assert_eq!(entry.index, before.0.next(), "{id} sends a gap");
                self.log_matching(entry, before.1);
                before = (entry.index, entry.term);
            }
        }
    }

    /// Same index and term: the same entry, after the same entry (Log Matching).
    fn log_matching(&mut self, entry: &Entry, previous_term: Term) {
        let place = (entry.index, entry.term);
        let first = self.entries.entry(place).or_insert_with(|| entry.clone());
        assert_eq!(first, entry, "two entries at one place");
        let first = *self.previous_terms.entry(place).or_insert(previous_term);
        assert_eq!(first, previous_term, "two logs differ before {place:?}");
    }

    /// Entries are applied in order and alike everywhere (State Machine Safety).
    pub(crate) fn applies(&mut self, id: NodeId, entries: &[Entry]) {
        for entry in entries {
            match self.applied.get(entry.index.previous().0 as usize) {
                Some(first) => assert_eq!(first, entry, "{id} applies another entry than others"),
                None => self.applied.push(entry.clone()),
            }
        }
    }

    /// A node has changed.
    pub(crate) fn check(&mut self, changed: NodeId, machines: &BTreeMap<NodeId, Machine>) {
        let machine = &machines[&changed];
        if !machine.is_running() {
            return;
        }
        self.check_log(machine);
        self.check_commit(machine, machines);
        if machine.raft().role() == RoleName::Leader {
            self.check_leader(machine, machines);
        }
    }

    fn check_log(&mut self, machine: &Machine) {
        let (id, log) = (machine.id(), machine.raft().log());
        let (applied, commit, last) = (log.applied_index(), log.commit_index(), log.last_index());
        assert!(applied <= commit && commit <= last, "{id}: applied {applied}, commit {commit}, last {last}");
        assert!(log.durable_index() <= last, "{id}: durable {} of {last}", log.durable_index());
        assert!(machine.raft().term() >= machine.disk.hard_state.term, "{id} forgot a term");
        // Logs that agree in one entry agree in all before it, so the last one will do.
        let on_disk = term_on_disk(machine, log.durable_index());
        assert_eq!(on_disk, log.term_at(log.durable_index()), "{id}: what is durable is not on disk");
        let (compared_last, compared_term, _) = self.compared.get(&id).copied().unwrap_or_default();
        if (compared_last, compared_term) != (last, log.last_term()) {
            let term_at = |index| log.term_at(index).expect("no gap in a log");
            for index in (1..=last.0).map(LogIndex) {
                let (term, previous) = (term_at(index), term_at(index.previous()));
                let first = *self.previous_terms.entry((index, term)).or_insert(previous);
                assert_eq!(first, previous, "{id}: two logs differ before {index} of term {term}");
            }
        }
    }

    /// What is committed is on a majority of disks, never changes, and never goes back.
    fn check_commit(&mut self, machine: &Machine, machines: &BTreeMap<NodeId, Machine>) {
        let (id, log) = (machine.id(), machine.raft().log());
        let commit = log.commit_index();
        let (_, _, compared) = self.compared.get(&id).copied().unwrap_or_default();
        assert!(commit >= compared, "{id} takes back commit {compared}");
        for index in (compared.0 + 1..=commit.0).map(LogIndex) {
            let term = log.term_at(index).expect("a committed entry is in the log");
            if let Some((first, _)) = self.committed.get(index.previous().0 as usize) {
                assert_eq!(*first, term, "{id} commits another entry at {index}");
                continue;
            }
            let holds = |machine: &&Machine| term_on_disk(machine, index) == Some(term);
            let copies = machines.values().filter(holds).count();
            assert!(2 * copies > machines.len(), "{id} commits {index} of term {term}, which is on {copies} disks");
            self.committed.push((term, machine.raft().term()));
        }
        self.compared.insert(id, (log.last_index(), log.last_term(), commit));
    }

    fn check_leader(&mut self, machine: &Machine, machines: &BTreeMap<NodeId, Machine>) {
        let (id, raft) = (machine.id(), machine.raft());
        let term = raft.term();
        let known = self.leaders.insert(term, id);
        assert!(known.is_none_or(|leader| leader == id), "{known:?} and {id} lead term {term} (Election Safety)");
        if known.is_none() {
            let earlier = self.committed.iter().zip(1..).filter(|((_, committed_in), _)| *committed_in < term);
            for ((entry_term, _), index) in earlier {
                let held = raft.log().term_at(LogIndex(index));
                assert_eq!(held, Some(*entry_term), "{id} leads term {term} without {index} (Leader Completeness)");
            }
        }
        for progress in raft.followers() {
            assert!(progress.next_index > progress.match_index, "{id}: {progress:?}");
            let follower = &machines[&progress.follower];
            let moved_on =
                follower.disk.hard_state.term > term || follower.is_running() && follower.raft().term() > term;
            if !moved_on {
                let on_disk = term_on_disk(follower, progress.match_index);
                assert_eq!(on_disk, raft.log().term_at(progress.match_index), "{id} believes {progress:?}");
            }
        }
    }
}

/// Term of the entry at `index`, zero at index zero, `None` past the end.
fn term_on_disk(machine: &Machine, index: LogIndex) -> Option<Term> {
    match index.0.checked_sub(1) {
        None => Some(Term(0)),
        Some(place) => machine.disk.entries.get(place as usize).map(|entry| entry.term),
    }
}
