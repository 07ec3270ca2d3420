//! One replica: consensus, the state machine, and the requests that wait on them.

mod request;

pub use request::{ReadError, WriteError};
