//! Reasons why a node did not start, or why a running one must stop.

use super::reporter::Failure;
use crate::kv::{Level, RestoreError};
use crate::node::UnreadableEntry;
use crate::raft::LogIndex;
use crate::storage::StorageError;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use thiserror::Error;

/// Longest time that a node takes to stop. Longer than transferring leadership and finishing requests take, and shorter
/// than supervisors wait before they kill.
pub const STOP_TIME_MAX: Duration = Duration::from_secs(10);

/// Reason why a node did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The address cannot be listened on.
    #[error("--listen {address}: {cause}{}", listen_hint(.cause))]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Error of the operating system.
        cause: io::Error,
    },
    /// The data directory cannot be used.
    #[error("--data-dir {}: {cause}; the directory must be writable for this user", .dir.display())]
    DataDir {
        /// The directory.
        dir: PathBuf,
        /// Error of the operating system.
        cause: io::Error,
    },
    /// The contents of the data directory cannot be used.
    #[error("--data-dir {}: {cause}", .dir.display())]
    Storage {
        /// The directory.
        dir: PathBuf,
        /// Reason why it cannot be used.
        cause: StorageError,
    },
    /// The log holds an entry that this version cannot read.
    #[error("--data-dir {}: {cause}", .dir.display())]
    UnreadableEntry {
        /// The directory.
        dir: PathBuf,
        /// The entry, and the reason.
        cause: UnreadableEntry,
    },
    /// The snapshot is undamaged, but this version cannot build a store from it.
    #[error(
        "--data-dir {}: {cause}. The snapshot is undamaged, but this version of kvd cannot read it: use the version \
         that wrote it, or a newer one",
        .dir.display()
    )]
    UnreadableSnapshot {
        /// The directory.
        dir: PathBuf,
        /// Reason why it cannot be used.
        cause: RestoreError,
    },
    /// The data is of a higher level than the node may use.
    #[error(
        "--data-dir {}: the data is at level {needed}, but this node supports levels up to {level_max}. A level is \
         never lowered: use a kvd version that supports it, without a lower --level-max",
        .dir.display()
    )]
    Level {
        /// The directory.
        dir: PathBuf,
        /// The level of the data.
        needed: Level,
        /// The newest level that the node knows, or is allowed to use.
        level_max: Level,
    },
    /// The node is part of a cluster, but its log is gone.
    #[error(
        "--data-dir {}: this node has been part of a cluster, but its log (the files wal-*.log) is missing or empty, \
         and with it the votes and entries that it has confirmed to the others, so it refuses to start. Restore the \
         latest version of the files. If that is not possible, move the directory away and start this node with the \
         same flags: it rejoins as a new member under its name, and the others send it all data, as long as they are a \
         majority",
        .dir.display()
    )]
    LogMissing {
        /// The directory.
        dir: PathBuf,
    },
    /// There are files of a node that was part of a cluster, but not the one that identifies it.
    #[error(
        "--data-dir {}: {file} belongs to a node that was part of a cluster, but its identity.json is missing, so this \
         directory is incomplete and is not used for a new node. Restore the latest version of the files. If that is \
         not possible, move the directory away and start this node with the same flags: it rejoins as a new member \
         under its name, and the others send it all data, as long as they are a majority. If they are not, restore a \
         backup with `kvd restore`",
        .dir.display()
    )]
    Remains {
        /// The directory.
        dir: PathBuf,
        /// Name of the file.
        file: String,
    },
    /// The data differs from that of the other nodes.
    #[error(
        "--data-dir {}: what this node holds was found to differ from what the other nodes hold, at entry {index} of the log, by \
         a defect of kvd, of this machine's memory or of its disk; so it must not be used. Keep the directory for who looks \
         into that: move it away, and start this node by the same flags. It comes back as a new member in its own place, \
         and the others send it everything, as long as they are a majority. If they are stopped for the same reason, empty no \
         directory: find out which is right, and make a cluster of it with `kvd recover`",
        .dir.display()
    )]
    Diverged {
        /// The directory.
        dir: PathBuf,
        /// The entry after which the difference was found.
        index: LogIndex,
    },
    /// Restoring a backup into the directory was interrupted.
    #[error(
        "--data-dir {}: a restore into this directory did not finish. Run `kvd restore` again; or, to start without a \
         backup, remove the files in it whose names begin with staged-",
        .dir.display()
    )]
    RestoreUnfinished {
        /// The directory.
        dir: PathBuf,
    },
    /// The data belongs to another node.
    #[error(
        "--data-dir {} holds data of node {found}, but --name is {configured}: point --data-dir to this node's own \
         data, or start it as --name {found}",
        .dir.display()
    )]
    OtherNode {
        /// The directory.
        dir: PathBuf,
        /// Name of the node whose data it is.
        found: String,
        /// Name configured.
        configured: String,
    },
    /// The data belongs to a cluster of other nodes than configured.
    #[error(
        "--data-dir {} holds data of a cluster of {}, but --peers lists {}: point --data-dir to this node's own data, \
         or list the nodes of its cluster",
        .dir.display(), .known.join(", "), .configured.join(", ")
    )]
    OtherCluster {
        /// The directory.
        dir: PathBuf,
        /// Names of the cluster's first members.
        known: Vec<String>,
        /// Names configured.
        configured: Vec<String>,
    },
    /// A thread or another system resource could not be obtained.
    #[error("cannot start: {0}")]
    Resources(#[from] io::Error),
    /// A defect in the daemon itself.
    #[error("cannot start: a panic, reported above. This is a bug in kvd; no data was harmed")]
    Panicked,
}

/// Returns advice about an address that cannot be listened on, to follow the `cause` in a message.
pub(crate) fn listen_hint(cause: &io::Error) -> &'static str {
    match cause.kind() {
        io::ErrorKind::AddrInUse => "; another program listens there: stop it, or choose another port",
        io::ErrorKind::AddrNotAvailable => "; this machine does not have that address",
        io::ErrorKind::PermissionDenied => "; ports below 1024 need privileges: choose a higher one",
        _ => "",
    }
}

/// Reason why a running node must stop.
#[derive(Debug, Error)]
pub enum FatalError {
    /// The disk failed. After a failed write or sync nothing on it can be trusted.
    #[error("--data-dir {}: {cause}", .dir.display())]
    Disk {
        /// The data directory.
        dir: PathBuf,
        /// The operation that failed, and its error.
        cause: StorageError,
    },
    /// The data belongs to a cluster other than the one that the node is configured for.
    #[error("{0}")]
    OtherCluster(String),
    /// A thread or another system resource could not be obtained.
    #[error("cannot go on: {0}")]
    Resources(io::Error),
    /// A defect in the daemon itself.
    #[error("the node ended with a panic, reported above. This is a bug in kvd; every acknowledged write is on disk")]
    Panicked,
    /// The node was asked to stop, and something did not end in time.
    #[error(
        "could not stop within {} s, most likely because the disk does not respond. Every acknowledged write is on \
         disk; check that the disk is healthy",
        STOP_TIME_MAX.as_secs()
    )]
    StopTimedOut,
}

impl FatalError {
    /// Converts the failure of a part of the node whose data is in `data_dir`.
    pub(super) fn new(data_dir: &Path, failure: Failure) -> Self {
        match failure {
            Failure::Disk(cause) => Self::Disk { dir: data_dir.to_owned(), cause },
            Failure::Panic => Self::Panicked,
        }
    }
}
