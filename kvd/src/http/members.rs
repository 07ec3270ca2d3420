//! `POST /members/add`, `promote`, `remove`, `replace`, `update`: changes of the cluster's members.
//!
//! Each request describes the wanted state, and is answered once that state is reached and committed; a repeated
//! request is answered at once. Names and URLs are checked here, since every node dials and shows those in the
//! configuration.

use super::body::Body;
use super::context::Context;
use super::error::ApiError;
use super::gateway::OfTerm;
use super::reply;
use super::request::{Request, from_json};
use crate::naming;
use crate::node::MemberChange;
use kvclient::api::{
    AddMemberRequest, MembersReply, PromoteMemberRequest, RemoveMemberRequest, ReplaceMemberRequest,
    UpdateMemberRequest, parse_hex_id,
};
use warp::reply::Response;

/// Action of a path under `/members`.
#[derive(Clone, Copy, Debug)]
pub(super) enum Action {
    Add,
    Promote,
    Remove,
    Replace,
    Update,
}

impl Action {
    /// Parses the request; `level` is the newest level known to the node to add.
    fn read(self, body: &[u8], level: u32) -> Result<MemberChange, ApiError> {
        match self {
            Self::Add => {
                let example = r#"{"name":"node4","node":"00000000000000a4","client_url":"http://10.0.0.4:8081","peer_url":"http://10.0.0.4:8081"}"#;
                let AddMemberRequest { name, node, client_url, peer_url, learner, returning } =
                    from_json(body, example)?;
                let (name, node) = (check_name(name)?, check_node(&node)?);
                let (client_url, peer_url) = (check_url("client_url", &client_url)?, check_url("peer_url", &peer_url)?);
                Ok(MemberChange::Add { node, name, client_url, peer_url, learner, returning, level })
            }
            Self::Promote => {
                let PromoteMemberRequest { id } = from_json(body, r#"{"id":"node4"}"#)?;
                Ok(MemberChange::Promote { name: check_name(id)? })
            }
            Self::Remove => {
                let RemoveMemberRequest { id, force } = from_json(body, r#"{"id":"node2"}"#)?;
                Ok(MemberChange::Remove { name: check_name(id)?, force })
            }
            Self::Replace => {
                let ReplaceMemberRequest { old, new } = from_json(body, r#"{"old":"node2","new":"node4"}"#)?;
                if old == new {
                    return Err(ApiError::invalid(format!(
                        "`old` and `new` are both {old}: give the member to remove and the learner to replace it"
                    )));
                }
                Ok(MemberChange::Replace { old: check_name(old)?, new: check_name(new)? })
            }
            Self::Update => {
                let example = r#"{"id":"node2","peer_url":"http://10.0.0.9:8081"}"#;
                let UpdateMemberRequest { id, client_url, peer_url } = from_json(body, example)?;
                if client_url.is_none() && peer_url.is_none() {
                    return Err(ApiError::invalid(format!(
                        "`peer_url` and `client_url` are missing: give one or both. Example: {example}"
                    )));
                }
                let url = |field, url: Option<String>| url.map(|url| check_url(field, &url)).transpose();
                let (client_url, peer_url) = (url("client_url", client_url)?, url("peer_url", peer_url)?);
                Ok(MemberChange::Update { name: check_name(id)?, client_url, peer_url })
            }
        }
    }
}

/// Changes the members, and answers with the members after the change.
pub(super) async fn change(context: &Context, action: Action, mut request: Request) -> Result<Response, ApiError> {
    request.query(|_| Ok(()))?;
    let Body { bytes, charge: _held } = request.body(&context.bodies, context.json_bytes_max).await?;
    let change = action.read(&bytes, request.level())?;
    let OfTerm { value, term } = context.gateway.change_members(request.asker(), request.target(), change).await?;
    Ok(reply::of_term(reply::ok(&value), term))
}

fn check_url(field: &str, url: &str) -> Result<String, ApiError> {
    naming::origin(url).map_err(|why| ApiError::invalid(format!("`{field}` {url}: {why}")))
}

fn check_name(name: String) -> Result<String, ApiError> {
    match naming::check_name(&name) {
        Ok(()) => Ok(name),
        Err(why) => Err(ApiError::invalid(format!("{name:?} is not a valid node name: {why}"))),
    }
}

/// Returns the id of a node. No node draws 0, which means none.
fn check_node(text: &str) -> Result<u64, ApiError> {
    parse_hex_id(text).filter(|id| *id != 0).ok_or_else(|| {
        ApiError::invalid(format!(
            "`node` {text:?} is not a node id: use the 16 hexadecimal digits (not all 0) that `GET /health` of the \
             node shows as `node`"
        ))
    })
}

/// Returns the members at once, with no change to wait for.
pub(super) fn list(context: &Context) -> Result<Response, ApiError> {
    let view = context.gateway.view.borrow();
    Ok(reply::ok(&MembersReply { members: view.members.to_vec(), cluster: view.cluster.as_deref().cloned() }))
}
