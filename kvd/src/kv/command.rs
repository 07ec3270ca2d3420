//! Commands that the log carries for the state machine, and their outcomes.
//!
//! A command is checked before it is proposed ([`Command::validate`]): once it is in the log, every replica applies it,
//! again at every restart, and none may fail on it.

use super::level::Level;
use bytes::Bytes;
use thiserror::Error;

/// Number of applied requests that changed something, counted separately from the log index: 1 in an empty store.
pub type Revision = u64;

/// Longest key, in bytes. The shortest is one byte.
pub const KEY_BYTES_MAX: usize = 4096;

/// Longest client name in a [`RequestId`], in characters. The shortest is one character.
pub const CLIENT_NAME_CHARS_MAX: usize = 64;

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
        /// The key.
        key: Bytes,
        /// Its new value.
        value: Bytes,
        /// Write only if this holds.
        condition: Option<Condition>,
        /// Return the item as it was before.
        prev: bool,
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
    /// Raises the level of the state; a level below the current one changes nothing. Leaders propose it on their own.
    RaiseLevel {
        /// The new level, from [`Level::RAISED`] on.
        to: Level,
    },
}

/// Condition on a key under which an operation is applied.
///
/// It is evaluated when the operation is applied, in the order of the log: if two writers race with the same condition,
/// exactly one wins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// There is no such key.
    Absent,
    /// The key exists.
    Present,
    /// The key exists and was last changed at this revision.
    ModRevision(Revision),
    /// The key exists with exactly this value.
    Value(Bytes),
}

/// Identifies one request of one client, so that it is applied at most once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId {
    /// Name of the client, which has one request in flight at a time.
    pub client: String,
    /// Number of the request, higher for each new one.
    pub seq: u64,
}

/// A value and its history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The value.
    pub value: Bytes,
    /// Revision of the write that created the key.
    pub create_revision: Revision,
    /// Revision of the last write to the key.
    pub mod_revision: Revision,
    /// Writes since the key was created: 1 at creation.
    pub version: u64,
}

/// Result of applying a command: the same on every replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The key was written.
    Set {
        /// Revision of the store after the write.
        revision: Revision,
        /// True if the write created the key.
        created: bool,
        /// The previous item, if the command asked for it and there was one.
        prev: Option<Item>,
    },
    /// The key was deleted, or did not exist.
    Deleted {
        /// Revision of the store; unchanged when nothing was deleted.
        revision: Revision,
        /// True if the key existed.
        deleted: bool,
        /// The previous item, if the command asked for it and there was one.
        prev: Option<Item>,
    },
    /// The condition did not hold; nothing changed.
    ConditionFailed {
        /// The item at the time of this answer, also in the answer to a repeat: see [`super::Store::apply`].
        current: Option<Item>,
    },
    /// This request, or a newer one of the same client, has been applied before, and the outcome of this one is no
    /// longer known. This copy of it changed nothing.
    StaleRequest {
        /// The newest `seq` applied for this client.
        newest: u64,
    },
    /// There is no room for another client; nothing changed. A later attempt may succeed.
    SessionsFull,
    /// The client has used this `seq` for another operation; nothing changed.
    SeqReused,
    /// The state has reached this level.
    LevelRaised {
        /// The level.
        level: Level,
    },
}

/// Reason why a command may not be proposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
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

impl Command {
    /// Returns the level that a node must support to apply the command. The state must have that level as well, unless
    /// the command raises it.
    pub fn level(&self) -> Level {
        match self.operation {
            Operation::Set { .. } | Operation::Delete { .. } => Level::FIRST,
            Operation::RaiseLevel { to } => to,
        }
    }

    /// Checks the rules for every command before it is proposed.
    ///
    /// The largest size of a value is a setting of the node that accepts the request, and checked there.
    ///
    /// # Errors
    /// The first rule that the command breaks.
    pub fn validate(&self) -> Result<(), InvalidCommand> {
        self.operation.key().map_or(Ok(()), check_key)?;
        let Some(request) = &self.request else { return Ok(()) };
        match request.client.chars().count() {
            0 => Err(InvalidCommand::ClientNameEmpty),
            1..=CLIENT_NAME_CHARS_MAX => Ok(()),
            chars => Err(InvalidCommand::ClientNameTooLong { chars }),
        }
    }
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

impl Operation {
    /// Returns the key of the operation, if it has one.
    pub fn key(&self) -> Option<&[u8]> {
        match self {
            Self::Set { key, .. } | Self::Delete { key, .. } => Some(key),
            Self::RaiseLevel { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(KEY_BYTES_MAX, kvclient::api::KEY_BYTES_MAX);
        assert_eq!(CLIENT_NAME_CHARS_MAX, kvclient::api::CLIENT_NAME_CHARS_MAX);
    }
}
