//! Traces of a node in a directory whose identity does not account for them.
//!
//! A node writes its identity before anything else. It adds its cluster to the identity before it takes a snapshot or
//! puts anything aside. So files beside a missing identity, or beside one without a cluster, belong to a node that was
//! there before, and some of that node's files have been lost or removed. The directory is not empty, whatever it
//! lacks.

use super::error::StorageError;
use super::identity::Identity;
use super::replacement::{files_present, is_aside};
use super::{snapshot, wal};
use kvd_disk::Disk;

/// Returns the name of a file left by another incarnation of this node or by another node, if there is one. `identity`
/// is the identity found in the directory.
///
/// # Errors
/// [`StorageError::Io`].
pub fn remains(disk: &dyn Disk, identity: Option<&Identity>) -> Result<Option<String>, StorageError> {
    if identity.is_some_and(|identity| identity.cluster.is_some()) {
        return Ok(None);
    }
    let is_trace = |name: &String| {
        let is_log = identity.is_none() && wal::is_segment(name);
        is_log || snapshot::is_snapshot(name) || is_aside(name)
    };
    Ok(files_present(disk)?.into_iter().filter(is_trace).min())
}

#[cfg(test)]
mod tests {
    use super::super::{ClusterIdentity, Identity};
    use super::*;
    use crate::raft::NodeId;
    use kvd_disk::MemoryDisk;

    #[test]
    fn what_an_earlier_life_has_left_is_told_from_what_a_start_may_leave() {
        let unformed = Identity { node_id: NodeId(1), name: "node1".into(), cluster: None, diverged_at: None };
        let cluster = ClusterIdentity { id: 7, first_members: vec!["node1".into()] };
        let formed = Identity { cluster: Some(cluster), ..unformed.clone() };
        const LOG: &str = "wal-0000000000000001.log";
        const SNAPSHOT: &str = "snapshot-0000000000000012-0000000000000003.snap";
        const ASIDE: &str = "before-00000000000000aa-identity.json";
        for (files, without, with_unformed) in [
            (&[][..], None, None),
            (&["lock", "identity.json.tmp", "notes.txt", "wal-new.tmp"], None, None),
            // A node begins its log once it has its id, and before it records its cluster.
            (&[LOG], Some(LOG), None),
            (&[SNAPSHOT], Some(SNAPSHOT), Some(SNAPSHOT)),
            (&[ASIDE, LOG, SNAPSHOT], Some(ASIDE), Some(ASIDE)),
        ] {
            let disk = MemoryDisk::new();
            files.iter().for_each(|name| drop(disk.create(name).unwrap()));
            assert_eq!(remains(&disk, None).unwrap().as_deref(), without, "{files:?}");
            assert_eq!(remains(&disk, Some(&unformed)).unwrap().as_deref(), with_unformed, "{files:?}");
            assert_eq!(remains(&disk, Some(&formed)).unwrap(), None, "{files:?}");
        }
    }
}
