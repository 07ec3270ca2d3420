//! `/set`, `/get`, `/delete`: reading and writing keys.

use super::body::Body;
use super::changed::{self, Watched};
use super::context::Context;
use super::convert::{to_api_item, to_api_keyed, to_api_lease, to_condition, to_held, to_put_lease, to_range};
use super::error::ApiError;
use super::freshness::Freshness;
use super::gateway::CommandLimits;
use super::reply;
use super::reply_budget;
use super::request::{Request, from_json};
use super::write::{Prepared, prepare, write};
use crate::kv::{self, DeleteDone, DeleteRange, DeleteRangeDone, KeyRange, Operation, Outcome, Put, PutDone};
use bytes::Bytes;
use kvclient::api::{self, Query};
use warp::http::StatusCode;
use warp::reply::{Reply as _, Response};

/// `POST /set`, with JSON or with raw bytes.
pub(super) async fn set(context: &Context, mut request: Request) -> Result<Response, ApiError> {
    let in_query = request.query(InQuery::take)?;
    let raw = if request.is_raw() { Some(in_query.into_set()?) } else { in_query.refuse().map(|()| None)? };
    let limits = context.gateway.limits;
    let bytes_max = if raw.is_some() { limits.value_bytes_max } else { context.json_bytes_max };
    let Body { bytes, charge: _held } = request.body(&context.bodies, bytes_max).await?;
    let body_bytes = bytes.len();
    let prepared = context.heavy_work(body_bytes, move || prepare_set(bytes, raw, limits)).await?;
    write(context, &request, prepared).await
}

/// Query of a write whose value is the raw body.
struct InQuery {
    key: Option<api::Key>,
    lease: Option<api::LeaseId>,
    ttl_ms: Option<u64>,
    client: Option<String>,
    seq: Option<u64>,
}

impl InQuery {
    fn take(query: &mut Query<'_>) -> Result<Self, String> {
        Ok(Self {
            key: query.take_key()?,
            lease: query.take_as("lease", "the id of a lease, 16 hexadecimal digits")?,
            ttl_ms: query.take_as("ttl_ms", "a number of milliseconds")?,
            client: query.take("client")?.map(Into::into),
            seq: query.take_as("seq", "a number that grows with each new request")?,
        })
    }

    /// Returns the write, still without its value.
    fn into_set(self) -> Result<api::SetRequest, ApiError> {
        let Self { key, lease, ttl_ms, client, seq } = self;
        let key = key.ok_or_else(|| ApiError::invalid("the key is missing: POST /set?key=K"))?;
        let request = match (client, seq) {
            (None, None) => None,
            (Some(client), Some(seq)) => Some(api::RequestId { client, seq }),
            (Some(_), None) | (None, Some(_)) => {
                return Err(ApiError::invalid("`client` and `seq` belong together: give both or neither"));
            }
        };
        let set = api::SetRequest { lease, ttl_ms, request, ..api::SetRequest::new(key, "") };
        set.check().map(|()| set).map_err(ApiError::invalid)
    }

    /// Refuses all of it beside a body in JSON.
    fn refuse(self) -> Result<(), ApiError> {
        match self {
            Self { key: None, lease: None, ttl_ms: None, client: None, seq: None } => Ok(()),
            _ => Err(ApiError::invalid(
                "`key`, `key_base64`, `lease`, `ttl_ms`, `client` and `seq` in the query need a body of raw bytes: send \
                 `Content-Type: application/octet-stream`",
            )),
        }
    }
}

/// `POST /delete`.
pub(super) async fn delete(context: &Context, mut request: Request) -> Result<Response, ApiError> {
    request.query(|_| Ok(()))?;
    let Body { bytes, charge: _held } = request.body(&context.bodies, context.json_bytes_max).await?;
    let limits = context.gateway.limits;
    let body_bytes = bytes.len();
    let prepared = context.heavy_work(body_bytes, move || prepare_delete(bytes, limits)).await?;
    write(context, &request, prepared).await
}

