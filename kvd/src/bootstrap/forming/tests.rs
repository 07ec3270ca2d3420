//! The decisions in each of the cases in the header of [`super`].

use super::*;

fn hello(name: &str, node: u64) -> Hello {
    let url = format!("http://{name}");
    Hello { cluster: None, client_url: url.clone(), peer_url: url, ..Hello::of_member(name, node) }
}

fn formed(name: &str, node: u64, founders: &[Hello]) -> Hello {
    let founders: Vec<_> = founders.iter().map(Hello::as_founder).collect();
    let cluster = Some(ClusterId::of_founders(&founding_configuration(&founders)).0);
    Hello { cluster, founders, ..hello(name, node) }
}

fn forming(node: u64) -> Forming {
    Forming::new(hello("n1", node).as_founder(), ["n2".into(), "n3".into()], None)
}

/// Lets the node meet these peers as often as it takes.
fn meets(forming: &mut Forming, peers: &[Hello]) -> Option<Vec<Founder>> {
    let rounds = 0..=ASKED_AGAIN;
    rounds.flat_map(|_| peers).fold(None, |_, hello| forming.met(&hello.name.clone(), hello))
}

#[test]
fn the_first_fixes_the_founders_and_the_others_take_them_from_it() {
    let hellos = [hello("n1", 11), hello("n2", 22), hello("n3", 33)];
    let mut first = forming(11);
    assert_eq!(first.met("n3", &hellos[2]), None);
    assert_eq!(first.to_ask_again(), [""; 0]);
    assert_eq!(first.met("n2", &hellos[1]), None);
    // Both are asked again, once until each has answered, and the one that hangs is waited for.
    for again in [&["n2", "n3"][..], &["n3"], &[], &[]] {
        assert_eq!(first.to_ask_again(), again);
        assert_eq!(first.met("n3", &hellos[2]), None);
    }
    assert_eq!(first.met("n2", &hellos[1]), None);
    let founders = first.met("n2", &hellos[1]).expect("met everyone");
    assert_eq!(founders, hellos.each_ref().map(Hello::as_founder));

    let mut second = Forming::new(hellos[1].as_founder(), ["n1".into(), "n3".into()], None);
    assert_eq!(second.met("n1", &hellos[0]), None);
    assert_eq!(second.met("n3", &hellos[2]), None);
    assert_eq!(second.waiting_for(), "waiting for n1 to form the cluster");
    assert_eq!(second.met("n1", &formed("n1", 11, &hellos)), Some(founders.clone()));
    assert_eq!(second.dialled_by(&formed("n3", 33, &hellos)), Heard::News, "which may be gone by now");
    assert_eq!(second.met("n3", &formed("n3", 33, &hellos)), Some(founders), "or from another");
}

#[test]
fn who_was_started_again_meanwhile_counts_as_it_is_now() {
    let mut first = forming(11);
    assert_eq!(first.met("n2", &hello("n2", 22)), None);
    assert_eq!(first.dialled_by(&hello("n2", 22)), Heard::Nothing);
    assert_eq!(first.dialled_by(&hello("n2", 23)), Heard::News);
    assert_eq!(first.dialled_by(&hello("n9", 99)), Heard::Nothing, "no peer");
    let moved = Hello { client_url: "http://elsewhere".into(), ..hello("n2", 23) };
    assert_eq!(first.met("n2", &moved), None);
    let third = hello("n3", 33);
    assert_eq!(first.met("n3", &third), None);
    assert_eq!(first.met("n3", &third), None);
    // A node that is another one by then is asked again, and so are its peers.
    let founders = meets(&mut first, &[Hello { node: 24, ..moved.clone() }, third.clone()]).expect("met everyone");
    assert_eq!(founders[1].node, 24);
}

