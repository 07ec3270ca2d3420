//! A cluster, its clients and its environment, in which one event happens after the other.
//!
//! The world stands in for the environment of a replica in the server: the task that feeds it, the thread that writes
//! its log, the streams between nodes, the clients. After each event the invariants are checked. The effects of events
//! are in other files: [`super::replicas`], [`super::writes`], [`super::processes`], [`super::requests`],
//! [`super::client`] and [`super::faults`].

use super::admissions::Admissions;
use super::chance::Chance;
use super::client::{Attempt, AttemptId, Client};
use super::coverage::{Coverage, Kind};
use super::divergence::Comparisons;
use super::entrants::WayIn;
use super::events::{Event, Micros, Queue};
use super::faults::Fault;
use super::invariants::{Checked, Invariants};
use super::levels::Versions;
use super::linearizability::{Moment, Seen};
use super::member_requests::MemberRequests;
use super::members::info_of;
use super::network::Network;
use super::node::{Input, Node, Process};
use super::overtaken_changes::Overtaken;
use super::plan::Plan;
use super::snapshots::{Transfer, TransferId};
use super::streams::Streams;
use super::trace::Trace;
use super::watchers::Watchers;
use kvd::raft::{Configuration, NodeId, Term};
use std::collections::{BTreeMap, BTreeSet};

const MS: Micros = 1_000;

/// The whole state of a run.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) chance: Chance,
    pub(super) comparisons: Comparisons,
    pub(super) versions: Versions,
    pub(super) watchers: Watchers,
    pub(crate) now: Micros,
    /// Number of the present event: the clock of histories.
    pub(crate) moment: Moment,
    pub(crate) queue: Queue,
    pub(crate) nodes: BTreeMap<NodeId, Node>,
    /// The founders, if all nodes agree on them from the start.
    pub(super) founders: Option<Configuration>,
    pub(crate) network: Network,
    pub(super) streams: Streams,
    pub(crate) clients: Vec<Client>,
    /// Clients start no more requests.
    pub(crate) clients_stop: bool,
    /// No more faults occur, since `calm_since`.
    pub(crate) is_calm: bool,
    pub(crate) calm_since: Moment,
    /// Answered writes that were begun since then.
    pub(crate) served: u64,
    /// Number of faults so far; used to recognise the latest fault of its kind at a node.
    pub(crate) faults_inflicted: u64,
    pub(crate) present_faults: BTreeMap<(Fault, NodeId), u64>,
    /// Nodes that are dead for ever.
    pub(crate) dead: Vec<NodeId>,
    /// Nodes with a permanent fault.
    pub(crate) hindered: Vec<NodeId>,
    /// Nodes that the cluster must do without in the end: they are dead, hindered, or badly linked.
    pub(crate) left_out: Vec<NodeId>,
    /// Terms whose leaders were asked for a transfer: their TimeoutNow may still be in flight.
    pub(crate) transferred: BTreeSet<Term>,
    pub(crate) attempts: BTreeMap<AttemptId, Attempt>,
    pub(super) admissions: Admissions,
    pub(super) overtaken: Option<Overtaken>,
    pub(super) member_requests: MemberRequests,
    pub(crate) attempts_sent: u64,
    /// Snapshots in flight.
    pub(super) transfers: BTreeMap<TransferId, Transfer>,
    pub(super) transfers_begun: TransferId,
    /// Number of values written so far.
    pub(crate) values: u64,
    pub(crate) history: Vec<Seen>,
    pub(crate) invariants: Invariants,
    pub(crate) coverage: Coverage,
    pub(crate) trace: Trace,
}

