//! A request of the API as one value, made before any of its body is read: the question, the caller and its deadline.

use super::body::{Body, BodyReader};
use super::connection::RequestBody;
use super::error::ApiError;
use super::gateway::{Asker, Caller};
use super::reply::NDJSON;
use crate::kv::Level;
use bytes::Bytes;
use futures_util::{Stream, stream};
use hyper::body::{Body as _, Frame};
use kvclient::api::{Query, headers};
use serde::de::DeserializeOwned;
use std::convert::Infallible;
use std::mem;
use std::pin::Pin;
use std::str::FromStr;
use std::task::{Poll, ready};
use std::time::Duration;
use tokio::time::Instant;
use warp::http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HeaderName};
use warp::http::{HeaderMap, HeaderValue, Method};

/// Default time for a request, counted from its complete arrival: the time for a body depends on the connection, over
/// which the node has no control.
pub const TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);

/// Longest time that a request may set.
pub const TIMEOUT_MAX: Duration = Duration::from_secs(600);

const REDIRECT: HeaderName = HeaderName::from_static(headers::REDIRECT);

/// Header with the newest level that a node to be added knows. It is not a field of the body, because nodes of versions
/// without levels would refuse it.
const LEVEL: HeaderName = HeaderName::from_static(headers::LEVEL);

/// Header of a client that continues a stream of events (HTML living standard §9.2.4).
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Editors and shells of Windows put it before a text in UTF-8. A JSON parser may ignore it (RFC 8259 §8.1).
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Query parameter of every path: the request's time, in milliseconds.
const TIMEOUT: &str = "timeout_ms";

/// The part of a `Content-Type` that matters: everything but raw bytes is read as JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ContentType {
    OctetStream,
    Other,
}

impl FromStr for ContentType {
    type Err = Infallible;

    fn from_str(header: &str) -> Result<Self, Infallible> {
        let media_type = header.split(';').next().unwrap_or_default().trim();
        let raw = media_type.eq_ignore_ascii_case("application/octet-stream");
        Ok(if raw { Self::OctetStream } else { Self::Other })
    }
}

/// The head of a request: the parts of it that matter, in memory of their own.
///
/// The target and the headers of a request are parts of the buffer into which the server reads the connection, and
/// keeping them keeps that buffer. While a request is being answered the server reads on, to notice if the client has
/// gone, and it allocates another buffer if the first is still in use. So a request that waits for its answer would
/// cost two buffers of 8 KiB, for a head of a few hundred bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    method: Method,
    /// Path, without a slash at its end, and the unchanged query.
    target: String,
    path_bytes: usize,
    content_type: Option<ContentType>,
    content_length: Option<u64>,
    /// True if the client declares that it goes to the leader itself.
    redirects: bool,
    /// The newest level that the node to be added knows.
    level: Option<u32>,
    /// True if the client asks for JSON in lines.
    takes_lines: bool,
    /// Id of the last event of a stream that the client has received.
    last_event_id: Option<String>,
}

/// Returns true if an `Accept` header names JSON in lines.
fn accepts_lines(accept: &HeaderValue) -> bool {
    let types = accept.as_bytes().split(|byte| *byte == b',');
    let mut names = types.filter_map(|accepted| accepted.split(|byte| *byte == b';').next());
    names.any(|name| name.trim_ascii().eq_ignore_ascii_case(NDJSON.as_bytes()))
}

