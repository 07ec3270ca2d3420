//! The JSON of kvd's HTTP API: every request, reply and error body, each defined once.
//!
//! The daemon parses and the clients build exactly these types. Unknown fields in a *request* are an error, so that a
//! misspelt condition is never silently ignored. Unknown fields in a *reply* are skipped, so that an old client keeps
//! working with a newer daemon.
//!
//! A value is a byte string. JSON carries it as `"value": "text"` when it is valid UTF-8 and as
//! `"value_base64": "..."` otherwise; exactly one of the two per item.
//!
//! Each group of paths has a file: `keys`, `leader`, `health`, `members`. Beneath them are the types that several share
//! (`error`, `item`, `condition`, `request_id`, [`headers`]), the rules for URLs and ids (`node_url`, `hex_id`), and
//! the JSON encoding of all these (`value`, `object`, `optional`).

mod condition;
mod error;
pub mod headers;
mod health;
mod hex_id;
mod item;
mod keys;
mod leader;
mod members;
mod node_url;
mod object;
mod optional;
mod request_id;
mod value;

pub use condition::Condition;
pub use error::{Applied, ErrorBody, ErrorCode, ErrorReply};
pub use health::{ClonedNode, Divergence, Health, NodeState};
pub use hex_id::{hex_id, parse_hex_id};
pub use item::Item;
pub use keys::{DeleteReply, DeleteRequest, GetReply, KEY_BYTES_MAX, SetReply, SetRequest, check_key};
pub use leader::{LeaderEvent, LeaderReply, NodeUrl, TransferRequest};
pub use members::{
    AddMemberRequest, ClusterInfo, Member, MemberGoal, MembersReply, PromoteMemberRequest, RemoveMemberRequest,
    ReplaceMemberRequest, UpdateMemberRequest,
};
pub use node_url::node_url;
pub use request_id::{CLIENT_NAME_CHARS_MAX, RequestId};
