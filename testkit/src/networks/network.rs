//! Networks between the nodes of a cluster that can be cut, one direction of one pair at a time.
//!
//! The clients reach every node at all times: what is tested is a cluster that is divided, and clients who do not know.
//! What was sent over a cut link and had not arrived is not lost: as with any stream, it may arrive once the link is
//! mended.

use crate::processes::{Cluster, Node};
use std::path::Path;
use tempfile::TempDir;

/// A network with as many places for nodes as were asked for.
pub trait Network: Sync {
    /// Number of places.
    fn size(&self) -> usize;

    /// A node in its place, with its name and its data in `dir`.
    fn node(&self, number: usize, dir: &Path) -> Node;

    /// Where one node reaches another, or itself.
    fn url(&self, from: usize, to: usize) -> String;

    /// Cuts or mends one direction of a link. Of what is sent from now on, nothing arrives while it is cut.
    fn set_passes(&self, from: usize, to: usize, passes: bool);

    /// Takes this thread, and those that it starts from now on, to where the clients are.
    fn enter(&self);

    /// A node in each place, which are yet to be started and will form a cluster.
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
    /// Nobody of the one side hears anybody of the other.
    pub fn cut_one_way(&self, from: &[usize], to: &[usize]) {
        for from in from {
            to.iter().for_each(|to| self.set_passes(*from, *to, false));
        }
    }

    /// The two sides do not hear each other.
    pub fn cut(&self, one: &[usize], other: &[usize]) {
        self.cut_one_way(one, other);
        self.cut_one_way(other, one);
    }

    /// Everyone hears everyone.
    pub fn heal(&self) {
        for from in 0..self.size() {
            (0..self.size()).filter(|to| *to != from).for_each(|to| self.set_passes(from, to, true));
        }
    }
}
