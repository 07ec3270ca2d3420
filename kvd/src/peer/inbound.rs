//! Nodes that have streams open to this one.
//!
//! A node has at most one for each lane. A node that dials anew has lost its old stream, so the newest stream wins and
//! the one before it ends. The dialling side asks here too: a peer that refuses to be dialled but still sends is not
//! gone.

use super::lane::Lane;
use super::sightings::{Sighting, Sightings};
use crate::raft::NodeId;
use kvclient::api::ClonedNode;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Instant;
use tokio::sync::watch;

/// Most open streams. No cluster has so many members, so a caller beyond them is not a member.
const STREAMS_MAX: usize = 128;

/// Open streams from peers to this node. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Inbound {
    /// Number of the stream of each node on each lane.
    open: Arc<watch::Sender<BTreeMap<(NodeId, Lane), u64>>>,
    next: Arc<AtomicU64>,
    /// Nodes that are no longer members.
    removed: Arc<RwLock<BTreeSet<NodeId>>>,
    /// Sightings of the processes of other nodes, whichever side dialled.
    sightings: Arc<Mutex<Sightings>>,
}

/// Reason why a node gets no stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoStream {
    /// Too many streams are open.
    TooMany,
    /// The node is no longer a member.
    Removed,
}

impl Inbound {
    /// Opens a stream for a node, and replaces the one that it may have had.
    ///
    /// # Errors
    /// [`NoStream`].
    pub(super) fn open(&self, from: NodeId, lane: Lane) -> Result<InboundStream, NoStream> {
        if self.removed.read().unwrap_or_else(PoisonError::into_inner).contains(&from) {
            return Err(NoStream::Removed);
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let opened = self.open.send_if_modified(|open| {
            let room = open.len() < STREAMS_MAX || open.contains_key(&(from, lane));
            if room {
                open.insert((from, lane), number);
            }
            room
        });
        if !opened {
            return Err(NoStream::TooMany);
        }
        Ok(InboundStream { from: (from, lane), number, open: Arc::clone(&self.open) })
    }

    /// Records that these nodes are no longer members: their streams end, and they get no new ones.
    pub fn set_removed(&self, removed: impl IntoIterator<Item = NodeId>) {
        let removed: BTreeSet<NodeId> = removed.into_iter().collect();
        self.removed.write().unwrap_or_else(PoisonError::into_inner).clone_from(&removed);
        self.open.send_if_modified(|open| {
            let before = open.len();
            open.retain(|(id, _), _| !removed.contains(id));
            open.len() < before
        });
    }

    /// Ends all streams of a node.
    pub fn close(&self, from: NodeId) {
        self.open.send_if_modified(|open| {
            let before = open.len();
            open.retain(|(id, _), _| *id != from);
            open.len() < before
        });
    }

    /// Records that a process of a node was seen alive. Logs a line if that shows that another process runs under the
    /// same id.
    pub(super) fn saw(&self, sighting: Sighting) {
        let mut sightings = self.sightings.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(report) = sightings.saw(sighting, Instant::now()) {
            tracing::error!("{report}");
        }
    }

    /// Returns the nodes that have two processes running under one id.
    pub fn cloned(&self) -> Vec<ClonedNode> {
        self.sightings.lock().unwrap_or_else(PoisonError::into_inner).cloned(Instant::now())
    }

    /// Completes as soon as the node has no stream open to this one.
    pub(super) async fn closed(&self, from: NodeId) {
        // `self` holds the sender, so this cannot end in another way.
        let _ = self.open.subscribe().wait_for(|open| !open.keys().any(|(id, _)| *id == from)).await;
    }
}

/// One open stream, from its acceptance until it is dropped.
#[derive(Debug)]
pub(super) struct InboundStream {
    from: (NodeId, Lane),
    number: u64,
    open: Arc<watch::Sender<BTreeMap<(NodeId, Lane), u64>>>,
}

impl InboundStream {
    /// Completes when this stream must end: a newer one has replaced it, or it was closed.
    pub(super) async fn ended(&self) {
        // As above.
        let _ = self.open.subscribe().wait_for(|open| open.get(&self.from) != Some(&self.number)).await;
    }
}

impl Drop for InboundStream {
    fn drop(&mut self) {
        self.open.send_if_modified(|open| {
            let is_newest = open.get(&self.from) == Some(&self.number);
            is_newest && open.remove(&self.from).is_some()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn a_node_has_one_stream_and_the_newest_wins() {
        let inbound = Inbound::default();
        let (older, other) =
            (inbound.open(NodeId(1), Lane::Prompt).unwrap(), inbound.open(NodeId(2), Lane::Prompt).unwrap());
        assert_eq!(older.ended().now_or_never(), None);
        let newer = inbound.open(NodeId(1), Lane::Prompt).unwrap();
        assert_eq!(older.ended().now_or_never(), Some(()));
        drop(older);
        assert_eq!(inbound.closed(NodeId(1)).now_or_never(), None, "the newer is open");
        drop(newer);
        assert_eq!(inbound.closed(NodeId(1)).now_or_never(), Some(()));
        assert_eq!(other.ended().now_or_never(), None);
        inbound.close(NodeId(2));
        assert_eq!(other.ended().now_or_never(), Some(()));
    }

    #[test]
    fn each_lane_has_its_stream_and_the_last_one_counts() {
        let inbound = Inbound::default();
        let prompt = inbound.open(NodeId(1), Lane::Prompt).unwrap();
        let bulk = inbound.open(NodeId(1), Lane::Bulk).unwrap();
        assert_eq!(prompt.ended().now_or_never(), None, "the other lane takes nothing from it");
        drop(prompt);
        assert_eq!(inbound.closed(NodeId(1)).now_or_never(), None);
        drop(bulk);
        assert_eq!(inbound.closed(NodeId(1)).now_or_never(), Some(()));
        let streams = [Lane::Prompt, Lane::Bulk].map(|lane| inbound.open(NodeId(2), lane).unwrap());
        inbound.close(NodeId(2));
        assert!(streams.iter().all(|stream| stream.ended().now_or_never().is_some()));
    }

    #[test]
    fn strangers_do_not_open_streams_without_end() {
        let inbound = Inbound::default();
        let streams: Vec<_> =
            (0..STREAMS_MAX as u64).map(|id| inbound.open(NodeId(id), Lane::Prompt).unwrap()).collect();
        assert_eq!(inbound.open(NodeId(1000), Lane::Prompt).err(), Some(NoStream::TooMany));
        assert!(inbound.open(NodeId(0), Lane::Prompt).is_ok(), "in place of its own");
        drop(streams);
        assert!(inbound.open(NodeId(1000), Lane::Prompt).is_ok());
    }

    #[test]
    fn who_is_removed_loses_its_stream_and_gets_no_other() {
        let inbound = Inbound::default();
        let (stays, goes) =
            (inbound.open(NodeId(1), Lane::Prompt).unwrap(), inbound.open(NodeId(2), Lane::Prompt).unwrap());
        inbound.set_removed([NodeId(2)]);
        assert_eq!((stays.ended().now_or_never(), goes.ended().now_or_never()), (None, Some(())));
        assert_eq!(inbound.open(NodeId(2), Lane::Prompt).err(), Some(NoStream::Removed));
        assert!(inbound.open(NodeId(1), Lane::Prompt).is_ok());
    }
}
