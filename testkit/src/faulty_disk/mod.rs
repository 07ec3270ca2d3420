//! A disk in memory that misbehaves on purpose: power cuts, torn writes, full disks, failing calls, flipped bits. The
//! same seed always gives the same behaviour.
//!
//! The disk keeps the bytes that a process sees (*live*) apart from those that a crash leaves (*durable*), for each
//! sector of 512 bytes and for each name. [`sync`](kvd_disk::File::sync) and [`sync_dir`](kvd_disk::Disk::sync_dir)
//! make live bytes durable; for everything in between, [`FaultyDisk::crash`] draws whether it had reached the disk.

mod call;
mod contents;
mod disk;
mod names;
mod state;

pub use call::{Call, Fault};
pub use contents::SECTOR_BYTES;
pub use disk::{FaultyDisk, Seed};
