//! The JSON of kvd's HTTP API: every request, reply and error body, each defined once.
//!
//! The daemon parses and the clients build exactly these types. Unknown fields in a *request* are an
//! error, so that a misspelt condition is never silently ignored; unknown fields in a *reply* are
//! skipped, so that an old client keeps working with a newer daemon.
//!
//! A value is a byte string. JSON carries it as `"value": "text"` when it is valid UTF-8 and as
//! `"value_base64": "..."` otherwise; exactly one of the two per item.

mod members;

pub use members::{
    AddMemberRequest, ClusterInfo, Member, MemberGoal, MembersReply, PromoteMemberRequest, RemoveMemberRequest,
    ReplaceMemberRequest,
};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::de::{self, MapAccess, Visitor};
use serde::ser::{SerializeMap as _, SerializeStruct as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer, forward_to_deserialize_any};
use std::borrow::Cow;
use std::fmt;

/// Longest key, in bytes. The shortest is one byte.
///
/// ```
/// assert_eq!(kvclient::api::KEY_BYTES_MAX, 4096);
/// ```
pub const KEY_BYTES_MAX: usize = 4096;

/// Longest client name inside a [`RequestId`], in characters.
///
/// ```
/// assert_eq!(kvclient::api::CLIENT_NAME_CHARS_MAX, 64);
/// ```
pub const CLIENT_NAME_CHARS_MAX: usize = 64;

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
    /// Write only where this holds, else 412 `condition_failed`.
    pub condition: Option<Condition>,
    /// Ask for the item as it was before.
    pub prev: bool,
    /// Makes a repeat of this request apply at most once.
    pub request: Option<RequestId>,
}

impl SetRequest {
    /// An unconditional write without a request id.
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
    /// Delete only where this holds, else 412 `condition_failed`.
    #[serde(rename = "if", skip_serializing_if = "Option::is_none")]
    pub condition: Option<Condition>,
    /// Ask for the item as it was before.
    #[serde(skip_serializing_if = "is_false")]
    pub prev: bool,
    /// Makes a repeat of this request apply at most once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestId>,
}

impl DeleteRequest {
    /// An unconditional delete without a request id.
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

/// Body of `POST /leader/transfer`: hands leadership over. The reply is a [`LeaderReply`].
///
/// ```
/// use kvclient::api::TransferRequest;
///
/// let request = TransferRequest { to: Some("node2".into()) };
/// assert_eq!(serde_json::to_string(&request)?, r#"{"to":"node2"}"#);
/// assert_eq!(serde_json::from_str::<TransferRequest>("{}")?, TransferRequest { to: None });
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TransferRequest {
    /// Name of the node that is to lead; without one it is the most up-to-date voter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

/// What must hold for a write to be applied: the `"if"` of `/set` and `/delete`.
///
/// The condition is evaluated where the write is applied, in the order of the log, so that of two
/// writers that race with the same condition exactly one wins.
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
}

/// Names one write of one client: `{"client":"...","seq":N}`.
///
/// For one `client` the cluster applies each `seq` at most once: a repeat of the newest gets the
/// stored reply, an older one gets 409 `stale_request`, and another request under the same `seq` is
/// refused. A client sends one request at a time under one name.
///
/// Of a reply that tells a failed condition only that is stored: a repeat fails as well, and its `current` is
/// the item as it is by then. A reply with a large `prev` is dropped when it is not asked for and others need the
/// room; a repeat then gets `stale_request`.
///
/// ```
/// use kvclient::api::RequestId;
///
/// let id = RequestId { client: "backup".into(), seq: 7 };
/// assert_eq!(serde_json::to_string(&id)?, r#"{"client":"backup","seq":7}"#);
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct RequestId {
    /// Name of the client, 1 to [`CLIENT_NAME_CHARS_MAX`] characters.
    pub client: String,
    /// Number of the request, higher for each new one.
    pub seq: u64,
}

/// One key with its value and history.
///
/// ```
/// use kvclient::api::Item;
///
/// let json = r#"{"key":"color","value":"blue","create_revision":4,"mod_revision":7,"version":2}"#;
/// let item: Item = serde_json::from_str(json)?;
/// assert_eq!((item.value.as_slice(), item.version), (&b"blue"[..], 2));
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "ItemWire")]
pub struct Item {
    /// The key.
    pub key: String,
    /// The value, any bytes; see [`Item::value_str`].
    pub value: Vec<u8>,
    /// Revision of the write that created the key.
    pub create_revision: u64,
    /// Revision of the last write to the key.
    pub mod_revision: u64,
    /// Writes since the key was created: 1 at creation.
    pub version: u64,
}

