//! Nodes without data dial their peers, and both ends introduce themselves, as [`kvd::peer`] has it.
//!
//! A node keeps dialling each peer, one attempt after the other, with pauses; a sign of life makes it dial at once. An
//! introduction describes its sender at the moment when it leaves. When it arrives, that process may be gone, and
//! another may run in its place. As with TCP, lost packets are sent again.

use super::coverage::Kind;
use super::entrants::{Entrant, EntrantEvent};
use super::events::{Event, Life, Micros};
use super::invariants::Checked;
use super::world::World;
use kvd::peer::Hello;
use kvd::raft::NodeId;

const MS: Micros = 1_000;

/// Timeout for connecting, and for the answer, as in the dialler. Microseconds.
const CONNECT_TIMEOUT: Micros = 3_000 * MS;

/// Pauses between attempts, as in the dialler. Microseconds.
const BACKOFF_MIN: Micros = 20 * MS;
const BACKOFF_MAX: Micros = 500 * MS;

/// Age from which a sign of life makes the dialler abandon an attempt for a new one, as in the real dialler.
/// Microseconds.
const DIAL_UNDISTURBED: Micros = 100 * MS;

/// Longest time after which a lost packet is sent again. Microseconds.
const SENT_AGAIN: Micros = 1_000 * MS;

/// One attempt to dial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Dial {
    pub(super) from: (NodeId, Life),
    /// The peer that is dialled.
    name: String,
    attempt: u64,
}

/// State of a node's attempts to reach one of its peers.
#[derive(Debug, Default)]
pub(super) struct Dialling {
    /// Numbers the attempts; only the last one counts.
    attempt: u64,
    since: Micros,
    is_under_way: bool,
    /// The peer has shown a sign of life, and must be dialled again.
    again: bool,
    pause: Micros,
}

impl World {
    /// Returns the node configured under this name.
    fn node_called(&self, name: &str) -> NodeId {
        self.node_at(&format!("http://{name}"))
    }

    /// Returns the node at a URL: the latest node that has it.
    pub(super) fn node_at(&self, url: &str) -> NodeId {
        let digits = url.trim_start_matches("http://n").split('.').next().unwrap_or_default();
        let mut id = NodeId(digits.parse().expect("a URL of this network"));
        while let Some(next) = self.nodes[&id].next_life {
            id = next;
        }
        id
    }

    fn dialling(&mut self, id: NodeId, name: &str) -> Option<&mut Dialling> {
        self.entrant(id).and_then(Entrant::meeting).and_then(|meeting| meeting.dials.get_mut(name))
    }

    /// Dials when a pause is over.
    pub(super) fn dials(&mut self, dial: &Dial) {
        let (id, _) = dial.from;
        let is_due = |dialling: &mut Dialling| dialling.attempt == dial.attempt && !dialling.is_under_way;
        if self.dialling(id, &dial.name).is_some_and(is_due) {
            self.dial_peer(id, &dial.name);
        }
    }

    /// Starts an attempt to dial, replacing any attempt under way.
    pub(super) fn dial_peer(&mut self, id: NodeId, name: &str) {
        let now = self.now;
        let Some(entrant) = self.entrant(id) else { return };
        let (life, hello) = (entrant.life, entrant.hello.clone());
        let Some(dialling) = self.dialling(id, name) else { return };
        dialling.attempt += 1;
        (dialling.since, dialling.is_under_way, dialling.again) = (now, true, false);
        let dial = Dial { from: (id, life), name: name.to_owned(), attempt: dialling.attempt };
        let at = self.now + self.network.delay(&mut self.chance);
        self.queue.schedule(at, Event::Entrant(EntrantEvent::Reaches(dial, Box::new(hello))));
    }

    /// Handles a sign of life of the peer: dials it at once, or as soon as the attempt under way is over.
    pub(super) fn redial(&mut self, id: NodeId, name: &str) {
        let now = self.now;
        let Some(life) = self.entrant(id).map(|entrant| entrant.life) else { return };
        let Some(dialling) = self.dialling(id, name) else { return };
        if !dialling.is_under_way {
            return self.dial_peer(id, name);
        }
        if !std::mem::replace(&mut dialling.again, true) {
            let at = now.max(dialling.since + DIAL_UNDISTURBED);
            let dial = Dial { from: (id, life), name: name.to_owned(), attempt: dialling.attempt };
            self.queue.schedule(at, Event::Entrant(EntrantEvent::Overtaken(dial)));
        }
    }

