//! Consistency of a message by itself, whatever the state of its receiver. Every working node sends only consistent
//! messages.
//!
//! Consensus relies on this and asserts it, so an inconsistent message is refused on arrival. Checks that depend on the
//! state of the receiver belong to consensus: see [`crate::raft::Raft::refusal`].

use crate::raft::{Body, ClusterTime, Configuration, Entry, LogIndex, Message, Payload, Term};
use std::collections::BTreeSet;

/// Upper bound of terms, indexes, times and rounds, so that consensus can add to them without overflow. At a million a
/// second, reaching it would take a hundred thousand years.
const NUMBER_MAX: u64 = 1 << 62;

/// Checks a message.
///
/// # Errors
/// The defect of the message, as the end of a sentence.
pub(super) fn check(message: &Message) -> Result<(), &'static str> {
    let Message { term, body } = message;
    numbers(&[term.0])?;
    match body {
        Body::PreVote { last_log_index, last_log_term, .. }
        | Body::RequestVote { last_log_index, last_log_term, .. } => position(*last_log_index, *last_log_term, *term),
        Body::PreVoteResponse { ballot: _, asked_in, granted: _ } => numbers(&[asked_in.0]),
        Body::RequestVoteResponse { granted: _ } | Body::TimeoutNow => Ok(()),
        Body::AppendEntries { prev_log_index, prev_log_term, entries, leader_commit, round, time } => {
            numbers(&[leader_commit.0, *round])?;
            position(*prev_log_index, *prev_log_term, *term)?;
            follow_each_other((*prev_log_index, *prev_log_term), entries, *term)?;
            no_earlier_than(entries, *time)
        }
        Body::AppendAccepted { match_index, round } => numbers(&[match_index.0, *round]),
        Body::AppendRejected { prev_log_index, hint_index, hint_term, round } => {
            numbers(&[prev_log_index.0, *round])?;
            position(*hint_index, *hint_term, *term)
        }
        // Any number is a valid id of a question.
        Body::ReadIndex { read: _ } => Ok(()),
        Body::ReadIndexResponse { read: _, read_index, time } => numbers(&[read_index.0, time.unwrap_or_default().0]),
    }
}

fn numbers(numbers: &[u64]) -> Result<(), &'static str> {
    if numbers.iter().all(|number| *number <= NUMBER_MAX) { Ok(()) } else { Err("a number in it is out of range") }
}

/// Checks a position in the log of a node in `sender_term`.
fn position(index: LogIndex, term: Term, sender_term: Term) -> Result<(), &'static str> {
    numbers(&[index.0])?;
    if term > sender_term {
        return Err("its log is ahead of its term");
    }
    if (index == LogIndex(0)) != (term == Term(0)) {
        return Err("only the position before the first entry has term zero");
    }
    Ok(())
}

/// Checks entries that follow `prev` in a log: no gaps, and terms that never go back.
fn follow_each_other(prev: (LogIndex, Term), entries: &[Entry], sender_term: Term) -> Result<(), &'static str> {
    let (mut index, mut term) = prev;
    for Entry { index: entry_index, term: entry_term, time: ClusterTime(time), payload } in entries {
        if *entry_index != index.next() {
            return Err("its entries do not follow each other");
        }
        if *entry_term < term {
            return Err("the terms of its entries go back");
        }
        (index, term) = (*entry_index, *entry_term);
        position(index, term, sender_term)?;
        numbers(&[*time])?;
        if let Payload::Configuration(configuration) = payload {
            members(configuration)?;
        }
    }
    Ok(())
}

/// Checks that a leader's time, if the message has it, is no earlier than its entries.
fn no_earlier_than(entries: &[Entry], time: Option<ClusterTime>) -> Result<(), &'static str> {
    let Some(time) = time else { return Ok(()) };
    numbers(&[time.0])?;
    if entries.iter().any(|entry| entry.time > time) {
        return Err("its entries are ahead of its time");
    }
    Ok(())
}

