//! `/get`, `/set`, `/delete`.

use super::byte_field::{KEY, VALUE};
use super::condition::Condition;
use super::item::Item;
use super::key::{Key, check_key};
use super::lease_id::LeaseId;
use super::lease_time::check_ttl_ms;
use super::object::read_from_object;
use super::optional::{is_false, nullable};
use super::query::{Query, QueryText};
use super::range::Range;
use super::read_options::ReadOptions;
use super::request_id::RequestId;
use super::wait::Wait;
use serde::ser::SerializeStruct as _;
use serde::{Deserialize, Serialize, Serializer};

/// Most keys that one command visits: its compares, deletes and lists together.
///
/// ```
/// assert_eq!(kvclient::api::COMMAND_KEYS_MAX, 100_000);
/// ```
pub const COMMAND_KEYS_MAX: u64 = 100_000;

/// Most bytes of keys and values that one command removes.
///
/// ```
/// assert_eq!(kvclient::api::COMMAND_REMOVED_BYTES_MAX, 16_777_216);
/// ```
pub const COMMAND_REMOVED_BYTES_MAX: usize = 16 << 20;

/// Largest answer to one command, in bytes of keys and values, unless it is a single item.
///
/// ```
/// assert_eq!(kvclient::api::COMMAND_ANSWER_BYTES_MAX, 1_048_576);
/// ```
pub const COMMAND_ANSWER_BYTES_MAX: usize = 1 << 20;

/// Body of `POST /set`: writes one key.
///
/// ```
/// use kvclient::api::{Condition, SetRequest};
///
/// let request = SetRequest { condition: Some(Condition::Absent), prev: true, ..SetRequest::new("color", "blue") };
/// let json = r#"{"key":"color","value":"blue","if":{"absent":true},"prev":true}"#;
/// assert_eq!(serde_json::to_string(&request)?, json);
/// assert_eq!(serde_json::from_str::<SetRequest>(json)?, request);
///
/// let for_a_while = SetRequest { ttl_ms: Some(30_000), ..SetRequest::new("color", "blue") };
/// assert_eq!(serde_json::to_string(&for_a_while)?, r#"{"key":"color","value":"blue","ttl_ms":30000}"#);
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetRequest {
    /// The key, 1 to [`KEY_BYTES_MAX`](super::KEY_BYTES_MAX) bytes.
    pub key: Key,
    /// The value, any bytes.
    pub value: Vec<u8>,
    /// Write only if this holds, else 412 `condition_failed`.
    pub condition: Option<Condition>,
    /// Attach the key to this lease.
    pub lease: Option<LeaseId>,
    /// Attach the key to a lease of its own, which ends after this time. Milliseconds, at least
    /// [`LEASE_TTL_MS_MIN`](super::LEASE_TTL_MS_MIN).
    pub ttl_ms: Option<u64>,
    /// Keep the key attached to its present lease. Without `lease`, `ttl_ms` and this, a rewritten key is detached.
    pub keep_lease: bool,
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
    pub fn new(key: impl Into<Key>, value: impl Into<Vec<u8>>) -> Self {
        Self {
            key: key.into(),
            value: value.into(),
            condition: None,
            lease: None,
            ttl_ms: None,
            keep_lease: false,
            prev: false,
            request: None,
        }
    }

    /// Checks that the key is attached in at most one way, and for a time that a lease can have.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    ///
    /// ```
    /// use kvclient::api::SetRequest;
    ///
    /// assert!(SetRequest { ttl_ms: Some(500), ..SetRequest::new("k", "v") }.check().is_ok());
    /// assert!(SetRequest { ttl_ms: Some(500), keep_lease: true, ..SetRequest::new("k", "v") }.check().is_err());
    /// ```
    pub fn check(&self) -> Result<(), String> {
        check_attachment(self.lease, self.ttl_ms, self.keep_lease)
    }
}

