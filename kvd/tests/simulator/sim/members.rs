//! Members come and go: what an operator does, what nodes do that join, and disks that are lost.
//!
//! A node that has lost its disk comes back under its name with a new id, and is another node: the old one is dead for
//! ever. So losing a disk is like a death, and no more than a minority may die before others have taken their places:
//! see [`World::may_lose`].

use super::coverage::Kind;
use super::events::{Event, Micros};
use super::invariants::{ChangeAsked, Checked, is_quorum};
use super::member_requests::addition;
use super::node::{Input, Node, State};
use super::world::World;
use kvd::raft::{Configuration, Goal, MemberInfo, MembershipChange, NodeId};
use std::collections::BTreeSet;

const MS: Micros = 1_000;

/// No node is made beyond so many, but in the place of one that is lost.
const MEMBERS_MAX: usize = 7;

/// How members come and go in a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MembersPlan {
    /// Mean time between two things that the operator does. Milliseconds.
    pub(crate) every_ms: u64,
    /// Of these things, how many are disks that are lost.
    pub(crate) wipes_percent: u32,
}

/// A node that is no founder.
#[derive(Clone, Debug)]
pub(crate) struct Newcomer {
    stays_learner: bool,
    /// It has the name of another, whose disk is lost.
    after_loss: bool,
}

impl World {
    /// The operator does something, or a disk is lost.
    pub(crate) fn operate(&mut self) -> Checked {
        let Some(plan) = self.plan.members.filter(|_| !self.is_calm) else { return Ok(()) };
        let pause = self.chance.exponential(plan.every_ms * MS);
        self.queue.schedule(self.now + pause, Event::Operate);
        if self.chance.percent(plan.wipes_percent) {
            return self.lose_a_disk();
        }
        let configuration = self.last_configuration().cloned().unwrap_or_default();
        match self.chance.within(0..10) {
            0..3 if self.nodes_alive() < MEMBERS_MAX => {
                let info = info_of(self.nodes.len() as u64 + 1);
                let stays_learner = self.chance.percent(30);
                self.start_newcomer(info, Newcomer { stays_learner, after_loss: false });
                Ok(())
            }
            3 if self.chance.percent(30) && self.nodes_alive() < MEMBERS_MAX => {
                // One node too many, which takes the name of one that may be alive and well.
                let names: Vec<&MemberInfo> = configuration.members.values().collect();
                let Some(info) = self.chance.any_of(&names).cloned() else { return Ok(()) };
                self.coverage.count(Kind::SecondOfItsName);
                self.start_newcomer(info, Newcomer { stays_learner: false, after_loss: false });
                Ok(())
            }
            0..8 if self.chance.percent(60) => {
                self.ask_the_deposed();
                if let Some(change) = self.draw_request(&configuration) {
                    let to = self.whom_to_ask();
                    self.ask_for(to, change, 0);
                }
                Ok(())
            }
            0..8 => {
                let change = self.draw_change(&configuration);
                self.ask_for_change(change)
            }
            _ => self.shut_down_removed(&configuration),
        }
    }

    /// Some learners are to vote, and some members to go.
    fn draw_change(&mut self, configuration: &Configuration) -> MembershipChange {
        let some = |world: &mut Self, ids: Vec<NodeId>, most: u64| -> BTreeSet<NodeId> {
            let mut ids = ids;
            world.chance.shuffle(&mut ids);
            let number = world.chance.within(0..most + 1) as usize;
            ids.into_iter().take(number).collect()
        };
        let promote = some(self, configuration.learners.keys().copied().collect(), 3);
        let others = configuration.everyone().filter(|id| !promote.contains(id)).collect();
        let mut remove = some(self, others, 2);
        if self.chance.percent(20)
            && let Some(leader) = self.leaders().first()
            && !promote.contains(leader)
        {
            remove.insert(*leader);
        }
        MembershipChange { promote, remove, ..MembershipChange::default() }
    }

