//! Clients that use the whole data model, and a judgement of all that they saw.
//!
//! Every write has a revision, and watches tell what each revision changed. So the order of all operations need not be
//! searched for: the watches tell it, and `judge` checks that every answer fits it. `clients` are the threads that
//! write and read, `watching` those that watch, `recording` starts and stops them, and `notes` is what they write down.

mod clients;
mod judge;
mod notes;
mod recording;
mod watching;

pub use judge::Judgement;
pub use recording::DataRecorder;
