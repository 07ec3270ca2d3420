//! One HTTP exchange with one node: bounded in time and size, with precise errors.
//!
//! Redirects, retries and the meaning of a reply are decided in [`crate::routing`].

use super::connection::{LookUpLater, NotConnected, TcpConnector};
use crate::api::headers;
use crate::endpoint::Endpoint;
use std::fmt;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::time::Duration;
use ureq::config::{Config, ConfigBuilder};
use ureq::http::{Response, header};
use ureq::typestate::{RequestScope, WithoutBody};
use ureq::{Agent, Body, BodyReader, RequestBuilder};

/// Largest reply that is read, in bytes: a value of 8 MiB fits even if JSON writes each byte as six.
const REPLY_BYTES_MAX: u64 = 64 << 20;

/// Longest time to open a connection: a node that takes longer is not nearby.
const CONNECT_MAX: Duration = Duration::from_millis(700);

/// Size of the buffers of a connection, in bytes; larger bodies pass through in pieces.
const BUFFER_BYTES: usize = 16 * 1024;

/// Connections kept open to one node by one transport. Exchanges on a transport are sequential.
const IDLE_PER_NODE_MAX: usize = 1;

/// Connections kept open by one transport.
const IDLE_MAX: usize = 8;

/// Age at which an idle connection is closed instead of reused. Half of what nodes allow, so that a request is not sent
/// on a connection that its node is about to close.
const IDLE_AGE_MAX: Duration = Duration::from_secs(30);

/// A node's answer.
#[derive(Debug, Default)]
pub(crate) struct Reply {
    /// The HTTP status.
    pub(crate) status: u16,
    /// Target of a redirect.
    pub(crate) location: Option<String>,
    /// Id of the cluster to which the node belongs.
    pub(crate) cluster: Option<String>,
    /// The term in which a write or a linearizable read was answered.
    pub(crate) term: Option<u64>,
    /// Revision of the store that served a read.
    pub(crate) revision: Option<u64>,
    /// Time for which the node asks not to be contacted.
    pub(crate) retry_after: Option<Duration>,
    /// The whole body.
    pub(crate) body: Vec<u8>,
}

/// Reason why a node did not answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// There was no connection: nothing of the request was sent.
    NotSent(String),
    /// The connection ended, or the answer was not HTTP. The request may have been carried out.
    Broken(String),
    /// The node was silent for the whole time limit. The request may have been carried out.
    Silent(Duration),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSent(cause) | Self::Broken(cause) => f.write_str(cause),
            Self::Silent(limit) => write!(f, "no answer within {limit:.1?}"),
        }
    }
}

/// Speaks HTTP, one exchange at a time, over connections that it keeps open.
#[derive(Debug)]
pub(crate) struct Transport {
    agent: Agent,
}

impl Transport {
    /// Creates a transport without connections.
    pub(crate) fn new() -> Self {
        let config = Config::builder()
            .proxy(None) // a proxy from the environment is meant for the web, not for one's own nodes
            .http_status_as_error(false)
            .max_redirects(0)
            .user_agent(concat!("kvclient/", env!("CARGO_PKG_VERSION")))
            .accept_encoding("")
            .input_buffer_size(BUFFER_BYTES)
            .output_buffer_size(BUFFER_BYTES)
            .max_idle_connections(IDLE_MAX)
            .max_idle_connections_per_host(IDLE_PER_NODE_MAX)
            .max_idle_age(IDLE_AGE_MAX)
            .build();
        Self { agent: Agent::with_parts(config, TcpConnector::default(), LookUpLater) }
    }

    /// Fetches the answer of a node within `limit`, body included.
    pub(crate) fn get(&self, target: Target<'_>, limit: Duration) -> Result<Reply, Failure> {
        let request = bounded(self.to_get(target).config(), limit);
        read_reply(request.call().map_err(|cause| failure(cause, limit))?, limit)
    }

    /// Posts JSON to a node within `limit`, the reply included.
    pub(crate) fn post(&self, target: Target<'_>, post: &Post<'_>, limit: Duration) -> Result<Reply, Failure> {
        let Post { body, level } = *post;
        let mut request = target.named_in(self.agent.post(target.url())).content_type("application/json");
        if let Some(level) = level {
            request = request.header(headers::LEVEL, level.to_string());
        }
        let request = bounded(request.config(), limit);
        read_reply(request.send(body).map_err(|cause| failure(cause, limit))?, limit)
    }

