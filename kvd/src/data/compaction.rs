//! When a snapshot is due, and how much of the log goes once it is durable.

use crate::raft::LogIndex;
use crate::storage::WalReader;

/// Whether the log has grown by `growth_bytes` since the last snapshot, which ends at `snapshot`, and anything has been
/// applied since to take one of.
pub fn is_snapshot_due(snapshot: LogIndex, applied: LogIndex, log: &WalReader, growth_bytes: u64) -> bool {
    applied > snapshot && log.bytes_since(snapshot) >= growth_bytes
}

/// Up to where the log may go, with a durable snapshot that ends at `snapshot`.
///
/// The last `keep_bytes` of the log stay, so that a follower which was away for a moment needs no snapshot. And so does
/// all that follows a snapshot which is being sent: else its receiver would need the next one right after it, and so on
/// for ever.
pub fn compaction_point(
    snapshot: LogIndex,
    log: &WalReader,
    keep_bytes: u64,
    being_sent: impl IntoIterator<Item = LogIndex>,
) -> LogIndex {
    being_sent.into_iter().fold(snapshot.min(log.last_with_bytes_after(keep_bytes)), Ord::min)
}
