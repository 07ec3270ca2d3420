//! Founding a cluster of one on existing state: of a backup, or of the survivor of a cluster that has lost its
//! majority.
//!
//! Both the cluster and its node are new: no two incarnations ever share an id, and no node of the old cluster is ever
//! mistaken for one of the new. Whatever the old cluster's last configuration was, joint or not, the new configuration
//! has this node alone, as a voter. All files are placed in the data directory in one step, see
//! [`crate::storage::replace_all`].

mod error;

pub use error::{RecoverError, RefoundError, RestoreBackupError};

use super::error::DataError;
use super::founding::cluster_of;
use super::open::{OpenOptions, lock, open_as, refuse_remains};
use super::snapshots::begin_store;
use crate::kv::{Level, Restoring, SessionLimits, Store, StoreLimits};
use crate::raft::{
    ClusterTime, Configuration, HardState, LogBase, LogIndex, MemberInfo, NodeId, Record, SnapshotPlace, Term,
};
use crate::storage::snapshot::{DamagedSnapshot, Decoder, Part, SnapshotMeta, SnapshotWriter};
use crate::storage::wal::TornTail;
use crate::storage::{
    ClusterIdentity, DirLock, Disk, Identity, StorageError, Wal, WalOptions, aside_prefix, complete_replacement,
    discard_staged, files_present, lock_data_dir, replace_all, stage,
};
use std::io::Read;
use std::sync::{Arc, PoisonError};

/// Length of the pieces of the new cluster's first snapshot, in bytes.
const PIECE_BYTES: usize = 256 << 10;

/// Bytes per read of a backup.
const READ_BYTES: usize = 64 << 10;

/// First node of a new cluster.
#[derive(Clone, Debug)]
pub struct Founder {
    /// Name and URLs of the node.
    pub info: MemberInfo,
    /// Id of the node, which no node has had before.
    pub node_id: NodeId,
    /// Options for the new log. Its base is set here.
    pub wal: WalOptions,
}

/// A cluster that was founded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refounded {
    /// Identity of the cluster.
    pub cluster: ClusterIdentity,
    /// Only node of the cluster.
    pub node_id: NodeId,
    /// Revision of the cluster's store.
    pub revision: u64,
    /// Number of keys in the store.
    pub keys: u64,
}

/// State that a new cluster begins with.
struct State {
    /// Entry after which this is the state.
    last: LogBase,
    /// Cluster time of that entry. The new cluster's time goes on from there.
    time: ClusterTime,
    /// Last term of the old cluster.
    term: Term,
    store: Store,
}

/// Founds a cluster of one node on a backup, in an empty directory.
///
/// # Errors
/// [`RestoreBackupError`].
pub fn restore(disk: &Arc<dyn Disk>, backup: impl Read, founder: Founder) -> Result<Refounded, RestoreBackupError> {
    let _lock = lock_data_dir(&**disk)?;
    if complete_replacement(&**disk)? {
        return Err(RestoreBackupError::Completed);
    }
    if let Some(name) = files_present(&**disk)?.into_iter().min() {
        return Err(RestoreBackupError::NotEmpty(name));
    }
    let state = read_backup(backup)?;
    // An empty directory has nothing to put aside.
    Ok(refound(disk, "restore", founder, state)?)
}

/// Reads the state in a backup, and checks every byte of it.
fn read_backup(mut backup: impl Read) -> Result<State, RestoreBackupError> {
    let mut decoder = Decoder::new();
    let mut begun: Option<(SnapshotPlace, Restoring)> = None;
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let read = backup.read(&mut buffer)?;
        decoder.feed(&buffer[..read]);
        while let Some(part) = decoder.next_part()? {
            match (part, &mut begun) {
                (Part::Head(head), _) => {
                    let meta = SnapshotMeta::of(head)?;
                    let restoring = begin_store(&meta, SessionLimits::default(), Level::NEWEST)?;
                    begun = Some((meta.place, restoring));
                }
                (Part::Data(data), Some((_, restoring))) => restoring.piece(&data)?,
                // A new cluster has another past than the one that the snapshot is of.
                (Part::Data(_) | Part::History(_) | Part::End(_), _) => {}
            }
        }
        if read == 0 {
            decoder.finish()?;
            let (SnapshotPlace { last, time, .. }, restoring) = begun.expect("a whole snapshot has a beginning");
            return Ok(State { last, time, term: last.term, store: restoring.finish()? });
        }
    }
}

/// Data of the survivor of a lost cluster, before anything is done with it.
#[derive(Debug)]
pub struct Survivor {
    _lock: DirLock,
    disk: Arc<dyn Disk>,
    /// Identity of the survivor.
    pub identity: Identity,
    /// Members known to the survivor, by the last configuration in its log, which may never have been committed.
    pub members: Configuration,
    /// The survivor's entry in the last configuration that contains it. `None` if it was removed long ago, or had not
    /// yet heard that it is a member.
    pub info: Option<MemberInfo>,
    /// Last entry of the survivor's log.
    pub last: LogBase,
    /// Index up to which the survivor knows entries to be committed. Later entries may be committed as well.
    pub commit_index: LogIndex,
    /// Remains of a write that never finished, now cut off.
    pub torn_tail: Option<TornTail>,
    /// Snapshots that were damaged without loss.
    pub damaged_snapshots: Vec<DamagedSnapshot>,
    time: ClusterTime,
    term: Term,
    /// The store, with every entry applied.
    store: Store,
}

