//! Streams between nodes, as TCP and the diallers of [`kvd::peer`] make them: two lanes for each directed pair.
//!
//! Frames stay in order on a stream, and none is lost by itself. If the path does not work they wait, and continue when
//! it works again, unless the sender has given the stream up by then: on the prompt lane after a long silence, on the
//! bulk lane as soon as nothing has moved for two election timeouts. A stream that breaks loses everything in flight.
//! Then the lane is dialled again, and the node is told what the real dialler would tell it. The real [`BulkWatch`]
//! decides whether a bulk lane counts as stalled.
//!
//! A link may have a rate: frames take time by their size, and those of the two lanes travel side by side. A paused
//! receiver takes in as much as its sockets hold, and then nothing more.

use super::coverage::Kind;
use super::events::{Event, Life, Micros};
use super::invariants::{Checked, ensure, is_quorum};
use super::network::{Envelope, Link};
use super::node::Input;
use super::world::World;
use bytes::Bytes;
use kvd::peer::{self, BulkWatch, Lane};
use kvd::raft::{Configuration, Message, NodeId, Raft, RoleName, Term};
use std::collections::{BTreeMap, VecDeque};

const NAME: &str = "Lanes";

const MS: Micros = 1_000;

/// Messages queued for one lane, as in the dialler.
const QUEUE_MESSAGES_MAX: usize = 512;

/// Silence of the peer after which a stream is given up, as in the dialler. Microseconds.
const SILENCE_MAX: Micros = 5_000 * MS;

/// Age from which a stream that ends is dialled again at once, as in the dialler. Microseconds.
const GOOD_STREAM_MIN: Micros = 1_000 * MS;

/// Pauses between attempts to dial, as in the dialler. Microseconds.
const BACKOFF_MIN: Micros = 20 * MS;
const BACKOFF_MAX: Micros = 500 * MS;

/// Longest duration of an unanswered attempt: TCP retries after a second. Microseconds.
const UNANSWERED_MAX: Micros = 1_000 * MS;

/// Interval at which a stream is checked, by lane. Microseconds.
const JUDGED_EVERY: [(Lane, Micros); 2] = [(Lane::Prompt, 500 * MS), (Lane::Bulk, 150 * MS)];

/// Longest time that a prompt frame waits behind bulk frames on the same path; see `paced` in [`kvd::peer`].
/// Microseconds.
const BEHIND_BULK_MAX: Micros = 25 * MS;

/// Longest election timeouts without entries getting through to a quorum after which a leader has stepped down.
const DEAD_ELECTION_TIMEOUTS: u64 = 12;

/// Longest election timeouts after which lanes that have been healthy are no reason to step down.
const WELL_ELECTION_TIMEOUTS: u64 = 10;

/// Identifies a stream.
pub(crate) type StreamNumber = u64;

/// A lane of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LaneOf {
    pub(crate) link: Link,
    pub(crate) lane: Lane,
}

/// All streams, and their diallers.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    streams: BTreeMap<StreamNumber, Stream>,
    opened: StreamNumber,
    diallers: BTreeMap<LaneOf, Dialler>,
    /// Time since which a leader has had uncommitted entries, with its incarnation and term.
    owing: BTreeMap<NodeId, (Life, Term, Micros)>,
}

/// One connection.
#[derive(Debug)]
struct Stream {
    of: LaneOf,
    /// The incarnation of the receiver that accepted it.
    to_life: Life,
    opened: Micros,
    /// Frames that have not left yet.
    queue: VecDeque<(Term, Bytes)>,
    /// A frame that is leaving.
    leaving: Option<Bytes>,
    /// Frames in flight, with their arrival times.
    on_way: VecDeque<(Micros, Envelope)>,
    /// Nothing more leaves until something arrives.
    is_blocked: bool,
    last_arrival: Micros,
    /// Time at which the next arrival is checked.
    next_arrival: Micros,
    /// Time of the last movement, and of the peer's last sign of life.
    moved: Micros,
    heard: Micros,
    was_sent: bool,
    is_answered: bool,
    /// Bytes that the sockets of a paused receiver hold.
    held_bytes: usize,
    /// The process of the sender is gone; frames in flight still arrive.
    is_orphan: bool,
}

