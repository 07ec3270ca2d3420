//! One lane to one peer: dials, keeps dialling, sends queued messages, and reports events.
//!
//! There is one task per lane. Messages that cannot be sent are dropped, since consensus repeats what matters. After
//! the end of a connection that lasted, the task dials again at once.
//!
//! The prompt lane determines the state of the peer. It reports the peer as lost only if its next dial is refused and
//! nothing arrives from the peer either: then the process at the other end is gone, and not merely a connection. The
//! bulk lane is dialled while the prompt lane is open, and reports when nothing gets through on it.
//!
//! A peer that takes bytes is alive, however long a message takes. So messages travel in fragments, with pings between
//! them, and a stream is given up when nothing on it moves.
//!
//! A peer that cannot be reached for a while causes one warning, with the reason, and one line when it is back.

use super::backoff::Backoff;
use super::bulk_watch::BulkWatch;
use super::dialling::{LinkEvent, LinkOptions};
use super::frame;
use super::hello::{HELLO_HEADER, Hello, SOUGHT_HEADER};
use super::lane::{LANE_HEADER, Lane};
use super::log_once::LogOnce;
use super::paced::{PacedStream, Written};
use super::sightings::Sighting;
use crate::raft::{Message, Term};
use futures_util::{SinkExt, StreamExt};
use kvclient::api::{ErrorCode, ErrorReply};
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::http::{HeaderMap, HeaderValue, Response};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tokio_tungstenite::tungstenite::{self, Message as WsMessage};

/// Time for a connection to be made and accepted.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Interval between pings. A peer that owes an answer for [`SILENCE_MAX`] is dialled anew, so that a connection that
/// died silently is not mistaken for a slow one.
const PING_INTERVAL: Duration = Duration::from_secs(1);
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(5);

/// Bytes for which the stream has room when it reads. Nothing but answers to pings comes back, and the whole room is
/// zeroed at each read.
const READ_BUFFER_BYTES: usize = 512;

/// Shortest pause between attempts. Pauses double from the shortest to the longest, with jitter.
const BACKOFF_MIN: Duration = Duration::from_millis(20);
const BACKOFF_MAX: Duration = Duration::from_millis(500);

/// A connection that lasted this long was good: when it ends, the pauses start over, and the first attempt has none.
const GOOD_CONNECTION_MIN: Duration = Duration::from_secs(1);

/// An attempt under way for this long is abandoned for a new one when the peer shows signs of life: the attempt may be
/// waiting for an answer to a packet that was sent before the peer was up.
const DIAL_UNDISTURBED: Duration = Duration::from_millis(100);

/// Time without a connection after which a warning is logged.
const UNREACHABLE_WARNED_AFTER: Duration = Duration::from_secs(5);

/// Bytes of a message per fragment. Between fragments a ping can pass.
const FRAGMENT_BYTES_MAX: usize = 64 << 10;

/// Each reason for the end of a stream is logged once; this many different reasons are remembered.
const REASONS_LOGGED_MAX: usize = 16;

type Socket = WebSocketStream<PacedStream>;

/// State that a lane's task shares with the senders on the lane. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct LaneState {
    connected: Arc<AtomicBool>,
    /// The latest term of any queued message.
    term: Arc<AtomicU64>,
    redial: Arc<Notify>,
}

impl LaneState {
    pub(super) fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    pub(super) fn redial(&self) {
        self.redial.notify_one();
    }

    pub(super) fn note_term(&self, term: Term) {
        self.term.fetch_max(term.0, Ordering::Relaxed);
    }

    /// Returns whether a message has an earlier term than one queued behind it, so that its receiver would only refuse
    /// it.
    fn is_outdated(&self, message: &Message) -> bool {
        message.term.0 < self.term.load(Ordering::Relaxed)
    }
}

/// The task of one lane.
pub(super) struct Dialler {
    lane: Lane,
    options: Arc<LinkOptions>,
    queued: mpsc::Receiver<Message>,
    shared: LaneState,
    /// The protocol of the peer while the prompt lane is open; the prompt lane sets it.
    protocol: Arc<watch::Sender<Option<u32>>>,
    report: Arc<dyn Fn(LinkEvent) + Send + Sync>,
    reachability: Reachability,
    /// Reasons for the end of a stream that were already logged.
    logged: LogOnce<String>,
    /// Watch over the bulk lane.
    watch: BulkWatch,
    began: Instant,
}

