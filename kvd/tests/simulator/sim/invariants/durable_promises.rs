//! A node sends no promise that its own disk would forget (thesis §3.8), and no disk forgets: when a node starts, it
//! finds all that was reported durable, with or without the write that a crash interrupted. This holds for damaged
//! disks too: a node whose damage matters must not start.

use super::super::image::{Digest, DiskImage, Found, Image};
use super::super::node::Node;
use super::{Checked, Violation, ensure};
use kvd::raft::{Body, Message, NodeId, Term};

const NAME: &str = "Durable Promises";
const RESTART: &str = "Durable over Restarts";

/// Checks a message that leaves a node.
pub(super) fn check(node: &Node, to: NodeId, Message { term, body }: &Message) -> Checked {
    let (id, durable) = (node.id.0, node.image.log().hard_state);
    ensure!(NAME, durable.term >= *term, "n{id} speaks in term {term} with {durable:?} on disk");
    let voted = match body {
        Body::RequestVote { .. } => Some(node.id),
        Body::RequestVoteResponse { granted: true } => Some(to),
        _ => None,
    };
    if let Some(candidate) = voted {
        let on_disk = durable.term > *term || durable.vote == Some(candidate);
        ensure!(NAME, on_disk, "n{id} votes for n{} in term {term} with {durable:?} on disk", candidate.0);
    }
    if let Body::AppendAccepted { match_index, .. } = body
        && *term == durable.term
    {
        // An answer of an earlier term may have waited for the disk, while a leader elected since replaced the entries
        // that it names. It is then like any message that was in flight for long.
        let last = node.image.log().last_index();
        ensure!(NAME, *match_index <= last, "n{id} acknowledges {match_index} with {last} on disk");
    }
    Ok(())
}

/// Checks what a starting node has found on its disk. Returns the matching image, and whether it contains the write
/// that a crash interrupted.
pub(super) fn check_restart(
    node: &Node,
    found: &Found,
    committed: &[(Term, Digest)],
) -> Result<(DiskImage, bool), Violation> {
    let told = node.image.snapshot();
    // An older snapshot is enough if damage was found in the newest one and the log still has its entries.
    ensure!(
        RESTART,
        found.snapshot.index >= told.index || node.damaged,
        "n{} finds a snapshot up to {}; it was told that one up to {told} is durable",
        node.id.0,
        found.snapshot
    );
    node.image.find(node.unfinished.as_ref(), found, committed).map_err(|expected| {
        let tail = |entries: &[(Term, Digest)]| -> Vec<u64> {
            entries.iter().rev().take(5).rev().map(|(term, _)| term.0).collect()
        };
        let short = |image: &Image| {
            let (last, terms) = (image.last_index(), tail(&image.entries));
            format!("{:?}, entries up to {last} (last terms {terms:?}), commit {}", image.hard_state, image.commit)
        };
        let expected: Vec<String> = expected.iter().map(short).collect();
        let Found { hard_state, first, entries, commit, snapshot } = found;
        let what = format!(
            "n{} finds {hard_state:?}, entries from {first} up to {} (last terms {:?}), commit {commit}, snapshot {snapshot}; \
             expected was {}{}",
            node.id.0,
            found.last_index(),
            tail(entries),
            expected.join(", or "),
            if node.damaged { ". Its disk was damaged" } else { "" }
        );
        Violation { invariant: RESTART, what }
    })
}
