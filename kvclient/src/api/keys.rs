//! `/get`, `/set`, `/delete`: one key at a time.

use super::condition::Condition;
use super::item::Item;
use super::object::{ObjectOnly, read_from_object};
use super::optional::{is_false, nullable};
use super::request_id::RequestId;
use super::value;
use serde::ser::SerializeStruct as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Longest key, in bytes. The shortest is one byte.
///
/// ```
/// assert_eq!(kvclient::api::KEY_BYTES_MAX, 4096);
/// ```
pub const KEY_BYTES_MAX: usize = 4096;

/// Checks the length of a key.
///
/// # Errors
/// A sentence that says how long a key may be.
///
/// ```
/// use kvclient::api::check_key;
///
/// assert_eq!(check_key("color"), Ok(()));
/// assert_eq!(check_key(""), Err("the key is empty; a key has at least one byte".to_owned()));
/// ```
pub fn check_key(key: &str) -> Result<(), String> {
    match key.len() {
        0 => Err("the key is empty; a key has at least one byte".to_owned()),
        1..=KEY_BYTES_MAX => Ok(()),
        bytes => Err(format!("the key has {bytes} bytes; the longest has {KEY_BYTES_MAX}")),
    }
}

/// Body of `POST /set`: writes one key.
///
/// ```
/// use kvclient::api::{Condition, SetRequest};
///
/// let request = SetRequest { condition: Some(Condition::Absent), prev: true, ..SetRequest::new("color", "blue") };
/// let json = r#"{"key":"color","value":"blue","if":{"absent":true},"prev":true}"#;
/// assert_eq!(serde_json::to_string(&request)?, json);
/// assert_eq!(serde_json::from_str::<SetRequest>(json)?, request);
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetRequest {
    /// The key, 1 to [`KEY_BYTES_MAX`] bytes.
    pub key: String,
    /// The value, any bytes.
    pub value: Vec<u8>,
    /// Write only if this holds, else 412 `condition_failed`.
    pub condition: Option<Condition>,
    /// Ask for the previous item in the reply.
    pub prev: bool,
    /// Makes the write apply at most once, even if it is repeated.
    pub request: Option<RequestId>,
}

impl SetRequest {
    /// Creates an unconditional write without a request id.
    ///
    /// ```
    /// let request = kvclient::api::SetRequest::new("color", "blue");
    /// assert_eq!(serde_json::to_string(&request)?, r#"{"key":"color","value":"blue"}"#);
    /// # anyhow::Ok(())
    /// ```
    pub fn new(key: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        Self { key: key.into(), value: value.into(), condition: None, prev: false, request: None }
    }
}

/// Body of `POST /delete`: deletes one key.
///
/// ```
/// use kvclient::api::{Condition, DeleteRequest};
///
/// let request = DeleteRequest { condition: Some(Condition::ModRevision(7)), ..DeleteRequest::new("color") };
/// assert_eq!(serde_json::to_string(&request)?, r#"{"key":"color","if":{"mod_revision":7}}"#);
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeleteRequest {
    /// The key, 1 to [`KEY_BYTES_MAX`] bytes.
    pub key: String,
    /// Delete only if this holds, else 412 `condition_failed`.
    #[serde(rename = "if", skip_serializing_if = "Option::is_none")]
    pub condition: Option<Condition>,
    /// Ask for the previous item in the reply.
    #[serde(skip_serializing_if = "is_false")]
    pub prev: bool,
    /// Makes the delete apply at most once, even if it is repeated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestId>,
}

impl DeleteRequest {
    /// Creates an unconditional delete without a request id.
    ///
    /// ```
    /// let request = kvclient::api::DeleteRequest::new("color");
    /// assert_eq!(serde_json::to_string(&request)?, r#"{"key":"color"}"#);
    /// # anyhow::Ok(())
    /// ```
    pub fn new(key: impl Into<String>) -> Self {
        Self { key: key.into(), condition: None, prev: false, request: None }
    }
}

