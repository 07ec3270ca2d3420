//! `/set`, `/get`, `/delete`: reading and writing keys.
//!
//! Everything that could make a command bad is refused here, before it is proposed: what stands in the
//! log applies on every replica, for ever.

use super::body::Body;
use super::context::Context;
use super::error::ApiError;
use super::reply::{Charge, ReplyBudget};
use super::{error, query, reply};
use crate::kv::{self, Command, ItemRef, Operation, Outcome};
use bytes::{Buf, Bytes};
use futures_util::Stream;
use kvclient::api;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::convert::Infallible;
use std::str::FromStr;
use warp::http::{Method, StatusCode};
use warp::reply::Response;

/// What matters of a `Content-Type`: everything but raw bytes is read as JSON.
#[derive(Clone, Copy, PartialEq)]
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

/// What the routes hand over of a request with a body, of which nothing has been read.
pub(super) struct Upload<S> {
    pub(super) method: Method,
    /// The query string as it came.
    pub(super) query: String,
    pub(super) content_type: Option<ContentType>,
    pub(super) content_length: Option<u64>,
    pub(super) pieces: S,
}

impl<B: Buf, S: Stream<Item = Result<B, warp::Error>>> Upload<S> {
    /// The body of a POST that takes no query parameters, and the query string as it came.
    ///
    /// # Errors
    /// [`ApiError`] for another method, for parameters, and for a body that is too large or does not arrive.
    pub(super) async fn into_body(self, context: &Context, bytes_max: usize) -> Result<(Body, String), ApiError> {
        post_only(&self.method)?;
        let [] = query::parse(&self.query, [])?;
        let body = context.bodies.read(self.pieces, self.content_length, bytes_max).await?;
        Ok((body, self.query))
    }
}

/// `POST /set`, with JSON or with raw bytes.
pub(super) async fn set<B: Buf>(
    context: &Context,
    upload: Upload<impl Stream<Item = Result<B, warp::Error>>>,
) -> Result<Response, ApiError> {
    post_only(&upload.method)?;
    let raw = upload.content_type == Some(ContentType::OctetStream);
    let raw_key = match query::parse(&upload.query, ["key"])? {
        [Some(key)] if raw => Some(key.into_owned()),
        [None] if raw => return Err(ApiError::invalid("raw bytes need a key: POST /set?key=K")),
        [Some(_)] => {
            let sentence = "with ?key= the body is the value: send `Content-Type: application/octet-stream`";
            return Err(ApiError::invalid(sentence));
        }
        [None] => None,
    };
    let value_bytes_max = context.gateway.value_bytes_max;
    let bytes_max = if raw { value_bytes_max } else { context.json_bytes_max };
    let Body { bytes, charge: _held } = context.bodies.read(upload.pieces, upload.content_length, bytes_max).await?;
    let body_bytes = bytes.len();
    let prepare = move || prepare_set(bytes, raw_key, value_bytes_max);
    let Prepared { command, key, prev } = context.heavy_work(body_bytes, prepare).await?;
    let outcome = context.write(command, || target("/set", &upload.query)).await?;
    let budget = context.replies.clone();
    context.heavy_work(item_bytes(&outcome), move || render(&budget, outcome, key, prev)).await
}

/// `POST /delete`.
pub(super) async fn delete<B: Buf>(
    context: &Context,
    upload: Upload<impl Stream<Item = Result<B, warp::Error>>>,
) -> Result<Response, ApiError> {
    let (Body { bytes, charge: _held }, query) = upload.into_body(context, context.json_bytes_max).await?;
    let value_bytes_max = context.gateway.value_bytes_max;
    let body_bytes = bytes.len();
    let prepare = move || prepare_delete(&bytes, value_bytes_max);
    let Prepared { command, key, prev } = context.heavy_work(body_bytes, prepare).await?;
    let outcome = context.write(command, || target("/delete", &query)).await?;
    let budget = context.replies.clone();
    context.heavy_work(item_bytes(&outcome), move || render(&budget, outcome, key, prev)).await
}

