//! Disks at work: writes to the log, which take their time, and entries read back. What the server's log writer does.

use super::coverage::Kind;
use super::events::{Event, Micros};
use super::invariants::{Checked, ensure};
use super::notation::Name;
use super::world::World;
use kvd::raft::{Fetch, LogWrite, NodeId, WriteId};

impl World {
    pub(super) fn disk_time(&mut self, id: NodeId) -> Micros {
        let mean = self.nodes[&id].disk_mean_us;
        20 + self.chance.exponential(mean)
    }

    pub(super) fn begin_write(&mut self, id: NodeId, life: u64, write: LogWrite) -> Checked {
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

    pub(super) fn write_done(&mut self, id: NodeId, write: WriteId) -> Checked {
        let node = self.node(id);
        let is_stuck = node.disk_is_stuck;
        let Some(process) = node.process_mut() else { return Ok(()) };
        let Some(writing) = process.writing.take_if(|writing| writing.id == write && !is_stuck) else { return Ok(()) };
        match process.wal.append(&writing.records) {
            Ok(appended) => {
                process.replica.written(write);
                process.spare_is_due |= appended.began_segment;
                let life = process.life;
                node.image.write(&writing.records);
                self.trace.note(|| format!("{} write {} is durable", Name(id), write.0));
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

    pub(super) fn fetch_done(&mut self, id: NodeId, fetch: &Fetch) -> Checked {
        let Some(process) = self.process(id) else { return Ok(()) };
        match process.wal.reader().read(fetch.from, fetch.through, fetch.bytes_max) {
            Ok(entries) => {
                process.replica.fetched(fetch, entries);
                self.after_input(id)
            }
            Err(failure) => self.end_process(id, &failure.to_string()),
        }
    }

    pub(super) fn make_spare(&mut self, id: NodeId) -> Checked {
        if let Some(process) = self.process(id) {
            process.spare_is_due = false;
            // Without a spare the log makes its segments itself.
            let _ = process.wal.spare_maker().make();
        }
        Ok(())
    }
}
