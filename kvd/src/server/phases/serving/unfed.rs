//! A member that has received nothing from its leader yet: the obstacle, for its log and `/health`.
//!
//! The leader connects to a new member, and the member connects back. Either direction may fail: the first because of
//! the member's peer URL, the second because of the leader's.

use std::time::Duration;
use tokio::time::Instant;

/// An obstacle that has lasted this long is logged, and again after each further interval.
const LOGGED_EVERY: Duration = Duration::from_secs(10);

/// Observations of the connection between this node and its leader.
#[derive(Debug)]
pub(super) struct Unfed {
    logged_at: Instant,
    /// True if another node has connected to this one.
    was_dialled: bool,
    /// The node that this one could not connect to, and why. The reason contains the URL.
    unreachable: Option<(String, String)>,
}

impl Unfed {
    pub(super) fn new(now: Instant) -> Self {
        Self { logged_at: now, was_dialled: false, unreachable: None }
    }

    /// Notes that another node has connected to this one.
    pub(super) fn dialled(&mut self) {
        self.was_dialled = true;
    }

    /// Notes that this node could not connect to another.
    pub(super) fn missed(&mut self, name: &str, why: &str) {
        self.unreachable = Some((name.to_owned(), why.to_owned()));
    }

    /// Notes that this node has connected to another.
    pub(super) fn met(&mut self) {
        self.unreachable = None;
    }

    /// Returns what this node waits for. `peer_url` is the URL at which it says it can be reached.
    pub(super) fn waits_for(&self, peer_url: &str) -> String {
        match &self.unreachable {
            Some((name, why)) => format!(
                "this node has joined the cluster, but it cannot reach {name} ({why}). Check that URL: {name} sets it by \
                 --advertise-peer-url"
            ),
            None if !self.was_dialled => format!(
                "this node has joined the cluster, but no other node has connected to it yet at {peer_url}: check that they can \
                 reach this URL, or set --advertise-peer-url"
            ),
            None => "this node has joined the cluster and waits for the leader to send it the data".to_owned(),
        }
    }

    /// Returns whether it is time for a line in the log.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        let is_due = now - self.logged_at >= LOGGED_EVERY;
        if is_due {
            self.logged_at = now;
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_that_fails_is_named_and_the_line_comes_now_and_then() {
        let start = Instant::now();
        let mut unfed = Unfed::new(start);
        let says = |unfed: &Unfed, text: &str| assert!(unfed.waits_for("http://own:1").contains(text), "{unfed:?}");
        says(&unfed, "no other node has connected to it yet at http://own:1");
        unfed.dialled();
        says(&unfed, "waits for the leader to send it the data");
        unfed.missed("node1", "http://lead:1: connection refused");
        says(&unfed, "it cannot reach node1 (http://lead:1: connection refused). Check that URL");
        unfed.met();
        says(&unfed, "waits for the leader to send it the data");
        let due: Vec<u64> = (0..40).filter(|second| unfed.is_due(start + Duration::from_secs(*second))).collect();
        assert_eq!(due, [10, 20, 30]);
    }
}
