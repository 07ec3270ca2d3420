//! Backups for clients: the bytes of a snapshot file as the body of `GET /snapshot`.
//!
//! A client that asks waits until there is a snapshot of everything that was applied when it asked. If the newest one
//! does not reach that far, one is taken as usual: to a file, at the speed of the disk. So a client that reads slowly
//! keeps only the file open; the store and the log are unaffected. A backup that is given up ends by closing its
//! connection.
//!
//! A file is read to its end before any of it is promised, so that a client whose backup would meet damage waits for
//! the snapshot that replaces the damaged one instead. Usually the file was written a moment ago, and is read from
//! memory.

use super::super::reporter::Reporter;
use super::event::{BackupReply, SnapshotEvent, Unreadable, Waiting};
use super::paced::{BYTES_PER_SECOND_MAX, PacedReader, blocking};
use crate::http::{Backup, BackupError};
use crate::logging::bytes as bytes_as_text;
use crate::raft::{LogBase, LogIndex};
use crate::storage::snapshot::{SnapshotBytes, SnapshotFile};
use crate::storage::{Disk, StorageError};
use kvclient::snapshot::Summary;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tracing::Instrument;

/// Maximum number of clients that are sent a backup, or wait for one. The next gets `overloaded`.
const BACKUPS_MAX: usize = 4;

/// Maximum number of chunks read ahead for one client. A chunk is a piece of the store.
const CHUNKS_QUEUED_MAX: usize = 8;

/// Least average rate at which a client must read. While it reads, the file takes up space, even if it is no longer the
/// newest.
const BYTES_PER_SECOND_MIN: u64 = 100_000;

/// Additional time that a slow client has.
const SLOWNESS_MAX: Duration = Duration::from_secs(60);

/// Rate limit for checking whether a file is undamaged, which costs the network nothing. Bytes per second.
const CHECKED_BYTES_PER_SECOND_MAX: u64 = 4 * BYTES_PER_SECOND_MAX;

/// The clients that want a backup.
#[derive(Debug)]
pub(super) struct Backups {
    disk: Arc<dyn Disk>,
    reporter: Reporter<SnapshotEvent>,
    turns: Arc<Semaphore>,
    waiting: Vec<Waiting>,
    /// One task for each client that is sent a backup.
    giving: JoinSet<()>,
    slowness_max: Duration,
}

impl Backups {
    /// Starts with no clients. A snapshot that cannot be read is reported to `reporter`.
    pub(super) fn new(disk: Arc<dyn Disk>, reporter: Reporter<SnapshotEvent>) -> Self {
        let turns = Arc::new(Semaphore::new(BACKUPS_MAX));
        Self { disk, reporter, turns, waiting: Vec::new(), giving: JoinSet::new(), slowness_max: SLOWNESS_MAX }
    }

    /// Adds a client that wants a snapshot that reaches at least to `index`.
    pub(super) fn ask(&mut self, index: LogIndex, reply: BackupReply) {
        match Arc::clone(&self.turns).try_acquire_owned() {
            Ok(turn) => self.wait(Waiting { index, reply, turn }),
            // If the receiver is gone, nobody waits for the answer.
            Err(_) => drop(reply.send(Err(BackupError::TooMany))),
        }
    }

    /// Lets a client wait for the next snapshot, after the one that it was about to get turned out to be unreadable.
    pub(super) fn wait(&mut self, waiting: Waiting) {
        self.waiting.push(waiting);
    }

    /// Returns whether any client waits.
    pub(super) fn are_waiting(&mut self) -> bool {
        self.waiting.retain(|waiting| !waiting.reply.is_closed());
        !self.waiting.is_empty()
    }

    /// Gives the newest snapshot to every client for which it reaches far enough.
    pub(super) fn give(&mut self, newest: &SnapshotFile) {
        while self.giving.try_join_next().is_some() {
            // It has ended, and has reported everything there was to report.
        }
        for waiting in self.waiting.extract_if(.., |waiting| waiting.index <= newest.last().index) {
            let giving = Giving { disk: Arc::clone(&self.disk), last: newest.last(), slowness_max: self.slowness_max };
            let reporter = self.reporter.clone();
            let give = async move {
                if let Err(unreadable) = giving.give(waiting).await {
                    reporter.report(SnapshotEvent::Unreadable(unreadable));
                }
            };
            self.giving.spawn(give.in_current_span());
        }
    }

    /// Refuses all waiting clients: there is no snapshot to give.
    pub(super) fn refuse(&mut self, why: BackupError) {
        for waiting in self.waiting.drain(..) {
            let _ = waiting.reply.send(Err(why));
        }
    }

    /// Ends everything: waiting clients get no answer, and backups in flight are cut short, so that no client takes one
    /// for complete.
    pub(super) fn end(&mut self) {
        self.waiting.clear();
        self.giving.abort_all();
    }
}

