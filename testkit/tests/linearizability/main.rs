//! The checker of histories, checked: by histories made by hand, by those of a correct store, which it must accept, and
//! by what random changes make of them, of which it must say what trying every order says.

mod naive;
mod random_history;

use naive::is_linearizable;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use random_history::{Kind, chance, random_history};
use std::time::Instant;
use testkit::linearizability::{Answer, Call, Condition, Moment, Operation, Seen, Value, check};

// --- Made by hand --------------------------------------------------------------------------------------------------

/// `invoked..returned`.
type Times = std::ops::Range<Moment>;

const NEW: Answer = Answer::Written { existed: false };
const OVER: Answer = Answer::Written { existed: true };
const FAILED: Answer = Answer::ConditionFailed { current: None };
const NOTHING: Answer = Answer::Found(None);

fn answered(Times { start, end }: Times, call: Call, answer: Answer) -> Operation {
    Operation { key: 1, invoked: start, returned: Some(end), call, answer: Some(answer) }
}

fn unknown(invoked: Moment, call: Call) -> Operation {
    Operation { key: 1, invoked, returned: None, call, answer: None }
}

fn get(times: Times, answer: Answer) -> Operation {
    answered(times, Call::Get, answer)
}

fn found(value: Value, version: u64) -> Answer {
    Answer::Found(Some(Seen { value, version }))
}

fn set(value: Value) -> Call {
    Call::Set { value, condition: None }
}

fn set_if(value: Value, condition: Condition) -> Call {
    Call::Set { value, condition: Some(condition) }
}

const DELETE: Call = Call::Delete { condition: None };

fn delete_if(condition: Condition) -> Call {
    Call::Delete { condition: Some(condition) }
}

fn failed_at(seen: Option<Seen>) -> Answer {
    Answer::ConditionFailed { current: Some(seen) }
}

