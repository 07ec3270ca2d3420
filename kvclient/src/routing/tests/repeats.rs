//! Writes that are sent again.

use super::{SHORT, in_turn, request_ids};
use crate::api::ErrorCode;
use crate::client::Client;
use crate::error::Error;
use crate::testing::{Act, PATIENCE, client, error, leader, set_reply};
use std::time::Duration;

#[test]
fn a_write_whose_reply_was_lost_is_repeated_under_the_same_id() {
    let node = leader(in_turn(vec![|| Act::HangUp, || error(ErrorCode::Timeout), set_reply]));
    let client = client(&[node.url()], PATIENCE, PATIENCE);
    client.set("k", "v").unwrap();
    let ids = request_ids(&node);
    assert_eq!(ids.len(), 3);
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");

    client.set("k", "w").unwrap();
    let ids = request_ids(&node);
    assert_eq!(ids[3].0, ids[0].0);
    assert!(ids[3].1 > ids[0].1, "a new write has a higher number");
}

#[test]
fn a_write_after_one_of_unknown_outcome_fences_it() {
    let node = leader(in_turn(vec![|| Act::HangUp]));
    let client = client(&[node.url()], PATIENCE, SHORT);
    let unknown = client.set("k", "v").unwrap_err();
    assert!(matches!(unknown, Error::OutcomeUnknown { .. }), "{unknown}");
    let before = request_ids(&node);
    let _ = client.set("k", "w");
    let after = &request_ids(&node)[before.len()..];
    assert!(after.iter().all(|(name, seq)| *name == before[0].0 && *seq > before[0].1), "{after:?}");
}

#[test]
fn retries_are_counted() {
    let node = leader(|_| error(ErrorCode::NoLeader));
    for retries in [0, 1, 3] {
        let client = Client::builder()
            .endpoint(node.url())
            .retries(retries)
            .backoff(Duration::ZERO, Duration::ZERO)
            .build()
            .unwrap();
        let before = node.seen("GET /get").len();
        assert!(client.get("k").is_err());
        assert_eq!(node.seen("GET /get").len() - before, 1 + retries as usize);
        let before = node.seen("POST /set").len();
        assert!(client.set("k", "v").is_err());
        assert_eq!(node.seen("POST /set").len() - before, 1 + retries as usize);
    }
}
