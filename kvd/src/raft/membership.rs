//! Membership changes, by joint consensus (paper §6).
//!
//! A change goes from any set of voters to any other at once. The leader appends a *joint* configuration, under which
//! every decision needs a majority of the old voters and a majority of the new ones. Once that entry is committed, the
//! leader appends the new configuration alone. At no moment could two disjoint majorities decide. Before the joint
//! entry is committed, any decision needs the old majority; after it, both. The new majority alone decides only once
//! the joint entry, and hence the end of the old configuration, is on a majority of both.
//!
//! Learners count for nothing, so a change that touches them alone needs no joint step.
//!
//! Only one change runs at a time, and only under a leader that has committed an entry of its own term. Otherwise two
//! leaders could each start from a configuration that the other has replaced, and a majority under one need not overlap
//! a majority under the other.
//!
//! A learner may have a goal (see [`Goal`]): the leader at that time makes it a voter once it has caught up.

use super::configuration::{Configuration, Goal, MemberInfo};
use super::core::Raft;
use super::entry::Payload;
use super::message::Body;
use super::progress::Progress;
use super::role::Role;
use super::types::{LogIndex, NodeId};
use crate::mutants::{self, Mutant};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use thiserror::Error;

/// A membership change, made in one step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MembershipChange {
    /// Nodes that become learners, each with its goal.
    pub add: BTreeMap<NodeId, (MemberInfo, Goal)>,
    /// Learners that become voters.
    pub promote: BTreeSet<NodeId>,
    /// Members to remove.
    pub remove: BTreeSet<NodeId>,
    /// Members that keep their names and get new URLs.
    pub update: BTreeMap<NodeId, MemberInfo>,
    /// Make the change even if the voters that this leader hears would be no majority afterwards.
    pub force: bool,
}

/// Reason why a membership change was refused. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MembershipError {
    /// This node is not the leader.
    #[error("this node does not lead")]
    NotLeader {
        /// The leader, if known.
        leader: Option<NodeId>,
    },
    /// Another change is in progress, the leader has yet to commit its first entry, or it is transferring leadership.
    #[error("another membership change or leadership transfer is in progress: try again when it is done")]
    Busy,
    /// The node has been a member before: an id is never used again.
    #[error("the node was removed from this cluster: clear its data directory so that it gets a new id")]
    WasRemoved(NodeId),
    /// The node is a member already, in the requested role or a higher one.
    #[error("the node is a member already")]
    AlreadyMember(NodeId),
    /// Another member has this name.
    #[error("another member is called {0}: remove that one first, or choose another name")]
    NameTaken(String),
    /// No such member.
    #[error("no such member")]
    UnknownMember(NodeId),
    /// Only learners can be promoted.
    #[error("the node votes already")]
    AlreadyVoter(NodeId),
    /// The learner lacks too much of the log.
    #[error("the learner has not caught up yet and could delay every write: wait until it is close to the leader")]
    NotCaughtUp(NodeId),
    /// No voter would be left.
    #[error("it is the last voter: a cluster needs at least one")]
    LastVoter,
    /// Too few of the remaining voters are known to follow the leader, and the leader has not waited long enough to
    /// know that they are gone either.
    #[error(
        "of the {voters} voters that would remain, {heard} are known to follow the leader, which is not a majority: it \
         has just been elected, has just lost contact with one, or one of them has a stuck disk. Try again in a moment"
    )]
    NotYetHeard {
        /// Number of voters that would remain.
        voters: usize,
        /// Number of those voters that follow the leader, the leader included.
        heard: usize,
    },
    /// The leader hears too few of the remaining voters.
    #[error(
        "of the {voters} voters that would remain, the leader hears from {heard}, which is not a majority, so writes \
         would stop. Bring more of them back first, or force the change if you are sure that they will come back"
    )]
    NoQuorum {
        /// Number of voters that would remain.
        voters: usize,
        /// Number of those voters that the leader hears, the leader included.
        heard: usize,
    },
}

