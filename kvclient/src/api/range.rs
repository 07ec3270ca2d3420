//! Ranges of keys.

use super::byte_field::{FROM, KEY, PREFIX, TO};
use super::key::{KEY_BYTES_MAX, Key, check_key};
use super::object::read_from_object;
use super::query::QueryText;
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

/// Longest prefix or bound, in bytes: the key that follows the longest key has one byte more.
///
/// ```
/// assert_eq!(kvclient::api::BOUND_BYTES_MAX, kvclient::api::KEY_BYTES_MAX + 1);
/// ```
pub const BOUND_BYTES_MAX: usize = KEY_BYTES_MAX + 1;

const ONE_RANGE: &str = "give one of `key`, `prefix`, `from` and `to`, `\"all\":true`";

/// The keys that a request reads, watches or deletes.
///
/// ```
/// use kvclient::api::Range;
///
/// for (range, json) in [
///     (Range::Key("color".into()), r#"{"key":"color"}"#),
///     (Range::Prefix("app/".into()), r#"{"prefix":"app/"}"#),
///     (Range::Between { from: Some("a".into()), to: Some([0xff].into()) }, r#"{"from":"a","to_base64":"/w=="}"#),
///     (Range::All, r#"{"all":true}"#),
/// ] {
///     assert_eq!(serde_json::to_string(&range)?, json);
///     assert_eq!(serde_json::from_str::<Range>(json)?, range);
/// }
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Range {
    /// One key: `"key"`.
    Key(Key),
    /// The keys that begin with these bytes: `"prefix"`.
    Prefix(Key),
    /// The keys between two bounds, of which either may be missing: `"from"` and `"to"`.
    Between {
        /// The lowest key.
        from: Option<Key>,
        /// The upper bound, which is not in the range.
        to: Option<Key>,
    },
    /// Every key of the store: `"all":true`.
    All,
}

impl Range {
    /// Returns the range of the keys that begin with these bytes.
    ///
    /// ```
    /// use kvclient::api::Range;
    ///
    /// assert_eq!(Range::prefix("app/"), Range::Prefix("app/".into()));
    /// ```
    pub fn prefix(prefix: impl Into<Key>) -> Self {
        Self::Prefix(prefix.into())
    }

    /// Returns the range of the keys from `from` on and before `to`.
    ///
    /// ```
    /// use kvclient::api::Range;
    ///
    /// let range = Range::between("2024-01", "2024-02");
    /// assert!(range.contains(b"2024-01") && range.contains(b"2024-01-31") && !range.contains(b"2024-02"));
    /// ```
    pub fn between(from: impl Into<Key>, to: impl Into<Key>) -> Self {
        Self::Between { from: Some(from.into()), to: Some(to.into()) }
    }

    /// Returns the range that these fields name, `None` if they are all absent.
    pub(super) fn of(
        key: Option<Vec<u8>>,
        prefix: Option<Vec<u8>>,
        from: Option<Vec<u8>>,
        to: Option<Vec<u8>>,
        all: bool,
    ) -> Result<Option<Self>, String> {
        let range = match (key, prefix, (from, to), all) {
            (None, None, (None, None), false) => return Ok(None),
            (Some(key), None, (None, None), false) => Self::Key(key.into()),
            (None, Some(prefix), (None, None), false) => Self::Prefix(prefix.into()),
            (None, None, (None, None), true) => Self::All,
            (None, None, (from, to), false) => Self::Between { from: from.map(Key::from), to: to.map(Key::from) },
            _ => return Err(format!("the range is given twice: {ONE_RANGE}")),
        };
        range.check()?;
        Ok(Some(range))
    }

    /// Returns `range`.
    pub(super) fn require(range: Option<Self>) -> Result<Self, String> {
        range.ok_or_else(|| format!("missing field `key`, or a range: {ONE_RANGE}"))
    }

    /// Checks the lengths of the key, the prefix or the bounds.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    ///
    /// ```
    /// use kvclient::api::Range;
    ///
    /// assert!(Range::Prefix("".into()).check().is_ok());
    /// assert!(Range::Key("".into()).check().is_err());
    /// ```
    pub fn check(&self) -> Result<(), String> {
        let bound = |name: &str, bound: &Key| match bound.as_bytes().len() {
            bytes if bytes > BOUND_BYTES_MAX => {
                Err(format!("`{name}` has {bytes} bytes; the longest has {BOUND_BYTES_MAX}"))
            }
            _ => Ok(()),
        };
        match self {
            Self::Key(key) => check_key(key),
            Self::Prefix(prefix) => bound("prefix", prefix),
            Self::Between { to: Some(to), .. } if to.as_bytes().is_empty() => {
                Err("`to` is empty, and no key comes before it: leave it out for all keys from `from` on".into())
            }
            Self::Between { from, to } => {
                from.as_ref().map_or(Ok(()), |from| bound("from", from))?;
                to.as_ref().map_or(Ok(()), |to| bound("to", to))
            }
            Self::All => Ok(()),
        }
    }

    /// Returns the range as bounds: its lowest key, and its upper bound, which is not in the range. `None` if the range
    /// has no upper bound.
    ///
    /// ```
    /// use kvclient::api::Range;
    ///
    /// assert_eq!(Range::Prefix("a/".into()).bounds(), ("a/".into(), Some("a0".into())));
    /// assert_eq!(Range::Prefix([b'a', 0xff].into()).bounds(), ([b'a', 0xff].into(), Some("b".into())));
    /// assert_eq!(Range::Prefix([0xff].into()).bounds(), ([0xff].into(), None));
    /// assert_eq!(Range::Key("a".into()).bounds(), ("a".into(), Some("a\0".into())));
    /// assert_eq!(Range::All.bounds(), ("".into(), None));
    /// ```
    pub fn bounds(&self) -> (Key, Option<Key>) {
        match self {
            Self::Key(key) => (key.clone(), Some([key.as_bytes(), b"\0"].concat().into())),
            Self::Prefix(prefix) => (prefix.clone(), end_of_prefix(prefix.as_bytes())),
            Self::Between { from, to } => (from.clone().unwrap_or_default(), to.clone()),
            Self::All => (Key::default(), None),
        }
    }

