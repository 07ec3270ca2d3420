//! Snapshots: nodes take them piece by piece while they go on, let their logs go behind them, and send them to
//! followers that need them. What the server's snapshot tasks do.

use super::coverage::Kind;
use super::events::{Event, Life, Micros};
use super::invariants::{Checked, ensure};
use super::node::{Input, Process};
use super::notation::Name;
use super::world::World;
use kvd::data::{KeptLog, ReceiveError, Received, Receiving, cluster_of, compaction_point, is_snapshot_due, meta_of};
use kvd::raft::{LogIndex, NodeId, SendSnapshot, Term};
use kvd::storage::snapshot::{SnapshotBytes, SnapshotFile, SnapshotWriter, remove_older};
use kvd::storage::{Disk, StorageError};
use std::sync::Arc;

const MS: Micros = 1_000;

/// Names a snapshot on its way.
pub(crate) type TransferId = u64;

/// A snapshot on its way from one node to another.
#[derive(Debug)]
pub(crate) struct Transfer {
    pub(super) from: (NodeId, Life),
    pub(super) to: NodeId,
    term: Term,
    /// Where it ends.
    pub(super) last: LogIndex,
    bytes: Vec<u8>,
    position: usize,
    /// The receiving end, of this life of the node.
    receiving: Option<(Life, Receiving)>,
}

/// What became of a snapshot that was sent, as its sender is told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SnapshotSent {
    to: NodeId,
    term: Term,
    last: Option<LogIndex>,
}

impl World {
    /// Begins a snapshot if the log has grown enough since the last.
    pub(super) fn snapshot_if_due(&mut self, id: NodeId) -> Checked {
        let node = self.nodes.get_mut(&id).expect("a node of this cluster");
        let disk = node.disk.clone();
        let Some(process) = node.process_mut() else { return Ok(()) };
        if process.taking.is_some() || !owes_snapshot(process, self.plan.snapshot_log_bytes) {
            return Ok(());
        }
        let cluster_id = cluster_of(&self.founders).id;
        let (place, summary) = process.replica.begin_snapshot().expect("there is no other");
        match SnapshotWriter::begin(Arc::new(disk), &meta_of(cluster_id, place, &summary)) {
            Ok(writer) => {
                process.taking = Some(writer);
                self.next_piece_later(id);
                Ok(())
            }
            Err(failure) => self.snapshot_failed(id, &failure),
        }
    }

    fn next_piece_later(&mut self, id: NodeId) {
        let at = self.now + self.disk_time(id) / 4;
        if let Some(Process { life, .. }) = self.process(id) {
            let life = *life;
            self.queue.schedule(at, Event::SnapshotPiece(id, life));
        }
    }

    /// The next piece of the snapshot that a node takes.
    pub(super) fn snapshot_piece(&mut self, id: NodeId) -> Checked {
        let bytes_max = self.plan.snapshot_piece_bytes;
        let Some(process) = self.process(id) else { return Ok(()) };
        let Some(mut writer) = process.taking.take() else { return Ok(()) };
        match write_piece(process, &mut writer, bytes_max) {
            Ok(true) => {
                process.taking = Some(writer);
                self.next_piece_later(id);
                Ok(())
            }
            Ok(false) => match end_snapshot(process, writer) {
                Ok(file) => {
                    self.coverage.count(Kind::SnapshotTaken);
                    self.trace.note(|| format!("{} has a snapshot up to {}", Name(id), file.last()));
                    self.snapshot_durable(id, file)?;
                    self.compact(id)
                }
                Err(failure) => self.snapshot_failed(id, &failure),
            },
            Err(failure) => self.snapshot_failed(id, &failure),
        }
    }

