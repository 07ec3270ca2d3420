//! `/lease` and `/leases`: leases, and the time that is left of them.

use super::body::Body;
use super::context::Context;
use super::convert::{to_api_lease, to_lease};
use super::error::ApiError;
use super::freshness::Freshness;
use super::list::Token;
use super::reply;
use super::reply_budget::{self, Charge};
use super::request::{Request, from_json};
use super::write::{prepare, write};
use crate::kv::{COMMAND_LEASES_MAX, LeaseId, LeaseRef, Operation, Outcome, PIECE_KEYS_MAX, Store};
use bytes::Bytes;
use kvclient::api::{
    GrantReply, GrantRequest, KeepAliveReply, KeepAliveRequest, Key, LeaseQuery, LeaseReply, LeasesQuery, LeasesReply,
    PAGE_ITEMS_MAX, ReadOptions, RevokeReply, RevokeRequest,
};
use tokio::task::yield_now;
use warp::http::StatusCode;
use warp::reply::{Reply as _, Response};

/// Largest body with leases, in bytes: each has an id of 16 digits, with quotes and a comma.
const BODY_BYTES_MAX: usize = COMMAND_LEASES_MAX * 24 + (4 << 10);

/// Bytes of a lease in a list.
const LEASE_BYTES: usize = 100;