/// Checks that a write attaches its key in at most one way, and for a time that a lease can have.
pub(super) fn check_attachment(lease: Option<LeaseId>, ttl_ms: Option<u64>, keep_lease: bool) -> Result<(), String> {
    if usize::from(lease.is_some()) + usize::from(ttl_ms.is_some()) + usize::from(keep_lease) > 1 {
        return Err("give one of `lease`, `ttl_ms` and `keep_lease`, or none".into());
    }
    ttl_ms.map_or(Ok(()), check_ttl_ms)
}

/// Body of `POST /delete`: deletes one key, or all keys of a range in one revision.
///
/// ```
/// use kvclient::api::{Condition, DeleteRequest, Range};
///
/// let request = DeleteRequest { condition: Some(Condition::ModRevision(7)), ..DeleteRequest::new("color") };
/// assert_eq!(serde_json::to_string(&request)?, r#"{"key":"color","if":{"mod_revision":7}}"#);
///
/// let request = DeleteRequest { limit: Some(100), ..DeleteRequest::new(Range::Prefix("app/".into())) };
/// let json = r#"{"prefix":"app/","limit":100}"#;
/// assert_eq!(serde_json::to_string(&request)?, json);
/// assert_eq!(serde_json::from_str::<DeleteRequest>(json)?, request);
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeleteRequest {
    /// The keys. Every key of the store is [`Range::All`], and not an empty prefix.
    #[serde(flatten)]
    pub range: Range,
    /// Delete at most this many keys, the lowest first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// Delete only if this holds, else 412 `condition_failed`. For a range only [`Condition::Held`].
    #[serde(rename = "if", skip_serializing_if = "Option::is_none")]
    pub condition: Option<Condition>,
    /// Ask for the previous items in the reply.
    #[serde(skip_serializing_if = "is_false")]
    pub prev: bool,
    /// Makes the delete apply at most once, even if it is repeated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestId>,
}

impl DeleteRequest {
    /// Creates an unconditional delete without a request id, of a key or a range.
    ///
    /// ```
    /// let request = kvclient::api::DeleteRequest::new("color");
    /// assert_eq!(serde_json::to_string(&request)?, r#"{"key":"color"}"#);
    /// # anyhow::Ok(())
    /// ```
    pub fn new(range: impl Into<Range>) -> Self {
        Self { range: range.into(), limit: None, condition: None, prev: false, request: None }
    }

    /// Checks the range, the limit, and that the condition is one that a delete of the range takes.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    ///
    /// ```
    /// use kvclient::api::{DeleteRequest, Range};
    ///
    /// assert!(DeleteRequest::new(Range::Prefix("".into())).check().is_err());
    /// assert!(DeleteRequest::new(Range::All).check().is_ok());
    /// ```
    pub fn check(&self) -> Result<(), String> {
        check_deleted(&self.range, self.limit)?;
        match (&self.range, &self.condition) {
            (Range::Key(_), _) | (_, None | Some(Condition::Held(_))) => Ok(()),
            (_, Some(_)) => {
                Err("a delete of a range takes only a `held` condition: use /txn to compare keys first".into())
            }
        }
    }
}

/// Checks what a delete names.
pub(super) fn check_deleted(range: &Range, limit: Option<u64>) -> Result<(), String> {
    range.check()?;
    if *range != Range::All && range.is_everything() {
        return Err("this range is every key of the store: say so with \"all\":true".into());
    }
    if limit == Some(0) {
        return Err("`limit` must be at least 1".into());
    }
    Ok(())
}

/// Query of `GET /get`.
///
/// ```
/// use kvclient::api::{GetQuery, Query};
///
/// let query = GetQuery { revision: Some(7), ..GetQuery::new("color") };
/// assert_eq!(query.to_query(), "key=color&revision=7");
///
/// let mut parameters = Query::parse("key=color&revision=7")?;
/// assert_eq!(GetQuery::take(&mut parameters)?, query);
/// parameters.finish()?;
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GetQuery {
    /// The key.
    pub key: Key,
    /// Answer with the value alone.
    pub raw: bool,
    /// Read the item as it was at this revision.
    pub revision: Option<u64>,
    /// Wait for a change before answering.
    pub wait: Option<Wait>,
    /// State of the store that the read may see.
    pub read: ReadOptions,
}

