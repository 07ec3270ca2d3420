//! Compares: all of them must hold for a transaction to take its first branch.

use super::super::byte_field::{ByteField, VALUE};
use super::super::held::Held;
use super::super::lease_id::LeaseId;
use super::super::object::read_from_object;
use super::super::optional::nullable;
use super::super::range::Range;
use serde::de::{self, DeserializeOwned, MapAccess, Visitor};
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::marker::PhantomData;

/// One compare of a transaction: keys with a test, or a lock that must be held.
///
/// ```
/// use kvclient::api::{Compare, Relation, Test};
///
/// for (compare, json) in [
///     (Compare::of("color", Test::Absent), r#"{"key":"color","absent":true}"#),
///     (Compare::of("color", Test::ModRevision(Relation::Equal(7))), r#"{"key":"color","mod_revision":7}"#),
///     (Compare::of("count", Test::Version(Relation::Less(3))), r#"{"key":"count","version":{"lt":3}}"#),
///     (Compare::of("color", Test::Value(Relation::NotEqual("red".into()))), r#"{"key":"color","value":{"ne":"red"}}"#),
/// ] {
///     assert_eq!(serde_json::to_string(&compare)?, json);
///     assert_eq!(serde_json::from_str::<Compare>(json)?, compare);
/// }
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compare {
    /// The test holds for every key of the range. An empty range is tested as one missing key.
    Keys {
        /// The keys.
        range: Range,
        /// The test.
        test: Test,
    },
    /// The client holds this lock: `{"held":{"name":"N","token":57}}`.
    Held(Held),
}

impl Compare {
    /// Creates a compare of a key or a range.
    ///
    /// ```
    /// use kvclient::api::{Compare, Range, Test};
    ///
    /// let compare = Compare::of(Range::Prefix("app/".into()), Test::Present);
    /// assert_eq!(serde_json::to_string(&compare)?, r#"{"prefix":"app/","present":true}"#);
    /// # anyhow::Ok(())
    /// ```
    pub fn of(range: impl Into<Range>, test: Test) -> Self {
        Self::Keys { range: range.into(), test }
    }
}

/// Test of a key in a [`Compare`].
///
/// A missing key has revisions and version 0, no lease, and no value. No test of its value holds.
///
/// ```
/// use kvclient::api::{Compare, LeaseId, Relation, Test};
///
/// let is_attached = Compare::of("color", Test::Lease(Relation::NotEqual(None)));
/// assert_eq!(serde_json::to_string(&is_attached)?, r#"{"key":"color","lease":{"ne":null}}"#);
/// let to_this = Compare::of("color", Test::Lease(Relation::Equal(LeaseId::new(1234))));
/// assert_eq!(serde_json::to_string(&to_this)?, r#"{"key":"color","lease":"00000000000004d2"}"#);
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Test {
    /// There is no such key.
    Absent,
    /// The key exists.
    Present,
    /// Revision of the write that created the key.
    CreateRevision(Relation<u64>),
    /// Revision of the last write to the key.
    ModRevision(Relation<u64>),
    /// Writes since the key was created.
    Version(Relation<u64>),
    /// The value, ordered bytewise.
    Value(Relation<Vec<u8>>),
    /// The lease, null for a key without one. Null is less than any lease.
    Lease(Relation<Option<LeaseId>>),
}

/// Relation of what is compared to the given operand: `V`, `{"ne":V}`, `{"lt":V}`, `{"gt":V}`.
///
/// ```
/// use kvclient::api::Relation;
///
/// assert!(Relation::Less(3).holds(&2) && !Relation::Less(3).holds(&3));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation<T> {
    /// It equals the operand.
    Equal(T),
    /// It differs from the operand.
    NotEqual(T),
    /// It is less than the operand.
    Less(T),
    /// It is greater than the operand.
    Greater(T),
}

impl<T> Relation<T> {
    /// Returns whether `left` has this relation to the operand.
    ///
    /// ```
    /// assert!(kvclient::api::Relation::NotEqual("red").holds(&"blue"));
    /// ```
    pub fn holds(&self, left: &T) -> bool
    where
        T: Ord,
    {
        match self {
            Self::Equal(operand) => left == operand,
            Self::NotEqual(operand) => left != operand,
            Self::Less(operand) => left < operand,
            Self::Greater(operand) => left > operand,
        }
    }

    /// Returns the operand.
    ///
    /// ```
    /// assert_eq!(kvclient::api::Relation::Less(3).operand(), &3);
    /// ```
    pub fn operand(&self) -> &T {
        let (Self::Equal(operand) | Self::NotEqual(operand) | Self::Less(operand) | Self::Greater(operand)) = self;
        operand
    }

