//! Several nodes that form a cluster.

use super::node::Node;
use super::program::Program;
use crate::port::Port;
use crate::wait::until;
use kvclient::{Client, Health, NodeState};
use std::ops::{Index, IndexMut};
use tempfile::TempDir;

/// See [`Cluster::start_calm`].
const CALM: (&str, &str) = ("--election-timeout-ms", "1500..2500");

/// A cluster of processes: `node1`, `node2`, ..., which tests number from zero. Dropping it kills them.
#[derive(Debug)]
pub struct Cluster {
    /// Its nodes, running or not, in the order of their names.
    pub nodes: Vec<Node>,
    /// Number of names given so far: none is given twice, even after its node has left.
    names: usize,
    /// After the nodes, so that it is removed when no node writes there any more.
    dir: TempDir,
}

impl Cluster {
    /// Starts a cluster, and waits until it has formed and has a leader.
    #[track_caller]
    pub fn start(size: usize) -> Self {
        let mut cluster = Self::prepare(size);
        cluster.start_all();
        cluster.leader();
        cluster
    }

    /// Starts a cluster whose leader changes only when a test makes it: even on a machine short of processors, no node
    /// is delayed for as long as its election timeout here.
    #[track_caller]
    pub fn start_calm(size: usize) -> Self {
        Self::start_with_all(size, &[CALM])
    }

    /// Starts such a cluster with one more flag for every node.
    #[track_caller]
    pub fn start_calm_with(size: usize, flag: &str, value: &str) -> Self {
        Self::start_with_all(size, &[CALM, (flag, value)])
    }

    /// Starts a cluster with a flag for every node.
    #[track_caller]
    pub fn start_with(size: usize, flag: &str, value: &str) -> Self {
        Self::start_with_all(size, &[(flag, value)])
    }

    #[track_caller]
    fn start_with_all(size: usize, flags: &[(&str, &str)]) -> Self {
        let mut cluster = Self::prepare(size);
        for node in &mut cluster.nodes {
            flags.iter().for_each(|(flag, value)| node.set_flag(flag, *value));
        }
        cluster.start_all();
        cluster.leader();
        cluster
    }

    /// Starts a cluster whose nodes run another program and keep their data in memory.
    #[track_caller]
    pub fn start_as(program: &Program, size: usize) -> Self {
        let mut cluster = Self::prepare(size);
        for node in &mut cluster.nodes {
            node.set_program(program.clone());
            node.set_flag(CALM.0, CALM.1);
            node.set_flag("--storage", "memory");
        }
        cluster.start_all();
        cluster.leader();
        cluster
    }

    /// Returns nodes that have not been started yet.
    pub fn prepare(size: usize) -> Self {
        let dir = TempDir::new().expect("a directory");
        let node = |number| Node::new(&format!("node{number}"), Port::any(), dir.path());
        let mut nodes: Vec<Node> = (1..=size).map(node).collect();
        let peers: Vec<String> = nodes.iter().map(|node| format!("{}={}", node.name, node.url())).collect();
        if size > 1 {
            nodes.iter_mut().for_each(|node| node.set_flag("--peers", peers.join(",")));
        }
        Self::of(nodes, dir)
    }

    /// Returns a cluster of these nodes. Their data is below `dir`, which is removed with them.
    pub fn of(nodes: Vec<Node>, dir: TempDir) -> Self {
        Self { names: nodes.len(), nodes, dir }
    }

    /// Adds another node that joins through the first one, not started yet; returns its number.
    pub fn prepare_joiner(&mut self) -> usize {
        self.prepare_joiner_at(0)
    }

    /// Does the same through another node.
    pub fn prepare_joiner_at(&mut self, member: usize) -> usize {
        self.names += 1;
        let mut node = Node::new(&format!("node{}", self.names), Port::any(), self.dir.path());
        node.set_flag("--join", self.nodes[member].url());
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    /// Starts all nodes and returns at once.
    #[track_caller]
    pub fn start_all(&mut self) {
        self.nodes.iter_mut().for_each(Node::start);
    }

    /// Kills all nodes; see [`Node::kill`].
    pub fn kill_all(&mut self) {
        self.nodes.iter_mut().for_each(Node::kill);
    }

    /// Returns the URLs of all nodes.
    pub fn endpoints(&self) -> Vec<String> {
        self.nodes.iter().map(Node::url).collect()
    }

    /// Returns a client with default settings that knows all nodes.
    pub fn client(&self) -> Client {
        Client::connect(self.endpoints()).expect("URLs of nodes")
    }

    /// Returns the running nodes; see [`Node::is_running`].
    pub fn running(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| node.is_running())
    }

    /// Waits until all running nodes have the same leader, one of them, in the same term; returns its number.
    #[track_caller]
    pub fn leader(&self) -> usize {
        self.leader_of(&(0..self.nodes.len()).filter(|number| self[*number].is_running()).collect::<Vec<_>>())
    }

    /// Does the same for some of the nodes.
    #[track_caller]
    pub fn leader_of(&self, nodes: &[usize]) -> usize {
        let name = until("the nodes agree on their leader", || {
            let healths: Vec<Health> = nodes.iter().map(|number| self[*number].health()).collect::<Option<_>>()?;
            let leader = healths.iter().find(|health| health.state == NodeState::Leader)?;
            let agree = |health: &Health| {
                health.term == leader.term && health.leader.as_ref().is_some_and(|known| known.id == leader.id)
            };
            healths.iter().all(agree).then(|| leader.id.clone())
        });
        self.nodes.iter().position(|node| node.name == name).expect("a node of this cluster")
    }

    /// Returns the numbers of all other nodes.
    pub fn others(&self, number: usize) -> Vec<usize> {
        (0..self.nodes.len()).filter(|other| *other != number).collect()
    }

    /// Returns the number of a node that does not lead.
    #[track_caller]
    pub fn follower(&self) -> usize {
        (self.leader() + 1) % self.nodes.len()
    }

    /// Waits until all running nodes have applied everything that is now in the leader's log; returns the last index.
    #[track_caller]
    pub fn catch_up(&self) -> u64 {
        let leader = &self[self.leader()];
        let target = until("the leader answers", || leader.health()).last_log_index;
        let applied = |node: &Node| node.health().is_some_and(|health| health.applied_index >= target);
        until(&format!("all have applied index {target}"), || self.running().all(applied).then_some(()));
        target
    }

    /// Waits until all nodes have applied everything that any of them has, once no client writes any more; their stores
    /// are then at the same revision.
    #[track_caller]
    pub fn converge(&self) {
        until("all nodes have applied the same", || {
            let healths: Vec<Health> = self.nodes.iter().map(Node::health).collect::<Option<_>>()?;
            let state = |health: &Health| (health.last_log_index, health.applied_index, health.revision, health.keys);
            let same = healths.iter().all(|health| state(health) == state(&healths[0]));
            (same && healths[0].applied_index == healths[0].last_log_index).then_some(())
        });
    }
}

impl Index<usize> for Cluster {
    type Output = Node;

    fn index(&self, number: usize) -> &Node {
        &self.nodes[number]
    }
}

impl IndexMut<usize> for Cluster {
    fn index_mut(&mut self, number: usize) -> &mut Node {
        &mut self.nodes[number]
    }
}
