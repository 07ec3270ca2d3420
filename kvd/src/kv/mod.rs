//! The replicated state machine: keys, revisions, sessions.
//!
//! Every replica applies the same commands in the order of the log, and so comes to the same state and
//! the same answers. For that to hold, nothing here reads a clock, draws a random number, iterates in an
//! order that could differ, or fails: a command is checked by [`Command::validate`] before it is proposed,
//! and applying it always has an [`Outcome`]. Consensus is not known here, nor who asked.
//!
//! A write on its way through these files: `command.rs` is what the log carries and what comes of it,
//! `encoding.rs` the bytes of both; `store.rs` applies it to the ordered map, whose entries `record.rs`
//! packs, unless `sessions.rs` says that it was applied before, going by its `fingerprint.rs`; `hash.rs` sums up the
//! state, so that replicas can be compared. `snapshot.rs` says how all of it is written down for later and for others,
//! and read again. Which commands there are, and what the rest looks like, is a matter of the state's `level.rs`.

mod codec;
mod command;
mod encoding;
mod fingerprint;
mod hash;
mod level;
mod pieces;
mod record;
mod sessions;
mod snapshot;
mod store;
#[cfg(test)]
mod strategies;
mod walk;

pub use command::{
    CLIENT_NAME_CHARS_MAX, Command, Condition, InvalidCommand, Item, KEY_BYTES_MAX, Operation, Outcome, RequestId,
    Revision, check_key,
};
pub use encoding::DecodeError;
pub use hash::{STATE_HASH_FORMAT, StateHash};
pub use level::Level;
pub use record::ItemRef;
pub use sessions::{SESSION_IDLE_MS_MAX, SESSION_REPLY_BYTES_MAX, SESSIONS_MAX, SessionLimits};
pub use snapshot::{NoSnapshot, RestoreError, SnapshotBusy};
pub use store::{Applied, Change, Restoring, SnapshotRemains, Store};
