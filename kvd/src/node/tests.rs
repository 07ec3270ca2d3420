//! Outcomes of requests: three replicas with a network that the test controls.

use super::{Effects, ReadError, Recovery, Replica, TransferError, UnreadableEntry, WriteError};
use crate::kv::{
    Command, DecodeError, DeleteRange, KeyRange, Level, Operation, Outcome, Put, PutDone, RequestId, Restoring, Store,
};
use crate::raft::{
    Body, ClusterTime, Configuration, Entry, HardState, Instant, LogIndex, MemberInfo, Message, NodeId, Payload,
    Record, RoleName, Settings, SnapshotPlace, Term, TransferRefusal,
};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};

mod cluster_time;
mod full_store;
mod levels;
mod member_changes;

const TIMEOUT_MS: u64 = 5_000;

/// A replica whose request handles are numbers.
type Numbered = Replica<u32, u32>;

struct Cluster {
    replicas: BTreeMap<NodeId, Numbered>,
    /// Every record that each node has written: its disk.
    disks: BTreeMap<NodeId, Vec<Record>>,
    /// Nodes that neither send nor receive.
    cut_off: BTreeSet<NodeId>,
    /// Nodes that receive no entries, but everything else.
    starved: BTreeSet<NodeId>,
    now: Instant,
    writes: BTreeMap<u32, Result<Outcome, WriteError>>,
    reads: BTreeMap<u32, Result<Option<ClusterTime>, ReadError>>,
}

fn founding_records(nodes: u64) -> Vec<Record> {
    let info = |id: u64| MemberInfo { name: format!("n{id}"), client_url: String::new(), peer_url: String::new() };
    let configuration = Configuration::of_voters((1..=nodes).map(|id| (NodeId(id), info(id))));
    let payload = Payload::Configuration(configuration);
    vec![
        Record::HardState(HardState { term: Term(1), vote: None }),
        Record::Entry(Entry { index: LogIndex(1), term: Term(1), time: ClusterTime(0), payload }),
        Record::Commit(LogIndex(1)),
    ]
}

fn replica(id: NodeId, records: &[Record], now: Instant) -> Numbered {
    let mut recovery = Recovery::default();
    for record in records {
        recovery.record(record.clone(), usize::MAX).expect("commands of this version");
    }
    Replica::new(id, Settings::default(), TIMEOUT_MS, id.0 + now.0, recovery.finish([]), now)
}

impl Cluster {
    fn new(nodes: u64) -> Self {
        let now = Instant(0);
        let disks: BTreeMap<_, _> = (1..=nodes).map(|id| (NodeId(id), founding_records(nodes))).collect();
        let replicas = disks.iter().map(|(id, disk)| (*id, replica(*id, disk, now))).collect();
        let (writes, reads) = (BTreeMap::new(), BTreeMap::new());
        let (cut_off, starved) = (BTreeSet::new(), BTreeSet::new());
        Self { replicas, disks, cut_off, starved, now, writes, reads }
    }

    /// Returns a cluster with a leader that has committed in its term.
    fn with_leader(nodes: u64) -> (Self, NodeId) {
        let mut cluster = Self::new(nodes);
        let leader = cluster.elect();
        (cluster, leader)
    }

    fn at(&mut self, id: NodeId) -> &mut Numbered {
        self.replicas.get_mut(&id).expect("a replica")
    }

    /// Executes all effects and delivers all messages until nothing is left to do.
    fn settle(&mut self) {
        while self.exchange() {}
    }

    /// Executes all effects and delivers the messages they send. Returns false if there was nothing to do.
    fn exchange(&mut self) -> bool {
        let mut sent: Vec<(NodeId, NodeId, Message)> = Vec::new();
        let mut written = false;
        for (id, replica) in &mut self.replicas {
            let Effects { send, bulk, write, fetch, snapshots, writes, reads } = replica.effects();
            assert!(snapshots.is_empty(), "nothing has been compacted");
            assert!(fetch.is_empty(), "everything is in memory");
            for (handle, result) in writes {
                assert!(self.writes.insert(handle, result).is_none(), "write {handle} was answered twice");
            }
            for (handle, result) in reads {
                assert!(self.reads.insert(handle, result).is_none(), "read {handle} was answered twice");
            }
            if let Some(write) = write {
                self.disks.entry(*id).or_default().extend(write.records);
                replica.written(write.id);
                written = true;
            }
            sent.extend(bulk.into_iter().chain(send).map(|(to, message)| (*id, to, message)));
        }
        let has_unapplied = self.replicas.values().any(Replica::has_unapplied);
        let has_done_something = written || has_unapplied || !sent.is_empty();
        for (from, to, message) in sent {
            let has_entries = matches!(&message.body, Body::AppendEntries { entries, .. } if !entries.is_empty());
            let is_lost = has_entries && self.starved.contains(&to);
            if !is_lost && !self.cut_off.contains(&from) && !self.cut_off.contains(&to) {
                self.at(to).step(from, message);
            }
        }
        has_done_something
    }

