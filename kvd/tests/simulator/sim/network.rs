//! The network between nodes: delay, loss, duplication, reordering, corruption, and links that do not work.
//!
//! Nodes exchange frames of the real wire format, so that every message of a run is encoded and decoded. A link has a
//! direction; each direction can be cut, clogged or flapping on its own.
//!
//! In some runs messages travel on streams (see [`super::streams`]). In the others the network is *loose*, which is
//! worse than TCP makes any network: each message may be lost, duplicated, delayed or overtaken on its own.

use super::chance::Chance;
use super::coverage::{Coverage, Kind};
use super::events::{Event, Micros, Queue};
use super::plan::NetworkPlan;
use super::streams::LaneOf;
use bytes::Bytes;
use kvd::peer;
use kvd::raft::{Body, Message, NodeId, Term};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Latest time at which a duplicate arrives. Microseconds.
const ECHO_US_MAX: Micros = 5_000_000;

/// Earliest such time. Microseconds.
const ECHO_SOON_US: Micros = 500;

/// Frames kept to be replayed at random times.
const MEMORY_FRAMES: usize = 64;

/// Thousandths of all frames that are kept.
const REMEMBERED_PERMILLE: u32 = 20;

/// Most old frames that a node is sent when it restarts.
const REPLAYED_MAX: u64 = 4;

/// Number of terms for which the last acknowledgement on each link is kept.
const TERMS_KEPT: usize = 8;

/// Percentage of a new leader's followers whose acknowledgement of an earlier term arrives now.
const ACKNOWLEDGED_LATE_PERCENT: u32 = 50;

/// Mean delay of that after the election: a leader accepts only acknowledgements up to the end of its log.
/// Microseconds.
const ACKNOWLEDGED_LATE_US: [Micros; 4] = [1_000, 10_000, 100_000, 500_000];

/// Number of last answers to read index requests that are kept for each link.
const READ_ANSWERS_KEPT: usize = 8;

/// Percentage of read index requests at which the answer to an earlier one arrives.
const READ_ANSWERED_LATE_PERCENT: u32 = 20;

/// From sender to receiver.
pub(crate) type Link = (NodeId, NodeId);

/// A frame in flight.
#[derive(Clone, Debug)]
pub(crate) struct Envelope {
    pub(crate) from: NodeId,
    pub(crate) to: NodeId,
    pub(crate) frame: Bytes,
    /// True if it was damaged in flight.
    pub(crate) garbled: bool,
}

impl Envelope {
    /// Damages the frame: flips a bit, or cuts off its end.
    fn garble(&mut self, chance: &mut Chance) {
        let place = chance.within(0..self.frame.len() as u64) as usize;
        let mut frame = self.frame.to_vec();
        if chance.percent(50) {
            frame[place] ^= 1 << chance.within(0..8);
        } else {
            frame.truncate(place);
        }
        self.frame = frame.into();
        self.garbled = true;
    }
}

/// The links between all nodes.
#[derive(Debug)]
pub(crate) struct Network {
    plan: NetworkPlan,
    /// Delay after which a message has outlived the patience of every follower. Microseconds.
    late_us: Micros,
    cut: BTreeSet<Link>,
    /// Links that alternate between working and failing, with the length of each phase. Microseconds.
    flapping: BTreeMap<Link, Micros>,
    /// Additional delay of clogged links. Microseconds.
    clogged: BTreeMap<Link, Micros>,
    /// Lanes on which nothing moves, with the time since which.
    dead: BTreeMap<LaneOf, Micros>,
    /// Dead lanes that are never mended.
    dead_for_ever: BTreeSet<LaneOf>,
    /// Additional delay of slow lanes. Microseconds.
    slow: BTreeMap<LaneOf, Micros>,
    /// Machines without power. They do not even refuse connections.
    off: BTreeSet<NodeId>,
    /// Time at which the last message on a link arrives.
    last_arrival: BTreeMap<Link, Micros>,
    /// Nodes that clients cannot reach.
    hidden: BTreeSet<NodeId>,
    /// Old frames.
    memory: Vec<Envelope>,
    /// Last acknowledgement of each follower in each of its latest terms, whether it arrived or not.
    acknowledgements: BTreeMap<Link, BTreeMap<Term, Envelope>>,
    /// Last answers to read index requests, whether they arrived or not.
    read_answers: BTreeMap<Link, VecDeque<Envelope>>,
}