#[test]
fn a_founder_that_was_started_again_is_asked_again_and_so_are_the_others() {
    let process = |name: &str, node, incarnation| Hello { incarnation, ..hello(name, node) };
    let (second, third) = (process("n2", 22, 1), process("n3", 33, 1));
    let mut first = forming(11);
    assert_eq!(first.met("n3", &third), None);
    for _ in 0..=ASKED_AGAIN {
        assert_eq!(first.met("n2", &second), None);
    }
    // It may have told the second node what it knew, and forgotten it since.
    let again = process("n3", 33, 2);
    assert_eq!(first.dialled_by(&again), Heard::News);
    assert_eq!(first.met("n3", &again), None);
    assert_eq!(first.to_ask_again(), ["n2", "n3"]);
    assert!(meets(&mut first, &[second, again]).is_some());
}

#[test]
fn a_founder_remembers_the_cluster_while_it_writes_that_down() {
    let founders = [hello("n1", 11), hello("n2", 22), hello("n3", 33)];
    let member = formed("n1", 11, &founders);
    let mut second = Forming::new(founders[1].as_founder(), ["n1".into(), "n3".into()], None);
    let mut says = hello("n2", 22);
    assert!(second.met("n1", &member).is_some() && second.introduce(&mut says));
    assert_eq!(says.remembers, member.cluster);
    // So the next incarnation of the first, which has lost it, founds no cluster.
    assert_eq!(meets(&mut forming(99), &[says, founders[2].clone()]), None);
}

#[test]
fn who_is_gone_again_is_waited_for() {
    let mut first = forming(11);
    assert_eq!(first.met("n2", &hello("n2", 22)), None);
    first.missed("n2", "http://n2: connection refused".into());
    assert_eq!(first.met("n3", &hello("n3", 33)), None);
    let expected = "waiting for n2 before forming the cluster (http://n2: connection refused)";
    assert_eq!(first.waiting_for(), expected);
    assert!(meets(&mut first, &[hello("n2", 23), hello("n3", 33)]).is_some());
}

#[test]
fn a_cluster_of_other_founders_is_not_joined() {
    let two = [hello("n1", 11), hello("n2", 22)];
    let mut forming = forming(11);
    assert_eq!(forming.met("n2", &formed("n2", 22, &two)), None);
    assert!(
        forming.waiting_for().contains(
            "n2 belongs to a cluster formed by n1, n2, \
         but"
        ),
        "{}",
        forming.waiting_for()
    );
    let three = [hello("n1", 11), hello("n2", 22), hello("n3", 33)];
    let forged = Hello { cluster: Some(1), ..formed("n2", 22, &three) };
    assert_eq!(forming.met("n2", &forged), None, "the id of the cluster follows from its founders");
}

#[test]
fn it_says_whom_it_waits_for() {
    let mut forming = forming(11);
    assert_eq!(forming.waiting_for(), "waiting for n2, n3 before forming the cluster");
    assert_eq!(forming.met("n3", &hello("n3", 33)), None);
    assert_eq!(forming.waiting_for(), "waiting for n2 before forming the cluster");
    assert_eq!(forming.met("n2", &hello("n9", 9)), None);
    assert_eq!(forming.waiting_for(), "--peers lists n2, but the node at its URL is named n9");
}

#[test]
fn a_late_founder_takes_the_founders_from_one_that_formed() {
    let founders = [hello("n1", 11), hello("n2", 22), hello("n3", 33)];
    let adopted = forming(11).met("n2", &formed("n2", 22, &founders)).expect("a founder");
    assert_eq!(adopted, founders.each_ref().map(Hello::as_founder));
}

#[test]
fn a_node_that_lost_its_data_does_not_found_a_second_cluster() {
    let founders = [hello("n1", 11), hello("n2", 22), hello("n3", 33)];
    let mut forming = forming(99);
    assert_eq!(forming.met("n2", &formed("n2", 22, &founders)), None);
    assert_eq!(forming.met("n3", &hello("n3", 77)), None, "not even with another that lost its data");
    assert!(forming.is_to_return());
    let waits = "waiting to rejoin the cluster of n2: this node has an empty data directory, so it asks to replace the member \
                 n1 and will be sent all data";
    assert_eq!(forming.waiting_for(), waits);
    assert_eq!(forming.answered(JoinNews::Waits("there is no leader".into())), None);
    assert_eq!(forming.waiting_for(), format!("{waits}: there is no leader"));

    let cluster =
        |names: &[&str]| ClusterIdentity { id: 7, first_members: names.iter().map(|n| (*n).into()).collect() };
    assert_eq!(forming.answered(JoinNews::Joined(cluster(&["n1", "n2"]))), None);
    assert!(forming.waiting_for().contains("formed by n1, n2, but --peers lists"), "{}", forming.waiting_for());
    let own = cluster(&["n1", "n2", "n3"]);
    assert_eq!(forming.answered(JoinNews::Joined(own.clone())), Some(own));
}