/// The dialling end, of one incarnation of a node.
#[derive(Debug)]
struct Dialler {
    life: Life,
    stream: Option<StreamNumber>,
    /// Numbers the attempts to dial; only the last one counts.
    attempt: u64,
    backoff: Micros,
    latest_term: Term,
    watch: BulkWatch,
    /// Time at which the lane last had trouble; in the future if a frame in flight is late.
    troubled: Micros,
}

/// Outcome of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    Broken,
    Stalled,
}

/// Fate of a frame at the end of a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    /// It is processed.
    Taken,
    /// Sockets hold it for a paused process.
    Held,
    /// It cannot get there for now.
    Nowhere,
    /// The process there does not belong to a cluster yet, and says so.
    Declined,
    /// No process there would take it, and the sender is told so.
    Refused,
}

impl World {
    /// Dials all other nodes for a process that has started.
    pub(super) fn dial_all(&mut self, from: NodeId) {
        for to in self.all_nodes() {
            if to != from && !self.network.is_loose() {
                self.dialler_of(LaneOf { link: (from, to), lane: Lane::Prompt });
            }
        }
    }

    /// Returns the dialler of a lane, which starts to dial if it is new.
    fn dialler_of(&mut self, of: LaneOf) {
        let Some(life) = self.nodes[&of.link.0].process().map(|process| process.life) else { return };
        if self.streams.diallers.get(&of).is_some_and(|dialler| dialler.life == life) {
            return;
        }
        let stall_max_ms = self.bulk_stall_max() / MS;
        let dialler = Dialler {
            life,
            stream: None,
            attempt: 0,
            backoff: 0,
            latest_term: Term(0),
            watch: BulkWatch::new(stall_max_ms),
            troubled: self.now,
        };
        self.streams.diallers.insert(of, dialler);
        self.dial_later(of, 0);
    }

    /// Returns the limit that the server sets.
    fn bulk_stall_max(&self) -> Micros {
        2 * self.plan.settings.election_timeout_max_ms * MS
    }

    /// Dials after a pause and a round trip.
    fn dial_later(&mut self, of: LaneOf, after: Micros) {
        let trip = (2 * self.network.delay(&mut self.chance)).min(UNANSWERED_MAX);
        let Some(dialler) = self.streams.diallers.get(&of) else { return };
        // A stall is reported while an attempt is under way.
        let due = dialler.watch.due_ms().map_or(Micros::MAX, |due_ms| self.now.max(due_ms * MS));
        self.dial_at(of, (self.now + after + trip).min(due));
    }

    fn dial_at(&mut self, of: LaneOf, at: Micros) {
        let Some(dialler) = self.streams.diallers.get_mut(&of) else { return };
        dialler.attempt += 1;
        self.queue.schedule(at, Event::Dial { of, attempt: dialler.attempt });
    }

    fn dial_after_backoff(&mut self, of: LaneOf) {
        let Some(dialler) = self.streams.diallers.get_mut(&of) else { return };
        dialler.backoff = (2 * dialler.backoff).clamp(BACKOFF_MIN, BACKOFF_MAX);
        let pause = self.chance.within(dialler.backoff / 2..dialler.backoff + 1);
        self.dial_later(of, pause);
    }

    /// Returns the fate of a frame that travels along this lane now, if its receiver is in this incarnation, or in any.
    fn reach(&self, of: LaneOf, to_life: Option<Life>, held_bytes: usize) -> Reach {
        let to = of.link.1;
        if !self.network.works(of.link, self.now) || self.network.is_dead(of) || self.network.is_off(to) {
            return Reach::Nowhere;
        }
        match self.nodes[&to].process() {
            Some(process) if to_life.is_some_and(|life| life != process.life && !process.paused) => Reach::Refused,
            Some(process) if process.paused && held_bytes >= self.plan.network.socket_bytes => Reach::Nowhere,
            Some(process) if process.paused => Reach::Held,
            Some(_) => Reach::Taken,
            None => match self.nodes[&to].running() {
                Some((_, true)) => Reach::Nowhere,
                Some((_, false)) => Reach::Declined,
                None => Reach::Refused,
            },
        }
    }

