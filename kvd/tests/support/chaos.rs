//! A cluster to which anything may happen, in an order that a seed decides.

use super::invariants::Invariants;
use super::machine::{Machine, voters};
use bytes::Bytes;
use kvd::raft::{Effects, Fetch, Message, NodeId, Raft, ReadToken, Record, RoleName, Settings};
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{RngExt, SeedableRng};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display, Formatter};

/// Messages on their way beyond this many are lost.
const MESSAGES_MAX: usize = 200;

/// Once faults have stopped, a leader and equal logs must be there after this much time. Milliseconds.
const RECOVERY_MS_MAX: u64 = 10_000;

/// Time between two ticks while recovering, in milliseconds.
const TICK_MS: u64 = 5;

/// How often things happen in one run, drawn for each run anew: a mix that is always the same misses
/// what only shows when some fault is absent or overwhelming.
struct Faults {
    /// In percent of the messages delivered.
    lost: u32,
    doubled: u32,
    /// In percent: taken from anywhere instead of the oldest.
    reordered: u32,
    /// In percent of the steps of a node: its effects are left for later, so that calls are batched.
    batched: u32,
    /// Weights of what may happen in a step.
    deliver: u32,
    write: u32,
    time: u32,
    crash: u32,
    cut: u32,
    client: u32,
}

impl Faults {
    fn draw(random: &mut StdRng) -> Self {
        let mut one_of = |choices: &[u32]| *choices.choose(random).expect("choices");
        Self {
            lost: one_of(&[0, 0, 5, 20]),
            doubled: one_of(&[0, 5, 30]),
            reordered: one_of(&[0, 10, 100]),
            batched: one_of(&[0, 30, 80]),
            deliver: one_of(&[200, 400]),
            write: one_of(&[20, 100, 200]),
            time: one_of(&[10, 20, 40]),
            crash: one_of(&[0, 2, 5, 10]),
            cut: one_of(&[0, 2, 5, 10]),
            client: one_of(&[10, 20, 40]),
        }
    }
}

/// One run.
pub(crate) struct Chaos<'a> {
    random: StdRng,
    faults: Faults,
    machines: BTreeMap<NodeId, Machine>,
    on_their_way: Vec<(NodeId, NodeId, Message)>,
    fetches: Vec<(NodeId, Fetch)>,
    cut: BTreeSet<(NodeId, NodeId)>,
    /// By how much the clock of each node is slow. Safety rests on no clock, so a leader whose own runs
    /// slow, and who is deposed without noticing for long, must answer nothing wrong.
    slowness: BTreeMap<NodeId, u64>,
    invariants: Invariants,
    /// Numbers commands and reads.
    next: u64,
    coverage: &'a mut Coverage,
}

impl<'a> Chaos<'a> {
    pub(crate) fn new(nodes: u64, seed: u64, coverage: &'a mut Coverage) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let mut one_of = |choices: &[usize]| *choices.choose(&mut random).expect("choices");
        let settings = Settings {
            message_bytes_max: one_of(&[1, 100, 1 << 20]),
            window_messages_max: one_of(&[1, 2, 64]),
            window_bytes_max: one_of(&[40, 1 << 20]),
            write_bytes_max: one_of(&[1, 100, 1 << 20]),
            apply_bytes_max: one_of(&[1, 100, 1 << 20]),
            cache_bytes_max: one_of(&[0, 200, 1 << 20]),
            ..Settings::default()
        };
        let configuration = voters(nodes);
        let machine = |id| (id, Machine::new(id, settings.clone(), configuration.clone(), seed));
        let machines: BTreeMap<NodeId, Machine> = configuration.everyone().map(machine).collect();
        let mut slow = |id: &NodeId| (*id, *[1, 1, 2, 10].choose(&mut random).expect("choices"));
        Self {
            slowness: machines.keys().map(&mut slow).collect(),
            machines,
            faults: Faults::draw(&mut random),
            random,
            on_their_way: Vec::new(),
            fetches: Vec::new(),
            cut: BTreeSet::new(),
            invariants: Invariants::default(),
            next: 0,
            coverage,
        }
    }