impl Head {
    /// Takes the head out of a request, and leaves an empty one.
    ///
    /// # Errors
    /// [`ApiError`] if one of the headers that matter is malformed.
    pub(super) fn take<B>(request: &mut warp::http::Request<B>) -> Result<Self, ApiError> {
        let (uri, headers) = (mem::take(request.uri_mut()), mem::take(request.headers_mut()));
        // A slash at the end is ignored.
        let path = uri.path();
        let path = path.strip_suffix('/').unwrap_or(path);
        let query = uri.query().unwrap_or_default();
        let mut target = String::with_capacity(path.len() + 1 + query.len());
        target.push_str(path);
        if !query.is_empty() {
            target.push('?');
            target.push_str(query);
        }
        Ok(Self {
            method: request.method().clone(),
            target,
            path_bytes: path.len(),
            content_type: header(&headers, CONTENT_TYPE)?,
            content_length: header(&headers, CONTENT_LENGTH)?,
            redirects: header(&headers, REDIRECT)?.unwrap_or(false),
            level: header(&headers, LEVEL)?,
            last_event_id: header(&headers, LAST_EVENT_ID)?,
            takes_lines: headers.get_all(ACCEPT).iter().any(accepts_lines),
        })
    }

    fn path(&self) -> &str {
        &self.target[..self.path_bytes]
    }

    fn query(&self) -> &str {
        self.target.get(self.path_bytes + 1..).unwrap_or_default()
    }
}

fn header<T: FromStr>(headers: &HeaderMap, name: HeaderName) -> Result<Option<T>, ApiError> {
    let Some(value) = headers.get(&name) else { return Ok(None) };
    let value = value.to_str().ok().and_then(|text| text.parse().ok());
    value.map(Some).ok_or_else(|| ApiError::invalid(format!("the header `{name}` is malformed")))
}

/// A request.
pub(super) struct Request {
    head: Head,
    body: RequestBody,
    /// True if the request sets its own time. That is then counted from the end of its headers.
    is_timed: bool,
    asker: Asker,
}

impl Request {
    /// Returns the request of a client. Its body may not have arrived yet.
    ///
    /// # Errors
    /// [`ApiError`] if the head does not make clear how to answer the request.
    pub(super) fn of(mut request: warp::http::Request<RequestBody>) -> Result<Self, ApiError> {
        let head = Head::take(&mut request)?;
        let time = time_of(head.query())?;
        let deadline = Instant::now() + time.unwrap_or(TIMEOUT_DEFAULT);
        let caller = Caller::Client { redirects: head.redirects };
        let asker = Asker { caller, deadline };
        Ok(Self { head, body: request.into_body(), is_timed: time.is_some(), asker })
    }

    /// Returns the path, without a slash at its end.
    pub(super) fn path(&self) -> &str {
        self.head.path()
    }

    /// Returns path and query, for repeating the request at another node.
    pub(super) fn target(&self) -> &str {
        &self.head.target
    }

    /// Returns the caller and its deadline.
    pub(super) fn asker(&self) -> &Asker {
        &self.asker
    }

    /// Returns the newest level that the joining node knows. A joining node sends its own level. A client that adds a
    /// node may not know it, and then the node counts as one of this version.
    pub(super) fn level(&self) -> u32 {
        self.head.level.unwrap_or(Level::NEWEST.0)
    }

    /// Returns the deadline that the request sets, if any.
    pub(super) fn own_deadline(&self) -> Option<Instant> {
        self.is_timed.then_some(self.asker.deadline)
    }

    /// Refuses all methods but GET, and HEAD, whose reply the server cuts to its headers.
    ///
    /// # Errors
    /// [`ApiError`].
    pub(super) fn get(self) -> Result<Self, ApiError> {
        self.allow(&[Method::GET, Method::HEAD], "GET, HEAD")
    }

    /// Refuses all methods but GET: for paths where beginning an answer costs as much as the whole answer.
    ///
    /// # Errors
    /// [`ApiError`].
    pub(super) fn get_alone(self) -> Result<Self, ApiError> {
        self.allow(&[Method::GET], "GET")
    }

    /// Refuses all methods but GET and POST.
    ///
    /// # Errors
    /// [`ApiError`] for any other method.
    pub(super) fn get_or_post(self) -> Result<Self, ApiError> {
        self.allow(&[Method::GET, Method::POST], "GET, POST")
    }

    /// Returns true for the method POST.
    pub(super) fn is_post(&self) -> bool {
        self.head.method == Method::POST
    }

