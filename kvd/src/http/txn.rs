//! `POST /txn`: several operations as one.
//!
//! A transaction that writes is a command like any other. One that only reads is answered like a read, from this node's
//! store at one revision, and leaves no trace in the log.

use super::body::Body;
use super::context::Context;
use super::convert::{OpShape, TxnShape, to_api_item, to_api_keyed, to_request_id, to_txn};
use super::error::ApiError;
use super::freshness::Freshness;
use super::gateway::{CommandLimits, check_limits};
use super::keys::{delete_range_reply, delete_reply, set_reply};
use super::request::{Request, from_json};
use super::write::{Prepared, prepare, write};
use super::{outcome, reply};
use crate::kv::{Command, Compare, Listed, Op, OpDone, Operation, Outcome, Txn, TxnDone};
use bytes::Bytes;
use kvclient::api::{self, GetReply, ListReply, OpResult, ReadOptions, TxnReply};
use warp::reply::{Reply as _, Response};

const EXAMPLE: &str =
    r#"{"if":[{"key":"color","absent":true}],"then":[{"set":{"key":"color","value":"blue"}}],"else":[]}"#;

/// Executes a transaction.
pub(super) async fn txn(context: &Context, mut request: Request) -> Result<Response, ApiError> {
    request.query(|_| Ok(()))?;
    let Body { bytes, charge: _held } = request.body(&context.bodies, context.txn_json_bytes_max).await?;
    let limits = context.gateway.limits;
    let body_bytes = bytes.len();
    match context.heavy_work(body_bytes, move || Parsed::of(&bytes, limits)).await? {
        Parsed::Write(prepared) => write(context, &request, prepared).await,
        Parsed::Read(txn, shape) => read(context, &request, txn, shape, body_bytes).await,
    }
}

/// A transaction that may be executed.
enum Parsed<S> {
    Write(Prepared<S>),
    Read(Txn, TxnShape),
}

impl Parsed<()> {
    fn of(
        body: &Bytes,
        limits: CommandLimits,
    ) -> Result<Parsed<impl FnOnce(Outcome) -> Result<TxnReply, Outcome> + Send + use<>>, ApiError> {
        let api::TxnRequest { txn, request } = from_json(body, EXAMPLE)?;
        let (txn, shape) = to_txn(txn);
        if txn.only_reads() {
            let command = Command { operation: Operation::Txn(txn), request: request.map(to_request_id) };
            check_limits(&command, command.encode().len(), limits)?;
            let Operation::Txn(txn) = command.operation else { return Err(ApiError::internal()) };
            return Ok(Parsed::Read(txn, shape));
        }
        let prepared = prepare(Operation::Txn(txn), request, limits, None, move |outcome| txn_reply(outcome, shape));
        prepared.map(Parsed::Write)
    }
}

/// Answers a transaction that only reads.
async fn read(
    context: &Context,
    request: &Request,
    txn: Txn,
    shape: TxnShape,
    body_bytes: usize,
) -> Result<Response, ApiError> {
    let freshness = Freshness::of(ReadOptions::default());
    freshness.wait(context, request.asker()).await?;
    let (gateway, budget) = (context.gateway.clone(), context.replies.clone());
    // A short request may name a range with as many keys as a command may visit.
    let weight = if has_ranges(&txn) { usize::MAX } else { body_bytes };
    let answered = context.heavy_work(weight, move || {
        let outcome = gateway.with_store(|store| store.read_txn(&txn));
        let revision = outcome.revision();
        let rendered = outcome::render(&budget, outcome, None, |outcome| txn_reply(outcome, shape))?;
        Ok(match revision {
            Some(revision) => reply::at_revision(rendered, revision),
            None => rendered,
        })
    });
    Ok(freshness.sign(context, answered.await.unwrap_or_else(ApiError::into_response)))
}

/// Returns true if the transaction looks at ranges of keys.
fn has_ranges(txn: &Txn) -> bool {
    let compares = |compare: &Compare| matches!(compare, Compare::Keys { range, .. } if range.as_key().is_none());
    let reads = |op: &Op| match op {
        Op::List(_) => true,
        Op::Txn(txn) => has_ranges(txn),
        _ => false,
    };
    txn.compares.iter().any(compares) || txn.then.iter().chain(&txn.or_else).any(reads)
}

/// Returns the reply to a transaction; any other outcome is handed back.
fn txn_reply(outcome: Outcome, shape: TxnShape) -> Result<TxnReply, Outcome> {
    match outcome {
        Outcome::Txn { revision, done } => Ok(reply_of(revision, done, shape)),
        other => Err(other),
    }
}

fn reply_of(revision: u64, done: TxnDone, shape: TxnShape) -> TxnReply {
    let TxnDone { succeeded, results } = done;
    let shapes = if succeeded { shape.then } else { shape.or_else };
    let results = results.into_iter().zip(shapes).map(|(done, shape)| result_of(revision, done, shape)).collect();
    TxnReply { succeeded, revision, results }
}

/// Returns the result of an operation, shaped as the reply of its own path.
fn result_of(revision: u64, done: OpDone, shape: OpShape) -> OpResult {
    match (done, shape) {
        (OpDone::Put(done), OpShape::Write { key, prev }) => OpResult::Set(set_reply(revision, done, key, prev)),
        (OpDone::Delete(done), OpShape::Write { key, prev }) => {
            OpResult::Delete(delete_reply(revision, done, key, prev))
        }
        (OpDone::DeleteRange(done), _) => OpResult::Delete(delete_range_reply(revision, done)),
        (OpDone::Get(item), OpShape::Get(key)) => {
            OpResult::Get(item.map(|item| GetReply { item: to_api_item(key, item), revision }))
        }
        (OpDone::List(listed), OpShape::List { keys_only }) => OpResult::List(list_reply(revision, listed, keys_only)),
        (OpDone::Txn(done), OpShape::Txn(shape)) => OpResult::Txn(reply_of(revision, done, shape)),
        (done, _) => unreachable!("{done:?} is the result of another operation"),
    }
}

fn list_reply(revision: u64, listed: Listed, keys_only: bool) -> ListReply {
    let Listed { items, folders, more, count } = listed;
    let items = items.into_iter().map(|keyed| {
        let item = api::ListItem::from(to_api_keyed(keyed));
        if keys_only { api::ListItem { value: None, ..item } } else { item }
    });
    let prefixes = folders.into_iter().map(api::Key::from).collect();
    ListReply { items: items.collect(), prefixes, revision, more, next: None, count }
}
