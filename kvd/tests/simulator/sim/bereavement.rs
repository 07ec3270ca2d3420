//! Runs that lose more data than a cluster survives, while at least one node still remembers that there was data: a
//! member that has its data, or a node that has met one since it started. No node may found a new cluster then,
//! whichever nodes restart and whenever they do. In the end, every waiting node says what it is waiting for.

use super::coverage::Kind;
use super::entrants::Entrant;
use super::events::{Event, Micros};
use super::invariants::Checked;
use super::members::survives;
use super::node::Node;
use super::world::World;
use kvd::raft::NodeId;

/// Time after the end of the faults during which no cluster may be founded. Microseconds.
const HELD_FOR: Micros = 3_000_000;

/// Percentage of losses that are lost disks; the others are killed processes.
const LOST_PERCENT: u32 = 50;

/// Chance that a node which remembers the cluster is made to forget it once another node remembers it too. Percent.
const FORGOTTEN_PERCENT: u32 = 70;

/// Mean delay before that. Microseconds.
const FORGOTTEN_AFTER: Micros = 20_000;

/// Choices of the time within which a node that has lost something is started again. Microseconds.
pub(super) const STARTED_WITHIN: [Micros; 3] = [1_000, 30_000, 500_000];

impl World {
    /// Inflicts a loss on a random node.
    pub(super) fn bereave(&mut self) -> Checked {
        let number = self.chance.within(1..self.plan.nodes + 1);
        let victim = self.node_at(&format!("http://n{number}"));
        self.bereave_one(victim)
    }

    /// Handles a node that has come to remember the cluster: a node that remembered it before may now forget.
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

    /// Takes the disk of a node, or the knowledge of its process, unless it is the last node to know of the cluster.
    pub(super) fn bereave_one(&mut self, victim: NodeId) -> Checked {
        let loses_disk = self.chance.percent(LOST_PERCENT);
        let keeps = !loses_disk && self.nodes[&victim].has_data;
        let is_remembered = keeps || self.nodes.values().any(|node| node.id != victim && self.remembers(node));
        if self.is_calm || self.dead.contains(&victim) || self.is_founded() && !is_remembered {
            return Ok(());
        }
        if loses_disk { self.lose_disk(victim) } else { self.kill(victim) }
    }

    /// Returns whether a node knows of the cluster.
    fn remembers(&self, node: &Node) -> bool {
        let is_there = !self.dead.contains(&node.id);
        is_there && (node.has_data || node.entrant().is_some_and(Entrant::remembers))
    }

    /// Returns whether too much of the cluster is lost for it ever to serve again.
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

    /// Checks that no node founds a cluster in place of the lost one, and that all waiting nodes know that there was
    /// one.
    pub(super) fn check_held(&mut self, limit_ms: u64) -> Checked {
        self.coverage.count(Kind::Bereft);
        let knows = |world: &Self| world.nodes.values().filter_map(Node::entrant).all(Entrant::is_held);
        self.wait_for("all who wait know that there was a cluster", limit_ms, knows)?;
        self.run_until(self.now + HELD_FOR)?;
        self.wait_for("all who wait know that there was a cluster", 0, knows)
    }
}
