//! Notation of scripts for nodes, entries, messages, writes and state.
//!
//! `n1` is the node with id 1. `3@2` is the entry at index 3, of term 2, followed by the proposal, or by nothing for
//! the no-op that opens a term. All output is derived from the public state of the core, never from its logs.

use bytes::Bytes;
use kvd::kv::{Command, Condition, Operation};
use kvd::raft::{
    Body, Configuration, Entry, Goal, HardState, LogBase, LogIndex, LogRestart, LogWrite, Message, NodeId, Payload,
    Raft, Record, RoleName, Term,
};
use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

/// A node's name in scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name(pub NodeId);

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let id = text.strip_prefix('n').and_then(|id| id.parse().ok());
        id.map(|id| Self(NodeId(id))).ok_or_else(|| format!("'{text}' names no node: they are n1, n2, ..."))
    }
}

impl Display for Name {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "n{}", self.0.0)
    }
}

/// Some nodes: `n1 n2`.
#[derive(Clone, Debug, Default)]
pub struct Names(pub Vec<NodeId>);

impl FromStr for Names {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.split_whitespace().map(|word| word.parse().map(|Name(id)| id)).collect::<Result<_, _>>().map(Self)
    }
}

impl Display for Names {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.0.iter().map(|id| Name(*id).to_string()).collect();
        f.write_str(&names.join(" "))
    }
}

/// The terms of a log from its first entry on, as in the paper's figures: `1 1 2`.
#[derive(Clone, Debug, Default)]
pub struct Terms(pub Vec<Term>);

impl FromStr for Terms {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let term = |word: &str| word.parse().map(Term).map_err(|_| format!("'{word}' is no term"));
        text.split_whitespace().map(term).collect::<Result<_, _>>().map(Self)
    }
}

impl Display for Terms {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let terms: Vec<String> = self.0.iter().map(Term::to_string).collect();
        f.write_str(&terms.join(" "))
    }
}

/// Returns the name of a message's body, as in the paper.
pub fn kind(message: &Message) -> &'static str {
    match message.body {
        Body::PreVote { .. } => "PreVote",
        Body::PreVoteResponse { .. } => "PreVoteResponse",
        Body::RequestVote { .. } => "RequestVote",
        Body::RequestVoteResponse { .. } => "RequestVoteResponse",
        Body::AppendEntries { .. } => "AppendEntries",
        Body::AppendAccepted { .. } => "AppendAccepted",
        Body::AppendRejected { .. } => "AppendRejected",
        Body::ReadIndex { .. } => "ReadIndex",
        Body::ReadIndexResponse { .. } => "ReadIndexResponse",
        Body::TimeoutNow => "TimeoutNow",
    }
}

/// `n1 term 2 -> n2: RequestVote, last entry 3@1`
pub fn envelope(from: NodeId, to: NodeId, message: &Message) -> String {
    format!("{} term {} -> {}: {}", Name(from), message.term, Name(to), body(message))
}

fn body(message: &Message) -> String {
    let yes_or_no = |granted: bool| if granted { "granted" } else { "refused" };
    let kind = kind(message);
    match &message.body {
        Body::PreVote { last_log_index, last_log_term, .. } => {
            format!("{kind} for term {}, last entry {}", message.term.next(), at(*last_log_index, *last_log_term))
        }
        Body::PreVoteResponse { asked_in, granted, .. } => {
            format!("PreVote for term {} {}", asked_in.next(), yes_or_no(*granted))
        }
        Body::RequestVote { last_log_index, last_log_term, transfer } => {
            let transfer = if *transfer { " for a transfer" } else { "" };
            format!("{kind}{transfer}, last entry {}", at(*last_log_index, *last_log_term))
        }
        Body::RequestVoteResponse { granted } => format!("RequestVote {}", yes_or_no(*granted)),
        Body::AppendEntries { prev_log_index, prev_log_term, entries, leader_commit, round, time: _ } => {
            let carried = if entries.is_empty() { String::new() } else { format!(", entries {}", list(entries)) };
            let prev = at(*prev_log_index, *prev_log_term);
            format!("{kind} after {prev}{carried}, commit {leader_commit}{}", in_round(*round))
        }
        Body::AppendAccepted { match_index, round } => format!("{kind}, match {match_index}{}", in_round(*round)),
        Body::AppendRejected { prev_log_index, hint_index, hint_term, round } => {
            format!("{kind} after {prev_log_index}, hint {}{}", at(*hint_index, *hint_term), in_round(*round))
        }
        // The numbers of questions are random.
        Body::ReadIndex { .. } | Body::TimeoutNow => kind.to_string(),
        Body::ReadIndexResponse { read_index, .. } => format!("{kind} {read_index}"),
    }
}

/// Rounds of leadership confirmation begin with the first read, and are shown from then on.
fn in_round(round: u64) -> String {
    if round == 0 { String::new() } else { format!(", round {round}") }
}

fn at(index: LogIndex, term: Term) -> String {
    format!("{index}@{term}")
}

/// `2@1, 3@2 x`
pub fn list(entries: &[Entry]) -> String {
    let entries: Vec<String> = entries.iter().map(entry).collect();
    entries.join(", ")
}