    /// Returns the id of the last event of the stream that the client has received.
    pub(super) fn last_event_id(&self) -> Option<&str> {
        self.head.last_event_id.as_deref()
    }

    /// Refuses all methods but POST.
    ///
    /// # Errors
    /// [`ApiError`].
    pub(super) fn post(self) -> Result<Self, ApiError> {
        self.allow(&[Method::POST], "POST")
    }

    fn allow(self, methods: &[Method], names: &'static str) -> Result<Self, ApiError> {
        if methods.contains(&self.head.method) { Ok(self) } else { Err(ApiError::method_not_allowed(Some(names))) }
    }

    /// Reads the query: `take` takes its parameters, and what is left is refused.
    ///
    /// # Errors
    /// [`ApiError`] if the query is malformed, `take` refuses it, or something is left.
    pub(super) fn query<T>(&self, take: impl FnOnce(&mut Query<'_>) -> Result<T, String>) -> Result<T, ApiError> {
        let read = || {
            let mut query = Query::parse(self.head.query())?;
            // Read before, for all paths.
            query.take(TIMEOUT)?;
            let taken = take(&mut query)?;
            query.finish().map(|()| taken)
        };
        read().map_err(ApiError::invalid)
    }

    /// Returns true if the client asks for JSON in lines.
    pub(super) fn takes_lines(&self) -> bool {
        self.head.takes_lines
    }

    /// Returns true if the body is raw bytes, not JSON.
    pub(super) fn is_raw(&self) -> bool {
        self.head.content_type == Some(ContentType::OctetStream)
    }

    /// Reads the body.
    ///
    /// # Errors
    /// See [`BodyReader::read`].
    pub(super) async fn body(&mut self, reader: &BodyReader, bytes_max: usize) -> Result<Body, ApiError> {
        let by = self.own_deadline();
        let body = reader.read(pieces(&mut self.body), self.head.content_length, bytes_max, by).await?;
        if !self.is_timed {
            self.asker.deadline = Instant::now() + TIMEOUT_DEFAULT;
        }
        Ok(body)
    }
}

/// Returns the pieces of a body, as they arrive.
fn pieces(body: &mut RequestBody) -> impl Stream<Item = Result<Bytes, hyper::Error>> {
    stream::poll_fn(move |cx| {
        loop {
            let frame = ready!(Pin::new(&mut *body).poll_frame(cx));
            match frame.map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(piece))) => return Poll::Ready(Some(Ok(piece))),
                // Trailers are ignored.
                Some(Ok(Err(_))) => {}
                Some(Err(cause)) => return Poll::Ready(Some(Err(cause))),
                None => return Poll::Ready(None),
            }
        }
    })
}

/// Returns the time set in the query, if any.
fn time_of(query: &str) -> Result<Option<Duration>, ApiError> {
    // Hardly any query has it. Any letter of a name may be percent-encoded.
    if !query.contains(TIMEOUT) && !query.contains('%') {
        return Ok(None);
    }
    let found = Query::parse(query).and_then(|mut query| query.take(TIMEOUT)).map_err(ApiError::invalid)?;
    let Some(ms) = found else { return Ok(None) };
    let time = ms.parse().ok().map(Duration::from_millis).filter(|time| !time.is_zero() && *time <= TIMEOUT_MAX);
    time.map(Some).ok_or_else(|| {
        ApiError::invalid(format!("`{TIMEOUT}` must be a number of milliseconds from 1 to {}", TIMEOUT_MAX.as_millis()))
    })
}

/// Parses a body; `example` shows a valid one.
///
/// # Errors
/// [`ApiError`] if the body is not such JSON.
pub(super) fn from_json<T: DeserializeOwned>(body: &[u8], example: &str) -> Result<T, ApiError> {
    let body = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
    if body.is_empty() {
        return Err(ApiError::invalid(format!("invalid request body: it is empty. Example: {example}")));
    }
    serde_json::from_slice(body).map_err(|cause| {
        ApiError::invalid(format!("invalid request body: {}. Example: {example}", in_plain_words(&cause)))
    })
}

