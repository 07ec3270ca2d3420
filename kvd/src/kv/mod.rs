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
mod edits;
mod encoding;
mod fingerprint;
mod hash;
mod history;
mod item;
mod key_range;
mod leases;
mod level;
mod limits;
mod outcome;
mod pieces;
mod places;
mod readers;
mod record;
mod rules;
mod scan;
mod sessions;
mod snapshot;
mod snapshot_walk;
mod spent;
mod store;
#[cfg(test)]
mod strategies;
mod txn;
mod walk;
mod write;

pub use command::{Command, Operation, RequestId};
pub use encoding::DecodeError;
pub use hash::{STATE_HASH_FORMAT, StateHash};
pub use history::{ChangePlace, HistoryLimits};
pub use item::{Item, KEY_BYTES_MAX, LeaseId, Revision};
pub use key_range::{KeyRange, Spans, end_of_prefix};
pub use leases::LeaseKind;
pub use level::Level;
pub use limits::StoreLimits;
pub use outcome::{DeleteDone, DeleteRangeDone, Excess, Holder, KeyedItem, Listed, OpDone, Outcome, PutDone, TxnDone};
pub use readers::{Forgotten, Pin};
pub use record::ItemRef;
pub use rules::{
    CLIENT_NAME_CHARS_MAX, COMMAND_ANSWER_BYTES_MAX, COMMAND_LEASES_MAX, COMMAND_REMOVED_BYTES_MAX, COMMAND_VISITS_MAX,
    InvalidCommand, LEASE_TTL_MS_MAX, LEASE_TTL_MS_MIN, LOCK_NAME_BYTES_MAX, PAGE_BYTES_MAX, TXN_DEPTH_MAX,
    TXN_OPERATIONS_MAX, check_key,
};
pub use scan::{PIECE_KEYS_MAX, Scan, Visit};
pub use sessions::{SESSION_IDLE_MS_MAX, SESSION_REPLY_BYTES_MAX, SESSIONS_MAX, SessionLimits};
pub use snapshot::{NoSnapshot, RestoreError, SnapshotBusy};
pub use store::{Change, LeaseRef, Restoring, SnapshotRemains, Store, folder_of};
pub use txn::{Compare, List, Op, Relation, Test, Txn};
pub use write::{Condition, DeleteRange, Held, Put, PutLease};