#[test]
fn histories_made_by_hand_are_judged_right() {
    use Condition::{Absent, Present, Value};
    let one = Some(Seen { value: 1, version: 1 });
    let cases: Vec<(&str, bool, Vec<Operation>)> = vec![
        ("nothing happened", true, vec![]),
        ("a read of nothing", true, vec![get(0..1, NOTHING)]),
        ("a write and a read", true, vec![answered(0..1, set(1), NEW), get(2..3, found(1, 1))]),
        ("a phantom value", false, vec![answered(0..1, set(1), NEW), get(2..3, found(9, 1))]),
        ("a value read before it is written", false, vec![get(0..1, found(1, 1)), answered(2..3, set(1), NEW)]),
        ("an acknowledged write is gone", false, vec![answered(0..1, set(1), NEW), get(2..3, NOTHING)]),
        (
            "a stale read",
            false,
            vec![answered(0..1, set(1), NEW), answered(2..3, set(2), OVER), get(4..5, found(1, 1))],
        ),
        (
            "a read that began while the write was under way",
            true,
            vec![answered(0..1, set(1), NEW), answered(2..4, set(2), OVER), get(3..5, found(1, 1))],
        ),
        (
            "a read that begins in the moment in which the write returns",
            true,
            vec![answered(0..1, set(1), NEW), answered(2..3, set(2), OVER), get(3..4, found(1, 1))],
        ),
        (
            "reads beside a write see what was before, then what comes after",
            true,
            vec![
                answered(0..1, set(1), NEW),
                answered(2..9, set(2), OVER),
                get(3..4, found(1, 1)),
                get(5..6, found(2, 2)),
                get(5..8, found(1, 1)),
            ],
        ),
        (
            "reads beside a write go back in time",
            false,
            vec![
                answered(0..1, set(1), NEW),
                answered(2..9, set(2), OVER),
                get(3..4, found(2, 2)),
                get(5..6, found(1, 1)),
            ],
        ),
        (
            "two readers see two writes in opposite orders",
            false,
            vec![
                answered(0..9, set(1), NEW),
                answered(0..9, set(2), OVER),
                get(10..11, found(2, 2)),
                get(12..13, found(1, 1)),
            ],
        ),
        (
            "of two concurrent writes one was first",
            true,
            vec![answered(0..9, set(1), OVER), answered(0..9, set(2), NEW), get(10..11, found(1, 2))],
        ),
        ("two writes create one key", false, vec![answered(0..9, set(1), NEW), answered(0..9, set(2), NEW)]),
        (
            "a lost update",
            false,
            vec![
                answered(0..1, set(1), NEW),
                answered(2..9, set_if(2, Value(1)), OVER),
                answered(2..9, set_if(3, Value(1)), OVER),
            ],
        ),
        (
            "one of two that compare and set wins",
            true,
            vec![
                answered(0..1, set(1), NEW),
                answered(2..9, set_if(2, Value(1)), failed_at(Some(Seen { value: 3, version: 2 }))),
                answered(2..9, set_if(3, Value(1)), OVER),
            ],
        ),
        (
            "a write applied twice",
            false,
            vec![answered(0..1, set(1), NEW), answered(2..3, set(2), OVER), get(4..5, found(2, 3))],
        ),
        (
            "a write applied again over a later one",
            false,
            vec![answered(0..1, set(1), NEW), answered(2..3, set(2), OVER), get(4..5, found(1, 3))],
        ),
        (
            "a delete that came to nothing",
            false,
            vec![answered(0..1, set(1), NEW), answered(2..3, DELETE, OVER), get(4..5, found(1, 1))],
        ),
        (
            "versions count from the creation",
            true,
            vec![
                answered(0..1, set(1), NEW),
                answered(2..3, DELETE, OVER),
                answered(4..5, set(2), NEW),
                get(6..7, found(2, 1)),
            ],
        ),
        (
            "versions do not count on after a delete",
            false,
            vec![
                answered(0..1, set(1), NEW),
                answered(2..3, DELETE, OVER),
                answered(4..5, set(2), NEW),
                get(6..7, found(2, 2)),
            ],
        ),
        ("a delete of what is not there", true, vec![answered(0..1, DELETE, NEW), get(2..3, NOTHING)]),
        ("a delete that says there was nothing", false, vec![answered(0..1, set(1), NEW), answered(2..3, DELETE, NEW)]),
        ("a delete that says there was something", false, vec![answered(0..1, DELETE, OVER)]),
        (
            "one key is deleted twice",
            false,
            vec![answered(0..1, set(1), NEW), answered(2..9, DELETE, OVER), answered(2..9, DELETE, OVER)],
        ),
        ("a condition fails though it held throughout", false, vec![answered(0..1, set_if(1, Absent), FAILED)]),
        ("a condition that does not hold", false, vec![answered(0..1, set_if(1, Present), NEW)]),
        ("a delete on condition of absence", true, vec![answered(0..1, delete_if(Absent), NEW), get(2..3, NOTHING)]),
        (
            "a condition fails that something else may have broken for a while",
            true,
            vec![
                answered(0..9, set(1), NEW),
                answered(0..9, DELETE, OVER),
                answered(0..9, set_if(2, Absent), failed_at(one)),
                answered(0..9, delete_if(Present), failed_at(None)),
                get(10..11, NOTHING),
            ],
        ),
        (
            "a failed condition shows what was not there",
            false,
            vec![answered(0..1, set(1), NEW), answered(2..3, delete_if(Value(7)), failed_at(None))],
        ),
        (
            "a failed condition shows what had gone",
            false,
            vec![
                answered(0..1, set(1), NEW),
                answered(2..3, set(2), OVER),
                answered(4..5, set_if(3, Absent), failed_at(one)),
            ],
        ),
        ("an unknown write never takes effect", true, vec![unknown(0, set(1)), get(9..10, NOTHING)]),
        (
            "an unknown write takes effect late",
            true,
            vec![unknown(0, set(1)), get(9..10, NOTHING), get(11..12, found(1, 1))],
        ),
        (
            "an unknown write takes effect and is undone",
            false,
            vec![unknown(0, set(1)), get(9..10, found(1, 1)), get(11..12, NOTHING)],
        ),
        ("an unknown write is seen before it was sent", false, vec![get(0..1, found(1, 1)), unknown(2, set(1))]),
        (
            "an unknown write must have come in between",
            true,
            vec![unknown(0, set(1)), answered(2..3, set(2), OVER), get(4..5, found(2, 2))],
        ),
        (
            "an unknown write came in between twice",
            false,
            vec![unknown(0, set(1)), answered(2..3, set(2), OVER), get(4..5, found(2, 3))],
        ),
        (
            "an unknown write that came too late to explain",
            false,
            vec![answered(2..3, set(2), OVER), unknown(4, set(1)), get(5..6, found(2, 2))],
        ),
        (
            "an unknown write is seen through a condition",
            true,
            vec![unknown(0, set(1)), answered(2..3, set_if(2, Value(1)), OVER), get(4..5, found(2, 2))],
        ),
        (
            "an unknown delete explains a loss",
            true,
            vec![answered(0..1, set(1), NEW), unknown(1, DELETE), get(5..6, found(1, 1)), get(9..10, NOTHING)],
        ),
        (
            "an unknown delete explains one loss and not two",
            false,
            vec![
                answered(0..1, set(1), NEW),
                unknown(1, DELETE),
                get(2..3, NOTHING),
                answered(4..5, set(2), NEW),
                get(6..7, NOTHING),
            ],
        ),
        (
            "an unknown write whose condition does not hold explains nothing",
            false,
            vec![answered(0..1, set(1), NEW), unknown(2, set_if(2, Absent)), get(3..4, found(2, 2))],
        ),
        (
            "a chain of unknown writes, seen at its end",
            true,
            vec![
                unknown(0, set(1)),
                unknown(0, set_if(2, Value(1))),
                unknown(0, set_if(3, Value(2))),
                get(1..2, NOTHING),
                get(5..6, found(3, 3)),
            ],
        ),
        (
            "a chain of unknown writes that lacks a link",
            false,
            vec![unknown(0, set(1)), unknown(0, set_if(3, Value(2))), get(5..6, found(3, 2))],
        ),
        (
            "the known value of an unknown write was not there",
            false,
            vec![
                unknown(0, set(1)),
                answered(2..3, set(2), OVER),
                answered(4..5, set_if(3, Value(2)), FAILED),
                get(6..7, found(2, 2)),
            ],
        ),
    ];
    for (what, linearizable, history) in cases {
        let verdict = check(&history);
        assert_eq!(verdict.is_ok(), linearizable, "{what}: {}", verdict.err().map_or(String::new(), |v| v.to_string()));
        assert_eq!(is_linearizable(&history), linearizable, "{what}: every order tried");
    }
}