    /// Executes the effects of one replica that answers nothing. Returns the nodes to which it sends something.
    fn carry_out(&mut self, id: NodeId) -> BTreeSet<NodeId> {
        let Effects { send, bulk, write, writes, reads, .. } = self.at(id).effects();
        assert!(writes.is_empty() && reads.is_empty(), "{writes:?} and {reads:?} are answered");
        if let Some(write) = write {
            self.at(id).written(write.id);
        }
        let sent = bulk.into_iter().chain(send).collect::<Vec<_>>();
        let told = sent.iter().map(|(to, _)| *to).collect();
        sent.into_iter().for_each(|(to, message)| self.at(to).step(id, message));
        told
    }

    fn advance(&mut self, ms: u64) {
        for _ in 0..ms.div_ceil(10) {
            self.now = self.now.plus_ms(10);
            let now = self.now;
            self.replicas.values_mut().for_each(|replica| replica.set_time(now));
            self.replicas.values_mut().for_each(|replica| replica.tick(now));
            self.settle();
        }
    }

    /// Lets time pass until a node that is not cut off leads, and returns that node.
    fn elect(&mut self) -> NodeId {
        for _ in 0..500 {
            self.advance(10);
            let leads = |(id, replica): (&NodeId, &Numbered)| {
                (replica.raft().role() == RoleName::Leader && !self.cut_off.contains(id)).then_some(*id)
            };
            if let Some(leader) = self.replicas.iter().find_map(leads) {
                return leader;
            }
        }
        panic!("no leader within 5 s");
    }

    fn write(&mut self, at: NodeId, handle: u32, command: &Command) {
        self.at(at).write(command.encode(), handle);
    }

    /// Kills the process and starts it again from its disk.
    fn restart(&mut self, id: NodeId) {
        self.replicas.insert(id, replica(id, &self.disks[&id], self.now));
    }

    fn value(&self, at: NodeId, key: &str) -> Option<(Bytes, u64)> {
        let store = self.replicas[&at].store().read().expect("no panic");
        store.get(key.as_bytes()).map(|item| (item.value, item.version))
    }
}

fn set(key: &str, value: &str) -> Command {
    let (key, value) = (Bytes::copy_from_slice(key.as_bytes()), Bytes::copy_from_slice(value.as_bytes()));
    Command { operation: Operation::Set { put: Put::new(key, value), condition: None }, request: None }
}

fn set_once(key: &str, value: &str, seq: u64) -> Command {
    Command { request: Some(RequestId { client: "c".into(), seq }), ..set(key, value) }
}

#[test]
fn a_command_of_a_newer_version_ends_recovery_with_the_place_of_its_entry() {
    let mut recovery = Recovery::default();
    let payload = Payload::Command(Bytes::from_static(&[200, 1, 2]));
    let newer = Entry { index: LogIndex(2), term: Term(1), time: ClusterTime(1), payload };
    let unreadable = Err(UnreadableEntry { index: LogIndex(2), cause: DecodeError::UnknownLevel(Level(200)) });
    for record in founding_records(1) {
        assert_eq!(recovery.record(record, 0), Ok(()));
    }
    assert_eq!(recovery.record(Record::Entry(newer), 0), Ok(()), "it may never be committed");
    assert_eq!(recovery.record(Record::Commit(LogIndex(2)), 0), unreadable);
}

#[test]
fn a_write_is_answered_once_it_is_applied_and_every_replica_gets_it_without_another_write() {
    let (mut cluster, leader) = Cluster::with_leader(3);
    cluster.write(leader, 1, &set("color", "blue"));
    cluster.settle();
    assert!(matches!(cluster.writes[&1], Ok(Outcome::Set { revision: 2, done: PutDone { created: true, .. } })));
    // No time has passed: no heartbeat was needed for the followers to learn of the commit.
    for id in [1, 2, 3] {
        assert_eq!(cluster.value(NodeId(id), "color"), Some((Bytes::from("blue"), 1)), "n{id}");
    }
}

