//! State that every phase of a node needs.

use crate::bootstrap::{Wish, introduce_member};
use crate::config::Config;
use crate::data::FOUNDING_INDEX;
use crate::kv::Store;
use crate::node::Recovered;
use crate::peer::{Agent, Hello, Inbound, Link, LinkEvent, LinkOptions};
use crate::raft::{MemberInfo, NodeId};
use crate::server::error::FatalError;
use crate::server::events::{Event, EventSender};
use crate::server::join_requests::JoinRequests;
use crate::server::log_writer::LogWriter;
use crate::server::publisher::Publisher;
use crate::server::reporter::Failure;
use crate::storage::{Disk, Identity, StorageError};
use std::sync::{Arc, RwLock};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::Span;

/// A bulk lane is stalled if nothing has got through for this many of the longest election timeouts.
const BULK_STALL_ELECTION_TIMEOUTS: u64 = 2;

/// A node without its replica: its settings, its disk, and its appearance to others.
#[derive(Debug)]
pub(in crate::server) struct Shell {
    pub(in crate::server) config: Config,
    pub(in crate::server) disk: Arc<dyn Disk>,
    /// The store that clients read. Empty until this node is part of a cluster.
    pub(in crate::server) store: Arc<RwLock<Store>>,
    pub(in crate::server) identity: Identity,
    pub(in crate::server) log: LogWriter,
    pub(in crate::server) events: EventSender,
    /// This node's introduction to other nodes.
    pub(in crate::server) hello: watch::Sender<Hello>,
    /// The streams that peers have open to this node.
    pub(in crate::server) inbound: Inbound,
    pub(in crate::server) publisher: Publisher,
    /// Makes requests to other nodes.
    pub(in crate::server) agent: Agent,
}

impl Shell {
    /// Creates the shell of a node that appears to be part of no cluster yet. `span` is the one it logs in.
    pub(in crate::server) fn new(
        config: Config,
        disk: Arc<dyn Disk>,
        store: Arc<RwLock<Store>>,
        identity: Identity,
        log: LogWriter,
        events: EventSender,
        span: Span,
    ) -> Self {
        let (name, client_url) = (config.name.clone(), config.client_url.clone());
        let info = MemberInfo { name, client_url, peer_url: config.peer_url.clone() };
        let hello = Hello::new(identity.node_id, info, config.level_max.0);
        let hello = Hello { incarnation: rand::random(), ..hello };
        let publisher = Publisher::new(&hello, span);
        let (hello, inbound) = (watch::Sender::new(hello), Inbound::default());
        Self { config, disk, store, identity, log, events, hello, inbound, publisher, agent: Agent::new() }
    }

    /// Returns the cluster that this node is part of.
    pub(super) fn cluster(&self) -> Option<u64> {
        self.identity.cluster.as_ref().map(|cluster| cluster.id)
    }

    /// Introduces this node as a member of its cluster from now on, so that messages are sent to it.
    pub(super) fn introduce_as_member(&self, recovered: &Recovered) {
        if let Some(cluster) = &self.identity.cluster {
            let founding = recovered.configurations.get(&FOUNDING_INDEX);
            self.hello.send_modify(|hello| introduce_member(hello, cluster.id, founding));
            self.publisher.cluster(cluster);
        }
    }

    /// Makes the identity durable, on a thread that may wait for the disk.
    pub(super) fn save_identity(&self) -> JoinHandle<Result<(), StorageError>> {
        let (identity, disk) = (self.identity.clone(), Arc::clone(&self.disk));
        tokio::task::spawn_blocking(move || identity.save(&*disk))
    }

    /// Dials a node, to send it messages if it has this id. `event` turns the link's news into an event.
    pub(super) fn open_link(
        &self,
        (peer_name, peer_url): (&str, &str),
        peer_id: Option<NodeId>,
        event: impl Fn(LinkEvent) -> Event + Send + Sync + 'static,
    ) -> Link {
        let reporter = self.events.reporter(event);
        let options = LinkOptions {
            peer_name: peer_name.to_owned(),
            peer_url: peer_url.to_owned(),
            peer_id,
            hello: self.hello.subscribe(),
            inbound: self.inbound.clone(),
            bulk_stall_max: Duration::from_millis(
                BULK_STALL_ELECTION_TIMEOUTS * self.config.raft.election_timeout_max_ms,
            ),
        };
        Link::open(options, move |found| {
            // If nobody takes the report, the node has stopped.
            let _ = reporter.report(found);
        })
    }

    /// Starts to ask the nodes at `urls` to add this node to their cluster, or to keep it in the cluster if it
    /// `is_member`.
    pub(super) fn ask_to_join(&self, urls: Vec<String>, wish: Wish, is_member: bool) -> JoinRequests {
        let reporter = self.events.reporter(Event::Join);
        let (agent, node) = (self.agent.clone(), self.identity.node_id);
        JoinRequests::start(agent, &self.config, node, urls, wish, is_member, reporter)
    }

    /// Returns the error for a failed disk: the node must stop.
    pub(super) fn disk_failed(&self, cause: StorageError) -> FatalError {
        FatalError::new(&self.config.data_dir, Failure::Disk(cause))
    }
}
