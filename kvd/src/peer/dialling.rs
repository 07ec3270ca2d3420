//! Target of a link, and the events that the link reports.

use super::hello::Hello;
use super::inbound::Inbound;
use crate::raft::NodeId;
use std::time::Duration;
use tokio::sync::watch;

/// Target to dial, and introduction of this node.
#[derive(Debug)]
pub struct LinkOptions {
    /// Name of the peer.
    pub peer_name: String,
    /// URL at which the peer is dialled, without a path.
    pub peer_url: String,
    /// Id that the peer must have to be sent messages; any id while this is `None`.
    pub peer_id: Option<NodeId>,
    /// Introduction of this node. A link made before the node was part of a cluster carries no messages.
    pub hello: watch::Receiver<Hello>,
    /// The streams that peers have open to this node.
    pub inbound: Inbound,
    /// Time in which something must get through on the bulk lane while there is something to send: twice the longest
    /// election timeout.
    pub bulk_stall_max: Duration,
}

/// Events of a link to a peer.
#[derive(Debug)]
pub enum LinkEvent {
    /// The peer introduced itself, whether it accepted the connection or not.
    Met(Box<Hello>),
    /// The connection is refused, and the peer sends nothing either: its process is gone. Reported again with every
    /// attempt that fails in this way.
    Lost,
    /// An attempt to connect reached no node; contains the reason, as a part of a sentence.
    Failed(String),
    /// The peer reports that this node is no longer a member of its cluster. Reported again with every attempt.
    Removed,
    /// The bulk lane has opened, for the first time or again: messages sent on it before may be lost.
    BulkOpened,
    /// Nothing has got through on the bulk lane for a while, and dialling anew did not help. Reported again while that
    /// lasts.
    BulkStalled,
}
