//! The outcome of a transaction.

use super::handle::{BranchId, Else, Handle, Then};
use crate::api::{DeleteReply, Item, ListReply, SetReply};
use std::marker::PhantomData;

/// The outcome of a transaction: the results of the branch that ran.
///
/// ```
/// use kvclient::{Client, Txn, TxnOutcome};
///
/// # let cluster = testkit::DocCluster::take_turn();
/// # let endpoints = cluster.endpoints();
/// let client = Client::connect(endpoints)?;
/// let mut txn = Txn::new();
/// txn.when_absent("color");
/// let written = txn.then().set("color", "blue");
/// let present = txn.otherwise().get("color");
/// match client.commit(txn)? {
///     TxnOutcome::Then(mut results) => assert!(results.take(written).created),
///     TxnOutcome::Else(mut results) => println!("there was {:?}", results.take(present)),
/// }
/// # anyhow::Ok(())
/// ```
#[derive(Debug)]
pub enum TxnOutcome {
    /// All compares held, and the operations of `then` ran.
    Then(Results<Then>),
    /// A compare did not hold, and the operations of `otherwise` ran.
    Else(Results<Else>),
}

impl TxnOutcome {
    /// Returns true if all compares held.
    ///
    /// ```
    /// use kvclient::{Client, Txn};
    ///
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// assert!(Client::connect(endpoints)?.commit(Txn::new())?.succeeded());
    /// # anyhow::Ok(())
    /// ```
    pub fn succeeded(&self) -> bool {
        matches!(self, Self::Then(_))
    }

    /// Returns the revision of the store after the transaction.
    ///
    /// ```
    /// use kvclient::{Client, Txn};
    ///
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let client = Client::connect(endpoints)?;
    /// let written = client.set("color", "blue")?.revision;
    /// assert_eq!(client.commit(Txn::new())?.revision(), written);
    /// # anyhow::Ok(())
    /// ```
    pub fn revision(&self) -> u64 {
        match self {
            Self::Then(results) => results.revision,
            Self::Else(results) => results.revision,
        }
    }
}

/// The results of the branch of a transaction that ran.
#[derive(Debug)]
pub struct Results<B> {
    id: BranchId,
    revision: u64,
    done: Vec<Option<Done>>,
    branch: PhantomData<fn() -> B>,
}

impl<B> Results<B> {
    pub(super) fn new(id: BranchId, revision: u64, done: Vec<Option<Done>>) -> Self {
        Self { id, revision, done, branch: PhantomData }
    }

    /// Returns the revision of the store after the transaction. All its writes have this revision.
    ///
    /// ```
    /// use kvclient::{Client, Txn, TxnOutcome};
    ///
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let client = Client::connect(endpoints)?;
    /// let TxnOutcome::Then(results) = client.commit(Txn::new())? else { panic!("nothing was compared") };
    /// assert!(results.revision() >= 1);
    /// # anyhow::Ok(())
    /// ```
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Takes the result of an operation.
    ///
    /// # Panics
    /// If the handle is one of another transaction.
    ///
    /// ```
    /// use kvclient::{Client, Range, Txn, TxnOutcome};
    ///
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let client = Client::connect(endpoints)?;
    /// client.set("color", "blue")?;
    /// let mut txn = Txn::new();
    /// let all = txn.then().list(Range::All);
    /// let TxnOutcome::Then(mut results) = client.commit(txn)? else { panic!("nothing was compared") };
    /// assert_eq!(results.take(all).items[0].key, "color");
    /// # anyhow::Ok(())
    /// ```
    pub fn take<T: OpOutcome>(&mut self, handle: Handle<B, T>) -> T {
        assert!(handle.branch == self.id, "the handle is one of another transaction");
        let done = self.done[handle.place].take();
        done.and_then(T::of).expect("a handle is used once, and the result is of its kind")
    }
}

/// Result of an operation.
#[derive(Debug)]
pub(super) enum Done {
    Set(SetReply),
    Delete(DeleteReply),
    Get(Option<Item>),
    List(ListReply),
    Txn(TxnOutcome),
}

/// The result of an operation: [`SetReply`], [`DeleteReply`], [`ListReply`], [`TxnOutcome`], or for a read of one key
/// an item, if there was one.
pub trait OpOutcome: Sized + sealed::Taken {}

impl OpOutcome for SetReply {}
impl OpOutcome for DeleteReply {}
impl OpOutcome for Option<Item> {}
impl OpOutcome for ListReply {}
impl OpOutcome for TxnOutcome {}

pub(super) mod sealed {
    use super::Done;

    /// A type that is made from the result of one kind of operation.
    pub trait Taken {
        #[expect(private_interfaces, reason = "nobody else implements or calls this")]
        fn of(done: Done) -> Option<Self>
        where
            Self: Sized;
    }
}

macro_rules! taken {
    ($($type:ty = $variant:ident),* $(,)?) => {$(
        impl sealed::Taken for $type {
            #[expect(private_interfaces, reason = "nobody else implements or calls this")]
            fn of(done: Done) -> Option<Self> {
                match done {
                    Done::$variant(result) => Some(result),
                    _ => None,
                }
            }
        }
    )*};
}

taken! {
    SetReply = Set,
    DeleteReply = Delete,
    Option<Item> = Get,
    ListReply = List,
    TxnOutcome = Txn,
}
