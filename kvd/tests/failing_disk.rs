//! Whole nodes on disks that fail under them: errors, no space, calls that never return, and a panic.
//!
//! The nodes run in this process, each on a [`FaultyDisk`], and are driven by the real client. The behaviour of storage
//! on such a disk, call by call, is covered by its own tests. These tests show that the node acts on it: it stops, soon
//! and with the reason, while the other nodes continue with every acknowledged write.

use kvclient::Client;
use kvclient::api::NodeState;
use kvd::config::{Config, Options, VALUE_BYTES_MAX};
use kvd::node::UnreadableEntry;
use kvd::raft::{ClusterTime, Entry, LogIndex, NodeId, Payload, Record, Term};
use kvd::server::{FatalError, STOP_TIME_MAX, Server, StartError, listen};
use kvd::storage::{DirLock, Disk, File, Identity, StorageError, Wal, WalOptions, lock_data_dir};
use std::io;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};
use testkit::faulty_disk::{Call, Fault, FaultyDisk, Seed};
use testkit::{DEADLINE, until};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// Behaviour of the disk on a write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Mood {
    #[default]
    Good,
    /// Writes fail (`EIO`).
    FailsWrites,
    /// Syncs fail (`EIO`).
    FailsSyncs,
    /// Writes wait until the mood changes.
    Hangs,
    /// The code beneath a write has a defect.
    Panics,
    /// The user may not write to the directory.
    Forbids,
}

/// A [`FaultyDisk`] with moods.
#[derive(Clone, Debug)]
struct MoodyDisk {
    disk: FaultyDisk,
    state: Arc<(Mutex<MoodState>, Condvar)>,
}

#[derive(Debug, Default)]
struct MoodState {
    mood: Mood,
    /// Number of writes that wait for the mood to change.
    waiting: usize,
}

impl MoodyDisk {
    fn new() -> Self {
        Self { disk: FaultyDisk::new(Seed(1)), state: Arc::default() }
    }

    fn set_mood(&self, mood: Mood) {
        let (state, changed) = &*self.state;
        state.lock().unwrap().mood = mood;
        changed.notify_all();
    }

    fn mood(&self) -> Mood {
        self.state.0.lock().unwrap().mood
    }

    /// Waits until a write hangs.
    fn wait_until_it_hangs(&self) {
        let (state, changed) = &*self.state;
        let nobody_waits = |state: &mut MoodState| state.waiting == 0;
        let (_state, waited) = changed.wait_timeout_while(state.lock().unwrap(), DEADLINE, nobody_waits).unwrap();
        assert!(!waited.timed_out(), "nothing was written");
    }

    /// Waits while the disk hangs.
    fn before_write(&self) -> io::Result<()> {
        let (state, changed) = &*self.state;
        let mut state = state.lock().unwrap();
        state.waiting += 1;
        changed.notify_all();
        let mut state = changed.wait_while(state, |state| state.mood == Mood::Hangs).unwrap();
        state.waiting -= 1;
        let mood = state.mood;
        drop(state);
        match mood {
            Mood::FailsWrites => Err(device_error()),
            Mood::Panics => panic!("a defect, on purpose"),
            Mood::Good | Mood::FailsSyncs | Mood::Hangs | Mood::Forbids => Ok(()),
        }
    }
}

fn device_error() -> io::Error {
    io::Error::from_raw_os_error(5)
}

impl Disk for MoodyDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
        Ok(Box::new(MoodyFile { file: self.disk.open(name)?, disk: self.clone() }))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn File>> {
        Ok(Box::new(MoodyFile { file: self.disk.create(name)?, disk: self.clone() }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.disk.sync_dir()
    }

    fn try_lock(&self, name: &str) -> io::Result<DirLock> {
        if self.mood() == Mood::Forbids {
            Err(io::ErrorKind::PermissionDenied.into())
        } else {
            self.disk.try_lock(name)
        }
    }
}

#[derive(Debug)]
struct MoodyFile {
    file: Box<dyn File>,
    disk: MoodyDisk,
}

impl File for MoodyFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read_at(offset, buffer)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        self.disk.before_write()?;
        self.file.write_at(offset, bytes)
    }

    fn sync(&self) -> io::Result<()> {
        if self.disk.mood() == Mood::FailsSyncs { Err(device_error()) } else { self.file.sync() }
    }

    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }
}

