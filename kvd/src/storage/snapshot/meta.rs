//! What a snapshot holds.

use super::format::{are_reached, is_entry, u32_at, u64_at};
use crate::raft::{ClusterTime, Configuration, LogBase, LogIndex, Term};
use bytes::Bytes;

/// Bytes before the configuration.
const FIXED_BYTES: usize = 40;

/// What a snapshot holds: all that consensus has to know of it (paper Figure 13), and what the state machine says of
/// itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotMeta {
    /// The cluster whose state it is.
    pub cluster_id: u64,
    /// The last entry that is part of it.
    pub last: LogBase,
    /// Cluster time of that entry, at least that of all before.
    pub time: ClusterTime,
    /// The configuration in force at that entry.
    pub configuration: Configuration,
    /// The entry that brought it.
    pub configuration_index: LogIndex,
    /// What the state machine says of the data: opaque here.
    pub summary: Bytes,
}

impl SnapshotMeta {
    /// Encodes the body of the part, without the cluster, which is in the header.
    ///
    /// | offset | bytes | field |
    /// |---|---|---|
    /// | 0 | 8 | index of the last entry |
    /// | 8 | 8 | its term |
    /// | 16 | 8 | its cluster time |
    /// | 24 | 8 | index of the entry with the configuration |
    /// | 32 | 4 | bytes of the configuration |
    /// | 36 | 4 | bytes of the summary |
    /// | 40 | | configuration (postcard), then summary |
    ///
    /// # Panics
    /// If no snapshot can end with that entry.
    pub(super) fn encode(&self) -> Vec<u8> {
        assert!(is_entry(self.last), "a snapshot that ends with entry {}", self.last);
        let configuration = postcard::to_stdvec(&self.configuration).expect("a configuration always has an encoding");
        let mut bytes = Vec::with_capacity(FIXED_BYTES + configuration.len() + self.summary.len());
        for number in [self.last.index.0, self.last.term.0, self.time.0, self.configuration_index.0] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        for length in [configuration.len(), self.summary.len()] {
            let length = u32::try_from(length).expect("parts are shorter than PART_BYTES_MAX");
            bytes.extend_from_slice(&length.to_le_bytes());
        }
        bytes.extend_from_slice(&configuration);
        bytes.extend_from_slice(&self.summary);
        bytes
    }

    /// Decodes the body of the part; `None` if it is of another form.
    pub(super) fn decode(cluster_id: u64, body: &Bytes) -> Option<Self> {
        let (fixed, rest) = body.split_at_checked(FIXED_BYTES)?;
        let last = LogBase { index: LogIndex(u64_at(fixed, 0)), term: Term(u64_at(fixed, 8)) };
        let (time, configuration_index) = (u64_at(fixed, 16), u64_at(fixed, 24));
        let (configuration_bytes, summary_bytes) = (u32_at(fixed, 32) as usize, u32_at(fixed, 36) as usize);
        let (configuration, summary) = rest.split_at_checked(configuration_bytes)?;
        let (configuration, unread) = postcard::take_from_bytes(configuration).ok()?;
        let is_right = unread.is_empty()
            && summary.len() == summary_bytes
            && is_entry(last)
            && configuration_index <= last.index.0
            && are_reached(&[time]);
        is_right.then(|| Self {
            cluster_id,
            last,
            time: ClusterTime(time),
            configuration,
            configuration_index: LogIndex(configuration_index),
            summary: body.slice_ref(summary),
        })
    }
}
