//! Nodes are repeatedly killed under load: all answers ever given fit one order of all operations.

use testkit::{Cluster, Recorder};

/// Writes that must be acknowledged between two steps, so that each step meets a working cluster.
const WRITES_BETWEEN: u64 = 150;

#[test]
fn what_clients_see_is_linearizable_while_leaders_are_killed() {
    let mut cluster = Cluster::start(3);
    let recorder = Recorder::start(&cluster);
    let first_term = cluster[0].health().expect("it answers").term;
    for _ in 0..5 {
        recorder.flow(WRITES_BETWEEN);
        let leader = cluster.leader();
        cluster[leader].kill();
        // The other nodes continue without it.
        recorder.flow(WRITES_BETWEEN);
        cluster[leader].start();
        recorder.flow_at(leader, 1);
    }
    recorder.flow(WRITES_BETWEEN);
    let history = recorder.stop();
    history.check(&cluster);
    let term = cluster[0].health().expect("it answers").term;
    assert!(term >= first_term + 5, "each death was followed by an election: term {term} after {first_term}");
}

#[test]
fn what_clients_see_is_linearizable_while_followers_are_killed() {
    let mut cluster = Cluster::start_calm(3);
    let recorder = Recorder::start(&cluster);
    let leader = cluster.leader();
    for round in 0..5 {
        let follower = (leader + 1 + round % 2) % 3;
        recorder.flow_at(follower, 20);
        cluster[follower].kill();
        recorder.flow(WRITES_BETWEEN);
        cluster[follower].start();
        recorder.flow_at(follower, 20);
    }
    assert_eq!(cluster.leader(), leader, "a follower that comes and goes deposes nobody");
    let history = recorder.stop();
    history.check(&cluster);
}

#[test]
fn what_clients_see_is_linearizable_while_all_nodes_are_killed_at_once() {
    let mut cluster = Cluster::start(3);
    let recorder = Recorder::start(&cluster);
    for _ in 0..4 {
        recorder.flow(WRITES_BETWEEN);
        cluster.kill_all();
        cluster.start_all();
    }
    recorder.flow(WRITES_BETWEEN);
    let history = recorder.stop();
    history.check(&cluster);
}
