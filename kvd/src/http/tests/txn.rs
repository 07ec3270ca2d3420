//! `/txn`: results, what it is refused for, and reads without the log.

use super::server::{Server, TXN_BYTES_MAX, VALUE_BYTES_MAX};
use crate::http::Request;
use kvclient::api::{Applied, ErrorCode};

fn server() -> Server {
    let server = Server::honest();
    for (key, value) in [("a", "1"), ("b", "2")] {
        server.post("/set", format!(r#"{{"key":"{key}","value":"{value}"}}"#));
    }
    server
}

#[test]
fn results_are_shaped_as_the_replies_of_their_paths() {
    let server = server();
    for (body, expected) in [
        (
            r#"{"if":[{"key":"a","value":"1"}],"then":[{"set":{"key":"c","value":"3"}}],"else":[{"get":{"key":"a"}}]}"#,
            r#"{"succeeded":true,"revision":4,"results":[{"revision":4,"created":true}]}"#,
        ),
        (
            r#"{"if":[{"key":"a","value":"1"},{"key":"z","present":true}],"then":[],"else":[{"get":{"key":"a"}},{"get":{"key":"z"}},{"delete":{"key":"z"}}]}"#,
            concat!(
                r#"{"succeeded":false,"revision":4,"results":["#,
                r#"{"key":"a","value":"1","create_revision":2,"mod_revision":2,"version":1,"revision":4},null,"#,
                r#"{"revision":4,"deleted":0}]}"#
            ),
        ),
        (
            r#"{"then":[{"set":{"key":"a","value":"new","prev":true}},{"get":{"key":"a"}},{"delete":{"key":"b","prev":true}},{"list":{"keys_only":true,"count":true}}]}"#,
            concat!(
                r#"{"succeeded":true,"revision":5,"results":["#,
                r#"{"revision":5,"created":false,"prev":{"key":"a","value":"1","create_revision":2,"mod_revision":2,"version":1}},"#,
                r#"{"key":"a","value":"new","create_revision":2,"mod_revision":5,"version":2,"revision":5},"#,
                r#"{"revision":5,"deleted":1,"prev":{"key":"b","value":"2","create_revision":3,"mod_revision":3,"version":1}},"#,
                r#"{"items":[{"key":"a","create_revision":2,"mod_revision":5,"version":2},"#,
                r#"{"key":"c","create_revision":4,"mod_revision":4,"version":1}],"revision":5,"count":2}]}"#
            ),
        ),
        (
            r#"{"then":[{"txn":{"if":[{"key":"a","version":{"gt":1}}],"then":[{"delete":{"prefix":"","limit":1}}]}},{"list":{"limit":1}}]}"#,
            r#"say so with"#,
        ),
        (
            r#"{"then":[{"txn":{"if":[{"key":"a","version":{"gt":1}}],"then":[{"delete":{"prefix":"a","limit":1,"prev":true}}]}},{"list":{"delimiter":"c","limit":1}}]}"#,
            concat!(
                r#"{"succeeded":true,"revision":6,"results":[{"succeeded":true,"revision":6,"results":["#,
                r#"{"revision":6,"deleted":1,"items":[{"key":"a","value":"new","create_revision":2,"mod_revision":5,"version":2}]}]},"#,
                r#"{"items":[],"prefixes":["c"],"revision":6}]}"#
            ),
        ),
    ] {
        let reply = server.post("/txn", body);
        assert!(reply.text() == expected || (reply.status == 400 && reply.text().contains(expected)), "{reply:?}");
        assert_eq!(reply.header("kvd-term").is_some(), reply.status == 200);
    }
}

#[test]
fn each_test_of_a_compare_means_what_it_says() {
    let server = server();
    server.post("/lease/grant", r#"{"ttl_ms":15000,"lease":"0000000000000007"}"#);
    server.post("/set", r#"{"key":"l","value":"","lease":"0000000000000007"}"#);
    for (compare, expected) in [
        (r#"{"key":"a","present":true}"#, true),
        (r#"{"key":"z","absent":true}"#, true),
        (r#"{"key":"a","absent":true}"#, false),
        (r#"{"key":"a","create_revision":2}"#, true),
        (r#"{"key":"a","mod_revision":{"lt":3}}"#, true),
        (r#"{"key":"z","mod_revision":0}"#, true),
        (r#"{"key":"a","version":{"gt":1}}"#, false),
        (r#"{"key":"a","value":"1"}"#, true),
        (r#"{"key":"a","value":{"gt":"0"}}"#, true),
        (r#"{"key":"a","value_base64":{"lt":"/w=="}}"#, true),
        (r#"{"key":"z","value":{"ne":"1"}}"#, false),
        (r#"{"key":"a","lease":null}"#, true),
        (r#"{"key":"l","lease":{"ne":null}}"#, true),
        (r#"{"key":"l","lease":"0000000000000007"}"#, true),
        (r#"{"from":"a","to":"c","version":1}"#, true),
        (r#"{"all":true,"mod_revision":{"gt":2}}"#, false),
        (r#"{"prefix":"none","absent":true}"#, true),
        (r#"{"held":{"name":"n","token":1}}"#, false),
    ] {
        let reply = server.post("/txn", format!(r#"{{"if":[{compare}]}}"#));
        let expected = format!(r#"{{"succeeded":{expected},"revision":4,"results":[]}}"#);
        assert_eq!(reply.text(), expected, "{compare}");
    }
}

#[test]
fn a_transaction_that_only_reads_never_reaches_the_log() {
    let server = Server::scripted(|request| {
        let Request::Read { reply, .. } = request else { panic!("{request:?}") };
        let _ = reply.send(Ok(None));
    });
    for body in [
        "{}",
        r#"{"then":[{"get":{"key":"a"}},{"list":{}}]}"#,
        r#"{"if":[{"all":true,"absent":true}],"then":[{"txn":{"then":[{"get":{"key":"a"}}]}}]}"#,
    ] {
        let reply = server.post("/txn", body);
        assert!(reply.text().starts_with(r#"{"succeeded":true,"revision":1,"results":["#), "{reply:?}");
        assert_eq!((reply.header("kvd-revision"), reply.header("kvd-term")), (Some("1"), Some("5")));
    }
    let server = Server::scripted(|request| {
        let Request::Read { reply, .. } = request else { panic!("{request:?}") };
        let _ = reply.send(Err(crate::node::ReadError::NoLeader));
    });
    assert_eq!(server.post("/txn?timeout_ms=20", "{}").failure(), (503, ErrorCode::NoLeader, Applied::No));
}

#[test]
fn a_transaction_is_applied_once() {
    let server = server();
    let body = r#"{"then":[{"set":{"key":"a","value":"2"}}],"request":{"client":"c","seq":1}}"#;
    for _ in 0..2 {
        let reply = server.post("/txn", body);
        assert_eq!(reply.text(), r#"{"succeeded":true,"revision":4,"results":[{"revision":4,"created":false}]}"#);
    }
    let other = body.replace("\"2\"", "\"3\"");
    assert_eq!(server.post("/txn", other).failure(), (400, ErrorCode::InvalidRequest, Applied::No));
}

#[test]
fn a_transaction_that_breaks_a_rule_is_refused_before_the_log() {
    let server = Server::scripted(|request| panic!("asked {request:?}"));
    let invalid = (400, ErrorCode::InvalidRequest, Applied::No);
    let too_large = (413, ErrorCode::TooLarge, Applied::No);
    let set = |key: &str| format!(r#"{{"set":{{"key":"{key}","value":"v"}}}}"#);
    let many = |ops: Vec<String>| format!(r#"{{"then":[{}]}}"#, ops.join(","));
    let deep = |levels| (0..levels).fold(set("a"), |op, _| format!(r#"{{"txn":{{"then":[{op}]}}}}"#));
    let value = "v".repeat(VALUE_BYTES_MAX + 1);
    let largest = format!(r#"{{"value":"{}"}}"#, &value[1..]);
    let full: Vec<String> = (0..TXN_BYTES_MAX / VALUE_BYTES_MAX)
        .map(|key| format!(r#"{{"set":{{"key":"{key}",{}}}"#, &largest[1..]))
        .collect();
    for (body, expected, says) in [
        (many(vec![set("k"), set("k")]), invalid, "the key \"k\" twice"),
        (many(vec![r#"{"delete":{"prefix":"k"}}"#.into(), set("k1")]), invalid, "the key \"k1\" twice"),
        (many(vec![deep(4)]), invalid, "at most 3 deep"),
        (many((0..10_001).map(|key| set(&key.to_string())).collect()), too_large, "more than 10000 operations"),
        (many(full), too_large, "--max-txn-bytes"),
        (many(vec![format!(r#"{{"set":{{"key":"k","value":"{value}"}}}}"#)]), too_large, "at most 1000 bytes"),
        (format!(r#"{{"if":[{{"key":"k","value":"{value}"}}]}}"#), too_large, "at most 1000 bytes"),
        (many(vec![set("")]), invalid, "key is empty"),
        (many(vec![r#"{"get":{"key":""}}"#.into()]), invalid, "key is empty"),
        (r#"{"then":[],"request":{"client":"","seq":1}}"#.into(), invalid, "client name"),
        (r#"{"then":[{"get":{"key":"k","revision":1}}]}"#.into(), invalid, "unknown field `revision`"),
        (r#"{"then":[{"set":{"key":"k","value":"v","if":{"absent":true}}}]}"#.into(), invalid, "unknown field `if`"),
        (r#"{"then":[{"list":{"limit":10001}}]}"#.into(), invalid, "from 1 to 10000"),
        (r#"{"success":[]}"#.into(), invalid, "unknown field `success`"),
        ("".into(), invalid, "it is empty"),
        ("[".repeat(200), invalid, "Example"),
    ] {
        let reply = server.post("/txn", &body);
        assert_eq!(reply.failure(), expected, "{}", &body[..body.len().min(100)]);
        assert!(reply.error().error.message.contains(says), "{reply:?}");
    }
    assert_eq!(server.post("/txn?consistency=stale", "{}").failure(), invalid);
}

#[test]
fn the_most_that_a_transaction_may_have_is_taken() {
    let server = Server::honest();
    let sets: Vec<String> = (0..10_000).map(|key| format!(r#"{{"set":{{"key":"{key}","value":"\u0000"}}}}"#)).collect();
    let compare = r#"{"key":"none","absent":true}"#;
    let body = format!(r#"{{"if":[{compare},{compare}],"then":[{}]}}"#, sets.join(","));
    let reply = server.post("/txn", body);
    assert!(reply.text().starts_with(r#"{"succeeded":true,"revision":2,"results":[{"#), "{}", reply.status);
    assert_eq!(server.store.read().unwrap().len(), 10_000);
}