/// Describes the error in a body. If the body is valid JSON, the description names fields instead of lines and columns.
fn in_plain_words(cause: &serde_json::Error) -> String {
    let text = cause.to_string();
    if !cause.is_data() {
        return format!("it is not valid JSON: {text}");
    }
    let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(what, _)| what);
    match text.split_once(", expected ") {
        Some((what, allowed)) if what.starts_with("unknown field") => {
            let allowed = allowed.trim_start_matches("one of ").replace(" or ", ", ").replace('`', "");
            format!("{what} (allowed: {allowed})")
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use warp::http::{HeaderValue, Uri};

    /// Returns a request whose target and headers are parts of one buffer, as the server makes it.
    fn request_of(buffer: &Bytes, target: &str, values: &[(&'static str, &str)]) -> warp::http::Request<()> {
        let part = |text: &str| {
            let start = str::from_utf8(buffer).expect("text").find(text).expect("it is in there");
            buffer.slice(start..start + text.len())
        };
        let mut request = warp::http::Request::new(());
        *request.uri_mut() = Uri::from_maybe_shared(part(target)).expect("a target");
        for (name, value) in values {
            request.headers_mut().append(*name, HeaderValue::from_maybe_shared(part(value)).expect("a value"));
        }
        request
    }

    #[test]
    fn a_head_is_what_matters_of_it_and_leaves_its_buffer_alone() {
        for (target, path, query) in [
            ("/", "", ""),
            ("/get?key=a%20b&raw=true", "/get", "key=a%20b&raw=true"),
            ("/get/?key=a?b", "/get", "key=a?b"),
            ("/set?", "/set", ""),
            ("*", "*", ""),
            ("http://node1.example:8081/set", "/set", ""),
        ] {
            let values = [
                ("host", "node1.example"),
                ("content-type", "application/octet-stream; a=b"),
                ("content-length", "12"),
                ("kvd-redirect", "true"),
                ("kvd-level", "2"),
                ("x-empty", ""),
            ];
            let text = format!("{target}\r\n{}", values.map(|(_, value)| value).join("\r\n"));
            let buffer = Bytes::from(text.into_bytes());
            let mut request = request_of(&buffer, target, &values);
            assert!(!buffer.is_unique(), "a head is part of its buffer");
            let head = Head::take(&mut request).expect("it is well-formed");
            assert_eq!((head.path(), head.query()), (path, query), "{target}");
            assert_eq!((head.content_type, head.content_length), (Some(ContentType::OctetStream), Some(12)));
            assert_eq!(head.level, Some(2));
            assert!(head.redirects && buffer.is_unique(), "{target}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_body_is_said_by_its_fields() {
        #[derive(Debug, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Two {
            #[serde(rename = "key")]
            _key: String,
            #[serde(rename = "value")]
            _value: String,
        }
        for (body, says) in [
            (r#"{"key":"k","val":1}"#, "unknown field `val` (allowed: key, value). Example: {}"),
            (r#"{"key":"k"}"#, "missing field `value`. Example: {}"),
            (r#"{"key":7}"#, "invalid type: integer `7`, expected a string. Example: {}"),
            ("{key}", "it is not valid JSON: key must be a string at line 1 column 2. Example: {}"),
            ("", "it is empty. Example: {}"),
        ] {
            let refused = from_json::<Two>(body.as_bytes(), "{}").expect_err(body).into_body().message;
            assert_eq!(refused, format!("invalid request body: {says}"));
        }
    }

    #[test]
    fn headers_that_matter_are_well_formed() {
        for (name, value) in
            [("kvd-redirect", "yes"), ("kvd-level", "newest"), ("content-length", "-1"), ("content-type", "\u{e9}")]
        {
            let buffer = Bytes::from(format!("/set {value}"));
            let refused = Head::take(&mut request_of(&buffer, "/set", &[(name, value)])).expect_err(value);
            assert!(refused.into_body().message.contains(name), "{value}");
        }
    }
}
