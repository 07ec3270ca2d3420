//! The definition of linearizability, tried word for word: every order of a history. For a handful of operations.

use testkit::linearizability::{Answer, Call, Condition, Operation, Seen};

/// Returns true if some order of the operations of one key explains all answers.
pub(crate) fn is_linearizable(history: &[Operation]) -> bool {
    let mut left: Vec<&Operation> = history.iter().collect();
    some_order_fits(&mut left, None)
}

fn some_order_fits(left: &mut Vec<&Operation>, current: Option<Seen>) -> bool {
    if left.iter().all(|operation| operation.returned.is_none()) {
        return true;
    }
    (0..left.len()).any(|number| {
        let operation = left.remove(number);
        let was_over = |other: &&Operation| other.returned.is_some_and(|returned| returned < operation.invoked);
        let fits = !left.iter().any(was_over) && {
            let (answer, after) = carry_out(operation.call, current);
            operation.answer.is_none_or(|given| is_same(given, answer)) && some_order_fits(left, after)
        };
        left.insert(number, operation);
        fits
    })
}

fn is_same(given: Answer, correct: Answer) -> bool {
    match (given, correct) {
        (Answer::ConditionFailed { current: None }, Answer::ConditionFailed { .. }) => true,
        _ => given == correct,
    }
}

fn carry_out(call: Call, current: Option<Seen>) -> (Answer, Option<Seen>) {
    let (condition, after) = match call {
        Call::Get => return (Answer::Found(current), current),
        Call::Set { value, condition } => {
            let version = current.map_or(0, |seen| seen.version) + 1;
            (condition, Some(Seen { value, version }))
        }
        Call::Delete { condition } => (condition, None),
    };
    let holds = match condition {
        None => true,
        Some(Condition::Absent) => current.is_none(),
        Some(Condition::Present) => current.is_some(),
        Some(Condition::Value(value)) => current.is_some_and(|seen| seen.value == value),
    };
    if holds {
        (Answer::Written { existed: current.is_some() }, after)
    } else {
        (Answer::ConditionFailed { current: Some(current) }, current)
    }
}
