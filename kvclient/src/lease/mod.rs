//! Leases that are kept alive.
//!
//! `term` is the time for which a lease can be counted on, by this process's clock. `keeper` renews all leases of a
//! client from one thread, many in a request. `handle` is the caller's handle: it revokes the lease when it is dropped.

mod handle;
mod keeper;
mod term;

pub use handle::Lease;
pub use term::LeaseLoss;

pub(crate) use keeper::Keeper;

#[cfg(test)]
mod tests;
