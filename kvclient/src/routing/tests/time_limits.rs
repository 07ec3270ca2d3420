//! Time limits hold whatever the nodes do.

use super::SHORT;
use crate::client::Client;
use crate::error::Error;
use crate::testing::{Act, Node, PATIENCE, client, stream};
use std::time::{Duration, Instant};

#[test]
fn the_total_bounds_a_single_question_too() {
    let silent = Node::start(|_| Act::KeepSilent);
    let client = client(&[silent.url()], PATIENCE, SHORT);
    let started = Instant::now();
    assert!(client.health(silent.url()).is_err());
    assert!(started.elapsed() < SHORT * 4, "{:?}", started.elapsed());
}

#[test]
fn a_time_limit_too_short_for_anything_is_not_blamed_on_the_leader() {
    let silent = Node::start(|_| Act::KeepSilent);
    let client = client(&[silent.url()], PATIENCE, Duration::from_millis(1));
    for error in [client.get("k").unwrap_err(), client.set("k", "v").unwrap_err()] {
        assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
    }
}

#[test]
fn time_limits_hold_whatever_the_nodes_do() {
    let total = Duration::from_millis(600);
    let silent = Node::start(|_| Act::KeepSilent);
    let (_sender, endless) = stream();
    let mut endless = Some(endless);
    let trickling = Node::start(move |_| endless.take().unwrap_or(Act::KeepSilent));
    let client = client(&[silent.url(), trickling.url()], Duration::from_millis(200), total);
    for operation in [|c: &Client| c.set("k", "v").map(drop), |c: &Client| c.get("k").map(drop)] {
        let started = Instant::now();
        let error = operation(&client).unwrap_err();
        let took = started.elapsed();
        assert!(took < total * 2, "{took:?}");
        assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    }
}
