//! Operations of a transaction.

use super::super::byte_field::{KEY, VALUE, as_key, as_value};
use super::super::key::Key;
use super::super::keys::{check_attachment, check_deleted};
use super::super::lease_id::LeaseId;
use super::super::list::ListOp;
use super::super::object::read_from_object;
use super::super::optional::is_false;
use super::super::range::Range;
use super::compare::Compare;
use serde::de::{self, MapAccess, Visitor};
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// Most operations of a transaction, in all branches together. A nested transaction counts as one, and so does each of
/// its operations.
///
/// ```
/// assert_eq!(kvclient::api::TXN_OPERATIONS_MAX, 10_000);
/// ```
pub const TXN_OPERATIONS_MAX: usize = 10_000;

/// Greatest depth of nested transactions. The outermost one is not counted.
///
/// ```
/// assert_eq!(kvclient::api::TXN_DEPTH_MAX, 3);
/// ```
pub const TXN_DEPTH_MAX: usize = 3;

/// One operation of a transaction.
///
/// ```
/// use kvclient::api::{ListOp, Op, Range};
///
/// for (op, json) in [
///     (Op::set("color", "blue"), r#"{"set":{"key":"color","value":"blue"}}"#),
///     (Op::delete(Range::Prefix("app/".into())), r#"{"delete":{"prefix":"app/"}}"#),
///     (Op::get("color"), r#"{"get":{"key":"color"}}"#),
///     (Op::List(ListOp::new(Range::Prefix("app/".into()))), r#"{"list":{"prefix":"app/"}}"#),
/// ] {
///     assert_eq!(serde_json::to_string(&op)?, json);
///     assert_eq!(serde_json::from_str::<Op>(json)?, op);
/// }
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Writes one key.
    Set(SetOp),
    /// Deletes one key, or all keys of a range.
    Delete(DeleteOp),
    /// Reads one key, as the operations before it left it.
    Get(GetOp),
    /// Lists one page of a range, as the operations before it left it.
    List(ListOp),
    /// Decides between operations by compares of its own.
    Txn(Txn),
}

impl Op {
    /// Creates a write of one key.
    ///
    /// ```
    /// let op = kvclient::api::Op::set([0xff], "blue");
    /// assert_eq!(serde_json::to_string(&op)?, r#"{"set":{"key_base64":"/w==","value":"blue"}}"#);
    /// # anyhow::Ok(())
    /// ```
    pub fn set(key: impl Into<Key>, value: impl Into<Vec<u8>>) -> Self {
        Self::Set(SetOp::new(key, value))
    }

    /// Creates a delete of one key or of a range.
    ///
    /// ```
    /// let op = kvclient::api::Op::delete("color");
    /// assert_eq!(serde_json::to_string(&op)?, r#"{"delete":{"key":"color"}}"#);
    /// # anyhow::Ok(())
    /// ```
    pub fn delete(range: impl Into<Range>) -> Self {
        Self::Delete(DeleteOp::new(range))
    }

    /// Creates a read of one key.
    ///
    /// ```
    /// let op = kvclient::api::Op::get("color");
    /// assert_eq!(serde_json::to_string(&op)?, r#"{"get":{"key":"color"}}"#);
    /// # anyhow::Ok(())
    /// ```
    pub fn get(key: impl Into<Key>) -> Self {
        Self::Get(GetOp { key: key.into() })
    }
}

/// A write in a transaction: [`SetRequest`](super::super::SetRequest) without condition and request id.
///
/// ```
/// use kvclient::api::SetOp;
///
/// let set = SetOp { keep_lease: true, prev: true, ..SetOp::new("color", "blue") };
/// let json = r#"{"key":"color","value":"blue","keep_lease":true,"prev":true}"#;
/// assert_eq!(serde_json::to_string(&set)?, json);
/// assert_eq!(serde_json::from_str::<SetOp>(json)?, set);
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SetOp {
    /// The key, 1 to [`KEY_BYTES_MAX`](super::super::KEY_BYTES_MAX) bytes.
    #[serde(flatten, serialize_with = "as_key")]
    pub key: Key,
    /// The value, any bytes.
    #[serde(flatten, serialize_with = "as_value")]
    pub value: Vec<u8>,
    /// Attach the key to this lease.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease: Option<LeaseId>,
    /// Attach the key to a lease of its own, which ends after this time. Milliseconds, at least
    /// [`LEASE_TTL_MS_MIN`](super::super::LEASE_TTL_MS_MIN).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl_ms: Option<u64>,
    /// Keep the key attached to its present lease.
    #[serde(skip_serializing_if = "is_false")]
    pub keep_lease: bool,
    /// Ask for the previous item in the result.
    #[serde(skip_serializing_if = "is_false")]
    pub prev: bool,
}

impl SetOp {
    /// Creates a write that detaches the key from its lease.
    ///
    /// ```
    /// assert_eq!(serde_json::to_string(&kvclient::api::SetOp::new("k", "v"))?, r#"{"key":"k","value":"v"}"#);
    /// # anyhow::Ok(())
    /// ```
    pub fn new(key: impl Into<Key>, value: impl Into<Vec<u8>>) -> Self {
        Self { key: key.into(), value: value.into(), lease: None, ttl_ms: None, keep_lease: false, prev: false }
    }
}

