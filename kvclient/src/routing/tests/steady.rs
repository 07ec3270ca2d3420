//! In the steady state an operation is one request, and operations spread over nodes and names.

use super::request_ids;
use crate::client::Client;
use crate::testing::{Node, PATIENCE, client, dead_url, follower, item_reply, leader, set_reply};
use std::thread;

#[test]
fn in_the_steady_state_an_operation_is_one_request() {
    let node = leader(|seen| if seen.what == "POST /set" { set_reply() } else { item_reply() });
    let client = client(&[node.url()], PATIENCE, PATIENCE);
    for _ in 0..3 {
        client.set("k", "v").unwrap();
        assert_eq!(client.get("k").unwrap().unwrap().value, b"v");
    }
    assert_eq!(node.seen("GET /health").len(), 1);
    assert_eq!(node.seen("POST /set").len(), 3);
    assert_eq!(node.seen("GET /get").len(), 3);
}

#[test]
fn threads_write_under_names_of_their_own() {
    let node = leader(|_| set_reply());
    let client = client(&[node.url()], PATIENCE, PATIENCE);
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let client = client.clone();
            thread::spawn(move || (0..20).for_each(|_| assert!(client.set("k", "v").is_ok())))
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let mut ids = request_ids(&node);
    assert_eq!(ids.len(), 80);
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 80, "no two writes share an id");
}

#[test]
fn clients_begin_at_different_nodes() {
    let nodes: Vec<_> = (0..3).map(|_| leader(|_| item_reply())).collect();
    let urls: Vec<_> = nodes.iter().map(Node::url).collect();
    let asked = |node: &Node| !node.seen("GET /get").is_empty();
    for _ in 0..200 {
        Client::connect(&urls).unwrap().get("k").unwrap();
        if nodes.iter().all(asked) {
            return;
        }
    }
    panic!("200 clients of one operation each left out a node");
}

#[test]
fn a_dead_endpoint_is_skipped() {
    let node = leader(|seen| if seen.what == "POST /set" { set_reply() } else { item_reply() });
    let client = client(&[&dead_url(), node.url()], PATIENCE, PATIENCE);
    client.set("k", "v").unwrap();
    client.get("k").unwrap();
}

#[test]
fn members_are_learned_and_outlive_the_endpoint_that_was_given() {
    let survivor = leader(|seen| if seen.what == "POST /set" { set_reply() } else { item_reply() });
    let given = follower(survivor.url(), &[survivor.url()], |_| item_reply());
    let client = client(&[given.url()], PATIENCE, PATIENCE);
    client.get("k").unwrap();
    drop(given);
    client.get("k").unwrap();
    client.set("k", "v").unwrap();
}
