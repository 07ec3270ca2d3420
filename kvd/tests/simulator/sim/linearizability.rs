//! Check whether clients could have seen the same of a store that does one operation at a time: over all keys, ranges,
//! leases and locks together.
//!
//! A history is linearizable if each operation can be given a moment between its call and its answer, such that the
//! operations, carried out one by one in the order of these moments, give exactly the answers that were given (Herlihy
//! and Wing, "Linearizability: a correctness condition for concurrent objects", 1990). To search for such an order is
//! hard, and feasible only key by key. Here nothing has to be searched, because the answers name a witness: the
//! committed log is one order of all writes, and the revision in each answer tells its place in that order.
//!
//! - **Content.** The [`Model`] carries out the committed commands one by one. An acknowledged write must have been
//!   answered with the outcome that it has at its place: the entry of its request, which the model applies once, however
//!   many copies are in the log; or, for a command without a request (a keepalive, a step of a lock), the entry that the
//!   node made of it. A read must have been answered with what the model shows at the revision of the answer.
//! - **Order.** A write has one place. A read may be anywhere between the entry that led to its revision and the next
//!   that changes what it read, and a keepalive at each of the entries that carry it. The places of two operations must
//!   be in the order of time if one had its answer before the other was called. All such demands are lower bounds (a
//!   later operation comes after an earlier one), so it is enough to give each operation, in the order of their calls,
//!   the first of its possible places that is behind all operations answered before its call; if that one is not
//!   possible, no choice for the earlier ones makes another one possible.
//! - **Unknown outcomes.** A write without an answer took effect if and only if its entry is committed in the end. Its
//!   place must be behind all that was answered before its call. No other operation has an effect: every committed entry
//!   of a client is a request that was sent, and not one that was refused ([`super::invariants::Answers`]).
//!
//! If this check succeeds, the places are such moments, so the history is linearizable. If it fails, the log shows
//! another order or other effects than clients have seen. For a store that has no other order than its log, that is a
//! defect even if clients could explain it in another way.

use super::invariants::{Checked, ensure};
use super::model::{Expected, Model};
use super::queries::{Answered, Query};
use kvd::kv::{LeaseId, Outcome, RequestId};
use kvd::raft::LogIndex;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

const NAME: &str = "Linearizability";

/// Number of an event.
pub(crate) type Moment = u64;

/// One operation as its client has seen it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) invoked: Moment,
    /// `None` if the outcome is unknown.
    pub(crate) returned: Option<Moment>,
    pub(crate) what: Saw,
}

/// An operation, and its answer if it is known.
#[derive(Clone, Debug)]
pub(crate) enum Saw {
    /// A write under its request id, and how often it was sent.
    Write {
        request: RequestId,
        outcome: Option<Outcome>,
        sent: u32,
    },
    /// A command without a request id, in this entry.
    Unnamed {
        index: LogIndex,
        outcome: Outcome,
    },
    /// Leases are kept alive for these times.
    KeepAlive {
        leases: Vec<LeaseId>,
        ttls_ms: Vec<Option<u64>>,
    },
    Read(Answered),
}

/// The places that an operation can have.
struct Places {
    first: LogIndex,
    /// `None` if there is no bound.
    last: Option<LogIndex>,
}

/// Checks a history against the committed log.
pub(crate) fn check(mut history: Vec<Seen>, model: &Model) -> Checked {
    history.sort_by_key(|seen| seen.invoked);
    // The operations that have begun, by the moment of their answer, with their places.
    let mut answered: BinaryHeap<Reverse<(Moment, LogIndex)>> = BinaryHeap::new();
    let mut floor = LogIndex(0);
    for seen in &history {
        while let Some(Reverse((returned, place))) = answered.peek().copied()
            && returned < seen.invoked
        {
            floor = floor.max(place);
            answered.pop();
        }
        let Some(place) = place_of(seen, floor, model)? else { continue };
        if let Some(returned) = seen.returned {
            answered.push(Reverse((returned, place)));
        }
    }
    Ok(())
}

