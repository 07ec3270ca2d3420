//! Receiving a snapshot: `POST /raft/snapshot`. Every byte is checked and written to disk on arrival.
//!
//! The node receives one snapshot at a time: a leader sends one, and another sender at the same time is no longer the
//! leader, or will soon be told so. The node keeps running meanwhile, and serves from its old state until the new one
//! is complete.
//!
//! The answer begins at once, with a sign of life (a line feed) every second while the transfer goes on, and ends with
//! the outcome. A sender that sends nothing for [`STALL_MAX`] is given up, and so is a disk that writes nothing for as
//! long: the sender is told, and the work that hangs on the disk keeps its turn until the disk answers.

use super::super::reporter::{Failure, Reporter};
use super::event::SnapshotEvent;
use super::stall::{STALL_MAX, StallWatch};
use crate::data::{ReceiveError, Received, Receiving};
use crate::kv::{Level, SessionLimits};
use crate::peer::{HELLO_HEADER, Hello, PROTOCOL_SIGNS_OF_LIFE, of_same_cluster, refuse};
use crate::storage::Disk;
use bytes::{Buf, Bytes};
use futures_util::{Stream, StreamExt, stream};
use kvclient::api::{Applied, ErrorBody, ErrorCode, ErrorReply};
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::time::{interval, timeout};
use tracing::Instrument;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::{Reply, Response};

/// Maximum number of pieces that wait to be written. A full queue holds back the sender, through its connection.
const PIECES_QUEUED_MAX: usize = 8;

/// Interval of signs of life to the sender: several in [`STALL_MAX`].
const SIGN_INTERVAL: Duration = Duration::from_secs(1);

/// A sign of life: white space before the JSON of the answer, in which this byte does not occur.
pub(super) const SIGN_OF_LIFE: u8 = b'\n';

/// Outcome of a snapshot: the end of the answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Answer {
    /// The receiver has installed it as its state, or has a newer state.
    Installed {
        /// Last index of the snapshot.
        last_log_index: u64,
    },
    /// The receiver has refused it.
    Refused(ErrorReply),
}

impl Answer {
    fn refused(message: String) -> Self {
        let code = ErrorCode::InvalidRequest;
        Self::Refused(ErrorReply { error: ErrorBody::new(code, message, Applied::No) })
    }

    fn to_bytes(&self) -> Bytes {
        serde_json::to_vec(self).expect("an answer always has an encoding").into()
    }
}

struct Receiver {
    disk: Arc<dyn Disk>,
    hello: watch::Receiver<Hello>,
    reporter: Reporter<SnapshotEvent>,
    /// The turn to receive; there is one.
    turn: Arc<Semaphore>,
    /// [`STALL_MAX`], except in tests.
    stall_max: Duration,
}

/// Returns the route `POST /raft/snapshot`. Snapshots that arrive are reported to `reporter`.
pub(in crate::server) fn route(
    disk: Arc<dyn Disk>,
    hello: watch::Receiver<Hello>,
    reporter: Reporter<SnapshotEvent>,
) -> BoxedFilter<(Response,)> {
    let receiver =
        Arc::new(Receiver { disk, hello, reporter, turn: Arc::new(Semaphore::new(1)), stall_max: STALL_MAX });
    warp::path!("raft" / "snapshot")
        .and(warp::post())
        .and(warp::header::optional::<String>(HELLO_HEADER))
        .and(warp::body::stream())
        .then(move |theirs: Option<String>, body| {
            let receiver = Arc::clone(&receiver);
            async move { receiver.answer(theirs.as_deref(), body).await }
        })
        .boxed()
}

impl Receiver {
    /// Begins to receive, and to answer. A sender with the previous protocol reads nothing but a status, so its answer
    /// begins when the outcome is known.
    async fn answer(
        self: Arc<Self>,
        theirs: Option<&str>,
        body: impl Stream<Item = Result<impl Buf, warp::Error>> + Send + 'static,
    ) -> Response {
        let ours = self.hello.borrow().clone();
        let (theirs, cluster_id) = match of_same_cluster(&ours, theirs) {
            Ok(found) => found,
            Err(refusal) => return *refusal,
        };
        let Ok(turn) = Arc::clone(&self.turn).try_acquire_owned() else {
            let why = "this node is already receiving another snapshot".to_owned();
            return refuse(ErrorCode::Overloaded, StatusCode::TOO_MANY_REQUESTS, why);
        };
        let theirs_protocol = theirs.protocol;
        tracing::info!("receiving a snapshot from {}", theirs.name);
        let (parts_in, mut parts) = mpsc::channel(1);
        let answer = async move {
            let answer = with_signs_of_life(self.receive(&theirs.name, cluster_id, body, turn), &parts_in).await;
            let answer = answer.unwrap_or_else(|why| {
                tracing::warn!("receiving the snapshot from {} failed: {why}", theirs.name);
                Answer::refused(why)
            });
            // The sender may be gone.
            let _ = parts_in.send(answer.to_bytes()).await;
        };
        let reads_signs = theirs_protocol >= PROTOCOL_SIGNS_OF_LIFE;
        tokio::spawn(answer.in_current_span());
        if !reads_signs {
            let mut last = Bytes::new();
            while let Some(part) = parts.recv().await {
                last = part;
            }
            let is_installed = matches!(serde_json::from_slice(&last), Ok(Answer::Installed { .. }));
            let status = if is_installed { StatusCode::OK } else { StatusCode::BAD_REQUEST };
            return warp::reply::with_status(last.to_vec(), status).into_response();
        }
        let parts = stream::poll_fn(move |cx| parts.poll_recv(cx));
        warp::reply::stream(parts.map(Ok::<_, Infallible>)).into_response()
    }