/// Nodes, each on its own disk. The disks outlive the nodes.
struct Cluster {
    runtime: Runtime,
    disks: Vec<MoodyDisk>,
    /// `None` for a stopped node.
    servers: Vec<Option<Server>>,
    urls: Vec<String>,
}

impl Cluster {
    /// Starts nodes on these disks, which form a cluster or continue theirs.
    fn start(disks: Vec<MoodyDisk>) -> Self {
        let runtime = Runtime::new().unwrap();
        let _context = runtime.enter();
        let listeners: Vec<TcpListener> = disks.iter().map(|_| listener()).collect();
        let urls: Vec<String> = listeners.iter().map(url_of).collect();
        let peers: Vec<String> = urls.iter().zip(1..).map(|(url, number)| format!("node{number}={url}")).collect();
        let start = |(number, (disk, listener)): (usize, (&MoodyDisk, TcpListener))| {
            let config = config(&format!("node{}", number + 1), &listener, &peers);
            let server = runtime.block_on(Server::start_on(config, listener, Arc::new(disk.clone())));
            Some(server.expect("it starts"))
        };
        let servers = disks.iter().zip(listeners).enumerate().map(start).collect();
        Self { runtime, disks, servers, urls }
    }

    fn client(&self) -> Client {
        Client::builder().endpoints(&self.urls).total_timeout(DEADLINE).build().unwrap()
    }

    /// Waits for a leader, and returns its number.
    fn leader(&self) -> usize {
        until("one of them leads", || {
            let health = |url: &String| self.client().health(url).ok();
            self.urls.iter().position(|url| health(url).is_some_and(|health| health.state == NodeState::Leader))
        })
    }

    /// Waits until a node has failed, and stops the rest of it.
    fn failure(&mut self, number: usize) -> FatalError {
        let mut server = self.servers[number].take().expect("a running node");
        let failure = self.runtime.block_on(async {
            let said = tokio::time::timeout(DEADLINE, server.failed()).await.expect("it fails").to_string();
            let failure = server.stop().await.unwrap_err();
            assert_eq!(failure.to_string(), said, "stopping a node that has failed tells the same once more");
            failure
        });
        // A real process would end by now. Here the threads for its disk run on until they notice; the test does not
        // join them, since a disk may hang.
        until("its disk is let go", || lock_data_dir(&self.disks[number]).ok());
        failure
    }

    /// Stops the running nodes, each of which should be healthy.
    fn stop(mut self) -> Vec<MoodyDisk> {
        for server in self.servers.iter_mut().filter_map(Option::take) {
            self.runtime.block_on(server.stop()).expect("a healthy node");
        }
        self.runtime.shutdown_background();
        self.disks
    }
}

fn listener() -> TcpListener {
    listen("127.0.0.1:0".parse().unwrap()).unwrap()
}

fn url_of(listener: &TcpListener) -> String {
    format!("http://{}", listener.local_addr().unwrap())
}

fn config(name: &str, listener: &TcpListener, peers: &[String]) -> Config {
    let address = listener.local_addr().unwrap().to_string();
    let options = Options::new(name, address, peers.to_vec(), "its-disk".into());
    Config::check(options).unwrap()
}

/// Returns the reason why a node on this disk does not start.
fn refusal(disk: impl Disk + 'static) -> StartError {
    let runtime = Runtime::new().unwrap();
    let _context = runtime.enter();
    let listener = listener();
    let config = config("node1", &listener, &[]);
    runtime.block_on(Server::start_on(config, listener, Arc::new(disk))).expect_err("it does not start")
}

