//! The stream of messages to one peer: dials, keeps dialling, and tells what it finds.
//!
//! One task per peer. While connected it sends what is queued; what cannot be sent is dropped, since
//! consensus repeats what matters. When a connection ends that has lasted it dials again at once, and only
//! if that is refused, and nothing arrives from the peer either, does it report the peer as lost: then the
//! process at the other end is gone, and not merely a connection.
//!
//! A peer that cannot be reached for a while is worth one warning, with the reason, and one line when it
//! is back.

use super::frame;
use super::hello::{HELLO_HEADER, Hello, SOUGHT_HEADER};
use super::inbound::Inbound;
use crate::raft::{Message, NodeId};
use futures_util::{SinkExt, StreamExt};
use kvclient::api::{ErrorCode, ErrorReply};
use rand::RngExt;
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::http::{HeaderMap, HeaderValue, Response};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{self, Message as WsMessage};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};
use tracing::Instrument;

/// Messages queued for one peer. The window of consensus is smaller, so only a peer that takes
/// nothing fills it.
const QUEUE_MESSAGES_MAX: usize = 512;

/// Time for a connection to be made and accepted.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// A peer is asked for a sign of life this often; one that owes it for [`SILENCE_MAX`] is dialled
/// anew, so that a connection which died without a word is not mistaken for a slow one.
const PING_INTERVAL: Duration = Duration::from_secs(1);
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(5);

/// Pause between attempts: doubled from the first to the last, with jitter.
const BACKOFF_MIN: Duration = Duration::from_millis(20);
const BACKOFF_MAX: Duration = Duration::from_millis(500);

/// A connection that lasted this long was a good one: when it ends, the pauses begin anew, with none.
const GOOD_CONNECTION_MIN: Duration = Duration::from_secs(1);

/// An attempt under way for this long is given up for a new one when the peer shows signs of life: it may
/// wait for an answer to a packet that was sent before the peer was there.
const DIAL_UNDISTURBED: Duration = Duration::from_millis(100);

/// A peer that cannot be reached for this long is warned about.
const UNREACHABLE_WARNED_AFTER: Duration = Duration::from_secs(5);

/// A reason to end a stream is logged once for each; this many different ones are remembered.
const REASONS_LOGGED_MAX: usize = 16;

/// What a link finds out about its peer.
#[derive(Debug)]
pub enum LinkEvent {
    /// The peer introduced itself, whether it accepted the connection or not.
    Met(Box<Hello>),
    /// The connection is refused and the peer sends nothing either: its process is gone. Reported again with
    /// every attempt that finds it so.
    Lost,
    /// An attempt to connect found nobody to talk to; why, as a part of a sentence.
    Failed(String),
    /// The peer says that this node is a member of their cluster no more. Reported again with every attempt.
    Removed,
}

/// The sending end of a stream of messages to one peer. Dropping it ends the stream.
#[derive(Debug)]
pub struct Link {
    peer_url: String,
    queue: mpsc::Sender<Message>,
    connected: Arc<AtomicBool>,
    redial: Arc<Notify>,
    task: tokio::task::JoinHandle<()>,
}

/// Whom to dial and how to introduce oneself.
#[derive(Debug)]
pub struct LinkOptions {
    /// What the peer is called.
    pub peer_name: String,
    /// Where the peer is dialled, without a path.
    pub peer_url: String,
    /// The id it must have to be sent messages; any, as long as that is not known.
    pub peer_id: Option<NodeId>,
    /// This node. A link made before the node was part of a cluster carries no messages.
    pub hello: watch::Receiver<Hello>,
    /// The streams that peers have open to this node.
    pub inbound: Inbound,
}

impl Link {
    /// Starts to dial. Events go to `report`, which must be quick.
    pub fn open(options: LinkOptions, report: impl Fn(LinkEvent) + Send + Sync + 'static) -> Self {
        let (queue, queued) = mpsc::channel(QUEUE_MESSAGES_MAX);
        let connected = Arc::new(AtomicBool::new(false));
        let redial = Arc::new(Notify::new());
        let peer_url = options.peer_url.clone();
        let dialler = Dialler {
            options,
            queued,
            connected: Arc::clone(&connected),
            redial: Arc::clone(&redial),
            report: Box::new(report),
            reachability: Reachability::default(),
            logged: BTreeSet::new(),
        };
        Self { peer_url, queue, connected, redial, task: tokio::spawn(dialler.run().in_current_span()) }
    }