#[test]
fn what_a_step_sends_does_not_wait_for_a_command_that_takes_long() {
    let (mut cluster, leader) = Cluster::with_leader(3);
    for peer in [1, 2, 3].map(NodeId).into_iter().filter(|id| *id != leader) {
        cluster.at(leader).peer_knows(peer, Level::DATA_MODEL);
    }
    cluster.write(leader, 2, &set("color", "blue"));
    cluster.advance(100);
    assert_eq!(cluster.at(leader).level(), Level::DATA_MODEL);
    let delete = DeleteRange { range: KeyRange::ALL, limit: None, prev: false };
    cluster.write(leader, 3, &Command { operation: Operation::DeleteRange { delete, held: None }, request: None });
    // The step that commits it tells the followers, and does not apply it.
    let told = loop {
        let told = cluster.carry_out(leader);
        if cluster.at(leader).applies_next() {
            break told;
        }
        for follower in [1, 2, 3].map(NodeId).into_iter().filter(|id| *id != leader) {
            cluster.carry_out(follower);
        }
    };
    assert!(!cluster.writes.contains_key(&3));
    assert_eq!(told.len(), 2);
    assert_eq!(cluster.value(leader, "color"), Some((Bytes::from("blue"), 1)));
    cluster.settle();
    assert!(matches!(cluster.writes[&3], Ok(Outcome::DeletedRange { .. })));
    for id in [1, 2, 3] {
        assert_eq!(cluster.value(NodeId(id), "color"), None, "n{id}");
    }
}

#[test]
fn a_follower_names_the_leader_and_changes_nothing() {
    let (mut cluster, leader) = Cluster::with_leader(3);
    let follower = NodeId(leader.0 % 3 + 1);
    cluster.write(follower, 1, &set("color", "blue"));
    cluster.settle();
    assert_eq!(cluster.writes[&1], Err(WriteError::NotLeader { leader }));
    cluster.advance(1_000);
    assert_eq!(cluster.value(leader, "color"), None);
}

#[test]
fn without_a_leader_requests_end_at_once() {
    let mut cluster = Cluster::new(3);
    cluster.write(NodeId(1), 1, &set("color", "blue"));
    cluster.at(NodeId(1)).read(2);
    cluster.settle();
    assert_eq!(cluster.writes[&1], Err(WriteError::NoLeader));
    assert_eq!(cluster.reads[&2], Err(ReadError::NoLeader));
}

#[test]
fn a_write_whose_place_another_leaders_entry_took_has_failed_for_good() {
    let (mut cluster, old) = Cluster::with_leader(3);
    cluster.cut_off.insert(old);
    cluster.write(old, 1, &set("color", "lost"));
    let new = cluster.elect();
    cluster.write(new, 2, &set("color", "kept"));
    cluster.settle();
    assert!(!cluster.writes.contains_key(&1), "stepping down alone decides nothing");
    cluster.cut_off.clear();
    cluster.advance(500);
    assert_eq!(cluster.writes[&1], Err(WriteError::Superseded));
    assert!(matches!(cluster.writes[&2], Ok(Outcome::Set { .. })));
    for id in [1, 2, 3] {
        assert_eq!(cluster.value(NodeId(id), "color"), Some((Bytes::from("kept"), 1)), "n{id}");
    }
}

#[test]
fn a_write_that_a_later_leader_commits_succeeds_where_it_was_asked() {
    let (mut cluster, old) = Cluster::with_leader(3);
    // The entry reaches both followers, and their answers are lost with the old leader's connections.
    cluster.write(old, 1, &set("color", "blue"));
    cluster.carry_out(old);
    cluster.cut_off.insert(old);
    let new = cluster.elect();
    assert_ne!(new, old);
    assert!(!cluster.writes.contains_key(&1));
    cluster.cut_off.clear();
    cluster.advance(200);
    assert!(
        matches!(cluster.writes[&1], Ok(Outcome::Set { done: PutDone { created: true, .. }, .. })),
        "{:?}",
        cluster.writes[&1]
    );
}

