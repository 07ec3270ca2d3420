//! The snapshots that this node keeps: when it takes one, sends one and serves one as a backup, and how far the log is
//! truncated behind them.
//!
//! A snapshot file that can no longer be read, most often through bit rot, means the loss of that file and nothing
//! else: memory has the whole state. So the node keeps running, and writes another snapshot at once. Only until that
//! one is durable the node could not restart: the remaining log begins after the lost file, and a start refuses damage
//! ([`crate::storage::snapshot`]). The same applies to log that can no longer be read; see `lost_log`. A write that
//! fails still ends the node.

use super::super::reporter::{Failure, Reporter};
use super::backups::Backups;
use super::event::{BackupReply, SendFailure, SnapshotEvent, Taken, Unreadable};
use super::lost_log::LostLog;
use super::sending::{self, Sending};
use super::taking;
use crate::config::Config;
use crate::data::{KeptLog, compaction_point, is_snapshot_due};
use crate::http::BackupError;
use crate::kv::Store;
use crate::node::Replica;
use crate::peer::{Agent, Hello};
use crate::raft::{LogIndex, NodeId, SendSnapshot, Term};
use crate::storage::snapshot::{SnapshotFile, SnapshotMeta, remove_older};
use crate::storage::{Disk, Lost, StorageError, WalReader};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Duration;
use tokio::time::Instant;

/// Of the log that triggers a snapshot, one part in this many is kept after it, so that a follower that was away for a
/// moment needs no snapshot.
const KEEP_PART: u64 = 2;

/// Log that a follower still lacks is kept, up to this many times the growth that triggers a snapshot.
const BEHIND_FACTOR: u64 = 4;

/// Delay before the next attempt after a snapshot for which there was no space, unless a client asks for one.
const RETRY_AFTER: Duration = Duration::from_secs(60);

/// Consequence of an unreadable newest snapshot, and advice.
const LOST: &str = "This node has all data in memory, keeps running, and writes another snapshot now. Do not stop it \
     before the log says that this is done, or it cannot start again. Then check its disk, which loses data";

/// The same for a snapshot that a newer one has replaced meanwhile.
const REPLACED: &str = "A newer one has replaced it, so nothing is lost; but check this node's disk, which loses data";

/// Consequence of unreadable log that has been applied, and advice.
const LOG_LOST: &str = "This node has applied all of it, keeps running, and writes a snapshot to replace it now. Do \
     not stop it before the log says that this is done, or it cannot start again. Then check its disk, which loses data";

/// A node's snapshots, and its operations on them.
#[derive(Debug)]
pub(in crate::server) struct Snapshots {
    disk: Arc<dyn Disk>,
    store: Arc<RwLock<Store>>,
    reporter: Reporter<SnapshotEvent>,
    snapshot_log_bytes: u64,
    /// The newest durable snapshot.
    newest: Option<SnapshotFile>,
    /// True if it can no longer be read, until another one replaces it.
    is_lost: bool,
    /// Number of snapshots that were found to be damaged.
    damaged: u64,
    /// Log that can no longer be read, until it has been removed.
    lost_log: Option<LostLog>,
    /// Number of log segments that were found to be damaged.
    log_damaged: u64,
    /// Some while a snapshot is being written; set it to true to end that.
    taking: Option<Arc<AtomicBool>>,
    not_before: Instant,
    sending: BTreeMap<NodeId, Sending>,
    backups: Backups,
}

impl Snapshots {
    /// `newest` is the newest snapshot on disk, and `damaged` the number found to be damaged when the node started.
    pub(in crate::server) fn new(
        config: &Config,
        disk: Arc<dyn Disk>,
        store: Arc<RwLock<Store>>,
        newest: Option<SnapshotFile>,
        damaged: u64,
        reporter: Reporter<SnapshotEvent>,
    ) -> Self {
        let backups = Backups::new(Arc::clone(&disk), reporter.clone());
        Self {
            disk,
            store,
            reporter,
            snapshot_log_bytes: config.snapshot_log_bytes,
            newest,
            is_lost: false,
            damaged,
            lost_log: None,
            log_damaged: 0,
            taking: None,
            not_before: Instant::now(),
            sending: BTreeMap::new(),
            backups,
        }
    }

