//! The task that owns the replica: takes what arrives, in batches, and carries out what follows.
//!
//! A batch is everything that has arrived by the time the task runs; it leads to one set of effects,
//! so that the busier a node is, the more goes into one message and one write to disk. The clock moves
//! before a batch is taken and timers run after it, so that a node which was paused hears what waited
//! for it before it judges the silence of others.

use super::directory::Directory;
use super::forming::Forming;
use super::founding::{FOUNDING_INDEX, cluster_of, founding_records};
use super::inbox::Event;
use super::log_writer::LogWriter;
use super::startup::Opened;
use super::{FatalError, StartError};
use crate::config::{Config, REQUEST_TIMEOUT_MS};
use crate::http::{Request, View};
use crate::kv::{Outcome, Store};
use crate::node::{Effects, ReadError, Recovered, Recovery, Replica, WriteError};
use crate::peer::{
    ClusterId, Founder, Hello, Link, LinkEvent, LinkOptions, PROTOCOL_VERSION, PeerEvent, founding_configuration,
};
use crate::raft::{Configuration, Instant, LogIndex, LogWrite, NodeId, RoleName, WriteId};
use crate::storage::{Disk, Identity, StorageError};
use kvclient::api::NodeState;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, RwLock};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::MissedTickBehavior;
use tracing::Span;

/// Timers are looked at this often.
const TICK: Duration = Duration::from_millis(5);

/// What is taken from one queue at a time, so that none starves the others.
const BATCH_MAX: usize = 1024;

/// While a node waits for its peers to form a cluster, it says so this often.
const WAITING_LOGGED_EVERY: Duration = Duration::from_secs(10);

type WriteReply = oneshot::Sender<Result<Outcome, WriteError>>;
type ReadReply = oneshot::Sender<Result<(), ReadError>>;

/// A node, but for its HTTP.
#[derive(Debug)]
pub(super) struct ReplicaTask {
    config: Config,
    span: Span,
    disk: Arc<dyn Disk>,
    identity: Identity,
    store: Arc<RwLock<Store>>,
    recovered: Option<Recovered>,
    writer: LogWriter,
    started: tokio::time::Instant,
    requests: mpsc::Receiver<Request>,
    from_peers: mpsc::Receiver<PeerEvent>,
    events: mpsc::UnboundedReceiver<Event>,
    events_in: mpsc::UnboundedSender<Event>,
    hello: watch::Sender<Hello>,
    view: watch::Sender<View>,
    directory: Directory,
    links: BTreeMap<NodeId, Link>,
    /// Ids by name, for what links report.
    ids: BTreeMap<String, NodeId>,
    clusters_met: ClustersMet,
    readiness: Readiness,
}

impl ReplicaTask {
    pub(super) fn new(
        config: Config,
        opened: Opened,
        store: Arc<RwLock<Store>>,
        requests: mpsc::Receiver<Request>,
        from_peers: mpsc::Receiver<PeerEvent>,
        span: Span,
    ) -> Result<Self, StartError> {
        let Opened { disk, lock, identity, wal, recovered } = opened;
        let (events_in, events) = mpsc::unbounded_channel();
        let writer = LogWriter::start(&config.name, wal, lock, events_in.clone())?;
        let hello = Hello {
            protocol: PROTOCOL_VERSION,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            name: config.name.clone(),
            node: identity.node_id.0,
            client_url: config.client_url.clone(),
            peer_url: config.peer_url.clone(),
            cluster: None,
            founders: Vec::new(),
        };
        let view = View {
            name: config.name.as_str().into(),
            state: NodeState::Forming,
            term: 0,
            leader: None,
            last_log_index: 0,
            commit_index: 0,
            applied_index: 0,
            ready: false,
            members: Arc::new([]),
            waiting_for: None,
        };
        let mut task = Self {
            config,
            span,
            disk,
            identity,
            store,
            recovered,
            writer,
            started: tokio::time::Instant::now(),
            requests,
            from_peers,
            events,
            events_in,
            hello: watch::Sender::new(hello),
            view: watch::Sender::new(view),
            directory: Directory::default(),
            links: BTreeMap::new(),
            ids: BTreeMap::new(),
            clusters_met: ClustersMet::default(),
            readiness: Readiness::default(),
        };
        let own = task.hello.borrow().clone();
        task.directory.heard(&own);
        if let Some(recovered) = &task.recovered {
            let founders = recovered.configurations.get(&FOUNDING_INDEX).cloned().unwrap_or_default();
            task.introduce_as_member(&founders);
        }
        Ok(task)
    }

