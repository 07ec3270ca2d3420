use super::*;
use crate::api::{Condition, ErrorCode, KEY_BYTES_MAX};
use crate::client::Client;
use crate::testing::{
    Act, Node, PATIENCE, Seen, client, dead_url, error, health, ok, redirect, set_reply, stream, url_of,
};
use serde_json::json;
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

const SHORT: Duration = Duration::from_millis(300);

/// A node that leads a cluster of its own, with the given answer to anything but `/health`.
fn leader(mut answer: impl FnMut(&Seen) -> Act + Send + 'static) -> Node {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = url_of(&listener);
    Node::start_on(listener, move |seen| match seen.what.as_str() {
        "GET /health" => ok(health("node1", 5, Some(("node1", &url)), &[&url])),
        _ => answer(seen),
    })
}

/// A node that names another as leader of a cluster of those `members`.
fn follower(leader: &str, members: &[&str], mut answer: impl FnMut(&Seen) -> Act + Send + 'static) -> Node {
    let (leader, members) = (leader.to_owned(), members.iter().map(|url| (*url).to_owned()).collect::<Vec<_>>());
    Node::start(move |seen| match seen.what.as_str() {
        "GET /health" => {
            let members: Vec<_> = members.iter().map(String::as_str).collect();
            ok(health("node2", 5, Some(("node1", &leader)), &members))
        }
        _ => answer(seen),
    })
}

/// Answers the first requests from a list, and all further ones in the last way.
fn in_turn(acts: Vec<fn() -> Act>) -> impl FnMut(&Seen) -> Act + Send + 'static {
    let mut next = 0;
    move |_| {
        let act = acts[next.min(acts.len() - 1)]();
        next += 1;
        act
    }
}

fn item_reply() -> Act {
    ok(json!({"key":"k","value":"v","create_revision":2,"mod_revision":3,"version":1,"revision":9}))
}

fn request_ids(node: &Node) -> Vec<(String, u64)> {
    let id = |seen: Seen| {
        let request = &seen.body["request"];
        (request["client"].as_str().unwrap().to_owned(), request["seq"].as_u64().unwrap())
    };
    node.seen("POST /set").into_iter().map(id).collect()
}

#[test]
fn a_client_goes_to_other_threads() {
    fn check<T: Clone + Send + Sync + 'static>() {}
    check::<Client>();
}

#[test]
fn in_the_steady_state_an_operation_is_one_request() {
    let node = leader(|seen| if seen.what == "POST /set" { set_reply() } else { item_reply() });
    let client = client(&[node.url()], PATIENCE, PATIENCE);
    for _ in 0..3 {
        client.set("k", "v").unwrap();
        assert_eq!(client.get("k").unwrap().unwrap().value, b"v");
    }
    assert_eq!(node.seen("GET /health").len(), 1);
    assert_eq!(node.seen("POST /set").len(), 3);
    assert_eq!(node.seen("GET /get").len(), 3);
}

#[test]
fn requests_say_what_was_asked() {
    let node = leader(|seen| match seen.what.as_str() {
        "POST /set" => set_reply(),
        "POST /delete" => ok(json!({"revision": 3, "deleted": 1})),
        _ => error(ErrorCode::KeyNotFound),
    });
    let client = client(&[node.url()], PATIENCE, PATIENCE);
    assert_eq!(client.get("a b&c=ü").unwrap(), None);
    assert_eq!(client.get_stale("k").unwrap(), None);
    let queries: Vec<_> = node.seen("GET /get").into_iter().map(|seen| seen.query).collect();
    assert_eq!(queries, ["key=a+b%26c%3D%C3%BC", "key=k&consistency=stale"]);

    client.set_if("k", [0xff], Condition::Absent).unwrap();
    let body = &node.seen("POST /set")[0].body;
    assert_eq!(
        (&body["key"], &body["value_base64"], &body["if"]),
        (&json!("k"), &json!("/w=="), &json!({"absent":true}))
    );

    assert_eq!(client.delete_if("k", Condition::ModRevision(7)).unwrap().deleted, 1);
    let body = &node.seen("POST /delete")[0].body;
    assert_eq!((&body["key"], &body["if"]), (&json!("k"), &json!({"mod_revision":7})));
    assert!(body["request"]["seq"].is_u64());
}

