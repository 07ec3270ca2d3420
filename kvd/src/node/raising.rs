//! Raises the level of the state, once every member knows the next one; see [`Level`].
//!
//! A leader proposes it by itself. Its log then holds, before the entry, a configuration all of whose members have said that
//! they know the level, learners too; and whoever is added after it has said so as well ([`Replica::lacks_level`]). However
//! leaders change in between, both are decided by the log of the one that decides, and a log that lacks the entry lacks
//! all that was decided after it (Log Matching, paper §5.3). So no member is left behind by a level that it does not know.
//!
//! The leader itself counts, member or not: one that removes itself leads until that is committed (thesis §4.2.2), and applies
//! what it has proposed by then.
//!
//! What a node has said holds for its process. One that is started again as an older version says so when it is met, and
//! until then nobody counts on it ([`Replica::peer_lost`]). There is a moment in which the leader does not know yet that the
//! process has gone. Therefore a node takes no entry of a level that it does not know, whoever sends it
//! ([`Replica::refuses_level`]): it stays behind until it is upgraded, and its own log remains readable to it.

use super::levels::{level_of_entry, level_of_log};
use super::replica::Replica;
use crate::kv::{Command, Level, Operation};
use crate::mutants::{self, Mutant};
use crate::raft::{Body, Message, NodeId, RoleName};

impl<W, R> Replica<W, R> {
    /// The level of the state.
    pub fn level(&self) -> Level {
        self.levels.state()
    }

    /// Another node has said that it knows the levels up to this one.
    pub fn peer_knows(&mut self, peer: NodeId, level: Level) {
        self.levels.peer_knows(peer, level);
    }

    /// The newest level that a node has said to know: the first, as long as nothing has been heard of it.
    pub fn level_known_by(&self, node: NodeId) -> Level {
        if node == self.raft().id() {
            return self.levels.max();
        }
        self.levels.known_by(node)
    }

    /// Members that have not said to know `level`.
    pub fn members_below(&self, level: Level) -> Vec<NodeId> {
        let members = self.raft().configuration().members.keys().copied();
        members.filter(|member| self.level_known_by(*member) < level).collect()
    }

    /// The level that the log asks for, if a node which knows no more than `known` lacks it: such a node must not become a
    /// member.
    pub(super) fn lacks_level(&self, known: Level) -> Option<Level> {
        let needed = level_of_log(self.raft().log(), self.level());
        (known < needed && !mutants::is_on(Mutant::JoinsBelowLevel)).then_some(needed)
    }

    /// The level of entries in a message that this node does not know. It must not take them.
    pub fn refuses_level(&self, message: &Message) -> Option<Level> {
        let Body::AppendEntries { entries, .. } = &message.body else { return None };
        entries
            .iter()
            .filter_map(level_of_entry)
            .max()
            .filter(|level| *level > self.levels.max() && !mutants::is_on(Mutant::TakesAnyLevel))
    }

    /// Proposes the newest level that all members know, if it is not that of the state already.
    pub(super) fn raise_level(&mut self) {
        let raft = self.raft();
        if raft.role() != RoleName::Leader {
            return;
        }
        let members = raft.configuration().members.keys();
        let counted = members
            .filter(|member| !mutants::is_on(Mutant::LevelByVoters) || raft.configuration().voters.contains(member));
        // A leader that is about to leave is no member by the last configuration, and applies what it proposes all the same.
        let own = if mutants::is_on(Mutant::LevelAboveOwn) { Level::NEWEST } else { self.levels.max() };
        let next = counted.map(|member| self.level_known_by(*member)).fold(own, Level::min);
        // The log is looked through for as long as the level is about to be raised, and not otherwise.
        if next <= self.level() || next <= level_of_log(raft.log(), self.level()) {
            return;
        }
        let command = Command { operation: Operation::RaiseLevel { to: next }, request: None };
        // While leadership is being transferred nothing is proposed: whoever leads next sees to it.
        let _ = self.raft_mut().propose(command.encode());
    }
}
