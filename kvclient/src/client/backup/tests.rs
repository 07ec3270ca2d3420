use super::*;
use crate::api::ErrorCode;
use crate::client::Client;
use crate::snapshot::testing::snapshot;
use crate::testing::{Act, Node, PATIENCE, client, error, health, url_of};
use std::io;
use std::net::TcpListener;

/// More than is passed on at a time.
const PIECES: usize = 10_000;

/// Returns a leader and a follower that know each other, with the given answers to requests for a snapshot.
fn cluster(of_leader: fn() -> Act, of_follower: fn() -> Act) -> (Node, Node, Client) {
    let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let urls = listeners.each_ref().map(url_of);
    let [leader, follower] = [("node1", of_leader), ("node2", of_follower)].map(|(name, answer)| {
        let urls = urls.clone();
        move |what: &str| match what {
            "GET /health" => {
                let members = urls.each_ref().map(String::as_str);
                crate::testing::ok(health(name, 5, Some(("node1", members[0])), &members))
            }
            _ => answer(),
        }
    });
    let client = client(&[&urls[0], &urls[1]], PATIENCE, PATIENCE);
    let [first, second] = listeners;
    let leader = Node::start_on(first, move |seen| leader(&seen.what));
    let follower = Node::start_on(second, move |seen| follower(&seen.what));
    (leader, follower, client)
}

fn whole() -> Act {
    let bytes = snapshot(PIECES);
    Act::Bytes(bytes.len(), bytes)
}

fn asked(node: &Node) -> usize {
    node.seen("GET /snapshot").len()
}

#[test]
fn a_snapshot_comes_from_a_follower_and_goes_where_it_is_wanted() {
    let (leader, follower, client) = cluster(whole, whole);
    let (mut bytes, mut steps) = (Vec::new(), Vec::new());
    let info = client.save_snapshot(&mut bytes, |progress| steps.push(progress)).unwrap();
    assert_eq!((asked(&leader), asked(&follower)), (0, 1));
    assert!(bytes == snapshot(PIECES));
    assert_eq!((info.bytes, info.head.cluster_id), (bytes.len() as u64, 0xc1));
    let bytes_total = info.bytes;
    assert_eq!(steps.first(), Some(&SnapshotProgress { bytes: 0, bytes_total }));
    assert_eq!(steps.last(), Some(&SnapshotProgress { bytes: bytes_total, bytes_total }));
    assert!(steps.len() > 2 && steps.is_sorted_by_key(|progress| progress.bytes), "{steps:?}");
}

#[test]
fn another_node_is_asked_until_one_begins() {
    for of_follower in [|| error(ErrorCode::Overloaded), || error(ErrorCode::NoLeader), || Act::HangUp] {
        let (leader, follower, client) = cluster(whole, of_follower);
        let info = client.save_snapshot(io::sink(), |_| {}).unwrap();
        assert_eq!((asked(&leader), asked(&follower), info.head.last_index), (1, 1, 12));
    }
    let (_leader, follower, client) = cluster(|| error(ErrorCode::NotFound), || error(ErrorCode::NotFound));
    let error = client.save_snapshot(io::sink(), |_| {}).unwrap_err();
    assert!(matches!(error, Error::Unexpected { .. }), "of a version without: {error}");
    assert_eq!(asked(&follower), 1);
}

#[test]
fn what_broke_off_or_is_damaged_is_no_backup_and_is_not_asked_for_again() {
    let cut: fn() -> Act = || {
        let bytes = snapshot(PIECES);
        Act::Bytes(bytes.len(), bytes[..100].to_vec())
    };
    // Its `Content-Length` claims that this is all.
    let short: fn() -> Act = || Act::Bytes(100, snapshot(PIECES)[..100].to_vec());
    let damaged: fn() -> Act = || {
        let mut bytes = snapshot(PIECES);
        bytes[90] ^= 1;
        Act::Bytes(bytes.len(), bytes)
    };
    for (case, act, why) in [("cut", cut, ""), ("short", short, "cut short"), ("damaged", damaged, "damaged at byte")] {
        let (leader, follower, client) = cluster(whole, act);
        let error = client.save_snapshot(io::sink(), |_| {}).unwrap_err();
        assert!(matches!(error, Error::SnapshotBroken { .. }), "{case}: {error}");
        assert!(error.to_string().contains(why), "{case}: {error}");
        assert_eq!((asked(&leader), asked(&follower)), (0, 1), "{case}");
    }
}

#[test]
fn a_target_that_fails_is_told_from_a_node_that_does() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let (_leader, _follower, client) = cluster(whole, whole);
    let error = client.save_snapshot(Full, |_| {}).unwrap_err();
    assert!(matches!(&error, Error::Output { cause } if cause.kind() == io::ErrorKind::StorageFull), "{error}");
}

#[test]
fn a_stale_snapshot_comes_from_the_one_node_that_is_named() {
    let (leader, follower, client) = cluster(whole, || error(ErrorCode::Overloaded));
    let info = client.save_snapshot_stale(leader.url(), io::sink(), |_| {}).unwrap();
    assert_eq!(info.head.last_index, 12);
    let error = client.save_snapshot_stale(follower.url(), io::sink(), |_| {}).unwrap_err();
    assert!(matches!(error, Error::Overloaded { .. }), "{error}");
    let seen = [leader.seen("GET /snapshot"), follower.seen("GET /snapshot")].concat();
    assert_eq!(seen.iter().map(|seen| seen.query.as_str()).collect::<Vec<_>>(), ["consistency=stale"; 2]);
    assert!(leader.seen("GET /health").is_empty(), "it is not asked anything else");
    let error = client.save_snapshot_stale("nowhere", io::sink(), |_| {}).unwrap_err();
    assert!(matches!(error, Error::Configuration { .. }), "{error}");
}