/// Outcome of an attempt to connect.
enum Dialled {
    Accepted(Box<Socket>, Written, Box<Hello>),
    /// The peer refused the connection, with a reason.
    Declined(Box<Hello>, Refusal),
    /// Nothing listens at that address.
    NobodyThere,
    /// The attempt failed for another reason.
    Failed(String),
    /// Abandoned for another attempt.
    Overtaken,
}

/// End of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// The stream was closed, or broke.
    Broken,
    /// Nothing moved on the stream.
    Stalled,
}

impl Dialler {
    pub(super) fn new(
        lane: Lane,
        options: Arc<LinkOptions>,
        queued: mpsc::Receiver<Message>,
        shared: LaneState,
        protocol: Arc<watch::Sender<Option<u32>>>,
        report: Arc<dyn Fn(LinkEvent) + Send + Sync>,
    ) -> Self {
        let (reachability, logged, began) = (Reachability::default(), LogOnce::new(REASONS_LOGGED_MAX), Instant::now());
        let watch = BulkWatch::new(to_ms(options.bulk_stall_max));
        Self { lane, options, queued, shared, protocol, report, reachability, logged, watch, began }
    }

    /// Runs the prompt or the bulk lane. Never ends by itself.
    pub(super) async fn run(self) {
        match self.lane {
            Lane::Prompt => self.run_prompt().await,
            Lane::Bulk => self.run_bulk().await,
        }
    }

