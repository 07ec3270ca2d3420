//! Nodes that lose their disks, or have none, return with the flags they always had, and take their places again
//! without anyone's help.

use kvclient::NodeState;
use std::fs;
use std::io::ErrorKind;
use testkit::{Cluster, Load, Node, Recorder, until};

/// Writes that must be acknowledged between two steps.
const WRITES_BETWEEN: u64 = 100;

/// Returns the log line of the other nodes about the returned node: the last line of the change.
fn replaced(name: &str) -> String {
    format!("{name} votes again")
}

/// Stops a node for good and removes its data; the node that returns under its name is a new one.
fn wipe(node: &mut Node) {
    node.kill();
    take_data(node);
}

/// Removes the data of a stopped node, if it has any yet.
fn take_data(node: &Node) {
    if let Err(cause) = fs::remove_dir_all(node.data_dir()) {
        assert_eq!(cause.kind(), ErrorKind::NotFound, "{cause}");
    }
}

/// Returns how often a node has logged that a node of this name was replaced.
fn replacements(node: &Node, name: &str) -> usize {
    node.log().matches(&replaced(name)).count()
}

/// Waits until a node that returned without data is a voter again, and the only member with its name.
#[track_caller]
fn until_back(cluster: &Cluster, back: usize, times: usize) {
    let name = cluster[back].name.as_str();
    until(&format!("{name} votes again"), || {
        let health = cluster[back].health().filter(|health| health.state != NodeState::Forming)?;
        let is_so = health.members.len() == cluster.nodes.len() && health.members.iter().all(|member| member.voter);
        let is_told = cluster.running().any(|node| replacements(node, name) >= times);
        (is_so && is_told).then_some(())
    });
}

#[test]
fn a_follower_that_lost_its_disk_is_replaced_without_help_and_counts_again() {
    let mut cluster = Cluster::start_calm(3);
    let (client, lost) = (cluster.client(), cluster.follower());
    client.set("color", "blue").expect("the cluster serves");
    cluster.catch_up();
    let (leader, term) = (cluster.leader(), cluster[lost].health().expect("it answers").term);
    wipe(&mut cluster[lost]);
    cluster[lost].start();
    until_back(&cluster, lost, 1);
    let name = cluster[lost].name.clone();
    cluster[lost].logged(&format!("so it asks to replace the member {name} and will be sent all data"));
    assert_eq!(cluster.leader(), leader, "nobody was deposed");
    assert_eq!(cluster[lost].health().expect("it answers").term, term);

    // It has all data and counts: with another node down there is a majority, and once that node is back it may stop.
    let other = (0..3).find(|node| ![leader, lost].contains(node)).expect("a third node");
    cluster[other].kill();
    client.set("color", "red").expect("two of three are a majority");
    let reply = cluster[lost].get("/get?key=color&raw=true").expect("it answers");
    assert_eq!((reply.status, reply.text()), (200, "red".to_owned()));

    // Its own disk holds its new identity, and it returns by itself from now on.
    cluster[other].start();
    cluster[lost].kill();
    cluster[lost].start();
    cluster.catch_up();
    assert_eq!(replacements(&cluster[leader], &name), 1);
}

#[test]
fn what_clients_see_is_linearizable_while_disks_are_lost_one_after_the_other() {
    let mut cluster = Cluster::start(3);
    let recorder = Recorder::start(&cluster);
    // Leaders and followers, and in the end every node in its second incarnation: nothing is left of the founders.
    let mut times = [0; 3];
    for round in 0..6 {
        recorder.flow(WRITES_BETWEEN);
        let leader = cluster.leader();
        let lost = if round % 2 == 0 { leader } else { (0..3).min_by_key(|node| times[*node]).expect("three nodes") };
        wipe(&mut cluster[lost]);
        recorder.flow(WRITES_BETWEEN / 2);
        cluster[lost].start();
        times[lost] += 1;
        until_back(&cluster, lost, times[lost]);
        recorder.flow_at(lost, 1);
    }
    recorder.flow(WRITES_BETWEEN);
    assert!(times.iter().all(|times| *times > 0), "{times:?}");
    recorder.stop().check(&cluster);
}

#[test]
fn a_node_without_a_disk_is_replaced_whenever_it_stops() {
    let mut cluster = Cluster::start_with(3, "--storage", "memory");
    let recorder = Recorder::start(&cluster);
    for round in 0..3 {
        recorder.flow(WRITES_BETWEEN);
        // A clean stop is no different: there is nothing that it could have kept.
        if round % 2 == 0 {
            cluster[round].kill();
        } else {
            assert_eq!(cluster[round].terminate(), Some(0));
        }
        cluster[round].start();
        until_back(&cluster, round, 1);
    }
    recorder.flow(WRITES_BETWEEN);
    recorder.stop().check(&cluster);
}

#[test]
fn a_node_that_is_killed_and_wiped_while_it_returns_returns_all_the_same() {
    let mut cluster = Cluster::start_calm(3);
    let (client, lost) = (cluster.client(), cluster.follower());
    client.set("color", "blue").expect("the cluster serves");
    let load = Load::start(&client, 2);
    cluster[lost].kill();
    for round in 0..8 {
        take_data(&cluster[lost]);
        // Sometimes it runs twice with the data it has by then.
        for life in 0..=round % 2 {
            cluster[lost].start();
            load.flow((round + life) * 6);
            cluster[lost].kill();
        }
    }
    take_data(&cluster[lost]);
    cluster[lost].start();
    until("it votes, and none of its other lives is left", || {
        let health = cluster[lost].health().filter(|health| health.state == NodeState::Follower)?;
        let names: Vec<_> = health.members.iter().filter(|member| member.voter).map(|m| m.id.as_str()).collect();
        (names == ["node1", "node2", "node3"] && health.members.len() == 3).then_some(())
    });
    let ledger = load.stop();
    assert_eq!(ledger.failed(), 0);
    cluster.catch_up();
    client.delete("color").expect("the cluster serves");
}

#[test]
fn who_joined_by_a_url_returns_by_it() {
    let mut cluster = Cluster::start_calm(3);
    cluster.client().set("color", "blue").expect("the cluster serves");
    let joiner = cluster.prepare_joiner();
    cluster[joiner].start();
    until("it votes", || {
        let health = cluster[joiner].health()?;
        (health.members.len() == 4 && health.members.iter().all(|member| member.voter)).then_some(())
    });
    wipe(&mut cluster[joiner]);
    cluster[joiner].start();
    until_back(&cluster, joiner, 1);
}

#[test]
fn a_node_whose_name_is_no_members_says_so_and_takes_nobodys_place() {
    let mut cluster = Cluster::start_calm(3);
    let stranger = cluster.prepare_joiner();
    let mut command = testkit::kvd();
    let peers: Vec<_> = cluster.nodes[..3].iter().map(|node| format!("{}={}", node.name, node.url())).collect();
    let own = format!("node4={}", cluster[stranger].url());
    command.args(["--name", "node4", "--listen", cluster[stranger].address(), "--peers"]);
    command.arg([peers.join(","), own].join(",")).arg("--data-dir").arg(cluster[stranger].data_dir());
    cluster[stranger].start_as(command);
    until("it says so", || {
        let waiting_for = cluster[stranger].health()?.waiting_for?;
        waiting_for.contains("no member named \"node4\"").then_some(())
    });
    let members = cluster[0].health().expect("it answers").members;
    assert_eq!(members.len(), 3, "{members:?}");
}