    /// Abandons an attempt that takes long, and starts another.
    pub(super) fn overtaken(&mut self, dial: &Dial) {
        let (id, _) = dial.from;
        let is_wanted = |dialling: &mut Dialling| dialling.attempt == dial.attempt && dialling.is_under_way;
        if self.dialling(id, &dial.name).is_some_and(is_wanted) {
            self.coverage.count(Kind::DialOvertaken);
            self.dial_peer(id, &dial.name);
        }
    }

    /// Returns whether an attempt still counts, as seen from outside.
    fn is_under_way(&self, dial: &Dial) -> bool {
        let (id, life) = dial.from;
        let dialling = self.nodes[&id].entrant().filter(|entrant| entrant.life == life).and_then(|entrant| {
            let super::entrants::Phase::Forming(meeting) = &entrant.phase else { return None };
            meeting.dials.get(&dial.name)
        });
        dialling.is_some_and(|dialling| {
            let is_in_time = self.now < dialling.since + CONNECT_TIMEOUT;
            dialling.attempt == dial.attempt && dialling.is_under_way && is_in_time
        })
    }

    /// Sends a lost packet again.
    fn send_again(&mut self, dial: &Dial, event: EntrantEvent) -> Checked {
        self.coverage.count(Kind::IntroductionLost);
        let at = self.now + self.chance.within(20 * MS..SENT_AGAIN);
        if self.is_under_way(dial) {
            self.queue.schedule(at, Event::Entrant(event));
            return Ok(());
        }
        self.attempt_ends(dial)
    }

    /// Delivers an introduction to the other end.
    pub(super) fn introduced(&mut self, dial: Dial, hello: Box<Hello>) -> Checked {
        let (from, to) = (dial.from.0, self.node_called(&dial.name));
        let reaches = self.network.works((from, to), self.now)
            && !self.network.is_off(to)
            && !self.network.loses_client_message(to, &mut self.chance);
        let stands_still = self.nodes[&to].running().is_some_and(|(_, paused)| paused);
        if !reaches || stands_still {
            return self.send_again(&dial.clone(), EntrantEvent::Reaches(dial, hello));
        }
        let answer = self.nodes[&to].hello().cloned();
        let is_there = answer.is_some();
        let at = self.now + self.network.delay(&mut self.chance);
        self.queue.schedule(at, Event::Entrant(EntrantEvent::Answered(dial, answer.map(Box::new))));
        if is_there { self.dialled_by(to, &hello) } else { Ok(()) }
    }

    /// Handles an answer, or the notice that nothing listens.
    pub(super) fn dial_answered(&mut self, dial: Dial, answer: Option<Box<Hello>>) -> Checked {
        let (id, to) = (dial.from.0, self.node_called(&dial.name));
        if !self.is_under_way(&dial) {
            return self.attempt_ends(&dial);
        }
        let reaches =
            self.network.works((to, id), self.now) && !self.network.loses_client_message(to, &mut self.chance);
        if !reaches {
            return self.send_again(&dial.clone(), EntrantEvent::Answered(dial, answer));
        }
        if let Some(hello) = &answer
            && self.nodes[&to].hello() != Some(hello)
        {
            self.coverage.count(Kind::IntroductionOutdated);
        }
        match answer {
            Some(hello) => {
                self.pause_after(&dial);
                self.meets(id, &dial.name, &hello)
            }
            None => self.attempt_ends(&dial),
        }
    }

    /// Handles an attempt that has reached no node.
    fn attempt_ends(&mut self, dial: &Dial) -> Checked {
        let (id, life) = dial.from;
        let is_present = self.nodes[&id].entrant().is_some_and(|entrant| entrant.life == life);
        let is_last = |dialling: &mut Dialling| dialling.attempt == dial.attempt && dialling.is_under_way;
        if !is_present || !self.dialling(id, &dial.name).is_some_and(is_last) {
            return Ok(());
        }
        if let Some(meeting) = self.entrant(id).and_then(Entrant::meeting) {
            meeting.forming.missed(&dial.name, "nobody answers".into());
        }
        self.pause_after(dial);
        self.follow_forming(id)
    }

    /// Schedules the next attempt after a pause, or at once if it is wanted by now.
    fn pause_after(&mut self, dial: &Dial) {
        let id = dial.from.0;
        let Some(dialling) = self.dialling(id, &dial.name) else { return };
        dialling.is_under_way = false;
        if dialling.again {
            return self.dial_peer(id, &dial.name);
        }
        dialling.pause = (2 * dialling.pause).clamp(BACKOFF_MIN, BACKOFF_MAX);
        let longest = dialling.pause;
        let at = self.now + self.chance.within(longest / 2..longest + 1);
        self.queue.schedule(at, Event::Entrant(EntrantEvent::Dials(dial.clone())));
    }
}
