//! Changes of the members on request: who asked waits here until what was asked is so, committed and no longer joint.
//!
//! A request says what is to be, so it is looked at anew whenever the members are settled: if they are as asked it is
//! done, whoever did it; if not, the leader begins the change. One that finds another change under way waits for its turn.
//!
//! A node that comes back without its data, under a new id, asks like any other that joins. Under the name of a voter that
//! is not heard it becomes a learner that is to take that one's place, which consensus does by itself (see
//! [`crate::raft::Goal`]); a learner of its name that is not heard is of a life that got no further, and goes. A name whose
//! bearer is heard is taken.

use crate::http::{ChangeError, MemberChange};
use crate::node::Replica;
use crate::raft::{
    Configuration, Instant, LogIndex, MemberInfo, MembershipChange, MembershipError, NodeId, Raft, RoleName,
};
use kvclient::api::MembersReply;
use std::collections::BTreeSet;
use tokio::sync::oneshot;

/// Where the answer goes.
type Reply = oneshot::Sender<Result<MembersReply, ChangeError>>;

/// Requests that wait. When full, the next is refused.
const WAITING_MAX: usize = 64;

/// Members of a cluster, learners among them. More would not all have a stream to every other.
const MEMBERS_MAX: usize = 48;

/// Everyone who waits.
#[derive(Debug, Default)]
pub(super) struct MemberChanges {
    waiting: Vec<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    change: MemberChange,
    /// The entry by which it began.
    begun: Option<LogIndex>,
    /// This node was to leave and led, so it began to hand leadership over.
    handed_over: bool,
    deadline: Instant,
    reply: Reply,
}

/// Requests that have come to an end.
#[derive(Debug, Default)]
#[must_use]
pub(super) struct Ended(Vec<(Reply, Result<(), ChangeError>)>);

impl MemberChanges {
    /// Takes a request, which has until `deadline`.
    pub(super) fn ask(&mut self, change: MemberChange, deadline: Instant, reply: Reply) {
        if self.waiting.len() >= WAITING_MAX {
            // Nobody waits for an answer if its receiver is gone.
            let _ = reply.send(Err(ChangeError::TooMany));
            return;
        }
        self.waiting.push(Waiting { change, begun: None, handed_over: false, deadline, reply });
    }

    /// Begins what can begin, and returns what is done. To be called before the replica's effects are carried out.
    pub(super) fn go_on<W, R>(&mut self, replica: &mut Replica<W, R>, now: Instant) -> Ended {
        let mut ended = Ended::default();
        for mut waiting in std::mem::take(&mut self.waiting) {
            match waiting.go_on(replica, now) {
                Some(result) => ended.0.push((waiting.reply, result)),
                None => self.waiting.push(waiting),
            }
        }
        ended
    }
}

impl Ended {
    /// Answers, once others can see the outcome too.
    pub(super) fn answer(self, members: impl Fn() -> MembersReply) {
        for (reply, result) in self.0 {
            let _ = reply.send(result.map(|()| members()));
        }
    }
}

impl Waiting {
    /// How it ends, if it does now.
    fn go_on<W, R>(&mut self, replica: &mut Replica<W, R>, now: Instant) -> Option<Result<(), ChangeError>> {
        let raft = replica.raft();
        let leads = raft.role() == RoleName::Leader;
        let is_decided = self.begun.is_none_or(|index| raft.log().commit_index() >= index);
        if !leads && self.handed_over && raft.leader().is_none() && now < self.deadline {
            // In a moment the next one is known, who sees to it.
            return None;
        }
        if !leads && (self.begun.is_none() || is_decided && !self.is_so(raft)) {
            return Some(Err(raft.leader().map_or(ChangeError::NoLeader, |_| ChangeError::NotLeader)));
        }
        if is_decided && raft.are_members_settled() {
            match wanted(&self.change, raft) {
                Ok(None) => return Some(Ok(())),
                Err(ChangeError::UnknownMember(gone)) if self.begun.is_some() && self.is_done_without(&gone) => {
                    return Some(Ok(()));
                }
                Err(refusal) => return Some(Err(refusal)),
                Ok(Some(change)) if self.hands_over(replica, &change) => {}
                Ok(Some(change)) => match replica.change_membership(&change) {
                    Ok(index) => self.begun = Some(index),
                    Err(MembershipError::Busy | MembershipError::NotYetHeard { .. }) => {}
                    Err(error) => return Some(Err(self.refusal(error))),
                },
            }
        }
        if now < self.deadline {
            return None;
        }
        Some(Err(match self.begun {
            Some(_) => ChangeError::OutcomeUnknown,
            None => ChangeError::Refused(
                "another change, of the members or of the leader, is under way, so this one has not begun: see `GET /members`, \
                 and ask again when that is done"
                    .into(),
            ),
        }))
    }