fn new_disks(nodes: usize) -> Vec<MoodyDisk> {
    (0..nodes).map(|_| MoodyDisk::new()).collect()
}

/// Writes keys with these numbers.
#[track_caller]
fn write(client: &Client, numbers: std::ops::Range<usize>) {
    for number in numbers {
        client.set(format!("key{number}"), number.to_string()).expect("a majority is well");
    }
}

/// Waits until the node at `url` has all keys with these numbers.
#[track_caller]
fn has_all(client: &Client, url: &str, keys: u64) {
    until(&format!("{url} has {keys} keys"), || client.health(url).ok().filter(|health| health.keys == keys));
}

#[test]
fn when_the_disk_of_the_leader_fails_another_one_leads_and_nothing_acknowledged_is_lost() {
    for mood in [Mood::FailsWrites, Mood::FailsSyncs] {
        let mut cluster = Cluster::start(new_disks(3));
        let client = cluster.client();
        write(&client, 0..20);
        let leader = cluster.leader();
        cluster.disks[leader].set_mood(mood);
        write(&client, 20..40);
        let failure = cluster.failure(leader);
        assert!(matches!(failure, FatalError::Disk { cause: StorageError::Io { .. }, .. }), "{mood:?}: {failure}");
        assert!(failure.to_string().starts_with("--data-dir its-disk: cannot "), "{failure}");
        assert_ne!(cluster.leader(), leader);

        // The power fails everywhere, and the other disks make up for what the failing disk has lost meanwhile.
        let disks = cluster.stop();
        for disk in &disks {
            disk.set_mood(Mood::Good);
            disk.disk.crash();
        }
        let cluster = Cluster::start(disks);
        let client = cluster.client();
        for number in 0..40 {
            let item = client.get(format!("key{number}")).expect("a majority is well").expect("it was acknowledged");
            assert_eq!(item.value, number.to_string().as_bytes());
        }
        for url in &cluster.urls {
            has_all(&client, url, 40);
        }
        cluster.stop();
    }
}

#[test]
fn a_full_disk_ends_the_node_and_space_brings_it_back_with_everything_acknowledged() {
    let mut cluster = Cluster::start(new_disks(1));
    let client = cluster.client();
    client.set("key", "value").expect("there is space");
    // Room for the segments that the log has created ahead of use, and no more.
    cluster.disks[0].disk.set_capacity_bytes(Some(0));
    let value = vec![b'v'; VALUE_BYTES_MAX];
    let hasty = Client::builder().endpoints(&cluster.urls).total_timeout(Duration::from_secs(5)).build().unwrap();
    let acknowledged = (0..64).take_while(|number| hasty.set(format!("key{number}"), &value).is_ok()).count();
    assert!((1..64).contains(&acknowledged), "{acknowledged} writes");
    let failure = cluster.failure(0);
    assert!(failure.to_string().contains("No space left on device"), "{failure}");

    let disks = cluster.stop();
    disks[0].disk.crash();
    disks[0].disk.set_capacity_bytes(None);
    let cluster = Cluster::start(disks);
    let client = cluster.client();
    for number in 0..acknowledged {
        let item = client.get(format!("key{number}")).expect("it serves");
        assert_eq!(item.expect("it was acknowledged").value, value, "key{number}");
    }
    client.set("key", "value").expect("there is space");
    cluster.stop();
}

#[test]
fn a_panic_of_the_thread_that_writes_the_log_ends_the_node() {
    let mut cluster = Cluster::start(new_disks(3));
    let client = cluster.client();
    write(&client, 0..5);
    let leader = cluster.leader();
    cluster.disks[leader].set_mood(Mood::Panics);
    write(&client, 5..10);
    let failure = cluster.failure(leader);
    assert!(matches!(failure, FatalError::Panicked), "{failure}");
    cluster.stop();
}

