use super::*;
use crate::data::{founding_records, open};
use crate::kv::{Command, Operation, Put, RequestId, SessionLimits, StoreLimits};
use crate::raft::{Entry, Goal, Payload};
use crate::storage::snapshot::SnapshotError;
use std::collections::BTreeSet;
use testkit::faulty_disk::{FaultyDisk, Seed};

const OLD: NodeId = NodeId(0xa);
const NEW: NodeId = NodeId(0xb);

/// Small segments, so that a log has several.
const WAL: WalOptions = WalOptions { segment_bytes: 2048, salt: 0x5a17, base: LogBase::NONE };

const CACHE_BYTES: usize = 1 << 20;

/// Number of entries in the log of the node that survives, and how many of them it knows to be committed.
const LAST: u64 = 60;
const COMMIT: u64 = 57;
const SNAPSHOT: u64 = 30;

fn info(name: &str) -> MemberInfo {
    MemberInfo { name: name.into(), client_url: format!("http://{name}:1"), peer_url: format!("http://{name}:2") }
}

fn members() -> Configuration {
    Configuration::of_voters([(OLD, info("node1")), (NodeId(2), info("node2")), (NodeId(3), info("node3"))])
}

fn founder() -> Founder {
    Founder { info: info("node1"), node_id: NEW, wal: WAL }
}

/// Returns the entry with this index: a write, in most cases by clients that may repeat it. Every tenth deletes the key
/// that the one before wrote.
fn entry(index: u64) -> Entry {
    let key = |index: u64| format!("key{}", index % 23).into();
    let operation = match index % 10 {
        0 => Operation::Delete { key: key(index - 1), condition: None, prev: false },
        _ => Operation::Set { put: Put::new(key(index), vec![index as u8; 40]), condition: None },
    };
    let request = (!index.is_multiple_of(3)).then(|| RequestId { client: format!("c{}", index % 5), seq: index });
    let payload = Payload::Command(Command { operation, request }.encode());
    Entry { index: LogIndex(index), term: term(index), time: ClusterTime(index * 1000), payload }
}

fn term(index: u64) -> Term {
    Term(1 + index / 20)
}

/// Returns the state after this entry.
fn store(last: u64) -> Store {
    let mut store = Store::default();
    for Entry { time, payload, .. } in (2..=last).map(entry) {
        if let Payload::Command(bytes) = payload {
            let _ = store.apply(time.0, &Command::decode(&bytes).expect("a command"));
        }
    }
    store
}

fn place(last: u64, configuration: Configuration) -> SnapshotPlace {
    let base = LogBase { index: LogIndex(last), term: term(last) };
    SnapshotPlace { last: base, time: ClusterTime(last * 1000), configuration, configuration_index: LogIndex(1) }
}

/// Writes the data of a node of three, which voted in a term without a leader. The data has a snapshot or not, and the
/// log ends with these configurations, which the node does not know to be committed.
fn write_survivor(disk: &Arc<dyn Disk>, snapshot: Option<Configuration>, configurations: Vec<Configuration>) {
    let cluster = cluster_of(&members());
    let (mut wal, _) = Wal::open(Arc::clone(disk), WAL, OLD, &mut |_| {}).expect("a disk that works");
    let _ = wal.append(&founding_records(members())).expect("a disk that works");
    for index in 2..=LAST {
        let hard_state = Record::HardState(HardState { term: term(index), vote: None });
        let _ = wal.append(&[hard_state, Record::Entry(entry(index))]).expect("a disk that works");
    }
    let _ = wal.append(&[Record::Commit(LogIndex(COMMIT))]).expect("a disk that works");
    for (number, configuration) in (1..).zip(configurations) {
        let payload = Payload::Configuration(configuration);
        let changed = Entry { index: LogIndex(LAST + number), payload, ..entry(LAST) };
        let _ = wal.append(&[Record::Entry(changed)]).expect("a disk that works");
    }
    let _ = wal.append(&[Record::HardState(HardState { term: Term(9), vote: Some(OLD) })]).expect("a disk that works");
    let _ = wal.seal().expect("a disk that works");
    if let Some(configuration) = snapshot {
        let place = place(SNAPSHOT, configuration);
        write_snapshot(disk, cluster.id, place, store(SNAPSHOT)).expect("a disk that works");
        let _ = wal.compactor().compact(LogIndex(SNAPSHOT)).expect("a disk that works");
    }
    let identity = Identity { node_id: OLD, name: "node1".into(), cluster: Some(cluster), diverged_at: None };
    identity.save(&**disk).expect("a disk that works");
}