impl Item {
    /// The value as text, or `None` where it is not valid UTF-8.
    ///
    /// ```
    /// let json = r#"{"key":"color","value":"blue","create_revision":4,"mod_revision":7,"version":2}"#;
    /// let item: kvclient::api::Item = serde_json::from_str(json)?;
    /// assert_eq!(item.value_str(), Some("blue"));
    /// # anyhow::Ok(())
    /// ```
    pub fn value_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.value).ok()
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
    /// Where `"prev":true` was asked: the item as it was before, null if there was none.
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
    /// Revision of the store after the delete; unchanged when there was no such key.
    pub revision: u64,
    /// Number of keys deleted: 0 or 1.
    pub deleted: u64,
    /// Where `"prev":true` was asked: the item as it was before, null if there was none.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "nullable")]
    pub prev: Option<Option<Item>>,
}

/// A node by its name and the URL that clients reach it at.
///
/// ```
/// use kvclient::api::NodeUrl;
///
/// let node: NodeUrl = serde_json::from_str(r#"{"id":"node1","url":"http://127.0.0.1:8081"}"#)?;
/// assert_eq!(node.id, "node1");
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeUrl {
    /// Name of the node, as in `--name`.
    pub id: String,
    /// URL for clients, without a trailing slash.
    pub url: String,
}

/// Reply of `GET /leader`.
///
/// ```
/// use kvclient::api::LeaderReply;
///
/// let leader: LeaderReply = serde_json::from_str(r#"{"id":"node1","url":"http://127.0.0.1:8081","term":5}"#)?;
/// assert_eq!((leader.id.as_str(), leader.term), ("node1", 5));
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaderReply {
    /// Name of the leader.
    pub id: String,
    /// URL of the leader for clients.
    pub url: String,
    /// The leader's term.
    pub term: u64,
}

/// Data of each `leader` event of `GET /leader/watch`.
///
/// ```
/// use kvclient::api::LeaderEvent;
///
/// let event: LeaderEvent = serde_json::from_str(r#"{"term":5,"leader":null}"#)?;
/// assert_eq!(event, LeaderEvent { term: 5, leader: None });
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaderEvent {
    /// Term of the node that tells.
    pub term: u64,
    /// The leader this node knows of, or null.
    pub leader: Option<NodeUrl>,
}

/// What a node is doing: `"state"` in [`Health`].
///
/// ```
/// use kvclient::api::NodeState;
///
/// assert_eq!(serde_json::to_string(&NodeState::Forming)?, r#""forming""#);
/// assert_eq!(NodeState::Forming.to_string(), "forming");
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeState {
    /// Orders the writes of this term.
    Leader,
    /// Replicates what the leader orders.
    Follower,
    /// Asks for votes, or whether it would get them.
    Candidate,
    /// Receives everything, votes in nothing.
    Learner,
    /// Not yet part of a cluster: waits until it has heard from every configured peer, or is added to one that there
    /// is.
    Forming,
    /// Was part of a cluster and is no more: it serves nothing but stale reads.
    Removed,
    /// Holds other data than the others do, and serves nothing any more.
    Diverged,
}

