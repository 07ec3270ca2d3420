//! A disk in memory that misbehaves on purpose: power cuts, torn writes, full disks, failing calls, flipped bits. From one
//! seed it does the same every time.
//!
//! What a process sees (*live*) and what a crash leaves (*durable*) are kept apart, for each sector of 512
//! bytes and for each name. [`sync`](kvd_disk::File::sync) and [`sync_dir`](kvd_disk::Disk::sync_dir) move the one into the other;
//! [`FaultyDisk::crash`] draws, for everything in between, whether it had reached the disk.

mod call;
mod contents;
mod disk;
mod names;
mod state;

pub use call::{Call, Fault};
pub use contents::SECTOR_BYTES;
pub use disk::{FaultyDisk, Seed};
