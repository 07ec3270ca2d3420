//! `/lease` and `/leases`: leases, and the keys that are deleted when they end.

use super::byte_field::{KEY, as_key};
use super::key::Key;
use super::lease_id::LeaseId;
use super::lease_time::check_ttl_ms;
use super::list::check_page_limit;
use super::object::read_from_object;
use super::optional::is_false;
use super::query::{Query, QueryText};
use super::read_options::ReadOptions;
use super::request_id::RequestId;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::collections::BTreeMap;

/// Form of a `lease` parameter, for refusals.
const LEASE: &str = "the id of a lease, 16 hexadecimal digits";

/// Body of `POST /lease/grant`.
///
/// ```
/// use kvclient::api::GrantRequest;
///
/// let request = GrantRequest::new(15_000);
/// assert_eq!(serde_json::to_string(&request)?, r#"{"ttl_ms":15000}"#);
/// assert!(serde_json::from_str::<GrantRequest>(r#"{"ttl_ms":10}"#).is_err());
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GrantRequest {
    /// Time after which the lease ends without a keepalive, in milliseconds:
    /// [`LEASE_TTL_MS_MIN`](super::LEASE_TTL_MS_MIN) to [`LEASE_TTL_MS_MAX`](super::LEASE_TTL_MS_MAX).
    pub ttl_ms: u64,
    /// The id, if the client chooses it. One that is in use is refused with 409 `lease_exists`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease: Option<LeaseId>,
    /// Makes the grant apply at most once, even if it is repeated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestId>,
}

impl GrantRequest {
    /// Creates a request for a lease whose id the store chooses.
    ///
    /// ```
    /// assert_eq!(kvclient::api::GrantRequest::new(15_000).lease, None);
    /// ```
    pub fn new(ttl_ms: u64) -> Self {
        Self { ttl_ms, lease: None, request: None }
    }
}

read_from_object!(
    GrantRequest, "an object with `ttl_ms`",
    bytes {},
    {
        ttl_ms: u64,
        #[serde(default)] lease: Option<LeaseId>,
        #[serde(default)] request: Option<RequestId>
    },
    {
        check_ttl_ms(ttl_ms)?;
        Ok(GrantRequest { ttl_ms, lease, request })
    }
);

/// Reply of `POST /lease/grant`.
///
/// ```
/// use kvclient::api::GrantReply;
///
/// let reply: GrantReply = serde_json::from_str(r#"{"lease":"00000000000004d2","ttl_ms":15000}"#)?;
/// assert_eq!((reply.lease.get(), reply.ttl_ms), (1234, 15_000));
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantReply {
    /// Id of the lease.
    pub lease: LeaseId,
    /// Time after which it ends without a keepalive, in milliseconds.
    pub ttl_ms: u64,
}

/// Body of `POST /lease/keepalive`: starts the time of one or many leases anew.
///
/// ```
/// use kvclient::api::{KeepAliveRequest, LeaseId};
///
/// let lease = LeaseId::new(1234).expect("not zero");
/// for (request, json) in [
///     (KeepAliveRequest::One(lease), r#"{"lease":"00000000000004d2"}"#),
///     (KeepAliveRequest::Many(vec![lease]), r#"{"leases":["00000000000004d2"]}"#),
/// ] {
///     assert_eq!(serde_json::to_string(&request)?, json);
///     assert_eq!(serde_json::from_str::<KeepAliveRequest>(json)?, request);
/// }
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum KeepAliveRequest {
    /// One lease; 404 `lease_not_found` if it has ended.
    #[serde(rename = "lease")]
    One(LeaseId),
    /// Many leases, of which some may have ended.
    #[serde(rename = "leases")]
    Many(Vec<LeaseId>),
}