impl GetQuery {
    /// Creates a linearizable read of the present item.
    ///
    /// ```
    /// assert_eq!(kvclient::api::GetQuery::new("color").to_query(), "key=color");
    /// ```
    pub fn new(key: impl Into<Key>) -> Self {
        Self { key: key.into(), raw: false, revision: None, wait: None, read: ReadOptions::default() }
    }

    /// Takes the parameters from a query.
    ///
    /// # Errors
    /// A sentence that says which parameter is wrong.
    ///
    /// ```
    /// use kvclient::api::{GetQuery, Query};
    ///
    /// assert!(GetQuery::take(&mut Query::parse("key=color&revision=7&newer_than=7")?).is_err());
    /// let poll = |query: &'static str| GetQuery::take(&mut Query::parse(query)?);
    /// assert_eq!(poll("key=color&after=7&wait_ms=5")?, poll("key=color&newer_than=7&wait_ms=5")?);
    /// assert!(poll("key=color&after=7&newer_than=7").is_err());
    /// # Ok::<(), String>(())
    /// ```
    pub fn take(query: &mut Query<'_>) -> Result<Self, String> {
        let key = query.take_key()?.ok_or("the key is missing: GET /get?key=K")?;
        check_key(&key)?;
        let (raw, revision) = (query.take_flag("raw")?, query.take_as("revision", "a revision")?);
        let (wait, read) = (Wait::take_of_get(query)?, ReadOptions::take(query)?);
        if revision.is_some() && wait.is_some() {
            return Err("give `revision` or `newer_than`, not both: the past does not change".into());
        }
        Ok(Self { key, raw, revision, wait, read })
    }

