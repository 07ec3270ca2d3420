//! Introductions that two nodes exchange when one dials the other.
//!
//! Both sides of the WebSocket handshake carry one, as JSON in the header `kvd-hello`, whether the connection is
//! accepted or refused. Only nodes of the same cluster exchange messages; nodes that are still forming one learn each
//! other's ids from these handshakes alone.

use crate::naming;
use crate::raft::{Configuration, MemberInfo, NodeId};
use kvclient::api::hex_id;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Header of request and response that carries a [`Hello`].
pub const HELLO_HEADER: &str = "kvd-hello";

/// Header of a request with the id of the node that should answer, if that is known, as sixteen hexadecimal digits. One
/// address may belong to several incarnations of a node, one after the other.
pub const SOUGHT_HEADER: &str = "kvd-sought";

/// Newest version of the protocol between nodes, of handshake and frames, that this daemon speaks.
///
/// Two nodes use the lower of their newest versions, as long as it is not too old for the other. So a daemon that
/// speaks two versions works beside the one before it and the one after, and a cluster can be upgraded node by node.
/// Features of the newer version must not be sent, nor put into the log, before every member knows them.
pub const PROTOCOL_VERSION: u32 = 5;

/// The first version in which a node takes two streams from each other node, one for each lane; see [`super::Lane`].
pub(super) const PROTOCOL_TWO_LANES: u32 = 4;

/// The first version in which the answer to a sent snapshot begins at once, with signs of life before the result.
pub const PROTOCOL_SIGNS_OF_LIFE: u32 = 4;

/// The first version in which frames carry cluster time.
pub(super) const PROTOCOL_CLUSTER_TIME: u32 = 5;

/// Oldest version of the protocol that this daemon speaks.
pub const PROTOCOL_VERSION_MIN: u32 = 3;

/// Longest [`HELLO_HEADER`], in bytes: fifteen founders with URLs of the greatest length take two thirds of it.
const HELLO_BYTES_MAX: usize = 32 << 10;

/// Longest version of a daemon, in bytes.
const VERSION_BYTES_MAX: usize = 64;

/// Identity of a cluster: derived from its first configuration, hence from random ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClusterId(pub u64);

impl ClusterId {
    /// The identity of the cluster that forms with these members.
    ///
    /// Every founding member computes the same, without a further exchange; and since ids are random
    /// and never used twice, no two clusters share one.
    pub fn of_founders(founders: &Configuration) -> Self {
        let mut bytes = Vec::new();
        for (id, info) in &founders.members {
            bytes.extend(id.0.to_le_bytes());
            bytes.extend((info.name.len() as u64).to_le_bytes());
            bytes.extend(info.name.as_bytes());
        }
        Self(xxhash_rust::xxh3::xxh3_64(&bytes))
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex_id(self.0))
    }
}

/// Introduction of a node. Fields may be added; a node ignores those that it does not know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The newest protocol that the node speaks; see [`PROTOCOL_VERSION`].
    pub protocol: u32,
    /// The oldest protocol that the node speaks.
    pub protocol_min: u32,
    /// Version of the daemon.
    pub version: String,
    /// Name of the node.
    pub name: String,
    /// Id of this incarnation of the node.
    #[serde(with = "hex")]
    pub node: u64,
    /// URL at which clients reach the node.
    pub client_url: String,
    /// URL at which other nodes reach the node.
    pub peer_url: String,
    /// Cluster that the node belongs to; none while forming.
    #[serde(default, with = "hex_option", skip_serializing_if = "Option::is_none")]
    pub cluster: Option<u64>,
    /// Founding members of that cluster, so that a founder that did not hear from all of them in time can still join
    /// in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub founders: Vec<Founder>,
    /// A cluster that a forming node knows of, because one of the nodes that it was told about was part of it. So there
    /// was data, and no cluster is founded anew with this node.
    #[serde(default, with = "hex_option", skip_serializing_if = "Option::is_none")]
    pub remembers: Option<u64>,
    /// True if a forming node was told to expect data (`--expect-data`), and therefore does not found a cluster without
    /// it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub expects_data: bool,
    /// Drawn by each process of a node. It tells a restarted process, which while forming has forgotten everything it
    /// knew, from the process before it; and it reveals two processes that run at the same time. Zero for a member
    /// whose version draws none.
    #[serde(default, with = "hex", skip_serializing_if = "is_zero")]
    pub incarnation: u64,
    /// True if the node asks to join a cluster (`--join`), and founds none.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub joins: bool,
    /// The newest level that the node knows, or is set to know; the first level, if its version had no levels. See
    /// [`Level`](crate::kv::Level).
    #[serde(default = "first_level")]
    pub level: u32,
}

fn first_level() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// A founding member of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Founder {
    /// Id of the node.
    #[serde(with = "hex")]
    pub node: u64,
    /// Name and URLs of the node.
    #[serde(flatten)]
    pub info: MemberInfo,
}

