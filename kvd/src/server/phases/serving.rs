//! Serving: a member runs its replica, in batches.
//!
//! A batch is everything that has arrived by the time the task runs, and leads to one set of effects. So the busier a
//! node is, the more goes into one message and one write to disk. The clock moves before a batch is taken and timers
//! run after it, so a node that was paused takes the messages that waited for it before it judges other nodes' silence.

mod clock;
mod clusters_met;
mod members;
mod unfed;
mod upkeep;

use super::halted::Halted;
use super::refusing::refuse;
use super::shell::Shell;
use crate::bootstrap::JoinNews;
use crate::config::REQUEST_TIMEOUT_MS;
use crate::http::Request;
use crate::kv::{Level, Outcome};
use crate::node::{ChangeError, Divergence, Effects, MemberChanges, ReadError, Recovered, Replica, WriteError};
use crate::peer::{LinkEvent, LogOnce, PeerEvent};
use crate::raft::{Instant, Message, NodeId, Refusal, RoleName, SendSnapshot};
use crate::server::error::FatalError;
use crate::server::events::Event;
use crate::server::inbox::{Arrived, Inbox};
use crate::server::leadership_transfer::LeadershipTransfers;
use crate::server::state_exchange::{StateExchange, StatesEvent};
use crate::storage::snapshot::SnapshotFile;
use clock::Clock;
use kvclient::api::MembersReply;
use members::Members;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::MissedTickBehavior;
use upkeep::Upkeep;

/// Interval at which timers are checked.
const TICK: Duration = Duration::from_millis(5);

/// Maximum number of nodes and reasons that are logged once each: more than any cluster has members.
const LOGGED_MAX: usize = 64;

type WriteReply = oneshot::Sender<Result<Outcome, WriteError>>;
type ReadReply = oneshot::Sender<Result<Option<u64>, ReadError>>;
type ChangeReply = oneshot::Sender<Result<MembersReply, ChangeError>>;

/// A member of a cluster, with its replica.
#[derive(Debug)]
pub(super) struct Serving {
    replica: Replica<WriteReply, ReadReply>,
    clock: Clock,
    members: Members,
    upkeep: Upkeep,
    leadership_transfers: LeadershipTransfers,
    member_changes: MemberChanges<ChangeReply>,
    /// The level of the state.
    level: Level,
    /// The level of entries that this node was sent and does not know, once that is logged.
    unknown_level: Option<Level>,
    /// Senders of refused messages, and why they were refused; each is logged once.
    refused: LogOnce<(NodeId, Refusal)>,
    /// Voters whose states differ from this node's, once that is logged.
    disagreements: LogOnce<NodeId>,
    /// Compares states with the other nodes until it is dropped.
    _comparing: StateExchange,
}

impl Serving {
    /// Starts a replica from the recovered data. `snapshot` is the newest one on disk, and `damaged` is the number of
    /// snapshots that cannot be read.
    pub(super) fn new(shell: &Shell, recovered: Recovered, snapshot: Option<SnapshotFile>, damaged: u64) -> Self {
        let clock = Clock::start();
        let members = Members::new(shell, &recovered);
        let upkeep = Upkeep::new(shell, snapshot, damaged);
        let (id, settings) = (shell.identity.node_id, shell.config.raft.clone());
        let mut replica = Replica::new(id, settings, REQUEST_TIMEOUT_MS, rand::random(), recovered, clock.now());
        replica.set_store_limits(shell.config.store);
        let comparing = StateExchange::start(
            shell.agent.clone(),
            shell.publisher.dialled(),
            shell.hello.subscribe(),
            shell.events.reporter(Event::States),
        );
        Self {
            level: replica.level(),
            unknown_level: None,
            replica,
            clock,
            members,
            upkeep,
            leadership_transfers: LeadershipTransfers::default(),
            member_changes: MemberChanges::default(),
            refused: LogOnce::new(LOGGED_MAX),
            disagreements: LogOnce::new(LOGGED_MAX),
            _comparing: comparing,
        }
    }

    /// Runs until the node is stopped (returns `None`), or halts because its data has diverged.
    pub(super) async fn run(mut self, shell: &mut Shell, inbox: &mut Inbox) -> Result<Option<Halted>, FatalError> {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut next_tick = Instant(0);
        loop {
            self.carry_out(shell);
            if self.replica.applies_next() {
                // The tasks of the links send meanwhile.
                tokio::task::yield_now().await;
            }
            let first = tokio::select! {
                biased;
                arrived = inbox.next() => match arrived? {
                    Some(arrived) => Some(arrived),
                    None => return Ok(None),
                },
                _ = ticks.tick() => None,
                () = tokio::task::yield_now(), if self.replica.has_unapplied() => None,
            };
            let now = self.clock.now();
            self.replica.set_time(now);
            for arrived in first.map(Ok).into_iter().chain(inbox.queued()) {
                self.take(shell, arrived?)?;
            }
            if let Some(divergence) = self.replica.divergence() {
                return Ok(Some(self.halt(shell, divergence)));
            }
            if now >= next_tick {
                next_tick = now.plus_ms(TICK.as_millis() as u64);
                self.replica.tick(now);
                self.upkeep.tick(shell, &mut self.replica);
                shell.publisher.cloned(shell.inbound.cloned());
            }
        }
    }

