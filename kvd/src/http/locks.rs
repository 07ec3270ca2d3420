//! `/lock`, `/unlock` and `/lock/watch`: locks, and elections, which are locks with a value.
//!
//! The state machine decides who holds a lock: see `kv/store/locks.rs`. Here a client waits for its turn (`turn`) or
//! follows the holders (`holders`).

mod holders;
mod place;
mod turn;

pub(super) use holders::watch;

use super::body::Body;
use super::context::Context;
use super::convert::{to_api_lease, to_held};
use super::error::ApiError;
use super::freshness::Freshness;
use super::reply;
use super::reply_budget;
use super::request::{Request, from_json};
use super::write::{prepare, write};
use crate::kv::{Operation, Outcome, PIECE_KEYS_MAX};
use kvclient::api::{Held, LockQuery, LockReply, LockRequest, LockState, UnlockReply, UnlockRequest};
use place::{held_ms, to_place};
use turn::Turn;
use warp::http::StatusCode;
use warp::reply::{Reply as _, Response};

/// `POST /lock`.
pub(super) async fn lock(context: &Context, mut request: Request) -> Result<Response, ApiError> {
    request.query(|_| Ok(()))?;
    let Body { bytes, charge: _held } = request.body(&context.bodies, context.json_bytes_max).await?;
    let asked: LockRequest = from_json(&bytes, r#"{"name":"jobs/nightly","ttl_ms":30000,"wait_ms":60000}"#)?;
    let name = asked.name.clone();
    let taken = Turn::of(context, asked, request.own_deadline())?.take().await;
    let answer = taken.map(|(lease, token)| reply::ok(&LockReply { name, token, lease: to_api_lease(lease) }));
    Ok(reply::of_term(answer.unwrap_or_else(ApiError::into_response), context.gateway.view.borrow().term))
}

/// `POST /unlock`.
pub(super) async fn unlock(context: &Context, mut request: Request) -> Result<Response, ApiError> {
    request.query(|_| Ok(()))?;
    let Body { bytes, charge: _held } = request.body(&context.bodies, context.json_bytes_max).await?;
    let UnlockRequest { name, token, request: id } = from_json(&bytes, r#"{"name":"jobs/nightly","token":57}"#)?;
    let operation = Operation::Unlock { held: to_held(Held { name, token }) };
    let shape = |outcome| match outcome {
        Outcome::Unlocked { revision } => Ok(UnlockReply { revision }),
        other => Err(other),
    };
    write(context, &request, prepare(operation, id, context.gateway.limits, None, shape)?).await
}

/// `GET /lock`.
pub(super) async fn state(context: &Context, request: Request) -> Result<Response, ApiError> {
    let LockQuery { name, read } = request.query(LockQuery::take)?;
    let freshness = Freshness::of(read);
    let time_ms = freshness.wait_timed(context, request.asker()).await?;
    let answer = answer_state(context, name, time_ms).await;
    Ok(freshness.sign(context, answer.unwrap_or_else(ApiError::into_response)))
}

async fn answer_state(context: &Context, name: String, time_ms: Option<u64>) -> Result<Response, ApiError> {
    let (mut places, mut charge, mut bytes) = (Vec::new(), reply_budget::Charge::NONE, 0);
    let (revision, more) = context.gateway.with_store(|store| {
        // Of a queue of thousands, only the first places are returned.
        let mut queue = store.places(name.as_bytes());
        for holder in queue.by_ref().take(PIECE_KEYS_MAX) {
            context.replies.extend(&mut charge, holder.value.len())?;
            bytes += holder.value.len();
            let held_ms = held_ms(store, &name, time_ms).filter(|_| places.is_empty());
            places.push(to_place(holder, held_ms));
        }
        Ok::<_, ApiError>((store.revision(), queue.next().is_some()))
    })?;
    let mut places = places.into_iter();
    let state = LockState { name, holder: places.next(), waiters: places.collect(), more, revision };
    let budget = context.replies.clone();
    let render = move || reply_budget::charged(&budget, charge, StatusCode::OK, &state);
    Ok(reply::at_revision(context.heavy_work(bytes, render).await?, revision))
}