    /// Returns the same relation to another operand.
    ///
    /// ```
    /// use kvclient::api::Relation;
    ///
    /// assert_eq!(Relation::Less("3").map(|text| text.len()), Relation::Less(1));
    /// ```
    pub fn map<U>(self, operand: impl FnOnce(T) -> U) -> Relation<U> {
        match self {
            Self::Equal(of) => Relation::Equal(operand(of)),
            Self::NotEqual(of) => Relation::NotEqual(operand(of)),
            Self::Less(of) => Relation::Less(operand(of)),
            Self::Greater(of) => Relation::Greater(operand(of)),
        }
    }

    /// Returns the same relation to an operand that is read from this one.
    fn try_map<U>(self, operand: impl FnOnce(T) -> Result<U, String>) -> Result<Relation<U>, String> {
        Ok(match self {
            Self::Equal(of) => Relation::Equal(operand(of)?),
            Self::NotEqual(of) => Relation::NotEqual(operand(of)?),
            Self::Less(of) => Relation::Less(operand(of)?),
            Self::Greater(of) => Relation::Greater(operand(of)?),
        })
    }

    /// Returns the name of the relation in JSON. Equality has none: its operand stands alone.
    fn name(&self) -> Option<&'static str> {
        match self {
            Self::Equal(_) => None,
            Self::NotEqual(_) => Some("ne"),
            Self::Less(_) => Some("lt"),
            Self::Greater(_) => Some("gt"),
        }
    }
}

impl<T: Serialize> Serialize for Relation<T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Some(name) = self.name() else { return self.operand().serialize(to) };
        let mut relation = to.serialize_map(Some(1))?;
        relation.serialize_entry(name, self.operand())?;
        relation.end()
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Relation<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(RelationVisitor(PhantomData))
    }
}

struct RelationVisitor<T>(PhantomData<T>);

impl<'de, T: DeserializeOwned> Visitor<'de> for RelationVisitor<T> {
    type Value = Relation<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value, or one of {\"ne\":V}, {\"lt\":V}, {\"gt\":V}")
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Self::Value, E> {
        equal(number)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        equal(text)
    }

    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
        equal(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Self::Value, A::Error> {
        let one = "give exactly one of ne, lt, gt";
        let relation = match fields.next_key::<String>()?.as_deref() {
            Some("ne") => Relation::NotEqual(fields.next_value()?),
            Some("lt") => Relation::Less(fields.next_value()?),
            Some("gt") => Relation::Greater(fields.next_value()?),
            Some(unknown) => return Err(de::Error::custom(format_args!("unknown relation `{unknown}`: {one}"))),
            None => return Err(de::Error::custom(format_args!("the relation is empty: {one}"))),
        };
        match fields.next_key::<de::IgnoredAny>()? {
            None => Ok(relation),
            Some(_) => Err(de::Error::custom(format_args!("more than one relation: {one}"))),
        }
    }
}

/// Reads an operand that stands alone.
fn equal<T: DeserializeOwned, E: de::Error>(operand: impl Into<serde_json::Value>) -> Result<Relation<T>, E> {
    T::deserialize(operand.into()).map(Relation::Equal).map_err(de::Error::custom)
}

impl Serialize for Compare {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Keys<'c> {
            #[serde(flatten)]
            range: &'c Range,
            #[serde(flatten)]
            test: &'c Test,
        }
        match self {
            Self::Keys { range, test } => Keys { range, test }.serialize(to),
            Self::Held(held) => {
                let mut compare = to.serialize_map(Some(1))?;
                compare.serialize_entry("held", held)?;
                compare.end()
            }
        }
    }
}

impl Serialize for Test {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut test = to.serialize_map(Some(1))?;
        match self {
            Self::Absent => test.serialize_entry("absent", &true)?,
            Self::Present => test.serialize_entry("present", &true)?,
            Self::CreateRevision(relation) => test.serialize_entry("create_revision", relation)?,
            Self::ModRevision(relation) => test.serialize_entry("mod_revision", relation)?,
            Self::Version(relation) => test.serialize_entry("version", relation)?,
            Self::Lease(relation) => test.serialize_entry("lease", relation)?,
            Self::Value(relation) => {
                let (name, operand) = VALUE.encode(relation.operand());
                test.serialize_entry(name, &relation.as_ref().map(|_| operand))?;
            }
        }
        test.end()
    }
}

impl<T> Relation<T> {
    fn as_ref(&self) -> Relation<&T> {
        match self {
            Self::Equal(operand) => Relation::Equal(operand),
            Self::NotEqual(operand) => Relation::NotEqual(operand),
            Self::Less(operand) => Relation::Less(operand),
            Self::Greater(operand) => Relation::Greater(operand),
        }
    }
}

const ONE_TEST: &str = "give exactly one of absent, present, create_revision, mod_revision, version, value, \
                        value_base64, lease";

/// Returns the flag that can only be true, as a test.
fn true_only(name: &str, flag: Option<bool>, test: Test) -> Result<Option<Test>, String> {
    match flag {
        None => Ok(None),
        Some(true) => Ok(Some(test)),
        Some(false) => Err(format!("`{name}` can only be true")),
    }
}

