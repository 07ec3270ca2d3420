//! The inbox of the task that runs a node: everything that wakes it, in the order in which the task takes it.

use super::error::FatalError;
use super::events::{Event, EventSender};
use super::reporter::Failure;
use crate::http::Request;
use crate::peer::PeerEvent;
use std::iter;
use std::path::{Path, PathBuf};
use tokio::sync::{mpsc, oneshot};

/// Maximum number of client requests in the queue. When full, the next gets `overloaded`.
const REQUESTS_QUEUED_MAX: usize = 4096;

/// Maximum number of peer messages in the queue. When full, the node stops reading from the connections.
const PEER_MESSAGES_QUEUED_MAX: usize = 1024;

/// Maximum number of items taken from one queue at a time, so that no queue starves the others.
const BATCH_MAX: usize = 1024;

/// Something that the task acts on.
#[derive(Debug)]
pub(super) enum Arrived {
    /// From another node, over a stream that it dialled.
    FromPeer(PeerEvent),
    /// From a part of this node.
    Event(Event),
    /// From a client.
    Request(Request),
}

/// The queues of a node, one for each kind of sender, so that no crowd of clients holds up consensus.
#[derive(Debug)]
pub(super) struct Inbox {
    stop: oneshot::Receiver<()>,
    from_peers: mpsc::Receiver<PeerEvent>,
    events: mpsc::UnboundedReceiver<Result<Event, Failure>>,
    requests: mpsc::Receiver<Request>,
    data_dir: PathBuf,
}

/// The other ends of an [`Inbox`].
#[derive(Debug)]
pub(super) struct Senders {
    /// Ends the task when used or dropped.
    pub(super) stop: oneshot::Sender<()>,
    pub(super) from_peers: mpsc::Sender<PeerEvent>,
    pub(super) events: EventSender,
    pub(super) requests: mpsc::Sender<Request>,
}

impl Inbox {
    /// Creates an empty inbox for the node whose data is in `data_dir`.
    pub(super) fn new(data_dir: &Path) -> (Self, Senders) {
        let (stop_sender, stop) = oneshot::channel();
        let (peer_sender, from_peers) = mpsc::channel(PEER_MESSAGES_QUEUED_MAX);
        let (event_sender, events) = mpsc::unbounded_channel();
        let (request_sender, requests) = mpsc::channel(REQUESTS_QUEUED_MAX);
        let senders = Senders {
            stop: stop_sender,
            from_peers: peer_sender,
            events: EventSender::new(event_sender),
            requests: request_sender,
        };
        (Self { stop, from_peers, events, requests, data_dir: data_dir.to_owned() }, senders)
    }

    /// Waits for the next arrival. Returns `None` once the node is to stop; it must not be called again after that.
    ///
    /// Messages come before events, so a leader's last messages come before the news that its process has ended.
    ///
    /// # Errors
    /// [`FatalError`] if a part of the node has failed.
    pub(super) async fn next(&mut self) -> Result<Option<Arrived>, FatalError> {
        let arrived = tokio::select! {
            biased;
            _ = &mut self.stop => return Ok(None),
            Some(event) = self.from_peers.recv() => Arrived::FromPeer(event),
            Some(event) = self.events.recv() => Arrived::Event(event.map_err(|failure| FatalError::new(&self.data_dir, failure))?),
            Some(request) = self.requests.recv() => Arrived::Request(request),
        };
        Ok(Some(arrived))
    }

    /// Waits for the next event, and leaves everything else in its queue.
    ///
    /// # Errors
    /// As [`Inbox::next`].
    pub(super) async fn next_event(&mut self) -> Result<Event, FatalError> {
        // The task itself holds a sender, so the queue does not end.
        let event = self.events.recv().await.unwrap_or(Err(Failure::Panic));
        event.map_err(|failure| FatalError::new(&self.data_dir, failure))
    }

    /// Returns everything else that has arrived by now, in batches of a bounded size.
    pub(super) fn queued(&mut self) -> impl Iterator<Item = Result<Arrived, FatalError>> {
        let Self { from_peers, events, requests, data_dir, .. } = self;
        let from_peers = iter::from_fn(|| from_peers.try_recv().ok().map(|event| Ok(Arrived::FromPeer(event))));
        let events = iter::from_fn(|| {
            let event = events.try_recv().ok()?;
            Some(event.map(Arrived::Event).map_err(|failure| FatalError::new(data_dir, failure)))
        });
        let requests = iter::from_fn(|| requests.try_recv().ok().map(|request| Ok(Arrived::Request(request))));
        from_peers.take(BATCH_MAX).chain(events.take(BATCH_MAX)).chain(requests.take(BATCH_MAX))
    }
}
