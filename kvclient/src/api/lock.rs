//! `/lock` and `/unlock`: locks, and elections, which are locks with a value.

use super::byte_field::VALUE;
use super::key::KEY_BYTES_MAX;
use super::lease_id::LeaseId;
use super::lease_time::check_ttl_ms;
use super::lock_place::LockPlace;
use super::object::read_from_object;
use super::optional::is_false;
use super::query::{Query, QueryText};
use super::read_options::ReadOptions;
use super::request_id::RequestId;
use serde::{Deserialize, Serialize, Serializer};

/// Longest wait for a lock, in milliseconds: an hour.
///
/// ```
/// assert_eq!(kvclient::api::LOCK_WAIT_MS_MAX, 3_600_000);
/// ```
pub const LOCK_WAIT_MS_MAX: u64 = 3_600_000;

/// Time of the lease of a lock if the request sets none, in milliseconds.
///
/// ```
/// assert_eq!(kvclient::api::LOCK_TTL_MS_DEFAULT, 30_000);
/// ```
pub const LOCK_TTL_MS_DEFAULT: u64 = 30_000;

/// Longest name of a lock, in bytes: the key of each place is the name, a slash and the sixteen digits of its lease.
///
/// ```
/// use kvclient::api::{KEY_BYTES_MAX, LOCK_NAME_BYTES_MAX};
///
/// assert_eq!(LOCK_NAME_BYTES_MAX + "/00000000000004d2".len(), KEY_BYTES_MAX);
/// ```
pub const LOCK_NAME_BYTES_MAX: usize = KEY_BYTES_MAX - 17;

/// Name of the event of `GET /lock/watch` that has a [`HolderEvent`] as its data.
///
/// ```
/// assert_eq!(kvclient::api::HOLDER_EVENT, "holder");
/// ```
pub const HOLDER_EVENT: &str = "holder";

/// Checks the name of a lock.
///
/// # Errors
/// A sentence that says how long a name may be.
///
/// ```
/// assert!(kvclient::api::check_lock_name("jobs/nightly").is_ok());
/// assert!(kvclient::api::check_lock_name("").is_err());
/// ```
pub fn check_lock_name(name: &str) -> Result<(), String> {
    match name.len() {
        0 => Err("the name of the lock is empty; a name has at least one byte".into()),
        1..=LOCK_NAME_BYTES_MAX => Ok(()),
        bytes => Err(format!("the name of the lock has {bytes} bytes; the longest has {LOCK_NAME_BYTES_MAX}")),
    }
}

/// Body of `POST /lock`: takes a place in the queue of a lock, and waits for its turn.
///
/// ```
/// use kvclient::api::LockRequest;
///
/// let request = LockRequest { ttl_ms: Some(30_000), wait_ms: 60_000, ..LockRequest::new("jobs/nightly") };
/// let json = r#"{"name":"jobs/nightly","ttl_ms":30000,"wait_ms":60000}"#;
/// assert_eq!(serde_json::to_string(&request)?, json);
/// assert_eq!(serde_json::from_str::<LockRequest>(json)?, request);
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LockRequest {
    /// Name of the lock, 1 to [`LOCK_NAME_BYTES_MAX`] bytes.
    pub name: String,
    /// Time of the lease, in milliseconds; [`LOCK_TTL_MS_DEFAULT`] unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl_ms: Option<u64>,
    /// Time to wait for the lock, in milliseconds, at most [`LOCK_WAIT_MS_MAX`].
    #[serde(skip_serializing_if = "is_now")]
    pub wait_ms: u64,
    /// Value that describes the holder, such as its address.
    #[serde(flatten, serialize_with = "as_some_value")]
    pub value: Vec<u8>,
    /// The lease, if the client chooses it. A lease has one place in the queue of each lock, so a repeated request
    /// keeps that place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease: Option<LeaseId>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
fn is_now(wait_ms: &u64) -> bool {
    *wait_ms == 0
}

/// Writes a value that is left out where it is empty.
fn as_some_value<S: Serializer>(value: &[u8], to: S) -> Result<S::Ok, S::Error> {
    if value.is_empty() { to.serialize_none() } else { VALUE.serialize(value, to) }
}

impl LockRequest {
    /// Creates a request that does not wait, for a lock without a value.
    ///
    /// ```
    /// let request = kvclient::api::LockRequest::new("jobs/nightly");
    /// assert_eq!(serde_json::to_string(&request)?, r#"{"name":"jobs/nightly"}"#);
    /// # anyhow::Ok(())
    /// ```
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), ttl_ms: None, wait_ms: 0, value: Vec::new(), lease: None }
    }
}

