//! What a node has on its disk as a whole: its identity, and the snapshot and the log that its
//! replica is rebuilt from.
//!
//! [`open`] reads it when the node starts, `founding` says what it begins with, `refounding` makes a new cluster of a
//! backup or of what one node has. Where the disk is, on which thread it is used and what the operator is told is left
//! to the caller.

mod compaction;
mod error;
mod founding;
mod open;
mod refounding;
mod snapshots;

pub use compaction::{KeptLog, compaction_point, is_snapshot_due};
pub use error::DataError;
pub use founding::{FOUNDING_INDEX, cluster_of, founding_records, joining_records};
pub use open::{OpenOptions, Opened, open};
pub use refounding::{Founder, RecoverError, RefoundError, Refounded, RestoreBackupError, Survivor, restore, survivor};
pub use snapshots::{ReceiveError, Received, Receiving};
