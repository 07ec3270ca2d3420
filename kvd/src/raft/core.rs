//! One node's consensus state, the calls that drive it, and the rules on terms that hold in every role (paper §5.1).
//!
//! Each call only changes state; [`Raft::effects`] then returns the actions to take. One call to it after several
//! others batches them: one message per follower, one write to disk.
//!
//! The handling of messages by role is in other files: elections in `election.rs`, replication in `replication.rs`
//! (leader) and `following.rs` (follower), reads in `reads.rs`, leadership transfer in `transfer.rs`, cluster time in
//! `cluster_time.rs`. `durability.rs` decides when a promise may leave the node.

use super::configuration::Configuration;
use super::durability::Durability;
use super::effects::{Effects, ReadOutcome};
use super::entry::{Entry, HardState, Payload};
use super::heard_times::HeardTimes;
use super::log::Log;
use super::message::{BallotId, Body, Message, ReadId};
use super::progress::FollowerProgress;
use super::role::{Ballot, Follower, Leader, Role, RoleName};
use super::settings::Settings;
use super::types::{Instant, LogIndex, NodeId, Term};
use super::waiting_reads::ForwardedReads;
use crate::mutants::{self, Mutant};
use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeMap;

/// One node's part in consensus.
///
/// Pure and deterministic: the caller passes in the time, randomness comes from a seeded generator, and the same calls
/// give the same effects.
#[derive(Debug)]
pub struct Raft {
    pub(super) id: NodeId,
    pub(super) settings: Settings,
    pub(super) random: StdRng,
    /// The time that the caller last reported.
    pub(super) clock: Instant,
    /// Time during which this node was running, used by all timers. See [`Raft::set_time`].
    pub(super) now: Instant,
    pub(super) hard_state: HardState,
    pub(super) log: Log,
    /// Every configuration in the log by its index. The last one is in force; truncation restores the one before it.
    pub(super) configurations: BTreeMap<LogIndex, Configuration>,
    pub(super) role: Role,
    pub(super) durability: Durability,
    pub(super) next_ballot: BallotId,
    pub(super) next_read: ReadId,
    pub(super) read_outcomes: Vec<ReadOutcome>,
    /// The newest cluster times heard from leaders.
    pub(super) heard_times: HeardTimes,
    /// A member has told this node that it was removed.
    pub(super) told_removed: bool,
}

/// State that a node reads from its disk at start.
#[derive(Debug, Default)]
pub struct Restored {
    /// Term and vote.
    pub hard_state: HardState,
    /// The log. The caller has already applied every entry that the log counts as applied.
    pub log: Log,
    /// Every configuration in that log by its index.
    pub configurations: BTreeMap<LogIndex, Configuration>,
}

/// Reason why a command was not appended to the log. It was not sent to any node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProposalRefusal {
    /// This node is not the leader.
    NotLeader {
        /// The leader, if known.
        leader: Option<NodeId>,
    },
    /// This node is transferring leadership, and accepts no commands until the transfer succeeds or is given up.
    TransferringLeadership,
}

impl Raft {
    /// Creates a node as it starts: a follower in the term it last knew.
    ///
    /// `seed` must differ between nodes, or their elections collide, and between incarnations of a node.
    pub fn new(id: NodeId, settings: Settings, seed: u64, restored: Restored, now: Instant) -> Self {
        let Restored { hard_state, log, configurations } = restored;
        assert!(log.last_term() <= hard_state.term, "log of term {}, but {hard_state:?}", log.last_term());
        let mut random = StdRng::seed_from_u64(seed);
        let (next_ballot, mut next_read) = (BallotId(random.random()), ReadId(random.random()));
        if mutants::is_on(Mutant::ReadIdsFromZero) {
            next_read = ReadId(0);
        }
        let durability = Durability::restored(&log);
        let role = Role::Follower(Follower::without_leader(now));
        let read_outcomes = Vec::new();
        let mut raft = Self {
            id,
            settings,
            random,
            clock: now,
            now,
            hard_state,
            log,
            configurations,
            role,
            durability,
            next_ballot,
            next_read,
            read_outcomes,
            heard_times: HeardTimes::default(),
            told_removed: false,
        };
        raft.become_follower(None);
        if let Role::Follower(follower) = &mut raft.role
            && raft.configurations.values().next_back().is_some_and(|last| last.is_sole_voter(id))
        {
            // There is no other voter to wait for.
            follower.election_deadline = now;
        }
        raft
    }

