//! A key with its value and its revisions.

use super::byte_field::{KEY, VALUE};
use super::key::Key;
use super::lease_id::LeaseId;
use serde::ser::SerializeStruct as _;
use serde::{Deserialize, Serialize, Serializer};

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
#[serde(try_from = "ListItem")]
pub struct Item {
    /// The key.
    pub key: Key,
    /// The value, any bytes; see [`Item::value_str`].
    pub value: Vec<u8>,
    /// Revision of the write that created the key.
    pub create_revision: u64,
    /// Revision of the last write to the key.
    pub mod_revision: u64,
    /// Writes since the key was created: 1 at creation.
    pub version: u64,
    /// The lease to which the key is attached: the key is deleted when it ends.
    pub lease: Option<LeaseId>,
}

impl Item {
    /// Returns the value as text, or `None` if it is not valid UTF-8.
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

impl TryFrom<ListItem> for Item {
    type Error = String;

    fn try_from(item: ListItem) -> Result<Self, String> {
        let ListItem { key, value, create_revision, mod_revision, version, lease } = item;
        Ok(Self { key, value: VALUE.require(value)?, create_revision, mod_revision, version, lease })
    }
}

impl Serialize for Item {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Self { key, value, create_revision, mod_revision, version, lease } = self;
        write(to, key, Some(value), [*create_revision, *mod_revision, *version], *lease)
    }
}

/// One item of a list: an [`Item`] whose value is absent where only keys were asked for.
///
/// ```
/// use kvclient::api::ListItem;
///
/// let json = r#"{"key":"color","create_revision":4,"mod_revision":7,"version":2}"#;
/// let item: ListItem = serde_json::from_str(json)?;
/// assert_eq!((&item.value, item.version), (&None, 2));
/// assert_eq!(serde_json::to_string(&item)?, json);
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "ItemWire")]
pub struct ListItem {
    /// The key.
    pub key: Key,
    /// The value, absent with `keys_only`.
    pub value: Option<Vec<u8>>,
    /// Revision of the write that created the key.
    pub create_revision: u64,
    /// Revision of the last write to the key.
    pub mod_revision: u64,
    /// Writes since the key was created: 1 at creation.
    pub version: u64,
    /// The lease to which the key is attached.
    pub lease: Option<LeaseId>,
}

impl From<Item> for ListItem {
    fn from(item: Item) -> Self {
        let Item { key, value, create_revision, mod_revision, version, lease } = item;
        Self { key, value: Some(value), create_revision, mod_revision, version, lease }
    }
}

impl Serialize for ListItem {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Self { key, value, create_revision, mod_revision, version, lease } = self;
        write(to, key, value.as_deref(), [*create_revision, *mod_revision, *version], *lease)
    }
}

#[derive(Deserialize)]
struct ItemWire {
    #[serde(default)]
    key: Option<String>,
    #[serde(default)]
    key_base64: Option<String>,
    #[serde(default)]
    value: Option<String>,
    #[serde(default)]
    value_base64: Option<String>,
    create_revision: u64,
    mod_revision: u64,
    version: u64,
    #[serde(default)]
    lease: Option<LeaseId>,
}

impl TryFrom<ItemWire> for ListItem {
    type Error = String;

    fn try_from(wire: ItemWire) -> Result<Self, String> {
        Ok(Self {
            key: KEY.require(KEY.decode(wire.key, wire.key_base64)?)?.into(),
            value: VALUE.decode(wire.value, wire.value_base64)?,
            create_revision: wire.create_revision,
            mod_revision: wire.mod_revision,
            version: wire.version,
            lease: wire.lease,
        })
    }
}

/// Writes an item. By hand, since every read is answered with one, and the derived form would copy key and value first.
fn write<S: Serializer>(
    to: S,
    key: &Key,
    value: Option<&[u8]>,
    [create_revision, mod_revision, version]: [u64; 3],
    lease: Option<LeaseId>,
) -> Result<S::Ok, S::Error> {
    let fields = 4 + usize::from(value.is_some()) + usize::from(lease.is_some());
    let mut item = to.serialize_struct("Item", fields)?;
    let (name, key) = KEY.encode(key.as_bytes());
    item.serialize_field(name, &key)?;
    if let Some(value) = value {
        let (name, value) = VALUE.encode(value);
        item.serialize_field(name, &value)?;
    }
    item.serialize_field("create_revision", &create_revision)?;
    item.serialize_field("mod_revision", &mod_revision)?;
    item.serialize_field("version", &version)?;
    if let Some(lease) = lease {
        item.serialize_field("lease", &lease)?;
    }
    item.end()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_items_are_written_to_the_letter() {
        let item = Item {
            key: "color".into(),
            value: b"blue".to_vec(),
            create_revision: 4,
            mod_revision: 7,
            version: 2,
            lease: None,
        };
        let attached = Item { lease: LeaseId::new(1234), ..item.clone() };
        let of_bytes = Item { key: [0x00, 0xff].into(), value: vec![0xfb, 0xff], ..item.clone() };
        for (item, json) in [
            (item, r#"{"key":"color","value":"blue","create_revision":4,"mod_revision":7,"version":2}"#),
            (
                attached,
                r#"{"key":"color","value":"blue","create_revision":4,"mod_revision":7,"version":2,"lease":"00000000000004d2"}"#,
            ),
            (
                of_bytes,
                r#"{"key_base64":"AP8=","value_base64":"+/8=","create_revision":4,"mod_revision":7,"version":2}"#,
            ),
        ] {
            assert_eq!(serde_json::to_string(&item).unwrap(), json);
            assert_eq!(serde_json::from_str::<Item>(json).unwrap(), item);
        }
    }

    #[test]
    fn an_item_has_one_key_and_one_value() {
        for (json, complaint) in [
            (r#"{"value":"v","create_revision":4,"mod_revision":7,"version":2}"#, "missing field `key`"),
            (
                r#"{"key":"k","key_base64":"aw","value":"v","create_revision":4,"mod_revision":7,"version":2}"#,
                "not both",
            ),
            (r#"{"key":"k","create_revision":4,"mod_revision":7,"version":2}"#, "missing field `value`"),
        ] {
            let error = serde_json::from_str::<Item>(json).expect_err(json).to_string();
            assert!(error.contains(complaint), "{json}: {error}");
        }
    }
}
