//! Detects two processes that run under one id, as after a machine was cloned or a data directory copied.
//!
//! Each process draws an incarnation and sends it with its introduction. One incarnation after another means that a
//! node was restarted. But if one incarnation is seen alive, then another, and then the first one again, the first
//! cannot have ended in between: there are two processes. To be certain of that, each sighting must be known to be
//! later than the one before, however late it is processed. So a sighting counts only with a moment after which the
//! process must have acted. That moment, `since`, is the dial that the process has answered, or the answer after which
//! it has sent something back.

use crate::raft::NodeId;
use kvclient::api::ClonedNode;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Number of incarnations before the present one that are remembered for each node.
const EARLIER_MAX: usize = 4;

/// Most nodes that are watched, more than any cluster has.
const NODES_MAX: usize = 128;

/// Least time between two reports about the same node.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);

/// Time after their last alternate sightings for which two processes count as running. Each connects again within a
/// second after the other has taken its place.
const CLONED_FOR: Duration = Duration::from_secs(15);

/// Sighting of a process that was alive at `since` or at some moment after it.
#[derive(Clone, Debug)]
pub(super) struct Sighting {
    pub(super) node: NodeId,
    pub(super) name: String,
    pub(super) incarnation: u64,
    pub(super) since: Instant,
    /// Address at which the process was reached, or from which it came.
    pub(super) address: String,
}

/// Sightings of each node.
#[derive(Debug, Default)]
pub(super) struct Sightings {
    nodes: BTreeMap<NodeId, Seen>,
}

#[derive(Debug)]
struct Seen {
    current: Process,
    earlier: Vec<Process>,
    reported: Option<Instant>,
    /// Time of the last alternate sightings of two processes, with the report.
    cloned: Option<(Instant, ClonedNode)>,
}

#[derive(Clone, Debug)]
struct Process {
    incarnation: u64,
    address: String,
    /// The process was alive between these two moments: the first sighting of its present turn.
    since: Instant,
    until: Instant,
}

impl Sightings {
    /// Records a sighting that has become known at `now`. Returns a report if it shows that two processes run.
    pub(super) fn saw(&mut self, sighting: Sighting, now: Instant) -> Option<String> {
        let Sighting { node, name, incarnation, since, address } = sighting;
        // A version that draws no incarnation.
        if incarnation == 0 {
            return None;
        }
        let process = Process { incarnation, address, since, until: now };
        if self.nodes.len() >= NODES_MAX && !self.nodes.contains_key(&node) {
            return None;
        }
        let Some(seen) = self.nodes.get_mut(&node) else {
            self.nodes.insert(node, Seen { current: process, earlier: Vec::new(), reported: None, cloned: None });
            return None;
        };
        // A sighting that is not known to be later proves nothing.
        if seen.current.incarnation == incarnation || since < seen.current.until {
            return None;
        }
        let before = std::mem::replace(&mut seen.current, process);
        let first = seen.earlier.iter().position(|earlier| earlier.incarnation == incarnation);
        let first = first.map(|at| seen.earlier.remove(at));
        let are_two = first.is_some_and(|first| first.until <= before.since);
        let other = before.address.clone();
        seen.earlier.push(before);
        let excess = seen.earlier.len().saturating_sub(EARLIER_MAX);
        seen.earlier.drain(..excess);
        if !are_two {
            return None;
        }
        let mut processes = [seen.current.address.clone(), other];
        processes.sort();
        let [one, other] = processes.clone();
        seen.cloned = Some((now, ClonedNode { id: name.clone(), node: node.to_string(), processes }));
        if seen.reported.is_some_and(|reported| now - reported < REPORT_INTERVAL) {
            return None;
        }
        seen.reported = Some(now);
        Some(format!(
            "two processes run as {name} under the same id {node}: one {one}, the other {other}. A machine was cloned or a data \
             directory was copied. Together the two can break what each has promised, so acknowledged writes may be lost. Stop \
             the copy now, clear its data directory, and let it join under a name of its own"
        ))
    }