    /// Something happens.
    pub(crate) fn step(&mut self) {
        let Faults { deliver, write, time, crash, cut, client, .. } = self.faults;
        let mut at = self.random.random_range(0..deliver + write + time + crash + cut + client + 2);
        let mut happens = |weight: u32| {
            let hit = at < weight;
            at = at.wrapping_sub(weight);
            hit
        };
        if happens(deliver) {
            self.deliver_any();
        } else if happens(write) {
            self.finish_any_write();
        } else if happens(time) {
            self.time_passes();
        } else if happens(crash) {
            self.crash_or_restart();
        } else if happens(cut) {
            self.cut_or_heal();
        } else if happens(client) {
            self.client_calls();
        } else {
            self.answer_fetch();
        }
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.random.random_range(0..100) < percent
    }

    fn any_node(&mut self) -> NodeId {
        let nodes = self.machines.len() as u64;
        NodeId(self.random.random_range(1..=nodes))
    }

    /// Trouble finds leaders more often than others.
    fn any_victim(&mut self) -> NodeId {
        let anyone = self.any_node();
        let leaders = self.leaders();
        if self.chance(50) { *leaders.choose(&mut self.random).unwrap_or(&anyone) } else { anyone }
    }

    /// All that believe they lead.
    fn leaders(&self) -> Vec<NodeId> {
        self.running().filter(|raft| raft.role() == RoleName::Leader).map(Raft::id).collect()
    }

    fn deliver_any(&mut self) {
        if self.on_their_way.is_empty() {
            // Nothing else will happen before some write is done or some timer runs out.
            if !self.finish_any_write() {
                self.time_passes();
            }
            return;
        }
        let reordered = self.chance(self.faults.reordered);
        let place = if reordered { self.random.random_range(0..self.on_their_way.len()) } else { 0 };
        let (from, to, message) = self.on_their_way.remove(place);
        if self.chance(self.faults.lost) || self.cut.contains(&(from, to)) {
            return self.coverage.count("messages lost");
        }
        if self.chance(self.faults.doubled) {
            self.coverage.count("messages doubled");
            self.on_their_way.push((from, to, message.clone()));
        }
        self.drive(to, |machine| machine.raft_mut().step(from, message));
    }

    fn finish_any_write(&mut self) -> bool {
        let mut nodes: Vec<NodeId> = self.machines.keys().copied().collect();
        nodes.shuffle(&mut self.random);
        let mut finished = false;
        for id in nodes {
            self.drive(id, |machine| finished = machine.finish_write());
            if finished {
                break;
            }
        }
        finished
    }

    /// On one node or on all: a tick, or a pause after which the timers have yet to be looked at.
    fn time_passes(&mut self) {
        let ms: u64 = *[1, 5, 10, 20, 100].choose(&mut self.random).expect("choices");
        let nodes: Vec<NodeId> =
            if self.chance(50) { self.machines.keys().copied().collect() } else { vec![self.any_node()] };
        let paused = self.chance(10);
        for id in nodes {
            self.pass(id, ms.div_ceil(self.slowness[&id]), paused);
        }
    }

    fn pass(&mut self, id: NodeId, ms: u64, paused: bool) {
        let machine = self.machines.get_mut(&id).expect("a node");
        machine.now = machine.now.plus_ms(ms);
        let now = machine.now;
        self.drive(id, |machine| if paused { machine.raft_mut().set_time(now) } else { machine.raft_mut().tick(now) });
    }

    /// A node crashes; or one that has comes back, or is found to be gone by another.
    fn crash_or_restart(&mut self) {
        let down: Vec<NodeId> = self.machines.values().filter(|node| !node.is_running()).map(Machine::id).collect();
        let Some(id) = down.choose(&mut self.random).copied().filter(|_| self.chance(75)) else {
            return self.crash();
        };
        if self.chance(70) {
            self.machines.get_mut(&id).expect("a node").start();
            self.drive(id, |_| ());
        } else {
            let other = self.any_node();
            self.drive(other, |machine| machine.raft_mut().peer_lost(id));
        }
    }

    fn crash(&mut self) {
        let id = self.any_victim();
        let survives = self.chance(50);
        let machine = self.machines.get_mut(&id).expect("a node");
        if !machine.is_running() {
            return;
        }
        let writing = machine.crash(survives);
        self.invariants.crashed(id);
        self.fetches.retain(|(leader, _)| *leader != id);
        self.coverage.count("crashes");
        if writing {
            self.coverage.count(if survives { "writes kept" } else { "writes lost" });
        }
    }

