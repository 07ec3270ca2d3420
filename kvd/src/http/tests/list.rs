//! `/list`: pages, folders, counts, and tokens.

use super::server::Server;
use kvclient::api::{Applied, ClusterInfo, ErrorCode, Key, ListReply};
use std::sync::Arc;

fn set(server: &Server, key: &str, value: &str) {
    let body = serde_json::json!({ "key": key, "value": value }).to_string();
    assert_eq!(server.post("/set", body).status, 200);
}

fn list(server: &Server, query: &str) -> ListReply {
    let reply = server.get(&format!("/list?{query}"));
    assert_eq!(reply.status, 200, "{query}: {reply:?}");
    let page: ListReply = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(reply.header("kvd-revision"), Some(page.revision.to_string().as_str()), "{query}");
    assert_eq!((page.more, reply.text().contains("\"next\"")), (page.next.is_some(), page.next.is_some()), "{query}");
    page
}

/// Returns the keys of a page, and its folders behind them.
fn shown(page: &ListReply) -> Vec<String> {
    page.items.iter().map(|item| &item.key).chain(&page.prefixes).map(Key::to_string).collect()
}

/// Returns what all pages show together.
fn pages(server: &Server, query: &str) -> Vec<Vec<String>> {
    let mut page = list(server, query);
    let (mut shown_by_page, revision) = (vec![shown(&page)], page.revision);
    while let Some(next) = page.next {
        page = list(server, &format!("{query}&next={next}"));
        assert_eq!(page.revision, revision, "{query}");
        shown_by_page.push(shown(&page));
    }
    shown_by_page
}

/// Returns a server with a few keys: six writes, so revision 7.
fn server() -> Server {
    let server = Server::honest();
    for key in ["a", "a/1", "a/2", "b/1/x", "b/2", "c"] {
        set(&server, key, &format!("value of {key}"));
    }
    server
}

