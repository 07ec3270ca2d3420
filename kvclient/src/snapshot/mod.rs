//! The bytes of a snapshot: the whole store at one moment, as `GET /snapshot` gives it.
//!
//! The same bytes are a file in a node's data directory, a stream from one node to another, and a backup. They are part
//! of the contract between daemon and clients like the types of [`api`](crate::api), so they are defined here, once,
//! without a file or a socket: [`Decoder`] takes bytes as they come and vouches for them, [`Encoder`] is its
//! counterpart.
//!
//! ```text
//! +--------+------+------+------+-----+------+-----+
//! | header | head | data | data | ... | data | end |
//! +--------+------+------+------+-----+------+-----+
//!     \_____^ \____^ \____^ each part names the checksum of the one before
//! ```
//!
//! The end says how many parts there were and how long, so that no beginning of a snapshot passes for a whole one.
//!
//! What the data means is the state machine's business. [`Head`] and [`Summary`] tell what there is to tell without it,
//! and [`Checker`] whether a snapshot is whole.
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

pub use check::{Checker, SnapshotInfo};
pub use decoder::{Decoder, Part};
pub use encoder::Encoder;
pub use error::SnapshotError;
pub use format::{END_BYTES, FORMAT, HEADER_BYTES, NUMBER_MAX, PART_BYTES_MAX, PART_HEADER_BYTES, Totals};
pub use head::Head;
pub use summary::{Summary, SummaryError};
