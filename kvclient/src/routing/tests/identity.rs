//! A client is bound to one cluster.

use super::SHORT;
use crate::api::{Applied, ErrorCode};
use crate::client::Client;
use crate::error::Error;
use crate::testing::{
    CLUSTER, Node, OTHER_CLUSTER, PATIENCE, client, dead_url, error, follower, health, item_reply, leader,
    listen_again, ok, redirect, set_reply, stranger, url_of,
};
use std::net::TcpListener;
use std::time::{Duration, Instant};

fn any_port() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

/// Returns a node of the cluster that leads and has the key.
fn own() -> Node {
    leader(|seen| if seen.what == "POST /set" { set_reply() } else { item_reply() })
}

/// Checks that an error names both clusters and the node of the wrong one.
fn names_both(error: &Error, stranger: &str) {
    assert!(matches!(error, Error::WrongCluster { .. }), "{error:?}");
    assert_eq!(error.applied(), Applied::No);
    let text = error.to_string();
    assert!([CLUSTER, OTHER_CLUSTER, stranger].iter().all(|name| text.contains(name)), "{text}");
}

#[test]
fn every_request_but_for_health_names_the_cluster() {
    let node = own();
    let client = client(&[node.url()], PATIENCE, PATIENCE);
    assert_eq!(client.cluster_id(), None);
    client.get("k").unwrap();
    client.set("k", "v").unwrap();
    assert_eq!(client.cluster_id(), Some(CLUSTER));
    for seen in node.seen_all() {
        let named = seen.headers.get("kvd-cluster").map(String::as_str);
        assert_eq!(named, (seen.what != "GET /health").then_some(CLUSTER), "{seen:?}");
    }
}

#[test]
fn an_endpoint_of_another_cluster_is_skipped() {
    let (stranger, node) = (stranger(any_port()), own());
    for urls in [[stranger.url(), node.url()], [node.url(), stranger.url()]] {
        for _ in 0..20 {
            let client = Client::builder().endpoints(urls).cluster_id(CLUSTER).build().unwrap();
            assert!(client.get("k").unwrap().is_some());
            client.set("k", "v").unwrap();
            assert!(client.get_stale("k").unwrap().is_some());
        }
    }
    let asked: Vec<_> = stranger.seen_all().into_iter().filter(|seen| seen.what != "GET /health").collect();
    assert!(asked.is_empty(), "it is not asked for anything else: {asked:?}");
}

#[test]
fn the_first_cluster_that_is_named_is_kept_and_the_other_is_not_asked_for_its_data() {
    let (other, node) = (stranger(any_port()), own());
    let ours = client(&[node.url(), other.url()], PATIENCE, PATIENCE);
    assert!(ours.get("k").unwrap().is_some());
    let theirs = client(&[other.url(), node.url()], PATIENCE, PATIENCE);
    assert!(theirs.get("k").unwrap().is_none());
    for _ in 0..10 {
        assert!(ours.get_stale("k").unwrap().is_some());
        assert!(theirs.get_stale("k").unwrap().is_none());
        ours.set("k", "v").unwrap();
        theirs.set("k", "v").unwrap();
    }
    assert_eq!((ours.cluster_id(), theirs.cluster_id()), (Some(CLUSTER), Some(OTHER_CLUSTER)));
    assert_eq!((node.seen("POST /set").len(), other.seen("POST /set").len()), (10, 10));
}

#[test]
fn a_client_that_knows_only_nodes_of_another_cluster_says_so_at_once() {
    let (one, two) = (stranger(any_port()), stranger(any_port()));
    let client = Client::builder().endpoints([one.url(), two.url()]).cluster_id(CLUSTER).build().unwrap();
    let began = Instant::now();
    names_both(&client.get("k").unwrap_err(), "http://127.0.0.1:");
    names_both(&client.get_stale("k").unwrap_err(), "http://127.0.0.1:");
    names_both(&client.set("k", "v").unwrap_err(), "http://127.0.0.1:");
    names_both(&client.leader().unwrap_err(), "http://127.0.0.1:");
    names_both(&client.status().unwrap_err(), "http://127.0.0.1:");
    names_both(&client.health(one.url()).unwrap_err(), one.url());
    names_both(&client.save_snapshot(std::io::sink(), |_| {}).unwrap_err(), "http://127.0.0.1:");
    names_both(&client.save_snapshot_stale(two.url(), std::io::sink(), |_| {}).unwrap_err(), two.url());
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert!([one, two].iter().all(|node| node.seen("POST /set").is_empty()), "the health of a node is enough");
}

