//! Founding: at most one cluster is founded, by founders who all begin with one configuration, and a node that lost its
//! data promises nothing under the id that it had.
//!
//! Whoever was the first to write down who the founders are founds the cluster. Nobody else may act upon founders that are
//! not durable there: the first may be started again, and fix others. Nothing is founded over a cluster that somebody
//! remembers, nor with a node that expects data; that runs lose no data of which nobody knows any more is up to them.

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
    /// What it begins with.
    pub(crate) fn founded(&self) -> Option<&Configuration> {
        self.founded.as_ref()
    }

    /// A node has decided who the founders are: by itself, while its peers and it have `said` this last, or as another has
    /// told it.
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

    /// A node has these founders at the beginning of its log, which is durable. Returns whether the cluster is founded by
    /// that.
    pub(crate) fn log_begins(&mut self, id: NodeId, founders: &Configuration) -> Result<bool, Violation> {
        let is_new = self.founded.is_none();
        let founded = self.founded.get_or_insert_with(|| founders.clone());
        ensure!(AGREED, founded == founders, "n{} begins with {founders:?}, and another with {founded:?}", id.0);
        Ok(is_new)
    }

    /// A message leaves a node.
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
