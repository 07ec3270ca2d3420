//! Nothing leaves a node that its own disk would forget (thesis §3.8), and no disk forgets: what a node finds when it
//! starts is what it was told is durable, with the write that a crash interrupted or without it. That holds of damaged
//! disks too: a node whose damage matters must not start.

use super::super::image::Image;
use super::super::node::Node;
use super::{Checked, ensure};
use kvd::raft::{Body, Message, NodeId};

const NAME: &str = "Durable Promises";
const RESTART: &str = "Durable over Restarts";

/// A message leaves a node.
pub(super) fn check(node: &Node, to: NodeId, Message { term, body }: &Message) -> Checked {
    let (id, durable) = (node.id.0, node.image.hard_state);
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
        // An answer of an earlier term may have waited for the disk, and a leader elected since may have replaced the
        // entries that it names. It is then no other than one that was long on its way.
        let last = node.image.last_index();
        ensure!(NAME, *match_index <= last, "n{id} acknowledges {match_index} with {last} on disk");
    }
    Ok(())
}

/// A node has started, and found this on its disk.
pub(super) fn check_restart(node: &Node, found: &Image) -> Checked {
    let with_unfinished = node.unfinished.as_ref().map(|records| node.image.after(records));
    let holds = *found == node.image || with_unfinished.as_ref() == Some(found);
    let short = |image: &Image| {
        let tail: Vec<_> = image.entries.iter().rev().take(5).rev().map(|(term, _)| term.0).collect();
        format!(
            "{:?}, {} entries (last terms {tail:?}), commit {}",
            image.hard_state,
            image.entries.len(),
            image.commit
        )
    };
    ensure!(
        RESTART,
        holds,
        "n{} finds {}; it was told that {} is durable{}{}",
        node.id.0,
        short(found),
        short(&node.image),
        with_unfinished.map_or_else(String::new, |image| format!(", and may have {}", short(&image))),
        if node.damaged { ". Its disk was damaged" } else { "" }
    );
    Ok(())
}