impl Hello {
    /// Returns the introduction of a node that is part of no cluster yet, and knows levels up to `level`.
    pub fn new(node: NodeId, info: MemberInfo, level: u32) -> Self {
        let MemberInfo { name, client_url, peer_url } = info;
        Self {
            protocol: PROTOCOL_VERSION,
            protocol_min: PROTOCOL_VERSION_MIN,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            name,
            node: node.0,
            client_url,
            peer_url,
            cluster: None,
            founders: Vec::new(),
            remembers: None,
            expects_data: false,
            incarnation: 0,
            joins: false,
            level,
        }
    }

    /// Returns the introduction of a member of cluster 7 that cannot be reached.
    #[cfg(test)]
    pub(crate) fn of_member(name: &str, node: u64) -> Self {
        let url = "http://127.0.0.1:1".to_owned();
        let info = MemberInfo { name: name.to_owned(), client_url: url.clone(), peer_url: url };
        Self { cluster: Some(7), ..Self::new(NodeId(node), info, 1) }
    }

    /// Returns the id of the node.
    pub fn node_id(&self) -> NodeId {
        NodeId(self.node)
    }

    /// Returns true if the node is a member of this cluster, and not one that is part of none.
    pub fn is_of(&self, cluster: Option<u64>) -> bool {
        self.cluster.is_some() && self.cluster == cluster
    }

    /// Returns this node as a founder of a cluster.
    pub fn as_founder(&self) -> Founder {
        Founder { node: self.node, info: self.info() }
    }

    /// Returns the node's name and URLs.
    pub fn info(&self) -> MemberInfo {
        let Self { name, client_url, peer_url, .. } = self.clone();
        MemberInfo { name, client_url, peer_url }
    }

    /// Returns the value of [`HELLO_HEADER`].
    pub fn to_header(&self) -> String {
        // JSON escapes all characters that are not printable ASCII, which keeps the header valid.
        let json = serde_json::to_string(self).expect("a hello can be written as JSON");
        let mut header = String::with_capacity(json.len());
        for unit in json.chars() {
            if unit.is_ascii_graphic() || unit == ' ' {
                header.push(unit);
            } else {
                for code in unit.encode_utf16(&mut [0; 2]) {
                    header.push_str(&format!("\\u{code:04x}"));
                }
            }
        }
        header
    }

    /// Parses the value of [`HELLO_HEADER`].
    ///
    /// # Errors
    /// A sentence, if the value is not a hello of a protocol that this node speaks, or has invalid names or URLs.
    pub fn from_header(header: &str) -> Result<Self, String> {
        let wrong = |why: &dyn fmt::Display| format!("not a {HELLO_HEADER}: {why}");
        if header.len() > HELLO_BYTES_MAX {
            return Err(wrong(&format_args!("{} bytes, of {HELLO_BYTES_MAX} at most", header.len())));
        }
        let mut hello: Self = serde_json::from_str(header).map_err(|cause| wrong(&cause))?;
        hello.check().map_err(|why| wrong(&why))?;
        if hello.protocol.min(PROTOCOL_VERSION) < hello.protocol_min.max(PROTOCOL_VERSION_MIN) {
            return Err(format!(
                "{} ({}) speaks versions {} to {} of the protocol between nodes, this node {PROTOCOL_VERSION_MIN} to \
                 {PROTOCOL_VERSION}: upgrade the older one, one version at a time",
                hello.name, hello.version, hello.protocol_min, hello.protocol
            ));
        }
        Ok(hello)
    }

    /// Checks everything that other nodes will dial, log and show, and normalizes URLs.
    fn check(&mut self) -> Result<(), String> {
        let Self { version, name, client_url, peer_url, founders, .. } = self;
        if version.len() > VERSION_BYTES_MAX || !version.chars().all(|c| c.is_ascii_graphic()) {
            return Err(format!("a version has at most {VERSION_BYTES_MAX} letters, digits and signs"));
        }
        let founders = founders.iter_mut().map(|Founder { info, .. }| {
            let MemberInfo { name, client_url, peer_url } = info;
            (name, client_url, peer_url)
        });
        for (name, client_url, peer_url) in founders.chain([(name, client_url, peer_url)]) {
            naming::check_name(name)?;
            for url in [client_url, peer_url] {
                *url = naming::origin(url)?;
            }
        }
        Ok(())
    }
}

/// Returns the founders in the first configuration of their cluster.
pub fn founders_of(configuration: &Configuration) -> Vec<Founder> {
    configuration.members.iter().map(|(id, info)| Founder { node: id.0, info: info.clone() }).collect()
}

/// Returns the first configuration of the cluster that these founders form.
pub fn founding_configuration(founders: &[Founder]) -> Configuration {
    Configuration::of_voters(founders.iter().map(|founder| (NodeId(founder.node), founder.info.clone())))
}

/// 64-bit ids as sixteen hexadecimal digits: not every JSON parser keeps numbers beyond 53 bits exact.
mod hex {
    use kvclient::api::{hex_id, parse_hex_id};
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
    pub(super) fn serialize<S: Serializer>(id: &u64, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&hex_id(*id))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
        let text = String::deserialize(from)?;
        parse_hex_id(&text).ok_or_else(|| D::Error::custom(format!("`{text}` is not an id of 16 hexadecimal digits")))
    }
}