/// Returns a copy of a replica's store, made through a snapshot.
fn snapshot_of(replica: &mut Numbered) -> (SnapshotPlace, Store) {
    let (place, summary) = replica.begin_snapshot().expect("there is no other");
    let mut store = replica.store().write().expect("no panic");
    let mut restoring = Restoring::new(summary).expect("a summary");
    while let Some(piece) = store.snapshot_piece(100).expect("it was begun") {
        restoring.piece(&piece).expect("a piece that follows");
    }
    drop(store.end_snapshot());
    (place, restoring.finish().expect("a whole snapshot"))
}

#[test]
fn a_write_whose_place_a_snapshot_took_is_unknown_and_reads_go_on() {
    let (mut cluster, old) = Cluster::with_leader(3);
    cluster.cut_off.insert(old);
    cluster.write(old, 1, &set("color", "red"));
    cluster.settle();
    let new = cluster.elect();
    for (handle, value) in [(2, "green"), (3, "blue")] {
        cluster.write(new, handle, &set("color", value));
        cluster.settle();
    }
    let (place, store) = snapshot_of(cluster.at(new));
    let last = place.last;
    assert!(cluster.at(old).wants_snapshot(last));
    drop(cluster.at(old).install(place.clone(), store));
    cluster.settle();
    assert_eq!(cluster.writes[&1], Err(WriteError::OutcomeUnknown), "the snapshot does not tell whose entries it has");
    assert_eq!(cluster.value(old, "color"), Some((Bytes::from_static(b"blue"), 2)));
    assert!(!cluster.at(old).wants_snapshot(last), "it is no news any more");
    cluster.cut_off.clear();
    cluster.advance(1_000);
    cluster.at(old).read(9);
    cluster.settle();
    assert!(cluster.reads[&9].is_ok());
}

#[test]
fn a_write_that_nobody_confirms_in_time_is_unknown_and_may_still_take_effect() {
    let (mut cluster, leader) = Cluster::with_leader(3);
    let followers: Vec<NodeId> = [1, 2, 3].map(NodeId).into_iter().filter(|id| *id != leader).collect();
    cluster.cut_off.extend(&followers);
    cluster.write(leader, 1, &set("color", "blue"));
    cluster.at(leader).read(2);
    cluster.advance(TIMEOUT_MS - 100);
    assert!(!cluster.writes.contains_key(&1), "the log still has it");
    cluster.advance(300);
    assert_eq!(cluster.writes[&1], Err(WriteError::OutcomeUnknown));
    assert_eq!(cluster.reads[&2], Err(ReadError::NoLeader), "the leader stepped down under it");
    cluster.cut_off.clear();
    cluster.advance(1_000);
    let applied = [1, 2, 3].map(|id| cluster.value(NodeId(id), "color").is_some());
    assert!(applied == [true; 3] || applied == [false; 3], "unknown, but the same everywhere: {applied:?}");
}

#[test]
fn each_request_ends_at_its_own_deadline_whatever_waits_longer() {
    let (mut cluster, old) = Cluster::with_leader(3);
    cluster.cut_off.insert(old);
    let now = cluster.now;
    for (handle, time_ms) in [(1, 120 * TIMEOUT_MS), (2, 100), (3, 2 * TIMEOUT_MS)] {
        let command = set(&format!("key{handle}"), "value").encode();
        cluster.at(old).write_until(command, now.plus_ms(time_ms), handle);
    }
    cluster.advance(200);
    assert_eq!(cluster.writes.keys().collect::<Vec<_>>(), [&2]);
    // This follower has yet to learn the outcome of its own last writes.
    cluster.elect();
    cluster.starved.insert(old);
    cluster.cut_off.clear();
    cluster.advance(3 * TIMEOUT_MS);
    assert_eq!(cluster.writes.keys().collect::<Vec<_>>(), [&2, &3]);
    let soon = cluster.now.plus_ms(1_000);
    cluster.at(old).read(4);
    cluster.at(old).read_until(soon, 5);
    cluster.advance(900);
    assert!(cluster.reads.is_empty());
    cluster.advance(200);
    assert_eq!(cluster.reads.keys().collect::<Vec<_>>(), [&5]);
    cluster.advance(TIMEOUT_MS - 1_200);
    assert!(!cluster.reads.contains_key(&4));
    cluster.advance(200);
    assert_eq!([4, 5].map(|read| cluster.reads[&read]), [Err(ReadError::TimedOut); 2]);
    assert_eq!(cluster.at(old).waiting_reads(), 0);
    cluster.advance(120 * TIMEOUT_MS);
    assert_eq!(cluster.writes[&1], Err(WriteError::OutcomeUnknown));
}