#[test]
fn keys_are_judged_apart() {
    let on = |key, operation| Operation { key, ..operation };
    let mut history = vec![
        on(1, answered(0..1, set(1), NEW)),
        on(2, get(2..3, NOTHING)),
        on(2, answered(4..5, set(1), NEW)),
        on(1, get(6..7, found(1, 1))),
        on(2, get(6..7, found(1, 1))),
    ];
    check(&history).expect("each key for itself");
    history.push(on(2, get(8..9, NOTHING)));
    let violation = check(&history).expect_err("key 2 has lost its value").to_string();
    assert!(violation.starts_with("key 2: "), "{violation}");
}

#[test]
fn a_violation_shows_where_no_order_fits() {
    let history = [
        answered(0..1, set(1), NEW),
        get(2..3, found(1, 1)),
        unknown(3, set(7)),
        answered(4..5, set(2), OVER),
        get(6..7, found(1, 1)),
        get(8..9, found(2, 2)),
    ];
    let violation = check(&history).expect_err("a stale read");
    let expected = "\
key 1: no order of its operations explains what they answered
the longest explains 2 of the 5 whose effect or answer was seen, and ends with
  [0 1] set 1: done, key was not there; then 1 (version 1)
  [2 3] get: 1 (version 1); then 1 (version 1)
where the key holds 1 (version 1), and one of these would come next
  [4 5] set 2: done, key was there; would end what was seen by [6 7] get: 1 (version 1)";
    assert_eq!(violation.to_string(), expected);
}

// --- At random -----------------------------------------------------------------------------------------------------

/// Histories that are short enough for every order to be tried.
fn any_short_kind(random: &mut StdRng) -> Kind {
    Kind {
        clients: random.random_range(1..=4),
        operations: random.random_range(1..=7),
        span: random.random_range(0..=6),
        pause: random.random_range(0..=4),
        unknown: *[0, 20, 60].choose(random).expect("a choice"),
        reads: *[20, 50].choose(random).expect("a choice"),
        conditions: *[0, 30, 80].choose(random).expect("a choice"),
        guesses: *[0, 50].choose(random).expect("a choice"),
        deletes: *[0, 20, 50].choose(random).expect("a choice"),
    }
}

