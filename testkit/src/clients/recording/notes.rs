//! Notes of a client.

use crate::linearizability::{Answer, Call, Moment, Operation, Seen};
use kvclient::Item;

/// One incarnation of a node, as far as its reader can tell: it lasts as long as the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Life {
    pub(super) node: usize,
    pub(super) reader: usize,
    pub(super) connection: usize,
}

/// A stale read.
#[derive(Debug)]
pub(super) struct StaleRead {
    /// The node that answered, and the revision of its store if it reported one; `None` if any node could answer.
    pub(super) life: Option<(Life, Option<u64>)>,
    pub(super) key: u64,
    pub(super) returned: Moment,
    pub(super) item: Option<Item>,
}

/// A linearizable read from one node.
#[derive(Debug)]
pub(super) struct NodeRead {
    pub(super) node: usize,
    pub(super) invoked: Moment,
    pub(super) returned: Moment,
    pub(super) answered: bool,
}

/// Revision of the store after a linearizable operation.
#[derive(Debug)]
pub(super) struct Revision {
    pub(super) invoked: Moment,
    pub(super) returned: Moment,
    pub(super) revision: u64,
    /// True if the operation created this revision.
    pub(super) changed: bool,
}

/// All notes of a client.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// All operations except refused writes and unanswered reads, which have changed and seen nothing.
    pub(super) operations: Vec<Operation>,
    pub(super) stale_reads: Vec<StaleRead>,
    pub(super) node_reads: Vec<NodeRead>,
    pub(super) revisions: Vec<Revision>,
    pub(super) acknowledged: usize,
    /// Those of them that were written at one node.
    pub(super) at_one_node: usize,
    pub(super) unknown: usize,
    pub(super) refused: usize,
}

impl Notes {
    /// Adds an answered linearizable read.
    pub(super) fn add_read(&mut self, key: u64, invoked: Moment, returned: Moment, found: Option<Seen>) {
        let answer = Some(Answer::Found(found));
        self.operations.push(Operation { key, invoked, returned: Some(returned), call: Call::Get, answer });
    }

    /// Adds the notes of another client.
    pub(super) fn add(&mut self, other: Self) {
        self.operations.extend(other.operations);
        self.stale_reads.extend(other.stale_reads);
        self.node_reads.extend(other.node_reads);
        self.revisions.extend(other.revisions);
        self.acknowledged += other.acknowledged;
        self.at_one_node += other.at_one_node;
        self.unknown += other.unknown;
        self.refused += other.refused;
    }
}