    /// Asks someone who believes to lead.
    fn ask_for_change(&mut self, change: MembershipChange) -> Checked {
        let leaders = self.leaders();
        let Some(leader) = self.chance.any_of(&leaders) else { return Ok(()) };
        if self.stands_still(leader) { Ok(()) } else { self.input(leader, Input::Change(Box::new(change))) }
    }

    /// A node that believes to lead is asked for a change. One that would leave it to nodes that are lost to decide, or to too
    /// few, is asked for by nobody in his right mind.
    pub(super) fn change_members(&mut self, id: NodeId, change: &MembershipChange) -> Checked {
        let Some(raft) = self.nodes[&id].raft() else { return Ok(()) };
        let next = after(raft.configuration(), &change.promote, &change.remove);
        let leaves_too_few = next.voters.len() < self.plan.voters_min();
        if !self.is_calm && (leaves_too_few || !survives(&next, &self.lost())) {
            return Ok(());
        }
        let removes_itself = change.remove.contains(&id);
        let asked = if change.force { ChangeAsked::Force } else { ChangeAsked::Change };
        self.invariants.presence.asked(id, asked);
        let Some(process) = self.process(id) else { return Ok(()) };
        let result = process.replica.change_membership(change);
        self.trace.note(|| format!("n{} is asked for {change:?}: {result:?}", id.0));
        match result {
            Ok(_) if removes_itself => self.coverage.count(Kind::LeaderRemoved),
            Ok(_) => self.coverage.count(Kind::MembersChanged),
            Err(_) => self.coverage.count(Kind::ChangeRefused),
        }
        self.after_input(id)
    }

    fn start_newcomer(&mut self, info: MemberInfo, newcomer: Newcomer) {
        let id = NodeId(self.nodes.len() as u64 + 1);
        self.trace.note(|| format!("n{} is made, called {}: {newcomer:?}", id.0, info.name));
        let node = Node::new(id, info, Some(newcomer), &self.plan, &mut self.chance);
        self.nodes.insert(id, node);
        let at = self.now + self.chance.within(0..500 * MS);
        self.queue.schedule(at, Event::Start(id));
        self.queue.schedule(at + MS, Event::Join(id));
    }

    /// A node that is no founder asks to become a member, until it is, or what it is to be.
    pub(crate) fn join(&mut self, id: NodeId) -> Checked {
        let node = &self.nodes[&id];
        let Some(newcomer) = node.newcomer.clone() else { return Ok(()) };
        let configuration = self.last_configuration().cloned().unwrap_or_default();
        if self.dead.contains(&id) || configuration.removed.contains(&id) {
            return Ok(());
        }
        if configuration.voters.contains(&id) {
            self.coverage.count(if newcomer.after_loss { Kind::LostDiskReplaced } else { Kind::NewcomerVotes });
            return Ok(());
        }
        let later = self.now + self.chance.within(100 * MS..600 * MS);
        self.queue.schedule(later, Event::Join(id));
        let is_member = configuration.members.contains_key(&id);
        let is_up = node.process().is_some_and(|process| !process.paused);
        if is_member || !is_up {
            return Ok(());
        }
        let to = self.whom_to_ask();
        if !self.network.works((id, to), self.now) || !self.network.works((to, id), self.now) {
            return Ok(());
        }
        let (learner, returning) = (newcomer.stays_learner, newcomer.after_loss && self.chance.percent(50));
        self.ask_for(to, addition(&self.nodes[&id], learner, returning), 0);
        self.upgrade_newcomer(id)
    }

    /// The disk of a node is lost, and all that was on it. It comes back under its name, as another.
    fn lose_a_disk(&mut self) -> Checked {
        let victim = self.any_victim();
        let node = &self.nodes[&victim];
        let is_member =
            self.last_configuration().is_some_and(|configuration| configuration.members.contains_key(&victim));
        if !is_member || self.dead.contains(&victim) || !(self.is_lost(node) || self.may_lose(victim)) {
            return Ok(());
        }
        let info = node.info.clone();
        self.coverage.count(Kind::DiskLost);
        self.trace.note(|| format!("n{} loses its disk", victim.0));
        self.crash(victim)?;
        self.peers_notice(victim);
        self.node(victim).state = State::Down;
        self.dead.push(victim);
        self.start_newcomer(info, Newcomer { stays_learner: false, after_loss: true });
        Ok(())
    }

