//! Linearizable reads by ReadIndex (thesis §6.4): finds the index from which on a read may be served.
//!
//! The leader records its commit index, confirms by a round of heartbeats begun after the read that it still leads, and
//! only then lets the read wait for that index to be applied. A follower asks its leader for the index and serves the
//! read itself. Both batch their rounds: one is in flight at a time, and serves all reads that waited when it began.
//!
//! A leader gives out no read index before it has committed an entry of its own term: until then its commit index may
//! be behind entries that an earlier leader acknowledged. Reads wait for the no-op instead.

use super::core::Raft;
use super::effects::{ReadOutcome, ReadToken};
use super::message::{Body, ReadId};
use super::progress::Progress;
use super::role::{Follower, Leader, Role};
use super::types::{ClusterTime, LogIndex, NodeId};
use super::waiting_reads::{Question, Reader, Round};
use crate::mutants::{self, Mutant};

/// Heartbeats after which an unanswered ReadIndex request is sent to the leader again.
const FORWARD_RETRY_HEARTBEATS: u64 = 2;

impl Raft {
    /// Forgets every read that no client waits for any longer. Call this when reads have expired: a leader that cannot
    /// commit its no-op, or a follower whose leader does not answer, would keep them forever.
    pub fn retain_reads(&mut self, is_waited_for: impl Fn(ReadToken) -> bool) {
        match &mut self.role {
            Role::Leader(Leader { reads, .. }) => {
                let is_needed = |reader: &Reader| match reader {
                    Reader::Local(token) => is_waited_for(*token),
                    // The follower asks again under the same id if it still needs the index.
                    Reader::Follower(..) => true,
                };
                reads.waiting.retain(is_needed);
                if let Some(round) = &mut reads.confirming {
                    round.readers.retain(is_needed);
                }
            }
            Role::Follower(Follower { reads, .. }) => {
                reads.waiting.retain(|token| is_waited_for(*token));
                if let Some(question) = &mut reads.asked {
                    question.tokens.retain(|token| is_waited_for(*token));
                }
                // An answer to a request without waiting reads is ignored, and the next request is sent at once.
                reads.asked.take_if(|question| question.tokens.is_empty());
            }
            Role::PreCandidate(_) | Role::Candidate(_) => {}
        }
    }

    /// Number of reads waiting here for their index, and of follower requests.
    pub fn waiting_reads(&self) -> usize {
        match &self.role {
            Role::Leader(Leader { reads, .. }) => {
                reads.waiting.len() + reads.confirming.as_ref().map_or(0, |round| round.readers.len())
            }
            Role::Follower(Follower { reads, .. }) => {
                reads.waiting.len() + reads.asked.as_ref().map_or(0, |question| question.tokens.len())
            }
            Role::PreCandidate(_) | Role::Candidate(_) => 0,
        }
    }

    /// Asks for the index from which a read that begins now may be served. The answer comes with the effects of this
    /// call or a later one.
    pub fn read_index(&mut self, token: ReadToken) {
        match &mut self.role {
            Role::Leader(leader) => leader.reads.waiting.push(Reader::Local(token)),
            Role::Follower(follower) if follower.leader.is_some() => follower.reads.waiting.push(token),
            Role::Follower(_) | Role::PreCandidate(_) | Role::Candidate(_) => self.fail_reads(vec![token]),
        }
    }

    pub(super) fn fail_reads(&mut self, tokens: Vec<ReadToken>) {
        let failed = tokens.into_iter().map(|token| ReadOutcome { token, read_index: None, time: None });
        self.read_outcomes.extend(failed);
    }

    /// Handles a follower's ReadIndex request. A follower has one request in flight at a time, so a new one replaces
    /// the one before, and a repeated one is answered once.
    pub(super) fn read_for_follower(&mut self, from: NodeId, read: ReadId) {
        let Role::Leader(Leader { reads, .. }) = &mut self.role else { return };
        let is_same = |reader: &Reader| matches!(reader, Reader::Follower(id, asked) if (*id, *asked) == (from, read));
        if reads.confirming.as_ref().is_some_and(|round| round.readers.iter().any(is_same)) {
            return;
        }
        reads.waiting.retain(|reader| !matches!(reader, Reader::Follower(id, _) if *id == from));
        reads.waiting.push(Reader::Follower(from, read));
    }