    /// Returns the query.
    ///
    /// ```
    /// use kvclient::api::GetQuery;
    ///
    /// assert_eq!(GetQuery { raw: true, ..GetQuery::new([0xff]) }.to_query(), "key_base64=_w&raw=true");
    /// ```
    pub fn to_query(&self) -> String {
        let mut query = QueryText::default();
        query.add_bytes(KEY, &self.key);
        query.add_flag("raw", self.raw);
        query.add_some("revision", self.revision);
        self.wait.iter().for_each(|wait| wait.add_to(&mut query));
        self.read.add_to(&mut query);
        query.finish()
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
/// assert_eq!(reply, SetReply { prev: Some(None), ..SetReply::new(7, true) });
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetReply {
    /// Revision of the store after the write.
    pub revision: u64,
    /// True if the write created the key.
    pub created: bool,
    /// The key's own lease, if the request had `ttl_ms`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<LeaseId>,
    /// The previous item, if the request had `"prev":true`; null if there was none.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "nullable")]
    pub prev: Option<Option<Item>>,
}

impl SetReply {
    /// Creates the reply to a write without `prev` and `ttl_ms`.
    ///
    /// ```
    /// let reply = kvclient::api::SetReply::new(7, true);
    /// assert_eq!(serde_json::to_string(&reply)?, r#"{"revision":7,"created":true}"#);
    /// # anyhow::Ok(())
    /// ```
    pub fn new(revision: u64, created: bool) -> Self {
        Self { revision, created, lease: None, prev: None }
    }
}

/// Reply of `POST /delete`.
///
/// ```
/// use kvclient::api::DeleteReply;
///
/// let reply: DeleteReply = serde_json::from_str(r#"{"revision":8,"deleted":1}"#)?;
/// assert_eq!(reply, DeleteReply::new(8, 1));
/// let reply: DeleteReply = serde_json::from_str(r#"{"revision":9,"deleted":100,"more":true}"#)?;
/// assert!(reply.more);
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteReply {
    /// Revision of the store after the delete; unchanged if there was no such key.
    pub revision: u64,
    /// Number of keys deleted.
    pub deleted: u64,
    /// True if `limit` left some keys of the range.
    #[serde(default, skip_serializing_if = "is_false")]
    pub more: bool,
    /// The previous item, if a delete of one key had `"prev":true`; null if there was none.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "nullable")]
    pub prev: Option<Option<Item>>,
    /// The previous items, in order, if a delete of a range had `"prev":true`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub items: Option<Vec<Item>>,
}

impl DeleteReply {
    /// Creates the reply to a delete without `prev` that no limit has cut short.
    ///
    /// ```
    /// let reply = kvclient::api::DeleteReply::new(8, 1);
    /// assert_eq!(serde_json::to_string(&reply)?, r#"{"revision":8,"deleted":1}"#);
    /// # anyhow::Ok(())
    /// ```
    pub fn new(revision: u64, deleted: u64) -> Self {
        Self { revision, deleted, more: false, prev: None, items: None }
    }
}

read_from_object!(
    SetRequest, "an object with `key` and `value`",
    bytes { key / key_base64, value / value_base64 },
    {
        #[serde(rename = "if", default)] condition: Option<Condition>,
        #[serde(default)] lease: Option<LeaseId>,
        #[serde(default)] ttl_ms: Option<u64>,
        #[serde(default)] keep_lease: bool,
        #[serde(default)] prev: bool,
        #[serde(default)] request: Option<RequestId>
    },
    {
        let (key, value) = (KEY.require(key)?.into(), VALUE.require(value)?);
        check_attachment(lease, ttl_ms, keep_lease)?;
        Ok(SetRequest { key, value, condition, lease, ttl_ms, keep_lease, prev, request })
    }
);

// Written by hand, since the derived form would copy the value first.
impl Serialize for SetRequest {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Self { key, value, condition, lease, ttl_ms, keep_lease, prev, request: id } = self;
        let optional = [condition.is_some(), lease.is_some(), ttl_ms.is_some(), *keep_lease, *prev, id.is_some()];
        let fields = 2 + optional.into_iter().filter(|present| *present).count();
        let mut request = to.serialize_struct("SetRequest", fields)?;
        let (name, key) = KEY.encode(key.as_bytes());
        request.serialize_field(name, &key)?;
        let (name, value) = VALUE.encode(value);
        request.serialize_field(name, &value)?;
        if let Some(condition) = condition {
            request.serialize_field("if", condition)?;
        }
        if let Some(lease) = lease {
            request.serialize_field("lease", lease)?;
        }
        if let Some(ttl_ms) = ttl_ms {
            request.serialize_field("ttl_ms", ttl_ms)?;
        }
        if *keep_lease {
            request.serialize_field("keep_lease", &true)?;
        }
        if *prev {
            request.serialize_field("prev", &true)?;
        }
        if let Some(id) = id {
            request.serialize_field("request", id)?;
        }
        request.end()
    }
}

read_from_object!(
    DeleteRequest, "an object with `key`, or with a range",
    bytes { key / key_base64, prefix / prefix_base64, from / from_base64, to / to_base64 },
    {
        #[serde(default)] all: bool,
        #[serde(default)] limit: Option<u64>,
        #[serde(rename = "if", default)] condition: Option<Condition>,
        #[serde(default)] prev: bool,
        #[serde(default)] request: Option<RequestId>
    },
    {
        let range = Range::require(Range::of(key, prefix, from, to, all)?)?;
        let delete = DeleteRequest { range, limit, condition, prev, request };
        delete.check()?;
        Ok(delete)
    }
);

#[cfg(test)]
mod tests {
    use super::super::held::Held;
    use super::*;

    fn parse(json: &str) -> Result<SetRequest, String> {
        serde_json::from_str(json).map_err(|cause| cause.to_string())
    }

