//! What must hold of any bytes from outside: a function `check` for each place where they come in.
//!
//! The fuzzer (`kvd/fuzz`) feeds these functions what it finds to reach new code; `kvd/tests/fuzz` feeds them the corpus, and
//! random changes of it, with every ordinary run of the tests.

pub mod body;
pub mod command;
pub mod frame;
pub mod identity;
pub mod snapshot;
pub mod wal;
