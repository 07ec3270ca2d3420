//! The rules for every command, and the bounds of every command. They are constants: replicas with different ones would
//! diverge.

use super::item::KEY_BYTES_MAX;
use super::key_range::KeyRange;
use super::write::{Condition, Put, PutLease};
use bytes::Bytes;
use thiserror::Error;

/// Longest client name in a [`RequestId`](super::RequestId), in characters. The shortest is one character.
pub const CLIENT_NAME_CHARS_MAX: usize = 64;

/// Longest name of a lock, in bytes: a key is the name, a slash and the lease.
pub const LOCK_NAME_BYTES_MAX: usize = KEY_BYTES_MAX - 17;

/// Shortest time that a lease may have, in milliseconds.
pub const LEASE_TTL_MS_MIN: u64 = 500;

/// Longest time that a lease may have, in milliseconds.
pub const LEASE_TTL_MS_MAX: u64 = 9_000_000_000_000;

/// Most keys that a command visits, by its compares, deletes and lists together. A command that would visit more is
/// refused as a whole.
pub const COMMAND_VISITS_MAX: u64 = 100_000;

/// Most bytes of keys and values that a command removes. A command that would remove more is refused as a whole.
pub const COMMAND_REMOVED_BYTES_MAX: u64 = 16 << 20;

/// Most bytes of keys and values in the answer to a command, unless the answer is a single item. A command that would
/// answer with more is refused as a whole.
pub const COMMAND_ANSWER_BYTES_MAX: u64 = 1 << 20;

/// Most leases in one command.
pub const COMMAND_LEASES_MAX: usize = 50_000;

/// Most bytes of a page of a list, keys and values together, unless the page is a single item.
pub const PAGE_BYTES_MAX: u64 = 1 << 20;

/// Most operations of a transaction, in all branches together. A nested transaction counts as one, and so does each of
/// its operations. Compares are bounded by the bytes of the transaction, and by the keys that a command may visit.
pub const TXN_OPERATIONS_MAX: usize = 10_000;

/// Most transactions that are nested in one another, the outermost not counted.
pub const TXN_DEPTH_MAX: usize = 3;

/// Reason why a command may not be proposed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvalidCommand {
    /// A key has at least one byte.
    #[error("the key is empty; give at least one byte")]
    KeyEmpty,
    /// A key has at most [`KEY_BYTES_MAX`] bytes.
    #[error("the key has {bytes} bytes; at most {KEY_BYTES_MAX} are allowed")]
    KeyTooLong {
        /// Its length in bytes.
        bytes: usize,
    },
    /// An end of a range is longer than any key.
    #[error("an end of the range has more than the {KEY_BYTES_MAX} bytes of the longest key")]
    RangeTooLong,
    /// The name of a lock has at least one byte.
    #[error("the name of the lock is empty; give at least one byte")]
    LockNameEmpty,
    /// The name of a lock has at most [`LOCK_NAME_BYTES_MAX`] bytes.
    #[error("the name of the lock has {bytes} bytes; at most {LOCK_NAME_BYTES_MAX} are allowed")]
    LockNameTooLong {
        /// Its length in bytes.
        bytes: usize,
    },
    /// A lease lives for a time within bounds.
    #[error("a lease lives for {LEASE_TTL_MS_MIN} to {LEASE_TTL_MS_MAX} milliseconds, not for {ttl_ms}")]
    LeaseTime {
        /// The time to live that was asked for.
        ttl_ms: u64,
    },
    /// A command names at most [`COMMAND_LEASES_MAX`] leases.
    #[error("{leases} leases in one request; at most {COMMAND_LEASES_MAX} are allowed")]
    TooManyLeases {
        /// Their number.
        leases: usize,
    },
    /// A transaction has at most [`TXN_OPERATIONS_MAX`] operations.
    #[error("the transaction has more than {} operations, nested ones included: split it", TXN_OPERATIONS_MAX)]
    TooManyOperations,
    /// Transactions are nested at most [`TXN_DEPTH_MAX`] deep.
    #[error("transactions are nested at most {} deep: put the compares of inner ones together", TXN_DEPTH_MAX)]
    TooDeep,
    /// A transaction writes a key twice on one path.
    #[error(
        "the transaction writes the key {:?} twice on one path, or writes it and deletes it: do one of the two, once",
        String::from_utf8_lossy(.key)
    )]
    WrittenTwice {
        /// The key.
        key: Bytes,
    },
    /// A client name has at least one character.
    #[error("the client name of the request id is empty; give at least one character")]
    ClientNameEmpty,
    /// A client name has at most [`CLIENT_NAME_CHARS_MAX`] characters.
    #[error("the client name of the request id has {chars} characters; at most {CLIENT_NAME_CHARS_MAX} are allowed")]
    ClientNameTooLong {
        /// Its length in characters.
        chars: usize,
    },
}

/// Checks that `key` has a valid length.
///
/// # Errors
/// [`InvalidCommand::KeyEmpty`] or [`InvalidCommand::KeyTooLong`].
pub fn check_key(key: &[u8]) -> Result<(), InvalidCommand> {
    match key.len() {
        0 => Err(InvalidCommand::KeyEmpty),
        1..=KEY_BYTES_MAX => Ok(()),
        bytes => Err(InvalidCommand::KeyTooLong { bytes }),
    }
}

pub(super) fn check_put(put: &Put) -> Result<(), InvalidCommand> {
    check_key(&put.key)?;
    match put.lease {
        PutLease::Own { ttl_ms } => check_ttl(ttl_ms),
        PutLease::None | PutLease::Keep | PutLease::Of(_) => Ok(()),
    }
}

pub(super) fn check_range(range: &KeyRange) -> Result<(), InvalidCommand> {
    if range.has_valid_ends() { Ok(()) } else { Err(InvalidCommand::RangeTooLong) }
}

pub(super) fn check_lock_name(name: &[u8]) -> Result<(), InvalidCommand> {
    match name.len() {
        0 => Err(InvalidCommand::LockNameEmpty),
        1..=LOCK_NAME_BYTES_MAX => Ok(()),
        bytes => Err(InvalidCommand::LockNameTooLong { bytes }),
    }
}

pub(super) fn check_condition(condition: Option<&Condition>) -> Result<(), InvalidCommand> {
    if let Some(Condition::Held(held)) = condition { check_lock_name(&held.name) } else { Ok(()) }
}

pub(super) fn check_ttl(ttl_ms: u64) -> Result<(), InvalidCommand> {
    if (LEASE_TTL_MS_MIN..=LEASE_TTL_MS_MAX).contains(&ttl_ms) {
        Ok(())
    } else {
        Err(InvalidCommand::LeaseTime { ttl_ms })
    }
}

pub(super) fn check_lease_count(leases: usize) -> Result<(), InvalidCommand> {
    if leases <= COMMAND_LEASES_MAX { Ok(()) } else { Err(InvalidCommand::TooManyLeases { leases }) }
}
