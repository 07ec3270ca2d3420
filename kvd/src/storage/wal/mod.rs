//! The write-ahead log: everything that a node has promised, in the order of its promises.
//!
//! The log is a sequence of [`Record`](crate::raft::Record)s: hard state, entries, truncations. It is stored in
//! *segments*: files of one fixed size that are filled with zeros ahead of use, so that making a write durable changes
//! no metadata of the file system. Each call of [`Wal::append`] writes one *batch*: one write, one sync, durable as a
//! whole. A caller with several waiting writes passes them in one call (group commit).
//!
//! ```text
//! wal-0000000000000001.log              wal-0000000000000002.log
//! +--------+-------+-------+----------+ +--------+-------+-----------------------+
//! | header | batch | batch | zeros    | | header | batch | zeros                 |
//! +--------+-------+-------+----------+ +--------+-------+-----------------------+
//!              \______^ \________________^ each names the checksum of the one before
//! ```
//!
//! # After a crash
//! A batch is written only after the one before it is durable. So if a batch does not check ([`Wal::open`]):
//! - and nothing was begun after it, it is a **torn tail**: its write never finished, nobody was told that it had, and
//!   it is overwritten with zeros;
//! - and anything was begun after it, in its segment or in a later one, it **was** durable once, so the disk has
//!   damaged it. That is [`StorageError::Corrupt`](super::StorageError::Corrupt), and the node must not start.
//!
//! One case looks like the first and is the second: damage to the very last batch, since nothing after it proves that
//! it was durable. So once a log has been idle for a moment it is *sealed* ([`Wal::seal`]) with a batch of no records.
//! That batch proves that the one before it was durable, and losing it loses nothing.
//!
//! To tell a batch from leftovers and from users' data that looks like one, each batch carries the random *salt* of its
//! segment, its number, and the checksum of the batch before (the chain).
//!
//! # Its beginning
//! The log need not keep entries that a snapshot holds: whole segments are removed from its beginning, and the
//! checkpoint in the header of the first remaining segment preserves the hard state. The last entry of the snapshot is
//! the *base*. The log must have all entries after the base, and may have some up to it as well.
//!
//! A snapshot from the leader replaces a log that cannot be brought to agree with it: [`Wal::reset_to`].
//!
//! # Files
//! - `format`: the bytes of headers, `record`: the bytes of records, each with a table of offsets
//! - `checkpoint`: summary of the log up to some point; every segment begins with one
//! - `segment`: making segment files, `active`: the one appended to, `spare`: making them ahead of use
//! - `files`: which segments make up the log; `compaction`: removing the first ones
//! - `recovery`: reading the log when the node starts; `base`: the part of it that follows the snapshot; `terms`: its
//!   terms
//! - `open`: opening; `log`: appending; `reader`: reading entries back, with the help of the sparse `index`

mod active;
mod base;
mod checkpoint;
mod compaction;
mod files;
mod format;
mod index;
mod log;
mod open;
mod opened;
mod reader;
mod record;
mod recovery;
mod segment;
mod spare;
mod terms;
#[cfg(test)]
mod tests;

pub use compaction::Compactor;
pub use format::BATCH_BYTES_MAX;
pub use index::Lost;
pub use log::{Appended, Wal};
pub use open::{SEGMENT_BYTES_DEFAULT, WalOptions};
pub use opened::{OpenedLog, TornTail};
pub use reader::WalReader;
pub(super) use segment::is_segment;
pub use spare::SpareMaker;
pub use terms::LogTerms;
