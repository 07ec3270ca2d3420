//! How a node without data becomes part of a cluster: it founds one together with its peers, or returns to the cluster
//! of an earlier incarnation ([`Forming`]), or joins one ([`Asking`]). [`Beginning`] has the writes that a node makes
//! before any other node considers it a member.
//!
//! Pure: calls in, decisions out. The caller (the server, or a simulator) dials the peers, sends the requests, writes
//! to the disk, and reports the results.

mod asking;
mod beginning;
mod forming;

pub use asking::{Answer, Asking, JoinNews, Step, Wish};
pub use beginning::{Beginning, ToWrite, introduce_member};
pub use forming::{Forming, Heard};