    fn newest_index(&self) -> LogIndex {
        self.newest.as_ref().map_or(LogIndex(0), |file| file.last().index)
    }

    /// Begins a snapshot if the log has grown enough since the last one, or if a client waits for one.
    pub(in crate::server) fn take_if_due<W, R>(
        &mut self,
        replica: &mut Replica<W, R>,
        log: &WalReader,
        cluster_id: u64,
    ) {
        let growth_bytes = self.growth_bytes();
        let applied = replica.raft().log().applied_index();
        let replaces_log = || {
            let lost_log = self.lost_log.as_ref();
            lost_log.is_some_and(|lost| lost.needs_snapshot(self.newest_index(), applied, log))
        };
        let is_wanted =
            || self.is_lost || replaces_log() || is_snapshot_due(self.newest_index(), applied, log, growth_bytes);
        let is_due = || Instant::now() >= self.not_before && is_wanted();
        let is_news = applied > self.newest_index() || self.is_lost;
        if self.taking.is_some() || !(is_due() || (is_news && self.backups.are_waiting())) {
            return;
        }
        // The store still has an earlier one open only while the thread that wrote it is about to end.
        let Ok((place, summary)) = replica.begin_snapshot() else { return };
        let stop = Arc::new(AtomicBool::new(false));
        let meta = SnapshotMeta { cluster_id, place, summary: summary.encode().into() };
        let (disk, store, reporter) = (Arc::clone(&self.disk), Arc::clone(&self.store), self.reporter.clone());
        self.taking = Some(Arc::clone(&stop));
        taking::start(disk, store, meta, stop, reporter);
    }

    /// Handles the end of the snapshot that was being taken.
    ///
    /// # Errors
    /// [`StorageError`] if the disk failed for a reason other than a lack of space: the node must stop.
    pub(in crate::server) fn taken(
        &mut self,
        taken: Result<Taken, StorageError>,
    ) -> Result<Option<SnapshotFile>, StorageError> {
        self.taking = None;
        match taken {
            Ok(Taken::Whole { file, took }) => {
                tracing::info!(
                    "snapshot of {} up to entry {}, written in {:.1} s",
                    crate::logging::bytes(file.bytes()),
                    file.last().index,
                    took.as_secs_f64()
                );
                Ok(Some(file))
            }
            Ok(Taken::GivenUp) => Ok(None),
            Ok(Taken::NotBegun(cause)) => {
                tracing::warn!(
                    "cannot start a thread to write a snapshot: {cause}. This is not a disk failure; the log grows \
                     until a snapshot succeeds, and the next attempt is in {} s. Raise the limit on processes \
                     (TasksMax= of systemd), or check what else uses the memory of this machine",
                    RETRY_AFTER.as_secs()
                );
                self.not_before = Instant::now() + RETRY_AFTER;
                self.backups.refuse(BackupError::TooMany);
                Ok(None)
            }
            Err(cause) if cause.is_for_want_of_space() => {
                tracing::warn!(
                    "no disk space for a snapshot; the log grows until one succeeds, and the next attempt is in {} s: \
                     free some space",
                    RETRY_AFTER.as_secs()
                );
                self.not_before = Instant::now() + RETRY_AFTER;
                self.backups.refuse(BackupError::NoSpace);
                Ok(None)
            }
            Err(cause) => Err(cause),
        }
    }

    /// Handles a snapshot that has become durable: older ones are removed. Returns whether it is the newest.
    ///
    /// If nothing was applied since, it has the same name as the lost one, and has thereby replaced it.
    pub(in crate::server) fn durable(&mut self, file: SnapshotFile) -> bool {
        let (index, newest) = (file.last().index, self.newest_index());
        if index < newest || (index == newest && !self.is_lost) {
            return false;
        }
        if std::mem::take(&mut self.is_lost) {
            tracing::warn!(
                "a new snapshot up to entry {index} has replaced the unreadable one: nothing is lost, and this node \
                 can be restarted. Check its disk"
            );
        }
        self.newest = Some(file.clone());
        self.backups.give(&file);
        let (disk, reporter) = (Arc::clone(&self.disk), self.reporter.clone());
        tokio::task::spawn_blocking(move || {
            if let Err(cause) = remove_older(&*disk, &file) {
                reporter.fail(Failure::Disk(cause));
            }
        });
        true
    }

