//! One message of each kind, with all its parts.

use bytes::Bytes;
use kvd::peer::{Founder, Hello};
use kvd::raft::{
    BallotId, Body, ClusterTime, Configuration, Entry, Goal, LogIndex, MemberInfo, Message, NodeId, Payload, ReadId,
    Term,
};

fn info(number: u64) -> MemberInfo {
    let url = |host: &str| format!("http://{host}{number}.example:8081");
    MemberInfo { name: format!("node{number}"), client_url: url("client"), peer_url: url("peer") }
}

/// The first version of the protocol in which frames carry cluster time.
const CLUSTER_TIME: u32 = 5;

/// Introduction of a node that speaks versions of the protocol up to this one. Its version numbers describe the
/// recording; this daemon must understand them but need not send them any more.
pub(crate) fn hello(protocol: u32) -> Hello {
    let founders = (1..=3).map(|number| Founder { node: number, info: info(number) }).collect();
    let MemberInfo { name, client_url, peer_url } = info(1);
    Hello {
        protocol,
        protocol_min: 3,
        version: "0.1.0".into(),
        name,
        node: 1,
        client_url,
        peer_url,
        cluster: Some(0x0123_4567_89ab_cdef),
        founders,
        remembers: None,
        expects_data: false,
        incarnation: 0,
        joins: false,
        level: 1,
    }
}

fn entries() -> Vec<Entry> {
    let configuration = Configuration {
        outgoing: [NodeId(1), NodeId(2)].into(),
        learners: [(NodeId(4), Goal::Learner), (NodeId(5), Goal::Voter), (NodeId(6), Goal::Replace(NodeId(2)))].into(),
        members: (1..=6).map(|number| (NodeId(number), info(number))).collect(),
        removed: vec![NodeId(u64::MAX)],
        ..Configuration::of_voters([(NodeId(1), info(1)), (NodeId(3), info(3))])
    };
    let payloads =
        [Payload::Noop, Payload::Command(Bytes::from_static(b"\0command")), Payload::Configuration(configuration)];
    let entry = |(index, payload)| Entry { index, term: Term(300), time: ClusterTime(1 << 40), payload };
    (8..).map(LogIndex).zip(payloads).map(entry).collect()
}

/// One of each kind, in this version of the protocol.
pub(crate) fn one_of_each(protocol: u32) -> Vec<Message> {
    let (last_log_index, last_log_term) = (LogIndex(70_000), Term(299));
    let (read, round) = (ReadId(u64::MAX), 5);
    let time = (protocol >= CLUSTER_TIME).then_some(ClusterTime((1 << 40) + 300));
    let bodies = [
        Body::PreVote { ballot: BallotId(u64::MAX), last_log_index, last_log_term },
        Body::PreVoteResponse { ballot: BallotId(9), asked_in: Term(300), granted: true },
        Body::RequestVote { last_log_index, last_log_term, transfer: true },
        Body::RequestVoteResponse { granted: false },
        Body::AppendEntries {
            prev_log_index: LogIndex(7),
            prev_log_term: Term(2),
            entries: entries(),
            leader_commit: LogIndex(6),
            round,
            time,
        },
        Body::AppendAccepted { match_index: LogIndex(128), round },
        Body::AppendRejected { prev_log_index: LogIndex(9), hint_index: LogIndex(8), hint_term: Term(3), round },
        Body::ReadIndex { read },
        Body::ReadIndexResponse { read, read_index: LogIndex(6), time },
        Body::TimeoutNow,
    ];
    bodies.into_iter().map(|body| Message { term: Term(301), body }).collect()
}
