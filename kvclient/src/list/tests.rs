use super::*;
use crate::api::{ErrorCode, Range};
use crate::client::Client;
use crate::error::Error;
use crate::testing::{Act, PATIENCE, Seen, client, error, follower, leader, ok};
use serde_json::{Value, json};
use std::time::Duration;

fn item(key: &str) -> Value {
    json!({"key": key, "value": "v", "create_revision": 2, "mod_revision": 2, "version": 1})
}

fn page(keys: &[&str], next: Option<&str>) -> Act {
    let items: Vec<_> = keys.iter().map(|key| item(key)).collect();
    match next {
        Some(next) => ok(json!({"items": items, "revision": 9, "more": true, "next": next})),
        None => ok(json!({"items": items, "revision": 9, "more": false})),
    }
}

/// Returns a reply of lines, with the revision of the list.
fn lines(lines: &[Value]) -> Act {
    let body: String = lines.iter().map(|line| format!("{line}\n")).collect();
    Act::Answer(200, "kvd-revision: 9\r\n".into(), body)
}

fn end(count: u64) -> Value {
    json!({"end": true, "revision": 9, "count": count})
}

fn all(client: &Client) -> List {
    client.list(Range::prefix("k"))
}

fn names<'e>(entries: impl IntoIterator<Item = &'e ListEntry>) -> Vec<String> {
    entries.into_iter().map(|entry| entry.key().to_string()).collect()
}

fn queries(seen: &[Seen]) -> Vec<&str> {
    seen.iter().map(|seen| seen.query.as_str()).collect()
}

#[test]
fn pages_go_on_by_tokens_with_the_same_parameters() {
    let node = leader(|seen| match seen.query.split("next=").nth(1) {
        None => page(&["k1", "k2"], Some("t1")),
        Some("t1") => page(&["k3", "k4"], Some("t2")),
        Some(_) => page(&["k5"], None),
    });
    let client = client(&[node.url()], PATIENCE, PATIENCE);
    let mut entries = all(&client).descending().page_limit(2).keys_only().at(9).entries();
    let whole: Vec<_> = entries.by_ref().map(Result::unwrap).collect();
    assert_eq!(names(&whole), ["k1", "k2", "k3", "k4", "k5"]);
    assert_eq!(entries.revision(), Some(9));
    let same = "prefix=k&limit=2&order=desc&keys_only=true&revision=9";
    assert_eq!(queries(&node.seen("GET /list")), [same, &format!("{same}&next=t1"), &format!("{same}&next=t2")]);

    let before = node.seen("GET /list").len();
    let some = all(&client).page_limit(2).limit(3).keys().collect::<Result<Vec<_>, _>>().unwrap();
    assert_eq!(some, ["k1", "k2", "k3"]);
    let seen = node.seen("GET /list");
    assert_eq!(
        queries(&seen[before..]),
        ["prefix=k&limit=2&keys_only=true", "prefix=k&limit=2&keys_only=true&next=t1"],
        "the third is not asked for"
    );
    assert_eq!(all(&client).limit(0).items().count(), 0);
    assert_eq!(node.seen("GET /list").len(), seen.len());
}

#[test]
fn items_and_folders_come_in_one_order_and_a_limit_counts_both() {
    let node = leader(|seen| {
        let descending = seen.query.contains("desc");
        let mut items = vec![item("k/1"), item("k/3")];
        let mut prefixes = vec!["k/2/", "k/4/"];
        if descending {
            items.reverse();
            prefixes.reverse();
        }
        ok(json!({"items": items, "prefixes": prefixes, "revision": 9}))
    });
    let client = client(&[node.url()], PATIENCE, PATIENCE);
    let list = || all(&client).delimiter("/");
    let collect = |list: List| names(&list.entries().map(Result::unwrap).collect::<Vec<_>>());
    assert_eq!(collect(list()), ["k/1", "k/2/", "k/3", "k/4/"]);
    assert_eq!(collect(list().descending()), ["k/4/", "k/3", "k/2/", "k/1"]);
    assert_eq!(collect(list().limit(3)), ["k/1", "k/2/", "k/3"]);
    assert_eq!(collect(list().limit(2).descending()), ["k/4/", "k/3"]);
    assert_eq!(list().items().count(), 2);
}