    /// Returns the nodes that have two processes running under one id.
    pub(super) fn cloned(&self, now: Instant) -> Vec<ClonedNode> {
        let recent = self.nodes.values().filter_map(|seen| seen.cloned.as_ref());
        recent.filter(|(at, _)| now - *at < CLONED_FOR).map(|(_, cloned)| cloned.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the reports after these sightings of one node. Each has an incarnation, `since`, and the time when it
    /// became known.
    fn reports(sightings: &[(u64, u64, u64)]) -> Vec<String> {
        let start = Instant::now();
        let at = |second: u64| start + Duration::from_secs(second);
        let mut seen = Sightings::default();
        let saw = |(incarnation, since, now): &(u64, u64, u64)| {
            let (name, address) = ("node2".to_owned(), format!("at {incarnation}"));
            seen.saw(
                Sighting { node: NodeId(2), name, incarnation: *incarnation, since: at(*since), address },
                at(*now),
            )
        };
        sightings.iter().filter_map(saw).collect()
    }

    #[test]
    fn one_that_is_back_after_another_was_seen_runs_beside_it() {
        let reported = reports(&[(7, 0, 1), (8, 2, 3), (7, 4, 5)]);
        assert_eq!(reported.len(), 1);
        assert!(reported[0].contains("one at 7, the other at 8") && reported[0].contains("node2"), "{reported:?}");
        assert_eq!(reports(&[(7, 0, 1), (8, 2, 3), (9, 4, 5), (8, 6, 7)]).len(), 1);
    }

    #[test]
    fn a_node_that_is_started_again_and_news_that_come_late_show_nothing() {
        for sightings in [
            &[(7, 0, 1), (7, 2, 3), (8, 4, 5), (8, 6, 7), (9, 8, 9)][..],
            // The old process had sent its last message before the new one was seen, but that message is processed
            // late.
            &[(7, 0, 1), (8, 2, 3), (7, 1, 9)],
            // It is not known whether the second sighting came after the first.
            &[(7, 0, 4), (8, 3, 5), (7, 6, 7)],
            // Versions that draw no incarnation.
            &[(0, 0, 1), (8, 2, 3), (0, 4, 5), (8, 6, 7)],
        ] {
            assert_eq!(reports(sightings), Vec::<String>::new(), "{sightings:?}");
        }
    }

    #[test]
    fn two_processes_are_shown_until_one_of_them_is_gone() {
        let start = Instant::now();
        let at = |second: u64| start + Duration::from_secs(second);
        let mut seen = Sightings::default();
        let mut saw = |incarnation, second| {
            let (name, address) = ("node2".to_owned(), format!("at {incarnation}"));
            seen.saw(Sighting { node: NodeId(2), name, incarnation, since: at(second), address }, at(second + 1));
            seen.cloned(at(second + 1))
        };
        assert_eq!((saw(7, 0).len(), saw(8, 2).len()), (0, 0), "it may have been started again");
        let expected = ClonedNode {
            id: "node2".into(),
            node: NodeId(2).to_string(),
            processes: ["at 7".to_owned(), "at 8".to_owned()],
        };
        assert_eq!(saw(7, 4), std::slice::from_ref(&expected));
        assert_eq!(saw(8, 6), std::slice::from_ref(&expected));
        assert_eq!(saw(8, 15), [expected], "only the 8 s since they were last seen in turn");
        assert_eq!(saw(8, 21), []);
    }

    #[test]
    fn it_is_said_now_and_then() {
        let alternating: Vec<_> = (0..120).map(|turn| (7 + turn % 2, 2 * turn, 2 * turn + 1)).collect();
        let reported = reports(&alternating).len();
        assert!((2..=5).contains(&reported), "{reported} times in four minutes");
    }
}