    /// Serves a client that wants a snapshot of everything that has been applied, up to entry `applied`.
    pub(in crate::server) fn back_up(&mut self, applied: LogIndex, reply: BackupReply) {
        self.backups.ask(applied, reply);
        self.give();
    }

    /// Gives the newest snapshot to the waiting clients for which it reaches far enough.
    fn give(&mut self) {
        if let Some(newest) = self.newest.as_ref().filter(|_| !self.is_lost) {
            self.backups.give(newest);
        }
    }

    /// Returns how many snapshots were found to be damaged.
    pub(in crate::server) fn damaged(&self) -> u64 {
        self.damaged
    }

    /// Handles a snapshot that could not be read. If it is the newest, another one is taken as soon as possible.
    ///
    /// # Errors
    /// [`StorageError`] if more than this one file is affected: the node must stop.
    pub(in crate::server) fn unreadable(&mut self, unreadable: Unreadable) -> Result<(), StorageError> {
        let Unreadable { last, cause, waiting } = unreadable;
        let is_newest = self.newest.as_ref().is_some_and(|newest| newest.last() == last);
        match () {
            // A newer one has just replaced it.
            () if cause.is_not_found() && !is_newest => {}
            // Several readers may have reported it.
            () if is_newest && self.is_lost => {}
            () if cause.is_not_found() || cause.is_of_lost_bytes() => {
                self.damaged += 1;
                self.is_lost |= is_newest;
                let remedy = if is_newest { LOST } else { REPLACED };
                tracing::error!("a snapshot can no longer be read: {}. {remedy}", cause.in_short());
            }
            () => return Err(cause),
        }
        if let Some(waiting) = waiting {
            self.backups.wait(waiting);
        }
        self.give();
        Ok(())
    }

    /// Handles entries that cannot be read back from the log. Returns the damaged segment, to which nothing may be
    /// appended any more.
    ///
    /// # Errors
    /// The cause, if entries that may be lost have not been applied yet: the node must stop.
    pub(in crate::server) fn log_unreadable(
        &mut self,
        lost: Option<Lost>,
        applied: LogIndex,
        cause: StorageError,
    ) -> Result<Option<u64>, StorageError> {
        // If the entries have no place, they have been removed from the log meanwhile.
        let Some(lost) = lost else { return Ok(None) };
        let Some(found) = LostLog::of(lost, applied) else { return Err(cause) };
        if self.lost_log.as_mut().is_some_and(|known| !known.add(&found)) {
            return Ok(None);
        }
        self.log_damaged += 1;
        tracing::error!("the log can no longer be read: {}. {LOG_LOST}", cause.in_short());
        let segment = found.segment();
        self.lost_log.get_or_insert(found);
        Ok(Some(segment))
    }

    /// Returns how many segments of the log were found to be damaged.
    pub(in crate::server) fn log_damaged(&self) -> u64 {
        self.log_damaged
    }

    /// Returns whether unreadable log should be removed now: the newest snapshot covers all of it.
    pub(in crate::server) fn replaces_lost_log(&mut self, log: &WalReader) -> bool {
        let newest = self.newest_index();
        if self.lost_log.take_if(|lost| lost.is_gone(log)).is_some() {
            tracing::warn!(
                "a snapshot has replaced the unreadable part of the log: nothing is lost, and this node can be \
                 restarted. Check its disk"
            );
        }
        !self.is_lost && self.lost_log.as_mut().is_some_and(|lost| lost.is_due(newest, log))
    }

