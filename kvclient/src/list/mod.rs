//! Lists of ranges.
//!
//! `builder` says which keys and how; `asked` is the question that comes of it. `pages` asks for one page after the
//! other, each from any node, all at the revision of the first: a token carries the place and the revision. `stream`
//! receives the whole range in one reply, line by line, and goes on at another node where one breaks off. `entry` is what
//! both give.

mod asked;
mod builder;
mod entry;
mod pages;
mod stream;

pub use builder::List;
pub use entry::ListEntry;
pub use pages::{Entries, Items, Keys, Pages};
pub use stream::ListStream;

#[cfg(test)]
mod tests;
