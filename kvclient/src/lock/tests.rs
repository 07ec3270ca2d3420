use crate::Error;
use crate::api::{ErrorCode, HolderEvent, LeaseId, LockPlace};
use crate::testing::{Act, Node, PATIENCE, client, error, in_turn, leader, ok};
use serde_json::json;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

/// Returns a node that answers requests for locks as `lock` says, and those about leases as if they lived.
fn node(mut lock: impl FnMut(&serde_json::Value) -> Act + Send + 'static) -> Node {
    leader(move |seen| match seen.what.as_str() {
        "POST /lock" => lock(&seen.body),
        "POST /unlock" => ok(json!({"revision": 9})),
        "POST /lease/revoke" => ok(json!({"revision": 9, "deleted": 1})),
        "POST /lease/keepalive" if seen.body.get("lease").is_some() => ok(json!({"ttl_ms": 30_000})),
        "POST /lease/keepalive" => ok(json!({"leases": {}})),
        other => panic!("{other}"),
    })
}

fn had(request: &serde_json::Value, token: u64) -> Act {
    ok(json!({"name": request["name"], "token": token, "lease": request["lease"]}))
}

#[test]
fn a_lock_is_asked_for_once_and_given_up_when_dropped() {
    let node = node(|request| had(request, 57));
    let client = client(&[node.url()], PATIENCE, PATIENCE);
    let lock = client.lock("jobs").ttl(Duration::from_secs(10)).value("me").wait(Duration::from_secs(60));
    let lock = lock.acquire().unwrap();
    assert_eq!((lock.name(), lock.token(), lock.lost()), ("jobs", 57, false));
    let asked = node.seen("POST /lock").remove(0).body;
    let wait_ms = asked["wait_ms"].as_u64().unwrap();
    assert!((59_000..=60_000).contains(&wait_ms), "{asked}");
    let lease = lock.lease().to_string();
    assert_eq!(
        asked,
        json!({"name": "jobs", "ttl_ms": 10_000, "wait_ms": wait_ms, "value": "me", "lease": lease.clone()})
    );
    assert!(node.seen("POST /lease/keepalive").is_empty(), "the answer came at once");
    drop(lock);
    assert_eq!(node.seen("POST /lease/revoke")[0].body["lease"], lease);

    let released = client.lock("jobs").acquire().unwrap().release().unwrap();
    assert_eq!(released.revision, 9);
    let asked = node.seen("POST /lock").remove(1).body;
    assert_eq!(asked["wait_ms"], 3_600_000, "without end is an hour, and another");
    let unlocked = &node.seen("POST /unlock")[0].body;
    assert_eq!((&unlocked["name"], &unlocked["token"]), (&json!("jobs"), &json!(57)));
    assert!(unlocked["request"]["seq"].is_u64(), "it is done once");
    assert_eq!(node.seen("POST /lease/revoke").len(), 1, "the lease ended with the lock");
}

#[test]
fn a_lock_that_was_waited_for_is_renewed_before_it_counts_as_held() {
    let (sender, answers) = channel::<()>();
    let node = node(move |request| {
        // As long as the lease is trusted without asking, and longer.
        let _ = answers.recv_timeout(Duration::from_millis(300));
        had(request, 1)
    });
    let lock =
        client(&[node.url()], PATIENCE, PATIENCE).lock("jobs").ttl(Duration::from_millis(600)).acquire().unwrap();
    assert_eq!(node.seen("POST /lease/keepalive")[0].body, json!({"lease": lock.lease()}));
    drop(sender);
}

#[test]
fn a_lock_that_was_lost_before_it_was_known_is_asked_for_again_with_another_lease() {
    let asked = AtomicU64::new(0);
    let node = leader(move |seen| match seen.what.as_str() {
        "POST /lock" => {
            if asked.fetch_add(1, Ordering::SeqCst) == 0 {
                std::thread::sleep(Duration::from_millis(250));
            }
            had(&seen.body, asked.load(Ordering::SeqCst))
        }
        "POST /lease/keepalive" => error(ErrorCode::LeaseNotFound),
        "POST /lease/revoke" => ok(json!({"revision": 9, "deleted": 1})),
        other => panic!("{other}"),
    });
    let lock =
        client(&[node.url()], PATIENCE, PATIENCE).lock("jobs").ttl(Duration::from_millis(600)).acquire().unwrap();
    assert_eq!(lock.token(), 2);
    let leases: Vec<_> = node.seen("POST /lock").into_iter().map(|seen| seen.body["lease"].clone()).collect();
    assert!(leases.len() == 2 && leases[0] != leases[1]);
}

