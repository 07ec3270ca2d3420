//! Reads: from the node that served the last one on this lane, then from the other nodes.
//!
//! A long poll is a read whose node may be silent for as long as it was asked to wait.

use super::cluster::Cluster;
use super::exchange::{decode, in_circles};
use super::hedge::{HEDGE_AFTER, Hedge};
use super::lane::Lane;
use super::retry::Deadline;
use super::tally::Tally;
use super::verdict::{Answer, Kind, Reason, Verdict};
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::transport::{Post, Transport};
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A read that any node answers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Question {
    /// Path and query.
    pub(crate) path: String,
    /// The JSON of a question that is posted: a transaction that only reads.
    pub(crate) body: Option<Vec<u8>>,
    /// Time for which the node was asked to wait before it answers.
    pub(crate) wait: Duration,
}

/// The answer to a read.
#[derive(Debug)]
pub(crate) struct Told<T> {
    /// The reply, `None` if there is no such key.
    pub(crate) reply: Option<T>,
    /// Revision of the store that served the read, if the node says.
    pub(crate) revision: Option<u64>,
}

/// One read attempt.
struct Read {
    /// The node that gave the last answer, after redirects.
    node: Endpoint,
    verdict: Verdict,
    /// Time that it took.
    took: Duration,
}

impl Lane {
    /// Remembers the node that served a read. The time that it was asked to wait says nothing about its speed.
    fn served(&mut self, node: &Endpoint, question: &Question, took: Duration) {
        self.reads_from = Some(node.clone());
        self.read_took = took.saturating_sub(question.wait);
    }
}

impl Cluster {
    /// Reads `path` from any node. Returns `None` if there is no such key.
    pub(crate) fn read<T: DeserializeOwned>(self: &Arc<Self>, path: &str) -> Result<Option<T>, Error> {
        let question = Question { path: path.to_owned(), ..Question::default() };
        self.ask(&question).map(|told| told.reply)
    }

    /// Asks any node.
    ///
    /// One node is asked on this thread. Only if it fails, or is silent for longer than its earlier answers took, are
    /// the other nodes asked, hedged. The first node is asked again from the second round on.
    pub(crate) fn ask<T: DeserializeOwned>(self: &Arc<Self>, question: &Question) -> Result<Told<T>, Error> {
        let mut lane = self.lanes.borrow();
        let deadline = Deadline::after(self.limits.total_timeout.saturating_add(question.wait));
        let mut tally = Tally::of(Kind::Read);
        for round in 0.. {
            let mut retry_after = None;
            let attempts = self.limits.retries.saturating_add(1).saturating_sub(tally.attempts);
            let first = (round == 0).then(|| self.read_alone(&lane, question, &deadline, attempts > 1)).flatten();
            let others =
                self.read_hedged(&lane, question, deadline, first.as_ref().map(|read| read.node.clone()), attempts);
            for Read { node, verdict, took } in first.into_iter().chain(others) {
                match verdict {
                    Verdict::Done(Answer { body, revision, .. }) => {
                        lane.served(&node, question, took);
                        let reply = decode(Kind::Read, &node, &body)?;
                        return Ok(Told { reply: Some(reply), revision });
                    }
                    Verdict::Missing { revision } => {
                        lane.served(&node, question, took);
                        return Ok(Told { reply: None, revision });
                    }
                    Verdict::Refused(error) => return Err(tally.refused(error, deadline.elapsed())),
                    Verdict::Redirect(_) => tally.add(in_circles(&node)),
                    Verdict::Again(again) => {
                        retry_after = again.retry_after.filter(|_| again.reason == Reason::Overloaded);
                        tally.add(again);
                    }
                }
                lane.reads_from = None;
                if tally.attempts > self.limits.retries || deadline.attempt(Duration::MAX).is_none() {
                    return Err(self.give_up(tally, &deadline));
                }
            }
            if self.is_hopeless(&deadline)
                || !deadline.sleep(self.limits.backoff.wait_as_asked(round, retry_after, &mut rand::rng()))
            {
                break;
            }
        }
        Err(self.give_up(tally, &deadline))
    }

    /// Asks the first node, on this thread and over the connections of this lane.
    fn read_alone(&self, lane: &Lane, question: &Question, deadline: &Deadline, may_ask_others: bool) -> Option<Read> {
        let node = self.node_for_read(lane.reads_from.as_ref(), lane.start, &[])?;
        let patience = HEDGE_AFTER.max(lane.read_took * 2);
        let limit = if may_ask_others { self.first_limit(patience) } else { self.attempt_limit() };
        Some(self.read_once(&lane.transport, node, question, deadline, limit))
    }

    /// Asks the other nodes one after another, with at most `attempts` in this round.
    fn read_hedged(
        self: &Arc<Self>,
        lane: &Lane,
        question: &Question,
        deadline: Deadline,
        first: Option<Endpoint>,
        attempts: u32,
    ) -> impl Iterator<Item = Read> + use<> {
        let (cluster, preferred, start) = (Arc::clone(self), lane.reads_from.clone(), lane.start);
        let next = move |asked: &[Endpoint]| {
            let left = asked.len() < usize::try_from(attempts).unwrap_or(usize::MAX);
            left.then(|| cluster.node_for_read(preferred.as_ref(), start, asked)).flatten()
        };
        let (cluster, question) = (Arc::clone(self), question.clone());
        Hedge::new(first.into_iter().collect(), next, deadline.moment(), move |node| {
            cluster.read_once(&Transport::new(), node.clone(), &question, &deadline, cluster.attempt_limit())
        })
    }

    fn node_for_read(&self, preferred: Option<&Endpoint>, start: usize, tried: &[Endpoint]) -> Option<Endpoint> {
        let endpoints = self.endpoints();
        let preferred = preferred.filter(|node| !endpoints.is_suspect(node) && !tried.contains(node));
        preferred.or_else(|| endpoints.next(start, tried, Instant::now())).cloned()
    }

    /// Makes one attempt at a read. If the cluster's id and its members are not known yet, it learns them first. Each
    /// exchange may take `limit`, beside the time that the node was asked to wait.
    fn read_once(
        &self,
        transport: &Transport,
        node: Endpoint,
        question: &Question,
        deadline: &Deadline,
        limit: Duration,
    ) -> Read {
        let Question { path, body, wait } = question;
        let began = Instant::now();
        // Done before anything is read, so that it is known whose data it is.
        let is_known = self.id().is_some() && self.endpoints().members_known();
        let probed = match deadline.attempt(limit) {
            Some(limit) if !is_known => self.probe(transport, &node, limit).map(drop),
            _ => Ok(()),
        };
        let (node, verdict) = match probed {
            Ok(()) => self.follow(node, Kind::Read, deadline, limit.saturating_add(*wait), |node, limit| match body {
                None => transport.get(self.target(node, path), limit),
                Some(body) => transport.post(self.target(node, path), &Post { body, level: None }, limit),
            }),
            Err(again) => (node, Verdict::Again(again)),
        };
        Read { node, verdict, took: began.elapsed() }
    }
}