    async fn receive(
        &self,
        from: &str,
        cluster_id: u64,
        body: impl Stream<Item = Result<impl Buf, warp::Error>> + Send,
        turn: OwnedSemaphorePermit,
    ) -> Result<Answer, String> {
        let (pieces, queued) = mpsc::channel(PIECES_QUEUED_MAX);
        let (disk, reporter) = (Arc::clone(&self.disk), self.reporter.clone());
        let level_max = Level(self.hello.borrow().level);
        let disk_moves = Arc::new(StallWatch::new(self.stall_max));
        let moves = Arc::clone(&disk_moves);
        let writing = tokio::task::spawn_blocking(move || {
            // While this hangs on the disk, another snapshot would hang as well.
            let _turn = turn;
            let receiving = Receiving::new(disk, cluster_id, SessionLimits::default()).with_level_max(level_max);
            write(receiving, queued, &moves).map_err(|cause| {
                let why = cause.to_string();
                if let ReceiveError::Storage(cause) = cause
                    && !cause.is_for_want_of_space()
                {
                    reporter.fail(Failure::Disk(cause));
                }
                why
            })
        });
        let forwarded = forward(body, pieces, self.stall_max).await;
        // From here on only the disk has work to do.
        disk_moves.moved();
        let written = tokio::select! {
            biased;
            written = writing => written.map_err(|_| "a panic, reported above".to_owned())?,
            () = disk_moves.stalled() => Err(slow_disk(self.stall_max)),
        };
        // A sender that broke off has not sent a complete snapshot, which is why no more arrived.
        forwarded?;
        self.install(from, written?).await
    }

    async fn install(&self, from: &str, received: Received) -> Result<Answer, String> {
        let (installed, is_installed) = oneshot::channel();
        // A node that has stopped drops it.
        let (from, received) = (from.to_owned(), Box::new(received));
        self.reporter.report(SnapshotEvent::Received { from, received, installed });
        let last = is_installed.await.map_err(|_| "this node stops".to_owned())?;
        Ok(Answer::Installed { last_log_index: last.0 })
    }
}

/// Runs some work, and sends signs of life until it is done.
async fn with_signs_of_life<T>(work: impl Future<Output = T>, parts: &mpsc::Sender<Bytes>) -> T {
    let mut work = pin!(work);
    let mut signs = interval(SIGN_INTERVAL);
    loop {
        tokio::select! {
            biased;
            done = &mut work => return done,
            // The previous sign may not have been taken yet, or the sender is gone: then the body ends as well.
            _ = signs.tick() => drop(parts.try_send(Bytes::from_static(&[SIGN_OF_LIFE]))),
        }
    }
}

fn slow_disk(stall_max: Duration) -> String {
    format!("this node's disk has not completed a write for {} s", stall_max.as_secs_f64())
}

/// Forwards the pieces that arrive, until the body ends or nobody takes them any more.
async fn forward(
    body: impl Stream<Item = Result<impl Buf, warp::Error>> + Send,
    pieces: mpsc::Sender<Bytes>,
    stall_max: Duration,
) -> Result<(), String> {
    let mut body = pin!(body);
    loop {
        let bytes = match timeout(stall_max, body.next()).await {
            Ok(Some(Ok(mut piece))) => piece.copy_to_bytes(piece.remaining()),
            Ok(Some(Err(cause))) => return Err(format!("the connection broke: {cause}")),
            Ok(None) => return Ok(()),
            Err(_) => return Err(format!("no data arrived for {} s", stall_max.as_secs_f64())),
        };
        match timeout(stall_max, pieces.send(bytes)).await {
            Ok(Ok(())) => {}
            // The writer has failed, and reports the reason.
            Ok(Err(_)) => return Ok(()),
            Err(_) => return Err(slow_disk(stall_max)),
        }
    }
}

