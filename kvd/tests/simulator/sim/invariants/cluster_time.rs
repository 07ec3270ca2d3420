//! Cluster time: leases and sessions end by it, so it may neither run ahead of the clocks of the leaders nor stand
//! still while there is a leader.
//!
//! Clocks of nodes are up to a fifth fast or slow. A leader's clock counts while it runs, and at most the shortest
//! election timeout for each time that it stands still. Therefore, from one committed entry to the next,
//!
//! - cluster time never goes backward;
//! - if the same leader has appended both, it goes on by that time: at 0.8 of it at least and at 1.2 of it at most;
//! - if another leader has, it goes on by 1.2 of the time of the world at most. A change of leader gives nothing beyond
//!   that: the new one starts from what the leader of the entry before had counted.
//!
//! Elections cost the time for which nobody leads, and the time that the next leader has not heard of: a new leader
//! starts from no less than what it has heard from the leader that appended its last entry. So while there is a leader,
//! and heartbeats arrive, cluster time loses a fifth for slow clocks, and for each change of leader about an election
//! and a heartbeat ([`super::super::idling`] checks that as a whole).
//!
//! While anything can end, a leader that has committed its log has stamped an entry within a second.

use super::super::events::{Life, Micros};
use super::super::node::Node;
use super::{Checked, Place, Violation, ensure};
use kvd::node::Replica;
use kvd::raft::{Body, ClusterTime, Entry, LogIndex, Message, NodeId, Payload, Raft, RoleName, Settings, Term};
use std::collections::BTreeMap;

const NAME: &str = "Cluster Time";

/// Speed of the slowest and the fastest clock, in thousandths.
pub(super) const PERMILLE: (u64, u64) = (800, 1_200);

/// Time without an entry after which an idle leader must have appended one. Milliseconds of cluster time.
const MARKED_MS: u64 = 1_000;

/// The times of committed entries, and what each node may know of them.
#[derive(Debug)]
pub(crate) struct ClusterTimes {
    /// Longest time that counts for a process that stood still. Microseconds.
    stop_max: Micros,
    nodes: BTreeMap<NodeId, Clock>,
    /// Moments at which the entries that have yet to be committed were stamped.
    stamps: BTreeMap<Place, Stamp>,
    /// The newest committed entry.
    newest: Option<(ClusterTime, Term, Stamp)>,
}

/// One process of a node.
#[derive(Debug, Default)]
struct Clock {
    life: Life,
    now: Stamp,
    /// The newest time that it has heard from one leader.
    heard: (Term, ClusterTime),
    /// The last entry that it is known to have appended, and its term.
    last: Place,
}

/// A moment of a process.
#[derive(Clone, Copy, Debug, Default)]
struct Stamp {
    /// Time of the world. Microseconds.
    at: Micros,
    /// Time that the process has run by then, with the part of its pauses that counts. Microseconds.
    ran: Micros,
    /// Pauses by then of which only a part may count.
    stops: u64,
    /// Speed of its clock, in thousandths.
    permille: u64,
}

/// The stamp of a committed entry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counted {
    pub(super) term: Term,
    /// Time of the world. Microseconds.
    pub(super) at: Micros,
    /// Time that the process of the leader had run by then, with the part of its pauses that counts. Microseconds.
    pub(super) ran: Micros,
    /// Its pauses by then of which only a part may count.
    pub(super) stops: u64,
    /// Speed of its clock, in thousandths.
    pub(super) permille: u64,
}

impl ClusterTimes {
    pub(super) fn new(settings: &Settings) -> Self {
        let stop_max = settings.election_timeout_min_ms * 1_000;
        Self { stop_max, nodes: BTreeMap::new(), stamps: BTreeMap::new(), newest: None }
    }

    /// Returns the time of the newest committed entry.
    pub(crate) fn newest(&self) -> ClusterTime {
        self.newest.map_or(ClusterTime(0), |(time, ..)| time)
    }

    /// Notes that a process runs at this time.
    pub(crate) fn runs(&mut self, id: NodeId, life: Life, now: Micros) {
        let clock = self.nodes.entry(id).or_default();
        if clock.life != life {
            *clock = Clock { life, now: Stamp { at: now, ..Stamp::default() }, ..Clock::default() };
        }
        let Stamp { at, ran, stops, permille } = clock.now;
        let elapsed = now - at;
        // A fast clock shows more than that.
        let is_stop = elapsed * PERMILLE.1 / 1_000 + 1_000 > self.stop_max;
        // What counts is what the clock shows: on a slow one that takes longer.
        let stop_max = self.stop_max * 1_000 / permille.max(PERMILLE.0);
        clock.now = Stamp { at: now, ran: ran + elapsed.min(stop_max), stops: stops + u64::from(is_stop), permille };
    }