/// State needed to give one client a backup.
struct Giving {
    disk: Arc<dyn Disk>,
    last: LogBase,
    slowness_max: Duration,
}

impl Giving {
    /// Sends the backup until the client has all of it, is gone, or was too slow.
    async fn give(self, waiting: Waiting) -> Result<(), Unreadable> {
        let last = self.last;
        let opened = match self.open_checked(&waiting).await {
            Ok(opened) => opened,
            // Nothing has been promised yet.
            Err(cause) => return Err(Unreadable { last, cause, waiting: Some(waiting) }),
        };
        self.give_opened(opened, waiting).await.map_err(|cause| Unreadable { last, cause, waiting: None })
    }

    /// Opens the snapshot, and reads it once to its end, or until the client is gone.
    async fn open_checked(&self, waiting: &Waiting) -> Result<Opened, StorageError> {
        let (disk, last) = (Arc::clone(&self.disk), self.last);
        // A backup is the state alone.
        let open = move || {
            let open = || Ok(SnapshotBytes::open(&*disk, last)?.without_history());
            Ok((open()?, open()?))
        };
        let (checked, bytes) = blocking(open).await?;
        let summary = Summary::decode(&bytes.meta().summary);
        let revision = summary.expect("this node wrote the snapshot, or made its store of it").revision;
        let mut reader = PacedReader::new(checked, CHECKED_BYTES_PER_SECOND_MAX);
        let mut length = 0;
        loop {
            let chunk;
            (reader, chunk) = reader.next().await?;
            if chunk.is_empty() || waiting.reply.is_closed() {
                return Ok(Opened { revision, length, bytes });
            }
            length += chunk.len() as u64;
        }
    }

    /// Sends the body. If this returns before everything is sent, the body ends early, and the client notices.
    async fn give_opened(&self, opened: Opened, waiting: Waiting) -> Result<(), StorageError> {
        let Opened { revision, length, bytes } = opened;
        let Waiting { reply, turn: _turn, .. } = waiting;
        let (chunks_in, chunks) = mpsc::channel(CHUNKS_QUEUED_MAX);
        if reply.send(Ok(Backup { revision, bytes: length, chunks })).is_err() {
            return Ok(());
        }
        tracing::info!("sending a backup: {} at revision {revision}", bytes_as_text(length));
        let mut reader = PacedReader::new(bytes, BYTES_PER_SECOND_MAX);
        let (began, mut sent) = (Instant::now(), 0);
        loop {
            let chunk;
            (reader, chunk) = reader.next().await?;
            if chunk.is_empty() {
                return Ok(());
            }
            let until = began + self.slowness_max + Duration::from_secs(sent / BYTES_PER_SECOND_MIN);
            sent += chunk.len() as u64;
            match timeout_at(until, chunks_in.send(chunk)).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Ok(()),
                Err(_) => {
                    tracing::warn!("closed the connection of a client that reads its backup too slowly");
                    return Ok(());
                }
            }
        }
    }
}

struct Opened {
    revision: u64,
    length: u64,
    bytes: SnapshotBytes,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::reporter::Failure;
    use crate::server::snapshots::testing::{PIECE_BYTES, write_snapshot};
    use crate::storage::MemoryDisk;
    use crate::storage::snapshot::PART_HEADER_BYTES;
    use tokio::sync::mpsc::UnboundedReceiver;
    use tokio::sync::oneshot;

    type Reported = UnboundedReceiver<Result<SnapshotEvent, Failure>>;

    /// More pieces than are read ahead.
    const PIECES: u64 = 4 * CHUNKS_QUEUED_MAX as u64;

    fn file(disk: &Arc<dyn Disk>, index: u64) -> SnapshotFile {
        write_snapshot(disk, index, PIECES)
    }

    fn backups() -> (Arc<dyn Disk>, Backups, Reported) {
        let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
        let (reporter, reported) = Reporter::channel();
        (Arc::clone(&disk), Backups::new(disk, reporter), reported)
    }

    fn ask(backups: &mut Backups, index: u64) -> oneshot::Receiver<Result<Backup, BackupError>> {
        let (reply, answer) = oneshot::channel();
        backups.ask(LogIndex(index), reply);
        answer
    }

    /// Returns the number of chunks that came, and their bytes.
    async fn take(backup: &mut Backup) -> (u64, u64) {
        let (mut chunks, mut bytes) = (0, 0);
        while let Some(chunk) = backup.chunks.recv().await {
            (chunks, bytes) = (chunks + 1, bytes + chunk.len() as u64);
        }
        (chunks, bytes)
    }

