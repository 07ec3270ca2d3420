//! A leader's view of its followers is true: up to its match index, a follower has the leader's entries on its disk;
//! the next index is greater than the match index (paper Figure 2, volatile state on leaders).

use super::super::node::Node;
use super::{Checked, ensure};
use kvd::raft::{NodeId, Raft};
use std::collections::BTreeMap;

const NAME: &str = "Match Index";

/// Checks a leader that has changed.
pub(super) fn check(leader: &Raft, nodes: &BTreeMap<NodeId, Node>) -> Checked {
    for progress in leader.followers() {
        let (id, follower) = (leader.id().0, progress.follower.0);
        let (matched, next) = (progress.match_index, progress.next_index);
        ensure!(NAME, next > matched, "n{id} believes that n{follower} matches up to {matched}, and sends {next} next");
        let Some(node) = nodes.get(&progress.follower) else { continue };
        if node.term() > leader.term() {
            // The follower may have received other entries since.
            continue;
        }
        if matched < leader.log().base().index {
            continue;
        }
        let (held, expected) = (node.image.log().term_at(matched), leader.log().term_at(matched));
        ensure!(
            NAME,
            held == expected,
            "n{id} believes that n{follower} matches up to {matched}, where it has {held:?}"
        );
    }
    Ok(())
}