    /// A link breaks in one direction, a minority is cut off, a broken link is taken for a dead peer, or
    /// everything works again.
    fn cut_or_heal(&mut self) {
        let (one, other) = (self.any_victim(), self.any_node());
        match self.random.random_range(0..10) {
            0 | 1 => _ = self.cut.insert((one, other)),
            2..6 => self.cut_off_minority(one),
            6 => self.drive(one, |machine| machine.raft_mut().peer_lost(other)),
            _ => self.cut.clear(),
        }
    }

    /// Splits the cluster in two, with `one` in the smaller part. Both parts work within.
    fn cut_off_minority(&mut self, one: NodeId) {
        let (mut minority, mut majority) = (vec![one], self.machines.keys().copied().collect::<Vec<_>>());
        majority.retain(|id| *id != one);
        for _ in 0..self.random.random_range(0..=majority.len() / 2).saturating_sub(1) {
            minority.push(majority.swap_remove(self.random.random_range(0..majority.len())));
        }
        let across = |a: &NodeId| majority.iter().flat_map(|b| [(*a, *b), (*b, *a)]).collect::<Vec<_>>();
        self.cut = minority.iter().flat_map(across).collect();
    }

    fn client_calls(&mut self) {
        // Most clients have found a leader, though not always the latest.
        let leaders = self.leaders();
        let anyone = self.any_node();
        let id = if self.chance(70) { *leaders.choose(&mut self.random).unwrap_or(&anyone) } else { anyone };
        if !self.machines[&id].is_running() {
            return;
        }
        if self.random.random_bool(0.3) {
            self.read(id);
        } else {
            self.propose(id);
        }
    }

    fn propose(&mut self, id: NodeId) {
        self.next += 1;
        let command = Bytes::from(self.next.to_string());
        self.drive(id, |machine| _ = machine.raft_mut().propose(command));
    }

    fn read(&mut self, id: NodeId) {
        self.next += 1;
        let token = ReadToken(self.next);
        self.invariants.read_begins(token, id);
        if self.leaders().len() > 1 {
            self.coverage.count("reads while two lead");
        }
        self.drive(id, |machine| machine.raft_mut().read_index(token));
    }

    fn answer_fetch(&mut self) {
        if self.fetches.is_empty() {
            return;
        }
        let place = self.random.random_range(0..self.fetches.len());
        let (id, fetch) = self.fetches.remove(place);
        self.coverage.count("entries read from disk");
        // Now and then there is nothing to be had; the leader must ask again.
        let nothing = self.random.random_bool(0.1);
        self.drive(
            id,
            |machine| if nothing { machine.raft_mut().fetched(&fetch, Vec::new()) } else { machine.fetch(&fetch) },
        );
    }

    /// Calls a node, unless it is down, and mostly performs its effects at once.
    fn drive(&mut self, id: NodeId, call: impl FnOnce(&mut Machine)) {
        let batched = self.chance(self.faults.batched);
        let machine = self.machines.get_mut(&id).expect("a node");
        if !machine.is_running() {
            return;
        }
        call(machine);
        self.invariants.check(id, &self.machines);
        if !batched {
            self.perform(id);
        }
    }

    fn perform(&mut self, id: NodeId) {
        let machine = self.machines.get_mut(&id).expect("a node");
        let Effects { send, write, apply, reads, fetch } = machine.effects();
        let role = machine.raft().role();
        for (to, message) in send {
            self.invariants.message_leaves(&self.machines[&id], to, &message);
            self.on_their_way.push((id, to, message));
        }
        while self.on_their_way.len() > MESSAGES_MAX {
            let place = self.random.random_range(0..self.on_their_way.len());
            self.on_their_way.remove(place);
        }
        let cuts = |record: &Record| matches!(record, Record::Truncate { .. });
        if write.is_some_and(|write| write.records.iter().any(cuts)) {
            self.coverage.count("truncations");
        }
        self.invariants.applies(id, &apply);
        for outcome in reads {
            if self.invariants.read_ends(&outcome, id) {
                let leads = role == RoleName::Leader;
                self.coverage.count(if leads { "reads at the leader" } else { "reads at a follower" });
            }
        }
        self.fetches.extend(fetch.into_iter().map(|fetch| (id, fetch)));
        self.invariants.check(id, &self.machines);
    }

