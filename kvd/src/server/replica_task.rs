//! The task that owns the replica: takes what arrives, in batches, and carries out what follows.
//!
//! A batch is everything that has arrived by the time the task runs; it leads to one set of effects,
//! so that the busier a node is, the more goes into one message and one write to disk. The clock moves
//! before a batch is taken and timers run after it, so that a node which was paused hears what waited
//! for it before it judges the silence of others.
//!
//! How a node comes to be part of a cluster in the first place is in `forming_task` and `joining_task`; what follows
//! from who its members are, in `members_task`.

mod forming_task;
mod halted_task;
mod joining_task;
mod members_task;

use super::directory::Directory;
use super::hand_over::HandOvers;
use super::inbox::Event;
use super::joining::{JoinNews, Joining};
use super::log_writer::LogWriter;
use super::membership_news::MembershipNews;
use super::publisher::Publisher;
use super::snapshots::{self, Snapshots};
use super::state_exchange::{self, StateExchange};
use super::{FatalError, StartError};
use crate::config::{Config, REQUEST_TIMEOUT_MS};
use crate::data::{Opened, Received};
use crate::http::{Request, View};
use crate::kv::{Level, Outcome, Store};
use crate::node::{ChangeError, Effects, MemberChanges, ReadError, Recovered, Replica, WriteError};
use crate::peer::{
    ClusterId, Hello, Inbound, Link, LinkEvent, LinkOptions, PROTOCOL_VERSION, PROTOCOL_VERSION_MIN, PeerEvent,
};
use crate::raft::{Fetch, Instant, LogIndex, Message, NodeId, Refusal, SendSnapshot};
use crate::storage::{Disk, Identity, StorageError};
use kvclient::api::{LeaderEvent, MembersReply};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use tracing::Span;
use warp::filters::BoxedFilter;
use warp::reply::Response;

/// Timers are looked at this often.
const TICK: Duration = Duration::from_millis(5);

/// Nothing gets through on a bulk lane if nothing has for so many of the longest election timeouts.
const BULK_STALL_ELECTION_TIMEOUTS: u64 = 2;

/// What is taken from one queue at a time, so that none starves the others.
const BATCH_MAX: usize = 1024;

/// A reason to refuse messages is logged once for each sender; this many are remembered.
const REFUSALS_LOGGED_MAX: usize = 64;

type WriteReply = oneshot::Sender<Result<Outcome, WriteError>>;
type ReadReply = oneshot::Sender<Result<(), ReadError>>;
type ChangeReply = oneshot::Sender<Result<MembersReply, ChangeError>>;

/// A node, but for its HTTP.
#[derive(Debug)]
pub(super) struct ReplicaTask {
    config: Config,
    disk: Arc<dyn Disk>,
    identity: Identity,
    store: Arc<RwLock<Store>>,
    recovered: Option<Recovered>,
    writer: LogWriter,
    snapshots: Snapshots,
    started: tokio::time::Instant,
    requests: mpsc::Receiver<Request>,
    from_peers: mpsc::Receiver<PeerEvent>,
    events: mpsc::UnboundedReceiver<Event>,
    events_in: mpsc::UnboundedSender<Event>,
    hello: watch::Sender<Hello>,
    /// The streams that peers have open to this node.
    inbound: Inbound,
    publisher: Publisher,
    directory: Directory,
    links: BTreeMap<NodeId, Link>,
    /// Where those are dialled that the links lead to.
    dialled: watch::Sender<BTreeMap<NodeId, String>>,
    clusters_met: ClustersMet,
    hand_overs: HandOvers,
    member_changes: MemberChanges<ChangeReply>,
    membership_news: MembershipNews,
    /// The last entry by which the members were settled.
    settled_index: LogIndex,
    /// The leader, while it is one that was removed by then.
    leaving: Option<NodeId>,
    /// A member has said that this node is none any more.
    told_removed: bool,
    /// While it has yet to hear of its leader, a member asks whether it is still wanted.
    asking: Option<Joining>,
    /// Senders whose messages were refused, and why; each is logged once.
    refused: BTreeSet<(NodeId, Refusal)>,
    /// A level that this node does not know, of entries that it was sent, once that is logged.
    unknown_level: Option<Level>,
    /// The level of the state.
    level: Level,
    /// Voters of which was logged that their states differ from this node's.
    disagreements: BTreeSet<NodeId>,
}