#[test]
fn an_address_of_a_member_that_was_set_up_anew_is_no_place_to_read_from() {
    let node = own();
    let url = node.url().to_owned();
    let other = follower(&url, &[&url], |_| item_reply());
    let urls = [other.url(), url.as_str()];
    let client = client(&urls, PATIENCE, SHORT * 2);
    assert!(client.get("k").unwrap().is_some());
    client.cluster().endpoints_mut().learn_members(&health("n", 1, None, &urls).members);
    let old_url = other.url().to_owned();
    drop(other);
    let anew = stranger(listen_again(&old_url));
    for _ in 0..20 {
        assert!(client.get("k").unwrap().is_some());
        assert!(client.get_stale("k").unwrap().is_some());
        client.set("k", "v").unwrap();
    }
    assert!(anew.seen("POST /set").is_empty());
    let row = client.status().unwrap().into_iter().find(|row| row.client_url == old_url).expect("it is known");
    names_both(&row.health.unwrap_err(), &old_url);

    drop(node);
    names_both(&client.get("k").unwrap_err(), &old_url);
    names_both(&client.set("k", "v").unwrap_err(), &old_url);
}

#[test]
fn a_leader_in_another_cluster_does_not_get_the_write() {
    let other = stranger(any_port());
    let url = other.url().to_owned();
    let node = leader(move |_| redirect(&url));
    let error = client(&[node.url()], PATIENCE, SHORT).set("k", "v").unwrap_err();
    names_both(&error, other.url());
}

#[test]
fn a_node_of_no_cluster_knows_of_no_key() {
    let forming = Node::start_in(None, any_port(), |seen| match seen.what.as_str() {
        "GET /health" => ok(health("node1", 0, None, &[])),
        _ => error(ErrorCode::KeyNotFound),
    });
    let error = client(&[forming.url()], PATIENCE, SHORT).get_stale("k").unwrap_err();
    assert!(
        matches!(&error, Error::NoLeader { detail, .. } if detail.contains("may not belong to one yet")),
        "{error:?}"
    );
    let node = own();
    let client = client(&[forming.url(), node.url()], PATIENCE, PATIENCE);
    assert!(client.get_stale("k").unwrap().is_some());
}

#[test]
fn a_write_that_another_cluster_may_have_carried_out_is_not_called_undone() {
    // It ignores the cluster id in requests.
    let listener = any_port();
    let url = url_of(&listener);
    let careless = Node::start_in(Some(OTHER_CLUSTER), listener, |_| set_reply());
    let node = leader(move |_| redirect(&url));
    let error = client(&[node.url()], PATIENCE, SHORT).set("k", "v").unwrap_err();
    assert!(matches!(error, Error::OutcomeUnknown { .. }), "{error:?}");
    assert!(!careless.seen("POST /set").is_empty());
}

#[test]
fn who_asks_for_the_health_of_some_other_node_learns_nothing_of_ones_own_cluster() {
    let (other, node) = (stranger(any_port()), own());
    let client = client(&[node.url(), &dead_url()], PATIENCE, PATIENCE);
    assert_eq!(client.health(other.url()).unwrap().id, "node9");
    assert_eq!(client.cluster_id(), None);
    assert!(client.get("k").unwrap().is_some());
    assert!(matches!(client.health(other.url()), Err(Error::WrongCluster { .. })));
    assert_eq!(other.seen("GET /get").len(), 0);
}
