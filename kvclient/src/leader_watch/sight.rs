//! News about the leader: a newer term, or that no node names a leader any more.

use super::change::LeaderChange;
use crate::api::{LeaderEvent, NodeUrl};
use std::time::{Instant, SystemTime};

/// The last report about the leader, which decides what is news.
#[derive(Debug, Default)]
pub(super) struct Sight {
    /// The newest term in which a leader was named.
    pub(super) term: u64,
    leader: Option<NodeUrl>,
    /// The last leader reported, also after it was lost.
    previous: Option<NodeUrl>,
    /// Time since which the leader's absence has been suspected, and then certain.
    doubted: Option<Instant>,
    /// True if anything has been reported yet.
    told: bool,
}

impl Sight {
    pub(super) fn sees_leader(&self) -> bool {
        self.leader.is_some()
    }

    /// Notes a sign that the leader is gone.
    pub(super) fn doubt(&mut self, now: Instant) {
        if self.told {
            self.doubted.get_or_insert(now);
        }
    }

    /// Handles a node's event that names a leader.
    pub(super) fn names(&mut self, event: &LeaderEvent, now: Instant) -> Option<LeaderChange> {
        // A term has only one leader (paper §5.2), so a second name would be an error of the node.
        let known = event.term < self.term || (event.term == self.term && self.leader.is_some());
        if known || event.leader.is_none() {
            if event.term == self.term && event.leader == self.leader {
                self.doubted = None;
            }
            return None;
        }
        let gap = self.doubted.take().filter(|_| self.told);
        self.term = event.term;
        self.leader.clone_from(&event.leader);
        self.told = true;
        let previous = std::mem::replace(&mut self.previous, event.leader.clone());
        Some(LeaderChange {
            at: by_the_clock(now),
            term: self.term,
            previous,
            leader: self.leader.clone(),
            without_leader: gap.map(|since| now.saturating_duration_since(since)),
        })
    }

    /// Handles that no answering node names a leader; the newest of those nodes is at `term`.
    pub(super) fn names_none(&mut self, term: u64, now: Instant) -> Option<LeaderChange> {
        let since = *self.doubted.get_or_insert(now);
        if self.told && self.leader.is_none() {
            return None;
        }
        // `self.term` is not raised to a newer `term`: an election may have ended in that term, and its leader may
        // still be reported.
        self.told = true;
        self.leader = None;
        Some(LeaderChange {
            at: by_the_clock(since),
            term: self.term.max(term),
            previous: self.previous.clone(),
            leader: None,
            without_leader: None,
        })
    }
}

/// Converts a moment to the local clock.
fn by_the_clock(moment: Instant) -> SystemTime {
    let now = SystemTime::now();
    now.checked_sub(moment.elapsed()).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn named(id: &str) -> Option<NodeUrl> {
        Some(NodeUrl { id: id.into(), url: format!("http://{id}:1") })
    }

    fn event(term: u64, leader: &str) -> LeaderEvent {
        LeaderEvent { term, leader: named(leader) }
    }

    #[test]
    fn only_news_is_told() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let mut sight = Sight::default();

        let first = sight.names(&event(5, "a"), at(0)).expect("the present leader comes first");
        assert_eq!((first.term, first.previous, first.leader, first.without_leader), (5, None, named("a"), None));
        assert_eq!(sight.names(&event(5, "a"), at(1)), None, "told already");
        assert_eq!(sight.names(&event(4, "old"), at(2)), None, "a node that is behind");
        assert_eq!(sight.names(&event(5, "b"), at(3)), None, "a term has one leader");

        let next = sight.names(&event(6, "b"), at(4)).expect("a new leader");
        assert_eq!((next.term, next.previous, next.leader, next.without_leader), (6, named("a"), named("b"), None));
        let again = sight.names(&event(8, "b"), at(5)).expect("elected anew");
        assert_eq!((again.term, again.previous, again.leader), (8, named("b"), named("b")));
    }

    #[test]
    fn a_gap_is_measured_from_the_first_doubt() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let mut sight = Sight::default();
        sight.names(&event(5, "a"), at(0));

        sight.doubt(at(10));
        assert_eq!(sight.names(&event(5, "a"), at(11)), None, "a false alarm");

        sight.doubt(at(20));
        sight.doubt(at(25));
        let none = sight.names_none(6, at(30)).expect("no leader");
        assert_eq!((none.term, none.previous, none.leader, none.without_leader), (6, named("a"), None, None));
        assert_eq!(sight.names_none(7, at(40)), None, "told already");
        let back = sight.names(&event(7, "b"), at(120)).expect("a leader again");
        assert_eq!((back.previous, back.leader), (named("a"), named("b")));
        assert_eq!(back.without_leader, Some(Duration::from_millis(100)));
    }

    #[test]
    fn without_any_leader_the_first_item_says_so() {
        let start = Instant::now();
        let mut sight = Sight::default();
        let none = sight.names_none(0, start).expect("the present state");
        assert_eq!((none.term, none.previous, none.leader), (0, None, None));
        let back = sight.names(&event(1, "a"), start + Duration::from_secs(1)).expect("a leader");
        assert_eq!(back.without_leader, Some(Duration::from_secs(1)));
    }
}
