//! Nodes that keep their connections open and answer late or never.

use super::super::hedge::HEDGE_AFTER;
use super::super::writes::LEADER_SILENCE_MIN;
use super::request_ids;
use crate::api::ErrorCode;
use crate::client::Client;
use crate::testing::{
    Act, Node, PATIENCE, Seen, client, error, follower, health, item_reply, leader, ok, set_reply, url_of,
};
use serde_json::json;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Returns a node that never answers, and one that leads the two of them.
fn silent_and_leader(mut answer: impl FnMut(&Seen) -> Act + Send + 'static) -> (Node, Node) {
    let silent = Node::start(|_| Act::KeepSilent);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let members = [silent.url().to_owned(), url_of(&listener)];
    let url = members[1].clone();
    let node = Node::start_on(listener, move |seen| match seen.what.as_str() {
        "GET /health" => ok(health("node2", 5, Some(("node2", &url)), &[&members[0], &members[1]])),
        _ => answer(seen),
    });
    (silent, node)
}

#[test]
fn a_silent_node_costs_a_moment_and_is_avoided_from_then_on() {
    let (silent, node) = silent_and_leader(|seen| if seen.what == "POST /set" { set_reply() } else { item_reply() });
    for operation in [|c: &Client| c.set("k", "v").map(drop), |c: &Client| c.get("k").map(drop)] {
        // The total leaves no time to wait for the end of an attempt at the silent node.
        let client = client(&[silent.url(), node.url()], PATIENCE, Duration::from_secs(2));
        let started = Instant::now();
        operation(&client).unwrap();
        let first = started.elapsed();
        assert!(first >= HEDGE_AFTER && first < client.cluster().attempt_limit(), "{first:?}");
        let asked = silent.seen("GET /health").len();
        for _ in 0..5 {
            operation(&client).unwrap();
        }
        assert_eq!(silent.seen("GET /health").len(), asked);
        assert_eq!(silent.seen("GET /get").len() + silent.seen("POST /set").len(), 0);
    }
}

#[test]
fn a_node_that_falls_silent_keeps_a_reader_for_a_moment_only() {
    let (hung, node) = (Arc::new(AtomicBool::new(false)), leader(|_| item_reply()));
    let url = node.url().to_owned();
    let state = Arc::clone(&hung);
    let other = follower(&url.clone(), &[&url], move |_| match state.load(Ordering::SeqCst) {
        true => Act::KeepSilent,
        false => item_reply(),
    });
    let urls = [other.url(), node.url()];
    let client = client(&urls, PATIENCE, PATIENCE);
    client.cluster().endpoints_mut().learn_members(&health("n", 1, None, &urls).members);
    client.get("k").unwrap();
    assert_eq!(other.seen("GET /get").len(), 1);
    hung.store(true, Ordering::SeqCst);
    let started = Instant::now();
    client.get("k").unwrap();
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    assert_eq!((other.seen("GET /get").len(), node.seen("GET /get").len()), (2, 1));
}

#[test]
fn nodes_that_are_all_slow_are_waited_for() {
    let slow = |answer: fn() -> Act| {
        move |_: &Seen| {
            thread::sleep(HEDGE_AFTER * 2);
            answer()
        }
    };
    let (one, two) = (Node::start(slow(item_reply)), Node::start(slow(item_reply)));
    let urls = [one.url(), two.url()];
    let client = client(&urls, PATIENCE, PATIENCE);
    client.cluster().endpoints_mut().learn_members(&health("n", 1, None, &urls).members);
    client.get("k").unwrap();
    let asked = || one.seen("GET /get").len() + two.seen("GET /get").len();
    let first = asked();
    client.get("k").unwrap();
    assert_eq!(asked(), first + 1, "once known to be slow, a node is given time");
}

#[test]
fn a_silent_leader_leaves_a_write_time_for_the_next_one() {
    let leaders = [TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap()];
    let urls = [url_of(&leaders[0]), url_of(&leaders[1])];
    let nodes: Vec<_> = leaders
        .into_iter()
        .enumerate()
        .map(|(index, listener)| {
            let urls = urls.clone();
            let mut healths = 0;
            Node::start_on(listener, move |seen| match seen.what.as_str() {
                // The other node learns of the election after the first write has been sent.
                "GET /health" if index == 1 && healths > 0 => ok(health("b", 6, Some(("b", &urls[1])), &[])),
                "GET /health" => {
                    healths += 1;
                    ok(health(["a", "b"][index], 5, Some(("a", &urls[0])), &[]))
                }
                _ if index == 0 => Act::KeepSilent,
                _ => set_reply(),
            })
        })
        .collect();
    let client = client(&[nodes[1].url(), nodes[0].url()], PATIENCE, PATIENCE);
    let began = Instant::now();
    client.set("k", "v").unwrap();
    let took = began.elapsed();
    assert!(took >= LEADER_SILENCE_MIN && took < client.cluster().attempt_limit() / 2, "{took:?}");
    assert_eq!(request_ids(&nodes[0]), request_ids(&nodes[1]), "the same write, sent once to each");
}

#[test]
fn a_leader_that_is_slow_gets_a_write_twice_at_most_and_is_given_time_from_then_on() {
    let node = leader(|_| {
        thread::sleep(LEADER_SILENCE_MIN * 2);
        set_reply()
    });
    let url = node.url().to_owned();
    let other = follower(&url, &[&url], |_| error(ErrorCode::NoLeader));
    let client = client(&[node.url(), other.url()], PATIENCE, PATIENCE);
    client.set("k", "v").unwrap();
    let ids = request_ids(&node);
    assert!(ids.len() == 2 && ids[0] == ids[1], "the leader may be one no more: {ids:?}");
    client.set("k", "v").unwrap();
    assert_eq!(request_ids(&node).len(), 3, "once known to be slow, it is given time");
}

#[test]
fn what_has_no_request_id_is_not_sent_to_a_slow_leader_twice() {
    let node = leader(|seen| {
        assert_eq!(seen.what, "POST /leader/transfer");
        thread::sleep(LEADER_SILENCE_MIN * 2);
        ok(json!({"id":"node2","url":"http://node2","term":6}))
    });
    let url = node.url().to_owned();
    let other = follower(&url, &[&url], |_| error(ErrorCode::NoLeader));
    let client = client(&[node.url(), other.url()], PATIENCE, PATIENCE);
    assert_eq!(client.transfer_leader(None).unwrap().id, "node2");
    assert_eq!(node.seen("POST /leader/transfer").len(), 1);
}
