//! `/history` and `/compact`.

use super::server::Server;
use kvclient::api::{Applied, ErrorCode, HistoryReply};

#[test]
fn the_changes_of_a_key_are_listed_newest_first() {
    let server = Server::honest();
    server.post("/set", r#"{"key":"k","value":"one"}"#);
    server.post("/set", r#"{"key":"k","value":"two"}"#);
    server.post("/set", r#"{"key":"other","value":"v"}"#);
    server.post("/delete", r#"{"key":"k"}"#);
    let two = r#"{"type":"put","item":{"key":"k","value":"two","create_revision":2,"mod_revision":3,"version":2}}"#;
    let one = r#"{"type":"put","item":{"key":"k","value":"one","create_revision":2,"mod_revision":2,"version":1}}"#;
    let delete = r#"{"type":"delete","revision":5}"#;
    let reply = server.get("/history?key=k");
    assert_eq!(reply.text(), format!(r#"{{"changes":[{delete},{two},{one}],"oldest_revision":1}}"#));
    assert_eq!((reply.header("kvd-revision"), reply.header("kvd-term")), (Some("5"), Some("5")));
    assert_eq!(server.get("/history?key=none&consistency=stale").text(), r#"{"changes":[],"oldest_revision":1}"#);

    // What is older than the history, but valid at its beginning, is kept too.
    for (revision, changes) in [(3, format!("{delete},{two}")), (4, format!("{delete},{two}")), (5, delete.to_owned())]
    {
        assert_eq!(server.post("/compact", format!(r#"{{"revision":{revision}}}"#)).text(), r#"{"revision":5}"#);
        let expected = format!(r#"{{"changes":[{changes}],"oldest_revision":{revision}}}"#);
        assert_eq!(server.get("/history?key=k").text(), expected);
    }
    let untouched = server.get("/history?key=other");
    assert!(untouched.text().contains(r#""changes":[{"type":"put","item":{"key":"other""#), "{untouched:?}");
}

#[test]
fn a_long_history_comes_whole() {
    let server = Server::honest();
    for version in 0..1000 {
        server.post("/set", format!(r#"{{"key_base64":"/w==","value":"{version}"}}"#));
    }
    let mut wire = server.connect();
    let reply = wire.request("GET /history?key_base64=_w HTTP/1.1", "");
    assert_eq!((reply.status, reply.header("content-type")), (200, Some("application/json")));
    let history: HistoryReply = serde_json::from_slice(&wire.chunks().unwrap()).unwrap();
    let revisions: Vec<u64> = history.changes.iter().map(kvclient::api::HistoryChange::revision).collect();
    assert_eq!(revisions, (2..=1001).rev().collect::<Vec<_>>());
    assert_eq!(wire.request("GET /livez HTTP/1.1", "").status, 200, "the connection is good for more");
}

#[test]
fn what_cannot_be_forgotten_or_told_is_refused() {
    let server = Server::honest();
    let invalid = (400, ErrorCode::InvalidRequest, Applied::No);
    let future = server.post("/compact", r#"{"revision":2}"#);
    assert_eq!(future.failure(), (400, ErrorCode::FutureRevision, Applied::No));
    assert!(future.text().contains("the store is at 1"), "{future:?}");
    assert_eq!(server.post("/compact", r#"{"revision":1}"#).text(), r#"{"revision":1}"#);
    for body in ["{}", r#"{"revision":-1}"#, r#"{"revision":1,"request":{"client":"c","seq":1}}"#] {
        assert_eq!(server.post("/compact", body).failure(), invalid, "{body}");
    }
    for query in ["", "key=", "key=k&limit=1", "key=k&key_base64=_w"] {
        assert_eq!(server.get(&format!("/history?{query}")).failure(), invalid, "{query}");
    }
}
