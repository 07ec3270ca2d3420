//! Data of a released version stays readable: a data directory and the messages between nodes, recorded in
//! `tests/compatibility`.
//!
//! When a format changes, the new version gets its own recording beside the old one, which stays:
//!
//!     KVD_RECORD_COMPATIBILITY=1 cargo test -p kvd --test compatibility
//!
//! writes a new recording of this version. Do so only for versions that are not released yet; see the README there.

mod messages;

use kvclient::{Client, Item, SetRequest};
use kvd::peer::{Hello, PROTOCOL_VERSION, decode, encode};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use testkit::{Cluster, until};

/// Recordings, by the version of the daemon that made them, oldest first.
const RECORDED: [&str; 1] = ["0.1"];

/// Contents of a recorded data directory, in a file beside it.
#[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
struct Contents {
    revision: u64,
    items: Vec<Item>,
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
    Contents { revision: revision.unwrap_or_default(), items, lengths: contents.lengths.clone() }
}

/// Creates a data directory that contains everything: a snapshot and a log after it, all kinds of entries, requests
/// with ids, a deleted key, values that are not text, members that joined.
fn record_data(to: &Path) {
    let mut cluster = Cluster::prepare(1);
    cluster[0].set_flag("--snapshot-log-bytes", "65536");
    cluster.start_all();
    cluster.leader();
    let client = cluster.client();
    for number in 0..20 {
        client.set(&format!("key{number:02}"), format!("value {number}")).expect("it serves");
    }
    client.set("bytes", [0, 255, 128]).expect("it serves");
    client.set("gone", "soon").expect("it serves");
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
    let keys = (0..20).map(|number| format!("key{number:02}")).chain(["bytes", "gone", "often"].map(str::to_owned));
    let items = keys.filter_map(|key| client.get(&key).expect("it serves")).collect();
    let contents = what_it_holds(&client, &Contents { revision: 0, items, lengths });
    let json = serde_json::to_string_pretty(&contents).expect("contents");
    fs::write(to.join("contents.json"), json).expect("a file");
}

#[test]
fn recorded_messages_are_understood() {
    let messages = messages::one_of_each();
    if is_recording() {
        let mut text = format!("{}\n", messages::hello().to_header());
        for message in &messages {
            for byte in &encode(message)[..] {
                write!(text, "{byte:02x}").expect("memory suffices");
            }
            text.push('\n');
        }
        fs::write(recording(RECORDED[RECORDED.len() - 1]).join("messages.txt"), text).expect("a file");
    }
    for version in RECORDED {
        let recorded = fs::read_to_string(recording(version).join("messages.txt")).expect("a recording");
        let mut lines = recorded.lines();
        let hello = Hello::from_header(lines.next().expect("a hello")).expect("it is understood");
        assert_eq!(hello, messages::hello(), "version {version}");
        let frames: Vec<Vec<u8>> = lines.map(from_hex).collect();
        assert_eq!(frames.len(), messages.len(), "version {version}");
        for (frame, message) in frames.iter().zip(&messages) {
            assert_eq!(decode(frame).expect("it is understood"), *message, "version {version}");
            if hello.protocol == PROTOCOL_VERSION {
                assert_eq!(encode(message)[..], frame[..], "the bytes of a message change with the protocol only");
            }
        }
    }
}

fn from_hex(line: &str) -> Vec<u8> {
    let digits = |at| u8::from_str_radix(&line[at..at + 2], 16).expect("hexadecimal digits");
    (0..line.len()).step_by(2).map(digits).collect()
}