impl ReplicaTask {
    pub(super) fn new(
        config: Config,
        disk: Arc<dyn Disk>,
        opened: Opened,
        store: Arc<RwLock<Store>>,
        requests: mpsc::Receiver<Request>,
        from_peers: mpsc::Receiver<PeerEvent>,
        span: Span,
    ) -> Result<Self, StartError> {
        let Opened { lock, identity, wal, recovered, snapshot, damaged_snapshots, .. } = opened;
        let (events_in, events) = mpsc::unbounded_channel();
        let mut snapshots = Snapshots::new(&config, Arc::clone(&disk), Arc::clone(&store), snapshot, events_in.clone());
        snapshots.found_damaged(damaged_snapshots.len());
        let writer = LogWriter::start(&config.name, wal, lock, events_in.clone())?;
        let hello = Hello {
            protocol: PROTOCOL_VERSION,
            protocol_min: PROTOCOL_VERSION_MIN,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            name: config.name.clone(),
            node: identity.node_id.0,
            client_url: config.client_url.clone(),
            peer_url: config.peer_url.clone(),
            cluster: None,
            founders: Vec::new(),
            remembers: None,
            expects_data: false,
            level: config.level_max.0,
        };
        let level = store.read().unwrap_or_else(PoisonError::into_inner).level();
        let publisher = Publisher::new(&hello, span);
        publisher.snapshots_damaged(snapshots.damaged());
        let directory = Directory::new(&hello);
        let task = Self {
            config,
            disk,
            identity,
            store,
            recovered,
            writer,
            snapshots,
            started: tokio::time::Instant::now(),
            requests,
            from_peers,
            events,
            events_in,
            hello: watch::Sender::new(hello),
            inbound: Inbound::default(),
            publisher,
            directory,
            links: BTreeMap::new(),
            dialled: watch::Sender::default(),
            clusters_met: ClustersMet::default(),
            hand_overs: HandOvers::default(),
            member_changes: MemberChanges::default(),
            membership_news: MembershipNews::default(),
            settled_index: LogIndex(0),
            leaving: None,
            told_removed: false,
            asking: None,
            refused: BTreeSet::new(),
            unknown_level: None,
            level,
            disagreements: BTreeSet::new(),
        };
        if let Some(recovered) = &task.recovered {
            task.introduce_as_member(recovered);
        }
        Ok(task)
    }

    pub(super) fn view(&self) -> watch::Receiver<View> {
        self.publisher.view()
    }

    pub(super) fn leader(&self) -> watch::Receiver<LeaderEvent> {
        self.publisher.leader()
    }

    /// Where this node is told that it is about to stop.
    pub(super) fn events(&self) -> mpsc::UnboundedSender<Event> {
        self.events_in.clone()
    }

    pub(super) fn inbound(&self) -> Inbound {
        self.inbound.clone()
    }

    /// Where other nodes ask for the states of this one.
    pub(super) fn states_route(&self) -> BoxedFilter<(Response,)> {
        state_exchange::route(self.hello(), self.events())
    }

    /// Where leaders send their snapshots to.
    pub(super) fn snapshot_route(&self) -> BoxedFilter<(Response,)> {
        snapshots::route(Arc::clone(&self.disk), self.hello(), self.events_in.clone())
    }

    /// URLs at which members are dialled.
    pub(super) fn dialled(&self) -> watch::Receiver<BTreeMap<NodeId, String>> {
        self.dialled.subscribe()
    }