read_from_object!(
    KeepAliveRequest, "an object with `lease` or `leases`",
    bytes {},
    {
        #[serde(default)] lease: Option<LeaseId>,
        #[serde(default)] leases: Option<Vec<LeaseId>>
    },
    {
        match (lease, leases) {
            (Some(lease), None) => Ok(KeepAliveRequest::One(lease)),
            (None, Some(leases)) => Ok(KeepAliveRequest::Many(leases)),
            (None, None) => Err("missing field `lease` (or `leases` for many)".into()),
            (Some(_), Some(_)) => Err("give `lease` or `leases`, not both".into()),
        }
    }
);

/// Reply of `POST /lease/keepalive`.
///
/// ```
/// use kvclient::api::{KeepAliveReply, LeaseId};
///
/// let one: KeepAliveReply = serde_json::from_str(r#"{"ttl_ms":15000}"#)?;
/// assert_eq!(one, KeepAliveReply::One { ttl_ms: 15_000 });
///
/// let json = r#"{"leases":{"0000000000000001":15000,"0000000000000002":null}}"#;
/// let many: KeepAliveReply = serde_json::from_str(json)?;
/// assert_eq!(serde_json::to_string(&many)?, json);
/// let KeepAliveReply::Many { leases } = many else { panic!("there are many") };
/// assert_eq!(leases[&LeaseId::new(2).expect("not zero")], None);
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum KeepAliveReply {
    /// Reply to a request for one lease.
    One {
        /// Time after which the lease ends without another keepalive, in milliseconds.
        ttl_ms: u64,
    },
    /// Reply to a request for many leases.
    Many {
        /// Time after which each lease ends without another keepalive, in milliseconds; null for one that has ended.
        leases: BTreeMap<LeaseId, Option<u64>>,
    },
}

/// Body of `POST /lease/revoke`: ends a lease and deletes its keys.
///
/// ```
/// use kvclient::api::{LeaseId, RevokeRequest};
///
/// let request = RevokeRequest::new(LeaseId::new(1234).expect("not zero"));
/// assert_eq!(serde_json::to_string(&request)?, r#"{"lease":"00000000000004d2"}"#);
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RevokeRequest {
    /// The lease; 404 `lease_not_found` if it is gone.
    pub lease: LeaseId,
    /// Makes the request apply at most once, even if it is repeated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestId>,
}

impl RevokeRequest {
    /// Creates a request without a request id.
    ///
    /// ```
    /// use kvclient::api::{LeaseId, RevokeRequest};
    ///
    /// assert_eq!(RevokeRequest::new(LeaseId::new(1234).expect("not zero")).request, None);
    /// ```
    pub fn new(lease: LeaseId) -> Self {
        Self { lease, request: None }
    }
}

read_from_object!(RevokeRequest, "an object with `lease`", {
    lease: LeaseId,
    #[serde(default)] request: Option<RequestId>
});

/// Reply of `POST /lease/revoke`.
///
/// ```
/// use kvclient::api::RevokeReply;
///
/// let reply: RevokeReply = serde_json::from_str(r#"{"revision":9,"deleted":3}"#)?;
/// assert_eq!(reply, RevokeReply { revision: 9, deleted: 3 });
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokeReply {
    /// Revision of the store after the keys were deleted; unchanged if there were none.
    pub revision: u64,
    /// Number of keys deleted.
    pub deleted: u64,
}

/// Query of `GET /lease`.
///
/// ```
/// use kvclient::api::{LeaseId, LeaseQuery, Query};
///
/// let query = LeaseQuery { keys: true, ..LeaseQuery::new(LeaseId::new(1234).expect("not zero")) };
/// assert_eq!(query.to_query(), "lease=00000000000004d2&keys=true");
/// assert_eq!(LeaseQuery::take(&mut Query::parse(&query.to_query())?)?, query);
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseQuery {
    /// The lease; 404 `lease_not_found` if it is gone.
    pub lease: LeaseId,
    /// Ask for its keys as well.
    pub keys: bool,
    /// State of the store that the read may see.
    pub read: ReadOptions,
}

impl LeaseQuery {
    /// Creates a linearizable read without the keys.
    ///
    /// ```
    /// use kvclient::api::{LeaseId, LeaseQuery};
    ///
    /// assert!(!LeaseQuery::new(LeaseId::new(1234).expect("not zero")).keys);
    /// ```
    pub fn new(lease: LeaseId) -> Self {
        Self { lease, keys: false, read: ReadOptions::default() }
    }

