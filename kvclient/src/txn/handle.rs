//! Handles of operations, with the types of their results.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};

/// Identity of one branch of one transaction in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BranchId(u64);

impl BranchId {
    /// Returns an id that no other branch has.
    pub(super) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// The branch of a transaction whose compares hold.
#[derive(Debug)]
pub enum Then {}

/// The branch of a transaction of which a compare does not hold.
#[derive(Debug)]
pub enum Else {}

/// An operation of a transaction: takes its result, of type `T`, from the results of its branch `B`.
///
/// A handle is used once, so it cannot be copied.
///
/// ```compile_fail
/// use kvclient::{Txn, TxnOutcome};
///
/// # let client = kvclient::Client::connect(["http://127.0.0.1:8081"])?;
/// let mut txn = Txn::new();
/// let color = txn.then().get("color");
/// match client.commit(txn)? {
///     TxnOutcome::Then(_) => {}
///     TxnOutcome::Else(mut results) => drop(results.take(color)), // a handle of the other branch
/// }
/// # anyhow::Ok(())
/// ```
#[derive(Debug)]
#[must_use = "it is the only way to the result; drop it if nobody needs that"]
pub struct Handle<B, T> {
    pub(super) branch: BranchId,
    pub(super) place: usize,
    pub(super) types: PhantomData<fn() -> (B, T)>,
}
