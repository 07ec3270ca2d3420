//! Blocking client for kvd, a strongly consistent, replicated key-value store.
//!
//! ```
//! use kvclient::{Client, Condition};
//!
//! # let cluster = testkit::DocCluster::take_turn();
//! # let endpoints = cluster.endpoints();
//! // let endpoints = ["http://127.0.0.1:8081", "http://127.0.0.1:8082", "http://127.0.0.1:8083"];
//! let client = Client::connect(endpoints)?;
//! client.set("color", "blue")?;
//! let item = client.get("color")?.expect("just written");
//! assert_eq!(item.value_str(), Some("blue"));
//!
//! // Change it only if nobody else has since.
//! client.set_if("color", "green", Condition::ModRevision(item.mod_revision))?;
//! # anyhow::Ok(())
//! ```
//!
//! A [`Client`] is cheap to clone and serves any number of threads. It needs no async runtime and keeps no
//! thread waiting between calls.
//!
//! # Finding the cluster
//!
//! Give the client URLs of a few nodes. Any one that runs is enough: it names the others (`/health`), and the client
//! follows the cluster when members come and go. The first endpoints are kept as a fallback.
//!
//! The client is bound to one cluster: the one whose id it was given ([`ClientBuilder::cluster_id`]), or else the first
//! that an endpoint names. Every request carries that id. A node of another cluster, given by mistake or set up anew
//! under its old address, is skipped, so that it cannot claim that a key does not exist. If no other node is left, the
//! error names both clusters.
//!
//! **Writes** go to the leader. The client finds it through `/health`, remembers it, and learns of a new one from
//! redirects, since it asks nodes not to forward its writes; in the steady state a write is one round trip. **Reads**
//! go to any node. Each thread stays with one node as long as that node answers, and threads that run at the same time
//! spread over the nodes, so that reads do not burden the leader alone. A node that does not answer is put aside for a
//! while and retried at growing intervals.
//!
//! A node that *hangs* keeps its connections open and sends nothing. After 150 milliseconds of silence a read asks a
//! second node as well and takes the first answer, and so does the search for the leader; only then are other threads
//! started, and they end with their attempts. A write waits for its leader, though never longer than a share of the
//! total time, and is then sent again.
//!
//! # Retries, and why a write is applied once
//!
//! An operation is repeated, with growing random waits, until it is answered or its total time is over
//! ([`ClientBuilder::total_timeout`]); each attempt is bounded as well ([`ClientBuilder::attempt_timeout`]). The
//! `Retry-After` of an overloaded node is respected up to the longest wait. That of a node without a leader is ignored,
//! since its unit is a second and an election takes less.
//!
//! Every write carries a request id, the same in each of its attempts. The cluster applies an id at most once and
//! answers repeats from memory, so a write whose answer was lost can safely be sent again.
//!
//! # Consistency
//!
//! [`Client::get`] is linearizable on any node: it sees every write acknowledged before it began. [`Client::get_stale`]
//! reads one node's store at once, even if that node is behind or cut off, and [`Client::get_stale_within`] only if the
//! node is not further behind than the given limit. A write that was acknowledged is on the disks of a majority. To
//! change an item that was read, write on condition that it is unchanged ([`Client::set_if`]): of all racing writers
//! exactly one wins, and the others get the present item.
//!
//! # Beyond single keys
//!
//! Ranges are listed at one revision, however long that takes ([`Client::list`]), and deleted as one
//! ([`Client::delete_range`]). A [`Txn`] changes several keys as one step, if its compares hold. The recent past of
//! each key is kept ([`Client::history`], [`Client::get_at`]). [`Client::watch`] reports every change of a range once,
//! in order, across failures of nodes; a [`Mirror`] keeps a copy of a range up to date. Keys that are attached to a
//! [`Lease`] end with it, and so does a [`Lock`], which only one client holds at a time.
//!
//! # Members
//!
//! Nodes come and go while the cluster serves: [`Client::add_member`], [`Client::promote_member`],
//! [`Client::remove_member`], [`Client::replace_member`], [`Client::update_member`]. A client learns of these changes
//! by itself.
//!
//! # Errors
//!
//! An [`Error`] says what happened and what that means for the data. For writes, check [`Error::applied`]:
//! [`Applied::No`] is a promise; [`Applied::Unknown`] (mostly [`Error::OutcomeUnknown`], when the time was over before
//! any certain answer) means that the write may have happened, or may still happen.
//!
//! # Features
//!
//! `http` (default) is the client. Without it only [`api`] and [`snapshot`] are built: the JSON types and the bytes of
//! a backup, for programs that use another HTTP library.

pub mod api;
pub mod snapshot;

#[cfg(feature = "http")]
mod builder;
#[cfg(feature = "http")]
mod client;
#[cfg(feature = "http")]
mod endpoint;
#[cfg(feature = "http")]
mod error;
#[cfg(feature = "http")]
mod events;
#[cfg(feature = "http")]
mod leader_watch;
#[cfg(feature = "http")]
mod lease;
#[cfg(feature = "http")]
mod list;
#[cfg(feature = "http")]
mod lock;
#[cfg(feature = "http")]
mod routing;
#[cfg(all(test, feature = "http"))]
mod testing;
#[cfg(feature = "http")]
mod transport;
#[cfg(feature = "http")]
mod txn;
#[cfg(feature = "http")]
mod watch;

#[doc(inline)]
pub use api::{
    Applied, Condition, DeleteReply, DeleteRequest, Health, Item, Key, LeaderReply, LeaseId, Member, MemberGoal,
    NodeState, NodeUrl, Order, Range, RequestId, SetReply, SetRequest,
};
#[cfg(feature = "http")]
pub use builder::ClientBuilder;
#[cfg(feature = "http")]
pub use client::{Client, Leases, NodeStatus, Observed, SnapshotProgress};
#[cfg(feature = "http")]
pub use error::Error;
#[cfg(feature = "http")]
pub use leader_watch::{LeaderChange, LeaderWatch};
#[cfg(feature = "http")]
pub use lease::{Lease, LeaseLoss};
#[cfg(feature = "http")]
pub use list::{Entries, Items, Keys, List, ListEntry, ListStream, Pages};
#[cfg(feature = "http")]
pub use lock::{HolderWatch, Lock, LockBuilder};
#[cfg(feature = "http")]
pub use txn::{Branch, Else, Handle, OpOutcome, Results, Then, Txn, TxnOutcome};
#[cfg(feature = "http")]
pub use watch::{Mirror, MirrorState, Revised, TimeoutIter, Watch, WatchHandle};
