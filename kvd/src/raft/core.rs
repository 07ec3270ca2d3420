//! The value that is one node's part in consensus: its state, the calls that drive it, and the rules
//! on terms that hold in every role (paper §5.1).
//!
//! Each call only changes state; [`Raft::effects`] then says what is to be done. Calling it once after
//! several others batches them: one message per follower, one write to disk.
//!
//! What a role does with a message stands elsewhere: elections in `election.rs`, replication in
//! `replication.rs` (leader) and `following.rs` (follower), reads in `reads.rs`, the hand-over to another
//! leader in `transfer.rs`; when a promise may leave the node, in `durability.rs`.

use super::configuration::Configuration;
use super::durability::Durability;
use super::effects::{Effects, ReadOutcome};
use super::entry::{Entry, HardState, Payload};
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
/// Pure and deterministic: time is handed in, chance comes from a seeded generator, and the same
/// calls give the same effects.
#[derive(Debug)]
pub struct Raft {
    pub(super) id: NodeId,
    pub(super) settings: Settings,
    pub(super) random: StdRng,
    /// What the caller said last of the time.
    pub(super) clock: Instant,
    /// The time that this node has been there for: timers go by it. See [`Raft::set_time`].
    pub(super) now: Instant,
    pub(super) hard_state: HardState,
    pub(super) log: Log,
    /// Every configuration in the log by its index: the last one is in force, and truncation brings
    /// back the one before it.
    pub(super) configurations: BTreeMap<LogIndex, Configuration>,
    pub(super) role: Role,
    pub(super) durability: Durability,
    pub(super) next_ballot: BallotId,
    pub(super) next_read: ReadId,
    pub(super) read_outcomes: Vec<ReadOutcome>,
    /// A member has said that this node is none any more.
    pub(super) told_removed: bool,
}

/// What a node finds on its disk when it starts.
#[derive(Debug, Default)]
pub struct Restored {
    /// Its term and vote.
    pub hard_state: HardState,
    /// Its log. What it counts as applied has been applied by the caller.
    pub log: Log,
    /// Every configuration in that log by its index.
    pub configurations: BTreeMap<LogIndex, Configuration>,
}

/// Why a command was not appended to the log; it went nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProposalRefusal {
    /// This node does not lead; perhaps it knows who does.
    NotLeader {
        /// The leader, if known.
        leader: Option<NodeId>,
    },
    /// This node transferring leadership, and takes nothing more until that has come about or been given up.
    HandingOver,
}