/// Reply of `GET /get`: the item and the store's revision, `{"key":...,"revision":9}`.
///
/// ```
/// use kvclient::api::GetReply;
///
/// let json = r#"{"key":"color","value":"blue","create_revision":4,"mod_revision":7,"version":2,"revision":9}"#;
/// let reply: GetReply = serde_json::from_str(json)?;
/// assert_eq!((reply.item.mod_revision, reply.revision), (7, 9));
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetReply {
    /// The item.
    #[serde(flatten)]
    pub item: Item,
    /// Revision of the store that served the read.
    pub revision: u64,
}

/// Reply of `POST /set`.
///
/// ```
/// use kvclient::api::SetReply;
///
/// let reply: SetReply = serde_json::from_str(r#"{"revision":7,"created":true,"prev":null}"#)?;
/// assert_eq!(reply, SetReply { revision: 7, created: true, prev: Some(None) });
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetReply {
    /// Revision of the store after the write.
    pub revision: u64,
    /// Whether the write created the key.
    pub created: bool,
    /// If the request had `"prev":true`: the previous item, null if there was none.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "nullable")]
    pub prev: Option<Option<Item>>,
}

/// Reply of `POST /delete`.
///
/// ```
/// use kvclient::api::DeleteReply;
///
/// let reply: DeleteReply = serde_json::from_str(r#"{"revision":8,"deleted":1}"#)?;
/// assert_eq!(reply, DeleteReply { revision: 8, deleted: 1, prev: None });
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteReply {
    /// Revision of the store after the delete; unchanged if there was no such key.
    pub revision: u64,
    /// Number of keys deleted: 0 or 1.
    pub deleted: u64,
    /// If the request had `"prev":true`: the previous item, null if there was none.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "nullable")]
    pub prev: Option<Option<Item>>,
}

// The forms on the wire. They differ from the types above only in how they write a value.

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object with `key` and `value`")]
struct SetWire {
    key: String,
    #[serde(default)]
    value: Option<String>,
    #[serde(default)]
    value_base64: Option<String>,
    #[serde(rename = "if", default)]
    condition: Option<Condition>,
    #[serde(default)]
    prev: bool,
    #[serde(default)]
    request: Option<RequestId>,
}

impl<'de> Deserialize<'de> for SetRequest {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let SetWire { key, value, value_base64, condition, prev, request } = SetWire::deserialize(ObjectOnly(from))?;
        let value = value::decode(value, value_base64).map_err(de::Error::custom)?;
        Ok(Self { key, value, condition, prev, request })
    }
}

// Written by hand, since the derived form would copy the value first.
impl Serialize for SetRequest {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let optional = [self.condition.is_some(), self.prev, self.request.is_some()];
        let fields = 2 + optional.into_iter().filter(|present| *present).count();
        let mut request = to.serialize_struct("SetRequest", fields)?;
        request.serialize_field("key", &self.key)?;
        let (name, value) = value::encode(&self.value);
        request.serialize_field(name, &value)?;
        if let Some(condition) = &self.condition {
            request.serialize_field("if", condition)?;
        }
        if self.prev {
            request.serialize_field("prev", &true)?;
        }
        if let Some(id) = &self.request {
            request.serialize_field("request", id)?;
        }
        request.end()
    }
}

