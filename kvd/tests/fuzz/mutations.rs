//! Random changes to files of the corpus, of the kinds that find defects in decoders.

use super::corpus;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// Longest result: larger inputs show nothing new.
const BYTES_MAX: usize = 1 << 17;

/// Numbers at the limits of various fields, as bytes and as text.
const EDGES: &[&[u8]] = &[
    &[0; 8],
    &[0xff; 4],
    &[0xff; 8],
    &[0xff, 0xff, 0xff, 0x7f],
    &[0, 0, 0, 0x80],
    // Varints: the largest, one bit more, and one longer than necessary.
    &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
    &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02],
    &[0x80, 0x00],
    b"18446744073709551615",
    b"18446744073709551616",
    b"-1",
    b"1e999",
    b"\\u0000",
    b"\\ud800",
    b"%00",
    b"\0",
    &[0xc3],
    &[0xed, 0xa0, 0x80],
];

#[derive(Clone, Debug)]
enum Change {
    Flip(Index, u8),
    Set(Index, u8),
    Truncate(Index),
    Remove(Index, Index),
    /// Repeats a range this many times.
    Repeat(Index, Index, usize),
    /// Inserts these bytes.
    Insert(Index, Vec<u8>),
    /// Overwrites bytes with these.
    Overwrite(Index, Vec<u8>),
    /// Continues with the rest of another file from some position.
    Splice(Index, Index, Index),
}

fn change() -> impl Strategy<Value = Change> {
    let index = any::<Index>;
    let edge = || select(EDGES).prop_map(<[u8]>::to_vec);
    let bytes = || prop_oneof![edge(), vec(any::<u8>(), 1..9)];
    prop_oneof![
        (index(), 0u8..8).prop_map(|(at, bit)| Change::Flip(at, bit)),
        (index(), any::<u8>()).prop_map(|(at, byte)| Change::Set(at, byte)),
        index().prop_map(Change::Truncate),
        (index(), index()).prop_map(|(from, to)| Change::Remove(from, to)),
        (index(), index(), 1usize..200).prop_map(|(from, to, times)| Change::Repeat(from, to, times)),
        (index(), bytes()).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        (index(), bytes()).prop_map(|(at, bytes)| Change::Overwrite(at, bytes)),
        (index(), index(), index()).prop_map(|(at, file, from)| Change::Splice(at, file, from)),
    ]
}

/// Returns files of a target after some changes.
pub(crate) fn of(target: &'static str) -> impl Strategy<Value = Vec<u8>> {
    let files: Vec<Vec<u8>> = corpus::files(target).into_iter().map(|file| file.bytes).collect();
    (select(files.clone()), vec(change(), 1..6)).prop_map(move |(mut bytes, changes)| {
        for change in changes {
            apply(&mut bytes, change, &files);
            bytes.truncate(BYTES_MAX);
        }
        bytes
    })
}

fn apply(bytes: &mut Vec<u8>, change: Change, files: &[Vec<u8>]) {
    let length = bytes.len();
    let place = |at: &Index| at.index(length + 1);
    let stretch = |from: &Index, to: &Index| place(from).min(place(to))..place(from).max(place(to));
    match change {
        Change::Flip(..) | Change::Set(..) if length == 0 => {}
        Change::Flip(at, bit) => bytes[at.index(length)] ^= 1 << bit,
        Change::Set(at, byte) => bytes[at.index(length)] = byte,
        Change::Truncate(at) => bytes.truncate(place(&at)),
        Change::Remove(from, to) => drop(bytes.drain(stretch(&from, &to))),
        Change::Repeat(from, to, times) => {
            let stretch = stretch(&from, &to);
            let times = times.min(BYTES_MAX / stretch.len().max(1));
            let repeated = bytes[stretch.clone()].repeat(times);
            bytes.splice(stretch.end..stretch.end, repeated);
        }
        Change::Insert(at, inserted) => drop(bytes.splice(place(&at)..place(&at), inserted)),
        Change::Overwrite(at, new) => {
            let start = place(&at);
            bytes.splice(start..length.min(start + new.len()), new);
        }
        Change::Splice(at, file, from) => {
            let other = file.get(files);
            bytes.truncate(place(&at));
            bytes.extend_from_slice(&other[from.index(other.len() + 1)..]);
        }
    }
}
