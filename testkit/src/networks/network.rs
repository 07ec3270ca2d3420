//! Networks between the nodes of a cluster, whose links can be cut, one direction of one pair at a time.
//!
//! The clients reach every node at all times: the tests examine a partitioned cluster with clients that do not know of
//! the partition. Data in flight on a link that is cut is not lost: as with any stream, it may arrive once the link is
//! mended.

use crate::processes::{Cluster, Node};
use std::path::Path;
use tempfile::TempDir;

/// A network with the requested number of places for nodes.
pub trait Network: Sync {
    /// Returns the number of places.
    fn size(&self) -> usize;

    /// Returns a node in its place, with its name, and with its data in `dir`.
    fn node(&self, number: usize, dir: &Path) -> Node;

    /// Returns the URL at which one node reaches another, or itself.
    fn url(&self, from: usize, to: usize) -> String;

    /// Cuts or mends one direction of a link. While it is cut, nothing sent from now on arrives.
    fn set_passes(&self, from: usize, to: usize, passes: bool);

    /// Moves this thread, and those that it starts from now on, to the place of the clients.
    fn enter(&self);

    /// Returns a node in each place. They are not started yet, and will form a cluster.
    fn prepare(&self) -> Cluster {
        let dir = TempDir::new().expect("a directory");
        let mut nodes: Vec<Node> = (0..self.size()).map(|number| self.node(number, dir.path())).collect();
        let names: Vec<String> = nodes.iter().map(|node| node.name.clone()).collect();
        for (from, node) in nodes.iter_mut().enumerate() {
            let peers = names.iter().enumerate().map(|(to, name)| format!("{name}={}", self.url(from, to)));
            node.set_flag("--peers", peers.collect::<Vec<_>>().join(","));
        }
        Cluster::of(nodes, dir)
    }
}

impl dyn Network + '_ {
    /// Cuts all links from nodes of `from` to nodes of `to`.
    pub fn cut_one_way(&self, from: &[usize], to: &[usize]) {
        for from in from {
            to.iter().for_each(|to| self.set_passes(*from, *to, false));
        }
    }

    /// Cuts all links between the two sides.
    pub fn cut(&self, one: &[usize], other: &[usize]) {
        self.cut_one_way(one, other);
        self.cut_one_way(other, one);
    }

    /// Mends all links.
    pub fn heal(&self) {
        for from in 0..self.size() {
            (0..self.size()).filter(|to| *to != from).for_each(|to| self.set_passes(from, to, true));
        }
    }
}
