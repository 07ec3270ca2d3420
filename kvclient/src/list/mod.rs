//! Lists of ranges.
//!
//! `builder` sets the range and the options, and `asked` is the request made from them. `pages` asks for one page after
//! the other, each from any node, all at the revision of the first: a token carries the place and the revision.
//! `stream` receives the whole range in one reply, line by line, and continues at another node if the reply breaks off.
//! Both return entries of the type in `entry`.

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
