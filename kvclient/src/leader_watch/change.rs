//! The items of a watch.

use crate::api::NodeUrl;
use std::time::{Duration, SystemTime};

/// A change of leader, as reported by a [`LeaderWatch`](crate::LeaderWatch).
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
    /// Time at which this client learned of it, by the local clock.
    pub at: SystemTime,
    /// The newest term known.
    pub term: u64,
    /// The previous leader, also across a time without one; `None` if this watch has seen none.
    pub previous: Option<NodeUrl>,
    /// The present leader; `None` if no answering node knows one.
    pub leader: Option<NodeUrl>,
    /// If a leader appears after a time without one: the length of that time, from the moment at which the node that is
    /// listened to lost the leader (or was lost itself) to the moment at which a node named a new one.
    pub without_leader: Option<Duration>,
}
