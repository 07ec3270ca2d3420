//! The basic types: terms, log indexes, node ids, time.
//!
//! Each is a type of its own, so that a term never passes for a log index.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A period with at most one leader, counted from 1 (paper §5.1); zero stands before the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Term(pub u64);

impl Term {
    /// The term after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Position of an entry in the log, counted from 1; zero stands before the first entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LogIndex(pub u64);

impl LogIndex {
    /// The position after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The position before this one; zero stays zero.
    #[must_use]
    pub fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

impl fmt::Display for LogIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The last entry that a snapshot holds: the log begins after it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogBase {
    /// Index of the entry; zero without a snapshot.
    pub index: LogIndex,
    /// Its term; zero without a snapshot.
    pub term: Term,
}

impl LogBase {
    /// Base of a log without a snapshot: it begins with entry 1.
    pub const NONE: Self = Self { index: LogIndex(0), term: Term(0) };
}

impl fmt::Display for LogBase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of term {}", self.index, self.term)
    }
}

/// Identity of one incarnation of a node: a random number made once and kept in its data directory.
///
/// Votes, acknowledgements and configurations contain ids, never names, so that a node that lost its disk and comes
/// back under its old name is not mistaken for the incarnation that made the old promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeId(pub u64);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Local monotonic time in milliseconds from an origin of the caller's choice.
///
/// Only differences mean something, and only on one node. The caller passes it in; it is never read from a clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(pub u64);

impl Instant {
    /// The instant `ms` milliseconds later.
    #[must_use]
    pub fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to this instant; zero if `earlier` is later.
    #[must_use]
    pub fn ms_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Time that all replicas agree on, in milliseconds: the leader stamps it on each entry.
///
/// A leader starts from the newest time it has from the leader before it and adds its own monotonic clock, so cluster
/// time never jumps and never goes backward in the log. It is no wall clock. `cluster_time` has the rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ClusterTime(pub u64);
