//! One key's part of a history, prepared for the search: operations that must be explained, operations that may help to
//! explain them, and the constraints between them.

use super::operation::{Answer, Call, Condition, Moment, Operation, Seen, Value};
use std::collections::{BTreeMap, BTreeSet};

/// State of a key; `None` while it is absent.
pub(super) type State = Option<Item>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Item {
    /// `None` for any value that no answer and no condition names: such values cannot be distinguished.
    pub(super) value: Option<Value>,
    /// Writes since the key was created.
    pub(super) version: u64,
}

impl Item {
    fn is(self, seen: Seen) -> bool {
        self.value == Some(seen.value) && self.version == seen.version
    }
}

/// An operation as far as it can be distinguished from others. Two operations of the same shape are interchangeable
/// except for their times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    action: Action,
    answer: Option<Answer>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Get,
    Set { value: Option<Value>, condition: Option<Condition> },
    Delete { condition: Option<Condition> },
}

impl Shape {
    /// The sequential specification: returns the state after the operation is carried out in this state, or `None` if
    /// its answer would differ. An operation without an answer is taken to have an effect.
    pub(super) fn step(self, state: State) -> Option<State> {
        let shows = |seen: Option<Seen>| match (state, seen) {
            (Some(item), Some(seen)) => item.is(seen),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        let written = match self.action {
            Action::Set { value, .. } => Some(Item { value, version: state.map_or(1, |item| item.version + 1) }),
            Action::Get | Action::Delete { .. } => None,
        };
        let holds = self.condition().is_none_or(|condition| match condition {
            Condition::Absent => state.is_none(),
            Condition::Present => state.is_some(),
            Condition::Value(value) => state.is_some_and(|item| item.value == Some(value)),
        });
        match self.answer {
            Some(Answer::Found(seen)) => shows(seen).then_some(state),
            Some(Answer::Written { existed }) => (holds && existed == state.is_some()).then_some(written),
            Some(Answer::ConditionFailed { current }) => (!holds && current.is_none_or(shows)).then_some(state),
            None => holds.then_some(written),
        }
    }

    fn condition(self) -> Option<Condition> {
        match self.action {
            Action::Get => None,
            Action::Set { condition, .. } | Action::Delete { condition } => condition,
        }
    }

    /// Returns the value that it writes, if that can be distinguished from others.
    fn writes(self) -> Option<Value> {
        match self.action {
            Action::Set { value, .. } => value,
            Action::Get | Action::Delete { .. } => None,
        }
    }

    /// Rank of how often its condition can hold: least if it names a value, most if there is no condition.
    pub(super) fn reach(self) -> u8 {
        match self.condition() {
            Some(Condition::Value(_)) => 0,
            Some(Condition::Absent | Condition::Present) => 1,
            None => 2,
        }
    }

    /// Returns the same shape without its condition.
    fn unconditional(self) -> Self {
        let action = match self.action {
            Action::Get => Action::Get,
            Action::Set { value, .. } => Action::Set { value, condition: None },
            Action::Delete { .. } => Action::Delete { condition: None },
        };
        Self { action, ..self }
    }

    /// Returns whether it may delete the key.
    pub(super) fn deletes(self) -> bool {
        matches!(self.action, Action::Delete { .. }) && !matches!(self.answer, Some(Answer::ConditionFailed { .. }))
    }

    /// Returns the value that must be there for the operation to take effect, if its condition names one.
    pub(super) fn depends_on(self) -> Option<Value> {
        match self.condition() {
            Some(Condition::Value(value)) => Some(value),
            Some(Condition::Absent | Condition::Present) | None => None,
        }
    }

    /// Returns the value that the operation saw, with its version if it saw that as well. An operation that saw
    /// nothing, or only that a value was not there, saw no value.
    fn saw(self) -> Option<(Value, Option<u64>)> {
        match self.answer {
            Some(Answer::Found(seen)) => seen.map(|seen| (seen.value, Some(seen.version))),
            Some(Answer::ConditionFailed { current }) => current.flatten().map(|seen| (seen.value, Some(seen.version))),
            Some(Answer::Written { .. }) | None => self.depends_on().map(|value| (value, None)),
        }
    }
}

/// An operation that every order must contain: it was answered, or its effect was seen.
#[derive(Debug)]
pub(super) struct Required {
    pub(super) invoked: Moment,
    /// Time of its answer, or of the first answer that shows its effect.
    pub(super) returned: Moment,
    pub(super) shape: Shape,
    /// The version that it writes, if an answer shows it, with the required operation that got the answer.
    pub(super) version: Option<(u64, usize)>,
    /// Its number in the history of the key.
    pub(super) source: usize,
}

/// Operations of unknown outcome, all of one shape, each of which an order may contain or not.
#[derive(Debug)]
pub(super) struct Optional {
    pub(super) shape: Shape,
    /// Time at which each was invoked, and its number in the history of the key; the earliest first.
    pub(super) calls: Vec<(Moment, usize)>,
    /// Operations with the same effect and without a condition.
    pub(super) substitute: Option<usize>,
}

impl Optional {
    /// Returns whether, after this many were used, there is another that was invoked by then.
    pub(super) fn is_called(&self, used: usize, by: Moment) -> bool {
        self.calls.get(used).is_some_and(|(invoked, _)| *invoked <= by)
    }
}

/// The history of one key.
#[derive(Debug)]
pub(super) struct KeyHistory {
    /// In the order in which they were invoked.
    pub(super) required: Vec<Required>,
    pub(super) optional: Vec<Optional>,
    /// For each value, the required operations that saw it, in the order in which they were invoked.
    seen_by: BTreeMap<Value, Vec<usize>>,
}

impl KeyHistory {
    pub(super) fn new(operations: &[&Operation]) -> Self {
        let named = named_values(operations);
        let shapes: Vec<Shape> = operations.iter().map(|operation| shape_of(operation, &named)).collect();
        let deadlines = deadlines(operations, &shapes);

        let mut required = Vec::new();
        let mut optional: Vec<Optional> = Vec::new();
        for (source, (operation, shape)) in operations.iter().zip(&shapes).enumerate() {
            let (invoked, shape) = (operation.invoked, *shape);
            if let Some(returned) = deadlines[source] {
                // A value seen before its write was invoked fits nowhere; the search finds out.
                required.push(Required { invoked, returned: returned.max(invoked), shape, version: None, source });
            } else if shape.action != Action::Get {
                match optional.iter_mut().find(|other| other.shape == shape) {
                    Some(same) => same.calls.push((invoked, source)),
                    None => optional.push(Optional { shape, calls: vec![(invoked, source)], substitute: None }),
                }
            }
        }
        required.sort_by_key(|required| (required.invoked, required.returned));
        let shapes: Vec<Shape> = optional.iter().map(|optional| optional.shape).collect();
        for optional in &mut optional {
            optional.calls.sort_unstable();
            let unconditional = optional.shape.unconditional();
            let substitute = shapes.iter().position(|shape| *shape == unconditional);
            optional.substitute = substitute.filter(|_| optional.shape != unconditional);
        }

        let mut seen_by: BTreeMap<Value, Vec<usize>> = BTreeMap::new();
        for (number, required) in required.iter().enumerate() {
            if let Some((value, _)) = required.shape.saw() {
                seen_by.entry(value).or_default().push(number);
            }
        }
        tell_versions(&mut required);
        Self { required, optional, seen_by }
    }

