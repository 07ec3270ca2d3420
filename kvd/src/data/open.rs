//! Opening a node's data: locks the directory, reads the newest snapshot and the log after it, and rebuilds the
//! replica.

use super::error::DataError;
use super::founding::{FOUNDING_INDEX, cluster_of};
use super::snapshots::load;
use crate::kv::{DecodeError, Level, SessionLimits, Store, StoreLimits};
use crate::node::{Recovered, Recovery, UnreadableEntry};
use crate::raft::NodeId;
use crate::storage::snapshot::{self, DamagedSnapshot, FoundSnapshot, RecoveredSnapshot, SnapshotFile};
use crate::storage::wal::TornTail;
use crate::storage::{
    ClusterIdentity, DirLock, Disk, Identity, StorageError, Wal, WalOptions, complete_replacement, discard_staged,
    has_staged, lock_data_dir, remains,
};
use std::sync::Arc;

/// Options for opening a node's data.
#[derive(Clone, Debug)]
pub struct OpenOptions<'a> {
    /// Name of the node.
    pub name: &'a str,
    /// Id for the node if the directory is empty.
    pub new_id: NodeId,
    /// Options for opening its log. The base is set here.
    pub wal: WalOptions,
    /// Bytes of applied entries that stay in memory; see [`crate::raft::Settings::cache_bytes_max`].
    pub cache_bytes_max: usize,
    /// Bounds on what the node's store remembers about clients.
    pub session_limits: SessionLimits,
    /// Bounds on what the node's store keeps besides. They hold from the first entry of the log on, so that the history
    /// which a larger bound allows is still there after a restart.
    pub store_limits: StoreLimits,
    /// The newest level that the node knows, or is set to know.
    pub level_max: Level,
}

/// Data of a node when it starts.
#[derive(Debug)]
pub struct Opened {
    /// Lock of the data directory.
    pub lock: DirLock,
    /// Identity of the node.
    pub identity: Identity,
    /// The node's newest snapshot.
    pub snapshot: Option<SnapshotFile>,
    /// Snapshots that were damaged without loss. Each is worth a warning.
    pub damaged_snapshots: Vec<DamagedSnapshot>,
    /// The node's log, ready for appending.
    pub wal: Wal,
    /// Remains of a write that never finished, now cut off. Worth a warning.
    pub torn_tail: Option<TornTail>,
    /// The rebuilt replica. `None` if the node has not been part of a cluster; see `founding` for the beginning of its
    /// log.
    pub recovered: Option<Recovered>,
    /// True if a cluster has admitted the node, which was killed before it had recorded which cluster. It asks again,
    /// and must not found another cluster meanwhile.
    pub was_let_in: bool,
}

/// Opens the node's data. Takes as long as reading its log.
///
/// `check` may refuse the cluster that the data belongs to; nothing has been changed by then.
///
/// # Errors
/// [`DataError`], or the error of `check`.
pub fn open<E: From<DataError>>(
    disk: &Arc<dyn Disk>,
    options: OpenOptions<'_>,
    check: impl Fn(&ClusterIdentity) -> Result<(), E>,
) -> Result<Opened, E> {
    let lock = lock(disk)?;
    refuse_remains(&**disk)?;
    let identity = Identity::load_or_create(&**disk, options.name, || options.new_id).map_err(DataError::from)?;
    if let Some(index) = identity.diverged_at {
        // Refused before anything is repaired: whoever investigates the divergence needs the data as it was.
        return Err(DataError::Diverged(index).into());
    }
    open_as(disk, lock, identity, options, check)
}

/// Refuses the remains of a node that was part of a cluster. Otherwise a new node would be made beside them, and would
/// found another cluster as if the first had never existed.
pub(super) fn refuse_remains(disk: &dyn Disk) -> Result<(), DataError> {
    let identity = Identity::load(disk)?;
    match remains(disk, identity.as_ref())? {
        Some(file) => Err(DataError::Remains(file)),
        None => Ok(()),
    }
}

/// Locks the directory, and completes anything that an earlier process has left half done there.
pub(super) fn lock(disk: &Arc<dyn Disk>) -> Result<DirLock, DataError> {
    let lock = lock_data_dir(&**disk)?;
    complete_replacement(&**disk)?;
    if has_staged(&**disk)? {
        if Identity::load(&**disk)?.is_none() {
            return Err(DataError::RestoreUnfinished);
        }
        // The staged files were to replace the present ones, but that was never decided.
        discard_staged(&**disk)?;
    }
    Ok(lock)
}

