//! Changes of the members, by joint consensus (paper §6).
//!
//! A change goes from any set of voters to any other at once. The leader appends a *joint* configuration, under which
//! every decision needs a majority of the old and of the new voters; once that is committed it appends the new one alone.
//! At no moment could two disjoint majorities decide: before the joint entry is committed any decision needs the old
//! majority, after it both, and the new one alone decides only once the joint entry, hence the end of the old
//! configuration, is on a majority of both.
//!
//! Learners count for nothing, so a change that touches them alone needs no joint step.
//!
//! One change at a time, and only by a leader that has committed an entry of its own term. Else two leaders could each
//! start from a configuration that the other's has replaced, and no majority of the one would meet one of the other.
//!
//! A learner may have a goal (see [`Goal`]): the leader, whoever it is by then, makes it a voter when it has caught up.

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

/// A change of the members, all of it at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MembershipChange {
    /// Nodes that become learners, and what they are to become.
    pub add: BTreeMap<NodeId, (MemberInfo, Goal)>,
    /// Learners that become voters.
    pub promote: BTreeSet<NodeId>,
    /// Members that are members no more.
    pub remove: BTreeSet<NodeId>,
    /// Members whose names stay and whose URLs change.
    pub update: BTreeMap<NodeId, MemberInfo>,
    /// Whether to go on where the voters that this leader hears would be no majority afterwards.
    pub force: bool,
}

/// Why the members do not change. Nothing has happened.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MembershipError {
    /// This node does not lead; perhaps it knows who does.
    #[error("this node does not lead")]
    NotLeader {
        /// The leader, if known.
        leader: Option<NodeId>,
    },
    /// Another change is under way, or the leader has yet to commit its first entry, or transferring leadership.
    #[error("another membership change or leadership transfer is in progress: try again when it is done")]
    Busy,
    /// It has been a member before: an id is never used again.
    #[error("the node was removed from this cluster: clear its data directory so that it gets a new id")]
    WasRemoved(NodeId),
    /// It is a member already, in the part asked for or a greater one.
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
    /// Nobody would be left to decide anything.
    #[error("it is the last voter: a cluster needs at least one")]
    LastVoter,
    /// Of the voters that would be left, not enough are known to follow the leader, and it has not waited long enough to
    /// know that they are gone either.
    #[error(
        "of the {voters} voters that would remain, {heard} are known to follow the leader, which is not a majority: it \
         has just been elected, has just lost contact with one, or one of them has a stuck disk. Try again in a moment"
    )]
    NotYetHeard {
        /// How many voters would be left.
        voters: usize,
        /// How many of them follow the leader, itself included.
        heard: usize,
    },
    /// Of the voters that would be left, the leader hears too few.
    #[error(
        "of the {voters} voters that would remain, the leader hears from {heard}, which is not a majority, so writes \
         would stop. Bring more of them back first, or force the change if you are sure that they will come back"
    )]
    NoQuorum {
        /// How many voters would be left.
        voters: usize,
        /// How many of them the leader hears, itself included.
        heard: usize,
    },
}

impl MembershipChange {
    /// The change by which a node becomes a member: as a learner that is to vote, or to stay one. Under the name of a
    /// member that is a voter it is to take the place of that one, whose disk is lost; the core sees to it that a member
    /// that lives is not replaced. Learners of that name are of lives that got no further, and go.
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
    /// Changes the members. The change is done once the configuration in force is committed and no longer joint; the
    /// answer says that it has begun, and at which entry.
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

    /// Whether this leader is followed by a majority of the voters of a configuration that is to come.
    ///
    /// A joint configuration cannot be taken back, and without a majority of its new voters nothing is committed any more,
    /// its own end included. So they must be known to be there and to make entries durable: silence since an election that
    /// has only just been won is no sign of it, nor is an answer to a heartbeat, which a node gives while its disk hangs.
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

    /// Whether the configuration in force is committed.
    pub fn is_configuration_committed(&self) -> bool {
        self.configuration_index() <= self.log.commit_index()
    }

    /// Whether the configuration in force is committed and not joint, so that no change is under way.
    pub fn are_members_settled(&self) -> bool {
        self.is_configuration_committed() && !self.configuration().is_joint()
    }

    /// The entry that brought the configuration in force.
    pub fn configuration_index(&self) -> LogIndex {
        self.configurations.keys().next_back().copied().unwrap_or_default()
    }

