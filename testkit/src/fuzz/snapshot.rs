//! Any bytes as a snapshot: it is read as a whole, or it is refused, whatever pieces its bytes arrive in.
//!
//! The expected result is computed here a second time, in the plainest way, from the tables of offsets in
//! `storage/snapshot/format.rs`. So both must agree on which parts are undamaged.

use bytes::Bytes;
use kvd::raft::LogIndex;
use kvd::storage::snapshot::{
    Decoder, Encoder, Part, Piece, SnapshotError, SnapshotMeta, SnapshotReader, Totals, recover,
};
use kvd::storage::{Disk, MemoryDisk, StorageError};

const MAGIC: &[u8] = b"kvd-snp\n";
const HEADER_BYTES: usize = 32;
const PART_HEADER_BYTES: usize = 12;
const END: u8 = 3;
const HISTORY: u8 = 4;

/// Checks any bytes.
pub fn check(bytes: &[u8]) {
    read(bytes);
    // Few inputs have the right checksums. There is more to check in the code behind them.
    let mut sealed = bytes.to_vec();
    seal(&mut sealed);
    read(&sealed);
}

fn read(bytes: &[u8]) {
    let decoded = decode(bytes, bytes.len().max(1));
    for piece_bytes in [1, 13, 1000] {
        assert_eq!(decode(bytes, piece_bytes), decoded, "in pieces of {piece_bytes}");
    }
    let Ok(parts) = decoded else { return };
    assert_eq!(pieces_vouched_for(bytes).as_deref(), Some(&pieces_of(&parts)[..]), "what checksums vouch for");

    // It has the same content after it is written again, and so does a file of it.
    assert_eq!(decode(&encode(&parts), 1000).as_ref(), Ok(&parts));
    let [Part::Head(head), .., Part::End(totals)] = &parts[..] else { panic!("{parts:?}") };
    let meta = SnapshotMeta::of(head.clone()).expect("it was decoded");
    let pieces = pieces_of(&parts);
    let data = pieces.iter().filter_map(|piece| if let Piece::Data(data) = piece { Some(data) } else { None });
    let (count, data_bytes) = data.fold((0, 0), |(count, bytes), data| (count + 1, bytes + data.len() as u64));
    assert_eq!(*totals, Totals { parts: count, data_bytes });
    let disk = MemoryDisk::new();
    let name = format!("snapshot-{:016}-{:016}.snap", head.last_index, head.last_term);
    disk.create(&name).and_then(|file| file.write_all_at(0, bytes)).expect("memory takes all");
    let load = |reader: &mut SnapshotReader| -> Result<Vec<Piece>, StorageError> {
        std::iter::from_fn(|| reader.next_piece().transpose()).collect()
    };
    let found = recover(&disk, meta.cluster_id, Some(LogIndex(1)), load).expect("what was decoded is read");
    let found = found.found.expect("it is there");
    assert_eq!((&found.meta, &found.state, found.file.bytes()), (&meta, &pieces, bytes.len() as u64));
}

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

fn pieces_of(parts: &[Part]) -> Vec<Piece> {
    let piece = |part: &Part| match part {
        Part::Data(data) => Some(Piece::Data(data.clone())),
        Part::History(history) => Some(Piece::History(history.clone())),
        Part::Head(_) | Part::End(_) => None,
    };
    parts.iter().filter_map(piece).collect()
}

/// Writes a snapshot that begins like this one does once a node has read and written it.
fn encode(parts: &[Part]) -> Vec<u8> {
    let Some(Part::Head(head)) = parts.first() else { panic!("{parts:?}") };
    let meta = SnapshotMeta::of(head.clone()).expect("it was decoded");
    let (mut encoder, mut bytes) = Encoder::begin(&meta.to_head());
    for piece in pieces_of(parts) {
        let (header, body) = match piece {
            Piece::Data(data) => (encoder.data(&data), data),
            Piece::History(history) => (encoder.history(&history), history),
        };
        bytes.extend_from_slice(&header);
        bytes.extend_from_slice(&body);
    }
    bytes.extend_from_slice(&encoder.end());
    bytes
}

/// Returns the pieces between the first part and the last, if all checksums are right and no bytes are left over.
fn pieces_vouched_for(bytes: &[u8]) -> Option<Vec<Piece>> {
    let (header, mut rest) = bytes.split_at_checked(HEADER_BYTES)?;
    let mut crc = header.get(28..)?;
    if !header.starts_with(MAGIC) || crc != crc32c::crc32c(&header[..28]).to_le_bytes() {
        return None;
    }
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        let (part, after) = rest.split_at_checked(PART_HEADER_BYTES + body_bytes(rest)?)?;
        let body = &part[PART_HEADER_BYTES..];
        if part[8..12] != crc32c::crc32c(&[crc, &part[..8], body].concat()).to_le_bytes() {
            return None;
        }
        crc = &part[8..12];
        let body = Bytes::copy_from_slice(body);
        pieces.push(if part[4] == HISTORY { Piece::History(body) } else { Piece::Data(body) });
        rest = after;
    }
    pieces.pop();
    Some(pieces.split_off(1))
}

fn body_bytes(part: &[u8]) -> Option<usize> {
    Some(u32::from_le_bytes(*part.first_chunk()?) as usize)
}

/// Puts the right checksums and totals wherever parts are: a disk never does so by itself, but a defect in the writer
/// of the snapshot might.
fn seal(bytes: &mut [u8]) {
    let Some((header, mut rest)) = bytes.split_at_mut_checked(HEADER_BYTES) else { return };
    let crc = crc32c::crc32c(&header[..28]);
    header[28..].copy_from_slice(&crc.to_le_bytes());
    let mut crc = crc.to_le_bytes();
    let (mut parts, mut data_parts, mut data_bytes) = (0u64, 0u64, 0u64);
    while let Some(length) = body_bytes(rest).map(|bytes| PART_HEADER_BYTES.saturating_add(bytes)) {
        let Some((part, after)) = rest.split_at_mut_checked(length) else { return };
        if part[4] == END && length == PART_HEADER_BYTES + 16 {
            part[12..20].copy_from_slice(&data_parts.to_le_bytes());
            part[20..28].copy_from_slice(&data_bytes.to_le_bytes());
        } else if parts > 0 && part[4] != HISTORY {
            data_parts += 1;
            data_bytes += (length - PART_HEADER_BYTES) as u64;
        }
        parts += 1;
        crc = crc32c::crc32c(&[&crc, &part[..8], &part[12..]].concat()).to_le_bytes();
        part[8..12].copy_from_slice(&crc);
        rest = after;
    }
}
