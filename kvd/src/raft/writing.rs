//! Writes that consensus asks of the disk, and the steps after a write is durable. `durability` has the rules by which
//! promises wait for the disk.

use super::core::Raft;
use super::effects::{LogWrite, WriteId};
use super::entry::HardState;
use super::message::{Body, Message};
use super::role::Role;
use super::types::{LogIndex, NodeId};
use crate::mutants::{self, Mutant};

impl Raft {
    /// Changes term or vote; nothing more is sent until they are on disk.
    pub(super) fn set_hard_state(&mut self, hard_state: HardState) {
        let HardState { term, vote } = self.hard_state;
        assert!(hard_state.term > term || vote.is_none(), "a second vote in term {term}: {vote:?}, {hard_state:?}");
        self.hard_state = hard_state;
        self.durability.hard_state_changed();
    }

    /// Sends a message in the current term: at once if that term and the vote in it are durable, otherwise as soon as
    /// they are.
    pub(super) fn send(&mut self, to: NodeId, body: Body) {
        let message = Message { term: self.term(), body };
        let is_early = mutants::is_on(Mutant::VoteSavedAfterAnswer)
            && to != self.id
            && matches!(message.body, Body::RequestVoteResponse { .. });
        self.durability.send(to, message, is_early);
    }

    /// Drops entries from `from` on, which are void.
    pub(super) fn truncate(&mut self, from: LogIndex) {
        self.log.truncate(from);
        self.configurations.split_off(&from);
        self.durability.truncated(from);
    }

    /// Returns the next write, unless one is in progress or there is nothing to write.
    pub(super) fn next_write(&mut self) -> Option<LogWrite> {
        self.durability.next_write(self.hard_state, &self.log, self.settings.write_bytes_max)
    }

    /// Records that the write `id` is on disk, and releases the messages that waited for it.
    pub fn written(&mut self, id: WriteId) {
        let (last_index, released) = self.durability.written(id);
        self.log.set_durable(last_index.max(self.log.durable_index()));
        for (to, message) in released {
            if to == self.id {
                self.step(to, message);
            } else {
                self.durability.ready.push((to, message));
            }
        }
        match &self.role {
            Role::Leader(_) => self.advance_commit(),
            Role::Follower(_) => self.acknowledge_progress(),
            Role::PreCandidate(_) | Role::Candidate(_) => {}
        }
    }
}
