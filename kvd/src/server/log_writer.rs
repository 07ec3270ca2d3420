//! The thread that writes the log, and reads of old entries.
//!
//! Writes arrive one at a time, since consensus has one in flight; each is made durable and reported. Nothing else
//! waits for the disk. After a failed write nothing on that disk can be trusted, so the failure is reported once, the
//! thread ends, and the node must stop. A disk may also hang, so no thread that does anything else waits for this one.

use super::reporter::{Failure, ReportPanic, Reporter};
use crate::raft::{Entry, Fetch, LogIndex, LogWrite, WriteId};
use crate::storage::wal::{Compactor, SpareMaker};
use crate::storage::{DirLock, StorageError, Wal, WalReader};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;
use tokio::sync::oneshot;

/// Idle time after which the log is sealed. Under load that never happens. With an occasional single write it costs at
/// most one sync that nobody waits for.
const SEAL_AFTER: Duration = Duration::from_millis(200);

/// Outcome of a write or a read.
#[derive(Debug)]
pub(super) enum LogEvent {
    /// A write to the log has become durable.
    Written(WriteId),
    /// Entries have been read back.
    Fetched(Fetch, Vec<Entry>),
    /// Entries cannot be read back: some of their bytes are damaged on the disk.
    Unreadable(Fetch, StorageError),
}

/// Handle to the thread. Dropping it ends the thread once its last write is done, without waiting for that.
#[derive(Debug)]
pub(super) struct LogWriter {
    orders: mpsc::Sender<Order>,
    /// Ready when the thread has ended.
    ended: oneshot::Receiver<()>,
    reader: WalReader,
    compactor: Compactor,
    reporter: Reporter<LogEvent>,
}

impl LogWriter {
    /// Starts the thread, which returns `lock` after its last write. The outcomes of writes and reads go to `reporter`.
    pub(super) fn start(name: &str, wal: Wal, lock: DirLock, reporter: Reporter<LogEvent>) -> std::io::Result<Self> {
        let (orders, queue) = mpsc::channel();
        let (end, ended) = oneshot::channel();
        let (reader, compactor) = (wal.reader(), wal.compactor());
        let span = tracing::Span::current();
        let reports = reporter.clone();
        let run = move || {
            span.in_scope(|| write_all(wal, &queue, &reports));
            drop(lock);
            drop(end);
        };
        thread::Builder::new().name(format!("{name}-log")).spawn(run)?;
        Ok(Self { orders, ended, reader, compactor, reporter })
    }

    /// Makes a write durable and reports [`LogEvent::Written`].
    pub(super) fn write(&self, write: LogWrite) {
        // Without a receiver the thread has ended by a failure, and the report of that failure is on its way as an
        // event.
        let _ = self.orders.send(Order::Write(write));
    }

    /// Continues in a new segment if the one numbered `sequence` is the last.
    pub(super) fn leave_segment(&self, sequence: u64) {
        // As above.
        let _ = self.orders.send(Order::LeaveSegment(sequence));
    }

    /// Reads entries back and reports [`LogEvent::Fetched`].
    pub(super) fn fetch(&self, fetch: Fetch) {
        let (reader, reporter, span) = (self.reader.clone(), self.reporter.clone(), tracing::Span::current());
        tokio::task::spawn_blocking(move || {
            let event = match reader.read(fetch.from, fetch.through, fetch.bytes_max) {
                Ok(entries) => LogEvent::Fetched(fetch, entries),
                Err(compacted @ StorageError::Compacted { .. }) => {
                    span.in_scope(|| tracing::warn!("cannot send node {} the log: {compacted}", fetch.to));
                    LogEvent::Fetched(fetch, Vec::new())
                }
                Err(damage) if damage.is_of_lost_bytes() => LogEvent::Unreadable(fetch, damage),
                Err(cause) => return reporter.fail(Failure::Disk(cause)),
            };
            reporter.report(event);
        });
    }

    /// Reads the log, from any thread.
    pub(super) fn reader(&self) -> &WalReader {
        &self.reader
    }

    /// Removes the beginning of the log up to `index`, which a durable snapshot covers. Runs beside everything else.
    pub(super) fn compact(&self, index: LogIndex) {
        let (compactor, reporter) = (self.compactor.clone(), self.reporter.clone());
        tokio::task::spawn_blocking(move || {
            if let Err(cause) = compactor.compact(index) {
                reporter.fail(Failure::Disk(cause));
            }
        });
    }

    /// Ends the thread and waits until its last write is done. If the disk hangs, this never returns.
    pub(super) async fn close(self) {
        drop(self.orders);
        // If the sender is dropped without a value, the thread has ended as well.
        let _ = self.ended.await;
    }
}

fn write_all(mut wal: Wal, queue: &mpsc::Receiver<Order>, reporter: &Reporter<LogEvent>) {
    let spares = Spares::start(wal.spare_maker());
    // Dropped before the spares, whose thread may have to be waited for.
    let _report = ReportPanic(reporter.clone());
    while let Some(order) = next_order(&wal, queue) {
        let (done, event) = match &order {
            Order::Write(write) => (wal.write(write), Some(LogEvent::Written(write.id))),
            Order::LeaveSegment(sequence) => (wal.leave_segment(*sequence), None),
            Order::Seal => (wal.seal(), None),
        };
        match done {
            Ok(appended) if appended.began_segment => spares.make_another(),
            Ok(_) => {}
            Err(cause) => return reporter.fail(Failure::Disk(cause)),
        }
        let is_heard = event.is_none_or(|event| reporter.report(event));
        if !is_heard {
            break;
        }
    }
}

/// The thread's next order.
#[derive(Debug)]
enum Order {
    Write(LogWrite),
    LeaveSegment(u64),
    Seal,
}

/// Waits for the next order. Seals the log when it is idle or about to be closed; returns `None` after the latter.
fn next_order(wal: &Wal, queue: &mpsc::Receiver<Order>) -> Option<Order> {
    if wal.is_sealed() {
        return queue.recv().ok();
    }
    match queue.recv_timeout(SEAL_AFTER) {
        Ok(order) => Some(order),
        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => Some(Order::Seal),
    }
}

/// Creates segments ahead of use on a thread of its own, so that no write waits for a segment to be filled with zeros.
struct Spares {
    wanted: Option<mpsc::SyncSender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Spares {
    fn start(maker: SpareMaker) -> Self {
        let (wanted, wishes) = mpsc::sync_channel(1);
        let span = tracing::Span::current();
        let make = move || {
            while wishes.recv().is_ok() {
                if let Err(failure) = maker.make() {
                    span.in_scope(|| warn_of_missing_spare(&failure));
                }
            }
        };
        let thread = thread::Builder::new().name("log-spare".into()).spawn(make);
        let thread = thread.inspect_err(|cause| {
            tracing::warn!("cannot start the thread that prepares segments of the log: {cause}");
        });
        let spares = Self { wanted: Some(wanted), thread: thread.ok() };
        spares.make_another();
        spares
    }

    fn make_another(&self) {
        // One queued request is enough. Without the thread the log creates its segments itself.
        let _ = self.wanted.as_ref().map(|wanted| wanted.try_send(()));
    }
}

impl Drop for Spares {
    /// Waits for the thread, so that nothing writes to the directory once its lock is free.
    fn drop(&mut self) {
        self.wanted = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported.
            let _ = thread.join();
        }
    }
}

fn warn_of_missing_spare(failure: &StorageError) {
    let why = failure.in_short();
    tracing::warn!("{why}; the next segment of the log is created when it is needed");
}
