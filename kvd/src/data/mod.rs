//! What a node has on its disk as a whole: its identity and the log that its replica is rebuilt from.
//!
//! [`open`] reads it when the node starts, `founding` says what it begins with. Where the disk is, on which thread
//! it is used and what the operator is told is left to the caller.

mod founding;
mod open;

pub use founding::{FOUNDING_INDEX, cluster_of, founding_records};
pub use open::{DataError, OpenOptions, Opened, open};
