//! Leadership handed over, on request or since the leader is to stop: who asked waits here for what becomes of it.

use super::directory::Directory;
use super::reporter::Reporter;
use crate::http::NotHandedOver;
use crate::node::{HandOver, HandOverError, Replica};
use crate::raft::{NodeId, Settings, TransferRefusal};
use kvclient::api::LeaderReply;
use std::time::Duration;
use tokio::sync::oneshot;

/// When a leader stops, it waits this many election timeouts for another to lead: a hand-over is given up after one, and
/// where the target was elected as late as that, its first message takes a moment.
const ELECTION_TIMEOUTS: u64 = 2;

/// However long election timeouts are, a leader that stops does not wait longer than this. Milliseconds.
pub(super) const HAND_OVER_TIME_MAX_MS: u64 = 3_000;

/// Where the answer goes.
pub(super) type HandOverReply = oneshot::Sender<Result<LeaderReply, NotHandedOver>>;

/// This node is about to stop: if it leads, it hands over. The sender is dropped once that has come to its end, or at once
/// if there is nothing to do.
#[derive(Debug)]
pub(super) struct Stopping {
    _over: oneshot::Sender<()>,
}

/// How long a leader that stops waits for another to lead.
pub(super) fn time_max(settings: &Settings) -> Duration {
    Duration::from_millis((ELECTION_TIMEOUTS * settings.election_timeout_max_ms).min(HAND_OVER_TIME_MAX_MS))
}

/// Hands leadership over before a node stops, if it leads: so its clients find another leader at once, and need not
/// wait for an election timeout. Returns when that has come to its end, whichever, and after `time_max` in any case.
pub(super) async fn before_stop(reporter: &Reporter<Stopping>, time_max: Duration) {
    let (sender, over) = oneshot::channel();
    // A task that has ended drops what it is told, and then there is nothing to wait for.
    reporter.report(Stopping { _over: sender });
    let _ = tokio::time::timeout(time_max, over).await;
}

/// Everyone who waits.
#[derive(Debug, Default)]
pub(super) struct HandOvers {
    waiting: Vec<(HandOver, HandOverReply)>,
    /// Whoever waits to stop this node.
    stopping: Option<(HandOver, Stopping)>,
}

impl HandOvers {
    /// Begins to hand over to the node of this name, or to whom the replica chooses.
    pub(super) fn begin<W, R>(
        &mut self,
        replica: &mut Replica<W, R>,
        directory: &Directory,
        to: Option<&str>,
        reply: HandOverReply,
    ) {
        let begun = match to.map(|name| directory.id(name)) {
            // Who does not lead may know fewer members than who does.
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
            // Nobody waits for an answer if its receiver is gone.
            Err(refusal) => drop(reply.send(Err(refused(directory, refusal)))),
        }
    }

    /// Begins to hand over since this node is to stop. Who does not lead has nothing to hand over, and without another
    /// voter that was heard there is nobody to wait for: then `stopping` is dropped at once.
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

    /// Answers those whose hand-over has come to an end.
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