read_from_object!(
    SetOp, "an object with `key` and `value`",
    bytes { key / key_base64, value / value_base64 },
    {
        #[serde(default)] lease: Option<LeaseId>,
        #[serde(default)] ttl_ms: Option<u64>,
        #[serde(default)] keep_lease: bool,
        #[serde(default)] prev: bool
    },
    {
        let (key, value) = (KEY.require(key)?.into(), VALUE.require(value)?);
        check_attachment(lease, ttl_ms, keep_lease)?;
        Ok(SetOp { key, value, lease, ttl_ms, keep_lease, prev })
    }
);

/// A delete in a transaction: [`DeleteRequest`](super::super::DeleteRequest) without condition and request id.
///
/// ```
/// use kvclient::api::{DeleteOp, Range};
///
/// let delete = DeleteOp { limit: Some(5), ..DeleteOp::new(Range::Prefix("app/".into())) };
/// assert_eq!(serde_json::to_string(&delete)?, r#"{"prefix":"app/","limit":5}"#);
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeleteOp {
    /// The keys. Every key of the store is [`Range::All`], and not an empty prefix.
    #[serde(flatten)]
    pub range: Range,
    /// Delete at most this many keys, the lowest first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// Ask for the previous items in the result.
    #[serde(skip_serializing_if = "is_false")]
    pub prev: bool,
}

impl DeleteOp {
    /// Creates a delete of a key or of a whole range.
    ///
    /// ```
    /// assert_eq!(serde_json::to_string(&kvclient::api::DeleteOp::new("k"))?, r#"{"key":"k"}"#);
    /// # anyhow::Ok(())
    /// ```
    pub fn new(range: impl Into<Range>) -> Self {
        Self { range: range.into(), limit: None, prev: false }
    }
}

read_from_object!(
    DeleteOp, "an object with `key`, or with a range",
    bytes { key / key_base64, prefix / prefix_base64, from / from_base64, to / to_base64 },
    {
        #[serde(default)] all: bool,
        #[serde(default)] limit: Option<u64>,
        #[serde(default)] prev: bool
    },
    {
        let range = Range::require(Range::of(key, prefix, from, to, all)?)?;
        check_deleted(&range, limit)?;
        Ok(DeleteOp { range, limit, prev })
    }
);

/// A read in a transaction.
///
/// ```
/// use kvclient::api::GetOp;
///
/// assert_eq!(serde_json::from_str::<GetOp>(r#"{"key":"color"}"#)?, GetOp { key: "color".into() });
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GetOp {
    /// The key.
    #[serde(flatten, serialize_with = "as_key")]
    pub key: Key,
}

read_from_object!(
    GetOp, "an object with `key`",
    bytes { key / key_base64 },
    {},
    { Ok(GetOp { key: KEY.require(key)?.into() }) }
);

/// Compares, and the operations for either outcome: the body of a transaction, or of one inside another.
///
/// ```
/// use kvclient::api::{Compare, Op, Test, Txn};
///
/// let txn = Txn {
///     compares: vec![Compare::of("color", Test::Absent)],
///     then: vec![Op::set("color", "blue")],
///     otherwise: vec![Op::get("color")],
/// };
/// let json = r#"{"if":[{"key":"color","absent":true}],"then":[{"set":{"key":"color","value":"blue"}}],"else":[{"get":{"key":"color"}}]}"#;
/// assert_eq!(serde_json::to_string(&txn)?, json);
/// assert_eq!(serde_json::from_str::<Txn>(json)?, txn);
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Txn {
    /// The compares, `"if"`: `then` runs if all of them hold, or if there are none.
    #[serde(rename = "if", skip_serializing_if = "Vec::is_empty")]
    pub compares: Vec<Compare>,
    /// The operations if every compare holds.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub then: Vec<Op>,
    /// The operations if a compare does not hold: `"else"`.
    #[serde(rename = "else", skip_serializing_if = "Vec::is_empty")]
    pub otherwise: Vec<Op>,
}

read_from_object!(Txn, "an object with `if`, `then`, `else`", {
    #[serde(rename = "if", default)] compares: Vec<Compare>,
    #[serde(default)] then: Vec<Op>,
    #[serde(rename = "else", default)] otherwise: Vec<Op>
});

const ONE_OP: &str = "give exactly one of set, delete, get, list, txn";

impl Serialize for Op {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut op = to.serialize_map(Some(1))?;
        match self {
            Self::Set(set) => op.serialize_entry("set", set)?,
            Self::Delete(delete) => op.serialize_entry("delete", delete)?,
            Self::Get(get) => op.serialize_entry("get", get)?,
            Self::List(list) => op.serialize_entry("list", list)?,
            Self::Txn(txn) => op.serialize_entry("txn", txn)?,
        }
        op.end()
    }
}

impl<'de> Deserialize<'de> for Op {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(OpVisitor)
    }
}

struct OpVisitor;

impl<'de> Visitor<'de> for OpVisitor {
    type Value = Op;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an operation object ({ONE_OP})")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Op, A::Error> {
        let op = match fields.next_key::<String>()?.as_deref() {
            Some("set") => Op::Set(fields.next_value()?),
            Some("delete") => Op::Delete(fields.next_value()?),
            Some("get") => Op::Get(fields.next_value()?),
            Some("list") => Op::List(fields.next_value()?),
            Some("txn") => Op::Txn(fields.next_value()?),
            Some(unknown) => return Err(de::Error::custom(format_args!("unknown operation `{unknown}`: {ONE_OP}"))),
            None => return Err(de::Error::custom(format_args!("the operation is empty: {ONE_OP}"))),
        };
        match fields.next_key::<de::IgnoredAny>()? {
            None => Ok(op),
            Some(_) => Err(de::Error::custom(format_args!("more than one operation in one object: {ONE_OP}"))),
        }
    }
}
