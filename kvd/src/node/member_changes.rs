//! Changes of the members on request: a request waits here until what it asks for is so, committed and no longer joint.
//!
//! A request says what is to be, so it is looked at anew whenever the members are settled: if they are as asked it is
//! done, whoever did it; if not, the leader begins the change. One that finds another change under way waits for its turn.
//!
//! Requests name nodes, and a name may pass to another node while a request waits: a node that has lost its disk comes
//! back under its name, with a new id. So the ids that a request means are kept from the moment at which it is first
//! looked at ([`Meant`]). A removal that is begun anew after changes of leader must not remove the next life of a node
//! whose last life it was asked to remove, and which is gone by then.
//!
//! The end of a change is judged by its entry, as for a write. If that very entry is committed, the change is done, whoever
//! leads; if another is committed in its place it has not happened, and never will (paper §5.4.3).
//!
//! That nothing is left to do, or that no such member, is what the leader's configuration says. One that was
//! deposed has an old one, so that is answered only once a round of heartbeats has shown that this node still leads; see
//! [`super::leadership`].
//!
//! A node that comes back without its data, under a new id, asks like any other that joins. Under the name of a voter that
//! is not heard it becomes a learner that is to take that one's place, which consensus does by itself (see
//! [`crate::raft::Goal`]); a learner of its name that is not heard is of a life that got no further, and goes. A name whose
//! bearer is heard is taken.

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

/// Requests that wait. When full, the next is refused.
const WAITING_MAX: usize = 64;

/// Everyone who waits. `H` is the caller's handle on a request, given back with what has become of it.
#[derive(Debug)]
pub struct MemberChanges<H> {
    waiting: Vec<Waiting<H>>,
}

#[derive(Debug)]
struct Waiting<H> {
    change: MemberChange,
    /// The nodes that were meant, once the request was looked at, or that there is none: who takes the name later is meant
    /// by nobody.
    meant: Option<Result<Meant, ChangeError>>,
    /// The entry by which it began.
    begun: Option<(LogIndex, Term)>,
    /// There is nothing to be done, if this node still leads.
    proof: Option<LeadershipProof>,
    /// This node was to leave and led, so it began to hand leadership over.
    handed_over: bool,
    /// What has kept it from beginning.
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
    /// Takes a request, which has until `deadline`.
    ///
    /// # Errors
    /// The handle, if too many wait already: [`ChangeError::TooMany`].
    pub fn ask(&mut self, change: MemberChange, deadline: Instant, handle: H) -> Result<(), H> {
        if self.waiting.len() >= WAITING_MAX {
            return Err(handle);
        }
        self.waiting.push(Waiting {
            change,
            meant: None,
            begun: None,
            proof: None,
            handed_over: false,
            held_up: None,
            deadline,
            handle,
        });
        Ok(())
    }

    /// The requests that wait, as they came, and the entry by which each has begun.
    pub fn waiting(&self) -> impl Iterator<Item = (&H, &MemberChange, Option<(LogIndex, Term)>)> {
        self.waiting.iter().map(|waiting| (&waiting.handle, &waiting.change, waiting.begun))
    }

    /// Forgets the requests that nobody waits for any more, unless they have begun: what was given up is not done behind
    /// the back of whoever did.
    pub fn forget(&mut self, is_given_up: impl Fn(&H) -> bool) {
        self.waiting.retain(|waiting| waiting.begun.is_some() || !is_given_up(&waiting.handle));
    }

    /// Begins what can begin, and returns who has an answer. To be called before the replica's effects are carried out,
    /// and answered after them: once others can see the outcome too.
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
    /// How it ends, if it does now.
    fn go_on<W, R>(&mut self, replica: &mut Replica<W, R>, now: Instant) -> Option<Result<(), ChangeError>> {
        if let Some(result) = self.outcome(replica) {
            return Some(result);
        }
        let raft = replica.raft();
        let leads = raft.role() == RoleName::Leader;
        if !leads && self.begun.is_none() {
            if self.handed_over && raft.leader().is_none() && now < self.deadline {
                // In a moment the next one is known, who sees to it.
                return None;
            }
            return Some(Err(raft.leader().map_or(ChangeError::NoLeader, |_| ChangeError::NotLeader)));
        }
        if leads && self.begun.is_none() && raft.are_members_settled() {
            let is_deposed = self.proof.is_some_and(|proof| replica.is_proven(&proof) == Some(false));
            if is_deposed && self.meant.as_ref().is_some_and(Result::is_err) {
                // It leads again, and whether nobody had the name when it looked is not known: another may have led then.
                return Some(Err(ChangeError::NoLeader));
            }
            match self.wanted(replica) {
                Ok(Some(_)) if let Some(refusal) = self.lacks_level(replica) => return Some(Err(refusal)),
                Ok(Some(change)) if self.hands_over(replica, &change) => {}
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
            // No quorum says that this node still leads.
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

    /// Returns the end of a change that has begun, if that is known. One that has not happened, and never will, is as if
    /// it had not begun.
    fn outcome<W, R>(&mut self, replica: &Replica<W, R>) -> Option<Result<(), ChangeError>> {
        let (index, term) = self.begun?;
        let (raft, log) = (replica.raft(), replica.raft().log());
        if log.commit_index() < index {
            return None;
        }
        match log.term_at(index) {
            // If it was joint, the new configuration follows, whoever leads.
            Some(committed) if committed == term => raft.are_members_settled().then_some(Ok(())),
            Some(_) => {
                self.begun = None;
                None
            }
            // A snapshot has taken the place of its entry, and says only how the members are.
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

    /// Returns why a node that is to be added is not, if it knows too little to apply what the log holds.
    fn lacks_level<W, R>(&self, replica: &Replica<W, R>) -> Option<ChangeError> {
        let MemberChange::Add { name, level, .. } = &self.change else { return None };
        let needed = replica.lacks_level(Level(*level))?;
        Some(ChangeError::Refused(format!(
            "{name} supports levels up to {level}, but this cluster is at level {needed}: upgrade the kvd of {name} \
             first"
        )))
    }

    /// Returns whether what this node knows of the members was so at a moment since the request came, and is not merely
    /// what it knew when it was deposed.
    fn is_present<W, R>(&mut self, replica: &mut Replica<W, R>) -> bool {
        if mutants::is_on(Mutant::DoneWithoutRound) {
            return true;
        }
        match self.proof.map(|proof| replica.is_proven(&proof)) {
            Some(Some(true)) => true,
            Some(None) => false,
            // There is none yet, or it was for another term.
            None | Some(Some(false)) => {
                self.proof = Some(replica.prove_leadership());
                false
            }
        }
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

    /// Consensus does not begin the change.
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