fn disk(seed: u64) -> (FaultyDisk, Arc<dyn Disk>) {
    let faulty = FaultyDisk::new(Seed(seed));
    (faulty.clone(), Arc::new(faulty))
}

fn lost_majority(seed: u64) -> (FaultyDisk, Arc<dyn Disk>) {
    let (faulty, disk) = disk(seed);
    write_survivor(&disk, Some(members()), Vec::new());
    (faulty, disk)
}

fn recover(disk: &Arc<dyn Disk>) -> Result<Refounded, String> {
    let survivor = survivor(disk, WAL, CACHE_BYTES).map_err(|error| error.to_string())?;
    survivor.recover(founder()).map_err(|error| error.to_string())
}

/// Returns the options with which a daemon opens the data.
fn as_a_daemon() -> OpenOptions<'static> {
    OpenOptions {
        name: "node1",
        new_id: NodeId(0xc),
        wal: WAL,
        cache_bytes_max: CACHE_BYTES,
        session_limits: SessionLimits::default(),
        store_limits: StoreLimits::default(),
        level_max: Level::NEWEST,
    }
}

/// Returns the data that a daemon finds when it starts; `None` if there is none.
fn start(disk: &Arc<dyn Disk>) -> Option<crate::data::Opened> {
    let opened = open::<DataError>(disk, as_a_daemon(), |_| Ok(())).expect("whatever is there, it is whole");
    opened.recovered.is_some().then_some(opened)
}

/// Checks that a daemon finds the new cluster there, with the state after this entry.
#[track_caller]
fn assert_refounded(disk: &Arc<dyn Disk>, refounded: Option<&Refounded>, last: u64, term_over: Term) {
    assert_refounded_times(1, disk, refounded, last, term_over);
}

/// As [`assert_refounded`], for data that so many clusters were made of, each from the one before.
#[track_caller]
fn assert_refounded_times(times: u64, disk: &Arc<dyn Disk>, refounded: Option<&Refounded>, last: u64, term_over: Term) {
    let opened = start(disk).expect("a node");
    let cluster = opened.identity.cluster.expect("it is part of a cluster");
    assert_eq!((opened.identity.node_id, opened.identity.diverged_at), (NEW, None));
    assert_eq!(cluster.first_members, ["node1"]);
    assert_ne!(cluster.id, cluster_of(&members()).id);
    let recovered = opened.recovered.expect("it has begun");
    let configuration = recovered.configurations.values().next_back().expect("a configuration");
    assert_eq!(*configuration, Configuration::of_voters([(NEW, info("node1"))]));
    assert_eq!((recovered.log.last_index(), recovered.log.commit_index()), (LogIndex(last), LogIndex(last)));
    // Cluster time goes on from that of the state. Otherwise sessions would be forgotten too early or never.
    assert_eq!(recovered.log.last_time(), ClusterTime(last.min(LAST) * 1000));
    assert_eq!(recovered.hard_state, HardState { term: term_over, vote: None });
    let found = recovered.store.read().expect("nobody panicked");
    let mut expected = store(last.min(LAST));
    (0..times).for_each(|_| expected.refound(last.min(LAST) * 1000));
    assert_eq!((found.state_hash(), found.revision()), (expected.state_hash(), expected.revision()));
    if let Some(refounded) = refounded {
        assert_eq!((refounded.node_id, &refounded.cluster), (NEW, &cluster));
        assert_eq!((refounded.revision, refounded.keys), (expected.revision(), expected.len() as u64));
    }
}

