//! Snapshots: nodes take them piece by piece while they keep working, compact their logs behind them, and send them to
//! followers that need them. Corresponds to the server's snapshot tasks.

use super::coverage::Kind;
use super::events::{Event, Life, Micros};
use super::faults::Fault;
use super::invariants::{Checked, ensure};
use super::node::{Input, Process};
use super::notation::Name;
use super::world::World;
use kvd::data::{KeptLog, ReceiveError, Received, Receiving, compaction_point, is_snapshot_due};
use kvd::kv::RestoreError;
use kvd::raft::{LogIndex, NodeId, RoleName, SendSnapshot, Term};
use kvd::storage::snapshot::{SnapshotBytes, SnapshotFile, SnapshotMeta, SnapshotWriter, remove_older};
use kvd::storage::{Disk, StorageError};
use std::sync::Arc;

const MS: Micros = 1_000;

/// Time without progress after which both ends give a transfer up, as in the server. Microseconds.
const STALL_MAX: Micros = 5_000 * MS;

/// In runs with pauses: thousandths of pieces after which the receiver is paused.
const PAUSED_PERMILLE: u32 = 15;

/// Interval at which a stalled transfer is checked. Microseconds.
const LOOKED_EVERY: Micros = 100 * MS;

/// Delay between the end of a transfer and the report to consensus, as in the server. Microseconds.
const RETRY_AFTER: Micros = 1_000 * MS;

/// Log kept for followers that are behind, as a multiple of the snapshot or of the growth that leads to the next one,
/// as in the server.
const BEHIND_FACTOR: u64 = 4;

/// Precision with which the log counts its bytes.
const LOG_COUNTED_BYTES: u64 = 64 << 10;

/// Identifies a snapshot in flight.
pub(crate) type TransferId = u64;

/// A snapshot in flight from one node to another.
#[derive(Debug)]
pub(crate) struct Transfer {
    pub(super) from: (NodeId, Life),
    pub(super) to: NodeId,
    term: Term,
    /// Its last index.
    pub(super) last: LogIndex,
    bytes: Vec<u8>,
    position: usize,
    /// Time of the last progress.
    moved: Micros,
    /// The receiving end, in this incarnation of the node.
    receiving: Option<(Life, Receiving)>,
    /// Its sender has forgotten it.
    pub(super) is_forgotten: bool,
    /// Once all of it has arrived, the receiver's disk holds it back until this time, or until its node campaigns.
    pub(super) held_until: Micros,
    /// The leader that meanwhile feeds its receiver from the log is struck once it has done so.
    pub(super) strikes: bool,
}

impl Transfer {
    /// All of it has arrived, and is not durable yet.
    pub(super) fn has_come(&self) -> bool {
        self.receiving.is_some() && self.position == self.bytes.len()
    }
}

/// Outcome of a snapshot transfer, as reported to the sender.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SnapshotSent {
    to: NodeId,
    term: Term,
    last: Option<LogIndex>,
}