#[test]
fn whoever_waits_at_a_node_that_dies_goes_on_at_the_next_with_the_same_lease() {
    let dying = node(|_| Act::HangUp);
    let silent = Node::start(|_| Act::KeepSilent);
    let other = node(|request| had(request, 3));
    let client = client(&[dying.url(), silent.url(), other.url()], Duration::from_secs(1), PATIENCE);
    let lock = client.lock("jobs").acquire().unwrap();
    assert_eq!(lock.token(), 3);
    let lease = json!(lock.lease());
    for node in [&dying, &other] {
        assert_eq!(node.seen("POST /lock")[0].body["lease"], lease);
    }
}

#[test]
fn what_another_holds_is_refused_or_nothing() {
    let holder = json!({"lease": "00000000000004d2", "token": 5, "value": "them"});
    let held = json!({"error": {"code": "lock_held", "message": "wait", "applied": "no", "holder": holder}});
    let node = node(move |_| Act::Answer(409, "content-type: application/json\r\n".into(), held.to_string()));
    let client = client(&[node.url()], PATIENCE, PATIENCE);
    assert!(client.lock("jobs").try_acquire().unwrap().is_none());
    let error = client.lock("jobs").wait(Duration::ZERO).acquire().unwrap_err();
    assert!(matches!(&error, Error::LockHeld { holder: Some(holder), .. } if holder.value == b"them"), "{error:?}");
    assert!(node.seen("POST /lock").iter().all(|seen| seen.body.get("wait_ms").is_none()));
    for (name, ttl_ms) in [("", 1_000), ("jobs", 499)] {
        let error = client.lock(name).ttl(Duration::from_millis(ttl_ms)).acquire().unwrap_err();
        assert!(matches!(error, Error::InvalidRequest { .. }), "{error:?}");
    }
    assert_eq!(node.seen("POST /lock").len(), 2);
}

#[test]
fn without_an_answer_the_place_is_given_up_as_far_as_possible() {
    let node = node(|_| error(ErrorCode::Timeout));
    let client = client(&[node.url()], Duration::from_millis(100), Duration::from_millis(300));
    let failed = client.lock("jobs").acquire().unwrap_err();
    assert!(matches!(failed, Error::OutcomeUnknown { .. }), "{failed:?}");
    let lease = node.seen("POST /lock")[0].body["lease"].clone();
    assert_eq!(node.seen("POST /lease/revoke")[0].body["lease"], lease);
}

#[test]
fn a_lock_that_is_taken_after_the_wait_is_given_up() {
    let (sender, answers) = channel::<()>();
    // It answers no probe meanwhile either.
    let slow = node(move |request| {
        let _ = answers.recv();
        had(request, 4)
    });
    let held = json!({"error": {"code": "lock_held", "message": "wait", "applied": "no"}});
    let other = node(move |_| Act::Answer(409, "content-type: application/json\r\n".into(), held.to_string()));
    let client = client(&[slow.url(), other.url()], PATIENCE, PATIENCE);
    let error = client.lock("jobs").wait(Duration::from_millis(2_500)).acquire().unwrap_err();
    assert!(matches!(error, Error::LockHeld { .. }), "{error:?}");
    let revoked = || [&slow, &other].iter().flat_map(|node| node.seen("POST /lease/revoke")).collect::<Vec<_>>();
    assert!(revoked().is_empty(), "the other node has said that there is no place");
    let lease = other.seen("POST /lock")[0].body["lease"].clone();
    drop(sender);
    let deadline = Instant::now() + PATIENCE;
    while revoked().is_empty() {
        assert!(Instant::now() < deadline, "the lock is kept");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(revoked()[0].body["lease"], lease);
}

fn place(token: u64) -> LockPlace {
    LockPlace { lease: LeaseId::new(token).unwrap(), token, value: b"them".to_vec(), held_ms: None }
}

fn event(revision: u64, holder: Option<u64>) -> String {
    let event = HolderEvent { name: "jobs".into(), holder: holder.map(place), revision };
    format!("event: holder\ndata: {}\n\n", serde_json::to_string(&event).unwrap())
}

#[test]
fn the_holders_of_a_lock_are_followed_from_node_to_node_without_repeats() {
    let ended = "event: error\ndata: {\"error\":{\"code\":\"no_leader\",\"message\":\"m\",\"applied\":\"no\"}}\n\n";
    let streams = in_turn(vec![
        Act::Hang(event(5, None) + &event(6, Some(6)) + ended),
        Act::Hang(event(5, None) + &event(9, Some(8))),
    ]);
    let nodes = [leader(streams.clone()), leader(streams)];
    let mut watch = client(&[nodes[0].url(), nodes[1].url()], PATIENCE, PATIENCE).watch_lock("jobs");
    let tokens: Vec<_> = watch.by_ref().take(3).map(|told| told.unwrap().holder.map(|holder| holder.token)).collect();
    assert_eq!(tokens, [None, Some(6), Some(8)]);
    assert!(watch.next_timeout(Duration::from_millis(600)).is_none(), "nothing that was told before");
    for node in nodes {
        let seen = node.seen("GET /lock/watch");
        assert_eq!((seen.len(), seen[0].query.as_str()), (1, "name=jobs"));
    }
}
