//! The streams of messages from peers: `GET /raft`, a WebSocket one way.
//!
//! Whoever dials introduces itself. Only a node of this very cluster is accepted; anyone else gets an
//! error and, if it introduced itself, our own introduction, so that nodes which are still forming a
//! cluster learn of each other. A frame that is no message ends its connection and nothing else.

use super::frame::{self, FrameError};
use super::hello::{HELLO_HEADER, Hello};
use crate::raft::{Message, NodeId};
use futures_util::StreamExt;
use kvclient::api::{Applied, ErrorBody, ErrorCode, ErrorReply};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{mpsc, watch};
use warp::filters::BoxedFilter;
use warp::http::{HeaderValue, StatusCode};
use warp::reply::{Reply, Response};
use warp::ws::{WebSocket, Ws};
use warp::{Filter, Rejection};

/// Largest frame accepted. An AppendEntries is far smaller unless a single entry is larger.
pub const FRAME_BYTES_MAX: usize = 32 << 20;

/// A reason to refuse a peer is logged once for each; this many different ones are remembered.
const REFUSALS_LOGGED_MAX: usize = 64;

/// What arrives from peers.
#[derive(Debug)]
pub enum PeerEvent {
    /// A node introduced itself by dialling this one.
    Met(Box<Hello>),
    /// A message from a member of this cluster.
    Message(NodeId, Message),
}

/// The route `GET /raft`.
///
/// `hello` is this node as it introduces itself; a connection is accepted under the cluster id it
/// has at that moment, and ends when it changes. Events go to `events`; a full channel holds back the
/// peer that sends, by its connection.
pub fn accept(hello: watch::Receiver<Hello>, events: mpsc::Sender<PeerEvent>) -> BoxedFilter<(Response,)> {
    let acceptor = Arc::new(Acceptor { hello, events, refusals: Mutex::default() });
    warp::path!("raft")
        .and(warp::get())
        .and(warp::header::optional::<String>(HELLO_HEADER))
        .and(warp::ws().map(Some).or_else(|_: Rejection| async { Ok::<_, Rejection>((None,)) }))
        .map(move |theirs: Option<String>, ws: Option<Ws>| acceptor.answer(theirs.as_deref(), ws))
        .boxed()
}

struct Acceptor {
    hello: watch::Receiver<Hello>,
    events: mpsc::Sender<PeerEvent>,
    /// Refusals that were logged already.
    refusals: Mutex<BTreeSet<String>>,
}

impl Acceptor {
    fn answer(self: &Arc<Self>, theirs: Option<&str>, ws: Option<Ws>) -> Response {
        let ours = self.hello.borrow().clone();
        let Some(theirs) = theirs else {
            let why = format!("only kvd nodes may connect here, and introduce themselves by the header {HELLO_HEADER}");
            return refuse(ErrorCode::InvalidRequest, StatusCode::BAD_REQUEST, why);
        };
        let theirs = match Hello::from_header(theirs) {
            Ok(theirs) => theirs,
            Err(why) => {
                self.log_once(&why);
                return refuse(ErrorCode::InvalidRequest, StatusCode::BAD_REQUEST, why);
            }
        };
        let mut response = match (ours.cluster, theirs.cluster, ws) {
            (Some(our_cluster), Some(their_cluster), _) if our_cluster != their_cluster => {
                let why = format!(
                    "{} ({}) belongs to cluster {their_cluster:016x}, this node to {our_cluster:016x}",
                    theirs.name, theirs.peer_url
                );
                self.log_once(&why);
                refuse(ErrorCode::WrongCluster, StatusCode::FORBIDDEN, why)
            }
            (Some(_), Some(_), Some(ws)) => self.accept(&theirs, ws),
            (_, _, None) => {
                let why = "this path speaks WebSocket only".to_owned();
                refuse(ErrorCode::InvalidRequest, StatusCode::BAD_REQUEST, why)
            }
            (None, _, _) | (_, None, _) => {
                let why = "the cluster is not formed yet".to_owned();
                refuse(ErrorCode::NoLeader, StatusCode::SERVICE_UNAVAILABLE, why)
            }
        };
        if let Ok(header) = HeaderValue::from_str(&ours.to_header()) {
            response.headers_mut().insert(HELLO_HEADER, header);
        }
        // If the replica is busy it meets this node at the next attempt.
        let _ = self.events.try_send(PeerEvent::Met(Box::new(theirs)));
        response
    }

    fn accept(self: &Arc<Self>, theirs: &Hello, ws: Ws) -> Response {
        let this = Arc::clone(self);
        let (from, name) = (theirs.node_id(), theirs.name.clone());
        ws.max_message_size(FRAME_BYTES_MAX)
            .max_frame_size(FRAME_BYTES_MAX)
            .on_upgrade(move |socket| async move { this.receive(from, &name, socket).await })
            .into_response()
    }

    /// Hands on messages until the connection ends.
    async fn receive(&self, from: NodeId, name: &str, mut socket: WebSocket) {
        let mut hello = self.hello.clone();
        hello.mark_unchanged();
        loop {
            let received = tokio::select! {
                received = socket.next() => received,
                _ = hello.changed() => break,
            };
            let received = match received {
                Some(Ok(received)) => received,
                Some(Err(cause)) => {
                    // As happens whenever a process ends.
                    tracing::debug!("connection from {name} broke: {cause}");
                    break;
                }
                None => break,
            };
            if received.is_ping() || received.is_pong() {
                continue;
            }
            if received.is_close() {
                break;
            }
            let decoded = match received.is_binary() {
                true => frame::decode(received.as_bytes()),
                false => Err(FrameError::Text),
            };
            match decoded {
                Ok(message) => {
                    if self.events.send(PeerEvent::Message(from, message)).await.is_err() {
                        break;
                    }
                }
                Err(cause) => {
                    self.log_once(&format!("connection from {name} closed, for it sent no message: {cause}"));
                    break;
                }
            }
        }
    }

    fn log_once(&self, what: &str) {
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        if refusals.len() < REFUSALS_LOGGED_MAX && refusals.insert(what.to_owned()) {
            tracing::warn!("{what}");
        }
    }
}

fn refuse(code: ErrorCode, status: StatusCode, message: String) -> Response {
    let error = ErrorBody { code, message, applied: Applied::No, leader: None, current: None };
    warp::reply::with_status(warp::reply::json(&ErrorReply { error }), status).into_response()
}
