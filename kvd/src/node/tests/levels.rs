//! Levels: raised once every member supports the next one, and never by a node that cannot read the entries that
//! follow.

use super::*;
use crate::kv::Level;
use crate::node::{ChangeError, MemberChange, MemberChanges};
use crate::raft::{Goal, MembershipChange, RoleName};

const OLD: Level = Level::FIRST;
const NEW: Level = Level::RAISED;

/// Reports a node's level to all other nodes.
fn says(cluster: &mut Cluster, id: u64, level: Level) {
    let others: Vec<NodeId> = cluster.replicas.keys().copied().filter(|other| *other != NodeId(id)).collect();
    for other in others {
        cluster.at(other).peer_knows(NodeId(id), level);
    }
}

fn levels(cluster: &Cluster) -> Vec<Level> {
    cluster.replicas.values().map(Replica::level).collect()
}

/// Restarts a node with a program that supports no level beyond this, from its disk.
fn as_version(cluster: &mut Cluster, id: u64, level_max: Level) {
    let mut recovery = Recovery::default().with_level_max(level_max);
    for record in &cluster.disks[&NodeId(id)] {
        recovery.record(record.clone(), usize::MAX).expect("of a level that it knows");
    }
    let recovered = recovery.finish([]);
    assert_eq!(recovered.level(), OLD);
    let now = cluster.now;
    let replica = Replica::new(NodeId(id), Settings::default(), TIMEOUT_MS, id, recovered, now);
    cluster.replicas.insert(NodeId(id), replica);
}

#[test]
fn the_level_rises_once_every_member_knows_the_next_one() {
    let (mut cluster, leader) = Cluster::with_leader(3);
    let silent = cluster.replicas.keys().copied().rfind(|id| *id != leader).expect("a follower");
    for id in [1, 2, 3].map(NodeId).into_iter().filter(|id| *id != silent) {
        says(&mut cluster, id.0, NEW);
    }
    cluster.advance(100);
    assert_eq!(levels(&cluster), [OLD; 3], "one has said nothing, as a version that is older than levels");
    assert_eq!(cluster.replicas[&leader].members_below(NEW), [silent]);
    let hashes = |cluster: &Cluster| -> BTreeSet<String> {
        let hash = |replica: &Numbered| replica.store().read().expect("no panic").state_hash().to_string();
        cluster.replicas.values().map(hash).collect()
    };
    let before = hashes(&cluster);

    says(&mut cluster, silent.0, NEW);
    cluster.advance(100);
    assert_eq!(levels(&cluster), [NEW; 3]);
    let after = hashes(&cluster);
    assert_eq!((before.len(), after.len()), (1, 1), "the states of all are the same");
    assert_ne!(before, after, "the level is part of the state");
    let last = cluster.replicas[&leader].raft().log().last_index();
    cluster.advance(1_000);
    assert_eq!(cluster.replicas[&leader].raft().log().last_index(), last, "that was that");
}

#[test]
fn a_learner_is_asked_as_well() {
    let (mut cluster, leader) = Cluster::with_leader(1);
    let info = MemberInfo { name: "n4".into(), client_url: String::new(), peer_url: String::new() };
    let learner = BTreeMap::from([(NodeId(4), (info, Goal::Learner))]);
    cluster.cut_off.insert(NodeId(4));
    cluster.at(leader).peer_knows(NodeId(4), OLD);
    cluster
        .at(leader)
        .change_membership(&MembershipChange { add: learner, ..MembershipChange::default() })
        .expect("alone");
    cluster.advance(100);
    assert_eq!(levels(&cluster), [OLD]);
    cluster.at(leader).peer_knows(NodeId(4), NEW);
    cluster.advance(100);
    assert_eq!(levels(&cluster), [NEW]);
}

#[test]
fn a_leader_that_leaves_raises_no_level_that_it_does_not_know() {
    let mut cluster = Cluster::new(3);
    (1..=3).for_each(|id| as_version(&mut cluster, id, OLD));
    let leader = cluster.elect();
    let others: Vec<NodeId> = cluster.replicas.keys().copied().filter(|id| *id != leader).collect();
    let change = MembershipChange { remove: [leader].into(), ..MembershipChange::default() };
    cluster.at(leader).change_membership(&change).expect("the others live");
    while cluster.replicas[&leader].raft().configuration().members.contains_key(&leader) {
        assert!(cluster.exchange(), "it leaves");
    }
    cluster.cut_off.extend(&others);
    cluster.settle();
    others.iter().for_each(|other| cluster.at(leader).peer_knows(*other, NEW));
    assert_eq!(cluster.replicas[&leader].members_below(NEW), [], "by the last configuration it is no member");
    let last = cluster.replicas[&leader].raft().log().last_index();
    cluster.advance(20);
    let raft = cluster.replicas[&leader].raft();
    assert_eq!((raft.role(), raft.log().last_index()), (RoleName::Leader, last), "it leads, and proposes nothing");
}

