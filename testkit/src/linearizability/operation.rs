//! The vocabulary of a history: requests, their times, and their answers.

/// Time of an event. Only the order matters, so the unit is the caller's.
///
/// Different events may share a moment: an operation that returns at the moment when another is invoked is
/// concurrent with it.
pub type Moment = u64;

/// A value that was written: unique to the request that wrote it.
pub type Value = u64;

/// One request to the store, however often it had to be sent: invoked when it was first sent, returned when its last
/// answer arrived. The store applies a request once, so it must show one effect.
///
/// A request that is known to have failed is not part of a history.
#[derive(Clone, Debug)]
pub struct Operation {
    /// The key of the request.
    pub key: u64,
    /// Time at which the client sent it.
    pub invoked: Moment,
    /// `None` if the outcome is unknown: it may take effect at any time from `invoked` on, or never.
    pub returned: Option<Moment>,
    /// The operation that it requested.
    pub call: Call,
    /// `Some` if and only if it returned.
    pub answer: Option<Answer>,
}

/// Operation of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Reads the key.
    Get,
    /// Writes a value.
    Set {
        /// The value.
        value: Value,
        /// Its condition, if any.
        condition: Option<Condition>,
    },
    /// Deletes the key.
    Delete {
        /// Its condition, if any.
        condition: Option<Condition>,
    },
}

/// Condition of a write on the key, evaluated in the same moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// The key is not there.
    Absent,
    /// The key is there.
    Present,
    /// The key holds this value. A condition on a revision is equivalent to one on the value written with it.
    Value(Value),
}

/// Answer to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Answer to a read: the value that was there.
    Found(Option<Seen>),
    /// The write was carried out. An unconditional delete of an absent key is carried out as well, and changes nothing.
    Written {
        /// True if the key was there before.
        existed: bool,
    },
    /// The condition did not hold, and nothing was changed.
    ConditionFailed {
        /// The value at that moment, if the answer is known to be of that moment: the answer to a repeated request
        /// shows the value at a later time.
        current: Option<Option<Seen>>,
    },
}

/// Value of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The value.
    pub value: Value,
    /// Number of writes since the key was created: 1 at its creation.
    pub version: u64,
}

impl Operation {
    /// Checks that its parts are consistent.
    ///
    /// # Panics
    /// If the answer has no return, or is to another question.
    pub(super) fn check_form(&self) {
        let fits = match (self.call, self.answer) {
            (_, None) => self.returned.is_none(),
            (Call::Get, Some(answer)) => matches!(answer, Answer::Found(_)),
            (Call::Set { condition, .. } | Call::Delete { condition }, Some(answer)) => match answer {
                Answer::Found(_) => false,
                Answer::Written { .. } => true,
                Answer::ConditionFailed { .. } => condition.is_some(),
            },
        };
        let returned = self.returned.is_none_or(|returned| returned >= self.invoked && self.answer.is_some());
        assert!(fits && returned, "not an operation: {self:?}");
    }
}
