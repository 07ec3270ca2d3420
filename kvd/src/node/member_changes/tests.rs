use super::meant::{Meant, replacement};
use super::*;
use crate::node::Recovery;
use crate::raft::{
    ClusterTime, Configuration, Entry, Goal, HardState, LogIndex, MemberInfo, NodeId, Payload, Record, Settings, Term,
};
use std::collections::BTreeMap;

type Node = Replica<(), ()>;

fn info(name: &str) -> MemberInfo {
    let url = format!("http://{name}");
    MemberInfo { name: name.into(), client_url: url.clone(), peer_url: url }
}

/// A node n1 that is the only voter, so that it leads at once and commits its entries as soon as they are written; and
/// these learners.
fn leader(learners: &[(u64, &str, Goal)], removed: &[u64]) -> Node {
    let mut configuration = Configuration::of_voters([(NodeId(1), info("n1"))]);
    for (id, name, goal) in learners {
        configuration.members.insert(NodeId(*id), info(name));
        configuration.learners.insert(NodeId(*id), *goal);
    }
    configuration.removed = removed.iter().map(|id| NodeId(*id)).collect();
    node(configuration)
}

fn node(configuration: Configuration) -> Node {
    let mut recovery = Recovery::default();
    let payload = Payload::Configuration(configuration);
    for record in [
        Record::HardState(HardState { term: Term(1), vote: None }),
        Record::Entry(Entry { index: LogIndex(1), term: Term(1), time: ClusterTime(0), payload }),
        Record::Commit(LogIndex(1)),
    ] {
        recovery.record(record, usize::MAX).expect("no command");
    }
    let mut node = Replica::new(NodeId(1), Settings::default(), 5_000, 7, recovery.finish([]), Instant(0));
    node.tick(Instant(1));
    write_all(&mut node);
    node
}

/// Writes everything that the node wants written.
fn write_all(node: &mut Node) {
    while let Some(write) = node.effects().write {
        node.written(write.id);
    }
}

fn add(node: u64, name: &str) -> MemberChange {
    let MemberInfo { name, client_url, peer_url } = info(name);
    MemberChange::Add { node, name, client_url, peer_url, learner: false, returning: false, level: 1 }
}

fn remove(name: &str) -> MemberChange {
    MemberChange::Remove { name: name.into(), force: false }
}

/// Returns the answer to a request, if it gets one before its deadline.
fn ask(node: &mut Node, change: MemberChange) -> Option<Result<(), ChangeError>> {
    let mut changes = MemberChanges::default();
    changes.ask(change, Instant(5_000), ()).expect("there is room");
    for _ in 0..4 {
        if let Some(((), result)) = changes.go_on(node, Instant(10)).pop() {
            return Some(result);
        }
        write_all(node);
    }
    None
}

fn names(node: &Node) -> BTreeMap<u64, &str> {
    node.raft().configuration().members.iter().map(|(id, info)| (id.0, info.name.as_str())).collect()
}

#[test]
fn what_is_asked_is_done_and_asked_again_it_is_done_already() {
    let mut node = leader(&[], &[]);
    for _ in 0..2 {
        assert_eq!(ask(&mut node, add(4, "n4")), Some(Ok(())));
        assert_eq!(names(&node), BTreeMap::from([(1, "n1"), (4, "n4")]));
    }
    assert_eq!(node.raft().configuration().learners[&NodeId(4)], Goal::Voter);
    assert_eq!(ask(&mut node, remove("n4")), Some(Ok(())));
    assert_eq!(ask(&mut node, remove("n4")), Some(Err(ChangeError::UnknownMember("n4".into()))));
    assert_eq!(ask(&mut node, add(4, "n4")), Some(Err(ChangeError::WasRemoved("n4".into()))));
    let promote = |name: &str| MemberChange::Promote { name: name.into() };
    assert_eq!(ask(&mut node, promote("n1")), Some(Ok(())), "it votes already");
    assert_eq!(ask(&mut node, promote("n9")), Some(Err(ChangeError::UnknownMember("n9".into()))));
}

