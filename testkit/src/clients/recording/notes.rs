//! What a client writes down.

use crate::linearizability::{Answer, Call, Moment, Operation, Seen};
use kvclient::Item;

/// One life of a node, as far as someone who reads from it can tell: as long as the connection lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Life {
    pub(super) node: usize,
    pub(super) reader: usize,
    pub(super) connection: usize,
}

/// A read that may be old.
#[derive(Debug)]
pub(super) struct StaleRead {
    /// Who answered, and the revision of its store where it said so; `None` if whoever liked did.
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

/// The revision of the store that a linearizable operation came to.
#[derive(Debug)]
pub(super) struct Revision {
    pub(super) invoked: Moment,
    pub(super) returned: Moment,
    pub(super) revision: u64,
    /// Whether the operation made this revision.
    pub(super) changed: bool,
}

/// What a client has written down.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// All but writes that were refused and reads that were not answered: those have changed and seen nothing.
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
    /// Adds a linearizable read that was answered.
    pub(super) fn add_read(&mut self, key: u64, invoked: Moment, returned: Moment, found: Option<Seen>) {
        let answer = Some(Answer::Found(found));
        self.operations.push(Operation { key, invoked, returned: Some(returned), call: Call::Get, answer });
    }

    /// Adds what another client has written down.
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
