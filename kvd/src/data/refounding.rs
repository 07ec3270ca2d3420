//! A cluster of one, founded on a state that there is: of a backup, or of the survivor of a cluster whose majority is lost.
//!
//! The cluster is a new one, and so is its node: an id is never used by two lives, and no node of the old cluster is ever taken
//! for one of the new. The data directory gets all of it as one step, see [`crate::storage::replace_all`].

use super::founding::cluster_of;
use super::open::{DataError, OpenOptions, lock, open_as};
use super::snapshots::{meta_of, place_of};
use crate::kv::{RestoreError, Restoring, SnapshotSummary, Store};
use crate::raft::{Configuration, HardState, LogBase, LogIndex, MemberInfo, NodeId, Record, SnapshotPlace, Term};
use crate::storage::snapshot::{SnapshotDecoder, SnapshotError, SnapshotItem, SnapshotWriter};
use crate::storage::{
    ClusterIdentity, DirLock, Disk, Identity, StorageError, Wal, WalOptions, complete_replacement, files_in_use,
    lock_data_dir, replace_all, stage,
};
use std::io::{self, Read};
use std::sync::{Arc, PoisonError, RwLock};
use thiserror::Error;

/// Bytes of a piece of the snapshot that the new cluster begins with.
const PIECE_BYTES: usize = 256 << 10;

/// Bytes read at a time of a backup.
const READ_BYTES: usize = 64 << 10;

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

