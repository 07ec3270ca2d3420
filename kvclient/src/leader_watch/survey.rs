//! A round over all nodes in search of one that names a leader.

use super::listening::{Heard, Listening, TICK};
use crate::api::LeaderEvent;
use crate::endpoint::Endpoint;
use crate::routing::{Cluster, Hedge};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Longest time of a survey: to ask a node for the members and to wait for its first event.
const SURVEY_MAX: Duration = Duration::from_secs(1);

/// A node's answer to the survey.
pub(super) struct Told {
    /// The node's newest event; `None` if it did not answer.
    pub(super) heard: Option<(Listening, LeaderEvent)>,
    pub(super) at: Instant,
    /// True if this is the node that the watch listened to before.
    pub(super) listened_to: bool,
}

/// Returns the node to ask after the given ones.
type NextNode = Box<dyn FnMut(&[Endpoint]) -> Option<Endpoint> + Send>;

/// A round over all nodes in search of one that names a leader.
pub(super) struct Survey {
    pub(super) asked: Hedge<Told, NextNode>,
    /// True if the node that the watch listened to before has yet to answer.
    pub(super) listened_to: bool,
    /// Stream to use if no node knows better.
    pub(super) fallback: Option<Listening>,
    pub(super) newest_term: u64,
}

impl Survey {
    pub(super) fn start(cluster: &Arc<Cluster>, start: usize, listening: Option<Listening>) -> Self {
        let known = listening.iter().map(|listening| listening.node.clone()).collect();
        let nodes = Arc::clone(cluster);
        let next = move |asked: &[Endpoint]| nodes.endpoints().next(start, asked, Instant::now()).cloned();
        let listener = Arc::clone(cluster);
        let listen = move |node: &Endpoint| {
            let heard = Listening::open(&listener, node);
            Told { heard, at: Instant::now(), listened_to: false }
        };
        let mut survey = Self {
            asked: Hedge::new(known, Box::new(next), Instant::now() + SURVEY_MAX, listen),
            listened_to: listening.is_some(),
            fallback: None,
            newest_term: 0,
        };
        if let Some(mut listening) = listening {
            survey.asked.beside(move || {
                let heard = match listening.next(TICK) {
                    Heard::Event(event) => Some((listening, event)),
                    Heard::Nothing => listening.last.clone().map(|last| (listening, last)),
                    Heard::Silence | Heard::Ended => None,
                };
                Told { heard, at: Instant::now(), listened_to: true }
            });
        }
        survey
    }

    /// Notes a node that names no credible leader.
    pub(super) fn take(&mut self, listening: Listening, event: &LeaderEvent) {
        self.newest_term = self.newest_term.max(event.term);
        self.fallback.get_or_insert(listening);
    }
}
