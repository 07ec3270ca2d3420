//! Whether what clients saw of a key-value store could have been seen of one that does one thing at a time.
//!
//! A history is linearizable if each operation can be given a moment between its call and its answer, such that
//! carried out in the order of these moments, one by one, the operations come to the very answers that were given
//! (Herlihy and Wing, "Linearizability: a correctness condition for concurrent objects", 1990). Keys do not affect each
//! other, and a history is linearizable if and only if the part of each key is (the same paper, locality). So each key
//! is judged by itself.
//!
//! For a key, `search` looks for such an order as Wing and Gong do ("Testing and verifying concurrent objects",
//! 1993): some operation that nothing precedes comes first, and the search goes on with the others, or steps back.
//! With Lowe ("Testing for linearizability", 2017) it enters no configuration twice, which is the set of operations
//! that were taken and the state they lead to; and it takes operations just in time, the earliest answer first.
//!
//! What keeps a history of thousands of operations from growing into more configurations than there is memory for:
//!
//! - Each value is written once. Who sees it, says whom its writer comes before; and a value that is gone never
//!   comes back, so nothing may end it before all who saw it were taken.
//! - A value is seen with its version, so its writer comes at one place in the life of the key, which no other may take.
//! - An operation that fits and changes nothing is taken at once: it is in nobody's way where it stands.
//! - Of operations that differ in nothing that anyone could see, the one that must be over first is taken first.
//! - An operation of unknown outcome whose effect was seen must have come before it was. Of the others, which may
//!   come at any time or never, only the number that was used counts; having used fewer is never worse.
//!
//! Nothing of this leaves out an order that could decide. So a history that has an explanation is accepted after little
//! more configurations than it has operations. To find that there is none can take many more, so there is a bound on
//! them, beyond which a history counts as a violation, which then says so.

mod check;
mod key_history;
mod operation;
mod search;
mod taken;
mod violation;

pub use check::check;
pub use operation::{Answer, Call, Condition, Moment, Operation, Seen, Value};
pub use violation::Violation;