impl Network {
    pub(crate) fn new(plan: NetworkPlan, patience_ms: u64) -> Self {
        Self {
            plan,
            late_us: patience_ms * 1_000,
            cut: BTreeSet::new(),
            flapping: BTreeMap::new(),
            clogged: BTreeMap::new(),
            dead: BTreeMap::new(),
            dead_for_ever: BTreeSet::new(),
            slow: BTreeMap::new(),
            off: BTreeSet::new(),
            last_arrival: BTreeMap::new(),
            hidden: BTreeSet::new(),
            memory: Vec::new(),
            acknowledgements: BTreeMap::new(),
            read_answers: BTreeMap::new(),
        }
    }

    /// Sends a message, which may arrive once, several times or never.
    pub(crate) fn send(
        &mut self,
        link: Link,
        (message, protocol): (&Message, u32),
        now: Micros,
        chance: &mut Chance,
        queue: &mut Queue,
        coverage: &mut Coverage,
    ) {
        let mut envelope =
            Envelope { from: link.0, to: link.1, frame: peer::encode(message, protocol), garbled: false };
        if self.plan.doubled_permille > 0 {
            match message.body {
                Body::AppendAccepted { .. } => self.keep_acknowledgement(message.term, &envelope),
                Body::ReadIndexResponse { .. } => self.keep_read_answer(&envelope),
                Body::ReadIndex { .. } => self.answer_read_late(link, now, chance, queue, coverage),
                _ => {}
            }
        }
        if !self.works(link, now) || chance.permille(self.plan.lost_permille) {
            return coverage.count(Kind::MessageLost);
        }
        if self.garbles_frame(&mut envelope, chance) {
            coverage.count(Kind::MessageGarbled);
        }
        let delay = self.delay(chance);
        let mut at = now + delay + self.clogged.get(&link).copied().unwrap_or(0);
        let last = self.last_arrival.entry(link).or_insert(0);
        if at < *last {
            if self.plan.in_order {
                at = *last;
            } else {
                coverage.count(Kind::MessageOvertaken);
            }
        }
        *last = at.max(*last);
        if at - now > self.late_us {
            coverage.count(Kind::MessageLate);
        }
        if chance.permille(self.plan.doubled_permille) {
            coverage.count(Kind::MessageDoubled);
            let echo = if chance.percent(30) { chance.within(0..ECHO_US_MAX) } else { self.delay(chance) };
            queue.schedule(at + echo, Event::Arrive(envelope.clone()));
            if let Some(old) = self.any_of_the_past(chance, |_| true).filter(|_| chance.percent(20)) {
                coverage.count(Kind::MessageReplayed);
                queue.schedule(at, Event::Arrive(old));
            }
        }
        if self.plan.doubled_permille > 0 && chance.permille(REMEMBERED_PERMILLE) {
            self.remember(envelope.clone(), chance);
        }
        queue.schedule(at, Event::Arrive(envelope));
    }

    /// Starts a node's new incarnation, and may send it frames that were meant for an earlier one.
    pub(crate) fn replay_to(
        &self,
        node: NodeId,
        now: Micros,
        chance: &mut Chance,
        queue: &mut Queue,
        coverage: &mut Coverage,
    ) {
        if !chance.permille(self.plan.doubled_permille) {
            return;
        }
        for _ in 0..chance.within(1..REPLAYED_MAX + 1) {
            let Some(old) = self.any_of_the_past(chance, |envelope| envelope.to == node) else { break };
            coverage.count(Kind::ReplayedToNewLife);
            queue.schedule(now + self.delay(chance), Event::Arrive(old));
        }
    }

    fn keep_acknowledgement(&mut self, term: Term, envelope: &Envelope) {
        let of_link = self.acknowledgements.entry((envelope.from, envelope.to)).or_default();
        of_link.insert(term, envelope.clone());
        if of_link.len() > TERMS_KEPT {
            of_link.pop_first();
        }
    }

