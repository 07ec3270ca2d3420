//! Disks: that all of them keep one contract, and that the faulty one fails as it says.

mod contract;
mod faults;
mod reading;
