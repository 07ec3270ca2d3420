//! Locks, as clients of the server use them: the node that a client is connected to takes a place for it, waits for its
//! turn on its own store, settles the place, and leaves it if the client goes away. Here the client itself takes these
//! steps. Some of its steps come too late, and a client that has lost its lock goes on writing under its token.

use super::client::ClientId;
use super::operations::What;
use super::world::World;
use bytes::Bytes;
use kvd::kv::{Command, Condition, Held, LeaseId, Operation, Outcome, Put, PutLease, Revision};

/// A client's place in the queue of a lock.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    name: Bytes,
    lease: LeaseId,
    token: Revision,
    /// It was told that it holds the lock.
    holds: bool,
}

impl Place {
    /// Returns the condition that the lock is held, if it believes so. Now and then one who waits claims it.
    pub(crate) fn held(&self) -> Option<Held> {
        (self.holds || self.token.is_multiple_of(4)).then(|| Held { name: self.name.clone(), token: self.token })
    }
}

impl World {
    pub(super) fn draw_lock(&mut self) -> Bytes {
        format!("l{}", self.chance.within(0..2)).into()
    }

    /// Draws a client's next step with its lock.
    pub(super) fn draw_lock_step(&mut self, id: ClientId) -> What {
        let unnamed = |operation| What::Unnamed(Command { operation, request: None });
        let Some(place) = self.clients[id].place.clone() else {
            let leases = self.clients[id].leases.clone();
            let own = self.chance.any_of(&leases).filter(|_| self.chance.percent(40));
            let name = self.draw_lock();
            if let Some(lease) = own.filter(|_| self.chance.percent(25)) {
                // As a client of etcd does: it writes the key of the place itself.
                let key = super::model::place_key(&name, lease);
                // Now and then there is such a key without a lease before: who attaches it later stands behind all
                // others.
                let lease = if self.chance.percent(70) { PutLease::Of(lease) } else { PutLease::None };
                let put = Put { lease, ..Put::new(key, Bytes::from("e")) };
                let condition = self.chance.percent(70).then_some(Condition::Absent);
                return self.named(id, Operation::Set { put, condition });
            }
            let lease = own.or_else(|| LeaseId::new(self.chance.within(1..1 << 20)));
            let (ttl_ms, waits) = (self.draw_ttl().min(10_000), self.chance.percent(75));
            return unnamed(Operation::TakePlace { name, lease, ttl_ms, value: "v".into(), waits });
        };
        let Place { name, lease, token, holds } = place;
        match (self.chance.within(0..10), holds) {
            (0..3, false) => unnamed(Operation::SettlePlace { name, lease }),
            (3..7, _) => unnamed(Operation::TakePlace {
                name,
                lease: Some(lease),
                ttl_ms: 3_000,
                value: "v".into(),
                waits: self.chance.percent(80),
            }),
            (7, _) => {
                self.clients[id].place = None;
                unnamed(Operation::LeavePlace { name, lease, even_held: self.chance.percent(70) })
            }
            (8, true) => {
                self.clients[id].place = None;
                self.named(id, Operation::Unlock { held: Held { name, token } })
            }
            _ => {
                let (key, value) = (self.draw_key(), self.next_value());
                let condition = Some(Condition::Held(Held { name, token }));
                self.named(id, Operation::Set { put: Put::new(key, value), condition })
            }
        }
    }

    /// Tells a client what has become of its step.
    pub(super) fn lock_answered(&mut self, id: ClientId, operation: &Operation, outcome: &Outcome) {
        let place = &mut self.clients[id].place;
        match (operation, outcome) {
            (
                Operation::TakePlace { name, .. } | Operation::SettlePlace { name, .. },
                Outcome::LockTaken { lease, token } | Outcome::PlaceTaken { lease, token },
            ) => {
                let holds = matches!(outcome, Outcome::LockTaken { .. });
                *place = Some(Place { name: name.clone(), lease: *lease, token: *token, holds });
            }
            (_, Outcome::LockHeld { .. } | Outcome::PlaceLost | Outcome::LockLost) => *place = None,
            // Who has lost a lock may not have noticed.
            (_, Outcome::ConditionFailed { .. }) if self.chance.percent(30) => self.clients[id].place = None,
            _ => {}
        }
    }
}
