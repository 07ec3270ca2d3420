//! Requests that are refused before the replica hears of them.

use super::server::Server;
use kvclient::api::{Applied, ErrorCode};
use std::io;
use std::sync::{Arc, Mutex};

/// Returns a server whose replica must not be asked anything.
fn untouched() -> Server {
    Server::scripted(|request| panic!("asked {request:?}"))
}

/// Returns the body of a request that adds a node.
fn addition(name: &str, node: &str, url: &str) -> Vec<u8> {
    format!(r#"{{"name":"{name}","node":"{node}","client_url":"{url}","peer_url":"{url}"}}"#).into()
}

#[test]
fn bad_requests_are_told_what_is_wrong_with_them() {
    let server = untouched();
    let long_key = "k".repeat(4097);
    let octets = "Content-Type: application/octet-stream";
    let long_name = "c".repeat(65);
    let invalid = (400, ErrorCode::InvalidRequest, Applied::No);
    let post = |path: &str| format!("POST {path} HTTP/1.1");
    let get = |path: &str| format!("GET {path} HTTP/1.1");
    let cases: Vec<(String, Vec<u8>, &str)> = vec![
        (post("/set"), "".into(), "it is empty"),
        (post("/set"), "color=blue".into(), "expected value"),
        (post("/set"), "[]".into(), "expected an object with `key` and `value`"),
        (post("/set"), r#"["k","v"]"#.into(), "expected an object with `key` and `value`"),
        (post("/set"), "null".into(), "expected an object with `key` and `value`"),
        (post("/set"), r#"{"key":"k","value":"v","request":["c",1]}"#.into(), "expected an object with `client`"),
        (post("/set"), r#"{"key":"k","value":"v","if":["absent",true]}"#.into(), "expected a condition object"),
        (post("/set"), r#"{"key":"k","value":"v""#.into(), "EOF"),
        (post("/set"), r#"{"key":"k","value":"v"} x"#.into(), "trailing characters"),
        (post("/set"), r#"{"key":"k"}"#.into(), "missing field `value`"),
        (post("/set"), r#"{"value":"v"}"#.into(), "missing field `key`"),
        (post("/set"), r#"{"key":"k","key":"k","value":"v"}"#.into(), "duplicate field `key`"),
        (post("/set"), r#"{"key":"k","value":"v","vlaue":"v"}"#.into(), "unknown field `vlaue`"),
        (post("/set"), r#"{"key":"k","value":1}"#.into(), "expected a string"),
        (post("/set"), r#"{"key":"k","value":"v","value_base64":"dg=="}"#.into(), "not both"),
        (post("/set"), r#"{"key":"k","value_base64":"dg"}"#.into(), "base64"),
        (post("/set"), r#"{"key":"k","value":"v","if":{}}"#.into(), "give exactly one of absent"),
        (post("/set"), r#"{"key":"k","value":"v","if":{"absent":true,"present":true}}"#.into(), "give exactly one of"),
        (post("/set"), r#"{"key":"k","value":"v","if":{"revision":1}}"#.into(), "unknown condition `revision`"),
        (post("/set"), r#"{"key":"k","value":"v","request":{"client":"c"}}"#.into(), "missing field `seq`"),
        (post("/set"), r#"{"key":"k","value":"v","request":{"client":"c","seq":-1}}"#.into(), "invalid value"),
        (post("/set"), r#"{"key":"k","value":"v","request":{"client":"","seq":1}}"#.into(), "client name"),
        (
            post("/set"),
            format!(r#"{{"key":"k","value":"v","request":{{"client":"{long_name}","seq":1}}}}"#).into(),
            "64",
        ),
        (post("/set"), r#"{"key":"","value":"v"}"#.into(), "key is empty"),
        (post("/set"), format!(r#"{{"key":"{long_key}","value":"v"}}"#).into(), "at most 4096"),
        (post("/set"), b"{\"key\":\"\xff\",\"value\":\"v\"}".to_vec(), "unicode"),
        (post("/set"), "[".repeat(200).into(), "invalid type"),
        (post("/set?force=true"), r#"{"key":"k","value":"v"}"#.into(), "unknown query parameter `force`"),
        (post("/set?key=k"), "blue".into(), "application/octet-stream"),
        (post("/set?client=c&seq=1"), r#"{"key":"k","value":"v"}"#.into(), "application/octet-stream"),
        (format!("{}\r\n{octets}", post("/set?key=k&client=c")), "blue".into(), "give both or neither"),
        (format!("{}\r\n{octets}", post("/set?key=k&seq=1")), "blue".into(), "give both or neither"),
        (format!("{}\r\n{octets}", post("/set?key=k&client=c&seq=-1")), "blue".into(), "`seq` must be a number"),
        (format!("{}\r\n{octets}", post("/set?key=k&client=&seq=1")), "blue".into(), "client name"),
        (format!("{}\r\n{octets}", post("/set")), "blue".into(), "?key=K"),
        (format!("{}\r\n{octets}", post("/set?key=")), "blue".into(), "key is empty"),
        (format!("{}\r\n{octets}", post(&format!("/set?key={long_key}"))), "blue".into(), "at most 4096"),
        (format!("{}\r\n{octets}", post("/set?key=k&prev=true")), "blue".into(), "unknown query parameter `prev`"),
        (format!("{}\r\nContent-Type: \u{e9}", post("/set")), "{}".into(), "header `content-type`"),
        (post("/delete"), "".into(), "it is empty"),
        (post("/delete"), r#"{"key":"k","value":"v"}"#.into(), "unknown field `value`"),
        (post("/delete"), r#"["k"]"#.into(), "expected an object with `key`"),
        (post("/delete"), r#"{"key":""}"#.into(), "key is empty"),
        (post("/delete?key=k"), r#"{"key":"k"}"#.into(), "unknown query parameter `key`"),
        (post("/members/add"), "".into(), r#"{"name":"node4","node":"#),
        (post("/members/add"), r#"{"name":"n"}"#.into(), "missing field `node`"),
        (post("/members/add"), addition("n 4", "00000000000000a4", "http://d:1"), "is not a valid node name"),
        (post("/members/add"), addition("n4", "a4", "http://d:1"), "16 hexadecimal digits"),
        (post("/members/add"), addition("n4", "0000000000000000", "http://d:1"), "not all 0"),
        (post("/members/add"), addition("n4", "00000000000000A4", "http://d:1"), "16 hexadecimal digits"),
        (post("/members/add"), addition("n4", "00000000000000a4", "ftp://d:1"), "`client_url` ftp://d:1: only http://"),
        (post("/members/promote"), r#"["n"]"#.into(), "expected an object with `id`"),
        (post("/members/remove"), r#"{"id":"n","forse":true}"#.into(), "unknown field `forse`"),
        (post("/members/remove"), r#"{"id":""}"#.into(), "is not a valid node name"),
        (post("/members/update"), r#"{"id":"n2"}"#.into(), "`peer_url` and `client_url` are missing"),
        (post("/members/update"), r#"{"id":"","peer_url":"http://d:1"}"#.into(), "is not a valid node name"),
        (post("/members/update"), r#"{"id":"n2","peer_url":"http://d:0"}"#.into(), "`peer_url` http://d:0: port 0"),
        (post("/members/remove?force=true"), r#"{"id":"n"}"#.into(), "unknown query parameter `force`"),
        (post("/members/replace"), r#"{"old":"n","new":"n"}"#.into(), "both n"),
        (get("/get"), "".into(), "GET /get?key=K"),
        (get("/get?key="), "".into(), "key is empty"),
        (get(&format!("/get?key={long_key}")), "".into(), "the longest has 4096"),
        (get("/get?key=k&key=k"), "".into(), "given twice"),
        (get("/get?key=k&stale=true"), "".into(), "unknown query parameter `stale`"),
        (get("/get?key=k&consistency=eventual"), "".into(), "linearizable or stale"),
        (get("/get?key=k&max_stale_ms=5"), "".into(), "needs consistency=stale"),
        (get("/get?key=k&consistency=stale&max_stale_ms=soon"), "".into(), "a number of milliseconds"),
        (get("/get?key=k&raw=yes"), "".into(), "true or false"),
        (get("/get?key=%zz"), "".into(), "two hex digits"),
        (get("/get?key=%ff"), "".into(), "UTF-8"),
    ];
    for (head, body, complaint) in cases {
        let reply = server.request(&head, &body);
        let case = format!("{head} {}", String::from_utf8_lossy(&body));
        assert_eq!(reply.failure(), invalid, "{case}");
        assert!(reply.error().error.message.contains(complaint), "{case}: {reply:?}");
    }
}

#[test]
fn unknown_paths_and_methods_are_told_apart() {
    let server = untouched();
    for path in ["/", "/nothing", "/sets", "/set/x", "//set", "/get/key", "/SET", "/leader/watch/x", "/metrics"] {
        for method in ["GET", "POST"] {
            let reply = server.request(&format!("{method} {path} HTTP/1.1"), "");
            assert_eq!(reply.failure(), (404, ErrorCode::NotFound, Applied::No), "{method} {path}");
        }
    }
    for (method, path, allow) in [
        ("GET", "/set", "POST"),
        ("PUT", "/set", "POST"),
        ("DELETE", "/delete", "POST"),
        ("OPTIONS", "/set", "POST"),
        ("POST", "/get?key=k", "GET, HEAD"),
        ("POST", "/health", "GET, HEAD"),
        ("DELETE", "/members", "GET, HEAD"),
        ("POST", "/leader/watch", "GET, HEAD"),
    ] {
        let reply = server.request(&format!("{method} {path} HTTP/1.1"), "");
        assert_eq!(reply.failure(), (405, ErrorCode::MethodNotAllowed, Applied::No), "{method} {path}");
        assert_eq!(reply.header("allow"), Some(allow), "{method} {path}");
    }
}

#[test]
fn a_page_of_another_origin_is_refused_on_every_path_before_its_body_is_read() {
    let server = untouched();
    let evil = "Host: 127.0.0.1:8081\r\nOrigin: http://evil.example";
    for request in ["POST /set", "GET /get?key=k", "GET /health", "GET /raft", "GET /leader/watch", "GET /nothing"] {
        for (mark, code) in [
            (evil, ErrorCode::ForbiddenOrigin),
            ("Sec-Fetch-Site: cross-site", ErrorCode::ForbiddenOrigin),
            ("Host: evil.example\r\nOrigin: http://evil.example", ErrorCode::ForbiddenHost),
        ] {
            // The announced body never arrives.
            let reply = server.request(&format!("{request} HTTP/1.1\r\n{mark}\r\nContent-Length: 100"), "");
            assert_eq!(reply.failure(), (403, code, Applied::No), "{request} {mark}");
        }
    }
    for mark in [
        "Host: localhost:8081\r\nOrigin: http://localhost:8081\r\nSec-Fetch-Site: same-origin",
        "Host: node2.example:8081\r\nOrigin: http://node2.example:8081",
        "Sec-Fetch-Site: none",
    ] {
        assert_eq!(server.request(&format!("GET /health HTTP/1.1\r\n{mark}"), "").status, 200, "{mark}");
    }
}

#[test]
fn a_request_that_is_not_read_as_it_was_meant_is_refused_on_every_path() {
    let server = untouched();
    let invalid = (400, ErrorCode::InvalidRequest, Applied::No);
    for path in ["/set?key=k", "/get?key=k", "/health", "/raft", "/raft/snapshot", "/nothing"] {
        for (version, headers) in [
            ("1.1", ""),
            ("1.1", "Host: a\r\nHost: a\r\n"),
            ("1.0", "Host: a\r\nHost: b\r\n"),
            ("1.1", "Host: a b\r\n"),
        ] {
            let mut wire = server.connect();
            wire.send(format!("POST {path} HTTP/{version}\r\n{headers}Content-Length: 100\r\n\r\n"));
            assert_eq!(wire.reply(true).failure(), invalid, "{path} {version} {headers}");
        }
        let head = format!("POST {path} HTTP/1.1\r\nContent-Type: application/octet-stream\r\nContent-Encoding: gzip");
        let reply = server.request(&head, b"\x1f\x8b");
        assert_eq!(reply.failure(), (415, ErrorCode::UnsupportedEncoding, Applied::No), "{path}");
        assert_eq!(reply.header("accept-encoding"), Some("identity"));
        assert!(reply.error().error.message.contains("\"gzip\""), "{reply:?}");
    }
    let chunks =
        "POST /set?key=k HTTP/1.1\r\nContent-Type: application/octet-stream\r\nTransfer-Encoding: gzip, chunked";
    assert_eq!(server.request(chunks, "1\r\nx\r\n0\r\n\r\n").status, 400);
}

#[test]
fn a_byte_order_mark_before_json_is_passed_over_and_in_a_value_kept() {
    let server = Server::honest();
    assert_eq!(server.post("/set", "\u{feff}{\"key\":\"k\",\"value\":\"\u{feff}v\"}").status, 200);
    assert_eq!(server.get("/get?key=k&raw=true").text(), "\u{feff}v");
    assert_eq!(server.post("/leader/transfer", "\u{feff}{\"to\":\"node2\"}").status, 200);
    assert_eq!(server.post("/delete", "\u{feff}").status, 400);
    let raw = "POST /set?key=k HTTP/1.1\r\nContent-Type: application/octet-stream\r\nContent-Encoding: identity";
    assert_eq!(server.request(raw, "\u{feff}v").status, 200);
    assert_eq!(server.get("/get?key=k&raw=true").text(), "\u{feff}v");
}

#[test]
fn no_value_reaches_the_log() {
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);
    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(move || writer.clone()).finish();
    // While there is only one dispatcher, the thread that first reaches a log line decides whether anybody wants it,
    // and that may be a thread of another test.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    tracing::subscriber::with_default(subscriber, || {
        let server = Server::honest();
        let octets = "Content-Type: application/octet-stream";
        assert_eq!(server.request(&format!("POST /set?key=k HTTP/1.1\r\n{octets}"), "hush-1").status, 200);
        assert_eq!(server.post("/set", r#"{"key":"k","value":"hush-2","if":{"value":"hush-1"}}"#).status, 200);
        assert_eq!(server.post("/set", r#"{"key":"k","value":"hush-3","if":{"value":"hush-1"}}"#).status, 412);
        assert_eq!(server.post("/set", r#"{"key":"k","value":"hush-4","x":1}"#).status, 400);
        assert_eq!(server.get("/get?key=k").status, 200);
        assert_eq!(server.request("POST /set HTTP/1.1 and what is none", "hush-5").status, 400);
    });
    let lines = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    assert!(lines.contains("a request"), "the test sees what is logged: {lines}");
    assert!(!lines.contains("hush"), "{lines}");
}