fn members(configuration: &Configuration) -> Result<(), &'static str> {
    let Configuration { voters, outgoing, learners, members, removed: _ } = configuration;
    if voters.is_empty() {
        return Err("a configuration in it has no voters");
    }
    let parts: BTreeSet<_> = voters.iter().chain(outgoing).chain(learners.keys()).collect();
    if !parts.into_iter().eq(members.keys()) {
        return Err("a configuration in it does not name its members");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::{BallotId, Goal, MemberInfo, NodeId, ReadId};
    use bytes::Bytes;

    fn entry(index: u64, term: u64) -> Entry {
        let payload = Payload::Command(Bytes::from_static(b"set"));
        Entry { index: LogIndex(index), term: Term(term), time: ClusterTime(5), payload }
    }

    fn append(prev: (u64, u64), entries: Vec<Entry>) -> Body {
        let (prev_log_index, prev_log_term) = (LogIndex(prev.0), Term(prev.1));
        Body::AppendEntries {
            prev_log_index,
            prev_log_term,
            entries,
            leader_commit: LogIndex(4),
            round: 1,
            time: Some(ClusterTime(5)),
        }
    }

    fn configure(configuration: Configuration) -> Body {
        append((0, 0), vec![Entry { payload: Payload::Configuration(configuration), ..entry(1, 1) }])
    }

    fn configuration() -> Configuration {
        let info = MemberInfo { name: "n1".into(), client_url: "http://n1".into(), peer_url: "http://n1".into() };
        Configuration::of_voters([(NodeId(1), info)])
    }

    #[test]
    fn what_a_node_says_holds_together() {
        for body in [
            append((0, 0), vec![]),
            append((0, 0), vec![entry(1, 1), entry(2, 1), entry(3, 7)]),
            append((6, 3), vec![entry(7, 3), entry(8, 4)]),
            configure(configuration()),
            Body::RequestVote { last_log_index: LogIndex(9), last_log_term: Term(7), transfer: false },
            Body::AppendRejected {
                prev_log_index: LogIndex(9),
                hint_index: LogIndex(0),
                hint_term: Term(0),
                round: NUMBER_MAX,
            },
        ] {
            assert_eq!(check(&Message { term: Term(7), body: body.clone() }), Ok(()), "{body:?}");
        }
    }

    #[test]
    fn what_no_node_says_is_refused() {
        let huge = NUMBER_MAX + 1;
        let without_voters = Configuration { voters: BTreeSet::new(), ..configuration() };
        let nameless = Configuration { learners: [(NodeId(9), Goal::Voter)].into(), ..configuration() };
        for (body, why) in [
            (append((0, 0), vec![entry(2, 1)]), "follow each other"),
            (append((6, 3), vec![entry(7, 3), entry(7, 3)]), "follow each other"),
            (append((6, 3), vec![entry(8, 3)]), "follow each other"),
            (append((u64::MAX, 3), vec![entry(0, 3)]), "out of range"),
            (append((6, 3), vec![entry(7, 2)]), "go back"),
            (append((6, 3), vec![entry(7, 5), entry(8, 4)]), "go back"),
            (append((6, 3), vec![entry(7, 8)]), "ahead of its term"),
            (append((6, 8), vec![]), "ahead of its term"),
            (append((6, 0), vec![]), "term zero"),
            (append((0, 1), vec![]), "term zero"),
            (append((0, 0), vec![entry(1, 0)]), "term zero"),
            (append((6, 3), vec![Entry { time: ClusterTime(huge), ..entry(7, 3) }]), "out of range"),
            (append((6, 3), vec![Entry { time: ClusterTime(6), ..entry(7, 3) }]), "ahead of its time"),
            (
                Body::ReadIndexResponse { read: ReadId(1), read_index: LogIndex(1), time: Some(ClusterTime(huge)) },
                "out of range",
            ),
            (configure(without_voters), "no voters"),
            (configure(nameless), "does not name its members"),
            (
                Body::PreVote { ballot: BallotId(huge), last_log_index: LogIndex(huge), last_log_term: Term(1) },
                "out of range",
            ),
            (
                Body::RequestVote { last_log_index: LogIndex(3), last_log_term: Term(8), transfer: true },
                "ahead of its term",
            ),
            (Body::AppendAccepted { match_index: LogIndex(huge), round: 0 }, "out of range"),
            (Body::AppendAccepted { match_index: LogIndex(1), round: huge }, "out of range"),
        ] {
            let refusal = check(&Message { term: Term(7), body: body.clone() }).expect_err(why);
            assert!(refusal.contains(why), "{body:?}: {refusal}");
        }
        let body = Body::RequestVoteResponse { granted: true };
        assert!(check(&Message { term: Term(huge), body }).is_err());
    }
}
