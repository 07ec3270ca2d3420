//! Membership changes on request: a request waits here until the members are as it asks, committed and no longer joint.
//!
//! A request states the desired result, so it is evaluated again whenever the members are settled. If the members are
//! as requested it is done, whichever node made the change; otherwise the leader begins the change. A request that
//! finds another change in progress waits for its turn.
//!
//! Requests name nodes, and a name may pass to another node while a request waits: a node that has lost its disk comes
//! back under its name, with a new id. So the ids that a request means are fixed when it is first evaluated
//! ([`Meant`]). A removal that is retried after changes of leader must not remove the next incarnation of a node when
//! the request meant the previous one, which is gone by then.
//!
//! The outcome of a change depends on its entry, as for a write. If that very entry is committed, the change is done,
//! whichever node leads. If another entry is committed in its place, the change has not happened and never will (paper
//! §5.4.3).
//!
//! The answers "nothing to do" and "no such member" come from the leader's configuration. A deposed leader has an old
//! one, so these answers are given only once a round of heartbeats has shown that this node still leads; see
//! [`super::leadership`].
//!
//! A node that comes back without its data, under a new id, asks like any other node that joins. If a voter of its name
//! is not heard, the node becomes a learner with the goal to replace that voter, which consensus then does by itself
//! (see [`crate::raft::Goal`]). A learner of its name that is not heard belongs to an incarnation that never became a
//! voter, and is removed. If a member of its name is heard, the name is taken.

mod change;
mod meant;

pub use change::{ChangeError, MemberChange};
pub use meant::MEMBERS_MAX;

use super::leadership::LeadershipProof;
use super::replica::Replica;
use crate::kv::Level;
use crate::mutants::{self, Mutant};
use crate::raft::{Instant, LogIndex, MembershipChange, MembershipError, RoleName, Term};
use meant::{Meant, wanted};

/// Most requests that wait. When full, the next is refused.
const WAITING_MAX: usize = 64;

/// The requests that wait. `H` is the caller's handle on a request, returned with its result.
#[derive(Debug)]
pub struct MemberChanges<H> {
    waiting: Vec<Waiting<H>>,
}

#[derive(Debug)]
struct Waiting<H> {
    change: MemberChange,
    /// The nodes that the request means, fixed when it is first evaluated, or that no such node exists: a node that
    /// takes the name later is not meant.
    meant: Option<Result<Meant, ChangeError>>,
    /// The entry with which the change began.
    begun: Option<(LogIndex, Term)>,
    /// Set if nothing has to be done, provided that this node still leads.
    proof: Option<LeadershipProof>,
    /// This node led and was to be removed, so it began to transfer leadership.
    transferred: bool,
    /// The error that has kept the change from beginning.
    held_up: Option<MembershipError>,
    deadline: Instant,
    handle: H,
}

impl<H> Default for MemberChanges<H> {
    fn default() -> Self {
        Self { waiting: Vec::new() }
    }
}

impl<H> MemberChanges<H> {
    /// Accepts a request with this deadline.
    ///
    /// # Errors
    /// The handle, if too many requests wait already: [`ChangeError::TooMany`].
    pub fn ask(&mut self, change: MemberChange, deadline: Instant, handle: H) -> Result<(), H> {
        if self.waiting.len() >= WAITING_MAX {
            return Err(handle);
        }
        self.waiting.push(Waiting {
            change,
            meant: None,
            begun: None,
            proof: None,
            transferred: false,
            held_up: None,
            deadline,
            handle,
        });
        Ok(())
    }

    /// The waiting requests in order of arrival, and the entry with which each has begun.
    pub fn waiting(&self) -> impl Iterator<Item = (&H, &MemberChange, Option<(LogIndex, Term)>)> {
        self.waiting.iter().map(|waiting| (&waiting.handle, &waiting.change, waiting.begun))
    }

    /// Forgets the requests that no client waits for any longer, unless they have begun: an abandoned request must not
    /// be carried out unseen.
    pub fn forget(&mut self, is_given_up: impl Fn(&H) -> bool) {
        self.waiting.retain(|waiting| waiting.begun.is_some() || !is_given_up(&waiting.handle));
    }

