//! Sending a snapshot: the bytes of its file as the body of `POST /raft/snapshot`, over a connection of its own, so
//! that it never delays messages to the same follower or to others.
//!
//! The receiver begins its answer at once, with a sign of life every second, and ends it with the outcome. So the
//! sender can tell a working receiver from a dead one even after everything is sent, while the receiver has yet to take
//! in the bytes that the operating systems and the network between them hold. A transfer in which nothing moves for
//! [`STALL_MAX`], neither bytes one way nor signs of life the other, ends.

use super::super::reporter::Reporter;
use super::event::{SendFailure, SnapshotEvent};
use super::paced::{BYTES_PER_SECOND_MAX, PacedReader, blocking};
use super::receiving::{Answer, SIGN_OF_LIFE};
use super::stall::{STALL_MAX, StallWatch};
use crate::background::Background;
use crate::peer::{Agent, Hello, NodeRequest};
use crate::raft::{LogBase, NodeId, Term};
use crate::storage::snapshot::{SnapshotBytes, SnapshotFile};
use crate::storage::{Disk, StorageError};
use bytes::Bytes;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::sync::mpsc;
use tokio::time::sleep;
use warp::http::StatusCode;

const PATH: &str = "/raft/snapshot";

/// Maximum number of chunks read ahead of the connection.
const CHUNKS_QUEUED_MAX: usize = 2;

/// Pause between a failure and its report, after which the follower is sent the next snapshot.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Reason for ending a transfer whose snapshot the log no longer follows.
const TOO_SLOW: &str = "it receives the snapshot too slowly: the log has grown by several times its size meanwhile, so \
     the log after the snapshot may be gone";

/// Maximum length of an answer without its signs of life. Longer ones are ignored.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// A snapshot that is being sent. Dropping this ends the transfer.
#[derive(Debug)]
pub(super) struct Sending {
    name: String,
    term: Term,
    last: LogBase,
    outdated: Arc<Notify>,
    _task: Background,
}

/// The receiver of a snapshot.
#[derive(Debug)]
pub(super) struct Receiver {
    pub(super) id: NodeId,
    pub(super) name: String,
    /// Its URL, without a path.
    pub(super) url: String,
}

impl Sending {
    /// Starts to send, and reports [`SnapshotEvent::Sent`].
    pub(super) fn start(
        agent: Agent,
        disk: Arc<dyn Disk>,
        file: &SnapshotFile,
        to: Receiver,
        term: Term,
        hello: &Hello,
        reporter: Reporter<SnapshotEvent>,
    ) -> Self {
        let (last, hello, name) = (file.last(), hello.clone(), to.name.clone());
        let outdated = Arc::new(Notify::new());
        let is_outdated = Arc::clone(&outdated);
        let send = async move {
            let result = tokio::select! {
                sent = send(&agent, disk, last, &to.url, &hello, STALL_MAX) => sent.map(|()| last.index),
                () = is_outdated.notified() => Err(SendFailure::Peer(TOO_SLOW.to_owned())),
            };
            if matches!(result, Err(SendFailure::Peer(_))) {
                sleep(RETRY_AFTER).await;
            }
            reporter.report(SnapshotEvent::Sent(to.id, term, result));
        };
        Self { name, term, last, outdated, _task: Background::spawn(send) }
    }

