//! Whom a link dials, and what it finds out on the way.

use super::hello::Hello;
use super::inbound::Inbound;
use crate::raft::NodeId;
use std::time::Duration;
use tokio::sync::watch;

/// Whom to dial and how to introduce oneself.
#[derive(Debug)]
pub struct LinkOptions {
    /// What the peer is called.
    pub peer_name: String,
    /// Where the peer is dialled, without a path.
    pub peer_url: String,
    /// The id it must have to be sent messages; any, as long as that is not known.
    pub peer_id: Option<NodeId>,
    /// This node. A link made before the node was part of a cluster carries no messages.
    pub hello: watch::Receiver<Hello>,
    /// The streams that peers have open to this node.
    pub inbound: Inbound,
    /// Time in which something must get through on the bulk lane while there is something to send: two of the longest
    /// election timeouts.
    pub bulk_stall_max: Duration,
}

/// What a link finds out about its peer.
#[derive(Debug)]
pub enum LinkEvent {
    /// The peer introduced itself, whether it accepted the connection or not.
    Met(Box<Hello>),
    /// The connection is refused and the peer sends nothing either: its process is gone. Reported again with
    /// every attempt that finds it so.
    Lost,
    /// An attempt to connect found nobody to talk to; why, as a part of a sentence.
    Failed(String),
    /// The peer says that this node is a member of their cluster no more. Reported again with every attempt.
    Removed,
    /// The bulk lane is open, for the first time or anew: what was sent there before may be lost.
    BulkOpened,
    /// Nothing has got through on the bulk lane for a while, and dialling anew did not help. Reported again while that
    /// lasts.
    BulkStalled,
}
