//! Clients that do everything there is to do, and write down what they were told, for [`History`] to judge.
//!
//! Writers use the real client. Some repeat a request until it has an outcome, as the client does by default; the
//! others send it once, so that they meet the unknown outcomes, and the answers that are of that very moment. Some of these
//! write at one node alone, which sends on what it cannot do itself. Readers
//! are pinned to one node each, leader or not, cut off or not, and read from it both ways.
//!
//! A few keys are fought over, by writers of all kinds. Others see only reads and conditional sets: where nothing
//! deletes and nothing is overwritten unseen, there is no unknown delete or write that would explain away a loss.

mod clock;
mod fate;
mod history;
mod keys;
mod notes;
mod reader;
mod recorder;
mod shared;
mod writer;

pub use history::History;
pub use reader::Consistency;
pub use recorder::Recorder;
