//! Elections: follower, pre-candidate, candidate, leader.
//!
//! A follower that hears no leader for one election timeout first asks whether it could win (PreVote,
//! thesis §9.6) and raises its term only when a quorum says yes, so a node coming back from a
//! partition leaves a healthy leader alone. Voting follows paper §5.2 and the up-to-date rule of
//! §5.4.1. A voter that hears a live leader helps to elect nobody (paper §6).
//!
//! None of this may cost liveness. A refusal carries the voter's term, and a node with a lower term adopts it, so that
//! a long log in an old term and a short log in a new one cannot block each other. A leader of an old term that meets a
//! node of a newer one steps down, so that the cluster reaches a term in which that node takes part again.

use super::core::Raft;
use super::entry::{HardState, Payload};
use super::message::{BallotId, Body};
use super::progress::Progress;
use super::role::{Ballot, Leader, Role};
use super::types::{Instant, LogIndex, NodeId, Term};
use super::waiting_reads::LeaderReads;
use crate::mutants::{self, Mutant};
use rand::RngExt;
use std::collections::BTreeMap;

/// Delay between the campaigns of voters after the connection to a leader is lost. They campaign one after the other,
/// in the order of their ids, so that they do not split the vote. Milliseconds.
const LOST_LEADER_SLOT_MS: u64 = 15;

/// Longest random delay of a voter after its slot opens. Milliseconds.
const LOST_LEADER_JITTER_MS: u64 = 8;

impl Raft {
    /// Returns true if this node has a live leader, so that it should not help `candidate` to replace it.
    ///
    /// A leader counts as live for itself: CheckQuorum makes it step down when it no longer is. A request from the
    /// leader itself shows that it no longer leads.
    pub(super) fn hears_leader(&self, candidate: NodeId) -> bool {
        match &self.role {
            Role::Leader(_) => true,
            Role::Follower(follower) => {
                let silent_ms = self.now.ms_since(follower.heard);
                follower.leader.is_some_and(|leader| leader != candidate)
                    && silent_ms < self.settings.election_timeout_min_ms
            }
            Role::PreCandidate(_) | Role::Candidate(_) => false,
        }
    }

    /// Handles the loss of the connection to the leader: forgets the leader and campaigns shortly.
    pub(super) fn campaign_soon(&mut self, lost: NodeId) {
        let before_us = |id: &NodeId| *id < self.id && *id != lost;
        let slot = self.configuration().voters.iter().filter(|id| before_us(id)).count() as u64;
        let delay_ms = slot * LOST_LEADER_SLOT_MS + self.random.random_range(0..=LOST_LEADER_JITTER_MS);
        self.become_follower(None);
        if let Role::Follower(follower) = &mut self.role {
            follower.election_deadline = follower.election_deadline.min(self.now.plus_ms(delay_ms));
            follower.leader_lost = true;
        }
    }

    /// Asks every voter whether it would vote for this node, without leaving the current term.
    pub(super) fn pre_campaign(&mut self) {
        let leader_lost = match &self.role {
            Role::Follower(follower) => follower.leader_lost,
            Role::PreCandidate(ballot) => ballot.leader_lost,
            Role::Candidate(_) | Role::Leader(_) => false,
        };
        if !self.may_be_needed() || self.told_removed || self.disk_stuck_ms().is_some() {
            // A learner never campaigns; it waits to be contacted. A removed node could only disturb the cluster, and a
            // node with a stuck disk could win nothing (see `stuck_disk`).
            return self.become_follower(None);
        }
        let mut ballot = self.open_ballot(leader_lost);
        ballot.granted.insert(self.id, self.now);
        let (id, (last_log_index, last_log_term)) = (ballot.id, ballot.claimed);
        self.change_role(Role::PreCandidate(ballot));
        self.ask_voters(&Body::PreVote { ballot: id, last_log_index, last_log_term });
        self.campaign_if_pre_elected();
    }

    /// Returns true if an election may need this node: it is a voter of the configuration in force, or of an earlier
    /// one that may still be in force elsewhere because the later ones are not known to be committed. A node being
    /// removed may be the only one left with the entry that removes it, and then no other node can win: their logs are
    /// shorter. Its own vote does not count there (thesis §4.2.2, figure 4.6).
    fn may_be_needed(&self) -> bool {
        let committed = self.configurations.range(..=self.log.commit_index()).next_back();
        let later = self.configurations.range(self.log.commit_index().next()..);
        committed.into_iter().chain(later).any(|(_, configuration)| configuration.is_voter(self.id))
    }

    fn open_ballot(&mut self, leader_lost: bool) -> Ballot {
        let mut patience_ms = self.draw_election_timeout();
        if leader_lost {
            // Voters that have not noticed yet soon will, and asking again disturbs nobody.
            let heartbeat_ms = self.settings.heartbeat_ms;
            patience_ms = self.random.random_range(heartbeat_ms / 2..=heartbeat_ms);
        }
        let election_deadline = self.now.plus_ms(patience_ms);
        let id = self.next_ballot;
        self.next_ballot = BallotId(id.0.wrapping_add(1));
        let claimed = (self.log.last_index(), self.log.last_term());
        Ballot { id, claimed, granted: BTreeMap::new(), election_deadline, leader_lost }
    }