    /// A leader that is to leave hands over first, so that writes go on without an election, and its successor removes it.
    /// If there is none, or it does not take over, the leader sees its own removal through.
    fn hands_over<W, R>(&mut self, replica: &mut Replica<W, R>, change: &MembershipChange) -> bool {
        let is_to_leave = change.remove.contains(&replica.raft().id());
        if !is_to_leave || std::mem::replace(&mut self.handed_over, true) {
            return false;
        }
        replica.hand_over(None).is_ok_and(|hand_over| hand_over.to != replica.raft().id())
    }

    /// Whether a change that has begun is done where there is no member of this name. One that took another's place and
    /// was itself removed since is gone as well; but if the one that was to leave is, and the other still does not vote,
    /// then somebody else removed it.
    fn is_done_without(&self, gone: &str) -> bool {
        match &self.change {
            MemberChange::Remove { .. } => true,
            MemberChange::Replace { new, .. } => new == gone,
            MemberChange::Add { .. } | MemberChange::Promote { .. } => false,
        }
    }

    /// Whether the members are as asked, or still changing.
    fn is_so(&self, raft: &Raft) -> bool {
        !raft.are_members_settled()
            || matches!(wanted(&self.change, raft), Ok(None) | Err(ChangeError::UnknownMember(_)))
    }

    /// Consensus does not begin the change.
    fn refusal(&self, error: MembershipError) -> ChangeError {
        let (MemberChange::Add { name, .. }
        | MemberChange::Promote { name }
        | MemberChange::Remove { name, .. }
        | MemberChange::Replace { new: name, .. }) = &self.change;
        let (leaving, or_force) = match &self.change {
            MemberChange::Replace { old, .. } => (old, ""),
            MemberChange::Add { .. } | MemberChange::Promote { .. } | MemberChange::Remove { .. } => {
                (name, ", or say `force` (kvctl: --force) if you are sure that they come back")
            }
        };
        match error {
            MembershipError::NotLeader { leader } => leader.map_or(ChangeError::NoLeader, |_| ChangeError::NotLeader),
            MembershipError::WasRemoved(_) => ChangeError::WasRemoved(name.clone()),
            MembershipError::NotCaughtUp(_) => ChangeError::Refused(format!(
                "{name} has not caught up yet, and as a voter it could hold up every write: wait until its lag is small (see \
                 `kvctl status`), then ask again"
            )),
            MembershipError::LastVoter => ChangeError::Refused(format!(
                "{name} is the last voter, and without one nothing could be read or written any more: add another node first, \
                 or stop this one to end the cluster"
            )),
            MembershipError::NoQuorum { voters, heard } => ChangeError::Refused(format!(
                "of the {voters} voters that would be left without {leaving} the leader hears {heard}, which is no majority, so \
                 nothing could be written any more: start more of them first{or_force}"
            )),
            MembershipError::Busy
            | MembershipError::NotYetHeard { .. }
            | MembershipError::AlreadyMember(_)
            | MembershipError::NameTaken(_)
            | MembershipError::UnknownMember(_)
            | MembershipError::AlreadyVoter(_) => ChangeError::Refused(format!("{name}: {error}")),
        }
    }
}

