//! Answers to clients are true. An acknowledged write is committed, with the outcome that it had there. A write that
//! every node it reached refused is not committed, and never will be. Each write is applied once. Each request is
//! answered once.

use super::super::model::Model;
use super::{Checked, Place, ensure};
use kvd::kv::{Operation, Outcome, RequestId};
use kvd::raft::{LogIndex, Term};
use std::collections::{HashMap, HashSet};

const NAME: &str = "Honest Answers";

/// Requests that were sent, and their outcomes.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    // Looked up and never iterated over.
    copies: HashMap<RequestKey, Copies>,
    /// Places of the entries whose writes were refused.
    refused: HashSet<Place>,
}

type RequestKey = (String, u64);

/// Copies of one request.
#[derive(Clone, Copy, Debug, Default)]
struct Copies {
    /// Copies that were sent and not refused for certain.
    possible: u32,
    /// Committed entries of the request.
    committed: u32,
    /// Nodes that acknowledged one.
    acknowledged: u32,
}

fn key_of(request: &RequestId) -> RequestKey {
    (request.client.clone(), request.seq)
}

impl Answers {
    /// Notes that a copy of a request is sent.
    pub(crate) fn sent(&mut self, request: &RequestId) {
        self.copies.entry(key_of(request)).or_default().possible += 1;
    }

    /// Notes that a copy was refused: it has changed nothing and never will.
    pub(crate) fn refused(&mut self, request: &RequestId) -> Checked {
        let copies = self.copies.entry(key_of(request)).or_default();
        copies.possible -= 1;
        copies.check(request)
    }

    /// Checks a refused write that had become an entry; `committed` is the term of the entry committed at its index.
    pub(super) fn entry_refused(&mut self, place: Place, committed: Option<Term>) -> Checked {
        let (index, term) = place;
        ensure!(NAME, committed != Some(term), "a write is refused, and its entry {index} of term {term} is committed");
        self.refused.insert(place);
        Ok(())
    }

    /// Checks an entry that is committed.
    pub(super) fn entry_committed(&self, place: Place) -> Checked {
        let (index, term) = place;
        let is_refused = self.refused.contains(&place);
        ensure!(NAME, !is_refused, "entry {index} of term {term} is committed, and its write was refused");
        Ok(())
    }

    /// Checks a committed entry of a request.
    pub(crate) fn committed(&mut self, request: &RequestId) -> Checked {
        let copies = self.copies.entry(key_of(request)).or_default();
        copies.committed += 1;
        copies.check(request)
    }

    /// Checks a node's acknowledgement of a write, and its outcome.
    pub(crate) fn acknowledged(&mut self, request: &RequestId, outcome: &Outcome, model: &Model) -> Checked {
        let name = format!("{}#{}", request.client, request.seq);
        let expected = model.outcomes_of(request);
        ensure!(NAME, !expected.is_empty(), "{name} is acknowledged with {outcome:?}, and not committed");
        if let Outcome::StaleRequest { .. } = outcome {
            // This copy was in flight for long: a newer request of its client has been applied, and the client no
            // longer waits for this one.
            let newest = model.newest_of(&request.client);
            let may_be = newest > request.seq || newest == request.seq && model.has_dropped(request);
            ensure!(NAME, may_be, "{name} is called stale, and the newest of its client is {newest}");
            return Ok(());
        }
        let agrees = expected.iter().any(|(_, expected)| expected.agrees(outcome));
        ensure!(NAME, agrees, "{name} is acknowledged with {outcome:?}, and came to {expected:?}");
        self.copies.entry(key_of(request)).or_default().acknowledged += 1;
        Ok(())
    }

    /// Checks a node's acknowledgement of a command without a request, which became this entry of its log, and its
    /// outcome. Keepalives are put together, and have no entry of their own.
    pub(crate) fn acknowledged_unnamed(
        operation: &Operation,
        index: Option<LogIndex>,
        outcome: &Outcome,
        model: &Model,
    ) -> Checked {
        if let (Operation::KeepAlive { leases }, Outcome::KeptAlive { ttls_ms }) = (operation, outcome) {
            let entry = model.keepalive_after(LogIndex(0), leases, ttls_ms);
            ensure!(NAME, entry.is_some(), "{leases:?} are kept alive with {ttls_ms:?} by no entry");
            return Ok(());
        }
        let found = index.and_then(|index| model.unnamed_at(index));
        let expected = found.filter(|(found, _)| found == operation).map(|(_, expected)| expected);
        ensure!(
            NAME,
            expected == Some(outcome),
            "{operation:?} is answered with {outcome:?}, and came to {expected:?}"
        );
        Ok(())
    }

    /// Returns whether more than one copy of a request was acknowledged.
    pub(crate) fn is_repeated(&self, request: &RequestId) -> bool {
        self.copies.get(&key_of(request)).is_some_and(|copies| copies.acknowledged > 1)
    }
}

impl Copies {
    fn check(self, request: &RequestId) -> Checked {
        let Self { possible, committed, .. } = self;
        let name = format_args!("{}#{}", request.client, request.seq);
        ensure!(NAME, committed <= possible, "{name} was committed {committed} times, {possible} copies can be");
        Ok(())
    }
}