    /// Begins the changes that can begin, and returns the handles that have an answer. Call this before executing the
    /// replica's effects, and send the answers afterwards, once other nodes can see the outcome too.
    #[must_use]
    pub fn go_on<W, R>(&mut self, replica: &mut Replica<W, R>, now: Instant) -> Vec<(H, Result<(), ChangeError>)> {
        let mut ended = Vec::new();
        for mut waiting in std::mem::take(&mut self.waiting) {
            match waiting.go_on(replica, now) {
                Some(result) => ended.push((waiting.handle, result)),
                None => self.waiting.push(waiting),
            }
        }
        ended
    }
}

impl<H> Waiting<H> {
    /// Continues a request, and returns its result if it ends now.
    fn go_on<W, R>(&mut self, replica: &mut Replica<W, R>, now: Instant) -> Option<Result<(), ChangeError>> {
        if let Some(result) = self.outcome(replica) {
            return Some(result);
        }
        let raft = replica.raft();
        let leads = raft.role() == RoleName::Leader;
        if !leads && self.begun.is_none() {
            if self.transferred && raft.leader().is_none() && now < self.deadline {
                // The next leader will be known in a moment, and makes the change.
                return None;
            }
            return Some(Err(raft.leader().map_or(ChangeError::NoLeader, |_| ChangeError::NotLeader)));
        }
        if leads && self.begun.is_none() && raft.are_members_settled() {
            let is_deposed = self.proof.is_some_and(|proof| replica.is_proven(&proof) == Some(false));
            if is_deposed && self.meant.as_ref().is_some_and(Result::is_err) {
                // It leads again, and whether the name was unused at that time is unknown: another node may have led
                // then.
                return Some(Err(ChangeError::NoLeader));
            }
            match self.wanted(replica) {
                Ok(Some(_)) if let Some(refusal) = self.lacks_level(replica) => return Some(Err(refusal)),
                Ok(Some(change)) if self.transfers_leadership(replica, &change) => {}
                Ok(Some(change)) => match replica.change_membership(&change) {
                    Ok(index) => self.begun = Some((index, replica.raft().term())),
                    Err(error @ (MembershipError::Busy | MembershipError::NotYetHeard { .. })) => {
                        self.held_up = Some(error)
                    }
                    Err(error) => return Some(Err(self.refusal(error))),
                },
                Ok(None) if self.is_present(replica) => return Some(Ok(())),
                Err(refusal) if self.is_present(replica) => return Some(Err(refusal)),
                Ok(None) | Err(_) => {}
            }
        }
        if now < self.deadline {
            return None;
        }
        Some(Err(match (self.begun, self.proof) {
            (Some(_), _) => ChangeError::OutcomeUnknown,
            // No quorum has confirmed that this node still leads.
            (None, Some(_)) => ChangeError::NoLeader,
            (None, None) if let Some(error @ MembershipError::NotYetHeard { .. }) = self.held_up.take() => {
                self.refusal(error)
            }
            (None, None) => ChangeError::Refused(
                "another membership change or leadership transfer is in progress, so this change was not started: \
                 check `GET /members`, and try again when it is done"
                    .into(),
            ),
        }))
    }

    /// Returns the result of a change that has begun, if known. A change that has not happened and never will counts as
    /// not begun.
    fn outcome<W, R>(&mut self, replica: &Replica<W, R>) -> Option<Result<(), ChangeError>> {
        let (index, term) = self.begun?;
        let (raft, log) = (replica.raft(), replica.raft().log());
        if log.commit_index() < index {
            return None;
        }
        match log.term_at(index) {
            // If it was joint, the new configuration follows, whichever node leads.
            Some(committed) if committed == term => raft.are_members_settled().then_some(Ok(())),
            Some(_) => {
                self.begun = None;
                None
            }
            // A snapshot has replaced its entry, and contains only the resulting members.
            None if !raft.are_members_settled() => None,
            None => match self.wanted(replica) {
                Ok(None) => Some(Ok(())),
                Ok(Some(_)) | Err(_) => Some(Err(ChangeError::OutcomeUnknown)),
            },
        }
    }

