//! A cluster of one, founded on a state that there is: of a backup, or of the survivor of a cluster whose majority is
//! lost.
//!
//! The cluster is a new one, and so is its node: an id is never used by two lives, and no node of the old cluster is
//! ever taken for one of the new. Whatever the old cluster's last configuration was, joint or not, that of the new one
//! has this node alone, as a voter. The data directory gets all of it as one step, see [`crate::storage::replace_all`].

mod error;

pub use error::{RecoverError, RefoundError, RestoreBackupError};

use super::error::DataError;
use super::founding::cluster_of;
use super::open::{OpenOptions, lock, open_as, refuse_remains};
use super::snapshots::begin_store;
use crate::kv::{Level, Restoring, SessionLimits, Store};
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

/// Bytes of a piece of the snapshot that the new cluster begins with.
const PIECE_BYTES: usize = 256 << 10;

/// Bytes read at a time of a backup.
const READ_BYTES: usize = 64 << 10;

/// The node that a new cluster begins with.
#[derive(Clone, Debug)]
pub struct Founder {
    /// Its name and where it is reached.
    pub info: MemberInfo,
    /// Its id, which no node has had before.
    pub node_id: NodeId,
    /// How its log is begun. After which entry is found out here.
    pub wal: WalOptions,
}

/// The cluster that was founded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refounded {
    /// It.
    pub cluster: ClusterIdentity,
    /// Its only node.
    pub node_id: NodeId,
    /// Revision of its store.
    pub revision: u64,
    /// Keys in its store.
    pub keys: u64,
}

/// What a new cluster begins with.
struct State {
    /// The entry that it is the state after.
    last: LogBase,
    /// Cluster time of that entry, from which it goes on.
    time: ClusterTime,
    /// The term that is over.
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
    // There is nothing to put aside.
    Ok(refound(disk, "restore", founder, state)?)
}

/// The state in a backup, every byte of which is checked.
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
                (Part::Data(_) | Part::End(_), _) => {}
            }
        }
        if read == 0 {
            decoder.finish()?;
            let (SnapshotPlace { last, time, .. }, restoring) = begun.expect("a whole snapshot has a beginning");
            return Ok(State { last, time, term: last.term, store: restoring.finish()? });
        }
    }
}

/// What the survivor of a lost cluster has, before anything is done with it.
#[derive(Debug)]
pub struct Survivor {
    _lock: DirLock,
    disk: Arc<dyn Disk>,
    /// Who it is.
    pub identity: Identity,
    /// The members that it knew, by the last configuration in its log, which may never have been committed.
    pub members: Configuration,
    /// What the last configuration that has it says of it; `None` if it was removed long ago, or had not yet heard that
    /// it is a member.
    pub info: Option<MemberInfo>,
    /// The last entry that it has.
    pub last: LogBase,
    /// Up to here it knows that entries are committed. What follows may be committed as well.
    pub commit_index: LogIndex,
    /// What was left of a write that never finished, now cut off.
    pub torn_tail: Option<TornTail>,
    /// Snapshots that were damaged, to no harm.
    pub damaged_snapshots: Vec<DamagedSnapshot>,
    time: ClusterTime,
    term: Term,
    /// With every entry applied.
    store: Store,
}

/// Reads what a node has, with every entry in its log, committed or not.
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
        level_max: Level::NEWEST,
    };
    let opened = open_as::<DataError>(disk, lock, identity.clone(), options, |_| Ok(()))?;
    let mut recovered = opened.recovered.ok_or(RecoverError::Nothing)?;
    let commit_index = recovered.log.commit_index();
    let last = LogBase { index: recovered.log.last_index(), term: recovered.log.last_term() };
    // It was about to join a cluster, and had yet to be sent anything.
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
    /// Revision of its store, with every entry applied.
    pub fn revision(&self) -> u64 {
        self.store.revision()
    }

    /// Keys in that store.
    pub fn keys(&self) -> u64 {
        self.store.len() as u64
    }

    /// What the files begin with that what was there goes on to be in, once it is recovered.
    pub fn kept_as(&self) -> String {
        aside_prefix(&self.identity.node_id.to_string())
    }

    /// Founds a cluster of one node on it, in its directory. What was there goes on to be there, see
    /// [`Survivor::kept_as`].
    ///
    /// # Errors
    /// [`RefoundError`].
    pub fn recover(self, founder: Founder) -> Result<Refounded, RefoundError> {
        let Self { _lock, disk, identity, last, time, term, store, .. } = self;
        refound(&disk, &identity.node_id.to_string(), founder, State { last, time, term, store })
    }
}

/// Puts a node that is a cluster of its own, with this state, in place of what is in `disk`, which is put aside under
/// that name.
fn refound(disk: &Arc<dyn Disk>, name_aside: &str, founder: Founder, state: State) -> Result<Refounded, RefoundError> {
    let staged = stage(disk).and_then(|staged| write_node(&staged, founder, state));
    let refounded = staged.map_err(|cause| {
        // It may be what fills the disk. Failing that, whoever uses the directory next removes it.
        let _ = discard_staged(&**disk);
        RefoundError::Unchanged(cause)
    })?;
    replace_all(&**disk, name_aside).map_err(RefoundError::Undecided)?;
    Ok(refounded)
}

/// Writes all that a node has which is a cluster of its own, with this state.
fn write_node(disk: &Arc<dyn Disk>, founder: Founder, state: State) -> Result<Refounded, StorageError> {
    let Founder { info, node_id, wal } = founder;
    let State { last, time, term, store } = state;
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
