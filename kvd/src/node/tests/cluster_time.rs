//! Cluster time over changes of leader, restarts and pauses.

use super::*;

/// Time without an entry after which an idle leader logs one.
const MARK_MS: u64 = 1_000;

/// Time between two heartbeats, and between two checks of the timers here.
const HEARD_MS: u64 = 75 + 10;

fn time(cluster: &Cluster, leader: NodeId) -> u64 {
    cluster.replicas[&leader].cluster_time().expect("it leads").0
}

fn last_index(cluster: &Cluster, id: NodeId) -> u64 {
    cluster.replicas[&id].raft().log().last_index().0
}

/// Ends the present leader for good, and returns the next one.
fn succeed(cluster: &mut Cluster, leader: NodeId) -> NodeId {
    cluster.cut_off.insert(leader);
    let next = cluster.elect();
    assert_ne!(next, leader);
    next
}

/// Grants a lease of an hour.
fn grant(cluster: &mut Cluster, leader: NodeId) {
    for other in [1, 2, 3].map(NodeId).into_iter().filter(|id| *id != leader) {
        cluster.at(leader).peer_knows(other, Level::NEWEST);
    }
    cluster.advance(10);
    let grant = Operation::GrantLease { lease: None, ttl_ms: 3_600_000 };
    cluster.write(leader, 1, &Command { operation: grant, request: None });
    cluster.settle();
    assert!(matches!(cluster.writes[&1], Ok(Outcome::LeaseGranted { .. })), "{:?}", cluster.writes[&1]);
}

#[test]
fn the_next_leader_goes_on_from_the_last_heartbeat_however_long_the_first_was_idle() {
    let (mut cluster, leader) = Cluster::with_leader(3);
    cluster.advance(3_600_000);
    let before = time(&cluster, leader);
    assert!(before >= 3_600_000 && last_index(&cluster, leader) == 2, "nothing can end, so nothing is logged");
    let next = succeed(&mut cluster, leader);
    assert!(time(&cluster, next) + HEARD_MS >= before, "{} after {before}", time(&cluster, next));
    assert!(time(&cluster, next) <= before + 10, "nobody counts the election");
    // The same over several leaders.
    cluster.cut_off.clear();
    cluster.advance(60_000);
    let before = time(&cluster, next);
    let last = succeed(&mut cluster, next);
    assert!(time(&cluster, last) + HEARD_MS >= before);
}

#[test]
fn only_a_leader_gives_the_time_and_a_read_brings_it_to_every_replica() {
    let (mut cluster, leader) = Cluster::with_leader(3);
    cluster.advance(5_000);
    for (handle, id) in (1..).zip([NodeId(1), NodeId(2), NodeId(3)]) {
        let now = time(&cluster, leader);
        assert_eq!(cluster.replicas[&id].cluster_time().is_some(), id == leader);
        cluster.at(id).read(handle);
        cluster.settle();
        assert_eq!(cluster.reads[&handle], Ok(Some(ClusterTime(now))), "n{id}");
    }
}

#[test]
fn while_a_lease_can_end_an_idle_leader_logs_the_time_and_a_restart_gives_back_a_second() {
    let (mut cluster, leader) = Cluster::with_leader(3);
    grant(&mut cluster, leader);
    let index = last_index(&cluster, leader);
    cluster.advance(10 * MARK_MS + 100);
    assert_eq!(last_index(&cluster, leader), index + 10, "an empty entry every second");
    let before = time(&cluster, leader);
    for id in [1, 2, 3] {
        cluster.restart(NodeId(id));
    }
    let next = cluster.elect();
    let after = time(&cluster, next);
    assert!(after + MARK_MS >= before && after <= before, "{after} after {before}");
}

#[test]
fn what_cannot_be_committed_is_not_followed_by_more() {
    let (mut cluster, leader) = Cluster::with_leader(3);
    grant(&mut cluster, leader);
    // Heartbeats are answered, so it leads on, but no entry gets through.
    cluster.starved = [NodeId(1), NodeId(2), NodeId(3)].into();
    let index = last_index(&cluster, leader);
    cluster.advance(10 * MARK_MS);
    assert_eq!(cluster.replicas[&leader].raft().role(), RoleName::Leader);
    assert_eq!(last_index(&cluster, leader), index + 1);
}

#[test]
fn a_leader_that_is_not_scheduled_counts_an_election_timeout_at_most() {
    let (mut cluster, leader) = Cluster::with_leader(1);
    let timeout_ms = Settings::default().election_timeout_min_ms;
    for (elapsed_ms, counted_ms) in
        [(40, 40), (timeout_ms, timeout_ms), (timeout_ms + 1, timeout_ms), (3_600_000, timeout_ms)]
    {
        let before = time(&cluster, leader);
        cluster.now = cluster.now.plus_ms(elapsed_ms);
        let now = cluster.now;
        cluster.at(leader).set_time(now);
        assert_eq!(time(&cluster, leader) - before, counted_ms, "after {elapsed_ms} ms");
    }
}
