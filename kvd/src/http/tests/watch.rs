//! `/watch`.

use super::server::{Server, ample, honest_replica, leads, view_of_a_leader};
use super::wire::Events;
use crate::http::{Limits, View};
use crate::kv::{HistoryLimits, StoreLimits};
use kvclient::api::{Applied, ClusterInfo, ErrorCode, NodeState};
use std::sync::Arc;

const CLUSTER: &str = "51f0c2d3a4b5e697";

/// Returns a server of a cluster.
fn server() -> Server {
    with_limits(ample())
}

fn with_limits(limits: Limits) -> Server {
    let server = Server::start(limits, honest_replica());
    let cluster = ClusterInfo { id: CLUSTER.into(), first_members: vec!["node1".into()] };
    server.view.send_modify(|view| view.cluster = Some(Arc::new(cluster)));
    server
}

fn watch(server: &Server, query: &str) -> Events {
    server.connect().events(&format!("GET /watch{query} HTTP/1.1"), "")
}

fn watch_after(server: &Server, query: &str, id: &str) -> Events {
    server.connect().events(&format!("GET /watch{query} HTTP/1.1\r\nLast-Event-ID: {id}"), "")
}

fn set(server: &Server, key: &str, value: &str) {
    assert_eq!(server.post("/set", format!(r#"{{"key":"{key}","value":"{value}"}}"#)).status, 200);
}

fn start(revision: u64) -> String {
    format!(r#"{{"revision":{revision},"cluster":"{CLUSTER}"}}"#)
}

fn id(revision: u64) -> Option<String> {
    Some(format!("{CLUSTER}:{revision}"))
}

fn item(key: &str, value: &str, created: u64, modified: u64, version: u64) -> String {
    format!(
        r#"{{"key":"{key}","value":"{value}","create_revision":{created},"mod_revision":{modified},"version":{version}}}"#
    )
}

fn put(revision: u64, item: &str) -> String {
    format!(r#"{{"revision":{revision},"changes":[{{"type":"put","item":{item}}}]}}"#)
}

#[test]
fn changes_of_the_watched_keys_come_as_they_happen() {
    let server = server();
    set(&server, "a/1", "before"); // 2
    let mut one = watch(&server, "?key=a/1");
    let mut all = watch(&server, "?prefix=a/&prev=true");
    assert_eq!(one.expect("start", &start(2)), id(2));
    assert_eq!(all.expect("start", &start(2)), id(2));
    set(&server, "b", "other"); // 3
    set(&server, "a/1", "new"); // 4
    set(&server, "a/2", "v"); // 5
    server.post("/delete", r#"{"prefix":"a/"}"#); // 6

    assert_eq!(one.expect("change", &put(4, &item("a/1", "new", 2, 4, 2))), id(4));
    assert_eq!(one.expect("change", r#"{"revision":6,"changes":[{"type":"delete","key":"a/1"}]}"#), id(6));

    let (before, new) = (item("a/1", "before", 2, 2, 1), item("a/1", "new", 2, 4, 2));
    let change = format!(r#"{{"revision":4,"changes":[{{"type":"put","item":{new},"prev":{before}}}]}}"#);
    assert_eq!(all.expect("change", &change), id(4));
    all.expect("change", &put(5, &item("a/2", "v", 5, 5, 1)));
    let other = item("a/2", "v", 5, 5, 1);
    let deleted = format!(
        r#"{{"revision":6,"changes":[{{"type":"delete","key":"a/1","prev":{new}}},{{"type":"delete","key":"a/2","prev":{other}}}]}}"#
    );
    assert_eq!(all.expect("change", &deleted), id(6));
}

#[test]
fn each_of_a_crowd_gets_every_change_in_the_form_that_it_asked_for() {
    let server = server();
    // More than are woken at once.
    let mut crowd: Vec<Events> = (0..40).map(|_| watch(&server, "?prefix=a/")).collect();
    let mut deletes = watch(&server, "?prefix=a/&only=delete");
    set(&server, "a/1", "one"); // 2
    let mut late = watch(&server, "?prefix=a/&from_revision=3");
    set(&server, "b", "other"); // 3
    set(&server, "a/1", "two"); // 4
    server.post("/delete", r#"{"key":"a/1"}"#); // 5

    let second = put(4, &item("a/1", "two", 2, 4, 2));
    let deleted = r#"{"revision":5,"changes":[{"type":"delete","key":"a/1"}]}"#;
    for events in &mut crowd {
        events.expect("start", &start(1));
        assert_eq!(events.expect("change", &put(2, &item("a/1", "one", 2, 2, 1))), id(2));
        assert_eq!(events.expect("change", &second), id(4));
        assert_eq!(events.expect("change", deleted), id(5));
    }
    late.expect("start", &start(2));
    late.expect("change", &second);
    late.expect("change", deleted);
    deletes.expect("start", &start(1));
    deletes.expect("change", deleted);
}

#[test]
fn a_watch_goes_on_from_any_revision_or_behind_any_event() {
    let server = server();
    for value in ["one", "two", "three"] {
        set(&server, "k", value); // 2, 3, 4
    }
    let third = put(4, &item("k", "three", 2, 4, 3));
    for mut events in [
        watch(&server, "?key=k&from_revision=4"),
        watch_after(&server, "?key=k", &format!("{CLUSTER}:3")),
        // The position wins over the query.
        watch_after(&server, "?key=k&from_revision=2&initial=true", &format!("{CLUSTER}:3")),
    ] {
        events.expect("start", &start(3));
        assert_eq!(events.expect("change", &third), id(4));
    }
    let mut whole = watch(&server, "?key=k&from_revision=1&only=put");
    whole.expect("start", &start(1));
    whole.expect("change", &put(2, &item("k", "one", 2, 2, 1)));
    let mut next = watch(&server, "?from_revision=5");
    next.expect("start", &start(4));
    server.post("/delete", r#"{"key":"k"}"#);
    set(&server, "k", "new");
    next.expect("change", r#"{"revision":5,"changes":[{"type":"delete","key":"k"}]}"#);
    let mut deletes = watch(&server, "?from_revision=2&only=delete");
    deletes.expect("start", &start(1));
    deletes.expect("change", r#"{"revision":5,"changes":[{"type":"delete","key":"k"}]}"#);
}

#[test]
fn the_present_items_come_first_where_they_are_asked_for() {
    let server = server();
    for key in ["a", "b/1", "b/2", "c", "d"] {
        set(&server, key, "v"); // 2 to 6
    }
    let body = r#"{"ranges":[{"prefix":"b/"},{"key":"d"},{"key":"none"}],"initial":true}"#;
    let mut events = server.connect().events("POST /watch HTTP/1.1", body);
    assert_eq!(events.expect("start", &start(0)), id(0), "nothing has been sent yet");
    let items = [item("b/1", "v", 3, 3, 1), item("b/2", "v", 4, 4, 1)].join(",");
    assert_eq!(events.expect("initial", &format!(r#"{{"items":[{items}]}}"#)), None);
    assert_eq!(events.expect("initial", &format!(r#"{{"items":[{}]}}"#, item("d", "v", 6, 6, 1))), None);
    assert_eq!(events.expect("synced", r#"{"revision":6}"#), id(6));
    set(&server, "d", "w");
    assert_eq!(events.expect("change", &put(7, &item("d", "w", 6, 7, 2))), id(7));

    // One that broke off before all items had come begins anew.
    for mut none in [
        watch(&server, "?prefix=x&initial=true"),
        watch_after(&server, "?prefix=x&initial=true", &format!("{CLUSTER}:0")),
    ] {
        none.expect("start", &start(0));
        none.expect("synced", r#"{"revision":7}"#);
    }

    // Many items come in several events.
    for number in 0..600 {
        set(&server, &format!("many/{number:03}"), "v");
    }
    let mut many = watch(&server, "?prefix=many/&initial=true");
    many.expect("start", &start(0));
    let mut count = 0;
    loop {
        let event = many.next().unwrap();
        if event.name == "synced" {
            break;
        }
        let items: serde_json::Value = serde_json::from_str(&event.data).unwrap();
        let items = items["items"].as_array().unwrap();
        assert!(items.len() <= 256);
        count += items.len();
    }
    assert_eq!(count, 600);
}

#[test]
fn a_large_revision_comes_in_several_events_and_only_the_last_counts() {
    let server = server();
    let value = "x".repeat(900);
    let ops: Vec<String> =
        (0..3000).map(|key| format!(r#"{{"set":{{"key":"{key:04}","value":"{value}"}}}}"#)).collect();
    assert_eq!(server.post("/txn", format!(r#"{{"then":[{}]}}"#, ops.join(","))).status, 200);
    let mut events = watch(&server, "?from_revision=2");
    events.expect("start", &start(1));
    let (mut keys, mut parts) = (Vec::new(), 0);
    loop {
        let event = events.next().unwrap();
        assert!(event.data.len() < 2 << 20, "{}", event.data.len());
        let data: serde_json::Value = serde_json::from_str(&event.data).unwrap();
        for change in data["changes"].as_array().unwrap() {
            keys.push(change["item"]["key"].as_str().unwrap().to_owned());
        }
        parts += 1;
        if data.get("more").is_none() {
            assert_eq!(event.id, id(2));
            break;
        }
        assert_eq!(event.id, None);
    }
    assert!(parts > 1, "{parts}");
    assert!(keys.iter().cloned().eq((0..3000).map(|key| format!("{key:04}"))));
}

#[test]
fn what_cannot_be_watched_is_refused_before_the_stream() {
    let server = with_limits(Limits { streams_max: 1, ..ample() });
    for _ in 0..3 {
        set(&server, "k", "v"); // 2 to 4
    }
    server.post("/compact", r#"{"revision":3}"#);
    let compacted = (410, ErrorCode::Compacted, Applied::No);
    for (query, expected) in [
        ("from_revision=2", compacted),
        ("from_revision=0", (400, ErrorCode::InvalidRequest, Applied::No)),
        ("from_revision=6", (400, ErrorCode::FutureRevision, Applied::No)),
        ("from_revision=6&consistency=stale", (503, ErrorCode::TooStale, Applied::No)),
        ("initial=true&from_revision=4", (400, ErrorCode::InvalidRequest, Applied::No)),
        ("progress_ms=0", (400, ErrorCode::InvalidRequest, Applied::No)),
        ("only=all", (400, ErrorCode::InvalidRequest, Applied::No)),
        ("limit=5", (400, ErrorCode::InvalidRequest, Applied::No)),
    ] {
        assert_eq!(server.get(&format!("/watch?{query}")).failure(), expected, "{query}");
    }
    for (id, expected) in [
        (format!("{CLUSTER}:1"), compacted),
        ("00000000000000a1:4".into(), compacted),
        ("4".into(), (400, ErrorCode::InvalidRequest, Applied::No)),
    ] {
        let reply = server.request(&format!("GET /watch?key=k HTTP/1.1\r\nLast-Event-ID: {id}"), "");
        assert_eq!(reply.failure(), expected, "{id}");
        if expected == compacted {
            assert!(reply.error().error.oldest_revision.is_some());
        }
    }
    let _first = watch(&server, "?from_revision=4");
    let overloaded = (429, ErrorCode::Overloaded, Applied::No);
    for path in ["/watch", "/leader/watch", "/lock/watch?name=n", "/get?key=k&newer_than=4&wait_ms=60000"] {
        assert_eq!(server.get(path).failure(), overloaded, "{path}");
    }
    assert_eq!(server.post("/lock", r#"{"name":"n","wait_ms":60000}"#).failure(), overloaded);
    assert_eq!(server.get("/get?key=k").status, 200, "what does not last is answered");
}

#[test]
fn a_watcher_that_is_too_slow_is_told_so() {
    let server = server();
    let history = HistoryLimits { bytes_max: 0, age_ms_max: 0, ..HistoryLimits::default() };
    set(&server, "k", "v");
    let mut events = watch(&server, "?key=k");
    events.expect("start", &start(2));
    {
        // Both happen before the watcher can look.
        let mut store = server.store.write().unwrap();
        store.set_limits(&StoreLimits { history, ..StoreLimits::default() });
        for _ in 0..2 {
            let put = crate::kv::Put::new("k", "v");
            let operation = crate::kv::Operation::Set { put, condition: None };
            store.apply(1, &crate::kv::Command { operation, request: None });
        }
        while store.free_history(1000) {}
    }
    server.view.send_modify(|view| view.applied_index += 1);
    assert_eq!(events.expect("compacted", r#"{"oldest_revision":5}"#), id(2));
    assert_eq!(events.next(), None);
}

#[test]
fn progress_is_told_while_nothing_happens() {
    let server = server();
    let mut events = watch(&server, "?key=k&progress_ms=100");
    events.expect("start", &start(1));
    assert_eq!(events.expect("progress", r#"{"revision":1}"#), id(1));
    set(&server, "other", "v");
    loop {
        let event = events.next().unwrap();
        assert_eq!(event.name, "progress");
        if event.id == id(2) {
            break;
        }
    }
}

#[test]
fn a_node_that_ends_its_service_ends_its_streams() {
    type End = fn(&mut Server);
    let ends: [(End, &str); 3] = [
        (|server| server.view.send_modify(|view| view.state = NodeState::Diverged), "diverged"),
        (|server| server.view.send_modify(|view| view.state = NodeState::Removed), "removed"),
        (Server::begin_stop, "no_leader"),
    ];
    for (end, code) in ends {
        let mut server = server();
        let mut events = watch(&server, "?key=k");
        let mut holders = server.connect().events("GET /lock/watch?name=n HTTP/1.1", "");
        events.expect("start", &start(1));
        holders.expect("holder", r#"{"name":"n","holder":null,"revision":1}"#);
        end(&mut server);
        for stream in [&mut events, &mut holders] {
            let event = stream.next().unwrap();
            assert_eq!((&event.name[..], event.id), ("error", None));
            let error: kvclient::api::ErrorReply = serde_json::from_str(&event.data).unwrap();
            assert_eq!(serde_json::to_value(error.error.code).unwrap(), code);
            assert_eq!(stream.next(), None);
        }
    }
}

#[test]
fn a_node_outside_of_a_cluster_has_nothing_to_watch() {
    let server = Server::start(ample(), honest_replica());
    server.view.send_replace(View { state: NodeState::Forming, cluster: None, ..view_of_a_leader() });
    server.leader.send_replace(leads(0, None));
    assert_eq!(server.get("/watch?consistency=stale").failure(), (503, ErrorCode::NotReady, Applied::No));
}