    /// Returns true if a quorum has said yes.
    ///
    /// A voter says yes to a log that is at least as up to date as its own (paper §5.4.1), and only that ensures that
    /// the winner has every committed entry (Leader Completeness, §5.4.3). So the yes counts only for the log that was
    /// claimed.
    fn is_granted(&self, ballot: &Ballot) -> bool {
        let log = (self.log.last_index(), self.log.last_term());
        assert!(
            ballot.claimed == log || mutants::is_on(Mutant::CandidateKeepsBallot),
            "asked for votes with a log that ends in {:?}, and counts them with one that ends in {log:?}",
            ballot.claimed
        );
        self.configuration().is_quorum(|id| ballot.granted.contains_key(&id))
    }

    fn ask_voters(&mut self, question: &Body) {
        let configuration = self.configuration();
        let others: Vec<NodeId> =
            configuration.everyone().filter(|id| configuration.is_voter(*id) && *id != self.id).collect();
        for voter in others {
            self.send(voter, question.clone());
        }
    }

    /// Answers whether this node would vote for `from` in the term after `term`. Promises nothing.
    pub(super) fn answer_pre_vote(
        &mut self,
        from: NodeId,
        term: Term,
        ballot: BallotId,
        (last_index, last_term): (LogIndex, Term),
    ) {
        let has_leader = self.hears_leader(from) && !mutants::is_on(Mutant::PreVoteDespiteLeader);
        let granted = term >= self.term() && self.log.is_up_to_date(last_index, last_term) && !has_leader;
        self.send(from, Body::PreVoteResponse { ballot, asked_in: term, granted });
    }

    pub(super) fn count_pre_vote(&mut self, from: NodeId, term: Term, asked: BallotId, granted: bool) {
        if term > self.term() && !mutants::is_on(Mutant::PreVoteIgnoresTerm) {
            // A node with a lower term than a voter cannot win, so it adopts the voter's term here. This is the only
            // such place, so a PreVote never raises the term of its receiver.
            return self.adopt_term(term);
        }
        let Role::PreCandidate(ballot) = &mut self.role else { return };
        if asked == ballot.id {
            ballot.granted.extend(granted.then_some((from, self.now)));
            self.campaign_if_pre_elected();
        }
    }

    fn campaign_if_pre_elected(&mut self) {
        if let Role::PreCandidate(ballot) = &self.role
            && self.disk_stuck_ms().is_none()
            && self.is_granted(ballot)
        {
            self.campaign(false);
        }
    }

    /// Starts an election in the next term (paper §5.2). In a `transfer`, the current leader has asked for it.
    pub(super) fn campaign(&mut self, transfer: bool) {
        self.set_hard_state(HardState { term: self.term().next(), vote: Some(self.id) });
        let ballot = self.open_ballot(false);
        let (last_log_index, last_log_term) = ballot.claimed;
        self.change_role(Role::Candidate(ballot));
        self.ask_voters(&Body::RequestVote { last_log_index, last_log_term, transfer });
        // The answer is held until the vote is on disk, as are the requests: otherwise a crash could make this node
        // forget its vote and vote again.
        self.send(self.id, Body::RequestVoteResponse { granted: true });
    }

    /// Votes for `from` in the current term, or refuses.
    pub(super) fn answer_vote(
        &mut self,
        from: NodeId,
        stale: bool,
        (last_index, last_term): (LogIndex, Term),
        transfer: bool,
    ) {
        let free = self.hard_state.vote.is_none_or(|vote| vote == from);
        let following = self.leader().is_some();
        let up_to_date =
            self.log.is_up_to_date(last_index, last_term) || transfer && mutants::is_on(Mutant::TransferSkipsLogCheck);
        let granted = !stale && free && !following && up_to_date;
        if granted {
            if self.hard_state.vote.is_none() {
                self.set_hard_state(HardState { vote: Some(from), ..self.hard_state });
            }
            // Reset the election timeout: after voting, a node gives the candidate time to win.
            self.become_follower(None);
        }
        self.send(from, Body::RequestVoteResponse { granted });
    }

    pub(super) fn count_vote(&mut self, from: NodeId, granted: bool) {
        let (voters, now) = (self.configuration().voters.clone(), self.now);
        if let Role::Candidate(ballot) = &mut self.role {
            if mutants::is_on(Mutant::DoubledVoteCounts) && granted && ballot.granted.contains_key(&from) {
                let other = voters.iter().find(|id| !ballot.granted.contains_key(id));
                ballot.granted.extend(other.map(|id| (*id, now)));
            }
            ballot.granted.extend(granted.then_some((from, now)));
        }
        if let Role::Candidate(ballot) = &self.role
            && self.is_granted(ballot)
        {
            let heard = ballot.granted.clone();
            self.lead(&heard);
        }
    }

    /// Becomes leader and opens the term with a no-op, which commits everything before it (paper §5.4.2, §8). So far
    /// the leader has `heard` only the nodes that voted for it in this term.
    fn lead(&mut self, heard: &BTreeMap<NodeId, Instant>) {
        let others = self.configuration().everyone().filter(|id| *id != self.id);
        let progress = others.map(|id| {
            let heard = heard.get(&id).copied();
            (id, Progress { heard, ..Progress::new(self.log.last_index(), self.now) })
        });
        let progress = progress.collect();
        let leader = Leader {
            progress,
            awake_round: 0,
            awake_index: LogIndex(0),
            next_heartbeat: self.clock.plus_ms(self.settings.heartbeat_ms),
            time: self.found_time(),
            is_leaving: false,
            first_index: self.log.last_index().next(),
            reads: LeaderReads::default(),
            fetched: Vec::new(),
            transfer: None,
            next_escape: self.now,
        };
        self.change_role(Role::Leader(leader));
        if !mutants::is_on(Mutant::NoNoop) {
            self.append_as_leader(Payload::Noop);
        }
    }
}
