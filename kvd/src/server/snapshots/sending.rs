//! Sending a snapshot: the bytes of its file as the body of `POST /raft/snapshot`, from a thread of its own, so that the
//! messages to the same follower and everyone else's are never behind it.

use super::super::inbox::Event;
use super::BYTES_PER_SECOND_MAX;
use crate::peer::{HELLO_HEADER, Hello};
use crate::raft::{LogBase, LogIndex, NodeId, Term};
use crate::storage::snapshot::{SnapshotBytes, SnapshotFile};
use crate::storage::{Disk, StorageError};
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::UnboundedSender;

/// Time for a connection to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// After the last byte the follower makes a store of the snapshot and answers within this time.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);

/// Between a failure and its report, after which the follower is sent the next one.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// A snapshot that is being sent. Dropping it ends that.
#[derive(Debug)]
pub(super) struct Sending {
    name: String,
    term: Term,
    last: LogIndex,
    stop: Arc<AtomicBool>,
}

/// Whom a snapshot is sent to.
#[derive(Debug)]
pub(super) struct Receiver {
    pub(super) id: NodeId,
    pub(super) name: String,
    /// Where it is reached, without a path.
    pub(super) url: String,
}

/// Why a snapshot was not sent.
#[derive(Debug)]
pub(in crate::server) enum SendFailure {
    /// It cannot be read: the node must stop.
    Disk(StorageError),
    /// The follower cannot be reached, does not take it, or was to be sent no more.
    Peer(String),
}

impl Sending {
    /// Starts to send, and reports [`Event::SnapshotSent`].
    pub(super) fn start(
        disk: Arc<dyn Disk>,
        file: &SnapshotFile,
        to: Receiver,
        term: Term,
        hello: &Hello,
        events: UnboundedSender<Event>,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (last, length, hello) = (file.last(), file.bytes(), hello.to_header());
        let sending = Self { name: to.name.clone(), term, last: last.index, stop: Arc::clone(&stop) };
        let (reports, id) = (events.clone(), to.id);
        let send = move || {
            let result = send(&*disk, last, length, &to, &hello, &stop);
            if matches!(result, Err(SendFailure::Peer(_))) && !stop.load(Ordering::Relaxed) {
                thread::sleep(RETRY_AFTER);
            }
            // Without a receiver the node has stopped.
            let _ = reports.send(Event::SnapshotSent(id, term, result));
        };
        if let Err(cause) = thread::Builder::new().name("send-snapshot".into()).spawn(send) {
            let why = SendFailure::Peer(format!("cannot start a thread: {cause}"));
            let _ = events.send(Event::SnapshotSent(id, term, Err(why)));
        }
        sending
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn term(&self) -> Term {
        self.term
    }

    /// Where the snapshot ends.
    pub(super) fn last_index(&self) -> LogIndex {
        self.last
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn send(
    disk: &dyn Disk,
    last: LogBase,
    length: u64,
    to: &Receiver,
    hello: &str,
    stop: &AtomicBool,
) -> Result<LogIndex, SendFailure> {
    let bytes = SnapshotBytes::open(disk, last).map_err(|cause| match cause.is_not_found() {
        true => SendFailure::Peer("a newer one has just taken its place".to_owned()),
        false => SendFailure::Disk(cause),
    })?;
    let mut body = Body { bytes, chunk: Vec::new(), position: 0, began: Instant::now(), sent: 0, stop, failed: None };
    let config = ureq::Agent::config_builder()
        .proxy(None)
        .max_redirects(0)
        .http_status_as_error(false)
        .timeout_connect(Some(CONNECT_TIMEOUT))
        .timeout_recv_response(Some(ANSWER_TIMEOUT))
        .build();
    let request = ureq::Agent::new_with_config(config)
        .post(format!("{}/raft/snapshot", to.url))
        .header(HELLO_HEADER, hello)
        .header("content-type", "application/octet-stream")
        .header("content-length", length.to_string());
    let answer = request.send(ureq::SendBody::from_reader(&mut body));
    if let Some(cause) = body.failed {
        return Err(SendFailure::Disk(cause));
    }
    let mut response = answer.map_err(|cause| SendFailure::Peer(cause.to_string()))?;
    let text = response.body_mut().read_to_string().unwrap_or_default();
    match response.status().as_u16() {
        200 => Ok(last.index),
        status => Err(SendFailure::Peer(format!("status {status}: {text}"))),
    }
}

/// The body of a request: the bytes of a snapshot, at a bounded rate.
struct Body<'a> {
    bytes: SnapshotBytes,
    /// What has been read and not been sent.
    chunk: Vec<u8>,
    position: usize,
    began: Instant,
    sent: u64,
    stop: &'a AtomicBool,
    /// Why the snapshot cannot be read any further.
    failed: Option<StorageError>,
}

impl Body<'_> {
    /// Waits while more was sent than the time since the beginning allows.
    fn keep_to_the_rate(&self) {
        let due = Duration::from_secs_f64(self.sent as f64 / BYTES_PER_SECOND_MAX as f64);
        thread::sleep(due.saturating_sub(self.began.elapsed()));
    }
}

impl Read for Body<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(io::Error::other("another snapshot is sent instead, or the node stops"));
        }
        if self.position == self.chunk.len() {
            self.position = 0;
            if let Err(cause) = self.bytes.next_chunk(&mut self.chunk) {
                self.failed = Some(cause);
                return Err(io::Error::other("the snapshot cannot be read"));
            }
        }
        let length = buffer.len().min(self.chunk.len() - self.position);
        buffer[..length].copy_from_slice(&self.chunk[self.position..self.position + length]);
        self.position += length;
        self.sent += length as u64;
        self.keep_to_the_rate();
        Ok(length)
    }
}
