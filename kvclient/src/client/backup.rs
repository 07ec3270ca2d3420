//! Downloading a snapshot: `GET /snapshot`, checked while it passes to the caller's writer.
//!
//! The search for a node is like that of a read, but asks followers first: the leader should be spared the work. A
//! health request soon tells which nodes run. The chosen node may then be silent for long, since it may have to write
//! the snapshot first. Once its bytes flow there is no second attempt: the caller's writer has received them.

use crate::api::NodeState;
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::routing::{Cluster, Deadline, Kind, Tally, Verdict};
use crate::snapshot::{Checker, SnapshotInfo};
use crate::transport::{Download, Opened, Transport};
use std::io::{Read as _, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Longest silence of a node that sends a snapshot: it may have to write it first.
const SILENCE_MAX: Duration = Duration::from_secs(120);

/// Bytes passed on at a time.
const PIECE_BYTES: usize = 64 << 10;

/// Progress of a snapshot download.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotProgress {
    /// Bytes that have arrived and been written.
    pub bytes: u64,
    /// Bytes of the whole snapshot.
    pub bytes_total: u64,
}

/// Destination of the bytes of a snapshot.
pub(crate) struct Target<'a> {
    pub(crate) to: &'a mut dyn Write,
    pub(crate) progress: &'a mut dyn FnMut(SnapshotProgress),
}

/// Downloads a snapshot that has everything acknowledged before, from any node.
pub(crate) fn of_any_node(cluster: &Arc<Cluster>, target: &mut Target<'_>) -> Result<SnapshotInfo, Error> {
    let transport = Transport::new();
    let deadline = Deadline::after(cluster.limits.total_timeout);
    let mut tally = Tally::of(Kind::Read);
    for round in 0.. {
        let mut retry_after = None;
        let mut search = Search::new(cluster);
        while let Some(node) = search.next(&transport, &deadline, &mut tally) {
            match begin(cluster, &transport, &node, "/snapshot") {
                Begun::Download(download) => return receive(&node, download, target),
                Begun::Not(Verdict::Again(again)) => {
                    retry_after = again.retry_after;
                    tally.add(again);
                }
                Begun::Not(verdict) => return Err(tally.refused(refusal(&node, verdict), deadline.elapsed())),
            }
        }
        let wait = cluster.limits.backoff.wait_as_asked(round, retry_after, &mut rand::rng());
        let nobody_left = tally.attempts > cluster.limits.retries || cluster.is_hopeless(&deadline);
        if nobody_left || !deadline.sleep(wait) {
            break;
        }
    }
    Err(cluster.give_up(tally, &deadline))
}

/// One round over the nodes that answer, the leader last.
struct Search<'a> {
    cluster: &'a Cluster,
    start: usize,
    tried: Vec<Endpoint>,
    leader: Option<Endpoint>,
}

impl<'a> Search<'a> {
    fn new(cluster: &'a Cluster) -> Self {
        Self { cluster, start: cluster.lanes.borrow().start, tried: Vec::new(), leader: None }
    }

    /// Returns the next node that answers. Nodes that do not answer are added to the tally.
    fn next(&mut self, transport: &Transport, deadline: &Deadline, tally: &mut Tally) -> Option<Endpoint> {
        loop {
            let next = self.cluster.endpoints().next(self.start, &self.tried, Instant::now()).cloned();
            let Some(node) = next else { return self.leader.take() };
            let limit = deadline.attempt(self.cluster.attempt_limit())?;
            self.tried.push(node.clone());
            match self.cluster.probe(transport, &node, limit) {
                Ok(health) if health.state == NodeState::Leader => self.leader = Some(node),
                Ok(_) => return Some(node),
                Err(again) => tally.add(again),
            }
        }
    }
}

/// Downloads a snapshot of one node's data, however old.
pub(crate) fn of_node(cluster: &Cluster, node: &Endpoint, target: &mut Target<'_>) -> Result<SnapshotInfo, Error> {
    let deadline = Deadline::after(SILENCE_MAX);
    match begin(cluster, &Transport::new(), node, "/snapshot?consistency=stale") {
        Begun::Download(download) => receive(node, download, target),
        Begun::Not(Verdict::Again(again)) => {
            let mut tally = Tally::of(Kind::Read);
            tally.add(again);
            Err(cluster.give_up(tally, &deadline))
        }
        Begun::Not(verdict) => Err(refusal(node, verdict)),
    }
}

enum Begun {
    Download(Download),
    Not(Verdict),
}

fn begin(cluster: &Cluster, transport: &Transport, node: &Endpoint, path: &str) -> Begun {
    match transport.download(cluster.target(node, path), SILENCE_MAX) {
        Ok(Opened::Begun(download)) => match cluster.admit_data(node, download.cluster.as_deref()) {
            Ok(()) => Begun::Download(download),
            Err(again) => Begun::Not(Verdict::Again(again)),
        },
        Ok(Opened::Answer(reply)) => Begun::Not(cluster.judge(Kind::Read, node, Ok(reply))),
        Err(failure) => Begun::Not(cluster.judge(Kind::Read, node, Err(failure))),
    }
}

/// Returns the error for an answer that no other attempt would change.
fn refusal(node: &Endpoint, verdict: Verdict) -> Error {
    match verdict {
        Verdict::Refused(error) => error,
        // No request for a snapshot is answered with one of these.
        Verdict::Done(_) | Verdict::Missing { .. } | Verdict::Redirect(_) | Verdict::Again(_) => Error::Unexpected {
            endpoint: node.to_string(),
            applied: crate::api::Applied::No,
            message: "it did not answer with a snapshot".to_owned(),
        },
    }
}

/// Receives the whole snapshot.
fn receive(node: &Endpoint, mut download: Download, target: &mut Target<'_>) -> Result<SnapshotInfo, Error> {
    let mut checker = Checker::new();
    let mut progress = SnapshotProgress { bytes: 0, bytes_total: download.bytes };
    let broken = |bytes, detail| Error::SnapshotBroken { endpoint: node.to_string(), bytes, detail };
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        (target.progress)(progress);
        let read = match download.body.read(&mut piece) {
            Ok(0) => break,
            Ok(read) => read,
            Err(cause) => return Err(broken(progress.bytes, cause.to_string())),
        };
        checker.feed(&piece[..read]).map_err(|cause| broken(progress.bytes, cause.to_string()))?;
        target.to.write_all(&piece[..read]).map_err(|cause| Error::Output { cause })?;
        progress.bytes += read as u64;
    }
    let info = checker.finish().map_err(|cause| broken(progress.bytes, cause.to_string()))?;
    target.to.flush().map_err(|cause| Error::Output { cause })?;
    Ok(info)
}

#[cfg(test)]
mod tests;
