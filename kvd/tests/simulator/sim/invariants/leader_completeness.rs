//! Leader Completeness: if a log entry is committed in a given term, then that entry will be present in the logs of the
//! leaders for all higher-numbered terms (paper Figure 3).

use super::super::image::Image;
use super::super::node::Node;
use super::committed_on_quorum::Committed;
use super::configuration::Configurations;
use super::{Checked, ensure, is_quorum};
use kvd::raft::{LogIndex, NodeId, Raft, Term};
use std::collections::BTreeMap;

const NAME: &str = "Leader Completeness";

/// Checks a newly committed entry: given the disks at this moment, no node that lacks it could be elected. So the
/// mistake of figure 8 shows when it is made, and not only if an election happens to follow.
pub(super) fn check_committed(
    index: LogIndex,
    raft: &Raft,
    nodes: &BTreeMap<NodeId, Node>,
    configurations: &Configurations,
) -> Checked {
    let end = |image: &Image| -> (Term, LogIndex) {
        let last = image.last_index();
        (image.term_at(last).unwrap_or_default(), last)
    };
    let term = raft.log().term_at(index);
    for (id, node) in nodes.iter().filter(|(_, node)| node.image.log().term_at(index) != term) {
        // The rule by which voters judge a candidate's log (paper §5.4.1).
        let would_vote =
            |voter: NodeId| nodes.get(&voter).is_some_and(|voter| end(node.image.log()) >= end(voter.image.log()));
        // It counts votes by the configuration in its own log, and only campaigns if it is a voter in that.
        let of_its_own = configurations.of_image(node.image.log()).filter(|of_its_own| of_its_own.is_voter(*id));
        ensure!(
            NAME,
            !of_its_own.is_some_and(|configuration| is_quorum(configuration, would_vote)),
            "n{} commits {index} of term {}, and n{} could be elected without it",
            raft.id().0,
            term.unwrap_or_default(),
            id.0
        );
    }
    Ok(())
}

/// Checks a node that has been elected.
pub(super) fn check_elected(leader: &Raft, committed: &[Committed]) -> Checked {
    // Entries before the base are in its snapshot, and a snapshot holds only committed entries.
    let base = leader.log().base().index;
    let earlier = (1..).map(LogIndex).zip(committed).filter(|(_, entry)| entry.in_term < leader.term());
    let earlier = earlier.filter(|(index, _)| *index >= base);
    for (index, entry) in earlier {
        ensure!(
            NAME,
            leader.log().term_at(index) == Some(entry.term),
            "n{} leads term {} without entry {index} of term {}, committed in term {}",
            leader.id().0,
            leader.term(),
            entry.term,
            entry.in_term
        );
    }
    Ok(())
}
