//! The expected form of the reply to a transaction, by which the reply is taken apart.

use super::handle::BranchId;
use super::outcome::{Done, Results, TxnOutcome};
use crate::api::{OpResult, TxnReply};

/// Kind of an operation.
#[derive(Clone, Debug)]
pub(super) enum OpShape {
    Set,
    Delete,
    Get,
    List,
    Txn(Box<TxnShape>),
}

/// The kinds of the operations of a branch.
#[derive(Clone, Debug)]
pub(super) struct BranchShape {
    pub(super) id: BranchId,
    pub(super) ops: Vec<OpShape>,
}

/// The kinds of the operations of a transaction.
#[derive(Clone, Debug)]
pub(super) struct TxnShape {
    pub(super) then: BranchShape,
    pub(super) otherwise: BranchShape,
}

impl TxnShape {
    /// Takes a reply apart.
    ///
    /// # Errors
    /// A sentence that says where the reply is not that of this transaction.
    pub(super) fn outcome(self, reply: TxnReply) -> Result<TxnOutcome, String> {
        let TxnReply { succeeded, revision, results } = reply;
        let BranchShape { id, ops } = if succeeded { self.then } else { self.otherwise };
        if ops.len() != results.len() {
            return Err(format!("number of operations: {}, of results: {}", ops.len(), results.len()));
        }
        let done =
            ops.into_iter().zip(results).zip(1..).map(|((op, result), number)| op.done(result, number).map(Some));
        let done = done.collect::<Result<_, _>>()?;
        Ok(match succeeded {
            true => TxnOutcome::Then(Results::new(id, revision, done)),
            false => TxnOutcome::Else(Results::new(id, revision, done)),
        })
    }
}

impl OpShape {
    /// Returns the result of the operation, which is the `number`-th of its branch.
    fn done(self, result: OpResult, number: usize) -> Result<Done, String> {
        match (self, result) {
            (Self::Set, OpResult::Set(reply)) => Ok(Done::Set(reply)),
            (Self::Delete, OpResult::Delete(reply)) => Ok(Done::Delete(reply)),
            (Self::Get, OpResult::Get(reply)) => Ok(Done::Get(reply.map(|reply| reply.item))),
            (Self::List, OpResult::List(reply)) => Ok(Done::List(reply)),
            (Self::Txn(shape), OpResult::Txn(reply)) => shape.outcome(reply).map(Done::Txn),
            (_, _) => Err(format!("the result of operation {number} is that of another operation")),
        }
    }
}