/// Returns the test of a value, from one of its two fields.
fn value_test(
    field: ByteField,
    text: Option<Relation<String>>,
    base64: Option<Relation<String>>,
) -> Result<[Option<Test>; 2], String> {
    let base64 = base64.map(|relation| relation.try_map(|text| field.decode_base64(&text))).transpose()?;
    Ok([text.map(|relation| Test::Value(relation.map(String::into_bytes))), base64.map(Test::Value)])
}

read_from_object!(
    Compare, "an object with `key`, or a range, and a test",
    bytes { key / key_base64, prefix / prefix_base64, from / from_base64, to / to_base64 },
    {
        #[serde(default)] all: bool,
        #[serde(default)] absent: Option<bool>,
        #[serde(default)] present: Option<bool>,
        #[serde(default)] create_revision: Option<Relation<u64>>,
        #[serde(default)] mod_revision: Option<Relation<u64>>,
        #[serde(default)] version: Option<Relation<u64>>,
        #[serde(default)] value: Option<Relation<String>>,
        #[serde(default)] value_base64: Option<Relation<String>>,
        #[serde(default, with = "nullable")] lease: Option<Option<Relation<Option<LeaseId>>>>,
        #[serde(default)] held: Option<Held>
    },
    {
        let range = Range::of(key, prefix, from, to, all)?;
        let [text, base64] = value_test(VALUE, value, value_base64)?;
        let tests = [
            true_only("absent", absent, Test::Absent)?,
            true_only("present", present, Test::Present)?,
            create_revision.map(Test::CreateRevision),
            mod_revision.map(Test::ModRevision),
            version.map(Test::Version),
            text,
            base64,
            // Null alone is the lease of a key without one.
            lease.map(|relation| Test::Lease(relation.unwrap_or(Relation::Equal(None)))),
        ];
        let mut tests = tests.into_iter().flatten();
        match (tests.next(), tests.next(), held) {
            (None, None, Some(held)) if range.is_none() => Ok(Compare::Held(held)),
            (_, _, Some(_)) => Err("`held` stands alone: put other tests into compares of their own".into()),
            (Some(test), None, None) => Ok(Compare::Keys { range: Range::require(range)?, test }),
            (None, _, None) => Err(format!("the test is missing: {ONE_TEST}")),
            (_, Some(_), None) => Err(format!("a compare has one test: {ONE_TEST}")),
        }
    }
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compare_has_one_range_and_one_test() {
        for json in [
            r#"{"key":"k","absent":true}"#,
            r#"{"prefix":"","present":true}"#,
            r#"{"from":"a","to":"b","create_revision":{"gt":7}}"#,
            r#"{"key_base64":"/w==","mod_revision":{"ne":7}}"#,
            r#"{"key":"k","version":0}"#,
            r#"{"key":"k","value":"v"}"#,
            r#"{"key":"k","value_base64":{"lt":"/w=="}}"#,
            r#"{"key":"k","lease":null}"#,
            r#"{"key":"k","lease":{"ne":null}}"#,
            r#"{"key":"k","lease":"00000000000004d2"}"#,
            r#"{"held":{"name":"n","token":57}}"#,
        ] {
            let compare: Compare = serde_json::from_str(json).expect(json);
            assert_eq!(serde_json::to_string(&compare).unwrap(), json);
        }
        for (json, complaint) in [
            (r#"{"absent":true}"#, "missing field `key`, or a range"),
            (r#"{"key":"k"}"#, "the test is missing: give exactly one of absent"),
            (r#"{"key":"k","absent":false}"#, "`absent` can only be true"),
            (r#"{"key":"k","absent":true,"version":1}"#, "a compare has one test"),
            (r#"{"key":"k","value":"v","value_base64":"/w=="}"#, "a compare has one test"),
            (r#"{"key":"k","value_base64":"%"}"#, "not standard base64"),
            (r#"{"key":"k","version":{"le":1}}"#, "unknown relation `le`: give exactly one of ne, lt, gt"),
            (r#"{"key":"k","version":{}}"#, "the relation is empty"),
            (r#"{"key":"k","version":{"lt":1,"gt":1}}"#, "more than one relation"),
            (r#"{"key":"k","version":"1"}"#, "invalid type: string \"1\""),
            (r#"{"key":"k","version":-1}"#, "invalid type: integer `-1`, expected a value, or one of"),
            (r#"{"key":"k","versoin":1}"#, "unknown field `versoin`"),
            (r#"{"key":"k","held":{"name":"n","token":57}}"#, "`held` stands alone"),
            (r#"{"held":{"name":"n","token":57},"absent":true}"#, "`held` stands alone"),
        ] {
            let error = serde_json::from_str::<Compare>(json).expect_err(json).to_string();
            assert!(error.contains(complaint), "{json}: {error}");
        }
    }
}