#[test]
fn a_write_whose_reply_was_lost_is_repeated_under_the_same_id() {
    let node = leader(in_turn(vec![|| Act::HangUp, || error(ErrorCode::Timeout), set_reply]));
    let client = client(&[node.url()], PATIENCE, PATIENCE);
    client.set("k", "v").unwrap();
    let ids = request_ids(&node);
    assert_eq!(ids.len(), 3);
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");

    client.set("k", "w").unwrap();
    let ids = request_ids(&node);
    assert_eq!(ids[3].0, ids[0].0);
    assert!(ids[3].1 > ids[0].1, "a new write has a higher number");
}

#[test]
fn a_write_after_one_of_unknown_outcome_fences_it() {
    let node = leader(in_turn(vec![|| Act::HangUp]));
    let client = client(&[node.url()], PATIENCE, SHORT);
    let unknown = client.set("k", "v").unwrap_err();
    assert!(matches!(unknown, Error::OutcomeUnknown { .. }), "{unknown}");
    let before = request_ids(&node);
    let _ = client.set("k", "w");
    let after = &request_ids(&node)[before.len()..];
    assert!(after.iter().all(|(name, seq)| *name == before[0].0 && *seq > before[0].1), "{after:?}");
}

#[test]
fn threads_write_under_names_of_their_own() {
    let node = leader(|_| set_reply());
    let client = client(&[node.url()], PATIENCE, PATIENCE);
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let client = client.clone();
            thread::spawn(move || (0..20).for_each(|_| assert!(client.set("k", "v").is_ok())))
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let mut ids = request_ids(&node);
    assert_eq!(ids.len(), 80);
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 80, "no two writes share an id");
}

#[test]
fn a_dead_endpoint_is_skipped() {
    let node = leader(|seen| if seen.what == "POST /set" { set_reply() } else { item_reply() });
    let client = client(&[&dead_url(), node.url()], PATIENCE, PATIENCE);
    client.set("k", "v").unwrap();
    client.get("k").unwrap();
}

/// A node that says nothing, and one that leads the two of them.
fn silent_and_leader(mut answer: impl FnMut(&Seen) -> Act + Send + 'static) -> (Node, Node) {
    let silent = Node::start(|_| Act::KeepSilent);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let members = [silent.url().to_owned(), url_of(&listener)];
    let url = members[1].clone();
    let node = Node::start_on(listener, move |seen| match seen.what.as_str() {
        "GET /health" => ok(health("node2", 5, Some(("node2", &url)), &[&members[0], &members[1]])),
        _ => answer(seen),
    });
    (silent, node)
}

#[test]
fn a_silent_node_costs_a_moment_and_is_avoided_from_then_on() {
    let (silent, node) = silent_and_leader(|seen| if seen.what == "POST /set" { set_reply() } else { item_reply() });
    for operation in [|c: &Client| c.set("k", "v").map(drop), |c: &Client| c.get("k").map(drop)] {
        // A total that leaves no time for waiting until an attempt at the silent node is over.
        let client = client(&[silent.url(), node.url()], PATIENCE, Duration::from_secs(2));
        let started = Instant::now();
        operation(&client).unwrap();
        let first = started.elapsed();
        assert!(first >= HEDGE_AFTER && first < client.cluster().attempt_limit(), "{first:?}");
        let asked = silent.seen("GET /health").len();
        for _ in 0..5 {
            operation(&client).unwrap();
        }
        assert_eq!(silent.seen("GET /health").len(), asked);
        assert_eq!(silent.seen("GET /get").len() + silent.seen("POST /set").len(), 0);
    }
}