/// Reads a node's data, with every entry in its log, committed or not.
///
/// # Errors
/// [`RecoverError`].
pub fn survivor(disk: &Arc<dyn Disk>, wal: WalOptions, cache_bytes_max: usize) -> Result<Survivor, RecoverError> {
    let lock = lock(disk)?;
    refuse_remains(&**disk)?;
    let identity = Identity::load(&**disk)?.filter(|identity| identity.cluster.is_some());
    let identity = identity.ok_or(RecoverError::Nothing)?;
    let options = OpenOptions {
        name: &identity.name,
        new_id: identity.node_id,
        wal,
        cache_bytes_max,
        session_limits: SessionLimits::default(),
        store_limits: StoreLimits::default(),
        level_max: Level::NEWEST,
    };
    let opened = open_as::<DataError>(disk, lock, identity.clone(), options, |_| Ok(()))?;
    let mut recovered = opened.recovered.ok_or(RecoverError::Nothing)?;
    let commit_index = recovered.log.commit_index();
    let last = LogBase { index: recovered.log.last_index(), term: recovered.log.last_term() };
    // The node was about to join a cluster, and had not been sent anything yet.
    if last == LogBase::NONE {
        return Err(RecoverError::Nothing);
    }
    recovered.apply_all().map_err(DataError::from)?;
    let store = std::mem::take(&mut *recovered.store.write().unwrap_or_else(PoisonError::into_inner));
    Ok(Survivor {
        _lock: opened.lock,
        disk: Arc::clone(disk),
        info: recovered.info_of(identity.node_id).cloned(),
        members: recovered.configurations.values().next_back().cloned().unwrap_or_default(),
        identity: opened.identity,
        last,
        commit_index,
        torn_tail: opened.torn_tail,
        damaged_snapshots: opened.damaged_snapshots,
        time: recovered.log.last_time(),
        term: recovered.hard_state.term,
        store,
    })
}

impl Survivor {
    /// Returns the revision of the survivor's store, with every entry applied.
    pub fn revision(&self) -> u64 {
        self.store.revision()
    }

    /// Returns the number of keys in that store.
    pub fn keys(&self) -> u64 {
        self.store.len() as u64
    }

    /// Returns the prefix of the old files after the recovery.
    pub fn kept_as(&self) -> String {
        aside_prefix(&self.identity.node_id.to_string())
    }

    /// Founds a cluster of one node on the survivor, in its directory. The old files stay, see [`Survivor::kept_as`].
    ///
    /// # Errors
    /// [`RefoundError`].
    pub fn recover(self, founder: Founder) -> Result<Refounded, RefoundError> {
        let Self { _lock, disk, identity, last, time, term, store, .. } = self;
        refound(&disk, &identity.node_id.to_string(), founder, State { last, time, term, store })
    }
}

/// Replaces the content of `disk` by a node that is a cluster of its own, with this state. The old content is put aside
/// under that name.
fn refound(disk: &Arc<dyn Disk>, name_aside: &str, founder: Founder, state: State) -> Result<Refounded, RefoundError> {
    let staged = stage(disk).and_then(|staged| write_node(&staged, founder, state));
    let refounded = staged.map_err(|cause| {
        // The staged files may be what fills the disk. If removing them fails, the next user of the directory removes
        // them.
        let _ = discard_staged(&**disk);
        RefoundError::Unchanged(cause)
    })?;
    replace_all(&**disk, name_aside).map_err(RefoundError::Undecided)?;
    Ok(refounded)
}

/// Writes all files of a node that is a cluster of its own, with this state.
fn write_node(disk: &Arc<dyn Disk>, founder: Founder, state: State) -> Result<Refounded, StorageError> {
    let Founder { info, node_id, wal } = founder;
    let State { last, time, term, mut store } = state;
    store.refound(time.0);
    let name = info.name.clone();
    let configuration = Configuration::of_voters([(node_id, info)]);
    let cluster = cluster_of(&configuration);
    let (revision, keys) = (store.revision(), store.len() as u64);
    let place = SnapshotPlace { last, time, configuration, configuration_index: last.index };
    write_snapshot(disk, cluster.id, place, store)?;
    let (mut wal, _) = Wal::open(Arc::clone(disk), WalOptions { base: last, ..wal }, node_id, &mut |_| {})?;
    let _ = wal.append(&[Record::HardState(HardState { term: term.max(last.term), vote: None })])?;
    drop(wal);
    Identity { node_id, name, cluster: Some(cluster.clone()), diverged_at: None }.save(&**disk)?;
    Ok(Refounded { cluster, node_id, revision, keys })
}

fn write_snapshot(
    disk: &Arc<dyn Disk>,
    cluster_id: u64,
    place: SnapshotPlace,
    mut store: Store,
) -> Result<(), StorageError> {
    let summary = store.begin_snapshot().expect("a store that was just made gives no other snapshot");
    let meta = SnapshotMeta { cluster_id, place, summary: summary.encode().into() };
    let mut writer = SnapshotWriter::begin(Arc::clone(disk), &meta)?;
    loop {
        let piece = store.snapshot_piece(PIECE_BYTES);
        match piece.expect("nobody else takes a snapshot of this store, or ends it") {
            Some(piece) => writer.write_data(&piece)?,
            None => return writer.finish().map(drop),
        }
    }
}

#[cfg(test)]
mod tests;
