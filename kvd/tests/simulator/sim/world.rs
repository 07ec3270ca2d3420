//! A cluster, its clients and its surroundings, in which one event happens after the other.
//!
//! The world stands in for what surrounds a replica in the server: the task that feeds it, the thread that writes its
//! log, the streams between nodes, the clients. After each event the invariants are checked.

use super::chance::Chance;
use super::client::{Attempt, AttemptId, Client, Reply, key_bytes};
use super::coverage::{Coverage, Kind};
use super::events::{Ask, Event, Micros, Queue};
use super::image::Image;
use super::invariants::{Checked, Invariants, Violation, ensure};
use super::linearizability::{Moment, Operation};
use super::network::{Envelope, Network};
use super::node::{Asked, Input, Node, Process, StartFailure, Started, State};
use super::plan::Plan;
use super::trace::Trace;
use kvd::node::{Effects, ReadError, WriteError};
use kvd::peer;
use kvd::raft::{Configuration, Fetch, LogWrite, MemberInfo, NodeId, RoleName, WriteId};
use std::collections::BTreeMap;

const MS: Micros = 1_000;

/// A pause at least this long outlasts the patience of all followers.
const LONG_PAUSE: Micros = 300 * MS;

/// What happens to a process that stands still must wait somewhere: sockets hold this much.
const WAITING_INPUTS_MAX: usize = 2_000;

/// A node answers within its time limit and this much more: timers are looked at now and then. Milliseconds of its own
/// clock.
const ANSWER_SLACK_MS: u64 = 100;

/// Everything there is in a run.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) chance: Chance,
    pub(crate) now: Micros,
    /// Number of the present event: the clock of histories.
    pub(crate) moment: Moment,
    pub(crate) queue: Queue,
    pub(crate) nodes: BTreeMap<NodeId, Node>,
    founders: Configuration,
    pub(crate) network: Network,
    pub(crate) clients: Vec<Client>,
    /// Clients begin nothing any more.
    pub(crate) clients_stop: bool,
    /// Nothing goes wrong any more.
    pub(crate) is_calm: bool,
    /// Nodes that are dead for ever.
    pub(crate) dead: Vec<NodeId>,
    pub(crate) attempts: BTreeMap<AttemptId, Attempt>,
    pub(crate) attempts_sent: u64,
    /// Numbers the values that are written.
    pub(crate) values: u64,
    pub(crate) history: Vec<Operation>,
    pub(crate) invariants: Invariants,
    pub(crate) coverage: Coverage,
    pub(crate) trace: Trace,
}

impl World {
    /// A world in which the nodes are about to start for the first time.
    pub(crate) fn new(seed: u64, trace: Trace) -> Self {
        let mut chance = Chance::new(seed);
        let plan = Plan::draw(&mut chance);
        let founders = Configuration::of_voters((1..=plan.nodes).map(|id| {
            let url = format!("http://n{id}");
            (NodeId(id), MemberInfo { name: format!("n{id}"), client_url: url.clone(), peer_url: url })
        }));
        let node = |id| (id, Node::new(id, &plan, &mut chance));
        let nodes: BTreeMap<NodeId, Node> = founders.everyone().map(node).collect();
        let mut world = Self {
            network: Network::new(plan.network),
            clients: Vec::new(),
            invariants: Invariants::new(&plan.settings),
            chance,
            now: 0,
            moment: 0,
            queue: Queue::default(),
            nodes,
            founders,
            clients_stop: false,
            is_calm: false,
            dead: Vec::new(),
            attempts: BTreeMap::new(),
            attempts_sent: 0,
            values: 0,
            history: Vec::new(),
            coverage: Coverage::default(),
            trace,
            plan,
        };
        world.count_clocks();
        for number in 0..world.plan.clients.number {
            let is_faithful = world.chance.percent(world.plan.clients.faithful_percent);
            let reads_from = is_faithful.then(|| world.any_node());
            world.clients.push(Client::new(number, reads_from));
        }
        for id in world.all_nodes() {
            let at = world.chance.within(0..50 * MS);
            world.queue.schedule(at, Event::Start(id));
        }
        for client in 0..world.clients.len() {
            world.turn_later(client, 100 * MS);
        }
        if !world.plan.faults.is_empty() {
            world.queue.schedule(100 * MS, Event::Fault);
        }
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
        NodeId(self.chance.within(1..self.plan.nodes + 1))
    }

