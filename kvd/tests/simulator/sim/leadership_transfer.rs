//! Transfer of leadership. Leaders are asked to transfer leadership to any target, in whatever state it is, and the
//! outcomes are counted.

use super::coverage::Kind;
use super::events::Event;
use super::invariants::{Checked, Violation, ensure};
use super::node::{Input, Node};
use super::world::World;
use kvd::node::{LeadershipTransfer, TransferError};
use kvd::raft::{Body, Instant, Message, NodeId, Raft, RoleName, Term};

/// A caller that asks for a transfer learns the outcome within the time limit of requests plus this slack. Milliseconds
/// of the node's own clock.
const ANSWER_SLACK_MS: u64 = 100;

/// Transfers that may fail in a healthy cluster: because of a message that was in flight for long, or the end of a node
/// with a damaged disk.
const ACCIDENTS_MAX: usize = 3;

/// A transfer that a process was asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AskedLeadershipTransfer {
    leadership_transfer: LeadershipTransfer,
    since: Instant,
}

/// State of a node when a message arrived.
#[derive(Clone, Copy, Debug)]
pub(super) struct Before {
    term: Term,
    leader: Option<NodeId>,
}

impl Before {
    pub(super) fn of(raft: &Raft) -> Self {
        Self { term: raft.term(), leader: raft.leader() }
    }

    /// Checks that a node campaigns only when the leader that it follows tells it to, in that leader's term.
    pub(super) fn check(self, from: NodeId, message: &Message, raft: &Raft) -> Checked {
        let Self { term, leader } = self;
        if message.body != Body::TimeoutNow || raft.role() != RoleName::Candidate || raft.term() == term {
            return Ok(());
        }
        ensure!(
            "Leadership transfer by the Leader",
            leader == Some(from) && message.term == term,
            "n{} follows {leader:?} in term {term}, and campaigns at the word of n{} in term {}",
            raft.id().0,
            from.0,
            message.term
        );
        Ok(())
    }
}

impl World {
    /// Schedules repeated requests for a transfer, if they are part of this run.
    pub(super) fn leadership_transfer_later(&mut self) {
        if let Some(mean_ms) = self.plan.leadership_transfer_every_ms {
            let at = self.now + self.chance.exponential(mean_ms * 1_000);
            self.queue.schedule(at, Event::LeadershipTransfer);
        }
    }

    /// Asks a leader to transfer leadership, to a target of its choice or to a node that may be behind or dead. Now and
    /// then asks a node that does not lead.
    pub(super) fn want_another_leader(&mut self) -> Checked {
        if self.is_calm {
            return Ok(());
        }
        let leaders = self.leaders();
        let asked = match self.chance.any_of(&leaders) {
            Some(leader) if self.chance.percent(95) => leader,
            _ => self.any_node(),
        };
        let to = self.chance.percent(75).then(|| self.any_node());
        self.leadership_transfer_later();
        self.input(asked, Input::LeadershipTransfer(to))
    }

    /// Asks a node to transfer leadership to this node, or to a target of its choice.
    pub(super) fn leadership_transfer(&mut self, id: NodeId, to: Option<NodeId>) -> Checked {
        let since = self.nodes[&id].time(self.now);
        let Some(process) = self.process(id) else { return Ok(()) };
        match process.replica.leadership_transfer(to) {
            Err(refusal) => {
                self.trace.note(|| format!("n{} does not transfer leadership: {refusal}", id.0));
                self.coverage.count(Kind::LeadershipTransferRefused);
            }
            Ok(leadership_transfer) => {
                process.leadership_transfers.push(AskedLeadershipTransfer { leadership_transfer, since });
                let raft = process.replica.raft();
                let last = raft.log().last_index();
                let lags = |follower: &kvd::raft::FollowerProgress| {
                    follower.follower == leadership_transfer.to && follower.match_index < last
                };
                let (term, is_behind) = (raft.term(), raft.followers().iter().any(lags));
                self.transferred.insert(term);
                self.trace.note(|| format!("n{} is to transfer leadership to n{}", id.0, leadership_transfer.to.0));
                self.coverage.count(Kind::LeadershipTransfer);
                if is_behind {
                    self.coverage.count(Kind::LeadershipTransferToLagging);
                }
                if self.nodes[&leadership_transfer.to].process().is_none_or(|process| process.paused) {
                    self.coverage.count(Kind::LeadershipTransferToDead);
                }
            }
        }
        self.after_input(id)
    }

    /// Reports the outcome of finished transfers to their callers.
    pub(super) fn leadership_transfers_end(&mut self, id: NodeId) {
        let Some(process) = self.nodes.get_mut(&id).and_then(Node::process_mut) else { return };
        let replica = &process.replica;
        for asked in process
            .leadership_transfers
            .extract_if(.., |asked| replica.leadership_transfer_ended(&asked.leadership_transfer).is_some())
        {
            let ended = replica.leadership_transfer_ended(&asked.leadership_transfer);
            self.trace.note(|| format!("n{} has transferred leadership: {ended:?}", id.0));
            self.coverage.count(match ended {
                Some(Err(TransferError::GivenUp)) => Kind::LeadershipTransferGivenUp,
                Some(Err(TransferError::OtherElected { .. } | TransferError::NoLeader)) => {
                    Kind::LeadershipTransferOvertaken
                }
                Some(Ok(())) | None => Kind::LeadershipTransferDone,
            });
        }
    }

    /// Checks that no caller waits for ever for the outcome of a transfer.
    pub(super) fn check_leadership_transfers_in_time(&self, id: NodeId) -> Checked {
        let time = self.nodes[&id].time(self.now);
        // A deferred effect may hold the answer.
        let Some(process) = self.nodes[&id].process().filter(|process| !process.will_carry_out) else { return Ok(()) };
        let waited =
            process.leadership_transfers.iter().map(|asked| time.ms_since(asked.since)).max().unwrap_or_default();
        let allowed = self.plan.request_timeout_ms + ANSWER_SLACK_MS;
        ensure!(
            "Bounded Answers",
            waited <= allowed,
            "n{} transfers leadership for {waited} ms, and says nothing",
            id.0
        );
        Ok(())
    }

    /// Checks that in a healthy cluster leadership goes to the requested target, within the leader's patience.
    pub(super) fn check_leadership_transfer(&mut self) -> Checked {
        let patience = 2 * self.plan.settings.election_timeout_max_ms * 1_000;
        let mut accidents = Vec::new();
        while accidents.len() < ACCIDENTS_MAX {
            let Some((leader, _)) = self.followed_leader() else { return Ok(()) };
            let votes = |id: &NodeId| self.last_configuration().is_some_and(|members| members.voters.contains(id));
            let others: Vec<NodeId> =
                self.healthy().map(|node| node.id).filter(|id| *id != leader && votes(id)).collect();
            let Some(to) = self.chance.any_of(&others) else { return Ok(()) };
            self.leadership_transfer(leader, Some(to))?;
            let end = self.now + patience;
            while self.now < end {
                self.step()?;
                if self.nodes[&to].role() == Some(RoleName::Leader) {
                    self.coverage.count(Kind::LeadershipTransferInCalm);
                    return Ok(());
                }
            }
            accidents.push(format!("from n{} to n{}", leader.0, to.0));
        }
        let what = format!("leadership is not transferred: {}. {}", accidents.join(", "), self.describe());
        Err(Violation { invariant: "Liveness", what })
    }
}
