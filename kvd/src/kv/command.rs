//! Commands that the log carries for the state machine.
//!
//! A command is checked before it is proposed ([`Command::validate`]): once it is in the log, every replica applies it,
//! again at every restart, and none may fail on it.

use super::item::{LeaseId, Revision};
use super::level::Level;
use super::rules::{
    CLIENT_NAME_CHARS_MAX, InvalidCommand, check_condition, check_key, check_lease_count, check_lock_name, check_put,
    check_range, check_ttl,
};
use super::txn::Txn;
use super::write::{Condition, DeleteRange, Held, Put, PutLease};
use bytes::Bytes;

/// One write, as recorded in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The operation.
    pub operation: Operation,
    /// Id of the request, so that a repeat of this command is applied at most once.
    pub request: Option<RequestId>,
}

/// The operation of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Writes one key.
    Set {
        /// The write.
        put: Put,
        /// Write only if this holds.
        condition: Option<Condition>,
    },
    /// Deletes one key.
    Delete {
        /// The key.
        key: Bytes,
        /// Delete only if this holds.
        condition: Option<Condition>,
        /// Return the item as it was before.
        prev: bool,
    },
    /// Deletes the keys of a range, all in one revision.
    DeleteRange {
        /// The deletion.
        delete: DeleteRange,
        /// Delete only if this lock is held.
        held: Option<Held>,
    },
    /// Decides by compares between two lists of operations, and executes one of them as one step.
    Txn(Txn),
    /// Grants a lease.
    GrantLease {
        /// Its id. Without one, the state machine chooses it.
        lease: Option<LeaseId>,
        /// Its time to live, in milliseconds.
        ttl_ms: u64,
    },
    /// Starts the time of leases anew.
    KeepAlive {
        /// The leases.
        leases: Vec<LeaseId>,
    },
    /// Ends a lease, with the keys attached to it.
    RevokeLease {
        /// The lease.
        lease: LeaseId,
    },
    /// Ends leases whose time is over. Leaders propose it on their own.
    EndLeases {
        /// The leases, each with its end as the leader saw it, in milliseconds of cluster time. One that was renewed
        /// since has another end, and lives on.
        ends: Vec<(LeaseId, u64)>,
    },
    /// Takes a place in the queue of a lock, or renews one that the lease has already.
    TakePlace {
        /// The name of the lock.
        name: Bytes,
        /// The lease of the place, granted if it does not exist. Without one, the state machine chooses an id.
        lease: Option<LeaseId>,
        /// The time to live of a lease that is granted, in milliseconds.
        ttl_ms: u64,
        /// The value of the place.
        value: Bytes,
        /// False to take no place if it would not be the first.
        waits: bool,
    },
    /// Decides whether a place is the first, and therefore holds the lock. A place that is not the first is given up.
    SettlePlace {
        /// The name of the lock.
        name: Bytes,
        /// The lease of the place.
        lease: LeaseId,
    },
    /// Gives up a place.
    LeavePlace {
        /// The name of the lock.
        name: Bytes,
        /// The lease of the place.
        lease: LeaseId,
        /// True to give the place up even if it holds the lock.
        even_held: bool,
    },
    /// Gives up a lock that is held.
    Unlock {
        /// The lock.
        held: Held,
    },
    /// Forgets the history before a revision.
    Compact {
        /// The oldest revision to keep.
        revision: Revision,
    },
    /// Raises the level of the state; a level below the current one changes nothing. Leaders propose it on their own.
    RaiseLevel {
        /// The new level, from [`Level::RAISED`] on.
        to: Level,
    },
}

/// Identifies one request of one client, so that it is applied at most once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId {
    /// Name of the client, which has one request in flight at a time.
    pub client: String,
    /// Number of the request, higher for each new one.
    pub seq: u64,
}

impl Command {
    /// Returns the level that a node must support to apply the command. The state must have that level as well, unless
    /// the command raises it.
    pub fn level(&self) -> Level {
        match &self.operation {
            Operation::Set { put: Put { lease: PutLease::None, .. }, condition }
            | Operation::Delete { condition, .. } => match condition {
                Some(Condition::Held(_)) => Level::DATA_MODEL,
                _ => Level::FIRST,
            },
            Operation::RaiseLevel { to } => *to,
            _ => Level::DATA_MODEL,
        }
    }

    /// Length of the longest value in the command, in bytes.
    ///
    /// The value of a condition counts. One that is longer than any value can never hold, since no stored value is that
    /// long; but it would still take up space in the log.
    pub fn longest_value(&self) -> usize {
        match &self.operation {
            Operation::Set { put, condition } => put.value.len().max(value_bytes(condition.as_ref())),
            Operation::Delete { condition, .. } => value_bytes(condition.as_ref()),
            Operation::Txn(txn) => txn.longest_value(),
            Operation::TakePlace { value, .. } => value.len(),
            _ => 0,
        }
    }