    pub(super) fn view(&self) -> watch::Receiver<View> {
        self.view.subscribe()
    }

    pub(super) fn hello(&self) -> watch::Receiver<Hello> {
        self.hello.subscribe()
    }

    /// Runs until `stop`, and returns when the log is closed; or until the node cannot go on, and returns at once.
    pub(super) async fn run(mut self, stop: oneshot::Receiver<()>) -> Result<(), FatalError> {
        self.run_until(stop).await?;
        self.writer.close().await;
        Ok(())
    }

    async fn run_until(&mut self, mut stop: oneshot::Receiver<()>) -> Result<(), FatalError> {
        let recovered = match self.recovered.take() {
            Some(recovered) => recovered,
            None => match self.form(&mut stop).await? {
                Some(recovered) => recovered,
                None => return Ok(()),
            },
        };
        self.replicate(recovered, stop).await
    }

    fn disk_failed(&self, cause: StorageError) -> FatalError {
        FatalError::Disk { dir: self.config.data_dir.clone(), cause }
    }

    fn now(&self) -> Instant {
        Instant(u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    // Forming a cluster.

    /// Meets the peers until it is known who founds the cluster, and begins the log with them. `None`
    /// if the node was stopped before.
    async fn form(&mut self, stop: &mut oneshot::Receiver<()>) -> Result<Option<Recovered>, FatalError> {
        crate::logging::set_term_and_role(&self.span, 0, &NodeState::Forming.to_string());
        let names = self.config.peers.iter().map(|peer| peer.name.clone());
        let mut forming = Forming::new(self.hello.borrow().as_founder(), names);
        let links: Vec<Link> =
            self.config.peers.iter().map(|peer| self.open_link(&peer.name, &peer.url, None)).collect();
        let mut reminders = tokio::time::interval(WAITING_LOGGED_EVERY);
        reminders.set_missed_tick_behavior(MissedTickBehavior::Delay);
        reminders.reset();
        let mut founders = forming.founders_if_alone();
        while founders.is_none() {
            let waiting_for = forming.waiting_for();
            self.view.send_if_modified(|view| {
                let news = view.waiting_for.as_ref() != Some(&waiting_for);
                view.waiting_for = Some(waiting_for);
                news
            });
            tokio::select! {
                _ = &mut *stop => return Ok(None),
                Some(event) = self.events.recv() => {
                    if let Event::Link(name, LinkEvent::Met(hello)) = event {
                        founders = forming.met(&name, &hello);
                    }
                }
                Some(event) = self.from_peers.recv() => {
                    if let PeerEvent::Met(hello) = event {
                        founders = forming.met(&hello.name, &hello);
                    }
                }
                Some(request) = self.requests.recv() => refuse(request),
                _ = reminders.tick() => tracing::info!("forming: {}", forming.waiting_for()),
            }
        }
        drop(links);
        self.found(&founders.unwrap_or_default()).await.map(Some)
    }

    /// Begins the log with the first configuration, and then notes the cluster in the identity; see
    /// [`super::founding`].
    async fn found(&mut self, founders: &[Founder]) -> Result<Recovered, FatalError> {
        let configuration = founding_configuration(founders);
        let cluster = cluster_of(&configuration);
        tracing::info!("forms a cluster of {}", cluster.first_members.join(", "));
        let records = founding_records(configuration.clone());
        let mut recovery = Recovery::default();
        for record in records.clone() {
            let recovered = recovery.record(record, self.config.raft.cache_bytes_max);
            recovered.expect("the first configuration is no command");
        }
        self.writer.write(LogWrite { id: WriteId(0), records });
        while let Some(event) = self.events.recv().await {
            match event {
                Event::Written(_) => break,
                Event::DiskFailed(cause) => return Err(self.disk_failed(cause)),
                Event::WriterPanicked => return Err(FatalError::Panicked),
                Event::Fetched(..) | Event::Link(..) => {}
            }
        }
        self.identity.cluster = Some(cluster);
        let (identity, disk) = (self.identity.clone(), Arc::clone(&self.disk));
        let saved = tokio::task::spawn_blocking(move || identity.save(&*disk)).await;
        saved.map_err(|_| FatalError::Panicked)?.map_err(|cause| self.disk_failed(cause))?;
        self.introduce_as_member(&configuration);
        // Both stores are empty; readers already hold the one of this task.
        Ok(Recovered { store: Arc::clone(&self.store), ..recovery.finish() })
    }

    /// From now on this node introduces itself as a member of its cluster, to whom messages are sent.
    fn introduce_as_member(&self, founders: &Configuration) {
        let founder = |(id, info): (&NodeId, &crate::raft::MemberInfo)| {
            let (node, info) = (id.0, info.clone());
            Founder { node, name: info.name, client_url: info.client_url, peer_url: info.peer_url }
        };
        let founders = founders.members.iter().map(founder).collect();
        let cluster = self.identity.cluster.as_ref().map(|cluster| cluster.id);
        self.hello.send_modify(|hello| {
            hello.founders = founders;
            hello.cluster = cluster;
        });
    }

    fn open_link(&self, name: &str, url: &str, id: Option<NodeId>) -> Link {
        let (events, name) = (self.events_in.clone(), name.to_owned());
        let options = LinkOptions { peer_url: url.to_owned(), peer_id: id, hello: self.hello.subscribe() };
        Link::open(options, move |event| {
            // Without a receiver the node has stopped.
            let _ = events.send(Event::Link(name.clone(), event));
        })
    }

    // Replicating.

    async fn replicate(&mut self, recovered: Recovered, mut stop: oneshot::Receiver<()>) -> Result<(), FatalError> {
        let id = self.identity.node_id;
        let settings = self.config.raft.clone();
        let mut replica = Replica::new(id, settings, REQUEST_TIMEOUT_MS, rand::random(), recovered, self.now());
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut next_tick = Instant(0);
        loop {
            self.carry_out(&mut replica);
            let first = tokio::select! {
                biased;
                _ = &mut stop => return Ok(()),
                // Messages before events: what a leader sent before its process ended comes before the news of that.
                Some(event) = self.from_peers.recv() => Arrived::FromPeer(event),
                Some(event) = self.events.recv() => Arrived::Event(event),
                Some(request) = self.requests.recv() => Arrived::Request(request),
                _ = ticks.tick() => Arrived::Nothing,
                () = tokio::task::yield_now(), if replica.has_unapplied() => Arrived::Nothing,
            };
            let now = self.now();
            replica.set_time(now);
            self.take(&mut replica, first)?;
            self.take_queued(&mut replica)?;
            if now >= next_tick {
                next_tick = now.plus_ms(TICK.as_millis() as u64);
                replica.tick(now);
            }
        }
    }

    fn take(&mut self, replica: &mut Replica<WriteReply, ReadReply>, arrived: Arrived) -> Result<(), FatalError> {
        match arrived {
            Arrived::Event(Event::Written(id)) => replica.written(id),
            Arrived::Event(Event::Fetched(fetch, entries)) => replica.fetched(&fetch, entries),
            Arrived::Event(Event::DiskFailed(cause)) => return Err(self.disk_failed(cause)),
            Arrived::Event(Event::WriterPanicked) => return Err(FatalError::Panicked),
            Arrived::Event(Event::Link(name, LinkEvent::Lost)) => {
                if let Some(id) = self.ids.get(&name) {
                    replica.peer_lost(*id);
                }
            }
            Arrived::Event(Event::Link(_, LinkEvent::Met(hello))) => self.met(&hello)?,
            Arrived::FromPeer(PeerEvent::Met(hello)) => {
                if let Some(link) = self.links.get(&hello.node_id()) {
                    link.redial();
                }
                self.met(&hello)?;
            }
            Arrived::FromPeer(PeerEvent::Message(from, message)) => replica.step(from, message),
            Arrived::Request(Request::Write { command, reply }) => replica.write(command, reply),
            Arrived::Request(Request::Read { reply }) => replica.read(reply),
            Arrived::Nothing => {}
        }
        Ok(())
    }

    fn take_queued(&mut self, replica: &mut Replica<WriteReply, ReadReply>) -> Result<(), FatalError> {
        for _ in 0..BATCH_MAX {
            let Ok(event) = self.from_peers.try_recv() else { break };
            self.take(replica, Arrived::FromPeer(event))?;
        }
        for _ in 0..BATCH_MAX {
            let Ok(event) = self.events.try_recv() else { break };
            self.take(replica, Arrived::Event(event))?;
        }
        for _ in 0..BATCH_MAX {
            let Ok(request) = self.requests.try_recv() else { break };
            self.take(replica, Arrived::Request(request))?;
        }
        Ok(())
    }

    /// A node has introduced itself.
    fn met(&mut self, hello: &Hello) -> Result<(), FatalError> {
        let Some(own) = self.identity.cluster.as_ref().map(|cluster| cluster.id) else { return Ok(()) };
        if hello.cluster == Some(own) {
            self.clusters_met.own = true;
            if self.directory.heard(hello) {
                let members = self.directory.members();
                self.view.send_modify(|view| view.members = members);
            }
            return Ok(());
        }
        let configured = self.config.peers.iter().any(|peer| peer.name == hello.name);
        if let Some(other) = hello.cluster
            && configured
            && self.clusters_met.is_outvoted(&hello.name, self.config.peers.len() + 1)
        {
            return Err(FatalError::OtherCluster(format!(
                "--data-dir {} holds data of cluster {}, but the nodes that --peers lists belong to cluster {}: point \
                 --data-dir to this node's own data, or --peers to the nodes of its cluster",
                self.config.data_dir.display(),
                ClusterId(own),
                ClusterId(other)
            )));
        }
        Ok(())
    }

    /// Does what the replica asks for.
    fn carry_out(&mut self, replica: &mut Replica<WriteReply, ReadReply>) {
        let Effects { send, write, fetch, writes, reads } = replica.effects();
        if self.directory.set_configuration(replica.raft().configuration()) {
            self.connect_members();
        }
        for (to, message) in send {
            if let Some(link) = self.links.get(&to) {
                link.send(message);
            }
        }
        if let Some(write) = write {
            self.writer.write(write);
        }
        for fetch in fetch {
            self.writer.fetch(fetch);
        }
        // First the view, so that whoever has an answer finds it there as well. Nobody waits for an
        // answer if its receiver is gone.
        self.publish(replica);
        for (reply, result) in writes {
            let _ = reply.send(result);
        }
        for (reply, result) in reads {
            let _ = reply.send(result);
        }
    }

    /// Opens links to new members and closes those to members that left.
    fn connect_members(&mut self) {
        let own = self.identity.node_id;
        let members = self.directory.members();
        self.view.send_modify(|view| view.members = members);
        let wanted: BTreeSet<NodeId> = self.directory.ids().filter(|id| *id != own).collect();
        self.links.retain(|id, _| wanted.contains(id));
        for id in wanted {
            let Some(info) = self.directory.info(id).cloned() else { continue };
            self.ids.insert(info.name.clone(), id);
            if !self.links.contains_key(&id) {
                let configured = self.config.peers.iter().find(|peer| peer.name == info.name);
                let url = configured.map_or(&info.peer_url, |peer| &peer.url);
                let link = self.open_link(&info.name, url, Some(id));
                self.links.insert(id, link);
            }
        }
    }

    /// Shows others what the replica is and knows, and logs a change of role.
    fn publish(&mut self, replica: &Replica<WriteReply, ReadReply>) {
        let raft = replica.raft();
        let (term, log, leader) = (raft.term(), raft.log(), raft.leader());
        let state = match raft.role() {
            RoleName::Leader => NodeState::Leader,
            RoleName::PreCandidate | RoleName::Candidate => NodeState::Candidate,
            RoleName::Follower if raft.configuration().is_voter(raft.id()) => NodeState::Follower,
            RoleName::Follower => NodeState::Learner,
        };
        let ready = self.readiness.update(leader.is_some(), raft.known_commit_index(), log.applied_index());
        let mut role_changed = false;
        self.view.send_if_modified(|view| {
            let leader_name = leader.and_then(|id| self.directory.info(id)).map(|info| info.name.as_str());
            let leader_changed = view.leader.as_ref().map(|leader| leader.id.as_str()) != leader_name;
            role_changed = leader_changed || view.state != state || view.term != term.0;
            if leader_changed {
                view.leader = leader.and_then(|id| self.directory.node_url(id));
            }
            let (last_log_index, commit_index) = (log.last_index().0, log.commit_index().0);
            let applied_index = log.applied_index().0;
            let changed = role_changed
                || view.ready != ready
                || (view.last_log_index, view.commit_index, view.applied_index)
                    != (last_log_index, commit_index, applied_index);
            view.state = state;
            view.term = term.0;
            view.last_log_index = last_log_index;
            view.commit_index = commit_index;
            view.applied_index = applied_index;
            view.ready = ready;
            view.waiting_for = None;
            changed
        });
        if role_changed {
            crate::logging::set_term_and_role(&self.span, term.0, &state.to_string());
            match (raft.role(), leader.and_then(|id| self.directory.info(id))) {
                (RoleName::Leader, _) => tracing::info!("leads term {term}"),
                (RoleName::Follower, Some(leader)) => tracing::info!("follows {} in term {term}", leader.name),
                (RoleName::Follower, None) => tracing::info!("has no leader in term {term}"),
                (RoleName::PreCandidate, _) => tracing::info!("asks whether it could win an election"),
                (RoleName::Candidate, _) => tracing::info!("stands for election in term {term}"),
            }
        }
    }
}

/// What woke the task.
enum Arrived {
    Event(Event),
    FromPeer(PeerEvent),
    Request(Request),
    Nothing,
}

/// Answers a request that came before there was a cluster.
fn refuse(request: Request) {
    // Nobody waits for an answer if its receiver is gone.
    match request {
        Request::Write { reply, .. } => drop(reply.send(Err(WriteError::NoLeader))),
        Request::Read { reply } => drop(reply.send(Err(ReadError::NoLeader))),
    }
}

/// Whether this node may be in the wrong place: it has met no node of its own cluster, and a majority
/// of the nodes it was told to work with belongs to another one.
#[derive(Debug, Default)]
struct ClustersMet {
    own: bool,
    strangers: BTreeSet<String>,
}

impl ClustersMet {
    /// Notes that the node of this name belongs to another cluster. A single stranger proves nothing:
    /// it may be the one in the wrong place.
    fn is_outvoted(&mut self, name: &str, nodes: usize) -> bool {
        self.strangers.insert(name.to_owned());
        !self.own && self.strangers.len() > nodes / 2
    }
}

/// Whether the node knows a leader and has applied all that was committed when it first did.
#[derive(Debug, Default)]
struct Readiness {
    target: Option<LogIndex>,
    caught_up: bool,
}

impl Readiness {
    fn update(&mut self, has_leader: bool, known_commit: Option<LogIndex>, applied: LogIndex) -> bool {
        if self.target.is_none() {
            self.target = known_commit;
        }
        self.caught_up |= self.target.is_some_and(|target| applied >= target);
        self.caught_up && has_leader
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_ready_once_it_has_applied_what_was_committed_when_it_found_a_leader() {
        let mut readiness = Readiness::default();
        assert!(!readiness.update(false, None, LogIndex(3)));
        assert!(!readiness.update(true, Some(LogIndex(9)), LogIndex(3)));
        assert!(!readiness.update(true, Some(LogIndex(12)), LogIndex(8)));
        assert!(readiness.update(true, Some(LogIndex(12)), LogIndex(9)), "later commits do not count");
        assert!(!readiness.update(false, None, LogIndex(9)), "without a leader it is not ready");
        assert!(readiness.update(true, Some(LogIndex(20)), LogIndex(9)));
    }

    #[test]
    fn one_stranger_does_not_outvote_a_node_and_a_friend_settles_it() {
        let mut met = ClustersMet::default();
        assert!(!met.is_outvoted("node2", 3));
        assert!(!met.is_outvoted("node2", 3), "the same again");
        assert!(met.is_outvoted("node3", 3));
        met.own = true;
        assert!(!met.is_outvoted("node3", 3));
    }
}