    /// Handles the end of an attempt to dial.
    pub(super) fn dial(&mut self, of: LaneOf, attempt: u64) -> Checked {
        let (from, to) = of.link;
        let Some(dialler) = self.streams.diallers.get(&of) else { return Ok(()) };
        if dialler.attempt != attempt || dialler.stream.is_some() || !self.is_life(from, dialler.life) {
            return Ok(());
        }
        if self.nodes[&from].process().is_some_and(|process| process.paused) {
            self.dial_at(of, self.now + 20 * MS);
            return Ok(());
        }
        if of.lane == Lane::Bulk {
            let is_prompt_open = self.stream_of(LaneOf { lane: Lane::Prompt, ..of }).is_some();
            let now_ms = self.now / MS;
            let watch = &mut self.streams.diallers.get_mut(&of).expect("it was there just now").watch;
            if !is_prompt_open {
                // It is dialled when that lane opens.
                watch.peer_gone();
                return Ok(());
            }
            watch.closed(now_ms);
            self.report_stall(of)?;
        }
        let is_heard = self.network.works((to, from), self.now);
        match self.reach(of, None, 0) {
            Reach::Taken if is_heard && self.is_removed_for(to, from) => {
                self.tell_removed(from);
                self.dial_after_backoff(of);
                Ok(())
            }
            Reach::Taken if is_heard => self.open_stream(of),
            Reach::Declined if is_heard => {
                self.dial_after_backoff(of);
                match self.nodes[&from].hello().cloned() {
                    Some(hello) => self.dialled_by(to, &hello),
                    None => Ok(()),
                }
            }
            Reach::Refused if is_heard => {
                self.dial_after_backoff(of);
                let sends = self.streams.streams.values().any(|stream| stream.of.link == (to, from));
                let is_lost = of.lane == Lane::Prompt && !sends;
                if is_lost { self.peer_lost(from, to) } else { Ok(()) }
            }
            _ => {
                let pause = self.chance.within(BACKOFF_MIN..UNANSWERED_MAX);
                self.dial_later(of, pause);
                Ok(())
            }
        }
    }

    fn stream_of(&self, of: LaneOf) -> Option<StreamNumber> {
        self.streams.diallers.get(&of).and_then(|dialler| dialler.stream)
    }

    fn open_stream(&mut self, of: LaneOf) -> Checked {
        let (from, to) = of.link;
        let to_life = self.nodes[&to].process().expect("it has just accepted").life;
        let now = self.now;
        // A newer stream replaces the last one.
        self.streams.streams.retain(|_, stream| stream.of != of);
        self.streams.opened += 1;
        let number = self.streams.opened;
        let stream = Stream {
            of,
            to_life,
            opened: now,
            queue: VecDeque::new(),
            leaving: None,
            on_way: VecDeque::new(),
            is_blocked: false,
            last_arrival: now,
            next_arrival: now,
            moved: now,
            heard: now,
            was_sent: false,
            is_answered: false,
            held_bytes: 0,
            is_orphan: false,
        };
        self.streams.streams.insert(number, stream);
        let dialler = self.streams.diallers.get_mut(&of).expect("whoever dialled");
        dialler.stream = Some(number);
        dialler.troubled = now;
        self.trace.note(|| format!("n{} opens the {} lane to n{}", from.0, of.lane.name(), to.0));
        self.judge_later(number);
        match of.lane {
            Lane::Prompt => {
                self.meet(from, to);
                let bulk = LaneOf { lane: Lane::Bulk, ..of };
                if self.streams.diallers.get(&bulk).is_none_or(|dialler| !self.is_life(from, dialler.life)) {
                    self.dialler_of(bulk);
                } else if self.stream_of(bulk).is_none() {
                    self.dial_later(bulk, 0);
                }
                Ok(())
            }
            Lane::Bulk => {
                self.coverage.count(Kind::BulkOpened);
                dialler_watch(&mut self.streams, of).opened();
                self.input(from, Input::BulkOpened(to))
            }
        }
    }

    /// Sends a message if its lane is open.
    pub(super) fn send_on_stream(&mut self, of: LaneOf, message: &Message) {
        let protocol = self.protocol_between(of.link.0, of.link.1);
        let is_new = !self.streams.diallers.contains_key(&LaneOf { lane: Lane::Prompt, ..of });
        if is_new {
            self.dialler_of(LaneOf { lane: Lane::Prompt, ..of });
        }
        let Some(number) = self.stream_of(of) else { return self.coverage.count(Kind::MessageLost) };
        let dialler = self.streams.diallers.get_mut(&of).expect("whoever has a stream");
        dialler.latest_term = dialler.latest_term.max(message.term);
        let stream = self.streams.streams.get_mut(&number).expect("an open stream");
        if stream.queue.len() >= QUEUE_MESSAGES_MAX {
            return self.coverage.count(Kind::MessageLost);
        }
        if stream.queue.is_empty() && stream.leaving.is_none() && stream.on_way.is_empty() {
            stream.moved = stream.moved.max(self.now);
        }
        stream.was_sent = true;
        stream.queue.push_back((message.term, peer::encode(message, protocol)));
        self.pump(number);
    }