#[test]
fn a_node_that_falls_silent_keeps_a_reader_for_a_moment_only() {
    let (hung, node) = (Arc::new(AtomicBool::new(false)), leader(|_| item_reply()));
    let url = node.url().to_owned();
    let state = Arc::clone(&hung);
    let other = follower(&url.clone(), &[&url], move |_| match state.load(Ordering::SeqCst) {
        true => Act::KeepSilent,
        false => item_reply(),
    });
    let urls = [other.url(), node.url()];
    let client = client(&urls, PATIENCE, PATIENCE);
    client.cluster().endpoints_mut().learn_members(&health("n", 1, None, &urls).members);
    client.get("k").unwrap();
    assert_eq!(other.seen("GET /get").len(), 1);
    hung.store(true, Ordering::SeqCst);
    let started = Instant::now();
    client.get("k").unwrap();
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    assert_eq!((other.seen("GET /get").len(), node.seen("GET /get").len()), (2, 1));
}

#[test]
fn nodes_that_are_all_slow_are_waited_for() {
    let slow = |answer: fn() -> Act| {
        move |_: &Seen| {
            thread::sleep(HEDGE_AFTER * 2);
            answer()
        }
    };
    let (one, two) = (Node::start(slow(item_reply)), Node::start(slow(item_reply)));
    let urls = [one.url(), two.url()];
    let client = client(&urls, PATIENCE, PATIENCE);
    client.cluster().endpoints_mut().learn_members(&health("n", 1, None, &urls).members);
    client.get("k").unwrap();
    let asked = || one.seen("GET /get").len() + two.seen("GET /get").len();
    let first = asked();
    client.get("k").unwrap();
    assert_eq!(asked(), first + 1, "once known to be slow, a node is given time");
}

#[test]
fn a_silent_leader_leaves_a_write_time_for_the_next_one() {
    let leaders = [TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap()];
    let urls = [url_of(&leaders[0]), url_of(&leaders[1])];
    let nodes: Vec<_> = leaders
        .into_iter()
        .enumerate()
        .map(|(index, listener)| {
            let urls = urls.clone();
            let mut healths = 0;
            Node::start_on(listener, move |seen| match seen.what.as_str() {
                // The other learns of the election after the first write has been sent.
                "GET /health" if index == 1 && healths > 0 => ok(health("b", 6, Some(("b", &urls[1])), &[])),
                "GET /health" => {
                    healths += 1;
                    ok(health(["a", "b"][index], 5, Some(("a", &urls[0])), &[]))
                }
                _ if index == 0 => Act::KeepSilent,
                _ => set_reply(),
            })
        })
        .collect();
    let client = client(&[nodes[1].url(), nodes[0].url()], PATIENCE, PATIENCE);
    let began = Instant::now();
    client.set("k", "v").unwrap();
    let took = began.elapsed();
    assert!(took >= LEADER_SILENCE_MIN && took < client.cluster().attempt_limit() / 2, "{took:?}");
    assert_eq!(request_ids(&nodes[0]), request_ids(&nodes[1]), "the same write, sent once to each");
}

#[test]
fn a_leader_that_is_slow_gets_a_write_twice_at_most_and_is_given_time_from_then_on() {
    let node = leader(|_| {
        thread::sleep(LEADER_SILENCE_MIN * 2);
        set_reply()
    });
    let url = node.url().to_owned();
    let other = follower(&url, &[&url], |_| error(ErrorCode::NoLeader));
    let client = client(&[node.url(), other.url()], PATIENCE, PATIENCE);
    client.set("k", "v").unwrap();
    let ids = request_ids(&node);
    assert!(ids.len() == 2 && ids[0] == ids[1], "the leader may be one no more: {ids:?}");
    client.set("k", "v").unwrap();
    assert_eq!(request_ids(&node).len(), 3, "once known to be slow, it is given time");
}

