//! The queue of future events, ordered by time.

use super::client::{AttemptId, ClientId, Reply};
use super::entrants::EntrantEvent;
use super::faults::Fault;
use super::member_requests::ChangeEvent;
use super::network::Envelope;
use super::queries::Query;
use super::snapshots::{SnapshotSent, TransferId};
use super::streams::{LaneOf, StreamNumber};
use super::watchers::WatcherId;
use kvd::kv::Command;
use kvd::node::AppliedState;
use kvd::raft::{Fetch, NodeId, WriteId};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Simulated time in microseconds since the run began.
pub(crate) type Micros = u64;

/// Number of an incarnation of a node. Events addressed to an earlier incarnation are dropped.
pub(crate) type Life = u64;

/// An event.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// A node checks its timers.
    Tick(NodeId, Life),
    /// A node carries out the effects that it deferred.
    CarryOut(NodeId, Life),
    /// A frame arrives, if its link still works.
    Arrive(Envelope),
    /// An attempt to dial ends.
    Dial { of: LaneOf, attempt: u64 },
    /// A frame has left completely.
    FrameLeaves(StreamNumber),
    /// The next frame on a stream arrives, if its link works.
    FrameArrives(StreamNumber),
    /// Checks whether anything moves on a stream.
    JudgeStream(StreamNumber),
    /// The notice arrives that the process at the other end of a stream is gone.
    StreamCloses(StreamNumber),
    /// The time that a write takes is over.
    WriteDone(NodeId, Life, WriteId),
    /// The time that reading back takes is over.
    FetchDone(NodeId, Life, Fetch),
    /// A node creates a log segment ahead of use.
    MakeSpare(NodeId, Life),
    /// A node seals its log if the log has been idle.
    Seal(NodeId, Life),
    /// A node writes the next piece of the snapshot that it takes.
    SnapshotPiece(NodeId, Life),
    /// The next piece of a snapshot arrives, unless it is lost.
    TransferPiece(TransferId),
    /// A leader learns the outcome of a snapshot transfer.
    SnapshotSent { to: NodeId, life: Life, sent: SnapshotSent },
    /// `at` finds that the process of `peer` is gone.
    PeerLost { at: NodeId, peer: NodeId },
    /// A node is started, unless it is running.
    Start(NodeId),
    /// A paused node goes on.
    Resume(NodeId, Life),
    /// A request arrives at a node.
    Request { to: NodeId, attempt: AttemptId, ask: Ask },
    /// A reply arrives at a client.
    Reply { attempt: AttemptId, reply: Reply },
    /// A client has waited long enough for an answer.
    AttemptTimeout(AttemptId),
    /// A client takes its next step.
    ClientTurn(ClientId, u64),
    /// A watcher hears from its node.
    WatcherTurn(WatcherId),
    /// A fault occurs.
    Fault,
    /// The operator changes the members, or a disk is lost.
    Operate,
    /// An event of a request to change the members.
    Change(ChangeEvent),
    /// An event of a node on its way into a cluster.
    Entrant(EntrantEvent),
    /// A node learns that it is no longer a member.
    ToldRemoved(NodeId, Life),
    /// A node is made to forget what it knows of the cluster.
    Bereave(NodeId),
    /// Follows up on a member change that is to be overtaken.
    Overtake,
    /// The operator corrects the flags of nodes that cannot be admitted with those they have.
    CorrectFlags,
    /// A client asks for a transfer of leadership.
    LeadershipTransfer,
    /// The nodes ask each other for their states.
    CompareStates,
    /// An answer to that question arrives.
    StatesArrive { to: NodeId, life: Life, from: NodeId, states: Vec<AppliedState> },
    /// A fault hits a leader that has just been elected.
    Strike(NodeId),
    /// A leader whose snapshot is to outlive it makes way for another leader.
    Succeed { leader: NodeId, successor: NodeId, tries: u64 },
    /// A follower falls behind.
    FallBehind,
    /// A process is killed.
    Kill(NodeId),
    /// A fault ends, unless a later fault of its kind has hit the same node since.
    Mend { fault: Fault, victim: NodeId, other: NodeId, number: u64 },
}

impl Event {
    /// Distinguishes the kinds of events.
    pub(crate) fn number(&self) -> u64 {
        match self {
            Self::Tick(..) => 1,
            Self::CarryOut(..) => 2,
            Self::Arrive(..) => 3,
            Self::WriteDone(..) => 4,
            Self::FetchDone(..) => 5,
            Self::MakeSpare(..) => 6,
            Self::Seal(..) => 7,
            Self::SnapshotPiece(..) => 18,
            Self::TransferPiece(..) => 19,
            Self::SnapshotSent { .. } => 20,
            Self::PeerLost { .. } => 8,
            Self::Start(..) => 9,
            Self::Resume(..) => 10,
            Self::Request { .. } => 11,
            Self::Reply { .. } => 12,
            Self::AttemptTimeout(..) => 13,
            Self::ClientTurn(..) => 14,
            Self::WatcherTurn(..) => 47,
            Self::Fault => 15,
            Self::Strike(..) => 16,
            Self::Mend { .. } => 17,
            Self::Succeed { .. } => 40,
            Self::Kill(..) => 41,
            Self::FallBehind => 42,
            Self::Operate => 21,
            Self::Entrant(..) => 22,
            Self::ToldRemoved(..) => 23,
            Self::LeadershipTransfer => 24,
            Self::CompareStates => 25,
            Self::StatesArrive { .. } => 26,
            Self::Dial { .. } => 27,
            Self::FrameLeaves(..) => 28,
            Self::FrameArrives(..) => 29,
            Self::JudgeStream(..) => 30,
            Self::StreamCloses(..) => 31,
            Self::Change(..) => 43,
            Self::CorrectFlags => 44,
            Self::Overtake => 46,
            Self::Bereave(..) => 45,
        }
    }
}

/// The operation that a request asks a node for.
#[derive(Clone, Debug)]
pub(crate) enum Ask {
    Write(Command),
    /// A linearizable read.
    Read(Query),
    /// A stale read.
    StaleRead(Query),
}

/// All future events.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    heap: BinaryHeap<Reverse<Scheduled>>,
    scheduled: u64,
}

#[derive(Debug)]
struct Scheduled {
    at: Micros,
    /// Number of events scheduled so far. Events due at the same time happen in the order in which they were scheduled.
    number: u64,
    event: Event,
}

impl Queue {
    pub(crate) fn schedule(&mut self, at: Micros, event: Event) {
        self.scheduled += 1;
        self.heap.push(Reverse(Scheduled { at, number: self.scheduled, event }));
    }

    pub(crate) fn next(&mut self) -> Option<(Micros, Event)> {
        self.heap.pop().map(|Reverse(Scheduled { at, event, .. })| (at, event))
    }
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Scheduled {}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}