    async fn run_prompt(mut self) {
        // One backoff for failed attempts, and one for connections that did not last: if a peer that was down for long
        // dies again soon after, the loss must be noticed at once.
        let (mut dials, mut flaps) = (backoff(), backoff());
        loop {
            let mut refused = false;
            let mut pauses = &mut dials;
            let since = std::time::Instant::now();
            match self.attempt().await {
                Dialled::Accepted(socket, written, hello) => {
                    let expected = self.is_sought(&hello);
                    let found = format!("the node there is {} with another id", hello.name);
                    let protocol = hello.protocol;
                    self.saw(&hello, since);
                    (self.report)(LinkEvent::Met(hello));
                    if expected {
                        self.reachability.reached(&self.options);
                        let connected = Instant::now();
                        self.protocol.send_replace(Some(protocol));
                        self.pump(*socket, &written, protocol).await;
                        self.protocol.send_replace(None);
                        dials.reset();
                        if connected.elapsed() >= GOOD_CONNECTION_MIN {
                            flaps.reset();
                            continue;
                        }
                        pauses = &mut flaps;
                    } else {
                        self.reachability.missed(&self.options, &found);
                    }
                }
                Dialled::Declined(hello, Refusal { code, why }) => {
                    let is_sought = self.is_sought(&hello);
                    let is_of_own_cluster = hello.is_of(self.own_cluster());
                    self.saw(&hello, since);
                    (self.report)(LinkEvent::Met(hello));
                    if code == ErrorCode::Removed && is_sought && is_of_own_cluster {
                        (self.report)(LinkEvent::Removed);
                    }
                    // Another incarnation of the peer listens in its place: the sought one is gone.
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
            let pause = sleep(pauses.next_pause());
            tokio::select! {
                biased;
                () = self.lost(), if refused => {}
                () = pause => {}
                () = self.shared.redial.notified() => {}
            }
        }
    }

    /// Dials while the prompt lane is open, if the peer supports two lanes. The prompt lane determines the state of the
    /// peer.
    async fn run_bulk(mut self) {
        let mut pauses = backoff();
        let mut protocol = self.protocol.subscribe();
        loop {
            if !protocol.borrow().is_some_and(Lane::are_known_to) {
                self.watch.peer_gone();
            }
            // `self` holds the sender, so this cannot end in another way.
            let _ = protocol.wait_for(|protocol| protocol.is_some_and(Lane::are_known_to)).await;
            self.watch.closed(self.now_ms());
            let (dialled, watch) = self.watching(self.attempt()).await;
            self.watch = watch;
            if let Dialled::Accepted(socket, written, hello) = dialled
                && self.is_sought(&hello)
            {
                self.watch.opened();
                (self.report)(LinkEvent::BulkOpened);
                let connected = Instant::now();
                if self.pump(*socket, &written, hello.protocol).await == Ended::Stalled {
                    tracing::warn!("entries do not reach {}: reconnecting", self.options.peer_name);
                    self.watch.stalled(self.now_ms());
                }
                if connected.elapsed() >= GOOD_CONNECTION_MIN {
                    pauses.reset();
                    continue;
                }
            }
            self.watch = self.watching(sleep(pauses.next_pause())).await.1;
        }
    }

    /// Reports the lane as stalled whenever that is due, until `done` completes. Returns the watch as it is then.
    async fn watching<T>(&self, done: impl Future<Output = T>) -> (T, BulkWatch) {
        let mut watch = self.watch.clone();
        tokio::pin!(done);
        loop {
            if watch.take_due(self.now_ms()) {
                (self.report)(LinkEvent::BulkStalled);
            }
            let due = watch.due_ms().map(|due_ms| self.began + Duration::from_millis(due_ms));
            let due = async {
                match due {
                    Some(due) => sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                done = &mut done => return (done, watch),
                () = due => {}
            }
        }
    }

    /// Returns the milliseconds since this task began.
    fn now_ms(&self) -> u64 {
        to_ms(self.began.elapsed())
    }

    /// Runs after a refused attempt: reports the peer as lost as soon as it has no stream open to this node. A leader
    /// that refuses connections but still sends is not gone. When its process ends, the refusal may be noticed before
    /// the end of its streams. Never completes, so that the pause goes on.
    async fn lost(&self) {
        if let Some(id) = self.options.peer_id {
            self.options.inbound.closed(id).await;
            (self.report)(LinkEvent::Lost);
        }
        std::future::pending().await
    }

    /// Records that the answering process has answered a dial that began at `since`.
    fn saw(&self, hello: &Hello, since: std::time::Instant) {
        if hello.is_of(self.own_cluster()) {
            let address = format!("answers at {}", self.options.peer_url);
            let (node, name, incarnation) = (hello.node_id(), hello.name.clone(), hello.incarnation);
            self.options.inbound.saw(Sighting { node, name, incarnation, since, address });
        }
    }

    /// Returns whether this is the node to dial.
    fn is_sought(&self, hello: &Hello) -> bool {
        self.options.peer_id.is_none_or(|id| id == hello.node_id())
    }

    /// Returns the cluster that this node is part of.
    fn own_cluster(&self) -> Option<u64> {
        self.options.hello.borrow().cluster
    }

    fn failed(&mut self, why: &str) {
        (self.report)(LinkEvent::Failed(format!("{}: {why}", self.options.peer_url)));
        self.reachability.missed(&self.options, why);
    }

    /// Dials within the time limits.
    async fn attempt(&self) -> Dialled {
        let overtaken = async {
            sleep(DIAL_UNDISTURBED).await;
            self.shared.redial.notified().await;
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
        request.headers_mut().insert(LANE_HEADER, HeaderValue::from_static(self.lane.name()));
        if let Some(Ok(sought)) = self.options.peer_id.map(|id| HeaderValue::from_str(&id.to_string())) {
            request.headers_mut().insert(SOUGHT_HEADER, sought);
        }
        let config = WebSocketConfig::default().write_buffer_size(0).read_buffer_size(READ_BUFFER_BYTES);
        let stream = match PacedStream::connect(request.uri(), self.stall_max()).await {
            Ok(stream) => stream,
            Err(cause) if cause.kind() == ErrorKind::ConnectionRefused => return Dialled::NobodyThere,
            Err(cause) => return Dialled::Failed(cause.to_string()),
        };
        let written = stream.written();
        match tokio_tungstenite::client_async_with_config(request, stream, Some(config)).await {
            Ok((socket, response)) => match hello_in(response.headers()) {
                Ok(hello) => Dialled::Accepted(Box::new(socket), written, hello),
                Err(why) => Dialled::Failed(why),
            },
            Err(tungstenite::Error::Http(response)) => match hello_in(response.headers()) {
                Ok(hello) => Dialled::Declined(hello, Refusal::read(&response)),
                Err(why) => Dialled::Failed(format!("{why} (HTTP status {})", response.status())),
            },
            Err(cause) => Dialled::Failed(cause.to_string()),
        }
    }

    /// Returns the time after which a stream on which nothing moves is given up.
    fn stall_max(&self) -> Duration {
        match self.lane {
            Lane::Prompt => SILENCE_MAX,
            Lane::Bulk => self.options.bulk_stall_max,
        }
    }

    /// Sends queued messages, in the form that this protocol has, until the connection ends.
    async fn pump(&mut self, mut socket: Socket, written: &Written, protocol: u32) -> Ended {
        while self.queued.try_recv().is_ok() {
            // Left from an earlier connection, hence outdated.
        }
        self.shared.connected.store(true, Ordering::Relaxed);
        let (opened_ms, mut first) = (self.now_ms(), FirstMessage::default());
        let ended = self.send_until_it_ends((&mut socket, protocol), written, &mut first).await;
        if first.is_owed() && ended == Ended::Broken {
            self.watch.broke_unanswered(opened_ms);
        }
        self.shared.connected.store(false, Ordering::Relaxed);
        ended
    }

    async fn send_until_it_ends(
        &mut self,
        (socket, protocol): (&mut Socket, u32),
        written: &Written,
        first: &mut FirstMessage,
    ) -> Ended {
        let mut pings = interval(PING_INTERVAL);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let opened = Instant::now();
        let mut heard = opened;
        loop {
            let before = written.bytes();
            let sent = tokio::select! {
                // Read signs of life that have arrived before judging silence.
                biased;
                received = socket.next() => match received {
                    Some(Ok(WsMessage::Close(reason))) => {
                        if let Some(reason) = reason.filter(|reason| reason.code != CloseCode::Normal) {
                            self.log_once(&format!("it refused a message: {}", reason.reason));
                        }
                        return Ended::Broken;
                    }
                    // Only signs of life arrive on this side.
                    Some(Ok(received)) => {
                        heard = Instant::now();
                        let answered_bytes = answered_bytes(&received);
                        first.answered(answered_bytes);
                        let is_quiet = !first.was_sent && opened.elapsed() >= 2 * self.options.bulk_stall_max;
                        if answered_bytes.is_some() && (is_quiet || first.is_answered) {
                            self.watch.got_through();
                        }
                        Ok(())
                    }
                    Some(Err(cause)) => return self.broke(&cause),
                    None => return Ended::Broken,
                },
                _ = pings.tick() => {
                    if heard.elapsed() > SILENCE_MAX {
                        return Ended::Stalled;
                    }
                    let ping = ping(before);
                    self.send(socket, written, [ping]).await
                }
                message = self.queued.recv() => {
                    let Some(message) = message else { return Ended::Broken };
                    first.was_sent = true;
                    let sent = self.send_queued((socket, protocol), written, message).await;
                    first.end_bytes.get_or_insert(written.bytes());
                    sent
                }
            };
            if let Err(ended) = sent {
                return ended;
            }
            if written.bytes() > before + FRAGMENT_BYTES_MAX as u64 {
                // More bytes were taken than any buffer holds, so the peer has read some.
                heard = Instant::now();
            }
        }
    }

    /// Sends one message and all messages queued by then, with one flush.
    async fn send_queued(
        &mut self,
        (socket, protocol): (&mut Socket, u32),
        written: &Written,
        message: Message,
    ) -> Result<(), Ended> {
        let mut next = Some(message);
        let mut pinged = Instant::now();
        while let Some(message) = next.take().or_else(|| self.queued.try_recv().ok()) {
            if self.shared.is_outdated(&message) {
                continue;
            }
            let frame = frame::encode(&message, protocol);
            let fragments = frame.len().div_ceil(FRAGMENT_BYTES_MAX);
            for number in 0..fragments {
                let from = number * FRAGMENT_BYTES_MAX;
                let bytes = frame.slice(from..frame.len().min(from + FRAGMENT_BYTES_MAX));
                let kind = if number == 0 { Data::Binary } else { Data::Continue };
                let fragment = Frame::message(bytes, OpCode::Data(kind), number + 1 == fragments);
                self.feed(socket, written, WsMessage::Frame(fragment)).await?;
                if pinged.elapsed() >= PING_INTERVAL {
                    pinged = Instant::now();
                    self.feed(socket, written, ping(written.bytes())).await?;
                }
            }
        }
        self.moving(written, socket.flush()).await
    }

    async fn send(
        &mut self,
        socket: &mut Socket,
        written: &Written,
        messages: impl IntoIterator<Item = WsMessage>,
    ) -> Result<(), Ended> {
        for message in messages {
            self.feed(socket, written, message).await?;
        }
        self.moving(written, socket.flush()).await
    }

    async fn feed(&mut self, socket: &mut Socket, written: &Written, message: WsMessage) -> Result<(), Ended> {
        self.moving(written, socket.feed(message)).await
    }

    /// Waits for a send to complete, for any length of time while bytes move.
    async fn moving(
        &mut self,
        written: &Written,
        sending: impl Future<Output = Result<(), tungstenite::Error>>,
    ) -> Result<(), Ended> {
        tokio::pin!(sending);
        loop {
            let before = written.bytes();
            match timeout(self.stall_max(), &mut sending).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(cause)) => return Err(self.broke(&cause)),
                Err(_) if written.bytes() > before => {}
                Err(_) => return Err(Ended::Stalled),
            }
        }
    }

    /// A stream broke. Logs a warning unless it broke in the way that the end of a process breaks it.
    fn broke(&mut self, cause: &tungstenite::Error) -> Ended {
        use tungstenite::Error::{AlreadyClosed, ConnectionClosed, Io, Protocol};
        match cause {
            // Sent bytes were not acknowledged in time.
            Io(cause) if cause.kind() == ErrorKind::TimedOut => return Ended::Stalled,
            Io(_) | ConnectionClosed | AlreadyClosed => {}
            Protocol(ProtocolError::ResetWithoutClosingHandshake | ProtocolError::SendAfterClosing) => {}
            _ => self.log_once(&cause.to_string()),
        }
        Ended::Broken
    }

    fn log_once(&mut self, why: &str) {
        if self.logged.is_due(why.to_owned()) {
            tracing::warn!("the stream to {} ended: {why}", self.options.peer_name);
        }
    }
}

/// Converts a time to the unit of [`BulkWatch`], with room to add another one.
fn to_ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX / 2)
}

