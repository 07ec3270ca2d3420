//! Giving a snapshot to clients: the bytes of its file as the body of `GET /snapshot`.
//!
//! A client that asks waits until there is a snapshot with all that was applied when it asked. If the newest has not,
//! one is taken as always: to a file, at the speed of the disk. So a client that reads slowly keeps the file open and
//! nothing else; the store and the log go on as if it were not there. What has been given up ends with its connection.

use super::super::inbox::Event;
use super::BYTES_PER_SECOND_MAX;
use super::paced::{PacedReader, blocking};
use crate::http::{Backup, BackupError};
use crate::kv::SnapshotSummary;
use crate::raft::LogIndex;
use crate::storage::snapshot::{SnapshotBytes, SnapshotFile, newest};
use crate::storage::{Disk, StorageError};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tracing::Instrument;

/// Clients that are given a snapshot, or wait for one. The next gets `overloaded`.
const BACKUPS_MAX: usize = 4;

/// Chunks that have been read ahead for one client, a piece of the store each.
const CHUNKS_QUEUED_MAX: usize = 8;

/// A client must take so much in a second, on the whole. While it reads, the file takes space, be it the newest or not.
const BYTES_PER_SECOND_MIN: u64 = 100_000;

/// Time beyond that.
const SLOWNESS_MAX: Duration = Duration::from_secs(60);

/// How often the newest snapshot may be replaced while it is being opened.
const OPEN_ATTEMPTS_MAX: usize = 8;

/// Where a client waits for what it is given.
pub(in crate::server) type BackupReply = oneshot::Sender<Result<Backup, BackupError>>;

/// The clients that want a snapshot.
#[derive(Debug)]
pub(super) struct Backups {
    disk: Arc<dyn Disk>,
    events: UnboundedSender<Event>,
    turns: Arc<Semaphore>,
    waiting: Vec<Waiting>,
    /// A task for each client that is given one.
    giving: JoinSet<()>,
    slowness_max: Duration,
}

#[derive(Debug)]
struct Waiting {
    /// The snapshot must reach up to here.
    index: LogIndex,
    reply: BackupReply,
    turn: OwnedSemaphorePermit,
}

impl Backups {
    /// Nobody waits yet. That the disk failed is told to `events`.
    pub(super) fn new(disk: Arc<dyn Disk>, events: UnboundedSender<Event>) -> Self {
        let turns = Arc::new(Semaphore::new(BACKUPS_MAX));
        Self { disk, events, turns, waiting: Vec::new(), giving: JoinSet::new(), slowness_max: SLOWNESS_MAX }
    }

    /// A client wants a snapshot that reaches up to `index`, or further.
    pub(super) fn ask(&mut self, index: LogIndex, reply: BackupReply) {
        match Arc::clone(&self.turns).try_acquire_owned() {
            Ok(turn) => self.waiting.push(Waiting { index, reply, turn }),
            // Nobody waits for an answer if its receiver is gone.
            Err(_) => drop(reply.send(Err(BackupError::TooMany))),
        }
    }

    /// Whether anyone waits.
    pub(super) fn are_waiting(&mut self) -> bool {
        self.waiting.retain(|waiting| !waiting.reply.is_closed());
        !self.waiting.is_empty()
    }

    /// Gives the newest snapshot to whom it is enough.
    pub(super) fn give(&mut self, newest: &SnapshotFile) {
        while self.giving.try_join_next().is_some() {
            // It has come to its end, and said what there was to say.
        }
        for Waiting { reply, turn, .. } in self.waiting.extract_if(.., |waiting| waiting.index <= newest.last().index) {
            let (disk, events) = (Arc::clone(&self.disk), self.events.clone());
            let giving = Giving { disk, events, slowness_max: self.slowness_max, _turn: turn };
            self.giving.spawn(giving.give(reply).in_current_span());
        }
    }

    /// There is no snapshot to be had.
    pub(super) fn refuse(&mut self, why: BackupError) {
        for waiting in self.waiting.drain(..) {
            let _ = waiting.reply.send(Err(why));
        }
    }

    /// Nobody is to be given a snapshot any more: those who wait get no answer, and what is under way ends before its
    /// time, so that no client takes it for whole.
    pub(super) fn end(&mut self) {
        self.waiting.clear();
        self.giving.abort_all();
    }
}

/// What it takes to give one client a snapshot.
struct Giving {
    disk: Arc<dyn Disk>,
    events: UnboundedSender<Event>,
    slowness_max: Duration,
    _turn: OwnedSemaphorePermit,
}

impl Giving {
    /// Gives it the newest one, until it has it all, or has gone, or was too slow.
    async fn give(self, reply: BackupReply) {
        let disk = Arc::clone(&self.disk);
        let given = match blocking(move || open_newest(&*disk)).await {
            Ok(opened) => self.give_opened(opened, reply).await,
            Err(cause) => Err(cause),
        };
        if let Err(cause) = given {
            // Without a receiver the node has stopped.
            let _ = self.events.send(Event::DiskFailed(cause));
        }
    }