    #[test]
    fn a_request_names_exactly_one_form_of_its_value() {
        assert_eq!(parse(r#"{"key":"k","value":"v"}"#), Ok(SetRequest::new("k", "v")));
        assert_eq!(parse(r#"{"key":"k","value_base64":"/w=="}"#), Ok(SetRequest::new("k", [0xff])));
        assert_eq!(parse(r#"{"key_base64":"_w","value":"v"}"#), Ok(SetRequest::new([0xff], "v")));
        for (json, complaint) in [
            (r#"{"key":"k"}"#, "missing field `value`"),
            (r#"{"key":"k","value":"v","value_base64":"/w=="}"#, "not both"),
            (r#"{"key":"k","value_base64":"%"}"#, "not standard base64"),
            (r#"{"key":"k","value":1}"#, "expected a string"),
            (r#"{"value":"v"}"#, "missing field `key`"),
            (r#"{"key":"k","key_base64":"aw==","value":"v"}"#, "give `key` or `key_base64`, not both"),
            (r#"{"key":"k","value":"v","ttl_ms":499}"#, "`ttl_ms` must be from 500 to"),
            (r#"{"key":"k","value":"v","lease":"4d2"}"#, "16 hexadecimal digits"),
            (r#"{"key":"k","value":"v","ttl_ms":500,"keep_lease":true}"#, "give one of `lease`, `ttl_ms` and"),
            (r#"{"key":"k","value":"v","if":{"held":{"name":"n"}}}"#, "missing field `token`"),
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
        for whole in [
            r#"{"key":"k","if":{"mod_revision":7},"prev":true,"request":{"client":"c","seq":9}}"#,
            r#"{"prefix_base64":"/w==","limit":5,"if":{"held":{"name":"n","token":57}},"prev":true}"#,
            r#"{"from":"a","to":"b"}"#,
            r#"{"all":true}"#,
        ] {
            assert_eq!(serde_json::to_string(&parse(whole).unwrap()).unwrap(), whole);
        }
        for (json, complaint) in [
            ("{}", "missing field `key`, or a range"),
            (r#"{"prefix":""}"#, "say so with \"all\":true"),
            (r#"{"from":""}"#, "say so with \"all\":true"),
            (r#"{"prefix":"a","limit":0}"#, "`limit` must be at least 1"),
            (r#"{"prefix":"a","if":{"absent":true}}"#, "takes only a `held` condition"),
        ] {
            assert!(parse(json).is_err_and(|error| error.contains(complaint)), "{json}: {:?}", parse(json));
        }
    }

    #[test]
    fn requests_and_items_come_back_as_they_went() {
        for value in [b"blue".to_vec(), vec![0xff, 0x00], Vec::new()] {
            let held = Condition::Held(Held { name: "n".into(), token: 57 });
            let conditions = [Condition::Absent, Condition::ModRevision(7), Condition::Value(value.clone()), held];
            for condition in [None].into_iter().chain(conditions.map(Some)) {
                let request = Some(RequestId { client: "c".into(), seq: 9 });
                let sent = SetRequest { condition, request, prev: true, ..SetRequest::new("k", value.clone()) };
                let json = serde_json::to_string(&sent).unwrap();
                assert_eq!(serde_json::from_str::<SetRequest>(&json).unwrap(), sent, "{json}");
            }
            let item = Item { key: "k".into(), value, create_revision: 4, mod_revision: 7, version: 2, lease: None };
            let reply = GetReply { item, revision: 9 };
            let json = serde_json::to_string(&reply).unwrap();
            assert_eq!(serde_json::from_str::<GetReply>(&json).unwrap(), reply, "{json}");
        }
    }

    #[test]
    fn absent_and_null_differ_where_an_item_is_optional() {
        let asked = SetReply { prev: Some(None), ..SetReply::new(7, true) };
        assert_eq!(serde_json::to_string(&asked).unwrap(), r#"{"revision":7,"created":true,"prev":null}"#);
        let not_asked = SetReply { prev: None, ..asked.clone() };
        assert_eq!(serde_json::to_string(&not_asked).unwrap(), r#"{"revision":7,"created":true}"#);
        for reply in [asked, not_asked] {
            let json = serde_json::to_string(&reply).unwrap();
            assert_eq!(serde_json::from_str::<SetReply>(&json).unwrap(), reply);
        }
    }
}
