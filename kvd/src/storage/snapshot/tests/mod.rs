//! Snapshots as bytes, as files on the faulty disk, and together with the log.

mod bytes;
mod damage;
mod files;
mod recovery;
mod with_log;

use super::super::error::StorageError;
use super::names::{all, file_name};
use super::*;
use crate::raft::{ClusterTime, Configuration, LogBase, LogIndex, MemberInfo, NodeId, SnapshotPlace, Term};
use kvd_disk::Disk;
use std::sync::Arc;
use testkit::faulty_disk::{Call, Fault, FaultyDisk, Seed};

const CLUSTER: u64 = 0xc1;

fn entry(index: u64, term: u64) -> LogBase {
    LogBase { index: LogIndex(index), term: Term(term) }
}

fn meta(last: LogBase) -> SnapshotMeta {
    let info = MemberInfo { name: "a".into(), client_url: "b".into(), peer_url: "c".into() };
    SnapshotMeta {
        cluster_id: CLUSTER,
        place: SnapshotPlace {
            last,
            time: ClusterTime(last.index.0 * 100),
            configuration: Configuration::of_voters([(NodeId(5), info)]),
            configuration_index: LogIndex(1),
        },
        summary: "sum".into(),
    }
}

/// Returns the entry that the newest snapshot ends with.
fn newest(disk: &dyn Disk) -> Option<LogBase> {
    all(disk).unwrap().first().copied()
}

/// Returns the bytes of a snapshot with these pieces of data.
fn encode(meta: &SnapshotMeta, data: &[&[u8]]) -> Vec<u8> {
    let (mut encoder, mut bytes) = Encoder::begin(&meta.to_head());
    for piece in data {
        bytes.extend_from_slice(&encoder.data(piece));
        bytes.extend_from_slice(piece);
    }
    bytes.extend_from_slice(&encoder.end());
    bytes
}

/// Decodes bytes that arrive in pieces of this length. Returns all parts if the bytes are a whole snapshot.
fn decode(bytes: &[u8], piece_bytes: usize) -> Result<Vec<Part>, SnapshotError> {
    let mut decoder = Decoder::new();
    let mut parts = Vec::new();
    for piece in bytes.chunks(piece_bytes) {
        decoder.feed(piece);
        while let Some(part) = decoder.next_part()? {
            if let Part::Head(head) = &part {
                SnapshotMeta::of(head.clone())?;
            }
            parts.push(part);
        }
    }
    decoder.finish()?;
    Ok(parts)
}

/// Writes a snapshot of these pieces.
fn write(disk: &FaultyDisk, meta: &SnapshotMeta, data: &[&[u8]]) -> Result<SnapshotFile, StorageError> {
    let mut writer = SnapshotWriter::begin(Arc::new(disk.clone()), meta)?;
    for piece in data {
        writer.write_data(piece)?;
    }
    writer.finish()
}

/// Returns all data of a snapshot in one piece.
fn read_all(reader: &mut SnapshotReader) -> Result<Vec<u8>, StorageError> {
    let mut all = Vec::new();
    while let Some(Piece::Data(data)) = reader.next_piece()? {
        all.extend_from_slice(&data);
    }
    Ok(all)
}

fn read(disk: &FaultyDisk, last: LogBase) -> Result<Vec<u8>, StorageError> {
    read_all(&mut SnapshotReader::open(disk, last)?)
}

/// Returns the names of all files, in order.
fn names(disk: &FaultyDisk) -> Vec<String> {
    let mut names = disk.list().unwrap();
    names.sort();
    names
}