    /// Returns whether `key` is in the range.
    ///
    /// ```
    /// use kvclient::api::Range;
    ///
    /// let range = Range::Between { from: Some("b".into()), to: Some("d".into()) };
    /// assert!(range.contains(b"b") && range.contains(b"c") && !range.contains(b"d"));
    /// ```
    pub fn contains(&self, key: &[u8]) -> bool {
        match self {
            Self::Key(only) => only.as_bytes() == key,
            Self::Prefix(prefix) => key.starts_with(prefix.as_bytes()),
            Self::Between { from, to } => {
                from.as_ref().is_none_or(|from| from.as_bytes() <= key)
                    && to.as_ref().is_none_or(|to| key < to.as_bytes())
            }
            Self::All => true,
        }
    }

    /// Returns whether every possible key is in the range.
    pub(super) fn is_everything(&self) -> bool {
        self.bounds() == (Key::default(), None)
    }

    /// Adds the range to a query, where nothing at all is every key.
    pub(super) fn add_to(&self, query: &mut QueryText) {
        match self {
            Self::Key(key) => query.add_bytes(KEY, key),
            Self::Prefix(prefix) => query.add_bytes(PREFIX, prefix),
            Self::Between { from, to } => {
                from.iter().for_each(|from| query.add_bytes(FROM, from));
                to.iter().for_each(|to| query.add_bytes(TO, to));
            }
            Self::All => {}
        }
    }
}

impl<K: Into<Key>> From<K> for Range {
    /// Returns the range of this one key.
    fn from(key: K) -> Self {
        Self::Key(key.into())
    }
}

/// Returns the lowest key after all that begin with `prefix`, if there is one.
fn end_of_prefix(prefix: &[u8]) -> Option<Key> {
    let last = prefix.iter().rposition(|byte| *byte != 0xff)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end.into())
}

impl Serialize for Range {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut range = to.serialize_map(None)?;
        let bytes = match self {
            Self::Key(key) => [Some((KEY, key)), None],
            Self::Prefix(prefix) => [Some((PREFIX, prefix)), None],
            Self::Between { from, to } => [from.as_ref().map(|from| (FROM, from)), to.as_ref().map(|to| (TO, to))],
            Self::All => [None, None],
        };
        for (field, bytes) in bytes.iter().flatten() {
            let (name, content) = field.encode(bytes.as_bytes());
            range.serialize_entry(name, &content)?;
        }
        // Two missing bounds are every key. Nothing at all would be no range.
        if bytes == [None, None] {
            range.serialize_entry("all", &true)?;
        }
        range.end()
    }
}

read_from_object!(
    Range, "an object with `key`, `prefix`, `from` and `to`, or `all`",
    bytes { key / key_base64, prefix / prefix_base64, from / from_base64, to / to_base64 },
    { #[serde(default)] all: bool },
    { Range::require(Range::of(key, prefix, from, to, all)?) }
);

/// Keys and ranges for property tests: few and close together, so that they meet.
#[cfg(test)]
pub(super) mod strategies {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    pub(in super::super) fn key() -> impl Strategy<Value = Key> {
        vec(prop_oneof![Just(b'a'), Just(b'b'), Just(0xfe), Just(0xff), Just(0)], 1..4).prop_map(Key::from)
    }

    pub(in super::super) fn range() -> impl Strategy<Value = Range> {
        prop_oneof![
            key().prop_map(Range::Key),
            key().prop_map(Range::Prefix),
            (key(), proptest::option::of(key())).prop_map(|(from, to)| Range::Between { from: Some(from), to }),
            key().prop_map(|to| Range::Between { from: None, to: Some(to) }),
            Just(Range::All),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::strategies::{key, range};
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_range_comes_back_as_it_went(range in range()) {
            let json = serde_json::to_string(&range).unwrap();
            prop_assert_eq!(serde_json::from_str::<Range>(&json).unwrap(), range);
        }

        #[test]
        fn a_range_has_the_keys_between_its_bounds(range in range(), key in key()) {
            let (from, to) = range.bounds();
            let is_between = from <= key && to.is_none_or(|to| key < to);
            prop_assert_eq!(range.contains(key.as_bytes()), is_between);
        }
    }

    #[test]
    fn a_range_is_named_in_one_way() {
        let long = format!(r#"{{"prefix":"{}"}}"#, "p".repeat(BOUND_BYTES_MAX + 1));
        for (json, complaint) in [
            ("{}", "missing field `key`, or a range: give one of"),
            (r#"{"all":false}"#, "missing field `key`"),
            (r#"{"key":"a","prefix":"a"}"#, "given twice"),
            (r#"{"key":"a","all":true}"#, "given twice"),
            (r#"{"prefix":"a","to":"b"}"#, "given twice"),
            (r#"{"from":"a","from_base64":"YQ=="}"#, "give `from` or `from_base64`, not both"),
            (r#"{"from":"a","to":""}"#, "`to` is empty"),
            (r#"{"key":""}"#, "the key is empty"),
            (r#"{"prefixes":["a"]}"#, "unknown field `prefixes`"),
            (r#"["a"]"#, "expected an object with `key`"),
            (&long, "`prefix` has 4098 bytes"),
        ] {
            let error = serde_json::from_str::<Range>(json).expect_err(json).to_string();
            assert!(error.contains(complaint), "{json}: {error}");
        }
    }
}
