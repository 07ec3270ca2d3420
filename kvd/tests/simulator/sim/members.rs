//! Member changes: the operator's actions, joining nodes and lost disks.
//!
//! A node that has lost its disk returns under its name with a new id, and is a different node; the old node is dead
//! for ever. So losing a disk is like a death, and no more than a minority may die before other nodes have replaced
//! them: see [`World::may_lose`].

use super::bereavement::STARTED_WITHIN;
use super::coverage::Kind;
use super::entrants::WayIn;
use super::events::{Event, Micros};
use super::invariants::{ChangeAsked, Checked, is_quorum};
use super::node::{Input, Node, State};
use super::world::World;
use kvd::mutants::{self, Mutant};
use kvd::raft::{Configuration, Goal, MemberInfo, MembershipChange, NodeId};
use std::collections::BTreeSet;

const MS: Micros = 1_000;

/// Number of nodes beyond which a node is only created to replace a lost one.
const MEMBERS_MAX: usize = 7;

/// Member changes of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MembersPlan {
    /// Mean time between two actions of the operator. Milliseconds.
    pub(crate) every_ms: u64,
    /// Percentage of these actions that are lost disks.
    pub(crate) wipes_percent: u32,
}

/// Percentage of founders that are given their peers again when they return without their disk; the others are told to
/// join.
const RETURNS_PERCENT: u32 = 60;

