//! Whether what clients saw of a key-value store could have been seen of one that does one thing at a time.
//!
//! A history is linearizable if each operation can be given a moment between its call and its answer, such that
//! carried out in the order of these moments, one by one, the operations come to the very answers that were given
//! (Herlihy and Wing, "Linearizability: a correctness condition for concurrent objects", 1990). Keys do not affect each
//! other, and a history is linearizable if and only if the part of each key is (the same paper, locality). So each key
//! is judged by itself.
//!
//! For a key, [`search`] looks for such an order as Wing and Gong do ("Testing and verifying concurrent objects",
//! 1993): some operation that nothing precedes comes first, and the search goes on with the others, or steps back.
//! With Lowe ("Testing for linearizability", 2017) it enters no configuration twice, which is the set of operations
//! that were taken and the state they lead to; and it takes operations just in time, the earliest answer first.
//!
//! What keeps a history of thousands of operations from growing into more configurations than there is memory for:
//!
//! - Each value is written once. Who sees it, says whom its writer comes before; and a value that is gone never
//!   comes back, so nothing may end it before all who saw it were taken.
//! - A value is seen with its version, so its writer comes at one place in the life of the key, which no other may take.
//! - An operation that fits and changes nothing is taken at once: it is in nobody's way where it stands.
//! - Of operations that differ in nothing that anyone could see, the one that must be over first is taken first.
//! - An operation of unknown outcome whose effect was seen must have come before it was. Of the others, which may
//!   come at any time or never, only the number that was used counts; having used fewer is never worse.
//!
//! Nothing of this leaves out an order that could decide. So a history that has an explanation is accepted after little
//! more configurations than it has operations. To find that there is none can take many more, so there is a bound on
//! them, beyond which a history counts as a violation, which then says so.

#[path = "linearizability/key_history.rs"]
mod key_history;
#[path = "linearizability/search.rs"]
mod search;
#[path = "linearizability/taken.rs"]
mod taken;
#[path = "linearizability/violation.rs"]
mod violation;

use key_history::KeyHistory;
use search::Search;
use std::collections::BTreeMap;
pub(crate) use violation::Violation;

/// When something happened. Only the order means something, so the unit is the caller's.
///
/// Different events may share a moment: an operation that returns at the moment when another is invoked is
/// concurrent with it.
pub(crate) type Moment = u64;

/// A value that was written: unique to the request that wrote it.
pub(crate) type Value = u64;

/// One request to the store, however often it had to be sent: invoked when it was sent first, returned when it was
/// answered last. The store applies a request once, so it must show one effect.
///
/// A request that is known to have failed is no part of a history.
#[derive(Clone, Debug)]
pub(crate) struct Operation {
    pub(crate) key: u64,
    pub(crate) invoked: Moment,
    /// `None` if the outcome is unknown: it may take effect at any time from `invoked` on, or never.
    pub(crate) returned: Option<Moment>,
    pub(crate) call: Call,
    /// There if and only if it returned.
    pub(crate) answer: Option<Answer>,
}

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Get,
    Set { value: Value, condition: Option<Condition> },
    Delete { condition: Option<Condition> },
}

/// What must hold of the key for a write to be carried out, decided in the same moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    Absent,
    Present,
    /// The key holds this value. A condition on a revision says the same of the value that was written with it.
    Value(Value),
}

/// What came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Of a read: what was there.
    Found(Option<Seen>),
    /// The write was carried out; whether the key was there before. A delete without a condition of a key that is not
    /// there is carried out as well, and changes nothing.
    Written { existed: bool },
    /// The condition did not hold, and nothing was changed.
    ConditionFailed {
        /// What was there at that moment, if the answer is known to be of that moment: the answer to a repeated
        /// request shows what is there by then.
        current: Option<Option<Seen>>,
    },
}

/// A value, and the number of writes since the key was created, 1 at its creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) value: Value,
    pub(crate) version: u64,
}

/// Checks that each key's part of a history is linearizable, from keys that are absent at first.
///
/// # Errors
/// The first key of which no order fits, with the place from which on none does.
///
/// # Panics
/// If the history is none: a value that two requests wrote, an answer without a return or to another question.
pub(crate) fn check(history: &[Operation]) -> Result<(), Violation> {
    let mut keys: BTreeMap<u64, Vec<&Operation>> = BTreeMap::new();
    for operation in history {
        check_form(operation);
        keys.entry(operation.key).or_default().push(operation);
    }
    for (key, operations) in keys {
        let history = KeyHistory::new(&operations);
        Search::new(&history).run().map_err(|dead_end| Violation::new(key, &operations, &history, dead_end))?;
    }
    Ok(())
}

fn check_form(operation: &Operation) {
    let fits = match (operation.call, operation.answer) {
        (_, None) => operation.returned.is_none(),
        (Call::Get, Some(answer)) => matches!(answer, Answer::Found(_)),
        (Call::Set { condition, .. } | Call::Delete { condition }, Some(answer)) => match answer {
            Answer::Found(_) => false,
            Answer::Written { .. } => true,
            Answer::ConditionFailed { .. } => condition.is_some(),
        },
    };
    let returned =
        operation.returned.is_none_or(|returned| returned >= operation.invoked && operation.answer.is_some());
    assert!(fits && returned, "not an operation: {operation:?}");
}