fn prepare_set(
    body: Bytes,
    raw: Option<api::SetRequest>,
    limits: CommandLimits,
) -> Result<Prepared<impl FnOnce(Outcome) -> Result<api::SetReply, Outcome>>, ApiError> {
    let request = match raw {
        Some(request) => api::SetRequest { value: body.into(), ..request },
        None => from_json(&body, r#"{"key":"color","value":"blue"}"#)?,
    };
    let api::SetRequest { key, value, condition, lease, ttl_ms, keep_lease, prev, request } = request;
    let lease = to_put_lease(lease, ttl_ms, keep_lease);
    let put = Put { lease, prev, ..Put::new(key.clone().into_bytes(), value) };
    let operation = Operation::Set { put, condition: condition.map(to_condition) };
    prepare(operation, request, limits, Some(key.clone()), move |outcome| match outcome {
        Outcome::Set { revision, done } => Ok(set_reply(revision, done, key, prev)),
        other => Err(other),
    })
}

fn prepare_delete(
    body: Bytes,
    limits: CommandLimits,
) -> Result<Prepared<impl FnOnce(Outcome) -> Result<api::DeleteReply, Outcome>>, ApiError> {
    let request: api::DeleteRequest = from_json(&body, r#"{"key":"color"}"#)?;
    let api::DeleteRequest { range, limit, condition, prev, request } = request;
    let (operation, key) = match range {
        api::Range::Key(key) => {
            let condition = condition.map(to_condition);
            (Operation::Delete { key: key.clone().into_bytes(), condition, prev }, Some(key))
        }
        range => {
            let held = match condition {
                None => None,
                Some(api::Condition::Held(held)) => Some(to_held(held)),
                Some(_) => return Err(ApiError::invalid("a delete of a range takes only a `held` condition")),
            };
            (Operation::DeleteRange { delete: DeleteRange { range: to_range(&range), limit, prev }, held }, None)
        }
    };
    prepare(operation, request, limits, key.clone(), move |outcome| match outcome {
        Outcome::Deleted { revision, done } => Ok(delete_reply(revision, done, key.unwrap_or_default(), prev)),
        Outcome::DeletedRange { revision, done } => Ok(delete_range_reply(revision, done)),
        other => Err(other),
    })
}

/// Returns the reply to a write of one key, by itself or in a transaction.
pub(super) fn set_reply(revision: u64, done: PutDone, key: api::Key, prev_asked: bool) -> api::SetReply {
    let PutDone { created, prev, lease } = done;
    let prev = prev_asked.then(|| prev.map(|item| to_api_item(key, item)));
    api::SetReply { prev, lease: lease.map(to_api_lease), ..api::SetReply::new(revision, created) }
}

/// Returns the reply to a delete of one key, by itself or in a transaction.
pub(super) fn delete_reply(revision: u64, done: DeleteDone, key: api::Key, prev_asked: bool) -> api::DeleteReply {
    let DeleteDone { deleted, prev } = done;
    let prev = prev_asked.then(|| prev.map(|item| to_api_item(key, item)));
    api::DeleteReply { prev, ..api::DeleteReply::new(revision, deleted.into()) }
}

/// Returns the reply to a delete of a range, by itself or in a transaction.
pub(super) fn delete_range_reply(revision: u64, done: DeleteRangeDone) -> api::DeleteReply {
    let DeleteRangeDone { deleted, more, items } = done;
    let items = items.map(|items| items.into_iter().map(to_api_keyed).collect());
    api::DeleteReply { more, items, ..api::DeleteReply::new(revision, deleted) }
}

/// `GET /get`.
pub(super) async fn get(context: &Context, request: Request) -> Result<Response, ApiError> {
    let api::GetQuery { key, raw, revision, wait, read } = request.query(api::GetQuery::take)?;
    let freshness = Freshness::of(read);
    match revision {
        Some(at) => freshness.wait_for_past(context, request.asker(), at).await?,
        None => freshness.wait(context, request.asker()).await?,
    }
    if let Some(wait) = wait {
        freshness.check_seen(context, wait.newer_than)?;
        let watched = Watched::new(KeyRange::of_key(key.as_bytes()));
        changed::wait(context, wait, watched, request.own_deadline()).await?;
    }
    let answer = answer_get(context, key, revision, raw).await;
    Ok(freshness.sign(context, answer.unwrap_or_else(ApiError::into_response)))
}

async fn answer_get(
    context: &Context,
    key: api::Key,
    at: Option<kv::Revision>,
    raw: bool,
) -> Result<Response, ApiError> {
    let (charge, reply) = context.gateway.with_store(|store| {
        let revision = store.revision();
        let found = match at {
            None => store.get_ref(key.as_bytes()),
            Some(at) => store.get_at(key.as_bytes(), at).map_err(ApiError::compacted)?,
        };
        let item = found.ok_or_else(|| ApiError::key_not_found(revision))?;
        // A value is copied only once there is memory for it.
        let charge = context.replies.charge(item.value.len())?;
        Ok::<_, ApiError>((charge, api::GetReply { item: to_api_item(key, item.to_item()), revision }))
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
