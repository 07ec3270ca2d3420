//! `/list` as lines of JSON.

use super::server::{Server, ample, honest_replica};
use crate::kv::{HistoryLimits, StoreLimits};
use kvclient::api::{Applied, ErrorCode, Key, ListLine};

/// Returns the lines of a stream.
fn lines(server: &Server, query: &str) -> Vec<ListLine> {
    let reply = server.get_lines(&format!("/list?{query}"));
    assert_eq!((reply.status, reply.header("content-type")), (200, Some("application/x-ndjson")), "{query}");
    read(reply.text())
}

fn read(text: &str) -> Vec<ListLine> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn fill(server: &Server, keys: usize, value: &str) {
    let all: Vec<usize> = (0..keys).collect();
    for part in all.chunks(1000) {
        let sets = part.iter().map(|key| format!(r#"{{"set":{{"key":"k{key:05}","value":"{value}"}}}}"#));
        let body = format!(r#"{{"then":[{}]}}"#, sets.collect::<Vec<_>>().join(","));
        assert_eq!(server.post("/txn", body).status, 200);
    }
}

#[test]
fn a_stream_is_to_the_letter() {
    let server = Server::honest();
    for body in
        [r#"{"key":"a","value":"1"}"#, r#"{"key":"a/1","value":"2"}"#, r#"{"key_base64":"/w==","value_base64":"/w=="}"#]
    {
        server.post("/set", body);
    }
    for (query, expected) in [
        (
            "",
            vec![
                r#"{"key":"a","value":"1","create_revision":2,"mod_revision":2,"version":1}"#,
                r#"{"key":"a/1","value":"2","create_revision":3,"mod_revision":3,"version":1}"#,
                r#"{"key_base64":"/w==","value_base64":"/w==","create_revision":4,"mod_revision":4,"version":1}"#,
                r#"{"end":true,"revision":4,"count":3}"#,
            ],
        ),
        (
            "keys_only=true&delimiter=/&order=desc",
            vec![
                r#"{"key_base64":"/w==","create_revision":4,"mod_revision":4,"version":1}"#,
                r#"{"prefix":"a/"}"#,
                r#"{"key":"a","create_revision":2,"mod_revision":2,"version":1}"#,
                r#"{"end":true,"revision":4,"count":3}"#,
            ],
        ),
        ("prefix=none", vec![r#"{"end":true,"revision":4,"count":0}"#]),
        (
            "revision=2",
            vec![
                r#"{"key":"a","value":"1","create_revision":2,"mod_revision":2,"version":1}"#,
                r#"{"end":true,"revision":2,"count":1}"#,
            ],
        ),
    ] {
        let reply = server.get_lines(&format!("/list?{query}"));
        assert_eq!(reply.text().lines().collect::<Vec<_>>(), expected, "{query}");
        assert_eq!(reply.header("kvd-term"), Some("5"));
    }
    let stale = server.get_lines("/list?consistency=stale");
    assert_eq!((stale.header("kvd-revision"), stale.header("kvd-term")), (Some("4"), None));
}

#[test]
fn lines_are_asked_for_in_any_words_of_http() {
    let server = Server::honest();
    for (accept, is_lines) in [
        ("application/x-ndjson", true),
        ("application/json, Application/X-NDJSON;q=0.5", true),
        ("application/json\r\nAccept: application/x-ndjson", true),
        ("*/*", false),
        ("application/json", false),
    ] {
        let mut wire = server.connect();
        let reply = wire.request(&format!("GET /list HTTP/1.1\r\nAccept: {accept}"), "");
        let expected = if is_lines { "application/x-ndjson" } else { "application/json" };
        assert_eq!(reply.header("content-type"), Some(expected), "{accept}");
    }
}

#[test]
fn a_stream_has_the_whole_range_in_many_pieces_at_one_revision() {
    let server = Server::honest();
    fill(&server, 5000, "v");
    let mut wire = server.connect();
    let reply = wire.request("GET /list HTTP/1.1\r\nAccept: application/x-ndjson", "");
    assert_eq!(reply.header("kvd-revision"), Some("6"));
    // Everything changes while the stream is on its way.
    server.post("/delete", r#"{"all":true}"#);
    let all = read(std::str::from_utf8(&wire.chunks().unwrap()).unwrap());
    assert_eq!(all.len(), 5001);
    let keys = all.iter().filter_map(|line| if let ListLine::Item(item) = line { Some(&item.key) } else { None });
    assert!(keys.is_sorted());
    assert_eq!(all.last(), Some(&ListLine::End { revision: 6, count: 5000 }));
}

#[test]
fn a_stream_whose_revision_is_forgotten_says_where_to_go_on() {
    let server = Server::honest();
    fill(&server, 20_000, &"v".repeat(900));
    {
        let mut store = server.store.write().unwrap();
        let history = HistoryLimits { bytes_max: 0, age_ms_max: 0, ..HistoryLimits::default() };
        store.set_limits(&StoreLimits { history, reader_bytes_max: 0, ..StoreLimits::default() });
    }
    let mut wire = server.connect();
    let reply = wire.request("GET /list HTTP/1.1\r\nAccept: application/x-ndjson", "");
    assert_eq!(reply.status, 200);
    // The connection has room for a part of the 18 MB only, and takes no more until the client reads.
    for key in (0..20_000).rev().step_by(1000) {
        server.post("/delete", format!(r#"{{"from":"k{key:05}"}}"#));
    }
    let all = read(std::str::from_utf8(&wire.chunks().unwrap()).unwrap());
    let (last, items) = all.split_last().unwrap();
    let ListLine::Error { error, after } = last else { panic!("it went on: {last:?}") };
    assert_eq!((error.code, error.applied), (ErrorCode::Compacted, Applied::No));
    assert!(error.oldest_revision > Some(21), "newer than the list: {error:?}");
    let key = |line: &ListLine| if let ListLine::Item(item) = line { Some(item.key.clone()) } else { None };
    assert_eq!(*after, items.last().and_then(key));
    assert!(items.len() < 20_000);
    let rest = lines(&server, &format!("after={}", after.clone().unwrap()));
    assert!(matches!(rest.last(), Some(ListLine::End { .. })));
}

#[test]
fn a_stream_ends_where_there_is_no_memory_for_more_of_it() {
    let limits = crate::http::Limits { reply_bytes_max: 0, ..ample() };
    let server = Server::start(limits, honest_replica());
    // The first piece has 256 short items, which cost nothing. The second is larger.
    let short = (0..256).map(|key| (format!("a{key:03}"), String::new()));
    let long = (0..100).map(|key| (format!("b{key:03}"), "v".repeat(1000)));
    for (key, value) in short.chain(long) {
        server.post("/set", serde_json::json!({ "key": key, "value": value }).to_string());
    }
    let all = lines(&server, "");
    let Some(ListLine::Error { error, after }) = all.last() else { panic!("it went on") };
    assert_eq!((all.len(), error.code, error.applied), (257, ErrorCode::Overloaded, Applied::No));
    assert_eq!(*after, Some("a255".into()));
    let reply = server.get_lines("/list?prefix=b");
    assert_eq!(reply.failure(), (429, ErrorCode::Overloaded, Applied::No), "before the first line it is a status");
    assert_eq!(server.get("/list?prefix=b").failure(), (429, ErrorCode::Overloaded, Applied::No));
    assert_eq!(server.get("/list?prefix=b&keys_only=true").status, 200);
}

#[test]
fn a_stream_has_one_of_the_places_of_streams_and_waits() {
    let server = Server::start(crate::http::Limits { streams_max: 1, ..ample() }, honest_replica());
    fill(&server, 20_000, &"v".repeat(900));
    let mut wire = server.connect();
    assert_eq!(wire.request("GET /list HTTP/1.1\r\nAccept: application/x-ndjson", "").status, 200);
    let refused = server.get_lines("/list");
    assert_eq!(refused.failure(), (429, ErrorCode::Overloaded, Applied::No));
    assert_eq!(server.get("/list?limit=1").status, 200, "a page is short");
    drop(wire);
    testkit::until("its place is free", || {
        (server.get_lines("/list?keys_only=true&prefix=k0000").status != 429).then_some(())
    });
}

#[test]
fn errors_before_the_first_line_are_statuses() {
    let server = Server::honest();
    let invalid = (400, ErrorCode::InvalidRequest, Applied::No);
    for (query, expected) in [
        ("revision=0", (410, ErrorCode::Compacted, Applied::No)),
        ("revision=9", (400, ErrorCode::FutureRevision, Applied::No)),
        ("limit=5", invalid),
        ("count=true", invalid),
        ("count_only=true", invalid),
        ("next=x", invalid),
        ("prefx=a", invalid),
    ] {
        assert_eq!(server.get_lines(&format!("/list?{query}")).failure(), expected, "{query}");
    }
}

#[test]
fn a_folder_behind_which_a_stream_goes_on_does_not_come_again() {
    let server = Server::honest();
    for key in ["a/1", "a/2", "b/1"] {
        server.post("/set", format!(r#"{{"key":"{key}","value":"v"}}"#));
    }
    let rest = lines(&server, "delimiter=/&after=a/");
    assert_eq!(rest[0], ListLine::Prefix(Key::from("b/")));
}
