//! Decides when a snapshot is due, and how much of the log is removed once it is durable.

use crate::raft::LogIndex;
use crate::storage::WalReader;

/// Returns whether a snapshot is due: the log has grown by `growth_bytes` since the last one, which ends at `snapshot`,
/// and entries were applied since.
pub fn is_snapshot_due(snapshot: LogIndex, applied: LogIndex, log: &WalReader, growth_bytes: u64) -> bool {
    applied > snapshot && log.bytes_since(snapshot) >= growth_bytes
}

/// Amount of log that is kept for followers although a snapshot holds it.
#[derive(Clone, Copy, Debug)]
pub struct KeptLog {
    /// Bytes that are always kept, so that a follower that was away for a moment needs no snapshot.
    pub recent_bytes: u64,
    /// Most bytes kept for a follower that is behind, whether the leader feeds it from the log or is sending it a
    /// snapshot. For a follower further back, a snapshot costs less.
    pub behind_bytes_max: u64,
}

/// Returns the index up to which the log may be removed, with a durable snapshot that ends at `snapshot`.
///
/// Entries that have yet to be sent to followers are kept. For a follower that is fed from the log, `fed` is its
/// position: without the entries after it, the next snapshot would remove those that the follower needs to get from the
/// previous snapshot to the end of the log, and so on forever. For a follower that is being sent a snapshot,
/// `being_sent` is the end of that snapshot: without the entries after it, the follower would need the next snapshot
/// right after this one.
///
/// Both have the same bound, so no follower, however slow, fills this node's disk. A follower that can catch up at all
/// loses nothing by the bound: one that takes a snapshot of S bytes while the log grows by several times S is slower
/// than the log grows, and would fall behind in the same way if it were fed from the log.
pub fn compaction_point(
    snapshot: LogIndex,
    log: &WalReader,
    kept: KeptLog,
    being_sent: impl IntoIterator<Item = LogIndex>,
    fed: impl IntoIterator<Item = LogIndex>,
) -> LogIndex {
    let recent = log.last_with_bytes_after(kept.recent_bytes);
    let furthest = log.last_with_bytes_after(kept.behind_bytes_max);
    let needed = being_sent.into_iter().chain(fed).map(|index| index.max(furthest));
    needed.fold(snapshot.min(recent), Ord::min)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::{ClusterTime, Entry, NodeId, Payload, Record, Term};
    use crate::storage::{MemoryDisk, Wal, WalOptions};
    use bytes::Bytes;
    use std::sync::Arc;

    /// Returns a log of entries 1 to 100, of about a thousand bytes each.
    fn log() -> Wal {
        let (mut wal, _) =
            Wal::open(Arc::new(MemoryDisk::new()), WalOptions::new(7), NodeId(1), &mut |_| {}).expect("an empty disk");
        for index in 1..=100 {
            let payload = Payload::Command(Bytes::from(vec![b'x'; 928]));
            let entry = Entry { index: LogIndex(index), term: Term(1), time: ClusterTime(0), payload };
            let _ = wal.append(&[Record::Entry(entry)]).expect("a disk that works");
        }
        wal
    }

    #[test]
    fn what_followers_need_stays() {
        let wal = log();
        let kept = KeptLog { recent_bytes: 10_000, behind_bytes_max: 50_000 };
        let point = |snapshot, being_sent: &[u64], fed: &[u64]| {
            let indexes = |indexes: &[u64]| indexes.iter().copied().map(LogIndex).collect::<Vec<_>>();
            compaction_point(LogIndex(snapshot), &wal.reader(), kept, indexes(being_sent), indexes(fed)).0
        };
        let (recent, furthest) = (point(100, &[], &[]), point(100, &[], &[0]));
        assert!((88..=91).contains(&recent) && (48..=51).contains(&furthest), "{recent}, {furthest}");
        assert_eq!(point(80, &[], &[]), 80, "the snapshot has no more");
        assert_eq!(point(100, &[], &[95, 99]), recent, "they are a little behind");
        assert_eq!(point(100, &[], &[99, 70]), 70, "it is fed what it lacks");
        assert_eq!(point(100, &[], &[99, 20]), furthest, "it is better off with a snapshot");
        assert_eq!(point(100, &[60], &[99]), 60, "it will need what follows");
        assert_eq!(point(100, &[80, 60], &[70]), 60);
        assert_eq!(point(100, &[60, 20], &[99]), furthest, "it takes so long that it will need the next one anyway");
    }
}
