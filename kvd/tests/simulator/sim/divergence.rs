//! Replicas compare their states throughout the run, under every fault. No healthy replica may ever find that it has
//! diverged. Some runs plant a difference at the end: the node that holds it must find it, and no other node may.
//!
//! All randomness here comes from a separate generator, so that it changes nothing else in a run.

use super::chance::Chance;
use super::coverage::Kind;
use super::ending::ELECTION_TIMEOUTS_MAX;
use super::events::{Event, Life, Micros};
use super::invariants::{Checked, ensure};
use super::node::{Node, State};
use super::plan::Ending;
use super::world::World;
use kvd::kv::{Command, Operation, RequestId};
use kvd::node::AppliedState;
use kvd::raft::{NodeId, RoleName};

const MS: Micros = 1_000;

/// Interval at which the nodes ask each other.
const EVERY: Micros = 400 * MS;

/// Rounds of questions within which a difference is found once there is a leader. Some answers are late or lost.
const ROUNDS_MAX: u64 = 20;

/// State of the comparisons, with their generator.
#[derive(Debug)]
pub(crate) struct Comparisons {
    chance: Chance,
    /// The node whose state holds a planted difference now.
    planted: Option<NodeId>,
    /// The same node, even after its difference is gone: the states that it reported may still be believed.
    ever_planted: Option<NodeId>,
}

impl Comparisons {
    pub(crate) fn new(seed: u64) -> Self {
        Self { chance: Chance::new(seed ^ 0xd1ff_e4e5_ce5a_11ed), planted: None, ever_planted: None }
    }

    /// Returns whether a difference was planted in the state of this node.
    pub(super) fn has_strayed(&self, id: NodeId) -> bool {
        self.planted == Some(id)
    }
}

impl World {
    pub(crate) fn compare_states_later(&mut self) {
        let at = self.now + self.comparisons.chance.within(EVERY / 2..EVERY);
        self.queue.schedule(at, Event::CompareStates);
    }

    /// Lets every node ask every other that runs and is reachable; each answer arrives sooner or later.
    pub(super) fn compare_states(&mut self) -> Checked {
        self.compare_states_later();
        for to in self.all_nodes() {
            for from in self.all_nodes() {
                let hear_each_other =
                    self.network.works((from, to), self.now) && self.network.works((to, from), self.now);
                let is_there = |id| self.nodes[&id].process().filter(|process| !process.paused);
                let (Some(asker), Some(asked)) = (is_there(to), is_there(from)) else { continue };
                if to == from || !hear_each_other || self.comparisons.chance.percent(20) {
                    continue;
                }
                let (life, states) = (asker.life, asked.replica.states());
                let takes = if self.comparisons.chance.percent(10) { 3_000 * MS } else { 20 * MS };
                let at = self.now + self.comparisons.chance.within(MS..takes);
                self.queue.schedule(at, Event::StatesArrive { to, life, from, states });
            }
        }
        Ok(())
    }

    /// Delivers the states of one node to another.
    pub(super) fn states_arrive(&mut self, to: NodeId, life: Life, from: NodeId, states: Vec<AppliedState>) -> Checked {
        let (planted, ever_planted) = (self.comparisons.planted, self.comparisons.ever_planted);
        let Some(process) = self.process(to).filter(|process| process.life == life && !process.paused) else {
            return Ok(());
        };
        process.replica.compare_states(from, states);
        let Some(divergence) = process.replica.divergence() else {
            let others = process.replica.disagreement().map(|(other, _)| other);
            ensure!(
                "Divergence",
                others.is_none_or(|other| [Some(other), Some(to)].contains(&ever_planted)),
                "n{} differs from {others:?}, and nothing was planted there",
                to.0
            );
            self.coverage.count(Kind::StatesCompared);
            return Ok(());
        };
        ensure!("Divergence", planted == Some(to), "n{} takes itself for diverged: {divergence}", to.0);
        self.trace.note(|| format!("n{} has diverged: {divergence}", to.0));
        self.coverage.count(Kind::DivergenceFound);
        // It no longer takes part, and refuses to start.
        self.close_connections(to);
        self.node(to).state = State::Refused;
        self.nodes[&to].disk.kill();
        self.peers_notice(to);
        Ok(())
    }

    /// Handles a node that continues from another's state: the difference planted in its own state is gone.
    pub(super) fn state_replaced(&mut self, id: NodeId) {
        if self.comparisons.has_strayed(id) {
            self.comparisons.planted = None;
            self.invariants.strays(None);
        }
    }

    /// In some runs whose nodes are all healthy by now, plants a difference in one of them. That node must find it, and
    /// the other nodes must continue without it.
    pub(super) fn check_divergence_is_found(&mut self) -> Checked {
        let is_majority_without_one = 2 * self.healthy().count().saturating_sub(1) > self.nodes.len();
        // Not a leader: a follower that falls behind would need its snapshot, and must not get one.
        let leads = |node: &Node| node.role() == Some(RoleName::Leader);
        let all: Vec<NodeId> = self.healthy().filter(|node| !leads(node)).map(|node| node.id).collect();
        let is_possible = self.plan.ending == Ending::All
            && self.plan.members.is_none()
            // The difference is a session, and must not be forgotten.
            && self.plan.remembers_all_sessions()
            && is_majority_without_one
            && !all.is_empty();
        if !is_possible || !self.comparisons.chance.percent(40) {
            return Ok(());
        }
        let strays = self.comparisons.chance.one_of(&all);
        let Some(process) = self.process(strays) else { return Ok(()) };
        let operation = Operation::Delete { key: b"nobody wrote this"[..].into(), condition: None, prev: false };
        let request = Some(RequestId { client: "nobody".into(), seq: 1 });
        let time = process.replica.raft().log().last_time().0;
        let mut store = process.replica.store().write().expect("nothing panics while it holds the store");
        // It changes no item and no revision, so nothing else would ever reveal it.
        let _ = store.apply(time, &Command { operation, request });
        drop(store);
        self.trace.note(|| format!("n{} has diverged, and does not know it yet", strays.0));
        self.comparisons.planted = Some(strays);
        self.comparisons.ever_planted = Some(strays);
        self.invariants.strays(Some(strays));
        let limit = ELECTION_TIMEOUTS_MAX * self.plan.settings.election_timeout_max_ms + ROUNDS_MAX * EVERY / MS;
        self.wait_for("who has diverged stops", limit, |world| {
            world.nodes[&strays].process().is_none() || !world.comparisons.has_strayed(strays)
        })?;
        self.wait_for("one of the others leads", limit, |world| world.followed_leader().is_some())
    }
}