read_from_object!(
    LockRequest, "an object with `name`",
    bytes { value / value_base64 },
    {
        name: String,
        #[serde(default)] ttl_ms: Option<u64>,
        #[serde(default)] wait_ms: u64,
        #[serde(default)] lease: Option<LeaseId>
    },
    {
        check_lock_name(&name)?;
        ttl_ms.map_or(Ok(()), check_ttl_ms)?;
        if wait_ms > LOCK_WAIT_MS_MAX {
            return Err(format!("`wait_ms` is at most {LOCK_WAIT_MS_MAX}, an hour"));
        }
        Ok(LockRequest { name, ttl_ms, wait_ms, value: value.unwrap_or_default(), lease })
    }
);

/// Reply of `POST /lock`: the lock is held.
///
/// ```
/// use kvclient::api::LockReply;
///
/// let json = r#"{"name":"jobs/nightly","token":57,"lease":"00000000000004d2"}"#;
/// let reply: LockReply = serde_json::from_str(json)?;
/// assert_eq!(reply.token, 57);
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockReply {
    /// Name of the lock.
    pub name: String,
    /// Fencing token, higher than the tokens of all earlier holders.
    pub token: u64,
    /// The lease that keeps the lock. The client must keep it alive.
    pub lease: LeaseId,
}

/// Body of `POST /unlock`: gives up a lock.
///
/// ```
/// use kvclient::api::UnlockRequest;
///
/// let request = UnlockRequest::new("jobs/nightly", 57);
/// assert_eq!(serde_json::to_string(&request)?, r#"{"name":"jobs/nightly","token":57}"#);
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UnlockRequest {
    /// Name of the lock.
    pub name: String,
    /// Fencing token of the holder; 409 `lock_lost` if the lock is no longer held under it.
    pub token: u64,
    /// Makes the request apply at most once, even if it is repeated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestId>,
}

impl UnlockRequest {
    /// Creates a request without a request id.
    ///
    /// ```
    /// assert_eq!(kvclient::api::UnlockRequest::new("jobs/nightly", 57).request, None);
    /// ```
    pub fn new(name: impl Into<String>, token: u64) -> Self {
        Self { name: name.into(), token, request: None }
    }
}

