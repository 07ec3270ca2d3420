//! Restarts: after a crash of all nodes at once, and after a clean stop. Every acknowledged write is there again.

use kvclient::Client;
use std::thread;
use std::time::Duration;
use testkit::{Cluster, Load, Node, Port, until};

/// Returns a client that soon gives up on a cluster that is down.
fn impatient(cluster: &Cluster) -> Client {
    let builder = Client::builder().endpoints(cluster.endpoints());
    builder.attempt_timeout(Duration::from_secs(1)).total_timeout(Duration::from_secs(1)).build().expect("URLs")
}

#[test]
fn nothing_acknowledged_is_lost_when_all_nodes_are_killed_at_once() {
    let mut cluster = Cluster::start(3);
    let load = Load::start(&impatient(&cluster), 8);
    for _ in 0..2 {
        load.flow(300);
        cluster.kill_all();
        cluster.start_all();
        cluster.catch_up();
    }
    load.flow(100);
    cluster.kill_all();
    let ledger = load.stop();
    cluster.start_all();
    cluster.catch_up();
    assert!(ledger.acknowledged() >= 700, "{}", ledger.acknowledged());
    ledger.check(&cluster.nodes);
}

#[test]
fn a_node_that_is_asked_to_stop_ends_with_0_and_comes_back_with_its_data() {
    let mut cluster = Cluster::start(3);
    let load = Load::start(&cluster.client(), 4);
    for node in [cluster.leader(), cluster.follower()] {
        load.flow(50);
        assert_eq!(cluster[node].terminate(), Some(0));
        load.flow(50);
        cluster[node].start();
        cluster.catch_up();
    }
    let ledger = load.stop();
    assert_eq!(ledger.failed(), 0, "a write that a stopping node did not finish is repeated elsewhere");

    for node in &mut cluster.nodes {
        assert_eq!(node.terminate(), Some(0));
    }
    cluster.start_all();
    cluster.catch_up();
    ledger.check(&cluster.nodes);
}

#[test]
fn a_node_may_be_stopped_or_killed_at_any_moment_of_its_start() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut node = Node::new("node1", Port::any(), dir.path());
    for round in 0..30 {
        node.start();
        // The delay itself is under test; nothing is waited for.
        thread::sleep(Duration::from_millis(round * 3));
        if round % 2 == 0 {
            node.kill();
        } else {
            // Before it has begun to wait for signals, a signal ends it as it ends any process.
            assert!(matches!(node.terminate(), Some(0) | None), "round {round}");
        }
    }
    node.start();
    until("it serves again", || {
        node.post("/set", r#"{"key":"color","value":"blue"}"#).ok().filter(|r| r.status == 200)
    });
}