/// The first message on a stream, which shows whether any message gets through.
#[derive(Debug, Default)]
struct FirstMessage {
    was_sent: bool,
    /// Bytes that had been written when the message ended.
    end_bytes: Option<u64>,
    is_answered: bool,
}

impl FirstMessage {
    /// Takes the peer's answer that it has read this many bytes.
    fn answered(&mut self, bytes: Option<u64>) {
        self.is_answered |= self.end_bytes.is_some_and(|end_bytes| bytes.is_some_and(|bytes| bytes >= end_bytes));
    }

    fn is_owed(&self) -> bool {
        self.was_sent && !self.is_answered
    }
}

/// Returns a ping that asks for a sign of life. Its answer repeats how many bytes were written before the ping.
fn ping(written_bytes: u64) -> WsMessage {
    WsMessage::Ping(written_bytes.to_be_bytes().to_vec().into())
}

/// Returns how many bytes were written before the ping that this message answers.
fn answered_bytes(message: &WsMessage) -> Option<u64> {
    let WsMessage::Pong(bytes) = message else { return None };
    <[u8; 8]>::try_from(&bytes[..]).ok().map(u64::from_be_bytes)
}

fn backoff() -> Backoff {
    Backoff::new(BACKOFF_MIN, BACKOFF_MAX)
}

/// Logs once that a member cannot be reached, and once that it can be reached again.
#[derive(Debug, Default)]
struct Reachability {
    missed_since: Option<Instant>,
    warned: bool,
}

impl Reachability {
    fn missed(&mut self, options: &LinkOptions, why: &str) {
        let since = *self.missed_since.get_or_insert_with(Instant::now);
        // A node that is not a member yet is reported by the code that waits for it.
        if options.peer_id.is_some() && !self.warned && since.elapsed() >= UNREACHABLE_WARNED_AFTER {
            self.warned = true;
            tracing::warn!("cannot reach {} at {}: {why}", options.peer_name, options.peer_url);
        }
    }

    fn reached(&mut self, options: &LinkOptions) {
        self.missed_since = None;
        if std::mem::take(&mut self.warned) {
            tracing::info!("connected to {} again", options.peer_name);
        }
    }
}

fn hello_in(headers: &HeaderMap) -> Result<Box<Hello>, String> {
    let header = headers.get(HELLO_HEADER).and_then(|header| header.to_str().ok());
    Hello::from_header(header.ok_or("the server there is not a kvd node")?).map(Box::new)
}

/// A node's reason for refusing a connection.
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