impl fmt::Display for NodeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Leader => "leader",
            Self::Follower => "follower",
            Self::Candidate => "candidate",
            Self::Learner => "learner",
            Self::Forming => "forming",
            Self::Removed => "removed",
            Self::Diverged => "diverged",
        })
    }
}

/// Reply of `GET /health`: what one node knows, whether it is part of a quorum or not.
///
/// ```
/// use kvclient::api::{Health, NodeState};
///
/// let json = r#"{"id":"node1","state":"leader","term":5,"leader":{"id":"node1","url":"http://127.0.0.1:8081"},
///     "last_log_index":12,"commit_index":12,"applied_index":12,"revision":9,"keys":3,"version":"0.1.0",
///     "uptime_ms":60000,"members":[]}"#;
/// let health: Health = serde_json::from_str(json)?;
/// assert_eq!((health.state, health.keys), (NodeState::Leader, 3));
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Name of this node.
    pub id: String,
    /// What it is doing.
    pub state: NodeState,
    /// Its current term.
    pub term: u64,
    /// The leader it knows of.
    pub leader: Option<NodeUrl>,
    /// Index of the last entry in its log.
    pub last_log_index: u64,
    /// Index up to which it knows entries to be committed.
    pub commit_index: u64,
    /// Index up to which its store has applied entries.
    pub applied_index: u64,
    /// Revision of its store.
    pub revision: u64,
    /// Number of keys in its store.
    pub keys: u64,
    /// Version of the daemon.
    pub version: String,
    /// Time since the daemon started, in milliseconds.
    pub uptime_ms: u64,
    /// Members of the cluster, in the order of their names.
    pub members: Vec<Member>,
    /// While it waits for something to be part of a cluster: for what, as a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_for: Option<String>,
    /// Where its data is found to be other than that of the others: from then on it serves nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diverged: Option<Divergence>,
    /// While its disk does not complete a write: for how long, in milliseconds. Such a node does not lead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_stuck_ms: Option<u64>,
    /// Snapshots on its disk that were found to be damaged since it started, or when it did. It has replaced them, or
    /// does so, and has lost nothing; but its disk loses what is stored on it, and should be checked.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub snapshots_damaged: u64,
    /// Parts of its log that were found to be damaged since it started, all of them applied before. It has replaced them by
    /// a snapshot, or does so; the same holds of its disk.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub log_damaged: u64,
    /// Id of this life of the node, as sixteen hexadecimal digits.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub node: String,
    /// URL for clients, as the node says.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub client_url: String,
    /// URL for the other nodes, as the node says.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub peer_url: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// How the data of a node differs from that of the others.
///
/// ```
/// let json = r#"{"index":7,"hash":"0000000000000000000000000000000a","majority":null}"#;
/// let divergence: kvclient::api::Divergence = serde_json::from_str(json)?;
/// assert_eq!(divergence.index, 7);
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Divergence {
    /// The entry of the log after which it was found to differ. It may have begun earlier.
    pub index: u64,
    /// Hash of the node's state there, in hexadecimal digits.
    pub hash: String,
    /// Hash of the state that a majority of the voters has there; none if no state has a majority, so that nobody knows
    /// which is right.
    pub majority: Option<String>,
}

/// Body of every reply that is not a success: `{"error":{...}}`.
///
/// ```
/// use kvclient::api::{ErrorCode, ErrorReply};
///
/// let json = r#"{"error":{"code":"key_not_found","message":"there is no such key","applied":"no"}}"#;
/// let reply: ErrorReply = serde_json::from_str(json)?;
/// assert_eq!(reply.error.code, ErrorCode::KeyNotFound);
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorReply {
    /// The error.
    pub error: ErrorBody,
}

