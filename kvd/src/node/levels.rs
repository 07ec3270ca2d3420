//! Levels that nodes support, and levels that entries require. `raising` decides when the level of the state rises.

use crate::kv::{Command, Level};
use crate::mutants::{self, Mutant};
use crate::raft::{Entry, Log, NodeId, Payload};
use std::collections::BTreeMap;

/// One node's knowledge of levels.
#[derive(Debug)]
pub(super) struct Levels {
    /// The newest level that this node supports, or is configured to support.
    max: Level,
    /// The level of the state.
    state: Level,
    /// The newest level that each other node has reported to support.
    known: BTreeMap<NodeId, Level>,
}

impl Levels {
    pub(super) fn new(max: Level, state: Level) -> Self {
        Self { max, state, known: BTreeMap::new() }
    }

    pub(super) fn max(&self) -> Level {
        self.max
    }

    /// Returns the level of the state.
    pub(super) fn state(&self) -> Level {
        self.state
    }

    /// Returns the newest level that another node has reported to support: the first, as long as it has reported none.
    pub(super) fn known_by(&self, node: NodeId) -> Level {
        self.known.get(&node).copied().unwrap_or(Level::FIRST)
    }

    /// Records another node's report that it supports the levels up to this one.
    pub(super) fn peer_knows(&mut self, peer: NodeId, level: Level) {
        self.known.insert(peer, level);
    }

    /// Records that the state has this level now.
    pub(super) fn reached(&mut self, level: Level) {
        self.state = level;
    }

    pub(super) fn peer_lost(&mut self, peer: NodeId) {
        if !mutants::is_on(Mutant::LevelOfTheDead) {
            self.known.remove(&peer);
        }
    }
}

/// Returns the level that a log requires, given that its applied entries led to a state of level `state`: that level,
/// or a higher one required by entries that have yet to be applied or committed.
pub(super) fn level_of_log(log: &Log, state: Level) -> Level {
    let unapplied = log.entries_from(log.applied_index().next(), usize::MAX).unwrap_or_default();
    unapplied.iter().filter_map(level_of_entry).fold(state, Level::max)
}

/// Returns the level that an entry requires, if it is a command.
pub(super) fn level_of_entry(entry: &Entry) -> Option<Level> {
    match &entry.payload {
        Payload::Command(command) => Command::level_of(command),
        Payload::Noop | Payload::Configuration(_) => None,
    }
}
