//! How much of the log goes once a snapshot is durable.

use crate::raft::LogIndex;
use crate::storage::WalReader;

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
