//! Leadership transfers on request.

use kvclient::api::{Applied, ErrorCode, LeaderReply};
use testkit::{Cluster, Load, error_of, until};

/// Transfers under load.
const LEADERSHIP_TRANSFERS: usize = 10;

const WRITERS: usize = 8;

/// Writes that must be acknowledged between two of them.
const WRITES_BETWEEN: u64 = 100;

#[test]
fn leadership_goes_round_under_load_and_no_write_fails() {
    let cluster = Cluster::start_calm(3);
    let load = Load::start(&cluster.client(), WRITERS);
    let admin = cluster.client();
    for _ in 0..LEADERSHIP_TRANSFERS {
        load.flow(WRITES_BETWEEN);
        let leader = cluster.leader();
        let to = &cluster[(leader + 1) % 3].name;
        let term = cluster[leader].health().expect("it answers").term;
        let new = admin.transfer_leader(Some(to)).expect("all nodes are healthy");
        assert_eq!((&new.id, new.term), (to, term + 1), "one election, which the target wins");
    }
    load.flow(WRITES_BETWEEN);
    let ledger = load.stop();
    cluster.catch_up();
    assert_eq!(ledger.failed(), 0, "the client retries what is refused meanwhile");
    ledger.check(&cluster.nodes);
}

#[test]
fn any_node_can_be_asked_and_the_best_voter_takes_over_where_none_is_named() {
    let cluster = Cluster::start_calm(3);
    let (leader, follower) = (cluster.leader(), cluster.follower());
    let term = cluster[leader].health().expect("it answers").term;
    let reply = cluster[follower].post("/leader/transfer", "").expect("it answers");
    let new: LeaderReply = reply.json();
    assert_eq!((reply.status, new.term), (200, term + 1));
    let leads = cluster.leader();
    assert_eq!((&cluster[leads].name, cluster[leads].url()), (&new.id, new.url.clone()));
    assert_ne!(leads, leader);

    // If it is asked again, whichever node leads by now has nothing to transfer.
    let again = format!(r#"{{"to":"{}"}}"#, new.id);
    let reply = cluster[leads].post("/leader/transfer", again).expect("it answers");
    assert_eq!((reply.status, reply.json::<LeaderReply>()), (200, new));
}

#[test]
fn a_target_that_does_not_take_over_is_given_up_and_the_leader_goes_on() {
    let mut cluster = Cluster::start_calm(3);
    let (leader, stuck) = (cluster.leader(), cluster.follower());
    let health = cluster[leader].health().expect("it answers");
    let reply = cluster[leader].post("/leader/transfer", r#"{"to":"node9"}"#).expect("it answers");
    let error = error_of(&reply);
    assert_eq!((reply.status, error.code), (400, ErrorCode::InvalidRequest));
    assert!(error.message.contains("(members: node1, node2, node3)"), "{error:?}");

    cluster[stuck].pause();
    let to = format!(r#"{{"to":"{}"}}"#, cluster[stuck].name);
    let reply = cluster[leader].post("/leader/transfer", to).expect("it answers");
    let error = error_of(&reply);
    assert_eq!((reply.status, error.code, error.applied), (409, ErrorCode::TransferFailed, Applied::No));
    assert!(error.message.contains(&format!("{} is still the leader", cluster[leader].name)), "{error:?}");
    cluster[leader].logged("did not take over in time");
    let written = cluster[leader].post("/set", r#"{"key":"color","value":"blue"}"#).expect("it answers");
    assert_eq!(written.status, 200, "it takes writes again");
    let after = cluster[leader].health().expect("it answers");
    assert_eq!((after.state, after.term), (health.state, health.term));

    // Messages that were sent to the stuck node arrive late. They may cost one election, and no more.
    cluster[stuck].resume();
    until("the cluster serves", || cluster.client().set("color", "red").ok());
    cluster.leader();
    cluster.catch_up();
}

#[test]
fn a_cluster_of_one_has_nobody_to_leadership_transfer_to() {
    let cluster = Cluster::start(1);
    let reply = cluster[0].post("/leader/transfer", "{}").expect("it answers");
    let error = error_of(&reply);
    assert_eq!((reply.status, error.code), (409, ErrorCode::TransferFailed));
    assert!(error.message.contains("not heard from another voter"), "{error:?}");
}