    /// Takes the parameters from a query.
    ///
    /// # Errors
    /// A sentence that says which parameter is wrong.
    ///
    /// ```
    /// use kvclient::api::{LeaseQuery, Query};
    ///
    /// assert!(LeaseQuery::take(&mut Query::parse("lease=4d2")?).is_err());
    /// # Ok::<(), String>(())
    /// ```
    pub fn take(query: &mut Query<'_>) -> Result<Self, String> {
        let lease = query.take_as("lease", LEASE)?.ok_or("the lease is missing: GET /lease?lease=ID")?;
        Ok(Self { lease, keys: query.take_flag("keys")?, read: ReadOptions::take(query)? })
    }

    /// Returns the query.
    ///
    /// ```
    /// use kvclient::api::{LeaseId, LeaseQuery};
    ///
    /// let query = LeaseQuery::new(LeaseId::new(1).expect("not zero"));
    /// assert_eq!(query.to_query(), "lease=0000000000000001");
    /// ```
    pub fn to_query(&self) -> String {
        let mut query = QueryText::default();
        query.add("lease", self.lease);
        query.add_flag("keys", self.keys);
        self.read.add_to(&mut query);
        query.finish()
    }
}

/// Reply of `GET /lease`, and one lease of `GET /leases`.
///
/// ```
/// use kvclient::api::LeaseReply;
///
/// let json = r#"{"lease":"00000000000004d2","ttl_ms":15000,"remaining_ms":11800,"keys":1,"items":[{"key":"color"}]}"#;
/// let lease: LeaseReply = serde_json::from_str(json)?;
/// assert_eq!((lease.keys, lease.items.as_deref()), (1, Some(&["color".into()][..])));
/// assert_eq!(serde_json::to_string(&lease)?, json);
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseReply {
    /// Id of the lease.
    pub lease: LeaseId,
    /// Time after which it ends without a keepalive, in milliseconds.
    pub ttl_ms: u64,
    /// Time that is left of it, in milliseconds.
    pub remaining_ms: u64,
    /// Number of keys attached to it.
    pub keys: u64,
    /// The keys, with `keys=true`; each is an object with `key` or `key_base64`.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "keys")]
    pub items: Option<Vec<Key>>,
}

/// A list of objects that have a key.
mod keys {
    use super::*;

    #[derive(Serialize)]
    struct WithKey<'k>(#[serde(serialize_with = "as_key")] &'k Key);

    #[derive(Deserialize)]
    struct Wire {
        #[serde(default)]
        key: Option<String>,
        #[serde(default)]
        key_base64: Option<String>,
    }

    #[expect(clippy::ref_option, reason = "the signature is serde's")]
    pub(super) fn serialize<S: Serializer>(keys: &Option<Vec<Key>>, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(keys.iter().flatten().map(WithKey))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Vec<Key>>, D::Error> {
        let read = |wire: Wire| KEY.require(KEY.decode(wire.key, wire.key_base64)?).map(Key::from);
        let keys = Vec::<Wire>::deserialize(from)?.into_iter().map(read).collect::<Result<_, String>>();
        keys.map(Some).map_err(de::Error::custom)
    }
}

/// Query of `GET /leases`.
///
/// ```
/// use kvclient::api::{LeasesQuery, Query};
///
/// let query = LeasesQuery { limit: Some(10), ..LeasesQuery::default() };
/// assert_eq!(query.to_query(), "limit=10");
/// assert_eq!(LeasesQuery::take(&mut Query::parse("limit=10")?)?, query);
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeasesQuery {
    /// Most leases of the page, 1 to [`PAGE_ITEMS_MAX`](super::PAGE_ITEMS_MAX), which is also the default.
    pub limit: Option<u64>,
    /// The page after another one: `next` of its reply.
    pub next: Option<String>,
    /// State of the store that the read may see.
    pub read: ReadOptions,
}

