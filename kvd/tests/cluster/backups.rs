//! Backups: any node returns the whole store at one revision, while reads and writes continue.

use kvclient::Client;
use kvclient::api::ErrorCode;
use kvclient::snapshot::Summary;
use kvd::kv::{Restoring, Store};
use kvd::storage::snapshot::{Decoder, Part};
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use testkit::{Cluster, Connection, Reply, error_of, until};

/// Bytes of each value of a large backup.
const VALUE_BYTES: usize = 512 << 10;

/// Number of values: more than connections buffer.
const VALUES: usize = 40;

/// Backups that a node sends at the same time.
const BACKUPS_MAX: usize = 4;

/// Returns the store in a backup, after checking every byte.
#[track_caller]
fn restored(reply: &Reply) -> Store {
    assert_eq!(reply.status, 200, "{}", reply.text());
    let mut decoder = Decoder::new();
    decoder.feed(&reply.body);
    let Some(Part::Head(head)) = decoder.next_part().expect("it is undamaged") else { panic!("no beginning") };
    let summary = Summary::decode(&head.summary).expect("a summary");
    assert_eq!(reply.header("x-kvd-revision"), Some(summary.revision.to_string().as_str()));
    let mut restoring = Restoring::new(summary).expect("a possible store");
    while let Some(part) = decoder.next_part().expect("it is undamaged") {
        if let Part::Data(data) = part {
            restoring.piece(&data).expect("it is a store");
        }
    }
    decoder.finish().expect("it is whole");
    restoring.finish().expect("it is the store that was written")
}

fn number(store: &Store, key: &str) -> u64 {
    let item = store.get(key.as_bytes()).unwrap_or_else(|| panic!("there is no {key}"));
    std::str::from_utf8(&item.value).expect("text").parse().expect("a number")
}

/// Stops the writers even if the test fails: the test waits for them.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Writes until told to stop: first `NAME-a`, then the same number to `NAME-b`.
fn write_pairs(client: &Client, name: usize, stop: &AtomicBool) {
    for number in 1.. {
        for half in ["a", "b"] {
            client.set(format!("{name}-{half}"), number.to_string()).expect("a majority is there");
        }
        if stop.load(Ordering::Relaxed) {
            return;
        }
    }
}

fn fill(client: &Client) {
    for number in 0..VALUES {
        client.set(format!("large{number}"), vec![number as u8; VALUE_BYTES]).expect("a majority is there");
    }
}

#[test]
fn a_backup_from_any_node_has_all_that_was_acknowledged_at_one_revision_while_writes_go_on() {
    let cluster = Cluster::start_calm(3);
    let client = cluster.client();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let _stops = StopOnDrop(&stop);
        for name in 0..4 {
            let (client, stop) = (client.clone(), &stop);
            scope.spawn(move || write_pairs(&client, name, stop));
        }
        until("all write", || client.get("3-b").ok().flatten());
        for round in 0..4 {
            for node in &cluster.nodes {
                let written = client.set("before", format!("{round}")).expect("a majority is there");
                let store = restored(&node.get("/snapshot").expect("the node answers"));
                assert!(store.revision() >= written.revision, "{}: {written:?} is not in {store:?}", node.name);
                assert_eq!(number(&store, "before"), round, "{}", node.name);
                for name in 0..4 {
                    let (a, b) = (number(&store, &format!("{name}-a")), number(&store, &format!("{name}-b")));
                    assert!(a == b || a == b + 1, "{}: {a} and {b} were never together", node.name);
                }
            }
        }
    });
    // Nothing has changed since the last backup: the same file is sent, and not written again.
    cluster.converge();
    let backup = || cluster[0].get("/snapshot").expect("the node answers");
    let (first, files) = (backup(), snapshot_files(&cluster));
    assert_eq!((backup().body, snapshot_files(&cluster)), (first.body, files));
}

fn snapshot_files(cluster: &Cluster) -> Vec<String> {
    let entries = fs::read_dir(cluster[0].data_dir()).expect("a data directory");
    let names = entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
    names.filter(|name| name.ends_with(".snap")).collect()
}

#[test]
fn a_node_that_is_cut_off_gives_a_stale_backup_and_no_other() {
    let mut cluster = Cluster::start(3);
    let written = cluster.client().set("color", "blue").expect("a majority is there");
    cluster.converge();
    cluster[0].kill();
    cluster[1].kill();
    let store = restored(&cluster[2].get("/snapshot?consistency=stale").expect("the node answers"));
    assert!(store.revision() >= written.revision);
    assert_eq!(store.get(b"color").expect("it is there").value, "blue");
    let refused = cluster[2].get("/snapshot").expect("the node answers");
    assert!([503, 504].contains(&refused.status), "{} {}", refused.status, refused.text());
}

#[test]
fn clients_that_read_slowly_hold_up_nothing_but_further_backups() {
    let mut cluster = Cluster::prepare(1);
    cluster[0].set_flag("--snapshot-log-bytes", (1 << 20).to_string());
    cluster.start_all();
    cluster.leader();
    let (client, node) = (cluster.client(), &cluster[0]);
    fill(&client);
    // They have received the beginning, and read none of it.
    let mut idle: Vec<Connection> =
        (0..BACKUPS_MAX).map(|_| Connection::open(&node.url()).expect("it listens")).collect();
    idle.iter_mut().for_each(|connection| connection.send("GET /snapshot", &[], b"").expect("a request is sent"));
    let given = || (node.log().matches("sending a backup").count() == BACKUPS_MAX).then_some(());
    until("all are given a backup", given);
    let refused = node.get("/snapshot").expect("the node answers");
    assert_eq!((refused.status, error_of(&refused).code), (429, ErrorCode::Overloaded));
    assert_eq!(refused.header("retry-after"), Some("1"));

    // The node still takes its own snapshots, and deletes older ones.
    let taken = || node.log().matches("snapshot of").count();
    let before = taken();
    client.set("after", "x").expect("it serves");
    (0..2).for_each(|_| fill(&client));
    until("more snapshots are taken", || (taken() > before).then_some(()));
    until("older ones go", || (snapshot_files(&cluster).len() == 1).then_some(()));

    let first = idle.pop().expect("one of them").receive().expect("the rest of it");
    let store = restored(&first);
    assert_eq!((store.len(), store.get(b"after")), (VALUES, None), "as it was at the beginning");
    // Connections that close make room at once.
    drop(idle);
    let store = until("there is room", || {
        let reply = node.get("/snapshot").expect("the node answers");
        (reply.status == 200).then(|| restored(&reply))
    });
    assert_eq!(store.len(), VALUES + 1);
}
