//! The replicated state machine: keys, revisions, sessions.
//!
//! Every replica applies the same commands in the order of the log, and so reaches the same state and the same answers.
//! For that to hold, nothing here reads a clock, draws a random number, iterates in an order that could differ, or
//! fails: a command is checked by [`Command::validate`] before it is proposed, and applying it always has an
//! [`Outcome`]. This module knows neither consensus nor the clients.
//!
//! The path of a write through these files: `command.rs` defines commands and their outcomes, `encoding.rs` the bytes
//! of both. `store.rs` applies the command to the ordered map, whose entries `record.rs` packs, unless `sessions.rs`
//! finds that it was applied before, by its `fingerprint.rs`. `hash.rs` sums up the state, so that replicas can be
//! compared. `snapshot.rs` describes how the whole state is written down and read again. The state's `level.rs`
//! determines the available commands and the form of the rest.

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
