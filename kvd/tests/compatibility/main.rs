//! Data of a released version stays readable: a data directory and the messages between nodes, recorded in
//! `tests/compatibility`.
//!
//! When a format changes, the new version gets its own recording beside the old one, which stays:
//!
//!     KVD_RECORD_COMPATIBILITY=1 cargo test -p kvd --test compatibility
//!
//! writes a new recording of this version. Do so only for versions that are not released yet; see the README there.

mod messages;

use kvclient::api::HistoryChange;
use kvclient::{Client, Item, LeaseId, Range, SetRequest, Txn};
use kvd::peer::{Hello, decode, encode};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;
use testkit::{Cluster, until};

/// Recordings, by the version of the daemon that made them, oldest first.
const RECORDED: [&str; 2] = ["0.1", "0.1-level-3"];

/// Recorded messages, and the version of the protocol between nodes that they are of, oldest first.
const RECORDED_MESSAGES: [(&str, u32); 2] = [("0.1/messages.txt", 3), ("0.1/messages-protocol-5.txt", 5)];

/// Contents of a recorded data directory, in a file beside it.
#[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
struct Contents {
    revision: u64,
    items: Vec<Item>,
    /// Revisions of the changes of some keys, the newest first.
    #[serde(default)]
    histories: BTreeMap<String, Vec<u64>>,
    /// Leases that were granted, and the number of their keys.
    #[serde(default)]
    leases: BTreeMap<LeaseId, u64>,
    /// Bytes of each file; trailing zeros are not recorded.
    lengths: BTreeMap<String, u64>,
}

fn recording(version: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compatibility").join(version)
}

fn is_recording() -> bool {
    std::env::var_os("KVD_RECORD_COMPATIBILITY").is_some()
}

#[test]
fn a_recorded_data_directory_is_opened_and_served() {
    if is_recording() {
        record_data(&recording(RECORDED[RECORDED.len() - 1]));
    }
    for version in RECORDED {
        let recorded = recording(version);
        let contents = fs::read(recorded.join("contents.json")).expect("a recording");
        let contents: Contents = serde_json::from_slice(&contents).expect("contents");
        let mut cluster = Cluster::prepare(1);
        let dir = cluster[0].data_dir().to_owned();
        fs::create_dir(&dir).expect("a directory");
        for (name, length) in &contents.lengths {
            fs::copy(recorded.join("data").join(name), dir.join(name)).expect("a recorded file");
            let file = File::options().write(true).open(dir.join(name)).expect("the copy");
            file.set_len(*length).expect("room for its zeros");
        }
        cluster[0].start();
        cluster.leader();
        assert_eq!(what_it_holds(&cluster.client(), &contents), contents, "version {version}");
        let health = cluster[0].health().expect("it answers");
        let members: Vec<_> = health.members.iter().map(|member| (member.id.as_str(), member.voter)).collect();
        assert_eq!(members, [("node1", true), ("node2", false)], "version {version}");

        // The node continues from there, and its new writes can be read as well.
        let written = cluster.client().set("written", "later").expect("it serves");
        assert_eq!(written.revision, contents.revision + 1);
        cluster[0].kill();
        cluster[0].start();
        let item = cluster.client().get("written").expect("it serves").expect("the key is there");
        assert_eq!(item.value, b"later");
    }
}

/// Returns the present items of the recorded keys.
fn what_it_holds(client: &Client, contents: &Contents) -> Contents {
    let get = |item: &Item| client.get(&item.key).expect("it serves");
    let items = contents.items.iter().filter_map(get).collect();
    let revision = client
        .status()
        .expect("it answers")
        .iter()
        .filter_map(|node| node.health.as_ref().ok())
        .map(|health| health.revision)
        .max();
    let histories = contents.histories.keys().map(|key| (key.clone(), history(client, key))).collect();
    let leases = contents.leases.keys().filter_map(|id| {
        let lease = client.lease(*id).expect("it serves")?;
        Some((*id, lease.keys))
    });
    let leases = leases.collect();
    Contents { revision: revision.unwrap_or_default(), items, histories, leases, lengths: contents.lengths.clone() }
}

/// Returns the revisions of the changes of a key, the newest first.
fn history(client: &Client, key: &str) -> Vec<u64> {
    client.history(key).expect("it serves").changes.iter().map(HistoryChange::revision).collect()
}

