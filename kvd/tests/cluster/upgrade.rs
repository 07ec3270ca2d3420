//! Rolling upgrades: a cluster whose nodes know different levels. With `--level-max` a node claims to know only the
//! levels of the previous version, and accepts no newer one.

use testkit::{Cluster, Load, run, until};

const WRITERS: usize = 4;

/// Writes that must be acknowledged between two steps, so that each step meets a working cluster.
const WRITES_BETWEEN: u64 = 100;

/// Flag that makes a node behave as the previous version.
const OLD: (&str, &str) = ("--level-max", "2");

/// Returns the levels of the nodes that answer.
fn levels(cluster: &Cluster) -> Vec<Option<(u32, u32)>> {
    let level = |health: kvclient::api::Health| (health.level, health.level_max);
    cluster.nodes.iter().map(|node| node.health().map(level)).collect()
}

/// Stops a node as an operator does for an upgrade, and starts it as the next or the previous version.
fn replace(cluster: &mut Cluster, node: usize, is_old: bool) {
    assert_eq!(cluster[node].terminate(), Some(0));
    if is_old {
        cluster[node].set_flag(OLD.0, OLD.1);
    } else {
        cluster[node].remove_flag(OLD.0);
    }
    cluster[node].start();
}

#[test]
fn a_rolling_upgrade_under_load_raises_the_level_at_its_end_and_can_be_rolled_back_half_way() {
    let mut cluster = Cluster::start_with(3, OLD.0, OLD.1);
    let load = Load::start(&cluster.client(), WRITERS);
    load.flow(WRITES_BETWEEN);

    // Half way, back, and the whole way.
    for (node, is_old, expected) in [
        (0, false, [3, 2, 2]),
        (1, false, [3, 3, 2]),
        (1, true, [3, 2, 2]),
        (0, true, [2, 2, 2]),
        (0, false, [3, 2, 2]),
        (2, false, [3, 2, 3]),
    ] {
        replace(&mut cluster, node, is_old);
        cluster.leader();
        load.flow(WRITES_BETWEEN);
        let expected = expected.map(|level_max| Some((2, level_max)));
        until("the node is back, and the level as it was", || (levels(&cluster) == expected).then_some(()));
    }
    replace(&mut cluster, 1, false);
    until("the level rises", || (levels(&cluster) == [Some((3, 3)); 3]).then_some(()));
    load.flow(WRITES_BETWEEN);
    for node in &cluster.nodes {
        node.logged("the level of the data is now 3");
    }
    load.stop().check(&cluster.nodes);
    cluster.converge();

    // Every step works again after a restart: from the log, from a snapshot.
    for node in 0..3 {
        replace(&mut cluster, node, false);
        cluster.leader();
    }
    until("all are of the new level", || (levels(&cluster) == [Some((3, 3)); 3]).then_some(()));
}

#[test]
fn once_the_level_has_risen_the_version_before_says_why_it_cannot_go_on_and_does_no_harm() {
    let mut cluster = Cluster::start(3);
    until("the level rises", || (levels(&cluster) == [Some((3, 3)); 3]).then_some(()));
    cluster.client().set("color", "blue").expect("a majority is there");
    let follower = cluster.follower();
    assert_eq!(cluster[follower].terminate(), Some(0));
    let ended = run(&mut cluster[follower].command_with(OLD.0, OLD.1));
    assert_eq!(ended.code, Some(3), "{ended:?}");
    let error = ended.error();
    assert!(error.contains("the data is at level 3, but this node supports levels up to 2"), "{error}");
    assert!(error.contains("A level is never lowered: use a kvd version that supports it"), "{error}");

    cluster[follower].start();
    cluster.catch_up();
    cluster.converge();
}

#[test]
fn a_node_below_the_level_joins_once_it_is_upgraded() {
    let mut cluster = Cluster::start(3);
    until("the level rises", || (levels(&cluster) == [Some((3, 3)); 3]).then_some(()));
    let joiner = cluster.prepare_joiner();
    cluster[joiner].set_flag(OLD.0, OLD.1);
    cluster[joiner].start();
    let expected = "node4 supports levels up to 2, but this cluster is at level 3: upgrade the kvd of node4 first";
    until("it says why it is not let in", || {
        let waiting_for = cluster[joiner].health()?.waiting_for?;
        waiting_for.contains(expected).then_some(())
    });
    let leader = cluster.leader_of(&[0, 1, 2]);
    let members = cluster[leader].health().expect("it answers").members;
    assert_eq!(members.len(), 3, "{members:?}");
    replace(&mut cluster, joiner, false);
    until("it votes", || {
        let members = cluster[leader].health()?.members;
        members.iter().any(|member| member.id == "node4" && member.voter).then_some(())
    });
    cluster.catch_up();
    assert_eq!(levels(&cluster), [Some((3, 3)); 4]);
}
