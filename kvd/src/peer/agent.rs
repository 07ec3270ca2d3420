//! Requests to other nodes over HTTP, beside the streams of messages: one agent with pooled connections.
//!
//! A request without an answer may or may not have taken effect. No node acts on a request whose body has not arrived,
//! and the agent sees whether any of the body was passed to a connection, so it can tell the two apart.
//!
//! The connections are [`PacedStream`]s, since heartbeats take the same path and must not wait behind a snapshot.

use super::hello::{HELLO_HEADER, Hello};
use super::paced::PacedStream;
use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{HeaderMap, Method, Request, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::convert::Infallible;
use std::error::Error;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};
use tower_service::Service;

/// Time for a connection to be made. A running node answers in a fraction of it.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(1);

/// Longest time without an acknowledgement from the other end. After that the connection is given up.
const UNACKNOWLEDGED_TIME_MAX: Duration = Duration::from_secs(5);

/// Shorter than the time for which a node keeps idle connections, so that no connection is used while it is being
/// closed.
const IDLE_TIME_MAX: Duration = Duration::from_secs(30);

/// Idle connections kept for each node: the most requests that this node has in flight to a leader.
const IDLE_MAX: usize = 256;

/// Sends requests to other nodes. Clones share their connections.
#[derive(Clone, Debug)]
pub struct Agent {
    client: Client<Connector, Content>,
}

/// A request to a node.
#[derive(Debug)]
pub struct NodeRequest {
    request: Result<Request<Content>, hyper::http::Error>,
    taken: Arc<AtomicBool>,
}

/// The answer of a node.
#[derive(Debug)]
pub struct NodeAnswer {
    /// Status of the answer.
    pub status: StatusCode,
    /// Headers of the answer.
    pub headers: HeaderMap,
    /// Body of the answer.
    pub body: Bytes,
}

/// An answer whose body has yet to be read.
#[derive(Debug)]
pub struct BegunAnswer {
    /// Status of the answer.
    pub status: StatusCode,
    headers: HeaderMap,
    body: Incoming,
}

/// Failure of a request that got no answer.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum NoAnswer {
    /// The request did not arrive, so it cannot have had any effect. The sentence says why.
    #[error("{0}")]
    NotSent(String),
    /// The request may have arrived. The sentence says why its answer did not.
    #[error("{0}")]
    Lost(String),
}

impl NodeRequest {
    /// A GET request for this URL.
    pub fn get(url: &str) -> Self {
        Self::new(Method::GET, url, Payload::Whole(Bytes::new()))
    }

    /// A POST request with this body.
    pub fn post(url: &str, content_type: &'static str, body: Bytes) -> Self {
        Self::new(Method::POST, url, Payload::Whole(body))
            .with_header(CONTENT_TYPE.as_str(), HeaderValue::from_static(content_type))
    }

    /// A POST request with a body of `length` bytes that arrives in chunks.
    pub fn post_chunks(url: &str, content_type: &'static str, length: u64, chunks: mpsc::Receiver<Bytes>) -> Self {
        let payload = Payload::Chunks { chunks, left: length };
        Self::new(Method::POST, url, payload).with_header(CONTENT_TYPE.as_str(), HeaderValue::from_static(content_type))
    }

    fn new(method: Method, url: &str, payload: Payload) -> Self {
        let taken = Arc::new(AtomicBool::new(false));
        let content = Content { payload, taken: Arc::clone(&taken) };
        Self { request: Request::builder().method(method).uri(url).body(content), taken }
    }

    /// Adds a header.
    #[must_use]
    pub fn with_header(mut self, name: &'static str, value: HeaderValue) -> Self {
        if let Ok(request) = &mut self.request {
            request.headers_mut().insert(name, value);
        }
        self
    }

    /// Adds the introduction of the sending node, as in all requests between nodes of one cluster.
    #[must_use]
    pub fn from_node(mut self, hello: &Hello) -> Self {
        if let Ok(request) = &mut self.request {
            let header = HeaderValue::try_from(hello.to_header()).expect("a hello is printable ASCII");
            request.headers_mut().insert(HELLO_HEADER, header);
        }
        self
    }
}

