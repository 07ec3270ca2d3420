//! Without a majority no write is acknowledged and no answer is wrong; with one, the cluster serves again.

use kvclient::NodeState;
use kvclient::api::{Applied, ErrorCode, GetReply};
use testkit::{Cluster, error_of, until};

const WRITE: &str = r#"{"key":"color","value":"red"}"#;

#[test]
fn a_lone_survivor_takes_no_writes_answers_stale_reads_and_serves_again_with_the_others() {
    let mut cluster = Cluster::start(3);
    let (client, survivor) = (cluster.client(), cluster.follower());
    client.set("color", "blue").expect("the cluster serves");
    cluster.catch_up();
    let others = cluster.others(survivor);
    others.iter().for_each(|number| cluster[*number].kill());

    let lone = &cluster[survivor];
    let alone = until("it knows no leader", || lone.health().filter(|health| health.leader.is_none()));
    for _ in 0..20 {
        let reply = lone.post("/set?timeout_ms=20", WRITE).expect("it answers");
        let error = error_of(&reply);
        assert_eq!((reply.status, error.code, error.applied), (503, ErrorCode::NoLeader, Applied::No));
        assert!(reply.header("retry-after").is_some());
        let reply = lone.get("/get?key=color&timeout_ms=20").expect("it answers");
        assert_eq!((reply.status, error_of(&reply).code), (503, ErrorCode::NoLeader));
        let reply = lone.get("/get?key=color&consistency=stale").expect("it answers");
        assert_eq!(reply.json::<GetReply>().item.value_str(), Some("blue"));
    }
    for (target, status) in [("/livez", 200), ("/readyz", 503), ("/leader", 503), ("/health", 200)] {
        assert_eq!(lone.get(target).expect("it answers").status, status, "{target}");
    }
    // In this time it would have campaigned several times.
    let later = until("time has passed", || lone.health().filter(|now| now.uptime_ms > alone.uptime_ms + 1_000));
    assert_eq!(later.term, alone.term, "it raises no term that nobody would elect it for (PreVote, thesis §9.6)");

    others.iter().for_each(|number| cluster[*number].start());
    cluster.catch_up();
    assert_eq!(client.get("color").expect("the cluster serves").expect("the key is there").value, b"blue");
    client.set("color", "green").expect("the cluster serves");
    until("it is ready", || cluster[survivor].get("/readyz").ok().filter(|reply| reply.status == 200));
}

#[test]
fn a_write_that_a_leader_took_and_could_not_replicate_is_said_to_be_unknown() {
    let mut cluster = Cluster::start_calm(3);
    let leader = cluster.leader();
    let others = cluster.others(leader);
    // Paused and not killed: their connections stay open, so for a moment the leader still believes that it leads.
    others.iter().for_each(|number| cluster[*number].pause());
    let reply = cluster[leader].post("/set", WRITE).expect("it answers");
    let error = error_of(&reply);
    assert_eq!((reply.status, error.code, error.applied), (504, ErrorCode::Timeout, Applied::Unknown));
    let health = cluster[leader].health().expect("it answers");
    assert_ne!(health.state, NodeState::Leader, "without a majority it does not lead on (CheckQuorum, thesis §6.2)");
    assert!(health.last_log_index > health.commit_index, "the write is in its log: {health:?}");

    others.iter().for_each(|number| cluster[*number].resume());
    cluster.catch_up();
    let values: Vec<Option<Vec<u8>>> = cluster
        .nodes
        .iter()
        .map(|node| node.get("/get?key=color&raw=true").expect("it answers"))
        .map(|reply| (reply.status == 200).then_some(reply.body))
        .collect();
    assert!(values.iter().all(|value| *value == values[0]), "whatever became of it, all agree: {values:?}");
}

#[test]
fn two_nodes_serve_together_or_not_at_all() {
    let mut cluster = Cluster::start(2);
    let client = cluster.client();
    client.set("color", "blue").expect("both are there");
    for round in 0..2 {
        let lost = (cluster.leader() + round) % 2;
        cluster[lost].kill();
        let left = &cluster[1 - lost];
        for _ in 0..10 {
            let reply = left.post("/set?timeout_ms=50", WRITE).expect("it answers");
            assert!(matches!(reply.status, 503 | 504), "{} {}", reply.status, reply.text());
        }
        let revision = left.health().expect("it answers").revision;
        cluster[lost].start();
        cluster.catch_up();
        client.set("color", "green").expect("both are there again");
        cluster.catch_up();
        assert!(cluster[lost].health().expect("it answers").revision > revision);
    }
}