    /// Whether this node was a member once and is none any more, for good: by a committed configuration, or because a
    /// member has said so.
    pub fn is_removed(&self) -> bool {
        self.told_removed || self.are_members_settled() && self.configuration().removed.contains(&self.id)
    }

    /// A member says that the committed configuration names this node as removed. It stands for election no more. That
    /// is safe whoever says so falsely, since a node may be silent at any time.
    pub fn told_removed(&mut self) {
        if !self.told_removed {
            self.told_removed = true;
            if !matches!(self.role, Role::Leader(_)) {
                self.become_follower(None);
            }
        }
    }

    /// Whether a configuration is in force from which a leader may take the next step.
    fn may_step(&self) -> bool {
        matches!(self.role, Role::Leader(_)) && self.has_committed_in_term() && self.is_configuration_committed()
    }

    /// Something has been committed. If that was a joint configuration, the new one follows, whoever began the change.
    pub(super) fn finish_change(&mut self) {
        if self.may_step() && self.configuration().is_joint() {
            self.append_configuration(self.configuration().without_outgoing());
        }
    }

    /// Time has passed: does what is the leader's to do by itself.
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

    /// A leader has seen its own removal through, and has told the others that it is committed. It hands over, and steps
    /// down if that comes to nothing (paper §6).
    fn leave(&mut self) {
        let Role::Leader(leader) = &mut self.role else { return };
        let begins = !std::mem::replace(&mut leader.is_leaving, true);
        let hands_over = if begins { self.transfer_leadership(None).is_ok() } else { self.transfer_target().is_some() };
        if !hands_over {
            self.call_election();
            self.become_follower(None);
        }
    }

    /// This leader goes, and nobody has taken over: the voter that is likeliest to win campaigns at once, so that the
    /// others do not wait for an election timeout. If it lacks committed entries it loses (paper §5.4.1).
    fn call_election(&mut self) {
        let Role::Leader(leader) = &self.role else { return };
        let voters = leader.progress.iter().filter(|(id, _)| self.configuration().voters.contains(id));
        let best = voters.max_by_key(|(id, progress)| (self.hears(progress), progress.match_index, Reverse(**id)));
        if let Some(best) = best.map(|(id, _)| *id) {
            self.send(best, Body::TimeoutNow);
        }
    }

    /// Makes voters of the learners that are to be, and have caught up.
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
            // Who may live is not replaced by another that only has its name.
            if self.has_caught_up(leader, *id) && replaced.is_none_or(|old| self.is_silent(old)) {
                change.promote.insert(*id);
                change.remove.extend(replaced.filter(|old| configuration.members.contains_key(old)));
            }
        }
        if !change.promote.is_empty() {
            // What speaks against it now may not do so later, and it is tried again then.
            let _ = self.change_membership(&change);
        }
    }

    /// Appends a configuration, by two steps if the voters are others.
    fn append_configuration(&mut self, next: Configuration) -> LogIndex {
        let present = self.configuration();
        let needs_joint = next.voters != present.voters && !mutants::is_on(Mutant::NoJoint);
        let next = if needs_joint { present.joint_with(next) } else { next };
        let index = self.append_as_leader(Payload::Configuration(next));
        self.follow_configuration();
        // What waits for a quorum is judged anew by the new one: a sole voter has it at once, and of those who leave no
        // answer may come any more.
        self.confirm_reads();
        self.advance_commit();
        index
    }

    /// The members are others: feeds those that are new, and for a while those that leave, so that they learn of it.
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

    /// Lets those go who leave, once they have had the time to learn of it.
    fn drop_leaving(&mut self) {
        let now = self.now;
        let Role::Leader(leader) = &mut self.role else { return };
        leader.progress.retain(|_, progress| progress.leaves_at.is_none_or(|at| now < at));
    }
}

impl Configuration {
    /// The configuration after a change, without a joint step.
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
                // Two voters of one name would be two to everyone but their users.
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

    /// This configuration and the next at once: what leaves is named until the next stands alone.
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

    /// The new configuration alone.
    fn without_outgoing(&self) -> Self {
        let mut next = self.clone();
        next.outgoing.clear();
        next.members.retain(|id, _| self.voters.contains(id) || self.learners.contains_key(id));
        next
    }
}