#[test]
fn what_was_there_is_remembered_until_all_that_know_of_it_have_been_started_again() {
    let founders = [hello("n1", 11), hello("n2", 22), hello("n3", 33)];
    let (member, cluster) = (formed("n2", 22, &founders), formed("n2", 22, &founders).cluster);
    let two_others = |n2, n3| [hello("n2", n2), hello("n3", n3)];
    // The last node that had data comes back without it, and this node has met it when it had data.
    let mut knows = forming(99);
    assert_eq!(knows.met("n2", &member), None);
    assert_eq!(meets(&mut knows, &two_others(88, 77)), None);
    assert_eq!((knows.remembers, knows.is_to_return(), knows.to_ask_again().len()), (cluster, false, 0));
    let why = format!("cluster {:016x} existed before, and no reachable node has its data", cluster.unwrap());
    assert!(knows.waiting_for().contains(&why), "{}", knows.waiting_for());
    knows.missed("n2", "connection refused".into());
    let why = format!("{why}; no answer from n2 (connection refused). If the data is lost on all nodes, restore");
    assert!(knows.waiting_for().contains(&why), "{}", knows.waiting_for());

    // It says so, and a node that hears it founds nothing either, whether first by name or not.
    let mut says = hello("n3", 77);
    assert!(knows.introduce(&mut says) && !knows.introduce(&mut says), "no news");
    assert_eq!((says.remembers, says.expects_data), (cluster, false));
    for own in ["n1", "n9"] {
        let mut hears = Forming::new(hello(own, 12).as_founder(), ["n2".into(), "n3".into()], None);
        assert_eq!(hears.met("n3", &hello("n3", 77)), None);
        assert_eq!(hears.dialled_by(&says), Heard::News, "so it is dialled at once");
        assert_eq!(meets(&mut hears, &[hello("n2", 88), says.clone()]), None);
        assert_eq!(hears.dialled_by(&says), Heard::Nothing);
        assert_eq!(hears.remembers, cluster, "{own}");
    }

    // The same holds if the node has learnt that since it was first met: it is asked again.
    let mut late = forming(12);
    assert_eq!(late.met("n3", &hello("n3", 77)), None);
    assert_eq!(late.met("n2", &hello("n2", 88)), None);
    assert_eq!(late.met("n2", &hello("n2", 88)), None);
    assert_eq!(late.met("n3", &hello("n3", 77)), None, "on its way when the last was met");
    assert_eq!(late.met("n2", &hello("n2", 88)), None);
    assert_eq!(late.met("n3", &says), None);

    // A node that is a member again takes this node back.
    assert_eq!(knows.met("n2", &member), None);
    assert!(knows.is_to_return());
    // No node remembers a cluster.
    assert!(meets(&mut forming(98), &two_others(89, 79)).is_some());
}

#[test]
fn nothing_is_founded_on_the_word_of_one_that_dials() {
    let founders = [hello("n1", 11), hello("n2", 22), hello("n3", 33)];
    let mut forming = forming(99);
    // The peer may have reached this node by mistake, from another cluster with nodes of these names.
    assert_eq!(forming.dialled_by(&formed("n2", 22, &founders)), Heard::News);
    assert!(!forming.is_to_return() && !forming.is_held());
    assert!(meets(&mut forming, &[hello("n2", 88), hello("n3", 77)]).is_some(), "that is who answers");
}

