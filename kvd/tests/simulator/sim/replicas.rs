//! Replicas at work: the inputs of a process, and its effects. Corresponds to the server's own task.

use super::coverage::Kind;
use super::events::{Ask, Event, Life, Micros};
use super::invariants::{Checked, Invariants, Violation};
use super::leadership_transfer::Before;
use super::node::{Asked, Input, Node};
use super::streams::{LaneOf, LeaderBefore};
use super::world::World;
use kvd::node::Effects;
use kvd::peer::Lane;
use kvd::raft::{Body, NodeId, Refusal, RoleName};

/// Number of inputs that wait for a paused process: sockets hold this much.
const WAITING_INPUTS_MAX: usize = 2_000;

const MS: Micros = 1_000;

impl World {
    pub(super) fn is_life(&self, id: NodeId, life: Life) -> bool {
        self.nodes[&id].process().is_some_and(|process| process.life == life)
    }

    /// Returns the version of the protocol that two nodes use with each other.
    pub(super) fn protocol_between(&self, one: NodeId, other: NodeId) -> u32 {
        self.nodes[&one].protocol().min(self.nodes[&other].protocol())
    }

    pub(super) fn input_of_life(&mut self, id: NodeId, life: u64, input: Input) -> Checked {
        if self.is_life(id, life) { self.input(id, input) } else { Ok(()) }
    }

    /// Delivers an input to a node, which processes it unless it is down or paused.
    pub(super) fn input(&mut self, id: NodeId, input: Input) -> Checked {
        let now = self.now;
        let (floor, floor_time) = (self.invariants.committed_index(), self.invariants.cluster_times.newest());
        let node = self.nodes.get_mut(&id).expect("a node of this cluster");
        let time = node.time(now);
        let Some(process) = node.process_mut() else { return Ok(()) };
        if process.paused {
            // Timers that expired during a pause fire once.
            let is_late_tick =
                matches!(input, Input::Tick) && process.waiting.iter().any(|waiting| matches!(waiting, Input::Tick));
            let is_too_much = matches!(input, Input::Message(..)) && process.waiting.len() >= WAITING_INPUTS_MAX;
            if !is_late_tick && !is_too_much {
                process.waiting.push(input);
            }
            return Ok(());
        }
        process.replica.set_time(time);
        self.invariants.cluster_times.runs(id, process.life, self.now);
        self.invariants.presence.awake(id, process.life, time, self.now, process.replica.raft());
        match input {
            Input::Tick => {
                let before = LeaderBefore::of(process.replica.raft());
                process.replica.tick(time);
                self.invariants.cluster_times.ticked(id, &process.replica)?;
                let committed = self.invariants.committed_index();
                let Invariants { leases, model, .. } = &self.invariants;
                leases.ticked(id, &self.nodes[&id].process().expect("it runs").replica, committed, model)?;
                self.check_lanes(id, &before)?;
                self.after_input(id)?;
                self.snapshot_if_due(id)?;
                self.check_leadership_transfers_in_time(id)?;
                self.check_changes_in_time(id)?;
                return self.check_answers_in_time(id);
            }
            Input::CarryOut => {
                process.will_carry_out = false;
                self.carry_out(id)?;
                return self.check(id);
            }
            Input::Message(from, message) => {
                self.invariants.bounds.heard(id, from);
                let process = self.nodes.get_mut(&id).and_then(Node::process_mut).expect("a running node");
                if let Some(level) = process.replica.refuses_level(&message) {
                    self.trace.note(|| format!("n{} refuses entries of level {level} from n{}", id.0, from.0));
                    return self.is_left_behind(id);
                }
                if let Some(refusal) = process.replica.raft().refusal(from, &message) {
                    if self.plan.members.is_some() && refusal == Refusal::NotMember {
                        self.coverage.count(Kind::MessageOfStranger);
                        return Ok(());
                    }
                    let what = format!("n{} refuses a message of n{}: {refusal}", id.0, from.0);
                    return Err(Violation { invariant: "Sensible Messages", what });
                }
                let before = Before::of(process.replica.raft());
                process.replica.step(from, message.clone());
                self.invariants.presence.stepped(id, from, &message);
                let raft = process.replica.raft();
                self.invariants.cluster_times.stepped(id, from, &message, raft);
                before.check(from, &message, raft)?;
                if message.body == Body::TimeoutNow && raft.role() == RoleName::Candidate && raft.term() > message.term
                {
                    self.coverage.count(Kind::TimeoutNow);
                }
            }
            Input::WriteDone(write) => return self.write_done(id, write),
            Input::FetchDone(fetch) => return self.fetch_done(id, &fetch),
            Input::MakeSpare => return self.make_spare(id),
            Input::Seal => return self.seal(id),
            Input::SnapshotPiece => return self.snapshot_piece(id),
            Input::SnapshotSent(sent) => return self.snapshot_sent(id, sent),
            Input::AskMembers(request) => return self.members_asked(id, request),
            Input::Change(change) => return self.change_members(id, &change),
            Input::ToldRemoved => process.replica.told_removed(),
            Input::Snapshot(received) => return self.install(id, *received),
            Input::LeadershipTransfer(to) => return self.leadership_transfer(id, to),
            Input::PeerLost(peer) => {
                process.replica.peer_lost(peer);
                let life = process.life;
                self.invariants.levels.lost((id, life), peer);
            }
            Input::BulkOpened(peer) => process.replica.bulk_opened(peer),
            Input::BulkStalled(peer) => process.replica.bulk_stalled(peer),
            Input::Request(attempt, ask) => {
                let mut asked = Asked { since: time, ask: ask.clone(), floor, floor_time, place: None };
                let last_before = process.replica.raft().log().last_index();
                match &ask {
                    Ask::Write(command) => process.replica.write(command.encode(), attempt),
                    Ask::Read(_) => process.replica.read(attempt),
                    Ask::StaleRead(_) => {}
                }
                let raft = process.replica.raft();
                let last = raft.log().last_index();
                asked.place = (last > last_before).then_some((last, raft.term()));
                process.asked.insert(attempt, asked);
                if matches!(ask, Ask::StaleRead(_)) {
                    return self.stale_read(id, attempt);
                }
            }
        }
        self.after_input(id)
    }

