//! Repeats of large writes that are still in the log.
//!
//! A client that gets no answer repeats its request under the same id. As a separate command the repeat would be
//! replicated all over again, only to receive the stored reply, and on a slow link such repeats fill it. So a leader
//! lets the repeat of a large write wait for the entry that is in the log already, as long as that entry has not been
//! applied, is of the leader's own term, and has the very same bytes. The repeat then has the outcome of that entry.

use crate::kv::Command;
use crate::raft::{Instant, LogIndex, Term};
use bytes::Bytes;
use std::collections::BTreeMap;

/// Size from which on a write is remembered: a smaller command costs less to replicate again than to remember. Bytes.
const LARGE_BYTES: usize = 16 << 10;

/// An entry that has yet to be applied.
type Place = (LogIndex, Term);

/// Large writes in the log, and the repeats that wait for them.
#[derive(Debug)]
pub(super) struct Repeats<W> {
    /// By client and number of the request.
    in_log: BTreeMap<(String, u64), (Place, Bytes)>,
    joined: BTreeMap<Place, Vec<(W, Instant)>>,
}

impl<W> Default for Repeats<W> {
    fn default() -> Self {
        Self { in_log: BTreeMap::new(), joined: BTreeMap::new() }
    }
}

impl<W> Repeats<W> {
    /// Returns the entry of this term that the command would repeat.
    pub(super) fn find(&self, command: &Bytes, term: Term) -> Option<Place> {
        let (place, known) = self.in_log.get(&request_of(command)?)?;
        (place.1 == term && known == command).then_some(*place)
    }

    /// Records that a command has been appended as an entry.
    pub(super) fn appended(&mut self, command: &Bytes, place: Place) {
        if let Some(request) = request_of(command) {
            self.in_log.insert(request, (place, command.clone()));
        }
    }

    /// Adds a request that waits for an entry appended before.
    pub(super) fn join(&mut self, place: Place, handle: W, deadline: Instant) {
        self.joined.entry(place).or_default().push((handle, deadline));
    }

    /// Number of repeats that wait.
    pub(super) fn waiting(&self) -> usize {
        self.joined.values().map(Vec::len).sum()
    }

    /// Called when an entry was applied at `index`: returns the handles that wait for an entry there, and its term.
    pub(super) fn applied(&mut self, index: LogIndex) -> Vec<(Term, W)> {
        if self.in_log.is_empty() && self.joined.is_empty() {
            return Vec::new();
        }
        self.in_log.retain(|_, (place, _)| place.0 > index);
        let ended = self.joined.extract_if((index, Term(0))..=(index, Term(u64::MAX)), |_, _| true);
        ended.flat_map(|((_, term), joined)| joined.into_iter().map(move |(handle, _)| (term, handle))).collect()
    }

    /// Called when a snapshot has replaced the entries up to `index`, so that their outcomes are unknown: returns the
    /// handles that wait for them.
    pub(super) fn replaced(&mut self, index: LogIndex) -> Vec<W> {
        self.in_log.retain(|_, (place, _)| place.0 > index);
        let ended = self.joined.extract_if(..=(index, Term(u64::MAX)), |_, _| true);
        ended.flat_map(|(_, joined)| joined.into_iter().map(|(handle, _)| handle)).collect()
    }

    /// Returns the handles whose deadline has passed.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<W> {
        let mut ended = Vec::new();
        for joined in self.joined.values_mut() {
            ended.extend(joined.extract_if(.., |(_, deadline)| *deadline <= now).map(|(handle, _)| handle));
        }
        self.joined.retain(|_, joined| !joined.is_empty());
        ended
    }

    /// Returns the earliest deadline.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.joined.values().flatten().map(|(_, deadline)| *deadline).min()
    }
}

/// Client and number of a large write that may be repeated.
fn request_of(command: &Bytes) -> Option<(String, u64)> {
    if command.len() < LARGE_BYTES {
        return None;
    }
    let request = Command::decode(command).ok()?.request?;
    Some((request.client, request.seq))
}