impl MembershipChange {
    /// Returns the change that adds a node as a learner, with the goal to become a voter or to stay a learner. If the
    /// new node has the name of a voter, its goal is to replace that voter, whose disk is lost; the core makes sure
    /// that a live member is not replaced. Learners of that name belong to incarnations that never became voters, and
    /// are removed.
    pub fn to_join(configuration: &Configuration, id: NodeId, info: MemberInfo, stays_learner: bool) -> Self {
        let namesakes = || {
            let is_namesake = |(other, known): &(&NodeId, &MemberInfo)| known.name == info.name && **other != id;
            configuration.members.iter().filter(is_namesake).map(|(other, _)| *other)
        };
        let voter = namesakes().find(|other| configuration.voters.contains(other));
        let learners = namesakes().filter(|other| configuration.learners.contains_key(other));
        let goal = match voter {
            Some(voter) => Goal::Replace(voter),
            None if stays_learner => Goal::Learner,
            None => Goal::Voter,
        };
        let remove = learners.collect();
        Self { add: BTreeMap::from([(id, (info.clone(), goal))]), remove, ..Self::default() }
    }
}

impl Raft {
    /// Starts a membership change and returns the index of its first entry. The change is done once the configuration
    /// in force is committed and no longer joint.
    ///
    /// # Errors
    /// [`MembershipError`]; nothing has changed then.
    pub fn change_membership(&mut self, change: &MembershipChange) -> Result<LogIndex, MembershipError> {
        let Role::Leader(leader) = &self.role else {
            return Err(MembershipError::NotLeader { leader: self.leader() });
        };
        let is_first = self.has_committed_in_term() || mutants::is_on(Mutant::ChangeBeforeCommit);
        let is_staying = leader.transfer.is_none();
        if !is_first || !is_staying || !(self.are_members_settled() || mutants::is_on(Mutant::TwoChanges)) {
            return Err(MembershipError::Busy);
        }
        let next = self.configuration().changed(change)?;
        if let Some(behind) = change.promote.iter().find(|id| !self.has_caught_up(leader, **id)) {
            return Err(MembershipError::NotCaughtUp(*behind));
        }
        if next.voters != self.configuration().voters && !change.force {
            self.can_decide(&next)?;
        }
        Ok(self.append_configuration(next))
    }

    /// Checks that a majority of the voters of the `next` configuration follows this leader.
    ///
    /// A joint configuration cannot be taken back, and without a majority of its new voters nothing more is committed,
    /// including its own end. So these voters must be known to run and to make entries durable. Silence since an
    /// election that has only just been won is no proof of that, nor is an answer to a heartbeat, which a node gives
    /// while its disk hangs.
    fn can_decide(&self, next: &Configuration) -> Result<(), MembershipError> {
        if next.is_majority_of_voters(|id| self.follows(id)) || mutants::is_on(Mutant::RemovalWithoutQuorumCheck) {
            return Ok(());
        }
        let voters = next.voters.len();
        let heard = next.voters.iter().filter(|id| self.follows(**id)).count();
        match next.is_majority_of_voters(|id| !self.is_silent(id)) {
            true => Err(MembershipError::NotYetHeard { voters, heard }),
            false => Err(MembershipError::NoQuorum { voters, heard }),
        }
    }

    /// Returns true if the configuration in force is committed.
    pub fn is_configuration_committed(&self) -> bool {
        self.configuration_index() <= self.log.commit_index()
    }

    /// Returns true if the configuration in force is committed and not joint, so that no change is in progress.
    pub fn are_members_settled(&self) -> bool {
        self.is_configuration_committed() && !self.configuration().is_joint()
    }

    /// Returns the index of the entry with the configuration in force.
    pub fn configuration_index(&self) -> LogIndex {
        self.configurations.keys().next_back().copied().unwrap_or_default()
    }

    /// Returns true if this node was a member once and has been removed for good: by a committed configuration, or
    /// because a member has said so.
    pub fn is_removed(&self) -> bool {
        self.told_removed || self.are_members_settled() && self.configuration().removed.contains(&self.id)
    }