    /// Carries out the effects of an input at once, or a little later together with those of the next inputs.
    pub(super) fn after_input(&mut self, id: NodeId) -> Checked {
        self.check(id)?;
        if self.chance.percent(self.plan.batched_percent) {
            self.carry_out_later(id);
            return Ok(());
        }
        self.carry_out(id)?;
        self.check(id)
    }

    pub(super) fn carry_out_later(&mut self, id: NodeId) {
        let at = self.now + self.chance.within(10..3 * MS);
        let Some(process) = self.process(id) else { return };
        if !process.will_carry_out {
            process.will_carry_out = true;
            let life = process.life;
            self.queue.schedule(at, Event::CarryOut(id, life));
        }
    }

    pub(super) fn check(&mut self, id: NodeId) -> Checked {
        self.stop_asking_if_fed(id);
        self.note_vote(id);
        let elections = self.coverage.of(Kind::Election);
        let candidacies = self.coverage.of(Kind::Candidacy);
        self.invariants.node_changed(id, &self.nodes, &mut self.coverage)?;
        if self.are_changes_open() && self.note_configuration() && !self.is_calm {
            self.ask_the_deposed();
        }
        if self.coverage.of(Kind::Election) > elections {
            let Self { network, chance, queue, coverage, now, .. } = self;
            network.acknowledge_late(id, *now, chance, queue, coverage);
            if self.chance.percent(self.plan.struck_percent) {
                let at = self.now + self.chance.exponential(self.plan.struck_after_us);
                self.queue.schedule(at, Event::Strike(id));
            }
        }
        self.strike_successor(id);
        if self.coverage.of(Kind::Candidacy) > candidacies {
            self.stands_for_election(id);
        }
        if let Some(raft) = self.nodes[&id].raft() {
            if raft.role() == RoleName::Leader && self.leaders().len() > 1 {
                self.coverage.count(Kind::TwoLeaders);
            }
            if raft.transfer_target().is_some()
                && raft.disk_stuck_ms().is_some()
                && self.transferred.insert(raft.term())
            {
                self.coverage.count(Kind::StuckDiskLeft);
            }
            let log = raft.log();
            let (term, commit) = (raft.term().0, log.commit_index().0);
            let numbers = [id.0, raft.role() as u64, term, commit, log.last_index().0, log.durable_index().0];
            self.trace.mix_all(&numbers);
        }
        Ok(())
    }

    /// Carries out the effects of a replica.
    pub(super) fn carry_out(&mut self, id: NodeId) -> Checked {
        let changes_ended = self.go_on_with_changes(id)?;
        let Some(process) = self.nodes.get_mut(&id).and_then(Node::process_mut) else { return Ok(()) };
        let life = process.life;
        let Effects { send, bulk, write, fetch, snapshots, writes, reads } = process.replica.effects();
        let has_unapplied = process.replica.has_unapplied();
        self.invariants.bounds.check_memory(id, &process.replica)?;
        // Answers rely on the entries that are committed and applied by now.
        self.check(id)?;
        let bulk = bulk.into_iter().map(|sent| (Lane::Bulk, sent));
        for (lane, (to, message)) in bulk.chain(send.into_iter().map(|sent| (Lane::Prompt, sent))) {
            self.invariants.message_leaves(&self.nodes[&id], to, &message)?;
            self.trace.message("", id, to, &message);
            if self.network.is_loose() {
                let protocol = self.protocol_between(id, to);
                let Self { network, chance, queue, coverage, now, .. } = self;
                network.send((id, to), (&message, protocol), *now, chance, queue, coverage);
            } else {
                self.send_on_stream(LaneOf { link: (id, to), lane }, &message);
            }
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
        for (request, answer) in changes_ended {
            self.change_ends(id, request, answer)?;
        }
        self.leadership_transfers_end(id);
        self.stop_needless_transfers(id, life);
        // Last, since a snapshot that cannot be read ends the process.
        for snapshot in snapshots {
            self.send_snapshot(id, life, snapshot)?;
        }
        if has_unapplied {
            self.carry_out_later(id);
        }
        Ok(())
    }
}
