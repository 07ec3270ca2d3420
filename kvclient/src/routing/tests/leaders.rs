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
use std::time::Duration;

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
    assert!(matches!(&error, Error::NoLeader { detail, .. } if detail.contains("without a location")), "{error:?}");
}

#[test]
fn redirects_are_followed_and_the_leader_remembered() {
    let new_leader = leader(|_| of_term(6, set_reply()));
    let url = new_leader.url().to_owned();
    // Names itself as leader, but has lost leadership when the write arrives.
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
    // The stale node is asked first, and keeps naming the dead one.
    let client = client(&[stale.url(), new_leader.url()], PATIENCE, PATIENCE);
    client.set("k", "v").unwrap();
    assert_eq!(new_leader.seen("POST /set").len(), 1);
    assert_eq!(stale.seen("GET /health").len(), 2);
}

/// Returns a follower that answers writes itself unless it is asked to redirect, like nodes that forward writes.
fn relay(leader_url: &str, mut answer: impl FnMut() -> Act + Send + 'static) -> Node {
    let url = leader_url.to_owned();
    follower(leader_url, &[leader_url], move |seen| match seen.headers.contains_key("kvd-redirect") {
        true => redirect(&url),
        false => answer(),
    })
}

#[test]
fn a_write_goes_past_a_leader_that_cannot_be_reached_through_a_node_that_was_given() {
    let nowhere = dead_url();
    let given = relay(&nowhere, || of_term(5, set_reply()));
    let client = client(&[given.url()], PATIENCE, PATIENCE);
    client.set("k", "v").unwrap();
    let writes = given.seen("POST /set");
    assert_eq!(writes.len(), 1, "{writes:?}");
    assert!(writes[0].query.starts_with("timeout_ms="), "{writes:?}");
    // The route is remembered: no node is asked for the leader, and nothing is sent to the leader's wrong address.
    let asked = given.seen("GET /health").len();
    client.set("k", "v").unwrap();
    client.delete("k").unwrap_err(); // what it answers is no reply to this
    assert_eq!((given.seen("POST /set").len(), given.seen("GET /health").len()), (2, asked));
    assert!(given.seen_all().iter().all(|seen| seen.what != "POST /set" || !seen.headers.contains_key("kvd-redirect")));
    // A watch that hears of the same leader does not replace the route, but a new leader is used.
    client.cluster().learn_leader(&nowhere, 5);
    client.set("k", "v").unwrap();
    assert_eq!((given.seen("POST /set").len(), given.seen("GET /health").len()), (3, asked));
    let next = leader(|_| of_term(6, set_reply()));
    client.cluster().learn_leader(next.url(), 6);
    client.set("k", "v").unwrap();
    assert_eq!((given.seen("POST /set").len(), next.seen("POST /set").len()), (3, 1));
}

#[test]
fn a_leader_that_was_given_is_preferred_to_the_address_it_advertises() {
    let nowhere = dead_url();
    let advertised = nowhere.clone();
    let given_leader = Node::start(move |seen| match seen.what.as_str() {
        "GET /health" => ok(health("node1", 5, Some(("node1", &advertised)), &[&advertised])),
        _ => of_term(5, set_reply()),
    });
    let given_follower = relay(&nowhere, || error(ErrorCode::NoLeader));
    let client = client(&[given_follower.url(), given_leader.url()], PATIENCE, PATIENCE);
    client.set("k", "v").unwrap();
    let write = &given_leader.seen("POST /set")[0];
    assert!(write.headers.contains_key("kvd-redirect"), "it was asked as the leader: {write:?}");
}

/// Time within which a write is certainly sent, however busy the machine is. The test waits for all of it.
const ENOUGH: Duration = Duration::from_secs(2);

#[test]
fn what_a_node_says_of_a_write_that_it_sent_on_is_what_the_caller_is_told() {
    let nowhere = dead_url();
    for (code, retried) in [(ErrorCode::NoLeader, false), (ErrorCode::Timeout, true)] {
        let given = relay(&nowhere, move || error(code));
        let error = client(&[given.url()], PATIENCE, ENOUGH).set("k", "v").unwrap_err();
        assert_eq!(matches!(error, Error::OutcomeUnknown { .. }), retried, "{error:?}");
        let text = error.to_string();
        assert!(text.contains(&format!("the leader advertises {nowhere}, which cannot be reached")), "{text}");
        let ids = request_ids(&given);
        assert!(!ids.is_empty() && ids.iter().all(|id| *id == ids[0]), "one write, however often it is sent: {ids:?}");
    }
}

#[test]
fn an_unreachable_leader_at_a_given_endpoint_is_gone_past_once_it_had_time_to_be_replaced() {
    let nowhere = dead_url();
    let given = relay(&nowhere, || of_term(5, set_reply()));
    let client = client(&[&nowhere, given.url()], PATIENCE, PATIENCE);
    let began = std::time::Instant::now();
    client.set("k", "v").unwrap();
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!(given.seen("POST /set").len(), 1);
}

#[test]
fn where_nobody_can_be_connected_to_the_operation_ends_soon_and_names_all_that_were_tried() {
    let urls = [dead_url(), dead_url(), dead_url()];
    let builder = Client::builder().endpoints(&urls).total_timeout(PATIENCE).unreachable_timeout(SHORT);
    let client = builder.build().unwrap();
    let began = std::time::Instant::now();
    for error in [
        client.get("k").unwrap_err(),
        client.get_stale("k").unwrap_err(),
        client.set("k", "v").unwrap_err(),
        client.status().unwrap_err(),
        client.save_snapshot(std::io::sink(), |_| {}).unwrap_err(),
    ] {
        assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
        let text = error.to_string();
        assert!(urls.iter().all(|url| text.contains(url)), "{text}");
    }
    assert!(began.elapsed() < PATIENCE / 2, "{:?}", began.elapsed());
}