    /// Lets frames leave, one after the other.
    fn pump(&mut self, number: StreamNumber) {
        loop {
            let Some(stream) = self.streams.streams.get_mut(&number) else { return };
            if stream.is_blocked || stream.leaving.is_some() {
                return;
            }
            let Some((term, frame)) = stream.queue.pop_front() else { return };
            let of = stream.of;
            if self.streams.diallers.get(&of).is_some_and(|dialler| term < dialler.latest_term) {
                continue;
            }
            let Some(rate) = self.network.bytes_per_s() else {
                self.frame_left(number, frame);
                continue;
            };
            let mut takes = frame.len() as u64 * 1_000_000 / rate;
            let is_behind_bulk = of.lane == Lane::Prompt && self.is_leaving(LaneOf { lane: Lane::Bulk, ..of });
            if is_behind_bulk {
                takes += self.chance.within(0..BEHIND_BULK_MAX);
            }
            if takes > self.plan.settings.election_timeout_max_ms * MS {
                self.coverage.count(Kind::FrameSlow);
            }
            let stream = self.streams.streams.get_mut(&number).expect("it was there just now");
            stream.leaving = Some(frame);
            return self.queue.schedule(self.now + takes, Event::FrameLeaves(number));
        }
    }

    fn is_leaving(&self, of: LaneOf) -> bool {
        let stream = self.stream_of(of).and_then(|number| self.streams.streams.get(&number));
        stream.is_some_and(|stream| stream.leaving.is_some())
    }

    /// Handles a frame that has left completely.
    pub(super) fn frame_leaves(&mut self, number: StreamNumber) {
        let Some(stream) = self.streams.streams.get_mut(&number) else { return };
        if let Some(frame) = stream.leaving.take() {
            self.frame_left(number, frame);
            self.pump(number);
        }
    }

    fn frame_left(&mut self, number: StreamNumber, frame: Bytes) {
        let delay = self.network.delay(&mut self.chance);
        let Some(stream) = self.streams.streams.get_mut(&number) else { return };
        let (of, lag) = (stream.of, self.network.lag(stream.of));
        let at = (self.now + delay + lag).max(stream.last_arrival);
        stream.last_arrival = at;
        let mut envelope = Envelope { from: of.link.0, to: of.link.1, frame, garbled: false };
        if self.network.garbles_frame(&mut envelope, &mut self.chance) {
            self.coverage.count(Kind::MessageGarbled);
        }
        stream.on_way.push_back((at, envelope));
        if stream.on_way.len() == 1 {
            self.look_for_frame(number, at);
        }
        if lag > 0 {
            // Everything sent later waits for it, even if the lane is as fast as before by then.
            self.is_troubled_until(of, at);
        }
    }

    /// Notes that a lane has trouble until then.
    ///
    /// Frames report it themselves, in addition to the periodic check of each stream ([`JUDGED_EVERY`]): the interval
    /// of a prompt lane's checks is longer than the patience of a leader, which misses a follower after one election
    /// timeout without an answer, and links flap faster than the checks notice.
    fn is_troubled_until(&mut self, of: LaneOf, until: Micros) {
        if let Some(dialler) = self.streams.diallers.get_mut(&of) {
            dialler.troubled = dialler.troubled.max(until);
        }
    }

    fn look_for_frame(&mut self, number: StreamNumber, at: Micros) {
        if let Some(stream) = self.streams.streams.get_mut(&number) {
            stream.next_arrival = at;
            self.queue.schedule(at, Event::FrameArrives(number));
        }
    }

    /// Makes the network good from now on: late frames arrive.
    pub(super) fn calm_streams(&mut self) {
        let late: Vec<StreamNumber> = self.streams.streams.keys().copied().collect();
        for number in late {
            let at = self.now + self.network.delay(&mut self.chance);
            let Some(stream) = self.streams.streams.get_mut(&number) else { continue };
            stream.last_arrival = stream.last_arrival.min(at);
            stream.on_way.iter_mut().for_each(|(arrives, _)| *arrives = at.min(*arrives));
            let of = stream.of;
            if !stream.on_way.is_empty() {
                self.look_for_frame(number, at);
            }
            if let Some(dialler) = self.streams.diallers.get_mut(&of) {
                dialler.troubled = dialler.troubled.min(at);
            }
        }
    }

