//! Leadership transfer (thesis §3.10): a leader makes a voter of its choice the next leader, without waiting for an
//! election timeout.
//!
//! The leader takes no new proposals, brings the target's log up to its own, and sends it TimeoutNow. The target then
//! campaigns at once, without PreVote. Its RequestVote asks voters to consider it although they hear a leader, since
//! that leader asked for the campaign (§4.2.3). If the target does not lead within an election timeout, the leader
//! gives up and takes proposals again.
//!
//! This does not affect safety. TimeoutNow has the effect of an expired election timeout, which may occur at any node
//! at any time: a candidate campaigns in a new term, and every voter grants one vote in it, on disk before the
//! candidate is told, and only to a log as good as its own. A transfer only waives the voters' loyalty to a leader that
//! they hear, which merely prevents disruption: no read and no commit rests on it, since each is confirmed by a quorum.
//! So a TimeoutNow that is lost, duplicated or late costs at most an election. To avoid even that, it counts only from
//! the leader that the target follows in its current term. That excludes a late one of an earlier term; a duplicate
//! finds the target in the next term.
//!
//! Entries that wait for a quorum are not lost: the target has them all before it campaigns, so the next leader has
//! them.

use super::core::Raft;
use super::message::Body;
use super::progress::{Flow, Progress};
use super::role::{Leader, Role, Transfer};
use super::types::{LogIndex, NodeId};
use crate::mutants::{self, Mutant};
use std::cmp::Reverse;
use thiserror::Error;

impl Leader {
    /// Ends the transfer if `peer` is its target: the process is gone.
    pub(super) fn lost_target(&mut self, peer: NodeId) {
        self.transfer.take_if(|transfer| transfer.to == peer);
    }
}

/// Reason why a leadership transfer was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TransferRefusal {
    /// This node is not the leader.
    #[error("this node does not lead")]
    NotLeader {
        /// The leader, if known.
        leader: Option<NodeId>,
    },
    /// The target is no member.
    #[error("the target is not a member of the cluster")]
    NotMember,
    /// The target is a learner or about to be removed: it cannot lead.
    #[error("the target is not a voter, so it cannot lead")]
    NotVoter,
    /// There is no other voter, or none was heard lately.
    #[error("no other voter was heard lately")]
    NoTarget,
    /// A transfer to another node is in progress.
    #[error("leadership is being transferred to another node")]
    UnderWay {
        /// The target of that transfer.
        to: NodeId,
    },
}

impl Raft {
    /// Starts a leadership transfer to a voter, or joins one in progress to the same voter. If no voter is named, joins
    /// any transfer in progress, or else chooses the most up-to-date voter that was heard lately. Returns the target;
    /// if that is this node itself, nothing is done.
    ///
    /// [`Raft::leader`] shows the result; [`Raft::transfer_target`] returns `None` once the transfer is given up.
    ///
    /// # Errors
    /// [`TransferRefusal`]; nothing has changed then.
    pub fn transfer_leadership(&mut self, to: Option<NodeId>) -> Result<NodeId, TransferRefusal> {
        let Role::Leader(leader) = &self.role else {
            return Err(TransferRefusal::NotLeader { leader: self.leader() });
        };
        let under_way = leader.transfer.as_ref().map(|transfer| transfer.to);
        let to = match to {
            Some(to) if !self.configuration().members.contains_key(&to) => return Err(TransferRefusal::NotMember),
            Some(to) if !self.configuration().voters.contains(&to) => return Err(TransferRefusal::NotVoter),
            Some(to) => to,
            None => under_way.or_else(|| self.best_target()).ok_or(TransferRefusal::NoTarget)?,
        };
        match under_way {
            Some(other) if other != to => return Err(TransferRefusal::UnderWay { to: other }),
            Some(_) => return Ok(to),
            None if to == self.id => return Ok(to),
            None => {}
        }
        let give_up_at = self.now.plus_ms(self.settings.election_timeout_max_ms);
        let Role::Leader(leader) = &mut self.role else { unreachable!("it was one just now") };
        leader.transfer = Some(Transfer { to, give_up_at, told: false });
        if let Some(progress) = leader.progress.get_mut(&to) {
            // The follower's answer shows which entries it missed.
            progress.check_due |= progress.match_index < self.log.last_index();
        }
        Ok(to)
    }

    /// Returns the target of the leadership transfer in progress.
    pub fn transfer_target(&self) -> Option<NodeId> {
        match &self.role {
            Role::Leader(leader) => leader.transfer.as_ref().map(|transfer| transfer.to),
            Role::Follower(_) | Role::PreCandidate(_) | Role::Candidate(_) => None,
        }
    }

    /// Returns the voter that can take over soonest: one that is not known to be gone, and has most of the log.
    fn best_target(&self) -> Option<NodeId> {
        let Role::Leader(leader) = &self.role else { return None };
        let is_candidate =
            |(id, progress): &(&NodeId, &Progress)| self.configuration().voters.contains(id) && self.hears(progress);
        let rank = |(id, progress): &(&NodeId, &Progress)| {
            let is_fed = matches!(progress.flow, Flow::Replicate { .. });
            let follows = self.follows(**id);
            (follows, is_fed, progress.match_index, progress.heard, Reverse(**id))
        };
        leader.progress.iter().filter(is_candidate).max_by_key(rank).map(|(id, _)| *id)
    }

