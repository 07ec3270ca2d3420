//! The bytes of a snapshot, from any source.

use super::*;
use proptest::prelude::*;

#[test]
fn the_bytes_of_a_snapshot() {
    let mut meta = SnapshotMeta { cluster_id: 0x0102_0304_0506_0708, ..meta(entry(0x11, 0x22)) };
    meta.place.time = ClusterTime(0x33);
    #[rustfmt::skip]
    let expected: Vec<&[u8]> = vec![
        // The header: magic, version, zero, cluster, zero, checksum.
        b"kvd-snp\n", &[1, 0, 0, 0, 0, 0, 0, 0],
        &[8, 7, 6, 5, 4, 3, 2, 1], &[0, 0, 0, 0], &[0x1c, 0x45, 0xbf, 0xd0],
        // The beginning: bytes, kind, checksum.
        &[56, 0, 0, 0, 1, 0, 0, 0], &[0xd1, 0xba, 0x20, 0x84],
        &[0x11, 0, 0, 0, 0, 0, 0, 0], &[0x22, 0, 0, 0, 0, 0, 0, 0], // last entry
        &[0x33, 0, 0, 0, 0, 0, 0, 0], &[1, 0, 0, 0, 0, 0, 0, 0],    // its time, index of the configuration
        &[13, 0, 0, 0, 3, 0, 0, 0],                                 // bytes of configuration and summary
        &[1, 5, 0, 0, 1, 5, 1, b'a', 1, b'b', 1, b'c', 0], b"sum",
        // Data, data, and the end: bytes, kind, checksum, body.
        &[4, 0, 0, 0, 2, 0, 0, 0], &[0x85, 0xc8, 0xe9, 0x94], b"some",
        &[0, 0, 0, 0, 2, 0, 0, 0], &[0x54, 0xf2, 0x85, 0x48],
        &[16, 0, 0, 0, 3, 0, 0, 0], &[0x14, 0xb7, 0xf1, 0x5b], &[2, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0],
    ];
    let expected = expected.concat();
    assert_eq!(encode(&meta, &[b"some", b""]), expected);
}

#[test]
fn parts_come_back_however_the_bytes_are_cut() {
    let meta = meta(entry(70, 3));
    let data: [&[u8]; 4] = [&[1; 1000], b"", b"x", &[2; 3000]];
    let bytes = encode(&meta, &data);
    assert_eq!(SnapshotMeta::of(meta.to_head()).as_ref(), Ok(&meta));
    let mut expected = vec![Part::Head(meta.to_head())];
    expected.extend(data.map(|piece| Part::Data(piece.into())));
    expected.push(Part::End(Totals { parts: 4, data_bytes: 4001 }));
    for piece_bytes in (1..200).chain([1000, 10_000]) {
        assert_eq!(decode(&bytes, piece_bytes), Ok(expected.clone()), "in pieces of {piece_bytes}");
    }
}

#[test]
fn no_beginning_of_a_snapshot_passes_for_a_whole_one() {
    let bytes = encode(&meta(entry(70, 3)), &[b"some", b"more"]);
    for length in 0..bytes.len() {
        let error = decode(&bytes[..length], 7).unwrap_err();
        assert!(error.to_string().ends_with("it is cut short"), "{length}: {error}");
    }
    let longer = [&bytes[..], b"x"].concat();
    let error = decode(&longer, 7).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "the snapshot is damaged at byte {}: there are bytes after its \
         end",
            bytes.len()
        )
    );
}

#[test]
fn no_flipped_bit_passes() {
    let bytes = encode(&meta(entry(70, 3)), &[b"some", b"more"]);
    for position in 0..bytes.len() {
        for bit in 0..8 {
            let mut damaged = bytes.clone();
            damaged[position] ^= 1 << bit;
            let error = decode(&damaged, 50).unwrap_err();
            match &error {
                SnapshotError::Damaged { offset, .. } => assert!(*offset <= position as u64, "{position}: {error}"),
                SnapshotError::NotASnapshot => assert!(position < 8),
                SnapshotError::UnknownVersion { .. } => assert!((8..12).contains(&position)),
            }
        }
    }
}

/// Returns the parts of a snapshot: its header, its beginning, data, the end.
fn parts(bytes: &[u8]) -> Vec<&[u8]> {
    let (header, mut rest) = bytes.split_at(32);
    let mut parts = vec![header];
    while let Some(length) = rest.first_chunk() {
        let (part, after) = rest.split_at(12 + u32::from_le_bytes(*length) as usize);
        parts.push(part);
        rest = after;
    }
    parts
}

#[test]
fn a_part_that_is_missing_or_doubled_or_elsewhere_is_found() {
    let bytes = encode(&meta(entry(70, 3)), &[b"some", b"some", b"more"]);
    let whole = parts(&bytes);
    assert_eq!(whole.len(), 6);
    let other_bytes = encode(&meta(entry(71, 3)), &[b"some", b"some", b"more"]);
    let other = parts(&other_bytes);
    for at in 0..whole.len() {
        let without = [&whole[..at], &whole[at + 1..]].concat().concat();
        decode(&without, 1000).expect_err("one is missing");
        let doubled = [&whole[..=at], &whole[at..]].concat().concat();
        decode(&doubled, 1000).expect_err("one is there twice");
        if at > 0 {
            let mut of_two = whole.clone();
            of_two[at] = other[at];
            decode(&of_two.concat(), 1000).expect_err("one is of another snapshot");
        }
        for with in 0..at {
            let mut swapped = whole.clone();
            swapped.swap(at, with);
            decode(&swapped.concat(), 1000).expect_err("two have changed places");
        }
    }
}

