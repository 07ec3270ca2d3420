//! The members of a cluster and the requests that change them.
//!
//! Each request states the desired result. If it holds already, the request succeeds as if it had just been carried
//! out, so a request whose answer was lost can be repeated. Every reply has the members after the change.

use super::object::read_from_object;
use super::optional::is_false;
use serde::{Deserialize, Serialize};

/// Reply of `GET /members`, and of every request that changes them.
///
/// ```
/// use kvclient::api::MembersReply;
///
/// let json = r#"{"members":[{"id":"node1","client_url":"http://a:8081","peer_url":"http://a:8081","voter":true}]}"#;
/// let reply: MembersReply = serde_json::from_str(json)?;
/// assert_eq!(reply.members.len(), 1);
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MembersReply {
    /// Members of the cluster, sorted by name.
    pub members: Vec<Member>,
    /// The cluster; none while the answering node belongs to no cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<ClusterInfo>,
}

/// Identity of a cluster, which every member knows from the beginning.
///
/// ```
/// use kvclient::api::ClusterInfo;
///
/// let info: ClusterInfo = serde_json::from_str(r#"{"id":"51f0c2d3a4b5e697","first_members":["node1"]}"#)?;
/// assert_eq!(info.first_members, ["node1"]);
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterInfo {
    /// Its id, as sixteen hexadecimal digits.
    pub id: String,
    /// Names of the nodes that formed it, in order.
    pub first_members: Vec<String>,
}

/// One member of the cluster.
///
/// ```
/// use kvclient::api::Member;
///
/// let json = r#"{"id":"node1","client_url":"http://a:8081","peer_url":"http://a:8081","voter":true}"#;
/// let member: Member = serde_json::from_str(json)?;
/// assert!(member.voter);
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Name of the node.
    pub id: String,
    /// URL for clients.
    pub client_url: String,
    /// URL for the other nodes.
    pub peer_url: String,
    /// True if it counts for quorums. A learner does not.
    pub voter: bool,
    /// For a learner: its goal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goal: Option<MemberGoal>,
    /// Id of this incarnation of the node, as sixteen hexadecimal digits. A node that has lost its data returns under
    /// its name with a new id, and for a while both incarnations are members. Empty if an older daemon did not send it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub node: String,
}

/// Goal of a learner.
///
/// ```
/// use kvclient::api::MemberGoal;
///
/// assert_eq!(serde_json::to_string(&MemberGoal::Voter)?, r#""voter""#);
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum MemberGoal {
    /// Stays a learner: a replica for reads.
    Learner,
    /// Becomes a voter as soon as it has caught up.
    Voter,
    /// Replaces the voter of the same name, whose data is lost, as soon as it has caught up.
    Replace,
    /// A goal of a newer daemon.
    #[serde(other)]
    Unknown,
}

/// Body of `POST /members/add`: adds a node, at first as a learner.
///
/// ```
/// use kvclient::api::AddMemberRequest;
///
/// let json = r#"{"name":"node4","node":"00000000000000a4","client_url":"http://d:8081","peer_url":"http://d:8081"}"#;
/// let request: AddMemberRequest = serde_json::from_str(json)?;
/// assert!(!request.learner);
/// assert_eq!(serde_json::to_string(&request)?, json);
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AddMemberRequest {
    /// Name of the node.
    pub name: String,
    /// Id that the node has drawn for itself, as sixteen hexadecimal digits; see `node` in its `GET /health`.
    pub node: String,
    /// URL for clients.
    pub client_url: String,
    /// URL for the other nodes.
    pub peer_url: String,
    /// True if it stays a learner, as a replica for reads. Otherwise it becomes a voter as soon as it has caught up.
    #[serde(skip_serializing_if = "is_false")]
    pub learner: bool,
    /// True if the node returns without its data. It is then added only to replace a member of its name.
    #[serde(skip_serializing_if = "is_false")]
    pub returning: bool,
}