    /// Sets the time to `now`. Call this before stepping the messages that have arrived by then, so that a node that
    /// was paused handles its waiting messages before its timers judge the silence.
    ///
    /// A node that was paused, or not scheduled for a while, must not mistake its own absence for that of its peers:
    /// their messages may not even have been read from its sockets yet. So no step counts for more than half a
    /// heartbeat, and every running timer continues from where it stood. That costs no safety, which rests on no timer,
    /// and little time: a node that is running takes steps of a few milliseconds.
    pub fn set_time(&mut self, now: Instant) {
        let elapsed_ms = now.ms_since(self.clock);
        self.clock = self.clock.max(now);
        let step_ms = match mutants::is_on(Mutant::AbsenceCounts) {
            true => elapsed_ms,
            false => elapsed_ms.min(self.settings.heartbeat_ms / 2),
        };
        self.now = self.now.plus_ms(step_ms);
        self.count_time(elapsed_ms);
        self.durability.wait_for_disk(step_ms);
        self.was_absent(elapsed_ms - step_ms);
    }

    /// Sets the time to `now` when nothing else has arrived, and acts on every timer that has run out. Call this every
    /// few milliseconds.
    pub fn tick(&mut self, now: Instant) {
        self.set_time(now);
        match &self.role {
            Role::Follower(Follower { election_deadline, .. })
            | Role::PreCandidate(Ballot { election_deadline, .. })
            | Role::Candidate(Ballot { election_deadline, .. }) => {
                if self.now >= *election_deadline {
                    self.pre_campaign();
                }
            }
            Role::Leader(_) => self.tick_leader(),
        }
        self.retry_forwarded_reads();
    }

    /// Handles a message that has arrived.
    pub fn step(&mut self, from: NodeId, message: Message) {
        let Message { term, body } = message;
        // A PreVote or its answer is not yet a vote, so it changes no term (thesis §9.6).
        match body {
            Body::PreVote { ballot, last_log_index, last_log_term } => {
                return self.answer_pre_vote(from, term, ballot, (last_log_index, last_log_term));
            }
            Body::PreVoteResponse { ballot, asked_in: _, granted } => {
                return self.count_pre_vote(from, term, ballot, granted);
            }
            // The term is not adopted either: adopting it would depose the leader as well (paper §6).
            Body::RequestVote { transfer: false, .. } if term > self.term() && self.hears_leader(from) => return,
            _ => {}
        }
        if term > self.term() {
            self.adopt_term(term);
        }
        let stale = term < self.term()
            && !(mutants::is_on(Mutant::StaleAckAccepted) && matches!(body, Body::AppendAccepted { .. }));
        match body {
            Body::PreVote { .. } | Body::PreVoteResponse { .. } => {}
            Body::RequestVote { last_log_index, last_log_term, transfer } => {
                self.answer_vote(from, stale, (last_log_index, last_log_term), transfer);
            }
            Body::RequestVoteResponse { granted } if !stale => self.count_vote(from, granted),
            Body::AppendEntries { prev_log_index, .. } if stale => self.refuse_stale_leader(from, prev_log_index),
            Body::AppendEntries { prev_log_index, prev_log_term, entries, leader_commit, round, time } => {
                self.follow(from);
                let prev = (prev_log_index, prev_log_term);
                self.append_from_leader(from, prev, entries, leader_commit, round);
                self.hear_time(from, time);
            }
            Body::AppendAccepted { match_index, round } if !stale => self.append_accepted(from, match_index, round),
            Body::AppendRejected { prev_log_index, hint_index, hint_term, round } if !stale => {
                self.append_rejected(from, prev_log_index, (hint_index, hint_term), round);
            }
            Body::ReadIndex { read } if !stale => self.read_for_follower(from, read),
            Body::ReadIndexResponse { read, read_index, time } if !stale => {
                self.hear_time(from, time);
                self.read_answered(read, read_index, time);
            }
            Body::TimeoutNow => self.timeout_now(from, stale),
            // Answers of an earlier term say nothing about this one: the entries they acknowledged may have been
            // overwritten since.
            Body::RequestVoteResponse { .. }
            | Body::AppendAccepted { .. }
            | Body::AppendRejected { .. }
            | Body::ReadIndex { .. }
            | Body::ReadIndexResponse { .. } => {}
        }
    }

