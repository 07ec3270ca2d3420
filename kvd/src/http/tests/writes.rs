//! `/set` and `/delete` with leases and ranges, and what a write is refused for.

use super::server::Server;
use kvclient::api::{Applied, ErrorCode};

const OCTETS: &str = "Content-Type: application/octet-stream";

/// Posts each body, and compares the reply with the words expected.
fn replies(server: &Server, cases: &[(&str, &str, u16, &str)]) {
    for (path, body, status, expected) in cases {
        let reply = server.post(path, body);
        assert_eq!((reply.status, reply.text()), (*status, *expected), "{path} {body}");
        assert_eq!(reply.header("kvd-term"), Some("5"), "{path} {body}");
    }
}

#[test]
fn a_key_is_attached_to_a_lease_in_one_way() {
    let server = Server::honest();
    replies(
        &server,
        &[
            (
                "/lease/grant",
                r#"{"ttl_ms":15000,"lease":"00000000000004d2"}"#,
                200,
                r#"{"lease":"00000000000004d2","ttl_ms":15000}"#,
            ),
            ("/set", r#"{"key":"a","value":"1","lease":"00000000000004d2"}"#, 200, r#"{"revision":2,"created":true}"#),
            ("/set", r#"{"key":"a","value":"2","keep_lease":true}"#, 200, r#"{"revision":3,"created":false}"#),
            (
                "/set",
                r#"{"key":"a","value":"3","prev":true}"#,
                200,
                concat!(
                    r#"{"revision":4,"created":false,"prev":{"key":"a","value":"2","create_revision":2,"#,
                    r#""mod_revision":3,"version":2,"lease":"00000000000004d2"}}"#
                ),
            ),
        ],
    );
    assert!(!server.get("/get?key=a").text().contains("lease"), "a write without a word of leases detaches");

    let own = server.post("/set", r#"{"key":"b","value":"1","ttl_ms":500}"#);
    let own: kvclient::api::SetReply = serde_json::from_slice(&own.body).unwrap();
    let lease = own.lease.expect("a lease of its own");
    assert!(server.get("/get?key=b").text().contains(&format!(r#""lease":"{lease}""#)));
    assert_eq!(server.get("/leases").text(), {
        concat!(
            r#"{"leases":[{"lease":"00000000000004d2","ttl_ms":15000,"remaining_ms":15000,"keys":0}],"#,
            r#""revision":5}"#
        )
    });
    let again = server.post("/set", r#"{"key":"b","value":"1","ttl_ms":500}"#);
    assert!(again.text().contains(&format!(r#""lease":"{lease}""#)), "{again:?}");
}

#[test]
fn raw_bytes_take_a_lease_from_the_query() {
    let server = Server::honest();
    server.post("/lease/grant", r#"{"ttl_ms":15000,"lease":"00000000000004d2"}"#);
    let set = |query: &str| server.request(&format!("POST /set?key=k&{query} HTTP/1.1\r\n{OCTETS}"), b"\xff");
    assert_eq!(set("lease=00000000000004d2").text(), r#"{"revision":2,"created":true}"#);
    assert!(server.get("/get?key=k").text().contains(r#""lease":"00000000000004d2""#));
    assert!(set("ttl_ms=500").text().contains(r#""lease":""#));
    for (query, complaint) in [
        ("lease=4d2", "`lease` must be the id of a lease"),
        ("ttl_ms=soon", "`ttl_ms` must be a number"),
        ("ttl_ms=499", "`ttl_ms` must be from 500"),
        ("ttl_ms=500&lease=00000000000004d2", "give one of `lease`, `ttl_ms`"),
    ] {
        let reply = set(query);
        assert_eq!(reply.failure(), (400, ErrorCode::InvalidRequest, Applied::No), "{query}");
        assert!(reply.text().contains(complaint), "{reply:?}");
    }
    let json = server.post("/set?lease=00000000000004d2", r#"{"key":"k","value":"v"}"#);
    assert!(json.text().contains("need a body of raw bytes"), "{json:?}");
}

#[test]
fn a_range_is_deleted_in_one_revision() {
    let server = Server::honest();
    for key in ["a/1", "a/2", "a/3", "b"] {
        server.post("/set", format!(r#"{{"key":"{key}","value":"{key}"}}"#));
    }
    server.post("/set", r#"{"key_base64":"Yf8=","value":"bytes"}"#);
    replies(
        &server,
        &[
            ("/delete", r#"{"prefix":"a/","limit":1}"#, 200, r#"{"revision":7,"deleted":1,"more":true}"#),
            ("/delete", r#"{"prefix":"none"}"#, 200, r#"{"revision":7,"deleted":0}"#),
            (
                "/delete",
                r#"{"from":"a/","to":"b","limit":2,"prev":true}"#,
                200,
                concat!(
                    r#"{"revision":8,"deleted":2,"more":true,"items":["#,
                    r#"{"key":"a/2","value":"a/2","create_revision":3,"mod_revision":3,"version":1},"#,
                    r#"{"key":"a/3","value":"a/3","create_revision":4,"mod_revision":4,"version":1}]}"#
                ),
            ),
            (
                "/delete",
                r#"{"prefix_base64":"Yf8=","prev":true}"#,
                200,
                concat!(
                    r#"{"revision":9,"deleted":1,"items":[{"key_base64":"Yf8=","value":"bytes","#,
                    r#""create_revision":6,"mod_revision":6,"version":1}]}"#
                ),
            ),
            ("/delete", r#"{"all":true}"#, 200, r#"{"revision":10,"deleted":1}"#),
        ],
    );
    for (body, complaint) in [
        ("{}", "missing field `key`, or a range"),
        (r#"{"prefix":""}"#, "say so with"),
        (r#"{"from":"a","if":{"absent":true}}"#, "takes only a `held` condition"),
        (r#"{"prefix":"a","limit":0}"#, "`limit` must be at least 1"),
    ] {
        let reply = server.post("/delete", body);
        assert_eq!(reply.failure(), (400, ErrorCode::InvalidRequest, Applied::No), "{body}");
        assert!(reply.error().error.message.contains(complaint), "{reply:?}");
    }
}

#[test]
fn a_write_that_needs_a_lock_is_refused_without_it() {
    let server = Server::honest();
    let held = r#""if":{"held":{"name":"jobs","token":2}}"#;
    let set = format!(r#"{{"key":"k","value":"v",{held}}}"#);
    let delete = format!(r#"{{"prefix":"k",{held}}}"#);
    for (path, body) in [("/set", &set), ("/delete", &delete)] {
        let reply = server.post(path, body);
        assert_eq!(reply.failure(), (412, ErrorCode::ConditionFailed, Applied::No), "{path}");
        assert_eq!(reply.error().error.current, Some(None), "{path}");
    }
    server.post("/lease/grant", r#"{"ttl_ms":15000,"lease":"0000000000000001"}"#);
    server.post("/set", r#"{"key":"jobs/0000000000000001","value":"","lease":"0000000000000001"}"#);
    assert_eq!(server.post("/set", set).text(), r#"{"revision":3,"created":true}"#);
    assert_eq!(server.post("/delete", delete).text(), r#"{"revision":4,"deleted":1}"#);
}

#[test]
fn what_the_log_refuses_has_its_status_and_leaves_no_trace() {
    let server = Server::honest();
    let value = "v".repeat(1000);
    for chunk in 0..3 {
        let sets = (0..500).map(|key| format!(r#"{{"set":{{"key":"big/{chunk}/{key}","value":"{value}"}}}}"#));
        let sets: Vec<String> = sets.collect();
        assert_eq!(server.post("/txn", format!(r#"{{"then":[{}]}}"#, sets.join(","))).status, 200);
    }
    for (path, body, expected, says) in [
        (
            "/set",
            r#"{"key":"k","value":"v","lease":"0000000000000007"}"#,
            (404, ErrorCode::LeaseNotFound, Applied::No),
            "no lease 0000000000000007",
        ),
        (
            "/delete",
            r#"{"prefix":"big/","prev":true}"#,
            (413, ErrorCode::TooLarge, Applied::No),
            "at most 1048576 bytes",
        ),
        (
            "/txn",
            r#"{"then":[{"list":{"prefix":"big/0"}},{"list":{"prefix":"big/"}},{"delete":{"key":"k"}}]}"#,
            (413, ErrorCode::TooLarge, Applied::No),
            "at most 1048576 bytes",
        ),
    ] {
        let id = format!(r#","request":{{"client":"{path}","seq":1}}}}"#);
        let identified = body.strip_suffix('}').unwrap().to_owned() + &id;
        for body in [body, &identified, &identified] {
            let reply = server.post(path, body);
            assert_eq!(reply.failure(), expected, "{body}");
            assert!(reply.error().error.message.contains(says), "{reply:?}");
            assert_eq!(reply.header("kvd-term"), Some("5"), "the log decided it");
        }
    }
    assert!(server.get("/list?count_only=true").text().contains(r#""revision":4,"count":1500"#));
}

#[test]
fn a_repeat_of_a_write_whose_reply_was_too_large_to_keep_is_told_its_revision() {
    let server = Server::honest();
    let value = "v".repeat(1000);
    for key in 0..200 {
        server.post("/set", format!(r#"{{"key":"k{key}","value":"{value}"}}"#));
    }
    let delete = r#"{"prefix":"k","prev":true,"request":{"client":"c","seq":1}}"#;
    let first = server.post("/delete", delete);
    assert!(first.text().starts_with(r#"{"revision":202,"deleted":200,"items":["#), "{}", &first.text()[..80]);
    let repeat = server.post("/delete", delete);
    assert_eq!((repeat.status, repeat.text()), (200, r#"{"revision":202,"reply_kept":false}"#));
}