/// What went wrong and what to do.
///
/// ```
/// use kvclient::api::{Applied, ErrorBody};
///
/// let json = r#"{"code":"condition_failed","message":"the condition does not hold","applied":"no","current":null}"#;
/// let error: ErrorBody = serde_json::from_str(json)?;
/// assert_eq!((error.applied, error.current), (Applied::No, Some(None)));
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// The kind of error, for programs.
    pub code: ErrorCode,
    /// One sentence that says what to do, for people.
    pub message: String,
    /// Whether the request may have changed anything.
    pub applied: Applied,
    /// With `not_leader`: the node that answers this request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<NodeUrl>,
    /// With `condition_failed`: the item as it is, null if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "nullable")]
    pub current: Option<Option<Item>>,
}

/// A promise about a request that did not succeed.
///
/// ```
/// use kvclient::api::Applied;
///
/// assert_eq!(serde_json::from_str::<Applied>(r#""unknown""#)?, Applied::Unknown);
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Applied {
    /// It has not changed anything and never will.
    No,
    /// It may have taken effect, or may still.
    Unknown,
}

/// The kinds of error, each with one HTTP status.
///
/// ```
/// use kvclient::api::ErrorCode;
///
/// assert_eq!(serde_json::from_str::<ErrorCode>(r#""no_leader""#)?, ErrorCode::NoLeader);
/// assert_eq!(serde_json::from_str::<ErrorCode>(r#""of_a_newer_daemon""#)?, ErrorCode::Unknown);
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorCode {
    /// 307: another node leads; `Location` and `leader` name it.
    NotLeader,
    /// 400: not JSON, a missing, unknown or ill-typed field, a bad key.
    InvalidRequest,
    /// 400: a revision that the cluster has yet to reach.
    FutureRevision,
    /// 403: the request comes from a web page of another origin.
    ForbiddenOrigin,
    /// 403: a browser asks for the node by a name that may be anyone's.
    ForbiddenHost,
    /// 403: the request is meant for another cluster, or comes from a node of one.
    WrongCluster,
    /// 403: a node that is no member any more wanted to join in.
    Removed,
    /// 404: no such key.
    KeyNotFound,
    /// 404: no member of this name.
    MemberNotFound,
    /// 404: no such path.
    NotFound,
    /// 405: the path exists, but not for this method.
    MethodNotAllowed,
    /// 409: this request or a newer one of the same client name has been applied, and the reply to this one is
    /// not known any more.
    StaleRequest,
    /// 409: leadership was not handed over; the message says why, and who leads.
    TransferFailed,
    /// 409: the members cannot be changed like that, or not now; the message says why and what to do.
    ChangeRefused,
    /// 412: the condition did not hold; `current` says what is there.
    ConditionFailed,
    /// 413: larger than this node accepts.
    TooLarge,
    /// 429: too much in flight.
    Overloaded,
    /// 503: no leader known, or leadership was lost before the request entered the log.
    NoLeader,
    /// 503: a leader is known, and the node still applies what was committed when it started, or cannot do its part for
    /// another reason; the message says which.
    NotReady,
    /// 503: the data of this node is other than that of the others, so it serves nothing any more. Another one does.
    Diverged,
    /// 503: this node has not reached a revision that is asked for in time. Another one may have.
    TooStale,
    /// 504: no quorum answered in time.
    Timeout,
    /// A code of a newer daemon.
    #[serde(other)]
    Unknown,
}

impl ErrorCode {
    /// The HTTP status that goes with this code.
    ///
    /// ```
    /// assert_eq!(kvclient::api::ErrorCode::StaleRequest.status(), 409);
    /// ```
    pub fn status(self) -> u16 {
        match self {
            Self::NotLeader => 307,
            Self::InvalidRequest | Self::FutureRevision => 400,
            Self::ForbiddenOrigin | Self::ForbiddenHost | Self::WrongCluster | Self::Removed => 403,
            Self::KeyNotFound | Self::MemberNotFound | Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::StaleRequest | Self::TransferFailed | Self::ChangeRefused => 409,
            Self::ConditionFailed => 412,
            Self::TooLarge => 413,
            Self::Overloaded => 429,
            Self::Unknown => 500,
            Self::NoLeader | Self::NotReady | Self::Diverged | Self::TooStale => 503,
            Self::Timeout => 504,
        }
    }
}