#[test]
fn a_follower_whose_disk_hangs_delays_nobody_and_stops_in_time_all_the_same() {
    let mut cluster = Cluster::start(new_disks(3));
    let client = cluster.client();
    write(&client, 0..5);
    let (leader, term) = (cluster.leader(), client.leader().expect("one leads").term);
    let [hangs, stops] = [1, 2].map(|other| (leader + other) % 3);

    // A disk that answers again after a while.
    cluster.disks[hangs].set_mood(Mood::Hangs);
    write(&client, 5..50);
    cluster.disks[hangs].wait_until_it_hangs();
    assert_eq!(client.leader().expect("one leads").term, term, "the leader need not change");
    cluster.disks[hangs].set_mood(Mood::Good);
    for url in &cluster.urls {
        has_all(&client, url, 50);
    }

    // A disk that does not.
    cluster.disks[stops].set_mood(Mood::Hangs);
    write(&client, 50..60);
    cluster.disks[stops].wait_until_it_hangs();
    let server = cluster.servers[stops].take().expect("a running node");
    let began = Instant::now();
    let failure = cluster.runtime.block_on(server.stop()).unwrap_err();
    assert!(matches!(failure, FatalError::StopTimedOut), "{failure}");
    assert!(began.elapsed() < STOP_TIME_MAX + Duration::from_secs(5), "{:?}", began.elapsed());
    write(&client, 60..70);

    cluster.disks[stops].set_mood(Mood::Good);
    cluster.stop();
}

#[test]
fn a_node_whose_power_goes_at_any_point_of_its_first_start_begins_well_at_the_next() {
    let mut cuts = 0;
    // The calls from 7 to 20 all fill the first segment with zeros.
    for cut in (0..7).chain(21..46) {
        let disk = MoodyDisk::new();
        disk.disk.cut_power_after(cut);
        let has_ended = first_life(&disk);
        disk.disk.crash();
        // Whatever the cut left behind, the node founds its cluster or finds it again.
        let cluster = Cluster::start(vec![disk]);
        let client = cluster.client();
        client.set("color", "blue").expect("it serves");
        let disks = cluster.stop();
        let identity = Identity::load(&disks[0]).unwrap().expect("an identity");
        assert_eq!(identity.cluster.expect("a cluster").first_members, ["node1"], "power cut after {cut} changes");
        if !has_ended {
            break;
        }
        cuts += 1;
    }
    assert!(cuts > 15, "only {cuts} points were met");
}

/// Starts a single node and waits until it leads; returns whether the power failed before.
fn first_life(disk: &MoodyDisk) -> bool {
    let runtime = Runtime::new().unwrap();
    let _context = runtime.enter();
    let listener = listener();
    let url = url_of(&listener);
    let config = config("node1", &listener, &[]);
    let started = runtime.block_on(Server::start_on(config, listener, Arc::new(disk.clone())));
    let Ok(mut server) = started else { return true };
    let client = Client::connect([url.as_str()]).unwrap();
    let ended = runtime.block_on(async {
        let leads = || client.health(&url).is_ok_and(|health| health.state == NodeState::Leader);
        let serves = async {
            while !tokio::task::block_in_place(leads) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            _ = server.failed() => true,
            () = serves => false,
        }
    });
    // It ends as in a power cut: without notice.
    runtime.shutdown_background();
    ended
}

#[test]
fn a_lost_log_is_refused_however_often_it_is_tried() {
    let cluster = Cluster::start(new_disks(1));
    cluster.client().set("color", "blue").expect("it serves");
    let disk = cluster.stop().remove(0).disk;
    for name in disk.list().unwrap().iter().filter(|name| name.starts_with("wal-")) {
        disk.lose(name);
    }
    for _ in 0..2 {
        let refusal = refusal(disk.clone());
        assert!(matches!(refusal, StartError::LogMissing { .. }), "{refusal}");
    }
}