impl Raft {
    /// A node as it starts: a follower in the term it last knew.
    ///
    /// `seed` must differ between nodes, or their elections collide, and between lives of a node.
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
            told_removed: false,
        };
        raft.become_follower(None);
        if let Role::Follower(follower) = &mut raft.role
            && raft.configurations.values().next_back().is_some_and(|last| last.is_sole_voter(id))
        {
            // There is nobody to wait for.
            follower.election_deadline = now;
        }
        raft
    }

    /// It is `now`. To be called before what has arrived by then is stepped, so that a node which was
    /// paused hears what waited for it before its timers judge the silence.
    ///
    /// A node that was paused, or not scheduled for a while, must not take its own absence for that of the others: what
    /// they sent may not even have been read from its sockets yet. So no step counts for more than half a heartbeat, and
    /// every timer that was running goes on from where it stood. That costs no safety, which rests on no timer, and
    /// little time: whoever is awake to judge takes steps of a few milliseconds.
    pub fn set_time(&mut self, now: Instant) {
        let elapsed_ms = now.ms_since(self.clock);
        self.clock = self.clock.max(now);
        let step_ms = match mutants::is_on(Mutant::AbsenceCounts) {
            true => elapsed_ms,
            false => elapsed_ms.min(self.settings.heartbeat_ms / 2),
        };
        self.now = self.now.plus_ms(step_ms);
        self.durability.wait_for_disk(step_ms);
        self.was_absent(elapsed_ms - step_ms);
    }

    /// It is `now`, and nothing else has arrived: acts on every timer that has run out. To be called
    /// every few milliseconds.
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

    /// A message has arrived.
    pub fn step(&mut self, from: NodeId, message: Message) {
        let Message { term, body } = message;
        // Who only asks or answers about a vote that is not yet one changes no term (thesis §9.6).
        match body {
            Body::PreVote { ballot, last_log_index, last_log_term } => {
                return self.answer_pre_vote(from, term, ballot, (last_log_index, last_log_term));
            }
            Body::PreVoteResponse { ballot, asked_in: _, granted } => {
                return self.count_pre_vote(from, term, ballot, granted);
            }
            // The term is not adopted either: it would depose the leader all the same (paper §6).
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
            Body::AppendEntries { prev_log_index, prev_log_term, entries, leader_commit, round } => {
                self.follow(from);
                let prev = (prev_log_index, prev_log_term);
                self.append_from_leader(from, prev, entries, leader_commit, round);
            }
            Body::AppendAccepted { match_index, round } if !stale => self.append_accepted(from, match_index, round),
            Body::AppendRejected { prev_log_index, hint_index, hint_term, round } if !stale => {
                self.append_rejected(from, prev_log_index, (hint_index, hint_term), round);
            }
            Body::ReadIndex { read } if !stale => self.read_for_follower(from, read),
            Body::ReadIndexResponse { read, read_index } if !stale => self.read_answered(read, read_index),
            Body::TimeoutNow => self.timeout_now(from, stale),
            // Answers of an earlier term say nothing about this one: what they acknowledged may have
            // been overwritten since.
            Body::RequestVoteResponse { .. }
            | Body::AppendAccepted { .. }
            | Body::AppendRejected { .. }
            | Body::ReadIndex { .. }
            | Body::ReadIndexResponse { .. } => {}
        }
    }

    /// Appends a command to the log, to be replicated by the next [`Raft::effects`]. Returns its
    /// index; it is in the log under the present term.
    ///
    /// # Errors
    /// [`ProposalRefusal`] if this node does not lead, or is about to lead no more.
    pub fn propose(&mut self, command: Bytes) -> Result<LogIndex, ProposalRefusal> {
        match &self.role {
            Role::Leader(Leader { transfer: Some(_), .. }) => Err(ProposalRefusal::HandingOver),
            Role::Leader(_) => Ok(self.append_as_leader(Payload::Command(command))),
            Role::Follower(_) | Role::PreCandidate(_) | Role::Candidate(_) => {
                Err(ProposalRefusal::NotLeader { leader: self.leader() })
            }
        }
    }

    /// The connection to `peer` closed and dialling it again is refused: its process is gone.
    ///
    /// A follower that has lost its leader so stops naming it and campaigns after a short delay
    /// instead of an election timeout, by PreVote first. Voters that still hear the leader refuse, so
    /// one broken link alone elects nobody.
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

    /// The bulk lane to `peer` is open, for the first time or anew: what was on its way there may be lost.
    pub fn bulk_opened(&mut self, peer: NodeId) {
        if let Role::Leader(leader) = &mut self.role
            && let Some(progress) = leader.progress.get_mut(&peer)
        {
            progress.probe_from(progress.next_index);
        }
    }

    /// The bulk lane to `peer` stands still: the caller has had something to send there for two of the longest election
    /// timeouts, of which nothing got through, and dialling anew did not help. So it is until the follower acknowledges
    /// more than it has so far. A leader that reaches no quorum with entries must not go on only because its heartbeats
    /// are answered.
    ///
    /// It is nothing to a follower that has all entries: the next one may well get through, and if not, the caller says
    /// so again. Held against it until then, stalls of an hour ago would add up to a quorum.
    pub fn bulk_stalled(&mut self, peer: NodeId) {
        let last_index = self.log.last_index();
        if let Role::Leader(leader) = &mut self.role
            && !mutants::is_on(Mutant::DeadBulkLaneLeads)
            && let Some(progress) = leader.progress.get_mut(&peer)
        {
            progress.is_bulk_stalled |= progress.match_index < last_index;
        }
    }

    /// What is to be done after the calls since the last time.
    pub fn effects(&mut self) -> Effects {
        self.start_read_round();
        let mut effects = Effects::default();
        self.replicate(&mut effects);
        self.tell_transfer_target();
        effects.write = self.next_write();
        effects.send.append(&mut self.durability.ready);
        effects.apply = self.log.take_committed(self.settings.apply_bytes_max);
        effects.reads = std::mem::take(&mut self.read_outcomes);
        self.log.evict(self.settings.cache_bytes_max);
        effects
    }

    /// Whether committed entries are left that the last effects did not include.
    pub fn has_unapplied(&self) -> bool {
        self.log.has_unapplied()
    }

    /// This node.
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

    /// What the node is at the moment.
    pub fn role(&self) -> RoleName {
        match self.role {
            Role::Follower(_) => RoleName::Follower,
            Role::PreCandidate(_) => RoleName::PreCandidate,
            Role::Candidate(_) => RoleName::Candidate,
            Role::Leader(_) => RoleName::Leader,
        }
    }

    /// The leader of this term, if known and not lost.
    pub fn leader(&self) -> Option<NodeId> {
        match &self.role {
            Role::Follower(follower) => follower.leader,
            Role::PreCandidate(_) | Role::Candidate(_) => None,
            Role::Leader(_) => Some(self.id),
        }
    }

    /// How far the leader of this term has committed, as soon as that includes an entry of its term,
    /// and therefore all that was ever acknowledged before it; `None` until then.
    pub fn known_commit_index(&self) -> Option<LogIndex> {
        let commit_index = match &self.role {
            Role::Follower(follower) if follower.leader.is_some() => follower.leader_commit,
            Role::Leader(_) => self.log.commit_index(),
            Role::Follower(_) | Role::PreCandidate(_) | Role::Candidate(_) => return None,
        };
        self.log.matches(commit_index, self.term()).then_some(commit_index)
    }

    /// How far each other member is, in the order of the ids, if this node leads; else nothing.
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

    /// Whether this node counts for quorums.
    pub(super) fn is_voter(&self) -> bool {
        self.configuration().is_voter(self.id)
    }

    /// Enters a higher term seen in a message, as a follower that has voted for nobody (paper §5.1).
    pub(super) fn adopt_term(&mut self, term: Term) {
        assert!(term > self.term(), "term {term} after {}", self.term());
        self.set_hard_state(HardState { term, vote: None });
        self.become_follower(None);
    }

    /// Enters the role of a follower in the present term. The vote stays as it is: forgetting it
    /// within a term would allow a second one.
    pub(super) fn become_follower(&mut self, leader: Option<NodeId>) {
        if mutants::is_on(Mutant::VoteCleared) && !matches!(self.role, Role::Follower(_)) {
            self.hard_state.vote = None;
        }
        let election_deadline = self.now.plus_ms(self.draw_election_timeout());
        let follower = Follower { leader, election_deadline, ..Follower::without_leader(self.now) };
        self.change_role(Role::Follower(follower));
    }

    /// The one way out of a role and into the next: answers what waited on the old one.
    pub(super) fn change_role(&mut self, role: Role) {
        let ended = std::mem::replace(&mut self.role, role);
        let waiting = match ended {
            Role::Follower(follower) => follower.reads.into_tokens(),
            Role::Leader(leader) => leader.reads.into_tokens(),
            Role::PreCandidate(_) | Role::Candidate(_) => Vec::new(),
        };
        self.fail_reads(waiting);
    }

    /// A follower's patience, drawn anew for each election (paper §5.2), in milliseconds.
    pub(super) fn draw_election_timeout(&mut self) -> u64 {
        let Settings { election_timeout_min_ms, election_timeout_max_ms, .. } = self.settings;
        self.random.random_range(election_timeout_min_ms..=election_timeout_max_ms)
    }

    /// Appends an entry and notes the configuration it may carry.
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
