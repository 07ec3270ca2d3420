//! Check whether clients of a key-value store could have seen the same of a store that does one operation at a time.
//!
//! A history is linearizable if each operation can be given a moment between its call and its answer, such that the
//! operations, carried out one by one in the order of these moments, give exactly the answers that were given (Herlihy
//! and Wing, "Linearizability: a correctness condition for concurrent objects", 1990). Keys do not affect each other,
//! and a history is linearizable if and only if the part of each key is (the same paper, locality). So each key is
//! checked by itself.
//!
//! For a key, `search` looks for such an order as Wing and Gong do ("Testing and verifying concurrent objects", 1993):
//! an operation that nothing precedes comes first, and the search continues with the rest, or steps back. With Lowe
//! ("Testing for linearizability", 2017) it enters no configuration twice; a configuration is the set of operations
//! taken and the state they lead to. And it takes operations just in time, the earliest answer first.
//!
//! These rules keep a history of thousands of operations from growing into more configurations than fit into memory:
//!
//! - Each value is written once. An operation that sees it shows which operations its writer precedes; and a value that
//!   is gone never returns, so nothing may end it before every operation that saw it is taken.
//! - A value is seen with its version, so its writer has one place in the life of the key, which no other may take.
//! - An operation that fits and changes nothing is taken at once: there it can get in the way of no other operation.
//! - Of operations that differ in nothing that a client could see, the one that must end first is taken first.
//! - An operation of unknown outcome whose effect was seen must precede the operation that saw it. Of the others, which
//!   may come at any time or never, only the number that was used counts; having used fewer is never worse.
//!
//! None of these rules excludes an order that could decide the outcome. So a history that has an explanation is
//! accepted after few more configurations than it has operations. To find that there is none can take many more, so
//! their number is bounded; beyond the bound a history counts as a violation, and the violation says so.

mod check;
mod key_history;
mod operation;
mod search;
mod taken;
mod violation;

pub use check::check;
pub use operation::{Answer, Call, Condition, Moment, Operation, Seen, Value};
pub use violation::Violation;
