//! Questions to other nodes over HTTP, apart from the streams of messages: one agent with pooled connections.
//!
//! Of a question that got no answer it is known whether it can have been acted upon: nobody acts upon one whose body has
//! not arrived, and the agent sees whether anything of the body was handed to the connection.

use super::hello::{HELLO_HEADER, Hello};
use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::CONTENT_TYPE;
use hyper::{Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use std::convert::Infallible;
use std::error::Error as _;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use thiserror::Error;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

/// Time for a connection to be made: a node that is there answers in a fraction of it.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(1);

/// Less than a node keeps idle connections, so that none is used that is being closed.
const IDLE_TIME_MAX: Duration = Duration::from_secs(30);

/// Asks other nodes; cheap to clone.
#[derive(Clone, Debug)]
pub struct Agent {
    client: Client<HttpConnector, Question>,
    hello: watch::Receiver<Hello>,
}

/// The answer of a node.
#[derive(Debug)]
pub struct NodeAnswer {
    /// Its status.
    pub status: StatusCode,
    /// Its body.
    pub body: Bytes,
}

/// A question that got no answer.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum NoAnswer {
    /// The question did not arrive, so nothing can have come of it. The sentence says why.
    #[error("{0}")]
    NotSent(String),
    /// The question may have arrived. The sentence says why the answer did not.
    #[error("{0}")]
    Lost(String),
}

impl Agent {
    /// An agent that introduces itself so, and keeps up to `idle_max` connections to a node for the next questions.
    pub fn new(hello: watch::Receiver<Hello>, idle_max: usize) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_TIME_MAX));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIME_MAX)
            .pool_max_idle_per_host(idle_max)
            .build(connector);
        Self { client, hello }
    }

    /// Sends `body` to `path` at the node that is reached at `url`, and returns its answer of at most `answer_bytes_max`.
    ///
    /// # Errors
    /// [`NoAnswer`], also when the deadline has passed.
    pub async fn post(
        &self,
        url: &str,
        path: &str,
        body: Bytes,
        deadline: Instant,
        answer_bytes_max: usize,
    ) -> Result<NodeAnswer, NoAnswer> {
        let taken = Arc::new(AtomicBool::new(false));
        let no_answer = |why: String| match taken.load(Ordering::Relaxed) {
            true => NoAnswer::Lost(why),
            false => NoAnswer::NotSent(why),
        };
        let hello = self.hello.borrow().to_header();
        let request = Request::post(format!("{url}{path}"))
            .header(HELLO_HEADER, hello)
            .header(CONTENT_TYPE, "application/octet-stream")
            .body(Question { body: Some(body), taken: Arc::clone(&taken) })
            .map_err(|cause| no_answer(cause.to_string()))?;
        let asking = async {
            let response = self.client.request(request).await.map_err(|cause| {
                let root = cause.source().map(ToString::to_string);
                root.map_or_else(|| cause.to_string(), |root| format!("{cause}: {root}"))
            })?;
            let status = response.status();
            let body = collect(response.into_body(), answer_bytes_max).await?;
            Ok(NodeAnswer { status, body })
        };
        match timeout_at(deadline, asking).await {
            Ok(answer) => answer.map_err(no_answer),
            Err(_) => Err(no_answer(format!("{url} did not answer in time"))),
        }
    }
}

/// The whole body of an answer.
async fn collect(mut body: Incoming, bytes_max: usize) -> Result<Bytes, String> {
    let mut bytes = Vec::new();
    while let Some(frame) = poll_fn(|cx| pin!(&mut body).poll_frame(cx)).await {
        let frame = frame.map_err(|cause| format!("the answer broke off: {cause}"))?;
        if let Ok(data) = frame.into_data() {
            if bytes.len() + data.len() > bytes_max {
                return Err(format!("the answer has more than {bytes_max} bytes"));
            }
            bytes.extend_from_slice(&data);
        }
    }
    Ok(bytes.into())
}

/// The body of a question, that says whether it was handed over to the connection.
#[derive(Debug)]
struct Question {
    body: Option<Bytes>,
    taken: Arc<AtomicBool>,
}

impl Body for Question {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.taken.store(true, Ordering::Relaxed);
        Poll::Ready(self.body.take().filter(|body| !body.is_empty()).map(|body| Ok(Frame::data(body))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Bytes::is_empty)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.body.as_ref().map_or(0, Bytes::len) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::{PROTOCOL_VERSION, PROTOCOL_VERSION_MIN};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nyes";

    fn agent() -> Agent {
        let hello = Hello {
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
            level: 1,
        };
        Agent::new(watch::channel(hello).1, 4)
    }

    /// Asks whatever the test makes of the other end of the connection, for so long.
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
        let (agent, body) = (agent(), Bytes::from_static(b"question"));
        tokio::select! {
            result = agent.post(&url, "/raft/forward", body, Instant::now() + time, 64) => result,
            () = answering => unreachable!("it never ends"),
        }
    }

    /// Takes a whole question.
    async fn take(stream: &mut TcpStream) -> String {
        let mut taken = Vec::new();
        while !taken.ends_with(b"question") && stream.read_buf(&mut taken).await.unwrap() > 0 {}
        String::from_utf8(taken).unwrap()
    }

    const AMPLE: Duration = Duration::from_secs(60);
    const SHORT: Duration = Duration::from_millis(50);

    #[tokio::test]
    async fn an_answer_comes_with_its_status() {
        let answer = asked(AMPLE, |mut stream| async move {
            let question = take(&mut stream).await;
            assert!(question.starts_with("POST /raft/forward HTTP/1.1\r\n") && question.contains("kvd-hello: {"));
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
        let agent = agent();
        let asked = agent.post(&url, "/raft/forward", Bytes::from_static(b"question"), Instant::now() + AMPLE, 64);
        assert!(matches!(asked.await, Err(NoAnswer::NotSent(_))));
    }

    #[tokio::test]
    async fn a_connection_that_breaks_after_the_question_leaves_it_open() {
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
        let agent = agent();
        let asking = async {
            for _ in 0..3 {
                let body = Bytes::from_static(b"question");
                agent.post(&url, "/raft/forward", body, Instant::now() + AMPLE, 64).await.unwrap();
            }
        };
        tokio::select! {
            () = asking => {}
            () = answering => unreachable!("it never ends"),
        }
    }
}