read_from_object!(
    UnlockRequest, "an object with `name` and `token`",
    bytes {},
    { name: String, token: u64, #[serde(default)] request: Option<RequestId> },
    {
        check_lock_name(&name)?;
        Ok(UnlockRequest { name, token, request })
    }
);

/// Reply of `POST /unlock`.
///
/// ```
/// use kvclient::api::UnlockReply;
///
/// assert_eq!(serde_json::from_str::<UnlockReply>(r#"{"revision":9}"#)?, UnlockReply { revision: 9 });
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnlockReply {
    /// Revision of the store after the lock was given up.
    pub revision: u64,
}

/// Query of `GET /lock` and of `GET /lock/watch`.
///
/// ```
/// use kvclient::api::{LockQuery, Query};
///
/// let query = LockQuery::new("jobs/nightly");
/// assert_eq!(query.to_query(), "name=jobs%2Fnightly");
/// assert_eq!(LockQuery::take(&mut Query::parse("name=jobs%2Fnightly")?)?, query);
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockQuery {
    /// Name of the lock.
    pub name: String,
    /// State of the store that the read may see.
    pub read: ReadOptions,
}

impl LockQuery {
    /// Creates a linearizable read.
    ///
    /// ```
    /// assert_eq!(kvclient::api::LockQuery::new("jobs").to_query(), "name=jobs");
    /// ```
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), read: ReadOptions::default() }
    }

    /// Takes the parameters from a query.
    ///
    /// # Errors
    /// A sentence that says which parameter is wrong.
    ///
    /// ```
    /// use kvclient::api::{LockQuery, Query};
    ///
    /// assert!(LockQuery::take(&mut Query::parse("")?).is_err());
    /// # Ok::<(), String>(())
    /// ```
    pub fn take(query: &mut Query<'_>) -> Result<Self, String> {
        let name = query.take("name")?.ok_or("the name of the lock is missing: GET /lock?name=N")?;
        check_lock_name(&name)?;
        Ok(Self { name: name.into_owned(), read: ReadOptions::take(query)? })
    }

    /// Returns the query.
    ///
    /// ```
    /// assert_eq!(kvclient::api::LockQuery::new("a b").to_query(), "name=a+b");
    /// ```
    pub fn to_query(&self) -> String {
        let mut query = QueryText::default();
        query.add("name", &self.name);
        self.read.add_to(&mut query);
        query.finish()
    }
}

/// Reply of `GET /lock`.
///
/// ```
/// use kvclient::api::LockState;
///
/// let json = r#"{"name":"jobs/nightly","holder":{"lease":"00000000000004d2","token":57,"value":"10.0.0.1"},"waiters":[],"revision":60}"#;
/// let lock: LockState = serde_json::from_str(json)?;
/// assert_eq!(lock.holder.as_ref().map(|holder| holder.token), Some(57));
/// assert_eq!(serde_json::to_string(&lock)?, json);
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockState {
    /// Name of the lock.
    pub name: String,
    /// The holder, null if there is none.
    pub holder: Option<LockPlace>,
    /// The clients that wait for the lock, the next one first.
    pub waiters: Vec<LockPlace>,
    /// True if there are more who wait: a queue of thousands is told of in part.
    #[serde(default, skip_serializing_if = "is_false")]
    pub more: bool,
    /// Revision of the store that served the read.
    pub revision: u64,
}

/// Data of each `holder` event of `GET /lock/watch`.
///
/// ```
/// use kvclient::api::HolderEvent;
///
/// let event: HolderEvent = serde_json::from_str(r#"{"name":"jobs/nightly","holder":null,"revision":61}"#)?;
/// assert_eq!(event.holder, None);
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HolderEvent {
    /// Name of the lock.
    pub name: String,
    /// The holder, null if there is none.
    pub holder: Option<LockPlace>,
    /// Revision of the store that has this holder.
    pub revision: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lock_requests_are_objects_of_known_fields_within_bounds() {
        let whole = r#"{"name":"n","ttl_ms":500,"wait_ms":3600000,"value_base64":"/w==","lease":"00000000000004d2"}"#;
        assert_eq!(serde_json::to_string(&serde_json::from_str::<LockRequest>(whole).unwrap()).unwrap(), whole);
        let long = format!(r#"{{"name":"{}"}}"#, "n".repeat(LOCK_NAME_BYTES_MAX + 1));
        for (json, complaint) in [
            ("{}", "missing field `name`"),
            (r#"{"name":""}"#, "the name of the lock is empty"),
            (&long, "the longest has 4079"),
            (r#"{"name":"n","ttl_ms":499}"#, "`ttl_ms` must be from 500"),
            (r#"{"name":"n","wait_ms":3600001}"#, "`wait_ms` is at most 3600000"),
            (r#"{"name":"n","request":{"client":"c","seq":1}}"#, "unknown field `request`"),
        ] {
            let error = serde_json::from_str::<LockRequest>(json).expect_err(json).to_string();
            assert!(error.contains(complaint), "{json}: {error}");
        }
        assert!(serde_json::from_str::<UnlockRequest>(r#"{"name":"n"}"#).is_err());
    }
}