    pub(super) fn hello(&self) -> watch::Receiver<Hello> {
        self.hello.subscribe()
    }

    /// Runs until `stop`, and returns when the log is closed; or until the node cannot go on, and returns at once.
    pub(super) async fn run(mut self, stop: oneshot::Receiver<()>) -> Result<(), FatalError> {
        self.run_until(stop).await?;
        let Self { writer, snapshots, .. } = self;
        // Whoever writes or sends one ends, before the directory is free for another process.
        drop(snapshots);
        writer.close().await;
        Ok(())
    }

    async fn run_until(&mut self, mut stop: oneshot::Receiver<()>) -> Result<(), FatalError> {
        let recovered = match self.recovered.take() {
            Some(recovered) => recovered,
            None => {
                let begun =
                    if self.config.join.is_empty() { self.form(&mut stop).await } else { self.join(&mut stop).await };
                match begun? {
                    Some(recovered) => recovered,
                    None => return Ok(()),
                }
            }
        };
        if recovered.configurations.is_empty() {
            self.ask_whether_still_wanted()?;
        }
        self.replicate(recovered, stop).await
    }

    fn disk_failed(&self, cause: StorageError) -> FatalError {
        FatalError::Disk { dir: self.config.data_dir.clone(), cause }
    }

    /// Makes the identity durable, on a thread that may wait for the disk.
    fn save_identity(&self) -> JoinHandle<Result<(), StorageError>> {
        let (identity, disk) = (self.identity.clone(), Arc::clone(&self.disk));
        tokio::task::spawn_blocking(move || identity.save(&*disk))
    }