/// Why a backup is not restored. Nothing in the directory has changed, unless it is the directory that failed.
#[derive(Debug, Error)]
pub enum RestoreBackupError {
    /// Something is there.
    #[error(
        "it holds {0} already: a backup is restored into an empty directory. If nothing in there is needed any more, remove it \
         first"
    )]
    NotEmpty(String),
    /// The backup cannot be read.
    #[error("the backup cannot be read: {0}")]
    Read(#[from] io::Error),
    /// The backup is damaged, or none.
    #[error("the backup cannot be used: {0}. Nothing was restored; take another copy of it, or an older backup")]
    Snapshot(#[from] SnapshotError),
    /// Its data is of a newer version of kvd, or not what it says.
    #[error(
        "its data cannot be used: {0}. Nothing was restored; use the version of kvd it was taken with, or a newer one"
    )]
    Restore(#[from] RestoreError),
    /// The directory cannot be written.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Founds a cluster of one node, `info`, on a backup, in an empty directory.
///
/// # Errors
/// [`RestoreBackupError`].
pub fn restore(
    disk: &Arc<dyn Disk>,
    backup: impl Read,
    info: MemberInfo,
    new_id: NodeId,
    salt: u64,
) -> Result<Refounded, RestoreBackupError> {
    let _lock = lock_data_dir(&**disk)?;
    complete_replacement(&**disk)?;
    if let Some(name) = files_in_use(&**disk)?.into_iter().min() {
        return Err(RestoreBackupError::NotEmpty(name));
    }
    let (place, store) = read_backup(backup)?;
    Ok(refound(disk, info, new_id, salt, &place, store)?)
}

/// The state in a backup, every byte of which is checked.
fn read_backup(mut backup: impl Read) -> Result<(SnapshotPlace, Store), RestoreBackupError> {
    let mut decoder = SnapshotDecoder::new();
    let mut begun: Option<(SnapshotPlace, Restoring)> = None;
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let read = backup.read(&mut buffer)?;
        decoder.feed(&buffer[..read]);
        while let Some(item) = decoder.next_item()? {
            match (item, &mut begun) {
                (SnapshotItem::Meta(meta), _) => {
                    let restoring = Restoring::new(SnapshotSummary::decode(&meta.summary)?)?;
                    begun = Some((place_of(&meta), restoring));
                }
                (SnapshotItem::Data(data), Some((_, restoring))) => restoring.piece(&data)?,
                (SnapshotItem::Data(_) | SnapshotItem::End(_), _) => {}
            }
        }
        if read == 0 {
            decoder.finish()?;
            let (place, restoring) = begun.expect("a whole snapshot has a beginning");
            return Ok((place, restoring.finish()?));
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
    /// The members that it knew.
    pub members: Configuration,
    /// The last entry that it has.
    pub last: LogBase,
    /// What was amiss with its data, to no harm: for the operator.
    pub warnings: Vec<String>,
    /// Up to here it knows that entries are committed, hence were or may have been acknowledged. What follows may be, too.
    pub commit_index: LogIndex,
    place: SnapshotPlace,
    hard_state_term: Term,
    store: Store,
    info: MemberInfo,
}

/// Why a directory cannot be made a cluster of one. Nothing in it has changed.
#[derive(Debug, Error)]
pub enum RecoverError {
    /// It holds no node that was part of a cluster.
    #[error("it holds no data of a node that was part of a cluster: there is nothing to recover")]
    Nothing,
    /// It was removed from its cluster so long ago that its log does not name it.
    #[error(
        "this node was removed from its cluster, and is no member by anything that it has: recover another one, or take a \
         backup of it (`kvctl snapshot save --stale`) and restore that"
    )]
    Removed,
    /// Its data cannot be used.
    #[error(transparent)]
    Data(#[from] DataError),
}

impl From<StorageError> for RecoverError {
    fn from(cause: StorageError) -> Self {
        Self::Data(cause.into())
    }
}

/// Reads what a node has, with every entry in its log, committed or not.
///
/// # Errors
/// [`RecoverError`].
pub fn survivor(disk: &Arc<dyn Disk>, salt: u64, cache_bytes_max: usize) -> Result<Survivor, RecoverError> {
    let lock = lock(disk)?;
    let identity = Identity::load(&**disk)?.filter(|identity| identity.cluster.is_some());
    let identity = identity.ok_or(RecoverError::Nothing)?;
    let (name, wal) = (identity.name.clone(), WalOptions::new(salt));
    let options = OpenOptions { name: &name, new_id: identity.node_id, wal, cache_bytes_max };
    let opened = open_as::<DataError>(disk, lock, identity.clone(), options, |_| Ok(()))?;
    let torn = opened.torn_tail.iter().map(ToString::to_string);
    let warnings = torn.chain(opened.damaged_snapshots.iter().map(ToString::to_string)).collect();
    let mut recovered = opened.recovered.ok_or(RecoverError::Nothing)?;
    let commit_index = recovered.log.commit_index();
    let last = LogBase { index: recovered.log.last_index(), term: recovered.log.last_term() };
    recovered.apply_all().map_err(DataError::from)?;
    let own = |configuration: &Configuration| configuration.members.get(&identity.node_id).cloned();
    let info = recovered.configurations.values().rev().find_map(own).ok_or(RecoverError::Removed)?;
    let members = recovered.configurations.values().next_back().cloned().unwrap_or_default();
    let place = SnapshotPlace {
        last,
        time: recovered.log.last_time(),
        configuration: members.clone(),
        configuration_index: last.index,
    };
    let store = std::mem::take(&mut *recovered.store.write().unwrap_or_else(PoisonError::into_inner));
    Ok(Survivor {
        _lock: opened.lock,
        disk: Arc::clone(disk),
        identity: opened.identity,
        members,
        last,
        warnings,
        commit_index,
        place,
        hard_state_term: recovered.hard_state.term,
        store,
        info,
    })
}

impl Survivor {
    /// Where clients reached it.
    pub fn client_url(&self) -> &str {
        &self.info.client_url
    }

    /// Founds a cluster of one on it, in its directory. What was there goes on to be there, under names that begin with
    /// `before-ID-`, where the id is that of the node as it was.
    ///
    /// # Errors
    /// [`StorageError`]; the directory then holds the one or the other, once the next start has looked at it.
    pub fn recover(self, new_id: NodeId, salt: u64) -> Result<Refounded, StorageError> {
        let Self { _lock, disk, identity, place, hard_state_term, store, info, .. } = self;
        let name = identity.node_id.to_string();
        refound_as(&disk, &name, info, new_id, salt, hard_state_term, &place, store)
    }
}

fn refound(
    disk: &Arc<dyn Disk>,
    info: MemberInfo,
    new_id: NodeId,
    salt: u64,
    place: &SnapshotPlace,
    store: Store,
) -> Result<Refounded, StorageError> {
    refound_as(disk, &new_id.to_string(), info, new_id, salt, place.last.term, place, store)
}

/// Puts a node that is a cluster of its own, with this state, in place of what is in `disk`.
#[expect(clippy::too_many_arguments, reason = "each is one part of what the new directory holds")]
fn refound_as(
    disk: &Arc<dyn Disk>,
    name_aside: &str,
    info: MemberInfo,
    node_id: NodeId,
    salt: u64,
    term: Term,
    place: &SnapshotPlace,
    store: Store,
) -> Result<Refounded, StorageError> {
    let name = info.name.clone();
    let configuration = Configuration::of_voters([(node_id, info)]);
    let cluster = cluster_of(&configuration);
    let (revision, keys) = (store.revision(), store.len() as u64);
    let staged = stage(disk)?;
    // A snapshot ends with an entry; in an empty log there is none yet, and the founding entry is the first.
    let last = place.last.max(LogBase { index: super::FOUNDING_INDEX, term: Term(1) });
    let place = SnapshotPlace { last, time: place.time, configuration, configuration_index: last.index };
    write_snapshot(&staged, cluster.id, place, store)?;
    let options = WalOptions { base: last, ..WalOptions::new(salt) };
    let (mut wal, _) = Wal::open(Arc::clone(&staged), options, node_id, &mut |_| {})?;
    let _ = wal.append(&[Record::HardState(HardState { term: term.max(last.term), vote: None })])?;
    drop(wal);
    Identity { node_id, name, cluster: Some(cluster.clone()), diverged_at: None }.save(&*staged)?;
    replace_all(&**disk, name_aside)?;
    Ok(Refounded { cluster, node_id, revision, keys })
}

fn write_snapshot(
    disk: &Arc<dyn Disk>,
    cluster_id: u64,
    place: SnapshotPlace,
    mut store: Store,
) -> Result<(), StorageError> {
    let summary = store.begin_snapshot().expect("a store that was just made gives no other snapshot");
    let mut writer = SnapshotWriter::begin(Arc::clone(disk), &meta_of(cluster_id, place, &summary))?;
    let store = RwLock::new(store);
    loop {
        let piece = store.read().unwrap_or_else(PoisonError::into_inner).snapshot_piece(PIECE_BYTES);
        match piece.expect("nobody else takes a snapshot of this store, or ends it") {
            Some(piece) => writer.write_data(&piece)?,
            None => return writer.finish().map(drop),
        }
    }
}
