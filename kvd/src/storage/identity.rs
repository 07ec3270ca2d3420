//! Identity of this node: a small text file, written when the node first starts and again when its cluster has formed.
//!
//! The file is JSON, so that an operator can read it:
//!
//! ```json
//! {"format":1,"node_id":"9c3b…","name":"node1","cluster":{"id":"51f0…","first_members":["node1","node2"]},"crc32c":"0d1e…"}
//! ```
//!
//! Ids are 16 hexadecimal digits, as everywhere in logs and in the API. The CRC-32C covers the same object without the
//! field `crc32c`, written as compactly as above. The file is replaced as a whole, so a crash leaves the old file or
//! the new one. Damage is detected on reading. A node must never run under a wrong id, or it could vote twice in one
//! term.

use super::directory::{read_file, replace_file};
use super::error::StorageError;
use crate::raft::{LogIndex, NodeId};
use kvclient::api::{hex_id, parse_hex_id};
use kvd_disk::Disk;
use serde::{Deserialize, Serialize};

/// Name of the file.
const FILE: &str = "identity.json";

/// Format that this version reads and writes.
const FORMAT: u32 = 1;

/// Longest file in bytes. A longer one is damaged: names are short and few.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Identity of this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Id of this incarnation of the node; see [`NodeId`].
    pub node_id: NodeId,
    /// Name that was given to the node.
    pub name: String,
    /// Cluster that the node belongs to, once it has formed.
    pub cluster: Option<ClusterIdentity>,
    /// Entry after which this node's data was found to differ from that of the other nodes. The data must not be used.
    pub diverged_at: Option<LogIndex>,
}

/// Cluster that a node belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterIdentity {
    /// Hash of the cluster's first members. Their ids are random, so no two clusters share a hash.
    pub id: u64,
    /// Names of the cluster's first members, in order.
    pub first_members: Vec<String>,
}

impl Identity {
    /// Reads the identity; `None` in an empty data directory.
    ///
    /// # Errors
    /// [`StorageError::Corrupt`] or [`StorageError::UnknownVersion`] for a file that this version did not write;
    /// [`StorageError::Io`].
    pub fn load(disk: &dyn Disk) -> Result<Option<Self>, StorageError> {
        match read_file(disk, FILE, FILE_BYTES_MAX)? {
            Some(bytes) => decode(&bytes).map(Some),
            None => Ok(None),
        }
    }

    /// Makes the identity durable, and replaces the previous one.
    ///
    /// # Errors
    /// [`StorageError::Io`]; the identity on disk is then the old or the new one.
    pub fn save(&self, disk: &dyn Disk) -> Result<(), StorageError> {
        replace_file(disk, FILE, &encode(self))
    }

    /// Reads the identity of the node called `name`. In an empty data directory, creates one with a new id.
    ///
    /// # Errors
    /// [`StorageError::OtherName`] if the data directory belongs to a node with another name, and the errors of
    /// [`Identity::load`] and [`Identity::save`].
    pub fn load_or_create(disk: &dyn Disk, name: &str, new_id: impl FnOnce() -> NodeId) -> Result<Self, StorageError> {
        match Self::load(disk)? {
            Some(found) if found.name == name => {
                // The process that saved the identity may have been killed before the name of the file was durable.
                disk.sync_dir().map_err(StorageError::io("sync the directory of", FILE))?;
                Ok(found)
            }
            Some(found) => Err(StorageError::OtherName { found: found.name, expected: name.to_owned() }),
            None => {
                let identity = Self { node_id: new_id(), name: name.to_owned(), cluster: None, diverged_at: None };
                identity.save(disk)?;
                Ok(identity)
            }
        }
    }
}

/// Content of the file. The CRC covers the same object without the CRC.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    format: u32,
    node_id: String,
    name: String,
    cluster: Option<ClusterDocument>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    diverged_at: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    crc32c: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ClusterDocument {
    id: String,
    first_members: Vec<String>,
}

/// The only field that is read before the format is known.
#[derive(Deserialize)]
struct FormatOnly {
    format: u32,
}

impl Document {
    fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("text and numbers always have a JSON form")
    }
}

fn encode(identity: &Identity) -> Vec<u8> {
    let mut document = Document {
        format: FORMAT,
        node_id: hex_id(identity.node_id.0),
        name: identity.name.clone(),
        cluster: identity
            .cluster
            .as_ref()
            .map(|cluster| ClusterDocument { id: hex_id(cluster.id), first_members: cluster.first_members.clone() }),
        diverged_at: identity.diverged_at.map(|index| index.0),
        crc32c: None,
    };
    document.crc32c = Some(format!("{:08x}", crc32c::crc32c(&document.to_json())));
    let mut bytes = document.to_json();
    bytes.push(b'\n');
    bytes
}