    /// Fetches a body that may be large and is not kept in memory. The node may be silent for `silence_max` at a time.
    pub(crate) fn download(&self, target: Target<'_>, silence_max: Duration) -> Result<Opened<Download>, Failure> {
        let request = self
            .to_get(target)
            .config()
            .timeout_connect(Some(CONNECT_MAX))
            .timeout_per_read(Some(silence_max))
            .timeout_per_write(Some(silence_max))
            .build();
        let response = request.call().map_err(|cause| failure(cause, silence_max))?;
        if response.status().as_u16() != 200 {
            return read_reply(response, silence_max).map(Opened::Answer);
        }
        let bytes = response.body().content_length();
        let bytes = bytes.ok_or_else(|| Failure::Broken("its length is missing".into()))?;
        let cluster = header_of(&response, headers::CLUSTER).map(str::to_owned);
        Ok(Opened::Begun(Download { cluster, bytes, body: response.into_body().into_reader() }))
    }

    /// Opens an endless stream. A read returns at least once per `tick`, with or without bytes.
    pub(crate) fn stream(&self, target: Target<'_>, tick: Duration) -> Result<Opened<Stream>, Failure> {
        self.events(target, &Subscription::default(), tick)
    }

    /// Opens an endless stream of events. A read returns at least once per `tick`, with or without bytes.
    pub(crate) fn events(
        &self,
        target: Target<'_>,
        subscription: &Subscription<'_>,
        tick: Duration,
    ) -> Result<Opened<Stream>, Failure> {
        let Subscription { body, last_event_id } = subscription;
        let response = match body {
            None => to_events(self.to_get(target), last_event_id.as_deref(), tick).call(),
            Some(body) => {
                let request = target.named_in(self.agent.post(target.url())).content_type("application/json");
                to_events(request, last_event_id.as_deref(), tick).send(*body)
            }
        };
        let response = response.map_err(|cause| failure(cause, tick))?;
        if response.status().as_u16() != 200 {
            return read_reply(response, tick).map(Opened::Answer);
        }
        let cluster = header_of(&response, headers::CLUSTER).map(str::to_owned);
        Ok(Opened::Begun(Stream { cluster, body: response.into_body().into_reader() }))
    }

    /// Opens a stream of lines, which may be of any length in all. The node may be silent for `silence_max` at a time.
    pub(crate) fn lines(&self, target: Target<'_>, silence_max: Duration) -> Result<Opened<Lines>, Failure> {
        let request = self
            .to_get(target)
            .config()
            .timeout_connect(Some(silence_max.min(CONNECT_MAX)))
            .timeout_per_read(Some(silence_max))
            .timeout_per_write(Some(silence_max))
            .build()
            .header(header::ACCEPT, "application/x-ndjson");
        let response = request.call().map_err(|cause| failure(cause, silence_max))?;
        if response.status().as_u16() != 200 {
            return read_reply(response, silence_max).map(Opened::Answer);
        }
        let cluster = header_of(&response, headers::CLUSTER).map(str::to_owned);
        let revision = header_of(&response, headers::REVISION).and_then(|value| value.parse().ok());
        let body = BufReader::with_capacity(BUFFER_BYTES, response.into_body().into_reader());
        Ok(Opened::Begun(Lines { cluster, revision, body }))
    }

    fn to_get(&self, target: Target<'_>) -> RequestBuilder<WithoutBody> {
        target.named_in(self.agent.get(target.url()))
    }
}

/// Target of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target<'a> {
    pub(crate) node: &'a Endpoint,
    /// Path and query.
    pub(crate) path: &'a str,
    /// The cluster that the request is meant for, if only its nodes may answer.
    pub(crate) cluster: Option<&'a str>,
    /// True to make a node that does not lead name the leader instead of forwarding a write to it.
    pub(crate) redirects: bool,
}

impl Target<'_> {
    fn url(&self) -> String {
        format!("{}{}", self.node, self.path)
    }

    /// Adds the headers: the cluster that is meant, and whether this client wants to be redirected to the leader.
    fn named_in<B>(&self, request: RequestBuilder<B>) -> RequestBuilder<B> {
        let request = if self.redirects { request.header(headers::REDIRECT, "true") } else { request };
        match self.cluster {
            Some(cluster) => request.header(headers::CLUSTER, cluster),
            None => request,
        }
    }
}

/// A request with a body.
#[derive(Clone, Copy)]
pub(crate) struct Post<'a> {
    /// Its JSON.
    pub(crate) body: &'a [u8],
    /// The newest level of a node that is to be added.
    pub(crate) level: Option<u32>,
}

/// Outcome of a request for a body that is read piece by piece.
pub(crate) enum Opened<T> {
    /// The body has begun.
    Begun(T),
    /// The node sent another answer.
    Answer(Reply),
}

