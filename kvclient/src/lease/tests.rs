use crate::api::{ErrorCode, LeaseId};
use crate::testing::{Act, Node, PATIENCE, client, error, leader, ok};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const TTL: Duration = Duration::from_millis(600);

/// Returns a node that grants leases 1, 2, 3 and so on, and answers each keepalive as `keep` says.
fn node(keep: impl Fn(&[Value]) -> Act + Send + 'static) -> Node {
    let granted = AtomicU64::new(0);
    leader(move |seen| match seen.what.as_str() {
        "POST /lease/grant" => {
            let id = LeaseId::new(granted.fetch_add(1, Ordering::SeqCst) + 1).unwrap();
            ok(json!({"lease": id, "ttl_ms": seen.body["ttl_ms"]}))
        }
        "POST /lease/keepalive" => keep(seen.body["leases"].as_array().unwrap()),
        "POST /lease/revoke" => ok(json!({"revision": 2, "deleted": 0})),
        other => panic!("{other}"),
    })
}

fn kept(leases: &[Value], ttl: Option<Duration>) -> Act {
    let leases: serde_json::Map<_, _> =
        leases.iter().map(|id| (id.as_str().unwrap().into(), json!(ttl.map(|ttl| ttl.as_millis() as u64)))).collect();
    ok(json!({"leases": leases}))
}

fn until(what: &str, is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "{what}");
        std::thread::yield_now();
    }
}

#[test]
fn all_leases_of_a_client_are_renewed_together_and_each_is_revoked_when_dropped() {
    let node = node(|leases| kept(leases, Some(TTL)));
    let client = client(&[node.url()], PATIENCE, PATIENCE);
    let leases: Vec<_> = (0..20).map(|_| client.clone().grant_lease(TTL).unwrap()).collect();
    let ids: BTreeSet<_> = leases.iter().map(|lease| lease.id().to_string()).collect();
    let renewed = |count| {
        let keepalives = node.seen("POST /lease/keepalive");
        keepalives.iter().filter(|seen| seen.body["leases"].as_array().unwrap().len() == 20).count() >= count
    };
    until("they are renewed", || renewed(3));
    assert!(leases.iter().all(|lease| !lease.is_lost()));
    let keepalive = node.seen("POST /lease/keepalive").pop().unwrap();
    assert_eq!(keepalive.body.as_object().unwrap().keys().collect::<Vec<_>>(), ["leases"], "it has no request id");

    let losses: Vec<_> = leases.iter().map(|lease| lease.loss()).collect();
    drop(leases);
    let revoked =
        node.seen("POST /lease/revoke").into_iter().map(|seen| seen.body["lease"].as_str().unwrap().to_owned());
    assert_eq!(revoked.collect::<BTreeSet<_>>(), ids);
    assert!(losses.iter().all(|loss| loss.is_lost()));
}

#[test]
fn a_lease_that_is_gone_is_lost_at_once_and_one_without_answers_after_a_while() {
    let gone = node(|leases| kept(leases, None));
    let lease = client(&[gone.url()], PATIENCE, PATIENCE).grant_lease(Duration::from_secs(1)).unwrap();
    lease.loss().wait();
    assert!(lease.is_lost());
    assert_eq!(gone.seen("POST /lease/keepalive").len(), 1, "it is not renewed any more");

    let silent = node(|_| error(ErrorCode::NoLeader));
    let before = Instant::now();
    let lease = client(&[silent.url()], PATIENCE, PATIENCE).grant_lease(TTL).unwrap();
    lease.loss().wait();
    let took = before.elapsed();
    assert!(took >= TTL * 4 / 5, "{took:?}");
    assert!(silent.seen("POST /lease/keepalive").len() > 1, "it was tried again");
}

#[test]
fn a_renewal_after_failures_keeps_the_lease() {
    let failures = AtomicU64::new(0);
    let flaky = node(move |leases| match failures.fetch_add(1, Ordering::SeqCst) % 2 {
        0 => error(ErrorCode::Overloaded),
        _ => kept(leases, Some(TTL)),
    });
    let lease = client(&[flaky.url()], PATIENCE, PATIENCE).grant_lease(TTL).unwrap();
    assert!(!lease.loss().wait_for(TTL * 2));
    assert!(lease.revoke().is_ok());
}

#[test]
fn a_released_lease_is_neither_renewed_nor_revoked_and_may_be_taken_up_again() {
    let node = leader(|seen| match seen.what.as_str() {
        "POST /lease/grant" => ok(json!({"lease": "0000000000000001", "ttl_ms": 600_000})),
        "POST /lease/keepalive" if seen.body["lease"] == "0000000000000001" => ok(json!({"ttl_ms": 600_000})),
        "POST /lease/keepalive" => error(ErrorCode::LeaseNotFound),
        other => panic!("{other}"),
    });
    let client = client(&[node.url()], PATIENCE, PATIENCE);
    let id = client.grant_lease(Duration::from_secs(600)).unwrap().release();
    let lease = client.keep_lease(id).unwrap();
    assert_eq!((lease.ttl(), lease.is_lost()), (Duration::from_secs(600), false));
    lease.release();
    let missing = client.keep_lease(LeaseId::new(2).unwrap()).unwrap_err();
    assert!(matches!(missing, crate::Error::LeaseNotFound { .. }), "{missing}");
    let short = client.grant_lease(Duration::from_millis(499)).unwrap_err();
    assert!(matches!(short, crate::Error::InvalidRequest { .. }), "{short}");
    assert!(node.seen("POST /lease/revoke").is_empty());
}
