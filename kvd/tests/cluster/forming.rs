//! Formation of a cluster, and nodes that are not admitted.

use kvclient::NodeState;
use kvclient::api::{Applied, ErrorCode};
use std::fs;
use std::thread;
use std::time::Duration;
use testkit::{Cluster, Node, error_of, until};

#[test]
fn a_node_waits_for_all_its_peers_says_for_whom_and_can_be_stopped_meanwhile() {
    let mut cluster = Cluster::prepare(3);
    cluster[0].start();
    let waits_for = |cluster: &Cluster, numbers: &[usize]| {
        let missing =
            |text: fn(&Node) -> String| numbers.iter().map(|number| text(&cluster[*number])).collect::<Vec<_>>();
        let sentence = format!(
            "waiting for {} before forming the cluster ({})",
            missing(|node| node.name.clone()).join(", "),
            missing(|node| format!("{}: connection refused", node.url())).join("; ")
        );
        until(&sentence, || cluster[0].health().filter(|health| health.waiting_for.as_deref() == Some(&sentence)))
    };
    let health = waits_for(&cluster, &[1, 2]);
    assert_eq!((health.state, health.term, health.leader), (NodeState::Forming, 0, None));
    for (target, status) in [("/livez", 200), ("/readyz", 503), ("/leader", 503), ("/get?key=a&timeout_ms=20", 503)] {
        assert_eq!(cluster[0].get(target).expect("it answers").status, status, "{target}");
    }
    let error = error_of(&cluster[0].post("/set?timeout_ms=20", r#"{"key":"a","value":"b"}"#).expect("it answers"));
    assert_eq!((error.code, error.applied), (ErrorCode::NoLeader, Applied::No));
    assert_eq!(cluster[0].terminate(), Some(0));

    cluster[0].start();
    cluster[1].start();
    waits_for(&cluster, &[2]);
    cluster[2].start();
    cluster.leader();
    cluster.client().set("a", "b").expect("the cluster serves");
}

#[test]
fn nodes_that_are_killed_while_they_form_a_cluster_form_one_all_the_same() {
    for round in 0..12 {
        let mut cluster = Cluster::prepare(3);
        cluster.start_all();
        // The delay itself is under test; nothing is waited for.
        thread::sleep(Duration::from_millis(round * 8));
        let killed = [0b111, 0b001, 0b110][round as usize % 3];
        for number in (0..3).filter(|number| killed & (1 << number) != 0) {
            cluster[number].kill();
            cluster[number].start();
        }
        cluster.client().set("a", "b").unwrap_or_else(|error| panic!("round {round}: {error}"));
        cluster.catch_up();
    }
}

#[test]
fn a_founder_that_is_started_again_under_another_id_and_url_is_known_as_it_is_now() {
    let mut cluster = Cluster::prepare(3);
    cluster[0].start();
    cluster[1].start();
    until("the first has met the second", || {
        let health = cluster[0].health()?;
        health.waiting_for.filter(|waiting_for| !waiting_for.contains("node2"))
    });
    cluster[1].kill();
    fs::remove_dir_all(cluster[1].data_dir()).expect("its data can be removed");
    let url = cluster[1].url().replace("127.0.0.1", "localhost");
    cluster[1].set_flag("--advertise-client-url", url.clone());
    cluster[1].start();
    cluster[2].start();
    cluster.leader();
    cluster.client().set("a", "b").expect("the cluster serves");
    for node in &cluster.nodes {
        let health = node.health().expect("it answers");
        assert_eq!(health.members[1].client_url, url, "{}", node.name);
    }
}
