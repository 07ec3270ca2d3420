//! The way to the leader: redirects, and nodes that are wrong about who leads.

use super::super::exchange::REDIRECTS_MAX;
use super::{SHORT, request_ids};
use crate::api::ErrorCode;
use crate::client::Client;
use crate::error::Error;
use crate::testing::{
    Act, Node, PATIENCE, client, dead_url, error, follower, health, leader, of_term, ok, redirect, set_reply, url_of,
};
use std::net::TcpListener;

#[test]
fn a_redirect_that_names_nobody_makes_the_client_look_elsewhere() {
    let deposed = leader(|_| Act::Answer(307, String::new(), String::new()));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = url_of(&listener);
    let next = Node::start_on(listener, move |seen| match seen.what.as_str() {
        "GET /health" => ok(health("node2", 6, Some(("node2", &url)), &[])),
        _ => set_reply(),
    });
    let several = client(&[deposed.url(), next.url()], PATIENCE, PATIENCE);
    several.set("k", "v").unwrap();
    assert_eq!((deposed.seen("POST /set").len(), next.seen("POST /set").len()), (1, 1));

    let error = client(&[deposed.url()], PATIENCE, SHORT).set("k", "v").unwrap_err();
    assert!(matches!(&error, Error::NoLeader { detail, .. } if detail.contains("does not say where")), "{error:?}");
}

#[test]
fn redirects_are_followed_and_the_leader_remembered() {
    let new_leader = leader(|_| of_term(6, set_reply()));
    let url = new_leader.url().to_owned();
    // Names itself as leader, and has lost that role when the write comes.
    let old_leader = leader(move |_| redirect(&url));
    let client = client(&[old_leader.url()], PATIENCE, PATIENCE);
    client.set("k", "v").unwrap();
    client.set("k", "v").unwrap();
    assert_eq!(old_leader.seen("POST /set").len(), 1);
    assert_eq!(new_leader.seen("POST /set").len(), 2);
    let remembered = client.cluster().endpoints().leader().cloned().expect("it answered");
    assert_eq!((remembered.endpoint.to_string().as_str(), remembered.term), (new_leader.url(), Some(6)));
    assert_eq!(request_ids(&old_leader)[0], request_ids(&new_leader)[0], "a redirect keeps the id");
}

#[test]
fn nodes_that_redirect_to_each_other_end_in_an_error() {
    let listeners = [TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap()];
    let urls = [url_of(&listeners[0]), url_of(&listeners[1])];
    let nodes: Vec<_> = listeners
        .into_iter()
        .enumerate()
        .map(|(index, listener)| {
            let (me, other) = (urls[index].clone(), urls[1 - index].clone());
            Node::start_on(listener, move |seen| match seen.what.as_str() {
                "GET /health" => ok(health("me", 5, Some(("me", &me)), &[])),
                _ => redirect(&other),
            })
        })
        .collect();
    let client = Client::builder().endpoint(nodes[0].url()).retries(0).build().unwrap();
    let error = client.set("k", "v").unwrap_err();
    assert!(matches!(error, Error::NoLeader { .. }), "{error}");
    let asked: usize = nodes.iter().map(|node| node.seen("POST /set").len()).sum();
    assert_eq!(asked, 1 + REDIRECTS_MAX as usize);
}

#[test]
fn a_follower_that_still_names_the_dead_leader_is_not_believed_twice() {
    let stale = follower(&dead_url(), &[], |_| error(ErrorCode::NoLeader));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = url_of(&listener);
    let new_leader = Node::start_on(listener, move |seen| match seen.what.as_str() {
        "GET /health" => ok(health("node3", 6, Some(("node3", &url)), &[])),
        _ => set_reply(),
    });
    // The stale one is asked first, and goes on naming the dead one.
    let client = client(&[stale.url(), new_leader.url()], PATIENCE, PATIENCE);
    client.set("k", "v").unwrap();
    assert_eq!(new_leader.seen("POST /set").len(), 1);
    assert_eq!(stale.seen("GET /health").len(), 2);
}