#[test]
fn a_retry_under_the_same_request_is_applied_once_over_leaders_and_restarts() {
    let (mut cluster, old) = Cluster::with_leader(3);
    cluster.write(old, 1, &set_once("color", "blue", 7));
    cluster.settle();
    let first = cluster.writes[&1].clone();
    cluster.cut_off.insert(old);
    let new = cluster.elect();
    cluster.write(new, 2, &set_once("color", "blue", 7));
    cluster.settle();
    assert_eq!(cluster.writes[&2], first, "the stored reply");
    cluster.cut_off.clear();
    for id in [1, 2, 3] {
        cluster.restart(NodeId(id));
    }
    let leader = cluster.elect();
    cluster.write(leader, 3, &set_once("color", "blue", 7));
    cluster.write(leader, 4, &set_once("color", "red", 6));
    cluster.advance(100);
    assert_eq!(cluster.writes[&3], first);
    assert_eq!(cluster.writes[&4], Ok(Outcome::StaleRequest { newest: 7 }));
    for id in [1, 2, 3] {
        assert_eq!(cluster.value(NodeId(id), "color"), Some((Bytes::from("blue"), 1)), "n{id}");
    }
}

#[test]
fn a_read_waits_until_the_store_has_applied_what_was_committed_before_it() {
    let (mut cluster, leader) = Cluster::with_leader(3);
    for id in [1, 2, 3] {
        cluster.write(leader, id, &set("color", &id.to_string()));
        cluster.settle();
        cluster.at(NodeId(u64::from(id))).read(id);
        cluster.settle();
        assert!(cluster.reads[&id].is_ok());
        let (value, _) = cluster.value(NodeId(u64::from(id)), "color").expect("written");
        assert_eq!(value, id.to_string());
    }
}

#[test]
fn a_leader_that_was_cut_off_answers_no_read() {
    let (mut cluster, old) = Cluster::with_leader(3);
    cluster.cut_off.insert(old);
    // It does not know yet that it was deposed: its clients still reach it.
    cluster.at(old).read(1);
    let new = cluster.elect();
    cluster.write(new, 2, &set("color", "new"));
    cluster.settle();
    assert!(matches!(cluster.writes[&2], Ok(Outcome::Set { .. })));
    assert!(!cluster.reads.get(&1).is_some_and(Result::is_ok), "it would have read what was overwritten");
    cluster.advance(1_000);
    assert_eq!(cluster.reads[&1], Err(ReadError::NoLeader));
}

#[test]
fn too_much_waiting_is_refused_at_once_and_frees_itself() {
    let (mut cluster, leader) = Cluster::with_leader(3);
    let followers: Vec<NodeId> = [1, 2, 3].map(NodeId).into_iter().filter(|id| *id != leader).collect();
    cluster.cut_off.extend(&followers);
    for handle in 0..5_000 {
        cluster.write(leader, handle, &set("color", "blue"));
    }
    cluster.settle();
    assert_eq!(cluster.writes.len(), 5_000 - 4_096, "the others wait");
    assert!(cluster.writes.values().all(|result| *result == Err(WriteError::Overloaded)));
    cluster.cut_off.clear();
    // Windows open as answers arrive.
    cluster.advance(1_000);
    assert_eq!(cluster.writes.len(), 5_000);
    let leader = cluster.elect();
    cluster.write(leader, 9_999, &set("color", "red"));
    cluster.settle();
    assert!(matches!(cluster.writes[&9_999], Ok(Outcome::Set { .. })));
}

