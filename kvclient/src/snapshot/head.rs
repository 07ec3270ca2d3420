//! A snapshot's description of itself.

use super::format::{are_reached, u32_at, u64_at};
use bytes::Bytes;

/// Bytes before the configuration.
const FIXED_BYTES: usize = 40;

/// A snapshot's description of itself: its cluster and its last entry. The contents of the configuration and the
/// summary are for the cluster's nodes; for the summary, see [`Summary`](super::Summary).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The cluster whose state it is.
    pub cluster_id: u64,
    /// Index of the last log entry that is part of it; at least one.
    pub last_index: u64,
    /// Term of that entry.
    pub last_term: u64,
    /// Cluster time of that entry, in milliseconds.
    pub time_ms: u64,
    /// Index of the entry that set the configuration.
    pub configuration_index: u64,
    /// The members of the cluster at that entry, as nodes encode them.
    pub configuration: Bytes,
    /// The state machine's summary of the data.
    pub summary: Bytes,
}

impl Head {
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
    pub(super) fn encode(&self) -> Vec<u8> {
        let Self { configuration, summary, .. } = self;
        let mut bytes = Vec::with_capacity(FIXED_BYTES + configuration.len() + summary.len());
        for number in [self.last_index, self.last_term, self.time_ms, self.configuration_index] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        for length in [configuration.len(), summary.len()] {
            let length = u32::try_from(length).expect("parts are shorter than PART_BYTES_MAX");
            bytes.extend_from_slice(&length.to_le_bytes());
        }
        bytes.extend_from_slice(configuration);
        bytes.extend_from_slice(summary);
        bytes
    }

    /// Decodes the body of the part; `None` if it is malformed.
    pub(super) fn decode(cluster_id: u64, body: &Bytes) -> Option<Self> {
        let (fixed, rest) = body.split_at_checked(FIXED_BYTES)?;
        let [last_index, last_term, time_ms, configuration_index] = [0, 8, 16, 24].map(|offset| u64_at(fixed, offset));
        let (configuration_bytes, summary_bytes) = (u32_at(fixed, 32) as usize, u32_at(fixed, 36) as usize);
        let (configuration, summary) = rest.split_at_checked(configuration_bytes)?;
        let is_right = summary.len() == summary_bytes
            && last_index > 0
            && configuration_index <= last_index
            && are_reached(&[last_index, last_term, time_ms]);
        let (configuration, summary) = (body.slice_ref(configuration), body.slice_ref(summary));
        is_right.then_some(Self {
            cluster_id,
            last_index,
            last_term,
            time_ms,
            configuration_index,
            configuration,
            summary,
        })
    }
}
