//! Starting: the data directory is taken, the log is read, the replica rebuilt.

use super::StartError;
use crate::config::{Config, StorageKind};
use crate::node::{Recovered, Recovery};
use crate::raft::NodeId;
use crate::storage::{DirLock, Disk, Identity, MemoryDisk, RealDisk, StorageError, Wal, WalOptions, lock_data_dir};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What a node has when it starts.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) lock: DirLock,
    pub(super) identity: Identity,
    pub(super) wal: Wal,
    /// `None` if the log is empty: the node has not been part of a cluster.
    pub(super) recovered: Option<Recovered>,
}

/// Opens the node's data. Takes as long as reading its log.
pub(super) fn open(config: &Config) -> Result<Opened, StartError> {
    let disk: Arc<dyn Disk> = match config.storage {
        StorageKind::Memory => Arc::new(MemoryDisk::new()),
        StorageKind::Disk => {
            let dir = &config.data_dir;
            let opened = RealDisk::open(dir).map_err(|cause| StartError::DataDir { dir: dir.clone(), cause })?;
            Arc::new(opened)
        }
    };
    let failed = |cause| StartError::storage(config, cause);
    let lock = lock_data_dir(&*disk).map_err(failed)?;
    let identity = Identity::load_or_create(&*disk, &config.name, || NodeId(rand::random())).map_err(failed)?;
    if let Some(cluster) = &identity.cluster {
        let known: BTreeSet<&str> = cluster.first_members.iter().map(String::as_str).collect();
        // Without --peers the node relies on what its data says.
        if !config.peers.is_empty() && config.member_names() != known {
            return Err(StartError::OtherCluster {
                dir: config.data_dir.clone(),
                known: cluster.first_members.join(", "),
                configured: config.member_names().into_iter().collect::<Vec<_>>().join(", "),
            });
        }
    }

    let mut recovery = Recovery::default();
    let cache_bytes_max = config.raft.cache_bytes_max;
    let mut on_record = |record| recovery.record(record, cache_bytes_max);
    let options = WalOptions::new(rand::random());
    let (wal, opened) = Wal::open(Arc::clone(&disk), options, identity.node_id, &mut on_record).map_err(failed)?;
    if opened.created && identity.cluster.is_some() {
        // The log is begun before the cluster forms, so it was there once.
        return Err(StartError::LogMissing { dir: config.data_dir.clone() });
    }
    if let Some(torn) = &opened.torn_tail {
        tracing::warn!("{torn}");
    }
    let recovered = (!recovery.is_empty()).then(|| recovery.finish());
    Ok(Opened { disk, lock, identity, wal, recovered })
}

impl StartError {
    fn storage(config: &Config, cause: StorageError) -> Self {
        Self::Storage { dir: config.data_dir.clone(), cause }
    }
}
