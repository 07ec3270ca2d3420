//! Ranges of keys.

use super::item::KEY_BYTES_MAX;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::ops::Bound;

/// Ends of a range, for a search in an ordered map.
pub(super) type Bounds<'a> = (Bound<&'a [u8]>, Bound<&'a [u8]>);

/// The keys from `from` on and before `to`, in bytewise order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRange {
    /// The lower end, which is in the range.
    pub from: Bytes,
    /// The upper end, which is not in the range; `None` if the range has no upper end.
    pub to: Option<Bytes>,
}

impl KeyRange {
    /// Every key.
    pub const ALL: Self = Self { from: Bytes::new(), to: None };

    /// The range of one key.
    pub fn of_key(key: &[u8]) -> Self {
        Self { from: Bytes::copy_from_slice(key), to: Some([key, &[0]].concat().into()) }
    }

    /// The range of all keys that begin with `prefix`.
    pub fn of_prefix(prefix: &[u8]) -> Self {
        Self { from: Bytes::copy_from_slice(prefix), to: end_of_prefix(prefix) }
    }

    /// Returns true if `key` is in the range.
    pub fn contains(&self, key: &[u8]) -> bool {
        self.from <= key && self.to.as_ref().is_none_or(|to| key < &to[..])
    }

    /// Returns true if no key can be in the range.
    pub fn is_empty(&self) -> bool {
        self.to.as_ref().is_some_and(|to| *to <= self.from)
    }

    /// Returns the only key of the range, if there is exactly one that can be in it.
    pub fn as_key(&self) -> Option<&[u8]> {
        let rest = self.to.as_ref()?.strip_prefix(&self.from[..])?;
        (rest == [0] && !self.from.is_empty()).then_some(&self.from)
    }

    /// Returns the part of the range after `key`.
    #[must_use]
    pub fn after(&self, key: &[u8]) -> Self {
        if key < &self.from[..] {
            return self.clone();
        }
        Self { from: [key, &[0]].concat().into(), to: self.to.clone() }
    }

    /// Returns the part of the range before `key`.
    #[must_use]
    pub fn before(&self, key: &[u8]) -> Self {
        let to = self.to.as_ref().map_or(key, |to| key.min(to));
        Self { from: self.from.clone(), to: Some(Bytes::copy_from_slice(to)) }
    }

    /// Returns the ends for a search in an ordered map, and none if the range is [empty](KeyRange::is_empty): the map
    /// would refuse them.
    pub(super) fn bounds(&self) -> Option<Bounds<'_>> {
        let to = self.to.as_ref().map_or(Bound::Unbounded, |to| Bound::Excluded(&to[..]));
        (!self.is_empty()).then_some((Bound::Included(&self.from[..]), to))
    }

    /// Returns true if both ends have lengths that some command can have: an end may be one byte longer than a key.
    pub(super) fn has_valid_ends(&self) -> bool {
        self.from.len() <= KEY_BYTES_MAX + 1 && self.to.as_ref().is_none_or(|to| to.len() <= KEY_BYTES_MAX + 1)
    }
}

/// Returns the first byte string after all that begin with `prefix`; `None` if there is no such string.
pub fn end_of_prefix(prefix: &[u8]) -> Option<Bytes> {
    let kept = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut end = prefix[..=kept].to_vec();
    end[kept] += 1;
    Some(end.into())
}

/// A set of keys as ranges that do not overlap: the end of each, which is not part of it, by its beginning.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spans(BTreeMap<Bytes, Option<Bytes>>);

impl Spans {
    /// Returns true if `key` is in the set.
    pub fn contain(&self, key: &[u8]) -> bool {
        let last = self.0.range::<[u8], _>((Bound::Unbounded, Bound::Included(key))).next_back();
        last.is_some_and(|(_, to)| to.as_ref().is_none_or(|to| key < &to[..]))
    }

    /// Adds the keys of a range.
    pub fn add(&mut self, range: &KeyRange) {
        if range.is_empty() {
            return;
        }
        let KeyRange { mut from, mut to } = range.clone();
        // Joins the ranges that begin before the end of the new one and end after its beginning.
        loop {
            let before = to.as_ref().map_or(Bound::Unbounded, |to| Bound::Excluded(&to[..]));
            let last = self.0.range::<[u8], _>((Bound::Unbounded, before)).next_back();
            let Some((known, end)) = last.filter(|(_, end)| end.as_ref().is_none_or(|end| *end > from)) else { break };
            let (known, end) = (known.clone(), end.clone());
            self.0.remove(&known);
            from = from.min(known);
            to = to.zip(end).map(|(to, end)| to.max(end));
        }
        self.0.insert(from, to);
    }