#[test]
fn a_leader_that_commits_nothing_takes_only_so_much_even_if_nobody_waits_any_more() {
    let (mut cluster, leader) = Cluster::with_leader(3);
    let followers: Vec<NodeId> = [1, 2, 3].map(NodeId).into_iter().filter(|id| *id != leader).collect();
    // The followers answer heartbeats, but their disks never finish a write.
    let value = "x".repeat(1 << 20);
    let mut taken = 0;
    for handle in 0..100 {
        cluster.write(leader, handle, &set("color", &value));
        let effects = cluster.at(leader).effects();
        if let Some(write) = effects.write {
            cluster.at(leader).written(write.id);
        }
        taken += usize::from(!effects.writes.contains(&(handle, Err(WriteError::Overloaded))));
        // Long enough for every waiting write to time out, while the leader hears from a quorum.
        for _ in 0..60 {
            cluster.now = cluster.now.plus_ms(100);
            let (now, term) = (cluster.now, cluster.replicas[&leader].raft().term());
            cluster.at(leader).set_time(now);
            for follower in &followers {
                let body = Body::AppendAccepted { match_index: LogIndex(0), round: 0 };
                cluster.at(leader).step(*follower, Message { term, body });
            }
            cluster.at(leader).tick(now);
        }
    }
    assert_eq!(cluster.replicas[&leader].raft().role(), RoleName::Leader);
    assert!((60..90).contains(&taken), "{taken} writes of 1 MiB were taken");
}

#[test]
fn a_repeat_of_a_large_write_waits_for_the_entry_that_is_in_the_log() {
    let large = "x".repeat(20 << 10);
    let (mut cluster, leader) = Cluster::with_leader(3);
    let before = cluster.replicas[&leader].raft().log().last_index();
    for (handle, value, seq) in [(1, &large, 7), (2, &large, 7), (3, &large.replace('x', "y"), 7), (4, &large, 6)] {
        cluster.write(leader, handle, &set_once("color", value, seq));
    }
    let after = cluster.replicas[&leader].raft().log().last_index();
    assert_eq!(after.0 - before.0, 3, "only the second is the first again");
    assert_eq!(cluster.replicas[&leader].waiting_writes(), 4);
    cluster.settle();
    assert!(matches!(cluster.writes[&1], Ok(Outcome::Set { .. })));
    assert_eq!(cluster.writes[&2], cluster.writes[&1]);
    assert_eq!(cluster.writes[&3], Ok(Outcome::SeqReused));
    assert_eq!(cluster.writes[&4], Ok(Outcome::StaleRequest { newest: 7 }));
    cluster.write(leader, 5, &set_once("color", &large, 7));
    cluster.settle();
    assert_eq!(cluster.writes[&5], cluster.writes[&1], "by then it is applied, and the stored reply is told");
}

#[test]
fn restarted_replicas_have_everything_that_was_acknowledged_and_agree() {
    let (mut cluster, leader) = Cluster::with_leader(3);
    for handle in 0..100 {
        cluster.write(leader, handle, &set(&format!("key{}", handle % 7), &handle.to_string()));
        cluster.settle();
    }
    let hash = |cluster: &Cluster, id| cluster.replicas[&NodeId(id)].store().read().expect("no panic").state_hash();
    let before = hash(&cluster, 1);
    for id in [1, 2, 3] {
        cluster.restart(NodeId(id));
    }
    cluster.elect();
    cluster.advance(200);
    for id in [1, 2, 3] {
        assert_eq!(hash(&cluster, id), before, "n{id}");
    }
}

#[test]
fn recovery_applies_what_is_committed_and_voids_what_was_truncated() {
    let command = |value: &str| Payload::Command(set("color", value).encode());
    let entry = |index: u64, term: u64, payload| {
        Record::Entry(Entry { index: LogIndex(index), term: Term(term), time: ClusterTime(index), payload })
    };
    let mut records = founding_records(3);
    records.extend([
        entry(2, 1, command("committed")),
        entry(3, 1, command("void")),
        Record::Commit(LogIndex(2)),
        Record::HardState(HardState { term: Term(2), vote: Some(NodeId(3)) }),
        Record::Truncate { from: LogIndex(3) },
        entry(3, 2, command("uncommitted")),
    ]);
    let replica = replica(NodeId(1), &records, Instant(0));
    let log = replica.raft().log();
    assert_eq!((log.last_index(), log.last_term()), (LogIndex(3), Term(2)));
    assert_eq!((log.commit_index(), log.applied_index()), (LogIndex(2), LogIndex(2)));
    assert_eq!(replica.raft().hard_state(), HardState { term: Term(2), vote: Some(NodeId(3)) });
    assert_eq!(replica.store().read().unwrap().get(b"color").unwrap().value, "committed");
}

/// Returns any node other than this one.
fn another_than(id: NodeId) -> NodeId {
    NodeId(id.0 % 3 + 1)
}

