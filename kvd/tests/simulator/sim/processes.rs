//! Processes that start, are paused, and end: by themselves, killed, or through a power cut.

use super::client::{AttemptId, Reply};
use super::coverage::Kind;
use super::events::{Event, Micros};
use super::faults::Fault;
use super::invariants::{Checked, ensure};
use super::node::{Input, Process, Start, StartFailure, Started, State};
use super::world::World;
use kvd::peer::founding_configuration;
use kvd::raft::{LogIndex, NodeId};
use testkit::faulty_disk::{Call, Fault as DiskFault};

const MS: Micros = 1_000;

impl World {
    /// Handles a process that ends by itself because its disk failed. It is soon restarted.
    pub(super) fn end_process(&mut self, id: NodeId, why: &str) -> Checked {
        self.trace.note(|| format!("n{} ends: {why}", id.0));
        self.close_connections(id);
        self.close_admissions(id);
        self.stop_asking(id);
        self.process_gone(id);
        self.node(id).state = State::Down;
        self.nodes[&id].disk.kill();
        self.peers_notice(id);
        self.start_later(id);
        Ok(())
    }

    pub(crate) fn kill(&mut self, id: NodeId) -> Checked {
        if self.nodes[&id].running().is_some() {
            self.coverage.count(Kind::Kill);
            self.close_admissions(id);
            self.crash(id)?;
            self.nodes[&id].disk.kill();
            self.peers_notice(id);
            self.start_later(id);
        }
        Ok(())
    }

    pub(crate) fn cut_power(&mut self, id: NodeId) -> Checked {
        if self.nodes[&id].running().is_some() {
            self.coverage.count(Kind::PowerCut);
            self.crash(id)?;
            self.network.switch_off(id);
            self.nodes[&id].disk.crash();
            self.start_later(id);
        }
        Ok(())
    }

    /// Ends a process in the middle of its work.
    pub(super) fn crash(&mut self, id: NodeId) -> Checked {
        self.trace.note(|| format!("n{} crashes", id.0));
        self.stop_asking(id);
        self.close_connections(id);
        self.process_gone(id);
        let changes = self.chance.one_of(&[0, 1, 2, 3, 8, 40]);
        let is_making = self.chance.percent(80);
        if self.nodes[&id].entrant().is_some() {
            self.crash_entrant(id, changes);
            return Ok(());
        }
        let node = self.node(id);
        let State::Running(mut process) = std::mem::replace(&mut node.state, State::Down) else { return Ok(()) };
        let disk = node.disk.clone();
        disk.cut_power_after(changes);
        if self.chance.percent(50) {
            self.crash_while_snapshotting(&mut process, self.plan.snapshot_piece_bytes);
        }
        let Process { mut wal, writing, spare_is_due, .. } = *process;
        if spare_is_due && is_making && wal.spare_maker().make().is_err() {
            self.coverage.count(Kind::CrashWhileMakingSpare);
        }
        if let Some(writing) = writing {
            // No one is told the result.
            let _ = wal.write(&writing);
            self.node(id).unfinished = Some(writing);
            if !disk.has_power() {
                self.coverage.count(Kind::CrashWhileWriting);
            }
        } else if !wal.is_sealed() && self.chance.percent(50) && wal.seal().is_err() && !disk.has_power() {
            self.coverage.count(Kind::CrashWhileSealing);
        }
        Ok(())
    }

