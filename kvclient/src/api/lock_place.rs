//! Places in the queue of a lock.

use super::byte_field::{VALUE, as_value};
use super::lease_id::LeaseId;
use serde::{Deserialize, Serialize};

/// A client that holds a lock or waits for it.
///
/// ```
/// use kvclient::api::LockPlace;
///
/// let json = r#"{"lease":"00000000000004d2","token":57,"value":"10.0.0.1","held_ms":1200}"#;
/// let holder: LockPlace = serde_json::from_str(json)?;
/// assert_eq!((holder.token, holder.held_ms), (57, Some(1200)));
/// assert_eq!(serde_json::to_string(&holder)?, json);
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Wire")]
pub struct LockPlace {
    /// The lease with which the place ends.
    pub lease: LeaseId,
    /// Its fencing token. A waiter has one already, but passes no `held` condition before it holds the lock.
    pub token: u64,
    /// Value that describes it, such as its address.
    #[serde(flatten, serialize_with = "as_value")]
    pub value: Vec<u8>,
    /// Time for which a holder has held the lock, in milliseconds. Absent for a waiter, or if the node does not know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_ms: Option<u64>,
}

#[derive(Deserialize)]
struct Wire {
    lease: LeaseId,
    token: u64,
    #[serde(default)]
    value: Option<String>,
    #[serde(default)]
    value_base64: Option<String>,
    #[serde(default)]
    held_ms: Option<u64>,
}

impl TryFrom<Wire> for LockPlace {
    type Error = String;

    fn try_from(wire: Wire) -> Result<Self, String> {
        let Wire { lease, token, value, value_base64, held_ms } = wire;
        Ok(Self { lease, token, value: VALUE.decode(value, value_base64)?.unwrap_or_default(), held_ms })
    }
}
