//! What a watch tells.

use crate::api::NodeUrl;
use std::time::{Duration, SystemTime};

/// A change of leader, as told by a [`LeaderWatch`](crate::LeaderWatch).
///
/// ```
/// # use kvclient::Client;
/// # let cluster = testkit::DocCluster::take_turn();
/// # let endpoints = cluster.endpoints();
/// let client = Client::connect(endpoints)?;
/// let present = client.watch_leader().find(|change| change.leader.is_some()).expect("a watch has no end");
/// println!("{} leads term {}", present.leader.expect("asked for").id, present.term);
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaderChange {
    /// When this client learned of it, by the local clock.
    pub at: SystemTime,
    /// The newest term known.
    pub term: u64,
    /// The last leader before, also across a time without one; `None` if this watch has seen none.
    pub previous: Option<NodeUrl>,
    /// Who leads now; `None` when no node that answers knows a leader.
    pub leader: Option<NodeUrl>,
    /// When a leader appears after a time without one: how long that was, from the moment at which the node
    /// listened to lost it (or was lost itself) to the moment at which one was named.
    pub without_leader: Option<Duration>,
}