impl Agent {
    /// Returns an agent without connections.
    pub fn new() -> Self {
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIME_MAX)
            .pool_max_idle_per_host(IDLE_MAX)
            .build(Connector);
        Self { client }
    }

    /// Sends the request, and returns the whole answer, of at most `bytes_max`.
    ///
    /// # Errors
    /// [`NoAnswer`], also if the deadline passes.
    pub async fn ask(&self, request: NodeRequest, deadline: Instant, bytes_max: usize) -> Result<NodeAnswer, NoAnswer> {
        let taken = Arc::clone(&request.taken);
        let asking = async {
            let BegunAnswer { status, headers, mut body } = self.begin(request).await?;
            let body = collect(&mut body, bytes_max).await.map_err(NoAnswer::Lost)?;
            Ok(NodeAnswer { status, headers, body })
        };
        let answered = timeout_at(deadline, asking).await;
        answered.unwrap_or_else(|_| Err(NoAnswer::new(&taken, "it did not answer in time".to_owned())))
    }

    /// Sends the request, and returns as soon as the answer begins. That may be before all of the request is sent.
    ///
    /// # Errors
    /// [`NoAnswer`].
    pub async fn begin(&self, request: NodeRequest) -> Result<BegunAnswer, NoAnswer> {
        let NodeRequest { request, taken } = request;
        let request = request.map_err(|cause| NoAnswer::NotSent(cause.to_string()))?;
        let asked = self.client.request(request).await;
        let response = asked.map_err(|cause| {
            let root = root_of(&cause);
            NoAnswer::new(&taken, if cause.is_connect() { root } else { format!("the connection broke: {root}") })
        })?;
        let (head, body) = response.into_parts();
        Ok(BegunAnswer { status: head.status, headers: head.headers, body })
    }
}

impl Default for Agent {
    fn default() -> Self {
        Self::new()
    }
}

impl BegunAnswer {
    /// Returns the next piece of the body; `None` at its end.
    ///
    /// # Errors
    /// A sentence, if the answer breaks off.
    pub async fn next_piece(&mut self) -> Result<Option<Bytes>, String> {
        next_piece(&mut self.body).await
    }
}

impl NoAnswer {
    /// `taken` says whether any of the body was passed to a connection.
    fn new(taken: &AtomicBool, why: String) -> Self {
        match taken.load(Ordering::Relaxed) {
            true => Self::Lost(why),
            false => Self::NotSent(why),
        }
    }
}

async fn next_piece(body: &mut Incoming) -> Result<Option<Bytes>, String> {
    while let Some(frame) = poll_fn(|cx| pin!(&mut *body).poll_frame(cx)).await {
        let frame = frame.map_err(|cause| format!("the answer broke off: {}", root_of(&cause)))?;
        if let Ok(data) = frame.into_data() {
            return Ok(Some(data));
        }
    }
    Ok(None)
}

/// Reads the whole body of an answer.
async fn collect(body: &mut Incoming, bytes_max: usize) -> Result<Bytes, String> {
    let mut bytes = Vec::new();
    while let Some(piece) = next_piece(body).await? {
        if bytes.len() + piece.len() > bytes_max {
            return Err(format!("the answer has more than {bytes_max} bytes"));
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes.into())
}

/// Returns the innermost error, which is the most specific.
fn root_of(error: &dyn Error) -> String {
    let mut root = error;
    while let Some(source) = root.source() {
        root = source;
    }
    root.to_string()
}

/// Connects to nodes by their URLs.
#[derive(Clone, Copy, Debug)]
struct Connector;

impl Service<Uri> for Connector {
    type Response = TokioIo<PacedStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, url: Uri) -> Self::Future {
        Box::pin(async move {
            let connecting = timeout(CONNECT_TIME_MAX, PacedStream::connect(&url, UNACKNOWLEDGED_TIME_MAX)).await;
            let late = || io::Error::new(io::ErrorKind::TimedOut, format!("no connection within {CONNECT_TIME_MAX:?}"));
            connecting.unwrap_or_else(|_| Err(late())).map(TokioIo::new)
        })
    }
}

impl Connection for PacedStream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

/// The body of a request.
#[derive(Debug)]
enum Payload {
    Whole(Bytes),
    /// The body has exactly `left` more bytes; if fewer arrive, the connection ends.
    Chunks {
        chunks: mpsc::Receiver<Bytes>,
        left: u64,
    },
}

/// A payload that records whether any of it was passed to a connection.
#[derive(Debug)]
struct Content {
    payload: Payload,
    taken: Arc<AtomicBool>,
}

