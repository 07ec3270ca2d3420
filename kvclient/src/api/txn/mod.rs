//! `/txn`: several operations as one step, decided by compares.
//!
//! `compare` has the compares, `op` the operations, and `request` the body and its reply. The rules for a transaction
//! as a whole, such as that no path through it writes a key twice, are checked by the nodes.

mod compare;
mod op;
mod request;

pub use compare::{Compare, Relation, Test};
pub use op::{DeleteOp, GetOp, Op, SetOp, TXN_DEPTH_MAX, TXN_OPERATIONS_MAX, Txn};
pub use request::{OpResult, TxnReply, TxnRequest};
