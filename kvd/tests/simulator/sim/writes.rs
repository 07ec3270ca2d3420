//! Disks at work: writes to the log, which take time, and entries read back. Corresponds to the server's log writer.

use super::coverage::Kind;
use super::events::{Event, Micros};
use super::invariants::{Checked, ensure};
use super::notation::Name;
use super::world::World;
use kvd::raft::{Fetch, LogIndex, LogWrite, NodeId, Record, WriteId};
use kvd::storage::StorageError;
use kvd::storage::wal::Appended;

/// Idle time after which a log is sealed, as in the server. Microseconds.
const SEAL_AFTER: Micros = 200_000;

/// A segment is filled with zeros and synced more than once. It takes this many times as long as a write.
const SPARE_TIMES: u64 = 20;

impl World {
    pub(super) fn disk_time(&mut self, id: NodeId) -> Micros {
        let mean = self.nodes[&id].disk_mean_us;
        20 + self.chance.exponential(mean)
    }

    pub(super) fn begin_write(&mut self, id: NodeId, life: u64, write: LogWrite) -> Checked {
        self.invariants.write_begins(&self.nodes[&id], &write, &mut self.coverage)?;
        let at = self.now + self.disk_time(id);
        let (healthy_mean_us, now) = (self.plan.disk_mean_us, self.now);
        let node = self.node(id);
        let (is_stuck, is_slow) = (node.disk_is_stuck, node.disk_mean_us != healthy_mean_us);
        let Some(process) = node.process_mut() else { return Ok(()) };
        let write_id = write.id;
        ensure!("One Write at a Time", process.writing.is_none(), "n{} begins a second write", id.0);
        process.writing = Some(write);
        process.writing_since = now;
        if is_stuck {
            self.coverage.count(Kind::StuckDisk);
        } else {
            self.queue.schedule(at, Event::WriteDone(id, life, write_id));
        }
        if is_slow {
            self.coverage.count(Kind::SlowDisk);
        }
        Ok(())
    }

    /// Makes a stuck disk answer again.
    pub(crate) fn unstick(&mut self, id: NodeId) {
        if std::mem::take(&mut self.node(id).disk_is_stuck) {
            self.finish_soon(id);
        }
    }

    /// Makes the write under way take no longer than one that begins now.
    pub(super) fn finish_soon(&mut self, id: NodeId) {
        self.write_soon(id);
        let at = self.now + self.disk_time(id);
        let node = self.node(id);
        if let Some(process) = node.process_mut()
            && let Some(write) = &process.writing
        {
            let (life, write) = (process.life, write.id);
            self.queue.schedule(at, Event::WriteDone(id, life, write));
        }
    }

    pub(super) fn write_done(&mut self, id: NodeId, write: WriteId) -> Checked {
        let now = self.now;
        let node = self.node(id);
        let is_stuck = node.disk_is_stuck;
        let Some(process) = node.process_mut() else { return Ok(()) };
        if is_stuck && process.writing.as_ref().is_some_and(|writing| writing.id == write) {
            self.coverage.count(Kind::StuckDisk);
            return Ok(());
        }
        let Some(writing) = process.writing.take_if(|writing| writing.id == write) else { return Ok(()) };
        match process.wal.write(&writing) {
            Ok(appended) => {
                process.logged_commit = logged_commit(&writing).max(process.logged_commit);
                process.cut_up_to = cut_at(&writing).max(process.cut_up_to);
                process.replica.written(write);
                process.last_write = now;
                node.image.write(&writing);
                self.trace.note(|| format!("{} write {} is durable", Name(id), write.0));
                self.appended(id, appended);
                self.seal_later(id, SEAL_AFTER);
                self.after_input(id)
            }
            Err(failure) => {
                node.unfinished = Some(writing);
                self.end_process(id, &failure.to_string())
            }
        }
    }

    pub(super) fn fetch_done(&mut self, id: NodeId, fetch: &Fetch) -> Checked {
        let Some(process) = self.process(id) else { return Ok(()) };
        match process.wal.reader().read(fetch.from, fetch.through, fetch.bytes_max) {
            Ok(entries) => {
                process.replica.fetched(fetch, entries);
                self.after_input(id)
            }
            Err(StorageError::Compacted { .. }) => {
                process.replica.fetched(fetch, Vec::new());
                self.after_input(id)
            }
            Err(failure) => self.end_process(id, &failure.to_string()),
        }
    }

    /// Handles a new segment, which has used up the spare.
    fn appended(&mut self, id: NodeId, appended: Appended) {
        if !appended.began_segment {
            return;
        }
        self.coverage.count(Kind::Segment);
        let at = self.now + SPARE_TIMES * self.disk_time(id);
        let Some(process) = self.process(id) else { return };
        process.spare_is_due = true;
        let life = process.life;
        self.queue.schedule(at, Event::MakeSpare(id, life));
    }

    /// Schedules a check of a node's log, to seal it if it is idle by then.
    pub(super) fn seal_later(&mut self, id: NodeId, after: Micros) {
        let at = self.now + after;
        let Some(process) = self.process(id) else { return };
        if !std::mem::replace(&mut process.seal_is_due, true) {
            let life = process.life;
            self.queue.schedule(at, Event::Seal(id, life));
        }
    }

    pub(super) fn seal(&mut self, id: NodeId) -> Checked {
        let now = self.now;
        let node = self.node(id);
        let is_stuck = node.disk_is_stuck;
        let Some(process) = node.process_mut() else { return Ok(()) };
        process.seal_is_due = false;
        let idle = now - process.last_write;
        if is_stuck || process.writing.is_some() || process.wal.is_sealed() {
            // It is checked again after the next write.
            return Ok(());
        }
        if idle < SEAL_AFTER {
            self.seal_later(id, SEAL_AFTER - idle);
            return Ok(());
        }
        match process.wal.seal() {
            Ok(appended) => {
                self.coverage.count(Kind::Seal);
                self.appended(id, appended);
                Ok(())
            }
            Err(failure) => self.end_process(id, &failure.to_string()),
        }
    }

    pub(super) fn make_spare(&mut self, id: NodeId) -> Checked {
        if let Some(process) = self.process(id) {
            process.spare_is_due = false;
            // Without a spare, the log creates its segments itself.
            let _ = process.wal.spare_maker().make();
        }
        Ok(())
    }
}

/// Index from which a write cuts off entries.
fn cut_at(write: &LogWrite) -> LogIndex {
    let cuts = write.records.iter().filter_map(|record| match record {
        Record::Truncate { from } => Some(*from),
        Record::Entry(_) | Record::HardState(_) | Record::Commit(_) => None,
    });
    cuts.max().unwrap_or_default()
}

/// Commit index that a write records.
fn logged_commit(write: &LogWrite) -> LogIndex {
    let said = write.records.iter().filter_map(|record| match record {
        Record::Commit(index) => Some(*index),
        Record::Entry(_) | Record::HardState(_) | Record::Truncate { .. } => None,
    });
    let base = write.restart.map(|restart| restart.base.index);
    said.chain(base).max().unwrap_or_default()
}