    /// Appends a command to the log, to be replicated by the next [`Raft::effects`]. Returns the index of the entry,
    /// which has the current term.
    ///
    /// # Errors
    /// [`ProposalRefusal`] if this node is not the leader or is transferring leadership.
    pub fn propose(&mut self, command: Bytes) -> Result<LogIndex, ProposalRefusal> {
        match &self.role {
            Role::Leader(Leader { transfer: Some(_), .. }) => Err(ProposalRefusal::TransferringLeadership),
            Role::Leader(_) => Ok(self.append_as_leader(Payload::Command(command))),
            Role::Follower(_) | Role::PreCandidate(_) | Role::Candidate(_) => {
                Err(ProposalRefusal::NotLeader { leader: self.leader() })
            }
        }
    }

    /// Handles the loss of `peer`: the connection closed and dialling again is refused, so its process is gone.
    ///
    /// A follower that loses its leader this way stops naming it and campaigns after a short delay instead of an
    /// election timeout, by PreVote first. Voters that still hear the leader refuse, so one broken link alone elects
    /// nobody.
    pub fn peer_lost(&mut self, peer: NodeId) {
        match &mut self.role {
            Role::Leader(leader) => {
                if let Some(progress) = leader.progress.get_mut(&peer) {
                    progress.probe_from(progress.next_index);
                    progress.is_gone = true;
                }
                leader.lost_target(peer);
            }
            Role::Follower(follower) if follower.leader == Some(peer) => self.campaign_soon(peer),
            Role::Follower(_) | Role::PreCandidate(_) | Role::Candidate(_) => {}
        }
    }

    /// Handles the opening of the bulk lane to `peer`, the first time or again: messages in flight on it may be lost.
    pub fn bulk_opened(&mut self, peer: NodeId) {
        if let Role::Leader(leader) = &mut self.role
            && let Some(progress) = leader.progress.get_mut(&peer)
        {
            progress.probe_from(progress.next_index);
        }
    }

    /// Marks the bulk lane to `peer` as stalled: for two of the longest election timeouts the caller has had something
    /// to send there, none of it got through, and dialling again did not help. The mark stays until the follower
    /// acknowledges more than it has so far. A leader that gets no entries through to a quorum must not keep leading
    /// only because its heartbeats are answered.
    ///
    /// A follower that has all entries is not marked: the next entry may well get through, and if not, the caller
    /// reports the stall again. If such stalls counted, stalls from an hour ago would add up to a quorum.
    pub fn bulk_stalled(&mut self, peer: NodeId) {
        let last_index = self.log.last_index();
        if let Role::Leader(leader) = &mut self.role
            && !mutants::is_on(Mutant::DeadBulkLaneLeads)
            && let Some(progress) = leader.progress.get_mut(&peer)
        {
            progress.is_bulk_stalled |= progress.match_index < last_index;
        }
    }

    /// Returns the actions to take after the calls since the last time.
    pub fn effects(&mut self) -> Effects {
        let mut effects = self.effects_to_send();
        effects.apply = self.log.take_committed(self.settings.apply_bytes_max);
        self.log.evict(self.settings.cache_bytes_max);
        effects
    }

    /// Returns the same without entries to apply, which stay for the next time.
    pub fn effects_to_send(&mut self) -> Effects {
        self.start_read_round();
        let mut effects = Effects::default();
        self.replicate(&mut effects);
        self.tell_transfer_target();
        effects.write = self.next_write();
        effects.send.append(&mut self.durability.ready);
        effects.reads = std::mem::take(&mut self.read_outcomes);
        self.log.evict(self.settings.cache_bytes_max);
        effects
    }

    /// Returns the entries that the next effects include.
    pub fn to_apply(&self) -> impl Iterator<Item = &Entry> {
        self.log.committed(self.settings.apply_bytes_max)
    }

    /// Returns true if committed entries are left that the last effects did not include.
    pub fn has_unapplied(&self) -> bool {
        self.log.has_unapplied()
    }

    /// Returns the id of this node.
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// The latest term this node has seen.
    pub fn term(&self) -> Term {
        self.hard_state.term
    }

    /// Term and vote as they are now, durable or not.
    pub fn hard_state(&self) -> HardState {
        self.hard_state
    }

