//! Items, and the identifiers of items and leases.

use bytes::Bytes;
use std::fmt;

/// Number of applied requests, and of ends of leases, that changed something: counted separately from the log index, 1
/// in an empty store.
pub type Revision = u64;

/// Longest key, in bytes. The shortest is one byte.
pub const KEY_BYTES_MAX: usize = 4096;

/// Id of a lease: a number other than zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(
    /// Highest byte first, so that ids are ordered as their bytes are.
    [u8; 8],
);

impl LeaseId {
    /// Returns the id with this number; `None` for zero.
    pub fn new(number: u64) -> Option<Self> {
        (number != 0).then(|| Self(number.to_be_bytes()))
    }

    /// Returns the number.
    pub fn get(self) -> u64 {
        u64::from_be_bytes(self.0)
    }

    /// Returns the bytes of the number, highest first.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns the id with these eight bytes.
    pub(super) fn of_bytes(bytes: &[u8]) -> Self {
        Self(bytes.try_into().expect("eight bytes"))
    }
}

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.get())
    }
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
    /// The lease with which the item ends.
    pub lease: Option<LeaseId>,
}