/// Returns these parts after a header, with the right checksums: no disk produces them, but a mistake in a writer
/// might.
fn sealed(parts: &[(u8, &[u8])]) -> Vec<u8> {
    let mut bytes = encode(&meta(entry(70, 3)), &[])[..32].to_vec();
    let mut crc = bytes[28..32].to_vec();
    for (kind, body) in parts {
        let head = [&(body.len() as u32).to_le_bytes()[..], &[*kind, 0, 0, 0]].concat();
        crc = crc32c::crc32c(&[&crc, &head, *body].concat()).to_le_bytes().to_vec();
        bytes.extend([&head, &crc, *body].concat());
    }
    bytes
}

#[test]
fn what_no_writer_means_is_refused_whatever_its_checksums_say() {
    let whole = encode(&meta(entry(70, 3)), &[]);
    let good = &parts(&whole)[1][12..];
    let end = [0; 16];
    assert!(decode(&sealed(&[(1, good), (3, &end)]), 1000).is_ok(), "the others are refused for what is wrong in them");
    let with = |offset: usize, bytes: &[u8]| {
        let mut meta = good.to_vec();
        meta[offset..offset + bytes.len()].copy_from_slice(bytes);
        meta
    };
    let huge = u64::MAX.to_le_bytes();
    for (case, bytes, cause) in [
        ("data first", sealed(&[(2, b"some"), (3, &end)]), "wrong order"),
        ("nothing but an end", sealed(&[(3, &end)]), "wrong order"),
        ("two metas", sealed(&[(1, good), (1, good), (3, &end)]), "wrong order"),
        ("an unknown kind", sealed(&[(1, good), (5, b"new"), (3, &end)]), "no known form"),
        ("data behind history", sealed(&[(1, good), (4, b"old"), (2, b"new"), (3, &end)]), "wrong order"),
        ("more data than counted", sealed(&[(1, good), (2, b"some"), (3, &end)]), "other parts than there are"),
        ("a longer end", sealed(&[(1, good), (3, &[0; 17])]), "other parts than there are"),
        ("no entry", sealed(&[(1, &with(0, &[0; 8]))]), "no known form"),
        ("an index beyond all", sealed(&[(1, &with(0, &huge))]), "no known form"),
        ("a term beyond all", sealed(&[(1, &with(8, &huge))]), "no known form"),
        ("a time beyond all", sealed(&[(1, &with(16, &huge))]), "no known form"),
        ("a configuration of the future", sealed(&[(1, &with(24, &[71]))]), "no known form"),
        ("a longer configuration", sealed(&[(1, &with(32, &[14]))]), "no known form"),
        ("a shorter configuration", sealed(&[(1, &with(32, &[12]))]), "no known form"),
        ("a shorter summary", sealed(&[(1, &with(36, &[2]))]), "no known form"),
        ("a longer summary", sealed(&[(1, &with(36, &[4]))]), "no known form"),
        ("a meta cut short", sealed(&[(1, &good[..39])]), "no known form"),
        ("a configuration of garbage", sealed(&[(1, &with(40, &[0xff; 12]))]), "no known form"),
    ] {
        let error = decode(&bytes, 1000).expect_err(case).to_string();
        assert!(error.contains(cause), "{case}: {error}");
    }
}

#[test]
fn a_length_is_not_believed() {
    let bytes = encode(&meta(entry(70, 3)), &[b"some"]);
    for (length, is_refused_at_once) in [(PART_BYTES_MAX as u32 + 1, true), (u32::MAX, true), (1 << 20, false)] {
        let mut damaged = bytes.clone();
        damaged[32..36].copy_from_slice(&length.to_le_bytes());
        let mut decoder = Decoder::new();
        decoder.feed(&damaged);
        assert_eq!(decoder.next_part().is_err(), is_refused_at_once, "{length}");
        assert!(decoder.finish().is_err());
    }
}

#[test]
fn an_error_stays() {
    let mut decoder = Decoder::new();
    decoder.feed(&[0; 100]);
    let error = decoder.next_part().unwrap_err();
    decoder.feed(&encode(&meta(entry(70, 3)), &[]));
    assert_eq!((decoder.next_part(), decoder.finish()), (Err(error.clone()), Err(error)));
}

#[test]
fn another_version_is_told_from_damage() {
    let mut bytes = encode(&meta(entry(70, 3)), &[]);
    bytes[8] = 2;
    assert_eq!(decode(&bytes, 1000), Err(SnapshotError::UnknownVersion { found: 2, supported: 1 }));
}

#[test]
#[should_panic(expected = "a part of 8388609 bytes, of 8388608 at most")]
fn a_part_that_is_too_long_is_a_mistake_of_the_caller() {
    Encoder::begin(&meta(entry(70, 3)).to_head()).0.data(&vec![0; PART_BYTES_MAX + 1]);
}

#[test]
#[should_panic(expected = "a snapshot that ends with entry 0 of term 0")]
fn a_snapshot_of_nothing_is_a_mistake_of_the_caller() {
    let _ = meta(LogBase::NONE).to_head();
}

proptest! {
    #[test]
    fn arbitrary_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300), after_header in any::<bool>()) {
        let header = &encode(&meta(entry(70, 3)), &[])[..32];
        let bytes = if after_header { [header, &bytes].concat() } else { bytes };
        prop_assert!(decode(&bytes, 64).is_err());
    }
}
