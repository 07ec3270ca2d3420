//! Detection of a misplaced node: it has the data of one cluster and is configured for the nodes of another.

use std::collections::BTreeSet;

/// The clusters of the nodes that this one has met.
#[derive(Debug, Default)]
pub(super) struct ClustersMet {
    own: bool,
    strangers: BTreeSet<String>,
}

impl ClustersMet {
    /// Notes that a node of this node's own cluster was met, so this node is not misplaced.
    pub(super) fn met_own(&mut self) {
        self.own = true;
    }

    /// Notes that the node of this name belongs to another cluster. Returns whether a majority of the `others` do,
    /// given as the number of nodes besides this one: a single stranger may itself be the misplaced one.
    pub(super) fn is_outvoted(&mut self, name: &str, others: usize) -> bool {
        self.strangers.insert(name.to_owned());
        !self.own && self.strangers.len() > others / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_stranger_does_not_outvote_a_node_and_a_friend_settles_it() {
        let mut met = ClustersMet::default();
        assert!(!met.is_outvoted("node2", 2));
        assert!(!met.is_outvoted("node2", 2), "the same again");
        assert!(met.is_outvoted("node3", 2));
        met.met_own();
        assert!(!met.is_outvoted("node3", 2));
        assert!(ClustersMet::default().is_outvoted("node2", 1), "of two nodes there is nobody else to ask");
    }
}