    /// Ends the transfer and reports why: the log no longer follows the snapshot.
    pub(super) fn end_as_outdated(&self) {
        self.outdated.notify_one();
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn term(&self) -> Term {
        self.term
    }

    /// Returns the last entry of the snapshot.
    pub(super) fn last(&self) -> LogBase {
        self.last
    }
}

/// Sends the snapshot that ends with entry `last` to the node at `url`, until the node has installed it.
///
/// The length sent is that of the file that is open here, which remains readable even if it is removed: if the snapshot
/// was lost, another one of the same state takes its name, and may have another length.
async fn send(
    agent: &Agent,
    disk: Arc<dyn Disk>,
    last: LogBase,
    url: &str,
    hello: &Hello,
    stall_max: Duration,
) -> Result<(), SendFailure> {
    let open = move || {
        let bytes = SnapshotBytes::open(&*disk, last)?;
        Ok((bytes.length()?, bytes))
    };
    let (length, opened) = blocking(open).await.map_err(SendFailure::Unreadable)?;
    let stall = StallWatch::new(stall_max);
    let (chunks_in, chunks) = mpsc::channel(CHUNKS_QUEUED_MAX);
    let request = NodeRequest::post_chunks(&format!("{url}{PATH}"), "application/octet-stream", length, chunks);
    let request = request.from_node(hello);
    let pouring = async {
        match pour(PacedReader::new(opened, BYTES_PER_SECOND_MAX), chunks_in, &stall).await {
            // The answer says what became of the bytes.
            Ok(()) => pending().await,
            Err(cause) => cause,
        }
    };
    tokio::select! {
        biased;
        answered = exchange(agent, request, &stall) => answered.map_err(SendFailure::Peer),
        cause = pouring => Err(SendFailure::Unreadable(cause)),
        () = stall.stalled() => {
            Err(SendFailure::Peer(format!("it has neither received nor sent anything for {} \
                 s", stall_max.as_secs_f64())))
        }
    }
}

/// Passes on the chunks that are read, until all are, or nobody takes them any more.
async fn pour(mut reader: PacedReader, chunks: mpsc::Sender<Bytes>, stall: &StallWatch) -> Result<(), StorageError> {
    loop {
        let chunk;
        (reader, chunk) = reader.next().await?;
        if chunk.is_empty() || chunks.send(chunk).await.is_err() {
            return Ok(());
        }
        stall.moved();
    }
}

/// Makes the request. Returns once the receiver has installed the snapshot, or with the reason why it has not.
async fn exchange(agent: &Agent, request: NodeRequest, stall: &StallWatch) -> Result<(), String> {
    let mut answer = agent.begin(request).await.map_err(|cause| cause.to_string())?;
    let mut text = Vec::new();
    while text.len() < ANSWER_BYTES_MAX
        && let Some(piece) = answer.next_piece().await?
    {
        stall.moved();
        text.extend(piece.iter().filter(|byte| **byte != SIGN_OF_LIFE));
    }
    verdict(answer.status, &text)
}

/// Returns Ok if the receiver has installed the snapshot, otherwise the reason why not.
fn verdict(status: StatusCode, text: &[u8]) -> Result<(), String> {
    match serde_json::from_slice(text) {
        Ok(Answer::Installed { .. }) if status == StatusCode::OK => Ok(()),
        Ok(Answer::Refused(refusal)) => Err(refusal.error.message),
        _ => Err(format!("status {status}: {}", String::from_utf8_lossy(text))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::reporter::Failure;
    use crate::server::snapshots::testing::{snapshot, write_snapshot};
    use crate::storage::MemoryDisk;
    use std::time::Instant;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    type Reported = mpsc::UnboundedReceiver<Result<SnapshotEvent, Failure>>;

    const STALL_MAX: Duration = Duration::from_millis(300);

    /// More than the operating systems between them hold for a receiver that takes nothing.
    const LARGE_PIECES: u64 = 600;

    /// Returns a port that is listened on, and its URL.
    async fn listen() -> (TcpListener, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        (listener, url)
    }

    /// Accepts a connection, and reads the head of the request, which every receiver does before it answers.
    async fn accept(listener: &TcpListener) -> TcpStream {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        assert!(head.starts_with(b"POST /raft/snapshot HTTP/1.1\r\n"), "{}", String::from_utf8_lossy(&head));
        stream
    }

    /// Begins to send a snapshot to node 2 in term 3. Returns the transfer, the receiver's end of the connection, and
    /// the reports.
    async fn begun(disk: Arc<dyn Disk>, file: &SnapshotFile) -> (Sending, TcpStream, Reported) {
        let (listener, url) = listen().await;
        let (reporter, reported) = Reporter::channel();
        let to = Receiver { id: NodeId(2), name: "node2".into(), url };
        let hello = Hello::of_member("node1", 1);
        let sending = Sending::start(Agent::new(), disk, file, to, Term(3), &hello, reporter);
        (sending, accept(&listener).await, reported)
    }

    /// Sends a snapshot of so many pieces to a receiver that the test plays on its end of the connection.
    async fn sent<F: Future<Output = ()>>(pieces: u64, receive: impl FnOnce(TcpStream) -> F) -> Result<(), String> {
        let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
        let file = write_snapshot(&disk, 5, pieces);
        let (listener, url) = listen().await;
        let receiving = async {
            receive(accept(&listener).await).await;
            pending::<()>().await;
        };
        let (agent, hello) = (Agent::new(), Hello::of_member("node1", 1));
        let sending = send(&agent, disk, file.last(), &url, &hello, STALL_MAX);
        tokio::select! {
            result = sending => result.map_err(|failure| match failure {
                SendFailure::Peer(why) => why,
                SendFailure::Unreadable(cause) => panic!("{cause}"),
            }),
            () = receiving => unreachable!("it never ends"),
        }
    }

    /// Reads the whole body of the request. Returns whether it is the snapshot.
    async fn take_all(stream: &mut TcpStream, body: &[u8]) -> bool {
        let (mut taken, mut buffer) = (Vec::new(), vec![0; 64 << 10]);
        while !taken.ends_with(body) {
            let read = stream.read(&mut buffer).await.unwrap();
            if read == 0 {
                return false;
            }
            taken.extend_from_slice(&buffer[..read]);
        }
        taken == body
    }

    const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    const SIGN: &[u8] = b"1\r\n\n\r\n";

    #[tokio::test]
    async fn a_receiver_that_takes_nothing_ends_the_transfer() {
        let began = Instant::now();
        let why = sent(LARGE_PIECES, |stream| async {
            std::mem::forget(stream);
        });
        assert_eq!(why.await.unwrap_err(), "it has neither received nor sent anything for 0.3 s");
        assert!(began.elapsed() >= STALL_MAX, "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn a_receiver_that_takes_little_but_goes_on_is_waited_for() {
        let result = sent(40, |mut stream| async move {
            let began = Instant::now();
            stream.write_all(HEAD).await.unwrap();
            while began.elapsed() < 3 * STALL_MAX {
                sleep(STALL_MAX / 10).await;
                stream.write_all(SIGN).await.unwrap();
            }
            assert!(take_all(&mut stream, &snapshot(5, 40)).await);
            while began.elapsed() < 6 * STALL_MAX {
                sleep(STALL_MAX / 10).await;
                stream.write_all(SIGN).await.unwrap();
            }
            stream.write_all(b"14\r\n{\"last_log_index\":5}\r\n0\r\n\r\n").await.unwrap();
        });
        assert_eq!(result.await, Ok(()));
    }

    #[tokio::test]
    async fn a_receiver_that_has_all_and_shows_no_sign_of_life_is_given_up_after_one_limit() {
        let why = sent(4, |mut stream| async move {
            stream.write_all(HEAD).await.unwrap();
            assert!(take_all(&mut stream, &snapshot(5, 4)).await);
            std::mem::forget(stream);
        });
        assert_eq!(why.await.unwrap_err(), "it has neither received nor sent anything for 0.3 s");
    }

    #[tokio::test]
    async fn a_refusal_is_told_however_it_comes() {
        let body = br#"{"error":{"code":"invalid_request","message":"no space","applied":"no"}}"#;
        for (status, whole) in [("200 OK", true), ("429 Too Many Requests", false)] {
            let why = sent(LARGE_PIECES * u64::from(!whole) + 4, |mut stream| async move {
                if whole {
                    assert!(take_all(&mut stream, &snapshot(5, 4)).await);
                }
                let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n", body.len());
                stream.write_all(head.as_bytes()).await.unwrap();
                stream.write_all(body).await.unwrap();
                std::mem::forget(stream);
            });
            assert_eq!(why.await.unwrap_err(), "no space");
        }
        let why = sent(4, |stream| async { drop(stream) });
        assert!(why.await.unwrap_err().starts_with("the connection broke: "));
    }

    #[tokio::test]
    async fn a_file_that_has_taken_the_place_of_another_is_sent_whole() {
        let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
        let lost = write_snapshot(&disk, 5, 4);
        let file = write_snapshot(&disk, 5, 6);
        assert_eq!(lost.last(), file.last());
        let (_sending, mut stream, mut reported) = begun(disk, &lost).await;
        stream.write_all(HEAD).await.unwrap();
        assert!(take_all(&mut stream, &snapshot(5, 6)).await);
        stream.write_all(b"14\r\n{\"last_log_index\":5}\r\n0\r\n\r\n").await.unwrap();
        assert!(matches!(reported.recv().await.unwrap(), Ok(SnapshotEvent::Sent(NodeId(2), Term(3), Ok(_)))));
    }

    #[tokio::test]
    async fn a_snapshot_that_the_log_follows_no_more_is_sent_no_further() {
        let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
        let file = write_snapshot(&disk, 5, LARGE_PIECES);
        let (sending, _stream, mut reported) = begun(disk, &file).await;
        sending.end_as_outdated();
        match reported.recv().await.unwrap() {
            Ok(SnapshotEvent::Sent(NodeId(2), Term(3), Err(SendFailure::Peer(why)))) => assert_eq!(why, TOO_SLOW),
            other => panic!("{other:?}"),
        }
    }
}
