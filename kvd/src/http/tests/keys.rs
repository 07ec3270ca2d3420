//! `/set`, `/get`, `/delete`: their effects, and the reports of their failures.

use super::server::{INBOX_MAX, Server, VALUE_BYTES_MAX, ample, node_url};
use crate::http::Request;
use crate::kv::Level;
use crate::node::{ReadError, WriteError};
use crate::raft::NodeId;
use kvclient::api::{Applied, ErrorCode, GetReply, NodeState};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

const OCTETS: &str = "Content-Type: application/octet-stream";

/// Sets raw bytes.
fn set_raw(server: &Server, key: &str, value: &[u8]) -> u16 {
    server.request(&format!("POST /set?key={key} HTTP/1.1\r\n{OCTETS}"), value).status
}

#[test]
fn replies_are_to_the_letter() {
    let server = Server::honest();
    for (method, path, body, status, expected) in [
        ("POST", "/set", r#"{"key":"color","value":"blue"}"#, 200, r#"{"revision":2,"created":true}"#),
        ("POST", "/set", r#"{"key":"color","value":"red"}"#, 200, r#"{"revision":3,"created":false}"#),
        (
            "GET",
            "/get?key=color",
            "",
            200,
            r#"{"key":"color","value":"red","create_revision":2,"mod_revision":3,"version":2,"revision":3}"#,
        ),
        (
            "POST",
            "/set",
            r#"{"key":"color","value":"tan","prev":true,"if":{"value":"red"}}"#,
            200,
            concat!(
                r#"{"revision":4,"created":false,"prev":{"key":"color","value":"red","#,
                r#""create_revision":2,"mod_revision":3,"version":2}}"#
            ),
        ),
        (
            "POST",
            "/set",
            r#"{"key":"new","value":"","prev":true}"#,
            200,
            r#"{"revision":5,"created":true,"prev":null}"#,
        ),
        (
            "POST",
            "/set",
            r#"{"key":"color","value":"x","if":{"absent":true}}"#,
            412,
            concat!(
                r#"{"error":{"code":"condition_failed","#,
                r#""message":"condition failed, nothing written; `current` is the key as it is now","applied":"no","#,
                r#""current":{"key":"color","value":"tan","create_revision":2,"mod_revision":4,"version":3}}}"#
            ),
        ),
        (
            "POST",
            "/delete",
            r#"{"key":"nothing","if":{"present":true}}"#,
            412,
            concat!(
                r#"{"error":{"code":"condition_failed","#,
                r#""message":"condition failed, nothing written; `current` is the key as it is now","applied":"no","#,
                r#""current":null}}"#
            ),
        ),
        ("POST", "/delete", r#"{"key":"color","if":{"mod_revision":4}}"#, 200, r#"{"revision":6,"deleted":1}"#),
        ("POST", "/delete", r#"{"key":"color"}"#, 200, r#"{"revision":6,"deleted":0}"#),
        (
            "GET",
            "/get?key=color",
            "",
            404,
            concat!(r#"{"error":{"code":"key_not_found","message":"key not found","#, r#""applied":"no"}}"#),
        ),
    ] {
        let reply = server.request(&format!("{method} {path} HTTP/1.1"), body);
        assert_eq!((reply.status, reply.text()), (status, expected), "{method} {path} {body}");
        assert_eq!(reply.header("content-type"), Some("application/json"));
        assert_eq!(reply.header("cache-control"), Some("no-store"));
    }
}

#[test]
fn a_repeated_request_gets_the_stored_reply_and_an_older_one_a_conflict() {
    let server = Server::honest();
    let set = |value: &str, seq: u64| {
        let body = format!(r#"{{"key":"k","value":"{value}","request":{{"client":"c","seq":{seq}}}}}"#);
        server.post("/set", body)
    };
    assert_eq!(set("first", 7).text(), r#"{"revision":2,"created":true}"#);
    assert_eq!(set("first", 7).text(), r#"{"revision":2,"created":true}"#);
    assert_eq!(set("second", 8).text(), r#"{"revision":3,"created":false}"#);
    assert_eq!(set("first", 7).failure(), (409, ErrorCode::StaleRequest, Applied::Unknown));
    // Reusing a name and number for a different request is the client's mistake.
    for (path, body) in [
        ("/delete", r#"{"key":"k","request":{"client":"c","seq":8}}"#),
        ("/set", r#"{"key":"k","value":"second","prev":true,"request":{"client":"c","seq":8}}"#),
        ("/set", r#"{"key":"l","value":"second","request":{"client":"c","seq":8}}"#),
    ] {
        let reply = server.post(path, body);
        assert_eq!(reply.failure(), (400, ErrorCode::InvalidRequest, Applied::No), "{body}");
        assert!(reply.text().contains("has already used this `seq`"), "{reply:?}");
    }
    assert_eq!(server.get("/get?key=k&raw=true").text(), "second");
}

#[test]
fn raw_bytes_are_repeated_safely_by_a_name_and_number_in_the_query() {
    let server = Server::honest();
    let set =
        |query: &str, value: &[u8]| server.request(&format!("POST /set?key=k&{query} HTTP/1.1\r\n{OCTETS}"), value);
    assert_eq!(set("client=a%20b&seq=7", b"\xff").text(), r#"{"revision":2,"created":true}"#);
    assert_eq!(set("client=a%20b&seq=7", b"\xff").text(), r#"{"revision":2,"created":true}"#);
    // It is the same request, whichever way it is sent.
    let body = r#"{"key":"k","value_base64":"/w==","request":{"client":"a b","seq":7}}"#;
    assert_eq!(server.post("/set", body).text(), r#"{"revision":2,"created":true}"#);
    assert_eq!(set("client=a+b&seq=8", b"next").text(), r#"{"revision":3,"created":false}"#);
    assert_eq!(set("client=a%20b&seq=7", b"\xff").failure(), (409, ErrorCode::StaleRequest, Applied::Unknown));
    assert_eq!(set("client=a%20b&seq=8", b"other").failure(), (400, ErrorCode::InvalidRequest, Applied::No));
    assert_eq!(server.get("/get?key=k&raw=true").text(), "next");
}

#[test]
fn bytes_come_back_as_they_went_raw_and_as_base64() {
    let server = Server::honest();
    let every_byte: Vec<u8> = (0..=255).collect();
    for value in [&b""[..], b"blue", "größe ☃".as_bytes(), b"\"\\\n\0", b"\xff", b"valid, then \xc3", &every_byte] {
        assert_eq!(set_raw(&server, "k", value), 200);
        let raw = server.get("/get?key=k&raw=true");
        assert_eq!((raw.status, &raw.body[..]), (200, value));
        assert_eq!(raw.header("content-type"), Some("application/octet-stream"));
        let item = serde_json::from_slice::<GetReply>(&server.get("/get?key=k&raw=false").body).unwrap().item;
        assert_eq!(item.value, value);
        assert_eq!(raw.header("x-kvd-mod-revision"), Some(item.mod_revision.to_string().as_str()));
        let in_text = String::from_utf8_lossy(&server.get("/get?key=k").body).contains(r#""value":"#);
        assert_eq!(in_text, item.value_str().is_some(), "text where it is valid, else base64");
    }
    assert_eq!(server.post("/set", r#"{"key":"k","value_base64":"/wA="}"#).status, 200);
    assert_eq!(server.get("/get?key=k&raw=true").body, b"\xff\0");
    let reply = server.get("/get?key=k");
    assert!(reply.text().contains(r#""value_base64":"/wA=""#), "{reply:?}");
}

#[test]
fn keys_that_are_not_text_travel_as_base64() {
    let server = Server::honest();
    assert_eq!(server.post("/set", r#"{"key_base64":"+/8=","value":"v"}"#).text(), r#"{"revision":2,"created":true}"#);
    let item = r#"{"key_base64":"+/8=","value":"v","create_revision":2,"mod_revision":2,"version":1,"revision":2}"#;
    for in_query in ["-_8", "-_8=", "%2B/8=", "+/8"] {
        assert_eq!(server.get(&format!("/get?key_base64={in_query}")).text(), item, "{in_query}");
        assert_eq!(server.get(&format!("/get?raw=true&key_base64={in_query}")).text(), "v", "{in_query}");
    }
    assert_eq!(server.get("/get?key_base64=a2V5").status, 404);
    let raw = server.request(&format!("POST /set?key_base64=-_8 HTTP/1.1\r\n{OCTETS}"), b"raw");
    assert_eq!(raw.text(), r#"{"revision":3,"created":false}"#);
    let prev = r#"{"revision":4,"deleted":1,"prev":{"key_base64":"+/8=","value":"raw","create_revision":2,"mod_revision":3,"version":2}}"#;
    assert_eq!(server.post("/delete", r#"{"key_base64":"-_8","prev":true}"#).text(), prev);
    // Text in base64 is the same key as text.
    assert_eq!(server.post("/set", r#"{"key_base64":"a2V5","value":"v"}"#).status, 200);
    assert!(server.get("/get?key=key").text().starts_with(r#"{"key":"key","#));
    for (target, complaint) in [
        ("/get?key=a&key_base64=YQ", "give `key` or `key_base64`, not both"),
        ("/get?key_base64=%25", "`key_base64` is not base64"),
        ("/get?key_base64=", "the key is empty"),
    ] {
        let reply = server.get(target);
        assert_eq!(reply.failure(), (400, ErrorCode::InvalidRequest, Applied::No), "{target}");
        assert!(reply.text().contains(complaint), "{reply:?}");
    }
}

#[test]
fn keys_are_any_utf8() {
    let server = Server::honest();
    let longest = "k".repeat(4096);
    let longest_escaped = "%6b".repeat(4096);
    for (key, in_query) in [
        ("größe", "gr%C3%B6%C3%9Fe"),
        ("größe", "größe"),
        ("a b+c&d=e/f?g%", "a+b%2Bc%26d%3De/f?g%25"),
        ("\0\n", "%00%0A"),
        ("☃", "%e2%98%83"),
        (longest.as_str(), longest_escaped.as_str()),
    ] {
        let body = serde_json::json!({ "key": key, "value": "v" }).to_string();
        assert_eq!(server.post("/set", body).status, 200);
        let read = server.get(&format!("/get?key={in_query}"));
        assert_eq!(serde_json::from_slice::<GetReply>(&read.body).unwrap().item.key, key);
        assert_eq!(set_raw(&server, in_query, b"raw"), 200);
        assert_eq!(server.get(&format!("/get?raw=true&key={in_query}")).body, b"raw");
    }
}

#[test]
fn a_body_is_json_whatever_its_type_but_raw_bytes() {
    let server = Server::honest();
    let json = r#"{"key":"k","value":"v"}"#;
    for content_type in ["", "application/json", "application/x-www-form-urlencoded", "text/plain; charset=utf-8", "?"]
    {
        let reply = server.request(&format!("POST /set HTTP/1.1\r\nContent-Type: {content_type}"), json);
        assert_eq!(reply.status, 200, "{content_type}: {reply:?}");
    }
    for content_type in ["application/octet-stream", "Application/Octet-Stream", "application/octet-stream; a=b"] {
        let reply = server.request(&format!("POST /set?key=k HTTP/1.1\r\nContent-Type: {content_type}"), json);
        assert_eq!(reply.status, 200, "{content_type}: {reply:?}");
        assert_eq!(server.get("/get?key=k&raw=true").text(), json);
    }
}

#[test]
fn a_value_may_be_as_large_as_the_limit_in_any_form() {
    let server = Server::honest();
    // Every byte of this value takes six in JSON.
    let wasteful = "\u{1}".repeat(VALUE_BYTES_MAX);
    let json = |value: &str, expected: &str| {
        serde_json::json!({ "key": "k", "value": value, "if": { "value": expected } }).to_string()
    };
    let too_large = (413, ErrorCode::TooLarge, Applied::No);
    assert_eq!(set_raw(&server, "k", wasteful.as_bytes()), 200);
    assert_eq!(server.post("/set", json(&wasteful, &wasteful)).status, 200);
    for (larger, expected) in
        [(format!("{wasteful}\u{1}"), wasteful.clone()), (wasteful.clone(), wasteful.clone() + "x")]
    {
        let reply = server.post("/set", json(&larger, &expected));
        assert_eq!(reply.failure(), too_large);
        assert!(reply.text().contains("at most 1000 bytes"), "{reply:?}");
    }
    let condition = serde_json::json!({ "key": "k", "if": { "value": wasteful.clone() + "x" } });
    assert_eq!(server.post("/delete", condition.to_string()).failure(), too_large);
    let raw = server.request(&format!("POST /set?key=k HTTP/1.1\r\n{OCTETS}"), wasteful + "x");
    assert_eq!(raw.failure(), too_large);
    assert!(raw.text().contains("at most 1000 bytes"), "{raw:?}");
}

#[test]
fn who_asks_for_it_is_redirected_with_path_and_query() {
    let server = Server::scripted(|request| {
        let Request::Write { reply, .. } = request else { panic!("{request:?}") };
        let _ = reply.send(Err(WriteError::NotLeader { leader: NodeId(2) }));
    });
    server.view.send_modify(|view| {
        view.state = NodeState::Follower;
        view.leader = Some(node_url("node2"));
    });
    let json = r#"{"key":"k","value":"v"}"#;
    for (head, body, location) in [
        ("POST /set HTTP/1.1".to_owned(), json, "http://node2.example:8081/set"),
        ("POST /set/ HTTP/1.1".to_owned(), json, "http://node2.example:8081/set"),
        ("POST /set? HTTP/1.1".to_owned(), json, "http://node2.example:8081/set"),
        (
            format!("POST /set?key=a%20b%2F%C3%B6+c HTTP/1.1\r\n{OCTETS}"),
            "v",
            "http://node2.example:8081/set?key=a%20b%2F%C3%B6+c",
        ),
        ("POST /delete HTTP/1.1".to_owned(), r#"{"key":"k"}"#, "http://node2.example:8081/delete"),
    ] {
        let reply = server.request(&format!("{head}\r\nKvd-Redirect: true"), body);
        assert_eq!(reply.failure(), (307, ErrorCode::NotLeader, Applied::No), "{head}");
        assert_eq!(reply.header("location"), Some(location));
        assert_eq!(reply.error().error.leader, Some(node_url("node2")));
    }
    // Leadership has moved since: the view has no leader, or this node itself.
    for leader in [None, Some(node_url("node1"))] {
        server.view.send_modify(|view| view.leader = leader);
        let reply = server.post("/set?timeout_ms=20", json);
        assert_eq!(reply.failure(), (503, ErrorCode::NoLeader, Applied::No));
        assert_eq!((reply.header("location"), reply.header("retry-after")), (None, Some("1")));
    }
}

#[test]
fn each_end_of_a_write_has_its_status_and_its_promise() {
    for (error, expected, retry_after) in [
        (WriteError::NoLeader, (503, ErrorCode::NoLeader, Applied::No), Some("1")),
        (WriteError::TransferringLeadership, (503, ErrorCode::NoLeader, Applied::No), Some("1")),
        (WriteError::Superseded, (503, ErrorCode::NoLeader, Applied::No), Some("1")),
        (WriteError::Overloaded, (429, ErrorCode::Overloaded, Applied::No), Some("1")),
        (WriteError::OutcomeUnknown, (504, ErrorCode::Timeout, Applied::Unknown), None),
        (
            WriteError::BelowLevel { needed: Level(2), lacking: vec![NodeId(0xa4)] },
            (503, ErrorCode::NotReady, Applied::No),
            Some("1"),
        ),
    ] {
        let answer = error.clone();
        let server = Server::scripted(move |request| {
            let Request::Write { reply, .. } = request else { panic!("{request:?}") };
            let _ = reply.send(Err(answer.clone()));
        });
        for (path, body) in [("/set", r#"{"key":"k","value":"v"}"#), ("/delete", r#"{"key":"k"}"#)] {
            let reply = server.post(&format!("{path}?timeout_ms=20"), body);
            assert_eq!(reply.failure(), expected, "{error}");
            assert_eq!(reply.header("retry-after"), retry_after, "{error}");
        }
    }
}

#[test]
fn each_end_of_a_read_has_its_status() {
    for (error, expected) in [
        (ReadError::NoLeader, (503, ErrorCode::NoLeader, Applied::No)),
        (ReadError::Overloaded, (429, ErrorCode::Overloaded, Applied::No)),
        (ReadError::TimedOut, (504, ErrorCode::Timeout, Applied::No)),
    ] {
        let server = Server::scripted(move |request| {
            let Request::Read { reply, .. } = request else { panic!("{request:?}") };
            let _ = reply.send(Err(error));
        });
        assert_eq!(server.get("/get?key=k&timeout_ms=20").failure(), expected, "{error}");
    }
}

#[test]
fn replies_to_reads_name_the_revision_and_a_linearizable_one_the_term() {
    let server = Server::honest();
    server.post("/set", r#"{"key":"k","value":"v"}"#);
    for (query, status, term) in [
        ("key=k", 200, Some("5")),
        ("key=k&raw=true", 200, Some("5")),
        ("key=none", 404, Some("5")),
        ("key=k&consistency=stale", 200, None),
        ("key=none&consistency=stale", 404, None),
    ] {
        let reply = server.get(&format!("/get?{query}"));
        assert_eq!(
            (reply.status, reply.header("kvd-revision"), reply.header("kvd-term")),
            (status, Some("2"), term),
            "{query}"
        );
    }
}

#[test]
fn a_read_waits_until_the_node_has_reached_the_revision_it_asks_for() {
    let server = Server::honest();
    server.post("/set", r#"{"key":"k","value":"v"}"#);
    assert_eq!(server.get("/get?key=k&min_revision=2").status, 200);
    let reply = server.get("/get?key=k&min_revision=3");
    assert_eq!(reply.failure(), (400, ErrorCode::FutureRevision, Applied::No), "nobody can have named it");
    let reply = server.get("/get?key=k&min_revision=3&consistency=stale&timeout_ms=20");
    assert_eq!(reply.failure(), (503, ErrorCode::TooStale, Applied::No));
    assert_eq!(server.get("/get?key=k&min_revision=x").failure(), (400, ErrorCode::InvalidRequest, Applied::No));

    let (address, view) = (server.address, server.view.clone());
    let writing = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(20));
        super::wire::Wire::connect(address).request("POST /set HTTP/1.1", r#"{"key":"k","value":"w"}"#);
        view.send_modify(|view| view.applied_index += 1);
    });
    let reply = server.get("/get?key=k&min_revision=3&consistency=stale&raw=true");
    assert_eq!((reply.status, reply.text()), (200, "w"));
    writing.join().unwrap();
}

#[test]
fn a_linearizable_read_asks_the_replica_and_a_stale_one_does_not() {
    let asked = Arc::new(AtomicUsize::new(0));
    let server = Server::scripted({
        let asked = Arc::clone(&asked);
        move |request| {
            let Request::Read { reply, .. } = request else { panic!("{request:?}") };
            asked.fetch_add(1, Ordering::SeqCst);
            let _ = reply.send(Ok(None));
        }
    });
    for (query, expected) in [("", 1), ("&consistency=linearizable", 2), ("&consistency=stale", 2)] {
        assert_eq!(server.get(&format!("/get?key=k{query}")).status, 404);
        assert_eq!(asked.load(Ordering::SeqCst), expected, "{query}");
    }
}

#[test]
fn a_replica_that_goes_away_leaves_a_write_unknown_and_a_read_unanswered() {
    let server = Server::scripted(drop);
    let write = server.post("/set", r#"{"key":"k","value":"v"}"#);
    assert_eq!(write.failure(), (504, ErrorCode::Timeout, Applied::Unknown));
    assert_eq!(server.get("/get?key=k").failure(), (503, ErrorCode::NoLeader, Applied::No));
    // A request that never reached the replica has certainly changed nothing.
    let server = Server::start(ample(), Box::new(|inbox, _, _| drop(inbox)));
    while !matches!(server.get("/get?key=k").error().error.message, ref message if message.contains("stopping")) {}
    let write = server.post("/set", r#"{"key":"k","value":"v"}"#);
    assert_eq!(write.failure(), (503, ErrorCode::NoLeader, Applied::No));
}

#[test]
fn a_full_inbox_refuses_at_once() {
    let (release, released) = std::sync::mpsc::channel::<()>();
    // The replica takes nothing from its inbox.
    let server = Server::start(
        ample(),
        Box::new(move |inbox, _, _| {
            let _ = released.recv();
            drop(inbox);
        }),
    );
    let mut waiting: Vec<_> = (0..INBOX_MAX).map(|_| server.connect()).collect();
    for wire in &mut waiting {
        wire.send("GET /get?key=k HTTP/1.1\r\nHost: localhost\r\n\r\n");
    }
    // The scheduler decides which of the requests the inbox refuses.
    let overloaded = (429, ErrorCode::Overloaded, Applied::No);
    let mut last = server.connect();
    last.send("POST /delete HTTP/1.1\r\nHost: localhost\r\nContent-Length: 11\r\n\r\n{\"key\":\"k\"}");
    let refused = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for wire in waiting.iter_mut().chain([&mut last]) {
            scope.spawn(|| {
                let reply = wire.reply(true);
                refused.lock().unwrap().push(reply.failure());
                // The first answer is the refusal; then the other requests may end as well.
                let _ = release.send(());
            });
        }
    });
    let refused = refused.into_inner().unwrap();
    assert_eq!(refused[0], overloaded, "{refused:?}");
    assert_eq!(refused.iter().filter(|refusal| **refusal == overloaded).count(), 1, "{refused:?}");
}
