//! How a node without data becomes part of a cluster: it founds one together with its peers, or returns to the one that
//! an earlier life of it was part of ([`Forming`]), or joins one ([`Asking`]). [`Beginning`] is what it writes before it is
//! a member for anybody.
//!
//! Pure: calls in, decisions out. Whoever runs it (the server, or a simulator) dials the peers, sends the questions, writes
//! to the disk, and reports what comes of that.

mod asking;
mod beginning;
mod forming;

pub use asking::{Answer, Asking, JoinNews, Step, Wish};
pub use beginning::{Beginning, ToWrite, introduce_member};
pub use forming::{Forming, Heard};