#[test]
fn a_command_of_a_newer_version_is_refused_with_its_place() {
    let cluster = Cluster::start(new_disks(1));
    cluster.client().set("color", "blue").expect("it serves");
    let disk = cluster.stop().remove(0).disk;
    let node_id: NodeId = Identity::load(&disk).unwrap().expect("an identity").node_id;
    let (mut wal, opened) = Wal::open(Arc::new(disk.clone()), WalOptions::new(1), node_id, &mut |_| {}).unwrap();
    let index: LogIndex = opened.last_index.next();
    // An unknown operation, of a known level.
    let payload = Payload::Command(vec![1, 200].into());
    let entry = Entry { index, term: Term(9), time: ClusterTime(1 << 60), payload };
    wal.append(&[Record::Entry(entry), Record::Commit(index)]).map(drop).unwrap();
    let refusal = refusal(disk);
    let StartError::UnreadableEntry { cause: UnreadableEntry { index: found, .. }, .. } = &refusal else {
        panic!("{refusal}")
    };
    assert_eq!(*found, index);
    assert!(refusal.to_string().contains("newer"), "{refusal}");
}

#[test]
fn a_directory_that_may_not_be_written_is_refused_with_what_to_do() {
    let disk = MoodyDisk::new();
    disk.set_mood(Mood::Forbids);
    let refusal = refusal(disk).to_string();
    assert_eq!(refusal, "--data-dir its-disk: permission denied; the directory must be writable for this user");
}

#[test]
fn a_leader_whose_disk_hangs_transfers_leadership_and_says_that_it_is_not_ready_until_the_disk_answers() {
    let cluster = Cluster::start(new_disks(3));
    let client = cluster.client();
    write(&client, 0..5);
    let hangs = cluster.leader();
    let term = client.leader().expect("one leads").term;
    let readyz =
        || ureq::get(format!("{}/readyz", cluster.urls[hangs])).config().http_status_as_error(false).build().call();

    cluster.disks[hangs].set_mood(Mood::Hangs);
    let mut number = 5;
    let stuck = until("another one leads", || {
        // No write fails meanwhile: two of three disks are a majority.
        write(&client, number..number + 1);
        number += 1;
        client.health(&cluster.urls[hangs]).ok().filter(|health| health.state != NodeState::Leader)
    });
    assert!(stuck.disk_stuck_ms.is_some_and(|ms| ms >= 1_000), "{stuck:?}");
    assert_ne!(cluster.leader(), hangs);
    let leader = client.leader().expect("one leads");
    assert_eq!(leader.term, term + 1, "one election");
    let mut reply = readyz().expect("it answers");
    let text = reply.body_mut().read_to_string().expect("it answers");
    assert!(reply.status().as_u16() == 503 && text.contains("the disk has not completed a write for"), "{text}");
    write(&client, number..number + 20);

    // It returns as a follower, with everything that it missed.
    cluster.disks[hangs].set_mood(Mood::Good);
    has_all(&client, &cluster.urls[hangs], number as u64 + 20);
    let health = client.health(&cluster.urls[hangs]).expect("it answers");
    assert_eq!((health.state, health.disk_stuck_ms), (NodeState::Follower, None));
    until("it is ready", || readyz().ok().filter(|reply| reply.status().as_u16() == 200));
    assert_eq!(client.leader().expect("one leads").term, leader.term, "nobody was deposed");
    cluster.stop();
}

/// Returns a node of whose newest snapshot a backup has just been made.
fn node_with_a_snapshot() -> (Cluster, String) {
    let cluster = Cluster::start(new_disks(1));
    write(&cluster.client(), 0..50);
    back_up(&cluster, 50);
    let name = newest_snapshot(&cluster.disks[0]);
    (cluster, name)
}

fn newest_snapshot(disk: &MoodyDisk) -> String {
    let names = disk.list().unwrap().into_iter().filter(|name| name.ends_with(".snap"));
    names.max().expect("a snapshot")
}

/// Requests a backup, which must have this many keys.
#[track_caller]
fn back_up(cluster: &Cluster, keys: u64) {
    let info = cluster.client().save_snapshot(Vec::new(), |_| {}).expect("a whole backup");
    assert_eq!(info.summary.expect("a known summary").keys, keys);
}

