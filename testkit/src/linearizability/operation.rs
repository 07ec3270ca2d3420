//! The words of a history: who asked for what, when, and what came back.

/// When something happened. Only the order means something, so the unit is the caller's.
///
/// Different events may share a moment: an operation that returns at the moment when another is invoked is
/// concurrent with it.
pub type Moment = u64;

/// A value that was written: unique to the request that wrote it.
pub type Value = u64;

/// One request to the store, however often it had to be sent: invoked when it was sent first, returned when it was
/// answered last. The store applies a request once, so it must show one effect.
///
/// A request that is known to have failed is no part of a history.
#[derive(Clone, Debug)]
pub struct Operation {
    /// The one key that it is about.
    pub key: u64,
    /// When the client asked.
    pub invoked: Moment,
    /// `None` if the outcome is unknown: it may take effect at any time from `invoked` on, or never.
    pub returned: Option<Moment>,
    /// What it asked for.
    pub call: Call,
    /// There if and only if it returned.
    pub answer: Option<Answer>,
}

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// To read the key.
    Get,
    /// To write a value.
    Set {
        /// The value.
        value: Value,
        /// On what condition, if any.
        condition: Option<Condition>,
    },
    /// To delete the key.
    Delete {
        /// On what condition, if any.
        condition: Option<Condition>,
    },
}

/// What must hold of the key for a write to be carried out, decided in the same moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// The key is not there.
    Absent,
    /// The key is there.
    Present,
    /// The key holds this value. A condition on a revision says the same of the value that was written with it.
    Value(Value),
}

/// What came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Of a read: what was there.
    Found(Option<Seen>),
    /// The write was carried out. A delete without a condition of a key that is not there is carried out as well, and
    /// changes nothing.
    Written {
        /// Whether the key was there before.
        existed: bool,
    },
    /// The condition did not hold, and nothing was changed.
    ConditionFailed {
        /// What was there at that moment, if the answer is known to be of that moment: the answer to a repeated
        /// request shows what is there by then.
        current: Option<Option<Seen>>,
    },
}

/// What a key holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The value.
    pub value: Value,
    /// Number of writes since the key was created: 1 at its creation.
    pub version: u64,
}

impl Operation {
    /// Checks that its parts fit each other.
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