    /// Where the peer is dialled.
    pub fn peer_url(&self) -> &str {
        &self.peer_url
    }

    /// Queues a message if the peer is connected and keeps up; else drops it.
    pub fn send(&self, message: Message) {
        if self.connected.load(Ordering::Relaxed) {
            // A full queue drops the message like a lossy network would.
            let _ = self.queue.try_send(message);
        }
    }

    /// The peer shows signs of life: dials at once instead of waiting out a pause or an old attempt.
    pub fn redial(&self) {
        if !self.connected.load(Ordering::Relaxed) {
            self.redial.notify_one();
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

struct Dialler {
    options: LinkOptions,
    queued: mpsc::Receiver<Message>,
    connected: Arc<AtomicBool>,
    redial: Arc<Notify>,
    report: Box<dyn Fn(LinkEvent) + Send + Sync>,
    reachability: Reachability,
    /// Reasons for the end of a stream that were logged already.
    logged: BTreeSet<String>,
}

/// How an attempt to connect ended.
enum Dialled {
    Accepted(Box<Socket>, Box<Hello>),
    /// The peer answered that it will not take this connection, and why.
    Declined(Box<Hello>, Refusal),
    /// Nothing listens there.
    NobodyThere,
    /// Nobody to talk to, and why.
    Failed(String),
    /// Given up for another attempt.
    Overtaken,
}

impl Dialler {
    async fn run(mut self) {
        // After attempts that failed, and after connections that did not last: a peer that was down for long
        // and dies again soon after is to be missed at once.
        let (mut dials, mut flaps) = (Backoff::default(), Backoff::default());
        loop {
            let mut refused = false;
            let mut pauses = &mut dials;
            match self.attempt().await {
                Dialled::Accepted(socket, hello) => {
                    let expected = self.options.peer_id.is_none_or(|id| id == hello.node_id());
                    let found = format!("the node there is {} with another id", hello.name);
                    (self.report)(LinkEvent::Met(hello));
                    if expected {
                        self.reachability.reached(&self.options);
                        let connected = Instant::now();
                        self.pump(*socket).await;
                        dials = Backoff::default();
                        if connected.elapsed() >= GOOD_CONNECTION_MIN {
                            flaps = Backoff::default();
                            continue;
                        }
                        pauses = &mut flaps;
                    } else {
                        self.reachability.missed(&self.options, &found);
                    }
                }
                Dialled::Declined(hello, Refusal { code, why }) => {
                    let is_sought = self.options.peer_id.is_none_or(|id| id == hello.node_id());
                    let is_of_own_cluster = hello.cluster.is_some() && hello.cluster == self.own_cluster();
                    (self.report)(LinkEvent::Met(hello));
                    if code == ErrorCode::Removed && is_sought && is_of_own_cluster {
                        (self.report)(LinkEvent::Removed);
                    }
                    // Another life of the peer listens in its place: the one that is sought is gone.
                    refused = !is_sought;
                    self.reachability.missed(&self.options, &why);
                }
                Dialled::NobodyThere => {
                    refused = true;
                    self.failed("connection refused");
                }
                Dialled::Failed(why) => self.failed(&why),
                Dialled::Overtaken => continue,
            }
            let pause = sleep(pauses.next());
            tokio::select! {
                biased;
                () = self.lost(), if refused => {}
                () = pause => {}
                () = self.redial.notified() => {}
            }
        }
    }

    /// After a refused attempt: reports the peer as lost as soon as it has no stream open to this node. A
    /// leader that refuses to be dialled and still sends is not gone, and when its process ends, this may
    /// learn of it before the end of its stream is noticed. Never completes, so that the pause goes on.
    async fn lost(&self) {
        if let Some(id) = self.options.peer_id {
            self.options.inbound.closed(id).await;
            (self.report)(LinkEvent::Lost);
        }
        std::future::pending().await
    }

    /// The cluster that this node is part of.
    fn own_cluster(&self) -> Option<u64> {
        self.options.hello.borrow().cluster
    }

    fn failed(&mut self, why: &str) {
        (self.report)(LinkEvent::Failed(format!("{why} at {}", self.options.peer_url)));
        self.reachability.missed(&self.options, why);
    }

    /// Dials, within limits.
    async fn attempt(&self) -> Dialled {
        let overtaken = async {
            sleep(DIAL_UNDISTURBED).await;
            self.redial.notified().await;
        };
        tokio::select! {
            biased;
            dialled = timeout(CONNECT_TIMEOUT, self.dial()) => {
                let why = || Dialled::Failed(format!("no answer within {CONNECT_TIMEOUT:?}"));
                dialled.unwrap_or_else(|_| why())
            }
            () = overtaken => Dialled::Overtaken,
        }
    }

    async fn dial(&self) -> Dialled {
        let url = format!("{}/raft", self.options.peer_url.replacen("http", "ws", 1));
        let header = HeaderValue::from_str(&self.options.hello.borrow().to_header());
        let (Ok(mut request), Ok(header)) = (url.into_client_request(), header) else {
            return Dialled::Failed("nothing to dial".into());
        };
        request.headers_mut().insert(HELLO_HEADER, header);
        if let Some(Ok(sought)) = self.options.peer_id.map(|id| HeaderValue::from_str(&id.to_string())) {
            request.headers_mut().insert(SOUGHT_HEADER, sought);
        }
        let config = WebSocketConfig::default().write_buffer_size(0);
        match tokio_tungstenite::connect_async_with_config(request, Some(config), true).await {
            Ok((socket, response)) => match hello_in(response.headers()) {
                Ok(hello) => Dialled::Accepted(Box::new(socket), hello),
                Err(why) => Dialled::Failed(why),
            },
            Err(tungstenite::Error::Http(response)) => match hello_in(response.headers()) {
                Ok(hello) => Dialled::Declined(hello, Refusal::read(&response)),
                Err(why) => Dialled::Failed(format!("{why} (HTTP status {})", response.status())),
            },
            Err(tungstenite::Error::Io(cause)) if cause.kind() == ErrorKind::ConnectionRefused => Dialled::NobodyThere,
            Err(cause) => Dialled::Failed(cause.to_string()),
        }
    }

    /// Sends what is queued until the connection ends.
    async fn pump(&mut self, mut socket: Socket) {
        while self.queued.try_recv().is_ok() {
            // Left from an earlier connection, hence out of date.
        }
        self.connected.store(true, Ordering::Relaxed);
        let mut pings = interval(PING_INTERVAL);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard = Instant::now();
        loop {
            tokio::select! {
                // Signs of life that have arrived are read before silence is judged.
                biased;
                received = socket.next() => match received {
                    Some(Ok(WsMessage::Close(reason))) => {
                        if let Some(reason) = reason.filter(|reason| reason.code != CloseCode::Normal) {
                            self.log_once(&format!("it refuses what it was sent: {}", reason.reason));
                        }
                        break;
                    }
                    // Only signs of life arrive on this side.
                    Some(Ok(_)) => heard = Instant::now(),
                    Some(Err(cause)) => {
                        self.broke(&cause);
                        break;
                    }
                    None => break,
                },
                _ = pings.tick() => {
                    let ping = socket.send(WsMessage::Ping(bytes::Bytes::new()));
                    let sent = timeout(SILENCE_MAX, ping).await.is_ok_and(|sent| sent.is_ok());
                    if heard.elapsed() > SILENCE_MAX || !sent {
                        break;
                    }
                }
                message = self.queued.recv() => {
                    let Some(message) = message else { break };
                    if self.send_queued(&mut socket, message).await.is_err() {
                        break;
                    }
                }
            }
        }
        self.connected.store(false, Ordering::Relaxed);
    }

    /// Sends one message and whatever else is queued by then, with one flush. A peer that takes
    /// nothing for [`SILENCE_MAX`] is given up.
    async fn send_queued(&mut self, socket: &mut Socket, message: Message) -> Result<(), ()> {
        let sending = async {
            socket.feed(WsMessage::Binary(frame::encode(&message))).await?;
            while let Ok(message) = self.queued.try_recv() {
                socket.feed(WsMessage::Binary(frame::encode(&message))).await?;
            }
            socket.flush().await
        };
        match timeout(SILENCE_MAX, sending).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(cause)) => {
                self.broke(&cause);
                Err(())
            }
            Err(_) => Err(()),
        }
    }

    /// A stream broke: worth a warning unless it was as whenever a process ends.
    fn broke(&mut self, cause: &tungstenite::Error) {
        use tungstenite::Error::{AlreadyClosed, ConnectionClosed, Io, Protocol};
        match cause {
            Io(_) | ConnectionClosed | AlreadyClosed => {}
            Protocol(ProtocolError::ResetWithoutClosingHandshake | ProtocolError::SendAfterClosing) => {}
            _ => self.log_once(&cause.to_string()),
        }
    }

    fn log_once(&mut self, why: &str) {
        if self.logged.len() < REASONS_LOGGED_MAX && self.logged.insert(why.to_owned()) {
            tracing::warn!("the stream to {} ended: {why}", self.options.peer_name);
        }
    }
}

/// Pauses that double, with jitter.
#[derive(Debug, Default)]
struct Backoff {
    last: Option<Duration>,
}

impl Backoff {
    fn next(&mut self) -> Duration {
        let next = self.last.map_or(BACKOFF_MIN, |last| (last * 2).min(BACKOFF_MAX));
        self.last = Some(next);
        next.mul_f64(rand::rng().random_range(0.5..=1.0))
    }
}

/// Tells once that a member cannot be reached, and once that it can be again.
#[derive(Debug, Default)]
struct Reachability {
    missed_since: Option<Instant>,
    warned: bool,
}

impl Reachability {
    fn missed(&mut self, options: &LinkOptions, why: &str) {
        let since = *self.missed_since.get_or_insert_with(Instant::now);
        // Of a node that is not a member yet, whoever waits for it tells.
        if options.peer_id.is_some() && !self.warned && since.elapsed() >= UNREACHABLE_WARNED_AFTER {
            self.warned = true;
            tracing::warn!("cannot reach {} at {}: {why}", options.peer_name, options.peer_url);
        }
    }