#[test]
fn an_iterator_ends_with_the_first_error() {
    let node =
        leader(|seen| if seen.query.contains("next") { error(ErrorCode::Compacted) } else { page(&["k1"], Some("t")) });
    let client = client(&[node.url()], PATIENCE, PATIENCE);
    let mut items = all(&client).items();
    assert_eq!(items.next().unwrap().unwrap().key, "k1");
    assert!(matches!(items.next(), Some(Err(Error::Compacted { .. }))));
    assert!(items.next().is_none());
    let wrong = all(&client).page_limit(10_001).page();
    assert!(matches!(wrong, Err(Error::InvalidRequest { .. })), "{wrong:?}");
}

#[test]
fn a_stream_is_whole_only_with_its_last_line() {
    let node = leader(|seen| {
        assert_eq!(seen.headers["accept"], "application/x-ndjson");
        match seen.query.as_str() {
            "prefix=k" => lines(&[item("k1"), json!({"prefix": "k2/"}), end(2)]),
            "prefix=k3" => lines(&[item("k31"), end(2)]),
            "prefix=k4" => lines(&[
                item("k41"),
                json!({"error": {"code": "compacted", "message": "m", "applied": "no"}, "after": "k41"}),
            ]),
            _ => lines(&[json!({"neither": 1})]),
        }
    });
    let client = client(&[node.url()], PATIENCE, PATIENCE);
    let mut stream = all(&client).stream();
    let whole: Vec<_> = stream.by_ref().map(Result::unwrap).collect();
    assert_eq!((names(&whole), stream.revision()), (vec!["k1".to_owned(), "k2/".into()], Some(9)));

    let last = |prefix: &str| client.list(Range::prefix(prefix)).stream().last().unwrap().unwrap_err();
    let error = last("k3");
    assert!(
        matches!(&error, Error::ListBroken { detail, .. } if detail.contains("number of entries that arrived: 1, that were sent: 2")),
        "{error}"
    );
    assert!(matches!(last("k4"), Error::Compacted { .. }));
    assert!(matches!(last("k5"), Error::Unexpected { .. }));
    assert_eq!(all(&client).limit(1).stream().count(), 1);
}

#[test]
fn a_stream_that_breaks_off_goes_on_at_another_node_at_the_same_revision() {
    let whole = |seen: &Seen| match seen.query.as_str() {
        "prefix=k&after=k2&revision=9" => lines(&[item("k3"), end(1)]),
        _ => error(ErrorCode::InvalidRequest),
    };
    let second = leader(whole);
    let partial = format!("{}\n{}\n{{\"key\":\"k3\",\"va", item("k1"), item("k2"));
    let first = follower(second.url(), &[], move |_| Act::Answer(200, "kvd-revision: 9\r\n".into(), partial.clone()));
    let client = client(&[first.url(), second.url()], PATIENCE, PATIENCE);
    let entries: Vec<_> = all(&client).stream().map(Result::unwrap).collect();
    assert_eq!(names(&entries), ["k1", "k2", "k3"]);
    assert_eq!(queries(&first.seen("GET /list")), ["prefix=k"]);
}

#[test]
fn a_stream_that_no_node_finishes_ends_with_an_error() {
    let node = leader(|_| lines(&[]));
    let client = client(&[node.url()], PATIENCE, Duration::from_millis(300));
    let mut stream = all(&client).stream();
    let error = stream.next().unwrap().unwrap_err();
    assert!(error.to_string().contains("its last line is missing"), "{error}");
    assert!(stream.next().is_none());
}