    /// Returns the ranges in their order.
    pub fn ranges(&self) -> impl Iterator<Item = KeyRange> {
        self.0.iter().map(|(from, to)| KeyRange { from: from.clone(), to: to.clone() })
    }

    /// Returns the first string in the set that is `key` or comes after it; `None` if there is none.
    pub fn next_from(&self, key: &[u8]) -> Option<Bytes> {
        if self.contain(key) {
            return Some(Bytes::copy_from_slice(key));
        }
        let next = self.0.range::<[u8], _>((Bound::Excluded(key), Bound::Unbounded)).next();
        next.map(|(from, _)| from.clone())
    }

    /// Adds all keys of another set.
    pub(super) fn append(&mut self, other: Self) {
        other.0.into_iter().for_each(|(from, to)| self.add(&KeyRange { from, to }));
    }

    /// Returns the ends of the ranges, for searches in an ordered map.
    pub(super) fn bounds(&self) -> impl Iterator<Item = Bounds<'_>> {
        self.0.iter().map(|(from, to)| {
            let to = to.as_ref().map_or(Bound::Unbounded, |to| Bound::Excluded(&to[..]));
            (Bound::Included(&from[..]), to)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_end_of_a_prefix_is_the_next_string_of_at_most_its_length() {
        for (prefix, end) in [
            (&b"a"[..], Some(&b"b"[..])),
            (b"ab", Some(b"ac")),
            (b"a\xff", Some(b"b")),
            (b"a\xff\xff", Some(b"b")),
            (b"\xff", None),
            (b"\xff\xff", None),
            (b"", None),
        ] {
            assert_eq!(end_of_prefix(prefix).as_deref(), end, "{prefix:?}");
        }
    }

    #[test]
    fn a_range_of_one_key_is_recognized() {
        assert_eq!(KeyRange::of_key(b"a").as_key(), Some(&b"a"[..]));
        assert_eq!(KeyRange::of_key(b"a\0").as_key(), Some(&b"a\0"[..]));
        for range in [KeyRange::of_prefix(b"a"), KeyRange::ALL, KeyRange { from: "".into(), to: Some("\0".into()) }] {
            assert_eq!(range.as_key(), None, "{range:?}");
        }
    }

    proptest! {
        #[test]
        fn a_range_has_the_keys_that_its_name_says(
            prefix in prop::collection::vec(prop::sample::select(vec![0, 1, 0xfe, 0xff]), 0..4),
            key in prop::collection::vec(prop::sample::select(vec![0, 1, 0xfe, 0xff]), 0..5),
            cut in prop::collection::vec(prop::sample::select(vec![0, 1, 0xfe, 0xff]), 0..5),
        ) {
            let range = KeyRange::of_prefix(&prefix);
            prop_assert_eq!(range.contains(&key), key.starts_with(&prefix));
            prop_assert_eq!(KeyRange::of_key(&prefix).contains(&key), key == prefix);
            prop_assert_eq!(range.after(&cut).contains(&key), range.contains(&key) && key > cut);
            prop_assert_eq!(range.before(&cut).contains(&key), range.contains(&key) && key < cut);
            prop_assert_eq!(range.bounds().is_none(), range.is_empty());
        }

        #[test]
        fn spans_have_the_keys_of_all_their_ranges(
            ranges in prop::collection::vec((0..8u8, prop::option::of(0..8u8)), 0..5),
            key in 0..8u8,
        ) {
            let mut spans = Spans::default();
            let mut contained = false;
            for (from, to) in ranges {
                let range = KeyRange { from: vec![from].into(), to: to.map(|to| vec![to].into()) };
                spans.add(&range);
                contained |= range.contains(&[key]);
            }
            prop_assert_eq!(spans.contain(&[key]), contained);
            prop_assert_eq!(spans.ranges().any(|range| range.contains(&[key])), contained);
            let next = (key..=8).find(|next| spans.contain(&[*next])).map(|next| Bytes::from(vec![next]));
            prop_assert_eq!(spans.next_from(&[key]), next);
        }
    }
}