/// A checked write.
struct Prepared {
    /// The command as it will stand in the log.
    command: Bytes,
    key: String,
    /// Whether the item before is wanted in the reply.
    prev: bool,
}

fn prepare_set(body: Bytes, raw_key: Option<String>, value_bytes_max: usize) -> Result<Prepared, ApiError> {
    let request = match raw_key {
        Some(key) => api::SetRequest::new(key, body),
        None => from_json(&body, r#"{"key":"color","value":"blue"}"#)?,
    };
    let api::SetRequest { key, value, condition, prev, request } = request;
    if value.len() > value_bytes_max {
        return Err(ApiError::ValueTooLarge { bytes_max: value_bytes_max });
    }
    let condition = to_condition(condition, value_bytes_max)?;
    let operation = Operation::Set { key: key.clone().into(), value: value.into(), condition, prev };
    prepare(operation, request, key, prev)
}

fn prepare_delete(body: &[u8], value_bytes_max: usize) -> Result<Prepared, ApiError> {
    let request: api::DeleteRequest = from_json(body, r#"{"key":"color"}"#)?;
    let api::DeleteRequest { key, condition, prev, request } = request;
    let condition = to_condition(condition, value_bytes_max)?;
    prepare(Operation::Delete { key: key.clone().into(), condition, prev }, request, key, prev)
}

fn prepare(
    operation: Operation,
    request: Option<api::RequestId>,
    key: String,
    prev: bool,
) -> Result<Prepared, ApiError> {
    let command = Command { operation, request: request.map(to_request_id) };
    command.validate()?;
    Ok(Prepared { command: command.encode(), key, prev })
}

/// Bytes of values that go into the reply to a write.
fn item_bytes(outcome: &Outcome) -> usize {
    match outcome {
        Outcome::Set { prev: item, .. }
        | Outcome::Deleted { prev: item, .. }
        | Outcome::ConditionFailed { current: item } => item.as_ref().map_or(0, |item| item.value.len()),
        Outcome::StaleRequest { .. } | Outcome::SessionsFull | Outcome::SeqReused => 0,
    }
}

/// `GET /get`.
pub(super) async fn get(context: &Context, method: Method, query: String) -> Result<Response, ApiError> {
    get_only(&method)?;
    let [key, raw, consistency] = query::parse(&query, ["key", "raw", "consistency"])?;
    let key = key.ok_or_else(|| ApiError::invalid("name the key: GET /get?key=K"))?;
    kv::check_key(key.as_bytes())?;
    let raw = match raw.as_deref() {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return Err(ApiError::invalid("`raw` is true or false")),
    };
    freshen(context, consistency.as_deref()).await?;
    let charge;
    let reply = {
        let store = context.store();
        let ItemRef { value, create_revision, mod_revision, version } =
            store.get_ref(key.as_bytes()).ok_or(ApiError::KeyNotFound)?;
        charge = context.replies.charge(value.len())?;
        if raw {
            return Ok(reply::raw(context.replies.attach(charge, value.to_vec())?, mod_revision));
        }
        let value = value.to_vec();
        let item = api::Item { key: key.into_owned(), value, create_revision, mod_revision, version };
        api::GetReply { item, revision: store.revision() }
    };
    let item_bytes = reply.item.value.len();
    let budget = context.replies.clone();
    context.heavy_work(item_bytes, move || reply::charged(&budget, charge, StatusCode::OK, &reply)).await
}

/// Waits until the store of this node is as fresh as the parameter `consistency` asks for.
pub(super) async fn freshen(context: &Context, consistency: Option<&str>) -> Result<(), ApiError> {
    context.check_not_diverged()?;
    match consistency {
        None | Some("linearizable") => context.freshen().await,
        Some("stale") => Ok(()),
        Some(_) => Err(ApiError::invalid("`consistency` is linearizable or stale")),
    }
}

/// Refuses other methods than POST.
fn post_only(method: &Method) -> Result<(), ApiError> {
    if *method == Method::POST { Ok(()) } else { Err(ApiError::MethodNotAllowed { allow: Some("POST") }) }
}

/// Refuses other methods than GET, and HEAD, whose reply the server cuts to its headers.
pub(super) fn get_only(method: &Method) -> Result<(), ApiError> {
    if *method == Method::GET || *method == Method::HEAD {
        Ok(())
    } else {
        Err(ApiError::MethodNotAllowed { allow: Some("GET, HEAD") })
    }
}

/// Reads a body; `example` is what one looks like.
pub(super) fn from_json<T: DeserializeOwned>(body: &[u8], example: &str) -> Result<T, ApiError> {
    if body.is_empty() {
        return Err(ApiError::invalid(format!("the body is empty: send JSON such as {example}")));
    }
    serde_json::from_slice(body).map_err(|cause| {
        ApiError::invalid(format!("the body is not the JSON this path takes: {cause}; send {example}"))
    })
}

fn to_condition(condition: Option<api::Condition>, value_bytes_max: usize) -> Result<Option<kv::Condition>, ApiError> {
    condition
        .map(|condition| match condition {
            api::Condition::Absent => Ok(kv::Condition::Absent),
            api::Condition::Present => Ok(kv::Condition::Present),
            api::Condition::ModRevision(revision) => Ok(kv::Condition::ModRevision(revision)),
            // No value is that large, but the condition would stand in the log.
            api::Condition::Value(value) if value.len() > value_bytes_max => {
                Err(ApiError::ValueTooLarge { bytes_max: value_bytes_max })
            }
            api::Condition::Value(value) => Ok(kv::Condition::Value(value.into())),
        })
        .transpose()
}

fn to_request_id(request: api::RequestId) -> kv::RequestId {
    let api::RequestId { client, seq } = request;
    kv::RequestId { client, seq }
}

fn to_api_item(key: String, item: kv::Item) -> api::Item {
    let kv::Item { value, create_revision, mod_revision, version } = item;
    api::Item { key, value: value.into(), create_revision, mod_revision, version }
}

/// The reply to a command.
fn render(budget: &ReplyBudget, outcome: Outcome, key: String, prev_asked: bool) -> Result<Response, ApiError> {
    match outcome {
        Outcome::Set { revision, created, prev } => {
            let prev = prev_asked.then(|| prev.map(|item| to_api_item(key, item)));
            render_applied(budget, &api::SetReply { revision, created, prev })
        }
        Outcome::Deleted { revision, deleted, prev } => {
            let prev = prev_asked.then(|| prev.map(|item| to_api_item(key, item)));
            render_applied(budget, &api::DeleteReply { revision, deleted: deleted.into(), prev })
        }
        Outcome::ConditionFailed { current } => {
            let reply = error::condition_failed(current.map(|item| to_api_item(key, item)));
            reply::charged(budget, Charge::NONE, StatusCode::PRECONDITION_FAILED, &reply)
        }
        Outcome::StaleRequest { newest } => Err(ApiError::StaleRequest { newest }),
        Outcome::SeqReused => {
            Err(ApiError::invalid("this `seq` was another request of this client: use a new, higher `seq`"))
        }
        Outcome::SessionsFull => Err(ApiError::Overloaded(
            "too many client names were used within the last hour: use them again instead of new ones, or send no `request`",
        )),
    }
}

/// The reply to a write that was applied: whatever hinders it, it must not be told that it was not.
fn render_applied(budget: &ReplyBudget, reply: &impl Serialize) -> Result<Response, ApiError> {
    reply::charged(budget, Charge::NONE, StatusCode::OK, reply).map_err(|_| {
        ApiError::OutcomeUnknown(
            "the write was applied, but too many large replies are under way to send the item before: repeat it with \
             the same `request`, or read the key",
        )
    })
}

/// Path and query of the same request at another node.
pub(super) fn target(path: &str, query: &str) -> String {
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}
