//! Clients of a cluster, which write down what they see for somebody to judge.

mod bystander;
mod deaths;
mod load;
mod recording;
mod vitals;

pub use bystander::Bystander;
pub use deaths::Deaths;
pub use load::{Ledger, Load};
pub use recording::{Consistency, History, Recorder};
pub use vitals::Vitals;
