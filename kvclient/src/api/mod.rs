//! The JSON of kvd's HTTP API: every request, reply and error body, each defined once.
//!
//! The daemon parses and the clients build exactly these types. Unknown fields in a *request* are an error, so that a
//! misspelt condition is never silently ignored. Unknown fields in a *reply* are skipped, so that an old client keeps
//! working with a newer daemon.
//!
//! Keys and values are byte strings. JSON carries them as `"key": "text"` and `"value": "text"` when they are valid
//! UTF-8, and otherwise as `"key_base64": "..."` and `"value_base64": "..."`; exactly one of the two names per item.
//! Base64 is in the standard alphabet with padding; keys are read in the URL-safe alphabet and without padding as well.
//!
//! Each group of paths has a file: `keys`, `list`, `txn`, `history`, `watch`, `lease`, `lock`, `leader`, `health`,
//! `members`. Beneath them are the types that several share (`error`, `item`, `key`, `range`, `condition`, `held`,
//! `read_options`, `wait`, `request_id`, `write_reply`, [`headers`]), the reading of queries (`query`), the rules for
//! URLs and ids (`node_url`, `hex_id`, `lease_id`, `lease_time`), and the JSON encoding of all these (`byte_field`,
//! `object`, `optional`).

mod byte_field;
mod condition;
mod error;
pub mod headers;
mod health;
mod held;
mod hex_id;
mod history;
mod item;
mod key;
mod keys;
mod leader;
mod lease;
mod lease_id;
mod lease_time;
mod list;
mod lock;
mod lock_place;
mod members;
mod node_url;
mod object;
mod optional;
mod query;
mod range;
mod read_options;
mod request_id;
mod txn;
mod wait;
mod watch;
mod write_reply;

pub use condition::Condition;
pub use error::{Applied, ErrorBody, ErrorCode, ErrorReply};
pub use health::{ClonedNode, Divergence, Health, NodeState};
pub use held::Held;
pub use hex_id::{hex_id, parse_hex_id};
pub use history::{CompactReply, CompactRequest, HistoryChange, HistoryQuery, HistoryReply};
pub use item::{Item, ListItem};
pub use key::{KEY_BYTES_MAX, Key, check_key};
pub use keys::{
    COMMAND_ANSWER_BYTES_MAX, COMMAND_KEYS_MAX, COMMAND_REMOVED_BYTES_MAX, DeleteReply, DeleteRequest, GetQuery,
    GetReply, SetReply, SetRequest,
};
pub use leader::{LeaderEvent, LeaderReply, NodeUrl, TransferRequest};
pub use lease::{
    GrantReply, GrantRequest, KeepAliveReply, KeepAliveRequest, LeaseQuery, LeaseReply, LeasesQuery, LeasesReply,
    RevokeReply, RevokeRequest,
};
pub use lease_id::LeaseId;
pub use lease_time::{LEASE_TTL_MS_MAX, LEASE_TTL_MS_MIN, check_ttl_ms};
pub use list::{ListLine, ListOp, ListQuery, ListReply, Order, PAGE_BYTES_MAX, PAGE_ITEMS_MAX};
pub use lock::{
    HOLDER_EVENT, HolderEvent, LOCK_NAME_BYTES_MAX, LOCK_TTL_MS_DEFAULT, LOCK_WAIT_MS_MAX, LockQuery, LockReply,
    LockRequest, LockState, UnlockReply, UnlockRequest, check_lock_name,
};
pub use lock_place::LockPlace;
pub use members::{
    AddMemberRequest, ClusterInfo, Member, MemberGoal, MembersReply, PromoteMemberRequest, RemoveMemberRequest,
    ReplaceMemberRequest, UpdateMemberRequest,
};
pub use node_url::node_url;
pub use query::{Query, decode_form};
pub use range::{BOUND_BYTES_MAX, Range};
pub use read_options::{Consistency, ReadOptions};
pub use request_id::{CLIENT_NAME_CHARS_MAX, RequestId};
pub use txn::{
    Compare, DeleteOp, GetOp, Op, OpResult, Relation, SetOp, TXN_DEPTH_MAX, TXN_OPERATIONS_MAX, Test, Txn, TxnReply,
    TxnRequest,
};
pub use wait::{WAIT_MS_MAX, Wait};
pub use watch::{Change, ChangeKind, PROGRESS_MS_DEFAULT, WatchEvent, WatchPosition, WatchRequest};
pub use write_reply::WriteReply;
