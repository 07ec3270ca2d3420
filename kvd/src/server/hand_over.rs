//! Leadership handed over on request: who asked waits here for what becomes of it.

use super::directory::Directory;
use crate::http::NotHandedOver;
use crate::node::{HandOver, HandOverError, Replica};
use crate::raft::{NodeId, TransferRefusal};
use kvclient::api::LeaderReply;
use tokio::sync::oneshot;

/// Where the answer goes.
pub(super) type HandOverReply = oneshot::Sender<Result<LeaderReply, NotHandedOver>>;

/// Everyone who waits.
#[derive(Debug, Default)]
pub(super) struct HandOvers {
    waiting: Vec<(HandOver, HandOverReply)>,
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
                    tracing::info!("hands leadership over to {}", name(directory, hand_over.to));
                }
                self.waiting.push((hand_over, reply));
            }
            // Nobody waits for an answer if its receiver is gone.
            Err(refusal) => drop(reply.send(Err(refused(directory, refusal)))),
        }
    }

    /// Answers those whose hand-over has come to an end.
    pub(super) fn answer<W, R>(&mut self, replica: &Replica<W, R>, directory: &Directory) {
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
                    tracing::warn!("{to} did not take over in time, so this node goes on leading");
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
