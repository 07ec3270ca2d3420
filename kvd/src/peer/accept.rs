//! The streams of messages from peers: `GET /raft`, a WebSocket one way.
//!
//! A node that dials introduces itself. Only a node of the same cluster is accepted. Any other caller gets an error
//! and, if it introduced itself, this node's introduction, so that nodes that are still forming a cluster learn of each
//! other, and removed nodes learn of their removal. A frame that is not a message ends its connection and nothing else.
//! So does silence, since the node that dialled sends a ping every second.

use super::dialler::SILENCE_MAX;
use super::frame::{self, FRAME_BYTES_MAX, FrameError};
use super::hello::{HELLO_HEADER, Hello, SOUGHT_HEADER};
use super::inbound::{Inbound, InboundStream, NoStream};
use super::lane::{LANE_HEADER, Lane};
use super::log_once::LogOnce;
use super::sightings::Sighting;
use crate::raft::{Message, NodeId};
use futures_util::{SinkExt, StreamExt};
use kvclient::api::{Applied, ErrorBody, ErrorCode, ErrorReply, hex_id};
use std::error::Error as _;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use thiserror::Error;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tracing::{Instrument, Span};
use warp::filters::BoxedFilter;
use warp::http::{HeaderValue, StatusCode};
use warp::reply::{Reply, Response};
use warp::ws::{Message as WsMessage, WebSocket, Ws};
use warp::{Filter, Rejection};

/// Each reason to refuse a peer is logged once; this many different reasons are remembered.
const REFUSALS_LOGGED_MAX: usize = 64;

/// Time to tell a peer why its stream is closed.
const FAREWELL_TIME_MAX: Duration = Duration::from_secs(1);

/// Longest reason in a close frame: WebSocket has room for 123 bytes.
const FAREWELL_CHARS_MAX: usize = 100;

/// Close status after a violation of the protocol (RFC 6455 §7.4.1).
const CLOSE_PROTOCOL_ERROR: u16 = 1002;

/// Events from peers.
#[derive(Debug)]
pub enum PeerEvent {
    /// A node introduced itself by dialling this one.
    Met(Box<Hello>),
    /// A message from a member of this cluster.
    Message(NodeId, Message),
}

/// The route `GET /raft`.
///
/// `hello` is the introduction of this node. A connection is accepted under the cluster id in it at that moment, and
/// ends when the id changes. Open streams are recorded in `inbound`. Events go to `events`; a full channel slows the
/// sending peer down, through its connection.
pub fn accept(
    hello: watch::Receiver<Hello>,
    inbound: Inbound,
    events: mpsc::Sender<PeerEvent>,
) -> BoxedFilter<(Response,)> {
    let acceptor =
        Arc::new(Acceptor { hello, inbound, events, refusals: Mutex::new(LogOnce::new(REFUSALS_LOGGED_MAX)) });
    warp::path!("raft")
        .and(warp::get())
        .and(warp::header::optional::<String>(HELLO_HEADER))
        .and(warp::header::optional::<String>(SOUGHT_HEADER))
        .and(warp::header::optional::<String>(LANE_HEADER))
        .and(warp::ext::optional::<SocketAddr>())
        .and(warp::ws().map(Some).or_else(|_: Rejection| async { Ok::<_, Rejection>((None,)) }))
        .map(
            move |theirs: Option<String>,
                  sought: Option<String>,
                  lane: Option<String>,
                  from: Option<SocketAddr>,
                  ws: Option<Ws>| {
                let lane = Lane::from_header(lane.as_deref());
                acceptor.answer(theirs.as_deref(), sought.as_deref(), lane, from, ws)
            },
        )
        .boxed()
}

struct Acceptor {
    hello: watch::Receiver<Hello>,
    inbound: Inbound,
    events: mpsc::Sender<PeerEvent>,
    /// Refusals that were already logged.
    refusals: Mutex<LogOnce<String>>,
}

