//! Levels that nodes know, and that entries ask for. When the level of the state rises is decided in `raising`.

use crate::kv::{Command, Level};
use crate::mutants::{self, Mutant};
use crate::raft::{Entry, Log, NodeId, Payload};
use std::collections::BTreeMap;

/// What one node knows of levels.
#[derive(Debug)]
pub(super) struct Levels {
    /// The newest that this node knows, or is to know.
    max: Level,
    /// That of the state.
    state: Level,
    /// The newest that the other nodes have said to know.
    known: BTreeMap<NodeId, Level>,
}

impl Levels {
    pub(super) fn new(max: Level, state: Level) -> Self {
        Self { max, state, known: BTreeMap::new() }
    }

    pub(super) fn max(&self) -> Level {
        self.max
    }

    /// The level of the state.
    pub(super) fn state(&self) -> Level {
        self.state
    }

    /// The newest level that another node has said to know: the first, as long as nothing has been heard of it.
    pub(super) fn known_by(&self, node: NodeId) -> Level {
        self.known.get(&node).copied().unwrap_or(Level::FIRST)
    }

    /// Another node has said that it knows the levels up to this one.
    pub(super) fn peer_knows(&mut self, peer: NodeId, level: Level) {
        self.known.insert(peer, level);
    }

    /// The state has this level now.
    pub(super) fn reached(&mut self, level: Level) {
        self.state = level;
    }

    pub(super) fn peer_lost(&mut self, peer: NodeId) {
        if !mutants::is_on(Mutant::LevelOfTheDead) {
            self.known.remove(&peer);
        }
    }
}

/// The level that a log asks for which has been applied to a state of level `state`: that one, or what entries ask for that
/// have yet to be applied or committed.
pub(super) fn level_of_log(log: &Log, state: Level) -> Level {
    let unapplied = log.entries_from(log.applied_index().next(), usize::MAX).unwrap_or_default();
    unapplied.iter().filter_map(level_of_entry).fold(state, Level::max)
}

/// The level that an entry asks for, if it is a command.
pub(super) fn level_of_entry(entry: &Entry) -> Option<Level> {
    match &entry.payload {
        Payload::Command(command) => Command::level_of(command),
        Payload::Noop | Payload::Configuration(_) => None,
    }
}
