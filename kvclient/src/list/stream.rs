//! A whole range in one reply, line by line (`Accept: application/x-ndjson`).
//!
//! The last line of a whole list says how many lines there were. Without that line the reply was cut off: another node
//! is asked for the entries after the last one, at the same revision. The time limit of an operation begins anew with
//! each entry, so it bounds the silence of a node and not the length of the list.

use super::asked::Asked;
use super::entry::ListEntry;
use crate::api::{Applied, ErrorCode, Key, ListLine};
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::routing::{Again, Cluster, Deadline, Kind, Reason, Tally, Verdict};
use crate::transport::{Lines, Opened, Transport};
use std::time::{Duration, Instant};

/// Longest silence of a node that sends a list.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// All entries of a list, from [`List::stream`](crate::List::stream). Ends with the first error. If it ends without
/// one, the list is whole.
#[derive(Debug)]
pub struct ListStream {
    asked: Asked,
    transport: Transport,
    reply: Option<Reply>,
    /// Revision of the store that is listed, once a node has answered.
    revision: Option<u64>,
    /// The last entry.
    last: Option<Key>,
    /// Entries that are still wanted.
    left: Option<u64>,
    attempts: Attempts,
    has_ended: bool,
}

/// The attempts since the last entry.
#[derive(Debug)]
struct Attempts {
    tally: Tally,
    deadline: Deadline,
    round: u32,
    tried: Vec<Endpoint>,
}

impl Attempts {
    fn new(cluster: &Cluster) -> Self {
        let deadline = Deadline::after(cluster.limits.total_timeout);
        Self { tally: Tally::of(Kind::Read), deadline, round: 0, tried: Vec::new() }
    }

    /// Returns new attempts, of which the first are not at this node.
    fn after(cluster: &Cluster, broken_off: Endpoint) -> Self {
        Self { tried: vec![broken_off], ..Self::new(cluster) }
    }
}

/// The reply of one node, as it arrives.
struct Reply {
    node: Endpoint,
    lines: Lines,
    /// Entries of this reply so far.
    count: u64,
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reply").field("node", &self.node).field("count", &self.count).finish_non_exhaustive()
    }
}

/// The next part of a reply.
enum Part {
    Entry(ListEntry),
    /// The list is whole.
    End,
    /// Another attempt goes on after the last entry.
    Again(Again),
    /// An error that no further attempt would avoid.
    Failed(Error),
}

impl ListStream {
    pub(super) fn of(mut asked: Asked) -> Self {
        // A stream has no pages.
        asked.query.list.limit = None;
        let (left, attempts) = (asked.limit, Attempts::new(&asked.cluster));
        let transport = Transport::new();
        Self { asked, transport, reply: None, revision: None, last: None, left, attempts, has_ended: left == Some(0) }
    }

    /// Returns the revision of the store that is listed, once a node has answered.
    ///
    /// ```
    /// use kvclient::{Client, Range};
    ///
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let mut stream = Client::connect(endpoints)?.list(Range::All).stream();
    /// assert!(stream.next().is_none());
    /// println!("nothing at revision {}", stream.revision().expect("a node has answered"));
    /// # anyhow::Ok(())
    /// ```
    pub fn revision(&self) -> Option<u64> {
        self.revision
    }

    /// Returns the reply that goes on after the last entry, from any node.
    fn reply(&mut self) -> Result<&mut Reply, Error> {
        while self.reply.is_none() {
            let (cluster, attempts) = (&self.asked.cluster, &mut self.attempts);
            let start = cluster.lanes.borrow().start;
            let next = cluster.endpoints().next(start, &attempts.tried, Instant::now()).cloned();
            let Some(limit) = attempts.deadline.attempt(cluster.attempt_limit()) else {
                return Err(self.give_up());
            };
            let Some(node) = next else {
                // All nodes have had their turn.
                attempts.tried.clear();
                let wait = cluster.limits.backoff.wait(attempts.round, &mut rand::rng());
                attempts.round += 1;
                let nobody_left =
                    attempts.tally.attempts > cluster.limits.retries || cluster.is_hopeless(&attempts.deadline);
                if nobody_left || !attempts.deadline.sleep(wait) {
                    return Err(self.give_up());
                }
                continue;
            };
            attempts.tried.push(node.clone());
            match self.open(&node, limit) {
                Ok(reply) => {
                    self.revision = self.revision.or(reply.lines.revision);
                    self.reply = Some(reply);
                }
                Err(Part::Again(again)) => self.attempts.tally.add(again),
                Err(Part::Failed(error)) => return Err(error),
                Err(Part::Entry(_) | Part::End) => {}
            }
        }
        self.reply.as_mut().ok_or_else(|| broken("a node", "there is no reply"))
    }