#[test]
fn what_has_no_request_id_is_not_sent_to_a_slow_leader_twice() {
    let node = leader(|seen| {
        assert_eq!(seen.what, "POST /leader/transfer");
        thread::sleep(LEADER_SILENCE_MIN * 2);
        ok(json!({"id":"node2","url":"http://node2","term":6}))
    });
    let url = node.url().to_owned();
    let other = follower(&url, &[&url], |_| error(ErrorCode::NoLeader));
    let client = client(&[node.url(), other.url()], PATIENCE, PATIENCE);
    assert_eq!(client.transfer_leader(None).unwrap().id, "node2");
    assert_eq!(node.seen("POST /leader/transfer").len(), 1);
}

#[test]
fn clients_begin_at_different_nodes() {
    let nodes: Vec<_> = (0..3).map(|_| leader(|_| item_reply())).collect();
    let urls: Vec<_> = nodes.iter().map(Node::url).collect();
    let asked = |node: &Node| !node.seen("GET /get").is_empty();
    for _ in 0..200 {
        Client::connect(&urls).unwrap().get("k").unwrap();
        if nodes.iter().all(asked) {
            return;
        }
    }
    panic!("200 clients of one operation each left out a node");
}

#[test]
fn the_total_bounds_a_single_question_too() {
    let silent = Node::start(|_| Act::KeepSilent);
    let client = client(&[silent.url()], PATIENCE, SHORT);
    let started = Instant::now();
    assert!(client.health(silent.url()).is_err());
    assert!(started.elapsed() < SHORT * 4, "{:?}", started.elapsed());
}

#[test]
fn a_time_limit_too_short_for_anything_is_not_blamed_on_the_leader() {
    let silent = Node::start(|_| Act::KeepSilent);
    let client = client(&[silent.url()], PATIENCE, Duration::from_millis(1));
    for error in [client.get("k").unwrap_err(), client.set("k", "v").unwrap_err()] {
        assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
    }
}

#[test]
fn a_redirect_that_names_nobody_makes_the_client_look_elsewhere() {
    let deposed = leader(|_| Act::Answer(307, String::new(), String::new()));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = url_of(&listener);
    let next = Node::start_on(listener, move |seen| match seen.what.as_str() {
        "GET /health" => ok(health("node2", 6, Some(("node2", &url)), &[])),
        _ => set_reply(),
    });
    let several = client(&[deposed.url(), next.url()], PATIENCE, PATIENCE);
    several.set("k", "v").unwrap();
    assert_eq!((deposed.seen("POST /set").len(), next.seen("POST /set").len()), (1, 1));

    let error = client(&[deposed.url()], PATIENCE, SHORT).set("k", "v").unwrap_err();
    assert!(matches!(&error, Error::NoLeader { detail, .. } if detail.contains("does not say where")), "{error:?}");
}

#[test]
fn redirects_are_followed_and_the_leader_remembered() {
    let new_leader = leader(|_| set_reply());
    let url = new_leader.url().to_owned();
    // Names itself as leader, and has lost that role when the write comes.
    let old_leader = leader(move |_| redirect(&url));
    let client = client(&[old_leader.url()], PATIENCE, PATIENCE);
    client.set("k", "v").unwrap();
    client.set("k", "v").unwrap();
    assert_eq!(old_leader.seen("POST /set").len(), 1);
    assert_eq!(new_leader.seen("POST /set").len(), 2);
    assert_eq!(request_ids(&old_leader)[0], request_ids(&new_leader)[0], "a redirect keeps the id");
}

#[test]
fn nodes_that_redirect_to_each_other_end_in_an_error() {
    let listeners = [TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap()];
    let urls = [url_of(&listeners[0]), url_of(&listeners[1])];
    let nodes: Vec<_> = listeners
        .into_iter()
        .enumerate()
        .map(|(index, listener)| {
            let (me, other) = (urls[index].clone(), urls[1 - index].clone());
            Node::start_on(listener, move |seen| match seen.what.as_str() {
                "GET /health" => ok(health("me", 5, Some(("me", &me)), &[])),
                _ => redirect(&other),
            })
        })
        .collect();
    let client = Client::builder().endpoint(nodes[0].url()).retries(0).build().unwrap();
    let error = client.set("k", "v").unwrap_err();
    assert!(matches!(error, Error::NoLeader { .. }), "{error}");
    let asked: usize = nodes.iter().map(|node| node.seen("POST /set").len()).sum();
    assert_eq!(asked, 1 + REDIRECTS_MAX as usize);
}