/// Changes an answer or its time, as a defect of a store might.
fn falsify(random: &mut StdRng, history: &mut [Operation]) {
    let values: Vec<Value> = history
        .iter()
        .filter_map(|operation| match operation.call {
            Call::Set { value, .. } => Some(value),
            Call::Get | Call::Delete { .. } => None,
        })
        .chain([99])
        .collect();
    let any_seen = |random: &mut StdRng, seen: Option<Seen>| match (seen, random.random_range(0..4)) {
        (_, 0) => None,
        (Some(seen), 1) => Some(Seen { version: seen.version + 1, ..seen }),
        (Some(seen), 2) => Some(Seen { version: seen.version.saturating_sub(1), ..seen }),
        (seen, _) => {
            let value = *values.choose(random).expect("a value");
            Some(Seen { value, version: seen.map_or(1, |seen| seen.version) })
        }
    };
    let number = random.random_range(0..history.len());
    let operation = &mut history[number];
    let conditional = match operation.call {
        Call::Get => false,
        Call::Set { condition, .. } | Call::Delete { condition } => condition.is_some(),
    };
    let (Some(returned), Some(answer)) = (operation.returned, &mut operation.answer) else {
        operation.invoked += random.random_range(0..=10);
        return;
    };
    if chance(random, 30) {
        let later = random.random_range(0..=10);
        (operation.invoked, operation.returned) = (operation.invoked + later, Some(returned + later));
        return;
    }
    *answer = match *answer {
        Answer::Found(seen) => Answer::Found(any_seen(random, seen)),
        Answer::Written { .. } if conditional && chance(random, 50) => FAILED,
        Answer::Written { existed } => Answer::Written { existed: !existed },
        Answer::ConditionFailed { .. } if chance(random, 30) => Answer::Written { existed: chance(random, 50) },
        Answer::ConditionFailed { current } => {
            Answer::ConditionFailed { current: chance(random, 80).then(|| any_seen(random, current.flatten())) }
        }
    };
}

#[test]
fn short_histories_of_a_correct_store_and_falsified_ones_are_judged_as_by_trying_every_order() {
    let (mut accepted, mut rejected) = (0, 0);
    for seed in 0..20_000 {
        let random = &mut StdRng::seed_from_u64(seed);
        let kind = any_short_kind(random);
        let mut history = random_history(random, 1, kind);
        if let Err(violation) = check(&history) {
            panic!("seed {seed}: a correct store did this: {violation}\n{history:#?}");
        }
        for _ in 0..random.random_range(1..=2) {
            falsify(random, &mut history);
        }
        let verdict = check(&history);
        let expected = is_linearizable(&history);
        assert_eq!(verdict.is_ok(), expected, "seed {seed}: {verdict:?}\n{history:#?}");
        *if expected { &mut accepted } else { &mut rejected } += 1;
    }
    println!("falsified: {accepted} still linearizable, {rejected} not");
    assert!(accepted > 2_000 && rejected > 2_000, "both verdicts must be met: {accepted} and {rejected}");
}

/// Checks histories of a correct store, and one of them again with a read that goes back in time; prints how long that
/// took.
fn judge_long(what: &str, keys: u64, kind: Kind) {
    let random = &mut StdRng::seed_from_u64(7);
    let histories: Vec<Vec<Operation>> = (1..=keys).map(|key| random_history(random, key, kind)).collect();
    let mut falsified = histories[0].clone();
    // Someone sees a value half way, someone else sees it in the end.
    let sees = |number: &usize| matches!(falsified[*number].answer, Some(Answer::Found(Some(_))));
    let reads: Vec<usize> = (0..falsified.len()).filter(sees).collect();
    let (early, late) = (reads[reads.len() / 2], reads[reads.len() - 1]);
    assert_ne!(falsified[early].answer, falsified[late].answer, "it has changed meanwhile");
    falsified[late].answer = falsified[early].answer;

    let history = histories.concat();
    let began = Instant::now();
    check(&history).unwrap_or_else(|violation| panic!("a correct store did this: {violation}"));
    let accepted = began.elapsed();
    let began = Instant::now();
    check(&falsified).expect_err("a read goes back in time");
    println!("{what}: {keys} keys accepted in {accepted:?}, one rejected in {:?}; {kind:?}", began.elapsed());
}

#[test]
fn long_histories_are_judged_in_little_time() {
    let usual = Kind {
        clients: 16,
        operations: 1_000,
        span: 20,
        pause: 20,
        unknown: 2,
        reads: 40,
        conditions: 30,
        guesses: 0,
        deletes: 15,
    };
    judge_long("usual", 100, usual);
    let many = Kind { clients: 30, operations: 3_000, unknown: 10, ..usual };
    judge_long("many clients and unknown outcomes, no deletes", 3, Kind { deletes: 0, ..many });
    judge_long("compare and set", 3, Kind { conditions: 100, deletes: 0, ..many });
    judge_long("hardly any reads", 3, Kind { reads: 3, deletes: 0, ..many });
    judge_long("deletes, all outcomes known", 3, Kind { unknown: 0, ..many });
    judge_long("deletes and unknown outcomes", 3, Kind { clients: 16, unknown: 5, ..many });
    judge_long("all of it", 3, many);
}
