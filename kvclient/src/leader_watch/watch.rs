//! The iterator over changes of leader.

use super::change::LeaderChange;
use super::listening::{Heard, Listening, SILENCE_MAX, TICK};
use super::sight::Sight;
use super::survey::Survey;
use crate::api::LeaderEvent;
use crate::routing::Cluster;
use crate::transport::Failure;
use std::fmt;
use std::iter::FusedIterator;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// While there is no leader: interval at which all nodes are asked again, in case the one listened to is cut off.
const SURVEY_EVERY: Duration = Duration::from_secs(1);

/// Maximum number of surveys that follow each other without a pause: when a leader dies, a node's knowledge is outdated
/// within milliseconds.
const HASTY_SURVEYS_MAX: u32 = 4;

/// An endless iterator over changes of leader, from [`Client::watch_leader`](crate::Client::watch_leader).
///
/// The first item names the present leader, or says that there is none; each further one differs from the previous one.
/// `next` waits as long as nothing changes.
///
/// ```
/// # use kvclient::Client;
/// # let cluster = testkit::DocCluster::take_turn();
/// # let endpoints = cluster.endpoints();
/// let client = Client::connect(endpoints)?;
/// let mut watch = client.watch_leader();
/// let now = watch.next().expect("a watch has no end");
/// println!("term {}: {:?}", now.term, now.leader);
/// # anyhow::Ok(())
/// ```
pub struct LeaderWatch {
    cluster: Arc<Cluster>,
    sight: Sight,
    /// Node at which each survey begins, so that the watches of many clients spread over the nodes.
    start: usize,
    listening: Option<Listening>,
    /// The survey in progress. The node listened to is among those asked.
    survey: Option<Survey>,
    surveyed: Instant,
    /// Number of surveys in a row, each soon after the previous one.
    hasty: u32,
}

impl LeaderWatch {
    pub(crate) fn new(cluster: Arc<Cluster>) -> Self {
        Self {
            cluster,
            sight: Sight::default(),
            start: rand::random::<u16>().into(),
            listening: None,
            survey: None,
            surveyed: Instant::now(),
            hasty: 0,
        }
    }

    /// Returns the next change, or `None` if there is none for `timeout`. The watch continues in either case.
    ///
    /// May take a second longer than `timeout` if nodes do not answer.
    ///
    /// ```
    /// # use kvclient::Client;
    /// # use std::time::Duration;
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let client = Client::connect(endpoints)?;
    /// let mut watch = client.watch_leader();
    /// while let Some(change) = watch.next_timeout(Duration::from_secs(1)) {
    ///     println!("term {}: {:?}", change.term, change.leader);
    /// }
    /// println!("the same leader for a second");
    /// # anyhow::Ok(())
    /// ```
    pub fn next_timeout(&mut self, timeout: Duration) -> Option<LeaderChange> {
        let started = Instant::now();
        loop {
            let left = timeout.saturating_sub(started.elapsed());
            if let Some(change) = self.advance(left) {
                return Some(change);
            }
            if started.elapsed() >= timeout {
                return None;
            }
        }
    }

    /// Takes one step: an event, a tick without any, or part of a survey. Pauses for at most `left`.
    fn advance(&mut self, left: Duration) -> Option<LeaderChange> {
        if self.survey.is_some() {
            return self.go_on_with_survey();
        }
        if let Some(listening) = &mut self.listening {
            match listening.next(TICK) {
                Heard::Event(event) if event.leader.is_some() => {
                    let change = self.sight.names(&event, Instant::now());
                    self.learn(&event);
                    return change;
                }
                // The cluster may have no leader, or only this node may not know it.
                Heard::Event(_) => {}
                Heard::Nothing if !listening.is_alive(&self.cluster) => self.listening = None,
                Heard::Nothing if self.sight.sees_leader() || self.surveyed.elapsed() < SURVEY_EVERY => return None,
                Heard::Nothing => {}
                Heard::Ended => self.listening = None,
                Heard::Silence => {
                    let failure = Failure::Silent(SILENCE_MAX);
                    self.cluster.note(&listening.node, Some(&failure));
                    self.listening = None;
                }
            }
            self.sight.doubt(Instant::now());
        }
        self.pause_if_hasty(left);
        self.survey = Some(Survey::start(&self.cluster, self.start, self.listening.take()));
        self.go_on_with_survey()
    }

    /// Waits for the surveyed nodes, until one names a leader, or no node is left that could.
    fn go_on_with_survey(&mut self) -> Option<LeaderChange> {
        let mut survey = self.survey.take()?;
        loop {
            // The node listened to has said that it knows no leader. The loss can be reported without waiting for it to
            // say more, but it should still be heard afterwards.
            let heard_all_others = survey.listened_to && survey.asked.under_way() == 1 && survey.asked.all_asked();
            if heard_all_others && let Some(change) = self.sight.names_none(survey.newest_term, Instant::now()) {
                self.survey = Some(survey);
                return Some(change);
            }
            let Some(told) = survey.asked.next() else { break };
            survey.listened_to &= !told.listened_to;
            if let Some((listening, event)) = told.heard {
                if event.leader.is_some() && event.term >= self.sight.term {
                    self.listening = Some(listening);
                    self.learn(&event);
                    return self.sight.names(&event, told.at);
                }
                survey.take(listening, &event);
            }
        }
        self.listening = survey.fallback;
        self.sight.names_none(survey.newest_term, Instant::now())
    }

    /// Keeps a watch from spinning if no node answers, or all of them end their streams at once.
    fn pause_if_hasty(&mut self, left: Duration) {
        self.hasty = if self.surveyed.elapsed() < SURVEY_EVERY { self.hasty.saturating_add(1) } else { 0 };
        if self.hasty > HASTY_SURVEYS_MAX {
            let wait = self.cluster.limits.backoff.wait(self.hasty - HASTY_SURVEYS_MAX, &mut rand::rng());
            // The waits between retries of a patient program are too long to leave the cluster unwatched.
            thread::sleep(wait.min(SURVEY_EVERY).min(left));
        }
        self.surveyed = Instant::now();
    }

    /// Tells the rest of the client which node leads.
    fn learn(&self, event: &LeaderEvent) {
        if let Some(leader) = &event.leader {
            self.cluster.learn_leader(&leader.url, event.term);
        }
    }
}

impl Iterator for LeaderWatch {
    type Item = LeaderChange;

    fn next(&mut self) -> Option<LeaderChange> {
        loop {
            if let Some(change) = self.advance(Duration::MAX) {
                return Some(change);
            }
        }
    }
}

impl FusedIterator for LeaderWatch {}

impl fmt::Debug for LeaderWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let node = self.listening.as_ref().map(|listening| &listening.node);
        f.debug_struct("LeaderWatch").field("listening_to", &node).field("sight", &self.sight).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