    /// Clients that wait for an answer see their connections close, or nothing at all.
    pub(super) fn close_connections(&mut self, id: NodeId) {
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

    /// Closes the connections of a process that is gone, and refuses new ones, as the operating system does.
    pub(super) fn peers_notice(&mut self, gone: NodeId) {
        if !self.network.is_loose() {
            return self.streams_close(gone);
        }
        for id in self.all_nodes() {
            if id != gone && self.network.works((gone, id), self.now) && self.network.works((id, gone), self.now) {
                let at = self.now + self.chance.within(MS..10 * MS);
                self.queue.schedule(at, Event::PeerLost { at: id, peer: gone });
            }
        }
    }

    pub(super) fn start_later(&mut self, id: NodeId) {
        let pause = self.chance.one_of(&[MS, 50 * MS, 500 * MS, 3_000 * MS]);
        let at = self.now + self.chance.within(0..pause + 1);
        self.queue.schedule(at, Event::Start(id));
    }

    pub(super) fn start(&mut self, id: NodeId) -> Checked {
        let is_down = matches!(self.nodes[&id].state, State::Down);
        if !is_down || self.dead.contains(&id) {
            return Ok(());
        }
        self.network.switch_on(id);
        self.trouble_start(id);
        self.draw_version(id);
        self.draw_flags(id);
        let failures_before = self.nodes[&id].disk.failures();
        let Self { nodes, plan, founders, chance, now, .. } = self;
        let node = nodes.get_mut(&id).expect("a node of this cluster");
        match node.start(plan, founders.as_ref(), *now, chance) {
            Ok(Start::Replica(started)) => self.started(id, &started),
            Ok(Start::Entrant) => self.entrant_started(id),
            Err(StartFailure::ForNow(why)) => {
                self.trace.note(|| format!("n{} does not start: {why}", id.0));
                self.coverage.count(Kind::FailedStart);
                let disk = &self.nodes[&id].disk;
                if disk.failures() > failures_before {
                    self.coverage.count(Kind::DiskErrorWhileStarting);
                }
                let had_power = disk.has_power();
                if !had_power {
                    self.coverage.count(Kind::CrashWhileStarting);
                }
                if had_power && self.chance.percent(50) {
                    self.nodes[&id].disk.kill();
                } else {
                    self.nodes[&id].disk.crash();
                }
                self.start_later(id);
                Ok(())
            }
            Err(StartFailure::TooOld) => {
                self.trace.note(|| format!("n{} does not start: its version is too old for its data", id.0));
                self.undo_roll_back(id);
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

    /// Troubles a start with a power cut or a disk error.
    fn trouble_start(&mut self, id: NodeId) {
        if self.is_calm || self.plan.is_quiet() {
            return;
        }
        let disk = self.nodes[&id].disk.clone();
        if self.chance.percent(10) {
            disk.cut_power_after(self.chance.within(0..6));
        } else if self.plan.faults.iter().any(|(fault, _)| *fault == Fault::DiskError) && self.chance.percent(20) {
            let calls = [Call::List, Call::Open, Call::Read, Call::Write, Call::Sync, Call::Remove, Call::SyncDir];
            let call = self.chance.one_of(&calls);
            let what = self.chance.one_of(&[DiskFault::Io, DiskFault::NoSpace]);
            disk.fail_after(call, self.chance.within(0..4), what);
        }
    }

    pub(super) fn started(&mut self, id: NodeId, Started { found, torn }: &Started) -> Checked {
        let (hard_state, last, snapshot) = (found.hard_state, found.last_index(), found.snapshot);
        self.trace.note(|| format!("n{} starts: {hard_state:?}, {last} entries, snapshot {snapshot}", id.0));
        if snapshot.index > LogIndex(0) {
            self.coverage.count(Kind::StartFromSnapshot);
        }
        let founders = self.nodes[&id].hello().map(|hello| founding_configuration(&hello.founders)).unwrap_or_default();
        if !founders.members.is_empty() {
            // The beginning that a crash has left may be complete.
            self.log_begins(id, &founders)?;
        }
        // Cancels a power cut that was due during the start and did not happen.
        self.nodes[&id].disk.keep_power();
        let node = &self.nodes[&id];
        let (image, is_kept) = self.invariants.restarted(node, found)?;
        if node.lives > 1 {
            self.coverage.count(Kind::Restart);
            let Self { network, chance, queue, coverage, now, .. } = self;
            network.replay_to(id, *now, chance, queue, coverage);
        }
        let node = &self.nodes[&id];
        if *torn {
            self.coverage.count(Kind::TornTail);
        }
        if node.unfinished.is_some() {
            let kind = if is_kept { Kind::WriteKept } else { Kind::WriteLost };
            self.coverage.count(kind);
        }
        if node.damaged {
            self.coverage.count(Kind::HarmlessDamage);
        }
        let node = self.node(id);
        node.image = image;
        node.unfinished = None;
        let life = node.lives;
        let first = self.now + self.chance.within(0..self.plan.tick_ms * MS);
        self.queue.schedule(first, Event::Tick(id, life));
        self.queue.schedule(first, Event::MakeSpare(id, life));
        self.seal_later(id, first - self.now);
        self.dial_all(id);
        self.past_begins(id);
        let limits = self.watchers.limits_of(id);
        if let Some(process) = self.process(id) {
            process.replica.set_store_limits(limits);
        }
        self.ask_whether_still_wanted(id)?;
        self.check(id)?;
        self.carry_out(id)?;
        self.check(id)
    }

    pub(crate) fn pause(&mut self, id: NodeId) {
        let length = self.draw_pause();
        self.pause_for(id, length);
    }

    /// Draws the length of a pause. Microseconds.
    pub(super) fn draw_pause(&mut self) -> Micros {
        let length = self.chance.one_of(&[20 * MS, 200 * MS, 1_000 * MS, 5_000 * MS, 30_000 * MS]);
        self.chance.within(MS..length)
    }

    pub(super) fn pause_for(&mut self, id: NodeId, length: Micros) {
        let patience = self.plan.settings.election_timeout_max_ms * MS;
        if let Some(entrant) = self.entrant(id).filter(|entrant| !entrant.paused) {
            entrant.paused = true;
            let life = entrant.life;
            self.coverage.count(Kind::EntrantPaused);
            self.queue.schedule(self.now + length, Event::Resume(id, life));
            return;
        }
        let Some(process) = self.process(id).filter(|process| !process.paused) else { return };
        process.paused = true;
        let life = process.life;
        self.trace.note(|| format!("n{} stands still for {} ms", id.0, length / MS));
        self.coverage.count(Kind::Pause);
        if length > patience {
            self.coverage.count(Kind::LongPause);
        }
        self.queue.schedule(self.now + length, Event::Resume(id, life));
    }

    /// Resumes a process: all inputs that arrived meanwhile are processed at once.
    pub(crate) fn resume(&mut self, id: NodeId, life: u64) -> Checked {
        if let Some(entrant) = self.entrant(id).filter(|entrant| entrant.life == life) {
            entrant.paused = false;
        }
        if !self.is_life(id, life) {
            return Ok(());
        }
        let now = self.now;
        let node = self.node(id);
        let time = node.time(now);
        let Some(process) = node.process_mut() else { return Ok(()) };
        process.paused = false;
        for (_, receiving) in process.abandoned.extract_if(.., |(begun, _)| *begun == life) {
            receiving.abandon();
        }
        self.forget_owing(id);
        self.forgive_pause(id);
        let Some(process) = self.process(id) else { return Ok(()) };
        // It could not answer meanwhile, so its time to answer starts again.
        process.asked.values_mut().for_each(|asked| asked.since = time);
        let mut waiting = std::mem::take(&mut process.waiting);
        if self.chance.percent(70) {
            // As in the server, a node processes waiting inputs before its timers judge the silence. In some cases
            // timers come first nevertheless, since correctness must not depend on this order.
            waiting.sort_by_key(|input| matches!(input, Input::Tick | Input::CarryOut));
        }
        for input in waiting {
            // The process may end meanwhile if its disk fails.
            self.input_of_life(id, life, input)?;
        }
        Ok(())
    }
}