    /// For want of space a node only goes without its snapshot; else it ends.
    fn snapshot_failed(&mut self, id: NodeId, failure: &StorageError) -> Checked {
        if let Some(process) = self.process(id) {
            let store = process.replica.store();
            drop(store.write().expect("nothing panics while it holds the store").end_snapshot());
        }
        if failure.is_for_want_of_space() {
            self.coverage.count(Kind::SnapshotFailed);
            return Ok(());
        }
        self.end_process(id, &failure.to_string())
    }

    /// A snapshot of a node is durable: older ones go.
    fn snapshot_durable(&mut self, id: NodeId, file: SnapshotFile) -> Checked {
        let last = file.last();
        let Self { nodes, invariants, .. } = self;
        invariants.holds_what_is_committed(last)?;
        let node = nodes.get_mut(&id).expect("a node of this cluster");
        node.image.snapshot_written(last, || invariants.committed_entries());
        let removed = remove_older(&node.disk, &file);
        if let Some(process) = node.process_mut() {
            process.snapshot = Some(file);
        }
        removed.or_else(|failure| self.end_process(id, &failure.to_string()))
    }

    /// Lets the log go, as far as the newest snapshot allows.
    pub(super) fn compact(&mut self, id: NodeId) -> Checked {
        let recent_bytes = self.plan.keep_log_bytes;
        let kept = KeptLog { recent_bytes, behind_bytes_max: recent_bytes * 4 };
        let sending: Vec<LogIndex> =
            self.transfers.values().filter(|transfer| transfer.from.0 == id).map(|transfer| transfer.last).collect();
        let Some(process) = self.process(id) else { return Ok(()) };
        let Some(snapshot) = process.snapshot.as_ref().map(|file| file.last().index) else { return Ok(()) };
        let fed = process.replica.raft().fed_from();
        let gone = process.replica.compact(compaction_point(snapshot, &process.wal.reader(), kept, sending, fed));
        match process.wal.compactor().compact(gone) {
            Ok(segments) => {
                self.coverage.add(Kind::SegmentRemoved, segments as u64);
                Ok(())
            }
            Err(failure) => self.end_process(id, &failure.to_string()),
        }
    }

    /// A follower is to be sent the newest snapshot.
    pub(super) fn send_snapshot(
        &mut self,
        from: NodeId,
        life: Life,
        SendSnapshot { to, term }: SendSnapshot,
    ) -> Checked {
        if !self.is_life(from, life) {
            // Its disk has failed with the one before.
            return Ok(());
        }
        let node = &self.nodes[&from];
        let Some(file) = node.process().and_then(|process| process.snapshot.clone()) else {
            ensure!("Snapshots", false, "n{} needs a snapshot for n{}, and has none", from.0, to.0);
            return Ok(());
        };
        let mut earlier = self.transfers.iter().filter(|(_, other)| other.from == (from, life) && other.to == to);
        if let Some((id, Transfer { term: before, .. })) = earlier.next().map(|(id, other)| (*id, other)) {
            // It led before and was not told how that one ended. One is enough.
            ensure!("Bounded", *before < term, "n{} sends n{} a second snapshot in term {term}", from.0, to.0);
            let other = self.transfers.remove(&id);
            if let Some(other) = other {
                self.abandon(other);
            }
        }
        let node = &self.nodes[&from];
        match read_file(&node.disk, &file) {
            Ok(bytes) => {
                self.transfers_begun += 1;
                let last = file.last().index;
                let transfer = Transfer { from: (from, life), to, term, last, bytes, position: 0, receiving: None };
                self.transfers.insert(self.transfers_begun, transfer);
                self.transfer_later(self.transfers_begun);
                Ok(())
            }
            Err(failure) => self.end_process(from, &failure.to_string()),
        }
    }

    /// A leader stops sending to followers that need no snapshot any more.
    pub(super) fn stop_needless_transfers(&mut self, from: NodeId, life: Life) {
        let Some(raft) = self.nodes[&from].raft() else { return };
        let is_needless = |transfer: &Transfer| transfer.from == (from, life) && raft.needs_no_snapshot(transfer.to);
        let needless: Vec<TransferId> =
            self.transfers.iter().filter(|(_, transfer)| is_needless(transfer)).map(|(id, _)| *id).collect();
        for id in needless {
            self.coverage.count(Kind::TransferNeedless);
            if let Some(transfer) = self.transfers.remove(&id) {
                self.tell_sender(&transfer, None);
                self.abandon(transfer);
            }
        }
    }