read_from_object!(DeleteRequest, "an object with `key`", {
    key: String,
    #[serde(rename = "if", default)] condition: Option<Condition>,
    #[serde(default)] prev: bool,
    #[serde(default)] request: Option<RequestId>
});

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<SetRequest, String> {
        serde_json::from_str(json).map_err(|cause| cause.to_string())
    }

    #[test]
    fn a_request_names_exactly_one_form_of_its_value() {
        assert_eq!(parse(r#"{"key":"k","value":"v"}"#), Ok(SetRequest::new("k", "v")));
        assert_eq!(parse(r#"{"key":"k","value_base64":"/w=="}"#), Ok(SetRequest::new("k", [0xff])));
        for (json, complaint) in [
            (r#"{"key":"k"}"#, "missing field `value`"),
            (r#"{"key":"k","value":"v","value_base64":"/w=="}"#, "not both"),
            (r#"{"key":"k","value_base64":"%"}"#, "not standard base64"),
            (r#"{"key":"k","value":1}"#, "expected a string"),
            (r#"{"value":"v"}"#, "missing field `key`"),
            (r#"{"key":"k","value":"v","ttl":1}"#, "unknown field `ttl`"),
            (r#"{"key":"k","value":"v","if":{"absent":false}}"#, "can only be true"),
            (
                r#"{"key":"k","value":"v","if":{"absnt":true}}"#,
                "unknown condition `absnt`: give exactly one of absent,",
            ),
            (r#"{"key":"k","value":"v","if":{}}"#, "empty: give exactly one of absent, present, mod_revision, value,"),
            (r#"{"key":"k","value":"v","if":{"absent":true,"value":""}}"#, "more than one condition: give exactly one"),
            (r#"{"key":"k","value":"v","if":"absent"}"#, "expected a condition object (give exactly one of"),
            (r#"{"key":"k","value":"v","if":["absent",true]}"#, "expected a condition object"),
            (r#"{"key":"k","value":"v","request":["c",1]}"#, "expected an object with `client` and `seq`"),
            (r#"["k","v"]"#, "expected an object with `key` and `value`"),
            ("null", "expected an object with `key` and `value`"),
            (r#"{"key":"k","value":"v","request":{"client":"c","seq":1,"x":1}}"#, "unknown field `x`"),
        ] {
            let error = parse(json).expect_err(json);
            assert!(error.contains(complaint), "{json}: {error}");
        }
    }

    #[test]
    fn a_delete_is_an_object_of_known_fields() {
        let parse = |json| serde_json::from_str::<DeleteRequest>(json).map_err(|cause| cause.to_string());
        assert_eq!(parse(r#"{"key":"k"}"#), Ok(DeleteRequest::new("k")));
        for (json, complaint) in
            [(r#"["k"]"#, "expected an object with `key`"), (r#"{"key":"k","value":"v"}"#, "unknown field `value`")]
        {
            assert!(parse(json).is_err_and(|error| error.contains(complaint)), "{json}");
        }
        let whole = r#"{"key":"k","if":{"mod_revision":7},"prev":true,"request":{"client":"c","seq":9}}"#;
        assert_eq!(serde_json::to_string(&parse(whole).unwrap()).unwrap(), whole);
    }

    #[test]
    fn requests_and_items_come_back_as_they_went() {
        for value in [b"blue".to_vec(), vec![0xff, 0x00], Vec::new()] {
            for condition in
                [None, Some(Condition::Absent), Some(Condition::ModRevision(7)), Some(Condition::Value(value.clone()))]
            {
                let request = Some(RequestId { client: "c".into(), seq: 9 });
                let sent = SetRequest { condition, request, prev: true, ..SetRequest::new("k", value.clone()) };
                let json = serde_json::to_string(&sent).unwrap();
                assert_eq!(serde_json::from_str::<SetRequest>(&json).unwrap(), sent, "{json}");
            }
            let item = Item { key: "k".into(), value, create_revision: 4, mod_revision: 7, version: 2 };
            let reply = GetReply { item, revision: 9 };
            let json = serde_json::to_string(&reply).unwrap();
            assert_eq!(serde_json::from_str::<GetReply>(&json).unwrap(), reply, "{json}");
        }
    }

    #[test]
    fn absent_and_null_differ_where_an_item_is_optional() {
        let asked = SetReply { revision: 7, created: true, prev: Some(None) };
        assert_eq!(serde_json::to_string(&asked).unwrap(), r#"{"revision":7,"created":true,"prev":null}"#);
        let not_asked = SetReply { prev: None, ..asked.clone() };
        assert_eq!(serde_json::to_string(&not_asked).unwrap(), r#"{"revision":7,"created":true}"#);
        for reply in [asked, not_asked] {
            let json = serde_json::to_string(&reply).unwrap();
            assert_eq!(serde_json::from_str::<SetReply>(&json).unwrap(), reply);
        }
    }
}