    /// Returns the current role of the node.
    pub fn role(&self) -> RoleName {
        match self.role {
            Role::Follower(_) => RoleName::Follower,
            Role::PreCandidate(_) => RoleName::PreCandidate,
            Role::Candidate(_) => RoleName::Candidate,
            Role::Leader(_) => RoleName::Leader,
        }
    }

    /// Returns the leader of this term, if known and not lost.
    pub fn leader(&self) -> Option<NodeId> {
        match &self.role {
            Role::Follower(follower) => follower.leader,
            Role::PreCandidate(_) | Role::Candidate(_) => None,
            Role::Leader(_) => Some(self.id),
        }
    }

    /// Returns the commit index of this term's leader, once that includes an entry of its term and therefore everything
    /// that was ever acknowledged before; `None` until then.
    pub fn known_commit_index(&self) -> Option<LogIndex> {
        let commit_index = match &self.role {
            Role::Follower(follower) if follower.leader.is_some() => follower.leader_commit,
            Role::Leader(_) => self.log.commit_index(),
            Role::Follower(_) | Role::PreCandidate(_) | Role::Candidate(_) => return None,
        };
        self.log.matches(commit_index, self.term()).then_some(commit_index)
    }

    /// Returns the progress of each follower, in the order of the ids, if this node leads; otherwise nothing.
    pub fn followers(&self) -> Vec<FollowerProgress> {
        match &self.role {
            Role::Leader(leader) => leader.progress.iter().map(|(id, progress)| progress.of(*id)).collect(),
            Role::Follower(_) | Role::PreCandidate(_) | Role::Candidate(_) => Vec::new(),
        }
    }

    /// The log.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// The configuration in force: the last one in the log, committed or not (paper §6).
    pub fn configuration(&self) -> &Configuration {
        static NONE: Configuration = Configuration::EMPTY;
        self.configurations.values().next_back().unwrap_or(&NONE)
    }

    /// Returns true if this node counts for quorums.
    pub(super) fn is_voter(&self) -> bool {
        self.configuration().is_voter(self.id)
    }

    /// Enters a higher term seen in a message, as a follower that has voted for nobody (paper §5.1).
    pub(super) fn adopt_term(&mut self, term: Term) {
        assert!(term > self.term(), "term {term} after {}", self.term());
        self.set_hard_state(HardState { term, vote: None });
        self.become_follower(None);
    }

    /// Becomes a follower in the current term. The vote stays as it is: forgetting it within a term would allow a
    /// second one.
    pub(super) fn become_follower(&mut self, leader: Option<NodeId>) {
        if mutants::is_on(Mutant::VoteCleared) && !matches!(self.role, Role::Follower(_)) {
            self.hard_state.vote = None;
        }
        let election_deadline = self.now.plus_ms(self.draw_election_timeout());
        let follower = Follower { leader, election_deadline, ..Follower::without_leader(self.now) };
        self.change_role(Role::Follower(follower));
    }

    /// Ends the current role and enters the next. Every change of role goes through here, so requests that waited on
    /// the old role are answered.
    pub(super) fn change_role(&mut self, role: Role) {
        let ended = std::mem::replace(&mut self.role, role);
        let waiting = match ended {
            Role::Follower(follower) => follower.reads.into_tokens(),
            Role::Leader(leader) => {
                self.keep_own_time(&leader);
                leader.reads.into_tokens()
            }
            Role::PreCandidate(_) | Role::Candidate(_) => Vec::new(),
        };
        self.fail_reads(waiting);
    }

    /// Draws the election timeout, anew for each election (paper §5.2), in milliseconds.
    pub(super) fn draw_election_timeout(&mut self) -> u64 {
        let Settings { election_timeout_min_ms, election_timeout_max_ms, .. } = self.settings;
        self.random.random_range(election_timeout_min_ms..=election_timeout_max_ms)
    }

    /// Appends an entry and records its configuration if it has one.
    pub(super) fn append(&mut self, entry: Entry) {
        if let Payload::Configuration(configuration) = &entry.payload {
            self.configurations.insert(entry.index, configuration.clone());
        }
        self.log.append(entry);
    }
}

impl Follower {
    pub(super) fn without_leader(now: Instant) -> Self {
        Self {
            leader: None,
            heard: now,
            election_deadline: now,
            leader_lost: false,
            matched: LogIndex(0),
            acked: LogIndex(0),
            round: 0,
            leader_commit: LogIndex(0),
            reads: ForwardedReads::default(),
        }
    }
}