#[test]
fn a_follower_that_still_names_the_dead_leader_is_not_believed_twice() {
    let stale = follower(&dead_url(), &[], |_| error(ErrorCode::NoLeader));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = url_of(&listener);
    let new_leader = Node::start_on(listener, move |seen| match seen.what.as_str() {
        "GET /health" => ok(health("node3", 6, Some(("node3", &url)), &[])),
        _ => set_reply(),
    });
    // The stale one is asked first, and goes on naming the dead one.
    let client = client(&[stale.url(), new_leader.url()], PATIENCE, PATIENCE);
    client.set("k", "v").unwrap();
    assert_eq!(new_leader.seen("POST /set").len(), 1);
    assert_eq!(stale.seen("GET /health").len(), 2);
}

#[test]
fn members_are_learned_and_outlive_the_endpoint_that_was_given() {
    let survivor = leader(|seen| if seen.what == "POST /set" { set_reply() } else { item_reply() });
    let given = follower(survivor.url(), &[survivor.url()], |_| item_reply());
    let client = client(&[given.url()], PATIENCE, PATIENCE);
    client.get("k").unwrap();
    drop(given);
    client.get("k").unwrap();
    client.set("k", "v").unwrap();
}

#[test]
fn what_was_certainly_not_applied_is_never_called_unknown_and_the_other_way_round() {
    type Answer = fn() -> Act;
    let cases: [(Answer, &str, &str); 7] = [
        (|| error(ErrorCode::NoLeader), "NoLeader", "NoLeader"),
        (|| error(ErrorCode::Overloaded), "Overloaded", "Overloaded"),
        (|| error(ErrorCode::Timeout), "OutcomeUnknown", "NoLeader"),
        (|| Act::HangUp, "OutcomeUnknown", "Unreachable"),
        (|| Act::Answer(502, String::new(), "bad gateway".into()), "OutcomeUnknown", "Unreachable"),
        (|| Act::Answer(200, String::new(), "<html>".into()), "Unexpected", "Unexpected"),
        (|| error(ErrorCode::TooLarge), "TooLarge", "TooLarge"),
    ];
    for (answer, write, read) in cases {
        let node = leader(move |_| answer());
        let client = client(&[node.url()], PATIENCE, SHORT);
        let error = client.set("k", "v").unwrap_err();
        assert!(format!("{error:?}").starts_with(write), "{error:?}");
        let sure = matches!(error, Error::NoLeader { .. } | Error::Overloaded { .. } | Error::TooLarge { .. });
        assert_eq!(error.applied() == Applied::No, sure, "{error:?}");
        let error = client.get("k").unwrap_err();
        assert!(format!("{error:?}").starts_with(read), "{error:?}");
        assert_eq!(error.applied(), Applied::No, "{error:?}");
    }
    let dead = client(&[&dead_url()], PATIENCE, SHORT);
    for error in [dead.set("k", "v").unwrap_err(), dead.get("k").unwrap_err()] {
        assert!(matches!(error, Error::Unreachable { .. }), "{error}");
        assert_eq!(error.applied(), Applied::No);
    }
}

#[test]
fn a_refusal_does_not_take_back_an_earlier_attempt_in_doubt() {
    let node = leader(in_turn(vec![|| Act::HangUp, || error(ErrorCode::InvalidRequest)]));
    let error = client(&[node.url()], PATIENCE, PATIENCE).set("k", "v").unwrap_err();
    assert!(matches!(error, Error::OutcomeUnknown { .. }), "{error}");
}

