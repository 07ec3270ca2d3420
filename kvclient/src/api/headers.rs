//! Headers defined by the API.

/// In a request, the id of the cluster that it is meant for; in a reply, the id of the node's cluster. A node of
/// another cluster refuses the request ([`wrong_cluster`](super::ErrorCode::WrongCluster)).
pub const CLUSTER: &str = "kvd-cluster";

/// In a reply, the name of the node that the client is connected to.
pub const NODE: &str = "kvd-node";

/// In a reply to a write or a linearizable read, the term in which it was answered.
pub const TERM: &str = "kvd-term";

/// In a reply to a read, the revision of the store that served it.
pub const REVISION: &str = "kvd-revision";

/// In a request, `true` if the client goes to the leader itself instead of having a write forwarded.
pub const REDIRECT: &str = "kvd-redirect";

/// In a request to add a member, the newest level that the new node knows. If missing, the first level.
pub const LEVEL: &str = "kvd-level";

/// Beside a raw value, the revision of the last write to its key.
pub const MOD_REVISION: &str = "x-kvd-mod-revision";

/// Beside a snapshot, the revision of the store in it.
pub const SNAPSHOT_REVISION: &str = "x-kvd-revision";