mod hex_option {
    use serde::{Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(id: &Option<u64>, to: S) -> Result<S::Ok, S::Error> {
        match id {
            Some(id) => super::hex::serialize(id, to),
            None => to.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
        super::hex::deserialize(from).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello() -> Hello {
        let mut hello = Hello { version: "0.1.0".into(), ..Hello::of_member("node1", u64::MAX - 1) };
        hello.founders.push(hello.as_founder());
        hello
    }

    #[test]
    fn a_hello_survives_its_header() {
        assert!(hello().to_header().contains(r#""founders":[{"node":"fffffffffffffffe","name":"node1","client_url":"#));
        let header = hello().to_header();
        assert!(header.bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{header}");
        assert_eq!(Hello::from_header(&header), Ok(hello()));
        let forming = Hello { cluster: None, founders: Vec::new(), ..hello() };
        assert_eq!(Hello::from_header(&forming.to_header()), Ok(forming.clone()));
        for left_out in ["remembers", "expects", "incarnation", "joins"] {
            assert!(!forming.to_header().contains(left_out), "{left_out}");
        }
        let bereft = Hello { remembers: Some(0x51f0), expects_data: true, incarnation: 9, ..forming };
        let expected = r#""remembers":"00000000000051f0","expects_data":true,"incarnation":"0000000000000009","#;
        assert!(bereft.to_header().contains(expected));
        assert_eq!(Hello::from_header(&bereft.to_header()), Ok(bereft));
    }

    #[test]
    fn what_is_no_hello_is_refused_with_a_sentence() {
        for (wrong, why) in [
            (Hello { name: "nöde 1".into(), ..hello() }, "a node's name is"),
            (Hello { name: "n".repeat(65), ..hello() }, "a node's name is"),
            (Hello { client_url: "ftp://a".into(), ..hello() }, "only http://"),
            (Hello { peer_url: "http://a/b".into(), ..hello() }, "without a path"),
            (Hello { peer_url: format!("http://{}", "a".repeat(600)), ..hello() }, "at most 512 bytes"),
            (Hello { version: "0.1\n".into(), ..hello() }, "a version has"),
            (Hello { founders: vec![hello().as_founder(); 1000], ..hello() }, "bytes, of 32768 at most"),
        ] {
            let refusal = Hello::from_header(&wrong.to_header()).unwrap_err();
            assert!(refusal.starts_with("not a kvd-hello: ") && refusal.contains(why), "{refusal}");
        }
        assert!(Hello::from_header("garbage").unwrap_err().contains("not a kvd-hello"));
    }

    #[test]
    fn nodes_that_have_a_protocol_in_common_work_together() {
        let speaks = |protocol_min, protocol| Hello { protocol, protocol_min, ..hello() };
        let next = speaks(PROTOCOL_VERSION, PROTOCOL_VERSION + 1);
        for known in [next.clone(), speaks(1, PROTOCOL_VERSION_MIN), speaks(1, PROTOCOL_VERSION + 9)] {
            assert_eq!(Hello::from_header(&known.to_header()), Ok(known));
        }
        // Fields that a later version adds are ignored.
        let json = next.to_header().replacen('{', r#"{"news":{"a":[1]},"#, 1);
        assert_eq!(Hello::from_header(&json), Ok(next));

        for (unknown, range) in [
            (
                speaks(PROTOCOL_VERSION + 1, PROTOCOL_VERSION + 2),
                format!("{} to {}", PROTOCOL_VERSION + 1, PROTOCOL_VERSION + 2),
            ),
            (speaks(0, PROTOCOL_VERSION_MIN - 1), format!("0 to {}", PROTOCOL_VERSION_MIN - 1)),
            (speaks(PROTOCOL_VERSION + 1, PROTOCOL_VERSION), format!("{} to {PROTOCOL_VERSION}", PROTOCOL_VERSION + 1)),
        ] {
            let refusal = Hello::from_header(&unknown.to_header()).unwrap_err();
            let expected = format!("node1 (0.1.0) speaks versions {range} of the protocol between nodes, this node");
            assert!(refusal.starts_with(&expected), "{refusal}");
        }
    }

    #[test]
    fn the_cluster_id_depends_on_founders_and_not_on_their_order() {
        let founder = |node: u64, name: &str| Hello { node, name: name.into(), ..hello() }.as_founder();
        let id = |founders: &[Founder]| ClusterId::of_founders(&founding_configuration(founders));
        let ab = id(&[founder(1, "a"), founder(2, "b")]);
        assert_eq!(ab, id(&[founder(2, "b"), founder(1, "a")]));
        assert_ne!(ab, id(&[founder(1, "a"), founder(3, "b")]));
        assert_ne!(ab, id(&[founder(1, "b"), founder(2, "a")]));
    }
}
