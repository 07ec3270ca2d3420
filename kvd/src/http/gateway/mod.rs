//! The way from handlers to the node: all words between the two, and the meaning of the node's answers over HTTP.
//!
//! A handler asks one thing and gets its answer or the error to render, wherever the answer comes from. What only a
//! leader can answer is sent on to it (`leading`), once, and again only where nothing can have come of it. Where no leader is
//! known, the question waits for one as long as it has time: elections take a fraction of that.
//!
//! - `asking`: the [`Gateway`], by which handlers ask
//! - `words`: what is asked of the replica, and its answers; `view`: what a node shows of itself without being asked
//! - `leading`: how a question gets to a leader elsewhere
//! - `limits`: what a command may take

mod asking;
mod leading;
mod limits;
mod view;
mod words;

pub use asking::{Asker, Caller, Gateway};
pub(super) use asking::{Consistency, OfTerm, REMOVED};
pub use leading::{Answer, Answered, Forward, Forwarding, Question, Unforwarded};
pub(super) use limits::check as check_limits;
pub use view::View;
pub use words::{Backup, BackupError, NotHandedOver, Request};
