//! A node whose data differs from that of the other nodes: it has stopped serving, permanently.
//!
//! It neither sends nor answers anything in consensus, so it no longer counts towards a quorum, and tells every caller
//! why. A mark on its disk keeps it from starting again.

use super::refusing::refuse;
use super::shell::Shell;
use crate::node::{AppliedState, Divergence};
use crate::server::error::FatalError;
use crate::server::events::Event;
use crate::server::inbox::{Arrived, Inbox};
use crate::server::state_exchange::StatesEvent;
use crate::storage::StorageError;
use tokio::task::{JoinError, JoinHandle};

/// Advice for the log.
const ONE_STRAYED: &str = "this node stops serving, and the others continue without it while they are a majority. This \
     is a bug in kvd, or a fault of this machine's memory or disk. Stop it, keep its data directory for analysis, and start \
     it with the same flags on an empty one: it rejoins as a new member under its name";
const NOBODY_KNOWS: &str = "this node stops serving, and so do the others. This is a bug in kvd, or a fault of a \
     machine's memory or disk. Keep all data directories, find out which one is right, and make a new cluster from it with \
     `kvd recover`, which the others then join";

/// A node that refuses everything.
#[derive(Debug)]
pub(super) struct Halted {
    /// The node's states when it halted. Nodes that have yet to find out that they differ need these.
    states: Vec<AppliedState>,
    /// Marks the data directory, until that is done. The disk may hang, so nothing waits for the mark before the node
    /// stops.
    marking: Option<JoinHandle<Result<(), StorageError>>>,
}

impl Halted {
    /// Announces that this node has diverged, and starts to mark its data directory.
    pub(super) fn new(shell: &mut Shell, divergence: Divergence, states: Vec<AppliedState>) -> Self {
        let remedy = if divergence.majority.is_some() { ONE_STRAYED } else { NOBODY_KNOWS };
        tracing::error!("this node's data differs from that of the other nodes: {divergence}; {remedy}");
        shell.publisher.diverged(&divergence);
        shell.identity.diverged_at = Some(divergence.own.index);
        Self { states, marking: Some(shell.save_identity()) }
    }

    /// Refuses everything until the node is stopped and the mark is on its disk.
    pub(super) async fn run(mut self, inbox: &mut Inbox) -> Result<(), FatalError> {
        loop {
            let marked = async {
                match &mut self.marking {
                    Some(marking) => marking.await,
                    None => std::future::pending().await,
                }
            };
            let arrived = tokio::select! {
                marked = marked => {
                    self.marking = None;
                    log_unmarked(marked);
                    continue;
                }
                arrived = inbox.next() => arrived?,
            };
            match arrived {
                None => break,
                // The caller may be gone.
                Some(Arrived::Event(Event::States(StatesEvent::Asked(reply)))) => drop(reply.send(self.states.clone())),
                Some(Arrived::Request(request)) => refuse(request),
                // A caller that waits for an answer sees its channel closed.
                Some(Arrived::Event(
                    Event::Log(_)
                    | Event::Snapshots(_)
                    | Event::Founder(..)
                    | Event::Member(..)
                    | Event::Join(_)
                    | Event::States(StatesEvent::Reported(..))
                    | Event::Stopping(_),
                )) => {}
                Some(Arrived::FromPeer(_)) => {}
            }
        }
        if let Some(marking) = self.marking {
            log_unmarked(marking.await);
        }
        Ok(())
    }
}

fn log_unmarked(marked: Result<Result<(), StorageError>, JoinError>) {
    let why = match marked {
        Ok(Ok(())) => return,
        Ok(Err(cause)) => cause.to_string(),
        Err(_) => "a panic, reported above".to_owned(),
    };
    tracing::error!("cannot record that in the data directory, so do not start this node from it again: {why}");
}
