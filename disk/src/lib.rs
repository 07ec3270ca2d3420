//! The few operations on files that storage is built of: [`Disk`], a flat directory, and [`File`], one file in it.
//!
//! The traits state a contract, above all what a crash may do to bytes and names that are not yet durable: see [`Disk`].
//! [`RealDisk`] keeps it on a file system and [`MemoryDisk`] in memory. The tests have a third one, which loses, tears
//! and refuses on purpose (`testkit::FaultyDisk`), and try the same suite on all three.
//!
//! This is a crate of its own so that the faulty disk can implement the traits and yet serve the unit tests of the daemon:
//! both stand above these definitions, and neither is part of the other.

mod contents;
mod disk;
mod memory;
mod real;

pub use contents::{read_at, write_at};
pub use disk::{DirLock, Disk, File};
pub use memory::MemoryDisk;
pub use real::RealDisk;
