//! Raises the level of the state, once every member supports the next one; see [`Level`].
//!
//! A leader proposes the new level by itself. Before that entry, its log has a configuration all of whose members have
//! reported that they support the level, learners included; a node added after the entry has reported it as well
//! ([`Replica::lacks_level`]). Both decisions rest on the log of the leader that takes them, whichever leaders change
//! in between: a log that lacks the entry lacks everything decided after it (Log Matching, paper §5.3). So no member is
//! left behind by a level that it does not support.
//!
//! The leader itself counts, member or not: one that removes itself leads until its removal is committed (thesis
//! §4.2.2), and applies the entries that it has proposed by then.
//!
//! A level report holds for one process. If a node is restarted with an older version, it reports that when it is met,
//! and until then its support is not assumed ([`Replica::peer_lost`]). For a moment, the leader may not know yet that
//! the old process has gone. Therefore a node accepts no entry of a level that it does not support, from any sender
//! ([`Replica::refuses_level`]): it stays behind until it is upgraded, and can still read its own log.

use super::levels::{level_of_entry, level_of_log};
use super::replica::Replica;
use crate::kv::{Command, Level, Operation};
use crate::mutants::{self, Mutant};
use crate::raft::{Body, Message, NodeId, RoleName};

impl<W, R> Replica<W, R> {
    /// Returns the level of the state.
    pub fn level(&self) -> Level {
        self.levels.state()
    }

    /// Records another node's report that it supports the levels up to this one.
    pub fn peer_knows(&mut self, peer: NodeId, level: Level) {
        self.levels.peer_knows(peer, level);
    }

    /// Returns the newest level that a node has reported to support: the first, as long as it has reported none.
    pub fn level_known_by(&self, node: NodeId) -> Level {
        if node == self.raft().id() {
            return self.levels.max();
        }
        self.levels.known_by(node)
    }

    /// Returns the members that have not reported to support `level`.
    pub fn members_below(&self, level: Level) -> Vec<NodeId> {
        let members = self.raft().configuration().members.keys().copied();
        members.filter(|member| self.level_known_by(*member) < level).collect()
    }

    /// Returns the level that the log requires, if a node that supports levels up to `known` lacks it: such a node must
    /// not become a member.
    pub(super) fn lacks_level(&self, known: Level) -> Option<Level> {
        let needed = level_of_log(self.raft().log(), self.level());
        (known < needed && !mutants::is_on(Mutant::JoinsBelowLevel)).then_some(needed)
    }

    /// Returns the level of the entries in a message if this node does not support it. The node must not accept them.
    pub fn refuses_level(&self, message: &Message) -> Option<Level> {
        let Body::AppendEntries { entries, .. } = &message.body else { return None };
        entries
            .iter()
            .filter_map(level_of_entry)
            .max()
            .filter(|level| *level > self.levels.max() && !mutants::is_on(Mutant::TakesAnyLevel))
    }

    /// Proposes the newest level that all members support, if the state is below it.
    pub(super) fn raise_level(&mut self) {
        let raft = self.raft();
        if raft.role() != RoleName::Leader {
            return;
        }
        let members = raft.configuration().members.keys();
        let counted = members
            .filter(|member| !mutants::is_on(Mutant::LevelByVoters) || raft.configuration().voters.contains(member));
        // A leader that is being removed is not in the last configuration, but still applies the entries that it
        // proposes.
        let own = if mutants::is_on(Mutant::LevelAboveOwn) { Level::NEWEST } else { self.levels.max() };
        let next = counted.map(|member| self.level_known_by(*member)).fold(own, Level::min);
        // The log is searched only while the level is about to be raised.
        if next <= self.level() || next <= level_of_log(raft.log(), self.level()) {
            return;
        }
        let command = Command { operation: Operation::RaiseLevel { to: next }, request: None };
        // While leadership is being transferred nothing is proposed: the next leader will propose it.
        let _ = self.raft_mut().propose(command.encode());
    }
}