    /// Nodes that are members no more go on until someone shuts them down.
    fn shut_down_removed(&mut self, configuration: &Configuration) -> Checked {
        // While a joint configuration is in force, those who leave are needed yet.
        for id in configuration.removed.iter().filter(|id| !configuration.members.contains_key(id)) {
            if !self.dead.contains(id) && self.nodes[id].process().is_some() {
                self.crash(*id)?;
                self.nodes[id].disk.kill();
                self.dead.push(*id);
            }
        }
        Ok(())
    }

    /// The members as they are committed.
    pub(crate) fn last_configuration(&self) -> Option<&Configuration> {
        self.invariants.possible_configurations().first().copied()
    }

    fn nodes_alive(&self) -> usize {
        self.nodes.len() - self.dead.len()
    }

    /// Whether a node may be lost for ever: all that may yet come to decide does without it and those that are lost already.
    pub(crate) fn may_lose(&self, victim: NodeId) -> bool {
        self.may_lose_beside(victim, self.lost())
    }

    /// The same with all of these lost as well.
    pub(super) fn may_lose_beside(&self, victim: NodeId, mut lost: BTreeSet<NodeId>) -> bool {
        lost.insert(victim);
        let possible = self.invariants.possible_configurations();
        !possible.is_empty() && possible.into_iter().all(|configuration| survives(configuration, &lost))
    }

    /// Nodes that will not be back, that are left out in the end, or whose data is damaged so that they may not.
    pub(super) fn lost(&self) -> BTreeSet<NodeId> {
        self.nodes.values().filter(|node| self.is_lost(node)).map(|node| node.id).collect()
    }

    fn is_lost(&self, node: &Node) -> bool {
        let is_gone = self.dead.contains(&node.id) || self.left_out.contains(&node.id);
        is_gone || node.damaged || matches!(node.state, State::Refused)
    }
}

/// The members as they are once these vote and those are gone.
pub(super) fn after(before: &Configuration, promote: &BTreeSet<NodeId>, remove: &BTreeSet<NodeId>) -> Configuration {
    let mut next = before.clone();
    next.outgoing.clear();
    next.voters.retain(|voter| !remove.contains(voter));
    next.voters.extend(promote);
    next.learners.retain(|learner, _| !remove.contains(learner) && !promote.contains(learner));
    next
}

/// Whether a configuration has a quorum without those that are lost, also when learners have become what they are to be:
/// all of them, or of those that are lost as many as there are.
pub(super) fn survives(configuration: &Configuration, lost: &BTreeSet<NodeId>) -> bool {
    let fulfilled = |which: &dyn Fn(NodeId) -> bool| {
        let mut next = Configuration { outgoing: BTreeSet::new(), ..configuration.clone() };
        for (id, goal) in configuration.learners.iter().filter(|(id, _)| which(**id)) {
            match goal {
                Goal::Learner => continue,
                Goal::Voter => {}
                Goal::Replace(old) => {
                    next.voters.remove(old);
                }
            }
            next.voters.insert(*id);
        }
        next
    };
    let decides = |configuration: &Configuration| is_quorum(configuration, |id| !lost.contains(&id));
    decides(configuration) && decides(&fulfilled(&|_| true)) && decides(&fulfilled(&|id| lost.contains(&id)))
}

/// What a configuration says of a node that has its name of itself.
pub(crate) fn info_of(id: u64) -> MemberInfo {
    let url = format!("http://n{id}");
    MemberInfo { name: format!("n{id}"), client_url: url.clone(), peer_url: url }
}