    /// Faults stop: all nodes work again, or a bare majority does and the rest stays dead. A leader must
    /// be there in time, with equal logs; then a command and a read at every node must get through.
    pub(crate) fn recover(mut self) {
        let before = self.invariants.elections() as u64;
        self.heal();
        self.run_until("one leader and equal logs", Self::is_settled);
        let running: Vec<NodeId> = self.running().map(Raft::id).collect();
        running.iter().for_each(|id| self.propose(*id));
        running.iter().for_each(|id| self.read(*id));
        let served = |chaos: &Self| chaos.invariants.unanswered_reads() == 0 && chaos.is_settled();
        self.run_until("every read answered and the command committed", served);
        self.coverage.add("elections", before);
        self.coverage.add("commits", self.invariants.committed_index().0);
    }

    fn heal(&mut self) {
        let Faults { lost, doubled, reordered, batched, .. } = &mut self.faults;
        (*lost, *doubled, *reordered, *batched) = (0, 0, 0, 0);
        self.cut.clear();
        let mut ids: Vec<NodeId> = self.machines.keys().copied().collect();
        let dead = if self.random.random_bool(0.5) { (ids.len() - 1) / 2 } else { 0 };
        for _ in 0..dead {
            let id = ids.swap_remove(self.random.random_range(0..ids.len()));
            self.machines.get_mut(&id).expect("a node").crash(false);
            self.invariants.crashed(id);
            self.fetches.retain(|(leader, _)| *leader != id);
        }
        for id in ids {
            self.machines.get_mut(&id).expect("a node").start();
            self.drive(id, |_| ());
        }
    }

    fn running(&self) -> impl Iterator<Item = &Raft> {
        self.machines.values().filter(|machine| machine.is_running()).map(Machine::raft)
    }

    /// One node leads, all that run follow it, and their logs are the same, committed and applied.
    fn is_settled(&self) -> bool {
        let view = |raft: &Raft| {
            let log = raft.log();
            (raft.term(), raft.leader(), log.last_index(), log.last_term(), log.durable_index(), log.applied_index())
        };
        let first = self.running().next().expect("a majority runs");
        let committed = first.log().applied_index() == first.log().last_index();
        committed && first.leader().is_some() && self.running().all(|raft| view(raft) == view(first))
    }

    fn run_until(&mut self, what: &str, reached: impl Fn(&Self) -> bool) {
        for _ in 0..RECOVERY_MS_MAX / TICK_MS {
            if reached(self) {
                return;
            }
            for id in self.machines.keys().copied().collect::<Vec<_>>() {
                self.pass(id, TICK_MS, false);
                self.drive(id, |machine| _ = machine.finish_write());
            }
            for (id, fetch) in std::mem::take(&mut self.fetches) {
                self.drive(id, |machine| machine.fetch(&fetch));
            }
            for (from, to, message) in std::mem::take(&mut self.on_their_way) {
                self.drive(to, |machine| machine.raft_mut().step(from, message));
            }
        }
        let states: Vec<String> = self.running().map(|raft| format!("{:?} {:?}", raft.role(), raft.log())).collect();
        panic!("not within {RECOVERY_MS_MAX} ms: {what}\n{}", states.join("\n"));
    }
}

/// How often what happened: a run in which a fault never hit proves nothing about it.
#[derive(Default)]
pub(crate) struct Coverage {
    counts: BTreeMap<&'static str, u64>,
}

impl Coverage {
    /// All that is counted.
    const ALL: [&'static str; 12] = [
        "elections",
        "commits",
        "truncations",
        "crashes",
        "writes kept",
        "writes lost",
        "messages lost",
        "messages doubled",
        "reads at the leader",
        "reads at a follower",
        "reads while two lead",
        "entries read from disk",
    ];

    fn count(&mut self, what: &'static str) {
        self.add(what, 1);
    }

    fn add(&mut self, what: &'static str, times: u64) {
        *self.counts.entry(what).or_default() += times;
    }

    /// Fails if one of these never happened.
    pub(crate) fn require(&self, happened: &[&str]) {
        for what in happened {
            assert!(self.counts.contains_key(what), "no {what} in any run: {self}");
        }
    }

    /// Fails if anything never happened.
    pub(crate) fn require_all(&self) {
        self.require(&Self::ALL);
    }
}

impl Display for Coverage {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let counts: Vec<String> = self.counts.iter().map(|(what, times)| format!("{times} {what}")).collect();
        f.write_str(&counts.join(", "))
    }
}
