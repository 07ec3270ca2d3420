//! Transfer of leadership, on request or because the leader is about to stop. Callers wait here for the outcome.

use super::directory::Directory;
use super::reporter::Reporter;
use crate::http::NotTransferred;
use crate::node::{LeadershipTransfer, Replica, TransferError};
use crate::raft::{NodeId, Settings, TransferRefusal};
use kvclient::api::LeaderReply;
use std::time::Duration;
use tokio::sync::oneshot;

/// A leader that stops waits this many election timeouts for another node to lead. A transfer is given up after one,
/// and if the target was elected only just before, its first message takes a moment to arrive.
const ELECTION_TIMEOUTS: u64 = 2;

/// A leader that stops never waits longer than this, however long election timeouts are. Milliseconds.
pub(super) const LEADERSHIP_TRANSFER_TIME_MAX_MS: u64 = 3_000;

/// Channel for the answer to a transfer request.
pub(super) type LeadershipTransferReply = oneshot::Sender<Result<LeaderReply, NotTransferred>>;

/// Notice that this node is about to stop: if it leads, it transfers leadership. The sender is dropped once the
/// transfer has ended, or at once if there is nothing to do.
#[derive(Debug)]
pub(super) struct Stopping {
    _over: oneshot::Sender<()>,
}

/// Returns how long a leader that stops waits for another node to lead.
pub(super) fn time_max(settings: &Settings) -> Duration {
    Duration::from_millis((ELECTION_TIMEOUTS * settings.election_timeout_max_ms).min(LEADERSHIP_TRANSFER_TIME_MAX_MS))
}

/// Transfers leadership before a node stops, if it leads, so that its clients find another leader at once instead of
/// waiting for an election timeout. Returns when the transfer has succeeded or failed, and after `time_max` in any
/// case.
pub(super) async fn before_stop(reporter: &Reporter<Stopping>, time_max: Duration) {
    let (sender, over) = oneshot::channel();
    // A task that has ended drops the report, and then there is nothing to wait for.
    reporter.report(Stopping { _over: sender });
    let _ = tokio::time::timeout(time_max, over).await;
}

/// All transfers that somebody waits for.
#[derive(Debug, Default)]
pub(super) struct LeadershipTransfers {
    waiting: Vec<(LeadershipTransfer, LeadershipTransferReply)>,
    /// The caller that waits to stop this node.
    stopping: Option<(LeadershipTransfer, Stopping)>,
}

impl LeadershipTransfers {
    /// Begins a transfer to the node of this name, or to a node that the replica chooses.
    pub(super) fn begin<W, R>(
        &mut self,
        replica: &mut Replica<W, R>,
        directory: &Directory,
        to: Option<&str>,
        reply: LeadershipTransferReply,
    ) {
        let begun = match to.map(|name| directory.id(name)) {
            // A node that does not lead may know fewer members than the leader does.
            Some(None) if replica.raft().leader() == Some(replica.raft().id()) => Err(TransferRefusal::NotMember),
            named => replica.leadership_transfer(named.flatten()),
        };
        match begun {
            Ok(leadership_transfer) => {
                if leadership_transfer.to != replica.raft().id() {
                    tracing::info!("transferring leadership to {}", name(directory, leadership_transfer.to));
                }
                self.waiting.push((leadership_transfer, reply));
            }
            // If the receiver is gone, nobody waits for the answer.
            Err(refusal) => drop(reply.send(Err(refused(directory, refusal)))),
        }
    }

    /// Begins a transfer because this node is about to stop. A node that does not lead has nothing to transfer, and
    /// without another voter that was heard from there is no target: in both cases `stopping` is dropped at once.
    pub(super) fn begin_to_stop<W, R>(
        &mut self,
        replica: &mut Replica<W, R>,
        directory: &Directory,
        stopping: Stopping,
    ) {
        self.stopping = replica.leadership_transfer(None).ok().map(|leadership_transfer| {
            tracing::info!("transferring leadership to {} before stopping", name(directory, leadership_transfer.to));
            (leadership_transfer, stopping)
        });
    }

    /// Answers the callers whose transfer has ended.
    pub(super) fn answer<W, R>(&mut self, replica: &Replica<W, R>, directory: &Directory) {
        let ended = self
            .stopping
            .take_if(|(leadership_transfer, _)| replica.leadership_transfer_ended(leadership_transfer).is_some());
        if let Some((leadership_transfer, _stopping)) = ended
            && replica.leadership_transfer_ended(&leadership_transfer) == Some(Err(TransferError::GivenUp))
        {
            let to = name(directory, leadership_transfer.to);
            tracing::warn!(
                "{to} did not take over in time; the others will elect a leader after this node has \
                 stopped"
            );
        }
        let has_ended = |(leadership_transfer, _): &mut (LeadershipTransfer, _)| {
            replica.leadership_transfer_ended(leadership_transfer).is_some()
        };
        for (leadership_transfer, reply) in self.waiting.extract_if(.., has_ended) {
            let raft = replica.raft();
            let leader = raft.leader().and_then(|leader| directory.node_url(leader));
            let answer = match (replica.leadership_transfer_ended(&leadership_transfer), leader) {
                (None | Some(Ok(())), Some(leader)) => {
                    Ok(LeaderReply { id: leader.id, url: leader.url, term: raft.term().0 })
                }
                (Some(Err(TransferError::GivenUp)), Some(leader)) => {
                    let to = name(directory, leadership_transfer.to);
                    tracing::warn!("{to} did not take over in time; this node stays leader");
                    Err(NotTransferred::GivenUp { to, leader: leader.id })
                }
                (Some(Err(TransferError::OtherElected { leader })), _) => {
                    Err(NotTransferred::OtherElected { leader: name(directory, leader) })
                }
                (_, None) | (Some(Err(TransferError::NoLeader)), _) => Err(NotTransferred::LeaderUnknown),
            };
            let _ = reply.send(answer);
        }
    }
}

fn refused(directory: &Directory, refusal: TransferRefusal) -> NotTransferred {
    match refusal {
        TransferRefusal::NotLeader { leader: Some(_) } => NotTransferred::NotLeader,
        TransferRefusal::NotLeader { leader: None } => NotTransferred::NoLeader,
        TransferRefusal::NotMember => NotTransferred::UnknownMember,
        TransferRefusal::NotVoter => NotTransferred::NotVoter,
        TransferRefusal::NoTarget => NotTransferred::NoTarget,
        TransferRefusal::UnderWay { to } => NotTransferred::UnderWay { to: name(directory, to) },
    }
}

fn name(directory: &Directory, id: NodeId) -> String {
    directory.info(id).map_or_else(|| format!("the node with id {id}"), |info| info.name.clone())
}