#[test]
fn what_a_process_knew_the_next_one_may_not() {
    let (mut cluster, leader) = Cluster::with_leader(3);
    let others: Vec<NodeId> = cluster.replicas.keys().copied().filter(|id| *id != leader).collect();
    cluster.at(leader).peer_knows(others[0], NEW);
    cluster.at(leader).peer_lost(others[0]);
    cluster.at(leader).peer_knows(others[1], NEW);
    cluster.advance(100);
    assert_eq!(cluster.replicas[&leader].level(), OLD);
    assert_eq!(cluster.replicas[&leader].members_below(NEW), [others[0]]);
}

#[test]
fn a_node_takes_nothing_of_a_level_that_it_does_not_know() {
    let (mut cluster, leader) = Cluster::with_leader(3);
    let old = cluster.replicas.keys().copied().find(|id| *id != leader).expect("a follower");
    as_version(&mut cluster, old.0, OLD);
    // The leader mistakes the process for the one that it met before.
    for id in 1..=3 {
        says(&mut cluster, id, NEW);
    }
    cluster.advance(500);
    let level_of = |id: &NodeId| cluster.replicas[id].level();
    let newer: Vec<NodeId> = cluster.replicas.keys().copied().filter(|id| *id != old).collect();
    assert!(newer.iter().all(|id| level_of(id) == NEW), "a majority goes on");
    assert_eq!(level_of(&old), OLD);
    let payload = |entry: &Entry| match &entry.payload {
        Payload::Command(command) => Command::level_of(command),
        Payload::Noop | Payload::Configuration(_) => None,
    };
    let has_new = cluster.disks[&old].iter().any(|record| match record {
        Record::Entry(entry) => payload(entry) == Some(NEW),
        _ => false,
    });
    assert!(!has_new, "it can be started again");

    as_version(&mut cluster, old.0, NEW);
    cluster.advance(500);
    assert_eq!(levels(&cluster), [NEW; 3], "once it is upgraded it follows");
}

#[test]
fn a_command_waits_for_its_level() {
    let (mut cluster, leader) = Cluster::with_leader(3);
    let raise = Command { operation: Operation::RaiseLevel { to: NEW }, request: None };
    cluster.write(leader, 1, &raise);
    cluster.settle();
    let lacking = cluster.replicas.keys().copied().filter(|id| *id != leader).collect();
    assert_eq!(cluster.writes[&1], Err(WriteError::BelowLevel { needed: NEW, lacking }));
}

#[test]
fn a_node_below_the_level_is_not_added() {
    let (mut cluster, leader) = Cluster::with_leader(3);
    for id in 1..=3 {
        says(&mut cluster, id, NEW);
    }
    let add = |name: &str, level: Level| MemberChange::Add {
        node: 4,
        name: name.into(),
        client_url: "http://n4".into(),
        peer_url: "http://n4".into(),
        learner: true,
        returning: false,
        level: level.0,
    };
    cluster.cut_off.insert(NodeId(4));
    let deadline = cluster.now.plus_ms(TIMEOUT_MS);
    let mut changes = MemberChanges::default();
    changes.ask(add("n4", OLD), deadline, 1).expect("there is room");
    // The entry that raises the level is in the log, but not even committed.
    cluster.at(leader).raise_level();
    assert_eq!(cluster.replicas[&leader].level(), OLD);
    let now = cluster.now;
    let ended = changes.go_on(cluster.at(leader), now);
    let [(1, Err(ChangeError::Refused(why)))] = ended.as_slice() else { panic!("{ended:?}") };
    assert_eq!(why, "n4 supports levels up to 1, but this cluster is at level 2: upgrade the kvd of n4 first");
    changes.ask(add("n4", NEW), deadline, 2).expect("there is room");
    assert_eq!(changes.go_on(cluster.at(leader), now), []);
    cluster.settle();
    assert_eq!(changes.go_on(cluster.at(leader), now), [(2, Ok(()))]);
}