    /// Notes the time in a message that a process has taken, if that counts for it.
    pub(crate) fn stepped(&mut self, id: NodeId, from: NodeId, message: &Message, raft: &Raft) {
        let (Body::AppendEntries { time: Some(time), .. } | Body::ReadIndexResponse { time: Some(time), .. }) =
            message.body
        else {
            return;
        };
        let term = message.term;
        let is_led = raft.role() == RoleName::Follower && (raft.leader(), raft.term()) == (Some(from), term);
        let Some(clock) = self.nodes.get_mut(&id) else { return };
        if is_led && raft.log().last_term() == term {
            clock.heard = clock.heard.max((term, time));
        }
    }

    /// Checks a leader that has checked its timers.
    pub(crate) fn ticked<W, R>(&self, id: NodeId, replica: &Replica<W, R>) -> Checked {
        let Some(time) = replica.cluster_time() else { return Ok(()) };
        let log = replica.raft().log();
        let has_leases = replica.store().read().expect("nothing panics while it holds the store").has_leases();
        let is_idle = log.commit_index() == log.last_index() && replica.raft().transfer_target().is_none();
        let unmarked_ms = time.0.saturating_sub(log.last_time().0);
        ensure!(
            NAME,
            unmarked_ms < MARKED_MS || !has_leases || !is_idle,
            "n{} has stamped nothing for {unmarked_ms} ms, though sessions can end",
            id.0
        );
        Ok(())
    }

    /// Checks a leader that has changed: notes when it stamped its new entries.
    pub(super) fn leads(&mut self, node: &Node, life: Life, raft: &Raft) -> Checked {
        let (term, log) = (raft.term(), raft.log());
        let Some(clock) = self.nodes.get_mut(&node.id).filter(|clock| clock.life == life) else { return Ok(()) };
        clock.now.permille = node.clock_permille();
        let is_new = clock.last.1 != term;
        let (before, before_term) = log.last_at_or_below(log.last_index(), Term(term.0 - 1));
        if is_new {
            let (heard_term, heard) = clock.heard;
            let time = raft.cluster_time().unwrap_or_default();
            ensure!(
                NAME,
                heard_term != before_term || time >= heard,
                "n{} leads term {term} from the time {}, and had heard {} from the leader of term {heard_term}",
                node.id.0,
                time.0,
                heard.0
            );
            clock.last = (before, term);
        }
        for index in (clock.last.0.0 + 1..=log.last_index().0).map(LogIndex) {
            self.stamps.insert((index, term), clock.now);
            let entry = log.entries_from(index, 0).and_then(|entries| entries.into_iter().next());
            let is_mark = entry.is_some_and(|entry| entry.payload == Payload::Noop) && index > before.next();
            ensure!(
                NAME,
                !is_mark || log.commit_index() >= index.previous(),
                "n{} appends the empty entry {index} with entries committed up to {}",
                node.id.0,
                log.commit_index()
            );
            clock.last.0 = index;
        }
        Ok(())
    }

    /// Checks the next committed entry. Returns its stamp, if its stamping was seen.
    pub(super) fn committed(&mut self, entry: &Entry) -> Result<Option<Counted>, Violation> {
        let stamp = self.stamps.remove(&(entry.index, entry.term));
        self.stamps = self.stamps.split_off(&(entry.index.next(), Term(0)));
        let before = self.newest();
        let (index, time) = (entry.index, entry.time);
        ensure!(NAME, time >= before, "entry {index} is of the time {}, after one of {}", time.0, before.0);
        if let (Some((_, term, old)), Some(new)) = (self.newest, stamp) {
            let (slow, fast) = PERMILLE;
            let by_ms = time.0 - before.0;
            // Clocks are read in whole milliseconds.
            let mut most_ms = new.at.saturating_sub(old.at) * fast / 1_000_000 + 2;
            let mut least_ms = 0;
            if term == entry.term {
                let (ran, slack_ms) = (new.ran - old.ran, 2 + new.stops - old.stops);
                most_ms = ran * fast / 1_000_000 + slack_ms;
                least_ms = (ran * slow / 1_000_000).saturating_sub(slack_ms);
            }
            ensure!(
                NAME,
                (least_ms..=most_ms).contains(&by_ms),
                "from the entry of term {term} before entry {index} of term {} time goes on by {by_ms} ms, not by \
                 {least_ms} to {most_ms}",
                entry.term
            );
        }
        self.newest = stamp.map(|stamp| (time, entry.term, stamp)).or(Some((time, Term(0), Stamp::default())));
        let counted = |Stamp { at, ran, stops, permille }| Counted { term: entry.term, at, ran, stops, permille };
        Ok(stamp.map(counted))
    }
}

/// Checks the time that came with a read index, if the leader tells it: it is no earlier than what was committed when
/// the read began.
pub(crate) fn check_read(id: NodeId, time: Option<ClusterTime>, floor: ClusterTime) -> Checked {
    ensure!(
        NAME,
        time.is_none_or(|time| time >= floor),
        "n{} ends a read at the time {time:?}, and an entry of {} was committed before it began",
        id.0,
        floor.0
    );
    Ok(())
}
