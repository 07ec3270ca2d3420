//! Reads of the past, and reads that wait for a change.

use super::server::{Server, ample, honest_replica};
use crate::http::Request;
use crate::kv::{HistoryLimits, StoreLimits};
use kvclient::api::{Applied, ErrorCode};
use std::time::{Duration, Instant};

/// Returns a server with `k` set at revisions 2 and 3, deleted at 4, and set again at 5.
fn server() -> Server {
    let server = Server::honest();
    for body in [r#"{"key":"k","value":"one"}"#, r#"{"key":"k","value":"two"}"#] {
        server.post("/set", body);
    }
    server.post("/delete", r#"{"key":"k"}"#);
    server.post("/set", r#"{"key":"k","value":"new"}"#);
    server
}

#[test]
fn a_key_is_read_as_it_was() {
    let server = server();
    for (revision, expected) in [(1, None), (2, Some("one")), (3, Some("two")), (4, None), (5, Some("new"))] {
        for (path, status) in [("/get?key=k&raw=true", 200), ("/get?key=none&raw=true", 404)] {
            let reply = server.get(&format!("{path}&revision={revision}"));
            let found = (reply.status == 200).then(|| reply.text());
            assert_eq!(found, expected.filter(|_| status == 200), "{path} {revision}");
            assert_eq!(reply.header("kvd-revision"), Some("5"), "{path} {revision}");
        }
    }
    assert_eq!(
        server.get("/get?key=k&revision=3").text(),
        r#"{"key":"k","value":"two","create_revision":2,"mod_revision":3,"version":2,"revision":5}"#
    );
}

#[test]
fn each_past_that_cannot_be_read_has_its_status() {
    let server = server();
    server.post("/compact", r#"{"revision":3}"#);
    for path in ["/get?key=k&", "/list?"] {
        for (query, expected) in [
            ("revision=2", (410, ErrorCode::Compacted, Applied::No)),
            ("revision=2&consistency=stale", (410, ErrorCode::Compacted, Applied::No)),
            ("revision=0", (410, ErrorCode::Compacted, Applied::No)),
            ("revision=6", (400, ErrorCode::FutureRevision, Applied::No)),
            ("revision=6&consistency=stale", (503, ErrorCode::TooStale, Applied::No)),
            ("newer_than=6&wait_ms=5", (400, ErrorCode::FutureRevision, Applied::No)),
            ("newer_than=6&consistency=stale", (503, ErrorCode::TooStale, Applied::No)),
            ("revision=3&newer_than=3", (400, ErrorCode::InvalidRequest, Applied::No)),
            ("revision=x", (400, ErrorCode::InvalidRequest, Applied::No)),
            ("wait_ms=5", (400, ErrorCode::InvalidRequest, Applied::No)),
            ("newer_than=3&wait_ms=600001", (400, ErrorCode::InvalidRequest, Applied::No)),
        ] {
            let reply = server.get(&format!("{path}{query}"));
            assert_eq!(reply.failure(), expected, "{path}{query}");
            let oldest = (expected.1 == ErrorCode::Compacted).then_some(3);
            assert_eq!(reply.error().error.oldest_revision, oldest, "{path}{query}");
        }
        assert_eq!(server.get(&format!("{path}revision=3")).status, 200);
    }
}

#[test]
fn the_past_that_a_node_has_needs_no_leader_and_what_it_lacks_is_waited_for() {
    // A node that has applied nothing, and whose leader answers once it has applied two commands.
    let server = Server::start(
        ample(),
        Box::new(|mut inbox, store, _| {
            while let Some(request) = inbox.blocking_recv() {
                let Request::Read { reply, .. } = request else { panic!("{request:?}") };
                for key in ["a", "b"] {
                    let put = crate::kv::Put::new(key, "v");
                    let operation = crate::kv::Operation::Set { put, condition: None };
                    store.write().unwrap().apply(0, &crate::kv::Command { operation, request: None });
                }
                reply.send(Ok(None)).unwrap();
            }
        }),
    );
    assert_eq!(server.get("/get?key=a&revision=1").status, 404, "it has that much");
    assert_eq!(server.store.read().unwrap().revision(), 1, "and asked nobody");
    assert_eq!(server.get("/get?key=a&revision=2&raw=true").text(), "v");
    assert_eq!(server.get("/get?key=b&revision=2").status, 404);
    assert_eq!(server.get("/list?revision=3&keys_only=true").status, 200);
}

/// Sets a key in another thread, once a read has begun to wait.
fn set_soon(server: &Server, key: &'static str) -> std::thread::JoinHandle<()> {
    let (address, stop) = (server.address, server.stop.clone());
    let idle = stop.receiver_count();
    std::thread::spawn(move || {
        while stop.receiver_count() == idle {
            std::thread::yield_now();
        }
        let body = format!(r#"{{"key":"{key}","value":"awaited"}}"#);
        super::wire::Wire::connect(address).request("POST /set HTTP/1.1", body);
    })
}

#[test]
fn a_long_poll_is_answered_at_once_where_something_is_newer() {
    let server = server();
    for (path, status) in [
        ("/get?key=k&newer_than=4", 200),
        ("/get?key=k&newer_than=1", 200),
        ("/get?key=k&after=4", 200),
        ("/list?newer_than=4", 200),
        ("/list?prefix=k&newer_than=3", 200),
    ] {
        let began = Instant::now();
        let reply = server.get(&format!("{path}&wait_ms=60000"));
        assert_eq!((reply.status, reply.header("kvd-revision")), (status, Some("5")), "{path}");
        assert!(began.elapsed() < Duration::from_secs(20), "{path}");
    }
    server.post("/delete", r#"{"key":"k"}"#);
    let reply = server.get("/get?key=k&newer_than=5&wait_ms=60000");
    assert_eq!((reply.status, reply.header("kvd-revision")), (404, Some("6")), "a deletion is news");
    // Where nobody knows any more.
    let history = HistoryLimits { bytes_max: 0, age_ms_max: 0, ..HistoryLimits::default() };
    server.store.write().unwrap().set_limits(&StoreLimits { history, ..StoreLimits::default() });
    server.post("/set", r#"{"key":"other","value":"v"}"#);
    assert_eq!(server.get("/get?key=k&newer_than=6&wait_ms=60000").status, 404);
    assert_eq!(server.get("/list?prefix=k&newer_than=6&wait_ms=60000").status, 200);
}

#[test]
fn a_long_poll_waits_for_its_keys_and_no_longer_than_it_says() {
    let server = server();
    for path in ["/get?key=none", "/get?key=k", "/list?prefix=none"] {
        let began = Instant::now();
        let reply = server.get(&format!("{path}&newer_than=5&wait_ms=50"));
        assert!([200, 404].contains(&reply.status), "{path}: {reply:?}");
        assert!(began.elapsed() >= Duration::from_millis(50), "{path}");
        assert_eq!(reply.header("kvd-revision"), Some("5"), "{path}");
    }
    let began = Instant::now();
    assert_eq!(server.get("/get?key=k&newer_than=5&wait_ms=60000&timeout_ms=50").status, 200);
    assert!(began.elapsed() < Duration::from_secs(20), "the request's own time bounds it");

    for (path, key, revision) in [
        ("/get?key=awaited&raw=true&newer_than=5", "awaited", "6"),
        ("/list?prefix=in/&newer_than=6", "in/1", "7"),
        ("/list?prefix=in/&newer_than=7&consistency=stale", "in/2", "8"),
    ] {
        let setting = set_soon(&server, key);
        let reply = server.get(&format!("{path}&wait_ms=60000"));
        assert_eq!((reply.status, reply.header("kvd-revision")), (200, Some(revision)), "{path}");
        assert!(reply.text().contains("awaited"), "{reply:?}");
        setting.join().unwrap();
    }
}

#[test]
fn a_node_that_stops_ends_its_long_polls() {
    let mut server = Server::start(ample(), honest_replica());
    let mut wire = server.connect();
    wire.send("GET /get?key=k&newer_than=1&wait_ms=600000 HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(server.get("/get?key=k").status, 404, "it is served beside others");
    server.begin_stop();
    assert_eq!(wire.reply(true).failure(), (503, ErrorCode::NoLeader, Applied::No));
}
