//! Startup: opens the configured disk, and checks its contents against the configuration.

use super::error::StartError;
use super::patient_disk::is_for_want_of_resources;
use crate::config::{Config, StorageKind};
use crate::data::{self, DataError, OpenOptions, Opened};
use crate::kv::SessionLimits;
use crate::raft::NodeId;
use crate::storage::{ClusterIdentity, Disk, MemoryDisk, RealDisk, StorageError, WalOptions};
use kvclient::api::hex_id;
use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};

/// Returns the disk that the configuration names.
pub(super) fn configured_disk(config: &Config) -> Result<Arc<dyn Disk>, StartError> {
    Ok(match config.storage {
        StorageKind::Memory => Arc::new(MemoryDisk::new()),
        StorageKind::Disk => {
            let dir = &config.data_dir;
            let opened = RealDisk::open(dir).map_err(|cause| match is_for_want_of_resources(&cause) {
                true => StartError::Resources(cause),
                false => StartError::DataDir { dir: dir.clone(), cause },
            });
            Arc::new(opened?)
        }
    })
}

/// Opens the node's data. Takes as long as reading its log.
pub(super) fn open(config: &Config, disk: &Arc<dyn Disk>) -> Result<Opened, StartError> {
    let options = OpenOptions {
        name: &config.name,
        new_id: NodeId(rand::random()),
        wal: WalOptions::new(rand::random()),
        cache_bytes_max: config.raft.cache_bytes_max,
        session_limits: SessionLimits::default(),
        store_limits: config.store,
        level_max: config.level_max,
    };
    let opened = data::open(disk, options, |cluster| check_members(config, cluster));
    let opened = opened.map_err(|refusal| match refusal {
        Refusal::Members(error) => error,
        Refusal::Data(cause) => StartError::data(config, cause),
    })?;
    if let Some(torn) = &opened.torn_tail {
        tracing::warn!("{torn}");
    }
    for damaged in &opened.damaged_snapshots {
        tracing::warn!("{damaged}");
    }
    tracing::info!("{}", found(&opened));
    Ok(opened)
}

/// Logs which program this is, and where it keeps its data.
pub(super) fn log_start(config: &Config) {
    let version = env!("CARGO_PKG_VERSION");
    match config.storage {
        StorageKind::Memory => tracing::info!("starting kvd {version} with its data in memory only"),
        StorageKind::Disk => tracing::info!("starting kvd {version} with its data in {}", config.data_dir.display()),
    }
}

/// Describes the data that the node starts with.
fn found(opened: &Opened) -> String {
    let (Some(recovered), Some(cluster)) = (&opened.recovered, &opened.identity.cluster) else {
        return "no data; not part of a cluster yet".to_owned();
    };
    let store = recovered.store.read().unwrap_or_else(PoisonError::into_inner);
    let snapshot = match &opened.snapshot {
        Some(snapshot) => format!("a snapshot up to entry {}", snapshot.last().index),
        None => "no snapshot".to_owned(),
    };
    format!(
        "found data of cluster {}: {snapshot}, log up to entry {}; committed: {} at revision {}",
        hex_id(cluster.id),
        recovered.log.last_index(),
        match store.len() {
            1 => "1 key".to_owned(),
            keys => format!("{keys} keys"),
        },
        store.revision()
    )
}

/// Reason for refusing the data.
enum Refusal {
    /// It belongs to other members.
    Members(StartError),
    /// It cannot be used.
    Data(DataError),
}

impl From<DataError> for Refusal {
    fn from(cause: DataError) -> Self {
        Self::Data(cause)
    }
}

/// Refuses data of a cluster whose members differ from `--peers`. Without the flag, the members are those in the data.
fn check_members(config: &Config, cluster: &ClusterIdentity) -> Result<(), Refusal> {
    let known: BTreeSet<&str> = cluster.first_members.iter().map(String::as_str).collect();
    if config.peers.is_empty() || config.member_names() == known {
        return Ok(());
    }
    Err(Refusal::Members(StartError::OtherCluster {
        dir: config.data_dir.clone(),
        known: cluster.first_members.clone(),
        configured: config.member_names().into_iter().map(str::to_owned).collect(),
    }))
}

impl StartError {
    fn data(config: &Config, cause: DataError) -> Self {
        let dir = config.data_dir.clone();
        match cause {
            DataError::Storage(StorageError::OtherName { found, expected }) => {
                Self::OtherNode { dir, found, configured: expected }
            }
            DataError::Storage(cause) => Self::Storage { dir, cause },
            DataError::UnreadableEntry(cause) => Self::UnreadableEntry { dir, cause },
            DataError::Snapshot(cause) => Self::UnreadableSnapshot { dir, cause },
            DataError::Level { needed, level_max } => Self::Level { dir, needed, level_max },
            DataError::LogMissing => Self::LogMissing { dir },
            DataError::Remains(file) => Self::Remains { dir, file },
            DataError::Diverged(index) => Self::Diverged { dir, index },
            DataError::RestoreUnfinished => Self::RestoreUnfinished { dir },
        }
    }
}