    /// Starts the next step for the waiting reads unless one is in progress: a round on a leader, a ReadIndex request
    /// on a follower.
    pub(super) fn start_read_round(&mut self) {
        let may_begin = self.has_committed_in_term();
        match &mut self.role {
            Role::Leader(Leader { reads, time, .. }) => {
                if may_begin && reads.confirming.is_none() && !reads.waiting.is_empty() {
                    // The round number is new, so every answer that names it was given after this moment.
                    reads.round += 1;
                    let readers = std::mem::take(&mut reads.waiting);
                    let read_index = self.log.commit_index();
                    reads.confirming = Some(Round { number: reads.round, read_index, time: *time, readers });
                    self.confirm_reads();
                }
            }
            Role::Follower(follower) => {
                let Some(leader) = follower.leader else { return };
                if follower.reads.asked.is_none() && !follower.reads.waiting.is_empty() {
                    let tokens = std::mem::take(&mut follower.reads.waiting);
                    let read = self.next_read;
                    self.next_read = ReadId(read.0.wrapping_add(1));
                    follower.reads.asked = Some(Question { read, tokens, asked_at: self.now });
                    self.send(leader, Body::ReadIndex { read });
                }
            }
            Role::PreCandidate(_) | Role::Candidate(_) => {}
        }
    }

    /// Answers the reads of the round in progress if a quorum has confirmed it.
    pub(super) fn confirm_reads(&mut self) {
        let Role::Leader(leader) = &self.role else { return };
        let Some(Round { number, .. }) = &leader.reads.confirming else { return };
        let round = number.saturating_sub(u64::from(mutants::is_on(Mutant::OldRoundAccepted)));
        let confirmed = |id: NodeId| {
            let acked = |progress: &Progress| progress.acked_round >= round;
            id == self.id || mutants::is_on(Mutant::ReadWithoutRound) || leader.progress.get(&id).is_some_and(acked)
        };
        if !self.configuration().is_quorum(confirmed) {
            return;
        }
        let Role::Leader(leader) = &mut self.role else { return };
        let Some(Round { read_index, time, readers, .. }) = leader.reads.confirming.take() else { return };
        // Index and time belong together: this node led when it took both, which is what the round has confirmed.
        let time = Some(time);
        for reader in readers {
            match reader {
                Reader::Local(token) => {
                    self.read_outcomes.push(ReadOutcome { token, read_index: Some(read_index), time });
                }
                Reader::Follower(id, read) => self.send(id, Body::ReadIndexResponse { read, read_index, time }),
            }
        }
    }

    /// Handles the leader's answer to a ReadIndex request. Only the request in flight is still unanswered.
    pub(super) fn read_answered(&mut self, read: ReadId, read_index: LogIndex, time: Option<ClusterTime>) {
        let Role::Follower(follower) = &mut self.role else { return };
        if let Some(question) = follower.reads.asked.take_if(|question| question.read == read) {
            let answered = |token| ReadOutcome { token, read_index: Some(read_index), time };
            self.read_outcomes.extend(question.tokens.into_iter().map(answered));
        }
    }