    fn now(&self) -> Instant {
        Instant(u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// A moment of the runtime, as the replica counts time.
    fn instant(&self, at: tokio::time::Instant) -> Instant {
        let since = at.saturating_duration_since(self.started);
        Instant(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    /// Dials a node, to send it messages if it has this id. What is found out comes as the event made of it.
    fn open_link(
        &self,
        (peer_name, peer_url): (&str, &str),
        peer_id: Option<NodeId>,
        event: impl Fn(LinkEvent) -> Event + Send + Sync + 'static,
    ) -> Link {
        let events = self.events_in.clone();
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
            // Without a receiver the node has stopped.
            let _ = events.send(event(found));
        })
    }

    async fn replicate(&mut self, recovered: Recovered, mut stop: oneshot::Receiver<()>) -> Result<(), FatalError> {
        let id = self.identity.node_id;
        let settings = self.config.raft.clone();
        let mut replica = Replica::new(id, settings, REQUEST_TIMEOUT_MS, rand::random(), recovered, self.now());
        let comparing = StateExchange::start(&self.config.name, self.dialled.subscribe(), self.hello(), self.events())?;
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
            if let Some(divergence) = replica.divergence() {
                drop(comparing);
                return self.halt(replica, divergence, stop).await;
            }
            if now >= next_tick {
                next_tick = now.plus_ms(TICK.as_millis() as u64);
                replica.tick(now);
                if let Some(cluster) = self.cluster() {
                    self.snapshots.take_if_due(&mut replica, self.writer.reader(), cluster);
                }
                if self.snapshots.replaces_lost_log(self.writer.reader()) {
                    self.compact(&mut replica);
                }
            }
        }
    }

    fn take(&mut self, replica: &mut Replica<WriteReply, ReadReply>, arrived: Arrived) -> Result<(), FatalError> {
        match arrived {
            Arrived::Event(Event::Written(id)) => replica.written(id),
            Arrived::Event(Event::Fetched(fetch, entries)) => replica.fetched(&fetch, entries),
            Arrived::Event(Event::LogUnreadable(fetch, cause)) => self.log_unreadable(replica, &fetch, cause)?,
            Arrived::Event(Event::DiskFailed(cause)) => return Err(self.disk_failed(cause)),
            Arrived::Event(Event::WriterPanicked) => return Err(FatalError::Panicked),
            Arrived::Event(Event::SnapshotTaken(taken)) => {
                let taken = self.snapshots.taken(taken).map_err(|cause| self.disk_failed(cause))?;
                if taken.is_some_and(|file| self.snapshots.durable(file)) {
                    self.compact(replica);
                }
            }
            Arrived::Event(Event::SnapshotUnreadable(unreadable)) => {
                self.snapshots.unreadable(unreadable).map_err(|cause| self.disk_failed(cause))?;
                self.publisher.snapshots_damaged(self.snapshots.damaged());
            }
            Arrived::Event(Event::SnapshotSent(to, term, result)) => {
                let last = self.snapshots.sent(to, term, result).map_err(|cause| self.disk_failed(cause))?;
                self.publisher.snapshots_damaged(self.snapshots.damaged());
                replica.snapshot_sent(to, term, last);
            }
            Arrived::Event(Event::SnapshotReceived(received, installed)) => self.install(replica, *received, installed),
            Arrived::Event(Event::Member(id, LinkEvent::Lost)) => {
                replica.peer_lost(id);
                if self.directory.lost(id) {
                    self.connect_members();
                }
            }
            Arrived::Event(Event::Member(id, LinkEvent::BulkOpened)) => replica.bulk_opened(id),
            Arrived::Event(Event::Member(id, LinkEvent::BulkStalled)) => replica.bulk_stalled(id),
            Arrived::Event(Event::Member(_, LinkEvent::Removed)) => self.told_removed(replica),
            Arrived::Event(Event::Joining(JoinNews::Removed(_))) => self.told_removed(replica),
            Arrived::Event(Event::Member(_, LinkEvent::Met(hello))) => {
                replica.peer_knows(hello.node_id(), Level(hello.level));
                self.met(&hello);
                self.check_cluster(&hello)?;
            }
            // Who asks may have gone.
            Arrived::Event(Event::StatesAsked(reply)) => drop(reply.send(replica.states())),
            Arrived::Event(Event::StatesReported(from, states)) => {
                replica.compare_states(from, states);
                self.log_disagreement(replica);
            }
            Arrived::Event(Event::Stopping(over)) => self.hand_overs.begin_to_stop(replica, &self.directory, over),
            // The link warns by itself, and nobody forms a cluster or joins one any more.
            Arrived::Event(Event::Member(_, LinkEvent::Failed(_)) | Event::Founder(..) | Event::Joining(_)) => {}
            Arrived::FromPeer(PeerEvent::Met(hello)) => {
                replica.peer_knows(hello.node_id(), Level(hello.level));
                if let Some(link) = self.links.get(&hello.node_id()) {
                    link.redial();
                }
                self.met(&hello);
                self.dialled_by(&hello);
            }
            Arrived::FromPeer(PeerEvent::Message(from, message)) => self.step(replica, from, message),
            Arrived::Request(request) if Self::must_refuse(replica, &request) => forming_task::refuse(request),
            Arrived::Request(Request::ChangeMembers { change, deadline, reply }) => {
                let asked = self.member_changes.ask(change, self.instant(deadline), reply);
                // Nobody waits for an answer if its receiver is gone.
                asked.unwrap_or_else(|reply| drop(reply.send(Err(ChangeError::TooMany))));
            }
            Arrived::Request(Request::Write { command, deadline, reply }) => {
                replica.write_until(command, self.instant(deadline), reply);
            }
            Arrived::Request(Request::Read { deadline, reply }) => replica.read_until(self.instant(deadline), reply),
            Arrived::Request(Request::HandOver { to, reply }) => {
                self.hand_overs.begin(replica, &self.directory, to.as_deref(), reply);
            }
            Arrived::Request(Request::Backup { reply }) => {
                self.snapshots.back_up(replica.raft().log().applied_index(), reply);
            }
            Arrived::Nothing => {}
        }
        Ok(())
    }

    /// What a follower lacks cannot be read back from the log. It is asked for again once the follower has answered a
    /// heartbeat, and by then a snapshot may have taken its place.
    fn log_unreadable(
        &mut self,
        replica: &mut Replica<WriteReply, ReadReply>,
        fetch: &Fetch,
        cause: StorageError,
    ) -> Result<(), FatalError> {
        let lost = self.writer.reader().lost_with(fetch.from);
        let applied = replica.raft().log().applied_index();
        let damaged = self.snapshots.log_unreadable(lost, applied, cause).map_err(|cause| self.disk_failed(cause))?;
        if let Some(segment) = damaged {
            self.publisher.log_damaged(self.snapshots.log_damaged());
            self.writer.leave_segment(segment);
        }
        replica.fetched(fetch, Vec::new());
        Ok(())
    }

    /// Lets the log go behind the newest snapshot.
    fn compact(&self, replica: &mut Replica<WriteReply, ReadReply>) {
        let gone = self.snapshots.compact(replica, self.writer.reader());
        self.writer.compact(gone);
    }

    /// A snapshot has arrived from a leader: from now on it is the state, if it is news.
    fn install(
        &mut self,
        replica: &mut Replica<WriteReply, ReadReply>,
        received: Received,
        installed: oneshot::Sender<LogIndex>,
    ) {
        let Received { file, place, store } = received;
        let last = place.last;
        if replica.wants_snapshot(last) {
            tracing::info!("goes on from the snapshot of another node, which ends with entry {last}");
        }
        let old = replica.install(place, store);
        // A large one takes its time to go.
        tokio::task::spawn_blocking(move || drop(old));
        self.snapshots.durable(file);
        // Whoever sent it may have gone.
        let _ = installed.send(last.index);
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

    /// A message has arrived. One that no working member would send ends its stream: what follows on it
    /// would be no better.
    fn step(&mut self, replica: &mut Replica<WriteReply, ReadReply>, from: NodeId, message: Message) {
        if let Some(level) = replica.refuses_level(&message) {
            return self.refuse_level(from, level);
        }
        let Some(refusal) = replica.raft().refusal(from, &message) else { return replica.step(from, message) };
        self.inbound.close(from);
        if self.refused.len() < REFUSALS_LOGGED_MAX && self.refused.insert((from, refusal)) {
            let name = self.directory.info(from).map_or("a node that is no member", |info| &info.name);
            tracing::error!("refuses a message from {name} (id {from}): {refusal}");
        }
    }

    /// Says when the level rises: from then on the version of kvd before cannot be put back.
    fn log_level(&mut self, level: Level) {
        if std::mem::replace(&mut self.level, level) < level {
            tracing::info!("the data is of level {level} now: versions of kvd that do not know it cannot read it");
        }
    }

    /// Another node sends what this one could never apply. It goes without, and stays behind, until it is upgraded.
    fn refuse_level(&mut self, from: NodeId, level: Level) {
        if self.unknown_level.replace(level) != Some(level) {
            let name = self.directory.info(from).map_or("another node", |info| &info.name);
            tracing::error!(
                "{name} sends entries of level {level}, and this node knows levels up to {}: it cannot follow its cluster any \
                 more, and has lost nothing; start a version of kvd that knows that level, without a lower --level-max",
                self.config.level_max
            );
        }
    }

    /// Says once of each voter that it holds another state than this node.
    fn log_disagreement(&mut self, replica: &Replica<WriteReply, ReadReply>) {
        if let Some((voter, index)) = replica.disagreement()
            && self.disagreements.insert(voter)
        {
            let name = self.directory.info(voter).map_or("a member", |info| &info.name);
            tracing::error!(
                "{name} and this node hold different data after entry {index}, which is a defect: whichever of them differs from a \
                 majority of the voters stops serving"
            );
        }
    }

    /// A node that was dialled as a member has introduced itself: finds out whether this node is in the
    /// wrong place.
    fn check_cluster(&mut self, hello: &Hello) -> Result<(), FatalError> {
        let (Some(own), Some(other)) = (self.cluster(), hello.cluster) else { return Ok(()) };
        let configured = self.config.peers.iter().any(|peer| peer.name == hello.name);
        if other != own && configured && self.clusters_met.is_outvoted(&hello.name, self.config.peers.len()) {
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

    fn cluster(&self) -> Option<u64> {
        self.identity.cluster.as_ref().map(|cluster| cluster.id)
    }

    /// Does what the replica asks for.
    fn carry_out(&mut self, replica: &mut Replica<WriteReply, ReadReply>) {
        self.member_changes.forget(oneshot::Sender::is_closed);
        let changes_ended = self.member_changes.go_on(replica, self.now());
        let Effects { send, bulk, write, fetch, snapshots, writes, reads } = replica.effects();
        self.follow_members(replica.raft());
        for (to, message) in send {
            if let Some(link) = self.links.get(&to) {
                link.send(message);
            }
        }
        for (to, message) in bulk {
            if let Some(link) = self.links.get(&to) {
                link.send_bulk(message);
            }
        }
        if let Some(write) = write {
            self.writer.write(write);
        }
        for fetch in fetch {
            self.writer.fetch(fetch);
        }
        self.snapshots.stop_needless(replica);
        for snapshot in snapshots {
            match replica.disagreement() {
                None if self.snapshots.can_be_sent() && self.send_snapshot(snapshot) => {}
                // What may be wrong must not become another node's state: the follower is sent it once that is decided. And
                // what cannot be read is sent once another one has taken its place.
                None | Some(_) => replica.snapshot_sent(snapshot.to, snapshot.term, None),
            }
        }
        self.log_level(replica.level());
        // First the view, so that whoever has an answer finds it there as well. Nobody waits for an
        // answer if its receiver is gone.
        self.publisher.replica(replica.raft(), &self.directory);
        for (reply, result) in writes {
            let _ = reply.send(result);
        }
        for (reply, result) in reads {
            let _ = reply.send(result);
        }
        self.hand_overs.answer(replica, &self.directory);
        for (reply, result) in changes_ended {
            let _ = reply.send(result.map(|()| self.publisher.members_reply()));
        }
    }

    /// A follower needs the newest snapshot. Returns whether it is known where to send it.
    fn send_snapshot(&mut self, snapshot: SendSnapshot) -> bool {
        let (Some(info), Some(link)) = (self.directory.info(snapshot.to), self.links.get(&snapshot.to)) else {
            return false;
        };
        let (name, url, hello) = (info.name.clone(), link.peer_url().to_owned(), self.hello.borrow().clone());
        self.snapshots.send(snapshot, &name, &url, &hello);
        true
    }
}

/// What woke the task.
enum Arrived {
    Event(Event),
    FromPeer(PeerEvent),
    Request(Request),
    Nothing,
}

/// Whether this node may be in the wrong place: it has met no node of its own cluster, and a majority
/// of the other nodes it was told to work with belongs to another one.
#[derive(Debug, Default)]
struct ClustersMet {
    own: bool,
    strangers: BTreeSet<String>,
}

impl ClustersMet {
    /// Notes that the node of this name belongs to another cluster. A single stranger proves nothing:
    /// it may be the one in the wrong place. `others` counts the nodes beside this one.
    fn is_outvoted(&mut self, name: &str, others: usize) -> bool {
        self.strangers.insert(name.to_owned());
        !self.own && self.strangers.len() > others / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_stranger_does_not_outvote_a_node_and_a_friend_settles_it() {
        let mut met = ClustersMet::default();
        assert!(!met.is_outvoted("node2", 2));
        assert!(!met.is_outvoted("node2", 2), "the same again");
        assert!(met.is_outvoted("node3", 2));
        met.own = true;
        assert!(!met.is_outvoted("node3", 2));
        assert!(ClustersMet::default().is_outvoted("node2", 1), "of two nodes there is nobody else to ask");
    }
}