fn entry(entry: &Entry) -> String {
    let place = at(entry.index, entry.term);
    match &entry.payload {
        Payload::Noop => place,
        Payload::Command(bytes) => format!("{place} {}", command(bytes)),
        Payload::Configuration(members) => format!("{place} {}", configuration(members)),
    }
}

/// `voters n1 n2 n3`; while joint `voters n1 n2 n4, leaving n1 n2 n3`; with learners `voters n1, learners n2 (to vote)`
pub fn configuration(configuration: &Configuration) -> String {
    let Configuration { voters, outgoing, learners, members: _, removed: _ } = configuration;
    let names = |ids: &std::collections::BTreeSet<NodeId>| Names(ids.iter().copied().collect());
    let mut text = format!("voters {}", names(voters));
    if configuration.is_joint() {
        text += &format!(", leaving {}", names(outgoing));
    }
    let learner = |(id, goal): (&NodeId, &Goal)| match goal {
        Goal::Learner => Name(*id).to_string(),
        Goal::Voter => format!("{} (to vote)", Name(*id)),
        Goal::Replace(old) => format!("{} (for {})", Name(*id), Name(*old)),
    };
    if !learners.is_empty() {
        let learners: Vec<String> = learners.iter().map(learner).collect();
        text += &format!(", learners {}", learners.join(" "));
    }
    text
}

/// `c2#5 set k3=17`, or the text itself if it is not a command of the store.
fn command(bytes: &Bytes) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let Ok(Command { operation, request }) = Command::decode(bytes) else { return text(bytes) };
    let (what, condition) = match operation {
        Operation::Set { put, condition } => (format!("set {}={}", text(&put.key), text(&put.value)), condition),
        Operation::Delete { key, condition, .. } => (format!("delete {}", text(&key)), condition),
        Operation::RaiseLevel { to } => (format!("raise the level to {to}"), None),
        other => (format!("{other:?}"), None),
    };
    let request = request.map_or_else(String::new, |request| format!("{}#{} ", request.client, request.seq));
    let condition = match condition {
        None => String::new(),
        Some(Condition::Absent) => " if absent".to_owned(),
        Some(Condition::Present) => " if present".to_owned(),
        Some(Condition::ModRevision(revision)) => format!(" if at revision {revision}"),
        Some(Condition::Value(value)) => format!(" if {}", text(&value)),
        Some(Condition::Held(held)) => format!(" if {} is held with {}", text(&held.name), held.token),
    };
    format!("{request}{what}{condition}")
}

/// `term 2 vote n1; cut from 3; entry 3@2; commit 2`
pub fn write(write: &LogWrite) -> String {
    let piece = |record: &Record| match record {
        Record::HardState(state) => hard_state(*state),
        Record::Truncate { from } => format!("cut from {from}"),
        Record::Entry(written) => format!("entry {}", entry(written)),
        Record::Commit(index) => format!("commit {index}"),
    };
    let restart = write.restart.map(|LogRestart { base, .. }| format!("anew after {}@{}", base.index, base.term));
    let pieces: Vec<String> = restart.into_iter().chain(write.records.iter().map(piece)).collect();
    pieces.join("; ")
}

/// `term 2 vote n1`
pub fn hard_state(HardState { term, vote }: HardState) -> String {
    format!("term {term} vote {}", vote.map_or_else(|| "-".to_string(), |vote| Name(vote).to_string()))
}

/// `follower of n1`
pub fn role(raft: &Raft) -> String {
    if let Some(to) = raft.transfer_target() {
        return format!("leader, transfers leadership to {}", Name(to));
    }
    match (raft.role(), raft.leader()) {
        (RoleName::Follower, Some(leader)) => format!("follower of {}", Name(leader)),
        (RoleName::Follower, None) => "follower".to_string(),
        (RoleName::PreCandidate, _) => "pre-candidate".to_string(),
        (RoleName::Candidate, _) => "candidate".to_string(),
        (RoleName::Leader, _) => "leader".to_string(),
    }
}

/// `n1 leader          term 2 vote n1  durable 3 commit 3 applied 3  log 1 1 2`, the terms of all entries. If the first
/// entries are gone, `log 2@1 : 2` has one entry of term 2, which follows entry 2 of term 1.
pub fn state(raft: &Raft) -> String {
    let log = raft.log();
    let base = log.base();
    let terms = (base.index.0 + 1..=log.last_index().0).filter_map(|index| log.term_at(LogIndex(index)));
    let gone = if base == LogBase::NONE { String::new() } else { format!("{} : ", at(base.index, base.term)) };
    format!(
        "{} {:<14}  {}  durable {} commit {} applied {}  log {gone}{}",
        Name(raft.id()),
        role(raft),
        hard_state(raft.hard_state()),
        log.durable_index(),
        log.commit_index(),
        log.applied_index(),
        Terms(terms.collect()),
    )
    .trim_end()
    .to_string()
}

/// `n2: match 3, next 4, 0 messages in flight`
pub fn followers(raft: &Raft) -> Vec<String> {
    let line = |progress: kvd::raft::FollowerProgress| {
        let flow = match progress.in_flight {
            None => "probing".to_string(),
            Some(in_flight) => format!("{} in flight", in_flight.messages),
        };
        format!("{}: match {}, next {}, {flow}", Name(progress.follower), progress.match_index, progress.next_index)
    };
    raft.followers().into_iter().map(line).collect()
}
