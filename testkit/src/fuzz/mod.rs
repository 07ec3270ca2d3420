//! Properties of any bytes from outside: a function `check` for each place where they enter the daemon.
//!
//! The fuzzer (`kvd/fuzz`) calls these functions with inputs that reach new code; `kvd/tests/fuzz` calls them with the
//! corpus, and with random changes of it, in every ordinary run of the tests.

pub mod body;
pub mod command;
pub mod frame;
pub mod identity;
pub mod snapshot;
pub mod wal;
