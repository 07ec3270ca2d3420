//! State Machine Safety: if a server has applied a log entry at a given index to its state machine, no other server
//! will ever apply a different log entry for the same index (paper Figure 3).
//!
//! Stores at the same applied index have the same state hash, on all nodes and in all incarnations, and match the state
//! of the model at that index.

use super::super::model::Model;
use super::{Checked, ensure};
use kvd::kv::StateHash;
use kvd::node::Replica;
use kvd::raft::{LogIndex, NodeId};
use std::collections::{BTreeMap, HashMap};

const NAME: &str = "State Machine Safety";

/// State hashes seen so far.
#[derive(Debug, Default)]
pub(super) struct StateMachineSafety {
    // Looked up and never iterated over.
    hashes: HashMap<LogIndex, StateHash>,
    checked: BTreeMap<NodeId, LogIndex>,
    /// A node that was made to hold a wrong state.
    strays: Option<NodeId>,
}

impl StateMachineSafety {
    /// Notes a new incarnation of a node: the state that it starts with is judged anew.
    pub(super) fn restarted(&mut self, id: NodeId) {
        self.checked.remove(&id);
    }

    /// Notes that this node is made to hold a wrong state.
    pub(super) fn strays(&mut self, id: Option<NodeId>) {
        self.strays = id;
    }

    pub(super) fn check<W, R>(&mut self, id: NodeId, replica: &Replica<W, R>, model: &Model) -> Checked {
        let index = replica.raft().log().applied_index();
        if self.checked.insert(id, index) == Some(index) || self.strays == Some(id) {
            return Ok(());
        }
        let store = replica.store().read().expect("nothing panics while it holds the store");
        let hash = store.state_hash();
        let first = *self.hashes.entry(index).or_insert(hash);
        ensure!(NAME, first == hash, "n{} has state {hash} at {index}, where another had {first}", id.0);
        let (found, expected) = (store.revision(), model.revision_at(index));
        ensure!(NAME, found == expected, "n{} is at revision {found} at {index}, and should be at {expected}", id.0);
        Ok(())
    }
}
