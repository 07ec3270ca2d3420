//! Levels: the features of the state machine that the whole cluster may use, even if some nodes support more.
//!
//! A cluster is upgraded node by node. A feature that only the newer version supports would stop every node that is not
//! yet upgraded, again at each start, for the log keeps it. So the state has a level. Commands, the hash of the state,
//! and snapshots are those of that level, not those of the newest version among the nodes. The level is raised by a
//! separate command ([`super::Operation::RaiseLevel`]), which a leader proposes once every member has reported that it
//! supports the next one. Until then the previous version can be reinstalled.

use std::fmt;

/// Level of the state machine: 1 is the first, and each level has all features of the previous one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Level(pub u32);

impl Level {
    /// Set and delete of a key, and sessions. It is the level of an empty state, and of nodes that report none.
    pub const FIRST: Self = Self(1);

    /// The state has a level, which can be raised, is part of the hash, and is recorded in snapshots.
    pub const RAISED: Self = Self(2);

    /// Transactions, ranges, leases, locks, compaction.
    pub const DATA_MODEL: Self = Self(3);

    /// The newest level that this version supports.
    pub const NEWEST: Self = Self::DATA_MODEL;
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
