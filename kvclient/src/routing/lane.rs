//! Resources that one operation needs exclusively while it runs: a name for its writes, and connections.
//!
//! Operations borrow a lane and return it, last in, first out. So there are only as many lanes as operations ever ran
//! at once, and warm ones are reused. Connections belong to a lane instead of one large pool, because threads would
//! contend for that pool's lock.

use super::session::Session;
use crate::endpoint::Endpoint;
use crate::transport::Transport;
use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Maximum number of idle lanes that are kept. A burst of more threads than this leaves nothing behind.
const IDLE_MAX: usize = 1024;

/// A name for writes, and connections.
#[derive(Debug)]
pub(crate) struct Lane {
    /// Node at which the lane begins its round.
    pub(crate) start: usize,
    /// Source of names for writes.
    pub(crate) session: Session,
    /// Holds the connections.
    pub(crate) transport: Transport,
    /// The node that served the last read, and gets the next one.
    pub(crate) reads_from: Option<Endpoint>,
    /// Time that the last read took.
    pub(crate) read_took: Duration,
    /// Time that the last write took.
    pub(crate) write_took: Duration,
}

/// The lanes of a client.
#[derive(Debug)]
pub(crate) struct Lanes {
    /// Random, so that no two clients share a name.
    prefix: u128,
    /// Node at which the first lane begins its round; the other lanes begin at the following nodes. Random, so that
    /// many programs with one operation each spread over the nodes as the threads of one program do.
    start: usize,
    pool: Mutex<Pool>,
}

#[derive(Debug, Default)]
struct Pool {
    idle: Vec<Lane>,
    made: usize,
}

impl Lanes {
    /// Creates a set without lanes, under a name that no other client has.
    pub(crate) fn new() -> Self {
        Self::starting_at(rand::random::<u16>().into())
    }

    /// Like [`Lanes::new`], but the first lane begins at the `start`-th node.
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
        // Pushing and popping leave the list intact, even if a thread panicked in between.
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A borrowed lane.
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
