//! A key with its value and its revisions.

use super::value;
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
#[serde(try_from = "ItemWire")]
pub struct Item {
    /// The key.
    pub key: String,
    /// The value, any bytes; see [`Item::value_str`].
    pub value: Vec<u8>,
    /// Revision of the write that created the key.
    pub create_revision: u64,
    /// Revision of the last write to the key.
    pub mod_revision: u64,
    /// Writes since the key was created: 1 at creation.
    pub version: u64,
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

#[derive(Deserialize)]
struct ItemWire {
    key: String,
    #[serde(default)]
    value: Option<String>,
    #[serde(default)]
    value_base64: Option<String>,
    create_revision: u64,
    mod_revision: u64,
    version: u64,
}

impl TryFrom<ItemWire> for Item {
    type Error = String;

    fn try_from(wire: ItemWire) -> Result<Self, String> {
        Ok(Self {
            value: value::decode(wire.value, wire.value_base64)?,
            key: wire.key,
            create_revision: wire.create_revision,
            mod_revision: wire.mod_revision,
            version: wire.version,
        })
    }
}

// Written by hand, since every read is answered with an item, and the derived form would copy key and value first.
impl Serialize for Item {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut item = to.serialize_struct("Item", 5)?;
        item.serialize_field("key", &self.key)?;
        let (name, value) = value::encode(&self.value);
        item.serialize_field(name, &value)?;
        item.serialize_field("create_revision", &self.create_revision)?;
        item.serialize_field("mod_revision", &self.mod_revision)?;
        item.serialize_field("version", &self.version)?;
        item.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_item_is_written_to_the_letter() {
        let item =
            Item { key: "color".into(), value: b"blue".to_vec(), create_revision: 4, mod_revision: 7, version: 2 };
        let json = r#"{"key":"color","value":"blue","create_revision":4,"mod_revision":7,"version":2}"#;
        assert_eq!(serde_json::to_string(&item).unwrap(), json);
    }
}