/// Cuts the power, and checks that the node has everything at its next start.
fn starts_again(cluster: Cluster, keys: u64) {
    let disks = cluster.stop();
    disks[0].disk.crash();
    let cluster = Cluster::start(disks);
    has_all(&cluster.client(), &cluster.urls[0], keys);
    write(&cluster.client(), 0..5);
    cluster.stop();
}

#[test]
fn a_backup_that_meets_bit_rot_is_served_from_a_new_snapshot_and_the_node_lives() {
    let (cluster, name) = node_with_a_snapshot();
    let disk = &cluster.disks[0];
    let intact = disk.disk.contents(&name).expect("the snapshot");
    disk.disk.flip_bit(&name, intact.len() as u64 / 2, 3);
    let health = || cluster.client().health(&cluster.urls[0]).expect("it answers");
    assert_eq!(health().snapshots_damaged, 0, "nobody has read it");
    // Nothing has been applied since, so a backup is the newest snapshot, and the next snapshot has the same name.
    back_up(&cluster, 50);
    assert_eq!(health().snapshots_damaged, 1);
    assert!(disk.disk.contents(&name).is_some_and(|bytes| bytes.len() == intact.len()), "it was replaced");
    back_up(&cluster, 50);
    assert_eq!(health().snapshots_damaged, 1, "and by a good one");
    starts_again(cluster, 50);
}

#[test]
fn a_snapshot_that_the_disk_cannot_read_or_has_lost_is_written_anew() {
    for is_there in [true, false] {
        let (cluster, name) = node_with_a_snapshot();
        let disk = &cluster.disks[0];
        if is_there {
            disk.disk.fail_after(Call::Read, 1, Fault::Io);
        } else {
            disk.disk.lose(&name);
        }
        back_up(&cluster, 50);
        assert_eq!(cluster.client().health(&cluster.urls[0]).expect("it answers").snapshots_damaged, 1);
        starts_again(cluster, 50);
    }
}

#[test]
fn without_space_for_another_snapshot_a_node_with_a_damaged_one_goes_on_and_refuses_backups() {
    let (cluster, name) = node_with_a_snapshot();
    let disk = &cluster.disks[0];
    disk.disk.flip_bit(&name, 100, 3);
    disk.disk.set_capacity_bytes(Some(0));
    let refused = cluster.client().save_snapshot_stale(&cluster.urls[0], Vec::new(), |_| {}).unwrap_err();
    assert!(refused.to_string().contains("space"), "{refused}");
    write(&cluster.client(), 0..5);
    disk.disk.set_capacity_bytes(None);
    // A request for a backup triggers another attempt.
    back_up(&cluster, 50);
    starts_again(cluster, 50);
}

#[test]
fn a_write_that_fails_in_place_of_a_damaged_snapshot_ends_the_node_and_the_next_start_refuses_the_damage() {
    let (mut cluster, _) = node_with_a_snapshot();
    // The log only starts behind the snapshot once it begins a new segment.
    let client = cluster.client();
    let value = vec![b'v'; VALUE_BYTES_MAX];
    until("the log goes on behind a snapshot alone", || {
        client.set("large", &value).expect("it serves");
        let names = cluster.disks[0].list().unwrap();
        let first = names.into_iter().filter(|name| name.starts_with("wal-0")).min();
        first.filter(|first| first.as_str() > "wal-0000000000000001.log")
    });
    let name = newest_snapshot(&cluster.disks[0]);
    cluster.disks[0].disk.flip_bit(&name, 100, 3);
    cluster.disks[0].set_mood(Mood::FailsSyncs);
    let _ = cluster.client().save_snapshot_stale(&cluster.urls[0], Vec::new(), |_| {});
    let failure = cluster.failure(0);
    assert!(failure.to_string().contains("cannot sync "), "{failure}");
    let disk = cluster.stop().remove(0);
    disk.set_mood(Mood::Good);
    let refusal = refusal(disk).to_string();
    assert!(refusal.contains(&name) && refusal.contains("is damaged at byte "), "{refusal}");
}