#[test]
fn what_makes_no_sense_is_refused_with_the_name_and_what_to_do() {
    let mut node = leader(&[(4, "n4", Goal::Learner)], &[]);
    let refused = |node: &mut Node, change: MemberChange, why: &str| {
        let Some(Err(ChangeError::Refused(sentence))) = ask(node, change.clone()) else { panic!("{change:?}") };
        assert!(sentence.contains(why), "{change:?}: {sentence}");
    };
    refused(&mut node, remove("n1"), "n1 is the last voter");
    refused(&mut node, MemberChange::Promote { name: "n4".into() }, "n4 has not caught up yet");
    refused(&mut node, MemberChange::Replace { old: "n1".into(), new: "n4".into() }, "n4 has not caught up yet");
    refused(&mut node, add(9, "n1"), "another running node named n1 is already a member");
    refused(&mut node, add(1, "n9"), "the node with this id is named n1");
    let replace = |old: &str, new: &str| MemberChange::Replace { old: old.into(), new: new.into() };
    assert_eq!(ask(&mut node, replace("n1", "n9")), Some(Err(ChangeError::UnknownMember("n9".into()))));
    assert_eq!(ask(&mut node, replace("n9", "n4")), Some(Err(ChangeError::UnknownMember("n9".into()))));
    assert_eq!(ask(&mut node, replace("n9", "n1")), Some(Ok(())), "n1 votes, and n9 does not");
    refused(&mut node, replace("n4", "n1"), "n1 is already a voter, so it cannot replace n4");
    assert_eq!(names(&node), BTreeMap::from([(1, "n1"), (4, "n4")]), "nobody has left");
}

#[test]
fn a_replacement_leaves_as_many_voters_as_there_were() {
    // Voters and learners; if two members have one name, the learner is the next incarnation of the voter.
    let three = [(1, "n1"), (2, "n2"), (3, "n3")];
    let (learner, another) = ((4, "n4", Goal::Learner), (5, "n5", Goal::Voter));
    let returned = |id, name, old| (id, name, Goal::Replace(NodeId(old)));
    let change = |promote: &[u64], remove: &[u64]| {
        let ids = |ids: &[u64]| ids.iter().map(|id| NodeId(*id)).collect();
        let (promote, remove) = (ids(promote), ids(remove));
        Ok(Some(MembershipChange { promote, remove, ..MembershipChange::default() }))
    };
    let unknown = |name: &str| Err(ChangeError::UnknownMember(name.into()));
    type Expected = Result<Option<MembershipChange>, ChangeError>;
    for (voters, learners, (old, new), expected) in [
        (&three[..], &[learner][..], ("n2", "n4"), change(&[4], &[2])),
        (&three, &[learner, another], ("n2", "n5"), change(&[5], &[2])),
        // A repeat after the change is done, perhaps at the next leader: even if another command has made the change.
        (&[(1, "n1"), (4, "n4"), (3, "n3")], &[], ("n2", "n4"), Ok(None)),
        (&[(1, "n1"), (4, "n4"), (3, "n3")], &[another], ("n2", "n4"), Ok(None)),
        (&[(1, "n1")], &[], ("n2", "n1"), Ok(None)),
        // A node that never was a member cannot be told from a former one; but then the learner has no member to
        // replace.
        (&three, &[learner], ("n9", "n4"), unknown("n9")),
        (&three, &[learner], ("n2", "n9"), unknown("n9")),
        (&three, &[learner], ("n8", "n9"), unknown("n9")),
        (&three, &[learner], ("n9", "n1"), Ok(None)),
        // A node that lost its disk is removed in both incarnations, and takes no place in either while the earlier one
        // votes.
        (&three, &[learner, returned(22, "n2", 2)], ("n2", "n4"), change(&[4], &[2, 22])),
        (&three, &[returned(22, "n2", 2)], ("n9", "n2"), Ok(None)),
    ] {
        assert_eq!(
            replaced(voters, learners, old, new),
            expected as Expected,
            "{old} {new} of {voters:?} {learners:?}"
        );
    }
    for (voters, learners, (old, new), why) in [
        (&three[..], &[][..], ("n1", "n2"), "n2 is already a voter"),
        (&[(2, "n2"), (3, "n3")], &[], ("n2", "n3"), "n3 is already a voter"),
        (&three, &[learner], ("n4", "n1"), "n1 is already a voter"),
        (&three, &[learner, returned(22, "n2", 2)], ("n3", "n2"), "n2 is already a voter"),
        (&three, &[learner, another], ("n4", "n5"), "n4 is not a voter"),
        // The HTTP layer refuses this earlier.
        (&three, &[], ("n1", "n1"), "n1 is already a voter"),
        (&three, &[learner], ("n4", "n4"), "n4 is not a voter"),
    ] {
        match replaced(voters, learners, old, new) {
            Err(ChangeError::Refused(sentence)) => assert!(sentence.contains(why), "{old} {new}: {sentence}"),
            other => panic!("{old} {new} of {voters:?} {learners:?}: {other:?}"),
        }
    }
}