    /// Checks the rules for every command before it is proposed.
    ///
    /// The largest size of a value is a setting of the node that accepts the request, and checked there.
    ///
    /// # Errors
    /// The first rule that the command breaks.
    pub fn validate(&self) -> Result<(), InvalidCommand> {
        match &self.operation {
            Operation::Set { put, condition } => {
                check_put(put)?;
                check_condition(condition.as_ref())?;
            }
            Operation::Delete { key, condition, .. } => {
                check_key(key)?;
                check_condition(condition.as_ref())?;
            }
            Operation::DeleteRange { delete, held } => {
                check_range(&delete.range)?;
                held.as_ref().map_or(Ok(()), |held| check_lock_name(&held.name))?;
            }
            Operation::Txn(txn) => txn.validate()?,
            Operation::GrantLease { ttl_ms, .. } => check_ttl(*ttl_ms)?,
            Operation::KeepAlive { leases } => check_lease_count(leases.len())?,
            Operation::EndLeases { ends } => check_lease_count(ends.len())?,
            Operation::TakePlace { name, ttl_ms, .. } => {
                check_lock_name(name)?;
                check_ttl(*ttl_ms)?;
            }
            Operation::SettlePlace { name, .. }
            | Operation::LeavePlace { name, .. }
            | Operation::Unlock { held: Held { name, .. } } => check_lock_name(name)?,
            Operation::RevokeLease { .. } | Operation::Compact { .. } | Operation::RaiseLevel { .. } => {}
        }
        let Some(request) = &self.request else { return Ok(()) };
        match request.client.chars().count() {
            0 => Err(InvalidCommand::ClientNameEmpty),
            1..=CLIENT_NAME_CHARS_MAX => Ok(()),
            chars => Err(InvalidCommand::ClientNameTooLong { chars }),
        }
    }
}

impl Operation {
    /// Returns the key of a set or a delete of one key.
    pub fn key(&self) -> Option<&[u8]> {
        match self {
            Self::Set { put: Put { key, .. }, .. } | Self::Delete { key, .. } => Some(key),
            _ => None,
        }
    }
}

fn value_bytes(condition: Option<&Condition>) -> usize {
    if let Some(Condition::Value(value)) = condition { value.len() } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::super::PAGE_BYTES_MAX;
    use super::super::item::KEY_BYTES_MAX;
    use super::super::rules::{
        COMMAND_ANSWER_BYTES_MAX, COMMAND_REMOVED_BYTES_MAX, COMMAND_VISITS_MAX, LEASE_TTL_MS_MAX, LEASE_TTL_MS_MIN,
        LOCK_NAME_BYTES_MAX, TXN_DEPTH_MAX, TXN_OPERATIONS_MAX,
    };
    use super::*;
    use kvclient::api;

    fn delete(key_bytes: usize, client: Option<&str>) -> Command {
        Command {
            operation: Operation::Delete { key: vec![b'k'; key_bytes].into(), condition: None, prev: false },
            request: client.map(|client| RequestId { client: client.into(), seq: 1 }),
        }
    }

    #[test]
    fn keys_and_client_names_have_bounds() {
        let (longest, too_long) = ("é".repeat(CLIENT_NAME_CHARS_MAX), "é".repeat(CLIENT_NAME_CHARS_MAX + 1));
        for (case, command, expected) in [
            ("shortest key", delete(1, None), Ok(())),
            ("longest key", delete(4096, None), Ok(())),
            ("no key", delete(0, None), Err(InvalidCommand::KeyEmpty)),
            ("long key", delete(4097, None), Err(InvalidCommand::KeyTooLong { bytes: 4097 })),
            ("shortest name", delete(1, Some("c")), Ok(())),
            ("longest name, in characters", delete(1, Some(&longest)), Ok(())),
            ("no name", delete(1, Some("")), Err(InvalidCommand::ClientNameEmpty)),
            ("long name", delete(1, Some(&too_long)), Err(InvalidCommand::ClientNameTooLong { chars: 65 })),
        ] {
            assert_eq!(command.validate(), expected, "{case}");
        }
    }

    #[test]
    fn the_bounds_are_those_of_the_api() {
        assert_eq!(KEY_BYTES_MAX, api::KEY_BYTES_MAX);
        assert_eq!(CLIENT_NAME_CHARS_MAX, api::CLIENT_NAME_CHARS_MAX);
        assert_eq!(LOCK_NAME_BYTES_MAX, api::LOCK_NAME_BYTES_MAX);
        assert_eq!((LEASE_TTL_MS_MIN, LEASE_TTL_MS_MAX), (api::LEASE_TTL_MS_MIN, api::LEASE_TTL_MS_MAX));
        assert_eq!((COMMAND_VISITS_MAX, PAGE_BYTES_MAX), (api::COMMAND_KEYS_MAX, api::PAGE_BYTES_MAX as u64));
        assert_eq!(COMMAND_REMOVED_BYTES_MAX, api::COMMAND_REMOVED_BYTES_MAX as u64);
        assert_eq!(COMMAND_ANSWER_BYTES_MAX, api::COMMAND_ANSWER_BYTES_MAX as u64);
        assert_eq!((TXN_OPERATIONS_MAX, TXN_DEPTH_MAX), (api::TXN_OPERATIONS_MAX, api::TXN_DEPTH_MAX));
    }
}
