//! Levels: what the state machine of a whole cluster can do, whatever its nodes could.
//!
//! A cluster is upgraded node by node, and what only the newer version knows would stop every node that is not yet upgraded,
//! at each start again, for the log keeps it. So the state has a level. Commands, the hash of the state, and snapshots are
//! those of that level, not those of the newest version among the nodes. It is raised by a command of its own
//! ([`super::Operation::RaiseLevel`]), which a leader proposes once every member has said that it knows the next one. Until
//! then the version before can be put back.

use std::fmt;

/// What the state machine can do: 1 is the first, and each has all that the one before had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Level(pub u32);

impl Level {
    /// Set and delete of a key, and sessions. It is the level of an empty state, and of nodes that say none.
    pub const FIRST: Self = Self(1);

    /// The state has a level: it can be raised, is part of the hash, and stands in snapshots.
    pub const RAISED: Self = Self(2);

    /// The newest that this version knows.
    pub const NEWEST: Self = Self::RAISED;
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