/// A large body that is arriving.
pub(crate) struct Download {
    /// Id of the cluster whose data it is.
    pub(crate) cluster: Option<String>,
    /// Its length in bytes.
    pub(crate) bytes: u64,
    /// Ends with an error if fewer bytes arrive.
    pub(crate) body: BodyReader<'static>,
}

/// Lines that are arriving.
pub(crate) struct Lines {
    /// Id of the cluster whose data it is.
    pub(crate) cluster: Option<String>,
    /// Revision of the store that is listed.
    pub(crate) revision: Option<u64>,
    body: BufReader<BodyReader<'static>>,
}

impl Lines {
    /// Returns the next line, `None` at the end. A last line that is cut short is an error.
    pub(crate) fn next_line(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        self.body.by_ref().take(REPLY_BYTES_MAX).read_until(b'\n', &mut line)?;
        match line.pop() {
            None => Ok(None),
            Some(b'\n') => Ok(Some(line)),
            Some(_) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it broke off within a line")),
        }
    }
}

/// The request for a stream of events.
#[derive(Clone, Debug, Default)]
pub(crate) struct Subscription<'s> {
    /// The JSON of one that is posted.
    pub(crate) body: Option<&'s [u8]>,
    /// Id of the last event, after which the stream continues.
    pub(crate) last_event_id: Option<String>,
}

/// The body of an endless reply.
pub(crate) struct Stream {
    /// Id of the cluster whose node sends it.
    pub(crate) cluster: Option<String>,
    body: BodyReader<'static>,
}

/// Result of one read of a [`Stream`].
#[derive(Debug)]
pub(crate) enum Chunk {
    /// This many bytes.
    Bytes(usize),
    /// Nothing for one tick.
    Idle,
    /// The stream is over.
    Ended,
}

impl Stream {
    /// Waits for bytes, for one tick at most.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Chunk {
        match self.body.read(buffer) {
            Ok(0) => Chunk::Ended,
            Ok(amount) => Chunk::Bytes(amount),
            Err(cause) if is_timeout(&cause) => Chunk::Idle,
            Err(_) => Chunk::Ended,
        }
    }
}

fn is_timeout(cause: &io::Error) -> bool {
    cause.get_ref().and_then(|inner| inner.downcast_ref()).is_some_and(|e| matches!(e, ureq::Error::Timeout(_)))
}

/// Makes a request one for a stream of events.
fn to_events<B>(request: RequestBuilder<B>, last_event_id: Option<&str>, tick: Duration) -> RequestBuilder<B> {
    let request = request
        .config()
        .timeout_connect(Some(tick.min(CONNECT_MAX)))
        .timeout_per_read(Some(tick))
        .timeout_per_write(Some(tick))
        .build()
        .header(header::ACCEPT, "text/event-stream");
    match last_event_id {
        Some(id) => request.header("Last-Event-ID", id),
        None => request,
    }
}

fn bounded<B>(config: ConfigBuilder<RequestScope<B>>, limit: Duration) -> RequestBuilder<B> {
    config.timeout_global(Some(limit)).timeout_connect(Some(limit.min(CONNECT_MAX))).build()
}

fn header_of<'a>(response: &'a Response<Body>, name: &str) -> Option<&'a str> {
    response.headers().get(name).and_then(|value| value.to_str().ok())
}

fn read_reply(mut response: Response<Body>, limit: Duration) -> Result<Reply, Failure> {
    let text = |name: &str| header_of(&response, name);
    let location = text(header::LOCATION.as_str()).map(str::to_owned);
    let retry_after = text(header::RETRY_AFTER.as_str()).and_then(|value| value.parse().ok()).map(Duration::from_secs);
    let cluster = text(headers::CLUSTER).map(str::to_owned);
    let term = text(headers::TERM).and_then(|value| value.parse().ok());
    let revision = text(headers::REVISION).and_then(|value| value.parse().ok());
    let status = response.status().as_u16();
    let body = response
        .body_mut()
        .with_config()
        .limit(REPLY_BYTES_MAX)
        .read_to_vec()
        .map_err(|cause| failure(cause, limit))?;
    Ok(Reply { status, location, cluster, term, revision, retry_after, body })
}

fn failure(cause: ureq::Error, limit: Duration) -> Failure {
    match cause {
        ureq::Error::Other(cause) if cause.is::<NotConnected>() => Failure::NotSent(cause.to_string()),
        ureq::Error::Timeout(_) => Failure::Silent(limit),
        ureq::Error::Io(cause) => Failure::Broken(format!("the connection broke: {cause}")),
        other => Failure::Broken(other.to_string()),
    }
}