    /// Ends everything at once. Callers that wait for a write are told that its outcome is unknown.
    fn halt(self, shell: &mut Shell, divergence: Divergence) -> Halted {
        Halted::new(shell, divergence, self.replica.states())
    }

    fn take(&mut self, shell: &Shell, arrived: Arrived) -> Result<(), FatalError> {
        match arrived {
            Arrived::FromPeer(PeerEvent::Message(from, message)) => self.step(shell, from, message),
            Arrived::FromPeer(PeerEvent::Met(hello)) => {
                // The dialling node may be of another cluster, and has been refused then.
                if hello.is_of(shell.cluster()) {
                    self.replica.peer_knows(hello.node_id(), Level(hello.level));
                }
                self.members.dialled_by(shell, &hello);
            }
            Arrived::Request(request) => self.ask(request),
            Arrived::Event(Event::Log(event)) => self.upkeep.take_log(shell, &mut self.replica, event)?,
            Arrived::Event(Event::Snapshots(event)) => self.upkeep.take_snapshots(shell, &mut self.replica, event)?,
            Arrived::Event(Event::Member(id, event)) => self.take_link(shell, id, event)?,
            Arrived::Event(Event::Join(JoinNews::Removed(_))) => self.told_removed(shell),
            // The caller may be gone.
            Arrived::Event(Event::States(StatesEvent::Asked(reply))) => drop(reply.send(self.replica.states())),
            Arrived::Event(Event::States(StatesEvent::Reported(from, states))) => {
                self.replica.compare_states(from, states);
                self.log_disagreement();
            }
            Arrived::Event(Event::Stopping(stopping)) => {
                self.leadership_transfers.begin_to_stop(&mut self.replica, self.members.directory(), stopping);
            }
            Arrived::Event(Event::Join(JoinNews::Joined(_))) => self.members.still_unfed(shell),
            // This node is a member already.
            Arrived::Event(
                Event::Founder(..)
                | Event::Join(JoinNews::Waits(_) | JoinNews::Leaderless(_) | JoinNews::Silent(_) | JoinNews::Unknown(_)),
            ) => {}
        }
        Ok(())
    }

    /// Handles a message. A message that no working member would send ends its stream, since later messages on it could
    /// not be trusted either.
    fn step(&mut self, shell: &Shell, from: NodeId, message: Message) {
        if let Some(level) = self.replica.refuses_level(&message) {
            return self.refuse_level(shell, from, level);
        }
        let Some(refusal) = self.replica.raft().refusal(from, &message) else {
            return self.replica.step(from, message);
        };
        shell.inbound.close(from);
        if self.refused.is_due((from, refusal)) {
            let name = self.members.directory().info(from).map_or("a node that is not a member", |info| &info.name);
            tracing::error!("refused a message from {name} (id {from}): {refusal}");
        }
    }

    /// Another node sends entries that this one can never apply. This node ignores them, and stays behind until it is
    /// upgraded.
    fn refuse_level(&mut self, shell: &Shell, from: NodeId, level: Level) {
        if self.unknown_level.replace(level) != Some(level) {
            let name = self.members.directory().info(from).map_or("another node", |info| &info.name);
            tracing::error!(
                "{name} sends entries of level {level}, but this node supports levels up to {}, so it cannot follow \
                 its cluster any further. It has lost nothing: start a kvd version that supports that level, without a \
                 lower --level-max",
                shell.config.level_max
            );
        }
    }

    /// Logs that the level has risen: from then on a downgrade to the previous version of kvd is impossible.
    fn log_level(&mut self) {
        let level = self.replica.level();
        if std::mem::replace(&mut self.level, level) < level {
            tracing::info!(
                "the level of the data is now {level}: kvd versions that do not support it cannot read the \
                 data"
            );
        }
    }

    /// Handles a client's request.
    fn ask(&mut self, request: Request) {
        let replica = &mut self.replica;
        if must_refuse(replica, &request) {
            return refuse(request);
        }
        match request {
            Request::Write { command, deadline, reply } => {
                replica.write_until(command, self.clock.at(deadline), reply);
            }
            Request::Read { deadline, reply } => replica.read_until(self.clock.at(deadline), reply),
            Request::ChangeMembers { change, deadline, reply } => {
                let asked = self.member_changes.ask(change, self.clock.at(deadline), reply);
                // If the receiver is gone, nobody waits for the answer.
                asked.unwrap_or_else(|reply| drop(reply.send(Err(ChangeError::TooMany))));
            }
            Request::LeadershipTransfer { to, reply } => {
                self.leadership_transfers.begin(replica, self.members.directory(), to.as_deref(), reply);
            }
            Request::Backup { reply } => self.upkeep.back_up(replica.raft().log().applied_index(), reply),
        }
    }