    fn transfer_later(&mut self, id: TransferId) {
        let at = self.now + self.network.delay(&mut self.chance);
        self.queue.schedule(at, Event::TransferPiece(id));
    }

    /// The next piece of a snapshot on its way.
    pub(super) fn transfer_piece(&mut self, id: TransferId) -> Checked {
        let Some(mut transfer) = self.transfers.remove(&id) else { return Ok(()) };
        let (from, to) = (transfer.from.0, transfer.to);
        let is_broken = !self.network.works((from, to), self.now)
            || !self.network.works((to, from), self.now)
            || self.network.loses_client_message(to, &mut self.chance)
            || !self.is_life(from, transfer.from.1)
            // Whoever gets it would stray as well, and in time so would a majority.
            || self.comparisons.has_strayed(from);
        let receiver = self.nodes[&to].process().filter(|process| !process.paused).map(|process| process.life);
        let is_other_life = transfer.receiving.as_ref().is_some_and(|(life, _)| Some(*life) != receiver);
        let Some(life) = receiver.filter(|_| !is_broken && !is_other_life) else {
            self.tell_sender(&transfer, None);
            self.abandon(transfer);
            return Ok(());
        };
        self.invariants.bounds.heard(to, from);
        let disk = self.nodes[&to].disk.clone();
        let cluster_id = cluster_of(&self.founders).id;
        let (_, receiving) =
            transfer.receiving.get_or_insert_with(|| (life, Receiving::new(Arc::new(disk), cluster_id)));
        let end = (transfer.position + self.plan.snapshot_piece_bytes).min(transfer.bytes.len());
        let mut piece = transfer.bytes[transfer.position..end].to_vec();
        transfer.position = end;
        if self.network.garbles(&mut piece, &mut self.chance) {
            self.coverage.count(Kind::TransferGarbled);
        }
        if let Err(failure) = receiving.feed(&piece) {
            return self.transfer_failed(transfer, failure);
        }
        if end < transfer.bytes.len() {
            self.transfers.insert(id, transfer);
            self.transfer_later(id);
            return Ok(());
        }
        let (_, receiving) = transfer.receiving.take().expect("it has just been used");
        match receiving.finish() {
            Ok(received) => {
                let last = received.place.last.index;
                self.tell_sender(&transfer, Some(last));
                self.snapshot_received(to, received)
            }
            Err(failure) => self.transfer_failed(transfer, failure),
        }
    }

    fn transfer_failed(&mut self, transfer: Transfer, failure: ReceiveError) -> Checked {
        let to = transfer.to;
        self.trace.note(|| format!("{} does not get its snapshot: {failure}", Name(to)));
        self.tell_sender(&transfer, None);
        self.abandon(transfer);
        match failure {
            ReceiveError::Storage(failure) if !failure.is_for_want_of_space() => {
                self.end_process(to, &failure.to_string())
            }
            _ => Ok(()),
        }
    }

    /// What a receiver has of it is removed, unless it has ended since.
    fn abandon(&mut self, Transfer { to, receiving, .. }: Transfer) {
        if let Some((life, receiving)) = receiving
            && self.is_life(to, life)
        {
            receiving.abandon();
        }
    }

    /// The sender hears what became of its snapshot, or sooner or later that the connection is broken.
    fn tell_sender(&mut self, transfer: &Transfer, last: Option<LogIndex>) {
        let Transfer { from: (from, life), to, term, .. } = *transfer;
        let is_heard = self.network.works((to, from), self.now);
        let (last, after) = if is_heard { (last, self.network.delay(&mut self.chance)) } else { (None, 500 * MS) };
        if last.is_none() {
            self.coverage.count(Kind::TransferFailed);
        }
        let sent = SnapshotSent { to, term, last };
        self.queue.schedule(self.now + after, Event::SnapshotSent { to: from, life, sent });
    }