impl World {
    /// Returns a world whose nodes are about to start for the first time.
    pub(crate) fn new(seed: u64, trace: Trace) -> Self {
        let mut chance = Chance::new(seed);
        let plan = Plan::draw(&mut chance);
        let founders = plan.forming.is_none().then(|| {
            let voters = (1..=plan.nodes).map(|id| (NodeId(id), info_of(id)));
            Configuration::of_voters(voters)
        });
        let way_in = if plan.forming.is_some() { WayIn::Forms } else { WayIn::Founds };
        let node = |id: u64| (NodeId(id), Node::new(NodeId(id), info_of(id), way_in, &plan, &mut chance));
        let nodes: BTreeMap<NodeId, Node> = (1..=plan.nodes).map(node).collect();
        let mut world = Self {
            network: Network::new(plan.network, plan.settings.election_timeout_max_ms),
            streams: Streams::default(),
            clients: Vec::new(),
            invariants: Invariants::new(
                &plan.settings,
                plan.network.delay_max_us(),
                plan.entry_bytes_max(),
                plan.session_limits,
            ),
            comparisons: Comparisons::new(seed),
            versions: Versions::draw(seed),
            watchers: Watchers::draw(seed),
            chance,
            now: 0,
            moment: 0,
            queue: Queue::default(),
            nodes,
            founders,
            clients_stop: false,
            is_calm: false,
            calm_since: 0,
            served: 0,
            faults_inflicted: 0,
            present_faults: BTreeMap::new(),
            dead: Vec::new(),
            hindered: Vec::new(),
            left_out: Vec::new(),
            transferred: BTreeSet::new(),
            attempts: BTreeMap::new(),
            admissions: Admissions::default(),
            overtaken: None,
            member_requests: MemberRequests::default(),
            attempts_sent: 0,
            transfers: BTreeMap::new(),
            transfers_begun: 0,
            values: 0,
            history: Vec::new(),
            coverage: Coverage::default(),
            trace,
            plan,
        };
        world.count_clocks();
        if world.network.bytes_per_s().is_some() {
            world.coverage.count(Kind::SlowLinks);
        }
        for number in 0..world.plan.clients.number {
            let is_faithful = world.chance.percent(world.plan.clients.faithful_percent);
            let reads_from = is_faithful.then(|| world.any_node());
            world.clients.push(Client::new(number, reads_from));
        }
        for id in world.all_nodes() {
            let late = world.plan.forming.map_or(0, |forming| forming.late_ms * MS);
            let at = world.chance.within(0..50 * MS) + world.chance.exponential(late);
            world.queue.schedule(at, Event::Start(id));
        }
        for client in 0..world.clients.len() {
            world.turn_later(client, 100 * MS);
        }
        if !world.plan.is_quiet() {
            world.queue.schedule(100 * MS, Event::Fault);
            world.queue.schedule(600 * MS, Event::Operate);
        }
        if world.plan.late_snapshots_percent > 0 {
            world.queue.schedule(600 * MS, Event::FallBehind);
        }
        if world.plan.overtakes_changes {
            world.queue.schedule(600 * MS, Event::Overtake);
        }
        world.leadership_transfer_later();
        world.compare_states_later();
        world.watch_all_later();
        world
    }

    fn count_clocks(&mut self) {
        for permille in &self.plan.clock_permille {
            match permille {
                ..=900 => self.coverage.count(Kind::SlowClock),
                1100.. => self.coverage.count(Kind::FastClock),
                _ => {}
            }
        }
    }

    pub(crate) fn all_nodes(&self) -> Vec<NodeId> {
        self.nodes.keys().copied().collect()
    }

    pub(crate) fn any_node(&mut self) -> NodeId {
        let all: Vec<NodeId> = self.nodes.keys().copied().filter(|id| !self.dead.contains(id)).collect();
        self.chance.one_of(&all)
    }

    pub(crate) fn node(&mut self, id: NodeId) -> &mut Node {
        self.nodes.get_mut(&id).expect("a node of this cluster")
    }

    pub(super) fn process(&mut self, id: NodeId) -> Option<&mut Process> {
        self.node(id).process_mut()
    }

    /// Tells a node that the process of another is gone.
    pub(super) fn peer_lost(&mut self, at: NodeId, peer: NodeId) -> Checked {
        self.coverage.count(Kind::PeerLost);
        if self.nodes[&at].raft().is_some_and(|raft| raft.leader() == Some(peer)) {
            self.coverage.count(Kind::LostLeaderCampaign);
        }
        self.input(at, Input::PeerLost(peer))
    }

