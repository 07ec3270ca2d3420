//! The upkeep of the log while a node serves: writes and reads, the snapshots that replace its beginning, and the
//! response when either can no longer be read.

use super::super::shell::Shell;
use crate::data::Received;
use crate::node::Replica;
use crate::raft::{Fetch, LogIndex, SendSnapshot};
use crate::server::error::FatalError;
use crate::server::events::Event;
use crate::server::log_writer::LogEvent;
use crate::server::snapshots::{BackupReply, SnapshotEvent, Snapshots};
use crate::storage::StorageError;
use crate::storage::snapshot::SnapshotFile;
use std::sync::Arc;
use tokio::sync::oneshot;

/// Keeps the log and its snapshots.
#[derive(Debug)]
pub(super) struct Upkeep {
    snapshots: Snapshots,
}

impl Upkeep {
    /// `newest` is the newest snapshot on disk, and `damaged` the number of snapshots that cannot be read.
    pub(super) fn new(shell: &Shell, newest: Option<SnapshotFile>, damaged: u64) -> Self {
        let (disk, store) = (Arc::clone(&shell.disk), Arc::clone(&shell.store));
        let reporter = shell.events.reporter(Event::Snapshots);
        shell.publisher.snapshots_damaged(damaged);
        Self { snapshots: Snapshots::new(&shell.config, disk, store, newest, damaged, reporter) }
    }

    /// Begins the work that is due.
    pub(super) fn tick<W, R>(&mut self, shell: &Shell, replica: &mut Replica<W, R>) {
        if let Some(cluster) = shell.cluster() {
            self.snapshots.take_if_due(replica, shell.log.reader(), cluster);
        }
        if self.snapshots.replaces_lost_log(shell.log.reader()) {
            self.compact(shell, replica);
        }
    }

    /// Handles the outcome of a write or a read of the log.
    ///
    /// # Errors
    /// [`FatalError::Disk`] if entries are lost that have not been applied yet.
    pub(super) fn take_log<W, R>(
        &mut self,
        shell: &Shell,
        replica: &mut Replica<W, R>,
        event: LogEvent,
    ) -> Result<(), FatalError> {
        match event {
            LogEvent::Written(id) => replica.written(id),
            LogEvent::Fetched(fetch, entries) => replica.fetched(&fetch, entries),
            LogEvent::Unreadable(fetch, cause) => self.log_unreadable(shell, replica, &fetch, cause)?,
        }
        Ok(())
    }

    /// A follower lacks entries that cannot be read back. It is asked again for its position once it has answered a
    /// heartbeat, and by then a snapshot may have replaced those entries.
    fn log_unreadable<W, R>(
        &mut self,
        shell: &Shell,
        replica: &mut Replica<W, R>,
        fetch: &Fetch,
        cause: StorageError,
    ) -> Result<(), FatalError> {
        let lost = shell.log.reader().lost_with(fetch.from);
        let applied = replica.raft().log().applied_index();
        let damaged = self.snapshots.log_unreadable(lost, applied, cause).map_err(|cause| shell.disk_failed(cause))?;
        if let Some(segment) = damaged {
            shell.publisher.log_damaged(self.snapshots.log_damaged());
            shell.log.leave_segment(segment);
        }
        replica.fetched(fetch, Vec::new());
        Ok(())
    }

    /// Handles the outcome of a snapshot.
    ///
    /// # Errors
    /// [`FatalError::Disk`] if the disk has a fault other than being full or having lost a snapshot.
    pub(super) fn take_snapshots<W, R>(
        &mut self,
        shell: &Shell,
        replica: &mut Replica<W, R>,
        event: SnapshotEvent,
    ) -> Result<(), FatalError> {
        let disk_failed = |cause| shell.disk_failed(cause);
        match event {
            SnapshotEvent::Taken(taken) => {
                let taken = self.snapshots.taken(taken).map_err(disk_failed)?;
                if taken.is_some_and(|file| self.snapshots.durable(file)) {
                    self.compact(shell, replica);
                }
            }
            SnapshotEvent::Unreadable(unreadable) => {
                self.snapshots.unreadable(unreadable).map_err(disk_failed)?;
                shell.publisher.snapshots_damaged(self.snapshots.damaged());
            }
            SnapshotEvent::Sent(to, term, result) => {
                let last = self.snapshots.sent(to, term, result).map_err(disk_failed)?;
                shell.publisher.snapshots_damaged(self.snapshots.damaged());
                replica.snapshot_sent(to, term, last);
            }
            SnapshotEvent::Received { from, received, installed } => self.install(replica, &from, *received, installed),
        }
        Ok(())
    }

    /// Installs a snapshot from a leader as the new state, if it is newer than the present one.
    fn install<W, R>(
        &mut self,
        replica: &mut Replica<W, R>,
        from: &str,
        received: Received,
        installed: oneshot::Sender<LogIndex>,
    ) {
        let Received { file, place, store } = received;
        let last = place.last;
        if replica.wants_snapshot(last) {
            tracing::info!("installed a snapshot from {from} (index {}, term {})", last.index, last.term);
        }
        let old = replica.install(place, store);
        // Dropping a large store takes time.
        tokio::task::spawn_blocking(move || drop(old));
        self.snapshots.durable(file);
        // The sender may be gone.
        let _ = installed.send(last.index);
    }

    /// Truncates the log behind the newest snapshot.
    fn compact<W, R>(&self, shell: &Shell, replica: &mut Replica<W, R>) {
        shell.log.compact(self.snapshots.compact(replica, shell.log.reader()));
    }

    /// Ends snapshot transfers to followers that no longer need one.
    pub(super) fn stop_needless<W, R>(&mut self, replica: &mut Replica<W, R>) {
        self.snapshots.stop_needless(replica);
    }

    /// Sends the newest snapshot to the follower of this name and URL. Returns false if the snapshot cannot be read:
    /// the follower is sent its replacement instead.
    pub(super) fn send(&mut self, shell: &Shell, snapshot: SendSnapshot, name: &str, url: &str) -> bool {
        let can_be_sent = self.snapshots.can_be_sent();
        if can_be_sent {
            self.snapshots.send(snapshot, &shell.agent, name, url, &shell.hello.borrow());
        }
        can_be_sent
    }

    /// Serves a client that wants a snapshot of everything that has been applied, up to entry `applied`.
    pub(super) fn back_up(&mut self, applied: LogIndex, reply: BackupReply) {
        self.snapshots.back_up(applied, reply);
    }
}