#[test]
fn a_member_that_dials_and_stands_in_no_peers_may_be_all_that_is_left_of_a_cluster() {
    let founders = [hello("n1", 11), hello("n2", 22), hello("n3", 33)];
    let (joined, mut forming) = (formed("n4", 44, &founders), forming(99));
    assert_eq!(forming.dialled_by(&joined), Heard::Nothing);
    assert_eq!(meets(&mut forming, &[hello("n2", 88), hello("n3", 77)]), None, "all of them have lost their data");
    let waits = forming.waiting_for();
    assert!(waits.contains("n4 at http://n4 is a member of that cluster"), "{waits}");
    // A node that is part of no cluster has nothing to say.
    let mut other = self::forming(98);
    assert_eq!(other.dialled_by(&hello("n4", 44)), Heard::Nothing);
    assert!(!other.is_held());
}

#[test]
fn who_asks_to_be_let_into_a_cluster_founds_none() {
    let mut first = forming(11);
    let joins = Hello { joins: true, ..hello("n3", 33) };
    assert_eq!(meets(&mut first, &[hello("n2", 22), joins]), None);
    assert!(
        first.waiting_for().contains("n3 was started with --join, so it does not form a cluster"),
        "{}",
        first.waiting_for()
    );
    assert!(meets(&mut first, &[hello("n2", 22), hello("n3", 33)]).is_some(), "once it is started without");
}

#[test]
fn who_expects_data_founds_nothing_and_nobody_founds_anything_with_it() {
    let lacks = || Some("--expect-data is set, but --data-dir /data is empty".to_owned());
    let others = [hello("n2", 22), hello("n3", 33)];
    let names = || ["n2".into(), "n3".into()];
    let mut expects = Forming::new(hello("n1", 11).as_founder(), names(), lacks());
    assert_eq!(meets(&mut expects, &others), None);
    let waits = "waiting for the data of its cluster; no new cluster is formed without it: --expect-data is set, but \
                 --data-dir /data is empty. If the data is lost on all nodes, restore a backup with `kvd restore`; to start \
                 with an empty cluster, stop all nodes and start them on empty directories and without --expect-data";
    assert_eq!(expects.waiting_for(), waits);

    let mut first = forming(11);
    let expecting = Hello { expects_data: true, ..hello("n3", 33) };
    assert_eq!(meets(&mut first, &[hello("n2", 22), expecting.clone()]), None);
    assert!(first.waiting_for().contains("though --expect-data is set: n3."), "{}", first.waiting_for());
    // Started again without the flag, under the same id, it founds.
    assert_eq!(first.dialled_by(&others[1]), Heard::News, "so it is dialled at once");
    assert!(meets(&mut first, &others).is_some());

    let alone = Forming::new(hello("n1", 11).as_founder(), [], lacks());
    assert_eq!(alone.founders_if_alone(), None);
    assert!(alone.waiting_for().contains("If the data is lost, restore"), "{}", alone.waiting_for());

    // The node still belongs, or returns, to an existing cluster.
    let all = [hello("n1", 11), others[0].clone(), others[1].clone()];
    for (node, belongs) in [(11, true), (99, false)] {
        let mut expects = Forming::new(hello("n1", node).as_founder(), names(), lacks());
        assert_eq!(expects.met("n2", &formed("n2", 22, &all)).is_some(), belongs);
        assert_eq!(expects.is_to_return(), !belongs);
        assert!(belongs || expects.waiting_for().starts_with("waiting to rejoin"), "{}", expects.waiting_for());
    }
}

#[test]
fn who_finds_no_leader_is_told_what_to_do_if_the_majority_is_lost() {
    let founders = [hello("n1", 11), hello("n2", 22), hello("n3", 33)];
    let mut forming = forming(99);
    assert_eq!(forming.met("n2", &formed("n2", 22, &founders)), None);
    assert_eq!(forming.answered(JoinNews::Leaderless("http://n2 says: no leader is known".into())), None);
    let waits = forming.waiting_for();
    for said in
        ["no leader is known. If a majority", "`kvd recover`", "`kvctl snapshot save FILE --stale`", "`kvd restore"]
    {
        assert!(waits.contains(said), "{waits}");
    }
}

#[test]
fn alone_there_is_nobody_to_wait_for() {
    let forming = Forming::new(hello("n1", 11).as_founder(), [], None);
    assert_eq!(forming.founders_if_alone(), Some(vec![hello("n1", 11).as_founder()]));
}
