//! Gathers the compares and operations of a transaction.

use super::handle::{BranchId, Else, Handle, Then};
use super::outcome::TxnOutcome;
use super::shape::{BranchShape, OpShape, TxnShape};
use crate::api::{
    self, Compare, DeleteOp, DeleteReply, Held, Item, Key, ListOp, ListReply, Op, Range, Relation, SetOp, SetReply,
    Test,
};
use std::marker::PhantomData;

/// A transaction: compares, the operations to execute if all of them hold, and those to execute otherwise.
///
/// The operations of a branch run in order, and reads see the writes before them. All writes have one revision. No
/// branch may write a key twice. [`Client::commit`](crate::Client::commit) executes it.
///
/// ```
/// use kvclient::{Client, Txn, TxnOutcome};
///
/// # let cluster = testkit::DocCluster::take_turn();
/// # let endpoints = cluster.endpoints();
/// let client = Client::connect(endpoints)?;
/// client.set("from", "7 apples")?;
/// let from = client.get("from")?.expect("just written");
///
/// // Rename a key, unless it has changed since.
/// let mut txn = Txn::new();
/// txn.when_unchanged(&from).when_absent("to");
/// let renamed = txn.then().set("to", from.value.clone());
/// let deleted = txn.then().delete("from");
/// let present = txn.otherwise().get("from");
/// match client.commit(txn)? {
///     TxnOutcome::Then(mut results) => {
///         assert!(results.take(renamed).created);
///         assert_eq!(results.take(deleted).deleted, 1);
///     }
///     TxnOutcome::Else(mut results) => println!("it is now {:?}", results.take(present)),
/// }
/// # anyhow::Ok(())
/// ```
#[derive(Debug)]
pub struct Txn {
    compares: Vec<Compare>,
    then: Branch<Then>,
    otherwise: Branch<Else>,
}

impl Default for Txn {
    fn default() -> Self {
        Self::new()
    }
}

impl Txn {
    /// Creates a transaction without compares and operations.
    ///
    /// ```
    /// let mut txn = kvclient::Txn::new();
    /// let written = txn.then().set("color", "blue");
    /// # drop(written);
    /// ```
    pub fn new() -> Self {
        Self { compares: Vec::new(), then: Branch::new(), otherwise: Branch::new() }
    }

    /// Requires that a test holds for a key, or for every key of a range. A range without keys is tested as one missing
    /// key.
    ///
    /// ```
    /// use kvclient::api::{Relation, Test};
    /// use kvclient::{Range, Txn};
    ///
    /// let mut txn = Txn::new();
    /// txn.when("color", Test::Value(Relation::NotEqual("red".into()))).when(Range::prefix("jobs/"), Test::Absent);
    /// ```
    pub fn when(&mut self, range: impl Into<Range>, test: Test) -> &mut Self {
        self.compares.push(Compare::of(range, test));
        self
    }

    /// Requires that there is no such key, or none in the range.
    ///
    /// ```
    /// kvclient::Txn::new().when_absent("color");
    /// ```
    pub fn when_absent(&mut self, range: impl Into<Range>) -> &mut Self {
        self.when(range, Test::Absent)
    }

    /// Requires that nobody has written this item since it was read.
    ///
    /// ```
    /// # use kvclient::{Client, Txn};
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let client = Client::connect(endpoints)?;
    /// client.set("color", "blue")?;
    /// let item = client.get("color")?.expect("just written");
    /// client.set("color", "green")?;
    /// let mut txn = Txn::new();
    /// txn.when_unchanged(&item);
    /// assert!(!client.commit(txn)?.succeeded());
    /// # anyhow::Ok(())
    /// ```
    pub fn when_unchanged(&mut self, item: &Item) -> &mut Self {
        self.when(&item.key, Test::ModRevision(Relation::Equal(item.mod_revision)))
    }

    /// Requires that this lock is held.
    ///
    /// ```
    /// use kvclient::api::Held;
    ///
    /// kvclient::Txn::new().when_held(Held { name: "jobs/nightly".into(), token: 57 });
    /// ```
    pub fn when_held(&mut self, held: Held) -> &mut Self {
        self.compares.push(Compare::Held(held));
        self
    }

    /// Returns the branch that is executed if all requirements hold, to add operations to it.
    ///
    /// ```
    /// let mut txn = kvclient::Txn::new();
    /// let read = txn.then().get("color");
    /// # drop(read);
    /// ```
    pub fn then(&mut self) -> &mut Branch<Then> {
        &mut self.then
    }

    /// Returns the branch that is executed if a requirement does not hold, to add operations to it.
    ///
    /// ```
    /// let mut txn = kvclient::Txn::new();
    /// txn.when_absent("color");
    /// let read = txn.otherwise().get("color");
    /// # drop(read);
    /// ```
    pub fn otherwise(&mut self) -> &mut Branch<Else> {
        &mut self.otherwise
    }

    /// Returns the transaction for the API, and the shape of its reply.
    pub(super) fn into_parts(self) -> (api::Txn, TxnShape) {
        let (then, otherwise) = (self.then, self.otherwise);
        let shape = TxnShape {
            then: BranchShape { id: then.id, ops: then.shapes },
            otherwise: BranchShape { id: otherwise.id, ops: otherwise.shapes },
        };
        (api::Txn { compares: self.compares, then: then.ops, otherwise: otherwise.ops }, shape)
    }