/// Body of `POST /members/promote`: makes a learner a voter.
///
/// ```
/// use kvclient::api::PromoteMemberRequest;
///
/// let request = PromoteMemberRequest { id: "node4".into() };
/// assert_eq!(serde_json::to_string(&request)?, r#"{"id":"node4"}"#);
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PromoteMemberRequest {
    /// Name of the learner.
    pub id: String,
}

/// Body of `POST /members/remove`: removes a member.
///
/// ```
/// use kvclient::api::RemoveMemberRequest;
///
/// let request = RemoveMemberRequest { id: "node2".into(), force: false };
/// assert_eq!(serde_json::to_string(&request)?, r#"{"id":"node2"}"#);
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RemoveMemberRequest {
    /// Name of the node.
    pub id: String,
    /// True to remove it even if the leader does not hear a majority of the remaining voters.
    #[serde(skip_serializing_if = "is_false")]
    pub force: bool,
}

/// Body of `POST /members/replace`: replaces a voter with a learner, in one change.
///
/// ```
/// use kvclient::api::ReplaceMemberRequest;
///
/// let request = ReplaceMemberRequest { old: "node2".into(), new: "node4".into() };
/// assert_eq!(serde_json::to_string(&request)?, r#"{"old":"node2","new":"node4"}"#);
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReplaceMemberRequest {
    /// Name of the voter to remove.
    pub old: String,
    /// Name of the learner that becomes a voter.
    pub new: String,
}

/// Body of `POST /members/update`: changes the recorded URLs of a member. At least one URL is given.
///
/// ```
/// use kvclient::api::UpdateMemberRequest;
///
/// let request: UpdateMemberRequest = serde_json::from_str(r#"{"name":"node2","peer_url":"http://b:8081"}"#)?;
/// assert_eq!((request.id.as_str(), request.client_url.as_ref()), ("node2", None));
/// assert_eq!(serde_json::to_string(&request)?, r#"{"id":"node2","peer_url":"http://b:8081"}"#);
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UpdateMemberRequest {
    /// Name of the node; `name` in JSON means the same.
    pub id: String,
    /// URL for clients, if it changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_url: Option<String>,
    /// URL for the other nodes, if it changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer_url: Option<String>,
}

read_from_object!(AddMemberRequest, "an object with `name`, `node`, `client_url` and `peer_url`", {
    name: String,
    node: String,
    client_url: String,
    peer_url: String,
    #[serde(default)] learner: bool,
    #[serde(default)] returning: bool
});
read_from_object!(PromoteMemberRequest, "an object with `id`", { id: String });
read_from_object!(RemoveMemberRequest, "an object with `id`", { id: String, #[serde(default)] force: bool });
read_from_object!(ReplaceMemberRequest, "an object with `old` and `new`", { old: String, new: String });
read_from_object!(UpdateMemberRequest, "an object with `id` and `peer_url` or `client_url`", {
    #[serde(alias = "name")] id: String,
    #[serde(default)] client_url: Option<String>,
    #[serde(default)] peer_url: Option<String>
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_an_object_of_known_fields() {
        let parse = |json| serde_json::from_str::<RemoveMemberRequest>(json).map_err(|cause| cause.to_string());
        let forced = RemoveMemberRequest { id: "n".into(), force: true };
        assert_eq!(parse(r#"{"id":"n","force":true}"#), Ok(forced));
        for (json, complaint) in [
            (r#"["n"]"#, "expected an object with `id`"),
            (r#"{"id":"n","forse":true}"#, "unknown field `forse`"),
            ("{}", "missing field `id`"),
        ] {
            assert!(parse(json).is_err_and(|error| error.contains(complaint)), "{json}");
        }
    }

    #[test]
    fn a_member_of_an_older_or_newer_daemon_is_no_parse_error() {
        let json = r#"{"id":"n","client_url":"a","peer_url":"b","voter":false,"goal":"king"}"#;
        let member: Member = serde_json::from_str(json).unwrap();
        assert_eq!((member.goal, member.node.as_str()), (Some(MemberGoal::Unknown), ""));
    }
}