    /// Delivers the first frame in flight, if the path works.
    pub(super) fn frame_arrives(&mut self, number: StreamNumber) -> Checked {
        let Some(stream) = self.streams.streams.get(&number) else { return Ok(()) };
        if stream.next_arrival != self.now {
            return Ok(());
        }
        let (of, is_orphan) = (stream.of, stream.is_orphan);
        let reach = self.reach(of, Some(stream.to_life), stream.held_bytes);
        let is_acked = self.network.works((of.link.1, of.link.0), self.now);
        let now = self.now;
        match reach {
            Reach::Declined | Reach::Refused => return self.stream_ends(number, Ended::Broken),
            Reach::Nowhere => {
                let again = now + self.chance.within(5 * MS..60 * MS);
                self.streams.streams.get_mut(&number).expect("it was there just now").is_blocked = true;
                self.look_for_frame(number, again);
                self.is_troubled_until(of, now);
                return Ok(());
            }
            Reach::Held => self.is_troubled_until(of, now),
            Reach::Taken => {}
        }
        let stream = self.streams.streams.get_mut(&number).expect("it was there just now");
        let Some((_, envelope)) = stream.on_way.pop_front() else { return Ok(()) };
        stream.is_blocked = false;
        let next = stream.on_way.front().map(|(at, _)| now.max(*at));
        match reach {
            Reach::Held => stream.held_bytes += envelope.frame.len(),
            _ => stream.held_bytes = 0,
        }
        if is_acked {
            stream.moved = now;
            if reach == Reach::Taken {
                stream.heard = now;
                stream.is_answered = true;
            }
        }
        if is_acked && reach == Reach::Taken && of.lane == Lane::Bulk && !is_orphan {
            dialler_watch(&mut self.streams, of).got_through();
        }
        if let Some(next) = next {
            self.look_for_frame(number, next);
        }
        self.pump(number);
        self.arrive(&envelope)?;
        // A receiver that does not understand a frame closes the stream.
        if envelope.garbled { self.stream_ends(number, Ended::Broken) } else { Ok(()) }
    }

    fn judge_later(&mut self, number: StreamNumber) {
        let Some(stream) = self.streams.streams.get(&number) else { return };
        let every =
            JUDGED_EVERY.iter().find(|(lane, _)| *lane == stream.of.lane).map_or(SILENCE_MAX, |(_, every)| *every);
        self.queue.schedule(self.now + every, Event::JudgeStream(number));
    }

    /// Checks whether anything moves on a stream. Pings make sure that something would.
    pub(super) fn judge_stream(&mut self, number: StreamNumber) -> Checked {
        let Some(stream) = self.streams.streams.get(&number) else { return Ok(()) };
        let of = stream.of;
        let reach = self.reach(of, Some(stream.to_life), stream.held_bytes);
        let is_acked = self.network.works((of.link.1, of.link.0), self.now);
        let is_paused = self.nodes[&of.link.0].process().is_some_and(|process| process.paused);
        let (now, stall_max) = (self.now, self.bulk_stall_max());
        let stream = self.streams.streams.get_mut(&number).expect("it was there just now");
        if stream.is_orphan {
            if stream.on_way.is_empty() || now - stream.moved > SILENCE_MAX {
                self.streams.streams.remove(&number);
            } else {
                self.judge_later(number);
            }
            return Ok(());
        }
        if is_paused {
            (stream.moved, stream.heard) = (now, now);
            self.judge_later(number);
            return Ok(());
        }
        let is_well = is_acked && reach == Reach::Taken;
        let is_prompt = self.network.lag(of) == 0;
        if is_acked && matches!(reach, Reach::Taken | Reach::Held) {
            stream.moved = now;
        }
        if is_well {
            stream.heard = now;
        }
        let limit = if of.lane == Lane::Bulk { stall_max } else { SILENCE_MAX };
        let is_stalled = now - stream.moved >= limit || now - stream.heard > SILENCE_MAX;
        let is_quiet = !stream.was_sent && now - stream.opened >= 2 * stall_max;
        if of.lane == Lane::Bulk && is_well && is_quiet {
            dialler_watch(&mut self.streams, of).got_through();
        }
        if !(is_well && is_prompt) {
            self.is_troubled_until(of, now);
        }
        match reach {
            Reach::Declined | Reach::Refused if is_acked => self.stream_ends(number, Ended::Broken),
            _ if is_stalled => self.stream_ends(number, Ended::Stalled),
            _ => {
                self.judge_later(number);
                Ok(())
            }
        }
    }