    /// Handles a member's word that the committed configuration names this node as removed. This node no longer stands
    /// for election. Even if the word is false, that is safe, since a node may be silent at any time.
    pub fn told_removed(&mut self) {
        if !self.told_removed {
            self.told_removed = true;
            if !matches!(self.role, Role::Leader(_)) {
                self.become_follower(None);
            }
        }
    }

    /// Returns true if this node leads and may take the next step from the configuration in force.
    fn may_step(&self) -> bool {
        matches!(self.role, Role::Leader(_)) && self.has_committed_in_term() && self.is_configuration_committed()
    }

    /// Called when entries have been committed. If that committed a joint configuration, appends the new one, whichever
    /// leader began the change.
    pub(super) fn finish_change(&mut self) {
        if self.may_step() && self.configuration().is_joint() {
            self.append_configuration(self.configuration().without_outgoing());
        }
    }

    /// Called as time passes: takes the membership steps that a leader takes on its own.
    pub(super) fn tick_membership(&mut self) {
        self.drop_leaving();
        if !self.may_step() || self.configuration().is_joint() {
            return;
        }
        if self.is_voter() {
            self.fulfil_goals();
        } else {
            self.leave();
        }
    }

    /// Ends the leadership of a leader that has completed its own removal and has told its followers that it is
    /// committed. It transfers leadership, and steps down if the transfer fails (paper §6).
    fn leave(&mut self) {
        let Role::Leader(leader) = &mut self.role else { return };
        let begins = !std::mem::replace(&mut leader.is_leaving, true);
        let transfers_leadership =
            if begins { self.transfer_leadership(None).is_ok() } else { self.transfer_target().is_some() };
        if !transfers_leadership {
            self.call_election();
            self.become_follower(None);
        }
    }

    /// Makes the voter that is likeliest to win campaign at once, since this leader steps down without a successor;
    /// otherwise the voters would wait for an election timeout. If that voter lacks committed entries it loses (paper
    /// §5.4.1).
    fn call_election(&mut self) {
        let Role::Leader(leader) = &self.role else { return };
        let voters = leader.progress.iter().filter(|(id, _)| self.configuration().voters.contains(id));
        let best = voters.max_by_key(|(id, progress)| (self.hears(progress), progress.match_index, Reverse(**id)));
        if let Some(best) = best.map(|(id, _)| *id) {
            self.send(best, Body::TimeoutNow);
        }
    }

    /// Promotes the learners that have the goal to vote and have caught up.
    fn fulfil_goals(&mut self) {
        let Role::Leader(leader) = &self.role else { return };
        let configuration = self.configuration();
        let mut change = MembershipChange::default();
        for (id, goal) in &configuration.learners {
            let replaced = match goal {
                Goal::Learner => continue,
                Goal::Voter => None,
                Goal::Replace(old) => Some(*old),
            };
            // A member that may be alive is not replaced by a node that only has its name.
            if self.has_caught_up(leader, *id) && replaced.is_none_or(|old| self.is_silent(old)) {
                change.promote.insert(*id);
                change.remove.extend(replaced.filter(|old| configuration.members.contains_key(old)));
            }
        }
        if !change.promote.is_empty() {
            // A refusal may not hold later; the leader tries again then.
            let _ = self.change_membership(&change);
        }
    }

    /// Appends a configuration, in two steps if its voters differ from the current ones.
    fn append_configuration(&mut self, next: Configuration) -> LogIndex {
        let present = self.configuration();
        let needs_joint = next.voters != present.voters && !mutants::is_on(Mutant::NoJoint);
        let next = if needs_joint { present.joint_with(next) } else { next };
        let index = self.append_as_leader(Payload::Configuration(next));
        self.follow_configuration();
        // Judge everything that waits for a quorum by the new configuration: a sole voter has its quorum at once, and
        // removed members may never answer.
        self.confirm_reads();
        self.advance_commit();
        index
    }

