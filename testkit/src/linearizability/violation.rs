//! Report on a history that has no explanation: the place from which on no order fits.

use super::key_history::{Item, KeyHistory, State};
use super::operation::{Answer, Call, Condition, Operation, Seen};
use super::search::{DeadEnd, Obstacle};
use std::fmt::{self, Display, Formatter};

/// Operations of the longest order that are shown, counted from its end.
const ORDER_SHOWN_MAX: usize = 12;

/// A key whose part of the history no order explains. Its text is an excerpt around the place where none fits.
#[derive(Debug)]
pub struct Violation {
    text: String,
}

impl Violation {
    /// Returns the violation of a key whose `operations` were prepared as `history`.
    pub(super) fn new(key: u64, operations: &[&Operation], history: &KeyHistory, dead_end: DeadEnd) -> Self {
        let DeadEnd { order, states, blocked, taken, gave_up } = dead_end;
        let mut lines = vec![
            match gave_up {
                false => format!("key {key}: no order of its operations explains what they answered"),
                true => format!("key {key}: no order of its operations was found that explains what they answered"),
            },
            format!(
                "the longest explains {taken} of the {} whose effect or answer was seen, and ends with",
                history.required.len()
            ),
        ];
        let hidden = order.len().saturating_sub(ORDER_SHOWN_MAX);
        if hidden > 0 {
            lines.push(format!("  ({hidden} before)"));
        }
        for (source, state) in &order[hidden..] {
            lines.push(format!("  {}; then {}", Line(operations[*source]), Holds(*state)));
        }
        let states: Vec<String> = states.iter().map(|state| Holds(*state).to_string()).collect();
        lines.push(format!("where the key holds {}, and one of these would come next", states.join(", or ")));
        for (source, obstacle) in blocked {
            let seer = |number: usize| Line(operations[history.required[number].source]);
            let why = match obstacle {
                Obstacle::Answer => "would answer otherwise".to_owned(),
                Obstacle::EndsValueSeenBy(number) => format!("would end what was seen by {}", seer(number)),
                Obstacle::VersionSeenBy(number) => {
                    format!("would write another version than was seen by {}", seer(number))
                }
                Obstacle::TakesVersionOf(number) => format!("would take the version of {}", seer(number)),
            };
            lines.push(format!("  {}; {why}", Line(operations[source])));
        }
        Self { text: lines.join("\n") }
    }
}

impl Display for Violation {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Violation {}

/// An operation in a line: `[10 15] set 7 if absent: written, key was not there`.
struct Line<'a>(&'a Operation);

impl Display for Line<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Operation { invoked, returned, call, answer, .. } = self.0;
        match returned {
            Some(returned) => write!(f, "[{invoked} {returned}] ")?,
            None => write!(f, "[{invoked} ?] ")?,
        }
        let condition = match call {
            Call::Get => {
                f.write_str("get")?;
                None
            }
            Call::Set { value, condition } => {
                write!(f, "set {value}")?;
                *condition
            }
            Call::Delete { condition } => {
                f.write_str("delete")?;
                *condition
            }
        };
        match condition {
            None => {}
            Some(Condition::Absent) => f.write_str(" if absent")?,
            Some(Condition::Present) => f.write_str(" if present")?,
            Some(Condition::Value(value)) => write!(f, " if {value}")?,
        }
        match answer {
            None => Ok(()),
            Some(Answer::Found(seen)) => write!(f, ": {}", Found(*seen)),
            Some(Answer::Written { existed: true }) => f.write_str(": done, key was there"),
            Some(Answer::Written { existed: false }) => f.write_str(": done, key was not there"),
            Some(Answer::ConditionFailed { current: None }) => f.write_str(": condition failed"),
            Some(Answer::ConditionFailed { current: Some(seen) }) => write!(f, ": condition failed, {}", Found(*seen)),
        }
    }
}

/// A client's view of the key.
struct Found(Option<Seen>);

impl Display for Found {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(Seen { value, version }) => write!(f, "{value} (version {version})"),
            None => f.write_str("nothing"),
        }
    }
}

/// Contents of the key.
struct Holds(State);

impl Display for Holds {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(Item { value: Some(value), version }) => Found(Some(Seen { value, version })).fmt(f),
            Some(Item { value: None, version }) => write!(f, "a value nobody saw (version {version})"),
            None => Found(None).fmt(f),
        }
    }
}
