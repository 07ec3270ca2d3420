//! The path from handlers to the node: all types exchanged between the two, and the meaning of the node's answers over
//! HTTP.
//!
//! A handler asks one thing and gets its answer or the error to render, wherever the answer comes from. Questions that
//! only a leader can answer are forwarded to the leader (`leading`) once, and repeated only if the first attempt cannot
//! have had any effect. If no leader is known, the question waits for one until its deadline: elections take a fraction
//! of that.
//!
//! - `asking`: the [`Gateway`], by which handlers ask
//! - `words`: requests to the replica, and its answers; `view`: state that a node shows without being asked
//! - `leading`: how a question reaches a leader on another node
//! - `limits`: limits of a command

mod asking;
mod leading;
mod limits;
mod view;
mod words;

pub use asking::{Asker, Caller, Gateway};
pub(super) use asking::{Next, OfTerm, REMOVED};
pub use leading::{Answer, Answered, Forward, Forwarding, Question, Unforwarded};
pub use limits::CommandLimits;
pub(super) use limits::check as check_limits;
pub use view::View;
pub use words::{Backup, BackupError, NotTransferred, Request};
