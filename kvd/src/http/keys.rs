//! `/set`, `/get`, `/delete`: reading and writing keys.
//!
//! Every invalid command is refused here, before it is proposed: a command in the log applies on every replica,
//! forever.

use super::body::Body;
use super::context::Context;
use super::error::ApiError;
use super::freshness::Freshness;
use super::gateway::{OfTerm, check_limits};
use super::reply_budget::{self, Charge, ReplyBudget};
use super::request::{Request, from_json};
use super::{error, reply};
use crate::kv::{self, Command, ItemRef, Operation, Outcome};
use bytes::Bytes;
use kvclient::api;
use serde::Serialize;
use std::borrow::Cow;
use warp::http::StatusCode;
use warp::reply::{Reply as _, Response};

/// `POST /set`, with JSON or with raw bytes.
pub(super) async fn set(context: &Context, mut request: Request) -> Result<Response, ApiError> {
    let [key, client, seq] = request.parameters(["key", "client", "seq"])?;
    let raw = match (request.is_raw(), key) {
        (true, Some(key)) => Some(RawSet { key: key.into_owned(), request: raw_request_id(client, seq)? }),
        (true, None) => return Err(ApiError::invalid("the key is missing: POST /set?key=K")),
        (false, None) if client.is_none() && seq.is_none() => None,
        (false, _) => {
            return Err(ApiError::invalid(
                "`key`, `client` and `seq` in the query need a body of raw bytes: send `Content-Type: \
                 application/octet-stream`",
            ));
        }
    };
    let value_bytes_max = context.gateway.value_bytes_max;
    let bytes_max = if raw.is_some() { value_bytes_max } else { context.json_bytes_max };
    let Body { bytes, charge: _held } = request.body(&context.bodies, bytes_max).await?;
    let body_bytes = bytes.len();
    let prepared = context.heavy_work(body_bytes, move || prepare_set(bytes, raw, value_bytes_max)).await?;
    write(context, &request, prepared).await
}

/// `POST /delete`.
pub(super) async fn delete(context: &Context, mut request: Request) -> Result<Response, ApiError> {
    let [] = request.parameters([])?;
    let Body { bytes, charge: _held } = request.body(&context.bodies, context.json_bytes_max).await?;
    let value_bytes_max = context.gateway.value_bytes_max;
    let body_bytes = bytes.len();
    let prepared = context.heavy_work(body_bytes, move || prepare_delete(&bytes, value_bytes_max)).await?;
    write(context, &request, prepared).await
}

/// Has a checked write applied, and renders the outcome.
async fn write(context: &Context, request: &Request, prepared: Prepared) -> Result<Response, ApiError> {
    let Prepared { command, key, prev } = prepared;
    let OfTerm { value, term } = context.gateway.write(request.asker(), request.target(), command).await?;
    let budget = context.replies.clone();
    let rendered = context.heavy_work(item_bytes(&value), move || render(&budget, value, key, prev)).await;
    // A refusal that the log decided has its term as well.
    Ok(reply::of_term(rendered.unwrap_or_else(ApiError::into_response), term))
}

/// A checked write.
struct Prepared {
    /// The command as it will be in the log.
    command: Bytes,
    key: String,
    /// True if the reply must contain the previous item.
    prev: bool,
}

/// Query of a write whose value is the raw body.
struct RawSet {
    key: String,
    request: Option<api::RequestId>,
}

/// Returns the id of a request, from the query.
fn raw_request_id(client: Option<Cow<'_, str>>, seq: Option<Cow<'_, str>>) -> Result<Option<api::RequestId>, ApiError> {
    match (client, seq) {
        (None, None) => Ok(None),
        (Some(client), Some(seq)) => {
            let seq = seq.parse().map_err(|_| {
                ApiError::invalid(
                    "`seq` must be a number that grows with each new \
                 request",
                )
            })?;
            Ok(Some(api::RequestId { client: client.into_owned(), seq }))
        }
        (Some(_), None) | (None, Some(_)) => {
            Err(ApiError::invalid("`client` and `seq` belong together: give both or neither"))
        }
    }
}

