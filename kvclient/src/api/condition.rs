//! Conditions of writes.

use super::byte_field::VALUE;
use super::held::Held;
use serde::de::{self, MapAccess, Visitor};
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;

/// Condition under which a write is applied: the `"if"` of `/set` and `/delete`.
///
/// The condition is evaluated when the write is applied, in the order of the log. If two writers race with the same
/// condition, exactly one wins.
///
/// ```
/// use kvclient::api::Condition;
///
/// let condition = Condition::Value(b"blue".to_vec());
/// assert_eq!(serde_json::to_string(&condition)?, r#"{"value":"blue"}"#);
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// There is no such key: `{"absent":true}`.
    Absent,
    /// The key exists: `{"present":true}`.
    Present,
    /// The key exists and was last changed at this revision: `{"mod_revision":7}`.
    ModRevision(u64),
    /// The key exists with exactly this value: `{"value":"blue"}` or `{"value_base64":"..."}`.
    Value(Vec<u8>),
    /// The lock is held under this token: `{"held":{"name":"N","token":57}}`.
    Held(Held),
}

const ONE_CONDITION: &str = "give exactly one of absent, present, mod_revision, value, value_base64, held";

impl<'de> Deserialize<'de> for Condition {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(ConditionVisitor)
    }
}

struct ConditionVisitor;

impl<'de> Visitor<'de> for ConditionVisitor {
    type Value = Condition;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a condition object ({ONE_CONDITION})")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Condition, A::Error> {
        let wrong = |what: &str| de::Error::custom(format_args!("{what}: {ONE_CONDITION}"));
        let Some(field) = fields.next_key::<Cow<'de, str>>()? else { return Err(wrong("`if` is empty")) };
        let condition = match &*field {
            "absent" if fields.next_value()? => Condition::Absent,
            "absent" => return Err(de::Error::custom("`absent` can only be true; use {\"present\":true}")),
            "present" if fields.next_value()? => Condition::Present,
            "present" => return Err(de::Error::custom("`present` can only be true; use {\"absent\":true}")),
            "mod_revision" => Condition::ModRevision(fields.next_value()?),
            "value" => Condition::Value(fields.next_value::<String>()?.into_bytes()),
            "value_base64" => {
                Condition::Value(VALUE.decode_base64(&fields.next_value::<String>()?).map_err(de::Error::custom)?)
            }
            "held" => Condition::Held(fields.next_value()?),
            unknown => return Err(wrong(&format!("unknown condition `{unknown}`"))),
        };
        match fields.next_key::<de::IgnoredAny>()? {
            None => Ok(condition),
            Some(_) => Err(wrong("`if` has more than one condition")),
        }
    }
}

impl Serialize for Condition {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut condition = to.serialize_map(Some(1))?;
        match self {
            Self::Absent => condition.serialize_entry("absent", &true)?,
            Self::Present => condition.serialize_entry("present", &true)?,
            Self::ModRevision(revision) => condition.serialize_entry("mod_revision", revision)?,
            Self::Value(bytes) => {
                let (name, value) = VALUE.encode(bytes);
                condition.serialize_entry(name, &value)?;
            }
            Self::Held(held) => condition.serialize_entry("held", held)?,
        }
        condition.end()
    }
}