// The forms on the wire. They differ from the types above only in how a value is written.

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
        let value = decode_value(value, value_base64).map_err(de::Error::custom)?;
        Ok(Self { key, value, condition, prev, request })
    }
}

// By hand, since the derived form would copy the value first.
impl Serialize for SetRequest {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let optional = [self.condition.is_some(), self.prev, self.request.is_some()];
        let fields = 2 + optional.into_iter().filter(|present| *present).count();
        let mut request = to.serialize_struct("SetRequest", fields)?;
        request.serialize_field("key", &self.key)?;
        match WireValue::of(&self.value) {
            WireValue::Text(text) => request.serialize_field("value", text)?,
            WireValue::Base64(base64) => request.serialize_field("value_base64", &base64)?,
        }
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object with `key`")]
struct DeleteWire {
    key: String,
    #[serde(rename = "if", default)]
    condition: Option<Condition>,
    #[serde(default)]
    prev: bool,
    #[serde(default)]
    request: Option<RequestId>,
}

impl<'de> Deserialize<'de> for DeleteRequest {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let DeleteWire { key, condition, prev, request } = DeleteWire::deserialize(ObjectOnly(from))?;
        Ok(Self { key, condition, prev, request })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object with `to`, or without")]
struct TransferWire {
    #[serde(default)]
    to: Option<String>,
}

impl<'de> Deserialize<'de> for TransferRequest {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let TransferWire { to } = TransferWire::deserialize(ObjectOnly(from))?;
        Ok(Self { to })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object with `client` and `seq`")]
struct RequestIdWire {
    client: String,
    seq: u64,
}

impl<'de> Deserialize<'de> for RequestId {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let RequestIdWire { client, seq } = RequestIdWire::deserialize(ObjectOnly(from))?;
        Ok(Self { client, seq })
    }
}

const ONE_CONDITION: &str = "give exactly one of absent, present, mod_revision, value, value_base64";

impl<'de> Deserialize<'de> for Condition {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(ConditionVisitor)
    }
}

struct ConditionVisitor;

impl<'de> Visitor<'de> for ConditionVisitor {
    type Value = Condition;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object as condition ({ONE_CONDITION})")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Condition, A::Error> {
        let wrong = |what: &str| de::Error::custom(format_args!("{what}: {ONE_CONDITION}"));
        let Some(field) = fields.next_key::<Cow<'de, str>>()? else { return Err(wrong("`if` is empty")) };
        let condition = match &*field {
            "absent" if fields.next_value()? => Condition::Absent,
            "absent" => return Err(de::Error::custom("`absent` can only be true; say {\"present\":true}")),
            "present" if fields.next_value()? => Condition::Present,
            "present" => return Err(de::Error::custom("`present` can only be true; say {\"absent\":true}")),
            "mod_revision" => Condition::ModRevision(fields.next_value()?),
            "value" => Condition::Value(fields.next_value::<String>()?.into_bytes()),
            "value_base64" => {
                Condition::Value(decode_base64(&fields.next_value::<String>()?).map_err(de::Error::custom)?)
            }
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
            Self::Value(bytes) => match WireValue::of(bytes) {
                WireValue::Text(text) => condition.serialize_entry("value", text)?,
                WireValue::Base64(base64) => condition.serialize_entry("value_base64", &base64)?,
            },
        }
        condition.end()
    }
}

#[derive(Deserialize)]
struct ItemWire {
    key: String,
    #[serde(default)]
    value: Option<String>,
    #[serde(default)]
    value_base64: Option<String>,
    create_revision: u64,
    mod_revision: u64,
    version: u64,
}

impl TryFrom<ItemWire> for Item {
    type Error = String;

    fn try_from(wire: ItemWire) -> Result<Self, String> {
        Ok(Self {
            value: decode_value(wire.value, wire.value_base64)?,
            key: wire.key,
            create_revision: wire.create_revision,
            mod_revision: wire.mod_revision,
            version: wire.version,
        })
    }
}