    fn open(&self, node: &Endpoint, limit: Duration) -> Result<Reply, Part> {
        let cluster = &self.asked.cluster;
        // Comes before the list, so that the cluster of the data is known. It also finds a node that is silent.
        cluster.probe(&self.transport, node, limit).map_err(Part::Again)?;
        let mut query = self.asked.query.clone();
        query.list.check().map_err(|message| Part::Failed(Error::InvalidRequest { message }))?;
        query.revision = self.revision.or(query.revision);
        query.list.after = self.last.clone().or(query.list.after);
        let path = format!("/list?{}", query.to_query());
        let verdict = match self.transport.lines(cluster.target(node, &path), SILENCE_MAX) {
            Ok(Opened::Begun(lines)) => {
                cluster.admit_data(node, lines.cluster.as_deref()).map_err(Part::Again)?;
                return Ok(Reply { node: node.clone(), lines, count: 0 });
            }
            Ok(Opened::Answer(reply)) => cluster.judge(Kind::Read, node, Ok(reply)),
            Err(failure) => cluster.judge(Kind::Read, node, Err(failure)),
        };
        Err(match verdict {
            Verdict::Again(again) => Part::Again(again),
            Verdict::Refused(error) => Part::Failed(error),
            Verdict::Done(_) | Verdict::Missing { .. } | Verdict::Redirect(_) => {
                Part::Failed(broken(node, "it did not answer with a list"))
            }
        })
    }

    fn give_up(&mut self) -> Error {
        let attempts = std::mem::replace(&mut self.attempts, Attempts::new(&self.asked.cluster));
        self.asked.cluster.give_up(attempts.tally, &attempts.deadline)
    }
}

impl Reply {
    fn next(&mut self, revision: Option<u64>) -> Part {
        let again = |detail: String| {
            Part::Again(Again::not_sent(Reason::Unreachable, format!("{}: the list broke off: {detail}", self.node)))
        };
        let line = match self.lines.next_line() {
            Ok(Some(line)) => line,
            Ok(None) => return again("its last line is missing".into()),
            Err(cause) => return again(cause.to_string()),
        };
        match serde_json::from_slice(&line) {
            Ok(ListLine::Item(item)) => self.entry(ListEntry::Item(item)),
            Ok(ListLine::Prefix(prefix)) => self.entry(ListEntry::Prefix(prefix)),
            Ok(ListLine::End { revision: of_list, count }) => {
                if count != self.count || revision.is_some_and(|revision| revision != of_list) {
                    let detail = format!("number of entries that arrived: {}, that were sent: {count}", self.count);
                    return Part::Failed(broken(&self.node, &detail));
                }
                Part::End
            }
            Ok(ListLine::Error { error, .. }) if error.code == ErrorCode::Compacted => {
                Part::Failed(Error::Compacted { oldest_revision: error.oldest_revision, message: error.message })
            }
            Ok(ListLine::Error { error, .. }) => again(error.message),
            Err(cause) => Part::Failed(Error::Unexpected {
                endpoint: self.node.to_string(),
                applied: Applied::No,
                message: format!("a line of the list is not as documented: {cause}"),
            }),
        }
    }

    fn entry(&mut self, entry: ListEntry) -> Part {
        self.count += 1;
        Part::Entry(entry)
    }
}

impl Iterator for ListStream {
    type Item = Result<ListEntry, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.has_ended {
            let revision = self.revision;
            let part = match self.reply() {
                Ok(reply) => reply.next(revision.or(reply.lines.revision)),
                Err(error) => Part::Failed(error),
            };
            match part {
                Part::Entry(entry) => {
                    self.last = Some(entry.key().clone());
                    self.left = self.left.map(|left| left - 1);
                    self.has_ended = self.left == Some(0);
                    return Some(Ok(entry));
                }
                Part::End => self.has_ended = true,
                Part::Again(again) => {
                    if let Some(reply) = self.reply.take().filter(|reply| reply.count > 0) {
                        self.attempts = Attempts::after(&self.asked.cluster, reply.node);
                    }
                    self.attempts.tally.add(again);
                }
                Part::Failed(error) => {
                    self.has_ended = true;
                    return Some(Err(error));
                }
            }
        }
        // The connection is not kept for a caller who keeps the iterator.
        self.reply = None;
        None
    }
}

fn broken(node: impl std::fmt::Display, detail: &str) -> Error {
    Error::ListBroken { endpoint: node.to_string(), detail: detail.to_owned() }
}
