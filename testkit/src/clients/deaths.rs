//! Nodes that repeatedly stop and return under load.

use super::load::{Ledger, Load};
use crate::processes::{Cluster, Node};
use std::time::{Duration, Instant};

/// Number of deaths, and the load during them.
#[derive(Clone, Copy, Debug)]
pub struct Deaths {
    /// Deaths in all.
    pub times: usize,
    /// Threads that write.
    pub writers: usize,
    /// Writes that are acknowledged between two steps, so that each death meets a cluster at work.
    pub writes_between: u64,
}

impl Deaths {
    /// Kills the leader each time, and starts it again. Returns the outcomes that the writers were told, and the time
    /// without an acknowledged write around each death. In the end all nodes have caught up.
    pub fn of_leaders(self, cluster: &mut Cluster) -> (Ledger, Vec<Duration>) {
        self.by(cluster, |cluster, _| cluster.leader(), Node::kill, Node::start)
    }

    /// Does the same to the node `chosen` in each round, with functions that make a node `go` and `come` back.
    pub fn by(
        self,
        cluster: &mut Cluster,
        chosen: impl Fn(&Cluster, usize) -> usize,
        go: impl Fn(&mut Node),
        come: impl Fn(&mut Node),
    ) -> (Ledger, Vec<Duration>) {
        let load = Load::start(&cluster.client(), self.writers);
        let mut moments = Vec::new();
        for round in 0..self.times {
            load.flow(self.writes_between);
            let node = chosen(cluster, round);
            moments.push(Instant::now());
            go(&mut cluster[node]);
            load.flow(self.writes_between);
            come(&mut cluster[node]);
            cluster.catch_up();
        }
        load.flow(self.writes_between);
        let ledger = load.stop();
        cluster.catch_up();
        let gaps = ledger.gaps(&moments);
        (ledger, gaps)
    }
}