fn replaced(
    voters: &[(u64, &str)],
    learners: &[(u64, &str, Goal)],
    old: &str,
    new: &str,
) -> Result<Option<MembershipChange>, ChangeError> {
    let mut configuration = Configuration::of_voters(voters.iter().map(|(id, name)| (NodeId(*id), info(name))));
    for (id, name, goal) in learners {
        configuration.members.insert(NodeId(*id), info(name));
        configuration.learners.insert(NodeId(*id), *goal);
    }
    let change = MemberChange::Replace { old: old.into(), new: new.into() };
    replacement(&configuration, &Meant::by(&change, &configuration)?, old, new)
}

#[test]
fn a_learner_that_comes_back_takes_the_place_of_its_life_that_is_not_heard() {
    let mut node = leader(&[(4, "n4", Goal::Learner)], &[]);
    // From the leader's election on the old member counts as heard, for as long as an election may take.
    let Some(Err(ChangeError::Refused(why))) = ask(&mut node, add(44, "n4")) else { panic!("it is not heard yet") };
    assert!(why.contains("is already a member"), "{why}");
    (0..1_000).step_by(5).for_each(|ms| node.tick(Instant(ms)));
    write_all(&mut node);
    assert_eq!(ask(&mut node, add(44, "n4")), Some(Ok(())));
    assert_eq!(names(&node), BTreeMap::from([(1, "n1"), (44, "n4")]));

    let returning = |node, name: &str| {
        let MemberChange::Add { client_url, peer_url, .. } = add(node, name) else { panic!("an addition") };
        MemberChange::Add { node, name: name.into(), client_url, peer_url, learner: false, returning: true, level: 1 }
    };
    assert_eq!(ask(&mut node, returning(5, "n5")), Some(Err(ChangeError::UnknownMember("n5".into()))));
}

#[test]
fn who_does_not_lead_sends_on_and_who_finds_another_change_waits_for_its_turn() {
    let three = ["n1", "n2", "n3"].map(|name| (NodeId(name[1..].parse().unwrap()), info(name)));
    let mut follower = node(Configuration::of_voters(three));
    assert_eq!(ask(&mut follower, add(4, "n4")), Some(Err(ChangeError::NoLeader)));

    let mut node = leader(&[], &[]);
    let mut changes = MemberChanges::default();
    for (id, name) in [(4, "n4"), (5, "n5")] {
        changes.ask(add(id, name), Instant(5_000), id).expect("there is room");
    }
    assert_eq!(changes.go_on(&mut node, Instant(10)), []);
    assert_eq!(names(&node).len(), 2, "one at a time");
    write_all(&mut node);
    assert_eq!(changes.go_on(&mut node, Instant(20)), [(4, Ok(()))]);
    assert_eq!(names(&node).len(), 3);
    // The second has begun and is never written.
    assert_eq!(changes.go_on(&mut node, Instant(5_000)), [(5, Err(ChangeError::OutcomeUnknown))]);
}

#[test]
fn nobody_waits_without_end_and_not_too_many_wait() {
    let mut node = leader(&[], &[]);
    let configuration = node.raft().configuration().clone();
    let join = MembershipChange::to_join(&configuration, NodeId(9), info("n9"), true);
    assert_eq!(node.change_membership(&join).map(drop), Ok(()));
    let mut changes = MemberChanges::default();
    for number in 0..WAITING_MAX as u64 {
        assert_eq!(changes.ask(add(100 + number, &format!("m{number}")), Instant(5_000), number), Ok(()));
    }
    assert_eq!(changes.ask(add(99, "m99"), Instant(5_000), 99), Err(99));
    let ended = changes.go_on(&mut node, Instant(5_000));
    assert_eq!(ended.len(), WAITING_MAX);
    let (0, Err(ChangeError::Refused(why))) = &ended[0] else { panic!("its time is over") };
    assert!(why.contains("was not started"), "{why}");
}

#[test]
fn what_is_given_up_before_it_has_begun_is_not_done() {
    let mut node = leader(&[], &[]);
    let mut changes = MemberChanges::default();
    for (id, name) in [(4, "n4"), (5, "n5"), (6, "n6")] {
        changes.ask(add(id, name), Instant(5_000), id).expect("there is room");
    }
    assert_eq!(changes.go_on(&mut node, Instant(10)), []);
    // The first has begun.
    changes.forget(|id| *id < 6);
    assert_eq!(
        changes.waiting().map(|(id, _, begun)| (*id, begun.is_some())).collect::<Vec<_>>(),
        [(4, true), (6, false)]
    );
    for _ in 0..4 {
        write_all(&mut node);
        let _ = changes.go_on(&mut node, Instant(20));
    }
    assert_eq!(names(&node), BTreeMap::from([(1, "n1"), (4, "n4"), (6, "n6")]));
}