    #[tokio::test]
    async fn who_asks_waits_for_a_snapshot_that_is_new_enough() {
        let (disk, mut backups, _reported) = backups();
        let (old, mut new) = (ask(&mut backups, 5), ask(&mut backups, 6));
        let file = file(&disk, 5);
        backups.give(&file);
        let mut backup = old.await.unwrap().unwrap();
        assert_eq!((backup.revision, backup.bytes), (5, file.bytes()));
        // The beginning, each piece, the end.
        assert_eq!(take(&mut backup).await, (PIECES + 2, file.bytes()));

        assert!(backups.are_waiting() && new.try_recv().is_err(), "the first did not reach as far");
        backups.refuse(BackupError::NoSpace);
        assert_eq!(new.await.unwrap().unwrap_err(), BackupError::NoSpace);
        assert!(!backups.are_waiting());
    }

    #[tokio::test]
    async fn who_has_gone_is_not_waited_for_and_makes_room() {
        let (_disk, mut backups, _reported) = backups();
        let waiting: Vec<_> = (0..BACKUPS_MAX).map(|_| ask(&mut backups, 5)).collect();
        assert!(backups.are_waiting());
        assert_eq!(ask(&mut backups, 5).await.unwrap().unwrap_err(), BackupError::TooMany);
        drop(waiting);
        assert!(!backups.are_waiting());
        assert_eq!(backups.turns.available_permits(), BACKUPS_MAX);
    }

    #[tokio::test]
    async fn who_takes_too_little_is_cut_off() {
        let (disk, mut backups, _reported) = backups();
        backups.slowness_max = Duration::from_millis(50);
        let answer = ask(&mut backups, 5);
        backups.give(&file(&disk, 5));
        let mut backup = answer.await.unwrap().unwrap();
        let _given_up = backups.turns.acquire_many(BACKUPS_MAX as u32).await.unwrap();
        assert_eq!(take(&mut backup).await.0, CHUNKS_QUEUED_MAX as u64, "what was read ahead");
    }

    #[tokio::test]
    async fn what_is_under_way_ends_before_its_time_once_nothing_is_to_be_given_any_more() {
        let (disk, mut backups, mut reported) = backups();
        let (under_way, waiting) = (ask(&mut backups, 5), ask(&mut backups, 6));
        let newest = file(&disk, 5);
        backups.give(&newest);
        let mut backup = under_way.await.unwrap().unwrap();
        backups.end();
        assert!(take(&mut backup).await.1 < newest.bytes());
        assert!(waiting.await.is_err() && reported.try_recv().is_err());
    }

    /// Damages the last piece of the snapshot that ends with entry 5. Returns the offset.
    fn damage(disk: &Arc<dyn Disk>, file: &SnapshotFile) -> u64 {
        let last_piece = file.bytes() - 28 - (PART_HEADER_BYTES + PIECE_BYTES) as u64;
        disk.open("snapshot-0000000000000005-0000000000000001.snap").unwrap().write_all_at(last_piece, b"x").unwrap();
        last_piece
    }

    async fn unreadable(reported: &mut Reported) -> Unreadable {
        match reported.recv().await {
            Some(Ok(SnapshotEvent::Unreadable(unreadable))) => unreadable,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn who_would_be_given_a_damaged_snapshot_or_none_waits_for_the_next() {
        let (disk, mut backups, mut reported) = backups();
        let damaged = file(&disk, 5);
        damage(&disk, &damaged);
        let answer = ask(&mut backups, 5);
        backups.give(&damaged);
        let Unreadable { last, cause, waiting } = unreadable(&mut reported).await;
        assert!(last == damaged.last() && matches!(cause, StorageError::Corrupt { .. }), "{last} {cause}");
        backups.wait(waiting.expect("nothing was promised"));

        disk.remove("snapshot-0000000000000005-0000000000000001.snap").unwrap();
        backups.give(&damaged);
        let Unreadable { cause, waiting, .. } = unreadable(&mut reported).await;
        assert!(cause.is_not_found(), "{cause}");
        backups.wait(waiting.expect("nothing was promised"));

        let newer = file(&disk, 6);
        backups.give(&newer);
        let mut backup = answer.await.unwrap().unwrap();
        assert_eq!((backup.revision, take(&mut backup).await.1), (6, newer.bytes()));
    }

    #[tokio::test]
    async fn a_body_that_meets_damage_ends_before_its_time() {
        let (disk, mut backups, mut reported) = backups();
        let newest = file(&disk, 5);
        let answer = ask(&mut backups, 5);
        backups.give(&newest);
        let mut backup = answer.await.unwrap().unwrap();
        // Beyond what has been read by now and waits for the client.
        let damaged_at = damage(&disk, &newest);
        assert_eq!(take(&mut backup).await, (PIECES, damaged_at));
        let Unreadable { cause, waiting, .. } = unreadable(&mut reported).await;
        assert!(matches!(cause, StorageError::Corrupt { .. }) && waiting.is_none(), "{cause}");
    }
}
