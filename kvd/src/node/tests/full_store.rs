//! A store that is full: what would make it larger is refused, and nothing that was refused is ever applied.

use super::*;
use crate::kv::StoreLimits;

/// Lets every store take no more than it has.
fn fill(cluster: &mut Cluster) {
    let limits = StoreLimits { state_bytes_max: 0, ..StoreLimits::default() };
    cluster.replicas.values_mut().for_each(|replica| replica.set_store_limits(limits));
}

fn once(operation: Operation, seq: u64) -> Command {
    Command { operation, request: Some(RequestId { client: "c".into(), seq }) }
}

#[test]
fn what_would_make_a_full_store_larger_is_refused_and_the_rest_goes_on() {
    let (mut cluster, leader) = Cluster::with_leader(3);
    cluster.write(leader, 0, &set("color", "blue"));
    cluster.settle();
    fill(&mut cluster);
    let delete = Operation::Delete { key: "color".into(), condition: None, prev: false };
    for (handle, command, is_refused) in [
        (1, set("shape", "round"), true),
        (2, set("color", "green"), true),
        (3, set("color", "red"), false),
        (4, Command { operation: delete, request: None }, false),
        (5, set("color", "red"), true),
    ] {
        cluster.write(leader, handle, &command);
        cluster.settle();
        assert_eq!(cluster.writes[&handle] == Err(WriteError::StoreFull), is_refused, "{:?}", command.operation);
    }
}

#[test]
fn a_repeat_has_the_outcome_of_the_first_although_the_store_is_full_by_then() {
    let (mut cluster, leader) = Cluster::with_leader(3);
    let first = set_once("color", "blue", 1);
    cluster.write(leader, 1, &first);
    cluster.settle();
    cluster.write(leader, 2, &once(Operation::Delete { key: "color".into(), condition: None, prev: false }, 2));
    cluster.settle();
    fill(&mut cluster);
    cluster.write(leader, 3, &first);
    cluster.write(leader, 4, &set_once("color", "blue", 3));
    cluster.settle();
    assert_eq!(cluster.writes[&3], Ok(Outcome::StaleRequest { newest: 2 }), "it was applied");
    assert_eq!(cluster.writes[&4], Err(WriteError::StoreFull));
}

#[test]
fn what_may_still_be_applied_is_not_refused() {
    let (mut cluster, leader) = Cluster::with_leader(3);
    let followers: Vec<NodeId> = [1, 2, 3].map(NodeId).into_iter().filter(|id| *id != leader).collect();
    cluster.starved.extend(&followers);
    let request = set_once("color", "blue", 1);
    cluster.write(leader, 1, &request);
    cluster.settle();
    fill(&mut cluster);
    cluster.write(leader, 2, &request);
    cluster.write(leader, 3, &set_once("color", "blue", 2));
    cluster.settle();
    assert_eq!(cluster.writes.get(&2), None, "its first copy is in the log");
    assert_eq!(cluster.writes[&3], Err(WriteError::StoreFull));
    cluster.starved.clear();
    cluster.advance(1_000);
    assert_eq!(cluster.writes[&2], cluster.writes[&1]);
}

#[test]
fn a_new_leader_refuses_no_repeat_before_it_knows_what_the_log_has() {
    let (mut cluster, old) = Cluster::with_leader(3);
    // The old leader alone has the request in its log, and might lead again.
    let followers: Vec<NodeId> = [1, 2, 3].map(NodeId).into_iter().filter(|id| *id != old).collect();
    cluster.starved.extend(&followers);
    let request = set_once("color", "blue", 1);
    cluster.write(old, 1, &request);
    cluster.settle();
    fill(&mut cluster);
    cluster.cut_off.insert(old);
    let new = cluster.elect();
    cluster.write(new, 2, &request);
    cluster.settle();
    assert_eq!(cluster.writes.get(&2), None, "it has committed nothing in its term");
    cluster.starved.clear();
    cluster.advance(500);
    assert!(matches!(cluster.writes[&2], Ok(Outcome::Set { .. })));
    cluster.write(new, 3, &set_once("color", "blue", 2));
    cluster.settle();
    assert!(matches!(cluster.writes[&3], Ok(Outcome::Set { .. })), "no larger than before");
    cluster.write(new, 4, &set_once("shape", "round", 3));
    cluster.settle();
    assert_eq!(cluster.writes[&4], Err(WriteError::StoreFull));
}
