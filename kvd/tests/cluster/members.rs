//! Member changes while the cluster serves.

use kvclient::api::{Applied, ErrorCode, MembersReply};
use kvclient::{Member, MemberGoal, NodeState};
use std::thread;
use std::time::Duration;
use testkit::{Cluster, Load, Node, Recorder, Reply, error_of, until};

/// Returns a node's view of the members, by name.
fn members(node: &Node) -> Option<Vec<Member>> {
    node.health().map(|health| health.members)
}

/// Waits until all these nodes see exactly these voters and no other members.
#[track_caller]
fn until_voters(cluster: &Cluster, nodes: &[usize], voters: &[&str]) {
    until(&format!("the members are {voters:?}, and vote"), || {
        let sees = |node: usize| {
            let members = members(&cluster[node])?;
            let are_so = members.iter().map(|member| member.id.as_str()).eq(voters.iter().copied());
            (are_so && members.iter().all(|member| member.voter)).then_some(())
        };
        nodes.iter().try_for_each(|node| sees(*node))
    });
}

#[track_caller]
fn change(node: &Node, path: &str, body: &str) -> Reply {
    node.post(path, body).expect("it answers")
}

#[track_caller]
fn remove(cluster: &Cluster, leader: usize, name: &str) {
    let reply = change(&cluster[leader], "/members/remove", &format!(r#"{{"id":"{name}"}}"#));
    assert_eq!(reply.status, 200, "{}", reply.text());
    let MembersReply { members, .. } = reply.json();
    assert!(members.iter().all(|member| member.id != name), "{members:?}");
}

/// Waits until a node reports in every way it has that it was removed.
#[track_caller]
fn until_removed(node: &Node) {
    until(&format!("{} knows that it was removed", node.name), || {
        node.health().filter(|health| health.state == NodeState::Removed)
    });
    node.logged("this node has been removed from its cluster");
    for (target, method) in [("/readyz", "GET"), ("/get?key=color", "GET"), ("/set", "POST")] {
        let reply = match method {
            "GET" => node.get(target),
            _ => node.post(target, r#"{"key":"color","value":"red"}"#),
        };
        let reply = reply.expect("it answers");
        let error = error_of(&reply);
        assert_eq!((reply.status, error.code, error.applied), (503, ErrorCode::NoLeader, Applied::No), "{target}");
        assert!(error.message.contains("removed from its cluster"), "{target}: {}", error.message);
    }
    // It may not know that the last write before its end was committed.
    let stale = node.get("/get?key=color&consistency=stale").expect("it answers");
    assert!([200, 404].contains(&stale.status), "{}", stale.text());
}

#[test]
fn a_node_that_joins_catches_up_and_votes_by_itself() {
    let mut cluster = Cluster::start_calm(3);
    let client = cluster.client();
    client.set("color", "blue").expect("the cluster serves");
    let joiner = cluster.prepare_joiner();
    cluster[joiner].start();
    until_voters(&cluster, &[0, 1, 2, 3], &["node1", "node2", "node3", "node4"]);
    let reply = cluster[joiner].get("/get?key=color").expect("it answers");
    assert_eq!(reply.status, 200, "it serves linearizable reads: {}", reply.text());
    assert_eq!(cluster[joiner].get("/readyz").expect("it answers").status, 200);
    for node in &cluster.nodes[..3] {
        node.logged("node4 joined as a learner; it will vote once caught up");
        node.logged("node4 votes now");
        assert_eq!(node.log().matches("node4 votes now").count(), 1, "once");
    }

    // It counts: with two of the four down there is no majority, with one down there is.
    let leader = cluster.leader();
    let others = cluster.others(leader);
    cluster[others[0]].kill();
    client.set("color", "red").expect("three of four are a majority");
    cluster[others[1]].kill();
    until("two of four have no leader", || cluster[joiner].health().filter(|health| health.leader.is_none()));

    // Restarted with the same flags it is a member, and needs no admission.
    cluster[joiner].kill();
    cluster.nodes.iter_mut().filter(|node| !node.is_running()).for_each(Node::start);
    cluster.catch_up();
    assert_eq!(client.get("color").expect("the cluster serves").expect("a key").value, b"red");
    assert_eq!(cluster[joiner].log().matches("to be added to the cluster").count(), 1);
}

#[test]
fn a_node_that_joins_and_is_not_reached_says_at_which_url_and_so_does_the_leader() {
    let mut cluster = Cluster::start_calm(1);
    let joiner = cluster.prepare_joiner();
    cluster[joiner].set_flag("--advertise-peer-url", "http://127.0.0.1:1");
    cluster[joiner].start();
    cluster[0].logged("cannot reach node2 at http://127.0.0.1:1: connection refused");
    cluster[joiner].logged("no other node has connected to it yet at http://127.0.0.1:1");
    let health = cluster[joiner].health().expect("it answers");
    assert!(health.waiting_for.is_some_and(|why| why.contains("http://127.0.0.1:1")));
    // Restarted with its right URL it asks again, and is reached there.
    cluster[joiner].kill();
    cluster[joiner].remove_flag("--advertise-peer-url");
    cluster[joiner].start();
    cluster[0].logged("node2 votes now");

    // The leader reaches this node, but gives it a URL of the leader that does not work.
    let mut cluster = Cluster::start_calm(1);
    cluster[0].terminate();
    cluster[0].set_flag("--advertise-peer-url", "http://127.0.0.1:1");
    cluster[0].start();
    cluster.leader();
    let joiner = cluster.prepare_joiner();
    cluster[joiner].start();
    cluster[joiner].logged("but it cannot reach node1 (http://127.0.0.1:1: connection refused)");
}

#[test]
fn a_learner_stays_one_has_everything_and_counts_for_nothing_until_it_is_promoted() {
    let mut cluster = Cluster::start_calm(3);
    let client = cluster.client();
    client.set("color", "blue").expect("the cluster serves");
    let learner = cluster.prepare_joiner();
    cluster[learner].add_env("KVD_LEARNER", "true");
    cluster[learner].start();
    cluster.catch_up();
    let leader = cluster.leader();
    let goals = |cluster: &Cluster| -> Vec<_> {
        members(&cluster[leader]).expect("it answers").iter().map(|member| (member.voter, member.goal)).collect()
    };
    assert_eq!(goals(&cluster)[2..], [(true, None), (false, Some(MemberGoal::Learner))]);
    assert_eq!(cluster[learner].health().expect("it answers").state, NodeState::Learner);
    for target in ["/get?key=color", "/get?key=color&consistency=stale"] {
        let reply = cluster[learner].get(target).expect("it answers");
        assert_eq!(reply.status, 200, "{target}: {}", reply.text());
    }
    // Two of three voters are a majority, whether the learner is there or not.
    cluster[learner].kill();
    let follower = (0..3).find(|node| *node != leader).expect("a follower");
    cluster[follower].kill();
    client.set("color", "red").expect("two of three are a majority");
    cluster[follower].start();
    cluster[learner].start();
    cluster.catch_up();
    assert_eq!(goals(&cluster)[3], (false, Some(MemberGoal::Learner)), "it stays one");

    let promoted = until("it has caught up", || {
        let reply = change(&cluster[cluster.leader()], "/members/promote", r#"{"id":"node4"}"#);
        (reply.status == 200).then(|| reply.json::<MembersReply>())
    });
    assert!(promoted.members.iter().all(|member| member.voter), "{promoted:?}");
}

#[test]
fn a_removed_follower_knows_it_says_so_and_disturbs_nobody() {
    let mut cluster = Cluster::start_calm(3);
    let client = cluster.client();
    client.set("color", "blue").expect("the cluster serves");
    cluster.catch_up();
    let (leader, gone) = (cluster.leader(), cluster.follower());
    let other = (0..3).find(|node| ![leader, gone].contains(node)).expect("a third node");
    let name = cluster[gone].name.clone();
    remove(&cluster, leader, &name);
    let again = change(&cluster[leader], "/members/remove", &format!(r#"{{"id":"{name}"}}"#));
    assert_eq!((again.status, error_of(&again).code), (404, ErrorCode::MemberNotFound));
    until_removed(&cluster[gone]);
    for node in [leader, other] {
        cluster[node].logged(&format!("{name} was removed"));
    }
    let term = cluster[leader].health().expect("it answers").term;
    // The same at its next start; and the two nodes that are left are a cluster of two.
    cluster[gone].kill();
    cluster[gone].start();
    until_removed(&cluster[gone]);
    until("it says so again", || {
        let log = cluster[gone].log();
        (log.matches("this node has been removed from its cluster").count() == 2).then_some(())
    });
    client.set("color", "red").expect("the others go on");
    assert_eq!(cluster[leader].health().expect("it answers").term, term, "nobody was deposed");
    cluster[other].kill();
    let reply = change(&cluster[leader], "/set", r#"{"key":"color","value":"green"}"#);
    assert!([503, 504].contains(&reply.status), "one of two is no majority: {}", reply.text());
}

#[test]
fn a_node_that_was_away_when_it_was_removed_is_told_by_the_others() {
    let mut cluster = Cluster::start_calm(3);
    let client = cluster.client();
    client.set("color", "blue").expect("the cluster serves");
    cluster.catch_up();
    let (leader, gone) = (cluster.leader(), cluster.follower());
    cluster[gone].kill();
    let name = cluster[gone].name.clone();
    remove(&cluster, leader, &name);
    let term = cluster[leader].health().expect("it answers").term;
    for _ in 0..2 {
        cluster[gone].start();
        until_removed(&cluster[gone]);
        cluster[gone].kill();
    }
    client.set("color", "red").expect("the others go on");
    assert_eq!(cluster[leader].health().expect("it answers").term, term, "nobody was deposed");

    // With an empty directory it is a new node.
    std::fs::remove_dir_all(cluster[gone].data_dir()).expect("its data can be removed");
    let url = cluster[leader].url();
    cluster[gone].remove_flag("--peers");
    cluster[gone].set_flag("--join", url);
    cluster[gone].start();
    until_voters(&cluster, &[0, 1, 2], &["node1", "node2", "node3"]);
}

#[test]
fn the_leader_can_be_removed_and_another_takes_over() {
    let cluster = Cluster::start(3);
    let client = cluster.client();
    client.set("color", "blue").expect("the cluster serves");
    cluster.catch_up();
    let leader = cluster.leader();
    let name = cluster[leader].name.clone();
    let load = Load::start(&client, 2);
    load.flow(20);
    let members = client.remove_member(&name, false).expect("a majority is there");
    assert!(members.iter().all(|member| member.id != name), "{members:?}");
    load.flow(50);
    let others = cluster.others(leader);
    cluster.leader_of(&others);
    until_removed(&cluster[leader]);
    assert_eq!(load.stop().failed(), 0);
}

#[test]
fn what_would_harm_the_cluster_is_refused_with_a_sentence() {
    let mut cluster = Cluster::start_calm(3);
    let (leader, follower) = (cluster.leader(), cluster.follower());
    let refused = |cluster: &Cluster, path: &str, body: &str| {
        let reply = change(&cluster[leader], path, body);
        let error = error_of(&reply);
        assert_eq!(error.applied, Applied::No, "{body}: {error:?}");
        (reply.status, error.code, error.message)
    };
    for (path, body) in [
        ("/members/remove", r#"{"id":"node9"}"#),
        ("/members/promote", r#"{"id":"node9"}"#),
        ("/members/replace", r#"{"old":"node1","new":"node9"}"#),
    ] {
        let (status, code, message) = refused(&cluster, path, body);
        assert_eq!((status, code), (404, ErrorCode::MemberNotFound), "{message}");
        assert!(message.contains(r#"no member named "node9" (members: node1, node2, node3)"#), "{message}");
    }
    // A follower forwards the request, as it does with writes.
    let reply = change(&cluster[follower], "/members/remove", r#"{"id":"node9"}"#);
    assert_eq!((reply.status, error_of(&reply).code), (404, ErrorCode::MemberNotFound), "{}", reply.text());

    // With one of three down, another one cannot be removed: of the two that would be left only one is heard.
    let (gone, stays) = match cluster.others(leader)[..] {
        [a, b] => (a, b),
        _ => panic!("three nodes"),
    };
    cluster[gone].kill();
    let body = format!(r#"{{"id":"{}"}}"#, cluster[stays].name);
    cluster[leader].logged(&format!("cannot reach {}", cluster[gone].name));
    let (status, code, message) = refused(&cluster, "/members/remove", &body);
    assert_eq!((status, code), (409, ErrorCode::ChangeRefused), "{message}");
    assert!(message.contains("2 voters would remain"), "{message}");
    assert!(message.contains("the leader hears from 1") && message.contains("--force"), "{message}");

    // A forced removal proceeds as far as possible, and completes once the other node is back.
    let forced = format!(r#"{{"id":"{}","force":true}}"#, cluster[stays].name);
    thread::scope(|scope| {
        let asked = scope.spawn(|| change(&cluster[leader], "/members/remove", &forced));
        let reply = asked.join().expect("no panic");
        assert!(reply.status == 200 || reply.status == 504, "{}", reply.text());
    });
    cluster[gone].start();
    let mut left = [cluster[leader].name.clone(), cluster[gone].name.clone()];
    left.sort();
    until_voters(&cluster, &[leader, gone], &left.each_ref().map(String::as_str));

    let single = Cluster::start(1);
    let reply = change(&single[0], "/members/remove", r#"{"id":"node1"}"#);
    let error = error_of(&reply);
    assert_eq!((reply.status, error.code), (409, ErrorCode::ChangeRefused));
    assert!(error.message.contains("node1 is the last voter"), "{}", error.message);
}

#[test]
fn a_removal_right_after_an_election_waits_for_who_has_not_been_heard_and_is_refused() {
    let mut cluster = Cluster::start(3);
    let old = cluster.leader();
    let rest = cluster.others(old);
    cluster[old].kill();
    // The dead node and the new leader would be left: no majority. Asked as soon as a node leads.
    let refused = until("the new leader answers", || {
        rest.iter().zip(rest.iter().rev()).find_map(|(asked, other)| {
            let body = format!(r#"{{"id":"{}"}}"#, cluster[*other].name);
            let reply = cluster[*asked].post("/members/remove", body).ok()?;
            (![307, 503].contains(&reply.status)).then_some(reply)
        })
    });
    let error = error_of(&refused);
    assert_eq!((refused.status, error.code, error.applied), (409, ErrorCode::ChangeRefused, Applied::No));
    assert!(error.message.contains("not a majority"), "{}", error.message);
    cluster.client().set("color", "blue").expect("the two that live serve");
}

#[test]
fn a_node_is_replaced_by_another_in_one_change_whatever_the_leader() {
    let mut cluster = Cluster::start_calm(3);
    let client = cluster.client();
    client.set("color", "blue").expect("the cluster serves");
    let new = cluster.prepare_joiner();
    cluster[new].add_env("KVD_LEARNER", "true");
    cluster[new].start();
    cluster.catch_up();
    let old = cluster.leader();
    let name = cluster[old].name.clone();
    let members = until("the learner has caught up", || match client.replace_member(&name, "node4") {
        Ok(members) => Some(members),
        Err(kvclient::Error::ChangeRefused { message }) if message.contains("has not caught up") => None,
        Err(error) => panic!("{error}"),
    });
    let names: Vec<&str> = members.iter().map(|member| member.id.as_str()).collect();
    assert!(names.len() == 3 && names.contains(&"node4") && !names.contains(&name.as_str()), "{names:?}");
    assert!(members.iter().all(|member| member.voter), "{members:?}");
    assert_eq!(client.replace_member(&name, "node4").expect("it is so already").len(), 3);
    // A voter cannot replace a member: the cluster would shrink, and the next such command would leave a single voter.
    let voters: Vec<_> = names.into_iter().filter(|other| *other != "node4").collect();
    for (leaves, votes) in [(voters[0], voters[1]), (voters[0], "node4"), ("node4", voters[0])] {
        match client.replace_member(leaves, votes) {
            Err(kvclient::Error::ChangeRefused { message }) => {
                assert!(message.contains("member") && message.contains(votes), "{message}");
            }
            other => panic!("replace {leaves} {votes}: {other:?}"),
        }
    }
    assert_eq!(client.members().expect("the cluster serves").len(), 3);
    until_removed(&cluster[old]);
    client.set("color", "red").expect("the cluster serves");
}

#[test]
fn what_clients_see_is_linearizable_while_all_nodes_are_replaced_by_others() {
    let mut cluster = Cluster::start(3);
    let recorder = Recorder::start(&cluster);
    for old in 0..3 {
        recorder.flow(100);
        let new = cluster.prepare_joiner_at(old);
        cluster[new].add_env("KVD_LEARNER", "true");
        cluster[new].start();
        let (gone, comes) = (cluster[old].name.clone(), cluster[new].name.clone());
        // The leader may change meanwhile; the client handles that.
        let client = cluster.client();
        until("one is replaced by the other", || match client.replace_member(&gone, &comes) {
            Ok(_) => Some(()),
            Err(kvclient::Error::MemberNotFound { .. } | kvclient::Error::ChangeRefused { .. }) => None,
            Err(error) => panic!("{error}"),
        });
        recorder.flow(50);
        until_removed(&cluster[old]);
        assert_eq!(cluster[old].terminate(), Some(0));
    }
    // Clients that were told only of the first three nodes have learnt of the others.
    recorder.flow(200);
    cluster.nodes.drain(..3);
    until_voters(&cluster, &[0, 1, 2], &["node4", "node5", "node6"]);
    recorder.stop().check(&cluster);
}

#[test]
fn a_node_that_is_killed_while_it_joins_joins_all_the_same() {
    let mut cluster = Cluster::start_calm(3);
    cluster.client().set("color", "blue").expect("the cluster serves");
    let joiner = cluster.prepare_joiner();
    for round in 0..10 {
        cluster[joiner].start();
        // The delay itself is under test; nothing is waited for.
        thread::sleep(Duration::from_millis(round * 12));
        cluster[joiner].kill();
    }
    cluster[joiner].start();
    until_voters(&cluster, &[0, 1, 2, 3], &["node1", "node2", "node3", "node4"]);
}

#[test]
fn a_node_that_cannot_join_says_why_and_joins_once_it_can() {
    let mut cluster = Cluster::prepare(3);
    let joiner = cluster.prepare_joiner();
    cluster[joiner].start();
    let waits = |cluster: &Cluster, why: &str| {
        until(why, || {
            let health = cluster[joiner].health()?;
            health.waiting_for.filter(|waiting_for| waiting_for.contains(why)).map(|_| ())
        });
    };
    let nobody = format!("{}/members/add does not answer", cluster[0].url());
    waits(&cluster, &nobody);
    cluster[joiner].logged(&nobody);
    cluster[0].start();
    waits(&cluster, "no leader is known");
    assert_eq!(cluster[joiner].get("/readyz").expect("it answers").status, 503);
    cluster[1].start();
    cluster[2].start();
    until_voters(&cluster, &[0, 1, 2, 3], &["node1", "node2", "node3", "node4"]);

    // The name of a running member is taken.
    let namesake = cluster.prepare_joiner();
    let command = cluster[namesake].command_with("--name", "node1");
    cluster[namesake].start_as(command);
    until("it says that its name is taken", || {
        let health = cluster[namesake].health()?;
        health.waiting_for.filter(|why| why.contains("another running node named node1 is already a member"))
    });
}

#[test]
fn a_node_that_is_removed_before_it_is_fed_is_told_so() {
    let mut cluster = Cluster::start_calm(3);
    let leader = cluster.leader();
    // A node that joins, and a node that returns without its data. No other node can reach either, so neither receives
    // any entries.
    let returning = cluster.follower();
    // The joining node asks the leader, which stays.
    let joiner = cluster.prepare_joiner_at(leader);
    cluster[returning].kill();
    std::fs::remove_dir_all(cluster[returning].data_dir()).expect("its data can be removed");
    for node in [joiner, returning] {
        cluster[node].set_flag("--advertise-peer-url", "http://127.0.0.1:1".to_owned());
        cluster[node].start();
        let id = until("it says who it is", || cluster[node].health().map(|health| health.node));
        until("it is a member", || {
            let members = members(&cluster[leader])?;
            members.iter().any(|member| member.node == id).then_some(())
        });
        let name = cluster[node].name.clone();
        remove(&cluster, leader, &name);
        until_removed(&cluster[node]);
    }
}

#[test]
fn a_node_that_joins_late_is_sent_a_snapshot_and_then_the_log() {
    const VALUE_BYTES: usize = 64 << 10;
    let mut cluster = Cluster::prepare(3);
    for node in &mut cluster.nodes {
        node.set_flag("--snapshot-log-bytes", "1048576");
    }
    cluster.start_all();
    let client = cluster.client();
    for number in 0..5 * (16 << 20) / VALUE_BYTES {
        client.set(format!("k{}", number % 8), vec![b'x'; VALUE_BYTES]).expect("a majority is there");
    }
    let joiner = cluster.prepare_joiner();
    cluster[joiner].start();
    cluster[joiner].logged("installed a snapshot from");
    until_voters(&cluster, &[0, 1, 2, 3], &["node1", "node2", "node3", "node4"]);
    cluster.converge();
    // Its data is on its own disk, including the cluster that it belongs to.
    cluster[joiner].kill();
    cluster[joiner].start();
    cluster.catch_up();
}
