//! Outcomes of operations.

use super::{SHORT, in_turn};
use crate::api::{Applied, Condition, ErrorCode};
use crate::error::Error;
use crate::testing::{Act, PATIENCE, client, dead_url, error, leader};
use serde_json::json;

#[test]
fn what_was_certainly_not_applied_is_never_called_unknown_and_the_other_way_round() {
    type Answer = fn() -> Act;
    let cases: [(Answer, &str, &str); 7] = [
        (|| error(ErrorCode::NoLeader), "NoLeader", "NoLeader"),
        (|| error(ErrorCode::Overloaded), "Overloaded", "Overloaded"),
        (|| error(ErrorCode::Timeout), "OutcomeUnknown", "NoLeader"),
        (|| Act::HangUp, "OutcomeUnknown", "Unreachable"),
        (|| Act::Answer(502, String::new(), "bad gateway".into()), "OutcomeUnknown", "Unreachable"),
        (|| Act::Answer(200, String::new(), "<html>".into()), "Unexpected", "Unexpected"),
        (|| error(ErrorCode::TooLarge), "TooLarge", "TooLarge"),
    ];
    for (answer, write, read) in cases {
        let node = leader(move |_| answer());
        let client = client(&[node.url()], PATIENCE, SHORT);
        let error = client.set("k", "v").unwrap_err();
        assert!(format!("{error:?}").starts_with(write), "{error:?}");
        let sure = matches!(error, Error::NoLeader { .. } | Error::Overloaded { .. } | Error::TooLarge { .. });
        assert_eq!(error.applied() == Applied::No, sure, "{error:?}");
        let error = client.get("k").unwrap_err();
        assert!(format!("{error:?}").starts_with(read), "{error:?}");
        assert_eq!(error.applied(), Applied::No, "{error:?}");
    }
    let dead = client(&[&dead_url()], PATIENCE, SHORT);
    for error in [dead.set("k", "v").unwrap_err(), dead.get("k").unwrap_err()] {
        assert!(matches!(error, Error::Unreachable { .. }), "{error}");
        assert_eq!(error.applied(), Applied::No);
    }
}

#[test]
fn a_refusal_does_not_take_back_an_earlier_attempt_in_doubt() {
    let node = leader(in_turn(vec![|| Act::HangUp, || error(ErrorCode::InvalidRequest)]));
    let error = client(&[node.url()], PATIENCE, PATIENCE).set("k", "v").unwrap_err();
    assert!(matches!(error, Error::OutcomeUnknown { .. }), "{error}");
}

#[test]
fn a_failed_condition_shows_the_item() {
    let failed = || {
        let body = json!({"error":{"code":"condition_failed","message":"no","applied":"no","current":
            {"key":"k","value":"v","create_revision":2,"mod_revision":3,"version":1}}});
        Act::Answer(412, String::new(), body.to_string())
    };
    let node = leader(move |_| failed());
    let error = client(&[node.url()], PATIENCE, PATIENCE).set_if("k", "w", Condition::Absent).unwrap_err();
    assert!(matches!(error, Error::ConditionFailed { current: Some(item) } if item.mod_revision == 3));
}
