//! Known Levels: no state has a level that the node's version does not know; whoever proposes to raise the level has been told by a process of every other member, and has not found
//! that one gone since, that it knows the level; and nobody is added to a log that asks for a level beyond what it has
//! ever known.

use super::super::events::Life;
use super::super::node::Node;
use super::{Violation, ensure};
use kvd::kv::{Command, Level};
use kvd::raft::{Entry, LogIndex, NodeId, Payload, Raft, RoleName, Term};
use std::collections::{BTreeMap, BTreeSet};

const NAME: &str = "Known Levels";

/// What processes were told, and what they made of it.
#[derive(Debug, Default)]
pub(crate) struct Levels {
    processes: BTreeMap<NodeId, Told>,
}

/// What one process was told.
#[derive(Debug, Default)]
struct Told {
    life: Life,
    known: BTreeMap<NodeId, Level>,
    /// The term in which it leads, and the last entry that has been looked at.
    looked_at: (Term, LogIndex),
    /// The members at the last look.
    members: BTreeSet<NodeId>,
}

impl Levels {
    fn told(&mut self, id: NodeId, life: Life) -> &mut Told {
        let told = self.processes.entry(id).or_default();
        if told.life != life {
            *told = Told { life, ..Told::default() };
        }
        told
    }

    /// A process is told what another one knows.
    pub(crate) fn met(&mut self, (id, life): (NodeId, Life), of: NodeId, level: Level) {
        self.told(id, life).known.insert(of, level);
    }

    /// A process finds that another one is gone.
    pub(crate) fn lost(&mut self, (id, life): (NodeId, Life), peer: NodeId) {
        self.told(id, life).known.remove(&peer);
    }

    /// A node has changed. Returns whether it proposes to raise the level.
    pub(super) fn check(
        &mut self,
        node: &Node,
        life: Life,
        raft: &Raft,
        nodes: &BTreeMap<NodeId, Node>,
    ) -> Result<bool, Violation> {
        let state = node.process().map_or(Level::FIRST, |process| process.replica.level());
        ensure!(
            NAME,
            state <= node.level_max,
            "n{} has a state of level {state}, and knows levels up to {}",
            node.id.0,
            node.level_max
        );
        let told = self.told(node.id, life);
        if raft.role() != RoleName::Leader {
            return Ok(false);
        }
        let (term, last) = (raft.term(), raft.log().last_index());
        let members: BTreeSet<NodeId> = raft.configuration().members.keys().copied().collect();
        let (looked_term, looked_index) = std::mem::replace(&mut told.looked_at, (term, last));
        let before = std::mem::replace(&mut told.members, members.clone());
        if looked_term != term {
            // What it was elected with is others' doing.
            return Ok(false);
        }
        let new = raft.log().entries_from(looked_index.next(), usize::MAX).unwrap_or_default();
        for level in new.iter().filter_map(raised_to) {
            for member in raft.configuration().members.keys() {
                let known = if *member == node.id { Some(&node.level_max) } else { told.known.get(member) };
                ensure!(
                    NAME,
                    known.is_some_and(|known| *known >= level),
                    "n{} proposes level {level}, and knows of n{} that it knows {known:?}",
                    node.id.0,
                    member.0
                );
            }
        }
        for added in members.difference(&before) {
            let known = nodes.get(added).map_or(Level::FIRST, |node| node.level_ever);
            ensure!(
                NAME,
                known >= state,
                "n{} adds n{}, which never knew more than level {known}, to a cluster of level {state}",
                node.id.0,
                added.0
            );
        }
        Ok(new.iter().any(|entry| raised_to(entry).is_some()))
    }
}

fn raised_to(entry: &Entry) -> Option<Level> {
    let Payload::Command(command) = &entry.payload else { return None };
    Command::level_of(command).filter(|level| *level > Level::FIRST)
}