    pub(super) fn snapshot_sent(&mut self, id: NodeId, SnapshotSent { to, term, last }: SnapshotSent) -> Checked {
        if let Some(process) = self.process(id) {
            process.replica.snapshot_sent(to, term, last);
        }
        self.after_input(id)
    }

    /// A snapshot has arrived at a node and is durable there.
    fn snapshot_received(&mut self, id: NodeId, received: Received) -> Checked {
        self.snapshot_durable(id, received.file.clone())?;
        self.input(id, Input::Snapshot(Box::new(received)))
    }

    pub(super) fn install(&mut self, id: NodeId, Received { place, store, .. }: Received) -> Checked {
        let last = place.last;
        let Some(process) = self.process(id) else { return Ok(()) };
        let is_news = process.replica.wants_snapshot(last);
        if is_news {
            // What it was writing down is no more.
            if let Some(writer) = process.taking.take() {
                let _ = writer.abandon();
            }
        }
        drop(process.replica.install(place, store));
        if is_news {
            self.state_replaced(id);
        }
        self.coverage.count(if is_news { Kind::SnapshotInstalled } else { Kind::SnapshotNoNews });
        self.trace.note(|| format!("{} installs the snapshot up to {last}: {is_news}", Name(id)));
        self.after_input(id)
    }

    /// A process ends in the middle of the snapshot that it takes, and those that it is sent: what is left of them lies
    /// where it was.
    pub(super) fn crash_while_snapshotting(&mut self, process: &mut Process, bytes_max: usize) {
        let Some(mut writer) = process.taking.take() else { return };
        let ended = loop {
            match write_piece(process, &mut writer, bytes_max) {
                Ok(true) => {}
                Ok(false) => break end_snapshot(process, writer).map(|_| ()),
                Err(failure) => break Err(failure),
            }
        };
        if ended.is_err() {
            self.coverage.count(Kind::CrashWhileSnapshotting);
        }
    }
}

/// Whether a process should be taking a snapshot, where one is taken at all.
pub(super) fn owes_snapshot(process: &Process, every_bytes: Option<u64>) -> bool {
    let since = process.snapshot.as_ref().map_or(LogIndex(0), |file| file.last().index);
    let applied = process.replica.raft().log().applied_index();
    every_bytes.is_some_and(|bytes| is_snapshot_due(since, applied, &process.wal.reader(), bytes))
}

/// Writes the next piece; false once there is none.
fn write_piece(process: &mut Process, writer: &mut SnapshotWriter, bytes_max: usize) -> Result<bool, StorageError> {
    let store = process.replica.store().read().expect("nothing panics while it holds the store");
    let piece = store.snapshot_piece(bytes_max).expect("a snapshot was begun");
    drop(store);
    match piece {
        Some(piece) => writer.write_data(&piece).map(|()| true),
        None => Ok(false),
    }
}

fn end_snapshot(process: &mut Process, writer: SnapshotWriter) -> Result<SnapshotFile, StorageError> {
    let store = process.replica.store();
    drop(store.write().expect("nothing panics while it holds the store").end_snapshot());
    writer.finish()
}

/// The bytes of a snapshot, which have been checked.
fn read_file(disk: &dyn Disk, file: &SnapshotFile) -> Result<Vec<u8>, StorageError> {
    let mut source = SnapshotBytes::open(disk, file.last())?;
    let (mut bytes, mut chunk) = (Vec::new(), Vec::new());
    loop {
        source.next_chunk(&mut chunk)?;
        if chunk.is_empty() {
            return Ok(bytes);
        }
        bytes.append(&mut chunk);
    }
}