    /// Starts replicating to new members, and keeps replicating to removed ones for one election timeout so that they
    /// learn of their removal.
    fn follow_configuration(&mut self) {
        let Some(configuration) = self.configurations.values().next_back() else { return };
        let Role::Leader(leader) = &mut self.role else { return };
        for id in configuration.everyone().filter(|id| *id != self.id) {
            let progress = leader.progress.entry(id).or_insert_with(|| Progress::new(self.log.last_index(), self.now));
            progress.leaves_at = None;
        }
        for (_, progress) in leader.progress.iter_mut().filter(|(id, _)| !configuration.members.contains_key(id)) {
            progress.leaves_at.get_or_insert(self.now.plus_ms(self.settings.election_timeout_max_ms));
        }
    }

    /// Stops replicating to removed members once they have had time to learn of their removal.
    fn drop_leaving(&mut self) {
        let now = self.now;
        let Role::Leader(leader) = &mut self.role else { return };
        leader.progress.retain(|_, progress| progress.leaves_at.is_none_or(|at| now < at));
    }
}

impl Configuration {
    /// Returns the configuration after a change, without a joint step.
    fn changed(&self, change: &MembershipChange) -> Result<Self, MembershipError> {
        let MembershipChange { add, promote, remove, update, force: _ } = change;
        let mut next = self.clone();
        for id in remove {
            if next.members.remove(id).is_none() {
                return Err(MembershipError::UnknownMember(*id));
            }
            next.voters.remove(id);
            next.learners.remove(id);
            next.remember_removed(*id);
        }
        for (id, (info, goal)) in add {
            next.add(*id, info, *goal)?;
        }
        for id in promote {
            if !next.members.contains_key(id) {
                return Err(MembershipError::UnknownMember(*id));
            }
            match next.learners.remove(id) {
                None => return Err(MembershipError::AlreadyVoter(*id)),
                // Users could not tell two voters of one name apart.
                Some(Goal::Replace(old)) if next.members.contains_key(&old) => {
                    return Err(MembershipError::NameTaken(next.members[&old].name.clone()));
                }
                Some(Goal::Replace(_) | Goal::Learner | Goal::Voter) => {}
            }
            next.voters.insert(*id);
        }
        for (id, info) in update {
            let known = next.members.get_mut(id).ok_or(MembershipError::UnknownMember(*id))?;
            known.clone_from(info);
        }
        if next.voters.is_empty() { Err(MembershipError::LastVoter) } else { Ok(next) }
    }

    fn add(&mut self, id: NodeId, info: &MemberInfo, goal: Goal) -> Result<(), MembershipError> {
        if self.removed.contains(&id) && !mutants::is_on(Mutant::RemovedIdAddedAgain) {
            return Err(MembershipError::WasRemoved(id));
        }
        if self.members.contains_key(&id) {
            return Err(MembershipError::AlreadyMember(id));
        }
        if let Goal::Replace(old) = goal
            && !self.voters.contains(&old)
        {
            return Err(MembershipError::UnknownMember(old));
        }
        let has_its_name =
            |(other, known): (&NodeId, &MemberInfo)| known.name == info.name && goal != Goal::Replace(*other);
        if self.members.iter().any(has_its_name) {
            return Err(MembershipError::NameTaken(info.name.clone()));
        }
        self.members.insert(id, info.clone());
        self.learners.insert(id, goal);
        Ok(())
    }

    /// Returns this configuration and the next joined: members that leave stay named until the next one stands alone.
    fn joint_with(&self, next: Self) -> Self {
        let mut joint = next;
        joint.outgoing.clone_from(&self.voters);
        for id in &self.voters {
            if let Some(info) = self.members.get(id) {
                joint.members.entry(*id).or_insert_with(|| info.clone());
            }
        }
        joint
    }

    /// Returns the new configuration alone.
    fn without_outgoing(&self) -> Self {
        let mut next = self.clone();
        next.outgoing.clear();
        next.members.retain(|id, _| self.voters.contains(id) || self.learners.contains_key(id));
        next
    }
}
