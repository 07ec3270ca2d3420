//! Clients that use every operation, and record the answers for [`History`] to judge.
//!
//! Writers use the real client. Some repeat a request until it has an outcome, as the client does by default. The
//! others send it once, so that they see unknown outcomes, and answers from the moment of the request. Some of these
//! write at one node only, which forwards what it cannot do itself. Each reader is pinned to one node, leader or not,
//! cut off or not, and reads from it both ways.
//!
//! Writers of all kinds compete for a few keys. Other keys get only reads and conditional sets: where nothing deletes
//! and nothing is overwritten unseen, no unknown delete or write can explain away a loss.

mod clock;
mod fate;
mod history;
mod keys;
mod notes;
mod one_node;
mod reader;
mod recorder;
mod shared;
mod writer;

pub use history::History;
pub use reader::Consistency;
pub use recorder::Recorder;