/// Creates a data directory that contains everything: a snapshot and a log after it, all kinds of entries, requests
/// with ids, a deleted key, values that are not text, members that joined; transactions, deleted ranges, leases, a
/// lock, a history.
fn record_data(to: &Path) {
    let mut cluster = Cluster::prepare(1);
    cluster[0].set_flag("--snapshot-log-bytes", "65536");
    cluster.start_all();
    cluster.leader();
    let client = cluster.client();
    for number in 0..20 {
        client.set(format!("key{number:02}"), format!("value {number}")).expect("it serves");
    }
    client.set("bytes", [0, 255, 128]).expect("it serves");
    client.set("gone", "soon").expect("it serves");
    let granted = use_the_data_model(&client, "before");
    let joiner = cluster.prepare_joiner();
    cluster[joiner].add_env("KVD_LEARNER", "true");
    cluster[joiner].start();
    let newest = || {
        let files = fs::read_dir(cluster[0].data_dir()).expect("a directory");
        let names = files.filter_map(|file| file.ok()?.file_name().into_string().ok());
        names.filter(|name| name.ends_with(".snap")).max()
    };
    until("the learner joins", || (cluster[0].health()?.members.len() == 2).then_some(()));
    for number in 0.. {
        if newest().is_some() {
            break;
        }
        client.set("often", format!("{number:>1000}")).expect("it serves");
    }
    client.delete("gone").expect("it serves");
    let granted_later = use_the_data_model(&client, "after");
    let request = kvclient::RequestId { client: "recorder".into(), seq: 7 };
    client.set_with(SetRequest { request: Some(request), ..SetRequest::new("key00", "again") }).expect("it serves");
    for node in &mut cluster.nodes {
        assert_eq!(node.terminate(), Some(0));
    }

    let data = to.join("data");
    let _ = fs::remove_dir_all(to);
    fs::create_dir_all(&data).expect("a directory");
    let mut lengths = BTreeMap::new();
    for file in fs::read_dir(cluster[0].data_dir()).expect("a directory") {
        let file = file.expect("an entry");
        let name = file.file_name().into_string().expect("a name in UTF-8");
        let bytes = fs::read(file.path()).expect("a file");
        let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        fs::write(data.join(&name), &bytes[..end]).expect("a file");
        lengths.insert(name, bytes.len() as u64);
    }
    cluster[0].start();
    cluster.leader();
    let items = client.list(Range::All).items().collect::<Result<_, _>>().expect("it serves");
    let histories = ["gone", "txn/before", "txn/after"].map(|key| (key.to_owned(), Vec::new())).into();
    let leases = [granted, granted_later].map(|lease| (lease, 0)).into();
    let contents = Contents { revision: 0, items, histories, leases, lengths };
    let contents = what_it_holds(&client, &contents);
    let json = serde_json::to_string_pretty(&contents).expect("contents");
    fs::write(to.join("contents.json"), json).expect("a file");
}

/// Writes with everything that data of level 3 can have. Returns a lease that lasts.
fn use_the_data_model(client: &Client, name: &str) -> LeaseId {
    const LONG: Duration = Duration::from_secs(36_000);
    let mut txn = Txn::new();
    txn.when_absent(format!("txn/{name}"));
    let _ = txn.then().set(format!("txn/{name}"), "written as one");
    let _ = txn.then().set(format!("txn/{name}/beside"), "with this");
    assert!(client.commit(txn).expect("it serves").succeeded());
    client.set(format!("range/{name}/1"), "gone soon").expect("it serves");
    client.set(format!("range/{name}/2"), "gone soon").expect("it serves");
    assert_eq!(client.delete_range(Range::prefix(format!("range/{name}/"))).expect("it serves").deleted, 2);
    let lease = client.grant_lease(LONG).expect("it serves").release();
    let owned = SetRequest { lease: Some(lease), ..SetRequest::new(format!("owned/{name}"), "ends with its lease") };
    client.set_with(owned).expect("it serves");
    let ttl_ms = u64::try_from(LONG.as_millis()).ok();
    let mortal = SetRequest { ttl_ms, ..SetRequest::new(format!("mortal/{name}"), "ends by itself") };
    client.set_with(mortal).expect("it serves");
    // Kept when this process is gone.
    std::mem::forget(client.lock(format!("lock/{name}")).ttl(LONG).value("holder").acquire().expect("it is free"));
    lease
}

#[test]
fn recorded_messages_are_understood() {
    if is_recording() {
        let (file, protocol) = RECORDED_MESSAGES[RECORDED_MESSAGES.len() - 1];
        let mut text = format!("{}\n", messages::hello(protocol).to_header());
        for message in &messages::one_of_each(protocol) {
            for byte in &encode(message, protocol)[..] {
                write!(text, "{byte:02x}").expect("memory suffices");
            }
            text.push('\n');
        }
        fs::write(recording(file), text).expect("a file");
    }
    for (file, protocol) in RECORDED_MESSAGES {
        let recorded = fs::read_to_string(recording(file)).expect("a recording");
        let messages = messages::one_of_each(protocol);
        let mut lines = recorded.lines();
        let hello = Hello::from_header(lines.next().expect("a hello")).expect("it is understood");
        assert_eq!(hello, messages::hello(protocol), "{file}");
        let frames: Vec<Vec<u8>> = lines.map(from_hex).collect();
        assert_eq!(frames.len(), messages.len(), "{file}");
        for (frame, message) in frames.iter().zip(&messages) {
            assert_eq!(decode(frame).expect("it is understood"), *message, "{file}");
            assert_eq!(
                encode(message, protocol)[..],
                frame[..],
                "the bytes of a message change with the protocol only"
            );
        }
    }
}

fn from_hex(line: &str) -> Vec<u8> {
    let digits = |at| u8::from_str_radix(&line[at..at + 2], 16).expect("hexadecimal digits");
    (0..line.len()).step_by(2).map(digits).collect()
}