impl World {
    /// Starts a snapshot if the log has grown enough since the last.
    pub(super) fn snapshot_if_due(&mut self, id: NodeId) -> Checked {
        let every_bytes = self.plan.snapshot_log_bytes_of(id);
        let node = self.nodes.get_mut(&id).expect("a node of this cluster");
        let disk = node.disk.clone();
        let Some(process) = node.process_mut() else { return Ok(()) };
        if process.taking.is_some() || !owes_snapshot(process, every_bytes) {
            return Ok(());
        }
        let cluster_id = process.cluster.id;
        let (place, summary) = process.replica.begin_snapshot().expect("there is no other");
        let meta = SnapshotMeta { cluster_id, place, summary: summary.encode().into() };
        match SnapshotWriter::begin(Arc::new(disk), &meta) {
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

    /// Writes the next piece of the snapshot that a node is taking.
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

    /// Handles a failed snapshot: without space the node only does without it; on any other error it ends.
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

    /// Handles a durable snapshot: older ones are deleted.
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

    /// Compacts the log as far as the newest snapshot allows.
    pub(super) fn compact(&mut self, id: NodeId) -> Checked {
        let recent_bytes = self.plan.keep_log_bytes;
        let is_like_server = self.plan.keeps_log_for_snapshots;
        let growth_bytes = self.plan.snapshot_log_bytes_of(id).unwrap_or_default();
        let is_sent = |transfer: &&Transfer| transfer.from.0 == id && !transfer.is_forgotten;
        let sending: Vec<LogIndex> = self.transfers.values().filter(is_sent).map(|transfer| transfer.last).collect();
        let Some(process) = self.process(id) else { return Ok(()) };
        let Some(file) = process.snapshot.as_ref() else { return Ok(()) };
        let snapshot = file.last().index;
        let behind_bytes_max = match is_like_server {
            true => growth_bytes.max(file.bytes()) * BEHIND_FACTOR,
            false => recent_bytes * BEHIND_FACTOR,
        };
        let kept = KeptLog { recent_bytes, behind_bytes_max };
        let fed = process.replica.raft().fed_from();
        let reader = process.wal.reader();
        let point = compaction_point(snapshot, &reader, kept, sending, fed);
        let must_stay = reader.bytes_since(snapshot.min(process.logged_commit));
        let bytes_max = must_stay.max(recent_bytes).max(behind_bytes_max);
        let gone = process.replica.compact(point);
        let compacted = process.wal.compactor().compact(gone);
        if is_like_server {
            self.end_outdated_transfers(id, point);
        }
        match compacted {
            Ok(segments) => {
                self.coverage.add(Kind::SegmentRemoved, segments as u64);
                self.check_kept_log(id, bytes_max)
            }
            Err(failure) => self.end_process(id, &failure.to_string()),
        }
    }

    /// Checks that the log that a node keeps for other nodes is bounded, whichever and however slow they are.
    fn check_kept_log(&self, id: NodeId, bytes_max: u64) -> Checked {
        let Some(process) = self.nodes[&id].process() else { return Ok(()) };
        let reader = process.wal.reader();
        if reader.first_index() <= process.cut_up_to {
            return Ok(());
        }
        let bytes = reader.bytes_since(reader.first_index().previous());
        // Segments are deleted as a whole, and the first may begin with entries that could go. One write may exceed its
        // segment.
        let write_bytes_max = self.plan.settings.write_bytes_max + self.plan.entry_bytes_max();
        let more_bytes = self.plan.segment_bytes.max(LOG_COUNTED_BYTES) + write_bytes_max as u64;
        // Between its marks the log estimates sizes as if all entries were of the same size.
        let bytes_max = bytes_max * 3 / 2 + 2 * more_bytes;
        ensure!(
            "Bounded",
            bytes <= bytes_max,
            "n{} keeps {bytes} bytes of log, and no more than {bytes_max} may be",
            id.0
        );
        Ok(())
    }

    /// Ends transfers of snapshots that the log no longer follows: their receivers would at once need newer ones.
    fn end_outdated_transfers(&mut self, from: NodeId, point: LogIndex) {
        let is_outdated = |transfer: &Transfer| transfer.from.0 == from && transfer.last < point;
        let outdated: Vec<TransferId> =
            self.transfers.iter().filter(|(_, transfer)| is_outdated(transfer)).map(|(id, _)| *id).collect();
        for id in outdated {
            self.coverage.count(Kind::TransferOutdated);
            if let Some(mut transfer) = self.transfers.remove(&id) {
                self.tell_sender_after(&mut transfer, None, RETRY_AFTER);
                self.abandon(transfer);
            }
        }
    }

    /// Sends a follower the newest snapshot.
    pub(super) fn send_snapshot(
        &mut self,
        from: NodeId,
        life: Life,
        SendSnapshot { to, term }: SendSnapshot,
    ) -> Checked {
        if !self.is_life(from, life) {
            // Its disk has failed with the previous one.
            return Ok(());
        }
        let node = &self.nodes[&from];
        let Some(file) = node.process().and_then(|process| process.snapshot.clone()) else {
            ensure!("Snapshots", false, "n{} needs a snapshot for n{}, and has none", from.0, to.0);
            return Ok(());
        };
        let is_same = |other: &&mut Transfer| other.from == (from, life) && other.to == to && !other.is_forgotten;
        if let Some(other) = self.transfers.values_mut().find(is_same) {
            // It led before, and was not told the outcome of that transfer. One is enough.
            let before = other.term;
            ensure!("Bounded", before < term, "n{} sends n{} a second snapshot in term {term}", from.0, to.0);
            other.is_forgotten = true;
        }
        let node = &self.nodes[&from];
        match read_file(&node.disk, &file) {
            Ok(bytes) => {
                self.transfers_begun += 1;
                let (last, moved) = (file.last().index, self.now);
                let transfer = Transfer {
                    from: (from, life),
                    to,
                    term,
                    last,
                    bytes,
                    position: 0,
                    moved,
                    receiving: None,
                    is_forgotten: false,
                    held_until: self.now,
                    strikes: false,
                };
                self.transfers.insert(self.transfers_begun, transfer);
                self.transfer_later(self.transfers_begun);
                Ok(())
            }
            Err(failure) => self.end_process(from, &failure.to_string()),
        }
    }

    /// Stops transfers of a leader to followers that no longer need a snapshot.
    pub(super) fn stop_needless_transfers(&mut self, from: NodeId, life: Life) {
        let Some(raft) = self.nodes[&from].raft() else { return };
        let is_needless = |transfer: &Transfer| {
            transfer.from == (from, life) && !transfer.is_forgotten && raft.needs_no_snapshot(transfer.to)
        };
        let needless: Vec<TransferId> =
            self.transfers.iter().filter(|(_, transfer)| is_needless(transfer)).map(|(id, _)| *id).collect();
        for id in needless {
            self.coverage.count(Kind::TransferNeedless);
            self.forget_transfer(id);
        }
    }

    /// Makes a sender give a transfer up. If all of it has arrived, its receiver continues with it.
    fn forget_transfer(&mut self, id: TransferId) {
        let Some(mut transfer) = self.transfers.remove(&id) else { return };
        self.tell_sender(&mut transfer, None);
        if transfer.has_come() {
            self.transfers.insert(id, transfer);
        } else {
            self.abandon(transfer);
        }
    }

    fn transfer_later(&mut self, id: TransferId) {
        let takes =
            self.network.bytes_per_s().map_or(0, |rate| self.plan.snapshot_piece_bytes as u64 * 1_000_000 / rate);
        let at = self.now + takes + self.network.delay(&mut self.chance);
        self.queue.schedule(at, Event::TransferPiece(id));
    }

    /// Handles a stalled transfer: it waits until one of its ends gives it up.
    fn transfer_stands_still(&mut self, id: TransferId, mut transfer: Transfer) {
        if self.now - transfer.moved < STALL_MAX {
            self.transfers.insert(id, transfer);
            return self.queue.schedule(self.now + LOOKED_EVERY, Event::TransferPiece(id));
        }
        self.coverage.count(Kind::TransferStalled);
        self.trace.note(|| format!("a snapshot from {} to {} stands still", Name(transfer.from.0), Name(transfer.to)));
        self.tell_sender_after(&mut transfer, None, RETRY_AFTER);
        self.abandon(transfer);
    }

    /// Returns the nodes that are being sent a snapshot.
    pub(super) fn receivers(&self) -> Vec<NodeId> {
        self.transfers.values().map(|transfer| transfer.to).collect()
    }

    /// Delivers the next piece of a snapshot in flight, or ends the transfer.
    pub(super) fn transfer_piece(&mut self, id: TransferId) -> Checked {
        match self.transfers.get(&id) {
            None => Ok(()),
            Some(transfer) if transfer.has_come() => self.transfer_ends(id),
            Some(_) => self.transfer_goes_on(id),
        }
    }

    fn transfer_goes_on(&mut self, id: TransferId) -> Checked {
        let Some(mut transfer) = self.transfers.remove(&id) else { return Ok(()) };
        let (from, to) = (transfer.from.0, transfer.to);
        let is_broken = self.network.loses_client_message(to, &mut self.chance)
            || transfer.is_forgotten
            || !self.is_life(from, transfer.from.1)
            // Its receiver would diverge as well, and in time so would a majority.
            || self.comparisons.has_strayed(from);
        let is_cut = !self.network.works((from, to), self.now) || !self.network.works((to, from), self.now);
        let is_mute = |id| self.stands_still(id) || self.nodes[&id].process().is_none() && self.network.is_off(id);
        if !is_broken && (is_cut || is_mute(from) || is_mute(to)) {
            // The network holds the pieces in flight, and neither end knows more.
            self.transfer_stands_still(id, transfer);
            return Ok(());
        }
        let receiver = self.nodes[&to].process().map(|process| process.life);
        let is_other_life = transfer.receiving.as_ref().is_some_and(|(life, _)| Some(*life) != receiver);
        let Some(life) = receiver.filter(|_| !is_broken && !is_other_life) else {
            self.tell_sender(&mut transfer, None);
            self.abandon(transfer);
            return Ok(());
        };
        if self.now - transfer.moved > self.plan.settings.election_timeout_max_ms * MS {
            self.coverage.count(Kind::TransferWentOn);
        }
        transfer.moved = self.now;
        let may_pause = !self.is_calm && self.plan.faults.iter().any(|(fault, _)| *fault == Fault::Pause);
        if may_pause && self.chance.permille(PAUSED_PERMILLE) {
            self.pause(to);
        }
        if transfer.receiving.is_none() && self.receives_another(to, life) {
            self.coverage.count(Kind::TransferRefused);
            self.tell_sender(&mut transfer, None);
            return Ok(());
        }
        self.invariants.bounds.heard(to, from);
        let (disk, level_max) = (self.nodes[&to].disk.clone(), self.nodes[&to].level_max);
        let process = self.nodes[&to].process().expect("a receiver runs");
        let (cluster_id, limits) = (process.cluster.id, self.plan.session_limits);
        let begin = || Receiving::new(Arc::new(disk), cluster_id, limits).with_level_max(level_max);
        let (_, receiving) = transfer.receiving.get_or_insert_with(|| (life, begin()));
        let end = (transfer.position + self.plan.snapshot_piece_bytes).min(transfer.bytes.len());
        let mut piece = transfer.bytes[transfer.position..end].to_vec();
        transfer.position = end;
        if self.network.garbles(&mut piece, &mut self.chance) {
            self.coverage.count(Kind::TransferGarbled);
        }
        if let Err(failure) = receiving.feed(&piece) {
            return self.transfer_failed(transfer, failure);
        }
        if !transfer.has_come() {
            self.transfers.insert(id, transfer);
            self.transfer_later(id);
            return Ok(());
        }
        let successor = self.draw_successor(from, to);
        if successor.is_some() {
            transfer.held_until = self.draw_holding_back();
            transfer.strikes = true;
        }
        let at = self.now + self.disk_time(to);
        self.queue.schedule(at.max(transfer.held_until), Event::TransferPiece(id));
        self.transfers.insert(id, transfer);
        successor.map_or(Ok(()), |successor| self.outlive_leader(from, to, successor))
    }

    /// Handles a snapshot that has arrived completely: its receiver's disk makes it durable, whatever has happened to
    /// its sender since.
    fn transfer_ends(&mut self, id: TransferId) -> Checked {
        let Some(mut transfer) = self.transfers.remove(&id) else { return Ok(()) };
        let to = transfer.to;
        let is_same_life = transfer.receiving.as_ref().is_some_and(|(life, _)| self.is_life(to, *life));
        if !is_same_life {
            self.tell_sender(&mut transfer, None);
            return Ok(());
        }
        let is_held = self.now < transfer.held_until;
        if is_held || self.nodes[&to].disk_is_stuck || self.stands_still(to) {
            self.transfers.insert(id, transfer);
            if !is_held {
                self.queue.schedule(self.now + LOOKED_EVERY, Event::TransferPiece(id));
            }
            return Ok(());
        }
        if transfer.is_forgotten || !self.is_life(transfer.from.0, transfer.from.1) {
            self.coverage.count(Kind::TransferOutlivesSender);
        }
        let (_, receiving) = transfer.receiving.take().expect("all of it has come");
        match receiving.finish() {
            Ok(received) => {
                let last = received.place.last.index;
                self.tell_sender(&mut transfer, Some(last));
                self.snapshot_received(to, received)
            }
            Err(failure) => self.transfer_failed(transfer, failure),
        }
    }

    /// Returns whether a process runs and is paused.
    pub(super) fn stands_still(&self, id: NodeId) -> bool {
        self.nodes[&id].process().is_some_and(|process| process.paused)
    }

    /// Returns whether a process already receives a snapshot: one at a time, as in the server.
    fn receives_another(&self, to: NodeId, life: Life) -> bool {
        let is_receiving = |other: &Transfer| other.receiving.as_ref().is_some_and(|(of, _)| *of == life);
        self.transfers.values().any(|other| other.to == to && is_receiving(other))
    }

    fn transfer_failed(&mut self, mut transfer: Transfer, failure: ReceiveError) -> Checked {
        let to = transfer.to;
        self.trace.note(|| format!("{} does not get its snapshot: {failure}", Name(to)));
        self.tell_sender(&mut transfer, None);
        self.abandon(transfer);
        match failure {
            ReceiveError::Storage(failure) if !failure.is_for_want_of_space() => {
                self.end_process(to, &failure.to_string())
            }
            ReceiveError::Restore(RestoreError::UnknownLevel(_)) => self.is_left_behind(to),
            _ => Ok(()),
        }
    }

    /// Removes a receiver's partial snapshot, unless the receiver has ended since. A paused receiver notices when it
    /// resumes.
    fn abandon(&mut self, Transfer { to, receiving, .. }: Transfer) {
        let Some((life, receiving)) = receiving else { return };
        match self.process(to) {
            Some(process) if process.paused => process.abandoned.push((life, receiving)),
            Some(process) if process.life == life => receiving.abandon(),
            Some(_) | None => {}
        }
    }

    /// Tells the sender the outcome of its snapshot, or sooner or later that the connection is broken.
    fn tell_sender(&mut self, transfer: &mut Transfer, last: Option<LogIndex>) {
        let is_heard = self.network.works((transfer.to, transfer.from.0), self.now);
        let (last, after) = if is_heard { (last, self.network.delay(&mut self.chance)) } else { (None, STALL_MAX) };
        self.tell_sender_after(transfer, last, after);
    }

    fn tell_sender_after(&mut self, transfer: &mut Transfer, last: Option<LogIndex>, after: Micros) {
        let Transfer { from: (from, life), to, term, .. } = *transfer;
        if std::mem::replace(&mut transfer.is_forgotten, true) {
            return;
        }
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

    /// Handles a snapshot that has arrived at a node and is durable there.
    fn snapshot_received(&mut self, id: NodeId, received: Received) -> Checked {
        self.snapshot_durable(id, received.file.clone())?;
        self.input(id, Input::Snapshot(Box::new(received)))
    }

    pub(super) fn install(&mut self, id: NodeId, Received { place, store, .. }: Received) -> Checked {
        let last = place.last;
        let Some(process) = self.process(id) else { return Ok(()) };
        let is_candidate = process.replica.raft().role() == RoleName::Candidate;
        let is_news = process.replica.wants_snapshot(last);
        if is_news {
            // The snapshot that it was writing is obsolete.
            if let Some(writer) = process.taking.take() {
                let _ = writer.abandon();
            }
        }
        drop(process.replica.install(place, store));
        if is_news {
            if is_candidate {
                self.coverage.count(Kind::SnapshotAtCandidate);
            }
            self.state_replaced(id);
            self.past_begins(id);
        }
        self.coverage.count(if is_news { Kind::SnapshotInstalled } else { Kind::SnapshotNoNews });
        self.trace.note(|| format!("{} installs the snapshot up to {last}: {is_news}", Name(id)));
        self.after_input(id)
    }

    /// Ends a process in the middle of the snapshot that it is taking and those that it is receiving. Their partial
    /// files stay where they were.
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

/// Returns whether a process should be taking a snapshot, if it takes any.
pub(super) fn owes_snapshot(process: &Process, every_bytes: Option<u64>) -> bool {
    let since = process.snapshot.as_ref().map_or(LogIndex(0), |file| file.last().index);
    let applied = process.replica.raft().log().applied_index();
    every_bytes.is_some_and(|bytes| is_snapshot_due(since, applied, &process.wal.reader(), bytes))
}

/// Writes the next piece; returns false once there is none.
fn write_piece(process: &mut Process, writer: &mut SnapshotWriter, bytes_max: usize) -> Result<bool, StorageError> {
    let store = process.replica.store().read().expect("nothing panics while it holds the store");
    if let Some(piece) = store.snapshot_piece(bytes_max).expect("a snapshot was begun") {
        return writer.write_data(&piece).map(|()| true);
    }
    match store.history_piece(bytes_max).expect("a snapshot was begun") {
        Some(piece) => writer.write_history(&piece).map(|()| true),
        None => Ok(false),
    }
}

fn end_snapshot(process: &mut Process, writer: SnapshotWriter) -> Result<SnapshotFile, StorageError> {
    let store = process.replica.store();
    drop(store.write().expect("nothing panics while it holds the store").end_snapshot());
    writer.finish()
}

/// Returns the bytes of a snapshot, which have been verified.
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