    /// Returns the transaction for the API, and a function that takes its reply apart. The function's error is a
    /// sentence that says where the reply is not that of this transaction.
    pub(crate) fn into_api(self) -> (api::Txn, impl FnOnce(api::TxnReply) -> Result<TxnOutcome, String> + use<>) {
        let (txn, shape) = self.into_parts();
        (txn, |reply| shape.outcome(reply))
    }
}

/// The operations of one branch of a transaction.
#[derive(Debug)]
pub struct Branch<B> {
    id: BranchId,
    ops: Vec<Op>,
    shapes: Vec<OpShape>,
    branch: PhantomData<fn() -> B>,
}

impl<B> Branch<B> {
    fn new() -> Self {
        Self { id: BranchId::new(), ops: Vec::new(), shapes: Vec::new(), branch: PhantomData }
    }

    fn push<T>(&mut self, op: Op, shape: OpShape) -> Handle<B, T> {
        let place = self.ops.len();
        self.ops.push(op);
        self.shapes.push(shape);
        Handle { branch: self.id, place, types: PhantomData }
    }

    /// Adds a write of one key.
    ///
    /// ```
    /// let mut txn = kvclient::Txn::new();
    /// let written = txn.then().set("color", "blue");
    /// # drop(written);
    /// ```
    pub fn set(&mut self, key: impl Into<Key>, value: impl Into<Vec<u8>>) -> Handle<B, SetReply> {
        self.set_with(SetOp::new(key, value))
    }

    /// Adds a write of one key with every option of the API.
    ///
    /// ```
    /// use kvclient::api::SetOp;
    ///
    /// let mut txn = kvclient::Txn::new();
    /// let written = txn.then().set_with(SetOp { ttl_ms: Some(30_000), ..SetOp::new("color", "blue") });
    /// # drop(written);
    /// ```
    pub fn set_with(&mut self, set: SetOp) -> Handle<B, SetReply> {
        self.push(Op::Set(set), OpShape::Set)
    }

    /// Adds a delete of one key, or of all keys of a range.
    ///
    /// ```
    /// let mut txn = kvclient::Txn::new();
    /// let deleted = txn.then().delete(kvclient::Range::prefix("app/"));
    /// # drop(deleted);
    /// ```
    pub fn delete(&mut self, range: impl Into<Range>) -> Handle<B, DeleteReply> {
        self.delete_with(DeleteOp::new(range))
    }

    /// Adds a delete with every option of the API.
    ///
    /// ```
    /// use kvclient::api::DeleteOp;
    ///
    /// let mut txn = kvclient::Txn::new();
    /// let deleted = txn.then().delete_with(DeleteOp { prev: true, ..DeleteOp::new("color") });
    /// # drop(deleted);
    /// ```
    pub fn delete_with(&mut self, delete: DeleteOp) -> Handle<B, DeleteReply> {
        self.push(Op::Delete(delete), OpShape::Delete)
    }

    /// Adds a read of one key, as the operations before it left it.
    ///
    /// ```
    /// let mut txn = kvclient::Txn::new();
    /// let read = txn.then().get("color");
    /// # drop(read);
    /// ```
    pub fn get(&mut self, key: impl Into<Key>) -> Handle<B, Option<Item>> {
        self.push(Op::get(key), OpShape::Get)
    }

    /// Adds a list of a range, as the operations before it left it: one page.
    ///
    /// ```
    /// let mut txn = kvclient::Txn::new();
    /// let listed = txn.then().list(kvclient::Range::prefix("app/"));
    /// # drop(listed);
    /// ```
    pub fn list(&mut self, range: Range) -> Handle<B, ListReply> {
        self.list_with(ListOp::new(range))
    }

    /// Adds a list with every option of the API.
    ///
    /// ```
    /// use kvclient::Range;
    /// use kvclient::api::ListOp;
    ///
    /// let mut txn = kvclient::Txn::new();
    /// let counted = txn.then().list_with(ListOp { count_only: true, ..ListOp::new(Range::All) });
    /// # drop(counted);
    /// ```
    pub fn list_with(&mut self, list: ListOp) -> Handle<B, ListReply> {
        self.push(Op::List(list), OpShape::List)
    }

    /// Adds a transaction with compares and branches of its own. Transactions may be nested three deep. The compares of
    /// a nested transaction, too, are decided on the state before the outermost one.
    ///
    /// ```
    /// use kvclient::{Client, Txn, TxnOutcome};
    ///
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let client = Client::connect(endpoints)?;
    /// let mut first = Txn::new();
    /// first.when_absent("color");
    /// let color = first.then().set("color", "blue");
    /// let mut both = Txn::new();
    /// let first = both.then().txn(first);
    /// let TxnOutcome::Then(mut results) = client.commit(both)? else { panic!("nothing was compared") };
    /// let TxnOutcome::Then(mut inner) = results.take(first) else { panic!("there was none") };
    /// assert!(inner.take(color).created);
    /// # anyhow::Ok(())
    /// ```
    pub fn txn(&mut self, txn: Txn) -> Handle<B, TxnOutcome> {
        let (txn, shape) = txn.into_parts();
        self.push(Op::Txn(txn), OpShape::Txn(Box::new(shape)))
    }
}