/// Checks that a daemon finds the old cluster there, unchanged.
#[track_caller]
fn assert_as_before(disk: &Arc<dyn Disk>) {
    let opened = start(disk).expect("a node");
    assert_eq!((opened.identity.node_id, opened.identity.cluster), (OLD, Some(cluster_of(&members()))));
    let recovered = opened.recovered.expect("it has begun");
    assert_eq!((recovered.log.last_index(), recovered.log.commit_index()), (LogIndex(LAST), LogIndex(COMMIT)));
    assert_eq!(recovered.hard_state, HardState { term: Term(9), vote: Some(OLD) });
    assert_eq!(recovered.store.read().expect("nobody panicked").state_hash(), store(COMMIT).state_hash());
}

/// Returns a backup of the state after entry [`LAST`].
fn backup() -> Vec<u8> {
    let (faulty, disk) = disk(1);
    write_snapshot(&disk, 0xfeed, place(LAST, members()), store(LAST)).expect("a disk that works");
    let name = files_present(&*disk).expect("a disk that works").pop().expect("one file");
    faulty.contents(&name).expect("it is there")
}

#[test]
fn a_backup_is_restored_with_all_that_is_in_it() {
    let (_, disk) = disk(1);
    let restored = restore(&disk, &backup()[..], founder()).expect("a whole backup");
    assert_refounded(&disk, Some(&restored), LAST, term(LAST));
    let (_, other) = self::disk(2);
    let again = restore(&other, &backup()[..], Founder { node_id: NodeId(0xd), ..founder() }).expect("a whole backup");
    assert_ne!(again.cluster.id, restored.cluster.id, "two restores are two clusters");
}

#[test]
fn a_power_cut_at_any_step_leaves_nothing_or_the_whole_of_a_restore() {
    let backup = backup();
    let (mut nothing, mut whole) = (0, 0);
    for steps in 0.. {
        let (faulty, disk) = disk(steps);
        faulty.cut_power_after(steps);
        let ended = restore(&disk, &backup[..], founder());
        faulty.crash();
        match restore(&disk, &backup[..], founder()) {
            // The restore starts again.
            Ok(_) => nothing += 1,
            Err(RestoreBackupError::Completed | RestoreBackupError::NotEmpty(_)) => whole += 1,
            Err(other) => panic!("after step {steps}: {other}"),
        }
        assert_refounded(&disk, None, LAST, term(LAST));
        if ended.is_ok() {
            break;
        }
    }
    assert!(nothing > 10 && whole > 5, "{nothing} times nothing, {whole} times the whole");
}

#[test]
fn a_daemon_does_not_begin_without_data_where_a_restore_was_not_decided() {
    let (faulty, disk) = disk(1);
    faulty.cut_power_after(8);
    restore(&disk, &backup()[..], founder()).expect_err("the power is cut");
    faulty.crash();
    let refusal = open::<DataError>(&disk, as_a_daemon(), |_| Ok(())).expect_err("it is unfinished");
    assert!(matches!(refusal, DataError::RestoreUnfinished), "{refusal}");
    restore(&disk, &backup()[..], founder()).expect("a disk that works");
    assert!(start(&disk).is_some());
}

#[test]
fn no_damaged_backup_is_restored_and_no_part_of_one() {
    let whole = backup();
    let (_, disk) = disk(1);
    let mut offsets = BTreeSet::new();
    let mut refused = |bytes: &[u8], what: &str| {
        let refusal = restore(&disk, bytes, founder()).expect_err(what);
        match refusal {
            RestoreBackupError::Damaged { offset, .. } => drop(offsets.insert(offset)),
            RestoreBackupError::NotASnapshot | RestoreBackupError::UnknownVersion { .. } => {}
            other => panic!("{what}: {other}"),
        }
        assert_eq!(files_present(&*disk).expect("a disk that works"), [""; 0], "{what}");
    };
    for position in (0..whole.len()).step_by(7) {
        let mut damaged = whole.clone();
        damaged[position] ^= 1 << (position % 8);
        refused(&damaged, &format!("byte {position} is damaged"));
        refused(&whole[..position], &format!("cut at byte {position}"));
    }
    refused(&[&whole[..], b"x"].concat(), "there is more");
    refused(b"{\"not\":\"a backup\"}, as long as the header of one would be", "another file");
    assert!(offsets.len() > 2, "it says where: {offsets:?}");
    restore(&disk, &whole[..], founder()).expect("the directory is none the worse for it");
}

