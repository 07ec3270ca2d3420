//! The stream of messages to one peer: dials, keeps dialling, and tells what it finds.
//!
//! One task per peer. While connected it sends what is queued; what cannot be sent is dropped, since
//! consensus repeats what matters. When a connection ends it dials again at once, and only if that is
//! refused does it report the peer as lost: then the process at the other end is gone, and not merely
//! a connection.

use super::frame;
use super::hello::{HELLO_HEADER, Hello};
use crate::raft::{Message, NodeId};
use futures_util::{SinkExt, StreamExt};
use rand::RngExt;
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderMap, HeaderValue};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message as WsMessage};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// Messages queued for one peer. The window of consensus is smaller, so only a peer that takes
/// nothing fills it.
const QUEUE_MESSAGES_MAX: usize = 512;

/// Time for a connection to be made and accepted.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// A peer is asked for a sign of life this often; one that owes it for [`SILENCE_MAX`] is dialled
/// anew, so that a connection which died without a word is not mistaken for a slow one.
const PING_INTERVAL: Duration = Duration::from_secs(1);
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// Pause between attempts: doubled from the first to the last, with jitter.
const BACKOFF_MIN: Duration = Duration::from_millis(20);
const BACKOFF_MAX: Duration = Duration::from_millis(500);

/// What a link finds out about its peer.
#[derive(Debug)]
pub enum LinkEvent {
    /// The peer introduced itself, whether it accepted the connection or not.
    Met(Box<Hello>),
    /// The connection is refused: nothing listens there any more.
    Lost,
}

/// The sending end of a stream of messages to one peer. Dropping it ends the stream.
#[derive(Debug)]
pub struct Link {
    queue: mpsc::Sender<Message>,
    connected: Arc<AtomicBool>,
    redial: Arc<Notify>,
    task: tokio::task::JoinHandle<()>,
}

/// Whom to dial and how to introduce oneself.
#[derive(Debug)]
pub struct LinkOptions {
    /// Where the peer is dialled, without a path.
    pub peer_url: String,
    /// The id it must have to be sent messages; any, as long as that is not known.
    pub peer_id: Option<NodeId>,
    /// This node. A link made before the node was part of a cluster carries no messages.
    pub hello: watch::Receiver<Hello>,
}

impl Link {
    /// Starts to dial. Events go to `report`, which must be quick.
    pub fn open(options: LinkOptions, report: impl Fn(LinkEvent) + Send + Sync + 'static) -> Self {
        let (queue, queued) = mpsc::channel(QUEUE_MESSAGES_MAX);
        let connected = Arc::new(AtomicBool::new(false));
        let redial = Arc::new(Notify::new());
        let dialler = Dialler {
            options,
            queued,
            connected: Arc::clone(&connected),
            redial: Arc::clone(&redial),
            report: Box::new(report),
        };
        Self { queue, connected, redial, task: tokio::spawn(dialler.run()) }
    }

    /// Queues a message if the peer is connected and keeps up; else drops it.
    pub fn send(&self, message: Message) {
        if self.connected.load(Ordering::Relaxed) {
            // A full queue drops the message like a lossy network would.
            let _ = self.queue.try_send(message);
        }
    }

    /// The peer shows signs of life: dials at once instead of waiting out a pause.
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
}

/// How an attempt to connect ended.
enum Dialled {
    Accepted(Box<Socket>, Box<Hello>),
    /// The peer answered that it will not take this connection.
    Declined(Option<Box<Hello>>),
    /// Nothing listens there.
    NobodyThere,
    Failed,
}

impl Dialler {
    async fn run(mut self) {
        let mut backoff = BACKOFF_MIN;
        loop {
            match timeout(CONNECT_TIMEOUT, self.dial()).await.unwrap_or(Dialled::Failed) {
                Dialled::Accepted(socket, hello) => {
                    let expected = self.options.peer_id.is_none_or(|id| id == hello.node_id());
                    (self.report)(LinkEvent::Met(hello));
                    if expected {
                        self.pump(*socket).await;
                        backoff = BACKOFF_MIN;
                        continue;
                    }
                }
                Dialled::Declined(hello) => {
                    if let Some(hello) = hello {
                        (self.report)(LinkEvent::Met(hello));
                    }
                }
                Dialled::NobodyThere => (self.report)(LinkEvent::Lost),
                Dialled::Failed => {}
            }
            let pause = backoff.mul_f64(rand::rng().random_range(0.5..=1.0));
            tokio::select! {
                () = sleep(pause) => {}
                () = self.redial.notified() => {}
            }
            backoff = (backoff * 2).min(BACKOFF_MAX);
        }
    }

    async fn dial(&self) -> Dialled {
        let url = format!("{}/raft", self.options.peer_url.replacen("http", "ws", 1));
        let header = HeaderValue::from_str(&self.options.hello.borrow().to_header());
        let (Ok(mut request), Ok(header)) = (url.into_client_request(), header) else { return Dialled::Failed };
        request.headers_mut().insert(HELLO_HEADER, header);
        let config = WebSocketConfig::default().write_buffer_size(0);
        match tokio_tungstenite::connect_async_with_config(request, Some(config), true).await {
            Ok((socket, response)) => match hello_in(response.headers()) {
                Some(hello) => Dialled::Accepted(Box::new(socket), hello),
                None => Dialled::Failed,
            },
            Err(tungstenite::Error::Http(response)) => Dialled::Declined(hello_in(response.headers())),
            Err(tungstenite::Error::Io(cause)) if cause.kind() == ErrorKind::ConnectionRefused => Dialled::NobodyThere,
            Err(_) => Dialled::Failed,
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
                message = self.queued.recv() => {
                    let Some(message) = message else { break };
                    if self.send_queued(&mut socket, message).await.is_err() {
                        break;
                    }
                }
                received = socket.next() => match received {
                    // Only signs of life arrive on this side.
                    Some(Ok(_)) => heard = Instant::now(),
                    Some(Err(_)) | None => break,
                },
                _ = pings.tick() => {
                    if heard.elapsed() > SILENCE_MAX || socket.send(WsMessage::Ping(bytes::Bytes::new())).await.is_err() {
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
            Ok(Err(_)) | Err(_) => Err(()),
        }
    }
}

fn hello_in(headers: &HeaderMap) -> Option<Box<Hello>> {
    let header = headers.get(HELLO_HEADER)?.to_str().ok()?;
    Hello::from_header(header).ok().map(Box::new)
}