    /// Returns the required operations that saw this value.
    pub(super) fn seen_by(&self, value: Value) -> &[usize] {
        self.seen_by.get(&value).map_or(&[], Vec::as_slice)
    }
}

/// Returns the values that an answer or a condition names.
fn named_values(operations: &[&Operation]) -> BTreeSet<Value> {
    let in_condition = |operation: &&Operation| match operation.call {
        Call::Get => None,
        Call::Set { condition, .. } | Call::Delete { condition } => match condition {
            Some(Condition::Value(value)) => Some(value),
            Some(Condition::Absent | Condition::Present) | None => None,
        },
    };
    let in_answer = |operation: &&Operation| match operation.answer {
        Some(Answer::Found(seen)) => seen.map(|seen| seen.value),
        Some(Answer::ConditionFailed { current }) => current.flatten().map(|seen| seen.value),
        Some(Answer::Written { .. }) | None => None,
    };
    operations.iter().filter_map(in_condition).chain(operations.iter().filter_map(in_answer)).collect()
}

fn shape_of(operation: &Operation, named: &BTreeSet<Value>) -> Shape {
    let action = match operation.call {
        Call::Get => Action::Get,
        Call::Set { value, condition } => Action::Set { value: named.contains(&value).then_some(value), condition },
        Call::Delete { condition } => Action::Delete { condition },
    };
    Shape { action, answer: operation.answer }
}

/// Returns, for each operation, the time by which it must have taken effect: when it was answered, or when an operation
/// that saw its value was answered. `None` if it need not have taken effect.
fn deadlines(operations: &[&Operation], shapes: &[Shape]) -> Vec<Option<Moment>> {
    let mut writers = BTreeMap::new();
    for (number, operation) in operations.iter().enumerate() {
        if let Call::Set { value, .. } = operation.call {
            let other = writers.insert(value, number);
            assert!(other.is_none(), "value {value} of key {} was written by two requests", operation.key);
        }
    }
    let mut deadlines: Vec<Option<Moment>> = operations.iter().map(|operation| operation.returned).collect();
    let mut answered: Vec<usize> = (0..operations.len()).filter(|number| deadlines[*number].is_some()).collect();
    while let Some(number) = answered.pop() {
        let Some(writer) = shapes[number].saw().and_then(|(value, _)| writers.get(&value).copied()) else { continue };
        let known_since = deadlines[number];
        let earlier = deadlines[writer].is_none_or(|deadline| known_since.is_some_and(|since| since < deadline));
        if operations[writer].returned.is_none() && earlier {
            deadlines[writer] = known_since;
            answered.push(writer);
        }
    }
    deadlines
}

/// Notes for each write the version of it that an operation saw. A write on condition of a value has the version after
/// that of the value, so a known version of either gives that of the other.
fn tell_versions(required: &mut [Required]) {
    let writers: BTreeMap<Value, usize> =
        required.iter().enumerate().filter_map(|(number, write)| Some((write.shape.writes()?, number))).collect();
    let mut told = Vec::new();
    let mut after: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    let mut before: BTreeMap<usize, usize> = BTreeMap::new();
    for (number, Required { shape, .. }) in required.iter().enumerate() {
        let Some((value, version)) = shape.saw() else { continue };
        let Some(writer) = writers.get(&value).copied() else { continue };
        match version {
            Some(version) => told.push((writer, version, number)),
            None => {
                after.entry(writer).or_default().push(number);
                before.insert(number, writer);
            }
        }
    }
    while let Some((number, version, teller)) = told.pop() {
        if required[number].version.is_some() {
            // If its version is known to be another as well, nothing will fit; the search finds out.
            continue;
        }
        required[number].version = Some((version, teller));
        told.extend(after.get(&number).into_iter().flatten().map(|next| (*next, version.saturating_add(1), teller)));
        told.extend(before.get(&number).map(|previous| (*previous, version.saturating_sub(1), teller)));
    }
}