#[test]
fn errors_of_a_backup_say_what_to_do() {
    let mut newer = backup();
    newer[8] = 2;
    let (_, disk) = disk(1);
    let refusal = restore(&disk, &newer[..], founder()).expect_err("another format");
    assert!(refusal.is_of_backup());
    let says = "it has format version 2, but this kvd reads version 1. Nothing was restored: use the kvd version";
    assert!(refusal.to_string().starts_with(says), "{refusal}");
    let damaged = RestoreBackupError::from(SnapshotError::Damaged { offset: 7, cause: "it is cut short".into() });
    assert!(damaged.to_string().contains("at byte 7") && damaged.to_string().contains("another copy"), "{damaged}");
}

#[test]
fn a_backup_is_restored_into_an_empty_directory_only() {
    for name in ["identity.json", "notes", "before-000000000000000a-identity.json"] {
        let (faulty, disk) = disk(1);
        faulty.set_contents(name, b"something");
        let refusal = restore(&disk, &backup()[..], founder()).expect_err("it is not empty");
        assert!(matches!(&refusal, RestoreBackupError::NotEmpty(found) if found == name), "{refusal}");
        assert!(!refusal.is_of_backup());
        assert_eq!(files_present(&*disk).expect("a disk that works"), [name]);
        assert_eq!(faulty.contents(name).expect("it is there"), b"something");
    }
    let (_, disk) = lost_majority(1);
    restore(&disk, &backup()[..], founder()).expect_err("a node is there");
    assert_as_before(&disk);
}

#[test]
fn a_full_disk_changes_nothing_and_gets_its_space_back() {
    let backup = backup();
    let (faulty, disk) = disk(1);
    faulty.set_capacity_bytes(Some(backup.len() as u64 + 100));
    let refusal = restore(&disk, &backup[..], founder()).expect_err("the log does not fit").to_string();
    assert!(refusal.contains("Nothing was changed") && !refusal.contains("start the node"), "{refusal}");
    let names = disk.list().expect("a disk that works");
    assert_eq!(names.iter().filter(|name| *name != "lock").count(), 0, "{names:?}");
    faulty.set_capacity_bytes(None);
    restore(&disk, &backup[..], founder()).expect("there is room again");

    let (faulty, disk) = lost_majority(1);
    let names = files_present(&*disk).expect("a disk that works");
    let used: usize = names.iter().filter_map(|name| faulty.contents(name)).map(|bytes| bytes.len()).sum();
    faulty.set_capacity_bytes(Some(used as u64 + 1000));
    let refusal = recover(&disk).expect_err("the snapshot does not fit");
    assert!(refusal.contains("Nothing was changed") && !refusal.contains("start the node"), "{refusal}");
    assert_as_before(&disk);
    faulty.set_capacity_bytes(None);
    recover(&disk).expect("there is room again");
}

#[test]
fn a_survivor_is_recovered_with_every_entry_in_its_log() {
    for snapshot in [None, Some(members())] {
        let (_, disk) = disk(1);
        write_survivor(&disk, snapshot, Vec::new());
        let found = survivor(&disk, WAL, CACHE_BYTES).expect("its data is whole");
        assert_eq!(
            (found.last.index, found.last.term, found.commit_index),
            (LogIndex(LAST), term(LAST), LogIndex(COMMIT))
        );
        assert_eq!((found.identity.node_id, found.info.as_ref()), (OLD, Some(&info("node1"))));
        assert_eq!((found.revision(), found.members.voters.len()), (store(LAST).revision(), 3));
        let kept_as = found.kept_as();
        drop(found);
        assert_as_before(&disk);

        let refounded = recover(&disk).expect("a disk that works");
        assert_refounded(&disk, Some(&refounded), LAST, Term(9));
        let names = files_present(&*disk).expect("a disk that works");
        assert!(names.contains(&format!("{kept_as}identity.json")), "{names:?}");
    }
}

