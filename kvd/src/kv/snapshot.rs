//! Snapshots: the whole state as bytes, written in pieces while the store goes on applying commands (thesis §5.1).
//!
//! A snapshot is a [`SnapshotSummary`] and a sequence of entries: all items by key, then all sessions by client, each in
//! the canonical bytes that the state's hash is taken over. Together they decide everything that later commands come to;
//! so replicas in the same state write the same bytes. [`super::pieces`] has the format of entries, and cuts their
//! sequence into pieces.
//!
//! The state is that of the moment at which the snapshot was begun. What a command changes ahead of the
//! [walk](super::walk) is kept as it was until the walk has passed it, so nothing waits for a snapshot, and what it
//! takes in memory is what changes ahead of it. `store/taking.rs` takes snapshots, `store/restoring.rs` makes stores of
//! them. Files and streams, their checksums and what the log has to do with all this are others' business.

use super::codec::{Reader, put_varint};
use super::command::Revision;
use super::hash::StateHash;
use super::level::Level;
use bytes::Bytes;
use thiserror::Error;

/// What a snapshot comes to, known before its first piece is written. A store restored from the pieces is checked against
/// all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotSummary {
    /// The level of the state: it decides what the summary, the entries and what they hold look like.
    pub level: Level,
    /// The store's revision.
    pub revision: Revision,
    /// Cluster time of the newest command applied, in milliseconds.
    pub time_ms: u64,
    /// Number of keys.
    pub keys: u64,
    /// Number of sessions.
    pub sessions: u64,
    /// Bytes of all pieces together.
    pub bytes: u64,
    /// Hash of the whole state.
    pub state_hash: StateHash,
}

impl SnapshotSummary {
    /// Encodes the summary. Numbers are varints:
    ///
    /// | offset | size   | field |
    /// |--------|--------|-------|
    /// | 0      | 1      | level |
    /// | 1      | varies | revision, time, keys, sessions, bytes: numbers |
    /// |        | 16     | state hash, lowest byte first |
    pub fn encode(&self) -> Bytes {
        let Self { level, revision, time_ms, keys, sessions, bytes, state_hash } = self;
        let mut to = vec![u8::try_from(level.0).expect("levels of this version have one byte")];
        for number in [revision, time_ms, keys, sessions, bytes] {
            put_varint(&mut to, *number);
        }
        to.extend_from_slice(&state_hash.0.to_le_bytes());
        to.into()
    }

    /// Decodes what [`SnapshotSummary::encode`] wrote.
    ///
    /// # Errors
    /// [`RestoreError::UnknownLevel`], or [`RestoreError::Malformed`] for all other bytes. Never panics, whatever they
    /// are.
    pub fn decode(encoded: &[u8]) -> Result<Self, RestoreError> {
        let from = &mut Reader::new(encoded);
        let level = from.u8().map(|level| Level(level.into())).filter(|level| *level >= Level::FIRST);
        let level = level.ok_or(malformed("level"))?;
        if level > Level::NEWEST {
            return Err(RestoreError::UnknownLevel(level));
        }
        let mut number = |field| from.varint().ok_or(malformed(field));
        let (revision, time_ms) = (number("revision")?, number("time")?);
        let (keys, sessions, bytes) = (number("number of keys")?, number("number of sessions")?, number("bytes")?);
        let state_hash = StateHash(u128::from_le_bytes(from.array().ok_or(malformed("state hash"))?));
        if !from.rest().is_empty() {
            return Err(malformed("bytes after the end"));
        }
        Ok(Self { level, revision, time_ms, keys, sessions, bytes, state_hash })
    }
}

/// A snapshot is being written already; there is one at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a snapshot is being written already")]
pub struct SnapshotBusy;

/// No snapshot is being written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("no snapshot is being written")]
pub struct NoSnapshot;

/// Why no store can be made of a summary and pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RestoreError {
    /// A newer version of this program wrote it: update this node.
    #[error("snapshot of a state of level {0}, which this version does not know")]
    UnknownLevel(Level),
    /// No version of this program writes such bytes.
    #[error("malformed snapshot: {field}")]
    Malformed {
        /// The field that could not be read, or that says what cannot be.
        field: &'static str,
    },
    /// An entry does not belong behind the one before it: a piece came twice, or before its turn.
    #[error("the pieces of the snapshot do not follow one another: {entry} out of order")]
    OutOfOrder {
        /// What the entry is.
        entry: &'static str,
    },
    /// There is more or less of it than the summary says: a piece is missing, or one is from elsewhere.
    #[error("the snapshot should have {expected} {what}, but {found} came")]
    Count {
        /// What is counted.
        what: &'static str,
        /// As many as the summary says.
        expected: u64,
        /// As many as came.
        found: u64,
    },
    /// It all reads well, but is another state.
    #[error("the snapshot should have state hash {expected}, but what came has {found}")]
    StateHash {
        /// As the summary says.
        expected: StateHash,
        /// Of what came.
        found: StateHash,
    },
}

pub(super) fn malformed(field: &'static str) -> RestoreError {
    RestoreError::Malformed { field }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUMMARY: SnapshotSummary = SnapshotSummary {
        level: Level::FIRST,
        revision: 300,
        time_ms: 7,
        keys: 2,
        sessions: 1,
        bytes: 128,
        state_hash: StateHash(0x0f0e_0d0c_0b0a_0908_0706_0504_0302_0100),
    };

    #[test]
    fn the_bytes_of_a_summary_are_pinned() {
        let hex: String = SUMMARY.encode().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "01ac020702018001000102030405060708090a0b0c0d0e0f");
        assert_eq!(SnapshotSummary::decode(&SUMMARY.encode()), Ok(SUMMARY));
        let raised = SnapshotSummary { level: Level::RAISED, ..SUMMARY };
        assert_eq!(raised.encode()[..3], [2, 0xac, 0x02]);
        assert_eq!(SnapshotSummary::decode(&raised.encode()), Ok(raised));
    }

    #[test]
    fn clients_read_the_same_in_a_summary() {
        let kvclient::snapshot::Summary { level, revision, time_ms, keys, sessions, data_bytes, state_hash } =
            kvclient::snapshot::Summary::decode(&SUMMARY.encode()).expect("clients know the format");
        let state_hash = StateHash(state_hash);
        let level = Level(level);
        assert_eq!(
            SnapshotSummary { level, revision, time_ms, keys, sessions, bytes: data_bytes, state_hash },
            SUMMARY
        );
    }

    #[test]
    fn what_is_no_summary_is_refused_by_the_name_of_its_field() {
        let encoded = SUMMARY.encode();
        for (kept, expected) in [
            (0, "level"),
            (1, "revision"),
            (2, "revision"),
            (3, "time"),
            (4, "number of keys"),
            (5, "number of sessions"),
            (6, "bytes"),
            (8, "state hash"),
            (encoded.len() - 1, "state hash"),
        ] {
            assert_eq!(SnapshotSummary::decode(&encoded[..kept]), Err(malformed(expected)), "{kept} bytes");
        }
        let longer = [&encoded[..], &[0]].concat();
        assert_eq!(SnapshotSummary::decode(&longer), Err(malformed("bytes after the end")));
        assert_eq!(SnapshotSummary::decode(&[200, 0]), Err(RestoreError::UnknownLevel(Level(200))));
        assert_eq!(SnapshotSummary::decode(&[0, 0]), Err(malformed("level")));
    }
}