#[test]
fn a_failed_condition_shows_the_item() {
    let failed = || {
        let body = json!({"error":{"code":"condition_failed","message":"no","applied":"no","current":
            {"key":"k","value":"v","create_revision":2,"mod_revision":3,"version":1}}});
        Act::Answer(412, String::new(), body.to_string())
    };
    let node = leader(move |_| failed());
    let error = client(&[node.url()], PATIENCE, PATIENCE).set_if("k", "w", Condition::Absent).unwrap_err();
    assert!(matches!(error, Error::ConditionFailed { current: Some(item) } if item.mod_revision == 3));
}

#[test]
fn time_limits_hold_whatever_the_nodes_do() {
    let total = Duration::from_millis(600);
    let silent = Node::start(|_| Act::KeepSilent);
    let (_sender, endless) = stream();
    let mut endless = Some(endless);
    let trickling = Node::start(move |_| endless.take().unwrap_or(Act::KeepSilent));
    let client = client(&[silent.url(), trickling.url()], Duration::from_millis(200), total);
    for operation in [|c: &Client| c.set("k", "v").map(drop), |c: &Client| c.get("k").map(drop)] {
        let started = Instant::now();
        let error = operation(&client).unwrap_err();
        let took = started.elapsed();
        assert!(took < total * 2, "{took:?}");
        assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    }
}

#[test]
fn retries_are_counted() {
    let node = leader(|_| error(ErrorCode::NoLeader));
    for retries in [0, 1, 3] {
        let client = Client::builder()
            .endpoint(node.url())
            .retries(retries)
            .backoff(Duration::ZERO, Duration::ZERO)
            .build()
            .unwrap();
        let before = node.seen("GET /get").len();
        assert!(client.get("k").is_err());
        assert_eq!(node.seen("GET /get").len() - before, 1 + retries as usize);
        let before = node.seen("POST /set").len();
        assert!(client.set("k", "v").is_err());
        assert_eq!(node.seen("POST /set").len() - before, 1 + retries as usize);
    }
}

#[test]
fn bad_keys_are_refused_without_asking_anyone() {
    let client = client(&[&dead_url()], PATIENCE, PATIENCE);
    let long = "k".repeat(KEY_BYTES_MAX + 1);
    for key in ["", &long] {
        for error in [client.get(key).unwrap_err(), client.set(key, "v").unwrap_err(), client.delete(key).unwrap_err()]
        {
            assert!(matches!(error, Error::InvalidRequest { .. }), "{error}");
        }
    }
}

#[test]
fn health_asks_one_node_and_once() {
    let node = leader(|_| error(ErrorCode::NotFound));
    let client = client(&[&dead_url()], SHORT, PATIENCE);
    assert_eq!(client.health(node.url()).unwrap().id, "node1");
    assert!(matches!(client.health(&dead_url()), Err(Error::Unreachable { .. })));
    assert!(matches!(client.health("node1"), Err(Error::Configuration { .. })));
}

#[test]
fn status_tells_of_every_member_in_bounded_time() {
    let silent = Node::start(|_| Act::KeepSilent);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let members = [url_of(&listener), silent.url().to_owned(), dead_url()];
    let node = Node::start_on(listener, move |_| {
        let members: Vec<_> = members.iter().map(String::as_str).collect();
        ok(health("node1", 5, Some(("node1", members[0])), &members))
    });
    let client = client(&[node.url()], SHORT, PATIENCE);
    let started = Instant::now();
    let nodes = client.status().unwrap();
    assert!(started.elapsed() < SHORT * 4, "{:?}", started.elapsed());
    let rows: Vec<_> = nodes.iter().map(|node| (node.name.as_str(), node.health.is_ok())).collect();
    assert_eq!(rows, [("node1", true), ("node2", false), ("node3", false)]);

    let nobody = Client::connect([dead_url()]).unwrap();
    assert!(matches!(nobody.status(), Err(Error::Unreachable { .. })));
}