impl LeasesQuery {
    /// Takes the parameters from a query.
    ///
    /// # Errors
    /// A sentence that says which parameter is wrong.
    ///
    /// ```
    /// use kvclient::api::{LeasesQuery, Query};
    ///
    /// assert!(LeasesQuery::take(&mut Query::parse("limit=0")?).is_err());
    /// # Ok::<(), String>(())
    /// ```
    pub fn take(query: &mut Query<'_>) -> Result<Self, String> {
        let limit = query.take_as("limit", "a number")?;
        check_page_limit(limit)?;
        Ok(Self { limit, next: query.take("next")?.map(Into::into), read: ReadOptions::take(query)? })
    }

    /// Returns the query.
    ///
    /// ```
    /// assert_eq!(kvclient::api::LeasesQuery::default().to_query(), "");
    /// ```
    pub fn to_query(&self) -> String {
        let mut query = QueryText::default();
        query.add_some("limit", self.limit);
        query.add_some("next", self.next.as_ref());
        self.read.add_to(&mut query);
        query.finish()
    }
}

/// Reply of `GET /leases`: one page, in order of the ids.
///
/// ```
/// use kvclient::api::LeasesReply;
///
/// let json = r#"{"leases":[{"lease":"00000000000004d2","ttl_ms":15000,"remaining_ms":11800,"keys":3}],"revision":9}"#;
/// let page: LeasesReply = serde_json::from_str(json)?;
/// assert_eq!((page.leases[0].keys, page.more), (3, false));
/// assert_eq!(serde_json::to_string(&page)?, json);
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeasesReply {
    /// The leases.
    pub leases: Vec<LeaseReply>,
    /// Revision of the store that served the read.
    pub revision: u64,
    /// True if there are leases after this page.
    #[serde(default, skip_serializing_if = "is_false")]
    pub more: bool,
    /// Token for the next page, with `more`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_name_one_lease_or_many() {
        for (json, complaint) in [
            ("{}", "missing field `lease` (or `leases` for many)"),
            (r#"{"lease":"0000000000000001","leases":[]}"#, "not both"),
            (r#"{"lease":1}"#, "invalid type: integer"),
            (r#"{"lease":"0000000000000000"}"#, "16 hexadecimal digits"),
            (r#"{"lease":"0000000000000001","request":{"client":"c","seq":1}}"#, "unknown field `request`"),
        ] {
            let error = serde_json::from_str::<KeepAliveRequest>(json).expect_err(json).to_string();
            assert!(error.contains(complaint), "{json}: {error}");
        }
        let grant = r#"{"ttl_ms":9000000000000,"lease":"ffffffffffffffff","request":{"client":"c","seq":1}}"#;
        assert_eq!(serde_json::to_string(&serde_json::from_str::<GrantRequest>(grant).unwrap()).unwrap(), grant);
        for json in [r#"{"ttl_ms":9000000000001}"#, r#"{"ttl_ms":0}"#] {
            assert!(serde_json::from_str::<GrantRequest>(json).is_err(), "{json}");
        }
    }

    #[test]
    fn a_lease_tells_of_its_keys_only_if_asked() {
        let lease = LeaseReply {
            lease: LeaseId::new(1).unwrap(),
            ttl_ms: 500,
            remaining_ms: 400,
            keys: 2,
            items: Some(vec!["a".into(), [0xff].into()]),
        };
        let json = serde_json::to_string(&lease).unwrap();
        assert!(json.ends_with(r#""keys":2,"items":[{"key":"a"},{"key_base64":"/w=="}]}"#), "{json}");
        assert_eq!(serde_json::from_str::<LeaseReply>(&json).unwrap(), lease);
        let without = LeaseReply { items: None, ..lease };
        let json = serde_json::to_string(&without).unwrap();
        assert!(json.ends_with(r#""keys":2}"#), "{json}");
        assert_eq!(serde_json::from_str::<LeaseReply>(&json).unwrap(), without);
    }
}
