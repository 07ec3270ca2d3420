//! Starting: the data directory is taken, the log is read, the replica rebuilt.

use super::StartError;
use super::founding::{FOUNDING_INDEX, cluster_of};
use crate::config::{Config, StorageKind};
use crate::node::{Recovered, Recovery};
use crate::raft::NodeId;
use crate::storage::{
    ClusterIdentity, DirLock, Disk, Identity, MemoryDisk, RealDisk, StorageError, Wal, WalOptions, lock_data_dir,
};
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

/// The disk that the configuration names.
pub(super) fn configured_disk(config: &Config) -> Result<Arc<dyn Disk>, StartError> {
    Ok(match config.storage {
        StorageKind::Memory => Arc::new(MemoryDisk::new()),
        StorageKind::Disk => {
            let dir = &config.data_dir;
            Arc::new(RealDisk::open(dir).map_err(|cause| StartError::DataDir { dir: dir.clone(), cause })?)
        }
    })
}

/// Opens the node's data. Takes as long as reading its log.
pub(super) fn open(config: &Config, disk: Arc<dyn Disk>) -> Result<Opened, StartError> {
    let failed = |cause| StartError::storage(config, cause);
    let lock = lock_data_dir(&*disk).map_err(failed)?;
    let mut identity = Identity::load_or_create(&*disk, &config.name, || NodeId(rand::random())).map_err(failed)?;
    let log_lost = || StartError::LogMissing { dir: config.data_dir.clone() };
    if let Some(cluster) = &identity.cluster {
        check_members(config, cluster)?;
        // Before a log is begun in place of the missing one, which the next start could not tell from it.
        if !Wal::exists(&*disk).map_err(failed)? {
            return Err(log_lost());
        }
    }

    let mut recovery = Recovery::default();
    let mut unreadable = None;
    let cache_bytes_max = config.raft.cache_bytes_max;
    let mut on_record = |record| {
        if unreadable.is_none() {
            unreadable = recovery.record(record, cache_bytes_max).err();
        }
    };
    let options = WalOptions::new(rand::random());
    let (wal, opened) = Wal::open(Arc::clone(&disk), options, identity.node_id, &mut on_record).map_err(failed)?;
    if let Some(cause) = unreadable {
        return Err(StartError::UnreadableEntry { dir: config.data_dir.clone(), cause });
    }
    if let Some(torn) = &opened.torn_tail {
        tracing::warn!("{torn}");
    }
    let recovered = (!recovery.is_empty()).then(|| recovery.finish());
    match (&recovered, &identity.cluster) {
        (None, Some(_)) => return Err(log_lost()),
        (Some(recovered), None) => {
            // The node was killed between the two writes by which it founded its cluster.
            let cluster = cluster_in(recovered).map_err(failed)?;
            check_members(config, &cluster)?;
            identity.cluster = Some(cluster);
            identity.save(&*disk).map_err(failed)?;
        }
        (None, None) | (Some(_), Some(_)) => {}
    }
    Ok(Opened { disk, lock, identity, wal, recovered })
}

/// The cluster that a log begins with.
fn cluster_in(recovered: &Recovered) -> Result<ClusterIdentity, StorageError> {
    recovered.configurations.get(&FOUNDING_INDEX).map(cluster_of).ok_or_else(|| {
        let cause = "it names no cluster, and neither does the beginning of the log".to_owned();
        StorageError::Corrupt { file: "identity.json".to_owned(), offset: 0, cause }
    })
}

/// Refuses data of a cluster of other members than `--peers` names. Without the flag the data decides.
fn check_members(config: &Config, cluster: &ClusterIdentity) -> Result<(), StartError> {
    let known: BTreeSet<&str> = cluster.first_members.iter().map(String::as_str).collect();
    if config.peers.is_empty() || config.member_names() == known {
        return Ok(());
    }
    Err(StartError::OtherCluster {
        dir: config.data_dir.clone(),
        known: cluster.first_members.clone(),
        configured: config.member_names().into_iter().map(str::to_owned).collect(),
    })
}

impl StartError {
    fn storage(config: &Config, cause: StorageError) -> Self {
        let dir = config.data_dir.clone();
        match cause {
            StorageError::OtherName { found, expected } => Self::OtherNode { dir, found, configured: expected },
            cause => Self::Storage { dir, cause },
        }
    }
}