    /// Truncates the log as far as the newest snapshot allows. Returns the index up to which the log on disk can be
    /// removed.
    ///
    /// A snapshot in flight that the remaining log no longer follows is given up: its receiver would need another one
    /// at once, and meanwhile its file would take up space.
    pub(in crate::server) fn compact<W, R>(&self, replica: &mut Replica<W, R>, log: &WalReader) -> LogIndex {
        let kept = KeptLog {
            recent_bytes: self.snapshot_log_bytes / KEEP_PART,
            behind_bytes_max: self.growth_bytes().saturating_mul(BEHIND_FACTOR),
        };
        let sending = self.sending.values().map(|sending| sending.last().index);
        let fed = replica.raft().fed_from();
        let point = compaction_point(self.newest_index(), log, kept, sending, fed);
        // No unreadable log is kept for any follower.
        let lost = self.lost_log.as_ref().and_then(|lost| lost.within(self.newest_index(), log));
        let point = point.max(lost.unwrap_or_default());
        self.sending.values().filter(|sending| sending.last().index < point).for_each(Sending::end_as_outdated);
        replica.compact(point)
    }

    /// Returns the bytes of log that trigger the next snapshot. The log grows by as much as a snapshot takes to write,
    /// so the costs of both stay in proportion.
    fn growth_bytes(&self) -> u64 {
        self.newest.as_ref().map_or(0, SnapshotFile::bytes).max(self.snapshot_log_bytes)
    }

    /// Returns whether there is a snapshot that can be read, as far as is known.
    pub(in crate::server) fn can_be_sent(&self) -> bool {
        !self.is_lost
    }

    /// Sends a follower the newest snapshot.
    pub(in crate::server) fn send(
        &mut self,
        SendSnapshot { to, term }: SendSnapshot,
        agent: &Agent,
        name: &str,
        url: &str,
        hello: &Hello,
    ) {
        let Some(file) = &self.newest else {
            // The log is truncated only behind a snapshot, so there is one.
            tracing::error!("a follower needs a snapshot and there is none: this is a bug in kvd");
            return;
        };
        let to_whom = sending::Receiver { id: to, name: name.to_owned(), url: url.to_owned() };
        let (agent, disk) = (agent.clone(), Arc::clone(&self.disk));
        let sending = Sending::start(agent, disk, file, to_whom, term, hello, self.reporter.clone());
        // This ends a transfer that was begun in an earlier term.
        self.sending.insert(to, sending);
    }

    /// Stops sending to followers that no longer need a snapshot, since they got its contents otherwise.
    pub(in crate::server) fn stop_needless<W, R>(&mut self, replica: &mut Replica<W, R>) {
        let needless = self.sending.extract_if(.., |to, _| replica.raft().needs_no_snapshot(*to));
        let ended: Vec<(NodeId, Term)> = needless.map(|(to, sending)| (to, sending.term())).collect();
        for (to, term) in ended {
            replica.snapshot_sent(to, term, None);
        }
    }

    /// Handles the outcome of a snapshot that was sent: its last index, if it is the follower's state now.
    pub(in crate::server) fn sent(
        &mut self,
        to: NodeId,
        term: Term,
        result: Result<LogIndex, SendFailure>,
    ) -> Result<Option<LogIndex>, StorageError> {
        let Some(sending) = self.sending.get(&to).filter(|sending| sending.term() == term) else { return Ok(None) };
        let (name, last) = (sending.name().to_owned(), sending.last());
        self.sending.remove(&to);
        match result {
            Ok(last) => {
                tracing::info!("sent {name} a snapshot up to entry {last}");
                Ok(Some(last))
            }
            Err(SendFailure::Unreadable(cause)) => {
                self.unreadable(Unreadable { last, cause, waiting: None })?;
                Ok(None)
            }
            Err(SendFailure::Peer(why)) => {
                tracing::warn!("sending a snapshot to {name} failed and is retried once it answers: {why}");
                Ok(None)
            }
        }
    }

    /// Ends everything: nothing more is to be written or given to clients, and every task that does so ends at its next
    /// piece.
    pub(in crate::server) fn end(&mut self) {
        if let Some(taking) = &self.taking {
            taking.store(true, Ordering::Relaxed);
        }
        self.sending.clear();
        self.backups.end();
    }
}

impl Drop for Snapshots {
    fn drop(&mut self) {
        self.end();
    }
}