/// Returns the first place of an operation behind `floor`; `None` if it may be anywhere or never took effect.
fn place_of(seen: &Seen, floor: LogIndex, model: &Model) -> Result<Option<LogIndex>, super::invariants::Violation> {
    let place = match &seen.what {
        Saw::Write { request, outcome, sent } => {
            let name = format!("{}#{}", request.client, request.seq);
            let applied = model.outcomes_of(request).iter().filter_map(|(index, expected)| match expected {
                Expected::Applied(outcome) => Some((*index, outcome)),
                Expected::Stale | Expected::SessionsFull => None,
            });
            let applied: Vec<_> = applied.collect();
            let [(index, expected)] = applied[..] else {
                ensure!(
                    NAME,
                    outcome.is_none() || !applied.is_empty(),
                    "{name} has {outcome:?}, and was never applied"
                );
                ensure!(
                    NAME,
                    applied.len() < 2 || model.applied_again() > 0,
                    "{name} was applied {} times",
                    applied.len()
                );
                // A repeat that came after its session was forgotten: which of its outcomes is meant is not known.
                return Ok(None);
            };
            // The answer to a repeat may show a later item.
            let is_shown = match outcome {
                Some(outcome) if *sent == 1 => outcome == expected,
                Some(outcome) => Expected::Applied(expected.clone()).agrees(outcome),
                None => true,
            };
            ensure!(NAME, is_shown, "{name} is answered with {outcome:?}, and came to {expected:?}");
            ensure!(NAME, index > floor, "{name} is entry {index}, and what stands at {floor} was answered before");
            index
        }
        Saw::Unnamed { index, outcome } => {
            let expected = model.unnamed_at(*index).map(|(_, expected)| expected);
            ensure!(NAME, expected == Some(outcome), "entry {index} is answered with {outcome:?}, not {expected:?}");
            ensure!(NAME, *index > floor, "entry {index} is behind {floor}, which was answered before");
            *index
        }
        Saw::KeepAlive { leases, ttls_ms } => {
            let place = model.keepalive_after(floor, leases, ttls_ms);
            let Some(place) = place else {
                ensure!(NAME, false, "no entry behind {floor} keeps {leases:?} alive with {ttls_ms:?}");
                return Ok(None);
            };
            place
        }
        Saw::Read(answered) => {
            let Answered { query, answer, revision, applied, .. } = answered;
            let expected = model.answer(answered);
            ensure!(NAME, *answer == expected, "{query:?} at {revision} shows {answer:?}, where {expected:?} stood");
            let Places { first, last } = places_of(query, *revision, *applied, model);
            ensure!(
                NAME,
                last.is_none_or(|last| last >= floor),
                "{query:?} shows what stood before {last:?}, and what stands at {floor} was answered before"
            );
            first.max(floor)
        }
    };
    Ok(Some(place))
}

/// Returns the places at which a read shows what it shows at a revision.
fn places_of(query: &Query, revision: u64, applied: LogIndex, model: &Model) -> Places {
    let (mut first, mut last) = model.entries_at(revision);
    if let Query::Lease(id) = query {
        // Its time may begin anew without a revision.
        let (since, until) = model.lease_lasts(*id, applied);
        first = first.max(since);
        last = last.into_iter().chain(until).min();
    }
    Places { first, last }
}

#[cfg(test)]
mod tests {
    use super::super::queries::Answer;
    use super::*;
    use kvd::kv::{Command, Item, Operation, Put, SessionLimits};

    /// The operations of a history, and the log that they led to.
    struct Run {
        model: Model,
        history: Vec<Seen>,
    }

    fn set(seq: u64, key: &str) -> Command {
        let request = Some(RequestId { client: "c".into(), seq });
        let put = Put::new(key.to_owned(), format!("v{seq}"));
        Command { operation: Operation::Set { put, condition: None }, request }
    }

