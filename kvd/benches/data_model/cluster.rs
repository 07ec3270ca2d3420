//! A cluster that must keep its leader, and the processor time of its nodes.

use kvclient::{Client, Health};
use std::time::{Duration, Instant};
use testkit::{Cluster, Node, until};

/// A cluster of three nodes with default settings.
pub(crate) struct Steady {
    cluster: Cluster,
    leader: usize,
    term: u64,
}

impl Steady {
    /// Starts it, and waits until its data has the newest level.
    pub(crate) fn start() -> Self {
        let cluster = Cluster::start(3);
        let is_newest = |health: Health| health.level == health.level_max;
        until("the level is the newest", || {
            cluster.nodes.iter().all(|node| node.health().is_some_and(is_newest)).then_some(())
        });
        let leader = cluster.leader();
        let term = term(&cluster[leader]);
        Self { cluster, leader, term }
    }

    pub(crate) fn client(&self) -> Client {
        self.cluster.client()
    }

    pub(crate) fn nodes(&self) -> &[Node] {
        &self.cluster.nodes
    }

    pub(crate) fn leader(&self) -> &Node {
        &self.cluster[self.leader]
    }

    pub(crate) fn follower(&self) -> &Node {
        &self.cluster[(self.leader + 1) % self.cluster.nodes.len()]
    }

    /// Waits until all nodes have applied everything.
    pub(crate) fn converge(&self) {
        self.cluster.converge();
    }

    /// Checks that there was no election: what was measured would be something else.
    #[track_caller]
    pub(crate) fn check_leader(&self) {
        for node in self.nodes() {
            assert_eq!(term(node), self.term, "term of {}: there was an election meanwhile", node.name);
        }
    }

    /// Returns the share of a core that each node takes while `work` runs, the leader first.
    pub(crate) fn shares_of_core(&self, work: impl FnOnce()) -> Vec<f64> {
        let nodes =
            || [self.leader()].into_iter().chain(self.nodes().iter().filter(|node| node.name != self.leader().name));
        let (before, began): (Vec<Duration>, _) = (nodes().map(Node::cpu_time).collect(), Instant::now());
        work();
        let took = began.elapsed();
        nodes()
            .zip(before)
            .map(|(node, before)| (node.cpu_time() - before).as_secs_f64() / took.as_secs_f64())
            .collect()
    }
}

fn term(node: &Node) -> u64 {
    until("the node answers", || node.health()).term
}
