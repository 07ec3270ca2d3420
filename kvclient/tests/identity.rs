//! The client against two real clusters: it is bound to one of them, whatever its endpoints lead to.

use kvclient::{Applied, Client, Error};
use std::time::Instant;
use testkit::{Cluster, DEADLINE, InProcess, Program};

/// Runs as a node of the cluster whose nodes end one by one, when the test binary is started as one.
#[test]
fn node() {
    testkit::be_a_node();
}

/// Number of reads and writes of each client, so that every endpoint has its turn.
const ROUNDS: usize = 30;

fn client<'a>(endpoints: impl IntoIterator<Item = &'a String>, cluster: Option<&str>) -> Client {
    let builder = Client::builder().endpoints(endpoints).total_timeout(DEADLINE);
    cluster.map_or(builder.clone(), |id| builder.cluster_id(id)).build().expect("URLs of nodes")
}

/// Returns a cluster with a key that identifies it, and its id.
fn marked(nodes: u16, mark: &str) -> (InProcess, String) {
    let cluster = InProcess::start(nodes);
    let client = client(cluster.endpoints(), None);
    client.set("owner", mark).expect("it has a leader soon");
    let id = client.cluster_id().expect("it has answered").to_owned();
    (cluster, id)
}

fn owner(client: &Client) -> String {
    let item = client.get("owner").expect("its cluster runs").expect("no stranger is asked");
    item.value_str().expect("text").to_owned()
}

/// Checks that an error names two clusters and the node of the wrong one.
fn is_refused(error: &Error, names: [&str; 3]) {
    assert!(matches!(error, Error::WrongCluster { .. }), "{error:?}");
    assert_eq!(error.applied(), Applied::No);
    let text = error.to_string();
    assert!(names.iter().all(|name| text.contains(name)), "{text}");
}

#[test]
fn endpoints_of_two_clusters_are_never_mixed() {
    let (ours, our_id) = marked(3, "ours");
    let (theirs, their_id) = marked(1, "theirs");
    assert_ne!(our_id, their_id);
    let mixed: Vec<String> = theirs.endpoints().iter().chain(ours.endpoints()).cloned().collect();
    for round in 0..ROUNDS {
        let named = client(&mixed, Some(&our_id));
        assert_eq!(owner(&named), "ours");
        named.set("of ours", round.to_string()).expect("our cluster runs");
        assert!(named.get_stale("owner").expect("our cluster runs").is_none_or(|item| item.value == b"ours"));

        // Without an id it is bound to one or the other, and never changes.
        let unnamed = client(&mixed, None);
        let first = owner(&unnamed);
        unnamed.set(format!("of {first}"), round.to_string()).expect("its cluster runs");
        assert_eq!(unnamed.cluster_id(), Some(if first == "ours" { &*our_id } else { &*their_id }));
        assert_eq!(owner(&unnamed), first);
    }
    let at_theirs = client(theirs.endpoints(), Some(&their_id));
    assert_eq!(at_theirs.get("of ours").expect("their cluster runs"), None, "no write went astray");
    assert_eq!(client(ours.endpoints(), None).get("of theirs").expect("our cluster runs"), None);

    // If only the wrong endpoint is given, there is nothing to wait for.
    let lost = client(theirs.endpoints(), Some(&our_id));
    let began = Instant::now();
    let endpoint = theirs.endpoints()[0].as_str();
    for error in [
        lost.get("owner").expect_err("no key of theirs is ours"),
        lost.get_stale("nothing").expect_err("nor is there no such key"),
        lost.set("owner", "lost").expect_err("nothing is written there"),
        lost.health(endpoint).expect_err("nor asked"),
        lost.save_snapshot(std::io::sink(), |_| {}).expect_err("nor saved"),
    ] {
        is_refused(&error, [&our_id, &their_id, endpoint]);
    }
    assert!(began.elapsed() < DEADLINE / 2, "{:?}", began.elapsed());
    assert_eq!(owner(&at_theirs), "theirs");
}

#[test]
fn the_address_of_an_old_node_that_serves_a_new_cluster_is_passed_over() {
    let mut cluster = Cluster::start_as(&Program::ThisTest("node"), 3);
    let old_url = cluster[0].url();
    let setup = cluster.client();
    setup.set("owner", "old").expect("there is a leader");
    let id = setup.cluster_id().expect("it has answered").to_owned();
    let client = client([&old_url], Some(&id));
    client.members().expect("it runs");
    cluster[0].kill();
    assert_eq!(owner(&client), "old");

    // Its data was in memory, so it now forms a cluster of its own.
    cluster[0].remove_flag("--peers");
    cluster[0].start();
    let new_id = {
        let client = Client::builder().endpoint(&old_url).total_timeout(DEADLINE).build().expect("a URL");
        assert_eq!(client.get("owner").expect("it has a leader soon"), None, "it is empty");
        client.cluster_id().expect("it has answered").to_owned()
    };
    for _ in 0..ROUNDS {
        assert_eq!(owner(&client), "old");
        let stale = client.get_stale("owner").expect("two nodes run").expect("both have it");
        assert_eq!(stale.value_str(), Some("old"));
        client.set("color", "blue").expect("two of three run");
    }
    let rows = client.status().expect("two nodes answer");
    let row = rows.iter().find(|row| row.client_url == old_url).expect("it is a member still");
    is_refused(row.health.as_ref().expect_err("it is another node"), [&id, &new_id, &old_url]);

    // The watch follows the leader in its own cluster only.
    let mut watch = client.watch_leader();
    let change = watch.next_timeout(DEADLINE).expect("somebody leads");
    assert!(change.leader.is_some_and(|leader| leader.url != old_url));

    cluster[1].kill();
    cluster[2].kill();
    let patient = Client::builder().endpoints([&old_url]).cluster_id(&id).build().expect("a URL");
    is_refused(&patient.get("owner").expect_err("nobody of the old cluster runs"), [&id, &new_id, &old_url]);
}
