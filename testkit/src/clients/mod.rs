//! Clients of a cluster, which record what they see so that it can be judged.

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