fn prepare_set(body: Bytes, raw: Option<RawSet>, value_bytes_max: usize) -> Result<Prepared, ApiError> {
    let request = match raw {
        Some(RawSet { key, request }) => api::SetRequest { request, ..api::SetRequest::new(key, body) },
        None => from_json(&body, r#"{"key":"color","value":"blue"}"#)?,
    };
    let api::SetRequest { key, value, condition, prev, request } = request;
    let condition = condition.map(to_condition);
    let operation = Operation::Set { key: key.clone().into(), value: value.into(), condition, prev };
    prepare(operation, request, key, prev, value_bytes_max)
}

fn prepare_delete(body: &[u8], value_bytes_max: usize) -> Result<Prepared, ApiError> {
    let request: api::DeleteRequest = from_json(body, r#"{"key":"color"}"#)?;
    let api::DeleteRequest { key, condition, prev, request } = request;
    let condition = condition.map(to_condition);
    prepare(Operation::Delete { key: key.clone().into(), condition, prev }, request, key, prev, value_bytes_max)
}

fn prepare(
    operation: Operation,
    request: Option<api::RequestId>,
    key: String,
    prev: bool,
    value_bytes_max: usize,
) -> Result<Prepared, ApiError> {
    let command = Command { operation, request: request.map(to_request_id) };
    check_limits(&command, value_bytes_max)?;
    Ok(Prepared { command: command.encode(), key, prev })
}

/// Returns the number of value bytes in the reply to a write.
fn item_bytes(outcome: &Outcome) -> usize {
    match outcome {
        Outcome::Set { prev: item, .. }
        | Outcome::Deleted { prev: item, .. }
        | Outcome::ConditionFailed { current: item } => item.as_ref().map_or(0, |item| item.value.len()),
        Outcome::StaleRequest { .. } | Outcome::SessionsFull | Outcome::SeqReused | Outcome::LevelRaised { .. } => 0,
    }
}

/// `GET /get`.
pub(super) async fn get(context: &Context, request: Request) -> Result<Response, ApiError> {
    let names = ["key", "raw", "consistency", "max_stale_ms", "min_revision"];
    let [key, raw, consistency, max_stale_ms, min_revision] = request.parameters(names)?;
    let key = key.ok_or_else(|| ApiError::invalid("the key is missing: GET /get?key=K"))?;
    kv::check_key(key.as_bytes())?;
    let raw = match raw.as_deref() {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return Err(ApiError::invalid("`raw` must be true or false")),
    };
    let freshness = Freshness::read(consistency.as_deref(), max_stale_ms.as_deref(), min_revision.as_deref())?;
    freshness.wait(context, request.asker()).await?;
    let answer = answer_get(context, key.into_owned(), raw).await;
    Ok(freshness.sign(context, answer.unwrap_or_else(ApiError::into_response)))
}

async fn answer_get(context: &Context, key: String, raw: bool) -> Result<Response, ApiError> {
    let (charge, reply) = context.gateway.with_store(|store| {
        let revision = store.revision();
        let ItemRef { value, create_revision, mod_revision, version } =
            store.get_ref(key.as_bytes()).ok_or_else(|| ApiError::key_not_found(revision))?;
        // A value is copied only once there is memory for it.
        let charge = context.replies.charge(value.len())?;
        let item = api::Item { key, value: value.to_vec(), create_revision, mod_revision, version };
        Ok::<_, ApiError>((charge, api::GetReply { item, revision }))
    })?;
    let (item_bytes, revision) = (reply.item.value.len(), reply.revision);
    if raw {
        let mod_revision = reply.item.mod_revision;
        return Ok(reply::raw(context.replies.attach(charge, reply.item.value)?, mod_revision, revision));
    }
    let budget = context.replies.clone();
    let rendered =
        context.heavy_work(item_bytes, move || reply_budget::charged(&budget, charge, StatusCode::OK, &reply)).await?;
    Ok(reply::at_revision(rendered, revision))
}

fn to_condition(condition: api::Condition) -> kv::Condition {
    match condition {
        api::Condition::Absent => kv::Condition::Absent,
        api::Condition::Present => kv::Condition::Present,
        api::Condition::ModRevision(revision) => kv::Condition::ModRevision(revision),
        api::Condition::Value(value) => kv::Condition::Value(value.into()),
    }
}

fn to_request_id(request: api::RequestId) -> kv::RequestId {
    let api::RequestId { client, seq } = request;
    kv::RequestId { client, seq }
}

fn to_api_item(key: String, item: kv::Item) -> api::Item {
    let kv::Item { value, create_revision, mod_revision, version } = item;
    api::Item { key, value: value.into(), create_revision, mod_revision, version }
}

/// Renders the reply to a command.
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
            reply_budget::charged(budget, Charge::NONE, StatusCode::PRECONDITION_FAILED, &reply)
        }
        Outcome::StaleRequest { newest } => Err(ApiError::stale_request(newest)),
        Outcome::SeqReused => {
            Err(ApiError::invalid("this client has already used this `seq` for another request: use a higher `seq`"))
        }
        Outcome::SessionsFull => Err(ApiError::overloaded(
            "too many client names were used within the last hour: use them again instead of new ones, or send no `request`",
        )),
        // No client can send that command.
        Outcome::LevelRaised { .. } => Err(ApiError::internal()),
    }
}

/// Renders the reply to an applied write. Even if that fails, the reply must not claim that the write was not applied.
fn render_applied(budget: &ReplyBudget, reply: &impl Serialize) -> Result<Response, ApiError> {
    reply_budget::charged(budget, Charge::NONE, StatusCode::OK, reply).map_err(|_| {
        ApiError::outcome_unknown(
            "the write was applied, but too many large replies are in flight to send the previous item: repeat it with \
             the same `request`, or read the key",
        )
    })
}