    /// Sends a ReadIndex request again, since request or answer may be lost: for the same reads and under the same id.
    /// Reads that began since are not among them, so an answer serves its reads however late it comes, and links on
    /// which every answer is late still serve reads.
    pub(super) fn retry_forwarded_reads(&mut self) {
        let retry_ms = FORWARD_RETRY_HEARTBEATS * self.settings.heartbeat_ms;
        let Role::Follower(Follower { leader: Some(leader), reads, .. }) = &mut self.role else { return };
        let Some(question) = &mut reads.asked else { return };
        if self.now.ms_since(question.asked_at) >= retry_ms {
            question.asked_at = self.now;
            let (leader, read) = (*leader, question.read);
            self.send(leader, Body::ReadIndex { read });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::{
        ClusterTime, Configuration, Entry, HardState, Instant, Log, MemberInfo, Message, Payload, Restored, RoleName,
        Settings, Term,
    };
    use std::collections::BTreeMap;

    /// Node 1 of three.
    fn node() -> Raft {
        let info = MemberInfo { name: "n".into(), client_url: "http://a".into(), peer_url: "http://a".into() };
        let configuration = Configuration::of_voters([1, 2, 3].map(|id| (NodeId(id), info.clone())));
        let mut log = Log::default();
        let payload = Payload::Configuration(configuration.clone());
        log.append(Entry { index: LogIndex(1), term: Term(1), time: ClusterTime(0), payload });
        log.set_durable(LogIndex(1));
        let hard_state = HardState { term: Term(1), vote: None };
        let configurations = BTreeMap::from([(LogIndex(1), configuration)]);
        Raft::new(NodeId(1), Settings::default(), 7, Restored { hard_state, log, configurations }, Instant(0))
    }

    fn settle(raft: &mut Raft) -> Vec<Message> {
        let mut sent = Vec::new();
        loop {
            let effects = raft.effects();
            sent.extend(effects.bulk.into_iter().chain(effects.send).map(|(_, message)| message));
            let Some(write) = effects.write else { return sent };
            raft.written(write.id);
        }
    }

    /// A leader elected by node 2, which then acknowledges nothing: the no-op of the term is not committed.
    fn leader_without_commit() -> Raft {
        let mut raft = node();
        (0..=300).step_by(5).for_each(|ms| raft.tick(Instant(ms)));
        let ballot = settle(&mut raft).iter().rev().find_map(|message| match message.body {
            Body::PreVote { ballot, .. } => Some(ballot),
            _ => None,
        });
        let body = Body::PreVoteResponse { ballot: ballot.expect("it asks"), asked_in: Term(1), granted: true };
        raft.step(NodeId(2), Message { term: Term(1), body });
        settle(&mut raft);
        raft.step(NodeId(2), Message { term: Term(2), body: Body::RequestVoteResponse { granted: true } });
        settle(&mut raft);
        assert_eq!(raft.role(), RoleName::Leader);
        raft
    }

    fn follower() -> Raft {
        let mut raft = node();
        let (prev_log_index, prev_log_term) = (LogIndex(1), Term(1));
        let body = Body::AppendEntries {
            prev_log_index,
            prev_log_term,
            entries: Vec::new(),
            leader_commit: LogIndex(1),
            round: 0,
            time: None,
        };
        raft.step(NodeId(2), Message { term: Term(2), body });
        settle(&mut raft);
        raft
    }

    #[test]
    fn reads_that_nobody_waits_for_are_forgotten() {
        for mut raft in [leader_without_commit(), follower()] {
            for token in 1..=100 {
                raft.read_index(ReadToken(token));
                settle(&mut raft);
            }
            assert_eq!(raft.waiting_reads(), 100, "{:?}", raft.role());
            raft.retain_reads(|token| token.0 > 90);
            assert_eq!(raft.waiting_reads(), 10, "{:?}", raft.role());
        }
    }

    #[test]
    fn a_question_without_readers_makes_room_for_the_next() {
        let mut raft = follower();
        let asks = |raft: &mut Raft| {
            settle(raft).iter().filter(|message| matches!(message.body, Body::ReadIndex { .. })).count()
        };
        raft.read_index(ReadToken(1));
        assert_eq!(asks(&mut raft), 1);
        raft.read_index(ReadToken(2));
        assert_eq!(asks(&mut raft), 0, "one question at a time");
        raft.retain_reads(|token| token.0 == 2);
        assert_eq!(asks(&mut raft), 1);
    }

    #[test]
    fn a_follower_has_one_question_at_its_leader() {
        let mut raft = leader_without_commit();
        for read in [1, 1, 2, 2, 3] {
            raft.step(NodeId(2), Message { term: Term(2), body: Body::ReadIndex { read: ReadId(read) } });
            raft.step(NodeId(3), Message { term: Term(2), body: Body::ReadIndex { read: ReadId(read) } });
        }
        assert_eq!(raft.waiting_reads(), 2);
    }
}