// By hand, since every read is answered with an item: the derived form would copy key and value first.
impl Serialize for Item {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut item = to.serialize_struct("Item", 5)?;
        item.serialize_field("key", &self.key)?;
        match WireValue::of(&self.value) {
            WireValue::Text(text) => item.serialize_field("value", text)?,
            WireValue::Base64(base64) => item.serialize_field("value_base64", &base64)?,
        }
        item.serialize_field("create_revision", &self.create_revision)?;
        item.serialize_field("mod_revision", &self.mod_revision)?;
        item.serialize_field("version", &self.version)?;
        item.end()
    }
}

fn decode_value(text: Option<String>, base64: Option<String>) -> Result<Vec<u8>, String> {
    match (text, base64) {
        (Some(text), None) => Ok(text.into_bytes()),
        (None, Some(base64)) => decode_base64(&base64),
        (None, None) => Err("missing field `value` (or `value_base64` for bytes that are not UTF-8)".into()),
        (Some(_), Some(_)) => Err("give `value` or `value_base64`, not both".into()),
    }
}

fn decode_base64(text: &str) -> Result<Vec<u8>, String> {
    BASE64.decode(text).map_err(|cause| format!("`value_base64` is not standard base64 with padding: {cause}"))
}

/// A value as JSON carries it.
enum WireValue<'a> {
    Text(&'a str),
    Base64(String),
}

impl<'a> WireValue<'a> {
    fn of(bytes: &'a [u8]) -> Self {
        std::str::from_utf8(bytes).map_or_else(|_| Self::Base64(BASE64.encode(bytes)), Self::Text)
    }
}

/// Lets a struct be read from an object alone.
///
/// serde's derived code also takes an array, as the fields in their order. In JSON that is a request of
/// which nobody can say what it means, and which changes its meaning when a field is added.
struct ObjectOnly<T>(T);

impl<'de, D: Deserializer<'de>> Deserializer<'de> for ObjectOnly<D> {
    type Error = D::Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_struct(name, fields, ObjectOnly(visitor))
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_map(ObjectOnly(visitor))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

impl<'de, V: Visitor<'de>> Visitor<'de> for ObjectOnly<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<V::Value, A::Error> {
        self.0.visit_map(fields)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
fn is_false(flag: &bool) -> bool {
    !*flag
}

/// An optional field whose value may be null: absent is `None`, null is `Some(None)`.
mod nullable {
    use super::Item;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[expect(clippy::ref_option, reason = "the signature is serde's")]
    pub(super) fn serialize<S: Serializer>(item: &Option<Option<Item>>, to: S) -> Result<S::Ok, S::Error> {
        item.as_ref().and_then(Option::as_ref).serialize(to)
    }

    #[expect(clippy::option_option, reason = "absent and null differ")]
    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Option<Item>>, D::Error> {
        Option::<Item>::deserialize(from).map(Some)
    }
}

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
            (r#"{"key":"k","value":"v","if":"absent"}"#, "expected an object as condition (give exactly one of"),
            (r#"{"key":"k","value":"v","if":["absent",true]}"#, "expected an object as condition"),
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
    fn the_documented_item_is_written_to_the_letter() {
        let item =
            Item { key: "color".into(), value: b"blue".to_vec(), create_revision: 4, mod_revision: 7, version: 2 };
        let json = r#"{"key":"color","value":"blue","create_revision":4,"mod_revision":7,"version":2}"#;
        assert_eq!(serde_json::to_string(&item).unwrap(), json);
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

    #[test]
    fn an_error_code_of_a_newer_daemon_is_no_parse_error() {
        assert_eq!(serde_json::from_str::<ErrorCode>(r#""brand_new""#).unwrap(), ErrorCode::Unknown);
        assert_eq!(serde_json::to_string(&ErrorCode::ForbiddenOrigin).unwrap(), r#""forbidden_origin""#);
    }
}