/// `POST /lease/grant`.
pub(super) async fn grant(context: &Context, mut request: Request) -> Result<Response, ApiError> {
    request.query(|_| Ok(()))?;
    let Body { bytes, charge: _held } = request.body(&context.bodies, BODY_BYTES_MAX).await?;
    let GrantRequest { ttl_ms, lease, request: id } = from_json(&bytes, r#"{"ttl_ms":15000}"#)?;
    let shape = |outcome| match outcome {
        Outcome::LeaseGranted { lease, ttl_ms } => Ok(GrantReply { lease: to_api_lease(lease), ttl_ms }),
        other => Err(other),
    };
    let operation = Operation::GrantLease { lease: lease.map(to_lease), ttl_ms };
    write(context, &request, prepare(operation, id, context.gateway.limits, None, shape)?).await
}

/// `POST /lease/keepalive`.
pub(super) async fn keepalive(context: &Context, mut request: Request) -> Result<Response, ApiError> {
    request.query(|_| Ok(()))?;
    let Body { bytes, charge: _held } = request.body(&context.bodies, BODY_BYTES_MAX).await?;
    let asked: KeepAliveRequest = from_json(&bytes, r#"{"lease":"00000000000004d2"}"#)?;
    let leases = match &asked {
        KeepAliveRequest::One(lease) => vec![to_lease(*lease)],
        KeepAliveRequest::Many(leases) => leases.iter().copied().map(to_lease).collect(),
    };
    let shape = move |outcome| match (outcome, asked) {
        (Outcome::KeptAlive { ttls_ms }, KeepAliveRequest::One(lease)) => match ttls_ms[..] {
            [Some(ttl_ms)] => Ok(KeepAliveReply::One { ttl_ms }),
            _ => Err(Outcome::LeaseNotFound { lease: to_lease(lease) }),
        },
        (Outcome::KeptAlive { ttls_ms }, KeepAliveRequest::Many(leases)) => {
            Ok(KeepAliveReply::Many { leases: leases.into_iter().zip(ttls_ms).collect() })
        }
        (other, _) => Err(other),
    };
    let operation = Operation::KeepAlive { leases };
    write(context, &request, prepare(operation, None, context.gateway.limits, None, shape)?).await
}

/// `POST /lease/revoke`.
pub(super) async fn revoke(context: &Context, mut request: Request) -> Result<Response, ApiError> {
    request.query(|_| Ok(()))?;
    let Body { bytes, charge: _held } = request.body(&context.bodies, BODY_BYTES_MAX).await?;
    let RevokeRequest { lease, request: id } = from_json(&bytes, r#"{"lease":"00000000000004d2"}"#)?;
    let shape = |outcome| match outcome {
        Outcome::LeaseRevoked { revision, deleted } => Ok(RevokeReply { revision, deleted }),
        other => Err(other),
    };
    let operation = Operation::RevokeLease { lease: to_lease(lease) };
    write(context, &request, prepare(operation, id, context.gateway.limits, None, shape)?).await
}

/// `GET /lease`.
pub(super) async fn lease(context: &Context, request: Request) -> Result<Response, ApiError> {
    let LeaseQuery { lease, keys, read } = request.query(LeaseQuery::take)?;
    let freshness = Freshness::of(read);
    let time_ms = freshness.wait_timed(context, request.asker()).await?;
    let answer = answer_lease(context, to_lease(lease), keys, time_ms).await;
    Ok(freshness.sign(context, answer.unwrap_or_else(ApiError::into_response)))
}

async fn answer_lease(
    context: &Context,
    id: LeaseId,
    with_keys: bool,
    time_ms: Option<u64>,
) -> Result<Response, ApiError> {
    let (mut charge, mut keys) = (Charge::NONE, Vec::<Key>::new());
    // The keys of a lease are read in pieces. A key that is attached or detached between two pieces may or may not be
    // listed: either was true while the request was being answered.
    let (found, revision) = loop {
        let (found, is_last, revision) = context.gateway.with_store(|store| {
            let after = keys.last().cloned();
            let found = store.lease(id, after.as_ref().map(Key::as_bytes));
            let (lease, more) = found.ok_or_else(|| ApiError::lease_not_found(id, Some(store.revision())))?;
            let before = keys.len();
            for key in more.take(if with_keys { PIECE_KEYS_MAX } else { 0 }) {
                context.replies.extend(&mut charge, key.len())?;
                keys.push(key.into());
            }
            Ok::<_, ApiError>((to_reply(store, lease, time_ms), keys.len() - before < PIECE_KEYS_MAX, store.revision()))
        })?;
        if is_last {
            break (found, revision);
        }
        yield_now().await;
    };
    let keys_bytes = keys.iter().map(|key| key.as_bytes().len()).sum();
    let reply = if with_keys { LeaseReply { keys: keys.len() as u64, items: Some(keys), ..found } } else { found };
    let budget = context.replies.clone();
    let render = move || reply_budget::charged(&budget, charge, StatusCode::OK, &reply);
    Ok(reply::at_revision(context.heavy_work(keys_bytes, render).await?, revision))
}

/// `GET /leases`.
pub(super) async fn leases(context: &Context, request: Request) -> Result<Response, ApiError> {
    let query = request.query(LeasesQuery::take)?;
    let parameters = parameters(&query);
    let token = query.next.as_ref().map(|next| Token::read(next, &context.cluster(), &parameters)).transpose()?;
    let freshness = Freshness::of(query.read);
    let time_ms = freshness.wait_timed(context, request.asker()).await?;
    // Each page is of the present. It must not be older than the page before.
    if let Some(token) = &token {
        freshness.check_seen(context, token.revision)?;
    }
    let after =
        token.and_then(|token| token.position[..].try_into().ok()).map(u64::from_be_bytes).and_then(LeaseId::new);
    let answer = answer_leases(context, &query, after, &parameters, time_ms).await;
    Ok(freshness.sign(context, answer.unwrap_or_else(ApiError::into_response)))
}

async fn answer_leases(
    context: &Context,
    query: &LeasesQuery,
    mut after: Option<LeaseId>,
    parameters: &str,
    time_ms: Option<u64>,
) -> Result<Response, ApiError> {
    let limit = usize::try_from(query.limit.unwrap_or(PAGE_ITEMS_MAX)).unwrap_or(usize::MAX);
    let mut page: Vec<LeaseReply> = Vec::new();
    let (more, revision) = loop {
        // True if the page is full, false if there are no more leases.
        let (ended, revision) = context.gateway.with_store(|store| {
            for (looked_at, (id, lease)) in store.leases(after).enumerate() {
                if looked_at == PIECE_KEYS_MAX {
                    return (None, store.revision());
                }
                if let Some(lease) = lease {
                    if page.len() == limit {
                        return (Some(true), store.revision());
                    }
                    page.push(to_reply(store, lease, time_ms));
                }
                after = Some(id);
            }
            (Some(false), store.revision())
        });
        if let Some(more) = ended {
            break (more, revision);
        }
        yield_now().await;
    };
    let next = after.filter(|_| more).map(|after| {
        let position = Bytes::copy_from_slice(&after.get().to_be_bytes());
        Token { revision, position, count: None }.write(&context.cluster(), parameters)
    });
    let leases = page.len();
    let reply = LeasesReply { leases: page, revision, more, next };
    let budget = context.replies.clone();
    let render = move || reply_budget::charged(&budget, Charge::NONE, StatusCode::OK, &reply);
    Ok(reply::at_revision(context.heavy_work(leases * LEASE_BYTES, render).await?, revision))
}

/// Returns the parameters that all pages of a list of leases share, and that no other list has.
fn parameters(query: &LeasesQuery) -> String {
    let LeasesQuery { limit, next: _, read: _ } = query;
    format!("leases {}", LeasesQuery { limit: *limit, next: None, read: ReadOptions::default() }.to_query())
}

/// Returns a lease as it is at `time_ms`: cluster time in milliseconds, from the leader's answer if that has one.
fn to_reply(store: &Store, lease: LeaseRef, time_ms: Option<u64>) -> LeaseReply {
    let LeaseRef { id, ttl_ms, keys, ends_ms, .. } = lease;
    // Without it, the time of the newest command is the latest that this node knows.
    let now_ms = time_ms.unwrap_or(0).max(store.time_ms());
    let remaining_ms = ends_ms.saturating_sub(now_ms);
    LeaseReply { lease: to_api_lease(id), ttl_ms, remaining_ms, keys: keys as u64, items: None }
}
