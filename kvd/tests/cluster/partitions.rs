//! Network partitions: a node that is cut off gives no answer that may be wrong, a majority serves, and once the
//! network is mended all nodes agree.
//!
//! The clients reach every node throughout. Each scenario runs on the best network that the machine supports: see
//! [`testkit::on_a_network`].

use std::ops::Range;
use testkit::linearizability::Moment;
use testkit::{Cluster, History, Network, Recorder, on_a_network, until};

/// Writes that must be acknowledged between two steps.
const WRITES_BETWEEN: u64 = 100;

fn start(network: &dyn Network, election_timeout_ms: &str) -> Cluster {
    let mut cluster = network.prepare();
    cluster.nodes.iter_mut().for_each(|node| node.set_flag("--election-timeout-ms", election_timeout_ms));
    cluster.start_all();
    cluster.leader();
    cluster
}

/// Waits until a node that hears nothing from its leader follows no leader any more, and so would campaign.
fn misses_its_leader(cluster: &Cluster, node: usize) {
    until("it follows nobody", || cluster[node].health().filter(|health| health.leader.is_none()));
}

/// Checks that each of these nodes was asked for linearizable reads within its time, and answered none of them.
fn answered_no_reads(history: &History, times: Vec<(usize, Range<Moment>)>, who: &str) {
    for (node, time) in times {
        let (asked, answered) = history.reads_at(node, &time);
        assert!(asked > 0 && answered == 0, "reads of {who}: {asked} asked for, {answered} answered");
    }
}

/// Repeatedly cuts off the leader in the same way, so that the other nodes elect another one.
fn the_leader_is_cut_off(network: &dyn Network, cut: fn(&dyn Network, usize, &[usize])) {
    let cluster = start(network, "150..300");
    let recorder = Recorder::start(&cluster);
    let mut times = Vec::new();
    for _ in 0..2 {
        recorder.flow(WRITES_BETWEEN);
        let old = cluster.leader();
        let others = cluster.others(old);
        recorder.flow_at(old, 20);
        cut(network, old, &others);
        let begin = recorder.now();
        let new = cluster.leader_of(&others);
        recorder.flow(WRITES_BETWEEN);
        recorder.flow_at(new, 20);
        recorder.ask(old);
        times.push((old, begin..recorder.now()));
        network.heal();
        recorder.flow_at(old, 20);
    }
    let history = recorder.stop();
    answered_no_reads(&history, times, "a leader that was deposed");
    history.check(&cluster);
}

#[test]
fn a_leader_that_is_cut_off_answers_no_reads_and_the_others_elect_another() {
    on_a_network(3, |network| {
        the_leader_is_cut_off(network, |network, leader, others| network.cut(&[leader], others));
    });
}

#[test]
fn a_leader_that_hears_nobody_answers_no_reads_and_the_others_elect_another() {
    on_a_network(3, |network| {
        the_leader_is_cut_off(network, |network, leader, others| network.cut_one_way(others, &[leader]));
    });
}

#[test]
fn a_leader_that_nobody_hears_answers_no_reads_and_the_others_elect_another() {
    on_a_network(3, |network| {
        the_leader_is_cut_off(network, |network, leader, others| network.cut_one_way(&[leader], others));
    });
}

#[test]
fn a_follower_that_is_cut_off_answers_no_reads_and_deposes_nobody() {
    on_a_network(3, |network| {
        let cluster = start(network, "800..1200");
        let recorder = Recorder::start(&cluster);
        recorder.flow(WRITES_BETWEEN);
        let leader = cluster.leader();
        let term = cluster[leader].health().expect("it answers").term;
        let mut times = Vec::new();
        for round in 0..2 {
            let follower = (leader + 1 + round) % 3;
            recorder.flow_at(follower, 20);
            network.cut(&[follower], &cluster.others(follower));
            let begin = recorder.now();
            misses_its_leader(&cluster, follower);
            recorder.flow(WRITES_BETWEEN);
            recorder.ask(follower);
            times.push((follower, begin..recorder.now()));
            network.heal();
            recorder.flow_at(follower, 20);
        }
        let health = cluster[leader].health().expect("it answers");
        assert_eq!(
            (cluster.leader(), health.term),
            (leader, term),
            "who comes back deposes nobody (PreVote, thesis §9.6)"
        );
        let history = recorder.stop();
        answered_no_reads(&history, times, "a follower that was cut off");
        history.check(&cluster);
    });
}

#[test]
fn two_halves_that_one_node_bridges_are_served() {
    on_a_network(5, |network| {
        let cluster = start(network, "800..1200");
        let recorder = Recorder::start(&cluster);
        recorder.flow(WRITES_BETWEEN);
        let leader = cluster.leader();
        let term = cluster[leader].health().expect("it answers").term;
        // First the leader is in one of the halves, then it is the bridge.
        let node = |offset| (leader + offset) % 5;
        for (one, other) in [([node(0), node(1)], [node(2), node(3)]), ([node(1), node(2)], [node(3), node(4)])] {
            network.cut(&one, &other);
            recorder.flow(WRITES_BETWEEN);
            if one.contains(&leader) {
                other.iter().for_each(|number| misses_its_leader(&cluster, *number));
            }
            recorder.flow(WRITES_BETWEEN);
            network.heal();
            other.iter().for_each(|number| recorder.flow_at(*number, 10));
        }
        let health = cluster[leader].health().expect("it answers");
        assert_eq!((cluster.leader(), health.term), (leader, term), "the bridge hears the leader and elects no other");
        let history = recorder.stop();
        history.check(&cluster);
    });
}

#[test]
fn a_link_that_comes_and_goes_stops_nobody() {
    on_a_network(3, |network| {
        let cluster = start(network, "800..1200");
        let recorder = Recorder::start(&cluster);
        recorder.flow(WRITES_BETWEEN);
        let leader = cluster.leader();
        let term = cluster[leader].health().expect("it answers").term;
        let follower = cluster.others(leader)[0];
        for round in 0..12 {
            match round % 3 {
                0 => network.cut(&[leader], &[follower]),
                1 => network.cut_one_way(&[leader], &[follower]),
                _ => network.cut_one_way(&[follower], &[leader]),
            }
            // For less than its election timeout, or for longer.
            if round == 0 || round == 4 {
                misses_its_leader(&cluster, follower);
            } else {
                recorder.flow(40);
            }
            network.heal();
            recorder.flow(20);
        }
        recorder.flow_at(follower, 20);
        let health = cluster[leader].health().expect("it answers");
        assert_eq!((cluster.leader(), health.term), (leader, term), "one broken link elects nobody");
        let history = recorder.stop();
        history.check(&cluster);
    });
}
