//! Transactions: several operations as one step, decided by compares.
//!
//! `builder` gathers compares and operations. Each operation that is added gives a [`Handle`] of the type of its
//! result, which takes that result from the [`TxnOutcome`]. Which branch a handle belongs to is part of its type, so
//! the result of an operation of `then` cannot be taken from a transaction that took `else`. `shape` is the expected
//! form of a reply.

mod builder;
mod handle;
mod outcome;
mod shape;

pub use builder::{Branch, Txn};
pub use handle::{Else, Handle, Then};
pub use outcome::{OpOutcome, Results, TxnOutcome};

#[cfg(test)]
mod tests;
