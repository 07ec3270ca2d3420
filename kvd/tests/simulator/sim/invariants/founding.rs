//! Founding: at most one cluster is founded, all its founders begin with the same configuration, and a node that lost
//! its data makes no promise under its old id.
//!
//! The first node to write the list of founders to disk founds the cluster. No other node may act on a list that is not
//! durable there: the first node may restart and fix a different list. No cluster is founded over one that some node
//! remembers, nor with a node that expects data. The runs themselves make sure that they never lose data of which no
//! node knows any more.

use super::super::node::Node;
use super::{Checked, Violation, ensure};
use kvd::peer::Hello;
use kvd::raft::{Body, Configuration, Message, NodeId};

const ONE: &str = "One Cluster";
const DURABLE: &str = "Founders Durable First";
const HELD: &str = "Held for Data";
const AGREED: &str = "One Founding Configuration";
const LOST: &str = "Lost Ids Stay Silent";

/// The cluster that was founded, if any was.
#[derive(Debug, Default)]
pub(crate) struct Founding {
    founded: Option<Configuration>,
}

impl Founding {
    /// Returns the configuration that the cluster began with.
    pub(crate) fn founded(&self) -> Option<&Configuration> {
        self.founded.as_ref()
    }

    /// Checks a node's decision on the founders, made by itself or told by another node. In the first case `said` is
    /// the last introduction of the node and of each peer.
    pub(crate) fn decides<'a>(
        &self,
        id: NodeId,
        founders: &Configuration,
        is_told: bool,
        said: &mut impl Iterator<Item = &'a Hello>,
    ) -> Checked {
        if is_told {
            let founded = &self.founded;
            ensure!(
                DURABLE,
                founded.as_ref() == Some(founders),
                "n{} acts upon {founders:?}, and founded is {founded:?}",
                id.0
            );
            return Ok(());
        }
        let (id, founded) = (id.0, &self.founded);
        ensure!(ONE, founded.is_none(), "n{id} fixes {founders:?}, and founded was {founded:?}");
        let keeps = |hello: &&Hello| hello.expects_data || hello.remembers.is_some() || hello.cluster.is_some();
        match said.find(keeps) {
            Some(hello) => Err(Violation { invariant: HELD, what: format!("n{id} founds, and was told {hello:?}") }),
            None => Ok(()),
        }
    }

    /// Checks a node whose log durably begins with these founders. Returns whether this founds the cluster.
    pub(crate) fn log_begins(&mut self, id: NodeId, founders: &Configuration) -> Result<bool, Violation> {
        let is_new = self.founded.is_none();
        let founded = self.founded.get_or_insert_with(|| founders.clone());
        ensure!(AGREED, founded == founders, "n{} begins with {founders:?}, and another with {founded:?}", id.0);
        Ok(is_new)
    }

    /// Checks a message that leaves a node.
    pub(super) fn message_leaves(node: &Node, message: &Message) -> Checked {
        let promises = match message.body {
            Body::RequestVote { .. } | Body::PreVote { .. } | Body::AppendAccepted { .. } => true,
            Body::RequestVoteResponse { granted } | Body::PreVoteResponse { granted, .. } => granted,
            _ => false,
        };
        ensure!(LOST, !(promises && node.has_lost_disk), "n{} has lost its disk, and sends {message:?}", node.id.0);
        Ok(())
    }
}