/// Checks and writes the pieces that arrive.
fn write(
    mut receiving: Receiving,
    mut queued: mpsc::Receiver<Bytes>,
    moves: &StallWatch,
) -> Result<Received, ReceiveError> {
    while let Some(piece) = queued.blocking_recv() {
        if let Err(cause) = receiving.feed(&piece) {
            receiving.abandon();
            return Err(cause);
        }
        moves.moved();
    }
    receiving.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{DirLock, File, MemoryDisk};
    use std::io;
    use std::sync::{Condvar, Mutex};
    use std::time::Instant;

    const STALL_MAX: Duration = Duration::from_millis(100);

    /// A disk that creates no file until it is released.
    #[derive(Debug)]
    struct HungDisk {
        disk: MemoryDisk,
        released: Arc<(Mutex<bool>, Condvar)>,
    }

    impl Disk for HungDisk {
        fn list(&self) -> io::Result<Vec<String>> {
            self.disk.list()
        }

        fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
            self.disk.open(name)
        }

        fn create(&self, name: &str) -> io::Result<Box<dyn File>> {
            let (released, changed) = &*self.released;
            drop(changed.wait_while(released.lock().unwrap(), |released| !*released).unwrap());
            self.disk.create(name)
        }

        fn rename(&self, from: &str, to: &str) -> io::Result<()> {
            self.disk.rename(from, to)
        }

        fn remove(&self, name: &str) -> io::Result<()> {
            self.disk.remove(name)
        }

        fn sync_dir(&self) -> io::Result<()> {
            self.disk.sync_dir()
        }

        fn try_lock(&self, name: &str) -> io::Result<DirLock> {
            self.disk.try_lock(name)
        }
    }

    fn receiver(disk: Arc<dyn Disk>) -> (Receiver, mpsc::UnboundedReceiver<Result<SnapshotEvent, Failure>>) {
        let (reporter, reported) = Reporter::channel();
        let hello = watch::Sender::new(Hello::of_member("node1", 1)).subscribe();
        (Receiver { disk, hello, reporter, turn: Arc::new(Semaphore::new(1)), stall_max: STALL_MAX }, reported)
    }

    fn pieces(pieces: Vec<Bytes>) -> impl Stream<Item = Result<Bytes, warp::Error>> + Send {
        stream::iter(pieces.into_iter().map(Ok))
    }

    /// Returns the receiver's answer to a transfer that goes wrong.
    async fn refusal(receiver: &Receiver, body: impl Stream<Item = Result<Bytes, warp::Error>> + Send) -> String {
        let turn = Arc::clone(&receiver.turn).try_acquire_owned().expect("its turn");
        let began = Instant::now();
        let why = receiver.receive("node1", 1, body, turn).await.unwrap_err();
        assert!(began.elapsed() >= STALL_MAX / 2, "{why} {:?}", began.elapsed());
        why
    }

    #[tokio::test]
    async fn a_sender_that_falls_silent_is_given_up_and_makes_room_for_another() {
        let (receiver, _reported) = receiver(Arc::new(MemoryDisk::new()));
        let body = pieces(vec![Bytes::from_static(b"KVD")]).chain(stream::pending());
        assert_eq!(refusal(&receiver, body).await, "no data arrived for 0.1 s");
        let _next = timeout(Duration::from_secs(10), receiver.turn.acquire()).await.expect("the writer has ended");
    }

    #[tokio::test]
    async fn a_disk_that_hangs_is_given_up_and_keeps_the_turn_until_it_answers() {
        let released = Arc::<(Mutex<bool>, Condvar)>::default();
        let (receiver, mut reported) =
            receiver(Arc::new(HungDisk { disk: MemoryDisk::new(), released: Arc::clone(&released) }));
        let whole = crate::server::snapshots::testing::snapshot(5, 4 * PIECES_QUEUED_MAX as u64);
        for body in [
            // More than waits for the disk.
            whole.chunks(whole.len() / (3 * PIECES_QUEUED_MAX)).map(Bytes::copy_from_slice).collect(),
            vec![Bytes::from(whole.clone())],
        ] {
            *released.0.lock().unwrap() = false;
            assert_eq!(refusal(&receiver, pieces(body)).await, "this node's disk has not completed a write for 0.1 s");
            assert!(receiver.turn.try_acquire().is_err(), "another one would hang as well");
            *released.0.lock().unwrap() = true;
            released.1.notify_all();
            let _next = timeout(Duration::from_secs(10), receiver.turn.acquire()).await.expect("the writer has ended");
        }
        assert!(reported.try_recv().is_err(), "no disk has failed, and nothing is installed that was given up");
    }

    #[tokio::test]
    async fn the_sender_gets_signs_of_life_while_the_work_goes_on() {
        let (parts_in, mut parts) = mpsc::channel(1);
        let (end, ends) = oneshot::channel();
        let working = tokio::spawn(async move { with_signs_of_life(ends, &parts_in).await });
        for _ in 0..2 {
            assert_eq!(parts.recv().await.expect("a sign of life")[..], [SIGN_OF_LIFE]);
        }
        end.send(7).unwrap();
        assert_eq!(working.await.unwrap(), Ok(7));
    }
}