#[test]
fn a_power_cut_at_any_step_leaves_what_there_was_or_the_whole_of_a_recovery() {
    let (mut old, mut new) = (0, 0);
    for steps in 0.. {
        let (faulty, disk) = lost_majority(steps);
        faulty.cut_power_after(steps);
        let ended = recover(&disk);
        faulty.crash();
        let found = start(&disk).expect("a node").identity.node_id;
        match found {
            OLD => {
                assert!(ended.is_err(), "it said that it was done");
                assert_as_before(&disk);
                recover(&disk).expect("it can be tried again");
                old += 1;
            }
            _ => new += 1,
        }
        assert_refounded(&disk, None, LAST, Term(9));
        if ended.is_ok() {
            break;
        }
    }
    assert!(old > 20 && new > 5, "{old} times the old, {new} times the new");
}

#[test]
fn a_recovery_that_was_killed_at_any_step_is_completed_by_the_next() {
    let (mut once, mut twice) = (0, 0);
    for steps in 0.. {
        let (faulty, disk) = lost_majority(steps);
        faulty.cut_power_after(steps);
        let ended = recover(&disk);
        faulty.kill();
        // A new cluster can be recovered in turn, with the same data.
        let refounded = recover(&disk).expect("a disk that works");
        let names = files_present(&*disk).expect("a disk that works");
        assert!(names.iter().any(|name| name.starts_with("before-000000000000000a-")), "{names:?}");
        let times = refounded.revision >> 40;
        match times {
            1 => once += 1,
            2 => twice += 1,
            _ => panic!("revision {}", refounded.revision),
        }
        assert_refounded_times(times, &disk, Some(&refounded), LAST, Term(9));
        if ended.is_ok() {
            assert_eq!(times, 2);
            break;
        }
    }
    assert!(once > 0 && twice > 1, "{once} times from the old cluster, {twice} times from the new one");
}

/// The node as a learner, as a removed node, and as one about to be removed, in a change that was not finished.
#[test]
fn the_new_cluster_has_one_voter_whatever_the_last_configuration_was() {
    let of_others = || {
        let others = members().members.into_iter().filter(|(id, _)| *id != OLD);
        Configuration { removed: vec![OLD], ..Configuration::of_voters(others) }
    };
    let learner = || {
        let members = members().members;
        Configuration { members, learners: [(OLD, Goal::Voter)].into(), removed: Vec::new(), ..of_others() }
    };
    let joint = || Configuration { outgoing: members().voters, members: members().members, ..of_others() };
    for (snapshot, configurations, is_known) in [
        (members(), vec![learner()], true),
        (members(), vec![joint()], true),
        (members(), vec![joint(), of_others()], true),
        // The node was removed so long ago that no configuration has its URLs any more, or it does not know yet that it
        // has joined.
        (of_others(), vec![], false),
        (of_others(), vec![joint()], true),
    ] {
        let (_, disk) = disk(1);
        let last = LAST + configurations.len() as u64;
        let latest = configurations.last().unwrap_or(&snapshot).clone();
        write_survivor(&disk, Some(snapshot), configurations);
        let found = survivor(&disk, WAL, CACHE_BYTES).expect("its data is whole");
        assert_eq!((found.members.clone(), found.info.is_some()), (latest.clone(), is_known), "{latest:?}");
        let refounded = found.recover(founder()).expect("a disk that works");
        assert_refounded(&disk, Some(&refounded), last, Term(9));
    }
}

