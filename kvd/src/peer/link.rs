//! Streams of messages to one peer, one for each lane, and the events on them.

use super::dialler::{Dialler, LaneState};
use super::dialling::{LinkEvent, LinkOptions};
use super::lane::Lane;
use crate::background::Background;
use crate::raft::Message;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};

/// Most messages queued for one lane. The window of consensus is smaller, so only a peer that takes nothing fills the
/// queue.
const QUEUE_MESSAGES_MAX: usize = 512;

/// Sending ends of the two lanes to one peer. Dropping them ends the lanes.
#[derive(Debug)]
pub struct Link {
    peer_url: String,
    prompt: LaneHandle,
    bulk: LaneHandle,
    /// The protocol of the peer, while the prompt lane is open.
    protocol: watch::Receiver<Option<u32>>,
}

/// Sending end of one lane.
#[derive(Debug)]
struct LaneHandle {
    queue: mpsc::Sender<Message>,
    shared: LaneState,
    _dialler: Background,
}

impl Link {
    /// Starts to dial. Events go to `report`, which must be quick.
    pub fn open(options: LinkOptions, report: impl Fn(LinkEvent) + Send + Sync + 'static) -> Self {
        let peer_url = options.peer_url.clone();
        let (options, report) = (Arc::new(options), Arc::new(report));
        let (protocol_in, protocol) = watch::channel(None);
        let protocol_in = Arc::new(protocol_in);
        let open = |lane| {
            let (queue, queued) = mpsc::channel(QUEUE_MESSAGES_MAX);
            let shared = LaneState::default();
            let (options, report, protocol) = (Arc::clone(&options), Arc::clone(&report), Arc::clone(&protocol_in));
            let dialler = Dialler::new(lane, options, queued, shared.clone(), protocol, report);
            LaneHandle { queue, shared, _dialler: Background::spawn(dialler.run()) }
        };
        Self { peer_url, prompt: open(Lane::Prompt), bulk: open(Lane::Bulk), protocol }
    }

    /// Returns the URL at which the peer is dialled.
    pub fn peer_url(&self) -> &str {
        &self.peer_url
    }

    /// Returns whether the prompt lane is open.
    pub fn is_connected(&self) -> bool {
        self.prompt.shared.is_connected()
    }

    /// Queues a message for the prompt lane if the peer is connected and keeps up; else drops it.
    pub fn send(&self, message: Message) {
        self.prompt.send(message);
    }

    /// Queues a message for the bulk lane if that is open and keeps up; else drops it. A peer that knows only one lane
    /// gets the message there.
    pub fn send_bulk(&self, message: Message) {
        match *self.protocol.borrow() {
            Some(protocol) if !Lane::are_known_to(protocol) => self.prompt.send(message),
            Some(_) | None => self.bulk.send(message),
        }
    }

    /// Dials at once instead of waiting out a pause or an old attempt, because the peer has shown signs of life.
    pub fn redial(&self) {
        if !self.prompt.shared.is_connected() {
            self.prompt.shared.redial();
        }
    }
}

impl LaneHandle {
    fn send(&self, message: Message) {
        if self.shared.is_connected() {
            self.shared.note_term(message.term);
            // A full queue drops the message, as a lossy network would.
            let _ = self.queue.try_send(message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::{Hello, Inbound};
    use crate::raft::NodeId;
    use std::time::Duration;
    use tokio::net::TcpSocket;
    use tokio::time::timeout;

    const PEER: NodeId = NodeId(2);

    /// Longer than anything here takes, shorter than a test that hangs.
    const PATIENCE: Duration = Duration::from_secs(10);

    async fn next(events: &mut mpsc::UnboundedReceiver<LinkEvent>) -> LinkEvent {
        timeout(PATIENCE, events.recv()).await.expect("the link reports").expect("it goes on")
    }

    #[tokio::test]
    async fn a_peer_is_lost_when_it_refuses_and_is_silent_and_not_before() {
        // Bound but never listening: the port stays reserved, and every dial to it is refused.
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let peer_url = format!("http://{}", socket.local_addr().unwrap());
        let inbound = Inbound::default();
        let streams = [Lane::Prompt, Lane::Bulk].map(|lane| inbound.open(PEER, lane).unwrap());
        let (events, mut reported) = mpsc::unbounded_channel();
        let options = LinkOptions {
            peer_name: "node2".into(),
            peer_url: peer_url.clone(),
            peer_id: Some(PEER),
            hello: watch::Sender::new(Hello::of_member("node1", 1)).subscribe(),
            inbound,
            bulk_stall_max: PATIENCE,
        };
        let _link = Link::open(options, move |event| drop(events.send(event)));
        for _ in 0..3 {
            let LinkEvent::Failed(why) = next(&mut reported).await else { panic!("lost while it still sends") };
            assert_eq!(why, format!("{peer_url}: connection refused"));
        }
        let [prompt, bulk] = streams;
        drop(prompt);
        let LinkEvent::Failed(_) = next(&mut reported).await else { panic!("lost while it still sends entries") };
        drop(bulk);
        let mut lost = 0;
        while lost < 2 {
            lost += usize::from(matches!(next(&mut reported).await, LinkEvent::Lost));
        }
    }
}