#[test]
fn a_range_is_listed_in_either_order() {
    let server = server();
    for (query, expected) in [
        ("", "a a/1 a/2 b/1/x b/2 c"),
        ("prefix=", "a a/1 a/2 b/1/x b/2 c"),
        ("prefix=a", "a a/1 a/2"),
        ("prefix=a/", "a/1 a/2"),
        ("prefix=none", ""),
        ("from=a/2&to=b/2", "a/2 b/1/x"),
        ("from=b", "b/1/x b/2 c"),
        ("to=a/1", "a"),
        ("from=b&to=a", ""),
        ("order=asc&after=a/2", "b/1/x b/2 c"),
        ("order=desc", "c b/2 b/1/x a/2 a/1 a"),
        ("order=desc&after=b/2", "b/1/x a/2 a/1 a"),
        ("prefix=a/&order=desc&after=b", "a/2 a/1"),
        ("prefix=b/&after=a", "b/1/x b/2"),
        ("to_base64=Yi8x&from_base64=YS8x", "a/1 a/2"),
    ] {
        let page = list(&server, query);
        assert_eq!(shown(&page).join(" "), expected, "{query}");
        assert_eq!((page.revision, page.more, page.count), (7, false, None), "{query}");
        for limit in [1, 2] {
            let query = format!("{query}&limit={limit}");
            let pages = pages(&server, &query);
            assert!(pages.iter().rev().skip(1).all(|page| page.len() == limit), "{query}: {pages:?}");
            assert_eq!(pages.concat().join(" "), expected, "{query}");
        }
    }
    assert_eq!(
        server.get("/list?prefix=c").text(),
        concat!(
            r#"{"items":[{"key":"c","value":"value of c","create_revision":7,"mod_revision":7,"version":1}],"#,
            r#""revision":7}"#
        )
    );
    assert_eq!(
        server.get("/list?prefix=c&keys_only=true&count=true").text(),
        r#"{"items":[{"key":"c","create_revision":7,"mod_revision":7,"version":1}],"revision":7,"count":1}"#
    );
    assert_eq!(server.get("/list?count_only=true&prefix=a").text(), r#"{"items":[],"revision":7,"count":3}"#);
}

#[test]
fn keys_behind_a_delimiter_are_rolled_up() {
    let server = server();
    for (query, expected) in [
        ("delimiter=/", "a c | a/ b/"),
        ("delimiter=/&order=desc", "c a | b/ a/"),
        ("delimiter=/&prefix=b/", "b/2 | b/1/"),
        ("delimiter=/&prefix=a", "a | a/"),
        ("delimiter=1/&prefix=b", "b/2 | b/1/"),
        ("delimiter=/&from=a/2", "c | a/ b/"),
        ("delimiter=/&after=a/", "c | b/"),
        ("delimiter=/&after=a/&order=desc", "a | "),
        ("delimiter=/&after=a/1", "c | a/ b/"),
    ] {
        let page = list(&server, query);
        let all = shown(&page);
        let (items, folders) = all.split_at(page.items.len());
        assert_eq!(format!("{} | {}", items.join(" "), folders.join(" ")), expected, "{query}");
        let by_one = pages(&server, &format!("{query}&limit=1"));
        assert!(by_one.iter().all(|page| page.len() == 1), "{query}: {by_one:?}");
        let (mut one_by_one, mut at_once) = (by_one.concat(), all);
        one_by_one.sort_unstable();
        at_once.sort_unstable();
        assert_eq!(one_by_one, at_once, "{query}");
    }
    let count = list(&server, "delimiter=/&count=true&limit=1");
    assert_eq!((count.count, shown(&count)), (Some(6), vec!["a".to_owned()]));
}

#[test]
fn a_page_ends_at_a_mebibyte_and_has_at_least_one_item() {
    let server = Server::honest();
    let value = "v".repeat(1000);
    for key in 0..1100 {
        set(&server, &format!("k{key:04}"), &value);
    }
    // Each item has 1,005 bytes, and 2^20 bytes have room for 1,043 of them.
    let sizes: Vec<usize> = pages(&server, "").iter().map(Vec::len).collect();
    assert_eq!(sizes, [1043, 57]);
    assert_eq!(pages(&server, "keys_only=true").len(), 1);
    assert_eq!(list(&server, "count_only=true").count, Some(1100));
    let counted = list(&server, "count=true&limit=2");
    let next = counted.next.unwrap();
    set(&server, "more", "v");
    assert_eq!(list(&server, &format!("count=true&limit=2&next={next}")).count, Some(1100), "counted once");
}

#[test]
fn pages_go_on_at_their_revision_whatever_happens_meanwhile() {
    let server = server();
    let first = list(&server, "limit=2");
    set(&server, "a/2", "rewritten");
    server.post("/delete", r#"{"prefix":"b"}"#);
    set(&server, "d", "new");
    let second = list(&server, &format!("limit=2&next={}", first.next.unwrap()));
    assert_eq!(shown(&second), ["a/2", "b/1/x"]);
    assert_eq!(second.items[0].value.as_deref(), Some(&b"value of a/2"[..]));
    server.post("/compact", r#"{"revision":8}"#);
    let reply = server.get(&format!("/list?limit=2&next={}", second.next.unwrap()));
    assert_eq!(reply.failure(), (410, ErrorCode::Compacted, Applied::No));
    assert_eq!(reply.error().error.oldest_revision, Some(8));
    assert_eq!(list(&server, "revision=9").items.len(), 4);
}

#[test]
fn a_token_is_for_its_list_and_its_cluster_on_any_node() {
    let in_cluster = |id: &str| {
        let server = server();
        let cluster: ClusterInfo =
            serde_json::from_value(serde_json::json!({ "id": id, "first_members": [] })).unwrap();
        server.view.send_modify(|view| view.cluster = Some(Arc::new(cluster)));
        server
    };
    let (one, other) = (in_cluster("00000000000000c1"), in_cluster("00000000000000c1"));
    let stranger = in_cluster("00000000000000c2");
    let query = "prefix=&limit=2&delimiter=/&order=desc";
    let page = list(&one, query);
    let next = page.next.unwrap();
    assert_eq!(
        shown(&list(&other, &format!("{query}&next={next}"))),
        shown(&list(&one, &format!("{query}&next={next}")))
    );
    assert_eq!(list(&other, &format!("{query}&next={next}&consistency=stale&timeout_ms=1000")).revision, page.revision);
    for (server, query, complaint) in [
        (&stranger, format!("{query}&next={next}"), "of another cluster"),
        (&one, format!("limit=2&delimiter=/&order=desc&from=a&next={next}"), "other parameters"),
        (&one, format!("{query}&keys_only=true&next={next}"), "other parameters"),
        (&one, format!("prefix=&limit=3&delimiter=/&order=desc&next={next}"), "other parameters"),
        (&one, format!("{query}&revision=7&next={next}"), "other parameters"),
        (&one, format!("{query}&next=x"), "is not a token"),
        (&one, format!("{query}&next="), "is not a token"),
    ] {
        let reply = server.get(&format!("/list?{query}"));
        assert_eq!(reply.failure(), (400, ErrorCode::InvalidRequest, Applied::No), "{query}");
        assert!(reply.text().contains(complaint), "{reply:?}");
    }
    // A node that has not come as far.
    set(&one, "d", "v");
    let next = list(&one, "limit=1").next.unwrap();
    let reply = other.get(&format!("/list?limit=1&consistency=stale&next={next}"));
    assert_eq!(reply.failure(), (503, ErrorCode::TooStale, Applied::No));
    assert_eq!(other.get(&format!("/list?limit=1&next={next}")).failure().1, ErrorCode::FutureRevision);
    set(&other, "d", "v");
    assert_eq!(shown(&list(&other, &format!("limit=1&next={next}"))), ["a/1"]);
}

#[test]
fn keys_of_any_bytes_are_listed() {
    let server = Server::honest();
    for key in ["AA==", "AP8=", "/w==", "/y//", "//8="] {
        server.post("/set", format!(r#"{{"key_base64":"{key}","value_base64":"{key}"}}"#));
    }
    let all: [&[u8]; 5] = [b"\0", b"\0\xff", b"\xff", b"\xff/\xff", b"\xff\xff"];
    for order in ["asc", "desc"] {
        for limit in 1..=5 {
            let (query, mut found) = (format!("order={order}&limit={limit}"), Vec::new());
            let mut page = list(&server, &query);
            loop {
                found.extend(page.items.iter().map(|item| item.key.as_bytes().to_vec()));
                assert!(page.items.iter().all(|item| item.value.as_deref() == Some(item.key.as_bytes())));
                let Some(next) = page.next else { break };
                page = list(&server, &format!("{query}&next={next}"));
            }
            if order == "desc" {
                found.reverse();
            }
            assert_eq!(found, all, "{query}");
        }
    }
    let page = list(&server, "delimiter=/");
    assert_eq!(page.prefixes, [Key::from(b"\xff/")]);
    assert!(server.get("/list?delimiter=/").text().contains(r#""prefixes":[{"prefix_base64":"/y8="}]"#));
    assert_eq!(list(&server, "prefix_base64=_w").items.len(), 3);
    assert_eq!(list(&server, "after_base64=_w").items.len(), 2);
}

#[test]
fn what_is_no_list_is_refused() {
    let server = Server::scripted(|request| panic!("asked {request:?}"));
    for (query, complaint) in [
        ("limit=0", "from 1 to 10000"),
        ("limit=10001", "from 1 to 10000"),
        ("order=up", "asc or desc"),
        ("delimiter=", "`delimiter` is empty"),
        ("prefix=a&from=b", "the range is given twice"),
        ("key=a", "unknown query parameter `key`"),
        ("keys_only=1", "true or false"),
        ("to=", "`to` is empty"),
        ("revision=3&newer_than=3", "not both"),
    ] {
        let reply = server.get(&format!("/list?{query}"));
        assert_eq!(reply.failure(), (400, ErrorCode::InvalidRequest, Applied::No), "{query}");
        assert!(reply.text().contains(complaint), "{reply:?}");
    }
    assert_eq!(server.post("/list", "").failure().0, 405);
}