impl Content {
    fn left(&self) -> u64 {
        match &self.payload {
            Payload::Whole(body) => body.len() as u64,
            Payload::Chunks { left, .. } => *left,
        }
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.taken.store(true, Ordering::Relaxed);
        let chunk = match &mut self.payload {
            Payload::Whole(body) => Some(std::mem::take(body)).filter(|body| !body.is_empty()),
            Payload::Chunks { chunks, left } => {
                let chunk = std::task::ready!(chunks.poll_recv(cx));
                *left = left.saturating_sub(chunk.as_ref().map_or(0, Bytes::len) as u64);
                chunk
            }
        };
        Poll::Ready(chunk.map(|chunk| Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.left() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nyes";

    fn request(url: &str) -> NodeRequest {
        let request = NodeRequest::post(&format!("{url}/raft/forward"), "text/plain", Bytes::from_static(b"ask me"));
        request.from_node(&Hello::of_member("node1", 1))
    }

    /// Sends a request while the test plays the other end of the connection with `F`, for the given time.
    async fn asked<F: Future<Output = ()>>(
        time: Duration,
        answer: impl Fn(TcpStream) -> F,
    ) -> Result<NodeAnswer, NoAnswer> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let answering = async {
            loop {
                answer(listener.accept().await.unwrap().0).await;
            }
        };
        let agent = Agent::new();
        tokio::select! {
            result = agent.ask(request(&url), Instant::now() + time, 64) => result,
            () = answering => unreachable!("it never ends"),
        }
    }

    /// Reads a whole request.
    async fn take(stream: &mut TcpStream) -> String {
        let mut taken = Vec::new();
        while !taken.ends_with(b"ask me") && stream.read_buf(&mut taken).await.unwrap() > 0 {}
        String::from_utf8(taken).unwrap()
    }

    const AMPLE: Duration = Duration::from_secs(60);
    const SHORT: Duration = Duration::from_millis(50);

    #[tokio::test]
    async fn an_answer_comes_with_its_status() {
        let answer = asked(AMPLE, |mut stream| async move {
            let request = take(&mut stream).await;
            assert!(request.starts_with("POST /raft/forward HTTP/1.1\r\n") && request.contains("kvd-hello: {"));
            stream.write_all(OK).await.unwrap();
        });
        let answer = answer.await.unwrap();
        assert_eq!((answer.status, &answer.body[..]), (StatusCode::OK, &b"yes"[..]));
    }

    #[tokio::test]
    async fn who_does_not_listen_has_certainly_not_been_asked() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let Err(NoAnswer::NotSent(why)) = Agent::new().ask(request(&url), Instant::now() + AMPLE, 64).await else {
            panic!("nobody listens")
        };
        assert!(why.starts_with("Connection refused"), "{why}");
    }

    #[tokio::test]
    async fn a_connection_that_breaks_after_the_request_leaves_it_open() {
        let result = asked(AMPLE, |mut stream| async move {
            take(&mut stream).await;
        });
        assert!(matches!(result.await, Err(NoAnswer::Lost(_))));
    }

    #[tokio::test]
    async fn an_answer_that_is_late_or_long_is_none() {
        let result = asked(SHORT, |mut stream| async move {
            take(&mut stream).await;
            std::mem::forget(stream);
        });
        let Err(NoAnswer::Lost(why)) = result.await else { panic!("it was sent") };
        assert!(why.contains("did not answer in time"), "{why}");
        let result = asked(AMPLE, |mut stream| async move {
            take(&mut stream).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 65\r\n\r\n").await.unwrap();
            stream.write_all(&[b'x'; 65]).await.unwrap();
        });
        let Err(NoAnswer::Lost(why)) = result.await else { panic!("it was sent") };
        assert!(why.contains("more than 64 bytes"), "{why}");
    }

    #[tokio::test]
    async fn connections_are_used_again() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let answering = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            for _ in 0..3 {
                take(&mut stream).await;
                stream.write_all(OK).await.unwrap();
            }
            std::future::pending::<()>().await;
        };
        let agent = Agent::new();
        let asking = async {
            for _ in 0..3 {
                agent.ask(request(&url), Instant::now() + AMPLE, 64).await.unwrap();
            }
        };
        tokio::select! {
            () = asking => {}
            () = answering => unreachable!("it never ends"),
        }
    }
}