#[test]
fn writes_under_way_are_acknowledged_by_the_leader_that_transfers_leadership() {
    let (mut cluster, leader) = Cluster::with_leader(3);
    let to = another_than(leader);
    cluster.write(leader, 1, &set("color", "blue"));
    let leadership_transfer = cluster.at(leader).leadership_transfer(Some(to)).expect("it leads");
    cluster.write(leader, 2, &set("color", "red"));
    assert_eq!(cluster.replicas[&leader].leadership_transfer_ended(&leadership_transfer), None);
    cluster.settle();
    assert_eq!(cluster.replicas[&leader].leadership_transfer_ended(&leadership_transfer), Some(Ok(())));
    assert_eq!(cluster.replicas[&to].raft().role(), RoleName::Leader);
    assert!(cluster.writes[&1].is_ok(), "{:?}", cluster.writes[&1]);
    assert_eq!(cluster.writes[&2], Err(WriteError::TransferringLeadership));
    let again = cluster.at(leader).leadership_transfer(None).unwrap_err();
    assert_eq!(again, TransferRefusal::NotLeader { leader: Some(to) });
}

#[test]
fn who_asked_for_a_leadership_transfer_learns_what_became_of_it() {
    let (mut cluster, leader) = Cluster::with_leader(3);
    let to = another_than(leader);
    cluster.cut_off.insert(to);
    let leadership_transfer = cluster.at(leader).leadership_transfer(Some(to)).expect("it leads");
    cluster.advance(290);
    assert_eq!(cluster.replicas[&leader].leadership_transfer_ended(&leadership_transfer), None);
    cluster.advance(20);
    assert_eq!(
        cluster.replicas[&leader].leadership_transfer_ended(&leadership_transfer),
        Some(Err(TransferError::GivenUp))
    );

    // Cut off, the leader steps down, and hears of no other leader until it is back.
    let leadership_transfer = cluster.at(leader).leadership_transfer(Some(to)).expect("it leads");
    cluster.cut_off = BTreeSet::from([leader]);
    cluster.advance(TIMEOUT_MS - 100);
    assert_eq!(cluster.replicas[&leader].leadership_transfer_ended(&leadership_transfer), None);
    cluster.advance(200);
    assert_eq!(
        cluster.replicas[&leader].leadership_transfer_ended(&leadership_transfer),
        Some(Err(TransferError::NoLeader))
    );
    cluster.cut_off.clear();
    let elected = cluster.elect();
    cluster.advance(500);
    let ended = if elected == to { Ok(()) } else { Err(TransferError::OtherElected { leader: elected }) };
    assert_eq!(cluster.replicas[&leader].leadership_transfer_ended(&leadership_transfer), Some(ended));
}

#[test]
fn a_leader_that_is_to_lead_says_that_it_does_once_that_is_certain() {
    let (mut cluster, leader) = Cluster::with_leader(3);
    let to_itself = cluster.at(leader).leadership_transfer(Some(leader)).expect("it leads");
    assert_eq!(to_itself.to, leader);
    assert_eq!(cluster.replicas[&leader].leadership_transfer_ended(&to_itself), None);
    cluster.settle();
    assert_eq!(cluster.replicas[&leader].leadership_transfer_ended(&to_itself), Some(Ok(())));

    // It has been cut off, and does not know yet whether another leader was elected meanwhile.
    cluster.cut_off = BTreeSet::from([leader]);
    let to_itself = cluster.at(leader).leadership_transfer(Some(leader)).expect("it believes to lead");
    cluster.settle();
    assert_eq!(cluster.replicas[&leader].leadership_transfer_ended(&to_itself), None);
    cluster.advance(TIMEOUT_MS);
    assert_eq!(cluster.replicas[&leader].leadership_transfer_ended(&to_itself), Some(Err(TransferError::NoLeader)));
}

#[test]
fn of_the_proofs_that_a_leader_cannot_come_by_the_last_is_kept() {
    let (mut cluster, leader) = Cluster::with_leader(3);
    cluster.cut_off.insert(leader);
    for _ in 0..10 {
        cluster.at(leader).leadership_transfer(Some(leader)).expect("it leads, as far as it knows");
        cluster.settle();
    }
    assert_eq!(cluster.replicas[&leader].raft().role(), RoleName::Leader);
    let kept = cluster.replicas[&leader].raft().waiting_reads();
    assert!(kept <= 1, "{kept} are kept");
}
