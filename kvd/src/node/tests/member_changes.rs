//! Membership changes that wait while the leader changes.

use super::*;
use crate::node::{ChangeError, MemberChange, MemberChanges};
use crate::raft::{Goal, MembershipChange};

/// Members that never answer.
const SILENT: [NodeId; 2] = [NodeId(4), NodeId(44)];

fn add(id: NodeId, name: &str) -> MembershipChange {
    let info = MemberInfo { name: name.into(), client_url: String::new(), peer_url: String::new() };
    MembershipChange { add: BTreeMap::from([(id, (info, Goal::Learner))]), ..MembershipChange::default() }
}

fn change(cluster: &mut Cluster, at: NodeId, change: &MembershipChange) {
    cluster.at(at).change_membership(change).expect("nothing else is under way");
    cluster.settle();
    assert!(cluster.replicas[&at].raft().are_members_settled());
}

fn go_on(cluster: &mut Cluster, changes: &mut MemberChanges<u32>, at: NodeId) -> Vec<(u32, Result<(), ChangeError>)> {
    let now = cluster.now;
    let ended = changes.go_on(cluster.at(at), now);
    cluster.settle();
    ended
}

/// A leader that is cut off is asked to remove a node and cannot commit that. Another leader removes the node, whose
/// next incarnation takes the name.
#[test]
fn a_removal_that_is_begun_anew_does_not_remove_the_next_life_of_the_node() {
    let (mut cluster, first) = Cluster::with_leader(3);
    cluster.cut_off = BTreeSet::from(SILENT);
    change(&mut cluster, first, &add(NodeId(4), "n4"));

    let mut changes = MemberChanges::default();
    cluster.cut_off.insert(first);
    let deadline = cluster.now.plus_ms(TIMEOUT_MS);
    changes.ask(MemberChange::Remove { name: "n4".into(), force: false }, deadline, 1).expect("there is room");
    assert_eq!(go_on(&mut cluster, &mut changes, first), []);
    assert!(!cluster.replicas[&first].raft().is_configuration_committed(), "it has begun");

    let second = cluster.elect();
    change(&mut cluster, second, &MembershipChange { remove: [NodeId(4)].into(), ..MembershipChange::default() });
    change(&mut cluster, second, &add(NodeId(44), "n4"));
    cluster.cut_off.remove(&first);
    cluster.advance(200);
    cluster.at(second).leadership_transfer(Some(first)).expect("it leads");
    cluster.advance(100);
    assert_eq!(cluster.replicas[&first].raft().role(), RoleName::Leader);

    assert_eq!(go_on(&mut cluster, &mut changes, first), []);
    assert_eq!(go_on(&mut cluster, &mut changes, first), [(1, Ok(()))]);
    let members = &cluster.replicas[&second].raft().configuration().members;
    assert!(!members.contains_key(&NodeId(4)) && members.contains_key(&NodeId(44)), "{members:?}");
}

#[test]
fn what_was_committed_in_the_place_of_a_change_is_not_taken_for_it() {
    let (mut cluster, first) = Cluster::with_leader(3);
    cluster.cut_off = BTreeSet::from(SILENT);
    let mut changes = MemberChanges::default();
    cluster.cut_off.insert(first);
    let deadline = cluster.now.plus_ms(TIMEOUT_MS);
    let (name, url) = (String::from("n4"), String::new());
    let add = MemberChange::Add {
        node: 4,
        name,
        client_url: url.clone(),
        peer_url: url,
        learner: true,
        returning: false,
        level: 1,
    };
    changes.ask(add, deadline, 1).expect("there is room");
    assert_eq!(go_on(&mut cluster, &mut changes, first), []);
    cluster.elect();
    cluster.cut_off.remove(&first);
    cluster.advance(200);
    // Its client may ask the new leader.
    assert_eq!(go_on(&mut cluster, &mut changes, first), [(1, Err(ChangeError::NotLeader))]);
}

#[test]
fn a_leader_that_may_have_been_deposed_does_not_say_that_nothing_is_left_to_do() {
    let (mut cluster, leader) = Cluster::with_leader(3);
    let promote = |name: &str| MemberChange::Promote { name: name.into() };
    for (name, answer) in [("n1", Ok(())), ("n9", Err(ChangeError::UnknownMember("n9".into())))] {
        let mut changes = MemberChanges::default();
        let deadline = cluster.now.plus_ms(TIMEOUT_MS);
        changes.ask(promote(name), deadline, 1).expect("there is room");
        assert_eq!(go_on(&mut cluster, &mut changes, leader), [], "it does not know yet");
        assert_eq!(go_on(&mut cluster, &mut changes, leader), [(1, answer)]);
    }

    // Cut off, it believes for a while that it still leads.
    cluster.cut_off = BTreeSet::from([leader]);
    let mut changes = MemberChanges::default();
    let deadline = cluster.now.plus_ms(TIMEOUT_MS);
    for (number, name) in (1..).zip(["n1", "n9"]) {
        changes.ask(promote(name), deadline, number).expect("there is room");
    }
    for _ in 0..20 {
        assert_eq!(cluster.replicas[&leader].raft().role(), RoleName::Leader);
        assert_eq!(go_on(&mut cluster, &mut changes, leader), []);
        cluster.advance(10);
    }
    cluster.advance(500);
    let none = || Err(ChangeError::NoLeader);
    assert_eq!(go_on(&mut cluster, &mut changes, leader), [(1, none()), (2, none())]);
}
