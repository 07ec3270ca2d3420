//! Known Levels: no state has a level that the node's version does not know. A node proposes to raise the level only if
//! a process of every other member has told it that it knows the level, and the node has not found that process gone
//! since. A node is never added to a log that requires a level beyond any that the node has ever known.

use super::super::events::Life;
use super::super::node::Node;
use super::{Violation, ensure};
use kvd::kv::{Command, Level, Operation};
use kvd::raft::{Entry, LogIndex, NodeId, Payload, Raft, RoleName, Term};
use std::collections::{BTreeMap, BTreeSet};

const NAME: &str = "Known Levels";

/// Levels that processes were told of, and how they used them.
#[derive(Debug, Default)]
pub(crate) struct Levels {
    processes: BTreeMap<NodeId, Told>,
}

/// Levels that one process was told of.
#[derive(Debug, Default)]
struct Told {
    life: Life,
    known: BTreeMap<NodeId, Level>,
    /// The term in which it leads, and the last entry that was checked.
    looked_at: (Term, LogIndex),
    /// The members at the last check.
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

    /// Notes that a process is told the level that another knows.
    pub(crate) fn met(&mut self, (id, life): (NodeId, Life), of: NodeId, level: Level) {
        self.told(id, life).known.insert(of, level);
    }

    /// Notes that a process finds another one gone.
    pub(crate) fn lost(&mut self, (id, life): (NodeId, Life), peer: NodeId) {
        self.told(id, life).known.remove(&peer);
    }

    /// Checks a node that has changed. Returns whether it proposes to raise the level.
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
            // Earlier leaders appended the entries that it was elected with.
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
    match Command::decode(command).ok()?.operation {
        Operation::RaiseLevel { to } => Some(to),
        _ => None,
    }
}