    /// Whenever it returns before all is sent, the body ends before its time, and the client sees that.
    async fn give_opened(&self, opened: Opened, reply: BackupReply) -> Result<(), StorageError> {
        let Opened { revision, length, bytes } = opened;
        let (chunks_in, chunks) = mpsc::channel(CHUNKS_QUEUED_MAX);
        if reply.send(Ok(Backup { revision, bytes: length, chunks })).is_err() {
            return Ok(());
        }
        tracing::info!("gives a backup of {:.1} MB, at revision {revision}", length as f64 / 1e6);
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
                    tracing::warn!("a client takes its backup too slowly, and is cut off");
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

/// Opens the newest snapshot, which may be newer by now than the one that was to be given.
fn open_newest(disk: &dyn Disk) -> Result<Opened, StorageError> {
    let mut attempts = 0;
    loop {
        attempts += 1;
        let last = newest(disk)?.expect("a snapshot goes only when a newer one is there");
        match SnapshotBytes::open(disk, last) {
            Ok(bytes) => {
                let summary = SnapshotSummary::decode(&bytes.meta().summary);
                let summary = summary.expect("this node wrote the snapshot, or made its store of it");
                return Ok(Opened { revision: summary.revision, length: bytes.length()?, bytes });
            }
            Err(cause) if cause.is_not_found() && attempts < OPEN_ATTEMPTS_MAX => {}
            Err(cause) => return Err(cause),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::snapshots::tests::{PIECE_BYTES, write_snapshot};
    use crate::storage::MemoryDisk;
    use crate::storage::snapshot::PART_HEADER_BYTES;
    use tokio::sync::mpsc::UnboundedReceiver;

    /// More than are read ahead.
    const PIECES: u64 = 4 * CHUNKS_QUEUED_MAX as u64;

    fn file(disk: &Arc<dyn Disk>, index: u64) -> SnapshotFile {
        write_snapshot(disk, index, PIECES)
    }

    fn backups() -> (Arc<dyn Disk>, Backups, UnboundedReceiver<Event>) {
        let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
        let (events_in, events) = mpsc::unbounded_channel();
        (Arc::clone(&disk), Backups::new(disk, events_in), events)
    }

    fn ask(backups: &mut Backups, index: u64) -> oneshot::Receiver<Result<Backup, BackupError>> {
        let (reply, answer) = oneshot::channel();
        backups.ask(LogIndex(index), reply);
        answer
    }

    /// How many chunks came, and of how many bytes.
    async fn take(backup: &mut Backup) -> (u64, u64) {
        let (mut chunks, mut bytes) = (0, 0);
        while let Some(chunk) = backup.chunks.recv().await {
            (chunks, bytes) = (chunks + 1, bytes + chunk.len() as u64);
        }
        (chunks, bytes)
    }

    #[tokio::test]
    async fn who_asks_waits_for_a_snapshot_that_is_new_enough_and_gets_the_newest() {
        let (disk, mut backups, _events) = backups();
        let (old, mut new) = (ask(&mut backups, 5), ask(&mut backups, 6));
        let (first, newer) = (file(&disk, 5), file(&disk, 7));
        backups.give(&first);
        let mut backup = old.await.unwrap().unwrap();
        assert_eq!((backup.revision, backup.bytes), (7, newer.bytes()), "there is a newer one by now");
        // The beginning, each piece, the end.
        assert_eq!(take(&mut backup).await, (PIECES + 2, newer.bytes()));

        assert!(backups.are_waiting() && new.try_recv().is_err(), "the first did not reach as far");
        backups.refuse(BackupError::NoSpace);
        assert_eq!(new.await.unwrap().unwrap_err(), BackupError::NoSpace);
        assert!(!backups.are_waiting());
    }

    #[tokio::test]
    async fn who_has_gone_is_not_waited_for_and_makes_room() {
        let (_disk, mut backups, _events) = backups();
        let waiting: Vec<_> = (0..BACKUPS_MAX).map(|_| ask(&mut backups, 5)).collect();
        assert!(backups.are_waiting());
        assert_eq!(ask(&mut backups, 5).await.unwrap().unwrap_err(), BackupError::TooMany);
        drop(waiting);
        assert!(!backups.are_waiting());
        assert_eq!(backups.turns.available_permits(), BACKUPS_MAX);
    }

    #[tokio::test]
    async fn who_takes_too_little_is_cut_off() {
        let (disk, mut backups, _events) = backups();
        backups.slowness_max = Duration::from_millis(50);
        let answer = ask(&mut backups, 5);
        backups.give(&file(&disk, 5));
        let mut backup = answer.await.unwrap().unwrap();
        let _given_up = backups.turns.acquire_many(BACKUPS_MAX as u32).await.unwrap();
        assert_eq!(take(&mut backup).await.0, CHUNKS_QUEUED_MAX as u64, "what was read ahead");
    }

    #[tokio::test]
    async fn what_is_under_way_ends_before_its_time_once_nothing_is_to_be_given_any_more() {
        let (disk, mut backups, mut events) = backups();
        let (under_way, waiting) = (ask(&mut backups, 5), ask(&mut backups, 6));
        let newest = file(&disk, 5);
        backups.give(&newest);
        let mut backup = under_way.await.unwrap().unwrap();
        backups.end();
        assert!(take(&mut backup).await.1 < newest.bytes());
        assert!(waiting.await.is_err() && events.try_recv().is_err());
    }

    #[tokio::test]
    async fn damage_stops_the_node_and_ends_the_body_before_its_time() {
        let (disk, mut backups, mut events) = backups();
        let newest = file(&disk, 5);
        let name = "snapshot-0000000000000005-0000000000000001.snap";
        let last_piece = newest.bytes() - 28 - (PART_HEADER_BYTES + PIECE_BYTES) as u64;
        disk.open(name).unwrap().write_all_at(last_piece, b"damage").unwrap();
        let answer = ask(&mut backups, 5);
        backups.give(&newest);
        let mut backup = answer.await.unwrap().unwrap();
        assert_eq!(take(&mut backup).await, (PIECES, last_piece));
        let event = events.recv().await;
        assert!(matches!(event, Some(Event::DiskFailed(StorageError::Corrupt { .. }))), "{event:?}");
    }
}
