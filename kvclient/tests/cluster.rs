//! The client against a real cluster whose nodes die, hang and come back.

use kvclient::{Client, Error, LeaderChange};
use std::thread;
use std::time::{Duration, Instant};
use testkit::{Cluster, DEADLINE, Program, until};

/// The least total time that leaves a slow machine room, and far too little for waiting out a hung node.
const SHORT: Duration = Duration::from_secs(5);

/// Writers at work while the leader dies.
const WRITERS: u64 = 4;

/// What each of them writes.
const WRITES: u64 = 200;

/// What a node of these clusters is.
#[test]
fn node() {
    testkit::be_a_node();
}

fn start_cluster() -> Cluster {
    Cluster::start_as(&Program::ThisTest("node"), 3)
}

/// Patient enough for an election.
fn client(cluster: &Cluster) -> Client {
    Client::builder().endpoints(cluster.endpoints()).total_timeout(DEADLINE).build().expect("URLs of nodes")
}

#[test]
fn each_write_is_applied_once_though_the_leader_dies() {
    let mut cluster = start_cluster();
    let client = client(&cluster);
    let key = |writer, number| format!("{writer}/{number}");
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            let client = client.clone();
            scope.spawn(move || {
                (0..WRITES).for_each(|number| {
                    client.set(&key(writer, number), "v").expect("an outcome within the total time");
                });
            });
        }
        // In the midst of it.
        until("some writes are acknowledged", || client.get(&key(0, WRITES / 10)).ok().flatten());
        let leader = cluster.leader();
        cluster[leader].kill();
    });
    for (writer, number) in (0..WRITERS).flat_map(|writer| (0..WRITES).map(move |number| (writer, number))) {
        let item = client.get(&key(writer, number)).expect("a majority runs").expect("it was acknowledged");
        assert_eq!((item.version, item.value_str()), (1, Some("v")), "{}", item.key);
    }
    let leader = &cluster[cluster.leader()].url();
    let health = client.health(leader).expect("it runs");
    assert_eq!((health.revision, health.keys), (1 + WRITERS * WRITES, WRITERS * WRITES));
}

#[test]
fn a_hung_node_hinders_nobody_for_long() {
    let mut cluster = start_cluster();
    let leader = cluster.leader();
    let endpoints = cluster.endpoints();
    let client = |first: usize| {
        let urls = endpoints[first..].iter().chain(&endpoints[..first]);
        Client::builder().endpoints(urls).total_timeout(SHORT).build().expect("URLs of nodes")
    };
    client(leader).set("color", "blue").expect("all run");
    let follower = cluster.follower();
    cluster[follower].pause();
    // New clients each time, which begin at a random node.
    for _ in 0..10 {
        client(follower).set("color", "red").expect("a majority runs");
        let item = client(follower).get("color").expect("a majority runs").expect("it was written");
        assert_eq!(item.value_str(), Some("red"));
    }
    cluster[follower].resume();

    // A client that knows the leader meets its silence first.
    let patient =
        Client::builder().endpoints(cluster.endpoints()).total_timeout(DEADLINE).build().expect("URLs of nodes");
    patient.set("color", "green").expect("all run");
    cluster[leader].pause();
    patient.set("color", "yellow").expect("the others elect a leader");
    let item = patient.get("color").expect("a majority runs").expect("it was written");
    assert_eq!(item.value_str(), Some("yellow"));
}

#[test]
fn a_watch_goes_on_across_the_death_of_the_leader() {
    let mut cluster = start_cluster();
    let mut watch = client(&cluster).watch_leader();
    let mut next = || watch.next_timeout(DEADLINE).expect("a change");
    let name = |change: &LeaderChange| change.leader.as_ref().map(|node| node.id.clone());
    let first = next();
    let leader = cluster.leader();
    assert_eq!((name(&first), &first.previous), (Some(format!("node{}", leader + 1)), &None));

    let killed = Instant::now();
    cluster[leader].kill();
    let mut change = next();
    if change.leader.is_none() {
        assert_eq!(change.previous, first.leader);
        change = next();
    }
    let known_after = killed.elapsed();
    assert_eq!(change.previous, first.leader);
    assert!(change.term > first.term, "{change:?}");
    assert_eq!(name(&change), Some(format!("node{}", cluster.leader() + 1)));
    let gap = change.without_leader.expect("there was none for a while");
    assert!(gap <= known_after, "{gap:?} of {known_after:?}");
}

#[test]
fn status_tells_of_a_node_that_is_down_and_of_one_that_hangs() {
    let mut cluster = start_cluster();
    let leader = cluster.leader();
    let others = cluster.others(leader);
    cluster[others[0]].kill();
    cluster[others[1]].pause();
    // One endpoint tells of all members.
    let client = Client::builder().endpoint(cluster[leader].url()).total_timeout(SHORT).build().expect("a URL");
    let began = Instant::now();
    let nodes = client.status().expect("one node answers");
    assert!(began.elapsed() < SHORT, "{:?}", began.elapsed());
    let found: Vec<_> = nodes.iter().map(|node| (node.name.clone(), node.voter, node.health.is_ok())).collect();
    let expected: Vec<_> = (0..3).map(|number| (format!("node{}", number + 1), true, number == leader)).collect();
    assert_eq!(found, expected);
}

#[test]
fn a_lone_node_serves_stale_reads_and_nothing_else() {
    let mut cluster = start_cluster();
    client(&cluster).set("color", "blue").expect("all run");
    let lone = cluster.follower();
    let at_lone = Client::builder().endpoint(cluster[lone].url()).total_timeout(SHORT).build().expect("a URL");
    until("the write is everywhere", || at_lone.get_stale("color").ok().flatten());
    for other in cluster.others(lone) {
        cluster[other].kill();
    }
    let item = at_lone.get_stale("color").expect("its own store is enough").expect("it was there");
    assert_eq!(item.value_str(), Some("blue"));
    let error = at_lone.get_stale_within("color", Duration::from_millis(100)).expect_err("it cannot know");
    assert!(matches!(&error, Error::NoLeader { detail, .. } if detail.contains("more than 100 ms behind")), "{error}");
    let short = Client::builder().endpoints(cluster.endpoints()).total_timeout(Duration::from_secs(1)).build();
    let short = short.expect("URLs of nodes");
    let error = short.get("color").expect_err("no quorum");
    assert!(matches!(error, Error::NoLeader { .. } | Error::Unreachable { .. }), "{error}");
    let error = short.set("color", "red").expect_err("no quorum");
    assert!(!matches!(error, Error::Configuration { .. } | Error::Unexpected { .. }), "{error}");
    assert_eq!(at_lone.get_stale("color").expect("as before").expect("as before").value_str(), Some("blue"));
}

#[test]
fn leadership_is_handed_over_and_writes_go_on() {
    let cluster = start_cluster();
    let client = client(&cluster);
    let before = client.leader().expect("it has a leader");
    let other =
        &client.members().expect("they answer").into_iter().find(|member| member.id != before.id).expect("three");
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            (0..WRITES).for_each(|number| {
                client.set(&format!("{number}"), "v").expect("an outcome within the total time");
            });
        });
        let leader = client.transfer_leader(Some(&other.id)).expect("all nodes are healthy");
        assert_eq!((&leader.id, &leader.url), (&other.id, &other.client_url));
        writer.join().expect("no write fails");
    });
    let error = client.transfer_leader(Some("nobody")).expect_err("there is no such member");
    assert!(matches!(error, Error::InvalidRequest { .. }), "{error}");
    let leader = client.transfer_leader(None).expect("all nodes are healthy");
    assert_ne!(leader.id, other.id);
}
