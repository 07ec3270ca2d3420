//! Any bytes as a peer's data: a frame with a message of consensus, and the introduction before the first frame.

use kvd::peer::{self, HELLO_HEADER, Hello, PROTOCOL_VERSION};
use kvd::raft::{
    Body, ClusterTime, Configuration, Entry, HardState, Instant, Log, LogIndex, MemberInfo, Message, NodeId, Payload,
    Raft, Restored, RoleName, Settings, Term,
};
use std::collections::BTreeMap;

/// Bytes of a frame before the message: version and checksum.
const HEADER_BYTES: usize = 5;

/// Checks any bytes.
pub fn check(bytes: &[u8]) {
    decode(bytes);
    // Few inputs have the right checksum. There is more to check in the code behind it.
    if let Some(message) = bytes.get(HEADER_BYTES..) {
        decode(&[&bytes[..1], &crc32c::crc32c(message).to_le_bytes(), message].concat());
    }
    if let Ok(header) = str::from_utf8(bytes) {
        introduce(header);
    }
}

fn introduce(header: &str) {
    match Hello::from_header(header) {
        Ok(hello) => {
            let again = hello.to_header();
            assert!(again.bytes().all(|byte| matches!(byte, b' '..=b'~')), "no header: {again:?}");
            // Escapes may make it longer than the limit.
            if again.len() <= header.len() {
                assert_eq!(Hello::from_header(&again).as_ref(), Ok(&hello));
            }
        }
        Err(why) => assert!(why.contains(HELLO_HEADER) || why.contains("protocol"), "{why}"),
    }
}

fn decode(frame: &[u8]) {
    match peer::decode(frame) {
        Ok(message) => {
            let checksum = crc32c::crc32c(&frame[HEADER_BYTES..]).to_le_bytes();
            assert!(matches!(frame[0], 1 | 2) && frame[1..HEADER_BYTES] == checksum, "version and checksum");
            assert!(size_of_entries(&message) <= frame.len(), "more in {message:?} than in its frame");
            let again = peer::encode(&message, PROTOCOL_VERSION);
            assert!(again.len() <= frame.len(), "nobody writes it longer than we do");
            assert_eq!(peer::decode(&again).expect("what was encoded is decoded"), message);
            for mut raft in [follower(), leader()] {
                for from in [NodeId(2), NodeId(9)] {
                    hear(&mut raft, from, &message);
                }
            }
        }
        Err(why) => assert!(!why.to_string().is_empty()),
    }
}

fn size_of_entries(message: &Message) -> usize {
    let Body::AppendEntries { entries, .. } = &message.body else { return 0 };
    let payload = |entry: &Entry| match &entry.payload {
        Payload::Noop | Payload::Configuration(_) => 0,
        Payload::Command(command) => command.len(),
    };
    entries.iter().map(payload).sum::<usize>() + entries.len()
}

/// Delivers a message to a node: the node refuses it, or is not harmed by it.
fn hear(raft: &mut Raft, from: NodeId, message: &Message) {
    let committed = raft.log().commit_index();
    if raft.refusal(from, message).is_none() {
        raft.step(from, message.clone());
        settle(raft);
        tick_from(raft, 10_000);
        settle(raft);
    }
    assert!(raft.log().commit_index() >= committed, "what is committed is so for ever");
}

/// Lets more time than any timer waits pass from then on, in steps as of a node that is awake.
fn tick_from(raft: &mut Raft, from_ms: u64) {
    (from_ms..from_ms + 500).step_by(5).for_each(|ms| raft.tick(Instant(ms)));
}

/// Carries out a node's disk effects.
fn settle(raft: &mut Raft) -> Vec<Message> {
    let mut sent = Vec::new();
    loop {
        let effects = raft.effects();
        sent.extend(effects.bulk.into_iter().chain(effects.send).map(|(_, message)| message));
        match effects.write {
            Some(write) => raft.written(write.id),
            None => return sent,
        }
    }
}

/// Returns the first of three nodes, with one committed and one uncommitted entry, in term 2.
fn follower() -> Raft {
    let info = |id: u64| MemberInfo {
        name: format!("node{id}"),
        client_url: format!("http://127.0.0.1:808{id}"),
        peer_url: format!("http://127.0.0.1:808{id}"),
    };
    let configuration = Configuration::of_voters((1..=3).map(|id| (NodeId(id), info(id))));
    let mut log = Log::default();
    for (index, payload) in [(1, Payload::Configuration(configuration.clone())), (2, Payload::Noop)] {
        log.append(Entry { index: LogIndex(index), term: Term(index), time: ClusterTime(5), payload });
        log.set_durable(LogIndex(index));
    }
    log.commit(LogIndex(1));
    log.take_committed(usize::MAX);
    let hard_state = HardState { term: Term(2), vote: Some(NodeId(2)) };
    let configurations = BTreeMap::from([(LogIndex(1), configuration)]);
    Raft::new(NodeId(1), Settings::default(), 7, Restored { hard_state, log, configurations }, Instant(0))
}

/// Returns the same node after its election.
fn leader() -> Raft {
    let mut raft = follower();
    let (asked_in, elected) = (raft.term(), raft.term().next());
    tick_from(&mut raft, 0);
    let asked = settle(&mut raft);
    let ballot = asked.iter().rev().find_map(|message| match message.body {
        Body::PreVote { ballot, .. } => Some(ballot),
        _ => None,
    });
    let ballot = ballot.expect("a follower whose time is up asks for pre-votes");
    let pre_vote = Body::PreVoteResponse { ballot, asked_in, granted: true };
    for (term, body) in [(asked_in, pre_vote), (elected, Body::RequestVoteResponse { granted: true })] {
        raft.step(NodeId(2), Message { term, body });
        let _ = settle(&mut raft);
    }
    assert_eq!(raft.role(), RoleName::Leader);
    raft
}