    fn reached(&mut self, options: &LinkOptions) {
        self.missed_since = None;
        if std::mem::take(&mut self.warned) {
            tracing::info!("reaches {} again", options.peer_name);
        }
    }
}

fn hello_in(headers: &HeaderMap) -> Result<Box<Hello>, String> {
    let header = headers.get(HELLO_HEADER).and_then(|header| header.to_str().ok());
    Hello::from_header(header.ok_or("what listens is no kvd node")?).map(Box::new)
}

/// Why a node declined, in its own words.
struct Refusal {
    code: ErrorCode,
    why: String,
}

impl Refusal {
    fn read(response: &Response<Option<Vec<u8>>>) -> Self {
        let body = response.body().as_deref().unwrap_or_default();
        match serde_json::from_slice::<ErrorReply>(body) {
            Ok(ErrorReply { error }) => Self { code: error.code, why: error.message },
            Err(_) => Self { code: ErrorCode::Unknown, why: format!("HTTP status {}", response.status()) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::{PROTOCOL_VERSION, PROTOCOL_VERSION_MIN};
    use tokio::net::TcpSocket;

    const PEER: NodeId = NodeId(2);

    /// Longer than anything here takes, shorter than a test that hangs.
    const PATIENCE: Duration = Duration::from_secs(10);

    fn hello() -> Hello {
        Hello {
            protocol: PROTOCOL_VERSION,
            protocol_min: PROTOCOL_VERSION_MIN,
            version: "0.1.0".into(),
            name: "node1".into(),
            node: 1,
            client_url: "http://127.0.0.1:1".into(),
            peer_url: "http://127.0.0.1:1".into(),
            cluster: Some(7),
            founders: Vec::new(),
            remembers: None,
            expects_data: false,
        }
    }

    async fn next(events: &mut mpsc::UnboundedReceiver<LinkEvent>) -> LinkEvent {
        timeout(PATIENCE, events.recv()).await.expect("the link reports").expect("it goes on")
    }

    #[tokio::test]
    async fn a_peer_is_lost_when_it_refuses_and_is_silent_and_not_before() {
        // Bound and never listening: the port stays ours, and whoever dials it is refused.
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let peer_url = format!("http://{}", socket.local_addr().unwrap());
        let inbound = Inbound::default();
        let stream = inbound.open(PEER).unwrap();
        let (events, mut reported) = mpsc::unbounded_channel();
        let options = LinkOptions {
            peer_name: "node2".into(),
            peer_url: peer_url.clone(),
            peer_id: Some(PEER),
            hello: watch::Sender::new(hello()).subscribe(),
            inbound,
        };
        let _link = Link::open(options, move |event| drop(events.send(event)));
        for _ in 0..3 {
            let LinkEvent::Failed(why) = next(&mut reported).await else { panic!("lost while it still sends") };
            assert_eq!(why, format!("connection refused at {peer_url}"));
        }
        drop(stream);
        let mut lost = 0;
        while lost < 2 {
            lost += usize::from(matches!(next(&mut reported).await, LinkEvent::Lost));
        }
    }
}
