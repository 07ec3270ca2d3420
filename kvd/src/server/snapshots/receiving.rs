//! Receiving a snapshot: `POST /raft/snapshot`, of which every byte is checked and goes to disk on the way.
//!
//! One at a time: a leader sends one, and who else sends one at the same time is no longer the leader, or will be told so.
//! The node goes on all the while, and serves from its old state until the new one is complete.

use super::super::inbox::Event;
use crate::data::{ReceiveError, Received, Receiving};
use crate::peer::{HELLO_HEADER, Hello, of_same_cluster, refuse};
use crate::storage::Disk;
use bytes::{Buf, Bytes};
use futures_util::{Stream, StreamExt};
use kvclient::api::ErrorCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::time::timeout;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::{Reply, Response};

/// Pieces that wait to be written. A full queue holds back the sender, by its connection.
const PIECES_QUEUED_MAX: usize = 8;

/// A sender that sends nothing for this long is given up.
const SILENCE_MAX: Duration = Duration::from_secs(10);

struct Receiver {
    disk: Arc<dyn Disk>,
    hello: watch::Receiver<Hello>,
    events: UnboundedSender<Event>,
    /// Who receives one.
    turn: Semaphore,
}

/// The route `POST /raft/snapshot`. What arrives is told to `events`.
pub(in crate::server) fn route(
    disk: Arc<dyn Disk>,
    hello: watch::Receiver<Hello>,
    events: UnboundedSender<Event>,
) -> BoxedFilter<(Response,)> {
    let receiver = Arc::new(Receiver { disk, hello, events, turn: Semaphore::new(1) });
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
    async fn answer(
        &self,
        theirs: Option<&str>,
        body: impl Stream<Item = Result<impl Buf, warp::Error>> + Send,
    ) -> Response {
        let ours = self.hello.borrow().clone();
        let (theirs, cluster_id) = match of_same_cluster(&ours, theirs) {
            Ok(found) => found,
            Err(refusal) => return *refusal,
        };
        let Ok(_turn) = self.turn.try_acquire() else {
            let why = "this node receives another snapshot already".to_owned();
            return refuse(ErrorCode::Overloaded, StatusCode::TOO_MANY_REQUESTS, why);
        };
        tracing::info!("receives a snapshot from {}", theirs.name);
        match self.receive(cluster_id, body).await {
            Ok(response) => response,
            Err(why) => {
                tracing::warn!("the snapshot from {} is given up: {why}", theirs.name);
                refuse(ErrorCode::InvalidRequest, StatusCode::BAD_REQUEST, why)
            }
        }
    }

    async fn receive(
        &self,
        cluster_id: u64,
        body: impl Stream<Item = Result<impl Buf, warp::Error>> + Send,
    ) -> Result<Response, String> {
        let (pieces, queued) = mpsc::channel(PIECES_QUEUED_MAX);
        let disk = Arc::clone(&self.disk);
        let writing = tokio::task::spawn_blocking(move || write(Receiving::new(disk, cluster_id), queued));
        let forwarded = forward(body, pieces).await;
        let written = writing.await.map_err(|_| "a panic, reported above".to_owned())?;
        match written {
            Ok(received) => {
                // A sender that broke off has not sent a whole snapshot.
                forwarded?;
                self.install(received).await
            }
            Err(ReceiveError::Storage(cause)) if !cause.is_for_want_of_space() => {
                let why = cause.to_string();
                // Without a receiver the node has stopped.
                let _ = self.events.send(Event::DiskFailed(cause));
                Err(why)
            }
            // The sender's breaking off is why there was no more.
            Err(cause) => Err(forwarded.err().unwrap_or_else(|| cause.to_string())),
        }
    }

    async fn install(&self, received: Received) -> Result<Response, String> {
        let (installed, is_installed) = oneshot::channel();
        let stopping = || "this node stops".to_owned();
        self.events.send(Event::SnapshotReceived(Box::new(received), installed)).map_err(|_| stopping())?;
        let last = is_installed.await.map_err(|_| stopping())?;
        Ok(warp::reply::json(&serde_json::json!({ "last_log_index": last.0 })).into_response())
    }
}

/// Hands on what arrives, until the body ends or nobody takes it any more.
async fn forward(
    body: impl Stream<Item = Result<impl Buf, warp::Error>> + Send,
    pieces: mpsc::Sender<Bytes>,
) -> Result<(), String> {
    let mut body = std::pin::pin!(body);
    loop {
        let mut piece = match timeout(SILENCE_MAX, body.next()).await {
            Ok(Some(Ok(piece))) => piece,
            Ok(Some(Err(cause))) => return Err(format!("the connection broke: {cause}")),
            Ok(None) => return Ok(()),
            Err(_) => return Err(format!("nothing came for {} s", SILENCE_MAX.as_secs())),
        };
        let bytes = piece.copy_to_bytes(piece.remaining());
        if pieces.send(bytes).await.is_err() {
            // The writer has failed, and says why.
            return Ok(());
        }
    }
}

/// Checks and writes what arrives.
fn write(mut receiving: Receiving, mut queued: mpsc::Receiver<Bytes>) -> Result<Received, ReceiveError> {
    while let Some(piece) = queued.blocking_recv() {
        if let Err(cause) = receiving.feed(&piece) {
            receiving.abandon();
            return Err(cause);
        }
    }
    receiving.finish()
}
