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
//! Give the client URLs of a few nodes. Any one that runs is enough: it tells the others (`/health`), and the
//! client follows the cluster when members come and go. The endpoints given at first are kept as the way back.
//!
//! The client keeps to one cluster: the one whose id it was given ([`ClientBuilder::cluster_id`]), or else the first that an
//! endpoint names. Every request says which one it means. A node of another cluster, given by mistake or set up anew under
//! its old address, is passed over, so that nobody is told by a stranger that there is no such key; where no other node is
//! left, the error names both clusters.
//!
//! **Writes** go to the leader, which the client finds through `/health`, remembers, and learns anew from
//! redirects, since it asks nodes not to send its writes on; in the steady state a write is one round trip. **Reads** go to
//! any node. Each thread keeps to one node for as long as it answers, and threads that run at the same time spread over the
//! nodes, so that reads are not the leader's burden alone. A node that does not answer is put aside for a while and tried
//! again ever more seldom.
//!
//! A node that *hangs* keeps its connections open and says nothing. After 150 milliseconds of that a read asks a second
//! node as well and takes the first answer, as does the search for the leader; this is the one time that other threads
//! are started, and they end with their attempts. A write waits for its leader, though never longer than a share of the
//! total time, and is then sent again.
//!
//! # Retries, and why a write is applied once
//!
//! An operation is repeated, with growing waits that are drawn at random, until it is answered or its total time is over
//! ([`ClientBuilder::total_timeout`]); each attempt is bounded as well ([`ClientBuilder::attempt_timeout`]). The
//! `Retry-After` of an overloaded node is heeded up to the longest wait; that of a node without a leader is not, since
//! its unit is a second and an election is over in less.
//!
//! Every write carries a request id, the same in each of its attempts. The cluster applies an id at most once and answers
//! repeats from memory, so a write whose answer was lost can be sent again without harm.
//!
//! # Consistency
//!
//! [`Client::get`] is linearizable on whichever node: it sees every write acknowledged before it began.
//! [`Client::get_stale`] takes one node's word at once, even if that node is behind or cut off, and
//! [`Client::get_stale_within`] only if it is not further behind than that.
//! A write that was acknowledged is on the disks of a majority. To change what was read, write on condition that it is
//! still so ([`Client::set_if`]): of all who race exactly one wins, and the others get the item as it is.
//!
//! # Members
//!
//! Nodes come and go while the cluster serves: [`Client::add_member`], [`Client::promote_member`],
//! [`Client::remove_member`], [`Client::replace_member`]. A client needs not be told of it.
//!
//! # Errors
//!
//! An [`Error`] says what happened and what that means for the data. For writes, [`Error::applied`] is the question
//! to ask: [`Applied::No`] is a promise; [`Applied::Unknown`] (mostly [`Error::OutcomeUnknown`], when the time was over
//! before any certain answer) means that the write may have happened, or may still.
//!
//! # Features
//!
//! `http` (default) is the client. Without it only [`api`] and [`snapshot`] are built: the JSON types and the bytes of
//! a backup, for whoever speaks HTTP by other means.

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
mod leader_watch;
#[cfg(feature = "http")]
mod routing;
#[cfg(all(test, feature = "http"))]
mod testing;
#[cfg(feature = "http")]
mod transport;

#[doc(inline)]
pub use api::{
    Applied, Condition, DeleteReply, DeleteRequest, Health, Item, LeaderReply, Member, MemberGoal, NodeState, NodeUrl,
    RequestId, SetReply, SetRequest,
};
#[cfg(feature = "http")]
pub use builder::ClientBuilder;
#[cfg(feature = "http")]
pub use client::{Client, NodeStatus, SnapshotProgress};
#[cfg(feature = "http")]
pub use error::Error;
#[cfg(feature = "http")]
pub use leader_watch::{LeaderChange, LeaderWatch};
