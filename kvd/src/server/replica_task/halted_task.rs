//! A node whose data is found to be other than that of the others stops serving, for good: it sends and answers nothing
//! more in consensus, so that it is counted no more, and says why to whoever asks. A mark on its disk keeps it from
//! starting again.

use super::forming_task::refuse;
use super::{ReadReply, ReplicaTask, WriteReply};
use crate::node::{Divergence, MemberChanges, Replica};
use crate::server::FatalError;
use crate::server::hand_over::HandOvers;
use crate::server::inbox::Event;
use crate::storage::StorageError;
use tokio::sync::oneshot;
use tokio::task::JoinError;

/// What to do about it, for the log.
const ONE_STRAYED: &str = "it stops serving, and the others go on without it as long as they are a majority. This is a defect of \
    kvd, of this machine's memory or of its disk. Stop it, keep its data directory for who looks into that, and start it by \
    the same flags on an empty one: it comes back as a new member in its own place";
const NOBODY_KNOWS: &str = "it stops serving, and so do the others. This is a defect of kvd, or of a machine's memory or disk. Keep all data \
    directories, find out which is right, and make a cluster of one of it with `kvd recover`, which the others join anew";

impl ReplicaTask {
    /// Stops the replica, and answers with refusals until `stop`.
    pub(super) async fn halt(
        &mut self,
        replica: Replica<WriteReply, ReadReply>,
        divergence: Divergence,
        mut stop: oneshot::Receiver<()>,
    ) -> Result<(), FatalError> {
        let remedy = if divergence.majority.is_some() { ONE_STRAYED } else { NOBODY_KNOWS };
        tracing::error!("this node's data has diverged from that of the others: {divergence}; {remedy}");
        self.publisher.diverged(&divergence);
        self.links.clear();
        // Who waits in there would wait for ever.
        self.hand_overs = HandOvers::default();
        self.member_changes = MemberChanges::default();
        // What it would give out is not what it should be, and a follower would make it its own state.
        self.snapshots.end();
        let states = replica.states();
        // What waits in it has an unknown outcome, and is told so.
        drop(replica);
        // So that the next start is refused; it stays halted if that fails. Nobody waits for it: the disk may never do it.
        self.identity.diverged_at = Some(divergence.own.index);
        let mut marking = self.save_identity();
        let mut has_ended = false;
        loop {
            tokio::select! {
                _ = &mut stop => break,
                marked = &mut marking, if !has_ended => {
                    has_ended = true;
                    log_unmarked(marked);
                }
                Some(_) = self.from_peers.recv() => {}
                Some(request) = self.requests.recv() => refuse(request),
                Some(event) = self.events.recv() => match event {
                    Event::DiskFailed(cause) => return Err(self.disk_failed(cause)),
                    Event::WriterPanicked => return Err(FatalError::Panicked),
                    // Those who have yet to find out that they differ need it. Who asks may have gone.
                    Event::StatesAsked(reply) => drop(reply.send(states.clone())),
                    // Whoever waits for an answer sees that there is none.
                    Event::Written(_)
                    | Event::Fetched(..)
                    | Event::LogUnreadable(..)
                    | Event::SnapshotTaken(_)
                    | Event::SnapshotUnreadable(_)
                    | Event::SnapshotSent(..)
                    | Event::SnapshotReceived(..)
                    | Event::Founder(..)
                    | Event::Member(..)
                    | Event::Joining(_)
                    | Event::StatesReported(..)
                    | Event::Stopping(_) => {}
                },
            }
        }
        if !has_ended {
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
    tracing::error!("cannot note that in the data directory, so do not start this node from it again: {why}");
}
