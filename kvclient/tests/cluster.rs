//! The client against a real cluster whose nodes die, hang and come back.

use kvclient::{Client, Condition, Error, LeaderChange};
use std::thread;
use std::time::{Duration, Instant};
use testkit::{Cluster, DEADLINE, Port, Program, until};

/// Least total time that leaves room for a slow machine, but far too little to wait for a hung node.
const SHORT: Duration = Duration::from_secs(5);

/// Writers at work while the leader dies.
const WRITERS: u64 = 4;

/// Writes of each writer.
const WRITES: u64 = 200;

/// Runs as a node of these clusters when the test binary is started as one.
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
                    client.set(key(writer, number), "v").expect("an outcome within the total time");
                });
            });
        }
        // While the writers are at work.
        until("some writes are acknowledged", || client.get(key(0, WRITES / 10)).ok().flatten());
        let leader = cluster.leader();
        cluster[leader].kill();
    });
    for (writer, number) in (0..WRITERS).flat_map(|writer| (0..WRITES).map(move |number| (writer, number))) {
        let item = client.get(key(writer, number)).expect("a majority runs").expect("it was acknowledged");
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
    // New clients each time; each begins at a random node.
    for _ in 0..10 {
        client(follower).set("color", "red").expect("a majority runs");
        let item = client(follower).get("color").expect("a majority runs").expect("it was written");
        assert_eq!(item.value_str(), Some("red"));
    }
    cluster[follower].resume();

    // A client that knows the leader runs into its silence first.
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
    // One endpoint is enough to learn all members.
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
fn leadership_is_transferred_and_writes_go_on() {
    let cluster = start_cluster();
    let client = client(&cluster);
    let before = client.leader().expect("it has a leader");
    let other =
        &client.members().expect("they answer").into_iter().find(|member| member.id != before.id).expect("three");
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            (0..WRITES).for_each(|number| {
                client.set(format!("{number}"), "v").expect("an outcome within the total time");
            });
        });
        let leader = client.transfer_leader(Some(&other.id)).expect("all nodes are healthy");
        assert_eq!((&leader.id, &leader.url), (&other.id, &other.client_url));
        writer.join().expect("no write fails");
    });
    let error = client.transfer_leader(Some("nobody")).expect_err("no such member");
    assert!(matches!(error, Error::InvalidRequest { .. }), "{error}");
    let leader = client.transfer_leader(None).expect("all nodes are healthy");
    assert_ne!(leader.id, other.id);
}

#[test]
fn a_cluster_whose_advertised_urls_lead_nowhere_from_here_is_used_through_the_given_endpoints() {
    let mut cluster = Cluster::prepare(3);
    let nowhere: Vec<Port> = (0..3).map(|_| Port::any()).collect();
    for (node, nowhere) in cluster.nodes.iter_mut().zip(&nowhere) {
        node.set_program(Program::ThisTest("node"));
        node.set_flag("--storage", "memory");
        node.set_flag("--election-timeout-ms", "1500..2500");
        node.set_flag("--advertise-client-url", nowhere.url());
    }
    cluster.start_all();
    let leader = cluster.leader();
    let follower = cluster.follower();
    for endpoints in [cluster.endpoints(), vec![cluster[follower].url()], vec![cluster[leader].url()]] {
        let client = Client::builder().endpoints(&endpoints).total_timeout(DEADLINE).build().expect("URLs of nodes");
        let before = client.get("counter").expect("a node answers").map_or(0, |item| item.version);
        let began = Instant::now();
        for _ in 0..5 {
            client.set("counter", "up").expect("a node takes it");
        }
        assert!(began.elapsed() < DEADLINE / 2, "{:?}", began.elapsed());
        let after = client.get("counter").expect("a node answers").expect("it was written").version;
        assert_eq!(after, before + 5, "each write is applied once");
        client.set_if("counter", "up", Condition::Absent).expect_err("a condition is decided as ever");
        assert_eq!(client.leader().expect("a node answers").id, cluster[leader].name);
        assert!(client.save_snapshot(std::io::sink(), |_| {}).is_ok());
        let rows = client.status().expect("a node answers");
        assert_eq!(rows.iter().filter(|row| row.health.is_ok()).count(), endpoints.len());
        let next = rows.iter().filter_map(|row| row.endpoint.as_deref()).next().expect("one answers");
        assert!(client.save_snapshot_stale(next, std::io::sink(), |_| {}).is_ok(), "it is asked where it answers");
    }

    // No node is left to forward the write. The error names the address that does not work, and its promise is true.
    for other in cluster.others(follower) {
        cluster[other].pause();
    }
    let client = Client::builder().endpoint(cluster[follower].url()).total_timeout(Duration::from_secs(2)).build();
    let error = client.expect("a URL").set("counter", "up").expect_err("no quorum");
    assert!(matches!(error, Error::OutcomeUnknown { .. } | Error::NoLeader { .. }), "{error:?}");
    assert!(error.to_string().contains(&nowhere[leader].url()), "{error}");
}
