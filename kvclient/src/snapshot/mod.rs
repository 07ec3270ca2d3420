//! The bytes of a snapshot: the whole store at one moment, as sent by `GET /snapshot`.
//!
//! The same bytes are a file in a node's data directory, a stream from one node to another, and a backup. They are part
//! of the contract between daemon and clients like the types of [`api`](crate::api), so they are defined here, once,
//! independent of files and sockets: [`Decoder`] takes bytes as they arrive and checks them, [`Encoder`] is its
//! counterpart.
//!
//! ```text
//! +--------+------+------+------+-----+------+-----+
//! | header | head | data | data | ... | data | end |
//! +--------+------+------+------+-----+------+-----+
//!     \_____^ \____^ \____^ each part names the checksum of the one before
//! ```
//!
//! The end contains the number of parts and the length of the data, so that a truncated snapshot never passes for a
//! complete one.
//!
//! Only the state machine interprets the data. [`Head`] and [`Summary`] describe it without that, and [`Checker`] finds
//! out whether a snapshot is complete.
//!
//! [`Client::save_snapshot`](crate::Client::save_snapshot) downloads one.

mod check;
mod decoder;
mod encoder;
mod error;
mod format;
mod head;
mod summary;
#[cfg(test)]
pub(crate) mod testing;
mod varint;

pub use check::{Checker, SnapshotInfo};
pub use decoder::{Decoder, Part};
pub use encoder::Encoder;
pub use error::SnapshotError;
pub use format::{END_BYTES, FORMAT, HEADER_BYTES, NUMBER_MAX, PART_BYTES_MAX, PART_HEADER_BYTES, Totals};
pub use head::Head;
pub use summary::{Summary, SummaryError};
pub use varint::{VARINT_BYTES_MAX, put_varint, take_varint};