/// Opens the data of this node in a directory that is locked already, whether or not the data may be used.
pub(super) fn open_as<E: From<DataError>>(
    disk: &Arc<dyn Disk>,
    lock: DirLock,
    mut identity: Identity,
    options: OpenOptions<'_>,
    check: impl Fn(&ClusterIdentity) -> Result<(), E>,
) -> Result<Opened, E> {
    if let Some(cluster) = &identity.cluster {
        check(cluster)?;
        // Checked before a log is begun in place of the missing one: the next start could not tell the new log from the
        // old.
        if !Wal::exists(&**disk).map_err(DataError::from)? {
            return Err(DataError::LogMissing.into());
        }
    }

    let mut snapshots = recover_snapshots(disk, &identity, options.session_limits)?;
    let wal_options = WalOptions { base: snapshots.base(), ..options.wal };
    let (snapshot, mut recovery) = match snapshots.found.take() {
        Some(FoundSnapshot { file, meta, mut state }) => {
            state.set_limits(&options.store_limits);
            (Some(file), Recovery::after_snapshot(meta.place, state))
        }
        None => {
            let mut store = Store::with_session_limits(options.session_limits);
            store.set_limits(&options.store_limits);
            (None, Recovery::with_store(store))
        }
    };
    recovery = recovery.with_level_max(options.level_max);
    let mut unreadable = None;
    let mut on_record = |record| {
        if unreadable.is_none() {
            unreadable = recovery.record(record, options.cache_bytes_max).err();
        }
    };
    let opened = Wal::open(Arc::clone(disk), wal_options, identity.node_id, &mut on_record);
    let (wal, opened) = opened.map_err(DataError::from)?;
    let damaged_snapshots = snapshots.check(&opened).map_err(DataError::from)?.to_vec();
    let level_max = options.level_max;
    match unreadable {
        None => {}
        Some(UnreadableEntry { cause: DecodeError::UnknownLevel(needed), .. }) => {
            return Err(DataError::Level { needed, level_max }.into());
        }
        Some(cause) => return Err(DataError::from(cause).into()),
    }
    let was_joining = identity.cluster.is_none() && !recovery.has_entries();
    let was_let_in = was_joining && recovery.has_begun();
    let recovered =
        (recovery.has_begun() && !was_joining).then(|| recovery.finish(opened.terms.runs().iter().copied()));
    if let Some(needed) = recovered.as_ref().map(Recovered::level).filter(|needed| *needed > level_max) {
        return Err(DataError::Level { needed, level_max }.into());
    }
    match (&recovered, &identity.cluster) {
        (None, Some(_)) => return Err(DataError::LogMissing.into()),
        (Some(recovered), None) => {
            // The node was killed between the two writes with which it founded its cluster.
            let cluster = cluster_in(recovered)?;
            check(&cluster)?;
            identity.cluster = Some(cluster);
            identity.save(&**disk).map_err(DataError::from)?;
        }
        (None, None) | (Some(_), Some(_)) => {}
    }
    if let Some(file) = &snapshot {
        snapshot::remove_older(&**disk, file).map_err(DataError::from)?;
    }
    Ok(Opened { lock, identity, snapshot, damaged_snapshots, wal, torn_tail: opened.torn_tail, recovered, was_let_in })
}

/// Returns the newest snapshot, and the store in it. There is none before a node is part of a cluster.
fn recover_snapshots(
    disk: &Arc<dyn Disk>,
    identity: &Identity,
    limits: SessionLimits,
) -> Result<RecoveredSnapshot<Store>, DataError> {
    let Some(cluster) = &identity.cluster else { return Ok(RecoveredSnapshot::default()) };
    let log_begins_with = Wal::begins_with(&**disk, identity.node_id)?;
    snapshot::recover(&**disk, cluster.id, log_begins_with, |reader| load(reader, limits))
}

/// Returns the cluster that a log begins with.
fn cluster_in(recovered: &Recovered) -> Result<ClusterIdentity, DataError> {
    recovered.configurations.get(&FOUNDING_INDEX).map(cluster_of).ok_or_else(|| {
        let cause = "it names no cluster, and neither does the beginning of the log".to_owned();
        StorageError::Corrupt { file: "identity.json".to_owned(), offset: 0, cause }.into()
    })
}