#[test]
fn who_takes_a_name_that_was_free_when_it_was_asked_for_is_not_meant() {
    let mut node = leader(&[], &[]);
    let mut changes = MemberChanges::default();
    changes.ask(remove("n4"), Instant(5_000), 1).expect("there is room");
    // No member has this name if this node still leads; before that is certain, one joins.
    assert_eq!(changes.go_on(&mut node, Instant(10)), []);
    let comes =
        MembershipChange { add: [(NodeId(4), (info("n4"), Goal::Voter))].into(), ..MembershipChange::default() };
    node.change_membership(&comes).expect("it leads");
    let mut ended = Vec::new();
    for _ in 0..4 {
        write_all(&mut node);
        ended.extend(changes.go_on(&mut node, Instant(20)));
    }
    assert_eq!(ended, [(1, Err(ChangeError::UnknownMember("n4".into())))]);
    assert_eq!(names(&node), BTreeMap::from([(1, "n1"), (4, "n4")]));
}

#[test]
fn the_recorded_urls_of_a_member_change_and_nothing_else_does() {
    let mut node = leader(&[(4, "n4", Goal::Learner)], &[]);
    let before = node.raft().configuration().clone();
    let update = |name: &str, client_url: Option<&str>, peer_url: Option<&str>| MemberChange::Update {
        name: name.into(),
        client_url: client_url.map(str::to_owned),
        peer_url: peer_url.map(str::to_owned),
    };
    for _ in 0..2 {
        assert_eq!(ask(&mut node, update("n4", None, Some("http://moved"))), Some(Ok(())));
        let mut expected = before.clone();
        expected.members.get_mut(&NodeId(4)).expect("a member").peer_url = "http://moved".into();
        assert_eq!(*node.raft().configuration(), expected);
    }
    assert_eq!(
        ask(&mut node, update("n9", None, Some("http://x"))),
        Some(Err(ChangeError::UnknownMember("n9".into())))
    );
    let Some(Err(ChangeError::Refused(why))) = ask(&mut node, update("n4", Some("http://n1"), None)) else {
        panic!("it is the URL of another");
    };
    assert!(why.starts_with("http://n1 is the URL of n1"), "{why}");
    // A node that was started with other URLs before it has received anything asks again.
    let MemberChange::Add { node: id, name, learner, returning, level, .. } = add(4, "n4") else { unreachable!() };
    let (client_url, peer_url) = ("http://c".to_owned(), "http://p".to_owned());
    let again = MemberChange::Add { node: id, name, client_url, peer_url, learner, returning, level };
    assert_eq!(ask(&mut node, again), Some(Ok(())));
    let info = &node.raft().configuration().members[&NodeId(4)];
    assert_eq!((info.client_url.as_str(), info.peer_url.as_str()), ("http://c", "http://p"));
}

#[test]
fn nobody_is_added_at_the_url_of_another_member() {
    for (client_url, peer_url, taken) in [
        ("http://n1", "http://new", "http://n1"),
        ("http://new", "http://n1", "http://n1"),
        ("http://n4", "http://n4-peer", "http://n4"),
        ("http://new", "http://new", ""),
    ] {
        let mut node = leader(&[(4, "n4", Goal::Learner)], &[]);
        let MemberChange::Add { node: id, name, learner, returning, level, .. } = add(5, "n5") else { unreachable!() };
        let (client_url, peer_url) = (client_url.to_owned(), peer_url.to_owned());
        let result =
            ask(&mut node, MemberChange::Add { node: id, name, client_url, peer_url, learner, returning, level });
        let refusal = match result.expect("an answer") {
            Err(ChangeError::Refused(why)) => why,
            Ok(()) => String::new(),
            Err(other) => panic!("{other:?}"),
        };
        assert_eq!(refusal.starts_with(&format!("{taken} is the URL of ")), !taken.is_empty(), "{refusal}");
        assert_eq!(names(&node).contains_key(&5), taken.is_empty());
    }
    // A node that comes back without its data listens where it did.
    let mut node = leader(&[(4, "n4", Goal::Learner)], &[]);
    let Some(Err(ChangeError::Refused(why))) = ask(&mut node, add(44, "n4")) else { panic!("it still lives") };
    assert!(why.contains("is already a member"), "{why}");
}
