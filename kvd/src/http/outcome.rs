//! Replies for the outcomes of commands.
//!
//! Each path shapes the reply to its own command. The outcomes that any command may have are rendered here: a condition
//! that failed, a bound that would be exceeded, a repeat whose reply is gone.

use super::convert::to_api_item;
use super::error::{self, ApiError};
use super::reply_budget::{self, Charge, ReplyBudget};
use crate::kv::{
    COMMAND_ANSWER_BYTES_MAX, COMMAND_REMOVED_BYTES_MAX, COMMAND_VISITS_MAX, DeleteDone, DeleteRangeDone, Excess, Item,
    KeyedItem, OpDone, Outcome, PutDone, TxnDone,
};
use kvclient::api::{self, ErrorCode, WriteReply};
use serde::Serialize;
use warp::http::StatusCode;
use warp::reply::Response;

/// Renders the outcome of a write. `shape` makes the reply to a success, and hands back any other outcome. `key` is the
/// key that the condition of the write is about, if it has one.
///
/// # Errors
/// [`ApiError`] for a refusal that has no large reply.
pub(super) fn render<R: Serialize>(
    budget: &ReplyBudget,
    outcome: Outcome,
    key: Option<api::Key>,
    shape: impl FnOnce(Outcome) -> Result<R, Outcome>,
) -> Result<Response, ApiError> {
    match shape(outcome) {
        Ok(reply) => render_applied(budget, &reply),
        Err(Outcome::NotKept { revision }) => render_applied(budget, &WriteReply::<()>::NotKept { revision }),
        Err(Outcome::ConditionFailed { current }) => {
            let reply = error::condition_failed(key.zip(current).map(|(key, item)| to_api_item(key, item)));
            reply_budget::charged(budget, Charge::NONE, StatusCode::PRECONDITION_FAILED, &reply)
        }
        Err(refusal) => Err(refused(refusal)),
    }
}

/// Renders the reply to an applied write. Even if that fails, the reply must not claim that the write was not applied.
fn render_applied(budget: &ReplyBudget, reply: &impl Serialize) -> Result<Response, ApiError> {
    reply_budget::charged(budget, Charge::NONE, StatusCode::OK, reply).map_err(|_| {
        ApiError::outcome_unknown(
            "the write was applied, but too many large replies are in flight to send the previous items: repeat it with \
             the same `request`, or read the keys",
        )
    })
}

/// Returns the error for a command that was refused when it was applied.
pub(super) fn refused(outcome: Outcome) -> ApiError {
    match outcome {
        Outcome::TooLarge(excess) => too_large(excess),
        Outcome::LeaseExists => ApiError::new(
            ErrorCode::LeaseExists,
            "there is a lease of this id already: choose another id, or leave `lease` out and the store chooses one",
        ),
        Outcome::LeaseNotFound { lease } => ApiError::lease_not_found(lease, None),
        Outcome::LockLost => ApiError::new(
            ErrorCode::LockLost,
            "the lock is not held with this token any more: it ended with its lease, or was given up before",
        ),
        Outcome::FutureRevision { revision } => ApiError::new(
            ErrorCode::FutureRevision,
            format!("this revision is yet to come: the store is at {revision}, so use that or an earlier one"),
        ),
        Outcome::StaleRequest { newest } => ApiError::stale_request(newest),
        Outcome::SeqReused => {
            ApiError::invalid("this client has already used this `seq` for another request: use a higher `seq`")
        }
        Outcome::SessionsFull => ApiError::overloaded(
            "too many client names were used within the last hour: use them again instead of new ones, or send no `request`",
        ),
        // The other outcomes belong to commands that no client can send.
        _ => ApiError::internal(),
    }
}

fn too_large(excess: Excess) -> ApiError {
    let sentence = match excess {
        Excess::Visits => {
            format!("one request visits at most {COMMAND_VISITS_MAX} keys: use a smaller range, or `limit`")
        }
        Excess::RemovedBytes => format!(
            "one request removes at most {COMMAND_REMOVED_BYTES_MAX} bytes of keys and values: use a smaller range, or \
             `limit`"
        ),
        Excess::AnswerBytes => format!(
            "the answer to one request has at most {COMMAND_ANSWER_BYTES_MAX} bytes of keys and values, or one item: \
             leave out `prev`, or ask for less"
        ),
    };
    ApiError::new(ErrorCode::TooLarge, sentence + ". Nothing was applied")
}

/// Returns the number of value bytes in the reply to a command.
pub(super) fn value_bytes(outcome: &Outcome) -> usize {
    match outcome {
        Outcome::Set { done: PutDone { prev: item, .. }, .. }
        | Outcome::Deleted { done: DeleteDone { prev: item, .. }, .. }
        | Outcome::ConditionFailed { current: item } => of_item(item.as_ref()),
        Outcome::DeletedRange { done, .. } => of_deleted(done),
        Outcome::Txn { done, .. } => of_txn(done),
        _ => 0,
    }
}

fn of_item(item: Option<&Item>) -> usize {
    item.map_or(0, |item| item.value.len())
}

fn of_items(items: &[KeyedItem]) -> usize {
    items.iter().map(|keyed| keyed.key.len() + keyed.item.value.len()).sum()
}

fn of_deleted(done: &DeleteRangeDone) -> usize {
    done.items.as_ref().map_or(0, |items| of_items(items))
}

fn of_txn(done: &TxnDone) -> usize {
    let results = done.results.iter().map(|result| match result {
        OpDone::Put(PutDone { prev: item, .. }) | OpDone::Delete(DeleteDone { prev: item, .. }) | OpDone::Get(item) => {
            of_item(item.as_ref())
        }
        OpDone::DeleteRange(done) => of_deleted(done),
        OpDone::List(listed) => of_items(&listed.items),
        OpDone::Txn(done) => of_txn(done),
    });
    results.sum()
}
