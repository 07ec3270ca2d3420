//! A leader is paused, as a virtual machine may be. When it resumes it notices nothing, but much has happened.

use kvclient::api::GetReply;
use kvclient::{Client, NodeState};
use std::thread;
use std::time::Duration;
use testkit::{Cluster, Connection, Consistency, Load, Recorder};

/// Readers with a connection to a leader that is paused.
const READERS: usize = 8;

#[test]
fn a_paused_leader_answers_no_read_with_old_data_and_comes_back_as_a_follower() {
    let mut cluster = Cluster::start_calm(3);
    cluster.client().set("color", "old").expect("the cluster serves");
    let old_leader = cluster.leader();
    let term = cluster[old_leader].health().expect("it answers").term;

    let url = cluster[old_leader].url();
    let mut readers: Vec<Connection> = (0..READERS).map(|_| Connection::open(&url).expect("it listens")).collect();
    let read = |reader: &mut Connection| reader.send("GET /get?key=color", &[], b"").expect("a request is sent");
    for reader in &mut readers {
        // A first round, so that the connections are accepted before the pause.
        read(reader);
        assert_eq!(reader.receive().expect("a reply").status, 200);
    }
    cluster[old_leader].pause();
    // The requests wait where the paused process will find them first.
    readers.iter_mut().for_each(read);

    let new_leader = cluster.leader();
    assert_ne!(new_leader, old_leader);
    let others = cluster.running().map(|node| node.url());
    let written = Client::connect(others).expect("URLs of nodes").set("color", "new").expect("a majority is there");
    let new_term = cluster[new_leader].health().expect("it answers").term;
    assert!(new_term > term, "term {new_term} after {term}");

    cluster[old_leader].resume();
    for reader in &mut readers {
        let reply = reader.receive().expect("a reply");
        match reply.status {
            200 => {
                let reply: GetReply = reply.json();
                assert_eq!(reply.item.value_str(), Some("new"));
                assert!(reply.revision >= written.revision, "{reply:?}");
            }
            503 | 504 => {}
            status => panic!("{status} {}", reply.text()),
        }
    }
    assert_eq!(cluster.leader(), new_leader, "it deposes nobody");
    let health = cluster[old_leader].health().expect("it answers");
    assert_eq!((health.state, health.term), (NodeState::Follower, new_term));
    cluster.catch_up();
}

#[test]
fn what_clients_see_is_linearizable_while_leaders_are_paused_for_longer_than_an_election() {
    let mut cluster = Cluster::start(3);
    let mut recorder = Recorder::start(&cluster);
    let first = cluster.leader();
    (0..READERS).for_each(|_| recorder.pin(first, &cluster[first], Consistency::Linearizable));
    let mut pauses = Vec::new();
    for _ in 0..3 {
        recorder.flow(100);
        let leader = cluster.leader();
        recorder.flow_at(leader, 20);
        cluster[leader].pause();
        let paused = recorder.now();
        let others = cluster.others(leader);
        cluster.leader_of(&others);
        // The leader does not know of these writes, and readers will ask for them as soon as it resumes.
        recorder.flow(100);
        pauses.push((leader, paused..recorder.now()));
        cluster[leader].resume();
        recorder.flow_at(leader, 20);
    }
    let history = recorder.stop();
    for (leader, pause) in pauses {
        assert_eq!(history.reads_at(leader, &pause).1, 0, "it stood still");
        assert!(history.reads_under_way(leader, pause.end) > 0, "nobody asked it meanwhile");
    }
    history.check(&cluster);
}

#[test]
fn a_follower_that_is_paused_again_and_again_changes_no_leader_and_fails_no_request() {
    let mut cluster = Cluster::start_with(3, "--election-timeout-ms", "800..1200");
    let load = Load::start(&cluster.client(), 4);
    let leader = cluster.leader();
    let term = cluster[leader].health().expect("it answers").term;
    for round in 0..4 {
        let follower = (leader + 1 + round % 2) % 3;
        load.flow(50);
        cluster[follower].pause();
        // Longer than the longest election timeout, or only briefly.
        thread::sleep(Duration::from_millis(if round < 2 { 1_300 } else { 200 }));
        load.flow(50);
        cluster[follower].resume();
        load.flow(50);
        cluster.catch_up();
        let health = cluster[leader].health().expect("it answers");
        assert_eq!((cluster.leader(), health.term), (leader, term), "round {round}");
    }
    let ledger = load.stop();
    assert_eq!(ledger.failed(), 0);
    cluster.catch_up();
    ledger.check(&cluster.nodes);
}