fn decode(bytes: &[u8]) -> Result<Identity, StorageError> {
    let damaged = |cause: &str| StorageError::corrupt(FILE, 0, cause);
    let FormatOnly { format } = serde_json::from_slice(bytes).map_err(|_| damaged("it is not JSON with a format"))?;
    if format != FORMAT {
        return Err(StorageError::UnknownVersion { file: FILE.to_owned(), found: format, supported: FORMAT });
    }
    let mut document: Document =
        serde_json::from_slice(bytes).map_err(|_| damaged("it lacks fields, or has others than it should"))?;
    let stored = document.crc32c.take();
    if stored != Some(format!("{:08x}", crc32c::crc32c(&document.to_json()))) {
        return Err(damaged("its checksum does not match: it was damaged, or edited by hand"));
    }
    let id = |text: &str| parse_hex_id(text).ok_or_else(|| damaged("an id in it is not 16 hexadecimal digits"));
    Ok(Identity {
        node_id: NodeId(id(&document.node_id)?),
        name: document.name,
        cluster: match document.cluster {
            Some(cluster) => Some(ClusterIdentity { id: id(&cluster.id)?, first_members: cluster.first_members }),
            None => None,
        },
        diverged_at: document.diverged_at.map(LogIndex),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use kvd_disk::MemoryDisk;
    use testkit::faulty_disk::{Call, Fault, FaultyDisk, Seed};

    fn formed() -> Identity {
        let cluster = ClusterIdentity { id: 0xfeed, first_members: vec!["node1".into(), "node2".into()] };
        Identity { node_id: NodeId(0xabc), name: "node1".into(), cluster: Some(cluster), diverged_at: None }
    }

    fn unformed() -> Identity {
        Identity { cluster: None, ..formed() }
    }

    #[test]
    fn the_file_reads_like_this() {
        let expected = concat!(
            r#"{"format":1,"node_id":"0000000000000abc","name":"node1","cluster":{"id":"000000000000feed","#,
            r#""first_members":["node1","node2"]},"crc32c":"5b736f42"}"#,
            "\n"
        );
        assert_eq!(String::from_utf8(encode(&formed())).unwrap(), expected);
    }

    #[test]
    fn is_made_once_and_found_again() {
        let disk = MemoryDisk::new();
        assert_eq!(Identity::load(&disk).unwrap(), None);
        assert_eq!(Identity::load_or_create(&disk, "node1", || NodeId(0xabc)).unwrap(), unformed());
        assert_eq!(Identity::load_or_create(&disk, "node1", || panic!("has an id")).unwrap(), unformed());
        formed().save(&disk).unwrap();
        assert_eq!(Identity::load(&disk).unwrap(), Some(formed()));
    }

    #[test]
    fn another_name_is_refused() {
        let disk = MemoryDisk::new();
        formed().save(&disk).unwrap();
        let error = Identity::load_or_create(&disk, "node2", || NodeId(1)).unwrap_err();
        assert!(
            matches!(&error, StorageError::OtherName { found, expected } if found == "node1" && expected == "node2"),
            "{error}"
        );
    }

    #[test]
    fn another_format_is_refused_whatever_else_is_in_it() {
        let disk = FaultyDisk::new(Seed(1));
        disk.set_contents(FILE, br#"{"format":2,"who":"knows"}"#);
        let error = Identity::load(&disk).unwrap_err();
        assert!(matches!(error, StorageError::UnknownVersion { found: 2, supported: 1, .. }), "{error}");
    }

    #[test]
    fn no_flipped_bit_and_no_lost_byte_passes() {
        let whole = encode(&formed());
        for position in 0..whole.len() {
            for bit in 0..8 {
                let mut damaged = whole.clone();
                damaged[position] ^= 1 << bit;
                decode(&damaged).unwrap_err();
            }
            if position < whole.len() - 1 {
                decode(&whole[..position]).unwrap_err();
            }
        }
    }

    #[test]
    fn a_power_cut_leaves_the_old_or_the_new_one() {
        for seed in 0..50 {
            for changes in 0..8 {
                let disk = FaultyDisk::new(Seed(seed));
                unformed().save(&disk).unwrap();
                disk.cut_power_after(changes);
                let saved = formed().save(&disk).is_ok();
                disk.crash();
                let found = Identity::load(&disk).unwrap().expect("one of the two");
                assert!(found == formed() || (!saved && found == unformed()), "{found:?}");
                // Files left behind by the crash do no harm.
                formed().save(&disk).unwrap();
                assert_eq!(Identity::load(&disk).unwrap(), Some(formed()));
            }
        }
    }

    #[test]
    fn a_full_disk_leaves_the_old_one() {
        for (call, fault) in [(Call::Create, Fault::Io), (Call::Write, Fault::NoSpace), (Call::Sync, Fault::Io)] {
            let disk = FaultyDisk::new(Seed(3));
            unformed().save(&disk).unwrap();
            disk.fail_after(call, 0, fault);
            let error = formed().save(&disk).unwrap_err();
            assert!(matches!(&error, StorageError::Io { file, .. } if file == "identity.json.tmp"), "{error}");
            assert_eq!(Identity::load(&disk).unwrap(), Some(unformed()));
        }
    }
}