    /// Returns the change that makes the members as asked, if any is left to make.
    fn wanted<W, R>(&mut self, replica: &Replica<W, R>) -> Result<Option<MembershipChange>, ChangeError> {
        if self.meant.is_none() || mutants::is_on(Mutant::NameResolvedAnew) {
            self.meant = Some(Meant::by(&self.change, replica.raft().configuration()));
        }
        let meant = self.meant.as_ref().expect("it was looked up just now").as_ref().map_err(Clone::clone)?;
        wanted(&self.change, meant, replica.raft())
    }

    /// Returns an error if the node to be added supports too low a level to apply the entries in the log.
    fn lacks_level<W, R>(&self, replica: &Replica<W, R>) -> Option<ChangeError> {
        let MemberChange::Add { name, level, .. } = &self.change else { return None };
        let needed = replica.lacks_level(Level(*level))?;
        Some(ChangeError::Refused(format!(
            "{name} supports levels up to {level}, but this cluster is at level {needed}: upgrade the kvd of {name} \
             first"
        )))
    }

    /// Returns true if this node's configuration was current at a moment since the request came, rather than left over
    /// from before it was deposed.
    fn is_present<W, R>(&mut self, replica: &mut Replica<W, R>) -> bool {
        if mutants::is_on(Mutant::DoneWithoutRound) {
            return true;
        }
        match self.proof.map(|proof| replica.is_proven(&proof)) {
            Some(Some(true)) => true,
            Some(None) => false,
            // There is no proof yet, or it was for another term.
            None | Some(Some(false)) => {
                self.proof = Some(replica.prove_leadership());
                false
            }
        }
    }

    /// Makes a leader that is to be removed transfer leadership first, so that writes continue without an election, and
    /// its successor removes it. If there is no target, or it does not take over, the leader completes its own removal.
    fn transfers_leadership<W, R>(&mut self, replica: &mut Replica<W, R>, change: &MembershipChange) -> bool {
        let is_to_leave = change.remove.contains(&replica.raft().id());
        if !is_to_leave || std::mem::replace(&mut self.transferred, true) {
            return false;
        }
        replica.leadership_transfer(None).is_ok_and(|leadership_transfer| leadership_transfer.to != replica.raft().id())
    }

    /// Returns the answer for a change that consensus refuses to begin.
    fn refusal(&self, error: MembershipError) -> ChangeError {
        let (MemberChange::Add { name, .. }
        | MemberChange::Promote { name }
        | MemberChange::Remove { name, .. }
        | MemberChange::Replace { new: name, .. }
        | MemberChange::Update { name, .. }) = &self.change;
        let (leaving, or_force) = match &self.change {
            MemberChange::Replace { old, .. } => (old, ""),
            MemberChange::Update { .. } => (name, ""),
            MemberChange::Add { .. } | MemberChange::Promote { .. } | MemberChange::Remove { .. } => {
                (name, ", or use `force` (kvctl: --force) if you are sure that they will come back")
            }
        };
        match error {
            MembershipError::NotLeader { leader } => leader.map_or(ChangeError::NoLeader, |_| ChangeError::NotLeader),
            MembershipError::WasRemoved(_) => ChangeError::WasRemoved(name.clone()),
            MembershipError::NotCaughtUp(_) => ChangeError::Refused(format!(
                "{name} has not caught up yet, and as a voter it could delay every write: wait until its lag is small \
                 (see `kvctl status`), then try again"
            )),
            MembershipError::LastVoter => ChangeError::Refused(format!(
                "{name} is the last voter, and a cluster without voters cannot serve: add another node first, or stop \
                 this one to end the cluster"
            )),
            MembershipError::NoQuorum { voters, heard } => ChangeError::Refused(format!(
                "without {leaving}, {voters} voters would remain, and the leader hears from {heard} of them, which is \
                 not a majority, so writes would stop: start more of them first{or_force}"
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

#[cfg(test)]
mod tests;