    impl Run {
        /// A log in which `k1` and then `k2` is written, in entries 2 and 3, at revisions 2 and 3.
        fn of_two_writes() -> Self {
            let mut model = Model::new(SessionLimits::default());
            for command in [set(1, "k1"), set(2, "k2")] {
                let _ = model.apply(0, Some(&command));
            }
            Self { model, history: Vec::new() }
        }

        /// Adds the write with this number, called and answered then.
        fn write(mut self, seq: u64, invoked: Moment, returned: Option<Moment>) -> Self {
            let request = set(seq, "k").request.expect("a named write");
            let outcome = match self.model.outcomes_of(&request) {
                [(_, Expected::Applied(outcome))] => returned.map(|_| outcome.clone()),
                _ => None,
            };
            self.history.push(Seen { invoked, returned, what: Saw::Write { request, outcome, sent: 1 } });
            self
        }

        /// Adds a read of a key as it was at a revision, called and answered then.
        fn read(mut self, key: &str, revision: u64, invoked: Moment, returned: Moment) -> Self {
            let (query, applied) = (Query::of_key(key.to_owned().into()), LogIndex(0));
            let item = self.model.item_at(key.as_bytes(), revision).cloned();
            let answered = Answered { query, answer: Answer::Item(item), revision, applied, oldest: 2 };
            self.history.push(Seen { invoked, returned: Some(returned), what: Saw::Read(answered) });
            self
        }

        fn holds(self) -> bool {
            check(self.history, &self.model).is_ok()
        }
    }

    #[test]
    fn operations_that_overlap_may_have_any_order() {
        let run = Run::of_two_writes().write(1, 10, Some(50)).write(2, 10, Some(50));
        assert!(run.read("k1", 1, 20, 60).read("k1", 2, 20, 30).read("k2", 3, 31, 40).holds());
    }

    #[test]
    fn nothing_comes_before_what_was_answered_before_its_call() {
        let run = || Run::of_two_writes().write(1, 10, Some(20));
        assert!(run().read("k1", 2, 21, 30).holds());
        assert!(!run().read("k1", 1, 21, 30).holds(), "a read of what stood before an acknowledged write");
        assert!(!run().write(2, 1, Some(5)).holds(), "a write behind one that was called after its answer");
        let run = Run::of_two_writes().read("k1", 3, 10, 20);
        assert!(!run.read("k1", 2, 21, 30).holds(), "a read that goes back");
    }

    #[test]
    fn keys_are_judged_together() {
        // Each key by itself has an order: the reader of k2 came before its writer.
        let run = || Run::of_two_writes().write(1, 10, Some(100)).write(2, 10, Some(100));
        assert!(run().read("k2", 2, 20, 30).read("k2", 3, 40, 50).holds());
        assert!(!run().read("k2", 3, 20, 30).read("k1", 1, 40, 50).holds(), "k1 was written before k2");
    }

    #[test]
    fn an_unknown_write_took_effect_where_the_log_has_it_or_never() {
        let run = || Run::of_two_writes().write(1, 10, Some(20));
        assert!(run().write(2, 21, None).read("k2", 3, 25, 30).holds());
        assert!(run().write(7, 21, None).holds(), "it never came to the log");
        let late = Run::of_two_writes().write(2, 10, Some(20)).write(1, 21, None);
        assert!(!late.holds(), "it was in the log before it was called");
    }

    #[test]
    fn answers_are_those_of_the_log() {
        let mut wrong = Run::of_two_writes().read("k1", 3, 10, 20);
        if let Some(Seen { what: Saw::Read(answered), .. }) = wrong.history.last_mut() {
            let item = Item { value: "other".into(), create_revision: 2, mod_revision: 2, version: 1, lease: None };
            answered.answer = Answer::Item(Some(item));
        }
        assert!(!wrong.holds());
        let mut lost = Run::of_two_writes().write(1, 10, Some(20));
        if let Some(Seen { what: Saw::Write { request, .. }, .. }) = lost.history.last_mut() {
            request.seq = 7;
        }
        assert!(!lost.holds(), "an acknowledged write is not in the log");
    }
}
