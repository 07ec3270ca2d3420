//! Applies committed entries to the store.

use crate::kv::{Command, DecodeError, Level, Outcome, Store};
use crate::raft::{Entry, LogIndex, Payload};
use thiserror::Error;

/// A committed entry holds a command that this version does not support. A replica must not skip it: all replicas read
/// the same bytes, and a replica that is too old for them would diverge.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "entry {index} of the log holds a command that this version of kvd cannot read ({cause}): use the version that the \
     other nodes run, or a newer one"
)]
pub struct UnreadableEntry {
    /// The entry.
    pub index: LogIndex,
    /// The error in its command.
    pub cause: DecodeError,
}

/// Applies one committed entry on a node that supports the levels up to `level_max`. Returns `None` if the entry
/// carries no command.
pub(super) fn apply_entry(
    store: &mut Store,
    entry: &Entry,
    level_max: Level,
) -> Result<Option<Outcome>, UnreadableEntry> {
    match &entry.payload {
        Payload::Noop | Payload::Configuration(_) => Ok(None),
        Payload::Command(bytes) => match Command::decode(bytes) {
            Ok(command) if command.level() > level_max => {
                Err(UnreadableEntry { index: entry.index, cause: DecodeError::UnknownLevel(command.level()) })
            }
            Ok(command) => Ok(Some(store.apply(entry.time.0, &command))),
            Err(cause) => Err(UnreadableEntry { index: entry.index, cause }),
        },
    }
}
