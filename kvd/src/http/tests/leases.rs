//! `/lease` and `/leases`.

use super::server::Server;
use kvclient::api::{Applied, ErrorCode, GrantReply, LeaseReply, LeasesReply};

const NOT_FOUND: (u16, ErrorCode, Applied) = (404, ErrorCode::LeaseNotFound, Applied::No);

fn grant(server: &Server, lease: u64) {
    let reply = server.post("/lease/grant", format!(r#"{{"ttl_ms":15000,"lease":"{lease:016x}"}}"#));
    assert_eq!(reply.text(), format!(r#"{{"lease":"{lease:016x}","ttl_ms":15000}}"#));
}

#[test]
fn a_lease_lives_until_it_is_revoked() {
    let server = Server::honest();
    let granted = server.post("/lease/grant", r#"{"ttl_ms":500}"#);
    let chosen: GrantReply = serde_json::from_slice(&granted.body).unwrap();
    assert!(chosen.lease.get() < 1 << 63 && chosen.ttl_ms == 500, "{granted:?}");
    grant(&server, 0x4d2);
    let again = server.post("/lease/grant", r#"{"ttl_ms":15000,"lease":"00000000000004d2"}"#);
    assert_eq!(again.failure(), (409, ErrorCode::LeaseExists, Applied::No));
    for key in ["b", "a"] {
        server.post("/set", format!(r#"{{"key":"{key}","value":"v","lease":"00000000000004d2"}}"#));
    }
    let one = r#"{"lease":"00000000000004d2"}"#;
    let many = r#"{"leases":["00000000000004d2","0000000000000001"]}"#;
    for (path, body, expected) in [
        ("/lease/keepalive", one, r#"{"ttl_ms":15000}"#),
        ("/lease/keepalive", many, r#"{"leases":{"0000000000000001":null,"00000000000004d2":15000}}"#),
        ("/lease/keepalive", r#"{"leases":[]}"#, r#"{"leases":{}}"#),
    ] {
        let reply = server.post(path, body);
        assert_eq!((reply.text(), reply.header("kvd-term")), (expected, Some("5")), "{body}");
    }
    let lease = server.get("/lease?lease=00000000000004d2");
    let expected = r#"{"lease":"00000000000004d2","ttl_ms":15000,"remaining_ms":15000,"keys":2}"#;
    assert_eq!((lease.text(), lease.header("kvd-revision")), (expected, Some("3")));
    let with_keys = expected.replace('}', r#","items":[{"key":"a"},{"key":"b"}]}"#);
    assert_eq!(server.get("/lease?lease=00000000000004d2&keys=true&consistency=stale").text(), with_keys);

    let revoke = r#"{"lease":"00000000000004d2","request":{"client":"c","seq":1}}"#;
    for _ in 0..2 {
        assert_eq!(server.post("/lease/revoke", revoke).text(), r#"{"revision":4,"deleted":2}"#);
    }
    assert_eq!(server.get("/get?key=a").status, 404);
    for (path, body) in [("/lease/revoke", one), ("/lease/keepalive", one)] {
        assert_eq!(server.post(path, body).failure(), NOT_FOUND, "{path}");
    }
    let gone = server.get("/lease?lease=00000000000004d2&keys=true");
    assert_eq!((gone.failure(), gone.header("kvd-revision")), (NOT_FOUND, Some("4")));
}

#[test]
fn leases_are_listed_in_pages() {
    let server = Server::honest();
    for lease in 1..=5 {
        grant(&server, lease);
    }
    server.post("/set", r#"{"key":"k","value":"v","ttl_ms":500}"#);
    for limit in 1..=6 {
        let (mut query, mut listed) = (format!("limit={limit}"), Vec::new());
        loop {
            let reply = server.get(&format!("/leases?{query}"));
            let page: LeasesReply = serde_json::from_slice(&reply.body).unwrap();
            assert_eq!((page.revision, reply.header("kvd-revision")), (2, Some("2")));
            assert!(page.leases.len() <= limit);
            listed.extend(page.leases.iter().map(|lease| lease.lease.get()));
            let Some(next) = page.next else { break };
            query = format!("limit={limit}&next={next}");
        }
        assert_eq!(listed, [1, 2, 3, 4, 5], "{limit}");
    }
    let page: LeasesReply = serde_json::from_slice(&server.get("/leases?limit=1").body).unwrap();
    let (next, invalid) = (page.next.unwrap(), (400, ErrorCode::InvalidRequest, Applied::No));
    for path in ["/leases?limit=2&next=", "/leases?next=", "/list?limit=1&next=", "/leases?limit=1&next=x"] {
        assert_eq!(server.get(&format!("{path}{next}")).failure(), invalid, "{path}");
    }
}

#[test]
fn a_lease_with_many_keys_lists_them_all() {
    let server = Server::honest();
    grant(&server, 7);
    let set = |key: usize| format!(r#"{{"set":{{"key":"{key:05}","value":"","lease":"0000000000000007"}}}}"#);
    let sets: Vec<String> = (0..5000).map(set).collect();
    assert_eq!(server.post("/txn", format!(r#"{{"then":[{}]}}"#, sets.join(","))).status, 200);
    let reply = server.get("/lease?lease=0000000000000007&keys=true");
    let lease: LeaseReply = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!((lease.keys, lease.items.as_ref().map(Vec::len)), (5000, Some(5000)));
    assert!(lease.items.unwrap().is_sorted());
}

#[test]
fn what_is_no_request_for_leases_is_refused_before_the_log() {
    let server = Server::scripted(|request| panic!("asked {request:?}"));
    let many: Vec<String> = (1..=50_001).map(|lease| format!(r#""{lease:016x}""#)).collect();
    let many = format!(r#"{{"leases":[{}]}}"#, many.join(","));
    let invalid = (400, ErrorCode::InvalidRequest, Applied::No);
    for (path, body, expected, says) in [
        ("/lease/grant", r#"{"ttl_ms":499}"#, invalid, "from 500 to 9000000000000"),
        ("/lease/grant", r#"{"ttl_ms":9000000000001}"#, invalid, "from 500 to 9000000000000"),
        ("/lease/grant", r#"{"ttl_ms":500,"lease":"0000000000000000"}"#, invalid, "16 hexadecimal digits"),
        ("/lease/grant", "{}", invalid, "missing field `ttl_ms`"),
        ("/lease/keepalive", "{}", invalid, "missing field `lease` (or `leases` for many)"),
        (
            "/lease/keepalive",
            r#"{"lease":"0000000000000001","request":{"client":"c","seq":1}}"#,
            invalid,
            "unknown field `request`",
        ),
        ("/lease/keepalive", &many, (413, ErrorCode::TooLarge, Applied::No), "at most 50000"),
        ("/lease/revoke", r#"{"lease":"1"}"#, invalid, "16 hexadecimal digits"),
        ("/lease/revoke?force=true", r#"{"lease":"0000000000000001"}"#, invalid, "unknown query parameter"),
    ] {
        let reply = server.post(path, body);
        assert_eq!(reply.failure(), expected, "{path} {}", &body[..body.len().min(80)]);
        assert!(reply.error().error.message.contains(says), "{reply:?}");
    }
    for path in ["/lease", "/lease?lease=1", "/lease?lease=0000000000000001&keys=1", "/leases?limit=0", "/leases?x=1"] {
        assert_eq!(server.get(path).failure(), invalid, "{path}");
    }
    for (path, is_read) in [("/lease", true), ("/leases", true), ("/lease/grant", false), ("/txn", false)] {
        let reply = if is_read { server.post(path, "") } else { server.get(path) };
        assert_eq!(reply.failure(), (405, ErrorCode::MethodNotAllowed, Applied::No), "{path}");
    }
}
