use super::*;
use crate::api::{Condition, ErrorCode, KEY_BYTES_MAX};
use crate::error::Error;
use crate::testing::{Act, Node, PATIENCE, client, dead_url, error, health, leader, ok, set_reply, url_of};
use serde_json::json;
use std::collections::BTreeSet;
use std::net::TcpListener;
use std::time::{Duration, Instant};

const SHORT: Duration = Duration::from_millis(300);

#[test]
fn a_client_goes_to_other_threads() {
    fn check<T: Clone + Send + Sync + 'static>() {}
    check::<Client>();
}

#[test]
fn requests_say_what_was_asked() {
    let node = leader(|seen| match seen.what.as_str() {
        "POST /set" => set_reply(),
        "POST /delete" => ok(json!({"revision": 3, "deleted": 1})),
        _ => error(ErrorCode::KeyNotFound),
    });
    let client = client(&[node.url()], PATIENCE, PATIENCE);
    assert_eq!(client.get("a b&c=ü").unwrap(), None);
    assert_eq!(client.get_stale("k").unwrap(), None);
    assert_eq!(client.get_stale_within("k", Duration::from_millis(1500)).unwrap(), None);
    let queries: Vec<_> = node.seen("GET /get").into_iter().map(|seen| seen.query).collect();
    assert_eq!(
        queries,
        ["key=a+b%26c%3D%C3%BC", "key=k&consistency=stale", "key=k&consistency=stale&max_stale_ms=1500"]
    );

    client.set_if("k", [0xff], Condition::Absent).unwrap();
    let body = &node.seen("POST /set")[0].body;
    assert_eq!(
        (&body["key"], &body["value_base64"], &body["if"]),
        (&json!("k"), &json!("/w=="), &json!({"absent":true}))
    );

    assert_eq!(client.delete_if("k", Condition::ModRevision(7)).unwrap().deleted, 1);
    let body = &node.seen("POST /delete")[0].body;
    assert_eq!((&body["key"], &body["if"]), (&json!("k"), &json!({"mod_revision":7})));
    assert!(body["request"]["seq"].is_u64());
}

#[test]
fn every_request_says_that_this_client_goes_to_the_leader_itself() {
    let node = leader(|seen| match seen.what.as_str() {
        "POST /set" => set_reply(),
        "GET /leader/watch" => Act::HangUp,
        _ => error(ErrorCode::KeyNotFound),
    });
    let client = client(&[node.url()], PATIENCE, PATIENCE);
    client.set("k", "v").unwrap();
    client.get("k").unwrap();
    client.watch_leader().next_timeout(Duration::ZERO);
    client.save_snapshot_stale(node.url(), std::io::sink(), |_| {}).unwrap_err();
    let seen = node.seen_all();
    let whats: BTreeSet<_> = seen.iter().map(|seen| seen.what.as_str()).collect();
    assert_eq!(whats.len(), 5, "{whats:?}");
    assert!(seen.iter().all(|seen| seen.headers.get("kvd-redirect").is_some_and(|value| value == "true")), "{seen:?}");
}

#[test]
fn bad_keys_are_refused_without_asking_anyone() {
    let client = client(&[&dead_url()], PATIENCE, PATIENCE);
    let long = "k".repeat(KEY_BYTES_MAX + 1);
    for key in ["", &long] {
        for error in [client.get(key).unwrap_err(), client.set(key, "v").unwrap_err(), client.delete(key).unwrap_err()]
        {
            assert!(matches!(error, Error::InvalidRequest { .. }), "{error}");
        }
    }
}

#[test]
fn health_asks_one_node_and_once() {
    let node = leader(|_| error(ErrorCode::NotFound));
    let client = client(&[&dead_url()], SHORT, PATIENCE);
    assert_eq!(client.health(node.url()).unwrap().id, "node1");
    assert!(matches!(client.health(&dead_url()), Err(Error::Unreachable { .. })));
    assert!(matches!(client.health("node1"), Err(Error::Configuration { .. })));
}

#[test]
fn status_tells_of_every_member_in_bounded_time() {
    let silent = Node::start(|_| Act::KeepSilent);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let members = [url_of(&listener), silent.url().to_owned(), dead_url()];
    let node = Node::start_on(listener, move |_| {
        let members: Vec<_> = members.iter().map(String::as_str).collect();
        ok(health("node1", 5, Some(("node1", members[0])), &members))
    });
    let client = client(&[node.url()], SHORT, PATIENCE);
    let started = Instant::now();
    let nodes = client.status().unwrap();
    assert!(started.elapsed() < SHORT * 4, "{:?}", started.elapsed());
    let rows: Vec<_> = nodes.iter().map(|node| (node.name.as_str(), node.health.is_ok())).collect();
    assert_eq!(rows, [("node1", true), ("node2", false), ("node3", false)]);

    let nobody = Client::connect([dead_url()]).unwrap();
    assert!(matches!(nobody.status(), Err(Error::Unreachable { .. })));
}
