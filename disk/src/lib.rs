//! The few file operations on which storage is built: [`Disk`], a flat directory, and [`File`], one file in it.
//!
//! The traits state a contract, above all what a crash may do to bytes and names that are not yet durable: see
//! [`Disk`]. [`RealDisk`] fulfils it on a file system and [`MemoryDisk`] in memory. The tests have a third
//! implementation, which loses, tears and refuses on purpose (`testkit::FaultyDisk`), and run the same suite on all
//! three.
//!
//! This is a separate crate so that the faulty disk can implement the traits and still serve the daemon's unit tests:
//! both depend on these definitions, and neither is part of the other.

mod contents;
mod disk;
mod memory;
mod real;

pub use contents::{read_at, write_at};
pub use disk::{DirLock, Disk, File};
pub use memory::MemoryDisk;
pub use real::RealDisk;