    /// Ends a stream, with everything in flight, and dials it again.
    fn stream_ends(&mut self, number: StreamNumber, how: Ended) -> Checked {
        let Some(stream) = self.streams.streams.remove(&number) else { return Ok(()) };
        let (of, now) = (stream.of, self.now);
        if stream.queue.len() + stream.on_way.len() + usize::from(stream.leaving.is_some()) > 0 {
            self.coverage.count(Kind::LostWithStream);
        }
        let Some(dialler) = self.streams.diallers.get_mut(&of).filter(|dialler| dialler.stream == Some(number)) else {
            return Ok(());
        };
        dialler.stream = None;
        dialler.troubled = now;
        match (of.lane, how) {
            (Lane::Prompt, Ended::Stalled) => self.coverage.count(Kind::PromptGivenUp),
            (Lane::Bulk, Ended::Stalled) => {
                self.coverage.count(Kind::BulkGivenUp);
                dialler.watch.stalled(now / MS);
            }
            (Lane::Bulk, Ended::Broken) if stream.was_sent && !stream.is_answered => {
                dialler.watch.broke_unanswered(stream.opened / MS);
            }
            (Lane::Prompt | Lane::Bulk, Ended::Broken) => {}
        }
        self.trace
            .note(|| format!("the {} lane of n{} to n{} ends: {how:?}", of.lane.name(), of.link.0.0, of.link.1.0));
        if now - stream.opened >= GOOD_STREAM_MIN {
            dialler.backoff = 0;
            self.dial_later(of, 0);
        } else {
            self.dial_after_backoff(of);
        }
        if of.lane == Lane::Bulk { self.report_stall(of) } else { Ok(()) }
    }

    /// Reports to a node that one of its bulk lanes is stalled, if the report is due.
    fn report_stall(&mut self, of: LaneOf) -> Checked {
        let now_ms = self.now / MS;
        if !dialler_watch(&mut self.streams, of).take_due(now_ms) {
            return Ok(());
        }
        self.coverage.count(Kind::BulkStalled);
        self.trace.note(|| format!("n{} gets no entries through to n{}", of.link.0.0, of.link.1.0));
        self.input(of.link.0, Input::BulkStalled(of.link.1))
    }

    /// Breaks the stream of a lane, if one is open.
    pub(super) fn break_lane(&mut self, of: LaneOf) -> Checked {
        match self.stream_of(of) {
            Some(number) => self.stream_ends(number, Ended::Broken),
            None => Ok(()),
        }
    }

    /// Handles a process that is gone: its frames in flight may still arrive, and it no longer dials.
    pub(super) fn process_gone(&mut self, id: NodeId) {
        self.streams.diallers.retain(|of, _| of.link.0 != id);
        self.streams.owing.remove(&id);
        let numbers: Vec<StreamNumber> = self
            .streams
            .streams
            .iter()
            .filter(|(_, stream)| stream.of.link.0 == id)
            .map(|(number, _)| *number)
            .collect();
        for number in numbers {
            let stays = self.chance.percent(50);
            let stream = self.streams.streams.get_mut(&number).expect("it was there just now");
            stream.queue.clear();
            stream.leaving = None;
            stream.is_orphan = true;
            if stays && !stream.on_way.is_empty() {
                self.coverage.count(Kind::FramesOfTheDead);
            } else {
                self.streams.streams.remove(&number);
            }
        }
    }

    /// Closes the streams of a process that is gone, as the operating system does.
    pub(super) fn streams_close(&mut self, gone: NodeId) {
        let streams = self.streams.streams.iter().filter(|(_, stream)| stream.of.link.1 == gone);
        let numbers: Vec<StreamNumber> = streams.map(|(number, _)| *number).collect();
        for number in numbers {
            let at = self.now + self.chance.within(MS..10 * MS);
            self.queue.schedule(at, Event::StreamCloses(number));
        }
    }

