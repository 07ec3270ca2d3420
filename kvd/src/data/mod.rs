//! A node's data on disk as a whole: its identity, and the snapshot and the log from which its replica is rebuilt.
//!
//! [`open`] reads it when the node starts, `founding` has the beginning of a log, and `refounding` makes a new cluster
//! of a backup or of one node's data. The caller chooses the disk and the thread, and decides what the operator is
//! told.

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