    /// Gives up a transfer that has timed out, or whose target no longer votes. `heartbeat`: tells the target again.
    pub(super) fn tick_transfer(&mut self, heartbeat: bool) {
        let can_lead = self.transfer_target().is_some_and(|to| self.configuration().voters.contains(&to));
        let Role::Leader(Leader { transfer, .. }) = &mut self.role else { return };
        let Some(under_way) = transfer else { return };
        under_way.told &= !heartbeat;
        let is_over = self.now >= under_way.give_up_at && !mutants::is_on(Mutant::TransferNeverGivenUp);
        if is_over || !can_lead {
            *transfer = None;
        }
    }

    /// Tells the target of a transfer to campaign, once its log matches this one.
    pub(super) fn tell_transfer_target(&mut self) {
        let last_index = self.log.last_index();
        let Role::Leader(leader) = &mut self.role else { return };
        let Some(transfer) = leader.transfer.as_mut().filter(|transfer| !transfer.told) else { return };
        let match_index = leader.progress.get(&transfer.to).map_or(LogIndex(0), |progress| progress.match_index);
        if match_index == last_index {
            transfer.told = true;
            let to = transfer.to;
            self.send(to, Body::TimeoutNow);
        }
    }

    /// Handles TimeoutNow: the leader `from` transfers leadership to this node.
    pub(super) fn timeout_now(&mut self, from: NodeId, stale: bool) {
        let follows = matches!(&self.role, Role::Follower(follower) if follower.leader == Some(from)) && !stale;
        let is_late = stale && mutants::is_on(Mutant::LateTimeoutNowAccepted) && !matches!(self.role, Role::Leader(_));
        let can_lead = self.configuration().voters.contains(&self.id) && self.disk_stuck_ms().is_none();
        if (follows || is_late) && can_lead {
            self.campaign(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::{
        ClusterTime, Configuration, Entry, Goal, HardState, Instant, Log, MemberInfo, Message, Payload, Restored,
        RoleName, Settings, Term,
    };
    use std::collections::{BTreeMap, BTreeSet};

    /// Node 1, the only voter, with node 2 as learner.
    fn with_learner(id: u64) -> Raft {
        let info = MemberInfo { name: "n".into(), client_url: "http://a".into(), peer_url: "http://a".into() };
        let members = [1, 2].map(|id| (NodeId(id), info.clone()));
        let mut configuration = Configuration::of_voters(members);
        configuration.voters = BTreeSet::from([NodeId(1)]);
        configuration.learners = BTreeMap::from([(NodeId(2), Goal::Learner)]);
        let mut log = Log::default();
        let payload = Payload::Configuration(configuration.clone());
        log.append(Entry { index: LogIndex(1), term: Term(1), time: ClusterTime(0), payload });
        log.set_durable(LogIndex(1));
        let hard_state = HardState { term: Term(1), vote: None };
        let configurations = BTreeMap::from([(LogIndex(1), configuration)]);
        Raft::new(NodeId(id), Settings::default(), 7, Restored { hard_state, log, configurations }, Instant(0))
    }

    fn settle(raft: &mut Raft) {
        while let Some(write) = raft.effects().write {
            raft.written(write.id);
        }
    }

    #[test]
    fn only_a_leader_transfers_leadership_and_only_to_a_voter() {
        let mut raft = with_learner(1);
        assert_eq!(raft.transfer_leadership(None), Err(TransferRefusal::NotLeader { leader: None }));
        raft.tick(Instant(0));
        settle(&mut raft);
        assert_eq!(raft.role(), RoleName::Leader);
        assert_eq!(raft.transfer_leadership(None), Err(TransferRefusal::NoTarget));
        assert_eq!(raft.transfer_leadership(Some(NodeId(2))), Err(TransferRefusal::NotVoter));
        assert_eq!(raft.transfer_leadership(Some(NodeId(3))), Err(TransferRefusal::NotMember));
        assert_eq!(raft.transfer_leadership(Some(NodeId(1))), Ok(NodeId(1)));
        assert_eq!(raft.transfer_target(), None, "there is no leadership to transfer");
    }

    #[test]
    fn a_learner_does_not_campaign() {
        let mut raft = with_learner(2);
        let body = Body::AppendEntries {
            prev_log_index: LogIndex(1),
            prev_log_term: Term(1),
            entries: Vec::new(),
            leader_commit: LogIndex(1),
            round: 0,
            time: None,
        };
        raft.step(NodeId(1), Message { term: Term(1), body });
        assert_eq!(raft.leader(), Some(NodeId(1)));
        raft.step(NodeId(1), Message { term: Term(1), body: Body::TimeoutNow });
        settle(&mut raft);
        assert_eq!((raft.role(), raft.term()), (RoleName::Follower, Term(1)));
    }
}
