//! Transfer of leadership, on request or because the leader is about to stop. Callers wait here for the outcome.

use super::directory::Directory;
use super::reporter::Reporter;
use crate::http::NotHandedOver;
use crate::node::{HandOver, HandOverError, Replica};
use crate::raft::{NodeId, Settings, TransferRefusal};
use kvclient::api::LeaderReply;
use std::time::Duration;
use tokio::sync::oneshot;

/// A leader that stops waits this many election timeouts for another node to lead. A transfer is given up after one,
/// and if the target was elected only just before, its first message takes a moment to arrive.
const ELECTION_TIMEOUTS: u64 = 2;

/// A leader that stops never waits longer than this, however long election timeouts are. Milliseconds.
pub(super) const HAND_OVER_TIME_MAX_MS: u64 = 3_000;

/// Channel for the answer to a transfer request.
pub(super) type HandOverReply = oneshot::Sender<Result<LeaderReply, NotHandedOver>>;

/// Notice that this node is about to stop: if it leads, it transfers leadership. The sender is dropped once the
/// transfer has ended, or at once if there is nothing to do.
#[derive(Debug)]
pub(super) struct Stopping {
    _over: oneshot::Sender<()>,
}

/// Returns how long a leader that stops waits for another node to lead.
pub(super) fn time_max(settings: &Settings) -> Duration {
    Duration::from_millis((ELECTION_TIMEOUTS * settings.election_timeout_max_ms).min(HAND_OVER_TIME_MAX_MS))
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
pub(super) struct HandOvers {
    waiting: Vec<(HandOver, HandOverReply)>,
    /// The caller that waits to stop this node.
    stopping: Option<(HandOver, Stopping)>,
}

impl HandOvers {
    /// Begins a transfer to the node of this name, or to a node that the replica chooses.
    pub(super) fn begin<W, R>(
        &mut self,
        replica: &mut Replica<W, R>,
        directory: &Directory,
        to: Option<&str>,
        reply: HandOverReply,
    ) {
        let begun = match to.map(|name| directory.id(name)) {
            // A node that does not lead may know fewer members than the leader does.
            Some(None) if replica.raft().leader() == Some(replica.raft().id()) => Err(TransferRefusal::NotMember),
            named => replica.hand_over(named.flatten()),
        };
        match begun {
            Ok(hand_over) => {
                if hand_over.to != replica.raft().id() {
                    tracing::info!("transferring leadership to {}", name(directory, hand_over.to));
                }
                self.waiting.push((hand_over, reply));
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
        self.stopping = replica.hand_over(None).ok().map(|hand_over| {
            tracing::info!("transferring leadership to {} before stopping", name(directory, hand_over.to));
            (hand_over, stopping)
        });
    }

    /// Answers the callers whose transfer has ended.
    pub(super) fn answer<W, R>(&mut self, replica: &Replica<W, R>, directory: &Directory) {
        let ended = self.stopping.take_if(|(hand_over, _)| replica.hand_over_ended(hand_over).is_some());
        if let Some((hand_over, _stopping)) = ended
            && replica.hand_over_ended(&hand_over) == Some(Err(HandOverError::GivenUp))
        {
            let to = name(directory, hand_over.to);
            tracing::warn!(
                "{to} did not take over in time; the others will elect a leader after this node has \
                 stopped"
            );
        }
        let has_ended = |(hand_over, _): &mut (HandOver, _)| replica.hand_over_ended(hand_over).is_some();
        for (hand_over, reply) in self.waiting.extract_if(.., has_ended) {
            let raft = replica.raft();
            let leader = raft.leader().and_then(|leader| directory.node_url(leader));
            let answer = match (replica.hand_over_ended(&hand_over), leader) {
                (None | Some(Ok(())), Some(leader)) => {
                    Ok(LeaderReply { id: leader.id, url: leader.url, term: raft.term().0 })
                }
                (Some(Err(HandOverError::GivenUp)), Some(leader)) => {
                    let to = name(directory, hand_over.to);
                    tracing::warn!("{to} did not take over in time; this node stays leader");
                    Err(NotHandedOver::GivenUp { to, leader: leader.id })
                }
                (Some(Err(HandOverError::OtherElected { leader })), _) => {
                    Err(NotHandedOver::OtherElected { leader: name(directory, leader) })
                }
                (_, None) | (Some(Err(HandOverError::NoLeader)), _) => Err(NotHandedOver::LeaderUnknown),
            };
            let _ = reply.send(answer);
        }
    }
}

fn refused(directory: &Directory, refusal: TransferRefusal) -> NotHandedOver {
    match refusal {
        TransferRefusal::NotLeader { leader: Some(_) } => NotHandedOver::NotLeader,
        TransferRefusal::NotLeader { leader: None } => NotHandedOver::NoLeader,
        TransferRefusal::NotMember => NotHandedOver::UnknownMember,
        TransferRefusal::NotVoter => NotHandedOver::NotVoter,
        TransferRefusal::NoTarget => NotHandedOver::NoTarget,
        TransferRefusal::UnderWay { to } => NotHandedOver::UnderWay { to: name(directory, to) },
    }
}

fn name(directory: &Directory, id: NodeId) -> String {
    directory.info(id).map_or_else(|| format!("the node with id {id}"), |info| info.name.clone())
}