    /// Handles the notice that the process at the other end of a stream is gone.
    pub(super) fn stream_closes(&mut self, number: StreamNumber) -> Checked {
        let Some(stream) = self.streams.streams.get(&number) else { return Ok(()) };
        let (of, to_life) = (stream.of, stream.to_life);
        let works = self.network.works((of.link.1, of.link.0), self.now) && !self.network.is_dead(of);
        if works && !self.is_life(of.link.1, to_life) { self.stream_ends(number, Ended::Broken) } else { Ok(()) }
    }

    /// Checks that a leader that gets no entries through does not keep leading only because its heartbeats are
    /// answered, and that a leader that gets them through to a quorum does not step down. `was`: its state before it
    /// checked its timers.
    pub(super) fn check_lanes(&mut self, id: NodeId, was: &LeaderBefore) -> Checked {
        if self.network.is_loose() {
            return Ok(());
        }
        let patience = self.plan.settings.election_timeout_max_ms * MS;
        let (now, limit) = (self.now, DEAD_ELECTION_TIMEOUTS * patience);
        let Some(process) = self.nodes[&id].process() else { return Ok(()) };
        let (life, raft) = (process.life, process.replica.raft());
        if raft.role() == RoleName::Leader && raft.log().commit_index() < raft.log().last_index() {
            let owing = (life, raft.term(), now);
            let since = self.streams.owing.entry(id).or_insert(owing);
            if (since.0, since.1) != (owing.0, owing.1) {
                *since = owing;
            }
            let owes_for = now - since.2;
            let is_dead = |to: NodeId| {
                let since = self.network.dead_since(LaneOf { link: (id, to), lane: Lane::Bulk });
                to != id && since.is_some_and(|since| now - since >= limit)
            };
            let reaches_quorum = is_quorum(raft.configuration(), |to| !is_dead(to));
            ensure!(
                NAME,
                owes_for < limit || reaches_quorum,
                "n{} leads term {} on, and has got no entry through to a quorum for {} ms",
                id.0,
                raft.term(),
                owes_for / MS
            );
        } else {
            self.streams.owing.remove(&id);
        }
        let made_way = was.makes_way && raft.role() != RoleName::Leader && raft.term() == was.term;
        if made_way {
            let is_well = |link: Link, lane: Lane| {
                let well_for = WELL_ELECTION_TIMEOUTS * patience;
                let dialler = self.streams.diallers.get(&LaneOf { link, lane });
                dialler.is_some_and(|dialler| dialler.stream.is_some() && dialler.troubled + well_for <= now)
            };
            // Answers travel on the prompt lane.
            let is_well = |to: NodeId| {
                let is_asked = is_well((id, to), Lane::Bulk) && is_well((id, to), Lane::Prompt);
                to == id || is_asked && is_well((to, id), Lane::Prompt)
            };
            let what = "makes way, and its entries get through to a quorum";
            // Where answers may take as long as an election timeout, any follower may be missed.
            let is_sure = self.network.is_prompt(patience);
            ensure!(NAME, !is_sure || !is_quorum(&was.configuration, is_well), "n{} {what}", id.0);
            self.coverage.count(Kind::MadeWay);
            self.trace.note(|| format!("n{} makes way: too few bulk lanes work", id.0));
        }
        Ok(())
    }

    /// Forgets since when a paused process has had uncommitted entries: the pause must not count against it.
    pub(super) fn forget_owing(&mut self, id: NodeId) {
        self.streams.owing.remove(&id);
    }
}

fn dialler_watch(streams: &mut Streams, of: LaneOf) -> &mut BulkWatch {
    &mut streams.diallers.get_mut(&of).expect("whoever has a stream, or dials").watch
}

/// State of a leader before it checks its timers.
#[derive(Debug)]
pub(super) struct LeaderBefore {
    makes_way: bool,
    term: Term,
    configuration: Configuration,
}

impl LeaderBefore {
    pub(super) fn of(raft: &Raft) -> Self {
        let stalled: Vec<NodeId> =
            raft.followers().iter().filter(|it| it.is_bulk_stalled).map(|it| it.follower).collect();
        let is_reached = |id: NodeId| !stalled.contains(&id) && !raft.is_silent(id);
        let hears_quorum = is_quorum(raft.configuration(), |id| !raft.is_silent(id));
        let makes_way = !stalled.is_empty() && hears_quorum && !is_quorum(raft.configuration(), is_reached);
        let configuration = if makes_way { raft.configuration().clone() } else { Configuration::default() };
        Self { makes_way, term: raft.term(), configuration }
    }
}
