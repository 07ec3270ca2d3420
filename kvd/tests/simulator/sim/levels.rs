//! Upgrades: nodes that run different versions, of which the older ones know fewer levels.
//!
//! A version is drawn whenever a process starts, so in runs with an upgrade nodes restart as the newer version, and
//! some as the older one again. Nodes announce the levels that they know whenever one opens a stream to another.

use super::chance::Chance;
use super::coverage::Kind;
use super::invariants::Checked;
use super::node::{Node, Process};
use super::world::World;
use kvd::kv::Level;
use kvd::raft::NodeId;

/// The versions of a run. They have their own generator.
#[derive(Debug)]
pub(super) struct Versions {
    chance: Chance,
    /// Chance that a starting process is of the older version. Percent.
    older_percent: u32,
    /// The only node that stays at the older version while the others are upgraded.
    stays_older: Option<NodeId>,
}

/// Separates the draws of versions from all other draws.
const SALT: u64 = 0x1e7e_15a7;

impl Versions {
    pub(super) fn draw(seed: u64) -> Self {
        let mut chance = Chance::new(seed ^ SALT);
        let older_percent = chance.one_of(&[0, 0, 20, 60, 90]);
        let stays_older = chance.percent(8).then(|| NodeId(chance.within(1..4)));
        Self { chance, older_percent: if stays_older.is_some() { 0 } else { older_percent }, stays_older }
    }
}

impl World {
    /// Draws the program version of a process that is about to start.
    pub(super) fn draw_version(&mut self, id: NodeId) {
        let is_older =
            self.versions.chance.percent(self.versions.older_percent) || self.versions.stays_older == Some(id);
        let before = self.nodes[&id].level_max;
        // A node that was upgraded to be admitted is not rolled back before it is admitted.
        let is_waiting = !self.nodes[&id].has_data && before > Level::FIRST && self.nodes[&id].lives > 0;
        let level = if is_older && !self.is_calm && !is_waiting { Level::FIRST } else { Level::NEWEST };
        if self.nodes[&id].lives > 0 && level != before {
            self.coverage.count(if level > before { Kind::Upgraded } else { Kind::RolledBack });
        }
        self.runs_version(id, level);
    }

    /// Returns whether a node is the only one of the older version. A sensible operator replaces it.
    pub(super) fn is_last_of_older(&self, id: NodeId) -> bool {
        self.versions.stays_older == Some(id) && self.nodes[&id].level_max < Level::NEWEST
    }

    fn runs_version(&mut self, id: NodeId, level: Level) {
        let node = self.node(id);
        node.level_max = level;
        node.level_ever = node.level_ever.max(level);
    }

    /// Upgrades a node that is not admitted because it is of the older version.
    pub(super) fn upgrade_entrant(&mut self, id: NodeId) -> Checked {
        let raised = self.nodes.values().filter_map(Node::process).map(|process| process.replica.level()).max();
        if raised.is_none_or(|raised| raised <= self.nodes[&id].level_max) {
            return Ok(());
        }
        self.kill(id)?;
        self.runs_version(id, Level::NEWEST);
        Ok(())
    }

    /// Handles a node that was sent something that its version does not know. An operator eventually reads its message
    /// and upgrades it.
    pub(super) fn is_left_behind(&mut self, id: NodeId) -> Checked {
        self.coverage.count(Kind::LevelRefused);
        if self.is_calm && !self.hindered.contains(&id) {
            self.kill(id)?;
        }
        Ok(())
    }

    /// Starts the newer version instead, since the data has a level that the older one does not know.
    pub(super) fn undo_roll_back(&mut self, id: NodeId) {
        self.coverage.count(Kind::RolledBackTooLate);
        self.runs_version(id, Level::NEWEST);
    }

    /// Lets two nodes introduce themselves to each other.
    pub(super) fn meet(&mut self, one: NodeId, other: NodeId) {
        self.is_told(one, other);
        self.is_told(other, one);
    }

    /// Tells a node which level the present version of another knows.
    pub(super) fn is_told(&mut self, id: NodeId, of: NodeId) {
        let level = self.nodes[&of].level_max;
        if let Some(Process { replica, life, paused: false, .. }) = self.process(id) {
            replica.peer_knows(of, level);
            let life = *life;
            self.invariants.levels.met((id, life), of, level);
        }
    }

    /// Returns whether the level is the newest that all members know, unless one of them can tell no other.
    pub(super) fn is_level_raised(&self) -> bool {
        let Some(configuration) = self.last_configuration() else { return false };
        let members = || configuration.members.keys().map(|member| &self.nodes[member]);
        let known = members().map(|node| node.level_max).min().unwrap_or(Level::FIRST);
        let are_all_there = members().all(|node| !self.left_out.contains(&node.id) && node.process().is_some());
        let have_risen = || members().filter_map(Node::process).all(|process| process.replica.level() >= known);
        !are_all_there || have_risen()
    }
}
