use super::*;
use crate::api::{Change, ErrorCode, Range};
use crate::client::Client;
use crate::error::Error;
use crate::testing::{Act, CLUSTER, PATIENCE, Seen, client, error, follower, in_turn, leader, stranger};
use std::net::TcpListener;
use std::time::Duration;

fn event(revision: Option<u64>, name: &str, data: &str) -> String {
    let id = revision.map_or(String::new(), |revision| format!("id: {CLUSTER}:{revision}\n"));
    format!("{id}event: {name}\ndata: {data}\n\n")
}

fn start(revision: u64) -> String {
    event(Some(revision), "start", &format!(r#"{{"revision":{revision},"cluster":"{CLUSTER}"}}"#))
}

fn item(key: &str, revision: u64) -> String {
    format!(r#"{{"key":"{key}","value":"v","create_revision":2,"mod_revision":{revision},"version":1}}"#)
}

fn put(revision: u64, key: &str) -> String {
    let changes = format!(r#"[{{"type":"put","item":{}}}]"#, item(key, revision));
    event(Some(revision), "change", &format!(r#"{{"revision":{revision},"changes":{changes}}}"#))
}

fn delete(revision: u64, key: &str) -> String {
    let data = format!(r#"{{"revision":{revision},"changes":[{{"type":"delete","key":"{key}"}}]}}"#);
    event(Some(revision), "change", &data)
}

/// A stream that ends after these events.
fn ends(events: &[String]) -> Act {
    let (sender, receiver) = std::sync::mpsc::channel();
    events.iter().for_each(|event| sender.send(event.clone()).unwrap());
    Act::Stream(receiver)
}

fn revisions(watch: Watch, count: usize) -> Vec<(u64, Vec<String>)> {
    let whole = watch.take(count).map(|revised| {
        let Revised { revision, changes } = revised.unwrap();
        (revision, changes.iter().map(|change| change.key().to_string()).collect())
    });
    whole.collect()
}

fn last_ids(seen: &[Seen]) -> Vec<Option<&str>> {
    seen.iter().map(|seen| seen.headers.get("last-event-id").map(String::as_str)).collect()
}

fn connect(node: &crate::testing::Node) -> Client {
    client(&[node.url()], PATIENCE, PATIENCE)
}

#[test]
fn a_watch_goes_on_behind_its_last_event_without_gap_or_repeat() {
    let part = r#"{"revision":7,"changes":[{"type":"delete","key":"a"}],"more":true}"#;
    let node = leader(in_turn(vec![
        ends(&[start(4), put(5, "a"), event(Some(6), "progress", r#"{"revision":6}"#), event(None, "change", part)]),
        // Cut off within a revision, which comes anew as a whole.
        ends(&[start(6), event(None, "change", part), delete(7, "b")]),
        Act::HangUp,
        ends(&[start(7), put(9, "c")]),
    ]));
    let client = connect(&node);
    let found = revisions(client.watch(Range::prefix("k")).from_revision(5), 3);
    let expected = [(5, vec!["a"]), (7, vec!["a", "b"]), (9, vec!["c"])];
    assert_eq!(found, expected.map(|(revision, keys)| (revision, keys.into_iter().map(str::to_owned).collect())));
    let seen = node.seen("GET /watch");
    let id = |revision: u64| format!("{CLUSTER}:{revision}");
    assert_eq!(last_ids(&seen)[..3], [None, Some(&*id(6)), Some(&*id(7))]);
    assert!(seen.iter().all(|seen| seen.query == "prefix=k&from_revision=5"));
}

#[test]
fn another_node_goes_on_where_one_ends_its_service() {
    let ended = r#"{"error":{"code":"no_leader","message":"this node is stopping","applied":"no"}}"#;
    let streams =
        in_turn(vec![ends(&[start(4), put(5, "a"), event(None, "error", ended)]), ends(&[start(5), put(6, "b")])]);
    let first = leader(streams.clone());
    let second = follower(first.url(), &[first.url()], streams);
    let client = client(&[first.url(), second.url()], PATIENCE, PATIENCE);
    let mut watch = client.watch("k").from_revision(5);
    let mut found = Vec::new();
    while found.len() < 2 {
        found.push(watch.next().unwrap().unwrap().revision);
    }
    assert_eq!(found, [5, 6]);
    assert_eq!(watch.revision(), Some(6));
    assert_eq!([first, second].map(|node| node.seen("GET /watch").len()), [1, 1]);
}

#[test]
fn only_what_cannot_go_on_without_a_gap_ends_a_watch() {
    let compacted = event(Some(4), "compacted", r#"{"oldest_revision":9}"#);
    let node = leader(in_turn(vec![ends(&[start(4), compacted])]));
    let mut watch = connect(&node).watch("k");
    let ended = watch.next().unwrap().unwrap_err();
    assert!(matches!(ended, Error::Compacted { oldest_revision: Some(9), .. }), "{ended:?}");
    assert!(watch.next().is_none());

    let node = leader(|_| error(ErrorCode::Compacted));
    let ended = connect(&node).watch("k").from_revision(2).next().unwrap().unwrap_err();
    assert!(matches!(ended, Error::Compacted { .. }), "{ended:?}");

    let node = leader(in_turn(vec![error(ErrorCode::Overloaded), ends(&[start(4), put(5, "a")])]));
    assert_eq!(revisions(connect(&node).watch("k"), 1)[0].0, 5);
}

#[test]
fn where_the_cluster_was_replaced_by_another_nothing_goes_on() {
    let other = stranger(TcpListener::bind("127.0.0.1:0").unwrap());
    let client = Client::builder().endpoints([other.url()]).cluster_id(CLUSTER).build().unwrap();
    let mut watch = client.watch("k");
    let ended = watch.next().unwrap().unwrap_err();
    let Error::Compacted { oldest_revision: None, message } = &ended else { panic!("{ended:?}") };
    assert!(message.contains(CLUSTER) && message.contains("connect anew"), "{message}");
    assert!(watch.next().is_none());
    let mirror = client.mirror(Range::All);
    let failed = mirror.wait_ready(PATIENCE).unwrap_err();
    assert!(matches!(*failed, Error::WrongCluster { .. }), "{failed:?}");
    assert!(mirror.state().has_failed);
}

#[test]
fn a_watch_is_ended_from_another_thread() {
    let node = leader(in_turn(vec![Act::Hang(start(4))]));
    let watch = connect(&node).watch("k");
    let handle = watch.handle();
    let watching = std::thread::spawn(move || watch.count());
    handle.end();
    assert_eq!(watching.join().unwrap(), 0);
}

#[test]
fn a_mirror_is_whole_and_loads_anew_what_it_missed() {
    let items = |keys: &[&str]| {
        let items: Vec<_> = keys.iter().map(|key| item(key, 3)).collect();
        event(None, "initial", &format!(r#"{{"items":[{}]}}"#, items.join(",")))
    };
    let synced = |revision: u64| event(Some(revision), "synced", &format!(r#"{{"revision":{revision}}}"#));
    let (sender, receiver) = std::sync::mpsc::channel();
    let node = leader(in_turn(vec![
        // Cut off before all items have come: they begin anew.
        ends(&[start(0), items(&["gone"])]),
        ends(&[start(0), items(&["a"]), items(&["b"]), synced(4), put(5, "c"), delete(6, "a")]),
        ends(&[start(6), event(Some(6), "compacted", r#"{"oldest_revision":9}"#)]),
        Act::Stream(receiver),
    ]));
    let mirror = connect(&node).mirror(Range::All);
    assert!(mirror.wait_for(6, PATIENCE));
    let keys = |mirror: &Mirror| mirror.items().iter().map(|item| item.key.to_string()).collect::<Vec<_>>();
    assert_eq!(keys(&mirror), ["b", "c"]);
    sender.send(start(0) + &items(&["d"])).unwrap();
    assert!(!mirror.wait_for(9, Duration::from_millis(50)));
    assert_eq!(keys(&mirror), ["b", "c"], "the old items stay until the new ones are there");
    sender.send(synced(9)).unwrap();
    assert!(mirror.wait_for(9, PATIENCE));
    assert_eq!(keys(&mirror), ["d"]);
    assert_eq!((mirror.get("b"), mirror.state().keys), (None, 1));
    assert!(mirror.state().age.unwrap() < PATIENCE);
    let seen = node.seen("GET /watch");
    let last = format!("{CLUSTER}:6");
    assert_eq!(last_ids(&seen), [None, None, Some(&*last), None]);
}

#[test]
fn changes_are_told_with_what_was_before() {
    let data = format!(r#"{{"revision":5,"changes":[{{"type":"delete","key":"a","prev":{}}}]}}"#, item("a", 3));
    let node = leader(in_turn(vec![ends(&[start(4), event(Some(5), "change", &data)])]));
    let revised = connect(&node).watch("a").with_prev().next().unwrap().unwrap();
    assert!(matches!(&revised.changes[..], [Change::Delete { prev: Some(prev), .. }] if prev.mod_revision == 3));
    assert_eq!(node.seen("GET /watch")[0].query, "key=a&prev=true");
}