impl Acceptor {
    fn answer(
        self: &Arc<Self>,
        theirs: Option<&str>,
        sought: Option<&str>,
        lane: Option<Lane>,
        from: Option<SocketAddr>,
        ws: Option<Ws>,
    ) -> Response {
        let ours = self.hello.borrow().clone();
        let theirs = match introduced(theirs) {
            Ok(theirs) => theirs,
            Err(silent @ Unintroduced::Silent) => {
                return refuse(ErrorCode::InvalidRequest, StatusCode::BAD_REQUEST, silent.to_string());
            }
            Err(Unintroduced::Malformed(why)) => {
                self.log_once(&why);
                // This node's introduction may tell the peer what differs, such as the protocol.
                return introduce(&ours, refuse(ErrorCode::InvalidRequest, StatusCode::BAD_REQUEST, why));
            }
        };
        if theirs.node == ours.node {
            let why = format!("{} ({}) uses the id of this node", theirs.name, theirs.peer_url);
            self.log_once(&why);
            return introduce(&ours, refuse(ErrorCode::InvalidRequest, StatusCode::BAD_REQUEST, why));
        }
        let is_sought = sought.is_none_or(|sought| sought == ours.node_id().to_string());
        let response = match (ours.cluster, theirs.cluster, ws) {
            _ if lane.is_none() => {
                let why = format!("{LANE_HEADER} is `prompt` or `bulk`");
                refuse(ErrorCode::InvalidRequest, StatusCode::BAD_REQUEST, why)
            }
            (Some(our_cluster), Some(their_cluster), _) if our_cluster != their_cluster => {
                let why = format!(
                    "{} ({}) belongs to cluster {}, this node to {}",
                    theirs.name,
                    theirs.peer_url,
                    hex_id(their_cluster),
                    hex_id(our_cluster)
                );
                self.log_once(&why);
                refuse(ErrorCode::WrongCluster, StatusCode::FORBIDDEN, why)
            }
            // Otherwise a node that seeks an earlier incarnation of this node would take over the stream of the node
            // that sends to the present one.
            _ if !is_sought => {
                let why = format!("the node there is {} with another id", ours.name);
                refuse(ErrorCode::InvalidRequest, StatusCode::BAD_REQUEST, why)
            }
            (Some(_), Some(_), Some(ws)) => match self.inbound.open(theirs.node_id(), lane.unwrap_or(Lane::Prompt)) {
                Ok(stream) => return introduce(&ours, self.accept(theirs, from, stream, ws)),
                Err(NoStream::Removed) => {
                    let why = format!("{} is no longer a member of this cluster", theirs.name);
                    return introduce(&ours, refuse(ErrorCode::Removed, StatusCode::FORBIDDEN, why));
                }
                Err(NoStream::TooMany) => {
                    let why = "more nodes connect to this one than a cluster can have".to_owned();
                    self.log_once(&why);
                    refuse(ErrorCode::Overloaded, StatusCode::TOO_MANY_REQUESTS, why)
                }
            },
            (_, _, None) => {
                let why = "this endpoint only accepts WebSocket connections".to_owned();
                refuse(ErrorCode::InvalidRequest, StatusCode::BAD_REQUEST, why)
            }
            (None, _, _) | (_, None, _) => {
                let why = "one of the two nodes is not part of a cluster yet".to_owned();
                refuse(ErrorCode::NoLeader, StatusCode::SERVICE_UNAVAILABLE, why)
            }
        };
        // If the replica is busy, it learns of the peer at the next attempt.
        let _ = self.events.try_send(PeerEvent::Met(Box::new(theirs)));
        introduce(&ours, response)
    }

    fn accept(self: &Arc<Self>, theirs: Hello, from: Option<SocketAddr>, stream: InboundStream, ws: Ws) -> Response {
        let this = Arc::clone(self);
        let address = match from {
            Some(from) => format!("connects from {} and gives its URL as {}", from.ip(), theirs.peer_url),
            None => format!("gives its URL as {}", theirs.peer_url),
        };
        let (node, name, incarnation) = (theirs.node_id(), theirs.name.clone(), theirs.incarnation);
        let sighting = Sighting { node, name, incarnation, since: Instant::now(), address };
        // warp runs this as a task of its own.
        let span = Span::current();
        let receive =
            move |socket| async move { this.receive(theirs, sighting, stream, socket).await }.instrument(span);
        ws.max_message_size(FRAME_BYTES_MAX).max_frame_size(FRAME_BYTES_MAX).on_upgrade(receive).into_response()
    }