impl World {
    /// Lets the operator act, or a disk be lost.
    pub(crate) fn operate(&mut self) -> Checked {
        let Some(plan) = self.plan.members.filter(|_| !self.is_calm) else { return Ok(()) };
        let pause = self.chance.exponential(plan.every_ms * MS);
        self.queue.schedule(self.now + pause, Event::Operate);
        if self.plan.bereaves() {
            return self.bereave();
        }
        if self.chance.percent(plan.wipes_percent) {
            return self.lose_a_disk();
        }
        let configuration = self.last_configuration().cloned().unwrap_or_default();
        if !self.is_founded() {
            return Ok(());
        }
        match self.chance.within(0..10) {
            0..3 if self.nodes_alive() < MEMBERS_MAX => {
                let info = info_of(self.nodes.len() as u64 + 1);
                let stays_learner = self.chance.percent(30);
                self.start_newcomer(info, WayIn::Joins { stays_learner });
                Ok(())
            }
            3 if self.chance.percent(30) && self.nodes_alive() < MEMBERS_MAX => {
                // One node too many, under the name of a node that may be healthy.
                let names: Vec<&MemberInfo> = configuration.members.values().collect();
                let Some(name) = self.chance.any_of(&names).map(|info| info.name.clone()) else { return Ok(()) };
                self.coverage.count(Kind::SecondOfItsName);
                let info = MemberInfo { name, ..info_of(self.nodes.len() as u64 + 1) };
                self.start_newcomer(info, WayIn::Joins { stays_learner: false });
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

    /// Draws learners to promote and members to remove.
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
        if let Some(leader) = self.leaders().first()
            && self.chance.percent(if self.is_last_of_older(*leader) { 80 } else { 20 })
            && !promote.contains(leader)
        {
            remove.insert(*leader);
        }
        MembershipChange { promote, remove, ..MembershipChange::default() }
    }

    /// Asks a node that believes that it leads.
    fn ask_for_change(&mut self, change: MembershipChange) -> Checked {
        let leaders = self.leaders();
        let Some(leader) = self.chance.any_of(&leaders) else { return Ok(()) };
        if self.stands_still(leader) { Ok(()) } else { self.input(leader, Input::Change(Box::new(change))) }
    }

    /// Asks a node that believes that it leads for a change. Skips a change that would leave decisions to lost nodes,
    /// or to too few: no sensible operator asks for that.
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

    pub(super) fn start_newcomer(&mut self, info: MemberInfo, way_in: WayIn) -> NodeId {
        let id = NodeId(self.nodes.len() as u64 + 1);
        self.trace.note(|| format!("n{} is made, called {}: {way_in:?}", id.0, info.name));
        let node = Node::new(id, info, way_in, &self.plan, &mut self.chance);
        self.nodes.insert(id, node);
        let within = if self.plan.bereaves() { self.chance.one_of(&STARTED_WITHIN) } else { 500 * MS };
        let at = self.now + self.chance.within(0..within);
        self.queue.schedule(at, Event::Start(id));
        id
    }

    /// Counts a node that has become a voter.
    pub(super) fn note_vote(&mut self, id: NodeId) {
        let node = self.node(id);
        let votes = |node: &Node| node.raft().is_some_and(|raft| raft.configuration().voters.contains(&id));
        let is_newcomer = node.is_next_life || matches!(node.way_in, WayIn::Joins { .. });
        if !is_newcomer || node.has_come_to_vote || !votes(node) {
            return;
        }
        node.has_come_to_vote = true;
        let kind = if node.is_next_life { Kind::LostDiskReplaced } else { Kind::NewcomerVotes };
        self.coverage.count(kind);
    }

    /// Loses the disk of a node, if the cluster can do without it. Before there is a cluster, no disk is needed.
    fn lose_a_disk(&mut self) -> Checked {
        let victim = self.any_victim();
        let node = &self.nodes[&victim];
        let configuration = self.last_configuration();
        let is_member = configuration.is_some_and(|configuration| configuration.members.contains_key(&victim));
        let may_go = match self.is_founded() {
            true => is_member && (self.is_lost(node) || self.may_lose(victim)),
            false => self.may_lose_founder(victim),
        };
        if self.dead.contains(&victim) || !may_go {
            return Ok(());
        }
        self.lose_disk(victim)
    }

    /// Returns whether the cluster that may be founded at any moment can do without a node. The first node by name
    /// founds it, and counts on the nodes that have answered it.
    fn may_lose_founder(&self, victim: NodeId) -> bool {
        let first = self.node_at("http://n1");
        let founders = self.nodes[&first].founders();
        let lost = founders.iter().filter(|id| **id == victim || self.dead.contains(id)).count() as u64;
        victim == first || 2 * lost < self.plan.nodes
    }

    /// Loses the disk of a node with all its data. The node returns under its name, as a new node.
    pub(super) fn lose_disk(&mut self, victim: NodeId) -> Checked {
        let (info, way_in) = (self.nodes[&victim].info.clone(), self.nodes[&victim].way_in);
        self.coverage.count(if self.is_founded() { Kind::DiskLost } else { Kind::DiskLostBefore });
        self.trace.note(|| format!("n{} loses its disk", victim.0));
        self.crash(victim)?;
        self.peers_notice(victim);
        self.node(victim).state = State::Down;
        self.node(victim).has_lost_disk = true;
        if mutants::is_on(Mutant::OldIdKept) {
            let Self { nodes, chance, .. } = self;
            nodes.get_mut(&victim).expect("a node").replace_disk(chance);
            self.start_later(victim);
            return Ok(());
        }
        self.dead.push(victim);
        // Without peers it has no cluster to return to, and would found its own.
        let has_peers = self.plan.nodes > 1;
        let returns = self.plan.bereaves() || has_peers && self.chance.percent(RETURNS_PERCENT);
        let way_in = match way_in {
            WayIn::Founds | WayIn::Forms if returns || !self.is_founded() => WayIn::Forms,
            WayIn::Founds | WayIn::Forms | WayIn::Joins { .. } => WayIn::Joins { stays_learner: false },
        };
        let next = self.start_newcomer(info, way_in);
        self.node(victim).next_life = Some(next);
        self.node(next).is_next_life = true;
        Ok(())
    }

    /// Returns whether there is a cluster.
    pub(super) fn is_founded(&self) -> bool {
        self.founders.is_some() || self.invariants.founding.founded().is_some()
    }

    /// Draws the flags with which a node is started while it has no data.
    pub(super) fn draw_flags(&mut self, id: NodeId) {
        if self.nodes[&id].has_data {
            return;
        }
        if let WayIn::Joins { .. } = self.nodes[&id].way_in
            && !self.is_calm
        {
            self.node(id).join_urls = self.draw_join_urls();
        }
        let Some(forming) = self.plan.forming.filter(|_| !self.is_calm) else { return };
        let (lives, Self { nodes, chance, coverage, .. }) = (self.nodes[&id].lives, self);
        let node = nodes.get_mut(&id).expect("a node");
        node.expects_data = node.way_in == WayIn::Forms && chance.percent(forming.expects_percent);
        if lives > 0 && chance.percent(forming.moves_percent) {
            coverage.count(Kind::AddressChanged);
            node.move_to(lives);
        }
    }

    /// Shuts down nodes that are no longer members: they run until an operator stops them.
    fn shut_down_removed(&mut self, configuration: &Configuration) -> Checked {
        // While a joint configuration is in force, the removed members are still needed.
        for id in configuration.removed.iter().filter(|id| !configuration.members.contains_key(id)) {
            if !self.dead.contains(id) && self.nodes[id].running().is_some() {
                self.crash(*id)?;
                self.nodes[id].disk.kill();
                self.dead.push(*id);
            }
        }
        Ok(())
    }

    /// Returns the last committed configuration.
    pub(crate) fn last_configuration(&self) -> Option<&Configuration> {
        self.invariants.possible_configurations().first().copied()
    }

    fn nodes_alive(&self) -> usize {
        self.nodes.len() - self.dead.len()
    }

    /// Returns whether a node may be lost for ever: every configuration that may yet decide can do without it and the
    /// nodes that are lost already.
    pub(crate) fn may_lose(&self, victim: NodeId) -> bool {
        self.may_lose_beside(victim, self.lost())
    }

    /// Returns the same with all of these nodes lost as well.
    pub(super) fn may_lose_beside(&self, victim: NodeId, mut lost: BTreeSet<NodeId>) -> bool {
        lost.insert(victim);
        let possible = self.invariants.possible_configurations();
        // A node that founds the cluster too learns of the decision from one that has written it down.
        let is_known = self.nodes.values().any(|node| node.has_data && !lost.contains(&node.id));
        is_known && !possible.is_empty() && possible.into_iter().all(|configuration| survives(configuration, &lost))
    }

    /// Returns the nodes that will not return, that are left out in the end, or that may not return because their data
    /// is damaged.
    pub(super) fn lost(&self) -> BTreeSet<NodeId> {
        self.nodes.values().filter(|node| self.is_lost(node)).map(|node| node.id).collect()
    }

    fn is_lost(&self, node: &Node) -> bool {
        let is_gone = self.dead.contains(&node.id) || self.left_out.contains(&node.id);
        is_gone || node.damaged || matches!(node.state, State::Refused)
    }
}

/// Returns the configuration once these nodes vote and those are removed.
pub(super) fn after(before: &Configuration, promote: &BTreeSet<NodeId>, remove: &BTreeSet<NodeId>) -> Configuration {
    let mut next = before.clone();
    next.outgoing.clear();
    next.voters.retain(|voter| !remove.contains(voter));
    next.voters.extend(promote);
    next.learners.retain(|learner, _| !remove.contains(learner) && !promote.contains(learner));
    next
}

/// Returns whether a configuration has a quorum without the lost nodes, also once learners have been promoted as
/// intended: either all of them, or as many of the lost ones as there are.
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

/// Returns how a node with its own name describes itself in a configuration.
pub(crate) fn info_of(id: u64) -> MemberInfo {
    let url = format!("http://n{id}");
    MemberInfo { name: format!("n{id}"), client_url: url.clone(), peer_url: url }
}