    /// Executes all events until this time.
    pub(crate) fn run_until(&mut self, end: Micros) -> Checked {
        while self.now < end {
            self.step()?;
        }
        Ok(())
    }

    /// Executes the next event.
    pub(crate) fn step(&mut self) -> Checked {
        let (at, event) = self.queue.next().expect("timers never end");
        self.now = at;
        self.moment += 1;
        self.trace.event(at, event.number());
        match event {
            Event::Tick(id, life) => {
                let next = at + self.plan.tick_ms * MS;
                if self.is_life(id, life) {
                    self.queue.schedule(next, Event::Tick(id, life));
                    self.input_of_life(id, life, Input::Tick)?;
                }
                Ok(())
            }
            Event::CarryOut(id, life) => self.input_of_life(id, life, Input::CarryOut),
            Event::Arrive(envelope) => self.arrive(&envelope),
            Event::Dial { of, attempt } => self.dial(of, attempt),
            Event::FrameLeaves(stream) => {
                self.frame_leaves(stream);
                Ok(())
            }
            Event::FrameArrives(stream) => self.frame_arrives(stream),
            Event::JudgeStream(stream) => self.judge_stream(stream),
            Event::StreamCloses(stream) => self.stream_closes(stream),
            Event::WriteDone(id, life, write) => self.input_of_life(id, life, Input::WriteDone(write)),
            Event::FetchDone(id, life, fetch) => self.input_of_life(id, life, Input::FetchDone(fetch)),
            Event::MakeSpare(id, life) => self.input_of_life(id, life, Input::MakeSpare),
            Event::Seal(id, life) => self.input_of_life(id, life, Input::Seal),
            Event::SnapshotPiece(id, life) => self.input_of_life(id, life, Input::SnapshotPiece),
            Event::TransferPiece(transfer) => self.transfer_piece(transfer),
            Event::SnapshotSent { to, life, sent } => self.input_of_life(to, life, Input::SnapshotSent(sent)),
            Event::PeerLost { at, peer } => self.peer_lost(at, peer),
            Event::Start(id) => self.start(id),
            Event::Resume(id, life) => self.resume(id, life),
            Event::Request { to, attempt, ask } => self.request(to, attempt, ask),
            Event::Reply { attempt, reply } => {
                self.client_hears(attempt, reply);
                Ok(())
            }
            Event::AttemptTimeout(attempt) => {
                self.attempt_timed_out(attempt);
                Ok(())
            }
            Event::ClientTurn(client, turn) => {
                self.client_turn(client, turn);
                Ok(())
            }
            Event::WatcherTurn(watcher) => self.watcher_turn(watcher),
            Event::Fault => {
                if !self.is_calm {
                    let faults = self.plan.faults.clone();
                    let fault = self.chance.weighted(&faults);
                    self.inflict(fault)?;
                    let pause = self.chance.exponential(self.plan.fault_every_ms * MS);
                    self.queue.schedule(self.now + pause, Event::Fault);
                }
                Ok(())
            }
            Event::LeadershipTransfer => self.want_another_leader(),
            Event::CompareStates => self.compare_states(),
            Event::StatesArrive { to, life, from, states } => self.states_arrive(to, life, from, states),
            Event::Strike(leader) => self.strike(leader),
            Event::Succeed { leader, successor, tries } => self.succeed(leader, successor, tries),
            Event::FallBehind => self.fall_behind(),
            Event::Kill(id) => {
                if self.is_calm {
                    Ok(())
                } else {
                    self.kill(id)
                }
            }
            Event::Operate => self.operate(),
            Event::Change(event) => self.change_event(event),
            Event::Bereave(id) => self.bereave_one(id),
            Event::Overtake => self.overtake(),
            Event::CorrectFlags => self.correct_flags(),
            Event::Entrant(event) => self.entrant_event(event),
            Event::ToldRemoved(id, life) => self.input_of_life(id, life, Input::ToldRemoved),
            Event::Mend { fault, victim, other, number } => {
                self.mend(fault, victim, other, number);
                Ok(())
            }
        }
    }
}
