//! Runs in which data is lost beyond what a cluster survives, for as long as somebody remembers that there was some: a
//! member that has its data, or a node that has met one since it started. Then nothing may be founded anew, whoever is
//! started again when, and in the end all who wait say what they wait for.

use super::coverage::Kind;
use super::entrants::Entrant;
use super::events::{Event, Micros};
use super::invariants::Checked;
use super::members::survives;
use super::node::Node;
use super::world::World;
use kvd::raft::NodeId;

/// Nothing is founded for so long once faults have stopped. Microseconds.
const HELD_FOR: Micros = 3_000_000;

/// Of what happens to the nodes, so many are disks that are lost; the others are processes that are killed.
const LOST_PERCENT: u32 = 50;

/// Of the nodes that come to remember the cluster, after so many one is made to forget it that did before.
const FORGOTTEN_PERCENT: u32 = 70;

/// How long after that, at the mean. Microseconds.
const FORGOTTEN_AFTER: Micros = 20_000;

/// A node that has lost something is started again within one of these times. Microseconds.
pub(super) const STARTED_WITHIN: [Micros; 3] = [1_000, 30_000, 500_000];

impl World {
    /// Something happens to any of the nodes.
    pub(super) fn bereave(&mut self) -> Checked {
        let number = self.chance.within(1..self.plan.nodes + 1);
        let victim = self.node_at(&format!("http://n{number}"));
        self.bereave_one(victim)
    }

    /// A node has come to remember the cluster: now one may forget it that did before.
    pub(super) fn pass_memory_on(&mut self, to: NodeId) {
        if self.is_calm || !self.plan.bereaves() || !self.chance.percent(FORGOTTEN_PERCENT) {
            return;
        }
        let others: Vec<NodeId> = self.nodes.values().filter(|node| node.id != to).map(|node| node.id).collect();
        let knowing: Vec<NodeId> = others.into_iter().filter(|id| self.remembers(&self.nodes[id])).collect();
        if let Some(victim) = self.chance.any_of(&knowing) {
            let at = self.now + self.chance.exponential(FORGOTTEN_AFTER);
            self.queue.schedule(at, Event::Bereave(victim));
        }
    }

    /// A node loses its disk, or what its process knows, unless it is the last to know of the cluster.
    pub(super) fn bereave_one(&mut self, victim: NodeId) -> Checked {
        let loses_disk = self.chance.percent(LOST_PERCENT);
        let keeps = !loses_disk && self.nodes[&victim].has_data;
        let is_remembered = keeps || self.nodes.values().any(|node| node.id != victim && self.remembers(node));
        if self.is_calm || self.dead.contains(&victim) || self.is_founded() && !is_remembered {
            return Ok(());
        }
        if loses_disk { self.lose_disk(victim) } else { self.kill(victim) }
    }

    /// Whether a node knows of the cluster.
    fn remembers(&self, node: &Node) -> bool {
        let is_there = !self.dead.contains(&node.id);
        is_there && (node.has_data || node.entrant().is_some_and(Entrant::remembers))
    }

    /// Whether too much of the cluster is lost for it ever to serve again.
    pub(super) fn is_bereft(&self) -> bool {
        let lost = self.lost();
        let mut possible = self.invariants.possible_configurations();
        if possible.is_empty() {
            possible.extend(self.invariants.founding.founded());
        }
        let is_known = self.nodes.values().any(|node| node.has_data && !lost.contains(&node.id));
        let is_doomed = !is_known || possible.into_iter().any(|configuration| !survives(configuration, &lost));
        self.plan.bereaves() && self.is_founded() && is_doomed
    }

    /// Nobody founds a cluster in the place of the one that is lost, and all who wait know that there was one.
    pub(super) fn check_held(&mut self, limit_ms: u64) -> Checked {
        self.coverage.count(Kind::Bereft);
        let knows = |world: &Self| world.nodes.values().filter_map(Node::entrant).all(Entrant::is_held);
        self.wait_for("all who wait know that there was a cluster", limit_ms, knows)?;
        self.run_until(self.now + HELD_FOR)?;
        self.wait_for("all who wait know that there was a cluster", 0, knows)
    }
}