#[test]
fn what_has_diverged_can_be_recovered_all_the_same() {
    let (_, disk) = lost_majority(1);
    let identity = Identity::load(&*disk).expect("it can be read").expect("it is there");
    Identity { diverged_at: Some(LogIndex(50)), ..identity }.save(&*disk).expect("a disk that works");
    let found = survivor(&disk, WAL, CACHE_BYTES).expect("its data is whole");
    assert_eq!(found.identity.diverged_at, Some(LogIndex(50)));
    let refounded = found.recover(founder()).expect("a disk that works");
    assert_refounded(&disk, Some(&refounded), LAST, Term(9));
}

#[test]
fn damaged_data_is_not_recovered() {
    let segment = |names: Vec<String>| names.into_iter().filter(|name| name.starts_with("wal-")).min();
    let (faulty, disk) = lost_majority(1);
    let name = segment(files_present(&*disk).expect("a disk that works")).expect("a log");
    faulty.flip_bit(&name, 200, 3);
    let refusal = recover(&disk).expect_err("it is damaged");
    for said in [&name[..], "damaged at byte", "Nothing was changed", "restore a backup"] {
        assert!(refusal.contains(said), "{said}: {refusal}");
    }
    assert!(!refusal.contains("refuses to start"), "{refusal}");

    let (faulty, disk) = lost_majority(1);
    while let Some(name) = segment(files_present(&*disk).expect("a disk that works")) {
        faulty.lose(&name);
    }
    let refusal = recover(&disk).expect_err("the log is gone");
    assert!(refusal.contains("missing or empty") && refusal.contains("Nothing was changed"), "{refusal}");
}

#[test]
fn the_end_of_a_write_that_never_finished_is_cut_off_and_told_of() {
    let (faulty, disk) = disk(1);
    write_survivor(&disk, None, Vec::new());
    let identity = Identity::load(&*disk).expect("it can be read").expect("it is there");
    let (mut wal, _) = Wal::open(Arc::clone(&disk), WAL, identity.node_id, &mut |_| {}).expect("it is whole");
    for cut_after in 0.. {
        assert!(cut_after < 10, "no cut tore the write");
        faulty.cut_power_after(cut_after);
        let _ = wal
            .append(&[Record::Entry(entry(LAST + 1)), Record::Entry(entry(LAST + 2))])
            .expect_err("the power is cut");
        faulty.crash();
        let found = survivor(&disk, WAL, CACHE_BYTES).expect("its data is whole");
        if found.torn_tail.is_some() {
            assert_eq!(found.last.index, LogIndex(LAST));
            break;
        }
        drop(found);
        wal = Wal::open(Arc::clone(&disk), WAL, identity.node_id, &mut |_| {}).expect("it is whole").0;
    }
}

#[test]
fn where_no_node_was_part_of_a_cluster_there_is_nothing_to_recover() {
    let (_, empty) = disk(1);
    let (_, forming) = disk(2);
    let identity = Identity { node_id: OLD, name: "node1".into(), cluster: None, diverged_at: None };
    identity.save(&*forming).expect("a disk that works");
    let (_, joining) = disk(3);
    let (mut wal, _) = Wal::open(Arc::clone(&joining), WAL, OLD, &mut |_| {}).expect("a disk that works");
    let _ = wal.append(&crate::data::joining_records()).expect("a disk that works");
    Identity { cluster: Some(cluster_of(&members())), ..identity }.save(&*joining).expect("a disk that works");
    for disk in [empty, forming, joining] {
        let refusal = recover(&disk).expect_err("nothing is there");
        assert!(refusal.contains("nothing to recover"), "{refusal}");
    }
}

#[test]
fn a_directory_in_use_is_left_alone() {
    let (_, disk) = lost_majority(1);
    let lock = lock_data_dir(&*disk).expect("nobody has it");
    for refusal in [
        recover(&disk).expect_err("it is in use"),
        restore(&disk, &backup()[..], founder()).expect_err("it is in use").to_string(),
    ] {
        assert!(refusal.contains("in use by another kvd"), "{refusal}");
    }
    drop(lock);
    recover(&disk).expect("it is free");
}