    /// Handles news from a link to a member.
    fn take_link(&mut self, shell: &Shell, id: NodeId, event: LinkEvent) -> Result<(), FatalError> {
        match event {
            LinkEvent::Met(hello) => {
                self.replica.peer_knows(hello.node_id(), Level(hello.level));
                self.members.met_as_member(shell, &hello)?;
            }
            LinkEvent::Lost => {
                self.replica.peer_lost(id);
                self.members.lost(shell, id);
            }
            LinkEvent::Removed => self.told_removed(shell),
            LinkEvent::BulkOpened => self.replica.bulk_opened(id),
            LinkEvent::BulkStalled => self.replica.bulk_stalled(id),
            // The link logs the warning itself.
            LinkEvent::Failed(why) => self.members.missed(shell, id, &why),
        }
        Ok(())
    }

    /// Handles a member's message that this node has been removed.
    fn told_removed(&mut self, shell: &Shell) {
        self.replica.told_removed();
        // A removed leader still has to tell the other nodes that its removal is committed.
        if self.replica.raft().role() != RoleName::Leader {
            self.members.leave(shell);
        }
    }

    /// Logs, once for each voter, that its state differs from this node's.
    fn log_disagreement(&mut self) {
        if let Some((voter, index)) = self.replica.disagreement()
            && self.disagreements.is_due(voter)
        {
            let name = self.members.directory().info(voter).map_or("a member", |info| &info.name);
            tracing::error!(
                "{name} and this node have different data after entry {index}, which is a bug or a hardware fault: the \
                 one that differs from a majority of the voters stops serving"
            );
        }
    }

    /// Carries out the replica's effects.
    fn carry_out(&mut self, shell: &mut Shell) {
        let replica = &mut self.replica;
        self.member_changes.forget(oneshot::Sender::is_closed);
        let changes_ended = self.member_changes.go_on(replica, self.clock.now());
        let Effects { send, bulk, write, fetch, snapshots, writes, reads } = replica.effects();
        self.members.follow(shell, replica.raft());
        for (to, message) in send {
            if let Some(link) = self.members.link(to) {
                link.send(message);
            }
        }
        for (to, message) in bulk {
            if let Some(link) = self.members.link(to) {
                link.send_bulk(message);
            }
        }
        if let Some(write) = write {
            shell.log.write(write);
        }
        for fetch in fetch {
            shell.log.fetch(fetch);
        }
        self.upkeep.stop_needless(replica);
        for snapshot in snapshots {
            self.send_snapshot(shell, snapshot);
        }
        self.log_level();
        // The view is published first, so that a caller that has its answer finds the same there. If a receiver is
        // gone, nobody waits for that answer.
        let waiting_for = self.members.waits_for(shell);
        shell.publisher.replica(self.replica.raft(), self.members.directory(), waiting_for);
        for (reply, result) in writes {
            let _ = reply.send(result);
        }
        for (reply, result) in reads {
            let _ = reply.send(result.map(|time| time.map(|time| time.0)));
        }
        self.leadership_transfers.answer(&self.replica, self.members.directory());
        for (reply, result) in changes_ended {
            let _ = reply.send(result.map(|()| shell.publisher.members_reply()));
        }
    }

    /// Sends a follower the newest snapshot, if possible; otherwise the replica asks again.
    fn send_snapshot(&mut self, shell: &Shell, snapshot: SendSnapshot) {
        // A state that may be wrong must not spread to another node. The follower is sent the snapshot once the
        // comparison is decided.
        let is_trusted = self.replica.disagreement().is_none();
        let (to, term) = (snapshot.to, snapshot.term);
        let receiver = self.members.directory().info(to).zip(self.members.link(to));
        let is_sent = is_trusted
            && receiver.is_some_and(|(info, link)| self.upkeep.send(shell, snapshot, &info.name, link.peer_url()));
        if !is_sent {
            self.replica.snapshot_sent(to, term, None);
        }
    }
}

/// Returns whether this node cannot serve a request, because it has been removed or has received nothing from its
/// cluster yet.
fn must_refuse<W, R>(replica: &Replica<W, R>, request: &Request) -> bool {
    let raft = replica.raft();
    match request {
        // A removed node's data may be the last copy.
        Request::Backup { .. } => raft.configuration().members.is_empty(),
        Request::Write { .. }
        | Request::Read { .. }
        | Request::ChangeMembers { .. }
        | Request::LeadershipTransfer { .. } => raft.role() != RoleName::Leader && raft.is_removed(),
    }
}
