//! Persistent data of a node: its identity, the write-ahead log and snapshots, over the small [`Disk`] trait.
//!
//! The data directory is flat:
//!
//! | file | what it is |
//! |---|---|
//! | `lock` | held by the one daemon that uses the directory ([`lock_data_dir`]) |
//! | `identity.json` | who this node is ([`Identity`]) |
//! | `wal-<number>.log` | the segments of the write-ahead log ([`wal`]) |
//! | `snapshot-<index>-<term>.snap` | what the log said up to that entry ([`snapshot`]) |
//! | `staged-*`, `before-*`, `replacement` | staged new files, old files put aside, and the progress of a replacement |
//! | `*.tmp` | a file under construction, which the next start throws away |
//!
//! All I/O goes through [`Disk`], so that tests can cut the power between any two steps. Nothing in this module decides
//! when to write: the caller provides the thread and ends the process when a write fails.

mod directory;
mod error;
mod identity;
mod remains;
mod replacement;
pub mod snapshot;
pub mod wal;

pub use directory::lock_data_dir;
pub use error::StorageError;
pub use identity::{ClusterIdentity, Identity};
pub use kvd_disk::{DirLock, Disk, File, MemoryDisk, RealDisk};
pub use remains::remains;
pub use replacement::{
    aside_prefix, complete_replacement, discard_staged, files_present, has_staged, replace_all, stage,
};
pub use wal::{Lost, Wal, WalOptions, WalReader};