    pub(crate) fn node(&mut self, id: NodeId) -> &mut Node {
        self.nodes.get_mut(&id).expect("a node of this cluster")
    }

    fn process(&mut self, id: NodeId) -> Option<&mut Process> {
        self.node(id).process_mut()
    }

    /// Lets everything happen until this time.
    pub(crate) fn run_until(&mut self, end: Micros) -> Checked {
        while self.now < end {
            self.step()?;
        }
        Ok(())
    }

    /// Lets the next event happen.
    pub(crate) fn step(&mut self) -> Checked {
        let (at, event) = self.queue.next().expect("timers never end");
        self.now = at;
        self.moment += 1;
        self.trace.event(at);
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
            Event::WriteDone(id, life, write) => self.input_of_life(id, life, Input::WriteDone(write)),
            Event::FetchDone(id, life, fetch) => self.input_of_life(id, life, Input::FetchDone(fetch)),
            Event::MakeSpare(id, life) => self.input_of_life(id, life, Input::MakeSpare),
            Event::PeerLost { at, peer } => {
                self.coverage.count(Kind::PeerLost);
                if self.nodes[&at].raft().is_some_and(|raft| raft.leader() == Some(peer)) {
                    self.coverage.count(Kind::LostLeaderCampaign);
                }
                self.input(at, Input::PeerLost(peer))
            }
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
            Event::Strike(leader) => self.strike(leader),
            Event::Mend(fault, one, other) => {
                self.mend(fault, one, other);
                Ok(())
            }
        }
    }

    // --- Nodes at work ---------------------------------------------------------------------------

    fn is_life(&self, id: NodeId, life: u64) -> bool {
        self.nodes[&id].process().is_some_and(|process| process.life == life)
    }

    fn input_of_life(&mut self, id: NodeId, life: u64, input: Input) -> Checked {
        if self.is_life(id, life) { self.input(id, input) } else { Ok(()) }
    }

    /// Something has arrived at a node, which takes it in unless it is down or stands still.
    fn input(&mut self, id: NodeId, input: Input) -> Checked {
        let now = self.now;
        let floor = self.invariants.committed_index();
        let node = self.node(id);
        let time = node.time(now);
        let Some(process) = node.process_mut() else { return Ok(()) };
        if process.paused {
            if process.waiting.len() < WAITING_INPUTS_MAX || !matches!(input, Input::Message(..) | Input::Tick) {
                process.waiting.push(input);
            }
            return Ok(());
        }
        process.replica.set_time(time);
        match input {
            Input::Tick => {
                process.replica.tick(time);
                self.after_input(id)?;
                return self.check_answers_in_time(id);
            }
            Input::CarryOut => {
                process.will_carry_out = false;
                self.carry_out(id)?;
                return self.check(id);
            }
            Input::Message(from, message) => {
                self.invariants.bounds.heard(id);
                let process = self.nodes.get_mut(&id).and_then(Node::process_mut).expect("a running node");
                if let Some(refusal) = process.replica.raft().refusal(from, &message) {
                    let what = format!("n{} refuses a message of n{}: {refusal}", id.0, from.0);
                    return Err(Violation { invariant: "Sensible Messages", what });
                }
                process.replica.step(from, message);
            }
            Input::WriteDone(write) => return self.write_done(id, write),
            Input::FetchDone(fetch) => return self.fetch_done(id, &fetch),
            Input::MakeSpare => return self.make_spare(id),
            Input::PeerLost(peer) => process.replica.peer_lost(peer),
            Input::Request(attempt, ask) => {
                process.asked.insert(attempt, Asked { since: time, ask: ask.clone(), floor });
                match ask {
                    Ask::Write(command) => process.replica.write(command.encode(), attempt),
                    Ask::Read(_) => process.replica.read(attempt),
                    Ask::StaleRead(_) => return self.stale_read(id, attempt),
                }
            }
        }
        self.after_input(id)
    }

    /// What follows from an input is carried out at once, or a little later with what follows from the next ones.
    fn after_input(&mut self, id: NodeId) -> Checked {
        self.check(id)?;
        if self.chance.percent(self.plan.batched_percent) {
            self.carry_out_later(id);
            return Ok(());
        }
        self.carry_out(id)?;
        self.check(id)
    }

    fn carry_out_later(&mut self, id: NodeId) {
        let at = self.now + self.chance.within(10..3 * MS);
        let Some(process) = self.process(id) else { return };
        if !process.will_carry_out {
            process.will_carry_out = true;
            let life = process.life;
            self.queue.schedule(at, Event::CarryOut(id, life));
        }
    }

    fn check(&mut self, id: NodeId) -> Checked {
        let elections = self.coverage.of(Kind::Election);
        self.invariants.node_changed(id, &self.nodes, &mut self.coverage)?;
        if self.coverage.of(Kind::Election) > elections && self.chance.percent(self.plan.struck_percent) {
            let at = self.now + self.chance.exponential(self.plan.struck_after_us);
            self.queue.schedule(at, Event::Strike(id));
        }
        if let Some(raft) = self.nodes[&id].raft() {
            if raft.role() == RoleName::Leader && self.leaders().len() > 1 {
                self.coverage.count(Kind::TwoLeaders);
            }
            let log = raft.log();
            let (term, commit) = (raft.term().0, log.commit_index().0);
            let numbers = [id.0, raft.role() as u64, term, commit, log.last_index().0, log.durable_index().0];
            self.trace.mix_all(&numbers);
        }
        Ok(())
    }

    /// Does what a replica asks for.
    fn carry_out(&mut self, id: NodeId) -> Checked {
        let Some(process) = self.process(id) else { return Ok(()) };
        let (life, role_before) = (process.life, process.replica.raft().role());
        let Effects { send, write, fetch, writes, reads } = process.replica.effects();
        let (role, has_unapplied) = (process.replica.raft().role(), process.replica.has_unapplied());
        debug_assert_eq!(role_before, role);
        // What is committed and applied by now is what answers rest on.
        self.check(id)?;
        for (to, message) in send {
            self.invariants.message_leaves(&self.nodes[&id], to, &message)?;
            self.trace.message("", id, to, &message);
            let Self { network, chance, queue, coverage, now, .. } = self;
            network.send((id, to), &message, *now, chance, queue, coverage);
        }
        if let Some(write) = write {
            self.begin_write(id, life, write)?;
        }
        for fetch in fetch {
            self.coverage.count(Kind::Fetch);
            let at = self.now + self.disk_time(id);
            self.queue.schedule(at, Event::FetchDone(id, life, fetch));
        }
        for (attempt, result) in writes {
            self.write_ends(id, attempt, result)?;
        }
        for (attempt, result) in reads {
            self.read_ends(id, attempt, result)?;
        }
        if has_unapplied {
            self.carry_out_later(id);
        }
        Ok(())
    }

    // --- Disks -----------------------------------------------------------------------------------

    fn disk_time(&mut self, id: NodeId) -> Micros {
        let mean = self.nodes[&id].disk_mean_us;
        20 + self.chance.exponential(mean)
    }

    fn begin_write(&mut self, id: NodeId, life: u64, write: LogWrite) -> Checked {
        self.invariants.write_begins(&self.nodes[&id], &write, &mut self.coverage)?;
        let at = self.now + self.disk_time(id);
        let node = self.node(id);
        let is_stuck = node.disk_is_stuck;
        let Some(process) = node.process_mut() else { return Ok(()) };
        let write_id = write.id;
        ensure!("One Write at a Time", process.writing.is_none(), "n{} begins a second write", id.0);
        process.writing = Some(write);
        if !is_stuck {
            self.queue.schedule(at, Event::WriteDone(id, life, write_id));
        }
        Ok(())
    }

    /// A disk that was stuck answers again.
    pub(crate) fn unstick(&mut self, id: NodeId) {
        let at = self.now + self.disk_time(id);
        let node = self.node(id);
        if !std::mem::take(&mut node.disk_is_stuck) {
            return;
        }
        if let Some(process) = node.process_mut()
            && let Some(write) = &process.writing
        {
            let (life, write) = (process.life, write.id);
            self.queue.schedule(at, Event::WriteDone(id, life, write));
        }
    }

    fn write_done(&mut self, id: NodeId, write: WriteId) -> Checked {
        let node = self.node(id);
        let is_stuck = node.disk_is_stuck;
        let Some(process) = node.process_mut() else { return Ok(()) };
        let Some(writing) = process.writing.take_if(|writing| writing.id == write && !is_stuck) else { return Ok(()) };
        match process.wal.append(&writing.records) {
            Ok(appended) => {
                process.replica.written(write);
                let life = process.life;
                node.image.write(&writing.records);
                self.trace.note(|| format!("{} write {} is durable", super::super::notation::Name(id), write.0));
                if appended.began_segment {
                    self.coverage.count(Kind::Segment);
                    let at = self.now + self.disk_time(id);
                    self.queue.schedule(at, Event::MakeSpare(id, life));
                }
                self.after_input(id)
            }
            Err(failure) => {
                node.unfinished = Some(writing.records);
                self.end_process(id, &failure.to_string())
            }
        }
    }

    fn fetch_done(&mut self, id: NodeId, fetch: &Fetch) -> Checked {
        let Some(process) = self.process(id) else { return Ok(()) };
        match process.wal.reader().read(fetch.from, fetch.through, fetch.bytes_max) {
            Ok(entries) => {
                process.replica.fetched(fetch, entries);
                self.after_input(id)
            }
            Err(failure) => self.end_process(id, &failure.to_string()),
        }
    }

    fn make_spare(&mut self, id: NodeId) -> Checked {
        if let Some(process) = self.process(id) {
            // Without a spare the log makes its segments itself.
            let _ = process.wal.spare_maker().make();
        }
        Ok(())
    }

    // --- Processes -------------------------------------------------------------------------------

    /// A process ends by itself: its disk failed. It is started again before long.
    fn end_process(&mut self, id: NodeId, why: &str) -> Checked {
        self.trace.note(|| format!("n{} ends: {why}", id.0));
        self.close_connections(id);
        self.node(id).state = State::Down;
        self.nodes[&id].disk.kill();
        self.peers_notice(id);
        self.start_later(id);
        Ok(())
    }

    pub(crate) fn kill(&mut self, id: NodeId) -> Checked {
        if self.nodes[&id].process().is_some() {
            self.coverage.count(Kind::Kill);
            self.crash(id)?;
            self.nodes[&id].disk.kill();
            self.peers_notice(id);
            self.start_later(id);
        }
        Ok(())
    }

    pub(crate) fn cut_power(&mut self, id: NodeId) -> Checked {
        if self.nodes[&id].process().is_some() {
            self.coverage.count(Kind::PowerCut);
            self.crash(id)?;
            self.nodes[&id].disk.crash();
            self.start_later(id);
        }
        Ok(())
    }

    /// Ends a process in the middle of whatever it does.
    fn crash(&mut self, id: NodeId) -> Checked {
        self.trace.note(|| format!("n{} crashes", id.0));
        self.close_connections(id);
        let changes = self.chance.one_of(&[0, 1, 2, 3, 8, 40]);
        let makes_spare = self.chance.percent(20);
        let node = self.node(id);
        let State::Running(process) = std::mem::replace(&mut node.state, State::Down) else { return Ok(()) };
        let Process { mut wal, writing, .. } = *process;
        node.disk.cut_power_after(changes);
        if makes_spare {
            let _ = wal.spare_maker().make();
            self.coverage.count(Kind::CrashWhileMakingSpare);
        }
        if let Some(writing) = writing {
            // What becomes of it nobody is told.
            let _ = wal.append(&writing.records);
            self.node(id).unfinished = Some(writing.records);
            self.coverage.count(Kind::CrashWhileWriting);
        }
        Ok(())
    }

    /// Clients that wait for an answer see their connections close, or nothing at all.
    fn close_connections(&mut self, id: NodeId) {
        let Some(process) = self.process(id) else { return };
        let mut asked: Vec<AttemptId> = std::mem::take(&mut process.asked).into_keys().collect();
        asked.extend(process.waiting.drain(..).filter_map(|input| match input {
            Input::Request(attempt, _) => Some(attempt),
            _ => None,
        }));
        for attempt in asked {
            if self.chance.percent(70) {
                self.reply_later(attempt, Reply::Closed);
            }
        }
    }

    /// The operating system closes the connections of a process that is gone, and refuses new ones.
    fn peers_notice(&mut self, gone: NodeId) {
        for id in self.all_nodes() {
            if id != gone && self.network.works((gone, id), self.now) && self.network.works((id, gone), self.now) {
                let at = self.now + self.chance.within(MS..10 * MS);
                self.queue.schedule(at, Event::PeerLost { at: id, peer: gone });
            }
        }
    }

    fn start_later(&mut self, id: NodeId) {
        let pause = self.chance.one_of(&[MS, 50 * MS, 500 * MS, 3_000 * MS]);
        let at = self.now + self.chance.within(0..pause + 1);
        self.queue.schedule(at, Event::Start(id));
    }

    fn start(&mut self, id: NodeId) -> Checked {
        let is_down = matches!(self.nodes[&id].state, State::Down);
        if !is_down || self.dead.contains(&id) {
            return Ok(());
        }
        if !self.is_calm && self.chance.percent(10) {
            self.coverage.count(Kind::CrashWhileStarting);
            let changes = self.chance.within(0..6);
            self.nodes[&id].disk.cut_power_after(changes);
        }
        let Self { nodes, plan, founders, chance, now, .. } = self;
        let node = nodes.get_mut(&id).expect("a node of this cluster");
        match node.start(plan, founders, *now, chance) {
            Ok(started) => self.started(id, &started),
            Err(StartFailure::ForNow(why)) => {
                self.trace.note(|| format!("n{} does not start: {why}", id.0));
                self.coverage.count(Kind::FailedStart);
                self.nodes[&id].disk.crash();
                self.start_later(id);
                Ok(())
            }
            Err(StartFailure::ForEver(why)) => {
                self.trace.note(|| format!("n{} refuses to start: {why}", id.0));
                let node = self.node(id);
                ensure!("Undamaged Logs Open", node.damaged, "n{} does not start any more: {why}", id.0);
                node.state = State::Refused;
                self.coverage.count(Kind::RefusedDamage);
                Ok(())
            }
        }
    }

    fn started(&mut self, id: NodeId, Started { found, torn }: &Started) -> Checked {
        self.trace.note(|| format!("n{} starts: {:?}, {} entries", id.0, found.hard_state, found.last_index()));
        // A power cut that was due during the start and did not come is off.
        self.nodes[&id].disk.keep_power();
        let node = &self.nodes[&id];
        self.invariants.restarted(node, found)?;
        self.coverage.count(Kind::Restart);
        if *torn {
            self.coverage.count(Kind::TornTail);
        }
        if node.unfinished.is_some() {
            let kind = if *found == node.image { Kind::WriteLost } else { Kind::WriteKept };
            self.coverage.count(kind);
        }
        if node.damaged {
            self.coverage.count(Kind::HarmlessDamage);
        }
        let node = self.node(id);
        node.image = Image::clone(found);
        node.unfinished = None;
        let life = node.lives;
        let first = self.now + self.chance.within(0..self.plan.tick_ms * MS);
        self.queue.schedule(first, Event::Tick(id, life));
        self.queue.schedule(first, Event::MakeSpare(id, life));
        self.check(id)?;
        self.carry_out(id)?;
        self.check(id)
    }

    pub(crate) fn pause(&mut self, id: NodeId) {
        let length = self.chance.one_of(&[20 * MS, 200 * MS, 1_000 * MS, 5_000 * MS, 30_000 * MS]);
        let length = self.chance.within(MS..length);
        let Some(process) = self.process(id).filter(|process| !process.paused) else { return };
        process.paused = true;
        let life = process.life;
        self.trace.note(|| format!("n{} stands still for {} ms", id.0, length / MS));
        self.coverage.count(Kind::Pause);
        if length > LONG_PAUSE {
            self.coverage.count(Kind::LongPause);
        }
        self.queue.schedule(self.now + length, Event::Resume(id, life));
    }

    /// Everything that has arrived meanwhile is there at once.
    pub(crate) fn resume(&mut self, id: NodeId, life: u64) -> Checked {
        if !self.is_life(id, life) {
            return Ok(());
        }
        let Some(process) = self.process(id) else { return Ok(()) };
        process.paused = false;
        for input in std::mem::take(&mut process.waiting) {
            // It may end on the way, by a disk that fails.
            self.input_of_life(id, life, input)?;
        }
        Ok(())
    }

    // --- Messages and requests -------------------------------------------------------------------

    fn arrive(&mut self, envelope: &Envelope) -> Checked {
        let Envelope { from, to, frame, garbled } = envelope;
        if !self.network.works((*from, *to), self.now) {
            self.coverage.count(Kind::MessageLost);
            return Ok(());
        }
        match peer::decode(frame) {
            Ok(message) => {
                ensure!("Checked Frames", !garbled, "a garbled frame from n{} is read as {message:?}", from.0);
                self.trace.message("  arrives: ", *from, *to, &message);
                self.trace.mix_all(&[from.0, message.term.0, frame.len() as u64]);
                self.input(*to, Input::Message(*from, message))
            }
            Err(error) => {
                ensure!("Sensible Messages", garbled, "a frame from n{} is not read: {error}", from.0);
                Ok(())
            }
        }
    }

    fn request(&mut self, to: NodeId, attempt: AttemptId, ask: Ask) -> Checked {
        if self.nodes[&to].process().is_some() {
            return self.input(to, Input::Request(attempt, ask));
        }
        if let Ask::Write(command) = &ask
            && let Some(request) = &command.request
        {
            self.invariants.answers.refused(request)?;
        }
        self.reply_later(attempt, Reply::Refused);
        Ok(())
    }

    /// A request has its answer: each gets one.
    fn take_asked(&mut self, id: NodeId, attempt: AttemptId) -> Result<Asked, Violation> {
        let asked = self.process(id).and_then(|process| process.asked.remove(&attempt));
        let twice = || Violation {
            invariant: "Honest Answers",
            what: format!("n{} answers request {attempt}, which it was not asked, or has answered", id.0),
        };
        asked.ok_or_else(twice)
    }

    fn write_ends(&mut self, id: NodeId, attempt: AttemptId, result: Result<kvd::kv::Outcome, WriteError>) -> Checked {
        let Ask::Write(command) = self.take_asked(id, attempt)?.ask else { unreachable!("a write was asked for") };
        let request = command.request.expect("clients name their requests");
        match &result {
            Ok(outcome) => {
                let Invariants { answers, model, .. } = &mut self.invariants;
                answers.acknowledged(&request, outcome, model)?;
                if answers.is_repeated(&request) {
                    self.coverage.count(Kind::RepeatAnswered);
                }
            }
            Err(WriteError::OutcomeUnknown) => {}
            Err(refused) => {
                if *refused == WriteError::Superseded {
                    self.coverage.count(Kind::Superseded);
                }
                self.invariants.answers.refused(&request)?;
            }
        }
        self.trace.note(|| format!("n{} answers {}#{}: {result:?}", id.0, request.client, request.seq));
        self.reply_later(attempt, Reply::Written(result));
        Ok(())
    }

    fn read_ends(&mut self, id: NodeId, attempt: AttemptId, result: Result<(), ReadError>) -> Checked {
        let Asked { ask, floor, .. } = self.take_asked(id, attempt)?;
        let Ask::Read(key) = ask else { unreachable!("a read was asked for") };
        let Some(process) = self.nodes[&id].process() else { return Ok(()) };
        let result = match result {
            Ok(()) => {
                let leads = process.replica.raft().role() == RoleName::Leader;
                self.coverage.count(if leads { Kind::LeaderRead } else { Kind::FollowerRead });
                let store = process.replica.store().read().expect("nothing panics while it holds the store");
                let Invariants { reads, model, .. } = &self.invariants;
                reads.linearizable(&process.replica, key, floor, &store, model)?;
                Ok(store.get(&key_bytes(key)))
            }
            Err(error) => Err(error),
        };
        self.trace.note(|| format!("n{} answers a read of k{key}: {result:?}", id.0));
        self.reply_later(attempt, Reply::Read(result));
        Ok(())
    }

    fn stale_read(&mut self, id: NodeId, attempt: AttemptId) -> Checked {
        let Ask::StaleRead(key) = self.take_asked(id, attempt)?.ask else { unreachable!("a stale read was asked for") };
        let Some(process) = self.nodes[&id].process() else { return Ok(()) };
        let store = process.replica.store().read().expect("nothing panics while it holds the store");
        let at = (id, process.life);
        let Invariants { reads, model, .. } = &mut self.invariants;
        reads.stale(at, key, &store, model)?;
        let item = store.get(&key_bytes(key));
        drop(store);
        self.coverage.count(Kind::StaleRead);
        self.reply_later(attempt, Reply::Read(Ok(item)));
        Ok(())
    }

    /// Every request is answered within its time, whatever becomes of it.
    fn check_answers_in_time(&mut self, id: NodeId) -> Checked {
        let node = &self.nodes[&id];
        let time = node.time(self.now);
        let Some(process) = node.process() else { return Ok(()) };
        // An effect left for later may hold an answer.
        if process.will_carry_out {
            return Ok(());
        }
        if let Some((attempt, Asked { since, .. })) = process.asked.first_key_value() {
            let waited = time.ms_since(*since);
            let allowed = self.plan.request_timeout_ms + ANSWER_SLACK_MS;
            ensure!("Bounded Answers", waited <= allowed, "n{} has not answered {attempt} for {waited} ms", id.0);
        }
        Ok(())
    }
}
