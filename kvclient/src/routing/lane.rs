//! What one operation needs to itself for as long as it runs: a name for its writes and connections.
//!
//! Operations borrow a lane and give it back, last in, first out, so that as many lanes exist as
//! operations ever ran at once, and the warm ones are used. Connections belong to a lane rather than to
//! one large pool, because threads would queue for that pool's lock.

use super::session::Session;
use crate::endpoint::Endpoint;
use crate::transport::Transport;
use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Idle lanes that are kept; a burst of more threads than this leaves nothing behind.
const IDLE_MAX: usize = 1024;

/// A name for writes, and connections.
#[derive(Debug)]
pub(crate) struct Lane {
    /// Where the lane begins its round over the nodes.
    pub(crate) start: usize,
    /// Names the writes.
    pub(crate) session: Session,
    /// Holds the connections.
    pub(crate) transport: Transport,
    /// The node that served the last read, and gets the next.
    pub(crate) reads_from: Option<Endpoint>,
    /// How long that took.
    pub(crate) read_took: Duration,
    /// How long the last write took.
    pub(crate) write_took: Duration,
}

/// The lanes of a client.
#[derive(Debug)]
pub(crate) struct Lanes {
    /// Random, so that no two clients share a name.
    prefix: u128,
    /// Where the first lane begins its round over the nodes; the others follow. Random, so that many
    /// programs of one operation each spread over the nodes as the threads of one program do.
    start: usize,
    pool: Mutex<Pool>,
}

#[derive(Debug, Default)]
struct Pool {
    idle: Vec<Lane>,
    made: usize,
}

impl Lanes {
    /// No lanes yet, under a name that no other client has.
    pub(crate) fn new() -> Self {
        Self::starting_at(rand::random::<u16>().into())
    }

    /// As [`Lanes::new`], with the first lane beginning at the `start`-th node.
    pub(crate) fn starting_at(start: usize) -> Self {
        Self { prefix: rand::random(), start, pool: Mutex::default() }
    }

    /// Borrows a lane for one operation.
    pub(crate) fn borrow(&self) -> Borrowed<'_> {
        let mut pool = self.pool();
        let lane = pool.idle.pop().unwrap_or_else(|| {
            let number = pool.made;
            pool.made += 1;
            Lane {
                start: self.start.wrapping_add(number),
                session: Session::new(self.prefix, number as u64),
                transport: Transport::new(),
                reads_from: None,
                read_took: Duration::ZERO,
                write_took: Duration::ZERO,
            }
        });
        Borrowed { lanes: self, lane: Some(lane) }
    }

    fn pool(&self) -> MutexGuard<'_, Pool> {
        // Pushing and popping leave the list whole, even where a thread panicked in between.
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A lane on loan.
#[derive(Debug)]
pub(crate) struct Borrowed<'a> {
    lanes: &'a Lanes,
    /// `None` only while being dropped.
    lane: Option<Lane>,
}

impl Deref for Borrowed<'_> {
    type Target = Lane;

    fn deref(&self) -> &Lane {
        self.lane.as_ref().expect("a lane on loan is there until it is given back")
    }
}

impl DerefMut for Borrowed<'_> {
    fn deref_mut(&mut self) -> &mut Lane {
        self.lane.as_mut().expect("a lane on loan is there until it is given back")
    }
}

impl Drop for Borrowed<'_> {
    fn drop(&mut self) {
        let mut pool = self.lanes.pool();
        if pool.idle.len() < IDLE_MAX {
            pool.idle.extend(self.lane.take());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn concurrent_operations_have_names_of_their_own_and_later_ones_reuse_them() {
        let lanes = Lanes::new();
        let (mut one, mut two) = (lanes.borrow(), lanes.borrow());
        let (first, second) = (one.session.next(), two.session.next());
        assert_ne!(first.client, second.client);

        drop(one);
        let mut again = lanes.borrow();
        let third = again.session.next();
        assert_eq!(third.client, first.client, "the lane given back last is borrowed first");
        assert!(third.seq > first.seq);

        let other = Lanes::new().borrow().session.next();
        assert_ne!(other.client, first.client, "no two clients share a name");
    }
}