/// What has to change for the members to be as asked, if anything.
fn wanted(change: &MemberChange, raft: &Raft) -> Result<Option<MembershipChange>, ChangeError> {
    let configuration = raft.configuration();
    match change {
        MemberChange::Add { node, name, client_url, peer_url, learner, returning } => {
            let (name, client_url, peer_url) = (name.clone(), client_url.clone(), peer_url.clone());
            let info = MemberInfo { name, client_url, peer_url };
            addition(raft, NodeId(*node), info, *learner, *returning)
        }
        MemberChange::Promote { name } => {
            let ids = members_called(configuration, name)?;
            let votes = ids.iter().any(|id| configuration.voters.contains(id));
            Ok((!votes).then(|| MembershipChange { promote: ids, ..MembershipChange::default() }))
        }
        MemberChange::Remove { name, force } => {
            let remove = members_called(configuration, name)?;
            Ok(Some(MembershipChange { remove, force: *force, ..MembershipChange::default() }))
        }
        MemberChange::Replace { old, new } => replacement(configuration, old, new),
    }
}

/// A replacement keeps the number of voters: the learner `new` takes the vote of `old`. So it is done where `old` is no
/// member any more and `new` votes. Where both are members and `new` votes already, to remove `old` would leave one voter
/// fewer, and where `old` does not vote, to promote `new` would leave one more.
fn replacement(configuration: &Configuration, old: &str, new: &str) -> Result<Option<MembershipChange>, ChangeError> {
    let votes = |ids: &BTreeSet<NodeId>| ids.iter().any(|id| configuration.voters.contains(id));
    let promote = members_called(configuration, new)?;
    let remove = match members_called(configuration, old) {
        Err(_) if votes(&promote) => return Ok(None),
        called => called?,
    };
    if votes(&promote) {
        return Err(ChangeError::Refused(format!(
            "{new} votes already, so it cannot take the place of {old}: name a learner. If {old} is merely to go, and the \
             cluster to have fewer voters, remove it (kvctl: member remove {old})"
        )));
    }
    if !votes(&remove) {
        return Err(ChangeError::Refused(format!(
            "{old} does not vote, so there is no vote that {new} could take over. If {old} is to go, remove it (kvctl: member \
             remove {old}); if {new} is to be one more voter, promote it (kvctl: member promote {new})"
        )));
    }
    Ok(Some(MembershipChange { promote, remove, ..MembershipChange::default() }))
}

/// All members of this name: while a node's new life takes the place of its old one, two.
fn members_called(configuration: &Configuration, name: &str) -> Result<BTreeSet<NodeId>, ChangeError> {
    let called = configuration.members.iter().filter(|(_, info)| info.name == name);
    let ids: BTreeSet<NodeId> = called.map(|(id, _)| *id).collect();
    if ids.is_empty() { Err(ChangeError::UnknownMember(name.to_owned())) } else { Ok(ids) }
}

fn addition(
    raft: &Raft,
    id: NodeId,
    info: MemberInfo,
    learner: bool,
    returning: bool,
) -> Result<Option<MembershipChange>, ChangeError> {
    let configuration = raft.configuration();
    let name = &info.name;
    if let Some(known) = configuration.members.get(&id) {
        return if known.name == *name {
            Ok(None)
        } else {
            let known = &known.name;
            Err(ChangeError::Refused(format!(
                "the node with this id is called {known}, not {name}: start it as {known}"
            )))
        };
    }
    if configuration.removed.contains(&id) {
        return Err(ChangeError::WasRemoved(name.clone()));
    }
    match members_called(configuration, name) {
        Err(unknown) if returning => return Err(unknown),
        Err(_) if configuration.members.len() >= MEMBERS_MAX => {
            return Err(ChangeError::Refused(format!(
                "the cluster has {MEMBERS_MAX} members, and can have no more: remove some first"
            )));
        }
        Ok(namesakes) if namesakes.iter().any(|id| !raft.is_silent(*id)) => {
            return Err(ChangeError::Refused(format!(
                "another node called {name} is a member and lives: choose another name for this one, or remove that one \
                 first; if it is the same node and has lost its data, ask again in a moment"
            )));
        }
        Ok(_) | Err(_) => {}
    }
    Ok(Some(MembershipChange::to_join(configuration, id, info, learner)))
}

#[cfg(test)]
mod tests;