    fn keep_read_answer(&mut self, envelope: &Envelope) {
        let kept = self.read_answers.entry((envelope.from, envelope.to)).or_default();
        kept.push_back(envelope.clone());
        kept.drain(..kept.len().saturating_sub(READ_ANSWERS_KEPT));
    }

    /// Handles a read index request: an earlier answer, perhaps to an earlier incarnation, may arrive now.
    fn answer_read_late(
        &self,
        (asker, asked): Link,
        now: Micros,
        chance: &mut Chance,
        queue: &mut Queue,
        coverage: &mut Coverage,
    ) {
        if !chance.percent(READ_ANSWERED_LATE_PERCENT) {
            return;
        }
        let kept: Vec<&Envelope> = self.read_answers.get(&(asked, asker)).into_iter().flatten().collect();
        if let Some(late) = chance.any_of(&kept) {
            coverage.count(Kind::ReadAnsweredLate);
            queue.schedule(now + chance.within(0..ECHO_SOON_US), Event::Arrive(late.clone()));
        }
    }

    /// Handles a node that leads again: acknowledgements from its earlier leadership may arrive now, for entries that
    /// its followers may have cut off since.
    pub(crate) fn acknowledge_late(
        &self,
        leader: NodeId,
        now: Micros,
        chance: &mut Chance,
        queue: &mut Queue,
        coverage: &mut Coverage,
    ) {
        if self.plan.doubled_permille == 0 {
            return;
        }
        for (_, of_link) in self.acknowledgements.iter().filter(|((_, to), _)| *to == leader) {
            if chance.percent(ACKNOWLEDGED_LATE_PERCENT) {
                let kept: Vec<&Envelope> = of_link.values().collect();
                let envelope = chance.any_of(&kept).expect("what is kept is of some term").clone();
                coverage.count(Kind::AcknowledgedLate);
                let mean = chance.one_of(&ACKNOWLEDGED_LATE_US);
                queue.schedule(now + chance.exponential(mean), Event::Arrive(envelope));
            }
        }
    }

    /// Returns a frame of an earlier term, or of an earlier incarnation of either end.
    fn any_of_the_past(&self, chance: &mut Chance, fits: impl Fn(&Envelope) -> bool) -> Option<Envelope> {
        let fitting: Vec<&Envelope> = self.memory.iter().filter(|envelope| fits(envelope)).collect();
        chance.any_of(&fitting).cloned()
    }

    fn remember(&mut self, envelope: Envelope, chance: &mut Chance) {
        if self.memory.len() < MEMORY_FRAMES {
            return self.memory.push(envelope);
        }
        let place = chance.within(0..MEMORY_FRAMES as u64) as usize;
        self.memory[place] = envelope;
    }

    /// Draws the time that a message takes to a node or a client.
    pub(crate) fn delay(&self, chance: &mut Chance) -> Micros {
        let NetworkPlan { delay_min_us, delay_mean_us, spike_permille, .. } = self.plan;
        if chance.permille(spike_permille) {
            return chance.within(delay_min_us..5_000_000);
        }
        delay_min_us + chance.exponential(delay_mean_us)
    }

    /// Returns whether a node is cut off from clients.
    pub(crate) fn is_hidden(&self, node: NodeId) -> bool {
        self.hidden.contains(&node)
    }

    /// Returns whether a message from or to a client is lost.
    pub(crate) fn loses_client_message(&self, node: NodeId, chance: &mut Chance) -> bool {
        self.hidden.contains(&node) || chance.permille(self.plan.lost_permille)
    }

    /// Damages a piece of a snapshot with the same probability as a frame. Returns whether it did.
    pub(crate) fn garbles(&self, piece: &mut [u8], chance: &mut Chance) -> bool {
        let is_garbled = !piece.is_empty() && chance.permille(self.plan.garbled_permille);
        if is_garbled {
            let place = chance.within(0..piece.len() as u64) as usize;
            piece[place] ^= 1 << chance.within(0..8);
        }
        is_garbled
    }

    /// Damages a frame with the plan's probability. Returns whether it did.
    pub(crate) fn garbles_frame(&self, envelope: &mut Envelope, chance: &mut Chance) -> bool {
        let is_garbled = chance.permille(self.plan.garbled_permille);
        if is_garbled {
            envelope.garble(chance);
        }
        is_garbled
    }