    /// Passes on messages until the connection ends.
    async fn receive(&self, theirs: Hello, sighting: Sighting, stream: InboundStream, mut socket: WebSocket) {
        let (from, name) = (theirs.node_id(), theirs.name.clone());
        if self.events.send(PeerEvent::Met(Box::new(theirs))).await.is_err() {
            return;
        }
        let mut hello = self.hello.clone();
        hello.mark_unchanged();
        // Kept until something arrives that was sent after this node's answer.
        let mut sighting = Some(sighting);
        loop {
            let received = tokio::select! {
                received = timeout(SILENCE_MAX, socket.next()) => received,
                () = stream.ended() => break,
                _ = hello.changed() => break,
            };
            let received = match received {
                Ok(Some(Ok(received))) => received,
                Ok(Some(Err(cause))) if is_mere_end(&cause) => {
                    tracing::debug!("connection from {name} broke: {cause}");
                    break;
                }
                Ok(Some(Err(cause))) => {
                    self.close(&name, socket, &cause.to_string()).await;
                    break;
                }
                Ok(None) => break,
                Err(_) => {
                    tracing::debug!("closed the silent connection from {name}");
                    break;
                }
            };
            if let Some(sighting) = sighting.take() {
                self.inbound.saw(sighting);
            }
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
                    self.close(&name, socket, &cause.to_string()).await;
                    break;
                }
            }
        }
    }

    /// Closes a stream on which something arrived that is not a message. Logs the reason and tells it to the peer.
    async fn close(&self, name: &str, mut socket: WebSocket, why: &str) {
        self.log_once(&format!("closed the connection from {name}, which sent an invalid message: {why}"));
        let reason: String = why.chars().take(FAREWELL_CHARS_MAX).collect();
        // A peer that does not read it loses only the reason.
        let _ = timeout(FAREWELL_TIME_MAX, socket.send(WsMessage::close_with(CLOSE_PROTOCOL_ERROR, reason))).await;
    }

    fn log_once(&self, what: &str) {
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        if refusals.is_due(what.to_owned()) {
            tracing::warn!("{what}");
        }
    }
}

/// Returns whether a connection broke in the way that the end of a process breaks it, and not because of its content.
fn is_mere_end(cause: &warp::Error) -> bool {
    let mut source = cause.source();
    while let Some(cause) = source {
        if cause.is::<io::Error>() {
            return true;
        }
        source = cause.source();
    }
    // One of the errors of warp's WebSocket, whose type is not accessible.
    cause.to_string().contains("without closing handshake")
}

/// Adds this node's introduction to an answer.
fn introduce(ours: &Hello, mut response: Response) -> Response {
    if let Ok(header) = HeaderValue::from_str(&ours.to_header()) {
        response.headers_mut().insert(HELLO_HEADER, header);
    }
    response
}

/// Reason why the sender of a request is unknown; the message is for the sender.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Unintroduced {
    /// The request has no introduction.
    #[error("only kvd nodes may connect here; they introduce themselves with the header {HELLO_HEADER}")]
    Silent,
    /// The introduction is invalid.
    #[error("{0}")]
    Malformed(String),
}

/// Returns the node that introduces itself by this header.
///
/// # Errors
/// [`Unintroduced`].
pub fn introduced(header: Option<&str>) -> Result<Hello, Unintroduced> {
    Hello::from_header(header.ok_or(Unintroduced::Silent)?).map_err(Unintroduced::Malformed)
}

/// Returns the node that introduces itself to `ours` by this header, and the cluster that both belong to.
///
/// # Errors
/// The refusal, if the header has no valid introduction, or the two nodes are not of one cluster.
pub fn of_same_cluster(ours: &Hello, header: Option<&str>) -> Result<(Hello, u64), Box<Response>> {
    let theirs = introduced(header)
        .map_err(|why| Box::new(refuse(ErrorCode::InvalidRequest, StatusCode::BAD_REQUEST, why.to_string())))?;
    match ours.cluster.filter(|_| ours.cluster == theirs.cluster) {
        Some(cluster) => Ok((theirs, cluster)),
        None => {
            let why = "the two nodes belong to different clusters".to_owned();
            Err(Box::new(refuse(ErrorCode::WrongCluster, StatusCode::FORBIDDEN, why)))
        }
    }
}

/// Returns the answer to a refused node.
pub fn refuse(code: ErrorCode, status: StatusCode, message: String) -> Response {
    let error = ErrorBody::new(code, message, Applied::No);
    warp::reply::with_status(warp::reply::json(&ErrorReply { error }), status).into_response()
}