    /// Returns whether messages travel one by one instead of on streams.
    pub(crate) fn is_loose(&self) -> bool {
        !self.plan.streams
    }

    /// Returns whether answers cannot take this long while nothing is wrong with their links.
    pub(crate) fn is_prompt(&self, patience: Micros) -> bool {
        let NetworkPlan { spike_permille, delay_min_us, delay_mean_us, .. } = self.plan;
        spike_permille == 0 && delay_min_us + 30 * delay_mean_us < patience
    }

    /// Bytes that a link carries per second.
    pub(crate) fn bytes_per_s(&self) -> Option<u64> {
        self.plan.bytes_per_s
    }

    /// Stops all traffic on a lane until it is mended.
    pub(crate) fn kill_lane(&mut self, lane: LaneOf, now: Micros) {
        self.dead.entry(lane).or_insert(now);
    }

    pub(crate) fn kill_lane_for_ever(&mut self, lane: LaneOf, now: Micros) {
        self.kill_lane(lane, now);
        self.dead_for_ever.insert(lane);
    }

    pub(crate) fn revive_lane(&mut self, lane: LaneOf) {
        if !self.dead_for_ever.contains(&lane) {
            self.dead.remove(&lane);
        }
    }

    pub(crate) fn is_dead(&self, lane: LaneOf) -> bool {
        self.dead.contains_key(&lane)
    }

    pub(crate) fn dead_since(&self, lane: LaneOf) -> Option<Micros> {
        self.dead.get(&lane).copied()
    }

    pub(crate) fn slow_lane(&mut self, lane: LaneOf, by: Micros) {
        self.slow.insert(lane, by);
    }

    pub(crate) fn speed_up_lane(&mut self, lane: LaneOf) {
        self.slow.remove(&lane);
    }

    /// Additional delay of everything on a lane.
    pub(crate) fn lag(&self, lane: LaneOf) -> Micros {
        let clogged = self.clogged.get(&lane.link).copied().unwrap_or(0);
        clogged + self.slow.get(&lane).copied().unwrap_or(0)
    }

    pub(crate) fn switch_off(&mut self, node: NodeId) {
        self.off.insert(node);
    }

    pub(crate) fn switch_on(&mut self, node: NodeId) {
        self.off.remove(&node);
    }

    pub(crate) fn is_off(&self, node: NodeId) -> bool {
        self.off.contains(&node)
    }

    pub(crate) fn works(&self, link: Link, now: Micros) -> bool {
        let flaps = self.flapping.get(&link).is_some_and(|period| (now / period) % 2 == 1);
        !flaps && !self.cut.contains(&link)
    }

    pub(crate) fn cut(&mut self, links: impl IntoIterator<Item = Link>) {
        self.cut.extend(links);
    }

    pub(crate) fn flap(&mut self, link: Link, period: Micros) {
        self.flapping.insert(link, period);
    }

    pub(crate) fn clog(&mut self, link: Link, by: Micros) {
        self.clogged.insert(link, by);
    }

    pub(crate) fn unclog(&mut self, link: Link) {
        self.clogged.remove(&link);
    }

    pub(crate) fn hide(&mut self, node: NodeId) {
        self.hidden.insert(node);
    }

    pub(crate) fn unhide(&mut self, node: NodeId) {
        self.hidden.remove(&node);
    }

    /// Mends all cut and flapping links.
    pub(crate) fn heal_cuts(&mut self) {
        self.cut.clear();
        self.flapping.clear();
    }

    /// Ends all faults of the network. Links that are cut afterwards stay cut.
    pub(crate) fn calm_down(&mut self) {
        self.heal_cuts();
        self.clogged.clear();
        self.dead.clear();
        self.slow.clear();
        self.hidden.clear();
        self.memory.clear();
        self.acknowledgements.clear();
        self.read_answers.clear();
        // Messages sent from now on do not queue behind those sent over bad links.
        self.last_arrival.clear();
        let NetworkPlan { streams, bytes_per_s, socket_bytes, .. } = self.plan;
        self.plan = NetworkPlan { streams, bytes_per_s, socket_bytes, ..NetworkPlan::CALM };
    }
}
